"""Metric points for peers: windows, gaps, lateness and forgetting, against a list that is summed anew each time."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.peers import MetricRing

POINTS = st.lists(
    st.one_of(
        st.none(),
        st.tuples(
            st.floats(0, 500, allow_nan=False),
            st.integers(0, 9),
            st.integers(0, 50),
            st.integers(0, 50),
            st.floats(0, 100, allow_nan=False),
        ),
    ),
    min_size=1,
    max_size=90,
)


def filled(points, **how):
    ring = MetricRing(2.0, **how)
    for point in points:
        if point is None:
            ring.push_gap()
        else:
            total, serving, arrivals, completions, latency = point
            ring.push(
                total,
                serving,
                total_max=2 * total,
                arrivals=arrivals,
                completions=completions,
                latency_sum_s=latency,
                waiting=total / 4,
                refused=arrivals / 2,
            )
    return ring


def mean(values):
    return math.fsum(values) / len(values) if values else None


def same(got, want):
    assert (got is None) == (want is None), (got, want)
    assert want is None or math.isclose(got, want, rel_tol=1e-9, abs_tol=1e-9)


@settings(max_examples=150, deadline=None)
@given(points=POINTS, window=st.integers(1, 12), ago=st.integers(0, 12), late=st.integers(0, 3))
def test_every_window_equals_the_plain_sum_over_its_known_points(points, window, ago, late):
    # 24 s are kept, less than is pushed: the totals begin anew several times.
    ring = filled(points, keep_s=48.0, delay_s=2.0 * late)
    ring.show(2.0 * len(points))
    visible = points[: max(0, len(points) - late)]
    end = max(0, len(visible) - ago)
    # Only what the ring promises: `keep_s` back from the newest visible point.
    assume(end - window >= len(visible) - 24)
    shown = visible[max(0, end - window) : end]
    known = [p for p in shown if p is not None]
    end_s, window_s = 2.0 * end, 2.0 * window
    same(ring.mean_total(window_s, end_s), mean([p[0] for p in known]))
    same(ring.max_total(window_s, end_s), max((2 * p[0] for p in known), default=None))
    same(ring.mean_per_copy(window_s, end_s), mean([p[0] / p[1] for p in known if p[1]]))
    same(ring.max_per_copy(window_s, end_s), max((2 * p[0] / p[1] for p in known if p[1]), default=None))
    same(ring.mean_serving(window_s, end_s), mean([p[1] for p in known]))
    same(ring.mean_waiting(window_s, end_s), mean([p[0] / 4 for p in known]))
    same(ring.arrivals_per_s(window_s, end_s), mean([p[2] / 2.0 for p in known]))
    same(ring.refused_per_s(window_s, end_s), mean([p[2] / 4.0 for p in known]))
    same(ring.completions_per_s(window_s, end_s), mean([p[3] / 2.0 for p in known]))
    completed = sum(p[3] for p in known)
    same(ring.mean_latency_s(window_s, end_s), math.fsum(p[4] for p in known) / completed if completed else None)
    assert ring.known_points(window_s, end_s) == len(known)


@pytest.mark.parametrize(
    ("now_s", "end_s"),
    [(9.9, None), (19.9, None), (20.0, 10.0), (29.99, 10.0), (30.0, 20.0), (1e9, 30.0)],
    ids=["filling", "ended, not published", "published", "next one filling", "next one", "not more than was pushed"],
)
def test_a_point_is_visible_once_it_has_ended_and_its_delay_is_over(now_s, end_s):
    ring = MetricRing(10.0, delay_s=10.0)
    for total in (1.0, 2.0, 3.0):
        ring.push(total, 1)
    ring.show(now_s)
    assert ring.end_s == end_s
    assert ring.mean_total(10.0) == (None if end_s is None else end_s / 10)


def test_what_was_visible_stays_so_when_the_clock_is_asked_for_an_earlier_time():
    ring = filled([(1.0, 1, 0, 0, 0.0)] * 5)
    ring.show(8.0)
    ring.show(3.0)
    assert ring.end_s == 8.0


@pytest.mark.parametrize(("pushed", "end_s"), [(5, None), (6, 60.0), (11, 60.0), (12, 120.0)], ids=lambda v: str(v))
def test_a_clock_aligned_period_counts_when_its_last_point_is_there(pushed, end_s):
    ring = MetricRing(10.0)
    for _ in range(pushed):
        ring.push(1.0, 1)
    ring.show(10.0 * pushed)
    assert ring.period_end_s(60.0) == end_s


def test_no_period_is_complete_before_the_first_point():
    assert MetricRing(10.0).period_end_s(60.0) is None
    assert MetricRing(10.0).end_s is None


def test_a_copyless_point_has_a_total_but_no_value_per_copy():
    ring = MetricRing(10.0)
    ring.push(0.0, 0, refused=3)
    ring.show(10.0)
    assert (ring.mean_total(10.0), ring.mean_per_copy(10.0), ring.max_per_copy(10.0)) == (0.0, None, None)
    assert ring.refused_per_s(10.0) == 0.3


def test_a_young_window_is_not_diluted_by_points_that_never_were():
    ring = MetricRing(1.0)
    ring.push(40.0, 1)
    ring.show(1.0)
    assert ring.mean_total(60.0) == 40.0


def test_a_week_of_points_loses_no_digits_and_keeps_no_history():
    ring = MetricRing(2.0, keep_s=60.0)
    for i in range(302_400):
        ring.push(0.1 if i % 2 else 1e6, 1)
    ring.show(604_800.0)
    assert ring.mean_total(60.0) == pytest.approx((1e6 + 0.1) / 2, rel=1e-12)
    assert ring.end_s == 604_800.0
    assert ring.start_s >= 604_800.0 - 2 * 64.0


def test_epoch_times_work_as_well_as_small_ones():
    start = 1_767_225_600.0
    ring = MetricRing(10.0, delay_s=10.0, start_s=start)
    for i in range(500):
        ring.push(float(i), 1)
        ring.show(start + 10.0 * (i + 1))
    assert ring.end_s == start + 4990.0
    assert ring.mean_total(20.0) == 497.5
    assert ring.period_end_s(60.0) == start + 4980.0
    assert ring.mean_total(60.0, start + 4980.0) == mean(range(492, 498))


@pytest.mark.parametrize(
    ("how", "word"),
    [({"point_s": 0}, "point_s"), ({"point_s": 1, "delay_s": -1}, "delay_s"), ({"point_s": 10, "keep_s": 5}, "keep_s")],
)
def test_lengths_that_make_no_sense_are_refused_by_name(how, word):
    with pytest.raises(ValueError, match=word):
        MetricRing(**how)


def test_points_are_equal_periods():
    """The end of each visible point is one period after the last."""
    ring, ends = MetricRing(5.0), []
    for _ in range(20):
        ring.push(1.0, 1)
        ring.show(1e6)
        ends.append(ring.end_s)
    assert {b - a for a, b in pairwise(ends)} == {5.0}
