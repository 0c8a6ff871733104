"""GetPredictiveScalingForecast: load and capacity of the next 48 hours, from up to 14 days of the metric's history.

Computed when asked for. Hours that are over are not part of the answer: nothing keeps old forecasts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from quickstep.capacity.forecast import HOUR_S, capacity_for, forecast, load_per_capacity
from quickstep.control.context import ControlContext
from quickstep.control.names import target_id
from quickstep.control.predictive_rules import load_queries
from quickstep.control.refusals import ValidationException
from quickstep.gateways.metric_history import hourly
from quickstep.model.registration import PolicyRecord
from quickstep.model.targets import ScalableTarget

HISTORY_S = 14 * 86_400.0
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
    points = [one for one in forecast(load, start_s=now_s, hours=AHEAD_HOURS) if start_s <= one[0] < end_s]
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
    high = target.max_capacity
    if policy.document.get("MaxCapacityBreachBehavior") == "IncreaseMaxCapacity":
        high = max(high, math.ceil(needed * (1 + policy.document["MaxCapacityBuffer"] / 100)))
    return max(target.min_capacity, min(needed, high))


def _check_range(start_s: float, end_s: float, now_s: float) -> None:
    if start_s >= end_s:
        raise ValidationException("StartTime must be before EndTime; exchange or correct them")
    if end_s - start_s > LONGEST_S:
        days = (end_s - start_s) / 86_400
        raise ValidationException(f"StartTime and EndTime are {days:.1f} days apart; at most 30 days are allowed")
    if start_s < now_s - OLDEST_S:
        raise ValidationException("StartTime is more than a year ago; give a later one")
