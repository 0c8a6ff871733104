"""Growth: how much headroom a target's own past says is worth paying for.

A copy that is asked for now serves one lead time later, so what has to fit is the most load until then. The headroom is
a newsvendor's: too much costs idle copies, too little costs late requests, and the dial `slo_target` says how many idle
copy-minutes one missing copy-minute is worth. The cheapest headroom on the last three days is kept, pulled towards a
usual one while there is little history. Yesterday's same minutes are a second opinion: a floor that is used only if it
would have been cheaper with it (season helps where days repeat, and hurts elsewhere; "Is machine learning necessary for
cloud resource usage forecasting?", SoCC 2023).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from quickstep.capacity.startup import COPY_DEFAULT_S, INSTANCE_DEFAULT_S, quantile_s
from quickstep.model.headroom import MINUTE_S, Headroom
from quickstep.model.state import Minutes, TargetState, VariantState

DAY_MIN = 1440
KEPT_MIN = 3 * DAY_MIN
"""Minutes of history that are learned from."""
FEWEST_MIN = 60
"""With less history nothing is learned."""
USUAL_GROWTH = 0.35
"""√copies, where nothing is known: half a copy at a load of 0.5, 2 at 8."""
PRIOR_MIN = 180.0
"""How strongly the usual growth counts: √copy of difference costs as much as so many idle copy-minutes."""
PRICES: dict[float, float] = {95.0: 2.0, 98.0: 8.0, 99.0: 30.0, 99.5: 80.0}
"""Idle copy-minutes that one missing copy-minute is worth, by `slo_target` (percent of requests within their SLO)."""
USUAL_DIAL = 98.0
GROWTHS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.3)
SEASONS = (None, -1.2, -0.9, -0.7, -0.5, -0.35, -0.2, -0.1, 0.0, 0.1, 0.2, 0.35, 0.5, 0.8)
SHORT_COPIES = 0.05
"""A smaller shortage is not counted as one: nobody waits for it."""
LEARN_EVERY_MIN = 60
SENSING_S = 30.0
"""From a rise of the load to the ask: two datapoints and their delay."""
AHEAD_MIN = 90
"""Minutes of yesterday that are kept beside the lead time: until the next learning and half an hour more."""


def is_due(state: TargetState) -> bool:
    """True if an hour of load waits to be learned from."""
    return state.load is not None and len(state.load.levels) >= LEARN_EVERY_MIN


def joined(history: Minutes | None, fresh: Minutes) -> Minutes:
    """The history with the fresh minutes behind it; what lies between is not known, the oldest minutes are dropped."""
    if history is None:
        return fresh
    gap = round((fresh.from_s - history.until_s) / MINUTE_S)
    if gap >= 0:
        levels = (*history.levels, *((None,) * min(gap, KEPT_MIN + DAY_MIN)), *fresh.levels)
    else:
        # Told twice (a look whose state was not kept): the newer telling stands.
        levels = (*history.levels[:gap], *fresh.levels)
    levels = levels[-(KEPT_MIN + DAY_MIN) :]
    return Minutes(fresh.until_s - MINUTE_S * len(levels), levels)


def lead_s(state: TargetState, variant: VariantState | None) -> float:
    """Seconds from a rise of the load until capacity for it serves: 90 % of the measured start-ups were no longer.

    `variant`: what is remembered of the instances that we move ourselves; None where an ask for copies (or instances)
    brings all that they need, so that its own start-up time says it.
    """
    if variant is None:
        return SENSING_S + quantile_s(state.startup_s, 0.9, INSTANCE_DEFAULT_S)
    instance_s = quantile_s(variant.startup_s, 0.9, INSTANCE_DEFAULT_S)
    return SENSING_S + instance_s + quantile_s(state.startup_s, 0.9, COPY_DEFAULT_S)


def learn(
    levels: Sequence[float | None], *, from_s: float, now_s: float, lead_s: float, price: float, least: int
) -> Headroom | None:
    """The headroom that would have been cheapest on `levels`; None with less than an hour of known minutes.

    `levels`: load per minute in copies' worth (None = not known), the first minute begins at `from_s`, the newest one
    last. `lead_s`: how long capacity takes to come. `price`: see PRICES. `least`: copies that are there anyway.
    """
    lead = max(1, math.ceil(lead_s / MINUTE_S))
    most = _most_ahead(levels, lead)
    now: list[float] = []
    needs: list[float] = []
    seasonal: list[float | None] = []
    for minute in range(max(0, len(levels) - lead - KEPT_MIN), len(levels) - lead):
        level, need = levels[minute], most[minute]
        if level is None or need is None:
            continue
        yesterday = most[minute - DAY_MIN] if minute >= DAY_MIN else None
        now.append(math.sqrt(level))
        needs.append(max(need, float(least)))
        seasonal.append(None if yesterday is None else math.sqrt(yesterday))
    if len(now) < FEWEST_MIN:
        return None

    def cost(growth: float, season: float | None) -> float:
        total = PRIOR_MIN * abs(growth - USUAL_GROWTH) + (0.0 if season is None else PRIOR_MIN / 2)
        for root, need, before in zip(now, needs, seasonal, strict=True):
            size = root + growth
            if season is not None and before is not None and before + season > size:
                size = before + season
            spare = max(size * size, least) - need
            total += spare if spare > 0 else -price * spare
        return total

    growth = min(GROWTHS, key=lambda g: cost(g, None))
    season: float | None = None
    if sum(1 for before in seasonal if before is not None) >= FEWEST_MIN * 4:
        for _ in range(2):
            season = min(SEASONS, key=lambda s: cost(growth, s))
            growth = min(GROWTHS, key=lambda g: cost(g, season))
    short = sum(
        1
        for root, need, before in zip(now, needs, seasonal, strict=True)
        if max((root + growth) ** 2, 0.0 if season is None or before is None else max(0.0, before + season) ** 2, least)
        < need - SHORT_COPIES
    )
    first_s, ahead = _yesterday(levels, from_s, now_s, lead)
    return Headroom(
        growth=growth,
        season=season,
        hours=round(len(now) / 60, 1),
        learned_at_s=now_s,
        lead_s=lead_s,
        yesterday_from_s=first_s if season is not None else None,
        yesterday=ahead if season is not None else (),
        shortage_hours=round(short / 60, 1),
    )


def _most_ahead(levels: Sequence[float | None], lead: int) -> list[float | None]:
    """For every minute the most load of the `lead` minutes that begin with it; None if most of them are not known."""
    ahead: list[float | None] = [None] * len(levels)
    window: deque[tuple[int, float]] = deque()
    known = 0
    for minute in range(len(levels) - 1, -1, -1):
        level = levels[minute]
        if level is not None:
            known += 1
            while window and window[-1][1] <= level:
                window.pop()
            window.append((minute, level))
        if minute + lead < len(levels) and levels[minute + lead] is not None:
            known -= 1
        while window and window[0][0] >= minute + lead:
            window.popleft()
        if window and 2 * known >= min(lead, len(levels) - minute):
            ahead[minute] = window[0][1]
    return ahead


def _yesterday(
    levels: Sequence[float | None], from_s: float, now_s: float, lead: int
) -> tuple[float | None, tuple[float, ...]]:
    """The minutes of yesterday that matter until the next learning, from now on; minutes that are not known are 0."""
    first = int((now_s - from_s) // MINUTE_S) - DAY_MIN
    if first < 0 or first >= len(levels):
        return None, ()
    part = levels[first : first + AHEAD_MIN + lead]
    rounded = tuple(0.0 if level is None else round(level, 2) for level in part)
    return from_s + (first + DAY_MIN) * MINUTE_S, rounded
