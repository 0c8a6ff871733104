"""What is, at one moment: metrics, alarms, and what SageMaker answers. Facts only, nothing decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from quickstep.model.targets import TargetId


@dataclass(frozen=True, slots=True)
class Datapoint:
    """One metric period [at_s, at_s + period). Values are per copy (or per instance); None = that statistic is unknown."""

    at_s: float
    average: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Datapoints of one metric, oldest first, gaps simply absent."""

    period_s: float
    points: tuple[Datapoint, ...] = ()


class AlarmState(StrEnum):
    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm as DescribeAlarms shows it."""

    name: str
    state: AlarmState
    since_s: float
    threshold: float
    above: bool
    period_s: float = 10.0
    evaluation_periods: int = 1
    statistic: str = "Maximum"
    queries: tuple[Mapping[str, Any], ...] = ()
    """What it reads, as GetMetricData's queries; empty if that is not known (a composite alarm)."""


@dataclass(frozen=True, slots=True)
class ServingChange:
    """From `at_s` on (until the next change) `copies` copies served. `copies` None = not known."""

    at_s: float
    copies: int | None


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metric series of one target. An absent series was not fetched or does not exist."""

    concurrency: Series | None = None
    """ConcurrentRequestsPerCopy, or ConcurrentRequestsPerModel for a variant, 10-s periods."""
    invocations: Series | None = None
    """Invocations, Sum per period, in `average` (60-s periods): requests that reached a copy."""
    no_capacity: Series | None = None
    """NoCapacityInvocationFailures, Sum per period, in `average`."""
    model_latency_s: Series | None = None
    """ModelLatency, Average, seconds."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What one copy takes of an instance (`ComputeResourceRequirements`)."""

    accelerators: float = 0.0
    cpu_cores: float = 0.0
    memory_mb: int = 0


class ComponentStatus(StrEnum):
    IN_SERVICE = "InService"
    CREATING = "Creating"
    UPDATING = "Updating"
    FAILED = "Failed"
    DELETING = "Deleting"


@dataclass(frozen=True, slots=True)
class Component:
    """One inference component as DescribeInferenceComponent shows it."""

    name: str
    endpoint: str
    variant: str
    status: ComponentStatus
    desired_copies: int
    current_copies: int
    requirements: Requirements | None = None
    """None if the component does not say (an adapter, or a field this SDK does not know)."""
    placement: str = "SPREAD"
    """SPREAD or BINPACK."""
    failure_reason: str | None = None
    rolling_update: bool = False
    """A new specification is being rolled out: copies are doubled in batches, scale-in would hurt."""
    base_component: str | None = None
    """Set for adapters: they live inside the base component and take nothing of their own."""
    arn: str | None = None

    @property
    def is_stable(self) -> bool:
        """True if SageMaker accepts a new copy count now."""
        return self.status in (ComponentStatus.IN_SERVICE, ComponentStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Variant:
    """One production variant as DescribeEndpoint shows it."""

    name: str
    instance_type: str | None
    current_instances: int
    desired_instances: int
    managed: bool = False
    """ManagedInstanceScaling is ENABLED: SageMaker moves the instances itself."""
    managed_min: int | None = None
    managed_max: int | None = None
    statuses: tuple[str, ...] = ()
    """VariantStatus words: Creating, Updating, Deleting, ActivatingTraffic, Baking."""


class EndpointStatus(StrEnum):
    OUT_OF_SERVICE = "OutOfService"
    CREATING = "Creating"
    UPDATING = "Updating"
    SYSTEM_UPDATING = "SystemUpdating"
    ROLLING_BACK = "RollingBack"
    IN_SERVICE = "InService"
    DELETING = "Deleting"
    FAILED = "Failed"
    UPDATE_ROLLBACK_FAILED = "UpdateRollbackFailed"
    UNKNOWN = "Unknown"
    """A word this version does not know: read-only mode (DESIGN rule R9)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint as DescribeEndpoint shows it."""

    name: str
    status: EndpointStatus
    variants: tuple[Variant, ...]
    config_name: str | None = None
    failure_reason: str | None = None
    last_modified_s: float | None = None
    arn: str | None = None

    def variant(self, name: str | None) -> Variant | None:
        """The variant called `name`; the only one if `name` is None; None if there is no such variant."""
        if name is None:
            return self.variants[0] if len(self.variants) == 1 else None
        return next((v for v in self.variants if v.name == name), None)


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that one target's decision may look at, read at `at_s`."""

    at_s: float
    target_id: TargetId
    endpoint: Endpoint
    component: Component | None
    """None for a variant target."""
    metrics: Metrics = field(default_factory=Metrics)
    alarms: tuple[Alarm, ...] = ()
    alarm_series: Mapping[str, Series] = field(default_factory=dict)
    """What an alarm reads, by its name, where that is none of `metrics`: values in `average` and in `maximum`."""
    foreign_scaler: str | None = None
    """Who else scales this target and is not suspended (an AAS target), None if nobody does."""

    @property
    def desired(self) -> int:
        """Copies (or instances) that were asked for."""
        if self.component is not None:
            return self.component.desired_copies
        return self._variant.desired_instances

    @property
    def current(self) -> int:
        """Copies (or instances) that serve now."""
        if self.component is not None:
            return self.component.current_copies
        return self._variant.current_instances

    @property
    def _variant(self) -> Variant:
        name = self.target_id.resource_id.rsplit("/", 1)[1]
        found = self.endpoint.variant(name)
        if found is None:
            raise LookupError(f"endpoint {self.endpoint.name} has no variant {name}")
        return found

    def alarm(self, name: str) -> Alarm | None:
        return next((a for a in self.alarms if a.name == name), None)
