"""All copies of one component under an open-loop trace, on the compiled engine: the bench's `CopyFleet`.

Beside speed it differs in two ways: copies have numbers, and windows of a fixed length are cut by the engine itself and
come out of `advance` as rows (columns: `kernel.W_…`). Times are seconds since the trace began.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simulator.bench import kernel as k
from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import OpenArrivals, RequestLog
from simulator.physics.routing import ROUTINGS

_FIRST_SLOTS = 16


@dataclass(frozen=True, eq=False)
class TraceColumns:
    """Requests in order of arrival: seconds since the trace began (64-bit), input and output tokens (32-bit).

    Read only, so that runs may share them (also as memory-mapped files).
    """

    times_s: np.ndarray
    input_tokens: np.ndarray
    output_tokens: np.ndarray

    @classmethod
    def of(cls, arrivals: OpenArrivals) -> TraceColumns:
        return cls(
            np.asarray(arrivals.times_s - arrivals.start_s),
            arrivals.input_tokens.astype(np.int32),
            arrivals.output_tokens.astype(np.int32),
        )

    def __len__(self) -> int:
        return len(self.times_s)


class CompiledFleet:
    """Serves `trace` with `profile`. Parameters as of `CopyFleet`; `window_s` is the length of a window.

    ValueError for settings that cannot work.
    """

    def __init__(
        self,
        profile: ServiceProfile,
        trace: TraceColumns,
        routing: str = "LEAST_OUTSTANDING_REQUESTS",
        *,
        client_timeout_s: float | None = 60.0,
        retry_interval_s: float | None = 5.0,
        seed: int = 0,
        window_s: float = 10.0,
    ) -> None:
        if routing not in ROUTINGS:
            raise ValueError(f"routing {routing!r} is not emulated; choose one of {', '.join(ROUTINGS)}")
        for name, value in (("client_timeout_s", client_timeout_s), ("retry_interval_s", retry_interval_s)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} ({value}) must be above 0, or None")
        if not window_s > 0:
            raise ValueError(f"window_s ({window_s}) must be above 0 seconds")
        if not 0 <= seed < 1 << 53:
            raise ValueError(f"seed ({seed}) must be a whole number from 0 to 2^53")
        requests = len(trace)
        self.profile, self.trace = profile, trace
        self._trace = (trace.times_s, trace.input_tokens, trace.output_tokens)
        self._requests = (
            np.full(requests, math.nan),
            np.full(requests, math.nan),
            np.zeros(requests, np.uint8),
            np.zeros(requests, np.int32),
            np.zeros(requests, np.int32),
        )
        self._slots = _slots(_FIRST_SLOTS, profile.max_sequences)
        self._tau = np.array([profile.step_s(n) for n in range(profile.max_sequences + 1)])
        self._par = np.zeros(7)
        self._par[k.P_PREFILL], self._par[k.P_PREFILL_PER_TOKEN] = profile.prefill_base_s, profile.prefill_s_per_token
        self._par[k.P_TIMEOUT] = math.inf if client_timeout_s is None else client_timeout_s
        self._par[k.P_RETRY] = math.inf if retry_interval_s is None else retry_interval_s
        self._par[k.P_WINDOW], self._par[k.P_SEED], self._par[k.P_RANDOM] = window_s, seed, routing == "RANDOM"
        self._n = np.zeros(k.N_SIZE, np.int64)
        self._n[[k.AGAIN_HEAD, k.AGAIN_TAIL, k.AGAIN_NEXT]] = -1
        self._n[k.USED] = 1
        self._x = np.zeros(k.X_SIZE)
        self._slot_of_copy: list[int] = []
        self._copy_in_slot: dict[int, int] = {}
        self._rows = np.zeros((64, k.W_SIZE))

    def advance(self, until_s: float) -> np.ndarray:
        """Let everything happen that is due at or before `until_s`; the windows that have ended, one row each.

        The rows are valid until the next call. ValueError if `until_s` lies in the past.
        """
        self._advance(until_s, True)
        ended = self._n[k.ROWS]
        self._n[k.ROWS] = 0
        return self._rows[:ended]

    def reach(self, at_s: float) -> None:
        """Go to `at_s` as `CopyFleet.add_copy` does: completions of that very instant have happened, nothing else of it.

        To be called before copies are added or removed at `at_s`.
        """
        self._advance(at_s, False)

    def add_copy(self) -> int:
        """One more copy serves from now on; its number, 0, 1, 2, … in order of calls."""
        slot = k.occupy(self._x[k.NOW], self._slots, self._n)
        if slot < 0:
            self._slots = _grown(self._slots)
            slot = k.occupy(self._x[k.NOW], self._slots, self._n)
        copy = len(self._slot_of_copy)
        self._slot_of_copy.append(int(slot))
        self._copy_in_slot[int(slot)] = copy
        return copy

    def remove_copy(self, copy: int, *, drain: bool = True) -> None:
        """The copy takes nothing new from now on and finishes what it has; without `drain` that breaks.

        A draining copy may be removed again without `drain`. ValueError if the copy is not there (any more).
        """
        if not self.is_there(copy):
            raise ValueError(f"there is no copy {copy} to remove")
        slot = self._slot_of_copy[copy]
        k.vacate(slot, drain, self._requests, self._slots, self._tau, self._n, self._x)

    def is_there(self, copy: int) -> bool:
        """True while the copy serves, or drains and has something left."""
        if not 0 <= copy < len(self._slot_of_copy):
            return False
        slot = self._slot_of_copy[copy]
        return self._copy_in_slot[slot] == copy and self._slots[2][k.STATE, slot] != k.FREE

    @property
    def now_s(self) -> float:
        return float(self._x[k.NOW])

    @property
    def in_flight(self) -> int:
        return int(self._n[k.IN_FLIGHT])

    @property
    def serving_copies(self) -> int:
        return int(self._n[k.COPIES])

    @property
    def arrived(self) -> int:
        """Requests that have arrived so far."""
        return int(self._n[k.ARRIVED])

    def judged(self, ttft_slo_s: float, prefills: float) -> tuple[int, int, int]:
        """(good, late, lost) so far: first token within `ttft_slo_s` + `prefills` × its own prefill, last one in time."""
        part, p = slice(self.arrived), self.profile
        trace = (column[part] for column in self._trace)
        requests = (column[part] for column in self._requests[:3])
        law = (p.prefill_base_s, p.prefill_s_per_token, p.itl_slo_s)
        return tuple(map(int, k.judge(*trace, *requests, *law, ttft_slo_s, prefills, self.now_s)))

    def ttft_s(self) -> np.ndarray:
        """Times to first token of the requests that have one, single precision (for percentiles)."""
        first = self._requests[0][: self.arrived]
        come = first <= self.now_s
        return (first[come] - self._trace[0][: self.arrived][come]).astype(np.float32)

    def log(self, start_s: float = 0.0) -> RequestLog:
        """Every request that has arrived, as `CopyFleet.log` gives it; `start_s` is laid under its times."""
        part = slice(self.arrived)
        first, e2e, status = (column[part] for column in self._requests[:3])
        at = self._trace[0][part]
        return RequestLog(
            until_s=start_s + self.now_s,
            arrival_s=at + start_s,
            input_tokens=self._trace[1][part].astype(np.int64),
            output_tokens=self._trace[2][part].astype(np.int64),
            ttft_s=np.where(first <= self.now_s, first - at, math.nan),
            e2e_s=np.where(status == k.SERVED, e2e, math.nan),
            status=status.copy(),
        )

    def _advance(self, until_s: float, whole: bool) -> None:
        now = self._x[k.NOW]
        if not now <= until_s < math.inf:
            raise ValueError(f"the fleet stands at {now} and cannot go to {until_s}")
        ending = int((until_s - self._n[k.WINDOW] * self._par[k.P_WINDOW]) / self._par[k.P_WINDOW]) + 2
        if self._n[k.ROWS] + ending > len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros((ending + len(self._rows), k.W_SIZE))])
        k.advance(
            until_s,
            whole,
            self._trace,
            self._requests,
            self._slots,
            self._tau,
            self._par,
            self._n,
            self._x,
            self._rows,
        )


_Slots = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _slots(count: int, max_sequences: int) -> _Slots:
    return (
        np.full(count, k.OFF, np.int64),
        np.full(count, math.inf),
        np.zeros((5, count), np.int64),
        np.zeros((3, count)),
        np.zeros((count, max_sequences)),
        np.zeros((count, max_sequences), np.int32),
    )


def _grown(slots: _Slots) -> _Slots:
    """Twice as many slots, the first half as they were."""
    before = len(slots[0])
    larger = _slots(2 * before, slots[4].shape[1])
    for old, new in zip(slots, larger, strict=True):
        if len(old) == before:
            new[:before] = old
        else:
            new[:, :before] = old
    return larger
