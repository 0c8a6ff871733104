"""What a copy was seen to do, minute by minute: how many requests were in flight on it, and how long they took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceMinute:
    """One minute of one target. A minute in which nothing was served is none."""

    at_s: float
    """Start of the minute, seconds since the epoch."""
    per_copy: float
    """Requests in flight on a copy (or an instance of a variant), queued and executing, > 0."""
    latency_s: float
    """The latency statistic of the requests that ended in this minute, > 0."""
    requests: float
    """How many those were, > 0."""
    arrivals_per_copy: float | None = None
    """Requests that arrived, per copy; None = not known."""
