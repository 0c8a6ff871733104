"""Our reading of Application Auto Scaling's policy documents, held against botocore's own model of them."""

from __future__ import annotations

import json
from typing import get_args

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from quickstep import policy_documents as documents
from quickstep.errors import InvalidPolicy
from quickstep.model.targets import (
    AdjustmentType,
    AlarmBinding,
    Dimension,
    Statistic,
    StepAdjustment,
    StepScalingPolicy,
    TargetTrackingPolicy,
)
from quickstep.policy_documents import (
    CONCURRENCY_METRICS,
    CustomizedMetricDocument,
    StepScalingDocument,
    TargetTrackingDocument,
    step_policy_from_document,
    steps_from_json,
    target_tracking_from_document,
    to_document,
)

AAS = botocore.session.get_session().get_service_model("application-autoscaling")
COPIES, INSTANCES = Dimension.COPIES, Dimension.INSTANCES
HIGH = AlarmBinding("stack--high", 20, True)
PER_COPY = {"PredefinedMetricType": "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"}

# AWS's notebook for SageMaker step scaling.
NOTEBOOK = {
    "AdjustmentType": "ChangeInCapacity",
    "StepAdjustments": [
        {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 20.0, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 2},
    ],
    "Cooldown": 300,
    "MetricAggregationType": "Maximum",
}
NOTEBOOK_STEPS = (StepAdjustment(0, 20, 1), StepAdjustment(20, None, 2))

# Which of our models reads which of AWS's shapes.
SHAPES = {
    "StepScalingPolicyConfiguration": documents.StepScalingDocument,
    "StepAdjustment": documents.StepAdjustmentDocument,
    "TargetTrackingScalingPolicyConfiguration": documents.TargetTrackingDocument,
    "PredefinedMetricSpecification": documents.PredefinedMetricDocument,
    "CustomizedMetricSpecification": documents.CustomizedMetricDocument,
    "MetricDimension": documents.MetricDimensionDocument,
    "TargetTrackingMetricDataQuery": documents.MetricDataQueryDocument,
    "TargetTrackingMetricStat": documents.TrackedMetricStatDocument,
    "TargetTrackingMetric": documents.TrackedMetricDocument,
    "TargetTrackingMetricDimension": documents.TrackedDimensionDocument,
}


# --- against botocore's model ------------------------------------------------------------------------------------------


def shapes_below(name):
    """`name` and every structure that it is made of."""
    found, queue = [], [AAS.shape_for(name)]
    while queue:
        shape = queue.pop()
        if shape.type_name == "list":
            queue.append(shape.member)
        elif shape.type_name == "structure" and shape.name not in found:
            found.append(shape.name)
            queue.extend(shape.members.values())
    return found


def full(shape, value=7):
    """A document with every member of `shape` filled in."""
    if shape.type_name == "structure":
        return {name: full(member) for name, member in shape.members.items()}
    if shape.type_name == "list":
        return [full(shape.member)]
    if shape.type_name == "boolean":
        return True
    if shape.type_name == "string":
        return shape.enum[0] if getattr(shape, "enum", None) else "x"
    return {"double": 1.5}.get(shape.type_name, value)


def test_every_structure_of_the_two_configurations_has_a_reader():
    below = {*shapes_below("StepScalingPolicyConfiguration"), *shapes_below("TargetTrackingScalingPolicyConfiguration")}
    assert below == set(SHAPES)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_field_names_are_exactly_those_of_the_service_model(name):
    aliases = {field.alias for field in SHAPES[name].model_fields.values()}
    assert aliases == set(AAS.shape_for(name).members)


@pytest.mark.parametrize(
    ("name", "member"), [(name, member) for name in sorted(SHAPES) for member in AAS.shape_for(name).members]
)
def test_every_member_of_the_service_model_is_accepted(name, member):
    document = full(AAS.shape_for(name))
    if name == "TargetTrackingScalingPolicyConfiguration":
        # The one pair of members that excludes each other.
        other = {"PredefinedMetricSpecification", "CustomizedMetricSpecification"} - {member}
        del document[sorted(other)[0]]
    read = SHAPES[name].model_validate(document)
    assert member in document
    assert {f.alias: n for n, f in SHAPES[name].model_fields.items()}[member] in read.model_fields_set


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_every_required_member_is_required(name):
    document = full(AAS.shape_for(name))
    document.pop("CustomizedMetricSpecification", None)
    for member in AAS.shape_for(name).required_members:
        with pytest.raises(ValueError, match=member):
            SHAPES[name].model_validate({k: v for k, v in document.items() if k != member})


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_member_that_aws_does_not_know_is_refused(name):
    document = full(AAS.shape_for(name))
    document.pop("CustomizedMetricSpecification", None)
    with pytest.raises(ValueError, match="Invented"):
        SHAPES[name].model_validate(document | {"Invented": 1})


def test_words_are_those_of_the_service_model():
    assert {a.value for a in AdjustmentType} == set(AAS.shape_for("AdjustmentType").enum)
    assert {a.value for a in Statistic} == set(AAS.shape_for("MetricAggregationType").enum)
    statistic = CustomizedMetricDocument.model_fields["statistic"].annotation
    assert set(get_args(get_args(statistic)[0])) == set(AAS.shape_for("MetricStatistic").enum)
    assert set(CONCURRENCY_METRICS.values()) <= set(AAS.shape_for("MetricType").enum)
    assert {d.value for d in Dimension} <= set(AAS.shape_for("ScalableDimension").enum)


def test_a_document_that_is_read_is_written_in_a_form_that_botocore_accepts():
    for dimension in Dimension:
        for name, policy in [
            ("StepScalingPolicyConfiguration", step_policy_from_document("p", NOTEBOOK, [HIGH])),
            ("TargetTrackingScalingPolicyConfiguration", TargetTrackingPolicy("p", 5.0, "h", "l")),
        ]:
            report = ParamValidator().validate(to_document(policy, dimension), AAS.shape_for(name))
            assert not report.has_errors(), report.generate_report()


# --- step scaling ------------------------------------------------------------------------------------------------------


def test_the_notebooks_policy_is_read():
    policy = step_policy_from_document("out", NOTEBOOK, [HIGH])
    assert policy == StepScalingPolicy(
        "out", AdjustmentType.CHANGE_IN_CAPACITY, NOTEBOOK_STEPS, (HIGH,), 300.0, 0, Statistic.MAXIMUM
    )


def test_the_notebooks_policy_is_written_as_it_was():
    assert to_document(step_policy_from_document("out", NOTEBOOK, [HIGH]), INSTANCES) == NOTEBOOK


def test_what_a_step_policy_leaves_out_has_aws_defaults():
    document = {
        "AdjustmentType": "PercentChangeInCapacity",
        "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 25}],
    }
    policy = step_policy_from_document("p", document, [])
    assert (policy.cooldown_s, policy.min_adjustment_magnitude, policy.metric_aggregation) == (
        300.0,
        0,
        Statistic.AVERAGE,
    )


def test_null_members_are_missing_ones():
    rows = [{"MetricIntervalLowerBound": None, "MetricIntervalUpperBound": 0, "ScalingAdjustment": -1}]
    document = NOTEBOOK | {"StepAdjustments": rows, "Cooldown": None, "MetricAggregationType": None}
    policy = step_policy_from_document("p", document, [])
    assert policy.steps == (StepAdjustment(None, 0, -1),)
    assert (policy.cooldown_s, policy.metric_aggregation) == (300.0, Statistic.AVERAGE)


def test_a_cooldown_of_zero_is_not_the_default():
    assert step_policy_from_document("p", NOTEBOOK | {"Cooldown": 0}, []).cooldown_s == 0


def test_numbers_may_be_text_since_cloudformation_sends_text():
    document = {
        "AdjustmentType": "ChangeInCapacity",
        "StepAdjustments": [{"MetricIntervalLowerBound": "0.5", "ScalingAdjustment": "2"}],
        "Cooldown": "60",
        "MinAdjustmentMagnitude": "1",
    }
    policy = step_policy_from_document("p", document, [])
    assert (policy.steps, policy.cooldown_s) == ((StepAdjustment(0.5, None, 2),), 60.0)
    tracking = {"TargetValue": "5", "PredefinedMetricSpecification": PER_COPY, "DisableScaleIn": "true"}
    assert target_tracking_from_document("p", tracking, "h", "l").disable_scale_in is True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"AdjustmentType": "ChangeInCopies"}, "AdjustmentType is 'ChangeInCopies'; .*'ExactCapacity'"),
        ({"AdjustmentType": None}, "AdjustmentType is None"),
        ({"MetricAggregationType": "Sum"}, "MetricAggregationType is 'Sum'"),
        ({"Cooldown": -1}, "Cooldown is -1; .*greater than or equal to 0"),
        ({"Cooldown": 1.5}, "Cooldown is 1.5"),
        ({"MinAdjustmentMagnitude": -2}, "MinAdjustmentMagnitude is -2"),
        ({"StepAdjustments": []}, "StepAdjustments is empty"),
        ({"StepAdjustments": "none"}, "StepAdjustments is 'none'"),
        ({"StepAdjustments": [{"MetricIntervalLowerBound": 0}]}, r"StepAdjustments\[0\].ScalingAdjustment is missing"),
        (
            {"StepAdjustments": [{"MetricIntervalLowerBound": "low", "ScalingAdjustment": 1}]},
            r"StepAdjustments\[0\].MetricIntervalLowerBound is 'low'",
        ),
        (
            {"StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": True}]},
            "ScalingAdjustment is True; .*not a boolean",
        ),
        ({"CoolDown": 5}, "CoolDown is not a field of Application Auto Scaling's document"),
        (
            {
                "StepAdjustments": [
                    {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 5, "ScalingAdjustment": 1}
                ]
            },
            "no step reaches to ∞",
        ),
    ],
)
def test_a_step_document_that_aas_would_refuse_is_refused(change, words):
    with pytest.raises(InvalidPolicy, match=words):
        step_policy_from_document("p", NOTEBOOK | change, [])


def test_every_mistake_is_named_at_once():
    with pytest.raises(InvalidPolicy, match="AdjustmentType is missing.*Cooldown is 'soon'"):
        step_policy_from_document("p", {"StepAdjustments": NOTEBOOK["StepAdjustments"], "Cooldown": "soon"}, [])


@pytest.mark.parametrize("name", ["", "x" * 257, "a\nb"])
def test_a_policy_name_is_printable_and_1_to_256_characters(name):
    with pytest.raises(InvalidPolicy, match="PolicyName"):
        step_policy_from_document(name, NOTEBOOK, [])
    with pytest.raises(InvalidPolicy, match="PolicyName"):
        target_tracking_from_document(name, {"TargetValue": 5, "PredefinedMetricSpecification": PER_COPY}, "h", "l")


# --- target tracking ---------------------------------------------------------------------------------------------------


def test_a_tracking_document_is_read():
    document = {
        "TargetValue": 5.0,
        "PredefinedMetricSpecification": PER_COPY,
        "ScaleOutCooldown": 60,
        "ScaleInCooldown": 120,
        "DisableScaleIn": True,
    }
    policy = target_tracking_from_document("t", document, "h", "l", dimension=COPIES)
    assert policy == TargetTrackingPolicy("t", 5.0, "h", "l", 60.0, 120.0, True)
    assert to_document(policy, COPIES) == document


def test_what_a_tracking_document_leaves_out_has_aws_defaults_for_sagemaker():
    document = {"TargetValue": 5, "PredefinedMetricSpecification": PER_COPY}
    assert target_tracking_from_document("t", document, "h", "l") == TargetTrackingPolicy(
        "t", 5.0, "h", "l", 300.0, 300.0
    )


@pytest.mark.parametrize(
    ("dimension", "metric"), [(COPIES, "ConcurrentRequestsPerCopy"), (INSTANCES, "ConcurrentRequestsPerModel")]
)
def test_the_concurrency_metric_may_be_spelled_out(dimension, metric):
    spelled = {"Namespace": "AWS/SageMaker", "MetricName": metric, "Statistic": "Maximum"}
    document = {"TargetValue": 5, "CustomizedMetricSpecification": spelled}
    policy = target_tracking_from_document("t", document, "h", "l", dimension=dimension)
    assert policy.metric == "concurrency"
    written = to_document(policy, dimension)
    assert written["PredefinedMetricSpecification"] == {"PredefinedMetricType": CONCURRENCY_METRICS[dimension]}


@pytest.mark.parametrize("metric", sorted(set(AAS.shape_for("MetricType").enum) - set(CONCURRENCY_METRICS.values())))
def test_a_predefined_metric_that_cannot_be_tracked_is_refused_by_name(metric):
    document = {"TargetValue": 5, "PredefinedMetricSpecification": {"PredefinedMetricType": metric}}
    with pytest.raises(InvalidPolicy, match=f"PredefinedMetricType is '{metric}', which cannot be tracked here"):
        target_tracking_from_document("t", document, "h", "l")


def test_the_metric_of_the_other_dimension_is_refused():
    document = {"TargetValue": 5, "PredefinedMetricSpecification": PER_COPY}
    with pytest.raises(InvalidPolicy, match="use SageMakerVariantConcurrentRequestsPerModelHighResolution$"):
        target_tracking_from_document("t", document, "h", "l", dimension=INSTANCES)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"PredefinedMetricSpecification": PER_COPY}, "TargetValue is missing"),
        ({"TargetValue": 5}, "exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification"),
        (
            {"TargetValue": 5, "PredefinedMetricSpecification": PER_COPY, "CustomizedMetricSpecification": {}},
            "exactly one of",
        ),
        ({"TargetValue": 0, "PredefinedMetricSpecification": PER_COPY}, "TargetValue is 0; .*greater than 0"),
        ({"TargetValue": -5, "PredefinedMetricSpecification": PER_COPY}, "TargetValue is -5"),
        ({"TargetValue": 1e109, "PredefinedMetricSpecification": PER_COPY}, r"TargetValue is 1e\+109; .*2\^360"),
        ({"TargetValue": "nan", "PredefinedMetricSpecification": PER_COPY}, "TargetValue is 'nan'"),
        (
            {"TargetValue": 5, "PredefinedMetricSpecification": {}},
            "PredefinedMetricSpecification.PredefinedMetricType is missing",
        ),
        ({"TargetValue": 5, "CustomizedMetricSpecification": {}}, "names metric None of None"),
        (
            {"TargetValue": 5, "CustomizedMetricSpecification": {"Namespace": "Mine", "MetricName": "Depth"}},
            "names metric 'Depth' of 'Mine', which cannot be tracked here",
        ),
        ({"TargetValue": 5, "CustomizedMetricSpecification": {"Metrics": [{"Id": "m1"}]}}, "metric math"),
        ({"TargetValue": 5, "PredefinedMetricSpecification": PER_COPY, "ScaleInCooldown": -1}, "ScaleInCooldown is -1"),
    ],
)
def test_a_tracking_document_that_cannot_be_followed_is_refused(document, words):
    with pytest.raises(InvalidPolicy, match=words):
        target_tracking_from_document("t", document, "h", "l")


def test_seconds_that_aas_cannot_hold_are_refused_when_writing():
    with pytest.raises(InvalidPolicy, match="Cooldown is 0.5 s; Application Auto Scaling has whole seconds only"):
        to_document(StepScalingPolicy("p", AdjustmentType.CHANGE_IN_CAPACITY, NOTEBOOK_STEPS, (), 0.5), COPIES)


# --- round trips -------------------------------------------------------------------------------------------------------


@st.composite
def step_policies(draw):
    bounds = sorted(draw(st.sets(st.floats(0.5, 1e6), max_size=5)))
    kind = draw(st.sampled_from(list(AdjustmentType)))
    amounts = st.integers(0, 500) if kind is AdjustmentType.EXACT_CAPACITY else st.integers(-500, 500)
    steps = tuple(StepAdjustment(a, b, draw(amounts)) for a, b in zip([0.0, *bounds], [*bounds, None], strict=True))
    return StepScalingPolicy(
        "p",
        kind,
        steps,
        (HIGH,),
        float(draw(st.integers(0, 3600))),
        draw(st.integers(0, 9)),
        draw(st.sampled_from(list(Statistic))),
    )


@given(step_policies())
def test_a_step_policy_survives_the_round_trip_through_json(policy):
    document = json.loads(json.dumps(to_document(policy, COPIES)))
    assert step_policy_from_document("p", document, policy.alarms) == policy
    assert StepScalingDocument.model_validate(document)


@given(
    policy=st.builds(
        TargetTrackingPolicy,
        st.just("t"),
        st.floats(1e-3, 1e6),
        st.just("h"),
        st.just("l"),
        st.integers(0, 3600).map(float),
        st.integers(0, 3600).map(float),
        st.booleans(),
    ),
    dimension=st.sampled_from(list(Dimension)),
)
def test_a_tracking_policy_survives_the_round_trip_through_json(policy, dimension):
    document = json.loads(json.dumps(to_document(policy, dimension)))
    assert target_tracking_from_document("t", document, "h", "l", dimension=dimension) == policy
    assert TargetTrackingDocument.model_validate(document)


# --- the template's step tables ----------------------------------------------------------------------------------------


def test_the_templates_step_table_is_read():
    text = (
        '[{"MetricIntervalLowerBound":0,"MetricIntervalUpperBound":20,"ScalingAdjustment":1},'
        '{"MetricIntervalLowerBound":20,"ScalingAdjustment":2}]'
    )
    assert steps_from_json(text) == NOTEBOOK_STEPS


def test_a_scale_in_table_is_read():
    text = '[{"MetricIntervalUpperBound": 0, "MetricIntervalLowerBound": null, "ScalingAdjustment": -1}]'
    assert steps_from_json(text) == (StepAdjustment(None, 0, -1),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "step adjustments are not JSON: Expecting value at character 1 of ''"),
        ("[{]", "not JSON: .* at character 3"),
        ("{}", "step adjustments are an object; expected a JSON array"),
        ("null", "step adjustments are null"),
        ("7", "step adjustments are a number"),
        ("[]", "StepAdjustments is empty"),
        ("[1]", "step adjustment 1 is a number; expected an object"),
        ('[{"MetricIntervalLowerBound":0,"ScalingAdjustment":1},[]]', "step adjustment 2 is an array"),
        ('[{"MetricIntervalLowerBound":0}]', "step adjustment 1: ScalingAdjustment is missing"),
        ('[{"LowerBound":0,"ScalingAdjustment":1}]', "step adjustment 1: LowerBound is not a field"),
        ('[{"MetricIntervalLowerBound":0,"ScalingAdjustment":1.5}]', "ScalingAdjustment is 1.5"),
        ('[{"MetricIntervalLowerBound":0,"ScalingAdjustment":true}]', "ScalingAdjustment is True"),
        ('[{"MetricIntervalLowerBound":NaN,"ScalingAdjustment":1}]', "hold NaN, which is not a number"),
        ('[{"MetricIntervalLowerBound":1e999,"ScalingAdjustment":1}]', "MetricIntervalLowerBound is inf"),
        ('[{"ScalingAdjustment":1}]', "neither MetricIntervalLowerBound nor MetricIntervalUpperBound"),
        (
            '[{"MetricIntervalLowerBound":0,"ScalingAdjustment":1,"ScalingAdjustment":2}]',
            "ScalingAdjustment is given twice",
        ),
        ("[" * 100_000, "cannot be read"),
        ("9" * 5_000, "cannot be read"),
    ],
)
def test_a_step_table_that_cannot_be_read_says_what_is_wrong(text, words):
    with pytest.raises(InvalidPolicy, match=words):
        steps_from_json(text)


def test_a_table_for_exact_capacities_holds_no_negative_count():
    text = '[{"MetricIntervalLowerBound":0,"ScalingAdjustment":-1}]'
    assert steps_from_json(text) == (StepAdjustment(0, None, -1),)
    with pytest.raises(InvalidPolicy, match="with ExactCapacity it must be 0 or more"):
        steps_from_json(text, AdjustmentType.EXACT_CAPACITY)
