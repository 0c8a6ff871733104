"""Metric queries of several alarms or policies in one GetMetricData call: their ids must not meet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


def renamed(queries: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """`queries` with ids of their own, in expressions too; the one that returns data is called `name`.

    `name` begins with a lower-case letter and has letters, digits and underscores, as every id.
    """
    ids = {query["Id"]: name if query.get("ReturnData", True) else f"{name}_{query['Id']}" for query in queries}
    word = re.compile(r"\b(?:" + "|".join(re.escape(one) for one in sorted(ids, key=len, reverse=True)) + r")\b")
    found = []
    for query in queries:
        expression = query.get("Expression")
        changed = {} if expression is None else {"Expression": word.sub(lambda match: ids[match[0]], expression)}
        found.append({**query, **changed, "Id": ids[query["Id"]]})
    return found
