"""What each type of policy becomes: the policy that decides, the alarms that it owns, and those it is bound to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from quickstep.capacity.growth import PRICES
from quickstep.control.binding import bindings, check_bindable
from quickstep.control.context import ControlContext
from quickstep.control.policy_alarms import DEMAND_LOW_PERIODS, specified_alarm, tracking_alarms
from quickstep.control.predictive_rules import check_predictive, load_queries
from quickstep.control.refusals import LimitExceededException, ValidationException
from quickstep.control.tracked_metrics import concurrency, tracked_metric
from quickstep.errors import InvalidPolicy
from quickstep.gateways.autoscaling_model import DEMAND_SIZING
from quickstep.model.targets import DemandPolicy, Policy, PredictivePolicy, TargetId, TargetTrackingPolicy
from quickstep.policy_documents import DEFAULT_COOLDOWN_S, step_policy_from_document

CONFIGURATIONS: Mapping[str, str] = {
    "StepScaling": "StepScalingPolicyConfiguration",
    "TargetTrackingScaling": "TargetTrackingScalingPolicyConfiguration",
    "PredictiveScaling": "PredictiveScalingPolicyConfiguration",
    DEMAND_SIZING: "",
}
"""The member that holds a type's configuration; none for our own, which is configured by an option."""

FORECAST_ONLY = "ForecastOnly"
DEFAULT_BUFFER_S = 300
"""AAS's default for SchedulingBufferTime."""
TARGET_VALUE_LIMIT = 2.0**360
TRACKED_BY_ALARM = "alarm"
"""`TargetTrackingPolicy.metric` of everything that is not the target's own concurrency: what the alarms read."""


@dataclass(frozen=True, slots=True)
class Built:
    """What a policy consists of. Nothing at all is what a deleted policy leaves."""

    policy: Policy | None = None
    """None is what a deleted policy leaves."""
    alarms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bound: tuple[str, ...] = ()
    wake_alarm: str | None = None
    """A bound alarm that says that requests find no copy."""
    warnings: tuple[str, ...] = ()


def _step(
    name: str, tid: TargetId, document: Mapping[str, Any], options: Mapping[str, Any], context: ControlContext
) -> Built:
    _only(options, "AlarmSpecification", "BindAlarms", kind="StepScaling")
    limit = context.limits.steps_per_policy
    steps = document.get("StepAdjustments") or ()
    if len(steps) > limit:
        raise LimitExceededException(
            f"StepAdjustments has {len(steps)} steps: there can be at most {limit} step adjustments per scaling policy"
        )
    alarms: Mapping[str, Mapping[str, Any]] = {}
    bound, wake_alarm, triggers = (), None, ()
    if "AlarmSpecification" in options:
        if options.get("BindAlarms"):
            raise ValidationException("QuickstepOptions has AlarmSpecification and BindAlarms; give one of them")
        alarms, trigger = specified_alarm(name, tid, options["AlarmSpecification"], names=context.names)
        triggers = (trigger,)
    else:
        arn = context.names.policy_arn(tid, name, context.names.policy_id(tid, name))
        found = bindings(arn, options.get("BindAlarms") or ())
        check_bindable(found, tid, context)
        triggers, bound, wake_alarm = found.triggers, found.names, found.wake_alarm
    try:
        policy = step_policy_from_document(name, document, triggers)
    except InvalidPolicy as error:
        raise ValidationException(str(error)) from error
    return Built(policy, alarms, bound, wake_alarm)


def _tracking(
    name: str, tid: TargetId, document: Mapping[str, Any], options: Mapping[str, Any], context: ControlContext
) -> Built:
    allowed = ("HighAlarmDatapoints", "HighAlarmEvaluationPeriods", "LowAlarmEvaluationPeriods", "Period")
    _only(options, *allowed, kind="TargetTrackingScaling")
    value = document["TargetValue"]
    if not 0 < value <= TARGET_VALUE_LIMIT:
        raise ValidationException(f"TargetValue is {value:g}; it must be greater than 0 and at most 2^360")
    for cooldown in ("ScaleOutCooldown", "ScaleInCooldown"):
        if document.get(cooldown, 0) < 0:
            raise ValidationException(f"{cooldown} is {document[cooldown]}; it must be 0 seconds or more")
    metric = tracked_metric(document, tid, options.get("Period"))
    scales_in = not document.get("DisableScaleIn", False)
    alarms = tracking_alarms(name, tid, value, metric, options, names=context.names, scales_in=scales_in)
    high = context.names.alarm_name(tid, name, "AlarmHigh")
    policy = TargetTrackingPolicy(
        name=name,
        target_value=float(value),
        high_alarm=high,
        low_alarm=context.names.alarm_name(tid, name, "AlarmLow"),
        scale_out_cooldown_s=float(document.get("ScaleOutCooldown", DEFAULT_COOLDOWN_S)),
        scale_in_cooldown_s=float(document.get("ScaleInCooldown", DEFAULT_COOLDOWN_S)),
        disable_scale_in=not scales_in,
        metric="concurrency" if metric.is_concurrency else TRACKED_BY_ALARM,
    )
    warnings = _below_one(value) if metric.is_concurrency and metric.statistic == "Maximum" else ()
    return Built(policy, alarms, warnings=warnings)


def _predictive(
    name: str, tid: TargetId, document: Mapping[str, Any], options: Mapping[str, Any], context: ControlContext
) -> Built:
    _only(options, kind="PredictiveScaling")
    check_predictive(document, tid)
    specification = document["MetricSpecifications"][0]
    wanted = load_queries(specification, tid)
    return Built(
        PredictivePolicy(
            name,
            float(specification["TargetValue"]),
            wanted.queries,
            wanted.load_per_target_unit,
            scales=document.get("Mode", FORECAST_ONLY) != FORECAST_ONLY,
            buffer_s=float(document.get("SchedulingBufferTime", DEFAULT_BUFFER_S)),
            max_capacity_buffer=document.get("MaxCapacityBuffer"),
            since_s=context.now_s,
        )
    )


def _demand(
    name: str, tid: TargetId, document: Mapping[str, Any], options: Mapping[str, Any], context: ControlContext
) -> Built:
    allowed = ("DemandSizing", "HighAlarmDatapoints", "HighAlarmEvaluationPeriods", "LowAlarmEvaluationPeriods")
    _only(options, *allowed, kind=DEMAND_SIZING)
    sizing = options["DemandSizing"]
    value = float(sizing["TargetPerCopy"])
    alarms = tracking_alarms(
        name,
        tid,
        value,
        concurrency(tid),
        options,
        names=context.names,
        scales_in=True,
        low_periods=DEMAND_LOW_PERIODS,
    )
    defaults = DemandPolicy(name, value)
    policy = DemandPolicy(
        name,
        value,
        window_s=float(sizing.get("WindowSeconds", defaults.window_s)),
        scale_in_hold_s=float(sizing.get("ScaleInHoldSeconds", defaults.scale_in_hold_s)),
        slo_target=_slo_target(sizing.get("SloTarget", defaults.slo_target)),
    )
    return Built(policy, alarms, warnings=_below_one(value))


def _slo_target(value: float) -> float:
    if float(value) not in PRICES:
        allowed = ", ".join(f"{one:g}" for one in PRICES)
        raise ValidationException(f"QuickstepOptions.DemandSizing.SloTarget is {value:g}; allowed are {allowed}")
    return float(value)


Builder = Callable[[str, TargetId, Mapping[str, Any], Mapping[str, Any], ControlContext], Built]
BUILDERS: Mapping[str, Builder] = {
    "StepScaling": _step,
    "TargetTrackingScaling": _tracking,
    "PredictiveScaling": _predictive,
    DEMAND_SIZING: _demand,
}


def _only(options: Mapping[str, Any], *allowed: str, kind: str) -> None:
    for name in sorted(set(options) - set(allowed)):
        known = ", ".join(allowed) or "no options"
        raise ValidationException(f"QuickstepOptions.{name} does not apply to PolicyType {kind}, which takes {known}")


def _below_one(value: float) -> tuple[str, ...]:
    if value >= 1:
        return ()
    return (
        f"TargetValue is {value:g}, below 1, and the metric is the Maximum of a period, which a single request makes 1: "
        "every request will ask for MaxCapacity; 1 or more is safe",
    )
