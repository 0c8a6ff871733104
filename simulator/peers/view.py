"""What a peer may look at, and what it is: the contract between the benchmark's runner and every rival rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from simulator.peers.ring import MetricRing


@dataclass(frozen=True, slots=True)
class Sensing:
    """How a peer's metrics come: one point per `point_s` seconds, published `delay_s` seconds after its end."""

    point_s: float
    delay_s: float

    def ring(self, *, start_s: float = 0.0, keep_s: float = 1200.0) -> MetricRing:
        """An empty ring with this sensing; 1,200 s hold the longest window that any peer asks for."""
        return MetricRing(self.point_s, delay_s=self.delay_s, keep_s=keep_s, start_s=start_s)


SAGEMAKER_SENSING = Sensing(point_s=10.0, delay_s=10.0)
"""SageMaker's concurrency metrics: 10-second points, seen ten seconds late."""
SAGEMAKER_PERIOD_S = 10.0
"""How often a rule can look if SageMaker's 10-second metrics are all it has."""


@dataclass(frozen=True, slots=True)
class PeerView:
    """One component at one moment. Counts are copies, times seconds."""

    now_s: float
    ready: int
    """Copies that serve now."""
    desired: int
    """Copies that were asked for, starting ones included."""
    starting: int
    """Copies that were asked for and do not serve yet."""
    metrics: MetricRing
    """The points that are visible now; shared with the runner, which has called `show(now_s)`."""
    min_copies: int
    max_copies: int
    ttft_s: float | None = None
    """Recent time to first token; None = not known. Only rules that are written for LLMs may look at it."""
    itl_s: float | None = None
    """Recent inter-token latency; None = not known."""

    def clamp(self, copies: float) -> int:
        """`copies` within [min_copies, max_copies]."""
        return int(min(max(copies, self.min_copies), self.max_copies))

    def demand_waits(self, window_s: float) -> bool:
        """True if anything was in flight, arrived or was refused in the last `window_s` seconds of visible points."""
        metrics = self.metrics
        return bool(metrics.mean_total(window_s) or metrics.arrivals_per_s(window_s) or metrics.refused_per_s(window_s))


class Peer(Protocol):
    """A rival rule. One object serves one component for one run: it remembers."""

    name: str
    period_s: float
    """How often it looks."""
    sensing: Sensing
    """Which metrics it looks at: the runner fills a ring with this resolution and delay."""

    def decide(self, view: PeerView) -> int | None:
        """Copies that should be asked for, within the view's bounds; None = no opinion, keep."""
        ...


class Cadence:
    """Lets a rule that is called more often look every `every_s` seconds only."""

    __slots__ = ("_every_s", "_next_s")

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next_s: float | None = None

    def is_due(self, now_s: float) -> bool:
        """True at the first call, and then once per `every_s`, on that first call's grid."""
        if self._next_s is None:
            self._next_s = now_s
        if now_s < self._next_s - 1e-6:
            return False
        while self._next_s <= now_s + 1e-6:
            self._next_s += self._every_s
        return True


def require_target(target_per_copy: float) -> float:
    """`target_per_copy` (requests in flight on one copy) if it is above 0; else ValueError."""
    if not target_per_copy > 0:
        raise ValueError(f"target_per_copy ({target_per_copy}) must be above 0 requests in flight")
    return float(target_per_copy)
