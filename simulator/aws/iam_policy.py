"""Whether IAM policy statements allow a request (IAM user guide, "Policy evaluation logic").

Within one account: an explicit Deny wins, else one Allow is enough, else the request is denied. Patterns: `*` and `?` in
actions (any case) and resources (exact case); policy variables other than none are not emulated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from simulator.not_emulated import NotEmulated


@dataclass(frozen=True)
class Request:
    """One thing that is asked for: an action on a resource, with the condition keys that come with it.

    `keys` map lower-cased condition keys to their values; a key that is absent is absent from the request.
    """

    action: str
    resource: str
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Statement:
    """One policy statement; `principals` are None in a role's policy, which has none."""

    effect: str
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]
    principals: tuple[str, ...] | None

    def applies(self, request: Request, principal: str | None = None) -> bool:
        """Whether the statement speaks about the request; `principal` is who asks, for a resource's policy."""
        if self.principals is not None and not ({"*", principal} & set(self.principals)):
            return False
        if self.actions and not _any(self.actions, request.action, ignore_case=True):
            return False
        if self.not_actions and _any(self.not_actions, request.action, ignore_case=True):
            return False
        if self.resources and not _any(self.resources, request.resource):
            return False
        if self.not_resources and _any(self.not_resources, request.resource):
            return False
        return all(_holds(operator, key, wanted, request.keys) for operator, key, wanted in self.conditions)


def parse_policy(document: Mapping[str, Any]) -> tuple[Statement, ...]:
    """The statements of a policy document."""
    return tuple(_statement(one) for one in _list(document.get("Statement", [])))


def allows(statements: Iterable[Statement], request: Request, principal: str | None = None) -> bool:
    """Whether the statements together allow the request."""
    allowed = False
    for statement in statements:
        if statement.applies(request, principal):
            if statement.effect == "Deny":
                return False
            allowed = True
    return allowed


def _statement(body: Mapping[str, Any]) -> Statement:
    conditions = []
    for operator, entries in body.get("Condition", {}).items():
        for key, wanted in entries.items():
            values = tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in _list(wanted))
            for value in values:
                if "${" in value:
                    raise NotEmulated(f"IAM policy variable {value} is not emulated")
            conditions.append((operator, key.lower(), values))
    return Statement(
        effect=body["Effect"],
        actions=tuple(_list(body.get("Action", []))),
        not_actions=tuple(_list(body.get("NotAction", []))),
        resources=tuple(_list(body.get("Resource", []))),
        not_resources=tuple(_list(body.get("NotResource", []))),
        conditions=tuple(conditions),
        principals=_principals(body["Principal"]) if "Principal" in body else None,
    )


def _principals(principal: Any) -> tuple[str, ...]:
    if principal == "*":
        return ("*",)
    return tuple(one for kind in sorted(principal) for one in _list(principal[kind]))


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _any(patterns: Iterable[str], text: str, *, ignore_case: bool = False) -> bool:
    return any(_like(pattern, ignore_case).fullmatch(text) is not None for pattern in patterns)


@cache
def _like(pattern: str, ignore_case: bool = False) -> re.Pattern[str]:
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL if ignore_case else re.DOTALL)


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda have, wanted: have == wanted,
    "StringEqualsIgnoreCase": lambda have, wanted: have.lower() == wanted.lower(),
    "StringLike": lambda have, wanted: _like(wanted).fullmatch(have) is not None,
    "ArnEquals": lambda have, wanted: _like(wanted).fullmatch(have) is not None,
    "ArnLike": lambda have, wanted: _like(wanted).fullmatch(have) is not None,
    "Bool": lambda have, wanted: have.lower() == wanted.lower(),
    "NumericEquals": lambda have, wanted: float(have) == float(wanted),
    "NumericLessThan": lambda have, wanted: float(have) < float(wanted),
    "NumericLessThanEquals": lambda have, wanted: float(have) <= float(wanted),
    "NumericGreaterThan": lambda have, wanted: float(have) > float(wanted),
    "NumericGreaterThanEquals": lambda have, wanted: float(have) >= float(wanted),
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
}


def _holds(operator: str, key: str, wanted: tuple[str, ...], keys: Mapping[str, tuple[str, ...]]) -> bool:
    name, quantifier = operator, ""
    if ":" in name:
        quantifier, name = name.split(":", 1)
    if name == "Null":
        return (key not in keys) == (wanted[0] == "true")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    have = keys.get(key)
    if have is None or not have:
        return if_exists or name in _NEGATED or quantifier == "ForAllValues"
    test = _TESTS.get(_NEGATED.get(name, name))
    if test is None:
        raise NotEmulated(f"IAM condition operator {operator} is not emulated")
    negated = name in _NEGATED
    fits = [any(test(one, value) for value in wanted) != negated for one in have]
    return any(fits) if quantifier == "ForAnyValue" else all(fits)
