"""Intrinsic functions of the Amazon States Language: `States.Format('{} of {}', $.a, $$.Execution.Name)`.

Semantics and examples are those of the Step Functions developer guide, "Intrinsic functions for JSONPath states".
`States.UUID` and `States.MathRandom` are refused when the state machine is created: two runs of one seed must be the
same bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from simulator.aws.asl_path import (
    MISSING,
    RUNTIME,
    Context,
    Expression,
    Gap,
    NotAllowed,
    StateFault,
    compact,
    parse_path,
)

MAX_NESTING: Final = 10
"""Intrinsic functions inside intrinsic functions, per field (developer guide)."""

_MAX_TEXT_CHARS: Final = 10_000
"""Longest input of Base64Encode, Base64Decode and Hash, in characters (developer guide)."""

_MAX_RANGE_ITEMS: Final = 1_000
"""Most items that ArrayRange makes (developer guide)."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant argument: string, number, true, false or null."""

    text: str
    value: Any

    def read(self, data: Any, context: Context) -> Any:
        return self.value


@dataclass(frozen=True, slots=True)
class Call:
    """One call with its arguments; raises States.IntrinsicFailure when they do not fit, States.Runtime when one is
    missing."""

    text: str
    name: str
    arguments: tuple[Expression, ...]

    def read(self, data: Any, context: Context) -> Any:
        values = []
        for argument in self.arguments:
            value = argument.read(data, context)
            if value is MISSING:
                what = f"The JsonPath argument for the field '{argument.text}' could not be found in the input"
                raise StateFault(RUNTIME, f"{what} '{compact(data)}'")
            values.append(value)
        try:
            return _FUNCTIONS[self.name].apply(values)
        except (ValueError, TypeError, IndexError) as problem:
            raise StateFault("States.IntrinsicFailure", f"The function '{self.text}' failed: {problem}") from problem


def parse_expression(text: object) -> Expression:
    """Read what stands behind a field that ends in `.$`: a path or a call. Raises NotAllowed, Gap."""
    if not isinstance(text, str):
        raise NotAllowed(f"{text!r}: a field that ends in .$ takes a path or an intrinsic function, as a string")
    if not text.startswith("States."):
        return parse_path(text)
    call, end = _parse_call(text, 0, depth=1)
    if text[end:].strip():
        raise NotAllowed(f"{text!r}: {text[end:]!r} is left over behind the function")
    return call


_NAME = re.compile(r"States\.(\w+)\s*\(")
_STRING = re.compile(r"'((?:[^'\\]|\\.)*)'")
_WORD = re.compile(r"[^\s,()']+")
_PATH = re.compile(r"""\$(?:[^\s,()\['"]|\['(?:[^'\\]|\\.)+'\]|\["(?:[^"\\]|\\.)+"\]|\[\d+\])*""")


def _parse_call(text: str, at: int, *, depth: int) -> tuple[Call, int]:
    if depth > MAX_NESTING:
        raise NotAllowed(f"{text!r}: more than {MAX_NESTING} functions inside each other")
    match = _NAME.match(text, at)
    if match is None:
        raise NotAllowed(f"{text!r}: expected States.<Function>( at position {at}")
    name = match.group(1)
    if name in _REFUSED:
        raise Gap(f"States.{name} is refused: {_REFUSED[name]}")
    if name not in _FUNCTIONS:
        raise NotAllowed(f"States.{name} is not an intrinsic function; known: {', '.join(sorted(_FUNCTIONS))}")
    arguments: list[Expression] = []
    end = _blank(text, match.end())
    while not text.startswith(")", end):
        if arguments:
            if not text.startswith(",", end):
                raise NotAllowed(f"{text!r}: expected , or ) at position {end}")
            end = _blank(text, end + 1)
        argument, end = _parse_argument(text, end, depth)
        arguments.append(argument)
        end = _blank(text, end)
    function = _FUNCTIONS[name]
    if not function.at_least <= len(arguments) <= function.at_most:
        raise NotAllowed(f"{text!r}: States.{name} does not take {len(arguments)} arguments")
    return Call(text[at : end + 1], name, tuple(arguments)), end + 1


def _parse_argument(text: str, at: int, depth: int) -> tuple[Expression, int]:
    if text.startswith("States.", at):
        return _parse_call(text, at, depth=depth + 1)
    if text.startswith("$", at):
        match = _PATH.match(text, at)
        assert match is not None
        return parse_path(match.group()), match.end()
    match = _STRING.match(text, at)
    if match is not None:
        # \{ and \} stay as they are: Format reads them as braces that are no placeholders.
        return Literal(match.group(), re.sub(r"\\(['\\])", r"\1", match.group(1))), match.end()
    match = _WORD.match(text, at)
    if match is None:
        raise NotAllowed(f"{text!r}: expected an argument at position {at}")
    try:
        value = json.loads(match.group())
    except json.JSONDecodeError as problem:
        raise NotAllowed(f"{text!r}: {match.group()!r} is not a value; strings stand in single quotes") from problem
    return Literal(match.group(), value), match.end()


def _blank(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


# --- the functions, in the order of the developer guide ---------------------------------------------------------------


def _array(values: list[Any]) -> list[Any]:
    return list(values)


def _array_partition(values: list[Any]) -> list[Any]:
    items, size = _a_list(values[0]), _a_whole(values[1])
    if size < 1:
        raise ValueError(f"the chunk size is {size}; it must be 1 or more")
    return [items[at : at + size] for at in range(0, len(items), size)]


def _array_contains(values: list[Any]) -> bool:
    return any(_same(item, values[1]) for item in _a_list(values[0]))


def _array_range(values: list[Any]) -> list[int]:
    first, last, step = (_a_whole(value) for value in values)
    if step == 0:
        raise ValueError("the step is 0")
    items = range(first, last + (1 if step > 0 else -1), step)
    if len(items) > _MAX_RANGE_ITEMS:
        raise ValueError(f"{len(items)} items; at most {_MAX_RANGE_ITEMS} are allowed")
    return list(items)


def _array_get_item(values: list[Any]) -> Any:
    items, index = _a_list(values[0]), _a_whole(values[1])
    if not 0 <= index < len(items):
        raise ValueError(f"index {index} is outside of an array of {len(items)}")
    return items[index]


def _array_length(values: list[Any]) -> int:
    return len(_a_list(values[0]))


def _array_unique(values: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for item in _a_list(values[0]):
        if not any(_same(item, other) for other in kept):
            kept.append(item)
    return kept


def _base64_encode(values: list[Any]) -> str:
    return base64.b64encode(_short(values[0]).encode()).decode()


def _base64_decode(values: list[Any]) -> str:
    try:
        return base64.b64decode(_short(values[0]), validate=True).decode()
    except binascii.Error as problem:
        raise ValueError(f"not base64: {problem}") from problem


_HASHES: Final = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}


def _hash(values: list[Any]) -> str:
    data, algorithm = values
    if algorithm not in _HASHES:
        raise ValueError(f"algorithm {algorithm!r}; one of {', '.join(_HASHES)} is allowed")
    return hashlib.new(_HASHES[algorithm], _short(data).encode(), usedforsecurity=False).hexdigest()


def _json_merge(values: list[Any]) -> dict[str, Any]:
    first, second, deep = values
    if deep is not False:
        raise ValueError("Step Functions merges shallowly only: the third argument must be false")
    if not isinstance(first, dict) or not isinstance(second, dict):
        raise ValueError("both values must be objects")
    return {**first, **second}


def _string_to_json(values: list[Any]) -> Any:
    return json.loads(_a_text(values[0]))


def _json_to_string(values: list[Any]) -> str:
    return compact(values[0])


def _math_add(values: list[Any]) -> int:
    return _a_whole(values[0]) + _a_whole(values[1])


def _string_split(values: list[Any]) -> list[str]:
    text, splitter = _a_text(values[0]), _a_text(values[1])
    # Every character of the splitter separates, and empty parts are dropped (developer guide, StringSplit).
    return [part for part in re.split(f"[{re.escape(splitter)}]", text) if part] if splitter else [text]


_BRACES = re.compile(r"\\([{}\\])|\{\}")


def _format(values: list[Any]) -> str:
    template, arguments = _a_text(values[0]), iter(values[1:])
    wanted = sum(1 for match in _BRACES.finditer(template) if match.group() == "{}")
    if wanted != len(values) - 1:
        raise ValueError(f"{wanted} placeholders {{}}, but {len(values) - 1} values")
    return _BRACES.sub(lambda match: match.group(1) or _shown(next(arguments)), template)


def _shown(value: Any) -> str:
    """A value inside Format. Arrays and objects look like Java's: [1, x] and {a=1}."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{', '.join(_shown(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}={_shown(item)}' for key, item in value.items())}}}"
    return compact(value)


def _a_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{compact(value)} is not an array")
    return value


def _a_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{compact(value)} is not a string")
    return value


def _a_whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError(f"{compact(value)} is not a whole number")
    return int(value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else compact(value)
    if len(text) > _MAX_TEXT_CHARS:
        raise ValueError(f"{len(text)} characters; at most {_MAX_TEXT_CHARS} are allowed")
    return text


def _same(left: Any, right: Any) -> bool:
    """JSON equality: true is not 1."""
    return compact(left) == compact(right) if isinstance(left, bool) or isinstance(right, bool) else left == right


@dataclass(frozen=True, slots=True)
class _Function:
    apply: Callable[[list[Any]], Any]
    at_least: int
    at_most: int


_FUNCTIONS: Final[dict[str, _Function]] = {
    "Array": _Function(_array, 0, 1_000),
    "ArrayPartition": _Function(_array_partition, 2, 2),
    "ArrayContains": _Function(_array_contains, 2, 2),
    "ArrayRange": _Function(_array_range, 3, 3),
    "ArrayGetItem": _Function(_array_get_item, 2, 2),
    "ArrayLength": _Function(_array_length, 1, 1),
    "ArrayUnique": _Function(_array_unique, 1, 1),
    "Base64Encode": _Function(_base64_encode, 1, 1),
    "Base64Decode": _Function(_base64_decode, 1, 1),
    "Hash": _Function(_hash, 2, 2),
    "JsonMerge": _Function(_json_merge, 3, 3),
    "StringToJson": _Function(_string_to_json, 1, 1),
    "JsonToString": _Function(_json_to_string, 1, 1),
    "MathAdd": _Function(_math_add, 2, 2),
    "StringSplit": _Function(_string_split, 2, 2),
    "Format": _Function(_format, 1, 1_000),
}

_REFUSED: Final = {
    "UUID": "it is different in every run; let a Lambda or StartExecution's name carry the identifier",
    "MathRandom": "it is different in every run; draw the number in a Lambda that takes a seed",
}
