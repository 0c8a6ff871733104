"""KEDA: decides only between zero and some; one to many is Kubernetes' HPA on KEDA's external metric.

Source: kedacore/keda@8b4f083c, pkg/scaling/executor/scale_scaledobjects.go (activation, cooldown),
pkg/scaling/executor/scale_jobs.go (job strategies), pkg/scalers/aws_cloudwatch_scaler.go (missing data).
"""

from __future__ import annotations

from simulator.peers.hpa import SYNC_S, TOLERANCE, HpaBehaviour, desired_by_total
from simulator.peers.view import Cadence, PeerView, Sensing, require_target

POLLING_S = 30.0
COOLDOWN_S = 300.0


def accurate_job_count(most: int, running: int, pending: int, *, max_jobs: int) -> int:
    """KEDA's ScaledJob strategy `accurate`: jobs to start, `most` the queue's own wish, `max_jobs` the limit."""
    return max_jobs - running if most + running > max_jobs else most - pending


def eager_job_count(most: int, running: int, pending: int, *, max_jobs: int) -> int:
    """KEDA's ScaledJob strategy `eager`: fill whatever is free."""
    return min(max_jobs - running - pending, most)


class Keda:
    """A ScaledObject on the fleet's requests in flight.

    Polled every `polling_s` for 0 ↔ 1: active means more in flight than `activation` (strictly). `cooldown_s` is only
    for the way to zero, which jumps past HPA's limits. Every 15 s HPA reads the same metric as an `AverageValue`.
    `missing_is_idle`: what the CloudWatch scaler does with no data (`ignoreNullValues`, `minMetricValue` 0).
    """

    def __init__(
        self,
        target_per_copy: float,
        *,
        name: str = "keda",
        period_s: float = SYNC_S,
        sensing: Sensing | None = None,
        polling_s: float = POLLING_S,
        cooldown_s: float = COOLDOWN_S,
        activation: float = 0.0,
        window_s: float = 15.0,
        tolerance: float = TOLERANCE,
        missing_is_idle: bool = False,
        behaviour: HpaBehaviour | None = None,
    ) -> None:
        self.name, self.period_s = name, period_s
        self.sensing = sensing or Sensing(point_s=SYNC_S, delay_s=0.0)
        self._target = require_target(target_per_copy)
        self._window_s, self._tolerance = window_s, tolerance
        self._activation, self._cooldown_s = activation, cooldown_s
        self._missing_is_idle = missing_is_idle
        self._behaviour = behaviour or HpaBehaviour()
        self._poll, self._polling_s = Cadence(polling_s), polling_s
        self._last_active_s: float | None = None

    def decide(self, view: PeerView) -> int | None:
        total = view.metrics.mean_total(self._window_s)
        if total is None and self._missing_is_idle:
            total = 0.0
        if self._poll.is_due(view.now_s):
            jump = self._polled(view, total)
            if jump is not None:
                return jump
        if total is None or view.desired == 0:
            return None
        least = max(1, view.min_copies)
        wanted = desired_by_total(view.desired, total, self._target, tolerance=self._tolerance)
        return self._behaviour.apply(
            view.now_s, current=view.desired, desired=wanted, min_copies=least, max_copies=max(least, view.max_copies)
        )

    def _polled(self, view: PeerView, total: float | None) -> int | None:
        """The executor's part: from zero at once, to zero after the cooldown; None = nothing to do."""
        if self._last_active_s is None:
            self._last_active_s = view.now_s
        if total is None:
            # KEDA: a trigger that fails is neither active nor inactive, and no fallback is configured.
            return None
        # Requests that find no copy are not in flight; a trigger that could not see them would never wake.
        if total > self._activation or (view.ready == 0 and view.demand_waits(self._polling_s)):
            self._last_active_s = view.now_s
            return max(1, view.min_copies) if view.desired == 0 else None
        if view.min_copies == 0 and view.desired > 0 and self._last_active_s + self._cooldown_s < view.now_s:
            return 0
        return None
