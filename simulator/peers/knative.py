"""Knative's autoscaler (KPA): a stable window, and a panic window that only ever adds.

Source: knative/serving@98e5ef90, pkg/autoscaler/scaling/autoscaler.go (rule), config/core/configmaps/autoscaler.yaml
(defaults), pkg/reconciler/autoscaling/kpa/scaler.go (to zero). Restated from the rule, no code taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from simulator.peers.view import PeerView, Sensing, require_target


@dataclass
class KpaRule:
    """KPA's decision with its memory; counts in copies, demand in requests in flight of the whole fleet."""

    target_per_copy: float
    panic_threshold: float = 2.0
    """Panic begins when the panic window needs so many times the copies that serve: 200 %."""
    max_up_rate: float = 1000.0
    max_down_rate: float = 2.0
    stable_window_s: float = 60.0
    scale_down_delay_s: float = 0.0
    tick_s: float = 2.0
    activation_copies: int = 1
    reachable: bool = True
    """False: nothing routes to this revision any more, so the way down is not rate-limited."""
    panic_since_s: float | None = None
    """Last moment at which demand was over the panic threshold; None = not in panic."""
    panic_copies: int = 0
    _wanted_by_tick: dict[int, int] = field(default_factory=dict)

    def scale(self, now_s: float, ready: int, *, stable_total: float, panic_total: float) -> int:
        """Copies wanted at `now_s` with `ready` serving; not bounded by any min or max."""
        serving = max(1, ready)
        most = math.ceil(self.max_up_rate * serving)
        least = math.floor(serving / self.max_down_rate) if self.reachable else 0
        need_stable = math.ceil(stable_total / self.target_per_copy)
        need_panic = math.ceil(panic_total / self.target_per_copy)
        stable = self._activated(min(max(need_stable, least), most), need_stable)
        panic = self._activated(min(max(need_panic, least), most), need_panic)
        self._enter_or_leave_panic(now_s, need_panic / serving >= self.panic_threshold)
        wanted = stable
        if self.panic_since_s is not None:
            self.panic_copies = wanted = max(self.panic_copies, stable, panic)
        return self._delayed(now_s, wanted)

    def start_in_panic(self, now_s: float, ready: int) -> None:
        """What a restarted autoscaler does that finds more than one copy: hold until it has a window of data."""
        if ready > 1:
            self.panic_since_s, self.panic_copies = now_s, ready

    def _activated(self, wanted: int, need: int) -> int:
        return max(wanted, self.activation_copies) if self.activation_copies > 1 and need > 0 else wanted

    def _enter_or_leave_panic(self, now_s: float, over: bool) -> None:
        if over:
            self.panic_since_s = now_s
        elif self.panic_since_s is not None and self.panic_since_s + self.stable_window_s < now_s:
            self.panic_since_s, self.panic_copies = None, 0

    def _delayed(self, now_s: float, wanted: int) -> int:
        """The most that was wanted in the scale-down delay, in whole ticks."""
        if self.scale_down_delay_s <= 0 or not self.reachable:
            return wanted
        tick, held = int(now_s // self.tick_s), math.ceil(self.scale_down_delay_s / self.tick_s)
        kept = {k: v for k, v in self._wanted_by_tick.items() if k > tick - held}
        kept[tick] = max(wanted, kept.get(tick, 0))
        self._wanted_by_tick = kept
        return max(kept.values())


def excess_burst_capacity(
    ready: int, *, total_per_copy: float, target_burst_capacity: float, panic_total: float
) -> int:
    """Requests that the ready copies could take on top; below 0 the request buffer stays in the path.

    `total_per_copy` is what a copy can hold (its target over the target utilisation), `target_burst_capacity` the
    burst to be ready for: -1 = unlimited, 0 = no buffer. Not used by the benchmark: SageMaker has no such buffer.
    """
    if target_burst_capacity < 0:
        return -1
    if target_burst_capacity == 0:
        return 0
    return math.floor(ready * total_per_copy - target_burst_capacity - panic_total)


class KnativeKpa:
    """KPA with its defaults, on the fleet's requests in flight: looks every 2 s at 60 s and at 10 % of that.

    To zero: after `stable_window_s` of activity at most one copy is kept while demand is 0; it goes once the component
    has been inactive for `to_zero_grace_s`. From zero it does not wait: the request buffer pokes it.
    """

    def __init__(
        self,
        target_per_copy: float,
        *,
        name: str = "knative-kpa",
        period_s: float = 2.0,
        sensing: Sensing | None = None,
        stable_window_s: float = 60.0,
        panic_window_share: float = 0.1,
        panic_threshold: float = 2.0,
        max_up_rate: float = 1000.0,
        max_down_rate: float = 2.0,
        scale_down_delay_s: float = 0.0,
        to_zero_grace_s: float = 30.0,
    ) -> None:
        self.name, self.period_s = name, period_s
        # Copies are scraped every second; the rule looks every two.
        self.sensing = sensing or Sensing(point_s=2.0, delay_s=0.0)
        self.rule = KpaRule(
            require_target(target_per_copy),
            panic_threshold=panic_threshold,
            max_up_rate=max_up_rate,
            max_down_rate=max_down_rate,
            stable_window_s=stable_window_s,
            scale_down_delay_s=scale_down_delay_s,
            tick_s=period_s,
        )
        self._panic_window_s = panic_window_share * stable_window_s
        self._to_zero_grace_s = to_zero_grace_s
        self._started = False
        self._active_since_s: float | None = None
        self._inactive_since_s: float | None = None

    def decide(self, view: PeerView) -> int | None:
        if not self._started:
            self._started, self._active_since_s = True, view.now_s
            self.rule.start_in_panic(view.now_s, view.ready)
        stable = view.metrics.mean_total(self.rule.stable_window_s)
        panic = view.metrics.mean_total(self._panic_window_s)
        # KPA: without data a result is invalid, and an invalid result changes nothing.
        if stable is None or panic is None:
            return None
        wanted = self.rule.scale(view.now_s, view.ready, stable_total=stable, panic_total=panic)
        if view.desired == 0:
            return self._from_zero(view, wanted)
        return view.clamp(self._to_zero(view, wanted))

    def _from_zero(self, view: PeerView, wanted: int) -> int | None:
        if wanted == 0 and not view.demand_waits(self._panic_window_s):
            return None
        self._active_since_s, self._inactive_since_s = view.now_s, None
        return view.clamp(max(1, wanted))

    def _to_zero(self, view: PeerView, wanted: int) -> int:
        if view.ready == 0:
            # Still activating: nothing that is starting is judged idle.
            self._active_since_s = view.now_s
            return max(1, wanted)
        if wanted > 0 or view.min_copies > 0:
            if self._inactive_since_s is not None:
                self._active_since_s, self._inactive_since_s = view.now_s, None
            return wanted
        if view.now_s - self._active_since_s < self.rule.stable_window_s:
            return 1
        if self._inactive_since_s is None:
            self._inactive_since_s = view.now_s
        return 0 if view.now_s - self._inactive_since_s >= self._to_zero_grace_s else 1
