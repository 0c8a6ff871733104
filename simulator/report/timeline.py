"""The timeline as columns for drawing: one set of series per component, thinned so that a week fits into a page.

A series is `{"g": grid, "v": values}`; a grid is a list of time differences in seconds, shared by the series that were
sampled at the same moments. Values are None where nothing is known. A series of sums has `w`, the seconds each stands for.

What thinning keeps: a stepped series (a count of copies) keeps every change; a measured one keeps the smallest and the largest
value of every stretch, and every stretch in which data was missing keeps a gap; lost requests are added up, never dropped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from simulator.report.result import known_number, required_number, rows, text

MAX_POINTS_PER_SERIES = 4_000
MAX_POINTS = 80_000
"""Over all series, so that many components still make one readable file."""

STEPPED = ("decided", "desired", "current", "instances", "instances_desired", "capacity", "cost_per_hour_usd")
MEASURED = ("needed", "demand", "copies_worth", "expected_copies", "in_flight", "ttft_p95_s")
ADDED_UP = ("lost",)

Column = list[float | None]


def timeline_columns(result: Mapping[str, object]) -> dict[str, object]:
    """`{"span": [from, to], "grids": […], "components": [{"name", "series": {name: {"g", "v"}}}], "thinned_s": s or None}`.

    `capacity` is added: current × per-copy concurrency, in requests in flight. Components are in alphabetical order. A
    series of which nothing is known is left out. `thinned_s` is the length of the stretches of thinned series, None if all
    points are there.
    """
    per_component = _split(result)
    limit = MAX_POINTS_PER_SERIES
    if per_component:
        n_series = len(per_component) * len(STEPPED + MEASURED + ADDED_UP)
        limit = max(200, min(limit, MAX_POINTS // n_series))
    grids: dict[tuple[float, ...], int] = {}
    components, thinned_s = [], None
    for name, (times, columns) in sorted(per_component.items()):
        series = {}
        for key, column in columns.items():
            if all(value is None for value in column):
                continue
            kept_times, kept = _thin(key, times, column, limit)
            if key in MEASURED and len(kept) < len(column):
                thinned_s = max(thinned_s or 0, _stretch_s(times, limit))
            deltas = (kept_times[0], *(_short(b - a) for a, b in zip(kept_times, kept_times[1:], strict=False)))
            series[key] = {"g": grids.setdefault(deltas, len(grids)), "v": [_short(value) for value in kept]}
            if key in ADDED_UP:
                series[key]["w"] = _bar_width_s(times, column, limit)
        components.append({"name": name, "series": series})
    all_times = [t for times, _ in per_component.values() for t in (times[0], times[-1])]
    return {
        "span": [min(all_times), max(all_times)] if all_times else [0, 0],
        "grids": [list(grid) for grid in grids],
        "components": components,
        "thinned_s": thinned_s,
    }


def keep_changes(times: Sequence[float], values: Column) -> tuple[list[float], Column]:
    """Drop the points at which a stepped series repeats itself; the last point stays, since it ends the line."""
    kept = [i for i, value in enumerate(values) if i == 0 or value != values[i - 1]]
    if kept and kept[-1] != len(values) - 1:
        kept.append(len(values) - 1)
    return [times[i] for i in kept], [values[i] for i in kept]


def keep_extremes(times: Sequence[float], values: Column, *, limit: int) -> tuple[list[float], Column]:
    """At most `limit` (≥ 8) points: of every stretch its smallest and largest value, and a gap if it has one."""
    n = len(values)
    if n <= limit:
        return list(times), list(values)
    per_stretch = 3 if any(value is None for value in values) else 2
    n_stretches = (limit - 2) // per_stretch
    kept = {0, n - 1}
    for stretch in range(n_stretches):
        indices = range(stretch * n // n_stretches, (stretch + 1) * n // n_stretches)
        known = [i for i in indices if values[i] is not None]
        if known:
            kept.add(min(known, key=lambda i: values[i]))
            kept.add(max(known, key=lambda i: values[i]))
        if len(known) < len(indices):
            kept.add(next(i for i in indices if values[i] is None))
    order = sorted(kept)
    return [times[i] for i in order], [values[i] for i in order]


def add_up(times: Sequence[float], values: Column, *, limit: int) -> tuple[list[float], Column]:
    """Only the moments with a count above zero; if they are more than `limit`, the sums of equal stretches."""
    hits = [(t, value) for t, value in zip(times, values, strict=True) if value]
    if not hits:
        return [times[0]], [0]
    if len(hits) <= limit:
        return [t for t, _ in hits], [value for _, value in hits]
    width_s = _sum_width_s(times, limit)
    sums: dict[int, float] = {}
    for t, value in hits:
        stretch = int((t - times[0]) / width_s)
        sums[stretch] = sums.get(stretch, 0) + value
    return [times[0] + stretch * width_s for stretch in sorted(sums)], [sums[stretch] for stretch in sorted(sums)]


def _split(result: Mapping[str, object]) -> dict[str, tuple[list[float], dict[str, Column]]]:
    """Per component: times, and one column per series."""
    target = result.get("target") or {}
    default_per_copy = known_number(target, "per_copy", where="target")
    keys = STEPPED + MEASURED + ADDED_UP
    found: dict[str, tuple[list[float], dict[str, Column]]] = {}
    for index, row in enumerate(rows(result, "timeline")):
        where = f"timeline[{index}]"
        times, columns = found.setdefault(text(row, "component"), ([], {key: [] for key in keys}))
        t = required_number(row, "t", where=where)
        if times and t <= times[-1]:
            raise ValueError(f"{where}.t is {t} after {times[-1]}; rows of one component are in order of time")
        times.append(t)
        for key in keys:
            columns[key].append(
                known_number(row, key, where=where) if key != "capacity" else _capacity(row, default_per_copy, where)
            )
    return found


def _capacity(row: Mapping[str, object], default_per_copy: float | None, where: str) -> float | None:
    current = known_number(row, "current", where=where)
    per_copy = known_number(row, "per_copy", where=where)
    per_copy = default_per_copy if per_copy is None else per_copy
    return None if current is None or per_copy is None else current * per_copy


def _thin(key: str, times: list[float], column: Column, limit: int) -> tuple[list[float], Column]:
    if key in ADDED_UP:
        return add_up(times, column, limit=limit)
    if key in STEPPED:
        times, column = keep_changes(times, column)
    return keep_extremes(times, column, limit=limit)


def _sum_width_s(times: Sequence[float], limit: int) -> float:
    return (times[-1] - times[0]) / (limit - 1)


def _bar_width_s(times: Sequence[float], column: Column, limit: int) -> float:
    """How long a stretch one value of an added-up series stands for: one row, or one sum."""
    if sum(1 for value in column if value) > limit:
        return _short(_sum_width_s(times, limit))
    return _short(min((b - a for a, b in zip(times, times[1:], strict=False)), default=1))


def _stretch_s(times: list[float], limit: int) -> float:
    return _short(math.ceil((times[-1] - times[0]) / (limit / 2)))


def _short(value: float | None) -> float | None:
    """Six significant figures are more than a screen can show; whole numbers lose their ".0"."""
    if value is None:
        return None
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded == int(rounded) else rounded
