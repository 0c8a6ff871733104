"""Bend: how many requests in flight one copy carries before its users wait too long, read off its own past.

On a copy with n requests in flight a request takes `mix × (1 + n / doubling)` seconds (continuous batching: a decode
step takes a + b·n). `mix` is how much work the requests of that hour are: it moves with the users, is not measured by
SageMaker, and drops out when minutes are compared with their own half hour only. What is left is one number, `doubling`:
the n at which latency is twice the unloaded one. Throughput over latency, Kleinrock's power, is greatest there
("Power and deterministic rules of thumb for probabilistic problems in computer communications", ICC 1979).

Two traps lie in comparing latency with concurrency directly. A minute of long answers has both, so load would seem to
slow a copy more than it does: here minutes are ordered by the requests that *arrived*, which long answers do not cause
(an instrumental variable). And latency is told when a request ends, concurrency while it runs: windows are many times
as long as a request. `doubling` is the value at which work, latency / (1 + n / doubling), has nothing to do with
arrivals any more; its interval holds all values that the minutes do not speak against (Anderson and Rubin's test, with
the half hours as independent groups), so evidence that is too weak shows as an interval without an end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from quickstep.capacity.service_windows import (
    FEWEST_IN_GROUP,
    GROUP_MIN,
    WINDOWS_PER_GROUP,
    Window,
    grouped,
    known_minutes,
    median,
    places,
    quantile,
    window_minutes,
    windows_of,
)
from quickstep.model.service import ServiceMinute
from quickstep.policy.pace import FIXED_SHARE

FEWEST_MINUTES = 60
FEWEST_GROUPS = 8
"""Half hours (longer for long requests) that are compared within themselves."""
NARROWEST_RANGE = 1.5
"""The busiest minutes must have seen so many times as many requests in flight per copy as the quietest."""
WIDEST_INTERVAL = 2.0
"""Upper over lower end of the interval of the limit; beyond that nothing is claimed."""
BEND_RATIO = 1 / FIXED_SHARE
"""Latency at the limit over the unloaded one where users have not said their limit: what sizing assumes too."""
LAW_HOLDS_TO = 4.0
"""Minutes beyond so many times the unloaded latency (or 1.3 × the users' limit) are overload, and tell of the queue."""
MOST_OUTLYING = 1.5
"""Work of a window is counted as at most 1 + so many times its group's median: a stuck minute is one minute."""
MOST_BINS = 8
_STEPS = 24


class Unfit(StrEnum):
    """Why nothing can be said."""

    TOO_FEW_MINUTES = "TooFewMinutes"
    RANGE_TOO_NARROW = "RangeTooNarrow"
    NO_RISE = "LatencyDoesNotRise"
    OVERLOAD_ONLY = "OverloadOnly"
    TOO_UNCERTAIN = "TooUncertain"
    LIMIT_BELOW_UNLOADED = "LimitBelowUnloaded"


@dataclass(frozen=True, slots=True)
class ServiceLaw:
    """latency = unloaded_s × (1 + n / doubling), n requests in flight on a copy."""

    unloaded_s: float
    """Latency of a request that has a copy to itself, for the usual mix."""
    doubling: float
    low: float
    high: float
    """The interval of `doubling`, about 95 %."""

    def latency_s(self, per_copy: float) -> float:
        """Latency with so many requests in flight per copy."""
        return self.unloaded_s * (1 + per_copy / self.doubling)


@dataclass(frozen=True, slots=True)
class Limit:
    """Requests in flight per copy at which latency reaches `latency_s`, with the interval of about 95 %."""

    per_copy: float
    low: float
    high: float
    latency_s: float
    is_given: bool
    """True: the users' limit. False: BEND_RATIO times the unloaded latency."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Windows with about the same concurrency: from `low` to `high` requests in flight per copy."""

    low: float
    high: float
    minutes: int
    requests: int
    latency_s: float
    """Median as it was observed."""
    even_latency_s: float | None
    """Median with each half hour's own mix put to the usual one; None without a law."""
    law_s: float | None
    """What the law says for the bin's median concurrency; None without a law."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the minutes say. Either `limit`, or `unfit` with the reason in words in `detail`."""

    minutes: int
    """Minutes with requests, known latency and known concurrency."""
    requests: int
    window_min: int
    seen_low: float | None
    seen_high: float | None
    """Requests in flight per copy that 2 % of the windows were below, and above."""
    by_arrivals: bool
    """False: arrivals were not known, so minutes are ordered by concurrency and the limit comes out too low."""
    little: float | None
    """Requests in flight over arrivals × latency: about 1 if both metrics speak of the same requests (Little's law)."""
    overload_minutes: int = 0
    """Minutes beyond the law, left out."""
    lawful_high: float | None = None
    """Like `seen_high`, without overload: as far as the law was held against what was seen."""
    bins: tuple[Bin, ...] = ()
    law: ServiceLaw | None = None
    limit: Limit | None = None
    unfit: Unfit | None = None
    detail: str = ""


def calibrate(minutes: Iterable[ServiceMinute], *, latency_limit_s: float | None = None) -> Calibration:
    """Find the concurrency per copy at which latency reaches `latency_limit_s`, or bends if that is None.

    Any order; a minute told twice counts as it was told last, and one with a value that cannot be is left out. Raises
    ValueError unless `latency_limit_s` is above 0. While requests take less than three seconds (so that a window is one
    minute) the same latencies times any constant have the same bend.
    """
    if latency_limit_s is not None and not 0 < latency_limit_s < math.inf:
        raise ValueError(f"latency_limit_s is {latency_limit_s}; expected seconds above 0")
    known = known_minutes(minutes)
    window_min = window_minutes(known)
    windows = windows_of(known, window_min)
    found = _seen(known, windows, window_min)
    groups = grouped(windows, _group_min(window_min))
    return _Fit(found, groups, windows, latency_limit_s).result()


# -- windows to a law -------------------------------------------------------------------------------------------------


def _group_min(window_min: int) -> int:
    return max(GROUP_MIN, WINDOWS_PER_GROUP * window_min)


def _seen(known: Sequence[ServiceMinute], windows: Sequence[Window], window_min: int) -> Calibration:
    levels = sorted(window.per_copy for window in windows)
    ratios = [window.per_copy * 60.0 / (window.arrivals * window.latency_s) for window in windows if window.arrivals]
    return Calibration(
        minutes=len(known),
        requests=round(math.fsum(one.requests for one in known)),
        window_min=window_min,
        seen_low=quantile(levels, 0.02),
        seen_high=quantile(levels, 0.98),
        by_arrivals=bool(windows) and all(window.arrivals is not None for window in windows),
        little=median(ratios) if ratios else None,
    )


class _Fit:
    def __init__(
        self,
        found: Calibration,
        groups: Sequence[Sequence[Window]],
        windows: Sequence[Window],
        latency_limit_s: float | None,
    ) -> None:
        self._found, self._groups, self._windows = found, groups, windows
        self._limit_s = latency_limit_s
        self._leave_out(math.inf)

    def result(self) -> Calibration:
        found = self._found
        if found.minutes < FEWEST_MINUTES or len(self._groups) < FEWEST_GROUPS:
            hours = FEWEST_GROUPS * _group_min(found.window_min) / 60
            long = f": requests this long take windows of {found.window_min} minutes" if found.window_min > 1 else ""
            return self._refuse(
                Unfit.TOO_FEW_MINUTES,
                f"{found.minutes} minutes with requests are known; at least {FEWEST_MINUTES} are needed, spread over "
                f"{hours:g} hours{long}",
            )
        low, high = found.seen_low or 0.0, found.seen_high or 0.0
        if high < NARROWEST_RANGE * low:
            return self._refuse(
                Unfit.RANGE_TOO_NARROW,
                f"a copy had {low:.3g} to {high:.3g} requests in flight; the most must be {NARROWEST_RANGE:g} times the "
                "least for latency to say anything about load",
            )
        doubling = self._doubling()
        if len(self._lawful) < FEWEST_GROUPS:
            return self._refuse(
                Unfit.OVERLOAD_ONLY,
                f"without the minutes of overload, beyond {self._highest:.3g} requests in flight per copy, too few are left; "
                "lower the target, or raise MaxCapacity",
            )
        needed = 1.96 + 2.4 / (len(self._groups) - 1)
        lowest = self._solve(lambda at: self._score(at) + needed)
        uppermost = self._solve(lambda at: self._score(at) - needed)
        if math.isinf(uppermost):
            least = (BEND_RATIO - 1) * lowest
            return self._refuse(
                Unfit.NO_RISE,
                f"with {low:.3g} to {high:.3g} requests in flight per copy the rise of latency cannot be told from chance; "
                f"if there is a bend, it lies above {min(least, high):.3g}: more days, or a higher target, may show it",
            )
        if lowest == 0.0 or doubling == 0.0:
            return self._refuse(
                Unfit.OVERLOAD_ONLY,
                f"with {low:.3g} to {high:.3g} requests in flight per copy latency grows as concurrency does: the copies "
                "queue all the time, and what they do without a queue was not seen; lower the target, or raise MaxCapacity",
            )
        unloaded_s, _ = self._mix(doubling)
        return self._judge(ServiceLaw(unloaded_s, doubling, lowest, uppermost), needed)

    def _judge(self, law: ServiceLaw, needed: float) -> Calibration:
        found = self._found
        limit = self._limit(law, needed)
        if limit.per_copy <= 0:
            return self._refuse(
                Unfit.LIMIT_BELOW_UNLOADED,
                f"a request that has a copy to itself takes {law.unloaded_s * 1000:.0f} ms, so no number of copies brings "
                f"it to {limit.latency_s * 1000:.0f} ms; give a longer --latency-ms",
                law,
            )
        if limit.high > WIDEST_INTERVAL * max(limit.low, 0.0):
            return self._refuse(
                Unfit.TOO_UNCERTAIN,
                f"the limit lies between {max(limit.low, 0.0):.3g} and {limit.high:.3g} requests in flight per copy; the "
                f"upper end may be at most {WIDEST_INTERVAL:g} times the lower: more days, or a wider range of load, say more",
                law,
            )
        if limit.per_copy < (found.seen_low or 0.0):
            return self._refuse(
                Unfit.OVERLOAD_ONLY,
                f"latency was beyond the limit all the time: even the quietest minutes had {found.seen_low:.3g} requests in "
                f"flight per copy, and the limit lies near {limit.per_copy:.3g}; lower the target, or raise MaxCapacity",
                law,
            )
        return self._with(law=law, limit=limit)

    def _doubling(self) -> float:
        """The doubling concurrency, with overload left out: what is overload follows from the law, so it is found in turns."""
        ratio = LAW_HOLDS_TO
        doubling = self._solve(self._score)
        for _ in range(4):
            if doubling == 0.0 or math.isinf(doubling) or len(self._lawful) < FEWEST_GROUPS:
                break
            if self._limit_s is not None:
                ratio = max(LAW_HOLDS_TO, 1.3 * self._limit_s / self._mix(doubling)[0])
            highest = (ratio - 1) * doubling
            if abs(highest / self._highest - 1) < 0.02:
                break
            self._leave_out(highest)
            doubling = self._solve(self._score)
        return doubling

    def _leave_out(self, highest: float) -> None:
        """Windows with more than `highest` in flight per copy are overload from now on."""
        self._highest = highest
        self._lawful = [
            lawful
            for group in self._groups
            if len(lawful := [one for one in group if one.per_copy <= highest]) >= FEWEST_IN_GROUP
        ]
        self._columns = []
        for group in self._lawful:
            placed = places(group, by_arrivals=self._found.by_arrivals)
            pulls = [place * one.requests for place, one in zip(placed, group, strict=True)]
            self._columns.append((pulls, [one.per_copy for one in group], [one.latency_s for one in group]))

    def _score(self, doubling: float) -> float:
        """How strongly work still depends on arrivals, in standard deviations; above 0: `doubling` is too high."""
        total = squares = 0.0
        for pulls, levels, latencies in self._columns:
            works = [latency_s / (doubling + per_copy) for latency_s, per_copy in zip(latencies, levels, strict=True)]
            middle = median(works)
            most = (1 + MOST_OUTLYING) * middle
            # The pulls of a group add up to 0, so work says the same as work less its middle.
            of_group = math.fsum([pull * min(work, most) for pull, work in zip(pulls, works, strict=True)]) / middle
            total += of_group
            squares += of_group * of_group
        return total / math.sqrt(squares) if squares > 0 else 0.0

    def _solve(self, score: Callable[[float], float]) -> float:
        """Where `score` crosses 0, by halving on a logarithmic scale; 0 or infinity if it does not in a sensible range."""
        levels = [window.per_copy for window in self._windows]
        low, high = math.log(min(levels) / 100), math.log(max(levels) * 100)
        if score(math.exp(low)) > 0:
            return 0.0
        if score(math.exp(high)) <= 0:
            return math.inf
        for _ in range(_STEPS):
            middle = (low + high) / 2
            if score(math.exp(middle)) > 0:
                high = middle
            else:
                low = middle
        return math.exp((low + high) / 2)

    def _mix(self, doubling: float) -> tuple[float, float]:
        """Unloaded latency over all requests, and its standard error as a share: the mix moves from group to group."""
        mixes: list[tuple[float, float]] = []
        for group in self._lawful:
            middle = median([one.latency_s / (1 + one.per_copy / doubling) for one in group])
            mixes.append((middle, math.fsum(one.requests for one in group)))
        weight = math.fsum(requests for _, requests in mixes)
        mean = math.fsum(mix * requests for mix, requests in mixes) / weight
        squares = math.fsum((requests * (mix / mean - 1)) ** 2 for mix, requests in mixes)
        return mean, math.sqrt(squares) / weight

    def _limit(self, law: ServiceLaw, needed: float) -> Limit:
        if self._limit_s is None:
            share = BEND_RATIO - 1
            latency_s = BEND_RATIO * law.unloaded_s
            return Limit(share * law.doubling, share * law.low, share * law.high, latency_s, False)
        ends = []
        for doubling in (law.low, law.doubling, law.high):
            unloaded_s, error = self._mix(doubling)
            slack = self._limit_s / unloaded_s
            ends += [doubling * (slack * (1 - needed * error) - 1), doubling * (slack * (1 + needed * error) - 1)]
        middle = law.doubling * (self._limit_s / law.unloaded_s - 1)
        return Limit(middle, min(ends), max(ends), self._limit_s, True)

    def _refuse(self, unfit: Unfit, detail: str, law: ServiceLaw | None = None) -> Calibration:
        return self._with(law=law, unfit=unfit, detail=detail)

    def _with(
        self, *, law: ServiceLaw | None, limit: Limit | None = None, unfit: Unfit | None = None, detail: str = ""
    ) -> Calibration:
        found = self._found
        overload = [window for window in self._windows if window.per_copy > self._highest]
        lawful = sorted(window.per_copy for window in self._windows if window.per_copy <= self._highest)
        return Calibration(
            minutes=found.minutes,
            requests=found.requests,
            window_min=found.window_min,
            seen_low=found.seen_low,
            seen_high=found.seen_high,
            by_arrivals=found.by_arrivals,
            little=found.little,
            overload_minutes=sum(window.minutes for window in overload),
            lawful_high=quantile(lawful, 0.98),
            bins=self._bins(law),
            law=law,
            limit=limit,
            unfit=unfit,
            detail=detail,
        )

    def _bins(self, law: ServiceLaw | None) -> tuple[Bin, ...]:
        usual = self._mixes(law)
        windows = sorted(self._windows, key=lambda one: (one.per_copy, one.at_min))
        count = min(MOST_BINS, len(windows) // 4)
        bins = []
        for number in range(count):
            part = windows[number * len(windows) // count : (number + 1) * len(windows) // count]
            even = [window.latency_s * usual[window.at_min] for window in part if window.at_min in usual]
            bins.append(
                Bin(
                    low=part[0].per_copy,
                    high=part[-1].per_copy,
                    minutes=sum(window.minutes for window in part),
                    requests=round(math.fsum(window.requests for window in part)),
                    latency_s=median([window.latency_s for window in part]),
                    even_latency_s=median(even) if even else None,
                    law_s=law.latency_s(median([window.per_copy for window in part])) if law else None,
                )
            )
        return tuple(bins)

    def _mixes(self, law: ServiceLaw | None) -> dict[int, float]:
        """What each window's latency is to be multiplied with to have the usual mix, by its start."""
        if law is None:
            return {}
        found = {}
        for group in self._lawful:
            mix_s = median([one.latency_s / (1 + one.per_copy / law.doubling) for one in group])
            found.update({window.at_min: law.unloaded_s / mix_s for window in group})
        return found
