"""Traffic that needs no download: `generated:demo`, `generated:day`, `generated:6h:bursty`.

A generated trace is a demand curve in copies, one value per minute, times the profile's request rate per copy: a daily
wave, a slowly wandering level, bursts that a two-state Markov chain switches on and off, and regimes, each with its own
level and its own mix of prompt and answer lengths. Requests are Poisson within a minute, their sizes heavy-tailed.
`demo` is a script instead of a draw: two hours with one of everything an autoscaler must get right.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from simulator.physics.profiles import ServiceProfile
from simulator.traffic.recorded import Requests
from simulator.traffic.rows import MAX_SPAN_S, TraceError
from simulator.traffic.sizes import CONVERSATION, TokenSizes

PREFIX = "generated:"
MINUTE_S = 60.0
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How a kind of traffic moves. Factors multiply the level; durations are means of exponential draws."""

    wave: float = 0.0
    """Amplitude of the daily wave, 0 to 1; lowest at 04:00."""
    wander_sd: float = 0.0
    """Standard deviation of the slowly wandering logarithm of the level (correlation time 30 min)."""
    burst_factor: float = 1.0
    burst_s: float = 180.0
    calm_s: float = 3600.0
    regime_s: float = math.inf
    regime_level_sd: float = 0.0
    """Standard deviation of the logarithm of a regime's level."""
    regime_mix_sd: float = 0.0
    """Standard deviation of the logarithms of a regime's prompt and answer lengths."""
    awake_h: tuple[float, float] = (0.0, 24.0)
    """No traffic at all outside these hours of the day."""


SHAPES: dict[str, Shape] = {
    "chat": Shape(
        wave=0.6, wander_sd=0.12, burst_factor=1.8, burst_s=240, regime_s=28_800, regime_level_sd=0.2, regime_mix_sd=0.2
    ),
    "bursty": Shape(wave=0.3, wander_sd=0.1, burst_factor=4.0, burst_s=180, calm_s=2400),
    "onoff": Shape(wave=0.3, wander_sd=0.15, burst_factor=2.0, burst_s=240, awake_h=(7.0, 20.0)),
    "shifting": Shape(wave=0.3, wander_sd=0.1, regime_s=7200, regime_level_sd=0.4, regime_mix_sd=0.6),
}
"""Every kind of generated traffic."""

# (minutes, level at the beginning, level at the end)
_DEMO = (
    (15, 0.25, 0.25),  # quiet
    (25, 0.25, 1.0),  # ramp
    (15, 1.0, 1.0),
    (8, 4.0, 4.0),  # burst, four times the level
    (20, 1.0, 1.0),  # plateau
    (20, 1.0, 0.25),  # decline
    (17, 0.0, 0.0),  # idle
)
_MEAN_COPIES = {"demo": 2.0}
_DEFAULT_MEAN_COPIES = 4.0
_LENGTHS_S = {"day": DAY_S, "week": 7 * DAY_S}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)([mhd])")
_UNIT_S = {"m": MINUTE_S, "h": 3600.0, "d": DAY_S}


@dataclass(frozen=True, eq=False)
class GeneratedTrace:
    """A demand curve and the sizes of requests, minute by minute."""

    levels: np.ndarray
    """Relative demand of each minute."""
    in_factors: np.ndarray
    out_factors: np.ndarray
    """How much longer than `sizes` the prompts and answers of each minute are."""
    requests_per_s: float
    """Request rate at level 1."""
    sizes: TokenSizes = CONVERSATION

    @property
    def length_s(self) -> float:
        return len(self.levels) * MINUTE_S

    def expected(self, profile: ServiceProfile, from_s: float, to_s: float) -> tuple[float, float]:
        """Mean number of requests in [from_s, to_s), and the copy-seconds of demand that they are."""
        begin_s = np.arange(len(self.levels)) * MINUTE_S
        overlap_s = np.clip(np.minimum(to_s, begin_s + MINUTE_S) - np.maximum(from_s, begin_s), 0, None)
        counts = self.levels * overlap_s * self.requests_per_s
        return float(counts.sum()), float((counts * self._work_copy_s(profile)).sum())

    def requests(self, seed: int, scale: float, from_s: float, to_s: float) -> Requests:
        """Drawn requests in [from_s, to_s), as offsets from `from_s`."""
        times_s, tokens_in, tokens_out = [np.zeros(0)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for minute in range(int(from_s // MINUTE_S), min(len(self.levels), math.ceil(to_s / MINUTE_S))):
            rng = np.random.default_rng([seed, 3, minute])
            n = int(rng.poisson(self.levels[minute] * self.requests_per_s * MINUTE_S * scale))
            at_s = (minute + np.sort(rng.random(n))) * MINUTE_S
            sizes = self.sizes.times(float(self.in_factors[minute]), float(self.out_factors[minute]))
            drawn_in, drawn_out = sizes.draw(rng, n)
            kept = (at_s >= from_s) & (at_s < to_s)
            times_s.append(at_s[kept] - from_s)
            tokens_in.append(drawn_in[kept])
            tokens_out.append(drawn_out[kept])
        return np.concatenate(times_s), np.concatenate(tokens_in), np.concatenate(tokens_out)

    def _work_copy_s(self, profile: ServiceProfile) -> np.ndarray:
        mixes = {
            mix: profile.work_copy_s(self.sizes.times(*mix).mean_in, self.sizes.times(*mix).mean_out)
            for mix in set(zip(self.in_factors.tolist(), self.out_factors.tolist(), strict=True))
        }
        return np.array([mixes[mix] for mix in zip(self.in_factors.tolist(), self.out_factors.tolist(), strict=True)])


def make_trace(kind: str, *, seed: int, hours: float, profile: ServiceProfile, mean_copies: float) -> GeneratedTrace:
    """A trace of `kind` (a key of `SHAPES`) with a mean demand of `mean_copies` copies of `profile`.

    The same arguments give the same trace. TraceError for an unknown kind or an unusable length.
    """
    if kind not in SHAPES:
        raise TraceError(f"no generated traffic is called {kind!r}; choose one of {', '.join(sorted(SHAPES))}")
    minutes = round(hours * 60)
    if not 1 <= minutes <= MAX_SPAN_S / MINUTE_S:
        raise TraceError(
            f"a generated trace of {hours} h is not possible; choose 1 minute to {MAX_SPAN_S / DAY_S:.0f} days"
        )
    shape, rng = SHAPES[kind], np.random.default_rng([seed, 2])
    hour = np.arange(minutes) / 60.0 % 24.0
    level = 1.0 + shape.wave * np.cos(2 * np.pi * (hour - 16.0) / 24.0)
    level *= np.exp(_wander(rng, minutes, shape.wander_sd))
    level *= np.where(_bursting(rng, minutes, shape), shape.burst_factor, 1.0)
    regime_level, in_factors, out_factors = _regimes(rng, minutes, shape)
    awake = (hour >= shape.awake_h[0]) & (hour < shape.awake_h[1])
    if not awake.any():
        awake[:] = True
    return _scaled_to(level * regime_level * awake, in_factors, out_factors, profile=profile, mean_copies=mean_copies)


def generated_trace(name: str, *, seed: int, profile: ServiceProfile) -> GeneratedTrace:
    """The trace called `generated:<length>[:<kind>]`, at its own mean demand (demo 2 copies, else 4).

    Length: `demo`, `day`, `week`, or a number with m, h or d; kind: a key of `SHAPES`, `chat` if left out. TraceError
    otherwise.
    """
    length, _, kind = name.removeprefix(PREFIX).partition(":")
    mean_copies = _MEAN_COPIES.get(length, _DEFAULT_MEAN_COPIES)
    if length == "demo" and not kind:
        levels = np.concatenate([np.linspace(begin, end, minutes) for minutes, begin, end in _DEMO])
        ones = np.ones(len(levels))
        return _scaled_to(levels, ones, ones, profile=profile, mean_copies=mean_copies)
    match = _LENGTH.fullmatch(length)
    length_s = float(match[1]) * _UNIT_S[match[2]] if match else _LENGTHS_S.get(length)
    if length_s is None:
        raise TraceError(
            f"{name!r}: write generated:demo, or generated:LENGTH or generated:LENGTH:KIND with LENGTH = day, week or "
            f"such as 90m, 6h, 3d, and KIND = {', '.join(sorted(SHAPES))}"
        )
    return make_trace(kind or "chat", seed=seed, hours=length_s / 3600, profile=profile, mean_copies=mean_copies)


def _scaled_to(
    levels: np.ndarray,
    in_factors: np.ndarray,
    out_factors: np.ndarray,
    *,
    profile: ServiceProfile,
    mean_copies: float,
) -> GeneratedTrace:
    unit = GeneratedTrace(levels, in_factors, out_factors, 1.0)
    _, copy_s = unit.expected(profile, 0.0, unit.length_s)
    return GeneratedTrace(levels, in_factors, out_factors, mean_copies * unit.length_s / copy_s)


def _wander(rng: np.random.Generator, minutes: int, sd: float) -> np.ndarray:
    """A first-order autoregression with standard deviation `sd` and a correlation time of 30 minutes."""
    keep = math.exp(-1 / 30)
    noise = rng.normal(0.0, sd * math.sqrt(1 - keep**2), minutes)
    values = np.empty(minutes)
    value = rng.normal(0.0, sd)
    for minute in range(minutes):
        value = keep * value + noise[minute]
        values[minute] = value
    return values


def _bursting(rng: np.random.Generator, minutes: int, shape: Shape) -> np.ndarray:
    """True in the minutes in which the Markov chain is in its burst state; it begins calm."""
    to_burst, to_calm = 1 - math.exp(-MINUTE_S / shape.calm_s), 1 - math.exp(-MINUTE_S / shape.burst_s)
    draws = rng.random(minutes)
    states = np.zeros(minutes, dtype=bool)
    bursting = False
    for minute in range(minutes):
        bursting = draws[minute] >= to_calm if bursting else draws[minute] < to_burst
        states[minute] = bursting
    return states


def _regimes(rng: np.random.Generator, minutes: int, shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Level, prompt factor and answer factor of each minute, constant between drawn changes; at first all 1."""
    level, in_factors, out_factors = np.ones(minutes), np.ones(minutes), np.ones(minutes)
    if shape.regime_s < math.inf:
        minute = round(rng.exponential(shape.regime_s) / MINUTE_S)
        while minute < minutes:
            level[minute:] = math.exp(rng.normal(0.0, shape.regime_level_sd))
            in_factors[minute:] = math.exp(rng.normal(0.0, shape.regime_mix_sd))
            out_factors[minute:] = math.exp(rng.normal(0.0, shape.regime_mix_sd))
            minute += max(1, round(rng.exponential(shape.regime_s) / MINUTE_S))
    return level, in_factors, out_factors
