"""Start-up times: what was measured between asking and being in service, and what to expect next time."""

from __future__ import annotations

import math

KEPT = 30
"""Samples kept per component or variant."""
INSTANCE_DEFAULT_S = 300.0
"""Before anything was measured: instance and copy, cached image (AWS: 258 s; 3–8 min in AWS's notebooks)."""
COPY_DEFAULT_S = 120.0
"""Before anything was measured: a copy on an instance that is in service (AWS: 1–2.5 min)."""
DEADLINE_FACTOR = 3.0
INSTANCE_DEADLINE_MIN_S = 1200.0
COPY_DEADLINE_MIN_S = 900.0


def learned(samples_s: tuple[float, ...], took_s: float) -> tuple[float, ...]:
    """The samples with one more, newest last, the oldest dropped."""
    return (*samples_s, round(took_s, 1))[-KEPT:]


def quantile_s(samples_s: tuple[float, ...], q: float, default_s: float) -> float:
    """The q-quantile (0–1) of what was measured, nearest rank; the default counts as one sample while there are few."""
    known = sorted(samples_s if len(samples_s) >= 5 else (*samples_s, default_s))
    return known[min(len(known) - 1, max(0, math.ceil(q * len(known)) - 1))]


def remaining_s(samples_s: tuple[float, ...], elapsed_s: float, default_s: float) -> float | None:
    """How much longer it will probably take: the median of what took longer than `elapsed_s`, less that.

    None if nothing known ever took so long: then nobody knows. The default counts as one sample while there are few.
    Example: samples 60, 80 and 200 s, 100 s gone by: 100 s more, since only the one of 200 s is still possible.
    """
    known = samples_s if len(samples_s) >= 5 else (*samples_s, default_s)
    longer = sorted(sample_s for sample_s in known if sample_s > elapsed_s)
    return longer[(len(longer) - 1) // 2] - elapsed_s if longer else None


def instance_deadline_s(samples_s: tuple[float, ...]) -> float:
    """How long instances may take before the ask counts as failed."""
    return max(INSTANCE_DEADLINE_MIN_S, DEADLINE_FACTOR * quantile_s(samples_s, 0.9, INSTANCE_DEFAULT_S))


def copy_deadline_s(samples_s: tuple[float, ...]) -> float:
    """How long copies may take before the ask counts as failed."""
    return max(COPY_DEADLINE_MIN_S, DEADLINE_FACTOR * quantile_s(samples_s, 0.9, COPY_DEFAULT_S))
