"""Kubernetes' Horizontal Pod Autoscaler, v2.

Source: kubernetes/kubernetes, pkg/controller/podautoscaler/horizontal.go (stabilization, rates),
replica_calculator.go (counts), pkg/apis/autoscaling/v2/defaults.go (defaults). Restated from the rule.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulator.peers.view import PeerView, Sensing, require_target

TOLERANCE = 0.1
SYNC_S = 15.0


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One direction's `behavior`: at most `copies` per `copies_period_s` and `percent` per `percent_period_s`.

    None = no such policy; with neither, the direction is not limited. `select` is `Max` (the policy that allows more
    change), `Min` or `Disabled`.
    """

    copies: int | None = None
    copies_period_s: float = 15.0
    percent: float | None = None
    percent_period_s: float = 15.0
    select: str = "Max"


DEFAULT_OUT_RATE = RateLimit(copies=4, percent=100.0)
DEFAULT_IN_RATE = RateLimit(percent=100.0)
DEFAULT_OUT_WINDOW_S = 0.0
DEFAULT_IN_WINDOW_S = 300.0


def desired_by_ratio(current: int, ready: int, ratio: float, *, tolerance: float = TOLERANCE) -> int:
    """`⌈ratio × ready⌉`, or `current` if the ratio (metric / target) is within `tolerance` of 1."""
    return current if abs(1 - ratio) <= tolerance else math.ceil(ratio * ready)


def desired_by_copies(
    current: int,
    per_copy: float,
    target: float,
    *,
    reporting: int,
    missing: int = 0,
    starting: int = 0,
    tolerance: float = TOLERANCE,
) -> int:
    """Count from a metric that each copy reports; `per_copy` is the mean of the `reporting` ones (>= 1).

    On the way out, ready copies whose metric is `missing` and `starting` ones count as if they had none; on the way in
    missing ones count as if they were at the target, starting ones not at all. If counting them turns the direction
    around, or brings the ratio within the tolerance, nothing changes.
    """
    ratio = per_copy / target
    out = ratio > 1
    if not missing and not (out and starting):
        return desired_by_ratio(current, reporting, ratio, tolerance=tolerance)
    counted = reporting + missing + (starting if out else 0)
    # Nine decimals: taking a mean apart and putting it together again must not cost a copy.
    load = round(ratio * reporting + (0 if out else missing), 9)
    filled = load / counted
    if abs(1 - filled) <= tolerance or (filled > 1) != out:
        return current
    wanted = math.ceil(load)
    return max(current, wanted) if out else min(current, wanted)


def desired_by_total(current: int, total: float, target: float, *, tolerance: float = TOLERANCE) -> int:
    """Count from an external metric with an `AverageValue`: `⌈total / target⌉`, whatever the count is."""
    if current > 0 and abs(1 - total / (target * current)) <= tolerance:
        return current
    return math.ceil(total / target)


def stabilized(
    current: int,
    desired: int,
    recommendations: Sequence[tuple[float, int]],
    *,
    out_window_s: float = DEFAULT_OUT_WINDOW_S,
    in_window_s: float = DEFAULT_IN_WINDOW_S,
) -> int:
    """Scale out to the least, in to the most that was recommended in the window. `recommendations`: (age in s, count)."""
    least = min([desired, *(count for age_s, count in recommendations if age_s < out_window_s)])
    most = max([desired, *(count for age_s, count in recommendations if age_s < in_window_s)])
    return min(max(current, least), most)


def rate_limited(
    current: int,
    desired: int,
    *,
    min_copies: int,
    max_copies: int,
    limit: RateLimit,
    added: Sequence[tuple[float, int]] = (),
    removed: Sequence[tuple[float, int]] = (),
) -> int:
    """`desired` within bounds and `limit`, the limit of the direction in which it goes.

    `added`, `removed`: recent changes as (age in s, copies). A period's changes are taken back to find the count with
    which it began; that is what `copies` and `percent` start from.
    """
    if desired == current:
        return desired
    out = desired > current
    allowed = _allowed(current, limit, added, removed, 1 if out else -1)
    if limit.select == "Disabled":
        return current
    if out:
        most = math.inf if not allowed else max(_select(allowed, limit.select, more=max), current)
        return int(min(desired, max_copies, most))
    least = -math.inf if not allowed else min(_select(allowed, limit.select, more=min), current)
    return int(max(desired, min_copies, least))


def _allowed(
    current: int,
    limit: RateLimit,
    added: Sequence[tuple[float, int]],
    removed: Sequence[tuple[float, int]],
    sign: int,
) -> list[int]:
    def began_with(period_s: float) -> int:
        lately = sum(n for age_s, n in added if age_s < period_s) - sum(n for age_s, n in removed if age_s < period_s)
        return current - lately

    counts = []
    if limit.copies is not None:
        counts.append(began_with(limit.copies_period_s) + sign * limit.copies)
    if limit.percent is not None:
        scaled = began_with(limit.percent_period_s) * (1 + sign * limit.percent / 100)
        counts.append(math.ceil(scaled) if sign > 0 else int(scaled))
    return counts


def _select(allowed: Sequence[int], select: str, *, more: Callable[[Sequence[int]], int]) -> int:
    if select == "Max":
        return more(allowed)
    return min(allowed) if more is max else max(allowed)


class HpaBehaviour:
    """Stabilization and rates with their memory: turns what a metric asks for into what is asked of the cluster."""

    def __init__(
        self,
        *,
        out_window_s: float = DEFAULT_OUT_WINDOW_S,
        in_window_s: float = DEFAULT_IN_WINDOW_S,
        out_rate: RateLimit = DEFAULT_OUT_RATE,
        in_rate: RateLimit = DEFAULT_IN_RATE,
    ) -> None:
        self._out_window_s, self._in_window_s = out_window_s, in_window_s
        self._out_rate, self._in_rate = out_rate, in_rate
        self._window_s = max(out_window_s, in_window_s)
        self._periods_s = max(
            *(out_rate.copies_period_s, out_rate.percent_period_s), *(in_rate.copies_period_s, in_rate.percent_period_s)
        )
        self._recommendations: deque[tuple[float, int]] = deque()
        self._added: deque[tuple[float, int]] = deque()
        self._removed: deque[tuple[float, int]] = deque()

    def apply(self, now_s: float, *, current: int, desired: int, min_copies: int, max_copies: int) -> int:
        """The count to ask for at `now_s`; remembers it as carried out."""
        if not self._recommendations:
            # A controller that starts recommends what it finds.
            self._recommendations.append((now_s, current))
        self._forget(self._recommendations, now_s - self._window_s)
        ages = [(now_s - at_s, count) for at_s, count in self._recommendations]
        stable = stabilized(current, desired, ages, out_window_s=self._out_window_s, in_window_s=self._in_window_s)
        self._recommendations.append((now_s, desired))
        for changes in (self._added, self._removed):
            self._forget(changes, now_s - self._periods_s)
        new = rate_limited(
            current,
            stable,
            min_copies=min_copies,
            max_copies=max_copies,
            limit=self._out_rate if stable > current else self._in_rate,
            added=[(now_s - at_s, n) for at_s, n in self._added],
            removed=[(now_s - at_s, n) for at_s, n in self._removed],
        )
        if new > current:
            self._added.append((now_s, new - current))
        elif new < current:
            self._removed.append((now_s, current - new))
        return new

    @staticmethod
    def _forget(rows: deque[tuple[float, int]], oldest_s: float) -> None:
        while rows and rows[0][0] <= oldest_s:
            rows.popleft()


class KubernetesHpa:
    """HPA on a per-copy custom metric (concurrency), with default behaviour. It cannot go to zero, nor leave it."""

    def __init__(
        self,
        target_per_copy: float,
        *,
        name: str = "k8s-hpa",
        period_s: float = SYNC_S,
        sensing: Sensing | None = None,
        window_s: float = 15.0,
        tolerance: float = TOLERANCE,
        behaviour: HpaBehaviour | None = None,
    ) -> None:
        self.name, self.period_s = name, period_s
        self.sensing = sensing or Sensing(point_s=SYNC_S, delay_s=0.0)
        self._target = require_target(target_per_copy)
        self._window_s, self._tolerance = window_s, tolerance
        self._behaviour = behaviour or HpaBehaviour()

    def decide(self, view: PeerView) -> int | None:
        least = max(1, view.min_copies)
        if view.desired < least:
            return least
        per_copy = view.metrics.mean_per_copy(self._window_s)
        # HPA: a metric that cannot be read blocks any change; so does a fleet of which no copy is ready.
        if per_copy is None or view.ready < 1:
            return None
        # A copy that became ready after the newest point has not reported yet.
        reporting = min(max(1, round(view.metrics.mean_serving(self._window_s))), view.ready)
        wanted = desired_by_copies(
            view.desired,
            per_copy,
            self._target,
            reporting=reporting,
            missing=view.ready - reporting,
            starting=view.starting,
            tolerance=self._tolerance,
        )
        return self._behaviour.apply(
            view.now_s, current=view.desired, desired=wanted, min_copies=least, max_copies=max(least, view.max_copies)
        )
