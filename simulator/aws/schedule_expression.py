"""`rate(…)`, `cron(…)` and `at(…)` of EventBridge rules and EventBridge Scheduler: when comes next.

EventBridge Scheduler user guide, "Schedule types"; cron has six fields (minutes hours day-of-month month day-of-week
year). `L`, `W` and `#` are not emulated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

_UNITS_S = {"minute": 60, "hour": 3600, "day": 86_400}
_MONTHS = {name: n for n, name in enumerate("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), start=1)}  # noqa: SIM905
_DAYS = {name: n for n, name in enumerate("SUN MON TUE WED THU FRI SAT".split(), start=1)}  # noqa: SIM905
_SEARCH_DAYS = 4 * 366


@dataclass(frozen=True)
class ScheduleExpression:
    """A parsed expression; exactly one of `rate_s`, `cron` and `at_s` is set."""

    rate_s: int | None = None
    cron: tuple[frozenset[int] | None, ...] | None = None
    zone: str = "UTC"
    at_s: float | None = None

    def next_after(self, now_s: float, *, started_s: float) -> float | None:
        """The first due time later than `now_s`; None if there is none.

        A rate counts from `started_s`, when the schedule began.
        """
        if self.at_s is not None:
            return self.at_s if self.at_s > now_s else None
        if self.rate_s is not None:
            turns = int((now_s - started_s) // self.rate_s) + 1
            return started_s + max(0, turns) * self.rate_s
        return self._next_cron(now_s)

    def _next_cron(self, now_s: float) -> float | None:
        assert self.cron is not None
        minutes, hours, days, months, weekdays, years = self.cron
        at = datetime.fromtimestamp(now_s, ZoneInfo(self.zone)).replace(second=0, microsecond=0) + timedelta(minutes=1)
        last_day = at.date() + timedelta(days=_SEARCH_DAYS)
        while at.date() <= last_day:
            weekday = at.isoweekday() % 7 + 1
            fits_day = (
                _fits(years, at.year) and _fits(months, at.month) and _fits(days, at.day) and _fits(weekdays, weekday)
            )
            if not fits_day:
                at = at.replace(hour=0, minute=0) + timedelta(days=1)
            elif not _fits(hours, at.hour):
                at = at.replace(minute=0) + timedelta(hours=1)
            elif not _fits(minutes, at.minute):
                at += timedelta(minutes=1)
            else:
                return at.timestamp()
        return None


def parse_schedule(text: str, zone: str = "UTC") -> ScheduleExpression:
    """Read a schedule expression; raises ServiceError ValidationException if it is not one."""
    match = re.fullmatch(r"(rate|cron|at)\((.*)\)", text.strip())
    if match is None:
        raise _invalid(text)
    kind, inside = match.groups()
    if kind == "rate":
        rate = re.fullmatch(r"(\d+) (minute|hour|day)(s?)", inside)
        if rate is None or int(rate[1]) < 1 or (int(rate[1]) == 1) == bool(rate[3]):
            raise _invalid(text)
        return ScheduleExpression(rate_s=int(rate[1]) * _UNITS_S[rate[2]])
    if kind == "at":
        try:
            at = datetime.fromisoformat(inside)
        except ValueError:
            raise _invalid(text) from None
        return ScheduleExpression(at_s=at.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).timestamp())
    return ScheduleExpression(cron=_cron(inside, text), zone=zone)


def _cron(inside: str, text: str) -> tuple[frozenset[int] | None, ...]:
    fields = inside.split()
    if len(fields) != 6 or (fields[2] == "?") == (fields[4] == "?"):
        raise _invalid(text)  # one of day-of-month and day-of-week must be "?"
    limits = ((0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, _MONTHS), (1, 7, _DAYS), (1970, 2199, {}))
    return tuple(
        _field(field, low, high, names, text) for field, (low, high, names) in zip(fields, limits, strict=True)
    )


def _field(field: str, low: int, high: int, names: dict[str, int], text: str) -> frozenset[int] | None:
    """The values that fit; None for any."""
    if field in ("*", "?"):
        return None
    if re.search(r"[LW#]", field) and field not in names:
        bare = re.sub("|".join(names) or "$^", "", field)
        if re.search(r"[LW#]", bare):
            raise NotEmulated(f"Schedule {text}: L, W and # are not emulated")
    values: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        try:
            start = low if first == "*" else names.get(first) or int(first)
            end = (names.get(last) or int(last)) if last else (high if step or first == "*" else start)
            stride = int(step) if step else 1
        except ValueError:
            raise _invalid(text) from None
        if not low <= start <= end <= high or stride < 1:
            raise _invalid(text)
        values.update(range(start, end + 1, stride))
    return frozenset(values)


def _fits(values: frozenset[int] | None, value: int) -> bool:
    return values is None or value in values


def _invalid(text: str) -> ServiceError:
    return ServiceError("ValidationException", f"Invalid Schedule Expression {text}.")
