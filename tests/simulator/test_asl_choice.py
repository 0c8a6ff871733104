"""Choice rules: every comparison of the language, its negative, and the three ways of missing."""

from __future__ import annotations

import pytest

from simulator.aws.asl_choice import compile_rule, parse_timestamp
from simulator.aws.asl_path import NotAllowed, StateFault

DATA = {
    "word": "WAIT",
    "other": "WAIT",
    "star": "a*b",
    "n": 10,
    "m": 10.0,
    "yes": True,
    "nothing": None,
    "early": "2026-01-01T00:00:00Z",
    "same": "2026-01-01T01:00:00+01:00",
}

# rule without Variable, variable, does it match?
TABLE = [
    ({"StringEquals": "WAIT"}, "word", True),
    ({"StringEquals": "wait"}, "word", False),
    ({"StringEquals": "10"}, "n", False),  # another type never matches
    ({"StringEqualsPath": "$.other"}, "word", True),
    ({"StringLessThan": "WAIU"}, "word", True),
    ({"StringLessThan": "WAIT"}, "word", False),
    ({"StringGreaterThan": "WAIS"}, "word", True),
    ({"StringLessThanEquals": "WAIT"}, "word", True),
    ({"StringGreaterThanEquals": "WAIU"}, "word", False),
    ({"StringMatches": "W*T"}, "word", True),
    ({"StringMatches": "W*"}, "word", True),
    ({"StringMatches": "*A"}, "word", False),
    ({"StringMatches": "W.IT"}, "word", False),  # no regular expression
    ({"StringMatches": r"a\*b"}, "star", True),
    ({"StringMatches": r"W\*T"}, "word", False),
    ({"NumericEquals": 10}, "m", True),
    ({"NumericEquals": 1}, "yes", False),  # true is no number
    ({"NumericLessThan": 10}, "n", False),
    ({"NumericLessThanEquals": 10}, "n", True),
    ({"NumericGreaterThan": 9.5}, "n", True),
    ({"NumericGreaterThanEqualsPath": "$.m"}, "n", True),
    ({"BooleanEquals": True}, "yes", True),
    ({"BooleanEquals": True}, "n", False),
    ({"TimestampEquals": "2026-01-01T00:00:00.000Z"}, "early", True),
    ({"TimestampEqualsPath": "$.same"}, "early", True),
    ({"TimestampLessThan": "2026-01-01T00:00:00Z"}, "early", False),
    ({"TimestampGreaterThan": "2025-12-31T23:59:59Z"}, "early", True),
    ({"TimestampEquals": "2026-01-01T00:00:00Z"}, "word", False),
    ({"IsPresent": True}, "word", True),
    ({"IsPresent": True}, "absent", False),
    ({"IsPresent": False}, "absent", True),
    ({"IsPresent": True}, "nothing", True),
    ({"IsNull": True}, "nothing", True),
    ({"IsNull": False}, "word", True),
    ({"IsString": True}, "word", True),
    ({"IsNumeric": True}, "n", True),
    ({"IsNumeric": True}, "yes", False),
    ({"IsBoolean": True}, "yes", True),
    ({"IsTimestamp": True}, "early", True),
    ({"IsTimestamp": True}, "word", False),
]


@pytest.mark.parametrize(("rule", "variable", "matches"), TABLE)
def test_a_comparison_matches_exactly_when_the_language_says_so(rule, variable, matches):
    compiled = compile_rule({"Variable": f"$.{variable}", **rule, "Next": "X"})
    assert compiled(DATA, dict) is matches
    assert compile_rule({"Not": {"Variable": f"$.{variable}", **rule}})(DATA, dict) is not matches


def test_and_or_and_not_combine_rules():
    word, number = {"Variable": "$.word", "StringEquals": "WAIT"}, {"Variable": "$.n", "NumericEquals": 3}
    assert compile_rule({"Or": [number, word], "Next": "X"})(DATA, dict)
    assert not compile_rule({"And": [word, number], "Next": "X"})(DATA, dict)
    assert compile_rule({"And": [word, {"Not": number}], "Next": "X"})(DATA, dict)


@pytest.mark.parametrize("rule", [{"StringEquals": "x"}, {"IsNull": True}, {"StringEqualsPath": "$.word"}])
def test_comparing_what_is_not_there_is_a_runtime_error(rule):
    with pytest.raises(StateFault) as refusal:
        compile_rule({"Variable": "$.absent", **rule, "Next": "X"})(DATA, dict)
    assert refusal.value.error == "States.Runtime"
    expected = "Invalid path '$.absent': The choice state's condition path references an invalid value."
    assert refusal.value.cause == expected


@pytest.mark.parametrize(
    "rule",
    [
        {"Variable": "$.a"},
        {"StringEquals": "x"},
        {"Variable": "$.a", "StringEquals": "x", "IsNull": True},
        {"Variable": "$.a", "StringEquals": 1},
        {"Variable": "$.a", "NumericEquals": True},
        {"Variable": "$.a", "TimestampEquals": "yesterday"},
        {"Variable": "$.a", "IsNull": "yes"},
        {"Variable": "$.a", "BooleanLessThan": True},
        {"Variable": "$.a", "StringContains": "x"},
        {"Variable": "a", "StringEquals": "x"},
        {"And": []},
        {"Not": 1},
    ],
)
def test_a_rule_that_is_no_rule_is_refused(rule):
    with pytest.raises(NotAllowed):
        compile_rule(rule)


@pytest.mark.parametrize(
    "text", ["2026-01-01", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", 5]
)
def test_a_timestamp_needs_a_capital_t_a_zone_and_a_real_date(text):
    assert parse_timestamp(text) is None
