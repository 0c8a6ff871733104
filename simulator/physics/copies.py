"""The state of every copy, by slot, and what happens to one copy outside the fleet's hot loop.

The rules are those at the top of `fleet.py`; times are seconds since the fleet's start.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Container, Iterator, Sequence
from heapq import heapify, heappush

import numpy as np

from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import Status

OFF = 1 << 40
"""Added to the load of a slot that does not serve, so that `min(load)` finds serving copies only."""


_ROUNDING = 1e-9
"""In tokens: what rounding may lack of a whole token."""


class RequestColumns:
    """One entry per request, in order of arrival; those from `arrived` on are still to come."""

    def __init__(self, at: Sequence[float], tokens_in: Sequence[int], tokens_out: Sequence[int]) -> None:
        self.at = array("d", np.asarray(at, dtype=np.float64).tobytes())
        self.tokens_in = array("q", np.asarray(tokens_in, dtype=np.int64).tobytes())
        self.tokens_out = array("q", np.asarray(tokens_out, dtype=np.int64).tobytes())
        self.first = array("d", [math.nan]) * len(self.at)
        """When the first token comes; known from admission on, NaN before."""
        self.e2e = array("d", [math.nan]) * len(self.at)
        self.status = bytearray(len(self.at))
        self.slot = array("i", [-1]) * len(self.at)
        """The copy that accepted it last."""
        self.arrived = 0

    def insert(self, index: int, at: float, tokens_in: int, tokens_out: int) -> None:
        """One more request at `index`, which must not be below `arrived`."""
        self.at.insert(index, at)
        self.tokens_in.insert(index, tokens_in)
        self.tokens_out.insert(index, tokens_out)
        self.first.insert(index, math.nan)
        self.e2e.insert(index, math.nan)
        self.status.insert(index, Status.OPEN)
        self.slot.insert(index, -1)


class CopySlots:
    """Lists by slot. A slot is free when its `copy_id` is None; its load is then OFF and its next completion never."""

    def __init__(self, profile: ServiceProfile, requests: RequestColumns) -> None:
        self.profile = profile
        self.requests = requests
        self.tau = [profile.step_s(n) for n in range(profile.max_sequences + 1)]
        self.copy_id: list[str | None] = []
        self.load: list[int] = []
        """Requests queued and running, + OFF if the copy takes no new ones."""
        self.count: list[int] = []
        """Sequences running: n."""
        self.clock: list[float] = []
        """V, in tokens."""
        self.stall: list[float] = []
        """Prefill still to do, at `last`."""
        self.last: list[float] = []
        """To when the copy's state has been brought."""
        self.next_done: list[float] = []
        self.running: list[list[tuple[float, int]]] = []
        """Heap of (V at completion, request)."""
        self.queue: list[deque[int]] = []
        """Requests that wait; those whose client has left stay in it and are skipped."""
        self.waiting: list[int] = []
        """How many of the queue still wait."""
        self.area: list[float] = []
        """Integral of the load since the window began."""
        self.peak: list[int] = []
        self.since: list[float] = []
        self.tokens = 0.0
        """Tokens generated in this window by `settle`; the hot loop counts its own."""
        self.fresh: list[int] = []
        """Admitted requests whose first token has not been counted in a window yet."""
        self.gone: list[tuple[str, float, int, float]] = []
        """Copies that ended in this window: id, area, peak, seconds."""
        self._append_slot()

    def occupy(self, copy_id: str, now: float) -> int:
        """A new, empty copy in the lowest free slot, which is returned."""
        if None not in self.copy_id:
            self._append_slot()
        slot = self.copy_id.index(None)
        self.copy_id[slot] = copy_id
        self.load[slot] = self.count[slot] = self.waiting[slot] = self.peak[slot] = 0
        self.clock[slot] = self.stall[slot] = self.area[slot] = 0.0
        self.last[slot] = self.since[slot] = now
        self.next_done[slot] = math.inf
        self.running[slot], self.queue[slot] = [], deque()
        return slot

    def free_if_empty(self, slot: int, window_start: float) -> None:
        """Give the slot back once a copy that takes nothing new has nothing left."""
        if self.load[slot] == OFF and self.copy_id[slot] is not None:
            lived = self.last[slot] - max(window_start, self.since[slot])
            self.gone.append((self.copy_id[slot], self.area[slot], self.peak[slot], lived))
            self.copy_id[slot] = None
            self.next_done[slot] = math.inf

    def settle(self, slot: int, now: float) -> None:
        """Bring the copy's state to `now`, before anything changes on it."""
        passed = now - self.last[slot]
        self.last[slot] = now
        self.area[slot] += (self.load[slot] % OFF) * passed
        stall, n = self.stall[slot], self.count[slot]
        if stall > passed:
            self.stall[slot] = stall - passed
            return
        self.stall[slot] = 0.0
        if n:
            steps = (passed - stall) / self.tau[n]
            self.clock[slot] += steps
            self.tokens += n * steps

    def take_away(self, request: int, now: float) -> None:
        """The request's client has left: out of the queue, or off the batch, where the next one takes its place."""
        slot = self.requests.slot[request]
        self.settle(slot, now)
        self.load[slot] -= 1
        if math.isnan(self.requests.first[request]):
            self.waiting[slot] -= 1
            return
        self.running[slot] = [entry for entry in self.running[slot] if entry[1] != request]
        heapify(self.running[slot])
        self._drop_prefill(slot, request)
        self.count[slot] -= 1
        while self.waiting[slot] and self.count[slot] < self.profile.max_sequences:
            self._admit(slot, now)
        n = self.count[slot]
        if n:
            to_go_s = (self.running[slot][0][0] - self.clock[slot]) * self.tau[n]
            self.next_done[slot] = max(now, now + self.stall[slot] + to_go_s)
        else:
            self.clock[slot] = 0.0
            self.next_done[slot] = math.inf

    def _drop_prefill(self, slot: int, request: int) -> None:
        """Forget what is left of the request's own prefill; those behind it move up."""
        first = self.requests.first
        behind = [other for _, other in self.running[slot] if first[other] > first[request]]
        up_to_its_end = self.stall[slot] - math.fsum(self._prefill(other) for other in behind)
        left = min(self._prefill(request), max(0.0, up_to_its_end))
        self.stall[slot] -= left
        for other in behind:
            first[other] -= left
        first[request] = math.nan

    def _prefill(self, request: int) -> float:
        return self.profile.prefill_base_s + self.profile.prefill_s_per_token * self.requests.tokens_in[request]

    def generated(self, wanted: Container[int], now: float) -> Iterator[tuple[int, int, float]]:
        """Of the wanted requests that run: how many tokens have come by `now`, and when the next one is due.

        Token k comes when the decode clock has gone k tokens from admission, the first one at `first`, the last one
        with the completion. When the next is due holds if nothing else changes on the copy until then.
        """
        requests = self.requests
        for slot, running in enumerate(self.running):
            passed, stall, n = now - self.last[slot], self.stall[slot], self.count[slot]
            clock = self.clock[slot] + max(0.0, passed - stall) / self.tau[n] if n else 0.0
            for end, request in running:
                if request not in wanted:
                    continue
                if now < requests.first[request]:
                    yield request, 0, requests.first[request]
                    continue
                begun = end - requests.tokens_out[request]
                tokens = max(1, min(math.floor(clock - begun + _ROUNDING), requests.tokens_out[request] - 1))
                to_go_s = max(0.0, begun + tokens + 1 - clock) * self.tau[n]
                yield request, tokens, now + max(0.0, stall - passed) + to_go_s

    def clear(self, slot: int, now: float, unread: Sequence[int] = ()) -> list[int]:
        """Break everything on the copy; the requests that were queued or running, in order of arrival.

        `unread`: complete requests that the copy still counts; they are broken too.
        """
        self.settle(slot, now)
        status = self.requests.status
        lost = [request for _, request in self.running[slot]]
        lost += [request for request in self.queue[slot] if status[request] == Status.OPEN]
        self.load[slot] -= len(lost)
        self.count[slot] = self.waiting[slot] = 0
        self.clock[slot] = self.stall[slot] = 0.0
        self.next_done[slot] = math.inf
        self.running[slot], self.queue[slot] = [], deque()
        self.load[slot] -= len(unread)
        return sorted([*lost, *unread])

    def close_window(self, start: float, now: float) -> tuple[float, dict[str, tuple[float, int]]]:
        """End the window: the integral of the load over all copies, and each copy's mean and maximum load.

        A copy's mean is over the time in which it existed; an id used twice in one window is one copy.
        """
        rows, self.gone = self.gone, []
        for slot, copy_id in enumerate(self.copy_id):
            if copy_id is not None:
                self.settle(slot, now)
                rows.append((copy_id, self.area[slot], self.peak[slot], now - max(start, self.since[slot])))
                self.area[slot], self.peak[slot] = 0.0, self.load[slot] % OFF
        merged: dict[str, tuple[float, int, float]] = {}
        for copy_id, area, peak, lived in rows:
            before = merged.get(copy_id, (0.0, 0, 0.0))
            merged[copy_id] = (before[0] + area, max(before[1], peak), before[2] + lived)
        return math.fsum(row[1] for row in rows), {
            copy_id: (area / lived if lived > 0 else float(peak), peak)
            for copy_id, (area, peak, lived) in sorted(merged.items())
        }

    def first_tokens(self, now: float) -> list[float]:
        """Times to first token, from the first attempt, of those that came by `now` and were not given before."""
        admitted, self.fresh = self.fresh, []
        first, at, status = self.requests.first, self.requests.at, self.requests.status
        come = []
        for request in admitted:
            if first[request] <= now:
                come.append(first[request] - at[request])
            elif status[request] == Status.OPEN:
                self.fresh.append(request)
        return come

    def _admit(self, slot: int, now: float) -> None:
        requests = self.requests
        request = self.queue[slot].popleft()
        while requests.status[request] != Status.OPEN:
            request = self.queue[slot].popleft()
        self.waiting[slot] -= 1
        self.count[slot] += 1
        self.stall[slot] += self._prefill(request)
        requests.first[request] = now + self.stall[slot] + self.tau[self.count[slot]]
        self.fresh.append(request)
        heappush(self.running[slot], (self.clock[slot] + requests.tokens_out[request], request))

    def _append_slot(self) -> None:
        self.copy_id.append(None)
        self.load.append(OFF)
        for numbers in (self.count, self.waiting, self.peak):
            numbers.append(0)
        for seconds in (self.clock, self.stall, self.last, self.area, self.since):
            seconds.append(0.0)
        self.next_done.append(math.inf)
        self.running.append([])
        self.queue.append(deque())
