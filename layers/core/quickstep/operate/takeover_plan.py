"""The plan of a migration: what Application Auto Scaling has, and the exact calls that take it over and give it back.

A plan is data. What it says is what is carried out (`takeover.py`): each target has three lists of calls, for the modes
shadow, swap and rollback, in the order in which they are made. Reviewing the file is reviewing the migration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from quickstep.errors import QuickstepError

VERSION = 1
SUSPENSIONS = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
AAS, QUICKSTEP = "application-autoscaling", "quickstep"


class UnusablePlan(QuickstepError):
    """The file is no plan of a migration, or one of another stack or account."""


class Progress(StrEnum):
    """How far a target's migration has come. Words that end in -ing are written before the first call of that mode."""

    PLANNED = "planned"
    SHADOWING = "shadowing"
    SHADOWED = "shadowed"
    SWAPPING = "swapping"
    SWAPPED = "swapped"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"

    @property
    def is_untouched(self) -> bool:
        """Nothing of this migration is in force: the target may be planned again."""
        return self in (Progress.PLANNED, Progress.ROLLED_BACK)


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One API call."""

    api: str
    """`application-autoscaling` or `quickstep` (the stack's control API)."""
    operation: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Untranslated:
    """Something that Application Auto Scaling has and Quickstep will not: what it is, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """A target as Application Auto Scaling described it, without times and ARNs of its own."""

    target: Mapping[str, Any]
    policies: tuple[Mapping[str, Any], ...] = ()
    scheduled_actions: tuple[Mapping[str, Any], ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def suspended_state(self) -> dict[str, bool]:
        given = self.target.get("SuspendedState") or {}
        return {name: bool(given.get(name)) for name in SUSPENSIONS}


@dataclass(frozen=True, slots=True)
class PlannedTarget:
    """One scalable target's migration."""

    resource_id: str
    dimension: str
    progress: Progress
    found: Found
    shadow: tuple[PlannedCall, ...] = ()
    swap: tuple[PlannedCall, ...] = ()
    rollback: tuple[PlannedCall, ...] = ()
    untranslated: tuple[Untranslated, ...] = ()
    blocked: str | None = None
    """Why the target cannot be registered at all; None if it can."""
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return self.resource_id, self.dimension


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """The plan of one stack in one account and region."""

    stack: str
    account_id: str
    region: str
    targets: tuple[PlannedTarget, ...] = ()

    def with_target(self, target: PlannedTarget) -> MigrationPlan:
        """The plan with `target` in the place of the one of the same resource and dimension."""
        return replace(self, targets=tuple(target if one.key == target.key else one for one in self.targets))


def to_document(plan: MigrationPlan) -> dict[str, Any]:
    """Plain JSON-able form."""
    return {"version": VERSION, "format": "quickstep migration", **asdict(plan)}


def from_document(document: Any) -> MigrationPlan:
    """Rebuild a plan. Raises UnusablePlan saying what is wrong."""
    if not isinstance(document, Mapping) or document.get("format") != "quickstep migration":
        raise UnusablePlan('it has no "format": "quickstep migration"')
    if document.get("version") != VERSION:
        raise UnusablePlan(f"its version is {document.get('version')!r}; this command reads version {VERSION}")
    try:
        targets = tuple(_target(row) for row in document["targets"])
        return MigrationPlan(document["stack"], document["account_id"], document["region"], targets)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnusablePlan(f"a part is missing or of another form: {error}") from error


def _target(row: Mapping[str, Any]) -> PlannedTarget:
    found = row["found"]
    modes = {name: tuple(PlannedCall(**one) for one in row[name]) for name in ("shadow", "swap", "rollback")}
    return PlannedTarget(
        resource_id=row["resource_id"],
        dimension=row["dimension"],
        progress=Progress(row["progress"]),
        found=Found(found["target"], tuple(found["policies"]), tuple(found["scheduled_actions"]), dict(found["tags"])),
        untranslated=tuple(Untranslated(**one) for one in row["untranslated"]),
        blocked=row["blocked"],
        notes=tuple(row["notes"]),
        **modes,
    )
