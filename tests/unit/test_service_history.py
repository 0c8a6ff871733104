"""The minutes of a target's service: which metrics are asked for, and what becomes of them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from botocore.stub import Stubber

from quickstep.errors import Throttled
from quickstep.gateways import aws
from quickstep.gateways.metric_history import service_history
from quickstep.model.service import ServiceMinute
from quickstep.model.targets import TargetId

NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
NOON_S = NOON.timestamp()
CHAT, SINGLE = TargetId.of_component("chat"), TargetId.of_variant("llm", "AllTraffic")


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    aws.forget_clients()
    with Stubber(aws.client("cloudwatch")) as made:
        yield made
        made.assert_no_pending_responses()
    aws.forget_clients()


def answer(**series):
    """A page of GetMetricData: values by minute after noon, by query."""
    return {
        "MetricDataResults": [
            {
                "Id": name,
                "Timestamps": [NOON + timedelta(minutes=minute) for minute in values],
                "Values": list(values.values()),
                "StatusCode": "Complete",
            }
            for name, values in series.items()
        ]
    }


@pytest.mark.parametrize(
    ("target_id", "concurrency", "arrivals", "dimensions"),
    [
        (CHAT, "ConcurrentRequestsPerCopy", "InvocationsPerCopy", {"InferenceComponentName": "chat"}),
        (
            SINGLE,
            "ConcurrentRequestsPerModel",
            "InvocationsPerInstance",
            {"EndpointName": "llm", "VariantName": "AllTraffic"},
        ),
    ],
    ids=["component", "variant"],
)
def test_five_metrics_are_asked_for_by_whole_minutes(stub, target_id, concurrency, arrivals, dimensions):
    rows = [
        ("average", concurrency, "Average"),
        ("maximum", concurrency, "Maximum"),
        ("latency", "ModelLatency", "p90"),
        ("requests", "ModelLatency", "SampleCount"),
        ("arrivals", arrivals, "Sum"),
    ]
    named = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    queries = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": named},
                "Period": 60,
                "Stat": statistic,
            },
            "ReturnData": True,
        }
        for name, metric, statistic in rows
    ]
    want = {
        "MetricDataQueries": queries,
        "StartTime": NOON - timedelta(hours=1),
        "EndTime": NOON,
        "ScanBy": "TimestampAscending",
    }
    stub.add_response("get_metric_data", answer(), want)
    found = service_history(target_id, start_s=NOON_S - 3599, end_s=NOON_S + 59, latency_statistic="p90")
    assert found.minutes == ()


def test_a_minute_is_one_only_where_requests_ended_and_both_metrics_are_known(stub):
    stub.add_response(
        "get_metric_data",
        answer(
            average={0: 2.0, 1: 3.0, 2: 0.0, 4: 5.0, 5: math.nan},
            maximum={0: 4.0, 1: 6.0, 2: 0.0, 4: 9.0},
            latency={0: 1_500_000.0, 1: 2_000_000.0, 2: 1_000_000.0, 3: 900_000.0, 5: 1.0},
            requests={0: 80.0, 1: 90.0, 2: 5.0, 3: 4.0, 4: 0.0, 5: 1.0},
            arrivals={0: 40.0},
        ),
    )
    found = service_history(CHAT, start_s=NOON_S, end_s=NOON_S + 600)
    assert found.statistic == "Average"
    assert found.minutes == (
        ServiceMinute(NOON_S, 2.0, 1.5, 80.0, 40.0),
        ServiceMinute(NOON_S + 60, 3.0, 2.0, 90.0, None),
    )


def test_without_an_average_the_maximum_is_read_and_said(stub):
    stub.add_response("get_metric_data", answer(maximum={0: 4.0}, latency={0: 1e6}, requests={0: 9.0}))
    found = service_history(CHAT, start_s=NOON_S, end_s=NOON_S + 60)
    assert (found.statistic, found.minutes) == ("Maximum", (ServiceMinute(NOON_S, 4.0, 1.0, 9.0, None),))


def test_pages_are_joined(stub):
    stub.add_response(
        "get_metric_data",
        {**answer(average={0: 1.0}, latency={0: 1e6, 1: 2e6}), "NextToken": "more"},
    )
    stub.add_response("get_metric_data", answer(average={1: 2.0}, requests={0: 7.0, 1: 8.0}))
    found = service_history(CHAT, start_s=NOON_S, end_s=NOON_S + 120)
    assert [(one.per_copy, one.latency_s, one.requests) for one in found.minutes] == [(1.0, 1.0, 7.0), (2.0, 2.0, 8.0)]


def test_a_refused_read_names_the_target(stub):
    stub.add_client_error("get_metric_data", "Throttling", "Rate exceeded")
    with pytest.raises(Throttled, match="inference-component/chat"):
        service_history(CHAT, start_s=NOON_S, end_s=NOON_S + 60)
