"""The copy fleet, worked by hand: every number below can be recomputed on paper from the rules in fleet.py."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.clock import EPOCH_S
from simulator.physics.fleet import CopyFleet
from simulator.physics.profiles import M, ServiceProfile
from simulator.physics.requests import ClosedLoop, OpenArrivals, Status
from simulator.physics.routing import unit_draw

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
ONE_AT_A_TIME = dataclasses.replace(SIMPLE, max_sequences=1)


def fleet_of(profile, requests, copies=1, start_s=EPOCH_S, **options):
    """`requests`: (seconds after the start, input tokens, output tokens)."""
    at, tokens_in, tokens_out = zip(*requests, strict=True) if requests else ((), (), ())
    arrivals = OpenArrivals([start_s + t for t in at], tokens_in, tokens_out, start_s)
    fleet = CopyFleet(profile, arrivals, **options)
    for k in range(copies):
        fleet.add_copy(f"copy-{k}", start_s)
    return fleet


def after(fleet, seconds):
    fleet.advance(fleet.start_s + seconds)
    return fleet.log


def statuses(log):
    return [Status(value).name for value in log.status]


# ---------------------------------------------------------------- latency


def test_a_lone_request_takes_its_prefill_and_one_step_per_token():
    log = after(fleet_of(M, [(0.0, 1000, 100)]), 60)
    # prefill 0.02 + 1000 x 0.00064 = 0.66 s; step 0.0436 + 0.00095 = 0.04455 s
    assert log.ttft_s[0] == pytest.approx(0.66 + 0.04455)
    assert log.e2e_s[0] == pytest.approx(0.66 + 100 * 0.04455)


def test_two_overlapping_requests_share_the_copy_and_a_prefill_stops_both():
    # A: prefill to 0.5, then 12.5 tokens by 2.0. B comes: prefill to 2.5, then 5 tokens at 0.14 s to 3.2 (B done).
    # A has 2.5 tokens left, at 0.12 s: 3.5.
    log = after(fleet_of(SIMPLE, [(0.0, 9, 20), (2.0, 9, 5)]), 60)
    assert log.ttft_s == pytest.approx([0.62, 0.64])
    assert log.e2e_s == pytest.approx([3.5, 1.2])


def test_requests_beyond_max_sequences_wait_in_order():
    log = after(fleet_of(ONE_AT_A_TIME, [(0.0, 9, 10), (0.0, 9, 10), (0.1, 9, 10)]), 60)
    # each holds the copy for 0.5 + 10 x 0.12 = 1.7 s
    assert log.e2e_s == pytest.approx([1.7, 3.4, 5.0])
    assert log.ttft_s == pytest.approx([0.62, 1.7 + 0.62, 3.4 + 0.62 - 0.1])


def test_a_request_is_in_flight_until_its_last_token():
    fleet = fleet_of(SIMPLE, [(0.0, 9, 10)])
    after(fleet, 1.69)
    assert (fleet.in_flight, fleet.copy_in_flight("copy-0")) == (1, 1)
    after(fleet, 1.71)
    assert (fleet.in_flight, fleet.copy_in_flight("copy-0")) == (0, 0)


def test_a_first_token_still_to_come_is_not_in_the_log():
    fleet = fleet_of(SIMPLE, [(0.0, 9, 10)])
    assert math.isnan(after(fleet, 0.61).ttft_s[0])
    assert after(fleet, 0.63).ttft_s[0] == pytest.approx(0.62)


def test_a_year_of_epoch_seconds_costs_no_precision():
    requests = [(k / 4, 100 + k, 20 + k) for k in range(200)]
    near = after(fleet_of(M, requests, copies=3, start_s=0.0), 600)
    far = after(fleet_of(M, requests, copies=3, start_s=EPOCH_S + 366 * 86_400.0), 600)
    assert near.e2e_s.tolist() == far.e2e_s.tolist()
    week_s = 7 * 86_400.0
    late = after(fleet_of(M, [(0.0, 1000, 100), (week_s, 1000, 100)]), week_s + 60)
    assert late.e2e_s[1] == pytest.approx(late.e2e_s[0], abs=1e-9)


# ---------------------------------------------------------------- routing


def test_least_outstanding_takes_the_emptiest_copy_and_the_oldest_among_equals():
    fleet = fleet_of(SIMPLE, [(0.0, 9, 50), (0.1, 9, 50), (0.2, 9, 50), (0.3, 9, 50)], copies=3)
    seen = []
    for seconds in (0.05, 0.15, 0.25, 0.35):
        after(fleet, seconds)
        seen.append([fleet.copy_in_flight(f"copy-{k}") for k in range(3)])
    assert seen == [[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1]]


def test_a_new_copy_takes_the_lowest_free_slot_and_wins_ties_there():
    fleet = fleet_of(SIMPLE, [(5.0, 9, 50)], copies=3)
    for gone in ("copy-1", "copy-0"):
        fleet.remove_copy(gone, EPOCH_S + 1)
    fleet.add_copy("new", EPOCH_S + 2)
    after(fleet, 5.0)
    assert (fleet.copy_in_flight("new"), fleet.copy_in_flight("copy-2")) == (1, 0)


def test_random_routing_draws_splitmix64():
    # the generator's published outputs for seed 0, of which the upper 53 bits are used
    outputs = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [unit_draw(0, k) for k in range(3)] == [(word >> 11) / 2**53 for word in outputs]


def test_random_routing_spreads_evenly_and_queues_more_than_least_outstanding():
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.exponential(0.4, 3000)).tolist()
    requests = [(at, 800, 150) for at in times]
    waits, shares = {}, {}
    for routing in ("RANDOM", "LEAST_OUTSTANDING_REQUESTS"):
        fleet = fleet_of(M, requests, copies=6, routing=routing, seed=3, client_timeout_s=None)
        log = after(fleet, times[-1] + 500)
        waits[routing] = np.percentile(log.e2e_s, 95)
        window = fleet.take_window(fleet.now_s)
        shares[routing] = [mean for mean, _ in window.per_copy.values()]
    assert waits["RANDOM"] > 1.15 * waits["LEAST_OUTSTANDING_REQUESTS"]
    assert max(shares["RANDOM"]) < 1.35 * min(shares["RANDOM"])


def test_another_seed_routes_otherwise_and_the_same_seed_alike():
    requests = [(k / 5, 300, 60) for k in range(60)]
    runs = [after(fleet_of(M, requests, copies=4, routing="RANDOM", seed=s), 120).e2e_s.tobytes() for s in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


# ---------------------------------------------------------------- removing copies


def test_a_draining_copy_finishes_its_requests_and_takes_no_new_ones():
    fleet = fleet_of(SIMPLE, [(0.0, 9, 10), (0.5, 9, 10)], copies=2)
    after(fleet, 0.2)
    fleet.remove_copy("copy-0", EPOCH_S + 0.2)
    assert (fleet.serving_copies, fleet.draining_copies) == (1, 1)
    log = after(fleet, 1.65)
    assert (fleet.copy_in_flight("copy-0"), fleet.copy_in_flight("copy-1")) == (1, 1)
    log = after(fleet, 3.0)
    assert statuses(log) == ["SERVED", "SERVED"]
    assert log.e2e_s == pytest.approx([1.7, 1.7])
    assert (fleet.serving_copies, fleet.draining_copies, fleet.copy_in_flight("copy-0")) == (1, 0, 0)


def test_without_drain_everything_on_the_copy_breaks_at_once():
    fleet = fleet_of(ONE_AT_A_TIME, [(0.0, 9, 10), (0.1, 9, 10)])
    after(fleet, 1.0)
    fleet.remove_copy("copy-0", EPOCH_S + 1.0, drain=False)
    log = after(fleet, 60)
    assert statuses(log) == ["LOST_BROKEN", "LOST_BROKEN"]
    assert log.ttft_s[0] == pytest.approx(0.62)  # its first token had come
    assert math.isnan(log.ttft_s[1])
    assert np.isnan(log.e2e_s).all()
    window = fleet.take_window(EPOCH_S + 60)
    assert (window.broken_streams, window.completions, fleet.in_flight, fleet.draining_copies) == (2, 0, 0, 0)


def test_a_draining_copy_can_still_be_cut():
    fleet = fleet_of(SIMPLE, [(0.0, 9, 100)])
    after(fleet, 1.0)
    fleet.remove_copy("copy-0", EPOCH_S + 1.0)
    fleet.remove_copy("copy-0", EPOCH_S + 2.0, drain=False)
    assert statuses(fleet.log) == ["LOST_BROKEN"]
    assert fleet.in_flight == 0


def test_an_empty_copy_is_gone_as_soon_as_it_is_removed():
    fleet = fleet_of(SIMPLE, [], copies=2)
    fleet.remove_copy("copy-1", EPOCH_S)
    assert (fleet.serving_copies, fleet.draining_copies) == (1, 0)
    fleet.add_copy("copy-1", EPOCH_S + 1)
    assert fleet.serving_copies == 2


def test_a_copy_added_or_removed_at_an_instant_counts_for_what_arrives_then():
    fleet = fleet_of(SIMPLE, [(0.0, 9, 10), (5.0, 9, 10)], copies=0)
    fleet.add_copy("a", EPOCH_S)
    after(fleet, 4.0)
    fleet.remove_copy("a", EPOCH_S + 5.0)
    window = fleet.take_window(EPOCH_S + 5.0)
    assert (window.invocations, window.no_capacity_failures) == (1, 1)
    fleet.add_copy("b", EPOCH_S + 5.0)  # the instant is over: what failed tries again at 10
    assert after(fleet, 30.0).e2e_s == pytest.approx([1.7, 5.0 + 1.7])


# ---------------------------------------------------------------- clients that wait, try again and leave


def test_a_client_without_a_first_token_leaves_the_queue():
    # the first one holds the copy until 0.5 + 30 x 0.12 = 4.1; the second leaves at 3.95, the third is admitted at 4.1
    fleet = fleet_of(ONE_AT_A_TIME, [(0.0, 9, 30), (0.2, 9, 10), (1.0, 9, 10)], client_timeout_s=3.75)
    after(fleet, 3.94)
    assert fleet.in_flight == 3
    after(fleet, 3.96)
    assert fleet.in_flight == 2
    log = after(fleet, 60)
    assert statuses(log) == ["SERVED", "LOST_TIMEOUT", "SERVED"]
    assert log.ttft_s[2] == pytest.approx(4.1 - 1.0 + 0.62)


def test_an_aborted_request_makes_room_and_what_is_left_of_its_prefill_is_dropped():
    # the second is admitted at 4.1 and would have its first token at 4.72; it leaves at 4.5, a fifth of its prefill
    # undone; the third takes its place at once
    fleet = fleet_of(ONE_AT_A_TIME, [(0.0, 9, 30), (1.5, 9, 10), (2.25, 9, 10)], client_timeout_s=3.0)
    log = after(fleet, 4.6)
    assert statuses(log) == ["SERVED", "LOST_TIMEOUT", "OPEN"]
    log = after(fleet, 60)
    assert statuses(log)[2] == "SERVED"
    assert log.ttft_s[2] == pytest.approx(4.5 + 0.62 - 2.25)
    assert log.e2e_s[2] == pytest.approx(4.5 + 1.7 - 2.25)


def test_first_tokens_behind_an_aborted_request_come_earlier():
    three = dataclasses.replace(SIMPLE, max_sequences=3)
    fleet = fleet_of(three, [(0.0, 9, 10), (5.0, 9, 10), (5.1, 9, 10)], copies=0, client_timeout_s=10.6)
    fleet.add_copy("copy-0", EPOCH_S + 10.0)
    # tries at 10.0 (A, B) and 10.1 (C): A's first token would come at 10.62, after its patience of 10.6; its prefill
    # is done by then, so nothing is dropped
    log = after(fleet, 60)
    assert statuses(log) == ["LOST_TIMEOUT", "SERVED", "SERVED"]
    assert log.ttft_s[2] == pytest.approx(11.5 + 0.16 - 5.1)
    hasty = fleet_of(three, [(0.0, 9, 10), (5.0, 9, 10), (5.1, 9, 10)], copies=0, client_timeout_s=10.3)
    hasty.add_copy("copy-0", EPOCH_S + 10.0)
    # A leaves at 10.3 with 0.2 s of its prefill undone: B and C come 0.2 s earlier
    log = after(hasty, 60)
    assert statuses(log) == ["LOST_TIMEOUT", "SERVED", "SERVED"]
    assert log.ttft_s[1] == pytest.approx(11.0 - 0.2 + 0.14 - 5.0)
    assert log.ttft_s[2] == pytest.approx(11.5 - 0.2 + 0.16 - 5.1)
    # both then decode together from 11.3 on, 10 tokens at 0.14 s
    assert log.e2e_s[1:] == pytest.approx([11.3 + 1.4 - 5.0, 11.3 + 1.4 - 5.1])


def test_a_first_token_exactly_at_the_limit_is_in_time():
    exact = dataclasses.replace(SIMPLE, a_s=0.125, b_s=0.0, prefill_base_s=0.5)
    assert statuses(after(fleet_of(exact, [(0.0, 9, 8)], client_timeout_s=0.625), 9)) == ["SERVED"]
    assert statuses(after(fleet_of(exact, [(0.0, 9, 8)], client_timeout_s=0.6), 9)) == ["LOST_TIMEOUT"]


def test_a_slow_answer_is_not_a_timeout_once_it_streams():
    log = after(fleet_of(SIMPLE, [(0.0, 9, 200)], client_timeout_s=1.0), 60)
    assert statuses(log) == ["SERVED"]


def test_with_no_copy_an_attempt_fails_and_is_tried_again_until_a_copy_serves():
    fleet = fleet_of(SIMPLE, [(2.0, 9, 10)], copies=0)
    fleet.add_copy("late", EPOCH_S + 11.0)  # tries at 2, 7 and 12
    log = after(fleet, 60)
    assert log.e2e_s[0] == pytest.approx(12 - 2 + 1.7)
    assert log.ttft_s[0] == pytest.approx(12 - 2 + 0.62)
    window = fleet.take_window(EPOCH_S + 60)
    assert (window.arrivals, window.no_capacity_failures, window.invocations, window.completions) == (1, 2, 1, 1)
    assert window.latency_sum_s == pytest.approx(11.7)


def test_tries_are_not_users_and_end_with_the_clients_patience():
    fleet = fleet_of(SIMPLE, [(0.0, 9, 10), (1.0, 9, 10)], copies=0, client_timeout_s=12.0)
    log = after(fleet, 60)
    assert statuses(log) == ["LOST_NO_CAPACITY", "LOST_NO_CAPACITY"]
    window = fleet.take_window(EPOCH_S + 60)
    # tries at 0, 5, 10 and at 1, 6, 11
    assert (window.arrivals, window.no_capacity_failures, window.lost_no_capacity, window.timeouts) == (2, 6, 2, 0)


def test_without_retries_a_failed_attempt_is_final():
    fleet = fleet_of(SIMPLE, [(0.0, 9, 10)], copies=0, retry_interval_s=None)
    assert statuses(after(fleet, 0.0)) == ["LOST_NO_CAPACITY"]


@pytest.mark.parametrize("step_s", [0.5, 2.5, 5.0, 30.0])
def test_a_try_that_is_due_at_the_end_of_an_advance_is_made(step_s):
    fleet = fleet_of(SIMPLE, [(0.0, 9, 10)], copies=0)
    for k in range(1, round(30 / step_s) + 1):
        after(fleet, k * step_s)
    assert fleet.take_window(EPOCH_S + 30).no_capacity_failures == 7  # at 0, 5, … 30


# ---------------------------------------------------------------- closed loop


@pytest.mark.parametrize("clients", [1, 5, 16])
def test_a_closed_loop_keeps_its_level_in_flight_at_the_closed_form_pace(clients):
    fleet = CopyFleet(M, ClosedLoop((clients,) * 30))
    fleet.add_copy("copy-0", EPOCH_S)
    fleet.take_window(EPOCH_S)
    window = fleet.take_window(EPOCH_S + 299)
    assert (window.in_flight_mean, window.in_flight_min, window.in_flight_max) == (
        pytest.approx(clients),
        clients,
        clients,
    )
    log = fleet.log
    # every round is one prefill per client, then 128 steps together
    per_round_s = 128 * M.step_s(clients) + clients * M.prefill_s(512)
    assert log.e2e_s[log.status == Status.SERVED] == pytest.approx(per_round_s)


def test_clients_finish_and_leave_when_the_level_falls_and_come_at_once_when_it_rises():
    fleet = CopyFleet(M, ClosedLoop((4, 1, 6)))
    for k in range(8):
        fleet.add_copy(f"copy-{k}", EPOCH_S)
    after(fleet, 9.99)
    assert fleet.in_flight == 4
    after(fleet, 18.0)
    assert fleet.in_flight == 1
    after(fleet, 20.0)
    assert fleet.in_flight == 6
    after(fleet, 60.0)
    assert fleet.in_flight == 0
    assert set(statuses(fleet.log)) == {"SERVED"}


def test_a_closed_loop_client_tries_again_instead_of_piling_up():
    fleet = CopyFleet(M, ClosedLoop((3,) * 6), retry_interval_s=5.0)
    window = fleet.take_window(EPOCH_S + 19)
    assert (window.arrivals, window.no_capacity_failures, fleet.in_flight) == (3, 12, 0)  # 3 clients at 0, 5, 10, 15
    fleet.add_copy("copy-0", EPOCH_S + 19)
    after(fleet, 21.0)
    assert fleet.in_flight == 3


def test_a_closed_loop_client_whose_stream_breaks_sends_its_next_request():
    fleet = CopyFleet(M, ClosedLoop((3,) * 6))
    fleet.add_copy("a", EPOCH_S)
    fleet.add_copy("b", EPOCH_S)
    after(fleet, 2.0)
    fleet.remove_copy("a", EPOCH_S + 2.0, drain=False)
    after(fleet, 2.0)
    assert (fleet.in_flight, fleet.copy_in_flight("b")) == (3, 3)
    assert fleet.log.count(Status.LOST_BROKEN) == 2


# ---------------------------------------------------------------- windows


def test_windows_hold_the_exact_time_weighted_load():
    # in flight: 1 from 0, 2 from 2.0, 1 from 3.2, 0 from 3.5 (see the overlapping requests above)
    fleet = fleet_of(SIMPLE, [(0.0, 9, 20), (2.0, 9, 5)])
    first = fleet.take_window(EPOCH_S + 3.0)
    assert (first.in_flight_mean, first.in_flight_min, first.in_flight_max) == (pytest.approx(4 / 3), 0, 2)
    assert (first.arrivals, first.invocations, first.completions) == (2, 2, 0)
    second = fleet.take_window(EPOCH_S + 13.0)
    assert (second.in_flight_mean, second.in_flight_min, second.in_flight_max) == (pytest.approx(0.07), 0, 2)
    assert second.latency_sum_s == pytest.approx(3.5 + 1.2)
    assert first.tokens_out + second.tokens_out == pytest.approx(25)
    assert first.tokens_out == pytest.approx(12.5 + 2 * 0.5 / 0.14)


def test_a_first_token_counts_in_the_window_in_which_it_comes():
    fleet = fleet_of(SIMPLE, [(0.0, 9, 20)])
    counts = [fleet.take_window(EPOCH_S + at).ttft_count for at in (0.6, 0.61, 0.63, 60)]
    assert counts == [0, 0, 1, 0]


def test_per_copy_means_cover_the_time_in_which_the_copy_existed():
    fleet = fleet_of(SIMPLE, [(0.0, 9, 100), (4.0, 9, 100)])
    fleet.add_copy("young", EPOCH_S + 2.0)
    window = fleet.take_window(EPOCH_S + 10.0)
    assert window.per_copy["copy-0"] == (pytest.approx(1.0), 1)
    assert window.per_copy["young"] == (pytest.approx(6 / 8), 1)
    fleet.remove_copy("young", EPOCH_S + 12.0, drain=False)
    window = fleet.take_window(EPOCH_S + 20.0)
    assert window.per_copy["young"] == (pytest.approx(1.0), 1)
    assert window.in_flight_mean == pytest.approx((2.5 + 2.0) / 10)  # copy-0 is done at 0.5 + 100 x 0.12
    assert list(fleet.take_window(EPOCH_S + 30.0).per_copy) == ["copy-0"]


def test_the_minimum_sees_streams_that_break_and_clients_that_find_no_copy():
    fleet = fleet_of(SIMPLE, [(0.0, 9, 100), (0.1, 9, 100), (3.0, 9, 100)], copies=2)
    fleet.take_window(EPOCH_S + 1.0)
    fleet.remove_copy("copy-0", EPOCH_S + 2.0, drain=False)
    window = fleet.take_window(EPOCH_S + 4.0)
    assert (window.in_flight_min, window.in_flight_max, fleet.in_flight) == (1, 2, 2)
    loop = CopyFleet(SIMPLE, ClosedLoop((2,) * 9))
    loop.add_copy("a", EPOCH_S)
    loop.take_window(EPOCH_S + 5.0)
    loop.remove_copy("a", EPOCH_S + 5.0)
    loop.add_copy("b", EPOCH_S + 30.0)
    window = loop.take_window(EPOCH_S + 40.0)
    assert (window.in_flight_min, window.in_flight_max) == (0, 2)


WORKLOADS = st.lists(st.tuples(st.floats(0, 60), st.integers(0, 3000), st.integers(1, 300)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(WORKLOADS, st.integers(1, 4), st.sampled_from([1.0, 7.3, 10.0, 1000.0]))
def test_littles_law_holds_exactly_and_does_not_depend_on_the_windows(requests, copies, width_s):
    requests = sorted(requests)
    fleet = fleet_of(dataclasses.replace(M, max_sequences=4), requests, copies=copies, client_timeout_s=None)
    windows = []
    while fleet.in_flight or fleet.now_s < EPOCH_S + 60:
        windows.append(fleet.take_window(fleet.now_s + width_s))
    log = fleet.log
    assert set(statuses(log)) == {"SERVED"}
    area = sum(w.in_flight_mean * (w.end_s - w.start_s) for w in windows)
    assert area == pytest.approx(log.e2e_s.sum(), rel=1e-7)
    assert sum(w.tokens_out for w in windows) == pytest.approx(sum(r[2] for r in requests), rel=1e-9)
    assert sum(w.latency_sum_s for w in windows) == pytest.approx(log.e2e_s.sum(), rel=1e-9)
    assert sum(w.ttft_sum_s for w in windows) == pytest.approx(log.ttft_s.sum(), rel=1e-9)
    for w in windows:
        assert w.in_flight_min <= w.in_flight_mean + 1e-9
        assert w.in_flight_mean <= w.in_flight_max + 1e-9
    whole = fleet_of(dataclasses.replace(M, max_sequences=4), requests, copies=copies, client_timeout_s=None)
    whole.advance(fleet.now_s)
    np.testing.assert_allclose(whole.log.e2e_s, log.e2e_s, rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    WORKLOADS,
    st.lists(st.tuples(st.floats(0, 80), st.sampled_from(["add", "drain", "cut"])), max_size=8),
    st.sampled_from([None, 2.0, 20.0]),
)
def test_no_request_is_ever_lost_from_the_books(requests, actions, timeout_s):
    fleet = fleet_of(dataclasses.replace(M, max_sequences=3), sorted(requests), client_timeout_s=timeout_s)
    ever, alive, windows = ["copy-0"], ["copy-0"], []
    for number, (at, action) in enumerate(sorted(actions)):
        windows.append(fleet.take_window(EPOCH_S + at))
        if action == "add":
            ever.append(f"more-{number}")
            alive.append(ever[-1])
            fleet.add_copy(ever[-1], EPOCH_S + at)
        elif alive:
            fleet.remove_copy(alive.pop(), EPOCH_S + at, drain=action == "drain")
    windows.append(fleet.take_window(EPOCH_S + 90.0))
    log = fleet.log
    served, open_ = log.count(Status.SERVED), log.count(Status.OPEN)
    lost = {status: log.count(status) for status in Status if status.name.startswith("LOST")}
    assert len(log) == len(requests) == sum(w.arrivals for w in windows) == served + open_ + sum(lost.values())
    assert served == sum(w.completions for w in windows)
    assert lost[Status.LOST_TIMEOUT] == sum(w.timeouts for w in windows)
    assert lost[Status.LOST_BROKEN] == sum(w.broken_streams for w in windows)
    assert lost[Status.LOST_NO_CAPACITY] == sum(w.lost_no_capacity for w in windows)
    accepted = sum(w.invocations for w in windows)
    assert fleet.in_flight == accepted - served - lost[Status.LOST_TIMEOUT] - lost[Status.LOST_BROKEN]
    assert fleet.in_flight == sum(fleet.copy_in_flight(name) for name in ever)


# ---------------------------------------------------------------- use


def test_a_submitted_request_is_one_more_arrival_now():
    fleet = fleet_of(SIMPLE, [(0.0, 9, 20), (9.0, 9, 5)])
    number = fleet.submit(EPOCH_S + 2.0, 9, 5)
    log = after(fleet, 60)
    assert number == 1
    assert log.arrival_s.tolist() == [EPOCH_S, EPOCH_S + 2.0, EPOCH_S + 9.0]
    assert log.e2e_s == pytest.approx([3.5, 1.2, 0.5 + 5 * 0.12])
    empty = fleet_of(SIMPLE, [], copies=0, retry_interval_s=None)
    assert statuses(empty.log) == []
    empty.submit(EPOCH_S + 1.0, 9, 5)
    assert statuses(empty.log) == ["LOST_NO_CAPACITY"]


def test_what_cannot_be_is_refused():
    fleet = fleet_of(SIMPLE, [])
    fleet.advance(EPOCH_S + 5)
    with pytest.raises(ValueError, match="cannot go to"):
        fleet.advance(EPOCH_S + 4)
    with pytest.raises(ValueError, match="cannot go to"):
        fleet.advance(math.inf)
    with pytest.raises(ValueError, match="exists already"):
        fleet.add_copy("copy-0", EPOCH_S + 5)
    with pytest.raises(ValueError, match="no copy 'other'"):
        fleet.remove_copy("other", EPOCH_S + 5)
    with pytest.raises(KeyError):
        fleet.copy_in_flight("other")
    with pytest.raises(ValueError, match="LEAST_OUTSTANDING_REQUESTS, RANDOM"):
        fleet_of(SIMPLE, [], routing="ROUND_ROBIN")
    with pytest.raises(ValueError, match="client_timeout_s"):
        fleet_of(SIMPLE, [], client_timeout_s=0.0)
    with pytest.raises(ValueError, match="ascending"):
        OpenArrivals([EPOCH_S + 2, EPOCH_S + 1], [1, 1], [1, 1])
    with pytest.raises(ValueError, match="before the start"):
        OpenArrivals([1.0], [1], [1])
    with pytest.raises(ValueError, match="1 output token"):
        OpenArrivals([EPOCH_S], [1], [0])
    with pytest.raises(ValueError, match="retry_interval_s"):
        CopyFleet(SIMPLE, ClosedLoop((1,)), retry_interval_s=None)
