"""Requests about endpoints and their configurations: what SageMaker accepts, what it refuses, and with which words.

Parameters come validated by botocore against the service model; what is checked here is what only the service knows.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from simulator.aws import sagemaker_texts as texts
from simulator.aws.sagemaker_answers import describe_endpoint, timestamp
from simulator.aws.sagemaker_bluegreen import BlueGreen
from simulator.aws.sagemaker_endpoints import Endpoints
from simulator.aws.sagemaker_lists import page, select
from simulator.aws.sagemaker_managed import DEFAULT_MIN_INSTANCES
from simulator.aws.sagemaker_records import Endpoint, Variant
from simulator.aws.sagemaker_resources import ModelAndTagRequests
from simulator.aws.sagemaker_world import World

IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
_DEFAULT_METRICS_CONFIG = {
    "EnableEnhancedMetrics": False,
    "EnableDetailedObservability": True,  # the default for configurations made after 17 June 2026
    "MetricPublishFrequencyInSeconds": 60,
}


class EndpointRequests:
    """Create, Describe, Update, Delete and List of endpoints; Create, Describe and Delete of their configurations."""

    def __init__(
        self, world: World, endpoints: Endpoints, bluegreen: BlueGreen, resources: ModelAndTagRequests
    ) -> None:
        self._world = world
        self._endpoints = endpoints
        self._bluegreen = bluegreen
        self._resources = resources

    def create_endpoint_config(self, params: dict[str, Any]) -> dict[str, Any]:
        world, name = self._world, params["EndpointConfigName"]
        arn = world.arn("endpoint-config", name)
        if name in world.configs:
            raise texts.already_exists("endpoint configuration", arn)
        config = deepcopy({key: value for key, value in params.items() if key != "Tags"})
        names = [variant["VariantName"] for variant in config["ProductionVariants"]]
        if len(set(names)) != len(names):
            raise texts.refused(f"Duplicate variant names in ProductionVariants: {', '.join(names)}")
        for variant in config["ProductionVariants"]:
            self._check_variant(variant, config)
        config["EndpointConfigArn"] = arn
        config["CreationTime"] = timestamp(world.now_s)
        config["MetricsConfig"] = {**_DEFAULT_METRICS_CONFIG, **config.get("MetricsConfig", {})}
        world.configs[name] = config
        self._resources.tag(arn, params.get("Tags", []))
        return {"EndpointConfigArn": arn}

    def describe_endpoint_config(self, params: dict[str, Any]) -> dict[str, Any]:
        return deepcopy(self._config(params["EndpointConfigName"]))

    def delete_endpoint_config(self, params: dict[str, Any]) -> dict[str, Any]:
        del self._world.configs[self._config(params["EndpointConfigName"])["EndpointConfigName"]]
        return {}

    def create_endpoint(self, params: dict[str, Any]) -> dict[str, Any]:
        world, name = self._world, params["EndpointName"]
        arn = world.arn("endpoint", name)
        if name in world.endpoints:
            raise texts.already_exists("endpoint", arn)
        config = self._config(params["EndpointConfigName"])
        counts = {entry["VariantName"]: entry["InitialInstanceCount"] for entry in config["ProductionVariants"]}
        self._check_quota(config, counts)
        self._resources.tag(arn, params.get("Tags", []))
        endpoint = self._endpoints.create(name, params["EndpointConfigName"])
        endpoint.last_deployment = _deployment(params.get("DeploymentConfig"))
        return {"EndpointArn": arn}

    def describe_endpoint(self, params: dict[str, Any]) -> dict[str, Any]:
        world = self._world
        endpoint = world.endpoint(params["EndpointName"])
        lag_s = world.faults.lag_s(world.now_s)
        stale = world.recall(endpoint.arn, lag_s) if lag_s > 0 else None
        return deepcopy(stale) if stale is not None else describe_endpoint(endpoint, world)

    def list_endpoints(self, params: dict[str, Any]) -> dict[str, Any]:
        rows = [
            {
                "EndpointName": endpoint.name,
                "EndpointArn": endpoint.arn,
                "CreationTime": timestamp(endpoint.created_s),
                "LastModifiedTime": timestamp(endpoint.modified_s),
                "EndpointStatus": endpoint.status,
            }
            for endpoint in self._world.endpoints.values()
        ]
        chosen = select(params, rows, name="EndpointName", status="EndpointStatus")
        return page(params, chosen, "Endpoints")

    def update_endpoint(self, params: dict[str, Any]) -> dict[str, Any]:
        world = self._world
        endpoint = self._changeable(params["EndpointName"])
        name = params["EndpointConfigName"]
        config = self._config(name)
        kept = {entry["VariantName"] for entry in config["ProductionVariants"]}
        for variant in endpoint.variants.values():
            components = [component.name for component in world.components_of(variant)]
            if components and variant.name not in kept:
                raise texts.refused(
                    f"Variant {variant.name} hosts inference components ({', '.join(components)}) and is missing from "
                    f"endpoint configuration {name}."
                )
        retain = params.get("RetainAllVariantProperties", False)
        except_for = [entry["VariantPropertyType"] for entry in params.get("ExcludeRetainedVariantProperties", [])]
        counts = self._bluegreen.new_counts(endpoint, config, retain=retain, except_for=except_for)
        self._check_quota(config, counts)
        deployment = _deployment(params.get("DeploymentConfig"))
        self._bluegreen.start(
            endpoint,
            name,
            counts,
            retain_weights=retain and "DesiredWeight" not in except_for,
            deployment=endpoint.last_deployment if params.get("RetainDeploymentConfig") else deployment,
        )
        return {"EndpointArn": endpoint.arn}

    def update_endpoint_weights_and_capacities(self, params: dict[str, Any]) -> dict[str, Any]:
        behaviour = self._world.behaviour
        endpoint = self._changeable(params["EndpointName"])
        counts: dict[str, int] = {}
        weights: dict[str, float] = {}
        for entry in params["DesiredWeightsAndCapacities"]:
            name = entry["VariantName"]
            if name not in endpoint.variants:
                raise texts.refused(f'Variant "{name}" does not exist on endpoint "{endpoint.arn}".')
            if "DesiredWeight" in entry:
                weights[name] = entry["DesiredWeight"]
            if "DesiredInstanceCount" in entry:
                counts[name] = entry["DesiredInstanceCount"]
                self._check_count(endpoint.variants[name], counts[name])
        if len(counts) > 1 and not behaviour.several_capacities_per_call:
            raise texts.refused("The capacity of only one variant can be updated at a time.")
        for name, count in counts.items():
            variant = endpoint.variants[name]
            refusal = self._world.quota_refusal(variant.instance_types[0], count - variant.desired_instances)
            if refusal is not None:
                raise refusal
        self._endpoints.change_capacity(endpoint, counts, weights)
        return {"EndpointArn": endpoint.arn}

    def delete_endpoint(self, params: dict[str, Any]) -> dict[str, Any]:
        endpoint = self._world.endpoint(params["EndpointName"])
        if endpoint.status in IN_PROGRESS:
            raise texts.endpoint_in_progress(endpoint.arn)
        self._endpoints.delete(endpoint)
        return {}

    def _changeable(self, name: str) -> Endpoint:
        endpoint = self._world.endpoint(name)
        if endpoint.status in IN_PROGRESS:
            raise texts.endpoint_in_progress(endpoint.arn)
        if endpoint.status != "InService":
            raise texts.refused(
                f'Endpoint "{endpoint.arn}" is in status {endpoint.status}; DeleteEndpoint is the only operation on it.'
            )
        return endpoint

    def _config(self, name: str) -> dict[str, Any]:
        if name not in self._world.configs:
            raise texts.could_not_find("endpoint configuration", self._world.arn("endpoint-config", name))
        return self._world.configs[name]

    def _check_variant(self, variant: dict[str, Any], config: dict[str, Any]) -> None:
        """Refuse what SageMaker refuses in a production variant, and fill in its defaults."""
        world, name = self._world, variant["VariantName"]
        if "ServerlessConfig" in variant:
            raise texts.refused(f"Variant {name}: serverless inference is not emulated; use an InstanceType.")
        if ("InstanceType" in variant) == ("InstancePools" in variant):
            raise texts.refused(f"Variant {name} needs either InstanceType or InstancePools.")
        for pool in variant.get("InstancePools", [variant]):
            world.type_of(pool["InstanceType"])
        model = variant.get("ModelName")
        if model is not None and model not in world.models:
            raise texts.could_not_find("model", world.arn("model", model))
        if model is None and "ExecutionRoleArn" not in config:
            raise texts.execution_role_required()
        scaling = variant.get("ManagedInstanceScaling")
        if scaling is not None:
            if model is not None:
                raise texts.managed_scaling_needs_components()
            enabled = scaling.get("Status") == "ENABLED"
            least, most = scaling.get("MinInstanceCount", DEFAULT_MIN_INSTANCES), scaling.get("MaxInstanceCount")
            if enabled and least == 0 and not world.behaviour.zero_min_instances:
                raise texts.min_instances_must_be_positive()
            if most is not None and most < least:
                raise texts.refused(
                    f"Variant {name}: MaxInstanceCount ({most}) must not be below MinInstanceCount ({least})."
                )
        variant.setdefault("InitialInstanceCount", 1)
        variant.setdefault("InitialVariantWeight", 1.0)

    def _check_quota(self, config: dict[str, Any], counts: dict[str, int]) -> None:
        by_type: dict[str, int] = {}
        for entry in config["ProductionVariants"]:
            pools = sorted(entry.get("InstancePools", []), key=lambda pool: pool["Priority"])
            name = pools[0]["InstanceType"] if pools else entry["InstanceType"]
            by_type[name] = by_type.get(name, 0) + counts[entry["VariantName"]]
        for name, count in by_type.items():
            refusal = self._world.quota_refusal(name, count)
            if refusal is not None:
                raise refusal

    def _check_count(self, variant: Variant, count: int) -> None:
        behaviour = self._world.behaviour
        if variant.managed is not None and not behaviour.capacity_writes_on_managed_variants:
            raise texts.managed_capacity_refused(variant.name)
        hosts_components = variant.model_name is None
        if count == 0 and not (hosts_components and behaviour.zero_instances_of_components):
            raise texts.refused(f"DesiredInstanceCount of variant {variant.name} needs to be greater than 0.")


def _deployment(config: dict[str, Any] | None) -> dict[str, Any] | None:
    """A DeploymentConfig as Describe shows it; the service adds nothing of its own here."""
    return deepcopy(config) if config else None
