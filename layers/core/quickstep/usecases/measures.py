"""Measures: what a look tells CloudWatch, so that a person can see it on the dashboard and alarms can ring.

A custom metric is billed for every hour in which it gets a value. So counts and times are published when something
happens, and gauges only while something is under way: a component at rest publishes nothing. What a settled endpoint
looks like stands in the log, one decision a quarter of an hour, and the dashboard reads it from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quickstep import telemetry
from quickstep.capacity.progress import Note
from quickstep.gateways.registry import EndpointRecord
from quickstep.model.observation import Alarm, AlarmState, EndpointStatus
from quickstep.model.plan import EndpointPlan, Wish
from quickstep.model.state import EndpointState, TargetState
from quickstep.model.targets import TargetId
from quickstep.reasons import Reason
from quickstep.usecases.act import Acted
from quickstep.usecases.gather import Gathered

ANSWERED_S = 600.0
"""An ask that comes later after an alarm's transition answers something else: a hold, a back-off, more demand."""
STUCK_S = 3600.0
"""An endpoint that is being changed for so long, by whomever, keeps us from scaling: somebody should look."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look began with (`record`), saw, followed up (`states`, with their notes), planned and did."""

    record: EndpointRecord
    seen: Gathered
    endpoint_state: EndpointState
    """After following the instances' asks, before anything new was asked."""
    endpoint_notes: tuple[Note, ...]
    states: Mapping[TargetId, TargetState]
    """After following the copies' asks, before anything new was asked."""
    notes: Mapping[TargetId, tuple[Note, ...]]
    wishes: tuple[Wish, ...]
    plan: EndpointPlan
    acted: Acted
    now_s: float


def publish(look: Look) -> None:
    """Publish what this look has to tell; nothing if all is as it was."""
    times = [*_ready_times(look), *_answer_times(look)]
    for name, value_s in times:
        telemetry.count(name, "Seconds", round(value_s, 3))
    refused = len(look.acted.refused or {})
    if refused:
        telemetry.count("Refusals", value=refused)
    if is_stuck(look):
        telemetry.count("StuckUpdates")
    if is_under_way(look):
        _publish_counts(look)
    _publish_forecasts(look)
    used = budget_used_percent(look)
    if used is not None and (is_under_way(look) or used > 100.0):
        telemetry.count("BudgetUsedPercent", "Percent", used)


def is_under_way(look: Look) -> bool:
    """True if something was asked, refused or noticed, or what serves is not yet what is wished."""
    told = look.endpoint_notes or any(look.notes.values())
    if told or look.acted.asked or look.acted.refused:
        return True
    differ = any(w.decision.desired != w.decision.current for w in look.wishes)
    return differ or any(v.desired_instances != v.current_instances for v in look.seen.endpoint.variants)


def is_stuck(look: Look) -> bool:
    """True if an ask of ours has missed its deadline and still blocks, or the endpoint is being changed for an hour."""
    late = [note for notes in (look.endpoint_notes, *look.notes.values()) for note in notes]
    if any(note.reason is Reason.DEADLINE_PASSED for note in late):
        return True
    endpoint = look.seen.endpoint
    if endpoint.status is EndpointStatus.IN_SERVICE:
        busy = {c.name for c in look.seen.components if not c.is_stable}
        return any(_missed(s) for t, s in look.states.items() if t.component in busy)
    if endpoint.last_modified_s is not None and look.now_s - endpoint.last_modified_s >= STUCK_S:
        return True
    return any(_missed(s) for s in (*look.states.values(), *look.endpoint_state.variants.values()))


def budget_used_percent(look: Look) -> float | None:
    """What the instances cost of the tightest budget, in percent; above 100 if a wish was cut to keep it; None without one."""
    used = []
    for wish in look.wishes:
        budget, price = wish.target.budget_usd_per_hour, wish.target.hourly_cost_usd
        if budget is None or not price:
            continue
        instances = _desired_instances(wish, look)
        if instances is not None:
            cut = any(step.reason is Reason.BUDGET for step in wish.decision.steps)
            share = 100.0 * instances * price / budget
            used.append(max(share, CUT_PERCENT) if cut else share)
    return round(max(used), 1) if used else None


CUT_PERCENT = 101.0
"""Where a wish was cut although the instances in use are below the budget: one more would be above it."""


def _missed(state: object) -> bool:
    backoff = getattr(state, "backoff", None)
    return backoff is not None and backoff.reason == str(Reason.DEADLINE_PASSED)


def _publish_counts(look: Look) -> None:
    for wish in look.wishes:
        decision, target_id = wish.decision, wish.target.target_id
        if target_id.component is not None:
            telemetry.gauges(
                {"DesiredCopies": (decision.desired, "Count"), "CurrentCopies": (decision.current, "Count")},
                {"Target": target_id.resource_id},
            )
    endpoint = look.seen.endpoint
    telemetry.gauges(
        {
            "DesiredInstances": (sum(v.desired_instances for v in endpoint.variants), "Count"),
            "CurrentInstances": (sum(v.current_instances for v in endpoint.variants), "Count"),
            "CostPerHourUsd": (_cost_per_hour_usd(look), "None"),
        },
        {"Endpoint": endpoint.name},
    )


def _publish_forecasts(look: Look) -> None:
    """How good each forecasting policy has been, whenever it has been judged anew: once an hour."""
    for target_id, state in sorted(look.states.items()):
        before = look.record.state(target_id).forecasts
        for name, forecast in sorted(state.forecasts.items()):
            skill = forecast.skill
            if skill is not None and (name not in before or before[name].learned_at_s != forecast.learned_at_s):
                telemetry.gauges(
                    {"ForecastSkillPercent": (round(100 * skill, 1), "Percent")}, {"Target": target_id.resource_id}
                )


def _cost_per_hour_usd(look: Look) -> float | None:
    """$/h of the endpoint's instances; None if the price of one of its variants is not known."""
    prices: dict[str, float] = {}
    for wish in look.wishes:
        if wish.target.hourly_cost_usd is not None:
            prices[_variant_name(wish)] = wish.target.hourly_cost_usd
    variants = look.seen.endpoint.variants
    if any(v.desired_instances and v.name not in prices for v in variants):
        return None
    return round(sum(prices.get(v.name, 0.0) * v.desired_instances for v in variants), 4)


def _desired_instances(wish: Wish, look: Look) -> int | None:
    variant = look.seen.endpoint.variant(_variant_name(wish))
    return None if variant is None else variant.desired_instances


def _variant_name(wish: Wish) -> str:
    return wish.component.variant if wish.component is not None else wish.target.target_id.resource_id.rsplit("/", 1)[1]


# -- time in each phase: alarm -> ask -> instances -> copies --------------------------------------------------------------


def _ready_times(look: Look) -> list[tuple[str, float]]:
    """Seconds from the ask to its fulfilment, of every addition that this look found fulfilled."""
    found = []
    for name in sorted(look.record.endpoint_state.variants):
        before, after = look.record.endpoint_state.variant(name).ask, look.endpoint_state.variant(name)
        told = any(n.what == "instances" and not n.failed for n in look.endpoint_notes)
        if before is not None and after.ask is None and before.wanted > before.before and told:
            found.append(("AskToInstancesSeconds", look.now_s - before.at_s))
    for target_id, notes in sorted(look.notes.items()):
        ask = look.record.state(target_id).ask
        if ask is not None and ask.wanted > ask.before and any(n.what == "reached" for n in notes):
            what = "AskToCopiesSeconds" if ask.what == "copies" else "AskToInstancesSeconds"
            found.append((what, look.now_s - ask.at_s))
    return found


def _answer_times(look: Look) -> list[tuple[str, float]]:
    """Seconds from the newest high alarm's transition to the first scale-out that is asked for after it."""
    if not look.acted.asked or not look.plan.scales_out:
        return []
    alarms = [alarm for observation in look.seen.observations.values() for alarm in observation.alarms]
    since_s = max((alarm.since_s for alarm in alarms if _is_high(alarm)), default=None)
    asked_s = look.record.endpoint_state.scale_out_asked_s
    if since_s is None or look.now_s - since_s > ANSWERED_S or (asked_s is not None and asked_s >= since_s):
        return []
    return [("AlarmToAskSeconds", max(0.0, look.now_s - since_s))]


def _is_high(alarm: Alarm) -> bool:
    return alarm.above and alarm.state is AlarmState.ALARM
