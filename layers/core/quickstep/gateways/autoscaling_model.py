"""The shapes of Application Auto Scaling's API as botocore describes them, with Quickstep's own members beside them.

Names, required members, limits, patterns and enumerations are read from botocore's model of
`application-autoscaling` at run time; nothing of it is typed again. What Quickstep adds is optional everywhere, so a
request that is valid for Application Auto Scaling is valid here, and an answer without Quickstep's members has exactly
Application Auto Scaling's shape. The additions are written in the same form and documented in `docs/control_api.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

SERVICE = "application-autoscaling"


@cache
def description() -> Mapping[str, Any]:
    """The service description (`service-2`) with Quickstep's shapes in it. Not to be changed: copy it first."""
    from botocore.loaders import Loader

    found = deepcopy(dict(Loader(include_default_search_paths=True).load_service_model(SERVICE, "service-2")))
    shapes = found["shapes"]
    for name, shape in ADDED_SHAPES.items():
        assert name not in shapes, f"botocore has a shape {name} of its own now"
        shapes[name] = deepcopy(shape)
    for name, members in ADDED_MEMBERS.items():
        shapes[name]["members"] |= {member: {"shape": shape} for member, shape in members.items()}
    shapes["PolicyType"]["enum"] = [*shapes["PolicyType"]["enum"], DEMAND_SIZING]
    return found


@cache
def service() -> Any:
    """The description as botocore's `ServiceModel`: `operation_names`, `operation_model(name)`, `shape_for(name)`."""
    from botocore.model import ServiceModel

    return ServiceModel(description(), SERVICE)


DEMAND_SIZING = "DemandSizing"
"""Quickstep's own policy type: enough copies for the whole demand."""

ADDED_MEMBERS: Mapping[str, Mapping[str, str]] = {
    "RegisterScalableTargetRequest": {"QuickstepOptions": "QuickstepTargetOptions"},
    "RegisterScalableTargetResponse": {"QuickstepWarnings": "QuickstepWarnings"},
    "ScalableTarget": {"QuickstepOptions": "QuickstepTargetOptions"},
    "PutScalingPolicyRequest": {"QuickstepOptions": "QuickstepPolicyOptions"},
    "PutScalingPolicyResponse": {"QuickstepWarnings": "QuickstepWarnings"},
    "ScalingPolicy": {"QuickstepOptions": "QuickstepPolicyOptions"},
}


def _structure(required: tuple[str, ...] = (), **members: str) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": "structure", "members": {name: {"shape": one} for name, one in members.items()}}
    return shape | ({"required": list(required)} if required else {})


def _between(kind: str, low: float, high: float) -> dict[str, Any]:
    return {"type": kind, "min": low, "max": high}


def _one_of(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


ADDED_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "QuickstepWarnings": {"type": "list", "member": {"shape": "XmlString"}},
    "QuickstepTargetOptions": _structure(
        Priority="QuickstepPriority",
        BudgetUsdPerHour="QuickstepUsd",
        InstanceUsdPerHour="QuickstepUsd",
        Paused="QuickstepFlag",
        PausedForSeconds="QuickstepPauseSeconds",
        Pinned="QuickstepFlag",
        PinnedCapacity="QuickstepCapacity",
        Shadow="QuickstepFlag",
    ),
    "QuickstepPolicyOptions": _structure(
        HighAlarmDatapoints="QuickstepPeriods",
        HighAlarmEvaluationPeriods="QuickstepPeriods",
        LowAlarmEvaluationPeriods="QuickstepPeriods",
        Period="QuickstepSubMinute",
        AlarmSpecification="QuickstepAlarmSpecification",
        BindAlarms="QuickstepAlarmNames",
        DemandSizing="QuickstepDemandSizing",
    ),
    "QuickstepAlarmSpecification": _structure(
        ("Threshold", "ComparisonOperator"),
        Threshold="MetricScale",
        ComparisonOperator="QuickstepComparison",
        MetricName="TargetTrackingMetricName",
        Namespace="TargetTrackingMetricNamespace",
        Dimensions="TargetTrackingMetricDimensions",
        Statistic="MetricStatistic",
        Period="QuickstepPeriod",
        EvaluationPeriods="QuickstepPeriods",
        DatapointsToAlarm="QuickstepPeriods",
        TreatMissingData="QuickstepTreatMissingData",
    ),
    "QuickstepDemandSizing": _structure(
        ("TargetPerCopy",),
        TargetPerCopy="QuickstepConcurrency",
        WindowSeconds="QuickstepWindow",
        ScaleInHoldSeconds="QuickstepHold",
        SloTarget="QuickstepSloTarget",
    ),
    "QuickstepAlarmNames": {"type": "list", "member": {"shape": "QuickstepAlarmName"}, "min": 0, "max": 10},
    # Whole and half percents as JSON numbers; `policy_kinds` refuses all but the dial's four.
    "QuickstepSloTarget": {"type": "double", "min": 95, "max": 99.5},
    "QuickstepAlarmName": {"type": "string", "min": 1, "max": 255},
    "QuickstepComparison": _one_of(
        "GreaterThanThreshold",
        "GreaterThanOrEqualToThreshold",
        "LessThanThreshold",
        "LessThanOrEqualToThreshold",
    ),
    "QuickstepTreatMissingData": _one_of("missing", "notBreaching", "breaching", "ignore"),
    "QuickstepFlag": {"type": "boolean"},
    "QuickstepPriority": _between("integer", -1000, 1000),
    "QuickstepCapacity": _between("integer", 0, 100_000),
    "QuickstepPauseSeconds": _between("integer", 1, 31_536_000),
    "QuickstepPeriods": _between("integer", 1, 8640),
    "QuickstepSubMinute": _between("integer", 10, 60),
    "QuickstepPeriod": _between("integer", 10, 86_400),
    "QuickstepUsd": _between("double", 0, 1_000_000),
    "QuickstepConcurrency": _between("double", 0.001, 100_000),
    "QuickstepWindow": _between("double", 10, 3600),
    "QuickstepHold": _between("double", 0, 86_400),
}
"""Every shape that Quickstep adds. Seconds, dollars per hour, requests in flight per copy."""
