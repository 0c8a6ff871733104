"""The only place that asks what time it is."""

from __future__ import annotations

import time
from collections.abc import Callable

_source: Callable[[], float] = time.time


def now_s() -> float:
    """Seconds since the epoch, UTC."""
    return _source()


def use(source: Callable[[], float]) -> Callable[[], float]:
    """Take time from `source` from now on (the emulated account's clock); return the source used before."""
    global _source
    before, _source = _source, source
    return before
