"""Application Auto Scaling as a rival: its alarms, its cooldowns, and that it agrees with the product's own policies."""

from __future__ import annotations

import operator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickstep.model.observation import Alarm, AlarmState, Datapoint, Series
from quickstep.model.state import Change, TargetState
from quickstep.model.targets import (
    AdjustmentType,
    AlarmBinding,
    StepAdjustment,
    StepScalingPolicy,
    TargetTrackingPolicy,
)
from quickstep.policy import step_scaling, target_tracking
from simulator.peers import MetricRing, PeerView
from simulator.peers.aas_alarm import AlarmPoint, ThresholdAlarm, WakeFromZero
from simulator.peers.aas_step import SAMPLE_SHAPE, AasStepScaling, Adjustment, StepCooldown, StepRow, StepTable
from simulator.peers.aas_target_tracking import AasTargetTracking, BaseCount, TargetTracking

TARGET = 5.0
LOW, HIGH = 1, 60


def per_copy_ring(values, *, serving=1.0, point_s=10.0):
    """A ring that shows 10-second points with these values per copy."""
    ring = MetricRing(point_s)
    for value in values:
        if value is None:
            ring.push(0.0, 0.0)
        else:
            ring.push(value * serving, serving)
    return ring


def run(peer, values, *, desired, ready=None, serving=None, every_s=10.0, max_copies=100):
    """Ask `peer` at every point of a metric per copy; returns [(second, count asked)], each count carried out."""
    serving = desired if serving is None else serving
    ring, asked = MetricRing(10.0, delay_s=0.0), []
    for i, value in enumerate(values):
        ring.push(0.0 if value is None else value * serving, 0.0 if value is None else serving)
        now_s = 10.0 * (i + 1)
        ring.show(now_s)
        if now_s % every_s:
            continue
        at = ready if ready is not None else desired
        new = peer.decide(PeerView(now_s, at, desired, max(0, desired - at), ring, 1, max_copies))
        if new is not None:
            asked.append((now_s, new))
            desired = new
    return asked


# ---------------------------------------------------------------- alarms


@pytest.mark.parametrize(
    ("values", "alarm"),
    [
        ([6, 6], False),
        ([6, 6, 6], True),
        ([6, 5, 6, 6], False),
        ([6, None, 6, 6], False),
        ([6, 6, 6, None], False),
        ([5, 5, 5], False),
    ],
    ids=["two", "three", "three but one", "a gap within", "a gap at the end", "at the target"],
)
def test_alarm_high_needs_three_datapoints_above_the_target(values, alarm):
    """AWS notebook sm-app_autoscaling_realtime_endpoints: "> 5 for 3 datapoints within 30 seconds"."""
    high = ThresholdAlarm(TARGET, 3, operator.gt)
    for i, value in enumerate(values):
        high.add(AlarmPoint(10.0 * i, value, 1.0))
    assert high.is_alarm is alarm


def test_an_action_is_invoked_at_the_transition_and_then_once_per_minute():
    """CloudWatch user guide: Auto Scaling actions repeat once per minute while the alarm remains in the state."""
    high, acted = ThresholdAlarm(TARGET, 3, operator.gt), []
    for i in range(20):
        high.add(AlarmPoint(10.0 * i, 6.0, 1.0))
        if high.acts(10.0 * i):
            acted.append(10.0 * i)
    assert acted == [20.0, 80.0, 140.0]


def test_a_reaction_time_delays_the_first_action_only():
    high, acted = ThresholdAlarm(TARGET, 3, operator.gt, reaction_s=60.0), []
    for i in range(20):
        high.add(AlarmPoint(10.0 * i, 6.0, 1.0))
        if high.acts(10.0 * i):
            acted.append(10.0 * i)
    assert acted == [80.0, 140.0]


# ---------------------------------------------------------------- target tracking as deployed


def test_ten_second_tracking_scales_out_after_three_points_and_in_after_ninety():
    """AWS notebook: AlarmHigh 3 × 10 s above the target, AlarmLow 90 × 10 s below 0.9 × target."""
    assert run(AasTargetTracking(TARGET), [10.0] * 3, desired=4) == [(30.0, 8)]
    assert run(AasTargetTracking(TARGET), [10.0] * 2, desired=4) == []
    assert run(AasTargetTracking(TARGET), [2.5] * 90, desired=8) == [(900.0, 4)]
    assert run(AasTargetTracking(TARGET), [2.5] * 89, desired=8) == []


def test_alarm_low_is_nine_tenths_of_the_target():
    """AWS notebook: "< 4.5 for 90 datapoints within 15 minutes" with a target of 5."""
    assert run(AasTargetTracking(TARGET), [4.5] * 120, desired=8) == []
    assert run(AasTargetTracking(TARGET), [4.49] * 90, desired=80) == [(900.0, 72)]


def test_one_minute_tracking_needs_three_minutes_out_and_fifteen_in():
    """AWS documentation (ECS, Aurora): 3 and 15 periods of 60 s."""
    slow = {"period_s": 60.0, "in_points": 15}
    assert run(AasTargetTracking(TARGET, **slow), [10.0] * 18, desired=4, every_s=60.0) == [(180.0, 8)]
    assert run(AasTargetTracking(TARGET, **slow), [2.5] * 90, desired=8, every_s=60.0) == [(900.0, 4)]


def test_after_a_change_the_same_count_is_not_asked_again_until_three_hundred_seconds_have_passed():
    """CDK documentation: 300 s for SageMaker. The metric here never falls, as while copies start."""
    asked = run(AasTargetTracking(TARGET, base="desired"), [10.0] * 70, desired=2, ready=2, serving=2)
    assert asked == [(30.0, 4), (330.0, 8), (630.0, 16)]


def test_a_larger_scale_out_inside_the_cooldown_adds_only_what_is_missing():
    """AAS user guide, scale-out cooldown: the capacity added by the first is part of the next."""
    rule = TargetTracking(TARGET)
    assert rule.scale_out(0, 10, counted=2, desired=2, max_copies=HIGH) == 4
    assert rule.scale_out(60, 10, counted=2, desired=4, max_copies=HIGH) == 4
    assert rule.scale_out(120, 15, counted=2, desired=4, max_copies=HIGH) == 6


@pytest.mark.parametrize(
    ("base", "want"),
    [(BaseCount.AT_METRIC_TIME, 8), (BaseCount.READY, 20), (BaseCount.DESIRED, 64)],
    ids=lambda v: str(v),
)
def test_the_base_count_has_three_readings(base, want):
    """A metric of 10 per copy: 4 served it, 10 are ready since, 32 are asked for."""
    peer = AasTargetTracking(TARGET, base=base)
    ring = per_copy_ring([10.0] * 3, serving=4)
    ring.show(30.0)
    # The alarm needs to see its periods one by one.
    for end_s in (10.0, 20.0, 30.0):
        peer.high.add(AlarmPoint(end_s, 10.0, 4.0))
    desired = 32 if base is BaseCount.DESIRED else 4
    assert peer.decide(PeerView(30.0, 10, desired, 0, ring, 1, 100)) == want


def test_no_data_changes_nothing():
    """AAS: INSUFFICIENT_DATA does not scale, neither out nor in."""
    assert run(AasTargetTracking(TARGET), [None] * 200, desired=4) == []


def test_disable_scale_in_leaves_only_the_way_out():
    peer = AasTargetTracking(TARGET, disable_scale_in=True)
    assert run(peer, [1.0] * 100 + [10.0] * 3, desired=4) == [(1030.0, 8)]


def test_the_maximum_statistic_fires_where_the_average_does_not():
    def ring_of_peaks():
        ring = MetricRing(10.0)
        for _ in range(3):
            ring.push(4.0, 1, total_max=9.0)
        return ring

    for statistic, want in (("Average", None), ("Maximum", 2)):
        peer, ring = AasTargetTracking(TARGET, statistic=statistic), ring_of_peaks()
        got = None
        for now_s in (10.0, 20.0, 30.0):
            ring.show(now_s)
            got = peer.decide(PeerView(now_s, 1, 1, 0, ring, 1, 100))
        assert got == want


# ---------------------------------------------------------------- step scaling as deployed


def test_the_sample_step_policy_is_aws_own():
    """AWS notebook ..._step_scaling: threshold 20: +1, from 40: +2; threshold 10: -1; 3 × 60 s; cooldown 300 s."""
    sample = lambda: AasStepScaling(20.0, shape=SAMPLE_SHAPE)  # noqa: E731
    assert run(sample(), [25.0] * 18, desired=3, every_s=60.0) == [(180.0, 4)]
    assert run(sample(), [40.0] * 18, desired=3, every_s=60.0) == [(180.0, 5)]
    assert run(sample(), [9.0] * 18, desired=3, every_s=60.0) == [(180.0, 2)]
    assert run(sample(), [15.0] * 60, desired=3, every_s=60.0) == []
    assert run(sample(), [25.0] * 48, desired=3, every_s=60.0) == [(180.0, 4), (480.0, 5)]


@pytest.mark.parametrize(("metric", "want"), [(5.0, 5), (6.4, 5), (6.5, 6), (8.4, 6), (8.5, 8), (99.0, 8)])
def test_the_wide_table_adds_one_two_or_four(metric, want):
    assert run(AasStepScaling(TARGET), [metric] * 3, desired=4) == [(30.0, want)]


def test_the_wide_table_removes_one_per_cooldown_after_fifteen_quiet_minutes():
    assert run(AasStepScaling(TARGET), [1.0] * 125, desired=4) == [(900.0, 3), (1200.0, 2)]


def test_a_scale_out_ends_a_scale_ins_cooldown():
    cooldown = StepCooldown(300.0)
    steps = StepTable((StepRow(0, None, 1),))
    fewer = StepTable((StepRow(None, 0, -1),))
    assert cooldown.scale_in(0, fewer, 1, 5, copies=5, min_copies=1) == 4
    assert cooldown.scale_in(60, fewer, 1, 5, copies=4, min_copies=1) == 4
    assert cooldown.scale_out(120, steps, 9, 5, copies=4, max_copies=9) == 5


# ---------------------------------------------------------------- from zero


def test_a_failed_request_wakes_one_copy_and_then_waits_its_cooldown():
    """aws-samples scale_down_to_zero.ipynb: NoCapacityInvocationFailures, 30 s, +1, cooldown 60 s."""
    ring, wake, asked = MetricRing(10.0), WakeFromZero(), []
    for i in range(18):
        ring.push(0.0, 0.0, refused=1.0 if i >= 3 else 0.0)
        ring.show(10.0 * (i + 1))
        if wake.decide(PeerView(10.0 * (i + 1), 0, 0, 0, ring, 0, 10)):
            asked.append(10 * (i + 1))
    assert asked == [60, 120, 180]


def test_target_tracking_alone_does_not_leave_zero_without_a_failed_request():
    assert run(AasTargetTracking(TARGET), [None] * 50, desired=0) == []


# ---------------------------------------------------------------- agreement with the product's policies

TRACK_STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 2, 3, 5, 6, 11]),
        st.one_of(st.floats(0.1, 4.4), st.floats(5.1, 30.0)).map(lambda v: round(v, 3)),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(
    steps=TRACK_STEPS,
    start=st.integers(LOW, 20),
    base=st.sampled_from([BaseCount.AT_METRIC_TIME, BaseCount.READY]),
    share=st.sampled_from([0.5, 1.0]),
)
def test_target_tracking_agrees_with_the_products_policy(steps, start, base, share):
    """Minutes, metric per copy, copies that start meanwhile: the same counts, cooldowns included.

    The product does not store the count that a cooldown began with, it infers it from its last answer. So only what
    the running cooldown has added may still be starting, and a cooldown is not extended a second time.
    """
    policy = TargetTrackingPolicy("t", TARGET, "high", "low")
    readings = target_tracking.TrackingReadings(
        base=target_tracking.BaseCount("serving-at-metric-time" if base is BaseCount.AT_METRIC_TIME else "ready-now"),
        scale_in_share=share,
    )
    peer = TargetTracking(TARGET, scale_in_share=share, base=base)
    state, desired, now_s = TargetState(), start, 10_000.0
    before, cooled_s, outs = start, 0.0, 0
    for minutes, metric, starting in steps:
        # AlarmLow looks at fifteen minutes, so it never follows sooner upon AlarmHigh.
        now_s += 60.0 * (minutes if metric > TARGET else 15 + minutes)
        if outs == 2:
            now_s = max(now_s, cooled_s)
        if now_s >= cooled_s:
            before, outs = desired, 0
        counted = max(min(before, desired), desired - starting)
        side = "high" if metric > TARGET else "low"
        asked = target_tracking.recommend(
            policy,
            baseline=desired,
            serving=counted,
            ready=counted,
            series=Series(10.0, (Datapoint(now_s - 10.0, average=metric, maximum=metric),)),
            alarms=pair_of_alarms(side, TARGET, 0.9 * TARGET, now_s),
            state=state,
            now_s=now_s,
            min_capacity=LOW,
            max_capacity=HIGH,
            readings=readings,
        )
        if side == "high":
            mine = peer.scale_out(now_s, metric, counted=counted, desired=desired, max_copies=HIGH)
            if mine > desired:
                cooled_s, outs = now_s + 300.0, outs + 1
        else:
            mine = peer.scale_in(now_s, metric, counted=counted, desired=desired, min_copies=LOW)
        assert mine == asked.recommended, (asked.reason, asked.detail)
        state = carried_out(state, asked, desired, now_s)
        desired = asked.recommended


STEP_STEPS = st.lists(
    st.tuples(st.sampled_from([1, 1, 2, 4, 5, 6, 11]), st.one_of(st.integers(0, 9), st.integers(20, 60)).map(float)),
    min_size=1,
    max_size=12,
)
UP_ROWS = st.lists(st.integers(1, 40), min_size=1, max_size=3).map(sorted)


@settings(max_examples=200, deadline=None)
@given(
    steps=STEP_STEPS,
    ups=UP_ROWS,
    down=st.integers(-3, -1),
    start=st.integers(LOW, 20),
    kind=st.sampled_from(list(Adjustment)[:2]),
    magnitude=st.integers(0, 3),
)
def test_step_scaling_agrees_with_the_products_policy(steps, ups, down, start, kind, magnitude):
    """Rows of +amounts at breaches of 0, 10 and 20, one row down: the same counts, cooldown included."""
    bounds = [0.0, 10.0, 20.0][: len(ups)]
    above = [(low, up, n) for low, up, n in zip(bounds, [*bounds[1:], None], ups, strict=True)]
    magnitude = magnitude if kind is Adjustment.PERCENT else 0
    policy = StepScalingPolicy(
        "s",
        AdjustmentType(kind.value),
        tuple(StepAdjustment(*row) for row in [(None, 0.0, down), *above]),
        (AlarmBinding("high", 20.0, True), AlarmBinding("low", 10.0, False)),
        min_adjustment_magnitude=magnitude,
    )
    out = StepTable(tuple(StepRow(*row) for row in above), kind, magnitude)
    back = StepTable((StepRow(None, 0.0, down),), kind, magnitude)
    cooldown = StepCooldown(policy.cooldown_s)
    state, desired, now_s = TargetState(), start, 10_000.0
    for minutes, metric in steps:
        now_s += 60.0 * minutes
        side = "high" if metric >= 20.0 else "low"
        asked = step_scaling.recommend(
            policy,
            baseline=desired,
            series=Series(10.0, (Datapoint(now_s - 10.0, average=metric, maximum=metric),)),
            alarms=pair_of_alarms(side, 20.0, 10.0, now_s),
            state=state,
            now_s=now_s,
            min_capacity=LOW,
            max_capacity=HIGH,
            readings=step_scaling.StepReadings(doubled_breach_counts=False),
        )
        if side == "high":
            mine = cooldown.scale_out(now_s, out, metric, 20.0, copies=desired, max_copies=HIGH)
        else:
            mine = cooldown.scale_in(now_s, back, metric, 10.0, copies=desired, min_copies=LOW)
        assert mine == asked.recommended, (asked.reason, asked.detail)
        state = carried_out(state, asked, desired, now_s)
        desired = asked.recommended


def pair_of_alarms(firing, high, low, now_s):
    states = {name: AlarmState.ALARM if name == firing else AlarmState.OK for name in ("high", "low")}
    return {
        "high": Alarm("high", states["high"], now_s - 600.0, high, True, 10.0, 1),
        "low": Alarm("low", states["low"], now_s - 600.0, low, False, 10.0, 1),
    }


def carried_out(state, asked, before, now_s):
    """The product's memory after its step was done."""
    if asked.recommended == before:
        return state
    change = Change(now_s, before, asked.recommended, asked.stage)
    memory = {**state.step_memory, **(asked.memory or {}).get("step_memory", {})}
    which = "last_scale_out" if change.is_scale_out else "last_scale_in"
    return replace(state, step_memory=memory, **{which: change})
