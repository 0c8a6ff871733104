"""The figures of a run, on logs and supplies small enough to count by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from simulator.clock import EPOCH_S
from simulator.oracle import clairvoyant_plan, fluid_demand
from simulator.physics.fleet import CopyFleet
from simulator.physics.profiles import M
from simulator.physics.requests import ClosedLoop, OpenArrivals, RequestLog, Status
from simulator.score import Supply, score_run, slo_limits
from simulator.traffic.pattern import copies_per_request_in_flight

NAN = math.nan
# 1000 in, 100 out on M: prefill 0.66 s; first token within 2 + 3.3 = 5.3 s, all within 5.3 + 8 = 13.3 s
ROWS = [
    # status, ttft, e2e
    (Status.SERVED, 5.2, 13.2),  # good
    (Status.SERVED, 5.2, 13.4),  # late: last token
    (Status.SERVED, 5.4, 9.0),  # late: first token
    (Status.LOST_TIMEOUT, NAN, NAN),
    (Status.LOST_NO_CAPACITY, NAN, NAN),
    (Status.LOST_BROKEN, 1.0, NAN),
]


def log_of(rows, age_s=1000.0, at=0.0):
    n = len(rows)
    return RequestLog(
        until_s=EPOCH_S + at + age_s,
        arrival_s=np.full(n, EPOCH_S + at),
        input_tokens=np.full(n, 1000),
        output_tokens=np.full(n, 100),
        ttft_s=np.array([row[1] for row in rows], dtype=float),
        e2e_s=np.array([row[2] for row in rows], dtype=float),
        status=np.array([row[0] for row in rows], dtype=np.uint8),
    )


def score_of(log=None, copies=(1,), instances=None, arrivals=None, **options):
    supply = Supply(EPOCH_S, copies, copies if instances is None else instances, wanted=options.pop("wanted", None))
    arrivals = arrivals or OpenArrivals([], [], [])
    return score_run(log or log_of([]), supply, M, arrivals=arrivals, **options)


def demand_level(levels):
    """A closed loop whose demand is so many copies, one level per minute."""
    loop = ClosedLoop((1,))
    one = copies_per_request_in_flight(M, loop.input_tokens, loop.output_tokens)
    return ClosedLoop(tuple(math.floor(level / one) for level in levels), step_s=60.0)


def test_limits_are_those_of_the_benchmark():
    assert slo_limits(M, 1000, 100) == (pytest.approx(5.3), pytest.approx(13.3))


def test_good_late_and_lost_requests_are_told_apart():
    score = score_of(log_of(ROWS))
    assert (score.requests, score.late, score.lost) == (6, 2, 3)
    assert score.slo_attainment == pytest.approx(1 / 6)


# first token, age: late?
@pytest.mark.parametrize(
    ("ttft_s", "age_s", "late"),
    [
        (NAN, 5.0, 0),  # still may come in time
        (NAN, 5.4, 1),
        (3.0, 13.0, 0),
        (3.0, 13.4, 1),
        (5.4, 6.0, 1),
    ],
)
def test_an_open_request_counts_only_once_a_limit_has_passed(ttft_s, age_s, late):
    score = score_of(log_of([(Status.OPEN, ttft_s, NAN)], age_s=age_s))
    assert (score.requests, score.late, score.lost) == (1, late, 0)
    assert score.slo_attainment == (0.0 if late else None)


def test_percentiles_cover_every_first_token_and_are_unknown_without_one():
    rows = [(Status.SERVED, float(k), k + 1.0) for k in range(1, 101)]
    score = score_of(log_of(rows))
    assert (score.ttft_p50_s, score.ttft_p95_s, score.ttft_p99_s) == pytest.approx((50.5, 95.05, 99.01))
    empty = score_of(log_of([(Status.LOST_TIMEOUT, NAN, NAN)]))
    assert (empty.ttft_p50_s, empty.ttft_p99_s, empty.slo_attainment) == (None, None, 0.0)
    assert score_of().slo_attainment is None


def test_cost_is_what_the_instances_cost():
    score = score_of(copies=[1] * 360, instances=[2] * 360)
    assert (score.copy_hours, score.instance_hours) == (pytest.approx(1.0), pytest.approx(2.0))
    assert score.cost_usd == pytest.approx(2 * 7.09)
    assert score.oracle_cost_usd == pytest.approx(7.09)  # nothing to do, but one copy is the least
    assert score.cost_vs_oracle == pytest.approx(2.0)
    zero = score_of(copies=[0] * 6, min_copies=0)
    assert (zero.cost_usd, zero.oracle_cost_usd, zero.cost_vs_oracle) == (0.0, 0.0, None)


def test_the_bound_is_for_full_instances():
    shared = dataclasses.replace(M, accelerators_per_copy=2)
    supply = Supply(EPOCH_S, [2] * 360, [1] * 360)
    score = score_run(log_of([]), supply, shared, arrivals=OpenArrivals([], [], []), min_copies=2)
    assert score.cost_vs_oracle == pytest.approx(1.0)


def test_elasticity_by_hand():
    # demand in whole copies, by the minute: 1 1 4 4 2; supply: 1 1 2 4 4
    arrivals = demand_level([1, 1, 4, 4, 2])
    copies = [1] * 12 + [2] * 6 + [4] * 12
    score = score_of(copies=copies, arrivals=arrivals)
    assert score.theta_u == pytest.approx(100 * (2 / 4) / 5)
    assert score.theta_o == pytest.approx(100 * (2 / 2) / 5)
    assert (score.tau_u, score.tau_o) == (pytest.approx(20), pytest.approx(20))
    assert score.longest_shortage_s == 60.0
    # by the minute: demand moves 0 + 0 -, supply 0 + + 0
    assert score.instability == pytest.approx(50.0)
    assert (score.scale_outs, score.scale_ins, score.changes) == (2, 0, 2)


def test_the_longest_shortage_is_one_stretch_not_the_sum():
    arrivals = demand_level([2] * 3)
    score = score_of(copies=[1] * 4 + [2] * 2 + [1] * 7 + [2] * 5, arrivals=arrivals)
    assert score.longest_shortage_s == 70.0
    assert score.tau_u == pytest.approx(100 * 11 / 18)
    assert score_of(copies=[3] * 18, arrivals=arrivals).longest_shortage_s == 0.0


def test_changes_are_those_that_were_asked_for_where_that_is_known():
    wanted = [1, 4, 4, 2, 3, 1]
    score = score_of(copies=[1, 1, 2, 3, 4, 4], wanted=wanted)
    assert (score.scale_outs, score.scale_ins, score.changes) == (2, 2, 4)


def test_demand_of_nothing_with_no_copy_is_neither_short_nor_over():
    score = score_of(copies=[0] * 12, min_copies=0)
    assert (score.theta_u, score.theta_o, score.tau_u, score.tau_o) == (0.0, 0.0, 0.0, 0.0)
    over = score_of(copies=[2] * 12, min_copies=0)
    assert (over.theta_o, over.tau_o) == (200.0, 100.0)


def test_supply_without_a_datapoint_is_refused():
    with pytest.raises(ValueError, match="one of each per period"):
        score_of(copies=[])
    with pytest.raises(ValueError, match="one of each per period"):
        score_of(copies=[1, 1], instances=[1])


def test_result_fields_have_the_names_of_result_json():
    names = (
        "requests lost late slo_attainment ttft_p50_s ttft_p95_s ttft_p99_s copy_hours instance_hours cost_usd "
        "oracle_cost_usd cost_vs_oracle theta_u theta_o tau_u tau_o instability scale_outs scale_ins changes "
        "longest_shortage_s"
    )
    assert list(score_of().to_dict()) == names.split()


def test_the_clairvoyant_plan_is_cheap_and_good_when_it_is_carried_out():
    rng = np.random.default_rng(5)
    rates = np.repeat([0.5, 2.0, 4.0, 1.0], 900)
    times = EPOCH_S + np.flatnonzero(rng.random(3600 * 4).reshape(-1, 4) < rates[:, None] / 4) / 4
    arrivals = OpenArrivals(times, np.full(len(times), 700), np.full(len(times), 120))
    demand = fluid_demand(arrivals, M, start_s=EPOCH_S, end_s=EPOCH_S + 3600)
    # a quarter more than the bound, started one datapoint early
    plan = clairvoyant_plan(demand * 1.25, min_copies=1, max_copies=20).copies
    plan = np.maximum(plan, np.append(plan[1:], plan[-1]))
    fleet, ids, number = CopyFleet(M, arrivals), [], 0
    for step, copies in enumerate(plan.tolist()):
        now_s = EPOCH_S + 10.0 * step
        while len(ids) < copies:
            ids.append(f"copy-{number}")
            number += 1
            fleet.add_copy(ids[-1], now_s)
        while len(ids) > copies:
            fleet.remove_copy(ids.pop(), now_s)
        fleet.advance(now_s + 10.0)
    fleet.advance(EPOCH_S + 3700)
    score = score_run(fleet.log, Supply(EPOCH_S, plan, plan), M, arrivals=arrivals)
    assert score.slo_attainment > 0.99
    assert 1.0 <= score.cost_vs_oracle < 1.4
