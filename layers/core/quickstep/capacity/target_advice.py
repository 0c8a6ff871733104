"""Advice: from the limit of a copy to the target per copy that follows, and how far to go towards it at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from quickstep.capacity.bend import Limit
from quickstep.policy.pace import LIMIT_SHARE

FARTHEST_BEYOND_SEEN = 1.25
"""A target is never put further beyond the concurrency that was seen: what lies there is the law's guess."""
LARGEST_STEP = 1.5
"""Applying moves a target by at most this factor; then the new target is lived with, seen, and asked about again."""
LEAST, MOST = 1.0, 1024.0
"""A target below 1 asks for the maximum with the first request; 1024 is what the template and the API take."""


class Move(StrEnum):
    RAISE = "raise"
    LOWER = "lower"
    KEEP = "keep"
    """What is there lies within what the evidence can tell."""


@dataclass(frozen=True, slots=True)
class Advice:
    """Targets are requests in flight per copy, in the unit that the present one has."""

    move: Move
    target: float
    by_law: float
    """LIMIT_SHARE of the limit, whatever was seen."""
    low: float
    high: float
    """Targets that the evidence does not speak against, about 95 %."""
    step: float
    """What to set now: `target`, or as far towards it as one application goes."""
    held_by: str = ""
    """Why `target` is not LIMIT_SHARE of the limit, or `step` not `target`; empty if both are."""


def advise(limit: Limit, *, seen_high: float, present: float, peak_ratio: float = 1.0) -> Advice:
    """The target per copy for a copy that reaches `limit`: LIMIT_SHARE of it, the rest being for bursts.

    `seen_high`: the highest concurrency per copy that was seen often, of the same statistic as `limit`. `present`: the
    target now. `peak_ratio`: present's statistic over the limit's at this load, where they differ (Maximum over
    Average). All above 0. Example: limit 10, seen up to 4, present 3: 7 is right, 5 is as far as was nearly seen, 4.5 is
    one step.
    """
    scale = LIMIT_SHARE * peak_ratio
    by_law, low, high = (_whole(scale * value) for value in (limit.per_copy, limit.low, limit.high))
    target, held = by_law, []
    farthest = _whole(FARTHEST_BEYOND_SEEN * seen_high * peak_ratio)
    if target > farthest and target > present:
        target = max(farthest, present)
        held.append(
            f"{FARTHEST_BEYOND_SEEN:g} times the {seen_high * peak_ratio:.3g} per copy that was seen is as far as it goes"
        )
    if target == present or low <= present <= high:
        return Advice(Move.KEEP, present, by_law, low, high, present, "; ".join(held))
    step = target
    if not present / LARGEST_STEP <= target <= present * LARGEST_STEP:
        # Rounded towards the present, so that a step is never longer than it may be.
        whole = math.floor(present * LARGEST_STEP * 10) if target > present else math.ceil(present / LARGEST_STEP * 10)
        step = min(MOST, max(LEAST, whole / 10))
        held.append(f"one step is at most a factor of {LARGEST_STEP:g}")
    move = Move.RAISE if target > present else Move.LOWER
    return Advice(move, target, by_law, low, high, step, "; ".join(held))


def _whole(target: float) -> float:
    """A value that a person would set, within what may be set."""
    return min(MOST, max(LEAST, round(target, 1 if target < 100 else 0)))
