"""UpdateEndpoint: a whole new fleet comes up beside the old one, traffic moves over, the old one goes.

Components follow: their copies are loaded on the new fleet before traffic moves. Instance counts start from the new
configuration unless RetainAllVariantProperties is set, so a count that an autoscaler had set is lost (that is the point).
"""

from __future__ import annotations

from typing import Any

from simulator.aws.sagemaker_endpoints import Endpoints, new_variant
from simulator.aws.sagemaker_fleet import Fleet
from simulator.aws.sagemaker_records import Endpoint, EndpointOperation, InstanceState, Variant
from simulator.aws.sagemaker_world import World


class BlueGreen:
    """Runs UpdateEndpoint."""

    def __init__(self, world: World, fleet: Fleet, endpoints: Endpoints) -> None:
        self._world = world
        self._fleet = fleet
        self._endpoints = endpoints

    def new_counts(
        self, endpoint: Endpoint, config: dict[str, Any], *, retain: bool, except_for: list[str]
    ) -> dict[str, int]:
        """Instances by variant that the new fleet starts with."""
        counts = {}
        for entry in config["ProductionVariants"]:
            old = endpoint.variants.get(entry["VariantName"])
            keeps = retain and old is not None and "DesiredInstanceCount" not in except_for
            counts[entry["VariantName"]] = old.desired_instances if keeps else entry["InitialInstanceCount"]
        return counts

    def start(
        self,
        endpoint: Endpoint,
        config_name: str,
        counts: dict[str, int],
        *,
        retain_weights: bool,
        deployment: dict[str, Any] | None,
    ) -> None:
        """Begin the update: launch the new fleet."""
        operation = self._endpoints.begin(endpoint, "update")
        operation.new_config_name = config_name
        endpoint.last_deployment = deployment
        for entry in self._world.configs[config_name]["ProductionVariants"]:
            variant = new_variant(endpoint, entry)
            old = endpoint.variants.get(variant.name)
            variant.desired_instances = counts[variant.name]
            if old is not None:
                variant.launches, variant.scale_ins = old.launches, old.scale_ins
                variant.weight = old.weight if retain_weights else variant.weight
                self._endpoints.show(old, "Creating", f"Launching {variant.desired_instances} instance(s).")
            operation.new_variants[variant.name] = variant
        for variant in operation.new_variants.values():
            self._fleet.launch(variant, variant.desired_instances, operation, self._endpoints.short_of_capacity)
        self._endpoints.announce(endpoint)
        self._world.settle(endpoint)

    def step(self, endpoint: Endpoint) -> None:
        """Move on once the new fleet is there and the components' copies are loaded on it."""
        operation = endpoint.operation
        if (
            operation is None
            or operation.kind != "update"
            or operation.failing
            or operation.finish
            or operation.swapped
        ):
            return
        instances = [instance for variant in operation.new_variants.values() for instance in variant.instances]
        if any(instance.state is not InstanceState.IN_SERVICE for instance in instances):
            return
        operation.swapped = True  # nothing below runs twice
        loaded_at_s = max(
            (
                (instance.in_service_s or 0.0) + (instance.draw.copy_s if instance.variant.model_name is None else 0.0)
                for instance in instances
                if instance.variant.model_name is not None or self._hosts_components(endpoint, instance.variant.name)
            ),
            default=self._world.now_s,
        )
        for variant in endpoint.variants.values():
            self._endpoints.show(variant, "ActivatingTraffic", "Activating traffic on the new fleet.")
        delay_s = max(loaded_at_s, self._world.now_s) + self._world.delays.traffic_shift_s - self._world.now_s
        operation.events.append(self._world.after(delay_s, lambda: self._swap(endpoint, operation), "traffic moves"))

    def _hosts_components(self, endpoint: Endpoint, variant_name: str) -> bool:
        variant = endpoint.variants.get(variant_name)
        return variant is not None and bool(self._world.components_of(variant))

    def _swap(self, endpoint: Endpoint, operation: EndpointOperation) -> None:
        world = self._world
        with world.together(endpoint):
            for variant in operation.new_variants.values():
                self._take_over(endpoint, variant)
            for variant in endpoint.variants.values():
                count = len(variant.instances)
                self._endpoints.forget_plans(variant)
                for instance in list(variant.instances):
                    self._fleet.terminate(instance)
                if variant.name in operation.new_variants:
                    new = operation.new_variants[variant.name]
                    self._endpoints.show(new, "Deleting", f"Terminating {count} instance(s).")
            endpoint.variants, operation.new_variants = operation.new_variants, {}
            endpoint.config_name = operation.new_config_name or endpoint.config_name
            self._endpoints.finish_at(endpoint, world.now_s + world.delays.instance_stop_s)

    def _take_over(self, endpoint: Endpoint, variant: Variant) -> None:
        """The new instances of one variant serve from now on, with the copies of its components."""
        world = self._world
        self._endpoints.open_meter(variant)
        if variant.model_name is not None:
            for instance in variant.in_service:
                world.meter(variant.resource_id).add_copy(instance.instance_id, world.now_s)
        old = endpoint.variants.get(variant.name)
        for component in world.components_of(old) if old is not None else ():
            version = len(component.specifications) - 1
            for _ in range(component.desired_copies if component.base is None else 0):
                if not self._fleet.place(component, version, serving=True, variant=variant):
                    break
