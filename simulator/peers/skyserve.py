"""SkyPilot's SkyServe: request rate against a rate per copy, with long counters on both sides.

Source: skypilot-org/skypilot, sky/serve/autoscalers.py, sky/serve/constants.py.
"""

from __future__ import annotations

import math

from simulator.peers.view import Cadence, PeerView, Sensing, require_target

WINDOW_S = 60.0
LOOK_S = 20.0
LOOK_AT_ZERO_S = 5.0
UP_DELAY_S = 300.0
DOWN_DELAY_S = 1200.0


def copies_for_requests(
    requests: float, requests_per_s_per_copy: float, *, min_copies: int, max_copies: int, window_s: float = WINDOW_S
) -> int:
    """`⌈requests / window / rate per copy⌉` within the bounds."""
    return max(min_copies, min(max_copies, math.ceil(requests / window_s / requests_per_s_per_copy)))


def spot_and_on_demand(
    target: int, base_on_demand: int, *, dynamic: bool, spot: int, ready_spot: int, on_demand: int
) -> tuple[int, int]:
    """Spot and on-demand copies to add (negative: remove) for `target` copies.

    Spot takes what the on-demand base leaves; with `dynamic` fallback on-demand also stands in for spot that is not
    ready. `spot`, `on_demand`: how many there are. Not used by the benchmark: SageMaker endpoints have no spot.
    """
    want_spot = target - base_on_demand
    want_on_demand = base_on_demand + (want_spot - ready_spot if dynamic else 0)
    return want_spot - spot, want_on_demand - on_demand


class SkyServe:
    """`RequestRateAutoscaler` with its hysteresis: looks every 20 s (5 s at zero); launching copies count as asked.

    Its own signal is the request rate, with a rate per copy that the user sets: with `service_s` (seconds that a
    request takes at the target load) that is `target_per_copy / service_s`. Without it, the same rule runs on requests
    in flight, which a user who cannot know the rate would prefer.
    """

    def __init__(
        self,
        target_per_copy: float,
        *,
        name: str = "skyserve",
        period_s: float = LOOK_S,
        sensing: Sensing | None = None,
        up_delay_s: float = UP_DELAY_S,
        down_delay_s: float = DOWN_DELAY_S,
        service_s: float | None = None,
    ) -> None:
        self.name, self.period_s = name, period_s
        self.sensing = sensing or Sensing(point_s=5.0, delay_s=0.0)
        self._target = require_target(target_per_copy)
        if service_s is not None and not service_s > 0:
            raise ValueError(f"service_s ({service_s}) must be above 0 seconds, or None")
        self._service_s = service_s
        self._up_looks, self._down_looks = round(up_delay_s / LOOK_S), round(down_delay_s / LOOK_S)
        self._ups = self._downs = 0
        self._look = Cadence(LOOK_S)

    def decide(self, view: PeerView) -> int | None:
        if view.desired > 0 and not self._look.is_due(view.now_s):
            return None
        wanted = self._wanted(view)
        if wanted is None or wanted == view.desired:
            self._ups = self._downs = 0
            return None
        if view.desired == 0:
            return wanted
        if wanted > view.desired:
            self._ups, self._downs = self._ups + 1, 0
            if self._ups < self._up_looks:
                return None
        else:
            self._ups, self._downs = 0, self._downs + 1
            if self._downs < self._down_looks:
                return None
        self._ups = self._downs = 0
        return wanted

    def _wanted(self, view: PeerView) -> int | None:
        if self._service_s is not None:
            per_s = view.metrics.arrivals_per_s(WINDOW_S)
            in_flight = None if per_s is None else per_s * self._service_s
        else:
            in_flight = view.metrics.mean_total(WINDOW_S)
        if in_flight is None:
            return None
        wanted = copies_for_requests(
            in_flight, self._target, min_copies=view.min_copies, max_copies=view.max_copies, window_s=1.0
        )
        return view.clamp(1) if wanted == 0 and view.ready == 0 and view.demand_waits(WINDOW_S) else wanted
