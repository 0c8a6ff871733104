"""Forecast: the load of the next hours from the load of the last days, hour by hour.

A seasonal profile times a level: what this hour of the week (or, with less than eight days of history, of the day)
usually sees, as much higher or lower as the last day was. No trend is carried on: two days ahead it does more harm
than good. At least 24 known hours are needed (Application Auto Scaling asks for the same); 14 days are enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from quickstep.model.forecast import HOUR_S

DAY_H = 24
WEEK_H = 168
FEWEST_HOURS = 24
WEEKLY_FROM_H = 8 * DAY_H
"""With so much history every hour of the week has been seen, and one day of it twice."""
LEVEL_RANGE = (0.25, 4.0)
"""One odd day must not multiply the forecast without bound."""


def forecast(history: Sequence[tuple[float, float]], *, start_s: float, hours: int) -> tuple[tuple[float, float], ...]:
    """(start of the hour, load) for `hours` hours from the one that `start_s` lies in.

    `history` is (start of the hour, load ≥ 0); hours that are not known are absent, and so is a value that is not a
    finite number ≥ 0. Empty if fewer than 24 hours are known. Times are seconds since the epoch, on the hour in UTC.
    """
    known = {_hour(at_s): value for at_s, value in history if math.isfinite(value) and value >= 0}
    if len(known) < FEWEST_HOURS:
        return ()
    season = WEEK_H if max(known) - min(known) + 1 >= WEEKLY_FROM_H else DAY_H
    profile = _profile(known, season)
    daily = _profile(known, DAY_H)
    overall = math.fsum(known.values()) / len(known)

    def usual(hour: int) -> float:
        return profile.get(hour % season, daily.get(hour % DAY_H, overall))

    level = _level(known, usual)
    first = _hour(start_s)
    return tuple((hour * HOUR_S, level * usual(hour)) for hour in range(first, first + hours))


def load_per_capacity(
    load: Sequence[tuple[float, float]],
    scaling: Sequence[tuple[float, float]],
    capacity: Sequence[tuple[float, float]],
) -> float | None:
    """Load of one copy per unit of the scaling metric, as the median over the hours that have all three; None if none has.

    Example: load 600, scaling metric 5, 4 copies → 600 / (5 × 4) = 30.
    """
    loads, copies = dict(load), dict(capacity)
    ratios = sorted(
        loads[at_s] / (value * copies[at_s])
        for at_s, value in scaling
        if loads.get(at_s, 0.0) > 0 and value > 0 and copies.get(at_s, 0.0) > 0
    )
    if not ratios:
        return None
    middle = len(ratios) // 2
    return ratios[middle] if len(ratios) % 2 else (ratios[middle - 1] + ratios[middle]) / 2


def _profile(known: Mapping[int, float], season: int) -> dict[int, float]:
    slots: dict[int, list[float]] = {}
    for hour, value in sorted(known.items()):
        slots.setdefault(hour % season, []).append(value)
    return {slot: math.fsum(values) / len(values) for slot, values in slots.items()}


def _level(known: Mapping[int, float], usual: Callable[[int], float]) -> float:
    """The last known day as a share of what these hours usually see."""
    last = sorted(known)[-DAY_H:]
    expected = math.fsum(usual(hour) for hour in last)
    if expected <= 0:
        return 1.0
    low, high = LEVEL_RANGE
    return min(high, max(low, math.fsum(known[hour] for hour in last) / expected))


def _hour(at_s: float) -> int:
    return math.floor(at_s / HOUR_S)
