"""The step table: rounding, bounds and what makes a table valid, as Application Auto Scaling documents them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickstep.errors import InvalidPolicy
from quickstep.model.targets import AdjustmentType, StepAdjustment, StepScalingPolicy
from quickstep.policy.step_table import (
    adjusted_capacity,
    base_that_led_to,
    interval,
    matching_step,
    validate_steps,
)

CHANGE = AdjustmentType.CHANGE_IN_CAPACITY
PERCENT = AdjustmentType.PERCENT_CHANGE_IN_CAPACITY
EXACT = AdjustmentType.EXACT_CAPACITY

# AWS's notebook for SageMaker step scaling: out above the threshold, in below it.
NOTEBOOK_OUT = ((0, 20, 1), (20, None, 2))
NOTEBOOK_IN = ((-20, 0, -1), (None, -20, -2))


def rows(*table):
    return tuple(StepAdjustment(*row) for row in table)


def policy(kind, magnitude=0):
    return StepScalingPolicy("p", kind, rows((0, None, 1)), (), 300.0, magnitude)


# --- what a row does to a count ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "base", "adjustment", "magnitude", "want"),
    [
        (CHANGE, 3, 5, 0, 8),  # user guide
        (EXACT, 3, 5, 0, 5),  # user guide
        (PERCENT, 10, 10, 0, 11),  # user guide
        (PERCENT, 10, 14, 0, 11),  # 1.4 → 1
        (PERCENT, 10, 200, 0, 30),
        (PERCENT, 4, 25, 2, 6),  # user guide: 25 % of 4 is 1, the least is 2
        (PERCENT, 100, 127, 0, 227),
        (PERCENT, 127, 10, 0, 139),  # 12.7 → 12
        (PERCENT, 67, 1, 0, 68),  # 0.67 → 1
        (PERCENT, 58, -1, 0, 57),  # −0.58 → −1
        (PERCENT, 667, -1, 0, 661),  # −6.67 → −6
        (PERCENT, 11, 30, 0, 14),  # user guide: 3.3 → 3
        (PERCENT, 14, -10, 0, 13),  # user guide: −1.4 → −1
        (PERCENT, 13, -30, 0, 10),  # user guide: −3.9 → −3
        (PERCENT, 100, 1, 0, 101),  # exactly one
        (PERCENT, 200, 1, 0, 202),  # exactly two
        (PERCENT, 4, -25, 2, 2),
        (PERCENT, 4, 0, 2, 4),  # a row of 0 % stays a row of 0 %
        (PERCENT, 0, 50, 0, 0),
        (PERCENT, 0, 50, 2, 2),
        (PERCENT, 3, -100, 0, 0),
        (PERCENT, 3, -250, 0, 0),
        (CHANGE, 2, -5, 0, 0),
        (CHANGE, 4, 1, 3, 5),  # the magnitude is for percentages only
        (EXACT, 7, 0, 0, 0),
    ],
)
def test_a_count_is_adjusted_as_aas_documents(kind, base, adjustment, magnitude, want):
    assert adjusted_capacity(policy(kind, magnitude), base, adjustment) == want


@given(base=st.integers(0, 10_000), percent=st.integers(-300, 300).filter(bool))
def test_a_percentage_is_rounded_toward_zero_but_moves_at_least_one(base, percent):
    moved = abs(adjusted_capacity(policy(PERCENT), base, percent) - base)
    exact = min(abs(base * percent) / 100, base) if percent < 0 else abs(base * percent) / 100
    assert moved == (min(1, base) if 0 < exact < 1 else math.floor(exact))


@pytest.mark.parametrize(
    ("kind", "after", "adjustment", "at_most", "want"),
    [
        (CHANGE, 13, 3, 12, 10),
        (CHANGE, 13, 3, 10, 10),
        (CHANGE, 13, 3, 9, None),
        (CHANGE, 2, 3, 12, None),
        (PERCENT, 13, 30, 12, 10),
        (PERCENT, 7, 100, 12, None),  # twice nothing is 7
        (PERCENT, 8, 100, 3, None),
    ],
)
def test_the_count_that_a_step_began_with_is_found_again(kind, after, adjustment, at_most, want):
    assert base_that_led_to(policy(kind), after, adjustment, at_most=at_most) == want


# --- which row ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("breach", "above", "want"),
    [
        (0, True, 0),  # lower inclusive above the threshold
        (9.999, True, 0),
        (10, True, 10),  # upper exclusive: 60 with a threshold of 50 is already the second row
        (20, True, 30),
        (1e12, True, 30),
        (-1, True, None),
    ],
)
def test_above_the_threshold_the_lower_bound_is_inclusive(breach, above, want):
    step = matching_step(rows((0, 10, 0), (10, 20, 10), (20, None, 30)), breach, above)
    assert (step.adjustment if step else None) == want


@pytest.mark.parametrize(
    ("breach", "want"),
    [
        (0, 0),  # upper inclusive below the threshold
        (-9.999, 0),
        (-10, -10),  # lower exclusive: 40 with a threshold of 50 is already the second row
        (-19.999, -10),
        (-20, -30),
        (-1e12, -30),
        (1, None),
    ],
)
def test_below_the_threshold_the_upper_bound_is_inclusive(breach, want):
    step = matching_step(rows((-10, 0, 0), (-20, -10, -10), (None, -20, -30)), breach, above=False)
    assert (step.adjustment if step else None) == want


@pytest.mark.parametrize(
    ("row", "above", "words"),
    [
        ((0, 20, 1), True, "[0, 20)"),
        ((20, None, 1), True, "[20, ∞)"),
        ((None, 20, 1), True, "(-∞, 20)"),
        ((-20, 0, 1), False, "(-20, 0]"),
        ((None, -20.5, 1), False, "(-∞, -20.5]"),
        ((5, None, 1), False, "(5, ∞)"),
    ],
)
def test_an_interval_is_written_with_the_brackets_that_it_is_matched_by(row, above, words):
    assert interval(StepAdjustment(*row), above) == words


# --- which tables are allowed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (NOTEBOOK_OUT, CHANGE),
        (NOTEBOOK_IN, CHANGE),
        (tuple(reversed(NOTEBOOK_OUT)), CHANGE),
        (((None, -10, -2), (-10, 0, -1), (0, 10, 1), (10, None, 2)), CHANGE),
        (((0, None, 25),), PERCENT),
        (((None, 0, 0),), EXACT),
        (((5, None, 1),), CHANGE),  # nothing says that a table begins at the threshold
        (((-10, 0, -1), (None, -10, -2)), CHANGE),
        (tuple((i, i + 1 if i < 19 else None, i) for i in range(20)), CHANGE),
    ],
)
def test_tables_that_aas_allows(table, kind):
    validate_steps(rows(*table), kind)


@pytest.mark.parametrize(
    ("table", "kind", "words"),
    [
        ((), CHANGE, "StepAdjustments is empty"),
        (tuple((i, i + 1 if i < 20 else None, i) for i in range(21)), CHANGE, "has 21 steps; at most 20"),
        (((None, None, 1),), CHANGE, "neither MetricIntervalLowerBound nor MetricIntervalUpperBound"),
        (((0, 10, 1), (15, None, 2)), CHANGE, "0 to 10 and 15 to ∞ leave a gap from 10 to 15"),
        (((0, 10, 1), (5, None, 2)), CHANGE, "0 to 10 and 5 to ∞ overlap"),
        (((None, 10, 1), (5, None, 2)), CHANGE, "-∞ to 10 and 5 to ∞ overlap"),
        (((0, None, 1), (5, None, 2)), CHANGE, "2 steps have no MetricIntervalUpperBound"),
        (((None, 0, -1), (None, -5, -2)), CHANGE, "2 steps have no MetricIntervalLowerBound"),
        (((0, None, 1), (10, 20, 2)), CHANGE, "overlap"),
        (((-20, 0, -1),), CHANGE, "MetricIntervalLowerBound -20 is negative, but no step reaches to -∞"),
        (((0, 20, 1),), CHANGE, "MetricIntervalUpperBound 20 is positive, but no step reaches to ∞"),
        (
            ((10, 10, 1), (10, None, 1)),
            CHANGE,
            r"UpperBound \(10\) must be greater than MetricIntervalLowerBound \(10\)",
        ),
        (((20, 10, 1),), CHANGE, "must be greater"),
        (((0, None, -1),), EXACT, "ScalingAdjustment is -1; with ExactCapacity it must be 0 or more"),
        (((0, float("inf"), 1),), CHANGE, "MetricIntervalUpperBound is inf"),
        (((float("nan"), None, 1),), CHANGE, "MetricIntervalLowerBound is nan"),
    ],
)
def test_tables_that_aas_refuses(table, kind, words):
    with pytest.raises(InvalidPolicy, match=words):
        validate_steps(rows(*table), kind)


def test_a_negative_magnitude_is_refused():
    with pytest.raises(InvalidPolicy, match="MinAdjustmentMagnitude is -1; it must be 0 or more"):
        validate_steps(rows((0, None, 1)), PERCENT, min_adjustment_magnitude=-1)


@given(st.floats(-1000, 1000), st.booleans())
def test_an_allowed_table_over_everything_has_a_row_for_every_breach(breach, above):
    table = rows((None, -10, -2), (-10, 0, -1), (0, 10, 1), (10, None, 2))
    validate_steps(table, CHANGE)
    assert matching_step(table, breach, above) is not None
