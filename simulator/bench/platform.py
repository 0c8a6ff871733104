"""The platform that every policy scales on: SageMaker's side of one component on one variant, fast.

The same rules and draws as the emulated account (`simulator.aws`), without its requests: launches and copy loads come
from the same seeded streams, so the k-th launch of a run takes the same time whatever the policy. What a policy can do:

* `wish(n)`: a copy count. A component takes one change at a time; while one runs the newest wish waits, as a client must
  do against `UPDATE_RC_IN_PROGRESS`. Used by peers, and by every policy with `managed` instances.
* `ask_copies(n)`, `ask_instances(n)`: the two SageMaker writes, refused while a change runs. Used by Quickstep.

With `managed` SageMaker adds the instances that copies need, and takes away those that have been empty for `release_s`.
An instance is billed from the request for it until it is gone. Times are seconds since the trace began.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from simulator.aws.sagemaker_delays import DelayStream, LaunchDraw
from simulator.bench.compiled_fleet import CompiledFleet
from simulator.bench.platform_records import Agenda, Copy, CopyState, Event, Instance

AAS_RELEASE_S = 600.0
"""SageMaker takes empty instances away "after 10 additional minutes" (AWS notebook scale_down_to_zero)."""
VARIANT = "endpoint/bench/variant/AllTraffic"
COMPONENT = "bench"


class Refused(Exception):
    """SageMaker takes no such change now."""


class Platform:
    """One component on one variant. `copies` serve at the beginning, on instances that have been there all along.

    `release_s` and `release_apart_s` (the least time between two releases) are used with `managed` only; the emulated
    account keeps releases 600 s apart, which is its most careful reading. `one_update_at_a_time` False = a new wish takes effect while copies of an
    earlier one still load: no SageMaker account does that, it is for comparisons.
    """

    def __init__(
        self,
        fleet: CompiledFleet,
        draws: DelayStream,
        *,
        copies: int,
        min_copies: int,
        max_copies: int,
        copies_per_instance: int = 1,
        managed: bool = True,
        release_s: float = AAS_RELEASE_S,
        release_apart_s: float = 0.0,
        one_update_at_a_time: bool = True,
        min_instances: int | None = None,
    ) -> None:
        if not 0 <= min_copies <= copies <= max_copies:
            raise ValueError(f"{copies} copies at the beginning are not within {min_copies} to {max_copies}")
        if copies_per_instance < 1:
            raise ValueError(f"copies_per_instance ({copies_per_instance}) must be at least 1")
        self.fleet, self.min_copies, self.max_copies = fleet, min_copies, max_copies
        self.managed = managed
        self._draws, self._delays = draws, draws.delays
        self._per_instance, self._locks = copies_per_instance, one_update_at_a_time
        self._release_s, self._release_apart_s, self._released_s = release_s, release_apart_s, -math.inf
        self.min_instances = min(1, min_copies) if min_instances is None else min_instances
        self.max_instances = -(-max_copies // copies_per_instance)
        self._agenda = Agenda()
        self._launches = self._warm_loads = 0
        self.instances: list[Instance] = []
        self._copies: list[Copy] = []
        self.desired_copies = copies
        self._queued: int | None = None
        self._copies_asked_s: float | None = None
        """When the copy change that runs was asked; None if none runs."""
        self._copies_end: Event | None = None
        self._growing = False
        self._instances_asked_s: float | None = None
        self._instances_end: Event | None = None
        self._short: Event | None = None
        self.on_endpoint_change: Callable[[float], None] | None = None
        """Called with the time whenever the endpoint begins or ends to be Updating."""
        first = max(-(-copies // copies_per_instance), self.min_instances)
        for _ in range(first):
            instance = Instance(LaunchDraw(0.0, 0.0), 0.0, in_service=True, warm=True, empty_since_s=0.0)
            self.instances.append(instance)
        self.desired_instances = first
        self._serving: list[tuple[float, int]] = [(0.0, 0)]
        self._billed: list[tuple[float, int]] = [(0.0, 0)]
        self._asked: list[tuple[float, int]] = [(0.0, copies)]
        self.wishes: list[tuple[float, int]] = [(0.0, copies)]
        """Every wish: when, and how many copies; the first is the beginning."""
        for _ in range(copies):
            self._serve(self._put(self._roomiest()), settle=False)
        self._note()
        self._settle()

    # ------------------------------------------------------------------ what policies do and see

    def wish(self, copies: int) -> None:
        """Ask for `copies`, within the bounds; while a change runs the newest wish waits."""
        copies = max(self.min_copies, min(self.max_copies, copies))
        self.note_wish(copies)
        if self._copies_asked_s is not None and self._locks:
            self._queued = None if copies == self.desired_copies else copies
        elif copies != self.desired_copies:
            self._begin_copies(copies)

    def ask_copies(self, copies: int) -> None:
        """UpdateInferenceComponentRuntimeConfig; raises `Refused` while the component is being updated."""
        if self._copies_asked_s is not None:
            raise Refused("Cannot update inference component while it is in state UPDATE_RC_IN_PROGRESS")
        self._begin_copies(copies)

    def ask_instances(self, instances: int) -> None:
        """UpdateEndpointWeightsAndCapacities; raises `Refused` while the endpoint is being updated."""
        if self._instances_asked_s is not None:
            raise Refused("Cannot update in-progress endpoint")
        self._instances_asked_s = self.now_s
        self._tell()
        self._resize(instances)
        self._settle()

    def note_wish(self, copies: int) -> None:
        """Remember that `copies` are wished from now on, also if they wait for instances."""
        if self.wishes[-1][1] != copies:
            self.wishes.append((self.now_s, copies))

    @property
    def now_s(self) -> float:
        return self.fleet.now_s

    @property
    def next_event_s(self) -> float:
        """When something happens next that is not a request's affair; infinite if nothing is on its way."""
        return self._agenda.next_s

    @property
    def serving_copies(self) -> int:
        return self.fleet.serving_copies

    @property
    def wished(self) -> int:
        """The newest wish, whether it waits or not."""
        return self.desired_copies if self._queued is None else self._queued

    @property
    def component_updates(self) -> bool:
        return self._copies_asked_s is not None

    @property
    def endpoint_updates(self) -> bool:
        return self._instances_asked_s is not None

    @property
    def instances_in_service(self) -> int:
        return sum(1 for one in self.instances if one.in_service and not one.terminating)

    def advance(self, until_s: float) -> np.ndarray:
        """Let everything happen up to `until_s`; a row per window of the fleet that ended on the way (see `kernel`)."""
        while (at_s := self._agenda.next_s) <= until_s:
            if at_s > self.now_s:
                self.fleet.reach(at_s)
            self._agenda.pop()()
        return self.fleet.advance(until_s)

    def per_period(self, length_s: float, period_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(copies that served, instances that were billed, copies that were asked for) at the end of every period."""
        ends = np.arange(1, round(length_s / period_s) + 1) * period_s
        return tuple(_at(changes, ends) for changes in (self._serving, self._billed, self._asked))

    @property
    def supply(self) -> list[tuple[float, int]]:
        """Serving copies: since when, and how many."""
        return self._serving

    # ------------------------------------------------------------------ copies

    def _begin_copies(self, copies: int) -> None:
        self._copies_asked_s = self.now_s
        self._copies_end = _cancelled(self._copies_end)
        self._short = _cancelled(self._short)
        self.desired_copies = copies
        self._asked.append((self.now_s, copies))
        self._queued = None
        self._settle()

    def _settle(self) -> None:
        """Start and stop what is missing or too much; notice what has reached its goal. Called after every change."""
        lasting = [copy for copy in self._copies if copy.state is not CopyState.DRAINING]
        surplus = len(lasting) - self.desired_copies
        for copy in lasting[::-1][: max(0, surplus)]:
            self._remove(copy)
        missing = max(0, -surplus)
        while missing and (instance := self._roomiest()) is not None:
            self._load(instance)
            missing -= 1
        if self.managed:
            if missing and not self._growing and self._wanted_instances(missing) > 0:
                self._growing = True
                self._after(self._delays.managed_reaction_s, self._grow)
            self._plan_release()
        else:
            self._settle_endpoint()
        self._settle_component(missing)

    def _settle_component(self, missing: int) -> None:
        if self._copies_asked_s is None:
            return
        moving = any(copy.state is not CopyState.SERVING for copy in self._copies)
        reached = not moving and not missing and len(self._copies) == self.desired_copies
        if not reached:
            self._copies_end = _cancelled(self._copies_end)
        elif self._copies_end is None:
            soonest_s = self._copies_asked_s + self._delays.copy_count_update_min_s
            self._copies_end = self._after(max(0.0, soonest_s - self.now_s), self._end_copies)
        # Nothing comes that could hold the missing copies: SageMaker settles for what there is.
        stuck = missing > 0 and not moving and not self.managed and not self._is_coming()
        if not stuck:
            self._short = _cancelled(self._short)
        elif self._short is None:
            self._short = self._after(self._delays.hardware_shortage_wait_s, self._end_copies)

    def _end_copies(self) -> None:
        self._copies_asked_s = self._copies_end = None
        self._short = _cancelled(self._short)
        queued, self._queued = self._queued, None
        if queued is not None and queued != self.desired_copies:
            self._begin_copies(queued)

    def _put(self, instance: Instance) -> Copy:
        copy = Copy(instance)
        self._copies.append(copy)
        instance.copies.append(copy)
        instance.empty_since_s = None
        return copy

    def _load(self, instance: Instance) -> None:
        copy = self._put(instance)
        if instance.warm:
            seconds = self._draws.warm_copy_s(COMPONENT, self._warm_loads)
            self._warm_loads += 1
        else:
            seconds = instance.draw.copy_s
        copy.event = self._after(seconds, lambda: self._serve(copy))

    def _serve(self, copy: Copy, *, settle: bool = True) -> None:
        copy.state, copy.event = CopyState.SERVING, None
        copy.instance.warm = True
        copy.number = self.fleet.add_copy()
        if settle:
            self._note()
            self._settle()

    def _remove(self, copy: Copy) -> None:
        if copy.state is CopyState.LOADING:
            _cancelled(copy.event)
            self._free(copy)
            return
        copy.state = CopyState.DRAINING
        copy.drain_until_s = self.now_s + self._delays.drain_limit_s
        self.fleet.remove_copy(copy.number)
        self._note()
        self._drain(copy)

    def _drain(self, copy: Copy) -> None:
        if self.fleet.is_there(copy.number) and self.now_s < copy.drain_until_s:
            copy.event = self._after(self._delays.drain_check_s, lambda: self._drain(copy))
            return
        if self.fleet.is_there(copy.number):
            self.fleet.remove_copy(copy.number, drain=False)

        def stopped() -> None:
            self._free(copy)
            self._settle()

        copy.event = self._after(self._delays.copy_stop_s, stopped)

    def _free(self, copy: Copy) -> None:
        instance = copy.instance
        self._copies.remove(copy)
        instance.copies.remove(copy)
        if not instance.copies:
            instance.empty_since_s = self.now_s
            if instance.terminating:
                self._stop(instance)

    # ------------------------------------------------------------------ instances

    def _roomiest(self) -> Instance | None:
        """SPREAD: the instance with the fewest copies, the oldest among equals; None if nothing is free."""
        free = [i for i in self.instances if i.in_service and not i.terminating and len(i.copies) < self._per_instance]
        return min(free, key=lambda i: len(i.copies), default=None)

    def _is_coming(self) -> bool:
        return any(not one.in_service for one in self.instances)

    def _wanted_instances(self, missing: int) -> int:
        coming = sum(1 for one in self.instances if not one.in_service)
        return max(0, -(-missing // self._per_instance) - coming)

    def _grow(self) -> None:
        self._growing = False
        lasting = sum(1 for copy in self._copies if copy.state is not CopyState.DRAINING)
        extra = self._wanted_instances(max(0, self.desired_copies - lasting))
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
        self._note()

    def _launch(self) -> None:
        instance = Instance(self._draws.launch(VARIANT, self._launches), self.now_s)
        self._launches += 1
        self.instances.append(instance)

        def in_service() -> None:
            instance.in_service, instance.event, instance.empty_since_s = True, None, self.now_s
            self._settle()

        instance.event = self._after(instance.draw.instance_s, in_service)

    def _terminate(self, instance: Instance) -> None:
        instance.terminating = True
        if not instance.in_service:
            _cancelled(instance.event)
            self._gone(instance)
        elif instance.copies:
            for copy in list(instance.copies):
                if copy.state is not CopyState.DRAINING:
                    self._remove(copy)
        else:
            self._stop(instance)

    def _stop(self, instance: Instance) -> None:
        def gone() -> None:
            self._gone(instance)
            self._settle()

        self._after(self._delays.instance_stop_s, gone)

    def _gone(self, instance: Instance) -> None:
        self.instances.remove(instance)
        self._note()

    def _settle_endpoint(self) -> None:
        if self._instances_asked_s is None:
            return
        reached = all(one.in_service and not one.terminating for one in self.instances)
        if not reached:
            self._instances_end = _cancelled(self._instances_end)
        elif self._instances_end is None:
            soonest_s = self._instances_asked_s + self._delays.weights_update_s
            delay_s = max(self._delays.endpoint_settle_s, soonest_s - self.now_s)

            def settled() -> None:
                self._instances_asked_s = self._instances_end = None
                self._tell()

            self._instances_end = self._after(delay_s, settled)

    def _plan_release(self) -> None:
        """Let every instance that stands empty go `release_s` after it became so, down to the least."""
        for instance in self.instances:
            if instance.event is None and self._is_idle(instance):
                due_s = max(self._due_s(instance), self.now_s)
                instance.event = self._agenda.at(due_s, lambda one=instance: self._release(one))

    def _is_idle(self, instance: Instance) -> bool:
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
            self._note()

    # ------------------------------------------------------------------ inside

    def _after(self, seconds: float, action: Callable[[], None]) -> Event:
        return self._agenda.at(self.now_s + seconds, action)

    def _tell(self) -> None:
        if self.on_endpoint_change is not None:
            self.on_endpoint_change(self.now_s)

    def _note(self) -> None:
        """Remember supply, where it has changed."""
        for changes, count in ((self._serving, self.serving_copies), (self._billed, len(self.instances))):
            if changes[-1][1] != count:
                changes.append((self.now_s, count))


def _cancelled(event: Event | None) -> None:
    if event is not None:
        event.cancel()


def _at(changes: list[tuple[float, int]], ends_s: np.ndarray) -> np.ndarray:
    times_s, counts = zip(*changes, strict=True)
    return np.array(counts, dtype=np.int64)[np.searchsorted(times_s, ends_s, side="right") - 1]
