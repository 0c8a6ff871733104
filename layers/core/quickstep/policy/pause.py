"""Pause: the operator's hand comes last. Paused means no change at all, pinned means exactly this count.

A shadowed target is decided about like any other and never changed: the step says what would have been set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from quickstep.model.decision import Step
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "pause"
HANDS_OFF = frozenset({Reason.PAUSED, Reason.FOREIGN_ACTOR, Reason.SHADOW})
"""With one of these as this stage's reason, nothing at all may be changed for the target."""

SHADOW_LOOK_S = 60.0


def apply(facts: Facts, recommended: int) -> Step:
    """Hold everything, or one direction, while the operator says so.

    What is held is what SageMaker has been asked for: a wish that still waits for its instances is not carried out.
    """
    state, asked = facts.state, facts.observation.desired
    if not facts.scaling_enabled:
        return Step(STAGE, asked, Reason.PAUSED, "the stack's kill switch ScalingEnabled is No")
    if facts.observation.foreign_scaler is not None:
        return Step(STAGE, asked, Reason.FOREIGN_ACTOR, f"{facts.observation.foreign_scaler} scales it: hands off")
    until_s = state.paused_until_s
    if until_s is not None and until_s > facts.now_s:
        forever = math.isinf(until_s)
        left = "until resumed" if forever else f"for {until_s - facts.now_s:.0f} s more"
        return Step(STAGE, asked, Reason.PAUSED, f"paused {left}", look_again_at_s=None if forever else until_s)
    step = _directed(facts, recommended, {"paused_until_s": None} if until_s is not None else {})
    if facts.target.shadow:
        return _shadowed(facts, step)
    return step if state.shadow_wish is None else replace(step, memory={**step.memory, "shadow_wish": None})


def _shadowed(facts: Facts, step: Step) -> Step:
    asked, would = facts.observation.desired, step.recommended
    # Whoever scales it may take minutes over it: while the two differ, see what becomes of it.
    again_s = facts.now_s + SHADOW_LOOK_S if would != asked else None
    told = f"would set {would}, {asked} is set" if would != asked else f"would leave it at {asked}"
    return Step(
        STAGE,
        asked,
        Reason.SHADOW,
        f"shadowed: {told}",
        {"would": would},
        look_again_at_s=again_s,
        memory={**step.memory, "shadow_wish": would},
    )


def _directed(facts: Facts, recommended: int, memory: Mapping[str, object]) -> Step:
    state, asked = facts.state, facts.observation.desired
    if state.pinned is not None:
        return Step(STAGE, state.pinned, Reason.PINNED, f"pinned at {state.pinned}", memory=memory)
    suspension = facts.target.suspension
    if recommended > asked and suspension.scale_out:
        return Step(STAGE, asked, Reason.SUSPENDED, "DynamicScalingOutSuspended is true", memory=memory)
    if recommended < asked and suspension.scale_in:
        return Step(STAGE, asked, Reason.SUSPENDED, "DynamicScalingInSuspended is true", memory=memory)
    return Step(STAGE, recommended, Reason.UNCHANGED, memory=memory)
