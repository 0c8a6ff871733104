"""Coverage: since when is the load known? A history with holes proves nothing, so it may not justify a scale-in."""

from __future__ import annotations

from collections.abc import Sequence

SHARE = 0.7
"""Share of the datapoints that must be there, from any moment on until now."""
SLACK_POINTS = 7
"""So many may always be missing: a change of copies makes unknown what lies between two looks, up to a minute."""
PUBLISH_DELAY_S = 70.0
"""Metrics come 10–60 s late; a newest datapoint older than that plus two periods says nothing about now."""


def is_stale(newest_s: float, period_s: float, now_s: float) -> bool:
    """True if the datapoint that begins at `newest_s` ended too long ago to say anything about `now_s`."""
    return now_s - (newest_s + period_s) > PUBLISH_DELAY_S + 2 * period_s


def covered_since(times_s: Sequence[float], period_s: float) -> float:
    """The earliest datapoint of the unbroken run that ends with the newest one. `times_s`: starts, oldest first, ≥ 1.

    The run breaks where, looking back from the newest, more than three tenths (and more than seven) are missing.
    """
    newest_s = since_s = times_s[-1]
    for known, at_s in enumerate(reversed(times_s), start=1):
        expected = round((newest_s - at_s) / period_s) + 1
        if expected - known > max(SLACK_POINTS, (1 - SHARE) * expected):
            break
        since_s = at_s
    return since_s
