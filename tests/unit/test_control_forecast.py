"""Forecasts: exact on what repeats exactly, no worse than yesterday's value on what nearly does, and silent without a day."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from quickstep.capacity.forecast import DAY_H, HOUR_S, WEEK_H, forecast, load_per_capacity

NOW_S = 1_767_225_600.0
"""On the hour."""


def hours(values, end_s=NOW_S):
    """History whose last hour ends at `end_s`."""
    first_s = end_s - len(values) * HOUR_S
    return [(first_s + n * HOUR_S, value) for n, value in enumerate(values)]


def daily(hour: int) -> float:
    return 50 + 40 * math.sin(2 * math.pi * hour / DAY_H)


def weekly(hour: int) -> float:
    return daily(hour) * (0.3 if (hour // DAY_H) % 7 in (5, 6) else 1.0)


@pytest.mark.parametrize(("shape", "days"), [(daily, 3), (daily, 14), (weekly, 14), (weekly, 8)])
def test_what_repeats_exactly_is_forecast_exactly(shape, days):
    length = days * DAY_H
    found = forecast(hours([shape(n) for n in range(length)]), start_s=NOW_S, hours=48)
    assert [at_s for at_s, _ in found] == [NOW_S + n * HOUR_S for n in range(48)]
    assert [value for _, value in found] == pytest.approx([shape(length + n) for n in range(48)])


def test_a_last_day_of_double_the_usual_is_carried_on():
    length = 14 * DAY_H
    values = [daily(n) for n in range(length)]
    values[-DAY_H:] = [2 * value for value in values[-DAY_H:]]
    found = [value for _, value in forecast(hours(values), start_s=NOW_S, hours=DAY_H)]
    # The profile has half of that day in it: (1 + 2)/2 at the level 2/1.5.
    assert found == pytest.approx([2 * daily(length + n) for n in range(DAY_H)], rel=0.35)
    assert sum(found) > 1.25 * sum(daily(length + n) for n in range(DAY_H))


def test_one_odd_day_does_not_multiply_the_forecast_without_bound():
    values = [1.0] * (13 * DAY_H) + [1000.0] * DAY_H
    usual = np.mean(values)
    assert max(value for _, value in forecast(hours(values), start_s=NOW_S, hours=48)) <= 1000.0 * 4
    assert all(value <= 4 * max(usual, 1000.0) for _, value in forecast(hours(values), start_s=NOW_S, hours=48))


def test_on_noisy_weeks_it_is_better_than_the_naive_forecasts():
    """Mean absolute error against "as yesterday" and "as last week", computed with numpy, over twenty seeds."""
    errors = []
    for seed in range(20):
        noise = random.Random(seed)
        truth = [weekly(n) * noise.lognormvariate(0, 0.25) for n in range(16 * DAY_H)]
        history, future = truth[: 14 * DAY_H], np.array(truth[14 * DAY_H :])
        ours = np.array([value for _, value in forecast(hours(history), start_s=NOW_S, hours=48)])
        yesterday = np.array([history[-DAY_H + n % DAY_H] for n in range(48)])
        last_week = np.array([history[-WEEK_H + n] for n in range(48)])
        errors.append([np.abs(one - future).mean() for one in (ours, yesterday, last_week)])
    ours, yesterday, last_week = np.mean(errors, axis=0)
    assert ours < 0.95 * last_week and ours < 0.95 * yesterday


def test_less_than_a_day_of_history_is_no_forecast():
    assert forecast(hours([5.0] * 23), start_s=NOW_S, hours=48) == ()
    assert len(forecast(hours([5.0] * 24), start_s=NOW_S, hours=48)) == 48
    assert forecast([], start_s=NOW_S, hours=48) == ()


def test_hours_that_are_not_known_are_not_hours_of_no_load():
    values = hours([10.0] * (4 * DAY_H))
    holes = [one for n, one in enumerate(values) if n % 5]
    assert [value for _, value in forecast(holes, start_s=NOW_S, hours=48)] == pytest.approx([10.0] * 48)
    broken = [
        (at_s, math.nan if n % 7 == 0 else -1.0 if n % 7 == 1 else value) for n, (at_s, value) in enumerate(values)
    ]
    assert [value for _, value in forecast(broken, start_s=NOW_S, hours=48)] == pytest.approx([10.0] * 48)


def test_no_load_at_all_forecasts_none():
    assert {value for _, value in forecast(hours([0.0] * 48), start_s=NOW_S, hours=48)} == {0.0}


def test_the_load_of_a_copy_is_learned_from_the_hours_that_have_all_three():
    load, scaling, capacity = hours([600.0, 900.0, 0.0, 50.0]), hours([5.0, 5.0, 0.0, 5.0]), hours([4.0, 6.0, 1.0])
    capacity = [(at_s - HOUR_S, value) for at_s, value in capacity]
    assert load_per_capacity(load, scaling, capacity) == pytest.approx(30.0)
    assert load_per_capacity(load, (), capacity) is None
