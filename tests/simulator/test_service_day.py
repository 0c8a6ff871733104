"""What is suggested from an emulated day, against the concurrency that the benchmark says a copy carries (C*)."""

from __future__ import annotations

import pytest

from quickstep.capacity.bend import calibrate
from simulator.bench.service_day import service_day
from simulator.physics.profiles import profile_named
from simulator.traffic.load import load_traffic

MARGIN = 0.15


@pytest.mark.parametrize(("profile", "share"), [("S", 0.35), ("M", 0.7), ("L", 1.0)])
def test_the_limit_for_the_promised_latency_is_c_star_within_15_percent(profile, share):
    law = profile_named(profile)
    traffic = load_traffic("generated:day:chat", profile=law, seed=1, mean_copies=1.0)
    day = service_day(law, traffic, share=share, seed=1)
    found = calibrate(day.minutes, latency_limit_s=day.latency_slo_s)
    assert found.limit is not None, found.detail
    assert found.limit.per_copy == pytest.approx(day.concurrency, rel=MARGIN)
    assert found.limit.low <= day.concurrency <= found.limit.high
    # Requests in flight are arrivals times latency: both sides of the evidence speak of the same requests.
    assert found.little == pytest.approx(1.0, abs=0.05)


def test_a_day_whose_mix_of_prompts_and_answers_jumps_every_two_hours_is_refused():
    law = profile_named("M")
    traffic = load_traffic("generated:day:shifting", profile=law, seed=0, mean_copies=1.0)
    day = service_day(law, traffic, share=0.7)
    found = calibrate(day.minutes)
    assert found.unfit is not None and found.detail
