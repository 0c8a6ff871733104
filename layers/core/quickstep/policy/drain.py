"""Drain: what stays must carry the load (the N/(N−1) check), and at most half goes at once.

A per-copy threshold alone flaps between two copies and one: load that is 0.6 of the target on two is 1.2 on one. So a
removal must leave demand at or below `drain_headroom` of the remaining copies' target (llm-d's N/(N−1) rule, AAS's 0.9).
"""

from __future__ import annotations

import math

from quickstep.model.decision import Step
from quickstep.policy.demand import DemandKind, copies_for
from quickstep.policy.facts import Facts
from quickstep.policy.sizing import LIMIT_OVER_TARGET
from quickstep.reasons import Reason

STAGE = "drain"
NEXT_HALF_S = 60.0
LONGEST_OVER_MEAN = 5.0
"""The longest request of a copy is taken to be so many times the mean: output lengths are heavy-tailed."""


def apply(facts: Facts, recommended: int) -> Step:
    """Raise a scale-in to the fewest copies that are safe; to zero only when no traffic is known for the whole hold."""
    target_per_copy, demand = facts.target_per_copy, facts.demand
    if recommended >= facts.baseline or target_per_copy is None or demand.total is None:
        return Step(STAGE, recommended, Reason.UNCHANGED)
    headroom = facts.target.guards.drain_headroom
    if facts.sizing is not None and facts.sizing.trust >= 1:
        # What it may be loaded with is known then: the room for growth is in the size already.
        target_per_copy *= LIMIT_OVER_TARGET
    load = max(demand.total, demand.newest or 0.0)
    safe = copies_for(load, headroom * target_per_copy)
    if demand.kind is not DemandKind.NO_TRAFFIC:
        safe = max(safe, 1)
    inputs = {"load": round(load, 3), "safe": safe}
    at_most_half = math.ceil(facts.baseline / 2) if facts.baseline > 1 else 0
    if recommended >= max(safe, at_most_half):
        return Step(STAGE, recommended, Reason.UNCHANGED, f"{load:.1f} in flight fit on {recommended}", inputs)
    if safe >= at_most_half:
        detail = f"{load:.1f} in flight would load {max(recommended, 1)} above {headroom:.0%} of target"
        return Step(STAGE, min(facts.baseline, safe), Reason.DRAIN_UNSAFE, detail, inputs)
    return Step(
        STAGE,
        at_most_half,
        Reason.DRAIN_UNSAFE,
        f"at most half of {facts.baseline} goes at once",
        inputs,
        look_again_at_s=facts.now_s + NEXT_HALF_S,
    )


def streams_need_s(facts: Facts) -> float:
    """How long streams of a copy that is removed now may still run: 0 without traffic, at most the drain budget.

    Five times the newest mean model latency; the whole budget where latency is not known.
    """
    budget_s = facts.target.guards.drain_budget_s
    if facts.demand.kind is DemandKind.NO_TRAFFIC:
        return 0.0
    series = facts.observation.metrics.model_latency_s
    mean_s = next((p.average for p in reversed(series.points) if p.average is not None), None) if series else None
    return budget_s if mean_s is None else min(budget_s, LONGEST_OVER_MEAN * mean_s)
