"""The demand curve against arithmetic, and the clairvoyant programme against every plan there is."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.clock import EPOCH_S
from simulator.oracle import clairvoyant_plan, fluid_demand, whole_copies
from simulator.physics.profiles import IMAGE, M, cstar
from simulator.physics.requests import ClosedLoop, OpenArrivals


def demand_of(arrivals, length_s, profile=M, **options):
    return fluid_demand(arrivals, profile, start_s=EPOCH_S, end_s=EPOCH_S + length_s, **options)


def test_one_request_is_its_work_spread_over_its_time_at_the_slo():
    # prefill 0.66 s from 2.0, then 100 tokens at 0.08 s: decoding in [2.66, 10.66)
    arrivals = OpenArrivals([EPOCH_S + 2.0], [1000], [100])
    got = demand_of(arrivals, 30, smooth_s=10)
    weight = 1 / (0.080 - 0.0436)
    want = [weight * (0.00095 * 7.34 + 0.080 * 0.66) / 10, weight * 0.00095 * 0.66 / 10, 0.0]
    assert got == pytest.approx(want)
    assert got.sum() * 10 == pytest.approx(M.work_copy_s(1000, 100))


def test_demand_is_averaged_over_a_minute_and_a_last_part_over_itself():
    arrivals = OpenArrivals([EPOCH_S + 2.0, EPOCH_S + 65.0], [1000, 1000], [100, 100])
    fine, smooth = demand_of(arrivals, 90, smooth_s=10), demand_of(arrivals, 90)
    assert smooth[:6] == pytest.approx([fine[:6].mean()] * 6)
    assert smooth[6:] == pytest.approx([fine[6:].mean()] * 3)


def test_max_sequences_binds_where_decoding_is_cheap():
    # one image at a time, 30 steps at the SLO's 0.5 s
    arrivals = OpenArrivals([EPOCH_S + 10.0 * k for k in range(60)], [0] * 60, [30] * 60)
    assert demand_of(arrivals, 600, IMAGE)[12:] == pytest.approx(1.5)


def test_steady_traffic_asks_for_rate_times_work():
    times = EPOCH_S + np.arange(0, 1800, 0.25)
    got = demand_of(OpenArrivals(times, np.full(len(times), 800), np.full(len(times), 150)), 1800)
    assert got[12:].mean() == pytest.approx(4 * M.work_copy_s(800, 150), rel=0.01)


def test_a_closed_loop_asks_for_its_level_over_the_concurrency_at_the_slo():
    got = demand_of(ClosedLoop((4,) * 6 + (8,) * 6), 180)
    in_flight_per_copy = cstar(M, 512, 128) * (1 + M.prefill_s(512) / (128 * 0.080))
    assert got == pytest.approx([4 / in_flight_per_copy] * 6 + [8 / in_flight_per_copy] * 6 + [0.0] * 6)


def test_requests_outside_the_interval_do_not_count():
    arrivals = OpenArrivals([EPOCH_S, EPOCH_S + 100.0], [1000, 1000], [100, 100])
    late = fluid_demand(arrivals, M, start_s=EPOCH_S + 40, end_s=EPOCH_S + 70, smooth_s=10)
    assert late == pytest.approx([0.0, 0.0, 0.0])


def test_whole_copies_round_up_but_not_on_noise():
    assert whole_copies(np.array([0.0, 0.4, 2.0 + 1e-12, 2.1]), 1).tolist() == [1, 1, 2, 3]
    assert whole_copies(np.array([0.0]), 0).tolist() == [0]


def plan_cost(plan, demand, launch_s, weight, period_s=10.0):
    held = period_s * sum(plan)
    launched = launch_s * sum(max(0, b - a) for a, b in itertools.pairwise(plan))
    return held + launched + weight * period_s * sum(max(0.0, x - m) for x, m in zip(demand, plan, strict=True))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(0, 4), min_size=1, max_size=6),
    st.sampled_from([0.0, 7.0, 25.0, 258.0]),
    st.sampled_from([0.5, 3.0, 1e4]),
    st.integers(0, 2),
)
def test_the_programme_finds_the_cheapest_of_all_plans(demand, launch_s, weight, min_copies):
    got = clairvoyant_plan(
        np.array(demand), min_copies=min_copies, max_copies=4, launch_s=launch_s, shortage_weight=weight
    )
    best = min(
        plan_cost(plan, demand, launch_s, weight)
        for plan in itertools.product(range(min_copies, 5), repeat=len(demand))
    )
    assert plan_cost(got.copies.tolist(), demand, launch_s, weight) == pytest.approx(best)
    assert got.cost_copy_s + weight * got.shortage_copy_s == pytest.approx(best)


def test_an_idle_copy_is_kept_for_one_start_up_time_and_not_longer():
    # demand 2, 1 for a gap, 2: holding a copy over the gap costs its length, a new start 258 s
    for gap, kept in ((25, True), (26, False)):
        demand = np.array([2.0] * 5 + [1.0] * gap + [2.0] * 5)
        plan = clairvoyant_plan(demand, min_copies=1, max_copies=3)
        assert bool(plan.copies[10] == 2) is kept
        assert plan.shortage_copy_s == 0.0


def test_demand_beyond_the_upper_bound_is_reported_as_shortage_not_as_cost():
    plan = clairvoyant_plan(np.array([3.0, 3.0]), min_copies=1, max_copies=2)
    assert (plan.copies.tolist(), plan.cost_copy_s, plan.shortage_copy_s) == ([2, 2], 40.0, 20.0)


def test_impossible_bounds_are_refused():
    with pytest.raises(ValueError, match="need 0 <= min <= max"):
        clairvoyant_plan(np.array([1.0]), min_copies=3, max_copies=2)
    with pytest.raises(ValueError, match="no whole period"):
        demand_of(OpenArrivals([], [], []), 4)


def test_prefill_work_scales_with_the_prefill_constants():
    arrivals = OpenArrivals([EPOCH_S], [1000], [1])
    heavy = dataclasses.replace(M, prefill_s_per_token=2 * M.prefill_s_per_token)
    assert demand_of(arrivals, 60, heavy).sum() > 1.9 * demand_of(arrivals, 60).sum()
