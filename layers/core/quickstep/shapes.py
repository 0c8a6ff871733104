"""Shapes of small documents from outside: environment variables and events, checked field by field.

A shape is a frozen dataclass whose fields are annotated with a check: a function that returns the value as it is meant, or
raises `Wrong` with what was expected. `read` builds it and collects every problem. Pydantic does all of this too, and more;
but importing it and building its models takes a third of a cold start, and an alarm waits for it. It stays where documents
are large and nobody waits (policy documents). The sentences are pydantic's, and a test holds the two against each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, get_type_hints

Check = Callable[[Any], Any]
T = TypeVar("T")


class Wrong(ValueError):
    """A value is not what its check wants; the text says what it wants."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One field that cannot be read. `missing` if it is not there at all."""

    path: tuple[str, ...]
    value: Any
    expected: str
    missing: bool = False


class Unreadable(ValueError):
    """A document is not of its shape."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} fields cannot be read")
        self.problems = problems


def read(shape: type[T], values: Mapping[str, Any], *, name: Callable[[str], str] = str) -> T:
    """A `shape` from `values`, which may hold more; `name` makes the key out of a field's name.

    Raises `Unreadable` with every problem, in the order of the fields.
    """
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for field, check, required in _checks(shape):
        key = name(field)
        if key not in values:
            if required:
                problems.append(Problem((key,), None, "Field required", missing=True))
            continue
        try:
            found[field] = check(values[key])
        except Unreadable as inner:
            problems += [Problem((key, *one.path), one.value, one.expected, one.missing) for one in inner.problems]
        except Wrong as wrong:
            problems.append(Problem((key,), values[key], str(wrong)))
    if problems:
        raise Unreadable(problems)
    return shape(**found)


@cache
def _checks(shape: type) -> tuple[tuple[str, Check, bool], ...]:
    hints = get_type_hints(shape, include_extras=True)
    return tuple(
        (field.name, _check_of(hints[field.name]), field.default is MISSING) for field in fields(shape) if field.init
    )


def _check_of(hint: Any) -> Check:
    """The check that an annotation carries; a value of which nothing is expected passes as it is."""
    metadata = getattr(hint, "__metadata__", ())
    return metadata[0] if metadata else lambda value: value


# -- checks -----------------------------------------------------------------------------------------------------------


def text(
    *, strip: bool = False, min_length: int = 0, max_length: int | None = None, pattern: str | None = None
) -> Check:
    """A text; `pattern` must match the whole of it. Lengths in characters, after stripping white space."""
    compiled = None if pattern is None else re.compile(pattern)

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise Wrong("Input should be a valid string")
        if strip:
            value = value.strip()
        if len(value) < min_length:
            raise Wrong(f"String should have at least {min_length} {_characters(min_length)}")
        if max_length is not None and len(value) > max_length:
            raise Wrong(f"String should have at most {max_length} {_characters(max_length)}")
        if compiled is not None and compiled.fullmatch(value) is None:
            raise Wrong(f"String should match pattern '{pattern}'")
        return value

    return check


def whole(*, ge: int | None = None, le: int | None = None, from_text: bool = False) -> Check:
    """A whole number within bounds; only with `from_text` also one that is written as a text."""

    def check(value: Any) -> int:
        if from_text and isinstance(value, str):
            found = re.fullmatch(r"\s*([-+]?\d+)(?:\.0+)?\s*", value, re.ASCII)
            if found is None:
                raise Wrong("Input should be a valid integer, unable to parse string as an integer")
            value = int(found[1])
        if not isinstance(value, int) or isinstance(value, bool):
            raise Wrong("Input should be a valid integer")
        _bounds(value, ge=ge, le=le)
        return value

    return check


def number(
    *, ge: float | None = None, gt: float | None = None, le: float | None = None, from_text: bool = False
) -> Check:
    """A finite number within bounds; only with `from_text` also one that is written as a text."""

    def check(value: Any) -> float:
        if from_text and isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise Wrong("Input should be a valid number, unable to parse string as a number") from None
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Wrong("Input should be a valid number")
        if not math.isfinite(value):
            raise Wrong("Input should be a finite number")
        _bounds(value, ge=ge, gt=gt, le=le)
        return float(value)

    return check


def one_of(*words: str) -> Check:
    """One of these words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise Wrong(f"Input should be {_either(words)}")
        return value

    return check


def word(kind: type[StrEnum]) -> Check:
    """A member of an enumeration, by its value."""
    known = one_of(*(str(member) for member in kind))
    return lambda value: kind(known(value))


def yes_or_no(value: Any) -> bool:
    """Yes or No, as template parameters write it."""
    if value not in ("Yes", "No"):
        raise Wrong("Expected Yes or No")
    return value == "Yes"


def part(shape: type) -> Check:
    """A document within a document."""

    def check(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Wrong("Input should be a valid dictionary")
        return read(shape, value)

    return check


def or_none(check: Check) -> Check:
    """Nothing, or what `check` wants."""
    return lambda value: None if value is None else check(value)


def or_empty(check: Check) -> Check:
    """An empty text, which means None, or what `check` wants."""
    return lambda value: None if value is None or (isinstance(value, str) and not value.strip()) else check(value)


def _bounds(value: float, *, ge: float | None = None, gt: float | None = None, le: float | None = None) -> None:
    if ge is not None and value < ge:
        raise Wrong(f"Input should be greater than or equal to {ge}")
    if gt is not None and value <= gt:
        raise Wrong(f"Input should be greater than {gt}")
    if le is not None and value > le:
        raise Wrong(f"Input should be less than or equal to {le}")


def _characters(number_of: int) -> str:
    return "character" if number_of == 1 else "characters"


def _either(words: tuple[str, ...]) -> str:
    quoted = [f"'{one}'" for one in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
