"""How near `quickstep suggest` comes to the concurrency that a profile really carries: `python -m benchmarks.suggest_accuracy`.

Every day is one of generated traffic (seeded) or a trace file, run through the fleet's physics with copies that follow
the load at a share of C*. The estimator sees what CloudWatch would have, minute by minute. Its limit for the promised
latency (mean output tokens × the profile's inter-token SLO) is held against C*, the concurrency that the benchmark
computes from the profile's constants and the traffic's mean token sizes.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Iterable

from quickstep.capacity.bend import Calibration, calibrate
from simulator.bench.service_day import ServiceDay, service_day
from simulator.physics.profiles import PROFILES, profile_named
from simulator.traffic.load import load_traffic


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--kinds", default="chat,bursty,shifting", help="Kinds of generated traffic, with commas.")
    parser.add_argument("--profiles", default="S,M,L")
    parser.add_argument("--shares", default="0.35,0.7,1.0", help="Targets as shares of C*.")
    parser.add_argument("--trace", action="append", default=[], help="A trace file instead of generated traffic.")
    parser.add_argument("--mean-copies", type=float, default=2.0)
    words = parser.parse_args()
    traces = words.trace or [f"generated:{words.days}d:{kind}" for kind in words.kinds.split(",")]
    shares = [float(share) for share in words.shares.split(",")]
    names = [name for name in words.profiles.split(",") if name in PROFILES]
    print(
        f"{'traffic':<28} {'profile':>7} {'target':>7}   answered   limit / C*: median, worst      C* in the interval"
    )
    for trace, name, share in itertools.product(traces, names, shares):
        days = [_day(trace, name, share, seed, words) for seed in range(words.seeds)]
        print(f"{trace.rsplit('/', 1)[-1]:<28} {name:>7} {share:>5.2f} C*   {_line(days)}", flush=True)


def _day(trace: str, name: str, share: float, seed: int, words: argparse.Namespace) -> tuple[ServiceDay, Calibration]:
    profile = profile_named(name)
    length_s = words.days * 86_400.0
    traffic = load_traffic(trace, profile=profile, seed=seed, mean_copies=words.mean_copies, duration_s=length_s)
    day = service_day(profile, traffic, share=share, seed=seed)
    return day, calibrate(day.minutes, latency_limit_s=day.latency_slo_s)


def _line(days: Iterable[tuple[ServiceDay, Calibration]]) -> str:
    days = list(days)
    answered = [(day, found.limit) for day, found in days if found.limit is not None]
    told = f"{len(answered):>3} of {len(days):<3}"
    if not answered:
        return told
    ratios = sorted((limit.per_copy / day.concurrency for day, limit in answered), key=lambda one: abs(one - 1))
    inside = sum(limit.low <= day.concurrency <= limit.high for day, limit in answered)
    return f"{told}           {statistics.median(ratios):.2f}  {ratios[-1]:.2f}            {inside} of {len(answered)}"


if __name__ == "__main__":
    main()
