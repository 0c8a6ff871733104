"""Amazon CloudWatch: metrics over days; hour by hour for forecasts, minute by minute for what a copy can carry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from quickstep.gateways.aws import client
from quickstep.gateways.cloudwatch import MICROSECONDS_PER_SECOND, MINUTE_S, NAMESPACE, concurrency_metric
from quickstep.gateways.refusals import translated
from quickstep.gateways.sagemaker import seconds
from quickstep.model.service import ServiceMinute
from quickstep.model.targets import TargetId

HOUR_S = 3600


def hourly(
    queries: Sequence[Mapping[str, Any]], *, start_s: float, end_s: float
) -> Mapping[str, tuple[tuple[float, float], ...]]:
    """(start of the hour, value), oldest first, of every query that returns data, by its Id.

    `queries` are GetMetricData's with a period of one hour. Hours without a value are absent; the hour that `end_s` lies
    in is not asked for, as it is not over. Raises the errors of `refusals`.
    """
    read = _read(queries, HOUR_S, start_s=start_s, end_s=end_s, what="hourly metrics")
    return {name: tuple(sorted(points.items())) for name, points in read.items()}


@dataclass(frozen=True, slots=True)
class ServiceHistory:
    """What a target was seen to do."""

    minutes: tuple[ServiceMinute, ...]
    """Oldest first; minutes without requests, or with a value that is not known, are absent."""
    statistic: str
    """Of the concurrency: Average, or Maximum where the account has no average."""


def service_history(
    target_id: TargetId, *, start_s: float, end_s: float, latency_statistic: str = "Average"
) -> ServiceHistory:
    """Concurrency per copy against model latency, minute by minute, of the minutes that begin in [start_s, end_s).

    Five metrics, one GetMetricData call per 100,800 datapoints (three days are 21,600). The minute that `end_s` lies in is not asked for.
    `latency_statistic`: Average or a percentile such as p90. CloudWatch keeps minutes for 15 days. SageMaker publishes
    latency in microseconds; here it is in seconds. Raises the errors of `refusals`.
    """
    concurrency, dimensions = concurrency_metric(target_id)
    per_copy = "InvocationsPerCopy" if target_id.component is not None else "InvocationsPerInstance"
    rows = (
        ("average", concurrency, "Average"),
        ("maximum", concurrency, "Maximum"),
        ("latency", "ModelLatency", latency_statistic),
        ("requests", "ModelLatency", "SampleCount"),
        ("arrivals", per_copy, "Sum"),
    )
    queries = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {
                    "Namespace": NAMESPACE,
                    "MetricName": metric,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                },
                "Period": MINUTE_S,
                "Stat": statistic,
            },
            "ReturnData": True,
        }
        for name, metric, statistic in rows
    ]
    read = _read(queries, MINUTE_S, start_s=start_s, end_s=end_s, what=f"the service history of {target_id}")
    statistic = "Maximum" if read.get("maximum") and not read.get("average") else "Average"
    levels, latency, arrivals = read.get(statistic.lower()) or {}, read.get("latency") or {}, read.get("arrivals") or {}
    minutes = [
        ServiceMinute(at_s, levels[at_s], latency[at_s] / MICROSECONDS_PER_SECOND, requests, arrivals.get(at_s))
        for at_s, requests in sorted((read.get("requests") or {}).items())
        if requests > 0 and levels.get(at_s, 0.0) > 0 and latency.get(at_s, 0.0) > 0
    ]
    return ServiceHistory(tuple(minutes), statistic)


def _read(
    queries: Sequence[Mapping[str, Any]], period_s: int, *, start_s: float, end_s: float, what: str
) -> dict[str, dict[float, float]]:
    """Values by their start, by query, of the whole periods from the one `start_s` lies in until `end_s`."""
    request: dict[str, Any] = {
        "MetricDataQueries": [dict(query) for query in queries],
        "StartTime": datetime.fromtimestamp(math.floor(start_s / period_s) * period_s, UTC),
        "EndTime": datetime.fromtimestamp(math.floor(end_s / period_s) * period_s, UTC),
        "ScanBy": "TimestampAscending",
    }
    found: dict[str, dict[float, float]] = {}
    with translated(f"read {what}"):
        while True:
            page = client("cloudwatch").get_metric_data(**request)
            for result in page.get("MetricDataResults") or ():
                points = found.setdefault(result["Id"], {})
                for at, value in zip(result.get("Timestamps") or (), result.get("Values") or (), strict=False):
                    at_s = seconds(at)
                    if at_s is not None and math.isfinite(value):
                        points[at_s] = float(value)
            if not page.get("NextToken"):
                return found
            request["NextToken"] = page["NextToken"]
