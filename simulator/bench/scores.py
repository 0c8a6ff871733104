"""The figures of one run of the benchmark: those of `simulator.score`, by the same definitions, without building a log.

The demand and the optimum of a slice are worked out once for all its runs, and requests are judged where they lie, so a
run of 30 million requests is scored in two seconds. A test holds both against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.bench.compiled_fleet import CompiledFleet
from simulator.bench.platform import Platform
from simulator.bench.prepare import Prepared
from simulator.oracle import PERIOD_S
from simulator.score import TTFT_PREFILLS, TTFT_SLO_S

MINUTE_S = 60.0
DAY_S = 86_400.0
SHORTEST_EPISODE_S = 60.0
"""A shortage that is shorter is noise of the demand, no rise that an alarm should tell."""


def run_figures(prepared: Prepared, fleet: CompiledFleet, platform: Platform) -> dict[str, Any]:
    """Every figure of result.json that a run of the benchmark has, in that order; ratios as ratios, shares in percent."""
    copies, instances, asked = platform.per_period(prepared.length_s, PERIOD_S)
    good, late, lost = fleet.judged(TTFT_SLO_S, TTFT_PREFILLS)
    known = good + late + lost
    ttft_s = fleet.ttft_s()
    p50, p95, p99 = np.percentile(ttft_s, [50, 95, 99]).tolist() if len(ttft_s) else (None, None, None)
    profile = prepared.profile
    cost_usd = float(instances.sum()) * PERIOD_S / 3600 * profile.instance_usd_per_hour
    oracle_usd = prepared.oracle_copy_s / 3600 * profile.copy_usd_per_hour
    moves = np.diff(asked)
    changes = int((moves != 0).sum())
    return {
        "requests": fleet.arrived,
        "lost": lost,
        "late": late,
        "slo_attainment": good / known if known else None,
        "ttft_p50_s": p50,
        "ttft_p95_s": p95,
        "ttft_p99_s": p99,
        "copy_hours": float(copies.sum()) * PERIOD_S / 3600,
        "instance_hours": float(instances.sum()) * PERIOD_S / 3600,
        "cost_usd": cost_usd,
        "oracle_cost_usd": oracle_usd,
        "cost_vs_oracle": cost_usd / oracle_usd if oracle_usd else None,
        **elasticity(copies, prepared.needed),
        "scale_outs": int((moves > 0).sum()),
        "scale_ins": int((moves < 0).sum()),
        "changes": changes,
        "time_to_alarm_s": time_to_alarm_s(copies, prepared.needed, platform.wishes),
        "scaling_time_s": scaling_time_s(platform.wishes, platform.supply),
        "longest_shortage_s": _longest_run(prepared.needed > copies) * PERIOD_S,
        "elastic_speedup": elastic_speedup(copies, prepared.needed),
        "changes_per_day": changes / (prepared.length_s / DAY_S),
        "churn_per_day": float(np.abs(moves).sum()) / (prepared.length_s / DAY_S),
    }


def elasticity(copies: np.ndarray, needed: np.ndarray) -> dict[str, float]:
    """SPEC's elasticity metrics, percent: how much and how often too little or too much, and instability by the minute."""
    short, over, base = np.maximum(needed - copies, 0), np.maximum(copies - needed, 0), np.maximum(needed, 1)
    stride = round(MINUTE_S / PERIOD_S)
    supply_moves, demand_moves = np.sign(np.diff(copies[::stride])), np.sign(np.diff(needed[::stride]))
    apart = np.minimum(np.abs(supply_moves - demand_moves), 1)
    return {
        "theta_u": 100 * float((short / base).mean()),
        "theta_o": 100 * float((over / base).mean()),
        "tau_u": 100 * float((short > 0).mean()),
        "tau_o": 100 * float((over > 0).mean()),
        "instability": 100 * float(apart.mean()) if len(apart) else 0.0,
    }


def elastic_speedup(copies: np.ndarray, needed: np.ndarray) -> float | None:
    """SPEC's elastic speedup over a fleet that always has the mean of the demand; above 1 is better than not scaling.

    The geometric mean of four ratios; None where one of them is not defined (a policy that was never short).
    """
    fixed = elasticity(np.full(len(needed), max(1, round(float(needed.mean())))), needed)
    found = elasticity(copies, needed)
    names = ("theta_u", "theta_o", "tau_u", "tau_o")
    if any(found[name] == 0 or fixed[name] == 0 for name in names):
        return None
    return float(np.prod([fixed[name] / found[name] for name in names]) ** 0.25)


def time_to_alarm_s(copies: np.ndarray, needed: np.ndarray, wishes: Sequence[tuple[float, int]]) -> float | None:
    """AWS's `time_to_alarm`, median over the rises: from too few copies until the policy asks for more than serve.

    A rise is a shortage of a minute or longer; 0 if more was asked for already when it began. None without any.
    """
    times_s, counts = (np.array(column, dtype=float) for column in zip(*wishes, strict=True))
    found = []
    for first, end in _runs(needed > copies):
        if (end - first) * PERIOD_S < SHORTEST_EPISODE_S:
            continue
        begin_s, over_s, serving = first * PERIOD_S, end * PERIOD_S, copies[first]
        standing = np.searchsorted(times_s, begin_s, side="right") - 1
        later = np.flatnonzero((times_s > begin_s) & (times_s <= over_s) & (counts > serving))
        if counts[standing] > serving:
            found.append(0.0)
        elif len(later):
            found.append(times_s[later[0]] - begin_s)
    return float(np.median(found)) if found else None


def scaling_time_s(wishes: Sequence[tuple[float, int]], supply: Sequence[tuple[float, int]]) -> float | None:
    """AWS's `scaling_time`, median over the raises: from the wish for more copies until as many serve.

    A wish that was lowered again before it was fulfilled does not count. None if none was fulfilled.
    """
    supply_s, serving = (np.array(column, dtype=float) for column in zip(*supply, strict=True))
    found = []
    for (_, before), (at_s, wished), following in zip(wishes, wishes[1:], [*wishes[2:], None], strict=False):
        if wished <= before:
            continue
        first = np.searchsorted(supply_s, at_s, side="right")
        reached = np.flatnonzero(serving[first : first + 4096] >= wished)
        if not len(reached):
            continue
        reached_s = supply_s[first + reached[0]]
        if following is None or following[1] >= wished or following[0] >= reached_s:
            found.append(reached_s - at_s)
    return float(np.median(found)) if found else None


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """(first, one past the last) of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _longest_run(mask: np.ndarray) -> int:
    return max((end - first for first, end in _runs(mask)), default=0)
