"""Where an inference component is on its way from zero to serving, and how much longer it will probably take.

Said from what the registry knows (asks, refusals, learned start-up times) and from what SageMaker describes, if asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from quickstep.capacity import startup
from quickstep.gateways.registry import EndpointRecord
from quickstep.model.observation import Component, ComponentStatus
from quickstep.model.state import Ask, EndpointState, TargetState, VariantState
from quickstep.model.targets import TargetId
from quickstep.policy.manual import holds_until_s


class State(StrEnum):
    """What `GET /v1/models` says of a component."""

    READY = "ready"
    COLD = "cold"
    WAKING = "waking"
    FAILED = "failed"


class Phase(StrEnum):
    """What a waking component waits for."""

    DECISION = "decision"
    INSTANCES = "instances"
    COPIES = "copies"
    RETRY = "retry"
    """SageMaker refused or gave up; it is asked again."""


@dataclass(frozen=True, slots=True)
class Waking:
    """`eta_s` is the probable rest in seconds; None if it already takes longer than it ever did, or nobody knows."""

    state: State
    phase: Phase | None = None
    eta_s: float | None = None
    reason: str | None = None


def waking(record: EndpointRecord, target_id: TargetId, now_s: float, *, component: Component | None = None) -> Waking:
    """Where the component of `target_id` is. Without `component` it is as the last look found it."""
    state = record.state(target_id)
    if _serves(state, component):
        return Waking(State.READY)
    if component is not None and component.status is ComponentStatus.FAILED:
        return Waking(State.FAILED, reason=component.failure_reason or "the inference component is Failed")
    variants = _variants(record.endpoint_state, component)
    refused = _refusal(state, variants, now_s)
    if refused is not None:
        return Waking(State.FAILED, Phase.RETRY, reason=refused)
    adding = next(
        (v for v in variants if v.ask is not None and v.ask.what == "instances" and v.ask.wanted > v.ask.before), None
    )
    default_s = startup.INSTANCE_DEFAULT_S if any(v.managed for v in variants) else startup.COPY_DEFAULT_S
    copies_s = startup.quantile_s(state.startup_s, 0.5, default_s)
    if adding is not None and adding.ask is not None:
        rest_s = startup.remaining_s(adding.startup_s, now_s - adding.ask.at_s, startup.INSTANCE_DEFAULT_S)
        return Waking(State.WAKING, Phase.INSTANCES, None if rest_s is None else rest_s + copies_s)
    if _is_raise(state.ask):
        assert state.ask is not None
        return Waking(
            State.WAKING, Phase.COPIES, startup.remaining_s(state.startup_s, now_s - state.ask.at_s, default_s)
        )
    if _wanted(state, component, now_s):
        return Waking(State.WAKING, Phase.DECISION, copies_s)
    return Waking(State.COLD, eta_s=copies_s)


def _serves(state: TargetState, component: Component | None) -> bool:
    if component is not None:
        return component.current_copies > 0
    return bool(state.serving) and (state.serving[-1].copies or 0) > 0


def _variants(endpoint: EndpointState, component: Component | None) -> tuple[VariantState, ...]:
    if component is not None and component.variant:
        return (endpoint.variant(component.variant),)
    return tuple(endpoint.variants[name] for name in sorted(endpoint.variants))


def _refusal(state: TargetState, variants: tuple[VariantState, ...], now_s: float) -> str | None:
    """Why nothing is under way although copies are wanted; None if something is, or nothing is wanted."""
    if _is_raise(state.ask) or not (state.wish or 0) > 0:
        return None
    backoffs = [state.backoff, *(v.backoff for v in variants if v.ask is None)]
    return next((b.reason for b in backoffs if b is not None and b.until_s > now_s), None)


def _is_raise(ask: Ask | None) -> bool:
    return ask is not None and ask.wanted > ask.before


def _wanted(state: TargetState, component: Component | None, now_s: float) -> bool:
    """Somebody has decided, or asked for, at least one copy."""
    if component is not None and component.desired_copies > 0:
        return True
    if state.queued and (state.wish or 0) > 0:
        return True
    wish = state.manual
    if wish is None or wish.after == 0:
        return False
    return holds_until_s(wish) > now_s
