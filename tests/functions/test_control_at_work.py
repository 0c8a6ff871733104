"""What the API sets up at work in the deployed stack: as its own functions, under their own roles, on the clock."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from quickstep.control.chores import BURST
from quickstep.errors import InvalidEvent, LeaseHeld
from quickstep.gateways.registry import Registry
from quickstep.gateways.registry_control import ControlRegistry
from quickstep.model.targets import TargetTrackingPolicy
from quickstep.usecases.apply_schedule import apply_schedule
from quickstep.usecases.registration import ensure_default_target
from simulator.aws.sagemaker_scenario import ComponentSpec, EndpointSpec, VariantSpec
from simulator.clock import EPOCH_S
from simulator.errors import ServiceError
from tests.functions.control_stage import STEPS, TRACKING, component, control_stage, output_shape

CHAT, SUMMARY, MAIN = component("chat"), component("summary"), component("main")


@pytest.fixture
def stage():
    with control_stage() as stage:
        yield stage
        assert [json.loads(one.body) for one in stage.account.dead_letters] == [], "an event was refused"
        assert stage.account.lost == []


def invoke(stage, operation: str, **params: Any) -> dict:
    """The operation as the deployed function carries it out, under its own role; it must succeed."""
    outcome = stage.account.invoke("ControlFunction", {"operation": operation, "parameters": params})
    assert outcome.error is None, outcome.error
    assert "__type" not in outcome.payload, outcome.payload
    output_shape(operation)
    return outcome.payload


def troubles(stage) -> list[str]:
    """Warnings and errors in the logs of the functions."""
    return [one.text for one in stage.account.logs if one.fields and one.fields.get("level") in ("ERROR", "WARNING")]


def activities(stage, target=CHAT, **more) -> list[dict]:
    rid = target["ResourceId"]
    return stage.call("DescribeScalingActivities", ServiceNamespace="sagemaker", ResourceId=rid, **more)[
        "ScalingActivities"
    ]


def local_time(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%S}"


def publish(stage, values: dict[str, float], *, resolution_s: int = 60) -> None:
    data = [
        {"MetricName": name, "Value": value, "StorageResolution": 1 if resolution_s < 60 else 60}
        for name, value in values.items()
    ]
    stage.account.call("cloudwatch", "PutMetricData", {"Namespace": "Own", "MetricData": data})


# -- registering -------------------------------------------------------------------------------------------------------


def test_registering_pulls_the_count_into_the_range_at_once_and_through_a_look(stage):
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=3, MaxCapacity=5)
    stage.account.run_for(15)
    assert stage.copies("chat") == 3
    stage.account.run_for(400)
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=2)
    stage.account.run_for(15)
    assert stage.copies("chat") == 2
    writers = {
        function
        for function, _, operation in stage.account.calls
        if operation == "UpdateInferenceComponentRuntimeConfig"
    }
    assert writers and "ControlFunction" not in writers
    assert troubles(stage) == []


def test_a_suspended_direction_is_kept_from_scaling_while_the_target_stays_registered(stage):
    invoke(
        stage, "RegisterScalableTarget", **CHAT, MinCapacity=3, MaxCapacity=5,
        SuspendedState={"DynamicScalingOutSuspended": True},
    )  # fmt: skip
    stage.account.run_for(130)
    assert stage.copies("chat") == 1
    (held, *_) = activities(stage, IncludeNotScaledActivities=True)
    assert (held["NotScaledReasons"][0]["Code"], held["NotScaledReasons"][0]["MinCapacity"]) == ("Suspended", 3)
    assert json.loads(held["Details"])["desired"] == 1
    assert activities(stage) == []
    invoke(stage, "RegisterScalableTarget", **CHAT, SuspendedState={"DynamicScalingOutSuspended": False})
    stage.account.run_for(15)
    assert stage.copies("chat") == 3
    assert [one["Description"] for one in activities(stage)] == ["Setting desired copies to 3."]


def test_a_pinned_target_goes_to_its_pin_and_a_paused_one_nowhere(stage):
    invoke(
        stage,
        "RegisterScalableTarget",
        **CHAT,
        MinCapacity=1,
        MaxCapacity=5,
        QuickstepOptions={"Pinned": True, "PinnedCapacity": 4},
    )
    stage.account.run_for(15)
    assert stage.copies("chat") == 4
    stage.account.run_for(400)
    invoke(
        stage,
        "RegisterScalableTarget",
        **CHAT,
        MaxCapacity=4,
        QuickstepOptions={"Paused": True, "Pinned": True, "PinnedCapacity": 1},
    )
    stage.account.run_for(60)
    assert stage.copies("chat") == 4


@pytest.mark.parametrize("kind", ["tracking", "steps"])
def test_a_policy_scales_in_again_and_again_while_its_alarm_stays_low(stage, kind):
    """The second time no alarm changes: the loop decides, and the state that removes copies decides again."""
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=4, MaxCapacity=6)
    stage.account.run_for(300)
    assert stage.copies("chat") == 4
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=1)
    if kind == "tracking":
        policy = {**TRACKING, "QuickstepOptions": {"LowAlarmEvaluationPeriods": 6}}
    else:
        configuration = {
            **STEPS["StepScalingPolicyConfiguration"],
            "StepAdjustments": [{"MetricIntervalUpperBound": 0, "ScalingAdjustment": -1}],
        }
        alarm = {"Threshold": 1.0, "ComparisonOperator": "LessThanThreshold", "EvaluationPeriods": 6}
        policy = {
            "PolicyType": "StepScaling",
            "StepScalingPolicyConfiguration": configuration,
            "QuickstepOptions": {"AlarmSpecification": alarm},
        }
    invoke(stage, "PutScalingPolicy", **CHAT, PolicyName="low", **policy)
    stage.account.run_for(1500)
    assert stage.copies("chat") == 1
    told = [one["Description"] for one in activities(stage)]
    assert told.count("Setting desired copies to 1.") == 1


# -- scheduled actions ---------------------------------------------------------------------------------------------------


def test_an_at_action_fires_once_changes_the_range_and_is_gone(stage):
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5)
    due_s = EPOCH_S + 150
    invoke(
        stage, "PutScheduledAction", **CHAT, ScheduledActionName="event", Schedule=f"at({local_time(due_s)})",
        ScalableTargetAction={"MinCapacity": 3},
    )  # fmt: skip
    stage.account.run_until(due_s - 5)
    assert stage.copies("chat") == 1
    stage.account.run_until(due_s + 20)
    assert stage.copies("chat") == 3
    assert stage.schedules() == []
    assert stage.call("DescribeScheduledActions", ServiceNamespace="sagemaker") == {"ScheduledActions": []}
    told = next(one for one in activities(stage) if one["Cause"].startswith("scheduled"))
    assert told["Cause"] == "scheduled action name event was triggered"
    assert told["Description"] == "Setting min capacity to 3 and max capacity to 5"
    assert told["StatusCode"] == "Successful"


def test_a_cron_action_fires_at_its_local_time_day_after_day(stage):
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5)
    # 2026-01-01T00:00Z is 01:00 in Berlin.
    invoke(
        stage, "PutScheduledAction", **CHAT, ScheduledActionName="day", Schedule="cron(5 1 * * ? *)", Timezone="Europe/Berlin",
        ScalableTargetAction={"MinCapacity": 2},
    )  # fmt: skip
    stage.account.run_until(EPOCH_S + 290)
    assert stage.copies("chat") == 1
    stage.account.run_until(EPOCH_S + 320)
    assert stage.copies("chat") == 2
    assert len(stage.schedules()) == 1


def test_scheduled_scaling_that_is_suspended_changes_nothing_and_says_so(stage):
    invoke(
        stage, "RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5,
        SuspendedState={"ScheduledScalingSuspended": True},
    )  # fmt: skip
    invoke(
        stage, "PutScheduledAction", **CHAT, ScheduledActionName="a", Schedule="rate(2 minutes)",
        ScalableTargetAction={"MinCapacity": 3},
    )  # fmt: skip
    stage.account.run_for(140)
    assert stage.copies("chat") == 1
    told = next(
        one for one in activities(stage, IncludeNotScaledActivities=True) if one["Cause"].startswith("scheduled")
    )
    assert (told["StatusCode"], told["NotScaledReasons"][0]["Code"]) == ("Unfulfilled", "Suspended")


def test_an_action_that_would_leave_no_range_fails_and_says_why(stage):
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=2)
    invoke(
        stage, "PutScheduledAction", **CHAT, ScheduledActionName="a", Schedule="rate(2 minutes)",
        ScalableTargetAction={"MinCapacity": 3},
    )  # fmt: skip
    stage.account.run_for(140)
    told = next(
        one for one in activities(stage, IncludeNotScaledActivities=True) if one["Cause"].startswith("scheduled")
    )
    assert told["StatusCode"] == "Failed" and "MinCapacity 3 is above MaxCapacity 2" in told["StatusMessage"]
    (found,) = invoke(stage, "DescribeScalableTargets", ServiceNamespace="sagemaker", ResourceIds=[CHAT["ResourceId"]])[
        "ScalableTargets"
    ]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 2)


def test_an_action_that_finds_the_target_being_changed_is_applied_a_minute_later(stage):
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5)
    due_s = EPOCH_S + 60
    invoke(
        stage, "PutScheduledAction", **CHAT, ScheduledActionName="a", Schedule=f"at({local_time(due_s)})",
        ScalableTargetAction={"MinCapacity": 3},
    )  # fmt: skip
    records = ControlRegistry(stage.settings.table_name)
    assert records.hold_target(CHAT["ResourceId"], holder="somebody", now_s=due_s - 30, ttl_s=60)
    stage.account.run_until(due_s + 20)
    assert stage.copies("chat") == 1
    stage.account.run_until(due_s + 90)
    assert stage.copies("chat") == 3


def test_late_repeated_and_foreign_schedule_events_do_no_harm(stage):
    stage.call("RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5)
    for name, low in (("early", 2), ("late", 3)):
        stage.call(
            "PutScheduledAction",
            **CHAT,
            ScheduledActionName=name,
            Schedule="rate(1 day)",
            ScalableTargetAction={"MinCapacity": low},
        )
    records, registry = ControlRegistry(stage.settings.table_name), Registry(stage.settings.table_name)

    def fire(name: Any, due_s: float, **change: Any) -> str:
        event = {
            "v": 1,
            "resource_id": CHAT["ResourceId"],
            "scheduled_action": name,
            "scheduled_time": local_time(due_s) + "Z",
        }
        return apply_schedule(event | change, holder="h", records=records, registry=registry)["outcome"]

    def low() -> int:
        return stage.call("DescribeScalableTargets", ServiceNamespace="sagemaker")["ScalableTargets"][0]["MinCapacity"]

    assert fire("late", EPOCH_S + 120) == "applied" and low() == 3
    assert fire("early", EPOCH_S + 60) == "ignored" and low() == 3
    assert fire("late", EPOCH_S + 120) == "applied" and low() == 3
    assert fire("gone", EPOCH_S + 180) == "ignored"
    assert fire("late", EPOCH_S + 180, resource_id="inference-component/nobody") == "ignored"
    for wrong in ({"v": 2}, {"resource_id": None}, {"scheduled_action": 7}, {"scheduled_time": "noon"}):
        with pytest.raises(InvalidEvent):
            fire("late", EPOCH_S + 240, **wrong)
    records.hold_target(CHAT["ResourceId"], holder="somebody", now_s=EPOCH_S, ttl_s=60)
    with pytest.raises(LeaseHeld):
        fire("late", EPOCH_S + 240)


# -- policies at work ----------------------------------------------------------------------------------------------------

MATH = {
    "Metrics": [
        {
            "Id": "waiting",
            "MetricStat": {"Metric": {"MetricName": "Waiting", "Namespace": "Own"}, "Stat": "Maximum"},
            "ReturnData": False,
        },
        {"Id": "half", "Expression": "waiting / 2", "ReturnData": True},
    ]
}
SINGLE = {"MetricName": "Waiting", "Namespace": "Own", "Statistic": "Maximum"}


@pytest.mark.parametrize(
    ("customized", "value", "period_s", "want"),
    [(SINGLE, 12.0, 60, 3), (SINGLE, 12.0, 10, 3), (MATH, 24.0, 10, 3), (MATH, 8.0, 10, 1)],
    ids=["minute", "ten seconds", "metric math", "math below its target"],
)
def test_a_customized_metric_is_tracked_to_its_own_target(stage, customized, value, period_s, want):
    """On one copy the metric is three times its target of 4, and less on more: three copies, although nothing is in flight."""
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5)
    options = {} if period_s == 60 else {"QuickstepOptions": {"Period": period_s}}
    invoke(
        stage, "PutScalingPolicy", **CHAT, PolicyName="queue", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={"TargetValue": 4.0, "CustomizedMetricSpecification": customized}, **options,
    )  # fmt: skip
    for _ in range(420 // period_s):
        serving = stage.account.sagemaker.supply_at(CHAT["ResourceId"], stage.account.clock.now_s).current_copies
        publish(stage, {"Waiting": value / serving}, resolution_s=period_s)
        stage.account.run_for(period_s)
    assert stage.copies("chat") == want
    assert troubles(stage) == []


def test_the_alarm_of_a_metric_that_is_not_there_never_reads_another_one(stage):
    """Nothing is published under that name; the concurrency (0 in flight) must not be taken for it."""
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5)
    invoke(stage, "RegisterScalableTarget", **CHAT, QuickstepOptions={"Pinned": True, "PinnedCapacity": 3})
    stage.account.run_for(300)
    invoke(
        stage, "PutScalingPolicy", **CHAT, PolicyName="queue", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={"TargetValue": 4.0, "CustomizedMetricSpecification": SINGLE},
        QuickstepOptions={"LowAlarmEvaluationPeriods": 2},
    )  # fmt: skip
    invoke(stage, "RegisterScalableTarget", **CHAT, QuickstepOptions={"Pinned": False})
    stage.account.run_for(1200)
    assert stage.copies("chat") == 3


PATIENT = {**STEPS, "StepScalingPolicyConfiguration": {**STEPS["StepScalingPolicyConfiguration"], "Cooldown": 300}}


def users_alarm(name: str, **more: Any) -> dict:
    return {
        "AlarmName": name, "Namespace": "Own", "MetricName": "Waiting", "Statistic": "Maximum", "Period": 10,
        "EvaluationPeriods": 1, "Threshold": 5.0, "ComparisonOperator": "GreaterThanThreshold", **more,
    }  # fmt: skip


@pytest.mark.parametrize("way", ["action", "named", "tag", "specified"])
def test_a_step_policy_is_triggered_by_the_alarm_that_is_its_own_however_that_is_said(stage, way):
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5)
    owner = stage.account.call
    options: dict[str, Any] = {}
    if way == "named":
        owner("cloudwatch", "PutMetricAlarm", users_alarm("mine"))
        options = {"BindAlarms": ["mine"]}
    if way == "specified":
        specification = {
            name: users_alarm("")[name]
            for name in ("Namespace", "MetricName", "Statistic", "Period", "Threshold", "ComparisonOperator")
        }
        options = {"AlarmSpecification": specification}
    arn = invoke(
        stage,
        "PutScalingPolicy",
        **CHAT,
        PolicyName="steps",
        **PATIENT,
        **({"QuickstepOptions": options} if options else {}),
    )["PolicyARN"]
    if way == "action":
        # As AWS's own examples do it: the alarm is made afterwards, with the policy's ARN as its action.
        owner("cloudwatch", "PutMetricAlarm", users_alarm("mine", AlarmActions=[arn]))
    if way == "tag":
        tags = [{"Key": "quickstep:policy", "Value": "inference-component/chat/steps"}]
        owner("cloudwatch", "PutMetricAlarm", users_alarm("quickstep--mine", Tags=tags))
    for _ in range(15):
        publish(stage, {"Waiting": 9.0}, resolution_s=10)
        stage.account.run_for(10)
    assert stage.copies("chat") == 2
    (found,) = stage.call("DescribeScalingPolicies", ServiceNamespace="sagemaker", ResourceId=CHAT["ResourceId"])[
        "ScalingPolicies"
    ]
    assert len(found["Alarms"]) == 1
    answered = [json.loads(one["Details"]) for one in activities(stage)]
    details = [step["detail"] for decision in answered for step in decision["steps"] if step["stage"] == "policies"]
    assert any("metric 9, threshold 5, breach 4" in one for one in details)
    assert troubles(stage) == []
    stage.call("DeregisterScalableTarget", **CHAT)
    # The user's alarm is the user's: it stays.
    assert (
        list(stage.alarms())
        == {"action": ["mine"], "named": ["mine"], "tag": ["quickstep--mine"], "specified": []}[way]
    )


def test_aws_zero_scaling_example_binds_its_alarm_as_the_one_that_wakes(stage):
    """AWS's notebook: a step policy +1 on NoCapacityInvocationFailures, the alarm made afterwards with the policy's ARN."""
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=2)
    arn = invoke(stage, "PutScalingPolicy", **CHAT, PolicyName="wake", **STEPS)["PolicyARN"]
    stage.account.call("cloudwatch", "PutMetricAlarm", {
        "AlarmName": "ic-step-scaling-alarm", "AlarmActions": [arn], "Namespace": "AWS/SageMaker",
        "MetricName": "NoCapacityInvocationFailures", "Statistic": "Maximum", "EvaluationPeriods": 1, "DatapointsToAlarm": 1,
        "Threshold": 1.0, "ComparisonOperator": "GreaterThanOrEqualToThreshold", "TreatMissingData": "missing",
        "Dimensions": [{"Name": "InferenceComponentName", "Value": "chat"}], "Period": 30,
    })  # fmt: skip
    stage.account.run_for(70)
    (target,) = [
        one
        for one in Registry(stage.settings.table_name).read_endpoint("llm").targets.values()
        if one.target_id.component == "chat"
    ]
    assert target.wake_alarm == "ic-step-scaling-alarm"


def test_an_alarm_that_speaks_for_another_target_cannot_be_bound_a_second_time(stage):
    stage.account.call("cloudwatch", "PutMetricAlarm", users_alarm("mine"))
    for target in (CHAT, SUMMARY):
        invoke(stage, "RegisterScalableTarget", **target, MinCapacity=1, MaxCapacity=2)
    bound = {"QuickstepOptions": {"BindAlarms": ["mine"]}}
    invoke(stage, "PutScalingPolicy", **CHAT, PolicyName="steps", **STEPS, **bound)
    code, said = stage.refused("PutScalingPolicy", **SUMMARY, PolicyName="steps", **STEPS, **bound)
    assert code == "ValidationException" and "alarm mine is bound to scalable target inference-component/chat" in said


# -- alarm writes ----------------------------------------------------------------------------------------------------------


def test_alarm_writes_keep_to_one_a_second_and_the_rest_is_drained_minute_by_minute(stage):
    written: list[float] = []

    def watch(call, proceed):
        if call.operation == "PutMetricAlarm":
            written.append(call.at_s)
        return proceed()

    stage.account.interceptors.append(watch)
    stage.call("RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5)
    for n in range(35):
        customized = {**SINGLE, "MetricName": f"Waiting{n}"}
        answer = stage.call(
            "PutScalingPolicy", **CHAT, PolicyName=f"p{n}", PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={"TargetValue": 4.0, "CustomizedMetricSpecification": customized},
        )  # fmt: skip
        assert len(answer["Alarms"]) == 2
    assert len(stage.alarms()) == BURST < 70
    stage.account.run_for(62)
    assert BURST < len(stage.alarms()) < 70
    stage.account.run_for(180)
    assert len(stage.alarms()) == 70
    for at_s in written:
        within = [one for one in written if at_s <= one <= at_s + 60]
        assert len(within) <= BURST + 60
    assert Counter(key[0] for key in stage.items())["CHORES"] == 0


def test_a_throttled_alarm_write_is_kept_and_done_later(stage):
    refuse = [True]

    def throttle(call, proceed):
        if call.operation == "PutMetricAlarm" and refuse[0]:
            raise ServiceError("Throttling", "Rate exceeded", 400)
        return proceed()

    stage.account.interceptors.append(throttle)
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5)
    invoke(stage, "PutScalingPolicy", **CHAT, PolicyName="busy", **TRACKING)
    assert stage.alarms() == {}
    refuse[0] = False
    stage.account.run_for(130)
    assert len(stage.alarms()) == 2


def test_the_last_write_of_an_alarm_wins_whatever_is_still_queued(stage):
    stage.account.interceptors.append(block := Blocking())
    invoke(stage, "RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5)
    invoke(stage, "PutScalingPolicy", **CHAT, PolicyName="busy", **TRACKING)
    invoke(stage, "DeleteScalingPolicy", **CHAT, PolicyName="busy")
    block.on = False
    stage.account.run_for(130)
    assert stage.alarms() == {}


class Blocking:
    """Refuses alarm writes for a while."""

    on = True

    def __call__(self, call, proceed):
        if call.operation in ("PutMetricAlarm", "DeleteAlarms") and self.on:
            raise ServiceError("Throttling", "Rate exceeded", 400)
        return proceed()


# -- the template's own target ---------------------------------------------------------------------------------------------


def test_the_templates_target_is_seen_and_extended_but_not_taken_away_through_the_api(stage):
    stage.account.run_for(70)
    (found,) = invoke(stage, "DescribeScalableTargets", ServiceNamespace="sagemaker")["ScalableTargets"]
    assert found["ResourceId"] == MAIN["ResourceId"]
    names = [
        one["PolicyName"]
        for one in invoke(stage, "DescribeScalingPolicies", ServiceNamespace="sagemaker")["ScalingPolicies"]
    ]
    assert names == ["default-demand", "default-steps-out"]
    for operation, params in (
        ("DeregisterScalableTarget", {}),
        ("DeleteScalingPolicy", {"PolicyName": "default-demand"}),
        ("PutScalingPolicy", {"PolicyName": "default-steps-out", **STEPS}),
    ):
        code, said = stage.refused(operation, **MAIN, **params)
        assert code == "ValidationException" and "belongs to the parameters of stack quickstep" in said
    invoke(stage, "PutScalingPolicy", **MAIN, PolicyName="busy", **TRACKING)
    invoke(stage, "RegisterScalableTarget", **MAIN, MinCapacity=2)
    stage.account.run_for(130)  # Reconcile has registered the parameters twice more
    core = ensure_default_target(Registry(stage.settings.table_name), stage.settings)
    assert core.min_capacity == 2 and any(isinstance(one, TargetTrackingPolicy) for one in core.policies)
    assert stage.copies("main") == 2


def test_a_deployment_with_other_parameters_keeps_what_the_api_did_and_another_target_leaves_nothing_behind(stage):
    stage.account.run_for(70)
    invoke(stage, "PutScalingPolicy", **MAIN, PolicyName="busy", **TRACKING)
    invoke(stage, "RegisterScalableTarget", **MAIN, MinCapacity=2)
    registry = Registry(stage.settings.table_name)
    default = replace(stage.settings.default, max_capacity=9)
    changed = ensure_default_target(registry, replace(stage.settings, default=default))
    assert (changed.min_capacity, changed.max_capacity) == (2, 9)
    assert [one.name for one in changed.policies] == ["default-steps-out", "default-demand", "busy"]
    other = replace(default, inference_component_name="chat")
    ensure_default_target(registry, replace(stage.settings, default=other))
    (found,) = stage.call("DescribeScalableTargets", ServiceNamespace="sagemaker")["ScalableTargets"]
    assert found["ResourceId"] == CHAT["ResourceId"]
    assert stage.alarms() == {}
    assert not [key for key in stage.items() if "main" in str(key) and not key[0].startswith("ACTIVITY#")]


# -- forecasts -------------------------------------------------------------------------------------------------------------


def load_of(hour: int) -> float:
    return 60.0 if hour % 24 in range(8, 20) else 6.0


def forecast_of(stage, specification: dict, **configuration: Any) -> dict:
    stage.call("RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=8)
    stage.call(
        "PutScalingPolicy", **CHAT, PolicyName="ahead", PolicyType="PredictiveScaling",
        PredictiveScalingPolicyConfiguration={"MetricSpecifications": [specification], **configuration},
    )  # fmt: skip
    now_s = stage.account.clock.now_s
    return stage.call(
        "GetPredictiveScalingForecast", **CHAT, PolicyName="ahead", StartTime=now_s, EndTime=now_s + 30 * 86_400 - 1
    )


def pair(name: str) -> dict:
    return {"TargetValue": 5.0, "PredefinedMetricPairSpecification": {"PredefinedMetricType": name}}


def test_without_history_the_forecast_has_its_documented_shape_and_no_points(stage):
    found = forecast_of(stage, pair("SageMakerInferenceComponentInvocationsPerCopy"))
    assert found["LoadForecast"] == [
        {"Timestamps": [], "Values": [], "MetricSpecification": pair("SageMakerInferenceComponentInvocationsPerCopy")}
    ]
    assert found["CapacityForecast"] == {"Timestamps": [], "Values": []}


@pytest.mark.parametrize(
    "name",
    [
        "SageMakerInferenceComponentInvocationsPerCopy",
        "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution",
    ],
)
def test_three_days_of_history_are_forecast_for_two_more(stage, name):
    """Twelve busy hours a day at 60, the others at 6 (per minute, or in flight), two copies served: 12 and 2 are needed."""
    dimensions = {"InferenceComponentName": "chat"}
    for minute in range(3 * 24 * 60):
        at_s, load = EPOCH_S - 3 * 86_400 + minute * 60, load_of(minute // 60)
        per_copy = load / 2
        for metric, value in (
            ("Invocations", load),
            ("InvocationsPerCopy", per_copy),
            ("ConcurrentRequestsPerCopy", per_copy),
        ):
            summary = {"minimum": value, "maximum": value, "total": value, "samples": 1.0}
            stage.account.cloudwatch.publish("AWS/SageMaker", metric, dimensions, at_s, period_s=60, **summary)
    stage.account.run_for(60)
    found = forecast_of(stage, pair(name))
    (load,) = found["LoadForecast"]
    hours = [int(at_s // 3600) for at_s in load["Timestamps"]]
    assert len(hours) == 47 and hours[0] == int(EPOCH_S // 3600) + 1
    scale = 60.0 if "Invocations" in name else 1.0
    assert load["Values"] == pytest.approx([scale * load_of(hour) for hour in hours])
    want = [8.0 if load_of(hour) == 60 else 2.0 for hour in hours]  # 12 are needed, 8 is the maximum
    assert found["CapacityForecast"] == {"Timestamps": load["Timestamps"], "Values": want}
    raised = forecast_of(stage, pair(name), MaxCapacityBreachBehavior="IncreaseMaxCapacity", MaxCapacityBuffer=10)
    assert set(raised["CapacityForecast"]["Values"]) == {12.0, 2.0}


def test_a_customized_load_is_turned_into_copies_by_what_the_hours_before_needed(stage):
    """A copy at the scaling metric's 1 carries a load of 30 (600 at 5 on 4 copies): 1200 at a target of 5 need 8."""

    def metric(name: str) -> dict:
        stat = {"Metric": {"MetricName": name, "Namespace": "Own"}, "Stat": "Average"}
        return {"MetricDataQueries": [{"Id": "m", "MetricStat": stat}]}

    for hour in range(72):
        for name, value in (
            ("Load", 600.0 if hour % 2 else 1200.0),
            ("Scaling", 5.0),
            ("Copies", 4.0 if hour % 2 else 8.0),
        ):
            summary = {"minimum": value, "maximum": value, "total": value, "samples": 1.0}
            stage.account.cloudwatch.publish("Own", name, {}, EPOCH_S - (72 - hour) * 3600, period_s=60, **summary)
    stage.account.run_for(60)
    found = forecast_of(
        stage,
        {
            "TargetValue": 5.0,
            "CustomizedLoadMetricSpecification": metric("Load"),
            "CustomizedScalingMetricSpecification": metric("Scaling"),
            "CustomizedCapacityMetricSpecification": metric("Copies"),
        },
    )
    assert set(found["CapacityForecast"]["Values"]) == {4.0, 8.0}


def test_a_history_that_cannot_be_read_is_said_in_the_decision_and_keeps_nobody_waiting(stage):
    stage.call("RegisterScalableTarget", **CHAT, MinCapacity=2, MaxCapacity=8)
    own = {"MetricName": "Load", "Namespace": "Own"}
    queries = [
        {"Id": "m", "MetricStat": {"Metric": own, "Stat": "Sum"}, "ReturnData": False},
        {"Id": "e", "Expression": "NOSUCH(m)", "ReturnData": True},
    ]
    scaling = [{"Id": "m", "MetricStat": {"Metric": own, "Stat": "Sum"}}]
    specification = {
        "TargetValue": 5.0,
        "CustomizedLoadMetricSpecification": {"MetricDataQueries": queries},
        "CustomizedScalingMetricSpecification": {"MetricDataQueries": scaling},
    }
    invoke(
        stage, "PutScalingPolicy", **CHAT, PolicyName="ahead", PolicyType="PredictiveScaling",
        PredictiveScalingPolicyConfiguration={"Mode": "ForecastAndScale", "MetricSpecifications": [specification]},
    )  # fmt: skip
    stage.account.run_for(300)
    decisions = [one.fields["decision"] for one in stage.account.logs if one.fields and "decision" in one.fields]
    mine = [one for one in decisions if one["target"] == CHAT["ResourceId"] and "unread" in one]
    unread = [text for one in mine for text in one["unread"]]
    assert unread and all(text.startswith("metric history of policy ahead: ") for text in unread)
    step = next(one for one in mine[-1]["steps"] if one["stage"] == "forecast")
    assert (step["reason"], step["detail"]) == (
        "ForecastSilent",
        "ahead: silent: no forecast yet; its metric needs 24 known hours",
    )
    assert stage.copies("chat") == 2  # the minimum, all the same


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (0, 0, "StartTime must be before EndTime"),
        (0, 31 * 86_400, "at most 30 days"),
        (-400 * 86_400, -399 * 86_400, "a year"),
    ],
)
def test_a_range_that_is_none_is_refused(stage, start, end, said):
    code, text = stage.refused(
        "GetPredictiveScalingForecast", **CHAT, PolicyName="p", StartTime=EPOCH_S + start, EndTime=EPOCH_S + end
    )
    assert code == "ValidationException" and said in text


# -- many targets ----------------------------------------------------------------------------------------------------------


def test_a_look_at_one_target_makes_the_same_calls_whether_it_is_alone_or_one_of_many(stage):
    others = 60

    def calls_of_a_look() -> Counter:
        before = Counter(stage.account.calls)
        event = {
            "source": "quickstep", "detail-type": "Quickstep Wake Requested", "version": "0", "id": "1", "account": "111122223333",
            "region": "eu-west-1", "time": local_time(stage.account.clock.now_s) + "Z", "resources": [],
            "detail": {"resourceId": "inference-component/chat"},
        }  # fmt: skip
        outcome = stage.account.invoke("OnAlarmFunction", event)
        assert outcome.error is None, outcome.error
        return Counter(
            {
                key[1:]: count
                for key, count in (Counter(stage.account.calls) - before).items()
                if key[0] == "OnAlarmFunction"
            }
        )

    stage.call("RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=2)
    stage.call("PutScalingPolicy", **CHAT, PolicyName="busy", **TRACKING)
    stage.account.run_for(3000)  # until the spare instances are gone and no loop runs
    alone = calls_of_a_look()
    for n in range(others):
        variant = VariantSpec("ml.g5.2xlarge", 1, name="AllTraffic")
        spec = ComponentSpec(f"c{n:03d}", 1, accelerators=1, memory_mb=1024, variant="AllTraffic")
        stage.account.sagemaker.scenario_endpoint(EndpointSpec(f"e{n:03d}", (variant,), (spec,)))
        target = component(f"c{n:03d}")
        stage.call("RegisterScalableTarget", **target, MinCapacity=1, MaxCapacity=2)
        stage.call("PutScalingPolicy", **target, PolicyName="busy", **TRACKING)
    stage.account.run_for(30)
    assert calls_of_a_look() == alone and alone[("dynamodb", "Query")] >= 1
    found, token = [], {}
    while True:
        page = stage.call("DescribeScalableTargets", ServiceNamespace="sagemaker", **token)
        found += [one["ResourceId"] for one in page["ScalableTargets"]]
        if "NextToken" not in page:
            break
        assert len(page["ScalableTargets"]) == 50
        token = {"NextToken": page["NextToken"]}
    assert found == sorted(
        {f"inference-component/c{n:03d}" for n in range(others)} | {CHAT["ResourceId"], MAIN["ResourceId"]}
    )
    activities_, token = [], {}
    while True:
        page = stage.call(
            "DescribeScalingActivities",
            ServiceNamespace="sagemaker",
            IncludeNotScaledActivities=True,
            MaxResults=7,
            **token,
        )
        activities_ += [(one["ResourceId"], one["ActivityId"]) for one in page["ScalingActivities"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert len(activities_) == len(set(activities_))
    whole = [
        (one["ResourceId"], one["ActivityId"])
        for rid in found
        for one in activities(stage, {"ResourceId": rid}, IncludeNotScaledActivities=True)
    ]
    assert activities_ == whole
