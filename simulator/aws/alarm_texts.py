"""What CloudWatch says about an alarm: reasons, reason data, events and notifications.

Shapes: CloudWatch User Guide, "Alarm events and EventBridge" and "Invoke a Lambda function from an alarm"; wording of
reasons as recorded in public alarm histories.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from simulator.aws.alarm_evaluation import AlarmRule, AlarmState, Verdict

_WORDS = {
    "GreaterThanThreshold": "greater than",
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}
_TREATED_AS = {"breaching": "Breaching", "notBreaching": "NonBreaching", "missing": "Missing", "ignore": "Ignored"}


def timestamp(at_s: float) -> str:
    """`2026-01-01T00:00:10.250+0000`, as alarm events write it."""
    at = datetime.fromtimestamp(at_s, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}+0000"


def reason(
    verdict: Verdict,
    rule: AlarmRule,
    previous: AlarmState,
    *,
    values: Sequence[float | None],
    starts: Sequence[int],
) -> str:
    """The sentence that explains a transition; `starts` are the periods' starts, seconds since the epoch."""
    n, counted = rule.evaluation_periods, len(verdict.counted)
    if verdict.state is AlarmState.INSUFFICIENT_DATA:
        return f"Insufficient Data: {_datapoints(n)} {_was(n)} unknown."
    by_value = verdict.breaching >= rule.datapoints_to_alarm or (
        verdict.state is AlarmState.OK and counted - verdict.breaching > n - rule.datapoints_to_alarm
    )
    if not by_value:
        received = f"{_datapoints(counted)} {_was(counted)}" if counted else "no datapoints were"
        return (
            f"Threshold Crossed: {received} received for {n} period{'s' if n > 1 else ''} and {verdict.filled} missing "
            f"datapoint{'s' if verdict.filled > 1 else ''} {_was(verdict.filled)} treated as "
            f"[{_TREATED_AS[rule.treat_missing_data]}]."
        )
    goes_off = verdict.state is AlarmState.ALARM
    shown = [
        position
        for position in reversed(verdict.counted)
        if rule.breaches(values[position]) == goes_off  # type: ignore[arg-type]
    ]
    listed = ", ".join(f"{values[p]} ({datetime.fromtimestamp(starts[p], UTC):%d/%m/%y %H:%M:%S})" for p in shown)
    minimum = rule.datapoints_to_alarm if goes_off else n - rule.datapoints_to_alarm + 1
    return (
        f"Threshold Crossed: {len(shown)} out of the last {n} datapoints [{listed}] {_was(len(shown))} "
        f"{'' if goes_off else 'not '}{_WORDS[rule.comparison]} the threshold ({rule.threshold}) "
        f"(minimum {_datapoints(minimum)} for {previous} -> {verdict.state} transition)."
    )


def reason_data(
    verdict: Verdict,
    rule: AlarmRule,
    *,
    values: Sequence[float | None],
    starts: Sequence[int],
    counts: Sequence[float | None],
    period_s: int,
    statistic: str | None,
    unit: str | None,
    now_s: float,
) -> str:
    """`stateReasonData`: a JSON text. `recentDatapoints` are oldest first; metric math has no `statistic`."""
    data: dict[str, Any] = {"version": "1.0", "queryDate": timestamp(now_s)}
    if verdict.counted:
        data["startDate"] = timestamp(starts[verdict.counted[0]])
    if unit is not None:
        data["unit"] = unit
    if statistic is not None:
        data["statistic"] = statistic
    data |= {
        "period": period_s,
        "recentDatapoints": [values[position] for position in verdict.counted],
        "threshold": rule.threshold,
        "evaluatedDatapoints": [
            {"timestamp": timestamp(starts[position])}
            | ({} if counts[position] is None else {"sampleCount": counts[position]})
            | {"value": values[position]}
            for position in reversed(verdict.counted)
        ],
    }
    return json.dumps(data, separators=(",", ":"))


def metric_configuration(parameters: Mapping[str, Any], *, with_unit: bool = False) -> list[dict[str, Any]]:
    """`configuration.metrics` of an event: the alarm's metric, or its queries."""
    if "Metrics" not in parameters:
        dimensions = {one["Name"]: one["Value"] for one in parameters.get("Dimensions", [])}
        metric = {"dimensions": dimensions, "name": parameters["MetricName"], "namespace": parameters["Namespace"]}
        stat: dict[str, Any] = {"metric": metric, "period": parameters["Period"], "stat": parameters["Statistic"]}
        if with_unit and "Unit" in parameters:
            stat["unit"] = parameters["Unit"]
        return [{"id": _uuid(parameters["AlarmName"]), "metricStat": stat, "returnData": True}]
    configured = []
    for query in parameters["Metrics"]:
        entry: dict[str, Any] = {"id": query["Id"]}
        if "MetricStat" in query:
            metric = query["MetricStat"]["Metric"]
            entry["metricStat"] = {
                "metric": {
                    "dimensions": {one["Name"]: one["Value"] for one in metric.get("Dimensions", [])},
                    "name": metric["MetricName"],
                    "namespace": metric["Namespace"],
                },
                "period": query["MetricStat"]["Period"],
                "stat": query["MetricStat"]["Stat"],
            }
        else:
            entry["expression"] = query["Expression"]
            entry["label"] = query.get("Label", query["Id"])
        configured.append(entry | {"returnData": query.get("ReturnData", True)})
    return configured


def full_configuration(parameters: Mapping[str, Any], at_s: float) -> dict[str, Any]:
    """`configuration` of an alarm configuration change event."""
    names = {
        "alarmName": "AlarmName",
        "description": "AlarmDescription",
        "alarmRule": "AlarmRule",
        "comparisonOperator": "ComparisonOperator",
        "evaluationPeriods": "EvaluationPeriods",
        "datapointsToAlarm": "DatapointsToAlarm",
        "threshold": "Threshold",
        "treatMissingData": "TreatMissingData",
    }
    configuration = {ours: parameters[theirs] for ours, theirs in names.items() if theirs in parameters}
    if "AlarmRule" not in parameters:
        configuration["metrics"] = metric_configuration(parameters)
    return configuration | {
        "actionsEnabled": parameters.get("ActionsEnabled", True),
        "timestamp": timestamp(at_s),
        "okActions": parameters.get("OKActions", []),
        "alarmActions": parameters.get("AlarmActions", []),
        "insufficientDataActions": parameters.get("InsufficientDataActions", []),
    }


def notification(
    alarm: Mapping[str, Any], previous: str, *, account_id: str, region: str, now_s: float
) -> dict[str, Any]:
    """The JSON message that an SNS action sends; `alarm` is the alarm as DescribeAlarms shows it."""
    trigger = {
        key: alarm[key]
        for key in (
            "MetricName",
            "Namespace",
            "Statistic",
            "Period",
            "EvaluationPeriods",
            "Threshold",
            "ComparisonOperator",
        )
        if key in alarm
    }
    return {
        "AlarmName": alarm["AlarmName"],
        "AlarmDescription": alarm.get("AlarmDescription"),
        "AWSAccountId": account_id,
        "NewStateValue": alarm["StateValue"],
        "NewStateReason": alarm["StateReason"],
        "StateChangeTime": timestamp(now_s),
        "Region": region,
        "AlarmArn": alarm["AlarmArn"],
        "OldStateValue": previous,
        "Trigger": trigger
        | {"Dimensions": [{"name": d["Name"], "value": d["Value"]} for d in alarm.get("Dimensions", [])]},
    }


def triggering_alarms(names: Sequence[str], alarms: Mapping[str, Any]) -> str:
    """`reasonData` of a composite alarm: the children in ALARM, as a JSON text."""
    found = [alarms[name] for name in names if name in alarms]
    listed = [
        {"arn": one.arn, "state": {"value": str(one.state), "timestamp": timestamp(one.state_at_s)}} for one in found
    ]
    return json.dumps({"triggeringAlarms": listed}, separators=(",", ":"))


def history_data(kind: str, state: str, reason_text: str, data: str | None) -> str:
    """`HistoryData` of one history item, a JSON text."""
    entry: dict[str, Any] = {"version": "1.0", "type": kind}
    if kind == "StateUpdate":
        entry["newState"] = {"stateValue": state, "stateReason": reason_text}
        if data is not None:
            entry["newState"]["stateReasonData"] = json.loads(data)
    return json.dumps(entry, separators=(",", ":"))


def _datapoints(count: int) -> str:
    return f"{count} datapoint{'' if count == 1 else 's'}"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _uuid(name: str) -> str:
    """A stable id that looks like the random one CloudWatch gives to an alarm's only metric."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))
