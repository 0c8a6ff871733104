"""What an alarm looks at: its latest complete datapoints, out of a metric series that may be finer than its period."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quickstep.model.observation import Alarm, Datapoint, Series
from quickstep.model.targets import Statistic
from quickstep.policy.demand import HUGE

METRIC_DELAY_S = 120.0
"""How late a datapoint may be published and still be among an alarm's latest; what is older is no data."""


def alarm_datapoints(
    series: Series | None, alarm: Alarm, *, now_s: float, metric_delay_s: float = METRIC_DELAY_S
) -> tuple[tuple[float, float], ...]:
    """Return (start, value) of the alarm's latest complete and known datapoints, oldest first, at most its N.

    Values are the statistic that the alarm reads: `maximum` for Maximum, else `average` (where a Sum series keeps its
    sums too). A finer series is put together to the alarm's clock-aligned periods. Values that are not finite numbers
    ≥ 0 are skipped, and so is what is older than N periods + `metric_delay_s`.
    """
    if series is None:
        return ()
    period_s = max(alarm.period_s, series.period_s)
    periods: dict[float, list[float]] = {}
    for point in sorted(series.points, key=lambda p: p.at_s):
        value = _read(point, alarm.statistic)
        if value is not None:
            start_s = point.at_s if period_s == series.period_s else point.at_s // period_s * period_s
            periods.setdefault(start_s, []).append(value)
    count = max(1, alarm.evaluation_periods)
    oldest_s, newest_s = now_s - count * period_s - metric_delay_s, now_s - period_s
    rows = [(s, _fold(values, alarm.statistic)) for s, values in periods.items() if oldest_s <= s <= newest_s]
    return tuple((s, value) for s, value in rows if math.isfinite(value))[-count:]


def aggregate(values: Sequence[float], statistic: Statistic) -> float:
    """AAS `MetricAggregationType` over at least one value; nine decimals, since a mean of equals must equal them."""
    if statistic is Statistic.MAXIMUM:
        return max(values)
    if statistic is Statistic.MINIMUM:
        return min(values)
    # Divided first: the sum of large values may not be a number any more.
    return round(sum(value / len(values) for value in values), 9)


def breach_of(metric: float, alarm: Alarm) -> float:
    """Metric − threshold, signed; nine decimals, so that 0.3 over a threshold of 0.1 reaches a bound of 0.2."""
    return round(metric - alarm.threshold, 9) + 0.0


def is_above(breach: float, alarm: Alarm) -> bool:
    """True if a metric with this breach counts as above the threshold; at the threshold the alarm's direction decides."""
    return breach > 0 or (breach == 0 and alarm.above)


def number(value: float) -> str:
    """`value` for a person: at most three decimals, no trailing zeros."""
    return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else f"{value:g}"


def _read(point: Datapoint, statistic: str) -> float | None:
    value = point.maximum if statistic == "Maximum" else point.average
    # A count above HUGE is a mistake of the metric's: unknown, as it is for demand. NaN compares False.
    return value if value is not None and 0 <= value <= HUGE else None


def _fold(values: Sequence[float], statistic: str) -> float:
    if statistic == "Sum":
        return sum(values)
    return aggregate(values, Statistic.MAXIMUM if statistic == "Maximum" else Statistic.AVERAGE)
