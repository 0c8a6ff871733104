"""Which metric a target tracking policy tracks, and how its two alarms read it.

Predefined metrics: Application Auto Scaling's for SageMaker. The two high-resolution ones are read every 10 s, the
invocation metrics every minute, customized ones every minute unless `QuickstepOptions.Period` says 10, 20 or 30 s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quickstep.control.refusals import ValidationException
from quickstep.model.targets import Dimension, TargetId

SAGEMAKER = "AWS/SageMaker"
HIGH_RESOLUTION_S = 10
MINUTE_S = 60
MOST_METRICS = 10
"""Metrics of one alarm (CloudWatch quota)."""
CONCURRENCY = {Dimension.COPIES: "ConcurrentRequestsPerCopy", Dimension.INSTANCES: "ConcurrentRequestsPerModel"}
_INVOCATIONS = {Dimension.COPIES: "InvocationsPerCopy", Dimension.INSTANCES: "InvocationsPerInstance"}
_PREDEFINED = {
    "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution": (Dimension.COPIES, True),
    "SageMakerInferenceComponentInvocationsPerCopy": (Dimension.COPIES, False),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": (Dimension.INSTANCES, True),
    "SageMakerVariantInvocationsPerInstance": (Dimension.INSTANCES, False),
}


@dataclass(frozen=True, slots=True)
class TrackedMetric:
    """A metric, as PutMetricAlarm names it."""

    request: Mapping[str, Any]
    """Namespace, MetricName, Dimensions, Statistic and Period; or Metrics."""
    period_s: int
    is_concurrency: bool = False
    """It is the target's own 10-s concurrency, which every decision reads anyway."""
    statistic: str | None = None
    """None for metric math."""


def tracked_metric(document: Mapping[str, Any], target_id: TargetId, period_s: int | None) -> TrackedMetric:
    """The metric of a TargetTrackingScalingPolicyConfiguration; `period_s` is QuickstepOptions.Period.

    Raises ValidationException for a metric that is none, another service's or another dimension's.
    """
    predefined, customized = (
        document.get("PredefinedMetricSpecification"),
        document.get("CustomizedMetricSpecification"),
    )
    if (predefined is None) == (customized is None):
        raise ValidationException(
            "TargetTrackingScalingPolicyConfiguration must have exactly one of PredefinedMetricSpecification and "
            "CustomizedMetricSpecification"
        )
    if customized is not None:
        return _customized(customized, target_id, _period(period_s))
    assert predefined is not None
    if period_s is not None:
        raise ValidationException(
            f"QuickstepOptions.Period is {period_s}; the period of a predefined metric is fixed, only a "
            "CustomizedMetricSpecification may have another"
        )
    return _predefined(predefined, target_id)


def concurrency(target_id: TargetId, statistic: str = "Maximum", period_s: int = HIGH_RESOLUTION_S) -> TrackedMetric:
    """The target's own concurrency per copy, or per model on an instance."""
    return TrackedMetric(
        _plain(SAGEMAKER, CONCURRENCY[target_id.dimension], own_dimensions(target_id), statistic, period_s),
        period_s,
        is_concurrency=True,
        statistic=statistic,
    )


def own_dimensions(target_id: TargetId) -> list[dict[str, str]]:
    """CloudWatch dimensions under which SageMaker publishes a target's metrics."""
    if target_id.dimension is Dimension.COPIES:
        return [{"Name": "InferenceComponentName", "Value": str(target_id.component)}]
    _, endpoint, _, variant = target_id.resource_id.split("/")
    return [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]


def identity(document: Mapping[str, Any]) -> tuple[str, ...]:
    """What two policies of one target may not have in common: the metric, without target value and cooldowns."""
    predefined = document.get("PredefinedMetricSpecification")
    if predefined is not None:
        return ("predefined", predefined["PredefinedMetricType"])
    return ("customized", repr(_sorted(document.get("CustomizedMetricSpecification"))))


def _predefined(document: Mapping[str, Any], target_id: TargetId) -> TrackedMetric:
    name = document["PredefinedMetricType"]
    known = _PREDEFINED.get(name)
    if known is None or known[0] is not target_id.dimension:
        allowed = " or ".join(sorted(one for one, (dim, _) in _PREDEFINED.items() if dim is target_id.dimension))
        raise ValidationException(
            f"PredefinedMetricType is {name!r}, which is no metric of {target_id.dimension}; use {allowed}"
        )
    if document.get("ResourceLabel") is not None:
        raise ValidationException("ResourceLabel is for ALBRequestCountPerTarget only; leave it out")
    if known[1]:
        return concurrency(target_id)
    metric = _INVOCATIONS[target_id.dimension]
    # 1/copies is published with each request, so the sum of a minute is requests per copy and minute.
    request = _plain(SAGEMAKER, metric, own_dimensions(target_id), "Sum", MINUTE_S)
    return TrackedMetric(request, MINUTE_S, statistic="Sum")


def _customized(document: Mapping[str, Any], target_id: TargetId, period_s: int) -> TrackedMetric:
    queries = document.get("Metrics")
    single = [name for name in ("MetricName", "Namespace", "Statistic", "Dimensions", "Unit") if document.get(name)]
    if queries:
        if single:
            raise ValidationException(
                f"CustomizedMetricSpecification has both Metrics and {single[0]}; give one of them"
            )
        return TrackedMetric({"Metrics": metric_queries(queries, period_s)}, period_s)
    for name in ("MetricName", "Namespace", "Statistic"):
        if not document.get(name):
            raise ValidationException(
                f"CustomizedMetricSpecification.{name} is missing; give MetricName, Namespace and Statistic, or Metrics"
            )
    dimensions = [dict(one) for one in document.get("Dimensions") or ()]
    statistic = document["Statistic"]
    request = _plain(document["Namespace"], document["MetricName"], dimensions, statistic, period_s)
    if document.get("Unit"):
        request["Unit"] = document["Unit"]
    own = (SAGEMAKER, CONCURRENCY[target_id.dimension], _sorted(own_dimensions(target_id)))
    found = (document["Namespace"], document["MetricName"], _sorted(dimensions))
    is_own = own == found and statistic in ("Average", "Maximum") and period_s == HIGH_RESOLUTION_S
    return TrackedMetric(request, period_s, is_concurrency=is_own, statistic=statistic)


def metric_queries(queries: Sequence[Mapping[str, Any]], period_s: int) -> list[dict[str, Any]]:
    """MetricDataQuery objects as CloudWatch wants them, with a period. Raises ValidationException for what it refuses."""
    identifiers = [query["Id"] for query in queries]
    returned = [query for query in queries if query.get("ReturnData", len(queries) == 1)]
    for query in queries:
        name = query["Id"]
        if not re.fullmatch(r"[a-z][a-zA-Z0-9_]*", name):
            raise ValidationException(
                f"Metrics Id is {name!r}; it must begin with a lower-case letter and have letters, digits and underscores"
            )
        if identifiers.count(name) > 1:
            raise ValidationException(
                f"Metrics Id {name!r} is given {identifiers.count(name)} times; each must be unique"
            )
        if (query.get("Expression") is None) == (query.get("MetricStat") is None):
            raise ValidationException(f"Metrics Id {name!r} must have exactly one of Expression and MetricStat")
        metric = (query.get("MetricStat") or {}).get("Metric")
        if metric is not None and not (metric.get("MetricName") and metric.get("Namespace")):
            raise ValidationException(f"Metrics Id {name!r}: MetricStat.Metric must have MetricName and Namespace")
    if len(returned) != 1:
        named = ", ".join(query["Id"] for query in returned) or "none"
        raise ValidationException(
            f"ReturnData is true for {named}; it must be true for exactly one of Metrics, the one that is tracked, and "
            "false for all others"
        )
    stats = sum(query.get("MetricStat") is not None for query in queries)
    if not 1 <= stats <= MOST_METRICS:
        raise ValidationException(f"Metrics has {stats} metrics; it must have 1 to {MOST_METRICS}")
    return [_query(query, query is returned[0], period_s) for query in queries]


def _query(query: Mapping[str, Any], returned: bool, period_s: int) -> dict[str, Any]:
    found: dict[str, Any] = {"Id": query["Id"], "ReturnData": returned}
    if query.get("Label"):
        found["Label"] = query["Label"]
    if query.get("Expression") is not None:
        return found | {"Expression": query["Expression"]}
    stat = query["MetricStat"]
    metric = {name: stat["Metric"][name] for name in ("Namespace", "MetricName")}
    metric["Dimensions"] = [dict(one) for one in stat["Metric"].get("Dimensions") or ()]
    found["MetricStat"] = {"Metric": metric, "Period": period_s, "Stat": stat["Stat"]}
    if stat.get("Unit"):
        found["MetricStat"]["Unit"] = stat["Unit"]
    return found


def _plain(
    namespace: str, metric: str, dimensions: list[dict[str, str]], statistic: str, period_s: int
) -> dict[str, Any]:
    return {
        "Namespace": namespace,
        "MetricName": metric,
        "Dimensions": dimensions,
        "Statistic": statistic,
        "Period": period_s,
    }


def _period(period_s: int | None) -> int:
    if period_s is None:
        return MINUTE_S
    if period_s not in (10, 20, 30, 60):
        raise ValidationException(f"QuickstepOptions.Period is {period_s}; it must be 10, 20, 30 or 60 seconds")
    return period_s


def _sorted(value: Any) -> Any:
    """The same for documents that differ in the order of their members and dimensions only."""
    if isinstance(value, Mapping):
        return sorted((key, _sorted(one)) for key, one in value.items())
    if isinstance(value, list | tuple):
        return sorted((_sorted(one) for one in value), key=repr)
    return value
