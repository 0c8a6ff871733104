"""Target documents: a registration is the same again after it was stored."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from quickstep.model.targets import (
    AdjustmentType,
    AlarmBinding,
    DemandPolicy,
    Guards,
    PredictivePolicy,
    ScalableTarget,
    Statistic,
    StepAdjustment,
    StepScalingPolicy,
    Suspension,
    TargetId,
    TargetTrackingPolicy,
)
from quickstep.target_documents import target_from_document, target_to_document

STEPS = StepScalingPolicy(
    "steps",
    AdjustmentType.PERCENT_CHANGE_IN_CAPACITY,
    (StepAdjustment(None, 0.0, -10), StepAdjustment(0.0, None, 25)),
    (AlarmBinding("s--high", 20.0, True), AlarmBinding("s--low", 10.0, False)),
    cooldown_s=60.0,
    min_adjustment_magnitude=2,
    metric_aggregation=Statistic.MAXIMUM,
)
TRACKING = TargetTrackingPolicy("tracking", 5.0, "s--high", "s--low", 10.0, 20.0, True)
DEMAND = DemandPolicy("demand", 4.5, window_s=30.0, scale_in_hold_s=240.0)
QUERIES = ({"Id": "load", "Expression": "a + b", "ReturnData": True},)
AHEAD = PredictivePolicy("ahead", 5.0, QUERIES, None, scales=True, buffer_s=0.0, max_capacity_buffer=10, since_s=7.0)
FULL = ScalableTarget(
    TargetId.of_component("chat"),
    "llm",
    "v",
    0,
    20,
    (STEPS, TRACKING, DEMAND, AHEAD),
    guards=Guards(burst_ratio=3.0, wake_cap=7),
    suspension=Suspension(scale_in=True),
    alarms=("s--a", "s--b"),
    wake_alarm="s--wake",
    priority=3,
    hourly_cost_usd=1.5,
    budget_usd_per_hour=12.0,
)


def stored(document):
    return json.loads(json.dumps(document, allow_nan=False))


@pytest.mark.parametrize(
    "target",
    [
        FULL,
        replace(FULL, policies=(), guards=Guards(), alarms=(), wake_alarm=None),
        ScalableTarget(TargetId.of_variant("llm", "v"), "llm", None, 1, 1, (STEPS,)),
    ],
)
def test_a_target_is_the_same_again_after_the_store(target):
    again = target_from_document(stored(target_to_document(target)))
    assert again == target
    assert [type(p) for p in again.policies] == [type(p) for p in target.policies]
    assert all(
        isinstance(p.adjustment_type, AdjustmentType) for p in again.policies if isinstance(p, StepScalingPolicy)
    )


def test_what_a_newer_version_wrote_is_ignored():
    document = stored(target_to_document(FULL))
    document["tomorrow"] = 1
    for part in (document["guards"], document["suspension"], *document["policies"], *document["policies"][0]["steps"]):
        part["tomorrow"] = 1
    assert target_from_document(document) == FULL


@pytest.mark.parametrize("missing", ["target_id", "policies"])
def test_what_is_no_registration_is_refused(missing):
    document = target_to_document(FULL)
    del document[missing]
    with pytest.raises(KeyError, match=missing):
        target_from_document(document)


def test_every_alarm_that_may_speak_is_known():
    assert FULL.alarm_names == ("s--a", "s--b", "s--high", "s--low", "s--wake")


@pytest.mark.parametrize(
    ("policies", "per_copy"),
    [((STEPS, TRACKING, DEMAND, AHEAD), 4.5), ((STEPS, TRACKING), 5.0), ((STEPS,), None), ((), None)],
)
def test_what_one_copy_is_meant_to_carry(policies, per_copy):
    assert replace(FULL, policies=policies).target_per_copy == per_copy


def test_target_ids_are_those_of_application_auto_scaling():
    component, variant = TargetId.of_component("chat"), TargetId.of_variant("llm", "v")
    assert (str(component), component.dimension, component.component, component.unit) == (
        "inference-component/chat",
        "sagemaker:inference-component:DesiredCopyCount",
        "chat",
        "copies",
    )
    assert (str(variant), variant.dimension, variant.component, variant.unit) == (
        "endpoint/llm/variant/v",
        "sagemaker:variant:DesiredInstanceCount",
        None,
        "instances",
    )
