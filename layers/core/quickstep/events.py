"""Events that reach Quickstep, checked at the edge.

An event is only a hint which endpoint to look at now: no number in it decides anything (a copy of it may be late,
doubled, out of order, or made by a person with SetAlarmState). So what identifies the target, where the event comes from
and when is checked strictly, and everything else (reason data, metrics, tags, fields of the future) is not even read.
Shapes: CloudWatch user guide "Alarm events and EventBridge" and "Invoke a Lambda function from an alarm"; SageMaker
developer guide "Automating SageMaker with EventBridge"; EventBridge Scheduler user guide.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from quickstep.errors import InvalidEvent
from quickstep.model.observation import AlarmState, EndpointStatus
from quickstep.model.targets import TargetId
from quickstep.reasons import Reason
from quickstep.shapes import Unreadable, number, or_none, part, read, text, whole, word

HINT_MAX_AGE_S = 86_400.0
"""EventBridge retries for 24 h; what is older was redriven by hand, and Reconcile has long looked."""
COMMAND_MAX_AGE_S = 900.0
"""A wish of a person or a knock of a client is obeyed, not re-checked, so it must be fresh."""

SOURCE = "quickstep"
"""`source` of the events that Quickstep's own tools put on the bus."""
MANUAL_WISH = "Quickstep Manual Wish"
WAKE_REQUESTED = "Quickstep Wake Requested"
LOOK_REQUESTED = "Quickstep Look Requested"


@dataclass(frozen=True, slots=True)
class AlarmStateChange:
    """An alarm changed its state: by an EventBridge rule or as the alarm's own Lambda action, whatever kind of alarm."""

    alarm_name: str
    state: AlarmState
    previous_state: AlarmState | None
    """None if the event does not say."""
    at_s: float
    reason: str = ""
    """CloudWatch's sentence, for a person to read."""
    composite: bool = False
    muted: bool = False
    """An alarm mute rule or an actions suppressor holds back the alarm's actions; its events come all the same."""
    idempotency_key: str = ""
    """Equal for every delivery of the same transition: alarm ARN and the time of the state."""


@dataclass(frozen=True, slots=True)
class AlarmDeleted:
    alarm_name: str
    at_s: float


@dataclass(frozen=True, slots=True)
class EndpointStateChange:
    """SageMaker says that an endpoint changed, or is deploying; a word that is not known is UNKNOWN."""

    endpoint: str
    status: EndpointStatus
    at_s: float


@dataclass(frozen=True, slots=True)
class ManualWish:
    """A person asks for exactly `capacity` copies (or instances), held for `hold_s` seconds; None = the default hold."""

    target_id: TargetId
    capacity: int
    at_s: float
    reason: str = ""
    hold_s: float | None = None


@dataclass(frozen=True, slots=True)
class WakeRequested:
    """A client knocked at a component that has no copies; `waiting` requests wait, None = not known."""

    target_id: TargetId
    at_s: float
    waiting: int | None = None


@dataclass(frozen=True, slots=True)
class LookRequested:
    """The API or a scheduled action has changed something about an endpoint's targets."""

    endpoint: str
    at_s: float


@dataclass(frozen=True, slots=True)
class ScheduleTick:
    at_s: float


ParsedEvent = (
    AlarmStateChange | AlarmDeleted | EndpointStateChange | ManualWish | WakeRequested | LookRequested | ScheduleTick
)


def parse_event(
    event: Any,
    *,
    account: str,
    region: str,
    alarm_prefix: str,
    now_s: float,
    max_age_s: float = HINT_MAX_AGE_S,
    bound_alarms: Collection[str] = (),
) -> ParsedEvent:
    """The event behind a Lambda's payload.

    `alarm_prefix` is `<stack>--`, whole: `prod--` does not admit `prod2--high`. `bound_alarms` are names that are ours
    although they begin otherwise (alarms that users made and bound). An empty object is a tick.
    `max_age_s` bounds hints; wishes and knocks are never older than `COMMAND_MAX_AGE_S`.

    Raises `InvalidEvent` with reason `EventForeign` (account, region, source or alarm of somebody else), `EventStale`
    or `EventMalformed`; its message names field, value and what is expected, and never quotes the whole event.
    """
    if not isinstance(event, Mapping):
        raise _malformed(f"the event is a {type(event).__name__}; expected a JSON object")
    gate = _Gate(account, region, alarm_prefix, now_s, max_age_s, frozenset(bound_alarms))
    if not event:
        return ScheduleTick(at_s=now_s)
    if "alarmData" in event:
        return _alarm_action(event, gate)
    kind = event.get("detail-type")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise _malformed(f"detail-type is {_short(kind)}; expected one of {', '.join(sorted(_KINDS))}")
    sources, read = _KINDS[kind]
    envelope = _validated(_Envelope, event)
    gate.admit(envelope.account, envelope.region, envelope.source, sources)
    return read(envelope, gate)


@dataclass(frozen=True, slots=True)
class _Gate:
    """Whose events come in, and how old they may be."""

    account: str
    region: str
    alarm_prefix: str
    now_s: float
    max_age_s: float
    bound_alarms: frozenset[str]

    def admit(self, account: str, region: str, source: str, sources: tuple[str, ...]) -> None:
        if source not in sources:
            raise _foreign(f"source is {_short(source)}; expected {' or '.join(map(repr, sources))}")
        if account != self.account:
            raise _foreign(f"account is {_short(account)}; expected {self.account!r}, the account Quickstep runs in")
        if region != self.region:
            raise _foreign(f"region is {_short(region)}; expected {self.region!r}, the region Quickstep runs in")

    def admit_alarm(self, name: str, arn: str | None) -> None:
        if arn is not None:
            found = _ALARM_ARN.fullmatch(arn)
            if found is None:
                raise _malformed(
                    f"the alarm's ARN is {_short(arn)}; expected arn:…:cloudwatch:{self.region}:{self.account}:alarm:…"
                )
            if found["account"] != self.account or found["region"] != self.region:
                raise _foreign(
                    f"the alarm's ARN is {_short(arn)}; expected one of account {self.account} in {self.region}"
                )
            if found["name"] != name:
                raise _malformed(
                    f"the alarm's ARN is {_short(arn)} but alarmName is {_short(name)}; expected the same alarm"
                )
        is_ours = bool(self.alarm_prefix) and name.startswith(self.alarm_prefix) and name != self.alarm_prefix
        if not is_ours and name not in self.bound_alarms:
            raise _foreign(
                f"alarmName is {_short(name)}; expected a name beginning with {self.alarm_prefix!r}, or a bound alarm"
            )

    def fresh(self, at_s: float, max_age_s: float | None = None) -> float:
        limit_s = self.max_age_s if max_age_s is None else min(max_age_s, self.max_age_s)
        age_s = self.now_s - at_s
        if age_s > limit_s:
            raise InvalidEvent(
                Reason.EVENT_STALE,
                f"the event's time is {_iso(at_s)}, {age_s:.0f} s ago; expected at most {limit_s:.0f} s. "
                "Nothing is lost: Reconcile looks at every target by itself",
            )
        return at_s


# -- what comes in ----------------------------------------------------------------------------------------------------

_Text = Annotated[str, text()]
_Name = Annotated[str, text(min_length=1, max_length=255)]
_SageMakerName = Annotated[str, text(max_length=63, pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*$")]
_ALARM_ARN = re.compile(r"arn:[^:]+:cloudwatch:(?P<region>[^:]*):(?P<account>[^:]*):alarm[:/](?P<name>.+)", re.DOTALL)
_TARGET = re.compile(
    r"inference-component/(?P<component>[a-zA-Z0-9](-*[a-zA-Z0-9])*)"
    r"|endpoint/(?P<endpoint>[a-zA-Z0-9](-*[a-zA-Z0-9])*)/variant/(?P<variant>[a-zA-Z0-9](-*[a-zA-Z0-9])*)"
)


@dataclass(frozen=True)
class _Envelope:
    """What every EventBridge event has. Scheduler writes `detail` as a JSON string, hence no type for it here."""

    account: _Text
    region: _Text
    source: _Text
    time: Any = None
    resources: Any = None
    detail: Any = None


@dataclass(frozen=True)
class _State:
    value: Annotated[AlarmState, word(AlarmState)]
    timestamp: Any = None
    reason: Any = None
    actionsSuppressedBy: Any = None  # noqa: N815


@dataclass(frozen=True)
class _AlarmDetail:
    alarmName: _Name  # noqa: N815
    state: Annotated[_State, part(_State)]
    previousState: Any = None  # noqa: N815
    configuration: Any = None
    muteDetail: Any = None  # noqa: N815


@dataclass(frozen=True)
class _AlarmAction:
    """The payload of an alarm's own Lambda action; no EventBridge envelope."""

    source: _Text
    accountId: _Text  # noqa: N815
    region: _Text
    alarmArn: _Text  # noqa: N815
    alarmData: Annotated[_AlarmDetail, part(_AlarmDetail)]  # noqa: N815
    time: Any = None


@dataclass(frozen=True)
class _AlarmConfiguration:
    alarmName: _Name  # noqa: N815
    operation: _Text


@dataclass(frozen=True)
class _EndpointDetail:
    EndpointName: _SageMakerName
    EndpointStatus: _Text
    LastModifiedTime: Any = None


@dataclass(frozen=True)
class _WishDetail:
    resourceId: _Text  # noqa: N815
    capacity: Annotated[int, whole(ge=0, le=100_000)]
    reason: Annotated[str, text(max_length=200)] = ""
    holdSeconds: Annotated[float | None, or_none(number(ge=0, le=604_800))] = None  # noqa: N815


@dataclass(frozen=True)
class _WakeDetail:
    resourceId: _Text  # noqa: N815
    waitingRequests: Annotated[int | None, or_none(whole(ge=1, le=1_000_000))] = None  # noqa: N815


@dataclass(frozen=True)
class _LookDetail:
    endpointName: _SageMakerName  # noqa: N815


# -- one reader per kind ----------------------------------------------------------------------------------------------


def _alarm_action(event: Mapping[str, Any], gate: _Gate) -> AlarmStateChange:
    action = _validated(_AlarmAction, event)
    gate.admit(action.accountId, action.region, action.source, ("aws.cloudwatch",))
    return _state_change(action.alarmData, action.alarmArn, action.time, gate)


def _alarm_state_change(envelope: _Envelope, gate: _Gate) -> AlarmStateChange:
    return _state_change(_validated(_AlarmDetail, envelope.detail, "detail"), _alarm_arn(envelope), envelope.time, gate)


def _state_change(detail: _AlarmDetail, arn: str | None, time: Any, gate: _Gate) -> AlarmStateChange:
    gate.admit_alarm(detail.alarmName, arn)
    at_s = gate.fresh(_time(detail.state.timestamp, time))
    configuration = detail.configuration if isinstance(detail.configuration, Mapping) else {}
    return AlarmStateChange(
        alarm_name=detail.alarmName,
        state=detail.state.value,
        previous_state=_previous(detail.previousState),
        at_s=at_s,
        reason=_line(detail.state.reason),
        composite="alarmRule" in configuration,
        muted=bool(detail.muteDetail) or bool(detail.state.actionsSuppressedBy),
        idempotency_key=f"{arn or detail.alarmName}@{at_s:.3f}",
    )


def _alarm_deleted(envelope: _Envelope, gate: _Gate) -> AlarmDeleted:
    detail = _validated(_AlarmConfiguration, envelope.detail, "detail")
    gate.admit_alarm(detail.alarmName, _alarm_arn(envelope))
    if detail.operation != "delete":
        raise _malformed(
            f"detail.operation is {_short(detail.operation)}; expected 'delete', the only change that is listened to"
        )
    return AlarmDeleted(detail.alarmName, gate.fresh(_time(envelope.time)))


def _endpoint_state_change(envelope: _Envelope, gate: _Gate) -> EndpointStateChange:
    detail = _validated(_EndpointDetail, envelope.detail, "detail")
    at_s = gate.fresh(_time(envelope.time, detail.LastModifiedTime))
    return EndpointStateChange(detail.EndpointName, _endpoint_status(detail.EndpointStatus), at_s)


def _manual_wish(envelope: _Envelope, gate: _Gate) -> ManualWish:
    detail = _validated(_WishDetail, envelope.detail, "detail")
    at_s = gate.fresh(_time(envelope.time), COMMAND_MAX_AGE_S)
    return ManualWish(_target(detail.resourceId), detail.capacity, at_s, _line(detail.reason), detail.holdSeconds)


def _wake_requested(envelope: _Envelope, gate: _Gate) -> WakeRequested:
    detail = _validated(_WakeDetail, envelope.detail, "detail")
    target_id = _target(detail.resourceId)
    if target_id.component is None:
        raise _malformed(
            f"detail.resourceId is {_short(detail.resourceId)}; expected inference-component/<name>: only those sleep"
        )
    return WakeRequested(target_id, gate.fresh(_time(envelope.time), COMMAND_MAX_AGE_S), detail.waitingRequests)


def _look_requested(envelope: _Envelope, gate: _Gate) -> LookRequested:
    detail = _validated(_LookDetail, envelope.detail, "detail")
    return LookRequested(detail.endpointName, gate.fresh(_time(envelope.time)))


def _schedule_tick(envelope: _Envelope, gate: _Gate) -> ScheduleTick:
    return ScheduleTick(gate.fresh(_time(envelope.time)))


_KINDS: dict[str, tuple[tuple[str, ...], Callable[[_Envelope, _Gate], ParsedEvent]]] = {
    "CloudWatch Alarm State Change": (("aws.cloudwatch",), _alarm_state_change),
    "CloudWatch Alarm Configuration Change": (("aws.cloudwatch",), _alarm_deleted),
    "SageMaker Endpoint State Change": (("aws.sagemaker",), _endpoint_state_change),
    "SageMaker Endpoint Deployment State Change": (("aws.sagemaker",), _endpoint_state_change),
    "Scheduled Event": (("aws.events", "aws.scheduler"), _schedule_tick),
    MANUAL_WISH: ((SOURCE,), _manual_wish),
    WAKE_REQUESTED: ((SOURCE,), _wake_requested),
    LOOK_REQUESTED: ((SOURCE,), _look_requested),
}


# -- values -----------------------------------------------------------------------------------------------------------


def _validated(shape: type[Any], value: Any, where: str = "") -> Any:
    """`value` as `shape`; a JSON object may also come as a JSON string."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise _malformed(f"{where} is a text that is no JSON; expected an object") from None
    if not isinstance(value, Mapping):
        raise _malformed(f"{where or 'the event'} is {_short(value)}; expected an object")
    try:
        return read(shape, value)
    except Unreadable as unreadable:
        first = unreadable.problems[0]
        field = ".".join((*((where,) if where else ()), *first.path))
        found = "missing" if first.missing else _short(first.value)
        message = f"{field} is {found}: {first.expected[:1].lower()}{first.expected[1:]}"
    # Raised out here so that no log prints the error beneath, which holds values of the event.
    raise _malformed(message)


def _time(*candidates: Any) -> float:
    """The first candidate that is there, in seconds since the epoch; raises if none is or it is no time."""
    found = next((value for value in candidates if value is not None), None)
    if found is None:
        raise _malformed("the time is missing; expected an ISO 8601 time or seconds since the epoch")
    at_s = _epoch_s(found)
    if at_s is None:
        raise _malformed(f"the time is {_short(found)}; expected an ISO 8601 time or seconds since the epoch")
    return at_s


def _epoch_s(value: Any) -> float | None:
    """ISO 8601 (also `+0000` without a colon; no zone means UTC), or a number, or one as text, of s or ms."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            try:
                parsed = datetime.fromisoformat(value)
            except ValueError:
                return None
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if not -1e16 < value < 1e16:  # not a number, infinite, or far beyond any calendar
        return None
    # 10^11 s is the year 5138, 10^11 ms is 1973: SageMaker's own times are milliseconds.
    return value / 1000.0 if abs(value) >= 1e11 else float(value)


def _alarm_arn(envelope: _Envelope) -> str | None:
    resources = envelope.resources
    return resources[0] if isinstance(resources, list) and resources and isinstance(resources[0], str) else None


def _previous(value: Any) -> AlarmState | None:
    word = value.get("value") if isinstance(value, Mapping) else None
    return AlarmState(word) if word in list(AlarmState) else None


def _endpoint_status(word: str) -> EndpointStatus:
    """`IN_SERVICE` in events is `InService` in Describe."""
    plain = word.replace("_", "").lower()
    return next((status for status in EndpointStatus if status.lower() == plain), EndpointStatus.UNKNOWN)


def _target(resource_id: str) -> TargetId:
    found = _TARGET.fullmatch(resource_id)
    if found is None or any(len(part) > 63 for part in resource_id.split("/")):
        raise _malformed(
            f"detail.resourceId is {_short(resource_id)}; "
            "expected inference-component/<name> or endpoint/<endpoint>/variant/<variant>"
        )
    if found["component"]:
        return TargetId.of_component(found["component"])
    return TargetId.of_variant(found["endpoint"], found["variant"])


def _line(value: Any) -> str:
    """At most 400 printable characters on one line; nothing else reaches a log or a record."""
    text = value if isinstance(value, str) else ""
    return "".join(ch if ch.isprintable() else " " for ch in text)[:400].strip()


def _short(value: Any) -> str:
    """A value fit for a message: never a whole object, never more than 80 characters."""
    if value is None:
        return "missing"
    if isinstance(value, Mapping | list | tuple):
        return f"a JSON {'object' if isinstance(value, Mapping) else 'array'}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _iso(at_s: float) -> str:
    try:
        return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")
    except (OverflowError, OSError, ValueError):
        return f"{at_s:.0f} s since the epoch"


def _malformed(message: str) -> InvalidEvent:
    return InvalidEvent(Reason.EVENT_MALFORMED, message)


def _foreign(message: str) -> InvalidEvent:
    return InvalidEvent(Reason.EVENT_FOREIGN, message)
