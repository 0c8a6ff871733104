"""Which alarms trigger a step policy that has none of its own.

A StepScaling policy has no threshold; its alarm has. Three ways say that an alarm is a policy's: the alarm has the
policy's ARN among its actions, as with Application Auto Scaling; `QuickstepOptions.BindAlarms` names it; or the alarm
has the tag `quickstep:policy=<resource id>/<policy name>`. Alarms are usually made after the policy, so Reconcile looks
for new ones. An alarm whose name begins with `<stack>--` is answered at once; of any other, Reconcile hears within a
minute.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from quickstep import telemetry
from quickstep.control.context import ControlContext
from quickstep.control.names import parse_target_id
from quickstep.control.refusals import ConcurrentUpdateException, ValidationException
from quickstep.gateways.alarms import POLICY_TAG, WatchedAlarm, alarm_tags, alarms_with_action, watched_alarms
from quickstep.model.registration import PolicyRecord
from quickstep.model.targets import AlarmBinding, ScalableTarget, StepScalingPolicy, TargetId

WAKE_METRIC = "NoCapacityInvocationFailures"


@dataclass(frozen=True, slots=True)
class Bindings:
    """Alarms of somebody's that trigger a policy."""

    triggers: tuple[AlarmBinding, ...] = ()
    wake_alarm: str | None = None
    """The first of them that says that requests find no copy."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.alarm_name for one in self.triggers)


def bindings(policy_arn: str, named: Iterable[str]) -> Bindings:
    """The alarms called `named`, and those that have the policy's ARN among their actions.

    Raises ValidationException for a named alarm that does not exist or has no threshold.
    """
    wanted = sorted(set(named))
    found = {one.name: one for one in watched_alarms(wanted)} if wanted else {}
    for name in wanted:
        if name not in found:
            raise ValidationException(
                f"QuickstepOptions.BindAlarms has {name!r}; there is no such alarm, create it first"
            )
        if found[name].threshold is None:
            raise ValidationException(
                f"QuickstepOptions.BindAlarms has {name!r}, which has no threshold (a composite or anomaly alarm); steps are "
                "measured from a threshold, so bind a metric alarm"
            )
    found |= {one.name: one for one in alarms_with_action(policy_arn) if policy_arn in one.actions}
    return _bindings(found.values())


def check_bindable(found: Bindings, target_id: TargetId, context: ControlContext) -> None:
    """Raise ValidationException for an alarm that speaks for another target: it can only speak for one."""
    for name in found.names:
        where = context.registry.find_by_alarm(name)
        if where is not None and where[1] != target_id:
            raise ValidationException(
                f"alarm {name} is bound to scalable target {where[1]}; an alarm speaks for one target: give this one its own"
            )


def notice_bound_alarms(context: ControlContext, *, since_s: float) -> tuple[str, ...]:
    """Bind alarms that were made for our step policies since; return the endpoints that have to be looked at.

    These are the endpoints of policies that were bound just now and are ringing, and of bound alarms that went into ALARM
    after `since_s`. One query where no policy waits for alarms, one or two DescribeAlarms more where one does, and writes
    only where something is new. Called by Reconcile every minute. Raises the errors of `refusals`.
    """
    waiting = context.records.policies_that_wait()
    if not waiting:
        return ()
    by_action = alarms_with_action(context.names.policy_arn_prefix)
    wanted = {name for policy in waiting for name in _named(policy)}
    named = {one.name: one for one in watched_alarms(wanted)} if wanted else {}
    endpoints: list[str] = []
    for policy in waiting:
        arn = context.names.policy_arn(policy.target_id, policy.name, policy.policy_id)
        mine = [one for one in by_action if arn in one.actions]
        mine += [named[name] for name in _named(policy) if name in named]
        try:
            is_new = _bindings(mine).names != policy.bound and _bind(policy, mine, context)
        except (ConcurrentUpdateException, ValidationException) as error:
            telemetry.logger().warning("cannot bind an alarm", extra={"policy": arn, "error": str(error)})
            continue
        ringing = [one for one in mine if one.is_ringing and (is_new or one.since_s >= since_s)]
        where = context.registry.find_by_alarm(ringing[0].name) if ringing else None
        if where is not None:
            endpoints.append(where[0])
    return tuple(dict.fromkeys(endpoints))


def bind_tagged_alarm(alarm_name: str, context: ControlContext) -> TargetId | None:
    """Bind an alarm that no target knows by its tag `quickstep:policy`; the target, or None if it has no such tag.

    Raises ValidationException if the tag names no step policy of ours, and the errors of `refusals`.
    """
    found = watched_alarms([alarm_name])
    wanted = alarm_tags(found[0].arn).get(POLICY_TAG) if found else None
    if wanted is None:
        return None
    parts = wanted.split("/")
    length = 4 if parts[0] == "endpoint" else 2
    target_id, name = parse_target_id("/".join(parts[:length])), "/".join(parts[length:])
    policy = context.records.policy_record(target_id.resource_id, name) if target_id is not None else None
    if target_id is None or policy is None or policy.kind != "StepScaling" or found[0].threshold is None:
        raise ValidationException(
            f"alarm {alarm_name} has the tag {POLICY_TAG}={wanted}; it must be <resource id>/<policy name> of a step policy, "
            "on a metric alarm"
        )
    named = tuple(sorted({*_named(policy), alarm_name}))
    _bind(policy, watched_alarms(named), context, named=named)
    return target_id


def _named(policy: PolicyRecord) -> tuple[str, ...]:
    return tuple(policy.options.get("BindAlarms") or ())


def _bind(
    policy: PolicyRecord,
    alarms: Iterable[WatchedAlarm],
    context: ControlContext,
    *,
    named: tuple[str, ...] | None = None,
) -> bool:
    """Have the policy triggered by exactly those alarms, and remember `named`; False if it is not there any more."""
    tid = policy.target_id
    triggers = _bindings(alarms)
    with context.changing(tid):
        # Read again: only now nobody else changes it.
        found, current = context.find(tid), context.records.policy_record(tid.resource_id, policy.name)
        core = next((one for one in found[1].policies if one.name == policy.name), None) if found else None
        if found is None or current is None or not isinstance(core, StepScalingPolicy):
            return False
        check_bindable(triggers, tid, context)
        options = current.options if named is None else {**current.options, "BindAlarms": named}
        context.records.keep_policy(replace(current, options=options, bound=triggers.names), waits_for_alarms=True)
        context.registry.put_target(_with_triggers(found[1], core, triggers))
    return True


def _bindings(found: Iterable[WatchedAlarm]) -> Bindings:
    usable = sorted({one.name: one for one in found if one.threshold is not None}.items())
    return Bindings(
        tuple(AlarmBinding(name, float(one.threshold or 0.0), one.above) for name, one in usable),
        next((name for name, one in usable if one.metric_name == WAKE_METRIC), None),
    )


def _with_triggers(target: ScalableTarget, core: StepScalingPolicy, triggers: Bindings) -> ScalableTarget:
    policies = tuple(replace(one, alarms=triggers.triggers) if one is core else one for one in target.policies)
    return replace(target, policies=policies, wake_alarm=target.wake_alarm or triggers.wake_alarm)
