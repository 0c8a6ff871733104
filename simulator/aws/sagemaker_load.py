"""Where the control plane meets the traffic: copies are told to a load side, and its windows come back as numbers.

A window is cut whenever the number of serving copies changes, so "per copy" always means the copies that served at that
moment, also while a scale-out is under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class LoadWindow(Protocol):
    """What happened on one resource between two cuts; totals over its copies."""

    start_s: float
    end_s: float
    in_flight_mean: float
    in_flight_max: float
    in_flight_min: float
    invocations: int
    no_capacity_failures: int
    latency_sum_s: float
    latency_count: int
    per_copy: Mapping[str, tuple[float, float]]
    """copy id -> (mean, maximum) of the requests in flight on it."""


class LoadSide(Protocol):
    """The traffic of one component or one single-model variant (`simulator.physics.fleet.CopyFleet`)."""

    def add_copy(self, copy_id: str, now_s: float) -> None: ...

    def remove_copy(self, copy_id: str, now_s: float, drain: bool) -> None:
        """Send no new requests to the copy; `drain` lets those in flight finish, otherwise they break."""

    def advance(self, until_s: float) -> None: ...

    def copy_in_flight(self, copy_id: str) -> float: ...

    def take_window(self, now_s: float) -> LoadWindow:
        """Everything since the last call. One consumer: the meter below."""


@dataclass(slots=True)
class _Part:
    """A stretch of time in which the same copies served."""

    duration_s: float
    copies: tuple[str, ...]
    window: LoadWindow | None


@dataclass(slots=True)
class Tally:
    """One 10-s period of one resource."""

    served_s: float = 0.0
    """How long at least one copy served; 0 = per-copy numbers do not exist."""
    per_copy_mean: float = 0.0
    per_copy_max: float = 0.0
    per_copy_min: float = 0.0
    copies: dict[str, tuple[float, float]] = field(default_factory=dict)
    """copy id -> (mean, maximum) of its own requests in flight."""
    invocations: int = 0
    invocations_per_copy: float = 0.0
    no_capacity_failures: int = 0
    latency_sum_s: float = 0.0
    latency_count: int = 0


class LoadMeter:
    """Counts one resource: which copies serve, and what its load side saw. Without a load side everything is 0."""

    def __init__(self, start_s: float) -> None:
        self.serving: dict[str, None] = {}
        self._load: LoadSide | None = None
        self._told: set[str] = set()
        self._cut_s = start_s
        self._parts: list[_Part] = []

    def attach(self, load: LoadSide, now_s: float) -> None:
        """Give the resource its traffic; copies that serve already are told at once."""
        self._cut(now_s)
        self._load = load
        self._told = set(self.serving)
        for copy_id in self.serving:
            load.add_copy(copy_id, now_s)

    def add_copy(self, copy_id: str, now_s: float) -> None:
        self._cut(now_s)
        self.serving[copy_id] = None
        if self._load is not None:
            self._told.add(copy_id)
            self._load.add_copy(copy_id, now_s)

    def remove_copy(self, copy_id: str, now_s: float, *, drain: bool) -> None:
        self._cut(now_s)
        self.serving.pop(copy_id, None)
        if self._load is not None:
            self._load.remove_copy(copy_id, now_s, drain=drain)

    def break_off(self, copy_id: str, now_s: float) -> None:
        """Cut what a draining copy still has in flight; a copy that has nothing left is gone already."""
        if self._load is not None and self.in_flight(copy_id, now_s) > 0:
            self._cut(now_s)
            self._load.remove_copy(copy_id, now_s, drain=False)

    def in_flight(self, copy_id: str, now_s: float) -> float:
        """Requests in flight on one copy, also while it drains; 0 for a copy from before the load was attached."""
        if self._load is None or copy_id not in self._told:
            return 0
        self._load.advance(now_s)
        return self._load.copy_in_flight(copy_id)

    def tally(self, now_s: float) -> Tally:
        """Close the period that ends now and return its numbers."""
        self._cut(now_s)
        parts, self._parts = self._parts, []
        tally = Tally()
        mean_s = 0.0
        of_copy: dict[str, tuple[float, float, float]] = {}
        first = True
        for part in parts:
            window, count = part.window, len(part.copies)
            if window is not None:
                tally.no_capacity_failures += window.no_capacity_failures
                tally.invocations += window.invocations
                tally.invocations_per_copy += window.invocations / count if count else 0.0
                tally.latency_sum_s += window.latency_sum_s
                tally.latency_count += window.latency_count
            if not count or part.duration_s <= 0.0:
                continue
            mean, high, low = (
                (window.in_flight_mean / count, window.in_flight_max / count, window.in_flight_min / count)
                if window is not None
                else (0.0, 0.0, 0.0)
            )
            tally.served_s += part.duration_s
            mean_s += mean * part.duration_s
            tally.per_copy_max = high if first else max(tally.per_copy_max, high)
            tally.per_copy_min = low if first else min(tally.per_copy_min, low)
            first = False
            for copy_id in part.copies:
                copy_mean, copy_max = (0.0, 0.0) if window is None else window.per_copy.get(copy_id, (0.0, 0.0))
                sum_s, duration_s, highest = of_copy.get(copy_id, (0.0, 0.0, 0.0))
                of_copy[copy_id] = (
                    sum_s + copy_mean * part.duration_s,
                    duration_s + part.duration_s,
                    max(highest, copy_max),
                )
        if tally.served_s:
            tally.per_copy_mean = mean_s / tally.served_s
        tally.copies = {copy_id: (sum_s / lasted_s, high) for copy_id, (sum_s, lasted_s, high) in of_copy.items()}
        return tally

    def _cut(self, now_s: float) -> None:
        window = None
        if self._load is not None:
            self._load.advance(now_s)
            window = self._load.take_window(now_s)
        self._parts.append(_Part(now_s - self._cut_s, tuple(self.serving), window))
        self._cut_s = now_s
