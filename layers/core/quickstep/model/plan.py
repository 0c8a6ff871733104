"""What an endpoint should do next, and what it was asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quickstep.model.decision import Decision
from quickstep.model.loop import NextWord
from quickstep.model.observation import Component
from quickstep.model.targets import ScalableTarget, TargetId
from quickstep.reasons import Reason


@dataclass(frozen=True, slots=True)
class Wish:
    """One target's decision beside the component it is about (None for a variant)."""

    target: ScalableTarget
    decision: Decision
    component: Component | None = None


@dataclass(frozen=True, slots=True)
class CopyAsk:
    """Ask SageMaker for `wanted` copies of a component that has `before`."""

    target_id: TargetId
    component: str
    before: int
    wanted: int


@dataclass(frozen=True, slots=True)
class InstanceAsk:
    """Ask SageMaker for `wanted` instances of a variant that has `before`."""

    variant: str
    before: int
    wanted: int
    target_id: TargetId | None = None
    """Set when the instances themselves are the scalable target."""


@dataclass(frozen=True, slots=True)
class Held:
    """Why a target's wish is not carried out now."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """The next move of one endpoint."""

    word: NextWord
    wait_s: int
    """Seconds until the next look if this word is a waiting one."""
    why: str
    copies: tuple[CopyAsk, ...] = ()
    instances: InstanceAsk | None = None
    held: Mapping[TargetId, Held] = field(default_factory=dict)
    next_look_at_s: float | None = None
    """On SETTLED: when something may change by itself."""
    empty_variants: tuple[str, ...] = ()
    """Variants that have more instances than their copies need now, whether or not one may be released yet."""

    @property
    def scales_out(self) -> bool:
        """True if this move asks for more of anything."""
        asks = (*self.copies, *filter(None, (self.instances,)))
        return any(ask.wanted > ask.before for ask in asks)
