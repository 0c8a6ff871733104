"""All copies of one component (or variant): an exact, event-driven engine of continuous batching.

The rules, which any second implementation must follow to the last digit:

Copy. n running sequences, a first-in-first-out queue, `stall` seconds of prefill still to do, a decode clock V counted
in tokens. While `stall` > 0 it falls at 1 per second and V stands; else dV/dt = 1/tau(n), tau(n) = a + b n. A request
admitted at V0 with D output tokens is complete at V = V0 + D. Admission adds `g + d * input_tokens` to `stall`; its
first token comes `stall + tau(n)` later, n counting itself: fixed at admission. n <= max_sequences, the rest queue.
V restarts at 0 whenever a copy has nothing running.

Routing. LEAST_OUTSTANDING_REQUESTS: the serving copy with the fewest requests, queued and running; the lowest slot
among equals (a new copy takes the lowest free slot). RANDOM: entry floor(u * serving copies) of the serving slots in
ascending order, u = `unit_draw(seed, k)`, one draw k = 0, 1, 2, … per attempt that finds a serving copy.

Clients. An attempt that finds no serving copy fails at once and is tried again `retry_interval_s` later, if that is
before `client_timeout_s` since the first attempt; else the request is lost. A client without a first token by
`client_timeout_s` leaves: a queued request is taken out of the queue, a running one is aborted. What is then left of
its own prefill is dropped, and every first token behind it (later than its own would have been, same copy) comes that
much earlier. Removing a copy with `drain=False` breaks everything on it.

Order at one instant: completions (lowest slot first; within a copy by V, then by number), copies added and removed,
clients that leave, change of a closed loop's level, further tries, new arrivals. `advance(t)` handles everything up to
and including t; a copy added or removed at t after that comes after all of it.

Inside, times are seconds since the fleet's start, so that a week of epoch seconds costs no precision.
"""

from __future__ import annotations

import math
from collections import deque
from heapq import heappop, heappush

import numpy as np

from simulator.physics.copies import OFF, CopySlots, RequestColumns
from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import Arrivals, ClosedLoop, Progress, RequestLog, Status, Window
from simulator.physics.routing import ROUTINGS, unit_draw

_SEND_NEXT = -1
"""In place of a request's number: a client of the closed loop that sends its next request."""


class CopyFleet:
    """Every copy of one component, and the clients that use it.

    `client_timeout_s` None = clients wait for ever; `retry_interval_s` None = a failed attempt is final (open loop
    only). `start_s` is when its time begins, by default the arrivals' own. ValueError for settings that cannot work.
    """

    def __init__(
        self,
        profile: ServiceProfile,
        arrivals: Arrivals,
        routing: str = "LEAST_OUTSTANDING_REQUESTS",
        *,
        client_timeout_s: float | None = 60.0,
        retry_interval_s: float | None = 5.0,
        seed: int = 0,
        start_s: float | None = None,
    ) -> None:
        if routing not in ROUTINGS:
            raise ValueError(f"routing {routing!r} is not emulated; choose one of {', '.join(ROUTINGS)}")
        for name, value in (("client_timeout_s", client_timeout_s), ("retry_interval_s", retry_interval_s)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} ({value}) must be above 0, or None")
        self.profile = profile
        self.start_s = arrivals.start_s if start_s is None else start_s
        self._timeout = math.inf if client_timeout_s is None else client_timeout_s
        self._retry = retry_interval_s
        self._random = routing == "RANDOM"
        self._seed, self._draws = seed, 0
        self._loop = arrivals if isinstance(arrivals, ClosedLoop) else None
        if self._loop:
            if retry_interval_s is None:
                raise ValueError("the clients of a closed loop try again: give retry_interval_s")
            self._requests = RequestColumns((), (), ())
            self._loop_start = arrivals.start_s - self.start_s
        else:
            at = arrivals.times_s - self.start_s
            self._requests = RequestColumns(at, arrivals.input_tokens, arrivals.output_tokens)
            self._loop_start = 0.0
            if len(at) and at[0] < 0:
                raise ValueError(f"the first arrival is before the start of the fleet ({self.start_s})")
        if self._loop_start < 0:
            raise ValueError(f"the closed loop begins before the start of the fleet ({self.start_s})")
        self._copies = CopySlots(profile, self._requests)
        self._serving: list[int] = []
        self._known: set[str] = set()
        self._live: set[int] = set()
        """Requests of clients outside the simulation that have not been closed: their copy counts them until then."""
        self._came: dict[int, int] = {}
        """Of those that broke: how many tokens they had got."""
        self._oldest = 0
        """No request before this one can still lose its client."""
        self._again: deque[tuple[float, int]] = deque()
        """Further tries, (when, request), in order of time."""
        self._due: deque[int] = deque()
        """Further tries that are due now."""
        self._level = self._clients = self._steps_begun = 0
        self._now = self._window_start = 0.0
        self._in_flight = self._high = self._low = 0
        self._new = self._accepted = self._done = self._refused = 0
        self._left = self._gave_up = self._broken = 0
        self._latency = self._tokens = 0.0

    # ------------------------------------------------------------------ what the account and its clients do

    def add_copy(self, copy_id: str, now_s: float) -> None:
        """Copy `copy_id` serves from `now_s` on, what arrives at `now_s` included.

        ValueError if it is there already (draining counts as there).
        """
        self._advance(now_s, whole_instant=False)
        if copy_id in self._copies.copy_id:
            raise ValueError(f"copy {copy_id!r} exists already; a new copy needs a new id")
        self._known.add(copy_id)
        self._serving = sorted([*self._serving, self._copies.occupy(copy_id, self._now)])

    def remove_copy(self, copy_id: str, now_s: float, drain: bool = True) -> None:
        """Take the copy away: it finishes its requests and takes no new ones; with `drain` False they break at once.

        A draining copy may be removed again with `drain=False`. ValueError for an id that is not there.
        """
        self._advance(now_s, whole_instant=False)
        if copy_id not in self._copies.copy_id:
            raise ValueError(f"there is no copy {copy_id!r} to remove")
        slot = self._copies.copy_id.index(copy_id)
        self._copies.settle(slot, self._now)
        if slot in self._serving:
            self._serving.remove(slot)
            self._copies.load[slot] += OFF
        if not drain:
            here = [i for i in self._live if self._requests.slot[i] == slot]
            unread = [i for i in here if self._is_unread(i)]
            self._came.update({i: self._requests.tokens_out[i] for i in unread})
            self._came.update({i: tokens for i, tokens, _ in self._copies.generated(here, self._now)})
            self._break(self._copies.clear(slot, self._now, unread))
        self._copies.free_if_empty(slot, self._window_start)

    def advance(self, until_s: float) -> None:
        """Let everything happen that is due at or before `until_s`; ValueError if that lies in the past."""
        self._advance(until_s, whole_instant=True)

    def _advance(self, until_s: float, *, whole_instant: bool) -> None:
        """As `advance`; of what is due at `until_s` itself only the completions, unless `whole_instant`."""
        until = until_s - self.start_s
        if not self._now <= until < math.inf:
            raise ValueError(f"the fleet stands at {self.start_s + self._now} and cannot go to {until_s}")
        while True:
            stop = min(self._next_deadline(), self._next_level(), self._again[0][0] if self._again else math.inf)
            if stop > until or (stop == until and not whole_instant):
                if self._run(until, whole_instant):
                    return
                continue
            if not self._run(stop, False):
                continue
            while self._next_deadline() <= stop:
                self._leave(self._oldest, stop)
            while self._next_level() <= stop:
                self._change_level(stop)
            while self._again and self._again[0][0] <= stop:
                request = self._again.popleft()[1]
                if request == _SEND_NEXT:
                    self._client_free(stop)
                else:
                    self._due.append(request)

    def submit(self, now_s: float, input_tokens: int, output_tokens: int) -> int:
        """One more request, at `now_s`, beside the arrivals that were given; its number in the log.

        For clients that are not simulated (the emulated account behind a port). Its first attempt is made at once.
        """
        return self._add(now_s, input_tokens, output_tokens, live=False)

    # ------------------------------------------------------------------ clients that are not simulated

    def open_request(self, now_s: float, input_tokens: int, output_tokens: int) -> int:
        """As `submit`, for a client outside the simulation: one attempt, no patience, and in flight until it is closed.

        With no serving copy its status is LOST_NO_CAPACITY at once. Its copy counts it until `close_request`, also when
        the last token has come: a client that reads slowly has not got its answer yet.
        """
        return self._add(now_s, input_tokens, output_tokens, live=True)

    def progress(self, now_s: float) -> list[Progress]:
        """Advance to `now_s` and tell how far every request is that was opened and not closed; by number."""
        self.advance(now_s)
        requests = self._requests
        found = {i: Progress(i, Status.OPEN, 0, math.inf) for i in self._live}
        for request, tokens, next_at in self._copies.generated(self._live, self._now):
            found[request] = Progress(request, Status.OPEN, tokens, self.start_s + next_at)
        for request in self._live:
            status = Status(requests.status[request])
            if status is not Status.OPEN:
                tokens = requests.tokens_out[request] if status is Status.SERVED else self._came.get(request, 0)
                found[request] = Progress(request, status, tokens, math.inf)
        return [found[request] for request in sorted(found)]

    def close_request(self, request: int, now_s: float) -> None:
        """The client of an opened request has its answer, or has gone: what is left of it is given up.

        ValueError for a request that was not opened or is closed already.
        """
        self.advance(now_s)
        if request not in self._live:
            raise ValueError(f"request {request} was not opened, or is closed already")
        self._live.remove(request)
        self._came.pop(request, None)
        slot = self._requests.slot[request]
        if self._requests.status[request] == Status.OPEN:
            self._requests.status[request] = Status.LEFT
            self._copies.take_away(request, self._now)
        elif self._is_unread(request):
            self._copies.settle(slot, self._now)
            self._copies.load[slot] -= 1
        else:
            return
        self._copies.free_if_empty(slot, self._window_start)
        self._lose(1)

    def _add(self, now_s: float, input_tokens: int, output_tokens: int, *, live: bool) -> int:
        if input_tokens < 0 or output_tokens < 1:
            raise ValueError("a request has at least 0 input tokens and 1 output token")
        self.advance(now_s)
        request = self._requests.arrived
        self._requests.insert(request, self._now, input_tokens, output_tokens)
        if live:
            self._live.add(request)
        self.advance(now_s)
        return request

    def _is_unread(self, request: int) -> bool:
        """Complete, but still counted by its copy."""
        return self._requests.status[request] == Status.SERVED

    # ------------------------------------------------------------------ what can be seen

    @property
    def now_s(self) -> float:
        """How far the fleet has been advanced."""
        return self.start_s + self._now

    @property
    def in_flight(self) -> int:
        """Requests queued or executing over all copies, draining ones too."""
        return self._in_flight

    @property
    def serving_copies(self) -> int:
        """Copies that take new requests."""
        return len(self._serving)

    @property
    def draining_copies(self) -> int:
        """Copies that only finish what they have."""
        return sum(copy_id is not None for copy_id in self._copies.copy_id) - len(self._serving)

    def copy_in_flight(self, copy_id: str) -> int:
        """Requests queued or executing on this copy; 0 once it is gone; KeyError if it never was."""
        if copy_id not in self._known:
            raise KeyError(copy_id)
        copies = self._copies
        return copies.load[copies.copy_id.index(copy_id)] % OFF if copy_id in copies.copy_id else 0

    def status_of(self, request: int) -> Status:
        """What has become of a request, by its number in the log; IndexError if there is none."""
        return Status(self._requests.status[request])

    def take_window(self, now_s: float) -> Window:
        """Advance to `now_s` and give what happened since the last window was taken (first: since the start)."""
        self.advance(now_s)
        now, start, copies = self._now, self._window_start, self._copies
        area, per_copy = copies.close_window(start, now)
        ttft_s = copies.first_tokens(now)
        window = Window(
            start_s=self.start_s + start,
            end_s=self.start_s + now,
            in_flight_mean=area / (now - start) if now > start else float(self._in_flight),
            in_flight_max=self._high,
            in_flight_min=self._low,
            arrivals=self._new,
            completions=self._done,
            invocations=self._accepted,
            no_capacity_failures=self._refused,
            timeouts=self._left,
            lost_no_capacity=self._gave_up,
            broken_streams=self._broken,
            latency_sum_s=self._latency,
            latency_count=self._done,
            ttft_sum_s=math.fsum(ttft_s),
            ttft_count=len(ttft_s),
            tokens_out=self._tokens + copies.tokens,
            per_copy=per_copy,
        )
        self._window_start = now
        self._high = self._low = self._in_flight
        self._new = self._accepted = self._done = self._refused = 0
        self._left = self._gave_up = self._broken = 0
        self._latency = self._tokens = copies.tokens = 0.0
        return window

    @property
    def log(self) -> RequestLog:
        """Every request that has arrived so far, as it stands now (a copy: O(requests))."""
        requests, n = self._requests, self._requests.arrived
        at = np.array(requests.at[:n], dtype=np.float64)
        first = np.array(requests.first[:n], dtype=np.float64)
        return RequestLog(
            until_s=self.now_s,
            arrival_s=at + self.start_s,
            input_tokens=np.array(requests.tokens_in[:n], dtype=np.int64),
            output_tokens=np.array(requests.tokens_out[:n], dtype=np.int64),
            ttft_s=np.where(first <= self._now, first - at, math.nan),
            e2e_s=np.array(requests.e2e[:n], dtype=np.float64),
            status=np.frombuffer(bytes(requests.status[:n]), dtype=np.uint8),
        )

    # ------------------------------------------------------------------ the hot loop

    def _run(self, limit: float, arrivals_at_limit: bool) -> bool:
        """Completions up to `limit`, arrivals before it (at it too, if asked); True if it came so far.

        False if it stopped early, where the next try of an attempt that failed on the way is due. Written flat, on
        local names: all the time goes here. The rules are those at the top of the file.
        """
        requests, copies, due = self._requests, self._copies, self._due
        at, tokens_in, tokens_out, first = requests.at, requests.tokens_in, requests.tokens_out, requests.first
        e2e, status, slot_of, arrived = requests.e2e, requests.status, requests.slot, requests.arrived
        load, running, next_done, last, clock = copies.load, copies.running, copies.next_done, copies.last, copies.clock
        stall, count, waiting, queue = copies.stall, copies.count, copies.waiting, copies.queue
        area, peak, tau, fresh = copies.area, copies.peak, copies.tau, copies.fresh
        g, d, most = self.profile.prefill_base_s, self.profile.prefill_s_per_token, self.profile.max_sequences
        in_flight, high, low = self._in_flight, self._high, self._low
        accepted = done = 0
        latency = tokens = 0.0
        closed, random, already, whole, never = self._loop is not None, self._random, arrived, True, math.inf
        live = self._live
        t_done = min(next_done)
        c_done = next_done.index(t_done)
        t_new = self._now if due else at[arrived] if arrived < len(at) else never
        while True:
            if t_done <= t_new:
                if t_done > limit:
                    break
                t, c = t_done, c_done
                k = load[c]
                area[c] += (k % OFF) * (t - last[c])
                last[c] = t
                v, i = heappop(running[c])
                n = count[c]
                tokens += n * (v - clock[c])
                status[i] = 1
                e2e[i] = taken = t - at[i]
                latency += taken
                done += 1
                gone = not live or i not in live
                if gone:
                    in_flight -= 1
                    # no dip where a client of the closed loop sends its next request in the same instant
                    if in_flight < low and not (closed and self._clients <= self._level):
                        low = in_flight
                    load[c] = k = k - 1
                stall[c] = 0.0
                clock[c] = v
                if waiting[c]:
                    i = queue[c].popleft()
                    while status[i]:
                        i = queue[c].popleft()
                    waiting[c] -= 1
                    stall[c] = s = g + d * tokens_in[i]
                    first[i] = t + s + tau[n]
                    fresh.append(i)
                    heappush(running[c], (v + tokens_out[i], i))
                    next_done[c] = t + s + (running[c][0][0] - v) * tau[n]
                else:
                    count[c] = n = n - 1
                    if n:
                        next_done[c] = t + (running[c][0][0] - v) * tau[n]
                    else:
                        clock[c] = 0.0
                        next_done[c] = never
                        if k == OFF:
                            copies.free_if_empty(c, self._window_start)
                t_done = min(next_done)
                c_done = next_done.index(t_done)
                if closed and gone:
                    self._client_free(t)
                    if not due and arrived < len(at):
                        t_new = at[arrived]
                continue

            if t_new > limit or (t_new == limit and not arrivals_at_limit and not due) or t_new == never:
                break
            t = t_new
            if due:
                i = due.popleft()
            else:
                i = arrived
                arrived += 1
            if not due:
                t_new = at[arrived] if arrived < len(at) else never
            if random:
                c = self._random_slot()
                k = load[c]
            else:
                k = min(load)
                c = load.index(k)
            if k >= OFF:
                low = min(low, in_flight)
                again = self._refuse(i, t)
                if again <= limit:
                    limit, arrivals_at_limit, whole = again, False, False
                continue
            passed = t - last[c]
            last[c] = t
            area[c] += k * passed
            load[c] = k = k + 1
            if k > peak[c]:
                peak[c] = k
            in_flight += 1
            if in_flight > high:
                high = in_flight
            accepted += 1
            slot_of[i] = c
            n = count[c]
            s = stall[c]
            if s > passed:
                s -= passed
            else:
                if n:
                    steps = (passed - s) / tau[n]
                    clock[c] += steps
                    tokens += n * steps
                s = 0.0
            if n < most:
                s += g + d * tokens_in[i]
                count[c] = n = n + 1
                first[i] = t + s + tau[n]
                fresh.append(i)
                heappush(running[c], (clock[c] + tokens_out[i], i))
                t_next = t + s + (running[c][0][0] - clock[c]) * tau[n]
                next_done[c] = t_next = t_next if t_next > t else t
                if c == c_done or t_next <= t_done:
                    t_done = min(next_done)
                    c_done = next_done.index(t_done)
            else:
                queue[c].append(i)
                waiting[c] += 1
            stall[c] = s
        self._now = limit
        self._in_flight, self._high, self._low, requests.arrived = in_flight, high, low, arrived
        self._new += arrived - already
        self._accepted += accepted
        self._done += done
        self._latency += latency
        self._tokens += tokens
        return whole

    # ------------------------------------------------------------------ clients

    def _random_slot(self) -> int:
        """The next random serving slot; with none serving, any slot, all of which are off."""
        if not self._serving:
            return 0
        self._draws += 1
        return self._serving[int(unit_draw(self._seed, self._draws - 1) * len(self._serving))]

    def _refuse(self, request: int, now: float) -> float:
        """No copy serves: when something will be tried again because of it, or never."""
        self._refused += 1
        again = math.inf if self._retry is None or request in self._live else now + self._retry
        if again < self._requests.at[request] + self._timeout:
            self._again.append((again, request))
            return again
        self._requests.status[request] = Status.LOST_NO_CAPACITY
        self._gave_up += 1
        if self._loop and request not in self._live:
            self._again.append((again, _SEND_NEXT))
            return again
        return math.inf

    def _next_deadline(self) -> float:
        """When the next client may leave: that of the oldest request that has no first token in time, so far."""
        requests, timeout, i = self._requests, self._timeout, self._oldest
        if timeout == math.inf:
            return math.inf
        at, first, status, arrived = requests.at, requests.first, requests.status, requests.arrived
        while i < arrived and (status[i] or first[i] <= at[i] + timeout or i in self._live):
            i += 1
        self._oldest = i
        return (at[i] if i < len(at) else self._now) + timeout

    def _leave(self, request: int, now: float) -> None:
        """The client has waited long enough for a first token."""
        self._requests.status[request] = Status.LOST_TIMEOUT
        self._copies.take_away(request, now)
        self._copies.free_if_empty(self._requests.slot[request], self._window_start)
        self._left += 1
        self._lose(1)
        if self._loop:
            self._client_free(now)

    def _break(self, lost: list[int]) -> None:
        """The copy under these requests is gone."""
        first, status = self._requests.first, self._requests.status
        for request in lost:
            status[request] = Status.LOST_BROKEN
            if not first[request] <= self._now:
                first[request] = math.nan
        self._broken += len(lost)
        self._lose(len(lost))
        if self._loop:
            for request in lost:
                if request not in self._live:
                    self._client_free(self._now)

    def _lose(self, requests: int) -> None:
        self._in_flight -= requests
        self._low = min(self._low, self._in_flight)

    # ------------------------------------------------------------------ closed loop

    def _next_level(self) -> float:
        if self._loop is None or self._steps_begun > len(self._loop.levels):
            return math.inf
        return self._loop_start + self._steps_begun * self._loop.step_s

    def _change_level(self, now: float) -> None:
        """The next step begins; after the last one the level is 0."""
        self._level = (*self._loop.levels, 0)[self._steps_begun]
        self._steps_begun += 1
        while self._clients < self._level:
            self._clients += 1
            self._send(now)

    def _client_free(self, now: float) -> None:
        """A client of the closed loop has nothing in flight: it goes on, or leaves if there are more than wanted."""
        if self._clients > self._level:
            self._clients -= 1
        else:
            self._send(now)

    def _send(self, now: float) -> None:
        self._requests.insert(len(self._requests.at), now, self._loop.input_tokens, self._loop.output_tokens)
