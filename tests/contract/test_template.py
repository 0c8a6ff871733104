"""The template against its linters, the code it deploys, and the rules a stack must keep. One side changed alone fails."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from quickstep.usecases.look import LEASE_S
from simulator.template import Resource, Stack, load_stack
from tests.contract.translated import MACHINE, ROOT, TEMPLATE, changed, cloudformation, lint_findings, source, stack

QUEUE = "DeadLetterQueue"
NEVER_LEASES = {"GatewayFunction"}
"""Functions that cannot reach the write lease (tests/contract/test_gateway.py), so that nothing bounds their time-out by it."""


def test_cfn_lint_finds_nothing_in_the_translated_template_not_even_to_inform():
    assert lint_findings(cloudformation()) == []


# -- parameters: what a person is asked --------------------------------------------------------------------------------


def parameter_findings(path: Path) -> list[str]:
    """Parameters that are not described, not constrained, or not where the console shows them."""
    template = source(path)
    found, declared = [], template["Parameters"]
    for name, one in declared.items():
        constraints = {"AllowedPattern", "AllowedValues"} & set(one)
        if one["Type"] == "Number" and "AllowedValues" not in one:
            constraints = {"MinValue", "MaxValue"} if {"MinValue", "MaxValue"} <= set(one) else set()
        if not constraints:
            found.append(f"{name} takes anything")
        if not one.get("Description", "").endswith("."):
            found.append(f"{name} is not described in a sentence")
        if not one.get("ConstraintDescription", "").endswith("."):
            found.append(f"{name} does not say what to type instead")
        told = set(re.findall(r"\d+(?:\.\d+)?", one.get("ConstraintDescription", "")))
        missing = [str(one[key]) for key in ("MinValue", "MaxValue") if key in one and str(one[key]) not in told]
        if missing:
            found.append(f"{name}: its ConstraintDescription does not name {missing}")
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    if grouped != list(declared):
        found.append(f"groups and parameters differ or are ordered otherwise: {grouped} and {list(declared)}")
    found += [f"label of unknown parameter {name}" for name in interface["ParameterLabels"] if name not in declared]
    used = set(re.findall(r'"Ref": "(\w+)"', json.dumps(template))) | set(
        re.findall(r"\$\{(\w+)\}", json.dumps(template))
    )
    return found + [f"{name} is used nowhere" for name in declared if name not in used]


def test_every_parameter_is_described_constrained_grouped_and_used():
    assert parameter_findings(TEMPLATE) == []


def test_a_guided_deployment_asks_at_most_seven_questions_that_have_no_usable_default():
    assert len([one for one in source()["Parameters"].values() if "Default" not in one]) <= 7


# -- functions, their triggers, and where failures go ------------------------------------------------------------------


def function_findings(path: Path) -> list[str]:
    """Functions without tracing, a kept log, or a time limit below the lease; asynchronous ones without a queue."""
    deployed = stack(path)
    queue = deployed[QUEUE]
    configured = {one.properties["FunctionName"]: one for one in deployed.of_type("AWS::Lambda::EventInvokeConfig")}
    triggered = {target["Arn"] for rule in deployed.of_type("AWS::Events::Rule") for target in _targets(rule)}
    found = []
    for function in deployed.of_type("AWS::Lambda::Function"):
        properties, name = function.properties, function.logical_id
        if properties["Timeout"] + 5 > LEASE_S and name not in NEVER_LEASES:
            found.append(f"{name} may run {properties['Timeout']} s, the lease is only {LEASE_S:.0f} s")
        if properties.get("TracingConfig", {}).get("Mode") != "Active":
            found.append(f"{name} is not traced")
        if properties.get("LoggingConfig", {}).get("LogGroup") not in _kept_log_groups(deployed):
            found.append(f"{name} writes to no log group of this stack that has a retention")
        config = configured.get(function.name) or configured.get(function.ref)
        destination = (config.properties if config else {}).get("DestinationConfig", {}).get("OnFailure", {})
        if function.arn in triggered and destination.get("Destination") != queue.arn:
            found.append(f"{name} is invoked asynchronously and its failures go nowhere")
        if function.arn in triggered and config and "MaximumRetryAttempts" not in config.properties:
            found.append(f"{name} is retried as often as Lambda likes")
    return found


def trigger_findings(path: Path) -> list[str]:
    """Rules whose undelivered events are lost, that match too much, or that may not invoke their target."""
    deployed = stack(path)
    found = []
    for rule in deployed.of_type("AWS::Events::Rule"):
        pattern, name = rule.properties.get("EventPattern"), rule.logical_id
        for target in _targets(rule):
            if target.get("DeadLetterConfig", {}).get("Arn") != deployed[QUEUE].arn:
                found.append(f"{name}: an event that cannot be delivered is lost")
            if {"MaximumEventAgeInSeconds", "MaximumRetryAttempts"} - set(target.get("RetryPolicy", {})):
                found.append(f"{name} has no retry policy")
            if not _may_invoke(deployed, rule, target["Arn"]):
                found.append(f"{name} may not invoke its target")
        if pattern is not None and not {"source", "detail-type", "account"} <= set(pattern):
            found.append(f"{name} does not pin source, detail-type and account")
        if pattern is not None and pattern["source"] == ["aws.cloudwatch"]:
            prefix = f"arn:aws:cloudwatch:{deployed.region}:{deployed.account_id}:alarm:{deployed.name}--"
            if pattern.get("resources") != [{"prefix": prefix}]:
                found.append(f"{name} does not match exactly the alarms {deployed.name}--*")
    return found


def test_every_function_is_traced_logged_limited_and_its_failures_are_kept():
    assert function_findings(TEMPLATE) == []


def test_every_rule_matches_only_ours_and_keeps_what_it_cannot_deliver():
    assert trigger_findings(TEMPLATE) == []


def _targets(rule: Resource) -> list[dict]:
    return rule.properties["Targets"]


def _may_invoke(deployed: Stack, rule: Resource, function_arn: str) -> bool:
    return any(
        one.properties["Principal"] == "events.amazonaws.com"
        and one.properties["SourceArn"] == rule.arn
        and one.properties["FunctionName"] in (function_arn, function_arn.rsplit(":", 1)[1])
        for one in deployed.of_type("AWS::Lambda::Permission")
    )


def _kept_log_groups(deployed: Stack) -> set[str]:
    return {g.name for g in deployed.of_type("AWS::Logs::LogGroup") if g.properties.get("RetentionInDays")}


# -- one name for one thing ---------------------------------------------------------------------------------------------


def name_findings(path: Path) -> list[str]:
    """Directories, functions, states and use cases that do not carry the same name."""
    deployed, template = stack(path), source(path)
    directories = {d.name for d in (ROOT / "functions").iterdir() if (d / "app.py").is_file()}
    code = {
        name: Path(one["Properties"]["CodeUri"]).name
        for name, one in template["Resources"].items()
        if one["Type"] == "AWS::Serverless::Function"
    }
    found = [f"{n} has its code in {d}" for n, d in sorted(code.items()) if n != f"{_pascal(d)}Function"]
    found += [f"functions/{d} is not deployed" for d in sorted(directories - set(code.values()))]
    found += [f"functions/{d} does not exist" for d in sorted(set(code.values()) - directories)]
    for directory in sorted(directories & set(code.values())):
        first = (ROOT / "functions" / directory / "app.py").read_text(encoding="utf-8").splitlines()[0]
        if not first.startswith(f'"""{_pascal(directory)}: '):
            found.append(f"functions/{directory}/app.py does not say that it is {_pascal(directory)}")
    (machine,) = deployed.of_type("AWS::StepFunctions::StateMachine")
    for state, body in machine.properties["Definition"]["States"].items():
        if body["Type"] != "Task":
            continue
        function = deployed.resources.get(f"{state}Function")
        if function is None or body["Resource"] != function.arn:
            found.append(f"state {state} does not call {state}Function but {body['Resource']}")
    return found


def substitution_findings(path: Path) -> list[str]:
    """Names that the state machine asks for and the template does not define, or the other way round."""
    machine = source(path)["Resources"]["ScalingLoop"]["Properties"]
    asked = set(re.findall(r"\$\{(\w+)\}", (path.parent / MACHINE).read_text(encoding="utf-8")))
    return sorted(f"{name} is on one side only" for name in asked ^ set(machine["DefinitionSubstitutions"]))


def test_a_function_has_one_name_as_directory_logical_id_and_state():
    assert name_findings(TEMPLATE) == []


def test_every_substitution_of_the_state_machine_is_defined_and_needed():
    assert substitution_findings(TEMPLATE) == []


def _pascal(directory: str) -> str:
    return "".join(word.capitalize() for word in directory.split("_"))


# -- the rest of the stack ----------------------------------------------------------------------------------------------


def resource_findings(path: Path) -> list[str]:
    """What must hold for the state machine, the table, the queue and what the stack tells of itself."""
    deployed = stack(path)
    found = []
    (machine,) = deployed.of_type("AWS::StepFunctions::StateMachine")
    logging = machine.properties["LoggingConfiguration"]
    if logging["Level"] != "ALL" or logging["IncludeExecutionData"]:
        found.append("the state machine must log everything but the data")
    if not machine.properties["TracingConfiguration"]["Enabled"]:
        found.append("the state machine is not traced")
    table = deployed["RegistryTable"].properties
    wanted = {
        "BillingMode": "PAY_PER_REQUEST",
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "SSESpecification": {"SSEEnabled": True},
        "TimeToLiveSpecification": {"AttributeName": "expires_s", "Enabled": True},
    }
    found += [f"RegistryTable: {key} must be {value}" for key, value in wanted.items() if table.get(key) != value]
    queue = deployed[QUEUE].properties
    if not queue.get("SqsManagedSseEnabled") or queue.get("MessageRetentionPeriod") != 14 * 86_400:
        found.append("the queue must be encrypted and keep for 14 days")
    template = source(path)
    found += [
        f"output {name} has no Description" for name, one in template["Outputs"].items() if "Description" not in one
    ]
    text = path.read_text(encoding="utf-8")
    found += [f"{match} is written out" for match in re.findall(r"arn:aws:|\b\d{12}\b|\b[a-z]{2}-[a-z]+-\d\b", text)]
    return found


def test_machine_table_queue_and_outputs_are_as_they_must_be_and_no_account_or_region_is_written_out():
    assert resource_findings(TEMPLATE) == []


def test_keeping_data_protects_the_table():
    kept = {answer: load_stack(TEMPLATE, {"EndpointName": "llm", "KeepData": answer}) for answer in ("Yes", "No")}
    protected = {a: s["RegistryTable"].properties["DeletionProtectionEnabled"] for a, s in kept.items()}
    assert protected == {"Yes": True, "No": False}


# -- each of these would be noticed -------------------------------------------------------------------------------------

CHANGES: tuple[tuple[str, Callable[[Path], list[str]], tuple[str, str], str], ...] = (
    ("parameter not grouped", parameter_findings, (", KeepData]\n", "]\n"), "groups and parameters differ"),
    ("parameter unbounded", parameter_findings, ("    MaxValue: 1769\n", ""), "FunctionMemoryMb takes anything"),
    ("bound moved alone", parameter_findings, ("MaxValue: 1769", "MaxValue: 3008"), "does not name ['3008']"),
    (
        "parameter unused",
        parameter_findings,
        ("LOG_LEVEL: !Ref LogLevel", "LOG_LEVEL: INFO"),
        "LogLevel is used nowhere",
    ),
    (
        "function outlives its lease",
        function_findings,
        ("    Timeout: 20\n", "    Timeout: 40\n"),
        "the lease is only 30 s",
    ),
    ("no tracing", function_findings, ("    Tracing: Active\n", ""), "is not traced"),
    ("logs for ever", function_findings, ("      RetentionInDays: !Ref LogRetentionDays\n", ""), "has a retention"),
    (
        "failures lost",
        function_findings,
        (
            "          OnFailure: {Type: SQS, Destination: !GetAtt DeadLetterQueue.Arn}\n",
            "          OnFailure: {Type: SQS, Destination: !Sub 'arn:${AWS::Partition}:sqs:${AWS::Region}:1:other'}\n",
        ),
        "its failures go nowhere",
    ),
    (
        "events lost",
        trigger_findings,
        ("            DeadLetterConfig: {Arn: !GetAtt DeadLetterQueue.Arn}\n", ""),
        "an event that cannot be delivered is lost",
    ),
    (
        "alarms of another stack",
        trigger_findings,
        (":alarm:${AWS::StackName}--\n", ":alarm:${AWS::StackName}\n"),
        "does not match exactly the alarms",
    ),
    ("any account", trigger_findings, ("              account: [!Ref AWS::AccountId]\n", ""), "does not pin source"),
    (
        "code of another function",
        name_findings,
        ("CodeUri: functions/place_copies", "CodeUri: functions/remove_copies"),
        "PlaceCopiesFunction has its code in remove_copies",
    ),
    (
        "state calls another function",
        name_findings,
        (
            "PlaceCopiesFunctionArn: !GetAtt PlaceCopiesFunction.Arn",
            "PlaceCopiesFunctionArn: !GetAtt DecideFunction.Arn",
        ),
        "state PlaceCopies does not call PlaceCopiesFunction",
    ),
    (
        "substitution missing",
        substitution_findings,
        ("        HandOverFunctionArn: !GetAtt HandOverFunction.Arn\n", ""),
        "HandOverFunctionArn is on one side only",
    ),
    ("data in logs", resource_findings, ("IncludeExecutionData: false", "IncludeExecutionData: true"), "but the data"),
    (
        "region written out",
        resource_findings,
        ("states:${AWS::Region}:", "states:eu-west-1:"),
        "eu-west-1 is written out",
    ),
    ("time to live", resource_findings, ("AttributeName: expires_s", "AttributeName: ttl"), "TimeToLiveSpecification"),
)


@pytest.mark.parametrize(("check", "edit", "said"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_a_change_of_one_side_alone_is_noticed(tmp_path, check, edit, said):
    found = check(changed(tmp_path, edit))
    assert any(said in one for one in found), found


def test_cfn_lint_would_see_a_broken_policy_and_a_broken_state_machine(tmp_path):
    policy = changed(
        tmp_path, ("sagemaker:UpdateInferenceComponentRuntimeConfig", "sagemaker:UpdateInferenceComponentCopies")
    )
    assert any(one.startswith("W3037") for one in lint_findings(cloudformation(policy)))
    machine = changed(tmp_path, machine=("    Type: Choice", "    Type: Choise"))
    assert any("Choise" in one for one in lint_findings(cloudformation(machine)))
