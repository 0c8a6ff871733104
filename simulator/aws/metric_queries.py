"""`MetricDataQueries`: what GetMetricData and metric-math alarms read, as an ordered list of metrics and expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.aws import metric_math
from simulator.aws.metric_math import MathError, TimeSeries
from simulator.aws.metric_store import STATISTICS, MetricStore, SeriesKey, series_key
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated


@dataclass(frozen=True)
class MetricStat:
    """One statistic of one metric over `period_s` seconds."""

    key: SeriesKey
    statistic: str
    period_s: int


@dataclass(frozen=True)
class MetricQuery:
    """A metric (`stat`) or an expression over other queries; never both."""

    id: str
    label: str
    returns_data: bool
    stat: MetricStat | None
    expression: str | None


def dimensions_of(entries: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """CloudWatch's list of {Name, Value} as a dictionary."""
    return {entry["Name"]: entry["Value"] for entry in entries or []}


def valid_statistic(name: str) -> str:
    """`name` if it is one of the five statistics; percentiles and the like are not emulated."""
    if name in STATISTICS:
        return name
    if name[:1] in "pt" and name[1:2].isdigit() or name[:2] in ("tm", "wm", "tc", "ts", "PR", "IQ"):
        raise NotEmulated(f"CloudWatch statistic {name}: only {', '.join(STATISTICS)} are emulated")
    raise ServiceError("ValidationError", f"Invalid statistic: {name}. Valid statistics are: {', '.join(STATISTICS)}")


def parse_queries(entries: Sequence[Mapping[str, Any]]) -> list[MetricQuery]:
    """The queries in request order; raises ServiceError ValidationError for what CloudWatch refuses."""
    queries = []
    for number, entry in enumerate(entries, start=1):
        stat, expression = entry.get("MetricStat"), entry.get("Expression")
        if (stat is None) == (expression is None):
            raise ServiceError(
                "ValidationError",
                f"The parameter MetricDataQueries.member.{number} must have either MetricStat or Expression.",
            )
        parsed = None
        if stat is not None:
            metric = stat["Metric"]
            key = series_key(metric["Namespace"], metric["MetricName"], dimensions_of(metric.get("Dimensions")))
            parsed = MetricStat(key, valid_statistic(stat["Stat"]), _valid_period(int(stat["Period"]), number))
        elif expression.strip().upper().startswith(("SELECT", "SEARCH(", "METRICS(")):
            raise NotEmulated(f"CloudWatch expression {expression!r}: only metric math over named metrics is emulated")
        default_label = parsed.key[1] if parsed else entry["Id"]
        queries.append(
            MetricQuery(
                entry["Id"], entry.get("Label") or default_label, entry.get("ReturnData", True), parsed, expression
            )
        )
    seen = [query.id for query in queries]
    twice = sorted({one for one in seen if seen.count(one) > 1})
    if twice:
        raise ServiceError(
            "ValidationError", f"The values for parameter id in MetricDataQueries are not unique: {', '.join(twice)}."
        )
    return queries


def run_queries(
    queries: Sequence[MetricQuery], store: MetricStore, *, start_s: int, end_s: int, now_s: float
) -> dict[str, TimeSeries]:
    """Every query's datapoints in [start, end), by id; expressions may refer to later queries.

    Raises ServiceError ValidationError for an expression that does not evaluate.
    """
    results: dict[str, TimeSeries] = {}
    for query in queries:
        if query.stat is not None:
            period_s = query.stat.period_s
            begin = align(start_s, period_s)
            values = store.values(
                query.stat.key, query.stat.statistic, start_s=begin, end_s=end_s, period_s=period_s, now_s=now_s
            )
            results[query.id] = {
                begin + slot * period_s: value for slot, value in enumerate(values) if value is not None
            }
    _evaluate(queries, results, start_s=start_s, end_s=end_s)
    return results


def check_expressions(queries: Sequence[MetricQuery]) -> None:
    """Raise ServiceError ValidationError for an expression that cannot be read: it is held against one datapoint each."""
    _evaluate(queries, {query.id: {0: 1.0} for query in queries if query.stat is not None}, start_s=0, end_s=60)


def _evaluate(queries: Sequence[MetricQuery], results: dict[str, TimeSeries], *, start_s: int, end_s: int) -> None:
    """Add to `results`, which has the metrics, every expression's datapoints."""
    by_id = {query.id: query for query in queries}
    pending = [query for query in queries if query.expression is not None]
    while pending:
        ready = [
            query for query in pending if not (metric_math.ids(query.expression or "") & by_id.keys()) - results.keys()
        ]
        if not ready:
            raise ServiceError("ValidationError", f"Error in expression '{pending[0].id}' [Circular reference]")
        for query in ready:
            period_s = period_of(query, by_id)
            begin = align(start_s, period_s)
            try:
                value = metric_math.evaluate(query.expression or "", results, range(begin, end_s, period_s))
            except MathError as problem:
                raise ServiceError("ValidationError", f"Error in expression '{query.id}' [{problem}]") from None
            results[query.id] = value
            pending.remove(query)


def period_of(query: MetricQuery, by_id: Mapping[str, MetricQuery]) -> int:
    """Seconds between a query's datapoints: for an expression, the longest of the metrics it stands on."""
    if query.stat is not None:
        return query.stat.period_s
    parts = [by_id[one] for one in sorted(metric_math.ids(query.expression or "")) if one in by_id and one != query.id]
    return max((period_of(part, by_id) for part in parts), default=60)


def align(start_s: int, period_s: int) -> int:
    """Start of the first period: whole minutes, or whole sub-minute periods (API reference of GetMetricData)."""
    return start_s - start_s % min(period_s, 60)


def _valid_period(period_s: int, number: int) -> int:
    if period_s in (1, 5, 10, 20, 30) or (period_s > 0 and period_s % 60 == 0):
        return period_s
    raise ServiceError(
        "ValidationError",
        f"The parameter MetricDataQueries.member.{number}.MetricStat.Period must be 1, 5, 10, 20, 30 or a multiple of 60.",
    )
