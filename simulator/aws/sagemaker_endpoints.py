"""The life of an endpoint: one change at a time, what each waits for, and how it ends when AWS has no instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.aws import sagemaker_texts as texts
from simulator.aws.sagemaker_events import emit_status
from simulator.aws.sagemaker_faults import Ending, Shortage
from simulator.aws.sagemaker_fleet import Fleet
from simulator.aws.sagemaker_records import Endpoint, EndpointOperation, InstanceState, Variant
from simulator.aws.sagemaker_world import World

# Changes that end when their instances have come or gone; the others end on a timer of their own.
ENDS_WITH_INSTANCES = ("create", "capacity", "weights", "managed", "release")
MAY_FAIL = ("create", "capacity", "managed", "update")


class Endpoints:
    """Runs changes of endpoints. Requests are checked before they come here."""

    def __init__(self, world: World, fleet: Fleet) -> None:
        self._world = world
        self._fleet = fleet

    def create(self, name: str, config_name: str) -> Endpoint:
        """Create an endpoint from a configuration and launch its first instances."""
        world = self._world
        endpoint = Endpoint(
            name=name,
            arn=world.arn("endpoint", name),
            config_name=config_name,
            created_s=world.now_s,
            modified_s=world.now_s,
        )
        world.endpoints[name] = endpoint
        for config in world.configs[config_name]["ProductionVariants"]:
            variant = new_variant(endpoint, config)
            endpoint.variants[variant.name] = variant
            self.open_meter(variant)
        operation = self.begin(endpoint, "create", status="Creating")
        for variant in endpoint.variants.values():
            self.show(variant, "Creating", f"Launching {variant.desired_instances} instance(s).")
            self._fleet.launch(variant, variant.desired_instances, operation, self.short_of_capacity)
        self.announce(endpoint)
        world.settle(endpoint)
        return endpoint

    def open_meter(self, variant: Variant) -> None:
        """A variant that hosts one model has a traffic of its own; components have theirs."""
        if variant.model_name is not None:
            dimensions = {"EndpointName": variant.endpoint.name, "VariantName": variant.name}
            self._world.open_meter(variant.resource_id, dimensions, of_component=False)

    def change_capacity(self, endpoint: Endpoint, counts: Mapping[str, int], weights: Mapping[str, float]) -> None:
        """UpdateEndpointWeightsAndCapacities: new instance counts and weights by variant name."""
        world = self._world
        with world.together(endpoint):
            operation = self.begin(endpoint, "capacity" if counts else "weights")
            operation.not_before_s = world.now_s + world.delays.weights_update_s
            for name, weight in weights.items():
                endpoint.variants[name].weight = weight
            for name, count in counts.items():
                self.resize(endpoint.variants[name], count, operation)
            self.announce(endpoint)

    def resize(self, variant: Variant, count: int, operation: EndpointOperation) -> None:
        """Bring a variant to `count` instances within a change that has begun."""
        before, variant.desired_instances = variant.desired_instances, count
        if count != before:
            direction = "out" if count > before else "in"
            self.show(variant, "Updating", f"Scaling {direction} desired instance count to {count}.")
        here = len(variant.coming) + len(variant.in_service)
        if count > here:
            self._fleet.launch(variant, count - here, operation, self.short_of_capacity)
        elif count < here and not operation.failing:
            for instance in self._fleet.pick_victims(variant, here - count):
                self._fleet.terminate(instance)

    def delete(self, endpoint: Endpoint) -> None:
        """Delete an endpoint. Its components stay behind, InService, and block their names."""
        world = self._world
        with world.together(endpoint):
            self.begin(endpoint, "delete", status="Deleting")
            self.announce(endpoint)
            orphans = [c for variant in endpoint.variants.values() for c in world.components_of(variant)]
            for component in orphans:
                component.frozen_copies = len(component.serving)
            for variant in endpoint.variants.values():
                self.forget_plans(variant)
                variant.desired_instances = 0
                for instance in list(variant.instances):
                    if instance.state in (InstanceState.IN_SERVICE, InstanceState.TERMINATING):
                        self._fleet.crash(instance)
                    else:
                        self._fleet.terminate(instance)
            world.note_supply(endpoint)
            for component in orphans:
                component.orphaned = True
                component.operation = None
                component.status = "InService"

        def gone() -> None:
            del world.endpoints[endpoint.name]
            for variant in endpoint.variants.values():
                world.metrics.pop(variant.resource_id, None)

        world.after(world.delays.delete_endpoint_s, gone, "endpoint deleted")

    def forget_plans(self, variant: Variant) -> None:
        """Drop what managed scaling had planned for a variant that goes."""
        for event in (variant.grow_event, variant.release_event):
            if event is not None:
                event.cancel()

    def system_update(self, endpoint: Endpoint, duration_s: float) -> bool:
        """SageMaker's own maintenance: nothing can be changed meanwhile. False if the endpoint is not InService."""
        if endpoint.status != "InService":
            return False
        operation = self.begin(endpoint, "system", status="SystemUpdating")
        self.announce(endpoint)
        operation.finish = self._world.after(
            duration_s, lambda: self._finish(endpoint, operation), "system update ends"
        )
        self._world.settle(endpoint)
        return True

    def begin(self, endpoint: Endpoint, kind: str, *, status: str = "Updating") -> EndpointOperation:
        """Start a change: the endpoint takes no other one until `end`. Say so with `announce` when it is filled in."""
        world = self._world
        operation = EndpointOperation(
            kind, world.now_s, {variant.name: variant.desired_instances for variant in endpoint.variants.values()}
        )
        if endpoint.operation is not None:
            self._cancel(endpoint.operation)
        endpoint.operation = operation
        endpoint.failure_reason = None
        endpoint.status = status
        endpoint.modified_s = world.now_s
        failure = world.faults.endpoint_failures.pop(endpoint.name, None) if kind in MAY_FAIL else None
        if failure is not None:
            operation.failing = True
            operation.events.append(
                world.after(failure.after_s, lambda: self.give_up(endpoint, operation, failure.ending), "update fails")
            )
        return operation

    def step(self, endpoint: Endpoint) -> None:
        """Notice that a change has reached its goal."""
        operation = endpoint.operation
        if operation is None or operation.kind not in ENDS_WITH_INSTANCES or operation.failing or operation.finish:
            return
        if self._reached(endpoint):
            world = self._world
            at_s = max(world.now_s + world.delays.endpoint_settle_s, operation.not_before_s)
            operation.finish = world.after(
                at_s - world.now_s, lambda: self._finish(endpoint, operation), "endpoint settles"
            )

    def finish_at(self, endpoint: Endpoint, at_s: float) -> None:
        """Let the running change end at `at_s`."""
        operation = endpoint.operation
        assert operation is not None
        operation.finish = self._world.after(
            at_s - self._world.now_s, lambda: self._finish(endpoint, operation), "endpoint settles"
        )

    def short_of_capacity(self, operation: EndpointOperation, shortage: Shortage) -> None:
        """AWS had no instances for as long as SageMaker waits."""
        for endpoint in self._world.endpoints.values():
            if endpoint.operation is operation:
                waiting = [instance for instance in operation.launched if instance.state is InstanceState.WAITING]
                if waiting:
                    self.give_up(endpoint, operation, shortage.ending)
                return

    def give_up(self, endpoint: Endpoint, operation: EndpointOperation, ending: Ending) -> None:
        """End a change that cannot reach its goal, in one of the ways that SageMaker has."""
        if endpoint.operation is not operation:
            return
        world = self._world
        hold_s = world.faults.endpoint_holds_s.get(endpoint.name, 0.0)
        if hold_s > world.now_s:
            world.after(hold_s - world.now_s, lambda: self.give_up(endpoint, operation, ending), "update fails")
            return
        if operation.kind in ("create", "update") and ending is Ending.PARTIAL:
            ending = Ending.REASON  # half a fleet is no fleet
        with world.together(endpoint):
            for instance in operation.launched:
                if ending is not Ending.PARTIAL or instance.state is InstanceState.WAITING:
                    self._fleet.terminate(instance)
            self._restore_counts(endpoint, operation, ending)
            self._end_as(endpoint, operation, ending)

    def _end_as(self, endpoint: Endpoint, operation: EndpointOperation, ending: Ending) -> None:
        reason = texts.NO_CAPACITY if operation.short_of_capacity else texts.UPDATE_FAILED
        if operation.kind == "create":
            self.end(endpoint, status="Failed", reason=reason)
        elif ending is Ending.ROLLBACK_FAILED:
            self.end(endpoint, status="UpdateRollbackFailed", reason=reason)
        elif ending is Ending.ROLL_BACK:
            rollback = self.begin(endpoint, "rollback", status="RollingBack")
            endpoint.failure_reason = reason
            self.announce(endpoint)
            delay_s = self._world.delays.rollback_s
            rollback.finish = self._world.after(delay_s, lambda: self.end(endpoint, reason=reason), "rolled back")
        else:
            self.end(endpoint, reason=reason if ending is Ending.REASON else None)

    def end(self, endpoint: Endpoint, *, status: str = "InService", reason: str | None = None) -> None:
        """The running change is over."""
        if endpoint.operation is not None:
            self._cancel(endpoint.operation)
        endpoint.operation = None
        endpoint.last_operation_end_s = self._world.now_s
        endpoint.failure_reason = reason
        for variant in endpoint.variants.values():
            variant.statuses = []
        endpoint.status = status
        endpoint.modified_s = self._world.now_s
        self.announce(endpoint)
        self._world.settle(endpoint)

    def announce(self, endpoint: Endpoint) -> None:
        """Emit the events of a status change."""
        emit_status(endpoint, self._world.tags.get(endpoint.arn, {}), self._world.emit_event)

    def show(self, variant: Variant, status: str, message: str) -> None:
        """Set the variant's VariantStatus."""
        entry: dict[str, Any] = {"Status": status, "StatusMessage": message, "StartTime": self._world.now_s}
        variant.statuses = [entry]

    def _finish(self, endpoint: Endpoint, operation: EndpointOperation) -> None:
        if endpoint.operation is not operation:
            return
        world = self._world
        hold_s = world.faults.endpoint_holds_s.get(endpoint.name, 0.0)
        if hold_s > world.now_s:
            self.finish_at(endpoint, hold_s)
        elif operation.kind in ENDS_WITH_INSTANCES and not self._reached(endpoint):
            operation.finish = None
        else:
            self.end(endpoint)

    def _reached(self, endpoint: Endpoint) -> bool:
        """Nothing comes or goes; a crashed instance that AWS cannot replace is not this change's affair."""
        operation = endpoint.operation
        asked = operation.launched if operation is not None else []
        return all(
            instance.state is InstanceState.IN_SERVICE
            or (instance.state is InstanceState.WAITING and instance not in asked)
            for variant in endpoint.variants.values()
            for instance in variant.instances
        )

    def _restore_counts(self, endpoint: Endpoint, operation: EndpointOperation, ending: Ending) -> None:
        for variant in endpoint.variants.values():
            if ending is Ending.PARTIAL:
                variant.desired_instances = len(variant.coming) + len(variant.in_service)
            elif operation.kind != "create":
                variant.desired_instances = operation.desired_before[variant.name]
            # SageMaker does not try again by itself: the components settle for what there is.
            for component in self._world.components_of(variant):
                component.wants_instances = False

    @staticmethod
    def _cancel(operation: EndpointOperation) -> None:
        for event in operation.events:
            event.cancel()
        if operation.finish is not None:
            operation.finish.cancel()


def new_variant(endpoint: Endpoint, config: dict[str, Any]) -> Variant:
    """A variant as its configuration describes it, without instances."""
    return Variant(
        endpoint=endpoint,
        name=config["VariantName"],
        config=config,
        desired_instances=config["InitialInstanceCount"],
        weight=float(config.get("InitialVariantWeight", 1.0)),
    )
