"""Outlook: an hour is judged by what was forecast before it began, against taking it to be like the hour before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quickstep.capacity import outlook
from quickstep.capacity.outlook import AHEAD_H, JUDGED_H, KEPT_H, RETRY_S, SETTLED_S, due, judged, pinball, postponed
from quickstep.model.forecast import HOUR_S, Forecast
from quickstep.policy.forecast_floor import why_silent

DAY_S = 86_400.0
NOW_S = 400 * DAY_S + SETTLED_S
"""Three minutes after a midnight in UTC."""


def daily(hour: int) -> float:
    return 30.0 if hour % 24 in range(8, 20) else 4.0


def hours(days: float, load=daily, *, until_s: float = NOW_S) -> list[tuple[float, float]]:
    """Complete hours before `until_s`."""
    last = int(until_s // HOUR_S)
    return [(hour * HOUR_S, load(hour)) for hour in range(last - round(24 * days), last)]


def learned(history, *, now_s: float = NOW_S, before: Forecast | None = None, lead_s=450.0, price=8.0) -> Forecast:
    return outlook.learned(before, history, load_per_capacity=5.0, lead_s=lead_s, price=price, now_s=now_s)


# quantile, forecast, what came, loss: the published definition, max(q·(y − f), (1 − q)·(f − y))
@pytest.mark.parametrize(
    ("quantile", "forecast", "came", "loss"),
    [
        (0.5, 10.0, 14.0, 2.0),
        (0.5, 14.0, 10.0, 2.0),
        (0.9, 10.0, 14.0, 3.6),  # too little is nine times as bad
        (0.9, 14.0, 10.0, 0.4),
        (0.9, 7.0, 7.0, 0.0),
    ],
)
def test_the_loss_of_a_forecast_is_the_pinball_loss(quantile, forecast, came, loss):
    assert pinball(forecast, came, quantile) == pytest.approx(loss)


# price of a missing copy, seconds until a missing one is made good → what too little costs, in hours of too much
@pytest.mark.parametrize(
    ("price", "lead_s", "odds"), [(8.0, 450.0, 1.0), (2.0, 450.0, 0.25), (80.0, 450.0, 10.0), (8.0, 900.0, 2.0)]
)
def test_too_little_is_as_bad_as_the_dial_says_for_as_long_as_capacity_takes(price, lead_s, odds):
    quantile = outlook.worth_of_shortage(price, lead_s)
    assert quantile / (1 - quantile) == pytest.approx(odds)
    assert learned(hours(3), price=price, lead_s=lead_s).quantile == pytest.approx(quantile, abs=5e-4)


def test_persistence_is_the_hour_before_and_only_hours_known_for_both_are_judged():
    loads = {5: 10.0, 6: 12.0, 7: None, 8: 20.0, 9: 20.0}
    known = {4: 8.0, 5: 10.0, 6: 10.0, 7: 10.0, 9: 30.0}
    # Hour 5: exact, the hour before 2 short. Hour 6: 2 too much, the hour before exact. 7 has no forecast, 8 was not
    # measured, and so 9 has no hour before.
    assert judged(loads, known, 1.0, 0.5) == (2, 0.5, 0.5)
    assert judged(loads, known, None, 0.5) == (0, None, None)


def test_what_changes_no_count_is_no_mistake():
    loads, known = dict.fromkeys(range(24), 22.0), {hour: 24.0 if hour % 2 else 21.0 for hour in range(-1, 24)}
    assert judged(loads, known, 5.0, 0.5) == (24, 0.0, 0.0)
    assert judged(loads, known, 4.0, 0.5) == (24, 0.0, 0.0)
    assert judged(loads, known, 3.0, 0.5) == (24, 0.25, 0.5)  # 8 were forecast, 8 and 7 in turn needed


def test_a_pattern_that_repeats_saves_what_persistence_loses_at_its_two_edges():
    found = learned(hours(3))
    assert (found.hours, found.loss) == (JUDGED_H, 0.0)
    assert found.persistence_loss == pytest.approx((0.5 * 5 + 0.5 * 5) / 24, abs=1e-3)  # from 1 copy to 6, and back
    assert found.skill == 1.0
    assert [found.load_of(NOW_S - SETTLED_S + n * HOUR_S) for n in (0, 7, 8)] == [4.0, 4.0, 30.0]
    assert found.load_of(NOW_S - SETTLED_S + (AHEAD_H + 1) * HOUR_S) is None


def test_a_load_that_never_repeats_is_no_better_forecast_than_the_hour_before():
    found = learned(hours(6, lambda hour: 5.0 * (hour - 9_400)))  # a copy more each hour: the hour before is one short
    assert found.loss > found.persistence_loss > 0 > found.skill


def test_too_little_history_is_no_forecast_and_a_day_and_a_half_can_be_judged():
    assert learned(hours(23 / 24)).loads == (None,) * (KEPT_H + 1 + AHEAD_H)
    assert learned(hours(1)).hours == 0
    assert learned(hours(1.5)).hours == 11


def week(hour: int) -> float:
    """Five days of the pattern, two quiet ones."""
    return daily(hour) if hour // 24 % 7 < 5 else 4.0


def test_after_a_week_a_quiet_weekend_is_no_reason_to_distrust_monday():
    monday = 401 - 401 % 7
    mornings = {}
    for day in (monday + 4, monday + 5, monday + 6, monday + 7):
        now_s = day * DAY_S + 7 * HOUR_S + SETTLED_S
        mornings[day - monday] = learned(hours(14, week, until_s=now_s), now_s=now_s)
    assert [round(mornings[day].load_of((monday + day) * DAY_S + 8 * HOUR_S)) for day in (4, 5, 6, 7)] == [30, 4, 4, 30]
    assert all(why_silent(found, found.learned_at_s) is None for found in mornings.values())
    assert (mornings[7].loss, mornings[7].persistence_loss) == (0.0, 0.0)


def test_an_hour_keeps_the_forecast_that_was_made_before_it_began():
    wrong = learned(hours(3, lambda _: 7.0))
    later_s = NOW_S + HOUR_S
    found = learned(hours(3, until_s=later_s), now_s=later_s, before=wrong)
    begun_s = later_s - SETTLED_S
    assert [found.load_of(begun_s + n * HOUR_S) for n in (-1, 0)] == [7.0, 7.0]  # one is over, one runs
    assert found.load_of(begun_s + HOUR_S) == 4.0  # this one can still be forecast better
    assert found.first_hour_s == begun_s - KEPT_H * HOUR_S


@pytest.mark.parametrize(
    ("now_s", "next_s"),
    [(0.0, SETTLED_S), (SETTLED_S, HOUR_S + SETTLED_S), (HOUR_S - 1, HOUR_S + SETTLED_S)],
)
def test_it_is_done_once_an_hour_when_the_hour_before_is_complete(now_s, next_s):
    now_s, next_s = now_s + 400 * DAY_S, next_s + 400 * DAY_S
    found = learned(hours(3, until_s=now_s), now_s=now_s)
    assert found.due_s == next_s
    assert not due(found, since_s=0.0, now_s=next_s - 1) and due(found, since_s=0.0, now_s=next_s)


def test_a_policy_that_was_put_anew_is_forecast_anew_at_once():
    found = learned(hours(3))
    assert due(None, since_s=0.0, now_s=NOW_S)
    assert due(found, since_s=NOW_S + 1, now_s=NOW_S + 2)


def test_a_history_that_cannot_be_read_is_tried_again_soon_and_keeps_what_there_was():
    found = learned(hours(3))
    assert postponed(found, NOW_S) == replace(found, due_s=NOW_S + RETRY_S)
    assert postponed(None, NOW_S) == Forecast(NOW_S, NOW_S + RETRY_S)


@pytest.mark.parametrize(
    ("loss", "persistence", "skill"),
    [(0.0, 2.0, 1.0), (1.0, 2.0, 0.5), (2.0, 2.0, 0.0), (9.0, 2.0, -1.0), (0.0, 0.0, 1.0), (1.0, 0.0, -1.0)],
)
def test_skill_is_the_share_of_persistences_loss_that_is_saved(loss, persistence, skill):
    found = Forecast(0.0, 0.0, hours=24, loss=loss, persistence_loss=persistence)
    assert found.skill == pytest.approx(skill)


def test_what_is_kept_of_a_policy_stays_below_a_kilobyte():
    import json

    found = learned(hours(14, lambda hour: 123.456 + hour % 7), price=30.0)
    row = {name: getattr(found, name) for name in Forecast.__slots__}
    stored = json.dumps(row, separators=(",", ":"))
    assert len(stored) < 1024
    assert Forecast.from_dict(json.loads(stored)) == found
