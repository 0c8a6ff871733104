"""One call reads a target's metrics, and alarms are read in pages. Shapes are checked by botocore's models."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from botocore.stub import Stubber

from quickstep.errors import AccessDenied, Throttled
from quickstep.gateways import aws, cloudwatch
from quickstep.model.observation import AlarmState, Datapoint, Series
from quickstep.model.targets import ScalableTarget, TargetId

NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
NOON_S = NOON.timestamp()

COMPONENT = ScalableTarget(TargetId.of_component("chat"), "llm", None, 0, 8, ())
VARIANT = ScalableTarget(TargetId.of_variant("llm", "AllTraffic"), "llm", "AllTraffic", 1, 8, ())


@pytest.fixture
def cloudwatch_stub(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    aws.forget_clients()
    with Stubber(aws.client("cloudwatch")) as stub:
        yield stub
        stub.assert_no_pending_responses()
    aws.forget_clients()


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def result(name, *points, status="Complete"):
    """A MetricDataResult of (seconds after noon, value)."""
    return {
        "Id": name,
        "Label": name,
        "Timestamps": [at(offset) for offset, _ in points],
        "Values": [value for _, value in points],
        "StatusCode": status,
    }


def query(name, metric, statistic, period, dimensions):
    return {
        "Id": name,
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/SageMaker",
                "MetricName": metric,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
            },
            "Period": period,
            "Stat": statistic,
        },
        "ReturnData": True,
    }


# -- what is asked ----------------------------------------------------------------------------------------------------


def test_a_components_five_metrics_are_asked_for_in_one_call(cloudwatch_stub):
    dimensions = {"InferenceComponentName": "chat"}
    expected = {
        "MetricDataQueries": [
            query("concurrency_average", "ConcurrentRequestsPerCopy", "Average", 10, dimensions),
            query("concurrency_maximum", "ConcurrentRequestsPerCopy", "Maximum", 10, dimensions),
            query("invocations", "Invocations", "Sum", 60, dimensions),
            query("model_latency", "ModelLatency", "Average", 60, dimensions),
            query("no_capacity", "NoCapacityInvocationFailures", "Sum", 10, dimensions),
        ],
        "StartTime": NOON - timedelta(minutes=15),
        "EndTime": at(50),
        "ScanBy": "TimestampAscending",
    }
    cloudwatch_stub.add_response("get_metric_data", {"MetricDataResults": []}, expected)
    cloudwatch.target_metrics(COMPONENT, now_s=NOON_S + 43.2)


def test_a_variants_metrics_have_its_dimensions_and_no_capacity_failures(cloudwatch_stub):
    dimensions = {"EndpointName": "llm", "VariantName": "AllTraffic"}
    expected = {
        "MetricDataQueries": [
            query("concurrency_average", "ConcurrentRequestsPerModel", "Average", 10, dimensions),
            query("concurrency_maximum", "ConcurrentRequestsPerModel", "Maximum", 10, dimensions),
            query("invocations", "Invocations", "Sum", 60, dimensions),
            query("model_latency", "ModelLatency", "Average", 60, dimensions),
        ],
        "StartTime": NOON - timedelta(minutes=15),
        "EndTime": at(10),
        "ScanBy": "TimestampAscending",
    }
    cloudwatch_stub.add_response("get_metric_data", {"MetricDataResults": []}, expected)
    metrics = cloudwatch.target_metrics(VARIANT, now_s=NOON_S)
    assert metrics.no_capacity is None


# now, window, start and end in seconds after noon: whole minute to the end of the 10-s period of now
WINDOWS = [
    (0, 900, -900, 10),
    (9.9, 900, -900, 10),
    (10, 900, -900, 20),
    (59.9, 60, -60, 60),
    (61, 60, 0, 70),
    (0, 10_740, -10_740, 10),
    # ten-second data is kept for three hours; a start before that would be answered with nothing
    (0, 10_800, -10_740, 10),
    (59, math.inf, -10_740, 60),
]


@pytest.mark.parametrize(("now", "window", "start", "end"), WINDOWS)
def test_the_window_lies_on_the_metrics_grid_and_holds_the_period_that_is_filling(
    cloudwatch_stub, now, window, start, end
):
    seen = {}
    aws.client("cloudwatch").meta.events.register(
        "provide-client-params.cloudwatch.GetMetricData", lambda params, **_: seen.update(params)
    )
    cloudwatch_stub.add_response("get_metric_data", {"MetricDataResults": []})
    cloudwatch.target_metrics(COMPONENT, now_s=NOON_S + now, concurrency_window_s=window)
    assert (seen["StartTime"], seen["EndTime"]) == (at(start), at(end))


@pytest.mark.parametrize("window", [0, -10, math.nan])
def test_a_window_of_no_length_is_refused(window):
    with pytest.raises(ValueError, match="concurrency_window_s"):
        cloudwatch.target_metrics(COMPONENT, now_s=NOON_S, concurrency_window_s=window)


# -- what is read -----------------------------------------------------------------------------------------------------


def test_series_come_oldest_first_with_gaps_left_out_and_latency_in_seconds(cloudwatch_stub):
    results = [
        result("concurrency_average", (20, 2.5), (0, 1.5)),
        result("concurrency_maximum", (0, 4.0), (20, 6.0), (30, 7.0)),
        result("invocations", (0, 118.0)),
        result("model_latency", (0, 2_500_000.0)),
        result("no_capacity"),
    ]
    cloudwatch_stub.add_response("get_metric_data", {"MetricDataResults": results})
    metrics = cloudwatch.target_metrics(COMPONENT, now_s=NOON_S + 35)
    assert metrics.concurrency == Series(
        10.0,
        (Datapoint(NOON_S, 1.5, 4.0), Datapoint(NOON_S + 20, 2.5, 6.0), Datapoint(NOON_S + 30, None, 7.0)),
    )
    assert metrics.invocations == Series(60.0, (Datapoint(NOON_S, average=118.0),))
    assert metrics.model_latency_s == Series(60.0, (Datapoint(NOON_S, average=2.5),))
    assert metrics.no_capacity == Series(10.0, ())


# results of the two concurrency queries, the series
CONCURRENCY = [
    ([], None),
    ([result("concurrency_average")], Series(10.0, ())),
    ([result("concurrency_maximum", (0, 3.0))], Series(10.0, (Datapoint(NOON_S, None, 3.0),))),
    ([result("concurrency_average", (0, 0.0))], Series(10.0, (Datapoint(NOON_S, 0.0, None),))),
    # values that cannot be are unknown, not zero
    (
        [
            result("concurrency_average", (0, math.nan), (10, 1.0)),
            result("concurrency_maximum", (0, -1.0), (10, math.inf)),
        ],
        Series(10.0, (Datapoint(NOON_S + 10, 1.0, None),)),
    ),
    ([result("concurrency_maximum", (0, math.nan))], Series(10.0, ())),
    # a query that CloudWatch failed on says nothing, not even "empty"
    ([result("concurrency_average", (0, 3.0), status="InternalError")], None),
    ([result("concurrency_average", status="Forbidden")], None),
    (
        [result("concurrency_average", (0, 3.0), status="InternalError"), result("concurrency_maximum", (0, 4.0))],
        Series(10.0, (Datapoint(NOON_S, None, 4.0),)),
    ),
    ([result("concurrency_average", (0, 3.0), status="PartialData")], Series(10.0, (Datapoint(NOON_S, 3.0, None),))),
]


@pytest.mark.parametrize(("results", "series"), CONCURRENCY, ids=range(len(CONCURRENCY)))
def test_no_data_zero_and_a_failed_read_are_three_different_answers(cloudwatch_stub, results, series):
    cloudwatch_stub.add_response("get_metric_data", {"MetricDataResults": results})
    assert cloudwatch.target_metrics(COMPONENT, now_s=NOON_S + 5).concurrency == series


def test_pages_of_one_series_are_joined(cloudwatch_stub):
    first = {"MetricDataResults": [result("invocations", (60, 2.0), status="PartialData")], "NextToken": "more"}
    cloudwatch_stub.add_response("get_metric_data", first)
    cloudwatch_stub.add_response("get_metric_data", {"MetricDataResults": [result("invocations", (0, 1.0))]})
    series = cloudwatch.target_metrics(COMPONENT, now_s=NOON_S + 65).invocations
    assert series == Series(60.0, (Datapoint(NOON_S, 1.0), Datapoint(NOON_S + 60, 2.0)))


def test_a_refused_read_names_the_target(cloudwatch_stub):
    cloudwatch_stub.add_client_error("get_metric_data", "AccessDenied", "is not authorized to perform", 403)
    with pytest.raises(AccessDenied, match="inference-component/chat"):
        cloudwatch.target_metrics(COMPONENT, now_s=NOON_S)


# -- alarms -----------------------------------------------------------------------------------------------------------


def metric_alarm(name="prod--chat-high", **more):
    return {
        "AlarmName": name,
        "StateValue": "ALARM",
        "StateUpdatedTimestamp": at(30),
        "StateTransitionedTimestamp": at(10),
        "MetricName": "ConcurrentRequestsPerCopy",
        "Namespace": "AWS/SageMaker",
        "Statistic": "Maximum",
        "Period": 10,
        "EvaluationPeriods": 3,
        "Threshold": 20.0,
        "ComparisonOperator": "GreaterThanThreshold",
        **more,
    }


def without(row, *names):
    return {key: value for key, value in row.items() if key not in names}


def composite_alarm(name="prod--any"):
    return {"AlarmName": name, "StateValue": "OK", "AlarmRule": "ALARM(a)", "StateTransitionedTimestamp": at(10)}


TYPES = ["MetricAlarm", "CompositeAlarm"]


def test_an_alarm_is_read_whole(cloudwatch_stub):
    expected = {"AlarmNames": ["prod--chat-high"], "AlarmTypes": TYPES, "MaxRecords": 100}
    cloudwatch_stub.add_response("describe_alarms", {"MetricAlarms": [metric_alarm()]}, expected)
    (alarm,) = cloudwatch.alarms(["prod--chat-high"])
    assert (alarm.name, alarm.state, alarm.since_s) == ("prod--chat-high", AlarmState.ALARM, NOON_S + 10)
    assert (alarm.threshold, alarm.above) == (20.0, True)
    assert (alarm.period_s, alarm.evaluation_periods, alarm.statistic) == (10.0, 3, "Maximum")


METRIC_MATH = [
    {"Id": "e1", "Expression": "m1 * 2", "ReturnData": True},
    {"Id": "m1", "ReturnData": False, "MetricStat": {"Metric": {"MetricName": "x"}, "Period": 30, "Stat": "Average"}},
]
# row, field, value
FIELDS = [
    (without(metric_alarm(), "StateTransitionedTimestamp"), "since_s", NOON_S + 30),
    (metric_alarm(StateValue="OK"), "state", AlarmState.OK),
    (metric_alarm(StateValue="INSUFFICIENT_DATA"), "state", AlarmState.INSUFFICIENT_DATA),
    (metric_alarm(StateValue="NEW_WORD"), "state", AlarmState.INSUFFICIENT_DATA),
    (metric_alarm(ComparisonOperator="GreaterThanOrEqualToThreshold"), "above", True),
    (metric_alarm(ComparisonOperator="GreaterThanUpperThreshold"), "above", True),
    (metric_alarm(ComparisonOperator="LessThanThreshold"), "above", False),
    (metric_alarm(ComparisonOperator="LessThanOrEqualToThreshold"), "above", False),
    (metric_alarm(ComparisonOperator="LessThanLowerThreshold"), "above", False),
    (metric_alarm(ComparisonOperator="LessThanLowerOrGreaterThanUpperThreshold"), "above", True),
    (without(metric_alarm(ExtendedStatistic="p99"), "Statistic"), "statistic", "p99"),
    (without(metric_alarm(Metrics=METRIC_MATH), "Statistic", "Period"), "statistic", "Average"),
    (without(metric_alarm(Metrics=METRIC_MATH), "Statistic", "Period"), "period_s", 30.0),
    (without(metric_alarm(EvaluationInterval=20), "Period"), "period_s", 20.0),
    (metric_alarm(Threshold=0.0), "threshold", 0.0),
]


@pytest.mark.parametrize(("row", "field", "value"), FIELDS, ids=range(len(FIELDS)))
def test_a_field_of_an_alarm_is_read_from_wherever_this_kind_has_it(cloudwatch_stub, row, field, value):
    cloudwatch_stub.add_response("describe_alarms", {"MetricAlarms": [row]})
    (alarm,) = cloudwatch.alarms(["prod--chat-high"])
    assert getattr(alarm, field) == value


@pytest.mark.parametrize(
    "answer",
    [
        {"CompositeAlarms": [composite_alarm()]},
        {"MetricAlarms": [without(metric_alarm("prod--any", StateValue="OK"), "Threshold")]},
    ],
    ids=["composite", "anomaly"],
)
def test_an_alarm_without_a_threshold_breaches_nothing(cloudwatch_stub, answer):
    cloudwatch_stub.add_response("describe_alarms", answer)
    (alarm,) = cloudwatch.alarms(["prod--any"])
    assert (alarm.name, alarm.state) == ("prod--any", AlarmState.OK)
    assert not alarm.threshold < 1e9
    assert not alarm.threshold >= -1e9


def test_two_hundred_and_fifty_names_are_asked_for_in_three_calls_without_doubles(cloudwatch_stub):
    names = [f"prod--{number:03}" for number in range(250)]
    for first in (0, 100, 200):
        part = names[first : first + 100]
        expected = {"AlarmNames": part, "AlarmTypes": TYPES, "MaxRecords": 100}
        cloudwatch_stub.add_response("describe_alarms", {"MetricAlarms": [metric_alarm(part[0])]}, expected)
    found = cloudwatch.alarms([*reversed(names), *names])
    assert [alarm.name for alarm in found] == ["prod--000", "prod--100", "prod--200"]


def test_no_names_cost_no_call(cloudwatch_stub):
    assert cloudwatch.alarms([]) == ()


def test_alarms_in_alarm_are_found_by_prefix_and_state_over_pages(cloudwatch_stub):
    first = {"AlarmNamePrefix": "prod--", "StateValue": "ALARM", "AlarmTypes": TYPES, "MaxRecords": 100}
    page = {"MetricAlarms": [metric_alarm("prod--z")], "CompositeAlarms": [], "NextToken": "more"}
    cloudwatch_stub.add_response("describe_alarms", page, first)
    cloudwatch_stub.add_response(
        "describe_alarms", {"MetricAlarms": [metric_alarm("prod--a")]}, {**first, "NextToken": "more"}
    )
    assert [alarm.name for alarm in cloudwatch.alarms_in_alarm("prod--")] == ["prod--a", "prod--z"]


def test_throttled_alarm_reads_are_a_typed_error(cloudwatch_stub):
    cloudwatch_stub.add_client_error("describe_alarms", "ThrottlingException", "Rate exceeded", 400)
    with pytest.raises(Throttled, match="prod--"):
        cloudwatch.alarms_in_alarm("prod--")
