"""Suggestion: the target per copy that a target's own last days speak for, beside the one it has, and how to set it.

Reads CloudWatch, the registry and the control API; `apply` alone changes something, with one PutScalingPolicy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quickstep.capacity.bend import Calibration, calibrate
from quickstep.capacity.service_windows import median
from quickstep.capacity.target_advice import Advice, Move, advise
from quickstep.control.refusals import ControlRefusal
from quickstep.control.tracked_metrics import tracked_metric
from quickstep.errors import QuickstepError
from quickstep.gateways import cloudwatch
from quickstep.gateways.autoscaling_model import DEMAND_SIZING
from quickstep.gateways.metric_history import service_history
from quickstep.gateways.registry import Registry
from quickstep.gateways.registry_control import ControlRegistry
from quickstep.gateways.scaling_api import Call, pages
from quickstep.model.targets import Dimension, ScalableTarget, TargetId

HOUR_S = 3600.0
LEAST_PEAKS = 30
"""Ten-second datapoints at this load from which the ratio of Maximum to Average is taken."""
TRACKING, CONFIGURATION = "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration"
PARAMETER = "TargetConcurrentRequestsPerCopy"


class NoTargetPerCopy(QuickstepError):
    """The target has no policy that says how many requests a copy should carry."""


@dataclass(frozen=True, slots=True)
class TargetPolicy:
    """The policy that says how many requests in flight a copy should carry."""

    name: str
    kind: str
    value: float
    statistic: str
    """Of the concurrency that the value is compared with: Average, or Maximum."""
    template: bool
    """It belongs to the template's parameters and is changed by deploying."""
    row: Mapping[str, Any]
    """As DescribeScalingPolicies shows it."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What was found about one target."""

    resource_id: str
    unit: str
    hours: float
    latency_statistic: str
    statistic: str
    """Of the concurrency that was read."""
    policy: TargetPolicy
    calibration: Calibration
    peak_ratio: float
    """The policy's statistic over the one that was read, at this load; 1 where they are the same."""
    advice: Advice | None
    """None if nothing can be said; why is in `calibration`."""
    notes: tuple[str, ...] = ()


def suggest(
    row: Mapping[str, Any],
    *,
    quickstep: Call,
    registry: Registry,
    records: ControlRegistry,
    now_s: float,
    hours: float = 72.0,
    latency_limit_s: float | None = None,
    latency_statistic: str = "Average",
) -> Suggestion:
    """What the last `hours` of the registered target `row` (as DescribeScalableTargets shows it) speak for.

    `latency_limit_s`: the longest that users should wait; None = where latency bends. Raises NoTargetPerCopy, ValueError
    for a limit that is none, ApiRefused and the errors of `refusals`.
    """
    target_id = TargetId(row["ResourceId"], Dimension(row["ScalableDimension"]))
    policy = target_policy(target_id, quickstep=quickstep, records=records)
    history = service_history(
        target_id, start_s=now_s - hours * HOUR_S, end_s=now_s, latency_statistic=latency_statistic
    )
    found = calibrate(history.minutes, latency_limit_s=latency_limit_s)
    notes = list(_notes(found, history.statistic))
    ratio, advice = 1.0, None
    if found.limit is not None and found.lawful_high is not None:
        if policy.statistic == "Maximum" and history.statistic == "Average":
            where = registry.find(target_id.resource_id)
            target = registry.read_endpoint(where[0]).targets.get(target_id) if where else None
            measured = None if target is None else _peak_ratio(target, found.limit.per_copy, now_s)
            ratio = measured or 1.0
            notes.append(_told_ratio(policy, measured))
        advice = advise(found.limit, seen_high=found.lawful_high, present=policy.value, peak_ratio=ratio)
    return Suggestion(
        resource_id=target_id.resource_id,
        unit=target_id.unit,
        hours=hours,
        latency_statistic=latency_statistic,
        statistic=history.statistic,
        policy=policy,
        calibration=found,
        peak_ratio=round(ratio, 3),
        advice=advice,
        notes=tuple(notes),
    )


def target_policy(target_id: TargetId, *, quickstep: Call, records: ControlRegistry) -> TargetPolicy:
    """The policy that says how many requests a copy should carry: demand sizing, else target tracking of concurrency."""
    named = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": target_id.resource_id,
        "ScalableDimension": str(target_id.dimension),
    }
    rows = list(pages(quickstep, "DescribeScalingPolicies", "ScalingPolicies", named))
    for row in rows:
        if row["PolicyType"] == DEMAND_SIZING:
            value = float(row["QuickstepOptions"]["DemandSizing"]["TargetPerCopy"])
            # Sizing counts on averages where they flow (policy/demand.py).
            return _policy(target_id, row, value, "Average", records)
    for row in rows:
        if row["PolicyType"] == TRACKING:
            statistic = _tracked_statistic(row, target_id)
            if statistic is not None:
                return _policy(target_id, row, float(row[CONFIGURATION]["TargetValue"]), statistic, records)
    names = ", ".join(row["PolicyName"] for row in rows) or "none"
    raise NoTargetPerCopy(
        f"{target_id} has no policy with a target per copy (its policies: {names}); put one of type {DEMAND_SIZING}, or target "
        "tracking of its concurrency"
    )


def change(policy: TargetPolicy, value: float) -> dict[str, Any]:
    """The PutScalingPolicy request that gives the policy another target and leaves the rest as it is."""
    row = policy.row
    request = {
        name: row[name] for name in ("PolicyName", "ServiceNamespace", "ResourceId", "ScalableDimension", "PolicyType")
    }
    options = row.get("QuickstepOptions")
    if policy.kind == DEMAND_SIZING:
        sizing = {**row["QuickstepOptions"]["DemandSizing"], "TargetPerCopy": value}
        return {**request, "QuickstepOptions": {**row["QuickstepOptions"], "DemandSizing": sizing}}
    request[CONFIGURATION] = {**row[CONFIGURATION], "TargetValue": value}
    return request | ({"QuickstepOptions": options} if options else {})


def apply(suggestion: Suggestion, quickstep: Call) -> str:
    """Set the suggestion's step. Returns why nothing was set, or "" if it was. Raises ApiRefused.

    Nothing is set where there is no advice, where the present target is to be kept, and where the target belongs to the
    template: the next deployment would take it back.
    """
    advice, policy = suggestion.advice, suggestion.policy
    if advice is None:
        return f"nothing is applied: {suggestion.calibration.detail}"
    if advice.move is Move.KEEP:
        return ""
    if policy.template:
        return (
            f"nothing is applied: policy {policy.name} belongs to the template's parameters; deploy with "
            f"{PARAMETER}={advice.step:g}"
        )
    quickstep("PutScalingPolicy", change(policy, advice.step))
    return ""


def _policy(
    target_id: TargetId, row: Mapping[str, Any], value: float, statistic: str, records: ControlRegistry
) -> TargetPolicy:
    record = records.policy_record(target_id.resource_id, row["PolicyName"])
    template = record is not None and record.template
    return TargetPolicy(row["PolicyName"], row["PolicyType"], value, statistic, template, row)


def _tracked_statistic(row: Mapping[str, Any], target_id: TargetId) -> str | None:
    """Statistic of the target's own concurrency that the policy tracks; None if it tracks something else."""
    period_s = (row.get("QuickstepOptions") or {}).get("Period")
    try:
        metric = tracked_metric(row[CONFIGURATION], target_id, period_s)
    except ControlRefusal:
        return None
    return metric.statistic if metric.is_concurrency else None


def _peak_ratio(target: ScalableTarget, limit_per_copy: float, now_s: float) -> float | None:
    """Median of Maximum over Average of ten seconds, of the last three hours, where copies are busy; None if too few."""
    series = cloudwatch.target_metrics(
        target, now_s=now_s, concurrency_window_s=cloudwatch.LONGEST_WINDOW_S
    ).concurrency
    ratios = [
        point.maximum / point.average
        for point in (series.points if series is not None else ())
        if point.average is not None and point.maximum is not None and point.average >= limit_per_copy / 3
    ]
    return median(ratios) if len(ratios) >= LEAST_PEAKS else None


def _told_ratio(policy: TargetPolicy, ratio: float | None) -> str:
    if ratio is None:
        return (
            f"policy {policy.name} compares its target with the {policy.statistic} of ten seconds, the bend was measured in "
            "averages, and the last three hours were too quiet to compare the two: the target errs towards more copies"
        )
    return (
        f"policy {policy.name} compares its target with the {policy.statistic} of ten seconds, which was {ratio:.2f} times the "
        "average at this load: the target is put up by that"
    )


def _notes(found: Calibration, statistic: str) -> Iterable[str]:
    if statistic == "Maximum":
        yield (
            "the account has no average of the concurrency, so its maximum was read: a minute's peak, which makes a copy "
            "look stronger than it is"
        )
    if found.minutes and not found.by_arrivals:
        yield (
            "arrivals per copy are not known, so minutes are ordered by concurrency: long answers look like load, and the "
            "limit comes out too low"
        )
    if found.little is not None and not 0.7 <= found.little <= 1.4:
        yield (
            f"requests in flight are {found.little:.2f} times arrivals × latency, which should be 1: the two metrics do not "
            "speak of the same requests (a stream is in flight until its last token; retries; a maximum)"
        )
    if found.overload_minutes:
        yield f"{found.overload_minutes} minutes of overload, far beyond the bend, were left out"
