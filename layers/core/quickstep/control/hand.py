"""The operator's hand: priority, budget, shadow, pause and pin of a target (`QuickstepOptions` of RegisterScalableTarget)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from quickstep.control.context import ControlContext
from quickstep.control.refusals import ConcurrentUpdateException, ValidationException
from quickstep.model.state import TargetState
from quickstep.model.targets import ScalableTarget


def check(options: Mapping[str, Any], bounds: tuple[int, int]) -> None:
    """Raise ValidationException for options that do not go together, or not with the target's (min, max)."""
    for flag, member in (("Paused", "PausedForSeconds"), ("Pinned", "PinnedCapacity")):
        if member in options and options.get(flag) is not True:
            raise ValidationException(f"QuickstepOptions.{member} is {options[member]}; it needs {flag} true beside it")
    if options.get("Pinned") and "PinnedCapacity" not in options:
        raise ValidationException("QuickstepOptions.Pinned is true; give the count in PinnedCapacity")
    pinned = options.get("PinnedCapacity")
    if pinned is not None and not bounds[0] <= pinned <= bounds[1]:
        raise ValidationException(
            f"QuickstepOptions.PinnedCapacity is {pinned}; it must lie between MinCapacity ({bounds[0]}) and MaxCapacity "
            f"({bounds[1]})"
        )


def with_target_options(target: ScalableTarget, options: Mapping[str, Any]) -> ScalableTarget:
    """The target with its priority, budget, price and shadow; what is not given stays, 0 dollars takes budget or price away."""
    budget = options.get("BudgetUsdPerHour", target.budget_usd_per_hour) or None
    price = options.get("InstanceUsdPerHour", target.hourly_cost_usd) or None
    if budget is not None and price is None:
        raise ValidationException(
            f"QuickstepOptions.BudgetUsdPerHour is {budget:g}; it cannot be kept without InstanceUsdPerHour, the price of an "
            "instance-hour"
        )
    return replace(
        target,
        priority=options.get("Priority", target.priority),
        budget_usd_per_hour=None if budget is None else float(budget),
        hourly_cost_usd=None if price is None else float(price),
        shadow=options.get("Shadow", target.shadow),
    )


def apply(target: ScalableTarget, options: Mapping[str, Any], context: ControlContext) -> None:
    """Pause, resume, pin or unpin, under the endpoint's write lease, since a look keeps this state too.

    Raises ConcurrentUpdateException if a look is being taken all the while.
    """
    if "Paused" not in options and "Pinned" not in options:
        return
    lease = context.lease(target.endpoint)
    if lease is None:
        raise ConcurrentUpdateException(
            f"endpoint {target.endpoint} is being looked at, which takes about a second; repeat the request in a moment"
        )
    try:
        before = context.registry.read_endpoint(target.endpoint).state(target.target_id)
        after = before
        if "Paused" in options:
            after = replace(after, paused_until_s=_until_s(options, context.now_s))
        if "Pinned" in options:
            after = replace(after, pinned=options.get("PinnedCapacity"))
        if after != before:
            context.registry.save_target_state(lease, target.target_id, after)
    finally:
        context.registry.release_lease(lease)


def described(target: ScalableTarget, state: TargetState | None, now_s: float) -> dict[str, Any]:
    """`QuickstepOptions` of a described target; what is at its default is left out."""
    found: dict[str, Any] = {}
    if target.priority:
        found["Priority"] = target.priority
    if target.budget_usd_per_hour is not None:
        found["BudgetUsdPerHour"] = target.budget_usd_per_hour
    if target.hourly_cost_usd is not None:
        found["InstanceUsdPerHour"] = target.hourly_cost_usd
    if target.shadow:
        found["Shadow"] = True
    if state is None:
        return found
    if state.paused_until_s is not None and state.paused_until_s > now_s:
        found["Paused"] = True
        if math.isfinite(state.paused_until_s):
            found["PausedForSeconds"] = max(1, math.ceil(state.paused_until_s - now_s))
    if state.pinned is not None:
        found |= {"Pinned": True, "PinnedCapacity": state.pinned}
    return found


def _until_s(options: Mapping[str, Any], now_s: float) -> float | None:
    if not options["Paused"]:
        return None
    return now_s + options["PausedForSeconds"] if "PausedForSeconds" in options else math.inf
