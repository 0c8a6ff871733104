"""The template's alarms watch the metrics that the gateway reads, under the names that settings and rules expect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from quickstep.gateways import aws, cloudwatch
from quickstep.settings import Settings
from simulator.template import Stack
from tests.contract.translated import MODES, TEMPLATE, changed, stack

NOW_S = 1_767_225_600.0


@pytest.fixture
def asked(monkeypatch) -> Iterator[list[dict[str, Any]]]:
    """Requests that the gateway sends to GetMetricData; each is answered with nothing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    aws.forget_clients()
    client, requests = aws.client("cloudwatch"), []
    client.meta.events.register(
        "provide-client-params.cloudwatch.GetMetricData", lambda params, **_: requests.append(params)
    )
    with Stubber(client) as stub:
        for _ in range(4):
            stub.add_response("get_metric_data", {"MetricDataResults": []})
        yield requests
    aws.forget_clients()


def environment(deployed: Stack) -> dict[str, str]:
    (first, *_) = deployed.of_type("AWS::Lambda::Function")
    return {name: str(value) for name, value in first.properties["Environment"]["Variables"].items()}


def alarm_findings(path: Path, mode: str, asked: list[dict[str, Any]]) -> list[str]:
    """What an alarm watches although no decision reads it, and names that a rule or a setting would not know."""
    deployed = stack(path, mode)
    settings = Settings.from_environment(environment(deployed))
    target = settings.default_target()
    assert target is not None and settings.default is not None
    cloudwatch.target_metrics(target, now_s=NOW_S)
    read = {_watched(query["MetricStat"]) for query in asked[-1]["MetricDataQueries"]}
    alarms = {name: alarm for name, alarm in _alarms(deployed).items() if "-operator-" not in name}
    found = []
    for name, alarm in alarms.items():
        watched = (
            alarm["Namespace"],
            alarm["MetricName"],
            _pairs(alarm["Dimensions"]),
            int(alarm["Period"]),
            alarm["Statistic"],
        )
        if watched not in read:
            found.append(f"{name} watches {watched}, which no decision reads")
        if not name.startswith(settings.alarm_prefix):
            found.append(f"{name} does not begin with {settings.alarm_prefix}: no rule would match it")
        if alarm.get("ActionsEnabled") is False:
            found.append(f"{name} is disabled")
        if len(alarm.get("AlarmDescription", "")) < 80:
            found.append(f"{name} does not tell the person who is paged what to do")
    if set(alarms) != set(settings.default.alarm_names):
        return [*found, f"alarms are {sorted(alarms)}, settings name {settings.default.alarm_names}"]
    high, low = alarms[settings.default.high_alarm_name], alarms[settings.default.low_alarm_name]
    expected = ((high, "GreaterThanThreshold", settings.default.high_alarm_threshold, "notBreaching"),)
    expected += ((low, "LessThanThreshold", settings.default.low_alarm_threshold, "missing"),)
    for alarm, operator, threshold, missing in expected:
        if (alarm["ComparisonOperator"], float(alarm["Threshold"])) != (operator, threshold):
            found.append(f"{alarm['AlarmName']} compares otherwise than its policy believes")
        if alarm["TreatMissingData"] != missing:
            found.append(f"{alarm['AlarmName']}: missing data must be {missing}")
    return found


def _alarms(deployed: Stack) -> dict[str, Mapping[str, Any]]:
    return {alarm.properties["AlarmName"]: alarm.properties for alarm in deployed.of_type("AWS::CloudWatch::Alarm")}


def _watched(stat: dict[str, Any]) -> tuple[Any, ...]:
    metric = stat["Metric"]
    return (metric["Namespace"], metric["MetricName"], _pairs(metric["Dimensions"]), stat["Period"], stat["Stat"])


def _pairs(dimensions: list[dict[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((one["Name"], one["Value"]) for one in dimensions))


@pytest.mark.parametrize("mode", MODES)
def test_the_alarms_watch_what_decisions_read_and_carry_the_names_that_are_listened_to(mode, asked):
    assert alarm_findings(TEMPLATE, mode, asked) == []


def test_a_component_has_three_alarms_and_a_variant_which_never_sleeps_two():
    names = {mode: {name for name in _alarms(stack(mode=mode)) if name.startswith("quickstep--")} for mode in MODES}
    assert names["component"] == {"quickstep--high", "quickstep--low", "quickstep--wake"}
    assert names["variant"] == {"quickstep--high", "quickstep--low"}


@pytest.mark.parametrize(
    ("mode", "edit", "said"),
    [
        ("component", ("ConcurrentRequestsPerCopy, ", "ConcurrentRequestsPerModel, "), "which no decision reads"),
        ("variant", ("{Name: VariantName,", "{Name: ProductionVariant,"), "which no decision reads"),
        ("component", ("      Period: 10\n", "      Period: 60\n"), "which no decision reads"),
        (
            "component",
            ("      AlarmName: !Sub ${AWS::StackName}--low\n", "      AlarmName: quickstep-low\n"),
            "no rule would",
        ),
        ("component", ("LOW_ALARM_NAME: !Sub ${AWS::StackName}--low", "LOW_ALARM_NAME: other--low"), "settings name"),
        ("variant", ("TreatMissingData: missing", "TreatMissingData: breaching"), "missing data must be missing"),
        (
            "component",
            ("Threshold: !Ref LowAlarmThresholdConcurrentRequests", "Threshold: 1"),
            "compares otherwise than its policy believes",
        ),
    ],
)
def test_an_alarm_that_is_changed_alone_is_noticed(tmp_path, mode, edit, said, asked):
    found = alarm_findings(changed(tmp_path, edit), mode, asked)
    assert any(said in one for one in found), found
