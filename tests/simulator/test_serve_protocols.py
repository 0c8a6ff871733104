"""Requests that botocore writes are understood, and answers are written so that botocore reads them: every protocol."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import botocore.parsers
import botocore.serialize
import botocore.session
import pytest

from simulator.serve.protocols import (
    CBOR,
    JSON,
    QUERY,
    REST_JSON,
    SERVICES,
    BadRequest,
    HttpAnswer,
    HttpRequest,
    operation_of,
    parameters_of,
    service_of,
    write_answer,
    write_refusal,
)

SESSION = botocore.session.get_session()
WHEN = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)


def sent(service: str, protocol: str, operation: str, params: dict[str, Any]) -> HttpRequest:
    """The request of a botocore client that speaks `protocol`, signed for the service's scope."""
    model = SESSION.get_service_model(service)
    written = botocore.serialize.create_serializer(protocol, False).serialize_to_request(
        params, model.operation_model(operation)
    )
    body, headers = written["body"], {name.lower(): str(value) for name, value in written["headers"].items()}
    if isinstance(body, dict):
        body = urlencode(body)
    query = written["query_string"]
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential=test/20260301/eu-west-1/{model.signing_name}/aws4_request, …"
    )
    return HttpRequest(
        method=written["method"],
        path=written["url_path"],
        query=urlencode(query, doseq=True) if isinstance(query, dict) else query,
        headers=headers,
        body=body.encode() if isinstance(body, str) else bytes(body),
    )


def read(service: str, protocol: str, operation: str, answer: HttpAnswer) -> dict[str, Any]:
    """What a botocore client makes of an answer."""
    shape = SESSION.get_service_model(service).operation_model(operation).output_shape
    headers = {name.lower(): value for name, value in answer.headers.items()}
    response = {"status_code": answer.status, "headers": headers, "body": answer.body}
    parsed = botocore.parsers.create_parser(protocol).parse(response, shape)
    parsed.pop("ResponseMetadata")
    return parsed


ALARM = {
    "AlarmName": "a & <b>",
    "MetricName": "m",
    "Namespace": "n",
    "Period": 10,
    "EvaluationPeriods": 3,
    "DatapointsToAlarm": 2,
    "Threshold": 0.5,
    "ComparisonOperator": "GreaterThanThreshold",
    "Dimensions": [{"Name": "x", "Value": "ü"}, {"Name": "y", "Value": "2"}],
    "ActionsEnabled": False,
    "Tags": [{"Key": "k", "Value": ""}],
}
DATA = {
    "Namespace": "n",
    "MetricData": [{"MetricName": "m", "Timestamp": WHEN, "Values": [1.0, 2.5], "Counts": [3.0, 4.0]}],
}
ITEM = {
    "TableName": "t",
    "Item": {"pk": {"S": "a"}, "n": {"N": "1.5"}, "b": {"B": b"\x00\xff"}, "l": {"L": [{"NULL": True}]}},
}
SCHEDULE = {
    "Name": "night",
    "GroupName": "default",
    "ScheduleExpression": "cron(0 22 * * ? *)",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "EndDate": WHEN,
    "Target": {
        "Arn": "arn:aws:lambda:eu-west-1:111122223333:function:f",
        "RoleArn": "arn:aws:iam::111122223333:role/r",
    },
}
REQUESTS = [
    ("cloudwatch", CBOR, "PutMetricAlarm", ALARM),
    ("cloudwatch", JSON, "PutMetricAlarm", ALARM),
    ("cloudwatch", QUERY, "PutMetricAlarm", ALARM),
    ("cloudwatch", CBOR, "PutMetricData", DATA),
    ("cloudwatch", JSON, "PutMetricData", DATA),
    ("cloudwatch", QUERY, "PutMetricData", DATA),
    ("cloudwatch", CBOR, "DescribeAlarms", {}),
    ("cloudwatch", QUERY, "DescribeAlarms", {}),
    ("dynamodb", JSON, "PutItem", ITEM),
    ("sagemaker", JSON, "DescribeEndpoint", {"EndpointName": "llm"}),
    ("sagemaker", JSON, "ListEndpoints", {"CreationTimeAfter": WHEN, "MaxResults": 5}),
    ("stepfunctions", JSON, "StartExecution", {"stateMachineArn": "arn:aws:states:…", "input": '{"a": 1}'}),
    ("events", JSON, "PutEvents", {"Entries": [{"Source": "s", "Detail": "{}", "Time": WHEN}]}),
    ("lambda", REST_JSON, "Invoke", {"FunctionName": "f", "InvocationType": "Event", "Payload": b'{"a": "\xc3\xbc"}'}),
    ("lambda", REST_JSON, "ListFunctions", {"MaxItems": 10, "Marker": "a/b"}),
    ("lambda", REST_JSON, "PutFunctionConcurrency", {"FunctionName": "f", "ReservedConcurrentExecutions": 0}),
    ("scheduler", REST_JSON, "CreateSchedule", SCHEDULE),
    ("scheduler", REST_JSON, "ListSchedules", {"NamePrefix": "a b", "MaxResults": 3}),
    ("sts", QUERY, "GetCallerIdentity", {}),
    ("sns", QUERY, "Publish", {"TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": "a=b&c\n"}),
    ("cloudformation", QUERY, "DescribeStacks", {"StackName": "quickstep"}),
    ("sqs", JSON, "SendMessage", {"QueueUrl": "https://q", "MessageBody": "{}", "DelaySeconds": 1}),
    ("logs", JSON, "FilterLogEvents", {"logGroupName": "/aws/lambda/f", "startTime": 1, "logStreamNames": ["a"]}),
    ("service-quotas", JSON, "GetServiceQuota", {"ServiceCode": "sagemaker", "QuotaCode": "L-1"}),
    (
        "application-autoscaling",
        JSON,
        "DescribeScalableTargets",
        {"ServiceNamespace": "sagemaker", "ResourceIds": ["a"]},
    ),
]


@pytest.mark.parametrize(("service", "protocol", "name", "params"), REQUESTS)
def test_a_request_of_botocore_is_the_operation_and_the_parameters_that_it_was_made_of(service, protocol, name, params):
    request = sent(service, protocol, name, params)
    found = service_of(request)
    assert found is not None
    assert (found[0].name, found[1]) == (service, protocol)
    operation = operation_of(request, *found)
    assert operation.model.name == name
    assert parameters_of(request, operation) == params


ALARMS = {
    "MetricAlarms": [
        {
            "AlarmName": "a & <b>",
            "StateValue": "ALARM",
            "StateUpdatedTimestamp": WHEN,
            "Threshold": 0.5,
            "ActionsEnabled": False,
            "Period": 10,
            "Dimensions": [{"Name": "x", "Value": "ü"}],
            "AlarmActions": [],
        }
    ],
    "CompositeAlarms": [],
}
ANSWERS = [
    ("cloudwatch", CBOR, "DescribeAlarms", ALARMS),
    ("cloudwatch", JSON, "DescribeAlarms", ALARMS),
    ("cloudwatch", QUERY, "DescribeAlarms", ALARMS),
    ("cloudwatch", CBOR, "PutMetricData", {}),
    ("cloudwatch", QUERY, "PutMetricData", {}),
    (
        "cloudwatch",
        CBOR,
        "GetMetricData",
        {"MetricDataResults": [{"Id": "a", "Timestamps": [WHEN], "Values": [-1.25]}]},
    ),
    ("dynamodb", JSON, "GetItem", {"Item": ITEM["Item"]}),
    ("sagemaker", JSON, "DescribeModel", {"ModelName": "m", "CreationTime": WHEN, "ModelArn": "arn"}),
    ("scheduler", REST_JSON, "GetSchedule", {"Name": "a", "CreationDate": WHEN, "Target": SCHEDULE["Target"]}),
    ("scheduler", REST_JSON, "DeleteSchedule", {}),
    ("sts", QUERY, "GetCallerIdentity", {"Account": "111122223333", "Arn": "arn", "UserId": "u"}),
    ("sns", QUERY, "ListTopics", {"Topics": [{"TopicArn": "arn:1"}, {"TopicArn": "arn:2"}]}),
    (
        "cloudformation",
        QUERY,
        "DescribeStacks",
        {"Stacks": [{"StackName": "s", "CreationTime": WHEN, "StackStatus": "OK"}]},
    ),
    ("sqs", JSON, "ReceiveMessage", {"Messages": [{"Body": "{}", "Attributes": {"ApproximateReceiveCount": "1"}}]}),
    (
        "lambda",
        REST_JSON,
        "ListFunctions",
        {"Functions": [{"FunctionName": "f", "MemorySize": 512}], "NextMarker": "2"},
    ),
]


@pytest.mark.parametrize(("service", "protocol", "name", "result"), ANSWERS)
def test_botocore_reads_from_an_answer_what_was_written_into_it(service, protocol, name, result):
    params = {"TableName": "t", "Key": {"pk": {"S": "a"}}} if service == "dynamodb" else _least(service, name)
    request = sent(service, protocol, name, params)
    operation = operation_of(request, *service_of(request))
    answer = write_answer(operation, result, "an-id")
    assert answer.status == 200
    assert read(service, protocol, name, answer) == result


def test_a_lambda_answer_is_status_headers_and_the_payload_as_it_is():
    request = sent("lambda", REST_JSON, "Invoke", {"FunctionName": "f"})
    operation = operation_of(request, *service_of(request))
    result = {"StatusCode": 200, "FunctionError": "Unhandled", "ExecutedVersion": "$LATEST", "Payload": b'{"a":1}'}
    answer = write_answer(operation, result, "an-id")
    assert (answer.status, answer.body) == (200, b'{"a":1}')
    assert answer.headers["X-Amz-Function-Error"] == "Unhandled"
    assert write_answer(operation, {"StatusCode": 202, "Payload": b""}, "an-id").status == 202


@pytest.mark.parametrize(
    ("service", "protocol", "name", "code", "error_code"),
    [
        ("cloudwatch", CBOR, "SetAlarmState", "ResourceNotFound", "ResourceNotFound"),
        ("cloudwatch", JSON, "SetAlarmState", "ResourceNotFound", "ResourceNotFound"),
        ("cloudwatch", QUERY, "SetAlarmState", "ResourceNotFound", "ResourceNotFound"),
        ("sagemaker", JSON, "DescribeEndpoint", "ValidationException", "ValidationException"),
        ("lambda", REST_JSON, "Invoke", "ResourceNotFoundException", "ResourceNotFoundException"),
        ("sts", QUERY, "GetCallerIdentity", "InvalidAction", "InvalidAction"),
    ],
)
def test_botocore_reads_a_refusals_code_and_message(service, protocol, name, code, error_code):
    request = sent(service, protocol, name, _least(service, name))
    operation = operation_of(request, *service_of(request))
    answer = write_refusal(operation, protocol, code, "no \u00fc <&> here", 404, "an-id")
    parsed = read(service, protocol, name, answer)
    assert answer.status == 404
    assert (parsed["Error"]["Code"], parsed["Error"]["Message"]) == (error_code, "no \u00fc <&> here")


def test_a_failed_condition_brings_its_item_bytes_included():
    request = sent("dynamodb", JSON, "PutItem", ITEM)
    operation = operation_of(request, *service_of(request))
    code = "ConditionalCheckFailedException"
    answer = write_refusal(operation, JSON, code, "no", 400, "an-id", {"Item": {"b": {"B": b"\x00\xff"}}})
    assert json.loads(answer.body)["Item"] == {"b": {"B": "AP8="}}


def test_a_compressed_body_is_read():
    plain = sent("cloudwatch", CBOR, "PutMetricData", DATA)
    packed = HttpRequest(
        plain.method, plain.path, "", {**plain.headers, "content-encoding": "gzip"}, gzip.compress(plain.body)
    )
    assert parameters_of(packed, operation_of(packed, *service_of(packed))) == DATA
    broken = HttpRequest(plain.method, plain.path, "", packed.headers, b"not gzip")
    with pytest.raises(BadRequest, match="not gzip"):
        parameters_of(broken, operation_of(broken, *service_of(broken)))


def _json_request(service: str, target: str, body: bytes) -> HttpRequest:
    credential = f"Credential=test/20260301/eu-west-1/{service}/aws4_request"
    return HttpRequest("POST", "/", "", {"x-amz-target": target, "authorization": credential}, body)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"{", "SerializationException", "cannot be read"),
        (b"[1]", "SerializationException", "a JSON list, not an object"),
        (b"\xff\xfe", "SerializationException", "cannot be read"),
        (b"{}", "ValidationException", "Missing required parameter in input: \"EndpointName\""),
        (b'{"EndpointName": 5}', "ValidationException", "Invalid type for parameter EndpointName, value: 5"),
        (b'{"EndpointName": {"a": 1}}', "ValidationException", "Invalid type for parameter EndpointName"),
        (b"[" * 100_000, "SerializationException", "cannot be read"),
    ],
    ids=["cut off", "list", "not text", "missing", "number", "object", "deep"],
)  # fmt: skip
def test_a_request_that_cannot_be_used_is_refused_with_what_is_wrong(body, code, said):
    request = _json_request("sagemaker", "SageMaker.DescribeEndpoint", body)
    with pytest.raises(BadRequest) as bad:
        parameters_of(request, operation_of(request, *service_of(request)))
    assert bad.value.code == code
    assert said in str(bad.value)


@pytest.mark.parametrize(
    "body", [b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"\x5b\x7f" + b"\xff" * 7, b"\xbf\x61a", b"\x9f" * 5000, b"\xff"]
)
def test_cbor_that_lies_about_its_length_is_refused(body):
    request = sent("cloudwatch", CBOR, "DescribeAlarms", {})
    request = HttpRequest(request.method, request.path, "", request.headers, body)
    with pytest.raises(BadRequest, match="cannot be read"):
        parameters_of(request, operation_of(request, *service_of(request)))


def test_the_path_alone_says_which_rest_operation_is_meant_whatever_the_content_type_says():
    request = sent("lambda", REST_JSON, "Invoke", {"FunctionName": "f", "Payload": b"{}"})
    for kind in ("application/x-www-form-urlencoded", "application/x-amz-json-1.1", "text/plain"):
        other = HttpRequest(request.method, request.path, "", {**request.headers, "content-type": kind}, request.body)
        operation = operation_of(other, *service_of(other))
        assert parameters_of(other, operation) == {"FunctionName": "f", "Payload": b"{}"}


def test_operations_that_a_service_does_not_have_are_refused_as_aws_does():
    request = _json_request("sagemaker", "SageMaker.Nope", b"{}")
    with pytest.raises(BadRequest, match="Could not find operation Nope for sagemaker") as bad:
        operation_of(request, *service_of(request))
    assert bad.value.code == "UnknownOperationException"
    request = sent("lambda", REST_JSON, "ListFunctions", {})
    request = HttpRequest("PATCH", "/2015-03-31/nope", "", request.headers, b"")
    with pytest.raises(BadRequest, match="lambda has no PATCH /2015-03-31/nope") as bad:
        operation_of(request, *service_of(request))
    assert bad.value.status == 404


def test_a_request_to_another_service_or_without_a_signature_is_none_of_the_accounts():
    assert service_of(_json_request("kinesis", "Kinesis_20131202.ListStreams", b"{}")) is None
    assert service_of(HttpRequest("GET", "/", "", {}, b"")) is None
    presigned = HttpRequest("GET", "/", "Action=GetCallerIdentity&X-Amz-Credential=t%2F20260301%2Feu-west-1%2Fsts%2Faws4_request", {}, b"")  # fmt: skip
    found = service_of(presigned)
    assert found is not None
    assert (found[0].name, found[1], presigned.region) == ("sts", QUERY, "eu-west-1")


def test_the_table_of_services_says_what_botocores_models_say():
    for service in SERVICES:
        model = SESSION.get_service_model(service.name)
        assert service.scope == model.signing_name, service
        if JSON in service.protocols:
            assert service.prefix == model.metadata["targetPrefix"], service
        assert set(model.metadata["protocols"]) <= set(service.protocols), service


def _least(service: str, name: str) -> dict[str, Any]:
    return {
        "SetAlarmState": {"AlarmName": "a", "StateValue": "OK", "StateReason": "r"},
        "DescribeEndpoint": {"EndpointName": "llm"},
        "Invoke": {"FunctionName": "f"},
        "PutMetricData": DATA,
        "GetMetricData": {"MetricDataQueries": [], "StartTime": WHEN, "EndTime": WHEN},
        "DescribeModel": {"ModelName": "m"},
        "GetSchedule": {"Name": "a"},
        "DeleteSchedule": {"Name": "a"},
        "ReceiveMessage": {"QueueUrl": "https://q"},
    }.get(name, {})
