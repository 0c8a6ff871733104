"""Room: the packing questions of one variant. What fits now, how many instances are needed, how many are spare."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from quickstep.capacity.instance_types import capacity_of
from quickstep.capacity.placement import (
    CopyGroup,
    copies_per_instance,
    copies_that_fit,
    instances_needed,
    worst_case_instances,
)
from quickstep.capacity.view import EndpointView
from quickstep.model.observation import Component, Variant

Counts = Mapping[str, int]
"""Copies by component."""


def copies_per_instance_of(component: Component, variant: Variant | None) -> int | None:
    """How many copies of `component` one instance of its variant holds; None if not known."""
    capacity = capacity_of(variant.instance_type) if variant else None
    if capacity is None or component.requirements is None:
        return None
    return copies_per_instance(component.requirements, capacity) or None


def sizes_are_known(view: EndpointView, variant: Variant) -> bool:
    """True if both what an instance offers and what every component's copy takes are known."""
    return capacity_of(variant.instance_type) is not None and all(
        c.requirements is not None for c in _with_own_room(view, variant)
    )


def fits(
    view: EndpointView,
    variant: Variant,
    more: Sequence[tuple[Component, int]],
    *,
    instances: int,
    placed: Counts | None = None,
) -> dict[str, int]:
    """How many of the `more` copies, in that order, fit on `instances` beside what is placed or asked already.

    `placed` overrides how many copies of a component are there. Adapters live inside their base component and take
    nothing of their own.
    """
    there = {c.name: max(c.desired_copies, c.current_copies) for c in view.on(variant)} | dict(placed or {})
    found = {c.name: count for c, count in more if c.base_component is not None}
    own = [(c, count) for c, count in more if c.base_component is None]
    groups, capacity = _groups(view, variant, there), capacity_of(variant.instance_type)
    if groups is None or capacity is None:
        free = instances * _density(view, variant) - sum(there[c.name] for c in _with_own_room(view, variant))
        for component, count in own:
            found[component.name] = max(0, min(count, free))
            free -= found[component.name]
        return found
    wanted = [CopyGroup(c.name, count, c.requirements, c.placement) for c, count in own if c.requirements is not None]
    return found | copies_that_fit(groups, wanted, instances, capacity)


def instances_for(view: EndpointView, variant: Variant, wished: Counts) -> int | None:
    """Instances that hold every copy that is there, asked or wished; None if some copy fits on no instance."""
    counts = _most(view, variant, wished)
    groups, capacity = _groups(view, variant, counts), capacity_of(variant.instance_type)
    if groups is None or capacity is None:
        copies = sum(counts[c.name] for c in _with_own_room(view, variant))
        return math.ceil(copies / _density(view, variant))
    return instances_needed(groups, capacity)


def spare_instances(view: EndpointView, variant: Variant) -> int:
    """Instances beyond what the worst placement of all present and wished copies needs; 0 if not known or not ours.

    A variant keeps one instance: nothing else would take a component's first copy.
    """
    components = view.on(variant)
    if view.is_managed(variant) or not components or not view.components_known or view.wish_of(variant) is not None:
        return 0
    wished = {w.component.name: w.decision.desired for w in view.wishes_on(variant) if w.component is not None}
    groups, capacity = _groups(view, variant, _most(view, variant, wished)), capacity_of(variant.instance_type)
    worst = worst_case_instances(groups, capacity) if groups is not None and capacity is not None else None
    return 0 if worst is None else max(0, variant.desired_instances - max(1, worst))


def _most(view: EndpointView, variant: Variant, wished: Counts) -> dict[str, int]:
    return {c.name: max(c.desired_copies, c.current_copies, wished.get(c.name, 0)) for c in view.on(variant)}


def _with_own_room(view: EndpointView, variant: Variant) -> list[Component]:
    return [c for c in view.on(variant) if c.base_component is None]


def _groups(view: EndpointView, variant: Variant, counts: Counts) -> list[CopyGroup] | None:
    """The copies to pack; None if some component does not say what it needs."""
    groups = []
    for component in _with_own_room(view, variant):
        if component.requirements is None:
            return None
        groups.append(CopyGroup(component.name, counts[component.name], component.requirements, component.placement))
    return groups


def _density(view: EndpointView, variant: Variant) -> int:
    """Copies per instance where sizes are not known: as many as some instance is seen to hold, at least one."""
    running = sum(c.current_copies for c in _with_own_room(view, variant))
    return max(1, math.ceil(running / max(1, variant.current_instances)))
