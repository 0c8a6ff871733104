"""What a PredictiveScalingPolicyConfiguration must be, and which load it forecasts.

Application Auto Scaling scales by forecasts for ECS only. Here the same document works for SageMaker: the predefined
types are those of target tracking, a pair of a load (of the whole target) and a scaling metric (per copy or instance).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quickstep.control.refusals import ValidationException
from quickstep.control.tracked_metrics import CONCURRENCY, SAGEMAKER, metric_queries, own_dimensions
from quickstep.gateways.metric_queries import renamed
from quickstep.model.targets import Dimension, TargetId

HOUR_S = 3600
MINUTES = 60.0
_CONCURRENCY_PAIRS = {
    Dimension.COPIES: "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution",
    Dimension.INSTANCES: "SageMakerVariantConcurrentRequestsPerModelHighResolution",
}
_INVOCATION_PAIRS = {
    Dimension.COPIES: "SageMakerInferenceComponentInvocationsPerCopy",
    Dimension.INSTANCES: "SageMakerVariantInvocationsPerInstance",
}
_PER_UNIT = {Dimension.COPIES: "InvocationsPerCopy", Dimension.INSTANCES: "InvocationsPerInstance"}


@dataclass(frozen=True, slots=True)
class LoadQueries:
    """GetMetricData queries whose data are called `load`, and for a customized metric also `scaling` and `capacity`."""

    queries: tuple[Mapping[str, Any], ...]
    load_per_target_unit: float | None
    """Load of one copy at a target value of 1; None = to be learned from `scaling` and `capacity`."""


def check_predictive(document: Mapping[str, Any], target_id: TargetId) -> None:
    """Raise ValidationException unless the configuration can be forecast for `target_id`."""
    specifications = document["MetricSpecifications"]
    if len(specifications) != 1:
        raise ValidationException(f"MetricSpecifications has {len(specifications)} entries; it must have exactly one")
    if not specifications[0]["TargetValue"] > 0:
        raise ValidationException(
            f"MetricSpecifications TargetValue is {specifications[0]['TargetValue']:g}; it must be greater than 0"
        )
    behaviour, buffer = document.get("MaxCapacityBreachBehavior"), document.get("MaxCapacityBuffer")
    if (behaviour == "IncreaseMaxCapacity") != (buffer is not None):
        raise ValidationException(
            f"MaxCapacityBuffer is {buffer} with MaxCapacityBreachBehavior {behaviour or 'HonorMaxCapacity'}; it is required "
            "with IncreaseMaxCapacity and cannot be used otherwise"
        )
    load_queries(specifications[0], target_id)


def load_queries(specification: Mapping[str, Any], target_id: TargetId) -> LoadQueries:
    """The hourly queries of a metric specification. Raises ValidationException for one that is incomplete or foreign."""
    given = sorted(name for name in specification if name != "TargetValue")
    if given == ["PredefinedMetricPairSpecification"]:
        return _pair(specification["PredefinedMetricPairSpecification"]["PredefinedMetricType"], target_id)
    if given == ["PredefinedLoadMetricSpecification", "PredefinedScalingMetricSpecification"]:
        load, scaling = (specification[name]["PredefinedMetricType"] for name in given)
        if load != scaling:
            raise ValidationException(
                f"PredefinedLoadMetricSpecification is {load!r} and PredefinedScalingMetricSpecification {scaling!r}; for "
                "SageMaker both must name the same pair"
            )
        return _pair(load, target_id)
    load_and_scaling = {"CustomizedLoadMetricSpecification", "CustomizedScalingMetricSpecification"}
    if load_and_scaling <= set(given) <= load_and_scaling | {"CustomizedCapacityMetricSpecification"}:
        return _customized(specification, target_id)
    raise ValidationException(
        f"MetricSpecifications has {', '.join(given) or 'no metric'}; give a PredefinedMetricPairSpecification, or a load "
        "metric and a scaling metric, both predefined or both customized"
    )


def _pair(name: str, target_id: TargetId) -> LoadQueries:
    dimension = target_id.dimension
    invocations = _stat("invocations", "Invocations", "Sum", target_id)
    per_unit = _stat("per_unit", _PER_UNIT[dimension], "Sum", target_id)
    if name == _INVOCATION_PAIRS[dimension]:
        # The target is requests per minute and copy, the load requests per hour.
        return LoadQueries(({**invocations, "Id": "load", "ReturnData": True},), MINUTES)
    if name == _CONCURRENCY_PAIRS[dimension]:
        concurrency = _stat("concurrency", CONCURRENCY[dimension], "Average", target_id)
        # Requests per copy over requests are the copies that served, so this is the mean of all requests in flight.
        total = {
            "Id": "load",
            "Expression": "IF(per_unit > 0, concurrency * invocations / per_unit, 0)",
            "ReturnData": True,
        }
        return LoadQueries((concurrency, invocations, per_unit, total), 1.0)
    allowed = f"{_CONCURRENCY_PAIRS[dimension]} or {_INVOCATION_PAIRS[dimension]}"
    raise ValidationException(f"PredefinedMetricType is {name!r}, which is no pair of {dimension}; use {allowed}")


def _customized(specification: Mapping[str, Any], target_id: TargetId) -> LoadQueries:
    found: list[Mapping[str, Any]] = []
    for name in ("Load", "Scaling", "Capacity"):
        member = specification.get(f"Customized{name}MetricSpecification")
        if member is not None:
            found += renamed(metric_queries(member["MetricDataQueries"], HOUR_S), name.lower())
    if "CustomizedCapacityMetricSpecification" not in specification:
        invocations = _stat("quickstep_invocations", "Invocations", "Sum", target_id)
        per_unit = _stat("quickstep_per_unit", _PER_UNIT[target_id.dimension], "Sum", target_id)
        copies = {
            "Id": "capacity",
            "Expression": "IF(quickstep_per_unit > 0, quickstep_invocations / quickstep_per_unit, 0)",
            "ReturnData": True,
        }
        found += [invocations, per_unit, copies]
    return LoadQueries(tuple(found), None)


def _stat(name: str, metric: str, statistic: str, target_id: TargetId) -> dict[str, Any]:
    return {
        "Id": name,
        "MetricStat": {
            "Metric": {"Namespace": SAGEMAKER, "MetricName": metric, "Dimensions": own_dimensions(target_id)},
            "Period": HOUR_S,
            "Stat": statistic,
        },
        "ReturnData": False,
    }
