"""The platform that every policy scales on: SageMaker's side of one component on one variant, fast.

The same rules and draws as the emulated account (`simulator.aws`), without its requests: launches and copy loads come
from the same seeded streams, so the k-th launch of a run takes the same time whatever the policy. What a policy can do:

* `wish(n)`: a copy count. A component takes one change at a time; while one runs the newest wish waits, as a client must
  do against `UPDATE_RC_IN_PROGRESS`. Used by peers, and by every policy with `managed` instances.
* `ask_copies(n)`, `ask_instances(n)`: the two SageMaker writes, refused while a change runs. Used by Quickstep.

With `managed` SageMaker adds the instances that copies need, and takes away those that have been empty for `release_s`.
An instance is billed from the request for it until it is gone. Times are seconds since the trace began. Copies are
`component.Component`, instances `endpoint.Endpoint`; this module is the usual case, one of each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.aws.sagemaker_delays import DelayStream
from simulator.bench.compiled_fleet import CompiledFleet
from simulator.bench.component import COMPONENT, Component
from simulator.bench.endpoint import AAS_RELEASE_S, VARIANT, Endpoint, Refused
from simulator.bench.platform_records import Instance

__all__ = ["AAS_RELEASE_S", "COMPONENT", "VARIANT", "Platform", "Refused", "counts_at"]


class Platform(Component):
    """One component on one variant. `copies` serve at the beginning, on instances that have been there all along.

    `release_s` and `release_apart_s` (the least time between two releases) are used with `managed` only; the emulated
    account keeps releases 600 s apart, which is its most careful reading. `one_update_at_a_time` as of `Component`.
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
        least = min(1, min_copies) if min_instances is None else min_instances
        endpoint = Endpoint(
            draws,
            instances=max(-(-copies // max(1, copies_per_instance)), least),
            min_instances=least,
            max_instances=-(-max_copies // max(1, copies_per_instance)),
            copies_per_instance=copies_per_instance,
            managed=managed,
            release_s=release_s,
            release_apart_s=release_apart_s,
        )
        super().__init__(
            fleet,
            endpoint,
            copies=copies,
            min_copies=min_copies,
            max_copies=max_copies,
            one_update_at_a_time=one_update_at_a_time,
        )
        endpoint.settle()

    def ask_instances(self, instances: int) -> None:
        """UpdateEndpointWeightsAndCapacities; raises `Refused` while the endpoint is being updated."""
        self.endpoint.ask_instances(instances)

    @property
    def on_endpoint_change(self) -> Callable[[float], None] | None:
        """Called with the time whenever the endpoint begins or ends to be Updating."""
        return self.endpoint.on_change

    @on_endpoint_change.setter
    def on_endpoint_change(self, action: Callable[[float], None] | None) -> None:
        self.endpoint.on_change = action

    @property
    def next_event_s(self) -> float:
        """When something happens next that is not a request's affair; infinite if nothing is on its way."""
        return self.endpoint.next_event_s

    @property
    def endpoint_updates(self) -> bool:
        return self.endpoint.updates

    @property
    def managed(self) -> bool:
        return self.endpoint.managed

    @property
    def instances(self) -> list[Instance]:
        return self.endpoint.instances

    @property
    def instances_in_service(self) -> int:
        return self.endpoint.instances_in_service

    @property
    def desired_instances(self) -> int:
        return self.endpoint.desired_instances

    @property
    def min_instances(self) -> int:
        return self.endpoint.min_instances

    @property
    def max_instances(self) -> int:
        return self.endpoint.max_instances

    def advance(self, until_s: float) -> np.ndarray:
        """Let everything happen up to `until_s`; a row per window of the fleet that ended on the way (see `kernel`)."""
        return self.endpoint.advance(until_s)[0]

    def per_period(self, length_s: float, period_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(copies that served, instances that were billed, copies that were asked for) at the end of every period."""
        ends_s = np.arange(1, round(length_s / period_s) + 1) * period_s
        return tuple(counts_at(changes, ends_s) for changes in (self.supply, self.endpoint.billed, self.asked))


def counts_at(changes: list[tuple[float, int]], ends_s: np.ndarray) -> np.ndarray:
    """The count that stood at each of `ends_s`, from (since when, how many)."""
    times_s, counts = zip(*changes, strict=True)
    return np.array(counts, dtype=np.int64)[np.searchsorted(times_s, ends_s, side="right") - 1]
