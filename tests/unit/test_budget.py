"""Budget: a scale-out never asks for more instances than the hourly budget pays for."""

from __future__ import annotations

import pytest

from quickstep.policy.pipeline import decide
from quickstep.reasons import Reason
from tests.unit.scenes import NOW_S, decided, seen, stage, steady, target, totals


def capped(load, copies, *, budget, price=1.5, per_instance=1, desired=None, **state):
    goal = target(budget_usd_per_hour=budget, hourly_cost_usd=price)
    observed = seen(totals([load] * 60, copies), copies if desired is None else desired, copies)
    return decide(goal, observed, steady(copies, **state), NOW_S, copies_per_instance=per_instance)


@pytest.mark.parametrize(
    ("budget", "price", "per_instance", "wanted"),
    [
        (15.0, 1.5, 1, 10),
        (14.9, 1.5, 1, 9),
        (15.0, 1.5, 4, 12),  # 40 would be paid for, 12 are needed
        (3.0, 1.5, 4, 8),
        (0.3, 0.1, 3, 9),  # three instances at 0.1 are 0.3, whatever floating point says
        (15.0, 1.5, None, 10),  # not known how many share an instance: one each
        (1.0, 1.5, 1, 8),  # not even one more; what runs stays
    ],
)
def test_a_scale_out_stops_where_the_budget_ends(budget, price, per_instance, wanted):
    decision = capped(60, 8, budget=budget, price=price, per_instance=per_instance)
    assert decision.desired == wanted
    assert (decision.reason is Reason.BUDGET) == (wanted < 12)


def test_a_budget_takes_nothing_away():
    assert capped(40, 8, budget=3.0).desired == 8


def test_a_wish_that_waits_has_cost_nothing_yet_and_is_capped_too():
    # The budget was lowered while ten more copies waited for their instances.
    decision = capped(100, 2, budget=6.0, wish=12, queued=True, wish_at_s=NOW_S - 30)
    assert (decision.desired, decision.reason) == (4, Reason.BUDGET)


def test_a_budget_without_a_price_says_so():
    decision = capped(60, 8, budget=3.0, price=None)
    assert decision.desired == 12
    assert "price of an instance-hour is not known" in stage(decision, "budget").detail


def test_no_budget_no_cap():
    assert decided([60] * 60, 8, goal=target(hourly_cost_usd=99.0)).desired == 12
