"""The API of Step Functions: every answer fits botocore's model, every refusal has a code that the model knows."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from simulator.aws.asl import TaskResult
from simulator.clock import EPOCH_S
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated
from tests.simulator.asl_script import MACHINE_ARN, ROLE_ARN, Account, Raises, function_arn

MODEL = botocore.session.get_session().get_service_model("stepfunctions")
EXECUTION_ARN = MACHINE_ARN.replace(":stateMachine:", ":execution:")
DAY_S = 86_400


def waiting(seconds: int) -> dict[str, Any]:
    return {"StartAt": "Pause", "States": {"Pause": {"Type": "Wait", "Seconds": seconds, "End": True}}}


WORK = {"StartAt": "Work", "States": {"Work": {"Type": "Task", "Resource": function_arn("work"), "End": True}}}


def account(definition: dict[str, Any], answers: Any = ()) -> Account:
    made = Account(answers)
    made.service.create_state_machine(MACHINE_ARN, "machine", definition, ROLE_ARN)
    return made


def call(made: Account, operation: str, **params: Any) -> dict[str, Any]:
    """As boto3 does it: parameters are checked against the model before, the answer after the call."""
    shapes = MODEL.operation_model(operation)
    validator = ParamValidator()
    assert validator.validate(params, shapes.input_shape).generate_report() == ""
    answer = made.service.call(operation, params)
    assert validator.validate(answer, shapes.output_shape).generate_report() == ""
    return answer


def refused(made: Account, operation: str, **params: Any) -> str:
    """The code of the refusal, which must be one that the model lists for the operation."""
    with pytest.raises(ServiceError) as refusal:
        made.service.call(operation, params)
    codes = {
        shape.metadata.get("error", {}).get("code", shape.name)
        for shape in MODEL.operation_model(operation).error_shapes
    }
    assert refusal.value.code in codes | {"ValidationException"}
    return refusal.value.code


def test_starting_answers_at_once_and_runs_nothing_inside_the_call():
    made = account(WORK, ["r"])
    answer = call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="one", input='{"a": 1}')
    assert answer["executionArn"] == f"{EXECUTION_ARN}:one"
    assert answer["startDate"].timestamp() == EPOCH_S
    assert made.calls == []
    made.clock.run_until(EPOCH_S)
    assert made.calls == [(function_arn("work"), {"a": 1})]


def test_the_same_name_and_input_while_it_runs_is_the_same_execution():
    made = account(waiting(60))
    first = call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="one", input='{"a":1}')
    made.clock.run_until(EPOCH_S + 30)
    again = call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="one", input='{"a":1}')
    assert again == first
    assert len(made.events) == 1
    assert made.service.executions_started == 1


@pytest.mark.parametrize(
    ("later_s", "text", "code"),
    [
        (30, '{"a":2}', "ExecutionAlreadyExists"),  # runs, other input
        (61, '{"a":1}', "ExecutionAlreadyExists"),  # closed, same input
        (89 * DAY_S, '{"a":1}', "ExecutionAlreadyExists"),
        (90 * DAY_S + 60, '{"a":1}', None),  # forgotten: the name is free again
    ],
)
def test_a_name_is_taken_until_90_days_after_the_execution_closed(later_s, text, code):
    made = account(waiting(60))
    call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="one", input='{"a":1}')
    made.clock.run_until(EPOCH_S + later_s)
    if code is None:
        call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="one", input=text)
        assert made.service.execution(f"{EXECUTION_ARN}:one").start_s == EPOCH_S + later_s
    else:
        assert refused(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="one", input=text) == code


@pytest.mark.parametrize(
    "name", ["", "x" * 81, "a b", "a/b", "a:b", "a*", "a?", "a#", "tab\t", "ü,", "a|b", 'a"b', "a\x7f"]
)
def test_a_name_that_aws_does_not_allow_is_refused(name):
    assert refused(account(WORK), "StartExecution", stateMachineArn=MACHINE_ARN, name=name) == "InvalidName"


@pytest.mark.parametrize("name", ["x" * 80, "chat-7-2026.01.01_a", "ü"])
def test_a_name_that_aws_allows_is_accepted(name):
    call(account(WORK, ["r"]), "StartExecution", stateMachineArn=MACHINE_ARN, name=name)


def test_without_a_name_one_is_drawn_from_the_seed():
    def names(seed: int) -> list[str]:
        made = Account(seed=seed)
        made.service.create_state_machine(MACHINE_ARN, "machine", waiting(1), ROLE_ARN)
        answers = [call(made, "StartExecution", stateMachineArn=MACHINE_ARN) for _ in range(2)]
        return [answer["executionArn"].rsplit(":", 1)[1] for answer in answers]

    assert names(1) == names(1)
    assert len({*names(1), *names(2)}) == 4


@pytest.mark.parametrize(
    ("text", "code"),
    [("{", "InvalidExecutionInput"), ("", "InvalidExecutionInput"), (f'"{"x" * 262_143}"', "ValidationException")],
)
def test_input_must_be_json_of_at_most_256_kib(text, code):
    assert refused(account(WORK), "StartExecution", stateMachineArn=MACHINE_ARN, name="one", input=text) == code


@pytest.mark.parametrize(
    ("operation", "params", "code"),
    [
        ("StartExecution", {"stateMachineArn": f"{MACHINE_ARN}2"}, "StateMachineDoesNotExist"),
        ("StartExecution", {"stateMachineArn": "machine"}, "InvalidArn"),
        ("DescribeStateMachine", {"stateMachineArn": f"{MACHINE_ARN}2"}, "StateMachineDoesNotExist"),
        ("ListExecutions", {"stateMachineArn": f"{MACHINE_ARN}2"}, "StateMachineDoesNotExist"),
        ("ListExecutions", {"stateMachineArn": MACHINE_ARN, "maxResults": 1001}, "ValidationException"),
        ("ListExecutions", {"stateMachineArn": MACHINE_ARN, "statusFilter": "DEAD"}, "ValidationException"),
        ("ListExecutions", {"stateMachineArn": MACHINE_ARN, "nextToken": "?"}, "InvalidToken"),
        ("UpdateStateMachine", {"stateMachineArn": MACHINE_ARN}, "MissingRequiredParameter"),
        ("UpdateStateMachine", {"stateMachineArn": MACHINE_ARN, "definition": "{}"}, "InvalidDefinition"),
        ("DescribeExecution", {"executionArn": f"{EXECUTION_ARN}:none"}, "ExecutionDoesNotExist"),
        ("StopExecution", {"executionArn": f"{EXECUTION_ARN}:none"}, "ExecutionDoesNotExist"),
        ("GetExecutionHistory", {"executionArn": f"{EXECUTION_ARN}:none"}, "ExecutionDoesNotExist"),
        ("DescribeStateMachineForExecution", {"executionArn": f"{EXECUTION_ARN}:none"}, "ExecutionDoesNotExist"),
        ("DescribeExecution", {"executionArn": MACHINE_ARN}, "InvalidArn"),
    ],
)
def test_what_does_not_exist_or_does_not_fit_is_refused_with_aws_s_code(operation, params, code):
    assert refused(account(WORK), operation, **params) == code


def test_an_operation_that_is_not_emulated_says_which_are():
    with pytest.raises(NotEmulated, match="RedriveExecution; emulated are .*StartExecution"):
        account(WORK).service.call("RedriveExecution", {})


def test_describing_an_execution_shows_it_running_succeeded_failed_and_stopped():
    made = account(
        WORK, [lambda on_done: made.clock.after(5, lambda: on_done(TaskResult({"r": 1}))), Raises("E", "no")]
    )
    call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="good", input='{"a": 1}')
    made.clock.run_until(EPOCH_S + 1)
    running = call(made, "DescribeExecution", executionArn=f"{EXECUTION_ARN}:good")
    assert (running["status"], running["input"], "stopDate" in running) == ("RUNNING", '{"a": 1}', False)
    made.clock.run_until(EPOCH_S + 10)
    good = call(made, "DescribeExecution", executionArn=f"{EXECUTION_ARN}:good")
    assert (good["status"], good["output"], good["stopDate"].timestamp()) == ("SUCCEEDED", '{"r":1}', EPOCH_S + 5)
    call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="bad")
    made.clock.run_until(EPOCH_S + 20)
    bad = call(made, "DescribeExecution", executionArn=f"{EXECUTION_ARN}:bad")
    assert (bad["status"], bad["error"], json.loads(bad["cause"])["errorMessage"]) == ("FAILED", "E", "no")
    slim = call(made, "DescribeExecution", executionArn=f"{EXECUTION_ARN}:bad", includedData="METADATA_ONLY")
    assert "input" not in slim


def test_stopping_aborts_once_and_says_when():
    made = account(waiting(60))
    call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="one")
    made.clock.run_until(EPOCH_S + 5)
    arn = f"{EXECUTION_ARN}:one"
    stopped = call(made, "StopExecution", executionArn=arn, error="Paused", cause="by hand")
    made.clock.run_until(EPOCH_S + 100)
    assert call(made, "StopExecution", executionArn=arn, error="Again") == stopped
    shown = call(made, "DescribeExecution", executionArn=arn)
    assert (shown["status"], shown["error"], shown["cause"]) == ("ABORTED", "Paused", "by hand")
    assert shown["stopDate"].timestamp() == EPOCH_S + 5


def test_executions_are_listed_newest_first_by_status_and_in_pages():
    made = account(waiting(60))
    for number in range(5):
        call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name=f"e{number}")
        made.clock.run_until(EPOCH_S + 25 * (number + 1))
    listed = {"stateMachineArn": MACHINE_ARN, "maxResults": 2}
    first = call(made, "ListExecutions", **listed)
    second = call(made, "ListExecutions", **listed, nextToken=first["nextToken"])
    third = call(made, "ListExecutions", **listed, nextToken=second["nextToken"])
    names = [item["name"] for page in (first, second, third) for item in page["executions"]]
    assert names == ["e4", "e3", "e2", "e1", "e0"]
    assert "nextToken" not in third
    running = call(made, "ListExecutions", stateMachineArn=MACHINE_ARN, statusFilter="RUNNING")
    assert [item["name"] for item in running["executions"]] == ["e4", "e3"]
    assert (
        refused(
            made, "ListExecutions", stateMachineArn=MACHINE_ARN, statusFilter="RUNNING", nextToken=first["nextToken"]
        )
        == "InvalidToken"
    )


def test_a_history_comes_in_pages_in_both_directions_and_without_data_if_asked():
    made = account(WORK, [Raises("E", "secret")])
    call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="one", input='"secret"')
    made.clock.run_until(EPOCH_S + 1)
    arn = f"{EXECUTION_ARN}:one"
    whole = call(made, "GetExecutionHistory", executionArn=arn)["events"]
    assert [event["id"] for event in whole] == [1, 2, 3, 4, 5, 6]
    page = call(made, "GetExecutionHistory", executionArn=arn, maxResults=4)
    rest = call(made, "GetExecutionHistory", executionArn=arn, maxResults=4, nextToken=page["nextToken"])
    assert page["events"] + rest["events"] == whole
    backwards = call(made, "GetExecutionHistory", executionArn=arn, reverseOrder=True)["events"]
    assert backwards == whole[::-1]
    bare = call(made, "GetExecutionHistory", executionArn=arn, includeExecutionData=False)["events"]
    assert "secret" not in str(bare)
    assert "secret" in str(whole)


def test_a_running_execution_keeps_the_definition_it_started_with():
    made = account(waiting(60))
    call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="old")
    made.clock.run_until(EPOCH_S + 10)
    update = call(made, "UpdateStateMachine", stateMachineArn=MACHINE_ARN, definition=json.dumps(waiting(5)))
    call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="new")
    made.clock.run_until(EPOCH_S + 100)
    ends = {name: made.service.execution(f"{EXECUTION_ARN}:{name}").stop_s - EPOCH_S for name in ("old", "new")}
    assert ends == {"old": 60, "new": 15}
    old = call(made, "DescribeStateMachineForExecution", executionArn=f"{EXECUTION_ARN}:old")
    now = call(made, "DescribeStateMachine", stateMachineArn=MACHINE_ARN)
    assert json.loads(old["definition"]) == waiting(60)
    assert json.loads(now["definition"]) == waiting(5)
    assert (now["revisionId"], now["status"], now["type"]) == (update["revisionId"], "ACTIVE", "STANDARD")
    assert now["creationDate"].timestamp() == EPOCH_S


def test_state_machines_are_listed_and_none_is_made_twice():
    made = account(WORK)
    assert [item["name"] for item in call(made, "ListStateMachines")["stateMachines"]] == ["machine"]
    with pytest.raises(ServiceError, match="StateMachineAlreadyExists"):
        made.service.create_state_machine(MACHINE_ARN, "machine", WORK, ROLE_ARN)


def test_every_start_and_every_end_is_an_event_in_the_documented_shape():
    made = account(WORK, [lambda on_done: made.clock.after(5, lambda: on_done(TaskResult({"r": 1})))])
    call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="one", input='{"a": 1}')
    made.clock.run_until(EPOCH_S + 10)
    arn = f"{EXECUTION_ARN}:one"
    assert [(source, kind, resources) for source, kind, _, resources in made.events] == [
        ("aws.states", "Step Functions Execution Status Change", [arn])
    ] * 2
    started, ended = (detail for _, _, detail, _ in made.events)
    assert started == {
        "executionArn": arn,
        "stateMachineArn": MACHINE_ARN,
        "name": "one",
        "status": "RUNNING",
        "startDate": int(EPOCH_S * 1000),
        "stopDate": None,
        "input": '{"a": 1}',
        "inputDetails": {"included": True},
        "output": None,
        "outputDetails": None,
        "error": None,
        "cause": None,
    }
    expected = {
        "status": "SUCCEEDED",
        "stopDate": int((EPOCH_S + 5) * 1000),
        "output": '{"r":1}',
        "outputDetails": {"included": True},
    }
    assert ended == {**started, **expected}


def test_an_event_leaves_out_payloads_over_248_kib():
    made = account(WORK, ["x" * 200_000])
    call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="one", input=json.dumps("y" * 100_000))
    made.clock.run_until(EPOCH_S + 1)
    started, ended = (detail for _, _, detail, _ in made.events)
    assert started["inputDetails"] == {"included": True}
    assert (ended["input"], ended["inputDetails"]) == (None, {"included": False})
    assert (ended["output"], ended["outputDetails"]) == (None, {"included": False})


def test_transitions_count_states_and_retries_also_of_executions_that_are_forgotten():
    retried = {"Retry": [{"ErrorEquals": ["E"], "MaxAttempts": 5}]}
    states = {"Work": {**WORK["States"]["Work"], **retried}}
    made = account({"StartAt": "Work", "States": states}, [Raises("E"), Raises("E"), "r"])
    call(made, "StartExecution", stateMachineArn=MACHINE_ARN, name="one")
    made.clock.run_until(EPOCH_S + 100 * DAY_S)
    assert call(made, "ListExecutions", stateMachineArn=MACHINE_ARN)["executions"] == []
    assert made.service.transitions == 3
