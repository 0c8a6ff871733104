"""PutMetricAlarm and PutCompositeAlarm as asked, DescribeAlarms as answered.

Refusals carry CloudWatch's code and the substance of its message; limits: CloudWatch API reference and "CloudWatch
service quotas".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from simulator.aws.alarm_evaluation import COMPARISONS, TREATMENTS, AlarmRule
from simulator.aws.alarms import Alarm
from simulator.aws.composite_rule import parse_rule
from simulator.aws.metric_queries import MetricStat, check_expressions, dimensions_of, parse_queries, valid_statistic
from simulator.aws.metric_store import series_key
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

_NOT_EMULATED = (
    "EvaluationCriteria",
    "EvaluationInterval",
    "EvaluationWindow",
    "ExtendedStatistic",
    "ThresholdMetricId",
)
_DAY_S, _WEEK_S, _HOUR_S = 86_400, 7 * 86_400, 3600


def metric_alarm(params: Mapping[str, Any], *, arn: str, now_s: float) -> Alarm:
    """The alarm that a PutMetricAlarm request asks for; raises ServiceError for what CloudWatch refuses."""
    for name in _NOT_EMULATED:
        if name in params:
            raise NotEmulated(f"PutMetricAlarm {name} (alarm {params['AlarmName']}) is not emulated")
    rule = _rule(params)
    _check_actions(params)
    if "Metrics" in params:
        extra = [
            name for name in ("MetricName", "Namespace", "Dimensions", "Period", "Statistic", "Unit") if name in params
        ]
        if extra:
            raise _refused(f"The parameters Metrics and {extra[0]} are mutually exclusive.")
        queries = tuple(parse_queries(params["Metrics"]))
        stats = [query.stat for query in queries if query.stat is not None]
        if sum(query.returns_data for query in queries) != 1:
            raise _refused("Exactly one element of the metrics list should return data.")
        if len(stats) > 10:
            raise _refused("The metrics list may have at most 10 metrics.")
        periods = {stat.period_s for stat in stats}
        if len(periods) != 1:
            raise _refused("All metrics of an alarm must have the same Period.")
        check_expressions(queries)
        period_s = periods.pop()
        stat = None
    else:
        missing = [name for name in ("MetricName", "Namespace", "Period", "Statistic") if name not in params]
        if missing:
            raise ServiceError("MissingParameter", f"The parameter {missing[0]} is required.")
        queries, period_s = (), params["Period"]
        key = series_key(params["Namespace"], params["MetricName"], dimensions_of(params.get("Dimensions")))
        stat = MetricStat(key, valid_statistic(params["Statistic"]), period_s)
    _check_period(period_s, rule.evaluation_periods)
    return Alarm(
        parameters={key: value for key, value in params.items() if key != "Tags"},
        arn=arn,
        configured_at_s=now_s,
        rule=rule,
        stat=stat,
        queries=queries,
        period_s=period_s,
        tags={tag["Key"]: tag["Value"] for tag in params.get("Tags", [])},
    )


def composite_alarm(params: Mapping[str, Any], *, arn: str, now_s: float) -> Alarm:
    """The alarm that a PutCompositeAlarm request asks for."""
    for name in ("ActionsSuppressor", "ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod"):
        if name in params:
            raise NotEmulated(f"PutCompositeAlarm {name} (alarm {params['AlarmName']}) is not emulated")
    _check_actions(params)
    return Alarm(
        parameters={key: value for key, value in params.items() if key != "Tags"},
        arn=arn,
        configured_at_s=now_s,
        composite=parse_rule(params["AlarmRule"]),
        tags={tag["Key"]: tag["Value"] for tag in params.get("Tags", [])},
    )


def described(alarm: Alarm) -> dict[str, Any]:
    """The alarm as DescribeAlarms shows it."""
    entry = {
        "OKActions": [],
        "AlarmActions": [],
        "InsufficientDataActions": [],
        "ActionsEnabled": True,
        **({"Dimensions": []} if alarm.stat is not None else {}),
        **alarm.parameters,
        "AlarmArn": alarm.arn,
        "AlarmConfigurationUpdatedTimestamp": at(alarm.configured_at_s),
        "StateValue": str(alarm.state),
        "StateReason": alarm.reason,
        "StateUpdatedTimestamp": at(alarm.state_at_s),
        "StateTransitionedTimestamp": at(alarm.state_at_s),
    }
    if alarm.reason_data is not None:
        entry["StateReasonData"] = alarm.reason_data
    return entry


def at(at_s: float) -> datetime:
    """A time of an answer, as boto3 gives it."""
    return datetime.fromtimestamp(at_s, UTC)


def _rule(params: Mapping[str, Any]) -> AlarmRule:
    n = params["EvaluationPeriods"]
    m = params.get("DatapointsToAlarm", n)
    if n < 1:
        raise _refused("EvaluationPeriods must be at least 1.")
    if not 1 <= m <= n:
        raise _refused(f"DatapointsToAlarm ({m}) must be between 1 and EvaluationPeriods ({n}).")
    if "Threshold" not in params:
        raise ServiceError("MissingParameter", "The parameter Threshold is required.")
    comparison = params["ComparisonOperator"]
    if comparison not in COMPARISONS:
        raise NotEmulated(f"ComparisonOperator {comparison} (anomaly detection) is not emulated")
    treatment = params.get("TreatMissingData", "missing")
    if treatment not in TREATMENTS:
        raise _refused(
            f"Option {treatment} for TreatMissingData is not supported. Valid options: {', '.join(TREATMENTS)}."
        )
    return AlarmRule(n, m, float(params["Threshold"]), comparison, treatment)


def _check_period(period_s: int, evaluation_periods: int) -> None:
    if period_s not in (10, 20, 30) and (period_s < 60 or period_s % 60):
        raise _refused("Period must be 10, 20, 30 or a multiple of 60.")
    limit_s, name = (_DAY_S, "a day") if period_s < _HOUR_S else (_WEEK_S, "7 days")
    if period_s * evaluation_periods > limit_s:
        raise _refused(
            f"Metrics cannot be checked across more than {name} (EvaluationPeriods * Period must be <= {limit_s})."
        )


def _check_actions(params: Mapping[str, Any]) -> None:
    for name in ("OKActions", "AlarmActions", "InsufficientDataActions"):
        actions = params.get(name, [])
        if len(actions) > 5:
            raise _refused(f"{name} may have at most 5 actions.")
        for action in actions:
            if not action.startswith("arn:"):
                raise _refused(f"Invalid arn syntax: {action}")


def _refused(message: str) -> ServiceError:
    return ServiceError("ValidationError", message)
