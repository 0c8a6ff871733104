"""`at(…)`, `rate(…)` and `cron(…)` of scheduled actions: held against the rules before EventBridge Scheduler sees them.

API reference of PutScheduledAction and user guide, "Schedule recurring scaling actions using cron expressions": six
fields (minutes, hours, day of month, month, day of week, year), one of the two day fields `?`.
"""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime

from quickstep.control.refusals import ValidationException

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...], str], ...] = (
    ("minutes", 0, 59, (), ""),
    ("hours", 0, 23, (), ""),
    ("day of month", 1, 31, (), "LW"),
    ("month", 1, 12, _MONTHS, ""),
    ("day of week", 1, 7, _DAYS, "L#"),
    ("year", 1970, 2199, (), ""),
)
_FORMS = "at(yyyy-mm-ddThh:mm:ss), rate(value unit) or cron(minutes hours day-of-month month day-of-week year)"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A checked expression."""

    text: str
    """As EventBridge Scheduler wants it."""
    is_once: bool
    at_s: float | None = None
    """When an `at` expression fires; None for the others, and where this machine knows no time zones."""


def parse_schedule(text: str, timezone: str | None) -> Schedule:
    """Read an expression in its time zone (None = UTC). Raises ValidationException naming what is wrong and what is right."""
    zone = _zone(timezone)
    match = re.fullmatch(r"\s*(at|rate|cron)\(\s*(.*?)\s*\)\s*", text)
    if match is None:
        raise _invalid(text, f"it must be {_FORMS}")
    kind, inside = match.groups()
    if kind == "rate":
        return Schedule(f"rate({_rate(inside, text)})", is_once=False)
    if kind == "cron":
        _check_cron(inside, text)
        return Schedule(f"cron({' '.join(inside.split())})", is_once=False)
    try:
        at = datetime.strptime(inside, "%Y-%m-%dT%H:%M:%S")  # noqa: DTZ007  # the zone comes beside it
    except ValueError:
        raise _invalid(text, "at must be at(yyyy-mm-ddThh:mm:ss), a moment of the calendar") from None
    at_s = None if zone is None else at.replace(tzinfo=zone).astimezone(UTC).timestamp()
    return Schedule(f"at({inside})", is_once=True, at_s=at_s)


def _zone(name: str | None) -> zoneinfo.ZoneInfo | None:
    """The zone called `name`; None if this machine has no time zones at all: then EventBridge Scheduler has to judge."""
    try:
        return zoneinfo.ZoneInfo(name or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        if not zoneinfo.available_timezones():
            return None
        raise ValidationException(
            f"Timezone is {name!r}; it must be the name of an IANA time zone such as Europe/Berlin or Etc/GMT+9"
        ) from None


def _rate(inside: str, text: str) -> str:
    match = re.fullmatch(r"(\d{1,9})\s+(minute|hour|day)s?", inside)
    if match is None or int(match[1]) < 1:
        raise _invalid(text, "rate must be rate(value unit) with a whole value of 1 or more and minutes, hours or days")
    value = int(match[1])
    # Scheduler takes `1 minute` and `2 minutes` only; Application Auto Scaling documents both forms for any value.
    return f"{value} {match[2]}{'' if value == 1 else 's'}"


def _check_cron(inside: str, text: str) -> None:
    fields = inside.split()
    if len(fields) != len(_FIELDS):
        raise _invalid(
            text,
            f"cron must have {len(_FIELDS)} fields (minutes hours day-of-month month day-of-week year), "
            f"it has {len(fields)}",
        )
    if (fields[2] == "?") == (fields[4] == "?"):
        raise _invalid(text, "exactly one of day-of-month and day-of-week must be ?")
    for field, rule in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if not _fits(part, rule):
                name, low, high, words, _ = rule
                named = f" or {words[0]} to {words[-1]}" if words else ""
                raise _invalid(text, f"{name} is {field!r}; it must be made of {low} to {high}{named} with , - * /")


def _fits(part: str, rule: tuple[str, int, int, tuple[str, ...], str]) -> bool:
    name, low, high, words, special = rule
    if part == "*" or (part == "?" and name.startswith("day")):
        return True
    if "L" in special and part == "L":
        return True
    if "W" in special and re.fullmatch(r"LW|\d{1,2}W", part):
        return part == "LW" or low <= int(part[:-1]) <= high
    if name == "day of week" and (match := re.fullmatch(r"(\w+)(?:L|#([1-5]))", part)):
        return _value(match[1], low, words) in range(low, high + 1)
    span, slash, step = part.partition("/")
    if slash and not (step.isdigit() and int(step) >= 1):
        return False
    if span == "*":
        return True
    first, dash, last = span.partition("-")
    start, end = _value(first, low, words), _value(last, low, words) if dash else high
    return start is not None and end is not None and low <= start <= end <= high


def _value(word: str, low: int, words: tuple[str, ...]) -> int | None:
    if word.isdigit():
        return int(word)
    return words.index(word) + low if word in words else None


def _invalid(text: str, rule: str) -> ValidationException:
    return ValidationException(f"Schedule is {text!r}; {rule}")
