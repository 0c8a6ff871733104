"""Where metric datapoints are kept until somebody reads them.

One series per namespace, name and set of dimensions. A datapoint is the summary (minimum, maximum, sum, count) of the
samples of one second, or of one minute for standard resolution; it can be read only once its publish delay is over.
Sub-minute datapoints are kept for 3 hours, their one-minute summaries for 15 days (CloudWatch User Guide, "Metrics
retention").
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FINE_KEPT_S = 3 * 3600
COARSE_KEPT_S = 15 * 86_400

SeriesKey = tuple[str, str, tuple[tuple[str, str], ...]]
"""(namespace, metric name, dimensions sorted by name)."""


def series_key(namespace: str, name: str, dimensions: Mapping[str, str]) -> SeriesKey:
    return namespace, name, tuple(sorted(dimensions.items()))


@dataclass(frozen=True, slots=True)
class Sample:
    """What one publisher reports for one instant: `count` samples between `minimum` and `maximum` adding up to `total`."""

    at_s: float
    minimum: float
    maximum: float
    total: float
    count: float = 1.0

    @classmethod
    def of(cls, value: float, at_s: float) -> Sample:
        """A single sample."""
        return cls(at_s, value, value, value, 1.0)


class _Cells:
    """Sorted starts with, for each, [minimum, maximum, sum, count] of what fell into it."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.summaries: list[list[float]] = []

    def add(self, start_s: int, sample: Sample) -> None:
        if not self.starts or start_s > self.starts[-1]:
            position = len(self.starts)
        else:
            position = bisect_left(self.starts, start_s)
            if self.starts[position] == start_s:
                have = self.summaries[position]
                have[0] = min(have[0], sample.minimum)
                have[1] = max(have[1], sample.maximum)
                have[2] += sample.total
                have[3] += sample.count
                return
        self.starts.insert(position, start_s)
        self.summaries.insert(position, [sample.minimum, sample.maximum, sample.total, sample.count])

    def forget_before(self, start_s: float) -> None:
        # In bulk: dropping from the front of a list moves the rest.
        if len(self.starts) > 64 and self.starts[len(self.starts) // 4] < start_s:
            keep = bisect_left(self.starts, start_s)
            del self.starts[:keep], self.summaries[:keep]


class Series:
    """The datapoints of one metric."""

    def __init__(self) -> None:
        self._fine = _Cells()
        self._coarse = _Cells()
        self._on_their_way: list[tuple[float, int, Sample, bool]] = []
        self._order = 0

    def add(self, sample: Sample, *, visible_at_s: float, high_resolution: bool) -> None:
        """Report `sample`; readers see it from `visible_at_s` on."""
        self._order += 1
        heapq.heappush(self._on_their_way, (visible_at_s, self._order, sample, high_resolution))

    def arrive(self, now_s: float) -> None:
        """Let everything in whose publish delay is over."""
        waiting = self._on_their_way
        while waiting and waiting[0][0] <= now_s:
            _, _, sample, high_resolution = heapq.heappop(waiting)
            second = int(sample.at_s)
            self._fine.add(second if high_resolution else second - second % 60, sample)
            self._coarse.add(second - second % 60, sample)
            self._fine.forget_before(now_s - FINE_KEPT_S)
            self._coarse.forget_before(now_s - COARSE_KEPT_S)

    def summaries(self, start_s: int, end_s: int, period_s: int, now_s: float) -> list[list[float] | None]:
        """[minimum, maximum, sum, count] of every period of [start, end), oldest first; None where nothing is known.

        Periods shorter than a minute read what is kept at full resolution, so nothing older than 3 hours.
        """
        self.arrive(now_s)
        cells = self._fine if period_s < 60 else self._coarse
        first = bisect_left(cells.starts, max(start_s, now_s - FINE_KEPT_S) if period_s < 60 else start_s)
        last = bisect_left(cells.starts, end_s, first)
        found: list[list[float] | None] = [None] * max(0, -(-(end_s - start_s) // period_s))
        for position in range(first, last):
            slot = (cells.starts[position] - start_s) // period_s
            summary, have = cells.summaries[position], found[slot]
            if have is None:
                found[slot] = summary
            else:
                found[slot] = [
                    min(have[0], summary[0]),
                    max(have[1], summary[1]),
                    have[2] + summary[2],
                    have[3] + summary[3],
                ]
        return found

    def newest_s(self, now_s: float) -> int | None:
        """Start of the newest visible datapoint; None if there is none."""
        self.arrive(now_s)
        return self._fine.starts[-1] if self._fine.starts else (self._coarse.starts or [None])[-1]


STATISTICS = ("Average", "Minimum", "Maximum", "Sum", "SampleCount")


def statistic(summary: list[float], name: str) -> float:
    """One of STATISTICS of a summary."""
    if name == "Maximum":
        return summary[1]
    if name == "Average":
        return summary[2] / summary[3]
    if name == "Minimum":
        return summary[0]
    return summary[2] if name == "Sum" else summary[3]


class MetricStore:
    """Every series of one account and region."""

    def __init__(self) -> None:
        self._series: dict[SeriesKey, Series] = {}

    def add(self, key: SeriesKey, sample: Sample, *, visible_at_s: float, high_resolution: bool) -> None:
        """Report one sample of the metric `key`."""
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series()
        series.add(sample, visible_at_s=visible_at_s, high_resolution=high_resolution)

    def series(self, key: SeriesKey) -> Series | None:
        """The series of exactly these dimensions; None if nothing was ever reported for them."""
        return self._series.get(key)

    def known(self, now_s: float) -> Iterable[SeriesKey]:
        """Keys of the series that have a visible datapoint, in a fixed order."""
        return (key for key in sorted(self._series) if self._series[key].newest_s(now_s) is not None)

    def values(
        self, key: SeriesKey, statistic_name: str, *, start_s: int, end_s: int, period_s: int, now_s: float
    ) -> list[float | None]:
        """The statistic of every period of [start, end), oldest first; None where nothing is known."""
        series = self._series.get(key)
        if series is None:
            return [None] * max(0, -(-(end_s - start_s) // period_s))
        return [
            None if summary is None else statistic(summary, statistic_name)
            for summary in series.summaries(start_s, end_s, period_s, now_s)
        ]
