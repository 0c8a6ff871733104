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
BACKOFF_FIRST_S = 60.0
BACKOFF_MAX_S = 900.0
WATCH_S = 300.0


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
    wait_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (attempts - 1))
    return Backoff(str(reason), now_s + wait_s, attempts, possible)


def follow_copies(state: TargetState, observation: Observation, now_s: float) -> tuple[TargetState, tuple[Note, ...]]:
    """Follow a component's (or a variant target's) ask; return the state after it and what there is to tell."""
    notes: list[Note] = []
    ask = state.ask
    if ask is not None:
        age_s = now_s - ask.at_s
        if _reached(ask, observation.current):
            if ask.wanted > ask.before:
                state = replace(state, startup_s=startup.learned(state.startup_s, age_s))
            state = replace(state, ask=None, backoff=None)
            notes.append(Note("reached", f"{observation.current} serve, {age_s:.0f} s after they were asked for"))
        elif observation.desired != ask.wanted and age_s > SILENT_GRACE_S and _is_quiet(observation):
            # The count that we asked for is gone: refused silently, rolled back, or changed by somebody else.
            state = replace(state, ask=None)
        elif now_s >= ask.deadline_s:
            backoff = backed_off(state.backoff, Reason.DEADLINE_PASSED, now_s)
            state = replace(state, ask=None, backoff=backoff)
            detail = f"{observation.current} of {ask.wanted} serve {age_s:.0f} s after they were asked for"
            notes.append(Note("deadline", detail, failed=True, reason=Reason.DEADLINE_PASSED))
    elif state.backoff is not None and state.backoff.until_s <= now_s and observation.current >= observation.desired:
        state = replace(state, backoff=None)
    return state, tuple(notes)


def notice_foreign_change(
    state: TargetState, observation: Observation, now_s: float, *, deployed: bool
) -> tuple[TargetState, tuple[Note, ...]]:
    """Adopt a count that somebody else set as a floor for a while; restore one that a deployment reset.

    `deployed` is True if the endpoint's configuration changed since the last look.
    """
    expected = state.wish
    if expected is None or state.queued or state.ask is not None or not _is_quiet(observation):
        return state, ()
    if observation.desired == expected or (state.manual is not None and observation.desired == state.manual.after):
        return state, ()
    if deployed and observation.desired < expected:
        manual = Change(now_s, observation.desired, expected, "restored after a deployment reset it")
        detail = f"UpdateEndpoint reset {expected} to {observation.desired}: restoring"
        return replace(state, manual=manual), (Note("restored", detail, reason=Reason.DEPLOYMENT_IN_PROGRESS),)
    manual = Change(now_s, expected, observation.desired, "a change outside Quickstep")
    detail = f"somebody changed {expected} to {observation.desired}: kept as a floor for a while"
    state = replace(state, manual=manual, wish=observation.desired, wish_at_s=now_s)
    return state, (Note("foreign change", detail, reason=Reason.FOREIGN_ACTOR),)


def follow_instances(
    memory: VariantState, variant: Variant, endpoint: Endpoint, now_s: float, *, dipped: bool
) -> tuple[VariantState, tuple[Note, ...]]:
    """Follow a variant's instance ask: learn, or find out that SageMaker gave it up without saying so.

    `dipped` is True if some component on the variant has fewer copies than it should while nothing is being changed.
    """
    notes: list[Note] = []
    ask = memory.ask
    in_service = endpoint.status is EndpointStatus.IN_SERVICE
    if ask is not None:
        age_s = now_s - ask.at_s
        reached = in_service and _reached(ask, variant.current_instances)
        given_up = in_service and age_s > SILENT_GRACE_S and not _reached(ask, variant.desired_instances)
        if reached:
            if ask.wanted > ask.before:
                memory = replace(memory, startup_s=startup.learned(memory.startup_s, age_s), backoff=None)
            else:
                memory = replace(memory, watch_until_s=now_s + WATCH_S, watch_restore=ask.before)
            memory = replace(memory, ask=None, empty_since_s=None)
            notes.append(Note("instances", f"{variant.current_instances} instances serve, {age_s:.0f} s after the ask"))
        elif given_up or now_s >= ask.deadline_s:
            failed_by = Reason.INSUFFICIENT_CAPACITY if given_up else Reason.DEADLINE_PASSED
            got = variant.current_instances
            # Ask smaller next time: what came, plus half of what did not.
            possible = got + max(1, (ask.wanted - got) // 2) if ask.wanted - got > 1 else None
            memory = replace(memory, ask=None, backoff=backed_off(memory.backoff, failed_by, now_s, possible=possible))
            said = f"; FailureReason: {endpoint.failure_reason}" if endpoint.failure_reason else ", without a reason given"
            how = "is InService again" if given_up else "is not done in time"
            detail = f"asked {ask.wanted} instances, {got} serve, the endpoint {how}{said}"
            notes.append(Note("instances", detail, failed=True, reason=failed_by))
    if memory.watch_until_s is not None:
        if dipped and memory.watch_restore is not None and not memory.left_to_human:
            detail = f"removing an instance of {variant.name} hit running copies: restored, and left to a person from now on"
            memory = replace(memory, left_to_human=True)
            notes.append(Note("restore", detail, failed=True, reason=Reason.BLIND_INSTANCE_SCALE_IN))
        elif now_s >= memory.watch_until_s:
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


def _reached(ask: Ask, count: int) -> bool:
    return count >= ask.wanted if ask.wanted > ask.before else count <= ask.wanted


def _is_quiet(observation: Observation) -> bool:
    """Nothing is being changed by anybody right now."""
    if observation.endpoint.status is not EndpointStatus.IN_SERVICE:
        return False
    return observation.component is None or observation.component.is_stable
