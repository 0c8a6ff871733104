"""The only place that asks what time it is, and the only one that waits."""

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


def sleep(duration_s: float) -> None:
    """Let `duration_s` seconds pass. For the gateway and clients, which hold a request; nothing that decides waits."""
    time.sleep(max(0.0, duration_s))
