"""Budget: never ask for more instances than the hourly budget pays for."""

from __future__ import annotations

import math

from quickstep.model.decision import Step
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "budget"


def apply(facts: Facts, recommended: int) -> Step:
    """Cap a scale-out at what `budget_usd_per_hour` pays for; what already runs is not taken away by it."""
    budget, price = facts.target.budget_usd_per_hour, facts.target.hourly_cost_usd
    if budget is None or not price or not facts.copies_per_instance:
        return Step(STAGE, recommended, Reason.NOT_CONFIGURED)
    affordable = math.floor(budget / price + 1e-9) * facts.copies_per_instance
    capped = max(min(recommended, affordable), min(recommended, facts.baseline))
    if capped == recommended:
        return Step(STAGE, recommended, Reason.UNCHANGED, f"${budget:g}/h pays for {affordable}", {"affordable": affordable})
    return Step(
        STAGE,
        capped,
        Reason.BUDGET,
        f"${budget:g}/h at ${price:g} per instance-hour pays for {affordable}, not {recommended}",
        {"affordable": affordable},
    )
