"""`crowds`: the generated family that is held out. Nobody tunes on it; it is only scored.

Made unlike the other families on purpose: no daily wave and no Markov bursts. The level is a sum of many on/off crowds
whose on and off times are Pareto distributed, so it is bursty on every time scale (Willinger et al., "Self-similarity
through high-variability", SIGCOMM 1995). Over the slice the level doubles, and answers grow half as long again.
"""

from __future__ import annotations

import numpy as np

from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import OpenArrivals
from simulator.traffic.generated import MINUTE_S, GeneratedTrace

CROWDS = "crowds"
SOURCES = 40
TAIL = 1.4
"""Exponent of the Pareto times: finite mean, infinite variance."""
SHORTEST_ON_S = 240.0
SHORTEST_OFF_S = 900.0
FLOOR = 3.0
"""Crowds that are always there."""
GROWTH = 2.0
LONGER_ANSWERS = 1.5


def crowds_trace(seed: int, length_s: float, profile: ServiceProfile, mean_copies: float) -> OpenArrivals:
    """Requests of `length_s` seconds from 0 with a mean demand of `mean_copies`. The same arguments, the same requests."""
    minutes = round(length_s / MINUTE_S)
    if minutes < 1:
        raise ValueError(f"a generated trace of {length_s} s is too short; give at least a minute")
    rng = np.random.default_rng([seed, 41])
    level = np.full(minutes, FLOOR)
    for _ in range(SOURCES):
        level += _crowd(rng, minutes)
    grown = np.linspace(0.0, 1.0, minutes)
    level *= GROWTH**grown
    # Whole steps of a tenth: each distinct mix costs one integration of the size law.
    answers = np.round(LONGER_ANSWERS**grown, 1)
    unit = GeneratedTrace(level, np.ones(minutes), answers, 1.0)
    _, copy_s = unit.expected(profile, 0.0, unit.length_s)
    times_s, tokens_in, tokens_out = unit.requests(seed, mean_copies * unit.length_s / copy_s, 0.0, unit.length_s)
    return OpenArrivals(np.minimum(times_s, np.nextafter(unit.length_s, 0.0)), tokens_in, tokens_out, 0.0)


def _crowd(rng: np.random.Generator, minutes: int) -> np.ndarray:
    """1 while one crowd is there, 0 while it is not, by minute (a part of a minute counts in part)."""
    share, at_s = np.zeros(minutes), 0.0
    on = bool(rng.random() < 0.2)
    # It has been going on for a while when the slice begins.
    at_s -= rng.random() * (SHORTEST_ON_S if on else SHORTEST_OFF_S)
    while at_s < minutes * MINUTE_S:
        lasts_s = (SHORTEST_ON_S if on else SHORTEST_OFF_S) * (1.0 + rng.pareto(TAIL))
        if on:
            begin, end = max(0.0, at_s) / MINUTE_S, min(minutes * MINUTE_S, at_s + lasts_s) / MINUTE_S
            if end > begin:
                edges = np.clip(np.arange(int(begin), int(np.ceil(end)) + 1), begin, end)
                share[int(begin) : int(begin) + len(edges) - 1] += np.diff(edges)
        at_s += lasts_s
        on = not on
    return share
