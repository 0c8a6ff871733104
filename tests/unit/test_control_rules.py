"""The API's rules that need no account: names, pages, metrics, alarms, schedules, and what a deployment keeps."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from quickstep.control import paging
from quickstep.control.names import Names, parse_target_id, target_id
from quickstep.control.policy_alarms import specified_alarm, tracking_alarms, wake_alarm
from quickstep.control.predictive_rules import check_predictive, load_queries
from quickstep.control.refusals import InvalidNextTokenException, ValidationException
from quickstep.control.schedule_expression import parse_schedule
from quickstep.control.tracked_metrics import identity, tracked_metric
from quickstep.gateways.autoscaling_model import ADDED_MEMBERS, ADDED_SHAPES
from quickstep.gateways.metric_queries import renamed
from quickstep.model.targets import DemandPolicy, Guards, ScalableTarget, TargetId, TargetTrackingPolicy
from quickstep.usecases.register import merged
from simulator.aws.schedule_expression import parse_schedule as second_reading

NAMES = Names("prod", "aws", "eu-west-1", "111122223333")
CHAT, VARIANT = TargetId.of_component("chat"), TargetId.of_variant("llm", "AllTraffic")
CLOUDWATCH = ServiceModel(Loader(include_default_search_paths=True).load_service_model("cloudwatch", "service-2"))


# -- names -------------------------------------------------------------------------------------------------------------

TARGETS = [
    # namespace, dimension, resource id, what is said (None = accepted)
    ("sagemaker", "sagemaker:inference-component:DesiredCopyCount", "inference-component/chat", None),
    ("sagemaker", "sagemaker:variant:DesiredInstanceCount", "endpoint/llm/variant/AllTraffic", None),
    ("ecs", "ecs:service:DesiredCount", "service/a/b", "ServiceNamespace is 'ecs'"),
    ("sagemaker", "ecs:service:DesiredCount", "service/a/b", "ScalableDimension is 'ecs:service:DesiredCount'"),
    ("sagemaker", "sagemaker:variant:DesiredProvisionedConcurrency", "endpoint/a/variant/b", "ScalableDimension is"),
    ("sagemaker", "sagemaker:variant:DesiredInstanceCount", "inference-component/chat", "endpoint/<endpoint>/variant/"),
    (
        "sagemaker",
        "sagemaker:inference-component:DesiredCopyCount",
        "endpoint/a/variant/b",
        "inference-component/<name>",
    ),
    (
        "sagemaker",
        "sagemaker:inference-component:DesiredCopyCount",
        "inference-component/",
        "inference-component/<name>",
    ),
    (
        "sagemaker",
        "sagemaker:inference-component:DesiredCopyCount",
        "inference-component/a#b",
        "'inference-component/a#b'",
    ),
    ("sagemaker", "sagemaker:variant:DesiredInstanceCount", "endpoint/a/variant/b/c", "'endpoint/a/variant/b/c'"),
]


@pytest.mark.parametrize(("namespace", "dimension", "resource_id", "said"), TARGETS)
def test_only_the_two_dimensions_of_sagemaker_are_targets(namespace, dimension, resource_id, said):
    params = {"ServiceNamespace": namespace, "ScalableDimension": dimension, "ResourceId": resource_id}
    if said is None:
        assert target_id(params) == parse_target_id(resource_id)
        return
    with pytest.raises(ValidationException, match=re.escape(said)):
        target_id(params)


@pytest.mark.parametrize("name", ["scale out", "p", "a/b:c#d", "x" * 256])
@pytest.mark.parametrize("target", [CHAT, VARIANT])
def test_a_policys_arn_tells_whose_it_is_and_begins_with_what_is_the_stacks_own(target, name):
    arn = NAMES.policy_arn(target, name, NAMES.policy_id(target, name))
    assert arn.startswith(NAMES.policy_arn_prefix)
    assert NAMES.policy_of_arn(arn) == (target, name)
    other = Names("prod2", "aws", "eu-west-1", "111122223333")
    assert other.policy_of_arn(arn) is None
    assert re.match(r"^arn:aws:autoscaling:eu-west-1:111122223333:scalingPolicy:[0-9a-f-]{36}:resource/sagemaker/", arn)


@pytest.mark.parametrize("stack", ["s", "s" * 128])
@pytest.mark.parametrize("policy", ["tracking", "with spaces / and: more", "x" * 256])
def test_alarm_names_begin_with_the_stack_name_the_target_and_are_short_enough(stack, policy):
    names = Names(stack, "aws", "eu-west-1", "111122223333")
    found = {names.alarm_name(target, policy, kind) for target in (CHAT, VARIANT) for kind in ("AlarmHigh", "AlarmLow")}
    assert len(found) == 4
    for one in found:
        assert len(one) <= 255 and one.startswith(f"{stack}--") and re.fullmatch(r"[A-Za-z0-9_.-]+", one)
    readable = Names("prod", "aws", "eu-west-1", "1").alarm_name(CHAT, "busy", "AlarmHigh")
    assert re.fullmatch(r"prod--chat-busy-AlarmHigh-[0-9a-f]{8}", readable)


def test_an_arn_of_another_account_or_region_is_not_ours():
    arn = NAMES.target_arn(NAMES.arn_id(CHAT))
    assert NAMES.arn_id_of(arn) == NAMES.arn_id(CHAT)
    assert NAMES.arn_id_of(arn.replace("111122223333", "444455556666")) is None
    assert NAMES.arn_id_of(arn.replace("eu-west-1", "us-east-1")) is None


# -- pages -------------------------------------------------------------------------------------------------------------


def test_a_token_is_good_for_the_request_that_it_was_made_for_only():
    request = {"ServiceNamespace": "sagemaker", "ResourceId": "inference-component/chat"}
    token = paging.next_token("DescribeScalingPolicies", request, "key")["NextToken"]
    assert paging.begin("DescribeScalingPolicies", {**request, "MaxResults": 7, "NextToken": token}) == (7, "key")
    others = [
        ("DescribeScheduledActions", request, token),
        ("DescribeScalingPolicies", {**request, "ResourceId": "inference-component/other"}, token),
        ("DescribeScalingPolicies", request, token[:-3]),
        ("DescribeScalingPolicies", request, "nonsense"),
        ("DescribeScalingPolicies", request, ""),
        ("DescribeScalingPolicies", request, "é"),
    ]
    for operation, params, wrong in others:
        with pytest.raises(InvalidNextTokenException, match="NextToken"):
            paging.begin(operation, {**params, "NextToken": wrong})


@pytest.mark.parametrize(("size", "bound"), [(0, "greater than or equal to 1"), (51, "less than or equal to 50")])
def test_a_page_has_one_to_fifty_results(size, bound):
    with pytest.raises(ValidationException, match=f"Value '{size}' at 'maxResults' .* {bound}"):
        paging.begin("DescribeScalableTargets", {"ServiceNamespace": "sagemaker", "MaxResults": size})


# -- metrics and alarms ------------------------------------------------------------------------------------------------

HIGH_RESOLUTION = "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"
MATH = [
    {
        "Id": "waiting",
        "MetricStat": {"Metric": {"MetricName": "Waiting", "Namespace": "Own"}, "Stat": "Sum"},
        "ReturnData": False,
    },
    {"Id": "per_copy", "Expression": "waiting / 2", "Label": "waiting per copy", "ReturnData": True},
]
METRICS = [
    # document, dimension, period asked for, metric name or expression, statistic, period, low alarm's periods
    ({"Predefined": HIGH_RESOLUTION}, CHAT, None, "ConcurrentRequestsPerCopy", "Maximum", 10, 90),
    ({"Predefined": "SageMakerInferenceComponentInvocationsPerCopy"}, CHAT, None, "InvocationsPerCopy", "Sum", 60, 15),
    (
        {"Predefined": "SageMakerVariantConcurrentRequestsPerModelHighResolution"},
        VARIANT,
        None,
        "ConcurrentRequestsPerModel",
        "Maximum",
        10,
        90,
    ),
    ({"Predefined": "SageMakerVariantInvocationsPerInstance"}, VARIANT, None, "InvocationsPerInstance", "Sum", 60, 15),
    ({"MetricName": "M", "Namespace": "N", "Statistic": "Average"}, CHAT, None, "M", "Average", 60, 15),
    ({"MetricName": "M", "Namespace": "N", "Statistic": "Average"}, CHAT, 10, "M", "Average", 10, 90),
    ({"MetricName": "M", "Namespace": "N", "Statistic": "Average"}, CHAT, 30, "M", "Average", 30, 30),
    ({"Metrics": MATH}, CHAT, 20, "waiting / 2", None, 20, 45),
]


def tracking(given: dict) -> dict:
    if "Predefined" in given:
        return {"TargetValue": 5, "PredefinedMetricSpecification": {"PredefinedMetricType": given["Predefined"]}}
    return {"TargetValue": 5, "CustomizedMetricSpecification": given}


@pytest.mark.parametrize(("given", "target", "period", "name", "statistic", "want_s", "low"), METRICS)
def test_each_metric_is_read_with_its_own_statistic_and_period(given, target, period, name, statistic, want_s, low):
    metric = tracked_metric(tracking(given), target, period)
    assert (metric.period_s, metric.statistic) == (want_s, statistic)
    alarms = tracking_alarms("p", target, 5.0, metric, {}, names=NAMES, scales_in=True)
    (high_name, high), (low_name, low_alarm) = sorted(alarms.items())
    assert "AlarmHigh" in high_name and "AlarmLow" in low_name
    assert (high["Threshold"], low_alarm["Threshold"]) == (5.0, 4.5)
    assert (low_alarm["EvaluationPeriods"], low_alarm["DatapointsToAlarm"]) == (low, low)
    assert low * want_s == 900  # Application Auto Scaling's 15 minutes
    assert (high["TreatMissingData"], low_alarm["TreatMissingData"]) == ("notBreaching", "missing")
    for request in alarms.values():
        text = json.dumps(request)
        assert name in text
        assert (
            not ParamValidator()
            .validate(request, CLOUDWATCH.operation_model("PutMetricAlarm").input_shape)
            .has_errors()
        )
        periods = [stat["MetricStat"]["Period"] for stat in request.get("Metrics", ()) if "MetricStat" in stat]
        assert set(periods or [request["Period"]]) == {want_s}


def test_only_the_targets_own_ten_second_concurrency_needs_no_series_of_its_own():
    dimensions = [{"Name": "InferenceComponentName", "Value": "chat"}]
    own = {"MetricName": "ConcurrentRequestsPerCopy", "Namespace": "AWS/SageMaker", "Dimensions": dimensions}
    assert tracked_metric(tracking({"Predefined": HIGH_RESOLUTION}), CHAT, None).is_concurrency
    assert tracked_metric(tracking({**own, "Statistic": "Average"}), CHAT, 10).is_concurrency
    assert not tracked_metric(tracking({**own, "Statistic": "Average"}), CHAT, None).is_concurrency
    assert not tracked_metric(tracking({**own, "Statistic": "Sum"}), CHAT, 10).is_concurrency
    other = {**own, "Dimensions": [{"Name": "InferenceComponentName", "Value": "other"}]}
    assert not tracked_metric(tracking({**other, "Statistic": "Average"}), CHAT, 10).is_concurrency


REFUSED_METRICS = [
    ({"TargetValue": 1}, None, "exactly one of PredefinedMetricSpecification and"),
    (tracking({"Predefined": "ECSServiceAverageCPUUtilization"}), None, "ECSServiceAverageCPUUtilization"),
    (tracking({"Predefined": "SageMakerVariantInvocationsPerInstance"}), None, "use SageMakerInferenceComponent"),
    (tracking({"Predefined": HIGH_RESOLUTION}), 10, "QuickstepOptions.Period is 10"),
    (tracking({"MetricName": "M", "Namespace": "N"}), None, "Statistic is missing"),
    (tracking({"MetricName": "M", "Namespace": "N", "Statistic": "Sum"}), 15, "10, 20, 30 or 60"),
    (tracking({"Metrics": MATH, "MetricName": "M"}), None, "both Metrics and MetricName"),
    (tracking({"Metrics": [MATH[0], MATH[0]]}), None, "given 2 times"),
    (tracking({"Metrics": [{**MATH[0], "Id": "Waiting"}]}), None, "lower-case letter"),
    (tracking({"Metrics": [{"Id": "a"}]}), None, "exactly one of Expression and MetricStat"),
    (tracking({"Metrics": [MATH[0], {**MATH[1], "ReturnData": False}]}), None, "ReturnData is true for none"),
    (tracking({"Metrics": [{**MATH[0], "ReturnData": True}, MATH[1]]}), None, "true for waiting, per_copy"),
    (
        tracking({"Metrics": [{"Id": "a", "MetricStat": {"Metric": {"MetricName": "M"}, "Stat": "Sum"}}]}),
        None,
        "Namespace",
    ),
    (tracking({"Metrics": [{"Id": "a", "Expression": "1"}]}), None, "has 0 metrics"),
]


@pytest.mark.parametrize(("document", "period", "said"), REFUSED_METRICS)
def test_a_metric_that_cannot_be_tracked_is_refused_with_what_is_wrong(document, period, said):
    with pytest.raises(ValidationException, match=re.escape(said)):
        tracked_metric(document, CHAT, period)


def test_two_documents_of_the_same_metric_are_the_same_whatever_their_target_and_order():
    one = tracking(
        {"MetricName": "M", "Namespace": "N", "Statistic": "Sum", "Dimensions": [{"Name": "a", "Value": "1"}]}
    )
    same = {
        "CustomizedMetricSpecification": dict(reversed(one["CustomizedMetricSpecification"].items())),
        "TargetValue": 9,
    }
    assert identity(one) == identity(same)
    assert identity(one) != identity(tracking({"MetricName": "M", "Namespace": "N", "Statistic": "Sum"}))
    assert identity(tracking({"Predefined": HIGH_RESOLUTION})) != identity(one)


WINDOWS = [
    ({"LowAlarmEvaluationPeriods": 18}, (3, 2), 18),
    ({"HighAlarmEvaluationPeriods": 1}, (1, 1), 90),
    ({"HighAlarmEvaluationPeriods": 5, "HighAlarmDatapoints": 4}, (5, 4), 90),
    ({"HighAlarmDatapoints": 3}, (3, 3), 90),
]


@pytest.mark.parametrize(("options", "high", "low"), WINDOWS)
def test_the_windows_of_the_alarms_can_be_chosen(options, high, low):
    metric = tracked_metric(tracking({"Predefined": HIGH_RESOLUTION}), CHAT, None)
    alarms = tracking_alarms("p", CHAT, 5.0, metric, options, names=NAMES, scales_in=True)
    (_, first), (_, second) = sorted(alarms.items())
    assert (first["EvaluationPeriods"], first["DatapointsToAlarm"]) == high
    assert second["EvaluationPeriods"] == low


def test_windows_that_cloudwatch_refuses_are_refused_before_it_does():
    metric = tracked_metric(tracking({"Predefined": HIGH_RESOLUTION}), CHAT, None)
    for options, said in (
        ({"HighAlarmDatapoints": 4}, "(4) must not be more than the evaluation periods (3)"),
        ({"LowAlarmEvaluationPeriods": 8641}, "more than a day; at most 8640"),
    ):
        with pytest.raises(ValidationException, match=re.escape(said)):
            tracking_alarms("p", CHAT, 5.0, metric, options, names=NAMES, scales_in=True)


def test_a_policy_that_never_scales_in_has_no_low_alarm():
    metric = tracked_metric(tracking({"Predefined": HIGH_RESOLUTION}), CHAT, None)
    (name,) = tracking_alarms("p", CHAT, 5.0, metric, {}, names=NAMES, scales_in=False)
    assert "AlarmHigh" in name


SPECIFIED = [
    # specification, expected parts of the request
    (
        {"Threshold": 20, "ComparisonOperator": "GreaterThanOrEqualToThreshold"},
        ("ConcurrentRequestsPerCopy", 10, 3, 2, True),
    ),
    ({"Threshold": 2, "ComparisonOperator": "LessThanThreshold"}, ("ConcurrentRequestsPerCopy", 10, 30, 30, False)),
    (
        {
            "Threshold": 1,
            "ComparisonOperator": "GreaterThanThreshold",
            "MetricName": "M",
            "Namespace": "N",
            "Period": 60,
            "EvaluationPeriods": 1,
        },
        ("M", 60, 1, 1, True),
    ),
]


@pytest.mark.parametrize(("specification", "want"), SPECIFIED)
def test_a_step_policys_alarm_is_made_as_specified(specification, want):
    ((name, request),), binding = (lambda found: (found[0].items(), found[1]))(
        specified_alarm("steps", CHAT, specification, names=NAMES)
    )
    got = (
        request["MetricName"],
        request["Period"],
        request["EvaluationPeriods"],
        request["DatapointsToAlarm"],
        binding.above,
    )
    assert got == want
    assert (binding.alarm_name, binding.threshold) == (name, specification["Threshold"])
    assert not ParamValidator().validate(request, CLOUDWATCH.operation_model("PutMetricAlarm").input_shape).has_errors()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"Period": 15}, "multiple of 60"),
        ({"MetricName": "M"}, "MetricName is given alone"),
        ({"Dimensions": [{"Name": "a", "Value": "b"}]}, "needs MetricName and Namespace"),
        ({"EvaluationPeriods": 2, "DatapointsToAlarm": 3}, "(3) must not be more"),
    ],
)
def test_an_alarm_specification_that_is_none_is_refused(more, said):
    specification = {"Threshold": 1, "ComparisonOperator": "GreaterThanThreshold", **more}
    with pytest.raises(ValidationException, match=re.escape(said)):
        specified_alarm("steps", CHAT, specification, names=NAMES)


def test_only_inference_components_can_be_woken():
    ((_, request),) = wake_alarm(CHAT, names=NAMES).items()
    assert request["MetricName"] == "NoCapacityInvocationFailures"
    assert wake_alarm(VARIANT, names=NAMES) == {}


def test_queries_of_two_alarms_keep_apart_when_they_are_asked_together():
    queries = [
        {"Id": "m1", "MetricStat": {}, "ReturnData": False},
        {"Id": "m10", "MetricStat": {}, "ReturnData": False},
        {"Id": "e", "Expression": "m1 + m10 * IF(m1 > 0, 1, 0)", "ReturnData": True},
    ]
    assert [one["Id"] for one in renamed(queries, "a7")] == ["a7_m1", "a7_m10", "a7"]
    assert renamed(queries, "a7")[2]["Expression"] == "a7_m1 + a7_m10 * IF(a7_m1 > 0, 1, 0)"


# -- schedules ---------------------------------------------------------------------------------------------------------

SCHEDULES = [
    # text, time zone, as Scheduler wants it
    ("at(2026-03-01T08:00:00)", None, "at(2026-03-01T08:00:00)"),
    ("at(2026-03-01T08:00:00)", "Europe/Berlin", "at(2026-03-01T08:00:00)"),
    ("rate(1 minute)", None, "rate(1 minute)"),
    ("rate(1 minutes)", None, "rate(1 minute)"),
    ("rate(5 minute)", None, "rate(5 minutes)"),
    ("rate( 2  days )", None, "rate(2 days)"),
    ("cron(0 8 * * ? *)", "America/New_York", "cron(0 8 * * ? *)"),
    ("cron(0/15  8-17 ? * MON-FRI 2026-2030)", None, "cron(0/15 8-17 ? * MON-FRI 2026-2030)"),
    ("cron(0 0 1,15 JAN,JUL ? *)", None, "cron(0 0 1,15 JAN,JUL ? *)"),
]
SPECIAL = [
    "cron(0 0 L * ? *)",
    "cron(0 0 LW * ? *)",
    "cron(0 0 15W * ? *)",
    "cron(0 0 ? * 6L *)",
    "cron(0 0 ? * FRI#2 *)",
]
NO_SCHEDULES = [
    ("rate(0 minutes)", None, "1 or more"),
    ("rate(-1 minutes)", None, "rate must be"),
    ("rate(10 seconds)", None, "minutes, hours or days"),
    ("rate(1.5 hours)", None, "whole value"),
    ("at(2026-02-30T08:00:00)", None, "a moment of the calendar"),
    ("at(2026-03-01 08:00:00)", None, "yyyy-mm-ddThh:mm:ss"),
    ("at(2026-03-01T08:00:00Z)", None, "yyyy-mm-ddThh:mm:ss"),
    ("cron(0 8 * * *)", None, "6 fields"),
    ("cron(0 8 * * * *)", None, "exactly one of day-of-month and day-of-week must be ?"),
    ("cron(0 8 ? * ? *)", None, "exactly one"),
    ("cron(60 8 * * ? *)", None, "minutes is '60'"),
    ("cron(0 24 * * ? *)", None, "hours is '24'"),
    ("cron(0 8 32 * ? *)", None, "day of month is '32'"),
    ("cron(0 8 * 13 ? *)", None, "month is '13'"),
    ("cron(0 8 ? * 8 *)", None, "day of week is '8'"),
    ("cron(0 8 ? * FRI#6 *)", None, "day of week is 'FRI#6'"),
    ("cron(0 8 * * ? 1969)", None, "year is '1969'"),
    ("cron(30-10 8 * * ? *)", None, "minutes is '30-10'"),
    ("cron(0/0 8 * * ? *)", None, "minutes is '0/0'"),
    ("cron(a 8 * * ? *)", None, "minutes is 'a'"),
    ("every day", None, "at(yyyy-mm-ddThh:mm:ss), rate(value unit) or cron("),
    ("", None, "it must be at("),
    ("rate(1 day)", "Europe/Atlantis", "Timezone is 'Europe/Atlantis'"),
    ("rate(1 day)", "../etc/passwd", "Timezone is '../etc/passwd'"),
]


@pytest.mark.parametrize(("text", "zone", "want"), SCHEDULES)
def test_a_schedule_is_read_as_the_user_guide_documents_it(text, zone, want):
    found = parse_schedule(text, zone)
    assert (found.text, found.is_once) == (want, want.startswith("at("))
    # What we hand on, the emulated Scheduler understands, and it means the same moment.
    second = second_reading(want, zone or "UTC")
    assert second.at_s == found.at_s


@pytest.mark.parametrize("text", SPECIAL)
def test_the_special_days_of_cron_are_accepted(text):
    assert parse_schedule(text, None).text == text


@pytest.mark.parametrize(("text", "zone", "said"), NO_SCHEDULES)
def test_what_is_no_schedule_is_refused_with_the_field_that_is_wrong(text, zone, said):
    with pytest.raises(ValidationException, match=re.escape(said)):
        parse_schedule(text, zone)


def test_a_time_zone_moves_an_at_expression():
    assert parse_schedule("at(2026-07-01T08:00:00)", "Europe/Berlin").at_s == pytest.approx(
        parse_schedule("at(2026-07-01T06:00:00)", None).at_s
    )


# -- forecasts' documents ----------------------------------------------------------------------------------------------

PAIR = {"TargetValue": 5, "PredefinedMetricPairSpecification": {"PredefinedMetricType": HIGH_RESOLUTION}}
CUSTOM = {
    "MetricDataQueries": [{"Id": "m", "MetricStat": {"Metric": {"MetricName": "M", "Namespace": "N"}, "Stat": "Sum"}}]
}
PREDICTIVE = [
    ({"MetricSpecifications": [PAIR]}, None),
    ({"MetricSpecifications": [PAIR, PAIR]}, "has 2 entries"),
    ({"MetricSpecifications": []}, "has 0 entries"),
    ({"MetricSpecifications": [{**PAIR, "TargetValue": 0}]}, "greater than 0"),
    ({"MetricSpecifications": [{"TargetValue": 5}]}, "has no metric"),
    ({"MetricSpecifications": [PAIR], "MaxCapacityBreachBehavior": "IncreaseMaxCapacity"}, "MaxCapacityBuffer is None"),
    ({"MetricSpecifications": [PAIR], "MaxCapacityBuffer": 10}, "cannot be used otherwise"),
    (
        {"MetricSpecifications": [PAIR], "MaxCapacityBreachBehavior": "IncreaseMaxCapacity", "MaxCapacityBuffer": 10},
        None,
    ),
    (
        {"MetricSpecifications": [{"TargetValue": 5, "CustomizedLoadMetricSpecification": CUSTOM}]},
        "a load metric and a",
    ),
    (
        {
            "MetricSpecifications": [
                {
                    "TargetValue": 5,
                    "CustomizedLoadMetricSpecification": CUSTOM,
                    "CustomizedScalingMetricSpecification": CUSTOM,
                }
            ]
        },
        None,
    ),
    (
        {
            "MetricSpecifications": [
                {
                    "TargetValue": 5,
                    "PredefinedMetricPairSpecification": {"PredefinedMetricType": "ECSServiceCPUUtilization"},
                }
            ]
        },
        "'ECSServiceCPUUtilization', which is no pair",
    ),
]


@pytest.mark.parametrize(("document", "said"), PREDICTIVE)
def test_a_predictive_configuration_has_one_pair_or_a_load_and_a_scaling_metric(document, said):
    if said is None:
        check_predictive(document, CHAT)
        return
    with pytest.raises(ValidationException, match=re.escape(said)):
        check_predictive(document, CHAT)


def test_queries_of_load_scaling_and_capacity_have_ids_of_their_own():
    specification = {
        "TargetValue": 5,
        "CustomizedLoadMetricSpecification": CUSTOM,
        "CustomizedScalingMetricSpecification": CUSTOM,
        "CustomizedCapacityMetricSpecification": CUSTOM,
    }
    found = load_queries(specification, CHAT)
    assert [one["Id"] for one in found.queries] == ["load", "scaling", "capacity"]
    shape = CLOUDWATCH.operation_model("GetMetricData").input_shape.members["MetricDataQueries"]
    assert not ParamValidator().validate(list(found.queries), shape).has_errors()
    assert found.load_per_target_unit is None


# -- a deployment and what the API did -----------------------------------------------------------------------------------

DEMAND = DemandPolicy("default-demand", 5.0)
TRACKING = TargetTrackingPolicy("mine", 4.0, "s--h", "s--l")
DEPLOYED = ScalableTarget(CHAT, "llm", None, 1, 4, (DEMAND,), alarms=("s--high", "s--low"), wake_alarm="s--wake")
BY_API = replace(DEPLOYED, min_capacity=3, policies=(DEMAND, TRACKING), alarms=("s--high", "s--low", "s--mine"))
DEPLOYMENTS = [
    # before, now, stored, what is kept
    (None, DEPLOYED, None, DEPLOYED),
    (DEPLOYED, DEPLOYED, BY_API, BY_API),
    (DEPLOYED, replace(DEPLOYED, max_capacity=8), BY_API, replace(BY_API, max_capacity=8)),
    (DEPLOYED, replace(DEPLOYED, min_capacity=2), BY_API, replace(BY_API, min_capacity=2)),
    # the new range does not hold what the API made: the parameters win as a whole
    (DEPLOYED, replace(DEPLOYED, max_capacity=2), BY_API, replace(BY_API, min_capacity=1, max_capacity=2)),
    # nothing is known of the deployment before: its own values win, other people's policies stay
    (None, DEPLOYED, BY_API, replace(DEPLOYED, policies=(DEMAND, TRACKING), alarms=BY_API.alarms)),
    # the template's policies are the template's
    (
        DEPLOYED,
        replace(DEPLOYED, policies=(replace(DEMAND, target_per_copy=9.0),)),
        BY_API,
        replace(BY_API, policies=(replace(DEMAND, target_per_copy=9.0), TRACKING)),
    ),
    (DEPLOYED, replace(DEPLOYED, guards=Guards(wake_cap=1)), BY_API, replace(BY_API, guards=Guards(wake_cap=1))),
    # an alarm of the template that is gone is not taken for somebody's
    (DEPLOYED, replace(DEPLOYED, alarms=("s--high",)), BY_API, replace(BY_API, alarms=("s--high", "s--mine"))),
    # a wake alarm that the API found stays where the template has none
    (
        replace(DEPLOYED, wake_alarm=None),
        replace(DEPLOYED, wake_alarm=None),
        replace(BY_API, wake_alarm="users"),
        replace(BY_API, wake_alarm="users"),
    ),
]


@pytest.mark.parametrize(("before", "now", "stored", "want"), DEPLOYMENTS)
def test_a_deployment_changes_what_it_changes_and_keeps_what_the_api_did(before, now, stored, want):
    assert merged(before, now, stored) == want
    # Said twice it is the same: Reconcile asks every minute.
    assert merged(now, now, want) == want


# -- the documentation -------------------------------------------------------------------------------------------------


def test_every_member_that_quickstep_adds_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "control_api.md").read_text(encoding="utf-8")
    members = {member for shape in ADDED_SHAPES.values() for member in shape.get("members", ())}
    members |= {member for added in ADDED_MEMBERS.values() for member in added}
    assert [one for one in sorted(members) if f"`{one}`" not in text] == []
