"""Branches that run side by side: a Parallel state's branches, an inline Map's iterations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from simulator.aws.asl_path import StateFault
from simulator.aws.asl_states import Block


@dataclass(frozen=True, slots=True)
class Item:
    """One branch: the states it runs and their input; `index`, `value` and `map_name` for a Map's iteration only."""

    block: Block
    data: Any
    index: int = 0
    value: Any = None
    map_name: str | None = None


class _Run(Protocol):
    def record(self, kind: str, previous_id: int, details: dict[str, Any] | None = None) -> int: ...


class _Sequence(Protocol):
    last_id: int

    def start(self, data: Any) -> None: ...

    def cancel(self) -> None: ...


class FanOut:
    """Runs items, at most `limit` at a time, and settles once: all outputs in order, or the first fault."""

    def __init__(
        self,
        run: _Run,
        items: list[Item],
        limit: int,
        previous_id: int,
        settle: Callable[[list[Any] | StateFault], None],
        sequence: Callable[..., _Sequence],
    ) -> None:
        self._run = run
        self._items = items
        self._limit = max(limit, 1)
        self._previous_id = previous_id
        self._settle = settle
        self._sequence = sequence
        self._outputs: list[Any] = [None] * len(items)
        self._next = 0
        self._running: dict[int, _Sequence] = {}
        self._filling = False
        self._settled = False

    def fill(self) -> None:
        """Start as many items as may run. An item that ends while it is started makes room for the next one here."""
        if self._filling:
            return
        self._filling = True
        while not self._settled and self._next < len(self._items) and len(self._running) < self._limit:
            at, self._next = self._next, self._next + 1
            self._start(at, self._items[at])
        self._filling = False
        if not self._settled and not self._running and self._next == len(self._items):
            self._settled = True
            self._settle(self._outputs)

    def cancel(self) -> None:
        self._settled = True
        for sequence in self._running.values():
            sequence.cancel()
        self._running.clear()

    def _start(self, at: int, item: Item) -> None:
        previous_id = self._previous_id
        if item.map_name is not None:
            previous_id = self._run.record("MapIterationStarted", previous_id, _named(item))

        def succeeded(output: Any, last_id: int) -> None:
            self._running.pop(at, None)
            if self._settled:
                return
            if item.map_name is not None:
                self._run.record("MapIterationSucceeded", last_id, _named(item))
            self._outputs[at] = output
            self.fill()

        def failed(fault: StateFault, last_id: int) -> None:
            self._running.pop(at, None)
            if self._settled:
                return
            if item.map_name is not None:
                self._run.record("MapIterationFailed", last_id, _named(item))
            self.cancel()
            self._settle(fault)

        shown = item if item.map_name is not None else None
        self._running[at] = self._sequence(self._run, item.block, previous_id, succeeded, failed, shown)
        self._running[at].start(item.data)


def _named(item: Item) -> dict[str, Any]:
    return {"name": item.map_name, "index": item.index}
