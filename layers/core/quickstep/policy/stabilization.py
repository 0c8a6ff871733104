"""Stabilization: a count is given up only when no window mean of the hold needed it (Kubernetes HPA's scale-down window).

It is computed from the metric's history, not from remembered recommendations, so it also holds for looks that were
never taken. A history with holes proves nothing: then the count stays.
"""

from __future__ import annotations

from quickstep.model.decision import Step
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "stabilization"
FLAP_TURNS = 2
"""Direction changes inside the flap window from which the hold grows: × 2, × 3, × 4."""
FLAP_MAX_FACTOR = 4
GRACE_S = 30.0
"""The window's far end may be that much short: publish delay and the grid of datapoints."""
SOONEST_S = 10.0


def apply(facts: Facts, recommended: int) -> Step:
    """Hold a scale-in at the most that the hold window needed."""
    sizing = facts.sizing
    if recommended >= facts.baseline or sizing is None:
        return Step(STAGE, recommended, Reason.UNCHANGED)
    hold_s, flapping = hold_of(facts)
    since_s = facts.now_s - hold_s
    covered_s = facts.demand.covered_since_s(facts.now_s)
    if covered_s is None or covered_s > since_s + GRACE_S:
        return Step(
            STAGE,
            facts.baseline,
            Reason.NO_DATA if covered_s is None else Reason.SCALE_IN_HOLD,
            f"load is not known for the whole hold of {hold_s:.0f} s",
            {"hold_s": hold_s},
            look_again_at_s=_at_least(facts, (facts.now_s if covered_s is None else covered_s) + hold_s),
        )
    means = facts.demand.window_means(since_s)
    peak = max((mean.total for _, mean in means), default=0.0)
    needed = max((sizing.copies(mean) for _, mean in means), default=0)
    held = min(facts.baseline, max(recommended, needed))
    if held == recommended:
        return Step(STAGE, recommended, Reason.UNCHANGED, f"nothing in {hold_s:.0f} s needed more", {"hold_s": hold_s})
    # The hold ends when the last window that needs more than `recommended` has left it.
    last_s = max(at_s for at_s, mean in means if sizing.copies(mean) > recommended)
    return Step(
        STAGE,
        held,
        Reason.FLAPPING if flapping else Reason.SCALE_IN_HOLD,
        f"{peak:.1f} in flight within {hold_s:.0f} s needed {needed}",
        {"hold_s": hold_s, "peak": round(peak, 3)},
        look_again_at_s=_at_least(facts, last_s + hold_s),
    )


def hold_of(facts: Facts) -> tuple[float, bool]:
    """The hold in seconds, longer when the target has been turning back and forth; and whether it has."""
    turns = sum(1 for at_s in facts.state.turns_s if at_s > facts.now_s - facts.target.guards.flap_window_s)
    if turns < FLAP_TURNS:
        return facts.scale_in_hold_s, False
    return facts.scale_in_hold_s * min(FLAP_MAX_FACTOR, turns), True


def _at_least(facts: Facts, at_s: float) -> float:
    return max(at_s, facts.now_s + SOONEST_S)
