"""What is remembered of one forecasting policy: the loads it forecast, hour by hour, and how good it has been."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """Loads are in the load metric's own unit (requests in flight, or an hour's requests), losses in copies (or instances)."""

    learned_at_s: float
    due_s: float
    """When to forecast anew; earlier than the next hour if the history could not be read."""
    first_hour_s: float | None = None
    """Start of the first hour of `loads`; None without a forecast."""
    loads: tuple[float | None, ...] = ()
    """Hours that are over as they were forecast before they began, and the hours to come. None = there was no forecast."""
    load_per_capacity: float | None = None
    """Load that one copy (or instance) is meant to carry; None if that is not known."""
    lead_s: float | None = None
    """How long capacity takes to come; None if nothing has been learned."""
    hours: int = 0
    """Hours that were judged."""
    loss: float | None = None
    """Mean pinball loss of the forecasts of those hours; None without any."""
    persistence_loss: float | None = None
    """Of taking each of those hours to be like the one before it."""
    quantile: float | None = None
    """At which quantile losses are taken; q / (1 − q) is how much worse too little is than too much."""

    def load_of(self, hour_s: float) -> float | None:
        """Forecast load of the hour that begins at `hour_s`; None if there is none."""
        if self.first_hour_s is None:
            return None
        index = round((hour_s - self.first_hour_s) / HOUR_S)
        return self.loads[index] if 0 <= index < len(self.loads) else None

    @property
    def skill(self) -> float | None:
        """Share of persistence's loss that the forecast saves: 1 = exact, 0 = no better, below 0 = worse (at least −1).

        None if nothing was judged.
        """
        if self.loss is None or self.persistence_loss is None:
            return None
        if self.loss <= 0:
            return 1.0
        if self.persistence_loss <= 0:
            return -1.0
        return max(-1.0, 1.0 - self.loss / self.persistence_loss)

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Forecast:
        """Rebuild from the registry's plain form; unknown fields are ignored."""
        known = {name: row[name] for name in cls.__slots__ if name in row}
        return cls(**{**known, "loads": tuple(known.get("loads") or ())})
