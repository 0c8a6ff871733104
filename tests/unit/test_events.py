"""Whose events come in, which are hints, and what every refusal says."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickstep.errors import InvalidEvent
from quickstep.events import (
    AlarmDeleted,
    AlarmStateChange,
    EndpointStateChange,
    ManualWish,
    ScheduleTick,
    WakeRequested,
    parse_event,
)
from quickstep.model.observation import AlarmState, EndpointStatus
from quickstep.model.targets import TargetId
from quickstep.reasons import Reason

ACCOUNT, REGION = "123456789012", "us-east-1"
AT = datetime(2026, 1, 1, 12, 0, 0, 989_000, tzinfo=UTC)
AT_S = AT.timestamp()
ARN = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:prod--chat-high"


def parse(event, **more):
    arguments = {"account": ACCOUNT, "region": REGION, "alarm_prefix": "prod--", "now_s": AT_S + 2}
    return parse_event(event, **{**arguments, **more})


def envelope(kind, source, detail, **more):
    return {
        "version": "0",
        "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
        "detail-type": kind,
        "source": source,
        "account": ACCOUNT,
        "time": "2026-01-01T12:00:00Z",
        "region": REGION,
        "resources": [],
        "detail": detail,
        **more,
    }


def metric(identifier="m1"):
    return {
        "id": identifier,
        "metricStat": {
            "metric": {
                "dimensions": {"InferenceComponentName": "chat"},
                "name": "ConcurrentRequestsPerCopy",
                "namespace": "AWS/SageMaker",
            },
            "period": 10,
            "stat": "Maximum",
        },
        "returnData": True,
    }


def reason_data(**more):
    data = {
        "version": "1.0",
        "queryDate": "2026-01-01T12:00:00.985+0000",
        "startDate": "2026-01-01T11:59:20.000+0000",
        "statistic": "Maximum",
        "period": 10,
        "recentDatapoints": [31.0, 47.0],
        "threshold": 20.0,
    }
    return json.dumps({**data, **more})


def alarm_detail(**more):
    return {
        "alarmName": "prod--chat-high",
        "configuration": {"description": "too many requests per copy", "metrics": [metric()]},
        "previousState": {"value": "OK", "reason": "…", "timestamp": "2026-01-01T11:50:00.987+0000"},
        "state": {
            "value": "ALARM",
            "reason": "Threshold Crossed: 2 out of the last 3 datapoints were greater than the threshold (20.0).",
            "reasonData": reason_data(),
            "timestamp": "2026-01-01T12:00:00.989+0000",
        },
        **more,
    }


def alarm_event(detail=None, **more):
    return envelope(
        "CloudWatch Alarm State Change", "aws.cloudwatch", detail or alarm_detail(), **{"resources": [ARN], **more}
    )


def alarm_action(**more):
    return {
        "source": "aws.cloudwatch",
        "alarmArn": ARN,
        "accountId": ACCOUNT,
        "time": "2026-01-01T12:00:00.989+0000",
        "region": REGION,
        "alarmData": alarm_detail(),
        **more,
    }


def changed(event, path, value=None, *, drop=False):
    """A copy of `event` with the field at dotted `path` replaced or dropped."""
    event = copy.deepcopy(event)
    *parents, last = path.split(".")
    place = event
    for name in parents:
        place = place[name]
    if drop:
        del place[last]
    else:
        place[last] = value
    return event


def deleted_event():
    detail = {"alarmName": "prod--chat-high", "operation": "delete", "configuration": {}, "state": {"value": "OK"}}
    return envelope("CloudWatch Alarm Configuration Change", "aws.cloudwatch", detail, resources=[ARN])


def endpoint_event(status="IN_SERVICE", **more):
    detail = {
        "EndpointName": "llm",
        "EndpointArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/llm",
        "EndpointConfigName": "llm-7",
        "ProductionVariants": [{"DesiredWeight": 1.0, "DesiredInstanceCount": 1.0}],
        "EndpointStatus": status,
        "CreationTime": 1592411992203.0,
        "LastModifiedTime": 1767268800989.0,
        "Tags": {},
    }
    return envelope("SageMaker Endpoint State Change", "aws.sagemaker", detail, **{"time": "1767268800", **more})


def wish_event(**detail):
    fields = {"resourceId": "inference-component/chat", "capacity": 5, **detail}
    return envelope("Quickstep Manual Wish", "quickstep", fields)


def wake_event(**detail):
    return envelope("Quickstep Wake Requested", "quickstep", {"resourceId": "inference-component/chat", **detail})


def tick_event(source="aws.scheduler", detail="{}"):
    resources = [f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/reconcile"]
    return envelope("Scheduled Event", source, detail, resources=resources)


EVERY_EVENT = {
    "alarm": alarm_event(),
    "alarm action": alarm_action(),
    "deleted": deleted_event(),
    "endpoint": endpoint_event(),
    "wish": wish_event(),
    "wake": wake_event(),
    "tick": tick_event(),
}


# -- alarms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [alarm_event(), alarm_action()], ids=["EventBridge", "Lambda action"])
def test_an_alarm_is_the_same_event_in_either_envelope(event):
    assert parse(event) == AlarmStateChange(
        alarm_name="prod--chat-high",
        state=AlarmState.ALARM,
        previous_state=AlarmState.OK,
        at_s=AT_S,
        reason="Threshold Crossed: 2 out of the last 3 datapoints were greater than the threshold (20.0).",
        composite=False,
        muted=False,
        idempotency_key=f"{ARN}@{AT_S:.3f}",
    )


def test_the_documented_sample_event_is_read():
    # CloudWatch user guide, "Alarm events and EventBridge", single metric alarm; only prefix and account are given here.
    state = {
        "value": "ALARM",
        "reason": "Threshold Crossed: 1 out of the last 1 datapoints [99.50160229693434 (02/10/19 16:59:00)] was greater …",
        "reasonData": '{"version":"1.0","queryDate":"2019-10-02T17:04:40.985+0000","startDate":"2019-10-02T16:59:00.000+0000",'
        '"statistic":"Average","period":300,"recentDatapoints":[99.50160229693434],"threshold":50.0}',
        "timestamp": "2019-10-02T17:04:40.989+0000",
    }
    event = {
        "version": "0",
        "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "account": "123456789012",
        "time": "2019-10-02T17:04:40Z",
        "region": "us-east-1",
        "resources": ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:ServerCpuTooHigh"],
        "detail": {
            "alarmName": "ServerCpuTooHigh",
            "configuration": {},
            "previousState": {"value": "OK"},
            "state": state,
        },
    }
    at_s = datetime(2019, 10, 2, 17, 4, 40, 989_000, tzinfo=UTC).timestamp()
    found = parse(event, alarm_prefix="Server", now_s=at_s)
    assert (found.alarm_name, found.state, found.at_s) == ("ServerCpuTooHigh", AlarmState.ALARM, at_s)


COMPOSITE = {
    "alarmRule": "ALARM(a) OR ALARM(b)",
    "actionsSuppressor": "s",
    "actionsSuppressorWaitPeriod": 120,
    "actionsSuppressorExtensionPeriod": 180,
}
EXPRESSION = {"id": "e1", "expression": "m1 * 2", "label": "twice", "returnData": True}
INSIGHTS = {"id": "q1", "expression": "SELECT MAX(x) FROM y", "period": 60, "returnData": True}

# what is different, and what is read of it; every one of these is admitted
SHAPES = {
    "composite alarm": ({"configuration": COMPOSITE}, {"composite": True}),
    "metric math": ({"configuration": {"metrics": [EXPRESSION, metric()]}}, {"composite": False}),
    "metrics insights": ({"configuration": {"metrics": [INSIGHTS]}}, {"composite": False}),
    "no configuration": ({"configuration": None}, {"composite": False}),
    "first state of a new alarm": (
        {"previousState": {"value": "INSUFFICIENT_DATA", "reason": "Unchecked: Initial alarm creation"}},
        {"previous_state": AlarmState.INSUFFICIENT_DATA},
    ),
    "no previous state": ({"previousState": None}, {"previous_state": None}),
    "nonsense as previous state": ({"previousState": {"value": ["OK"]}}, {"previous_state": None}),
    "muted": (
        {"muteDetail": {"mutedByArn": "arn:aws:cloudwatch:us-east-1:123456789012:alarm-mute-rule:x"}},
        {"muted": True, "state": AlarmState.ALARM},
    ),
    "unknown fields": ({"alarmTags": {"a": "b"}, "somethingNew": [1, {"x": None}]}, {"alarm_name": "prod--chat-high"}),
}
STATES = {
    "no reason data (SetAlarmState)": ({"reason": "testing"}, {"reason": "testing"}),
    "no reason": ({"reason": None}, {"reason": ""}),
    "reason data that is no JSON": ({"reasonData": "{"}, {"state": AlarmState.ALARM}),
    "evaluated datapoints": (
        {"reasonData": reason_data(evaluatedDatapoints=[{"timestamp": "x"}])},
        {"state": AlarmState.ALARM},
    ),
    "insufficient data": ({"value": "INSUFFICIENT_DATA"}, {"state": AlarmState.INSUFFICIENT_DATA}),
    "back to OK": ({"value": "OK"}, {"state": AlarmState.OK}),
    "suppressed actions": ({"actionsSuppressedBy": "Alarm", "actionsSuppressedReason": "…"}, {"muted": True}),
    "a reason of many lines": ({"reason": "a\nb\x1b[31m" + "c" * 999}, {"reason": ("a b [31m" + "c" * 999)[:400]}),
}


@pytest.mark.parametrize("where", ["EventBridge", "Lambda action"])
@pytest.mark.parametrize(("different", "want"), SHAPES.values(), ids=SHAPES)
def test_every_kind_of_alarm_is_admitted(where, different, want):
    detail = alarm_detail(**different)
    found = parse(alarm_event(detail) if where == "EventBridge" else alarm_action(alarmData=detail))
    assert {name: getattr(found, name) for name in want} == want


@pytest.mark.parametrize(("different", "want"), STATES.values(), ids=STATES)
def test_every_kind_of_state_is_admitted(different, want):
    state = {"value": "ALARM", "timestamp": "2026-01-01T12:00:00.989+0000", **different}
    found = parse(alarm_event(alarm_detail(state=state)))
    assert {name: getattr(found, name) for name in want} == want


def test_two_deliveries_of_one_transition_have_one_key_and_the_next_transition_another():
    first, again = parse(alarm_event()), parse(alarm_event(id="another", time="2026-01-01T12:00:01Z"))
    later = parse(changed(alarm_event(), "detail.state.timestamp", "2026-01-01T12:00:01.500+0000"))
    assert first.idempotency_key == again.idempotency_key != later.idempotency_key


# -- times ------------------------------------------------------------------------------------------------------------

# value, seconds since the epoch or None if it is no time
TIMES = [
    ("2026-01-01T12:00:00.989+0000", AT_S),
    ("2026-01-01T12:00:00.989+00:00", AT_S),
    ("2026-01-01T12:00:00.989Z", AT_S),
    ("2026-01-01T13:00:00.989+0100", AT_S),
    ("2026-01-01T12:00:00.989", AT_S),
    ("1767268800.989", AT_S),
    (1767268800989, AT_S),
    ("1767268800989", AT_S),
    (1767268800.989, AT_S),
    ("yesterday", None),
    ("", None),
    (True, None),
    ([], None),
    ({"at": 1}, None),
    ("nan", None),
    (float("inf"), None),
    (10**400, None),
    ("9" * 400, None),
]


@pytest.mark.parametrize(("value", "at_s"), TIMES, ids=[repr(value) for value, _ in TIMES])
def test_a_time_is_iso_8601_or_an_epoch_in_seconds_or_milliseconds(value, at_s):
    event = changed(alarm_event(), "detail.state.timestamp", value)
    if at_s is None:
        with pytest.raises(InvalidEvent, match="time is .*expected an ISO 8601 time") as caught:
            parse(event)
        assert caught.value.reason == Reason.EVENT_MALFORMED
    else:
        assert parse(event).at_s == pytest.approx(at_s, abs=1e-6)


def test_a_state_without_a_time_takes_the_envelopes():
    assert (
        parse(changed(alarm_event(), "detail.state.timestamp", drop=True)).at_s == AT.replace(microsecond=0).timestamp()
    )


def test_an_event_without_any_time_is_malformed():
    event = changed(changed(alarm_event(), "detail.state.timestamp", drop=True), "time", drop=True)
    refused(event, Reason.EVENT_MALFORMED, "the time is missing")


# event, age in seconds, admitted
AGES = [
    ("alarm", 0, True),
    ("alarm", 86_400, True),
    ("alarm", 86_401, False),
    ("alarm action", 86_402, False),
    ("deleted", 86_401, False),
    ("endpoint", 86_401, False),
    ("tick", 86_401, False),
    ("alarm", -30, True),
    # a person's wish or a client's knock is obeyed, so it must be fresh
    ("wish", 900, True),
    ("wish", 901, False),
    ("wake", 900, True),
    ("wake", 901, False),
]


@pytest.mark.parametrize(("which", "age_s", "admitted"), AGES)
def test_a_late_hint_is_good_for_a_day_and_a_late_command_for_a_quarter_of_an_hour(which, age_s, admitted):
    event = EVERY_EVENT[which]
    now_s = parse(event).at_s + age_s
    if admitted:
        assert parse(event, now_s=now_s) == parse(event)
    else:
        refused(event, Reason.EVENT_STALE, "2026-01-01T12:00:0", f"{age_s} s ago", "expected at most", now_s=now_s)


def test_the_age_limit_is_an_argument():
    refused(alarm_event(), Reason.EVENT_STALE, "at most 60 s", now_s=AT_S + 61, max_age_s=60)
    refused(wish_event(), Reason.EVENT_STALE, "at most 60 s", now_s=AT_S + 61, max_age_s=60)


# -- whose ------------------------------------------------------------------------------------------------------------


def refused(event, reason, *says, **more):
    with pytest.raises(InvalidEvent) as caught:
        parse(event, **more)
    assert caught.value.reason == reason, str(caught.value)
    for words in says:
        assert words in str(caught.value)
    # pydantic's own error quotes the event, and must not follow ours into a log.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("event", EVERY_EVENT.values(), ids=EVERY_EVENT)
def test_every_kind_of_event_from_home_is_admitted(event):
    kinds = AlarmStateChange | AlarmDeleted | EndpointStateChange | ManualWish | WakeRequested | ScheduleTick
    assert isinstance(parse(event), kinds)


@pytest.mark.parametrize("event", EVERY_EVENT.values(), ids=EVERY_EVENT)
@pytest.mark.parametrize(
    ("field", "value"),
    [("account", "999999999999"), ("account", ""), ("region", "eu-west-1"), ("region", ""), ("source", "my.app")],
)
def test_every_kind_of_event_from_elsewhere_is_foreign(event, field, value):
    name = "accountId" if field == "account" and "accountId" in event else field
    expected = {"account": ACCOUNT, "region": REGION, "source": "expected"}[field]
    refused(changed(event, name, value), Reason.EVENT_FOREIGN, f"{field} is {value!r}", expected)


# alarm name, prefix, admitted
PREFIXES = [
    ("prod--chat-high", "prod--", True),
    ("prod--x", "prod--", True),
    ("prod2--chat-high", "prod--", False),
    ("prod-chat-high", "prod--", False),
    ("prod-", "prod--", False),
    ("prod--", "prod--", False),
    ("PROD--chat-high", "prod--", False),
    ("xprod--chat-high", "prod--", False),
    ("my-prod--chat", "prod--", False),
    ("prod--chat-high", "", False),
    ("TargetTracking-inference-component/chat-AlarmHigh-1b", "prod--", False),
]


@pytest.mark.parametrize(("name", "prefix", "admitted"), PREFIXES)
@pytest.mark.parametrize("make", [alarm_event, alarm_action, deleted_event], ids=["event", "action", "deleted"])
def test_only_alarms_of_this_stack_are_ours(make, name, prefix, admitted):
    event = make()
    event["alarmData" if "alarmData" in event else "detail"]["alarmName"] = name
    arn = ARN.replace("prod--chat-high", name)
    event.update({"alarmArn": arn} if "alarmArn" in event else {"resources": [arn]})
    if admitted:
        assert parse(event, alarm_prefix=prefix).alarm_name == name
    else:
        refused(
            event, Reason.EVENT_FOREIGN, f"alarmName is {name!r}", f"beginning with {prefix!r}", alarm_prefix=prefix
        )


def test_an_alarm_that_a_user_bound_is_ours_by_name():
    event = alarm_event(alarm_detail(alarmName="my-own"), resources=[ARN.replace("prod--chat-high", "my-own")])
    assert parse(event, bound_alarms=["my-own"]).alarm_name == "my-own"
    refused(event, Reason.EVENT_FOREIGN, "my-own", bound_alarms=["my-own-2"])


# the ARN, the reason or None if it is admitted
ARNS = [
    (ARN, None),
    (ARN.replace("aws", "aws-us-gov", 1), None),
    (ARN.replace(":alarm:", ":alarm/"), None),
    (ARN.replace(ACCOUNT, "999999999999"), Reason.EVENT_FOREIGN),
    (ARN.replace(REGION, "eu-west-1"), Reason.EVENT_FOREIGN),
    (ARN.replace("chat", "other"), Reason.EVENT_MALFORMED),
    ("arn:aws:sns:us-east-1:123456789012:topic", Reason.EVENT_MALFORMED),
    ("", Reason.EVENT_MALFORMED),
]


@pytest.mark.parametrize(("arn", "reason"), ARNS)
@pytest.mark.parametrize(
    "make", [lambda a: alarm_event(resources=[a]), lambda a: alarm_action(alarmArn=a)], ids=["event", "action"]
)
def test_an_alarms_arn_must_agree_with_the_rest_of_the_event(make, arn, reason):
    if reason is None:
        assert parse(make(arn)).idempotency_key.startswith(arn)
    else:
        refused(make(arn), reason, "ARN is")


@pytest.mark.parametrize("resources", [None, [], [None], "text", {}])
def test_an_event_without_an_arn_is_judged_by_the_rest(resources):
    assert parse(alarm_event(resources=resources)).idempotency_key == f"prod--chat-high@{AT_S:.3f}"


# -- malformed --------------------------------------------------------------------------------------------------------

DROP = object()
# event, field, value, what the message says
MALFORMED = [
    ("alarm", "detail.alarmName", DROP, "detail.alarmName is missing"),
    ("alarm", "detail.alarmName", "", "detail.alarmName is ''"),
    ("alarm", "detail.alarmName", "x" * 256, "at most 255 characters"),
    ("alarm", "detail.alarmName", 7, "detail.alarmName is 7"),
    ("alarm", "detail.alarmName", ["a"], "detail.alarmName is a JSON array"),
    ("alarm", "detail.state", DROP, "detail.state is missing"),
    ("alarm", "detail.state", "ALARM", "detail.state is 'ALARM'"),
    ("alarm", "detail.state", {}, "detail.state.value is missing"),
    ("alarm", "detail.state.value", "MAYBE", "detail.state.value is 'MAYBE': input should be 'OK', 'ALARM' or 'INSUFFICIENT_DATA'"),
    ("alarm", "detail.state.value", "alarm", "detail.state.value is 'alarm'"),
    ("alarm", "detail.state.value", None, "detail.state.value is missing"),
    ("alarm", "detail", DROP, "detail is missing"),
    ("alarm", "detail", None, "detail is missing"),
    ("alarm", "detail", [], "detail is a JSON array"),
    ("alarm", "detail", "not JSON", "detail is a text that is no JSON"),
    ("alarm", "detail", "[" * 100_000, "detail is a text that is no JSON"),
    ("alarm", "detail", "7", "detail is 7"),
    ("alarm", "account", DROP, "account is missing"),
    ("alarm", "account", 123456789012, "account is 123456789012: input should be a valid string"),
    ("alarm", "region", DROP, "region is missing"),
    ("alarm", "source", DROP, "source is missing"),
    ("alarm", "source", None, "source is missing"),
    ("alarm", "detail-type", DROP, "detail-type is missing; expected one of CloudWatch Alarm"),
    ("alarm", "detail-type", "Other", "detail-type is 'Other'; expected one of CloudWatch Alarm"),
    ("alarm", "detail-type", ["x"], "detail-type is a JSON array"),
    ("alarm action", "alarmData", None, "alarmData is missing"),
    ("alarm action", "alarmData", {}, "alarmData.alarmName is missing"),
    ("alarm action", "alarmArn", DROP, "alarmArn is missing"),
    ("alarm action", "accountId", DROP, "accountId is missing"),
    ("alarm action", "source", DROP, "source is missing"),
    ("deleted", "detail.operation", "update", "detail.operation is 'update'; expected 'delete'"),
    ("deleted", "detail.operation", DROP, "detail.operation is missing"),
    ("deleted", "detail.alarmName", DROP, "detail.alarmName is missing"),
    ("endpoint", "detail.EndpointName", DROP, "detail.EndpointName is missing"),
    ("endpoint", "detail.EndpointName", "a/b", "detail.EndpointName is 'a/b'"),
    ("endpoint", "detail.EndpointName", "a\n", "detail.EndpointName is 'a\\n'"),
    ("endpoint", "detail.EndpointName", "x" * 64, "at most 63 characters"),
    ("endpoint", "detail.EndpointStatus", DROP, "detail.EndpointStatus is missing"),
    ("wish", "detail.resourceId", DROP, "detail.resourceId is missing"),
    ("wish", "detail.resourceId", "chat", "expected inference-component/<name> or endpoint/<endpoint>/variant/<variant>"),
    ("wish", "detail.resourceId", "inference-component/", "detail.resourceId is 'inference-component/'"),
    ("wish", "detail.resourceId", "inference-component/a/b", "detail.resourceId is"),
    ("wish", "detail.resourceId", "inference-component/a\n", "detail.resourceId is"),
    ("wish", "detail.resourceId", "inference-component/" + "x" * 64, "detail.resourceId is"),
    ("wish", "detail.resourceId", "endpoint/e/variant/", "detail.resourceId is"),
    ("wish", "detail.capacity", DROP, "detail.capacity is missing"),
    ("wish", "detail.capacity", -1, "detail.capacity is -1"),
    ("wish", "detail.capacity", "5", "detail.capacity is '5'"),
    ("wish", "detail.capacity", 2.5, "detail.capacity is 2.5"),
    ("wish", "detail.capacity", True, "detail.capacity is True"),
    ("wish", "detail.capacity", 10**9, "detail.capacity is 1000000000"),
    ("wish", "detail.holdSeconds", -1, "detail.holdSeconds is -1"),
    ("wish", "detail.holdSeconds", float("nan"), "detail.holdSeconds is nan"),
    ("wish", "detail.holdSeconds", 604_801, "detail.holdSeconds is 604801"),
    ("wish", "detail.reason", "x" * 201, "at most 200 characters"),
    ("wish", "detail.reason", {"a": 1}, "detail.reason is a JSON object"),
    ("wish", "time", DROP, "the time is missing"),
    ("wake", "detail.resourceId", "endpoint/e/variant/v", "expected inference-component/<name>"),
    ("wake", "detail.waitingRequests", 0, "detail.waitingRequests is 0"),
    ("tick", "time", DROP, "the time is missing"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("which", "field", "value", "says"), MALFORMED, ids=[f"{w}-{f}-{str(v)[:20]}" for w, f, v, _ in MALFORMED]
)
def test_a_malformed_event_is_refused_naming_field_value_and_what_is_expected(which, field, value, says):
    event = changed(EVERY_EVENT[which], field, None if value is DROP else value, drop=value is DROP)
    refused(event, Reason.EVENT_MALFORMED, says)


@pytest.mark.parametrize("event", [None, [], "text", 7, True, b"x"])
def test_an_event_that_is_no_object_is_malformed(event):
    refused(event, Reason.EVENT_MALFORMED, "expected a JSON object")


@pytest.mark.parametrize("event", [{"foo": 1}, {"Records": []}, {"detail": {}}, {1: 2}])
def test_an_object_of_another_kind_is_malformed(event):
    refused(event, Reason.EVENT_MALFORMED, "detail-type is missing")


def test_a_refusal_never_quotes_a_body():
    secret = "the customer's prompt"
    for field, value in [
        ("detail", [secret]),
        ("detail.state", [secret]),
        ("detail.alarmName", {"x": secret}),
        ("source", [secret]),
    ]:
        with pytest.raises(InvalidEvent) as caught:
            parse(changed(alarm_event(), field, value))
        assert secret not in str(caught.value)


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(InvalidEvent) as caught:
        parse(changed(alarm_event(), "account", "9" * 10_000))
    assert len(str(caught.value)) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
PLACES = ["detail", "detail-type", "source", "account", "region", "time", "resources", "detail.state", "detail.alarmName",
          "detail.configuration", "detail.previousState", "detail.state.timestamp", "detail.state.reason"]  # fmt: skip


@given(place=st.sampled_from(PLACES), value=JSON)
def test_whatever_stands_in_a_field_the_event_is_parsed_or_refused(place, value):
    try:
        parse(changed(alarm_event(), place, value))
    except InvalidEvent as error:
        assert error.reason in (Reason.EVENT_MALFORMED, Reason.EVENT_FOREIGN, Reason.EVENT_STALE)


@given(event=JSON)
def test_whatever_comes_it_is_parsed_or_refused(event):
    try:
        assert parse(event) == ScheduleTick(AT_S + 2)
        assert event == {}
    except InvalidEvent as error:
        assert error.reason == Reason.EVENT_MALFORMED


# -- the other kinds --------------------------------------------------------------------------------------------------


def test_a_deleted_alarm_is_named():
    assert parse(deleted_event()) == AlarmDeleted("prod--chat-high", AT.replace(microsecond=0).timestamp())


# the word in the event, the status
STATUSES = [
    ("IN_SERVICE", EndpointStatus.IN_SERVICE),
    ("UPDATING", EndpointStatus.UPDATING),
    ("SYSTEM_UPDATING", EndpointStatus.SYSTEM_UPDATING),
    ("ROLLING_BACK", EndpointStatus.ROLLING_BACK),
    ("OUT_OF_SERVICE", EndpointStatus.OUT_OF_SERVICE),
    ("UPDATE_ROLLBACK_FAILED", EndpointStatus.UPDATE_ROLLBACK_FAILED),
    ("DELETING", EndpointStatus.DELETING),
    ("FAILED", EndpointStatus.FAILED),
    ("CREATING", EndpointStatus.CREATING),
    ("InService", EndpointStatus.IN_SERVICE),
    ("HIBERNATING", EndpointStatus.UNKNOWN),
]


@pytest.mark.parametrize(("word", "status"), STATUSES)
def test_an_endpoints_status_is_upper_snake_in_events(word, status):
    assert parse(endpoint_event(word)) == EndpointStateChange("llm", status, AT.replace(microsecond=0).timestamp())


def test_a_deployments_progress_is_an_endpoint_event_too():
    event = endpoint_event("UPDATING", **{"detail-type": "SageMaker Endpoint Deployment State Change"})
    assert parse(event).status is EndpointStatus.UPDATING


def test_an_endpoint_event_without_a_time_takes_its_last_change_in_milliseconds():
    assert parse(changed(endpoint_event(), "time", drop=True)).at_s == pytest.approx(AT_S)


# detail, (target, capacity, reason, hold)
WISHES = [
    ({}, (TargetId.of_component("chat"), 5, "", None)),
    ({"capacity": 0}, (TargetId.of_component("chat"), 0, "", None)),
    ({"resourceId": "endpoint/llm/variant/AllTraffic"}, (TargetId.of_variant("llm", "AllTraffic"), 5, "", None)),
    ({"reason": "launch\nat nine", "holdSeconds": 3600}, (TargetId.of_component("chat"), 5, "launch at nine", 3600.0)),
    ({"who": "ignored"}, (TargetId.of_component("chat"), 5, "", None)),
]


@pytest.mark.parametrize(("detail", "want"), WISHES)
def test_a_wish_names_target_and_capacity(detail, want):
    wish = parse(wish_event(**detail))
    assert (wish.target_id, wish.capacity, wish.reason, wish.hold_s) == want


def test_a_knock_names_the_sleeping_component_and_perhaps_how_many_wait():
    assert parse(wake_event()).waiting is None
    wake = parse(wake_event(waitingRequests=12))
    assert (wake.target_id, wake.waiting) == (TargetId.of_component("chat"), 12)


@pytest.mark.parametrize("source", ["aws.events", "aws.scheduler"])
@pytest.mark.parametrize("detail", ["{}", {}, None])
def test_a_schedule_ticks_from_a_rule_and_from_the_scheduler(source, detail):
    assert parse(tick_event(source, detail)) == ScheduleTick(AT.replace(microsecond=0).timestamp())


def test_an_empty_invocation_is_a_tick_now():
    assert parse({}) == ScheduleTick(AT_S + 2)
