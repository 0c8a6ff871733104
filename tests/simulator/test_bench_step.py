"""The load step of every peer through Quickstep as it is deployed: alarms, loop, one change of copies at a time."""

from __future__ import annotations

import math

import pytest

from simulator.bench.load_step import IDEAL, MEASURED, Setting, drive_load, run_our_step
from simulator.peers.step import MAX_COPIES, NEEDED_COPIES, STEP_UP_S, load_at

MODES = pytest.mark.parametrize("managed", [False, True], ids=["fixed", "managed"])
HOLD_S = 600


def the_step(*, until_s=STEP_UP_S + 3000, **setting):
    """(seconds since the step up, copies) of every wish, before an hour of load is learned from."""
    driven = drive_load(load_at, until_s, Setting(**setting))
    return [(at_s - STEP_UP_S, copies) for at_s, copies in driven.changes]


@MODES
@pytest.mark.parametrize("world", [IDEAL, MEASURED])
def test_in_the_closed_loop_the_eight_copies_that_are_needed_are_asked_for_once_and_no_more(world, managed):
    ((asked_s, copies),) = the_step(world=world, managed=managed, until_s=STEP_UP_S + 1500)
    assert copies == NEEDED_COPIES
    assert asked_s <= 40


@MODES
def test_in_the_open_loop_the_queue_is_not_taken_for_demand(managed):
    """Peers that size on what is in flight ask for all 20 copies here; two of ours drain the queue."""
    changes = the_step(world=MEASURED, managed=managed, open_loop=True)
    within_a_minute = [copies for at_s, copies in changes if at_s <= 60]
    assert within_a_minute[-1] == NEEDED_COPIES
    assert max(copies for _, copies in changes) <= math.ceil(1.25 * NEEDED_COPIES) < MAX_COPIES


@MODES
def test_where_the_target_is_all_that_a_copy_carries_the_drain_asks_for_half_as_much_again_at_most(managed):
    changes = the_step(world=IDEAL, managed=managed, open_loop=True)
    assert max(copies for _, copies in changes) <= NEEDED_COPIES + 4


@pytest.mark.parametrize("world", [IDEAL, MEASURED])
def test_the_way_back_takes_one_hold_and_halves(world):
    got = run_our_step(Setting(world=world))
    assert HOLD_S <= got.first_in_s <= HOLD_S + 90
    assert got.back_to_one_s <= 3 * HOLD_S


def test_a_metric_of_before_the_copies_came_does_not_ask_for_more_of_them():
    """40 per copy was measured on the one copy; the alarm still says so when eight serve."""
    changes = the_step(until_s=STEP_UP_S + 1500)
    assert [copies for at_s, copies in changes if at_s > 60] == []


def test_an_unknown_world_is_refused():
    with pytest.raises(ValueError, match="flat"):
        drive_load(load_at, 10, Setting(world="flat"))
