"""What the demand really was, in copies, and the cheapest way to have served it with perfect foresight.

Both are fluid: requests are work spread over time, copies are perfectly balanced, nothing queues. So the clairvoyant
cost is a lower bound for serving everything at the pace of the SLO. What it costs to carry out such a plan in the
event-driven engine is the benchmark's `clairvoyant-plan`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import Arrivals, ClosedLoop, OpenArrivals
from simulator.traffic.pattern import copies_per_request_in_flight

PERIOD_S = 10.0
SMOOTH_S = 60.0
LAUNCH_S = 258.0
"""Start of an instance with a copy, container cached, in seconds that are paid for but do not serve. Median of the AWS
example with container caching (Qwen3-8B, ml.g6.2xlarge)."""
_SHORTAGE_WEIGHT = 1e4
"""Price of a copy-second of unserved demand, in copy-seconds: "serve everything"."""


def fluid_demand(
    arrivals: Arrivals,
    profile: ServiceProfile,
    *,
    start_s: float,
    end_s: float,
    period_s: float = PERIOD_S,
    smooth_s: float = SMOOTH_S,
) -> np.ndarray:
    """Copies needed (not whole) in each `period_s` of [start_s, end_s), averaged over blocks of `smooth_s`.

    With L requests decoding at the pace of the SLO s (each for output_tokens * s) and R prefill seconds per second:
    `max((b L + s R) / (s - a), L / max_sequences)`. A last block that is not full is averaged over what there is. For
    a closed loop: what its wanted clients would need if each were served at that pace.
    """
    periods = round((end_s - start_s) / period_s)
    if periods < 1:
        raise ValueError(f"no whole period of {period_s} s between {start_s} and {end_s}")
    if isinstance(arrivals, ClosedLoop):
        copies = _loop_demand(arrivals, profile, start_s, periods, period_s)
    else:
        copies = _open_demand(arrivals, profile, start_s, periods, period_s)
    return in_blocks(copies, max(1, round(smooth_s / period_s)))


def in_blocks(demand: np.ndarray, periods: int) -> np.ndarray:
    """`demand` with every block of so many periods at its mean; a last block that is not full at its own."""
    block = np.arange(len(demand)) // periods
    return (np.bincount(block, demand) / np.bincount(block))[block]


def whole_copies(demand: np.ndarray, min_copies: int) -> np.ndarray:
    """Demand in whole copies, at least `min_copies`."""
    return np.maximum(min_copies, np.ceil(demand - 1e-9).astype(np.int64))


@dataclass(frozen=True, eq=False)
class ClairvoyantPlan:
    """Copies per period, what they cost, and what they leave unserved."""

    copies: np.ndarray
    cost_copy_s: float
    """Copy-seconds held plus `launch_s` for each copy started; those of the first period are there already."""
    shortage_copy_s: float
    """Demand beyond `max_copies`."""


def clairvoyant_plan(
    demand: np.ndarray,
    *,
    min_copies: int,
    max_copies: int,
    period_s: float = PERIOD_S,
    launch_s: float = LAUNCH_S,
    shortage_weight: float = _SHORTAGE_WEIGHT,
) -> ClairvoyantPlan:
    """The cheapest plan: min Σ period·m + launch·(m - m_before)⁺ + weight·period·(demand - m)⁺, m in the bounds.

    With foresight a start-up time only costs money. Exact dynamic programme, O(periods × bounds): the best way into m
    copies is from as many or more (free) or from fewer (a launch each), two running minima.
    """
    if not 0 <= min_copies <= max_copies:
        raise ValueError(f"bounds {min_copies} to {max_copies} hold no copy count; need 0 <= min <= max")
    if not len(demand):
        return ClairvoyantPlan(np.zeros(0, np.int64), 0.0, 0.0)
    states = np.arange(min_copies, max_copies + 1)
    climb = launch_s * states
    best = np.zeros((len(demand), len(states)))
    before = np.zeros(len(states))
    for period, wanted in enumerate(demand):
        from_above = np.minimum.accumulate(before[::-1])[::-1]
        from_below = np.minimum.accumulate(before - climb) + climb
        before = np.minimum(from_above, from_below) if period else before
        before = before + period_s * states + shortage_weight * period_s * np.maximum(0.0, wanted - states)
        best[period] = before
    plan = np.zeros(len(demand), np.int64)
    state = int(np.argmin(best[-1]))
    for period in range(len(demand) - 1, -1, -1):
        plan[period] = states[state]
        if period:
            state = int(np.argmin(best[period - 1] + launch_s * np.maximum(0, states[state] - states)))
    return ClairvoyantPlan(
        copies=plan,
        cost_copy_s=float(period_s * plan.sum() + launch_s * np.maximum(0, np.diff(plan)).sum()),
        shortage_copy_s=float(period_s * np.maximum(0.0, demand - plan).sum()),
    )


def _open_demand(
    arrivals: OpenArrivals, profile: ServiceProfile, start_s: float, periods: int, period_s: float
) -> np.ndarray:
    at = (arrivals.times_s - start_s) / period_s
    inside = (at >= 0) & (at < periods)
    at = at[inside]
    prefill_s = profile.prefill_s(arrivals.input_tokens[inside])
    decode_from = at + prefill_s / period_s
    decode_to = decode_from + arrivals.output_tokens[inside] * profile.itl_slo_s / period_s
    prefill = np.bincount(at.astype(np.int64), prefill_s, periods) / period_s
    decoding = np.cumsum(_step_up(decode_from, periods) - _step_up(decode_to, periods))[:periods]
    return _copies(profile, decoding, prefill)


def _loop_demand(
    loop: ClosedLoop, profile: ServiceProfile, start_s: float, periods: int, period_s: float
) -> np.ndarray:
    middles = start_s + (np.arange(periods) + 0.5) * period_s
    step = np.floor((middles - loop.start_s) / loop.step_s).astype(np.int64)
    levels = np.array([*loop.levels, 0], dtype=np.float64)
    in_flight = np.where(step < 0, 0.0, levels[np.clip(step, 0, len(loop.levels))])
    return in_flight * copies_per_request_in_flight(profile, loop.input_tokens, loop.output_tokens)


def _step_up(at: np.ndarray, periods: int) -> np.ndarray:
    """Differences of the per-period mean of Σ 1[t >= at]: the share of its first period, the rest in the next one."""
    at = np.minimum(at, periods)
    first = at.astype(np.int64)
    late = at - first
    return np.bincount(first, 1 - late, periods + 2) + np.bincount(first + 1, late, periods + 2)


def _copies(profile: ServiceProfile, decoding: np.ndarray, prefill: np.ndarray) -> np.ndarray:
    slo_s = profile.itl_slo_s
    by_step_time = (profile.b_s * decoding + slo_s * prefill) / (slo_s - profile.a_s)
    return np.maximum(by_step_time, decoding / profile.max_sequences)
