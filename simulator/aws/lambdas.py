"""Lambda: functions that really run, with environments, retries, throttling and destinations, on the virtual clock.

A handler runs in this process at the instant it is invoked; its answer is delivered after `warm_s` or `cold_s` plus what
it spent in calls. Sources: Lambda developer guide ("Asynchronous invocation", "Concurrency", "Execution environment"),
API reference of Invoke.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from simulator.aws.lambda_runtime import (
    NAME_IN_ARN,
    Environment,
    EnvironmentKilled,
    Function,
    Invocation,
    Outcome,
    OutOfTime,
    killed,
    timed_out,
)
from simulator.clock import VirtualClock
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

ASYNC_RETRY_WAITS_S = (60.0, 120.0)
"""Asynchronous invocation: a failed attempt is repeated after one minute, then after two."""

MAX_SYNC_PAYLOAD_BYTES = 6 * 1024 * 1024
MAX_ASYNC_PAYLOAD_BYTES = 1024 * 1024


@dataclass(frozen=True)
class LambdaDelays:
    """Seconds. `warm` and `cold` are start to answer without calls; `queue` is what an asynchronous event waits.

    An environment is taken away after `idle` without work, and at the latest `lifetime` after its start.
    """

    warm_s: float = 0.3
    cold_s: float = 1.0
    queue_s: float = 0.02
    idle_s: float = 900.0
    lifetime_s: float = 7200.0


class LambdaService:
    """The functions of one account and region.

    `entered(invocation)` wraps every run: it makes the account answer the handler's AWS calls as that function. `log`
    gets every line a handler writes, `report` the `AWS/Lambda` metrics, `send` the destinations (ARN, owner, payload,
    attributes). `throttle(function)` is a knob for tests: True refuses an invocation.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        entered: Callable[[Invocation], Any],
        log: Callable[[Function, float, str], None],
        report: Callable[..., None],
        send: Callable[[str, Function, Any, Mapping[str, str]], None],
        seed: int = 0,
        delays: LambdaDelays | None = None,
    ) -> None:
        self._clock, self._entered, self._log, self._report, self._send = clock, entered, log, report, send
        self._seed = seed
        self.delays = delays or LambdaDelays()
        self.functions: dict[str, Function] = {}
        self.throttle: Callable[[Function], bool] | None = None
        self.invocations: Counter[str] = Counter()
        self.cold_starts: Counter[str] = Counter()
        self._environments: dict[str, list[Environment]] = {}
        self._running: Counter[str] = Counter()
        self._runs: list[Invocation] = []
        self._serial = 0

    @property
    def current(self) -> Invocation | None:
        """The innermost invocation that is running now; None outside handlers."""
        return self._runs[-1] if self._runs else None

    def add(self, function: Function) -> None:
        """Deploy a function, or a new version of it (its environments are replaced)."""
        self.recycle(function.name)
        self.functions[function.name] = function

    def recycle(self, name: str) -> None:
        """Take the function's environments away: its next invocation is a cold start."""
        for environment in self._environments.pop(name, []):
            environment.close()

    def close(self) -> None:
        """Take every environment away."""
        for name in list(self._environments):
            self.recycle(name)

    def invoke(self, name: str, payload: Any, on_done: Callable[[Outcome], None]) -> None:
        """Run the function now; `on_done` gets the outcome when its time has passed.

        Raises ServiceError: ResourceNotFoundException or TooManyRequestsException.
        """
        outcome = self._run(self.function(name), payload)
        self._clock.after(outcome.duration_s, lambda: on_done(outcome), label=f"{name} answers")

    def invoke_async(self, name: str, payload: Any) -> None:
        """Accept an event for the function; it runs soon, and again if it fails (developer guide, retries)."""
        function = self.function(name)
        accepted_s = self._clock.now_s
        self._attempt_in(self.delays.queue_s, function.name, payload, accepted_s, failures=0, throttles=0)

    def function(self, name: str) -> Function:
        """The function with that name, ARN or partial ARN; raises ServiceError ResourceNotFoundException."""
        match = NAME_IN_ARN.match(name)
        function = self.functions.get(match.group(1)) if match else None
        if function is None:
            raise ServiceError("ResourceNotFoundException", f"Function not found: {name}", 404)
        return function

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one API operation of `lambda`; raises ServiceError for a refusal."""
        method = self._operations.get(operation)
        if method is None:
            raise NotEmulated(f"lambda {operation} is not emulated")
        return method(self, params)

    # Running

    def _run(self, function: Function, payload: Any) -> Outcome:
        now_s = self._clock.now_s
        limit = function.reserved_concurrency
        refused = (limit is not None and self._running[function.name] >= limit) or (
            self.throttle is not None and self.throttle(function)
        )
        if refused:
            self._metric(function, "Throttles", 1.0)
            raise ServiceError("TooManyRequestsException", "Rate Exceeded.", 429)
        environment = self._environment(function)
        self.invocations[function.name] += 1
        number = f"{self._seed}/{function.name}/{self.invocations[function.name]}"
        invocation = Invocation(function, str(uuid.uuid5(uuid.NAMESPACE_URL, number)), now_s)
        cold = environment.cold
        self.cold_starts[function.name] += cold
        answer, error, died = self._in_environment(environment, payload, invocation)
        duration_s = invocation.elapsed_s + (self.delays.cold_s if cold else self.delays.warm_s)
        if died:
            self._environments[function.name].remove(environment)
            environment.close()
        environment.busy_until_s = now_s + duration_s
        self._running[function.name] += 1
        self._clock.after(duration_s, lambda: self._finish(function), label=f"{function.name} is free")
        self._metric(function, "Invocations", 1.0)
        self._metric(function, "Errors", float(error is not None))
        self._metric(function, "Duration", duration_s * 1000)
        if self._runs:
            self._runs[-1].spend(duration_s)
        return Outcome(invocation.request_id, answer, error, duration_s, cold, died)

    def _in_environment(
        self, environment: Environment, payload: Any, invocation: Invocation
    ) -> tuple[Any, dict[str, Any] | None, bool]:
        function = invocation.function
        with self._running_now(invocation), self._entered(invocation):
            try:
                answer, error = environment.run(
                    payload, invocation, lambda line: self._log(function, invocation.now_s, line)
                )
                return answer, error, False
            except OutOfTime:
                error = timed_out(invocation)
            except EnvironmentKilled as reason:
                error = killed(invocation, str(reason))
        self._log(function, invocation.now_s, f"{error['errorMessage']}")
        return None, error, True

    @contextmanager
    def _running_now(self, invocation: Invocation) -> Iterator[None]:
        self._runs.append(invocation)
        try:
            yield
        finally:
            self._runs.pop()

    def _environment(self, function: Function) -> Environment:
        now_s = self._clock.now_s
        environments = self._environments.setdefault(function.name, [])
        for old in [one for one in environments if self._is_old(one, now_s)]:
            environments.remove(old)
            old.close()
        for environment in environments:
            if environment.busy_until_s <= now_s:
                return environment
        self._serial += 1
        environments.append(Environment(function, self._serial, now_s))
        return environments[-1]

    def _is_old(self, environment: Environment, now_s: float) -> bool:
        free = environment.busy_until_s <= now_s
        idle_s, age_s = now_s - environment.busy_until_s, now_s - environment.started_s
        return free and (idle_s > self.delays.idle_s or age_s > self.delays.lifetime_s)

    def _finish(self, function: Function) -> None:
        self._running[function.name] -= 1

    # Asynchronous invocation

    def _attempt_in(
        self, delay_s: float, name: str, payload: Any, accepted_s: float, *, failures: int, throttles: int
    ) -> None:
        def attempt() -> None:
            function = self.functions[name]
            if self._clock.now_s - accepted_s > function.async_max_age_s:
                self._drop(function, payload, None, failures, "EventAgeExceeded")
                return
            try:
                outcome = self._run(function, payload)
            except ServiceError:
                # Throttled: back off from 1 s to 5 minutes for as long as the event may live.
                wait_s = min(300.0, 2.0**throttles)
                self._attempt_in(wait_s, name, payload, accepted_s, failures=failures, throttles=min(throttles + 1, 9))
                return
            self._clock.after(
                outcome.duration_s,
                lambda: self._after_attempt(name, payload, outcome, accepted_s, failures),
                label=f"{name} answers",
            )

        self._clock.after(delay_s, attempt, label=f"event for {name}")

    def _after_attempt(self, name: str, payload: Any, outcome: Outcome, accepted_s: float, failures: int) -> None:
        function = self.functions[name]
        if outcome.error is None:
            if function.on_success_arn is not None:
                record = self._record(function, payload, outcome, failures + 1, "Success")
                self._send(function.on_success_arn, function, record, {})
            return
        failures += 1
        if failures > function.async_retries:
            self._drop(function, payload, outcome, failures, "RetriesExhausted")
            return
        wait_s = ASYNC_RETRY_WAITS_S[min(failures, len(ASYNC_RETRY_WAITS_S)) - 1]
        if self._clock.now_s + wait_s - accepted_s > function.async_max_age_s:
            self._drop(function, payload, outcome, failures, "EventAgeExceeded")
            return
        self._attempt_in(wait_s, name, payload, accepted_s, failures=failures, throttles=0)

    def _drop(self, function: Function, payload: Any, outcome: Outcome | None, attempts: int, condition: str) -> None:
        self._metric(function, "AsyncEventsDropped", 1.0)
        error = outcome.error if outcome is not None and outcome.error else {}
        if function.on_failure_arn is not None:
            self._send(
                function.on_failure_arn, function, self._record(function, payload, outcome, attempts, condition), {}
            )
        if function.dead_letter_arn is not None:
            attributes = {
                "RequestID": outcome.request_id if outcome is not None else "",
                "ErrorCode": "200",
                "ErrorMessage": str(error.get("errorMessage", condition))[:1024],
            }
            self._send(function.dead_letter_arn, function, payload, attributes)

    def _record(
        self, function: Function, payload: Any, outcome: Outcome | None, attempts: int, condition: str
    ) -> dict[str, Any]:
        """The invocation record that a destination gets (developer guide, "Adding a destination")."""
        now = datetime.fromtimestamp(self._clock.now_s, UTC)
        record: dict[str, Any] = {
            "version": "1.0",
            "timestamp": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z",
            "requestContext": {
                "requestId": outcome.request_id if outcome is not None else "",
                "functionArn": f"{function.arn}:$LATEST",
                "condition": condition,
                "approximateInvokeCount": attempts,
            },
            "requestPayload": payload,
        }
        if outcome is not None:
            record["responseContext"] = {"statusCode": 200, "executedVersion": "$LATEST"}
            if outcome.error is not None:
                record["responseContext"]["functionError"] = "Unhandled"
            record["responsePayload"] = outcome.payload if outcome.error is None else outcome.error
        return record

    def _metric(self, function: Function, name: str, value: float) -> None:
        self._report(
            "AWS/Lambda",
            name,
            {"FunctionName": function.name},
            self._clock.now_s,
            period_s=60,
            minimum=value,
            maximum=value,
            total=value,
            samples=1.0,
            unit="Milliseconds" if name == "Duration" else "Count",
        )

    # API

    def _invoke(self, params: Mapping[str, Any]) -> dict[str, Any]:
        function = self.function(params["FunctionName"])
        body = params.get("Payload", b"") or b"{}"
        body = body.read() if hasattr(body, "read") else body
        try:
            text = body.decode() if isinstance(body, (bytes, bytearray)) else body
            payload = json.loads(text)
        except (ValueError, RecursionError) as problem:
            raise ServiceError(
                "InvalidRequestContentException", f"Could not parse request body into json: {problem}"
            ) from None
        kind = params.get("InvocationType", "RequestResponse")
        limit = MAX_ASYNC_PAYLOAD_BYTES if kind == "Event" else MAX_SYNC_PAYLOAD_BYTES
        if len(text.encode()) > limit:
            raise ServiceError("RequestTooLargeException", f"Request must be smaller than {limit} bytes.", 413)
        if kind == "DryRun":
            return {"StatusCode": 204}
        if kind == "Event":
            self.invoke_async(function.name, payload)
            return {"StatusCode": 202, "Payload": b""}
        outcome = self._run(function, payload)
        answer: dict[str, Any] = {"StatusCode": 200, "ExecutedVersion": "$LATEST"}
        if outcome.error is not None:
            answer["FunctionError"] = "Unhandled"
        answer["Payload"] = json.dumps(outcome.payload if outcome.error is None else outcome.error).encode()
        return answer

    def _configuration(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return _configuration(self.function(params["FunctionName"]))

    def _get_function(self, params: Mapping[str, Any]) -> dict[str, Any]:
        function = self.function(params["FunctionName"])
        answer: dict[str, Any] = {"Configuration": _configuration(function), "Tags": dict(function.tags)}
        if function.reserved_concurrency is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved_concurrency}
        return answer

    def _list(self, params: Mapping[str, Any]) -> dict[str, Any]:
        first, size = int(params.get("Marker") or 0), params.get("MaxItems", 50)
        found = [self.functions[name] for name in sorted(self.functions)]
        answer: dict[str, Any] = {"Functions": [_configuration(one) for one in found[first : first + size]]}
        return answer | ({"NextMarker": str(first + size)} if first + size < len(found) else {})

    def _put_concurrency(self, params: Mapping[str, Any]) -> dict[str, Any]:
        function = self.function(params["FunctionName"])
        limit = params["ReservedConcurrentExecutions"]
        self.functions[function.name] = replace(function, reserved_concurrency=limit)
        return {"ReservedConcurrentExecutions": limit}

    def _delete_concurrency(self, params: Mapping[str, Any]) -> dict[str, Any]:
        function = self.function(params["FunctionName"])
        self.functions[function.name] = replace(function, reserved_concurrency=None)
        return {}

    def _get_concurrency(self, params: Mapping[str, Any]) -> dict[str, Any]:
        limit = self.function(params["FunctionName"]).reserved_concurrency
        return {} if limit is None else {"ReservedConcurrentExecutions": limit}

    _operations: Mapping[str, Callable[[LambdaService, Mapping[str, Any]], dict[str, Any]]] = {
        "Invoke": _invoke,
        "GetFunction": _get_function,
        "GetFunctionConfiguration": _configuration,
        "ListFunctions": _list,
        "PutFunctionConcurrency": _put_concurrency,
        "DeleteFunctionConcurrency": _delete_concurrency,
        "GetFunctionConcurrency": _get_concurrency,
    }


def _configuration(function: Function) -> dict[str, Any]:
    return {
        "FunctionName": function.name,
        "FunctionArn": function.arn,
        "Runtime": "python3.13",
        "Role": function.role_arn,
        "Handler": function.handler,
        "Description": function.description,
        "Timeout": int(function.timeout_s),
        "MemorySize": function.memory_mb,
        "Version": "$LATEST",
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "Environment": {"Variables": dict(function.environment)},
    }
