"""The forecast floor: there before the hour, kept until its end, never below what is wanted, silent when it is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickstep.model.forecast import HOUR_S, Forecast
from quickstep.model.observation import AlarmState
from quickstep.model.targets import PredictivePolicy
from quickstep.policy.forecast_floor import FEWEST_JUDGED_H, LOOK_S, STALE_S, capacity_for, most_capacity
from quickstep.policy.pipeline import decide
from quickstep.reasons import Reason
from tests.unit.scenes import DEMAND, NOW_S, STEPS, decided, seen, stage, steady, target, totals

AHEAD = PredictivePolicy("ahead", 5.0, (), 1.0, scales=True)
LEAD_S = 450.0
GOOD = {"hours": 24, "loss": 0.2, "persistence_loss": 1.0, "quantile": 0.5}


def made(*loads: float | None, **fields) -> Forecast:
    """A forecast of `loads` for the hour that begins at NOW_S and those after it, made a minute before."""
    fields = GOOD | {"load_per_capacity": 5.0, "lead_s": LEAD_S, "due_s": NOW_S + 1800.0} | fields
    at_s, due_s = fields.pop("learned_at_s", NOW_S - 60.0), fields.pop("due_s")
    return Forecast(at_s, due_s, NOW_S, tuple(loads), **fields)


def floor(forecast: Forecast | None, *, load=5.0, copies=1, policies=(DEMAND, AHEAD), goal=None, into_s: float = 0.0):
    """The decision and its forecast step `into_s` after NOW_S, at a steady load on `copies` copies."""
    now_s = NOW_S + into_s
    goal = goal or target(policies=policies)
    state = steady(copies, forecasts={} if forecast is None else {"ahead": forecast}, last_look_s=now_s - 10.0)
    found = decide(goal, seen(totals([load] * 40, copies, now_s=now_s), copies, now_s=now_s), state, now_s)
    return found, stage(found, "forecast")


@pytest.mark.parametrize(
    ("begins_s", "buffer_s", "want"),
    [
        (LEAD_S + LOOK_S + 1, 300.0, 1),  # not yet
        (LEAD_S + LOOK_S, 300.0, 6),  # a start-up before the hour, and a minute for the look
        (60.0, 300.0, 6),
        (LEAD_S + LOOK_S + 1, 900.0, 6),  # SchedulingBufferTime, where it is longer
        (900.0 + LOOK_S + 1, 900.0, 1),
        (60.0, 0.0, 6),  # and never less than a start-up
    ],
)
def test_capacity_is_asked_for_before_the_hour_begins(begins_s, buffer_s, want):
    policy = replace(AHEAD, buffer_s=buffer_s)
    decision, _ = floor(made(4.0, 30.0), policies=(DEMAND, policy), into_s=HOUR_S - begins_s)
    assert decision.desired == want


def test_it_says_which_hour_asks_for_how_much_and_how_good_it_has_been():
    decision, step = floor(made(4.0, 30.0), into_s=HOUR_S - 60)
    assert (decision.reason, step.reason) == (Reason.FORECAST, Reason.FORECAST)
    assert step.detail == (
        "ahead: the hour from 01:00 UTC is forecast at 30, which needs 6 at 5 per copy; asked for 510 s ahead; "
        "over 24 h it cost 0.2, taking each hour to be like the one before 1"
    )
    assert decision.state.last_scale_out.cause == "ahead"


def test_the_look_comes_when_the_next_hour_must_be_asked_for_and_when_a_floor_ends():
    first, _ = floor(made(4.0, 4.0, 30.0), policies=(STEPS, AHEAD))
    assert first.look_again_at_s == NOW_S + 1800.0  # the forecast is made anew
    rises, _ = floor(made(4.0, 30.0, due_s=NOW_S + HOUR_S), policies=(STEPS, AHEAD))
    assert rises.look_again_at_s == NOW_S + HOUR_S - LEAD_S - LOOK_S
    holds, step = floor(made(30.0, 4.0, due_s=NOW_S + 2 * HOUR_S), copies=6, policies=(STEPS, AHEAD))
    assert (holds.desired, step.look_again_at_s) == (6, NOW_S + HOUR_S)


def test_a_gap_in_the_metrics_at_the_minimum_does_not_hide_the_hour_that_comes():
    goal = target(policies=(DEMAND, AHEAD))
    state = steady(1, forecasts={"ahead": made(4.0, 30.0, due_s=NOW_S + HOUR_S)})
    assert decided(None, 1, state=state, goal=goal).look_again_at_s == NOW_S + HOUR_S - LEAD_S - LOOK_S


@pytest.mark.parametrize(
    ("load", "copies", "want"),
    [
        (5.0, 1, 6),  # the floor wins
        (5.0, 8, 6),  # what is there is given up to the floor and no further
        (45.0, 1, 9),  # more is wanted: the floor changes nothing
    ],
)
def test_the_largest_count_wins(load, copies, want):
    decision, step = floor(made(30.0, 30.0), load=load, copies=copies)
    wanted = stage(decision, "policies").recommended
    assert step.recommended == max(wanted, 6)
    assert (step.reason is Reason.FORECAST) == (wanted < 6)
    assert decision.desired == want


def test_a_forecast_alone_scales_nothing_in():
    decision, step = floor(made(4.0, 4.0), copies=6, policies=(AHEAD,))
    assert (decision.desired, step.reason) == (6, Reason.UNCHANGED)


@pytest.mark.parametrize(("into_s", "want"), [(HOUR_S - 1800, 0), (HOUR_S - 60, 6)])
def test_a_component_at_zero_is_there_before_its_hour(into_s, want):
    now_s = NOW_S + into_s
    goal = target(low=0, policies=(DEMAND, AHEAD))
    state = steady(0, forecasts={"ahead": made(0.0, 30.0)})
    found = decide(goal, seen(None, 0, now_s=now_s, alarms={"s--wake": AlarmState.OK}), state, now_s)
    assert found.desired == want


# -- the range ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("needed", "most", "percent", "want"),
    [
        (50, 40, 10, 55),  # AAS's own example
        (50, 40, 0, 50),
        (50, 40, None, 40),
        (38, 40, 10, 42),  # "approaches": 38 and a tenth
        (10, 40, 100, 40),
    ],
)
def test_the_maximum_may_rise_only_with_a_buffer(needed, most, percent, want):
    assert most_capacity(needed, most, percent) == want


@pytest.mark.parametrize(("percent", "want"), [(None, 4), (0, 6), (50, 6)])
def test_a_forecast_above_the_maximum_is_cut_or_raises_it_for_its_hour(percent, want):
    policy = replace(AHEAD, max_capacity_buffer=percent)
    decision, step = floor(made(30.0, 30.0), goal=target(high=4, policies=(DEMAND, policy)))
    assert (decision.desired, step.inputs["ahead"]["floor"]) == (want, want)
    assert ("within its range 4" in step.detail) == (want == 4)


def test_what_load_asks_for_may_use_the_buffer_too_and_a_silent_forecast_lends_none():
    policy = replace(AHEAD, max_capacity_buffer=50)
    goal = target(high=4, policies=(DEMAND, policy))
    rising, _ = floor(made(30.0, 30.0), load=60.0, goal=goal)
    assert rising.desired == 9  # 6 are forecast, and half as many more may be
    silent, _ = floor(made(30.0, 30.0, loss=1.0), load=60.0, goal=goal)
    assert silent.desired == 4
    only = replace(policy, scales=False)
    forecast_only, _ = floor(made(30.0, 30.0), load=60.0, goal=target(high=4, policies=(DEMAND, only)))
    assert forecast_only.desired == 4


def test_a_floor_below_the_minimum_is_the_minimum():
    decision, step = floor(made(1.0, 1.0), copies=3, load=15.0, goal=target(low=3, policies=(DEMAND, AHEAD)))
    assert (decision.desired, step.inputs["ahead"]["floor"]) == (3, 3)


@pytest.mark.parametrize(
    ("load", "per", "want"),
    [(0.0, 5.0, 0), (0.2, 5.0, 0), (1.0, 5.0, 1), (5.0, 5.0, 1), (30.2, 5.0, 6), (30.3, 5.0, 7), (0.3, 0.1, 3)],
)
def test_a_twentieth_of_a_copy_is_not_worth_one(load, per, want):
    assert capacity_for(load, per) == want


# -- silence --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forecast", "said"),
    [
        (None, "no forecast yet"),
        (made(None, None), "no forecast yet"),
        (made(30.0, 30.0, load_per_capacity=None), "what one can carry is not known"),
        (made(30.0, 30.0, hours=FEWEST_JUDGED_H - 1), f"{FEWEST_JUDGED_H - 1} of its hours can be judged"),
        (made(30.0, 30.0, hours=0, loss=None, persistence_loss=None), "0 of its hours can be judged"),
        (made(30.0, 30.0, loss=1.0), "no better than the hour before; over 24 h it cost 1, taking"),
        (made(30.0, 30.0, loss=0.1, persistence_loss=0.0), "no better"),
        (made(30.0, 30.0, learned_at_s=NOW_S - STALE_S - 1), "6 h old"),
        (made(None, None, None, 30.0), "nothing is forecast for this hour"),
    ],
)
def test_a_forecast_that_has_not_earned_it_holds_nothing_and_says_why(forecast, said):
    decision, step = floor(forecast)
    assert (decision.desired, step.recommended, step.reason) == (1, 1, Reason.FORECAST_SILENT)
    assert said in step.detail and "silent: " in step.detail


def test_a_day_that_neither_got_wrong_is_no_reason_for_silence():
    decision, _ = floor(made(30.0, 30.0, loss=0.0, persistence_loss=0.0))
    assert decision.desired == 6


def test_forecast_only_is_judged_and_decides_nothing():
    decision, step = floor(made(30.0, 30.0), policies=(DEMAND, replace(AHEAD, scales=False, max_capacity_buffer=50)))
    assert (decision.desired, step.reason) == (1, Reason.FORECAST_ONLY)
    assert "needs 6 at 5 per copy" in step.detail and "it cost 0.2" in step.detail


def test_two_forecasts_are_two_floors():
    other = replace(AHEAD, name="other")
    goal = target(policies=(DEMAND, AHEAD, other))
    forecasts = {"ahead": made(30.0, 30.0, loss=2.0), "other": made(15.0, 15.0)}
    found = decided([5.0] * 40, 1, state=steady(1, forecasts=forecasts), goal=goal)
    step = stage(found, "forecast")
    assert (found.desired, step.inputs["winner"]) == (3, "other")
    assert "ahead: silent" in step.detail


# -- whatever is forecast ---------------------------------------------------------------------------------------------------


@given(
    load=st.floats(0, 80),
    copies=st.integers(1, 18),
    loads=st.lists(st.floats(0, 90), min_size=2, max_size=3),
    into_s=st.integers(0, 3599),
)
@settings(max_examples=150, deadline=None)
def test_a_floor_never_asks_for_less_than_the_reactive_policies_and_a_silent_one_changes_nothing(
    load, copies, loads, into_s
):
    parts = {"load": load, "copies": copies, "into_s": float(into_s)}
    without, _ = floor(None, policies=(DEMAND, STEPS), **parts)
    held, step = floor(made(*loads), policies=(DEMAND, STEPS, AHEAD), **parts)
    assert held.desired >= without.desired
    assert held.desired <= max(without.desired, step.inputs["ahead"]["floor"])
    silent, _ = floor(made(*loads, loss=2.0), policies=(DEMAND, STEPS, AHEAD), **parts)
    assert silent.desired == without.desired
