"""The engine against a second, naive one: no clock, no heaps, every request's remaining tokens counted down."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.clock import EPOCH_S
from simulator.physics.fleet import CopyFleet
from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import ClosedLoop, OpenArrivals, Status
from simulator.physics.routing import unit_draw

# Powers of two throughout: every time is exact in floating point, so that ties are real ties and must be broken alike.
EXACT = ServiceProfile(
    name="exact",
    a_s=1 / 32,
    b_s=0.0,
    prefill_base_s=1 / 64,
    prefill_s_per_token=1 / 4096,
    max_sequences=3,
    itl_slo_s=1 / 8,
    instance_type="ml.test",
    instance_usd_per_hour=1.0,
)
BATCHING = dataclasses.replace(EXACT, a_s=0.0436, b_s=0.0095, prefill_base_s=0.02, prefill_s_per_token=0.00064)


@dataclass
class NaiveCopy:
    name: str
    serving: bool = True
    prefills: list[list] = field(default_factory=list)
    """[request, seconds left], in order of admission."""
    running: dict[int, float] = field(default_factory=dict)
    queue: list[int] = field(default_factory=list)

    @property
    def stall(self):
        return sum(left for _, left in self.prefills)


class NaiveFleet:
    """Follows the rules of simulator/physics/fleet.py by looking at everything at every event."""

    def __init__(self, profile, arrivals, routing, timeout_s, retry_s, seed):
        self.profile, self.routing, self.seed = profile, routing, seed
        self.timeout_s = math.inf if timeout_s is None else timeout_s
        self.retry_s = retry_s
        self.slots: list[NaiveCopy | None] = []
        self.at, self.tokens_in, self.tokens_out, self.first, self.e2e, self.status = [], [], [], [], [], []
        self.levels, self.step_s, self.level, self.clients = [], 0.0, 0, 0
        self.future = []
        self.loop = arrivals if isinstance(arrivals, ClosedLoop) else None
        if self.loop:
            self.levels = [(k * self.loop.step_s, level) for k, level in enumerate((*self.loop.levels, 0))]
        else:
            self.future = list(
                zip((arrivals.times_s - EPOCH_S).tolist(), arrivals.input_tokens, arrivals.output_tokens, strict=True)
            )
        self.again: list[tuple[float, int]] = []
        self.now = 0.0
        self.draws = 0
        self.near_tie = False

    def tau(self, n):
        return self.profile.a_s + self.profile.b_s * n

    def advance(self, until):
        while True:
            done = [
                (self.now + c.stall + left * self.tau(len(c.running)), s, i)
                for s, c in enumerate(self.slots)
                if c
                for i, left in c.running.items()
            ]
            leaving = [
                (at + self.timeout_s, i)
                for i, at in enumerate(self.at)
                if self.status[i] == Status.OPEN and not self.first[i] <= at + self.timeout_s
            ]
            times = sorted(entry[0] for entry in done + leaving + self.levels[:1] + self.again[:1] + self.future[:1])
            if not times or times[0] > until:
                self._pass(until)
                return
            t = times[0]
            self.near_tie |= any(0 < b - a < 1e-9 for a, b in zip(times, times[1:], strict=False))
            self._pass(t)
            if done and min(done)[0] <= t:
                _, slot, i = min(done)
                self._complete(slot, i)
            elif leaving and min(leaving)[0] <= t:
                self._leave(min(leaving)[1])
            elif self.levels and self.levels[0][0] <= t:
                self.level = self.levels.pop(0)[1]
                while self.clients < self.level:
                    self.clients += 1
                    self._send_next()
            elif self.again and self.again[0][0] <= t:
                # everything that is tried again now comes before what is new
                due = [i for when, i in self.again if when <= t]
                self.again = [entry for entry in self.again if entry[0] > t]
                for i in due:
                    if i < 0:
                        self._client_free()
                for i in due:
                    if i >= 0:
                        self._attempt(i)
            else:
                _, one_in, one_out = self.future.pop(0)
                self._arrive(int(one_in), int(one_out))

    def add(self, name):
        copy = NaiveCopy(name)
        if None in self.slots:
            self.slots[self.slots.index(None)] = copy
        else:
            self.slots.append(copy)

    def remove(self, name, drain):
        slot = next(s for s, c in enumerate(self.slots) if c and c.name == name)
        copy = self.slots[slot]
        copy.serving = False
        if not drain:
            lost = sorted([*copy.running, *copy.queue])
            copy.running, copy.queue = {}, []
            for i in lost:
                self.status[i] = Status.LOST_BROKEN
                if not self.first[i] <= self.now:
                    self.first[i] = math.nan
            self._free(slot)
            for _ in lost:
                self._client_free()
        self._free(slot)

    def _pass(self, t):
        for copy in self.slots:
            if copy:
                passed = t - self.now
                while copy.prefills and passed > 0:
                    used = min(copy.prefills[0][1], passed)
                    passed -= used
                    copy.prefills[0][1] -= used
                    if copy.prefills[0][1] <= 0:
                        copy.prefills.pop(0)
                steps = passed / self.tau(len(copy.running))
                for i in copy.running:
                    copy.running[i] -= steps
        self.now = t

    def _complete(self, slot, i):
        copy = self.slots[slot]
        del copy.running[i]
        copy.prefills = []
        self.status[i], self.e2e[i] = Status.SERVED, self.now - self.at[i]
        self._refill(copy)
        self._free(slot)
        self._client_free()

    def _leave(self, i):
        self.status[i] = Status.LOST_TIMEOUT
        for slot, copy in enumerate(self.slots):
            if copy and (i in copy.queue or i in copy.running):
                if i in copy.queue:
                    copy.queue.remove(i)
                else:
                    del copy.running[i]
                    self._drop_prefill(copy, i)
                self._refill(copy)
                self._free(slot)
        self.first[i] = math.nan
        self._client_free()

    def _drop_prefill(self, copy, i):
        place = next((k for k, (j, _) in enumerate(copy.prefills) if j == i), None)
        if place is not None:
            _, left = copy.prefills.pop(place)
            for j, _ in copy.prefills[place:]:
                self.first[j] -= left

    def _refill(self, copy):
        while copy.queue and len(copy.running) < self.profile.max_sequences:
            self._admit(copy, copy.queue.pop(0))

    def _admit(self, copy, i):
        prefill = self.profile.prefill_base_s + self.profile.prefill_s_per_token * self.tokens_in[i]
        copy.prefills.append([i, prefill])
        copy.running[i] = float(self.tokens_out[i])
        self.first[i] = self.now + copy.stall + self.tau(len(copy.running))

    def _free(self, slot):
        copy = self.slots[slot]
        if copy and not copy.serving and not copy.running and not copy.queue:
            self.slots[slot] = None

    def _arrive(self, one_in, one_out):
        self.at.append(self.now)
        self.tokens_in.append(one_in)
        self.tokens_out.append(one_out)
        for column in (self.first, self.e2e):
            column.append(math.nan)
        self.status.append(Status.OPEN)
        self._attempt(len(self.at) - 1)

    def _attempt(self, i):
        serving = [copy for copy in self.slots if copy and copy.serving]
        if not serving:
            again = math.inf if self.retry_s is None else self.now + self.retry_s
            if again < self.at[i] + self.timeout_s:
                self.again.append((again, i))
            else:
                self.status[i] = Status.LOST_NO_CAPACITY
                if self.loop:
                    self.again.append((again, -1))
            return
        if self.routing == "RANDOM":
            copy = serving[int(unit_draw(self.seed, self.draws) * len(serving))]
            self.draws += 1
        else:
            copy = min(serving, key=lambda copy: len(copy.running) + len(copy.queue))
        copy.queue.append(i)
        self._refill(copy)

    def _client_free(self):
        if not self.loop:
            return
        if self.clients > self.level:
            self.clients -= 1
        else:
            self._send_next()

    def _send_next(self):
        self.future.append((self.now, self.loop.input_tokens, self.loop.output_tokens))


# in 64ths of a second; quarters make coincidences common
TICKS = st.one_of(st.integers(0, 20 * 64), st.integers(0, 40).map(lambda quarter: quarter * 16))
ACTIONS = st.lists(st.tuples(TICKS, st.sampled_from(["add", "drain", "cut"]), st.integers(0, 7)), max_size=8)
SETTINGS = st.tuples(
    st.sampled_from(["LEAST_OUTSTANDING_REQUESTS", "RANDOM"]),
    st.sampled_from([None, 1.5, 4.0]),
    st.sampled_from([None, 0.5, 2.0]),
    st.integers(0, 3),
)
REQUESTS = st.lists(st.tuples(TICKS, st.integers(0, 4096), st.integers(1, 120)), max_size=40)


def run_both(profile, arrivals, setting, actions):
    routing, timeout_s, retry_s, seed = setting
    fleet = CopyFleet(
        profile, arrivals, routing, client_timeout_s=timeout_s, retry_interval_s=retry_s, seed=seed, start_s=EPOCH_S
    )
    naive = NaiveFleet(profile, arrivals, routing, timeout_s, retry_s, seed)
    ids: list[str] = []
    for number, (tick, action, which) in enumerate([(0, "add", 0), *sorted(actions)]):
        at = tick / 64
        naive.advance(at)
        fleet.advance(EPOCH_S + at)
        if action == "add":
            ids.append(f"copy-{number}")
            fleet.add_copy(ids[-1], EPOCH_S + at)
            naive.add(ids[-1])
        elif ids:
            gone = ids.pop(which % len(ids))
            if any(copy and copy.name == gone for copy in naive.slots):
                fleet.remove_copy(gone, EPOCH_S + at, drain=action == "drain")
                naive.remove(gone, action == "drain")
        assert fleet.in_flight == sum(len(c.running) + len(c.queue) for c in naive.slots if c)
        assert fleet.serving_copies == sum(bool(c and c.serving) for c in naive.slots)
        assert fleet.draining_copies == sum(bool(c and not c.serving) for c in naive.slots)
    fleet.advance(EPOCH_S + 60.0)
    naive.advance(60.0)
    return fleet, naive


def seen(naive):
    first = np.array(naive.first, dtype=float)
    at = np.array(naive.at, dtype=float)
    return np.where(first <= naive.now, first - at, math.nan), np.array(naive.e2e, dtype=float)


def open_arrivals(requests):
    rows = sorted(requests)
    return OpenArrivals([EPOCH_S + r[0] / 64 for r in rows], [r[1] for r in rows], [r[2] for r in rows])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(REQUESTS, SETTINGS, ACTIONS)
def test_engine_equals_the_naive_one_exactly_where_floating_point_is_exact(requests, setting, actions):
    fleet, naive = run_both(EXACT, open_arrivals(requests), setting, actions)
    ttft_s, e2e_s = seen(naive)
    log = fleet.log
    assert log.status.tolist() == naive.status
    np.testing.assert_array_equal(log.ttft_s, ttft_s)
    np.testing.assert_array_equal(log.e2e_s, e2e_s)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), SETTINGS, ACTIONS)
def test_closed_loop_equals_the_naive_one_exactly(levels, setting, actions):
    routing, timeout_s, retry_s, seed = setting
    loop = ClosedLoop(tuple(levels), step_s=3.0, input_tokens=512, output_tokens=24)
    fleet, naive = run_both(EXACT, loop, (routing, timeout_s, retry_s or 0.5, seed), actions)
    ttft_s, e2e_s = seen(naive)
    log = fleet.log
    assert log.arrival_s.tolist() == [EPOCH_S + at for at in naive.at]
    assert log.status.tolist() == naive.status
    np.testing.assert_array_equal(log.ttft_s, ttft_s)
    np.testing.assert_array_equal(log.e2e_s, e2e_s)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(REQUESTS, SETTINGS, ACTIONS)
def test_engine_equals_the_naive_one_when_the_step_time_depends_on_the_batch(requests, setting, actions):
    fleet, naive = run_both(BATCHING, open_arrivals(requests), setting, actions)
    assume(not naive.near_tie)
    ttft_s, e2e_s = seen(naive)
    log = fleet.log
    assert log.status.tolist() == naive.status
    np.testing.assert_allclose(log.ttft_s, ttft_s, rtol=0, atol=1e-9)
    np.testing.assert_allclose(log.e2e_s, e2e_s, rtol=0, atol=1e-9)
