"""Bend: what one copy carries, from minutes whose law is known, and from minutes that say nothing."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickstep.capacity.bend import BEND_RATIO, Unfit, calibrate
from quickstep.model.service import ServiceMinute

DOUBLING, UNLOADED_S = 10.0, 0.8
BEND = (BEND_RATIO - 1) * DOUBLING


def waving(minute, draw):
    return (0.27 + 0.18 * math.sin(minute / 120)) * draw.uniform(0.5, 1)


def minutes_of(
    *,
    hours=24,
    load=waving,
    mix=lambda half_hour, draw: 1.0,
    noise=0.0,
    doubling=DOUBLING,
    unloaded_s=UNLOADED_S,
    seed=1,
    known_arrivals=True,
):
    """Minutes that keep latency = work × (1 + n / doubling) and Little's law, n = arrivals × latency, to the digit.

    `load`: arrivals as a share of the most that a copy can do, 0 to 1. `mix`: work of a half hour; `noise`: standard
    deviation of the logarithm of a minute's own work. Long answers raise concurrency too, as they do in truth.
    """
    draw, found = random.Random(seed), []
    works = [unloaded_s * mix(half_hour, draw) for half_hour in range(2 * hours)]
    for minute in range(60 * hours):
        arrivals = load(minute, draw) * 60 * doubling / unloaded_s
        work_s = works[minute // 30] * math.exp(draw.gauss(0, noise) if noise else 0.0)
        pressure = min(0.97, arrivals / 60 * work_s / doubling)
        per_copy = doubling * pressure / (1 - pressure)
        found.append(
            ServiceMinute(
                at_s=60.0 * minute,
                per_copy=per_copy,
                latency_s=work_s * (1 + per_copy / doubling),
                requests=2 * arrivals,
                arrivals_per_copy=arrivals if known_arrivals else None,
            )
        )
    return found


def straight_line(minutes):
    """The bend that a least-squares line through all minutes has."""
    xs, ys = [one.per_copy for one in minutes], [one.latency_s for one in minutes]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)
    return (BEND_RATIO - 1) * (y - slope * x) / slope


# -- what is found -------------------------------------------------------------------------------------------------------


def test_a_law_without_noise_is_found_to_the_digit():
    found = calibrate(minutes_of())
    assert found.unfit is None and found.law is not None and found.limit is not None
    assert found.law.doubling == pytest.approx(DOUBLING, rel=0.01)
    assert found.law.unloaded_s == pytest.approx(UNLOADED_S, rel=0.01)
    assert found.limit.per_copy == pytest.approx(BEND, rel=0.01)
    assert found.little == pytest.approx(1.0)


# users' limit in ms → requests in flight per copy at which unloaded × (1 + n / doubling) is that
@pytest.mark.parametrize(("limit_ms", "want"), [(1000, 2.5), (1200, 5.0), (1600, 10.0), (2400, 20.0)])
def test_a_limit_of_the_users_is_where_the_law_reaches_it(limit_ms, want):
    found = calibrate(minutes_of(noise=0.02), latency_limit_s=limit_ms / 1000)
    assert found.limit is not None and found.limit.is_given
    assert found.limit.per_copy == pytest.approx(want, rel=0.08)
    assert found.limit.low <= want <= found.limit.high


def test_answers_that_are_longer_at_night_are_not_taken_for_a_copy_that_is_slow_without_load():
    def drifting(half_hour, draw):
        return 1.6 if half_hour % 48 < 16 else 1.0

    def daily(minute, draw):
        return 0.12 + 0.1 * draw.random() if minute % 1440 < 480 else 0.3 + 0.2 * draw.random()

    minutes = minutes_of(load=daily, mix=drifting, noise=0.03)
    assert straight_line(minutes) < 0  # to a straight line latency falls with load
    found = calibrate(minutes)
    assert found.limit is not None and found.limit.per_copy == pytest.approx(BEND, rel=0.1)


def test_minutes_of_long_answers_are_not_taken_for_minutes_of_load():
    minutes = minutes_of(noise=0.2)
    assert straight_line(minutes) < 0.75 * BEND
    found = calibrate(minutes)
    assert found.limit is not None and found.limit.per_copy == pytest.approx(BEND, rel=0.2)
    # Without arrivals that trap cannot be avoided, and the calibration says so.
    blind = calibrate(minutes_of(noise=0.2, known_arrivals=False))
    assert not blind.by_arrivals and found.by_arrivals
    assert blind.limit is not None and blind.limit.per_copy < 0.8 * BEND


def test_one_stuck_minute_moves_nothing():
    minutes = minutes_of(noise=0.05)
    plain = calibrate(minutes).limit
    minutes[700] = dataclasses.replace(minutes[700], latency_s=100 * minutes[700].latency_s)
    stuck = calibrate(minutes).limit
    assert plain is not None and stuck is not None
    assert stuck.per_copy == pytest.approx(plain.per_copy, rel=0.03)


def test_overload_is_told_apart_from_the_law():
    minutes = minutes_of(noise=0.05)
    for minute in range(600, 640):
        queue = 4 * DOUBLING + minute - 600
        # With all sequences taken a request waits for those before it: latency grows as the queue does.
        minutes[minute] = dataclasses.replace(minutes[minute], per_copy=queue, latency_s=0.2 * queue)
    found = calibrate(minutes)
    assert found.overload_minutes == 40
    # What was seen of the queue is not what was seen of the law.
    assert found.seen_high is not None and found.seen_high >= 4 * DOUBLING
    assert found.lawful_high is not None and found.lawful_high < 3 * DOUBLING
    assert found.limit is not None and found.limit.per_copy == pytest.approx(BEND, rel=0.1)


def test_the_evidence_puts_every_minute_into_one_bin_and_evens_out_the_mix():
    def drifting(half_hour, draw):
        return 1.5 if half_hour % 2 else 1.0

    found = calibrate(minutes_of(mix=drifting, noise=0.02))
    assert sum(one.minutes for one in found.bins) == found.minutes == 1440
    assert [one.low for one in found.bins] == sorted(one.low for one in found.bins)
    for one in found.bins:
        assert one.even_latency_s == pytest.approx(one.law_s, rel=0.05)


# -- what is refused -----------------------------------------------------------------------------------------------------


def steady(minute, draw):
    return 0.4


def rising_free():
    """Latency has nothing to do with concurrency."""
    draw = random.Random(3)
    return [
        dataclasses.replace(one, latency_s=UNLOADED_S * math.exp(draw.gauss(0, 0.1))) for one in minutes_of(noise=0.05)
    ]


def all_queue():
    """Latency is proportional to concurrency: nothing but waiting."""
    return [dataclasses.replace(one, latency_s=0.2 * one.per_copy) for one in minutes_of()]


def beyond():
    """Even the quietest minutes are far beyond the bend."""
    return minutes_of(load=lambda minute, draw: 0.6 + 0.1 * draw.random(), noise=0.002)


REFUSALS = [
    ("nothing", list, None, Unfit.TOO_FEW_MINUTES),
    ("three hours", lambda: minutes_of(hours=3), None, Unfit.TOO_FEW_MINUTES),
    ("a request every ten minutes", lambda: minutes_of()[::10], None, Unfit.TOO_FEW_MINUTES),
    ("load that never changes", lambda: minutes_of(load=steady, noise=0.02), None, Unfit.RANGE_TOO_NARROW),
    ("only the answers change", lambda: minutes_of(load=steady, noise=0.4), None, Unfit.NO_RISE),
    ("no rise", rising_free, None, Unfit.NO_RISE),
    ("queue only", all_queue, None, Unfit.OVERLOAD_ONLY),
    ("beyond the bend only", beyond, None, Unfit.OVERLOAD_ONLY),
    ("little and noisy", lambda: minutes_of(hours=8, noise=0.2), None, Unfit.TOO_UNCERTAIN),
    ("an impossible limit", lambda: minutes_of(), 0.3, Unfit.LIMIT_BELOW_UNLOADED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("minutes", "limit_s", "want"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_evidence_that_is_not_enough_is_refused_with_its_reason(minutes, limit_s, want):
    found = calibrate(minutes(), latency_limit_s=limit_s)
    assert (found.unfit, found.limit) == (want, None)
    assert found.detail


@pytest.mark.parametrize("limit_s", [0.0, -1.0, math.nan, math.inf])
def test_a_limit_that_is_none_is_refused(limit_s):
    with pytest.raises(ValueError, match="latency_limit_s"):
        calibrate(minutes_of(hours=1), latency_limit_s=limit_s)


@pytest.mark.parametrize("field", ["per_copy", "latency_s", "requests"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_a_minute_that_cannot_be_is_left_out(field, value):
    minutes = minutes_of(hours=6)
    broken = [*minutes, dataclasses.replace(minutes[5], at_s=1e6, **{field: value})]
    assert calibrate(broken) == calibrate(minutes)


# -- what holds for all minutes ------------------------------------------------------------------------------------------

seeds = st.integers(0, 10_000)


@settings(max_examples=8, deadline=None)
@given(seed=seeds, factor=st.floats(0.01, 3.0))
def test_latencies_times_a_constant_have_the_same_bend(seed, factor):
    minutes = minutes_of(hours=12, noise=0.1, unloaded_s=0.3, seed=seed)
    scaled = [dataclasses.replace(one, latency_s=factor * one.latency_s) for one in minutes]
    one, other = calibrate(minutes), calibrate(scaled)
    assert one.unfit is other.unfit
    if one.limit is not None and other.limit is not None:
        assert other.limit.per_copy == pytest.approx(one.limit.per_copy, rel=1e-6)
        assert other.limit.latency_s == pytest.approx(factor * one.limit.latency_s, rel=1e-6)


@settings(max_examples=12, deadline=None)
@given(seed=seeds, noise=st.floats(0.0, 0.1), doubling=st.floats(2.0, 60.0))
def test_noise_of_10_percent_on_every_minute_moves_the_bend_of_a_day_by_less_than_a_quarter(seed, noise, doubling):
    found = calibrate(minutes_of(noise=noise, doubling=doubling, seed=seed))
    assert found.limit is not None
    assert found.limit.per_copy == pytest.approx((BEND_RATIO - 1) * doubling, rel=0.25)
    assert found.limit.low <= found.limit.per_copy <= found.limit.high


@settings(max_examples=4, deadline=None)
@given(seed=seeds, shuffle=st.randoms(use_true_random=False))
def test_the_order_of_the_minutes_does_not_matter(seed, shuffle):
    minutes = minutes_of(hours=8, noise=0.05, seed=seed)
    shuffled = shuffle.sample(minutes, len(minutes))
    assert calibrate(shuffled) == calibrate(minutes)


@settings(max_examples=3, deadline=None)
@given(seed=seeds)
def test_users_who_wait_longer_never_get_a_lower_limit(seed):
    minutes = minutes_of(hours=12, noise=0.05, seed=seed)
    limits = [calibrate(minutes, latency_limit_s=limit_s).limit for limit_s in (1.0, 1.2, 1.5, 1.9)]
    found = [limit.per_copy for limit in limits if limit is not None]
    assert len(found) >= 3 and found == sorted(found)
