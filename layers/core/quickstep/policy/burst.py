"""Burst: when load suddenly doubles, size on the newest datapoint and remove nothing for a while.

Knative's panic mode (pkg/autoscaler/scaling): enter at 200 % of what is meant to be carried, keep the largest count seen
while it lasts, leave one stable window after the last breach. Without Knative's 2-s ticks, so it changes little.
"""

from __future__ import annotations

from quickstep.model.decision import Step
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "burst"


def apply(facts: Facts, recommended: int) -> Step:
    """Raise to the newest datapoint's need while a burst runs; hold the largest such count until it is over."""
    target_per_copy, sizing = facts.target_per_copy, facts.sizing
    if target_per_copy is None or sizing is None:
        return Step(STAGE, recommended, Reason.NOT_CONFIGURED)
    guards, state, newest = facts.target.guards, facts.state, facts.demand.newest
    meant = max(1, facts.observation.current) * target_per_copy
    bursting = newest is not None and newest >= guards.burst_ratio * meant
    runs = state.burst_until_s is not None and state.burst_until_s > facts.now_s
    if not bursting and not runs:
        memory = {"burst_until_s": None, "burst_copies": 0} if state.burst_until_s is not None else {}
        return Step(STAGE, recommended, Reason.UNCHANGED, memory=memory)
    until_s = facts.now_s + guards.burst_hold_s if bursting else state.burst_until_s
    assert until_s is not None
    # What an earlier burst needed, over by now, says nothing about this one.
    copies = max(state.burst_copies if runs else 0, recommended)
    detail = f"burst: at least {copies} until {until_s - facts.now_s:.0f} s from now"
    newest_load = facts.demand.newest_load
    if bursting and newest is not None and newest_load is not None:
        copies = max(copies, sizing.copies(newest_load))
        detail = (
            f"{newest:.0f} in flight is {newest / meant:.1f} × what the serving {facts.target.target_id.unit} are meant "
            f"for: at least {copies} for {guards.burst_hold_s:.0f} s"
        )
    return Step(
        STAGE,
        copies,
        Reason.BURST_HOLD,
        detail,
        {"newest": newest, "meant": meant},
        # While it lasts, every look would move the end; new facts come from the alarm or the audit.
        look_again_at_s=None if bursting else until_s,
        memory={"burst_until_s": until_s, "burst_copies": copies},
    )
