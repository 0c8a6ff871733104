"""Amazon States Language interpreter (JSONPath, standard workflows) on the virtual clock.

`Execution` runs one accepted `Machine`: Task, Choice, Wait, Pass, Succeed, Fail, Parallel and inline Map, with Retry,
Catch, time-outs and AWS's event history. Nothing here blocks: a Wait, a retry or a task that answers later is an action
on the clock, so thousands of executions share one thread and a seed gives the same bytes.

Tasks leave through `invoke_task(function, payload, on_done)`: `function` is the Lambda ARN (or the FunctionName of
`lambda:invoke`), `payload` the JSON value for it. The account calls `on_done` exactly once, at once or later on the
clock, with TaskResult(output) or TaskError(error, cause). An answer that comes after the state timed out, or after the
execution ended, is dropped, as in AWS: the function ran, nobody listened.

Sources: Amazon States Language specification; Step Functions developer guide (error handling, quotas, transitions).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from simulator.aws.asl_history import FULL_CAUSE, History, HistoryFull, as_text_time
from simulator.aws.asl_path import RUNTIME, StateFault
from simulator.aws.asl_sequence import Sequence
from simulator.aws.asl_states import Machine
from simulator.aws.asl_tasks import TaskError, TaskResult
from simulator.clock import RANK_DELIVERY, Scheduled, VirtualClock

OnDone = Callable[[TaskResult | TaskError], None]
InvokeTask = Callable[[str, Any, OnDone], None]

RUNNING: Final = "RUNNING"
SUCCEEDED: Final = "SUCCEEDED"
FAILED: Final = "FAILED"
TIMED_OUT: Final = "TIMED_OUT"
ABORTED: Final = "ABORTED"


@dataclass(frozen=True, slots=True)
class Identity:
    """The names under which an execution runs; they make up the context object."""

    execution_arn: str
    name: str
    machine_arn: str
    machine_name: str
    role_arn: str


class Execution:
    """One run of a machine: `status`, `output` or `error` and `cause`, `history`, `transitions` (what AWS bills)."""

    def __init__(
        self,
        machine: Machine,
        identity: Identity,
        input_data: Any,
        *,
        clock: VirtualClock,
        invoke_task: InvokeTask,
        seed: int = 0,
        on_end: Callable[[Execution], None] = lambda execution: None,
    ) -> None:
        self.machine = machine
        self.identity = identity
        self.input = input_data
        self.clock = clock
        self.invoke_task = invoke_task
        self.status = RUNNING
        self.output: Any = None
        self.error: str | None = None
        self.cause: str | None = None
        self.start_s = clock.now_s
        self.stop_s: float | None = None
        self.history = History()
        self.transitions = 0
        """States entered plus retries: "each time a step of your workflow is executed, including retries" (pricing)."""
        # One stream per execution: adding an execution never changes the jitter of another one.
        self.rng = random.Random(f"{seed}:{identity.execution_arn}")
        self._on_end = on_end
        self._timers: list[Scheduled] = []
        self._top: Sequence | None = None

    def start(self) -> None:
        """Write ExecutionStarted and put the first state on the clock; no task runs inside this call."""
        details = {"input": self.input, "roleArn": self.identity.role_arn}
        self.history.add("ExecutionStarted", self.clock.now_s, 0, details)
        self._top = Sequence(self, self.machine.block, 0, self._succeed, self._fail)
        first = partial(self.turn, partial(self._top.start, self.input))
        self._timers.append(self.clock.after(0, first, rank=RANK_DELIVERY, label=f"{self.identity.name}: first state"))
        if self.machine.timeout_s is not None:
            self._timers.append(self.clock.after(self.machine.timeout_s, self._time_out, label="execution time-out"))

    def abort(self, error: str | None, cause: str | None) -> None:
        """StopExecution; does nothing when the execution has already ended."""
        self._end(ABORTED, "ExecutionAborted", 0, error=error, cause=cause)

    def turn(self, action: Callable[[], None]) -> None:
        """Run a step of this execution: every entry from the clock or from a task's answer comes through here."""
        if self.status != RUNNING:
            return
        try:
            action()
        except HistoryFull:
            self._end(FAILED, "ExecutionFailed", len(self.history), error=RUNTIME, cause=FULL_CAUSE)

    def record(self, kind: str, previous_id: int, details: Mapping[str, Any] | None = None) -> int:
        return self.history.add(kind, self.clock.now_s, previous_id, details)

    def context(self) -> dict[str, Any]:
        """The part of the context object that is the same in every state."""
        who = self.identity
        return {
            "Execution": {
                "Id": who.execution_arn,
                "Input": self.input,
                "Name": who.name,
                "RoleArn": who.role_arn,
                "StartTime": as_text_time(self.start_s),
                "RedriveCount": 0,
            },
            "StateMachine": {"Id": who.machine_arn, "Name": who.machine_name},
        }

    def _succeed(self, output: Any, last_id: int) -> None:
        self.output = output
        self._end(SUCCEEDED, "ExecutionSucceeded", last_id, output=output)

    def _fail(self, fault: StateFault, last_id: int) -> None:
        # AWS shows previousEventId 0 for the failures that it raises itself, and the failing event's id for a task's.
        self._end(FAILED, "ExecutionFailed", 0 if fault.raised_here else last_id, error=fault.error, cause=fault.cause)

    def _time_out(self) -> None:
        self._end(TIMED_OUT, "ExecutionTimedOut", 0)

    def _end(self, status: str, kind: str, previous_id: int, **details: Any) -> None:
        if self.status != RUNNING:
            return
        self.status, self.stop_s = status, self.clock.now_s
        self.error, self.cause = details.get("error"), details.get("cause")
        self.history.close(kind, self.clock.now_s, previous_id, details)
        for timer in self._timers:
            timer.cancel()
        self._timers = []
        if self._top is not None:
            self._top.cancel()
            self._top = None
        self._on_end(self)
