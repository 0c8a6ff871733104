"""Reads a definition file as a deployment does: YAML or JSON, with DefinitionSubstitutions filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


def read_definition(path: Path, substitutions: Mapping[str, str]) -> dict[str, Any]:
    """The definition in `path` with every `${Name}` replaced by `substitutions["Name"]`.

    Raises ValueError that names what does not fit: a `${Name}` without a substitution, which CloudFormation would
    deploy as it stands, or a substitution that the file never uses.
    """
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    used: set[str] = set()
    filled = _filled(definition, substitutions, used)
    missing, unused = sorted(used - set(substitutions)), sorted(set(substitutions) - used)
    if missing:
        raise ValueError(
            f"{path.name}: no substitution is given for {', '.join(missing)}; add it where the file is used"
        )
    if unused:
        raise ValueError(f"{path.name}: the substitution {', '.join(unused)} is not in the file; remove it or use it")
    return filled


_VARIABLE = re.compile(r"\$\{(\w+)\}")


def _filled(node: Any, substitutions: Mapping[str, str], used: set[str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, substitutions, used) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, substitutions, used) for value in node]
    if isinstance(node, str):
        used.update(_VARIABLE.findall(node))
        return _VARIABLE.sub(lambda match: substitutions.get(match.group(1), match.group()), node)
    return node
