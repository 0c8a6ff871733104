"""The traps that other autoscalers fell into, each as a regression test of ours. One test per trap, in a known order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quickstep.capacity.plan import plan_endpoint
from quickstep.capacity.progress import RESTORED, follow_copies, follow_instances, notice_foreign_change
from quickstep.model.loop import NextWord
from quickstep.model.observation import (
    AlarmState,
    ComponentStatus,
    Datapoint,
    Endpoint,
    EndpointStatus,
    Metrics,
    Series,
    Variant,
)
from quickstep.model.state import Ask, TargetState, VariantState
from quickstep.model.targets import DemandPolicy
from quickstep.policy.pipeline import decide
from quickstep.reasons import Reason
from tests.unit.scenes import (
    DEMAND,
    NOW_S,
    STEPS,
    Fleet,
    changes,
    decided,
    seen,
    settled_on,
    steady,
    target,
    totals,
    view_of,
    wish,
)


def test_constant_load_and_a_long_boot_keep_the_wish_constant():
    """AIBrix APA and Ray Serve multiply the wished count with the ready average, look by look, up to the maximum."""
    fleet = Fleet(lambda t: 40.0 if t >= 600 else 4.0, boot_s=1200)
    decisions = fleet.run(3600)
    assert [count for _, count in changes(decisions)] == [8]


def test_a_longer_stabilization_window_never_means_more_changes():
    """AIBrix had its stabilization inverted: the largest on the way out, the smallest on the way in."""
    levels = [4, 30, 8, 26, 4, 38, 12, 4]
    made = []
    for hold_s in (60.0, 120.0, 300.0, 600.0, 1200.0):
        goal = target(policies=(DemandPolicy("demand", 5.0, scale_in_hold_s=hold_s),))
        made.append(len(changes(Fleet(lambda t: levels[t // 200 % 8], boot_s=60, goal=goal).run(4800))))
    assert made == sorted(made, reverse=True)
    assert made[0] > made[-1]


def test_a_burst_survives_a_cold_start():
    """AIBrix's KPA kept its panic state in the process."""
    state = decided([4] * 30 + [40], 1).state
    restored = TargetState.from_dict(state.to_dict())
    later_s = NOW_S + 30
    observed = seen(totals([4] * 90, 1, now_s=later_s), 8, 1, now_s=later_s)
    assert decide(target(), observed, restored, later_s).desired == 8
    forgetful = replace(restored, burst_until_s=None, last_scale_out=None)
    assert decide(target(), observed, forgetful, later_s).desired < 8


def test_a_second_burst_while_copies_boot_raises_the_wish():
    """llm-d's WVA and Dynamo lock a target while anything boots."""
    fleet = Fleet(lambda t: 4.0 if t < 600 else 40.0 if t < 700 else 90.0, boot_s=600)
    made = changes(fleet.run(900))
    assert [count for _, count in made] == [8, 18]
    assert made[1][0] <= 700 + 40


def test_one_to_eight_is_asked_in_one_decision():
    """WVA and Dynamo add one per tick."""
    made = changes(Fleet(lambda t: 4.0 if t < 600 else 40.0).run(1200))
    assert [count for _, count in made] == [8]


def test_a_target_that_cannot_be_fulfilled_neither_waits_for_ever_nor_holds_the_others():
    """Dynamo's planner waits for ever for a scale-out that the cluster refuses."""
    variant = Variant("v", "ml.g5.12xlarge", 1, 1)
    memory = VariantState(ask=Ask("instances", NOW_S - 2000, 1, 3, NOW_S - 800))
    memory, notes = follow_instances(
        memory, variant, Endpoint("llm", EndpointStatus.IN_SERVICE, (variant,)), NOW_S, dipped=False
    )
    assert (memory.ask, notes[0].reason) == (None, Reason.INSUFFICIENT_CAPACITY)
    big, small = wish(settled_on("a", 2), 9), wish(settled_on("b", 1), 2)
    # The smaller ask goes on; so does what fits without any.
    assert plan_endpoint(view_of(big, small, instances=1, memory=memory)).word is NextWord.PLACE_COPIES
    full = settled_on("b", 2)
    plan = plan_endpoint(view_of(big, wish(full, 2), instances=1, memory=memory))
    assert (plan.word, plan.instances.wanted) == (NextWord.ADD_INSTANCES, 2)
    # Nothing at all to be had: the other component is still scaled in, and the next try is set.
    memory = replace(memory, backoff=replace(memory.backoff, largest_possible=None, until_s=NOW_S + 300))
    plan = plan_endpoint(view_of(big, wish(full, 1), instances=1, memory=memory))
    assert (plan.word, plan.copies[0].component) == (NextWord.REMOVE_COPIES, "b")
    plan = plan_endpoint(view_of(big, wish(full, 2), instances=1, memory=memory))
    assert (plan.word, plan.next_look_at_s) == (NextWord.SETTLED, NOW_S + 300)


def test_ten_minutes_without_data_never_scale_in():
    """KEDA's CloudWatch scaler reads a missing metric as its minimum, which is idle."""
    for gap_s in range(0, 610, 10):
        lag_s = 10.0 + gap_s
        assert decided(None, 8).desired == 8
        observed = seen(totals([40] * 30, 8, lag_s=lag_s), 8)
        assert decide(target(), observed, steady(8), NOW_S).desired == 8
    # … and what comes right after the gap does not prove what was in it.
    assert decided([40] * 30 + [None] * 60 + [4] * 5, 8).desired == 8


def test_a_sparse_metric_with_known_zero_invocations_does_go_down():
    """AAS never scales in a target whose metric stops being published when it idles (copilot-cli#5854)."""
    idle = Series(60.0, tuple(Datapoint(NOW_S - 90 - 60 * (14 - i), average=0.0) for i in range(15)))
    observed = seen(None, 2, metrics=Metrics(concurrency=Series(10.0), invocations=idle))
    assert decide(target(low=0), observed, steady(2), NOW_S).desired == 1
    observed = seen(None, 1, metrics=Metrics(concurrency=Series(10.0), invocations=idle))
    assert decide(target(low=0), observed, steady(1), NOW_S).desired == 0


def test_a_cooldown_has_one_meaning_each():
    """KEDA's cooldownPeriod is for zero only, which its name does not say. Ours name what they delay, and in seconds."""
    names = {f for kind in (DemandPolicy, type(STEPS)) for f in kind.__dataclass_fields__ if f.endswith("_s")}
    assert names == {"window_s", "scale_in_hold_s", "cooldown_s"}
    for name in ("window_s", "scale_in_hold_s"):
        short, long = (
            Fleet(lambda t: 40.0 if t < 900 else 4.0, copies=8, goal=target(policies=(replace(DEMAND, **{name: v}),)))
            for v in (60.0, 600.0)
        )
        # Neither delays a scale-out, the hold delays scale-in.
        first = [changes(f.run(2400))[0][0] for f in (short, long)]
        assert first[0] < first[1]
    for hold_s in (60.0, 600.0):
        goal = target(policies=(replace(DEMAND, scale_in_hold_s=hold_s),))
        assert changes(Fleet(lambda t: 4.0 if t < 600 else 40.0, goal=goal).run(900)) == [(620, 8)]


def test_a_young_window_is_not_diluted_with_empty_buckets():
    """Averaging over the whole window while most of it is not filled yet hides the load of the first minute."""
    for known in (1, 2, 3, 5):
        assert decided([None] * 60 + [40] * known, 1, state=TargetState()).desired == 8


def test_a_restart_with_many_copies_holds_for_one_window():
    """An autoscaler that forgets drops everything at its first look."""
    state, desired = TargetState(), []
    for i in range(40):
        now_s = NOW_S + 10 * i
        decision = decide(target(), seen(totals([4] * 90, 8, now_s=now_s), 8, now_s=now_s), state, now_s)
        state = decision.state
        desired.append(decision.desired)
    assert set(desired[:27]) == {8}
    assert desired[-1] == 4


def test_the_budget_is_never_exceeded_by_whoever_asks():
    """Dynamo's rebalancing went over the GPU budget."""
    goal = target(budget_usd_per_hour=6.0, hourly_cost_usd=1.0, policies=(DEMAND, STEPS))
    fleet = Fleet(lambda t: 4.0 if t < 300 else 400.0, boot_s=60, goal=goal)
    assert max(d.desired for d in fleet.run(1200)) == 6


def test_a_manual_plus_two_is_kept_for_its_grace():
    """Dynamo takes back within a tick what a person has just changed."""
    state, _ = notice_foreign_change(steady(8), seen(None, 10), NOW_S, deployed=False)
    for after_s, desired in ((0, 10), (600, 10), (899, 10), (901, 8)):
        now_s = NOW_S + after_s
        observed = seen(totals([34] * 90, 10, now_s=now_s), 10, now_s=now_s)
        known = replace(state, serving=steady(10).serving)
        assert decide(target(), observed, known, now_s).desired == desired


def test_a_deployment_that_resets_the_counts_is_undone():
    """Terraform, CDK and UpdateEndpoint set the count of the configuration, whatever the load."""
    state, _ = notice_foreign_change(steady(8), seen(None, 1), NOW_S, deployed=True)
    assert state.manual.cause == RESTORED
    decision = decide(target(), seen(totals([1] * 90, 1), 1), state, NOW_S)
    assert decision.desired == 8
    # The instances were reset too: they come back first.
    reset = settled_on("a", 8, 4)
    plan = plan_endpoint(view_of(wish(reset, 8), instances=1))
    assert (plan.word, plan.instances.wanted) == (NextWord.ADD_INSTANCES, 2)


@pytest.mark.parametrize("hold_s", [0.0, 10.0])
def test_a_delay_shorter_than_the_look_back_does_not_thrash(hold_s):
    """Ray Serve with a downscale delay below its look-back turns back and forth (ray#26455)."""
    goal = target(policies=(DemandPolicy("demand", 5.0, window_s=60.0, scale_in_hold_s=hold_s),))
    # A wave as long as the window: its mean is constant, and so is the count.
    made = changes(Fleet(lambda t: 8.0 if t // 30 % 2 else 2.0, goal=goal, boot_s=60).run(3600))
    assert len(made) <= 1


@pytest.mark.parametrize("partial", [0, 1, 5, 20, 39])
def test_a_newest_datapoint_that_is_still_filling_never_lowers_the_wish(partial):
    """Several read the last period before it is over."""
    full, filling = decided([40] * 90, 8), decided([40] * 90 + [partial], 8)
    assert (filling.desired, filling.demand) == (full.desired, full.demand) == (8, 40.0)


def test_while_the_high_alarm_stays_in_alarm_a_doubled_load_is_seen_without_a_second_event():
    """CloudWatch tells EventBridge about transitions only: who waits for an event never scales out twice."""
    alarms = {"s--high": AlarmState.ALARM}
    goal = target(policies=(DEMAND, STEPS))
    first = decide(goal, seen(totals([40] * 90, 4), 4, alarms=alarms), steady(4), NOW_S)
    assert first.desired == 8
    # Everything asked is there, the alarm has not moved: the loop does not end.
    there = replace(first.state, serving=steady(8).serving)
    now_s = NOW_S + 600
    calm = decide(goal, seen(totals([38] * 90, 8, now_s=now_s), 8, alarms=alarms, now_s=now_s), there, now_s)
    assert calm.hot
    busy = settled_on("a", calm.desired)
    plan = plan_endpoint(view_of(wish(busy, calm.desired, hot=calm.hot), instances=8))
    assert (plan.word, plan.wait_s) == (NextWord.WAIT, 10)
    # The next tick sees the load.
    now_s += 10
    values = [38] * 80 + [76, 76]
    second = decide(goal, seen(totals(values, 8, now_s=now_s), 8, alarms=alarms, now_s=now_s), calm.state, now_s)
    assert second.desired > 8


def test_copies_that_never_come_are_given_up_not_counted_for_ever():
    """A pending count that nobody is working on must not keep the load from being served."""
    ask = Ask("copies", NOW_S - 300, 1, 8, NOW_S + 600)
    state, notes = follow_copies(
        replace(steady(1, wish=8), ask=ask), seen(None, 8, 3, status=ComponentStatus.FAILED), NOW_S
    )
    assert (state.ask, notes[0].failed) == (None, True)
    plan = plan_endpoint(view_of(wish(settled_on("a", 8, 3), 8, state=state), instances=2))
    assert plan.word is NextWord.ADD_INSTANCES
