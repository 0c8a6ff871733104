"""PutScalingPolicy, DeleteScalingPolicy, DescribeScalingPolicies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from quickstep.control import chores, paging, template_target
from quickstep.control.context import ControlContext
from quickstep.control.names import Names, check_namespace, target_id
from quickstep.control.policy_kinds import BUILDERS, CONFIGURATIONS, Built
from quickstep.control.refusals import LimitExceededException, ObjectNotFoundException, ValidationException
from quickstep.control.tracked_metrics import identity
from quickstep.gateways.autoscaling_model import DEMAND_SIZING
from quickstep.model.registration import PolicyRecord
from quickstep.model.targets import DemandPolicy, Policy, ScalableTarget, TargetId
from quickstep.usecases.looking import look_soon


def put(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """Create a policy, or replace it with its alarms; answers with its ARN and the alarms that trigger it."""
    tid, name = target_id(params), params["PolicyName"]
    with context.changing(tid):
        _, target = context.required(tid)
        stored = {one.name: one for one in context.records.policies_of(tid.resource_id)}
        before = stored.get(name)
        if before is not None and before.template:
            raise template_target.refuse(f"policy {name} of {tid}", context)
        kind = _kind(params, before)
        document, options = _configuration(params, kind, before)
        _check_limits(name, kind, document, stored, context)
        built = BUILDERS[kind](name, tid, document, options, context)
        policy = _record(tid, name, kind, document, options, built, context, before)
        writes = chores.alarm_chores(before, built.alarms, now_s=context.now_s)
        # The registry first: an alarm may only ring when it is known whom it is for. Cut off anywhere, the same request
        # made again finds what is to be done.
        _keep(policy, context, also=before.alarms if writes and before else {}, settled=not writes)
        context.registry.put_target(_with_policy(target, name, built, before))
        drained = chores.submit(context.records, context.registry, writes)
        if writes:
            _keep(policy, context)
        if drained.refused:
            _take_back(policy, before, target, context)
            raise ValidationException(f"policy {name}: CloudWatch does not take its alarm: {drained.refused[0]}")
    look_soon(target.endpoint, context.registry)
    answer = {
        "PolicyARN": context.names.policy_arn(tid, name, policy.policy_id),
        "Alarms": _alarms(policy, context.names),
    }
    return answer | ({"QuickstepWarnings": list(built.warnings)} if built.warnings else {})


def delete(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """Delete a policy and the alarms that it owns; alarms of the user's own stay."""
    tid, name = target_id(params), params["PolicyName"]
    with context.changing(tid):
        _, target = context.required(tid)
        policy = context.records.policy_record(tid.resource_id, name)
        if policy is None:
            raise ObjectNotFoundException(
                f"No scaling policy found for service namespace: sagemaker, resource ID: {tid.resource_id}, scalable "
                f"dimension: {tid.dimension}, policy name: {name}"
            )
        if policy.template:
            raise template_target.refuse(f"policy {name} of {tid}", context)
        context.registry.put_target(_with_policy(target, name, Built(), policy))
        chores.submit(context.records, context.registry, chores.alarm_chores(policy, {}, now_s=context.now_s))
        # Last, since it says what has to be deleted.
        context.records.forget_policy(tid.resource_id, name)
    return {}


def describe(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """Policies, in order of resource id and name."""
    check_namespace(params)
    found, token = paging.matching("DescribeScalingPolicies", params, context.records.policy_page, names="PolicyNames")
    return {"ScalingPolicies": [_described(one, context.names) for one in found]} | token


# -- putting ----------------------------------------------------------------------------------------------------------


def _kind(params: Mapping[str, Any], before: PolicyRecord | None) -> str:
    options = params.get("QuickstepOptions") or {}
    implied = DEMAND_SIZING if "DemandSizing" in options else None
    kind = params.get("PolicyType") or implied or (before.kind if before else None)
    if kind is None:
        raise ValidationException(
            f"PolicyType is missing; it is required for a new policy: {', '.join(sorted(CONFIGURATIONS))}"
        )
    if before is not None and before.kind != kind:
        raise ValidationException(
            f"PolicyType is {kind!r}, but policy {before.name} is {before.kind}; delete it first, or use another name"
        )
    return kind


def _configuration(
    params: Mapping[str, Any], kind: str, before: PolicyRecord | None
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The configuration document and QuickstepOptions of a policy; of an old one what it has, where nothing is given."""
    wanted = CONFIGURATIONS[kind]
    for other in sorted({one for one in CONFIGURATIONS.values() if one and one != wanted} & set(params)):
        raise ValidationException(
            f"{other} is given, but PolicyType is {kind}, which takes {wanted or 'QuickstepOptions'}"
        )
    document = params.get(wanted) if wanted else {}
    if document is None:
        if before is None:
            raise ValidationException(f"{wanted} is missing; it is required for a new policy of type {kind}")
        document = before.document
    options = params.get("QuickstepOptions", before.options if before else {})
    if (kind == DEMAND_SIZING) != ("DemandSizing" in options):
        raise ValidationException(
            f"QuickstepOptions.DemandSizing belongs to PolicyType {DEMAND_SIZING}, and is required there; PolicyType is "
            f"{kind}"
        )
    return document, options


def _check_limits(
    name: str,
    kind: str,
    document: Mapping[str, Any],
    stored: Mapping[str, PolicyRecord],
    context: ControlContext,
) -> None:
    limit = context.limits.policies_per_target
    if name not in stored and len(stored) >= limit:
        raise LimitExceededException(
            f"the target has {len(stored)} scaling policies; at most {limit} are allowed: delete some"
        )
    if kind == DEMAND_SIZING and any(one.kind == kind and one.name != name for one in stored.values()):
        raise ValidationException(
            f"Only one {DEMAND_SIZING} policy is allowed on a scalable target; change the one there is"
        )
    if kind == "TargetTrackingScaling":
        for other in stored.values():
            if other.kind == kind and other.name != name and identity(other.document) == identity(document):
                raise ValidationException(
                    "Only one TargetTrackingScaling policy for a given metric specification is allowed. Policy "
                    f"{other.name} tracks it already: change that one"
                )


def _record(
    tid: TargetId,
    name: str,
    kind: str,
    document: Mapping[str, Any],
    options: Mapping[str, Any],
    built: Built,
    context: ControlContext,
    before: PolicyRecord | None,
) -> PolicyRecord:
    return PolicyRecord(
        target_id=tid,
        name=name,
        kind=kind,
        policy_id=context.names.policy_id(tid, name),
        created_s=before.created_s if before else context.now_s,
        document=document,
        options=options,
        alarms=built.alarms,
        bound=built.bound,
        owner=context.owner or (before.owner if before else None),
    )


def _with_policy(target: ScalableTarget, name: str, built: Built, before: PolicyRecord | None) -> ScalableTarget:
    """The target with the policy in its old place, or at the end; without it if it decides nothing (any more)."""
    policies: list[Policy] = []
    replaced = built.policy
    for one in target.policies:
        if one.name != name:
            policies.append(one)
        elif replaced is not None:
            policies.append(replaced)
            replaced = None
    if replaced is not None:
        policies.append(replaced)
    # Demand sizing is bound to no alarm: its alarms only say "look".
    looks = [one for one in target.alarms if before is None or one not in before.alarms]
    if isinstance(built.policy, DemandPolicy):
        looks += [one for one in sorted(built.alarms) if one not in looks]
    wake_alarm = target.wake_alarm or built.wake_alarm
    return replace(target, policies=tuple(policies), alarms=tuple(looks), wake_alarm=wake_alarm)


def _keep(
    policy: PolicyRecord, context: ControlContext, *, also: Mapping[str, Any] | None = None, settled: bool = True
) -> None:
    """Write the record; while alarms are being changed with the old ones (`also`) in it."""
    waits = policy.kind == "StepScaling" and not policy.alarms
    record = replace(policy, alarms={**(also or {}), **policy.alarms}, settled=settled)
    context.records.keep_policy(record, waits_for_alarms=waits)


def _take_back(
    policy: PolicyRecord, before: PolicyRecord | None, target: ScalableTarget, context: ControlContext
) -> None:
    """Have everything as it was before a policy whose alarm cannot be made."""
    unsettled = replace(policy, settled=False)
    context.registry.put_target(target)
    writes = chores.alarm_chores(unsettled, before.alarms if before else {}, now_s=context.now_s)
    chores.submit(context.records, context.registry, writes)
    if before is None:
        context.records.forget_policy(policy.target_id.resource_id, policy.name)
    else:
        _keep(before, context)


# -- describing -------------------------------------------------------------------------------------------------------


def _alarms(policy: PolicyRecord, names: Names) -> list[dict[str, str]]:
    return [{"AlarmName": one, "AlarmARN": names.alarm_arn(one)} for one in sorted({*policy.alarms, *policy.bound})]


def _described(policy: PolicyRecord, names: Names) -> dict[str, Any]:
    row: dict[str, Any] = {
        "PolicyARN": names.policy_arn(policy.target_id, policy.name, policy.policy_id),
        "PolicyName": policy.name,
        "ServiceNamespace": "sagemaker",
        "ResourceId": policy.target_id.resource_id,
        "ScalableDimension": str(policy.target_id.dimension),
        "PolicyType": policy.kind,
        "Alarms": _alarms(policy, names),
        "CreationTime": policy.created_s,
    }
    configuration = CONFIGURATIONS[policy.kind]
    if configuration:
        row[configuration] = dict(policy.document)
    return row | ({"QuickstepOptions": dict(policy.options)} if policy.options else {})
