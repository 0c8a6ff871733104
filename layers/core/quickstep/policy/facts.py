"""What every stage of the pipeline may look at: one target, what is observed, what is remembered, and the time."""

from __future__ import annotations

from dataclasses import dataclass

from quickstep.model.observation import Observation
from quickstep.model.state import TargetState
from quickstep.model.targets import DemandPolicy, ScalableTarget
from quickstep.policy.demand import Demand
from quickstep.policy.sizing import Sizing

DEFAULT_HOLD_S = 300.0


@dataclass(frozen=True, slots=True)
class Facts:
    """Input of every stage. `baseline` is what is committed: asked of SageMaker, or wished and waiting for instances."""

    target: ScalableTarget
    observation: Observation
    state: TargetState
    now_s: float
    baseline: int
    demand: Demand
    demand_policy: DemandPolicy | None
    """The target's demand sizing; None if it has none."""
    sizing: Sizing | None
    """How that sizes now; None without it."""
    target_per_copy: float | None
    """Requests in flight that one copy is meant to carry; None if no policy says so."""
    copies_per_instance: int | None = None
    """How many copies one instance of the variant holds; None if not known. 1 for a variant target."""
    scaling_enabled: bool = True
    """The stack's kill switch."""

    @property
    def scale_in_hold_s(self) -> float:
        """Seconds without need before a count is given up; 300 s unless the demand policy says otherwise.

        Never shorter than the window that demand is averaged over: a delay shorter than the look-back thrashes.
        """
        if self.demand_policy is None:
            return DEFAULT_HOLD_S
        return max(self.demand_policy.scale_in_hold_s, self.demand_policy.window_s)
