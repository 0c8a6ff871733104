"""Asks: which copies may be asked of SageMaker now, which were given up, and which have to wait for their component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quickstep.capacity import room, waits
from quickstep.capacity.view import EndpointView, is_hands_off
from quickstep.model.observation import Component, Variant
from quickstep.model.plan import CopyAsk, Held, Wish
from quickstep.model.targets import TargetId
from quickstep.reasons import Reason

EXTRA_TRIES = 2
"""How often one more instance is tried when copies were refused for want of hardware although they should fit."""


@dataclass(frozen=True, slots=True)
class Out:
    """A wish for more copies than were asked: `wanted` is the wish, or what a refusal leaves of it."""

    wish: Wish
    component: Component
    wanted: int

    @property
    def more(self) -> int:
        return self.wanted - self.component.desired_copies


def wished_outs(view: EndpointView, wishes: Sequence[Wish], held: dict[TargetId, Held]) -> list[Out]:
    """Wishes for more copies, as far as no refusal is being waited out; in their order."""
    found = []
    for wish in wishes:
        component = wish.component
        if component is not None and wish.decision.desired > component.desired_copies:
            asked, backoff = component.desired_copies, wish.decision.state.backoff
            wanted = waits.allowed(backoff, wish.decision.desired, asked, wish.target.target_id, held, view.now_s)
            if wanted > asked:
                found.append(Out(wish, component, wanted))
    return found


def asked_again(view: EndpointView, variant: Variant, wishes: Sequence[Wish]) -> list[CopyAsk]:
    """Copies that SageMaker gave up placing, asked for once more when the refusal has been waited out and they fit."""
    instances = min(variant.current_instances, variant.desired_instances)
    asks = []
    for wish in wishes:
        component, backoff = wish.component, wish.decision.state.backoff
        if component is None or backoff is None or backoff.until_s > view.now_s or not is_missing_copies(wish):
            continue
        if is_hands_off(wish) or wish.decision.desired != component.desired_copies:
            continue
        missing = component.desired_copies - component.current_copies
        placed = {component.name: component.current_copies}
        if (
            room.fits(view, variant, [(component, missing)], instances=instances, placed=placed)[component.name]
            >= missing
        ):
            asks.append(
                CopyAsk(wish.target.target_id, component.name, component.current_copies, component.desired_copies)
            )
    return asks


def refused_for_want_of_room(view: EndpointView, wishes: Sequence[Wish]) -> list[Wish]:
    """Wishes whose copies SageMaker could not place although they should fit: what is free lies in the wrong places."""
    found = []
    for wish in wishes:
        backoff = wish.decision.state.backoff
        if backoff is None or backoff.until_s <= view.now_s or backoff.attempts > EXTRA_TRIES or is_hands_off(wish):
            continue
        if backoff.reason != Reason.INSUFFICIENT_CAPACITY or wish.component is None or not wish.component.is_stable:
            continue
        if max(wish.decision.desired, wish.component.desired_copies) > wish.component.current_copies:
            found.append(wish)
    return found


def is_missing_copies(wish: Wish) -> bool:
    """Fewer copies serve than SageMaker was asked for, and nobody is working on it."""
    component = wish.component
    return (
        component is not None
        and component.is_stable
        and wish.decision.state.ask is None
        and component.current_copies < component.desired_copies
    )


def is_coming(wish: Wish) -> bool:
    """True while SageMaker works on the component, or what was asked of it has not come yet."""
    component = wish.component
    if component is None or not component.is_stable:
        return component is not None
    return wish.decision.state.ask is not None and component.current_copies != component.desired_copies


def is_busy(wish: Wish, held: dict[TargetId, Held]) -> bool:
    component = wish.component
    assert component is not None
    if component.rolling_update:
        held[wish.target.target_id] = Held(Reason.DEPLOYMENT_IN_PROGRESS, f"{component.name} is being updated")
        return True
    if not component.is_stable:
        detail = f"{component.name} is {component.status}; the newest wish is asked when it is stable"
        held[wish.target.target_id] = Held(Reason.NOT_SCALABLE_NOW, detail)
        return True
    return False


def copy_ask(wish: Wish, component: Component, wanted: int) -> CopyAsk:
    return CopyAsk(wish.target.target_id, component.name, component.desired_copies, wanted)
