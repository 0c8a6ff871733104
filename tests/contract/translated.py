"""The template as AWS's own translator makes it plain CloudFormation, and copies of it with one thing changed.

`simulator.template.load_stack` resolves everything; here intrinsic functions stay, which is what a linter wants to see.
"""

from __future__ import annotations

import json
import os
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from cfnlint.api import lint
from cfnlint.config import ManualArgs
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

from simulator.template import Stack, load_stack

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"
MACHINE = "statemachine/scaling_loop.asl.yaml"
PARAMETERS = {"EndpointName": "llm", "InferenceComponentName": "chat"}
"""What a person gives who scales an inference component; without the second, a single-model variant is scaled."""

MODES = {"component": PARAMETERS, "variant": {"EndpointName": "llm"}}


def source(path: Path = TEMPLATE) -> dict[str, Any]:
    """The template as written; short-form functions in their long form."""
    return yaml_parse(path.read_text(encoding="utf-8"))


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


def cloudformation(path: Path = TEMPLATE) -> dict[str, Any]:
    """What `sam deploy` would hand to CloudFormation, with the state machine written into it."""
    template = source(path)
    machines = {}
    for name, resource in template["Resources"].items():
        properties = resource["Properties"]
        for key in ("CodeUri", "ContentUri"):
            if key in properties:
                properties[key] = f"s3://bucket/{name}"
        if "DefinitionUri" in properties:
            machines[name] = yaml.safe_load((path.parent / properties["DefinitionUri"]).read_text(encoding="utf-8"))
            properties["DefinitionUri"] = f"s3://bucket/{name}"
    parameters = {name: one.get("Default", "given") for name, one in template["Parameters"].items()}
    # The translator asks for a region, whatever it is told.
    with patch.dict(os.environ, {"AWS_DEFAULT_REGION": "us-east-1"}):
        plain = transform(deepcopy(template), parameters, _NoManagedPolicies())
    for name, definition in machines.items():
        # A linter reads a definition that is an object, not one that lies in a bucket.
        plain["Resources"][name]["Properties"].pop("DefinitionS3Location")
        plain["Resources"][name]["Properties"]["Definition"] = definition
    return plain


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


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}
