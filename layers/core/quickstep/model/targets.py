"""What is scaled, and by which policies: the registry's vocabulary, which is Application Auto Scaling's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Dimension(StrEnum):
    """The two scalable dimensions of SageMaker real-time endpoints."""

    COPIES = "sagemaker:inference-component:DesiredCopyCount"
    INSTANCES = "sagemaker:variant:DesiredInstanceCount"


@dataclass(frozen=True, slots=True, order=True)
class TargetId:
    """Resource id and dimension, as in AAS: `inference-component/<name>` or `endpoint/<endpoint>/variant/<variant>`."""

    resource_id: str
    dimension: Dimension

    @classmethod
    def of_component(cls, component: str) -> TargetId:
        return cls(f"inference-component/{component}", Dimension.COPIES)

    @classmethod
    def of_variant(cls, endpoint: str, variant: str) -> TargetId:
        return cls(f"endpoint/{endpoint}/variant/{variant}", Dimension.INSTANCES)

    @property
    def component(self) -> str | None:
        """Name of the inference component; None for a variant."""
        return self.resource_id.split("/", 1)[1] if self.dimension is Dimension.COPIES else None

    @property
    def unit(self) -> str:
        """What is counted, in the plural: copies or instances."""
        return "copies" if self.dimension is Dimension.COPIES else "instances"

    def __str__(self) -> str:
        return self.resource_id


class AdjustmentType(StrEnum):
    CHANGE_IN_CAPACITY = "ChangeInCapacity"
    PERCENT_CHANGE_IN_CAPACITY = "PercentChangeInCapacity"
    EXACT_CAPACITY = "ExactCapacity"


class Statistic(StrEnum):
    AVERAGE = "Average"
    MINIMUM = "Minimum"
    MAXIMUM = "Maximum"


@dataclass(frozen=True, slots=True)
class StepAdjustment:
    """One row of a step table. Bounds are breach sizes (metric − threshold); None is ±infinity.

    Above the threshold the lower bound is inclusive and the upper exclusive; below it the lower is exclusive and the
    upper inclusive (AAS user guide, "Step scaling policies").
    """

    lower: float | None
    upper: float | None
    adjustment: int


@dataclass(frozen=True, slots=True)
class AlarmBinding:
    """The alarm that triggers a step policy: the policy itself has no threshold, its alarm has (as in AAS)."""

    alarm_name: str
    threshold: float
    above: bool
    """True if the alarm fires on values above (or at) the threshold, False for below."""


@dataclass(frozen=True, slots=True)
class StepScalingPolicy:
    """AAS `StepScaling`: `StepScalingPolicyConfiguration` with the alarms bound to it."""

    name: str
    adjustment_type: AdjustmentType
    steps: tuple[StepAdjustment, ...]
    alarms: tuple[AlarmBinding, ...]
    cooldown_s: float = 300.0
    min_adjustment_magnitude: int = 0
    metric_aggregation: Statistic = Statistic.AVERAGE


@dataclass(frozen=True, slots=True)
class TargetTrackingPolicy:
    """AAS `TargetTrackingScaling` on one metric of the target; value per copy (or per instance)."""

    name: str
    target_value: float
    high_alarm: str
    low_alarm: str
    scale_out_cooldown_s: float = 300.0
    scale_in_cooldown_s: float = 300.0
    disable_scale_in: bool = False
    metric: str = "concurrency"
    """Which of the observation's series is tracked; `concurrency` is the target's own 10-s metric."""


@dataclass(frozen=True, slots=True)
class DemandPolicy:
    """Quickstep's own sizing: enough copies for the whole demand, `target_per_copy` requests in flight on each."""

    name: str
    target_per_copy: float
    window_s: float = 60.0
    """Demand is averaged over the complete datapoints of this window."""
    scale_in_hold_s: float = 300.0
    """A count is given up only when nothing in this window needed it."""
    slo_target: float = 98.0
    """Percent of requests that should keep their SLO, as a dial: 95, 98, 99 or 99.5 (see `capacity.growth.PRICES`)."""


@dataclass(frozen=True, slots=True)
class PredictivePolicy:
    """AAS `PredictiveScaling`: the load of the next hours, forecast from days of a metric, as a floor."""

    name: str
    target_value: float
    """Of the scaling metric, per copy (or instance)."""
    queries: tuple[Mapping[str, Any], ...]
    """GetMetricData's, by the hour: `load`, and where `load_per_target_unit` is None `scaling` and `capacity`."""
    load_per_target_unit: float | None
    """Load of one copy (or instance) at a target value of 1; None = learned from what the hours before needed."""
    scales: bool = False
    """Mode ForecastAndScale; False: forecasts and is judged, and decides nothing."""
    buffer_s: float = 300.0
    """SchedulingBufferTime: capacity is asked for at least so long before the hour that needs it."""
    max_capacity_buffer: float | None = None
    """Percent that the maximum may stand above a forecast that reaches it; None = the maximum is kept."""
    since_s: float = 0.0
    """When the policy was put: what was learned for an earlier one is of no use."""


Policy = StepScalingPolicy | TargetTrackingPolicy | DemandPolicy | PredictivePolicy


@dataclass(frozen=True, slots=True)
class Suspension:
    """AAS `SuspendedState`: True means that kind of scaling is switched off by the operator."""

    scale_in: bool = False
    scale_out: bool = False
    scheduled: bool = False


@dataclass(frozen=True, slots=True)
class Guards:
    """How careful scaling is. Every value has a default that needs no tuning."""

    burst_ratio: float = 2.0
    """Demand over what the committed copies are meant for at which a burst begins (Knative's panic threshold: 2.0)."""
    burst_hold_s: float = 60.0
    """After a burst nothing is removed for so long (Knative's stable window)."""
    drain_budget_s: float = 600.0
    """How long a removed copy's streams may need; bounds what is removed at once."""
    drain_headroom: float = 0.9
    """A removal must leave demand at or below this share of the remaining copies' target (AAS's low alarm: 0.9)."""
    flap_window_s: float = 1800.0
    """Direction changes inside this window count as flapping and lengthen the scale-in hold."""
    min_awake_s: float = 600.0
    """A component that woke from zero stays awake at least so long."""
    wake_cap: int = 4
    """The most copies that a wake from zero may ask for."""
    instance_release_hold_s: float = 30.0
    """An instance must have been empty for so long before it is given back (fixed-instances mode): its copies were held
    long enough, and an empty one serves nobody."""


@dataclass(frozen=True, slots=True)
class ScalableTarget:
    """One scalable target with everything that decides about it."""

    target_id: TargetId
    endpoint: str
    variant: str | None
    min_capacity: int
    max_capacity: int
    policies: tuple[Policy, ...]
    guards: Guards = field(default_factory=Guards)
    suspension: Suspension = field(default_factory=Suspension)
    alarms: tuple[str, ...] = ()
    """Alarms that say "look", beside those that policies are bound to."""
    wake_alarm: str | None = None
    """Name of the no-capacity alarm; None if the target never scales to zero."""
    priority: int = 0
    hourly_cost_usd: float | None = None
    """Price of one instance-hour, for the record's $/h; None if not known."""
    budget_usd_per_hour: float | None = None
    shadow: bool = False
    """Decisions are taken and recorded beside somebody else's scaling, and nothing is changed."""

    @property
    def target_per_copy(self) -> float | None:
        """Requests in flight that one copy is meant to carry; None if no policy says so."""
        for policy in self.policies:
            if isinstance(policy, DemandPolicy):
                return policy.target_per_copy
        for policy in self.policies:
            if isinstance(policy, TargetTrackingPolicy) and policy.metric == "concurrency":
                return policy.target_value
        return None

    @property
    def alarm_names(self) -> tuple[str, ...]:
        """Every alarm that may speak for this target, sorted."""
        names: set[str] = set(self.alarms) | ({self.wake_alarm} if self.wake_alarm else set())
        for policy in self.policies:
            if isinstance(policy, StepScalingPolicy):
                names.update(alarm.alarm_name for alarm in policy.alarms)
            elif isinstance(policy, TargetTrackingPolicy):
                names.update((policy.high_alarm, policy.low_alarm))
        return tuple(sorted(names))
