"""Instances and copies: launched, loaded, drained, taken away, crashed. What a variant physically consists of."""

from __future__ import annotations

from collections.abc import Callable

from simulator.aws.sagemaker_faults import Shortage
from simulator.aws.sagemaker_load import LoadMeter
from simulator.aws.sagemaker_placement import Requirements, Room, choose, empty_room, requirements, strategy
from simulator.aws.sagemaker_records import (
    Component,
    Copy,
    CopyState,
    EndpointOperation,
    Instance,
    InstanceState,
    Variant,
)
from simulator.aws.sagemaker_world import World

GiveUp = Callable[[EndpointOperation, Shortage], None]


class Fleet:
    """Carries out what the endpoint, component and managed-scaling parts decide. Ends each change with `world.settle`."""

    def __init__(self, world: World) -> None:
        self._world = world

    # Instances

    def launch(self, variant: Variant, count: int, operation: EndpointOperation | None, give_up: GiveUp) -> None:
        """Ask AWS for `count` more instances. What AWS has not got waits until a shortage ends or `give_up` is called.

        Without an operation (the replacement of a crashed instance) waiting has no end of its own.
        """
        for _ in range(count):
            instance = self._new_instance(variant)
            if operation is not None:
                operation.launched.append(instance)
            self._ask(instance, operation, give_up)

    def add_in_service(self, variant: Variant) -> Instance:
        """An instance that has been in service all along (a scenario's start). Uses up no launch number."""
        world = self._world
        instance = Instance(
            instance_id=f"i-{len(world.instances):017x}",
            variant=variant,
            instance_type=variant.instance_types[0],
            draw=world.draws.launch(variant.resource_id, -1 - len(variant.instances)),
            requested_s=world.now_s,
            warm=True,
        )
        instance.billed_from_s = world.now_s
        self._keep(instance)
        self._in_service(instance)
        return instance

    def pick_victims(self, variant: Variant, count: int) -> list[Instance]:
        """Which instances a scale-in takes: a seeded choice among all of them, or among the empty ones (`Behaviour`).

        Instances that are still on their way go first; of a variant with pools, those of the lowest priority.
        """
        coming = variant.coming[::-1][:count]
        types = variant.instance_types
        stream = self._world.draws.stream("victim", variant.resource_id, variant.scale_ins)
        variant.scale_ins += 1
        candidates = [(stream.random(), instance) for instance in variant.in_service]
        empty_first = self._world.behaviour.empty_instances_leave_first
        candidates.sort(
            key=lambda drawn: (
                -types.index(drawn[1].instance_type),
                bool(drawn[1].copies) and empty_first,
                drawn[0],
            )
        )
        return coming + [instance for _, instance in candidates[: count - len(coming)]]

    def terminate(self, instance: Instance) -> None:
        """Take an instance away: its requests finish first if the account drains, its copies go with it."""
        world = self._world
        if instance.state in (InstanceState.WAITING, InstanceState.LAUNCHING):
            self._gone(instance)
        elif instance.state is InstanceState.IN_SERVICE:
            instance.state = InstanceState.TERMINATING
            if instance.variant.model_name is not None and self._is_live(instance.variant):
                meter = world.meter(instance.variant.resource_id)
                self._drain(instance, meter, instance.instance_id, lambda: self._stop(instance))
            elif instance.copies:
                for copy in list(instance.copies):
                    self.remove(copy)
            else:
                self._stop(instance)

    def crash(self, instance: Instance) -> None:
        """An instance that serves or terminates is gone at once; whatever was in flight on it breaks."""
        with self._world.together(instance.variant.endpoint):
            self._crash(instance)

    # Copies

    def place(
        self, component: Component, version: int, *, serving: bool = False, variant: Variant | None = None
    ) -> bool:
        """Put one more copy onto an instance in service; False if it fits on none.

        It serves after its loading time, or at once with `serving` (a scenario's start, a new fleet taking over).
        """
        chosen = self._choose(component, version, variant or component.variant, avoid=None)
        if chosen is None:
            return False
        self._start(component, chosen, version, serving=serving)
        return True

    def move(self, copy: Copy) -> bool:
        """Start a replacement of `copy` on another instance; the old one goes when the new one serves."""
        chosen = self._choose(copy.component, copy.version, copy.instance.variant, avoid=copy.instance)
        if chosen is None:
            return False
        self._start(copy.component, chosen, copy.version, replaces=copy)
        return True

    def remove(self, copy: Copy) -> None:
        """Take one copy out of service; its accelerators are free once it has drained and stopped."""
        world = self._world
        if copy.state is CopyState.LOADING:
            self._free(copy)
        elif copy.state is CopyState.SERVING:
            copy.state = CopyState.DRAINING
            meter = world.meter(copy.component.resource_id)
            self._drain(copy, meter, copy.copy_id, lambda: self._stop_copy(copy))
            world.settle(copy.component.endpoint)

    def crash_copy(self, copy: Copy) -> None:
        """The container of one copy that serves dies: it is out of service at once, and another one is loaded."""
        world = self._world
        world.meter(copy.component.resource_id).remove_copy(copy.copy_id, world.now_s, drain=False)
        self._free(copy)

    def room(self, instance: Instance, component: Component | None = None) -> Room:
        """What is free on an instance, with the copies of `component` on it counted."""
        free = empty_room(self._world.type_of(instance.instance_type))
        own = sum(1 for copy in instance.copies if copy.component is component)
        for copy in instance.copies:
            free = free.less(copy.need)
        return Room(free.accelerators, free.cpu_cores, free.memory_mb, own)

    # Below: one step each

    def _crash(self, instance: Instance) -> None:
        world, served = self._world, instance.state is InstanceState.IN_SERVICE
        instance.state = InstanceState.GONE
        for copy in list(instance.copies):
            if copy.state is CopyState.SERVING:
                world.meter(copy.component.resource_id).remove_copy(copy.copy_id, world.now_s, drain=False)
            elif copy.state is CopyState.DRAINING:
                world.meter(copy.component.resource_id).break_off(copy.copy_id, world.now_s)
            self._free(copy)
        if instance.variant.model_name is not None and self._is_live(instance.variant):
            meter = world.meter(instance.variant.resource_id)
            if served:
                meter.remove_copy(instance.instance_id, world.now_s, drain=False)
            else:
                meter.break_off(instance.instance_id, world.now_s)
        self._gone(instance)

    def _new_instance(self, variant: Variant) -> Instance:
        world = self._world
        number = variant.launches
        variant.launches += 1
        instance = Instance(
            instance_id=f"i-{len(world.instances):017x}",
            variant=variant,
            instance_type=self._type_with_capacity(variant),
            draw=world.draws.launch(variant.resource_id, number),
            requested_s=world.now_s,
        )
        self._keep(instance)
        return instance

    def _type_with_capacity(self, variant: Variant) -> str:
        """The first type of a pool that AWS has; the first of all if it has none (then the launch waits)."""
        faults, now_s = self._world.faults, self._world.now_s
        for name in variant.instance_types:
            shortage = faults.shortage(name, now_s)
            if shortage is None or shortage.available > 0:
                return name
        return variant.instance_types[0]

    def _keep(self, instance: Instance) -> None:
        self._world.instances.append(instance)
        instance.variant.instances.append(instance)

    def _ask(self, instance: Instance, operation: EndpointOperation | None, give_up: GiveUp) -> None:
        world = self._world
        if operation is not None and operation.failing:
            return
        shortage = world.faults.shortage(instance.instance_type, world.now_s)
        if shortage is None or shortage.available > 0:
            if shortage is not None:
                shortage.available -= 1
            self._begin_launch(instance)
            return
        if shortage.end_s != float("inf"):
            instance.event = world.clock.at(
                shortage.end_s, lambda: self._ask(instance, operation, give_up), label="capacity is back"
            )
        if operation is not None and not operation.short_of_capacity:
            operation.short_of_capacity = True
            wait_s = shortage.give_up_after_s
            wait_s = world.delays.shortage_give_up_s if wait_s is None else wait_s
            operation.events.append(world.after(wait_s, lambda: give_up(operation, shortage), "no capacity: give up"))

    def _begin_launch(self, instance: Instance) -> None:
        world = self._world
        instance.state = InstanceState.LAUNCHING
        instance.billed_from_s = world.now_s
        seconds = instance.draw.instance_s
        if instance.variant.model_name is not None:
            seconds += instance.draw.copy_s
        instance.event = world.after(seconds, lambda: self._in_service(instance), "instance in service")

    def _in_service(self, instance: Instance) -> None:
        world, variant = self._world, instance.variant
        instance.state = InstanceState.IN_SERVICE
        instance.event = None
        instance.in_service_s = instance.empty_since_s = world.now_s
        if variant.model_name is not None and self._is_live(variant):
            world.meter(variant.resource_id).add_copy(instance.instance_id, world.now_s)
        world.settle(variant.endpoint)

    def _is_live(self, variant: Variant) -> bool:
        """False for the new fleet of a blue/green update: it gets no traffic yet."""
        return variant.endpoint.variants.get(variant.name) is variant

    def _stop(self, instance: Instance) -> None:
        seconds = self._world.delays.instance_stop_s
        instance.event = self._world.after(seconds, lambda: self._gone(instance), "instance gone")

    def _gone(self, instance: Instance) -> None:
        if instance.event is not None:
            instance.event.cancel()
        instance.state = InstanceState.GONE
        instance.ended_s = self._world.now_s
        instance.variant.instances.remove(instance)
        self._world.settle(instance.variant.endpoint)

    def _choose(self, component: Component, version: int, variant: Variant, avoid: Instance | None) -> Instance | None:
        options = []
        for instance in variant.in_service:
            specification = component.specification(instance.instance_type, version)
            if specification is not None and instance is not avoid:
                options.append((instance, requirements(specification), strategy(specification)))
        if not options:
            return None
        # Requirements may differ between the types of a pool: rooms without the right one are left out one by one.
        best = [
            (instance, self.room(instance, component), placement)
            for instance, need, placement in options
            if self.room(instance, component).fits(need)
        ]
        index = choose([room for _, room, _ in best], Requirements(), options[0][2])
        return None if index is None else best[index][0]

    def _start(
        self,
        component: Component,
        instance: Instance,
        version: int,
        *,
        serving: bool = False,
        replaces: Copy | None = None,
    ) -> None:
        world = self._world
        specification = component.specification(instance.instance_type, version)
        assert specification is not None
        copy = Copy(
            copy_id=f"{component.name}/{component.started}",
            component=component,
            instance=instance,
            need=requirements(specification),
            version=version,
            replaces=replaces,
        )
        component.started += 1
        component.copies.append(copy)
        instance.copies.append(copy)
        instance.empty_since_s = None
        if serving:
            self._serve(copy)
            return
        if instance.warm:
            seconds = world.draws.warm_copy_s(component.name, component.warm_loads)
            component.warm_loads += 1
        else:
            seconds = instance.draw.copy_s
        copy.event = world.after(seconds, lambda: self._serve(copy), "copy serves")

    def _serve(self, copy: Copy) -> None:
        world = self._world
        copy.state = CopyState.SERVING
        copy.event = None
        copy.instance.warm = True
        world.meter(copy.component.resource_id).add_copy(copy.copy_id, world.now_s)
        if copy.replaces is not None:
            old, copy.replaces = copy.replaces, None
            self.remove(old)
        world.settle(copy.component.endpoint)

    def _stop_copy(self, copy: Copy) -> None:
        seconds = self._world.delays.copy_stop_s
        copy.event = self._world.after(seconds, lambda: self._free(copy), "copy gone")

    def _free(self, copy: Copy) -> None:
        world, instance = self._world, copy.instance
        if copy.event is not None:
            copy.event.cancel()
        copy.state = CopyState.GONE
        copy.component.copies.remove(copy)
        instance.copies.remove(copy)
        if not instance.copies:
            instance.empty_since_s = world.now_s
            if instance.state is InstanceState.TERMINATING:
                self._stop(instance)
        world.settle(copy.component.endpoint)

    def _drain(self, holder: Copy | Instance, meter: LoadMeter, copy_id: str, then: Callable[[], None]) -> None:
        """Take a copy off the traffic and call `then` when nothing is in flight on it, or the drain limit is over."""
        world = self._world
        drains = world.behaviour.drain_removed_copies
        meter.remove_copy(copy_id, world.now_s, drain=drains)
        deadline_s = world.now_s + world.delays.drain_limit_s

        def look() -> None:
            if not drains or meter.in_flight(copy_id, world.now_s) <= 0:
                then()
            elif world.now_s >= deadline_s:
                meter.break_off(copy_id, world.now_s)
                then()
            else:
                holder.event = world.after(world.delays.drain_check_s, look, "drain")

        look()
