"""Backlog: what waits in an overload is not what arrives.

While copies carry more than they can, requests in flight grow for as long as the overload lasts: sized on that count, a
step from one copy's load to eight asks for the maximum. What is known about the arrivals is bounded by how fast the
count grows: the copies finish what they can finish, and the rest of what arrives is growth (Little's law; `peers.md`
§16: every rule on concurrency runs to its maximum in the open loop).
"""

from __future__ import annotations

from collections.abc import Sequence

OVER = 1.25
"""In flight per copy over its target from which a total is bounded: a little below its limit (1 / 0.7)."""
DRAIN = OVER
"""An overload is met with at least so many times the copies that serve: they also have to drain the queue. Not less than
OVER, or a load that crosses it would be met with fewer copies than one that just does not."""
CALM_POINTS = 6
"""After so many datapoints in a row without overload the overload is over, and what it asked for is forgotten."""
JUMP = 0.25
"""A count that jumps by more than this share of itself, beyond what it grew by in the minute before, has new callers:
those of before are still there."""
BEFORE_S = 60.0


def bound(
    times_s: Sequence[float],
    totals: list[float],
    served: Sequence[int],
    *,
    target_per_copy: float,
    service_s: float | None,
    counted: Sequence[float] | None = None,
) -> None:
    """Lower the totals of overloaded datapoints to what can have arrived, in place.

    `times_s`: starts, oldest first; `totals`: requests in flight; `served`: copies of each datapoint; `service_s`: what
    a request takes on a copy at its target, None = not known: then nothing is changed. `counted`: what was in flight by
    the metric where `totals` have been lowered already: growth is told from it, or the end of that would be a jump.
    """
    if service_s is None or service_s <= 0:
        return
    raw = totals[:] if counted is None else counted
    most, calm = 0.0, CALM_POINTS
    for i in range(1, len(totals)):
        carried = served[i] * target_per_copy
        if raw[i] <= OVER * carried:
            calm += 1
            if calm >= CALM_POINTS:
                most = 0.0
            continue
        calm = 0
        growth_per_s = _growth_per_s(times_s, raw, i)
        arriving = max(DRAIN * carried, carried + growth_per_s * service_s)
        if most > 0:
            faster_per_s = growth_per_s - _fastest_per_s(times_s, raw, i)
            if faster_per_s * (times_s[i] - times_s[i - 1]) > JUMP * raw[i - 1]:
                arriving = max(arriving, most + faster_per_s * service_s)
        # It is kept while the overload lasts: copies for it are on their way.
        most = max(most, arriving)
        totals[i] = min(totals[i], most)


def _growth_per_s(times_s: Sequence[float], raw: Sequence[float], i: int) -> float:
    return max(0.0, raw[i] - raw[i - 1]) / (times_s[i] - times_s[i - 1])


def _fastest_per_s(times_s: Sequence[float], raw: Sequence[float], i: int) -> float:
    """The fastest growth in the minute before datapoint `i`; 0 if it did not grow."""
    fastest, j = 0.0, i - 1
    while j > 0 and times_s[j] > times_s[i] - BEFORE_S:
        fastest = max(fastest, _growth_per_s(times_s, raw, j))
        j -= 1
    return fastest
