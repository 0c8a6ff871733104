"""What the API remembers about a target, a policy and a scheduled action beside what decides about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quickstep.model.targets import TargetId


@dataclass(frozen=True, slots=True)
class Registration:
    """A scalable target as RegisterScalableTarget made it."""

    target_id: TargetId
    endpoint: str
    arn_id: str
    """The last part of the target's ARN."""
    created_s: float
    role_arn: str | None = None
    """As given; Quickstep itself needs none."""
    owner: str | None = None
    """The CloudFormation resource that manages it: `<stack id>/<logical id>`; None if nobody claims it."""
    template: bool = False
    """It is the target of Quickstep's own template parameters."""
    alarms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Alarms of the target itself (the wake alarm): name → PutMetricAlarm request."""
    settled: bool = True
    """False while the alarms are being changed: then `alarms` has old and new ones, and none is known to be there."""
    scheduled_s: float | None = None
    """The scheduled time of the newest scheduled action that was applied: an older one comes too late."""


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """A scaling policy as PutScalingPolicy made it."""

    target_id: TargetId
    name: str
    kind: str
    """StepScaling, TargetTrackingScaling, PredictiveScaling or DemandSizing."""
    policy_id: str
    """The part of the policy's ARN that is unique."""
    created_s: float
    document: Mapping[str, Any] = field(default_factory=dict)
    """The configuration document as given; empty for DemandSizing, whose configuration is an option."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """QuickstepOptions as given."""
    alarms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Alarms that the policy owns: name → PutMetricAlarm request."""
    settled: bool = True
    """False while the alarms are being changed: then `alarms` has old and new ones, and none is known to be there."""
    bound: tuple[str, ...] = ()
    """Alarms of somebody else's that trigger it."""
    owner: str | None = None
    template: bool = False


@dataclass(frozen=True, slots=True)
class ScheduledRecord:
    """A scheduled action as PutScheduledAction made it."""

    target_id: TargetId
    name: str
    action_id: str
    """The part of the action's ARN that is unique."""
    schedule: str
    """`at(…)`, `rate(…)` or `cron(…)`."""
    created_s: float
    timezone: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    min_capacity: int | None = None
    max_capacity: int | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Chore:
    """Something that is still to be done: an alarm to write or to delete, an endpoint to forget."""

    kind: str
    """`put_alarm`, `delete_alarm` or `forget_endpoint`."""
    name: str
    """The alarm's or the endpoint's name."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """PutMetricAlarm's parameters."""
    asked_s: float = 0.0
    sequence: int = 0
    """Grows whenever the same chore is asked for again: what was overtaken is not taken for done."""
