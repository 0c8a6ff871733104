"""The decision as a whole: the list of stages, who wins, what is remembered, and when to look again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quickstep.model.decision import Step
from quickstep.model.observation import AlarmState, Metrics, Series, ServingChange
from quickstep.model.state import Change, StepMemory
from quickstep.model.targets import (
    AdjustmentType,
    AlarmBinding,
    StepAdjustment,
    StepScalingPolicy,
    Suspension,
    TargetId,
    TargetTrackingPolicy,
)
from quickstep.policy.pipeline import STAGES, binding_reason, decide
from quickstep.reasons import Reason
from tests.unit.scenes import DEMAND, NOW_S, STEPS, decided, endpoint, seen, stage, steady, target, totals

IN = StepScalingPolicy(
    "steps-in",
    AdjustmentType.CHANGE_IN_CAPACITY,
    (StepAdjustment(None, 0.0, -1),),
    (AlarmBinding("s--low", 4.5, False),),
)
TRACKING = TargetTrackingPolicy("tracking", 5.0, high_alarm="s--high", low_alarm="s--low")
HIGH = {"s--high": AlarmState.ALARM, "s--low": AlarmState.OK}
LOW = {"s--high": AlarmState.OK, "s--low": AlarmState.ALARM}
QUIET = {"s--high": AlarmState.OK, "s--low": AlarmState.OK}


def test_every_stage_says_something_in_the_order_of_the_list():
    decision = decided([40] * 40, 8)
    assert [s.stage for s in decision.steps] == [
        "policies",
        "forecast",
        "burst",
        "pending",
        "stabilization",
        "drain",
        "cooldown",
        "wake",
        "manual",
        "budget",
        "bounds",
        "pause",
    ]
    assert len(STAGES) == len(decision.steps)
    assert all(isinstance(s.reason, Reason) for s in decision.steps)


@pytest.mark.parametrize(
    ("values", "copies", "alarms", "policies", "desired", "reason"),
    [
        # The example of the issue: metric 47 over threshold 20 falls into the second row.
        ([40] * 40, 8, QUIET, (DEMAND,), 8, Reason.AT_DESIRED),
        ([60] * 40, 8, QUIET, (DEMAND,), 12, Reason.DEMAND),
        ([60] * 40, 8, HIGH, (DEMAND, STEPS), 12, Reason.DEMAND),  # 12 by demand, 9 by the steps: the largest wins
        ([41] * 40, 8, HIGH, (DEMAND, STEPS), 9, Reason.DEMAND),
        ([40] * 40, 8, HIGH, (DEMAND, STEPS), 9, Reason.STEP_ADJUSTMENT),
        ([40] * 40, 8, QUIET, (DEMAND, STEPS), 8, Reason.AT_DESIRED),  # a quiet step policy has no opinion
        ([4] * 60, 8, QUIET, (DEMAND, STEPS), 4, Reason.DRAIN_UNSAFE),  # … and does not hold scale-in
        ([4] * 60, 8, LOW, (DEMAND, TRACKING), 4, Reason.TARGET_TRACKING),
        ([4] * 60, 8, QUIET, (DEMAND, TRACKING), 8, Reason.POLICIES_DISAGREE),  # scale-in only if all agree
        ([4] * 60, 8, HIGH, (DEMAND, TRACKING), 8, Reason.POLICIES_DISAGREE),
        ([30] * 60, 8, LOW, (IN,), 7, Reason.STEP_ADJUSTMENT),
        ([30] * 60, 8, QUIET, (IN, STEPS), 8, Reason.AT_DESIRED),
        ([40] * 40, 8, QUIET, (), 8, Reason.AT_DESIRED),
        (None, 8, HIGH, (DEMAND, STEPS), 8, Reason.NO_DATA),
    ],
)
def test_the_largest_count_wins_and_scale_in_needs_all_to_agree(values, copies, alarms, policies, desired, reason):
    decision = decided(values, copies, goal=target(policies=policies), alarms=alarms)
    assert (decision.desired, decision.reason) == (desired, reason)


def test_a_tracking_policy_whose_scale_in_is_disabled_does_not_hold_the_others():
    out_only = replace(TRACKING, disable_scale_in=True)
    for alarms in (LOW, QUIET):
        assert decided([4] * 60, 8, goal=target(policies=(DEMAND, out_only)), alarms=alarms).desired == 4


def test_a_blind_step_policy_holds_a_scale_in():
    # The alarm is in ALARM, but its own latest datapoints are gone: it may well want more.
    series = totals([4] * 60, 8, lag_s=85.0)
    sparse = Series(10.0, tuple(replace(p, maximum=None) for p in series.points))
    goal = target(policies=(DEMAND, STEPS))
    decision = decide(goal, seen(sparse, 8, alarms=HIGH), steady(8), NOW_S)
    assert (decision.desired, decision.reason) == (8, Reason.NO_DATA)


def test_explain_can_print_the_breach_the_step_and_what_it_came_to():
    steps = replace(
        STEPS,
        alarms=(AlarmBinding("s--high", 20.0, True),),
        steps=(StepAdjustment(0, 20, 1), StepAdjustment(20, None, 2)),
    )
    observed = seen(totals([47 / 1.3] * 3, 1), 1, alarms=HIGH)
    observed = replace(observed, alarms=tuple(replace(a, threshold=20.0) for a in observed.alarms))
    decision = decide(target(policies=(steps,)), observed, steady(1), NOW_S)
    assert decision.desired == 3
    assert "metric 47, threshold 20, breach 27, step [20, ∞): +2" in stage(decision, "policies").detail


# What a step policy remembers.


def answered(decision) -> bool:
    return "steps-out" in decision.state.step_memory


@pytest.mark.parametrize(
    ("fields", "state", "counts"),
    [
        ({}, {}, True),
        ({"high": 8}, {}, False),  # at the maximum nothing was asked
        ({"suspension": Suspension(scale_out=True)}, {}, False),
        ({"budget_usd_per_hour": 8.0, "hourly_cost_usd": 1.0}, {}, False),
        ({}, {"paused_until_s": float("inf")}, False),
        ({}, {"pinned": 8}, False),
        ({}, {"pinned": 9}, True),
    ],
)
def test_a_step_that_was_held_back_has_answered_nothing(fields, state, counts):
    goal = target(policies=(STEPS,), **fields)
    decision = decided([44] * 40, 8, goal=goal, state=steady(8, **state), alarms=HIGH)
    assert answered(decision) is counts


def test_a_step_held_back_by_a_pause_asks_again_when_it_is_over():
    goal = target(policies=(STEPS,))
    paused = decided([44] * 40, 8, goal=goal, state=steady(8, paused_until_s=NOW_S + 5), alarms=HIGH)
    assert paused.desired == 8
    later = decide(
        goal, seen(totals([44] * 40, 8, now_s=NOW_S + 10), 8, now_s=NOW_S + 10, alarms=HIGH), paused.state, NOW_S + 10
    )
    assert later.desired == 9


def test_a_step_that_demand_outdid_counts_as_answered():
    decision = decided([60] * 40, 8, goal=target(policies=(DEMAND, STEPS)), alarms=HIGH)
    assert (decision.desired, answered(decision)) == (12, True)


def test_other_policies_memories_are_kept():
    before = {"other": StepMemory(1.0, 2.0, 3.0)}
    decision = decided([44] * 40, 8, goal=target(policies=(STEPS,)), state=steady(8, step_memory=before), alarms=HIGH)
    assert set(decision.state.step_memory) == {"other", "steps-out"}


@pytest.mark.parametrize(
    ("values", "policies", "state", "cause"),
    [
        ([60] * 40, (DEMAND,), {}, "demand"),
        ([40] * 40, (DEMAND, STEPS), {}, "steps-out"),
        ([16] * 30 + [90] * 2, (DEMAND,), {}, "burst"),
        ([40] * 40, (DEMAND,), {"manual": Change(NOW_S - 5, 8, 11, "ann")}, "manual"),
    ],
)
def test_a_scale_out_is_remembered_with_whoever_asked_for_it(values, policies, state, cause):
    decision = decided(values, 8, goal=target(policies=policies), state=steady(8, **state), alarms=HIGH)
    change = decision.state.last_scale_out
    assert change is not None
    assert (change.at_s, change.before, change.after, change.cause) == (NOW_S, 8, decision.desired, cause)


# Target tracking is paired with the copies of its datapoint.


def test_target_tracking_multiplies_with_the_copies_that_served_the_datapoint():
    # Two copies carried 20 each until a moment ago; eight serve now. 2 × 20 / 5 = 8, not 8 × 20 / 5 = 32.
    ring = (*steady(2).serving, ServingChange(NOW_S - 15, 8))
    series = totals([40] * 40, 2, lag_s=20.0)
    goal = target(policies=(TRACKING,), high=100)
    decision = decide(goal, seen(series, 8, alarms=HIGH), steady(8, serving=ring), NOW_S)
    assert decision.desired == 11  # ⌈2 × 26 (the Maximum) / 5⌉


def test_target_tracking_of_a_datapoint_during_which_the_count_changed_is_no_data():
    ring = (*steady(2).serving, ServingChange(NOW_S - 25, 8))
    series = totals([40] * 40, 2, lag_s=20.0)
    decision = decide(target(policies=(TRACKING,)), seen(series, 8, alarms=HIGH), steady(8, serving=ring), NOW_S)
    assert (decision.desired, decision.reason) == (8, Reason.NO_DATA)


def test_a_step_policy_on_the_wake_alarm_reads_the_failures_not_the_concurrency():
    # AAS's documented way out of zero: +1 while NoCapacityInvocationFailures breaches.
    wake = replace(
        STEPS, name="wake", alarms=(AlarmBinding("s--wake", 1.0, True),), steps=(StepAdjustment(0, None, 1),)
    )
    failures = totals([3] * 6, 1).points
    observed = seen(None, 0, metrics=Metrics(no_capacity=Series(10.0, failures)), alarms={"s--wake": AlarmState.ALARM})
    observed = replace(observed, alarms=tuple(replace(a, threshold=1.0, statistic="Sum") for a in observed.alarms))
    decision = decide(target(low=0, policies=(wake,)), observed, steady(0), NOW_S)
    assert stage(decision, "policies").recommended == 1


# What is committed.


def test_what_was_asked_is_counted_as_there():
    # Eight are asked, one serves: the load that needs eight asks for nothing more.
    decision = decide(target(), seen(totals([40] * 40, 1), 8, 1), steady(1, wish=8), NOW_S)
    assert (decision.baseline, decision.desired, decision.current) == (8, 8, 1)
    assert stage(decision, "pending").reason is Reason.PENDING_CAPACITY


def test_a_wish_that_waits_for_instances_is_counted_too():
    decision = decide(
        target(), seen(totals([40] * 40, 1), 1), steady(1, wish=8, wish_at_s=NOW_S - 400, queued=True), NOW_S
    )
    assert (decision.baseline, decision.desired) == (8, 8)


def test_a_smaller_wish_that_waits_stands_for_two_minutes_if_nobody_says_otherwise():
    for age_s, desired in ((60, 6), (300, 8)):
        state = steady(8, wish=6, wish_at_s=NOW_S - age_s, queued=True)
        assert decided(None, 8, state=state, goal=target(policies=(STEPS,)), alarms=QUIET).desired == desired


@pytest.mark.parametrize(
    ("load", "desired", "current", "policies", "wanted", "reason"),
    [
        (35, 7, 2, (DEMAND, STEPS), 7, Reason.PENDING_CAPACITY),  # seven carry it; two are overloaded until they come
        (35, 7, 7, (DEMAND, STEPS), 8, Reason.STEP_ADJUSTMENT),
        (35, 7, 2, (STEPS,), 8, Reason.STEP_ADJUSTMENT),  # step-only means AAS's own rules
        (60, 7, 2, (DEMAND, STEPS), 12, Reason.BURST_HOLD),  # what the load needs is asked, whatever is coming
    ],
)
def test_a_step_asks_for_nothing_that_coming_copies_will_carry(load, desired, current, policies, wanted, reason):
    goal = target(policies=policies)
    decision = decide(goal, seen(totals([load] * 40, current), desired, current, alarms=HIGH), steady(current), NOW_S)
    assert decision.desired == wanted
    assert reason in {s.reason for s in decision.steps}
    assert ("steps-out" in decision.state.step_memory) is (wanted > desired)


def test_right_after_a_change_no_policy_removes_anything():
    ring = (ServingChange(NOW_S - 9_000, 9), ServingChange(NOW_S - 25, 8))
    observed = seen(totals([30] * 40, 8), 8, alarms=LOW)
    decision = decide(target(policies=(IN,)), observed, steady(8, serving=ring), NOW_S)
    assert (decision.desired, decision.reason) == (8, Reason.CHANGE_SETTLING)


def test_a_step_is_not_held_back_by_a_demand_that_is_not_of_now():
    # The counts of the last minute are not known; the alarm's own metric is.
    ring = (ServingChange(NOW_S - 9_000, 1), ServingChange(NOW_S - 85, None), ServingChange(NOW_S, 2))
    observed = seen(totals([35] * 40, 1), 7, 2, alarms=HIGH)
    decision = decide(target(policies=(DEMAND, STEPS)), observed, steady(2, serving=ring), NOW_S)
    assert decision.desired == 9


def test_a_second_burst_while_capacity_is_coming_raises_the_wish():
    decision = decide(target(), seen(totals([40] * 30 + [80] * 6, 1), 8, 1), steady(1, wish=8), NOW_S)
    assert decision.desired == 16


# The binding reason.


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([("a", 4, Reason.UNCHANGED)], Reason.AT_DESIRED),
        ([("a", 6, Reason.DEMAND), ("b", 5, Reason.BUDGET)], Reason.BUDGET),
        ([("a", 2, Reason.DEMAND), ("b", 4, Reason.SCALE_IN_HOLD), ("c", 4, Reason.UNCHANGED)], Reason.SCALE_IN_HOLD),
        ([("a", 4, Reason.NO_DATA), ("b", 4, Reason.UNCHANGED)], Reason.NO_DATA),
        ([("a", 4, Reason.DEMAND), ("b", 4, Reason.PAUSED)], Reason.PAUSED),
        ([("a", 4, Reason.NO_DATA), ("b", 4, Reason.FOREIGN_ACTOR)], Reason.FOREIGN_ACTOR),
    ],
)
def test_the_binding_reason_is_of_the_last_stage_that_moved_or_held(steps, reason):
    assert binding_reason([Step(*s) for s in steps], 4) is reason


# Hot, and when to look again.


@pytest.mark.parametrize(
    ("fields", "state", "alarms", "hot"),
    [
        ({}, {}, HIGH, True),
        ({}, {}, LOW, False),
        ({"high": 8}, {}, HIGH, False),  # HIGH stays in ALARM all day at the maximum
        ({"high": 7}, {}, HIGH, False),
        ({"budget_usd_per_hour": 8.0, "hourly_cost_usd": 1.0}, {}, HIGH, False),
        ({"suspension": Suspension(scale_out=True)}, {}, HIGH, False),
        ({"suspension": Suspension(scale_in=True)}, {}, HIGH, True),
        ({}, {"paused_until_s": NOW_S + 60}, HIGH, False),
        ({}, {"paused_until_s": NOW_S - 60}, HIGH, True),
        ({}, {"pinned": 8}, HIGH, False),
        ({}, {}, {"s--wake": AlarmState.ALARM}, False),  # a copy serves: nobody needs waking
    ],
)
def test_hot_means_that_more_load_would_change_something(fields, state, alarms, hot):
    goal = target(policies=(DEMAND,), **fields)
    assert decided([44] * 40, 8, goal=goal, state=steady(8, **state), alarms=alarms).hot is hot


def test_hot_ends_where_sagemakers_own_maximum_binds():
    where = endpoint(4, managed=True, managed_max=4)
    goal, observed = target(), seen(totals([44] * 40, 4), 4, alarms=HIGH, where=where)
    decision = decide(goal, observed, steady(4), NOW_S, copies_per_instance=1)
    assert (decision.desired, decision.reason, decision.hot) == (4, Reason.MANAGED_MAX_INSTANCES, False)
    assert decide(goal, observed, steady(4), NOW_S, copies_per_instance=2).desired == 8


def test_a_component_that_somebody_else_scales_is_left_alone():
    observed = replace(seen(totals([80] * 40, 8), 8, alarms=HIGH), foreign_scaler="Application Auto Scaling")
    decision = decide(target(), observed, steady(8), NOW_S)
    assert (decision.desired, decision.reason, decision.hot) == (8, Reason.FOREIGN_ACTOR, False)


def test_the_kill_switch_stops_everything():
    decision = decide(target(), seen(totals([80] * 40, 8), 8), steady(8), NOW_S, scaling_enabled=False)
    assert (decision.desired, decision.reason) == (8, Reason.PAUSED)


HOLDS = {
    "scale-in hold": ([40] * 20 + [4] * 20, {}),
    "half at once": ([4] * 60, {}),
    "cooldown": ([12] * 60, {"last_scale_in": Change(NOW_S - 20, 9, 8)}),
    "settling": ([12] * 60, {"serving": (*steady(9).serving, ServingChange(NOW_S - 25, 8))}),
    "burst": ([4] * 60, {"burst_until_s": NOW_S + 30, "burst_copies": 8}),
    "manual": ([12] * 60, {"manual": Change(NOW_S - 60, 4, 8)}),
    "pause": ([12] * 60, {"paused_until_s": NOW_S + 500}),
    "fresh": ([12] * 60, {"serving": ()}),
}


@pytest.mark.parametrize(("values", "state"), HOLDS.values(), ids=HOLDS)
def test_every_hold_says_when_to_look_again(values, state):
    decision = decided(values, 8, state=steady(8, **state))
    assert decision.desired >= 4
    assert decision.look_again_at_s is not None
    assert NOW_S < decision.look_again_at_s <= NOW_S + 900


def test_at_the_minimum_no_hold_on_scale_in_keeps_anybody_awake():
    # Nothing in flight now, something two minutes ago: a hold that ends in three minutes would change nothing at min 1.
    values = [4] * 20 + [0] * 12
    assert decided(values, 1, goal=target(low=0)).look_again_at_s is not None
    assert decided(values, 1, goal=target(low=1)).look_again_at_s is None


def test_a_pinned_or_paused_target_waits_for_the_operator_only():
    values = [40] * 20 + [4] * 20
    assert decided(values, 8, state=steady(8, pinned=8)).look_again_at_s is None
    assert decided(values, 8, state=steady(8, paused_until_s=float("inf"))).look_again_at_s is None
    assert decided(values, 8, state=steady(8, paused_until_s=NOW_S + 70)).look_again_at_s == NOW_S + 70


def test_a_decision_keeps_its_wish_and_when_it_was_made():
    first = decided([60] * 40, 8)
    assert (first.state.wish, first.state.wish_at_s) == (12, NOW_S)
    again = decide(target(), seen(totals([60] * 40, 8), 12, 8), replace(first.state, wish_at_s=NOW_S - 50), NOW_S)
    assert (again.state.wish, again.state.wish_at_s) == (12, NOW_S - 50)


def test_a_policy_of_an_unknown_kind_is_refused():
    with pytest.raises(TypeError, match="str is not a policy"):
        decided([40] * 10, 8, goal=target(policies=("all of them",)))


def test_a_variant_target_counts_instances():
    goal = replace(target(), target_id=TargetId.of_variant("llm", "v"), wake_alarm=None)
    observed = seen(totals([60] * 40, 8), 8, where=endpoint(8))
    observed = replace(observed, target_id=goal.target_id, component=None)
    decision = decide(goal, observed, steady(8), NOW_S, copies_per_instance=1)
    assert (decision.desired, decision.baseline) == (12, 8)
    assert "per instance needs 12" in stage(decision, "policies").detail
