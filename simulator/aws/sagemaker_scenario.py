"""Endpoints that are InService from the first moment of a run: what a scenario starts with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from simulator.aws.sagemaker_answers import timestamp
from simulator.aws.sagemaker_components import Components
from simulator.aws.sagemaker_endpoints import Endpoints, new_variant
from simulator.aws.sagemaker_fleet import Fleet
from simulator.aws.sagemaker_records import Endpoint
from simulator.aws.sagemaker_world import World

DEFAULT_ROLE = "role/quickstep-emulated-endpoint"


@dataclass(frozen=True, slots=True)
class ManagedSpec:
    """ManagedInstanceScaling ENABLED. The last three make a ScaleInPolicy if any is given."""

    min_instances: int = 1
    max_instances: int = 4
    strategy: str | None = None
    """IDLE_RELEASE or CONSOLIDATION."""
    maximum_step_size: int | None = None
    cooldown_minutes: int | None = None


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """A variant with `instances` in service. `model` None = it hosts components."""

    instance_type: str
    instances: int
    name: str = "AllTraffic"
    managed: ManagedSpec | None = None
    model: str | None = None
    routing: str | None = None
    """RoutingStrategy, e.g. LEAST_OUTSTANDING_REQUESTS."""


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """A component with `copies` that serve, each on `accelerators`, `cpu_cores` and `memory_mb` of an instance."""

    name: str
    copies: int
    accelerators: int = 1
    cpu_cores: float = 0.0
    memory_mb: int = 1024
    placement: str | None = None
    """SPREAD or BINPACK; None = the service's default."""
    variant: str = "AllTraffic"
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """An endpoint as it stands when the run begins."""

    name: str
    variants: tuple[VariantSpec, ...]
    components: tuple[ComponentSpec, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)


def build(spec: EndpointSpec, world: World, parts: tuple[Fleet, Endpoints, Components]) -> Endpoint:
    """Put the endpoint of `spec` into the account, InService now. ValueError if a copy does not fit.

    Configuration and models exist as if they had been created through the API.
    """
    fleet, endpoints, components = parts
    config_name = f"{spec.name}-config"
    world.configs[config_name] = _config(config_name, spec, world)
    endpoint = Endpoint(
        name=spec.name,
        arn=world.arn("endpoint", spec.name),
        config_name=config_name,
        created_s=world.now_s,
        modified_s=world.now_s,
        status="InService",
    )
    world.tags[endpoint.arn] = dict(spec.tags)
    with world.together(endpoint):
        world.endpoints[spec.name] = endpoint
        for config, variant_spec in zip(world.configs[config_name]["ProductionVariants"], spec.variants, strict=True):
            variant = new_variant(endpoint, config)
            variant.desired_instances = variant_spec.instances
            endpoint.variants[variant.name] = variant
            endpoints.open_meter(variant)
            for _ in range(variant_spec.instances):
                fleet.add_in_service(variant)
        for component_spec in spec.components:
            _add_component(component_spec, endpoint, world, fleet, components)
    return endpoint


def _add_component(spec: ComponentSpec, endpoint: Endpoint, world: World, fleet: Fleet, components: Components) -> None:
    component = components.register(
        spec.name, endpoint, spec.variant, [_specification(spec)], several=False, copies=spec.copies
    )
    component.status, component.state = "InService", "IN_SERVICE"
    world.tags[component.arn] = dict(spec.tags)
    for number in range(spec.copies):
        if not fleet.place(component, 0, serving=True):
            instances = len(endpoint.variants[spec.variant].instances)
            raise ValueError(
                f"copy {number + 1} of {spec.copies} of {spec.name} does not fit on the {instances} instances of "
                f"variant {spec.variant} of {endpoint.name}; start with more instances or fewer copies"
            )


def _config(name: str, spec: EndpointSpec, world: World) -> dict[str, Any]:
    variants = []
    for variant in spec.variants:
        world.type_of(variant.instance_type)
        entry: dict[str, Any] = {
            "VariantName": variant.name,
            "InstanceType": variant.instance_type,
            "InitialInstanceCount": max(variant.instances, 1),
            "InitialVariantWeight": 1.0,
        }
        if variant.model is not None:
            entry["ModelName"] = variant.model
            _add_model(variant.model, world)
        if variant.managed is not None:
            entry["ManagedInstanceScaling"] = _managed(variant.managed)
        if variant.routing is not None:
            entry["RoutingConfig"] = {"RoutingStrategy": variant.routing}
        variants.append(entry)
    return {
        "EndpointConfigName": name,
        "EndpointConfigArn": world.arn("endpoint-config", name),
        "ProductionVariants": variants,
        "ExecutionRoleArn": f"arn:aws:iam::{world.account_id}:{DEFAULT_ROLE}",
        "CreationTime": timestamp(world.now_s),
    }


def _add_model(name: str, world: World) -> None:
    world.models.setdefault(
        name,
        {
            "ModelName": name,
            "ModelArn": world.arn("model", name),
            "PrimaryContainer": {"Image": f"{world.account_id}.dkr.ecr.{world.region}.amazonaws.com/vllm:latest"},
            "CreationTime": timestamp(world.now_s),
            "EnableNetworkIsolation": False,
        },
    )


def _managed(spec: ManagedSpec) -> dict[str, Any]:
    scaling: dict[str, Any] = {
        "Status": "ENABLED",
        "MinInstanceCount": spec.min_instances,
        "MaxInstanceCount": spec.max_instances,
    }
    if spec.strategy or spec.maximum_step_size or spec.cooldown_minutes:
        policy: dict[str, Any] = {"Strategy": spec.strategy or "IDLE_RELEASE"}
        if spec.maximum_step_size:
            policy["MaximumStepSize"] = spec.maximum_step_size
        if spec.cooldown_minutes:
            policy["CooldownInMinutes"] = spec.cooldown_minutes
        scaling["ScaleInPolicy"] = policy
    return scaling


def _specification(spec: ComponentSpec) -> dict[str, Any]:
    needs: dict[str, Any] = {"MinMemoryRequiredInMb": spec.memory_mb}
    if spec.accelerators:
        needs["NumberOfAcceleratorDevicesRequired"] = float(spec.accelerators)
    if spec.cpu_cores:
        needs["NumberOfCpuCoresRequired"] = spec.cpu_cores
    specification: dict[str, Any] = {
        "Container": {"Image": f"{spec.name}:latest"},
        "ComputeResourceRequirements": needs,
    }
    if spec.placement is not None:
        specification["SchedulingConfig"] = {"PlacementStrategy": spec.placement}
    return specification
