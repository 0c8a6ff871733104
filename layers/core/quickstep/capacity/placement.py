"""Placement: on how many instances do these copies fit, and how many more fit on what is there.

SageMaker places copies itself and does not say where each one sits, so two answers are useful. The *packed* need assumes
a good packing (first-fit decreasing): it is what to ask for. The *worst-case* need assumes that every copy was put where
it hurts most: on so many instances there is room for all however they sit, so below it no instance may be taken away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quickstep.capacity.instance_types import InstanceCapacity
from quickstep.model.observation import Requirements

EPSILON = 1e-9
MOST_SUMS = 2000


@dataclass(frozen=True, slots=True)
class CopyGroup:
    """`copies` equal copies of one component."""

    component: str
    copies: int
    requirements: Requirements
    placement: str = "SPREAD"


def copies_per_instance(requirements: Requirements, capacity: InstanceCapacity) -> int:
    """How many such copies one empty instance holds; 0 if one does not fit, or if it says to need nothing at all."""
    limits = [
        math.floor(have / need + EPSILON)
        for have, need in zip(_have(capacity), _needs(requirements), strict=True)
        if need > 0
    ]
    return min(limits, default=0)


def instances_needed(groups: Sequence[CopyGroup], capacity: InstanceCapacity) -> int | None:
    """Fewest instances found that hold all copies; None if some copy fits on no instance.

    First-fit decreasing over the largest share of any resource: exact when all copies are equal, and in one dimension
    at most 11/9 of the optimum plus one.
    """
    bins: list[_Bin] = []
    for group in sorted(groups, key=lambda g: (-_share(g.requirements, capacity), g.component)):
        if group.copies > 0 and not _Bin.empty(capacity).holds(group.requirements):
            return None
        for _ in range(group.copies):
            chosen = next((b for b in bins if b.holds(group.requirements)), None)
            if chosen is None:
                chosen = _Bin.empty(capacity)
                bins.append(chosen)
            chosen.take(group.requirements)
    return len(bins)


def worst_case_instances(groups: Sequence[CopyGroup], capacity: InstanceCapacity) -> int | None:
    """Instances on which every copy finds room, however the others sit; None if some copy fits on no instance.

    An upper bound, never below the packed need, and exact when all copies are equal. Example: on instances with 4
    accelerators, one copy of 4 beside three copies of 1 needs 4, since each of the three may spoil an instance.
    """
    packed = instances_needed(groups, capacity)
    if packed is None:
        return None
    present = [g for g in groups if g.copies > 0]
    return max([packed, *(1 + _most_blocked(group, present, capacity) for group in present)])


def copies_that_fit(
    placed: Sequence[CopyGroup], wanted: Sequence[CopyGroup], instances: int, capacity: InstanceCapacity
) -> dict[str, int]:
    """How many of the `wanted` extra copies fit on `instances` that already hold `placed`, by component.

    `wanted` is served in the given order (priority). Both are packed as SageMaker does: SPREAD takes the emptiest
    instance, BINPACK the fullest that still fits. If not even `placed` has room, nothing more has.
    """
    fit = {group.component: 0 for group in wanted}
    bins = [_Bin.empty(capacity) for _ in range(instances)]
    for group in sorted(placed, key=lambda g: (-_share(g.requirements, capacity), g.component)):
        for _ in range(group.copies):
            if not _place(bins, group, capacity):
                return fit
    for group in wanted:
        for _ in range(group.copies):
            if not _place(bins, group, capacity):
                break
            fit[group.component] += 1
    return fit


@dataclass(slots=True)
class _Bin:
    accelerators: float
    cpu_cores: float
    memory_mb: float

    @classmethod
    def empty(cls, capacity: InstanceCapacity) -> _Bin:
        return cls(*_have(capacity))

    def holds(self, need: Requirements) -> bool:
        return (
            need.accelerators <= self.accelerators + EPSILON
            and need.cpu_cores <= self.cpu_cores + EPSILON
            and need.memory_mb <= self.memory_mb
        )

    def take(self, need: Requirements) -> None:
        self.accelerators -= need.accelerators
        self.cpu_cores -= need.cpu_cores
        self.memory_mb -= need.memory_mb

    def free_share(self, capacity: InstanceCapacity) -> float:
        if capacity.accelerators:
            return self.accelerators / capacity.accelerators
        return min(self.cpu_cores / capacity.cpu_cores, self.memory_mb / capacity.memory_mb)


def _place(bins: list[_Bin], group: CopyGroup, capacity: InstanceCapacity) -> bool:
    able = [(b.free_share(capacity), i) for i, b in enumerate(bins) if b.holds(group.requirements)]
    if not able:
        return False
    chosen = min(able) if group.placement == "BINPACK" else max(able, key=lambda a: (a[0], -a[1]))
    bins[chosen[1]].take(group.requirements)
    return True


def _most_blocked(group: CopyGroup, present: Sequence[CopyGroup], capacity: InstanceCapacity) -> int:
    """The most instances that all other copies can make too full for one more copy of `group`.

    An instance is too full if, of some resource, at least `m` is used: the smallest sum of copies that leaves too
    little. So every copy contributes at most its largest share of any such `m` to a too full instance.
    """
    spoils = [
        (resource, _smallest_spoiling(present, resource, have, have - need))
        for resource, (have, need) in enumerate(zip(_have(capacity), _needs(group.requirements), strict=True))
        if need > 0
    ]
    total = 0.0
    for other in present:
        copies = other.copies - 1 if other is group else other.copies
        needs = _needs(other.requirements)
        total += copies * max((min(1.0, needs[resource] / m) for resource, m in spoils if m is not None), default=0.0)
    return math.floor(total + EPSILON)


def _smallest_spoiling(present: Sequence[CopyGroup], resource: int, have: float, free: float) -> float | None:
    """The smallest amount of a resource in (free, have] that some copies together use; None if there is none."""
    sums = {0.0}
    best: float | None = None
    for group in present:
        need = _needs(group.requirements)[resource]
        if need <= 0:
            continue
        for base in list(sums):
            for count in range(1, group.copies + 1):
                used = round(base + count * need, 6)
                if used > free + EPSILON:
                    if used <= have + EPSILON and (best is None or used < best):
                        best = used
                    break
                sums.add(used)
        if len(sums) > MOST_SUMS:
            # Too many combinations to try: whatever is above `free` spoils, which errs on the side of more instances.
            smallest = min(n for g in present if (n := _needs(g.requirements)[resource]) > 0)
            return max(free, smallest)
    return best


def _needs(requirements: Requirements) -> tuple[float, float, float]:
    return requirements.accelerators, requirements.cpu_cores, requirements.memory_mb


def _have(capacity: InstanceCapacity) -> tuple[float, float, float]:
    return capacity.accelerators, capacity.cpu_cores, capacity.memory_mb


def _share(need: Requirements, capacity: InstanceCapacity) -> float:
    return max(n / have for n, have in zip(_needs(need), _have(capacity), strict=True) if have > 0)
