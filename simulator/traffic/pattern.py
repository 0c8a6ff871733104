"""In-flight demand written by hand: `2x30 40x12 2x60`.

One term after the other, a value per 10-s datapoint, in the spirit of promtool's series notation:

    7         one datapoint of 7 requests in flight
    2x30      30 datapoints of 2
    2+1x10    10 datapoints: 2, 3, 4, … 11
    40-4x5    5 datapoints: 40, 36, 32, 28, 24

`x` counts datapoints, in a ramp too (promtool counts the steps between them, so its `2+1x10` has eleven). Steps may be
fractions; a value is rounded to the nearest whole request, halves up.
"""

from __future__ import annotations

import math
import re

from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import STEP_S, ClosedLoop
from simulator.traffic.rows import TraceError

_TERM = re.compile(r"(?P<first>\d+(?:\.\d+)?)(?:(?P<step>[+-]\d+(?:\.\d+)?)?x(?P<count>\d+))?")
_PATTERN_LIKE = re.compile(r"[\d\s.x+_-]+")
MAX_DATAPOINTS = 1_000_000
MAX_IN_FLIGHT = 100_000


def is_pattern_like(text: str) -> bool:
    """Whether `text` is meant as a pattern (it may still be a wrong one): digits, x, + and - only."""
    return bool(_PATTERN_LIKE.fullmatch(text)) and any(character.isdigit() for character in text)


def parse_pattern(text: str) -> tuple[float, ...]:
    """The demand of each 10-s datapoint, not rounded. TraceError names the term that is wrong."""
    values: list[float] = []
    for term in text.split():
        match = _TERM.fullmatch(term)
        if not match:
            raise TraceError(
                f"pattern {text!r}: {term!r} is not a term; write N, NxCOUNT or N±STEPxCOUNT, such as 2x30 2+1x10 40x12"
            )
        first, step = float(match["first"]), float(match["step"] or 0)
        count = int(match["count"] or 1)
        if len(values) + count > MAX_DATAPOINTS:
            raise TraceError(f"pattern {text!r}: more than {MAX_DATAPOINTS} datapoints")
        last = first + step * (count - 1)
        if last < 0 or max(first, last) > MAX_IN_FLIGHT:
            raise TraceError(
                f"pattern {text!r}: {term!r} leaves the range of 0 to {MAX_IN_FLIGHT} requests in flight; shorten it"
            )
        values += [first + step * k for k in range(count)]
    if not values:
        raise TraceError(f"pattern {text!r} has no datapoint; write such as 2x30 40x12 2x60")
    return tuple(values)


def pattern_arrivals(values: tuple[float, ...], *, start_s: float, scale: float) -> ClosedLoop:
    """The closed loop of these values, `scale` times as many requests in flight."""
    levels = tuple(math.floor(value * scale + 0.5) for value in values)
    if max(levels) > MAX_IN_FLIGHT:
        raise TraceError(f"the pattern asks for {max(levels)} requests in flight, more than {MAX_IN_FLIGHT}")
    return ClosedLoop(levels, STEP_S, start_s=start_s)


def copies_per_request_in_flight(profile: ServiceProfile, input_tokens: int, output_tokens: int) -> float:
    """Copies that one request in flight asks for when it is served at the pace of the SLO.

    Such a client sends a request every `prefill + output_tokens * SLO` seconds, and each is `work_copy_s` of work.
    """
    seconds_each = profile.prefill_s(input_tokens) + output_tokens * profile.itl_slo_s
    return profile.work_copy_s(input_tokens, output_tokens) / seconds_each
