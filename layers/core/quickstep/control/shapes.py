"""A request held against the shape that botocore's model gives it: types, required members, limits, patterns, words.

Works on botocore's shape objects without importing botocore. Messages are worded as Application Auto Scaling words them:
`1 validation error detected: Value '51' at 'maxResults' failed to satisfy constraint: …`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from quickstep.control.refusals import ValidationException


def validated(params: Mapping[str, Any], shape: Any) -> dict[str, Any]:
    """`params` as `shape` wants them: a copy in which timestamps are seconds since the epoch.

    Raises ValidationException naming every member that is missing, unknown, of another type or out of bounds.
    """
    problems: list[str] = []
    found = _checked(params, shape, (), problems)
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise ValidationException(count + "; ".join(problems))
    return found


def coerced(value: Any, shape: Any) -> Any:
    """`value` with texts turned into the numbers and booleans that `shape` wants, as CloudFormation sends them.

    What is no such text is left alone, for `validated` to refuse.
    """
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        members = shape.members
        return {key: coerced(one, members[key]) if key in members else one for key, one in value.items()}
    if kind == "list" and isinstance(value, list):
        return [coerced(one, shape.member) for one in value]
    if kind == "map" and isinstance(value, Mapping):
        return {key: coerced(one, shape.value) for key, one in value.items()}
    if not isinstance(value, str):
        return str(value) if kind == "string" and isinstance(value, int | float) else value
    text = value.strip()
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), value)
    if kind in ("integer", "long") and re.fullmatch(r"[+-]?\d+(\.0+)?", text):
        return int(float(text))
    if kind in ("double", "float"):
        try:
            return float(text)
        except ValueError:
            return value
    return value


def timestamp_s(value: Any) -> float | None:
    """Seconds since the epoch of a number, a datetime or an ISO 8601 text; None for anything else."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) and abs(value) < _LATEST_S else None
    if isinstance(value, str):
        if re.fullmatch(r"\d+(\.\d+)?", value):
            return timestamp_s(float(value))
        try:
            return timestamp_s(datetime.fromisoformat(value))
        except ValueError:
            return None
    return None


_LATEST_S = 253_402_300_800.0
"""The year 10000: what lies beyond is no moment that a calendar can show."""

_KINDS = {
    "boolean": "a boolean",
    "double": "a finite number",
    "float": "a finite number",
    "integer": "an integer",
    "list": "a list",
    "long": "an integer",
    "map": "a map",
    "string": "a string",
    "structure": "a structure",
    "timestamp": "a timestamp: seconds since the epoch or ISO 8601",
}
_Path = tuple[str, ...]


def _checked(value: Any, shape: Any, path: _Path, problems: list[str]) -> Any:
    kind = shape.type_name
    if kind == "timestamp":
        at_s = timestamp_s(value)
        if at_s is None:
            problems.append(_problem(value, path, f"Member must be {_KINDS[kind]}"))
        return at_s
    if not _is_kind(value, kind):
        problems.append(_problem(value, path, f"Member must be {_KINDS[kind]}"))
        return value
    if kind == "structure":
        return _structure(value, shape, path, problems)
    problems.extend(_problem(value, path, text) for text in _constraints(value, shape))
    if kind == "list":
        return [_checked(one, shape.member, (*path, f"{n}", "member"), problems) for n, one in enumerate(value, 1)]
    if kind == "map":
        return {
            _checked(key, shape.key, (*path, str(key)), problems): _checked(
                one, shape.value, (*path, str(key)), problems
            )
            for key, one in value.items()
        }
    return value


def _structure(value: Mapping[str, Any], shape: Any, path: _Path, problems: list[str]) -> dict[str, Any]:
    members = shape.members
    problems.extend(
        _problem(None, (*path, _member(name)), "Member must not be null")
        for name in shape.required_members
        if value.get(name) is None
    )
    found = {}
    for name, one in value.items():
        if name not in members:
            known = ", ".join(sorted(members))
            problems.append(
                _problem(one, (*path, _member(str(name))), f"{shape.name} has no such member; it has {known}")
            )
        elif one is not None:
            found[name] = _checked(one, members[name], (*path, _member(name)), problems)
    return found


def _is_kind(value: Any, kind: str) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in ("integer", "long"):
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in ("double", "float"):
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, {"string": str, "list": list | tuple, "map": Mapping, "structure": Mapping}[kind])


def _constraints(value: Any, shape: Any) -> Iterator[str]:
    """What the model's own metadata of a shape forbids about `value`, whose type is right."""
    bounds, kind = shape.metadata, shape.type_name
    if kind == "string":
        allowed = getattr(shape, "enum", None)
        if allowed and value not in allowed:
            yield f"Member must satisfy enum value set: [{', '.join(allowed)}]"
        pattern = bounds.get("pattern")
        if pattern and not _compiled(pattern).fullmatch(value):
            yield f"Member must satisfy regular expression pattern: {pattern}"
    measured, what = (len(value), "length") if kind in ("string", "list", "map") else (value, "value")
    low, high = bounds.get("min"), bounds.get("max")
    if low is not None and measured < low:
        yield f"Member must have {what} greater than or equal to {low}"
    if high is not None and measured > high:
        yield f"Member must have {what} less than or equal to {high}"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """The model's patterns are Java's: surrogate pairs stand for the characters beyond U+FFFF, \\p{Print} is ASCII."""
    text = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF").replace(r"\p{Print}", r"[\x20-\x7e]")
    return re.compile(text, re.DOTALL)


def _member(name: str) -> str:
    """A member as AWS's messages spell it: `minCapacity`."""
    return name[:1].lower() + name[1:]


def _problem(value: Any, path: _Path, constraint: str) -> str:
    where = ".".join(path)
    shown = "null" if value is None else f"'{value}'"
    shown = shown if len(shown) <= 200 else f"{shown[:200]}…'"
    return f"Value {shown} at '{where}' failed to satisfy constraint: {constraint}"
