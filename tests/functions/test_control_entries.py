"""Direct invoke, function URL and boto3 give the same answers and the same refusals."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from functions.control import app
from quickstep import clients
from quickstep import settings as configuration
from quickstep.control.entries import BODY_CHARACTERS
from tests.functions.control_stage import STEPS, TRACKING, component, control_stage

CHAT = component("chat")
CONTEXT = SimpleNamespace(aws_request_id="request-1", get_remaining_time_in_millis=lambda: 60_000)
URL = "https://abcdefghijklmnopqrstuvwxyz234567.lambda-url.eu-west-1.on.aws/"


@pytest.fixture(scope="module")
def shared():
    with control_stage() as stage:
        yield stage


@pytest.fixture
def stage(shared, monkeypatch):
    for name, value in shared.account.stack["ControlFunction"].properties["Environment"]["Variables"].items():
        monkeypatch.setenv(name, str(value))
    configuration.forget()
    yield shared
    configuration.forget()
    shared.clear()


def http(operation: str, body: Any, *, encoded: bool = False, **change: Any) -> dict:
    """A request to the function URL as Lambda hands it over (payload format 2.0)."""
    text = body if isinstance(body, str) else json.dumps(body)
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "headers": {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": f"AnyScaleFrontendService.{operation}",
        },
        "requestContext": {
            "accountId": "111122223333",
            "authorizer": {"iam": {"accountId": "111122223333", "userArn": "arn:aws:iam::111122223333:user/ops"}},
            "http": {
                "method": "POST",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "aws-cli",
            },
        },
        "body": base64.b64encode(text.encode()).decode() if encoded else text,
        "isBase64Encoded": encoded,
    }
    return event | change


def direct(operation: str, params: dict) -> dict:
    return app.handler({"operation": operation, "parameters": params}, CONTEXT)


def by_url(operation: str, params: dict) -> dict:
    answer = app.handler(http(operation, params), CONTEXT)
    return json.loads(answer["body"])


REQUESTS = [
    ("RegisterScalableTarget", {**CHAT, "MinCapacity": 1, "MaxCapacity": 4, "Tags": {"a": "b"}}),
    ("PutScalingPolicy", {**CHAT, "PolicyName": "busy", **TRACKING}),
    ("PutScalingPolicy", {**CHAT, "PolicyName": "steps", **STEPS}),
    (
        "PutScheduledAction",
        {**CHAT, "ScheduledActionName": "a", "Schedule": "rate(1 day)", "ScalableTargetAction": {"MinCapacity": 1}},
    ),
    ("DescribeScalableTargets", {"ServiceNamespace": "sagemaker"}),
    ("DescribeScalingPolicies", {"ServiceNamespace": "sagemaker", "MaxResults": 1}),
    ("DescribeScheduledActions", {"ServiceNamespace": "sagemaker"}),
    ("DescribeScalingActivities", {"ServiceNamespace": "sagemaker", "IncludeNotScaledActivities": True}),
    ("RegisterScalableTarget", {**CHAT, "MinCapacity": 9}),
    ("RegisterScalableTarget", {**CHAT, "MinCapacity": "1"}),
    ("PutScalingPolicy", {**CHAT, "PolicyName": "busy", **STEPS}),
    ("DescribeScalableTargets", {"ServiceNamespace": "sagemaker", "NextToken": "x"}),
    ("DeleteScalingPolicy", {**CHAT, "PolicyName": "nobody"}),
    (
        "TagResource",
        {"ResourceARN": f"arn:aws:application-autoscaling:eu-west-1:1:scalable-target/{'0' * 36}", "Tags": {}},
    ),
    ("DeleteEverything", {}),
]


def test_every_way_in_gives_the_same_answers_and_refusals(stage):
    for operation, params in REQUESTS:
        answer = direct(operation, params)
        assert by_url(operation, params) == answer, operation


def test_a_direct_invoke_may_be_spelled_as_the_aws_cli_spells_it(stage):
    for operation, params in REQUESTS[:-1]:
        answer = direct(operation, params)
        kebab = "".join(f"-{c.lower()}" if c.isupper() else c for c in operation).lstrip("-")
        for spelled in (kebab, kebab.replace("-", "_")):
            assert app.handler({"Operation": spelled, "Parameters": params}, CONTEXT) == answer, spelled


def test_a_refusal_over_http_is_aws_json_1_1(stage):
    answer = app.handler(http("DeregisterScalableTarget", CHAT), CONTEXT)
    assert answer["statusCode"] == 400
    assert answer["headers"] == {
        "content-type": "application/x-amz-json-1.1",
        "x-amzn-errortype": "ObjectNotFoundException",
        "x-amzn-requestid": "request-1",
    }
    body = json.loads(answer["body"])
    assert body["__type"] == "ObjectNotFoundException" and "inference-component/chat" in body["message"]


def test_a_body_in_base64_is_the_same_body(stage):
    params = {"ServiceNamespace": "sagemaker"}
    assert app.handler(http("DescribeScalableTargets", params, encoded=True), CONTEXT) == app.handler(
        http("DescribeScalableTargets", params), CONTEXT
    )


ODD = [
    # event, status, error, words of the message
    (http("DescribeScalableTargets", "{"), 400, "SerializationException", "the body is not JSON"),
    (http("DescribeScalableTargets", "[]"), 400, "SerializationException", "must be a JSON object, not list"),
    (http("DescribeScalableTargets", "[" * 100_000), 400, "SerializationException", "the body is not JSON"),
    (http("DescribeScalableTargets", "?", isBase64Encoded=True), 400, "SerializationException", "the body is not JSON"),
    (http("", {}), 400, "UnknownOperationException", "AnyScaleFrontendService.<operation>"),
    (http("DescribeScalableTargets", {}, headers={}), 400, "UnknownOperationException", "X-Amz-Target is ''"),
    (http("Nothing", {}), 400, "UnknownOperationException", "no operation 'Nothing'"),
    (
        http("DescribeScalableTargets", {}, requestContext={"http": {"method": "POST"}}),
        403,
        "AccessDeniedException",
        "AuthType AWS_IAM",
    ),
    (
        http(
            "DescribeScalableTargets",
            {},
            requestContext={"http": {"method": "GET"}, "authorizer": {"iam": {"accountId": "1"}}},
        ),
        400,
        "UnknownOperationException",
        "the method is GET",
    ),
]


@pytest.mark.parametrize(("event", "status", "code", "said"), ODD)
def test_a_request_that_is_none_is_answered_and_not_raised(stage, event, status, code, said):
    answer = app.handler(event, CONTEXT)
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["__type"], answer["headers"]["x-amzn-errortype"]) == (status, code, code)
    assert said in body["message"]


@pytest.mark.parametrize("encoded", [False, True])
def test_a_body_that_is_too_big_is_refused_before_it_is_read(stage, encoded):
    padding = " " * (BODY_CHARACTERS - 2)
    params = {"ServiceNamespace": "sagemaker"}
    if not encoded:
        assert (
            app.handler(http("DescribeScalableTargets", json.dumps(params).ljust(BODY_CHARACTERS)), CONTEXT)[
                "statusCode"
            ]
            == 200
        )
    # What is too big is no JSON either: the refusal must come before anybody tries.
    answer = app.handler(http("DescribeScalableTargets", f"?{padding}??", isBase64Encoded=encoded), CONTEXT)
    assert answer["statusCode"] == 400
    assert (
        f"has {BODY_CHARACTERS + 1} characters, {BODY_CHARACTERS} are the most" in json.loads(answer["body"])["message"]
    )


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({}, "ValidationException"),
        ({"operation": 7}, "ValidationException"),
        ({"operation": "DescribeScalableTargets", "parameters": []}, "SerializationException"),
        ({"operation": "Nothing"}, "UnknownOperationException"),
    ],
)
def test_a_direct_invoke_that_is_none_is_answered_too(stage, event, code):
    assert app.handler(event, CONTEXT)["__type"] == code


def test_a_stack_that_is_not_deployed_properly_says_so_instead_of_failing(stage, monkeypatch):
    monkeypatch.delenv("TABLE_NAME")
    configuration.forget()
    answer = direct("DescribeScalableTargets", {"ServiceNamespace": "sagemaker"})
    assert answer["__type"] == "InternalServiceException" and "TABLE_NAME" in answer["message"]
    assert app.handler(http("DescribeScalableTargets", {"ServiceNamespace": "sagemaker"}), CONTEXT)["statusCode"] == 500


# -- clients -----------------------------------------------------------------------------------------------------------


def the_url(request: Any, **_: Any) -> AWSResponse:
    """Stand in for the function URL: what arrives there goes to the handler, as Lambda would hand it over."""
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
    }
    event = http("", request.body.decode() if isinstance(request.body, bytes) else request.body, headers=headers)
    answer = app.handler(event, CONTEXT)
    raw = SimpleNamespace(stream=lambda *_, **__: iter([answer["body"].encode()]))
    the_url.seen.append(request)
    return AWSResponse(request.url, answer["statusCode"], answer["headers"], raw)


the_url.seen = []


@pytest.fixture
def client(stage):
    """The client of `quickstep.clients.control`, made outside the account's own wire."""
    made = clients.control(url=URL, session=boto3.Session("AKIAEXAMPLE", "secret", region_name="us-east-1"))
    # The emulated account would answer as Application Auto Scaling before anything is sent.
    for event, handler in list(_account_handlers()):
        made.meta.events.unregister(event, handler)
    made.meta.events.register_first("before-send.application-auto-scaling.*", the_url)
    the_url.seen.clear()
    return made


def _account_handlers():
    from simulator import wire

    return [(one[0], one[1]) for one in wire._HANDLERS]


def test_boto3_drives_a_whole_life_over_the_url_signed_for_lambda(client, stage):
    target = client.register_scalable_target(**CHAT, MinCapacity=1, MaxCapacity=4)
    answer = client.put_scaling_policy(**CHAT, PolicyName="busy", **TRACKING)
    assert len(answer["Alarms"]) == 2
    pages = client.get_paginator("describe_scaling_policies").paginate(
        ServiceNamespace="sagemaker", PaginationConfig={"PageSize": 1}
    )
    assert [one["PolicyName"] for page in pages for one in page["ScalingPolicies"]] == ["busy"]
    (found,) = client.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert found["ScalableTargetARN"] == target["ScalableTargetARN"]
    assert found["CreationTime"].timestamp() == pytest.approx(stage.account.clock.now_s, abs=0.001)
    with pytest.raises(client.exceptions.ObjectNotFoundException, match="policy name: nobody"):
        client.delete_scaling_policy(**CHAT, PolicyName="nobody")
    with pytest.raises(client.exceptions.ValidationException, match="Maximum capacity cannot be less"):
        client.register_scalable_target(**CHAT, MaxCapacity=0)
    client.deregister_scalable_target(**CHAT)
    assert stage.alarms() == {}
    request = the_url.seen[0]
    assert request.url == URL
    authorization = request.headers["Authorization"]
    authorization = authorization.decode() if isinstance(authorization, bytes) else authorization
    # The region is the URL's, whatever the session's; the service is the one that checks the signature.
    assert "/eu-west-1/lambda/aws4_request" in authorization and "AKIAEXAMPLE" in authorization


def test_the_client_takes_and_shows_quicksteps_own_members(client, stage):
    client.register_scalable_target(**CHAT, MinCapacity=1, MaxCapacity=4, QuickstepOptions={"Priority": 3})
    client.put_scaling_policy(**CHAT, PolicyName="size", QuickstepOptions={"DemandSizing": {"TargetPerCopy": 4.0}})
    (found,) = client.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert found["QuickstepOptions"] == {"Priority": 3}
    (policy,) = client.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert policy["QuickstepOptions"]["DemandSizing"] == {"TargetPerCopy": 4.0}


def test_the_client_by_name_invokes_the_function_of_the_stack(stage):
    name = stage.account.stack["ControlFunction"].name
    made = clients.control(function_name=name, region="eu-west-1")
    for event, handler in _account_handlers():
        made.meta.events.unregister(event, handler)
    arn = made.register_scalable_target(**CHAT, MinCapacity=1, MaxCapacity=4)["ScalableTargetARN"]
    assert made.list_tags_for_resource(ResourceARN=arn)["Tags"] == {}
    with pytest.raises(ClientError) as refused:
        made.register_scalable_target(**CHAT, MinCapacity=9)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert stage.account.lambdas.invocations[name] == 3


@pytest.mark.parametrize("given", [{}, {"url": URL, "function_name": "f"}])
def test_a_client_is_made_for_one_way_in(given):
    with pytest.raises(ValueError, match="exactly one"):
        clients.control(**given)
