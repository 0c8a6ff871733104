"""The dashboard as one HTML file: CloudWatch's grid of 24 columns, every graph an SVG, no script and no network."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from simulator.report.dashboard import COLOURS, Dashboard, Line, Widget

ROW_PX, GAP_PX, COLUMN_PX = 50, 10, 60
LEGEND_PX, TITLE_PX, AXIS_PX, LABEL_PX = 18, 34, 24, 46
STATE_COLOURS = {"OK": "#1d8102", "ALARM": "#d13212", "INSUFFICIENT_DATA": "#687078"}

_STYLE = """
body{margin:0;padding:18px;background:#eaeded;color:#16191f;font:13px/1.4 system-ui,"Segoe UI","Noto Sans",Arial,sans-serif}
main{position:relative;width:1440px}
section{position:absolute;box-sizing:border-box;background:#fff;border:1px solid #d5dbdb;overflow:hidden;border-radius:4px}
h2{font-size:14px;margin:9px 12px 0;font-weight:650;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
h3{font-size:17px;margin:0 0 4px}
.text{padding:12px 16px}
.alarms{display:flex;gap:8px;padding:8px 12px;flex-wrap:wrap}
.alarm{padding:4px 10px;border-radius:4px;border-left:5px solid;background:#f6f8f8}
.alarm b{margin-left:8px}
table{border-collapse:collapse;width:100%;font-size:12px;margin-top:6px}
th{text-align:left;font-weight:600;color:#545b64;border-bottom:1px solid #d5dbdb;padding:3px 12px;white-space:nowrap}
td{padding:3px 12px;border-bottom:1px solid #eef1f1;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}
td.w{white-space:nowrap}
.legend{position:absolute;left:12px;right:12px;bottom:4px;display:flex;flex-wrap:wrap;gap:0 14px;font-size:11px;color:#545b64;}
.legend span{white-space:nowrap}
.legend i{display:inline-block;width:14px;height:3px;vertical-align:middle;margin-right:5px}
.none{color:#687078;padding:24px 12px}
svg text{font-size:11px;fill:#545b64}
code{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px}
"""


def render_dashboard(dashboard: Dashboard) -> str:
    """The page, as text; the same dashboard gives the same bytes."""
    bottom = max((y + h for _, y, _, h in (one.place for one in dashboard.widgets)), default=0)
    sections = "\n".join(_section(one, dashboard) for one in dashboard.widgets)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(dashboard.name)}</title><style>{_STYLE}</style></head>\n"
        f'<body><main style="height:{bottom * ROW_PX}px">\n{sections}\n</main></body></html>\n'
    )


def _section(widget: Widget, dashboard: Dashboard) -> str:
    x, y, width, height = widget.place
    w_px, h_px = width * COLUMN_PX - GAP_PX, height * ROW_PX - GAP_PX
    draw = {"text": _text, "alarms": _alarms, "table": _table, "bars": _bars, "lines": _lines}[widget.kind]
    style = f"left:{x * COLUMN_PX}px;top:{y * ROW_PX}px;width:{w_px}px;height:{h_px}px"
    title = f"<h2>{escape(widget.title)}</h2>" if widget.title else ""
    return f'<section style="{style}">{title}{draw(widget, dashboard, w_px, h_px)}</section>'


def _text(widget: Widget, *_: object) -> str:
    head, _, rest = widget.text.partition("\n")
    body = f"<h3>{_inline(head.lstrip('# '))}</h3>{_inline(rest)}"
    return f'<div class="text">{body}</div>'


def _inline(text: str) -> str:
    """The two marks of Markdown that the dashboard uses."""
    found = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", found)


def _alarms(widget: Widget, *_: object) -> str:
    shown = "".join(
        f'<span class="alarm" style="border-color:{STATE_COLOURS[state]}">{escape(name)}'
        f'<b style="color:{STATE_COLOURS[state]}">{state.replace("_", " ").capitalize() if state != "OK" else state}</b></span>'
        for name, state in widget.alarms
    )
    return f'<div class="alarms">{shown}</div>'


def _table(widget: Widget, *_: object) -> str:
    if not widget.rows:
        return '<div class="none">No matching log lines in this range.</div>'
    head = "".join(f"<th>{escape(name)}</th>" for name in widget.columns)
    body = "".join(f"<tr>{''.join(_cell(name, row[name]) for name in widget.columns)}</tr>" for row in widget.rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(name: str, value: Any) -> str:
    if name in ("@timestamp", "looked_at", "since", "until") and value is not None:
        return f'<td class="w">{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S}</td>'
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td class="n">{_number(float(value))}</td>'
    text = "" if value is None else str(value)
    return f"<td{' class=w' if len(text) < 30 else ''}>{escape(text)}</td>"


def _bars(widget: Widget, dashboard: Dashboard, w_px: int, h_px: int) -> str:
    known = [(label, value) for label, value in widget.bars]
    if not any(value is not None for _, value in known):
        return '<div class="none">No data in this range.</div>'
    top = max(value for _, value in known if value is not None) or 1.0
    left = 12 + 7 * max(len(label) for label, _ in known)
    room, step = w_px - left - 70, (h_px - TITLE_PX - 12) / len(known)
    parts = []
    for number, (label, value) in enumerate(known):
        y = TITLE_PX + number * step
        length = 0.0 if value is None else room * value / top
        parts.append(
            f'<text x="{left - 8}" y="{y + step / 2 + 4:.1f}" text-anchor="end">{escape(label)}</text>'
            f'<rect x="{left}" y="{y + step * 0.15:.1f}" width="{length:.1f}" height="{step * 0.7:.1f}" '
            f'fill="{COLOURS[0]}"/>'
            f'<text x="{left + length + 6:.1f}" y="{y + step / 2 + 4:.1f}">'
            f"{'no data' if value is None else _number(value)}</text>"
        )
    return _svg(w_px, h_px, "".join(parts))


def _lines(widget: Widget, dashboard: Dashboard, w_px: int, h_px: int) -> str:
    drawn = [line for line in widget.lines if line.points]
    legend = "".join(
        f'<span><i style="background:{line.colour}"></i>{escape(line.label)}{"" if line.points else " (no data)"}</span>'
        for line in widget.lines
    ) + "".join(f'<span><i style="background:{c}"></i>{escape(label)}</span>' for label, _, c in widget.levels)
    legend_px = LEGEND_PX * _legend_rows(widget, w_px)
    sides = [[line for line in drawn if line.right_axis is side] for side in (False, True)]
    right_px = LABEL_PX if sides[1] else 14
    box = (LABEL_PX + 12, TITLE_PX + 6, w_px - right_px, h_px - legend_px - AXIS_PX)
    parts = [_grid(widget, dashboard, box)]
    for side, lines in enumerate(sides):
        highest = [v for line in lines for _, v in line.points]
        if side == 0:
            highest += [value for _, value, _ in widget.levels]
            if widget.stacked and lines:
                highest.append(max(_totals(lines).values()))
        if not highest:
            continue
        top = _nice_top(max(highest))
        parts.append(_axis(top, box, right=bool(side)))
        base: dict[int, float] = {}
        for line in lines:
            points = line.points
            if widget.stacked:
                points = tuple((at, value + base.get(at, 0.0)) for at, value in points)
                base |= dict(points)
            parts.append(_path(points, line.colour, top, box, dashboard))
        if side == 0:
            parts += [_level(value, colour, top, box) for _, value, colour in widget.levels]
    if not drawn:
        middle = (box[0] + box[2]) / 2
        parts.append(
            f'<text x="{middle}" y="{(box[1] + box[3]) / 2}" text-anchor="middle">No data in this range</text>'
        )
    return _svg(w_px, h_px, "".join(parts)) + f'<div class="legend">{legend}</div>'


def _legend_rows(widget: Widget, w_px: int) -> int:
    """Rows that the legend needs, at about 6 px a letter."""
    labels = [f"{line.label}{'' if line.points else ' (no data)'}" for line in widget.lines]
    labels += [label for label, _, _ in widget.levels]
    rows, used = 1, 0
    for label in labels:
        length = 36 + 6 * len(label)
        rows, used = (rows, used + length) if used + length <= w_px - 24 else (rows + 1, length)
    return rows


def _totals(lines: Sequence[Line]) -> dict[int, float]:
    total: dict[int, float] = {}
    for line in lines:
        for at, value in line.points:
            total[at] = total.get(at, 0.0) + value
    return total


def _grid(widget: Widget, dashboard: Dashboard, box: tuple[float, float, float, float]) -> str:
    left, top, right, bottom = box
    parts = [
        f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" fill="none" stroke="#d5dbdb"/>'
    ]
    span_s = dashboard.end_s - dashboard.start_s
    step_s = next((s for s in (300, 600, 900, 1800, 3600, 7200, 21_600, 43_200) if span_s / s <= 8), 86_400)
    at = -(-dashboard.start_s // step_s) * step_s
    while at < dashboard.end_s:
        x = left + (right - left) * (at - dashboard.start_s) / span_s
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="#eef1f1"/>'
            f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{datetime.fromtimestamp(at, UTC):%H:%M}</text>'
        )
        at += step_s
    if widget.axis:
        middle = (top + bottom) / 2
        parts.append(
            f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">{escape(widget.axis)}</text>'
        )
    return "".join(parts)


def _axis(top_value: float, box: tuple[float, float, float, float], *, right: bool) -> str:
    left, top, end, bottom = box
    x, anchor = (end + 6, "start") if right else (left - 6, "end")
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = bottom - (bottom - top) * share
        parts.append(f'<text x="{x}" y="{y + 4:.1f}" text-anchor="{anchor}">{_number(top_value * share)}</text>')
    return "".join(parts)


def _path(
    points: Sequence[tuple[int, float]],
    colour: str,
    top_value: float,
    box: tuple[float, float, float, float],
    dashboard: Dashboard,
) -> str:
    """A polyline as CloudWatch draws it: points next to each other are joined, lone ones are dots."""
    left, top, right, bottom = box
    span_s = dashboard.end_s - dashboard.start_s
    step_s = min((b[0] - a[0] for a, b in zip(points, points[1:], strict=False)), default=60)
    runs: list[list[tuple[float, float]]] = []
    last: int | None = None
    for at, value in points:
        x = left + (right - left) * (at - dashboard.start_s) / span_s
        y = bottom - (bottom - top) * min(1.0, value / top_value)
        if last is None or at - last > step_s:
            runs.append([])
        runs[-1].append((x, y))
        last = at
    parts = []
    for run in runs:
        if len(run) == 1:
            parts.append(f'<circle cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="2.5" fill="{colour}"/>')
        else:
            joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    return "".join(parts)


def _level(value: float, colour: str, top_value: float, box: tuple[float, float, float, float]) -> str:
    left, top, right, bottom = box
    y = bottom - (bottom - top) * value / top_value
    return f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" stroke-dasharray="5 4"/>'


def _svg(w_px: int, h_px: int, body: str) -> str:
    return f'<svg width="{w_px}" height="{h_px}" style="position:absolute;left:0;top:0" aria-hidden="true">{body}</svg>'


def _nice_top(value: float) -> float:
    """A round number at or above `value`, and some air."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value * 1.05))
    return next(unit * m for m in (1, 2, 4, 5, 8, 10) if unit * m >= value * 1.05)


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def as_json(dashboard: Dashboard) -> Mapping[str, Any]:
    """The evaluated dashboard as JSON-able values."""
    return {
        "name": dashboard.name,
        "start_s": dashboard.start_s,
        "end_s": dashboard.end_s,
        "widgets": [
            {
                "kind": one.kind,
                "title": one.title,
                "alarms": [{"name": name, "state": state} for name, state in one.alarms],
                "bars": [{"label": label, "value": value} for label, value in one.bars],
                "lines": [{"label": line.label, "points": [list(p) for p in line.points]} for line in one.lines],
                "rows": [dict(row) for row in one.rows],
            }
            for one in dashboard.widgets
        ],
    }
