"""The one way to traffic: a trace file, a pattern or a generated trace, by the string that `--trace` takes."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.clock import EPOCH_S
from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import STEP_S, Arrivals, ClosedLoop, OpenArrivals
from simulator.traffic.drawn import ServeGenClient, TokensPerMinute, read_servegen, read_tokens_per_minute
from simulator.traffic.generated import PREFIX, GeneratedTrace, generated_trace
from simulator.traffic.pattern import copies_per_request_in_flight, is_pattern_like, parse_pattern, pattern_arrivals
from simulator.traffic.recorded import OUR_HEADER, RecordedTrace, read_csv, read_mooncake
from simulator.traffic.rows import FORMATS, MAX_REQUESTS, RowTally, TraceError, open_text

Source = RecordedTrace | ServeGenClient | TokensPerMinute | GeneratedTrace

_CSV_KINDS = {
    "azure": ("timestamp", "contexttokens", "generatedtokens"),
    "burstgpt": ("timestamp", "request tokens", "response tokens"),
    "ours": OUR_HEADER,
}


@dataclass(frozen=True, eq=False)
class Traffic:
    """What users will do in [start_s, end_s), and where it comes from."""

    arrivals: Arrivals
    name: str
    format: str
    """azure, mooncake, burstgpt, servegen, tokens_per_minute, ours, pattern or generated."""
    start_s: float
    end_s: float
    scale: float
    """Times the trace's own rate, as applied."""
    requests_read: int
    """Rows read from the file: requests, or windows of published rates; 0 for a pattern or a generated trace."""
    rows_skipped: int = 0
    """Broken rows that were left out."""
    rows_failed_at_source: int = 0
    """Requests that the trace itself marks as failed; left out too."""
    broken_rows: tuple[str, ...] = ()
    """The first few broken rows: line and what is wrong."""


def load_traffic(
    trace: str,
    *,
    profile: ServiceProfile,
    seed: int = 0,
    start_s: float = EPOCH_S,
    scale: float = 1.0,
    mean_copies: float | None = None,
    duration_s: float | None = None,
    offset_s: float = 0.0,
) -> Traffic:
    """Traffic from `trace`: a file (recognised by its header, or its name), a PATTERN, or `generated:…`.

    The part [offset_s, offset_s + duration_s) of the trace is laid at `start_s`; `duration_s` None = to its end.
    `scale` multiplies rates; `mean_copies` instead scales them so that the mean fluid demand of the part is that many
    copies of `profile` (give one of the two). Recorded requests are thinned, or laid over each other moved by up to
    30 s; drawn ones are drawn at the scaled rate; a pattern's levels are multiplied. Equal arguments, equal traffic.
    Raises TraceError, whose message is fit for the user.
    """
    if mean_copies is not None and scale != 1.0:
        raise TraceError("give scale or mean_copies, not both")
    for name, value in (("scale", scale), ("mean_copies", mean_copies), ("duration_s", duration_s)):
        if value is not None and not 0 < value < math.inf:
            raise TraceError(f"{name} ({value}) must be above 0")
    if not 0 <= offset_s < math.inf:
        raise TraceError(f"offset_s ({offset_s}) must be at least 0")
    part = {"start_s": start_s, "mean_copies": mean_copies, "duration_s": duration_s, "offset_s": offset_s}
    if trace.startswith(PREFIX):
        source = generated_trace(trace, seed=seed, profile=profile)
        return _drawn(source, trace, "generated", profile=profile, seed=seed, scale=scale, **part)
    path = Path(trace)
    if not path.is_file() and is_pattern_like(trace):
        return _pattern(trace, profile=profile, scale=scale, **part)
    source, kind = _read(path)
    return _drawn(source, _trace_name(path), kind, profile=profile, seed=seed, scale=scale, **part)


def _read(path: Path) -> tuple[Source, str]:
    """The trace in the file, and the name of its format."""
    if path.is_dir():
        raise TraceError(f"{path} is a directory; give one trace file. {FORMATS}")
    if not path.exists():
        raise TraceError(f"there is no trace {path}; give a file, a pattern such as 2x30 40x12 2x60, or generated:demo")
    bare = path.name.removesuffix(".gz")
    if bare.endswith(".trace.csv"):
        return read_servegen(path), "servegen"
    if bare.endswith(".tokens.json"):
        raise TraceError(f"{path} holds the token tables of a ServeGen client; give the .trace.csv beside it")
    with open_text(path) as handle:
        first = next((line for line in handle if line.strip()), "")
    if not first:
        raise TraceError(f"{path} is empty. {FORMATS}")
    if bare.endswith((".jsonl", ".json")) or first.lstrip().startswith("{"):
        _expect_mooncake(path, first)
        return read_mooncake(path), "mooncake"
    header = {name.strip().lower() for name in next(csv.reader([first]))}
    if {"minute", "tokens_per_s"} <= header:
        return read_tokens_per_minute(path), "tokens_per_minute"
    for kind, columns in _CSV_KINDS.items():
        if header.issuperset(columns):
            return read_csv(path, columns, kind), kind
    raise TraceError(f"{path}, line 1: the header {first.strip()[:80]!r} is not one of a known trace. {FORMATS}")


def _expect_mooncake(path: Path, first: str) -> None:
    try:
        row = json.loads(first)
    except json.JSONDecodeError:
        return  # perhaps one broken row of many: the reader counts it
    if not isinstance(row, dict) or "timestamp" not in row:
        raise TraceError(f"{path}, line 1: JSON, but not a Mooncake request with timestamp in ms. {FORMATS}")


def _drawn(
    source: Source,
    name: str,
    kind: str,
    *,
    profile: ServiceProfile,
    seed: int,
    scale: float,
    start_s: float,
    mean_copies: float | None,
    duration_s: float | None,
    offset_s: float,
) -> Traffic:
    length_s = source.length_s
    if offset_s >= length_s:
        raise TraceError(f"{name} lasts {length_s:.0f} s; an offset of {offset_s:.0f} s leaves nothing of it")
    end_s = length_s if duration_s is None else min(length_s, offset_s + duration_s)
    requests, copy_s = source.expected(profile, offset_s, end_s)
    if not requests:
        raise TraceError(f"{name} has no request from {offset_s:.0f} s to {end_s:.0f} s; choose another part")
    if mean_copies is not None:
        scale = mean_copies * (end_s - offset_s) / copy_s
    if requests * scale > MAX_REQUESTS:
        raise TraceError(
            f"{name} would be {requests * scale:,.0f} requests, more than {MAX_REQUESTS:,}; "
            "lower scale, give mean_copies, or a shorter duration"
        )
    offsets_s, tokens_in, tokens_out = source.requests(seed, scale, offset_s, end_s)
    # rounding to the clock's resolution must not move a request out of the part
    end = start_s + (end_s - offset_s)
    times_s = np.minimum(start_s + offsets_s, np.nextafter(end, start_s))
    tally = source.tally if not isinstance(source, GeneratedTrace) else RowTally(Path(name))
    return Traffic(
        arrivals=OpenArrivals(times_s, tokens_in, tokens_out, start_s),
        name=name,
        format=kind,
        start_s=start_s,
        end_s=end,
        scale=scale,
        requests_read=tally.read,
        rows_skipped=tally.skipped,
        rows_failed_at_source=tally.failed_at_source,
        broken_rows=tuple(tally.first_broken),
    )


def _pattern(
    text: str,
    *,
    profile: ServiceProfile,
    scale: float,
    start_s: float,
    mean_copies: float | None,
    duration_s: float | None,
    offset_s: float,
) -> Traffic:
    values = parse_pattern(text)
    begin, end = offset_s / STEP_S, math.inf if duration_s is None else (offset_s + duration_s) / STEP_S
    if begin != int(begin) or (end < math.inf and end != int(end)):
        raise TraceError(f"pattern {text!r}: offset and duration must be multiples of {STEP_S:.0f} s, its datapoint")
    values = values[int(begin) : None if end == math.inf else int(end)]
    if not values:
        raise TraceError(f"pattern {text!r}: an offset of {offset_s:.0f} s leaves nothing of it")
    if mean_copies is not None:
        loop = ClosedLoop((1,))
        each = copies_per_request_in_flight(profile, loop.input_tokens, loop.output_tokens)
        if not sum(values):
            raise TraceError(f"pattern {text!r} has no demand; it cannot be scaled to {mean_copies} copies")
        scale = mean_copies * len(values) / (sum(values) * each)
    arrivals = pattern_arrivals(values, start_s=start_s, scale=scale)
    return Traffic(arrivals, text, "pattern", start_s, arrivals.end_s, scale, requests_read=0)


def _trace_name(path: Path) -> str:
    """The file's name without the endings that only say how it is written."""
    name = path.name.removesuffix(".gz")
    for ending in (".trace.csv", ".tokens_per_minute.csv", ".csv", ".jsonl", ".json"):
        if name.endswith(ending):
            return name.removesuffix(ending)
    return name
