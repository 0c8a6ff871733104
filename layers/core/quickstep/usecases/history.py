"""History: every decision logged, every change and every new reason for not changing kept as a scaling activity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from quickstep import telemetry
from quickstep.capacity.progress import Note
from quickstep.gateways.registry import EndpointRecord, Registry
from quickstep.model.activity import Activity, ActivityStatus
from quickstep.model.decision import Decision
from quickstep.model.plan import EndpointPlan, Held, Wish
from quickstep.model.state import Ask, TargetState
from quickstep.model.targets import TargetId
from quickstep.reasons import Reason
from quickstep.usecases.gather import Gathered


def activity_id(now_s: float, number: int) -> str:
    """Sortable key of an activity: milliseconds, then its number within the look."""
    return f"{int(now_s * 1000):014d}-{number:03d}"


def decision_record(
    decision: Decision, *, outcome: str, outcome_detail: str = "", facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """One decision as a JSON-able record: inputs, each stage's step, reason, outcome. What `explain` prints."""
    return {
        "target": decision.target_id.resource_id,
        "dimension": str(decision.target_id.dimension),
        "at_s": round(decision.at_s, 3),
        "desired": decision.desired,
        "baseline": decision.baseline,
        "current": decision.current,
        "demand": None if decision.demand is None else round(decision.demand, 3),
        "reason": str(decision.reason),
        "detail": binding_detail(decision),
        "steps": [
            {
                "stage": s.stage,
                "recommended": s.recommended,
                "reason": str(s.reason),
                "detail": s.detail,
                "inputs": dict(sorted(s.inputs.items())),
            }
            for s in decision.steps
        ],
        "look_again_at_s": decision.look_again_at_s,
        "outcome": outcome,
        "outcome_detail": outcome_detail,
        **(facts or {}),
    }


def binding_detail(decision: Decision) -> str:
    """The clause of the stage whose reason is the decision's."""
    return next((s.detail for s in reversed(decision.steps) if s.reason is decision.reason and s.detail), "")


def record(
    registry: Registry,
    before: EndpointRecord,
    plan: EndpointPlan,
    wishes: tuple[Wish, ...],
    acted: Any,
    seen: Gathered,
    now_s: float,
) -> None:
    """Log every decision of a look; keep those that did nothing for a new reason as not-scaled activities."""
    refused: Mapping[TargetId, Held] = acted.refused or {}
    for number, wish in enumerate(wishes):
        target_id, decision = wish.target.target_id, wish.decision
        held = refused.get(target_id) or plan.held.get(target_id)
        outcome, detail = _outcome(decision, held, target_id in refused, acted.asked, plan)
        facts = {"word": str(plan.word), "why": plan.why, "unread": list(seen.unread)} | _instances(wish, seen)
        telemetry.record_decision(decision_record(decision, outcome=outcome, outcome_detail=detail, facts=facts))
        reason = held.reason if held is not None else decision.reason
        if decision.steps[-1].reason is Reason.SHADOW:
            if decision.state.shadow_wish != before.state(target_id).shadow_wish:
                told = Held(Reason.SHADOW, decision.steps[-1].detail)
                record_not_scaled(registry, target_id, told, now_s, number=number, decision=decision)
        elif (
            outcome in ("held", "refused") and str(reason) != before.state(target_id).last_reason and reason in TELLING
        ):
            record_not_scaled(
                registry,
                target_id,
                Held(reason, detail or binding_detail(decision)),
                now_s,
                number=number,
                decision=decision,
            )
    for target_id, held in sorted(seen.missing.items()):
        telemetry.record_decision(
            {
                "target": target_id.resource_id,
                "at_s": now_s,
                "reason": str(held.reason),
                "outcome": "refused",
                "outcome_detail": held.detail,
            }
        )


def last_reason(plan: EndpointPlan, refused: Mapping[TargetId, Held], decision: Decision) -> str:
    """The reason to remember, so that the same one is not recorded again at the next look."""
    held = refused.get(decision.target_id) or plan.held.get(decision.target_id)
    return str(held.reason if held is not None else decision.reason)


def open_activity(registry: Registry, wish: Wish, ask: Ask, unit: str, now_s: float) -> None:
    """Record that a change is being asked for."""
    decision = wish.decision
    registry.put_activity(
        Activity(
            activity_id=ask.activity_id,
            target_id=decision.target_id,
            start_s=now_s,
            status=ActivityStatus.IN_PROGRESS,
            description=f"Setting desired {unit} to {ask.wanted}.",
            cause=f"{decision.reason}: {binding_detail(decision)}",
            reason=str(decision.reason),
            before=ask.before,
            after=ask.wanted,
            decision=decision_record(decision, outcome="applied"),
        )
    )


def record_not_scaled(
    registry: Registry,
    target_id: TargetId,
    held: Held,
    now_s: float,
    status: ActivityStatus = ActivityStatus.UNFULFILLED,
    *,
    number: int = 0,
    decision: Decision | None = None,
) -> None:
    """Record that nothing was changed, and why."""
    registry.put_activity(
        Activity(
            activity_id=activity_id(now_s, 500 + number),
            target_id=target_id,
            start_s=now_s,
            end_s=now_s,
            status=status,
            description="Nothing was changed.",
            cause=f"{held.reason}: {held.detail}",
            reason=str(held.reason),
            before=decision.baseline if decision else None,
            after=decision.baseline if decision else None,
            not_scaled=True,
            decision=decision_record(decision, outcome="held", outcome_detail=held.detail) if decision else {},
        )
    )


def close_activities(
    registry: Registry, target_id: TargetId, state: TargetState, notes: tuple[Note, ...], now_s: float
) -> None:
    """Close the activity of an ask that was reached or given up."""
    tell(target_id.resource_id, notes, now_s)
    if state.ask is None or not state.ask.activity_id:
        return
    for note in notes:
        if note.what == "reached" or note.failed:
            status = ActivityStatus.FAILED if note.failed else ActivityStatus.SUCCESSFUL
            finish(registry, target_id, state.ask.activity_id, status, now_s, note.detail)


def finish(
    registry: Registry, target_id: TargetId, key: str, status: ActivityStatus, now_s: float, message: str
) -> None:
    """Close one activity."""
    registry.finish_activity(target_id, key, status=status, now_s=now_s, message=message)


def tell(subject: str, notes: tuple[Note, ...], now_s: float) -> None:
    """Log what a look noticed."""
    for note in notes:
        telemetry.record_note({"subject": subject, "at_s": round(now_s, 3), **asdict(note)})


def warn(message: str, **fields: Any) -> None:
    """Log something that is not right but does not stop us."""
    telemetry.logger().warning(message, extra=fields)


TELLING = frozenset(Reason) - {
    Reason.UNCHANGED,
    Reason.NOT_CONFIGURED,
    Reason.DEMAND,
    Reason.NO_TRAFFIC,
    Reason.STEP_ADJUSTMENT,
    Reason.TARGET_TRACKING,
    Reason.PENDING_CAPACITY,
    Reason.CHANGE_SETTLING,
    Reason.THROTTLED,
}
"""Reasons for doing nothing that are worth an entry in the history when they are new."""


def _outcome(
    decision: Decision, held: Held | None, was_refused: bool, asked: tuple[str, ...], plan: EndpointPlan
) -> tuple[str, str]:
    if was_refused and held is not None:
        return "refused", held.detail
    if any(a.target_id == decision.target_id for a in plan.copies) and asked:
        return "applied", "; ".join(asked)
    if plan.instances is not None and asked:
        return "applied", "; ".join(asked)
    if held is not None:
        return "held", held.detail
    return ("queued", plan.why) if decision.desired != decision.baseline else ("held", "")


def _instances(wish: Wish, seen: Gathered) -> dict[str, Any]:
    name = wish.component.variant if wish.component is not None else wish.target.target_id.resource_id.rsplit("/", 1)[1]
    variant = seen.endpoint.variant(name)
    if variant is None:
        return {}
    price = wish.target.hourly_cost_usd
    cost = round(price * variant.desired_instances, 4) if price is not None else None
    return {
        "instances": variant.current_instances,
        "instances_desired": variant.desired_instances,
        "cost_per_hour_usd": cost,
    }
