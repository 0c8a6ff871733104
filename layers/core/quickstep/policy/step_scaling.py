"""Step scaling: the size of an alarm's breach picks a row of a table, the row says how much to add or to remove.

The documented rules of Application Auto Scaling (AAS user guide, "How step scaling works") are followed exactly:

* bounds are breach sizes (metric − threshold). Above the threshold the lower bound is inclusive and the upper
  exclusive, below it the lower is exclusive and the upper inclusive; the sign of the breach tells which, and at the
  threshold itself the alarm's direction;
* a percentage is rounded toward zero, but to at least one in its direction, and to `MinAdjustmentMagnitude`;
* inside a scale-out cooldown what was already added counts: after +2, a row of +3 adds only one more;
* a scale-in waits for the end of any cooldown of its own policy; a scale-out never waits for a scale-in's cooldown.

What AAS leaves open, and the rules that are ours, are the switches of `StepReadings`.

How memory is kept. An alarm stays in ALARM for hours while this rule is asked every ten seconds, so a policy remembers
which breach it has answered (`StepMemory`). `recommend` returns a new memory only together with a changed count, as
`{"step_memory": {policy.name: StepMemory}}`. The caller merges it into the target's `step_memory` by name, and keeps
it only if the recorded decision goes at least as far as this step asked: a step that was held back later (pause,
budget, stabilization) has answered nothing and must be free to ask again. The change itself, once carried out, is
recorded as `last_scale_out` or `last_scale_in` with the policy's name as its `cause`: that starts the cooldown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quickstep.model.decision import Step
from quickstep.model.observation import Alarm, AlarmState, Series
from quickstep.model.state import Change, StepMemory, TargetState
from quickstep.model.targets import AdjustmentType, StepAdjustment, StepScalingPolicy
from quickstep.policy.alarm_values import METRIC_DELAY_S, aggregate, alarm_datapoints, breach_of, is_above, number
from quickstep.policy.step_table import adjusted_capacity, base_that_led_to, interval, matching_step, validate_steps
from quickstep.reasons import Reason

__all__ = [
    "StepReadings",
    "adjusted_capacity",
    "matching_step",
    "recommend",
    "validate_steps",
]


@dataclass(frozen=True, slots=True)
class StepReadings:
    """Choices that AAS's documentation does not make, and rules that AAS does not have. Each can be switched."""

    doubled_breach_counts: bool = True
    """Ours: inside a cooldown, where AAS would add nothing, a breach of twice the answered size counts in full."""
    repeat_s: float = 60.0
    """Without a cooldown one breach counts again after so long: CloudWatch repeats scaling actions once per minute."""
    any_activity_blocks_scale_in: bool = False
    """AAS does not say whether other policies' activities hold a policy's scale-in too. False: only its own do."""
    metric_delay_s: float = METRIC_DELAY_S
    """AAS does not say how old a datapoint may be: N periods + this; what is older is no data."""


DEFAULT_READINGS = StepReadings()


def recommend(
    policy: StepScalingPolicy,
    *,
    baseline: int,
    series: Series | None,
    alarms: Mapping[str, Alarm],
    state: TargetState,
    now_s: float,
    min_capacity: int,
    max_capacity: int,
    own_series: Mapping[str, Series | None] | None = None,
    readings: StepReadings = DEFAULT_READINGS,
) -> Step:
    """Return the count that `policy` wants at `now_s`; `baseline` wherever it has nothing to add or to remove.

    `baseline` is what is committed (current + pending). `alarms` are the observed ones by name; their threshold,
    direction and periods are the ones that count. `own_series` holds, by name, what alarms read that look at something
    else than `series`. With `baseline` in [min, max] the result is too. Of several bound
    alarms, one that asks for more outweighs one that asks for less, even while its breach is already answered, and
    one that is in ALARM without data keeps everything. Raises nothing for odd metrics: what is not a finite number
    ≥ 0 is not known.

    Example: metric 47, threshold 20, row [20, ∞): +2, 1 copy → 3 copies.
    """
    look = _Look(policy, baseline, series, state, now_s, min_capacity, max_capacity, readings, own_series or {})
    answers = [look.answer(binding.alarm_name, alarms.get(binding.alarm_name)) for binding in policy.alarms]
    if not answers:
        detail = f"no alarm is bound to step policy {policy.name}; bind one, since the policy itself has no threshold"
        return Step(policy.name, baseline, Reason.NOT_CONFIGURED, detail, {"policy": policy.name})
    return max(answers, key=lambda a: (a.rank, a.step.recommended, a.breach_size)).step


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one alarm makes of the policy; a higher rank outweighs a lower one."""

    rank: int
    step: Step
    breach_size: float = 0.0


_QUIET, _NO_CHANGE, _HELD_IN, _IN, _BLIND, _HELD_OUT, _OUT = range(7)


@dataclass(frozen=True, slots=True)
class _Match:
    """An alarm's breach and the row that it falls in."""

    alarm: Alarm
    newest_s: float
    breach: float
    row: StepAdjustment
    evidence: str
    inputs: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Look:
    """One policy at one moment."""

    policy: StepScalingPolicy
    baseline: int
    series: Series | None
    state: TargetState
    now_s: float
    min_capacity: int
    max_capacity: int
    readings: StepReadings
    own_series: Mapping[str, Series | None]

    def answer(self, name: str, alarm: Alarm | None) -> _Answer:
        inputs: dict[str, object] = {"policy": self.policy.name, "alarm": name}
        if alarm is None or alarm.state is not AlarmState.ALARM:
            found = "was not found" if alarm is None else f"is {alarm.state}"
            return self._keep(_QUIET, Reason.ALARM_NOT_IN_ALARM, f"alarm {name} {found}", inputs)
        series = self.own_series.get(name, self.series)
        points = alarm_datapoints(series, alarm, now_s=self.now_s, metric_delay_s=self.readings.metric_delay_s)
        if not points:
            detail = f"alarm {name} is in ALARM, but none of its latest {alarm.evaluation_periods} datapoints is known"
            return self._keep(_BLIND, Reason.NO_DATA, detail, inputs)
        metric = aggregate([value for _, value in points], self.policy.metric_aggregation)
        breach = breach_of(metric, alarm)
        above = is_above(breach, alarm)
        evidence = f"metric {number(metric)}, threshold {number(alarm.threshold)}, breach {number(breach)}"
        inputs |= {"metric": metric, "threshold": alarm.threshold, "breach": breach, "base": self.baseline, "credit": 0}
        row = matching_step(self.policy.steps, breach, above)
        if row is None:
            return self._keep(_NO_CHANGE, Reason.NO_STEP_MATCHES, f"{evidence}: no step holds it", inputs)
        words = f"{interval(row, above)}: {self._words(row.adjustment)}"
        match = _Match(alarm, points[-1][0], breach, row, f"{evidence}, step {words}", {**inputs, "step": words})
        wanted = adjusted_capacity(self.policy, self.baseline, row.adjustment)
        if wanted > self.baseline:
            return self._scale_out(match)
        if wanted < self.baseline or row.adjustment < 0:
            return self._scale_in(match, wanted)
        return self._keep(_NO_CHANGE, Reason.AT_DESIRED, f"{match.evidence}, which changes nothing", match.inputs)

    def _scale_out(self, match: _Match) -> _Answer:
        if self.baseline >= self.max_capacity:
            detail = f"{match.evidence}; {self.max_capacity} is the most"
            return self._keep(_HELD_OUT, Reason.AT_MAX, detail, match.inputs)
        if self._is_same_datapoint(match):
            return self._keep_same_datapoint(_HELD_OUT, match)
        cooling = self.policy.cooldown_s > 0
        until_s = self._scale_out_cooldown_ends(match) if cooling else self._repeat_ends(match)
        if until_s is None or until_s <= self.now_s:
            return self._out(match, self.baseline)
        larger = cooling and self._is_larger(match)
        if larger:
            base = self.baseline - self._credit(match)
            if adjusted_capacity(self.policy, base, match.row.adjustment) > self.baseline:
                return self._out(match, base)
        if self._is_doubled(match):
            return self._out(match, self.baseline)
        reason = Reason.COOLDOWN_SCALE_OUT if larger else Reason.BREACH_ALREADY_COUNTED
        detail = f"{match.evidence}; counts again in {until_s - self.now_s:.0f} s"
        return self._keep(_HELD_OUT, reason, detail, match.inputs, until_s)

    def _out(self, match: _Match, base: int) -> _Answer:
        wanted = adjusted_capacity(self.policy, base, match.row.adjustment)
        credit, detail = self.baseline - base, match.evidence
        if credit:
            detail += f"; {credit} already added in this cooldown, so {wanted - self.baseline:+d}"
        recommended = min(wanted, self.max_capacity)
        if recommended < wanted:
            detail += f"; {self.max_capacity} is the most"
        return self._change(_OUT, recommended, detail, {**match.inputs, "base": base, "credit": credit}, match)

    def _scale_in(self, match: _Match, wanted: int) -> _Answer:
        recommended = max(wanted, min(self.min_capacity, self.baseline))
        if recommended >= self.baseline:
            detail = f"{match.evidence}; {self.min_capacity} is the least"
            return self._keep(_HELD_IN, Reason.AT_MIN, detail, match.inputs)
        if self._is_same_datapoint(match):
            return self._keep_same_datapoint(_HELD_IN, match)
        cooling = self.policy.cooldown_s > 0
        until_s = self._scale_in_cooldown_ends(match) if cooling else self._repeat_ends(match)
        if until_s is not None and until_s > self.now_s:
            reason = Reason.COOLDOWN_SCALE_IN if cooling else Reason.BREACH_ALREADY_COUNTED
            detail = f"{match.evidence}; waits {until_s - self.now_s:.0f} s more"
            return self._keep(_HELD_IN, reason, detail, match.inputs, until_s)
        detail = match.evidence + (f"; {self.min_capacity} is the least" if recommended > wanted else "")
        return self._change(_IN, recommended, detail, match.inputs, match)

    # What this policy has already done, and until when that holds.

    def _scale_out_cooldown_ends(self, match: _Match) -> float | None:
        last, answered, row = self._own(self.state.last_scale_out), self._answered, self._answered_row(match)
        starts = [last.at_s] if last is not None else []
        # A row that removed starts no scale-out cooldown: AAS scales out at once.
        if answered is not None and row is not None and row.adjustment >= 0:
            starts.append(answered.acted_at_s)
        return max(starts) + self.policy.cooldown_s if starts else None

    def _scale_in_cooldown_ends(self, match: _Match) -> float | None:
        last_out, last_in = self.state.last_scale_out, self.state.last_scale_in
        if not self.readings.any_activity_blocks_scale_in:
            last_out, last_in = self._own(last_out), self._own(last_in)
        starts = [last_out.at_s] if last_out is not None else []
        if last_in is not None and not self._is_interrupted(last_in.at_s):
            starts.append(last_in.at_s)
        answered, row = self._answered, self._answered_row(match)
        removed = row is not None and row.adjustment < 0
        if answered is not None and not (removed and self._is_interrupted(answered.acted_at_s)):
            starts.append(answered.acted_at_s)
        return max(starts) + self.policy.cooldown_s if starts else None

    def _is_interrupted(self, scale_in_at_s: float) -> bool:
        """AAS: a scale-out, whoever asked for it, stops a scale-in's cooldown."""
        last_out = self.state.last_scale_out
        return last_out is not None and last_out.at_s > scale_in_at_s

    def _repeat_ends(self, match: _Match) -> float | None:
        answered = self._answered
        if answered is None or not self._is_same_side(match, answered):
            return None
        # A new transition to ALARM is a new breach: CloudWatch acts on it at once.
        fresh = match.alarm.since_s > answered.acted_at_s
        return None if fresh else answered.acted_at_s + self.readings.repeat_s

    def _credit(self, match: _Match) -> int:
        """How much of the baseline this policy has added since its cooldown began.

        `last_scale_out` holds the newest activity only (+2, then +1); the row answered last says what they came to
        (+3). So look for the count from which that row leads to where the last scale-out ended.
        """
        last, row = self._own(self.state.last_scale_out), self._answered_row(match)
        if last is not None and self.now_s - last.at_s >= self.policy.cooldown_s:
            last = None
        before, after = (last.before, last.after) if last is not None else (self.baseline, self.baseline)
        if row is not None and row.adjustment > 0:
            led = base_that_led_to(self.policy, after, row.adjustment, at_most=before)
            before = before if led is None else led
        return min(after - before, self.baseline)

    def _is_larger(self, match: _Match) -> bool:
        row = self._answered_row(match)
        return row is None or match.row.adjustment > row.adjustment

    def _is_doubled(self, match: _Match) -> bool:
        answered = self._answered
        if answered is None or not self.readings.doubled_breach_counts or not self._is_same_side(match, answered):
            return False
        return abs(match.breach) > abs(answered.breach) and abs(match.breach) >= 2 * abs(answered.breach)

    def _is_same_datapoint(self, match: _Match) -> bool:
        answered = self._answered
        return answered is not None and self._is_same_side(match, answered) and match.newest_s <= answered.datapoint_s

    def _is_same_side(self, match: _Match, answered: StepMemory) -> bool:
        return is_above(match.breach, match.alarm) == is_above(answered.breach, match.alarm)

    @property
    def _answered(self) -> StepMemory | None:
        return self.state.step_memory.get(self.policy.name)

    def _answered_row(self, match: _Match) -> StepAdjustment | None:
        """The row that was answered in the running cooldown; None if there was none, or the table has changed."""
        answered = self._answered
        if answered is None or self.now_s - answered.acted_at_s >= self.policy.cooldown_s:
            return None
        return matching_step(self.policy.steps, answered.breach, is_above(answered.breach, match.alarm))

    def _own(self, change: Change | None) -> Change | None:
        return change if change is not None and change.cause == self.policy.name else None

    # Answers.

    def _words(self, adjustment: int) -> str:
        if self.policy.adjustment_type is AdjustmentType.EXACT_CAPACITY:
            return f"={adjustment}"
        percent = " %" if self.policy.adjustment_type is AdjustmentType.PERCENT_CHANGE_IN_CAPACITY else ""
        return f"{adjustment:+d}{percent}"

    def _change(self, rank: int, recommended: int, detail: str, inputs: Mapping[str, object], match: _Match) -> _Answer:
        memory = StepMemory(datapoint_s=match.newest_s, breach=match.breach, acted_at_s=self.now_s)
        wait_s = self.policy.cooldown_s if self.policy.cooldown_s > 0 else self.readings.repeat_s
        step = Step(
            self.policy.name,
            recommended,
            Reason.STEP_ADJUSTMENT,
            detail,
            inputs,
            look_again_at_s=self.now_s + wait_s,
            memory={"step_memory": {self.policy.name: memory}},
        )
        return _Answer(rank, step, abs(match.breach))

    def _keep_same_datapoint(self, rank: int, match: _Match) -> _Answer:
        detail = f"{match.evidence}; this datapoint was already answered"
        return self._keep(rank, Reason.BREACH_ALREADY_COUNTED, detail, match.inputs)

    def _keep(
        self, rank: int, reason: Reason, detail: str, inputs: Mapping[str, object], until_s: float | None = None
    ) -> _Answer:
        return _Answer(rank, Step(self.policy.name, self.baseline, reason, detail, inputs, look_again_at_s=until_s))
