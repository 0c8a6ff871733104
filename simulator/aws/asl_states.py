"""The states of a parsed Amazon States Language definition: frozen, with every path and rule already compiled."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from simulator.aws.asl_choice import Rule
from simulator.aws.asl_path import DATA_LIMIT, RUNTIME, WHOLE, NullPath, Path, ResultPath, Template

LAMBDA_INVOKE: Final = "lambda:invoke"
"""`Task.integration` of the optimised integration; the plain function ARN has None."""


@dataclass(frozen=True, slots=True)
class Retrier:
    """One entry of Retry. Delays follow the specification: interval × rate^n, capped, then jittered."""

    errors: tuple[str, ...]
    interval_s: int = 1
    backoff_rate: float = 2.0
    max_attempts: int = 3
    max_delay_s: int | None = None
    full_jitter: bool = False

    def delay_s(self, attempt: int, rng: random.Random) -> float:
        """Seconds before retry number `attempt` (0 = first retry); with FULL jitter uniform between 0 and that."""
        limit = float(self.max_delay_s) if self.max_delay_s is not None else float("inf")
        try:
            delay = self.interval_s * self.backoff_rate**attempt
        except OverflowError:
            delay = float("inf")
        delay = min(delay, limit, MAX_DELAY_S)
        return rng.uniform(0.0, delay) if self.full_jitter else delay


MAX_DELAY_S: Final = 31_622_400.0
"""A year: the longest a standard execution lives (service quota), so no retry waits longer."""


@dataclass(frozen=True, slots=True)
class Catcher:
    """One entry of Catch: which errors, where the error goes, and which state is next."""

    errors: tuple[str, ...]
    result_path: ResultPath
    next_name: str


def is_named(error: str | None, names: tuple[str, ...]) -> bool:
    """Does a Retry or Catch with `names` apply to `error`?

    States.Runtime is never retried nor caught; States.ALL does not match States.DataLimitExceeded; States.TaskFailed
    matches everything except States.Timeout (developer guide, "Error names").
    """
    if error == RUNTIME:
        return False
    if error in names:
        return True
    if error == DATA_LIMIT:
        return False
    return "States.ALL" in names or ("States.TaskFailed" in names and error != "States.Timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What every state has. `next_name` None: the state ends its block, or chooses (Choice)."""

    name: str
    kind: str
    next_name: str | None = None
    input_path: Path | NullPath = WHOLE
    output_path: Path | NullPath = WHOLE


@dataclass(frozen=True, slots=True, kw_only=True)
class PassState(State):
    parameters: Template | None = None
    result: Any = None
    has_result: bool = False
    result_path: ResultPath = field(default_factory=ResultPath)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceState(State):
    rules: tuple[tuple[Rule, str], ...]
    default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitState(State):
    """Exactly one of the four is given; `until_s` is the literal Timestamp in seconds since the epoch."""

    seconds: int | None = None
    seconds_path: Path | None = None
    until_s: float | None = None
    timestamp_path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailState(State):
    error: str | None = None
    cause: str | None = None
    error_path: Path | None = None
    cause_path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingState(State):
    """A state that can fail, be retried and be caught: Task, Parallel, Map."""

    parameters: Template | None = None
    result_selector: Template | None = None
    result_path: ResultPath = field(default_factory=ResultPath)
    retriers: tuple[Retrier, ...] = ()
    catchers: tuple[Catcher, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState(WorkingState):
    resource: str
    integration: str | None
    timeout_s: int | None = None
    timeout_path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelState(WorkingState):
    branches: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapState(WorkingState):
    """Inline mode. `parameters` is ItemSelector: it builds one item's input."""

    items_path: Path
    processor: Block
    max_concurrency: int


@dataclass(frozen=True, slots=True)
class Block:
    """States that refer to each other: the whole machine, a Parallel branch, or a Map's processor."""

    start_at: str
    states: Mapping[str, State]


@dataclass(frozen=True, slots=True)
class Machine:
    """A definition that was accepted. `text` is the JSON that DescribeStateMachine answers."""

    block: Block
    timeout_s: int | None
    text: str
