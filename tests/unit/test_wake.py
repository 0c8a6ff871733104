"""Wake: out of zero for what waits, within reason; and back to sleep no sooner than it was worth waking."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quickstep.model.observation import AlarmState, Datapoint, Metrics, Series, ServingChange
from quickstep.model.state import Change, TargetState
from quickstep.model.targets import Guards
from quickstep.policy.pipeline import decide
from quickstep.policy.wake import KNOCK, knocked, peak_of, wake_copies, woke_at_s
from quickstep.reasons import Reason
from tests.unit.scenes import NOW_S, decided, seen, stage, steady, target


def failures(*counts):
    return Metrics(
        no_capacity=Series(10.0, tuple(Datapoint(NOW_S - 10.0 * (i + 1), v) for i, v in enumerate(counts))[::-1])
    )


def asleep(*counts, desired=0, alarm=AlarmState.OK, goal=None, **state):
    observed = seen(None, desired, 0, metrics=failures(*counts), alarms={"s--wake": alarm})
    return decide(goal or target(low=0), observed, steady(0, **state), NOW_S)


@pytest.mark.parametrize(
    ("waiting", "target_per_copy", "peak", "cap", "copies"),
    [
        (1, 5.0, None, 4, 1),
        (17, 5.0, None, 4, 4),
        (17, 5.0, 3, 4, 3),  # no more than was in use before the sleep
        (1000, 5.0, None, 4, 4),  # retries are not users
        (1000, 5.0, 50, 4, 4),
        (0, 5.0, None, 4, 1),  # the alarm alone wakes one
        (1000, None, None, 4, 1),
        (17, 5.0, 0, 4, 4),
    ],
)
def test_a_wake_is_the_least_of_what_waits_what_was_in_use_and_a_cap(waiting, target_per_copy, peak, cap, copies):
    assert wake_copies(waiting, target_per_copy, peak, cap) == copies


LATELY = NOW_S - 60


@pytest.mark.parametrize(
    ("before", "waiting", "copies"),
    [
        (None, None, 1),
        (None, 12, 3),
        (Change(LATELY, 0, 1, KNOCK, hold_s=600.0), 1, 1),  # renewed
        (Change(LATELY, 0, 3, KNOCK, hold_s=600.0), 1, 3),  # who knocked then may still wait
        (Change(LATELY, 0, 1, KNOCK, hold_s=600.0), 12, 3),
        (Change(LATELY, 0, 2, "launch at nine", hold_s=3600.0), 1, None),  # a person wished for more
        (Change(LATELY, 0, 2, "launch at nine", hold_s=3600.0), 12, 3),
        (Change(LATELY, 1, 0, "nobody works today", hold_s=3600.0), 1, 1),
        (Change(NOW_S - 601, 0, 4, KNOCK, hold_s=600.0), 1, 1),  # run out
        (Change(NOW_S - 901, 0, 4, "a change outside Quickstep"), 1, 1),
        (Change(NOW_S - 899, 0, 4, "a change outside Quickstep"), 1, None),
    ],
)
def test_a_knock_is_a_floor_that_never_takes_anything_away(before, waiting, copies):
    goal = target(low=0, guards=Guards(min_awake_s=600.0))
    wish = knocked(TargetState(manual=before), goal, waiting, NOW_S)
    assert wish == (None if copies is None else Change(NOW_S, 0, copies, KNOCK, hold_s=600.0))


def test_asleep_stays_asleep_while_nobody_waits():
    decision = asleep(0, 0)
    assert (decision.desired, decision.reason, decision.hot) == (0, Reason.AT_DESIRED, False)


def test_one_failed_request_wakes():
    decision = asleep(0, 1)
    assert (decision.desired, decision.reason) == (1, Reason.WAKE)


def test_the_alarm_wakes_although_the_metric_cannot_be_read():
    observed = seen(None, 0, alarms={"s--wake": AlarmState.ALARM})
    decision = decide(target(low=0), observed, steady(0), NOW_S)
    assert (decision.desired, decision.hot) == (1, True)


def test_what_waits_while_the_first_copy_loads_still_raises_the_wake():
    decision = asleep(17, 3, desired=1)
    assert (decision.baseline, decision.desired) == (1, 4)
    assert asleep(0, 0, desired=1).desired == 1


def test_loading_copies_are_immune():
    decision = asleep(0, 0, desired=3)
    assert (decision.desired, decision.reason) == (3, Reason.AT_DESIRED)


def test_the_peak_before_sleep_is_of_the_last_hour_not_of_all_times():
    ring = (
        ServingChange(NOW_S - 3_000, 3),
        ServingChange(NOW_S - 2_000, None),
        ServingChange(NOW_S - 1_990, 1),
    )
    decision = decided([0] * 60, 1, goal=target(low=0), state=steady(1, serving=ring, peak_before_sleep=40))
    assert (decision.desired, decision.state.peak_before_sleep) == (0, 3)
    assert asleep(500, peak_before_sleep=decision.state.peak_before_sleep).desired == 3


def test_peak_and_waking_time_come_from_the_serving_ring():
    ring = (
        ServingChange(0, 5),
        ServingChange(50, 0),
        ServingChange(70, None),
        ServingChange(80, 2),
        ServingChange(99, 4),
    )
    assert (peak_of(ring), woke_at_s(ring)) == (5, 80)
    assert (peak_of((ServingChange(0, None),)), woke_at_s(ring[:1])) == (None, None)
    assert woke_at_s(ring[:2]) is None


@pytest.mark.parametrize(("awake_for_s", "desired"), [(400, 1), (599, 1), (601, 0)])
def test_a_component_stays_awake_for_its_minimum_counted_from_its_first_serving_copy(awake_for_s, desired):
    # Asked for long before: the nine minutes in which the copy loaded were no time awake.
    ring = (ServingChange(NOW_S - 9_000, 0), ServingChange(NOW_S - awake_for_s, 1))
    decision = decided([0] * 60, 1, goal=target(low=0), state=steady(1, serving=ring))
    assert decision.desired == desired
    assert decision.state.awake_since_s == NOW_S - awake_for_s
    if desired:
        assert decision.reason is Reason.AWAKE_HOLD
        assert stage(decision, "wake").look_again_at_s == NOW_S - awake_for_s + 600


def test_the_minimum_awake_time_can_be_chosen():
    ring = (ServingChange(NOW_S - 9_000, 0), ServingChange(NOW_S - 601, 1))
    goal = target(low=0, guards=Guards(min_awake_s=1200.0))
    assert decided([0] * 60, 1, goal=goal, state=steady(1, serving=ring)).desired == 1


def test_waking_to_more_than_the_maximum_is_not_possible():
    goal = replace(target(low=0, high=2))
    assert asleep(100, goal=goal).desired == 2


def test_a_target_that_never_sleeps_keeps_no_memory_of_it():
    decision = decided([0] * 60, 1)
    assert (decision.desired, decision.state.peak_before_sleep) == (1, None)
