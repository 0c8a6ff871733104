"""Application Auto Scaling as an owner of somebody's scaling: what is registered, and whether it is suspended.

It does not scale anything here: the account needs it to be found, read, suspended and taken over. Shapes: botocore model
`application-autoscaling`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from simulator.aws.alarm_requests import at
from simulator.clock import VirtualClock
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

_SUSPENSIONS = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
_DIMENSIONS = ("sagemaker:inference-component:DesiredCopyCount", "sagemaker:variant:DesiredInstanceCount")


class ApplicationAutoScalingService:
    """Scalable targets, policies, scheduled actions, tags and activities, in the API's own shapes.

    Tests put activities straight into their list; everything else comes through `call`. `describe_alarms` is
    CloudWatch's DescribeAlarms: the alarms with a step policy's ARN among their actions are part of its description.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        account_id: str = "111122223333",
        region: str = "eu-west-1",
        describe_alarms: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda params: {},
    ) -> None:
        self._clock, self._account_id, self._region = clock, account_id, region
        self._describe_alarms = describe_alarms
        self.tags: dict[str, dict[str, str]] = {}
        self.targets: dict[tuple[str, str], dict[str, Any]] = {}
        self.policies: list[dict[str, Any]] = []
        self.scheduled_actions: list[dict[str, Any]] = []
        self.activities: list[dict[str, Any]] = []

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one API operation; raises ServiceError for a refusal."""
        method = self._operations.get(operation)
        if method is None:
            raise NotEmulated(f"application-autoscaling {operation} is not emulated")
        return method(self, params)

    def _register(self, params: Mapping[str, Any]) -> dict[str, Any]:
        key = (params["ResourceId"], params["ScalableDimension"])
        if params["ServiceNamespace"] != "sagemaker" or key[1] not in _DIMENSIONS:
            raise NotEmulated(f"application-autoscaling RegisterScalableTarget {params['ServiceNamespace']} {key[1]}")
        target = self.targets.get(key)
        if target is None:
            missing = [name for name in ("MinCapacity", "MaxCapacity") if name not in params]
            if missing:
                raise ServiceError(
                    "ValidationException", f"{missing[0]} is required to register a new scalable target."
                )
            target = self.targets[key] = {
                "ServiceNamespace": "sagemaker",
                "ResourceId": key[0],
                "ScalableDimension": key[1],
                "RoleARN": f"arn:aws:iam::{self._account_id}:role/aws-service-role/sagemaker.application-autoscaling."
                "amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
                "CreationTime": at(self._clock.now_s),
                "SuspendedState": dict.fromkeys(_SUSPENSIONS, False),
                "ScalableTargetARN": f"arn:aws:application-autoscaling:{self._region}:{self._account_id}:"
                f"scalable-target/{len(self.targets):016x}",
            }
        target |= {name: params[name] for name in ("MinCapacity", "MaxCapacity") if name in params}
        target["SuspendedState"] = {**target["SuspendedState"], **params.get("SuspendedState", {})}
        self.tags.setdefault(target["ScalableTargetARN"], {}).update(params.get("Tags", {}))
        if target["MinCapacity"] > target["MaxCapacity"]:
            raise ServiceError("ValidationException", "Maximum capacity cannot be less than minimum capacity")
        return {"ScalableTargetARN": target["ScalableTargetARN"]}

    def _deregister(self, params: Mapping[str, Any]) -> dict[str, Any]:
        key = (params["ResourceId"], params["ScalableDimension"])
        if self.targets.pop(key, None) is None:
            raise ServiceError("ObjectNotFoundException", f"No scalable target found for resource ID: {key[0]}")
        # Deregistering deletes the policies and scheduled actions of the target (API reference).
        self.policies = [one for one in self.policies if (one["ResourceId"], one["ScalableDimension"]) != key]
        self.scheduled_actions = [
            one for one in self.scheduled_actions if (one["ResourceId"], one["ScalableDimension"]) != key
        ]
        return {}

    def _describe_targets(self, params: Mapping[str, Any]) -> dict[str, Any]:
        wanted = params.get("ResourceIds")
        found = [
            target
            for _, target in sorted(self.targets.items())
            if target["ServiceNamespace"] == params["ServiceNamespace"]
            and (wanted is None or target["ResourceId"] in wanted)
            and params.get("ScalableDimension", target["ScalableDimension"]) == target["ScalableDimension"]
        ]
        return _page("ScalableTargets", found, params)

    def _describe_policies(self, params: Mapping[str, Any]) -> dict[str, Any]:
        names = params.get("PolicyNames")
        found = [
            one | {"Alarms": self._alarms_of(one["PolicyARN"])} if one["PolicyType"] == "StepScaling" else one
            for one in _of(self.policies, params)
            if names is None or one["PolicyName"] in names
        ]
        return _page("ScalingPolicies", found, params)

    def _describe_scheduled(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return _page("ScheduledActions", _of(self.scheduled_actions, params), params)

    def _describe_activities(self, params: Mapping[str, Any]) -> dict[str, Any]:
        found = [
            one
            for one in _of(self.activities, params)
            if params.get("IncludeNotScaledActivities") or not one.get("NotScaledReasons")
        ]
        return _page("ScalingActivities", found, params)

    def _alarms_of(self, policy_arn: str) -> list[dict[str, str]]:
        types = ["MetricAlarm", "CompositeAlarm"]
        found = self._describe_alarms({"ActionPrefix": policy_arn, "AlarmTypes": types, "MaxRecords": 100})
        rows = [*found.get("MetricAlarms", ()), *found.get("CompositeAlarms", ())]
        return [{"AlarmName": one["AlarmName"], "AlarmARN": one["AlarmArn"]} for one in rows]

    def _put_policy(self, params: Mapping[str, Any]) -> dict[str, Any]:
        arn = self._put(self.policies, "PolicyName", "PolicyARN", "scalingPolicy", params)
        return {"PolicyARN": arn, "Alarms": []}

    def _put_scheduled(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self._put(self.scheduled_actions, "ScheduledActionName", "ScheduledActionARN", "scheduledAction", params)
        return {}

    def _put(
        self, entries: list[dict[str, Any]], name: str, arn_name: str, kind: str, params: Mapping[str, Any]
    ) -> str:
        """Create or replace one entry of a registered target; return its ARN."""
        rid = params["ResourceId"]
        if (rid, params["ScalableDimension"]) not in self.targets:
            raise ServiceError("ObjectNotFoundException", f"No scalable target registered for resource ID: {rid}")
        before = next((one for one in _of(entries, params) if one[name] == params[name]), None)
        arn = (
            before[arn_name]
            if before
            else f"arn:aws:autoscaling:{self._region}:{self._account_id}:{kind}:{len(entries):08x}:"
            f"resource/sagemaker/{rid}:{kind.removeprefix('scaling').lower()}Name/{params[name]}"
        )
        entry = {**params, arn_name: arn, "CreationTime": before["CreationTime"] if before else at(self._clock.now_s)}
        if before:
            entries[entries.index(before)] = entry
        else:
            entries.append(entry)
        return arn

    def _list_tags(self, params: Mapping[str, Any]) -> dict[str, Any]:
        arn = params["ResourceARN"]
        if arn not in {one["ScalableTargetARN"] for one in self.targets.values()}:
            raise ServiceError("ResourceNotFoundException", f"The scalable target {arn} does not exist")
        return {"Tags": dict(self.tags.get(arn, {}))}

    def _delete_policy(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self.policies = _without(self.policies, "PolicyName", params)
        return {}

    def _delete_scheduled(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self.scheduled_actions = _without(self.scheduled_actions, "ScheduledActionName", params)
        return {}

    _operations: Mapping[str, Callable[[ApplicationAutoScalingService, Mapping[str, Any]], dict[str, Any]]] = {
        "RegisterScalableTarget": _register,
        "DeregisterScalableTarget": _deregister,
        "DescribeScalableTargets": _describe_targets,
        "DescribeScalingPolicies": _describe_policies,
        "DescribeScheduledActions": _describe_scheduled,
        "DescribeScalingActivities": _describe_activities,
        "DeleteScalingPolicy": _delete_policy,
        "DeleteScheduledAction": _delete_scheduled,
        "ListTagsForResource": _list_tags,
        "PutScalingPolicy": _put_policy,
        "PutScheduledAction": _put_scheduled,
    }


def _of(entries: list[dict[str, Any]], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries that the request's namespace, resource and dimension pick."""
    names = ("ServiceNamespace", "ResourceId", "ScalableDimension")
    return [one for one in entries if all(params.get(name, one[name]) == one[name] for name in names)]


def _without(entries: list[dict[str, Any]], name: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`entries` without the one that the request names; raises ServiceError if there is none."""
    gone = [one for one in _of(entries, params) if one[name] == params[name]]
    if not gone:
        raise ServiceError("ObjectNotFoundException", f"No {name} {params[name]} for {params['ResourceId']}")
    return [one for one in entries if one not in gone]


def _page(name: str, found: list[dict[str, Any]], params: Mapping[str, Any]) -> dict[str, Any]:
    first, size = int(params.get("NextToken") or 0), params.get("MaxResults", 50)
    answer: dict[str, Any] = {name: found[first : first + size]}
    return answer | ({"NextToken": str(first + size)} if first + size < len(found) else {})
