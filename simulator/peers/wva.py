"""llm-d's workload-variant autoscaler (WVA): V1 by saturation, one copy at a time; V2 by tokens, as many as are missing.

Source: llm-d/llm-d-workload-variant-autoscaler@b08b1c77, internal/saturation/analyzer.go (V1),
internal/engines/analyzers/saturation_v2 (V2), internal/engines/pipeline/cost_aware_optimizer.go (how many),
internal/engines/scalefromzero. WVA hands its count to HPA or KEDA; here it is asked for directly, which serves it best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from simulator.peers.view import Cadence, PeerView, Sensing, require_target

LOOK_S = 60.0
KV_THRESHOLD = 0.80
QUEUE_THRESHOLD = 5.0
KV_SPARE_TRIGGER = 0.1
QUEUE_SPARE_TRIGGER = 3.0
SCALE_UP_SHARE = 0.85
SCALE_DOWN_SHARE = 0.70
RETENTION_S = 600.0


def saturation(
    copies: Sequence[tuple[float, float]],
    *,
    kv_threshold: float = KV_THRESHOLD,
    queue_threshold: float = QUEUE_THRESHOLD,
    kv_spare_trigger: float = KV_SPARE_TRIGGER,
    queue_spare_trigger: float = QUEUE_SPARE_TRIGGER,
) -> tuple[bool, bool]:
    """V1: (one more is needed, one less is safe) for copies given as (KV cache use 0-1, requests queued).

    Spare room is averaged over the copies that are not saturated. One less is safe if the load of N on N − 1 copies
    leaves both spares at or above their trigger.
    """
    open_copies = [(kv, queued) for kv, queued in copies if kv < kv_threshold and queued < queue_threshold]
    n = len(open_copies)
    spare_kv = sum(kv_threshold - kv for kv, _ in open_copies) / n if n else 0.0
    spare_queue = sum(queue_threshold - queued for _, queued in open_copies) / n if n else 0.0
    needed = spare_kv < kv_spare_trigger or spare_queue < queue_spare_trigger
    if n < 2:
        return needed, False
    share = n / (n - 1)
    safe = (
        kv_threshold - (kv_threshold - spare_kv) * share >= kv_spare_trigger
        and queue_threshold - (queue_threshold - spare_queue) * share >= queue_spare_trigger
    )
    return needed, safe


def compute_bound_tokens(batched_tokens: float, max_sequences: float, input_tokens: float, output_tokens: float) -> int:
    """V2's k2: tokens in the KV cache when the scheduler, not the memory, is the limit.

    N = min(B·O / (I + O), S) sequences, each holding its input and on average half of its output.
    """
    if output_tokens <= 0:
        return 0
    sequences = min(batched_tokens * output_tokens / (input_tokens + output_tokens), max_sequences)
    return int(sequences * (input_tokens + output_tokens / 2))


def queued_tokens(
    queued: float, queued_bytes: float, input_tokens: float, output_tokens: float, *, hit_rate: float = 0.0
) -> float:
    """V2: tokens that the scheduler's queue will bring: a quarter per byte, or as usual; less what the cache has."""
    return max(queued_bytes / 4, queued * input_tokens) * (1 - hit_rate) + queued * output_tokens


def required_and_spare(
    demand: float,
    capacity_per_copy: float,
    *,
    ready: int,
    starting: int,
    up_share: float = SCALE_UP_SHARE,
    down_share: float = SCALE_DOWN_SHARE,
) -> tuple[float, float]:
    """V2: capacity that is missing (starting copies count) and that could go (only ready ones count), both >= 0."""
    required = demand / up_share - (ready + starting) * capacity_per_copy
    return max(0.0, required), max(0.0, ready * capacity_per_copy - demand / down_share)


class _Zero:
    """Scale to zero after a retention without requests; from zero as soon as one waits."""

    def __init__(self, retention_s: float) -> None:
        self._retention_s = retention_s
        self._busy_s: float | None = None

    def decide(self, view: PeerView) -> int | None:
        """0 or 1 if zero is concerned, None if it is not."""
        # Without a metric nothing is known to be idle.
        unknown = view.metrics.mean_total(LOOK_S) is None
        if self._busy_s is None or unknown or view.ready == 0 or view.demand_waits(LOOK_S):
            if view.desired == 0:
                return view.clamp(1) if view.demand_waits(LOOK_S) or view.min_copies else None
            self._busy_s = view.now_s
        if view.min_copies == 0 and view.now_s - self._busy_s >= self._retention_s:
            return 0
        return None


class WvaV1:
    """One more on saturation, one less if N/(N − 1) leaves room, nothing while anything starts; every 60 s.

    Copies report KV cache use and queue length. On this endpoint only fleet means are known, so every copy counts as
    the mean one; a request in flight uses so much KV cache that the trigger (0.80 − 0.1) is reached at
    `target_per_copy`.
    """

    def __init__(
        self,
        target_per_copy: float,
        *,
        name: str = "wva-v1",
        period_s: float = LOOK_S,
        sensing: Sensing | None = None,
        retention_s: float = RETENTION_S,
    ) -> None:
        self.name, self.period_s = name, period_s
        self.sensing = sensing or Sensing(point_s=10.0, delay_s=0.0)
        self._kv_per_request = (KV_THRESHOLD - KV_SPARE_TRIGGER) / require_target(target_per_copy)
        self._look, self._zero = Cadence(LOOK_S), _Zero(retention_s)

    def decide(self, view: PeerView) -> int | None:
        zero = self._zero.decide(view)
        if zero is not None:
            return zero
        # Blocked while any variant is in transition.
        if view.desired == 0 or not self._look.is_due(view.now_s) or view.desired != view.ready:
            return None
        per_copy = view.metrics.mean_per_copy(LOOK_S)
        serving = view.metrics.mean_serving(LOOK_S)
        waiting = view.metrics.mean_waiting(LOOK_S)
        if per_copy is None or not serving:
            return None
        copy = (min(1.0, per_copy * self._kv_per_request), waiting / serving)
        needed, safe = saturation([copy] * view.ready)
        if needed:
            return view.clamp(view.desired + 1)
        # To zero is the retention's business.
        return max(1, view.clamp(view.desired - 1)) if safe else None


class WvaV2:
    """Demand against capacity in tokens: what is missing at 85 % use is asked at once, what is spare at 70 % goes.

    Every request counts with the same tokens here, so they cancel out and demand is the requests in flight, queued
    ones included. A copy's capacity is such that 85 % of it is `target_per_copy`.
    """

    def __init__(
        self,
        target_per_copy: float,
        *,
        name: str = "wva-v2",
        period_s: float = LOOK_S,
        sensing: Sensing | None = None,
        retention_s: float = RETENTION_S,
    ) -> None:
        self.name, self.period_s = name, period_s
        self.sensing = sensing or Sensing(point_s=10.0, delay_s=0.0)
        self._capacity_per_copy = require_target(target_per_copy) / SCALE_UP_SHARE
        self._look, self._zero = Cadence(LOOK_S), _Zero(retention_s)

    def decide(self, view: PeerView) -> int | None:
        zero = self._zero.decide(view)
        if zero is not None:
            return zero
        if view.desired == 0 or not self._look.is_due(view.now_s):
            return None
        demand = view.metrics.mean_total(LOOK_S)
        if demand is None:
            return None
        capacity = self._capacity_per_copy
        required, spare = required_and_spare(demand, capacity, ready=view.ready, starting=view.starting)
        if required > 0:
            # Demand that just fits must not cost a copy because of rounding.
            return view.clamp(view.desired + math.ceil(required / capacity - 1e-9))
        removable = math.floor(spare / capacity)
        return max(1, view.clamp(view.desired - removable)) if removable else None
