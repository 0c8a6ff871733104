"""Logs Insights queries and dashboard searches, as far as the stack uses them: tables after the user guide's own wording."""

from __future__ import annotations

import pytest

from simulator.aws.log_queries import Event, QueryError, run_query, source_of
from simulator.aws.metric_search import parse_search
from simulator.aws.metric_store import MetricStore, Sample, series_key
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

LINES = [
    Event(
        60.0,
        {
            "message": "decision",
            "decision": {"target": "a", "desired": 2, "reason": "Demand", "steps": [{"stage": "x"}]},
        },
    ),
    Event(90.0, {"message": "decision", "decision": {"target": "a", "desired": 5, "reason": "Demand"}}),
    Event(130.0, {"message": "decision", "decision": {"target": "b", "desired": 1, "reason": "AtMin", "cost": None}}),
    Event(150.0, {"message": "note", "level": "WARNING", "text": "a | b"}),
]

# query, the values of the rows
QUERIES = [
    ("fields decision.target | filter message = 'decision'", [("a",), ("a",), ("b",)]),
    ('fields decision.target | filter message = "note" or decision.desired > 4', [("a",), (None,)]),
    ("fields @timestamp | filter not message = 'decision'", [(150.0,)]),
    ("fields @timestamp | filter decision.desired >= 2 and decision.desired < 5", [(60.0,)]),
    ("fields @timestamp | filter decision.reason in ['AtMin', 'Other']", [(130.0,)]),
    ("fields @timestamp | filter decision.reason not in ['Demand']", [(130.0,), (150.0,)]),
    ("fields @timestamp | filter ispresent(level)", [(150.0,)]),
    ("fields @timestamp | filter text = 'a | b'", [(150.0,)]),
    ("fields decision.steps.0.stage | filter decision.desired = 2", [("x",)]),
    ("fields @timestamp | filter message != 'decision' and (level = 'WARNING' or level = 'ERROR')", [(150.0,)]),
    ("stats count(*) as n by decision.reason | sort n desc", [("Demand", 2), ("AtMin", 1), (None, 1)]),
    ("stats latest(decision.desired) as last, earliest(decision.desired) as first by decision.target | sort decision.target asc | limit 1", [("a", 5, 2)]),
    ("stats max(decision.desired), min(decision.desired), avg(decision.desired), sum(decision.desired)", [(5, 1, 8 / 3, 8)]),
    ("stats count(decision.cost) as known", [(0,)]),
    ("stats count(*) by bin(1m)", [(60.0, 2), (120.0, 2)]),
    ("fields @timestamp | sort @timestamp desc | limit 2", [(150.0,), (130.0,)]),
]  # fmt: skip


@pytest.mark.parametrize(("query", "rows"), QUERIES, ids=[query for query, _ in QUERIES])
def test_a_query_gives_the_rows_that_insights_would(query, rows):
    assert [tuple(row.values()) for row in run_query(query, LINES)] == rows


@pytest.mark.parametrize(
    "query",
    ["parse @message 'x'", "filter a ~ 1", "filter a =", "filter", "filter (a = 1", "stats pct(a, 95)", "sort a, b", "filter 1 = a"],
)  # fmt: skip
def test_what_is_not_understood_is_refused_and_never_guessed(query):
    with pytest.raises(QueryError):
        run_query(query, LINES)


def test_a_dashboards_query_names_its_log_group_first():
    assert source_of("SOURCE '/quickstep/s/functions' | limit 3") == ("/quickstep/s/functions", "limit 3")
    assert source_of("limit 3") == (None, "limit 3")


def test_a_search_finds_the_metrics_with_exactly_its_dimensions_and_words():
    store = MetricStore()
    for dimensions in (
        {"Stack": "s", "Target": "a"},
        {"Stack": "s", "Target": "b"},
        {"Stack": "t", "Target": "a"},
        {"Stack": "s"},
    ):
        store.add(
            series_key("Quickstep", "Copies", dimensions),
            Sample.of(1.0, 60.0),
            visible_at_s=60.0,
            high_resolution=False,
        )
    search = parse_search(
        "FILL(SEARCH('{Quickstep,Stack,Target} MetricName=\"Copies\" Stack=\"s\"', 'Maximum', 60), REPEAT)"
    )
    assert search is not None
    assert [dict(key[2])["Target"] for key in search.found_in(store, 100.0)] == ["a", "b"]
    assert (search.statistic, search.period_s, search.around) == ("Maximum", 60, "FILL({found}, REPEAT)")


def test_an_expression_without_a_search_is_none_and_a_broken_one_is_refused():
    assert parse_search("a + b") is None
    with pytest.raises(ServiceError, match="Invalid syntax"):
        parse_search("SEARCH(Quickstep, 'Maximum')")
    with pytest.raises(NotEmulated, match="copies"):
        parse_search("SEARCH('{Quickstep,Stack} copies', 'Maximum')")
