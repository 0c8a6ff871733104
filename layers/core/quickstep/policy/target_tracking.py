"""Target tracking: as many copies as bring the metric per copy back to its target value.

What Application Auto Scaling documents (AAS user guide, "How target tracking works") is followed exactly: the policy
acts only while one of its two alarms is in ALARM (AlarmHigh: 3 datapoints above the target; AlarmLow: 90 datapoints
below 0.9 × target); out proportionally to the metric, in gradually, both rounded toward more capacity; inside a
scale-out cooldown only a larger scale-out adds, and what was already added counts toward it; a scale-in waits for the
scale-in cooldown, which any scale-out ends; no data changes nothing; `DisableScaleIn`.

What AAS does not document is a switch of `TrackingReadings`:

* `base`: which count the metric is multiplied with. Default: the one that served when the datapoint was measured, since
  a stale metric times a fresh or a wished count asks again for what is already coming.
* `value`: which value is compared. Default: the newest complete datapoint of the alarm; else the mean of its periods.
* `scale_in_share`: what "gradually" means. Default: at most half of the committed count in one activity.
* `repeat_s`: without a cooldown, how often a lasting alarm acts again. CloudWatch repeats scaling actions every minute.
* `metric_delay_s`: how late a datapoint may be and still count.

Memory is kept as in `step_scaling`: `{"step_memory": {policy.name: StepMemory}}` comes only with a changed count, with
breach = metric − target value, and the change itself is recorded with the policy's name as its `cause`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from quickstep.model.decision import Step
from quickstep.model.observation import Alarm, AlarmState, Series
from quickstep.model.state import Change, StepMemory, TargetState
from quickstep.model.targets import Statistic, TargetTrackingPolicy
from quickstep.policy.alarm_values import METRIC_DELAY_S, aggregate, alarm_datapoints, number
from quickstep.reasons import Reason

# 0.1 × 3 is a little more than 0.3: that must not cost a copy.
_EPSILON = 1e-9
_MOST = 1e9


class BaseCount(StrEnum):
    """Three readings of the count that AAS multiplies."""

    SERVING_AT_METRIC_TIME = "serving-at-metric-time"
    READY_NOW = "ready-now"
    DESIRED = "desired"


class MetricValue(StrEnum):
    NEWEST = "newest"
    MEAN_OF_PERIODS = "mean-of-periods"


@dataclass(frozen=True, slots=True)
class TrackingReadings:
    """Choices that AAS's documentation does not make. Each can be switched; see the module's text."""

    base: BaseCount = BaseCount.SERVING_AT_METRIC_TIME
    value: MetricValue = MetricValue.NEWEST
    scale_in_share: float = 0.5
    """Largest share (0, 1] of the committed count that one scale-in removes, but never less than one; 1 = all at once."""
    repeat_s: float = 60.0
    metric_delay_s: float = METRIC_DELAY_S


DEFAULT_READINGS = TrackingReadings()


def recommend(
    policy: TargetTrackingPolicy,
    *,
    baseline: int,
    serving: int | None,
    series: Series | None,
    alarms: Mapping[str, Alarm],
    state: TargetState,
    now_s: float,
    min_capacity: int,
    max_capacity: int,
    ready: int | None = None,
    readings: TrackingReadings = DEFAULT_READINGS,
) -> Step:
    """Return the count that `policy` wants at `now_s`; `baseline` (current + pending) wherever nothing is to change.

    `serving` is the count that served at `newest_datapoint_s`, `ready` the one that serves now (needed for READY_NOW
    only); None = not known, which is no data. With `baseline` in [min, max] the result is too. If both alarms are in
    ALARM, out wins. The policy's target value is greater than 0: checked where policies are read.

    Example: target 5, metric 8, 4 served: 4 × 8 / 5 = 6.4 → 7 copies.
    """
    look = _Look(policy, baseline, serving, ready, series, state, now_s, min_capacity, max_capacity, readings)
    high, low = alarms.get(policy.high_alarm), alarms.get(policy.low_alarm)
    if high is not None and high.state is AlarmState.ALARM:
        return look.scale_out(high)
    if low is not None and low.state is AlarmState.ALARM:
        return look.scale_in(low)
    return look.quiet(high, low)


def newest_datapoint_s(
    policy: TargetTrackingPolicy,
    series: Series | None,
    alarms: Mapping[str, Alarm],
    now_s: float,
    readings: TrackingReadings = DEFAULT_READINGS,
) -> float | None:
    """Start of the datapoint that `recommend` would use, for looking up `serving`; None if there is none."""
    for name in (policy.high_alarm, policy.low_alarm):
        alarm = alarms.get(name)
        if alarm is not None and alarm.state is AlarmState.ALARM:
            points = alarm_datapoints(series, alarm, now_s=now_s, metric_delay_s=readings.metric_delay_s)
            return points[-1][0] if points else None
    return None


@dataclass(frozen=True, slots=True)
class _Reading:
    """One alarm's metric, and the words and numbers to say so."""

    at_s: float
    metric: float
    breach: float
    evidence: str
    inputs: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Look:
    """One policy at one moment."""

    policy: TargetTrackingPolicy
    baseline: int
    serving: int | None
    ready: int | None
    series: Series | None
    state: TargetState
    now_s: float
    min_capacity: int
    max_capacity: int
    readings: TrackingReadings

    def quiet(self, high: Alarm | None, low: Alarm | None) -> Step:
        """Neither alarm is in ALARM: nothing changes, and unless scale-in is disabled the policy is not ready for it."""
        inputs: dict[str, object] = {"policy": self.policy.name}
        if self.policy.disable_scale_in:
            detail = f"alarm {self.policy.high_alarm} is not in ALARM, and DisableScaleIn is set"
            return self._keep(Reason.ALARM_NOT_IN_ALARM, detail, inputs)
        for name, alarm in ((self.policy.high_alarm, high), (self.policy.low_alarm, low)):
            if alarm is None or alarm.state is AlarmState.INSUFFICIENT_DATA:
                found = "was not found" if alarm is None else f"is {alarm.state}"
                return self._keep(Reason.NO_DATA, f"alarm {name} {found}", {**inputs, "alarm": name})
        return self._keep(Reason.UNCHANGED, f"neither alarm of target {number(self.policy.target_value)} fires", inputs)

    def scale_out(self, alarm: Alarm) -> Step:
        reading = self._read(alarm)
        if isinstance(reading, Step):
            return reading
        if reading.metric <= self.policy.target_value:
            return self._keep(Reason.UNCHANGED, f"{reading.evidence}: no longer above it", reading.inputs)
        before = self._before_cooldown()
        base = self._base(before)
        if base is None:
            return self._keep(
                Reason.NO_DATA, f"{reading.evidence}; how many copies that was is not known", reading.inputs
            )
        if base == 0 and self.readings.base is not BaseCount.DESIRED:
            return self._keep(Reason.NO_COPIES, f"{reading.evidence}, but no copy served it", reading.inputs)
        wanted = self._wanted(base, reading)
        detail = self._sum(base, reading, wanted)
        inputs = {**reading.inputs, "base": base, "wanted": wanted}
        if wanted <= self.baseline:
            return self._keep(Reason.AT_DESIRED, f"{detail}, {self.baseline} are committed", inputs)
        if self.baseline >= self.max_capacity:
            return self._keep(Reason.AT_MAX, f"{detail}; {self.max_capacity} is the most", inputs)
        if self._is_same_datapoint(reading):
            return self._keep(Reason.BREACH_ALREADY_COUNTED, f"{detail}; this datapoint was already answered", inputs)
        credit, allowed = 0, wanted
        if before is not None:
            # AAS: what this cooldown has added is part of the next scale-out, so only a larger one adds anything.
            credit, allowed = self.baseline - before, min(wanted, before + wanted - base)
            inputs["credit"] = credit
        if allowed <= self.baseline:
            until_s = self._scale_out_cooldown_ends()
            left = f"{credit} already added, cooldown for {until_s - self.now_s:.0f} s more"
            return self._keep(Reason.COOLDOWN_SCALE_OUT, f"{detail}; {left}", inputs, until_s)
        if allowed < wanted:
            detail += f"; {credit} already added in this cooldown, so {allowed - self.baseline:+d}"
        if allowed > self.max_capacity:
            detail += f"; {self.max_capacity} is the most"
        wait_s = self.policy.scale_out_cooldown_s or self.readings.repeat_s
        return self._change(min(allowed, self.max_capacity), detail, inputs, reading, wait_s)

    def scale_in(self, alarm: Alarm) -> Step:
        if self.policy.disable_scale_in:
            detail = f"alarm {alarm.name} is in ALARM, but DisableScaleIn is set"
            return self._keep(Reason.SCALE_IN_DISABLED, detail, {"policy": self.policy.name, "alarm": alarm.name})
        reading = self._read(alarm)
        if isinstance(reading, Step):
            return reading
        if reading.metric >= min(alarm.threshold, self.policy.target_value):
            return self._keep(Reason.UNCHANGED, f"{reading.evidence}: no longer below it", reading.inputs)
        base = self._base(None)
        if base is None:
            return self._keep(
                Reason.NO_DATA, f"{reading.evidence}; how many copies that was is not known", reading.inputs
            )
        wanted = self._wanted(base, reading)
        detail = self._sum(base, reading, wanted)
        inputs = {**reading.inputs, "base": base, "wanted": wanted}
        if wanted >= self.baseline:
            return self._keep(Reason.AT_DESIRED, f"{detail}, {self.baseline} are committed", inputs)
        if self.baseline <= self.min_capacity:
            return self._keep(Reason.AT_MIN, f"{detail}; {self.min_capacity} is the least", inputs)
        if self._is_same_datapoint(reading):
            return self._keep(Reason.BREACH_ALREADY_COUNTED, f"{detail}; this datapoint was already answered", inputs)
        until_s = self._scale_in_cooldown_ends()
        if until_s is not None and until_s > self.now_s:
            left = f"waits {until_s - self.now_s:.0f} s more"
            return self._keep(Reason.COOLDOWN_SCALE_IN, f"{detail}; {left}", inputs, until_s)
        gradual = self.baseline - max(1, math.floor(self.baseline * self.readings.scale_in_share + _EPSILON))
        recommended = max(wanted, gradual, self.min_capacity)
        if recommended > max(wanted, self.min_capacity):
            detail += f"; at most {number(100 * self.readings.scale_in_share)} % at once"
        elif recommended > wanted:
            detail += f"; {self.min_capacity} is the least"
        wait_s = self.policy.scale_in_cooldown_s or self.readings.repeat_s
        return self._change(recommended, detail, inputs, reading, wait_s)

    # The metric and the count it belongs to.

    def _read(self, alarm: Alarm) -> _Reading | Step:
        inputs: dict[str, object] = {
            "policy": self.policy.name,
            "alarm": alarm.name,
            "target": self.policy.target_value,
        }
        points = alarm_datapoints(self.series, alarm, now_s=self.now_s, metric_delay_s=self.readings.metric_delay_s)
        if not points:
            detail = (
                f"alarm {alarm.name} is in ALARM, but none of its latest {alarm.evaluation_periods} datapoints is known"
            )
            return self._keep(Reason.NO_DATA, detail, inputs)
        at_s, metric = points[-1]
        if self.readings.value is MetricValue.MEAN_OF_PERIODS:
            metric = aggregate([value for _, value in points], Statistic.AVERAGE)
        evidence = f"metric {number(metric)}, target {number(self.policy.target_value)}"
        inputs["metric"] = metric
        return _Reading(at_s, metric, round(metric - self.policy.target_value, 9), evidence, inputs)

    def _base(self, before: int | None) -> int | None:
        if self.readings.base is BaseCount.SERVING_AT_METRIC_TIME:
            return self.serving
        if self.readings.base is BaseCount.READY_NOW:
            return self.ready
        # In a cooldown the count it began with: else each look would multiply what the last one asked for.
        return self.baseline if before is None else before

    def _wanted(self, base: int, reading: _Reading) -> int:
        return math.ceil(min(base * reading.metric / self.policy.target_value, _MOST) - _EPSILON)

    def _sum(self, base: int, reading: _Reading, wanted: int) -> str:
        return f"{reading.evidence}, {base} × {number(reading.metric)} / {number(self.policy.target_value)} → {wanted}"

    # What this policy has already done, and until when that holds.

    def _before_cooldown(self) -> int | None:
        """The committed count before the scale-outs of the running cooldown; None if no cooldown runs.

        `last_scale_out` holds the newest activity only; the breach answered last gives the ratio that led to it, and so
        the count that all of them began with: ⌈before × ratio⌉ = after ⇒ before = ⌊after / ratio⌋.
        """
        until_s = self._scale_out_cooldown_ends()
        if until_s is None or until_s <= self.now_s:
            return None
        last, answered = self._own(self.state.last_scale_out), self._answered
        if last is not None and self.now_s - last.at_s >= self._scale_out_window_s:
            last = None
        before, after = (last.before, last.after) if last is not None else (self.baseline, self.baseline)
        if answered is not None and answered.breach > 0:
            ratio = (self.policy.target_value + answered.breach) / self.policy.target_value
            before = min(before, math.floor(after / ratio + _EPSILON))
        return self.baseline - (after - before)

    def _scale_out_cooldown_ends(self) -> float | None:
        last, answered = self._own(self.state.last_scale_out), self._answered
        starts = [last.at_s] if last is not None else []
        if answered is not None and answered.breach > 0:
            starts.append(answered.acted_at_s)
        return max(starts) + self._scale_out_window_s if starts else None

    @property
    def _scale_out_window_s(self) -> float:
        if self.policy.scale_out_cooldown_s > 0:
            return self.policy.scale_out_cooldown_s
        # A wished count times the metric grows with every look, so it needs a pause even where none is set.
        return self.readings.repeat_s if self.readings.base is BaseCount.DESIRED else 0.0

    def _scale_in_cooldown_ends(self) -> float | None:
        last_out, last_in, answered = self.state.last_scale_out, self._own(self.state.last_scale_in), self._answered
        starts = [last_in.at_s] if last_in is not None else []
        if answered is not None and answered.breach < 0:
            starts.append(answered.acted_at_s)
        # AAS: a scale-out, whoever asked for it, stops a scale-in's cooldown.
        starts = [s for s in starts if last_out is None or last_out.at_s <= s]
        return max(starts) + (self.policy.scale_in_cooldown_s or self.readings.repeat_s) if starts else None

    def _is_same_datapoint(self, reading: _Reading) -> bool:
        answered = self._answered
        if answered is None or (answered.breach > 0) != (reading.breach > 0):
            return False
        return reading.at_s <= answered.datapoint_s

    @property
    def _answered(self) -> StepMemory | None:
        return self.state.step_memory.get(self.policy.name)

    def _own(self, change: Change | None) -> Change | None:
        return change if change is not None and change.cause == self.policy.name else None

    # Answers.

    def _change(
        self, recommended: int, detail: str, inputs: Mapping[str, object], reading: _Reading, wait_s: float
    ) -> Step:
        memory = StepMemory(datapoint_s=reading.at_s, breach=reading.breach, acted_at_s=self.now_s)
        return Step(
            self.policy.name,
            recommended,
            Reason.TARGET_TRACKING,
            detail,
            inputs,
            look_again_at_s=self.now_s + wait_s,
            memory={"step_memory": {self.policy.name: memory}},
        )

    def _keep(self, reason: Reason, detail: str, inputs: Mapping[str, object], until_s: float | None = None) -> Step:
        return Step(self.policy.name, self.baseline, reason, detail, inputs, look_again_at_s=until_s)
