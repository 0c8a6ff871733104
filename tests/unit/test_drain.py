"""Drain: what stays must carry the load with room to spare, and at most half goes at once."""

from __future__ import annotations

import pytest

from quickstep.model.observation import Datapoint, Metrics, Series
from quickstep.model.targets import Guards
from quickstep.policy.pipeline import decide
from quickstep.reasons import Reason
from tests.unit.scenes import NOW_S, STEPS, decided, seen, stage, steady, target, totals


@pytest.mark.parametrize(
    ("load", "copies", "wanted"),
    [
        (4.5, 2, 1),  # 4.5 on one copy is 0.9 of its target
        (4.6, 2, 2),  # N/(N−1): one copy would be above 0.9
        (9.0, 3, 2),
        (9.1, 3, 3),
        (31.5, 8, 7),
        (31.6, 8, 8),
        (4.0, 8, 4),  # at most half
        (4.0, 7, 4),
        (4.0, 3, 2),
        (20.0, 8, 5),  # ⌈20 / 4.5⌉ is more than half
        (0.5, 1, 1),  # traffic never goes to zero
    ],
)
def test_a_scale_in_leaves_at_most_nine_tenths_of_the_target_on_what_stays(load, copies, wanted):
    assert decided([load] * 60, copies, goal=target(low=0)).desired == wanted


def test_the_newest_datapoint_counts_as_load():
    decision = decided([8] * 60 + [30], 8)
    assert (decision.desired, decision.reason) == (7, Reason.DRAIN_UNSAFE)


@pytest.mark.parametrize(
    ("values", "copies", "wanted"),
    [([0] * 60, 1, 0), ([0] * 60, 2, 1), ([0] * 60, 8, 4), ([1] + [0] * 20, 1, 1), ([0] * 60 + [0.1], 1, 1)],
)
def test_zero_needs_a_whole_hold_without_traffic(values, copies, wanted):
    assert decided(values, copies, goal=target(low=0)).desired == wanted


def test_zero_is_not_reached_while_requests_come_between_the_samples():
    calls = Series(60.0, tuple(totals([0, 0, 3], 1, lag_s=30.0).points))
    calls = Series(
        60.0, tuple(type(p)(NOW_S - 90 - 60 * (2 - i), average=p.average) for i, p in enumerate(calls.points))
    )
    observed = seen(None, 1, metrics=Metrics(concurrency=totals([0] * 60, 1), invocations=calls))
    assert decide(target(low=0), observed, steady(1), NOW_S).desired == 1


def test_the_headroom_can_be_chosen():
    goal = target(guards=Guards(drain_headroom=0.5))
    assert decided([4.5] * 60, 2, goal=goal).desired == 2


def test_half_at_once_says_when_the_next_half_may_go():
    decision = decided([4] * 60, 8)
    assert stage(decision, "drain").look_again_at_s == NOW_S + 60


def test_a_step_only_target_has_no_target_per_copy_to_check_against():
    assert stage(decided([4] * 60, 8, goal=target(policies=(STEPS,))), "drain").reason is Reason.UNCHANGED


# kind of load, mean latency (None = not known), seconds that the streams of a removed copy may need
STREAMS = [
    ([10] * 60, 12.0, 60.0),
    ([10] * 60, 400.0, 600.0),
    ([10] * 60, None, 600.0),
    ([0] * 60, 12.0, 0.0),
]


@pytest.mark.parametrize(("values", "mean_s", "needs_s"), STREAMS)
def test_streams_of_a_removed_copy_are_given_five_times_the_mean_latency_within_the_budget(values, mean_s, needs_s):
    latency = None if mean_s is None else Series(60.0, (Datapoint(NOW_S - 120, average=mean_s),))
    metrics = Metrics(concurrency=totals(values, 4), model_latency_s=latency)
    decision = decide(target(), seen(None, 4, metrics=metrics), steady(4), NOW_S)
    assert decision.drain_s == needs_s
