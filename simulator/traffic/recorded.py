"""Traces that hold every single request: Azure, BurstGPT, Mooncake, and ours."""

from __future__ import annotations

import calendar
import csv
import gzip
import json
import math
import re
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import STEP_S, OpenArrivals
from simulator.traffic.rows import (
    MAX_REQUESTS,
    MAX_SPAN_S,
    RowError,
    RowTally,
    TraceError,
    header_of,
    open_text,
    seconds,
    token_count,
)

OUR_HEADER = ("timestamp_s", "input_tokens", "output_tokens")
_SHIFT_S = 30.0
"""Added copies of a trace are moved by up to so much, either way: the rate curve stays, coincidences do not."""
_EPOCH_LIKE_S = 1e8
"""Stamps this large are dates, not offsets; the trace then begins at its first request."""
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d):(\d\d(?:\.\d+)?)(Z|[+-]\d\d:?\d\d)?$")

Requests = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Seconds since the trace began (ascending), input tokens, output tokens."""


@dataclass(frozen=True, eq=False)
class RecordedTrace:
    """Every request of a trace; times in seconds since the trace began, ascending."""

    times_s: np.ndarray
    input_tokens: np.ndarray
    output_tokens: np.ndarray
    tally: RowTally

    @property
    def length_s(self) -> float:
        """To the end of the 10-s datapoint that holds the last request."""
        return (math.floor(self.times_s[-1] / STEP_S) + 1) * STEP_S

    def expected(self, profile: ServiceProfile, from_s: float, to_s: float) -> tuple[float, float]:
        """Requests in [from_s, to_s), and the copy-seconds of demand that they are."""
        times_s, tokens_in, tokens_out = self._part(from_s, to_s)
        if not len(times_s):
            return 0.0, 0.0
        return float(len(times_s)), len(times_s) * profile.work_copy_s(tokens_in.mean(), tokens_out.mean())

    def requests(self, seed: int, scale: float, from_s: float, to_s: float) -> Requests:
        """The requests in [from_s, to_s), as offsets from `from_s`, `scale` times as many.

        Below 1 each request is kept with probability `scale`. Above 1 further copies of the part are laid over it,
        each moved as a whole by a drawn time within ±30 s (around the end to the beginning), the last one thinned.
        """
        times_s, tokens_in, tokens_out = self._part(from_s, to_s)
        times_s = times_s - from_s
        if scale == 1.0:
            return times_s, tokens_in, tokens_out
        rng = np.random.default_rng([seed, 1])
        whole = int(scale)
        parts = [(times_s, tokens_in, tokens_out)] if whole else []
        for copy in range(1, whole + 1) if whole else (0,):
            share = 1.0 if copy < whole else scale - whole
            kept = rng.random(len(times_s)) < share
            shift_s = rng.uniform(-_SHIFT_S, _SHIFT_S) if copy else 0.0
            parts.append(((times_s[kept] + shift_s) % (to_s - from_s), tokens_in[kept], tokens_out[kept]))
        return _in_order(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _part(self, from_s: float, to_s: float) -> Requests:
        part = slice(*np.searchsorted(self.times_s, [from_s, to_s]))
        return self.times_s[part], self.input_tokens[part], self.output_tokens[part]


def read_csv(path: Path, columns: tuple[str, str, str], kind: str) -> RecordedTrace:
    """A CSV trace with the named columns (lower case) for time, input and output tokens; `kind`: azure, burstgpt, ours.

    A request without output tokens is one that failed in BurstGPT (so say its authors) and is left out there;
    elsewhere it counts as one token. Raises TraceError.
    """
    stamp = _AzureStamp() if kind == "azure" else lambda text: seconds(text, columns[0])
    tally = RowTally(path)
    with open_text(path) as handle:
        rows = csv.reader(handle)
        try:
            header = header_of(rows)
            where = [header.index(name) for name in columns]
            numbered = ((rows.line_num, row) for row in rows)
            return _collect(numbered, tally, lambda row: _csv_request(row, where, columns, stamp), kind)
        except csv.Error as error:
            raise TraceError(f"{path}, line {rows.line_num}: not readable as CSV: {error}") from error


def read_mooncake(path: Path) -> RecordedTrace:
    """Mooncake's JSON lines: `timestamp` in ms, `input_length`, `output_length` (or `..._tokens`). Raises TraceError."""

    def request(line: str) -> tuple[float, int, int]:
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise RowError(f"not JSON: {error.msg}") from None
        if not isinstance(row, dict):
            raise RowError("not a JSON object")
        return (
            seconds(row.get("timestamp"), "timestamp", 1e-3),
            token_count(row.get("input_length", row.get("input_tokens")), "input_length"),
            token_count(row.get("output_length", row.get("output_tokens")), "output_length"),
        )

    with open_text(path) as handle:
        return _collect(enumerate(handle, start=1), RowTally(path), request, "mooncake")


def write_trace(path: Path | str, arrivals: OpenArrivals) -> None:
    """Write `timestamp_s,input_tokens,output_tokens`, times since `arrivals.start_s` in µs; gzipped if named .gz.

    The same arrivals give the same bytes.
    """
    offsets_s = np.asarray(arrivals.times_s) - arrivals.start_s
    lines = [",".join(OUR_HEADER)]
    lines += [
        f"{at:.6f},{tokens_in},{tokens_out}"
        for at, tokens_in, tokens_out in zip(
            offsets_s.tolist(), arrivals.input_tokens.tolist(), arrivals.output_tokens.tolist(), strict=True
        )
    ]
    data = ("\n".join(lines) + "\n").encode()
    Path(path).write_bytes(gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)


def _collect(
    rows: Iterable[tuple[int, list[str] | str]],
    tally: RowTally,
    request: Callable[..., tuple[float, int, int]],
    kind: str,
) -> RecordedTrace:
    times_s, tokens_in, tokens_out = array("d"), array("q"), array("q")
    for line, row in rows:
        if not row or (isinstance(row, str) and not row.strip()):
            continue
        try:
            at, one_in, one_out = request(row)
        except RowError as error:
            tally.broken(line, str(error))
            continue
        if one_out == 0 and kind == "burstgpt":
            tally.failed_at_source += 1
            continue
        times_s.append(at)
        tokens_in.append(one_in)
        tokens_out.append(max(1, one_out))
        tally.read += 1
        if tally.read > MAX_REQUESTS:
            raise TraceError(
                f"{tally.path} has more than {MAX_REQUESTS:,} requests, more than fit into memory; cut it into parts "
                f"(line {line} is the first too many) and give one of them"
            )
    tally.finish()
    # Views, not copies: a trace may be large.
    ordered = _in_order(*(np.frombuffer(column, dtype=column.typecode) for column in (times_s, tokens_in, tokens_out)))
    first_s = float(ordered[0][0])
    begin_s = first_s if kind == "azure" else math.floor(first_s) if first_s >= _EPOCH_LIKE_S else 0.0
    length_s = ordered[0][-1] - begin_s
    if length_s > MAX_SPAN_S:
        raise TraceError(
            f"{tally.path}: first and last request are {length_s / 86400:.0f} days apart, more than "
            f"{MAX_SPAN_S / 86400:.0f}; look for a wrong time stamp"
        )
    return RecordedTrace(ordered[0] - begin_s, ordered[1], ordered[2], tally)


def _csv_request(
    row: list[str], where: list[int], columns: tuple[str, str, str], stamp: Callable[[str], float]
) -> tuple[float, int, int]:
    if len(row) <= max(where):
        raise RowError(f"{len(row)} columns, expected at least {max(where) + 1}")
    at, tokens_in, tokens_out = (row[index] for index in where)
    return stamp(at), token_count(tokens_in, columns[1]), token_count(tokens_out, columns[2])


class _AzureStamp:
    """`2023-11-16 18:15:46.6805900` (100 ns), also with a UTC offset, as seconds since the minute of the first row."""

    def __init__(self) -> None:
        self._minutes: dict[str, int] = {}
        self._base_s: int | None = None

    def __call__(self, text: str) -> float:
        match = _STAMP.match(text.strip())
        if not match:
            raise RowError(f"not a time stamp: {text!r}")
        day, minute, second, zone = match.groups()
        key = f"{day} {minute}{zone or ''}"
        at_s = self._minutes.get(key)
        if at_s is None:
            at_s = self._minutes[key] = _minute_s(day, minute, zone)
        if self._base_s is None:
            self._base_s = at_s
        return at_s - self._base_s + float(second)


def _minute_s(day: str, minute: str, zone: str | None) -> int:
    try:
        at_s = calendar.timegm(datetime.fromisoformat(f"{day} {minute}").timetuple())
    except ValueError as error:
        raise RowError(f"not a date: {day} {minute} ({error})") from None
    if zone in (None, "Z"):
        return at_s
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return at_s - int(offset.total_seconds()) * (-1 if zone[0] == "-" else 1)


def _in_order(times_s: np.ndarray, tokens_in: np.ndarray, tokens_out: np.ndarray) -> Requests:
    order = np.argsort(times_s, kind="stable")
    return times_s[order], tokens_in[order], tokens_out[order]
