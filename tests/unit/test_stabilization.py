"""Stabilization: a count is given up only when nothing in the hold needed it, and the whole hold is known."""

from __future__ import annotations

import pytest

from quickstep.model.observation import Datapoint, Metrics, Series
from quickstep.model.state import TargetState
from quickstep.model.targets import DemandPolicy, Guards
from quickstep.policy.pipeline import decide
from quickstep.reasons import Reason
from tests.unit.scenes import DEMAND, NOW_S, STEPS, decided, seen, stage, steady, target, totals


@pytest.mark.parametrize(
    ("values", "wanted", "reason"),
    [
        ([40] * 60, 8, Reason.UNCHANGED),
        ([4] * 60, 4, Reason.UNCHANGED),  # nothing in the hold needed more; half at once is the next stage's rule
        ([40] * 60 + [4] * 20, 8, Reason.SCALE_IN_HOLD),
        ([40] * 60 + [4] * 31, 5, Reason.SCALE_IN_HOLD),  # the oldest window of the hold: three of 40, three of 4
        ([40] * 60 + [4] * 38, 4, Reason.UNCHANGED),
        ([20] * 60 + [4] * 20, 4, Reason.UNCHANGED),  # 4 by half at once and by the hold
    ],
)
def test_a_count_is_held_while_a_window_of_the_hold_needed_it(values, wanted, reason):
    decision = decided(values, 8)
    assert decision.desired == wanted
    if reason is not Reason.UNCHANGED:
        assert (decision.reason, stage(decision, "stabilization").reason) == (reason, reason)


def test_the_hold_says_when_the_last_need_leaves_it():
    decision = decided([40] * 60 + [4] * 20, 8)
    # The newest window mean above 4 (one old datapoint in it) begins at now - 170 s.
    assert stage(decision, "stabilization").look_again_at_s == NOW_S - 170 + 300


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([4] * 20, Reason.SCALE_IN_HOLD),  # 200 s of history say nothing about 300 s
        ([4] * 60 + [None] * 12, Reason.NO_DATA),
        ([4] * 200 + [None] * 60 + [4] * 5, Reason.SCALE_IN_HOLD),  # 10 min without data, just over
        ([4] * 60 + [None, None, 4, 4] * 8, Reason.SCALE_IN_HOLD),  # half of the datapoints are missing
    ],
)
def test_a_history_with_holes_proves_nothing(values, reason):
    decision = decided(values, 8)
    assert (decision.desired, decision.reason) == (8, reason)


def test_two_missing_datapoints_do_not_stop_a_scale_in():
    assert decided([4] * 20 + [None, None] + [4] * 30, 8).desired == 4


def test_a_fresh_state_holds_for_one_window():
    state = TargetState()
    first = decided([4] * 90, 8, state=state)
    assert (first.desired, first.reason) == (8, Reason.SCALE_IN_HOLD)
    assert first.look_again_at_s == NOW_S + 300
    for after_s, desired in ((240, 8), (320, 4)):
        now_s = NOW_S + after_s
        observed = seen(totals([4] * 90, 8, now_s=now_s), 8, now_s=now_s)
        assert decide(target(), observed, first.state, now_s).desired == desired


def test_a_fresh_state_does_not_hold_a_scale_out():
    assert decided([80] * 90, 8, state=TargetState()).desired == 16


@pytest.mark.parametrize(("turns", "hold_s"), [(0, 300), (1, 300), (2, 600), (3, 900), (4, 1200), (9, 1200)])
def test_turning_back_and_forth_lengthens_the_hold(turns, hold_s):
    state = steady(8, turns_s=tuple(NOW_S - 1700 + 100 * i for i in range(turns)))
    decision = decided([40] * 60 + [4] * (hold_s // 10 + 8), 8, state=state)
    assert decision.desired == 4
    decision = decided([40] * 120 + [4] * (hold_s // 10 - 5), 8, state=state)
    assert decision.desired > 4
    assert decision.reason is (Reason.FLAPPING if turns >= 2 else Reason.SCALE_IN_HOLD)


def test_turns_of_long_ago_are_forgotten():
    state = steady(8, turns_s=tuple(NOW_S - 1900 - i for i in range(9)))
    assert decided([40] * 60 + [4] * 38, 8, state=state).desired == 4


@pytest.mark.parametrize("hold_s", [0.0, 5.0, 59.0])
def test_a_hold_shorter_than_the_window_is_as_long_as_the_window(hold_s):
    goal = target(policies=(DemandPolicy("demand", 5.0, window_s=60.0, scale_in_hold_s=hold_s),))
    # The oldest window of the last minute: five of 40, one of 4. Without a hold 16 in flight would need 4.
    assert decided([40] * 60 + [4] * 5, 8, goal=goal).desired == 7
    assert decided([40] * 60 + [4] * 16, 8, goal=goal).desired == 4


def test_known_zero_invocations_prove_idleness_where_the_metric_is_silent():
    def idle(count):
        return Series(60.0, tuple(Datapoint(NOW_S - 30 - 60.0 * i, average=0.0) for i in range(count, 0, -1)))

    for minutes, desired in ((15, 4), (3, 8)):
        observed = seen(None, 8, metrics=Metrics(concurrency=Series(10.0), invocations=idle(minutes)))
        assert decide(target(), observed, steady(8), NOW_S).desired == desired


def test_without_demand_sizing_nothing_is_held_here():
    decision = decided([4] * 60, 8, goal=target(policies=(STEPS,)))
    assert stage(decision, "stabilization").reason is Reason.UNCHANGED


def test_a_peak_shorter_than_the_window_does_not_need_its_height():
    # 10 s of 40 within a minute of 4 is a mean of 10: two copies, not eight. (The burst held it for its minute.)
    goal = target(guards=Guards(), policies=(DEMAND,))
    assert decided([4] * 30 + [40] + [4] * 20, 8, goal=goal).desired == 4
