"""The report of one simulated run: a single HTML file that needs no network and opens from a disk or a mail.

The text is in the file for readers without JavaScript; charts and the table of decisions are drawn from the data beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path, PurePath

from quickstep import __version__
from simulator.report.decisions import decision_rows
from simulator.report.embed import fill_page, json_for_script, keep_units_together
from simulator.report.headline import Tile, headline, key_tiles, more_tiles, standfirst
from simulator.report.result import counts_instances, known_number, rows, text
from simulator.report.strips import alarm_bands, event_marks
from simulator.report.timeline import timeline_columns

SCRIPTS = (
    "dom.js",
    "view.js",
    "plot.js",
    "strip.js",
    "overview.js",
    "explain.js",
    "marks.js",
    "stack.js",
    "table.js",
    "report.js",
)
STYLES = ("look.css", "report.css")


def render_report(result: dict, *, title: str | None = None) -> str:
    """The page for one result object (the fields of `result.json`), as text. The same result gives the same bytes.

    `title` is the name of the browser tab and of the page's eyebrow; by default "<policy> on <trace>". A week of
    ten-second rows stays below 3 MB. Raises ValueError, naming the field, if a number is not finite or of the wrong kind.
    """
    title = title or _title(result)
    return fill_page(
        "report.html",
        styles=STYLES,
        scripts=SCRIPTS,
        data=json_for_script(_page_data(result)),
        values={
            "title": escape(title),
            "headline": keep_units_together(escape(headline(result))),
            "standfirst": keep_units_together(escape(standfirst(result))),
            "setting": _setting(result),
            "key_tiles": "".join(_tile(tile, index, "key") for index, tile in enumerate(key_tiles(result))),
            "more_tiles": "".join(_tile(tile, index, "more") for index, tile in enumerate(more_tiles(result))),
            "unit": "instances" if counts_instances(result) else "copies",
            "notes": _notes(result),
            "provenance": _provenance(result),
        },
    )


def write_report(result: dict, path: str | Path) -> None:
    """Write the page for `result` to `path` in UTF-8; its directory must exist. Raises OSError and ValueError."""
    Path(path).write_text(render_report(result), encoding="utf-8", newline="\n")


def _page_data(result: Mapping[str, object]) -> dict[str, object]:
    columns = timeline_columns(result)
    decisions = decision_rows(result)
    events = event_marks(result)
    names = [component["name"] for component in columns["components"]]
    alarms = alarm_bands(result, names)
    moments = [row["t"] for row in decisions["rows"]] + [mark[0] for mark in events["marks"]]
    moments += [change[0] for alarm in alarms for change in alarm["changes"]]
    if not columns["components"] and moments:
        columns["span"] = [min(moments), max(moments)]
    target = result.get("target") or {}
    return {
        **columns,
        "alarms": alarms,
        "decisions": decisions,
        "events": events,
        "target": {key: known_number(target, key, where="target") for key in ("per_copy", "min", "max")},
        "unit": "instances" if counts_instances(result) else "copies",
    }


def _title(result: Mapping[str, object]) -> str:
    trace = PurePath(text(result, "trace")).name or "an unnamed trace"
    return f"{text(result, 'policy') or 'Quickstep'} on {trace}"


def _setting(result: Mapping[str, object]) -> str:
    """What was scaled, as label and value pairs."""
    target = result.get("target") or {}
    unit = "instances" if counts_instances(result) else "copies"
    low, high = (known_number(target, key, where="target") for key in ("min", "max"))
    bounds = "" if low is None and high is None else f"{_or_dash(low)} to {_or_dash(high)} {unit}"
    per_copy = known_number(target, "per_copy", where="target")
    modes = {
        "fixed": "by Quickstep",
        "managed": "by SageMaker (managed instance scaling)",
        "variant": "are what is scaled",
    }
    mode = text(target, "mode")
    pairs = [
        ("Policy", text(result, "policy")),
        ("Traffic", PurePath(text(result, "trace")).name),
        ("Scenario", PurePath(text(result, "scenario")).name),
        (
            "Target",
            ""
            if per_copy is None
            else f"{per_copy:g} in flight per {unit.removesuffix('s') if unit == 'instances' else 'copy'}",
        ),
        ("Bounds", bounds),
        ("Instance type", text(target, "instance_type")),
        ("Instances", modes.get(mode, mode)),
    ]
    return "".join(f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>" for label, value in pairs if value)


def _tile(tile: Tile, index: int, group: str) -> str:
    """A tile is a focusable group; its explanation is read out with it and appears on hover or focus."""
    tip = f"{group}-tip-{index}"
    context = f'<span class="context">{keep_units_together(escape(tile.context))}</span>' if tile.context else ""
    return (
        f'<div class="tile" role="group" tabindex="0" aria-describedby="{tip}">'
        f'<span class="label">{escape(tile.label)}</span><span class="value">{keep_units_together(escape(tile.value))}</span>'
        f'{_bars(tile)}{context}<span class="tip" role="tooltip" id="{tip}">{escape(tile.explanation)}</span></div>'
    )


def _bars(tile: Tile) -> str:
    if not tile.bars:
        return ""
    left, parts = 0.0, []
    for name, width in tile.bars:
        # A sliver below 1 % would vanish, and it is what the reader looks for.
        shown = max(width * 100, 1.0) if width > 0 else 0.0
        parts.append(f'<rect class="{name}" x="{min(left, 100 - shown):.2f}" y="0" width="{shown:.2f}" height="6"/>')
        left += width * 100
    return f'<svg class="bars" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">{"".join(parts)}</svg>'


def _notes(result: Mapping[str, object]) -> str:
    notes = [str(note) for note in (result.get("notes") or [])]
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<section class="card prose" aria-labelledby="notes-title"><h2 id="notes-title">What this run models</h2><ul>{items}</ul></section>'


def _provenance(result: Mapping[str, object]) -> str:
    """Everything needed to run it again, and a fingerprint that tells two results apart."""
    canonical = json.dumps(result, sort_keys=True, separators=(",", ":")).encode()
    pairs = [
        ("Trace", text(result, "trace")),
        ("Scenario", text(result, "scenario")),
        ("Policy", text(result, "policy")),
        ("Seed", text(result, "seed")),
        ("Rows", f"{len(rows(result, 'timeline')):,}"),
        ("Quickstep", __version__),
        ("Result", f"sha256 {hashlib.sha256(canonical).hexdigest()[:16]}"),
    ]
    return "".join(f"<div><dt>{escape(label)}</dt><dd>{escape(value) or '–'}</dd></div>" for label, value in pairs)


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
