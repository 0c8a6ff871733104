"""What bound alarms read, where that is not what every decision reads anyway: one call, by the alarm's name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from quickstep.gateways import aws, cloudwatch
from quickstep.model.observation import Datapoint, Series
from quickstep.model.targets import ScalableTarget, TargetId

NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
NOON_S = NOON.timestamp()
CHAT = ScalableTarget(TargetId.of_component("chat"), "llm", None, 0, 8, ())
ME = [{"Name": "InferenceComponentName", "Value": "chat"}]


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    aws.forget_clients()
    with Stubber(aws.client("cloudwatch")) as found:
        yield found
        found.assert_no_pending_responses()
    aws.forget_clients()


def row(name: str, **change: Any) -> dict[str, Any]:
    """An alarm as DescribeAlarms shows it; by default on the component's own concurrency."""
    base = {
        "AlarmName": name,
        "StateValue": "ALARM",
        "StateUpdatedTimestamp": NOON,
        "Namespace": "AWS/SageMaker",
        "MetricName": "ConcurrentRequestsPerCopy",
        "Dimensions": ME,
        "Statistic": "Maximum",
        "Period": 10,
        "EvaluationPeriods": 3,
        "Threshold": 5.0,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    return {key: value for key, value in {**base, **change}.items() if value is not None}


def described(stub: Stubber, *rows: dict[str, Any]) -> tuple:
    stub.add_response("describe_alarms", {"MetricAlarms": list(rows)})
    return cloudwatch.alarms([one["AlarmName"] for one in rows])


FETCHED = [
    # what differs from the component's own 10-s maximum, is it read anyway
    ({}, True),
    ({"Statistic": "Average"}, True),
    ({"Period": 60}, True),
    ({"MetricName": "NoCapacityInvocationFailures", "Statistic": "Sum"}, True),
    ({"Statistic": "Minimum"}, False),
    ({"Statistic": None, "ExtendedStatistic": "p90"}, False),
    ({"Dimensions": [{"Name": "InferenceComponentName", "Value": "other"}]}, False),
    ({"Dimensions": None}, False),
    ({"MetricName": "Invocations", "Statistic": "Sum", "Period": 60}, False),
    ({"MetricName": "ModelLatency", "Statistic": "Average", "Period": 60}, False),
    ({"Namespace": "Own"}, False),
]


@pytest.mark.parametrize(("change", "fetched"), FETCHED)
def test_only_what_no_decision_reads_anyway_is_asked_for(stub, change, fetched):
    found = described(stub, row("a", **change))
    if not fetched:
        answer = {"Id": "a0", "Timestamps": [NOON - timedelta(seconds=60)], "Values": [7.0], "StatusCode": "Complete"}
        stub.add_response("get_metric_data", {"MetricDataResults": [answer]})
    series = cloudwatch.alarm_series(CHAT, found, now_s=NOON_S)
    want = {} if fetched else {"a": Series(found[0].period_s, (Datapoint(NOON_S - 60, 7.0, 7.0),))}
    assert series == want


def test_all_alarms_are_read_in_one_call_as_far_back_as_the_longest_looks_and_ids_keep_apart(stub):
    math = [
        {"Id": "m", "MetricStat": {"Metric": {"Namespace": "N", "MetricName": "M"}, "Period": 10, "Stat": "Sum"}, "ReturnData": False},
        {"Id": "half", "Expression": "m / 2", "ReturnData": True},
    ]  # fmt: skip
    single = {"MetricName": None, "Namespace": None, "Dimensions": None, "Statistic": None, "Period": None}
    found = described(
        stub,
        row("a", Namespace="Own", MetricName="Waiting", Dimensions=None, EvaluationPeriods=60),
        row("b", **single, Metrics=math),
    )
    expected = {
        "MetricDataQueries": [
            {
                "Id": "a0",
                "MetricStat": {
                    "Metric": {"Namespace": "Own", "MetricName": "Waiting"},
                    "Period": 10,
                    "Stat": "Maximum",
                },
                "ReturnData": True,
            },
            {**math[0], "Id": "a1_m"},
            {"Id": "a1", "Expression": "a1_m / 2", "ReturnData": True},
        ],
        "StartTime": NOON - timedelta(seconds=720),
        "EndTime": NOON + timedelta(seconds=10),
        "ScanBy": "TimestampAscending",
    }
    answers = [
        {"Id": "a0", "Timestamps": [NOON - timedelta(seconds=20)], "Values": [3.0], "StatusCode": "Complete"},
        {"Id": "a1", "Timestamps": [], "Values": [], "StatusCode": "Forbidden"},
    ]
    stub.add_response("get_metric_data", {"MetricDataResults": answers}, expected)
    series = cloudwatch.alarm_series(CHAT, found, now_s=NOON_S)
    # What could not be read is absent, which is "no data"; it is not taken for something else.
    assert series == {"a": Series(10.0, (Datapoint(NOON_S - 20, 3.0, 3.0),))}


def test_a_composite_alarm_reads_nothing_of_its_own(stub):
    composite = {"AlarmName": "c", "StateValue": "OK", "StateUpdatedTimestamp": NOON, "AlarmRule": "ALARM(a)"}
    stub.add_response("describe_alarms", {"CompositeAlarms": [composite]})
    assert cloudwatch.alarm_series(CHAT, cloudwatch.alarms(["c"]), now_s=NOON_S) == {}
