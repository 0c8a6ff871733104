"""Placement: on how many instances do these copies fit, and how many more fit on what is there.

SageMaker places copies itself and does not say where each one sits, so two answers are useful. The *packed* need assumes
a good packing (first-fit decreasing, or worst-fit for SPREAD): it is what to ask for. The *worst-case* need assumes that
copies sit as unluckily as a first-fit placement allows: below it no instance may be taken away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quickstep.capacity.instance_types import InstanceCapacity
from quickstep.model.observation import Requirements


@dataclass(frozen=True, slots=True)
class CopyGroup:
    """`copies` equal copies of one component."""

    component: str
    copies: int
    requirements: Requirements
    placement: str = "SPREAD"


def copies_per_instance(requirements: Requirements, capacity: InstanceCapacity) -> int:
    """How many such copies one empty instance holds; 0 if one does not fit."""
    limits = [
        math.floor(have / need + 1e-9)
        for have, need in (
            (capacity.accelerators, requirements.accelerators),
            (capacity.cpu_cores, requirements.cpu_cores),
            (capacity.memory_mb, requirements.memory_mb),
        )
        if need > 0
    ]
    return min(limits, default=0)


def instances_needed(groups: Sequence[CopyGroup], capacity: InstanceCapacity) -> int | None:
    """Fewest instances found that hold all copies; None if some copy fits on no instance.

    First-fit decreasing over the largest share of any resource; never more than 11/9 of the optimum plus one in one
    dimension, and exact when all copies are equal.
    """
    return _packed(groups, capacity, largest_first=True)


def worst_case_instances(groups: Sequence[CopyGroup], capacity: InstanceCapacity) -> int | None:
    """Instances that any sensible placement of these copies gets by with; None if some copy fits on no instance."""
    found = [
        _packed(groups, capacity, largest_first=True),
        _packed(groups, capacity, largest_first=False),
        _packed(groups, capacity, largest_first=False, spread=True),
        _packed(groups, capacity, largest_first=True, spread=True),
    ]
    return None if any(n is None for n in found) else max(n for n in found if n is not None)


def copies_that_fit(
    placed: Sequence[CopyGroup], wanted: Sequence[CopyGroup], instances: int, capacity: InstanceCapacity
) -> dict[str, int]:
    """How many of the `wanted` extra copies fit on `instances` that already hold `placed`, by component.

    `wanted` is served in the given order (priority). Both are packed as SageMaker does: SPREAD takes the emptiest
    instance, BINPACK the fullest that still fits.
    """
    bins = [_Bin.empty(capacity) for _ in range(instances)]
    for group in sorted(placed, key=lambda g: (-_share(g.requirements, capacity), g.component)):
        for _ in range(group.copies):
            _place(bins, group, capacity)
    fit = {group.component: 0 for group in wanted}
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
        return cls(capacity.accelerators, capacity.cpu_cores, capacity.memory_mb)

    def holds(self, need: Requirements) -> bool:
        return (
            need.accelerators <= self.accelerators + 1e-9
            and need.cpu_cores <= self.cpu_cores + 1e-9
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


def _packed(
    groups: Sequence[CopyGroup], capacity: InstanceCapacity, *, largest_first: bool, spread: bool = False
) -> int | None:
    order = sorted(groups, key=lambda g: (_share(g.requirements, capacity), g.component), reverse=largest_first)
    bins: list[_Bin] = []
    for group in order:
        for _ in range(group.copies):
            if not _Bin.empty(capacity).holds(group.requirements):
                return None
            able = [b for b in bins if b.holds(group.requirements)]
            if able:
                chosen = max(able, key=lambda b: b.free_share(capacity)) if spread else able[0]
            else:
                chosen = _Bin.empty(capacity)
                bins.append(chosen)
            chosen.take(group.requirements)
    return len(bins)


def _share(need: Requirements, capacity: InstanceCapacity) -> float:
    return max(
        need.accelerators / capacity.accelerators if capacity.accelerators else 0.0,
        need.cpu_cores / capacity.cpu_cores,
        need.memory_mb / capacity.memory_mb,
    )
