"""A load loop like that of NVIDIA Dynamo's planner: one copy at a time by utilisation, above a throughput floor.

Source: ai-dynamo/dynamo, components/src/dynamo/planner/core/load_scaling.py (`_agg_easy_decision` and the SLA mode),
throughput_scaling.py, config/defaults.py. "Like", because its regressions read engine internals that an endpoint does
not publish: KV use is taken as requests in flight over the target, and the SLA mode fits ITL against that.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from simulator.peers.view import Cadence, PeerView, Sensing, require_target

LOAD_LOOK_S = 5.0
THROUGHPUT_LOOK_S = 180.0
UP_AT = 1.0
DOWN_AT = 0.6
SENSITIVITY = 0.8
MIN_COPIES = 1
MAX_SAMPLES = 64
MIN_SAMPLES = 5


def load_decision(utilisation: float, copies: int, *, up_at: float = UP_AT, down_at: float = DOWN_AT) -> int:
    """The "easy" thresholds: over `up_at` one more, under `down_at` one less, with `utilisation` of the KV cache.

    Dynamo asks whether any engine is over and all are under; with balanced copies all are the mean one.
    """
    if utilisation > up_at:
        return copies + 1
    if utilisation < down_at and copies > MIN_COPIES:
        return copies - 1
    return copies


@dataclass(frozen=True, slots=True)
class ItlLine:
    """ITL = `at_zero_s` + `per_request_s` × requests in flight per copy."""

    at_zero_s: float
    per_request_s: float

    @classmethod
    def fitted(cls, samples: list[tuple[float, float]]) -> ItlLine | None:
        """Least squares over (in flight per copy, ITL in s); None with too few samples or all at one load."""
        n = len(samples)
        if n < MIN_SAMPLES:
            return None
        mean_x, mean_y = sum(x for x, _ in samples) / n, sum(y for _, y in samples) / n
        spread = sum((x - mean_x) ** 2 for x, _ in samples)
        if spread <= 1e-12:
            return None
        slope = sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread
        return cls(mean_y - slope * mean_x, slope)

    def itl_s(self, per_copy: float) -> float:
        return self.at_zero_s + self.per_request_s * per_copy


def sla_decision(
    per_copy: float, copies: int, line: ItlLine | None, *, itl_slo_s: float, sensitivity: float = SENSITIVITY
) -> int:
    """The SLA mode: one more if the estimated ITL is over the SLO, one less if N/(N − 1) stays under 80 % of it."""
    if line is None:
        return copies
    if line.itl_s(per_copy) > itl_slo_s:
        return copies + 1
    if copies > MIN_COPIES and line.itl_s(per_copy * copies / (copies - 1)) < itl_slo_s * sensitivity:
        return copies - 1
    return copies


class DynamoLoadLoop:
    """Both loops in aggregated mode: load every 5 s, throughput every 180 s as the load loop's lower bound.

    While what was asked is not yet there it only observes. `service_s` (seconds that a request takes at the target
    load) gives the rate one copy sustains and so the floor, with Dynamo's `constant` predictor; without it there is no
    floor. `itl_slo_s` switches from thresholds to the SLA mode, which needs `view.itl_s`. Never below one copy.
    """

    def __init__(
        self,
        target_per_copy: float,
        *,
        name: str = "dynamo-load",
        period_s: float = LOAD_LOOK_S,
        sensing: Sensing | None = None,
        up_at: float = UP_AT,
        down_at: float = DOWN_AT,
        service_s: float | None = None,
        itl_slo_s: float | None = None,
    ) -> None:
        self.name, self.period_s = name, period_s
        self.sensing = sensing or Sensing(point_s=LOAD_LOOK_S, delay_s=0.0)
        self._target = require_target(target_per_copy)
        self._up_at, self._down_at = up_at, down_at
        self._service_s, self._itl_slo_s = service_s, itl_slo_s
        self._throughput = Cadence(THROUGHPUT_LOOK_S)
        self._floor = MIN_COPIES
        self._samples: deque[tuple[float, float]] = deque(maxlen=MAX_SAMPLES)

    def decide(self, view: PeerView) -> int | None:
        per_copy = view.metrics.mean_per_copy(LOAD_LOOK_S)
        if per_copy is not None and view.itl_s is not None:
            self._samples.append((per_copy, view.itl_s))
        if self._throughput.is_due(view.now_s):
            self._set_floor(view)
        if view.desired != view.ready and view.desired > 0:
            return None
        if view.desired < MIN_COPIES:
            return view.clamp(max(MIN_COPIES, self._floor))
        if per_copy is None:
            return None
        return view.clamp(max(self._load(per_copy, view.ready), self._floor, MIN_COPIES))

    def _load(self, per_copy: float, copies: int) -> int:
        if self._itl_slo_s is not None:
            return sla_decision(per_copy, copies, ItlLine.fitted(list(self._samples)), itl_slo_s=self._itl_slo_s)
        return load_decision(per_copy / self._target, copies, up_at=self._up_at, down_at=self._down_at)

    def _set_floor(self, view: PeerView) -> None:
        if self._service_s is None:
            return
        per_s = view.metrics.arrivals_per_s(THROUGHPUT_LOOK_S)
        if per_s is not None:
            self._floor = max(MIN_COPIES, math.ceil(per_s * self._service_s / self._target))
