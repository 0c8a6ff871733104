"""Application Auto Scaling: does somebody else already scale this target?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quickstep.gateways.aws import client
from quickstep.gateways.refusals import translated
from quickstep.model.targets import TargetId

_KINDS = (
    ("DynamicScalingOutSuspended", "scale-out"),
    ("DynamicScalingInSuspended", "scale-in"),
    ("ScheduledScalingSuspended", "scheduled scaling"),
)


def foreign_scaler(target_id: TargetId) -> str | None:
    """What Application Auto Scaling does to `target_id`, in words; None if it is not registered there or fully suspended.

    Raises `AccessDenied` if the role may not look (the caller decides whether that matters) and the other errors of
    `refusals`.
    """
    with translated(f"describe the Application Auto Scaling target {target_id}"):
        answer = client("application-autoscaling").describe_scalable_targets(
            ServiceNamespace="sagemaker",
            ResourceIds=[target_id.resource_id],
            ScalableDimension=str(target_id.dimension),
        )
    return next((words for words in map(live_target, answer.get("ScalableTargets") or ()) if words), None)


def live_target(row: Mapping[str, Any]) -> str | None:
    """What a row of DescribeScalableTargets does, in words; None if it is fully suspended."""
    suspended = row.get("SuspendedState") or {}
    live = [name for key, name in _KINDS if not suspended.get(key)]
    if not live:
        return None
    return (
        f"Application Auto Scaling target {row['ResourceId']} with capacity {row['MinCapacity']} to {row['MaxCapacity']}; "
        f"not suspended: {', '.join(live)}"
    )
