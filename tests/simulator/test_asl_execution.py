"""Executions on the virtual clock: data flow, waits, retries, catches, time-outs, branches, history and its quota."""

from __future__ import annotations

import json
from typing import Any

import pytest

from simulator.aws.asl import ABORTED, FAILED, RUNNING, SUCCEEDED, TIMED_OUT, TaskError, TaskResult
from simulator.aws.asl_history import MAX_EVENTS
from simulator.clock import EPOCH_S
from tests.simulator.asl_script import MACHINE_ARN, ROLE_ARN, Account, Raises, function_arn


def machine(*states: tuple[str, dict[str, Any]], **top: Any) -> dict[str, Any]:
    """States in a row, each leading to the next one unless it says where it goes; the last one ends."""
    placed: dict[str, Any] = {}
    for index, (name, state) in enumerate(states):
        follows = {} if {"Next", "End"} & set(state) or state["Type"] in ("Choice", "Fail", "Succeed") else None
        if follows is None:
            follows = {"Next": states[index + 1][0]} if index + 1 < len(states) else {"End": True}
        placed[name] = {**state, **follows}
    return {"StartAt": states[0][0], "States": placed, **top}


def task(**fields: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": function_arn("work"), **fields}


def never(on_done: Any) -> None:
    """A function that does not answer."""


def elapsed_s(execution: Any) -> float:
    return execution.stop_s - execution.start_s


# --- data flow (developer guide, "Processing input and output") ---

DATA_FLOW = [
    # fields of a Task state, input, what the function gets, what it answers, output of the state
    ({}, {"a": 1}, {"a": 1}, "r", "r"),
    ({"InputPath": "$.in"}, {"in": {"x": 1}, "b": 2}, {"x": 1}, "r", "r"),
    ({"InputPath": None}, {"a": 1}, {}, "r", "r"),
    ({"InputPath": "$.in", "ResultPath": "$.r"}, {"in": 1, "b": 2}, 1, "r", {"in": 1, "b": 2, "r": "r"}),
    ({"Parameters": {"p.$": "$.a", "q": 2}}, {"a": 1}, {"p": 1, "q": 2}, "r", "r"),
    ({"ResultSelector": {"n.$": "$.deep.n"}}, {}, {}, {"deep": {"n": 5}, "noise": 1}, {"n": 5}),
    ({"ResultPath": None}, {"a": 1}, {"a": 1}, "r", {"a": 1}),
    ({"ResultPath": "$.r", "OutputPath": "$.r.n"}, {"a": 1}, {"a": 1}, {"n": 5}, 5),
    ({"OutputPath": None}, {"a": 1}, {"a": 1}, "r", {}),
    (
        {
            "InputPath": "$.in",
            "Parameters": {"p.$": "$.x"},
            "ResultSelector": {"s.$": "$.r"},
            "ResultPath": "$.out",
            "OutputPath": "$.out",
        },
        {"in": {"x": 1}},
        {"p": 1},
        {"r": 2},
        {"s": 2},
    ),
]


@pytest.mark.parametrize(("fields", "given", "payload", "answer", "output"), DATA_FLOW)
def test_input_parameters_result_and_output_are_filtered_in_the_documented_order(
    fields, given, payload, answer, output
):
    account = Account([answer])
    execution = account.run(machine(("Work", task(**fields))), given)
    assert account.calls == [(function_arn("work"), payload)]
    assert (execution.status, execution.output) == (SUCCEEDED, output)


def test_a_pass_state_gives_its_result_its_parameters_or_its_input():
    states = machine(
        ("A", {"Type": "Pass", "Result": {"x": 1}, "ResultPath": "$.a"}),
        ("B", {"Type": "Pass", "Parameters": {"y.$": "$.a.x"}, "ResultPath": "$.b"}),
        ("C", {"Type": "Pass", "InputPath": "$.b"}),
    )
    assert Account().run(states, {}).output == {"y": 1}


def test_what_a_function_answered_cannot_be_changed_by_it_afterwards():
    kept: dict[str, Any] = {"next": "WAIT"}
    account = Account([lambda on_done: on_done(TaskResult(kept))])
    execution = account.run(machine(("Work", task()), ("Pause", {"Type": "Wait", "Seconds": 5})), for_s=1)
    kept["next"] = "changed"
    account.clock.run_until(account.clock.now_s + 10)
    assert execution.output == {"next": "WAIT"}


def test_the_context_object_says_who_runs_since_when_and_how_often_it_tried():
    shown = {"all.$": "$$"}
    account = Account([Raises("Throttled"), "r"])
    execution = account.run(
        machine(
            ("Pause", {"Type": "Wait", "Seconds": 5}),
            ("Work", task(Parameters=shown, Retry=[{"ErrorEquals": ["Throttled"], "IntervalSeconds": 3}])),
        ),
        {"a": 1},
    )
    assert execution.status == SUCCEEDED
    first, second = (payload["all"] for _, payload in account.calls)
    assert first["Execution"] == {
        "Id": f"{MACHINE_ARN.replace('stateMachine', 'execution')}:run",
        "Input": {"a": 1},
        "Name": "run",
        "RoleArn": ROLE_ARN,
        "StartTime": "2026-01-01T00:00:00.000Z",
        "RedriveCount": 0,
    }
    assert first["StateMachine"] == {"Id": MACHINE_ARN, "Name": "machine"}
    assert first["State"] == {"EnteredTime": "2026-01-01T00:00:05.000Z", "Name": "Work", "RetryCount": 0}
    assert second["State"]["RetryCount"] == 1


def test_lambda_invoke_gets_the_payload_and_answers_lambdas_response_around_it():
    invoke = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function_arn("work"), "Payload": {"a.$": "$.a"}, "Qualifier": "live"},
        "ResultSelector": {"said.$": "$.Payload.said", "status.$": "$.StatusCode"},
    }
    account = Account([{"said": "yes"}])
    execution = account.run(machine(("Work", invoke)), {"a": 1})
    assert account.calls == [(f"{function_arn('work')}:live", {"a": 1})]
    assert execution.output == {"said": "yes", "status": 200}
    assert [kind for kind in execution.history.kinds() if kind.startswith("Task")] == [
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSucceeded",
        "TaskStateExited",
    ]


# --- waiting ---


@pytest.mark.parametrize(
    ("fields", "given", "waited_s"),
    [
        ({"Seconds": 10}, {}, 10),
        ({"Seconds": 0}, {}, 0),
        ({"SecondsPath": "$.look.wait_s"}, {"look": {"wait_s": 20}}, 20),
        ({"Timestamp": "2026-01-01T00:01:00Z"}, {}, 60),
        ({"Timestamp": "2025-01-01T00:00:00Z"}, {}, 0),  # the past does not wait
        ({"TimestampPath": "$.at"}, {"at": "2026-01-01T00:00:30.500+00:00"}, 30.5),
    ],
)
def test_a_wait_takes_as_long_as_it_says_and_passes_its_input_on(fields, given, waited_s):
    execution = Account().run(machine(("Pause", {"Type": "Wait", **fields})), given)
    assert (execution.status, execution.output, elapsed_s(execution)) == (SUCCEEDED, given, waited_s)


@pytest.mark.parametrize("given", [{}, {"s": -1}, {"s": "10"}, {"s": 1.5}, {"s": True}])
def test_seconds_that_are_no_whole_number_fail_the_execution(given):
    execution = Account().run(machine(("Pause", {"Type": "Wait", "SecondsPath": "$.s"})), given)
    assert (execution.status, execution.error) == (FAILED, "States.Runtime")


def test_waits_of_many_executions_run_side_by_side_on_one_clock():
    account = Account()
    account.service.create_state_machine(
        MACHINE_ARN, "machine", machine(("Pause", {"Type": "Wait", "SecondsPath": "$.s"})), ROLE_ARN
    )
    arns = [account.start(f"run-{seconds}", {"s": seconds}) for seconds in (30, 10, 20)]
    account.clock.run_until(EPOCH_S + 15)
    statuses = [account.service.execution(arn).status for arn in arns]
    assert statuses == [RUNNING, SUCCEEDED, RUNNING]


# --- retry and catch ---


@pytest.mark.parametrize(
    ("retrier", "delays_s"),
    [
        # The developer guide's example: 3 s, then doubled, with a cap; and the defaults 1 s, 2.0, 3 attempts.
        ({"IntervalSeconds": 3, "MaxAttempts": 2, "BackoffRate": 2}, [3, 6]),
        ({"IntervalSeconds": 3, "MaxAttempts": 4, "BackoffRate": 2, "MaxDelaySeconds": 10}, [3, 6, 10, 10]),
        ({"IntervalSeconds": 1, "MaxAttempts": 3, "BackoffRate": 1.0}, [1, 1, 1]),
        ({}, [1, 2, 4]),
        ({"MaxAttempts": 0}, []),
    ],
)
def test_retries_wait_interval_times_rate_to_the_power_of_the_attempt(retrier, delays_s):
    at: list[float] = []
    account = Account()

    def failing(on_done: Any) -> None:
        at.append(account.clock.now_s - EPOCH_S)
        on_done(TaskError("Throttled", "slow down"))

    account._answers = iter([failing] * 20)
    execution = account.run(machine(("Work", task(Retry=[{"ErrorEquals": ["Throttled"], **retrier}]))))
    assert [later - earlier for earlier, later in zip(at, at[1:], strict=False)] == delays_s
    assert (execution.status, execution.error, execution.cause) == (FAILED, "Throttled", "slow down")
    assert execution.transitions == 1 + len(delays_s)


def test_full_jitter_draws_between_zero_and_the_delay_the_same_for_a_seed_and_another_for_another_execution():
    retry = [
        {"ErrorEquals": ["E"], "IntervalSeconds": 8, "BackoffRate": 1.0, "MaxAttempts": 50, "JitterStrategy": "FULL"}
    ]

    def total_s(seed: int, name: str) -> float:
        account = Account([Raises("E")] * 50 + ["r"], seed=seed)
        account.service.create_state_machine(MACHINE_ARN, "machine", machine(("Work", task(Retry=retry))), ROLE_ARN)
        execution = account.service.execution(account.start(name, {}))
        account.clock.run_until(EPOCH_S + 1000)
        return elapsed_s(execution)

    assert 100 < total_s(1, "a") < 300  # 50 draws with mean 4 s
    assert total_s(1, "a") == total_s(1, "a")
    assert len({total_s(1, "a"), total_s(2, "a"), total_s(1, "b")}) == 3


def test_each_retrier_counts_its_own_attempts_and_they_start_anew_in_the_next_state():
    retry = [{"ErrorEquals": ["A"], "MaxAttempts": 1}, {"ErrorEquals": ["B"], "MaxAttempts": 1}]
    account = Account([Raises("A"), Raises("B"), "r", Raises("A"), "r"])
    execution = account.run(machine(("One", task(Retry=retry)), ("Two", task(Retry=retry))))
    assert (execution.status, len(account.calls)) == (SUCCEEDED, 5)


@pytest.mark.parametrize(
    ("error", "names", "caught"),
    [
        ("Throttled", ["Throttled"], True),
        ("throttled", ["Throttled"], False),
        ("Throttled", ["LeaseHeld", "Throttled"], True),
        ("Throttled", ["States.ALL"], True),
        ("Throttled", ["States.TaskFailed"], True),
        ("Lambda.Unknown", ["States.TaskFailed"], True),
        ("States.Timeout", ["States.TaskFailed"], False),
        ("States.Timeout", ["States.Timeout"], True),
        ("States.Timeout", ["States.ALL"], True),
        ("Throttled", ["States.Timeout"], False),
    ],
)
def test_a_catcher_matches_by_name_or_by_the_two_wildcards(error, names, caught):
    catch = [{"ErrorEquals": names, "Next": "Caught"}]
    states = machine(("Work", task(Catch=catch, End=True)), ("Caught", {"Type": "Succeed"}))
    execution = Account([lambda on_done: on_done(TaskError(error, "why"))]).run(states)
    assert execution.status == (SUCCEEDED if caught else FAILED)
    assert execution.output == ({"Error": error, "Cause": "why"} if caught else None)


def test_the_error_goes_into_the_raw_input_and_output_path_is_not_applied_to_it():
    catch = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Caught"}]
    work = task(InputPath="$.in", OutputPath="$.nothing", Catch=catch, End=True)
    account = Account([Raises("LeaseHeld", "busy")])
    execution = account.run(machine(("Work", work), ("Caught", {"Type": "Succeed"})), {"in": {"x": 1}})
    assert execution.output["in"] == {"x": 1}
    assert execution.output["error"]["Error"] == "LeaseHeld"
    assert json.loads(execution.output["error"]["Cause"])["errorMessage"] == "busy"


def test_retries_come_before_catchers():
    work = task(
        Retry=[{"ErrorEquals": ["States.ALL"], "MaxAttempts": 2}],
        Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
        End=True,
    )
    account = Account([Raises("E")] * 3)
    execution = account.run(machine(("Work", work), ("Caught", {"Type": "Succeed"})))
    assert (execution.status, len(account.calls)) == (SUCCEEDED, 3)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"errorType": "LeaseHeld", "errorMessage": "busy"}, "LeaseHeld"),
        ({"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 20.00 seconds"}, "Sandbox.Timedout"),
        ({"errorMessage": "gone"}, "Lambda.Unknown"),
        (None, "Lambda.Unknown"),
    ],
)
def test_a_function_error_is_named_by_its_error_type(payload, error):
    assert TaskError.of_function(payload).error == error


NOTHING_CATCHES = {
    "a path of the result that leads nowhere": (task(ResultSelector={"n.$": "$.next"}), {"other": 1}),
    "a path of the parameters that leads nowhere": (task(Parameters={"n.$": "$.next"}), None),
    "an output path that leads nowhere": (task(OutputPath="$.next"), {"other": 1}),
}


@pytest.mark.parametrize("case", sorted(NOTHING_CATCHES))
def test_a_runtime_error_ends_the_execution_although_everything_is_retried_and_caught(case):
    state, answer = NOTHING_CATCHES[case]
    all_errors = {"ErrorEquals": ["States.ALL"]}
    work = {**state, "Retry": [all_errors], "Catch": [{**all_errors, "Next": "Caught"}], "End": True}
    execution = Account([answer] * 9).run(machine(("Work", work), ("Caught", {"Type": "Succeed"})))
    assert (execution.status, execution.error) == (FAILED, "States.Runtime")
    assert execution.cause.startswith(
        "An error occurred while executing the state 'Work' (entered at the event id #2). "
    )


def test_a_choice_without_a_match_and_without_a_default_fails():
    rule = {"Variable": "$.a", "StringEquals": "x", "Next": "Stop"}
    execution = Account().run(
        machine(("Which?", {"Type": "Choice", "Choices": [rule]}), ("Stop", {"Type": "Succeed"})), {"a": "y"}
    )
    assert execution.status == FAILED
    assert execution.cause.endswith("The state does not point to a next state.")


def test_a_fail_state_names_its_error_from_the_text_or_from_the_input():
    literal = Account().run(machine(("Stop", {"Type": "Fail", "Error": "E", "Cause": "why"})))
    assert (literal.status, literal.error, literal.cause) == (FAILED, "E", "why")
    by_path = {"Type": "Fail", "ErrorPath": "$.e.Error", "CausePath": "$.e.Cause"}
    read = Account().run(machine(("Stop", by_path)), {"e": {"Error": "F", "Cause": "because"}})
    assert (read.status, read.error, read.cause) == (FAILED, "F", "because")
    assert read.history.kinds()[-2:] == ["FailStateEntered", "ExecutionFailed"]


# --- time-outs and answers that come late ---


def test_a_task_that_does_not_answer_in_time_is_a_timeout_and_its_late_answer_is_dropped():
    account = Account(["late", "second"], answer_after_s=45)
    work = task(TimeoutSeconds=30, Catch=[{"ErrorEquals": ["States.Timeout"], "Next": "Pause"}], End=True)
    execution = account.run(machine(("Work", work), ("Pause", {"Type": "Wait", "Seconds": 100})))
    assert (execution.status, elapsed_s(execution)) == (SUCCEEDED, 130)
    assert execution.output == {"Error": "States.Timeout", "Cause": ""}
    assert execution.history.kinds().count("LambdaFunctionTimedOut") == 1
    assert "LambdaFunctionSucceeded" not in execution.history.kinds()


def test_a_task_that_answers_in_time_is_not_timed_out_later():
    account = Account(["r"], answer_after_s=29)
    execution = account.run(machine(("Work", task(TimeoutSeconds=30)), ("Pause", {"Type": "Wait", "Seconds": 100})))
    assert (execution.status, elapsed_s(execution)) == (SUCCEEDED, 129)


def test_every_attempt_has_its_own_timeout_and_it_may_come_from_the_input():
    account = Account([never, never, "r"])
    work = task(TimeoutSecondsPath="$.t", Retry=[{"ErrorEquals": ["States.Timeout"], "IntervalSeconds": 5}])
    execution = account.run(machine(("Work", work)), {"t": 20})
    assert (execution.status, elapsed_s(execution)) == (SUCCEEDED, 20 + 5 + 20 + 10)


def test_a_machine_that_runs_too_long_is_timed_out_and_nothing_of_it_runs_on():
    account = Account(["r"])
    states = machine(("Pause", {"Type": "Wait", "Seconds": 100}), ("Work", task()), TimeoutSeconds=60)
    execution = account.run(states)
    assert (execution.status, elapsed_s(execution), execution.error) == (TIMED_OUT, 60, None)
    assert account.calls == []
    assert execution.history.kinds() == ["ExecutionStarted", "WaitStateEntered", "ExecutionTimedOut"]


@pytest.mark.parametrize(
    ("states", "answers"),
    [
        (machine(("Work", task(TimeoutSeconds=30)), TimeoutSeconds=600), ["r"]),
        (machine(("Work", task(TimeoutSeconds=30)), TimeoutSeconds=600), [Raises("E")]),
        (machine(("Pause", {"Type": "Wait", "Seconds": 100}), TimeoutSeconds=5), []),
    ],
)
def test_an_execution_that_has_ended_leaves_nothing_on_the_clock(states, answers):
    account = Account(answers, answer_after_s=2)
    execution = account.run(states, for_s=10)
    assert execution.status != RUNNING
    assert account.clock.next_at_s() is None


def test_a_function_may_answer_twice_and_only_the_first_answer_counts():
    def twice(on_done: Any) -> None:
        on_done(TaskResult("first"))
        on_done(TaskError("E"))

    assert Account([twice]).run(machine(("Work", task()))).output == "first"


def test_a_function_that_stops_its_own_execution_is_not_heard_any_more():
    account = Account()

    def stop(on_done: Any) -> None:
        arn = f"{MACHINE_ARN.replace('stateMachine', 'execution')}:run"
        account.service.call("StopExecution", {"executionArn": arn, "error": "Old", "cause": "a newer generation runs"})
        on_done(TaskResult("r"))

    account._answers = iter([stop])
    execution = account.run(machine(("Work", task(TimeoutSeconds=5)), ("More", task())))
    assert (execution.status, execution.error, len(account.calls)) == (ABORTED, "Old", 1)
    assert execution.history.kinds()[-1] == "ExecutionAborted"


# --- Parallel and Map ---


def block(**states: Any) -> dict[str, Any]:
    return {"StartAt": next(iter(states)), "States": states}


def test_parallel_branches_get_the_same_input_run_side_by_side_and_answer_in_order():
    slow = block(Slow={"Type": "Wait", "Seconds": 20, "Next": "A"}, A={"Type": "Pass", "Result": "slow", "End": True})
    fast = block(Fast={"Type": "Wait", "Seconds": 10, "OutputPath": "$.x", "End": True})
    both = {"Type": "Parallel", "Parameters": {"x.$": "$.v"}, "Branches": [slow, fast], "ResultPath": "$.both"}
    execution = Account().run(machine(("Both", both)), {"v": 1})
    assert execution.output == {"v": 1, "both": ["slow", 1]}
    assert elapsed_s(execution) == 20


def test_one_failed_branch_fails_its_parallel_which_can_be_retried_and_caught_and_stops_the_others():
    waiting = block(Wait={"Type": "Wait", "Seconds": 50, "Next": "Work"}, Work=task(End=True))
    failing = block(Stop={"Type": "Fail", "Error": "E", "Cause": "why"})
    both = {
        "Type": "Parallel",
        "Branches": [waiting, failing],
        "Retry": [{"ErrorEquals": ["E"], "MaxAttempts": 1, "IntervalSeconds": 7}],
        "Catch": [{"ErrorEquals": ["E"], "Next": "Caught"}],
        "End": True,
    }
    account = Account(["r"] * 5)
    execution = account.run(machine(("Both", both), ("Caught", {"Type": "Wait", "Seconds": 100})))
    assert (execution.status, execution.output) == (SUCCEEDED, {"Error": "E", "Cause": "why"})
    assert (elapsed_s(execution), account.calls) == (107, [])
    assert execution.history.kinds().count("ParallelStateFailed") == 2


def test_a_runtime_error_in_a_branch_names_the_state_in_the_branch_once():
    branch = block(Inner={"Type": "Pass", "InputPath": "$.nothing", "End": True})
    execution = Account().run(machine(("Both", {"Type": "Parallel", "Branches": [branch]})))
    assert execution.error == "States.Runtime"
    assert execution.cause.startswith(
        "An error occurred while executing the state 'Inner' (entered at the event id #4). Inv"
    )


def test_a_map_runs_its_states_for_every_item_with_the_item_in_the_context():
    spread = {
        "Type": "Map",
        "ItemsPath": "$.items",
        "ItemSelector": {"index.$": "$$.Map.Item.Index", "value.$": "$$.Map.Item.Value", "all.$": "$.tag"},
        "ItemProcessor": block(
            Each={"Type": "Pass", "Parameters": {"got.$": "$", "at.$": "$$.Map.Item.Index"}, "End": True}
        ),
        "ResultPath": "$.out",
    }
    execution = Account().run(machine(("Spread", spread)), {"items": ["a", "b"], "tag": "t"})
    assert execution.output["out"] == [
        {"got": {"index": 0, "value": "a", "all": "t"}, "at": 0},
        {"got": {"index": 1, "value": "b", "all": "t"}, "at": 1},
    ]


@pytest.mark.parametrize(("most", "seconds"), [(0, 10), (1, 50), (2, 30), (40, 10)])
def test_a_map_runs_at_most_max_concurrency_items_at_a_time(most, seconds):
    each = block(Pause={"Type": "Wait", "Seconds": 10, "End": True})
    spread = {"Type": "Map", "MaxConcurrency": most, "ItemProcessor": each}
    execution = Account().run(machine(("Spread", spread)), [1, 2, 3, 4, 5])
    assert (execution.output, elapsed_s(execution)) == ([1, 2, 3, 4, 5], seconds)


def test_a_map_over_nothing_is_an_empty_list_and_over_no_list_an_error():
    spread = {"Type": "Map", "ItemProcessor": block(Each={"Type": "Pass", "End": True})}
    assert Account().run(machine(("Spread", spread)), []).output == []
    assert Account().run(machine(("Spread", spread)), {"a": 1}).error == "States.Runtime"


def test_a_long_map_with_one_item_at_a_time_does_not_exhaust_the_stack():
    each = block(Each={"Type": "Pass", "End": True})
    spread = {"Type": "Map", "MaxConcurrency": 1, "ItemProcessor": each}
    execution = Account().run(machine(("Spread", spread)), list(range(3000)))
    assert execution.output == list(range(3000))


# --- history and quotas ---


def test_the_history_of_a_task_is_the_one_that_aws_writes():
    # Event types and links as in the developer guide's history of a state machine with one Lambda task.
    account = Account(["r"])
    execution = account.run(machine(("Work", task(TimeoutSeconds=30))), {"a": 1})
    events = execution.history.read(0, 100, newest_first=False, with_data=True)
    assert [(event["id"], event["previousEventId"], event["type"]) for event in events] == [
        (1, 0, "ExecutionStarted"),
        (2, 0, "TaskStateEntered"),
        (3, 2, "LambdaFunctionScheduled"),
        (4, 3, "LambdaFunctionStarted"),
        (5, 4, "LambdaFunctionSucceeded"),
        (6, 5, "TaskStateExited"),
        (7, 6, "ExecutionSucceeded"),
    ]
    assert events[2]["lambdaFunctionScheduledEventDetails"] == {
        "resource": function_arn("work"),
        "input": '{"a":1}',
        "inputDetails": {"truncated": False},
        "timeoutInSeconds": 30,
    }
    assert events[5]["stateExitedEventDetails"] == {
        "name": "Work",
        "output": '"r"',
        "outputDetails": {"truncated": False},
    }


def test_a_retry_adds_the_events_of_the_call_but_not_of_the_state():
    account = Account([Raises("E"), "r"])
    execution = account.run(machine(("Work", task(Retry=[{"ErrorEquals": ["E"]}]))))
    call = ["LambdaFunctionScheduled", "LambdaFunctionStarted"]
    expected = ["TaskStateEntered", *call, "LambdaFunctionFailed", *call, "LambdaFunctionSucceeded", "TaskStateExited"]
    assert execution.history.kinds()[1:-1] == expected


ENDLESS: dict[str, Any] = {
    "StartAt": "Turn",
    "States": {
        "Turn": {"Type": "Pass", "Next": "Which?"},
        "Which?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.stop", "BooleanEquals": True, "Next": "Stop"}],
            "Default": "Turn",
        },
        "Stop": {"Type": "Succeed"},
    },
}


def test_the_25000th_event_fails_the_execution_because_of_the_quota():
    execution = Account().run(ENDLESS, {"stop": False})
    assert (execution.status, execution.error) == (FAILED, "States.Runtime")
    assert execution.cause == "The execution reached the maximum number of history events (25000)."
    assert len(execution.history) == MAX_EVENTS
    last = execution.history.read(0, 1, newest_first=True, with_data=True)[0]
    assert (last["type"], last["id"], last["previousEventId"]) == ("ExecutionFailed", 25_000, 24_999)


@pytest.mark.parametrize(
    ("passes", "status", "events"),
    [(12_498, SUCCEEDED, 24_998), (12_499, SUCCEEDED, 25_000), (12_500, FAILED, 25_000)],
)
def test_an_execution_whose_25000th_event_is_its_success_succeeds(passes, status, events):
    states = [(f"P{number}", {"Type": "Pass"}) for number in range(passes)]
    execution = Account().run(machine(*states))
    assert (execution.status, len(execution.history)) == (status, events)


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        (task(), "x" * 262_143),
        (task(Parameters={"a.$": "$.big", "b.$": "$.big"}), "r"),
        (task(ResultPath="$.more"), "x" * 200_000),
        ({"Type": "Pass", "Parameters": {"a.$": "$.big", "b.$": "$.big"}}, None),
    ],
)
def test_data_over_256_kib_ends_the_execution_although_everything_is_caught(state, answer):
    everything = {"ErrorEquals": ["States.ALL"], "Next": "Caught"}
    work = {**state, "End": True}
    states = [("Work", work), ("Caught", {"Type": "Succeed"})]
    if state["Type"] == "Task":
        work["Catch"] = [everything]
    else:
        states = states[:1]
    execution = Account([answer]).run(machine(*states), {"big": "y" * 140_000})
    assert (execution.status, execution.error) == (FAILED, "States.DataLimitExceeded")


def test_two_runs_of_one_seed_write_the_same_history():
    def once() -> list[dict[str, Any]]:
        retry = [{"ErrorEquals": ["E"], "JitterStrategy": "FULL", "MaxAttempts": 9}]
        account = Account([Raises("E"), Raises("E"), "r"], seed=42, answer_after_s=0.25)
        return account.run(machine(("Work", task(Retry=retry)))).history.read(
            0, 100, newest_first=False, with_data=True
        )

    assert once() == once()
