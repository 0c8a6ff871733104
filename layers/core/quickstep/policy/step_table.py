"""The table of a step policy: which row a breach falls in, what a row does to a count, and which tables are allowed.

The rules are Application Auto Scaling's (user guide, "How step scaling works"; botocore model `StepAdjustment`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from quickstep.errors import InvalidPolicy
from quickstep.model.targets import AdjustmentType, StepAdjustment, StepScalingPolicy
from quickstep.policy.alarm_values import number

MAX_STEPS = 20
"""AAS quota: step adjustments per policy."""


def adjusted_capacity(policy: StepScalingPolicy, base: int, adjustment: int) -> int:
    """Capacity after `adjustment` is applied to `base` (both in copies or instances; a percentage for percent types).

    AAS rounding of a percentage: 12.7 → 12, 0.67 → 1, −0.58 → −1, −6.67 → −6. `MinAdjustmentMagnitude` widens
    percentages only, and never turns a row of 0 % into a change. Never below 0.
    """
    if policy.adjustment_type is AdjustmentType.EXACT_CAPACITY:
        return max(0, adjustment)
    if policy.adjustment_type is AdjustmentType.CHANGE_IN_CAPACITY:
        return max(0, base + adjustment)
    if adjustment == 0:
        return base
    hundredths = abs(base * adjustment)
    amount = max(hundredths // 100, min(hundredths, 1), policy.min_adjustment_magnitude)
    return max(0, base + amount if adjustment > 0 else base - amount)


def base_that_led_to(policy: StepScalingPolicy, after: int, adjustment: int, *, at_most: int) -> int | None:
    """The largest count up to `at_most` that a positive `adjustment` leads to exactly `after`; None if there is none."""
    index = bisect_right(range(at_most + 1), after, key=lambda base: adjusted_capacity(policy, base, adjustment)) - 1
    return index if index >= 0 and adjusted_capacity(policy, index, adjustment) == after else None


def matching_step(steps: Sequence[StepAdjustment], breach: float, above: bool) -> StepAdjustment | None:
    """Return the row whose interval holds `breach` (metric − threshold), None if there is none.

    `above`: the metric is above the threshold, so intervals are [lower, upper); otherwise they are (lower, upper].
    """
    for step in steps:
        lower = -math.inf if step.lower is None else step.lower
        upper = math.inf if step.upper is None else step.upper
        if (lower <= breach < upper) if above else (lower < breach <= upper):
            return step
    return None


def validate_steps(
    steps: Sequence[StepAdjustment], adjustment_type: AdjustmentType, *, min_adjustment_magnitude: int = 0
) -> None:
    """Raise `InvalidPolicy` unless AAS would accept this table; the order of the rows does not matter.

    Not allowed: no row, more than 20, a row from −∞ to +∞, gaps, overlaps, a negative lower bound without a row that
    reaches to −∞, a positive upper bound without one that reaches to +∞, a negative exact capacity.
    """
    if not steps:
        raise InvalidPolicy("StepAdjustments is empty; give at least one step")
    if len(steps) > MAX_STEPS:
        raise InvalidPolicy(f"StepAdjustments has {len(steps)} steps; at most {MAX_STEPS} are allowed: join some")
    if min_adjustment_magnitude < 0:
        raise InvalidPolicy(f"MinAdjustmentMagnitude is {min_adjustment_magnitude}; it must be 0 or more")
    for step in steps:
        _validate_row(step, adjustment_type)
    _validate_ends(steps)
    ordered = sorted(steps, key=lambda s: -math.inf if s.lower is None else s.lower)
    for one, other in zip(ordered, ordered[1:], strict=False):
        if one.upper is None or other.lower is None or one.upper > other.lower:
            raise InvalidPolicy(f"steps {_span(one)} and {_span(other)} overlap; let one end where the other begins")
        if one.upper < other.lower:
            raise InvalidPolicy(
                f"steps {_span(one)} and {_span(other)} leave a gap from {number(one.upper)} to {number(other.lower)}; "
                "let one end where the other begins (an adjustment of 0 changes nothing)"
            )


def interval(step: StepAdjustment, above: bool) -> str:
    """The row's interval as it is matched: `[20, ∞)` above the threshold, `(-∞, -20]` below it."""
    lower, upper = _ends(step)
    opening = "[" if above and step.lower is not None else "("
    closing = "]" if not above and step.upper is not None else ")"
    return f"{opening}{lower}, {upper}{closing}"


def _span(step: StepAdjustment) -> str:
    return "{} to {}".format(*_ends(step))


def _ends(step: StepAdjustment) -> tuple[str, str]:
    return (
        "-∞" if step.lower is None else number(step.lower),
        "∞" if step.upper is None else number(step.upper),
    )


def _validate_row(step: StepAdjustment, adjustment_type: AdjustmentType) -> None:
    for name, bound in (("MetricIntervalLowerBound", step.lower), ("MetricIntervalUpperBound", step.upper)):
        if bound is not None and not math.isfinite(bound):
            raise InvalidPolicy(f"{name} is {bound}; it must be a number: leave it out for infinity")
    if step.lower is None and step.upper is None:
        raise InvalidPolicy(
            f"the step with ScalingAdjustment {step.adjustment} has neither MetricIntervalLowerBound nor "
            "MetricIntervalUpperBound; give one of them (0 is the threshold itself)"
        )
    if step.lower is not None and step.upper is not None and step.lower >= step.upper:
        raise InvalidPolicy(
            f"MetricIntervalUpperBound ({number(step.upper)}) must be greater than MetricIntervalLowerBound "
            f"({number(step.lower)}); exchange or correct them"
        )
    if adjustment_type is AdjustmentType.EXACT_CAPACITY and step.adjustment < 0:
        raise InvalidPolicy(f"ScalingAdjustment is {step.adjustment}; with ExactCapacity it must be 0 or more")


def _validate_ends(steps: Sequence[StepAdjustment]) -> None:
    lowers, uppers = [s.lower for s in steps], [s.upper for s in steps]
    for name, bounds, end in (("Lower", lowers, "-∞"), ("Upper", uppers, "∞")):
        open_ended = bounds.count(None)
        if open_ended > 1:
            raise InvalidPolicy(f"{open_ended} steps have no MetricInterval{name}Bound; only one may reach to {end}")
    lowest, highest = min(b for b in [0.0, *lowers] if b is not None), max(b for b in [0.0, *uppers] if b is not None)
    if lowest < 0 and None not in lowers:
        raise InvalidPolicy(
            f"MetricIntervalLowerBound {number(lowest)} is negative, but no step reaches to -∞; leave the lowest "
            "step's MetricIntervalLowerBound out, or add a step below it"
        )
    if highest > 0 and None not in uppers:
        raise InvalidPolicy(
            f"MetricIntervalUpperBound {number(highest)} is positive, but no step reaches to ∞; leave the highest "
            "step's MetricIntervalUpperBound out, or add a step above it"
        )
