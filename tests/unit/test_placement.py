"""Placement: packed need against the true optimum, worst case against every possible placement, and what still fits."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickstep.capacity.instance_types import InstanceCapacity, capacity_of
from quickstep.capacity.placement import (
    CopyGroup,
    copies_per_instance,
    copies_that_fit,
    instances_needed,
    worst_case_instances,
)
from quickstep.model.observation import Requirements

FOUR = InstanceCapacity(4, 48, 192 * 1024)
QUICK = settings(max_examples=120, deadline=None, derandomize=True)


def group(name, copies, accelerators=1.0, memory_mb=1024, cpu_cores=0.0, placement="SPREAD"):
    return CopyGroup(name, copies, Requirements(accelerators, cpu_cores, memory_mb), placement)


# Truth, by trying everything.


def fits_together(copies, capacity):
    return (
        sum(c.accelerators for c in copies) <= capacity.accelerators + 1e-9
        and sum(c.cpu_cores for c in copies) <= capacity.cpu_cores + 1e-9
        and sum(c.memory_mb for c in copies) <= capacity.memory_mb
    )


def optimum(groups, capacity):
    """Fewest instances, by trying every assignment of copies to instances."""
    copies = [g.requirements for g in groups for _ in range(g.copies)]

    def place(index, bins):
        nonlocal best
        if len(bins) >= best:
            return
        if index == len(copies):
            best = len(bins)
            return
        for one in [*bins, []]:
            if fits_together([*one, copies[index]], capacity):
                rest = [b for b in bins if b is not one]
                place(index + 1, [*rest, [*one, copies[index]]])

    best = len(copies) + 1
    place(0, [])
    return best


def can_get_stuck(groups, instances, capacity):
    """True if some placement of some of the copies on `instances` leaves one of the others without room."""
    counts = tuple(g.copies for g in groups)
    empty = ((0,) * len(groups),) * instances
    seen, todo = {empty}, [empty]
    while todo:
        state = todo.pop()
        used = [sum(one[i] for one in state) for i in range(len(groups))]
        for i in range(len(groups)):
            if used[i] == counts[i]:
                continue
            able = []
            for at, one in enumerate(state):
                more = tuple(n + (j == i) for j, n in enumerate(one))
                held = [h.requirements for h, n in zip(groups, more, strict=True) for _ in range(n)]
                if fits_together(held, capacity):
                    able.append(tuple(sorted((*state[:at], more, *state[at + 1 :]))))
            if not able:
                return True
            for following in able:
                if following not in seen:
                    seen.add(following)
                    todo.append(following)
    return False


small = st.builds(
    group,
    st.just("x"),
    st.integers(0, 3),
    st.sampled_from([1.0, 2.0, 3.0, 4.0]),
    st.sampled_from([10_000, 50_000, 90_000]),
)


def named(groups):
    return [CopyGroup(f"c{i}", g.copies, g.requirements) for i, g in enumerate(groups)]


@given(st.lists(small, min_size=1, max_size=3).map(named))
@QUICK
def test_the_packed_need_is_never_below_the_optimum_and_close_to_it(groups):
    best, found = optimum(groups, FOUR), instances_needed(groups, FOUR)
    assert best <= found <= math.ceil(11 / 9 * best) + 1


@given(st.integers(0, 7), st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.sampled_from([10_000, 70_000, 100_000]))
@QUICK
def test_for_equal_copies_packed_and_worst_case_are_the_optimum(copies, accelerators, memory_mb):
    one = [group("a", copies, accelerators, memory_mb)]
    each = copies_per_instance(one[0].requirements, FOUR)
    assert instances_needed(one, FOUR) == worst_case_instances(one, FOUR) == math.ceil(copies / each)
    assert optimum(one, FOUR) == math.ceil(copies / each)


@given(st.lists(small, min_size=1, max_size=2).map(named))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_on_the_worst_case_no_placement_whatever_leaves_a_copy_without_room(groups):
    worst = worst_case_instances(groups, FOUR)
    assert worst >= instances_needed(groups, FOUR)
    assert not can_get_stuck(groups, worst, FOUR)


@pytest.mark.parametrize(
    ("groups", "packed", "worst"),
    [
        ([], 0, 0),
        ([group("a", 0)], 0, 0),
        ([group("a", 8)], 2, 2),
        ([group("a", 9)], 3, 3),
        ([group("a", 3, 3)], 3, 3),
        ([group("a", 1, 4), group("b", 3, 1)], 2, 4),  # each small copy may spoil an instance for the large one
        ([group("a", 2, 2), group("b", 2, 1)], 2, 2),
        ([group("a", 2, 0.5), group("b", 1, 4)], 2, 3),
        ([group("a", 4, 1, 100_000)], 4, 4),  # memory binds before accelerators do
        ([group("a", 1, 1, 1024, cpu_cores=40), group("b", 1, 1, 1024, cpu_cores=10)], 2, 2),
        ([group("a", 1, 5)], None, None),  # more than an instance has
        ([group("a", 1, 1, 200 * 1024)], None, None),
    ],
)
def test_examples(groups, packed, worst):
    assert instances_needed(groups, FOUR) == packed
    assert worst_case_instances(groups, FOUR) == worst


def test_the_worst_case_is_real():
    groups = [group("a", 1, 4), group("b", 3, 1)]
    assert can_get_stuck(groups, 3, FOUR)
    assert not can_get_stuck(groups, 4, FOUR)


def test_the_worst_case_of_many_odd_sizes_is_found_quickly_and_is_an_upper_bound():
    groups = [group(f"c{i}", 20, 0.5, 7_001 + 113 * i) for i in range(12)]
    assert instances_needed(groups, FOUR) <= worst_case_instances(groups, FOUR) <= 240


# What still fits.


@pytest.mark.parametrize(
    ("placed", "wanted", "instances", "fit"),
    [
        ([], [group("a", 9)], 2, {"a": 8}),
        ([group("a", 3)], [group("a", 9)], 1, {"a": 1}),
        ([group("a", 3)], [group("b", 1, 2)], 1, {"b": 0}),
        ([group("a", 3)], [group("b", 1, 2), group("c", 5)], 1, {"b": 0, "c": 1}),
        ([], [group("b", 3), group("c", 3)], 1, {"b": 3, "c": 1}),  # served in the given order
        ([], [group("a", 3, 1, 100_000)], 2, {"a": 2}),  # memory
        ([], [group("a", 3, 1, 1024, cpu_cores=30)], 2, {"a": 2}),  # cores
        ([], [group("a", 1)], 0, {"a": 0}),
        ([group("b", 1, 4), group("a", 2)], [group("c", 1)], 1, {"c": 0}),  # not even what is placed has room
        ([group("b", 1, 3), group("a", 1, 2)], [group("c", 1)], 1, {"c": 0}),  # … although c alone would fit beside b
        # SPREAD has put one copy on each instance: a copy of 4 finds none empty. BINPACK leaves one.
        ([group("a", 2, 1, placement="SPREAD")], [group("b", 1, 4)], 2, {"b": 0}),
        ([group("a", 2, 1, placement="BINPACK")], [group("b", 1, 4)], 2, {"b": 1}),
    ],
)
def test_what_fits_beside_what_is_placed(placed, wanted, instances, fit):
    assert copies_that_fit(placed, wanted, instances, FOUR) == fit


@given(st.lists(small, min_size=1, max_size=2).map(named), st.integers(0, 6), st.integers(1, 6))
@QUICK
def test_what_is_said_to_fit_does_fit(groups, instances, extra):
    wanted = [CopyGroup("w", extra, Requirements(2.0, 0.0, 60_000))]
    fit = copies_that_fit(groups, wanted, instances, FOUR)["w"]
    if fit:
        assert optimum([*groups, CopyGroup("w", fit, wanted[0].requirements)], FOUR) <= instances


@pytest.mark.parametrize(
    ("requirements", "each"),
    [
        (Requirements(1, 0, 1024), 4),
        (Requirements(1.5, 0, 1024), 2),
        (Requirements(1, 13, 1024), 3),
        (Requirements(0, 0, 64 * 1024), 3),
        (Requirements(0.1, 0, 0), 40),
        (Requirements(5, 0, 0), 0),
        (Requirements(0, 0, 0), 0),
    ],
)
def test_copies_per_instance_respect_every_resource(requirements, each):
    assert copies_per_instance(requirements, FOUR) == each


def test_sizes_of_known_instance_types():
    assert capacity_of("ml.g5.12xlarge") == InstanceCapacity(4, 48, 192 * 1024)
    assert capacity_of("ml.p5.48xlarge") == InstanceCapacity(8, 192, 2048 * 1024)
    assert capacity_of("ml.unheard.of") is None
    assert capacity_of(None) is None


def test_all_orders_of_equal_copies_pack_alike():
    groups = [group("a", 2, 3), group("b", 2, 1), group("c", 1, 2)]
    found = {instances_needed(list(order), FOUR) for order in itertools.permutations(groups)}
    assert found == {3}
