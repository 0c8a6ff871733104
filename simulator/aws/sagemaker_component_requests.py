"""Requests about inference components: what SageMaker accepts, what it refuses, and with which words."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from simulator.aws import sagemaker_texts as texts
from simulator.aws.sagemaker_answers import describe_component, timestamp
from simulator.aws.sagemaker_components import Components
from simulator.aws.sagemaker_lists import page, select
from simulator.aws.sagemaker_managed import ManagedScaling
from simulator.aws.sagemaker_placement import requirements
from simulator.aws.sagemaker_records import Component, CopyState, Endpoint
from simulator.aws.sagemaker_resources import ModelAndTagRequests
from simulator.aws.sagemaker_world import World

UPDATABLE = ("InService", "Failed")


class ComponentRequests:
    """Create, Describe, Update, Delete and List of inference components, and their copy counts."""

    def __init__(
        self, world: World, components: Components, managed: ManagedScaling, resources: ModelAndTagRequests
    ) -> None:
        self._world = world
        self._components = components
        self._managed = managed
        self._resources = resources

    def create_inference_component(self, params: dict[str, Any]) -> dict[str, Any]:
        world, name = self._world, params["InferenceComponentName"]
        arn = world.arn("inference-component", name)
        if name in world.components:
            raise texts.already_exists("inference component", arn)
        endpoint = world.endpoint(params["EndpointName"])
        if endpoint.status not in ("InService", "Updating"):
            raise texts.refused(
                f'Cannot create an inference component on endpoint "{endpoint.arn}" while it is in status '
                f"{endpoint.status}."
            )
        specifications = self._specifications(params)
        base = specifications[0].get("BaseInferenceComponentName")
        if base is not None:
            parent = world.component(base)
            variant_name, copies = parent.variant_name, 0
        else:
            variant_name = self._variant_name(params, endpoint)
            copies = params.get("RuntimeConfig", {}).get("CopyCount", 1)
            if copies < 1:
                raise texts.copy_count_must_be_positive()
        refusal = self._managed.refusal(endpoint.variants[variant_name], requirements(specifications[0]), copies)
        if refusal is not None:
            raise refusal
        self._resources.tag(arn, params.get("Tags", []))
        self._components.create(
            name, endpoint, variant_name, specifications, several="Specifications" in params, copies=copies
        )
        return {"InferenceComponentArn": arn}

    def describe_inference_component(self, params: dict[str, Any]) -> dict[str, Any]:
        world = self._world
        component = world.component(params["InferenceComponentName"])
        lag_s = world.faults.lag_s(world.now_s)
        stale = world.recall(component.arn, lag_s) if lag_s > 0 else None
        return deepcopy(stale) if stale is not None else describe_component(component, world)

    def list_inference_components(self, params: dict[str, Any]) -> dict[str, Any]:
        rows = [
            {
                "InferenceComponentName": component.name,
                "InferenceComponentArn": component.arn,
                "EndpointName": component.endpoint.name,
                "EndpointArn": component.endpoint.arn,
                "VariantName": component.variant_name,
                "InferenceComponentStatus": component.status,
                "CreationTime": timestamp(component.created_s),
                "LastModifiedTime": timestamp(component.modified_s),
            }
            for component in self._world.components.values()
        ]
        chosen = select(params, rows, name="InferenceComponentName", status="InferenceComponentStatus")
        return page(params, chosen, "InferenceComponents")

    def update_inference_component_runtime_config(self, params: dict[str, Any]) -> dict[str, Any]:
        component = self._updatable(params["InferenceComponentName"])
        self._set_copies(component, params["DesiredRuntimeConfig"]["CopyCount"])
        return {"InferenceComponentArn": component.arn}

    def update_inference_component(self, params: dict[str, Any]) -> dict[str, Any]:
        component = self._updatable(params["InferenceComponentName"])
        copies = params.get("RuntimeConfig", {}).get("CopyCount")
        if "Specification" in params or "Specifications" in params:
            if ("Specifications" in params) != component.several:
                raise texts.refused(
                    "An inference component keeps the kind it was created with: update Specification or "
                    "Specifications, whichever that was."
                )
            specifications = self._specifications(params)
            self._components.roll(
                component, specifications, copies=copies, deployment=deepcopy(params.get("DeploymentConfig"))
            )
        elif copies is not None:
            self._set_copies(component, copies)
        else:
            raise texts.refused("UpdateInferenceComponent needs a Specification or a RuntimeConfig.")
        return {"InferenceComponentArn": component.arn}

    def delete_inference_component(self, params: dict[str, Any]) -> dict[str, Any]:
        world = self._world
        component = world.component(params["InferenceComponentName"])
        if component.status not in UPDATABLE:
            raise texts.component_in_progress("delete", component.arn, component.state)
        if any(other.base == component.name for other in world.components.values()):
            raise texts.refused(
                f'"{component.arn}" is a base inference component for one or more associated inference components.'
            )
        self._components.delete(component)
        return {}

    def _set_copies(self, component: Component, copies: int) -> None:
        if component.base is not None:
            raise texts.refused(f'"{component.arn}" is an adapter; change the copies of {component.base}.')
        missing = copies - len(component.in_state(CopyState.LOADING, CopyState.SERVING))
        need = requirements(component.specifications[component.version][0])
        refusal = self._managed.refusal(component.variant, need, missing, apart_from=component)
        if refusal is not None:
            raise refusal
        self._components.set_copies(component, copies)

    def _updatable(self, name: str) -> Component:
        world = self._world
        component = world.component(name)
        if component.status not in UPDATABLE:
            raise texts.component_in_progress("update", component.arn, component.state)
        endpoint = component.endpoint
        if component.orphaned or endpoint.status == "Deleting":
            raise texts.could_not_find("endpoint", endpoint.arn)
        if endpoint.status != "InService" and not (
            endpoint.status == "Updating" and world.behaviour.component_writes_while_endpoint_updates
        ):
            raise texts.endpoint_in_progress(endpoint.arn)
        return component

    def _variant_name(self, params: dict[str, Any], endpoint: Endpoint) -> str:
        names = list(endpoint.variants)
        name = params.get("VariantName", names[0])
        if name not in endpoint.variants:
            raise texts.refused(f'Variant "{name}" does not exist on endpoint "{endpoint.arn}".')
        if endpoint.variants[name].model_name is not None:
            raise texts.refused(f"Variant {name} hosts a model of its own and cannot host inference components.")
        return name

    def _specifications(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        """The specifications of a request, checked; one unless there is one per instance type."""
        if ("Specification" in params) == ("Specifications" in params):
            raise texts.refused("Give either Specification or Specifications.")
        found = deepcopy(params.get("Specifications") or [params["Specification"]])
        for entry in found:
            adapter = "BaseInferenceComponentName" in entry
            if not adapter and "ComputeResourceRequirements" not in entry:
                raise texts.refused("ComputeResourceRequirements are required for an inference component.")
            if not adapter and "ModelName" not in entry and "Container" not in entry:
                raise texts.refused("An inference component needs a ModelName or a Container.")
            model = entry.get("ModelName")
            if model is not None and model not in self._world.models:
                raise texts.could_not_find("model", self._world.arn("model", model))
        return found
