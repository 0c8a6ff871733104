"""What was asked for, what served and what was paid for, over time: the series that runs are scored by.

Resources have the names that Application Auto Scaling gives them: `inference-component/<name>` and
`endpoint/<endpoint>/variant/<variant>`. For a variant that hosts a single model, copies are its instances.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from simulator.aws.sagemaker_records import Instance


@dataclass(frozen=True, slots=True)
class SupplyPoint:
    """From `at_s` on (until the next point) this was so. Instance counts are those of the resource's variant."""

    at_s: float
    desired_copies: int
    current_copies: int
    instances_desired: int
    instances_in_service: int
    instances_billed: int


class Ledger:
    """Append-only supply timelines by resource."""

    def __init__(self) -> None:
        self._timelines: dict[str, list[SupplyPoint]] = {}

    def note(self, resource_id: str, point: SupplyPoint) -> None:
        """Add a point; one that says nothing new is dropped, one at the same instant replaces the last."""
        timeline = self._timelines.setdefault(resource_id, [])
        if timeline and timeline[-1].at_s == point.at_s:
            timeline.pop()
        if timeline and _same_supply(timeline[-1], point):
            return
        timeline.append(point)

    def timeline(self, resource_id: str) -> tuple[SupplyPoint, ...]:
        """All points, oldest first; empty if there never was such a resource."""
        return tuple(self._timelines.get(resource_id, ()))

    def supply_at(self, resource_id: str, at_s: float) -> SupplyPoint | None:
        """What was so at `at_s`; None before the resource existed."""
        timeline = self._timelines.get(resource_id, [])
        index = bisect_right(timeline, at_s, key=lambda point: point.at_s)
        return timeline[index - 1] if index else None

    def copy_seconds(self, resource_id: str, until_s: float) -> float:
        """Integral of the serving copies from the beginning until `until_s`."""
        points = [point for point in self._timelines.get(resource_id, []) if point.at_s < until_s]
        ends = [point.at_s for point in points[1:]] + [until_s]
        return sum(point.current_copies * (end_s - point.at_s) for point, end_s in zip(points, ends, strict=True))


def instance_seconds(instances: Iterable[Instance], until_s: float) -> dict[str, float]:
    """Billed seconds by instance type, from the accepted launch until the end of the instance, up to `until_s`."""
    seconds: dict[str, float] = {}
    for instance in instances:
        if instance.billed_from_s is None:
            continue
        end_s = until_s if instance.ended_s is None else min(instance.ended_s, until_s)
        billed_s = max(0.0, end_s - instance.billed_from_s)
        seconds[instance.instance_type] = seconds.get(instance.instance_type, 0.0) + billed_s
    return dict(sorted(seconds.items()))


def _same_supply(one: SupplyPoint, other: SupplyPoint) -> bool:
    return (
        one.desired_copies == other.desired_copies
        and one.current_copies == other.current_copies
        and one.instances_desired == other.instances_desired
        and one.instances_in_service == other.instances_in_service
        and one.instances_billed == other.instances_billed
    )
