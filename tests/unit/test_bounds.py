"""Bounds: between minimum and maximum, and within what SageMaker's own instance scaling can reach."""

from __future__ import annotations

import pytest

from quickstep.model.state import Change
from quickstep.policy.pipeline import decide
from quickstep.reasons import Reason
from tests.unit.scenes import NOW_S, decided, endpoint, seen, stage, steady, target, totals


@pytest.mark.parametrize(
    ("load", "copies", "low", "high", "wanted", "reason"),
    [
        (40, 8, 1, 20, 8, Reason.AT_DESIRED),
        (200, 8, 1, 20, 20, Reason.LOWERED_TO_MAX),
        (200, 20, 1, 20, 20, Reason.AT_MAX),
        (40, 8, 10, 20, 10, Reason.RAISED_TO_MIN),  # registering pulls the count into its bounds, as AAS does
        (40, 8, 1, 5, 5, Reason.LOWERED_TO_MAX),
        (0, 1, 1, 20, 1, Reason.AT_MIN),
        (0, 8, 8, 20, 8, Reason.AT_MIN),
        (40, 8, 6, 3, 6, Reason.LOWERED_TO_MAX),  # a maximum below the minimum yields
        (None, 8, 1, 5, 5, Reason.LOWERED_TO_MAX),  # bounds need no data
    ],
)
def test_the_count_stays_within_its_bounds(load, copies, low, high, wanted, reason):
    decision = decided(None if load is None else [load] * 60, copies, goal=target(low=low, high=high))
    assert (decision.desired, decision.reason) == (wanted, reason)


@pytest.mark.parametrize(
    ("load", "copies", "managed_max", "per_instance", "wanted", "reason"),
    [
        (60, 8, 4, 2, 8, Reason.MANAGED_MAX_INSTANCES),
        (60, 8, 5, 2, 10, Reason.MANAGED_MAX_INSTANCES),
        (60, 8, 6, 2, 12, Reason.DEMAND),
        (60, 8, 2, 2, 8, Reason.MANAGED_MAX_INSTANCES),  # what serves is not taken away because of an estimate
        (60, 8, 4, None, 12, Reason.DEMAND),  # not known how many fit: SageMaker will say
        (60, 8, None, 2, 12, Reason.DEMAND),
        (200, 8, 50, 2, 20, Reason.LOWERED_TO_MAX),
    ],
)
def test_in_managed_mode_sagemakers_maximum_binds_and_is_named(load, copies, managed_max, per_instance, wanted, reason):
    where = endpoint(4, managed=True, managed_max=managed_max)
    observed = seen(totals([load] * 60, copies), copies, where=where)
    decision = decide(target(), observed, steady(copies), NOW_S, copies_per_instance=per_instance)
    assert (decision.desired, decision.reason) == (wanted, reason)


def test_a_variant_that_we_scale_has_no_managed_maximum():
    observed = seen(totals([60] * 60, 8), 8, where=endpoint(4, managed=False, managed_max=4))
    assert decide(target(), observed, steady(8), NOW_S, copies_per_instance=1).desired == 12


def test_the_minimum_wins_over_the_budget():
    goal = target(low=4, budget_usd_per_hour=2.0, hourly_cost_usd=1.0)
    assert decided([1] * 60, 2, goal=goal).desired == 4


def test_the_record_names_the_bound_also_when_nothing_changes():
    assert stage(decided([40] * 60, 8), "bounds").detail == "1 ≤ 8 ≤ 20"
    decision = decided([40] * 60, 8, state=steady(8, manual=Change(NOW_S, 8, 30)))
    assert stage(decision, "bounds").detail == "maximum is 20, asked were 30"
