"""Minutes of service of a fleet under traffic, with copies that follow the load: what CloudWatch would have kept of it.

Only the fleet's physics, no account: a day in about a second. The scaling is the simplest there is (in flight over a
target, up after three minutes, down after six quiet ones), so that copies carry what a scaled component's copies carry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from quickstep.model.service import ServiceMinute
from simulator.physics.fleet import CopyFleet
from simulator.physics.profiles import ServiceProfile, cstar
from simulator.traffic.load import Traffic

MINUTE_S = 60.0
UP_AFTER_MIN = 3
DOWN_AFTER_MIN = 6


@dataclass(frozen=True, slots=True)
class ServiceDay:
    """What was seen, and what is true of it."""

    minutes: tuple[ServiceMinute, ...]
    concurrency: float
    """C*: requests in flight per copy at which a request of mean size just keeps the profile's inter-token SLO."""
    latency_slo_s: float
    """How long its answer takes then: output tokens times that SLO."""


def service_day(
    profile: ServiceProfile, traffic: Traffic, *, share: float, seed: int = 0, client_timeout_s: float = 120.0
) -> ServiceDay:
    """Run open-loop `traffic` with a target per copy of `share` (above 0) of C*."""
    arrivals = traffic.arrivals
    mean_in, mean_out = float(arrivals.input_tokens.mean()), float(arrivals.output_tokens.mean())
    concurrency = cstar(profile, mean_in, mean_out)
    fleet = CopyFleet(profile, arrivals, client_timeout_s=client_timeout_s, seed=seed, start_s=traffic.start_s)
    fleet.add_copy("copy-0", traffic.start_s)
    serving, made = ["copy-0"], 1
    minutes: list[ServiceMinute] = []
    needs: list[int] = []
    now_s = traffic.start_s
    while now_s + MINUTE_S <= traffic.end_s:
        now_s += MINUTE_S
        fleet.advance(now_s)
        window = fleet.take_window(now_s)
        copies = len(serving)
        if window.latency_count and window.in_flight_mean > 0:
            minutes.append(
                ServiceMinute(
                    at_s=now_s - MINUTE_S,
                    per_copy=window.in_flight_mean / copies,
                    latency_s=window.latency_sum_s / window.latency_count,
                    requests=window.latency_count,
                    arrivals_per_copy=window.invocations / copies,
                )
            )
        needs.append(max(1, math.ceil(window.in_flight_mean / (share * concurrency))))
        for _ in range(max(0, min(needs[-UP_AFTER_MIN:]) - copies)):
            serving.append(f"copy-{made}")
            made += 1
            fleet.add_copy(serving[-1], now_s)
        if max(needs[-DOWN_AFTER_MIN:]) < copies:
            fleet.remove_copy(serving.pop(), now_s)
    return ServiceDay(tuple(minutes), concurrency, mean_out * profile.itl_slo_s)
