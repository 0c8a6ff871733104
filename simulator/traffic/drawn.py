"""Traces that publish rates, not requests: a ServeGen client, and tokens per minute. The requests are drawn, seeded.

Every step of a trace has its own random stream (seed, step), so a part of a trace is the same whichever part around it
is asked for.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.physics.profiles import ServiceProfile
from simulator.traffic.recorded import Requests
from simulator.traffic.rows import MAX_SPAN_S, MAX_TOKENS, RowError, RowTally, TraceError, header_of, open_text, seconds
from simulator.traffic.sizes import CONVERSATION, TokenSizes

SERVEGEN_STEP_S = 600.0
MINUTE_S = 60.0


@dataclass(frozen=True, eq=False)
class ServeGenClient:
    """One client of alibaba/ServeGen: requests per second and inter-arrival law per 10-minute window, token counts as
    probability tables per period.

    The number of requests of a window is the published one (times the scale; what rounding leaves over is carried to
    the next window); the published Gamma or Weibull law spaces them, exponential where none is given.
    """

    starts_s: np.ndarray
    rates_per_s: np.ndarray
    families: tuple[str, ...]
    shapes: np.ndarray
    periods_s: np.ndarray
    """When each period of the token tables begins, ascending."""
    tokens: tuple[tuple[_Table, _Table], ...]
    """Per period: input and output token tables."""
    tally: RowTally

    @property
    def length_s(self) -> float:
        return float(self.starts_s[-1]) + SERVEGEN_STEP_S

    def expected(self, profile: ServiceProfile, from_s: float, to_s: float) -> tuple[float, float]:
        """Requests in [from_s, to_s) as published, and the copy-seconds of demand that they are."""
        requests = work_copy_s = 0.0
        for window in range(len(self.starts_s)):
            begin_s = self.starts_s[window]
            overlap_s = min(to_s, begin_s + SERVEGEN_STEP_S) - max(from_s, begin_s)
            if overlap_s > 0 and self.rates_per_s[window] > 0:
                tokens_in, tokens_out = self.tokens[self._period(begin_s)]
                count = self.rates_per_s[window] * overlap_s
                requests += count
                work_copy_s += count * profile.work_copy_s(tokens_in.mean, tokens_out.mean)
        return requests, work_copy_s

    def requests(self, seed: int, scale: float, from_s: float, to_s: float) -> Requests:
        """Drawn requests in [from_s, to_s), as offsets from `from_s`."""
        until = np.floor(np.cumsum(self.rates_per_s) * SERVEGEN_STEP_S * scale + 1e-6).astype(np.int64)
        counts = np.diff(until, prepend=0)
        columns: list[Requests] = []
        for window in np.flatnonzero(counts):
            begin_s = self.starts_s[window]
            if begin_s + SERVEGEN_STEP_S <= from_s or begin_s >= to_s:
                continue
            rng = np.random.default_rng([seed, int(window)])
            n = int(counts[window])
            gaps = _gaps(rng, self.families[window], float(self.shapes[window]), n + 1)
            times_s = begin_s + np.cumsum(gaps)[:-1] * (SERVEGEN_STEP_S / gaps.sum())
            tokens_in, tokens_out = self.tokens[self._period(begin_s)]
            drawn_in, drawn_out = tokens_in.draw(rng, n), np.maximum(1, tokens_out.draw(rng, n))
            kept = (times_s >= from_s) & (times_s < to_s)
            columns.append((times_s[kept] - from_s, drawn_in[kept], drawn_out[kept]))
        return _joined(columns)

    def _period(self, at_s: float) -> int:
        return max(0, int(np.searchsorted(self.periods_s, at_s, side="right")) - 1)


@dataclass(frozen=True, eq=False)
class TokensPerMinute:
    """Input plus output tokens per second, per minute; request sizes are drawn like Azure's 2023 conversation trace.

    The requests of a minute are Poisson: tokens of the minute over mean tokens of a request, spread evenly.
    """

    minutes: np.ndarray
    tokens_per_s: np.ndarray
    tally: RowTally
    sizes: TokenSizes = CONVERSATION

    @property
    def length_s(self) -> float:
        return (float(self.minutes[-1]) + 1) * MINUTE_S

    def expected(self, profile: ServiceProfile, from_s: float, to_s: float) -> tuple[float, float]:
        """Mean number of requests in [from_s, to_s), and the copy-seconds of demand that they are."""
        begin_s = self.minutes * MINUTE_S
        overlap_s = np.clip(np.minimum(to_s, begin_s + MINUTE_S) - np.maximum(from_s, begin_s), 0, None)
        requests = float((self.tokens_per_s * overlap_s).sum()) / self.sizes.mean_total
        return requests, requests * profile.work_copy_s(self.sizes.mean_in, self.sizes.mean_out)

    def requests(self, seed: int, scale: float, from_s: float, to_s: float) -> Requests:
        """Drawn requests in [from_s, to_s), as offsets from `from_s`."""
        columns: list[Requests] = []
        for minute, tokens_per_s in zip(self.minutes.tolist(), self.tokens_per_s.tolist(), strict=True):
            begin_s = minute * MINUTE_S
            if begin_s + MINUTE_S <= from_s or begin_s >= to_s:
                continue
            rng = np.random.default_rng([seed, int(minute)])
            n = int(rng.poisson(tokens_per_s * MINUTE_S * scale / self.sizes.mean_total))
            times_s = begin_s + np.sort(rng.random(n)) * MINUTE_S
            drawn_in, drawn_out = self.sizes.draw(rng, n)
            kept = (times_s >= from_s) & (times_s < to_s)
            columns.append((times_s[kept] - from_s, drawn_in[kept], drawn_out[kept]))
        return _joined(columns)


def read_servegen(path: Path) -> ServeGenClient:
    """`X.trace.csv`: start_s, rate_per_s, cv, family, shape, scale; `X.tokens.json` beside it. Raises TraceError."""
    tally = RowTally(path)
    windows: dict[float, tuple[float, str, float]] = {}
    with open_text(path) as handle:
        for line, row in enumerate(csv.reader(handle), start=1):
            if not row:
                continue
            try:
                if len(row) < 2:
                    raise RowError(f"{len(row)} columns, expected at least 2")
                begin_s, rate_per_s = seconds(row[0], "start"), seconds(row[1], "rate")
                family = row[3].strip() if len(row) > 3 else ""
                if family not in ("", "Gamma", "Weibull"):
                    raise RowError(f"inter-arrival law {family!r} is not known (Gamma, Weibull or empty)")
                shape = seconds(row[4], "shape") if family and len(row) > 4 else 0.0
                if begin_s in windows or begin_s > MAX_SPAN_S:
                    raise RowError(f"window {row[0]} is there twice, or more than {MAX_SPAN_S / 86400:.0f} days on")
            except RowError as error:
                tally.broken(line, str(error))
                continue
            windows[begin_s] = (rate_per_s, family if shape > 0 else "", shape)
            tally.read += 1
    tally.finish("windows")
    starts_s = np.array(sorted(windows))
    rates_per_s, families, shapes = zip(*(windows[start_s] for start_s in starts_s), strict=True)
    periods_s, tokens = _read_tables(path)
    return ServeGenClient(starts_s, np.array(rates_per_s), families, np.array(shapes), periods_s, tokens, tally)


def read_tokens_per_minute(path: Path) -> TokensPerMinute:
    """`minute,tokens_per_s`. Raises TraceError."""
    tally = RowTally(path)
    rates: dict[int, float] = {}
    with open_text(path) as handle:
        rows = csv.reader(handle)
        header = header_of(rows)
        minute_at, tokens_at = header.index("minute"), header.index("tokens_per_s")
        for row in rows:
            if not row:
                continue
            try:
                if len(row) <= max(minute_at, tokens_at):
                    raise RowError(f"{len(row)} columns, expected at least {max(minute_at, tokens_at) + 1}")
                minute = seconds(row[minute_at], "minute")
                if minute != int(minute) or minute in rates or minute * MINUTE_S > MAX_SPAN_S:
                    raise RowError(f"minute {row[minute_at]} is not whole, there twice, or too large")
                rates[int(minute)] = seconds(row[tokens_at], "tokens_per_s")
                tally.read += 1
            except RowError as error:
                tally.broken(rows.line_num, str(error))
    tally.finish("minutes")
    minutes = np.array(sorted(rates))
    return TokensPerMinute(minutes, np.array([rates[minute] for minute in minutes.tolist()]), tally)


@dataclass(frozen=True, eq=False)
class _Table:
    """Token counts with their cumulative probabilities."""

    values: np.ndarray
    cumulative: np.ndarray
    mean: float

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return self.values[np.searchsorted(self.cumulative, rng.random(n), side="right").clip(max=len(self.values) - 1)]


def _read_tables(path: Path) -> tuple[np.ndarray, tuple[tuple[_Table, _Table], ...]]:
    stem = path.name.removesuffix(".gz").removesuffix(".trace.csv")
    beside = [path.with_name(f"{stem}.tokens.json{ending}") for ending in ("", ".gz")]
    found = next((candidate for candidate in beside if candidate.is_file()), None)
    if found is None:
        raise TraceError(f"{path} is a ServeGen client and needs its token tables: put {beside[0].name} beside it")
    with open_text(found) as handle:
        try:
            periods = json.load(handle)
        except json.JSONDecodeError as error:
            raise TraceError(f"{found}, line {error.lineno}: not JSON: {error.msg}") from error
    try:
        starts_s = sorted(periods, key=float)
        tables: list[tuple[_Table, _Table]] = []
        for start_s in starts_s:
            pair = []
            for place, key in enumerate(("input_tokens", "output_tokens")):
                table = _parse_table(periods[start_s].get(key, "{}"))
                # an empty table means that nothing was seen in the period: go on with the one before
                pair.append(table or (tables[-1][place] if tables else _ONE_TOKEN))
            tables.append((pair[0], pair[1]))
    except (ValueError, AttributeError, TypeError) as error:
        raise TraceError(
            f"{found}: expected periods {{start_s: {{input_tokens, output_tokens}}}} with tables such as "
            f'"{{4: 0.25, 5: 0.75}}": {error}'
        ) from error
    if not tables:
        raise TraceError(f"{found} has no token tables; it belongs to {path.name}")
    return np.array([float(start_s) for start_s in starts_s]), tuple(tables)


def _parse_table(text: str) -> _Table | None:
    """`"{4: 0.25, 5: 0.75}"`, as ServeGen writes it; ValueError if it is anything else."""
    inside = text.strip()
    if not (inside.startswith("{") and inside.endswith("}")):
        raise ValueError(f"a token table is written {{tokens: share, …}}, not {text[:40]!r}")
    inside = inside[1:-1].strip().rstrip(",")
    if not inside:
        return None
    numbers = np.array(inside.replace(":", ",").split(","), dtype=np.float64).reshape(-1, 2)
    values, shares = numbers[:, 0], numbers[:, 1]
    if not np.isfinite(numbers).all() or (numbers < 0).any() or shares.sum() <= 0 or values.max() > MAX_TOKENS:
        raise ValueError(f"token counts and shares must be finite, at least 0 and at most {MAX_TOKENS} tokens")
    shares = shares / shares.sum()
    return _Table(values.astype(np.int64), np.cumsum(shares), float((values * shares).sum()))


_ONE_TOKEN = _Table(np.array([1]), np.array([1.0]), 1.0)


def _gaps(rng: np.random.Generator, family: str, shape: float, n: int) -> np.ndarray:
    """`n` inter-arrival times up to a factor. Never all zero, which a very small shape could round to."""
    if family == "Gamma":
        gaps = rng.gamma(shape, 1.0, n)
    elif family == "Weibull":
        gaps = rng.weibull(shape, n)
    else:
        gaps = rng.exponential(1.0, n)
    return gaps if math.isfinite(gaps.sum()) and gaps.sum() > 0 else np.ones(n)


def _joined(columns: list[Requests]) -> Requests:
    if not columns:
        return np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64)
    times_s, tokens_in, tokens_out = (np.concatenate(column) for column in zip(*columns, strict=True))
    return times_s, tokens_in, tokens_out
