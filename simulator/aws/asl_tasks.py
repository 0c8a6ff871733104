"""One attempt of a Task state: what is asked of Lambda, and the history events that the two integrations write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulator.aws.asl_path import RUNTIME, StateFault, compact
from simulator.aws.asl_states import LAMBDA_INVOKE, TaskState

Recorded = tuple[str, int, dict[str, Any] | None]
"""Event type, id of the event before it, details."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A function answered; `output` is any JSON value."""

    output: Any


@dataclass(frozen=True, slots=True)
class TaskError:
    """A function failed. `error` is what Retry and Catch compare, `cause` what a person reads.

    Names that AWS uses: the exception's class (`errorType`) for an error inside the function, `Sandbox.Timedout` when
    the function ran into its own time-out, `Lambda.Unknown` when the runtime died without a word,
    `Lambda.TooManyRequestsException` when it was throttled, `Lambda.ServiceException`,
    `Lambda.AWSLambdaException` and `Lambda.SdkClientException` for trouble in between.
    """

    error: str
    cause: str | None = None

    @classmethod
    def of_function(cls, payload: Any) -> TaskError:
        """From the payload that Lambda answers beside `FunctionError`: {"errorType", "errorMessage", …}."""
        named = payload.get("errorType") if isinstance(payload, dict) else None
        return cls(named if isinstance(named, str) and named else "Lambda.Unknown", compact(payload))


class Pending:
    """Takes the answer that comes while we ask, or hands a later one on; every further answer is dropped."""

    __slots__ = ("_resume", "answer", "asking")

    def __init__(self, resume: Callable[[Any], None]) -> None:
        self.asking = True
        self.answer: Any = None
        self._resume = resume

    def settle(self, answer: Any) -> None:
        if self.answer is not None:
            return
        self.answer = answer
        if not self.asking:
            self._resume(answer)


@dataclass(frozen=True, slots=True)
class TaskCall:
    """A Task state's call in one attempt."""

    resource: str
    invokes: bool
    """True for `lambda:invoke`, False for a plain function ARN."""
    function: str
    payload: Any
    parameters: Any

    @classmethod
    def of(cls, state: TaskState, parameters: Any) -> TaskCall:
        """The call for a state's evaluated Parameters; raises States.Runtime if FunctionName is not a name."""
        if state.integration != LAMBDA_INVOKE:
            return cls(state.resource, False, state.resource, parameters, parameters)
        function = parameters["FunctionName"]
        if not isinstance(function, str) or not function:
            raise StateFault(RUNTIME, f"FunctionName must be a string, not {compact(function)}")
        if "Qualifier" in parameters:
            function = f"{function}:{parameters['Qualifier']}"
        return cls(state.resource, True, function, parameters.get("Payload", {}), parameters)

    def scheduled(self, previous_id: int, timeout_s: int | None) -> Recorded:
        if not self.invokes:
            details = {"resource": self.resource, "input": self.payload, "timeoutInSeconds": timeout_s}
            return "LambdaFunctionScheduled", previous_id, details
        details = {**_INVOKE, "region": self._region(), "parameters": self.parameters, "timeoutInSeconds": timeout_s}
        return "TaskScheduled", previous_id, details

    def started(self, previous_id: int) -> Recorded:
        return ("TaskStarted", previous_id, _INVOKE) if self.invokes else ("LambdaFunctionStarted", previous_id, None)

    def failed(self, previous_id: int, error: TaskError) -> Recorded:
        kind = "TimedOut" if error.error == "States.Timeout" else "Failed"
        details = {"error": error.error, "cause": error.cause}
        if self.invokes:
            return f"Task{kind}", previous_id, {**_INVOKE, **details}
        return f"LambdaFunction{kind}", previous_id, details

    def succeeded(self, previous_id: int, result: Any) -> Recorded:
        if self.invokes:
            return "TaskSucceeded", previous_id, {**_INVOKE, "output": result}
        return "LambdaFunctionSucceeded", previous_id, {"output": result}

    def result(self, output: Any) -> Any:
        """What the state gets: the function's answer itself, or Lambda's Invoke response around it."""
        if not self.invokes:
            return output
        return {
            "ExecutedVersion": "$LATEST",
            "Payload": output,
            "SdkHttpMetadata": {"HttpStatusCode": 200},
            "StatusCode": 200,
        }

    def _region(self) -> str:
        parts = self.function.split(":")
        return parts[3] if len(parts) > 3 and parts[0] == "arn" else ""


_INVOKE = {"resourceType": "lambda", "resource": "invoke"}
