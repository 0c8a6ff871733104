"""From the points of a sweep to the cost of a service level, and the yardsticks beside it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from simulator.bench.anchors import break_even_copy_s, demand_of, executable_plan, mean_copies
from simulator.bench.frontier import cost_at, frontier, spread, summary
from simulator.oracle import fluid_demand, in_blocks
from simulator.physics.profiles import M, S
from simulator.physics.requests import OpenArrivals

# points (cost, attainment), level, expected cost
COSTS = [
    ([(1.2, 0.98), (1.6, 1.0)], 0.99, 1.4),
    ([(1.6, 1.0), (1.2, 0.98)], 0.99, 1.4),  # in any order
    ([(1.2, 0.98), (1.6, 1.0)], 0.98, 1.2),  # met exactly
    ([(1.2, 0.98), (1.6, 1.0)], 0.95, 1.2),  # the cheapest is good enough
    ([(1.2, 0.98)], 0.99, None),  # not reached
    ([(1.2, 0.98), (1.3, 0.97), (1.6, 1.0)], 0.99, 1.4),  # dearer and worse is no point of the frontier
    ([(1.2, 0.98), (1.4, 0.995), (1.3, 0.99)], 0.995, 1.4),
    ([], 0.99, None),
]


@pytest.mark.parametrize(("points", "level", "expected"), COSTS)
def test_the_cost_of_a_level_is_read_off_the_pareto_frontier(points, level, expected):
    assert cost_at(points, level) == (None if expected is None else pytest.approx(expected))


def run(policy, knob, seed, cost, slo, trace="P1"):
    return {"trace": trace, "policy": policy, "knob": knob, "seed": seed, "cost_vs_oracle": cost, "slo_attainment": slo}


def test_seeds_are_averaged_before_and_spread_is_taken_after_interpolating():
    runs = [
        run("hpa", 0.5, 1, 1.2, 0.98),
        run("hpa", 0.5, 2, 1.4, 0.98),
        run("hpa", 0.4, 1, 1.6, 1.0),
        run("hpa", 0.4, 2, 1.8, 1.0),
    ]
    assert frontier(runs)["P1"]["hpa"]["99"] == pytest.approx(1.5)
    assert spread(runs)["P1"]["hpa"]["99"] == pytest.approx([1.4, 1.6])


def test_a_level_that_one_seed_misses_has_no_spread():
    runs = [run("hpa", 0.5, 1, 1.2, 0.995), run("hpa", 0.5, 2, 1.2, 0.98)]
    assert spread(runs)["P1"]["hpa"]["99"] is None
    assert spread(runs)["P1"]["hpa"]["98"] == [1.2, 1.2]


def test_runs_whose_cost_is_not_known_leave_the_policy_in_the_table():
    found = frontier([run("static", None, 1, None, None)])
    assert found == {"P1": {"static": {"95": None, "98": None, "99": None, "99.5": None}}}


def test_the_summary_has_no_mean_where_a_trace_is_missing_or_not_reached():
    found = frontier(
        [
            run("good", None, 1, 1.2, 1.0, "P1"),
            run("good", None, 1, 1.8, 1.0, "P2"),
            run("poor", None, 1, 1.2, 1.0, "P1"),
            run("poor", None, 1, 1.8, 0.9, "P2"),
            run("half", None, 1, 1.2, 1.0, "P1"),
        ]
    )
    rows = summary(found)
    assert rows["good"]["99"] == {"mean": pytest.approx((1.2 * 1.8) ** 0.5, abs=1e-4), "worst": 1.8}
    assert rows["poor"]["99"] == rows["half"]["99"] == {"mean": None, "worst": None}


def test_demand_taken_a_day_at_a_time_is_the_demand():
    rng = np.random.default_rng(5)
    length_s = 2.4 * 86_400
    times_s = np.sort(rng.random(20_000)) * length_s
    # Long answers reach over midnight.
    arrivals = OpenArrivals(times_s, rng.integers(0, 9000, 20_000), rng.integers(1, 20_000, 20_000), 0.0)
    for profile in (S, M):
        whole = fluid_demand(arrivals, profile, start_s=0.0, end_s=length_s)
        found = demand_of(arrivals, profile, length_s)
        np.testing.assert_allclose(in_blocks(found, 6), whole, rtol=1e-9, atol=1e-9)
        sharp = fluid_demand(arrivals, profile, start_s=0.0, end_s=length_s, smooth_s=10.0)
        np.testing.assert_allclose(found, sharp, rtol=1e-9, atol=1e-9)


def test_without_requests_there_is_no_demand():
    assert demand_of(OpenArrivals([], [], [], 0.0), M, 600.0).tolist() == [0.0] * 60


# needed per 10 s, launch s, copy-seconds
BREAK_EVENS = [
    ([2, 2, 2], 60.0, 60.0),  # two copies from the beginning
    ([0, 0, 1, 1], 60.0, 20.0 + 60.0),  # one start
    ([1, 0, 0, 1], 60.0, 40.0),  # kept over a short gap
    ([1] + [0] * 10 + [1], 60.0, 20.0 + 60.0 + 60.0),  # let go after 60 s, started again
    ([1, 1] + [0] * 10, 60.0, 20.0 + 60.0),  # kept for one start-up time after the last need
    ([1, 1, 0, 0], 60.0, 40.0),  # or until the end
    ([0, 0], 60.0, 0.0),
]


@pytest.mark.parametrize(("needed", "launch_s", "expected"), BREAK_EVENS)
def test_break_even_keeps_an_idle_copy_for_one_start_up_time(needed, launch_s, expected):
    assert break_even_copy_s(np.array(needed), launch_s=launch_s) == pytest.approx(expected)


def cheapest_copy_s(needed, launch_s):
    """The least that any plan costs that never lacks a copy, from nothing; by trying all."""
    before = {0: 0.0}
    for copies_needed in needed:
        before = {
            copies: min(cost + 10.0 * copies + launch_s * max(0, copies - was) for was, cost in before.items())
            for copies in range(copies_needed, 3)
        }
    return min(before.values())


def test_break_even_costs_at_most_twice_the_optimum_and_never_less():
    for needed in itertools.islice(itertools.product([0, 1, 2], repeat=8), 0, None, 7):
        optimum = cheapest_copy_s(needed, 30.0)
        # The rule's bound counts the start of the first copies, too.
        found = break_even_copy_s(np.array(needed), launch_s=30.0) + 30.0 * needed[0]
        assert optimum <= found <= 2 * optimum + 1e-9


# extra copies for so many periods on a level of 1, wanted
PEAKS = [
    (1, 2, False),  # not worth a start
    (1, 3, True),
    (3, 1, True),  # a third of it for three datapoints
    (1, 60, True),
]


@pytest.mark.parametrize(("extra", "periods", "started"), PEAKS)
def test_a_plan_that_is_carried_out_starts_no_copy_for_a_peak_that_is_not_worth_it(extra, periods, started):
    demand = np.ones(200)
    demand[100 : 100 + periods] += extra
    plan = executable_plan(demand, min_copies=1, max_copies=9, start_cost_s=328.0)
    assert bool(plan.copies.max() > 1) is started


def test_what_a_start_really_costs_decides_how_long_an_idle_copy_is_kept():
    demand = np.array([2.0] * 20 + [1.0] * 31 + [2.0] * 20)
    kept = executable_plan(demand, min_copies=1, max_copies=3, start_cost_s=328.0)
    given_back = executable_plan(demand, min_copies=1, max_copies=3, start_cost_s=258.0)
    assert (kept.copies[35], given_back.copies[35]) == (2, 1)


def test_the_mean_of_a_fleet_that_never_scales_is_rounded_up():
    assert mean_copies(np.array([1, 2])) == 2
    assert mean_copies(np.array([0, 0])) == 1
