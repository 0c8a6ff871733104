"""The next move of an endpoint: copies now, instances first, wait, take away, or be done.

One endpoint, one move at a time. Out: instances, wait, verify, then copies. In: copies, wait, then one empty instance.
With ManagedInstanceScaling ENABLED SageMaker moves the instances itself; then copies are asked for at once. A component
that cannot be served (quota, shortage, a busy component) never keeps the others from being served.

Which copies may be asked for is the business of `asks`, packing of `room`, refusals and waiting times of `waits`, and
what to do when there is nothing to do of `rest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quickstep.capacity import room, waits
from quickstep.capacity.asks import (
    Out,
    asked_again,
    copy_ask,
    is_busy,
    is_coming,
    is_missing_copies,
    refused_for_want_of_room,
    wished_outs,
)
from quickstep.capacity.rest import AUDIT_S, rest
from quickstep.capacity.room import copies_per_instance_of
from quickstep.capacity.view import EndpointView, is_hands_off
from quickstep.capacity.waits import TICK_S, next_grid_s
from quickstep.model.loop import NextWord
from quickstep.model.observation import EndpointStatus, Variant
from quickstep.model.plan import CopyAsk, EndpointPlan, Held, InstanceAsk, Wish
from quickstep.model.state import VariantState
from quickstep.model.targets import TargetId
from quickstep.reasons import Reason

__all__ = ["TICK_S", "EndpointView", "copies_per_instance_of", "next_grid_s", "part_now_pays", "plan_endpoint"]

FROZEN_WAIT_S = 60
FROZEN = {
    EndpointStatus.SYSTEM_UPDATING: Reason.DEPLOYMENT_IN_PROGRESS,
    EndpointStatus.ROLLING_BACK: Reason.DEPLOYMENT_IN_PROGRESS,
    EndpointStatus.CREATING: Reason.DEPLOYMENT_IN_PROGRESS,
    EndpointStatus.UNKNOWN: Reason.NOT_SCALABLE_NOW,
}
DEAD = frozenset(
    {
        EndpointStatus.FAILED,
        EndpointStatus.DELETING,
        EndpointStatus.OUT_OF_SERVICE,
        EndpointStatus.UPDATE_ROLLBACK_FAILED,
    }
)
DEPLOYING = frozenset({"Baking", "ActivatingTraffic", "Deleting"})
"""VariantStatus words of somebody else's change: canary baking, traffic shifting, an old fleet going away."""


def plan_endpoint(view: EndpointView) -> EndpointPlan:
    """Return the endpoint's next move. Pure; the same view gives the same plan."""
    held: dict[TargetId, Held] = {}
    endpoint = view.endpoint
    if endpoint.status in DEAD:
        why = f"endpoint {endpoint.name} is {endpoint.status}: nothing can be scaled until a person has seen to it"
        _hold_all(view, held, Reason.NOT_SCALABLE_NOW, why)
        return EndpointPlan(NextWord.SETTLED, TICK_S, why, held=held, next_look_at_s=view.now_s + AUDIT_S)
    deploying = sorted({word for v in endpoint.variants for word in v.statuses if word in DEPLOYING})
    if endpoint.status in FROZEN or deploying:
        why = f"endpoint {endpoint.name} is {', '.join([endpoint.status, *deploying])}: frozen until it is InService"
        _hold_all(view, held, FROZEN.get(endpoint.status, Reason.DEPLOYMENT_IN_PROGRESS), why)
        return EndpointPlan(NextWord.WAIT, FROZEN_WAIT_S, why, held=held)

    moves = [move for variant in endpoint.variants if (move := _variant_move(view, variant, held)) is not None]
    empty = tuple(v.name for v in endpoint.variants if room.spare_instances(view, v) > 0)
    for word in _ORDER:
        chosen = [move for move in moves if move.word is word]
        if chosen:
            first = chosen[0]
            copies = tuple(ask for move in chosen for ask in move.copies)
            return EndpointPlan(word, first.wait_s, first.why, copies, first.instances, held, empty_variants=empty)
    return rest(view, held, empty)


def part_now_pays(*, part: int, whole: int, instance_left_s: float, copy_s: float) -> bool:
    """True if placing `part` of `whole` copies now leaves less of a shortage than waiting to place all at once.

    An ask locks the component for `copy_s`. The rest can be asked when the instances are there, in `instance_left_s`,
    but not before the lock ends. So the part serves `instance_left_s` earlier, and the rest is late by what the lock
    outlasts the instances. Example: 1 of 8, instances due in 60 s, copies take 120 s: 1 × 60 < 7 × 60, so wait.
    """
    return part * instance_left_s >= (whole - part) * max(0.0, copy_s - instance_left_s)


_ORDER = (
    # Copies that fit are served at once, then instances are added: both before anything is taken away.
    NextWord.PLACE_COPIES,
    NextWord.ADD_INSTANCES,
    NextWord.REMOVE_COPIES,
    NextWord.WAIT_FOR_INSTANCES,
    NextWord.REMOVE_INSTANCES,
)


@dataclass(frozen=True, slots=True)
class _Move:
    word: NextWord
    why: str
    wait_s: int = TICK_S
    copies: tuple[CopyAsk, ...] = ()
    instances: InstanceAsk | None = None


def _variant_move(view: EndpointView, variant: Variant, held: dict[TargetId, Held]) -> _Move | None:
    wish = view.wish_of(variant)
    if wish is not None:
        return _instances_as_target(view, variant, wish, held)
    wishes = view.wishes_on(variant)
    return (_managed if view.is_managed(variant) else _fixed)(view, variant, wishes, held)


# -- the instances themselves are the target --------------------------------------------------------------------------


def _instances_as_target(view: EndpointView, variant: Variant, wish: Wish, held: dict[TargetId, Held]) -> _Move | None:
    target_id, wanted, asked = wish.target.target_id, wish.decision.desired, variant.desired_instances
    memory = view.state.variant(variant.name)
    moving = variant.current_instances != asked
    if not view.in_service:
        if wanted != asked:
            held[target_id] = Held(Reason.NOT_SCALABLE_NOW, f"endpoint {view.endpoint.name} is {view.endpoint.status}")
        return _wait_for_instances(view, variant, memory) if memory.ask is not None else None
    if wanted > asked:
        wanted = waits.allowed(memory.backoff, wanted, asked, target_id, held, view.now_s)
        return _ask_instances(NextWord.ADD_INSTANCES, variant, wanted, target_id=target_id) if wanted > asked else None
    if wanted < asked and not moving:
        return _ask_instances(NextWord.REMOVE_INSTANCES, variant, wanted, target_id=target_id)
    if wanted < asked:
        held[target_id] = Held(Reason.PENDING_CAPACITY, "instances are still moving")
    return _wait_for_instances(view, variant, memory) if moving and (memory.ask is not None or wanted < asked) else None


# -- SageMaker moves the instances ------------------------------------------------------------------------------------


def _managed(view: EndpointView, variant: Variant, wishes: Sequence[Wish], held: dict[TargetId, Held]) -> _Move | None:
    """SageMaker adds instances for copies that do not fit, and releases empty ones: ask for the copies, and watch."""
    outs = wished_outs(view, wishes, held)
    if outs and variant.managed_max is not None and room.sizes_are_known(view, variant):
        most = max(variant.managed_max, variant.current_instances)
        fit = room.fits(view, variant, [(o.component, o.more) for o in outs], instances=most)
        for out in outs:
            if fit[out.component.name] < out.more:
                detail = (
                    f"MaxInstanceCount {variant.managed_max} holds {fit[out.component.name]} of {out.more} more copies"
                )
                held[out.wish.target.target_id] = Held(Reason.MANAGED_MAX_INSTANCES, detail)
        outs = [Out(o.wish, o.component, o.component.desired_copies + fit[o.component.name]) for o in outs]
    asks = [copy_ask(o.wish, o.component, o.wanted) for o in outs if o.more > 0 and not is_busy(o.wish, held)]
    return _copies_move(NextWord.PLACE_COPIES, [*asks, *asked_again(view, variant, wishes)]) or _remove_copies(
        view, wishes, held
    )


# -- we move the instances --------------------------------------------------------------------------------------------


def _fixed(view: EndpointView, variant: Variant, wishes: Sequence[Wish], held: dict[TargetId, Held]) -> _Move | None:
    memory = view.state.variant(variant.name)
    instances_move = (
        memory.ask is not None or not view.in_service or variant.current_instances != variant.desired_instances
    )
    if not instances_move and (restore := _restore(view, variant, memory, wishes)):
        return restore
    outs = wished_outs(view, wishes, held)
    # Planned against the smaller of current and desired: an accepted instance scale-in must not be counted on.
    instances = min(variant.current_instances, variant.desired_instances)
    fit = room.fits(view, variant, [(o.component, o.more) for o in outs], instances=instances)
    asks = [ask for out in outs if (ask := _place_now(view, out, fit[out.component.name], memory, held)) is not None]
    asks += asked_again(view, variant, wishes)
    if asks and view.takes_copies:
        short = sum(o.more - fit[o.component.name] for o in outs)
        return _copies_move(NextWord.PLACE_COPIES, asks, f"; {short} more wait for instances" if short > 0 else "")
    short_of = [o.wish for o in outs if fit[o.component.name] < o.more]
    short_of += refused_for_want_of_room(view, wishes)
    if not view.takes_copies:
        # Somebody else is updating the endpoint: `rest` waits for it.
        for wish in short_of or [o.wish for o in outs]:
            held.setdefault(wish.target.target_id, Held(Reason.DEPLOYMENT_IN_PROGRESS, "the endpoint is being updated"))
        return None
    for wish in short_of:
        held.setdefault(wish.target.target_id, Held(Reason.PENDING_CAPACITY, "copies wait for their instances"))
    if not instances_move and (add := _add_instances(view, variant, memory, wishes, outs, short_of, held)):
        return add
    if remove := _remove_copies(view, wishes, held):
        return remove
    if instances_move:
        return _wait_for_instances(view, variant, memory) if short_of or memory.ask is not None else None
    return _release(view, variant, memory, wishes, held)


def _place_now(
    view: EndpointView, out: Out, fit: int, memory: VariantState, held: dict[TargetId, Held]
) -> CopyAsk | None:
    """Ask for the copies that fit now, unless it is better to wait and ask for all at once."""
    if is_busy(out.wish, held) or fit <= 0:
        return None
    if fit < out.more:
        instance_left_s = waits.instance_left_s(memory, view.now_s)
        copy_s = waits.usual_copy_s(out.wish.decision.state)
        if not part_now_pays(part=fit, whole=out.more, instance_left_s=instance_left_s, copy_s=copy_s):
            detail = (
                f"{fit} of {out.more} more copies fit now, but that would lock {out.component.name} for {copy_s:.0f} s "
                f"and instances are due in {instance_left_s:.0f} s: all at once"
            )
            held[out.wish.target.target_id] = Held(Reason.PENDING_CAPACITY, detail)
            return None
    return copy_ask(out.wish, out.component, out.component.desired_copies + fit)


def _add_instances(
    view: EndpointView,
    variant: Variant,
    memory: VariantState,
    wishes: Sequence[Wish],
    outs: Sequence[Out],
    short_of: Sequence[Wish],
    held: dict[TargetId, Held],
) -> _Move | None:
    """Raise the instance count once, to what all wished copies need."""
    wished = {w.component.name: w.decision.desired for w in short_of if w.component is not None}
    need = room.instances_for(view, variant, wished | {o.component.name: o.wanted for o in outs})
    missing = [w for w in wishes if is_missing_copies(w) and not is_hands_off(w)]
    if need is None:
        for wish in short_of:
            detail = f"one copy does not fit on an empty {variant.instance_type}: ask for less, or for larger instances"
            held[wish.target.target_id] = Held(Reason.NOT_SCALABLE_NOW, detail)
        return None
    if short_of:
        need = max(need, variant.desired_instances + 1)
    if need <= variant.desired_instances or not (short_of or missing):
        return None
    backoff = memory.backoff
    if backoff is not None and backoff.until_s > view.now_s:
        possible = variant.desired_instances if backoff.largest_possible is None else backoff.largest_possible
        if possible < need:
            for wish in [*short_of, *missing]:
                held[wish.target.target_id] = waits.held_by(backoff, view.now_s, f"{need} instances are needed")
        need = min(need, possible)
        if need <= variant.desired_instances:
            return None
    return _ask_instances(NextWord.ADD_INSTANCES, variant, need, ", so that the wished copies fit")


def _restore(view: EndpointView, variant: Variant, memory: VariantState, wishes: Sequence[Wish]) -> _Move | None:
    """Give back an instance whose removal hit running copies, unless they have found room elsewhere meanwhile."""
    if not memory.left_to_human or memory.watch_restore is None or (memory.watch_until_s or 0.0) <= view.now_s:
        return None
    if waits.is_waited_out(memory.backoff, view.now_s) or any(is_hands_off(w) for w in wishes):
        return None
    missing = any(c.is_stable and c.current_copies < c.desired_copies for c in view.on(variant))
    if not missing or variant.desired_instances >= memory.watch_restore:
        return None
    return _ask_instances(NextWord.ADD_INSTANCES, variant, memory.watch_restore, ": removing one hit running copies")


def _release(
    view: EndpointView, variant: Variant, memory: VariantState, wishes: Sequence[Wish], held: dict[TargetId, Held]
) -> _Move | None:
    """Give back one instance that has been empty for long enough, if nothing on the variant moves."""
    spare = room.spare_instances(view, variant)
    moving = any(not c.is_stable or c.current_copies != c.desired_copies for c in view.on(variant))
    watched = memory.watch_until_s is not None and memory.watch_until_s > view.now_s
    if spare <= 0 or moving or watched or not wishes or any(is_hands_off(w) for w in wishes):
        return None
    if memory.left_to_human:
        for wish in wishes:
            detail = f"{spare} instances of {variant.name} look empty: left to a person"
            held.setdefault(wish.target.target_id, Held(Reason.BLIND_INSTANCE_SCALE_IN, detail))
        return None
    if memory.empty_since_s is None or view.now_s - memory.empty_since_s < waits.release_hold_s(wishes):
        return None
    return _ask_instances(
        NextWord.REMOVE_INSTANCES, variant, variant.desired_instances - 1, f", {spare} are not needed"
    )


# -- both -------------------------------------------------------------------------------------------------------------


def _remove_copies(view: EndpointView, wishes: Sequence[Wish], held: dict[TargetId, Held]) -> _Move | None:
    """Fewer copies; never while the endpoint is being updated, whoever does it."""
    asks = []
    for wish in wishes:
        component = wish.component
        if component is None or wish.decision.desired >= component.desired_copies or is_busy(wish, held):
            continue
        if view.in_service:
            asks.append(copy_ask(wish, component, wish.decision.desired))
        else:
            detail = (
                f"endpoint {view.endpoint.name} is {view.endpoint.status}: nothing is removed until it is InService"
            )
            held[wish.target.target_id] = Held(Reason.NOT_SCALABLE_NOW, detail)
    return _copies_move(NextWord.REMOVE_COPIES, asks)


def _copies_move(word: NextWord, asks: Sequence[CopyAsk], more: str = "") -> _Move | None:
    if not asks:
        return None
    why = ", ".join(f"{a.component}: {a.before} → {a.wanted} copies" for a in asks) + more
    return _Move(word, why, 1, copies=tuple(asks))


def _ask_instances(
    word: NextWord, variant: Variant, wanted: int, why: str = "", *, target_id: TargetId | None = None
) -> _Move:
    asked = variant.desired_instances
    ask = InstanceAsk(variant.name, asked, wanted, target_id)
    return _Move(word, f"{variant.name}: {asked} → {wanted} instances{why}", 1, instances=ask)


def _wait_for_instances(view: EndpointView, variant: Variant, memory: VariantState) -> _Move:
    why = f"{variant.name}: {variant.current_instances} of {variant.desired_instances} instances serve"
    if any(is_coming(w) for w in view.wishes_on(variant)):
        # The moment at which a copy arrives must not get lost: the metric is per copy.
        return _Move(NextWord.WAIT_FOR_INSTANCES, why, next_grid_s(view.now_s))
    return _Move(NextWord.WAIT_FOR_INSTANCES, why, waits.instance_wait_s(memory, view.now_s))


def _hold_all(view: EndpointView, held: dict[TargetId, Held], reason: Reason, detail: str) -> None:
    for wish in view.wishes:
        held[wish.target.target_id] = Held(reason, detail)
