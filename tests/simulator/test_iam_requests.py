"""What calls need from IAM, held against the Service Authorization Reference as cfn-lint ships it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cfnlint
import pytest

from simulator.aws.iam_requests import Permissions
from simulator.not_emulated import NotEmulated

REFERENCE = json.loads((Path(cfnlint.__file__).parent / "data/AdditionalSpecs/Policies.json").read_text())
NEEDED = Permissions("111122223333", "eu-west-1")
TABLE = {"TableName": "state"}
ALARM_ARN = "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:a"
MACHINE_ARN = "arn:aws:states:eu-west-1:111122223333:stateMachine:loop"
EXECUTION_ARN = "arn:aws:states:eu-west-1:111122223333:execution:loop:one"

CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("application-autoscaling", "DescribeScalableTargets", {"ServiceNamespace": "sagemaker"}),
    ("application-autoscaling", "DescribeScalingActivities", {"ServiceNamespace": "sagemaker"}),
    ("application-autoscaling", "DescribeScalingPolicies", {"ServiceNamespace": "sagemaker"}),
    ("application-autoscaling", "RegisterScalableTarget", {"ServiceNamespace": "sagemaker"}),
    ("cloudformation", "DescribeStacks", {"StackName": "quickstep"}),
    ("cloudwatch", "DeleteAlarms", {"AlarmNames": ["a", "b"]}),
    ("cloudwatch", "DescribeAlarms", {"AlarmNamePrefix": "quickstep--"}),
    ("cloudwatch", "DescribeAlarmHistory", {"AlarmName": "a"}),
    ("cloudwatch", "DisableAlarmActions", {"AlarmNames": ["a"]}),
    ("cloudwatch", "GetMetricData", {"MetricDataQueries": []}),
    ("cloudwatch", "GetMetricStatistics", {"Namespace": "AWS/SageMaker"}),
    ("cloudwatch", "ListMetrics", {}),
    ("cloudwatch", "ListTagsForResource", {"ResourceARN": ALARM_ARN}),
    ("cloudwatch", "PutMetricAlarm", {"AlarmName": "a", "Tags": [{"Key": "k", "Value": "v"}]}),
    ("cloudwatch", "PutMetricData", {"Namespace": "Quickstep"}),
    ("cloudwatch", "SetAlarmState", {"AlarmName": "a"}),
    ("cloudwatch", "TagResource", {"ResourceARN": ALARM_ARN, "Tags": []}),
    ("dynamodb", "BatchGetItem", {"RequestItems": {"state": {}}}),
    ("dynamodb", "DeleteItem", TABLE),
    ("dynamodb", "DescribeTable", TABLE),
    ("dynamodb", "GetItem", TABLE),
    ("dynamodb", "ListTables", {}),
    ("dynamodb", "PutItem", TABLE),
    ("dynamodb", "Query", {**TABLE, "IndexName": "due"}),
    ("dynamodb", "Scan", TABLE),
    ("dynamodb", "TransactWriteItems", {"TransactItems": [{"Put": TABLE}, {"ConditionCheck": TABLE}]}),
    ("dynamodb", "UpdateItem", TABLE),
    ("events", "DeleteRule", {"Name": "r"}),
    ("events", "DescribeRule", {"Name": "r"}),
    ("events", "PutEvents", {"Entries": [{"Source": "quickstep", "DetailType": "d"}]}),
    ("events", "PutRule", {"Name": "r"}),
    ("events", "PutTargets", {"Rule": "r", "Targets": [{"RoleArn": "arn:aws:iam::111122223333:role/r"}]}),
    ("lambda", "GetFunctionConfiguration", {"FunctionName": "f"}),
    ("lambda", "Invoke", {"FunctionName": "f"}),
    ("lambda", "ListFunctions", {}),
    ("lambda", "PutFunctionConcurrency", {"FunctionName": "f"}),
    ("sagemaker", "AddTags", {"ResourceArn": "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/e", "Tags": []}),
    ("sagemaker", "DescribeEndpoint", {"EndpointName": "E"}),
    ("sagemaker", "DescribeEndpointConfig", {"EndpointConfigName": "C"}),
    ("sagemaker", "DescribeInferenceComponent", {"InferenceComponentName": "chat"}),
    ("sagemaker", "ListEndpoints", {}),
    ("sagemaker", "ListInferenceComponents", {"EndpointNameEquals": "E"}),
    ("sagemaker", "UpdateEndpoint", {"EndpointName": "E", "EndpointConfigName": "C"}),
    ("sagemaker", "UpdateEndpointWeightsAndCapacities", {"EndpointName": "E"}),
    ("sagemaker", "UpdateInferenceComponentRuntimeConfig", {"InferenceComponentName": "chat"}),
    ("sagemaker-runtime", "InvokeEndpoint", {"EndpointName": "E", "InferenceComponentName": "chat"}),
    ("scheduler", "CreateSchedule", {"Name": "s", "Target": {"RoleArn": "arn:aws:iam::111122223333:role/r"}}),
    ("scheduler", "DeleteSchedule", {"Name": "s"}),
    ("scheduler", "ListSchedules", {}),
    ("service-quotas", "GetServiceQuota", {"ServiceCode": "sagemaker", "QuotaCode": "L-1928E07B"}),
    ("sns", "Publish", {"TopicArn": "arn:aws:sns:eu-west-1:111122223333:t"}),
    ("sqs", "GetQueueAttributes", {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/q"}),
    ("sqs", "SendMessage", {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/q"}),
    ("ssm", "GetParameter", {"Name": "/quickstep/mode"}),
    ("stepfunctions", "DescribeExecution", {"executionArn": EXECUTION_ARN}),
    ("stepfunctions", "ListExecutions", {"stateMachineArn": MACHINE_ARN}),
    ("stepfunctions", "StartExecution", {"stateMachineArn": MACHINE_ARN}),
    ("stepfunctions", "StopExecution", {"executionArn": EXECUTION_ARN}),
    ("xray", "PutTraceSegments", {}),
]


@pytest.mark.parametrize(("service", "operation", "params"), CALLS, ids=[f"{s}-{o}" for s, o, _ in CALLS])
def test_every_needed_action_exists_and_its_resource_is_of_a_type_that_the_action_takes(service, operation, params):
    needed = NEEDED.needed(service, operation, params)
    assert needed
    for request in needed:
        prefix, action = request.action.lower().split(":")
        reference = REFERENCE[prefix]
        assert action in reference["Actions"], f"{request.action} is no action"
        types = reference["Actions"][action].get("Resources")
        if not types or types == ["dataset"]:  # a new resource type that these calls need not name
            assert request.resource == "*", f"{request.action} cannot be scoped, so it is asked for *"
            continue
        formats = [arn for one in types for arn in reference["Resources"][one.lower()]["ARNFormats"]]
        assert any(_fits(arn, request.resource) for arn in formats), f"{request.resource} fits none of {formats}"


def test_a_call_whose_needs_are_not_known_is_a_gap_and_not_a_permission():
    with pytest.raises(NotEmulated, match="kendra Query"):
        NEEDED.needed("kendra", "Query", {})


def test_names_of_endpoints_and_components_are_lower_case_in_arns():
    (request,) = NEEDED.needed("sagemaker", "DescribeEndpoint", {"EndpointName": "Chat-PROD"})
    assert request.resource == "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/chat-prod"


def _fits(arn_format: str, resource: str) -> bool:
    """Whether `arn:${Partition}:dynamodb:${Region}:…` (or its `.*` form) describes the resource."""
    pattern = re.sub(r"\$\{[^}]*\}", "\0", arn_format)
    pattern = re.escape(pattern).replace("\0", "[^ ]*").replace(r"\.\*", "[^ ]*").replace(r"\*", "[^ ]*")
    return re.fullmatch(pattern, resource) is not None
