"""Scalable targets as JSON documents of the registry, and back. Unknown keys of newer versions are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from quickstep.model.targets import (
    AdjustmentType,
    AlarmBinding,
    DemandPolicy,
    Dimension,
    Guards,
    Policy,
    PredictivePolicy,
    ScalableTarget,
    Statistic,
    StepAdjustment,
    StepScalingPolicy,
    Suspension,
    TargetId,
    TargetTrackingPolicy,
)

_KINDS: dict[str, type] = {
    "StepScaling": StepScalingPolicy,
    "TargetTrackingScaling": TargetTrackingPolicy,
    "DemandSizing": DemandPolicy,
    "PredictiveScaling": PredictivePolicy,
}


def target_to_document(target: ScalableTarget) -> dict[str, Any]:
    """Plain JSON-able form of a registration."""
    document = asdict(target)
    document["target_id"] = {"resource_id": target.target_id.resource_id, "dimension": str(target.target_id.dimension)}
    document["policies"] = [{"kind": _kind(p), **asdict(p)} for p in target.policies]
    return document


def target_from_document(document: Mapping[str, Any]) -> ScalableTarget:
    """Rebuild a registration. Raises KeyError if the document is not one."""
    values = _known(ScalableTarget, document)
    where = document["target_id"]
    values["target_id"] = TargetId(where["resource_id"], Dimension(where["dimension"]))
    values["policies"] = tuple(_policy(row) for row in document["policies"])
    values["alarms"] = tuple(document.get("alarms") or ())
    values["guards"] = Guards(**_known(Guards, document.get("guards") or {}))
    values["suspension"] = Suspension(**_known(Suspension, document.get("suspension") or {}))
    return ScalableTarget(**values)


def _kind(policy: Policy) -> str:
    return next(name for name, kind in _KINDS.items() if isinstance(policy, kind))


def _policy(row: Mapping[str, Any]) -> Policy:
    kind = _KINDS[row["kind"]]
    values = _known(kind, row)
    if kind is StepScalingPolicy:
        values["adjustment_type"] = AdjustmentType(values["adjustment_type"])
        values["steps"] = tuple(StepAdjustment(**_known(StepAdjustment, s)) for s in values["steps"])
        values["alarms"] = tuple(AlarmBinding(**_known(AlarmBinding, a)) for a in values["alarms"])
        values["metric_aggregation"] = Statistic(values["metric_aggregation"])
    if kind is PredictivePolicy:
        values["queries"] = tuple(values["queries"])
    return kind(**values)


def _known(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {k: v for k, v in row.items() if k in names}
