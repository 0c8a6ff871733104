"""Respond: an event says "look at this endpoint now". Look, act at once if copies fit, and leave the rest to the loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quickstep import clock, telemetry
from quickstep.errors import AwsRefused, InvalidEvent, LeaseHeld, LeaseLost, OutcomeUnknown, Throttled
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
from quickstep.gateways.registry import Registry
from quickstep.model.loop import NextWord
from quickstep.model.state import Change
from quickstep.model.targets import TargetId
from quickstep.policy.wake import knocked
from quickstep.reasons import Reason
from quickstep.settings import Settings
from quickstep.usecases import loop as loops
from quickstep.usecases.look import FAST_PATH, LEASE_S, LookOutcome, look
from quickstep.usecases.registration import ensure_default_target

LOOKS = 3
"""Looks that one event may cause because somebody poked meanwhile; after that the loop or Reconcile has it."""


def respond(
    event: Mapping[str, Any], *, account: str, region: str, holder: str, registry: Registry, settings: Settings
) -> dict[str, Any]:
    """Handle one event; return what was done, in words.

    Raises `InvalidEvent` for a malformed, foreign, stale or unknown event (Lambda then sends it to the dead-letter
    queue, once), and the errors of DynamoDB if not even the poke could be kept.
    """
    parsed = parse_event(event, account=account, region=region, alarm_prefix=settings.alarm_prefix, now_s=clock.now_s())
    where = _where(parsed, registry, settings)
    if where is None:
        return {"outcome": "ignored", "why": f"{type(parsed).__name__}: no scalable target of ours is concerned"}
    endpoint, target_id = where
    if isinstance(parsed, ManualWish | WakeRequested):
        assert target_id is not None
        _keep_wish(parsed, endpoint, target_id, registry)
    registry.poke(endpoint)
    return _look_and_leave(endpoint, type(parsed).__name__, holder, registry, settings)


def _look_and_leave(endpoint: str, cause: str, holder: str, registry: Registry, settings: Settings) -> dict[str, Any]:
    outcome: LookOutcome | None = None
    for _ in range(LOOKS):
        try:
            outcome = look(endpoint, holder=holder, permit=FAST_PATH, registry=registry, settings=settings)
        except LeaseHeld as error:
            # The holder sees the poke. If it died, Reconcile looks when its lease has run out.
            registry.hurry(endpoint, clock.now_s() + LEASE_S)
            return {"outcome": "coalesced", "endpoint": endpoint, "cause": cause, "why": str(error)}
        except (Throttled, OutcomeUnknown, LeaseLost) as error:
            # The poke is kept: a loop that is about to end will not, and if there is none we start one.
            telemetry.logger().warning("look failed", extra={"endpoint": endpoint, "error": str(error)})
            telemetry.count("LookFailed")
            started = loops.ensure_running(endpoint, registry=registry, settings=settings)
            return {"outcome": "deferred", "endpoint": endpoint, "cause": cause, "why": str(error), "loop": started}
        # Release, then read: whoever poked after our look began either found the lease free, or is seen here.
        now = registry.read_loop(endpoint)
        if now.poke_seq == outcome.poke_seq or now.running:
            break
    assert outcome is not None
    answer = {
        "outcome": "acted" if outcome.acted else "looked",
        "endpoint": endpoint,
        "cause": cause,
        "next": str(outcome.word),
        "why": outcome.why,
        "acted": list(outcome.acted),
        "decisions": [
            {"target": d.target_id.resource_id, "desired": d.desired, "current": d.current, "reason": str(d.reason)}
            for d in outcome.decisions
        ],
    }
    if outcome.word is not NextWord.SETTLED:
        answer["loop"] = loops.ensure_running(endpoint, registry=registry, settings=settings)
    elif not now.running:
        now_s = clock.now_s()
        next_s = outcome.next_look_at_s or now_s + loops.AUDIT_S
        registry.record_look(endpoint, now_s=now_s, next_look_at_s=next_s)
    return answer


def _where(parsed: ParsedEvent, registry: Registry, settings: Settings) -> tuple[str, TargetId | None] | None:
    """Endpoint and target that an event is about; None if it is rightly none of our business."""
    if isinstance(parsed, AlarmStateChange | AlarmDeleted):
        found = registry.find_by_alarm(parsed.alarm_name)
        if found is None and isinstance(parsed, AlarmDeleted):
            # It speaks for nobody: the policy that owned it was deleted or changed through the API.
            return None
        if found is None:
            # An alarm of this stack's prefix that is bound to no target (a user's own, a composite one) speaks for the
            # stack's default target.
            default = ensure_default_target(registry, settings)
            found = registry.find_by_alarm(parsed.alarm_name)
            if found is None and _bound_by_its_tag(parsed.alarm_name, settings):
                found = registry.find_by_alarm(parsed.alarm_name)
            if found is None and default is not None:
                found = default.endpoint, default.target_id
        if found is None:
            raise InvalidEvent(
                Reason.EVENT_UNKNOWN_TARGET,
                f"alarm {parsed.alarm_name} is bound to no scalable target; register the target or delete the alarm",
            )
        if isinstance(parsed, AlarmDeleted):
            telemetry.logger().error("an alarm of ours was deleted", extra={"alarm": parsed.alarm_name})
            telemetry.count("AlarmDeleted")
        return found
    if isinstance(parsed, EndpointStateChange | LookRequested):
        # Every endpoint of the account tells its changes here, and every stack its requests; most are not ours.
        return (parsed.endpoint, None) if registry.read_endpoint(parsed.endpoint).targets else None
    if isinstance(parsed, ManualWish | WakeRequested):
        found = registry.find(parsed.target_id.resource_id)
        if found is None:
            raise InvalidEvent(
                Reason.EVENT_UNKNOWN_TARGET,
                f"{parsed.target_id} is not registered; register it as a scalable target first",
            )
        return found
    assert isinstance(parsed, ScheduleTick)
    target = ensure_default_target(registry, settings)
    return (target.endpoint, target.target_id) if target is not None else None


def _bound_by_its_tag(alarm_name: str, settings: Settings) -> bool:
    """Bind an alarm that nobody knows to the step policy that its tag names; False if it names none."""
    # Imported here: an alarm is unknown once in its life, and most invocations never need the API.
    from quickstep.control.binding import bind_tagged_alarm
    from quickstep.control.context import ControlContext
    from quickstep.control.refusals import ControlRefusal

    try:
        return bind_tagged_alarm(alarm_name, ControlContext.of(settings, f"alarm-{alarm_name}")) is not None
    except (AwsRefused, ControlRefusal) as error:
        telemetry.logger().warning("cannot bind an alarm by its tag", extra={"alarm": alarm_name, "error": str(error)})
        return False


def _keep_wish(wish: ManualWish | WakeRequested, endpoint: str, target_id: TargetId, registry: Registry) -> None:
    """Keep a person's wish, or a client's knock, for the next look, whoever takes it."""
    now_s = clock.now_s()
    record = registry.read_endpoint(endpoint)
    state, target = record.state(target_id), record.targets[target_id]
    if isinstance(wish, ManualWish):
        change = Change(now_s, state.wish or 0, wish.capacity, wish.reason or "a manual wish", hold_s=wish.hold_s)
    else:
        knock = knocked(state, target, wish.waiting, now_s)
        if knock is None:
            return
        change = knock
    registry.keep_wish(endpoint, target_id, change)
