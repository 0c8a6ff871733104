"""Outlook: forecast a load's next hours, and say by the hours that are over whether forecasts of it are worth anything.

Every hour is judged by the forecast that was made before it began, against persistence: that it would be like the hour
before. A forecast that knows no more than that must not hold capacity. Both are charged pinball loss: too little costs
what a missing copy costs until the reactive policies have made it good, one lead time; too much costs the whole hour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from quickstep.capacity.forecast import HOUR_S, forecast
from quickstep.model.forecast import Forecast
from quickstep.policy.forecast_floor import capacity_for

HISTORY_S = 14 * 86_400.0
"""Metric history that is read."""
JUDGED_H = 24
"""Hours that are over by which forecasts are judged: a whole day of a daily pattern, and no older mistakes."""
KEPT_H = 48
"""Hours that are over whose forecasts are kept, to be looked at."""
AHEAD_H = 8
"""Hours to come that are kept: SchedulingBufferTime and lead time reach two hours ahead, the rest outlasts failed reads."""
SETTLED_S = 180.0
"""An hour's metrics are complete so long after its end."""
RETRY_S = 300.0
"""When history could not be read, it is tried again after so long."""


def due(before: Forecast | None, *, since_s: float, now_s: float) -> bool:
    """True if a policy put at `since_s` has no forecast of its own, or it is time for the next."""
    return before is None or before.learned_at_s < since_s or now_s >= before.due_s


def learned(
    before: Forecast | None,
    history: Sequence[tuple[float, float]],
    *,
    load_per_capacity: float | None,
    lead_s: float,
    price: float,
    now_s: float,
) -> Forecast:
    """The forecast made at `now_s` and the judgement of those before; hours that nobody forecast then are replayed.

    `history`: (start of the hour, load) of complete hours. `price`: idle copy-minutes that a missing one is worth.
    """
    now_h = math.floor(now_s / HOUR_S)
    known = {math.floor(at_s / HOUR_S): value for at_s, value in history if math.isfinite(value) and value >= 0}
    loads: dict[int, float | None] = {}
    for hour in range(now_h - KEPT_H, now_h + 1):
        kept = None if before is None else before.load_of(hour * HOUR_S)
        loads[hour] = kept if kept is not None else _replayed(known, hour)
    ahead = {round(at_s / HOUR_S): load for at_s, load in forecast(history, start_s=now_s + HOUR_S, hours=AHEAD_H)}
    loads |= {hour: ahead.get(hour) for hour in range(now_h + 1, now_h + 1 + AHEAD_H)}
    quantile = worth_of_shortage(price, lead_s)
    recent = {hour: load for hour, load in loads.items() if now_h - JUDGED_H <= hour < now_h}
    hours, loss, persistence_loss = judged(recent, known, load_per_capacity, quantile)
    return Forecast(
        learned_at_s=now_s,
        due_s=_next_due_s(now_s),
        first_hour_s=(now_h - KEPT_H) * HOUR_S,
        loads=tuple(None if loads[hour] is None else round(loads[hour] or 0.0, 3) for hour in sorted(loads)),
        load_per_capacity=load_per_capacity,
        lead_s=lead_s,
        hours=hours,
        loss=loss,
        persistence_loss=persistence_loss,
        quantile=round(quantile, 3),
    )


def judged(
    loads: Mapping[int, float | None], known: Mapping[int, float], load_per_capacity: float | None, quantile: float
) -> tuple[int, float | None, float | None]:
    """(hours judged, mean loss of `loads`, mean loss of persistence), over the hours that both can be judged by.

    In whole copies (or instances), since that is what a floor asks for: what changes no count is no mistake.
    """
    if load_per_capacity is None or load_per_capacity <= 0:
        return 0, None, None
    ours: list[float] = []
    like_before: list[float] = []
    for hour in sorted(loads):
        load, came, before = loads[hour], known.get(hour), known.get(hour - 1)
        if load is not None and came is not None and before is not None:
            needed = capacity_for(came, load_per_capacity)
            ours.append(pinball(capacity_for(load, load_per_capacity), needed, quantile))
            like_before.append(pinball(capacity_for(before, load_per_capacity), needed, quantile))
    if not ours:
        return 0, None, None
    return len(ours), round(math.fsum(ours) / len(ours), 6), round(math.fsum(like_before) / len(ours), 6)


def pinball(forecast: float, came: float, quantile: float) -> float:
    """Loss ≥ 0 of one forecast at a quantile (0–1): `quantile` per unit too little, 1 − `quantile` per unit too much."""
    return max(quantile * (came - forecast), (1 - quantile) * (forecast - came))


def worth_of_shortage(price: float, lead_s: float) -> float:
    """The quantile (0–1) at which a forecast is judged. Example: price 8 and a lead time of 450 s weigh alike: 0.5."""
    odds = price * lead_s / HOUR_S
    return odds / (1 + odds)


def postponed(before: Forecast | None, now_s: float) -> Forecast:
    """What is kept when the history could not be read: what there was, to be tried again soon."""
    if before is None:
        return Forecast(learned_at_s=now_s, due_s=now_s + RETRY_S)
    return replace(before, due_s=now_s + RETRY_S)


def _replayed(known: Mapping[int, float], hour: int) -> float | None:
    """What would have been forecast for `hour` in the hour before it; None if too little was known then."""
    then = [(at * HOUR_S, value) for at, value in known.items() if at < hour - 1]
    found = forecast(then, start_s=hour * HOUR_S, hours=1)
    return found[0][1] if found else None


def _next_due_s(now_s: float) -> float:
    hour_s = math.floor(now_s / HOUR_S) * HOUR_S
    return hour_s + SETTLED_S if now_s < hour_s + SETTLED_S else hour_s + HOUR_S + SETTLED_S
