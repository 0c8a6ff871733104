"""Windows: minutes put together until they are long beside a request, with a place in their half hour by arrivals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quickstep.model.service import ServiceMinute

FEWEST_REQUESTS = 3
"""A window with fewer says nothing about their mean."""
LAGS_PER_WINDOW = 20.0
"""A window is so many times as long as a request: latency is told at a request's end, concurrency while it runs."""
LONGEST_WINDOW_MIN = 15
GROUP_MIN = 30
WINDOWS_PER_GROUP = 12
"""A group is at least half an hour, and so many windows: short beside a change of what users ask for."""
FEWEST_IN_GROUP = 4


@dataclass(frozen=True, slots=True)
class Window:
    """Some minutes of one target; latency and concurrency are means over its requests."""

    at_min: int
    """Start, minutes since the epoch."""
    per_copy: float
    latency_s: float
    requests: float
    minutes: int
    arrivals: float | None
    """Requests per minute that arrived, per copy; None = not known."""


def known_minutes(minutes: Iterable[ServiceMinute]) -> list[ServiceMinute]:
    """Each minute once, as it was told last, oldest first; without those that have a value that cannot be."""
    last = {one.at_s: one for one in minutes if _is_possible(one)}
    return sorted(last.values(), key=lambda one: one.at_s)


def window_minutes(known: Sequence[ServiceMinute]) -> int:
    """How many minutes a window needs: LAGS_PER_WINDOW requests one after the other, 1 to LONGEST_WINDOW_MIN."""
    if not known:
        return 1
    wanted = LAGS_PER_WINDOW * median([one.latency_s for one in known]) / 60.0
    return min(LONGEST_WINDOW_MIN, max(1, math.ceil(wanted)))


def windows_of(known: Sequence[ServiceMinute], window_min: int) -> list[Window]:
    """The windows in which at least half of the minutes are known, oldest first."""
    parts: dict[int, list[ServiceMinute]] = {}
    for one in known:
        parts.setdefault(int(one.at_s // 60) // window_min, []).append(one)
    windows = []
    for number, part in sorted(parts.items()):
        requests = math.fsum(one.requests for one in part)
        if requests < FEWEST_REQUESTS or 2 * len(part) < window_min:
            continue
        arrivals = [one.arrivals_per_copy for one in part if one.arrivals_per_copy is not None]
        windows.append(
            Window(
                at_min=number * window_min,
                # Both weighted by requests: latency is a mean over requests, so concurrency must be one too.
                per_copy=math.fsum(one.per_copy * one.requests for one in part) / requests,
                latency_s=math.fsum(one.latency_s * one.requests for one in part) / requests,
                requests=requests,
                minutes=len(part),
                arrivals=math.fsum(arrivals) / len(arrivals) if arrivals else None,
            )
        )
    return windows


def grouped(windows: Sequence[Window], group_min: int) -> list[list[Window]]:
    """Windows by the stretch of `group_min` minutes that they lie in; stretches with too few are left out."""
    parts: dict[int, list[Window]] = {}
    for window in windows:
        parts.setdefault(window.at_min // group_min, []).append(window)
    return [part for _, part in sorted(parts.items()) if len(part) >= FEWEST_IN_GROUP]


def places(part: Sequence[Window], *, by_arrivals: bool) -> list[float]:
    """Place of each window of a group among its arrivals (or its concurrencies), from low to high, by requests 0 on average."""
    ranks = _ranks([(window.arrivals or 0.0) if by_arrivals else window.per_copy for window in part])
    weight = math.fsum(window.requests for window in part)
    middle = math.fsum(rank * window.requests for rank, window in zip(ranks, part, strict=True)) / weight
    return [rank - middle for rank in ranks]


def median(values: Sequence[float]) -> float:
    """The median of at least one value."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value that `share` (0 to 1) of the ascending `ordered` lie below; None of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _is_possible(one: ServiceMinute) -> bool:
    values = (one.per_copy, one.latency_s, one.requests)
    return all(math.isfinite(value) and value > 0 for value in values)


def _ranks(values: Sequence[float]) -> list[float]:
    """Rank of each of at least two values, −0.5 to 0.5; equal values share theirs. One burst must not decide alone."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    first = 0
    while first < len(order):
        last = first
        while last + 1 < len(order) and values[order[last + 1]] == values[order[first]]:
            last += 1
        for position in range(first, last + 1):
            ranks[order[position]] = (first + last) / 2 / (len(order) - 1) - 0.5
        first = last + 1
    return ranks
