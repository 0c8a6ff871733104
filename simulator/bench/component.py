"""One component on the benchmark's platform: its copies, its lock, and the fleet that serves its requests."""

from __future__ import annotations

from simulator.bench.compiled_fleet import CompiledFleet
from simulator.bench.endpoint import Endpoint, Refused
from simulator.bench.platform_records import Copy, CopyState, Event, Instance, cancelled

COMPONENT = "bench"


class Component:
    """A component called `name`, whose `copies` serve at the beginning. The endpoint has to be settled afterwards.

    `one_update_at_a_time` False = a new wish takes effect while copies of an earlier one still load: no SageMaker
    account does that, it is for comparisons.
    """

    def __init__(
        self,
        fleet: CompiledFleet,
        endpoint: Endpoint,
        *,
        copies: int,
        min_copies: int,
        max_copies: int,
        name: str = COMPONENT,
        one_update_at_a_time: bool = True,
    ) -> None:
        if not 0 <= min_copies <= copies <= max_copies:
            raise ValueError(f"{copies} copies at the beginning are not within {min_copies} to {max_copies}")
        self.fleet, self.endpoint, self.name = fleet, endpoint, name
        self.min_copies, self.max_copies = min_copies, max_copies
        self._delays, self._locks = endpoint.delays, one_update_at_a_time
        self._warm_loads = 0
        self._copies: list[Copy] = []
        self.desired_copies = copies
        self._queued: int | None = None
        self._asked_s: float | None = None
        """When the change of copies that runs was asked; None if none runs."""
        self._end: Event | None = None
        self._short: Event | None = None
        self.supply: list[tuple[float, int]] = [(0.0, 0)]
        """Serving copies: since when, and how many."""
        self.asked: list[tuple[float, int]] = [(0.0, copies)]
        self.wishes: list[tuple[float, int]] = [(0.0, copies)]
        """Every wish: when, and how many copies; the first is the beginning."""
        endpoint.components.append(self)
        for _ in range(copies):
            instance = endpoint.roomiest()
            if instance is None:
                raise ValueError(f"{copies} copies at the beginning do not fit on {len(endpoint.instances)} instances")
            self._serve(self._put(instance), settle=False)
        self._note()

    # ------------------------------------------------------------------ what policies do and see

    def wish(self, copies: int) -> None:
        """Ask for `copies`, within the bounds; while a change runs the newest wish waits."""
        copies = max(self.min_copies, min(self.max_copies, copies))
        self.note_wish(copies)
        if self._asked_s is not None and self._locks:
            self._queued = None if copies == self.desired_copies else copies
        elif copies != self.desired_copies:
            self._begin(copies)

    def ask_copies(self, copies: int) -> None:
        """UpdateInferenceComponentRuntimeConfig; raises `Refused` while the component is being updated."""
        if self._asked_s is not None:
            raise Refused("Cannot update inference component while it is in state UPDATE_RC_IN_PROGRESS")
        self._begin(copies)

    def note_wish(self, copies: int) -> None:
        """Remember that `copies` are wished from now on, also if they wait for instances."""
        if self.wishes[-1][1] != copies:
            self.wishes.append((self.now_s, copies))

    @property
    def now_s(self) -> float:
        return self.fleet.now_s

    @property
    def serving_copies(self) -> int:
        return self.fleet.serving_copies

    @property
    def wished(self) -> int:
        """The newest wish, whether it waits or not."""
        return self.desired_copies if self._queued is None else self._queued

    @property
    def component_updates(self) -> bool:
        return self._asked_s is not None

    # ------------------------------------------------------------------ what the endpoint needs

    @property
    def missing(self) -> int:
        """Copies that are asked for and neither serve nor load."""
        return max(0, self.desired_copies - len(self._lasting()))

    def place(self) -> int:
        """Stop what is too much, load what is missing where there is room; how many copies find none."""
        lasting = self._lasting()
        surplus = len(lasting) - self.desired_copies
        for copy in lasting[::-1][: max(0, surplus)]:
            self.remove(copy)
        missing = max(0, -surplus)
        while missing and (instance := self.endpoint.roomiest()) is not None:
            self._load(instance)
            missing -= 1
        return missing

    def notice(self, missing: int) -> None:
        """See whether the change that runs has reached its goal, `missing` copies having found no room."""
        if self._asked_s is None:
            return
        moving = any(copy.state is not CopyState.SERVING for copy in self._copies)
        reached = not moving and not missing and len(self._copies) == self.desired_copies
        if not reached:
            self._end = cancelled(self._end)
        elif self._end is None:
            soonest_s = self._asked_s + self._delays.copy_count_update_min_s
            self._end = self.endpoint.after(max(0.0, soonest_s - self.now_s), self._ended)
        # Nothing comes that could hold the missing copies: SageMaker settles for what there is.
        stuck = missing > 0 and not moving and not self.endpoint.managed and not self.endpoint.is_growing()
        if not stuck:
            self._short = cancelled(self._short)
        elif self._short is None:
            self._short = self.endpoint.after(self._delays.hardware_shortage_wait_s, self._ended)

    def remove(self, copy: Copy) -> None:
        """The copy takes nothing new; it goes when it has finished what it has, or at the drain limit."""
        if copy.state is CopyState.LOADING:
            cancelled(copy.event)
            self._free(copy)
            return
        copy.state = CopyState.DRAINING
        copy.drain_until_s = self.now_s + self._delays.drain_limit_s
        self.fleet.remove_copy(copy.number)
        self._note()
        self._drain(copy)

    # ------------------------------------------------------------------ inside

    def _lasting(self) -> list[Copy]:
        return [copy for copy in self._copies if copy.state is not CopyState.DRAINING]

    def _begin(self, copies: int) -> None:
        self._asked_s = self.now_s
        self._end = cancelled(self._end)
        self._short = cancelled(self._short)
        self.desired_copies = copies
        self.asked.append((self.now_s, copies))
        self._queued = None
        self.endpoint.settle()

    def _ended(self) -> None:
        self._asked_s = self._end = None
        self._short = cancelled(self._short)
        queued, self._queued = self._queued, None
        if queued is not None and queued != self.desired_copies:
            self._begin(queued)

    def _put(self, instance: Instance) -> Copy:
        copy = Copy(instance, self)
        self._copies.append(copy)
        instance.copies.append(copy)
        instance.empty_since_s = None
        return copy

    def _load(self, instance: Instance) -> None:
        copy = self._put(instance)
        if instance.warm:
            seconds = self.endpoint.draws.warm_copy_s(self.name, self._warm_loads)
            self._warm_loads += 1
        else:
            seconds = instance.draw.copy_s
        copy.event = self.endpoint.after(seconds, lambda: self._serve(copy))

    def _serve(self, copy: Copy, *, settle: bool = True) -> None:
        copy.state, copy.event = CopyState.SERVING, None
        copy.instance.warm = True
        copy.number = self.fleet.add_copy()
        if settle:
            self._note()
            self.endpoint.settle()

    def _drain(self, copy: Copy) -> None:
        if self.fleet.is_there(copy.number) and self.now_s < copy.drain_until_s:
            copy.event = self.endpoint.after(self._delays.drain_check_s, lambda: self._drain(copy))
            return
        if self.fleet.is_there(copy.number):
            self.fleet.remove_copy(copy.number, drain=False)

        def stopped() -> None:
            self._free(copy)
            self.endpoint.settle()

        copy.event = self.endpoint.after(self._delays.copy_stop_s, stopped)

    def _free(self, copy: Copy) -> None:
        self._copies.remove(copy)
        copy.instance.copies.remove(copy)
        if not copy.instance.copies:
            self.endpoint.emptied(copy.instance)

    def _note(self) -> None:
        """Remember supply, where it has changed; and what is paid for, which is looked at whenever it may have."""
        if self.supply[-1][1] != self.serving_copies:
            self.supply.append((self.now_s, self.serving_copies))
        self.endpoint.note()
