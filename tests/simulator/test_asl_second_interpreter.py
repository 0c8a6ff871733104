"""The deployed state machine and its language in a second interpreter: moto's, which descends from LocalStack's.

Both get the file as it is deployed and the same scripted Lambda answers; the states they visit, the functions they
call, their histories and their ends must be the same. moto waits in real time, so its waits, its retry delays and its
Lambda are replaced through private names of one pinned version; the first test says so when the pin moved.

Left out of the comparison, because moto is wrong there: `States.Array` with a null (it drops it), and a path of a
Lambda task that leads nowhere (AWS shows States.Runtime, moto an error named Exception).
"""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import moto
import pytest
from moto import mock_aws
from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction

from simulator.aws.asl import FAILED, SUCCEEDED
from tests.simulator.asl_script import LOOP_INPUT, REGION, ROLE_ARN, Account, Raises, function_arn, look, scaling_loop

ENDED_WITHIN_S = 10.0
"""Real seconds after which a run in moto counts as hung; one takes about 0.1 s."""

DONE = look("SETTLED", 0)
"""Stands for the answer of a function whose words nobody compares."""

# name, answers of the Lambdas in the order of the calls, status at the end, states visited
SCRIPTS: list[tuple[str, list[Any], str, str]] = [
    ("settles at once", [look("SETTLED", 0)], SUCCEEDED, "Decide WhatNext? Settled"),
    (
        "waits one tick and settles",
        [look("WAIT"), look("SETTLED", 0)],
        SUCCEEDED,
        "Decide WhatNext? WaitTick Decide WhatNext? Settled",
    ),
    (
        "adds instances, then places copies",
        [
            look("ADD_INSTANCES"),
            look("WAIT_FOR_INSTANCES", 20),
            look("WAIT_FOR_INSTANCES", 20),
            look("PLACE_COPIES"),
            look("WAIT"),
            look("WAIT"),
            look("SETTLED", 0),
        ],
        SUCCEEDED,
        "Decide WhatNext? AddInstances WaitForInstances VerifyInstances WhatNext? WaitForInstances VerifyInstances"
        " WhatNext? PlaceCopies WaitTick Decide WhatNext? WaitTick Decide WhatNext? Settled",
    ),
    (
        "verifies a partial grant and asks for the rest",
        [look("VERIFY_INSTANCES"), look("ADD_INSTANCES"), look("WAIT_FOR_INSTANCES"), look("SETTLED", 0)],
        SUCCEEDED,
        "Decide WhatNext? VerifyInstances WhatNext? AddInstances WaitForInstances VerifyInstances WhatNext? Settled",
    ),
    (
        "retries while somebody holds the lease, then goes on",
        [Raises("LeaseHeld"), Raises("Throttled"), look("PLACE_COPIES"), Raises("LeaseHeld"), look("WAIT"), DONE],
        SUCCEEDED,
        "Decide WhatNext? PlaceCopies WaitTick Decide WhatNext? Settled",
    ),
    (
        "an error that nobody expected is recorded and fails the loop",
        [look("PLACE_COPIES"), Raises("ZeroDivisionError", "division by zero"), DONE],
        FAILED,
        "Decide WhatNext? PlaceCopies RecordFailure LoopFailed",
    ),
    (
        "a lease that is never free fails the loop after all retries",
        [*[Raises("LeaseHeld")] * 11, DONE],
        FAILED,
        "Decide RecordFailure LoopFailed",
    ),
    (
        "a failure that cannot be recorded fails the loop with its first error",
        [Raises("AccessDenied"), Raises("AccessDenied")],
        FAILED,
        "Decide RecordFailure LoopFailed",
    ),
    (
        "a word of a newer version is recorded and fails the loop",
        [look("DANCE"), DONE],
        FAILED,
        "Decide WhatNext? UnknownWord RecordFailure LoopFailed",
    ),
    (
        "hands over to a successor",
        [look("WAIT"), look("HAND_OVER", 0), DONE],
        SUCCEEDED,
        "Decide WhatNext? WaitTick Decide WhatNext? HandOver HandedOver",
    ),
    (
        "scales in: copies first, then instances",
        [
            look("REMOVE_COPIES"),
            look("WAIT"),
            look("REMOVE_INSTANCES"),
            look("WAIT", 30),
            look("WAIT", 30),
            look("SETTLED", 0),
        ],
        SUCCEEDED,
        "Decide WhatNext? RemoveCopies WaitTick Decide WhatNext? RemoveInstances WaitTick Decide WhatNext? WaitTick"
        " Decide WhatNext? Settled",
    ),
]


def test_the_private_names_of_moto_that_are_replaced_are_still_there():
    assert moto.__version__ == "5.2.5", "the pin moved: look whether moto still waits, retries and invokes this way"
    assert list(inspect.signature(WaitFunction._wait_interval).parameters) == ["self", "env", "wait_seconds"]
    assert retrier_decl.time.sleep is time.sleep
    invoke = list(inspect.signature(LambdaSimpleBackend.invoke).parameters)
    assert invoke == ["self", "function_name", "qualifier", "body", "headers", "response_headers"]


@pytest.fixture(scope="module")
def step_functions() -> Iterator[Any]:
    """boto3's client on moto, with executions that run, waits that take no time and Lambdas that follow `script`."""
    config = {"lambda": {"use_docker": False}, "stepfunctions": {"execute_state_machine": True}}
    patches = pytest.MonkeyPatch()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patches.setenv(name, "testing")
    patches.setattr(WaitFunction, "_wait_interval", lambda self, env, wait_seconds: None)
    patches.setattr(retrier_decl, "time", SimpleNamespace(sleep=lambda seconds: None))
    with mock_aws(config=config):
        yield boto3.client("stepfunctions", region_name=REGION)
    patches.undo()


@pytest.mark.parametrize(("name", "answers", "status", "states"), SCRIPTS, ids=[script[0] for script in SCRIPTS])
def test_both_interpreters_visit_the_same_states(step_functions, monkeypatch, name, answers, status, states):
    account = Account(answers)
    ours = account.run(scaling_loop(), LOOP_INPUT)
    theirs = _run_in_moto(step_functions, monkeypatch, name, scaling_loop(), LOOP_INPUT, answers)
    assert ours.history.path() == states.split()
    assert theirs.path == states.split()
    assert account.calls == theirs.calls
    assert (ours.status, theirs.status) == (status, status)
    assert (ours.error, ours.cause) == (theirs.error, theirs.cause)
    assert ours.history.kinds() == theirs.kinds


def _pass(**fields: Any) -> dict[str, Any]:
    return {"StartAt": "Only", "States": {"Only": {"Type": "Pass", **fields, "End": True}}}


def _task(**fields: Any) -> dict[str, Any]:
    states = {"Work": {"Type": "Task", "Resource": function_arn("Work"), **fields, "End": True}}
    return {"StartAt": "Work", "States": {**states, **CAUGHT} if "Catch" in fields else states}


CAUGHT = {"Caught": {"Type": "Pass", "End": True}}
CATCH_ALL = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Caught"}]
INVOKE = {
    "Resource": "arn:aws:states:::lambda:invoke",
    "Parameters": {"FunctionName": function_arn("Work"), "Payload.$": "$"},
}
INTRINSICS = {
    "array.$": "States.Array($.n, 'x', true)",
    "partition.$": "States.ArrayPartition($.list, 2)",
    "contains.$": "States.ArrayContains($.list, 3)",
    "range.$": "States.ArrayRange(1, 9, 3)",
    "item.$": "States.ArrayGetItem($.list, 1)",
    "length.$": "States.ArrayLength($.list)",
    "unique.$": "States.ArrayUnique($.list)",
    "encoded.$": "States.Base64Encode($.text)",
    "decoded.$": "States.Base64Decode('RGVjb2RlZCBkYXRh')",
    "hash.$": "States.Hash($.text, 'SHA-256')",
    "merged.$": "States.JsonMerge($.one, $.two, false)",
    "parsed.$": "States.StringToJson($.json)",
    "added.$": "States.MathAdd($.n, -8)",
    "split.$": "States.StringSplit('a.b,c', '.,')",
    "text.$": "States.Format('{} of {} and {}', $.n, $.text, $.list)",
    "nested.$": "States.Format('{}', States.ArrayGetItem(States.StringSplit($.text, ' '), 1))",
    "who.$": "$$.StateMachine.Name",
}
INTRINSICS_INPUT = {
    "n": 7,
    "text": "hello world",
    "list": [1, 2, 3, 3],
    "one": {"a": {"x": 1}, "b": 2},
    "two": {"a": {"y": 3}, "c": 4},
    "json": '{"k": [1, 2.5, null]}',
}
FAN_OUT = {
    "StartAt": "Both",
    "States": {
        "Both": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "L", "States": {"L": {"Type": "Pass", "Parameters": {"l.$": "$.a"}, "End": True}}},
                {"StartAt": "R", "States": {"R": {"Type": "Wait", "Seconds": 5, "End": True}}},
            ],
            "ResultPath": "$.both",
            "Next": "Each",
        },
        "Each": {
            "Type": "Map",
            "ItemsPath": "$.both",
            "MaxConcurrency": 1,
            "ItemSelector": {"at.$": "$$.Map.Item.Index", "is.$": "$$.Map.Item.Value"},
            "ItemProcessor": {"StartAt": "One", "States": {"One": {"Type": "Pass", "End": True}}},
            "End": True,
        },
    },
}
BRANCH_FAILS = {
    "StartAt": "Both",
    "States": {
        "Both": {
            "Type": "Parallel",
            "Branches": [{"StartAt": "L", "States": {"L": {"Type": "Fail", "Error": "E", "Cause": "why"}}}],
            "Catch": CATCH_ALL,
            "End": True,
        },
        **CAUGHT,
    },
}


def _choice(rule: dict[str, Any]) -> dict[str, Any]:
    choices = [{**rule, "Next": "Yes"}]
    ends = {name: {"Type": "Succeed"} for name in ("Yes", "No")}
    return {"StartAt": "W", "States": {"W": {"Type": "Choice", "Choices": choices, "Default": "No"}, **ends}}


# what is compared, definition, input, answers of the Lambdas
LANGUAGE: list[tuple[str, dict[str, Any], Any, list[Any]]] = [
    ("intrinsic functions", _pass(Parameters=INTRINSICS), INTRINSICS_INPUT, []),
    ("result and result path", _pass(Result={"x": [1]}, ResultPath="$.deep.er"), {"a": 1}, []),
    ("no input", _pass(InputPath=None), {"a": 1}, []),
    ("no output", _pass(OutputPath=None), {"a": 1}, []),
    (
        "all filters",
        _task(
            InputPath="$.in",
            Parameters={"p.$": "$.x"},
            ResultSelector={"s.$": "$.r"},
            ResultPath="$.o",
            OutputPath="$.o",
        ),
        {"in": {"x": 1}},
        [{"r": 2}],
    ),
    ("result thrown away", _task(ResultPath=None), {"a": 1}, [{"r": 2}]),
    ("lambda invoke", _task(**INVOKE, ResultSelector={"got.$": "$.Payload.r"}), {"a": 1}, [{"r": 2}]),
    ("lambda invoke fails", _task(**INVOKE), {"a": 1}, [Raises("ValueError", "no")]),
    ("uncaught error", _task(), {"a": 1}, [Raises("ValueError", "no")]),
    ("caught error", _task(Catch=CATCH_ALL), {"a": 1}, [Raises("ValueError", "no")]),
    (
        "retrier that has no attempt left",
        _task(Retry=[{"ErrorEquals": ["A"], "MaxAttempts": 1}, {"ErrorEquals": ["States.ALL"]}]),
        {"a": 1},
        [Raises("A"), Raises("A")],
    ),
    ("path that leads nowhere", _pass(Parameters={"p.$": "$.nothing"}), {"a": 1}, []),
    ("side by side", FAN_OUT, {"a": 1}, []),
    ("a failed branch", BRANCH_FAILS, {"a": 1}, []),
    ("string less than", _choice({"Variable": "$.s", "StringLessThan": "m"}), {"s": "a"}, []),
    ("string matches", _choice({"Variable": "$.s", "StringMatches": "a*c"}), {"s": "abc"}, []),
    ("number as text", _choice({"Variable": "$.s", "StringEquals": "1"}), {"s": 1}, []),
    ("numbers", _choice({"Variable": "$.s", "NumericGreaterThanEqualsPath": "$.t"}), {"s": 2, "t": 2.0}, []),
    (
        "times",
        _choice({"Variable": "$.s", "TimestampLessThan": "2026-01-01T00:00:00Z"}),
        {"s": "2025-01-01T00:00:00Z"},
        [],
    ),
    ("absent", _choice({"Variable": "$.t", "IsPresent": False}), {"s": 1}, []),
    (
        "and or not",
        _choice(
            {
                "And": [
                    {"Not": {"Variable": "$.s", "IsNull": True}},
                    {"Or": [{"Variable": "$.s", "BooleanEquals": False}, {"Variable": "$.s", "BooleanEquals": True}]},
                ]
            }
        ),
        {"s": True},
        [],
    ),
]


@pytest.mark.parametrize(("name", "definition", "given", "answers"), LANGUAGE, ids=[case[0] for case in LANGUAGE])
def test_both_interpreters_understand_the_language_alike(step_functions, monkeypatch, name, definition, given, answers):
    account = Account(answers)
    ours = account.run(definition, given)
    theirs = _run_in_moto(step_functions, monkeypatch, "machine", definition, given, answers)
    assert account.calls == theirs.calls
    assert (ours.status, ours.output, ours.error) == (theirs.status, theirs.output, theirs.error)
    # moto prints JSON with blanks
    assert (ours.cause or "").replace(" ", "") == (theirs.cause or "").replace(" ", "")
    if name != "side by side":  # moto runs branches in threads, so their events come in any order
        assert ours.history.kinds() == theirs.kinds
    assert sorted(ours.history.kinds()) == sorted(theirs.kinds)


def _run_in_moto(
    client: Any, monkeypatch: pytest.MonkeyPatch, name: str, definition: Any, given: Any, answers: list[Any]
) -> SimpleNamespace:
    script, calls = iter(answers), []

    def invoke(self: Any, function_name: str, qualifier: Any, body: Any, headers: Any, response_headers: Any) -> bytes:
        calls.append((function_name, json.loads(body)))
        answer = next(script)
        if isinstance(answer, Raises):
            response_headers["x-amz-function-error"] = "Unhandled"
            answer = answer.payload
        return json.dumps(answer).encode()

    monkeypatch.setattr(LambdaSimpleBackend, "invoke", invoke)
    # Always with a name: moto leaves an unnamed execution without an identity.
    label = "".join(letter if letter.isalnum() else "-" for letter in name)
    text = json.dumps(definition)
    machine_arn = client.create_state_machine(name=label, definition=text, roleArn=ROLE_ARN)["stateMachineArn"]
    arn = client.start_execution(stateMachineArn=machine_arn, name=label, input=json.dumps(given))["executionArn"]
    given_up_at = time.monotonic() + ENDED_WITHIN_S
    while (execution := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
        assert time.monotonic() < given_up_at, f"moto still runs {name!r}"
        time.sleep(0.005)
    events = client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    client.delete_state_machine(stateMachineArn=machine_arn)
    return SimpleNamespace(
        status=execution["status"],
        output=json.loads(execution["output"]) if "output" in execution else None,
        error=execution.get("error"),
        cause=execution.get("cause"),
        calls=calls,
        kinds=[event["type"] for event in events],
        path=[event["stateEnteredEventDetails"]["name"] for event in events if event["type"].endswith("StateEntered")],
    )
