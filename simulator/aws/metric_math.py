"""The part of CloudWatch metric math that alarms and dashboards of this kind use.

Arithmetic on time series and numbers, and FILL, MAX, MIN, SUM, AVG, ABS, CEIL, FLOOR, IF (CloudWatch User Guide, "Using
metric math"). Two series combine at the times that both have; a function of one series gives a number, of several
series a series. Everything else is refused by name.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

TimeSeries = dict[int, float]
"""Start of period, seconds since the epoch -> value."""

_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)|([A-Za-z][A-Za-z0-9_]*)|(>=|<=|==|!=|[-+*/^()\[\],<>]))")
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
    ">": lambda a, b: float(a > b),
    "<": lambda a, b: float(a < b),
    ">=": lambda a, b: float(a >= b),
    "<=": lambda a, b: float(a <= b),
    "==": lambda a, b: float(a == b),
    "!=": lambda a, b: float(a != b),
}
_AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "MAX": max,
    "MIN": min,
    "SUM": sum,
    "AVG": lambda values: sum(values) / len(values),
}
_POINTWISE: dict[str, Callable[[float], float]] = {
    "ABS": abs,
    "CEIL": lambda value: float(math.ceil(value)),
    "FLOOR": lambda value: float(math.floor(value)),
}
_PRECEDENCE = ({">", "<", ">=", "<=", "==", "!="}, {"+", "-"}, {"*", "/"}, {"^"})


class MathError(Exception):
    """The expression is not valid; the text is what follows `Error in expression '<id>'` in AWS's answer."""


def evaluate(expression: str, series: Mapping[str, TimeSeries], grid: Sequence[int]) -> TimeSeries:
    """The series that `expression` stands for.

    `series` are the other queries by id; `grid` the starts of all periods asked for, which FILL fills. Raises MathError.
    """
    value = _Reader(expression, series, grid).read()
    if not isinstance(value, dict):
        raise MathError("The expression must return a time series")
    return value


def ids(expression: str) -> set[str]:
    """The ids of other queries that `expression` refers to."""
    words = (match.group(2) for match in _TOKEN.finditer(expression))
    return {word for word in words if word and word[0].islower()}


class _Reader:
    def __init__(self, expression: str, series: Mapping[str, TimeSeries], grid: Sequence[int]) -> None:
        self._tokens = _tokens(expression)
        self._series = series
        self._grid = grid

    def read(self) -> Any:
        value = self._level(0)
        if self._tokens:
            raise MathError(f"Unexpected token '{self._tokens[0]}'")
        return value

    def _level(self, level: int) -> Any:
        if level == len(_PRECEDENCE):
            return self._operand()
        left = self._level(level + 1)
        while self._tokens and self._tokens[0] in _PRECEDENCE[level]:
            sign = self._tokens.pop(0)
            left = _combine(_ARITHMETIC[sign], left, self._level(level + 1))
        return left

    def _operand(self) -> Any:
        if not self._tokens:
            raise MathError("Unexpected end of expression")
        token = self._tokens.pop(0)
        if token == "-":
            return _combine(operator.mul, -1.0, self._level(len(_PRECEDENCE) - 1))
        if token == "(":
            value = self._level(0)
            self._expect(")")
            return value
        if token == "[":
            return self._arguments("]")
        if token[0].isdigit() or token[0] == ".":
            return float(token)
        if self._tokens and self._tokens[0] == "(":
            self._tokens.pop(0)
            return self._call(token)
        if token in self._series:
            return self._series[token]
        if token in ("REPEAT", "LINEAR"):
            return token
        raise MathError(f"Undefined variable '{token}'" if token[0].isalpha() else f"Unexpected token '{token}'")

    def _call(self, name: str) -> Any:
        arguments = self._arguments(")")
        if name in _AGGREGATES:
            parts = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else arguments
            return _aggregate(_AGGREGATES[name], parts)
        if name in _POINTWISE and len(arguments) == 1:
            return _combine(lambda value, _: _POINTWISE[name](value), arguments[0], 0.0)
        if name == "FILL" and len(arguments) == 2:
            return self._fill(*arguments)
        if name == "IF" and len(arguments) == 3:
            return _if(*arguments)
        raise MathError(f"Unsupported function '{name}'" if name.isupper() else f"Undefined function '{name}'")

    def _fill(self, series: TimeSeries, filler: Any) -> TimeSeries:
        if filler == "LINEAR":
            raise MathError("Unsupported function 'FILL' with LINEAR")
        filled: TimeSeries = {}
        last: float | None = None
        for start in self._grid:
            if start in series:
                last = series[start]
                filled[start] = last
            elif filler == "REPEAT":
                if last is not None:
                    filled[start] = last
            else:
                value = filler.get(start) if isinstance(filler, dict) else filler
                if value is not None:
                    filled[start] = value
        return filled

    def _arguments(self, closing: str) -> list[Any]:
        arguments = [self._level(0)]
        while self._tokens and self._tokens[0] == ",":
            self._tokens.pop(0)
            arguments.append(self._level(0))
        self._expect(closing)
        return arguments

    def _expect(self, token: str) -> None:
        if not self._tokens or self._tokens.pop(0) != token:
            raise MathError(f"Expected '{token}'")


def _tokens(expression: str) -> list[str]:
    found, position = [], 0
    expression = expression.rstrip()
    while position < len(expression):
        match = _TOKEN.match(expression, position)
        if match is None:
            raise MathError(f"Unexpected token '{expression[position:].strip()[:1]}'")
        found.append(match.group().strip())
        position = match.end()
    return found


def _combine(function: Callable[[float, float], float], left: Any, right: Any) -> Any:
    if isinstance(left, list):
        return [_combine(function, one, right) for one in left]
    if isinstance(right, list):
        return [_combine(function, left, one) for one in right]
    if isinstance(left, dict) or isinstance(right, dict):
        times = left.keys() & right.keys() if isinstance(left, dict) and isinstance(right, dict) else None
        if times is None:
            times = left.keys() if isinstance(left, dict) else right.keys()
        combined: TimeSeries = {}
        for at in sorted(times):
            a = left[at] if isinstance(left, dict) else left
            b = right[at] if isinstance(right, dict) else right
            try:
                combined[at] = function(a, b)
            except ZeroDivisionError:
                continue  # CloudWatch leaves the datapoint out
        return combined
    try:
        return function(left, right)
    except ZeroDivisionError:
        raise MathError("Division by zero") from None


def _aggregate(function: Callable[[Sequence[float]], float], parts: list[Any]) -> Any:
    if len(parts) == 1 and isinstance(parts[0], dict):
        values = list(parts[0].values())
        if not values:
            return {}
        return function(values)
    if all(isinstance(part, float) for part in parts):
        return function(parts)
    series = [part for part in parts if isinstance(part, dict)]
    numbers = [part for part in parts if isinstance(part, float)]
    times = sorted(set().union(*series))
    return {at: function([one[at] for one in series if at in one] + numbers) for at in times}


def _if(condition: Any, when_true: Any, when_false: Any) -> Any:
    if isinstance(condition, float):
        return when_true if condition else when_false
    chosen: TimeSeries = {}
    for at, truth in condition.items():
        branch = when_true if truth else when_false
        value = branch.get(at) if isinstance(branch, dict) else branch
        if value is not None:
            chosen[at] = value
    return chosen
