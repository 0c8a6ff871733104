"""Backlog: what waits in an overload is not what arrives.

While copies carry more than they can, requests in flight grow for as long as the overload lasts: sized on that count, a
step from one copy's load to eight asks for the maximum. What is known about the arrivals is bounded by how fast the
count grows: the copies finish what they can finish, and the rest of what arrives is growth (Little's law; `peers.md`
§16: every rule on concurrency runs to its maximum in the open loop).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

OVER = 1.25
"""In flight per copy over its target from which a total is bounded: a little below its limit (1 / 0.7)."""
REMEMBERED_S = 300.0
"""So long the most that an overload's growth has asked for is kept: copies for it are on their way."""
DRAIN = OVER
"""An overload that stands still is met with so many times the copies that serve: they also have to drain the queue. Not
less than OVER, or a load that crosses it would be met with fewer copies than one that just does not."""


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
    arrived: deque[tuple[float, float]] = deque()
    """What overloaded datapoints said of the arrivals, of the last REMEMBERED_S; only those that could be the most."""
    for i in range(1, len(totals)):
        carried = served[i] * target_per_copy
        if raw[i] <= OVER * carried:
            continue
        growth_per_s = max(0.0, raw[i] - raw[i - 1]) / (times_s[i] - times_s[i - 1])
        arriving = max(DRAIN * carried, carried + growth_per_s * service_s)
        while arrived and arrived[-1][1] <= arriving:
            arrived.pop()
        arrived.append((times_s[i], arriving))
        while arrived[0][0] < times_s[i] - REMEMBERED_S:
            arrived.popleft()
        totals[i] = min(totals[i], arrived[0][1])
