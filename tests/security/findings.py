"""What a check says, and what of it is accepted: for a reason, and until a day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

SUPPRESSIONS = Path(__file__).parent / "suppressions.yaml"
LONGEST = timedelta(days=400)
"""No suppression is good for longer: somebody looks at each about once a year."""

SOON = timedelta(days=30)


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is not as it should be.

    `control` is `SEC-07`, or `other` for what a tool says that belongs to no control. `edition` is `default`,
    `hardened`, or empty where the finding is not about the template. `rule` is the tool's own name of what was broken.
    """

    control: str
    tool: str
    rule: str
    resource: str
    message: str
    edition: str = ""

    def __str__(self) -> str:
        where = f"{self.resource} ({self.edition})" if self.edition else self.resource
        return f"{self.control} {self.tool} {self.rule}: {where}: {self.message}"


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Suppression(BaseModel):
    """Findings that are accepted. `resource` is a pattern (`*Function`), everything else is exact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    control: Annotated[str, StringConstraints(pattern=r"^(SEC-\d\d|other)$")]
    tool: _Text
    rule: _Text
    resource: _Text
    edition: Literal["default", "both", "none"] = Field(
        description="default: only what a stack without options is; both; none: not about the template"
    )
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=40)]
    expires: date

    def covers(self, finding: Finding) -> bool:
        """True if the finding is one that this suppression means."""
        editions = {"default": ("default",), "both": ("default", "hardened"), "none": ("",)}[self.edition]
        return (
            (finding.control, finding.tool, finding.rule) == (self.control, self.tool, self.rule)
            and finding.edition in editions
            and fnmatchcase(finding.resource, self.resource)
        )

    def __str__(self) -> str:
        return f"{self.control} {self.tool} {self.rule} {self.resource}"


class SuppressionsUnreadable(ValueError):
    """The file of suppressions is not what it must be; the message says which entry and what to write instead."""


def read_suppressions(path: Path = SUPPRESSIONS) -> tuple[Suppression, ...]:
    """The suppressions in `path`, in its order. Raises SuppressionsUnreadable."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as problem:
        raise SuppressionsUnreadable(f"{path.name}: {problem}") from problem
    if not isinstance(entries, list):
        raise SuppressionsUnreadable(f"{path.name} is not a list; write one entry per accepted finding")
    found = []
    for number, entry in enumerate(entries, 1):
        try:
            found.append(Suppression.model_validate(entry))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"])) or "the entry"
            raise SuppressionsUnreadable(
                f"{path.name}, entry {number}: {field} is {first['input']!r}: {first['msg'].lower()}"
            ) from None
    return tuple(found)


def divided(
    findings: Iterable[Finding], suppressions: Sequence[Suppression], today: date
) -> tuple[list[Finding], list[tuple[Finding, Suppression]]]:
    """(what stands, what is accepted and by what). An expired suppression accepts nothing."""
    standing, accepted = [], []
    for finding in sorted(set(findings)):
        by = next((one for one in suppressions if one.covers(finding) and today <= one.expires), None)
        if by is None:
            standing.append(finding)
        else:
            accepted.append((finding, by))
    return standing, accepted


def suppression_findings(
    suppressions: Sequence[Suppression], used: Iterable[Suppression], today: date, tools_run: Iterable[str]
) -> list[Finding]:
    """Suppressions that have expired, last too long, are written twice, or accept nothing of a tool that was run."""
    used, tools_run, found = set(used), set(tools_run), []
    for one in suppressions:
        said = None
        if one.expires < today:
            said = f"expired on {one.expires}; fix the finding, or decide again and give it a new day"
        elif one.expires - today > LONGEST:
            said = f"lasts until {one.expires}; {LONGEST.days} days from today are the most"
        elif suppressions.count(one) > 1:
            said = "is written twice"
        elif one not in used and one.tool in tools_run:
            said = "accepts nothing any more; delete it"
        if said:
            found.append(Finding("SEC-29", "own", "suppressions", str(one), said))
    return found
