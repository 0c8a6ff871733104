"""The cost benchmark: real state through the real registry, budgets that can be missed, a table that is found again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import decision_cost as cost
from quickstep.capacity.growth import DAY_MIN, KEPT_MIN
from quickstep.model.targets import DemandPolicy
from simulator.bench.deployed import deployed
from simulator.clock import EPOCH_S

TARGET = deployed(5.0, min_copies=1, max_copies=64).target
COST = cost.Cost(14, decide_ms=0.5, decide_p99_ms=1.0, learn_ms=60.0, state_bytes=3_000, load_bytes=25_000)


def test_fourteen_days_of_state_keep_a_headroom_a_season_and_four_days_of_minutes():
    now_s = EPOCH_S + 14 * 86_400.0
    state, history = cost.state_after(TARGET, 14, now_s)
    assert state.headroom is not None
    assert state.headroom.hours == KEPT_MIN / 60
    assert state.headroom.season is not None and state.headroom.yesterday
    assert len(history.levels) == KEPT_MIN + DAY_MIN
    assert history.until_s == now_s - 3600  # the last hour waits in the state


def test_without_learning_there_is_no_history():
    state, history = cost.state_after(TARGET, 0, EPOCH_S)
    assert (state.headroom, history) == (None, None)


def test_what_the_registry_keeps_of_fourteen_days_is_a_third_of_its_budget():
    state, history = cost.state_after(TARGET, 14, EPOCH_S + 14 * 86_400.0)
    state_bytes, load_bytes = cost._stored_bytes(TARGET, state, history)
    assert 3 * (state_bytes + load_bytes) < cost.MOST_STATE_BYTES
    assert load_bytes > 3 * len(history.levels)  # hundredths, three digits and more


def test_the_observation_is_as_long_as_what_is_fetched():
    observation = cost._observation(TARGET, EPOCH_S)
    (hold_s,) = (p.scale_in_hold_s for p in TARGET.policies if isinstance(p, DemandPolicy))
    assert len(observation.metrics.concurrency.points) == (4 * hold_s + 120) / 10


def test_a_budget_can_be_missed():
    assert COST.within_budget
    assert not replace(COST, decide_ms=5.01).within_budget
    assert not replace(COST, load_bytes=99_000).within_budget


def test_the_table_replaces_what_is_between_the_markers():
    document = f"before\n{cost.BEGIN}\nold\n{cost.END}\nafter\n"
    written = cost.with_table(document, [COST], 185, [])
    assert written.startswith("before\n") and written.endswith("\nafter\n")
    assert "old" not in written and "| 14 days | 0.50 / 1.00 | 60 | 3,000 | 25,000 | 28,000 |" in written
    assert cost.with_table(written, [COST], 185, []) == written
    with pytest.raises(ValueError, match="decision-cost:begin"):
        cost.with_table("nothing", [COST], 185, [])


def test_a_document_that_is_not_there_is_one_clear_line(capsys, tmp_path):
    assert cost.main(["--days", "0", "--document", str(tmp_path / "no.md")]) == 2
    assert capsys.readouterr().err.startswith("decision_cost: there is no ")
