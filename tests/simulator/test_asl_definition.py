"""What is refused when a state machine is created: AWS's own refusals, and everything that would not be emulated."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from simulator.aws.asl_definition import parse_machine
from simulator.aws.asl_source import read_definition
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated
from tests.simulator.asl_script import function_arn

GOOD: dict[str, Any] = {
    "StartAt": "Work",
    "States": {
        "Work": {
            "Type": "Task",
            "Resource": function_arn("work"),
            "Retry": [{"ErrorEquals": ["Throttled"]}, {"ErrorEquals": ["States.ALL"]}],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Stop"}],
            "Next": "Which?",
        },
        "Which?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.a", "StringEquals": "x", "Next": "Pause"}],
            "Default": "Stop",
        },
        "Pause": {"Type": "Wait", "Seconds": 10, "Next": "Work"},
        "Stop": {"Type": "Succeed"},
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with one place changed; `path` is a/b/0/c, and DELETE takes the place out."""
    definition = copy.deepcopy(GOOD)
    *parents, last = path.split("/")
    node: Any = definition
    for step in parents:
        node = node[int(step) if step.isdigit() else step]
    key: Any = int(last) if last.isdigit() else last
    if value is DELETE:
        del node[key]
    else:
        node[key] = value
    return definition


DELETE = object()

# place, value there, what the refusal says
REFUSED = [
    ("StartAt", "Nope", "MISSING_TRANSITION_TARGET: Missing 'StartAt' target: Nope at /StartAt"),
    ("States/Pause/Next", "Nope", "MISSING_TRANSITION_TARGET: Missing 'Next' target: Nope at /States/Pause"),
    ("States/Which?/Default", "Nope", "Missing 'Default' target: Nope at /States/Which?"),
    ("States/Work/Catch/0/Next", "Nope", "Missing 'Next' target: Nope at /States/Work"),
    ("States/Lonely", {"Type": "Succeed"}, 'State "Lonely" is not reachable. at /States/Lonely'),
    ("States/Stop", {"Type": "Pass", "Next": "Work"}, "No state ends it"),
    ("States/Pause/Type", "Wiat", "Type 'Wiat' is none of"),
    ("States/Pause/Next", DELETE, "Exactly one of Next and End: true"),
    ("States/Pause/End", True, "Exactly one of Next and End: true"),
    ("States/Pause/Seconds", -1, "Seconds -1 must be a whole number"),
    ("States/Pause/Seconds", 1.5, "Seconds 1.5 must be a whole number"),
    ("States/Pause/Seconds", DELETE, "Exactly one of Seconds, SecondsPath, Timestamp and TimestampPath"),
    ("States/Pause/SecondsPath", "$.s", "Exactly one of Seconds, SecondsPath, Timestamp and TimestampPath"),
    ("States/Pause/InputPath", "a.b", "is not a path"),
    ("States/Pause/ResultPath", "$.x", "Field 'ResultPath' is not supported at /States/Pause"),
    ("States/Which?/Choices", [], "Choices must be a list of at least one rule"),
    ("States/Which?/Choices/0/Next", DELETE, "A choice needs a Next"),
    ("States/Which?/Choices/0/StringEquals", 7, "StringEquals takes a string"),
    ("States/Work/Resource", "arn:aws:states:::lambda:invoke", "needs Parameters with a FunctionName"),
    ("States/Work/Resource", "${WorkFunctionArn}", "is not a valid resource ARN"),
    ("States/Work/Parameters", {"x.$": "States.Upper('a')"}, "States.Upper is not an intrinsic function"),
    ("States/Work/ResultSelector", "$.x", "ResultSelector must be an object"),
    ("States/Work/ResultPath", "$$.a", "a result cannot go into the context object"),
    ("States/Work/TimeoutSeconds", 0, "TimeoutSeconds 0 must be a whole number"),
    ("Version", "2.0", "Version must be '1.0'"),
    ("TimeoutSeconds", "60", "TimeoutSeconds '60' must be a whole number"),
    ("Sates", {}, "Field 'Sates' is not supported"),
    ("States/Work/Retry/0/ErrorEquals", [], "ErrorEquals must be a list of error names"),
    ("States/Work/Retry/0/ErrorEquals", ["States.ALL"], "States.ALL must stand alone and in the last entry"),
    ("States/Work/Retry/1/ErrorEquals", ["States.ALL", "X"], "States.ALL must stand alone and in the last entry"),
    ("States/Work/Retry/0/IntervalSeconds", 0, "IntervalSeconds 0 must be a whole number"),
    ("States/Work/Retry/0/BackoffRate", 0.5, "BackoffRate 0.5 must be a number of 1.0 or more"),
    ("States/Work/Retry/0/MaxAttempts", -1, "MaxAttempts -1 must be a whole number"),
    ("States/Work/Retry/0/MaxDelaySeconds", 1, "MaxDelaySeconds must be greater than IntervalSeconds"),
    ("States/Work/Retry/0/JitterStrategy", "HALF", "JitterStrategy 'HALF' is none of FULL, NONE"),
    ("States/Work/Retry/0/Jitter", True, "Field 'Jitter' is not supported"),
]

DISTRIBUTED = {
    "Type": "Map",
    "Next": "Work",
    "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "A",
        "States": {"A": {"Type": "Succeed"}},
    },
}

# AWS runs these; a simulation must not go on without them
NOT_EMULATED = [
    ("States/Work/Resource", "arn:aws:states:::sqs:sendMessage", "Resource 'arn:aws:states:::sqs:sendMessage'"),
    ("States/Work/Resource", "arn:aws:states:::lambda:invoke.waitForTaskToken", "waitForTaskToken"),
    ("States/Work/Parameters", {"x.$": "States.UUID()"}, "States.UUID is refused"),
    ("States/Work/Parameters", {"x.$": "$.a[*]"}, "only fields and indexes are emulated"),
    ("States/Work/ResultPath", "$.a[0]", "only null, $ and paths of field names"),
    ("States/Work/HeartbeatSeconds", 5, "Field 'HeartbeatSeconds' at /States/Work"),
    ("States/Work/Assign", {"a": 1}, "Field 'Assign' at /States/Work"),
    ("States/Work/QueryLanguage", "JSONata", "QueryLanguage 'JSONata', only JSONPath at /States/Work"),
    ("QueryLanguage", "JSONata", "QueryLanguage 'JSONata', only JSONPath at /"),
    ("States/Pause", DISTRIBUTED, "Map in DISTRIBUTED mode at /States/Pause"),
]


def refusal(definition: Any) -> str:
    with pytest.raises(ServiceError) as refused:
        parse_machine(definition)
    assert refused.value.code == "InvalidDefinition"
    return refused.value.message


def test_the_machine_that_the_refusals_start_from_is_accepted():
    machine = parse_machine(json.dumps(GOOD))
    assert set(machine.block.states) == set(GOOD["States"])
    assert json.loads(machine.text) == GOOD


@pytest.mark.parametrize(("path", "value", "says"), REFUSED)
def test_a_definition_that_would_not_run_is_refused_and_the_refusal_says_what_and_where(path, value, says):
    assert says in refusal(changed(path, value))


@pytest.mark.parametrize(("path", "value", "says"), NOT_EMULATED)
def test_what_only_aws_can_run_ends_the_run_and_is_no_answer_of_aws(path, value, says):
    with pytest.raises(NotEmulated) as refused:
        parse_machine(changed(path, value))
    assert says in str(refused.value)


def test_all_problems_are_told_at_once():
    definition = changed("StartAt", "Nope")
    definition["States"]["Pause"]["Seconds"] = -1
    message = refusal(definition)
    assert message.startswith("Invalid State Machine Definition: '")
    assert "StartAt" in message
    assert "Seconds -1" in message


@pytest.mark.parametrize(
    "definition", ["{", "[]", "{}", '{"StartAt": "A", "States": {}}', '{"StartAt":"A","States":{"A":1}}']
)
def test_text_that_is_no_state_machine_is_refused(definition):
    refusal(definition)


def test_a_definition_is_at_most_one_mebibyte():
    assert "larger than 1048576 bytes" in refusal(changed("Comment", "x" * 1_048_576))


def test_a_state_name_is_unique_in_the_whole_machine_and_has_at_most_80_characters():
    branch = {"StartAt": "Same", "States": {"Same": {"Type": "Succeed"}}}
    side_by_side = {"Type": "Parallel", "Branches": [branch, branch], "End": True}
    assert "Duplicate state name: Same" in refusal({"StartAt": "P", "States": {"P": side_by_side}})
    long = "x" * 81
    assert "1 to 80 characters" in refusal({"StartAt": long, "States": {long: {"Type": "Succeed"}}})


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"Type": "Parallel", "Branches": [], "End": True}, "at least one branch"),
        ({"Type": "Map", "End": True}, "Exactly one of ItemProcessor and Iterator"),
        ({"Type": "Fail", "Error": "E", "ErrorPath": "$.e"}, "Error and ErrorPath exclude each other"),
        ({"Type": "Fail", "Cause": 5}, "Cause must be a string"),
        ({"Type": "Succeed", "Next": "S"}, "Field 'Next' is not supported"),
    ],
)
def test_other_states_are_checked_too(state, says):
    assert says in refusal({"StartAt": "S", "States": {"S": state}})


def test_a_branch_may_not_leave_its_block():
    branch = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "Outside"}}}
    states = {"P": {"Type": "Parallel", "Branches": [branch], "Next": "Outside"}, "Outside": {"Type": "Succeed"}}
    assert "Missing 'Next' target: Outside at /States/P/Branches[0]/States/A" in refusal(
        {"StartAt": "P", "States": states}
    )


def test_a_file_needs_exactly_the_substitutions_that_it_names(tmp_path):
    file = tmp_path / "machine.asl.yaml"
    file.write_text("StartAt: A\nStates:\n  A: {Type: Task, Resource: '${FnArn}', End: true}\n", encoding="utf-8")
    assert read_definition(file, {"FnArn": "arn"})["States"]["A"]["Resource"] == "arn"
    with pytest.raises(ValueError, match="no substitution is given for FnArn"):
        read_definition(file, {})
    with pytest.raises(ValueError, match="the substitution Other is not in the file"):
        read_definition(file, {"FnArn": "arn", "Other": "arn"})
