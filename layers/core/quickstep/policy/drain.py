"""Drain: what stays must carry the load (the N/(N−1) check), and at most half goes at once.

A per-copy threshold alone flaps between two copies and one: load that is 0.6 of the target on two is 1.2 on one. So a
removal must leave demand at or below `drain_headroom` of the remaining copies' target (llm-d's N/(N−1) rule, AAS's 0.9).
"""

from __future__ import annotations

import math

from quickstep.model.decision import Step
from quickstep.policy.demand import DemandKind, copies_for
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "drain"
NEXT_HALF_S = 60.0


def apply(facts: Facts, recommended: int) -> Step:
    """Raise a scale-in to the fewest copies that are safe; to zero only when no traffic is known for the whole hold."""
    target_per_copy, demand = facts.target_per_copy, facts.demand
    if recommended >= facts.baseline or target_per_copy is None or demand.total is None:
        return Step(STAGE, recommended, Reason.UNCHANGED)
    headroom = facts.target.guards.drain_headroom
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
