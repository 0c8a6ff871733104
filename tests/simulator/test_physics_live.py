"""Requests of clients outside the simulation, by hand: when their tokens come, and how long their copy counts them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.clock import EPOCH_S
from simulator.physics.fleet import CopyFleet
from simulator.physics.profiles import M, ServiceProfile
from simulator.physics.requests import ClosedLoop, OpenArrivals, Status

# one sequence: 0.12 s per token, two: 0.14 s; every prompt 0.5 s
SIMPLE = ServiceProfile(
    name="simple",
    a_s=0.10,
    b_s=0.02,
    prefill_base_s=0.5,
    prefill_s_per_token=0.0,
    max_sequences=2,
    itl_slo_s=0.20,
    instance_type="ml.test",
    instance_usd_per_hour=1.0,
)


def fleet_of(copies=1, profile=SIMPLE, **options):
    fleet = CopyFleet(profile, OpenArrivals((), (), (), EPOCH_S), **options)
    for k in range(copies):
        fleet.add_copy(f"copy-{k}", EPOCH_S)
    return fleet


def tokens_at(fleet, *seconds):
    return [[row.tokens for row in fleet.progress(EPOCH_S + t)] for t in seconds]


def state_at(fleet, seconds):
    return [(row.tokens, row.status.name) for row in fleet.progress(EPOCH_S + seconds)]


def test_the_first_token_comes_after_the_prefill_and_one_step_and_each_further_one_a_step_later():
    fleet = fleet_of()
    fleet.open_request(EPOCH_S, 9, 4)
    assert tokens_at(fleet, 0.61, 0.63, 0.73, 0.75, 0.97, 0.99) == [[0], [1], [1], [2], [3], [4]]
    assert state_at(fleet, 1.0) == [(4, "SERVED")]


def test_a_second_request_stops_the_tokens_of_the_first_for_its_prefill_and_slows_them_after_that():
    fleet = fleet_of()
    fleet.open_request(EPOCH_S, 9, 20)
    fleet.open_request(EPOCH_S + 0.75, 9, 20)
    # the first has 2 tokens and a twelfth of the third at 0.75; the second's prompt ends at 1.25
    assert tokens_at(fleet, 1.25, 1.37, 1.385, 1.395, 1.525) == [[2, 0], [2, 0], [3, 0], [3, 1], [4, 1]]


def test_when_the_next_token_is_due_is_foretold():
    fleet = fleet_of()
    fleet.open_request(EPOCH_S, 9, 3)
    due = [fleet.progress(EPOCH_S + t)[0].next_s - EPOCH_S for t in (0.0, 0.63, 0.70, 0.75)]
    assert due == pytest.approx([0.62, 0.74, 0.74, 0.86])
    assert fleet.progress(EPOCH_S + 2.0)[0].next_s == float("inf")


def test_a_queued_request_has_no_tokens_until_a_place_is_free():
    fleet = fleet_of()
    for _ in range(3):
        fleet.open_request(EPOCH_S, 9, 2)
    assert tokens_at(fleet, 1.0) == [[1, 0, 0]]
    # the first is complete at 1.0 + 2 x 0.14; in its place comes the third, whose prompt stops the second
    assert tokens_at(fleet, 1.29, 1.77, 1.79, 1.91, 1.93) == [[2, 1, 0], [2, 1, 0], [2, 2, 0], [2, 2, 0], [2, 2, 1]]


def test_a_request_counts_until_it_is_closed_not_until_its_last_token():
    fleet = fleet_of(copies=2)
    slow = fleet.open_request(EPOCH_S, 9, 2)
    assert state_at(fleet, 5.0) == [(2, "SERVED")]
    assert (fleet.in_flight, fleet.copy_in_flight("copy-0")) == (1, 1)
    fleet.submit(EPOCH_S + 5.0, 9, 2)
    assert fleet.copy_in_flight("copy-1") == 1, "least outstanding requests goes round the copy with the slow reader"
    window = fleet.take_window(EPOCH_S + 10.0)
    assert window.in_flight_mean * 10.0 == pytest.approx(10.0 + 0.74)
    fleet.close_request(slow, EPOCH_S + 12.0)
    assert fleet.take_window(EPOCH_S + 20.0).in_flight_mean * 10.0 == pytest.approx(2.0)
    assert fleet.in_flight == 0


def test_a_client_that_leaves_makes_room_at_once():
    fleet = fleet_of()
    first = fleet.open_request(EPOCH_S, 9, 100)
    for _ in range(2):
        fleet.open_request(EPOCH_S, 9, 100)
    fleet.close_request(first, EPOCH_S + 3.0)
    # the third request's prompt runs from 3.0 to 3.5
    assert tokens_at(fleet, 3.59, 3.63, 3.65) == [[14, 0], [15, 0], [15, 1]]
    assert fleet.in_flight == 2
    assert fleet.log.count(Status.LEFT) == 1


def test_a_copy_drains_until_the_slow_reader_has_its_answer():
    fleet = fleet_of(copies=2)
    slow = fleet.open_request(EPOCH_S, 9, 2)
    fleet.remove_copy("copy-0", EPOCH_S + 1.0)
    assert state_at(fleet, 60.0) == [(2, "SERVED")]
    assert (fleet.serving_copies, fleet.draining_copies) == (1, 1)
    fleet.close_request(slow, EPOCH_S + 61.0)
    assert fleet.draining_copies == 0


def test_a_copy_cut_off_breaks_answers_that_come_and_answers_that_are_not_read_yet():
    fleet = fleet_of()
    unread = fleet.open_request(EPOCH_S, 9, 2)
    coming = fleet.open_request(EPOCH_S + 3.0, 9, 500)
    fleet.remove_copy("copy-0", EPOCH_S + 5.0, drain=False)
    # the second began at 3.0: prompt until 3.5, 12 tokens by 4.94
    assert state_at(fleet, 5.0) == [(2, "LOST_BROKEN"), (12, "LOST_BROKEN")]
    assert (fleet.in_flight, fleet.draining_copies) == (0, 0)
    fleet.add_copy("copy-1", EPOCH_S + 6.0)
    for request in (unread, coming):
        fleet.close_request(request, EPOCH_S + 7.0)
    assert (fleet.in_flight, fleet.copy_in_flight("copy-1")) == (0, 0), "closing what was broken touches no other copy"


def test_without_a_copy_the_one_attempt_fails_at_once_and_is_counted_once():
    fleet = fleet_of(copies=0, retry_interval_s=1.0)
    request = fleet.open_request(EPOCH_S + 1.0, 9, 2)
    assert fleet.progress(EPOCH_S + 1.0)[0].status is Status.LOST_NO_CAPACITY
    fleet.close_request(request, EPOCH_S + 1.0)
    window = fleet.take_window(EPOCH_S + 30.0)
    assert (window.arrivals, window.no_capacity_failures, window.in_flight_max) == (1, 1, 0)


def test_a_client_outside_has_more_patience_than_the_simulated_ones():
    fleet = fleet_of(profile=dataclasses.replace(SIMPLE, max_sequences=1), client_timeout_s=2.0)
    fleet.open_request(EPOCH_S, 9, 100)
    fleet.open_request(EPOCH_S, 9, 1)
    fleet.submit(EPOCH_S, 9, 1)
    assert state_at(fleet, 20.0) == [(100, "SERVED"), (1, "SERVED")]
    assert fleet.log.count(Status.LOST_TIMEOUT) == 1


def test_the_clients_of_a_closed_loop_send_no_request_for_one_from_outside():
    fleet = CopyFleet(SIMPLE, ClosedLoop((1,) * 10, input_tokens=9, output_tokens=10))
    fleet.add_copy("copy-0", EPOCH_S)
    request = fleet.open_request(EPOCH_S, 9, 3)
    fleet.advance(EPOCH_S + 50.0)
    assert fleet.in_flight == 2
    fleet.close_request(request, EPOCH_S + 50.0)
    assert fleet.in_flight == 1
    gone = fleet.open_request(EPOCH_S + 51.0, 9, 300)
    fleet.remove_copy("copy-0", EPOCH_S + 60.0, drain=False)
    assert fleet.log.count(Status.LOST_BROKEN) == 2
    fleet.close_request(gone, EPOCH_S + 60.0)
    fleet.add_copy("copy-1", EPOCH_S + 61.0)
    fleet.advance(EPOCH_S + 70.0)
    assert fleet.in_flight == 1


def test_a_request_is_closed_once():
    fleet = fleet_of()
    simulated = fleet.submit(EPOCH_S, 9, 2)
    live = fleet.open_request(EPOCH_S, 9, 2)
    fleet.close_request(live, EPOCH_S)
    for number in (simulated, live):
        with pytest.raises(ValueError, match="was not opened, or is closed"):
            fleet.close_request(number, EPOCH_S)
    with pytest.raises(ValueError, match="1 output token"):
        fleet.open_request(EPOCH_S, 9, 0)
    assert fleet.progress(EPOCH_S + 9.0) == []


REQUESTS = st.lists(st.tuples(st.floats(0, 40), st.integers(0, 3000), st.integers(1, 200)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(REQUESTS, REQUESTS, st.integers(1, 3))
def test_requests_from_outside_and_simulated_ones_have_the_same_latency(simulated, outside, copies):
    """Opened and closed at its last token, a request leaves the same log as one that was submitted."""
    logs = []
    for live in (False, True):
        profile = dataclasses.replace(M, max_sequences=3)
        fleet = CopyFleet(profile, _open(simulated), "RANDOM", client_timeout_s=None)
        for k in range(copies):
            fleet.add_copy(f"copy-{k}", EPOCH_S)
        for at, tokens_in, tokens_out in sorted(outside):
            (fleet.open_request if live else fleet.submit)(EPOCH_S + at, tokens_in, tokens_out)
        fleet.advance(EPOCH_S + 5000.0)
        logs.append(fleet.log)
        assert fleet.in_flight == (len(outside) if live else 0)
        for row in fleet.progress(EPOCH_S + 5000.0):
            assert row.status is Status.SERVED
            fleet.close_request(row.request, EPOCH_S + 5000.0)
        assert fleet.in_flight == 0
    np.testing.assert_array_equal(logs[0].e2e_s, logs[1].e2e_s)
    np.testing.assert_array_equal(logs[0].ttft_s, logs[1].ttft_s)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    REQUESTS,
    REQUESTS,
    st.lists(st.tuples(st.floats(0, 60), st.sampled_from(["add", "drain", "cut", "close"])), max_size=25),
)
def test_tokens_only_grow_and_every_copy_counts_what_is_on_it(simulated, outside, actions):
    fleet = CopyFleet(dataclasses.replace(M, max_sequences=3), _open(simulated), client_timeout_s=10.0)
    fleet.add_copy("copy-0", EPOCH_S)
    ever, alive, seen = ["copy-0"], ["copy-0"], {}
    steps = sorted([(at, "open", size) for at, *size in outside] + [(at, action, None) for at, action in actions])
    for number, (at, action, size) in enumerate(steps):
        now_s = EPOCH_S + at
        if action == "open":
            fleet.open_request(now_s, *size)
        elif action == "add":
            ever.append(f"more-{number}")
            alive.append(ever[-1])
            fleet.add_copy(ever[-1], now_s)
        elif action in ("drain", "cut") and alive:
            fleet.remove_copy(alive.pop(0), now_s, drain=action == "drain")
        rows = fleet.progress(now_s)
        if action == "close" and rows:
            fleet.close_request(rows[number % len(rows)].request, now_s)
        for row in rows:
            assert seen.get(row.request, 0) <= row.tokens
            assert row.next_s >= now_s
            seen[row.request] = row.tokens
        assert fleet.in_flight == sum(fleet.copy_in_flight(name) for name in ever)
    for row in fleet.progress(EPOCH_S + 5000.0):
        fleet.close_request(row.request, EPOCH_S + 5000.0)
    assert fleet.in_flight == 0
    assert fleet.draining_copies == 0


def _open(rows):
    at, tokens_in, tokens_out = zip(*sorted(rows), strict=True)
    return OpenArrivals([EPOCH_S + t for t in at], tokens_in, tokens_out, EPOCH_S)
