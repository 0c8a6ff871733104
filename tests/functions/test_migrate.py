"""`quickstep migrate` in the deployed stack: what is found, what becomes of it, and that every way back leads back."""

from __future__ import annotations

import json
from collections import Counter
from copy import deepcopy
from functools import cache
from typing import Any

import pytest

from quickstep.control.context import ControlContext, Limits
from quickstep.gateways.scaling_api import application_auto_scaling, quickstep_control
from quickstep.operate.takeover import Mode, Result, Takeover
from quickstep.operate.takeover_plan import Progress, UnusablePlan, from_document, to_document
from quickstep.operate.takeover_survey import read_all, survey
from tests.functions.control_stage import STEPS, TRACKING, VARIANT, component, control_stage

CHAT, SUMMARY = component("chat"), component("summary")
LIVE = {"DynamicScalingInSuspended": False, "DynamicScalingOutSuspended": False, "ScheduledScalingSuspended": False}
SUSPENDED = dict.fromkeys(LIVE, True)
UPDATES = ("UpdateInferenceComponentRuntimeConfig", "UpdateEndpointWeightsAndCapacities")


class Cut(BaseException):
    """The command is killed here."""


@pytest.fixture(scope="module")
def shared():
    with control_stage() as stage:
        yield stage


@pytest.fixture
def stage(shared):
    yield shared
    aas = shared.account.autoscaling
    aas.policies.clear()
    aas.scheduled_actions.clear()
    aas.tags.clear()
    shared.clear()


def aas(stage, operation: str, **params: Any) -> dict:
    return stage.account.call("application-autoscaling", operation, params)


def scaled_by_aas(stage, target=CHAT, **more: Any) -> None:
    """A target as teams have it: tracking, steps on an alarm, a schedule, a tag."""
    aas(stage, "RegisterScalableTarget", **target, MinCapacity=1, MaxCapacity=4, Tags={"team": "search"}, **more)
    aas(stage, "PutScalingPolicy", **target, PolicyName="track", **TRACKING)
    aas(stage, "PutScalingPolicy", **target, PolicyName="steps", **STEPS)
    arn = next(one["PolicyARN"] for one in stage.account.autoscaling.policies if one["PolicyName"] == "steps")
    alarm(stage, "busy", arn)
    action = {"Schedule": "cron(0 7 * * ? *)", "Timezone": "Europe/Berlin", "ScalableTargetAction": {"MinCapacity": 2}}
    aas(stage, "PutScheduledAction", **target, ScheduledActionName="morning", **action)


def alarm(stage, name: str, action: str) -> None:
    request = {
        "AlarmName": name, "Namespace": "Own", "MetricName": "Waiting", "Statistic": "Maximum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 20.0, "ComparisonOperator": "GreaterThanThreshold", "AlarmActions": [action],
    }  # fmt: skip
    stage.account.call("cloudwatch", "PutMetricAlarm", request)


def planned(stage, *, before=None, limits: Limits | None = None, only=()):
    context = ControlContext(stage.settings, "test", None, limits or Limits())
    return survey(aas=application_auto_scaling(), quickstep=control(stage), context=context, only=only, before=before)


@cache
def control_of(function: str):
    return quickstep_control(function)


def control(stage):
    return control_of(stage.account.stack["ControlFunction"].name)


def takeover(stage, plan, **more: Any) -> Takeover:
    """A takeover whose plan is kept as the command keeps it: as text."""
    made = Takeover(plan, application_auto_scaling(), control(stage), lambda kept: None, stage.account.run_for, **more)

    def keep(kept) -> None:
        made.kept = json.dumps(to_document(kept))

    made.keep = keep
    return made


def run(stage, plan, mode: Mode, **more: Any):
    """(plan afterwards, the outcomes)."""
    made = takeover(stage, plan, **more)
    return made, made.run(mode)


def theirs(stage) -> str:
    """Everything that Application Auto Scaling would describe."""
    service = stage.account.autoscaling
    state = [sorted(service.targets.items()), service.policies, service.scheduled_actions]
    return json.dumps(deepcopy(state), default=str)


def ours(stage):
    return {key: found for key, found in read_all(control(stage), tags=True).items() if "main" not in key[0]}


# -- the plan ------------------------------------------------------------------------------------------------------------


def test_everything_that_aas_has_is_in_quickstep_afterwards_word_for_word(stage):
    scaled_by_aas(stage)
    aas(stage, "RegisterScalableTarget", **VARIANT, MinCapacity=1, MaxCapacity=3, SuspendedState={**LIVE, "DynamicScalingInSuspended": True})  # fmt: skip
    plan = planned(stage)
    assert [(one.resource_id, one.blocked, one.untranslated) for one in plan.targets] == [
        (VARIANT["ResourceId"], None, ()),
        (CHAT["ResourceId"], None, ()),
    ]
    before = read_all(application_auto_scaling())
    run(stage, plan, Mode.SHADOW)
    found = ours(stage)
    assert found.keys() == before.keys()
    for key, there in before.items():
        here = found[key]
        assert here.tags == there.tags
        assert {name: here.target[name] for name in there.target} == there.target
        assert here.target["QuickstepOptions"] == {"Shadow": True}
        assert here.scheduled_actions == there.scheduled_actions
        for one, other in zip(here.policies, there.policies, strict=True):
            assert {name: one[name] for name in other if name != "Alarms"} == {n: v for n, v in other.items() if n != "Alarms"}  # fmt: skip
    bound = next(one for one in found[(CHAT["ResourceId"], CHAT["ScalableDimension"])].policies if one["PolicyName"] == "steps")  # fmt: skip
    assert [one["AlarmName"] for one in bound["Alarms"]] == ["busy"]


def test_a_plan_changes_nothing_and_survives_its_file(stage):
    scaled_by_aas(stage)
    before, items = theirs(stage), stage.items()
    plan = planned(stage)
    assert (theirs(stage), stage.items()) == (before, items)
    assert from_document(json.loads(json.dumps(to_document(plan)))) == plan


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "has no"),
        ({"format": "quickstep migration", "version": 7}, "its version is 7; this command reads version 1"),
        ({"format": "quickstep migration", "version": 1, "stack": "s"}, "a part is missing"),
        (
            {
                "format": "quickstep migration",
                "version": 1,
                "stack": "s",
                "account_id": "1",
                "region": "r",
                "targets": [{}],
            },
            "a part is missing",
        ),
    ],
)
def test_a_file_that_is_no_plan_is_told_apart(document, said):
    with pytest.raises(UnusablePlan, match=said):
        from_document(document)


def unusual(stage, case: str) -> None:
    """One thing in AAS that has no equal here, beside what has."""
    scaled_by_aas(stage)
    if case == "metric":
        metric = {
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantProvisionedConcurrencyUtilization"
            }
        }
        tracking = {"TargetValue": 0.7, **metric}
        aas(stage, "PutScalingPolicy", **CHAT, PolicyName="odd", PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=tracking)  # fmt: skip
    if case == "tag":
        aas(stage, "RegisterScalableTarget", **CHAT, Tags={"aws:cloudformation:stack-name": "x"})
    if case == "past":
        aas(stage, "PutScheduledAction", **CHAT, ScheduledActionName="once", Schedule="at(2020-01-01T00:00:00)", ScalableTargetAction={"MinCapacity": 1})  # fmt: skip
    if case in ("composite", "shared"):
        arn = next(one["PolicyARN"] for one in stage.account.autoscaling.policies if one["PolicyName"] == "steps")
        if case == "composite":
            request = {"AlarmName": "both", "AlarmRule": 'ALARM("busy")', "AlarmActions": [arn]}
            stage.account.call("cloudwatch", "PutCompositeAlarm", request)
            return
        aas(stage, "RegisterScalableTarget", **SUMMARY, MinCapacity=1, MaxCapacity=2)
        aas(stage, "PutScalingPolicy", **SUMMARY, PolicyName="also", **STEPS)
        also = next(one["PolicyARN"] for one in stage.account.autoscaling.policies if one["PolicyName"] == "also")
        alarm(stage, "busy", arn)
        stage.account.cloudwatch.alarms.alarms["busy"].parameters["AlarmActions"].append(also)
    if case == "clash":
        stage.call("RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=2, QuickstepOptions={"Shadow": True})
        other = deepcopy(TRACKING)
        other["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] = 9.0
        stage.call("PutScalingPolicy", **CHAT, PolicyName="track", **other)


@pytest.mark.parametrize(
    ("case", "what", "reason"),
    [
        ("metric", "policy odd (TargetTrackingScaling)", "is no metric of sagemaker:inference-component"),
        ("tag", "tag aws:cloudformation:stack-name", "AWS's own"),
        ("past", "scheduled action once", "lies in the past"),
        ("composite", "alarm both of policy steps", "no plain metric alarm"),
        ("shared", "alarm busy of policy also", "an alarm speaks for one target here"),
        ("clash", "policy track (TargetTrackingScaling)", "a policy of that name in Quickstep"),
    ],
)
def test_what_cannot_be_translated_is_listed_with_its_reason_and_keeps_the_swap_from_happening(
    stage, case, what, reason
):
    unusual(stage, case)
    before = theirs(stage)
    plan = planned(stage)
    found = [(one.what, one.reason) for target in plan.targets for one in target.untranslated]
    assert len(found) == 1 and found[0][0] == what and reason in found[0][1], found
    target = next(one for one in plan.targets if one.untranslated)
    # Nothing is lost: what is not translated is in the plan as it was found.
    assert what.split()[1] in json.dumps(to_document(plan)["targets"])
    made, outcomes = run(stage, plan, Mode.SWAP)
    (refused,) = [one for one in outcomes if one.resource_id == target.resource_id]
    assert refused.result is Result.REFUSED and "--accept-untranslated" in refused.detail
    run(stage, made.plan, Mode.ROLLBACK)
    assert theirs(stage) == before


def test_a_target_that_cannot_be_registered_is_blocked_and_the_others_are_planned(stage):
    scaled_by_aas(stage)
    aas(stage, "RegisterScalableTarget", **component("gone"), MinCapacity=1, MaxCapacity=2)
    aas(stage, "RegisterScalableTarget", **SUMMARY, MinCapacity=1, MaxCapacity=2)
    arn = "arn:aws:sagemaker:eu-west-1:111122223333:inference-component/summary"
    stage.account.call("sagemaker", "AddTags", {"ResourceArn": arn, "Tags": [{"Key": "quickstep:managed", "Value": "prod"}]})  # fmt: skip
    plan = planned(stage)
    blocked = {one.resource_id.split("/")[1]: one.blocked for one in plan.targets}
    assert blocked["chat"] is None
    assert "does not exist" in blocked["gone"] and "managed by Quickstep stack prod" in blocked["summary"]
    _, outcomes = run(stage, plan, Mode.SHADOW)
    assert Counter(one.result for one in outcomes) == {Result.DONE: 1, Result.REFUSED: 2}
    stage.account.call("sagemaker", "DeleteTags", {"ResourceArn": arn, "TagKeys": ["quickstep:managed"]})


def test_more_targets_than_the_limit_allows_are_blocked_by_name_of_the_parameter(stage):
    scaled_by_aas(stage)
    aas(stage, "RegisterScalableTarget", **SUMMARY, MinCapacity=1, MaxCapacity=2)
    # The template's own target is the first of its dimension.
    plan = planned(stage, limits=Limits(targets_per_dimension=len(read_all(control(stage))) + 1))
    assert [one.blocked is None for one in plan.targets] == [True, False]
    assert "ScalableTargetsLimit" in plan.targets[1].blocked


# -- shadow, swap, rollback ----------------------------------------------------------------------------------------------


def test_shadow_records_swap_acts_and_rollback_gives_back_exactly(stage):
    scaled_by_aas(stage)
    before = theirs(stage)
    made, outcomes = run(stage, planned(stage), Mode.SHADOW)
    assert [one.result for one in outcomes] == [Result.DONE]
    # The range says at least two copies after this; a target that is not shadowed would go there at once.
    stage.call("RegisterScalableTarget", **CHAT, MinCapacity=2)
    calls = Counter(stage.account.calls)
    stage.account.run_for(130)
    writes = {key: count for key, count in (stage.account.calls - calls).items() if key[2] in UPDATES}
    assert writes == {} and stage.copies("chat") == 1
    told = stage.call("DescribeScalingActivities", ServiceNamespace="sagemaker", ResourceId=CHAT["ResourceId"], IncludeNotScaledActivities=True)  # fmt: skip
    (shadowed,) = [one for one in told["ScalingActivities"] if one["NotScaledReasons"][0]["Code"] == "Shadow"]
    assert "would set 2, 1 is set" in shadowed["Cause"]
    assert theirs(stage) == before

    made, outcomes = run(stage, made.plan, Mode.SWAP)
    assert [one.result for one in outcomes] == [Result.DONE]
    (row,) = aas(stage, "DescribeScalableTargets", ServiceNamespace="sagemaker")["ScalableTargets"]
    assert row["SuspendedState"] == SUSPENDED
    assert len(stage.account.autoscaling.policies) == 2
    stage.account.run_for(20)
    assert stage.copies("chat") == 2

    made, outcomes = run(stage, made.plan, Mode.ROLLBACK)
    assert [(one.result, made.plan.targets[0].progress) for one in outcomes] == [(Result.DONE, Progress.ROLLED_BACK)]
    assert theirs(stage) == before
    assert ours(stage) == {} and "quickstep:managed" not in stage.tags(arn_of("inference-component/chat"))


def arn_of(what: str) -> str:
    return f"arn:aws:sagemaker:eu-west-1:111122223333:{what}"


def test_each_mode_twice_is_the_same_as_once(stage):
    scaled_by_aas(stage)
    before, plan = theirs(stage), planned(stage)
    for mode in (Mode.SHADOW, Mode.SWAP, Mode.ROLLBACK):
        made, _ = run(stage, plan, mode)
        state = (theirs(stage), ours(stage))
        again, outcomes = run(stage, made.plan, mode)
        assert [one.result for one in outcomes] == [Result.ALREADY]
        assert (theirs(stage), ours(stage), again.plan) == (*state, made.plan)
        plan = made.plan
    assert theirs(stage) == before


@pytest.mark.parametrize("after_the_call", [False, True], ids=["before a call", "after a call"])
def test_a_swap_that_is_cut_off_anywhere_can_be_rolled_back_or_finished_from_its_file(stage, after_the_call):
    scaled_by_aas(stage)
    before, number = theirs(stage), 0
    while True:
        number += 1
        made = takeover(stage, planned(stage))
        made.kept = json.dumps(to_document(made.plan))
        made.aas, made.quickstep = cutting(number, after_the_call, made.aas, made.quickstep)
        try:
            made.run(Mode.SWAP)
        except Cut:
            kept = from_document(json.loads(made.kept))
        else:
            break
        if number % 2:
            finished, outcomes = run(stage, kept, Mode.SWAP)
            assert [one.result for one in outcomes] in ([Result.DONE], [Result.ALREADY])
            assert ours(stage)[chat_key()].target.get("QuickstepOptions", {}).get("Shadow") is None
            kept = finished.plan
        _, outcomes = run(stage, kept, Mode.ROLLBACK)
        assert [one.result for one in outcomes] in ([Result.DONE], [Result.ALREADY])
        assert theirs(stage) == before, f"cut at write {number}"
        assert ours(stage) == {}, f"cut at write {number}"
    assert number == 7, "register, two policies, one schedule, suspend, register: six writes"


def chat_key() -> tuple[str, str]:
    return CHAT["ResourceId"], CHAT["ScalableDimension"]


def cutting(number: int, after_the_call: bool, *apis):
    """The APIs, whose write `number` (counted over all of them) is the last thing that happens."""
    made = [0]

    def cut(api):
        def call(operation, params):
            if operation.startswith(("Describe", "List")):
                return api(operation, params)
            made[0] += 1
            if made[0] == number and not after_the_call:
                raise Cut
            answer = api(operation, params)
            if made[0] == number:
                raise Cut
            return answer

        return call

    return [cut(api) for api in apis]


def test_a_swap_that_quickstep_refuses_resumes_application_auto_scaling_at_once(stage):
    scaled_by_aas(stage)
    before = theirs(stage)
    made, _ = run(stage, planned(stage), Mode.SHADOW)
    tag = {"Key": "quickstep:managed", "Value": "prod"}
    stage.account.call("sagemaker", "AddTags", {"ResourceArn": arn_of("endpoint/llm"), "Tags": [tag]})
    made, (outcome,) = run(stage, made.plan, Mode.SWAP)
    assert outcome.result is Result.FAILED and "managed by Quickstep stack prod" in outcome.detail
    assert theirs(stage) == before and made.plan.targets[0].progress is Progress.SHADOWED
    stage.account.call("sagemaker", "AddTags", {"ResourceArn": arn_of("endpoint/llm"), "Tags": [{**tag, "Value": "quickstep"}]})  # fmt: skip
    run(stage, made.plan, Mode.ROLLBACK)


def test_what_has_changed_since_the_plan_is_not_swapped_and_the_change_is_named(stage):
    scaled_by_aas(stage)
    plan = planned(stage)
    aas(stage, "PutScalingPolicy", **CHAT, PolicyName="late", **STEPS)
    _, (outcome,) = run(stage, plan, Mode.SWAP)
    assert outcome.result is Result.REFUSED and "policy late is new" in outcome.detail
    # A scheduled action that has fired meanwhile is no such change.
    plan = planned(stage)
    aas(stage, "RegisterScalableTarget", **CHAT, MinCapacity=2)
    made, (outcome,) = run(stage, plan, Mode.SWAP)
    assert outcome.result is Result.DONE
    run(stage, made.plan, Mode.ROLLBACK)


def test_a_plan_made_again_keeps_what_was_found_before_the_migration_began(stage):
    scaled_by_aas(stage)
    before = theirs(stage)
    made, _ = run(stage, planned(stage), Mode.SWAP)
    again = planned(stage, before=made.plan)
    assert again.targets == made.plan.targets
    run(stage, again, Mode.ROLLBACK)
    assert theirs(stage) == before


def test_a_target_that_is_in_quickstep_already_stays_there_shadowed_after_a_rollback(stage):
    """The common way in: the stack was deployed for a component that AAS scales."""
    stage.call("RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=2)
    stage.call("PutScalingPolicy", **CHAT, PolicyName="own", QuickstepOptions={"DemandSizing": {"TargetPerCopy": 5.0}})
    scaled_by_aas(stage)
    before = theirs(stage)
    made, _ = run(stage, planned(stage), Mode.SWAP)
    assert [one["PolicyName"] for one in ours(stage)[chat_key()].policies] == ["own", "steps", "track"]
    run(stage, made.plan, Mode.ROLLBACK)
    left = ours(stage)[chat_key()]
    assert [one["PolicyName"] for one in left.policies] == ["own"] and left.scheduled_actions == ()
    assert (left.target["MaxCapacity"], left.target["QuickstepOptions"]) == (2, {"Shadow": True})
    assert theirs(stage) == before
