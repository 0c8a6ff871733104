"""Cut off at any call, a request made again ends as if nothing had happened: nothing twice, nothing lost, nothing left."""

from __future__ import annotations

import json
from typing import Any

import pytest

from quickstep.control.chores import drain_alarm_writes
from quickstep.control.refusals import ConcurrentUpdateException, ControlRefusal, ObjectNotFoundException
from quickstep.gateways.registry import Registry
from quickstep.gateways.registry_control import ControlRegistry
from quickstep.model.registration import Chore
from simulator.errors import ServiceError
from tests.functions.control_stage import STEPS, TRACKING, component, control_stage

CHAT = component("chat")
REGISTER = ("RegisterScalableTarget", {**CHAT, "MinCapacity": 0, "MaxCapacity": 4, "Tags": {"a": "b"}})
RAISED = ("RegisterScalableTarget", {**CHAT, "MinCapacity": 1, "QuickstepOptions": {"Paused": True}})
TRACK = ("PutScalingPolicy", {**CHAT, "PolicyName": "busy", **TRACKING})
ONE_WAY = (
    "PutScalingPolicy",
    {
        **CHAT,
        "PolicyName": "busy",
        "TargetTrackingScalingPolicyConfiguration": {
            **TRACKING["TargetTrackingScalingPolicyConfiguration"],
            "TargetValue": 8.0,
            "DisableScaleIn": True,
        },
    },
)
STEP = ("PutScalingPolicy", {**CHAT, "PolicyName": "steps", **STEPS})
NIGHT = {"ScheduledActionName": "night", "Schedule": "cron(0 22 * * ? *)", "ScalableTargetAction": {"MinCapacity": 0}}
SCHEDULE = ("PutScheduledAction", {**CHAT, **NIGHT})
UNSCHEDULE = ("DeleteScheduledAction", {**CHAT, "ScheduledActionName": "night"})
DELETE = ("DeleteScalingPolicy", {**CHAT, "PolicyName": "busy"})
DEREGISTER = ("DeregisterScalableTarget", CHAT)
SCENES = {
    "register": ((), REGISTER),
    "raise the minimum and pause": ((REGISTER,), RAISED),
    "put a tracking policy": ((REGISTER,), TRACK),
    "change a tracking policy": ((REGISTER, TRACK), ONE_WAY),
    "put a step policy": ((REGISTER,), STEP),
    "put a scheduled action": ((REGISTER, RAISED), SCHEDULE),
    "delete a scheduled action": ((REGISTER, RAISED, SCHEDULE), UNSCHEDULE),
    "delete a policy": ((REGISTER, TRACK), DELETE),
    "deregister": ((REGISTER, TRACK, STEP, SCHEDULE), DEREGISTER),
}
GONE = {"DeleteScheduledAction", "DeleteScalingPolicy", "DeregisterScalableTarget"}


class Killed(BaseException):
    """The process is gone at that call."""


class Killer:
    """Ends the process when the n-th write has been carried out: its answer never arrives.

    That is every moment there is: between two writes nothing outside the process changes.
    """

    def __init__(self, at: int | None) -> None:
        self.at, self.writes = at, 0

    def __call__(self, call, proceed):
        answer = proceed()
        if not call.operation.startswith(("Get", "Describe", "List", "Query", "BatchGet")):
            self.writes += 1
            if self.writes == self.at:
                raise Killed(f"{call.service} {call.operation}")
        return answer


@pytest.fixture(scope="module")
def stage():
    with control_stage() as stage:
        yield stage


def ask(stage, request: tuple[str, dict]) -> None:
    operation, params = request
    stage.call(operation, **params)


def settle(stage) -> None:
    """What Reconcile does in the minutes after."""
    for _ in range(2):
        stage.account.clock.run_until(stage.account.clock.now_s + 61)
        drain_alarm_writes(ControlRegistry(stage.settings.table_name), Registry(stage.settings.table_name))


def state(stage) -> dict[str, Any]:
    """Everything that is there because of the API, without what only says when."""
    volatile = {"BUDGET", "HOLD", "RECONCILE", "TEMPLATE"}
    items = {}
    for key, item in stage.items().items():
        if (
            key[0] in volatile
            or key[0].startswith("ACTIVITY#")
            or key[1] in ("LEASE", "LOOP", "STATE")
            or "main" in str(key)
        ):
            continue
        document = json.loads(item["doc"]["S"])
        for name in ("created_s", "paused_until_s", "serving"):
            document.pop(name, None)
        items[key] = document
    alarms = dict(stage.alarms())
    tags = stage.tags("arn:aws:sagemaker:eu-west-1:111122223333:inference-component/chat")
    return {"items": items, "alarms": alarms, "schedules": stage.schedules(), "tags": tags}


def perform(stage, name: str, at: int | None) -> tuple[dict[str, Any], int]:
    """Play a scene, cut off after write `at`, and made again; what is there afterwards, and how many writes it took."""
    before, request = SCENES[name]
    stage.clear()
    for one in before:
        ask(stage, one)
    stage.account.interceptors.append(killer := Killer(at))
    try:
        ask(stage, request)
        stage.account.interceptors.remove(killer)
    except Killed:
        stage.account.interceptors.remove(killer)
        again(stage, request)
    settle(stage)
    return state(stage), killer.writes


def again(stage, request: tuple[str, dict]) -> None:
    """As a person would: what is gone already is as good as deleted, and whoever is busy is asked again in a minute."""
    try:
        ask(stage, request)
    except ObjectNotFoundException:
        assert request[0] in GONE
    except ConcurrentUpdateException:
        stage.account.clock.run_until(stage.account.clock.now_s + 61)
        ask(stage, request)


@pytest.mark.parametrize("name", SCENES)
def test_a_request_that_is_cut_off_anywhere_and_made_again_ends_the_same(stage, name):
    # Nothing but the API at work: looks would change states and times.
    stage.account.lambdas.throttle = lambda function: True
    want, writes = perform(stage, name, None)
    assert writes > 3
    for at in range(1, writes + 1):
        assert perform(stage, name, at)[0] == want, f"cut off after write {at} of {writes}"
    stage.account.lambdas.throttle = None


# -- refusals of AWS -------------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh():
    with control_stage() as stage:
        yield stage


def refuse(stage, operation: str, error: ServiceError) -> None:
    def interceptor(call, proceed):
        if call.operation == operation:
            raise error
        return proceed()

    stage.account.interceptors[:] = [interceptor]


DENIED = ServiceError("AccessDeniedException", "User is not authorized to perform: it", 400)
REFUSALS = [
    # request, AWS operation that is refused, how, what the client is told
    (REGISTER, "DescribeInferenceComponent", ServiceError("ThrottlingException", "Rate exceeded", 400), "InternalServiceException"),
    (REGISTER, "DescribeInferenceComponent", ServiceError("InternalFailure", "?", 500), "InternalServiceException"),
    (REGISTER, "AddTags", DENIED, "InternalServiceException"),
    (REGISTER, "GetItem", DENIED, "InternalServiceException"),
    (STEP, "DescribeAlarms", ServiceError("AccessDenied", "User is not authorized to perform: it", 403), "FailedResourceAccessException"),
    (SCHEDULE, "CreateSchedule", ServiceError("ValidationException", "Invalid Schedule Expression", 400), "ValidationException"),
    (SCHEDULE, "CreateSchedule", DENIED, "InternalServiceException"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "operation", "error", "code"), REFUSALS)
def test_what_aws_refuses_is_told_in_the_words_of_the_model_and_succeeds_afterwards(
    fresh, request_, operation, error, code
):
    if request_ is not REGISTER:
        ask(fresh, REGISTER)
    refuse(fresh, operation, error)
    with pytest.raises(ControlRefusal) as refused:
        ask(fresh, request_)
    assert refused.value.code == code and str(refused.value)
    fresh.account.interceptors.clear()
    ask(fresh, request_)


def test_without_the_right_to_ask_application_auto_scaling_a_target_is_registered_all_the_same(fresh):
    refuse(fresh, "DescribeScalableTargets", DENIED)
    ask(fresh, REGISTER)


def test_an_alarm_that_cloudwatch_never_takes_fails_its_policy_and_leaves_what_was_before(fresh):
    ask(fresh, REGISTER)
    broken = {
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": 1.0,
            "CustomizedMetricSpecification": {
                "Metrics": [
                    {"Id": "m", "MetricStat": {"Metric": {"MetricName": "M", "Namespace": "N"}, "Stat": "Sum"}, "ReturnData": False},
                    {"Id": "e", "Expression": "m +", "ReturnData": True},
                ]
            },
        },
    }  # fmt: skip

    def as_aws_does(call, proceed):
        if call.operation == "PutMetricAlarm" and "m +" in str(call.params):
            raise ServiceError("ValidationError", "Error in expression 'e': Syntax error", 400)
        return proceed()

    fresh.account.interceptors.append(as_aws_does)
    before = state(fresh)
    code, said = fresh.refused("PutScalingPolicy", **CHAT, PolicyName="busy", **broken)
    assert code == "ValidationException" and "CloudWatch does not take its alarm" in said
    assert state(fresh) == before
    ask(fresh, TRACK)
    before = state(fresh)
    assert fresh.refused("PutScalingPolicy", **CHAT, PolicyName="busy", **broken)[0] == "ValidationException"
    assert state(fresh) == before


def test_a_target_whose_component_is_deleted_can_still_be_deregistered(fresh):
    ask(fresh, REGISTER)
    ask(fresh, TRACK)
    fresh.account.call("sagemaker", "DeleteInferenceComponent", {"InferenceComponentName": "chat"})
    fresh.account.run_for(300)
    ask(fresh, DEREGISTER)
    assert fresh.alarms() == {}
    assert not [key for key in fresh.items() if "chat" in str(key) and not key[0].startswith("ACTIVITY#")]


def test_a_chore_that_is_asked_for_anew_while_it_is_being_done_is_done_again(fresh):
    records = ControlRegistry(fresh.settings.table_name)
    first = records.queue_chore(Chore("put_alarm", "quickstep--a", {"AlarmName": "quickstep--a"}, 1.0))
    assert records.claim_chore(first, now_s=1.0, ttl_s=60.0)
    assert not records.claim_chore(first, now_s=2.0, ttl_s=60.0), "two do it at once"
    second = records.queue_chore(Chore("delete_alarm", "quickstep--a", {}, 3.0))
    assert not records.claim_chore(second, now_s=4.0, ttl_s=60.0), "the older one is still being done and may come last"
    records.finish_chore(first)
    assert records.queued_chores(limit=9) == (second,)
    assert records.claim_chore(second, now_s=5.0, ttl_s=60.0)
    assert not records.claim_chore(first, now_s=500.0, ttl_s=60.0), "what was overtaken is not done any more"
    records.finish_chore(second)
    assert records.queued_chores(limit=9) == ()
