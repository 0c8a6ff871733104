"""Functions really run: with their own environment, on the virtual clock, and again if they fail."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from quickstep import clock as product_clock
from simulator.aws.lambda_runtime import EnvironmentKilled, Function, Invocation
from simulator.aws.lambdas import LambdaDelays, LambdaService
from simulator.clock import EPOCH_S, VirtualClock
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

DEAD_LETTERS = "arn:aws:sqs:eu-west-1:111122223333:lost"


class Cloud:
    """A LambdaService that keeps what it hands on. Times are seconds since the start."""

    def __init__(self, folder: Path, code: str, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.logs: list[tuple[float, str]] = []
        self.metrics: list[tuple[float, str, float]] = []
        self.sent: list[tuple[float, str, Any, dict[str, str]]] = []
        self.answers: list[tuple[float, Any, Any]] = []
        self.service = LambdaService(
            self.clock,
            entered=lambda invocation: contextlib.nullcontext(),
            log=lambda function, at_s, line: self.logs.append((round(at_s - EPOCH_S, 3), line)),
            report=lambda namespace, name, dimensions, at_s, **summary: self.metrics.append(
                (round(at_s - EPOCH_S, 3), name, summary["total"])
            ),
            send=lambda arn, function, payload, attributes: self.sent.append((self.t, arn, payload, dict(attributes))),
            delays=LambdaDelays(queue_s=0.0),
        )
        (folder / "app.py").write_text(code, encoding="utf-8")
        self.function = Function(
            logical_id="Look",
            name="look",
            arn="arn:aws:lambda:eu-west-1:111122223333:function:look",
            handler="app.handler",
            code_dir=folder,
            layer_dirs=(),
            environment={"MODE": "act"},
            role_arn="arn:aws:iam::111122223333:role/look",
            **settings,
        )
        self.service.add(self.function)

    @property
    def t(self) -> float:
        return round(self.clock.now_s - EPOCH_S, 3)

    def invoke(self, payload: Any = None) -> None:
        self.service.invoke(
            "look", payload, lambda outcome: self.answers.append((self.t, outcome.payload, outcome.error))
        )

    def run_to(self, t: float) -> None:
        self.clock.run_until(EPOCH_S + t)


def test_a_handler_answers_after_its_cold_start_and_then_faster(tmp_path):
    cloud = Cloud(
        tmp_path,
        "RUNS = []\ndef handler(event, context):\n    RUNS.append(1)\n    return {'got': event, 'runs': len(RUNS)}\n",
    )
    cloud.invoke({"n": 1})
    cloud.run_to(10)
    cloud.invoke({"n": 2})
    cloud.run_to(20)
    assert cloud.answers == [(1.0, {"got": {"n": 1}, "runs": 1}, None), (10.3, {"got": {"n": 2}, "runs": 2}, None)]
    assert (cloud.service.invocations["look"], cloud.service.cold_starts["look"]) == (2, 1)


def test_invocations_at_the_same_time_get_environments_of_their_own(tmp_path):
    cloud = Cloud(tmp_path, "RUNS = []\ndef handler(event, context):\n    RUNS.append(1)\n    return len(RUNS)\n")
    cloud.invoke()
    cloud.invoke()
    cloud.run_to(5)
    assert [payload for _, payload, _ in cloud.answers] == [1, 1] and cloud.service.cold_starts["look"] == 2


def test_an_environment_is_taken_away_when_idle_when_old_and_when_recycled(tmp_path):
    cloud = Cloud(tmp_path, "RUNS = []\ndef handler(event, context):\n    RUNS.append(1)\n    return len(RUNS)\n")
    for t in (0, 100, 1200, 1300):  # 1,100 s idle in between
        cloud.run_to(t)
        cloud.invoke()
    cloud.run_to(1400)
    cloud.service.recycle("look")
    cloud.invoke()
    cloud.run_to(1500)
    assert [payload for _, payload, _ in cloud.answers] == [1, 2, 1, 2, 1]
    for t in range(1600, 10_000, 600):
        cloud.run_to(t)
        cloud.invoke()
    assert cloud.service.cold_starts["look"] == 4  # one more when it was two hours old


ENVIRONMENT = """
import os, sys, time
from quickstep import clock
def handler(event, context):
    print("a line"); print("half", end=""); print(" and half", file=sys.stderr)
    time.sleep(2)
    return {
        "mode": os.environ["MODE"], "name": os.environ["AWS_LAMBDA_FUNCTION_NAME"], "region": os.environ["AWS_REGION"],
        "now": [time.time(), time.time_ns() / 1e9, clock.now_s()], "left_ms": context.get_remaining_time_in_millis(),
        "id": context.aws_request_id, "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb,
    }
"""


def test_a_handler_sees_its_environment_and_virtual_time_and_leaves_nothing_behind(tmp_path):
    cloud = Cloud(tmp_path, ENVIRONMENT, timeout_s=10.0, memory_mb=512)
    variables, path, streams = dict(os.environ), list(sys.path), (sys.stdout, sys.stderr)
    clocks = (time.time, time.time_ns, time.sleep)
    cloud.run_to(100)
    cloud.invoke()
    assert (dict(os.environ), sys.path, (sys.stdout, sys.stderr)) == (variables, path, streams)
    assert (time.time, time.time_ns, time.sleep) == clocks
    assert abs(product_clock.now_s() - time.time()) < 60
    cloud.run_to(200)
    ((at, answer, error),) = cloud.answers
    assert error is None and at == 103.0  # 1 s cold start and 2 s asleep
    assert answer["mode"] == "act" and answer["name"] == "look" and answer["region"] == "eu-west-1"
    assert answer["now"] == [EPOCH_S + 102] * 3 and answer["left_ms"] == 8000
    assert answer["arn"] == cloud.function.arn and answer["memory"] == "512" and len(answer["id"]) == 36
    assert cloud.logs == [(100.0, "a line"), (100.0, "half and half")]


def test_request_ids_differ_and_are_the_same_in_every_run(tmp_path):
    def ids() -> list[str]:
        cloud = Cloud(tmp_path, "def handler(event, context):\n    return context.aws_request_id\n")
        for _ in range(3):
            cloud.invoke()
        cloud.run_to(5)
        return [payload for _, payload, _ in cloud.answers]

    assert ids() == ids() and len(set(ids())) == 3


@pytest.mark.parametrize(
    ("code", "error_type", "message"),
    [
        ("def handler(event, context):\n    raise KeyError('target')\n", "KeyError", "'target'"),
        ("def handler(event, context):\n    return {1, 2}\n", "Runtime.MarshalError", "Unable to marshal response"),
        (
            "def handler(event, context):\n    return float('nan')\n",
            "Runtime.MarshalError",
            "Unable to marshal response",
        ),
        (
            "import nothing_like_it\n",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nothing_like_it'",
        ),
        ("1 / 0\n", "ZeroDivisionError", "division by zero"),
        ("def other(event, context): pass\n", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("import sys\ndef handler(event, context):\n    sys.exit(3)\n", "Runtime.ExitError", "exit status 3"),
    ],
)
def test_a_failing_handler_fails_in_lambda_s_words(tmp_path, code, error_type, message):
    cloud = Cloud(tmp_path, code)
    cloud.invoke()
    cloud.run_to(5)
    ((_, payload, error),) = cloud.answers
    assert payload is None and error["errorType"] == error_type and message in error["errorMessage"]


def test_the_stack_trace_shows_the_folders_of_lambda_and_not_of_this_machine(tmp_path):
    cloud = Cloud(tmp_path, "import json\ndef handler(event, context):\n    return json.loads('{')\n")
    cloud.invoke()
    cloud.run_to(5)
    trace = cloud.answers[0][2]["stackTrace"]
    assert trace[0] == "  File \"/var/task/app.py\", line 3, in handler\n    return json.loads('{')\n"
    assert all(line.startswith(('  File "/var/task/', '  File "/var/lang/')) for line in trace)


def test_a_function_that_takes_too_long_is_cut_off_and_its_environment_is_gone(tmp_path):
    code = "import time\nRUNS = []\ndef handler(event, context):\n    RUNS.append(1)\n    try:\n        time.sleep(event)\n"
    code += "    except Exception:\n        return 'caught'\n    return len(RUNS)\n"
    cloud = Cloud(tmp_path, code, timeout_s=3.0)
    for payload in (1, 4, 1):
        cloud.invoke(payload)
        cloud.run_to(cloud.t + 10)
    assert cloud.answers[0][1] == 1
    assert cloud.answers[1][2] == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {cloud.logs[0][1].split()[1]} Error: Task timed out after 3.00 seconds",
    }
    assert cloud.answers[2][1] == 1  # a new environment


def test_an_environment_can_be_killed_in_the_middle(tmp_path):
    cloud = Cloud(tmp_path, "import time\ndef handler(event, context):\n    time.sleep(1)\n    return 1\n")

    def die(self: Invocation, duration_s: float) -> None:
        raise EnvironmentKilled

    spend, Invocation.spend = Invocation.spend, die
    try:
        cloud.invoke()
    finally:
        Invocation.spend = spend
    cloud.run_to(5)
    assert cloud.answers[0][2]["errorType"] == "Runtime.ExitError"
    assert "signal: killed" in cloud.answers[0][2]["errorMessage"]


def test_a_gap_of_the_emulation_is_not_taken_for_the_handler_s_failure(tmp_path):
    code = "from simulator.not_emulated import NotEmulated\ndef handler(event, context):\n    try:\n        raise NotEmulated('x')\n"
    cloud = Cloud(tmp_path, code + "    except Exception:\n        return 1\n")
    with pytest.raises(NotEmulated):
        cloud.invoke()
    assert cloud.service.current is None


def test_an_event_that_fails_is_repeated_after_one_and_two_minutes_and_then_kept(tmp_path):
    code = "def handler(event, context):\n    raise ValueError('no')\n"
    cloud = Cloud(
        tmp_path, code, dead_letter_arn=DEAD_LETTERS, on_failure_arn="arn:aws:sqs:eu-west-1:111122223333:failed"
    )
    cloud.service.invoke_async("look", {"n": 1})
    cloud.run_to(1000)
    starts = [at for at, name, _ in cloud.metrics if name == "Invocations"]
    assert starts == [0.0, 61.0, 181.3]  # each a minute, then two, after the failure
    (at, arn, record, _), (_, dead_arn, payload, attributes) = cloud.sent
    assert (at, arn, dead_arn, payload) == (181.6, "arn:aws:sqs:eu-west-1:111122223333:failed", DEAD_LETTERS, {"n": 1})
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestPayload"] == {"n": 1} and record["responsePayload"]["errorType"] == "ValueError"
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert attributes["ErrorMessage"] == "no" and attributes["RequestID"]


@pytest.mark.parametrize(("retries", "starts"), [(0, 1), (1, 2), (2, 3)])
def test_retries_are_as_many_as_configured(tmp_path, retries, starts):
    cloud = Cloud(tmp_path, "def handler(event, context):\n    raise ValueError\n", async_retries=retries)
    cloud.service.invoke_async("look", {})
    cloud.run_to(1000)
    assert cloud.service.invocations["look"] == starts


def test_an_event_too_old_for_another_try_is_dropped(tmp_path):
    cloud = Cloud(
        tmp_path,
        "def handler(event, context):\n    raise ValueError\n",
        async_max_age_s=90.0,
        on_failure_arn=DEAD_LETTERS,
    )
    cloud.service.invoke_async("look", {})
    cloud.run_to(1000)
    assert cloud.service.invocations["look"] == 2
    assert cloud.sent[0][2]["requestContext"]["condition"] == "EventAgeExceeded"


def test_success_goes_to_its_own_destination(tmp_path):
    cloud = Cloud(tmp_path, "def handler(event, context):\n    return 'done'\n", on_success_arn=DEAD_LETTERS)
    cloud.service.invoke_async("look", {})
    cloud.run_to(10)
    record = cloud.sent[0][2]
    assert (record["requestContext"]["condition"], record["responsePayload"]) == ("Success", "done")


def test_reserved_concurrency_refuses_callers_and_delays_events(tmp_path):
    cloud = Cloud(tmp_path, "def handler(event, context):\n    return 1\n", reserved_concurrency=1)
    cloud.invoke()
    with pytest.raises(ServiceError) as refused:
        cloud.invoke()
    assert (refused.value.code, refused.value.status) == ("TooManyRequestsException", 429)
    cloud.service.invoke_async("look", {})
    cloud.run_to(10)
    assert [at for at, name, _ in cloud.metrics if name == "Invocations"] == [0.0, 1.0]
    assert sum(name == "Throttles" for _, name, _ in cloud.metrics) == 2


def test_a_test_can_throttle_a_function(tmp_path):
    cloud = Cloud(tmp_path, "def handler(event, context):\n    return 1\n")
    cloud.service.throttle = lambda function: cloud.t < 5
    cloud.service.invoke_async("look", {})
    cloud.run_to(60)
    assert [at for at, name, _ in cloud.metrics if name == "Invocations"] == [7.0]  # tried at 0, 1, 3 and 7 s


@pytest.mark.parametrize("name", ["look", "arn:aws:lambda:eu-west-1:111122223333:function:look", "look:$LATEST"])
def test_invoke_takes_a_name_or_an_arn(tmp_path, name):
    cloud = Cloud(tmp_path, "def handler(event, context):\n    return event['n'] + 1\n")
    answer = cloud.service.call("Invoke", {"FunctionName": name, "Payload": b'{"n": 1}'})
    assert answer == {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": b"2"}


def test_invoke_shows_a_function_error_beside_status_200_and_refuses_what_is_no_json(tmp_path):
    cloud = Cloud(tmp_path, "def handler(event, context):\n    raise ValueError('no')\n")
    answer = cloud.service.call("Invoke", {"FunctionName": "look"})
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert json.loads(answer["Payload"])["errorType"] == "ValueError"
    for params, code in (
        ({"FunctionName": "look", "Payload": b"{"}, "InvalidRequestContentException"),
        ({"FunctionName": "other"}, "ResourceNotFoundException"),
    ):
        with pytest.raises(ServiceError) as refused:
            cloud.service.call("Invoke", params)
        assert refused.value.code == code
    assert cloud.service.call("Invoke", {"FunctionName": "look", "InvocationType": "Event"})["StatusCode"] == 202
    assert cloud.service.call("Invoke", {"FunctionName": "look", "InvocationType": "DryRun"})["StatusCode"] == 204


def test_concurrency_can_be_set_and_taken_back(tmp_path):
    cloud = Cloud(tmp_path, "def handler(event, context):\n    return 1\n")
    cloud.service.call("PutFunctionConcurrency", {"FunctionName": "look", "ReservedConcurrentExecutions": 0})
    with pytest.raises(ServiceError, match="TooManyRequestsException"):
        cloud.invoke()
    assert cloud.service.call("GetFunction", {"FunctionName": "look"})["Concurrency"] == {
        "ReservedConcurrentExecutions": 0
    }
    cloud.service.call("DeleteFunctionConcurrency", {"FunctionName": "look"})
    cloud.invoke()


def test_metrics_tell_invocations_errors_and_duration(tmp_path):
    cloud = Cloud(tmp_path, "def handler(event, context):\n    return 1 / event\n")
    cloud.invoke(1)
    cloud.run_to(5)
    cloud.invoke(0)
    assert cloud.metrics == [
        (0.0, "Invocations", 1.0), (0.0, "Errors", 0.0), (0.0, "Duration", 1000.0),
        (5.0, "Invocations", 1.0), (5.0, "Errors", 1.0), (5.0, "Duration", 300.0),
    ]  # fmt: skip
