"""Progress: what became of what was asked, and what others did meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quickstep.capacity.progress import (
    CARRIED,
    RESTORED,
    WATCH_S,
    backed_off,
    follow_copies,
    follow_instances,
    mark_empty,
    notice_foreign_change,
)
from quickstep.model.observation import ComponentStatus, Endpoint, EndpointStatus, Variant
from quickstep.model.state import Ask, Backoff, Change, EndpointState, TargetState, VariantState
from quickstep.model.targets import TargetId
from quickstep.policy.pipeline import decide
from quickstep.reasons import Reason
from tests.unit.scenes import NOW_S, endpoint, seen, steady, target, totals

UPDATING = ComponentStatus.UPDATING
NO_ROOM = "There is not enough hardware resources on the instances for this endpoint"


def asked(before, wanted, *, ago_s=100.0, what="copies", deadline_in_s=600.0):
    return Ask(what, NOW_S - ago_s, before, wanted, NOW_S + deadline_in_s)


def followed(ask, desired, current, *, state=None, **fields):
    before = replace(state or TargetState(wish=ask.wanted), ask=ask)
    return follow_copies(before, seen(None, desired, current, **fields), NOW_S)


# Copies.


def test_a_reached_ask_teaches_how_long_it_took_and_ends_every_refusal():
    state = TargetState(wish=8, startup_s=(80.0,), backoff=Backoff("x", NOW_S + 5, 3))
    after, notes = followed(asked(1, 8), 8, 8, state=state)
    assert (after.ask, after.backoff, after.startup_s) == (None, None, (80.0, 100.0))
    assert [(n.what, n.failed) for n in notes] == [("reached", False)]


def test_a_scale_in_teaches_nothing_about_starting():
    after, notes = followed(asked(8, 2), 2, 2)
    assert (after.ask, after.startup_s, notes[0].what) == (None, (), "reached")


def test_copies_that_were_there_already_teach_nothing_about_starting():
    # A scale-in was taken back before its copies had gone.
    after, _ = followed(asked(2, 3, ago_s=2.0), 3, 4)
    assert (after.ask, after.startup_s) == (None, ())


@pytest.mark.parametrize(
    ("desired", "current", "ago_s", "fields"),
    [
        (8, 3, 100, {"status": UPDATING}),
        (8, 3, 100, {"where": endpoint(status=EndpointStatus.UPDATING)}),  # SageMaker is adding instances
        (1, 1, 30, {}),  # it may not show yet
        (8, 1, 30, {}),
    ],
)
def test_an_ask_on_its_way_is_left_alone(desired, current, ago_s, fields):
    after, notes = followed(asked(1, 8, ago_s=ago_s), desired, current, **fields)
    assert (after.ask is not None, notes) == (True, ())


@pytest.mark.parametrize(
    ("desired", "current", "status"),
    [(8, 3, ComponentStatus.IN_SERVICE), (8, 3, ComponentStatus.FAILED), (1, 1, ComponentStatus.IN_SERVICE)],
    ids=["left short", "failed", "rolled back"],
)
def test_a_silent_failure_is_noticed_backed_off_and_the_wish_kept(desired, current, status):
    after, notes = followed(asked(1, 8), desired, current, status=status, failure_reason=NO_ROOM)
    assert after.ask is None
    assert (after.backoff.reason, after.backoff.until_s, after.backoff.attempts) == (
        Reason.INSUFFICIENT_CAPACITY,
        NOW_S + 60,
        1,
    )
    assert (after.wish, after.queued) == (8, desired != 8)
    assert (notes[0].failed, notes[0].reason) == (True, Reason.INSUFFICIENT_CAPACITY)
    assert NO_ROOM in notes[0].detail
    # What SageMaker took back is not taken for somebody's wish.
    again, told = notice_foreign_change(after, seen(None, desired, current, status=status), NOW_S, deployed=False)
    assert (again.manual, told) == (None, ())


def test_each_silent_failure_waits_longer():
    after, _ = followed(asked(1, 8), 8, 3, state=TargetState(wish=8, backoff=Backoff("x", NOW_S - 5, 2)))
    assert (after.backoff.attempts, after.backoff.until_s) == (3, NOW_S + 240)


@pytest.mark.parametrize(
    ("attempts", "wait_s"), [(0, 60), (1, 120), (2, 240), (3, 480), (4, 900), (5, 900), (100_000, 900)]
)
def test_back_off_doubles_to_a_quarter_of_an_hour(attempts, wait_s):
    before = Backoff("x", 0.0, attempts) if attempts else None
    after = backed_off(before, Reason.THROTTLED, NOW_S, possible=4)
    assert after == Backoff("Throttled", NOW_S + wait_s, attempts + 1, 4)


def test_a_deadline_ends_an_ask_that_is_still_being_worked_on():
    ask = asked(1, 8, ago_s=900, deadline_in_s=0.0)
    after, notes = followed(ask, 8, 3, status=UPDATING)
    assert (after.ask, after.backoff.reason, notes[0].reason) == (None, Reason.DEADLINE_PASSED, Reason.DEADLINE_PASSED)


def test_a_scale_in_that_fails_keeps_nobody_from_scaling_out():
    for fields, ask in (
        ({"status": UPDATING}, asked(8, 2, deadline_in_s=0.0)),
        ({}, asked(8, 2)),
    ):
        after, notes = followed(ask, 8 if not fields else 2, 8, **fields)
        assert (after.ask, after.backoff, notes[0].failed) == (None, None, True)


def test_an_ask_that_somebody_overrode_ends_and_their_count_is_adopted():
    after, notes = followed(asked(1, 8), 5, 5)
    assert (after.ask, after.backoff, notes[0].what) == (None, None, "overridden")
    adopted, _ = notice_foreign_change(after, seen(None, 5), NOW_S, deployed=False)
    assert (adopted.manual.after, adopted.wish) == (5, 5)


@pytest.mark.parametrize(
    ("until_s", "current", "kept"), [(NOW_S - 899, 8, True), (NOW_S - 900, 8, False), (NOW_S - 900, 7, True)]
)
def test_a_refusal_is_forgotten_long_after_it_was_waited_out_if_nothing_is_missing(until_s, current, kept):
    state = TargetState(backoff=Backoff("x", until_s, 1))
    after, _ = follow_copies(state, seen(None, 8, current), NOW_S)
    assert (after.backoff is not None) is kept


def test_a_refusal_of_instances_is_forgotten_in_the_same_way():
    for until_s, kept in ((NOW_S - 899, True), (NOW_S - 900, False)):
        after, _ = moved(VariantState(backoff=Backoff("x", until_s, 1)), 4, 4)
        assert (after.backoff is not None) is kept


def test_a_smaller_ask_that_was_fulfilled_proves_nothing_about_the_rest():
    # Seven were refused, four possible; four came. The full wish is tried again after another wait, not at once.
    limited = Backoff("QuotaExceeded", NOW_S - 100, 3, 4)
    renewed = replace(limited, until_s=NOW_S + 240)
    assert moved(memory_of(1, 4, backoff=limited), 4, 4)[0].backoff == renewed
    assert followed(asked(1, 4), 4, 4, state=TargetState(wish=7, backoff=limited))[0].backoff == renewed
    assert moved(memory_of(1, 7, backoff=limited), 7, 7)[0].backoff is None
    assert backed_off(renewed, Reason.QUOTA_EXCEEDED, NOW_S).attempts == 4


# Changes of others.


@pytest.mark.parametrize("count", [3, 12])
def test_a_change_made_outside_is_kept_as_a_floor_not_fought(count):
    after, notes = notice_foreign_change(steady(8), seen(None, count), NOW_S, deployed=False)
    assert (after.manual, after.wish) == (Change(NOW_S, 8, count, "a change outside Quickstep"), count)
    assert notes[0].reason is Reason.FOREIGN_ACTOR
    again, notes = notice_foreign_change(after, seen(None, count), NOW_S + 10, deployed=False)
    assert (again, notes) == (after, ())


def test_a_copy_count_tells_of_somebody_at_once_an_instance_count_only_when_all_is_quiet():
    moving = endpoint(5, status=EndpointStatus.UPDATING)
    busy = seen(None, 5, status=UPDATING, where=moving)
    assert notice_foreign_change(steady(8), busy, NOW_S, deployed=False)[0].wish == 5
    instances = replace(busy, component=None, target_id=TargetId.of_variant("llm", "v"))
    assert notice_foreign_change(steady(8), instances, NOW_S, deployed=False) == (steady(8), ())


def test_a_wish_made_to_us_since_the_last_look_outlives_the_change_noticed_only_now():
    wish = Change(NOW_S - 5, 8, 12, "ann")
    after, _ = notice_foreign_change(steady(8, manual=wish), seen(None, 3), NOW_S, deployed=False)
    assert (after.wish, after.manual) == (3, wish)
    older = replace(wish, at_s=NOW_S - 60)
    after, _ = notice_foreign_change(steady(8, manual=older), seen(None, 3), NOW_S, deployed=False)
    assert after.manual.after == 3


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        ({"wish": None}, {}),
        ({"queued": True}, {}),
        ({"ask": asked(8, 9)}, {}),
        ({}, {"where": endpoint(status=EndpointStatus.SYSTEM_UPDATING)}),
        ({}, {"where": endpoint(status=EndpointStatus.ROLLING_BACK)}),
        ({"manual": Change(NOW_S, 8, 5, "ann")}, {}),  # what a person asked for through us
    ],
)
def test_what_may_be_our_own_doing_is_nobody_elses_change(state, fields):
    before = steady(8, **state)
    assert notice_foreign_change(before, seen(None, 5, **fields), NOW_S, deployed=False) == (before, ())


# Deployments.


def test_a_count_that_a_deployment_reset_is_restored():
    after, notes = notice_foreign_change(steady(8), seen(None, 1), NOW_S, deployed=True)
    assert (after.wish, after.queued, after.manual.after, after.manual.cause) == (8, True, 8, RESTORED)
    assert notes[0].reason is Reason.DEPLOYMENT_IN_PROGRESS
    # No load at all: still eight, at once.
    assert decide(target(), seen(totals([1] * 60, 1), 1), after, NOW_S).desired == 8


def test_a_reset_that_shows_only_when_a_long_deployment_is_over_is_restored_too():
    state, at_s = steady(8), NOW_S
    for look in range(120):  # two hours of blue/green; the new configuration shows at its first look
        at_s = NOW_S + 60 * look
        observed = seen(None, 8, where=endpoint(status=EndpointStatus.UPDATING), now_s=at_s)
        state, notes = notice_foreign_change(state, observed, at_s, deployed=look == 0)
        assert (state.manual.cause, notes) == (CARRIED, ())
        state = decide(target(), observed, state, at_s).state
    at_s += 60
    state, notes = notice_foreign_change(state, seen(None, 1, now_s=at_s), at_s, deployed=False)
    assert (state.wish, state.queued, notes[0].what) == (8, True, "restored")


def test_a_restored_count_may_be_changed_by_a_person_afterwards():
    state, _ = notice_foreign_change(steady(8), seen(None, 1), NOW_S, deployed=True)
    state = replace(state, queued=False, last_look_s=NOW_S)
    after, _ = notice_foreign_change(state, seen(None, 3), NOW_S + 60, deployed=False)
    assert (after.wish, after.manual.after) == (3, 3)


def test_a_deployment_that_resets_nothing_only_keeps_the_count_for_a_while():
    after, notes = notice_foreign_change(steady(8), seen(None, 8), NOW_S, deployed=True)
    assert (after.wish, after.queued, after.manual.after, notes) == (8, False, 8, ())


def test_a_persons_larger_wish_outlives_a_deployment():
    wish = Change(NOW_S - 10, 8, 12, "ann", hold_s=7200.0)
    after, _ = notice_foreign_change(steady(8, manual=wish), seen(None, 8), NOW_S, deployed=True)
    assert after.manual == wish


# Instances.


def moved(memory, desired, current, *, status=EndpointStatus.IN_SERVICE, dipped=False, reason=None, now_s=NOW_S):
    variant = Variant("v", "ml.g5.12xlarge", current, desired)
    return follow_instances(
        memory, variant, Endpoint("llm", status, (variant,), failure_reason=reason), now_s, dipped=dipped
    )


def memory_of(before, wanted, **fields):
    return VariantState(ask=asked(before, wanted, what="instances"), **fields)


def test_instances_that_came_teach_how_long_they_took():
    after, notes = moved(memory_of(1, 4, backoff=Backoff("x", 0.0, 2)), 4, 4)
    assert (after.ask, after.backoff, after.startup_s) == (None, None, (100.0,))
    assert (notes[0].what, notes[0].failed) == ("instances", False)


@pytest.mark.parametrize(
    ("desired", "current", "status"),
    [(4, 3, EndpointStatus.UPDATING), (4, 4, EndpointStatus.UPDATING), (1, 1, EndpointStatus.UPDATING)],
)
def test_instances_count_when_the_endpoint_is_in_service_again(desired, current, status):
    after, notes = moved(memory_of(1, 4), desired, current, status=status)
    assert (after.ask is not None, notes) == (True, ())


@pytest.mark.parametrize(
    ("wanted", "desired", "current", "possible"),
    [
        (9, 1, 1, 5),  # nothing came: half of it next time
        (9, 9, 5, 7),  # four came: and half of the rest
        (2, 1, 1, None),  # one cannot be made smaller
        (4, 1, 1, 2),
    ],
)
def test_instances_that_were_given_up_silently_are_asked_smaller_after_a_while(wanted, desired, current, possible):
    after, notes = moved(memory_of(1, wanted), desired, current, reason="CapacityError: none")
    assert after.ask is None
    assert after.backoff == Backoff("InsufficientInstanceCapacity", NOW_S + 60, 1, possible)
    assert "CapacityError: none" in notes[0].detail
    assert notes[0].failed


def test_a_young_ask_may_not_show_yet():
    memory = VariantState(ask=asked(1, 4, what="instances", ago_s=30))
    assert moved(memory, 1, 1) == (memory, ())


def test_instances_that_are_late_beyond_their_deadline_are_given_up():
    memory = VariantState(ask=asked(1, 4, what="instances", deadline_in_s=0.0))
    after, notes = moved(memory, 4, 2, status=EndpointStatus.UPDATING)
    assert (after.ask, after.backoff.reason, notes[0].reason) == (None, Reason.DEADLINE_PASSED, Reason.DEADLINE_PASSED)


def test_a_scale_in_of_instances_that_was_given_up_blocks_no_scale_out_and_waits_for_a_new_hold():
    after, notes = moved(memory_of(4, 3, empty_since_s=5.0), 4, 4)
    assert (after.ask, after.backoff, after.empty_since_s, notes[0].failed) == (None, None, None, True)


def test_a_removed_instance_is_watched_then_forgotten():
    after, _ = moved(memory_of(4, 3, empty_since_s=5.0), 3, 3)
    assert (after.watch_until_s, after.watch_restore, after.empty_since_s) == (NOW_S + WATCH_S, 4, 5.0)
    later, notes = moved(after, 3, 3, now_s=NOW_S + WATCH_S)
    assert (later.watch_until_s, later.watch_restore, later.left_to_human, notes) == (None, None, False, ())


def test_a_dip_within_the_watch_is_told_once_and_leaves_scale_in_to_a_person():
    memory = VariantState(watch_until_s=NOW_S + 100, watch_restore=4)
    after, notes = moved(memory, 3, 3, dipped=True)
    assert (after.left_to_human, notes[0].reason) == (True, Reason.BLIND_INSTANCE_SCALE_IN)
    assert moved(after, 3, 3, dipped=True) == (after, ())


def test_a_dip_is_noticed_while_the_removal_still_runs():
    # The victim goes at once; when the endpoint is InService again, its copies may be back on another instance.
    memory = memory_of(4, 3)
    after, notes = moved(memory, 3, 3, status=EndpointStatus.UPDATING, dipped=True)
    assert (after.ask, after.left_to_human, after.watch_restore) == (memory.ask, True, 4)
    assert notes[0].reason is Reason.BLIND_INSTANCE_SCALE_IN
    done, notes = moved(after, 3, 3)
    assert (done.ask, done.left_to_human, done.watch_restore, len(notes)) == (None, True, 4, 1)


def test_copies_that_are_missing_while_instances_are_added_are_no_dip():
    memory = memory_of(1, 4)
    assert moved(memory, 4, 2, status=EndpointStatus.UPDATING, dipped=True) == (memory, ())


def test_a_dip_without_a_removal_is_not_our_doing():
    assert moved(VariantState(), 3, 3, dipped=True) == (VariantState(), ())


def test_emptiness_is_remembered_from_its_first_look_and_forgotten_at_its_last():
    state = EndpointState(variants={"w": VariantState(empty_since_s=5.0), "x": VariantState(empty_since_s=6.0)})
    after = mark_empty(state, ("v", "w"), NOW_S)
    assert {name: m.empty_since_s for name, m in after.variants.items()} == {"v": NOW_S, "w": 5.0, "x": None}
    assert mark_empty(after, ("v", "w"), NOW_S + 60) == after


@pytest.mark.parametrize("accepted", [True, False])
def test_an_ask_that_nobody_heard_accepted_is_asked_again_without_a_back_off(accepted):
    ask = replace(asked(2, 5), accepted=accepted, at_s=NOW_S - 60)
    after, notes = follow_copies(steady(2, ask=ask, wish=5), seen(None, 2), NOW_S)
    assert (after.ask, after.queued, notes[0].failed) == (None, True, True)
    assert (after.backoff is not None) is accepted
    memory = VariantState(ask=replace(asked(2, 5, what="instances"), accepted=accepted, at_s=NOW_S - 60))
    variant, _ = moved(memory, 2, 2)
    assert (variant.backoff is not None) is accepted
