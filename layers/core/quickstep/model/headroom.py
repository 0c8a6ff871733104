"""What is learned about a target's load, to size with: how much it grows while capacity comes, and what yesterday was like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Headroom:
    """Learned from minutes of load. Loads are in copies' worth; growth and season are differences of square roots.

    The square root makes growth comparable between a quiet and a busy hour: counts scatter with the root of their mean.
    """

    growth: float
    """√copies kept above the load of now: the least that the dial's price of a shortage makes worth keeping."""
    season: float | None
    """√copies on top of the same minutes of yesterday; None = yesterday says nothing worth paying for."""
    hours: float
    """Known hours behind it."""
    learned_at_s: float
    lead_s: float
    """How long capacity takes to come; growth is measured over so long."""
    yesterday_from_s: float | None = None
    """Start of the first minute of `yesterday`, moved forward by a day; None without a season."""
    yesterday: tuple[float, ...] = ()
    """Load of yesterday's minutes from `yesterday_from_s` on."""
    shortage_hours: float | None = None
    """Of the hours behind it, those in which this headroom would have been too small."""

    def seasonal_peak(self, now_s: float) -> float | None:
        """The most load that yesterday had between `now_s` and one lead time later; None if that is not known."""
        if self.season is None or self.yesterday_from_s is None:
            return None
        first = int((now_s - self.yesterday_from_s) // MINUTE_S)
        window = self.yesterday[max(0, first) : first + 1 + int(self.lead_s // MINUTE_S)] if first >= 0 else ()
        return max(window, default=None)

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Headroom:
        """Rebuild from the registry's plain form; unknown fields are ignored."""
        known = {name: row[name] for name in cls.__slots__ if name in row}
        return cls(**{**known, "yesterday": tuple(float(v) for v in known.get("yesterday") or ())})
