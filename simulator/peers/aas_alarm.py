"""The alarms that Application Auto Scaling acts on: so many datapoints of one period in a row on one side of a threshold.

Sources: AWS notebook sm-app_autoscaling_realtime_endpoints (aws/amazon-sagemaker-examples) for the pair of target
tracking (3 × 10 s above the target, 90 × 10 s below 0.9 × target; 3 and 15 periods for one-minute metrics);
CloudWatch user guide: an alarm invokes an Auto Scaling action when it changes state and then once per minute.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from simulator.peers.ring import MetricRing
from simulator.peers.view import PeerView


@dataclass(frozen=True, slots=True)
class AlarmPoint:
    """One complete, clock-aligned period of the metric per copy."""

    end_s: float
    value: float | None
    """Requests in flight per copy; None = unknown, since no copy served."""
    serving: float | None
    """Copies that served in that period, on average."""


class AlarmPeriods:
    """Hands out each period of `period_s` once, oldest first, as it becomes visible."""

    def __init__(self, period_s: float, *, statistic: str = "Average") -> None:
        if statistic not in ("Average", "Maximum"):
            raise ValueError(f"statistic {statistic!r} is not read by these alarms; choose Average or Maximum")
        self.period_s = period_s
        self._maximum = statistic == "Maximum"
        self._seen_s: float | None = None

    def new_points(self, metrics: MetricRing) -> Iterator[AlarmPoint]:
        """Every period that has become visible since the last call; at the first call only the newest."""
        newest_s = metrics.period_end_s(self.period_s)
        if newest_s is None:
            return
        end_s = newest_s if self._seen_s is None else self._seen_s + self.period_s
        while end_s <= newest_s + 1e-6:
            read = metrics.max_per_copy if self._maximum else metrics.mean_per_copy
            yield AlarmPoint(end_s, read(self.period_s, end_s), metrics.mean_serving(self.period_s, end_s))
            end_s += self.period_s
        self._seen_s = newest_s


class ThresholdAlarm:
    """In ALARM while the newest `points` periods are all known and all breach `threshold`.

    `breaches(value, threshold)` is the comparison, e.g. `operator.gt`. An unknown period ends the alarm: AAS does
    nothing in INSUFFICIENT_DATA. It acts when the alarm begins (`reaction_s` later) and every `repeat_s` from then on.
    """

    def __init__(
        self,
        threshold: float,
        points: int,
        breaches: Callable[[float, float], bool] = operator.gt,
        *,
        repeat_s: float = 60.0,
        reaction_s: float = 0.0,
    ) -> None:
        if points < 1:
            raise ValueError(f"an alarm needs at least 1 period, not {points}")
        self.threshold, self.points = threshold, points
        self._breaches, self._repeat_s, self._reaction_s = breaches, repeat_s, reaction_s
        self._streak = 0
        self._next_action_s: float | None = None
        self._values: deque[float] = deque(maxlen=points)

    def add(self, point: AlarmPoint) -> None:
        """Take in the next period."""
        if point.value is not None and self._breaches(point.value, self.threshold):
            self._streak += 1
            self._values.append(point.value)
        else:
            self._streak = 0
            self._next_action_s = None
            self._values.clear()

    @property
    def is_alarm(self) -> bool:
        return self._streak >= self.points

    @property
    def mean(self) -> float:
        """Mean of the periods that the alarm looks at; only while `is_alarm`."""
        return sum(self._values) / len(self._values)

    def acts(self, now_s: float) -> bool:
        """True if an action is invoked at `now_s`: at the transition, and once per `repeat_s` while it lasts."""
        if not self.is_alarm:
            return False
        if self._next_action_s is None:
            self._next_action_s = now_s + self._reaction_s
        if now_s < self._next_action_s - 1e-6:
            return False
        self._next_action_s = now_s + self._repeat_s
        return True


class WakeFromZero:
    """The second policy that AWS's scale-to-zero set-up needs: step +1 on `NoCapacityInvocationFailures`.

    Source: aws-samples/sagemaker-genai-hosting-examples, scale_down_to_zero.ipynb: one period of 30 s with at least
    one failure, +1 copy, cooldown 60 s (the AWS documentation has Sum over 60 s above 1; the notebook's is quicker).
    """

    def __init__(self, *, period_s: float = 30.0, failures: float = 1.0, cooldown_s: float = 60.0) -> None:
        self._period_s, self._failures, self._cooldown_s = period_s, failures, cooldown_s
        self._acted_s = -float("inf")

    def decide(self, view: PeerView) -> int | None:
        """1 if requests failed for want of a copy; only asked while there is none."""
        end_s = view.metrics.period_end_s(self._period_s)
        refused_per_s = None if end_s is None else view.metrics.refused_per_s(self._period_s, end_s)
        if refused_per_s is None or refused_per_s * self._period_s < self._failures - 1e-6:
            return None
        if view.now_s - self._acted_s < self._cooldown_s:
            return None
        self._acted_s = view.now_s
        return view.clamp(1)
