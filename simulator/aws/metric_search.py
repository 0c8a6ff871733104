"""SEARCH expressions of dashboards: all metrics of a namespace and set of dimension names whose words fit.

`SEARCH('{Namespace,Dim,Dim} MetricName="X" Dim="value"', 'Maximum', 60)`, alone or inside one other function, as in
`FILL(SEARCH(…), REPEAT)`. Source: CloudWatch user guide, "Search expression syntax": the braces name exactly the
dimensions; a quoted word must be equal. Words without a name and partial words are not emulated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from simulator.aws.metric_queries import valid_statistic
from simulator.aws.metric_store import MetricStore, SeriesKey
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

_CALL = re.compile(r"SEARCH\(\s*'\{([^}]*)\}([^']*)'\s*,\s*'(\w+)'\s*(?:,\s*(\d+)\s*)?\)")
_TERM = re.compile(r'\s*(\w+)\s*=\s*"([^"]*)"')


@dataclass(frozen=True)
class Search:
    """One SEARCH within an expression; `around` is that expression with `{found}` where the SEARCH stood."""

    namespace: str
    dimensions: frozenset[str]
    terms: tuple[tuple[str, str], ...]
    statistic: str
    period_s: int | None
    around: str

    def found_in(self, store: MetricStore, now_s: float) -> list[SeriesKey]:
        """Keys of the metrics that fit, in a fixed order."""
        return [key for key in store.known(now_s) if self._fits(key)]

    def _fits(self, key: SeriesKey) -> bool:
        namespace, name, dimensions = key
        if namespace != self.namespace or {one for one, _ in dimensions} != self.dimensions:
            return False
        have = {"MetricName": name, **dict(dimensions)}
        return all(have.get(term) == value for term, value in self.terms)


def parse_search(expression: str) -> Search | None:
    """The SEARCH in an expression, None if there is none. Raises ServiceError for one that CloudWatch would refuse."""
    if "SEARCH(" not in expression:
        return None
    match = _CALL.search(expression)
    if match is None:
        raise ServiceError("ValidationError", f"Invalid syntax in the search expression {expression!r}")
    around = expression[: match.start()] + "{found}" + expression[match.end() :]
    if "SEARCH(" in around:
        raise NotEmulated(f"more than one SEARCH in {expression!r}")
    schema = [part.strip() for part in match[1].split(",")]
    terms, rest = tuple(_TERM.findall(match[2])), _TERM.sub("", match[2])
    if rest.strip():
        raise NotEmulated(f'search words {rest.strip()!r}: only Name="value" is emulated')
    return Search(
        namespace=schema[0],
        dimensions=frozenset(schema[1:]),
        terms=terms,
        statistic=valid_statistic(match[3]),
        period_s=None if match[4] is None else int(match[4]),
        around=around,
    )
