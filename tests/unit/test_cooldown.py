"""Cooldown: scale-ins keep their distance; a scale-out never waits."""

from __future__ import annotations

import pytest

from quickstep.model.state import Change
from quickstep.reasons import Reason
from tests.unit.scenes import NOW_S, STEPS, decided, stage, steady, target


@pytest.mark.parametrize(
    ("last_out_s", "last_in_s", "wanted", "look_in_s"),
    [
        (None, None, 4, None),
        (299, None, 8, 1),
        (300, None, 4, None),
        (None, 119, 8, 1),
        (None, 120, 4, None),
        (250, 10, 8, 110),  # the later of the two ends counts
        (200, 110, 8, 100),
    ],
)
def test_a_scale_in_waits_a_hold_after_a_scale_out_and_two_minutes_after_a_scale_in(
    last_out_s, last_in_s, wanted, look_in_s
):
    state = steady(
        8,
        last_scale_out=None if last_out_s is None else Change(NOW_S - last_out_s, 6, 8),
        last_scale_in=None if last_in_s is None else Change(NOW_S - last_in_s, 9, 8),
    )
    decision = decided([4] * 60, 8, state=state)
    assert decision.desired == wanted
    if look_in_s is not None:
        assert decision.reason is Reason.COOLDOWN_SCALE_IN
        assert stage(decision, "cooldown").look_again_at_s == NOW_S + look_in_s


def test_a_scale_out_waits_for_nothing():
    state = steady(8, last_scale_out=Change(NOW_S - 1, 6, 8), last_scale_in=Change(NOW_S - 1, 9, 8))
    assert decided([60] * 60, 8, state=state).desired == 12


def test_a_step_only_target_has_aas_cooldowns_only():
    state = steady(8, last_scale_in=Change(NOW_S - 1, 9, 8))
    assert (
        stage(decided([4] * 60, 8, state=state, goal=target(policies=(STEPS,))), "cooldown").reason is Reason.UNCHANGED
    )
