"""A scaling activity: a decision carried out, or one that was not and why. AAS's shape with the decision inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from quickstep.model.targets import TargetId


class ActivityStatus(StrEnum):
    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    SUCCESSFUL = "Successful"
    OVERRIDDEN = "Overridden"
    UNFULFILLED = "Unfulfilled"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Activity:
    """One entry of a target's history."""

    activity_id: str
    """Sortable: milliseconds since the epoch, then a counter within the look."""
    target_id: TargetId
    start_s: float
    status: ActivityStatus
    description: str
    """What: "Setting desired copies to 4." """
    cause: str
    """Why, in one sentence with the numbers that bound."""
    reason: str
    before: int | None = None
    after: int | None = None
    not_scaled: bool = False
    """True if nothing was changed: `reason` is then AAS's NotScaledReason, or one of ours."""
    end_s: float | None = None
    status_message: str = ""
    decision: Mapping[str, object] = field(default_factory=dict)
    """The decision record: inputs, every stage's step, outcome."""
