"""Cortex (ran on AWS, discontinued): in-flight requests over a minute, factors per step, stabilization both ways.

Source: cortexlabs/cortex@246ddbec, pkg/autoscaler/autoscaler.go (rule), pkg/types/spec/validations.go (defaults).
"""

from __future__ import annotations

import math
from collections import deque

from simulator.peers.view import PeerView, Sensing, require_target

TICK_S = 10.0
WINDOW_S = 60.0


def recommended(
    average: float,
    current: int,
    target: float,
    *,
    min_copies: int,
    max_copies: int,
    max_up_factor: float = 1.5,
    max_down_factor: float = 0.75,
    up_tolerance: float = 0.05,
    down_tolerance: float = 0.05,
) -> int:
    """Copies for `average` requests in flight: `⌈average / target⌉`, kept within a tolerance, at most a factor away.

    One copy more and one less are always allowed. Bounds last.
    """
    raw = average / target
    count = math.ceil(raw)
    if current * (1 - down_tolerance) < raw < current or current < raw < current * (1 + up_tolerance):
        count = current
    count = max(count, min(current - 1, math.ceil(current * max_down_factor)))
    count = min(count, max(current + 1, math.ceil(current * max_up_factor)))
    return max(min_copies, min(max_copies, count))


def stabilized(count: int, current: int, *, floor: int | None = None, ceiling: int | None = None) -> int:
    """`count`, but in no lower than `floor` and out no higher than `ceiling`; None = no such limit. Never across."""
    if count < current and floor is not None:
        return max(count, min(floor, current))
    if count > current and ceiling is not None:
        return min(count, max(ceiling, current))
    return count


class Cortex:
    """Looks every 10 s. Out by the least, in by the most that was recommended in 60 s and 300 s.

    In the first such period after a start it does not move in that direction. From zero the first request wakes it.
    """

    def __init__(
        self,
        target_per_copy: float,
        *,
        name: str = "cortex",
        period_s: float = TICK_S,
        sensing: Sensing | None = None,
        window_s: float = WINDOW_S,
        up_stabilization_s: float = 60.0,
        down_stabilization_s: float = 300.0,
        max_up_factor: float = 1.5,
        max_down_factor: float = 0.75,
        tolerance: float = 0.05,
    ) -> None:
        self.name, self.period_s = name, period_s
        self.sensing = sensing or Sensing(point_s=10.0, delay_s=0.0)
        self._target, self._window_s = require_target(target_per_copy), window_s
        self._up_s, self._down_s = up_stabilization_s, down_stabilization_s
        self._factors = {
            "max_up_factor": max_up_factor,
            "max_down_factor": max_down_factor,
            "up_tolerance": tolerance,
            "down_tolerance": tolerance,
        }
        self._started_s: float | None = None
        self._woken_s = -math.inf
        self._recommendations: deque[tuple[float, int]] = deque()

    def decide(self, view: PeerView) -> int | None:
        now_s, current = view.now_s, view.desired
        if self._started_s is None:
            self._started_s = now_s
        if current == 0 and view.demand_waits(self._window_s):
            self._woken_s = now_s
            return view.clamp(1)
        average = view.metrics.mean_total(self._window_s)
        if average is None:
            return None
        bounds = {"min_copies": view.min_copies, "max_copies": view.max_copies}
        count = recommended(average, current, self._target, **bounds, **self._factors)
        rows = self._recommendations
        rows.append((now_s, count))
        while rows[0][0] < now_s - max(self._up_s, self._down_s):
            rows.popleft()
        if count < current:
            return self._in(view, count)
        if count > current:
            return self._out(view, count)
        return current

    def _in(self, view: PeerView, count: int) -> int:
        if view.now_s - self._started_s < self._down_s:
            return view.desired
        floor = max(n for at_s, n in self._recommendations if at_s >= view.now_s - self._down_s)
        count = stabilized(count, view.desired, floor=floor)
        return max(count, 1) if view.now_s - self._woken_s < self._down_s else count

    def _out(self, view: PeerView, count: int) -> int:
        if view.now_s - self._started_s < self._up_s:
            return view.desired
        ceiling = min(n for at_s, n in self._recommendations if at_s >= view.now_s - self._up_s)
        return stabilized(count, view.desired, ceiling=ceiling)
