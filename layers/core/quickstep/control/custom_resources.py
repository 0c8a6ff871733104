"""CloudFormation: `Custom::QuickstepScalableTarget` and `Custom::QuickstepScalingPolicy`.

Their properties are those of `AWS::ApplicationAutoScaling::ScalableTarget` and `::ScalingPolicy`, with
`QuickstepOptions` beside them. The physical id says what a resource is (`<resource id>|<dimension>|sagemaker`, or the
policy's ARN), so the same request made twice does the same once, and another id is a replacement, which CloudFormation
completes by deleting the old one. Whatever happens, CloudFormation gets an answer. Nothing here touches a count.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quickstep import telemetry
from quickstep.control.api import handle
from quickstep.control.context import ControlContext
from quickstep.control.names import parse_target_id, target_id
from quickstep.control.refusals import ControlRefusal, ObjectNotFoundException, ValidationException
from quickstep.control.schedule_expression import parse_schedule
from quickstep.control.shapes import coerced, timestamp_s, validated
from quickstep.gateways import autoscaling_model
from quickstep.model.targets import TargetId

TARGET_TYPE = "Custom::QuickstepScalableTarget"
POLICY_TYPE = "Custom::QuickstepScalingPolicy"
MARGIN_S = 5.0
"""So long before the function's time is up CloudFormation is told that it was not enough."""
REASON_LIMIT = 1000
FAILED_CREATE = "failed-create"
"""Physical id of a resource that was never made: deleting it, as a roll-back does, does nothing."""

Respond = Callable[[str, Mapping[str, Any]], None]
"""`respond(url, document)`: send the answer to CloudFormation."""
MakeContext = Callable[[str], ControlContext]
"""`make_context(owner)`: the surroundings of a request of that CloudFormation resource."""


def answer_custom_resource(
    event: Mapping[str, Any], make_context: MakeContext, respond: Respond, *, remaining_s: float | None = None
) -> dict[str, Any]:
    """Carry out one request of CloudFormation and send its answer; return the answer as well.

    Whatever goes wrong is answered as FAILED with the reason. With `remaining_s`, an answer is sent before the function's
    time is up even if the work hangs. Raises only what `respond` raises.
    """
    once = _Once(event, respond)
    watchdog = None
    if remaining_s is not None:
        watchdog = threading.Timer(max(0.0, remaining_s - MARGIN_S), once.give_up)
        watchdog.daemon = True
        watchdog.start()
    try:
        return once.succeed(*_carry_out(event, make_context, once))
    except Exception as error:  # CloudFormation waits for an hour for an answer that does not come.
        telemetry.logger().exception("a custom resource failed", extra={"resource": event.get("LogicalResourceId")})
        return once.fail(str(error) if isinstance(error, ControlRefusal) else f"{type(error).__name__}: {error}")
    finally:
        if watchdog is not None:
            watchdog.cancel()


class _Once:
    """The one answer to a request, whoever is first to give it."""

    def __init__(self, event: Mapping[str, Any], respond: Respond) -> None:
        self._event, self._respond = event, respond
        self._lock = threading.Lock()
        self._answer: dict[str, Any] | None = None
        self.made_id = f"{FAILED_CREATE}-{event.get('RequestId', '')}"
        """What a create that fails has begun to make: a roll-back deletes it."""

    def succeed(self, physical_id: str, data: Mapping[str, Any]) -> dict[str, Any]:
        return self._send({"Status": "SUCCESS", "PhysicalResourceId": physical_id, "Data": dict(data)})

    def fail(self, reason: str) -> dict[str, Any]:
        # A failed update or delete is still the resource that it was.
        physical_id = self._event.get("PhysicalResourceId") or self.made_id
        return self._send({"Status": "FAILED", "PhysicalResourceId": physical_id, "Reason": reason[:REASON_LIMIT]})

    def give_up(self) -> None:
        self.fail("the function's time is nearly up and the request is not finished; try again")

    def _send(self, answer: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            if self._answer is None:
                known = {name: self._event.get(name, "") for name in ("StackId", "RequestId", "LogicalResourceId")}
                self._answer = {**known, **answer}
                self._respond(self._event["ResponseURL"], self._answer)
            return self._answer


def _carry_out(event: Mapping[str, Any], make_context: MakeContext, once: _Once) -> tuple[str, dict[str, Any]]:
    context = make_context(f"{event['StackId']}/{event['LogicalResourceId']}")
    _check_account(event, context)
    kind, request = event["ResourceType"], event["RequestType"]
    if kind not in (TARGET_TYPE, POLICY_TYPE):
        raise ValidationException(f"ResourceType is {kind!r}; it must be {TARGET_TYPE} or {POLICY_TYPE}")
    delete = _delete_target if kind == TARGET_TYPE else _delete_policy
    if request == "Delete":
        delete(event["PhysicalResourceId"], context)
        return event["PhysicalResourceId"], {}
    if request not in ("Create", "Update"):
        raise ValidationException(f"RequestType is {request!r}; it must be Create, Update or Delete")
    new, old = (_properties(event, name) for name in ("ResourceProperties", "OldResourceProperties"))
    put = _target(new, old, context) if kind == TARGET_TYPE else _policy(new, context)
    once.made_id = put.physical_id
    try:
        return put.physical_id, put.carry_out()
    except Exception:
        if request == "Update" and put.physical_id != event["PhysicalResourceId"]:
            # CloudFormation never learns of the half of a replacement that failed, so it cannot delete it.
            delete(put.physical_id, context)
        raise


@dataclass(frozen=True, slots=True)
class _Put:
    """A resource that is to be made or changed."""

    physical_id: str
    carry_out: Callable[[], dict[str, Any]]
    """Returns what `Fn::GetAtt` gives."""


def _properties(event: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in (event.get(name) or {}).items() if key not in _ENVELOPE}


_ENVELOPE = frozenset({"ServiceToken", "ServiceTimeout"})


def _check_account(event: Mapping[str, Any], context: ControlContext) -> None:
    """Stacks of other accounts and regions have no business here."""
    parts = str(event["StackId"]).split(":")
    settings = context.settings
    if parts[3:5] != [settings.region, settings.account_id]:
        raise ValidationException(
            f"StackId is {event['StackId']!r}; only stacks of account {settings.account_id} and region {settings.region} may "
            "use this ServiceToken"
        )


# -- targets ----------------------------------------------------------------------------------------------------------


def _target(new: Mapping[str, Any], old: Mapping[str, Any], context: ControlContext) -> _Put:
    properties = _with_undone(new, old)
    listed = properties.pop("ScheduledActions", None) or []
    request = _request("RegisterScalableTarget", properties)
    tid = target_id(_checked("RegisterScalableTarget", request))
    actions = [_action(one, tid) for one in listed]

    def carry_out() -> dict[str, Any]:
        _check_owner(tid, context)
        answer = handle("RegisterScalableTarget", request, context=context)
        _put_actions(tid, actions, context, is_new=not old)
        return {"ScalableTargetARN": answer["ScalableTargetARN"]}

    return _Put(f"{tid.resource_id}|{tid.dimension}|sagemaker", carry_out)


_SUSPENSIONS = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
_OPTION_DEFAULTS = {"Priority": 0, "BudgetUsdPerHour": 0, "InstanceUsdPerHour": 0, "Paused": False, "Pinned": False}


def _with_undone(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """RegisterScalableTarget keeps what is not given; in a template, what is not there any more is meant to be undone."""
    found = dict(new)
    if "SuspendedState" in old:
        found["SuspendedState"] = {**dict.fromkeys(_SUSPENSIONS, False), **(new.get("SuspendedState") or {})}
    had, have = old.get("QuickstepOptions") or {}, new.get("QuickstepOptions") or {}
    undone = {name: value for name, value in _OPTION_DEFAULTS.items() if name in had and name not in have}
    if undone:
        found["QuickstepOptions"] = {**undone, **have}
    return found


def _check_owner(tid: TargetId, context: ControlContext) -> None:
    """Two resources of CloudFormation must not own one target: deleting the one would take the other's away."""
    registration = context.records.registration_record(tid.resource_id)
    if registration is not None and registration.owner not in (None, context.owner):
        raise ValidationException(f"{tid} is registered by {registration.owner} already; remove it there first")


def _action(properties: Any, tid: TargetId) -> dict[str, Any]:
    if not isinstance(properties, Mapping):
        raise ValidationException(
            f"ScheduledActions has {properties!r}; each must have ScheduledActionName and Schedule"
        )
    named = {"ServiceNamespace": "sagemaker", "ResourceId": tid.resource_id, "ScalableDimension": str(tid.dimension)}
    request = _request("PutScheduledAction", {**properties, **named})
    _checked("PutScheduledAction", request)
    return request


def _put_actions(tid: TargetId, wanted: list[dict[str, Any]], context: ControlContext, *, is_new: bool) -> None:
    """Put the actions that the resource lists, delete those that it listed before; leave others' alone."""
    names = {one["ScheduledActionName"] for one in wanted}
    for action in context.records.schedules_of(tid.resource_id):
        if action.owner == context.owner and action.name not in names:
            _forgiving("DeleteScheduledAction", _named(tid, ScheduledActionName=action.name), context)
    for one in wanted:
        # A template still lists an action whose time is over; that must not fail its next update.
        if is_new or not _is_over(one, context.now_s):
            handle("PutScheduledAction", one, context=context)


def _is_over(request: Mapping[str, Any], now_s: float) -> bool:
    at_s = parse_schedule(request.get("Schedule", ""), request.get("Timezone")).at_s
    end_s = timestamp_s(request.get("EndTime"))
    return any(moment_s is not None and moment_s <= now_s for moment_s in (at_s, end_s))


def _delete_target(physical_id: str, context: ControlContext) -> None:
    tid = parse_target_id(physical_id.partition("|")[0])
    registration = context.records.registration_record(tid.resource_id) if tid is not None else None
    # What was never made, is gone, or belongs to somebody else by now, is not deleted.
    if tid is not None and registration is not None and registration.owner == context.owner:
        _forgiving("DeregisterScalableTarget", _named(tid), context)


# -- policies ---------------------------------------------------------------------------------------------------------


def _policy(new: dict[str, Any], context: ControlContext) -> _Put:
    # What is not in the template any more is meant to be undone.
    request = {"QuickstepOptions": {}, **_policy_request(new)}
    tid = target_id(_checked("PutScalingPolicy", request))
    name = request["PolicyName"]

    def carry_out() -> dict[str, Any]:
        before = context.records.policy_record(tid.resource_id, name)
        if before is not None and before.owner not in (None, context.owner):
            raise ValidationException(
                f"policy {name} of {tid} belongs to {before.owner} already; give this one another PolicyName"
            )
        if before is not None and before.kind != request.get("PolicyType", before.kind):
            # CloudFormation changes a policy's type in place; Application Auto Scaling wants it deleted first.
            _forgiving("DeleteScalingPolicy", _named(tid, PolicyName=name), context)
        answer = handle("PutScalingPolicy", request, context=context)
        alarms = ",".join(one["AlarmName"] for one in answer["Alarms"])
        return {"Arn": answer["PolicyARN"], "AlarmNames": alarms}

    return _Put(context.names.policy_arn(tid, name, context.names.policy_id(tid, name)), carry_out)


def _policy_request(properties: dict[str, Any]) -> dict[str, Any]:
    """A policy's properties as a request; `ScalingTargetId` is what `Ref` gives of a scalable target."""
    scaling_target = properties.pop("ScalingTargetId", None)
    if scaling_target is not None:
        parts = str(scaling_target).split("|")
        if len(parts) != 3:
            raise ValidationException(
                f"ScalingTargetId is {scaling_target!r}; it must be !Ref of a {TARGET_TYPE}: "
                "<resource id>|<dimension>|sagemaker"
            )
        for name, value in zip(("ResourceId", "ScalableDimension", "ServiceNamespace"), parts, strict=True):
            if properties.setdefault(name, value) != value:
                raise ValidationException(
                    f"{name} is {properties[name]!r}, but ScalingTargetId says {value!r}; give one of them"
                )
    return _request("PutScalingPolicy", properties)


def _delete_policy(physical_id: str, context: ControlContext) -> None:
    found = context.names.policy_of_arn(physical_id)
    if found is None:
        return
    tid, name = found
    policy = context.records.policy_record(tid.resource_id, name)
    if policy is not None and policy.owner == context.owner:
        _forgiving("DeleteScalingPolicy", _named(tid, PolicyName=name), context)


# -- requests ---------------------------------------------------------------------------------------------------------


def _request(operation: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    return coerced({"ServiceNamespace": "sagemaker", **properties}, _shape(operation))


def _checked(operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    return validated(request, _shape(operation))


def _shape(operation: str) -> Any:
    return autoscaling_model.service().operation_model(operation).input_shape


def _named(tid: TargetId, **more: str) -> dict[str, Any]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": tid.resource_id,
        "ScalableDimension": str(tid.dimension),
        **more,
    }


def _forgiving(operation: str, request: Mapping[str, Any], context: ControlContext) -> None:
    """Carry out a deletion; what is gone already is as good as deleted."""
    try:
        handle(operation, request, context=context)
    except ObjectNotFoundException:
        return
