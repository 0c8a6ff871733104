"""What Describe calls answer: records as the API shows them. Times are aware datetimes, to the millisecond."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from simulator.aws.sagemaker_records import Component, CopyState, Endpoint, Variant
from simulator.aws.sagemaker_world import World

_ECHOED_OF_VARIANT = ("ManagedInstanceScaling", "RoutingConfig", "AcceleratorPartitionLayouts")
_ECHOED_OF_CONFIG = (
    "AsyncInferenceConfig",
    "CrossRegionTrafficConfig",
    "DataCaptureConfig",
    "ExplainerConfig",
    "MetricsConfig",
)


def timestamp(at_s: float) -> datetime:
    """Seconds since the epoch as botocore parses them."""
    return datetime.fromtimestamp(round(at_s, 3), tz=UTC)


def describe_endpoint(endpoint: Endpoint, world: World) -> dict[str, Any]:
    """DescribeEndpoint."""
    answer: dict[str, Any] = {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointConfigName": endpoint.config_name,
        "ProductionVariants": [_variant(variant, world) for variant in endpoint.variants.values()],
        "EndpointStatus": endpoint.status,
        "CreationTime": timestamp(endpoint.created_s),
        "LastModifiedTime": timestamp(endpoint.modified_s),
    }
    if endpoint.failure_reason is not None:
        answer["FailureReason"] = endpoint.failure_reason
    if endpoint.last_deployment is not None:
        answer["LastDeploymentConfig"] = deepcopy(endpoint.last_deployment)
    operation = endpoint.operation
    if operation is not None and operation.new_variants:
        answer["PendingDeploymentSummary"] = {
            "EndpointConfigName": operation.new_config_name,
            "ProductionVariants": [
                {
                    "VariantName": variant.name,
                    "CurrentInstanceCount": len(variant.in_service),
                    "DesiredInstanceCount": variant.desired_instances,
                    "CurrentWeight": 0.0,
                    "DesiredWeight": variant.weight,
                }
                for variant in operation.new_variants.values()
            ],
            "StartTime": timestamp(operation.started_s),
        }
    config = world.configs.get(endpoint.config_name, {})
    answer.update({key: deepcopy(config[key]) for key in _ECHOED_OF_CONFIG if key in config})
    return answer


def describe_component(component: Component, world: World) -> dict[str, Any]:
    """DescribeInferenceComponent."""
    answer: dict[str, Any] = {
        "InferenceComponentName": component.name,
        "InferenceComponentArn": component.arn,
        "EndpointName": component.endpoint.name,
        "EndpointArn": component.endpoint.arn,
        "VariantName": component.variant_name,
        "RuntimeConfig": _runtime(component, world),
        "CreationTime": timestamp(component.created_s),
        "LastModifiedTime": timestamp(component.modified_s),
        "InferenceComponentStatus": component.status,
    }
    specifications = [_specification(entry) for entry in component.specifications[component.version]]
    if component.several:
        answer["Specifications"] = specifications
    else:
        answer["Specification"] = specifications[0]
    if component.failure_reason is not None:
        answer["FailureReason"] = component.failure_reason
    if component.last_deployment is not None:
        answer["LastDeploymentConfig"] = deepcopy(component.last_deployment)
    return answer


def _variant(variant: Variant, world: World) -> dict[str, Any]:
    in_service = variant.in_service
    shown: dict[str, Any] = {
        "VariantName": variant.name,
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.weight,
        "CurrentInstanceCount": len(in_service),
        "DesiredInstanceCount": variant.desired_instances,
    }
    image = world.models.get(variant.model_name or "", {}).get("PrimaryContainer", {}).get("Image")
    if image:
        shown["DeployedImages"] = [_image(image)]
    if variant.statuses:
        shown["VariantStatus"] = [
            {**status, "StartTime": timestamp(status["StartTime"])} for status in variant.statuses
        ]
    if variant.config.get("InstancePools"):
        shown["InstancePools"] = [
            {
                "InstanceType": name,
                "CurrentInstanceCount": sum(1 for instance in in_service if instance.instance_type == name),
            }
            for name in variant.instance_types
        ]
    reservation = variant.config.get("CapacityReservationConfig")
    if reservation:
        shown["CapacityReservationConfig"] = {**reservation, "UsedByCurrentEndpoint": len(in_service)}
    shown.update({key: deepcopy(variant.config[key]) for key in _ECHOED_OF_VARIANT if key in variant.config})
    return shown


def _runtime(component: Component, world: World) -> dict[str, Any]:
    if component.orphaned:
        return {"DesiredCopyCount": component.desired_copies, "CurrentCopyCount": component.frozen_copies}
    if component.base is not None:  # an adapter is wherever its base is
        base = world.components.get(component.base)
        copies = len(base.serving) if base is not None and component.status != "Creating" else 0
        return {"DesiredCopyCount": base.desired_copies if base else 0, "CurrentCopyCount": copies}
    serving = component.in_state(CopyState.SERVING)
    runtime: dict[str, Any] = {"DesiredCopyCount": component.desired_copies, "CurrentCopyCount": len(serving)}
    by_type: dict[str, int] = {}
    for copy in serving:
        by_type[copy.instance.instance_type] = by_type.get(copy.instance.instance_type, 0) + 1
    if by_type:
        runtime["PlacementStatus"] = [
            {"InstanceType": name, "CurrentCopyCount": count} for name, count in sorted(by_type.items())
        ]
    return runtime


def _specification(specification: dict[str, Any]) -> dict[str, Any]:
    """A specification as Describe summarises it: the container's image becomes the image that was deployed."""
    summary = deepcopy(specification)
    container = summary.get("Container")
    if container is not None:
        image = container.pop("Image", None)
        if image is not None:
            container["DeployedImage"] = _image(image)
    return summary


def _image(image: str) -> dict[str, Any]:
    return {"SpecifiedImage": image, "ResolvedImage": image}
