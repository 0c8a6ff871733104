"""The environment makes sense together, or the message says what to change where."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from quickstep import settings as settings_module
from quickstep.errors import InvalidPolicy, InvalidSettings
from quickstep.model.targets import (
    AdjustmentType,
    AlarmBinding,
    DemandPolicy,
    Statistic,
    StepAdjustment,
    StepScalingPolicy,
    TargetId,
)
from quickstep.policy_documents import steps_from_json
from quickstep.settings import PolicyMode, Settings, forget, parameter, settings, variables

STEPS_OUT = json.dumps(
    [
        {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 20, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 20, "ScalingAdjustment": 2},
    ]
)
STEPS_IN = json.dumps(
    [
        {"MetricIntervalLowerBound": -20, "MetricIntervalUpperBound": 0, "ScalingAdjustment": -1},
        {"MetricIntervalUpperBound": -20, "ScalingAdjustment": -2},
    ]
)
ENVIRONMENT = {
    "STACK_NAME": "prod",
    "TABLE_NAME": "prod-Registry",
    "STATE_MACHINE_ARN": "arn:aws:states:eu-west-1:123456789012:stateMachine:prod-ScalingLoop",
    "ALARM_PREFIX": "prod--",
    "SCHEDULE_GROUP_NAME": "prod-quickstep",
    "SCHEDULED_ACTION_FUNCTION_ARN": "arn:aws:lambda:eu-west-1:123456789012:function:prod-scheduled",
    "SCHEDULER_ROLE_ARN": "arn:aws:iam::123456789012:role/prod-SchedulerRole",
    "DEAD_LETTER_QUEUE_ARN": "arn:aws:sqs:eu-west-1:123456789012:prod-DeadLetterQueue",
    "SCALABLE_TARGETS_LIMIT": "500",
    "CODE_VERSION": "0.1.0+abc",
    "LOG_LEVEL": "INFO",
    "POWERTOOLS_SERVICE_NAME": "prod",
    "POWERTOOLS_METRICS_NAMESPACE": "Quickstep",
    "SCALING_ENABLED": "Yes",
    "ENDPOINT_NAME": "llm",
    "INFERENCE_COMPONENT_NAME": "chat",
    "VARIANT_NAME": "AllTraffic",
    "MIN_CAPACITY": "1",
    "MAX_CAPACITY": "8",
    "TARGET_CONCURRENT_REQUESTS_PER_COPY": "20",
    "CONCURRENCY_STATISTIC": "Maximum",
    "POLICY_MODE": "StepsAndDemand",
    "SCALE_OUT_STEPS_JSON": STEPS_OUT,
    "SCALE_IN_STEPS_JSON": STEPS_IN,
    "STEP_COOLDOWN_SECONDS": "60",
    "SCALE_IN_HOLD_SECONDS": "300",
    "SLO_TARGET": "99",
    "DRAIN_BUDGET_SECONDS": "600",
    "HIGH_ALARM_NAME": "prod--chat-high",
    "LOW_ALARM_NAME": "prod--chat-low",
    "WAKE_ALARM_NAME": "prod--chat-wake",
    "HIGH_ALARM_THRESHOLD": "20",
    "LOW_ALARM_THRESHOLD": "18",
    "BUDGET_USD_PER_HOUR": "",
    "INSTANCE_USD_PER_HOUR": "1.41",
}


def read(**changes):
    """Settings of the environment above with some variables changed; None takes a variable out."""
    environ = {**ENVIRONMENT, **changes}
    return Settings.from_environment({name: value for name, value in environ.items() if value is not None})


# -- what is read -----------------------------------------------------------------------------------------------------


def test_the_stacks_own_values_are_read():
    found = read()
    assert (found.stack_name, found.table_name, found.alarm_prefix) == ("prod", "prod-Registry", "prod--")
    assert (found.code_version, found.log_level, found.scaling_enabled) == ("0.1.0+abc", "INFO", True)
    assert (found.partition, found.region, found.account_id) == ("aws", "eu-west-1", "123456789012")
    assert read(SCALING_ENABLED="No").scaling_enabled is False


def test_the_default_target_is_the_component_whose_steps_only_add_beside_demand():
    target = read().default_target()
    assert target.target_id == TargetId.of_component("chat")
    assert (target.endpoint, target.variant) == ("llm", None)
    assert (target.min_capacity, target.max_capacity) == (1, 8)
    assert target.policies == (
        StepScalingPolicy(
            name="default-steps-out",
            adjustment_type=AdjustmentType.CHANGE_IN_CAPACITY,
            steps=(StepAdjustment(0, 20, 1), StepAdjustment(20, None, 2)),
            alarms=(AlarmBinding("prod--chat-high", 20.0, above=True),),
            cooldown_s=60.0,
            metric_aggregation=Statistic.MAXIMUM,
        ),
        DemandPolicy(name="default-demand", target_per_copy=20.0, scale_in_hold_s=300.0, slo_target=99.0),
    )
    assert target.guards.drain_budget_s == 600.0
    assert target.wake_alarm == "prod--chat-wake"
    assert (target.hourly_cost_usd, target.budget_usd_per_hour) == (1.41, None)


def test_without_a_component_the_variants_instances_are_scaled():
    target = read(INFERENCE_COMPONENT_NAME="", WAKE_ALARM_NAME="").default_target()
    assert target.target_id == TargetId.of_variant("llm", "AllTraffic")
    assert (target.variant, target.wake_alarm) == ("AllTraffic", None)


def test_without_an_endpoint_there_is_no_default_target_whatever_the_rest_says():
    empty = dict.fromkeys((one.name for one in fields(settings_module.DefaultTarget)), "")
    found = read(**{name.upper(): value for name, value in empty.items()})
    assert found.default is None
    assert found.default_target() is None


# mode, names of the policies
MODES = [
    ("StepsAndDemand", ["default-steps-out", "default-demand"]),
    ("StepsOnly", ["default-steps-out", "default-steps-in"]),
    ("DemandOnly", ["default-demand"]),
]


@pytest.mark.parametrize(("mode", "names"), MODES)
def test_the_policy_mode_chooses_the_policies_and_the_alarms_stay(mode, names):
    found = read(POLICY_MODE=mode)
    assert [policy.name for policy in found.default_target().policies] == names
    assert found.default.alarm_names == ("prod--chat-high", "prod--chat-low", "prod--chat-wake")


def test_every_policy_mode_is_in_the_table():
    assert [mode for mode, _ in MODES] == list(PolicyMode)


# variable, text, what is read of it
VALUES = [
    ("BUDGET_USD_PER_HOUR", "12.5", ("budget_usd_per_hour", 12.5)),
    ("BUDGET_USD_PER_HOUR", " ", ("budget_usd_per_hour", None)),
    ("INSTANCE_USD_PER_HOUR", "", ("hourly_cost_usd", None)),
    ("WAKE_ALARM_NAME", "", ("wake_alarm", None)),
    ("MIN_CAPACITY", "0", ("min_capacity", 0)),
    ("MAX_CAPACITY", "1", ("max_capacity", 1)),
    ("TARGET_CONCURRENT_REQUESTS_PER_COPY", "1", ("target_per_copy", 1.0)),
]


@pytest.mark.parametrize(("variable", "text", "want"), VALUES)
def test_what_may_be_empty_is_none_and_a_number_is_a_number(variable, text, want):
    field, value = want
    assert getattr(read(**{variable: text}).default_target(), field) == value


def test_a_target_below_one_is_good_with_the_average():
    assert (
        read(TARGET_CONCURRENT_REQUESTS_PER_COPY="0.7", CONCURRENCY_STATISTIC="Average")
        .default_target()
        .target_per_copy
        == 0.7
    )


# -- what is refused --------------------------------------------------------------------------------------------------

# changed variables, words of the message
REFUSED = [
    ({"MIN_CAPACITY": "4", "MAX_CAPACITY": "2"}, ["MaxCapacity (2) is below MinCapacity (4); raise MaxCapacity or lower MinCapacity"]),
    ({"INFERENCE_COMPONENT_NAME": "", "VARIANT_NAME": ""}, ["InferenceComponentName and VariantName are both empty"]),
    ({"MIN_CAPACITY": "0", "WAKE_ALARM_NAME": ""}, ["MinCapacity (0)", "WAKE_ALARM_NAME is empty", "set MinCapacity to 1"]),
    ({"MIN_CAPACITY": "0", "INFERENCE_COMPONENT_NAME": ""}, ["MinCapacity (0)", "variant AllTraffic", "set MinCapacity to 1"]),
    (
        {"TARGET_CONCURRENT_REQUESTS_PER_COPY": "0.7"},
        ["TargetConcurrentRequestsPerCopy (0.7) is below 1", "Maximum", "set the target to 1 or more"],
    ),
    ({"LOW_ALARM_THRESHOLD": "20"}, ["LowAlarmThresholdConcurrentRequests (20) is not below HighAlarmThresholdConcurrentRequests (20)"]),
    ({"LOW_ALARM_THRESHOLD": "21"}, ["LowAlarmThresholdConcurrentRequests (21) is not below HighAlarmThresholdConcurrentRequests (20)"]),
    ({"LOW_ALARM_NAME": "prod--chat-high"}, ["HIGH_ALARM_NAME and LOW_ALARM_NAME are both 'prod--chat-high'"]),
    ({"BUDGET_USD_PER_HOUR": "5", "INSTANCE_USD_PER_HOUR": ""}, ["BudgetUsdPerHour (5)", "set InstanceUsdPerHour"]),
    ({"ALARM_PREFIX": "prod-"}, ["ALARM_PREFIX is 'prod-'; expected 'prod--'"]),
    ({"ALARM_PREFIX": "other--"}, ["ALARM_PREFIX is 'other--'; expected 'prod--'"]),
    ({"MAX_CAPACITY": "0"}, ["MAX_CAPACITY (template parameter MaxCapacity) is '0': input should be greater than or equal to 1"]),
    ({"MAX_CAPACITY": "many"}, ["MAX_CAPACITY (template parameter MaxCapacity) is 'many'", "valid integer"]),
    ({"MIN_CAPACITY": "-1"}, ["MIN_CAPACITY (template parameter MinCapacity) is '-1'"]),
    ({"MIN_CAPACITY": "1.5"}, ["MIN_CAPACITY"]),
    ({"MIN_CAPACITY": ""}, ["MIN_CAPACITY (template parameter MinCapacity) is ''"]),
    ({"TARGET_CONCURRENT_REQUESTS_PER_COPY": "0"}, ["TargetConcurrentRequestsPerCopy", "greater than 0"]),
    ({"TARGET_CONCURRENT_REQUESTS_PER_COPY": "nan"}, ["TargetConcurrentRequestsPerCopy", "finite"]),
    ({"HIGH_ALARM_THRESHOLD": "inf"}, ["HighAlarmThresholdConcurrentRequests", "finite"]),
    ({"STEP_COOLDOWN_SECONDS": "-1"}, ["StepCooldownSeconds"]),
    ({"SCALE_IN_HOLD_SECONDS": "86401"}, ["ScaleInHoldSeconds"]),
    ({"DRAIN_BUDGET_SECONDS": "x"}, ["DrainBudgetSeconds"]),
    ({"BUDGET_USD_PER_HOUR": "0"}, ["BudgetUsdPerHour", "greater than 0"]),
    ({"CONCURRENCY_STATISTIC": "Sum"}, ["CONCURRENCY_STATISTIC (template parameter ConcurrencyStatistic) is 'Sum': input should be 'Average' or 'Maximum'"]),
    ({"POLICY_MODE": "Steps"}, ["POLICY_MODE (template parameter PolicyMode) is 'Steps'", "'StepsAndDemand', 'StepsOnly' or 'DemandOnly'"]),
    ({"SCALING_ENABLED": "true"}, ["SCALING_ENABLED (template parameter ScalingEnabled) is 'true': expected Yes or No"]),
    ({"SCALING_ENABLED": "1"}, ["is '1': expected Yes or No"]),
    ({"SCALING_ENABLED": ""}, ["is '': expected Yes or No"]),
    ({"LOG_LEVEL": "LOUD"}, ["LOG_LEVEL (template parameter LogLevel) is 'LOUD'"]),
    ({"ENDPOINT_NAME": "a/b"}, ["ENDPOINT_NAME (template parameter EndpointName) is 'a/b'"]),
    ({"INFERENCE_COMPONENT_NAME": "x" * 64}, ["INFERENCE_COMPONENT_NAME", "at most 63"]),
    ({"HIGH_ALARM_NAME": ""}, ["HIGH_ALARM_NAME (the template's high alarm) is ''"]),
    ({"STACK_NAME": "2prod", "ALARM_PREFIX": "2prod--"}, ["STACK_NAME (AWS::StackName) is '2prod'"]),
    ({"STATE_MACHINE_ARN": "prod-ScalingLoop"}, ["STATE_MACHINE_ARN (the scaling loop's state machine) is 'prod-ScalingLoop'"]),
    ({"TABLE_NAME": ""}, ["TABLE_NAME (the registry's table) is ''"]),
    ({"CODE_VERSION": " "}, ["CODE_VERSION"]),
    # step tables
    ({"SCALE_OUT_STEPS_JSON": ""}, ["SCALE_OUT_STEPS_JSON (template parameter ScaleOutStepsJson) is ''"]),
    ({"SCALE_OUT_STEPS_JSON": "not JSON"}, ["SCALE_OUT_STEPS_JSON (template parameter ScaleOutStepsJson): "]),
    ({"SCALE_OUT_STEPS_JSON": "[]"}, ["ScaleOutStepsJson"]),
    ({"SCALE_OUT_STEPS_JSON": STEPS_IN}, ["ScaleOutStepsJson", "step 1 removes 1 in the scale-out table", "ScaleInStepsJson"]),
    ({"SCALE_IN_STEPS_JSON": STEPS_OUT}, ["ScaleInStepsJson", "step 1 adds 1 in the scale-in table", "ScaleOutStepsJson"]),
    # several at once are told at once
    ({"MIN_CAPACITY": "x", "MAX_CAPACITY": "y"}, ["MinCapacity", "MaxCapacity"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "says"), REFUSED, ids=["-".join(changes) for changes, _ in REFUSED])
def test_what_makes_no_sense_is_refused_naming_parameter_and_value(changes, says):
    with pytest.raises(InvalidSettings) as caught:
        read(**changes)
    for words in says:
        assert words in str(caught.value)


@pytest.mark.parametrize("variable", sorted(ENVIRONMENT))
def test_a_missing_variable_is_named_and_never_has_a_default(variable):
    with pytest.raises(InvalidSettings, match=rf"{variable} \(.*\) is missing.*Deploy the template"):
        read(**{variable: None})


def test_the_variables_are_exactly_those_of_this_environment():
    assert variables() == tuple(sorted(ENVIRONMENT))


def test_variables_of_the_runtime_and_of_others_are_ignored():
    assert read(AWS_REGION="eu-west-1", PATH="/bin", _HANDLER="app.handler") == read()


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("MAX_CAPACITY", "MaxCapacity"),
        ("SCALE_OUT_STEPS_JSON", "ScaleOutStepsJson"),
        ("BUDGET_USD_PER_HOUR", "BudgetUsdPerHour"),
        ("LOW_ALARM_THRESHOLD", "LowAlarmThresholdConcurrentRequests"),
    ],
)
def test_a_variable_is_its_template_parameter_in_capitals(variable, name):
    assert parameter(variable) == name


# -- the process's settings -------------------------------------------------------------------------------------------


def test_the_environment_is_read_once_and_again_after_being_forgotten(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    forget()
    first = settings()
    monkeypatch.setenv("MAX_CAPACITY", "9")
    assert settings() is first
    forget()
    assert settings().default.max_capacity == 9
    forget()


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        read().table_name = "another"


# -- step tables, read without pydantic where they are plain -------------------------------------------------------------

TABLES = [
    '[{"MetricIntervalLowerBound":10,"MetricIntervalUpperBound":30,"ScalingAdjustment":1},{"MetricIntervalLowerBound":30,"ScalingAdjustment":2}]',
    '[{"MetricIntervalUpperBound":0,"ScalingAdjustment":-1}]',
    '[{"MetricIntervalLowerBound":0.5,"ScalingAdjustment":0}]',
    '[{"ScalingAdjustment":3}]',
    '[{"MetricIntervalLowerBound":null,"ScalingAdjustment":3}]',
    '[{"MetricIntervalLowerBound":0,"ScalingAdjustment":1.0}]',
    '[{"MetricIntervalLowerBound":0,"ScalingAdjustment":"1"}]',
    '[{"MetricIntervalLowerBound":"0","ScalingAdjustment":1}]',
    '[{"MetricIntervalLowerBound":true,"ScalingAdjustment":1}]',
    '[{"MetricIntervalLowerBound":0,"ScalingAdjustment":1,"More":1}]',
    '[{"MetricIntervalLowerBound":0,"MetricIntervalLowerBound":1,"ScalingAdjustment":1}]',
    '[{"MetricIntervalLowerBound":NaN,"ScalingAdjustment":1}]',
    '[{"MetricIntervalLowerBound":1e999,"ScalingAdjustment":1}]',
    '[{"MetricIntervalLowerBound":0}]',
    '[{"MetricIntervalLowerBound":5,"MetricIntervalUpperBound":1,"ScalingAdjustment":1}]',
    "[]", "{}", "[1]", "[[]]", "7", "null", "", "[", '{"ScalingAdjustment":1}', "[" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("document", TABLES, ids=range(len(TABLES)))
def test_a_plain_step_table_is_what_the_full_reader_reads_and_any_other_is_left_to_it(document):
    found = settings_module.plain_steps(document)
    if found is not None:
        assert found == steps_from_json(document)
    else:
        try:
            assert steps_from_json(document)
        except (InvalidPolicy, ValueError, RecursionError):
            return
        assert '"1"' in document or "1.0" in document or '"0"' in document, "only odd spellings are left to it"


def test_the_templates_tables_are_plain():
    assert settings_module.plain_steps(ENVIRONMENT["SCALE_OUT_STEPS_JSON"])
    assert settings_module.plain_steps(ENVIRONMENT["SCALE_IN_STEPS_JSON"])
