"""Pause: the operator's hand comes last, and paused means no change at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quickstep.model.targets import Suspension
from quickstep.policy.pipeline import decide
from quickstep.reasons import Reason
from tests.unit.scenes import NOW_S, decided, seen, steady, target, totals

FOREVER = float("inf")


@pytest.mark.parametrize("load", [0, 4, 40, 400])
@pytest.mark.parametrize("until_s", [NOW_S + 1, FOREVER])
def test_paused_means_no_change_whatever_the_load(load, until_s):
    decision = decided([load] * 60, 8, state=steady(8, paused_until_s=until_s))
    assert (decision.desired, decision.reason) == (8, Reason.PAUSED)


@pytest.mark.parametrize(
    "hand",
    [
        {"state": {"paused_until_s": FOREVER}},
        {"enabled": False},
        {"foreign": "Application Auto Scaling"},
        {"suspension": Suspension(scale_out=True)},
    ],
    ids=["pause", "kill switch", "foreign", "suspended"],
)
def test_a_wish_that_still_waits_for_instances_is_not_carried_out_either(hand):
    # Eight were wished before, one is asked: asking for the rest now would be a change.
    state = steady(1, wish=8, wish_at_s=NOW_S - 30, queued=True, **hand.get("state", {}))
    observed = replace(seen(totals([40] * 60, 1), 1), foreign_scaler=hand.get("foreign"))
    goal = target(suspension=hand.get("suspension", Suspension()))
    decision = decide(goal, observed, state, NOW_S, scaling_enabled=hand.get("enabled", True))
    assert (decision.desired, decision.state.wish) == (1, 1)


def test_what_was_asked_before_the_pause_goes_on():
    observed = seen(totals([40] * 60, 1), 8, 1)
    assert decide(target(), observed, steady(1, wish=8, paused_until_s=FOREVER), NOW_S).desired == 8


def test_a_pause_that_is_over_is_forgotten():
    decision = decided([60] * 60, 8, state=steady(8, paused_until_s=NOW_S))
    assert (decision.desired, decision.state.paused_until_s) == (12, None)


@pytest.mark.parametrize(("pin", "load"), [(0, 400), (3, 40), (8, 40), (50, 0)])
def test_pinned_means_exactly_that_count_beyond_bounds_budget_and_load(pin, load):
    goal = target(budget_usd_per_hour=8.0, hourly_cost_usd=1.0)
    decision = decided([load] * 60, 8, goal=goal, state=steady(8, pinned=pin))
    assert decision.desired == pin
    assert decision.reason is Reason.PINNED


@pytest.mark.parametrize(
    ("load", "suspension", "wanted", "reason"),
    [
        (60, Suspension(scale_out=True), 8, Reason.SUSPENDED),
        (60, Suspension(scale_in=True), 12, Reason.DEMAND),
        (4, Suspension(scale_in=True), 8, Reason.SUSPENDED),
        (4, Suspension(scale_out=True), 4, Reason.DRAIN_UNSAFE),
        (40, Suspension(True, True, True), 8, Reason.AT_DESIRED),
    ],
)
def test_each_direction_can_be_suspended(load, suspension, wanted, reason):
    decision = decided([load] * 60, 8, goal=target(suspension=suspension))
    assert (decision.desired, decision.reason) == (wanted, reason)


@pytest.mark.parametrize(("load", "would"), [(0, 1), (40, 8), (400, 20)])
def test_a_shadowed_target_is_decided_about_in_full_and_left_as_it_is(load, would):
    """Eight copies of five requests: the same load moves a target that is not shadowed to `would`."""
    live, shadowed = (decided([load] * 100, 8, goal=target(shadow=shadow)) for shadow in (False, True))
    last = shadowed.steps[-1]
    assert (shadowed.desired, last.reason, last.inputs["would"]) == (8, Reason.SHADOW, live.desired)
    assert shadowed.state.shadow_wish == live.desired
    assert (live.desired > 8, live.desired < 8) == (would > 8, would < 8)
    assert shadowed.steps[:-1] == live.steps[:-1]


def test_a_shadowed_target_never_counts_as_hot_and_is_looked_at_again_while_the_two_differ():
    differs = decided([400] * 60, 8, goal=target(shadow=True))
    agrees = decided([40] * 60, 8, goal=target(shadow=True))
    assert not differs.hot and differs.look_again_at_s == NOW_S + 60
    assert agrees.steps[-1].look_again_at_s is None


def test_a_pause_comes_before_the_shadow_and_leaving_the_shadow_forgets_it():
    paused = decided([400] * 60, 8, goal=target(shadow=True), state=steady(8, paused_until_s=FOREVER))
    assert paused.reason is Reason.PAUSED
    left = decided([40] * 60, 8, state=steady(8, shadow_wish=12))
    assert left.state.shadow_wish is None
