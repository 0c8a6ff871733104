"""The few calls of services that need no more than an answer: STS, CloudFormation, Service Quotas, SNS, X-Ray.

Shapes: botocore models of the services.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from simulator.clock import VirtualClock
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated
from simulator.template import Stack


class StsService:
    """Who is asking; `caller_arn()` is the role session that calls, or the account's administrator."""

    def __init__(self, account_id: str, caller_arn: Any) -> None:
        self._account_id, self._caller_arn = account_id, caller_arn

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        if operation != "GetCallerIdentity":
            raise NotEmulated(f"sts {operation} is not emulated")
        return {"UserId": "AROAEXAMPLE:session", "Account": self._account_id, "Arn": self._caller_arn()}


class CloudFormationService:
    """The stacks that are deployed, read only; without a name a request means the first."""

    def __init__(self, stacks: Sequence[Stack], created_s: float) -> None:
        self._stacks, self._created = stacks, datetime.fromtimestamp(created_s, UTC)

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeStacks, DescribeStackResources and ListStackResources; raises ServiceError for another stack's name."""
        name = params.get("StackName", self._stacks[0].name)
        stack = next((one for one in self._stacks if name in (one.name, _stack_id(one))), None)
        if stack is None:
            raise ServiceError("ValidationError", f"Stack with id {name} does not exist")
        if operation == "DescribeStacks":
            return {"Stacks": [self._described(stack)]}
        if operation == "DescribeStackResources":
            wanted = params.get("LogicalResourceId")
            return {
                "StackResources": [
                    one for one in self._resources(stack, "Timestamp") if wanted in (None, one["LogicalResourceId"])
                ]
            }
        if operation == "ListStackResources":
            return {"StackResourceSummaries": self._resources(stack, "LastUpdatedTimestamp")}
        raise NotEmulated(f"cloudformation {operation} is not emulated")

    def _described(self, stack: Stack) -> dict[str, Any]:
        return {
            "StackId": _stack_id(stack),
            "StackName": stack.name,
            "CreationTime": self._created,
            "StackStatus": "CREATE_COMPLETE",
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": ",".join(value) if isinstance(value, list) else value}
                for key, value in stack.parameters.items()
            ],
            "Outputs": [{"OutputKey": key, "OutputValue": str(value)} for key, value in stack.outputs.items()],
        }

    def _resources(self, stack: Stack, time_name: str) -> list[dict[str, Any]]:
        return [
            {
                "LogicalResourceId": one.logical_id,
                "PhysicalResourceId": one.ref,
                "ResourceType": one.type,
                "ResourceStatus": "CREATE_COMPLETE",
                time_name: self._created,
            }
            for one in stack.resources.values()
        ]


def _stack_id(stack: Stack) -> str:
    return f"arn:aws:cloudformation:{stack.region}:{stack.account_id}:stack/{stack.name}/emulated"


class ServiceQuotasService:
    """The account's quotas by name, such as `ml.g5.2xlarge for endpoint usage`.

    `endpoint_quotas` maps instance types to instances; it is read at every call. Codes are made from the names, except
    the one that is known.
    """

    KNOWN_CODES = {"ml.g5.xlarge for endpoint usage": "L-1928E07B"}

    def __init__(self, endpoint_quotas: Any, *, account_id: str, region: str) -> None:
        self._endpoint_quotas, self._account_id, self._region = endpoint_quotas, account_id, region

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """GetServiceQuota and ListServiceQuotas of `sagemaker`; raises ServiceError NoSuchResourceException."""
        found = [self._quota(kind, count) for kind, count in sorted(self._endpoint_quotas().items())]
        if params["ServiceCode"] != "sagemaker":
            found = []
        if operation == "ListServiceQuotas":
            return {"Quotas": found}
        if operation != "GetServiceQuota":
            raise NotEmulated(f"service-quotas {operation} is not emulated")
        for quota in found:
            if quota["QuotaCode"] == params["QuotaCode"]:
                return {"Quota": quota}
        raise ServiceError("NoSuchResourceException", f"The requested quota {params['QuotaCode']} does not exist.")

    def _quota(self, instance_type: str, count: float) -> dict[str, Any]:
        name = f"{instance_type} for endpoint usage"
        code = self.KNOWN_CODES.get(name) or f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"
        return {
            "ServiceCode": "sagemaker",
            "ServiceName": "Amazon SageMaker",
            "QuotaArn": f"arn:aws:servicequotas:{self._region}:{self._account_id}:sagemaker/{code}",
            "QuotaCode": code,
            "QuotaName": name,
            "Value": float(count),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }


@dataclass(frozen=True)
class Notification:
    """A message that was published to an SNS topic."""

    topic_arn: str
    at_s: float
    subject: str | None
    message: str


class SnsService:
    """Topics that keep what was published to them, in `notifications`."""

    def __init__(self, clock: VirtualClock, topic_arns: list[str]) -> None:
        self._clock, self._topic_arns = clock, topic_arns
        self.notifications: list[Notification] = []

    def publish(self, topic_arn: str, message: str, subject: str | None = None) -> str:
        """Publish to a topic of the stack; returns the message id. Raises ServiceError NotFound for other topics."""
        if topic_arn not in self._topic_arns:
            raise ServiceError("NotFound", "Topic does not exist", 404)
        self.notifications.append(Notification(topic_arn, self._clock.now_s, subject, message))
        return f"{len(self.notifications):08x}-0000-4000-8000-000000000000"

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        if operation == "Publish":
            return {"MessageId": self.publish(params["TopicArn"], params["Message"], params.get("Subject"))}
        if operation == "ListTopics":
            return {"Topics": [{"TopicArn": arn} for arn in self._topic_arns]}
        raise NotEmulated(f"sns {operation} is not emulated")
