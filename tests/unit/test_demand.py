"""Demand: total in flight out of a per-copy metric, paired with the copies that served when it was measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from quickstep.model.observation import ComponentStatus, Datapoint, Metrics, Series, ServingChange
from quickstep.model.state import Ask, Change, TargetState
from quickstep.policy.coverage import covered_since
from quickstep.policy.demand import DemandKind, Load, copies_for, estimate, remember_serving, serving_during
from quickstep.policy.sizing import Sizing
from tests.unit.scenes import NOW_S, seen, steady, totals


def measured(series, current, state, *, metrics=None):
    return estimate(seen(series, current, metrics=metrics), state, NOW_S)


def minutes(values, *, newest_ends_s=NOW_S - 30.0):
    """Invocations per minute, the newest ending `newest_ends_s`."""
    first_s = newest_ends_s - 60.0 * len(values)
    return Series(60.0, tuple(Datapoint(first_s + 60.0 * i, average=v) for i, v in enumerate(values) if v is not None))


@pytest.mark.parametrize(
    ("total", "target", "copies"),
    [
        (0, 5, 0),
        (0.1, 5, 1),
        (5, 5, 1),
        (5.001, 5, 2),
        (0.3, 0.1, 3),
        (40, 5, 8),
        (41, 5, 9),
        (1e9, 0.5, 2_000_000_000),
    ],
)
def test_copies_are_the_fewest_that_carry_the_total(total, target, copies):
    assert copies_for(total, target) == copies


def test_each_datapoint_is_multiplied_with_the_copies_that_served_while_it_was_measured():
    # Two copies until two minutes ago, then eight: per copy 20, then 5; the load was 40 all along.
    changed_s = NOW_S - 120.0
    ring = (ServingChange(NOW_S - 9_000, 2), ServingChange(changed_s, 8))
    points = tuple(
        Datapoint(at_s, average=20.0 if at_s < changed_s else 5.0, maximum=30.0)
        for at_s in (NOW_S - 300 + 10 * i for i in range(29))
    )
    demand = measured(Series(10.0, points), 8, steady(8, serving=ring))
    assert set(demand.totals) == {40.0}
    assert (demand.kind, demand.total, demand.newest) == (DemandKind.KNOWN, 40.0, 40.0)


RING = (ServingChange(100.0, 2), ServingChange(195.0, None), ServingChange(205.0, 5))


@pytest.mark.parametrize(
    ("start_s", "copies"),
    [
        (50.0, 2),  # before the first look: taken to have been so all along
        (95.0, 2),  # the first look itself changed nothing
        (180.0, 2),
        (185.0, 2),  # ends exactly where it becomes unknown
        (190.0, None),  # changed meanwhile
        (200.0, None),
        (205.0, 5),
        (900.0, 5),
    ],
)
def test_the_count_of_a_datapoint_is_known_only_if_it_held_throughout(start_s, copies):
    assert serving_during(RING, start_s, start_s + 10.0, 7) == copies


def test_without_any_memory_the_copies_of_now_are_taken():
    assert serving_during((), 50.0, 60.0, 7) == 7


def test_a_datapoint_of_unknown_divisor_is_unknown():
    ring = (ServingChange(NOW_S - 9_000, 2), ServingChange(NOW_S - 40, None), ServingChange(NOW_S - 20, 4))
    demand = measured(totals([10] * 8, 2), 4, steady(4, serving=ring))
    # Datapoints begin at now - 90 … now - 20. Those in [now - 40, now - 20) are gone; the newest one only raises.
    assert demand.times_s == tuple(NOW_S - s for s in (90, 80, 70, 60, 50))


# The ring of serving counts.


def test_a_changed_count_was_unknown_between_the_two_looks():
    state = steady(2, last_look_s=NOW_S - 10)
    ring = remember_serving(state, seen(None, 8, 5), NOW_S)
    assert ring[1:] == (ServingChange(NOW_S - 10, None), ServingChange(NOW_S, 5))


def test_a_change_with_no_last_look_on_record_makes_everything_since_the_last_change_unknown():
    state = TargetState(serving=(ServingChange(NOW_S - 500, 2),))
    ring = remember_serving(state, seen(None, 8, 5), NOW_S)
    assert serving_during(ring, NOW_S - 100, NOW_S - 90, 5) is None
    assert ring[-1] == ServingChange(NOW_S, 5)


@pytest.mark.parametrize(
    "state",
    [
        {"wish_at_s": NOW_S - 5},
        {"last_scale_in": Change(NOW_S - 5, 9, 8)},
        {"last_scale_out": Change(NOW_S - 5, 7, 8)},
        {"ask": Ask("copies", NOW_S - 5, 8, 4, NOW_S + 900)},
    ],
)
def test_what_was_decided_or_asked_was_a_look_too(state):
    # The last look on record is a quarter of an hour old, but something was asked five seconds ago.
    before = steady(8, last_look_s=NOW_S - 900, **state)
    ring = remember_serving(before, seen(None, 4), NOW_S)
    assert ring[1:] == (ServingChange(NOW_S - 5, None), ServingChange(NOW_S, 4))


def test_an_unchanged_count_keeps_the_ring():
    state = steady(2)
    assert remember_serving(state, seen(None, 2), NOW_S) is state.serving


@pytest.mark.parametrize(
    ("desired", "current", "status", "known_before"),
    [
        (4, 4, ComponentStatus.IN_SERVICE, 4),
        (4, 4, ComponentStatus.UPDATING, None),  # being changed: who served a minute ago is not known
        (8, 4, ComponentStatus.IN_SERVICE, None),
    ],
)
def test_the_first_look_assumes_the_past_only_if_nothing_is_being_changed(desired, current, status, known_before):
    ring = remember_serving(TargetState(), seen(None, desired, current, status=status), NOW_S)
    assert serving_during(ring, NOW_S - 100, NOW_S - 90, current) == known_before
    assert serving_during(ring, NOW_S, NOW_S + 10, current) == current


def test_the_ring_stays_in_order_when_clocks_differ_and_keeps_an_hour():
    state = TargetState(serving=(ServingChange(NOW_S + 3, 2),), last_look_s=NOW_S + 3)
    ring = remember_serving(state, seen(None, 4), NOW_S)
    assert [c.at_s for c in ring] == sorted(c.at_s for c in ring)
    old = tuple(ServingChange(NOW_S - 7_200 + 600 * i, i + 1) for i in range(12))
    ring = remember_serving(TargetState(serving=old, last_look_s=NOW_S - 10), seen(None, 20), NOW_S)
    assert ring[0] == ServingChange(NOW_S - 3_600, 7)


def test_the_ring_is_bounded():
    state = steady(1)
    for i in range(200):
        now_s = NOW_S + 10 * i
        state = replace(state, serving=remember_serving(state, seen(None, 1 + i % 3), now_s), last_look_s=now_s)
    assert len(state.serving) <= 60


# The newest datapoint.


@pytest.mark.parametrize("newest", [0, 1, 9, 39])
def test_the_newest_still_filling_datapoint_never_lowers_the_total(newest):
    assert measured(totals([40] * 30 + [newest], 8), 8, steady(8)).total == 40.0


def test_the_newest_datapoint_raises_the_total():
    assert measured(totals([40] * 30 + [100], 8), 8, steady(8)).total == pytest.approx(50.0)


def test_newest_is_the_larger_of_the_two_newest_but_not_one_from_before_a_gap():
    assert measured(totals([4] * 28 + [60, 5], 8), 8, steady(8)).newest == 60.0
    assert measured(totals([60] * 10 + [None] * 20 + [5], 8), 8, steady(8)).newest == 5.0


def test_a_young_window_is_the_mean_of_what_is_there():
    assert measured(totals([None] * 20 + [40, 40], 8), 8, steady(8)).total == 40.0


def test_a_datapoint_of_the_future_is_none():
    series = Series(10.0, (*totals([10] * 10, 2).points, Datapoint(NOW_S + 30, average=5_000.0)))
    assert measured(series, 2, steady(2)).total == 10.0


# What a value can be.


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0, 1e8, 1e300])
def test_values_that_cannot_be_counts_are_unknown_not_zero_and_not_load(bad):
    good = totals([40] * 30, 8)
    points = tuple(Datapoint(p.at_s, bad, bad) if i % 3 == 0 else p for i, p in enumerate(good.points))
    demand = measured(Series(10.0, points), 8, steady(8))
    assert (demand.total, demand.newest) == (40.0, 40.0)
    assert len(demand.totals) == 19


def test_only_bad_values_are_no_data():
    assert measured(totals([math.nan] * 30, 8), 8, steady(8)).kind is DemandKind.NO_DATA


def test_the_largest_possible_values_stay_numbers():
    demand = measured(Series(10.0, tuple(Datapoint(NOW_S - 310 + 10 * i, 1e7) for i in range(30))), 1000, steady(1000))
    assert demand.total == 1e10
    assert Sizing(1e-3).copies(demand.load) == 10_000_000_000_000


def test_a_past_spike_leaves_no_residue_of_load():
    demand = measured(totals([8e7] * 6 + [0] * 30, 8), 8, steady(8))
    assert [mean for _, mean in demand.window_means(NOW_S - 200)] == [Load(0.0, 0.0)] * 18


# Average and Maximum.


def test_average_is_sized_on_where_it_flows_and_recorded():
    assert measured(totals([40] * 30, 8), 8, steady(8)).statistic == "Average"


def test_maximum_is_sized_on_where_average_does_not_flow_and_recorded():
    points = tuple(replace(p, average=None) for p in totals([40] * 30, 8).points)
    demand = measured(Series(10.0, points), 8, steady(8))
    assert (demand.statistic, demand.total) == ("Maximum", pytest.approx(52.0))


def test_an_average_that_stopped_flowing_does_not_hide_the_maximum():
    points = totals([40] * 30, 8).points
    points = points[:15] + tuple(replace(p, average=None) for p in points[15:])
    demand = measured(Series(10.0, points), 8, steady(8))
    assert (demand.kind, demand.statistic) == (DemandKind.KNOWN, "Maximum")


# No data, no traffic, no copies.


@pytest.mark.parametrize(
    ("values", "current", "invocations", "kind"),
    [
        ([40] * 30, 8, None, DemandKind.KNOWN),
        ([0] * 30, 8, None, DemandKind.NO_TRAFFIC),  # zeros are published: zero is known
        ([0] * 30, 8, [0, 0, 0], DemandKind.NO_TRAFFIC),
        ([0] * 30, 8, [0, 2, 0], DemandKind.KNOWN),  # short requests between the samples are traffic
        ([0] * 30 + [1], 8, None, DemandKind.KNOWN),
        ([40] * 30 + [None] * 10, 8, None, DemandKind.NO_DATA),  # the metric stopped
        (None, 8, None, DemandKind.NO_DATA),
        ([None], 8, [0, 0, 0], DemandKind.NO_TRAFFIC),  # silent, but nothing was invoked
        ([None], 8, [0, 0], DemandKind.NO_DATA),  # two minutes are not enough
        ([None], 8, [0, None, 0, 0], DemandKind.NO_DATA),  # … nor three with a hole
        ([None], 8, [0, 0, 5], DemandKind.NO_DATA),
        ([None], 8, [5, 0, 0, 0], DemandKind.NO_TRAFFIC),
        ([40] * 30, 0, None, DemandKind.NO_COPIES),
        (None, 0, [0, 0, 0], DemandKind.NO_COPIES),
    ],
)
def test_no_data_no_traffic_and_no_copies_are_told_apart(values, current, invocations, kind):
    series = None if values is None else totals(values, 8)
    metrics = Metrics(concurrency=series, invocations=None if invocations is None else minutes(invocations))
    demand = measured(series, current, steady(8), metrics=metrics)
    assert demand.kind is kind
    assert (demand.total is None) == (kind in (DemandKind.NO_DATA, DemandKind.NO_COPIES))


def test_known_idleness_of_long_ago_is_no_data():
    metrics = Metrics(invocations=minutes([0] * 10, newest_ends_s=NOW_S - 600))
    assert measured(None, 8, steady(8), metrics=metrics).kind is DemandKind.NO_DATA


@pytest.mark.parametrize(("lag_s", "kind"), [(85.0, DemandKind.KNOWN), (95.0, DemandKind.NO_DATA)])
def test_ten_second_data_older_than_ninety_seconds_is_no_data(lag_s, kind):
    assert measured(totals([40] * 30, 8, lag_s=lag_s), 8, steady(8)).kind is kind


def test_minute_data_may_be_as_late_as_its_period_makes_it():
    points = tuple(Datapoint(NOW_S - 60 * (i + 3), average=5.0) for i in range(10))[::-1]
    demand = measured(Series(60.0, points), 8, steady(8))
    assert (demand.kind, demand.total) == (DemandKind.KNOWN, 40.0)


def test_what_waits_at_zero_copies_is_the_busiest_recent_ten_seconds():
    failures = Series(
        10.0, tuple(Datapoint(NOW_S - s, average=v) for s, v in ((120, 90.0), (60, 4.0), (20, 7.0), (10, math.nan)))
    )
    assert measured(None, 0, steady(0), metrics=Metrics(no_capacity=failures)).waiting == 7.0
    assert measured(None, 0, steady(0), metrics=Metrics(no_capacity=Series(10.0))).waiting == 0.0
    assert measured(None, 0, steady(0)).waiting is None


# Right after a change of copies.


def after_change(before, after, *, old=2, new=8, gap_s=10.0):
    """Totals `before` while `old` copies served, then `after` with `new`; the change lies `gap_s` between them."""
    changed_s = NOW_S - 10.0 * len(after) - 10.0
    ring = (ServingChange(NOW_S - 9_000, old), ServingChange(changed_s - gap_s, None), ServingChange(changed_s, new))
    first_s = changed_s - gap_s - 10.0 * len(before)
    points = [Datapoint(first_s + 10 * i, average=v / old) for i, v in enumerate(before)]
    points += [Datapoint(changed_s + 10 * i, average=v / new) for i, v in enumerate(after)]
    return measured(Series(10.0, tuple(points)), new, steady(new, serving=ring))


def test_queues_do_not_migrate_so_the_first_totals_after_a_change_are_bounded_by_the_one_before():
    # Old copies still hold 20 each; the metric times eight copies would read 160.
    demand = after_change([40] * 10, [160, 160])
    assert demand.totals[-1] == demand.newest == demand.total == 40.0
    assert demand.settling


def test_growth_that_was_measured_before_the_change_is_granted_after_it():
    demand = after_change([10, 12, 14, 16, 18, 20], [160, 160, 160])
    # 2 more per 10 s; the newest of those before began 20 s, 30 s and 40 s earlier.
    assert demand.totals[-2:] == (pytest.approx(24.0), pytest.approx(26.0))
    assert demand.newest == pytest.approx(28.0)


def test_a_fall_is_never_hidden_by_the_bound():
    assert after_change([40] * 10, [5, 5]).totals[-1] == 5.0


@pytest.mark.parametrize(("points_after", "settling"), [(0, True), (1, True), (3, True), (4, False), (9, False)])
def test_a_change_settles_when_three_complete_datapoints_have_followed(points_after, settling):
    assert after_change([40] * 10, [40] * points_after).settling is settling


def test_after_three_datapoints_the_metric_is_believed():
    demand = after_change([40] * 10, [160] * 5)
    assert demand.totals[-4:] == (40.0, 40.0, 40.0, 160.0)


def test_after_a_sleep_the_load_from_before_it_bounds_nothing():
    ring = (ServingChange(NOW_S - 9_000, 2), ServingChange(NOW_S - 600, 0), ServingChange(NOW_S - 30, 1))
    points = [Datapoint(NOW_S - 700 + 10 * i, average=0.0) for i in range(10)]
    points += [Datapoint(NOW_S - 30, average=25.0), Datapoint(NOW_S - 20, average=25.0)]
    demand = measured(Series(10.0, tuple(points)), 1, steady(1, serving=ring))
    assert demand.newest == 25.0


# How far back the load is known.


@pytest.mark.parametrize(
    ("known", "since"),
    [
        ("x" * 40, 40),
        ("x" * 20 + "." * 20 + "x" * 10, 10),  # a gap of 200 s ends what is known
        ("x" * 200 + "." * 20 + "x" * 3, 3),  # … and a long past cannot outvote it
        ("x" * 30 + "." * 9 + "x" * 30, 69),  # three in ten may be missing
        ("x" * 30 + "." * 7 + "x", 38),  # what lies between two looks, up to a minute
        ("x" * 30 + "." * 8 + "x", 1),
        ("x" * 30 + ".x" * 30, 15),  # half of them: no more than the slack
    ],
)
def test_load_is_known_since_the_last_real_gap(known, since):
    times = [10.0 * i for i, c in enumerate(known) if c == "x"]
    newest = len(known.rstrip(".")) - 1
    assert covered_since(times, 10.0) == 10.0 * (newest - since + 1)


def test_the_load_before_the_first_look_is_assumed_not_known():
    fresh = TargetState(serving=remember_serving(TargetState(), seen(None, 8), NOW_S))
    demand = measured(totals([4] * 90, 8), 8, fresh)
    assert demand.total == 4.0
    assert demand.covered_since_s(NOW_S) == NOW_S
