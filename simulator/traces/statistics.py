"""What a trace is like: how much, how bursty on which scale, how long its requests are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from simulator.physics.requests import OpenArrivals

SCALES_S = (1.0, 10.0, 60.0, 600.0, 3600.0)
PERCENTILES = (50, 90, 95, 99)
_LEAST_PERIODS = 2


@dataclass(frozen=True, slots=True)
class Burstiness:
    """How the counts of one length of period vary."""

    scale_s: float
    dispersion: float
    """Variance over mean of the counts: 1 for a Poisson process on every scale."""
    peak_to_mean: float
    peak_per_s: float


@dataclass(frozen=True, slots=True)
class TokenSummary:
    """Tokens of a request."""

    mean: float
    percentiles: dict[str, float]
    """"p50" to "p99"."""
    most: int


@dataclass(frozen=True, slots=True)
class TraceStatistics:
    """A trace in figures. None = cannot be known from it."""

    requests: int
    length_s: float
    rate_per_s: float
    interarrival_cv: float | None
    """Standard deviation over mean of the times between requests: 1 for a Poisson process."""
    empty_minutes_percent: float
    burstiness: tuple[Burstiness, ...]
    """By scale; those that do not fit into the trace twice are left out."""
    input_tokens: TokenSummary | None
    output_tokens: TokenSummary | None

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON takes them."""
        return asdict(self)


def trace_statistics(arrivals: OpenArrivals, length_s: float) -> TraceStatistics:
    """The figures of `arrivals`, which cover `length_s` from their start. ValueError unless `length_s` is above 0."""
    if not length_s > 0:
        raise ValueError(f"length_s ({length_s}) must be above 0 seconds")
    times_s = arrivals.times_s - arrivals.start_s
    gaps_s = np.diff(times_s)
    mean_gap_s = float(gaps_s.mean()) if len(gaps_s) else 0.0
    return TraceStatistics(
        requests=len(arrivals),
        length_s=length_s,
        rate_per_s=len(arrivals) / length_s,
        interarrival_cv=float(gaps_s.std()) / mean_gap_s if mean_gap_s > 0 else None,
        empty_minutes_percent=100 * float((_counts(times_s, length_s, 60.0) == 0).mean()) if length_s >= 60 else 0.0,
        burstiness=tuple(_burstiness(times_s, length_s)),
        input_tokens=_tokens(arrivals.input_tokens),
        output_tokens=_tokens(arrivals.output_tokens),
    )


def _burstiness(times_s: np.ndarray, length_s: float) -> list[Burstiness]:
    found = []
    for scale_s in SCALES_S:
        if length_s < _LEAST_PERIODS * scale_s or not len(times_s):
            continue
        counts = _counts(times_s, length_s, scale_s)
        mean = float(counts.mean())
        if mean > 0:
            peak = float(counts.max())
            found.append(Burstiness(scale_s, float(counts.var()) / mean, peak / mean, peak / scale_s))
    return found


def _counts(times_s: np.ndarray, length_s: float, scale_s: float) -> np.ndarray:
    """Requests in each whole period."""
    periods = int(length_s // scale_s)
    inside = times_s[times_s < periods * scale_s]
    return np.bincount((inside / scale_s).astype(np.int64), minlength=periods)


def _tokens(tokens: np.ndarray) -> TokenSummary | None:
    if not len(tokens):
        return None
    found = np.percentile(tokens, PERCENTILES).tolist()
    shares = {f"p{share}": float(value) for share, value in zip(PERCENTILES, found, strict=True)}
    return TokenSummary(float(tokens.mean()), shares, int(tokens.max()))
