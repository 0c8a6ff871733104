"""Reading a trace file row by row: text or gzip, broken rows counted and named, too many of them refused."""

from __future__ import annotations

import contextlib
import gzip
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

MAX_BROKEN_SHARE = 0.01
"""A trace with a larger share of broken rows is refused."""
MAX_TOKENS = 1 << 24
"""More tokens than any model takes in one request: such a row is broken."""
MAX_SPAN_S = 400 * 86_400.0
"""No trace is longer; a stamp beyond it is broken."""
MAX_REQUESTS = 45_000_000
"""As many requests need about 3 GB while they are read or drawn; more are refused, not tried."""
_SHOWN = 5

FORMATS = (
    "Accepted: Azure LLM CSV (TIMESTAMP,ContextTokens,GeneratedTokens), Mooncake JSONL (timestamp, input_length, "
    "output_length), BurstGPT CSV (Timestamp,Model,Request tokens,Response tokens,...), a ServeGen client "
    "(X.trace.csv with X.tokens.json beside it), tokens per minute (minute,tokens_per_s) and "
    "timestamp_s,input_tokens,output_tokens; each also as .gz"
)


class TraceError(ValueError):
    """The traffic that was asked for cannot be had: which trace, where in it, what is wrong, what to do."""


class RowError(ValueError):
    """One row is broken; the message says how."""


@dataclass
class RowTally:
    """How many rows of a file were read, and which were not."""

    path: Path
    read: int = 0
    skipped: int = 0
    failed_at_source: int = 0
    """Rows that the trace itself marks as failed requests: left out, not broken."""
    first_broken: list[str] = field(default_factory=list)

    def broken(self, line: int, what: str) -> None:
        """Count a broken row; the first few are kept for people to read."""
        self.skipped += 1
        if len(self.first_broken) < _SHOWN:
            self.first_broken.append(f"line {line}: {what}")

    def finish(self, rows: str = "requests") -> None:
        """TraceError if nothing was read or too many rows are broken."""
        total = self.read + self.skipped
        examples = "; ".join(self.first_broken)
        if total and self.skipped > MAX_BROKEN_SHARE * total:
            raise TraceError(
                f"{self.path}: {self.skipped} of {total} rows are broken, more than {MAX_BROKEN_SHARE:.0%} ({examples}). "
                "Repair or remove these rows"
            )
        if not self.read:
            raise TraceError(f"{self.path} has no {rows}: it ends after its header. Give a trace with at least one row")


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The file as text, gunzipped if its name ends in .gz; every way in which it cannot be read is a TraceError."""
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as handle:
            yield handle
    except (UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(f"{path} is not readable as {'gzipped ' * path.name.endswith('.gz')}text: {error}") from error
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror or error}") from error


def header_of(rows: Iterator[list[str]]) -> list[str]:
    """The first row that is not blank: column names, trimmed and in lower case."""
    return [name.strip().lower() for name in next(row for row in rows if any(cell.strip() for cell in row))]


def token_count(text: str | float | int | None, what: str) -> int:
    """A whole number of tokens between 0 and MAX_TOKENS; RowError for anything else."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        raise RowError(f"{what} is not a number: {text!r}") from None
    if not 0 <= value <= MAX_TOKENS or value != int(value):
        raise RowError(f"{what} must be a whole number from 0 to {MAX_TOKENS}, not {text}")
    return int(value)


def seconds(text: str | float | int | None, what: str, unit_s: float = 1.0) -> float:
    """A finite time >= 0 in units of `unit_s`, as seconds; RowError for anything else."""
    try:
        value = float(text) * unit_s
    except (TypeError, ValueError):
        raise RowError(f"{what} is not a number: {text!r}") from None
    if not math.isfinite(value) or value < 0:
        raise RowError(f"{what} must be a finite time of at least 0, not {text}")
    return value
