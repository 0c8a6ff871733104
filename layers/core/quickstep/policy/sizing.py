"""Sizing: how many copies a load needs, with the headroom that was learned for this target.

Before anything is learned it is the plain rule: requests in flight over the target per copy. That target has room in it
already, for growth nobody knows. Once the target's own growth is known, the room is sized by it instead: the load in
copies' worth, each copy filled to its limit, plus `growth` in the square root (a quiet and a busy hour then need the
same), and at least what yesterday had in the minutes that come next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from quickstep.model.headroom import Headroom
from quickstep.policy.demand import ROUNDING, Load
from quickstep.policy.pace import LIMIT_SHARE

LIMIT_OVER_TARGET = 1 / LIMIT_SHARE
"""A copy keeps its users' SLO up to about so many times its target: the target is meant to be 0.7 of what it can carry."""
TRUSTED_H = 12.0
"""Hours of history at which what was learned counts fully; before, in proportion."""
DIAL = {95.0: 0.875, 98.0: 1.0, 99.0: 1.167, 99.5: 1.4}
"""What the plain rule is multiplied with, by `slo_target`."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """How one target is sized at one moment."""

    target_per_copy: float
    slo_target: float = 98.0
    headroom: Headroom | None = None
    seasonal: float | None = None
    """The most load that yesterday had in the minutes that come next, in copies' worth; None = no say."""

    @property
    def trust(self) -> float:
        """0 (nothing learned) to 1: how much of the size is what was learned."""
        return 0.0 if self.headroom is None else min(1.0, self.headroom.hours / TRUSTED_H)

    def copies(self, load: Load) -> int:
        """Copies for `load`. Monotone in it; never fewer than carry it at their limit."""
        return max(0, math.ceil(self.expected(load) - ROUNDING))

    def season_copies(self) -> int:
        """Copies that yesterday's minutes ask for, whatever the load is now; 0 without a season."""
        if self.headroom is None or self.headroom.season is None or self.seasonal is None:
            return 0
        root = max(0.0, math.sqrt(self.seasonal) + self.headroom.season)
        return math.ceil(self.trust * root * root - ROUNDING)

    def expected(self, load: Load) -> float:
        """The most load that is expected within the lead time, in copies' worth: what `copies` rounds up."""
        plain = load.total / self.target_per_copy * DIAL.get(self.slo_target, 1.0)
        if self.headroom is None:
            return plain
        root = math.sqrt(load.level) + self.headroom.growth if load.level > 0 else 0.0
        if self.headroom.season is not None and self.seasonal is not None:
            root = max(root, math.sqrt(self.seasonal) + self.headroom.season)
        return self.trust * root * root + (1 - self.trust) * plain

    def in_words(self, load: Load, unit: str) -> str:
        """One sentence for the decision's record."""
        copies = self.copies(load)
        if self.headroom is None:
            return f"{load.total:.1f} in flight at {self.target_per_copy:g} per {unit} needs {copies}"
        grown = (math.sqrt(load.level) + self.headroom.growth) ** 2 if load.level > 0 else 0.0
        words = (
            f"{load.total:.1f} in flight is {load.level:.1f} copies' worth; within {self.headroom.lead_s:.0f} s it grows to "
            f"{grown:.1f} at the price of slo_target {self.slo_target:g}, learned from {self.headroom.hours:g} h"
        )
        if self.headroom.season is not None and self.seasonal is not None:
            words += f"; yesterday had {self.seasonal:.1f} in the minutes that come next"
        return f"{words}: {copies}"
