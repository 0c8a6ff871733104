"""Look: the one thing that every handler does. Gather what is, decide what should be, do what is permitted now.

The same look serves the fast path of OnAlarm and every state of the scaling loop; they differ only in which writes they
permit. Decisions are computed afresh each time, so a repeated, late or reordered look does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from quickstep import clock
from quickstep.capacity import growth
from quickstep.capacity.plan import EndpointView, copies_per_instance_of, plan_endpoint
from quickstep.capacity.progress import (
    Note,
    follow_copies,
    follow_instances,
    mark_empty,
    notice_foreign_change,
)
from quickstep.errors import EndpointNotFound
from quickstep.gateways.registry import EndpointRecord, Registry
from quickstep.model.activity import ActivityStatus
from quickstep.model.decision import Decision
from quickstep.model.loop import Lease, NextWord
from quickstep.model.observation import Component, Endpoint
from quickstep.model.plan import EndpointPlan, Held, Wish
from quickstep.model.state import EndpointState, TargetState
from quickstep.model.targets import TargetId
from quickstep.policy.pipeline import decide
from quickstep.reasons import Reason
from quickstep.settings import Settings
from quickstep.usecases import history, learn
from quickstep.usecases.act import Acted, Actor
from quickstep.usecases.gather import Gathered, gather

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
    # 1 gather
    record = registry.read_endpoint(endpoint)
    now_s = clock.now_s()
    if not record.targets:
        why = f"no scalable target of endpoint {endpoint} is registered"
        return LookOutcome(NextWord.SETTLED, 1, why, record.loop.poke_seq, None)
    try:
        seen = gather(record, now_s)
    except EndpointNotFound as error:
        return _gone(record, registry, lease, now_s, str(error))

    # 2 decide
    endpoint_state, endpoint_notes = _follow_endpoint(seen, now_s)
    states, notes = _follow_targets(record, seen, now_s)
    for tid, state in states.items():
        if growth.is_due(state):
            target, component = record.targets[tid], seen.observations[tid].component
            memory = learn.moved_by_us(target, seen.endpoint, endpoint_state, component.variant if component else None)
            states[tid] = learn.refresh(registry, target, state, memory, now_s)
    wishes = tuple(
        Wish(
            record.targets[tid],
            _decide(record, seen, states[tid], tid, now_s, settings),
            seen.observations[tid].component,
        )
        for tid in sorted(seen.observations)
    )
    view = EndpointView(
        seen.endpoint,
        endpoint_state,
        seen.components,
        wishes,
        now_s,
        seen.alarms,
        components_known=not any(text.startswith("components of ") for text in seen.unread),
    )
    plan = plan_endpoint(view)
    endpoint_state = mark_empty(endpoint_state, plan.empty_variants, now_s)

    # 3 apply
    for tid, target_notes in notes.items():
        history.close_activities(registry, tid, record.state(tid), target_notes, now_s)
    history.tell(endpoint, endpoint_notes, now_s)
    actor = Actor(registry, lease, seen.endpoint, now_s)
    acted = (
        actor.carry_out(plan, wishes, endpoint_state) if plan.word in permit else Acted.nothing(wishes, endpoint_state)
    )
    acted = _with_last_reasons(acted, plan, wishes)
    _save(record, lease, registry, acted, wishes)
    history.record(registry, record, plan, wishes, acted, seen, now_s)
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


def _decide(
    record: EndpointRecord, seen: Gathered, state: TargetState, target_id: TargetId, now_s: float, settings: Settings
) -> Decision:
    observation = seen.observations[target_id]
    per_instance = 1 if observation.component is None else _per_instance(observation.component, seen.endpoint)
    return decide(
        record.targets[target_id],
        observation,
        state,
        now_s,
        copies_per_instance=per_instance,
        scaling_enabled=settings.scaling_enabled,
    )


def _per_instance(component: Component, endpoint: Endpoint) -> int | None:
    return copies_per_instance_of(component, endpoint.variant(component.variant))


def _follow_endpoint(seen: Gathered, now_s: float) -> tuple[EndpointState, tuple[Note, ...]]:
    state, notes = seen.endpoint_state, []
    for variant in seen.endpoint.variants:
        dipped = any(
            c.variant == variant.name and c.is_stable and c.current_copies < c.desired_copies for c in seen.components
        )
        memory, told = follow_instances(state.variant(variant.name), variant, seen.endpoint, now_s, dipped=dipped)
        notes.extend(told)
        if memory != state.variant(variant.name):
            state = state.with_variant(variant.name, memory)
    return state, tuple(notes)


def _follow_targets(
    record: EndpointRecord, seen: Gathered, now_s: float
) -> tuple[dict[TargetId, TargetState], dict[TargetId, tuple[Note, ...]]]:
    states, notes = {}, {}
    for target_id, observation in seen.observations.items():
        state, followed = follow_copies(record.state(target_id), observation, now_s)
        state, noticed = notice_foreign_change(state, observation, now_s, deployed=seen.deployed)
        states[target_id] = state
        notes[target_id] = followed + noticed
    return states, notes


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
        after = replace(acted.states[target_id], last_look_s=None)
        if after != before:
            registry.save_target_state(lease, target_id, after)
    if acted.endpoint_state != record.endpoint_state:
        registry.save_endpoint_state(lease, acted.endpoint_state)


def _gone(record: EndpointRecord, registry: Registry, lease: Lease, now_s: float, why: str) -> LookOutcome:
    held: Mapping[TargetId, Held] = {tid: Held(Reason.ENDPOINT_NOT_FOUND, why) for tid in record.targets}
    for target_id in sorted(record.targets):
        state = record.state(target_id)
        if state.last_reason != str(Reason.ENDPOINT_NOT_FOUND):
            history.record_not_scaled(registry, target_id, held[target_id], now_s, ActivityStatus.FAILED)
            registry.save_target_state(lease, target_id, replace(state, last_reason=str(Reason.ENDPOINT_NOT_FOUND)))
    return LookOutcome(NextWord.SETTLED, 1, why, record.loop.poke_seq, now_s + AUDIT_GONE_S)


AUDIT_GONE_S = 900.0
