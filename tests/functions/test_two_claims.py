"""Two that would scale one component: another stack of Quickstep, or Application Auto Scaling. Detected, refused, told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from quickstep.gateways.registry import Registry
from quickstep.gateways.scaling_api import application_auto_scaling, quickstep_control
from quickstep.gateways.stack import deployed_stack
from quickstep.operate.checkup import checkup
from quickstep.operate.overview import overview, registered
from tests.functions.control_stage import TEMPLATE, component, control_stage

CHAT, MAIN = component("chat"), component("main")
MAIN_ARN = "arn:aws:sagemaker:eu-west-1:111122223333:inference-component/main"
ENDPOINT_ARN = "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/llm"


@pytest.fixture
def stage():
    with control_stage() as stage:
        yield stage


def second_stack(stage, **parameters: str):
    wanted = {"EndpointName": "llm", "InferenceComponentName": "main", **parameters}
    return stage.account.deploy_beside(TEMPLATE, wanted, stack_name="prod")


def invoke(stage, function: str, operation: str, **params) -> dict:
    outcome = stage.account.invoke(function, {"operation": operation, "parameters": params})
    assert outcome.error is None, outcome.error
    return outcome.payload


def history(stage, function: str, target=MAIN) -> list[dict]:
    answer = invoke(
        stage, function, "DescribeScalingActivities", ServiceNamespace="sagemaker", ResourceId=target["ResourceId"],
        IncludeNotScaledActivities=True,
    )  # fmt: skip
    return answer["ScalingActivities"]


def updates(stage) -> set[str | None]:
    return {who for who, _, operation in stage.account.calls if operation == "UpdateInferenceComponentRuntimeConfig"}


def test_a_second_stack_deployed_for_the_same_component_changes_nothing_says_why_and_takes_over_when_it_may(stage):
    stage.account.run_for(65)
    assert stage.tags(MAIN_ARN) == {"quickstep:managed": "quickstep"}
    # It wants three copies at once, and would give itself the right to ask for them by its tag.
    second_stack(stage, MinCapacity="3")
    stage.account.run_for(130)
    assert stage.tags(MAIN_ARN) == stage.tags(ENDPOINT_ARN) == {"quickstep:managed": "quickstep"}
    assert stage.copies("main") == 1
    told = history(stage, "prod/ControlFunction")
    refused = [one for one in told if one["StatusCode"] == "Failed"]
    assert refused and "endpoint llm is managed by Quickstep stack quickstep" in refused[-1]["StatusMessage"]
    assert "two stacks claim it" in refused[-1]["StatusMessage"]
    errors = [line.fields for line in stage.account.logs if line.fields and line.fields.get("level") == "ERROR"]
    assert {one["managed_by"] for one in errors if one["message"] == "another stack manages the target"} == {
        "quickstep"
    }

    found = {(one.subject, one.name): one for one in checkup_of(stage, "prod", "prod/ControlFunction")}
    claim = found[(MAIN["ResourceId"], "tag")]
    assert not claim.is_ok and "managed by quickstep: two stacks claim it" in claim.detail

    for arn in (MAIN_ARN, ENDPOINT_ARN):
        stage.account.call("sagemaker", "DeleteTags", {"ResourceArn": arn, "TagKeys": ["quickstep:managed"]})
    stage.account.run_for(250)
    tags = stage.tags(MAIN_ARN)
    assert (tags["quickstep:managed"], stage.copies("main")) == ("prod", 3)
    assert "1 to 3 copies: " in tags["quickstep:last-change"]


def checkup_of(stage, name: str, control: str):
    stack = deployed_stack(name)
    function = next(one for one in stage.account.stacks if one.name == name)["ControlFunction"].name
    apis = {"aas": application_auto_scaling(), "quickstep": quickstep_control(function)}
    return checkup(stack, **apis, registry=Registry(stack.settings.table_name))


def test_a_target_of_one_stack_is_refused_by_the_api_of_another_and_free_when_it_is_given_up(stage):
    second_stack(stage, InferenceComponentName="search")
    stage.account.run_for(65)
    request = {**CHAT, "MinCapacity": 1, "MaxCapacity": 2}
    assert "ScalableTargetARN" in invoke(stage, "ControlFunction", "RegisterScalableTarget", **request)
    for options in ({}, {"QuickstepOptions": {"Shadow": True}}):
        answer = invoke(stage, "prod/ControlFunction", "RegisterScalableTarget", **request, **options)
        assert answer["__type"] == "ValidationException" and "managed by Quickstep stack quickstep" in answer["message"]


def test_application_auto_scaling_that_comes_after_us_is_not_fought(stage):
    """It registers the component that we scale; from then on we ask for nothing, until it is suspended."""
    stage.account.run_for(65)
    invoke(stage, "ControlFunction", "RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5)
    stage.account.run_for(65)
    aas = {**CHAT, "MinCapacity": 1, "MaxCapacity": 2}
    stage.account.call("application-autoscaling", "RegisterScalableTarget", aas)
    # The schedule of ours that raises the minimum is older than that; the API itself would refuse now.
    answer = invoke(stage, "ControlFunction", "RegisterScalableTarget", **CHAT, MinCapacity=3)
    assert answer["__type"] == "ValidationException" and "suspend it" in answer["message"]
    registry = Registry(stage.settings.table_name)
    target = next(t for t in registry.read_endpoint("llm").targets.values() if t.target_id.component == "chat")
    registry.put_target(replace(target, min_capacity=3))
    registry.hurry("llm", 0.0)
    stage.account.run_for(130)
    assert stage.copies("chat") == 1 and updates(stage) == set()
    reasons = [one["NotScaledReasons"][0]["Code"] for one in history(stage, "ControlFunction", CHAT) if "NotScaledReasons" in one]  # fmt: skip
    assert "ForeignActor" in reasons
    (standing,) = overview(
        registered(quickstep_control(stage.account.stack["ControlFunction"].name), [CHAT["ResourceId"]]),
        aas=application_auto_scaling(), registry=registry, settings=stage.settings,
    )  # fmt: skip
    assert (
        "Application Auto Scaling target inference-component/chat with capacity 1 to 2" in standing.targets[0].attention
    )
    kinds = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
    suspended = {**CHAT, "SuspendedState": dict.fromkeys(kinds, True)}
    stage.account.call("application-autoscaling", "RegisterScalableTarget", suspended)
    stage.account.run_for(400)
    assert stage.copies("chat") == 3
    assert json.loads(history(stage, "ControlFunction", CHAT)[-1]["Details"])["target"] == CHAT["ResourceId"]
