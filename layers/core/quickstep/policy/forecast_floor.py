"""Forecast floor: capacity for the hour that comes, in service before it begins, and only while forecasts are worth it.

`PredictiveScaling` as Application Auto Scaling documents it: capacity for an hour's forecast is asked for before the hour
begins (`SchedulingBufferTime`, and here never later than a start-up takes), stands until it ends, and scales nothing in.
What is added: a floor that has been no better than "like the hour before" falls silent until it is again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from quickstep.model.decision import Step
from quickstep.model.forecast import HOUR_S, Forecast
from quickstep.model.state import TargetState
from quickstep.model.targets import PredictivePolicy, ScalableTarget
from quickstep.policy.demand import ROUNDING
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "forecast"
FEWEST_JUDGED_H = 12
"""With fewer hours judged nobody knows whether the forecasts are any good."""
NEGLECTED = 0.05
STALE_S = 6 * HOUR_S
"""An older forecast is not scaled by (Application Auto Scaling makes a new one every six hours)."""
LOOK_S = 60.0
"""The look that asks may come so late: Reconcile runs once a minute."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What a forecast asks for at one moment."""

    hour_s: float
    """Start of the hour that asks for most."""
    load: float
    needed: int
    capacity: int
    """`needed` within the range of the target."""
    most: int
    """The maximum while this hour counts."""


def apply(facts: Facts, recommended: int) -> Step:
    """Raise to the largest floor among the target's forecasting policies; what each of them says is in `inputs`."""
    policies = [policy for policy in facts.target.policies if isinstance(policy, PredictivePolicy)]
    if not policies:
        return Step(STAGE, recommended, Reason.NOT_CONFIGURED)
    steps = [recommend(policy, facts) for policy in policies]
    inputs: dict[str, object] = {
        step.stage: {"reason": str(step.reason), "detail": step.detail, **step.inputs} for step in steps
    }
    look_again_s = min((s.look_again_at_s for s in steps if s.look_again_at_s is not None), default=None)
    floors = [step for step in steps if step.reason is Reason.FORECAST]
    top = max(floors, key=lambda step: step.recommended) if floors else steps[0]
    detail = "; ".join(f"{step.stage}: {step.detail}" for step in (top, *(s for s in steps if s is not top)))
    if top in floors and top.recommended > recommended:
        return Step(
            STAGE,
            top.recommended,
            Reason.FORECAST,
            detail,
            {**inputs, "winner": top.stage},
            look_again_at_s=look_again_s,
        )
    # Below what is wanted anyway a floor changes nothing; whether one is silent is worth saying.
    reason = Reason.UNCHANGED if top in floors else top.reason
    return Step(STAGE, recommended, reason, detail, inputs, look_again_at_s=look_again_s)


def recommend(policy: PredictivePolicy, facts: Facts) -> Step:
    """The floor of one policy as a step with reason Forecast; with any other reason it has no say."""
    target, baseline, now_s = facts.target, facts.baseline, facts.now_s
    forecast = facts.state.forecasts.get(policy.name)
    one = "copy" if target.target_id.component is not None else "instance"
    floor = None if forecast is None else floor_at(policy, forecast, target, now_s)
    silent_as = Reason.FORECAST_SILENT if policy.scales else Reason.FORECAST_ONLY
    if forecast is None or floor is None:
        return Step(policy.name, 0, silent_as, _why_none(forecast))
    inputs: dict[str, object] = {
        "hour_s": floor.hour_s,
        "load": floor.load,
        "floor": floor.capacity,
        "ahead_s": ahead_s(policy, forecast),
        "hours_judged": forecast.hours,
        "loss": forecast.loss,
        "persistence_loss": forecast.persistence_loss,
    }
    words = (
        f"{_clock(floor.hour_s)} is forecast at {floor.load:.4g}, which needs {floor.needed} at "
        f"{forecast.load_per_capacity:.4g} per {one}"
    )
    if floor.capacity != floor.needed:
        words += f", within its range {floor.capacity}"
    silent = why_silent(forecast, now_s)
    if not policy.scales:
        detail = f"forecasts only: {words}; {silent or _record_of(forecast)}"
        return Step(policy.name, 0, silent_as, detail, inputs)
    if silent is not None:
        return Step(policy.name, 0, silent_as, f"silent: {silent}; {words}", inputs, _later(now_s, forecast.due_s))
    detail = f"{words}; asked for {ahead_s(policy, forecast):.0f} s ahead; {_record_of(forecast)}"
    changes_s = _next_change_s(policy, forecast, target, baseline, now_s)
    return Step(policy.name, floor.capacity, Reason.FORECAST, detail, inputs, _later(now_s, forecast.due_s, changes_s))


def floor_at(policy: PredictivePolicy, forecast: Forecast, target: ScalableTarget, now_s: float) -> Floor | None:
    """The most that any hour asks for which is running or begins within the time that capacity takes; None if not known."""
    per_capacity = forecast.load_per_capacity
    if per_capacity is None or per_capacity <= 0:
        return None
    best: Floor | None = None
    last_s = now_s + ahead_s(policy, forecast)
    hour_s = math.floor(now_s / HOUR_S) * HOUR_S
    while hour_s <= last_s:
        load = forecast.load_of(hour_s)
        if load is not None:
            needed = capacity_for(load, per_capacity)
            most = most_capacity(needed, target.max_capacity, policy.max_capacity_buffer)
            if best is None or needed > best.needed:
                best = Floor(hour_s, load, needed, max(target.min_capacity, min(needed, most)), most)
        hour_s += HOUR_S
    return best


def ahead_s(policy: PredictivePolicy, forecast: Forecast) -> float:
    """How long before an hour its capacity is asked for: the buffer, or a start-up if that takes longer, and a look."""
    return max(policy.buffer_s, forecast.lead_s or 0.0) + LOOK_S


def capacity_for(load: float, load_per_capacity: float) -> int:
    """The fewest copies (or instances) that carry `load` at `load_per_capacity` each; 0 for no load.

    A twentieth too little is not worth one more: no forecast is that exact, and nobody waits for it.
    """
    return max(0, math.ceil(load / load_per_capacity - NEGLECTED))


def most_capacity(needed: int, max_capacity: int, buffer_percent: float | None) -> int:
    """The effective maximum: above the target's own only with a buffer. Example: 50 needed, maximum 40, buffer 10 %: 55."""
    if buffer_percent is None:
        return max_capacity
    return max(max_capacity, math.ceil(needed * (100.0 + buffer_percent) / 100.0 - ROUNDING))


def raised_maximum(target: ScalableTarget, state: TargetState, now_s: float) -> int:
    """The target's maximum at `now_s`: its own, or as much higher as a forecast that may scale needs it."""
    most = target.max_capacity
    for policy in target.policies:
        if isinstance(policy, PredictivePolicy) and policy.scales and policy.max_capacity_buffer is not None:
            forecast = state.forecasts.get(policy.name)
            if forecast is not None and why_silent(forecast, now_s) is None:
                floor = floor_at(policy, forecast, target, now_s)
                most = max(most, floor.most if floor is not None else 0)
    return most


def why_silent(forecast: Forecast, now_s: float) -> str | None:
    """Why nothing should be scaled by this forecast, in words; None if it has earned it."""
    if now_s - forecast.learned_at_s > STALE_S:
        return f"the forecast is {(now_s - forecast.learned_at_s) / HOUR_S:.0f} h old, its metrics cannot be read"
    if forecast.loss is None or forecast.persistence_loss is None or forecast.hours < FEWEST_JUDGED_H:
        return f"{forecast.hours} of its hours can be judged, {FEWEST_JUDGED_H} are needed"
    if forecast.loss >= forecast.persistence_loss and forecast.loss > 0:
        return f"no better than the hour before; {_record_of(forecast)}"
    return None


def _record_of(forecast: Forecast) -> str:
    return (
        f"over {forecast.hours} h it cost {forecast.loss or 0.0:.3g}, taking each hour to be like the one before "
        f"{forecast.persistence_loss or 0.0:.3g}"
    )


def _why_none(forecast: Forecast | None) -> str:
    if forecast is None or not any(load is not None for load in forecast.loads):
        return "silent: no forecast yet; its metric needs 24 known hours"
    if forecast.load_per_capacity is None:
        return "silent: what one can carry is not known; no hour has load, scaling and capacity metrics"
    return "silent: nothing is forecast for this hour and the next"


def _next_change_s(
    policy: PredictivePolicy, forecast: Forecast, target: ScalableTarget, baseline: int, now_s: float
) -> float | None:
    """When the floor first rises above what is committed, or stops holding it; None if that is not in sight."""
    now = floor_at(policy, forecast, target, now_s)
    holds = now is not None and now.capacity >= baseline
    first_s = math.floor(now_s / HOUR_S) * HOUR_S
    moments: list[float] = []
    for number in range(1, len(forecast.loads) + 1):
        begin_s = first_s + number * HOUR_S
        if forecast.load_of(begin_s) is None:
            break
        moments += [begin_s, begin_s - ahead_s(policy, forecast)]
    for at_s in sorted(at_s for at_s in moments if at_s > now_s):
        then = floor_at(policy, forecast, target, at_s)
        if then is not None and (then.capacity > baseline or (holds and then.capacity < baseline)):
            return at_s
    return None


def _later(now_s: float, *moments_s: float | None) -> float | None:
    """The first moment after `now_s`."""
    return min((at_s for at_s in moments_s if at_s is not None and at_s > now_s), default=None)


def _clock(at_s: float) -> str:
    return f"the hour from {int(at_s % 86_400 // HOUR_S):02d}:00 UTC"
