"""Sizing: copies for a load, before and after its growth is known; and what an overload's backlog is worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickstep.model.headroom import Headroom
from quickstep.model.observation import Datapoint, Metrics, Series
from quickstep.model.state import Minutes, TargetState
from quickstep.policy import backlog, pace
from quickstep.policy.demand import Demand, DemandKind, Load
from quickstep.policy.sizing import DIAL, LIMIT_OVER_TARGET, TRUSTED_H, Sizing
from tests.unit.scenes import seen


def headroom(growth=0.4, season=None, hours=48.0):
    return Headroom(growth, season, hours, 0.0, 420.0)


# -- copies -----------------------------------------------------------------------------------------------------------


def test_before_anything_is_learned_it_is_requests_over_target():
    assert [Sizing(5.0).copies(Load(total, total)) for total in (0, 4, 5, 5.1, 40)] == [0, 1, 1, 2, 8]


@pytest.mark.parametrize(
    ("level", "growth", "copies"), [(4.0, 0.0, 4), (4.0, 0.5, 7), (0.25, 0.5, 1), (16.0, 0.5, 21), (0.0, 0.5, 0)]
)
def test_what_was_learned_is_added_in_the_square_root(level, growth, copies):
    assert Sizing(5.0, headroom=headroom(growth)).copies(Load(1000.0, level)) == copies


def test_young_knowledge_counts_in_proportion():
    plain, known = Sizing(5.0), Sizing(5.0, headroom=headroom(0.0, hours=TRUSTED_H))
    half = Sizing(5.0, headroom=headroom(0.0, hours=TRUSTED_H / 2))
    load = Load(100.0, 10.0)
    assert (plain.copies(load), half.copies(load), known.copies(load)) == (20, 15, 10)


def test_the_season_is_a_floor_and_nothing_more():
    sizing = Sizing(5.0, headroom=headroom(0.0, season=0.0), seasonal=9.0)
    assert [sizing.copies(Load(0.0, level)) for level in (0.0, 4.0, 9.0, 16.0)] == [9, 9, 9, 16]
    assert sizing.season_copies() == 9
    assert Sizing(5.0, headroom=headroom(0.0, season=-1.0), seasonal=9.0).season_copies() == 4
    assert Sizing(5.0, headroom=headroom(0.0), seasonal=9.0).season_copies() == 0


@given(
    st.floats(0, 1e4),
    st.floats(0, 1e4),
    st.sampled_from(sorted(DIAL)),
    st.one_of(st.none(), st.floats(0, 1.3)),
    st.floats(0, 100),
    st.one_of(st.none(), st.floats(0, 50)),
)
def test_more_load_never_needs_fewer_copies(one, other, dial, growth, hours, seasonal):
    known = None if growth is None else Headroom(growth, None if seasonal is None else 0.1, hours, 0.0, 420.0)
    sizing = Sizing(5.0, dial, known, seasonal)
    less, more = sorted((one, other))
    assert sizing.copies(Load(less, less / 7)) <= sizing.copies(Load(more, more / 7))


def test_the_sentence_names_load_growth_and_where_they_come_from():
    words = Sizing(5.0, headroom=headroom(0.5), seasonal=None).in_words(Load(28.57, 4.0), "copy")
    assert words == (
        "28.6 in flight is 4.0 copies' worth; within 420 s it grows to 6.2 at the price of slo_target 98, "
        "learned from 48 h: 7"
    )
    assert Sizing(5.0).in_words(Load(40.0, 5.6), "copy") == "40.0 in flight at 5 per copy needs 8"


# -- pace -------------------------------------------------------------------------------------------------------------


def test_the_same_arrivals_are_the_same_load_on_few_copies_and_on_many():
    """Little's law with a service time that grows linearly: 4 copies at their limit, or the same arrivals on 8."""
    limit = 5.0 * LIMIT_OVER_TARGET
    assert pace.copies_worth(4 * limit, 4, 5.0) == pytest.approx(4.0)
    # On 8 copies n per copy solves n = (limit / 2) * (0.55 + 0.45 n / limit).
    spread = 0.5 * pace.FIXED_SHARE * limit / (1 - 0.5 * (1 - pace.FIXED_SHARE))
    assert pace.copies_worth(8 * spread, 8, 5.0) == pytest.approx(4.0)


def test_beyond_the_limit_a_request_is_taken_to_wait_not_to_be_slower():
    assert pace.slowness(1e6, 5.0) == 1.0


def test_service_time_is_learned_from_minutes_that_are_not_overloaded():
    calm = Series(10.0, tuple(Datapoint(600.0 + 10 * i, 5.0, 5.0) for i in range(6)))
    hot = Series(10.0, tuple(Datapoint(600.0 + 10 * i, 50.0, 50.0) for i in range(6)))
    latency = Series(60.0, (Datapoint(600.0, 12.0),))

    def after(series, state=None):
        observation = seen(series, 2, metrics=Metrics(concurrency=series, model_latency_s=latency))
        return pace.remember_service(state or TargetState(), observation, 5.0)

    assert after(calm).service_s == pytest.approx(12.0)
    assert after(hot).service_s is None
    assert after(calm).service_at_s == after(hot).service_at_s == 600.0
    again = after(calm, after(calm))
    assert again == after(calm), "a minute counts once"


def test_load_is_remembered_by_whole_minutes_once():
    def demand(first_s, levels):
        times = tuple(first_s + 10.0 * i for i in range(len(levels)))
        return Demand(DemandKind.KNOWN, 1.0, 1.0, times_s=times, totals=tuple(levels), levels=tuple(levels))

    state = pace.remember_load(TargetState(), demand(570.0, [9.0] * 3 + [1.0] * 6 + [2.0] * 6 + [5.0]))
    assert state.load == Minutes(600.0, (1.0, 2.0)), "neither the begun minute nor the one before the first whole one"
    assert pace.remember_load(state, demand(600.0, [1.0] * 12)) is state
    later = pace.remember_load(state, demand(840.0, [3.0] * 6))
    assert later.load == Minutes(600.0, (1.0, 2.0, None, None, 3.0)), "what lies between is not known"


# -- backlog ----------------------------------------------------------------------------------------------------------


def bounded(raw, served, service_s=10.0):
    totals = [float(value) for value in raw]
    backlog.bound([10.0 * i for i in range(len(raw))], totals, served, target_per_copy=5.0, service_s=service_s)
    return totals


def test_a_queue_that_grows_is_sized_by_what_arrives():
    """Open loop: 4 requests per second of 10 s each arrive at one copy that carries 5; 3.5 per second are left over."""
    assert bounded([4, 39, 74, 109, 144], [1] * 5)[1:] == [39.0, 40.0, 40.0, 40.0]


def test_a_step_of_a_closed_loop_is_remembered_while_it_stands():
    """Closed loop: 40 clients at once, and they stay."""
    assert bounded([4, 40, 40, 40, 40], [1] * 5) == [4.0, 40.0, 40.0, 40.0, 40.0]


def test_without_overload_or_service_time_nothing_is_changed():
    assert bounded([4, 6, 6.2], [1] * 3) == [4.0, 6.0, 6.2]
    assert bounded([4, 39, 74], [1] * 3, service_s=None) == [4.0, 39.0, 74.0]


def test_an_overload_that_stands_still_keeps_asking_for_a_little_more():
    assert bounded([400] * 60, [8] * 60)[-1] == backlog.DRAIN * 8 * 5.0


def test_callers_that_join_an_overload_that_stood_still_come_on_top_of_those_who_wait():
    """Closed loop: 22 clients, later 44, on a copy that carries 5; each step alone would look like 20 of 10 s each."""
    totals = bounded([3] * 6 + [22] * 20 + [44] * 5, [1] * 31, service_s=7.0)
    assert totals[6] == pytest.approx(5 + 1.9 * 7) and totals[25] == totals[6]
    assert totals[-1] == pytest.approx(totals[6] + 2.2 * 7)


def test_what_an_overload_asked_for_is_kept_while_it_lasts_and_forgotten_a_minute_after_it():
    long = bounded([4, 40] + [40 + i % 3 for i in range(100)], [1] * 102, service_s=8.0)
    assert long[-1] == pytest.approx(5 + 3.6 * 8)
    again = bounded([4, 40, 40] + [4] * 6 + [9], [1] * 10, service_s=8.0)
    assert again[-1] == pytest.approx(5 + 0.5 * 8)


def test_the_end_of_a_bound_after_a_change_is_no_jump_of_the_load():
    """The first totals after a change are lowered to the one before it; the growth to the first that is not is theirs."""
    counted, lowered = [5.0, 32.0, 59.0, 86.0, 113.0], [5.0, 5.0, 5.0, 5.0, 113.0]
    backlog.bound([10.0 * i for i in range(5)], lowered, [2] * 5, target_per_copy=5.0, service_s=10.0, counted=counted)
    assert lowered == [5.0, 5.0, 5.0, 5.0, 10 + 27.0]


def test_a_load_that_just_overloads_is_met_with_no_less_than_one_that_just_does_not():
    """57 in flight on 8 copies of 5 once asked for 12 copies, 58 for 10."""
    sized = [bounded([total] * 30, [8] * 30)[-1] for total in range(40, 120)]
    assert sized == sorted(sized)
    assert sized[-1] == backlog.DRAIN * 8 * 5.0


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=40), st.integers(1, 9), st.floats(0.1, 100))
def test_a_bound_never_raises_a_total(raw, copies, service_s):
    assert all(after <= before for after, before in zip(bounded(raw, [copies] * len(raw), service_s), raw, strict=True))
