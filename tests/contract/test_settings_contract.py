"""Template parameters, environment variables and settings: the same names, the same values accepted, the same README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quickstep.errors import InvalidSettings
from quickstep.model.targets import DemandPolicy, StepScalingPolicy, TargetId
from quickstep.settings import Settings, parameter, variables
from simulator.reference import BEGIN, END, with_parameters
from simulator.template import TemplateError, load_stack
from simulator.template_values import parameter_values
from tests.contract.translated import MODES, PARAMETERS, ROOT, TEMPLATE, changed, source, stack

DECLARED: dict[str, dict[str, Any]] = source()["Parameters"]
BUILT = {
    "STACK_NAME",
    "TABLE_NAME",
    "STATE_MACHINE_ARN",
    "ALARM_PREFIX",
    "SCHEDULE_GROUP_NAME",
    "SCHEDULED_ACTION_FUNCTION_ARN",
    "SCHEDULER_ROLE_ARN",
    "DEAD_LETTER_QUEUE_ARN",
    "CODE_VERSION",
    "POWERTOOLS_SERVICE_NAME",
    "POWERTOOLS_METRICS_NAMESPACE",
    "HIGH_ALARM_NAME",
    "LOW_ALARM_NAME",
    "WAKE_ALARM_NAME",
}
"""Variables that the template makes itself; every other one is a parameter's value."""


GATEWAY = "GatewayFunction"
"""The one function with variables of its own: tests/contract/test_gateway.py holds them against its settings."""


# -- names -------------------------------------------------------------------------------------------------------------


def variable_findings(path: Path) -> list[str]:
    """Variables that one side has alone, or that carry another parameter than settings say in their messages."""
    template = source(path)
    given: dict[str, Any] = template["Globals"]["Function"]["Environment"]["Variables"]
    found = [f"{name} is on one side only" for name in sorted(set(given) ^ set(variables()))]
    for name in sorted(set(given) - BUILT):
        if given[name] != {"Ref": parameter(name)}:
            found.append(f"{name} carries {given[name]}, settings call it {parameter(name)}")
        elif parameter(name) not in template["Parameters"]:
            found.append(f"{name}: there is no parameter {parameter(name)}")
    for name, resource in template["Resources"].items():
        if name != GATEWAY and "Environment" in resource.get("Properties", {}):
            found.append(f"{name} has variables of its own, which no settings know")
    return found


def test_every_variable_is_known_to_settings_and_carries_the_parameter_of_its_name():
    assert variable_findings(TEMPLATE) == []


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("        LOG_LEVEL: !Ref LogLevel\n", ""), "LOG_LEVEL is on one side only"),
        (("        LOG_LEVEL:", "        LEVEL: DEBUG\n        LOG_LEVEL:"), "LEVEL is on one side only"),
        (("MAX_CAPACITY: !Ref MaxCapacity", "MAX_CAPACITY: !Ref MinCapacity"), "MAX_CAPACITY carries"),
    ],
)
def test_a_variable_that_is_changed_alone_is_noticed(tmp_path, edit, said):
    found = variable_findings(changed(tmp_path, edit))
    assert any(said in one for one in found), found


# -- values ------------------------------------------------------------------------------------------------------------


def environment(given: dict[str, str], path: Path = TEMPLATE) -> dict[str, str]:
    """The variables that every function of the deployed stack gets; all must get the same."""
    functions = load_stack(path, given).of_type("AWS::Lambda::Function")
    (first, *others) = [one.properties["Environment"]["Variables"] for one in functions]
    assert all(one == first for one in others)
    return {name: str(value) for name, value in first.items()}


@pytest.mark.parametrize("mode", MODES)
def test_settings_accept_the_templates_defaults(mode):
    target = Settings.from_environment(environment(MODES[mode])).default_target()
    assert target is not None
    component, variant = TargetId.of_component("chat"), TargetId.of_variant("llm", "AllTraffic")
    assert target.target_id == (component if mode == "component" else variant)
    assert [type(policy) for policy in target.policies] == [StepScalingPolicy, DemandPolicy]
    # The wake alarm exists exactly where settings expect one.
    names = {alarm.properties["AlarmName"] for alarm in stack(mode=mode).of_type("AWS::CloudWatch::Alarm")}
    assert {name for name in names if name.startswith("quickstep--")} == set(target.alarm_names)


ROOM = {
    **PARAMETERS,
    "MinCapacity": "1",
    "MaxCapacity": "1000",
    "HighAlarmThresholdConcurrentRequests": "1024",
    "LowAlarmThresholdConcurrentRequests": "0",
    "InstanceUsdPerHour": "7.09",
}
"""Values that leave every single one room to move without breaking a rule between two of them."""

NAMES = ("a", "A9", "a" * 63, "a" * 64, "a-b", "a--b", "-a", "a-", "a_b", "a b", "a" + "-" * 62 + "b", "é", "")
DOLLARS = ("", "0", "0.0", "00", "0.5", "25", "25.5", "25.12345", "-1", "1e3", ".5", "5.", "free")
JSONS = ("[]", "[ ]", "{}", "", "nothing", "[1]")
CANDIDATES = {
    "EndpointName": NAMES,
    "InferenceComponentName": NAMES,
    "VariantName": NAMES,
    "BudgetUsdPerHour": DOLLARS,
    "InstanceUsdPerHour": tuple(one for one in DOLLARS if one),
    "ScaleInStepsJson": JSONS,
    "ScaleOutStepsJson": JSONS,
}
WIDER = {
    ("EndpointName", ""),
    ("VariantName", ""),
    *(
        (name, value)
        for name in ("BudgetUsdPerHour", "InstanceUsdPerHour")
        for value in ("25.12345", "1e3", ".5", "5.")
    ),
}
"""What settings read although the template refuses it: a stack without a default target, and other ways to write money."""

FRACTIONS = {"MinCapacity", "MaxCapacity", "ScalableTargetsLimit"}
"""Whole numbers. CloudFormation's Number cannot say so; settings refuse a fraction, which the person then reads in a log."""


def candidates(name: str, declared: dict[str, Any]) -> tuple[str, ...]:
    """Values at and just beyond every edge of one parameter."""
    if name in CANDIDATES:
        return CANDIDATES[name]
    if "AllowedValues" in declared:
        return (*(str(one) for one in declared["AllowedValues"]), "Neither", "")
    low, high = declared["MinValue"], declared["MaxValue"]
    return (str(low), str(high), str(low - 1), str(high + 1), str((low + high) // 2 + 0.5), "many", "")


def in_template(name: str, value: str) -> bool:
    try:
        parameter_values(DECLARED, {**ROOM, name: value})
    except TemplateError:
        return False
    return True


def in_settings(name: str, value: str) -> bool:
    (variable,) = [one for one in variables() if one not in BUILT and parameter(one) == name]
    try:
        Settings.from_environment({**environment(ROOM), variable: value}).default_target()
    except InvalidSettings:
        return False
    return True


READ = sorted(parameter(one) for one in variables() if one not in BUILT)


@pytest.mark.parametrize("name", READ)
def test_what_the_template_accepts_settings_accept_and_a_wrong_word_both_refuse(name):
    declared = DECLARED[name]
    for value in candidates(name, declared):
        accepted = in_template(name, value), in_settings(name, value)
        if name in FRACTIONS and value.endswith(".5"):
            assert accepted == (True, False), (name, value)
        elif (name, value) in WIDER or (declared["Type"] == "Number" and accepted == (False, True)):
            # A number that the template finds senseless, but that settings can work with.
            assert accepted == (False, True), (name, value)
        else:
            assert accepted[0] == accepted[1], (name, value, accepted)


@pytest.mark.parametrize(
    "given",
    [
        {"EndpointName": "llm", "MinCapacity": "0"},
        {**PARAMETERS, "BudgetUsdPerHour": "25"},
    ],
)
def test_rules_between_parameters_that_cloudformation_can_compare_are_refused_by_it_already(given):
    with pytest.raises(TemplateError, match="Template constraint violated"):
        load_stack(TEMPLATE, given)


def test_a_bound_that_settings_do_not_accept_would_be_noticed(tmp_path):
    # Below 1 the maximum of a single request already asks for everything.
    path = changed(
        tmp_path,
        (
            "    Default: 5\n    MinValue: 1\n    MaxValue: 1024\n",
            "    Default: 5\n    MinValue: 0.5\n    MaxValue: 1024\n",
        ),
    )
    given = {**ROOM, "TargetConcurrentRequestsPerCopy": "0.5"}
    with pytest.raises(InvalidSettings, match="TargetConcurrentRequestsPerCopy"):
        Settings.from_environment(environment(given, path))


# -- the reference -----------------------------------------------------------------------------------------------------


def test_the_readme_has_a_row_for_every_parameter_as_the_template_describes_it():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_parameters(readme, source()) == readme, "README.md is behind template.yaml: run `make docs`"
    block = readme.split(BEGIN)[1].split(END)[0]
    assert [name for name in DECLARED if f"| `{name}` |" not in block] == []


def test_a_readme_that_is_behind_or_without_its_markers_is_noticed(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    template = source(changed(tmp_path, ("    Default: 512\n", "    Default: 768\n")))
    assert with_parameters(readme, template) != readme
    with pytest.raises(ValueError, match="parameters:begin"):
        with_parameters(readme.replace(BEGIN, ""), source())
