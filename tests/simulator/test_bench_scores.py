"""The bench's figures: those of the score of a simulation, and the two that AWS defines."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.aws.sagemaker_delays import Delays, DelayStream
from simulator.bench.compiled_fleet import CompiledFleet
from simulator.bench.peers_drive import drive_peer
from simulator.bench.platform import Platform
from simulator.bench.prepare import prepare
from simulator.bench.scores import elastic_speedup, run_figures, scaling_time_s, time_to_alarm_s
from simulator.bench.slices import Slice
from simulator.peers.view import Sensing
from simulator.score import Supply, score_run

BUSY = Slice(name="busy", generated="bursty", profile="M", days=0.1, mean_copies=3, max_copies=4)


class Six:
    """A trivial rule of our own: as many copies as six requests in flight on each ask for."""

    name, period_s, sensing = "six", 10.0, Sensing(10.0, 0.0)

    def decide(self, view):
        total = view.metrics.mean_total(30.0)
        return None if total is None else view.clamp(np.ceil(total / 6))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run of a small slice: (prepared, fleet, platform)."""
    prepared = prepare(BUSY, 3, traces=None, folder=tmp_path_factory.mktemp("busy"), launch_s=258.0)
    fleet = CompiledFleet(prepared.profile, prepared.trace, window_s=10.0)
    platform = Platform(fleet, DelayStream(Delays(), 3), copies=2, min_copies=1, max_copies=4, release_s=0.0)
    drive_peer(platform, Six(), prepared.length_s)
    return prepared, fleet, platform


def test_figures_are_those_that_a_simulation_is_scored_with(finished):
    prepared, fleet, platform = finished
    copies, instances, asked = platform.per_period(prepared.length_s, 10.0)
    arrivals, _ = BUSY.load(None, 3)
    score = score_run(
        fleet.log(), Supply(0.0, copies, instances, asked), prepared.profile, arrivals=arrivals, max_copies=4
    ).to_dict()
    figures = run_figures(prepared, fleet, platform)
    assert score["lost"] and score["late"] and score["changes"] > 10  # it was not easy
    assert set(score) <= set(figures)
    for name, value in score.items():
        # Percentiles are taken in single precision.
        tolerance = 1e-6 if name.startswith("ttft") else 1e-12
        assert figures[name] == pytest.approx(value, rel=tolerance, abs=1e-9), name


def test_churn_counts_copies_and_changes_count_requests(finished):
    prepared, fleet, platform = finished
    figures = run_figures(prepared, fleet, platform)
    _, _, asked = platform.per_period(prepared.length_s, 10.0)
    days = prepared.length_s / 86_400
    assert figures["churn_per_day"] == pytest.approx(np.abs(np.diff(asked)).sum() / days)
    assert figures["changes_per_day"] == pytest.approx(figures["changes"] / days)


# needed per 10 s, copies per 10 s, wishes, expected
RISES = [
    ([1] * 60, [1] * 60, [(0.0, 1)], None),  # never short
    ([1] * 10 + [3] * 50, [1] * 60, [(0.0, 1), (140.0, 3)], 40.0),  # asked 40 s after the rise
    ([1] * 10 + [3] * 50, [1] * 60, [(0.0, 1), (80.0, 3)], 0.0),  # asked before it
    ([1] * 10 + [3] * 50, [1] * 60, [(0.0, 1)], None),  # never asked
    ([1] * 10 + [3] * 3 + [1] * 47, [1] * 60, [(0.0, 1), (110.0, 3)], None),  # half a minute is noise
    ([1] * 10 + [3] * 50, [1] * 60, [(0.0, 1), (140.0, 1), (180.0, 2)], 80.0),  # a wish for what is there is none
    # two rises: 20 s and 60 s
    ([2] * 20 + [1] * 10 + [2] * 30, [1] * 60, [(0.0, 1), (20.0, 2), (210.0, 1), (360.0, 2)], 40.0),
]


@pytest.mark.parametrize(("needed", "copies", "wishes", "expected"), RISES)
def test_time_to_alarm_is_from_the_rise_to_the_first_wish_for_more(needed, copies, wishes, expected):
    found = time_to_alarm_s(np.array(copies), np.array(needed), wishes)
    assert found == (None if expected is None else pytest.approx(expected))


# wishes, supply, expected
RAISES = [
    ([(0.0, 1)], [(0.0, 1)], None),
    ([(0.0, 1), (100.0, 3)], [(0.0, 1), (300.0, 2), (400.0, 3)], 300.0),
    ([(0.0, 1), (100.0, 3), (200.0, 1)], [(0.0, 1)], None),  # taken back
    ([(0.0, 1), (100.0, 2), (150.0, 4)], [(0.0, 1), (350.0, 4)], 225.0),  # 250 s and 200 s
    ([(0.0, 3), (100.0, 1)], [(0.0, 3), (100.0, 1)], None),  # a scale-in is no raise
]


@pytest.mark.parametrize(("wishes", "supply", "expected"), RAISES)
def test_scaling_time_is_from_the_wish_until_as_many_serve(wishes, supply, expected):
    assert scaling_time_s(wishes, supply) == (None if expected is None else pytest.approx(expected))


def test_elastic_speedup_compares_with_a_fleet_that_has_the_mean():
    needed = np.array([1, 1, 3, 3] * 30)
    # The mean is 2: short and over by 1 half of the time each.
    assert elastic_speedup(np.full(120, 2), needed) == pytest.approx(1.0)
    # Never over: not defined.
    assert elastic_speedup(np.ones(120, dtype=int), needed) is None
    # One step late: half as often wrong, by twice as much in relation: worked out by hand.
    late = np.roll(needed, 1)
    fixed = {"u": (1 / 3) / 2, "o": 1.0 / 2, "tu": 0.5, "to": 0.5}
    found = {"u": (2 / 3) / 4, "o": 2.0 / 4, "tu": 0.25, "to": 0.25}
    expected = np.prod([fixed[name] / found[name] for name in fixed]) ** 0.25
    assert elastic_speedup(late, needed) == pytest.approx(expected)
