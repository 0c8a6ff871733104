"""The figures of one run of the benchmark: those of `simulator.score`, without building a log, and a few more.

The demand and the optimum of a slice are worked out once for all its runs, and requests are judged where they lie, so a
run of 30 million requests is scored in two seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.bench.compiled_fleet import CompiledFleet
from simulator.bench.platform import Platform
from simulator.bench.prepare import Prepared
from simulator.oracle import PERIOD_S
from simulator.score import TTFT_PREFILLS, TTFT_SLO_S, elasticity, request_figures, stretches, supply_figures

DAY_S = 86_400.0
SHORTEST_EPISODE_S = 60.0
"""A shortage that is shorter is noise of the demand, no rise that an alarm should tell."""


def run_figures(prepared: Prepared, fleet: CompiledFleet, platform: Platform) -> dict[str, Any]:
    """Every figure of result.json that a run of the benchmark has; ratios as ratios, shares in percent."""
    copies, instances, asked = platform.per_period(prepared.length_s, PERIOD_S)
    good, late, lost = fleet.judged(TTFT_SLO_S, TTFT_PREFILLS)
    supply = supply_figures(
        copies,
        instances,
        asked,
        needed=prepared.needed,
        oracle_copy_s=prepared.oracle_copy_s,
        profile=prepared.profile,
        period_s=PERIOD_S,
    )
    days = prepared.length_s / DAY_S
    return {
        **request_figures(fleet.arrived, good=good, late=late, lost=lost, ttft_s=fleet.ttft_s()),
        **supply,
        "time_to_alarm_s": time_to_alarm_s(copies, prepared.needed, platform.wishes),
        "scaling_time_s": scaling_time_s(platform.wishes, platform.supply),
        "elastic_speedup": elastic_speedup(copies, prepared.needed),
        "changes_per_day": supply["changes"] / days,
        "churn_per_day": float(np.abs(np.diff(asked)).sum()) / days,
    }


def elastic_speedup(copies: np.ndarray, needed: np.ndarray) -> float | None:
    """SPEC's elastic speedup over a fleet that always has the mean of the demand; above 1 is better than not scaling.

    The geometric mean of four ratios; None where one of them is not defined (a policy that was never short).
    """
    fixed = elasticity(np.full(len(needed), max(1, round(float(needed.mean())))), needed, PERIOD_S)
    found = elasticity(copies, needed, PERIOD_S)
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
    for first, end in stretches(needed > copies):
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
