"""Demand: how many requests are in flight over all copies, from a metric that is normalised per copy.

Each datapoint is multiplied with the number of copies that served *while it was measured*. A datapoint during which the
number changed, or for which it is not known, is unknown. The newest datapoint may still be filling, so it can raise the
estimate but never lower it. Three things that look alike are kept apart: no data (the metric stopped), no traffic
(zero is known), and no copies (nothing can be measured per copy).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from quickstep.model.observation import Datapoint, Metrics, Observation, ServingChange
from quickstep.model.state import TargetState

STALE_AFTER_S = 90.0
"""A newest datapoint that ended longer ago than this says nothing about now (10–60 s publish delay, plus two periods)."""
COVERAGE = 0.8
"""Share of a window's datapoints that must be known before its maximum may justify a scale-in."""
SETTLE_POINTS = 3
"""Complete datapoints after a change of copies during which growth is bounded and scale-in barred: queues inside the
containers do not move to the new copies."""
DEFAULT_WINDOW_S = 60.0
ROUNDING = 1e-9


class DemandKind(StrEnum):
    KNOWN = "known"
    NO_TRAFFIC = "no traffic"
    NO_DATA = "no data"
    NO_COPIES = "no copies"


@dataclass(frozen=True, slots=True)
class TotalPoint:
    """Requests in flight over all copies in [at_s, at_s + period)."""

    at_s: float
    total: float


@dataclass(frozen=True, slots=True)
class Demand:
    """The estimate for one target at one moment."""

    kind: DemandKind
    total: float | None = None
    """Requests in flight to size for, over all copies: mean of the window, never below it for a still-filling point."""
    newest: float | None = None
    """The larger of the two newest datapoints: what a burst looks like."""
    newest_at_s: float | None = None
    """Start of the newest complete datapoint."""
    history: tuple[TotalPoint, ...] = ()
    """Window means, one per complete datapoint, oldest first, for the scale-in hold."""
    covered_since_s: float | None = None
    """Every window that ends after this is well covered by known datapoints; None if none is."""
    waiting: float | None = None
    """Requests that found no copy in the busiest recent 10 s; None if that metric is not known."""
    statistic: str | None = None
    """`Average` or `Maximum`: what the totals were computed from."""
    settling: bool = False
    """The number of copies changed so recently that fewer than three complete datapoints have followed."""

    def needed(self, target_per_copy: float) -> int | None:
        """Copies for `total`; None if demand is not known."""
        return None if self.total is None else copies_for(self.total, target_per_copy)


def copies_for(total: float, target_per_copy: float) -> int:
    """Fewest copies that carry `total` requests with at most `target_per_copy` (> 0) on each."""
    return max(0, math.ceil(total / target_per_copy - ROUNDING))


def estimate(observation: Observation, state: TargetState, now_s: float, *, window_s: float = DEFAULT_WINDOW_S) -> Demand:
    """Estimate the demand at `now_s` from what was observed and how many copies served when."""
    waiting = _waiting(observation.metrics, now_s)
    if observation.current == 0:
        return Demand(DemandKind.NO_COPIES, waiting=waiting)
    series = observation.metrics.concurrency
    points = usable(series.points) if series else ()
    period_s = series.period_s if series else 10.0
    statistic = "Average" if any(p.average is not None for p in points) else "Maximum"
    totals = _totals(points, period_s, statistic, state.serving, observation.current)
    if not totals or now_s - (totals[-1].at_s + period_s) > STALE_AFTER_S:
        if _known_idle(observation.metrics, now_s):
            return Demand(DemandKind.NO_TRAFFIC, total=0.0, newest=0.0, newest_at_s=now_s, waiting=waiting, covered_since_s=0.0)
        return Demand(DemandKind.NO_DATA, waiting=waiting)
    totals, settling = _bounded_after_change(totals, period_s, state.serving)
    complete = totals[:-1] or totals
    n = max(1, round(window_s / period_s))
    history = _window_means(complete, n, period_s)
    total = max(history[-1].total, _mean_with_newest(totals, n, period_s))
    newest = max(p.total for p in totals[-2:])
    peak = max(p.total for p in history)
    return Demand(
        DemandKind.NO_TRAFFIC if peak == 0 and newest == 0 else DemandKind.KNOWN,
        total=total,
        newest=newest,
        newest_at_s=complete[-1].at_s,
        history=history,
        covered_since_s=_covered_since(complete, period_s, now_s),
        waiting=waiting,
        statistic=statistic,
        settling=settling,
    )


def usable(points: tuple[Datapoint, ...]) -> tuple[Datapoint, ...]:
    """Datapoints whose values can be counts; NaN, infinite, negative and absurd values are unknown, not zero."""
    if all(_is_count(p.average) and _is_count(p.maximum) for p in points):
        return points
    kept = []
    for p in points:
        average, maximum = (v if _is_count(v) else None for v in (p.average, p.maximum))
        if average is not None or maximum is not None:
            kept.append(Datapoint(p.at_s, average, maximum))
    return tuple(kept)


def serving_during(serving: tuple[ServingChange, ...], start_s: float, end_s: float, current: int) -> int | None:
    """Copies that served throughout [start_s, end_s); None if the number changed meanwhile or is not known.

    Before the first look nothing is remembered: then the copies that serve now are taken to have served all along.
    """
    if not serving:
        return current
    found: int | None = serving[0].copies
    for change in serving:
        if change.at_s <= start_s:
            found = change.copies
        elif change.at_s < end_s:
            return None
        else:
            break
    return found


def remember_serving(state: TargetState, observation: Observation, now_s: float) -> tuple[ServingChange, ...]:
    """The ring of serving counts after this look: a changed count was unknown between the two looks."""
    ring = state.serving
    if not ring:
        return (ServingChange(now_s, observation.current),)
    if ring[-1].copies == observation.current:
        return ring
    last_look_s = state.last_look_s
    unknown = (ServingChange(last_look_s, None),) if last_look_s is not None and last_look_s < now_s else ()
    ring = (*ring, *unknown, ServingChange(now_s, observation.current))
    first = next((i for i in range(len(ring) - 1, -1, -1) if ring[i].at_s <= now_s - RING_S), 0)
    return ring[first:][-RING_MAX:]


RING_S = 3600.0
RING_MAX = 60
WAITING_WINDOW_S = 90.0
HUGE = 1e7


def _is_count(value: float | None) -> bool:
    return value is None or 0 <= value <= HUGE


def _totals(
    points: tuple[Datapoint, ...], period_s: float, statistic: str, serving: tuple[ServingChange, ...], current: int
) -> list[TotalPoint]:
    found = []
    by_average = statistic == "Average"
    last_change_s = serving[-1].at_s if serving else None
    for p in points:
        value = p.average if by_average else p.maximum
        if value is None:
            continue
        if last_change_s is None or p.at_s >= last_change_s:
            copies = serving[-1].copies if serving else current
        else:
            copies = serving_during(serving, p.at_s, p.at_s + period_s, current)
        if copies:
            found.append(TotalPoint(p.at_s, value * copies))
    return found


def _bounded_after_change(
    totals: list[TotalPoint], period_s: float, serving: tuple[ServingChange, ...]
) -> tuple[list[TotalPoint], bool]:
    """Bound the first points after a change of copies by the total before plus the growth measured before it."""
    if len(serving) < 2:
        return totals, False
    changed_s = serving[-1].at_s
    after = [i for i, p in enumerate(totals) if p.at_s >= changed_s]
    settling = len(after) <= SETTLE_POINTS
    before = [p for p in totals if p.at_s < changed_s][-6:]
    if not before or not after:
        return totals, settling
    growth_per_s = max(0.0, (before[-1].total - before[0].total) / (len(before) * period_s))
    totals = list(totals)
    for i in after[:SETTLE_POINTS]:
        bound = max(p.total for p in before) + growth_per_s * (totals[i].at_s - before[-1].at_s)
        totals[i] = TotalPoint(totals[i].at_s, min(totals[i].total, bound))
    return totals, settling


def _window_means(points: list[TotalPoint], n: int, period_s: float) -> tuple[TotalPoint, ...]:
    """Mean over the `n` periods that end with each point, over the points that are there (a young window is not diluted)."""
    means = []
    first = 0
    running = 0.0
    for i, p in enumerate(points):
        running += p.total
        while points[first].at_s <= p.at_s - n * period_s:
            running -= points[first].total
            first += 1
        means.append(TotalPoint(p.at_s, max(0.0, running / (i - first + 1))))
    return tuple(means)


def _mean_with_newest(totals: list[TotalPoint], n: int, period_s: float) -> float:
    recent = [p.total for p in totals if p.at_s > totals[-1].at_s - n * period_s]
    return sum(recent) / len(recent)


def _covered_since(complete: list[TotalPoint], period_s: float, now_s: float) -> float | None:
    """The earliest moment since which at least `COVERAGE` of the datapoints are known, looking back from the newest."""
    newest_s = complete[-1].at_s
    if now_s - newest_s - period_s > STALE_AFTER_S:
        return None
    since = None
    for count, p in enumerate(reversed(complete), start=1):
        expected = (newest_s - p.at_s) / period_s + 1
        if count >= COVERAGE * expected:
            since = p.at_s
    return since


def _known_idle(metrics: Metrics, now_s: float) -> bool:
    """True if Invocations says that nothing arrived lately: zero is known although the concurrency metric is silent."""
    series = metrics.invocations
    if series is None:
        return False
    recent = [p for p in series.points if p.average is not None and p.at_s > now_s - 5 * series.period_s - STALE_AFTER_S]
    return len(recent) >= 3 and all(p.average == 0 for p in recent)


def _waiting(metrics: Metrics, now_s: float) -> float | None:
    series = metrics.no_capacity
    if series is None:
        return None
    recent = [p.average for p in series.points if p.average is not None and p.at_s > now_s - WAITING_WINDOW_S]
    return max((v for v in recent if _is_count(v)), default=0.0)
