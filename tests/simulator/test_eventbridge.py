"""Events: which rule takes them, how they get to a target, and what becomes of those that do not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from simulator.aws.delivery import Deliverer, Delivery, Target, later, shaper
from simulator.aws.eventbridge import EventBridgeService
from simulator.aws.schedule_expression import parse_schedule
from simulator.aws.scheduler import SchedulerService
from simulator.clock import EPOCH_S, VirtualClock
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

SESSION = botocore.session.get_session()
FUNCTION = "arn:aws:lambda:eu-west-1:111122223333:function:look"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:lost"
ROLE = "arn:aws:iam::111122223333:role/scheduler"


class Bus:
    """EventBridge and Scheduler with one recording target; times are seconds since the start."""

    def __init__(self, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.received: list[tuple[float, Any]] = []
        self.dead: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.deliverer = Deliverer(self.clock, self._take, self._bury, **{"delay_s": (0.1, 0.6), **settings})
        self.events = EventBridgeService(self.clock, self.deliverer)
        self.scheduler = SchedulerService(self.clock, self.deliverer)
        self.refusals: list[ServiceError] = []

    def call(self, operation: str, /, service: str = "events", **params: Any) -> dict[str, Any]:
        shapes = SESSION.get_service_model(service).operation_model(operation)
        assert not (report := ParamValidator().validate(params, shapes.input_shape)).has_errors(), (
            report.generate_report()
        )
        answer = (self.events if service == "events" else self.scheduler).call(operation, params)
        if shapes.output_shape is not None:
            report = ParamValidator().validate(answer, shapes.output_shape)
            assert not report.has_errors(), report.generate_report()
        return answer

    def rule(self, pattern: dict | None = None, /, schedule: str | None = None, **target: Any) -> None:
        what = {"EventPattern": json.dumps(pattern)} if pattern is not None else {"ScheduleExpression": schedule}
        self.call("PutRule", Name="r", **what)
        self.call("PutTargets", Rule="r", Targets=[{"Id": "t", "Arn": FUNCTION, **target}])

    def run_to(self, t: float) -> None:
        self.clock.run_until(EPOCH_S + t)

    def _take(self, target: Target, source_arn: str, payload: Any) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.received.append((round(self.clock.now_s - EPOCH_S, 3), payload))

    def _bury(self, target: Target, source_arn: str, body: str, attributes: dict[str, str]) -> None:
        self.dead.append((target.dead_letter_arn or "", json.loads(body), dict(attributes)))


EVENT = {
    "source": "aws.cloudwatch",
    "detail-type": "CloudWatch Alarm State Change",
    "account": "111122223333",
    "resources": ["arn:aws:cloudwatch:eu-west-1:111122223333:alarm:prod--high"],
    "detail": {"alarmName": "prod--high", "state": {"value": "ALARM"}, "load": 42, "tags": ["a", "b"], "none": None},
}


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        # EventBridge user guide, "Comparison operators for use in event patterns"
        ({"source": ["aws.cloudwatch"]}, True),
        ({"source": ["aws.cloudwatch", "aws.ec2"], "account": ["111122223333"]}, True),
        ({"source": ["aws.ec2"]}, False),
        ({"resources": [{"prefix": "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:prod--"}]}, True),
        ({"resources": [{"prefix": "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:prod2--"}]}, False),
        ({"detail": {"state": {"value": ["ALARM"]}}}, True),
        ({"detail": {"state": {"value": ["OK"]}}}, False),
        ({"detail": {"state": {"value": [{"anything-but": ["OK"]}]}}}, True),
        ({"detail": {"state": {"value": [{"anything-but": "ALARM"}]}}}, False),
        ({"detail": {"alarmName": [{"suffix": "--high"}]}}, True),
        ({"detail": {"alarmName": [{"wildcard": "prod*hi*"}]}}, True),
        ({"detail": {"alarmName": [{"equals-ignore-case": "PROD--HIGH"}]}}, True),
        ({"detail": {"load": [{"numeric": [">", 40, "<=", 42]}]}}, True),
        ({"detail": {"load": [{"numeric": [">", 42]}]}}, False),
        ({"detail": {"tags": ["b"]}}, True),
        ({"detail": {"none": [None]}}, True),
        ({"detail": {"missing": [{"exists": False}]}}, True),
        ({"detail": {"load": [{"exists": False}]}}, False),
        ({"$or": [{"source": ["aws.ec2"]}, {"detail": {"load": [42]}}]}, True),
    ],
)
def test_a_pattern_matches_what_the_user_guide_says(pattern, matches):
    answer = Bus().call("TestEventPattern", EventPattern=json.dumps(pattern), Event=json.dumps(EVENT))
    assert answer == {"Result": matches}


@pytest.mark.parametrize("pattern", ["{", '{"source": "aws.ec2"}', '{"source": []}'])
def test_a_pattern_that_is_none_is_refused(pattern):
    with pytest.raises(ServiceError, match="InvalidEventPatternException"):
        Bus().call("PutRule", Name="r", EventPattern=pattern)


def test_an_event_of_aws_reaches_the_rule_s_target_complete_and_a_little_later():
    bus = Bus()
    bus.rule({"source": ["aws.cloudwatch"]})
    bus.events.emit("aws.cloudwatch", "CloudWatch Alarm State Change", {"alarmName": "a"}, ["arn:aws:x"])
    bus.events.emit("aws.ec2", "Other", {}, [])
    bus.run_to(1)
    ((at, event),) = bus.received
    assert 0.1 <= at <= 0.6
    assert event == {
        "version": "0",
        "id": event["id"],
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "account": "111122223333",
        "time": "2026-01-01T00:00:00Z",
        "region": "eu-west-1",
        "resources": ["arn:aws:x"],
        "detail": {"alarmName": "a"},
    }


def test_what_is_delivered_does_not_change_with_the_sender_s_object():
    bus = Bus()
    bus.rule({"source": ["aws.x"]})
    detail = {"n": 1}
    bus.events.emit("aws.x", "T", detail, [])
    detail["n"] = 2
    bus.run_to(1)
    assert bus.received[0][1]["detail"] == {"n": 1}


def test_custom_events_pass_and_each_entry_that_does_not_gets_its_own_code():
    bus = Bus()
    bus.rule({"source": ["quickstep"]})
    good = {"Source": "quickstep", "DetailType": "Quickstep Manual Wish", "Detail": '{"copies": 3}'}
    answer = bus.call(
        "PutEvents",
        Entries=[
            good,
            {**good, "Source": "aws.cloudwatch"},
            {**good, "Detail": "[1]"},
            {"Source": "quickstep", "Detail": "{}"},
        ],
    )
    assert answer["FailedEntryCount"] == 3 and "EventId" in answer["Entries"][0]
    assert [one.get("ErrorCode") for one in answer["Entries"][1:]] == [
        "NotAuthorizedForSourceException",
        "MalformedDetail",
        "InvalidArgument",
    ]
    bus.run_to(1)
    assert [event["detail"] for _, event in bus.received] == [{"copies": 3}]
    assert bus.events.billable == {"PutEvents": 4}


def test_a_disabled_or_deleted_rule_takes_nothing():
    bus = Bus()
    bus.rule({"source": ["aws.x"]})
    bus.call("DisableRule", Name="r")
    bus.events.emit("aws.x", "T", {}, [])
    bus.call("EnableRule", Name="r")
    with pytest.raises(ServiceError, match="since it has targets"):
        bus.call("DeleteRule", Name="r")
    bus.call("RemoveTargets", Rule="r", Ids=["t"])
    bus.call("DeleteRule", Name="r")
    bus.events.emit("aws.x", "T", {}, [])
    bus.run_to(2)
    assert bus.received == []
    with pytest.raises(ServiceError, match="ResourceNotFoundException"):
        bus.call("DescribeRule", Name="r")


THROTTLED = ServiceError("ThrottlingException", "Rate exceeded")


def test_a_retriable_refusal_is_tried_again_with_growing_waits_until_it_is_taken():
    bus = Bus()
    bus.rule({"source": ["aws.x"]})
    bus.refusals = [THROTTLED] * 4
    bus.events.emit("aws.x", "T", {}, [])
    bus.run_to(60)
    ((at, _),) = bus.received
    assert 0.5 * (1 + 2 + 4 + 8) < at < 0.6 + 1 + 2 + 4 + 8 and bus.dead == []


@pytest.mark.parametrize(
    ("policy", "condition", "retries"),
    [
        ({"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 3600}, "MaximumRetryAttempts", "2"),
        ({"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 60}, "MaximumEventAgeInSeconds", None),
        ({"MaximumRetryAttempts": 0}, "MaximumRetryAttempts", "0"),
    ],
)
def test_an_event_that_is_given_up_lies_in_the_dead_letter_queue_with_its_reason(policy, condition, retries):
    bus = Bus()
    bus.rule({"source": ["aws.x"]}, RetryPolicy=policy, DeadLetterConfig={"Arn": QUEUE})
    bus.refusals = [THROTTLED] * 1000
    bus.events.emit("aws.x", "T", {"n": 1}, [])
    bus.run_to(4000)
    ((queue, event, attributes),) = bus.dead
    assert (queue, event["detail"]) == (QUEUE, {"n": 1})
    assert attributes["EXHAUSTED_RETRY_CONDITION"] == condition
    assert retries is None or attributes["RETRY_ATTEMPTS"] == retries
    assert attributes["ERROR_CODE"] == "ThrottlingException"
    assert attributes["RULE_ARN"].endswith(":rule/r") and attributes["TARGET_ARN"] == FUNCTION


@pytest.mark.parametrize(
    ("code", "error_code"), [("AccessDeniedException", "NO_PERMISSIONS"), ("ResourceNotFoundException", "NO_RESOURCE")]
)
def test_a_refusal_that_no_retry_can_cure_is_given_up_at_once(code, error_code):
    bus = Bus()
    bus.rule({"source": ["aws.x"]}, DeadLetterConfig={"Arn": QUEUE})
    bus.refusals = [ServiceError(code, "no")]
    bus.events.emit("aws.x", "T", {}, [])
    bus.run_to(10)
    assert bus.received == [] and bus.dead[0][2]["ERROR_CODE"] == error_code
    assert [code for _, code in bus.deliverer.undelivered] == [error_code]


def test_a_test_can_lose_repeat_delay_and_reorder_deliveries():
    bus = Bus(delay_s=(0.5, 0.5))
    bus.rule({"source": ["aws.x"]})

    def tamper(one: Delivery) -> list[Delivery]:
        return {0: [], 1: [one, one], 2: [later(one, 10)], 3: [one]}[one.event["detail"]["n"]]

    bus.deliverer.tamper = tamper
    for n in range(4):
        bus.events.emit("aws.x", "T", {"n": n}, [])
    bus.run_to(20)
    assert [(at, event["detail"]["n"]) for at, event in bus.received] == [(0.5, 1), (0.5, 1), (0.5, 3), (10.5, 2)]


def test_a_test_can_make_single_attempts_fail():
    bus = Bus()
    bus.rule({"source": ["aws.x"]})
    bus.deliverer.fail = lambda delivery, attempt: THROTTLED if attempt == 1 else None
    bus.events.emit("aws.x", "T", {}, [])
    bus.run_to(10)
    assert len(bus.received) == 1 and bus.received[0][0] > 0.6


@pytest.mark.parametrize(
    ("spec", "payload"),
    [
        # EventBridge user guide, "Amazon EventBridge input transformation"
        ({}, EVENT),
        ({"Input": '{"look": true}'}, {"look": True}),
        ({"InputPath": "$.detail.state"}, {"value": "ALARM"}),
        ({"InputPath": "$.resources[0]"}, EVENT["resources"][0]),
        (
            {"InputTransformer": {"InputPathsMap": {"name": "$.detail.alarmName"}, "InputTemplate": '"alarm <name> fired"'}},
            "alarm prod--high fired",
        ),
        (
            {"InputTransformer": {"InputPathsMap": {"n": "$.detail.alarmName", "l": "$.detail.load"}, "InputTemplate": '{"n": <n>, "l": <l>}'}},
            {"n": "prod--high", "l": 42},
        ),
        ({"InputTransformer": {"InputTemplate": '{"event": <aws.events.event>}'}}, {"event": EVENT}),
    ],
)  # fmt: skip
def test_a_target_gets_the_event_in_the_shape_it_asked_for(spec, payload):
    assert shaper(spec)(EVENT) == payload


def test_a_rule_on_a_schedule_fires_at_its_rate_and_sends_the_scheduled_event():
    bus = Bus(delay_s=(0.0, 0.0))
    bus.rule(schedule="rate(1 minute)")
    bus.run_to(200)
    assert [at for at, _ in bus.received] == [60, 120, 180]
    event = bus.received[0][1]
    assert (event["detail-type"], event["source"], event["detail"]) == ("Scheduled Event", "aws.events", {})
    assert (
        event["resources"] == ["arn:aws:events:eu-west-1:111122223333:rule/r"]
        and event["time"] == "2026-01-01T00:01:00Z"
    )


def schedule(bus: Bus, expression: str, /, **changes: Any) -> None:
    request = {
        "Name": "s",
        "ScheduleExpression": expression,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": FUNCTION, "RoleArn": ROLE},
    }
    bus.call("CreateSchedule", "scheduler", **{**request, **changes})


def test_scheduler_sends_its_own_event_or_the_input_with_its_attributes():
    bus = Bus(delay_s=(0.0, 0.0))
    schedule(bus, "rate(2 minutes)")
    target = {"Arn": FUNCTION, "RoleArn": ROLE, "Input": '{"at": "<aws.scheduler.scheduled-time>"}'}
    schedule(bus, "at(2026-01-01T00:01:00)", Name="once", Target=target, ActionAfterCompletion="DELETE")
    bus.run_to(250)
    assert bus.received[0] == (60, {"at": "2026-01-01T00:01:00Z"})
    assert [at for at, _ in bus.received[1:]] == [120, 240]
    assert (bus.received[1][1]["source"], bus.received[1][1]["detail"]) == ("aws.scheduler", "{}")
    assert [one["Name"] for one in bus.call("ListSchedules", "scheduler")["Schedules"]] == ["s"]


def test_a_schedule_can_be_changed_switched_off_and_deleted():
    bus = Bus(delay_s=(0.0, 0.0))
    schedule(bus, "rate(1 minute)")
    with pytest.raises(ServiceError, match="ConflictException"):
        schedule(bus, "rate(1 minute)")
    bus.run_to(90)
    common = {"FlexibleTimeWindow": {"Mode": "OFF"}, "Target": {"Arn": FUNCTION, "RoleArn": ROLE}}
    bus.call("UpdateSchedule", "scheduler", Name="s", ScheduleExpression="rate(1 minute)", State="DISABLED", **common)
    assert bus.call("GetSchedule", "scheduler", Name="s")["State"] == "DISABLED"
    bus.run_to(400)
    assert [at for at, _ in bus.received] == [60]
    bus.call("DeleteSchedule", "scheduler", Name="s")
    with pytest.raises(ServiceError, match="ResourceNotFoundException"):
        bus.call("GetSchedule", "scheduler", Name="s")


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("expression", "zone", "after", "due"),
    [
        ("cron(15 10 * * ? *)", "UTC", "2026-01-01T11:00", "2026-01-02T10:15"),
        ("cron(0 8 ? * MON-FRI *)", "UTC", "2026-01-02T09:00", "2026-01-05T08:00"),  # Friday -> Monday
        ("cron(0/15 * * * ? *)", "UTC", "2026-01-01T10:16", "2026-01-01T10:30"),
        ("cron(0 0 1 JAN,JUL ? *)", "UTC", "2026-01-01T00:00", "2026-07-01T00:00"),
        ("cron(0 12 29 2 ? *)", "UTC", "2026-01-01T00:00", "2028-02-29T12:00"),
        ("cron(0 8 * * ? 2027)", "UTC", "2026-01-01T00:00", "2027-01-01T08:00"),
        ("cron(0 9 * * ? *)", "Europe/Berlin", "2026-07-01T00:00", "2026-07-01T07:00"),
        ("cron(0 9 * * ? *)", "Europe/Berlin", "2026-01-01T00:00", "2026-01-01T08:00"),
        ("at(2026-03-01T08:00:00)", "America/New_York", "2026-01-01T00:00", "2026-03-01T13:00"),
        ("at(2025-03-01T08:00:00)", "UTC", "2026-01-01T00:00", None),
        ("rate(5 minutes)", "UTC", "2026-01-01T00:07", "2026-01-01T00:10"),
        ("rate(1 day)", "UTC", "2026-01-01T00:00", "2026-01-02T00:00"),
        ("cron(0 8 * * ? 2020)", "UTC", "2026-01-01T00:00", None),
    ],
)
def test_a_schedule_expression_is_due_next_when_its_fields_say(expression, zone, after, due):
    found = parse_schedule(expression, zone).next_after(seconds(after), started_s=EPOCH_S)
    assert found == (None if due is None else seconds(due))


@pytest.mark.parametrize(
    "expression",
    ["rate(0 minutes)", "rate(1 minutes)", "rate(2 minute)", "rate(10 seconds)", "cron(0 8 * * * *)", "cron(0 8 ? * ? *)",
     "cron(60 * * * ? *)", "cron(0 8 * * ?)", "every minute", "at(tomorrow)"],
)  # fmt: skip
def test_an_expression_that_is_none_is_refused(expression):
    with pytest.raises(ServiceError, match="Invalid Schedule Expression"):
        parse_schedule(expression)


def test_the_last_weekday_of_a_month_is_a_gap_and_not_an_answer():
    with pytest.raises(NotEmulated):
        parse_schedule("cron(0 8 L * ? *)")
