"""Look: the one thing that every handler does. Gather what is, decide what should be, do what is permitted now.

The same look serves the fast path of OnAlarm and every state of the scaling loop; they differ only in which writes they
permit. Decisions are computed afresh each time, so a repeated, late or reordered look does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from quickstep import clock
from quickstep.errors import EndpointNotFound
from quickstep.gateways.registry import EndpointRecord, Registry
from quickstep.model.activity import ActivityStatus
from quickstep.model.decision import Decision
from quickstep.model.loop import Lease, NextWord
from quickstep.model.plan import EndpointPlan, Held, Wish
from quickstep.model.state import TargetState
from quickstep.model.targets import TargetId
from quickstep.reasons import Reason
from quickstep.settings import Settings
from quickstep.usecases import history, measures
from quickstep.usecases.act import Acted, Actor
from quickstep.usecases.announce import announce, tag_changes
from quickstep.usecases.consider import consider

LEASE_S = 30.0
"""Longer than any Lambda of ours may run (20 s): a holder that hangs is killed before its lease can be taken."""

NOTHING: frozenset[NextWord] = frozenset()
FAST_PATH = frozenset({NextWord.PLACE_COPIES, NextWord.REMOVE_COPIES})


@dataclass(frozen=True, slots=True)
class LookOutcome:
    """What one look found and did."""

    word: NextWord
    wait_s: int
    why: str
    poke_seq: int
    next_look_at_s: float | None
    plan: EndpointPlan | None = None
    decisions: tuple[Decision, ...] = ()
    acted: tuple[str, ...] = ()
    """What was asked of SageMaker, in words."""


def look(
    endpoint: str,
    *,
    holder: str,
    permit: frozenset[NextWord],
    registry: Registry,
    settings: Settings,
) -> LookOutcome:
    """Look at `endpoint` once, under its write lease.

    Raises `LeaseHeld` if somebody else may write now, `LeaseLost` if this look took too long, and `Throttled`,
    `AccessDenied` or `OutcomeUnknown` if the endpoint cannot be read.
    """
    lease = registry.acquire_lease(endpoint, holder=holder, now_s=clock.now_s(), ttl_s=LEASE_S)
    try:
        return _look(endpoint, lease, permit, registry, settings)
    finally:
        registry.release_lease(lease)


def _look(
    endpoint: str, lease: Lease, permit: frozenset[NextWord], registry: Registry, settings: Settings
) -> LookOutcome:
    # 1 gather, 2 decide
    record = registry.read_endpoint(endpoint)
    now_s = clock.now_s()
    if not record.targets:
        why = f"no scalable target of endpoint {endpoint} is registered"
        return LookOutcome(NextWord.SETTLED, 1, why, record.loop.poke_seq, None)
    try:
        considered = consider(record, now_s, settings, registry)
    except EndpointNotFound as error:
        return _gone(record, registry, lease, now_s, str(error))
    seen, wishes, plan = considered.seen, considered.wishes, considered.plan
    endpoint_state = considered.endpoint_state

    # 3 apply
    for tid, history_of_load in considered.learned.items():
        registry.write_load(tid, history_of_load)
    for tid, target_notes in considered.notes.items():
        history.close_activities(registry, tid, record.state(tid), target_notes, now_s)
    history.tell(endpoint, considered.endpoint_notes, now_s)
    actor = Actor(registry, lease, seen.endpoint, now_s, stack=settings.stack_name)
    acted = (
        actor.carry_out(plan, wishes, endpoint_state) if plan.word in permit else Acted.nothing(wishes, endpoint_state)
    )
    acted = _with_last_reasons(acted, plan, wishes)
    if acted.asked and plan.scales_out:
        acted = replace(acted, endpoint_state=replace(acted.endpoint_state, scale_out_asked_s=now_s))
    _save(record, lease, registry, acted, wishes)
    history.record(registry, record, plan, wishes, acted, seen, now_s)
    told = measures.Look(
        record,
        seen,
        considered.followed,
        considered.endpoint_notes,
        considered.states,
        considered.notes,
        wishes,
        plan,
        acted,
        now_s,
    )
    measures.publish(told)
    announce(told)
    if acted.asked:
        tag_changes(told)
    word, wait_s = (NextWord.WAIT, 2) if acted.asked else (plan.word, plan.wait_s)
    return LookOutcome(
        word=word,
        wait_s=wait_s,
        why=plan.why,
        poke_seq=record.loop.poke_seq,
        next_look_at_s=plan.next_look_at_s,
        plan=plan,
        decisions=tuple(w.decision for w in wishes),
        acted=acted.asked,
    )


def _with_last_reasons(acted: Acted, plan: EndpointPlan, wishes: tuple[Wish, ...]) -> Acted:
    reasons = {w.target.target_id: history.last_reason(plan, acted.refused or {}, w.decision) for w in wishes}
    states = {
        t: replace(s, last_reason=reasons[t]) if s.last_reason != reasons[t] else s for t, s in acted.states.items()
    }
    return replace(acted, states=states)


def _save(record: EndpointRecord, lease: Lease, registry: Registry, acted: Acted, wishes: tuple[Wish, ...]) -> None:
    for wish in wishes:
        target_id = wish.target.target_id
        before = replace(record.state(target_id), last_look_s=None)
        after = replace(_unless_unasked(wish, record.state(target_id), acted.states[target_id]), last_look_s=None)
        if after != before:
            registry.save_target_state(lease, target_id, after)
    if acted.endpoint_state != record.endpoint_state:
        registry.save_endpoint_state(lease, acted.endpoint_state)


def _unless_unasked(wish: Wish, before: TargetState, after: TargetState) -> TargetState:
    """The state to keep: a scale-in that was decided but not asked for has answered no breach, so that the look which may
    ask decides it again. A scale-out needs no second decision: while it waits it counts as committed.
    """
    decision = wish.decision
    unasked = decision.desired < decision.asked and after.queued and after.ask == before.ask
    return replace(after, step_memory=before.step_memory) if unasked else after


def _gone(record: EndpointRecord, registry: Registry, lease: Lease, now_s: float, why: str) -> LookOutcome:
    held: Mapping[TargetId, Held] = {tid: Held(Reason.ENDPOINT_NOT_FOUND, why) for tid in record.targets}
    for target_id in sorted(record.targets):
        state = record.state(target_id)
        if state.last_reason != str(Reason.ENDPOINT_NOT_FOUND):
            history.record_not_scaled(registry, target_id, held[target_id], now_s, ActivityStatus.FAILED)
            registry.save_target_state(lease, target_id, replace(state, last_reason=str(Reason.ENDPOINT_NOT_FOUND)))
    return LookOutcome(NextWord.SETTLED, 1, why, record.loop.poke_seq, now_s + AUDIT_GONE_S)


AUDIT_GONE_S = 900.0
