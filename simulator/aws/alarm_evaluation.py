"""When a CloudWatch metric alarm changes state: M out of N datapoints, with some of them missing.

Follows the CloudWatch User Guide, "How alarm state is evaluated when data is missing" and "Avoiding premature
transitions to alarm state". CloudWatch reads an *evaluation range* longer than the N evaluation periods:

1. with at least N real datapoints in the range, the N newest real ones count and TreatMissingData is not asked;
2. with fewer, every real one counts and TreatMissingData stands in for as few as possible;
3. if all real ones breach and the oldest of them is at least DatapointsToAlarm periods old, the alarm goes off even
   though fewer than M are there (`- - X - -` with M = 3; not yet `- - - X -`). `ignore` keeps the state instead.

Where the guide is silent the choice is named: with `ignore`, breaching datapoints too few and too young for ALARM keep
the state (a breach never turns an alarm OK); with `missing`, they leave it OK.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class AlarmState(StrEnum):
    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
TREATMENTS = ("breaching", "notBreaching", "ignore", "missing")


@dataclass(frozen=True)
class AlarmRule:
    """What decides about an alarm's state; `threshold` is in the metric's own unit."""

    evaluation_periods: int
    datapoints_to_alarm: int
    threshold: float
    comparison: str
    treat_missing_data: str = "missing"

    def breaches(self, value: float) -> bool:
        """Whether one datapoint is beyond the threshold."""
        return COMPARISONS[self.comparison](value, self.threshold)


@dataclass(frozen=True)
class Verdict:
    """The state an evaluation came to.

    `counted` are the positions, in the given range, of the real datapoints that took part, oldest first; `breaching` is
    how many of those breach; `filled` how many periods TreatMissingData stood in for.
    """

    state: AlarmState
    counted: tuple[int, ...]
    breaching: int
    filled: int


def evaluate(values: Sequence[float | None], rule: AlarmRule, current: AlarmState) -> Verdict:
    """The alarm's state after reading one evaluation range.

    `values` hold one entry per period, oldest first, None where no datapoint is known; there are at least
    `rule.evaluation_periods` of them. `current` is what `ignore` keeps.
    """
    real = [position for position, value in enumerate(values) if value is not None]
    counted = tuple(real[-rule.evaluation_periods :])
    breaching = sum(1 for position in counted if rule.breaches(values[position]))  # type: ignore[arg-type]
    filled = rule.evaluation_periods - len(counted)

    def verdict(state: AlarmState) -> Verdict:
        return Verdict(state, counted, breaching, filled)

    if breaching >= rule.datapoints_to_alarm:
        return verdict(AlarmState.ALARM)
    if filled == 0 or rule.treat_missing_data == "notBreaching":
        return verdict(AlarmState.OK)
    if rule.treat_missing_data == "breaching":
        goes_off = breaching + filled >= rule.datapoints_to_alarm
        return verdict(AlarmState.ALARM if goes_off else AlarmState.OK)
    if breaching < len(counted):
        return verdict(AlarmState.OK)
    if rule.treat_missing_data == "ignore":
        return verdict(current)
    if not counted:
        return verdict(AlarmState.INSUFFICIENT_DATA)
    periods_since_oldest = len(values) - counted[0]
    old_enough = periods_since_oldest >= rule.datapoints_to_alarm
    return verdict(AlarmState.ALARM if old_enough else AlarmState.OK)
