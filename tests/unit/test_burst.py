"""Burst: a sudden doubling is sized on the newest datapoint and held for a minute."""

from __future__ import annotations

import pytest

from quickstep.policy.pipeline import decide
from quickstep.reasons import Reason
from tests.unit.scenes import NOW_S, STEPS, decided, seen, stage, steady, target, totals


@pytest.mark.parametrize(
    ("values", "copies", "wanted", "burst"),
    [
        ([8] * 30 + [19], 2, 2, False),  # below twice of what two copies are meant for
        ([8] * 30 + [20], 2, 4, True),  # 200 %
        ([4] * 30 + [40], 1, 8, True),  # one jump, not +1
        ([4] * 30 + [40, 3], 1, 8, True),  # the newest is still filling: the one before counts
        ([4] * 30 + [40, 4, 4], 1, 2, False),  # two datapoints ago is over
    ],
)
def test_a_burst_is_sized_on_the_newest_datapoints(values, copies, wanted, burst):
    decision = decided(values, copies)
    assert decision.desired == wanted
    assert (stage(decision, "burst").reason is Reason.BURST_HOLD) is burst


def test_a_burst_is_kept_until_a_minute_after_its_last_breach():
    first = decided([4] * 30 + [40], 1)
    assert (first.state.burst_until_s, first.state.burst_copies) == (NOW_S + 60, 8)
    assert first.look_again_at_s is None, "a timer that every look renews would never let the loop end"
    calm = decided([4] * 60, 8, state=steady(8, burst_until_s=NOW_S + 1, burst_copies=8))
    assert (calm.desired, stage(calm, "burst").reason) == (8, Reason.BURST_HOLD)
    assert stage(calm, "burst").look_again_at_s == NOW_S + 1


def test_a_burst_that_is_over_is_forgotten_and_holds_nothing():
    decision = decided([4] * 60, 8, state=steady(8, burst_until_s=NOW_S, burst_copies=8))
    assert decision.desired == 4
    assert (decision.state.burst_until_s, decision.state.burst_copies) == (None, 0)


def test_a_new_burst_does_not_inherit_the_count_of_one_that_is_over():
    decision = decided([4] * 30 + [12], 1, state=steady(1, burst_until_s=NOW_S - 5, burst_copies=19))
    assert (decision.desired, decision.state.burst_copies) == (3, 3)


def test_a_running_burst_keeps_its_largest_count():
    state = steady(1, burst_until_s=NOW_S + 20, burst_copies=9)
    assert decided([4] * 30 + [12], 1, state=state).desired == 9


def test_an_unfinished_burst_survives_the_store():
    # Knative's AIBrix copy lost its panic state with the process.
    state = decided([4] * 30 + [40], 1).state
    restored = type(state).from_dict(state.to_dict())
    later_s = NOW_S + 30
    observed = seen(totals([4] * 60, 1, now_s=later_s), 8, 1, now_s=later_s)
    assert decide(target(), observed, restored, later_s).desired == 8


def test_a_burst_is_still_held_to_the_maximum():
    decision = decided([4] * 30 + [4000], 1)
    assert (decision.desired, decision.reason) == (20, Reason.LOWERED_TO_MAX)


def test_without_demand_sizing_there_is_no_burst():
    decision = decided([4] * 30 + [40], 1, goal=target(policies=(STEPS,)))
    assert stage(decision, "burst").reason is Reason.NOT_CONFIGURED
    assert decision.desired == 1


def test_no_data_is_no_burst():
    assert stage(decided(None, 1), "burst").reason is Reason.UNCHANGED
