"""The compiled engine against the one in Python: same requests, same copies added and removed, same digits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simulator.aws.sagemaker_load import LoadMeter
from simulator.bench import kernel as k
from simulator.bench.compiled_fleet import CompiledFleet, TraceColumns
from simulator.physics.fleet import CopyFleet
from simulator.physics.profiles import M, S
from simulator.physics.requests import OpenArrivals, Status
from simulator.physics.routing import unit_draw

LOR, RANDOM = "LEAST_OUTSTANDING_REQUESTS", "RANDOM"
# Every time is exact in floating point and only three requests run at once: ties are real, queues are long.
TIES = dataclasses.replace(
    M, a_s=1 / 32, b_s=0.0, prefill_base_s=1 / 64, prefill_s_per_token=1 / 4096, max_sequences=3, itl_slo_s=1 / 8
)
WINDOW_S = 10.0


def arrivals(seed, rate_per_s, n, *, on_grid=False):
    rng = np.random.default_rng(seed)
    times_s = np.cumsum(rng.gamma(0.5, 2 / rate_per_s, n))
    if on_grid:
        times_s = np.round(times_s * 4) / 4
    return OpenArrivals(times_s, rng.integers(0, 3000, n), rng.integers(1, 400, n), 0.0)


def twins(requests, profile, routing, timeout_s, retry_s, seed):
    options = {"client_timeout_s": timeout_s, "retry_interval_s": retry_s, "seed": seed}
    slow = CopyFleet(profile, requests, routing, **options)
    return slow, CompiledFleet(profile, TraceColumns.of(requests), routing, window_s=WINDOW_S, **options)


class Direct:
    """A fleet without a load meter: a meter lets arrivals of the very instant come before a copy that is added then."""

    def __init__(self, fleet):
        self.add_copy, self.remove_copy, self.tally = fleet.add_copy, fleet.remove_copy, fleet.take_window


def metered(fleet):
    meter = LoadMeter(0.0)
    meter.attach(fleet, 0.0)
    return meter


def play(meter, fast, end_s, seed, *, on_grid=False):
    """Add and remove copies at random on both; what the meter says of every window, and the rows of the fast one."""
    rng = np.random.default_rng([seed, 7])
    there, started, windows, rows, now_s, ended = {}, 0, [], [], 0.0, 0

    def to(at_s):
        nonlocal ended
        while (ended + 1) * WINDOW_S <= at_s:
            ended += 1
            windows.append(meter.tally(ended * WINDOW_S))
            rows.extend(fast.advance(ended * WINDOW_S).copy())
        fast.reach(at_s)

    def add():
        nonlocal started
        meter.add_copy(f"copy {started}", now_s)
        there[f"copy {started}"] = fast.add_copy()
        started += 1

    def remove(name, drain):
        meter.remove_copy(name, now_s, drain=drain)
        fast.remove_copy(there.pop(name), drain=drain)

    while now_s < end_s:
        step_s = rng.exponential(20.0)
        now_s += np.ceil(step_s) if on_grid else step_s
        to(now_s)
        if rng.random() < 0.03:
            for name in sorted(there):
                remove(name, drain=True)
        elif len(there) < 12 and (not there or rng.random() < 0.55):
            for _ in range(int(rng.integers(1, 4))):
                add()
        else:
            remove(sorted(there)[int(rng.integers(len(there)))], drain=bool(rng.random() < 0.7))
    return windows, rows


CASES = [
    # profile, routing, client timeout, retry, rate, seed, on a grid of quarter seconds
    (M, LOR, 60.0, 5.0, 2.0, 1, False),
    (M, RANDOM, 60.0, 5.0, 2.0, 2, False),
    (M, LOR, 20.0, None, 6.0, 3, False),
    (M, LOR, None, None, 2.0, 4, False),
    (S, RANDOM, 30.0, 2.5, 12.0, 5, False),
    (TIES, LOR, 60.0, 5.0, 1.0, 6, True),
    (TIES, RANDOM, 15.0, 5.0, 2.0, 7, True),
]


@pytest.mark.parametrize(("profile", "routing", "timeout_s", "retry_s", "rate", "seed", "on_grid"), CASES)
def test_both_engines_agree_on_every_request_and_every_window(
    profile, routing, timeout_s, retry_s, rate, seed, on_grid
):
    requests = arrivals(seed, rate, 6000, on_grid=on_grid)
    slow, fast = twins(requests, profile, routing, timeout_s, retry_s, seed)
    meter = Direct(slow) if on_grid else metered(slow)
    tallies, rows = play(meter, fast, float(requests.times_s[-1]) + 100.0, seed, on_grid=on_grid)

    ours, theirs = fast.log(), slow.log
    assert len(ours) == len(theirs) == 6000
    assert ours.status.tolist() == theirs.status.tolist()
    np.testing.assert_allclose(ours.ttft_s, theirs.ttft_s, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.e2e_s, theirs.e2e_s, rtol=0, atol=1e-9)
    assert fast.in_flight == slow.in_flight
    # The trace was hard enough for every ending to occur.
    endings = set(np.unique(ours.status).tolist())
    assert {Status.SERVED, Status.LOST_BROKEN} <= endings
    assert (timeout_s is None) or Status.LOST_TIMEOUT in endings

    assert len(rows) == len(tallies)
    for row, tally in zip(rows, tallies, strict=True):
        if on_grid:
            assert row[k.W_COMPLETIONS] == tally.completions
            assert row[k.W_IN_FLIGHT_MEAN] == pytest.approx(tally.in_flight_mean)
            continue
        assert row[k.W_SERVED_S] == pytest.approx(tally.served_s)
        assert row[k.W_REFUSED] == tally.no_capacity_failures
        assert row[k.W_ACCEPTED] == tally.invocations
        assert row[k.W_COMPLETIONS] == tally.latency_count
        assert row[k.W_LATENCY_SUM_S] == pytest.approx(tally.latency_sum_s)
        if tally.served_s:
            assert row[k.W_PER_COPY_MEAN] == pytest.approx(tally.per_copy_mean)
            # Where streams broke, the meter still counts them at the moment at which they were gone.
            if not row[k.W_BROKEN]:
                assert row[k.W_PER_COPY_MAX] == pytest.approx(tally.per_copy_max)
        else:
            assert np.isnan(row[k.W_PER_COPY_MEAN])


def test_totals_of_a_window_are_those_of_the_other_engine():
    requests = arrivals(9, 3.0, 3000)
    slow, fast = twins(requests, M, LOR, 60.0, 5.0, 9)
    for name in ("a", "b"):
        slow.add_copy(name, 0.0)
        fast.add_copy()
    rows = fast.advance(600.0)
    assert len(rows) == 60
    for number, row in enumerate(rows, 1):
        window = slow.take_window(number * WINDOW_S)
        assert row[k.W_IN_FLIGHT_MEAN] == pytest.approx(window.in_flight_mean, abs=1e-9)
        assert row[k.W_IN_FLIGHT_MAX] == window.in_flight_max
        assert row[k.W_ARRIVALS] == window.arrivals
        assert row[k.W_COPIES_MEAN] == pytest.approx(2.0)
        assert row[k.W_TIMEOUTS] == window.timeouts


def test_windows_need_not_be_fetched_one_by_one():
    requests = arrivals(10, 3.0, 2000)
    _, in_one = twins(requests, M, LOR, 60.0, 5.0, 1)
    _, in_many = twins(requests, M, LOR, 60.0, 5.0, 1)
    in_one.add_copy()
    in_many.add_copy()
    whole = in_one.advance(500.0).copy()
    parts = np.concatenate([in_many.advance(at_s).copy() for at_s in np.arange(3.7, 500.1, 3.7).tolist() + [500.0]])
    # Counts are the same; sums of times are added up in other pieces.
    np.testing.assert_allclose(whole, parts, rtol=1e-9, atol=1e-9)


def test_what_waits_in_a_queue_is_counted_as_waiting():
    # Three run, two wait: 160 tokens each at 1/32 s, prompts free.
    profile = dataclasses.replace(TIES, prefill_base_s=0.0, prefill_s_per_token=0.0)
    trace = TraceColumns(np.zeros(5), np.zeros(5, np.int32), np.full(5, 160, np.int32))
    fleet = CompiledFleet(profile, trace, window_s=10.0)
    fleet.add_copy()
    row = fleet.advance(10.0)[0]
    # 160 steps take 5 s: in the first 5 s two of five wait, in the second 5 s two run.
    assert row[k.W_WAITING_MEAN] == pytest.approx(1.0)
    assert row[k.W_IN_FLIGHT_MEAN] == pytest.approx((5 * 5 + 2 * 5) / 10)
    # Three first tokens after one step, two after 5 s and one step; every other token comes one step after the last.
    assert row[k.W_TTFT_SUM_S] == pytest.approx(3 / 32 + 2 * (5 + 1 / 32))
    assert row[k.W_ITL_SUM_S] / row[k.W_ITL_COUNT] == pytest.approx(1 / 32)


def test_more_copies_than_there_were_slots_find_room():
    requests = arrivals(11, 20.0, 4000)
    slow, fast = twins(requests, M, LOR, 60.0, 5.0, 0)
    for number in range(40):
        slow.add_copy(str(number), number * 2.0)
        fast.reach(number * 2.0)
        fast.add_copy()
    slow.advance(400.0)
    fast.advance(400.0)
    assert fast.serving_copies == 40
    np.testing.assert_allclose(fast.log().e2e_s, slow.log.e2e_s, rtol=0, atol=1e-9)


def test_random_draws_are_those_of_the_rule():
    for seed, number in ((0, 0), (1, 5), (123456789, 10**6)):
        assert k._unit_draw(float(seed), number) == unit_draw(seed, number)


def test_a_copy_is_there_until_it_has_drained():
    trace = TraceColumns(np.zeros(1), np.full(1, 10, np.int32), np.full(1, 100, np.int32))
    fleet = CompiledFleet(M, trace)
    copy = fleet.add_copy()
    fleet.advance(1.0)
    fleet.remove_copy(copy)
    assert fleet.is_there(copy)
    fleet.advance(10.0)
    assert not fleet.is_there(copy)
    second = fleet.add_copy()  # takes the same slot
    assert not fleet.is_there(copy)
    assert fleet.is_there(second)
    with pytest.raises(ValueError, match="no copy 0"):
        fleet.remove_copy(copy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"routing": "PREFIX_AWARE"}, "choose one of"),
        ({"client_timeout_s": 0.0}, "client_timeout_s"),
        ({"window_s": 0.0}, "window_s"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, message):
    trace = TraceColumns(np.zeros(0), np.zeros(0, np.int32), np.zeros(0, np.int32))
    with pytest.raises(ValueError, match=message):
        CompiledFleet(M, trace, **options)


def test_time_does_not_run_backwards():
    fleet = CompiledFleet(M, TraceColumns(np.zeros(0), np.zeros(0, np.int32), np.zeros(0, np.int32)))
    fleet.advance(20.0)
    with pytest.raises(ValueError, match="cannot go to"):
        fleet.advance(19.0)
