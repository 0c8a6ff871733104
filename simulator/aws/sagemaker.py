"""The emulated SageMaker control plane: endpoints, instances, inference components and their copies, on virtual time.

    service = SageMakerService(clock, publish=cloudwatch.put, emit_event=eventbridge.put)
    service.scenario_endpoint(EndpointSpec("chat", (VariantSpec("ml.g5.12xlarge", 2),), (ComponentSpec("llm", 2, 4),)))
    service.attach_load("inference-component/llm", fleet)
    service.call("UpdateInferenceComponentRuntimeConfig", {...})

Single-threaded and deterministic: the same seed, calls and load give the same answers, events and datapoints. What
SageMaker does and with which words it refuses comes from AWS's documents and from public reports of real accounts;
where none of them settles a question there is a switch (`Behaviour`). Data-plane calls are not here.

Choices that no source settles and that have no switch:
* CurrentCopyCount and CurrentInstanceCount count what takes new requests: not what loads, drains or stops.
* Of the copies of a component the newest go first; a scale-in of instances takes any of them (a seeded choice).
* Copies lost with an instance are loaded again wherever they fit, and missing ones as soon as room appears; no status
  shows it, only CurrentCopyCount below DesiredCopyCount.
* Instances come into service one by one; the endpoint is InService when the last of them is.
* An instance is billed from the moment AWS has it (when its launch begins) until it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from simulator.aws.sagemaker_answers import describe_component, describe_endpoint
from simulator.aws.sagemaker_behaviour import Behaviour
from simulator.aws.sagemaker_bluegreen import BlueGreen
from simulator.aws.sagemaker_component_requests import ComponentRequests
from simulator.aws.sagemaker_components import Components
from simulator.aws.sagemaker_delays import Delays, DelayStream
from simulator.aws.sagemaker_endpoint_requests import EndpointRequests
from simulator.aws.sagemaker_endpoints import Endpoints
from simulator.aws.sagemaker_events import EmitEvent
from simulator.aws.sagemaker_faults import Faults, answer_of
from simulator.aws.sagemaker_fleet import Fleet
from simulator.aws.sagemaker_instances import CATALOGUE, InstanceType
from simulator.aws.sagemaker_ledger import SupplyPoint, instance_seconds
from simulator.aws.sagemaker_load import LoadSide
from simulator.aws.sagemaker_managed import ManagedScaling
from simulator.aws.sagemaker_metrics import MINUTE_S, PERIOD_S, Publish, emit_gpu_reservation
from simulator.aws.sagemaker_placement import Room
from simulator.aws.sagemaker_records import Component, Endpoint, Instance, Variant
from simulator.aws.sagemaker_resources import ModelAndTagRequests
from simulator.aws.sagemaker_scenario import EndpointSpec, build
from simulator.aws.sagemaker_world import World
from simulator.clock import RANK_METRICS, VirtualClock
from simulator.errors import ServiceError

PRODUCT = "product"
FOREIGN = "foreign"
"""Who makes a call: the product, or somebody else in the account (a human, Application Auto Scaling, a second stack)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One API call and its outcome: "ok", or the code of the error that the caller saw."""

    at_s: float
    operation: str
    params: dict[str, Any]
    actor: str
    outcome: str


class SageMakerService:
    """One account's SageMaker in one region.

    `publish` takes CloudWatch datapoints, `emit_event` EventBridge events; both are called at the moment they arise.
    `quotas` are instances "for endpoint usage" by instance type; a type without an entry has no limit.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        publish: Publish,
        emit_event: EmitEvent,
        seed: int = 0,
        account_id: str = "123456789012",
        region: str = "us-east-1",
        delays: Delays | None = None,
        behaviour: Behaviour | None = None,
        faults: Faults | None = None,
        quotas: dict[str, int] | None = None,
        extra_instance_types: Iterable[InstanceType] = (),
    ) -> None:
        self.world = World(
            clock=clock,
            account_id=account_id,
            region=region,
            draws=DelayStream(delays or Delays(), seed),
            behaviour=behaviour or Behaviour(),
            faults=faults or Faults(),
            catalogue={**CATALOGUE, **{row.name: row for row in extra_instance_types}},
            publish=publish,
            emit_event=emit_event,
            take_steps=self._take_steps,
            quotas=dict(quotas or {}),
        )
        self.calls: list[Call] = []
        """Every call that came in, refused ones too."""
        self._fleet = Fleet(self.world)
        self._endpoints = Endpoints(self.world, self._fleet)
        self._bluegreen = BlueGreen(self.world, self._fleet, self._endpoints)
        self._managed = ManagedScaling(self.world, self._fleet, self._endpoints)
        self._components = Components(self.world, self._fleet, self._managed)
        self._operations = self._operation_table()
        self._fault_draws = self.world.draws.stream("faults", "calls", 0)
        self._crash_draws = self.world.draws.stream("faults", "crashes", 0)
        first_s = (clock.now_s // PERIOD_S + 1) * PERIOD_S
        clock.every(PERIOD_S, self._emit_metrics, first_s=first_s, rank=RANK_METRICS, label="sagemaker metrics")

    # The API

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of the operations that are emulated, as botocore spells them."""
        return tuple(self._operations)

    @property
    def faults(self) -> Faults:
        """What is made to go wrong; may be changed at any time."""
        return self.world.faults

    def call(self, operation: str, params: dict[str, Any], *, actor: str = PRODUCT) -> dict[str, Any]:
        """Carry out one API call and return what botocore would parse from the answer.

        `params` are those of the boto3 call, already validated against the model. Raises ServiceError as SageMaker
        refuses, or as a planned fault says. Call faults do not meet foreign actors.
        """
        outcome = "ok"
        try:
            if operation not in self._operations:
                raise ServiceError("UnknownOperationException", f"{operation} is not emulated", 404)
            fault = None
            if actor == PRODUCT:
                fault = self.faults.met_by(operation, self.world.now_s, self._fault_draws)
            if fault is not None and not fault.applied:
                raise answer_of(fault)
            answer = self._operations[operation](params)
            if fault is not None:
                raise answer_of(fault)
            return answer
        except ServiceError as error:
            outcome = error.code
            raise
        finally:
            self.calls.append(Call(self.world.now_s, operation, params, actor, outcome))

    # Set-up

    def scenario_endpoint(self, spec: EndpointSpec) -> Endpoint:
        """An endpoint that is InService from now on, with its instances and copies."""
        return build(spec, self.world, (self._fleet, self._endpoints, self._components))

    def attach_load(self, resource_id: str, load: LoadSide) -> None:
        """Give a resource its traffic: `inference-component/<name>`, or `endpoint/<endpoint>/variant/<variant>` for a
        variant that hosts a single model. KeyError if there is no such resource.

        The load's own time must not be ahead of the clock; the service is the one that takes its windows.
        """
        self.world.meter(resource_id).attach(load, self.world.now_s)

    # What happens to the account from outside

    def set_quota(self, instance_type: str, limit: int | None) -> None:
        """Change the quota of an instance type; None = no limit."""
        self.world.quotas.pop(instance_type, None)
        if limit is not None:
            self.world.quotas[instance_type] = limit

    def set_foreign_usage(self, instance_type: str, instances: int) -> None:
        """How many instances of a type others in the account use; they count against the quota."""
        self.world.foreign_usage[instance_type] = instances

    def start_system_update(self, endpoint: str, duration_s: float) -> bool:
        """SystemUpdating for `duration_s`; False if the endpoint is not InService, then nothing happens."""
        return self._endpoints.system_update(self.world.endpoints[endpoint], duration_s)

    def crash_instance(self, endpoint: str, variant: str, *, instance_id: str | None = None) -> str | None:
        """Lose one instance in service (a seeded choice unless one is named) and return its id; None if there is none.

        No status changes; SageMaker replaces the instance after a while.
        """
        found = self.world.endpoints[endpoint].variants[variant]
        candidates = [one for one in found.in_service if instance_id in (None, one.instance_id)]
        if not candidates:
            return None
        victim = self._crash_draws.choice(candidates)
        self._fleet.crash(victim)
        self.world.after(
            self.world.delays.crash_replacement_s, lambda: self._replace(found), "replace crashed instance"
        )
        return victim.instance_id

    def crash_copy(self, component: str) -> str | None:
        """The container of one serving copy dies (a seeded choice); it is loaded again. None if none serves."""
        serving = self.world.components[component].serving
        if not serving:
            return None
        victim = self._crash_draws.choice(serving)
        self._fleet.crash_copy(victim)
        return victim.copy_id

    # What can be seen

    def endpoint(self, name: str) -> Endpoint:
        """The record of an endpoint; ServiceError if there is none."""
        return self.world.endpoint(name)

    def component(self, name: str) -> Component:
        """The record of a component; ServiceError if there is none."""
        return self.world.component(name)

    def serving_copies(self, resource_id: str) -> tuple[str, ...]:
        """Ids of the copies (or single-model instances) that take requests now; KeyError for an unknown resource."""
        return tuple(self.world.meter(resource_id).serving)

    def supply_at(self, resource_id: str, at_s: float) -> SupplyPoint | None:
        """What a resource had at `at_s`; None before it existed."""
        return self.world.ledger.supply_at(resource_id, at_s)

    def timeline(self, resource_id: str) -> tuple[SupplyPoint, ...]:
        """All changes of a resource's supply, oldest first."""
        return self.world.ledger.timeline(resource_id)

    def copy_seconds(self, resource_id: str) -> float:
        """Copies that served, integrated over time until now."""
        return self.world.ledger.copy_seconds(resource_id, self.world.now_s)

    def instance_seconds(self) -> dict[str, float]:
        """Billed instance seconds by type until now."""
        return instance_seconds(self.world.instances, self.world.now_s)

    def cost_usd(self) -> float:
        """What the billed instance seconds cost until now."""
        return sum(
            self.world.catalogue[name].usd_per_hour * seconds / 3600.0
            for name, seconds in self.instance_seconds().items()
        )

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Every instance that was ever asked for, in order."""
        return tuple(self.world.instances)

    def room(self, instance: Instance) -> Room:
        """What is free on an instance."""
        return self._fleet.room(instance)

    # Below: how it runs

    def _operation_table(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        resources = ModelAndTagRequests(self.world)
        endpoints = EndpointRequests(self.world, self._endpoints, self._bluegreen, resources)
        components = ComponentRequests(self.world, self._components, self._managed, resources)
        return {
            "AddTags": resources.add_tags,
            "CreateEndpoint": endpoints.create_endpoint,
            "CreateEndpointConfig": endpoints.create_endpoint_config,
            "CreateInferenceComponent": components.create_inference_component,
            "CreateModel": resources.create_model,
            "DeleteEndpoint": endpoints.delete_endpoint,
            "DeleteEndpointConfig": endpoints.delete_endpoint_config,
            "DeleteInferenceComponent": components.delete_inference_component,
            "DeleteModel": resources.delete_model,
            "DeleteTags": resources.delete_tags,
            "DescribeEndpoint": endpoints.describe_endpoint,
            "DescribeEndpointConfig": endpoints.describe_endpoint_config,
            "DescribeInferenceComponent": components.describe_inference_component,
            "DescribeModel": resources.describe_model,
            "ListEndpoints": endpoints.list_endpoints,
            "ListInferenceComponents": components.list_inference_components,
            "ListTags": resources.list_tags,
            "UpdateEndpoint": endpoints.update_endpoint,
            "UpdateEndpointWeightsAndCapacities": endpoints.update_endpoint_weights_and_capacities,
            "UpdateInferenceComponent": components.update_inference_component,
            "UpdateInferenceComponentRuntimeConfig": components.update_inference_component_runtime_config,
        }

    def _take_steps(self, endpoint: Endpoint) -> None:
        """One round over one endpoint. Steps that change something ask for another round."""
        world = self.world
        if endpoint.name not in world.endpoints or endpoint.status == "Deleting":
            return
        self._bluegreen.step(endpoint)
        for variant in endpoint.variants.values():
            for component in world.components_of(variant):
                self._components.step(component)
            self._managed.step(variant)
        self._endpoints.step(endpoint)
        world.note_supply(endpoint)
        world.remember(endpoint.arn, describe_endpoint(endpoint, world))
        for variant in endpoint.variants.values():
            for component in world.components_of(variant):
                world.remember(component.arn, describe_component(component, world))

    def _replace(self, variant: Variant) -> None:
        """SageMaker brings a variant that lost an instance back to its count."""
        live = variant.endpoint.variants.get(variant.name) is variant and variant.endpoint.status != "Deleting"
        missing = variant.desired_instances - len(variant.in_service) - len(variant.coming)
        if live and missing > 0:
            self._fleet.launch(variant, 1, None, self._endpoints.short_of_capacity)
            self.world.settle(variant.endpoint)

    def _emit_metrics(self) -> None:
        world, now_s = self.world, self.world.now_s
        for metrics in list(world.metrics.values()):
            metrics.emit(now_s, world.publish, world.behaviour)
        if now_s % MINUTE_S != 0:
            return
        for endpoint in world.endpoints.values():
            for variant in endpoint.variants.values():
                if not world.components_of(variant):
                    continue
                reserved = sum(copy.need.accelerators for one in variant.in_service for copy in one.copies)
                accelerators = sum(world.type_of(one.instance_type).accelerators for one in variant.in_service)
                emit_gpu_reservation(
                    endpoint.name,
                    variant.name,
                    reserved=reserved,
                    accelerators=accelerators,
                    now_s=now_s,
                    publish=world.publish,
                )
