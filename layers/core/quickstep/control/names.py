"""Names and ARNs: which target a request means, and what policies, scheduled actions, alarms and schedules are called.

Everything is derived from what it names, so the same request made twice finds what it made before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quickstep.control.refusals import ValidationException
from quickstep.model.targets import Dimension, TargetId

NAMESPACE = "sagemaker"
_NAME = r"[a-zA-Z0-9](?:-*[a-zA-Z0-9]){0,62}"
_RESOURCES = {
    Dimension.COPIES: (re.compile(rf"inference-component/{_NAME}"), "inference-component/<name>"),
    Dimension.INSTANCES: (re.compile(rf"endpoint/{_NAME}/variant/{_NAME}"), "endpoint/<endpoint>/variant/<variant>"),
}
ALARM_NAME_LIMIT = 255


def target_id(params: Mapping[str, Any]) -> TargetId:
    """The target that a request names. Raises ValidationException for another service, dimension or form of resource id."""
    check_namespace(params)
    dimension = dimension_of(params["ScalableDimension"])
    pattern, form = _RESOURCES[dimension]
    if not pattern.fullmatch(params["ResourceId"]):
        raise ValidationException(
            f"ResourceId is {params['ResourceId']!r}; for ScalableDimension {dimension} it must be {form}"
        )
    return TargetId(params["ResourceId"], dimension)


def check_namespace(params: Mapping[str, Any]) -> None:
    """Raise ValidationException unless the request is about SageMaker."""
    if params["ServiceNamespace"] != NAMESPACE:
        raise ValidationException(
            f"Unsupported service namespace: ServiceNamespace is {params['ServiceNamespace']!r}; Quickstep scales "
            f"{NAMESPACE} only"
        )


def dimension_of(word: str) -> Dimension:
    """The dimension called `word`. Raises ValidationException for one that Quickstep does not scale."""
    if word not in set(Dimension):
        raise ValidationException(
            f"Unsupported scalable dimension: ScalableDimension is {word!r}; Quickstep scales "
            + " and ".join(sorted(Dimension))
        )
    return Dimension(word)


def parse_target_id(resource_id: str) -> TargetId | None:
    """The target with that resource id, whose form tells its dimension; None if it is no SageMaker resource."""
    for dimension, (pattern, _) in _RESOURCES.items():
        if pattern.fullmatch(resource_id):
            return TargetId(resource_id, dimension)
    return None


@dataclass(frozen=True, slots=True)
class Names:
    """ARNs and names of one stack."""

    stack: str
    partition: str
    region: str
    account_id: str

    def arn_id(self, target: TargetId) -> str:
        """The part of a scalable target's ARN that is unique."""
        return _hash(self.account_id, self.region, self.stack, target.resource_id, str(target.dimension))[:36]

    def target_arn(self, arn_id: str) -> str:
        return f"arn:{self.partition}:application-autoscaling:{self.region}:{self.account_id}:scalable-target/{arn_id}"

    def arn_id_of(self, arn: str) -> str | None:
        """The unique part of a scalable target's ARN; None if it is another account's or region's."""
        arn_id = arn.rsplit("/", 1)[-1]
        return arn_id if arn == self.target_arn(arn_id) else None

    @property
    def policy_arn_prefix(self) -> str:
        """What the ARN of every policy of this stack begins with."""
        stack = _hash(self.account_id, self.region, self.stack)[:8]
        return f"arn:{self.partition}:autoscaling:{self.region}:{self.account_id}:scalingPolicy:{stack}-"

    def policy_id(self, target: TargetId, name: str) -> str:
        """A policy's id in the form of a UUID, which begins with what is this stack's own."""
        rest = _hash(target.resource_id, str(target.dimension), "policy", name)
        return f"{rest[:4]}-{rest[4:8]}-{rest[8:12]}-{rest[12:24]}"

    def policy_arn(self, target: TargetId, name: str, policy_id: str) -> str:
        return f"{self.policy_arn_prefix}{policy_id}:resource/{NAMESPACE}/{target.resource_id}:policyName/{name}"

    def policy_of_arn(self, arn: str) -> tuple[TargetId, str] | None:
        """Target and name of the policy with that ARN; None if it is none of this stack's."""
        if not arn.startswith(self.policy_arn_prefix):
            return None
        _, found, rest = arn.partition(f":resource/{NAMESPACE}/")
        resource_id, named, name = rest.partition(":policyName/")
        target = parse_target_id(resource_id)
        return (target, name) if found and named and name and target is not None else None

    def action_id(self, target: TargetId, name: str) -> str:
        """A scheduled action's id in the form of a UUID."""
        text = _hash(self.stack, target.resource_id, str(target.dimension), "scheduled action", name)
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"

    def action_arn(self, target: TargetId, name: str, action_id: str) -> str:
        return (
            f"arn:{self.partition}:autoscaling:{self.region}:{self.account_id}:scheduledAction:{action_id}:"
            f"resource/{NAMESPACE}/{target.resource_id}:scheduledActionName/{name}"
        )

    def schedule_name(self, action_id: str) -> str:
        """The EventBridge schedule of a scheduled action; at most 64 characters."""
        return f"quickstep-{action_id}"

    def alarm_arn(self, name: str) -> str:
        return f"arn:{self.partition}:cloudwatch:{self.region}:{self.account_id}:alarm:{name}"

    def alarm_name(self, target: TargetId, policy: str, kind: str) -> str:
        """`<stack>--<component>-<policy>-<kind>-<hash>`; characters that a name may not have become hyphens."""
        suffix = f"-{kind}-{_hash(target.resource_id, str(target.dimension), policy, kind)[:8]}"
        label = target.component or "-".join(target.resource_id.split("/")[1::2])
        text = f"{self.stack}--{label}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', policy)}"
        return text[: ALARM_NAME_LIMIT - len(suffix)] + suffix


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
