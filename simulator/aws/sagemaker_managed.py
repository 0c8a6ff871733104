"""Managed instance scaling: SageMaker adds the instances that copies need and releases those that stay empty.

Out: as soon as copies do not fit, up to MaxInstanceCount, within the quota. In: an instance that has been empty for
`release_delay_s` goes, never below MinInstanceCount, at most MaximumStepSize at a time. With a ScaleInPolicy its
CooldownInMinutes (20 by default) must have passed since the last change of the endpoint; without one, steps are
`release_delay_s` apart. CONSOLIDATION first moves the copies of one instance elsewhere, if all of them fit there.
"""

from __future__ import annotations

from simulator.aws.sagemaker_endpoints import Endpoints
from simulator.aws.sagemaker_fleet import Fleet
from simulator.aws.sagemaker_placement import (
    SPREAD,
    Requirements,
    Unplaced,
    choose,
    empty_room,
    extra_instances,
    requirements,
)
from simulator.aws.sagemaker_records import Component, CopyState, Instance, Variant
from simulator.aws.sagemaker_world import World
from simulator.errors import ServiceError

DEFAULT_COOLDOWN_MINUTES = 20
DEFAULT_MIN_INSTANCES = 1
"""Of a configuration that names no MinInstanceCount (assumed)."""
NO_MAXIMUM = 10_000
"""Of a configuration that names no MaxInstanceCount: then the quota alone is the limit (assumed)."""


class ManagedScaling:
    """Scales the instances of variants whose ManagedInstanceScaling is ENABLED."""

    def __init__(self, world: World, fleet: Fleet, endpoints: Endpoints) -> None:
        self._world = world
        self._fleet = fleet
        self._endpoints = endpoints

    def refusal(
        self, variant: Variant, need: Requirements, missing: int, apart_from: Component | None = None
    ) -> ServiceError | None:
        """The quota refusal that a request for `missing` more copies meets; None if it meets none.

        A request is refused whole or granted whole. `apart_from` is the component that asks, if it exists already.
        """
        if variant.managed is None:
            return None
        wanted = self._unplaced(variant, apart_from)
        if missing > 0:
            wanted.append(Unplaced(need, SPREAD, missing))
        return self._world.quota_refusal(variant.instance_types[0], self._extra(variant, wanted))

    def may_grow(self, variant: Variant) -> bool:
        """True if instances for the unplaced copies are still to be asked for."""
        return variant.managed is not None and (variant.grow_event is not None or self._wanted_extra(variant) > 0)

    def step(self, variant: Variant) -> None:
        """Look at one variant and plan what follows."""
        if variant.managed is None:
            return
        if variant.grow_event is None and self._wanted_extra(variant) > 0:
            delay_s = self._world.delays.managed_reaction_s
            variant.grow_event = self._world.after(delay_s, lambda: self._grow(variant), "managed scaling adds")
        self._plan_release(variant)

    # Out

    def _grow(self, variant: Variant) -> None:
        variant.grow_event = None
        endpoint, world = variant.endpoint, self._world
        extra = self._wanted_extra(variant)
        if extra <= 0 or endpoint.status not in ("InService", "Updating"):
            return
        if endpoint.operation is not None and endpoint.operation.kind != "managed":
            return  # looked at again when that change ends
        while extra > 0 and world.quota_refusal(variant.instance_types[0], extra) is not None:
            extra -= 1
        if extra == 0:
            for component in world.components_of(variant):
                component.wants_instances = False
        else:
            operation = endpoint.operation or self._endpoints.begin(endpoint, "managed")
            self._endpoints.resize(variant, variant.desired_instances + extra, operation)
            self._endpoints.announce(endpoint)
        world.settle(endpoint)

    def _wanted_extra(self, variant: Variant) -> int:
        return self._extra(variant, self._unplaced(variant))

    def _unplaced(self, variant: Variant, apart_from: Component | None = None) -> list[Unplaced]:
        return [
            Unplaced(self._need(component), SPREAD, component.unplaced)
            for component in self._world.components_of(variant)
            if component.unplaced and component.wants_instances and component is not apart_from
        ]

    def _extra(self, variant: Variant, unplaced: list[Unplaced]) -> int:
        assert variant.managed is not None
        limit = variant.managed.get("MaxInstanceCount", NO_MAXIMUM) - variant.desired_instances
        empty = empty_room(self._world.type_of(variant.instance_types[0]))
        rooms = [self._fleet.room(instance) for instance in variant.in_service]
        rooms += [empty_room(self._world.type_of(instance.instance_type)) for instance in variant.coming]
        return extra_instances(rooms, unplaced, empty, max(limit, 0))

    @staticmethod
    def _need(component: Component) -> Requirements:
        # The target version of a rolling update is the last in the list.
        specification = component.specification(component.variant.instance_types[0], len(component.specifications) - 1)
        return requirements(specification or {})

    # In

    def _plan_release(self, variant: Variant) -> None:
        if variant.release_event is not None:
            variant.release_event.cancel()
            variant.release_event = None
        if variant.endpoint.status != "InService":
            return
        at_s = self._release_at_s(variant)
        if at_s is not None:
            delay_s = max(0.0, at_s - self._world.now_s)
            variant.release_event = self._world.after(
                delay_s, lambda: self._release(variant), "managed scaling releases"
            )

    def _release_at_s(self, variant: Variant) -> float | None:
        """When the next instance may go (or the next move may start); None if there is nothing to give back."""
        assert variant.managed is not None
        if variant.desired_instances <= variant.managed.get("MinInstanceCount", DEFAULT_MIN_INSTANCES):
            return None
        delay_s = self._world.delays.release_delay_s
        idle_s = [
            instance.empty_since_s + delay_s for instance in variant.in_service if instance.empty_since_s is not None
        ]
        policy = variant.managed.get("ScaleInPolicy")
        if policy is None:
            earliest_s = 0.0 if variant.last_release_s is None else variant.last_release_s + delay_s
        else:
            cooldown_s = 60.0 * policy.get("CooldownInMinutes", DEFAULT_COOLDOWN_MINUTES)
            earliest_s = variant.endpoint.last_operation_end_s + cooldown_s
            if not idle_s and policy["Strategy"] == "CONSOLIDATION" and self._movable(variant) is not None:
                return earliest_s
        return max(min(idle_s), earliest_s) if idle_s else None

    def _release(self, variant: Variant) -> None:
        variant.release_event = None
        endpoint, managed, world = variant.endpoint, variant.managed, self._world
        if managed is None or endpoint.status != "InService" or endpoint.variants.get(variant.name) is not variant:
            return
        delay_s = world.delays.release_delay_s
        idle = [
            instance
            for instance in variant.in_service
            if instance.empty_since_s is not None and instance.empty_since_s + delay_s <= world.now_s
        ]
        if not idle:
            source = self._movable(variant)
            if source is not None:
                with world.together(endpoint):
                    for copy in list(source.copies):
                        self._fleet.move(copy)
            return
        step = managed.get("ScaleInPolicy", {}).get("MaximumStepSize", 1)
        count = min(len(idle), step, variant.desired_instances - managed.get("MinInstanceCount", DEFAULT_MIN_INSTANCES))
        with world.together(endpoint):
            self._endpoints.begin(endpoint, "release")
            variant.desired_instances -= count
            variant.last_release_s = world.now_s
            message = f"Scaling in desired instance count to {variant.desired_instances}."
            self._endpoints.show(variant, "Updating", message)
            self._endpoints.announce(endpoint)
            for instance in idle[::-1][:count]:  # the newest go first
                self._fleet.terminate(instance)

    def _movable(self, variant: Variant) -> Instance | None:
        """The instance with the fewest copies whose copies all fit on the others; None if there is none.

        Nothing is moved while anything loads, drains or changes on the variant.
        """
        if any(component.operation for component in self._world.components_of(variant)):
            return None
        if any(copy.state is not CopyState.SERVING for instance in variant.instances for copy in instance.copies):
            return None
        candidates = sorted(variant.in_service, key=lambda instance: len(instance.copies))
        for candidate in candidates:
            rooms = [self._fleet.room(instance) for instance in variant.in_service if instance is not candidate]
            for copy in candidate.copies:
                index = choose(rooms, copy.need, SPREAD)
                if index is None:
                    break
                rooms[index] = rooms[index].less(copy.need)
            else:
                return candidate if candidate.copies else None
        return None
