"""Metrics: what was reported can be read, when it is visible, by the period and statistic that is asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from simulator.aws.cloudwatch import delayed
from simulator.aws.metric_math import MathError, evaluate
from simulator.clock import EPOCH_S
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated
from tests.simulator.cloudwatch_account import COMPONENT, METRIC, CloudWatchAccount

START = datetime.fromtimestamp(EPOCH_S, UTC)


def at(t: float) -> datetime:
    return START + timedelta(seconds=t)


def query(stat: str = "Maximum", period_s: int = 10, name: str = "m", **more) -> dict:
    metric = {"Namespace": METRIC["Namespace"], "MetricName": METRIC["MetricName"], "Dimensions": COMPONENT}
    return {"Id": name, "MetricStat": {"Metric": metric, "Period": period_s, "Stat": stat}, **more}


def read(account: CloudWatchAccount, *queries: dict, start: float = 0, end: float = 60, **more) -> list[dict]:
    answer = account.call(
        "GetMetricData",
        MetricDataQueries=list(queries),
        StartTime=at(start),
        EndTime=at(end),
        ScanBy="TimestampAscending",
        **more,
    )
    return answer["MetricDataResults"]


def points(result: dict) -> dict[float, float]:
    return {
        (when - START).total_seconds(): value
        for when, value in zip(result["Timestamps"], result["Values"], strict=True)
    }


@pytest.fixture
def account() -> CloudWatchAccount:
    return CloudWatchAccount()


@pytest.mark.parametrize(
    ("stat", "period_s", "expected"),
    [
        ("Maximum", 10, {0: 4.0, 10: 8.0, 30: 6.0}),
        ("Average", 10, {0: 3.0, 10: 8.0, 30: 6.0}),
        ("Minimum", 20, {0: 2.0, 20: 6.0}),
        ("Sum", 30, {0: 14.0, 30: 6.0}),
        ("SampleCount", 60, {0: 4.0}),
        ("Average", 60, {0: 5.0}),
    ],
)
def test_samples_are_summed_up_by_period(account, stat, period_s, expected):
    for t, value in ((0, 2.0), (3, 4.0), (10, 8.0), (30, 6.0)):
        account.report(t, value)
    account.run_to(60)
    (result,) = read(account, query(stat, period_s))
    assert points(result) == expected
    assert (result["Label"], result["StatusCode"]) == ("ConcurrentRequestsPerCopy", "Complete")


def test_a_datapoint_is_visible_only_after_its_publish_delay():
    account = CloudWatchAccount(publish_delay_s=(7.0, 7.0))
    account.run_to(10)
    account.report(0, 5.0)
    account.run_to(16.9)
    assert points(read(account, query())[0]) == {}
    account.run_to(17)
    assert points(read(account, query())[0]) == {0: 5.0}


def test_datapoints_may_come_out_of_order_and_still_fall_into_their_periods(account):
    account.run_to(60)
    for t, value in ((40, 4.0), (0, 1.0), (20, 2.0), (0, 9.0)):
        account.report(t, value)
    assert points(read(account, query())[0]) == {0: 9.0, 20: 2.0, 40: 4.0}


def test_a_sample_of_several_values_counts_each(account):
    datum = {"MetricName": "Latency", "Values": [1.0, 3.0], "Counts": [3.0, 1.0], "Timestamp": at(0)}
    summary = {"SampleCount": 4.0, "Sum": 6.0, "Minimum": 1.0, "Maximum": 3.0}
    account.call("PutMetricData", Namespace="Mine", MetricData=[datum])
    datum = {"MetricName": "Other", "StatisticValues": summary, "Timestamp": at(0)}
    account.call("PutMetricData", Namespace="Mine", MetricData=[datum])
    account.run_to(60)
    for name in ("Latency", "Other"):
        answer = account.call(
            "GetMetricStatistics",
            Namespace="Mine",
            MetricName=name,
            StartTime=at(0),
            EndTime=at(60),
            Period=60,
            Statistics=["Average", "Maximum", "Minimum", "Sum", "SampleCount"],
        )
        (point,) = answer["Datapoints"]
        assert {key: point[key] for key in ("Average", "Maximum", "Minimum", "Sum", "SampleCount")} == {
            "Average": 1.5,
            "Maximum": 3.0,
            "Minimum": 1.0,
            "Sum": 6.0,
            "SampleCount": 4.0,
        }


def test_standard_resolution_shows_up_once_a_minute_whatever_the_period(account):
    account.call("PutMetricData", Namespace="Mine", MetricData=[{"MetricName": "A", "Value": 1.0, "Timestamp": at(35)}])
    account.call(
        "PutMetricData",
        Namespace="Mine",
        MetricData=[{"MetricName": "B", "Value": 1.0, "Timestamp": at(35), "StorageResolution": 1}],
    )
    account.run_to(60)
    for name, where in (("A", 0), ("B", 30)):
        metric = {
            "Id": "m",
            "MetricStat": {"Metric": {"Namespace": "Mine", "MetricName": name}, "Period": 10, "Stat": "Sum"},
        }
        assert points(read(account, metric)[0]) == {where: 1.0}


def test_sub_minute_datapoints_are_kept_for_three_hours_and_their_minutes_longer(account):
    account.run_to(10)
    account.report(0, 5.0)
    account.run_to(3 * 3600 + 60)
    for _ in range(200):
        account.report(3 * 3600, 1.0)
    assert points(read(account, query(), end=60)[0]) == {}
    assert points(read(account, query(period_s=60), end=60)[0]) == {0: 5.0}


def test_dimensions_are_matched_as_a_whole(account):
    account.report(0, 5.0)
    account.run_to(60)
    other = query()
    other["MetricStat"]["Metric"] = {"Namespace": "AWS/SageMaker", "MetricName": "ConcurrentRequestsPerCopy"}
    assert points(read(account, other)[0]) == {}


def test_pages_hold_max_datapoints_and_join_up(account):
    for t in range(0, 60, 10):
        account.report(t, float(t))
    account.run_to(60)
    seen: list[float] = []
    request = {
        "MetricDataQueries": [query(name="a"), query("Minimum", name="b")],
        "StartTime": at(0),
        "EndTime": at(60),
    }
    token: dict = {}
    pages = 0
    while True:
        answer = account.call("GetMetricData", **request, MaxDatapoints=5, ScanBy="TimestampAscending", **token)
        pages += 1
        seen += [value for result in answer["MetricDataResults"] for value in result["Values"]]
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    assert pages == 3 and seen == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0] * 2


def test_newest_comes_first_unless_asked_otherwise(account):
    for t in (0, 10):
        account.report(t, float(t))
    account.run_to(60)
    answer = account.call("GetMetricData", MetricDataQueries=[query()], StartTime=at(0), EndTime=at(60))
    assert answer["MetricDataResults"][0]["Values"] == [10.0, 0.0]


def test_reading_is_billed_by_the_metric_and_publishing_by_aws_is_free(account):
    account.report(0, 1.0)
    read(
        account, query(name="a", ReturnData=False), query(name="b", ReturnData=False), {"Id": "e", "Expression": "a+b"}
    )
    assert account.service.billable == {"GetMetricData": 1, "GetMetricData.metrics": 2}


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"StartTime": at(60)}, "ValidationError", "StartTime must be less than"),
        (
            {"MetricDataQueries": [query(period_s=15)]},
            "ValidationError",
            "must be 1, 5, 10, 20, 30 or a multiple of 60",
        ),
        ({"MetricDataQueries": [query("Mean")]}, "ValidationError", "Invalid statistic"),
        ({"MetricDataQueries": [{"Id": "e"}]}, "ValidationError", "either MetricStat or Expression"),
        ({"MetricDataQueries": [query(), query()]}, "ValidationError", "not unique"),
        ({"MetricDataQueries": [{"Id": "e", "Expression": "x + 1"}]}, "ValidationError", "Error in expression 'e'"),
        (
            {"MetricDataQueries": [{"Id": "e", "Expression": "f+1"}, {"Id": "f", "Expression": "e"}]},
            "ValidationError",
            "Circular",
        ),
    ],
)
def test_what_cloudwatch_refuses_is_refused(account, change, code, text):
    request = {"MetricDataQueries": [query()], "StartTime": at(0), "EndTime": at(60), **change}
    with pytest.raises(ServiceError) as refused:
        account.call("GetMetricData", **request)
    assert refused.value.code == code and text in refused.value.message


def test_percentiles_and_searches_are_gaps_and_not_answers(account):
    for wrong in (query("p99"), {"Id": "s", "Expression": "SEARCH('{AWS/SageMaker}', 'Sum', 60)"}):
        with pytest.raises(NotEmulated):
            read(account, wrong)


def test_a_window_of_more_than_1440_points_is_refused(account):
    with pytest.raises(ServiceError, match="exceeds the limit of 1,440"):
        account.call(
            "GetMetricStatistics", **METRIC, StartTime=at(0), EndTime=at(14_410), Period=10, Statistics=["Maximum"]
        )


def test_a_namespace_of_aws_cannot_be_written(account):
    with pytest.raises(ServiceError, match="AWS/SageMaker"):
        account.call("PutMetricData", Namespace="AWS/SageMaker", MetricData=[{"MetricName": "A", "Value": 1.0}])


def test_metrics_are_listed_by_namespace_name_and_dimension(account):
    account.report(0, 1.0)
    account.report(0, 1.0, metric="Invocations", period_s=60)
    account.run_to(1)
    listed = account.call("ListMetrics", Namespace="AWS/SageMaker")["Metrics"]
    assert [one["MetricName"] for one in listed] == ["ConcurrentRequestsPerCopy", "Invocations"]
    assert len(account.call("ListMetrics", MetricName="Invocations", Dimensions=COMPONENT)["Metrics"]) == 1
    assert account.call("ListMetrics", Dimensions=[{"Name": "EndpointName"}])["Metrics"] == []


def test_a_test_can_lose_repeat_and_delay_samples(account):
    account.service.tamper = lambda one: {1.0: [], 2.0: [one, one], 3.0: [delayed(one, 30)]}[one.sample.maximum]
    for t, value in ((0, 1.0), (10, 2.0), (20, 3.0)):
        account.report(t, value)
    account.run_to(49)
    assert points(read(account, query("SampleCount"))[0]) == {10: 2.0}
    account.run_to(50)
    assert points(read(account, query("SampleCount"))[0]) == {10: 2.0, 20: 1.0}


A, B = {0: 1.0, 10: 2.0, 20: 4.0}, {10: 10.0, 20: 0.0, 30: 5.0}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a * 2 + 1", {0: 3.0, 10: 5.0, 20: 9.0}),
        ("1 + 2 * a", {0: 3.0, 10: 5.0, 20: 9.0}),
        ("(1 + 2) * a", {0: 3.0, 10: 6.0, 20: 12.0}),
        ("-a", {0: -1.0, 10: -2.0, 20: -4.0}),
        ("10 - a - 1", {0: 8.0, 10: 7.0, 20: 5.0}),
        ("a + b", {10: 12.0, 20: 4.0}),  # where both have a datapoint
        ("a / b", {10: 0.2}),  # nothing where the divisor is 0
        ("FILL(a, 0)", {0: 1.0, 10: 2.0, 20: 4.0, 30: 0.0}),
        ("FILL(b, REPEAT)", {10: 10.0, 20: 0.0, 30: 5.0}),
        ("FILL(a, 0) + FILL(b, 0)", {0: 1.0, 10: 12.0, 20: 4.0, 30: 5.0}),
        ("MAX([a, b])", {0: 1.0, 10: 10.0, 20: 4.0, 30: 5.0}),
        ("SUM([a, b])", {0: 1.0, 10: 12.0, 20: 4.0, 30: 5.0}),
        ("a - MAX(a)", {0: -3.0, 10: -2.0, 20: 0.0}),
        ("AVG([a, 3])", {0: 2.0, 10: 2.5, 20: 3.5}),
        ("IF(a > 1, a, 0)", {0: 0.0, 10: 2.0, 20: 4.0}),
        ("2 ^ a", {0: 2.0, 10: 4.0, 20: 16.0}),
        ("ABS(a - 3)", {0: 2.0, 10: 1.0, 20: 1.0}),
    ],
)
def test_metric_math_follows_the_user_guide(expression, expected):
    assert evaluate(expression, {"a": A, "b": B}, [0, 10, 20, 30]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("MAX(a)", "must return a time series"),
        ("a +", "Unexpected end"),
        ("a b", "Unexpected token 'b'"),
        ("(a", "Expected"),
        ("c + 1", "Undefined variable 'c'"),
        ("ANOMALY(a)", "Unsupported function 'ANOMALY'"),
        ("a % 2", "Unexpected token '%'"),
    ],
)
def test_an_expression_that_is_none_is_refused_with_its_fault(expression, problem):
    with pytest.raises(MathError, match=problem.replace("(", "\\(")):
        evaluate(expression, {"a": A}, [0])
