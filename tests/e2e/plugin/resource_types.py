"""What MiniStack's CloudFormation lacks: resource types, and state machines written in YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from ministack.services.cloudformation import provisioners


def accept_unknown(template: Path) -> list[str]:
    """Register an empty resource for every type of `template` that MiniStack would refuse; return those types.

    Serverless types are not meant: they are gone when CloudFormation sees the template.
    """
    resources = yaml.load(template.read_text(encoding="utf-8"), Loader=_Loader)["Resources"]
    types = {one["Type"] for one in resources.values()}
    unknown = sorted(
        one
        for one in types - provisioners._RESOURCE_HANDLERS.keys()
        if one.startswith("AWS::") and not one.startswith("AWS::Serverless::")
    )
    for one in unknown:
        provisioners._RESOURCE_HANDLERS[one] = {"create": _create, "update": _update, "delete": _delete}
    return unknown


def read_yaml_machines() -> None:
    """Let a state machine's definition in S3 be YAML, as CloudFormation does; MiniStack runs JSON only."""
    before = provisioners._sfn_definition

    def definition(properties: dict[str, Any]) -> str:
        return json.dumps(yaml.safe_load(before(properties)))

    provisioners._sfn_definition = definition


def _create(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    return f"{stack_name}-{logical_id}", {}


def _update(
    physical_id: str, before: dict[str, Any], properties: dict[str, Any], stack_name: str
) -> tuple[str, dict[str, Any]]:
    return physical_id, {}


def _delete(physical_id: str, properties: dict[str, Any]) -> None:
    return


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as whatever they stand on."""


_Loader.add_multi_constructor(
    "!", lambda loader, suffix, node: loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None
)
