"""Overview: what is registered, how it stands, and what would be done about it now. Reads, decides, changes nothing.

The decision is the functions' own (`usecases/consider.py`), taken here with the same facts and the same memory. Reading the
metrics of a target is one GetMetricData call, which CloudWatch charges for; everything else is free.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quickstep import clock
from quickstep.errors import AwsRefused
from quickstep.gateways.autoscaling import live_target
from quickstep.gateways.registry import EndpointRecord, Registry
from quickstep.gateways.scaling_api import Call, pages
from quickstep.model.plan import EndpointPlan, Wish
from quickstep.model.targets import TargetId
from quickstep.settings import Settings
from quickstep.usecases.consider import Considered, consider
from quickstep.usecases.history import decision_record

SAGEMAKER = {"ServiceNamespace": "sagemaker"}
WAITED_OUT = frozenset({"QuotaExceeded", "InsufficientInstanceCapacity", "ForeignActor", "DeadlinePassed"})
"""Reasons for holding a wish that a person should know of."""


@dataclass(frozen=True, slots=True)
class TargetStanding:
    """One target. Counts are copies, or instances of a variant; None = not known."""

    resource_id: str
    dimension: str
    endpoint: str
    unit: str
    min_capacity: int
    max_capacity: int
    current: int | None = None
    asked: int | None = None
    """What SageMaker was asked for."""
    would: int | None = None
    """What is wished now; of a shadowed target what would be."""
    reason: str = ""
    detail: str = ""
    demand: float | None = None
    """Requests in flight over all copies."""
    hand: tuple[str, ...] = ()
    """What an operator has set: paused, pinned, shadowed, suspended."""
    ringing: tuple[str, ...] = ()
    """Alarms in ALARM."""
    held: str = ""
    """Why the wish is not carried out now."""
    attention: str = ""
    """What a person should look into; empty if nothing."""
    decision: Mapping[str, Any] | None = None
    """The whole decision record, as in the log."""


@dataclass(frozen=True, slots=True)
class EndpointStanding:
    """One endpoint with its targets."""

    endpoint: str
    status: str
    instances: Mapping[str, tuple[int, int]]
    """Variant → (in service, asked for)."""
    usd_per_hour: float | None
    loop_running: bool
    last_look_s: float | None
    next_look_at_s: float | None
    word: str
    """The next move: SETTLED, PLACE_COPIES, … ; UNREADABLE if the endpoint cannot be read."""
    why: str
    asks: tuple[str, ...]
    """What would be asked of SageMaker now, in words."""
    targets: tuple[TargetStanding, ...]


def registered(quickstep: Call, resource_ids: Iterable[str] = ()) -> list[Mapping[str, Any]]:
    """The registered targets as DescribeScalableTargets shows them; all, or those named."""
    wanted = list(resource_ids)
    named = {"ResourceIds": wanted} if wanted else {}
    return list(pages(quickstep, "DescribeScalableTargets", "ScalableTargets", {**SAGEMAKER, **named}))


def overview(
    rows: Iterable[Mapping[str, Any]], *, aas: Call, registry: Registry, settings: Settings
) -> Iterator[EndpointStanding]:
    """How the endpoints of the targets `rows` stand, one after the other, in order of their names.

    An endpoint that cannot be read is one of them, with the word UNREADABLE. Raises the errors of `refusals` where the
    registry or Application Auto Scaling cannot be read.
    """
    wanted: dict[str, set[str]] = {}
    for row in rows:
        where = registry.find(row["ResourceId"])
        if where is not None:
            wanted.setdefault(where[0], set()).add(row["ResourceId"])
    foreign = {
        row["ResourceId"]: words
        for row in pages(aas, "DescribeScalableTargets", "ScalableTargets", SAGEMAKER)
        if (words := live_target(row)) is not None
    }
    for endpoint in sorted(wanted):
        yield _standing(registry.read_endpoint(endpoint), wanted[endpoint], foreign, settings, registry)


def _standing(
    record: EndpointRecord, wanted: set[str], foreign: Mapping[str, str], settings: Settings, registry: Registry
) -> EndpointStanding:
    now_s = clock.now_s()
    loop = record.loop
    try:
        found = consider(record, now_s, settings, registry)
    except AwsRefused as error:
        targets = tuple(
            _registered_only(record, tid, str(error)) for tid in sorted(record.targets) if tid.resource_id in wanted
        )
        known = (loop.running, loop.last_look_s, loop.next_look_at_s)
        return EndpointStanding(record.endpoint, "unknown", {}, None, *known, "UNREADABLE", str(error), (), targets)
    endpoint, wishes = found.seen.endpoint, {wish.target.target_id: wish for wish in found.wishes}
    standings = []
    for tid in sorted(record.targets):
        if tid.resource_id not in wanted:
            continue
        if tid in wishes:
            standings.append(_of_wish(record, found, wishes[tid], foreign.get(tid.resource_id), now_s))
        else:
            standings.append(_registered_only(record, tid, found.seen.missing[tid].detail))
    price = next((t.hourly_cost_usd for t in record.targets.values() if t.hourly_cost_usd is not None), None)
    count = sum(variant.desired_instances for variant in endpoint.variants)
    return EndpointStanding(
        endpoint=record.endpoint,
        status=str(endpoint.status),
        instances={v.name: (v.current_instances, v.desired_instances) for v in endpoint.variants},
        usd_per_hour=None if price is None else round(price * count, 4),
        loop_running=loop.running,
        last_look_s=loop.last_look_s,
        next_look_at_s=found.plan.next_look_at_s if not loop.running else None,
        word=str(found.plan.word),
        why=found.plan.why,
        asks=_asks(found.plan),
        targets=tuple(standings),
    )


def _of_wish(
    record: EndpointRecord, found: Considered, wish: Wish, foreign: str | None, now_s: float
) -> TargetStanding:
    target, decision, plan = wish.target, wish.decision, found.plan
    held = plan.held.get(target.target_id)
    would = decision.steps[-1].inputs.get("would", decision.desired) if decision.steps else decision.desired
    attention = ""
    if foreign is not None and not target.shadow:
        attention = (
            f"{foreign}: Quickstep changes nothing while that is so; suspend it (quickstep migrate) or shadow this"
        )
    elif held is not None and str(held.reason) in WAITED_OUT:
        attention = held.detail
    facts = {"word": str(plan.word), "why": plan.why, "unread": list(found.seen.unread)}
    return TargetStanding(
        **_identity(record, target.target_id),
        current=decision.current,
        asked=decision.asked,
        would=int(would) if isinstance(would, int) else decision.desired,
        reason=str(held.reason if held is not None else decision.reason),
        detail=held.detail if held is not None else _telling(decision),
        demand=None if decision.demand is None else round(decision.demand, 2),
        hand=_hand(record, target.target_id, now_s),
        ringing=tuple(
            name
            for name in target.alarm_names
            if name in found.seen.alarms and found.seen.alarms[name].state == "ALARM"
        ),
        held="" if held is None else held.detail,
        attention=attention,
        decision=decision_record(
            decision, outcome="not carried out", outcome_detail="a look without hands", facts=facts
        ),
    )


def _telling(decision: Any) -> str:
    """The clause of the stage that bound the decision; else of the first stage that has anything to say."""
    bound = [step.detail for step in decision.steps if step.reason is decision.reason and step.detail]
    return bound[-1] if bound else next((step.detail for step in decision.steps if step.detail), "")


def _identity(record: EndpointRecord, tid: TargetId) -> dict[str, Any]:
    target = record.targets[tid]
    return {
        "resource_id": tid.resource_id,
        "dimension": str(tid.dimension),
        "endpoint": record.endpoint,
        "unit": tid.unit,
        "min_capacity": target.min_capacity,
        "max_capacity": target.max_capacity,
    }


def _registered_only(record: EndpointRecord, tid: TargetId, why: str) -> TargetStanding:
    hand = _hand(record, tid, clock.now_s())
    return TargetStanding(**_identity(record, tid), hand=hand, reason="Unreadable", detail=why, attention=why)


def _hand(record: EndpointRecord, tid: TargetId, now_s: float) -> tuple[str, ...]:
    target, state = record.targets[tid], record.state(tid)
    told = []
    if state.paused_until_s is not None and state.paused_until_s > now_s:
        until = "" if math.isinf(state.paused_until_s) else f" for {state.paused_until_s - now_s:.0f} s more"
        told.append(f"paused{until}")
    if state.pinned is not None:
        told.append(f"pinned at {state.pinned}")
    if target.shadow:
        told.append("shadowed")
    for name, is_set in (
        ("scale-in", target.suspension.scale_in),
        ("scale-out", target.suspension.scale_out),
        ("scheduled scaling", target.suspension.scheduled),
    ):
        if is_set:
            told.append(f"{name} suspended")
    return tuple(told)


def _asks(plan: EndpointPlan) -> tuple[str, ...]:
    told = [f"set {ask.component} from {ask.before} to {ask.wanted} copies" for ask in plan.copies]
    if plan.instances is not None:
        told.append(
            f"set variant {plan.instances.variant} from {plan.instances.before} to {plan.instances.wanted} instances"
        )
    return tuple(told)
