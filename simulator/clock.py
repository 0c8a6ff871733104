"""Virtual time: one heap of (time, order of scheduling, action).

Everything that happens in the emulated account happens as an action on this heap, one at a time, so a run is
single-threaded and the same seed gives the same bytes. Actions due at one instant run in the order in which they were
scheduled, except that a lower `rank` goes first (physics before metrics before alarms before deliveries).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

EPOCH_S = 1_767_225_600.0
"""2026-01-01T00:00:00Z: where virtual time starts unless a run says otherwise."""

RANK_PHYSICS = 0
RANK_METRICS = 1
RANK_ALARMS = 2
RANK_DELIVERY = 3


@dataclass(order=True)
class Scheduled:
    """One action that is still to come; `cancel()` makes it a no-op."""

    at_s: float
    rank: int
    order: int
    action: Callable[[], None] | None = field(compare=False)
    label: str = field(compare=False, default="")

    def cancel(self) -> None:
        self.action = None


class VirtualClock:
    """Seconds since the epoch that move only when the next action is run."""

    def __init__(self, start_s: float = EPOCH_S) -> None:
        self._now_s = start_s
        self._order = 0
        self._heap: list[Scheduled] = []

    @property
    def now_s(self) -> float:
        return self._now_s

    def at(self, at_s: float, action: Callable[[], None], *, rank: int = RANK_DELIVERY, label: str = "") -> Scheduled:
        """Run `action` at `at_s`; a time in the past means "next"."""
        self._order += 1
        entry = Scheduled(max(at_s, self._now_s), rank, self._order, action, label)
        heapq.heappush(self._heap, entry)
        return entry

    def after(
        self, delay_s: float, action: Callable[[], None], *, rank: int = RANK_DELIVERY, label: str = ""
    ) -> Scheduled:
        """Run `action` in `delay_s` seconds."""
        return self.at(self._now_s + delay_s, action, rank=rank, label=label)

    def every(
        self, period_s: float, action: Callable[[], None], *, first_s: float, rank: int = RANK_DELIVERY, label: str = ""
    ) -> None:
        """Run `action` at `first_s` and then every `period_s` seconds, for as long as the clock runs."""

        def turn() -> None:
            self.at(self._now_s + period_s, turn, rank=rank, label=label)
            action()

        self.at(first_s, turn, rank=rank, label=label)

    def run_until(self, until_s: float) -> None:
        """Run every action due at or before `until_s`, then stand at `until_s`."""
        while self._heap and self._heap[0].at_s <= until_s:
            entry = heapq.heappop(self._heap)
            if entry.action is None:
                continue
            self._now_s = entry.at_s
            entry.action()
        self._now_s = max(self._now_s, until_s)

    def next_at_s(self) -> float | None:
        """When the next live action is due; None if nothing is scheduled."""
        while self._heap and self._heap[0].action is None:
            heapq.heappop(self._heap)
        return self._heap[0].at_s if self._heap else None
