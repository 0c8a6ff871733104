"""Plays a script of Lambda answers into a state machine, in our interpreter: shared by the tests of ASL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.aws.asl import Execution, TaskError, TaskResult
from simulator.aws.asl_source import read_definition
from simulator.aws.stepfunctions import StepFunctionsService
from simulator.clock import VirtualClock

REGION = "eu-west-1"
ACCOUNT = "111122223333"
MACHINE_ARN = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:machine"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/machine"

SCALING_LOOP_FILE = Path(__file__).parents[2] / "statemachine" / "scaling_loop.asl.yaml"
FUNCTIONS = (
    "AddInstances",
    "Decide",
    "HandOver",
    "PlaceCopies",
    "RecordFailure",
    "RemoveCopies",
    "RemoveInstances",
    "VerifyInstances",
)
LOOP_INPUT = {"v": 1, "endpoint": "chat", "generation": 7}


def function_arn(name: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def scaling_loop() -> dict[str, Any]:
    """The definition that is deployed, with the functions' ARNs filled in."""
    return read_definition(SCALING_LOOP_FILE, {f"{name}FunctionArn": function_arn(name) for name in FUNCTIONS})


@dataclass(frozen=True)
class Raises:
    """An answer of the script: the function raises an exception of this class."""

    error_type: str
    message: str = "scripted"

    @property
    def payload(self) -> dict[str, Any]:
        return {"errorMessage": self.message, "errorType": self.error_type, "stackTrace": []}


def look(word: str, wait_s: int = 10) -> dict[str, Any]:
    """What every Lambda of the scaling loop answers."""
    return {**LOOP_INPUT, "next": word, "wait_s": wait_s, "why": "scripted"}


@dataclass
class Account:
    """Just enough of an account to run state machines: a clock, functions that follow a script, and the events."""

    answers: Iterable[Any] = ()
    seed: int = 0
    answer_after_s: float | None = None
    """None: a function answers while it is called; a number: that much later on the clock."""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    events: list[tuple[str, str, dict[str, Any], list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self._answers = iter(self.answers)
        self.service = StepFunctionsService(self.clock, self._invoke, self._emit, self.seed)

    def run(self, definition: Any, input_data: Any = None, *, for_s: float = 1_000_000) -> Execution:
        """Create a machine, start it, let the clock run, and return the execution."""
        self.service.create_state_machine(MACHINE_ARN, "machine", definition, ROLE_ARN)
        arn = self.start("run", {} if input_data is None else input_data)
        self.clock.run_until(self.clock.now_s + for_s)
        return self.service.execution(arn)

    def start(self, name: str, input_data: Any) -> str:
        params = {"stateMachineArn": MACHINE_ARN, "name": name, "input": json.dumps(input_data)}
        return self.service.call("StartExecution", params)["executionArn"]

    def called(self) -> list[str]:
        return [function.rsplit(":", 1)[-1] for function, _ in self.calls]

    def _invoke(self, function: str, payload: Any, on_done: Callable[[Any], None]) -> None:
        self.calls.append((function, payload))
        answer = next(self._answers)
        if callable(answer):
            answer(on_done)
            return
        outcome = TaskError.of_function(answer.payload) if isinstance(answer, Raises) else TaskResult(answer)
        if self.answer_after_s is None:
            on_done(outcome)
        else:
            self.clock.after(self.answer_after_s, lambda: on_done(outcome))

    def _emit(self, source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
        self.events.append((source, detail_type, detail, resources))
