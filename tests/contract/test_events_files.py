"""Every file of events/ is matched by the rule it is meant for and no other, and is read by the code behind that rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from moto.events.models import EventPattern

from quickstep.errors import InvalidEvent
from quickstep.events import (
    AlarmDeleted,
    AlarmStateChange,
    EndpointStateChange,
    LookRequested,
    ManualWish,
    ParsedEvent,
    ScheduleTick,
    WakeRequested,
    parse_event,
)
from quickstep.model.loop import PAYLOAD_VERSION
from quickstep.model.observation import AlarmState, EndpointStatus
from quickstep.model.targets import TargetId
from quickstep.reasons import Reason
from simulator.cli.render_events import main as render_all
from simulator.event_files import EventFileError, event_values, render_event
from tests.contract.translated import ROOT, TEMPLATE, changed, stack

NOW_S = 1_767_225_600.0
DEPLOYED = stack()
ACCOUNT, REGION, STACK = DEPLOYED.account_id, DEPLOYED.region, DEPLOYED.name
PREFIX = f"{STACK}--"
VALUES = event_values(
    account=ACCOUNT,
    region=REGION,
    stack=STACK,
    endpoint="llm",
    component="chat",
    resource_id="inference-component/chat",
    now_s=NOW_S,
)
ALARM, DELETED = "OnAlarmFunctionAlarmChanged", "OnAlarmFunctionAlarmDeleted"

# file, the rule it is meant for (None = it is handed to a function directly), what it is read as
FILES: dict[str, tuple[str | None, type[ParsedEvent] | None]] = {
    "alarm_composite.json": (ALARM, AlarmStateChange),
    "alarm_deleted.json": (DELETED, AlarmDeleted),
    "alarm_high.json": (ALARM, AlarmStateChange),
    "alarm_insufficient_data.json": (ALARM, AlarmStateChange),
    "alarm_low.json": (ALARM, AlarmStateChange),
    "alarm_no_capacity.json": (ALARM, AlarmStateChange),
    "endpoint_in_service.json": ("OnAlarmFunctionEndpointChanged", EndpointStateChange),
    "look_requested.json": ("OnAlarmFunctionPersonOrClient", LookRequested),
    "loop_payload.json": (None, None),
    "manual_wish.json": ("OnAlarmFunctionPersonOrClient", ManualWish),
    "schedule_tick.json": (None, ScheduleTick),
    "wake_requested.json": ("OnAlarmFunctionPersonOrClient", WakeRequested),
}


def rendered(name: str, **changes: str) -> dict[str, Any]:
    return render_event(ROOT / "events" / name, {**VALUES, **changes})


def matching(event: dict[str, Any], path: Path = TEMPLATE) -> list[str]:
    """Rules of the deployed stack that match the event, by moto's matcher."""
    rules = stack(path).of_type("AWS::Events::Rule")
    patterns = {rule.logical_id: rule.properties.get("EventPattern") for rule in rules}
    return sorted(
        name for name, one in patterns.items() if one and EventPattern.load(json.dumps(one)).matches_event(event)
    )


def parsed(event: dict[str, Any]) -> ParsedEvent:
    return parse_event(event, account=ACCOUNT, region=REGION, alarm_prefix=PREFIX, now_s=NOW_S)


# -- rule and code ---------------------------------------------------------------------------------------------------------


def test_every_event_file_is_known_here():
    assert sorted(path.name for path in (ROOT / "events").iterdir()) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_an_event_file_is_matched_by_its_rule_alone_and_read_as_what_it_is(name):
    rule, kind = FILES[name]
    event = rendered(name)
    assert matching(event) == ([rule] if rule else [])
    if kind is not None:
        assert isinstance(parsed(event), kind)


def test_every_rule_with_a_pattern_has_an_event_file():
    patterns = {
        rule.logical_id for rule in DEPLOYED.of_type("AWS::Events::Rule") if rule.properties.get("EventPattern")
    }
    assert patterns == {rule for rule, _ in FILES.values() if rule}


def test_what_identifies_the_target_is_read():
    high, low = parsed(rendered("alarm_high.json")), parsed(rendered("alarm_low.json"))
    assert (high.alarm_name, high.state, high.at_s) == (f"{PREFIX}high", AlarmState.ALARM, NOW_S)
    assert (low.alarm_name, low.composite) == (f"{PREFIX}low", False)
    assert parsed(rendered("alarm_insufficient_data.json")).state is AlarmState.INSUFFICIENT_DATA
    assert parsed(rendered("alarm_composite.json")).composite
    assert parsed(rendered("endpoint_in_service.json")) == EndpointStateChange("llm", EndpointStatus.IN_SERVICE, NOW_S)
    assert parsed(rendered("look_requested.json")) == LookRequested("llm", NOW_S)
    assert parsed(rendered("manual_wish.json")).target_id == TargetId.of_component("chat")
    assert parsed(rendered("wake_requested.json")).target_id == TargetId.of_component("chat")


def test_the_loop_payload_is_what_the_code_starts_a_loop_with():
    assert rendered("loop_payload.json") == {"v": PAYLOAD_VERSION, "endpoint": "llm", "generation": 1}


def test_the_tick_is_scheduled_once_a_minute():
    (rule,) = [one for one in DEPLOYED.of_type("AWS::Events::Rule") if "ScheduleExpression" in one.properties]
    assert rule.properties["ScheduleExpression"] == "rate(1 minute)"
    assert [target["Arn"] for target in rule.properties["Targets"]] == [DEPLOYED["ReconcileFunction"].arn]


@pytest.mark.parametrize(
    ("name", "alarm"),
    [
        ("alarm_high.json", "HighAlarm"),
        ("alarm_low.json", "LowAlarm"),
        ("alarm_insufficient_data.json", "LowAlarm"),
        ("alarm_no_capacity.json", "WakeAlarm"),
    ],
)
def test_an_alarms_event_tells_of_the_alarm_that_the_template_creates(name, alarm):
    detail, created = rendered(name)["detail"], DEPLOYED[alarm].properties
    (metric,) = detail["configuration"]["metrics"]
    stat = metric["metricStat"]
    assert detail["alarmName"] == created["AlarmName"]
    assert (stat["metric"]["namespace"], stat["metric"]["name"]) == (created["Namespace"], created["MetricName"])
    assert stat["metric"]["dimensions"] == {one["Name"]: one["Value"] for one in created["Dimensions"]}
    assert (stat["period"], stat["stat"]) == (int(created["Period"]), created["Statistic"])
    data = json.loads(detail["state"].get("reasonData", "{}"))
    assert data.get("threshold", float(created["Threshold"])) == float(created["Threshold"])


# -- near misses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"StackName": f"{STACK}2"}, Reason.EVENT_FOREIGN),
        ({"StackName": STACK[:-1]}, Reason.EVENT_FOREIGN),
        ({"StackName": f"my-{STACK}"}, Reason.EVENT_FOREIGN),
        ({"AccountId": "999999999999"}, Reason.EVENT_FOREIGN),
        ({"Region": "us-east-1"}, Reason.EVENT_FOREIGN),
    ],
)
@pytest.mark.parametrize("name", ["alarm_high.json", "alarm_deleted.json", "alarm_composite.json"])
def test_another_stacks_accounts_or_regions_alarm_matches_no_rule_and_is_refused(name, changes, reason):
    event = rendered(name, **changes)
    assert matching(event) == []
    with pytest.raises(InvalidEvent) as refused:
        parsed(event)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "edit",
    [
        {"source": "aws.ec2"},
        {"source": "my.app"},
        {"detail-type": "CloudWatch Alarm Contributor State Change"},
        {"detail-type": "EC2 Instance State-change Notification"},
    ],
)
def test_an_event_of_another_source_or_kind_matches_no_rule(edit):
    assert matching({**rendered("alarm_high.json"), **edit}) == []


def test_an_alarm_that_is_created_or_updated_does_not_wake_anybody():
    event = rendered("alarm_deleted.json")
    for operation in ("create", "update"):
        assert matching({**event, "detail": {**event["detail"], "operation": operation}}) == []


def test_a_pattern_that_is_changed_alone_is_noticed(tmp_path):
    shorter = changed(tmp_path, (":alarm:${AWS::StackName}--\n", ":alarm:${AWS::StackName}\n"))
    assert matching(rendered("alarm_high.json", StackName=f"{STACK}2"), shorter) == [ALARM]
    renamed = changed(
        tmp_path, ("[Quickstep Manual Wish, Quickstep Wake Requested, Quickstep Look Requested]", "[Quickstep Wish]")
    )
    assert matching(rendered("manual_wish.json"), renamed) == []


# -- rendering ------------------------------------------------------------------------------------------------------------


def test_both_forms_of_the_time_are_what_aws_writes():
    assert render_event('{"a": "${Time}", "b": "${TimeCompact}"}', VALUES) == {
        "a": "2026-01-01T00:00:00Z",
        "b": "2026-01-01T00:00:00.000+0000",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": "${AcountId}"}', r"unknown placeholder \$\{AcountId\}; known are \$\{AccountId\}"),
        ('{"a": "${Time-1}"}', r"unknown placeholder \$\{Time-1\}"),
        ('{"a": "b",}', "is not JSON: line 1, column"),
        ("", "is not JSON"),
        ("[1]", "a JSON list; expected an object"),
    ],
)
def test_an_unusable_event_text_is_refused_and_the_message_says_where(text, said):
    with pytest.raises(EventFileError, match=said):
        render_event(text, VALUES)


def test_a_missing_file_and_a_file_that_is_no_text_are_refused_by_name(tmp_path):
    with pytest.raises(EventFileError, match="there is no event file .*nowhere.json"):
        render_event(tmp_path / "nowhere.json", VALUES)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EventFileError, match="binary.json"):
        render_event(tmp_path / "binary.json", VALUES)


def test_a_value_cannot_break_out_of_the_json():
    assert render_event('{"a": "${StackName}"}', {"StackName": 'x", "b": "y\n'}) == {"a": 'x", "b": "y\n'}


def test_make_events_writes_every_file_for_the_given_stack(tmp_path, capsys):
    given = ["--account", "123456789012", "--region", "us-east-1", "--endpoint", "llm", "--component", "chat"]
    assert render_all(["--out", str(tmp_path), "--stack", "prod", *given]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    event = json.loads((tmp_path / "alarm_high.json").read_text())
    assert event["resources"] == ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:prod--high"]
    assert json.loads((tmp_path / "manual_wish.json").read_text())["detail"]["resourceId"] == "inference-component/chat"
    assert capsys.readouterr().err == ""


def test_make_events_says_what_it_made_up_and_refuses_what_cannot_be(tmp_path, capsys):
    assert render_all(["--out", str(tmp_path)]) == 0
    assert "ACCOUNT=111122223333" in capsys.readouterr().err
    assert render_all(["--out", str(tmp_path), "--account", "12"]) == 2
    assert "twelve digits" in capsys.readouterr().err
    assert render_all(["--out", str(tmp_path), "--endpoint", "llm", "--variant", "Blue"]) == 0
    wish = json.loads((tmp_path / "manual_wish.json").read_text())
    assert wish["detail"]["resourceId"] == "endpoint/llm/variant/Blue"
