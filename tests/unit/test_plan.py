"""The plan: one endpoint's next move, word by word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quickstep.capacity.plan import next_grid_s, part_now_pays, plan_endpoint
from quickstep.capacity.room import copies_per_instance_of
from quickstep.capacity.waits import release_hold_s
from quickstep.model.loop import NextWord
from quickstep.model.observation import AlarmState, ComponentStatus, EndpointStatus, Variant
from quickstep.model.plan import InstanceAsk
from quickstep.model.state import Ask, Backoff, TargetState, VariantState
from quickstep.model.targets import Guards
from quickstep.reasons import Reason
from tests.unit.scenes import NOW_S, component, instances_wish, settled_on, view_of, wish

ADD, PLACE, REMOVE = NextWord.ADD_INSTANCES, NextWord.PLACE_COPIES, NextWord.REMOVE_COPIES
RELEASE, WAIT_FOR, WAIT, SETTLED = (
    NextWord.REMOVE_INSTANCES,
    NextWord.WAIT_FOR_INSTANCES,
    NextWord.WAIT,
    NextWord.SETTLED,
)
MANAGED = {"managed": True}


def asked(before, wanted, *, ago_s=10.0, what="instances"):
    return Ask(what, NOW_S - ago_s, before, wanted, NOW_S - ago_s + 1200)


def refused(reason=Reason.QUOTA_EXCEEDED, *, in_s=90.0, possible=None, attempts=1):
    return Backoff(str(reason), NOW_S + in_s, attempts, possible)


def copies_of(plan):
    return {ask.component: (ask.before, ask.wanted) for ask in plan.copies}


def held(plan, name):
    found = {t.component or t.resource_id: h.reason for t, h in plan.held.items()}
    return found.get(name)


# Scale-out where we move the instances. Instances have 4 accelerators.


def test_copies_that_fit_are_placed_at_once():
    plan = plan_endpoint(view_of(wish(settled_on("a", 1), 4), instances=1))
    assert (plan.word, copies_of(plan), plan.instances) == (PLACE, {"a": (1, 4)}, None)


def test_if_a_part_fits_it_is_placed_now_and_instances_are_added_next():
    first = settled_on("a", 1)
    plan = plan_endpoint(view_of(wish(first, 10), instances=1))
    assert (plan.word, copies_of(plan)) == (PLACE, {"a": (1, 4)})
    assert "6 more wait for instances" in plan.why
    locked = settled_on("a", 4, 1, status=ComponentStatus.UPDATING)
    plan = plan_endpoint(view_of(wish(locked, 10), instances=1))
    assert (plan.word, plan.instances) == (ADD, InstanceAsk("v", 1, 3))


def test_if_nothing_fits_instances_are_asked_once_to_the_packed_need():
    plan = plan_endpoint(view_of(wish(settled_on("a", 4), 13), instances=1))
    assert (plan.word, plan.instances) == (ADD, InstanceAsk("v", 1, 4))
    assert held(plan, "a") is Reason.PENDING_CAPACITY


@pytest.mark.parametrize("memory", [VariantState(ask=asked(1, 4)), VariantState(ask=asked(1, 4, ago_s=500))])
def test_while_instances_are_coming_none_are_asked_again_even_for_a_larger_wish(memory):
    view = view_of(
        wish(settled_on("a", 4), 40), instances=1, desired_instances=4, status=EndpointStatus.UPDATING, memory=memory
    )
    plan = plan_endpoint(view)
    assert (plan.word, plan.instances) == (WAIT_FOR, None)
    # … nor while the endpoint does not show the update yet.
    plan = plan_endpoint(view_of(wish(settled_on("a", 4), 40), instances=1, memory=memory))
    assert (plan.word, plan.instances) == (WAIT_FOR, None)


@pytest.mark.parametrize(
    ("ago_s", "learned", "wait_s"),
    [
        (0, (), 60),  # 0.7 × 300 s are left
        (160, (), 50),
        (200, (), 20),
        (2000, (), 20),
        (0, (40.0,) * 5, 28),
        (0, (900.0,) * 5, 60),
    ],
)
def test_the_wait_for_instances_is_twenty_to_sixty_seconds_by_what_was_learned(ago_s, learned, wait_s):
    memory = VariantState(ask=asked(1, 4, ago_s=ago_s), startup_s=learned)
    view = view_of(wish(settled_on("a", 4), 13), instances=1, desired_instances=4, memory=memory)
    assert plan_endpoint(view).wait_s == wait_s


def test_while_copies_are_coming_too_every_tick_is_looked_at():
    memory = VariantState(ask=asked(1, 4))
    loading = settled_on("a", 4, 1, status=ComponentStatus.UPDATING)
    view = view_of(wish(loading, 13), instances=1, desired_instances=4, memory=memory)
    plan = plan_endpoint(view)
    assert (plan.word, plan.wait_s) == (WAIT_FOR, 10)


def test_copies_that_fit_on_what_serves_are_placed_while_our_own_instances_are_still_coming():
    memory = VariantState(ask=asked(2, 4, ago_s=10))
    view = view_of(
        wish(settled_on("a", 4), 13),
        wish(settled_on("b", 1), 2),
        instances=2,
        desired_instances=4,
        status=EndpointStatus.UPDATING,
        memory=memory,
    )
    plan = plan_endpoint(view)
    assert plan.word is PLACE
    assert copies_of(plan)["a"] == (4, 7)


@pytest.mark.parametrize(
    ("part", "whole", "left_s", "copy_s", "pays"),
    [
        (1, 8, 300, 120, True),  # the lock is over long before the instances are there
        (1, 8, 60, 120, False),  # seven copies would be a minute late for one that is a minute early
        (6, 8, 60, 120, True),
        (4, 8, 60, 120, True),
        (3, 8, 60, 120, False),
        (1, 8, 0, 120, False),
    ],
)
def test_part_now_is_chosen_by_the_shortage_that_is_left(part, whole, left_s, copy_s, pays):
    assert part_now_pays(part=part, whole=whole, instance_left_s=left_s, copy_s=copy_s) is pays


def test_when_instances_are_about_to_come_a_small_part_waits_and_the_record_says_why():
    memory = VariantState(ask=asked(1, 4, ago_s=280))
    plan = plan_endpoint(view_of(wish(settled_on("a", 3), 13), instances=1, desired_instances=4, memory=memory))
    assert plan.word is WAIT_FOR
    assert "lock a for 120 s and instances are due in 20 s: all at once" in next(iter(plan.held.values())).detail


def test_all_copies_are_placed_together_when_the_instances_are_there():
    plan = plan_endpoint(view_of(wish(settled_on("a", 4), 13), wish(settled_on("b", 1), 3), instances=4))
    assert (plan.word, copies_of(plan)) == (PLACE, {"a": (4, 13), "b": (1, 3)})


def test_an_instance_scale_in_that_was_accepted_is_not_counted_on():
    # Four serve, but three are desired: one is going away.
    plan = plan_endpoint(view_of(wish(settled_on("a", 8), 14), instances=4, desired_instances=3))
    assert copies_of(plan) == {"a": (8, 12)}
    plan = plan_endpoint(view_of(wish(settled_on("a", 12), 14), instances=4, desired_instances=3))
    assert plan.word is WAIT_FOR


def test_the_need_counts_every_component_registered_or_not():
    plan = plan_endpoint(view_of(wish(settled_on("a", 2), 3), others=[settled_on("stranger", 2)], instances=1))
    assert (plan.word, plan.instances) == (ADD, InstanceAsk("v", 1, 2))


def test_adapters_take_nothing_of_their_own():
    adapter = settled_on("lora", 3, requirements=None, base_component="a")
    plan = plan_endpoint(view_of(wish(settled_on("a", 1), 4), others=[adapter], instances=1))
    assert copies_of(plan) == {"a": (1, 4)}
    plan = plan_endpoint(view_of(wish(adapter, 5), others=[settled_on("a", 4)], instances=1))
    assert copies_of(plan) == {"lora": (3, 5)}


def test_a_copy_that_fits_on_no_instance_is_told_and_asks_for_none():
    plan = plan_endpoint(view_of(wish(settled_on("a", 0, accelerators=5), 1), instances=1))
    assert (plan.word, held(plan, "a"), plan.next_look_at_s) == (SETTLED, Reason.NOT_SCALABLE_NOW, NOW_S + 900)


@pytest.mark.parametrize(
    ("fields", "instances", "copies", "wished", "word", "wanted"),
    [
        # Sizes are not known: an instance holds what one is seen to hold.
        ({"instance_type": "ml.new.type"}, 2, 8, 12, ADD, 3),
        ({"instance_type": "ml.new.type"}, 3, 8, 9, PLACE, 9),
        ({"instance_type": None}, 2, 2, 3, ADD, 3),
        ({"instance_type": "ml.new.type"}, 1, 0, 2, PLACE, 1),
    ],
)
def test_with_unknown_sizes_density_is_taken_from_what_runs(fields, instances, copies, wished, word, wanted):
    plan = plan_endpoint(view_of(wish(settled_on("a", copies), wished), instances=instances, **fields))
    assert plan.word is word
    assert (plan.instances.wanted if plan.instances else plan.copies[0].wanted) == wanted


def test_a_component_that_says_nothing_of_its_needs_makes_sizes_unknown():
    plan = plan_endpoint(view_of(wish(settled_on("a", 4, requirements=None), 6), instances=1))
    assert (plan.word, plan.instances) == (ADD, InstanceAsk("v", 1, 2))


def test_higher_priority_is_served_first_where_room_is_short():
    low, high = wish(settled_on("a", 1), 4, priority=0), wish(settled_on("b", 1), 3, priority=5)
    plan = plan_endpoint(view_of(low, high, instances=1))
    assert copies_of(plan) == {"b": (1, 3)}


# Refusals are waited out; nobody else waits with them.


@pytest.mark.parametrize(
    ("backoff", "word", "wanted", "reason"),
    [
        (refused(), SETTLED, None, Reason.QUOTA_EXCEEDED),
        (refused(possible=3), ADD, 3, Reason.QUOTA_EXCEEDED),  # the largest that the quota leaves
        (refused(possible=1), SETTLED, None, Reason.QUOTA_EXCEEDED),
        (refused(possible=9), ADD, 4, Reason.PENDING_CAPACITY),
        (refused(in_s=-1.0), ADD, 4, Reason.PENDING_CAPACITY),  # waited out: all of it again
        (refused(Reason.INSUFFICIENT_CAPACITY, possible=2), ADD, 2, Reason.INSUFFICIENT_CAPACITY),
        (Backoff("AWordOfTomorrow", NOW_S + 90, 1), SETTLED, None, Reason.NOT_SCALABLE_NOW),
    ],
)
def test_a_refused_instance_ask_is_made_smaller_or_waits(backoff, word, wanted, reason):
    view = view_of(wish(settled_on("a", 4), 13, hot=True), instances=1, memory=VariantState(backoff=backoff))
    plan = plan_endpoint(view)
    assert (plan.word, held(plan, "a")) == (word, reason)
    if wanted is None:
        assert plan.next_look_at_s == NOW_S + 90
    else:
        assert plan.instances.wanted == wanted


def test_a_blocked_wish_sets_the_next_look_to_its_next_try():
    memory = VariantState(backoff=refused(in_s=240.0))
    plan = plan_endpoint(view_of(wish(settled_on("a", 4), 13), instances=1, memory=memory))
    assert (plan.word, plan.next_look_at_s) == (SETTLED, NOW_S + 240)


def test_a_refusal_of_copies_leaves_what_is_possible():
    state = TargetState(backoff=refused(possible=3))
    plan = plan_endpoint(view_of(wish(settled_on("a", 1), 4, state=state), instances=1))
    assert (copies_of(plan), held(plan, "a")) == ({"a": (1, 3)}, Reason.QUOTA_EXCEEDED)


def test_a_blocked_component_keeps_neither_room_nor_instances_from_the_others():
    blocked = TargetState(backoff=refused(Reason.FOREIGN_ACTOR, in_s=200.0))
    view = view_of(wish(settled_on("a", 1), 4, state=blocked, priority=9), wish(settled_on("b", 1), 3), instances=1)
    assert copies_of(plan_endpoint(view)) == {"b": (1, 3)}
    view = view_of(wish(settled_on("a", 1), 40, state=blocked), wish(settled_on("b", 3), 5), instances=1)
    assert plan_endpoint(view).instances.wanted == 2  # for b alone


def test_while_one_waits_for_quota_another_is_scaled_in():
    memory = VariantState(backoff=refused(in_s=300.0))
    view = view_of(wish(settled_on("a", 4), 13), wish(settled_on("b", 4), 2), instances=2, memory=memory)
    plan = plan_endpoint(view)
    assert (plan.word, copies_of(plan)) == (REMOVE, {"b": (4, 2)})


def test_a_busy_component_is_asked_later_and_the_others_now():
    busy = wish(settled_on("a", 2, 1, status=ComponentStatus.UPDATING), 3)
    plan = plan_endpoint(view_of(busy, wish(settled_on("b", 1), 2), instances=2))
    assert (copies_of(plan), held(plan, "a")) == ({"b": (1, 2)}, Reason.NOT_SCALABLE_NOW)
    plan = plan_endpoint(view_of(busy, instances=2))
    assert (plan.word, plan.wait_s) == (WAIT, 10)


def test_a_rolling_update_freezes_its_component_only():
    rolling = wish(settled_on("a", 2, rolling_update=True), 1)
    plan = plan_endpoint(view_of(rolling, wish(settled_on("b", 2), 1), instances=2))
    assert (copies_of(plan), held(plan, "a")) == ({"b": (2, 1)}, Reason.DEPLOYMENT_IN_PROGRESS)


# Copies that SageMaker gave up.


def test_copies_that_were_refused_for_want_of_room_get_one_more_instance():
    # The packing says that they fit; SageMaker said that they do not: what is free lies in the wrong places.
    state = TargetState(wish=4, backoff=refused(Reason.INSUFFICIENT_CAPACITY, in_s=50.0))
    plan = plan_endpoint(view_of(wish(settled_on("a", 4, 3), 4, state=state), instances=1))
    assert (plan.word, plan.instances) == (ADD, InstanceAsk("v", 1, 2))


def test_more_instances_are_tried_twice_then_a_person_is_told():
    state = TargetState(wish=4, backoff=refused(Reason.INSUFFICIENT_CAPACITY, in_s=50.0, attempts=3))
    plan = plan_endpoint(view_of(wish(settled_on("a", 4, 3), 4, state=state), instances=1))
    assert plan.word is not ADD


def test_after_the_refusal_is_waited_out_missing_copies_are_asked_for_again():
    state = TargetState(wish=4, backoff=refused(Reason.INSUFFICIENT_CAPACITY, in_s=-1.0))
    for fields in ({}, MANAGED):
        plan = plan_endpoint(view_of(wish(settled_on("a", 4, 2), 4, state=state), instances=1, **fields))
        assert (plan.word, copies_of(plan)) == (PLACE, {"a": (2, 4)})


def test_missing_copies_that_do_not_fit_are_not_asked_for_again():
    state = TargetState(wish=8, backoff=refused(Reason.INSUFFICIENT_CAPACITY, in_s=-1.0))
    plan = plan_endpoint(view_of(wish(settled_on("a", 8, 2), 8, state=state), instances=1))
    assert (plan.word, plan.copies, plan.instances) == (ADD, (), InstanceAsk("v", 1, 2))


def test_copies_that_miss_their_instances_get_them_back():
    # UpdateEndpoint reset the instances to one; eight copies are still desired.
    plan = plan_endpoint(view_of(wish(settled_on("a", 8, 4), 8), instances=1))
    assert (plan.word, plan.instances) == (ADD, InstanceAsk("v", 1, 2))


def test_a_copy_that_is_just_being_restarted_is_no_reason_to_do_anything():
    plan = plan_endpoint(view_of(wish(settled_on("a", 4, 3), 4), instances=1))
    assert plan.word is SETTLED


# Managed mode.


def test_in_managed_mode_copies_are_asked_and_instances_never():
    for fields in (MANAGED, {"memory": VariantState(managed=True)}):
        plan = plan_endpoint(view_of(wish(settled_on("a", 1), 40), instances=1, **fields))
        assert (plan.word, copies_of(plan), plan.instances) == (PLACE, {"a": (1, 40)}, None)


def test_in_managed_mode_copies_are_asked_although_sagemaker_is_moving_instances():
    view = view_of(wish(settled_on("b", 1), 2), instances=1, status=EndpointStatus.UPDATING, **MANAGED)
    assert plan_endpoint(view).word is PLACE


def test_in_managed_mode_sagemakers_maximum_binds_over_all_components():
    view = view_of(
        wish(settled_on("a", 4), 7, hot=True),
        wish(settled_on("b", 2), 5, priority=1),
        instances=2,
        managed=True,
        managed_max=3,
    )
    plan = plan_endpoint(view)
    assert copies_of(plan) == {"a": (4, 7), "b": (2, 5)}
    view = view_of(
        wish(settled_on("a", 4), 9, hot=True),
        wish(settled_on("b", 2), 5, priority=1),
        instances=2,
        managed=True,
        managed_max=3,
    )
    plan = plan_endpoint(view)
    assert (copies_of(plan), held(plan, "a")) == ({"b": (2, 5), "a": (4, 7)}, Reason.MANAGED_MAX_INSTANCES)


def test_at_sagemakers_maximum_a_hot_target_is_settled():
    view = view_of(wish(settled_on("a", 12), 14, hot=True), instances=3, managed=True, managed_max=3)
    plan = plan_endpoint(view)
    assert (plan.word, held(plan, "a")) == (SETTLED, Reason.MANAGED_MAX_INSTANCES)


def test_with_unknown_sizes_sagemakers_maximum_is_left_to_sagemaker():
    view = view_of(wish(settled_on("a", 1), 8), instances=1, managed=True, managed_max=2, instance_type="ml.new.type")
    assert copies_of(plan_endpoint(view)) == {"a": (1, 8)}


@pytest.mark.parametrize(("status", "word"), [(EndpointStatus.IN_SERVICE, REMOVE), (EndpointStatus.UPDATING, WAIT)])
def test_copies_are_not_removed_while_the_endpoint_is_updating(status, word):
    for fields in ({}, MANAGED):
        assert plan_endpoint(view_of(wish(settled_on("a", 4), 2), instances=1, status=status, **fields)).word is word


def test_sagemaker_releases_the_instances_in_managed_mode():
    plan = plan_endpoint(view_of(wish(settled_on("a", 1), 1), instances=9, **MANAGED))
    assert (plan.word, plan.empty_variants) == (SETTLED, ())


# Scale-in where we move the instances.


def test_copies_go_before_instances():
    plan = plan_endpoint(view_of(wish(settled_on("a", 12), 2), instances=3, memory=VariantState(empty_since_s=0.0)))
    assert (plan.word, copies_of(plan), plan.instances) == (REMOVE, {"a": (12, 2)}, None)
    assert plan.empty_variants == ()  # twelve are still there


def test_instances_go_one_at_a_time_after_the_hold():
    for empty_for_s, word in ((None, WAIT), (29.0, WAIT), (30.0, RELEASE)):
        memory = VariantState(empty_since_s=None if empty_for_s is None else NOW_S - empty_for_s)
        plan = plan_endpoint(view_of(wish(settled_on("a", 2), 2), instances=4, memory=memory))
        assert (plan.word, plan.empty_variants) == (word, ("v",))
        if word is RELEASE:
            assert plan.instances == InstanceAsk("v", 4, 3)
        if word is WAIT:
            assert plan.why == f"a hold ends in {30 - (empty_for_s or 0):.0f} s"


LONG_EMPTY = VariantState(empty_since_s=NOW_S - 5_000)


@pytest.mark.parametrize(
    ("mine", "others", "instances", "word"),
    [
        (settled_on("a", 4), [], 2, RELEASE),
        (settled_on("a", 5), [], 2, SETTLED),
        (settled_on("a", 0), [], 1, SETTLED),  # one instance stays
        (settled_on("a", 4), [settled_on("stranger", 4)], 3, RELEASE),
        (settled_on("a", 4), [settled_on("stranger", 5)], 3, SETTLED),  # unregistered components count
        # Packed, two instances would do; but each of three small copies may sit on an instance of its own.
        (settled_on("a", 1, accelerators=4), [settled_on("stranger", 3)], 4, SETTLED),
        (settled_on("a", 1, accelerators=4), [settled_on("stranger", 3)], 5, RELEASE),
        (settled_on("a", 4, requirements=None), [], 9, SETTLED),  # unknown sizes: nothing is given back
        (settled_on("a", 4), [settled_on("stranger", 1, 2)], 9, SETTLED),  # something moves
        (settled_on("a", 4), [settled_on("stranger", 1, status=ComponentStatus.UPDATING)], 9, SETTLED),
    ],
)
def test_instances_never_go_below_the_worst_case_packing_of_everything(mine, others, instances, word):
    view = view_of(wish(mine, mine.desired_copies, low=0), others=others, instances=instances, memory=LONG_EMPTY)
    assert plan_endpoint(view).word is word


def test_instances_stay_when_not_every_component_could_be_read():
    view = view_of(wish(settled_on("a", 1), 1), instances=9, memory=LONG_EMPTY, known=False)
    assert plan_endpoint(view).word is SETTLED


def test_instances_stay_while_a_target_on_them_is_paused():
    view = view_of(wish(settled_on("a", 1), 1, hands_off=True), instances=9, memory=LONG_EMPTY)
    assert plan_endpoint(view).word is SETTLED


def test_instances_stay_where_nothing_is_registered():
    assert plan_endpoint(view_of(others=[settled_on("stranger", 1)], instances=9, memory=LONG_EMPTY)).word is SETTLED


def test_instances_stay_while_a_wish_needs_them_even_if_it_is_blocked():
    state = TargetState(wish=16, backoff=refused(Reason.QUOTA_EXCEEDED, in_s=500.0))
    view = view_of(wish(settled_on("a", 4), 16, state=state), instances=4, memory=LONG_EMPTY)
    assert plan_endpoint(view).word is SETTLED


def test_after_an_instance_was_removed_the_next_waits_until_it_is_known_to_have_been_empty():
    memory = replace(LONG_EMPTY, watch_until_s=NOW_S + 100, watch_restore=5)
    plan = plan_endpoint(view_of(wish(settled_on("a", 4), 4), instances=4, memory=memory))
    assert (plan.word, plan.instances) == (WAIT, None)  # the watch keeps the loop awake


def test_an_instance_whose_removal_hit_copies_is_restored_and_the_rest_left_to_a_person():
    memory = VariantState(watch_until_s=NOW_S + 100, watch_restore=5, left_to_human=True)
    plan = plan_endpoint(view_of(wish(settled_on("a", 4, 3), 4), instances=4, memory=memory))
    assert (plan.word, plan.instances) == (ADD, InstanceAsk("v", 4, 5))
    plan = plan_endpoint(view_of(wish(settled_on("a", 4), 4), instances=4, memory=memory))
    assert plan.instances is None  # they have found room elsewhere
    memory = VariantState(left_to_human=True, empty_since_s=NOW_S - 5_000)
    plan = plan_endpoint(view_of(wish(settled_on("a", 4), 4), instances=5, memory=memory))
    assert (plan.word, held(plan, "a"), plan.instances) == (SETTLED, Reason.BLIND_INSTANCE_SCALE_IN, None)
    assert plan.next_look_at_s == NOW_S + 900


def test_a_restore_waits_for_its_own_refusal_and_for_the_operator():
    memory = VariantState(watch_until_s=NOW_S + 100, watch_restore=5, left_to_human=True)
    for fields in (
        {"memory": replace(memory, backoff=refused())},
        {"memory": replace(memory, watch_until_s=NOW_S - 1)},
    ):
        assert plan_endpoint(view_of(wish(settled_on("a", 4, 3), 4), instances=4, **fields)).instances is None
    paused = wish(settled_on("a", 4, 3), 4, hands_off=True)
    assert plan_endpoint(view_of(paused, instances=4, memory=memory)).instances is None


def test_copies_that_load_after_a_removal_are_no_dip():
    memory = VariantState(watch_until_s=NOW_S + 100, watch_restore=5)
    loading = settled_on("a", 8, 4, status=ComponentStatus.UPDATING)
    plan = plan_endpoint(view_of(wish(loading, 8), instances=4, memory=memory))
    assert (plan.word, plan.instances) == (WAIT, None)


# Paused targets, and changes of others.


@pytest.mark.parametrize("fields", [{}, MANAGED])
def test_nothing_is_done_for_a_target_that_is_hands_off(fields):
    state = TargetState(wish=8, backoff=refused(Reason.INSUFFICIENT_CAPACITY, in_s=-1.0))
    missing = wish(settled_on("a", 8, 2), 8, state=state, hands_off=True)
    for instances in (1, 2):
        plan = plan_endpoint(view_of(missing, instances=instances, **fields))
        assert (plan.copies, plan.instances) == ((), None)


@pytest.mark.parametrize(
    ("status", "word", "reason"),
    [
        (EndpointStatus.SYSTEM_UPDATING, WAIT, Reason.DEPLOYMENT_IN_PROGRESS),
        (EndpointStatus.ROLLING_BACK, WAIT, Reason.DEPLOYMENT_IN_PROGRESS),
        (EndpointStatus.CREATING, WAIT, Reason.DEPLOYMENT_IN_PROGRESS),
        (EndpointStatus.UNKNOWN, WAIT, Reason.NOT_SCALABLE_NOW),
        (EndpointStatus.FAILED, SETTLED, Reason.NOT_SCALABLE_NOW),
        (EndpointStatus.DELETING, SETTLED, Reason.NOT_SCALABLE_NOW),
        (EndpointStatus.OUT_OF_SERVICE, SETTLED, Reason.NOT_SCALABLE_NOW),
        (EndpointStatus.UPDATE_ROLLBACK_FAILED, SETTLED, Reason.NOT_SCALABLE_NOW),
    ],
)
@pytest.mark.parametrize("fields", [{}, MANAGED])
def test_frozen_and_dead_endpoints_are_left_alone(status, word, reason, fields):
    plan = plan_endpoint(view_of(wish(settled_on("a", 4), 8, hot=True), instances=1, status=status, **fields))
    assert (plan.word, held(plan, "a"), plan.copies, plan.instances) == (word, reason, (), None)
    assert plan.wait_s == 60 if word is WAIT else plan.next_look_at_s == NOW_S + 900


@pytest.mark.parametrize("word", ["Baking", "ActivatingTraffic", "Deleting"])
@pytest.mark.parametrize("fields", [{}, MANAGED])
def test_a_variant_that_is_being_deployed_freezes_the_endpoint(word, fields):
    view = view_of(wish(settled_on("a", 4), 1), instances=1, statuses=(word,), **fields)
    plan = plan_endpoint(view)
    assert (plan.word, plan.wait_s, held(plan, "a")) == (WAIT, 60, Reason.DEPLOYMENT_IN_PROGRESS)
    assert word in plan.why


@pytest.mark.parametrize("wished", [8, 3])
def test_an_update_that_is_not_ours_is_waited_for(wished):
    plan = plan_endpoint(view_of(wish(settled_on("a", 4), wished), instances=2, status=EndpointStatus.UPDATING))
    assert (plan.word, plan.wait_s, plan.copies) == (WAIT, 20, ())


# Settled, and when to look again.


@pytest.mark.parametrize("alarm", ["s--high", "s--low"])
def test_at_its_bounds_a_target_is_settled_although_the_alarm_stays_in_alarm(alarm):
    plan = plan_endpoint(view_of(wish(settled_on("a", 1), 1, low=1), instances=1, alarms={alarm: AlarmState.ALARM}))
    assert (plan.word, plan.next_look_at_s) == (SETTLED, NOW_S + 900)


def test_a_hot_target_with_room_above_is_looked_at_every_tick():
    plan = plan_endpoint(view_of(wish(settled_on("a", 1), 1, hot=True), instances=1))
    assert (plan.word, plan.wait_s) == (WAIT, 10)


def test_a_low_alarm_that_stays_above_the_minimum_is_looked_at_twice_per_hold():
    for low, next_s in ((1, 150), (2, 900)):
        view = view_of(wish(settled_on("a", 2), 2, low=low), instances=1, alarms={"s--low": AlarmState.ALARM})
        assert plan_endpoint(view).next_look_at_s == NOW_S + next_s
    paused = wish(settled_on("a", 2), 2, hands_off=True)
    assert (
        plan_endpoint(view_of(paused, instances=1, alarms={"s--low": AlarmState.ALARM})).next_look_at_s == NOW_S + 900
    )


@pytest.mark.parametrize(
    ("due_in_s", "word", "wait_s"),
    [(3.0, WAIT, 10), (35.2, WAIT, 36), (60.0, WAIT, 60), (61.0, SETTLED, None), (2000.0, SETTLED, None)],
)
def test_a_timer_due_within_a_minute_keeps_the_loop_awake_a_later_one_sets_the_next_look(due_in_s, word, wait_s):
    plan = plan_endpoint(view_of(wish(settled_on("a", 1), 1, look_again_in_s=due_in_s), instances=1))
    assert plan.word is word
    if word is WAIT:
        assert plan.wait_s == wait_s
    else:
        assert plan.next_look_at_s == NOW_S + min(due_in_s, 900.0)


def test_a_timer_that_is_over_keeps_nobody_awake():
    # Something stuck beside an instance that is empty for long: nothing more can be done.
    view = view_of(wish(settled_on("a", 4), 4), others=[settled_on("stuck", 2, 1)], instances=9, memory=LONG_EMPTY)
    assert plan_endpoint(view).word is SETTLED


def test_copies_on_their_way_are_waited_for():
    state = TargetState(wish=4, ask=asked(1, 4, what="copies"))
    plan = plan_endpoint(view_of(wish(settled_on("a", 4, 1), 4, state=state), instances=1))
    assert (plan.word, plan.wait_s) == (WAIT, 10)


@pytest.mark.parametrize(("now_s", "wait_s"), [(100.0, 10), (101.0, 9), (109.5, 1), (109.01, 1), (99.999, 1)])
def test_ticks_sit_on_the_ten_second_grid(now_s, wait_s):
    assert next_grid_s(now_s) == wait_s


def test_an_endpoint_without_wishes_is_settled():
    assert plan_endpoint(view_of(instances=1)).word is SETTLED


# Instances as the scalable target.


@pytest.mark.parametrize(
    ("desired", "current", "wished", "status", "memory", "word", "ask"),
    [
        (2, 2, 2, EndpointStatus.IN_SERVICE, None, SETTLED, None),
        (2, 2, 5, EndpointStatus.IN_SERVICE, None, ADD, (2, 5)),
        (2, 1, 5, EndpointStatus.IN_SERVICE, None, ADD, (2, 5)),
        (5, 5, 2, EndpointStatus.IN_SERVICE, None, RELEASE, (5, 2)),
        (5, 3, 2, EndpointStatus.IN_SERVICE, None, WAIT_FOR, None),  # still moving: later
        (5, 2, 7, EndpointStatus.UPDATING, VariantState(ask=asked(2, 5)), WAIT_FOR, None),
        (2, 2, 7, EndpointStatus.UPDATING, None, WAIT, None),  # somebody else's update
        (2, 2, 2, EndpointStatus.UPDATING, None, WAIT, None),
        (5, 2, 5, EndpointStatus.IN_SERVICE, VariantState(ask=asked(2, 5)), WAIT_FOR, None),
        (5, 2, 5, EndpointStatus.IN_SERVICE, None, SETTLED, None),  # given up; nothing is asked twice
        (2, 2, 7, EndpointStatus.IN_SERVICE, VariantState(backoff=refused(in_s=300.0)), SETTLED, None),
        (2, 2, 7, EndpointStatus.IN_SERVICE, VariantState(backoff=refused(possible=4)), ADD, (2, 4)),
    ],
)
def test_the_words_of_a_variant_whose_instances_are_scaled(desired, current, wished, status, memory, word, ask):
    plan = plan_endpoint(
        view_of(
            instances_wish("v", wished, desired),
            instances=current,
            desired_instances=desired,
            status=status,
            memory=memory,
        )
    )
    assert plan.word is word
    assert (None if plan.instances is None else (plan.instances.before, plan.instances.wanted)) == ask
    if ask:
        assert plan.instances.target_id.resource_id == "endpoint/llm/variant/v"


def test_variants_of_one_endpoint_move_one_after_the_other_copies_first():
    other = Variant("w", "ml.g5.12xlarge", 1, 1)
    needs_instances = wish(settled_on("a", 4), 9)
    fits = wish(settled_on("b", 1, variant="w"), 2)
    shrinks = wish(settled_on("c", 2, variant="w"), 1)
    plan = plan_endpoint(view_of(needs_instances, fits, instances=1, variants=[other]))
    assert (plan.word, copies_of(plan), plan.instances) == (PLACE, {"b": (1, 2)}, None)
    plan = plan_endpoint(view_of(needs_instances, shrinks, instances=1, variants=[other]))
    assert (plan.word, plan.instances) == (ADD, InstanceAsk("v", 1, 3))


def test_copies_of_several_variants_go_in_one_move():
    other = Variant("w", "ml.g5.12xlarge", 1, 1, managed=True)
    plan = plan_endpoint(
        view_of(wish(settled_on("a", 1), 2), wish(settled_on("b", 1, variant="w"), 3), instances=1, variants=[other])
    )
    assert copies_of(plan) == {"a": (1, 2), "b": (1, 3)}


def test_copies_per_instance_are_known_only_if_both_sizes_are():
    variant = Variant("v", "ml.g5.12xlarge", 1, 1)
    assert copies_per_instance_of(settled_on("a", 1, accelerators=2), variant) == 2
    assert copies_per_instance_of(settled_on("a", 1, accelerators=5), variant) is None
    assert copies_per_instance_of(settled_on("a", 1, requirements=None), variant) is None
    assert copies_per_instance_of(settled_on("a", 1), replace(variant, instance_type="ml.new.type")) is None
    assert copies_per_instance_of(settled_on("a", 1), None) is None


def test_the_same_view_gives_the_same_plan():
    view = view_of(wish(settled_on("a", 1), 9), wish(settled_on("b", 1), 3), instances=1)
    assert plan_endpoint(view) == plan_endpoint(view)


def test_an_instance_is_not_given_back_while_streams_of_removed_copies_may_still_run():
    calm = wish(component(1), 1)
    streaming = replace(calm, decision=replace(calm.decision, drain_s=400.0))
    assert release_hold_s((streaming, calm)) == 400.0
    assert release_hold_s((calm,)) == Guards().instance_release_hold_s
