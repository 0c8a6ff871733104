"""Target tracking: what Application Auto Scaling documents, and each choice that it leaves open, both ways."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickstep.model.observation import Alarm, AlarmState, Datapoint, Series
from quickstep.model.state import Change, StepMemory, TargetState
from quickstep.model.targets import TargetTrackingPolicy
from quickstep.policy.target_tracking import (
    BaseCount,
    MetricValue,
    TrackingReadings,
    newest_datapoint_s,
    recommend,
)
from quickstep.reasons import Reason

NOW = 10_000.0
SAME = object()
POLICY = TargetTrackingPolicy("t", 5.0, "high", "low")
READY = TrackingReadings(base=BaseCount.READY_NOW)
DESIRED = TrackingReadings(base=BaseCount.DESIRED)
AT_ONCE = TrackingReadings(scale_in_share=1.0)


def alarms(firing="high", target=5.0, other=AlarmState.OK):
    """AWS's own pair for a 10-second metric: 3 datapoints above the target, 90 below 0.9 × target."""
    high, low = (AlarmState.ALARM if firing in (name, "both") else other for name in ("high", "low"))
    return {
        "high": Alarm("high", high, NOW - 60, target, True, 10.0, 3),
        "low": Alarm("low", low, NOW - 60, 0.9 * target, False, 10.0, 90),
    }


def series(*values, newest_s=NOW - 10):
    first = newest_s - 10 * (len(values) - 1)
    return Series(10.0, tuple(Datapoint(first + 10 * i, maximum=v, average=v) for i, v in enumerate(values)))


def ask(
    metric, *, firing="high", baseline=4, serving=SAME, policy=POLICY, state=None, now_s=NOW, low=0, high=100, **more
):
    facts = {
        "baseline": baseline,
        "serving": baseline if serving is SAME else serving,
        "series": series(metric, newest_s=now_s - 10),
        "alarms": alarms(firing, policy.target_value),
        "state": state or TargetState(),
        "now_s": now_s,
        "min_capacity": low,
        "max_capacity": high,
    }
    return recommend(policy, **(facts | more))


def carried_out(step, state, now_s, before):
    memory = {**state.step_memory, **step.memory.get("step_memory", {})}
    if step.recommended == before:
        return replace(state, step_memory=memory)
    field = "last_scale_out" if step.recommended > before else "last_scale_in"
    return replace(state, step_memory=memory, **{field: Change(now_s, before, step.recommended, "t")})


# --- out ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "baseline", "want"),
    [
        (5.1, 4, 5),
        (6, 4, 5),  # 4.8
        (6.25, 4, 5),  # exactly 5
        (6.3, 4, 6),  # 5.04
        (8, 4, 7),  # 6.4
        (40, 1, 8),  # 4 → 40 requests in flight at 5 per copy
        (40, 4, 32),
        (5.5, 10, 11),
        (10, 10, 20),
    ],
)
def test_a_scale_out_is_proportional_and_rounded_up(metric, baseline, want):
    step = ask(metric, baseline=baseline)
    assert (step.recommended, step.reason) == (want, Reason.TARGET_TRACKING)


@pytest.mark.parametrize(
    ("target", "metric", "serving", "want"), [(0.1, 0.3, 1, 3), (0.7, 2.1, 7, 21), (0.3, 0.9, 3, 9)]
)
def test_float_noise_does_not_cost_a_copy(target, metric, serving, want):
    """3 × 0.9 / 0.3 is 9.000000000000002 to a computer."""
    assert ask(metric, baseline=serving, policy=replace(POLICY, target_value=target)).recommended == want


def test_the_count_stops_at_the_maximum():
    assert ask(8, high=7).detail == "metric 8, target 5, 4 × 8 / 5 → 7"
    assert ask(8, high=6).detail == "metric 8, target 5, 4 × 8 / 5 → 7; 6 is the most"
    assert ask(40, baseline=4, high=10).recommended == 10
    at_max = ask(40, baseline=10, high=10)
    assert (at_max.recommended, at_max.reason, at_max.look_again_at_s) == (10, Reason.AT_MAX, None)


def test_a_metric_that_is_back_at_the_target_adds_nothing():
    step = ask(5.0)
    assert (step.recommended, step.reason) == (4, Reason.UNCHANGED)


def test_the_newest_complete_datapoint_is_used():
    data = Series(10.0, tuple(Datapoint(at_s, maximum=v) for at_s, v in [(NOW - 25, 30), (NOW - 15, 8), (NOW - 5, 99)]))
    assert ask(0, series=data).recommended == 7


def test_the_mean_of_the_alarms_periods_is_a_switch():
    data = series(30, 5, 8, 8)
    assert ask(0, series=data, readings=TrackingReadings(value=MetricValue.MEAN_OF_PERIODS)).recommended == 6  # mean 7
    assert ask(0, series=data).recommended == 7


def test_the_step_says_how_it_came_to_its_count():
    step = ask(8)
    assert step.detail == "metric 8, target 5, 4 × 8 / 5 → 7"
    assert step.inputs == {"policy": "t", "alarm": "high", "target": 5.0, "metric": 8, "base": 4, "wanted": 7}
    assert step.memory == {"step_memory": {"t": StepMemory(NOW - 10, 3.0, NOW)}}
    assert step.look_again_at_s == NOW + 300


# --- which count is multiplied: three readings of an undocumented rule -------------------------------------------------


@pytest.mark.parametrize(
    ("readings", "want"),
    [
        (TrackingReadings(), 8),  # 4 served when 10 per copy were measured: 40 in flight, 8 copies
        (READY, 12),  # 6 are ready by now
        (DESIRED, 16),  # 8 are asked for
    ],
)
def test_the_base_count_is_a_switch(readings, want):
    step = ask(10, baseline=8, serving=4, ready=6, readings=readings)
    assert step.recommended == want


def test_with_constant_load_and_a_long_start_the_wished_count_stays_where_it_is():
    """40 in flight on 4 copies; the 4 more take long to start: nothing is asked twice, also after the cooldown."""
    state, count, counts = TargetState(), 4, []
    for look in range(60):
        now_s = NOW + 10 * look
        step = ask(10, baseline=count, serving=4, state=state, now_s=now_s)
        state, count = carried_out(step, state, now_s, count), step.recommended
        counts.append(count)
    assert set(counts) == {8}


def test_the_wished_count_as_base_asks_again_when_the_cooldown_is_over_but_not_before():
    state, count, counts = TargetState(), 4, []
    for look in range(32):
        now_s = NOW + 10 * look
        step = ask(10, baseline=count, serving=4, state=state, now_s=now_s, readings=DESIRED)
        state, count = carried_out(step, state, now_s, count), step.recommended
        counts.append(count)
    assert counts == [8] * 30 + [16] * 2


def test_the_wished_count_as_base_waits_a_minute_where_no_cooldown_is_set():
    policy, state, count, counts = replace(POLICY, scale_out_cooldown_s=0), TargetState(), 4, []
    for look in range(8):
        now_s = NOW + 10 * look
        step = ask(10, policy=policy, baseline=count, serving=4, state=state, now_s=now_s, readings=DESIRED)
        state, count = carried_out(step, state, now_s, count), step.recommended
        counts.append(count)
    assert counts == [8] * 6 + [16] * 2


@pytest.mark.parametrize(("metric", "firing"), [(20, "high"), (1, "low")])
@pytest.mark.parametrize(("readings", "more"), [(TrackingReadings(), {"ready": 4}), (READY, {"serving": 4})])
def test_a_count_that_is_not_known_is_no_data(readings, more, metric, firing):
    step = ask(metric, firing=firing, readings=readings, **({"serving": None} | more))
    assert (step.recommended, step.reason) == (4, Reason.NO_DATA)


def test_a_metric_per_copy_cannot_leave_zero():
    step = ask(20, baseline=0)
    assert (step.recommended, step.reason) == (0, Reason.NO_COPIES)


def test_the_serving_count_can_be_looked_up_at_the_datapoint_that_is_used():
    data = Series(10.0, (Datapoint(NOW - 30, maximum=8), Datapoint(NOW - 20), Datapoint(NOW - 5, maximum=9)))
    assert newest_datapoint_s(POLICY, data, alarms(), NOW) == NOW - 30
    assert newest_datapoint_s(POLICY, data, alarms(firing="none"), NOW) is None
    assert newest_datapoint_s(POLICY, None, alarms(), NOW) is None


# --- scale-out cooldown ------------------------------------------------------------------------------------------------


def test_in_a_cooldown_only_what_a_larger_scale_out_exceeds_is_added():
    state = carried_out(ask(10), TargetState(), NOW, 4)  # 4 → 8
    same = ask(10, baseline=8, serving=4, state=state, now_s=NOW + 60)
    larger = ask(11.25, baseline=8, serving=4, state=state, now_s=NOW + 60)  # would be +5
    assert (same.recommended, same.reason) == (8, Reason.AT_DESIRED)
    assert (larger.recommended, larger.inputs["wanted"]) == (9, 9)


def test_in_a_cooldown_a_smaller_scale_out_waits_for_its_end():
    """The 4 that were added serve by now; 8 × 6 / 5 asks for 2 more, which is not larger than the 4."""
    state = carried_out(ask(10), TargetState(), NOW, 4)
    held = ask(6, baseline=8, serving=8, state=state, now_s=NOW + 299)
    assert (held.recommended, held.reason, held.look_again_at_s) == (8, Reason.COOLDOWN_SCALE_OUT, NOW + 300)
    assert held.detail == "metric 6, target 5, 8 × 6 / 5 → 10; 4 already added, cooldown for 1 s more"
    assert ask(6, baseline=8, serving=8, state=state, now_s=NOW + 300).recommended == 10


def test_in_a_cooldown_a_larger_scale_out_is_credited():
    state = carried_out(ask(10), TargetState(), NOW, 4)
    step = ask(10, baseline=8, serving=8, state=state, now_s=NOW + 100)  # +8, of which 4 count as added
    assert step.recommended == 12
    assert step.detail.endswith("4 already added in this cooldown, so +4")


def test_credits_add_up_over_one_cooldown():
    state = carried_out(ask(10), TargetState(), NOW, 4)  # +4
    second = ask(11.25, baseline=8, serving=4, state=state, now_s=NOW + 60)  # +1, 5 in all
    state = carried_out(second, state, NOW + 60, 8)
    third = ask(7.7, baseline=9, serving=9, state=state, now_s=NOW + 120)  # would be +5
    assert (third.recommended, third.reason) == (9, Reason.COOLDOWN_SCALE_OUT)
    assert ask(8.8, baseline=9, serving=9, state=state, now_s=NOW + 120).recommended == 11  # +7, of which 5 are there


def test_credits_add_up_for_a_wished_count_too():
    state = carried_out(ask(10, readings=DESIRED), TargetState(), NOW, 4)
    second = ask(11.25, baseline=8, state=state, now_s=NOW + 60, readings=DESIRED)
    state = carried_out(second, state, NOW + 60, 8)
    third = ask(11.25, baseline=9, state=state, now_s=NOW + 120, readings=DESIRED)
    assert (second.recommended, third.recommended) == (9, 9)


def test_the_change_alone_starts_the_cooldown():
    state = TargetState(last_scale_out=Change(NOW - 100, 4, 8, "t"))
    assert ask(6, baseline=8, state=state).reason is Reason.COOLDOWN_SCALE_OUT
    other = TargetState(last_scale_out=Change(NOW - 100, 4, 8, "another"))
    assert ask(6, baseline=8, state=other).recommended == 10


def test_without_a_cooldown_every_scale_out_counts():
    policy = replace(POLICY, scale_out_cooldown_s=0)
    state = carried_out(ask(10, policy=policy), TargetState(), NOW, 4)
    assert ask(6, policy=policy, baseline=8, state=state, now_s=NOW + 10).recommended == 10


# --- in ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "baseline", "want"),
    [
        (4.4, 10, 9),  # 8.8
        (4, 10, 8),  # exactly 8
        (3.9, 10, 8),  # 7.8: the fraction stays
        (4.4, 2, 2),  # 1.76
        (2.4, 2, 1),
        (0, 4, 0),
        (1, 10, 2),
    ],
)
def test_a_scale_in_keeps_the_fraction(metric, baseline, want):
    assert ask(metric, firing="low", baseline=baseline, readings=AT_ONCE).recommended == want


def test_a_fraction_that_stays_is_no_change():
    step = ask(4.4, firing="low", baseline=2)
    assert (step.recommended, step.reason, step.memory) == (2, Reason.AT_DESIRED, {})
    assert step.detail == "metric 4.4, target 5, 2 × 4.4 / 5 → 2, 2 are committed"


@pytest.mark.parametrize(
    ("firing", "metric", "reason"), [("high", 6, "CooldownScaleOut"), ("low", 2, "CooldownScaleIn")]
)
def test_a_cooldown_begins_when_the_change_was_carried_out_not_when_it_was_decided(firing, metric, reason):
    out = firing == "high"
    done = {"last_scale_out": Change(NOW - 200, 4, 8, "t")} if out else {"last_scale_in": Change(NOW - 200, 16, 8, "t")}
    state = TargetState(step_memory={"t": StepMemory(NOW - 320, 5.0 if out else -2.5, NOW - 310)}, **done)
    step = ask(metric, firing=firing, baseline=8, state=state)
    assert (step.recommended, step.reason, step.look_again_at_s) == (8, reason, NOW + 100)
    assert "100 s more" in step.detail


@pytest.mark.parametrize(("baseline", "want"), [(20, 10), (10, 5), (5, 3), (3, 2), (2, 1), (1, 0)])
def test_a_scale_in_is_gradual_at_most_half_at_once(baseline, want):
    step = ask(0, firing="low", baseline=baseline)
    assert (step.recommended, step.reason) == (want, Reason.TARGET_TRACKING)


def test_what_bounded_a_scale_in_is_told():
    bounded = {baseline: ask(2, firing="low", baseline=baseline, low=3).detail for baseline in (20, 10, 6, 4)}
    assert bounded == {
        20: "metric 2, target 5, 20 × 2 / 5 → 8; at most 50 % at once",
        10: "metric 2, target 5, 10 × 2 / 5 → 4; at most 50 % at once",
        6: "metric 2, target 5, 6 × 2 / 5 → 3",
        4: "metric 2, target 5, 4 × 2 / 5 → 2; 3 is the least",
    }


@pytest.mark.parametrize(("cooldown_s", "again_s"), [(300, 300), (0, 60)])
def test_a_change_is_looked_at_again_when_its_cooldown_ends(cooldown_s, again_s):
    policy = replace(POLICY, scale_in_cooldown_s=cooldown_s, scale_out_cooldown_s=cooldown_s)
    assert ask(2, firing="low", policy=policy).look_again_at_s == NOW + again_s
    assert ask(8, policy=policy).look_again_at_s == NOW + again_s


def test_the_count_stops_at_the_minimum():
    assert ask(0.1, firing="low", baseline=4, low=3).recommended == 3
    at_min = ask(0.1, firing="low", baseline=3, low=3)
    assert (at_min.recommended, at_min.reason, at_min.look_again_at_s) == (3, Reason.AT_MIN, None)


def test_a_metric_that_is_back_above_the_low_threshold_removes_nothing():
    step = ask(4.5, firing="low", baseline=20)
    assert (step.recommended, step.reason) == (20, Reason.UNCHANGED)


def test_a_disabled_scale_in_removes_nothing():
    policy = replace(POLICY, disable_scale_in=True)
    step = ask(0, firing="low", policy=policy)
    assert (step.recommended, step.reason) == (4, Reason.SCALE_IN_DISABLED)
    assert ask(10, policy=policy).recommended == 8


def test_a_scale_in_waits_for_the_scale_in_cooldown():
    state = carried_out(ask(4, firing="low", baseline=10), TargetState(), NOW, 10)
    for seconds, want in [(10, 8), (299, 8), (300, 7)]:
        step = ask(4, firing="low", baseline=8, state=state, now_s=NOW + seconds)
        assert step.recommended == want
        if want == 8:
            assert (step.reason, step.look_again_at_s) == (Reason.COOLDOWN_SCALE_IN, NOW + 300)


def test_any_scale_out_ends_the_scale_in_cooldown():
    state = carried_out(ask(4, firing="low", baseline=10), TargetState(), NOW, 10)
    state = replace(state, last_scale_out=Change(NOW + 5, 8, 10, "another"))
    assert ask(4, firing="low", baseline=10, state=state, now_s=NOW + 60).recommended == 8


def test_a_scale_out_does_not_wait_for_the_scale_in_cooldown():
    state = carried_out(ask(4, firing="low", baseline=10), TargetState(), NOW, 10)
    assert ask(10, baseline=8, state=state, now_s=NOW + 10).recommended == 16


def test_without_a_cooldown_a_scale_in_acts_once_per_minute():
    policy, state, count, counts = replace(POLICY, scale_in_cooldown_s=0), TargetState(), 16, []
    for look in range(8):
        now_s = NOW + 10 * look
        step = ask(0, firing="low", policy=policy, baseline=count, state=state, now_s=now_s)
        state, count = carried_out(step, state, now_s, count), step.recommended
        counts.append(count)
    assert counts == [8] * 6 + [4] * 2


def test_one_datapoint_removes_once():
    data = series(0)
    first = ask(0, firing="low", baseline=8, series=data)
    state = carried_out(first, TargetState(), NOW, 8)
    policy = replace(POLICY, scale_in_cooldown_s=20)
    again = ask(0, firing="low", policy=policy, baseline=4, series=data, state=state, now_s=NOW + 30)
    assert (again.recommended, again.reason) == (4, Reason.BREACH_ALREADY_COUNTED)


# --- nothing to do, and why --------------------------------------------------------------------------------------------


def test_between_the_thresholds_the_policy_holds():
    step = ask(4.7, firing="none")
    assert (step.recommended, step.reason) == (4, Reason.UNCHANGED)


def test_insufficient_data_changes_nothing():
    step = ask(0, alarms=alarms("none", other=AlarmState.INSUFFICIENT_DATA), baseline=8)
    assert (step.recommended, step.reason, step.detail) == (8, Reason.NO_DATA, "alarm high is INSUFFICIENT_DATA")


def test_an_alarm_that_was_not_found_changes_nothing():
    step = ask(0, alarms={})
    assert (step.recommended, step.reason, step.detail) == (4, Reason.NO_DATA, "alarm high was not found")


def test_a_policy_with_scale_in_disabled_has_nothing_to_say_against_others():
    step = ask(4.7, firing="none", policy=replace(POLICY, disable_scale_in=True))
    assert (step.recommended, step.reason) == (4, Reason.ALARM_NOT_IN_ALARM)


@pytest.mark.parametrize("firing", ["high", "low"])
@pytest.mark.parametrize("odd", [None, float("nan"), float("inf"), -3.0])
def test_a_value_that_is_no_count_changes_nothing(firing, odd):
    step = ask(odd, firing=firing)
    assert (step.recommended, step.reason, step.memory) == (4, Reason.NO_DATA, {})


def test_if_both_alarms_fire_out_wins():
    assert ask(10, firing="both").recommended == 8
    assert ask(1, firing="both").recommended == 4


@pytest.mark.parametrize("huge", [1e12, 1e300, 1.7e308])
def test_a_metric_too_huge_to_be_a_count_is_no_data(huge):
    step = ask(huge)
    assert step.reason is Reason.NO_DATA
    json.dumps(dict(step.inputs), allow_nan=False)


# --- properties --------------------------------------------------------------------------------------------------------


@st.composite
def situations(draw):
    low, high = sorted(draw(st.tuples(st.integers(0, 40), st.integers(0, 40))))
    change = st.builds(Change, st.floats(NOW - 400, NOW), st.integers(0, 40), st.integers(0, 40), st.sampled_from("tq"))
    out, down = draw(st.none() | change), draw(st.none() | change)
    memory = st.builds(StepMemory, st.floats(NOW - 400, NOW), st.floats(-5, 50), st.floats(NOW - 400, NOW))
    metric = draw(st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 100))
    readings = TrackingReadings(
        base=draw(st.sampled_from(list(BaseCount))),
        value=draw(st.sampled_from(list(MetricValue))),
        scale_in_share=draw(st.sampled_from([0.1, 0.5, 1.0])),
    )
    return metric, {
        "firing": draw(st.sampled_from(["high", "low", "both", "none"])),
        "baseline": draw(st.integers(low, high)),
        "serving": draw(st.integers(0, 40)),
        "ready": draw(st.integers(0, 40)),
        "low": low,
        "high": high,
        "policy": replace(POLICY, scale_out_cooldown_s=draw(st.sampled_from([0.0, 300.0]))),
        "readings": readings,
        "state": TargetState(
            last_scale_out=out if out and out.is_scale_out else None,
            last_scale_in=down if down and not down.is_scale_out else None,
            step_memory=draw(st.just({}) | memory.map(lambda m: {"t": m})),
        ),
    }


@given(situations())
def test_the_count_stays_within_the_bounds_and_is_the_same_each_time(situation):
    metric, facts = situation
    step = ask(metric, **facts)
    assert facts["low"] <= step.recommended <= facts["high"]
    assert step == ask(metric, **facts)
    assert bool(step.memory) == (step.recommended != facts["baseline"])
    if facts["firing"] in ("high", "both"):
        assert step.recommended >= facts["baseline"]
    if facts["firing"] == "low":
        assert step.recommended <= facts["baseline"]
    json.dumps(dict(step.inputs), allow_nan=False)


@given(situations())
def test_without_data_or_without_an_alarm_nothing_ever_changes(situation):
    metric, facts = situation
    assert ask(None, **facts).recommended == facts["baseline"]
    assert ask(metric, **(facts | {"firing": "none"})).recommended == facts["baseline"]


@given(one=st.floats(0, 1e4), other=st.floats(0, 1e4), serving=st.integers(0, 50))
def test_more_load_never_asks_for_fewer(one, other, serving):
    less, more = sorted((one, other))
    for firing in ("high", "low"):
        a, b = (ask(m, firing=firing, baseline=serving) for m in (less, more))
        assert a.recommended <= b.recommended


@given(metric=st.floats(5.001, 500), serving=st.integers(1, 50))
def test_after_a_scale_out_the_same_load_is_at_or_below_the_target(metric, serving):
    count = ask(metric, baseline=serving, high=10**6).recommended
    assert serving * metric / count <= 5.0 * (1 + 1e-6)
    assert count == max(serving, math.ceil(serving * metric / 5.0 - 1e-9))
