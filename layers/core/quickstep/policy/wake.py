"""Wake: leave zero for the demand that waits, and stay awake long enough to have been worth it.

How many wait is not known: failed requests are counted, and clients try again, so ten failures may be one client. The
wake is the least of: the busiest ten seconds' failures, the peak before the target went to sleep, and a cap.
"""

from __future__ import annotations

from quickstep.model.decision import Step
from quickstep.model.observation import AlarmState
from quickstep.policy.demand import copies_for
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "wake"


def apply(facts: Facts, recommended: int) -> Step:
    """Raise from zero when requests found no copy; hold the first minutes after a wake at one or more."""
    state, guards = facts.state, facts.target.guards
    if facts.baseline == 0 and facts.observation.current == 0:
        waiting = facts.demand.waiting or 0.0
        alarmed = any(a.name == facts.target.wake_alarm and a.state is AlarmState.ALARM for a in facts.observation.alarms)
        if waiting <= 0 and not alarmed:
            return Step(STAGE, recommended, Reason.UNCHANGED, "asleep; nobody waits")
        copies = wake_copies(waiting, facts.target.target_per_copy, state.peak_before_sleep, guards.wake_cap)
        return Step(
            STAGE,
            max(recommended, copies),
            Reason.WAKE,
            f"{waiting:.0f} requests found no copy within 10 s: wake to {copies}",
            {"waiting": waiting, "peak_before_sleep": state.peak_before_sleep, "cap": guards.wake_cap},
            memory={"awake_since_s": facts.now_s},
        )
    memory: dict[str, object] = {}
    if facts.observation.current > (state.peak_before_sleep or 0) and recommended > 0:
        memory["peak_before_sleep"] = facts.observation.current
    awake_until_s = (state.awake_since_s or 0.0) + guards.min_awake_s
    if recommended == 0 and awake_until_s > facts.now_s:
        left_s = awake_until_s - facts.now_s
        return Step(STAGE, 1, Reason.AWAKE_HOLD, f"woke lately: {left_s:.0f} s left", {}, awake_until_s, memory)
    return Step(STAGE, recommended, Reason.UNCHANGED, memory=memory)


def wake_copies(waiting: float, target_per_copy: float | None, peak_before_sleep: int | None, cap: int) -> int:
    """Copies to wake to: at least one, at most what waits needs, what was in use before, and `cap`."""
    copies = copies_for(waiting, target_per_copy) if target_per_copy else 1
    return max(1, min(copies, peak_before_sleep if peak_before_sleep else copies, cap))
