"""Pending: what is on its way counts as there; and right after a change of copies nothing is removed.

The baseline already contains what was asked, so a load that the coming copies will carry asks for nothing more: not even
a step policy whose cooldown is shorter than a boot, and that sees the few copies that serve still overloaded. Nor when
they have just come: until three complete datapoints have followed, the alarm still speaks of the few that served before.
After the count changed, queues inside the containers stay where they are: the metric says little about the new count, and
scale-in waits.
"""

from __future__ import annotations

from quickstep.model.decision import Step
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "pending"
SETTLE_S = 40.0
FRESH_S = 80.0
"""A newest complete datapoint that began longer ago says too little about now to hold a policy back."""


def apply(facts: Facts, recommended: int) -> Step:
    """Count what is still coming; hold a scale-in right after the number of serving copies has changed."""
    coming = facts.baseline - facts.observation.current
    unit = facts.target.target_id.unit
    if recommended < facts.baseline and facts.demand.settling:
        return Step(
            STAGE,
            facts.baseline,
            Reason.CHANGE_SETTLING,
            f"the number of serving {unit} changed less than three datapoints ago",
            look_again_at_s=facts.now_s + SETTLE_S,
        )
    came = _came(facts)
    if coming > 0 or (came > 0 and recommended > facts.baseline):
        detail = f"{coming if coming > 0 else came} {unit} asked earlier are counted"
        enough = max(facts.baseline, _needed(facts, recommended))
        if recommended > enough:
            detail += f": {enough} will carry the load, {recommended} were recommended"
        return Step(STAGE, min(recommended, enough), Reason.PENDING_CAPACITY, detail, {"coming": max(0, coming)})
    return Step(STAGE, recommended, Reason.UNCHANGED)


def _came(facts: Facts) -> int:
    """Copies by which the serving ones were more at the newest change, while that is settling; 0 if they were not."""
    serving = facts.state.serving
    if not facts.demand.settling or len(serving) < 2:
        return 0
    before = next((change.copies for change in serving[-2::-1] if change.copies is not None), None)
    return 0 if before is None else max(0, facts.observation.current - before)


def _needed(facts: Facts, recommended: int) -> int:
    """What the load needs by its newest datapoints; what is recommended if that is not known, or not of now."""
    demand, sizing = facts.demand, facts.sizing
    load, newest = demand.load, demand.newest_load
    if sizing is None or load is None or newest is None:
        return recommended
    if not demand.times_s or facts.now_s - demand.times_s[-1] > FRESH_S:
        return recommended
    return max(sizing.copies(load), sizing.copies(newest))
