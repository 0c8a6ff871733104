"""GetPredictiveScalingForecast: load and capacity of the next 48 hours, from up to 14 days of the metric's history.

The hours to come are forecast when asked for. Of the last 48 hours the answer has what was forecast for each before it
began, so that a caller can hold it against the metric and see what the forecasts are worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from quickstep.capacity.forecast import HOUR_S, forecast, load_per_capacity
from quickstep.capacity.outlook import HISTORY_S
from quickstep.control.context import ControlContext
from quickstep.control.names import target_id
from quickstep.control.predictive_rules import load_queries
from quickstep.control.refusals import ValidationException
from quickstep.gateways.metric_history import hourly
from quickstep.model.forecast import Forecast
from quickstep.model.registration import PolicyRecord
from quickstep.model.targets import ScalableTarget
from quickstep.policy.forecast_floor import capacity_for, most_capacity

AHEAD_HOURS = 48
LONGEST_S = 30 * 86_400.0
OLDEST_S = 366 * 86_400.0


def get_forecast(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """Hourly load and capacity between StartTime (inclusive) and EndTime (exclusive); no points without a day of history."""
    tid = target_id(params)
    start_s, end_s, now_s = params["StartTime"], params["EndTime"], context.now_s
    _check_range(start_s, end_s, now_s)
    found = context.find(tid)
    policy = context.records.policy_record(tid.resource_id, params["PolicyName"]) if found is not None else None
    if found is None or policy is None or policy.kind != "PredictiveScaling":
        what = "does not exist" if policy is None else f"is {policy.kind}"
        raise ValidationException(
            f"PolicyName is {params['PolicyName']!r}, which {what} on {tid}; only PredictiveScaling policies have forecasts"
        )
    specification = policy.document["MetricSpecifications"][0]
    wanted = load_queries(specification, tid)
    data = hourly(wanted.queries, start_s=now_s - HISTORY_S, end_s=now_s)
    load = data.get("load", ())
    kept = context.registry.read_endpoint(found[0].endpoint).state(tid).forecasts.get(policy.name)
    ahead = dict(forecast(load, start_s=now_s, hours=AHEAD_HOURS))
    points = sorted((_before(kept, now_s) | ahead).items())
    points = [one for one in points if start_s <= one[0] < end_s]
    per_unit = wanted.load_per_target_unit
    if per_unit is None:
        per_unit = load_per_capacity(load, data.get("scaling", ()), data.get("capacity", ()))
    times = [at_s for at_s, _ in points]
    answer: dict[str, Any] = {
        "LoadForecast": [
            {"Timestamps": times, "Values": [value for _, value in points], "MetricSpecification": specification}
        ],
        "CapacityForecast": {"Timestamps": [], "Values": []},
        "UpdateTime": math.floor(now_s / HOUR_S) * HOUR_S,
    }
    if per_unit is not None:
        needed = [capacity_for(value, per_unit * specification["TargetValue"]) for _, value in points]
        answer["CapacityForecast"] = {
            "Timestamps": times,
            "Values": [float(_bounded(one, policy, found[1])) for one in needed],
        }
    return answer


def _bounded(needed: int, policy: PolicyRecord, target: ScalableTarget) -> int:
    """Within the target's range; above its maximum as far as MaxCapacityBuffer lets it."""
    high = most_capacity(needed, target.max_capacity, policy.document.get("MaxCapacityBuffer"))
    return max(target.min_capacity, min(needed, high))


def _before(kept: Forecast | None, now_s: float) -> dict[float, float]:
    """What was forecast for the hours that are over, by the start of the hour."""
    if kept is None or kept.first_hour_s is None:
        return {}
    hours = {kept.first_hour_s + number * HOUR_S: load for number, load in enumerate(kept.loads)}
    return {at_s: load for at_s, load in hours.items() if load is not None and at_s + HOUR_S <= now_s}


def _check_range(start_s: float, end_s: float, now_s: float) -> None:
    if start_s >= end_s:
        raise ValidationException("StartTime must be before EndTime; exchange or correct them")
    if end_s - start_s > LONGEST_S:
        days = (end_s - start_s) / 86_400
        raise ValidationException(f"StartTime and EndTime are {days:.1f} days apart; at most 30 days are allowed")
    if start_s < now_s - OLDEST_S:
        raise ValidationException("StartTime is more than a year ago; give a later one")
