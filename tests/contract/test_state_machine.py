"""The deployed state machine against its linters, the words the code can answer, and the quotas it has to live in."""

from __future__ import annotations

import copy
import inspect
import json
from typing import Any

import pytest
import yaml
from cfnlint.api import lint
from cfnlint.config import ManualArgs
from statelint.linter import Linter

from quickstep import errors
from quickstep.model.loop import NextWord
from quickstep.usecases.loop import MAX_TICKS
from simulator.aws.asl import FAILED, SUCCEEDED
from simulator.aws.asl_definition import parse_machine
from simulator.aws.asl_graph import targets
from simulator.aws.asl_history import MAX_EVENTS
from tests.simulator.asl_script import LOOP_INPUT, ROLE_ARN, SCALING_LOOP_FILE, Account, look, scaling_loop

LOOP = scaling_loop()
STATES: dict[str, dict[str, Any]] = LOOP["States"]
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
LOOKS = ("Decide", "VerifyInstances")
"""The states whose word WhatNext? compares; each one is a tick of the hand-over count."""

LONGEST_WAIT_S = 60
"""Most seconds that a look asks to wait, while the loop only waits for instances."""

HISTORY_EVENTS = {"Task": 5, "Choice": 2, "Wait": 2, "Pass": 2}
"""Events that one visit writes; a test below counts them in an execution."""


class TemplateLoader(yaml.SafeLoader):
    """Reads template.yaml; a short-form function such as `!GetAtt A.Arn` becomes its argument."""


def _argument(loader: TemplateLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


TemplateLoader.add_multi_constructor("!", _argument)
TEMPLATE = yaml.load((SCALING_LOOP_FILE.parents[1] / "template.yaml").read_text(encoding="utf-8"), TemplateLoader)


def broken(state: str, field: str, value: Any) -> dict[str, Any]:
    definition = copy.deepcopy(LOOP)
    definition["States"][state][field] = value
    return definition


# --- linters that none of us wrote ---


def cfn_lint(definition: dict[str, Any]) -> list[str]:
    """cfn-lint on the definition inside a plain state machine; it does not look into AWS::Serverless resources."""
    properties = {"RoleArn": ROLE_ARN, "Definition": definition}
    template = {"Resources": {"Loop": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}}
    return [str(found) for found in lint(json.dumps(template), config=ManualArgs(regions=["us-east-1"]))]


def test_cfn_lint_finds_nothing():
    assert cfn_lint(LOOP) == []


def test_cfn_lint_would_find_a_wrong_type():
    assert any("Tusk" in found for found in cfn_lint(broken("Decide", "Type", "Tusk")))


def test_statelint_finds_nothing():
    assert Linter.validate(LOOP) == []


def test_statelint_would_find_a_missing_target():
    assert any("Nope" in found for found in Linter.validate(broken("Decide", "Next", "Nope")))


def test_every_target_exists_every_state_is_reachable_and_nothing_is_used_that_is_not_emulated():
    machine = parse_machine(LOOP)
    assert list(machine.block.states) == list(STATES)


def test_the_file_uses_no_yaml_anchors_which_a_deployment_may_not_understand():
    with SCALING_LOOP_FILE.open(encoding="utf-8") as file:
        assert [event.anchor for event in yaml.parse(file) if getattr(event, "anchor", None)] == []


# --- for the person who reads the graph ---


def test_every_state_has_a_comment_that_is_a_sentence():
    without = [name for name, state in STATES.items() if not state.get("Comment", "").endswith(".")]
    assert without == []
    assert "Comment" in LOOP


def test_every_task_is_named_like_its_function():
    raw = yaml.safe_load(SCALING_LOOP_FILE.read_text(encoding="utf-8"))["States"]
    resources = {name: state["Resource"] for name, state in raw.items() if state["Type"] == "Task"}
    assert resources == {name: f"${{{name}FunctionArn}}" for name in TASKS}


def test_the_template_gives_every_function_to_the_task_of_its_name():
    machine = TEMPLATE["Resources"]["ScalingLoop"]["Properties"]
    assert machine["DefinitionUri"] == "statemachine/scaling_loop.asl.yaml"
    assert machine["DefinitionSubstitutions"] == {f"{name}FunctionArn": f"{name}Function.Arn" for name in TASKS}


# --- the same everywhere ---


def test_every_task_retries_alike():
    assert {json.dumps(state["Retry"]) for state in TASKS.values()} == {json.dumps(TASKS["Decide"]["Retry"])}


def test_every_task_catches_everything_into_record_failure_which_itself_can_only_fail_the_loop():
    catch = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "RecordFailure"}]
    assert {name for name, state in TASKS.items() if state["Catch"] != catch} == {"RecordFailure"}
    # The first error stays: what cannot be recorded must not hide it.
    expected = [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "LoopFailed"}]
    assert STATES["RecordFailure"]["Catch"] == expected


def test_every_error_of_ours_that_is_retried_is_a_class_of_ours():
    ours = dict(inspect.getmembers(errors, inspect.isclass))
    named = {name for retrier in TASKS["Decide"]["Retry"] for name in retrier["ErrorEquals"] if "." not in name}
    assert named == {"Throttled", "LeaseHeld", "LeaseLost", "OutcomeUnknown"}
    assert [name for name in sorted(named) if not issubclass(ours[name], errors.QuickstepError)] == []


def test_every_retry_is_jittered_and_bounded():
    for retrier in TASKS["Decide"]["Retry"]:
        assert retrier["JitterStrategy"] == "FULL"
        assert {"MaxAttempts", "MaxDelaySeconds", "BackoffRate", "IntervalSeconds"} <= set(retrier)


def test_every_task_sends_the_three_keys_of_the_payload_and_record_failure_also_the_error():
    keys = {"v.$": "$.v", "endpoint.$": "$.endpoint", "generation.$": "$.generation"}
    for name, state in TASKS.items():
        extra = {"error.$": "$.error"} if name == "RecordFailure" else {}
        assert state["Parameters"] == {**keys, **extra}, name


def test_every_look_keeps_one_word_and_the_seconds_to_wait():
    selector = {"next.$": "$.next", "wait_s.$": "$.wait_s"}
    kept = {name for name, state in TASKS.items() if state.get("ResultSelector") == selector}
    assert kept == set(TASKS) - {"HandOver", "RecordFailure"}
    assert {STATES[name]["ResultPath"] for name in kept} == {"$.look"}
    assert {STATES[name]["ResultPath"] for name in ("HandOver", "RecordFailure")} == {None}


def test_every_task_gives_up_after_its_function_has():
    functions = {name: TEMPLATE["Resources"][f"{name}Function"]["Properties"] for name in TASKS}
    default_s = TEMPLATE["Globals"]["Function"]["Timeout"]
    for name, state in TASKS.items():
        assert functions[name].get("Timeout", default_s) + 5 <= state["TimeoutSeconds"] == 30, name


def test_every_wait_takes_the_seconds_that_a_lambda_computed():
    waits = {name: state["SecondsPath"] for name, state in STATES.items() if state["Type"] == "Wait"}
    assert waits == {"WaitForInstances": "$.look.wait_s", "WaitTick": "$.look.wait_s"}


# --- the words ---


def test_the_choice_compares_exactly_the_words_that_the_code_can_answer():
    choices = STATES["WhatNext?"]["Choices"]
    assert sorted(rule["StringEquals"] for rule in choices) == sorted(NextWord)


def test_there_is_one_choice_and_it_compares_one_string_no_numbers_and_no_arithmetic():
    assert [name for name, state in STATES.items() if state["Type"] == "Choice"] == ["WhatNext?"]
    shapes = {tuple(sorted(rule)) for rule in STATES["WhatNext?"]["Choices"]}
    assert shapes == {("Next", "StringEquals", "Variable")}
    assert {rule["Variable"] for rule in STATES["WhatNext?"]["Choices"]} == {"$.look.next"}
    assert "Numeric" not in json.dumps(LOOP)
    assert "States.Math" not in json.dumps(LOOP)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        (NextWord.ADD_INSTANCES, "AddInstances"),
        (NextWord.WAIT_FOR_INSTANCES, "WaitForInstances"),
        (NextWord.VERIFY_INSTANCES, "VerifyInstances"),
        (NextWord.PLACE_COPIES, "PlaceCopies"),
        (NextWord.REMOVE_COPIES, "RemoveCopies"),
        (NextWord.REMOVE_INSTANCES, "RemoveInstances"),
        (NextWord.WAIT, "WaitTick"),
        (NextWord.HAND_OVER, "HandOver"),
        (NextWord.SETTLED, "Settled"),
    ],
)
def test_a_word_leads_to_its_state(word, state):
    execution = Account([look(word), *[look("SETTLED", 0)] * 3]).run(LOOP, LOOP_INPUT)
    assert execution.history.path()[:3] == ["Decide", "WhatNext?", state]
    assert execution.status == SUCCEEDED


@pytest.mark.parametrize("answer", [{"wait_s": 10}, {"next": "WAIT"}, None, "WAIT"])
def test_an_answer_without_its_word_or_its_seconds_kills_the_loop_and_no_catch_can_record_it(answer):
    execution = Account([answer]).run(LOOP, LOOP_INPUT)
    assert (execution.status, execution.error) == (FAILED, "States.Runtime")
    assert execution.history.path() == ["Decide"]


def test_a_failed_loop_names_the_first_error_and_an_unknown_word_says_what_to_do():
    account = Account([look("DANCE"), {"recorded": True}])
    execution = account.run(LOOP, LOOP_INPUT)
    assert (execution.status, execution.error) == (FAILED, "UnknownWord")
    assert execution.cause.startswith("The look answered DANCE")
    assert account.calls[-1][1] == {**LOOP_INPUT, "error": {"Error": "UnknownWord", "Cause": execution.cause}}


# --- the quotas ---


def events_until_the_next_look(name: str) -> int:
    """Most history events from entering `name` to entering the next look, or to the end of the loop."""
    state = STATES[name]
    after = [target for _, target in targets(state) if target not in ("RecordFailure", "UnknownWord")]
    rest = [0 if target in LOOKS else events_until_the_next_look(target) for target in after]
    return HISTORY_EVENTS.get(state["Type"], 2) + max(rest, default=0)


def test_a_look_writes_at_most_25_events_so_that_1000_looks_fit_into_the_history():
    # A turn without a look would never be counted; then this recursion would not end.
    per_look = {name: events_until_the_next_look(name) for name in LOOKS}
    assert per_look == {"Decide": 14, "VerifyInstances": 14}
    assert max(per_look.values()) <= 25
    assert 25 * MAX_TICKS <= MAX_EVENTS


@pytest.mark.parametrize("word", ["PLACE_COPIES", "ADD_INSTANCES", "WAIT", "REMOVE_INSTANCES"])
def test_a_loop_of_1000_looks_hands_over_with_room_left_in_its_history_and_its_time(word):
    looks = 0

    def answers() -> Any:
        nonlocal looks
        while True:
            at_look = account.called()[-1] in LOOKS
            looks += at_look
            yield look("HAND_OVER" if at_look and looks >= MAX_TICKS else word, LONGEST_WAIT_S)

    account = Account()
    account._answers = answers()
    execution = account.run(LOOP, LOOP_INPUT)
    assert (execution.status, looks) == (SUCCEEDED, MAX_TICKS)
    assert execution.history.path()[-1] == "HandedOver"
    assert len(execution.history) < MAX_EVENTS * 0.6
    assert execution.stop_s - execution.start_s < LOOP["TimeoutSeconds"] * 0.8


def test_a_visit_of_a_state_writes_as_many_events_as_the_count_assumes():
    execution = Account([look("PLACE_COPIES"), look("WAIT"), look("SETTLED", 0)]).run(LOOP, LOOP_INPUT)
    visits = [STATES[name]["Type"] for name in execution.history.path()]
    ends = 2 + 2  # ExecutionStarted, ExecutionSucceeded; SucceedStateEntered, SucceedStateExited
    assert len(execution.history) == ends + sum(HISTORY_EVENTS[kind] for kind in visits if kind != "Succeed")
