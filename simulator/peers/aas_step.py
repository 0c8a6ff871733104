"""Application Auto Scaling's step scaling, as a rival; independent of the product's policy of that name.

Sources: AAS user guide, "How step scaling works" (bounds, rounding, MinAdjustmentMagnitude, cooldown); AWS notebook
sm-app_autoscaling_realtime_endpoints_step_scaling (the sample table and its alarms).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from simulator.peers.aas_alarm import AlarmPeriods, ThresholdAlarm, WakeFromZero
from simulator.peers.view import SAGEMAKER_SENSING, PeerView, Sensing, require_target


class Adjustment(StrEnum):
    CHANGE = "ChangeInCapacity"
    PERCENT = "PercentChangeInCapacity"
    EXACT = "ExactCapacity"


@dataclass(frozen=True, slots=True)
class StepRow:
    """Bounds are breach sizes (metric − threshold), None = infinite; `amount` in copies, or percent for PERCENT."""

    lower: float | None
    upper: float | None
    amount: int


@dataclass(frozen=True, slots=True)
class StepTable:
    """A step policy: which row a breach falls in, and what the row does to a count."""

    rows: Sequence[StepRow]
    adjustment: Adjustment = Adjustment.CHANGE
    min_magnitude: int = 0
    """`MinAdjustmentMagnitude`: the least that a percentage changes."""

    def row(self, breach: float, *, above: bool) -> StepRow | None:
        """The row of a breach; `above` the threshold [lower, upper), below it (lower, upper]. None = no row."""
        for row in self.rows:
            lower = -math.inf if row.lower is None else row.lower
            upper = math.inf if row.upper is None else row.upper
            if (lower <= breach < upper) if above else (lower < breach <= upper):
                return row
        return None

    def applied(self, row: StepRow, copies: int) -> int:
        """`copies` after `row`. A percentage is rounded toward zero, but to at least 1 in its direction."""
        if self.adjustment is Adjustment.EXACT:
            return row.amount
        if self.adjustment is Adjustment.CHANGE:
            return copies + row.amount
        if row.amount == 0:
            return copies
        change = copies * row.amount / 100
        whole = math.trunc(change) if abs(change) >= 1 else math.copysign(math.ceil(abs(change)), change)
        return copies + int(math.copysign(max(abs(whole), self.min_magnitude), row.amount))

    def stepped(
        self,
        copies: int,
        metric: float,
        threshold: float,
        *,
        above: bool = True,
        already_added: int = 0,
        min_copies: int = 0,
        max_copies: int = 10**9,
    ) -> int:
        """Copies after one action on `metric`, in [min_copies, max_copies]; unchanged if no row holds the breach.

        `already_added`: what the running scale-out cooldown has added; it is part of the next scale-out, so that +2
        and then a +3 row add only one more, and never less than there is.
        """
        # Nine decimals, so that a metric of 0.3 over a threshold of 0.1 reaches a bound of 0.2.
        row = self.row(round(metric - threshold, 9), above=above)
        if row is None:
            return copies
        new = self.applied(row, copies - already_added)
        if already_added and row.amount > 0:
            new = max(new, copies)
        return max(min_copies, min(max_copies, int(new)))


class StepCooldown:
    """Cooldown: a scale-out in it is credited, a scale-in waits for any to end, a scale-out ends a scale-in's."""

    def __init__(self, cooldown_s: float = 300.0) -> None:
        self._cooldown_s = cooldown_s
        self._out_ends_s = self._in_ends_s = -math.inf
        self._before = 0

    def scale_out(
        self, now_s: float, table: StepTable, metric: float, threshold: float, *, copies: int, max_copies: int
    ) -> int:
        added = copies - self._before if now_s < self._out_ends_s else 0
        new = table.stepped(copies, metric, threshold, already_added=max(0, added), max_copies=max_copies)
        if new <= copies:
            return copies
        if added <= 0:
            self._before = copies
        self._out_ends_s, self._in_ends_s = now_s + self._cooldown_s, -math.inf
        return new

    def scale_in(
        self, now_s: float, table: StepTable, metric: float, threshold: float, *, copies: int, min_copies: int
    ) -> int:
        if now_s < max(self._out_ends_s, self._in_ends_s):
            return copies
        new = table.stepped(copies, metric, threshold, above=False, min_copies=min_copies)
        if new >= copies:
            return copies
        self._in_ends_s = now_s + self._cooldown_s
        return new


@dataclass(frozen=True, slots=True)
class StepShape:
    """A step policy for any target: thresholds and bounds as multiples of the target per copy."""

    out_threshold: float
    out_rows: tuple[tuple[float | None, float | None, int], ...]
    in_threshold: float
    in_rows: tuple[tuple[float | None, float | None, int], ...]
    out_points: int
    in_points: int
    period_s: float

    def table(self, rows: Sequence[tuple[float | None, float | None, int]], target: float) -> StepTable:
        scaled = (
            StepRow(None if low is None else low * target, None if up is None else up * target, amount)
            for low, up, amount in rows
        )
        return StepTable(tuple(scaled))


SAMPLE_SHAPE = StepShape(
    out_threshold=1.0,
    out_rows=((0.0, 1.0, 1), (1.0, None, 2)),
    in_threshold=0.5,
    in_rows=((-1.0, 0.0, -1), (None, -1.0, -2)),
    out_points=3,
    in_points=3,
    period_s=60.0,
)
"""AWS's own sample: threshold 20, [0, 20) +1, [20, ∞) +2; threshold 10, (−20, 0] −1, ≤ −20 −2; 3 periods of 60 s
(which the sample's own comment calls "10 seconds")."""

WIDE_SHAPE = StepShape(
    out_threshold=1.0,
    out_rows=((0.0, 0.3, 1), (0.3, 0.7, 2), (0.7, None, 4)),
    in_threshold=0.6,
    in_rows=((None, 0.0, -1),),
    out_points=3,
    in_points=90,
    period_s=10.0,
)
"""What a careful user would write for the 10-second metric: +1, +2, +4 by the size of the breach, −1 after 15 quiet
minutes (the windows of target tracking's alarms)."""


class AasStepScaling:
    """Two step policies, out and in, on the mean per copy of their alarm's periods (`MetricAggregationType` Average)."""

    def __init__(
        self,
        target_per_copy: float,
        *,
        name: str = "aas-step-10s",
        shape: StepShape = WIDE_SHAPE,
        cooldown_s: float = 300.0,
        repeat_s: float = 60.0,
        reaction_s: float = 0.0,
        statistic: str = "Average",
        sensing: Sensing = SAGEMAKER_SENSING,
    ) -> None:
        self.name, self.sensing, self.period_s = name, sensing, shape.period_s
        target = require_target(target_per_copy)
        timing = {"repeat_s": repeat_s, "reaction_s": reaction_s}
        self.high = ThresholdAlarm(shape.out_threshold * target, shape.out_points, operator.ge, **timing)
        self.low = ThresholdAlarm(shape.in_threshold * target, shape.in_points, operator.le, **timing)
        self.out_table = shape.table(shape.out_rows, target)
        self.in_table = shape.table(shape.in_rows, target)
        self._periods = AlarmPeriods(shape.period_s, statistic=statistic)
        # AAS does not say whether one policy's scale-out holds the other's scale-in; here it does, which flaps less.
        self._cooldown = StepCooldown(cooldown_s)
        self._wake = WakeFromZero()

    def decide(self, view: PeerView) -> int | None:
        for point in self._periods.new_points(view.metrics):
            self.high.add(point)
            self.low.add(point)
        if view.desired == 0:
            return self._wake.decide(view)
        now_s, copies = view.now_s, view.desired
        if self.high.acts(now_s):
            alarm, table = self.high, self.out_table
            new = self._cooldown.scale_out(
                now_s, table, alarm.mean, alarm.threshold, copies=copies, max_copies=view.max_copies
            )
        elif self.low.acts(now_s):
            alarm, table = self.low, self.in_table
            new = self._cooldown.scale_in(
                now_s, table, alarm.mean, alarm.threshold, copies=copies, min_copies=view.min_copies
            )
        else:
            return None
        return None if new == copies else new
