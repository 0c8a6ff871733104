"""The template as AWS's own translator makes it plain CloudFormation, and copies of it with one thing changed.

`simulator.template.load_stack` resolves everything; here intrinsic functions stay, which is what a linter wants to see.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from cfnlint.api import lint
from cfnlint.config import ManualArgs

from simulator.template import Stack, load_stack
from tests.security.editions import ROOT, TEMPLATE, cloudformation, source

__all__ = [
    "MACHINE",
    "MODES",
    "PARAMETERS",
    "ROOT",
    "TEMPLATE",
    "changed",
    "cloudformation",
    "lint_findings",
    "source",
    "stack",
]

MACHINE = "statemachine/scaling_loop.asl.yaml"
PARAMETERS = {"EndpointName": "llm", "InferenceComponentName": "chat"}
"""What a person gives who scales an inference component; without the second, a single-model variant is scaled."""

MODES = {"component": PARAMETERS, "variant": {"EndpointName": "llm"}}


def stack(path: Path = TEMPLATE, mode: str = "component") -> Stack:
    """The deployed stack with all defaults but the names."""
    return load_stack(path, MODES[mode])


def changed(folder: Path, *edits: tuple[str, str], machine: tuple[str, str] | None = None) -> Path:
    """A copy of the template in `folder` with each `old` text, which must be there, replaced by `new` everywhere.

    `machine` is one such edit of the state machine's file.
    """
    path = folder / TEMPLATE.name
    path.write_text(_edited(TEMPLATE.read_text(encoding="utf-8"), edits), encoding="utf-8")
    (folder / MACHINE).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / MACHINE, folder / MACHINE)
    if machine is not None:
        (folder / MACHINE).write_text(
            _edited((ROOT / MACHINE).read_text(encoding="utf-8"), (machine,)), encoding="utf-8"
        )
    return path


def lint_findings(template: dict[str, Any]) -> list[str]:
    """What cfn-lint has to say of a plain CloudFormation template, information included."""
    config = ManualArgs(regions=["us-east-1"], include_checks=["I"])
    return sorted(
        f"{found.rule.id} {found.path}: {found.message}" for found in lint(json.dumps(template), config=config)
    )


def _edited(text: str, edits: tuple[tuple[str, str], ...]) -> str:
    for old, new in edits:
        assert old in text, f"there is no {old!r} to change"
        text = text.replace(old, new)
    return text
