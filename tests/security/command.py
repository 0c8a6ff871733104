"""The command behind `make security`: run everything, print one row per control, say what must be done."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from tests.security import document, scanners
from tests.security.controls import CONTROLS, OTHER, Control
from tests.security.editions import TEMPLATE, Edition, editions, unseen
from tests.security.findings import (
    SOON,
    SUPPRESSIONS,
    Finding,
    Suppression,
    SuppressionsUnreadable,
    divided,
    read_suppressions,
    suppression_findings,
)
from tests.security.mutations import survivors
from tests.security.scanners import Report, ToolBroken


@dataclass(frozen=True)
class Row:
    """One printed row. `verdict` is `ok`, `suppressed` or `FAIL`; `verified_by` names tool, rule and how much it saw."""

    id: str
    title: str
    verified_by: tuple[str, ...]
    verdict: str
    findings: tuple[str, ...]
    suppressed: int


def main(arguments: Sequence[str] | None = None) -> int:
    """0 = every control holds or is suppressed with a reason; 1 = a finding; 2 = unusable input or a broken tool."""
    options = _options(arguments)
    if options.mutants:
        return _mutants(editions(options.template))
    try:
        suppressions = read_suppressions(options.suppressions)
        rows, expiring = run(options.template, suppressions, date.today(), with_tools=not options.own)
        if options.docs:
            document.write(rows, suppressions, editions(options.template))
    except (OSError, SuppressionsUnreadable, ToolBroken, document.DocumentBroken) as problem:
        print(f"make security: {problem}", file=sys.stderr)
        return 2
    answer = {"rows": [asdict(one) for one in rows], "controls": len(CONTROLS), "ok": not _failed(rows)}
    if options.json is not None:
        text = json.dumps(answer, indent=2, sort_keys=True) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).parent.mkdir(parents=True, exist_ok=True)
            Path(options.json).write_text(text, encoding="utf-8")
    if options.json != "-":
        _print(rows, expiring)
    return 1 if _failed(rows) else 0


def run(
    template: Path, suppressions: Sequence[Suppression], today: date, *, with_tools: bool
) -> tuple[list[Row], list[str]]:
    """(a row per control, and one more for what belongs to none; suppressions that expire soon).

    Without tools only our own assertions decide, and the rows say so. Raises ToolBroken.
    """
    both = editions(template)
    reports = scanners.run_tools(both, template) if with_tools else {}
    looked, findings = own_assertions(both)
    findings += [Finding(OTHER, "own", "editions", name, "is in no edition; see HARDENED") for name in unseen(template)]
    for report in reports.values():
        findings += report.findings
    standing, accepted = divided(findings, suppressions, today)
    run_of = {"own", *(name for name, one in reports.items() if one.not_run is None)}
    standing += suppression_findings(suppressions, [by for _, by in accepted], today, run_of)
    looked["SEC-29"] = len(suppressions)
    rows = [_row(control, looked, reports, standing, accepted) for control in CONTROLS]
    rest = _row(Control(OTHER, "Whatever else the tools look at"), looked, reports, standing, accepted)
    expiring = [f"{one} expires on {one.expires}" for one in suppressions if today <= one.expires < today + SOON]
    return [*rows, rest], expiring


def own_assertions(
    both: Sequence[Edition], controls: Sequence[Control] = CONTROLS
) -> tuple[dict[str, int], list[Finding]]:
    """(how many things were looked at, by control; what is wrong with them)."""
    looked: dict[str, int] = dict.fromkeys((control.id for control in controls), 0)
    findings = []
    for control in controls:
        asked = [(check(edition), edition.name, check.__name__) for edition in both for check in control.own]
        asked += [(check(), "", check.__name__) for check in control.beside]
        for entries, edition, name in asked:
            for resource, wrong in entries:
                looked[control.id] += 1
                if wrong:
                    findings.append(Finding(control.id, "own", name, resource, wrong, edition))
    return looked, findings


def _row(
    control: Control,
    looked: dict[str, int],
    reports: dict[str, Report],
    standing: Sequence[Finding],
    accepted: Sequence[tuple[Finding, Suppression]],
) -> Row:
    its = [str(one) for one in standing if one.control == control.id]
    suppressed = sum(1 for finding, _ in accepted if finding.control == control.id)
    verdict = "FAIL" if its else "suppressed" if suppressed else "ok"
    return Row(control.id, control.title, tuple(_verified(control, looked, reports)), verdict, tuple(its), suppressed)


def _verified(control: Control, looked: dict[str, int], reports: dict[str, Report]) -> Iterable[str]:
    """`own ×12`, `checkov CKV_AWS_115 ×24`, … for all that has looked at something; what did not run says why."""
    if control.id == OTHER:
        for name, report in reports.items():
            if name != "pytest":
                yield f"{name} {report.version}" if report.not_run is None else f"{name}: not run: {report.not_run}"
        return
    if control.own or control.beside or control.id == "SEC-29":
        yield f"own ×{looked[control.id]}" if looked[control.id] else "own: the stack has none"
    for tool in dict.fromkeys(tool for tool, _ in control.tools):
        report = reports.get(tool)
        if report is None:
            yield f"{tool}: not asked"
            continue
        if report.not_run is not None:
            yield f"{tool}: not run, see the last row"
            continue
        if tool == "bandit":
            yield f"bandit, every rule ×{report.looked['every rule']} files"
            continue
        rules = [rule for named, rule in control.tools if named == tool and report.looked[rule]]
        if rules and tool == "cfn-lint":
            yield f"cfn-lint {', '.join(rules)}"
        elif rules:
            seen = ", ".join(
                f"{rule.removeprefix(control.id.replace('-', '_') + '_')} ×{report.looked[rule]}" for rule in rules
            )
            yield f"{tool} {seen}"
    if control.tests and "pytest" in reports:
        yield f"pytest ×{sum(reports['pytest'].looked[node] for node in control.tests)}"


def _mutants(both: Iterable[Edition]) -> int:
    """Loosen and break every permission, one at a time: 1 if one is not noticed."""
    missed = 0
    for edition in both:
        try:
            names, tried = survivors(edition)
        except ValueError as problem:
            print(f"make security: {problem}", file=sys.stderr)
            return 2
        missed += len(names)
        print(f"{edition.name}: {tried - len(names)} of {tried} mutations of permissions noticed")
        for name in names:
            print(f"  not noticed: {name}")
    return 1 if missed else 0


def _failed(rows: Sequence[Row]) -> bool:
    return any(row.verdict == "FAIL" for row in rows)


def _print(rows: Sequence[Row], expiring: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table("control", "what must hold", "verified by", "verdict", show_lines=False, pad_edge=False)
    styles = {"ok": "green", "suppressed": "yellow", "FAIL": "bold red"}
    for row in rows:
        verdict = f"{row.verdict} ({row.suppressed})" if row.suppressed and row.verdict != "FAIL" else row.verdict
        table.add_row(row.id, row.title, "; ".join(row.verified_by), f"[{styles[row.verdict]}]{verdict}[/]")
    console.print(table)
    for row in rows:
        for finding in row.findings:
            console.print(f"  {finding}", markup=False, soft_wrap=True)
    for one in expiring:
        console.print(f"  soon: {one}", markup=False, soft_wrap=True)
    controls = [row for row in rows if row.id != OTHER]
    good = sum(row.verdict != "FAIL" for row in controls)
    clean = sum(row.verdict == "ok" for row in controls)
    findings = sum(len(row.findings) for row in rows)
    console.print(
        f"{good} of {len(controls)} controls hold ({clean} clean, {good - clean} with reasoned suppressions); "
        f"{findings} finding{'' if findings == 1 else 's'}"
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make security --", description=__doc__)
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="OUT", help="write the rows as JSON; no OUT is standard output"
    )
    parser.add_argument("--own", action="store_true", help="ask only our own assertions, no tool")
    parser.add_argument(
        "--mutants", action="store_true", help="loosen every permission, one at a time, and see it noticed"
    )
    parser.add_argument("--docs", action="store_true", help="write the generated parts of docs/security.md again")
    parser.add_argument(
        "--template", type=Path, default=TEMPLATE, metavar="FILE", help="another template than template.yaml"
    )
    parser.add_argument(
        "--suppressions", type=Path, default=SUPPRESSIONS, metavar="FILE", help="another list of suppressions"
    )
    options = parser.parse_args(arguments)
    if not (options.own or options.mutants) and not scanners.installed():
        parser.error("the tools are not installed in .venv-security; run `make security` once, or add --own")
    if not options.template.is_file():
        parser.error(f"there is no file {options.template}; give the path of a SAM template")
    return options
