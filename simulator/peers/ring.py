"""Metric points of one component, kept so that the mean over any recent window costs the same, however long it is.

The runner pushes one point per period; a peer asks for window means. Sums are kept as running totals: a mean is one
subtraction. The oldest points are dropped in bulk and the totals begin anew, so they never grow large enough to lose
digits, and a week of two-second points costs as little memory as an hour.
"""

from __future__ import annotations

import math

_SHORT_OF_A_POINT = 1e-6
"""Share of a point by which a time may miss a point's end because of rounding."""


class MetricRing:
    """Equal periods of `point_s` seconds from `start_s` on, each published `delay_s` after its end.

    `keep_s` is the longest window that can be asked for, back from the newest visible point (both it and `delay_s` in
    seconds). Every question looks at visible points only (`show`), skips unknown ones, and is answered with None if
    none is known. Windows are rounded to whole points, to at least one. ValueError for lengths that make no sense.
    """

    __slots__ = (
        "_arrivals",
        "_completions",
        "_known",
        "_latency",
        "_maximum",
        "_per_copy",
        "_pushed",
        "_refused",
        "_served",
        "_serving",
        "_size",
        "_total",
        "_visible",
        "_waiting",
        "delay_s",
        "point_s",
        "start_s",
    )

    def __init__(self, point_s: float, *, delay_s: float = 0.0, keep_s: float = 1200.0, start_s: float = 0.0) -> None:
        if not point_s > 0:
            raise ValueError(f"point_s ({point_s}) must be above 0 seconds")
        if delay_s < 0:
            raise ValueError(f"delay_s ({delay_s}) must not be negative: nothing is published before it is measured")
        if keep_s < point_s:
            raise ValueError(f"keep_s ({keep_s}) must hold at least one point of {point_s} s")
        self.point_s, self.delay_s = point_s, delay_s
        self.start_s = start_s
        """Start of the oldest point still kept: it moves on when old points are dropped."""
        # What is not published yet is kept beside the longest window.
        self._size = math.ceil((keep_s + delay_s) / point_s) + 1
        self._pushed = self._visible = 0
        # Entry i of a running total is the sum of the first i points, so that points a to b - 1 are total[b] - total[a].
        totals = [[0.0] * (2 * self._size + 1) for _ in range(10)]
        self._known, self._served, self._total, self._per_copy, self._serving = totals[:5]
        self._arrivals, self._completions, self._latency, self._waiting, self._refused = totals[5:]
        self._maximum = [0.0] * (2 * self._size)

    # ------------------------------------------------------------------ what the runner does

    def push(
        self,
        total_mean: float,
        serving: float,
        *,
        total_max: float | None = None,
        arrivals: float = 0.0,
        completions: float = 0.0,
        latency_sum_s: float = 0.0,
        waiting: float = 0.0,
        refused: float = 0.0,
    ) -> None:
        """Add the next point.

        `total_mean`, `total_max`: requests in flight in the whole fleet, running and queued (max = mean if left out).
        `serving`: copies that served, on average over the point. `arrivals`, `completions`: how many there were in it;
        `latency_sum_s`: the completed requests' latencies, summed. `waiting`: mean of those in flight that had not
        begun. `refused`: attempts that found no copy.
        """
        i = self._pushed
        if i == 2 * self._size:
            i = self._drop_old()
        j = i + 1
        self._known[j] = self._known[i] + 1.0
        self._total[j] = self._total[i] + total_mean
        if serving > 0:
            self._served[j] = self._served[i] + 1.0
            self._per_copy[j] = self._per_copy[i] + total_mean / serving
        else:
            # A metric per copy does not exist while no copy serves: unknown, not 0.
            self._served[j] = self._served[i]
            self._per_copy[j] = self._per_copy[i]
        self._serving[j] = self._serving[i] + serving
        self._arrivals[j] = self._arrivals[i] + arrivals
        self._completions[j] = self._completions[i] + completions
        self._latency[j] = self._latency[i] + latency_sum_s
        self._waiting[j] = self._waiting[i] + waiting
        self._refused[j] = self._refused[i] + refused
        self._maximum[i] = total_mean if total_max is None else total_max
        self._pushed = j

    def push_gap(self) -> None:
        """Add a point of which nothing is known."""
        i = self._pushed
        if i == 2 * self._size:
            i = self._drop_old()
        for total in self._all_totals():
            total[i + 1] = total[i]
        self._maximum[i] = -math.inf
        self._pushed = i + 1

    def show(self, now_s: float) -> None:
        """Make visible what is published by `now_s`. Time does not run backwards: what was visible stays so."""
        ended = math.floor((now_s - self.delay_s - self.start_s) / self.point_s + _SHORT_OF_A_POINT)
        self._visible = max(self._visible, min(ended, self._pushed))

    # ------------------------------------------------------------------ what a peer asks

    @property
    def end_s(self) -> float | None:
        """End of the newest visible point; None before the first."""
        return self.start_s + self._visible * self.point_s if self._visible else None

    def period_end_s(self, period_s: float) -> float | None:
        """End of the newest clock-aligned period of `period_s` that is visible to its last point; None before one is."""
        if not self._visible:
            return None
        end_s = self.start_s + self._visible * self.point_s
        aligned_s = math.floor(end_s / period_s + _SHORT_OF_A_POINT) * period_s
        return aligned_s if aligned_s - period_s > self.start_s - _SHORT_OF_A_POINT * self.point_s else None

    def mean_total(self, window_s: float, end_s: float | None = None) -> float | None:
        """Mean requests in flight over the `window_s` that end at `end_s` (default: with the newest visible point)."""
        a, b = self._span(window_s, end_s)
        known = self._known[b] - self._known[a]
        return (self._total[b] - self._total[a]) / known if known else None

    def max_total(self, window_s: float, end_s: float | None = None) -> float | None:
        """Most requests in flight at any moment of the window. The one question that costs as much as it is long."""
        a, b = self._span(window_s, end_s)
        return max(self._maximum[a:b]) if self._known[b] > self._known[a] else None

    def mean_per_copy(self, window_s: float, end_s: float | None = None) -> float | None:
        """Mean over the window's points of requests in flight per copy that served then; None if no copy ever did."""
        a, b = self._span(window_s, end_s)
        served = self._served[b] - self._served[a]
        return (self._per_copy[b] - self._per_copy[a]) / served if served else None

    def max_per_copy(self, window_s: float, end_s: float | None = None) -> float | None:
        """Largest of the window's points of (most in flight / copies that served then); None if no copy ever did."""
        a, b = self._span(window_s, end_s)
        serving = self._serving
        found = ((self._maximum[i], serving[i + 1] - serving[i]) for i in range(a, b) if self._maximum[i] > -math.inf)
        return max((most / copies for most, copies in found if copies > 0), default=None)

    def mean_serving(self, window_s: float, end_s: float | None = None) -> float | None:
        """Copies that served, on average over the window."""
        a, b = self._span(window_s, end_s)
        known = self._known[b] - self._known[a]
        return (self._serving[b] - self._serving[a]) / known if known else None

    def mean_waiting(self, window_s: float, end_s: float | None = None) -> float | None:
        """Requests that had been accepted and had not begun, on average over the window."""
        a, b = self._span(window_s, end_s)
        known = self._known[b] - self._known[a]
        return (self._waiting[b] - self._waiting[a]) / known if known else None

    def arrivals_per_s(self, window_s: float, end_s: float | None = None) -> float | None:
        """New requests per second over the window's known points."""
        return self._rate(self._arrivals, window_s, end_s)

    def completions_per_s(self, window_s: float, end_s: float | None = None) -> float | None:
        """Completed requests per second over the window's known points."""
        return self._rate(self._completions, window_s, end_s)

    def refused_per_s(self, window_s: float, end_s: float | None = None) -> float | None:
        """Attempts per second that found no copy, over the window's known points."""
        return self._rate(self._refused, window_s, end_s)

    def mean_latency_s(self, window_s: float, end_s: float | None = None) -> float | None:
        """Mean latency of the requests that were completed in the window; None if none was."""
        a, b = self._span(window_s, end_s)
        completed = self._completions[b] - self._completions[a]
        return (self._latency[b] - self._latency[a]) / completed if completed else None

    def known_points(self, window_s: float, end_s: float | None = None) -> int:
        """How many of the window's points are known."""
        a, b = self._span(window_s, end_s)
        return round(self._known[b] - self._known[a])

    # ------------------------------------------------------------------ inside

    def _rate(self, totals: list[float], window_s: float, end_s: float | None) -> float | None:
        a, b = self._span(window_s, end_s)
        known = self._known[b] - self._known[a]
        return (totals[b] - totals[a]) / (known * self.point_s) if known else None

    def _span(self, window_s: float, end_s: float | None) -> tuple[int, int]:
        """First point and the one after the last of a window, among those that are kept."""
        b = self._visible
        if end_s is not None:
            b = min(b, max(0, math.floor((end_s - self.start_s) / self.point_s + _SHORT_OF_A_POINT)))
        a = b - max(1, round(window_s / self.point_s))
        return (a if a > 0 else 0), b

    def _all_totals(self) -> tuple[list[float], ...]:
        return (
            *(self._known, self._served, self._total, self._per_copy, self._serving),
            *(self._arrivals, self._completions, self._latency, self._waiting, self._refused),
        )

    def _drop_old(self) -> int:
        """Keep the newest points only, count the totals from the oldest of them, and return how many are left."""
        kept = self._size
        cut = self._pushed - kept
        for total in self._all_totals():
            before = total[cut]
            total[: kept + 1] = [value - before for value in total[cut : cut + kept + 1]]
        self._maximum[:kept] = self._maximum[cut : cut + kept]
        self._visible = max(0, self._visible - cut)
        self.start_s += cut * self.point_s
        self._pushed = kept
        return kept
