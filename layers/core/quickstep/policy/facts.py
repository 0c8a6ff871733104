"""What every stage of the pipeline may look at: one target, what is observed, what is remembered, and the time."""

from __future__ import annotations

from dataclasses import dataclass

from quickstep.model.observation import Observation
from quickstep.model.state import TargetState
from quickstep.model.targets import DemandPolicy, ScalableTarget
from quickstep.policy.demand import Demand


@dataclass(frozen=True, slots=True)
class Facts:
    """Input of every stage. `baseline` is what is committed: asked of SageMaker, or wished and waiting for instances."""

    target: ScalableTarget
    observation: Observation
    state: TargetState
    now_s: float
    baseline: int
    demand: Demand
    copies_per_instance: int | None = None
    """How many copies one instance of the variant holds; None if not known. 1 for a variant target."""
    scaling_enabled: bool = True
    """The stack's kill switch."""

    @property
    def demand_policy(self) -> DemandPolicy | None:
        return next((p for p in self.target.policies if isinstance(p, DemandPolicy)), None)

    @property
    def scale_in_hold_s(self) -> float:
        """Seconds without need before a count is given up; 300 s unless the demand policy says otherwise."""
        policy = self.demand_policy
        return policy.scale_in_hold_s if policy else DEFAULT_HOLD_S


DEFAULT_HOLD_S = 300.0
