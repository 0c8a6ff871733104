"""Application Auto Scaling's target tracking on SageMaker's concurrency per copy, as a rival.

Written independently of the product's own policy of that name, so that a defect there cannot flatter the comparison;
a test checks that both agree on random cases. Sources: AAS user guide, "How target tracking works"; AWS notebook
sm-app_autoscaling_realtime_endpoints; botocore application-autoscaling/2016-02-06.

AAS is closed source. What it leaves open is an option here, and the default is the reading that serves AAS best:
which count is multiplied (`base`), how gradual scale-in is (`scale_in_share`), how long after its alarm it acts
(`reaction_s`; AWS's notebook says that scaling "usually takes 1-2 minutes longer" than the alarm).
"""

from __future__ import annotations

import math
import operator
from enum import StrEnum

from simulator.peers.aas_alarm import AlarmPeriods, AlarmPoint, ThresholdAlarm, WakeFromZero
from simulator.peers.view import SAGEMAKER_SENSING, PeerView, Sensing, require_target

COOLDOWN_S = 300.0
"""Out and in, for SageMaker (AWS CDK documentation of `BaseTargetTrackingProps`; 0 for DynamoDB, Comprehend, Lambda)."""
LOW_SHARE = 0.9
"""AlarmLow's threshold as a share of the target."""
_EPSILON = 1e-9


class BaseCount(StrEnum):
    """Three readings of the count that AAS multiplies with metric / target."""

    AT_METRIC_TIME = "at-metric-time"
    READY = "ready"
    DESIRED = "desired"


class TargetTracking:
    """The arithmetic and the cooldowns, apart from metrics and alarms. Counts in copies, times in seconds."""

    def __init__(
        self,
        target_per_copy: float,
        *,
        scale_out_cooldown_s: float = COOLDOWN_S,
        scale_in_cooldown_s: float = COOLDOWN_S,
        scale_in_share: float = 1.0,
        base: BaseCount = BaseCount.AT_METRIC_TIME,
    ) -> None:
        if not 0 < scale_in_share <= 1:
            raise ValueError(f"scale_in_share ({scale_in_share}) must be in (0, 1]; 1 = all at once")
        self.target_per_copy, self.base = target_per_copy, BaseCount(base)
        self._out_s, self._in_s, self._share = scale_out_cooldown_s, scale_in_cooldown_s, scale_in_share
        self._out_ends_s = self._in_ends_s = -math.inf
        self._before_cooldown = 0

    def scale_out(self, now_s: float, metric: float, *, counted: int, desired: int, max_copies: int) -> int:
        """Count after an action of AlarmHigh; `counted` is the base count by the chosen reading.

        Inside a scale-out cooldown what was already added is part of the next scale-out, so only a larger one adds.
        """
        cooling = now_s < self._out_ends_s
        before = self._before_cooldown if cooling else desired
        if self.base is BaseCount.DESIRED:
            counted = before
        wanted = math.ceil(counted * metric / self.target_per_copy - _EPSILON)
        if cooling:
            wanted = min(wanted, before + wanted - counted)
        new = max(desired, min(wanted, max_copies))
        if new > desired:
            self._before_cooldown = before
            self._out_ends_s = now_s + self._out_s
            self._in_ends_s = -math.inf  # AAS: a scale-out stops a scale-in's cooldown.
        return new

    def scale_in(self, now_s: float, metric: float, *, counted: int, desired: int, min_copies: int) -> int:
        """Count after an action of AlarmLow."""
        if now_s < self._in_ends_s:
            return desired
        if self.base is BaseCount.DESIRED:
            counted = desired
        wanted = math.ceil(counted * metric / self.target_per_copy - _EPSILON)
        gradual = desired - max(1, math.floor(desired * self._share + _EPSILON))
        new = max(wanted, gradual, min_copies)
        if new >= desired:
            return desired
        self._in_ends_s = now_s + self._in_s
        return new


class AasTargetTracking:
    """Target tracking as deployed: two alarms of AAS's own making, and the arithmetic above.

    `period_s` 10 is the high-resolution metric (3 periods out, 90 in), 60 the classic one (3 and 15).
    """

    def __init__(
        self,
        target_per_copy: float,
        *,
        name: str = "aas-tt-10s",
        period_s: float = 10.0,
        out_points: int = 3,
        in_points: int = 90,
        scale_out_cooldown_s: float = COOLDOWN_S,
        scale_in_cooldown_s: float = COOLDOWN_S,
        repeat_s: float = 60.0,
        reaction_s: float = 0.0,
        base: BaseCount | str = BaseCount.AT_METRIC_TIME,
        scale_in_share: float = 1.0,
        disable_scale_in: bool = False,
        statistic: str = "Average",
        sensing: Sensing = SAGEMAKER_SENSING,
    ) -> None:
        self.name, self.sensing = name, sensing
        # CloudWatch evaluates sub-minute alarms every 10 s, others every minute.
        self.period_s = period_s
        target = require_target(target_per_copy)
        timing = {"repeat_s": repeat_s, "reaction_s": reaction_s}
        self.high = ThresholdAlarm(target, out_points, operator.gt, **timing)
        self.low = ThresholdAlarm(LOW_SHARE * target, in_points, operator.lt, **timing)
        self.rule = TargetTracking(
            target,
            scale_out_cooldown_s=scale_out_cooldown_s,
            scale_in_cooldown_s=scale_in_cooldown_s,
            scale_in_share=scale_in_share,
            base=BaseCount(base),
        )
        self._periods = AlarmPeriods(period_s, statistic=statistic)
        self._disable_scale_in = disable_scale_in
        self._wake = WakeFromZero()
        self._newest: AlarmPoint | None = None

    def decide(self, view: PeerView) -> int | None:
        for point in self._periods.new_points(view.metrics):
            self.high.add(point)
            self.low.add(point)
            self._newest = point
        if view.desired == 0:
            return self._wake.decide(view)
        if self.high.acts(view.now_s):
            new = self.rule.scale_out(
                view.now_s,
                self._newest.value,
                counted=self._counted(view),
                desired=view.desired,
                max_copies=view.max_copies,
            )
        elif not self._disable_scale_in and self.low.acts(view.now_s):
            new = self.rule.scale_in(
                view.now_s,
                self._newest.value,
                counted=self._counted(view),
                desired=view.desired,
                min_copies=view.min_copies,
            )
        else:
            return None
        return None if new == view.desired else new

    def _counted(self, view: PeerView) -> int:
        if self.rule.base is BaseCount.DESIRED:
            return view.desired
        if self.rule.base is BaseCount.READY:
            return view.ready
        return round(self._newest.serving)
