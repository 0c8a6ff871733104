"""Amazon CloudWatch: a metric's values hour by hour over days, for forecasts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from quickstep.gateways.aws import client
from quickstep.gateways.refusals import translated
from quickstep.gateways.sagemaker import seconds

HOUR_S = 3600


def hourly(
    queries: Sequence[Mapping[str, Any]], *, start_s: float, end_s: float
) -> Mapping[str, tuple[tuple[float, float], ...]]:
    """(start of the hour, value), oldest first, of every query that returns data, by its Id.

    `queries` are GetMetricData's with a period of one hour. Hours without a value are absent; the hour that `end_s` lies
    in is not asked for, as it is not over. Raises the errors of `refusals`.
    """
    request: dict[str, Any] = {
        "MetricDataQueries": [dict(query) for query in queries],
        "StartTime": datetime.fromtimestamp(math.floor(start_s / HOUR_S) * HOUR_S, UTC),
        "EndTime": datetime.fromtimestamp(math.floor(end_s / HOUR_S) * HOUR_S, UTC),
        "ScanBy": "TimestampAscending",
    }
    found: dict[str, dict[float, float]] = {}
    with translated("read hourly metrics"):
        while True:
            page = client("cloudwatch").get_metric_data(**request)
            for result in page.get("MetricDataResults") or ():
                points = found.setdefault(result["Id"], {})
                for at, value in zip(result.get("Timestamps") or (), result.get("Values") or (), strict=False):
                    at_s = seconds(at)
                    if at_s is not None and math.isfinite(value):
                        points[at_s] = float(value)
            if not page.get("NextToken"):
                return {name: tuple(sorted(points.items())) for name, points in found.items()}
            request["NextToken"] = page["NextToken"]
