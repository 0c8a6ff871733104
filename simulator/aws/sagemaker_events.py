"""The two EventBridge events of an endpoint, in the shapes of SageMaker's developer guide.

Statuses are UPPER_SNAKE here (`IN_SERVICE`) and CamelCase in the API (`InService`); times are milliseconds since the
epoch; the first event writes counts and weights as floats, the second as integers. Components have no events.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from simulator.aws.sagemaker_records import Endpoint, InstanceState

SOURCE = "aws.sagemaker"
STATE_CHANGE = "SageMaker Endpoint State Change"
DEPLOYMENT_CHANGE = "SageMaker Endpoint Deployment State Change"

EmitEvent = Callable[[str, str, dict[str, Any], list[str]], None]
"""(source, detail-type, detail, resources)"""


def emit_status(endpoint: Endpoint, tags: dict[str, str], emit: EmitEvent) -> None:
    """Emit what SageMaker sends when the endpoint's status changes."""
    emit(SOURCE, STATE_CHANGE, _state_detail(endpoint, tags), [endpoint.arn])
    if endpoint.status in ("Creating", "Updating", "InService"):
        emit(SOURCE, DEPLOYMENT_CHANGE, _deployment_detail(endpoint, tags), [endpoint.arn])


def upper_snake(status: str) -> str:
    """`InService` -> `IN_SERVICE`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", status).upper()


def _state_detail(endpoint: Endpoint, tags: dict[str, str]) -> dict[str, Any]:
    variants = [
        {"DesiredWeight": float(variant.weight), "DesiredInstanceCount": float(variant.desired_instances)}
        for variant in endpoint.variants.values()
    ]
    return _detail(endpoint, variants, tags, float)


def _deployment_detail(endpoint: Endpoint, tags: dict[str, str]) -> dict[str, Any]:
    variants = []
    for variant in endpoint.variants.values():
        shown: dict[str, Any] = {
            "VariantName": variant.name,
            "CurrentWeight": _number(variant.weight),
            "DesiredWeight": _number(variant.weight),
            "CurrentInstanceCount": len(variant.in_state(InstanceState.IN_SERVICE)),
            "DesiredInstanceCount": variant.desired_instances,
        }
        if variant.statuses:
            shown["VariantStatus"] = [
                {**status, "StartTime": int(status["StartTime"] * 1000)} for status in variant.statuses
            ]
        variants.append(shown)
    return _detail(endpoint, variants, tags, int)


def _detail(
    endpoint: Endpoint, variants: list[dict[str, Any]], tags: dict[str, str], number: type[int] | type[float]
) -> dict[str, Any]:
    return {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointConfigName": endpoint.config_name,
        "ProductionVariants": variants,
        "EndpointStatus": upper_snake(endpoint.status),
        "CreationTime": number(round(endpoint.created_s * 1000)),
        "LastModifiedTime": number(round(endpoint.modified_s * 1000)),
        "Tags": dict(sorted(tags.items())),
    }


def _number(weight: float) -> float | int:
    return int(weight) if float(weight).is_integer() else weight
