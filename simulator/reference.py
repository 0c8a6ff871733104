"""The generated part of README.md: what the template's parameters mean. `make docs` writes it, a contract test compares."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

BEGIN = "<!-- parameters:begin -->"
END = "<!-- parameters:end -->"


def parameters_table(template: Mapping[str, Any]) -> str:
    """One Markdown table per parameter group of a parsed template, a row per parameter, in the template's order.

    Raises KeyError for a parameter in a group that the template does not declare.
    """
    declared = template["Parameters"]
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    return "\n\n".join(
        "\n".join(
            [
                f"**{group['Label']['default']}**\n",
                "| parameter | default | what it is | allowed |",
                "|---|---|---|---|",
                *(_row(name, declared[name]) for name in group["Parameters"]),
            ]
        )
        for group in groups
    )


def with_parameters(readme: str, template: Mapping[str, Any]) -> str:
    """`readme` with the tables between its two markers. Raises ValueError if the markers are not there, in this order."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks the lines {BEGIN} and {END}, in this order")
    return f"{before}{BEGIN}\n{parameters_table(template)}\n{END}{after}"


def main() -> int:
    """Write the tables into the README.md of the current directory; 2 if that is not possible."""
    try:
        template = yaml_parse(Path("template.yaml").read_text(encoding="utf-8"))
        readme = Path("README.md")
        readme.write_text(with_parameters(readme.read_text(encoding="utf-8"), template), encoding="utf-8")
    except (OSError, ValueError) as problem:
        print(f"make docs: {problem}", file=sys.stderr)
        return 2
    return 0


def _row(name: str, parameter: Mapping[str, Any]) -> str:
    cells = (f"`{name}`", _default(parameter), parameter["Description"], parameter["ConstraintDescription"])
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _default(parameter: Mapping[str, Any]) -> str:
    if "Default" not in parameter:
        return "none, must be given"
    return f"`{parameter['Default']}`" if parameter["Default"] != "" else "empty"


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


if __name__ == "__main__":
    raise SystemExit(main())
