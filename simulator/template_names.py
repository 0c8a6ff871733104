"""Physical names, ARNs and attributes of CloudFormation resources.

Formats: the `Return values` sections of the CloudFormation resource reference. Names that CloudFormation would draw at
random are derived from stack and logical id, so that a run is repeatable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NAME_LIMITS = {
    "AWS::Lambda::Function": 64,
    "AWS::IAM::Role": 64,
    "AWS::Events::Rule": 64,
    "AWS::Scheduler::Schedule": 64,
    "AWS::StepFunctions::StateMachine": 80,
    "AWS::SQS::Queue": 80,
    "AWS::SageMaker::Endpoint": 63,
    "AWS::SageMaker::EndpointConfig": 63,
    "AWS::SageMaker::InferenceComponent": 63,
    "AWS::SageMaker::Model": 63,
}


@dataclass(frozen=True)
class StackIdentity:
    """Where a stack lives."""

    stack_name: str
    region: str
    account_id: str

    @property
    def stack_id(self) -> str:
        return f"arn:aws:cloudformation:{self.region}:{self.account_id}:stack/{self.stack_name}/{token(self.stack_name, 8)}"

    def pseudo_parameters(self) -> dict[str, str]:
        """The `AWS::…` names that every template may refer to."""
        return {
            "AWS::AccountId": self.account_id,
            "AWS::Partition": "aws",
            "AWS::Region": self.region,
            "AWS::StackId": self.stack_id,
            "AWS::StackName": self.stack_name,
            "AWS::URLSuffix": "amazonaws.com",
        }


@dataclass(frozen=True)
class Naming:
    """How one resource type is named.

    `name_property` holds a name the template chose; `service` and `path` make the ARN (`{name}` and property names may
    stand in `path`); `ref_is` is what `Ref` returns: `name`, `arn` or `url`.
    """

    name_property: str | None
    service: str | None = None
    path: str = "{name}"
    ref_is: str = "name"
    regional: bool = True

    def arn(self, name: str, properties: Mapping[str, Any], identity: StackIdentity) -> str | None:
        if self.service is None:
            return None
        region = identity.region if self.regional else ""
        path = self.path.format_map(_Fields(name, properties))
        return f"arn:aws:{self.service}:{region}:{identity.account_id}:{path}"

    def ref(self, name: str, properties: Mapping[str, Any], identity: StackIdentity) -> str:
        if self.ref_is == "arn":
            return self.arn(name, properties, identity) or name
        if self.ref_is == "url":
            return f"https://sqs.{identity.region}.amazonaws.com/{identity.account_id}/{name}"
        return name


NAMINGS: dict[str, Naming] = {
    "AWS::CloudWatch::Alarm": Naming("AlarmName", "cloudwatch", "alarm:{name}"),
    "AWS::CloudWatch::CompositeAlarm": Naming("AlarmName", "cloudwatch", "alarm:{name}"),
    "AWS::CloudWatch::Dashboard": Naming("DashboardName", "cloudwatch", "dashboard/{name}", regional=False),
    "AWS::DynamoDB::Table": Naming("TableName", "dynamodb", "table/{name}"),
    "AWS::Events::EventBus": Naming("Name", "events", "event-bus/{name}"),
    "AWS::Events::Rule": Naming("Name", "events", "rule/{bus}{name}"),
    "AWS::IAM::ManagedPolicy": Naming("ManagedPolicyName", "iam", "policy/{name}", ref_is="arn", regional=False),
    "AWS::IAM::Policy": Naming("PolicyName"),
    "AWS::IAM::Role": Naming("RoleName", "iam", "role/{name}", regional=False),
    "AWS::KMS::Key": Naming(None, "kms", "key/{name}"),
    "AWS::Lambda::Alias": Naming("Name", "lambda", "function:{function}:{name}", ref_is="arn"),
    "AWS::Lambda::Function": Naming("FunctionName", "lambda", "function:{name}"),
    "AWS::Lambda::LayerVersion": Naming("LayerName", "lambda", "layer:{name}:1", ref_is="arn"),
    "AWS::Lambda::Version": Naming(None, "lambda", "function:{function}:1", ref_is="arn"),
    "AWS::Logs::LogGroup": Naming("LogGroupName", "logs", "log-group:{name}:*"),
    "AWS::SNS::Topic": Naming("TopicName", "sns", "{name}", ref_is="arn"),
    "AWS::SQS::Queue": Naming("QueueName", "sqs", "{name}", ref_is="url"),
    "AWS::SSM::Parameter": Naming("Name", "ssm", "parameter/{name}"),
    "AWS::SageMaker::Endpoint": Naming("EndpointName", "sagemaker", "endpoint/{name}", ref_is="arn"),
    "AWS::SageMaker::EndpointConfig": Naming("EndpointConfigName", "sagemaker", "endpoint-config/{name}", ref_is="arn"),
    "AWS::SageMaker::InferenceComponent": Naming(
        "InferenceComponentName", "sagemaker", "inference-component/{name}", ref_is="arn"
    ),
    "AWS::SageMaker::Model": Naming("ModelName", "sagemaker", "model/{name}", ref_is="arn"),
    "AWS::Scheduler::Schedule": Naming("Name", "scheduler", "schedule/{group}/{name}"),
    "AWS::Scheduler::ScheduleGroup": Naming("Name", "scheduler", "schedule-group/{name}"),
    "AWS::StepFunctions::StateMachine": Naming("StateMachineName", "states", "stateMachine:{name}", ref_is="arn"),
}

_NAME_ATTRIBUTES = frozenset(
    [
        "Name",
        "QueueName",
        "TopicName",
        "DashboardName",
        "PolicyName",
        "GroupName",
        "Id",
        "KeyId",
        "EndpointConfigName",
        "EndpointName",
        "ModelName",
    ]
)


def resource_name(logical_id: str, resource_type: str, properties: Mapping[str, Any], identity: StackIdentity) -> str:
    """The physical name: the template's own, or `<stack>-<logical id>-<12 characters>` cut to the type's limit."""
    naming = NAMINGS.get(resource_type, Naming(None))
    chosen = properties.get(naming.name_property) if naming.name_property else None
    if chosen:
        return str(chosen)
    suffix = token(f"{identity.stack_name}/{logical_id}", 12).upper()
    fifo = ".fifo" if str(properties.get("FifoQueue", "")).lower() == "true" else ""
    limit = NAME_LIMITS.get(resource_type, 255) - len(suffix) - len(fifo) - 1
    return f"{identity.stack_name}-{logical_id}"[:limit] + f"-{suffix}{fifo}"


def attribute(
    name: str, resource_type: str, properties: Mapping[str, Any], attribute_name: str, identity: StackIdentity
) -> str | None:
    """What `Fn::GetAtt` gives for that attribute; None if the type has no such attribute here."""
    naming = NAMINGS.get(resource_type, Naming(None))
    if attribute_name in ("Arn", "TopicArn", "FunctionArn", "InferenceComponentArn", "AliasArn"):
        return naming.arn(name, properties, identity)
    if attribute_name == "QueueUrl":
        return naming.ref(name, properties, identity)
    if attribute_name in _NAME_ATTRIBUTES:
        return name
    if attribute_name == "StreamArn":
        return f"{naming.arn(name, properties, identity)}/stream/2026-01-01T00:00:00.000"
    if attribute_name == "FunctionUrl":
        return f"https://{token(name, 32)}.lambda-url.{identity.region}.on.aws/"
    if attribute_name == "RoleId":
        return f"AROA{token(name, 17).upper()}"
    if attribute_name == "Version":
        return "1"
    return None


def token(text: str, length: int) -> str:
    """`length` characters that look random and are always the same for `text`."""
    digest = hashlib.sha256(text.encode()).digest()
    return "".join("abcdefghijkmnpqrstuvwxyz23456789"[byte % 32] for byte in digest)[:length]


class _Fields(dict[str, str]):
    """Names usable in an ARN path: the name and the few properties that take part in an ARN."""

    def __init__(self, name: str, properties: Mapping[str, Any]) -> None:
        bus = str(properties.get("EventBusName") or "default").rsplit("/", 1)[-1]
        super().__init__(
            name=name.lstrip("/"),
            bus="" if bus == "default" else f"{bus}/",
            group=str(properties.get("GroupName") or "default"),
            function=str(properties.get("FunctionName") or "").rsplit(":function:", 1)[-1],
        )
