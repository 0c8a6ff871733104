"""What a slice would cost a planner who knows the future, who has no delay, or who never scales: the yardsticks."""

from __future__ import annotations

import numpy as np

from simulator.oracle import PERIOD_S, ClairvoyantPlan, clairvoyant_plan, fluid_demand
from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import OpenArrivals

_CHUNK_S = 86_400.0
_BLOCK_S = 600.0
"""Chunks begin on multiples of this, so that blocks of 60 s lie as if there were no chunks."""
PLAN_WINDOW_PERIODS = 3
"""Datapoints that the plan which is carried out sees as one level: what is short for 10 s waits, within the SLO."""
PLAN_SHORTAGE_WEIGHT = 16.0
"""Copy-seconds that this plan spends at most on a copy-second of demand: one more for 30 s is worth a start,
for 20 s not."""


def demand_of(arrivals: OpenArrivals, profile: ServiceProfile, length_s: float) -> np.ndarray:
    """`oracle.fluid_demand` of a trace from 0 to `length_s`, by the period, a day at a time: a tenth of the memory.

    Each chunk begins early by the longest time that a request can take at the pace of the SLO.
    """
    if not len(arrivals):
        return np.zeros(round(length_s / PERIOD_S))
    slowest_s = profile.prefill_s(float(arrivals.input_tokens.max()))
    slowest_s += profile.itl_slo_s * float(arrivals.output_tokens.max())
    parts = []
    for begin_s in np.arange(0.0, length_s, _CHUNK_S):
        end_s = min(length_s, begin_s + _CHUNK_S)
        early_s = max(0.0, np.floor((begin_s - slowest_s - PERIOD_S) / _BLOCK_S) * _BLOCK_S)
        part = slice(*np.searchsorted(arrivals.times_s, [early_s, end_s]))
        piece = OpenArrivals(
            arrivals.times_s[part], arrivals.input_tokens[part], arrivals.output_tokens[part], arrivals.start_s
        )
        demand = fluid_demand(piece, profile, start_s=early_s, end_s=end_s, smooth_s=PERIOD_S)
        parts.append(demand[round((begin_s - early_s) / PERIOD_S) :])
    return np.concatenate(parts)


def executable_plan(demand: np.ndarray, *, min_copies: int, max_copies: int, start_cost_s: float) -> ClairvoyantPlan:
    """A plan for `demand` by the period (`demand_of`, times a factor) that is good when it is carried out.

    The optimum that costs are compared with does not see what happens within a minute, serves every last token at once,
    and pays nothing for a start but the launch. This one follows the centred mean of `PLAN_WINDOW_PERIODS` datapoints,
    leaves peaks alone that are not worth a start, and reckons with `start_cost_s` for one: all that is paid for a copy
    without it serving.
    """
    aside = PLAN_WINDOW_PERIODS // 2
    padded = np.pad(demand, aside, mode="edge")
    level = np.convolve(padded, np.full(PLAN_WINDOW_PERIODS, 1 / PLAN_WINDOW_PERIODS), "valid")
    return clairvoyant_plan(
        level,
        min_copies=min_copies,
        max_copies=max_copies,
        launch_s=start_cost_s,
        shortage_weight=PLAN_SHORTAGE_WEIGHT,
    )


def break_even_copy_s(needed: np.ndarray, *, launch_s: float, period_s: float = PERIOD_S) -> float:
    """Copy-seconds of the online rule that starts a copy the moment it is needed and keeps an idle one for `launch_s`.

    `needed`: whole copies per period. With no delay at all this "ski rental" rule costs at most twice the optimum if
    first starts are counted (Lu and Chen, arXiv 1112.0442); how near it comes says how much of a real policy's cost is
    delay. Level by level: the k-th copy serves while k or more are needed; a gap costs the shorter of itself and
    `launch_s`, and a start `launch_s` more if the gap was longer. Copies of the first period are there already.
    """
    total_s = 0.0
    for level in range(1, int(needed.max(initial=0)) + 1):
        on = np.concatenate([[False], needed >= level, [False]])
        edges = np.flatnonzero(np.diff(on))
        begins, ends = edges[::2], edges[1::2]
        gaps_s = (begins[1:] - ends[:-1]) * period_s
        starts = int((gaps_s > launch_s).sum()) + int(begins[0] > 0)
        tail_s = min(launch_s, (len(needed) - ends[-1]) * period_s)
        total_s += (ends - begins).sum() * period_s + np.minimum(gaps_s, launch_s).sum() + tail_s + starts * launch_s
    return float(total_s)


def mean_copies(needed: np.ndarray) -> int:
    """Copies of a fleet that never scales and is sized for the mean."""
    return max(1, int(np.ceil(needed.mean() - 1e-9)))
