"""Pages: MaxResults and NextToken of every Describe operation.

A token is the key of the last record that was returned, sealed with the operation and its filters: a token of another
request, or one that was tampered with, is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from quickstep.control.names import dimension_of
from quickstep.control.refusals import InvalidNextTokenException, ValidationException
from quickstep.gateways.registry_control import Page

MOST = 50
"""The most results of one page, and the default (API reference)."""


def begin(operation: str, params: Mapping[str, Any]) -> tuple[int, str | None]:
    """Size of the page, and the key after which it begins; None for the first page."""
    size = params.get("MaxResults", MOST)
    if not 1 <= size <= MOST:
        bound = "greater than or equal to 1" if size < 1 else f"less than or equal to {MOST}"
        raise ValidationException(
            f"1 validation error detected: Value '{size}' at 'maxResults' failed to satisfy constraint: Member must have "
            f"value {bound}"
        )
    token = params.get("NextToken")
    return size, None if token is None else _opened(operation, params, token)


def matching(
    operation: str, params: Mapping[str, Any], pages: Callable[..., Page[Any]], *, names: str
) -> tuple[list[Any], dict[str, str]]:
    """One answer's records of a resource, dimension and list of names, and its NextToken.

    `pages` reads the registry (`limit`, `after`, `resource_id`); `names` is the parameter that lists the wanted names.
    Raises ValidationException for a ScalableDimension without ResourceId.
    """
    rid, wanted = params.get("ResourceId"), params.get(names)
    dimension = dimension_of(params["ScalableDimension"]) if "ScalableDimension" in params else None
    if dimension is not None and rid is None:
        raise ValidationException("ScalableDimension is given without ResourceId; give the resource ID too")
    size, after = begin(operation, params)
    found: list[Any] = []
    while True:
        page = pages(limit=size - len(found), after=after, resource_id=rid)
        found += [
            one
            for one in page.records
            if (wanted is None or one.name in wanted) and dimension in (None, one.target_id.dimension)
        ]
        after = page.last
        if after is None or len(found) >= size:
            return found, next_token(operation, params, after)


def next_token(operation: str, params: Mapping[str, Any], last: str | None) -> dict[str, str]:
    """The answer's NextToken if there is more after the key `last`; nothing if `last` is None."""
    if last is None:
        return {}
    text = json.dumps([last, _seal(operation, params, last)], separators=(",", ":"))
    return {"NextToken": base64.urlsafe_b64encode(text.encode()).decode()}


def _opened(operation: str, params: Mapping[str, Any], token: str) -> str:
    try:
        last, seal = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
    except (ValueError, TypeError):
        last, seal = "", ""
    if not isinstance(last, str) or not last or seal != _seal(operation, params, last):
        raise InvalidNextTokenException(
            f"NextToken is {token[:100]!r}, which no answer to this request returned; begin again without NextToken"
        )
    return last


def _seal(operation: str, params: Mapping[str, Any], last: str) -> str:
    filters = {name: value for name, value in params.items() if name not in ("MaxResults", "NextToken")}
    return hashlib.sha256(json.dumps([operation, filters, last], sort_keys=True).encode()).hexdigest()[:16]
