"""Bounds: between the target's minimum and maximum, and within what SageMaker's own instance scaling can reach."""

from __future__ import annotations

from quickstep.model.decision import Step
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "bounds"


def apply(facts: Facts, recommended: int) -> Step:
    """Clamp; name the bound that binds, also when it only keeps things as they are. A maximum below the minimum yields."""
    low, high = facts.target.min_capacity, facts.target.max_capacity
    high = max(low, high)
    managed_max = _managed_max(facts)
    if managed_max is None:
        inputs, top = {"min": low, "max": high}, high
    else:
        # How many fit is an estimate of ours: it may stop a scale-out, but takes no copy away that serves.
        inputs, top = (
            {"min": low, "max": high, "managed_max": managed_max},
            min(high, max(managed_max, facts.observation.current)),
        )
    if recommended > top:
        if top < high:
            detail = f"SageMaker's MaxInstanceCount holds {managed_max}, asked were {recommended}"
            return Step(STAGE, top, Reason.MANAGED_MAX_INSTANCES, detail, inputs)
        reason = Reason.AT_MAX if facts.baseline == top else Reason.LOWERED_TO_MAX
        return Step(STAGE, top, reason, f"maximum is {high}, asked were {recommended}", inputs)
    if recommended < low:
        low = min(low, top)
        reason = Reason.AT_MIN if facts.baseline == low else Reason.RAISED_TO_MIN
        return Step(STAGE, low, reason, f"minimum is {low}, asked were {recommended}", inputs)
    return Step(STAGE, recommended, Reason.UNCHANGED, f"{low} ≤ {recommended} ≤ {top}", inputs)


def _managed_max(facts: Facts) -> int | None:
    """Most copies that fit on MaxInstanceCount instances of a managed variant; None if that does not bound us."""
    component = facts.observation.component
    if component is None or facts.copies_per_instance is None:
        return None
    variant = facts.observation.endpoint.variant(component.variant)
    if variant is None or not variant.managed or variant.managed_max is None:
        return None
    return variant.managed_max * facts.copies_per_instance
