"""boto3 inside the account: answered, validated, refused and retried as by AWS, and never over the network."""

from __future__ import annotations

import json
import os
from pathlib import Path

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.handlers import BUILTIN_HANDLERS

from simulator.account import EmulatedAccount, NoAnswer
from simulator.errors import ServiceError
from simulator.not_emulated import EmulationFailed, NotEmulated
from tests.simulator.sample_app import write_sample


@pytest.fixture
def account(tmp_path: Path):
    made = EmulatedAccount(write_sample(tmp_path), validate_answers=True)
    yield made
    made.close()


def test_every_kind_of_client_answers_from_the_account(account):
    with account.wire:
        made = [
            boto3.client("cloudwatch"),
            boto3.session.Session().client("cloudwatch"),
            botocore.session.get_session().create_client("cloudwatch"),
        ]
        for client in made:
            assert [one["AlarmName"] for one in client.describe_alarms()["MetricAlarms"]] == ["quickstep--chat-high"]
    assert account.calls[(None, "cloudwatch", "DescribeAlarms")] == 3


def test_botocore_s_own_validation_stays_on(account):
    with account.wire:
        client = boto3.client("sagemaker")
        with pytest.raises(ParamValidationError, match="Copies"):
            client.update_inference_component_runtime_config(
                InferenceComponentName="c", DesiredRuntimeConfig={"Copies": 1}
            )
    assert not account.calls


def test_modelled_and_other_errors_are_botocore_s_own(account):
    table = account.stack["StateTable"].name
    with account.wire:
        dynamodb, sagemaker = boto3.client("dynamodb"), boto3.client("sagemaker")
        put = {"TableName": table, "Item": {"pk": {"S": "a"}}, "ConditionExpression": "attribute_not_exists(pk)"}
        dynamodb.put_item(**put)
        with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException) as refused:
            dynamodb.put_item(**put, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        assert refused.value.response["Item"] == {"pk": {"S": "a"}}
        with pytest.raises(ClientError) as refused:
            sagemaker.describe_endpoint(EndpointName="gone")
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_the_high_level_table_works(account):
    with account.wire:
        table = boto3.resource("dynamodb").Table(account.stack["StateTable"].name)
        table.put_item(Item={"pk": "a", "n": 3, "tags": {"x", "y"}})
        assert table.get_item(Key={"pk": "a"})["Item"] == {"pk": "a", "n": 3, "tags": {"x", "y"}}


def test_pagination_works(account):
    for n in range(120):
        account.call(
            "cloudwatch",
            "PutMetricAlarm",
            {
                "AlarmName": f"a{n:03d}", "Namespace": "N", "MetricName": "M", "Statistic": "Sum", "Period": 60,
                "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
            },
        )  # fmt: skip
    with account.wire:
        pages = list(boto3.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNamePrefix="a"))
    assert [len(page["MetricAlarms"]) for page in pages] == [50, 50, 20]


def test_a_function_can_be_invoked_and_its_payload_read(account):
    with account.wire:
        answer = boto3.client("lambda").invoke(FunctionName=account.stack["Reconcile"].name, Payload=json.dumps({}))
        assert json.loads(answer["Payload"].read()) == {"runs": 1}


def test_a_service_or_operation_without_emulation_is_named_and_not_called(account):
    with account.wire:
        for service, call, text in (
            ("ec2", lambda client: client.describe_instances(), "ec2 DescribeInstances"),
            ("cloudwatch", lambda client: client.list_dashboards(), "cloudwatch ListDashboards"),
            ("sagemaker", lambda client: client.list_training_jobs(), "sagemaker ListTrainingJobs"),
        ):
            with pytest.raises(NotEmulated, match=text):
                call(boto3.client(service))


def test_a_client_from_inside_never_reaches_the_network_later(account):
    with account.wire:
        client = boto3.client("sts")
        assert client.get_caller_identity()["Account"] == "111122223333"
    with pytest.raises(NotEmulated, match="not connected any more"):
        client.get_caller_identity()


def test_the_machine_s_own_configuration_is_hidden_and_then_put_back(account, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "a-real-account")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", "http://127.0.0.1:1")
    before, handlers, session = dict(os.environ), list(BUILTIN_HANDLERS), boto3.DEFAULT_SESSION
    with account.wire:
        assert "AWS_PROFILE" not in os.environ and "AWS_ENDPOINT_URL_SAGEMAKER" not in os.environ
        assert os.environ["AWS_REGION"] == "eu-west-1"
        with account.wire:
            boto3.client("sts").get_caller_identity()
    assert (dict(os.environ), list(BUILTIN_HANDLERS), boto3.DEFAULT_SESSION) == (before, handlers, session)


def test_two_accounts_do_not_see_each_other(tmp_path):
    path = write_sample(tmp_path)
    with EmulatedAccount(path) as one:
        table = one.stack["StateTable"].name
        client = boto3.client("dynamodb")
        client.put_item(TableName=table, Item={"pk": {"S": "a"}})
        with EmulatedAccount(path):
            assert "Item" not in client.get_item(TableName=table, Key={"pk": {"S": "a"}})
        assert "Item" in client.get_item(TableName=table, Key={"pk": {"S": "a"}})


def test_parameters_in_parameter_store_go_to_moto_and_stay_in_this_process(account):
    with account.wire:
        client = boto3.client("ssm")
        client.put_parameter(Name="/quickstep/mode", Type="String", Value="act")
        assert client.get_parameter(Name="/quickstep/mode")["Parameter"]["Value"] == "act"
        with pytest.raises(client.exceptions.ParameterNotFound):
            client.get_parameter(Name="/quickstep/none")


THROTTLED = ServiceError("ThrottlingException", "Rate exceeded")


def failing(times: int, problem: Exception):
    """An interceptor that fails the first `times` calls, and the list of the calls it saw."""
    seen = []

    def intercept(call, proceed):
        seen.append(call.operation)
        if len(seen) <= times:
            raise problem
        return proceed()

    return intercept, seen


@pytest.mark.parametrize(
    ("retries", "problem", "attempts"),
    [
        ({"total_max_attempts": 1}, THROTTLED, 1),
        ({"mode": "standard", "total_max_attempts": 3}, THROTTLED, 3),
        ({"mode": "standard"}, THROTTLED, 3),
        ({}, THROTTLED, 3),  # this botocore's default
        ({"mode": "legacy"}, THROTTLED, 5),
        ({"mode": "standard"}, ServiceError("ServiceUnavailable", "busy", 503), 3),
        ({"mode": "standard"}, ServiceError("ValidationException", "no"), 1),
        ({"mode": "standard"}, NoAnswer("reset"), 3),
    ],
)
def test_the_sdk_s_retries_are_made_as_the_client_is_configured(account, retries, problem, attempts):
    intercept, seen = failing(99, problem)
    account.interceptors.append(intercept)
    with account.wire, pytest.raises((ClientError, ConnectionClosedError)):
        boto3.client("sqs", config=Config(retries=retries)).list_queues()
    assert len(seen) == attempts


def test_a_retry_that_succeeds_answers_and_says_how_many_there_were(account):
    account.interceptors.append(failing(2, THROTTLED)[0])
    with account.wire:
        answer = boto3.client("sqs", config=Config(retries={"mode": "standard"})).list_queues()
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2 and len(answer["QueueUrls"]) == 1


@pytest.mark.parametrize(
    ("kind", "error"), [("connect", ConnectTimeoutError), ("read", ReadTimeoutError), ("reset", ConnectionClosedError)]
)
def test_no_answer_is_the_sdk_s_own_error(account, kind, error):
    account.interceptors.append(failing(99, NoAnswer(kind))[0])
    with account.wire, pytest.raises(error):
        boto3.client("sqs", config=Config(retries={"total_max_attempts": 1})).list_queues()


def test_past_the_read_time_out_the_caller_gives_up_although_the_call_was_carried_out(account):
    def slow(call, proceed):
        answer = proceed()
        call.latency_s += 10
        return answer

    table = account.stack["StateTable"].name
    account.interceptors.append(slow)
    config = Config(read_timeout=5, retries={"total_max_attempts": 1})
    with account.wire:
        client = boto3.client("dynamodb", config=config)
        with pytest.raises(ReadTimeoutError):
            client.put_item(TableName=table, Item={"pk": {"S": "a"}})
        account.interceptors.clear()
        assert "Item" in client.get_item(TableName=table, Key={"pk": {"S": "a"}})


def test_an_answer_out_of_shape_is_a_fault_of_the_emulation(account):
    account.interceptors.append(lambda call, proceed: {"QueueUrls": "one"})
    with account.wire, pytest.raises(EmulationFailed, match="answered out of shape"):
        boto3.client("sqs").list_queues()


def test_a_fault_of_the_emulation_is_not_taken_for_aws_s_answer(account):
    account.services["sqs"] = None
    account.services["sns"] = object()
    with account.wire:
        with pytest.raises(NotEmulated, match="has no sqs"):
            boto3.client("sqs").list_queues()
        with pytest.raises(EmulationFailed, match="sns ListTopics"):
            boto3.client("sns").list_topics()
