"""AIBrix's APA: proportional with a tolerance and a rate limit, as it is coded and as it is documented.

Source: vllm-project/aibrix@e3e10f9e, pkg/controller/podautoscaler/algorithm/apa.go (rule), context/context.go
(defaults), podautoscaler_controller.go (`stabilizeRecommendation`).
"""

from __future__ import annotations

import math
from collections import deque

from simulator.peers.view import PeerView, Sensing, require_target

WINDOW_S = 180.0
RESYNC_S = 10.0


def apa_copies(
    current: int,
    per_copy: float,
    target: float,
    *,
    max_up_rate: float = 2.0,
    max_down_rate: float = 2.0,
    up_tolerance: float = 0.1,
    down_tolerance: float = 0.1,
) -> int:
    """`⌈current × per_copy / target⌉`, at most `max_up_rate` times and at least 1 / `max_down_rate` of `current`.

    `current` itself while the ratio is within the tolerances.
    """
    ratio = per_copy / target
    if ratio > 1 + up_tolerance:
        return min(math.ceil(current * ratio), math.ceil(max_up_rate * current))
    if ratio < 1 - down_tolerance:
        return max(math.ceil(current * ratio), math.floor(current / max_down_rate))
    return current


class AibrixApa:
    """APA with its 180-second window, looked at every 10 s; it does not go to zero (`ScaleToZero` false).

    `as_coded` True: the count is what was asked for while the average is over the ready copies, so it doubles every
    10 s while copies start; and the cooldown windows are inverted (the highest recommendation of the window on the way
    out, the lowest on the way in), so that 300 s of scale-in cooldown hold nothing (aibrix#2821).

    False, as documented: count and average are both over all copies asked for, and the windows hold as HPA's do: the
    lowest on the way out, the highest on the way in. The documentation's example has a scale-in tolerance of 0.2.
    """

    def __init__(
        self,
        target_per_copy: float,
        *,
        name: str = "aibrix-apa",
        as_coded: bool = True,
        period_s: float = RESYNC_S,
        sensing: Sensing | None = None,
        window_s: float = WINDOW_S,
        up_cooldown_s: float = 0.0,
        down_cooldown_s: float = 300.0,
        up_tolerance: float = 0.1,
        down_tolerance: float | None = None,
        max_up_rate: float = 2.0,
        max_down_rate: float = 2.0,
    ) -> None:
        self.name, self.period_s = name, period_s
        self.sensing = sensing or Sensing(point_s=10.0, delay_s=0.0)
        self._target = require_target(target_per_copy)
        self._as_coded, self._window_s = as_coded, window_s
        self._up_s, self._down_s = up_cooldown_s, down_cooldown_s
        self._limits = {
            "max_up_rate": max_up_rate,
            "max_down_rate": max_down_rate,
            "up_tolerance": up_tolerance,
            "down_tolerance": (0.1 if as_coded else 0.2) if down_tolerance is None else down_tolerance,
        }
        self._recommendations: deque[tuple[float, int]] = deque()

    def decide(self, view: PeerView) -> int | None:
        least = max(1, view.min_copies)
        if view.desired < least:
            return least
        if self._as_coded:
            per_copy = view.metrics.mean_per_copy(self._window_s)
        else:
            total = view.metrics.mean_total(self._window_s)
            per_copy = None if total is None else total / view.desired
        if per_copy is None:
            return None
        raw = apa_copies(view.desired, per_copy, self._target, **self._limits)
        raw = min(max(raw, least), view.max_copies)
        return self._stabilized(view.now_s, view.desired, raw)

    def _stabilized(self, now_s: float, current: int, raw: int) -> int:
        rows = self._recommendations
        rows.append((now_s, raw))
        while rows[0][0] <= now_s - max(self._up_s, self._down_s, self.period_s):
            rows.popleft()
        if raw == current:
            return current
        window_s = self._up_s if raw > current else self._down_s
        counts = [count for at_s, count in rows if at_s > now_s - window_s] + [raw]
        if self._as_coded:
            return max(counts) if raw > current else min(counts)
        return max(current, min(counts)) if raw > current else min(current, max(counts))
