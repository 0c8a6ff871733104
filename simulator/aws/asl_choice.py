"""Choice rules of the Amazon States Language: what a Choice state compares.

A comparison with a value of another type is false, never an error; a path that leads nowhere is States.Runtime, except
for IsPresent. Source: Amazon States Language specification, "Choice State", and the developer guide's Choice page.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from simulator.aws.asl_path import MISSING, RUNTIME, Context, NotAllowed, Path, StateFault, parse_path

Rule = Callable[[Any, Context], bool]
"""Does the state's effective input match?"""


def compile_rule(source: Any) -> Rule:
    """Compile one choice rule (without its Next); raises NotAllowed and says what is wrong with it."""
    if not isinstance(source, dict):
        raise NotAllowed(f"a choice rule is an object, not {source!r}")
    words = sorted(set(source) - {"Next", "Comment", "Variable"})
    if len(words) != 1:
        raise NotAllowed(f"a choice rule has exactly one comparison; found: {', '.join(words) or 'none'}")
    word, operand = words[0], source[words[0]]
    if word in ("And", "Or"):
        return _combined(word, operand)
    if word == "Not":
        negated = compile_rule(operand)
        return lambda data, context: not negated(data, context)
    if "Variable" not in source:
        raise NotAllowed(f"{word} needs a Variable")
    return _comparison(parse_path(source["Variable"]), word, operand)


def parse_timestamp(text: object) -> datetime | None:
    """An RFC 3339 time with a capital T and a zone (`2026-01-01T00:00:00Z`), as ASL demands; None if it is not one."""
    if not isinstance(text, str) or _TIMESTAMP.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)")


def _combined(word: str, operand: Any) -> Rule:
    if not isinstance(operand, list) or not operand:
        raise NotAllowed(f"{word} takes a list of at least one rule")
    rules = [compile_rule(rule) for rule in operand]
    if word == "And":
        return lambda data, context: all(rule(data, context) for rule in rules)
    return lambda data, context: any(rule(data, context) for rule in rules)


def _comparison(variable: Path, word: str, operand: Any) -> Rule:
    if word == "IsPresent":
        _demand(isinstance(operand, bool), word, operand, "true or false")
        return lambda data, context: (variable.read(data, context) is not MISSING) == operand
    if word in _IS:
        _demand(isinstance(operand, bool), word, operand, "true or false")
        is_it = _IS[word]
        return lambda data, context: is_it(_known(variable, data, context)) == operand
    if word == "StringMatches":
        _demand(isinstance(operand, str), word, operand, "a string")
        pattern = _wildcards(operand)
        return lambda data, context: _matches(pattern, _known(variable, data, context))
    by_path = word.endswith("Path")
    kind, relation = _split(word.removesuffix("Path"))
    as_kind, compare = _KINDS[kind], _RELATIONS[relation]
    if by_path:
        other = parse_path(operand)

        def against_path(data: Any, context: Context) -> bool:
            left, right = as_kind(_known(variable, data, context)), as_kind(_known(other, data, context))
            return left is not None and right is not None and compare(left, right)

        return against_path
    constant = as_kind(operand)
    _demand(constant is not None, word, operand, f"a {kind.lower()}")

    def against_constant(data: Any, context: Context) -> bool:
        left = as_kind(_known(variable, data, context))
        return left is not None and compare(left, constant)

    return against_constant


def _split(word: str) -> tuple[str, str]:
    for kind in _KINDS:
        relation = word.removeprefix(kind)
        if relation != word and relation in _RELATIONS and (kind != "Boolean" or relation == "Equals"):
            return kind, relation
    raise NotAllowed(f"{word} is not a comparison of the Amazon States Language")


def _known(path: Path, data: Any, context: Context) -> Any:
    value = path.read(data, context)
    if value is MISSING:
        what = "The choice state's condition path references an invalid value."
        raise StateFault(RUNTIME, f"Invalid path '{path.text}': {what}")
    return value


def _demand(holds: bool, word: str, operand: Any, wanted: str) -> None:
    if not holds:
        raise NotAllowed(f"{word} takes {wanted}, not {operand!r}")


def _as_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _as_number(value: Any) -> float | int | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _as_flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _wildcards(text: str) -> re.Pattern[str]:
    """`*` stands for any characters, `\\*` for a star, `\\\\` for a backslash; everything else for itself."""
    parts = re.findall(r"\\[*\\]|\*|.", text, re.DOTALL)
    return re.compile("".join(".*" if part == "*" else re.escape(part[-1]) for part in parts), re.DOTALL)


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


_KINDS: Final[dict[str, Callable[[Any], Any]]] = {
    "String": _as_text,
    "Numeric": _as_number,
    "Boolean": _as_flag,
    "Timestamp": parse_timestamp,
}

_RELATIONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "GreaterThan": operator.gt,
    "LessThanEquals": operator.le,
    "GreaterThanEquals": operator.ge,
}

_IS: Final[dict[str, Callable[[Any], bool]]] = {
    "IsNull": lambda value: value is None,
    "IsString": lambda value: isinstance(value, str),
    "IsNumeric": lambda value: _as_number(value) is not None,
    "IsBoolean": lambda value: isinstance(value, bool),
    "IsTimestamp": lambda value: parse_timestamp(value) is not None,
}
