"""Paths and payload templates of the Amazon States Language (JSONPath): where a state reads and where it writes.

Only *definite* paths are emulated (fields and indexes: `$.a.b[0]`, `$['a b']`, `$$.Execution.Name`), because only these
mean the same in every Step Functions emulator. Wildcards, slices, filters and `..` are refused when the state machine
is created. Sources: Amazon States Language specification (Paths, Payload Template) and the Step Functions developer
guide ("Processing input and output").
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

MISSING: Final = object()
"""What `read` returns when the path leads nowhere; a JSON null is `None`."""

RUNTIME: Final = "States.Runtime"
DATA_LIMIT: Final = "States.DataLimitExceeded"
MAX_PAYLOAD_BYTES: Final = 262_144
"""256 KiB of UTF-8 as input or output of a state, a task or an execution (Step Functions service quotas)."""

Context = Callable[[], dict[str, Any]]
"""Builds the context object (`$$`); called only by paths that begin with `$$`."""


class StateFault(Exception):
    """A state failed: `error` is the name that Retry and Catch compare, `cause` the text for a person.

    `raised_here` tells an error of the interpreter (its cause gets the state's name in front) from a task's own.
    """

    def __init__(self, error: str | None, cause: str | None, *, raised_here: bool = True) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause
        self.raised_here = raised_here


class NotAllowed(ValueError):
    """Part of a definition that AWS refuses too; says what is wrong with it."""


class Gap(ValueError):
    """Part of a definition that AWS runs and this interpreter does not; says what."""


class Expression(Protocol):
    """Anything that can stand behind a field that ends in `.$`."""

    text: str

    def read(self, data: Any, context: Context) -> Any:
        """The value that `data` (or the context object) has here, or MISSING."""


@dataclass(frozen=True, slots=True)
class Path:
    """A definite path; `steps` are field names and indexes from the root down."""

    text: str
    steps: tuple[str | int, ...] = ()
    in_context: bool = False

    def read(self, data: Any, context: Context) -> Any:
        node = context() if self.in_context else data
        for step in self.steps:
            if isinstance(step, str):
                if not isinstance(node, dict) or step not in node:
                    return MISSING
            elif not isinstance(node, list) or step >= len(node):
                return MISSING
            node = node[step]
        return node

    def must_read(self, data: Any, context: Context) -> Any:
        """As `read`; raises States.Runtime, which nothing can catch, when the path leads nowhere."""
        value = self.read(data, context)
        if value is MISSING:
            where = "".join(f"['{step}']" if isinstance(step, str) else f"[{step}]" for step in self.steps)
            raise StateFault(RUNTIME, f"Invalid path '{self.text}' : No results for path: ${where}")
        return value


@dataclass(frozen=True, slots=True)
class NullPath:
    """`InputPath: null` and `OutputPath: null`: an empty object."""

    text: str = "null"

    def must_read(self, data: Any, context: Context) -> Any:
        return {}


WHOLE: Final = Path("$")
NOTHING: Final = NullPath()

_STEP = re.compile(r"""\.([^\s.\[\]'"()*?@,:]+)|\['((?:[^'\\]|\\.)+)'\]|\["((?:[^"\\]|\\.)+)"\]|\[(\d+)\]""")


def parse_path(text: object) -> Path:
    """Read a path: `$` or `$$` followed by fields and indexes. Raises NotAllowed if it is none, Gap for the rest."""
    if not isinstance(text, str) or not text.startswith("$"):
        raise NotAllowed(f"{text!r} is not a path; a path begins with $ (input) or $$ (context object)")
    in_context = text.startswith("$$")
    at = 2 if in_context else 1
    steps: list[str | int] = []
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise Gap(f"{text!r}: only fields and indexes are emulated, not {text[at:]!r}")
        field, single, double, index = match.groups()
        quoted = single or double
        steps.append(int(index) if index else field or re.sub(r"\\(.)", r"\1", quoted))
        at = match.end()
    return Path(text, tuple(steps), in_context)


@dataclass(frozen=True, slots=True)
class ResultPath:
    """Where a state puts its result: over the whole input (`$`), nowhere (null), or into a field of the raw input."""

    fields: tuple[str, ...] = ()
    discard: bool = False

    def put(self, raw_input: Any, result: Any) -> Any:
        """The raw input with the result in place; neither argument is changed.

        Raises States.ResultPathMatchFailure when a step would have to go through something that is not an object.
        """
        if self.discard:
            return raw_input
        return _put(raw_input, self.fields, result) if self.fields else result


def parse_result_path(text: object) -> ResultPath:
    """Read a ResultPath: null, `$`, or a path of field names. Raises NotAllowed, Gap."""
    if text is None:
        return ResultPath(discard=True)
    path = parse_path(text)
    if path.in_context:
        raise NotAllowed(f"ResultPath {text!r}: a result cannot go into the context object")
    if not all(isinstance(step, str) for step in path.steps):
        raise Gap(f"ResultPath {text!r}: only null, $ and paths of field names are emulated")
    return ResultPath(tuple(str(step) for step in path.steps))


def _put(node: Any, fields: tuple[str, ...], value: Any) -> dict[str, Any]:
    if not isinstance(node, dict):
        cause = f'Unable to apply step "{fields[0]}" to input {compact(node)}'
        raise StateFault("States.ResultPathMatchFailure", cause)
    rest = fields[1:]
    return {**node, fields[0]: _put(node.get(fields[0], {}), rest, value) if rest else value}


Template = Callable[[Any, Context], Any]
"""A compiled payload template (Parameters, ResultSelector, ItemSelector): effective input -> payload."""


def compile_template(source: Any, parse_expression: Callable[[object], Expression]) -> Template:
    """Compile a payload template: every field that ends in `.$` is replaced by what its expression reads.

    A path that leads nowhere raises States.Runtime when the template is applied. Raises NotAllowed or Gap for an
    expression that cannot be parsed. The constant parts are shared between calls; nothing here changes a payload.
    """
    if isinstance(source, list):
        items = [compile_template(item, parse_expression) for item in source]
        return lambda data, context: [item(data, context) for item in items]
    if not isinstance(source, dict):
        return lambda data, context: source
    parts: list[tuple[str, Template]] = []
    for key, value in source.items():
        if key.endswith(".$"):
            parts.append((key[:-2], _reader(key, parse_expression(value))))
        else:
            parts.append((key, compile_template(value, parse_expression)))
    names = [name for name, _ in parts]
    if len(set(names)) != len(names):
        raise NotAllowed(f"the same field is given twice, once with .$ and once without: {sorted(names)}")
    return lambda data, context: {name: part(data, context) for name, part in parts}


def _reader(key: str, expression: Expression) -> Template:
    def read(data: Any, context: Context) -> Any:
        value = expression.read(data, context)
        if value is MISSING:
            text = f"The JSONPath '{expression.text}' specified for the field '{key}' could not be found in the input"
            raise StateFault(RUNTIME, f"{text} '{compact(data)}'")
        return value

    return read


def compact(value: Any) -> str:
    """`value` as JSON without blanks, as Step Functions writes it; raises TypeError or ValueError if it is not JSON."""
    return _ENCODER.encode(value)


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def check_size(value: Any, what: str) -> None:
    """Raise States.DataLimitExceeded if `value` is larger than 256 KiB as JSON."""
    check_text_size(compact(value), what)


def check_text_size(text: str, what: str) -> None:
    """The same for what is JSON text already."""
    if len(text.encode()) > MAX_PAYLOAD_BYTES:
        size = "with a size exceeding the maximum number of bytes service limit"
        raise StateFault(DATA_LIMIT, f"The state/task '{what}' returned a result {size}.")
