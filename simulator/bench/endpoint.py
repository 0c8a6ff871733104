"""The instances of one variant on the benchmark's platform: launches, releases, and what is paid for.

Components place their copies on them (`component.Component`); one endpoint may have several, and an instance holds
copies of any of them. Times are seconds since the trace began.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from simulator.aws.sagemaker_delays import DelayStream, LaunchDraw
from simulator.bench.platform_records import Agenda, CopyState, Event, Instance, cancelled

if TYPE_CHECKING:
    from simulator.bench.component import Component

AAS_RELEASE_S = 600.0
"""SageMaker takes empty instances away "after 10 additional minutes" (AWS notebook scale_down_to_zero)."""
VARIANT = "endpoint/bench/variant/AllTraffic"


class Refused(Exception):
    """SageMaker takes no such change now."""


class Endpoint:
    """One variant. `instances` have been there all along; components are added by their own constructor.

    With `managed` SageMaker adds the instances that copies need, and takes away those that have been empty for
    `release_s`, at least `release_apart_s` apart; else instances change only by `ask_instances`.
    """

    def __init__(
        self,
        draws: DelayStream,
        *,
        instances: int,
        min_instances: int,
        max_instances: int,
        copies_per_instance: int = 1,
        managed: bool = True,
        release_s: float = AAS_RELEASE_S,
        release_apart_s: float = 0.0,
    ) -> None:
        if copies_per_instance < 1:
            raise ValueError(f"copies_per_instance ({copies_per_instance}) must be at least 1")
        self.draws, self.delays = draws, draws.delays
        self.managed, self.min_instances, self.max_instances = managed, min_instances, max_instances
        self.copies_per_instance = copies_per_instance
        self._release_s, self._release_apart_s, self._released_s = release_s, release_apart_s, -math.inf
        self._agenda = Agenda()
        self._launches = 0
        self._growing = False
        self._asked_s: float | None = None
        """When the change of instances that runs was asked; None if none runs."""
        self._end: Event | None = None
        self.components: list[Component] = []
        self.on_change: Callable[[float], None] | None = None
        """Called with the time whenever the endpoint begins or ends to be Updating."""
        self.instances: list[Instance] = []
        for _ in range(instances):
            instance = Instance(LaunchDraw(0.0, 0.0), 0.0, in_service=True, warm=True, empty_since_s=0.0)
            self.instances.append(instance)
        self.desired_instances = instances
        self.billed: list[tuple[float, int]] = [(0.0, 0)]

    # ------------------------------------------------------------------ what policies do and see

    def ask_instances(self, instances: int) -> None:
        """UpdateEndpointWeightsAndCapacities; raises `Refused` while the endpoint is being updated."""
        if self._asked_s is not None:
            raise Refused("Cannot update in-progress endpoint")
        self._asked_s = self.now_s
        self._tell()
        self._resize(instances)
        self.settle()

    @property
    def now_s(self) -> float:
        return self.components[0].fleet.now_s

    @property
    def next_event_s(self) -> float:
        """When something happens next that is not a request's affair; infinite if nothing is on its way."""
        return self._agenda.next_s

    @property
    def updates(self) -> bool:
        return self._asked_s is not None

    @property
    def instances_in_service(self) -> int:
        return sum(1 for one in self.instances if one.in_service and not one.terminating)

    def advance(self, until_s: float) -> list[np.ndarray]:
        """Let everything happen up to `until_s`; per component, a row for each of its windows that ended on the way."""
        fleets = [component.fleet for component in self.components]
        while (at_s := self._agenda.next_s) <= until_s:
            if at_s > self.now_s:
                for fleet in fleets:
                    fleet.reach(at_s)
            self._agenda.pop()()
        return [fleet.advance(until_s) for fleet in fleets]

    # ------------------------------------------------------------------ what components need

    def settle(self) -> None:
        """Start and stop what is missing or too much; notice what has reached its goal. Called after every change."""
        missing = [component.place() for component in self.components]
        if self.managed:
            short = sum(missing)
            if short and not self._growing and self._wanted_instances(short) > 0:
                self._growing = True
                self.after(self.delays.managed_reaction_s, self._grow)
            self._plan_release()
        else:
            self._settle_instances()
        for component, count in zip(self.components, missing, strict=True):
            component.notice(count)

    def roomiest(self) -> Instance | None:
        """SPREAD: the instance with the fewest copies, the oldest among equals; None if nothing is free."""
        most = self.copies_per_instance
        free = [i for i in self.instances if i.in_service and not i.terminating and len(i.copies) < most]
        return min(free, key=lambda i: len(i.copies), default=None)

    def is_growing(self) -> bool:
        """True if an instance is on its way."""
        return any(not one.in_service for one in self.instances)

    def emptied(self, instance: Instance) -> None:
        """The last copy has left `instance`."""
        instance.empty_since_s = self.now_s
        if instance.terminating:
            self._stop(instance)

    def after(self, seconds: float, action: Callable[[], None]) -> Event:
        return self._agenda.at(self.now_s + seconds, action)

    def note(self) -> None:
        """Remember how many instances are paid for, where it has changed."""
        if self.billed[-1][1] != len(self.instances):
            self.billed.append((self.now_s, len(self.instances)))

    # ------------------------------------------------------------------ inside

    def _wanted_instances(self, missing: int) -> int:
        coming = sum(1 for one in self.instances if not one.in_service)
        return max(0, -(-missing // self.copies_per_instance) - coming)

    def _grow(self) -> None:
        self._growing = False
        extra = self._wanted_instances(sum(component.missing for component in self.components))
        if extra:
            self._resize(self.desired_instances + extra)

    def _resize(self, count: int) -> None:
        self.desired_instances = count
        here = [one for one in self.instances if not one.terminating]
        for _ in range(count - len(here)):
            self._launch()
        if count < len(here):
            # Those that are still coming first, then empty ones, the newest among equals.
            order = sorted(enumerate(here), key=lambda pair: (pair[1].in_service, len(pair[1].copies), -pair[0]))
            for _, instance in order[: len(here) - count]:
                self._terminate(instance)
        self.note()

    def _launch(self) -> None:
        instance = Instance(self.draws.launch(VARIANT, self._launches), self.now_s)
        self._launches += 1
        self.instances.append(instance)

        def in_service() -> None:
            instance.in_service, instance.event, instance.empty_since_s = True, None, self.now_s
            self.settle()

        instance.event = self.after(instance.draw.instance_s, in_service)

    def _terminate(self, instance: Instance) -> None:
        instance.terminating = True
        if not instance.in_service:
            cancelled(instance.event)
            self._gone(instance)
        elif instance.copies:
            for copy in list(instance.copies):
                if copy.state is not CopyState.DRAINING:
                    copy.owner.remove(copy)
        else:
            self._stop(instance)

    def _stop(self, instance: Instance) -> None:
        def gone() -> None:
            self._gone(instance)
            self.settle()

        self.after(self.delays.instance_stop_s, gone)

    def _gone(self, instance: Instance) -> None:
        self.instances.remove(instance)
        self.note()

    def _settle_instances(self) -> None:
        if self._asked_s is None:
            return
        reached = all(one.in_service and not one.terminating for one in self.instances)
        if not reached:
            self._end = cancelled(self._end)
        elif self._end is None:
            soonest_s = self._asked_s + self.delays.weights_update_s
            delay_s = max(self.delays.endpoint_settle_s, soonest_s - self.now_s)

            def settled() -> None:
                self._asked_s = self._end = None
                self._tell()

            self._end = self.after(delay_s, settled)

    def _plan_release(self) -> None:
        """Let every instance that stands empty go `release_s` after it became so, down to the least."""
        for instance in self.instances:
            if instance.event is None and self._is_idle(instance):
                due_s = max(self._due_s(instance), self.now_s)
                instance.event = self._agenda.at(due_s, lambda one=instance: self._release(one))

    @staticmethod
    def _is_idle(instance: Instance) -> bool:
        return instance.in_service and not instance.terminating and instance.empty_since_s is not None

    def _due_s(self, instance: Instance) -> float:
        assert instance.empty_since_s is not None
        return max(instance.empty_since_s + self._release_s, self._released_s + self._release_apart_s)

    def _release(self, instance: Instance) -> None:
        instance.event = None
        if not self._is_idle(instance):
            return
        if self._due_s(instance) > self.now_s:
            self._plan_release()
        elif self.desired_instances > self.min_instances:
            self.desired_instances -= 1
            self._released_s = self.now_s
            self._terminate(instance)
            self.note()

    def _tell(self) -> None:
        if self.on_change is not None:
            self.on_change(self.now_s)
