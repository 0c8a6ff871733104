"""The alarms of scaling policies: what PutMetricAlarm is asked for.

Layout: the high alarm fires when 2 of 3 ten-second datapoints are above, and a gap is not breaching; the low alarm when
all datapoints of its window are below, and a gap is missing, so that it never reads as idle. One-minute alarms have
Application Auto Scaling's 3 of 3 and 15 of 15.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quickstep.control.names import Names
from quickstep.control.refusals import ValidationException
from quickstep.control.tracked_metrics import MINUTE_S, SAGEMAKER, TrackedMetric, concurrency
from quickstep.model.targets import AlarmBinding, Dimension, TargetId

HIGH, LOW, WAKE = "AlarmHigh", "AlarmLow", "AlarmWake"
LOW_SHARE = 0.9
"""Application Auto Scaling's low alarm: nine tenths of the target value."""
LOW_WINDOW_S = 900
"""Application Auto Scaling's 15 minutes."""
DEMAND_LOW_PERIODS = 30
"""Demand sizing has a hold of its own, so its low alarm may be shorter: five minutes."""
DAY_S = 86_400
_Requests = dict[str, dict[str, Any]]


def tracking_alarms(
    policy: str,
    target_id: TargetId,
    target_value: float,
    metric: TrackedMetric,
    options: Mapping[str, Any],
    *,
    names: Names,
    scales_in: bool,
    low_periods: int | None = None,
) -> _Requests:
    """AlarmHigh and AlarmLow of a policy that keeps `metric` at `target_value`; no AlarmLow if it never scales in.

    `low_periods` is the default length of the low alarm. Raises ValidationException for windows that CloudWatch refuses.
    """
    high_n = options.get("HighAlarmEvaluationPeriods", 3)
    high_m = options.get("HighAlarmDatapoints", min(high_n, 2 if metric.period_s < MINUTE_S else 3))
    low_n = options.get("LowAlarmEvaluationPeriods", low_periods or LOW_WINDOW_S // metric.period_s)
    _check_window("HighAlarm", high_n, high_m, metric.period_s)
    _check_window("LowAlarm", low_n, low_n, metric.period_s)
    high = {
        "AlarmDescription": _description(policy, target_id, f"above its target {target_value:g}", "scales out"),
        **metric.request,
        "EvaluationPeriods": high_n,
        "DatapointsToAlarm": high_m,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": float(target_value),
        "TreatMissingData": "notBreaching",
    }
    found = {names.alarm_name(target_id, policy, HIGH): high}
    if scales_in:
        low = {
            "AlarmDescription": _description(policy, target_id, f"below its target {target_value:g}", "scales in"),
            **metric.request,
            "EvaluationPeriods": low_n,
            "DatapointsToAlarm": low_n,
            "ComparisonOperator": "LessThanThreshold",
            "Threshold": round(LOW_SHARE * target_value, 9),
            "TreatMissingData": "missing",
        }
        found[names.alarm_name(target_id, policy, LOW)] = low
    return _named(found)


def specified_alarm(
    policy: str, target_id: TargetId, specification: Mapping[str, Any], *, names: Names
) -> tuple[_Requests, AlarmBinding]:
    """The alarm of a step policy that `QuickstepOptions.AlarmSpecification` asks for, and how it is bound."""
    period_s = specification.get("Period", 10)
    if period_s not in (10, 20, 30) and period_s % MINUTE_S:
        raise ValidationException(
            f"AlarmSpecification.Period is {period_s}; it must be 10, 20, 30 or a multiple of 60 seconds"
        )
    metric = _specified_metric(target_id, specification, period_s)
    above = specification["ComparisonOperator"].startswith("Greater")
    periods = specification.get("EvaluationPeriods", 3 if above else DEMAND_LOW_PERIODS)
    datapoints = specification.get("DatapointsToAlarm", min(periods, 2) if above else periods)
    _check_window("AlarmSpecification", periods, datapoints, period_s)
    threshold = float(specification["Threshold"])
    name = names.alarm_name(target_id, policy, HIGH if above else LOW)
    side = "above" if above else "below"
    request = {
        "AlarmDescription": _description(policy, target_id, f"{side} {threshold:g}", "applies its steps"),
        **metric,
        "EvaluationPeriods": periods,
        "DatapointsToAlarm": datapoints,
        "ComparisonOperator": specification["ComparisonOperator"],
        "Threshold": threshold,
        "TreatMissingData": specification.get("TreatMissingData", "notBreaching" if above else "missing"),
    }
    return _named({name: request}), AlarmBinding(name, threshold, above)


def wake_alarm(target_id: TargetId, *, names: Names) -> _Requests:
    """The alarm that wakes an inference component from zero; empty for a variant, which reports no such failures."""
    if target_id.dimension is not Dimension.COPIES:
        return {}
    name = names.alarm_name(target_id, "wake", WAKE)
    request = {
        "AlarmDescription": (
            f"Quickstep: a request for {target_id} found no copy. Nothing to do: Quickstep wakes the component. If this "
            "stays in ALARM for more than ten minutes, look at the endpoint's status and the account's quota."
        ),
        "Namespace": SAGEMAKER,
        "MetricName": "NoCapacityInvocationFailures",
        "Dimensions": [{"Name": "InferenceComponentName", "Value": str(target_id.component)}],
        "Statistic": "Sum",
        "Period": 10,
        "EvaluationPeriods": 1,
        "DatapointsToAlarm": 1,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "Threshold": 1.0,
        "TreatMissingData": "notBreaching",
    }
    return _named({name: request})


def _specified_metric(target_id: TargetId, specification: Mapping[str, Any], period_s: int) -> Mapping[str, Any]:
    statistic = specification.get("Statistic", "Maximum")
    named = [name for name in ("MetricName", "Namespace") if specification.get(name)]
    if not named:
        if specification.get("Dimensions"):
            raise ValidationException(
                "AlarmSpecification.Dimensions needs MetricName and Namespace; give all three or none"
            )
        return concurrency(target_id, statistic, period_s).request
    if len(named) == 1:
        raise ValidationException(
            f"AlarmSpecification.{named[0]} is given alone; give MetricName and Namespace, or neither"
        )
    return {
        "Namespace": specification["Namespace"],
        "MetricName": specification["MetricName"],
        "Dimensions": [dict(one) for one in specification.get("Dimensions") or ()],
        "Statistic": statistic,
        "Period": period_s,
    }


def _check_window(what: str, periods: int, datapoints: int, period_s: int) -> None:
    if datapoints > periods:
        raise ValidationException(
            f"{what}: datapoints to alarm ({datapoints}) must not be more than the evaluation periods ({periods})"
        )
    if periods * period_s > DAY_S:
        raise ValidationException(
            f"{what}: {periods} periods of {period_s} s are more than a day; at most {DAY_S // period_s} are allowed"
        )


def _description(policy: str, target_id: TargetId, where: str, what: str) -> str:
    return (
        f"Quickstep, policy {policy}: the metric of {target_id} is {where}. Nothing to do: Quickstep {what}. "
        "Owned by the policy: change or delete that, not this alarm."
    )[:1024]


def _named(requests: _Requests) -> _Requests:
    return {name: {"AlarmName": name, **request} for name, request in sorted(requests.items())}
