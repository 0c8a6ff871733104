"""A decision: what should be, and why, stage by stage. Nothing has happened yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quickstep.model.state import TargetState
from quickstep.model.targets import TargetId
from quickstep.reasons import Reason


@dataclass(frozen=True, slots=True)
class Step:
    """What one stage of the pipeline said."""

    stage: str
    recommended: int
    """Copies (or instances) wished after this stage."""
    reason: Reason
    detail: str = ""
    """One clause for a person, with the numbers that bound."""
    inputs: Mapping[str, object] = field(default_factory=dict)
    look_again_at_s: float | None = None
    """When this stage's answer may change by itself (a hold ends, a cooldown is over); None if only new facts change it."""
    memory: Mapping[str, object] = field(default_factory=dict)
    """Fields of the target's state that this stage wants kept, by name."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome for one target at `at_s`."""

    target_id: TargetId
    at_s: float
    desired: int
    """Copies (or instances) that should be."""
    baseline: int
    """Copies (or instances) already committed: asked for, or wished and waiting for instances."""
    current: int
    """Copies (or instances) that serve."""
    reason: Reason
    """The binding reason: of the last stage that changed the recommendation, or why nothing changed."""
    steps: tuple[Step, ...]
    state: TargetState
    """The state to keep if this decision is recorded."""
    look_again_at_s: float | None = None
    """The earliest moment at which the answer may change without a new event; None if there is none."""
    hot: bool = False
    """Load may still be rising: look again at the next datapoint even if nothing changes now."""
    asked: int | None = None
    """Copies (or instances) that SageMaker was asked for, as Describe shows it; None if the decision did not look."""
    drain_s: float = 0.0
    """How long the streams of a removed copy may still need; instances are not given back sooner."""
    demand: float | None = None
    """Requests in flight that were sized for, over all copies; None if not known."""

    @property
    def scales_out(self) -> bool:
        return self.desired > self.baseline

    @property
    def scales_in(self) -> bool:
        return self.desired < self.baseline
