"""Many targets in one account: what Reconcile costs does not grow with those that are quiet, and nobody waits for ever.

A thousand are measured by `make scale-bench` (docs/control_api.md); here as many as show the bounds.
"""

from __future__ import annotations

from collections import Counter

import pytest

from quickstep import clock
from quickstep.gateways.registry import Registry
from quickstep.model.targets import ScalableTarget, TargetId
from quickstep.usecases.reconcile import BATCH, PATIENCE_S, reconcile
from tests.functions.control_stage import control_stage

MANY = BATCH + 10
CALLS_PER_LOOP = 5
"""Poke, read, begin and start; one more for what is found there."""


@pytest.fixture(scope="module")
def stage():
    with control_stage() as stage:
        registry = Registry(stage.settings.table_name)
        stage.account.run_for(130)
        for number in range(MANY):
            target = TargetId.of_component(f"c{number:03d}")
            # The endpoints are gone: a look at one is a Describe call and a rest of 15 minutes.
            registry.put_target(ScalableTarget(target, f"e{number:03d}", None, 1, 2, ()))
        yield stage


def of_reconcile(stage, minutes: int) -> list[Counter]:
    """The calls of each of the next reconciliations."""
    found = []
    for _ in range(minutes):
        before = Counter(stage.account.calls)
        stage.account.run_for(60)
        made = stage.account.calls - before
        found.append(Counter({key[2]: count for key, count in made.items() if key[0] == "ReconcileFunction"}))
    return found


def test_what_is_due_at_once_is_started_in_batches_and_what_rests_costs_nothing(stage):
    first, second, third = of_reconcile(stage, 3)
    # The template's own endpoint may be due in between.
    assert first["StartExecution"] == BATCH and 0 <= second["StartExecution"] - (MANY - BATCH) <= 1
    quiet = third.total()
    assert third["StartExecution"] <= 1 and quiet <= 12 + CALLS_PER_LOOP, third
    assert first.total() <= quiet + CALLS_PER_LOOP * BATCH
    looked = {f"e{number:03d}" for number in range(MANY)}
    registry = Registry(stage.settings.table_name)
    assert registry.due(stage.account.clock.now_s, limit=10 * MANY) == ()
    assert all(registry.read_loop(endpoint).last_look_s is not None for endpoint in looked)


def test_a_minute_of_slow_answers_ends_in_time_and_leaves_the_rest_due(stage):
    """Every reading of the clock is a second later: the function would be killed at 20 s, with everything undone."""
    registry, start_s = Registry(stage.settings.table_name), stage.account.clock.now_s + 1000.0
    due = len(registry.due(start_s, limit=10 * MANY))
    assert due >= MANY
    ticks = iter(range(10_000))
    before = clock.use(lambda: start_s + next(ticks))
    try:
        answer = reconcile(registry=registry, settings=stage.settings)
    finally:
        clock.use(before)
    assert 0 < len(answer["started"]) <= PATIENCE_S
    assert len(registry.due(start_s, limit=10 * MANY)) == due - len(answer["started"])
