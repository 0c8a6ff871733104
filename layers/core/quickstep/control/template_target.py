"""The target of the template's parameters, seen through the API.

`usecases/registration.py` registers it from the parameters, without the API. Before a request is answered its
registration and policies are written where the API finds them, so that it is described, tagged and given further
policies like any other. What the parameters say stays theirs: such policies are changed by deploying.
"""

from __future__ import annotations

from collections.abc import Iterable

from quickstep.control import chores
from quickstep.control.context import ControlContext
from quickstep.control.refusals import ValidationException
from quickstep.gateways import schedules
from quickstep.gateways.autoscaling_model import DEMAND_SIZING
from quickstep.model.registration import PolicyRecord, Registration
from quickstep.model.targets import (
    DemandPolicy,
    Policy,
    ScalableTarget,
    StepScalingPolicy,
    TargetId,
    TargetTrackingPolicy,
)
from quickstep.policy_documents import to_document


def bring_up_to_date(context: ControlContext) -> None:
    """Write the template's target where the API finds it; forget one that the parameters do not name any more."""
    default = context.registry.default_target()
    known = context.records.template_target()
    if known is not None and (default is None or default[1] != known):
        forget_leftovers(context, known)
        context.records.remember_template_target(None)
    if default is None:
        return
    endpoint, target_id = default
    rid = target_id.resource_id
    found = context.records.registered_targets([(endpoint, rid)]).get(rid)
    if found is None:
        return
    registration = context.records.registration_record(rid)
    if registration is None or registration.endpoint != endpoint or not registration.template:
        made = Registration(target_id, endpoint, context.names.arn_id(target_id), context.now_s, template=True)
        context.records.keep_registration(made)
    if known != target_id:
        context.records.remember_template_target(target_id)
    _bring_policies_up_to_date(context, found[0])


def refuse(what: str, context: ControlContext) -> ValidationException:
    """The refusal to change through the API what the template's parameters say."""
    return ValidationException(
        f"{what} belongs to the parameters of stack {context.settings.stack_name}; change them and deploy"
    )


def forget_leftovers(context: ControlContext, target_id: TargetId) -> None:
    """Delete policies, alarms, schedules and registration of a target that the core has forgotten already."""
    rid = target_id.resource_id
    for action in context.records.schedules_of(rid):
        name = context.names.schedule_name(action.action_id)
        schedules.delete_schedule(name, group=context.schedule_target.group)
        context.records.forget_schedule(rid, action.name)
    policies, registration = context.records.policies_of(rid), context.records.registration_record(rid)
    writes = [w for one in (registration, *policies) for w in chores.alarm_chores(one, {}, now_s=context.now_s)]
    chores.submit(context.records, context.registry, writes)
    for policy in policies:
        context.records.forget_policy(rid, policy.name)
    if registration is not None:
        context.records.forget_registration(registration)


def _bring_policies_up_to_date(context: ControlContext, target: ScalableTarget) -> None:
    rid = target.target_id.resource_id
    stored = {one.name: one for one in context.records.policies_of(rid)}
    wanted = {one.name: one for one in _records(context, target, stored)}
    for name, policy in stored.items():
        if policy.template and name not in wanted:
            context.records.forget_policy(rid, name)
    for name, policy in wanted.items():
        if stored.get(name) != policy:
            context.records.keep_policy(policy)


def _records(
    context: ControlContext, target: ScalableTarget, stored: dict[str, PolicyRecord]
) -> Iterable[PolicyRecord]:
    for policy in target.policies:
        before = stored.get(policy.name)
        if before is not None and not before.template:
            continue
        yield PolicyRecord(
            target_id=target.target_id,
            name=policy.name,
            kind=_kind(policy),
            policy_id=context.names.policy_id(target.target_id, policy.name),
            created_s=context.now_s if before is None else before.created_s,
            document={} if isinstance(policy, DemandPolicy) else to_document(policy, target.target_id.dimension),
            options=_options(policy),
            bound=_alarms(policy, target),
            template=True,
        )


def _kind(policy: Policy) -> str:
    if isinstance(policy, StepScalingPolicy):
        return "StepScaling"
    return "TargetTrackingScaling" if isinstance(policy, TargetTrackingPolicy) else DEMAND_SIZING


def _options(policy: Policy) -> dict[str, object]:
    if not isinstance(policy, DemandPolicy):
        return {}
    return {
        "DemandSizing": {
            "TargetPerCopy": policy.target_per_copy,
            "WindowSeconds": policy.window_s,
            "ScaleInHoldSeconds": policy.scale_in_hold_s,
            "SloTarget": policy.slo_target,
        }
    }


def _alarms(policy: Policy, target: ScalableTarget) -> tuple[str, ...]:
    if isinstance(policy, StepScalingPolicy):
        return tuple(alarm.alarm_name for alarm in policy.alarms)
    if isinstance(policy, TargetTrackingPolicy):
        return policy.high_alarm, policy.low_alarm
    return target.alarms
