"""Fits the service law to a user's own measurements, and says how far off it is, row by row.

What a load generator measures at fixed concurrency n (closed loop) is enough: mean inter-token latency, or mean
end-to-end latency, per concurrency, with the tokens of a request. The law (see `physics.profiles`):

    inter-token latency   a + b n
    latency of a request  first token + (out - 1) x (a + b n)
    first token           g + d x in, for a single request in flight

`a` and `b` are a least-squares line; `g` and `d` another, over the rows that have a first token. A row that already is
a fit (`alpha_ms`, `beta_ms`) is checked against its own measured end points. The error that is stated for every row is
that of the latency of a whole request in a closed loop of n: predicted over measured, minus 1.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.traffic.rows import RowError, RowTally, TraceError, header_of, open_text

TOLERANCE = 0.10
"""A row whose closed-loop error is larger is a finding."""

_NAMES: dict[str, tuple[str, ...]] = {
    "model": ("model",),
    "instance": ("inst", "instance", "instance_type", "hardware"),
    "variant": ("opt", "variant"),
    "use": ("use", "scenario", "workload"),
    "concurrency": ("concurrency", "n", "cmax", "batch_size", "batch"),
    "input_tokens": ("input_tokens", "in", "prompt_size"),
    "output_tokens": ("output_tokens", "out", "token_size"),
    "itl_ms": ("itl_ms", "tpot_ms"),
    "itl_s": ("itl_s",),
    "e2e_s": ("e2e_s", "latency_s", "e2e_time"),
    "ttft_s": ("ttft_s", "prompt_time"),
    "decode_s": ("decode_s", "token_time"),
    "alpha_ms": ("alpha_ms",),
    "beta_ms": ("beta_ms",),
    "itl_c1": ("itl_c1",),
    "itl_cmax": ("itl_cmax",),
    "tokens_per_s": ("agg_tok_s", "tokens_per_s"),
}
"""What a column may be called."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement against the law."""

    label: str
    concurrency: float
    measured_s: float
    """Latency of one request."""
    predicted_s: float
    measured_by: str
    """What the measured latency was taken from."""
    repeats: int = 1
    """Measurements of the same kind that this is the mean of."""

    @property
    def error(self) -> float:
        """Predicted over measured, minus 1."""
        return self.predicted_s / self.measured_s - 1

    @property
    def is_within(self) -> bool:
        return abs(self.error) <= TOLERANCE


@dataclass(frozen=True, slots=True)
class Fit:
    """The law of one model on one instance type. Seconds; None = the measurements do not say."""

    label: str
    a_s: float
    b_s: float
    r2: float | None
    prefill_base_s: float | None
    prefill_s_per_token: float | None
    rows: tuple[Row, ...]

    @property
    def worst_error(self) -> float:
        """The closed-loop error of the row that is furthest off, signed."""
        return max((row.error for row in self.rows), key=abs)

    def to_dict(self) -> dict[str, Any]:
        """For `--json`: the constants by the names of a profile, and every row."""
        return {
            "label": self.label,
            "a_s": _rounded(self.a_s),
            "b_s": _rounded(self.b_s),
            "r2": _rounded(self.r2),
            "prefill_base_s": _rounded(self.prefill_base_s),
            "prefill_s_per_token": _rounded(self.prefill_s_per_token),
            "worst_error": round(self.worst_error, 4),
            "rows": [
                {
                    "label": row.label,
                    "concurrency": row.concurrency,
                    "measured_s": round(row.measured_s, 4),
                    "predicted_s": round(row.predicted_s, 4),
                    "error": round(row.error, 4),
                    "measured_by": row.measured_by,
                }
                for row in self.rows
            ],
        }


def calibrate(path: Path) -> tuple[Fit, ...]:
    """Fit every model and instance type in the CSV at `path`, in the order of the file.

    Columns by any of the names above, in any order: with `alpha_ms` and `beta_ms` each row is a fit that is checked;
    otherwise rows are measurements with a concurrency, output tokens and one of itl_ms, itl_s, e2e_s, decode_s, and are
    grouped by model, instance, variant and use. Raises TraceError for a file that cannot be used: which line, what is
    wrong, what to do.
    """
    tally = RowTally(path)
    rows: list[tuple[int, dict[str, str]]] = []
    with open_text(path) as handle:
        reader = csv.reader(handle)
        try:
            columns = _columns(header_of(reader), path)
        except StopIteration:
            raise TraceError(f"{path} is empty; give a CSV with a header") from None
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, {name: cells[at] for name, at in columns.items() if at < len(cells)}))
    read = _checked_fits if {"alpha_ms", "beta_ms"} <= set(columns) else _fitted
    return tuple(read(rows, columns, tally))


def report(fits: Sequence[Fit]) -> list[str]:
    """Lines for people: each fit, then each row with its closed-loop error; rows beyond 10 % are marked, and summed up."""
    lines = []
    for fit in fits:
        quality = "" if fit.r2 is None else f", R² {fit.r2:.3f}"
        lines.append(f"{fit.label}: a = {1e3 * fit.a_s:.2f} ms, b = {1e3 * fit.b_s:.3f} ms per sequence{quality}")
        if fit.prefill_s_per_token is not None and fit.prefill_base_s is not None:
            per_token, base = 1e3 * fit.prefill_s_per_token, 1e3 * fit.prefill_base_s
            lines.append(f"  prefill: g = {base:.1f} ms, d = {per_token:.4f} ms per input token")
        for row in fit.rows:
            mark = "" if row.is_within else f"  beyond {TOLERANCE:.0%}"
            lines.append(
                f"  concurrency {row.concurrency:g}: {row.measured_s:.2f} s measured, {row.predicted_s:.2f} s by the law, "
                f"{100 * row.error:+.1f} %{mark}"
            )
    return [*lines, *_summed_up([row for fit in fits for row in fit.rows])]


def _summed_up(rows: Sequence[Row]) -> list[str]:
    """How many rows are within the tolerance, in all and by what they were measured by."""
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        what = "one request alone" if row.concurrency == 1 else "several requests"
        kinds.setdefault(f"{row.measured_by}, {what}", []).append(row)
    parts = [(f"all {len(rows)} rows", list(rows)), *kinds.items()]
    lines = []
    for name, found in parts:
        within = sum(row.is_within for row in found)
        median = float(np.median([abs(row.error) for row in found]))
        lines.append(
            f"{name}: {within} of {len(found)} within {TOLERANCE:.0%}, median error {100 * median:.1f} %, "
            f"worst {100 * max((row.error for row in found), key=abs):+.1f} %"
        )
    return lines


def _checked_fits(
    rows: Sequence[tuple[int, Mapping[str, str]]], columns: Mapping[str, int], tally: RowTally
) -> list[Fit]:
    """Rows that are fits: held against the inter-token latencies at 1 and at most, and the tokens per second, beside."""
    found = []
    for line, row in rows:
        try:
            a_s, b_s = _number(row, "alpha_ms") / 1e3, _number(row, "beta_ms") / 1e3
            most, out = _number(row, "concurrency"), _number(row, "output_tokens")
            checks = []
            for at, name in ((1.0, "itl_c1"), (most, "itl_cmax")):
                if name in columns:
                    measured_s = out * _number(row, name) / 1e3
                    checks.append(Row(_label(row), at, measured_s, out * (a_s + b_s * at), name))
            if "tokens_per_s" in columns:
                # Little's law: n requests in flight, each for out / (tokens per second / n) seconds.
                measured_s = out * most / _number(row, "tokens_per_s")
                checks.append(Row(_label(row), most, measured_s, out * (a_s + b_s * most), "tokens per second"))
            if not checks:
                raise RowError("nothing measured beside the fit; give itl_c1, itl_cmax or agg_tok_s")
        except RowError as error:
            tally.broken(line, str(error))
            continue
        tally.read += 1
        found.append(Fit(_label(row), a_s, b_s, _optional(row, "r2"), None, None, tuple(checks)))
    tally.finish("measurements")
    return found


def _fitted(rows: Sequence[tuple[int, Mapping[str, str]]], columns: Mapping[str, int], tally: RowTally) -> list[Fit]:
    """Rows that are measurements, grouped and fitted."""
    groups: dict[str, list[_Measured]] = {}
    for line, row in rows:
        try:
            measured = _measured(row)
        except RowError as error:
            tally.broken(line, str(error))
            continue
        tally.read += 1
        groups.setdefault(_label(row), []).append(measured)
    tally.finish("measurements")
    found = []
    for label, measured in groups.items():
        itl = np.array([one.itl_s for one in measured])
        n = np.array([one.concurrency for one in measured])
        if len(set(n.tolist())) < 2:
            raise TraceError(
                f"{tally.path}: {label} was measured at concurrency {n[0]:g} only; the law needs two or more"
            )
        b_s, a_s = np.polyfit(n, itl, 1)
        base_s, per_token_s = _prefill(measured)
        left = float(((itl - a_s - b_s * n) ** 2).sum())
        around = float(((itl - itl.mean()) ** 2).sum())
        r2 = 1 - left / around if around else 1.0
        checks = _checks(label, measured, float(a_s), float(b_s))
        found.append(Fit(label, float(a_s), float(b_s), r2, base_s, per_token_s, checks))
    return found


def _checks(label: str, measured: Sequence[_Measured], a_s: float, b_s: float) -> tuple[Row, ...]:
    """One row per kind of measurement: the mean of its repeats against the law."""
    kinds: dict[tuple[float, float, float, str], list[_Measured]] = {}
    for one in measured:
        kinds.setdefault((one.concurrency, one.input_tokens or 0.0, one.output_tokens, one.by), []).append(one)
    rows = []
    for (n, _, out, by), repeats in kinds.items():
        measured_s = math.fsum(one.request_s for one in repeats) / len(repeats)
        first_s = math.fsum(one.ttft_s or 0.0 for one in repeats) / len(repeats)
        rows.append(Row(label, n, measured_s, first_s + (out - 1) * (a_s + b_s * n), by, len(repeats)))
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class _Measured:
    concurrency: float
    input_tokens: float | None
    output_tokens: float
    itl_s: float
    ttft_s: float | None
    request_s: float
    """The latency that a client saw: from itself if it was measured, else first token + the rest."""
    by: str


def _measured(row: Mapping[str, str]) -> _Measured:
    n, out = _number(row, "concurrency"), _number(row, "output_tokens")
    if out < 2:
        raise RowError(f"output_tokens is {out:g}; an inter-token latency needs at least 2")
    ttft_s, e2e_s, decode_s = (_optional(row, name) for name in ("ttft_s", "e2e_s", "decode_s"))
    itl_ms, itl_s = _optional(row, "itl_ms"), _optional(row, "itl_s")
    if itl_ms is not None:
        itl_s = itl_ms / 1e3
    if itl_s is None and decode_s is not None:
        itl_s = decode_s / (out - 1)
    if itl_s is None and e2e_s is not None:
        itl_s = (e2e_s - (ttft_s or 0.0)) / (out - 1)
    if itl_s is None or not itl_s > 0:
        raise RowError("no inter-token latency: give itl_ms, itl_s, e2e_s or decode_s, above 0")
    first_s = ttft_s or 0.0
    if e2e_s is not None:
        return _Measured(n, _optional(row, "input_tokens"), out, itl_s, ttft_s, e2e_s, "end-to-end latency")
    request_s = first_s + (out - 1) * itl_s
    return _Measured(n, _optional(row, "input_tokens"), out, itl_s, ttft_s, request_s, "inter-token latency")


def _prefill(measured: Sequence[_Measured]) -> tuple[float | None, float | None]:
    """g and d from the first tokens of single requests, less one decode step; None if they do not say."""
    rows = [
        (one.input_tokens, one.ttft_s - one.itl_s)
        for one in measured
        if one.concurrency == 1 and one.input_tokens is not None and one.ttft_s is not None
    ]
    if len({tokens for tokens, _ in rows}) < 2:
        return None, None
    d, g = np.polyfit(*(np.array(column) for column in zip(*rows, strict=True)), 1)
    return max(0.0, float(g)), float(d)


def _columns(header: Sequence[str], path: Path) -> dict[str, int]:
    found = {}
    for name, spellings in _NAMES.items():
        at = next((header.index(one) for one in spellings if one in header), None)
        if at is not None:
            found[name] = at
    if "r2" in header:
        found["r2"] = header.index("r2")
    missing = [name for name in ("concurrency", "output_tokens") if name not in found]
    if missing:
        wanted = "; ".join(f"{name} (also called {', '.join(_NAMES[name])})" for name in missing)
        raise TraceError(f"{path}, line 1: the header has no column for {wanted}")
    return found


def _label(row: Mapping[str, str]) -> str:
    words = [row.get(name, "").strip() for name in ("model", "instance", "variant", "use")]
    return " ".join(word for word in words if word and word != "?") or "measurements"


def _number(row: Mapping[str, str], name: str) -> float:
    value = _optional(row, name)
    if value is None or not value > 0:
        raise RowError(f"{name} must be a number above 0, not {row.get(name, '')!r}")
    return value


def _optional(row: Mapping[str, str], name: str) -> float | None:
    text = row.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise RowError(f"{name} is not a number: {text!r}") from None
    if not math.isfinite(value):
        raise RowError(f"{name} must be finite, not {text}")
    return value


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
