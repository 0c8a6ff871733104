"""Learn: once an hour, put the minutes of load with the history and size the headroom by it anew. Pure."""

from __future__ import annotations

from dataclasses import replace

from quickstep.capacity import growth
from quickstep.model.observation import Endpoint
from quickstep.model.state import EndpointState, Minutes, TargetState, VariantState
from quickstep.model.targets import DemandPolicy, ScalableTarget


def learned(
    target: ScalableTarget, state: TargetState, history: Minutes | None, variant: VariantState | None, now_s: float
) -> tuple[TargetState, Minutes]:
    """(state with what the history says now, the history with the state's minutes), for a state with an hour of load.

    `variant`: see `growth.lead_s`. Two looks that learn at once leave the history of the later one.
    """
    assert state.load is not None
    history = growth.joined(history, state.load)
    policy = next((p for p in target.policies if isinstance(p, DemandPolicy)), None)
    headroom = None
    if policy is not None:
        headroom = growth.learn(
            history.levels,
            from_s=history.from_s,
            now_s=now_s,
            lead_s=growth.lead_s(state, variant),
            price=growth.PRICES.get(policy.slo_target, growth.PRICES[98.0]),
            least=target.min_capacity,
        )
    return replace(state, headroom=headroom, load=Minutes(history.until_s)), history


def moved_by_us(
    target: ScalableTarget, endpoint: Endpoint, state: EndpointState, variant: str | None
) -> VariantState | None:
    """What is remembered of the instances under a component, if nobody adds them but us; else None."""
    found = endpoint.variant(variant) if target.target_id.component is not None else None
    if found is None or found.managed or state.variant(found.name).managed:
        return None
    return state.variant(found.name)
