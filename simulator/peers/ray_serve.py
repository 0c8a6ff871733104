"""Ray Serve's default autoscaling policy: ongoing requests against a target, and patience in both directions.

Source: ray-project/ray@00590c45, python/ray/serve/autoscaling_policy.py (rule, factors, delays), config.py (defaults),
tests/unit/test_autoscaling_policy.py (numbers).
"""

from __future__ import annotations

import math

from simulator.peers.view import PeerView, Sensing, require_target

UPSCALE_DELAY_S = 30.0
DOWNSCALE_DELAY_S = 600.0
LOOK_BACK_S = 30.0
PUSH_S = 10.0
"""Handles and copies push their numbers every 10 s."""


def desired_copies(
    total: float, running: int, target: float, *, up_factor: float = 1.0, down_factor: float = 1.0
) -> int:
    """Copies for `total` ongoing requests with `running` copies (>= 1); not bounded.

    A factor scales the distance; if rounding up makes a scale-in stand still, it goes down by one.
    """
    wanted = running * (total / (target * running))
    distance = wanted - running
    scaled = math.ceil(running + (up_factor if distance > 0 else down_factor) * distance)
    if math.ceil(wanted) < running and scaled == running:
        scaled -= 1
    return scaled


class Patience:
    """A change happens only after it was wanted at every look for longer than the delay of its direction."""

    def __init__(
        self,
        *,
        look_s: float,
        up_delay_s: float = UPSCALE_DELAY_S,
        down_delay_s: float = DOWNSCALE_DELAY_S,
        to_zero_delay_s: float | None = None,
    ) -> None:
        self._up = int(up_delay_s / look_s)
        self._down = int(down_delay_s / look_s)
        self._to_zero = self._down if to_zero_delay_s is None else int(to_zero_delay_s / look_s)
        self._looks = 0

    def decide(self, wanted: int, asked: int) -> int:
        """`wanted` once it has been wanted for long enough, else `asked`. To zero only from one."""
        if wanted > asked:
            self._looks = max(self._looks, 0) + 1
            if self._looks > self._up:
                self._looks = 0
                return wanted
        elif wanted < asked:
            self._looks = min(self._looks, 0) - 1
            needed = self._to_zero
            if asked != 1:
                needed, wanted = self._down, max(1, wanted)
            if self._looks < -needed:
                self._looks = 0
                return wanted
        else:
            self._looks = 0
        return asked


class RayServe:
    """The default policy on queued and ongoing requests of the last 30 s.

    Its control loop of 0.1 s is looked at every `period_s` (2 s), which its delays of 30 and 600 s do not notice: the
    metric itself moves only with the 10-second push. Only running copies are the base; the delay compares with what
    was asked.
    """

    def __init__(
        self,
        target_per_copy: float,
        *,
        name: str = "ray-serve",
        period_s: float = 2.0,
        sensing: Sensing | None = None,
        up_delay_s: float = UPSCALE_DELAY_S,
        down_delay_s: float = DOWNSCALE_DELAY_S,
        to_zero_delay_s: float | None = None,
        look_back_s: float = LOOK_BACK_S,
        up_factor: float = 1.0,
        down_factor: float = 1.0,
    ) -> None:
        self.name, self.period_s = name, period_s
        self.sensing = sensing or Sensing(point_s=PUSH_S, delay_s=0.0)
        self._target = require_target(target_per_copy)
        self._look_back_s, self._up_factor, self._down_factor = look_back_s, up_factor, down_factor
        self._patience = Patience(
            look_s=period_s, up_delay_s=up_delay_s, down_delay_s=down_delay_s, to_zero_delay_s=to_zero_delay_s
        )

    def decide(self, view: PeerView) -> int | None:
        total = view.metrics.mean_total(self._look_back_s)
        if total is None:
            return None
        if view.ready == 0:
            # Cold start: no delay, ⌈1 × factor⌉ or what is already asked.
            waits = total > 0 or view.demand_waits(self._look_back_s)
            return view.clamp(max(math.ceil(self._up_factor), view.desired)) if waits else None
        wanted = desired_copies(
            total, view.ready, self._target, up_factor=self._up_factor, down_factor=self._down_factor
        )
        return self._patience.decide(view.clamp(wanted), view.desired)
