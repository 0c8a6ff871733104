"""Pending: what is on its way counts as there; and right after a change of copies nothing is removed.

The baseline already contains what was asked, so a load that the coming copies will carry asks for nothing more. After
the count changed, queues inside the containers stay where they are: for three complete datapoints the metric says little
about the new count, and scale-in waits.
"""

from __future__ import annotations

from quickstep.model.decision import Step
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "pending"
SETTLE_S = 40.0


def apply(facts: Facts, recommended: int) -> Step:
    """Say what is still coming; hold a scale-in right after the number of serving copies has changed."""
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
    if coming > 0:
        detail = f"{coming} {unit} asked earlier are counted"
        return Step(STAGE, recommended, Reason.PENDING_CAPACITY, detail, {"coming": coming})
    return Step(STAGE, recommended, Reason.UNCHANGED)
