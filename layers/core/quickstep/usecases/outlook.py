"""Outlook: once an hour, read the metric history of a target's forecasting policies and forecast anew."""

from __future__ import annotations

from dataclasses import replace

from quickstep.capacity import growth, outlook
from quickstep.capacity.forecast import load_per_capacity
from quickstep.errors import AwsRefused
from quickstep.gateways.metric_history import hourly
from quickstep.model.forecast import Forecast
from quickstep.model.state import TargetState, VariantState
from quickstep.model.targets import DemandPolicy, PredictivePolicy, ScalableTarget


def renewed(
    target: ScalableTarget, state: TargetState, variant: VariantState | None, now_s: float
) -> tuple[TargetState, tuple[str, ...]]:
    """(state with a forecast of every forecasting policy, what could not be read in words).

    CloudWatch is asked only for what is due. `variant`: see `growth.lead_s`. Raises nothing for a refused read: what was
    forecast before stands, and is tried again minutes later.
    """
    found: dict[str, Forecast] = {}
    unread: list[str] = []
    for policy in target.policies:
        if not isinstance(policy, PredictivePolicy):
            continue
        before = state.forecasts.get(policy.name)
        if before is not None and not outlook.due(before, since_s=policy.since_s, now_s=now_s):
            found[policy.name] = before
            continue
        if before is not None and before.learned_at_s < policy.since_s:
            before = None  # Another policy of this name made it, perhaps of another metric.
        try:
            data = hourly(policy.queries, start_s=now_s - outlook.HISTORY_S, end_s=now_s)
        except AwsRefused as error:
            unread.append(f"metric history of policy {policy.name}: {error}")
            found[policy.name] = outlook.postponed(before, now_s)
            continue
        per_unit = policy.load_per_target_unit
        if per_unit is None:
            per_unit = load_per_capacity(data.get("load", ()), data.get("scaling", ()), data.get("capacity", ()))
        found[policy.name] = outlook.learned(
            before,
            data.get("load", ()),
            load_per_capacity=None if per_unit is None else per_unit * policy.target_value,
            lead_s=growth.lead_s(state, variant),
            price=_price(target),
            now_s=now_s,
        )
    return (state if found == state.forecasts else replace(state, forecasts=found)), tuple(unread)


def _price(target: ScalableTarget) -> float:
    """Idle copy-minutes that a missing one is worth, by the target's dial."""
    dial = next((p.slo_target for p in target.policies if isinstance(p, DemandPolicy)), growth.USUAL_DIAL)
    return growth.PRICES.get(dial, growth.PRICES[growth.USUAL_DIAL])
