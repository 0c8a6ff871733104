"""CloudFormation drives targets and policies: create, update, replacement, delete, roll-back; always one answer."""

from __future__ import annotations

import io
import json
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from functions.control import app
from quickstep import settings as configuration
from quickstep.control.context import ControlContext
from quickstep.control.custom_resources import POLICY_TYPE, TARGET_TYPE, answer_custom_resource
from quickstep.errors import Rejected
from quickstep.gateways import cloudformation
from tests.functions.control_stage import STEPS, TRACKING, component, control_stage

STACK = "arn:aws:cloudformation:eu-west-1:111122223333:stack/models/4f6c"
URL = "https://cloudformation-custom-resource-response-euwest1.s3-eu-west-1.amazonaws.com/answer?X-Amz-Signature=x"
CHAT, SUMMARY = component("chat"), component("summary")
TARGET = {
    "ServiceToken": "arn:aws:lambda:eu-west-1:111122223333:function:control",
    "ResourceId": "inference-component/chat",
    "ScalableDimension": CHAT["ScalableDimension"],
    "ServiceNamespace": "sagemaker",
    "MinCapacity": "1",
    "MaxCapacity": "4",
}
TARGET_ID = "inference-component/chat|sagemaker:inference-component:DesiredCopyCount|sagemaker"
POLICY = {
    "ServiceToken": TARGET["ServiceToken"],
    "PolicyName": "busy",
    "PolicyType": "TargetTrackingScaling",
    "ScalingTargetId": TARGET_ID,
    "TargetTrackingScalingPolicyConfiguration": {
        "TargetValue": "5",
        "ScaleInCooldown": "60",
        "DisableScaleIn": "false",
        "PredefinedMetricSpecification": TRACKING["TargetTrackingScalingPolicyConfiguration"][
            "PredefinedMetricSpecification"
        ],
    },
}


@pytest.fixture(scope="module")
def shared():
    with control_stage() as stage:
        yield stage


@pytest.fixture
def stage(shared):
    yield shared
    shared.clear()


class Formation:
    """CloudFormation as far as one resource sees it: requests go in, answers come to the address that was given."""

    def __init__(self, stage, kind: str = TARGET_TYPE, logical_id: str = "Target", stack: str = STACK) -> None:
        self.stage, self.kind, self.logical_id, self.stack = stage, kind, logical_id, stack
        self.answers: list[dict[str, Any]] = []

    def ask(self, request: str, properties: dict, *, physical_id: str | None = None, old: dict | None = None) -> dict:
        event = {
            "RequestType": request,
            "ResponseURL": URL,
            "StackId": self.stack,
            "RequestId": f"request-{len(self.answers)}",
            "ResourceType": self.kind,
            "LogicalResourceId": self.logical_id,
            "ResourceProperties": properties,
            **({"PhysicalResourceId": physical_id} if physical_id else {}),
            **({"OldResourceProperties": old} if old else {}),
        }

        def surroundings(owner: str) -> ControlContext:
            return ControlContext(self.stage.settings, "test", owner)

        returned = answer_custom_resource(
            event, surroundings, lambda url, answer: self.answers.append({"url": url} | answer)
        )
        (got,) = self.answers[-1:]
        assert got == {"url": URL} | returned
        assert got["RequestId"] == event["RequestId"] and got["StackId"] == self.stack
        assert got["LogicalResourceId"] == self.logical_id and got["PhysicalResourceId"]
        assert len(json.dumps(returned)) < 4096
        return returned


def described(stage, target=CHAT) -> list[dict]:
    rids = [target["ResourceId"]]
    return stage.call("DescribeScalableTargets", ServiceNamespace="sagemaker", ResourceIds=rids)["ScalableTargets"]


def policies(stage) -> list[dict]:
    return stage.call("DescribeScalingPolicies", ServiceNamespace="sagemaker")["ScalingPolicies"]


def test_a_target_with_a_policy_lives_from_create_to_delete_and_leaves_nothing(stage):
    before = {key for key in stage.items() if key[0] != "BUDGET"}
    target, policy = Formation(stage), Formation(stage, POLICY_TYPE, "Policy")
    made = target.ask("Create", TARGET)
    assert (made["Status"], made["PhysicalResourceId"]) == ("SUCCESS", TARGET_ID)
    assert made["Data"]["ScalableTargetARN"] == described(stage)[0]["ScalableTargetARN"]
    made = policy.ask("Create", POLICY)
    assert made["Status"] == "SUCCESS" and made["PhysicalResourceId"] == policies(stage)[0]["PolicyARN"]
    assert made["Data"]["Arn"] == made["PhysicalResourceId"]
    assert made["Data"]["AlarmNames"].split(",") == list(stage.alarms())
    configuration_ = policies(stage)[0]["TargetTrackingScalingPolicyConfiguration"]
    assert (configuration_["TargetValue"], configuration_["ScaleInCooldown"], configuration_["DisableScaleIn"]) == (
        5.0,
        60,
        False,
    )
    assert policy.ask("Delete", POLICY, physical_id=made["PhysicalResourceId"])["Status"] == "SUCCESS"
    assert stage.alarms() == {}
    assert target.ask("Delete", TARGET, physical_id=TARGET_ID)["Status"] == "SUCCESS"
    assert {key for key in stage.items() if key[0] != "BUDGET"} == before


def test_a_delete_touches_no_count(stage):
    target = Formation(stage)
    target.ask("Create", {**TARGET, "MinCapacity": "3"})
    stage.account.run_for(400)
    assert stage.copies("chat") == 3
    writes = len([one for one in stage.account.sagemaker.calls if one.operation.startswith("Update")])
    target.ask("Delete", TARGET, physical_id=TARGET_ID)
    stage.account.run_for(120)
    assert stage.copies("chat") == 3
    assert len([one for one in stage.account.sagemaker.calls if one.operation.startswith("Update")]) == writes


def test_the_same_request_twice_does_the_same_once(stage):
    target, policy = Formation(stage), Formation(stage, POLICY_TYPE, "Policy")
    one = target.ask("Create", TARGET)
    assert target.ask("Create", TARGET) | {"RequestId": ""} == one | {"RequestId": ""}
    one = policy.ask("Create", POLICY)
    assert policy.ask("Create", POLICY) | {"RequestId": ""} == one | {"RequestId": ""}
    assert len(policies(stage)) == 1 and len(stage.alarms()) == 2
    for formation, physical_id in ((policy, one["PhysicalResourceId"]), (target, TARGET_ID)):
        for _ in range(2):
            assert formation.ask("Delete", {}, physical_id=physical_id)["Status"] == "SUCCESS"


def test_an_update_changes_in_place_and_undoes_what_left_the_template(stage):
    target = Formation(stage)
    old = {**TARGET, "SuspendedState": {"DynamicScalingInSuspended": "true"}, "QuickstepOptions": {"Priority": "4"}}
    target.ask("Create", old)
    (found,) = described(stage)
    assert found["SuspendedState"]["DynamicScalingInSuspended"] is True and found["QuickstepOptions"] == {"Priority": 4}
    new = {**TARGET, "MaxCapacity": "9"}
    assert target.ask("Update", new, physical_id=TARGET_ID, old=old)["PhysicalResourceId"] == TARGET_ID
    (found,) = described(stage)
    assert found["MaxCapacity"] == 9 and set(found["SuspendedState"].values()) == {False}
    assert "QuickstepOptions" not in found


def test_another_resource_id_is_a_replacement_that_the_delete_of_the_old_one_completes(stage):
    target = Formation(stage)
    target.ask("Create", TARGET)
    new = {**TARGET, "ResourceId": "inference-component/summary"}
    answer = target.ask("Update", new, physical_id=TARGET_ID, old=TARGET)
    assert answer["Status"] == "SUCCESS" and answer["PhysicalResourceId"] == TARGET_ID.replace("chat", "summary")
    assert described(stage) and described(stage, SUMMARY)
    target.ask("Delete", TARGET, physical_id=TARGET_ID)
    assert not described(stage) and described(stage, SUMMARY)


def test_another_policy_name_is_a_replacement_with_alarms_of_its_own(stage):
    Formation(stage).ask("Create", TARGET)
    policy = Formation(stage, POLICY_TYPE, "Policy")
    old_id = policy.ask("Create", POLICY)["PhysicalResourceId"]
    # The same metric cannot be tracked twice, so a tracking policy is renamed by changing its metric too.
    refused = policy.ask("Update", {**POLICY, "PolicyName": "busier"}, physical_id=old_id, old=POLICY)
    assert refused["Status"] == "FAILED" and "Only one TargetTrackingScaling policy" in refused["Reason"]
    assert refused["PhysicalResourceId"] == old_id
    steps = {**{k: v for k, v in POLICY.items() if "Configuration" not in k}, **STEPS, "PolicyName": "steps"}
    answer = policy.ask("Update", steps, physical_id=old_id, old=POLICY)
    assert answer["Status"] == "SUCCESS" and answer["PhysicalResourceId"] != old_id
    policy.ask("Delete", POLICY, physical_id=old_id)
    assert [one["PolicyName"] for one in policies(stage)] == ["steps"] and stage.alarms() == {}


def test_a_policys_type_is_changed_in_place_by_its_delete_and_put(stage):
    Formation(stage).ask("Create", TARGET)
    policy = Formation(stage, POLICY_TYPE, "Policy")
    physical_id = policy.ask("Create", POLICY)["PhysicalResourceId"]
    steps = {**{k: v for k, v in POLICY.items() if "Configuration" not in k}, **STEPS}
    assert policy.ask("Update", steps, physical_id=physical_id, old=POLICY)["PhysicalResourceId"] == physical_id
    (found,) = policies(stage)
    assert found["PolicyType"] == "StepScaling" and stage.alarms() == {}


FAILURES = [
    ({**TARGET, "MinCapacity": "five"}, "Value 'five' at 'minCapacity'"),
    ({**TARGET, "MinCapacity": "5"}, "Maximum capacity cannot be less than minimum capacity"),
    ({**TARGET, "ResourceId": "inference-component/nobody"}, "does not exist"),
    ({**TARGET, "Capacity": "5"}, "no such member"),
    ({key: value for key, value in TARGET.items() if key != "ResourceId"}, "Value null at 'resourceId'"),
    ({**TARGET, "ScheduledActions": [{"ScheduledActionName": "a"}]}, "Schedule is missing"),
    ({**TARGET, "ScheduledActions": ["a"]}, "each must have ScheduledActionName and Schedule"),
]


@pytest.mark.parametrize(("properties", "said"), FAILURES)
def test_a_create_that_fails_is_answered_and_its_roll_back_succeeds_and_leaves_nothing(stage, properties, said):
    before = {key for key in stage.items() if key[0] != "BUDGET"}
    target = Formation(stage)
    answer = target.ask("Create", properties)
    assert answer["Status"] == "FAILED" and said in answer["Reason"], answer
    assert target.ask("Delete", properties, physical_id=answer["PhysicalResourceId"])["Status"] == "SUCCESS"
    assert {key for key in stage.items() if key[0] != "BUDGET"} == before


def test_an_update_that_fails_is_rolled_back_by_the_update_to_the_old_properties(stage):
    target = Formation(stage)
    target.ask("Create", TARGET)
    new = {**TARGET, "MinCapacity": "9"}
    answer = target.ask("Update", new, physical_id=TARGET_ID, old=TARGET)
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("FAILED", TARGET_ID)
    assert target.ask("Update", TARGET, physical_id=TARGET_ID, old=new)["Status"] == "SUCCESS"
    (found,) = described(stage)
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 4)


def test_half_a_replacement_that_fails_is_taken_back_since_cloudformation_never_learns_of_it(stage):
    target = Formation(stage)
    target.ask("Create", TARGET)
    past = {"ScheduledActionName": "a", "Schedule": "rate(1 day)", "EndTime": "2020-01-01T00:00:00Z"}
    future = {
        "ScheduledActionName": "b",
        "Schedule": "rate(1 day)",
        "StartTime": "2031-01-01T00:00:00Z",
        "EndTime": "2030-01-01T00:00:00Z",
    }
    action = {"ScalableTargetAction": {"MinCapacity": "1"}}
    new = {**TARGET, "ResourceId": "inference-component/summary", "ScheduledActions": [past | action, future | action]}
    answer = target.ask("Update", new, physical_id=TARGET_ID, old=TARGET)
    assert answer["Status"] == "FAILED" and "StartTime must be before EndTime" in answer["Reason"]
    assert described(stage) and not described(stage, SUMMARY)


def test_two_resources_cannot_own_one_target_and_the_failed_ones_roll_back_does_not_take_it_away(stage):
    first, second = Formation(stage), Formation(stage, stack=STACK.replace("models", "others"))
    first.ask("Create", TARGET)
    answer = second.ask("Create", TARGET)
    assert answer["Status"] == "FAILED" and f"registered by {STACK}/Target already" in answer["Reason"]
    assert second.ask("Delete", TARGET, physical_id=answer["PhysicalResourceId"])["Status"] == "SUCCESS"
    assert described(stage)
    Formation(stage, POLICY_TYPE, "Policy").ask("Create", POLICY)
    answer = Formation(stage, POLICY_TYPE, "Other").ask("Create", POLICY)
    assert answer["Status"] == "FAILED" and "belongs to" in answer["Reason"]
    assert (
        Formation(stage, POLICY_TYPE, "Other").ask("Delete", POLICY, physical_id=answer["PhysicalResourceId"])["Status"]
        == "SUCCESS"
    )
    assert len(policies(stage)) == 1


def test_scheduled_actions_of_a_target_come_and_go_with_the_template(stage):
    target = Formation(stage)
    night = {
        "ScheduledActionName": "night",
        "Schedule": "cron(0 22 * * ? *)",
        "Timezone": "Europe/Berlin",
        "ScalableTargetAction": {"MinCapacity": "1", "MaxCapacity": "2"},
    }
    due = datetime.fromtimestamp(stage.account.clock.now_s + 200, UTC)
    once = {
        "ScheduledActionName": "once",
        "Schedule": f"at({due:%Y-%m-%dT%H:%M:%S})",
        "ScalableTargetAction": {"MaxCapacity": "6"},
    }
    properties = {**TARGET, "ScheduledActions": [night, once]}
    assert target.ask("Create", properties)["Status"] == "SUCCESS"
    stage.call(
        "PutScheduledAction",
        **CHAT,
        ScheduledActionName="by hand",
        Schedule="rate(1 day)",
        ScalableTargetAction={"MinCapacity": 1},
    )
    assert len(stage.schedules()) == 3
    stage.account.run_for(300)
    # The moment of `once` is over: that fails no update.
    changed = {**properties, "MaxCapacity": "8"}
    assert target.ask("Update", changed, physical_id=TARGET_ID, old=properties)["Status"] == "SUCCESS"
    assert target.ask("Update", TARGET, physical_id=TARGET_ID, old=changed)["Status"] == "SUCCESS"
    found = stage.call("DescribeScheduledActions", ServiceNamespace="sagemaker")["ScheduledActions"]
    assert [one["ScheduledActionName"] for one in found] == ["by hand"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"stack": "arn:aws:cloudformation:eu-west-1:444455556666:stack/models/1"},
            "only stacks of account 111122223333",
        ),
        ({"stack": "arn:aws:cloudformation:us-east-1:111122223333:stack/models/1"}, "region eu-west-1"),
        ({"kind": "Custom::QuickstepEverything"}, "it must be Custom::QuickstepScalableTarget or"),
    ],
)
def test_requests_of_others_are_answered_as_failed(stage, change, said):
    answer = Formation(stage, **change).ask("Create", TARGET)
    assert answer["Status"] == "FAILED" and said in answer["Reason"]


def test_a_broken_stack_still_answers(stage, monkeypatch):
    """CloudFormation waits an hour for an answer that does not come: not even missing settings may keep it waiting."""
    sent: list[tuple[str, bytes]] = []

    def urlopen(request, timeout):
        sent.append((request.full_url, request.data))
        return io.BytesIO()

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.delenv("TABLE_NAME", raising=False)
    configuration.forget()
    event = {
        "RequestType": "Create", "ResponseURL": URL, "StackId": STACK, "RequestId": "r", "ResourceType": TARGET_TYPE,
        "LogicalResourceId": "Target", "ResourceProperties": TARGET,
    }  # fmt: skip
    context = SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: 60_000)
    answer = app.handler(event, context)
    assert answer["Status"] == "FAILED" and answer["Reason"].startswith("InvalidSettings: ALARM_PREFIX")
    ((url, body),) = sent
    assert url == URL and json.loads(body) == answer


def test_work_that_hangs_is_answered_before_the_functions_time_is_up(stage):
    sent: list[dict] = []
    answered, released = threading.Event(), threading.Event()

    def respond(url, answer):
        sent.append(dict(answer))
        answered.set()

    def surroundings(owner):
        assert answered.wait(20), "nobody answered while the work hung"
        released.set()
        raise RuntimeError("too late")

    event = {
        "RequestType": "Create", "ResponseURL": URL, "StackId": STACK, "RequestId": "r", "ResourceType": TARGET_TYPE,
        "LogicalResourceId": "Target", "ResourceProperties": TARGET,
    }  # fmt: skip
    returned = answer_custom_resource(event, surroundings, respond, remaining_s=5.05)
    assert released.is_set() and len(sent) == 1
    assert sent[0]["Status"] == "FAILED" and "nearly up" in sent[0]["Reason"] and returned == sent[0]


# -- the answer's way ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://bucket.s3.amazonaws.com/x",
        "https://example.com/x",
        "https://amazonaws.com.example.com/x",
        "https://evilamazonaws.com/x",
        "file:///etc/passwd",
        "",
    ],
)
def test_answers_go_to_aws_only(url):
    with pytest.raises(Rejected, match="not an address of AWS"):
        cloudformation.respond(url, {})


def test_an_answer_that_does_not_arrive_is_sent_again_and_then_given_up(monkeypatch):
    tries = []

    def urlopen(request, timeout):
        tries.append((request.get_method(), request.headers.get("Content-type")))
        if len(tries) < need:
            raise urllib.error.URLError("no route")
        return io.BytesIO()

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    need = 3
    cloudformation.respond(URL, {"Status": "SUCCESS"})
    assert tries == [("PUT", "")] * 3
    need = 99
    with pytest.raises(OSError):
        cloudformation.respond(URL, {"Status": "SUCCESS"})
