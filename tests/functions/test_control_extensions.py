"""What Quickstep adds to Application Auto Scaling's API changes what is decided, and not only what is described."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functions.control_stage import component, control_stage

CHAT, SUMMARY = component("chat"), component("summary")


@pytest.fixture
def stage():
    with control_stage() as stage:
        yield stage


def publish(stage, seconds: int, **values: float) -> None:
    """Let time pass, with the metrics `values` of the namespace Own every ten seconds."""
    data = [{"MetricName": name, "Value": value, "StorageResolution": 1} for name, value in values.items()]
    for _ in range(seconds // 10):
        stage.account.call("cloudwatch", "PutMetricData", {"Namespace": "Own", "MetricData": data})
        stage.account.run_for(10)


def steps(stage, target: dict, metric: str, by: int) -> None:
    """A step policy that answers the metric above 5 with `by` copies more."""
    configuration = {
        "AdjustmentType": "ChangeInCapacity",
        "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": by}],
    }
    alarm = {"Threshold": 5, "ComparisonOperator": "GreaterThanThreshold", "Namespace": "Own", "MetricName": metric, "Period": 10, "EvaluationPeriods": 1, "DatapointsToAlarm": 1}  # fmt: skip
    stage.call(
        "PutScalingPolicy", **target, PolicyName="steps", PolicyType="StepScaling",
        StepScalingPolicyConfiguration=configuration, QuickstepOptions={"AlarmSpecification": alarm},
    )  # fmt: skip


def register(stage, target: dict, **options: Any) -> None:
    stage.call("RegisterScalableTarget", **target, MinCapacity=1, MaxCapacity=8, QuickstepOptions=options)


def reasons(stage, target: dict) -> list[str]:
    rows = stage.call("DescribeScalingActivities", ServiceNamespace="sagemaker", ResourceId=target["ResourceId"], IncludeNotScaledActivities=True)["ScalingActivities"]  # fmt: skip
    return [row["Cause"] for row in rows]


def test_a_budget_caps_what_a_policy_asks_for_and_says_so(stage):
    """Two dollars an hour at a dollar an instance, one copy an instance: two copies of the six that are asked for."""
    register(stage, CHAT, InstanceUsdPerHour=1.0, BudgetUsdPerHour=2.0)
    register(stage, SUMMARY)
    for target in (CHAT, SUMMARY):
        steps(stage, target, "Waiting", 2)
    publish(stage, 60, Waiting=9.0)
    assert (stage.copies("chat"), stage.copies("summary")) == (2, 3)
    assert any("$2/h at $1 per instance-hour pays for 2, not 3" in cause for cause in reasons(stage, CHAT))


@pytest.mark.parametrize(("chat", "summary", "first"), [(0, 5, "summary"), (0, -5, "chat")])
def test_the_larger_priority_is_served_first_where_room_is_short(stage, chat, summary, first):
    """Four of the eight instances are free, and both want four copies more."""
    register(stage, CHAT, Priority=chat)
    register(stage, SUMMARY, Priority=summary)
    for target in (CHAT, SUMMARY):
        steps(stage, target, "Waiting", 4)
    publish(stage, 40, Waiting=9.0)
    other = "chat" if first == "summary" else "summary"
    assert (stage.copies(first), stage.copies(other)) == (5, 1)


def test_a_shorter_low_alarm_gives_copies_back_sooner(stage):
    """A minute of six datapoints against Application Auto Scaling's fixed fifteen."""
    metric = {"MetricName": "Idle", "Namespace": "Own", "Statistic": "Maximum"}
    for target, options in ((CHAT, {"LowAlarmEvaluationPeriods": 6}), (SUMMARY, {})):
        register(stage, target, Pinned=True, PinnedCapacity=3)
        configuration = {"TargetValue": 4.0, "CustomizedMetricSpecification": metric, "ScaleInCooldown": 0}
        stage.call(
            "PutScalingPolicy", **target, PolicyName="idle", PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=configuration, QuickstepOptions={"Period": 10, **options},
        )  # fmt: skip
    publish(stage, 220, Idle=4.0)
    assert (stage.copies("chat"), stage.copies("summary")) == (3, 3)
    for target in (CHAT, SUMMARY):
        stage.call("RegisterScalableTarget", **target, QuickstepOptions={"Pinned": False})
    publish(stage, 300, Idle=1.0)
    assert stage.copies("chat") < 3 and stage.copies("summary") == 3
