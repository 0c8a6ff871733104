"""Pace: the same work, whatever number of copies it happens to be spread over.

On a copy with few requests every token comes faster, so the same arrivals leave fewer requests in flight on many copies
than on few: sizing on the count alone would give copies up and want them back. A request's time grows linearly with
what its copy carries (continuous batching: step time a + b·n), so the count is put to the pace at the copy's limit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from quickstep.model.observation import Observation, Series
from quickstep.model.state import Minutes, TargetState

if TYPE_CHECKING:
    from quickstep.policy.demand import Demand

FIXED_SHARE = 0.55
"""Part of a request's time at the limit that does not depend on the batch: 0.51 to 0.55 in the three measured profiles
(a over the promised inter-token latency; Qwen3-14B and 32B on SageMaker, Llama-2-70B)."""
LIMIT_SHARE = 0.7
"""The target per copy as a share of what a copy can carry within its users' SLO."""
SERVICE_WEIGHT = 0.2
"""Weight of the newest minute in the remembered service time."""
KEPT_MIN = 120
"""Minutes of load that wait to be put with the history; the oldest are forgotten beyond that."""


def copies_worth(total: float, copies: int, target_per_copy: float) -> float:
    """`total` requests in flight on `copies` copies, as the number of copies that they would fill to their limit."""
    limit = target_per_copy / LIMIT_SHARE
    return total / limit / slowness(total / copies, target_per_copy)


def slowness(per_copy: float, target_per_copy: float) -> float:
    """How long a request takes with `per_copy` in flight beside it, as a share of its time at the limit; at most 1."""
    return FIXED_SHARE + (1 - FIXED_SHARE) * min(1.0, per_copy * LIMIT_SHARE / target_per_copy)


def remember_service(state: TargetState, observation: Observation, target_per_copy: float) -> TargetState:
    """Take in the minutes of the latency metric that are new, put to the pace at the target; overloaded ones say nothing."""
    latency, concurrency = observation.metrics.model_latency_s, observation.metrics.concurrency
    if latency is None or concurrency is None:
        return state
    service_s, newest_s = state.service_s, state.service_at_s
    for point in latency.points:
        if point.average is None or point.average <= 0 or (newest_s is not None and point.at_s <= newest_s):
            continue
        newest_s = point.at_s
        per_copy = _mean(concurrency, point.at_s, point.at_s + latency.period_s)
        if per_copy is None or per_copy > target_per_copy / LIMIT_SHARE:
            continue
        at_target_s = point.average / slowness(per_copy, target_per_copy) * slowness(target_per_copy, target_per_copy)
        service_s = at_target_s if service_s is None else service_s + SERVICE_WEIGHT * (at_target_s - service_s)
    if newest_s == state.service_at_s:
        return state
    return replace(state, service_s=None if service_s is None else round(service_s, 3), service_at_s=newest_s)


def remember_load(state: TargetState, demand: Demand) -> TargetState:
    """Take in the whole minutes of load that are known now and were not before."""
    if not demand.times_s or not demand.levels or demand.period_s > 60.0:
        return state
    whole_s = (demand.times_s[-1] + demand.period_s) // 60.0 * 60.0
    begun_s = state.load.until_s if state.load is not None else -(-demand.times_s[0] // 60.0) * 60.0
    if whole_s <= begun_s:
        return state
    sums: dict[float, list[float]] = {}
    for at_s, level in zip(reversed(demand.times_s), reversed(demand.levels), strict=True):
        if at_s < begun_s:
            break
        if at_s < whole_s:
            sums.setdefault(at_s // 60.0 * 60.0, []).append(level)
    minutes = round((whole_s - begun_s) / 60.0)
    fresh = [_level(sums.get(begun_s + 60.0 * i)) for i in range(max(0, minutes - KEPT_MIN), minutes)]
    before = state.load.levels if state.load is not None and minutes < KEPT_MIN else ()
    levels = (*before, *fresh)[-KEPT_MIN:]
    return replace(state, load=Minutes(whole_s - 60.0 * len(levels), levels))


def _level(values: list[float] | None) -> float | None:
    return None if not values else round(sum(values) / len(values), 2)


def _mean(series: Series, start_s: float, end_s: float) -> float | None:
    values = [
        value
        for p in series.points
        if start_s <= p.at_s < end_s and (value := p.average if p.average is not None else p.maximum) is not None
    ]
    return sum(values) / len(values) if values else None
