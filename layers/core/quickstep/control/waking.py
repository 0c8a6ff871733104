"""The alarm that wakes an inference component from zero: there exactly while the component may go to zero."""

from __future__ import annotations

from dataclasses import replace

from quickstep.control import chores
from quickstep.control.context import ControlContext
from quickstep.control.policy_alarms import wake_alarm
from quickstep.model.registration import Chore, Registration
from quickstep.model.targets import ScalableTarget


def with_wake_alarm(
    target: ScalableTarget, registration: Registration, context: ControlContext, *, without_action: str | None = None
) -> tuple[ScalableTarget, Registration, tuple[Chore, ...]]:
    """Give a component that may go to zero its wake alarm, or take it away; with the alarm writes that this needs.

    It may go to zero if its own minimum is 0, or that of one of its scheduled actions but `without_action`. A wake alarm of somebody else's
    (the template's, or one that a policy is bound to) is left alone.
    """
    if registration.template:
        return target, registration, ()
    actions = context.records.schedules_of(target.target_id.resource_id)
    sleeps = target.min_capacity == 0 or any(
        action.min_capacity == 0 and action.name != without_action for action in actions
    )
    wanted = wake_alarm(target.target_id, names=context.names) if sleeps else {}
    writes = chores.alarm_chores(registration, wanted, now_s=context.now_s)
    if target.wake_alarm is None or target.wake_alarm in registration.alarms:
        target = replace(target, wake_alarm=next(iter(wanted), None))
    return target, replace(registration, alarms=wanted, settled=True), writes


def keep_with_alarms(
    target: ScalableTarget,
    registration: Registration,
    before: Registration | None,
    writes: tuple[Chore, ...],
    context: ControlContext,
) -> None:
    """Write registration, target and alarms, so that cut off anywhere the same made again finds what is to be done."""
    if writes:
        both = {**(before.alarms if before is not None else {}), **registration.alarms}
        context.records.keep_registration(replace(registration, alarms=both, settled=False))
    elif registration != before:
        context.records.keep_registration(registration)
    context.registry.put_target(target)
    chores.submit(context.records, context.registry, writes)
    if writes:
        context.records.keep_registration(registration)
