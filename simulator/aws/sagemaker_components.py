"""The life of an inference component: copies follow the wish, one change at a time, and what happens when they do not fit."""

from __future__ import annotations

from typing import Any

from simulator.aws import sagemaker_texts as texts
from simulator.aws.sagemaker_behaviour import HardwareShortage
from simulator.aws.sagemaker_faults import ComponentEnding
from simulator.aws.sagemaker_fleet import Fleet
from simulator.aws.sagemaker_managed import ManagedScaling
from simulator.aws.sagemaker_placement import empty_room, requirements
from simulator.aws.sagemaker_records import Component, ComponentOperation, Copy, CopyState, Endpoint
from simulator.aws.sagemaker_rolling import RollingUpdates
from simulator.aws.sagemaker_world import World
from simulator.clock import Scheduled

STATES = {
    "create": "CREATE_IN_PROGRESS",
    "copies": "UPDATE_RC_IN_PROGRESS",
    "rolling": "UPDATE_IN_PROGRESS",
    "rolling_back": "UPDATE_ROLLBACK_IN_PROGRESS",
    "delete": "DELETE_IN_PROGRESS",
}
"""Internal words that leak in refusals; CREATE_, UPDATE_RC_ and DELETE_IN_PROGRESS are on record."""


class Components:
    """Runs changes of components. Requests are checked before they come here."""

    def __init__(self, world: World, fleet: Fleet, managed: ManagedScaling) -> None:
        self._world = world
        self._fleet = fleet
        self._managed = managed
        self._rolling = RollingUpdates(world, fleet, self._ended)

    def create(
        self,
        name: str,
        endpoint: Endpoint,
        variant_name: str,
        specifications: list[dict[str, Any]],
        *,
        several: bool,
        copies: int,
    ) -> Component:
        """Create a component and load its first copies."""
        component = self.register(name, endpoint, variant_name, specifications, several=several, copies=copies)
        self._begin(component, "create")
        self._world.settle(endpoint)
        return component

    def register(
        self,
        name: str,
        endpoint: Endpoint,
        variant_name: str,
        specifications: list[dict[str, Any]],
        *,
        several: bool,
        copies: int,
    ) -> Component:
        """Write a component down without loading anything."""
        world = self._world
        component = Component(
            name=name,
            arn=world.arn("inference-component", name),
            endpoint=endpoint,
            variant_name=variant_name,
            specifications=[specifications],
            several=several,
            desired_copies=copies,
            created_s=world.now_s,
            modified_s=world.now_s,
        )
        world.components[name] = component
        world.open_meter(component.resource_id, {"InferenceComponentName": name}, of_component=True)
        return component

    def set_copies(self, component: Component, copies: int) -> None:
        """UpdateInferenceComponentRuntimeConfig."""
        self._begin(component, "copies")
        component.desired_copies = copies
        self._world.settle(component.endpoint)

    def roll(
        self,
        component: Component,
        specifications: list[dict[str, Any]],
        *,
        copies: int | None,
        deployment: dict[str, Any] | None,
    ) -> None:
        """UpdateInferenceComponent with a new specification: copies are replaced batch by batch."""
        operation = self._begin(component, "rolling")
        component.last_deployment = deployment
        self._rolling.prepare(component, operation, specifications, copies=copies, deployment=deployment)
        self._world.settle(component.endpoint)

    def delete(self, component: Component) -> None:
        """Delete a component: its copies drain and stop, then the name is free."""
        world = self._world
        self._begin(component, "delete")
        component.desired_copies = 0
        if component.orphaned:
            world.after(world.delays.delete_component_s, lambda: self._forget(component), "component deleted")
        else:
            world.settle(component.endpoint)

    def step(self, component: Component) -> None:
        """Start and remove what is missing or too much, and notice that a change has reached its goal."""
        if component.base is not None:
            self._finish_when(component, reached=True)
            return
        operation = component.operation
        if operation is not None and operation.kind == "rolling":
            reached = self._rolling.step(component, operation)
        else:
            self._converge(component)
            settled = not component.in_state(CopyState.LOADING, CopyState.DRAINING)
            reached = settled and len(component.serving) == component.desired_copies
            reached = reached and not (operation is not None and operation.failing)
        if component.operation is operation:
            self._finish_when(component, reached=reached)
            self._watch_shortage(component)

    def _converge(self, component: Component) -> None:
        """Copies follow DesiredCopyCount: the newest go first, missing ones are placed as soon as they fit."""
        if component.operation is not None and component.operation.failing:
            component.unplaced = 0
            return
        live = _lasting(component)
        surplus = len(live) - component.desired_copies
        for copy in live[::-1][: max(surplus, 0)]:
            self._fleet.remove(copy)
        missing = max(-surplus, 0)
        if component.status == "Failed":
            component.unplaced = 0
            return
        while missing and self._fleet.place(component, component.version):
            missing -= 1
        component.unplaced = missing

    def _begin(self, component: Component, kind: str) -> ComponentOperation:
        world = self._world
        operation = ComponentOperation(
            kind,
            world.now_s,
            not_before_s=world.now_s + world.delays.copy_count_update_min_s,
            desired_before=component.desired_copies,
            old_version=component.version,
        )
        component.operation = operation
        component.status = {"create": "Creating", "delete": "Deleting"}.get(kind, "Updating")
        component.state = STATES[kind]
        component.failure_reason = None
        component.wants_instances = True
        component.modified_s = world.now_s
        failure = world.faults.component_failures.pop(component.name, None) if kind != "delete" else None
        if failure is not None:
            operation.events.append(
                world.after(failure.after_s, lambda: self._fail(component, operation, failure.ending), "update fails")
            )
            operation.failing = True
        return operation

    def _finish_when(self, component: Component, *, reached: bool) -> None:
        operation = component.operation
        if operation is None:
            return
        if not reached:
            operation.finish = _cancelled(operation.finish)
        elif operation.finish is None:
            delay_s = max(0.0, operation.not_before_s - self._world.now_s)
            operation.finish = self._world.after(
                delay_s, lambda: self._finish(component, operation), "component settles"
            )

    def _finish(self, component: Component, operation: ComponentOperation) -> None:
        if component.operation is not operation:
            return
        world = self._world
        hold_s = world.faults.component_holds_s.get(component.name, 0.0)
        if hold_s > world.now_s:
            delay_s = hold_s - world.now_s
            operation.finish = world.after(delay_s, lambda: self._finish(component, operation), "component settles")
        elif operation.kind == "delete":
            operation.events.append(
                world.after(world.delays.delete_component_s, lambda: self._forget(component), "component deleted")
            )
        else:
            self._ended(component, reason=operation.failure_reason)

    def _forget(self, component: Component) -> None:
        world = self._world
        if world.components.get(component.name) is component:
            del world.components[component.name]
            del world.metrics[component.resource_id]
            if not component.orphaned:
                world.settle(component.endpoint)

    def _ended(self, component: Component, *, status: str = "InService", reason: str | None = None) -> None:
        """The running change is over."""
        operation = component.operation
        if operation is not None:
            for event in (*operation.events, operation.finish, operation.shortage):
                _cancelled(event)
        component.operation = None
        component.status = status
        component.state = "IN_SERVICE" if status == "InService" else "FAILED"
        component.failure_reason = reason
        component.modified_s = self._world.now_s
        self._world.settle(component.endpoint)

    def _fail(self, component: Component, operation: ComponentOperation, ending: ComponentEnding) -> None:
        """A change that was made to fail ends."""
        if component.operation is not operation:
            return
        if operation.kind == "rolling":
            self._rolling.roll_back(component, operation, texts.UPDATE_FAILED)
            return
        if ending is ComponentEnding.FAILED or operation.kind == "create":
            self._ended(component, status="Failed", reason=texts.UPDATE_FAILED)
            return
        component.desired_copies = operation.desired_before
        self._ended(component, reason=texts.UPDATE_FAILED if ending is ComponentEnding.REASON else None)

    # Copies that fit nowhere

    def _watch_shortage(self, component: Component) -> None:
        operation = component.operation
        if operation is None:
            return
        short = (
            component.unplaced > 0
            and not component.in_state(CopyState.LOADING, CopyState.DRAINING)
            and (self._impossible(component) or not self._room_is_coming(component))
        )
        if not short:
            operation.shortage = _cancelled(operation.shortage)
        elif operation.shortage is None:
            delays = self._world.delays
            delay_s = delays.instant_refusal_s if self._impossible(component) else delays.hardware_shortage_wait_s
            operation.shortage = self._world.after(
                delay_s, lambda: self._settle_short(component, operation), "no room for copies"
            )

    def _room_is_coming(self, component: Component) -> bool:
        variant = component.variant
        running = component.endpoint.operation
        return bool(
            variant.coming
            or (running is not None and running.kind == "update")
            or (component.wants_instances and self._managed.may_grow(variant))
        )

    def _impossible(self, component: Component) -> bool:
        """True if one copy does not even fit on an empty instance of any type of the variant."""
        version = len(component.specifications) - 1
        for name in component.variant.instance_types:
            specification = component.specification(name, version)
            if specification and empty_room(self._world.type_of(name)).fits(requirements(specification)):
                return False
        return True

    def _settle_short(self, component: Component, operation: ComponentOperation) -> None:
        if component.operation is not operation:
            return
        how = self._world.behaviour.hardware_shortage
        if operation.kind == "rolling":
            self._rolling.roll_back(component, operation, texts.NO_HARDWARE)
        elif how is HardwareShortage.FAIL or (operation.kind == "create" and not component.serving):
            self._ended(component, status="Failed", reason=texts.NO_HARDWARE)
        else:
            if how is HardwareShortage.ROLL_BACK and operation.kind == "copies":
                component.desired_copies = operation.desired_before
            self._ended(component, reason=texts.NO_HARDWARE)


def _lasting(component: Component) -> list[Copy]:
    """Copies that count against the wish, oldest first: not those that drain, nor the replacement of one that serves."""
    return [
        copy
        for copy in component.in_state(CopyState.LOADING, CopyState.SERVING)
        if copy.replaces is None or copy.replaces.state is not CopyState.SERVING
    ]


def _cancelled(event: Scheduled | None) -> None:
    if event is not None:
        event.cancel()
