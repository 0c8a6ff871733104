"""What a service level costs: from the runs of a sweep to one number per trace, policy and level.

Each knob position is a point (cost in multiples of the optimum, SLO attainment). The cost at a level is read off the
Pareto frontier of a policy's points, linearly between neighbours. A level that no position reaches has no cost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from simulator.report.scoreboard import LEVELS, geometric_mean

Frontier = dict[str, dict[str, dict[str, float | None]]]
"""frontier[trace][policy][level]"""


def frontier(runs: Sequence[Mapping[str, Any]]) -> Frontier:
    """Cost at each of `LEVELS` per trace and policy; the points are means over the seeds of a knob position."""
    found: Frontier = {}
    for (trace, policy), by_knob in sorted(_points(runs).items()):
        points = [_mean(seeds.values()) for seeds in by_knob.values()]
        found.setdefault(trace, {})[policy] = {level: cost_at(points, float(level) / 100) for level in LEVELS}
    return found


def spread(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, list[float] | None]]]:
    """[least, most] over the seeds of the cost at each level, each seed with a frontier of its own.

    None where some seed does not reach the level.
    """
    found: dict[str, dict[str, dict[str, list[float] | None]]] = {}
    for (trace, policy), by_knob in sorted(_points(runs).items()):
        seeds = sorted({seed for points in by_knob.values() for seed in points})
        rows: dict[str, list[float] | None] = {}
        for level in LEVELS:
            costs = [
                cost_at([points[seed] for points in by_knob.values() if seed in points], float(level) / 100)
                for seed in seeds
            ]
            known = [cost for cost in costs if cost is not None]
            rows[level] = [min(known), max(known)] if known and len(known) == len(costs) else None
        found.setdefault(trace, {})[policy] = rows
    return found


def summary(found: Frontier) -> dict[str, dict[str, dict[str, float | None]]]:
    """Per policy and level: geometric mean over the traces, and the worst; None if some trace is not reached or not run."""
    policies = sorted({policy for by_policy in found.values() for policy in by_policy})
    rows: dict[str, dict[str, dict[str, float | None]]] = {}
    for policy in policies:
        rows[policy] = {}
        for level in LEVELS:
            costs = [by_policy.get(policy, {}).get(level) for _, by_policy in sorted(found.items())]
            known = [cost for cost in costs if cost is not None]
            mean, worst = geometric_mean(costs), max(known) if known and len(known) == len(costs) else None
            rows[policy][level] = {"mean": None if mean is None else round(mean, 4), "worst": worst}
    return rows


def cost_at(points: Sequence[tuple[float, float]], level: float) -> float | None:
    """Cost at which `level` (0 to 1) is reached, from points (cost, attainment); None if none reaches it.

    Example: points (1.2, 0.98) and (1.6, 1.0) give 1.4 at 0.99.
    """
    best: list[tuple[float, float]] = []
    for cost, slo in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or slo > best[-1][1]:
            best.append((cost, slo))
    for (cost_below, below), (cost_above, above) in zip([(math.nan, -1.0), *best], best, strict=False):
        if above >= level:
            if below < 0:
                return round(cost_above, 4)
            share = (level - below) / (above - below)
            return round(cost_below + share * (cost_above - cost_below), 4)
    return None


def _points(
    runs: Sequence[Mapping[str, Any]],
) -> dict[tuple[str, str], dict[str, dict[int, tuple[float, float]]]]:
    """(trace, policy) → knob → seed → (cost, attainment); runs without either are left out."""
    found: dict[tuple[str, str], dict[str, dict[int, tuple[float, float]]]] = {}
    for run in runs:
        cost, slo = run.get("cost_vs_oracle"), run.get("slo_attainment")
        by_knob = found.setdefault((run["trace"], run["policy"]), {})
        if cost is not None and slo is not None:
            by_knob.setdefault(str(run.get("knob")), {})[run["seed"]] = (cost, slo)
    return found


def _mean(points: Any) -> tuple[float, float]:
    costs, slos = zip(*points, strict=True)
    return math.fsum(costs) / len(costs), math.fsum(slos) / len(slos)
