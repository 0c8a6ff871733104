"""Progress: what became of what was asked. Learns start-up times, finds silent failures, notices other people's changes.

SageMaker reports neither a refused launch nor a lost copy as an event. So every look compares what is with what was
asked: reached, still on its way, or given up (the endpoint is back InService at the old count, or the deadline passed).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from quickstep.capacity import startup
from quickstep.model.observation import Endpoint, EndpointStatus, Observation, Variant
from quickstep.model.state import Ask, Backoff, Change, EndpointState, TargetState, VariantState
from quickstep.reasons import Reason

SILENT_GRACE_S = 45.0
"""An ask younger than this may not show on Describe yet (eventual consistency: 30 s seen)."""
SHORTEST_STARTUP_S = 10.0
"""What was there sooner was not started by the ask, so it teaches nothing about start-up times."""
BACKOFF_FIRST_S = 60.0
BACKOFF_MAX_S = 900.0
WATCH_S = 60.0
"""So long after an instance was removed, copies that go missing are taken to have lived on it."""
CARRIED = "carried over a deployment"
"""Cause of the floor that keeps a count while the endpoint is being updated."""
RESTORED = "restored after a deployment reset it"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a person may want to know, for the activity log."""

    what: str
    detail: str
    failed: bool = False
    reason: Reason = Reason.UNCHANGED


def backed_off(before: Backoff | None, reason: Reason, now_s: float, *, possible: int | None = None) -> Backoff:
    """The next, longer back-off after one more refusal: 60 s doubling to 15 min."""
    attempts = before.attempts + 1 if before is not None else 1
    return Backoff(str(reason), now_s + _wait_s(attempts), attempts, possible)


def follow_copies(state: TargetState, observation: Observation, now_s: float) -> tuple[TargetState, tuple[Note, ...]]:
    """Follow a component's (or a variant target's) ask; return the state after it and what there is to tell."""
    ask, backoff = state.ask, state.backoff
    if ask is None:
        forgotten = _is_long_ago(backoff, now_s) and observation.current >= observation.desired
        return (replace(state, backoff=None) if forgotten else state), ()
    age_s, unit = now_s - ask.at_s, ask.what
    if _reached(ask, observation.current):
        if ask.wanted > ask.before and age_s >= SHORTEST_STARTUP_S:
            state = replace(state, startup_s=startup.learned(state.startup_s, age_s))
        note = Note("reached", f"{observation.current} serve, {age_s:.0f} s after they were asked for")
        return replace(state, ask=None, backoff=_after_success(backoff, ask, now_s)), (note,)
    settled = age_s > SILENT_GRACE_S and _is_quiet(observation)
    if settled and observation.desired not in (ask.wanted, ask.before):
        detail = f"asked {ask.wanted} {unit}, somebody else asked {observation.desired}"
        return replace(state, ask=None), (Note("overridden", detail, failed=True, reason=Reason.FOREIGN_ACTOR),)
    if settled and (ask.wanted > ask.before or observation.desired == ask.before):
        # Nobody works on it any more: taken back silently, or left short for want of hardware.
        how = "stopped at" if observation.desired == ask.wanted else "went back to"
        detail = (
            f"asked {ask.wanted} {unit}; SageMaker {how} {observation.current} after {age_s:.0f} s{_said(observation)}"
        )
        return _given_up(state, ask, Reason.INSUFFICIENT_CAPACITY, observation, detail, now_s)
    if now_s >= ask.deadline_s:
        detail = f"{observation.current} {unit} instead of {ask.wanted} serve {age_s:.0f} s after they were asked for"
        return _given_up(state, ask, Reason.DEADLINE_PASSED, observation, detail, now_s)
    return state, ()


def notice_foreign_change(
    state: TargetState, observation: Observation, now_s: float, *, deployed: bool
) -> tuple[TargetState, tuple[Note, ...]]:
    """Adopt a count that somebody else set as a floor for a while; restore one that a deployment reset.

    `deployed` is True if the endpoint's configuration changed since the last look. The reset may show only when the
    deployment is over, many looks later: until then the count from before is carried along as a floor.
    """
    expected, asked = state.wish, observation.desired
    if expected is None:
        return state, ()
    carried = state.manual is not None and state.manual.cause == CARRIED
    if deployed and not carried and (state.manual is None or state.manual.after < expected):
        state = replace(state, manual=Change(now_s, asked, expected, CARRIED))
        carried = True
    if carried and state.manual is not None and observation.endpoint.status is not EndpointStatus.IN_SERVICE:
        return replace(state, manual=replace(state.manual, at_s=now_s)), ()
    if state.queued or state.ask is not None or not _may_compare(observation):
        return state, ()
    if carried and state.manual is not None and asked < state.manual.after:
        wish = state.manual.after
        state = replace(state, wish=wish, queued=True, manual=Change(now_s, asked, wish, RESTORED))
        detail = f"UpdateEndpoint reset {wish} to {asked}: restoring"
        return state, (Note("restored", detail, reason=Reason.DEPLOYMENT_IN_PROGRESS),)
    if asked == expected or (state.manual is not None and asked == state.manual.after):
        return state, ()
    detail = f"somebody changed {expected} to {asked}: kept as a floor for a while"
    manual = Change(now_s, expected, asked, "a change outside Quickstep")
    if state.manual is not None and state.manual.at_s > (state.last_look_s or 0.0):
        # A wish that was made to us since the last look is newer than the change that is only noticed now.
        manual = state.manual
    state = replace(state, manual=manual, wish=asked, wish_at_s=now_s)
    return state, (Note("foreign change", detail, reason=Reason.FOREIGN_ACTOR),)


def _may_compare(observation: Observation) -> bool:
    """Is what was asked for a statement of somebody's, and not a moment of a deployment?

    A copy count can be told at once, also while the component works on it; an instance count only when all is quiet.
    """
    if observation.component is not None:
        return observation.endpoint.status in (EndpointStatus.IN_SERVICE, EndpointStatus.UPDATING)
    return _is_quiet(observation)


def follow_instances(
    memory: VariantState, variant: Variant, endpoint: Endpoint, now_s: float, *, dipped: bool
) -> tuple[VariantState, tuple[Note, ...]]:
    """Follow a variant's instance ask: learn, or find out that SageMaker gave it up without saying so.

    `dipped` is True if some component on the variant has fewer copies than it should while nothing is being changed.
    """
    notes: list[Note] = []
    ask = memory.ask
    if dipped and ask is not None and ask.wanted < ask.before:
        # The victim is gone long before the endpoint is InService again; by then its copies may be back elsewhere.
        memory = replace(memory, watch_until_s=now_s + WATCH_S, watch_restore=ask.before)
    if dipped and memory.watch_until_s is not None and not memory.left_to_human:
        detail = (
            f"removing an instance of {variant.name} hit running copies: instances are restored as far as copies stay "
            "missing, and scale-in is left to a person from now on"
        )
        memory = replace(memory, left_to_human=True)
        notes.append(Note("restore", detail, failed=True, reason=Reason.BLIND_INSTANCE_SCALE_IN))
    if ask is None and _is_long_ago(memory.backoff, now_s):
        memory = replace(memory, backoff=None)
    if ask is not None:
        memory, told = _follow_instance_ask(memory, ask, variant, endpoint, now_s)
        notes.extend(told)
    if memory.watch_until_s is not None and now_s >= memory.watch_until_s:
        memory = replace(memory, watch_until_s=None, watch_restore=None)
    return memory, tuple(notes)


def mark_empty(state: EndpointState, empty_variants: tuple[str, ...], now_s: float) -> EndpointState:
    """Remember since when a variant has had more instances than its copies need."""
    for name in sorted(set(state.variants) | set(empty_variants)):
        memory = state.variant(name)
        if name in empty_variants and memory.empty_since_s is None:
            state = state.with_variant(name, replace(memory, empty_since_s=now_s))
        elif name not in empty_variants and memory.empty_since_s is not None:
            state = state.with_variant(name, replace(memory, empty_since_s=None))
    return state


def _follow_instance_ask(
    memory: VariantState, ask: Ask, variant: Variant, endpoint: Endpoint, now_s: float
) -> tuple[VariantState, list[Note]]:
    age_s, got = now_s - ask.at_s, variant.current_instances
    in_service = endpoint.status is EndpointStatus.IN_SERVICE
    if in_service and _reached(ask, got):
        if ask.wanted <= ask.before:
            memory = replace(memory, watch_until_s=now_s + WATCH_S, watch_restore=ask.before)
        elif age_s >= SHORTEST_STARTUP_S:
            memory = replace(memory, startup_s=startup.learned(memory.startup_s, age_s))
        # After a removal the others have been empty all along; only an addition begins their time anew.
        empty_since_s = memory.empty_since_s if ask.wanted < ask.before else None
        backoff = _after_success(memory.backoff, ask, now_s)
        memory = replace(memory, ask=None, empty_since_s=empty_since_s, backoff=backoff)
        return memory, [Note("instances", f"{got} instances serve, {age_s:.0f} s after the ask")]
    given_up = in_service and age_s > SILENT_GRACE_S
    if not given_up and now_s < ask.deadline_s:
        return memory, []
    reason = Reason.INSUFFICIENT_CAPACITY if given_up else Reason.DEADLINE_PASSED
    said = f"; FailureReason: {endpoint.failure_reason}" if endpoint.failure_reason else ", without a reason given"
    how = "is InService again" if given_up else f"is still {endpoint.status} after {age_s:.0f} s"
    detail = f"asked {ask.wanted} instances, {got} serve, the endpoint {how}{said}"
    memory = replace(memory, ask=None, empty_since_s=None)
    if ask.wanted > ask.before and (ask.accepted or variant.desired_instances == ask.wanted):
        # Ask smaller next time: what came, plus half of what did not.
        possible = got + (ask.wanted - got) // 2 if ask.wanted - got > 1 else None
        memory = replace(memory, backoff=backed_off(memory.backoff, reason, now_s, possible=possible))
    return memory, [Note("instances", detail, failed=True, reason=reason)]


def _given_up(
    state: TargetState, ask: Ask, reason: Reason, observation: Observation, detail: str, now_s: float
) -> tuple[TargetState, tuple[Note, ...]]:
    # The wish still stands: more copies are asked again when the refusal has been waited out. An ask that nobody heard
    # SageMaker accept was perhaps never made: it is asked again at once.
    refused = ask.wanted > ask.before and (ask.accepted or observation.desired == ask.wanted)
    backoff = backed_off(state.backoff, reason, now_s) if refused else state.backoff
    queued = state.wish is not None and state.wish != observation.desired
    note = Note("given up", detail, failed=True, reason=reason)
    return replace(state, ask=None, backoff=backoff, queued=queued), (note,)


def _wait_s(attempts: int) -> float:
    return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(attempts - 1, 10))


def _after_success(backoff: Backoff | None, ask: Ask, now_s: float) -> Backoff | None:
    """What is left of a refusal when an ask was fulfilled: a smaller ask proves nothing about the rest of the wish."""
    if backoff is None or backoff.largest_possible is None or ask.wanted != backoff.largest_possible:
        return None
    return replace(backoff, until_s=now_s + _wait_s(backoff.attempts))


def _is_long_ago(backoff: Backoff | None, now_s: float) -> bool:
    """True if nothing was refused for so long that the next refusal begins anew."""
    return backoff is not None and now_s >= backoff.until_s + BACKOFF_MAX_S


def _reached(ask: Ask, count: int) -> bool:
    return count >= ask.wanted if ask.wanted > ask.before else count <= ask.wanted


def _is_quiet(observation: Observation) -> bool:
    """Nothing is being changed by anybody right now."""
    if observation.endpoint.status is not EndpointStatus.IN_SERVICE:
        return False
    return observation.component is None or observation.component.is_stable


def _said(observation: Observation) -> str:
    component = observation.component
    why = component.failure_reason if component is not None else observation.endpoint.failure_reason
    return f"; FailureReason: {why}" if why else ", without a reason given"
