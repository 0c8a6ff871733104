"""What a CloudWatch dashboard would show: every widget of its body, evaluated on the emulated account.

Source of the body's fields: CloudWatch API reference, "Dashboard body structure and syntax". A field that would change
what is shown and is not known here is refused, so that a picture of ours never shows something else than AWS would.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.aws.log_queries import Event, run_query, source_of
from simulator.aws.metric_queries import align, parse_queries, run_queries
from simulator.aws.metric_search import Search, parse_search
from simulator.aws.metric_store import SeriesKey, series_key
from simulator.not_emulated import NotEmulated

if TYPE_CHECKING:
    from simulator.account import EmulatedAccount

COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
"""In the order in which CloudWatch hands them out."""

_METRIC_FIELDS = frozenset(
    ["annotations", "metrics", "period", "region", "setPeriodToTimeRange", "stacked", "stat", "title", "view", "yAxis"]
)
_OPTION_FIELDS = frozenset(["color", "expression", "id", "label", "period", "stat", "visible", "yAxis"])


@dataclass(frozen=True)
class Line:
    """One drawn series: (start of the period in seconds since the epoch, value), oldest first."""

    label: str
    colour: str
    points: tuple[tuple[int, float], ...]
    right_axis: bool = False


@dataclass(frozen=True)
class Widget:
    """One widget as it is shown. `kind` is text, alarms, lines, bars or table; the other fields belong to some of them."""

    kind: str
    title: str
    place: tuple[int, int, int, int]
    """x, y, width, height on CloudWatch's grid of 24 columns."""
    text: str = ""
    lines: tuple[Line, ...] = ()
    bars: tuple[tuple[str, float | None], ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    alarms: tuple[tuple[str, str], ...] = ()
    """(name, state)."""
    levels: tuple[tuple[str, float, str], ...] = ()
    """Horizontal annotations: (label, value, colour)."""
    axis: str = ""
    stacked: bool = False
    metrics: tuple[SeriesKey, ...] = ()
    """Every metric that the widget reads."""


@dataclass(frozen=True)
class Dashboard:
    """A dashboard at one moment, over [start_s, end_s)."""

    name: str
    start_s: int
    end_s: int
    widgets: tuple[Widget, ...] = field(default=())


def evaluate_dashboard(account: EmulatedAccount, *, logical_id: str = "Dashboard", range_s: int = 10_800) -> Dashboard:
    """The stack's dashboard as it shows at the account's present moment, over the last `range_s` seconds.

    Raises NotEmulated for what a widget asks and the emulation does not know, ServiceError for what CloudWatch refuses.
    """
    resource = account.stack[logical_id]
    body = json.loads(resource.properties["DashboardBody"])
    end_s = int(account.clock.now_s)
    start_s = align(end_s - range_s, 60)
    view = _View(account, start_s, end_s)
    return Dashboard(resource.name, start_s, end_s, tuple(view.widget(one) for one in body["widgets"]))


class _View:
    def __init__(self, account: EmulatedAccount, start_s: int, end_s: int) -> None:
        self._account, self._start_s, self._end_s = account, start_s, end_s
        self._store, self._now_s = account.cloudwatch.metrics, account.clock.now_s

    def widget(self, body: Mapping[str, Any]) -> Widget:
        place = (body["x"], body["y"], body["width"], body["height"])
        properties, kind = body["properties"], body["type"]
        if kind == "text":
            return Widget("text", "", place, text=properties["markdown"])
        if kind == "alarm":
            alarms = self._account.cloudwatch.alarms.alarms
            names = [arn.rsplit(":", 1)[-1] for arn in properties["alarms"]]
            return Widget("alarms", properties["title"], place, alarms=tuple((n, str(alarms[n].state)) for n in names))
        if kind == "log":
            return self._log(properties, place)
        if kind == "metric":
            return self._metric(properties, place)
        raise NotEmulated(f"dashboard widget of type {kind}")

    # -- logs ---------------------------------------------------------------------------------------------------------

    def _log(self, properties: Mapping[str, Any], place: tuple[int, int, int, int]) -> Widget:
        group, query = source_of(properties["query"])
        groups = {one.name for one in self._account.stack.of_type("AWS::Logs::LogGroup")}
        if group not in groups:
            raise NotEmulated(f"log group {group!r}; the stack has {', '.join(sorted(groups))}")
        rows = run_query(query, self._events())
        columns = tuple(rows[0]) if rows else ()
        if properties["view"] == "bar":
            label, value = columns or ("", "")
            bars = tuple((str(row[label]), float(row[value])) for row in rows)
            return Widget("bars", properties["title"], place, bars=bars)
        if properties["view"] != "table":
            raise NotEmulated(f"log widget with view {properties['view']}")
        return Widget("table", properties["title"], place, columns=columns, rows=tuple(rows))

    def _events(self) -> Iterator[Event]:
        for line in self._account.logs:
            if line.fields is not None and self._start_s <= line.at_s < self._end_s:
                yield Event(line.at_s, line.fields)

    # -- metrics ------------------------------------------------------------------------------------------------------

    def _metric(self, properties: Mapping[str, Any], place: tuple[int, int, int, int]) -> Widget:
        _known(properties, _METRIC_FIELDS, properties["title"])
        entries = [_Entry.of(one, number, properties) for number, one in enumerate(properties["metrics"])]
        whole_range = properties.get("setPeriodToTimeRange", False)
        if properties["view"] == "bar":
            if not whole_range:
                raise NotEmulated("a bar widget without setPeriodToTimeRange")
            bars = tuple((one.label, self._over_range(one)) for one in entries)
            return Widget("bars", properties["title"], place, bars=bars, metrics=tuple(e.key for e in entries if e.key))
        if properties["view"] != "timeSeries":
            raise NotEmulated(f"metric widget with view {properties['view']}")
        lines, metrics = self._lines(entries)
        left = properties.get("yAxis", {}).get("left", {})
        levels = properties.get("annotations", {}).get("horizontal", [])
        return Widget(
            "lines",
            properties["title"],
            place,
            lines=tuple(lines),
            levels=tuple((one["label"], float(one["value"]), one.get("color", "#7f7f7f")) for one in levels),
            axis=left.get("label", ""),
            stacked=properties.get("stacked", False),
            metrics=tuple(metrics),
        )

    def _over_range(self, entry: _Entry) -> float | None:
        assert entry.key is not None
        length_s = self._end_s - self._start_s
        return self._store.values(
            entry.key,
            entry.statistic,
            start_s=self._start_s,
            end_s=self._start_s + length_s,
            period_s=length_s,
            now_s=self._now_s,
        )[0]

    def _lines(self, entries: Sequence[_Entry]) -> tuple[list[Line], list[SeriesKey]]:
        plain = [entry for entry in entries if entry.search is None]
        found = self._run([entry.query() for entry in plain])
        lines: list[Line] = []
        metrics: list[SeriesKey] = [entry.key for entry in entries if entry.key is not None]
        for entry in entries:
            shown = [(entry.label, found[entry.id])] if entry.search is None else self._searched(entry, metrics)
            for label, points in shown if entry.visible else ():
                # A colour that the body gives is for one line; further ones of a search take the next of the palette.
                given = entry.colour if len(shown) == 1 else None
                colour = given or COLOURS[len(lines) % len(COLOURS)]
                lines.append(Line(label, colour, tuple(sorted(points.items())), entry.right_axis))
        return lines, metrics

    def _searched(self, entry: _Entry, metrics: list[SeriesKey]) -> list[tuple[str, dict[int, float]]]:
        search = entry.search
        assert search is not None
        keys = search.found_in(self._store, self._now_s)
        metrics.extend(keys)
        shown = []
        for key in keys:
            stat = {"Metric": _metric(key), "Period": search.period_s or entry.period_s, "Stat": search.statistic}
            queries = [
                {"Id": "found", "MetricStat": stat, "ReturnData": False},
                {"Id": "shown", "Expression": search.around.replace("{found}", "found")},
            ]
            values = [value for name, value in key[2] if (name, value) not in search.terms]
            shown.append((f"{entry.label} {' '.join(values)}", self._run(queries)["shown"]))
        return shown

    def _run(self, queries: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, float]]:
        return run_queries(
            parse_queries(queries), self._store, start_s=self._start_s, end_s=self._end_s, now_s=self._now_s
        )


@dataclass(frozen=True)
class _Entry:
    """One line of a widget's `metrics`: a metric, or an expression."""

    id: str
    label: str
    key: SeriesKey | None
    expression: str | None
    search: Search | None
    statistic: str
    period_s: int
    visible: bool
    colour: str | None
    right_axis: bool

    @classmethod
    def of(cls, entry: Sequence[Any], number: int, properties: Mapping[str, Any]) -> _Entry:
        options = entry[-1] if isinstance(entry[-1], Mapping) else {}
        _known(options, _OPTION_FIELDS, properties["title"])
        words = [one for one in entry if not isinstance(one, Mapping)]
        if any(word in (".", "...") for word in words):
            raise NotEmulated(f"the short form of a metric in {properties['title']!r}; write it out")
        expression = options.get("expression")
        key = None
        if expression is None:
            names, values = words[2::2], words[3::2]
            key = series_key(words[0], words[1], dict(zip(names, values, strict=True)))
        return cls(
            id=options.get("id") or f"line{number}",
            label=options.get("label") or (words[1] if words else str(options.get("id"))),
            key=key,
            expression=expression,
            search=None if expression is None else parse_search(expression),
            statistic=options.get("stat") or properties.get("stat") or "Average",
            period_s=int(options.get("period") or properties.get("period") or 300),
            visible=options.get("visible", True),
            colour=options.get("color"),
            right_axis=options.get("yAxis") == "right",
        )

    def query(self) -> dict[str, Any]:
        """The entry as one of GetMetricData's queries."""
        if self.key is None:
            return {"Id": self.id, "Expression": self.expression}
        stat = {"Metric": _metric(self.key), "Period": self.period_s, "Stat": self.statistic}
        return {"Id": self.id, "MetricStat": stat}


def _metric(key: SeriesKey) -> dict[str, Any]:
    namespace, name, dimensions = key
    return {
        "Namespace": namespace,
        "MetricName": name,
        "Dimensions": [{"Name": one, "Value": value} for one, value in dimensions],
    }


def _known(fields: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    unknown = sorted(set(fields) - known)
    if unknown:
        raise NotEmulated(f"field {unknown[0]} of dashboard widget {where!r}")
