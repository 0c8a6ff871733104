"""The generated parts of docs/security.md: the controls as printed, who may do what, what is suppressed and why."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.security.editions import Edition, editions, texts
from tests.security.findings import Suppression, SuppressionsUnreadable, read_suppressions
from tests.security.repository import DOCUMENT
from tests.security.statements import Statement, statements

if TYPE_CHECKING:
    from tests.security.command import Row


class DocumentBroken(ValueError):
    """docs/security.md has no place for a generated part."""


def write(rows: Sequence[Row], suppressions: Sequence[Suppression], both: tuple[Edition, Edition]) -> None:
    """Write every generated part again. Raises DocumentBroken if a marker is missing."""
    text = DOCUMENT.read_text(encoding="utf-8")
    parts = {
        "controls": controls_table(rows),
        "permissions": permissions_table(both),
        "suppressions": suppressions_table(suppressions),
    }
    for name, content in parts.items():
        text = with_part(text, name, content)
    DOCUMENT.write_text(text, encoding="utf-8")


def write_what_needs_no_tool() -> None:
    """Write the parts that come from the template and the list of suppressions. Raises DocumentBroken."""
    text = with_part(DOCUMENT.read_text(encoding="utf-8"), "permissions", permissions_table(editions()))
    DOCUMENT.write_text(with_part(text, "suppressions", suppressions_table(read_suppressions())), encoding="utf-8")


def with_part(text: str, name: str, content: str) -> str:
    """`text` with `content` between the markers of part `name`. Raises DocumentBroken if they are not there."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise DocumentBroken(f"docs/security.md lacks the lines {begin} and {end}, in this order")
    return f"{before}{begin}\n{content}\n{end}{after}"


def controls_table(rows: Sequence[Row]) -> str:
    """One line per control, as `make security` prints it."""
    lines = ["| control | what must hold | verified by | verdict |", "|---|---|---|---|"]
    for row in rows:
        verdict = f"{row.verdict} ({row.suppressed})" if row.suppressed else row.verdict
        lines.append(f"| {row.id} | {_cell(row.title)} | {_cell('; '.join(row.verified_by))} | {verdict} |")
    return "\n".join(lines)


def permissions_table(both: tuple[Edition, Edition]) -> str:
    """One line per statement and role: whose it is, what it allows, on what, on which condition.

    What only an option adds is in the second edition and marked so.
    """
    plain, everything = both
    users: dict[str, list[str]] = {}
    for name, function in everything.of_type("AWS::Lambda::Function"):
        users.setdefault(str(function["Role"]["Fn::GetAtt"][0]), []).append(name.removesuffix("Function"))
    for name, machine in everything.of_type("AWS::StepFunctions::StateMachine"):
        users.setdefault(str(machine["RoleArn"]["Fn::GetAtt"][0]), []).append(name)
    shared = _shared(everything)
    lines = ["| role (used by) | allows | on | if |", "|---|---|---|---|"]
    lines += [f"| every function | {_line(one, plain)} |" for one in shared.values()]
    for role, _ in everything.of_type("AWS::IAM::Role"):
        who = f"{role} ({', '.join(users.get(role, ['EventBridge Scheduler']))})"
        for one in statements(everything, role):
            if _key(one) not in shared:
                lines.append(f"| {who} | {_line(one, plain)} |")
                who = ""
    return "\n".join(lines)


def suppressions_table(suppressions: Sequence[Suppression]) -> str:
    """One line per suppression."""
    lines = ["| control | tool | rule | resource | where | why | until |", "|---|---|---|---|---|---|---|"]
    for one in suppressions:
        cells = (one.control, one.tool, one.rule, f"`{one.resource}`", one.edition, one.reason, str(one.expires))
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(lines)


def _shared(edition: Edition) -> dict[str, Statement]:
    """Statements that every function's role has."""
    roles = {str(one["Role"]["Fn::GetAtt"][0]) for _, one in edition.of_type("AWS::Lambda::Function")}
    per_role = [{_key(one): one for one in statements(edition, role)} for role in sorted(roles)]
    common = set.intersection(*(set(one) for one in per_role))
    return {key: one for key, one in per_role[0].items() if key in common}


def _key(one: Statement) -> str:
    return one.where.split("/", 1)[1]


def _line(one: Statement, plain: Edition) -> str:
    there = {_key(other) for role, _ in plain.of_type("AWS::IAM::Role") for other in statements(plain, role)}
    where = "<br>".join(f"`{_shorter(resource)}`" for resource in one.resources)
    condition = "<br>".join(
        f"`{key}` {operator.removeprefix('ForAllValues:')} `{_value(value)}`"
        for operator, pairs in one.condition.items()
        for key, value in pairs.items()
    )
    option = "" if _key(one) in there else "the option is on<br>" if condition else "the option is on"
    return f"{', '.join(one.actions)} | {where} | {option}{condition}"


def _shorter(resource: str) -> str:
    prefix = "arn:${AWS::Partition}:"
    return (
        resource.removeprefix(prefix)
        .replace("${AWS::Region}:${AWS::AccountId}:", "…:")
        .replace("AWS::StackName", "stack")
    )


def _value(value: object) -> str:
    return ", ".join(_shorter(one) for one in texts(value))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> int:
    """`make docs`; 2 if the document or the list of suppressions is not what it must be."""
    try:
        write_what_needs_no_tool()
    except (OSError, DocumentBroken, SuppressionsUnreadable) as problem:
        print(f"make docs: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
