"""Waits: how long something usually takes, when to look again, and what a refusal that is waited out still allows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quickstep.capacity import startup
from quickstep.model.plan import Held, Wish
from quickstep.model.state import Backoff, TargetState, VariantState
from quickstep.model.targets import Guards, TargetId
from quickstep.reasons import Reason

TICK_S = 10
SHORTEST_INSTANCE_WAIT_S = 20.0
LONGEST_INSTANCE_WAIT_S = 60.0
EARLY = 0.7
"""Instances may come in this share of the usual time: from then on the shortest wait is used."""


def next_grid_s(now_s: float, step_s: int = TICK_S) -> int:
    """Whole seconds until the next multiple of `step_s`, at least 1: ticks sit on the metrics' grid."""
    return max(1, math.ceil((math.floor(now_s / step_s) + 1) * step_s - now_s))


def usual_instance_s(memory: VariantState) -> float:
    """How long instances of this variant usually take from the ask to being in service."""
    return startup.quantile_s(memory.startup_s, 0.5, startup.INSTANCE_DEFAULT_S)


def usual_copy_s(state: TargetState) -> float:
    """How long copies usually take, and so how long an ask locks the component."""
    return startup.quantile_s(state.startup_s, 0.5, startup.COPY_DEFAULT_S)


def instance_left_s(memory: VariantState, now_s: float) -> float:
    """Seconds until the instances that were asked for, or would be now, may be expected."""
    usual_s = usual_instance_s(memory)
    return usual_s if memory.ask is None else max(0.0, memory.ask.at_s + usual_s - now_s)


def instance_wait_s(memory: VariantState, now_s: float) -> int:
    """20 s when the instances may come any moment, else as long as is left of the usual time, at most 60 s."""
    asked_s = memory.ask.at_s if memory.ask is not None else now_s
    left_s = asked_s + EARLY * usual_instance_s(memory) - now_s
    return math.ceil(min(LONGEST_INSTANCE_WAIT_S, max(SHORTEST_INSTANCE_WAIT_S, left_s)))


def release_hold_s(wishes: Sequence[Wish]) -> float:
    """How long an instance must have been empty: the most careful target of the variant decides.

    No API says when the streams of a removed copy have ended, so at least as long as they may need.
    """
    holds = (max(w.target.guards.instance_release_hold_s, w.decision.drain_s) for w in wishes)
    return max(holds, default=Guards().instance_release_hold_s)


def is_waited_out(backoff: Backoff | None, now_s: float) -> bool:
    """True while a refusal still keeps us from asking again."""
    return backoff is not None and backoff.until_s > now_s


def allowed(
    backoff: Backoff | None, wanted: int, asked: int, target_id: TargetId, held: dict[TargetId, Held], now_s: float
) -> int:
    """`wanted`, made smaller while a refusal is waited out; what is held back is noted in `held`."""
    if backoff is None or not is_waited_out(backoff, now_s):
        return wanted
    possible = asked if backoff.largest_possible is None else backoff.largest_possible
    if wanted > possible:
        held[target_id] = held_by(backoff, now_s, f"{wanted} are wished, {max(asked, possible)} possible now")
    return min(wanted, possible)


def held_by(backoff: Backoff, now_s: float, detail: str) -> Held:
    """Why a refusal holds. A reason that this version does not know (a newer one wrote it) says "not now"."""
    reason = Reason(backoff.reason) if backoff.reason in set(Reason) else Reason.NOT_SCALABLE_NOW
    return Held(reason, f"{backoff.reason}: {detail}; next try in {backoff.until_s - now_s:.0f} s")
