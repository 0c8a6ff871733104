"""Manual: a person's wish is a floor for a while; the load may still raise it."""

from __future__ import annotations

import pytest

from quickstep.model.state import Change
from quickstep.reasons import Reason
from tests.unit.scenes import NOW_S, decided, stage, steady, target


@pytest.mark.parametrize(
    ("load", "copies", "wish", "age_s", "hold_s", "wanted", "reason"),
    [
        (40, 8, 10, 10, None, 10, Reason.MANUAL_WISH),
        (40, 8, 10, 899, None, 10, Reason.MANUAL_WISH),
        (40, 8, 10, 900, None, 8, Reason.AT_DESIRED),  # the grace is over
        (40, 8, 10, 90, 60.0, 8, Reason.AT_DESIRED),
        (40, 8, 10, 9_000, 86_400.0, 10, Reason.MANUAL_WISH),
        (40, 8, 10, 9e9, float("inf"), 10, Reason.MANUAL_WISH),
        (80, 8, 10, 10, None, 16, Reason.DEMAND),  # a floor, not a pin
        (4, 10, 10, 10, None, 10, Reason.MANUAL_WISH),  # +2 by hand is not taken away within the grace
        (40, 8, 3, 10, None, 8, Reason.AT_DESIRED),
        (40, 8, 99, 10, None, 20, Reason.LOWERED_TO_MAX),
    ],
)
def test_a_wish_is_a_floor_until_its_grace_is_over(load, copies, wish, age_s, hold_s, wanted, reason):
    state = steady(copies, manual=Change(NOW_S - age_s, 1, wish, "ann", hold_s=hold_s))
    decision = decided([load] * 60, copies, state=state)
    assert (decision.desired, decision.reason) == (wanted, reason)


def test_a_wish_that_has_run_out_is_forgotten():
    assert decided([40] * 60, 8, state=steady(8, manual=Change(NOW_S - 901, 1, 10))).state.manual is None


def test_the_record_says_who_and_how_long():
    decision = decided([40] * 60, 8, state=steady(8, manual=Change(NOW_S - 100, 1, 10, "ann: launch day")))
    assert stage(decision, "manual").detail == "ann: launch day asked for 10; kept for 800 s more"
    assert decision.look_again_at_s == NOW_S + 800


def test_a_wish_wakes_a_sleeping_target():
    decision = decided(None, 0, goal=target(low=0), state=steady(0, manual=Change(NOW_S, 0, 2, "ann")))
    assert decision.desired == 2
