"""Numbers as people read them: counts, shares, multiples, money, durations. None is "not known" and prints as a dash."""

from __future__ import annotations

import math

UNKNOWN = "–"


def count(value: float | None, *, digits: int = 0) -> str:
    """`19301` → "19,301"; with `digits`, "41.2"."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def plural(value: float | None, one: str, many: str | None = None) -> str:
    """`1, "request"` → "1 request"; `19301` → "19,301 requests"."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def share(value: float | None) -> str:
    """A ratio 0–1 as "99.7 %". Never rounds up to "100 %" or down to "0 %": 0.99996 is "99.996 %"."""
    if value is None:
        return UNKNOWN
    if value in (0.0, 1.0):
        return f"{value * 100:.0f} %"
    for digits in range(1, 7):
        text = f"{value * 100:.{digits}f}"
        if 0 < float(text) < 100:
            return f"{text} %"
    return "> 99.999999 %" if value > 0.5 else "< 0.000001 %"


def percent(value: float | None) -> str:
    """A number that is a percentage already (the SPEC elasticity metrics are): 12.34 → "12.3 %"."""
    return UNKNOWN if value is None else f"{value:,.1f} %"


def multiple(value: float | None) -> str:
    """1.2093 → "1.21 ×"."""
    return UNKNOWN if value is None else f"{value:,.2f} ×"


def usd(value: float | None) -> str:
    """41.2 → "$41.20"; 15432.1 → "$15,432"."""
    if value is None:
        return UNKNOWN
    return f"${value:,.0f}" if value >= 10_000 else f"${value:,.2f}"


def latency(seconds: float | None) -> str:
    """Three significant figures and the unit that needs no zeros: "43 ms", "0.36 s", "12.4 s"."""
    if seconds is None:
        return UNKNOWN
    if 0 < seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.{2 if seconds < 10 else 1 if seconds < 100 else 0}f} s"


def duration(seconds: float | None) -> str:
    """Two largest units: 190 → "3 min 10 s", 93600 → "1 d 2 h"."""
    if seconds is None:
        return UNKNOWN
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds == int(seconds) or seconds >= 10 else f"{seconds:.1f} s"
    left = math.floor(seconds + 0.5)
    parts = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        whole, left = divmod(left, size)
        parts.append((whole, unit))
    first = next(i for i, (whole, _) in enumerate(parts) if whole)
    return " ".join(f"{whole} {unit}" for whole, unit in parts[first : first + 2] if whole)
