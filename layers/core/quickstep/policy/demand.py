"""Demand: how many requests are in flight over all copies, from a metric that is normalised per copy.

Each datapoint is multiplied with the number of copies that served *while it was measured*. A datapoint during which the
number changed, or for which it is not known, is unknown. The newest datapoint may still be filling, so it can raise the
estimate but never lower it. Three things that look alike are kept apart: no data (the metric stopped), no traffic
(zero is known), and no copies (nothing can be measured per copy).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter

from quickstep.model.observation import Metrics, Observation, Series, ServingChange
from quickstep.model.state import TargetState
from quickstep.policy import backlog, pace
from quickstep.policy.coverage import covered_since, is_stale

SETTLE_POINTS = 3
"""Complete datapoints after a change of copies during which growth is bounded and scale-in barred: queues inside the
containers do not move to the new copies."""
BEFORE_POINTS = 6
BEFORE_S = 120.0
"""Totals at most so old, and so many, say what the load was before a change; older ones say nothing about it."""
IDLE_POINTS = 3
"""So many minutes without an invocation are known idleness, even if the concurrency metric is silent."""
DEFAULT_WINDOW_S = 60.0
RING_S = 3600.0
RING_MAX = 60
WAITING_WINDOW_S = 90.0
HUGE = 1e7
"""A larger number of requests in flight on one copy is a mistake of the metric's, not a load."""
ROUNDING = 1e-9


class DemandKind(StrEnum):
    KNOWN = "known"
    NO_TRAFFIC = "no traffic"
    NO_DATA = "no data"
    NO_COPIES = "no copies"


@dataclass(frozen=True, slots=True)
class Load:
    """How much there is to carry, in the two ways in which it is sized."""

    total: float
    """Requests in flight over all copies."""
    level: float
    """The same as copies' worth: independent of how many copies it happens to be spread over."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The estimate for one target at one moment. Totals are requests in flight over all copies."""

    kind: DemandKind
    total: float | None = None
    """Total to size for: mean of the window, never below it for a still-filling point."""
    newest: float | None = None
    """The larger of the two newest datapoints: what a burst looks like."""
    waiting: float | None = None
    """Requests that found no copy in the busiest recent 10 s; None if that metric is not known."""
    statistic: str | None = None
    """`Average` or `Maximum`: what the totals were computed from; None if they come from Invocations."""
    level: float | None = None
    """`total` as copies' worth: copies that it fills to their limit, at the pace that is promised there."""
    newest_level: float | None = None
    """`newest` as copies' worth."""
    settling: bool = False
    """The number of copies changed so recently that fewer than three complete datapoints have followed."""
    times_s: tuple[float, ...] = ()
    """Starts of the complete datapoints, oldest first."""
    totals: tuple[float, ...] = ()
    """Their totals."""
    levels: tuple[float, ...] = ()
    """Their totals as copies' worth."""
    period_s: float = 10.0
    window_s: float = DEFAULT_WINDOW_S
    known_since_s: float = 0.0
    """How many copies served is known since then only; before, it is assumed."""

    @property
    def load(self) -> Load | None:
        """What to size for; None if demand is not known."""
        return None if self.total is None else Load(self.total, self.total if self.level is None else self.level)

    @property
    def newest_load(self) -> Load | None:
        """What a burst is sized for; None if no datapoint is known."""
        if self.newest is None:
            return None
        return Load(self.newest, self.newest if self.newest_level is None else self.newest_level)

    def covered_since_s(self, now_s: float) -> float | None:
        """The earliest moment since which the load is known well enough to justify a scale-in; None if it is not."""
        if not self.times_s or is_stale(self.times_s[-1], self.period_s, now_s):
            return None
        return max(self.known_since_s, covered_since(self.times_s, self.period_s))

    def window_means(self, since_s: float) -> list[tuple[float, Load]]:
        """(start of the newest datapoint, mean) of every window that ends at `since_s` or later, oldest first.

        A mean is taken over the datapoints that are there: a young window is not diluted.
        """
        width_s = max(self.window_s, self.period_s)
        means = []
        first = 0
        levels = self.levels or self.totals
        for i, at_s in enumerate(self.times_s):
            while self.times_s[first] <= at_s - width_s:
                first += 1
            if at_s >= since_s:
                count = i + 1 - first
                means.append((at_s, Load(sum(self.totals[first : i + 1]) / count, sum(levels[first : i + 1]) / count)))
        return means


def copies_for(total: float, target_per_copy: float) -> int:
    """Fewest copies that carry `total` requests with at most `target_per_copy` (> 0) on each."""
    return max(0, math.ceil(total / target_per_copy - ROUNDING))


def estimate(
    observation: Observation,
    state: TargetState,
    now_s: float,
    *,
    window_s: float = DEFAULT_WINDOW_S,
    target_per_copy: float | None = None,
) -> Demand:
    """Estimate the demand at `now_s` from what was observed and how many copies served when.

    With `target_per_copy` the backlog of an overload is not taken for demand, and loads are told in copies' worth too.
    """
    metrics, serving = observation.metrics, state.serving
    waiting = _waiting(metrics, now_s)
    if observation.current == 0:
        return Demand(DemandKind.NO_COPIES, waiting=waiting)
    series = metrics.concurrency or _NO_SERIES
    period_s = series.period_s
    statistic = _statistic(series)
    times_s, totals, served = _totals(series, statistic, serving, observation.current, now_s)
    if not times_s or is_stale(times_s[-1], period_s, now_s):
        return _silent(metrics, serving, now_s, waiting)
    counted = totals[:]
    settling = _bound_after_change(times_s, totals, serving)
    levels = totals[:]
    if target_per_copy is not None:
        backlog.bound(
            times_s, totals, served, target_per_copy=target_per_copy, service_s=state.service_s, counted=counted
        )
        levels = [pace.copies_worth(t, c, target_per_copy) for t, c in zip(totals, served, strict=True)]
    newest, newest_level = totals[-1], levels[-1]
    if len(totals) > 1 and times_s[-1] - times_s[-2] <= 3 * period_s:
        newest, newest_level = max(newest, totals[-2]), max(newest_level, levels[-2])
    total, level = _mean_of_window(times_s, totals, window_s), _mean_of_window(times_s, levels, window_s)
    if len(totals) > 1:
        # The newest one may still be filling: it raises, and is forgotten where it would lower.
        times_s.pop()
        totals.pop()
        levels.pop()
        total = max(total, _mean_of_window(times_s, totals, window_s))
        level = max(level, _mean_of_window(times_s, levels, window_s))
    idle = total == 0 and newest == 0 and not _was_invoked(metrics, now_s)
    return Demand(
        DemandKind.NO_TRAFFIC if idle else DemandKind.KNOWN,
        total=total,
        newest=newest,
        waiting=waiting,
        statistic=statistic,
        level=level,
        newest_level=newest_level,
        settling=settling,
        times_s=tuple(times_s),
        totals=tuple(totals),
        levels=tuple(levels),
        period_s=period_s,
        window_s=window_s,
        known_since_s=serving[0].at_s if serving else now_s,
    )


def serving_during(serving: tuple[ServingChange, ...], start_s: float, end_s: float, current: int) -> int | None:
    """Copies that served throughout [start_s, end_s); None if the number changed meanwhile or is not known.

    Before the first look nothing is remembered: then the copies that serve now are taken to have served all along.
    """
    if not serving:
        return current
    begun = bisect_right(serving, start_s, key=_at_s)
    # The first look found the copies as they were, it did not change them: only later changes count.
    following = max(1, begun)
    if following < len(serving) and serving[following].at_s < end_s:
        return None
    return serving[max(0, begun - 1)].copies


def remember_serving(state: TargetState, observation: Observation, now_s: float) -> tuple[ServingChange, ...]:
    """The ring of serving counts after this look: a changed count was unknown between the two looks.

    At the first look the copies are taken to have served all along, unless they are just being changed.
    """
    ring = state.serving
    if not ring:
        first = ServingChange(now_s, observation.current)
        return (first,) if _is_unmoved(observation) else (ServingChange(0.0, None), first)
    if ring[-1].copies == observation.current:
        return ring
    # Clocks of two Lambdas may differ a little; the ring stays in order.
    now_s = max(now_s, ring[-1].at_s)
    unknown_s = max(ring[-1].at_s, _last_seen_s(state, now_s))
    unknown = (ServingChange(unknown_s, None),) if unknown_s < now_s else ()
    ring = (*ring, *unknown, ServingChange(now_s, observation.current))
    first_kept = next((i for i in range(len(ring) - 1, -1, -1) if ring[i].at_s <= now_s - RING_S), 0)
    return ring[first_kept:][-RING_MAX:]


def _last_seen_s(state: TargetState, now_s: float) -> float:
    """When the newest count of the ring was last seen: at the last look, or when something was decided or asked."""
    changes = (state.last_scale_out, state.last_scale_in, state.ask)
    seen_s = (state.last_look_s, state.wish_at_s, *(c.at_s for c in changes if c is not None))
    return max((at_s for at_s in seen_s if at_s is not None and at_s <= now_s), default=0.0)


_NO_SERIES = Series(10.0)
_at_s = attrgetter("at_s")


def _is_count(value: float | None) -> bool:
    # NaN compares False with everything.
    return value is not None and 0 <= value <= HUGE


def _is_unmoved(observation: Observation) -> bool:
    component = observation.component
    return observation.current == observation.desired and (component is None or component.is_stable)


def _statistic(series: Series) -> str:
    """Average where it flows, else Maximum: what flows is seen in the newest datapoints."""
    recent = series.points[-BEFORE_POINTS:]
    return "Average" if any(_is_count(p.average) for p in recent) else "Maximum"


def _totals(
    series: Series, statistic: str, serving: tuple[ServingChange, ...], current: int, now_s: float
) -> tuple[list[float], list[float], list[int]]:
    """Start, total and copies of every datapoint whose value can be a count and whose divisor is known, oldest first.

    NaN, infinite, negative and absurd values are unknown, not zero; a datapoint of the future is none.
    """
    by_average = statistic == "Average"
    settled_s = serving[-1].at_s if len(serving) > 1 else -math.inf
    copies = serving[-1].copies if serving else current
    times_s: list[float] = []
    totals: list[float] = []
    divisors: list[int] = []
    for point in series.points:
        value = point.average if by_average else point.maximum
        at_s = point.at_s
        if value is None or not 0 <= value <= HUGE or at_s > now_s:
            continue
        served = copies if at_s >= settled_s else serving_during(serving, at_s, at_s + series.period_s, current)
        if served:
            times_s.append(at_s)
            totals.append(value * served)
            divisors.append(served)
    return times_s, totals, divisors


def _bound_after_change(times_s: list[float], totals: list[float], serving: tuple[ServingChange, ...]) -> bool:
    """Bound the first totals after a change of copies by the total before plus the growth measured before it.

    Returns True if fewer than three complete datapoints have followed the change.
    """
    if len(serving) < 2:
        return False
    changed_s = serving[-1].at_s
    after = [i for i, at_s in enumerate(times_s) if at_s >= changed_s]
    first = after[0] if after else len(times_s)
    before = [i for i in range(max(0, first - BEFORE_POINTS), first) if times_s[i] > changed_s - BEFORE_S]
    if before:
        oldest, newest = before[0], before[-1]
        span_s = times_s[newest] - times_s[oldest]
        growth_per_s = max(0.0, (totals[newest] - totals[oldest]) / span_s) if span_s > 0 else 0.0
        most = max(totals[i] for i in before)
        for i in after[:SETTLE_POINTS]:
            totals[i] = min(totals[i], most + growth_per_s * (times_s[i] - times_s[newest]))
    # The newest one may still be filling, so one more than three must be there.
    return len(after) <= SETTLE_POINTS


def _mean_of_window(times_s: list[float], totals: list[float], window_s: float) -> float:
    """Mean over the window that ends with the newest datapoint, of the datapoints that are there."""
    oldest_s = times_s[-1] - window_s
    first = len(times_s) - 1
    while first > 0 and times_s[first - 1] > oldest_s:
        first -= 1
    return sum(totals[first:]) / (len(totals) - first)


def _silent(metrics: Metrics, serving: tuple[ServingChange, ...], now_s: float, waiting: float | None) -> Demand:
    """No usable concurrency: no traffic if Invocations says so, else no data."""
    idle = _idle_minutes(metrics.invocations, now_s)
    if len(idle) < IDLE_POINTS:
        return Demand(DemandKind.NO_DATA, waiting=waiting)
    return Demand(
        DemandKind.NO_TRAFFIC,
        total=0.0,
        newest=0.0,
        level=0.0,
        newest_level=0.0,
        waiting=waiting,
        times_s=tuple(idle),
        totals=(0.0,) * len(idle),
        period_s=metrics.invocations.period_s if metrics.invocations else 60.0,
        known_since_s=serving[0].at_s if serving else now_s,
    )


def _idle_minutes(series: Series | None, now_s: float) -> list[float]:
    """Starts of the latest periods in a row without an invocation, oldest first; empty if the newest is old."""
    if series is None:
        return []
    idle: list[float] = []
    for point in reversed(series.points):
        if point.average != 0 or (idle and idle[-1] - point.at_s > series.period_s):
            break
        idle.append(point.at_s)
    return [] if not idle or is_stale(idle[0], series.period_s, now_s) else idle[::-1]


def _was_invoked(metrics: Metrics, now_s: float) -> bool:
    """True if requests came lately although none was in flight when the metric looked."""
    series = metrics.invocations
    return series is not None and any(
        p.average is not None and p.average > 0 and not is_stale(p.at_s, series.period_s, now_s)
        for p in series.points[-IDLE_POINTS:]
    )


def _waiting(metrics: Metrics, now_s: float) -> float | None:
    if metrics.no_capacity is None:
        return None
    recent = (p.average for p in metrics.no_capacity.points if p.at_s > now_s - WAITING_WINDOW_S)
    return max((v for v in recent if v is not None and _is_count(v)), default=0.0)
