"""Manual: a person's wish is honoured as a floor for a while, also one that was made behind our back.

Fighting a change that somebody just made by hand is the fastest way to be switched off; ignoring the load for ever is
the second fastest. So the count is a floor until the grace is over; load may still raise it.
"""

from __future__ import annotations

from quickstep.model.decision import Step
from quickstep.model.state import Change
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "manual"
GRACE_S = 900.0


def apply(facts: Facts, recommended: int) -> Step:
    """Keep at least what a person asked for until the grace is over."""
    wish = facts.state.manual
    if wish is None:
        return Step(STAGE, recommended, Reason.UNCHANGED)
    until_s = holds_until_s(wish)
    if until_s <= facts.now_s:
        return Step(STAGE, recommended, Reason.UNCHANGED, "the manual wish has run out", memory={"manual": None})
    floor = wish.after
    if recommended >= floor:
        return Step(STAGE, recommended, Reason.UNCHANGED, f"manual floor {floor} is met", look_again_at_s=until_s)
    return Step(
        STAGE,
        floor,
        Reason.MANUAL_WISH,
        f"{wish.cause or 'somebody'} asked for {floor}; kept for {until_s - facts.now_s:.0f} s more",
        {"floor": floor},
        look_again_at_s=until_s,
    )


def holds_until_s(wish: Change) -> float:
    """When a wish runs out, in seconds since the epoch."""
    return wish.at_s + (wish.hold_s if wish.hold_s is not None else GRACE_S)
