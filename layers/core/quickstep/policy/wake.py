"""Wake: leave zero for the demand that waits, and stay awake long enough to have been worth it.

How many wait is not known: failed requests are counted, and clients try again, so ten failures may be one client. The
wake is the least of: the busiest ten seconds' failures, the peak before the target went to sleep, and a cap.
"""

from __future__ import annotations

from quickstep.model.decision import Step
from quickstep.model.observation import AlarmState, ServingChange
from quickstep.model.state import Change, TargetState
from quickstep.model.targets import ScalableTarget
from quickstep.policy import manual
from quickstep.policy.demand import copies_for
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "wake"
KNOCK = "a client knocked"
"""Cause of a wish that is a client's knock."""


def apply(facts: Facts, recommended: int) -> Step:
    """Raise while requests find no copy; hold the first minutes after a wake at one or more."""
    if facts.observation.current == 0:
        return _asleep_or_waking(facts, recommended)
    if facts.target.min_capacity > 0:
        return Step(STAGE, recommended, Reason.UNCHANGED)
    # Counted from the first look that found a copy serving: one that is still loading has not been awake yet.
    since_s = woke_at_s(facts.state.serving) or facts.state.awake_since_s
    memory: dict[str, object] = {} if since_s == facts.state.awake_since_s else {"awake_since_s": since_s}
    if recommended > 0:
        return Step(STAGE, recommended, Reason.UNCHANGED, memory=memory)
    until_s = (since_s or 0.0) + facts.target.guards.min_awake_s
    if until_s > facts.now_s:
        detail = f"woke lately: {until_s - facts.now_s:.0f} s left"
        return Step(STAGE, 1, Reason.AWAKE_HOLD, detail, look_again_at_s=until_s, memory=memory)
    memory["peak_before_sleep"] = peak_of(facts.state.serving)
    return Step(STAGE, 0, Reason.UNCHANGED, "to sleep", memory=memory)


def wake_copies(waiting: float, target_per_copy: float | None, peak_before_sleep: int | None, cap: int) -> int:
    """Copies to wake to: at least one, at most what waits needs, what was in use before, and `cap`."""
    copies = copies_for(waiting, target_per_copy) if target_per_copy else 1
    return max(1, min(copies, peak_before_sleep if peak_before_sleep else copies, cap))


def knocked(state: TargetState, target: ScalableTarget, waiting: int | None, now_s: float) -> Change | None:
    """The wish that a client's knock amounts to, `waiting` requests behind it (None = not known); None if nothing is to change.

    A floor for as long as a wake is worth. What a person wished for stands if it is as much; an earlier knock is renewed,
    and never made smaller: whoever knocked then may still wait.
    """
    peak = state.peak_before_sleep
    copies = wake_copies(float(waiting or 1), target.target_per_copy, peak, target.guards.wake_cap)
    before = state.manual
    if before is not None and manual.holds_until_s(before) > now_s and before.after >= copies:
        if before.cause != KNOCK:
            return None
        copies = before.after
    return Change(now_s, 0, copies, KNOCK, hold_s=target.guards.min_awake_s)


def peak_of(serving: tuple[ServingChange, ...]) -> int | None:
    """Most copies that served lately; None if none is known."""
    return max((change.copies for change in serving if change.copies), default=None)


def woke_at_s(serving: tuple[ServingChange, ...]) -> float | None:
    """When the last sleep ended; None if none is remembered."""
    asleep = next((i for i in range(len(serving) - 1, -1, -1) if serving[i].copies == 0), len(serving))
    return next((change.at_s for change in serving[asleep:] if change.copies), None)


def _asleep_or_waking(facts: Facts, recommended: int) -> Step:
    alarms, wake_alarm = facts.observation.alarms, facts.target.wake_alarm
    waiting = facts.demand.waiting or 0.0
    alarmed = any(a.name == wake_alarm and a.state is AlarmState.ALARM for a in alarms)
    if waiting <= 0 and not alarmed:
        return Step(STAGE, recommended, Reason.UNCHANGED, "no copy serves; nobody waits")
    peak = facts.state.peak_before_sleep or peak_of(facts.state.serving)
    copies = wake_copies(waiting, facts.target_per_copy, peak, facts.target.guards.wake_cap)
    detail = f"{waiting:.0f} requests found no copy within 10 s: wake to {copies}"
    inputs = {"waiting": waiting, "peak_before_sleep": peak, "cap": facts.target.guards.wake_cap}
    return Step(STAGE, max(recommended, copies), Reason.WAKE, detail, inputs)
