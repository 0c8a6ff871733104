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


def apply(facts: Facts, recommended: int) -> Step:
    """Raise a scale-in to the fewest copies that are safe; to zero only when no traffic is known for the whole hold."""
    target_per_copy = facts.target.target_per_copy
    if recommended >= facts.baseline or target_per_copy is None or facts.demand.total is None:
        return Step(STAGE, recommended, Reason.UNCHANGED)
    guards = facts.target.guards
    load = max(facts.demand.total, facts.demand.newest or 0.0)
    safe = copies_for(load, guards.drain_headroom * target_per_copy)
    at_most_half = math.ceil(facts.baseline / 2) if facts.baseline > 1 else 0
    if facts.demand.kind is not DemandKind.NO_TRAFFIC:
        safe = max(safe, 1)
    allowed = min(facts.baseline, max(recommended, safe, at_most_half))
    if allowed == recommended:
        return Step(STAGE, recommended, Reason.UNCHANGED, f"{load:.1f} in flight fit on {recommended}")
    if safe > max(recommended, at_most_half) or safe >= facts.baseline:
        detail = f"{load:.1f} in flight would load {max(recommended, 1)} above {guards.drain_headroom:.0%} of target"
        return Step(STAGE, allowed, Reason.DRAIN_UNSAFE, detail, {"load": round(load, 3), "safe": safe})
    return Step(
        STAGE,
        allowed,
        Reason.DRAIN_UNSAFE,
        f"at most half of {facts.baseline} goes at once",
        {"load": round(load, 3), "safe": safe},
        look_again_at_s=facts.now_s + 60.0,
    )
