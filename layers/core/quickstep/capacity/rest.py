"""Rest: nothing is to be asked of SageMaker now. Wait for what is coming or for a timer that is due soon, or be settled.

Settled means: what is wished was asked, nothing is on its way, and no timer is due within a minute, whatever the alarms
say. An alarm may stay in ALARM for hours and tells its transition only once, so the plan says when to look again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from quickstep.capacity import waits
from quickstep.capacity.asks import is_coming
from quickstep.capacity.view import EndpointView, is_hands_off
from quickstep.capacity.waits import TICK_S, next_grid_s
from quickstep.model.loop import NextWord
from quickstep.model.observation import AlarmState
from quickstep.model.plan import EndpointPlan, Held, Wish
from quickstep.model.targets import DemandPolicy, TargetId
from quickstep.policy.facts import DEFAULT_HOLD_S
from quickstep.reasons import Reason

SOON_S = 60.0
"""A timer due within this keeps the loop awake; a later one is left to Reconcile."""
AUDIT_S = 900.0
"""Every settled endpoint is looked at again at least this often."""
UPDATING_WAIT_S = 20
WATCH_S = 30.0
"""How often a variant is looked at from which an instance was just removed."""


def rest(view: EndpointView, held: Mapping[TargetId, Held], empty: tuple[str, ...]) -> EndpointPlan:
    """The waiting or final word of an endpoint for which there is nothing to ask now."""
    now_s, tick_s = view.now_s, next_grid_s(view.now_s)

    def wait(wait_s: int, why: str) -> EndpointPlan:
        return EndpointPlan(NextWord.WAIT, wait_s, why, held=held, empty_variants=empty)

    coming = sorted(w.component.name for w in view.wishes if w.component is not None and is_coming(w))
    if coming:
        return wait(tick_s, f"{', '.join(coming)}: copies are on their way")
    if not view.in_service:
        return wait(max(tick_s, UPDATING_WAIT_S), f"endpoint {view.endpoint.name} is {view.endpoint.status}")
    hot = sorted(str(w.target.target_id) for w in view.wishes if w.decision.hot and not _is_blocked(w, held))
    if hot:
        return wait(tick_s, f"{', '.join(hot)}: the high alarm is in ALARM and there is room above")
    first_s = min((at_s for at_s in _timers(view, empty) if at_s > now_s), default=now_s + AUDIT_S)
    if first_s <= now_s + SOON_S:
        return wait(max(tick_s, math.ceil(first_s - now_s)), f"a hold ends in {first_s - now_s:.0f} s")
    return EndpointPlan(
        NextWord.SETTLED,
        TICK_S,
        "nothing is pending and nothing may be asked now" if held else "wish equals current and nothing is pending",
        held=held,
        next_look_at_s=min(first_s, now_s + AUDIT_S),
        empty_variants=empty,
    )


def _is_blocked(wish: Wish, held: Mapping[TargetId, Held]) -> bool:
    """True if more load would change nothing: whatever is held, unless it only waits for its capacity."""
    why = held.get(wish.target.target_id)
    return why is not None and why.reason is not Reason.PENDING_CAPACITY


def _timers(view: EndpointView, empty: tuple[str, ...]) -> list[float]:
    """Moments at which something may change by itself."""
    timers = []
    for wish in view.wishes:
        if wish.decision.look_again_at_s is not None:
            timers.append(wish.decision.look_again_at_s)
        if wish.decision.state.backoff is not None:
            timers.append(wish.decision.state.backoff.until_s)
        if (
            wish.decision.desired > wish.target.min_capacity
            and not is_hands_off(wish)
            and _a_low_alarm_stays(view, wish)
        ):
            # It told its transition once and says no more: look again twice per hold.
            timers.append(view.now_s + max(SOON_S + TICK_S, _hold_s(wish) / 2))
    for variant in view.endpoint.variants:
        memory = view.state.variant(variant.name)
        if memory.backoff is not None:
            timers.append(memory.backoff.until_s)
        if variant.name in empty and not memory.left_to_human:
            since_s = view.now_s if memory.empty_since_s is None else memory.empty_since_s
            timers.append(since_s + waits.release_hold_s(view.wishes_on(variant)))
        if memory.watch_until_s is not None and memory.watch_until_s > view.now_s:
            timers.append(min(memory.watch_until_s, view.now_s + WATCH_S))
    return timers


def _a_low_alarm_stays(view: EndpointView, wish: Wish) -> bool:
    alarms = (view.alarms.get(name) for name in wish.target.alarm_names)
    return any(a is not None and a.state is AlarmState.ALARM and not a.above for a in alarms)


def _hold_s(wish: Wish) -> float:
    return next((p.scale_in_hold_s for p in wish.target.policies if isinstance(p, DemandPolicy)), DEFAULT_HOLD_S)
