"""What the platform consists of: instances, copies, and things that will happen. Times are seconds since the start."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from simulator.aws.sagemaker_delays import LaunchDraw

if TYPE_CHECKING:
    from simulator.bench.component import Component


class CopyState(Enum):
    LOADING = 1
    SERVING = 2
    DRAINING = 3


@dataclass(eq=False, slots=True)
class Instance:
    draw: LaunchDraw
    billed_from_s: float
    in_service: bool = False
    terminating: bool = False
    warm: bool = False
    """A copy has been loaded on it before."""
    empty_since_s: float | None = None
    copies: list[Copy] = field(default_factory=list)
    event: Event | None = None


@dataclass(eq=False, slots=True)
class Copy:
    instance: Instance
    owner: Component
    state: CopyState = CopyState.LOADING
    number: int | None = None
    """In the fleet, once it serves."""
    drain_until_s: float = 0.0
    event: Event | None = None


class Event:
    """Something that will happen, unless `cancel` is called before."""

    __slots__ = ("action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


def cancelled(event: Event | None) -> None:
    """Cancel `event` if there is one; nothing, to be kept in its place."""
    if event is not None:
        event.cancel()


class Agenda:
    """Events by time; those of one instant in the order in which they were scheduled."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Event]] = []
        self._scheduled = 0

    def at(self, at_s: float, action: Callable[[], None]) -> Event:
        event = Event(action)
        heapq.heappush(self._heap, (at_s, self._scheduled, event))
        self._scheduled += 1
        return event

    @property
    def next_s(self) -> float:
        """When the next event is due; infinite if there is none."""
        while self._heap and self._heap[0][2].action is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def pop(self) -> Callable[[], None]:
        """Take the next event out; only after `next_s` has named its time."""
        action = heapq.heappop(self._heap)[2].action
        assert action is not None
        return action
