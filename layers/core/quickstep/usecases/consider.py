"""Consider: gather what is and decide what should be, without changing anything. What a look does before it acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from quickstep.capacity import growth
from quickstep.capacity.plan import EndpointView, copies_per_instance_of, plan_endpoint
from quickstep.capacity.progress import Note, follow_copies, follow_instances, mark_empty, notice_foreign_change
from quickstep.gateways.registry import EndpointRecord, Registry
from quickstep.model.decision import Decision
from quickstep.model.observation import Component, Endpoint
from quickstep.model.plan import EndpointPlan, Wish
from quickstep.model.state import EndpointState, Minutes, TargetState
from quickstep.model.targets import TargetId
from quickstep.policy.pipeline import decide
from quickstep.settings import Settings
from quickstep.usecases import learn, outlook
from quickstep.usecases.gather import Gathered, gather


@dataclass(frozen=True, slots=True)
class Considered:
    """What one look sees and wants."""

    seen: Gathered
    followed: EndpointState
    """What the endpoint has done since the look before."""
    endpoint_state: EndpointState
    """The same with what the plan found; to be kept if the look is carried out."""
    endpoint_notes: tuple[Note, ...]
    states: Mapping[TargetId, TargetState]
    """What each target has done since the look before."""
    notes: Mapping[TargetId, tuple[Note, ...]]
    learned: Mapping[TargetId, Minutes]
    """The history of load to be kept, of targets that have learned from it in this look."""
    wishes: tuple[Wish, ...]
    """One per target that can be looked at, in order of target id; each holds its decision."""
    plan: EndpointPlan


def consider(record: EndpointRecord, now_s: float, settings: Settings, registry: Registry) -> Considered:
    """Gather and decide for every target of `record`; AWS is read, and once an hour the history of load that is in
    `registry`, and that of forecast metrics. Nothing is changed anywhere.

    Raises `EndpointNotFound`, `Throttled`, `AccessDenied` or `OutcomeUnknown` if the endpoint itself cannot be read.
    """
    seen = gather(record, now_s)
    followed, endpoint_notes = _follow_endpoint(seen, now_s)
    states, notes = _follow_targets(record, seen, now_s)
    histories, unread = {}, seen.unread
    for tid, state in states.items():
        target, component = record.targets[tid], seen.observations[tid].component
        moved = learn.moved_by_us(target, seen.endpoint, followed, component.variant if component else None)
        if growth.is_due(state):
            state, histories[tid] = learn.learned(target, state, registry.read_load(tid), moved, now_s)
        states[tid], refused = outlook.renewed(target, state, moved, now_s)
        unread += refused
    seen = replace(seen, unread=unread)
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
        followed,
        seen.components,
        wishes,
        now_s,
        seen.alarms,
        components_known=not any(text.startswith("components of ") for text in seen.unread),
    )
    plan = plan_endpoint(view)
    endpoint_state = mark_empty(followed, plan.empty_variants, now_s)
    return Considered(seen, followed, endpoint_state, endpoint_notes, states, notes, histories, wishes, plan)


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
        # Beside a shadowed target somebody else scales: its changes are no person's wish to be kept.
        noticed: tuple[Note, ...] = ()
        if not record.targets[target_id].shadow:
            state, noticed = notice_foreign_change(state, observation, now_s, deployed=seen.deployed)
        states[target_id] = state
        notes[target_id] = followed + noticed
    return states, notes
