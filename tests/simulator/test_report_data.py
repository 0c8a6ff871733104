"""What the report keeps of a run: extremes, gaps, every change of copies, every refusal; and what it folds together."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.report import words
from simulator.report.decisions import decision_rows
from simulator.report.strips import MAX_ALARM_CHANGES, MAX_EVENTS, alarm_bands, event_marks
from simulator.report.timeline import MAX_POINTS_PER_SERIES, add_up, keep_changes, keep_extremes, timeline_columns

VALUES = st.lists(st.none() | st.floats(0, 1e6), min_size=1, max_size=400)


def series_of(columns: dict, key: str, component: int = 0) -> list[tuple[float, float | None]]:
    """A series of the page's data as [(t, value)]."""
    series = columns["components"][component]["series"][key]
    times, t = [], 0
    for difference in columns["grids"][series["g"]]:
        t += difference
        times.append(t)
    return list(zip(times, series["v"], strict=True))


@given(VALUES, st.integers(8, 60))
@settings(max_examples=150, deadline=None)
def test_thinning_keeps_the_ends_the_extremes_and_a_sign_of_every_gap(values, limit):
    times, kept = keep_extremes(list(range(len(values))), values, limit=limit)
    assert len(kept) <= max(limit, 0) or len(kept) == len(values) <= limit
    assert times == sorted(set(times))
    assert all(values[t] == value for t, value in zip(times, kept, strict=True))
    assert times[0] == 0
    assert times[-1] == len(values) - 1
    known = [value for value in values if value is not None]
    if known:
        assert min(value for value in kept if value is not None) == min(known)
        assert max(value for value in kept if value is not None) == max(known)
    assert (None in kept) == (None in values)


def test_every_stretch_keeps_its_own_smallest_and_largest_value():
    draw = random.Random(1)
    values = [draw.random() for _ in range(10_000)]
    times, _ = keep_extremes(list(range(10_000)), values, limit=202)
    for start in range(0, 10_000, 100):
        stretch = range(start, start + 100)
        assert {min(stretch, key=values.__getitem__), max(stretch, key=values.__getitem__)} <= set(times)


@given(st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=200))
@settings(max_examples=150, deadline=None)
def test_a_stepped_series_reads_the_same_at_every_moment_after_dropping_repeats(values):
    times, kept = keep_changes(list(range(len(values))), values)
    for t, value in enumerate(values):
        assert kept[max(i for i, at in enumerate(times) if at <= t)] == value
    assert times[-1] == len(values) - 1


@given(st.lists(st.none() | st.integers(0, 9), min_size=2, max_size=300), st.integers(8, 50))
@settings(max_examples=150, deadline=None)
def test_lost_requests_are_added_up_and_never_dropped(values, limit):
    times, sums = add_up([10 * i for i in range(len(values))], values, limit=limit)
    assert len(sums) <= limit
    assert sum(sums) == sum(value or 0 for value in values)
    assert times == sorted(times)


def test_a_week_keeps_the_highest_demand_each_change_of_copies_and_at_most_four_thousand_points():
    n = 60_480
    draw = random.Random(5)
    demand = [20 + 10 * math.sin(i / 900) + draw.gauss(0, 1) for i in range(n)]
    demand[31_337], demand[7_777] = 123.456, 0.125
    current = [1 + (i // 97) % 7 for i in range(n)]
    rows = [
        {"t": 10 * i, "demand": demand[i], "current": current[i], "in_flight": demand[i], "lost": 1 if i == 5 else 0}
        for i in range(n)
    ]
    columns = timeline_columns({"timeline": rows, "target": {"per_copy": 8}})
    shown = series_of(columns, "demand")
    assert len(shown) <= MAX_POINTS_PER_SERIES
    assert (313_370, 123.456) in shown
    assert (77_770, 0.125) in shown
    changes = [(10 * i, current[i]) for i in range(n) if i == 0 or current[i] != current[i - 1]]
    assert [point for point in series_of(columns, "current") if point[0] < 604_790] == changes
    assert series_of(columns, "lost") == [(50, 1)]


def test_many_components_share_the_points_of_a_page():
    rows = [
        {"t": 10 * i, "component": f"c{c:02d}", "demand": float((i * 7 + c) % 101)}
        for i in range(5_000)
        for c in range(40)
    ]
    columns = timeline_columns({"timeline": rows})
    assert len(columns["components"]) == 40
    assert sum(len(one["series"]["demand"]["v"]) for one in columns["components"]) <= 40 * 400


def test_capacity_is_copies_times_the_target_and_unknown_where_either_is():
    rows = [{"t": 0, "current": 2}, {"t": 10, "current": 3, "per_copy": 10}, {"t": 20, "current": None}]
    assert series_of(timeline_columns({"timeline": rows, "target": {"per_copy": 8.0}}), "capacity") == [
        (0, 16),
        (10, 30),
        (20, None),
    ]
    assert "capacity" not in timeline_columns({"timeline": rows[:1]})["components"][0]["series"]


def test_what_was_decided_and_expected_is_drawn_beside_what_came():
    rows = [
        {"t": 0, "decided": 1, "current": 1, "copies_worth": 0.8, "expected_copies": 1.5},
        {"t": 10, "decided": 3, "current": 1, "copies_worth": 1.9, "expected_copies": 2.7},
    ]
    columns = timeline_columns({"timeline": rows})
    assert series_of(columns, "decided") == [(0, 1), (10, 3)]
    assert series_of(columns, "copies_worth") == [(0, 0.8), (10, 1.9)]
    assert series_of(columns, "expected_copies") == [(0, 1.5), (10, 2.7)]


def test_a_decision_shows_the_demand_it_sized_for_and_what_it_expected():
    said = {"recommended": 3, "copies_worth": 1.9, "expected": 2.7, "lead_s": 470.0}
    steps = [
        {"stage": "policies", "recommended": 3, "reason": "Demand", "inputs": {"winner": "sizing", "sizing": said}}
    ]
    (row,) = decision_rows({"decisions": [decision(0, 3, demand=9.6, steps=steps)]})["rows"]
    assert (row["demand"], row["worth"], row["expected"], row["lead_s"]) == (9.6, 1.9, 2.7, 470.0)
    (bare,) = decision_rows({"decisions": [decision(0, 3)]})["rows"]
    assert not {"demand", "worth", "expected", "lead_s"} & set(bare)


def test_a_gap_in_the_data_stays_a_gap():
    rows = [{"t": t, "demand": None if t == 20 else 5.0} for t in (0, 10, 20, 30)]
    assert series_of(timeline_columns({"timeline": rows}), "demand") == [(0, 5), (10, 5), (20, None), (30, 5)]


def decision(t: float, desired: int, baseline: int = 3, **fields: object) -> dict:
    return {
        "t": t,
        "desired": desired,
        "baseline": baseline,
        "current": baseline,
        "reason": "Demand",
        "outcome": "held" if desired == baseline else "applied",
        **fields,
    }


GROUPINGS = [
    # decisions                                                            rows as (t, n)
    ([decision(t, 3) for t in range(37)],                                  [(0, 37)]),
    ([decision(0, 3), decision(1, 4), decision(2, 3)],                     [(0, 1), (1, 1), (2, 1)]),  # a change in between
    ([decision(0, 4), decision(1, 4)],                                     [(0, 1), (1, 1)]),          # changes are never folded
    ([decision(0, 3), decision(1, 3, reason="ScaleInHold"), decision(2, 3)], [(0, 1), (1, 1), (2, 1)]),
    ([decision(0, 3), decision(1, 3, detail="other numbers"), decision(2, 3)], [(0, 3)]),              # words may differ
    ([decision(0, 3), decision(1, 3, outcome="refused"), decision(2, 3)],  [(0, 1), (1, 1), (2, 1)]),
    ([decision(0, 3), decision(1, 3, baseline=3, current=2), decision(2, 3)], [(0, 1), (1, 1), (2, 1)]),
    ([decision(t, 3, component="ab"[t % 2]) for t in range(10)],           [(0, 5), (1, 5)]),          # components interleave
    ([decision(2, 3), decision(0, 3), decision(1, 3)],                     [(0, 3)]),                  # in order of time
    ([],                                                                   []),
]  # fmt: skip


@pytest.mark.parametrize(("decisions", "rows"), GROUPINGS)
def test_only_consecutive_holds_that_came_out_the_same_share_a_row(decisions, rows):
    found = decision_rows({"decisions": decisions})
    assert [(row["t"], row["n"]) for row in found["rows"]] == rows
    assert found["total"] == len(decisions) == sum(row["n"] for row in found["rows"])


def test_a_folded_row_tells_when_it_ended():
    [row] = decision_rows({"decisions": [decision(t, 3) for t in (10, 20, 30)]})["rows"]
    assert (row["t"], row["until"]) == (10, 30)


@pytest.mark.parametrize(
    ("fields", "kind", "refused"),
    [
        ({"desired": 5, "baseline": 3}, "out", False),
        ({"desired": 2, "baseline": 3}, "in", False),
        ({"desired": 3, "baseline": 3, "current": 1}, "held", False),  # already asked for
        ({"desired": 5, "baseline": 3, "outcome": "refused"}, "out", True),
        ({"desired": 4, "baseline": None, "current": 3}, "out", False),
        ({"desired": 0, "baseline": 0}, "held", False),
    ],
)
def test_a_decision_is_out_in_or_held_by_what_was_asked_for_before(fields, kind, refused):
    [row] = decision_rows({"decisions": [{"t": 0, **fields}]})["rows"]
    assert (row["kind"], row.get("refused", False)) == (kind, refused)
    assert row["to"] == fields["desired"]
    assert row["t"] == 0


def test_the_stages_of_a_decision_arrive_with_their_words_and_inputs():
    steps = [
        {
            "stage": "demand",
            "recommended": 5,
            "reason": "Demand",
            "detail": "42 in flight",
            "inputs": {"steps": [[0, None, 2]], "in_flight": 42, "age_s": None},
        }
    ]
    found = decision_rows({"decisions": [decision(0, 5, steps=steps)]})
    [[stage, recommended, reason, detail, inputs]] = found["rows"][0]["steps"]
    assert (found["words"][stage], recommended, found["words"][reason], detail) == (
        "demand",
        5,
        "Demand",
        "42 in flight",
    )
    assert inputs == {"age_s": None, "in_flight": 42, "steps": "[[0, null, 2]]"}


def test_refusals_and_changes_keep_their_explanations_when_the_budget_runs_out():
    steps = [{"stage": "demand", "recommended": 3, "reason": "Demand", "detail": "x" * 40_000, "inputs": {}}]
    holds = [decision(2 * t, 3, reason=f"r{t % 2}", steps=steps) for t in range(60)]
    late_change = decision(1_000, 4, steps=steps)
    found = decision_rows({"decisions": [*holds, late_change]})
    assert "steps" in found["rows"][-1]
    assert found["unexplained"] > 0


def test_an_alarm_has_its_states_in_order_and_belongs_to_the_longest_name_in_it():
    transitions = [
        {"name": "prod--chat-large-high", "t": 20, "from": "OK", "to": "ALARM", "reason": "1 of 1"},
        {"name": "prod--chat-large-high", "t": 10, "from": "INSUFFICIENT_DATA", "to": "OK", "reason": ""},
        {"name": "endpoint-errors", "t": 5, "from": "OK", "to": "ALARM", "reason": ""},
    ]
    errors, high = alarm_bands({"alarms": transitions}, ["chat", "chat-large"])
    assert high == {
        "name": "prod--chat-large-high",
        "component": "chat-large",
        "first": 2,
        "changes": [[10, 0, ""], [20, 1, "1 of 1"]],
    }
    assert (errors["component"], errors["first"]) == ("", 0)


def test_a_flapping_alarm_closes_its_shortest_breaks_and_loses_no_stretch_of_alarm():
    # ALARM for 10 s, then a break that grows by 0.01 s each time.
    changes, t = [], 0.0
    for i in range(10_000):
        changes += [
            {"name": "a", "t": t, "from": "OK", "to": "ALARM"},
            {"name": "a", "t": t + 10, "from": "ALARM", "to": "OK"},
        ]
        t += 10 + 1 + i / 100
    [alarm] = alarm_bands({"alarms": changes}, [])
    kept = alarm["changes"]
    assert MAX_ALARM_CHANGES - 2 <= len(kept) <= MAX_ALARM_CHANGES
    assert [state for _, state, _ in kept] == [1, 0] * (len(kept) // 2)
    assert kept[-1][0] == changes[-1]["t"]
    spans = [(start[0], end[0]) for start, end in zip(kept[::2], kept[1::2], strict=True)]
    assert all(
        any(start <= change["t"] <= end for start, end in spans[:1] + spans[-2:])
        for change in (changes[0], changes[-1])
    )
    assert min(after[0] - before[1] for before, after in zip(spans, spans[1:], strict=False)) > 20


def test_a_rare_fault_is_kept_among_too_many_routine_events():
    routine = [{"t": t, "what": "loop started", "detail": ""} for t in range(2 * MAX_EVENTS)]
    found = event_marks({"events": [*routine, {"t": 5_999.5, "what": "fault", "detail": "throttled"}]})
    assert len(found["marks"]) == MAX_EVENTS
    assert found["total"] == 2 * MAX_EVENTS + 1
    assert [5_999.5, found["kinds"].index("fault"), "throttled"] in found["marks"]


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (words.share, 0.99664, "99.7 %"),
        (words.share, 0.99996, "99.996 %"),  # not quite all is never "100 %"
        (words.share, 1.0, "100 %"),
        (words.share, 0.00001, "0.001 %"),
        (words.share, 0, "0 %"),
        (words.duration, 190, "3 min 10 s"),
        (words.duration, 20, "20 s"),
        (words.duration, 93_600, "1 d 2 h"),
        (words.duration, 3_600, "1 h"),
        (words.duration, 119.6, "2 min"),
        (words.duration, 59.7, "1 min"),
        (words.duration, 0, "0 s"),
        (words.latency, 0.0431, "43 ms"),
        (words.latency, 0.356, "0.36 s"),
        (words.latency, 88.04, "88.0 s"),
        (words.usd, 41.2, "$41.20"),
        (words.usd, 15_432.1, "$15,432"),
        (words.multiple, 1.2093, "1.21 ×"),
        (words.count, 19_301, "19,301"),
        *(
            (write, None, "–")
            for write in (
                words.share,
                words.duration,
                words.latency,
                words.usd,
                words.multiple,
                words.count,
                words.percent,
            )
        ),
    ],
)
def test_numbers_are_written_for_people(write, value, text):
    assert write(value) == text
