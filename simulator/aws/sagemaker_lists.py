"""List calls: filters, sorting and paging, as all of SageMaker's List operations do them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from simulator.aws.sagemaker_texts import refused

DEFAULT_PAGE = 10


def select(params: dict[str, Any], rows: Sequence[dict[str, Any]], *, name: str, status: str) -> list[dict[str, Any]]:
    """The rows that a List call asks for, in its order: CreationTime, Descending by default.

    `name` and `status` are the rows' keys of the resource's name and status. Rows that are equal in the sort key are
    in order of name.
    """
    equals = {"StatusEquals": status, "EndpointNameEquals": "EndpointName", "VariantNameEquals": "VariantName"}
    chosen = [
        row
        for row in rows
        if params.get("NameContains", "") in row[name]
        and all(row.get(key) == params[filter_] for filter_, key in equals.items() if filter_ in params)
        and _in_time(params, row)
    ]
    key = {"Name": name, "Status": status}.get(params.get("SortBy", "CreationTime"), "CreationTime")
    chosen.sort(key=lambda row: row[name])
    chosen.sort(key=lambda row: row[key], reverse=params.get("SortOrder", "Descending") == "Descending")
    return chosen


def page(params: dict[str, Any], rows: Sequence[Any], key: str, *, size: int = DEFAULT_PAGE) -> dict[str, Any]:
    """One page of `rows` under `key`, with a NextToken if there is more."""
    first = _offset(params.get("NextToken"))
    last = first + params.get("MaxResults", size)
    answer: dict[str, Any] = {key: list(rows[first:last])}
    if last < len(rows):
        answer["NextToken"] = base64.urlsafe_b64encode(json.dumps({"first": last}).encode()).decode()
    return answer


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        first = json.loads(base64.urlsafe_b64decode(token.encode()))["first"]
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise refused(f"Invalid NextToken: {token}") from None
    return int(first)


def _in_time(params: dict[str, Any], row: dict[str, Any]) -> bool:
    for field in ("CreationTime", "LastModifiedTime"):
        before, after = params.get(f"{field}Before"), params.get(f"{field}After")
        if before is not None and row[field] >= before:
            return False
        if after is not None and row[field] < after:
            return False
    return True
