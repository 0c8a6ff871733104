"""Growth: the headroom that a target's own past says is worth paying for."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickstep.capacity import growth
from quickstep.capacity.growth import DAY_MIN, GROWTHS, KEPT_MIN, PRICES, joined, lead_s, learn
from quickstep.model.headroom import Headroom
from quickstep.model.state import Minutes, TargetState, VariantState

LEAD_S = 420.0


def learned(levels, *, price=8.0, least=1, from_s=0.0):
    return learn(levels, from_s=from_s, now_s=from_s + 60.0 * len(levels), lead_s=LEAD_S, price=price, least=least)


def stepping(days, *, low=2.0, high=9.0, at_min=480, long_min=240):
    """Every day the same block of load."""
    return [high if at_min <= minute % DAY_MIN < at_min + long_min else low for minute in range(days * DAY_MIN)]


def scattering(minutes, *, level=8.0, spread=0.3, seed=7):
    draw = random.Random(seed)
    return [max(0.0, level + spread * math.sqrt(level) * draw.gauss(0, 1)) for _ in range(minutes)]


def test_less_than_an_hour_teaches_nothing():
    assert learned([5.0] * (growth.FEWEST_MIN + 6)) is None
    assert learned([None] * 600) is None


def test_a_load_that_never_grows_gets_no_headroom():
    found = learned([6.0] * 2 * DAY_MIN)
    assert (found.growth, found.season, found.shortage_hours) == (0.0, None, 0.0)


def test_a_load_that_scatters_more_gets_more():
    calm, wild = (learned(scattering(DAY_MIN, spread=spread)) for spread in (0.1, 0.6))
    assert calm.growth < wild.growth


@pytest.mark.parametrize("levels", [scattering(DAY_MIN), stepping(2), scattering(DAY_MIN, level=2.0, seed=3)])
def test_a_dearer_shortage_never_gets_less(levels):
    found = [learned(levels, price=price) for price in sorted(PRICES.values())]
    assert [one.growth for one in found] == sorted(one.growth for one in found)


def test_days_that_repeat_are_known_beforehand():
    found = learned(stepping(3), price=30.0)
    assert found.season is not None
    assert found.growth <= 0.1
    # Yesterday's block is told one lead time before it begins again.
    begins_s = 3 * DAY_MIN * 60.0
    assert found.yesterday_from_s == begins_s
    assert found.seasonal_peak(begins_s) == 2.0


def test_yesterday_is_told_one_lead_time_ahead():
    levels = stepping(3)[: 2 * DAY_MIN + 460]
    found = learned(levels, price=30.0)
    now_s = len(levels) * 60.0
    rises_s = (2 * DAY_MIN + 480) * 60.0
    assert found.seasonal_peak(now_s) == 2.0
    assert found.seasonal_peak(rises_s - LEAD_S + 1) == 9.0
    assert found.seasonal_peak(rises_s - LEAD_S - 61) == 2.0
    assert found.seasonal_peak(now_s - 61) is None, "a time before the part that is kept"
    assert found.seasonal_peak(now_s + 86_400) is None, "a time behind it"


def test_days_that_do_not_repeat_leave_the_season_silent():
    draw = random.Random(3)
    levels = []
    for _ in range(3):
        at_min = draw.randrange(0, DAY_MIN - 120)
        levels += [9.0 if at_min <= minute < at_min + 60 else 2.0 for minute in range(DAY_MIN)]
    assert learned(levels).season is None


def test_minutes_that_are_not_known_are_no_quiet_minutes():
    busy = scattering(DAY_MIN)
    holes = [None if 300 <= minute < 700 else level for minute, level in enumerate(busy)]
    assert learned(holes).growth == pytest.approx(learned(busy).growth, abs=0.1)
    assert learned(holes).hours < learned(busy).hours


@settings(max_examples=60, deadline=None)
@given(
    levels=st.lists(st.one_of(st.none(), st.floats(0, 1e4)), min_size=0, max_size=300),
    price=st.sampled_from(sorted(PRICES.values())),
    least=st.integers(0, 5),
)
def test_whatever_the_history_the_headroom_is_one_of_the_grid(levels, price, least):
    found = learned(levels, price=price, least=least)
    assert found is None or (found.growth in GROWTHS and found.hours * 60 >= growth.FEWEST_MIN - 1)


# -- history ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "fresh", "expected"),
    [
        (None, Minutes(60.0, (1.0,)), Minutes(60.0, (1.0,))),
        (Minutes(0.0, (1.0, 2.0)), Minutes(120.0, (3.0,)), Minutes(0.0, (1.0, 2.0, 3.0))),
        (Minutes(0.0, (1.0,)), Minutes(180.0, (3.0,)), Minutes(0.0, (1.0, None, None, 3.0))),
        (Minutes(0.0, (1.0, 2.0)), Minutes(60.0, (9.0, 3.0)), Minutes(0.0, (1.0, 9.0, 3.0))),
    ],
    ids=["first", "adjacent", "gap", "told twice"],
)
def test_fresh_minutes_are_put_behind_the_history(history, fresh, expected):
    assert joined(history, fresh) == expected


def test_the_history_is_bounded():
    kept = joined(Minutes(0.0, (1.0,) * 6000), Minutes(360_000.0, (2.0,) * 60))
    assert len(kept.levels) == KEPT_MIN + DAY_MIN
    assert kept.until_s == 360_000.0 + 3600.0
    far = joined(Minutes(0.0, (1.0,) * 10), Minutes(1e9 // 60 * 60, (2.0,)))
    assert len(far.levels) <= KEPT_MIN + DAY_MIN
    assert far.levels[-1] == 2.0


def test_the_lead_time_is_what_was_measured():
    state = TargetState(startup_s=(80.0, 90.0, 95.0, 100.0, 140.0))
    instances = VariantState(startup_s=(150.0, 160.0, 170.0, 180.0, 400.0))
    assert lead_s(state, None) == growth.SENSING_S + 140.0
    assert lead_s(state, instances) == growth.SENSING_S + 400.0 + 140.0
    assert lead_s(TargetState(), None) == growth.SENSING_S + 300.0


def test_it_is_due_after_an_hour_of_load():
    assert not growth.is_due(TargetState())
    assert not growth.is_due(TargetState(load=Minutes(0.0, (1.0,) * 59)))
    assert growth.is_due(TargetState(load=Minutes(0.0, (1.0,) * 60)))


def test_a_headroom_of_a_newer_version_is_still_read():
    row = {"growth": 0.3, "season": None, "hours": 5.0, "learned_at_s": 1.0, "lead_s": 400.0, "mood": "good"}
    assert Headroom.from_dict(row) == Headroom(0.3, None, 5.0, 1.0, 400.0)
