"""Alarm states from datapoints: CloudWatch's documented table, and what follows from its rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.aws.alarm_evaluation import TREATMENTS, AlarmRule, AlarmState, evaluate
from tests.oracle.documented_table import COLUMNS, DOCUMENTED

OK, ALARM, NONE = AlarmState.OK, AlarmState.ALARM, AlarmState.INSUFFICIENT_DATA


def values(marks: str) -> list[float | None]:
    return [{"0": 5.0, "X": 30.0, "-": None}[mark] for mark in marks]


def rule(n: int, m: int, treatment: str = "missing", comparison: str = "GreaterThanThreshold") -> AlarmRule:
    return AlarmRule(n, m, 20.0, comparison, treatment)


def state_of(marks: str, n: int, m: int, treatment: str, current: AlarmState = OK) -> AlarmState:
    return evaluate(values(marks), rule(n, m, treatment), current).state


ROWS = [
    (marks, m, treatment, expected)
    for marks, m, *states in DOCUMENTED
    for treatment, expected in zip(COLUMNS, states, strict=True)
]


@pytest.mark.parametrize(("marks", "m", "treatment", "expected"), ROWS)
def test_the_documented_table_holds_cell_by_cell(marks, m, treatment, expected):
    for current in AlarmState:
        wanted = current if expected == "K" else AlarmState(expected)
        assert state_of(marks, 3, m, treatment, current) is wanted


# series (oldest first), N, M, treatment, state before, state after
BEYOND_THE_TABLE = [
    ("---X-", 3, 3, "missing", OK, OK),  # guide: not yet, the next datapoint may be fine
    ("----X", 3, 3, "missing", OK, OK),
    ("X----", 3, 3, "missing", OK, ALARM),  # "at least as old as"
    ("----X", 3, 3, "ignore", ALARM, ALARM),  # a breach never turns an alarm OK
    ("----X", 3, 3, "ignore", OK, OK),
    ("----X", 3, 3, "breaching", OK, ALARM),
    ("----X", 3, 3, "notBreaching", ALARM, OK),
    ("XX000", 3, 2, "missing", ALARM, OK),  # older than N: not looked at
    ("XX-00", 3, 2, "missing", OK, OK),  # three real ones are enough: X00
    ("X-X-X", 3, 3, "notBreaching", OK, ALARM),  # enough real ones: the treatment is not asked
    ("--X", 1, 1, "notBreaching", OK, ALARM),
    ("X--", 1, 1, "notBreaching", OK, ALARM),  # one real datapoint in the range is enough for N = 1
    ("---", 1, 1, "notBreaching", ALARM, OK),
]


@pytest.mark.parametrize(("marks", "n", "m", "treatment", "before", "after"), BEYOND_THE_TABLE)
def test_cases_between_the_rows_follow_the_guide_s_text(marks, n, m, treatment, before, after):
    assert state_of(marks, n, m, treatment, before) is after


@pytest.mark.parametrize(
    ("comparison", "value", "breaches"),
    [
        ("GreaterThanThreshold", 20.0, False),
        ("GreaterThanOrEqualToThreshold", 20.0, True),
        ("LessThanThreshold", 20.0, False),
        ("LessThanOrEqualToThreshold", 20.0, True),
        ("LessThanThreshold", 0.0, True),  # zero is a value, not a gap
    ],
)
def test_each_comparison_treats_the_threshold_itself_as_named(comparison, value, breaches):
    state = evaluate([value] * 3, rule(1, 1, comparison=comparison), OK).state
    assert (state is ALARM) is breaches


def test_a_verdict_names_the_datapoints_it_counted():
    verdict = evaluate(values("X0-XX"), rule(3, 2), OK)
    assert (verdict.counted, verdict.breaching, verdict.filled) == ((1, 3, 4), 2, 0)


RULES = st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n), st.sampled_from(TREATMENTS)))


@given(RULES, st.text("0X", min_size=6, max_size=9), st.sampled_from(list(AlarmState)))
def test_without_gaps_the_newest_n_alone_decide_whatever_the_treatment(shape, marks, before):
    n, m, treatment = shape
    breaching = marks[-n:].count("X")
    assert state_of(marks, n, m, treatment, before) is (ALARM if breaching >= m else OK)


@given(RULES, st.text("0X-", min_size=6, max_size=9), st.sampled_from(list(AlarmState)))
def test_only_missing_can_end_in_insufficient_data_and_only_with_no_datapoint_at_all(shape, marks, before):
    n, m, treatment = shape
    after = state_of(marks, n, m, treatment, before)
    if after is NONE:
        assert (treatment == "missing" and set(marks) == {"-"}) or (treatment == "ignore" and before is NONE)


@given(RULES, st.text("0X-", min_size=6, max_size=9), st.sampled_from(list(AlarmState)))
def test_turning_a_datapoint_into_a_breach_never_ends_an_alarm(shape, marks, before):
    n, m, treatment = shape
    if state_of(marks, n, m, treatment, before) is ALARM and "0" in marks:
        assert state_of(marks.replace("0", "X", 1), n, m, treatment, before) is ALARM
