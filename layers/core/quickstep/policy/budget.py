"""Budget: never ask for more instances than the hourly budget pays for."""

from __future__ import annotations

import math

from quickstep.model.decision import Step
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "budget"


def apply(facts: Facts, recommended: int) -> Step:
    """Cap a scale-out at what `budget_usd_per_hour` pays for; what was asked already is not taken away by it.

    A wish that still waits for its instances has cost nothing yet and is capped too. Where it is not known how many
    copies share an instance, each is taken to need its own.
    """
    budget, price = facts.target.budget_usd_per_hour, facts.target.hourly_cost_usd
    if budget is None:
        return Step(STAGE, recommended, Reason.NOT_CONFIGURED)
    if not price:
        return Step(
            STAGE, recommended, Reason.NOT_CONFIGURED, "a budget is set, but the price of an instance-hour is not known"
        )
    affordable = math.floor(budget / price + 1e-9) * (facts.copies_per_instance or 1)
    capped = min(recommended, max(affordable, facts.observation.desired))
    inputs = {"affordable": affordable}
    if capped == recommended:
        return Step(STAGE, recommended, Reason.UNCHANGED, f"${budget:g}/h pays for {affordable}", inputs)
    detail = f"${budget:g}/h at ${price:g} per instance-hour pays for {affordable}, not {recommended}"
    return Step(STAGE, capped, Reason.BUDGET, detail, inputs)
