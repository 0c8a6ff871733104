"""PutScheduledAction, DeleteScheduledAction, DescribeScheduledActions.

A scheduled action is a schedule of EventBridge Scheduler whose function changes the target's minimum and maximum
(`usecases/apply_schedule.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from quickstep.control import paging
from quickstep.control.context import ControlContext
from quickstep.control.names import check_namespace, target_id
from quickstep.control.refusals import LimitExceededException, ObjectNotFoundException, ValidationException
from quickstep.control.schedule_expression import Schedule, parse_schedule
from quickstep.control.waking import keep_with_alarms, with_wake_alarm
from quickstep.errors import Rejected
from quickstep.gateways import schedules
from quickstep.model.registration import ScheduledRecord
from quickstep.model.targets import TargetId

PAYLOAD_VERSION = 1


def put(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """Create a scheduled action, or change it; start and end times that are not given are deleted, the rest stays."""
    tid = target_id(params)
    name = params["ScheduledActionName"]
    with context.changing(tid):
        context.required(tid)
        before = context.records.schedule_record(tid.resource_id, name)
        action = _record(params, tid, context, before)
        schedule = parse_schedule(action.schedule, action.timezone)
        _check_times(action, schedule, context.now_s)
        if before is None:
            _check_limit(tid, context)
        context.records.keep_schedule(action)
        try:
            _put_schedule(action, schedule, context)
        except Rejected as error:
            _restore(before, action, context)
            raise ValidationException(f"Schedule is {action.schedule!r}: {error}") from error
        _settle_wake_alarm(tid, context)
    return {}


def check(params: Mapping[str, Any], tid: TargetId, context: ControlContext) -> None:
    """Raise ValidationException for a new scheduled action that `put` would refuse by its own members. Changes nothing."""
    action = _record(params, tid, context, None)
    _check_times(action, parse_schedule(action.schedule, action.timezone), context.now_s)


def delete(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """Delete a scheduled action and its schedule."""
    tid = target_id(params)
    with context.changing(tid):
        context.required(tid)
        action = context.records.schedule_record(tid.resource_id, params["ScheduledActionName"])
        if action is None:
            raise ObjectNotFoundException(
                f"No scheduled action found for service namespace: sagemaker, resource ID: {tid.resource_id}, scalable "
                f"dimension: {tid.dimension}, scheduled action name: {params['ScheduledActionName']}"
            )
        _settle_wake_alarm(tid, context, without_action=action.name)
        _delete_schedule(action, context)
    return {}


def describe(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """Scheduled actions, in order of resource id and name."""
    check_namespace(params)
    found, token = paging.matching(
        "DescribeScheduledActions", params, context.records.schedule_page, names="ScheduledActionNames"
    )
    return {"ScheduledActions": [_described(one, context) for one in found]} | token


def forget_schedules(tid: TargetId, context: ControlContext) -> None:
    """Delete every scheduled action of a target."""
    for action in context.records.schedules_of(tid.resource_id):
        _delete_schedule(action, context)


def _record(
    params: Mapping[str, Any], tid: TargetId, context: ControlContext, before: ScheduledRecord | None
) -> ScheduledRecord:
    if before is None:
        if "Schedule" not in params:
            raise ValidationException("Schedule is missing; it is required for a new scheduled action")
        name = params["ScheduledActionName"]
        before = ScheduledRecord(
            tid, name, context.names.action_id(tid, name), params["Schedule"], context.now_s, owner=context.owner
        )
    wanted = params.get("ScalableTargetAction")
    action = replace(
        before,
        schedule=params.get("Schedule", before.schedule),
        timezone=params.get("Timezone", before.timezone),
        start_s=params.get("StartTime"),
        end_s=params.get("EndTime"),
        owner=context.owner or before.owner,
    )
    if wanted is not None:
        action = replace(action, min_capacity=wanted.get("MinCapacity"), max_capacity=wanted.get("MaxCapacity"))
    _check_capacity(action)
    return action


def _check_capacity(action: ScheduledRecord) -> None:
    low, high = action.min_capacity, action.max_capacity
    if low is None and high is None:
        raise ValidationException(
            "At least one of minimum capacity and maximum capacity should be provided: ScalableTargetAction has neither "
            "MinCapacity nor MaxCapacity"
        )
    for name, value in (("MinCapacity", low), ("MaxCapacity", high)):
        if value is not None and value < 0:
            raise ValidationException(f"ScalableTargetAction.{name} is {value}; it must be 0 or more")
    if low is not None and high is not None and high < low:
        raise ValidationException(
            "Maximum capacity cannot be less than minimum capacity: ScalableTargetAction.MaxCapacity is "
            f"{high}, MinCapacity is {low}"
        )


def _check_times(action: ScheduledRecord, schedule: Schedule, now_s: float) -> None:
    start_s, end_s, at_s = action.start_s, action.end_s, schedule.at_s
    if start_s is not None and end_s is not None and start_s >= end_s:
        raise ValidationException("StartTime must be before EndTime; exchange or correct them")
    if end_s is not None and end_s <= now_s:
        raise ValidationException("EndTime lies in the past; the action would never run")
    if at_s is not None and at_s <= now_s:
        raise ValidationException(f"Schedule is {action.schedule!r}, which lies in the past; give a moment to come")
    if at_s is not None and ((start_s or at_s) > at_s or (end_s or at_s) < at_s):
        raise ValidationException(
            f"Schedule is {action.schedule!r}, which lies outside StartTime and EndTime; the action would never run"
        )


def _check_limit(tid: TargetId, context: ControlContext) -> None:
    limit = context.limits.scheduled_actions_per_target
    if len(context.records.schedules_of(tid.resource_id)) >= limit:
        raise LimitExceededException(
            f"{tid} has {limit} scheduled actions, the most that a target may have; delete some"
        )


def _put_schedule(action: ScheduledRecord, schedule: Schedule, context: ControlContext) -> None:
    # Scheduler refuses a start that is more than five minutes past; what has begun needs none.
    starts = action.start_s is not None and action.start_s > context.now_s and not schedule.is_once
    schedules.put_schedule(
        context.names.schedule_name(action.action_id),
        schedule.text,
        {"v": PAYLOAD_VERSION, "resource_id": action.target_id.resource_id, "scheduled_action": action.name},
        target=context.schedule_target,
        timezone=action.timezone,
        start_s=action.start_s if starts else None,
        end_s=None if schedule.is_once else action.end_s,
    )


def _restore(before: ScheduledRecord | None, action: ScheduledRecord, context: ControlContext) -> None:
    if before is None:
        context.records.forget_schedule(action.target_id.resource_id, action.name)
    else:
        context.records.keep_schedule(before)


def _delete_schedule(action: ScheduledRecord, context: ControlContext) -> None:
    name = context.names.schedule_name(action.action_id)
    schedules.delete_schedule(name, group=context.settings.schedule_group_name)
    context.records.forget_schedule(action.target_id.resource_id, action.name)


def _settle_wake_alarm(tid: TargetId, context: ControlContext, *, without_action: str | None = None) -> None:
    """An action that lets the component go to zero needs the wake alarm before it fires."""
    registration, target = context.required(tid)
    changed, kept, writes = with_wake_alarm(target, registration, context, without_action=without_action)
    if changed != target or kept != registration or writes:
        keep_with_alarms(changed, kept, registration, writes, context)


def _described(action: ScheduledRecord, context: ControlContext) -> dict[str, Any]:
    wanted = {"MinCapacity": action.min_capacity, "MaxCapacity": action.max_capacity}
    row: dict[str, Any] = {
        "ScheduledActionName": action.name,
        "ScheduledActionARN": context.names.action_arn(action.target_id, action.name, action.action_id),
        "ServiceNamespace": "sagemaker",
        "Schedule": action.schedule,
        "ResourceId": action.target_id.resource_id,
        "ScalableDimension": str(action.target_id.dimension),
        "ScalableTargetAction": {name: value for name, value in wanted.items() if value is not None},
        "CreationTime": action.created_s,
    }
    optional = {"Timezone": action.timezone, "StartTime": action.start_s, "EndTime": action.end_s}
    return row | {name: value for name, value in optional.items() if value is not None}
