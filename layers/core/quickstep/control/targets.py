"""RegisterScalableTarget, DeregisterScalableTarget, DescribeScalableTargets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from quickstep.control import chores, claims, hand, paging, template_target
from quickstep.control.context import ControlContext
from quickstep.control.names import check_namespace, dimension_of, target_id
from quickstep.control.refusals import LimitExceededException, ObjectNotFoundException, ValidationException
from quickstep.control.scheduled import forget_schedules
from quickstep.control.tagging import check_keys
from quickstep.control.waking import keep_with_alarms, with_wake_alarm
from quickstep.gateways import tags
from quickstep.model.registration import Chore, Registration
from quickstep.model.state import TargetState
from quickstep.model.targets import Dimension, ScalableTarget, Suspension, TargetId
from quickstep.usecases.looking import look_soon

_SUSPENSIONS = {
    "DynamicScalingInSuspended": "scale_in",
    "DynamicScalingOutSuspended": "scale_out",
    "ScheduledScalingSuspended": "scheduled",
}
_SERVICE_ROLE = (
    "role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)


def register(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """Register a target or change it; what is not given stays. Its capacity is pulled into the range by the next look."""
    tid = target_id(params)
    check_keys(params.get("Tags") or {})
    with context.changing(tid):
        found = context.find(tid)
        bounds = _bounds(params, found[1] if found else None)
        hand.check(params.get("QuickstepOptions") or {}, bounds)
        endpoint, variant = claims.whereabouts(tid)
        if found is None:
            _check_limit(tid, context)
        _check_tag_count(params, context)
        target = _target(params, tid, (endpoint, variant), bounds, found[1] if found else None)
        target = hand.with_target_options(target, params.get("QuickstepOptions") or {})
        claims.refuse_foreign(target, context)
        # Also of a registration that was cut off before its target was written.
        before = context.records.registration_record(tid.resource_id)
        registration = _registration(params, tid, endpoint, context, before)
        target, registration, writes = with_wake_alarm(target, registration, context)
        tags.mark_managed(target, stack=context.settings.stack_name)
        keep_with_alarms(target, registration, before, writes, context)
        _set_tags(registration, params.get("Tags") or {}, context)
        hand.apply(target, params.get("QuickstepOptions") or {}, context)
    look_soon(target.endpoint, context.registry)
    answer: dict[str, Any] = {"ScalableTargetARN": context.names.target_arn(registration.arn_id)}
    warnings = _warnings(target)
    return answer | ({"QuickstepWarnings": warnings} if warnings else {})


def deregister(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """Forget a target with its policies, alarms, scheduled actions, schedules and tags. No count is touched."""
    tid = target_id(params)
    rid = tid.resource_id
    with context.changing(tid):
        registration = context.records.registration_record(rid)
        if registration is None:
            raise ObjectNotFoundException(
                "No scalable target found for service namespace: sagemaker, resource ID: "
                f"{rid}, scalable dimension: {tid.dimension}"
            )
        if registration.template:
            raise template_target.refuse(f"scalable target {tid}", context)
        # First what acts, last what says that there is something to delete: cut off in between, the same request made
        # again deletes the rest.
        forget_schedules(tid, context)
        policies, found = context.records.policies_of(rid), context.find(tid)
        known = [name for one in (registration, *policies) for name in one.alarms]
        known += [name for one in policies for name in one.bound]
        # A target that is gone already may have left its look-ups behind.
        target = found[1] if found is not None else ScalableTarget(tid, registration.endpoint, None, 0, 0, ())
        context.registry.delete_target(replace(target, alarms=tuple(sorted({*target.alarms, *known}))))
        others = bool(context.registry.read_endpoint(registration.endpoint).targets)
        forget = () if others else (Chore("forget_endpoint", registration.endpoint, {}, context.now_s),)
        writes = [w for one in (registration, *policies) for w in chores.alarm_chores(one, {}, now_s=context.now_s)]
        chores.submit(context.records, context.registry, (*writes, *forget))
        for policy in policies:
            context.records.forget_policy(rid, policy.name)
        claims.give_up(tid, registration.endpoint, endpoint_too=not others, context=context)
        context.records.forget_registration(registration)
    return {}


def describe(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """Registered targets, in order of resource id."""
    check_namespace(params)
    wanted = params.get("ResourceIds")
    dimension = dimension_of(params["ScalableDimension"]) if "ScalableDimension" in params else None
    if dimension is not None and not wanted:
        raise ValidationException("ScalableDimension is given without ResourceIds; give the resource IDs too")
    size, after = paging.begin("DescribeScalableTargets", params)

    def fits(registration: Registration) -> bool:
        return dimension in (None, registration.target_id.dimension) and (
            wanted is None or registration.target_id.resource_id in wanted
        )

    if wanted is not None:
        rids = sorted({rid for rid in wanted if after is None or rid > after})
        found = [one for one in map(context.records.registration_record, rids) if one is not None and fits(one)]
        page, last = found[:size], found[size - 1].target_id.resource_id if len(found) > size else None
    else:
        one_page = context.records.registration_page(limit=size, after=after)
        page, last = list(one_page.records), one_page.last
    core = context.records.registered_targets((one.endpoint, one.target_id.resource_id) for one in page)
    rows = [
        _described(one, *core[one.target_id.resource_id], context) for one in page if one.target_id.resource_id in core
    ]
    return {"ScalableTargets": rows} | paging.next_token("DescribeScalableTargets", params, last)


# -- registering ------------------------------------------------------------------------------------------------------


def _bounds(params: Mapping[str, Any], before: ScalableTarget | None) -> tuple[int, int]:
    for name in ("MinCapacity", "MaxCapacity"):
        if before is None and name not in params:
            raise ValidationException(f"{name} is missing; it is required when registering a new scalable target")
        if params.get(name, 0) < 0:
            raise ValidationException(f"{name} is {params[name]}; it must be 0 or more")
    low = params.get("MinCapacity", before.min_capacity if before else 0)
    high = params.get("MaxCapacity", before.max_capacity if before else 0)
    if high < low:
        raise ValidationException(
            f"Maximum capacity cannot be less than minimum capacity: MaxCapacity is {high}, MinCapacity is {low}"
        )
    return low, high


def _check_limit(tid: TargetId, context: ControlContext) -> None:
    limit = context.limits.targets_per_dimension
    count = context.records.registration_count(tid.dimension)
    if count >= limit:
        raise LimitExceededException(
            f"{count} scalable targets of dimension {tid.dimension} are registered; at most {limit} are allowed. "
            "Deregister some or raise the template parameter ScalableTargetsLimit"
        )


def _check_tag_count(params: Mapping[str, Any], context: ControlContext) -> None:
    count, limit = len(params.get("Tags") or {}), context.limits.tags_per_target
    if count > limit:
        raise LimitExceededException(f"Tags has {count} tags; at most {limit} are allowed on a scalable target")


def _target(
    params: Mapping[str, Any],
    tid: TargetId,
    where: tuple[str, str | None],
    bounds: tuple[int, int],
    before: ScalableTarget | None,
) -> ScalableTarget:
    given = params.get("SuspendedState") or {}
    suspension = before.suspension if before is not None else Suspension()
    suspension = replace(suspension, **{_SUSPENSIONS[name]: value for name, value in given.items()})
    if before is None:
        return ScalableTarget(tid, where[0], where[1], *bounds, policies=(), suspension=suspension)
    return replace(
        before,
        endpoint=where[0],
        variant=where[1],
        min_capacity=bounds[0],
        max_capacity=bounds[1],
        suspension=suspension,
    )


def _registration(
    params: Mapping[str, Any], tid: TargetId, endpoint: str, context: ControlContext, before: Registration | None
) -> Registration:
    if before is None:
        arn_id = context.names.arn_id(tid)
        before = Registration(tid, endpoint, arn_id, context.now_s)
    return replace(
        before,
        endpoint=endpoint,
        role_arn=params.get("RoleARN", before.role_arn),
        owner=context.owner or before.owner,
    )


def _set_tags(registration: Registration, new: Mapping[str, str], context: ControlContext) -> None:
    if new:
        have, version = context.records.target_tags(registration.arn_id)
        context.records.change_tags(registration.arn_id, have | dict(new), version=version)


def _warnings(target: ScalableTarget) -> list[str]:
    if target.min_capacity == 0 and target.target_id.dimension is Dimension.INSTANCES:
        return [
            f"MinCapacity is 0 and {target.target_id} is a variant: nothing reports requests that found no instance, so "
            "nothing would wake it; 1 or more is safe"
        ]
    return []


# -- deregistering and describing -------------------------------------------------------------------------------------


def _described(
    registration: Registration, target: ScalableTarget, state: TargetState | None, context: ControlContext
) -> dict[str, Any]:
    names = context.names
    row: dict[str, Any] = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": target.target_id.resource_id,
        "ScalableDimension": str(target.target_id.dimension),
        "MinCapacity": target.min_capacity,
        "MaxCapacity": target.max_capacity,
        "RoleARN": registration.role_arn or f"arn:{names.partition}:iam::{names.account_id}:{_SERVICE_ROLE}",
        "CreationTime": registration.created_s,
        "SuspendedState": {name: getattr(target.suspension, field) for name, field in _SUSPENSIONS.items()},
        "ScalableTargetARN": names.target_arn(registration.arn_id),
    }
    extra = hand.described(target, state, context.now_s)
    return row | ({"QuickstepOptions": extra} if extra else {})
