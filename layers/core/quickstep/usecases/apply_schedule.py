"""Apply a scheduled action: when its schedule fires, change the target's minimum and maximum, and have it looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from quickstep import clock
from quickstep.errors import InvalidEvent, LeaseHeld
from quickstep.gateways.registry import Registry
from quickstep.gateways.registry_control import ControlRegistry
from quickstep.model.activity import Activity, ActivityStatus
from quickstep.model.registration import ScheduledRecord
from quickstep.model.targets import ScalableTarget
from quickstep.reasons import Reason
from quickstep.usecases import history
from quickstep.usecases.looking import look_soon

PAYLOAD_VERSION = 1
HOLD_S = 60.0
"""Longer than this function may run (20 s)."""


def apply_schedule(
    event: Mapping[str, Any], *, holder: str, records: ControlRegistry, registry: Registry
) -> dict[str, Any]:
    """Apply the scheduled action that `event` names; return what was done, in words.

    EventBridge Scheduler delivers at least once and possibly late: the same action twice is applied once more to no
    effect, and one that comes after a younger one of the same target is not applied. Raises `InvalidEvent` for an event
    that no schedule of ours sends, and `LeaseHeld` while the target is being changed: Lambda then tries again.
    """
    # 1 gather
    resource_id, name, due_s = _read(event)
    if not records.hold_target(resource_id, holder=holder, now_s=clock.now_s(), ttl_s=HOLD_S):
        raise LeaseHeld(
            f"{resource_id} is being changed by somebody else; the scheduled action is applied when they are done"
        )
    try:
        return _apply(resource_id, name, due_s, records, registry)
    finally:
        records.let_go_target(resource_id, holder=holder)


def _apply(resource_id: str, name: str, due_s: float, records: ControlRegistry, registry: Registry) -> dict[str, Any]:
    action = records.schedule_record(resource_id, name)
    registration = records.registration_record(resource_id)
    if action is None or registration is None:
        return _done("ignored", resource_id, name, "it is not registered any more")
    found = records.registered_targets([(registration.endpoint, resource_id)]).get(resource_id)
    if found is None:
        return _done("ignored", resource_id, name, "its target is not registered any more")
    target = found[0]
    if registration.scheduled_s is not None and due_s < registration.scheduled_s:
        return _done("ignored", resource_id, name, "a younger scheduled action of this target was applied already")

    # 2 decide
    low = target.min_capacity if action.min_capacity is None else action.min_capacity
    high = target.max_capacity if action.max_capacity is None else action.max_capacity
    wanted = replace(target, min_capacity=low, max_capacity=high)

    # 3 apply
    if target.suspension.scheduled:
        outcome, why = "suspended", "ScheduledScalingSuspended is true"
        _record(action, target, due_s, ActivityStatus.UNFULFILLED, Reason.SUSPENDED, why, registry)
    elif low > high:
        outcome = "failed"
        why = f"MinCapacity {low} is above MaxCapacity {high}; change the scheduled action or the target"
        _record(action, target, due_s, ActivityStatus.FAILED, Reason.SCHEDULE, why, registry)
    else:
        outcome, why = "applied", f"Successfully set min capacity to {low} and max capacity to {high}"
        registry.put_target(wanted)
        records.keep_registration(replace(registration, scheduled_s=due_s))
        _record(action, wanted, due_s, ActivityStatus.SUCCESSFUL, Reason.SCHEDULE, why, registry)
        look_soon(target.endpoint, registry)
    if action.schedule.lstrip().startswith("at("):
        # Its schedule deletes itself.
        records.forget_schedule(resource_id, name)
    return _done(outcome, resource_id, name, why)


def _record(
    action: ScheduledRecord,
    target: ScalableTarget,
    due_s: float,
    status: ActivityStatus,
    reason: Reason,
    why: str,
    registry: Registry,
) -> None:
    now_s = clock.now_s()
    registry.put_activity(
        Activity(
            # Of the moment that it was due: delivered twice, it is recorded once.
            activity_id=history.activity_id(due_s, 900),
            target_id=action.target_id,
            start_s=now_s,
            end_s=now_s,
            status=status,
            description=f"Setting min capacity to {target.min_capacity} and max capacity to {target.max_capacity}",
            cause=f"scheduled action name {action.name} was triggered",
            reason=str(reason),
            not_scaled=status is not ActivityStatus.SUCCESSFUL,
            status_message=why,
        )
    )


def _read(event: Mapping[str, Any]) -> tuple[str, str, float]:
    version, resource_id, name = event.get("v"), event.get("resource_id"), event.get("scheduled_action")
    if version != PAYLOAD_VERSION or not isinstance(resource_id, str) or not isinstance(name, str):
        raise InvalidEvent(
            Reason.EVENT_MALFORMED,
            f"v is {version!r}, resource_id {resource_id!r}, scheduled_action {name!r}; expected v {PAYLOAD_VERSION} and two "
            "names, as the schedules of this stack send them",
        )
    try:
        due = datetime.fromisoformat(str(event.get("scheduled_time")))
    except ValueError as error:
        raise InvalidEvent(
            Reason.EVENT_MALFORMED, f"scheduled_time is {event.get('scheduled_time')!r}; expected ISO 8601"
        ) from error
    return resource_id, name, (due if due.tzinfo else due.replace(tzinfo=UTC)).timestamp()


def _done(outcome: str, resource_id: str, name: str, why: str) -> dict[str, Any]:
    return {"outcome": outcome, "target": resource_id, "scheduled_action": name, "why": why}
