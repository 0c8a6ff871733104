"""Amazon CloudWatch: the metrics of one target in one call, and the state of alarms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from quickstep.gateways.aws import client
from quickstep.gateways.metric_queries import renamed
from quickstep.gateways.refusals import translated
from quickstep.gateways.sagemaker import seconds
from quickstep.model.observation import Alarm, AlarmState, Datapoint, Metrics, Series
from quickstep.model.targets import ScalableTarget, TargetId

NAMESPACE = "AWS/SageMaker"
HIGH_RESOLUTION_S = 10
"""Period of the two concurrency metrics, and the one at which failures for want of a copy are asked for."""
MINUTE_S = 60
"""Period of SageMaker's other invocation metrics."""
LONGEST_WINDOW_S = 3 * 3600 - MINUTE_S
"""CloudWatch keeps 10-s data for three hours and answers nothing for a start before that; one minute is for rounding."""
ALARM_DELAY_S = 120.0
"""How late a datapoint may be published and still be among an alarm's latest."""
ALARMS_PER_CALL = 100
"""The most alarm names that one DescribeAlarms takes, and the most alarms that one page returns."""

MICROSECONDS_PER_SECOND = 1e6
_BELOW = frozenset({"LessThanThreshold", "LessThanOrEqualToThreshold", "LessThanLowerThreshold"})


def target_metrics(target: ScalableTarget, *, now_s: float, concurrency_window_s: float = 900.0) -> Metrics:
    """Every series that a decision about `target` may look at, over the last `concurrency_window_s` seconds.

    One GetMetricData call of five metrics for a component (average and maximum of the concurrency, invocations,
    failures for want of a copy, model latency), four for a variant, which has no such failures. The window begins on a whole
    minute and ends with the 10-s period that `now_s` lies in, so the newest datapoints may still be filling: whoever
    decides must know that. A window beyond `LONGEST_WINDOW_S` is cut to it.

    In the answer datapoints are oldest first, and a missing one is absent, as is one that cannot be (not a number,
    infinite, negative). A series is None if CloudWatch could not read that metric; a series without points was read
    and is empty. Latency is in seconds, though SageMaker publishes microseconds.
    Raises the errors of `refusals`.
    """
    if not concurrency_window_s > 0:
        raise ValueError(f"concurrency_window_s is {concurrency_window_s}; expected more than 0")
    start_s = now_s - min(concurrency_window_s, LONGEST_WINDOW_S)
    request = {
        "MetricDataQueries": _queries(target),
        # Multiples of the period are answered faster and never cut a period in two (GetMetricData reference).
        "StartTime": _whole(start_s, MINUTE_S),
        "EndTime": _whole(now_s + HIGH_RESOLUTION_S, HIGH_RESOLUTION_S),
        "ScanBy": "TimestampAscending",
    }
    with translated(f"read the metrics of {target.target_id}"):
        read = _read(request)
    return Metrics(
        concurrency=_merge(read.get("concurrency_average"), read.get("concurrency_maximum")),
        invocations=_averages(read.get("invocations"), MINUTE_S),
        no_capacity=_averages(read.get("no_capacity"), HIGH_RESOLUTION_S),
        model_latency_s=_averages(read.get("model_latency"), MINUTE_S, scale=1 / MICROSECONDS_PER_SECOND),
    )


def alarms(names: Iterable[str]) -> tuple[Alarm, ...]:
    """The alarms called `names`, sorted by name; those that do not exist are absent.

    One DescribeAlarms call per hundred names. An alarm without one plain threshold (composite, anomaly, PromQL) has
    `threshold` NaN, with which every comparison is False.
    """
    wanted = sorted(set(names))
    found: list[Alarm] = []
    for first in range(0, len(wanted), ALARMS_PER_CALL):
        found.extend(_described({"AlarmNames": wanted[first : first + ALARMS_PER_CALL]}))
    return tuple(sorted(found, key=lambda alarm: alarm.name))


def alarm_series(target: ScalableTarget, found: Iterable[Alarm], *, now_s: float) -> Mapping[str, Series]:
    """What those alarms read that is none of `target_metrics`, by the alarm's name, as far back as each looks.

    One GetMetricData call, none if there is nothing of the kind. Values stand in `average` and `maximum` alike: they are
    of the alarm's own statistic and period. Raises the errors of `refusals`.
    """
    own = [alarm for alarm in found if alarm.queries and not _is_fetched(target, alarm)]
    if not own:
        return {}
    start_s = now_s - max(alarm.evaluation_periods * alarm.period_s for alarm in own) - ALARM_DELAY_S
    period_s = int(min(alarm.period_s for alarm in own))
    queries = [query for number, alarm in enumerate(own) for query in renamed(alarm.queries, f"a{number}")]
    request = {
        "MetricDataQueries": queries,
        "StartTime": _whole(max(start_s, now_s - LONGEST_WINDOW_S) if period_s < MINUTE_S else start_s, MINUTE_S),
        "EndTime": _whole(now_s + period_s, period_s),
        "ScanBy": "TimestampAscending",
    }
    with translated(f"read what the alarms of {target.target_id} look at"):
        read = _read(request)
    return {
        alarm.name: Series(
            alarm.period_s, tuple(Datapoint(at_s, value, value) for at_s, value in sorted(read[f"a{number}"].items()))
        )
        for number, alarm in enumerate(own)
        if f"a{number}" in read
    }


def alarms_in_alarm(prefix: str) -> tuple[Alarm, ...]:
    """Every alarm in state ALARM whose name begins with `prefix`, sorted by name. One call per hundred of them."""
    found = _described({"AlarmNamePrefix": prefix, "StateValue": "ALARM"})
    return tuple(sorted(found, key=lambda alarm: alarm.name))


def _is_fetched(target: ScalableTarget, alarm: Alarm) -> bool:
    """True if what the alarm reads is among `target_metrics`: the target's own concurrency, or its failures."""
    if len(alarm.queries) != 1 or "MetricStat" not in alarm.queries[0]:
        return False
    stat = alarm.queries[0]["MetricStat"]
    return any(
        stat["Metric"].get("Namespace") == NAMESPACE
        and stat["Metric"].get("MetricName") == own["Metric"]["MetricName"]
        and stat["Stat"] == own["Stat"]
        and stat["Period"] % own["Period"] == 0
        and _named(stat["Metric"]) == _named(own["Metric"])
        for own in (query["MetricStat"] for query in _queries(target))
        if own["Metric"]["MetricName"] not in ("Invocations", "ModelLatency")
    )


def _named(metric: Mapping[str, Any]) -> dict[str, str]:
    return {one["Name"]: one["Value"] for one in metric.get("Dimensions") or ()}


# -- metrics ----------------------------------------------------------------------------------------------------------


def concurrency_metric(target_id: TargetId) -> tuple[str, dict[str, str]]:
    """Name of a target's concurrency metric, and the dimensions of all its invocation metrics."""
    if target_id.component is not None:
        return "ConcurrentRequestsPerCopy", {"InferenceComponentName": target_id.component}
    _, endpoint, _, variant = target_id.resource_id.split("/", 3)
    return "ConcurrentRequestsPerModel", {"EndpointName": endpoint, "VariantName": variant}


def _queries(target: ScalableTarget) -> list[dict[str, Any]]:
    component = target.target_id.component
    concurrency, dimensions = concurrency_metric(target.target_id)
    rows = [
        ("concurrency_average", concurrency, "Average", HIGH_RESOLUTION_S),
        ("concurrency_maximum", concurrency, "Maximum", HIGH_RESOLUTION_S),
        ("invocations", "Invocations", "Sum", MINUTE_S),
        ("model_latency", "ModelLatency", "Average", MINUTE_S),
    ]
    if component is not None:
        rows.append(("no_capacity", "NoCapacityInvocationFailures", "Sum", HIGH_RESOLUTION_S))
    return [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {
                    "Namespace": NAMESPACE,
                    "MetricName": metric,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                },
                "Period": period_s,
                "Stat": statistic,
            },
            "ReturnData": True,
        }
        for name, metric, statistic, period_s in rows
    ]


def _read(request: dict[str, Any]) -> dict[str, dict[float, float]]:
    """Values by start time, by query; a query that CloudWatch failed on is absent. Follows pages, if there are any."""
    read: dict[str, dict[float, float]] = {}
    failed: set[str] = set()
    while True:
        page = client("cloudwatch").get_metric_data(**request)
        for result in page.get("MetricDataResults") or ():
            points = read.setdefault(result["Id"], {})
            if result.get("StatusCode") in ("InternalError", "Forbidden"):
                failed.add(result["Id"])
            for at, value in zip(result.get("Timestamps") or (), result.get("Values") or (), strict=False):
                at_s = seconds(at)
                if at_s is not None and _is_possible(value):
                    points[at_s] = float(value)
        if not page.get("NextToken"):
            return {name: points for name, points in read.items() if name not in failed}
        request = {**request, "NextToken": page["NextToken"]}


def _merge(average: Mapping[float, float] | None, maximum: Mapping[float, float] | None) -> Series | None:
    if average is None and maximum is None:
        return None
    average, maximum = average or {}, maximum or {}
    points = (Datapoint(at_s, average.get(at_s), maximum.get(at_s)) for at_s in sorted({*average, *maximum}))
    return Series(float(HIGH_RESOLUTION_S), tuple(points))


def _averages(values: Mapping[float, float] | None, period_s: int, *, scale: float = 1.0) -> Series | None:
    if values is None:
        return None
    return Series(float(period_s), tuple(Datapoint(at_s, average=values[at_s] * scale) for at_s in sorted(values)))


def _is_possible(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def _whole(at_s: float, period_s: int) -> datetime:
    return datetime.fromtimestamp(math.floor(at_s / period_s) * period_s, UTC)


# -- alarms -----------------------------------------------------------------------------------------------------------


def _described(request: dict[str, Any]) -> list[Alarm]:
    """Metric and composite alarms (unasked, DescribeAlarms leaves composite ones out), page by page."""
    request = {**request, "AlarmTypes": ["MetricAlarm", "CompositeAlarm"], "MaxRecords": ALARMS_PER_CALL}
    names = request.get("AlarmNames")
    which = f"{len(names)} alarms, the first {names[0]}" if names else f"alarms {request['AlarmNamePrefix']}*"
    found: list[Alarm] = []
    with translated(f"describe {which}"):
        while True:
            page = client("cloudwatch").describe_alarms(**request)
            rows = (*(page.get("MetricAlarms") or ()), *(page.get("CompositeAlarms") or ()))
            found.extend(_alarm(row) for row in rows)
            if not page.get("NextToken"):
                return found
            request = {**request, "NextToken": page["NextToken"]}


def _alarm(row: Mapping[str, Any]) -> Alarm:
    threshold = row.get("Threshold")
    metric = _watched(row.get("Metrics") or ())
    queries = _alarm_queries(row)
    return Alarm(
        name=row["AlarmName"],
        state=_state(row.get("StateValue")),
        # StateUpdatedTimestamp also moves when only EvaluationState does; an alarm that says neither is old.
        since_s=seconds(row.get("StateTransitionedTimestamp")) or seconds(row.get("StateUpdatedTimestamp")) or 0.0,
        threshold=math.nan if threshold is None else float(threshold),
        above=row.get("ComparisonOperator") not in _BELOW,
        period_s=float(row.get("Period") or metric.get("Period") or row.get("EvaluationInterval") or HIGH_RESOLUTION_S),
        evaluation_periods=int(row.get("EvaluationPeriods") or 1),
        statistic=row.get("Statistic") or row.get("ExtendedStatistic") or metric.get("Stat") or "Maximum",
        queries=queries,
    )


def _alarm_queries(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    if row.get("Metrics"):
        return tuple(row["Metrics"])
    if not row.get("MetricName"):
        return ()
    metric = {name: row[name] for name in ("Namespace", "MetricName", "Dimensions") if row.get(name)}
    stat = {
        "Metric": metric,
        "Period": row.get("Period") or MINUTE_S,
        "Stat": row.get("Statistic") or row.get("ExtendedStatistic") or "Average",
    }
    return ({"Id": "m", "MetricStat": stat | ({"Unit": row["Unit"]} if row.get("Unit") else {}), "ReturnData": True},)


def _state(word: Any) -> AlarmState:
    """A word that is not known says nothing about the metric, which is what INSUFFICIENT_DATA means."""
    return AlarmState(word) if word in set(AlarmState) else AlarmState.INSUFFICIENT_DATA


def _watched(queries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Period and statistic of a metric-math alarm: those of its first metric, all being of one period (PutMetricAlarm)."""
    return next((query["MetricStat"] for query in queries if query.get("MetricStat")), {})
