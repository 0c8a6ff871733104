"""One thread of states of an execution: how each type of state turns its input into the next step.

Input and output processing, Retry and Catch follow the Amazon States Language specification; the order of a state's
history events follows the executions that the developer guide prints.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from simulator.aws.asl_choice import parse_timestamp
from simulator.aws.asl_fanout import FanOut, Item
from simulator.aws.asl_history import as_text_time
from simulator.aws.asl_path import MISSING, RUNTIME, StateFault, Template, check_size, check_text_size, compact
from simulator.aws.asl_states import (
    Block,
    Catcher,
    ChoiceState,
    FailState,
    MapState,
    ParallelState,
    PassState,
    State,
    TaskState,
    WaitState,
    WorkingState,
    is_named,
)
from simulator.aws.asl_tasks import Pending, TaskCall, TaskError, TaskResult
from simulator.clock import Scheduled

if TYPE_CHECKING:
    from simulator.aws.asl import Execution

_Step = tuple[str | None, Any]
"""Next state's name (None: the block is done) and the data that goes there."""


class Sequence:
    """One thread of states: the whole machine, one branch of a Parallel, or one iteration of a Map."""

    def __init__(
        self,
        run: Execution,
        block: Block,
        previous_id: int,
        on_success: Callable[[Any, int], None],
        on_failure: Callable[[StateFault, int], None],
        item: Item | None = None,
    ) -> None:
        self.run = run
        self.last_id = previous_id
        self._block = block
        self._on_success = on_success
        self._on_failure = on_failure
        self._item = item
        self._alive = True
        self._state: State | None = None
        self._entered_id = 0
        self._entered_s = 0.0
        self._retries: list[int] = []
        self._timer: Scheduled | None = None
        self._fan_out: FanOut | None = None

    def start(self, data: Any) -> None:
        self._advance((self._block.start_at, data))

    def cancel(self) -> None:
        """Stop: nothing that was under way here has any effect any more."""
        self._alive = False
        if self._timer is not None:
            self._timer.cancel()
        if self._fan_out is not None:
            self._fan_out.cancel()

    def _advance(self, step: _Step | None) -> None:
        while step is not None and self._alive:
            name, data = step
            if name is None:
                self._alive = False
                self._on_success(data, self.last_id)
                return
            step = self._enter(self._block.states[name], data)

    def _resume(self, raw: Any, work: Callable[[], _Step | None]) -> None:
        if not self._alive:
            return
        self._advance(self._guarded(raw, work))

    def _guarded(self, raw: Any, work: Callable[[], _Step | None]) -> _Step | None:
        try:
            return work()
        except StateFault as fault:
            return self._handle(raw, fault)

    def _enter(self, state: State, raw: Any) -> _Step | None:
        run = self.run
        self._state, self._entered_s = state, run.clock.now_s
        self._entered_id = self.last_id = run.record(
            f"{state.kind}StateEntered", self.last_id, {"name": state.name, "input": raw}
        )
        run.transitions += 1
        if isinstance(state, WorkingState):
            self._retries = [0] * len(state.retriers)
        return self._guarded(raw, partial(_WORK[state.kind], self, state, raw))

    def _handle(self, raw: Any, fault: StateFault) -> _Step | None:
        """Retry, else catch, else fail: the order of the specification."""
        state = self._state
        assert state is not None
        if isinstance(state, WorkingState):
            for index, retrier in enumerate(state.retriers):
                if is_named(fault.error, retrier.errors):
                    if self._retries[index] < retrier.max_attempts:
                        delay_s = retrier.delay_s(self._retries[index], self.run.rng)
                        self._retries[index] += 1
                        self.run.transitions += 1
                        self._later(delay_s, raw, partial(_WORK[state.kind], self, state, raw), "retry")
                        return None
                    break
            for catcher in state.catchers:
                if is_named(fault.error, catcher.errors):
                    try:
                        return self._catch(state, catcher, raw, fault)
                    except StateFault as second:
                        fault = second
                    break
        self._alive = False
        if fault.raised_here:
            where = f"while executing the state '{state.name}' (entered at the event id #{self._entered_id})"
            fault = StateFault(fault.error, f"An error occurred {where}. {fault.cause}")
        self._on_failure(fault, self.last_id)
        return None

    def _catch(self, state: State, catcher: Catcher, raw: Any, fault: StateFault) -> _Step:
        # The error goes into the raw input; OutputPath is not applied (specification, "Fallback states").
        output = catcher.result_path.put(raw, {"Error": fault.error or "", "Cause": fault.cause or ""})
        check_size(output, state.name)
        return self._exit(state, catcher.next_name, output)

    def _exit(self, state: State, next_name: str | None, output: Any) -> _Step:
        self.last_id = self.run.record(f"{state.kind}StateExited", self.last_id, {"name": state.name, "output": output})
        return next_name, output

    def _later(self, delay_s: float, raw: Any, work: Callable[[], _Step | None], label: str) -> None:
        assert self._state is not None
        action = partial(self.run.turn, partial(self._resume, raw, work))
        self._timer = self.run.clock.after(
            delay_s, action, label=f"{self.run.identity.name}: {label} {self._state.name}"
        )

    def _context(self) -> dict[str, Any]:
        assert self._state is not None
        context = self.run.context()
        context["State"] = {
            "EnteredTime": as_text_time(self._entered_s),
            "Name": self._state.name,
            "RetryCount": sum(self._retries),
        }
        if self._item is not None:
            context["Map"] = {"Item": {"Index": self._item.index, "Value": self._item.value}}
        return context

    # --- one method per type of state: from raw input to the next step, or None when it goes on later ---

    def _pass(self, state: PassState, raw: Any) -> _Step:
        result = state.input_path.must_read(raw, self._context)
        if state.parameters is not None:
            result = state.parameters(result, self._context)
        if state.has_result:
            result = state.result
        return self._finish(state, state.result_path.put(raw, result))

    def _succeed(self, state: State, raw: Any) -> _Step:
        return self._finish(state, state.input_path.must_read(raw, self._context))

    def _fail(self, state: FailState, raw: Any) -> _Step:
        error = state.error if state.error_path is None else self._text(state.error_path.must_read(raw, self._context))
        cause = state.cause if state.cause_path is None else self._text(state.cause_path.must_read(raw, self._context))
        raise StateFault(error, cause, raised_here=False)

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise StateFault(RUNTIME, f"ErrorPath and CausePath must lead to a string, not {compact(value)}")
        return value

    def _choice(self, state: ChoiceState, raw: Any) -> _Step:
        data = state.input_path.must_read(raw, self._context)
        chosen = (name for matches, name in state.rules if matches(data, self._context))
        next_name = next(chosen, state.default)
        if next_name is None:
            # The guide names States.NoChoiceMatched; what executions show is this. A Choice has no Catch anyway.
            cause = "Failed to transition out of the state. The state does not point to a next state."
            raise StateFault(RUNTIME, cause)
        return self._exit(state, next_name, state.output_path.must_read(data, self._context))

    def _wait(self, state: WaitState, raw: Any) -> _Step | None:
        data = state.input_path.must_read(raw, self._context)
        seconds = self._wait_s(state, data)
        if seconds <= 0:
            return self._finish(state, data)
        self._later(seconds, raw, partial(self._finish, state, data), "wait in")
        return None

    def _wait_s(self, state: WaitState, data: Any) -> float:
        if state.seconds is not None:
            return state.seconds
        if state.until_s is not None:
            return state.until_s - self.run.clock.now_s
        if state.seconds_path is not None:
            seconds = state.seconds_path.read(data, self._context)
            if seconds is MISSING:
                cause = f"The SecondsPath parameter does not reference an input value: {state.seconds_path.text}"
                raise StateFault(RUNTIME, cause)
            if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 <= seconds <= 99_999_999:
                cause = "The SecondsPath parameter must be a whole number from 0 to 99999999"
                raise StateFault(RUNTIME, f"{cause}; {state.seconds_path.text} is {compact(seconds)}")
            return seconds
        assert state.timestamp_path is not None
        text = state.timestamp_path.read(data, self._context)
        until = None if text is MISSING else parse_timestamp(text)
        if until is None:
            cause = f"The TimestampPath parameter does not reference an RFC 3339 time: {state.timestamp_path.text}"
            raise StateFault(RUNTIME, cause)
        return until.timestamp() - self.run.clock.now_s

    def _task(self, state: TaskState, raw: Any) -> _Step | None:
        data = state.input_path.must_read(raw, self._context)
        payload = data if state.parameters is None else state.parameters(data, self._context)
        check_size(payload, state.name)
        timeout_s = self._timeout_s(state, data)
        call = TaskCall.of(state, payload)
        self.last_id = self.run.record(*call.scheduled(self.last_id, timeout_s))
        self.last_id = self.run.record(*call.started(self.last_id))
        pending = Pending(
            lambda answer: self.run.turn(partial(self._resume, raw, partial(self._answered, state, raw, call, answer)))
        )
        self.run.invoke_task(call.function, call.payload, pending.settle)
        if not self._alive:  # the function stopped this very execution
            return None
        if pending.answer is not None:
            return self._answered(state, raw, call, pending.answer)
        pending.asking = False
        if timeout_s is not None:
            self._timer = self.run.clock.after(timeout_s, partial(self._task_time_out, pending), label="task time-out")
        return None

    def _timeout_s(self, state: TaskState, data: Any) -> int | None:
        if state.timeout_path is None:
            return state.timeout_s
        seconds = state.timeout_path.must_read(data, self._context)
        if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 1:
            cause = f"The TimeoutSecondsPath parameter must be a positive whole number; {state.timeout_path.text} is"
            raise StateFault(RUNTIME, f"{cause} {compact(seconds)}")
        return seconds

    def _task_time_out(self, pending: Pending) -> None:
        pending.settle(TaskError("States.Timeout", None))

    def _answered(self, state: TaskState, raw: Any, call: TaskCall, answer: TaskResult | TaskError) -> _Step:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if isinstance(answer, TaskError):
            self.last_id = self.run.record(*call.failed(self.last_id, answer))
            raise StateFault(answer.error, answer.cause, raised_here=False)
        # Through JSON and back: what the function keeps and changes later must not change an execution.
        text = compact(answer.output)
        result = call.result(json.loads(text))
        try:
            check_text_size(text, state.resource)
        except StateFault as fault:
            self.last_id = self.run.record(*call.failed(self.last_id, TaskError(str(fault.error), fault.cause)))
            raise StateFault(fault.error, fault.cause, raised_here=False) from fault
        self.last_id = self.run.record(*call.succeeded(self.last_id, result))
        return self._worked(state, raw, result)

    def _parallel(self, state: ParallelState, raw: Any) -> _Step | None:
        data = state.input_path.must_read(raw, self._context)
        if state.parameters is not None:
            data = state.parameters(data, self._context)
        items = [Item(branch, data) for branch in state.branches]
        return self._spread(state, raw, items, limit=len(items))

    def _map(self, state: MapState, raw: Any) -> _Step | None:
        data = state.input_path.must_read(raw, self._context)
        values = state.items_path.must_read(data, self._context)
        if not isinstance(values, list):
            raise StateFault(RUNTIME, f"Reference path '{state.items_path.text}' must point to array.")
        items = [Item(state.processor, value, index, value, state.name) for index, value in enumerate(values)]
        if state.parameters is not None:
            items = [self._selected(state.parameters, data, item) for item in items]
        return self._spread(state, raw, items, limit=state.max_concurrency)

    def _selected(self, selector: Template, data: Any, item: Item) -> Item:
        """The item with the input that ItemSelector builds; `$$.Map.Item` is this item while it does."""
        outer, self._item = self._item, item
        try:
            return replace(item, data=selector(data, self._context))
        finally:
            self._item = outer

    def _spread(self, state: ParallelState | MapState, raw: Any, items: list[Item], *, limit: int) -> _Step | None:
        def finish(outcome: list[Any] | StateFault) -> _Step | None:
            self._fan_out = None
            if isinstance(outcome, StateFault):
                self.last_id = self.run.record(f"{state.kind}StateFailed", self.last_id)
                raise StateFault(outcome.error, outcome.cause, raised_here=False)
            self.last_id = self.run.record(f"{state.kind}StateSucceeded", self.last_id)
            return self._worked(state, raw, outcome)

        started = {"length": len(items)} if isinstance(state, MapState) else None
        self.last_id = self.run.record(f"{state.kind}StateStarted", self.last_id, started)
        pending = Pending(lambda outcome: self.run.turn(partial(self._resume, raw, partial(finish, outcome))))
        self._fan_out = FanOut(self.run, items, limit, self.last_id, pending.settle, Sequence)
        self._fan_out.fill()
        if not self._alive:
            return None
        if pending.answer is not None:
            return finish(pending.answer)
        pending.asking = False
        return None

    def _worked(self, state: WorkingState, raw: Any, result: Any) -> _Step:
        if state.result_selector is not None:
            result = state.result_selector(result, self._context)
        return self._finish(state, state.result_path.put(raw, result))

    def _finish(self, state: State, data: Any) -> _Step:
        output = state.output_path.must_read(data, self._context)
        if not isinstance(state, WaitState):  # a Wait cannot make its input larger
            check_size(output, state.name)
        return self._exit(state, state.next_name, output)


_WORK: Final[dict[str, Callable[[Sequence, Any, Any], _Step | None]]] = {
    "Pass": Sequence._pass,
    "Succeed": Sequence._succeed,
    "Fail": Sequence._fail,
    "Choice": Sequence._choice,
    "Wait": Sequence._wait,
    "Task": Sequence._task,
    "Parallel": Sequence._parallel,
    "Map": Sequence._map,
}
