"""The API's operations against the deployed stack: what they do, what they refuse and in which words."""

from __future__ import annotations

import re

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from quickstep.control.context import Limits
from quickstep.gateways.registry import Registry
from quickstep.model.targets import TargetId
from simulator.clock import EPOCH_S
from tests.functions.control_stage import STEPS, TRACKING, VARIANT, component, control_stage

CHAT, SUMMARY = component("chat"), component("summary")
CHAT_ID = TargetId.of_component("chat")
ORIGINAL = ServiceModel(
    Loader(include_default_search_paths=True).load_service_model("application-autoscaling", "service-2")
)
HIGH_RESOLUTION = TRACKING["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"]


@pytest.fixture(scope="module")
def shared():
    with control_stage() as stage:
        yield stage


@pytest.fixture
def stage(shared):
    yield shared
    shared.clear()


def register(stage, target=CHAT, low: int = 1, high: int = 4, **more) -> dict:
    return stage.call("RegisterScalableTarget", **target, MinCapacity=low, MaxCapacity=high, **more)


def described(stage, target=CHAT) -> dict:
    (found,) = stage.call("DescribeScalableTargets", ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]])[
        "ScalableTargets"
    ]
    return found


def policies(stage, **filters) -> list[dict]:
    return stage.call("DescribeScalingPolicies", ServiceNamespace="sagemaker", **filters)["ScalingPolicies"]


def steps(*rows, **more) -> dict:
    """A StepScaling request of (lower, upper, adjustment) rows."""
    adjustments = [
        {
            **({} if low is None else {"MetricIntervalLowerBound": low}),
            **({} if high is None else {"MetricIntervalUpperBound": high}),
            "ScalingAdjustment": by,
        }
        for low, high, by in rows
    ]
    configuration = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": adjustments, **more}
    return {"PolicyType": "StepScaling", "StepScalingPolicyConfiguration": configuration}


# -- registering -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [CHAT, VARIANT], ids=["component", "variant"])
def test_a_registered_target_is_described_as_it_was_registered(stage, target):
    arn = register(stage, target, 1, 6, RoleARN="arn:aws:iam::111122223333:role/mine", Tags={"team": "search"})
    found = described(stage, target)
    assert found["ScalableTargetARN"] == arn["ScalableTargetARN"]
    assert re.fullmatch(
        r"arn:aws:application-autoscaling:eu-west-1:111122223333:scalable-target/[0-9a-f]{36}", arn["ScalableTargetARN"]
    )
    assert {key: found[key] for key in target} == target
    assert (found["MinCapacity"], found["MaxCapacity"], found["RoleARN"]) == (
        1,
        6,
        "arn:aws:iam::111122223333:role/mine",
    )
    assert found["CreationTime"] == EPOCH_S
    assert set(found["SuspendedState"].values()) == {False}
    assert stage.call("ListTagsForResource", ResourceARN=arn["ScalableTargetARN"]) == {"Tags": {"team": "search"}}
    # Nothing of ours in it: botocore's own description and validator take it.
    answer = {"ScalableTargets": [found]}
    shape = ORIGINAL.operation_model("DescribeScalableTargets").output_shape
    assert not ParamValidator().validate(answer, shape).has_errors()


def test_what_an_update_does_not_give_stays_as_it_was(stage):
    register(stage, SuspendedState={"DynamicScalingInSuspended": True})
    stage.call("RegisterScalableTarget", **CHAT, MaxCapacity=9)
    stage.call("RegisterScalableTarget", **CHAT, SuspendedState={"ScheduledScalingSuspended": True})
    found = described(stage)
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 9)
    assert found["SuspendedState"] == {
        "DynamicScalingInSuspended": True,
        "DynamicScalingOutSuspended": False,
        "ScheduledScalingSuspended": True,
    }


def test_registering_tags_the_component_and_its_endpoint_as_this_stacks(stage):
    register(stage)
    for arn in ("endpoint/llm", "inference-component/chat"):
        tags = stage.tags(f"arn:aws:sagemaker:eu-west-1:111122223333:{arn}")
        assert tags == {"quickstep:managed": "quickstep"}


REGISTRATIONS = [
    # members that differ from a good request, error, words of the message
    ({"MinCapacity": None}, "ValidationException", "MinCapacity is missing; it is required when registering"),
    ({"MaxCapacity": None}, "ValidationException", "MaxCapacity is missing; it is required when registering"),
    ({"MinCapacity": -1}, "ValidationException", "MinCapacity is -1; it must be 0 or more"),
    (
        {"MinCapacity": 5},
        "ValidationException",
        "Maximum capacity cannot be less than minimum capacity: MaxCapacity is 4",
    ),
    ({"ServiceNamespace": "ecs"}, "ValidationException", "ServiceNamespace is 'ecs'"),
    (
        {"ResourceId": "inference-component/nobody"},
        "ValidationException",
        "'inference-component/nobody', which does not exist",
    ),
    ({**VARIANT, "ResourceId": "endpoint/nobody/variant/All"}, "ValidationException", "which does not exist"),
    ({**VARIANT, "ResourceId": "endpoint/single/variant/Blue"}, "ValidationException", "has no variant Blue"),
    ({"Tags": {"aws:mine": "x"}}, "ValidationException", "keys that begin with aws: are reserved"),
    ({"Tags": {f"t{n}": "x" for n in range(51)}}, "LimitExceededException", "Tags has 51 tags; at most 50"),
    (
        {"QuickstepOptions": {"BudgetUsdPerHour": 9.0}},
        "ValidationException",
        "cannot be kept without InstanceUsdPerHour",
    ),
    ({"QuickstepOptions": {"PausedForSeconds": 60}}, "ValidationException", "needs Paused true"),
    ({"QuickstepOptions": {"Pinned": True}}, "ValidationException", "give the count in PinnedCapacity"),
    ({"QuickstepOptions": {"Pinned": True, "PinnedCapacity": 9}}, "ValidationException", "between MinCapacity (1) and"),
]


@pytest.mark.parametrize(("change", "code", "said"), REGISTRATIONS)
def test_a_registration_that_is_none_is_refused_and_leaves_nothing(stage, change, code, said):
    request = {**CHAT, "MinCapacity": 1, "MaxCapacity": 4, **change}
    request = {name: value for name, value in request.items() if value is not None}
    found = stage.refused("RegisterScalableTarget", **request)
    assert found[0] == code and said in found[1], found
    assert [key for key in stage.items() if key[0] != "BUDGET"] == []
    assert stage.alarms() == {}


def test_the_quota_of_targets_counts_each_dimension_alone_and_not_updates(stage):
    limits = Limits(targets_per_dimension=1)
    register(stage, CHAT, limits=limits)
    register(stage, VARIANT, limits=limits)
    register(stage, CHAT, high=5, limits=limits)
    code, said = stage.refused("RegisterScalableTarget", **SUMMARY, MinCapacity=1, MaxCapacity=2, limits=limits)
    assert code == "LimitExceededException"
    assert "at most 1 are allowed" in said and "ScalableTargetsLimit" in said


def test_a_target_of_application_auto_scaling_that_is_live_is_refused_and_taken_when_suspended(stage):
    owner = stage.account.call
    owner("application-autoscaling", "RegisterScalableTarget", {**CHAT, "MinCapacity": 1, "MaxCapacity": 2})
    code, said = stage.refused("RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=4)
    assert code == "ValidationException"
    assert "scaled already by Application Auto Scaling target inference-component/chat with capacity 1 to 2" in said
    suspended = dict.fromkeys(described_suspensions(), True)
    owner("application-autoscaling", "RegisterScalableTarget", {**CHAT, "SuspendedState": suspended})
    register(stage)


def described_suspensions() -> tuple[str, ...]:
    return tuple(ORIGINAL.shape_for("SuspendedState").members)


@pytest.mark.parametrize("what", ["endpoint/llm", "inference-component/chat"])
def test_what_another_stack_manages_is_refused_by_its_name(stage, what):
    arn = f"arn:aws:sagemaker:eu-west-1:111122223333:{what}"
    tag = {"Key": "quickstep:managed", "Value": "prod"}
    stage.account.call("sagemaker", "AddTags", {"ResourceArn": arn, "Tags": [tag]})
    code, said = stage.refused("RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=4)
    stage.account.call("sagemaker", "DeleteTags", {"ResourceArn": arn, "TagKeys": ["quickstep:managed"]})
    assert code == "ValidationException" and "is managed by Quickstep stack prod" in said


def test_a_component_that_may_go_to_zero_gets_the_alarm_that_wakes_it_and_loses_it_again(stage):
    register(stage, low=0)
    (alarm,) = stage.alarms().values()
    assert alarm["MetricName"] == "NoCapacityInvocationFailures"
    register(stage, low=1)
    assert stage.alarms() == {}
    stage.call(
        "PutScheduledAction", **CHAT, ScheduledActionName="night", Schedule="cron(0 22 * * ? *)",
        ScalableTargetAction={"MinCapacity": 0},
    )  # fmt: skip
    assert len(stage.alarms()) == 1
    stage.call("DeleteScheduledAction", **CHAT, ScheduledActionName="night")
    assert stage.alarms() == {}


def test_a_variant_at_zero_is_accepted_as_by_aas_with_a_warning(stage):
    (warning,) = register(stage, VARIANT, low=0)["QuickstepWarnings"]
    assert "nothing would wake it" in warning


def test_priority_budget_pause_and_pin_are_described_and_taken_back(stage):
    options = {"Priority": 5, "InstanceUsdPerHour": 1.5, "BudgetUsdPerHour": 30.0}
    register(
        stage,
        QuickstepOptions={**options, "Paused": True, "PausedForSeconds": 600, "Pinned": True, "PinnedCapacity": 2},
    )
    assert described(stage)["QuickstepOptions"] == {
        **options, "Paused": True, "PausedForSeconds": 600, "Pinned": True, "PinnedCapacity": 2,
    }  # fmt: skip
    stage.call("RegisterScalableTarget", **CHAT, QuickstepOptions={"Paused": True})
    assert described(stage)["QuickstepOptions"] == {**options, "Paused": True, "Pinned": True, "PinnedCapacity": 2}
    undone = {"Paused": False, "Pinned": False, "Priority": 0, "BudgetUsdPerHour": 0, "InstanceUsdPerHour": 0}
    stage.call("RegisterScalableTarget", **CHAT, QuickstepOptions=undone)
    assert "QuickstepOptions" not in described(stage)


# -- somebody else at work -----------------------------------------------------------------------------------------------


def test_while_another_request_changes_the_target_a_second_one_is_told_so_and_succeeds_afterwards(stage):
    register(stage)
    stage.account.call("dynamodb", "PutItem", {
        "TableName": stage.settings.table_name,
        "Item": {"pk": {"S": "HOLD"}, "sk": {"S": "inference-component/chat"}, "holder": {"S": "other"}, "until_s": {"N": "9e9"}},
    })  # fmt: skip
    for operation, params in (
        ("RegisterScalableTarget", {"MaxCapacity": 5}),
        ("PutScalingPolicy", {"PolicyName": "p", **STEPS}),
        ("DeleteScalingPolicy", {"PolicyName": "p"}),
        (
            "PutScheduledAction",
            {"ScheduledActionName": "a", "Schedule": "rate(1 day)", "ScalableTargetAction": {"MinCapacity": 1}},
        ),
        ("DeleteScheduledAction", {"ScheduledActionName": "a"}),
        ("DeregisterScalableTarget", {}),
    ):
        code, said = stage.refused(operation, **CHAT, **params)
        assert (code, "is being changed by another request" in said) == ("ConcurrentUpdateException", True), operation
    stage.account.call("dynamodb", "DeleteItem", {
        "TableName": stage.settings.table_name, "Key": {"pk": {"S": "HOLD"}, "sk": {"S": "inference-component/chat"}},
    })  # fmt: skip
    stage.call("RegisterScalableTarget", **CHAT, MaxCapacity=5)
    assert described(stage)["MaxCapacity"] == 5


def test_an_endpoint_that_is_being_looked_at_cannot_be_paused_at_that_moment(stage):
    register(stage)
    registry = Registry(stage.settings.table_name)
    lease = registry.acquire_lease("llm", holder="a look", now_s=EPOCH_S, ttl_s=30.0)
    code, said = stage.refused("RegisterScalableTarget", **CHAT, QuickstepOptions={"Paused": True})
    assert code == "ConcurrentUpdateException" and "being looked at" in said
    registry.release_lease(lease)
    stage.call("RegisterScalableTarget", **CHAT, QuickstepOptions={"Paused": True})
    assert described(stage)["QuickstepOptions"] == {"Paused": True}


# -- what is not registered ----------------------------------------------------------------------------------------------

UNKNOWN = [
    (
        "DeregisterScalableTarget",
        {},
        "ObjectNotFoundException",
        "No scalable target found for service namespace: sagemaker",
    ),
    ("PutScalingPolicy", {"PolicyName": "p", **STEPS}, "ObjectNotFoundException", "No scalable target registered for"),
    ("DeleteScalingPolicy", {"PolicyName": "p"}, "ObjectNotFoundException", "No scalable target registered for"),
    (
        "PutScheduledAction",
        {"ScheduledActionName": "a", "Schedule": "rate(1 day)", "ScalableTargetAction": {"MinCapacity": 1}},
        "ObjectNotFoundException",
        "No scalable target registered for service namespace: sagemaker, resource ID: inference-component/chat",
    ),
    (
        "DeleteScheduledAction",
        {"ScheduledActionName": "a"},
        "ObjectNotFoundException",
        "No scalable target registered for",
    ),
    (
        "GetPredictiveScalingForecast",
        {"PolicyName": "p", "StartTime": EPOCH_S, "EndTime": EPOCH_S + 3600},
        "ValidationException",
        "PolicyName is 'p', which does not exist on inference-component/chat",
    ),
]


@pytest.mark.parametrize(("operation", "params", "code", "said"), UNKNOWN)
def test_an_unknown_target_is_told_with_its_resource_id_and_dimension(stage, operation, params, code, said):
    found = stage.refused(operation, **CHAT, **params)
    assert found[0] == code and said in found[1], found
    assert "inference-component/chat" in found[1]


@pytest.mark.parametrize(("operation", "params", "said"), [
    ("DeleteScalingPolicy", {"PolicyName": "p"}, "No scaling policy found"),
    ("DeleteScheduledAction", {"ScheduledActionName": "a"}, "No scheduled action found"),
])  # fmt: skip
def test_an_unknown_policy_or_action_of_a_known_target_is_told_by_its_name(stage, operation, params, said):
    register(stage)
    code, text = stage.refused(operation, **CHAT, **params)
    assert code == "ObjectNotFoundException" and said in text and next(iter(params.values())) in text


@pytest.mark.parametrize("operation", ["ListTagsForResource", "TagResource", "UntagResource"])
def test_tags_of_an_unknown_target_are_not_found(stage, operation):
    arn = f"arn:aws:application-autoscaling:eu-west-1:111122223333:scalable-target/{'0' * 36}"
    more = {"TagResource": {"Tags": {"a": "b"}}, "UntagResource": {"TagKeys": ["a"]}}.get(operation, {})
    code, said = stage.refused(operation, ResourceARN=arn, **more)
    assert code == "ResourceNotFoundException" and arn in said


# -- policies ----------------------------------------------------------------------------------------------------------


def test_a_target_tracking_policy_makes_its_two_alarms_and_names_them(stage):
    register(stage)
    answer = stage.call("PutScalingPolicy", **CHAT, PolicyName="busy", **TRACKING)
    alarms = stage.alarms()
    assert [one["AlarmName"] for one in answer["Alarms"]] == list(alarms)
    high, low = alarms.values()
    assert (high["MetricName"], high["Threshold"], high["Period"]) == ("ConcurrentRequestsPerCopy", 5.0, 10)
    assert (low["Threshold"], low["EvaluationPeriods"], low["ComparisonOperator"]) == (4.5, 90, "LessThanThreshold")
    assert all(name.startswith("quickstep--chat-busy-Alarm") for name in alarms)
    (found,) = policies(stage, ResourceId=CHAT["ResourceId"])
    assert found["PolicyARN"] == answer["PolicyARN"] and found["Alarms"] == answer["Alarms"]
    assert found["TargetTrackingScalingPolicyConfiguration"] == TRACKING["TargetTrackingScalingPolicyConfiguration"]
    shape = ORIGINAL.operation_model("DescribeScalingPolicies").output_shape
    assert not ParamValidator().validate({"ScalingPolicies": [found]}, shape).has_errors()


def test_a_changed_policy_replaces_its_alarms_and_one_that_is_the_same_writes_none(stage):
    register(stage)
    stage.call("PutScalingPolicy", **CHAT, PolicyName="busy", **TRACKING)
    before = stage.account.calls[(None, "cloudwatch", "PutMetricAlarm")]
    stage.call("PutScalingPolicy", **CHAT, PolicyName="busy", **TRACKING)
    assert stage.account.calls[(None, "cloudwatch", "PutMetricAlarm")] == before
    changed = {**TRACKING["TargetTrackingScalingPolicyConfiguration"], "TargetValue": 8.0}
    stage.call(
        "PutScalingPolicy", **CHAT, PolicyName="busy", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=changed, QuickstepOptions={"LowAlarmEvaluationPeriods": 18},
    )  # fmt: skip
    high, low = stage.alarms().values()
    assert (high["Threshold"], low["Threshold"], low["EvaluationPeriods"]) == (8.0, 7.2, 18)
    # Scale-in is disabled: the alarm that would ask for it goes.
    stage.call(
        "PutScalingPolicy", **CHAT, PolicyName="busy",
        TargetTrackingScalingPolicyConfiguration={**changed, "DisableScaleIn": True},
    )  # fmt: skip
    assert ["AlarmHigh" in name for name in stage.alarms()] == [True]
    stage.call("DeleteScalingPolicy", **CHAT, PolicyName="busy")
    assert stage.alarms() == {} and policies(stage) == []


def test_a_step_policy_has_alarms_only_if_it_specifies_one(stage):
    register(stage)
    assert stage.call("PutScalingPolicy", **CHAT, PolicyName="plain", **STEPS)["Alarms"] == []
    specification = {"Threshold": 20.0, "ComparisonOperator": "GreaterThanOrEqualToThreshold"}
    (alarm,) = stage.call(
        "PutScalingPolicy", **CHAT, PolicyName="own", **STEPS, QuickstepOptions={"AlarmSpecification": specification}
    )["Alarms"]
    assert list(stage.alarms()) == [alarm["AlarmName"]]
    assert stage.alarms()[alarm["AlarmName"]]["Threshold"] == 20.0
    (found,) = policies(stage, PolicyNames=["own"], ResourceId=CHAT["ResourceId"])
    assert found["QuickstepOptions"] == {"AlarmSpecification": specification}


def test_demand_sizing_is_a_policy_of_our_own_with_alarms_that_say_look(stage):
    register(stage)
    answer = stage.call(
        "PutScalingPolicy", **CHAT, PolicyName="size", QuickstepOptions={"DemandSizing": {"TargetPerCopy": 4}}
    )
    assert len(answer["Alarms"]) == 2 == len(stage.alarms())
    (found,) = policies(stage)
    assert (found["PolicyType"], found["QuickstepOptions"]) == ("DemandSizing", {"DemandSizing": {"TargetPerCopy": 4}})
    code, said = stage.refused(
        "PutScalingPolicy", **CHAT, PolicyName="other", QuickstepOptions={"DemandSizing": {"TargetPerCopy": 5}}
    )
    assert code == "ValidationException" and "Only one DemandSizing policy" in said


def tracking(**configuration) -> dict:
    return {"PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": configuration}


def predictive(**configuration) -> dict:
    metric = {"PredefinedMetricType": HIGH_RESOLUTION["PredefinedMetricType"]}
    base = {"MetricSpecifications": [{"TargetValue": 5.0, "PredefinedMetricPairSpecification": metric}]}
    return {"PolicyType": "PredictiveScaling", "PredictiveScalingPolicyConfiguration": {**base, **configuration}}


def broken_math(expression: str) -> dict:
    """A customized metric whose expression CloudWatch refuses: nobody but CloudWatch reads it."""
    stat = {"Metric": {"MetricName": "Waiting", "Namespace": "Own"}, "Stat": "Maximum"}
    return {
        "Metrics": [
            {"Id": "waiting", "MetricStat": stat, "ReturnData": False},
            {"Id": "half", "Expression": expression, "ReturnData": True},
        ]
    }


MANY = [(float(n), float(n + 1), 1) for n in range(20)] + [(20.0, None, 1)]
POLICIES = [
    # request, error, words of the message
    ({}, "ValidationException", "PolicyType is missing"),
    ({"PolicyType": "StepScaling"}, "ValidationException", "StepScalingPolicyConfiguration is missing"),
    (
        {**STEPS, **tracking(TargetValue=1.0)},
        "ValidationException",
        "StepScalingPolicyConfiguration is given, but PolicyType",
    ),
    (steps(), "ValidationException", "StepAdjustments is empty"),
    (steps((0, 10, 1), (20, None, 2)), "ValidationException", "leave a gap from 10 to 20"),
    (steps((0, 20, 1), (10, None, 2)), "ValidationException", "overlap"),
    (steps((0, 10, 1)), "ValidationException", "no step reaches to ∞"),
    (steps((-10, 0, -1)), "ValidationException", "no step reaches to -∞"),
    (steps((None, None, 1)), "ValidationException", "neither MetricIntervalLowerBound nor"),
    (steps((0, None, 1), (5, None, 2)), "ValidationException", "only one may reach to ∞"),
    (steps((5, 5, 1)), "ValidationException", "must be greater than MetricIntervalLowerBound"),
    (steps(*MANY), "LimitExceededException", "StepAdjustments has 21 steps: there can be at most 20 step adjustments"),
    (
        steps((0, None, -1), AdjustmentType="ExactCapacity"),
        "ValidationException",
        "with ExactCapacity it must be 0 or more",
    ),
    (steps((0, None, 1), Cooldown=-1), "ValidationException", "Cooldown is -1"),
    (
        {
            "PolicyType": "StepScaling",
            "StepScalingPolicyConfiguration": {"StepAdjustments": [{"ScalingAdjustment": 1}]},
        },
        "ValidationException",
        "AdjustmentType is missing",
    ),
    ({**STEPS, "QuickstepOptions": {"Period": 10}}, "ValidationException", "QuickstepOptions.Period does not apply"),
    ({**STEPS, "QuickstepOptions": {"BindAlarms": ["nobody"]}}, "ValidationException", "there is no such alarm"),
    (
        tracking(TargetValue=0.0, PredefinedMetricSpecification=HIGH_RESOLUTION),
        "ValidationException",
        "TargetValue is 0",
    ),
    (
        tracking(TargetValue=2.0**361, PredefinedMetricSpecification=HIGH_RESOLUTION),
        "ValidationException",
        "at most 2^360",
    ),
    (tracking(TargetValue=5.0), "ValidationException", "exactly one of PredefinedMetricSpecification and"),
    (
        tracking(
            TargetValue=5.0, PredefinedMetricSpecification={"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}
        ),
        "ValidationException",
        "PredefinedMetricType is 'ECSServiceAverageCPUUtilization'",
    ),
    (
        tracking(TargetValue=5.0, PredefinedMetricSpecification=HIGH_RESOLUTION, ScaleInCooldown=-1),
        "ValidationException",
        "ScaleInCooldown is -1",
    ),
    (
        tracking(TargetValue=5.0, CustomizedMetricSpecification=broken_math("waiting / (copies")),
        "ValidationException",
        "Error in expression 'half'",
    ),
    (
        tracking(TargetValue=5.0, CustomizedMetricSpecification=broken_math("waiting / copies")),
        "ValidationException",
        "Undefined variable 'copies'",
    ),
    ({"PolicyType": "PredictiveScaling"}, "ValidationException", "PredictiveScalingPolicyConfiguration is missing"),
    (predictive(MetricSpecifications=[]), "ValidationException", "has 0 entries"),
    ({"PolicyType": "DemandSizing"}, "ValidationException", "QuickstepOptions.DemandSizing belongs to PolicyType"),
]


@pytest.mark.parametrize(("request_", "code", "said"), POLICIES)
def test_a_policy_that_is_none_is_refused_and_leaves_no_alarm(stage, request_, code, said):
    register(stage)
    found = stage.refused("PutScalingPolicy", **CHAT, PolicyName="p", **request_)
    assert found[0] == code and said in found[1], found
    assert stage.alarms() == {} and policies(stage) == []


def test_a_second_policy_on_the_same_metric_is_refused_as_by_aas(stage):
    register(stage)
    stage.call("PutScalingPolicy", **CHAT, PolicyName="one", **TRACKING)
    code, said = stage.refused("PutScalingPolicy", **CHAT, PolicyName="two", **TRACKING)
    assert code == "ValidationException"
    assert said.startswith(
        "Only one TargetTrackingScaling policy for a given metric specification is allowed. Policy one"
    )


def test_a_policy_keeps_its_type_for_life(stage):
    register(stage)
    stage.call("PutScalingPolicy", **CHAT, PolicyName="p", **STEPS)
    code, said = stage.refused("PutScalingPolicy", **CHAT, PolicyName="p", **TRACKING)
    assert code == "ValidationException" and "policy p is StepScaling" in said


def test_the_fifty_first_policy_exceeds_the_limit(stage):
    register(stage)
    for n in range(50):
        stage.call("PutScalingPolicy", **CHAT, PolicyName=f"p{n}", **STEPS)
    code, said = stage.refused("PutScalingPolicy", **CHAT, PolicyName="p50", **STEPS)
    assert code == "LimitExceededException" and "has 50 scaling policies; at most 50" in said
    stage.call("PutScalingPolicy", **CHAT, PolicyName="p49", **STEPS)  # a change is none more


@pytest.mark.parametrize(
    ("given", "scales", "buffer_s", "most"),
    [
        ({}, False, 300.0, None),
        ({"Mode": "ForecastOnly", "SchedulingBufferTime": 0}, False, 0.0, None),
        ({"Mode": "ForecastAndScale", "SchedulingBufferTime": 600}, True, 600.0, None),
        (
            {
                "Mode": "ForecastAndScale",
                "MaxCapacityBreachBehavior": "IncreaseMaxCapacity",
                "MaxCapacityBuffer": 10,
            },
            True,
            300.0,
            10,
        ),
    ],
)
def test_a_predictive_policy_is_a_policy_of_its_target_in_the_mode_it_was_given(stage, given, scales, buffer_s, most):
    register(stage)
    answer = stage.call("PutScalingPolicy", **CHAT, PolicyName="ahead", **predictive(**given))
    assert answer["Alarms"] == [] and "QuickstepWarnings" not in answer
    (found,) = policies(stage)
    assert found["PredictiveScalingPolicyConfiguration"] == predictive(**given)["PredictiveScalingPolicyConfiguration"]
    (decides,) = Registry(stage.settings.table_name).read_endpoint("llm").targets[CHAT_ID].policies
    assert (decides.scales, decides.buffer_s, decides.max_capacity_buffer) == (scales, buffer_s, most)
    assert [one["Id"] for one in decides.queries if one["ReturnData"]] == ["load"]
    stage.call("DeleteScalingPolicy", **CHAT, PolicyName="ahead")
    assert Registry(stage.settings.table_name).read_endpoint("llm").targets[CHAT_ID].policies == ()


def test_a_target_below_one_with_a_maximum_is_accepted_with_a_warning(stage):
    register(stage)
    answer = stage.call(
        "PutScalingPolicy",
        **CHAT,
        PolicyName="p",
        **tracking(TargetValue=0.5, PredefinedMetricSpecification=HIGH_RESOLUTION),
    )
    assert "every request will ask for MaxCapacity" in answer["QuickstepWarnings"][0]


# -- scheduled actions ---------------------------------------------------------------------------------------------------

SCHEDULED = [
    ({"Schedule": None}, "ValidationException", "Schedule is missing"),
    ({"Schedule": "every day"}, "ValidationException", "Schedule is 'every day'"),
    ({"Schedule": "at(2020-01-01T00:00:00)"}, "ValidationException", "lies in the past"),
    ({"ScalableTargetAction": None}, "ValidationException", "At least one of minimum capacity and maximum capacity"),
    ({"ScalableTargetAction": {}}, "ValidationException", "At least one of minimum capacity and maximum capacity"),
    ({"ScalableTargetAction": {"MinCapacity": -1}}, "ValidationException", "ScalableTargetAction.MinCapacity is -1"),
    (
        {"ScalableTargetAction": {"MinCapacity": 5, "MaxCapacity": 2}},
        "ValidationException",
        "ScalableTargetAction.MaxCapacity is 2",
    ),
    ({"Timezone": "Mars/Olympus"}, "ValidationException", "Timezone is 'Mars/Olympus'"),
    ({"StartTime": EPOCH_S + 90, "EndTime": EPOCH_S + 60}, "ValidationException", "StartTime must be before EndTime"),
    ({"EndTime": EPOCH_S - 60}, "ValidationException", "EndTime lies in the past"),
    (
        {"Schedule": "at(2030-01-01T00:00:00)", "EndTime": EPOCH_S + 60},
        "ValidationException",
        "outside StartTime and EndTime",
    ),
    ({"ScheduledActionName": " night"}, "ValidationException", "'scheduledActionName' failed"),
]


@pytest.mark.parametrize(("change", "code", "said"), SCHEDULED)
def test_a_scheduled_action_that_is_none_is_refused_and_leaves_no_schedule(stage, change, code, said):
    register(stage)
    good = {"ScheduledActionName": "a", "Schedule": "rate(1 day)", "ScalableTargetAction": {"MinCapacity": 1}}
    request = {name: value for name, value in {**good, **change}.items() if value is not None}
    found = stage.refused("PutScheduledAction", **CHAT, **request)
    assert found[0] == code and said in found[1], found
    assert stage.schedules() == []
    assert stage.call("DescribeScheduledActions", ServiceNamespace="sagemaker") == {"ScheduledActions": []}


def test_a_scheduled_action_is_described_as_it_was_put_and_its_times_are_deleted_when_not_given_again(stage):
    register(stage)
    stage.call(
        "PutScheduledAction", **CHAT, ScheduledActionName="day", Schedule="cron(0 8 ? * MON-FRI *)", Timezone="Europe/Berlin",
        StartTime=EPOCH_S + 3600, EndTime=EPOCH_S + 86_400 * 30, ScalableTargetAction={"MinCapacity": 2, "MaxCapacity": 9},
    )  # fmt: skip
    (found,) = stage.call("DescribeScheduledActions", ServiceNamespace="sagemaker")["ScheduledActions"]
    assert (found["Schedule"], found["Timezone"]) == ("cron(0 8 ? * MON-FRI *)", "Europe/Berlin")
    assert (found["StartTime"], found["EndTime"]) == (EPOCH_S + 3600, EPOCH_S + 86_400 * 30)
    assert found["ScalableTargetAction"] == {"MinCapacity": 2, "MaxCapacity": 9}
    assert found["ScheduledActionARN"].endswith(":resource/sagemaker/inference-component/chat:scheduledActionName/day")
    stage.call("PutScheduledAction", **CHAT, ScheduledActionName="day", ScalableTargetAction={"MaxCapacity": 5})
    (found,) = stage.call("DescribeScheduledActions", ServiceNamespace="sagemaker")["ScheduledActions"]
    assert (found["Schedule"], found["Timezone"], found["ScalableTargetAction"]) == (
        "cron(0 8 ? * MON-FRI *)", "Europe/Berlin", {"MaxCapacity": 5},
    )  # fmt: skip
    assert "StartTime" not in found and "EndTime" not in found
    assert len(stage.schedules()) == 1
    stage.call("DeleteScheduledAction", **CHAT, ScheduledActionName="day")
    assert stage.schedules() == []


def test_the_two_hundred_and_first_scheduled_action_exceeds_the_limit(stage):
    register(stage)
    action = {"Schedule": "rate(1 day)", "ScalableTargetAction": {"MinCapacity": 1}}
    limits = Limits(scheduled_actions_per_target=3)
    assert Limits().scheduled_actions_per_target == 200
    for n in range(3):
        stage.call("PutScheduledAction", **CHAT, ScheduledActionName=f"a{n}", **action, limits=limits)
    code, said = stage.refused("PutScheduledAction", **CHAT, ScheduledActionName="a3", **action, limits=limits)
    assert code == "LimitExceededException" and "has 3 scheduled actions" in said


# -- tags --------------------------------------------------------------------------------------------------------------


def test_tags_are_added_changed_and_deleted_up_to_fifty(stage):
    arn = register(stage, Tags={"a": "1"})["ScalableTargetARN"]
    stage.call("TagResource", ResourceARN=arn, Tags={"a": "2", "b": "3"})
    stage.call("UntagResource", ResourceARN=arn, TagKeys=["a", "nothing"])
    assert stage.call("ListTagsForResource", ResourceARN=arn) == {"Tags": {"b": "3"}}
    code, said = stage.refused("TagResource", ResourceARN=arn, Tags={f"t{n}": "x" for n in range(50)})
    assert code == "TooManyTagsException" and "would have 51 tags; at most 50" in said
    assert stage.refused("TagResource", ResourceARN=arn, Tags={"AWS:x": "y"})[0] == "ValidationException"


# -- pages -------------------------------------------------------------------------------------------------------------


def test_every_describe_pages_through_everything_once_and_in_order(stage):
    for target in (SUMMARY, CHAT, VARIANT):
        register(stage, target)
        for n in range(3):
            stage.call("PutScalingPolicy", **target, PolicyName=f"p{n}", **STEPS)
            stage.call(
                "PutScheduledAction", **target, ScheduledActionName=f"a{n}", Schedule="rate(1 day)",
                ScalableTargetAction={"MinCapacity": 1},
            )  # fmt: skip
    for operation, members, name, count in (
        ("DescribeScalableTargets", "ScalableTargets", "ResourceId", 3),
        ("DescribeScalingPolicies", "ScalingPolicies", "PolicyName", 9),
        ("DescribeScheduledActions", "ScheduledActions", "ScheduledActionName", 9),
    ):
        whole = stage.call(operation, ServiceNamespace="sagemaker")
        assert "NextToken" not in whole and len(whole[members]) == count
        for size in (1, 2, 3, 9):
            found, token = [], {}
            while True:
                page = stage.call(operation, ServiceNamespace="sagemaker", MaxResults=size, **token)
                assert len(page[members]) <= size
                found += page[members]
                if "NextToken" not in page:
                    break
                token = {"NextToken": page["NextToken"]}
            assert found == whole[members], (operation, size)
        order = [(one["ResourceId"], one[name]) for one in whole[members]]
        assert order == sorted(order)


def test_filters_pick_what_they_name(stage):
    for target in (CHAT, SUMMARY, VARIANT):
        register(stage, target)
        stage.call("PutScalingPolicy", **target, PolicyName="p", **STEPS)
        stage.call("PutScalingPolicy", **target, PolicyName="q", **STEPS)
    rids = [CHAT["ResourceId"], VARIANT["ResourceId"], "inference-component/nobody"]
    found = stage.call("DescribeScalableTargets", ServiceNamespace="sagemaker", ResourceIds=rids)["ScalableTargets"]
    assert {one["ResourceId"] for one in found} == set(rids[:2])
    found = stage.call(
        "DescribeScalableTargets",
        ServiceNamespace="sagemaker",
        ResourceIds=rids,
        ScalableDimension=CHAT["ScalableDimension"],
    )["ScalableTargets"]
    assert [one["ResourceId"] for one in found] == [CHAT["ResourceId"]]
    first = stage.call("DescribeScalableTargets", ServiceNamespace="sagemaker", ResourceIds=rids, MaxResults=1)
    second = stage.call(
        "DescribeScalableTargets",
        ServiceNamespace="sagemaker",
        ResourceIds=rids,
        MaxResults=1,
        NextToken=first["NextToken"],
    )
    assert {one["ResourceId"] for page in (first, second) for one in page["ScalableTargets"]} == set(rids[:2])
    assert [one["PolicyName"] for one in policies(stage, ResourceId=CHAT["ResourceId"], PolicyNames=["q"])] == ["q"]
    assert {one["ResourceId"] for one in policies(stage, PolicyNames=["q"])} == {
        one["ResourceId"] for one in (CHAT, SUMMARY, VARIANT)
    }
    assert policies(stage, ResourceId="inference-component/nobody") == []


@pytest.mark.parametrize(
    "operation",
    ["DescribeScalableTargets", "DescribeScalingActivities", "DescribeScalingPolicies", "DescribeScheduledActions"],
)
def test_every_describe_refuses_a_dimension_without_a_resource_a_wrong_size_and_a_foreign_token(stage, operation):
    dimension = CHAT["ScalableDimension"]
    assert (
        stage.refused(operation, ServiceNamespace="sagemaker", ScalableDimension=dimension)[0] == "ValidationException"
    )
    assert "less than or equal to 50" in stage.refused(operation, ServiceNamespace="sagemaker", MaxResults=51)[1]
    assert stage.refused(operation, ServiceNamespace="sagemaker", NextToken="x")[0] == "InvalidNextTokenException"
    assert stage.refused(operation, ServiceNamespace="ecs")[0] == "ValidationException"


# -- the whole life ------------------------------------------------------------------------------------------------------


def test_deregistering_leaves_no_alarm_schedule_tag_or_item(stage):
    before = {key for key in stage.items() if key[0] != "BUDGET"}
    register(stage, low=0, Tags={"a": "b"}, QuickstepOptions={"Pinned": True, "PinnedCapacity": 1})
    register(stage, SUMMARY)
    stage.call("PutScalingPolicy", **CHAT, PolicyName="busy", **TRACKING)
    stage.call("PutScalingPolicy", **CHAT, PolicyName="steps", **STEPS)
    stage.call("PutScalingPolicy", **CHAT, PolicyName="size", QuickstepOptions={"DemandSizing": {"TargetPerCopy": 4}})
    stage.call(
        "PutScheduledAction",
        **CHAT,
        ScheduledActionName="a",
        Schedule="rate(1 day)",
        ScalableTargetAction={"MinCapacity": 1},
    )
    assert len(stage.alarms()) == 5 and len(stage.schedules()) == 1
    assert stage.call("DeregisterScalableTarget", **CHAT) == {}
    assert stage.alarms() == {} and stage.schedules() == [] and policies(stage) == []
    chat, endpoint = (
        f"arn:aws:sagemaker:eu-west-1:111122223333:{one}" for one in ("inference-component/chat", "endpoint/llm")
    )
    assert stage.tags(chat) == {} and stage.tags(endpoint) == {"quickstep:managed": "quickstep"}
    assert not [key for key in stage.items() if "chat" in str(key) and not key[0].startswith("ACTIVITY#")]
    stage.call("DeregisterScalableTarget", **SUMMARY)
    assert {key for key in stage.items() if key[0] != "BUDGET"} == before
    assert stage.tags(endpoint) == {}
    # Registered again it begins afresh.
    register(stage)
    assert "QuickstepOptions" not in described(stage)
