"""The next move of an endpoint: copies now, instances first, wait, take away, or be done.

One endpoint, one move at a time. Out: instances, wait, verify, then copies. In: copies, wait, then one empty instance.
With ManagedInstanceScaling ENABLED SageMaker moves the instances itself; then copies are asked for at once. A component
that cannot be served (quota, shortage, a busy component) never keeps the others from being served.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quickstep.capacity import startup
from quickstep.capacity.instance_types import InstanceCapacity, capacity_of
from quickstep.capacity.placement import CopyGroup, copies_per_instance, copies_that_fit, instances_needed, worst_case_instances
from quickstep.model.loop import NextWord
from quickstep.model.observation import Alarm, AlarmState, Component, Endpoint, EndpointStatus, Variant
from quickstep.model.plan import CopyAsk, EndpointPlan, Held, InstanceAsk, Wish
from quickstep.model.state import Backoff, EndpointState, VariantState
from quickstep.model.targets import TargetId
from quickstep.reasons import Reason

TICK_S = 10
SOON_S = 60.0
"""A timer due within this keeps the loop awake; a later one is left to Reconcile."""
AUDIT_S = 900.0
"""Every settled endpoint is looked at again at least this often."""
FROZEN = {
    EndpointStatus.SYSTEM_UPDATING: Reason.DEPLOYMENT_IN_PROGRESS,
    EndpointStatus.ROLLING_BACK: Reason.DEPLOYMENT_IN_PROGRESS,
    EndpointStatus.CREATING: Reason.DEPLOYMENT_IN_PROGRESS,
    EndpointStatus.UNKNOWN: Reason.NOT_SCALABLE_NOW,
}
DEAD = {
    EndpointStatus.FAILED,
    EndpointStatus.DELETING,
    EndpointStatus.OUT_OF_SERVICE,
    EndpointStatus.UPDATE_ROLLBACK_FAILED,
}


@dataclass(frozen=True, slots=True)
class EndpointView:
    """All that the plan looks at. `components` are all of the endpoint's, registered with Quickstep or not."""

    endpoint: Endpoint
    state: EndpointState
    components: tuple[Component, ...]
    wishes: tuple[Wish, ...]
    now_s: float
    alarms: Mapping[str, Alarm] = field(default_factory=dict)


def plan_endpoint(view: EndpointView) -> EndpointPlan:
    """Return the endpoint's next move. Pure; the same view gives the same plan."""
    held: dict[TargetId, Held] = {}
    status = view.endpoint.status
    if status in DEAD:
        why = f"endpoint {view.endpoint.name} is {status}: nothing can be scaled until a person has seen to it"
        _hold_all(view, held, Reason.NOT_SCALABLE_NOW, why)
        return EndpointPlan(NextWord.SETTLED, TICK_S, why, held=held, next_look_at_s=view.now_s + AUDIT_S)
    if status in FROZEN or _is_deploying(view):
        why = f"endpoint {view.endpoint.name} is {status}: frozen until it is InService"
        _hold_all(view, held, FROZEN.get(status, Reason.DEPLOYMENT_IN_PROGRESS), why)
        return EndpointPlan(NextWord.WAIT, 60, why, held=held)

    moves = [_variant_move(view, variant, held) for variant in view.endpoint.variants]
    acting = [m for m in moves if m is not None]
    empty = tuple(v.name for v in view.endpoint.variants if _surplus(view, v) > 0)
    for word in _ORDER:
        chosen = [m for m in acting if m.word is word]
        if chosen:
            copies = tuple(ask for m in chosen for ask in m.copies)
            first = chosen[0]
            return EndpointPlan(first.word, first.wait_s, first.why, copies, first.instances, held, empty_variants=empty)
    return _rest(view, held, empty)


def next_grid_s(now_s: float, step_s: int = TICK_S) -> int:
    """Whole seconds until the next multiple of `step_s`, at least 1: ticks sit on the metrics' grid."""
    return max(1, math.ceil((math.floor(now_s / step_s) + 1) * step_s - now_s))


def instance_capacity(variant: Variant) -> InstanceCapacity | None:
    return capacity_of(variant.instance_type)


def copies_per_instance_of(component: Component, variant: Variant | None) -> int | None:
    """How many copies of `component` one instance of its variant holds; None if not known."""
    capacity = capacity_of(variant.instance_type) if variant else None
    if capacity is None or component.requirements is None:
        return None
    return copies_per_instance(component.requirements, capacity) or None


def part_now_pays(instance_left_s: float, copy_s: float) -> bool:
    """True if placing the copies that fit now does not delay the rest.

    An ask locks the component for `copy_s`. The rest can be asked when the instances are there, in `instance_left_s`,
    and not before the lock ends: with a lock shorter than the wait, part now costs the rest nothing.
    """
    return copy_s <= instance_left_s


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
    memory = view.state.variant(variant.name)
    own = [w for w in view.wishes if w.component is None and w.target.target_id.resource_id.endswith(f"/{variant.name}")]
    if own:
        return _instances_as_target(view, variant, memory, own[0], held)
    wishes = [w for w in view.wishes if w.component is not None and w.component.variant == variant.name]
    if variant.managed or memory.managed:
        return _managed(view, wishes, held)
    return _fixed(view, variant, memory, wishes, held)


def _instances_as_target(
    view: EndpointView, variant: Variant, memory: VariantState, wish: Wish, held: dict[TargetId, Held]
) -> _Move | None:
    target_id, wanted = wish.target.target_id, wish.decision.desired
    if view.endpoint.status is not EndpointStatus.IN_SERVICE:
        held[target_id] = Held(Reason.NOT_SCALABLE_NOW, f"endpoint {view.endpoint.name} is {view.endpoint.status}")
        return _Move(NextWord.WAIT_FOR_INSTANCES, held[target_id].detail, _instance_wait_s(view.now_s, memory))
    if wanted > variant.desired_instances:
        wanted = _allowed(view, memory.backoff, wanted, variant.desired_instances, target_id, held)
        if wanted <= variant.desired_instances:
            return None
        why = f"{variant.name}: {variant.desired_instances} → {wanted} instances"
        ask = InstanceAsk(variant.name, variant.desired_instances, wanted, target_id)
        return _Move(NextWord.ADD_INSTANCES, why, 1, instances=ask)
    if wanted < variant.desired_instances:
        if variant.current_instances != variant.desired_instances:
            held[target_id] = Held(Reason.PENDING_CAPACITY, "instances are still moving")
            return _Move(NextWord.WAIT_FOR_INSTANCES, held[target_id].detail, _instance_wait_s(view.now_s, memory))
        why = f"{variant.name}: {variant.desired_instances} → {wanted} instances"
        ask = InstanceAsk(variant.name, variant.desired_instances, wanted, target_id)
        return _Move(NextWord.REMOVE_INSTANCES, why, 1, instances=ask)
    if memory.ask is not None and variant.current_instances < variant.desired_instances:
        return _Move(NextWord.WAIT_FOR_INSTANCES, "instances are coming", _instance_wait_s(view.now_s, memory))
    return None


def _managed(view: EndpointView, wishes: Sequence[Wish], held: dict[TargetId, Held]) -> _Move | None:
    """SageMaker adds instances for copies that do not fit, and releases empty ones: ask for the copies, and watch."""
    outs, ins = [], []
    for wish in wishes:
        assert wish.component is not None
        if _is_busy(view, wish, held):
            continue
        wanted, asked = wish.decision.desired, wish.component.desired_copies
        if wanted > asked:
            wanted = _allowed(view, wish.decision.state.backoff, wanted, asked, wish.target.target_id, held)
            if wanted > asked:
                outs.append(_copy_ask(wish, wanted))
        elif wanted < asked:
            ins.append(_copy_ask(wish, wanted))
    return _copies_move(NextWord.PLACE_COPIES, outs) or _copies_move(NextWord.REMOVE_COPIES, ins)


def _fixed(
    view: EndpointView, variant: Variant, memory: VariantState, wishes: Sequence[Wish], held: dict[TargetId, Held]
) -> _Move | None:
    capacity = instance_capacity(variant)
    outs = [w for w in _by_priority(wishes) if w.component and w.decision.desired > w.component.desired_copies]
    settled_endpoint = view.endpoint.status is EndpointStatus.IN_SERVICE
    instance_wait = memory.ask is not None or not settled_endpoint or variant.current_instances != variant.desired_instances
    if outs:
        fits = _fits_now(view, variant, outs, capacity)
        placeable = _placeable(view, variant, memory, outs, fits, held)
        if placeable and settled_endpoint:
            return _copies_move(NextWord.PLACE_COPIES, placeable)
        short = [w for w in outs if w.component and fits[w.component.name] < w.decision.desired - w.component.desired_copies]
        for wish in short:
            held.setdefault(wish.target.target_id, Held(Reason.PENDING_CAPACITY, "copies wait for their instances"))
        if short and not instance_wait:
            move = _add_instances(view, variant, memory, wishes, short, capacity, held)
            if move:
                return move
    if instance_wait and (outs or memory.ask is not None):
        left = f"{variant.name}: {variant.current_instances} of {variant.desired_instances} instances serve"
        return _Move(NextWord.WAIT_FOR_INSTANCES, left, _instance_wait_s(view.now_s, memory))
    if instance_wait or outs:
        return None
    return _scale_in_fixed(view, variant, memory, wishes, held)


def _placeable(
    view: EndpointView,
    variant: Variant,
    memory: VariantState,
    outs: Sequence[Wish],
    fits: Mapping[str, int],
    held: dict[TargetId, Held],
) -> list[CopyAsk]:
    asks = []
    for wish in outs:
        component = wish.component
        assert component is not None
        room = fits[component.name]
        wanted = min(wish.decision.desired, component.desired_copies + room)
        if _is_busy(view, wish, held) or room <= 0:
            continue
        wanted = _allowed(view, wish.decision.state.backoff, wanted, component.desired_copies, wish.target.target_id, held)
        if wanted <= component.desired_copies:
            continue
        if wanted < wish.decision.desired:
            instance_left_s = _instance_left_s(view.now_s, memory)
            copy_s = startup.quantile_s(wish.decision.state.startup_s, 0.5, startup.COPY_DEFAULT_S)
            if not part_now_pays(instance_left_s, copy_s):
                detail = f"instances are due in {instance_left_s:.0f} s, a part now would lock the component for {copy_s:.0f} s"
                held[wish.target.target_id] = Held(Reason.PENDING_CAPACITY, detail)
                continue
        asks.append(_copy_ask(wish, wanted))
    return asks


def _add_instances(
    view: EndpointView,
    variant: Variant,
    memory: VariantState,
    wishes: Sequence[Wish],
    short: Sequence[Wish],
    capacity: InstanceCapacity | None,
    held: dict[TargetId, Held],
) -> _Move | None:
    need = _need(view, variant, capacity, wished={w.component.name: w.decision.desired for w in wishes if w.component})
    if need is None:
        for wish in short:
            held[wish.target.target_id] = Held(
                Reason.NOT_SCALABLE_NOW, f"one copy of {wish.component.name} does not fit on {variant.instance_type}"
            )
        return None
    need = max(need, variant.desired_instances + 1)
    if memory.backoff is not None and memory.backoff.until_s > view.now_s:
        possible = memory.backoff.largest_possible
        need = min(need, possible) if possible is not None else variant.desired_instances
        if need <= variant.desired_instances:
            for wish in short:
                held[wish.target.target_id] = Held(
                    Reason(memory.backoff.reason), f"next try in {memory.backoff.until_s - view.now_s:.0f} s"
                )
            return None
    why = f"{variant.name}: {variant.desired_instances} → {need} instances, so that the wished copies fit"
    return _Move(NextWord.ADD_INSTANCES, why, 1, instances=InstanceAsk(variant.name, variant.desired_instances, need))


def _scale_in_fixed(
    view: EndpointView, variant: Variant, memory: VariantState, wishes: Sequence[Wish], held: dict[TargetId, Held]
) -> _Move | None:
    ins = [
        _copy_ask(w, w.decision.desired)
        for w in wishes
        if w.component and w.decision.desired < w.component.desired_copies and not _is_busy(view, w, held)
    ]
    if ins:
        return _copies_move(NextWord.REMOVE_COPIES, ins)
    if memory.watch_restore is not None and memory.watch_until_s is not None and view.now_s < memory.watch_until_s:
        dipped = any(c.current_copies < c.desired_copies for c in _on(view, variant))
        if dipped and variant.desired_instances < memory.watch_restore:
            why = f"{variant.name}: copies dipped after an instance was removed; restoring {memory.watch_restore} instances"
            ask = InstanceAsk(variant.name, variant.desired_instances, memory.watch_restore)
            return _Move(NextWord.ADD_INSTANCES, why, 1, instances=ask)
        return None
    surplus = _surplus(view, variant)
    moving = any(not c.is_stable or c.current_copies != c.desired_copies for c in _on(view, variant))
    if surplus <= 0 or moving or not wishes:
        return None
    if memory.left_to_human:
        for wish in wishes:
            held.setdefault(
                wish.target.target_id,
                Held(Reason.BLIND_INSTANCE_SCALE_IN, f"{surplus} instances of {variant.name} look empty: left to a person"),
            )
        return None
    hold_s = max(w.target.guards.instance_release_hold_s for w in wishes)
    if memory.empty_since_s is None or view.now_s - memory.empty_since_s < hold_s:
        return None
    why = f"{variant.name}: {variant.desired_instances} → {variant.desired_instances - 1} instances, {surplus} are not needed"
    ask = InstanceAsk(variant.name, variant.desired_instances, variant.desired_instances - 1)
    return _Move(NextWord.REMOVE_INSTANCES, why, 1, instances=ask)


def _rest(view: EndpointView, held: dict[TargetId, Held], empty: tuple[str, ...]) -> EndpointPlan:
    """Nothing to do now: wait for what is coming, for a timer that is due soon, or be settled."""
    now_s = view.now_s
    tick = next_grid_s(now_s)
    coming = [
        w.component.name
        for w in view.wishes
        if w.component and (not w.component.is_stable or (w.decision.state.ask is not None and w.component.current_copies != w.component.desired_copies))
    ]
    if coming:
        why = f"{', '.join(sorted(coming))}: copies are on their way"
        return EndpointPlan(NextWord.WAIT, tick, why, held=held, empty_variants=empty)
    if view.endpoint.status is not EndpointStatus.IN_SERVICE:
        why = f"endpoint {view.endpoint.name} is {view.endpoint.status}"
        return EndpointPlan(NextWord.WAIT, max(tick, 20), why, held=held, empty_variants=empty)
    hot = [w for w in view.wishes if w.decision.hot and not _is_blocked(held.get(w.target.target_id))]
    if hot:
        why = f"{', '.join(sorted(str(w.target.target_id) for w in hot))}: the high alarm is in ALARM and there is room above"
        return EndpointPlan(NextWord.WAIT, tick, why, held=held, empty_variants=empty)
    timers = _timers(view, empty)
    first = min(timers, default=now_s + AUDIT_S)
    if first <= now_s + SOON_S:
        wait_s = max(tick, math.ceil(first - now_s))
        return EndpointPlan(NextWord.WAIT, wait_s, f"a hold ends in {first - now_s:.0f} s", held=held, empty_variants=empty)
    why = "wish equals current and nothing is pending"
    return EndpointPlan(
        NextWord.SETTLED, tick, why, held=held, next_look_at_s=min(first, now_s + AUDIT_S), empty_variants=empty
    )


def _timers(view: EndpointView, empty: tuple[str, ...]) -> list[float]:
    timers = [w.decision.look_again_at_s for w in view.wishes if w.decision.look_again_at_s is not None]
    for wish in view.wishes:
        backoff = wish.decision.state.backoff
        if backoff is not None and backoff.until_s > view.now_s:
            timers.append(backoff.until_s)
        # The low alarm tells its transition only once; while it stays, look again twice per hold.
        if wish.decision.desired > wish.target.min_capacity and _a_low_alarm_stays(view, wish):
            hold_s = next((p.scale_in_hold_s for p in wish.target.policies if hasattr(p, "scale_in_hold_s")), 300.0)
            timers.append(view.now_s + max(SOON_S + TICK_S, hold_s / 2))
    hold_s = max((w.target.guards.instance_release_hold_s for w in view.wishes), default=120.0)
    for variant in view.endpoint.variants:
        memory = view.state.variant(variant.name)
        if memory.backoff is not None and memory.backoff.until_s > view.now_s:
            timers.append(memory.backoff.until_s)
        if variant.name in empty and not memory.left_to_human and not (variant.managed or memory.managed):
            timers.append((memory.empty_since_s or view.now_s) + hold_s)
        if memory.watch_until_s is not None and memory.watch_until_s > view.now_s:
            timers.append(view.now_s + SOON_S / 2)
    return timers


def _a_low_alarm_stays(view: EndpointView, wish: Wish) -> bool:
    alarms = (view.alarms.get(name) for name in wish.target.alarm_names)
    return any(a is not None and a.state is AlarmState.ALARM and not a.above for a in alarms)


def _surplus(view: EndpointView, variant: Variant) -> int:
    """Instances beyond what the worst placement of all present and wished copies needs; 0 if not known or not ours."""
    memory = view.state.variant(variant.name)
    on = _on(view, variant)
    if variant.managed or memory.managed or not on or any(w.component is None for w in view.wishes):
        return 0
    groups = _groups(view, variant, wished={w.component.name: w.decision.desired for w in view.wishes if w.component})
    capacity = instance_capacity(variant)
    if groups is None or capacity is None:
        return 0
    worst = worst_case_instances(groups, capacity)
    return 0 if worst is None else max(0, variant.desired_instances - max(1, worst))


def _need(
    view: EndpointView, variant: Variant, capacity: InstanceCapacity | None, wished: Mapping[str, int]
) -> int | None:
    groups = _groups(view, variant, wished)
    if groups is None or capacity is None:
        # Sizes are not known: one copy an instance is the safe reading.
        return sum(max(c.desired_copies, c.current_copies, wished.get(c.name, 0)) for c in _on(view, variant))
    return instances_needed(groups, capacity)


def _groups(view: EndpointView, variant: Variant, wished: Mapping[str, int]) -> list[CopyGroup] | None:
    groups = []
    for component in _on(view, variant):
        if component.base_component is not None:
            continue
        if component.requirements is None:
            return None
        copies = max(component.desired_copies, component.current_copies, wished.get(component.name, 0))
        groups.append(CopyGroup(component.name, copies, component.requirements, component.placement))
    return groups


def _fits_now(
    view: EndpointView, variant: Variant, outs: Sequence[Wish], capacity: InstanceCapacity | None
) -> dict[str, int]:
    # Planned against the smaller of current and desired: an accepted instance scale-in must not be counted on.
    instances = min(variant.current_instances, variant.desired_instances)
    placed = _groups(view, variant, {})
    extra = [(w, w.decision.desired - w.component.desired_copies) for w in outs if w.component]
    if placed is None or capacity is None:
        free = instances - sum(max(c.desired_copies, c.current_copies) for c in _on(view, variant))
        found = {}
        for wish, more in extra:
            found[wish.component.name] = max(0, min(more, free))
            free -= found[wish.component.name]
        return found
    wanted = [
        CopyGroup(w.component.name, more, w.component.requirements, w.component.placement)
        for w, more in extra
        if w.component.requirements is not None
    ]
    return copies_that_fit(placed, wanted, instances, capacity)


def _is_busy(view: EndpointView, wish: Wish, held: dict[TargetId, Held]) -> bool:
    component = wish.component
    assert component is not None
    if component.rolling_update:
        held[wish.target.target_id] = Held(Reason.DEPLOYMENT_IN_PROGRESS, f"{component.name} is being updated")
        return True
    if not component.is_stable:
        if wish.decision.desired != component.desired_copies:
            detail = f"{component.name} is {component.status}; the newest wish is asked when it is stable"
            held[wish.target.target_id] = Held(Reason.NOT_SCALABLE_NOW, detail)
        return True
    return False


def _allowed(
    view: EndpointView, backoff: Backoff | None, wanted: int, asked: int, target_id: TargetId, held: dict[TargetId, Held]
) -> int:
    """`wanted`, made smaller while a refusal is waited out."""
    if backoff is None or backoff.until_s <= view.now_s:
        return wanted
    possible = asked if backoff.largest_possible is None else backoff.largest_possible
    if wanted > possible:
        held[target_id] = Held(
            Reason(backoff.reason), f"{possible} possible now, next try in {backoff.until_s - view.now_s:.0f} s"
        )
    return min(wanted, possible)


def _is_blocked(held: Held | None) -> bool:
    return held is not None and held.reason in (
        Reason.QUOTA_EXCEEDED,
        Reason.INSUFFICIENT_CAPACITY,
        Reason.DEADLINE_PASSED,
        Reason.NOT_SCALABLE_NOW,
        Reason.COMPONENT_NOT_FOUND,
    )


def _is_deploying(view: EndpointView) -> bool:
    """True while someone else's change runs on the endpoint: blue/green, canary baking, traffic shifting."""
    return any(
        status in ("Baking", "ActivatingTraffic", "Deleting") for v in view.endpoint.variants for status in v.statuses
    )


def _instance_left_s(now_s: float, memory: VariantState) -> float:
    usual_s = startup.quantile_s(memory.startup_s, 0.5, startup.INSTANCE_DEFAULT_S)
    return usual_s if memory.ask is None else max(0.0, memory.ask.at_s + usual_s - now_s)


def _instance_wait_s(now_s: float, memory: VariantState) -> int:
    """20 s when the instances may come any moment, else as long as is left of the usual time, at most 60 s."""
    usual_s = 0.7 * startup.quantile_s(memory.startup_s, 0.5, startup.INSTANCE_DEFAULT_S)
    asked_s = memory.ask.at_s if memory.ask is not None else now_s
    return int(min(60.0, max(20.0, asked_s + usual_s - now_s)))


def _on(view: EndpointView, variant: Variant) -> list[Component]:
    return [c for c in view.components if c.variant == variant.name]


def _by_priority(wishes: Sequence[Wish]) -> list[Wish]:
    return sorted(wishes, key=lambda w: (-w.target.priority, w.target.target_id))


def _copy_ask(wish: Wish, wanted: int) -> CopyAsk:
    assert wish.component is not None
    return CopyAsk(wish.target.target_id, wish.component.name, wish.component.desired_copies, wanted)


def _copies_move(word: NextWord, asks: Sequence[CopyAsk]) -> _Move | None:
    if not asks:
        return None
    why = ", ".join(f"{a.component}: {a.before} → {a.wanted} copies" for a in asks)
    return _Move(word, why, 1, copies=tuple(asks))


def _hold_all(view: EndpointView, held: dict[TargetId, Held], reason: Reason, detail: str) -> None:
    for wish in view.wishes:
        held[wish.target.target_id] = Held(reason, detail)
