"""Cooldown: scale-ins keep their distance; a scale-out is never delayed here.

Application Auto Scaling's cooldowns belong to its policies and live there (`step_scaling`, `target_tracking`). This one
is the target's own: after a scale-out, and between two scale-ins, nothing is removed for a while.
"""

from __future__ import annotations

from quickstep.model.decision import Step
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "cooldown"
BETWEEN_SCALE_INS_S = 120.0


def apply(facts: Facts, recommended: int) -> Step:
    """Hold a scale-in until the last scale-out is one hold old and the last scale-in two minutes."""
    if recommended >= facts.baseline or facts.demand_policy is None:
        return Step(STAGE, recommended, Reason.UNCHANGED)
    last_in, last_out = facts.state.last_scale_in, facts.state.last_scale_out
    waits = []
    if last_in is not None:
        waits.append((last_in.at_s + BETWEEN_SCALE_INS_S, "since the last scale-in"))
    if last_out is not None:
        waits.append((last_out.at_s + facts.scale_in_hold_s, "since the last scale-out"))
    until_s, why = max(waits, default=(facts.now_s, ""))
    if until_s <= facts.now_s:
        return Step(STAGE, recommended, Reason.UNCHANGED)
    detail = f"{until_s - facts.now_s:.0f} s left {why}"
    inputs = {"until_s": until_s}
    return Step(STAGE, facts.baseline, Reason.COOLDOWN_SCALE_IN, detail, inputs, look_again_at_s=until_s)
