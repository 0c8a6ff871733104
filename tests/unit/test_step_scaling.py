"""Step scaling against Application Auto Scaling's own worked examples, and against the rules that we add to them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickstep.model.observation import Alarm, AlarmState, Datapoint, Series
from quickstep.model.state import Change, StepMemory, TargetState
from quickstep.model.targets import AdjustmentType, AlarmBinding, Statistic, StepAdjustment, StepScalingPolicy
from quickstep.policy.step_scaling import (
    StepReadings,
    recommend,
    validate_steps,
)
from quickstep.reasons import Reason

CHANGE = AdjustmentType.CHANGE_IN_CAPACITY
PERCENT = AdjustmentType.PERCENT_CHANGE_IN_CAPACITY
EXACT = AdjustmentType.EXACT_CAPACITY
NOW = 10_000.0
AAS_ONLY = StepReadings(doubled_breach_counts=False)

# AWS's notebook for SageMaker step scaling: ConcurrentRequestsPerModel, out above 20, in below 10, cooldown 300 s.
NOTEBOOK_OUT = ((0, 20, 1), (20, None, 2))
NOTEBOOK_IN = ((-20, 0, -1), (None, -20, -2))


def rows(*table):
    return tuple(StepAdjustment(*row) for row in table)


def policy(*table, kind=CHANGE, above=True, threshold=20.0, cooldown_s=300.0, magnitude=0, name="p", alarms=None):
    bound = alarms or (AlarmBinding("out" if above else "in", threshold, above),)
    return StepScalingPolicy(name, kind, rows(*table), bound, cooldown_s, magnitude)


def alarm(threshold=20.0, above=True, *, state=AlarmState.ALARM, since_s=NOW - 30, periods=1, **more):
    return Alarm("out" if above else "in", state, since_s, threshold, above, evaluation_periods=periods, **more)


def series(*values, newest_s=NOW - 10, period_s=10.0):
    first = newest_s - period_s * (len(values) - 1)
    return Series(period_s, tuple(Datapoint(first + period_s * i, maximum=v, average=v) for i, v in enumerate(values)))


def ask(p, metric, *, baseline=1, on=None, state=None, now_s=NOW, low=0, high=1000, readings=None, data=None):
    on = on or [alarm(p.alarms[0].threshold, p.alarms[0].above, since_s=now_s - 30)]
    data = data if data is not None or metric is None else series(metric, newest_s=now_s - 10)
    return recommend(
        p,
        baseline=baseline,
        series=data,
        alarms={a.name: a for a in on},
        state=state or TargetState(),
        now_s=now_s,
        min_capacity=low,
        max_capacity=high,
        readings=readings or StepReadings(),
    )


def carried_out(step, state, now_s, before, cause="p"):
    """The state after `step` was recorded and carried out, as the step's docstring asks for."""
    memory = {**state.step_memory, **step.memory.get("step_memory", {})}
    change = Change(now_s, before, step.recommended, cause)
    field = "last_scale_out" if step.recommended > before else "last_scale_in"
    return replace(state, step_memory=memory, **({field: change} if step.recommended != before else {}))


# --- which row ---------------------------------------------------------------------------------------------------------


# AWS's StepAdjustment documentation: an alarm with a threshold of 50.
@pytest.mark.parametrize(("metric", "fires"), [(49.9, False), (50, True), (59.9, True), (60, False)])
def test_bounds_0_and_10_fire_from_50_to_below_60(metric, fires):
    step = ask(policy((0, 10, 1), threshold=50), metric, on=[alarm(50)])
    assert (step.recommended == 2) is fires


@pytest.mark.parametrize(("metric", "fires"), [(40, False), (40.1, True), (50, True), (50.1, False)])
def test_bounds_minus_10_and_0_fire_above_40_up_to_50(metric, fires):
    low = alarm(50, above=False)
    step = ask(policy((-10, 0, -1), threshold=50, above=False), metric, baseline=5, on=[low])
    assert (step.recommended == 4) is fires


def test_float_noise_does_not_move_a_metric_across_a_bound():
    step = ask(policy((0, 0.2, 1), (0.2, None, 2), threshold=0.1), 0.3, on=[alarm(0.1)])
    assert step.recommended == 3  # 0.3 − 0.1 is 0.19999999999999998 to a computer


def test_a_breach_of_nothing_has_no_sign():
    step = ask(policy(*NOTEBOOK_OUT), 20 - 1e-12, on=[alarm(20)])
    assert step.detail == "metric 20, threshold 20, breach 0, step [0, 20): +1"


def test_the_sign_of_the_breach_tells_which_bound_is_inclusive_whatever_the_alarm_says():
    table = policy((None, -10, -2), (-10, 0, -1), (0, 10, 1), (10, None, 2), threshold=50)
    got = [ask(table, metric, baseline=5, on=[alarm(50)]).recommended for metric in (60, 50, 40.1, 40)]
    assert got == [7, 6, 4, 3]


# --- worked examples ---------------------------------------------------------------------------------------------------


def test_the_user_guides_example_goes_10_11_14_13_10():
    out = policy((0, 10, 0), (10, 20, 10), (20, None, 30), kind=PERCENT, threshold=50, cooldown_s=0, name="out")
    low = policy((-10, 0, 0), (-20, -10, -10), (None, -20, -30), kind=PERCENT, threshold=50, above=False, cooldown_s=0)
    count, counts = 10, []
    for minute, (table, metric) in enumerate([(out, 60), (out, 70), (low, 40), (low, 30)]):
        on = [alarm(50, table is out, since_s=NOW + 60 * minute - 1)]
        count = ask(table, metric, baseline=count, on=on, now_s=NOW + 60 * minute).recommended
        counts.append(count)
    assert counts == [11, 14, 13, 10]


@pytest.mark.parametrize("metric", [40.1, 50, 55, 59.9])
def test_the_user_guides_example_keeps_the_count_between_40_and_60(metric):
    table = (
        ((0, 10, 0), (10, 20, 10), (20, None, 30)) if metric >= 50 else ((-10, 0, 0), (-20, -10, -10), (None, -20, -30))
    )
    above = metric >= 50
    step = ask(policy(*table, kind=PERCENT, threshold=50, above=above), metric, baseline=10, on=[alarm(50, above)])
    assert (step.recommended, step.reason, step.memory) == (10, Reason.AT_DESIRED, {})


@pytest.mark.parametrize(
    ("metric", "baseline", "want"),
    [(20, 1, 2), (25, 1, 2), (39.9, 1, 2), (40, 1, 3), (47, 1, 3), (100_000, 1, 3), (20, 7, 8)],
)
def test_the_notebooks_scale_out_alarm(metric, baseline, want):
    assert ask(policy(*NOTEBOOK_OUT), metric, baseline=baseline, on=[alarm(20)]).recommended == want


@pytest.mark.parametrize(("metric", "want"), [(10, 4), (9, 4), (5, 4), (0, 4)])
def test_the_notebooks_scale_in_alarm(metric, want):
    low = policy(*NOTEBOOK_IN, threshold=10, above=False)
    assert ask(low, metric, baseline=5, on=[alarm(10, False)]).recommended == want


def test_the_notebooks_lowest_row_needs_a_breach_of_20():
    low = policy(*NOTEBOOK_IN, threshold=30, above=False)
    assert [ask(low, m, baseline=5, on=[alarm(30, False)]).recommended for m in (10.1, 10, 9)] == [4, 3, 3]


def test_the_detail_reads_as_the_design_says():
    step = ask(policy(*NOTEBOOK_OUT), 47, on=[alarm(20)])
    assert step.detail == "metric 47, threshold 20, breach 27, step [20, ∞): +2"
    assert step.inputs == {
        "policy": "p",
        "alarm": "out",
        "metric": 47,
        "threshold": 20,
        "breach": 27,
        "step": "[20, ∞): +2",
        "base": 1,
        "credit": 0,
    }
    json.dumps(step.inputs)


@pytest.mark.parametrize(
    ("p", "metric", "detail"),
    [
        (policy(*NOTEBOOK_OUT), 25, "metric 25, threshold 20, breach 5, step [0, 20): +1"),
        (policy(*NOTEBOOK_IN, threshold=30, above=False), 9, "metric 9, threshold 30, breach -21, step (-∞, -20]: -2"),
        (
            policy(*NOTEBOOK_IN, threshold=30, above=False),
            29.5,
            "metric 29.5, threshold 30, breach -0.5, step (-20, 0]: -1",
        ),
        (policy((0, None, 25), kind=PERCENT), 21, "metric 21, threshold 20, breach 1, step [0, ∞): +25 %"),
        (policy((0, None, 9), kind=EXACT), 21, "metric 21, threshold 20, breach 1, step [0, ∞): =9"),
    ],
)
def test_every_kind_of_row_is_told_in_its_own_words(p, metric, detail):
    on = [alarm(p.alarms[0].threshold, p.alarms[0].above)]
    assert ask(p, metric, baseline=4, on=on).detail == detail


# --- cooldown: credit, interruption, blocking --------------------------------------------------------------------------


def test_plus_2_and_then_a_step_of_plus_3_adds_only_one_more():
    p = policy((0, 20, 2), (20, None, 3))
    first = ask(p, 30, baseline=10)
    state = carried_out(first, TargetState(), NOW, 10)
    second = ask(p, 55, baseline=12, state=state, now_s=NOW + 60)
    assert (first.recommended, second.recommended) == (12, 13)
    assert second.detail.endswith("step [20, ∞): +3; 2 already added in this cooldown, so +1")
    assert (second.inputs["base"], second.inputs["credit"]) == (10, 2)


def test_the_credit_needs_no_memory_beside_the_recorded_change():
    state = TargetState(last_scale_out=Change(NOW - 60, 10, 12, "p"))
    assert ask(policy((0, None, 3)), 99, baseline=12, state=state).recommended == 13


def test_a_step_that_adds_no_more_than_what_is_credited_waits_for_the_cooldown():
    state = TargetState(last_scale_out=Change(NOW - 60, 10, 12, "p"))
    step = ask(policy((0, None, 2)), 99, baseline=12, state=state)
    assert (step.recommended, step.reason, step.look_again_at_s) == (12, Reason.COOLDOWN_SCALE_OUT, NOW + 240)
    assert step.memory == {}


def test_another_policys_scale_out_is_not_credited():
    state = TargetState(last_scale_out=Change(NOW - 60, 10, 12, "another"))
    assert ask(policy((0, None, 3)), 99, baseline=12, state=state).recommended == 15


@pytest.mark.parametrize(("age_s", "want"), [(0, 13), (299.9, 13), (300, 15), (301, 15)])
def test_the_credit_lasts_as_long_as_the_cooldown(age_s, want):
    state = TargetState(last_scale_out=Change(NOW - age_s, 10, 12, "p"))
    assert ask(policy((0, None, 3)), 99, baseline=12, state=state).recommended == want


def test_credits_add_up_over_one_cooldown():
    """+2, then a row of +3 (one more), then a row of +5: five in all, not three and another four."""
    p, state, count, counts = policy((0, 20, 2), (20, 40, 3), (40, None, 5)), TargetState(), 10, []
    for minute, metric in enumerate([30, 50, 50, 70, 70]):
        now_s = NOW + 60 * minute
        step = ask(p, metric, baseline=count, state=state, now_s=now_s, readings=AAS_ONLY)
        state, count = carried_out(step, state, now_s, count), step.recommended
        counts.append(count)
    assert counts == [12, 13, 13, 15, 15]


def test_credits_of_percentages_add_up_too():
    p, state, count, counts = policy((0, 20, 20), (20, 40, 30), (40, None, 50), kind=PERCENT), TargetState(), 10, []
    for minute, metric in enumerate([30, 50, 70, 70]):
        now_s = NOW + 60 * minute
        step = ask(p, metric, baseline=count, state=state, now_s=now_s, readings=AAS_ONLY)
        state, count = carried_out(step, state, now_s, count), step.recommended
        counts.append(count)
    assert counts == [12, 13, 15, 15]


def test_what_is_decided_but_not_yet_carried_out_is_credited():
    p = policy((0, 20, 2), (20, None, 3))
    state = TargetState(step_memory=ask(p, 30, baseline=10).memory["step_memory"])
    assert ask(p, 55, baseline=12, state=state, now_s=NOW + 30, readings=AAS_ONLY).recommended == 13


@pytest.mark.parametrize(("table", "want"), [((0, None, 2), 12), ((None, 0, -1), 12)])
def test_a_cooldown_begins_when_the_change_was_carried_out_not_when_it_was_decided(table, want):
    """Decided 310 s ago, carried out 200 s ago, once the instances were there."""
    p = policy(table, alarms=(AlarmBinding("out", 20, True), AlarmBinding("in", 20, False)))
    state = TargetState(
        last_scale_out=Change(NOW - 200, 10, 12, "p"), step_memory={"p": StepMemory(NOW - 320, 5.0, NOW - 310)}
    )
    metric, firing = (25, alarm(20)) if table[2] > 0 else (5, alarm(20, False))
    step = ask(p, metric, baseline=12, state=state, on=[firing])
    assert (step.recommended, step.look_again_at_s) == (want, NOW + 100)


def test_a_scale_out_that_was_answered_holds_a_scale_in_though_another_policy_scaled_out_later():
    p = policy((None, 0, -1), (0, None, 2), alarms=(AlarmBinding("out", 20, True), AlarmBinding("in", 20, False)))
    state = TargetState(
        last_scale_out=Change(NOW - 50, 10, 14, "another"), step_memory={"p": StepMemory(NOW - 110, 5.0, NOW - 100)}
    )
    step = ask(p, 5, baseline=14, state=state, on=[alarm(20, False)])
    assert (step.recommended, step.look_again_at_s) == (14, NOW + 200)


def test_an_exact_capacity_may_still_grow_in_a_cooldown():
    p = policy((0, 20, 5), (20, None, 8), kind=EXACT)
    state = carried_out(ask(p, 30, baseline=2), TargetState(), NOW, 2)
    assert ask(p, 55, baseline=5, state=state, now_s=NOW + 60).recommended == 8
    assert ask(p, 30, baseline=5, state=state, now_s=NOW + 60).recommended == 5


def test_a_scale_out_does_not_wait_for_a_scale_in_cooldown():
    both = (AlarmBinding("out", 20, True), AlarmBinding("in", 20, False))
    p = policy((None, -10, -1), (-10, 0, 0), (0, None, 2), alarms=both)
    low = ask(p, 5, baseline=5, on=[alarm(20, False)])
    state = carried_out(low, TargetState(), NOW, 5)
    out = ask(p, 30, baseline=4, on=[alarm(20)], state=state, now_s=NOW + 10)
    assert (low.recommended, out.recommended, out.reason) == (4, 6, Reason.STEP_ADJUSTMENT)


def test_a_scale_in_waits_for_the_end_of_its_own_policys_cooldown():
    p = policy(*NOTEBOOK_IN, threshold=10, above=False)
    state = carried_out(ask(p, 3, baseline=5), TargetState(), NOW, 5)
    for seconds, want in [(60, 4), (299, 4), (300, 3)]:
        step = ask(p, 3, baseline=4, state=state, now_s=NOW + seconds)
        assert step.recommended == want
        if want == 4:
            assert (step.reason, step.look_again_at_s) == (Reason.COOLDOWN_SCALE_IN, NOW + 300)


def test_a_scale_in_waits_for_the_cooldown_of_its_own_policys_scale_out():
    both = (AlarmBinding("out", 20, True), AlarmBinding("in", 20, False))
    p = policy((None, 0, -1), (0, None, 2), alarms=both)
    state = TargetState(last_scale_out=Change(NOW - 100, 3, 5, "p"))
    step = ask(p, 5, baseline=5, on=[alarm(20, False)], state=state)
    assert (step.recommended, step.reason, step.look_again_at_s) == (5, Reason.COOLDOWN_SCALE_IN, NOW + 200)


@pytest.mark.parametrize(("any_activity", "want"), [(False, 4), (True, 5)])
def test_whether_other_policies_hold_a_scale_in_is_a_switch(any_activity, want):
    state = TargetState(last_scale_out=Change(NOW - 100, 3, 5, "another"))
    p = policy(*NOTEBOOK_IN, threshold=10, above=False)
    assert (
        ask(p, 3, baseline=5, state=state, readings=StepReadings(any_activity_blocks_scale_in=any_activity)).recommended
        == want
    )


def test_any_scale_out_ends_a_scale_in_cooldown():
    p = policy(*NOTEBOOK_IN, threshold=10, above=False)
    state = carried_out(ask(p, 3, baseline=5), TargetState(), NOW, 5)
    interrupted = replace(state, last_scale_out=Change(NOW + 20, 4, 6, "another"))
    assert ask(p, 3, baseline=6, state=interrupted, now_s=NOW + 60).recommended == 5
    earlier = replace(state, last_scale_out=Change(NOW - 20, 4, 5, "another"))
    assert ask(p, 3, baseline=4, state=earlier, now_s=NOW + 60).recommended == 4


# --- one breach counts once --------------------------------------------------------------------------------------------


def counts_over(p, metrics, *, every_s=10, readings=None, since_s=NOW - 30, start=1):
    """Committed counts when the policy is asked once per new datapoint and everything is carried out at once."""
    state, count, counts = TargetState(), start, []
    for i, metric in enumerate(metrics):
        now_s = NOW + every_s * i
        on = [alarm(20, since_s=since_s)]
        step = ask(p, metric, baseline=count, state=state, now_s=now_s, on=on, readings=readings)
        state, count = carried_out(step, state, now_s, count), step.recommended
        counts.append(count)
    return counts


def test_a_lasting_breach_counts_once_per_cooldown():
    counts = counts_over(policy((0, None, 1), cooldown_s=60), [25] * 13)
    assert counts == [2] * 6 + [3] * 6 + [4]


def test_a_lasting_breach_counts_once_per_minute_without_a_cooldown():
    counts = counts_over(policy((0, None, 1), cooldown_s=0), [25] * 13)
    assert counts == [2] * 6 + [3] * 6 + [4]


def test_a_new_transition_to_alarm_counts_at_once_without_a_cooldown():
    p = policy((0, None, 1), cooldown_s=0)
    state = carried_out(ask(p, 25), TargetState(), NOW, 1)
    for since_s, want in [(NOW - 30, 2), (NOW + 15, 3)]:
        step = ask(p, 25, baseline=2, state=state, now_s=NOW + 20, on=[alarm(20, since_s=since_s)])
        assert step.recommended == want


def test_without_a_cooldown_a_scale_in_counts_once_per_minute():
    p = policy(*NOTEBOOK_IN, threshold=10, above=False, cooldown_s=0)
    state = carried_out(ask(p, 3, baseline=5), TargetState(), NOW, 5)
    held = ask(p, 3, baseline=4, state=state, now_s=NOW + 50, on=[alarm(10, False)])
    assert (held.recommended, held.reason, held.look_again_at_s) == (4, Reason.BREACH_ALREADY_COUNTED, NOW + 60)
    assert ask(p, 3, baseline=4, state=state, now_s=NOW + 60, on=[alarm(10, False)]).recommended == 3


@pytest.mark.parametrize("cooldown_s", [0, 5, 300])
def test_one_datapoint_is_never_counted_twice(cooldown_s):
    p = policy((0, None, 1), cooldown_s=cooldown_s)
    data = series(25)
    state = carried_out(ask(p, None, data=data), TargetState(), NOW, 1)
    later = ask(p, None, baseline=2, data=data, state=state, now_s=NOW + 100, on=[alarm(20, since_s=NOW + 1)])
    assert (later.recommended, later.reason) == (2, Reason.BREACH_ALREADY_COUNTED)
    assert "already answered" in later.detail


def test_a_breach_already_counted_says_when_it_counts_again():
    p = policy((0, None, 1))
    state = carried_out(ask(p, 25), TargetState(), NOW, 1)
    step = ask(p, 25, baseline=2, state=state, now_s=NOW + 40)
    assert (step.recommended, step.reason, step.look_again_at_s) == (2, Reason.BREACH_ALREADY_COUNTED, NOW + 300)
    assert step.detail.endswith("counts again in 260 s")
    assert step.memory == {}


@pytest.mark.parametrize(
    ("metric", "want"),
    [(26, 2), (29.9, 2), (30, 3), (60, 3)],  # answered: breach 5; doubled: breach 10
)
@pytest.mark.parametrize("cooldown_s", [0, 300])
def test_a_doubled_breach_counts_at_once(metric, want, cooldown_s):
    p = policy((0, None, 1), cooldown_s=cooldown_s)
    state = carried_out(ask(p, 25), TargetState(), NOW, 1)
    assert ask(p, metric, baseline=2, state=state, now_s=NOW + 10, on=[alarm(20)]).recommended == want


def test_a_doubled_breach_must_double_again_to_count_again():
    counts = counts_over(policy((0, None, 1)), [25, 30, 30, 39, 40, 59, 60])
    assert counts == [2, 3, 3, 3, 4, 4, 5]


def test_a_doubled_breach_is_a_switch():
    assert counts_over(policy((0, None, 1)), [25, 30, 60, 900], readings=AAS_ONLY) == [2, 2, 2, 2]


def test_a_breach_of_nothing_is_not_doubled_by_nothing():
    assert counts_over(policy((0, None, 1)), [20, 20, 20]) == [2, 2, 2]


def test_a_doubled_breach_that_reaches_a_larger_row_is_credited_as_in_aas():
    assert counts_over(policy((0, 20, 2), (20, None, 3)), [30, 99], start=10) == [12, 13]


def test_a_doubled_breach_below_the_threshold_does_not_end_a_scale_in_cooldown():
    p = policy((None, 0, -1), threshold=50, above=False)
    state = carried_out(ask(p, 45, baseline=5), TargetState(), NOW, 5)
    assert ask(p, 5, baseline=4, state=state, now_s=NOW + 60).recommended == 4


def test_memory_comes_with_a_change_only_and_names_its_policy():
    p = policy((0, None, 1), name="mine")
    step = ask(p, 25)
    assert step.memory == {"step_memory": {"mine": StepMemory(NOW - 10, 5.0, NOW)}}
    at_max = ask(p, 25, baseline=4, high=4)
    assert (at_max.recommended, at_max.memory) == (4, {})


@pytest.mark.parametrize(("cooldown_s", "again_s"), [(300, 300), (20, 20), (0, 60)])
def test_a_change_is_looked_at_again_when_its_breach_counts_again(cooldown_s, again_s):
    assert ask(policy((0, None, 1), cooldown_s=cooldown_s), 25).look_again_at_s == NOW + again_s


def test_memory_that_was_not_kept_lets_the_step_ask_again():
    p = policy((0, None, 1))
    assert ask(p, 25).recommended == ask(p, 25, now_s=NOW + 10).recommended == 2


def test_memory_survives_the_states_json():
    p = policy((0, None, 1))
    state = carried_out(ask(p, 25), TargetState(), NOW, 1)
    again = TargetState.from_dict(json.loads(json.dumps(state.to_dict())))
    assert ask(p, 25, baseline=2, state=again, now_s=NOW + 10).reason is Reason.BREACH_ALREADY_COUNTED


# --- which datapoints --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "want"), [(Statistic.AVERAGE, 3), (Statistic.MINIMUM, 2), (Statistic.MAXIMUM, 5)]
)  # values 25, 30, 60 → mean 38.33, least 25, most 60
def test_the_aggregation_is_applied_to_the_alarms_latest_datapoints(how, want):
    p = replace(policy((0, 10, 1), (10, 30, 2), (30, None, 4)), metric_aggregation=how)
    step = ask(p, None, data=series(500, 25, 30, 60), on=[alarm(20, periods=3)])
    assert step.recommended == want


def test_the_alarms_statistic_picks_the_value():
    data = Series(10.0, (Datapoint(NOW - 10, average=22, maximum=50),))
    p = policy(*NOTEBOOK_OUT)
    assert ask(p, None, data=data, on=[alarm(20, statistic="Maximum")]).recommended == 3
    assert ask(p, None, data=data, on=[alarm(20, statistic="Average")]).recommended == 2


def test_a_datapoint_whose_period_is_not_over_is_not_used():
    data = Series(10.0, (Datapoint(NOW - 15, maximum=25), Datapoint(NOW - 5, maximum=99)))
    assert ask(policy(*NOTEBOOK_OUT), None, data=data).recommended == 2


def test_ten_second_datapoints_are_put_together_to_the_alarms_minutes():
    minute = NOW // 60 * 60
    values = [(minute - 120, 99), (minute - 60, 22), (minute - 10, 25), (minute, 99)]
    data = Series(10.0, tuple(Datapoint(at_s, maximum=v) for at_s, v in values))
    step = ask(policy(*NOTEBOOK_OUT), None, data=data, on=[alarm(20, period_s=60.0)], now_s=minute + 30)
    assert (step.inputs["metric"], step.recommended) == (25, 2)
    assert step.memory["step_memory"]["p"].datapoint_s == minute - 60


def test_sums_are_summed_when_they_are_put_together():
    minute = NOW // 60 * 60
    data = Series(10.0, tuple(Datapoint(minute - 60 + 10 * i, average=2.0) for i in range(6)))
    wake = alarm(1, period_s=60.0, statistic="Sum")
    assert ask(policy((0, None, 1), threshold=1), None, data=data, on=[wake], now_s=minute).inputs["metric"] == 12


@pytest.mark.parametrize("odd", [float("nan"), -1.0, float("inf"), float("-inf"), None])
def test_a_value_that_is_no_count_is_not_known(odd):
    p = policy(*NOTEBOOK_OUT)
    assert ask(p, None, data=series(25, odd), on=[alarm(20, periods=2)]).inputs["metric"] == 25
    nothing = ask(p, None, data=series(odd, odd), on=[alarm(20, periods=2)])
    assert (nothing.recommended, nothing.reason, nothing.memory) == (1, Reason.NO_DATA, {})


@pytest.mark.parametrize("huge", [1e15, 1e300, 1.7e308])
def test_a_metric_too_huge_to_be_a_count_is_no_data(huge):
    step = ask(policy(*NOTEBOOK_OUT), None, data=series(huge, huge, huge), on=[alarm(20, periods=3)])
    assert (step.recommended, step.reason) == (1, Reason.NO_DATA)
    json.dumps(step.inputs, allow_nan=False)


@pytest.mark.parametrize(("age_s", "known"), [(10, True), (130, True), (131, False), (3600, False)])
def test_what_an_alarm_saw_long_ago_is_no_data(age_s, known):
    step = ask(policy(*NOTEBOOK_OUT), None, data=series(25, newest_s=NOW - age_s))
    assert (step.reason is Reason.STEP_ADJUSTMENT) is known


# --- nothing to do, and why --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [AlarmState.OK, AlarmState.INSUFFICIENT_DATA])
def test_an_alarm_that_does_not_fire_changes_nothing(state):
    step = ask(policy(*NOTEBOOK_OUT), 99, on=[alarm(20, state=state)])
    assert (step.recommended, step.reason, step.detail) == (1, Reason.ALARM_NOT_IN_ALARM, f"alarm out is {state}")


def test_an_alarm_that_was_not_found_changes_nothing():
    step = recommend(
        policy(*NOTEBOOK_OUT),
        baseline=1,
        series=series(99),
        alarms={},
        state=TargetState(),
        now_s=NOW,
        min_capacity=0,
        max_capacity=9,
    )
    assert (step.recommended, step.reason, step.detail) == (1, Reason.ALARM_NOT_IN_ALARM, "alarm out was not found")


def test_a_policy_without_an_alarm_says_so():
    unbound = StepScalingPolicy("p", CHANGE, rows(*NOTEBOOK_OUT), ())
    assert ask(unbound, 99, on=[alarm(20)]).reason is Reason.NOT_CONFIGURED


@pytest.mark.parametrize("data", [None, Series(10.0), Series(10.0, (Datapoint(NOW - 10, average=5.0),))])
def test_no_data_is_not_low_load(data):
    low = policy(*NOTEBOOK_IN, threshold=10, above=False)
    step = ask(low, None, baseline=5, data=data)
    assert (step.recommended, step.reason) == (5, Reason.NO_DATA)


def test_a_breach_that_no_row_holds_changes_nothing():
    step = ask(policy((5, None, 1)), 22)
    assert (step.recommended, step.reason) == (1, Reason.NO_STEP_MATCHES)
    assert step.detail == "metric 22, threshold 20, breach 2: no step holds it"


def test_at_the_maximum_and_at_the_minimum_nothing_is_due():
    top = ask(policy(*NOTEBOOK_OUT), 99, baseline=4, high=4)
    bottom = ask(policy(*NOTEBOOK_IN, threshold=10, above=False), 3, baseline=2, low=2)
    assert [(s.recommended, s.reason, s.look_again_at_s) for s in (top, bottom)] == [
        (4, Reason.AT_MAX, None),
        (2, Reason.AT_MIN, None),
    ]


@pytest.mark.parametrize("kind", [CHANGE, PERCENT])
def test_nothing_can_be_removed_from_zero(kind):
    step = ask(policy((None, 0, -1), kind=kind, threshold=10, above=False), 3, baseline=0)
    assert (step.recommended, step.reason) == (0, Reason.AT_MIN)


def test_a_step_ends_at_the_bound_it_would_cross():
    assert ask(policy((0, None, 5)), 99, baseline=2, high=4).recommended == 4
    low = policy((None, 0, -5), threshold=10, above=False)
    assert ask(low, 3, baseline=4, low=2).recommended == 2


def test_a_step_never_turns_a_count_outside_the_bounds_around():
    assert ask(policy((0, None, 1)), 99, baseline=9, high=4).recommended == 9
    assert ask(policy((None, 0, -1), threshold=10, above=False), 3, baseline=1, low=2).recommended == 1


# --- several alarms ----------------------------------------------------------------------------------------------------

BOTH = (AlarmBinding("out", 20, True), AlarmBinding("in", 30, False))


def disagree(**more):
    """Metric 25: above 20, so the one alarm asks for more; below 30, so the other asks for less."""
    p = policy((None, 0, -1), (0, None, 1), alarms=BOTH)
    return ask(p, 25, baseline=5, on=[alarm(30, False), alarm(20)], **more)


def test_of_two_alarms_that_disagree_the_one_that_asks_for_more_wins():
    assert disagree().recommended == 6


def test_it_wins_also_while_its_breach_is_already_answered_or_at_the_maximum():
    answered = TargetState(step_memory={"p": StepMemory(NOW - 40, 5.0, NOW - 30)})
    assert (disagree(state=answered).recommended, disagree(state=answered).reason) == (5, Reason.BREACH_ALREADY_COUNTED)
    assert (disagree(high=5).recommended, disagree(high=5).reason) == (5, Reason.AT_MAX)


def test_of_two_alarms_that_ask_for_less_the_larger_count_wins():
    two = (AlarmBinding("in", 30, False), AlarmBinding("idle", 10, False))
    p = policy((None, -20, -3), (-20, 0, -1), alarms=two)
    idle = replace(alarm(10, False), name="idle")
    assert ask(p, 5, baseline=9, on=[alarm(30, False), idle]).recommended == 8


def test_of_two_alarms_that_ask_for_more_the_larger_count_wins():
    two = (AlarmBinding("out", 20, True), AlarmBinding("worse", 40, True))
    p = policy((0, 20, 1), (20, None, 4), alarms=two)
    worse = replace(alarm(40), name="worse")
    step = ask(p, 50, on=[worse, alarm(20)])
    assert (step.recommended, step.inputs["alarm"]) == (5, "out")


def test_an_alarm_without_data_holds_a_scale_in():
    p = policy((None, 0, -1), (0, None, 1), alarms=BOTH)
    data = Series(10.0, (Datapoint(NOW - 300, maximum=5.0),))
    step = ask(p, None, baseline=5, data=data, on=[alarm(30, False, periods=90), alarm(20)])
    assert (step.recommended, step.reason) == (5, Reason.NO_DATA)


# --- properties --------------------------------------------------------------------------------------------------------

finite = st.floats(0, 1e6, allow_nan=False)
anything = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@st.composite
def scale_out_tables(draw):
    """A table over [0, ∞) whose adjustments never fall."""
    bounds = sorted(draw(st.sets(st.integers(1, 200), max_size=4)))
    adjustments = sorted(draw(st.lists(st.integers(0, 50), min_size=len(bounds) + 1, max_size=len(bounds) + 1)))
    return tuple(zip([0, *bounds], [*bounds, None], adjustments, strict=True))


@given(
    table=scale_out_tables(), kind=st.sampled_from([CHANGE, PERCENT]), one=finite, other=finite, base=st.integers(0, 50)
)
def test_more_load_never_asks_for_fewer(table, kind, one, other, base):
    validate_steps(rows(*table), kind)
    p = policy(*table, kind=kind)
    less, more = sorted((one, other))
    assert ask(p, less, baseline=base, high=60).recommended <= ask(p, more, baseline=base, high=60).recommended


@st.composite
def situations(draw):
    both = (AlarmBinding("out", 20, True), AlarmBinding("in", 10, False))
    kind = draw(st.sampled_from(list(AdjustmentType)))
    low, high = sorted(draw(st.tuples(st.integers(0, 30), st.integers(0, 30))))
    amounts = st.integers(0, 40) if kind is EXACT else st.integers(-150, 150)
    table = ((None, -5, draw(amounts)), (-5, 0, draw(amounts)), (0, 10, draw(amounts)), (10, None, draw(amounts)))
    p = policy(
        *table,
        kind=kind,
        alarms=both,
        cooldown_s=draw(st.sampled_from([0, 60, 300])),
        magnitude=draw(st.integers(0, 3)),
    )
    baseline = draw(st.integers(low, high))
    states = st.sampled_from(list(AlarmState))
    change = st.builds(
        Change, st.floats(NOW - 400, NOW), st.integers(0, 30), st.integers(0, 30), st.sampled_from(["p", "q"])
    )
    out, low_change = draw(st.none() | change), draw(st.none() | change)
    memory = st.builds(StepMemory, st.floats(NOW - 400, NOW), st.floats(-50, 50), st.floats(NOW - 400, NOW))
    state = TargetState(
        last_scale_out=out if out and out.is_scale_out else None,
        last_scale_in=low_change if low_change and not low_change.is_scale_out else None,
        step_memory=draw(st.just({}) | memory.map(lambda m: {"p": m})),
    )
    on = [alarm(20, state=draw(states), periods=3), alarm(10, False, state=draw(states), periods=3)]
    data = series(*draw(st.lists(anything, min_size=1, max_size=6)))
    return p, {"baseline": baseline, "low": low, "high": high, "state": state, "on": on, "data": data}


@given(situations())
def test_the_count_stays_within_the_bounds_and_is_the_same_each_time(situation):
    p, facts = situation
    step = ask(p, None, **facts)
    assert facts["low"] <= step.recommended <= facts["high"]
    assert step == ask(p, None, **facts)
    assert bool(step.memory) == (step.recommended != facts["baseline"])
    assert (step.reason is Reason.STEP_ADJUSTMENT) == (step.recommended != facts["baseline"])
    json.dumps(dict(step.inputs), allow_nan=False)


@given(situations())
def test_without_data_or_without_an_alarm_nothing_ever_changes(situation):
    p, facts = situation
    unknown = Series(10.0, tuple(Datapoint(d.at_s) for d in facts["data"].points))
    calm = [replace(a, state=AlarmState.OK) for a in facts["on"]]
    for changed in ({"data": unknown}, {"data": Series(10.0)}, {"on": calm}):
        assert ask(p, None, **(facts | changed)).recommended == facts["baseline"]
