"""The rule of a composite alarm: `ALARM("a") AND NOT (OK(b) OR INSUFFICIENT_DATA(c))`.

Grammar: PutCompositeAlarm, API reference (AT_LEAST and action suppressors are not emulated).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.aws.alarm_evaluation import AlarmState
from simulator.errors import ServiceError

_TOKEN = re.compile(
    r"\s*(?:(\()|(\))|(TRUE|FALSE|AND|OR|NOT)\b|(ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:\"([^\"]+)\"|'([^']+)'|([^\s\"')]+))\s*\))"
)


@dataclass(frozen=True)
class CompositeRule:
    """A parsed rule; `children` are the alarm names or ARNs it mentions."""

    expression: Any
    children: frozenset[str]

    def state(self, states: Mapping[str, AlarmState]) -> AlarmState:
        """ALARM if the rule is true for `states` (by name and ARN), else OK; an alarm that is gone is in no state."""
        return AlarmState.ALARM if _holds(self.expression, states) else AlarmState.OK


def parse_rule(text: str) -> CompositeRule:
    """Read `text`; raises ServiceError ValidationError if it is not a rule."""
    tokens = _tokens(text)
    children = frozenset(token[1] for token in tokens if isinstance(token, tuple))
    if not tokens:
        raise _invalid(text, "it is empty")
    expression = _either(tokens, text)
    if tokens:
        raise _invalid(text, f"unexpected {tokens[0]}")
    return CompositeRule(expression, children)


def _tokens(text: str) -> list[Any]:
    tokens: list[Any] = []
    position = 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _invalid(text, f"cannot read {text[position : position + 30]!r}")
        opening, closing, word, state, *names = match.groups()
        tokens.append((state, next(name for name in names if name)) if state else opening or closing or word)
        position = match.end()
    return tokens


def _either(tokens: list[Any], text: str) -> Any:
    left = _both(tokens, text)
    while tokens and tokens[0] == "OR":
        tokens.pop(0)
        left = ("OR", left, _both(tokens, text))
    return left


def _both(tokens: list[Any], text: str) -> Any:
    left = _one(tokens, text)
    while tokens and tokens[0] == "AND":
        tokens.pop(0)
        left = ("AND", left, _one(tokens, text))
    return left


def _one(tokens: list[Any], text: str) -> Any:
    if not tokens:
        raise _invalid(text, "it ends too early")
    token = tokens.pop(0)
    if token == "NOT":
        return ("NOT", _one(tokens, text))
    if token == "(":
        inner = _either(tokens, text)
        if not tokens or tokens.pop(0) != ")":
            raise _invalid(text, "a parenthesis is not closed")
        return inner
    if token in ("TRUE", "FALSE"):
        return token == "TRUE"
    if isinstance(token, tuple):
        return ("IS", AlarmState(token[0]), token[1])
    raise _invalid(text, f"unexpected {token}")


def _holds(expression: Any, states: Mapping[str, AlarmState]) -> bool:
    if isinstance(expression, bool):
        return expression
    kind, *parts = expression
    if kind == "IS":
        return states.get(parts[1]) is parts[0]
    if kind == "NOT":
        return not _holds(parts[0], states)
    results = (_holds(part, states) for part in parts)
    return all(results) if kind == "AND" else any(results)


def _invalid(text: str, problem: str) -> ServiceError:
    return ServiceError("ValidationError", f"AlarmRule {text!r} is not valid: {problem}")
