"""The part of CloudWatch Logs Insights that the stack's saved queries and its dashboard use.

Commands fields, filter, stats … by …, sort and limit, separated by `|`; conditions with and, or, not, comparisons, `in
[…]`, `not in […]` and ispresent(); statistics count(*), count(x), max, min, avg, sum, latest and earliest; bin(5m).
Source: CloudWatch Logs user guide, "Logs Insights QL". Anything else is refused by name, never half understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
DEFAULT_LIMIT = 10_000
"""Most rows that Insights returns where a query names no limit."""

_TOKEN = re.compile(
    r"\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|(-?\d+(?:\.\d+)?)(?![\w.])|([@A-Za-z_][\w.@]*)|(!=|>=|<=|[=<>(),\[\]*]))"
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}
_BIN = re.compile(r"bin\(\s*(\d+)\s*(s|m|h|d)\s*\)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class QueryError(Exception):
    """The query is not one that Insights (or this part of it) understands."""


@dataclass(frozen=True)
class Event:
    """One log line: when it was written and its JSON object."""

    at_s: float
    fields: Mapping[str, Any]


def run_query(text: str, events: Iterable[Event]) -> list[Row]:
    """The rows that a query gives over `events`, columns in the order in which the query names them.

    A leading `SOURCE '…'` (as dashboards have it) is left to the caller. Raises QueryError.
    """
    rows: list[Row] = [{"@timestamp": event.at_s, **_flat(event.fields)} for event in events]
    columns: list[str] | None = None
    limit = DEFAULT_LIMIT
    for command in _commands(text):
        word, _, rest = command.partition(" ")
        if word.lower() == "fields":
            columns = [name.strip() for name in rest.split(",")]
        elif word.lower() == "filter":
            holds = _condition(rest)
            rows = [row for row in rows if holds(row)]
        elif word.lower() == "stats":
            rows, columns = _stats(rest, rows)
        elif word.lower() == "sort":
            rows = _sorted(rest, rows)
        elif word.lower() == "limit":
            limit = int(rest)
        else:
            raise QueryError(f"unknown command {word!r} in {command!r}")
    shown = rows[:limit]
    return shown if columns is None else [{name: row.get(name) for name in columns} for row in shown]


def source_of(text: str) -> tuple[str | None, str]:
    """(log group, query) of a dashboard's query, which names its group first."""
    match = re.match(r"\s*SOURCE\s+'([^']+)'\s*\|\s*", text)
    return (match[1], text[match.end() :]) if match else (None, text)


def _commands(text: str) -> list[str]:
    parts, quote, current = [], "", ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "|":
            parts.append(current)
            current = ""
            continue
        current += char
    return [" ".join(part.split()) for part in [*parts, current] if part.strip()]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Row:
    """Nested objects as Insights discovers them: `decision.reason`. Lists are discovered by position."""
    found: Row = {}
    for key, one in value.items():
        name = f"{prefix}{key}"
        if isinstance(one, Mapping):
            found |= _flat(one, f"{name}.")
        elif isinstance(one, list):
            found |= _flat({str(number): item for number, item in enumerate(one)}, f"{name}.")
        elif one is not None:
            found[name] = one
    return found


# -- conditions ---------------------------------------------------------------------------------------------------------


def _condition(text: str) -> Callable[[Row], bool]:
    reader = _Condition(_tokens(text), text)
    found = reader.either()
    if reader.rest:
        raise QueryError(f"cannot read {reader.rest[0][1]!r} in the condition {text!r}")
    return found


def _tokens(text: str) -> list[tuple[str, Any]]:
    found, position = [], 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise QueryError(f"cannot read {text[position:]!r}")
        position = match.end()
        single, double, number, word, sign = match.groups()
        if single is not None or double is not None:
            found.append(("text", single if single is not None else double))
        elif number is not None:
            found.append(("number", float(number)))
        else:
            found.append(("word", word) if word is not None else ("sign", sign))
    return found


class _Condition:
    """and binds closer than or, not closest."""

    def __init__(self, tokens: list[tuple[str, Any]], text: str) -> None:
        self.rest, self._text = tokens, text

    def either(self) -> Callable[[Row], bool]:
        left = self._both()
        while self._takes("or"):
            first, second = left, self._both()
            left = lambda row, a=first, b=second: a(row) or b(row)  # noqa: E731
        return left

    def _both(self) -> Callable[[Row], bool]:
        left = self._one()
        while self._takes("and"):
            first, second = left, self._one()
            left = lambda row, a=first, b=second: a(row) and b(row)  # noqa: E731
        return left

    def _one(self) -> Callable[[Row], bool]:
        if self._takes("not"):
            inner = self._one()
            return lambda row: not inner(row)
        if self._takes("("):
            inner = self.either()
            self._expect(")")
            return inner
        kind, name = self._next()
        if kind != "word":
            raise QueryError(f"a condition begins with a field, not with {name!r}: {self._text!r}")
        if name.lower() == "ispresent":
            self._expect("(")
            field = self._next()[1]
            self._expect(")")
            return lambda row: row.get(field) is not None
        negated = self._takes("not")
        if self._takes("in"):
            values = self._list()
            return lambda row: (row.get(name) in values) != negated
        _, sign = self._next()
        if negated or sign not in _COMPARISONS:
            raise QueryError(f"unknown comparison {sign!r} in {self._text!r}")
        compare, (_, value) = _COMPARISONS[sign], self._next()
        return lambda row: _holds(compare, row.get(name), value)

    def _list(self) -> list[Any]:
        self._expect("[")
        values = []
        while not self._takes("]"):
            values.append(self._next()[1])
            self._takes(",")
        return values

    def _takes(self, word: str) -> bool:
        if self.rest and self.rest[0][0] in ("word", "sign") and str(self.rest[0][1]).lower() == word:
            self.rest.pop(0)
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            raise QueryError(f"expected {sign!r} in {self._text!r}")

    def _next(self) -> tuple[str, Any]:
        if not self.rest:
            raise QueryError(f"the condition ends too early: {self._text!r}")
        return self.rest.pop(0)


def _holds(compare: Callable[[Any, Any], bool], have: Any, wanted: Any) -> bool:
    if have is None:
        return False
    if isinstance(wanted, float) and isinstance(have, int | float) and not isinstance(have, bool):
        return compare(float(have), wanted)
    return compare(str(have), str(wanted))


# -- statistics -----------------------------------------------------------------------------------------------------------


def _stats(text: str, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    what, _, by = text.partition(" by ")
    columns = [_statistic(one) for one in _split(what)]
    keys = [_key(one) for one in _split(by)] if by else []
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(key(row) for _, key in keys), []).append(row)
    found = []
    for values, members in groups.items():
        row = dict(zip((name for name, _ in keys), values, strict=True))
        found.append(row | {name: compute(members) for name, compute in columns})
    return found, [name for name, _ in keys] + [name for name, _ in columns]


def _key(text: str) -> tuple[str, Callable[[Row], Any]]:
    match = _BIN.fullmatch(text)
    if match is None:
        return text, lambda row: row.get(text)
    width_s = int(match[1]) * _SECONDS[match[2]]
    return text, lambda row: row["@timestamp"] // width_s * width_s


def _statistic(text: str) -> tuple[str, Callable[[Sequence[Row]], Any]]:
    match = re.fullmatch(r"(\w+)\(\s*([@*\w.]*)\s*\)(?: as ([\w.]+))?", text)
    if match is None or match[1] not in _STATISTICS:
        raise QueryError(f"unknown statistic {text!r}; known are {', '.join(sorted(_STATISTICS))}")
    name, field, alias = match.groups()

    def compute(rows: Sequence[Row]) -> Any:
        if field == "*":
            return len(rows)
        present = [row for row in rows if row.get(field) is not None]
        return _STATISTICS[name](field, present) if present or name == "count" else None

    return alias or text, compute


_STATISTICS: dict[str, Callable[[str, Sequence[Row]], Any]] = {
    "count": lambda field, rows: len(rows),
    "max": lambda field, rows: max(row[field] for row in rows),
    "min": lambda field, rows: min(row[field] for row in rows),
    "sum": lambda field, rows: sum(row[field] for row in rows),
    "avg": lambda field, rows: sum(row[field] for row in rows) / len(rows),
    "latest": lambda field, rows: max(rows, key=lambda row: row["@timestamp"])[field],
    "earliest": lambda field, rows: min(rows, key=lambda row: row["@timestamp"])[field],
}


def _sorted(text: str, rows: Sequence[Row]) -> list[Row]:
    match = re.fullmatch(r"([@\w.]+|bin\([^)]*\))(?: (asc|desc))?", text)
    if match is None:
        raise QueryError(f"cannot sort by {text!r}")
    field = match[1]
    known = [row for row in rows if row.get(field) is not None]
    missing = [row for row in rows if row.get(field) is None]
    return sorted(known, key=lambda row: row[field], reverse=match[2] == "desc") + missing


def _split(text: str) -> list[str]:
    """Parts of a list that is separated by commas outside of brackets."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]
