"""Which copy goes onto which instance: room, SPREAD and BINPACK, and how many instances a need takes. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simulator.aws.sagemaker_instances import InstanceType

SPREAD = "SPREAD"
BINPACK = "BINPACK"


@dataclass(frozen=True, slots=True)
class Requirements:
    """What one copy reserves on an instance."""

    accelerators: float = 0.0
    cpu_cores: float = 0.0
    memory_mb: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """What is free on one instance, and how many copies of the component at hand are there already."""

    accelerators: float
    cpu_cores: float
    memory_mb: float
    copies: int = 0

    def fits(self, need: Requirements) -> bool:
        return (
            need.accelerators <= self.accelerators + 1e-9
            and need.cpu_cores <= self.cpu_cores + 1e-9
            and need.memory_mb <= self.memory_mb
        )

    def less(self, need: Requirements) -> Room:
        """The room that is left with one more copy on the instance."""
        return Room(
            self.accelerators - need.accelerators,
            self.cpu_cores - need.cpu_cores,
            self.memory_mb - need.memory_mb,
            self.copies + 1,
        )


@dataclass(frozen=True, slots=True)
class Unplaced:
    """`count` copies with the same need that have no instance yet."""

    need: Requirements
    strategy: str
    count: int


def requirements(specification: dict[str, Any]) -> Requirements:
    """The ComputeResourceRequirements of a specification; an adapter has none and reserves nothing."""
    asked = specification.get("ComputeResourceRequirements", {})
    return Requirements(
        accelerators=float(asked.get("NumberOfAcceleratorDevicesRequired", 0.0)),
        cpu_cores=float(asked.get("NumberOfCpuCoresRequired", 0.0)),
        memory_mb=int(asked.get("MinMemoryRequiredInMb", 0)),
    )


def strategy(specification: dict[str, Any]) -> str:
    """SPREAD unless the specification says BINPACK."""
    return specification.get("SchedulingConfig", {}).get("PlacementStrategy", SPREAD)


def empty_room(instance_type: InstanceType) -> Room:
    """The room on an instance that hosts nothing."""
    return Room(
        float(instance_type.accelerators), float(instance_type.vcpus), float(instance_type.schedulable_memory_mb)
    )


def choose(rooms: Sequence[Room], need: Requirements, placement: str) -> int | None:
    """The index of the instance for the next copy; None if it fits on none.

    SPREAD takes the instance with the fewest copies of the component, then the one with the most free accelerators;
    BINPACK the fullest that still fits. The first of equals wins, so the order of `rooms` (age) decides ties.
    """
    best: int | None = None
    best_rank: tuple[float, ...] = ()
    for index, room in enumerate(rooms):
        if not room.fits(need):
            continue
        free = (room.accelerators, room.memory_mb, room.cpu_cores)
        rank = free if placement == BINPACK else (float(room.copies), *(-value for value in free))
        if best is None or rank < best_rank:
            best, best_rank = index, rank
    return best


def extra_instances(rooms: Sequence[Room], unplaced: Sequence[Unplaced], empty: Room, limit: int) -> int:
    """How many further instances of one type `unplaced` needs, at most `limit`, with `rooms` filled first.

    Copies that do not even fit on an empty instance ask for none.
    """
    free = list(rooms)
    extra = 0
    for group in unplaced:
        for _ in range(group.count):
            index = choose(free, group.need, BINPACK)
            if index is None:
                if extra >= limit or not empty.fits(group.need):
                    break
                free.append(empty)
                extra += 1
                index = len(free) - 1
            free[index] = free[index].less(group.need)
    return extra
