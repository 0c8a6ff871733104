"""A fluid fleet: requests as a level instead of one by one, for questions about a rule rather than about a trace.

The world of `simulator.peers.step` behind the interface of `CompiledFleet`, so that Quickstep can be driven through it as
it is deployed. `level` is what the clients bring: in a closed loop the requests that they keep in flight whatever the
copies do, in an open loop the requests a second; what the copies do not carry waits, and gives up once it has waited long.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from simulator.bench import kernel as k

STEP_S = 1.0


class FluidFleet:
    """Copies that each carry `carried_per_copy` requests at once; times are seconds since the beginning.

    `service_s`: what a request takes on a copy that carries so many. `fixed_share`: part of it that does not depend on how
    many there are (1 = all of it, as in `simulator.peers.step`). `patience_s`: see there. `in_flight`: at the beginning.
    """

    def __init__(
        self,
        level: Callable[[float], float],
        *,
        carried_per_copy: float,
        open_loop: bool,
        service_s: float = 10.0,
        fixed_share: float = 1.0,
        patience_s: float = 50.0,
        window_s: float = 10.0,
        in_flight: float = 0.0,
    ) -> None:
        if not (carried_per_copy > 0 and service_s > 0 and window_s >= STEP_S and 0 < fixed_share <= 1):
            raise ValueError(
                f"carried_per_copy ({carried_per_copy}) and service_s ({service_s}) must be above 0, fixed_share "
                f"({fixed_share}) above 0 and at most 1, window_s ({window_s}) at least {STEP_S:g}"
            )
        self._level, self._carried, self._open = level, carried_per_copy, open_loop
        self._service_s, self._fixed, self._patience_s = service_s, fixed_share, patience_s
        self._window_s = window_s
        self._there: list[bool] = []
        self._rows: list[np.ndarray] = []
        self._window = np.zeros(k.W_SIZE)
        self.now_s = 0.0
        self.serving_copies = 0
        self.in_flight = in_flight
        self.arrived = self.lost = 0.0

    def advance(self, until_s: float) -> np.ndarray:
        """Let time pass until `until_s`; a row (`kernel.W_…`) for every window that has ended since the last call."""
        self.reach(until_s)
        rows, self._rows = self._rows, []
        return np.array(rows).reshape(-1, k.W_SIZE)

    def reach(self, at_s: float) -> None:
        """As `advance`, with the rows kept for it."""
        while self.now_s < at_s:
            end_s = min(at_s, math.floor(self.now_s / STEP_S + 1 + 1e-9) * STEP_S)
            self._step(end_s - self.now_s)
            self.now_s = end_s
            ended = self.now_s / self._window_s
            if ended == round(ended):
                self._end_window()

    def add_copy(self) -> int:
        """One more copy serves from now on; its number."""
        self._there.append(True)
        self.serving_copies += 1
        return len(self._there) - 1

    def remove_copy(self, copy: int, *, drain: bool = True) -> None:
        """The copy is gone at once; what it had is carried by the others."""
        if not self.is_there(copy):
            raise ValueError(f"there is no copy {copy} to remove")
        self._there[copy] = False
        self.serving_copies -= 1

    def is_there(self, copy: int) -> bool:
        """True while the copy serves."""
        return 0 <= copy < len(self._there) and self._there[copy]

    def _step(self, for_s: float) -> None:
        level, copies = self._level(self.now_s), self.serving_copies
        carried = copies * self._carried
        if not self._open:
            self.in_flight = level
        served = min(self.in_flight, carried)
        pace = self._fixed + (1 - self._fixed) * (served / carried) if carried else 1.0
        completions = min(self.in_flight, served / (self._service_s * pace) * for_s)
        row = self._window
        row[k.W_IN_FLIGHT_MEAN] += self.in_flight * for_s
        row[k.W_IN_FLIGHT_MAX] = max(row[k.W_IN_FLIGHT_MAX], self.in_flight)
        row[k.W_COPIES_MEAN] += copies * for_s
        row[k.W_WAITING_MEAN] += max(0.0, self.in_flight - carried) * for_s
        if copies:
            row[k.W_SERVED_S] += for_s
            row[k.W_PER_COPY_MEAN] += self.in_flight / copies * for_s
            row[k.W_PER_COPY_MAX] = max(row[k.W_PER_COPY_MAX], self.in_flight / copies)
        row[k.W_COMPLETIONS] += completions
        # Little's law: the area under what is in flight is the sum of the times that requests spend.
        row[k.W_LATENCY_SUM_S] += self.in_flight * for_s
        arrivals = level * for_s if self._open else completions
        row[k.W_ARRIVALS] += arrivals
        row[k.W_ACCEPTED] += arrivals
        self.arrived += arrivals
        if self._open:
            self.in_flight += arrivals - completions
            leaving = max(0.0, self.in_flight - carried - self._patience_s * level)
            self.in_flight -= leaving
            self.lost += leaving

    def _end_window(self) -> None:
        row = self._window
        for column in (k.W_IN_FLIGHT_MEAN, k.W_COPIES_MEAN, k.W_WAITING_MEAN):
            row[column] /= self._window_s
        if row[k.W_SERVED_S]:
            row[k.W_PER_COPY_MEAN] /= row[k.W_SERVED_S]
        self._rows.append(row)
        self._window = np.zeros(k.W_SIZE)
