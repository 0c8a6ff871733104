"""`quickstep migrate`: take targets over from Application Auto Scaling, in three steps that each can be taken back."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from quickstep.operate.takeover import Mode, Outcome, Result, Takeover
from quickstep.operate.takeover_plan import MigrationPlan, PlannedTarget, UnusablePlan, from_document, to_document
from quickstep.operate.takeover_survey import survey
from simulator.cli.failures import UsageProblem, write_json, write_text
from simulator.cli.in_account import (
    DEFAULT_AFTER_S,
    DEFAULT_STACK,
    AfterOption,
    EmulateOption,
    InAccount,
    JsonOption,
    ProfileOption,
    RegionOption,
    StackOption,
    in_account,
)

DEFAULT_PLAN = Path("quickstep-migration.json")


def migrate(
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="shadow: decide beside AAS, change nothing. swap: suspend AAS, let Quickstep act. rollback: give back "
            "exactly. Without it: only write the plan."
        ),
    ] = None,
    plan_file: Annotated[
        Path, typer.Option("--plan", help="The plan: every call, to be reviewed; it also keeps how far each target is.")
    ] = DEFAULT_PLAN,
    resource_id: Annotated[
        list[str] | None, typer.Option("--resource-id", help="Only this target of AAS; may be given again.")
    ] = None,
    accept_untranslated: Annotated[
        bool, typer.Option("--accept-untranslated", help="Swap targets too of which a part is not translated.")
    ] = False,
    stack: StackOption = DEFAULT_STACK,
    region: RegionOption = None,
    profile: ProfileOption = None,
    emulate: EmulateOption = None,
    after: AfterOption = DEFAULT_AFTER_S,
    json_out: JsonOption = None,
) -> None:
    """List what Application Auto Scaling scales on SageMaker, write the plan that takes it over, and carry it out.

    Exit code 1 if something cannot be translated, or a target could not be migrated or given back exactly.
    """
    before = _read(plan_file)
    if mode in (Mode.SWAP, Mode.ROLLBACK) and before is None:
        raise UsageProblem(
            f"there is no plan {plan_file}; write it with quickstep migrate, review it, and then run --mode {mode}"
        )
    with in_account(stack, region=region, profile=profile, emulate=emulate, after_s=after) as where:
        _check_place(before, where, plan_file)
        if emulate is not None and before is not None:
            Takeover(before, where.aas, where.quickstep, lambda plan: None, where.pause).replay()
        if mode is None or before is None:
            plan = survey(
                aas=where.aas, quickstep=where.quickstep, context=where.context, only=resource_id or (), before=before
            )
            _check_found(plan, resource_id or [])
            _keep(plan, plan_file)
        else:
            plan = before
        outcomes = _run(mode, plan, resource_id or [], where, plan_file, accept_untranslated) if mode else []
        plan = _read(plan_file) or plan
    document = _report(plan, mode, outcomes, plan_file)
    write_json(document, json_out)
    if json_out != "-":
        _print(plan, outcomes, plan_file)
    if document["findings"]:
        raise typer.Exit(1)


def _run(mode: Mode, plan: MigrationPlan, only: list[str], where: InAccount, path: Path, accept: bool) -> list[Outcome]:
    _check_found(plan, only)
    picked = tuple(one for one in plan.targets if not only or one.resource_id in only)

    def keep(changed: MigrationPlan) -> None:
        whole = plan
        for target in changed.targets:
            whole = whole.with_target(target)
        _keep(whole, path)

    part = MigrationPlan(plan.stack, plan.account_id, plan.region, picked)
    return Takeover(part, where.aas, where.quickstep, keep, where.pause, accept).run(mode)


def _read(path: Path) -> MigrationPlan | None:
    if not path.exists():
        return None
    try:
        return from_document(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, UnusablePlan) as error:
        raise UsageProblem(f"{path} is no plan of a migration: {error}; give another file with --plan") from None


def _keep(plan: MigrationPlan, path: Path) -> None:
    """Write the plan whole or not at all: it is what leads back."""
    text = json.dumps(to_document(plan), indent=1, sort_keys=True) + "\n"
    fresh = path.with_name(f"{path.name}.new")
    write_text(fresh, text)
    os.replace(fresh, path)


def _check_place(plan: MigrationPlan | None, where: InAccount, path: Path) -> None:
    settings = where.stack.settings
    here = (settings.stack_name, settings.account_id, settings.region)
    if plan is not None and (plan.stack, plan.account_id, plan.region) != here:
        raise UsageProblem(
            f"{path} is the plan of stack {plan.stack} in account {plan.account_id}, {plan.region}, and this is stack {here[0]} "
            f"in {here[1]}, {here[2]}; give another file with --plan"
        )


def _check_found(plan: MigrationPlan, wanted: list[str]) -> None:
    known = {one.resource_id for one in plan.targets}
    for one in wanted:
        if one not in known:
            some = ", ".join(sorted(known)[:5]) or "none"
            raise UsageProblem(f"--resource-id {one}: there is no such target of AAS in the plan; it has {some}")


def _report(plan: MigrationPlan, mode: Mode | None, outcomes: list[Outcome], path: Path) -> dict[str, Any]:
    bad = [one for one in outcomes if one.result in (Result.REFUSED, Result.FAILED)]
    findings = [f"{one.resource_id}: {one.result}: {one.detail}" for one in bad]
    if mode is None:
        findings = [text for target in plan.targets for text in _problems(target)]
    return {
        "mode": str(mode) if mode else "plan",
        "plan": str(path),
        "targets": [
            {
                "resource_id": one.resource_id,
                "dimension": one.dimension,
                "progress": str(one.progress),
                "policies": [row["PolicyName"] for row in one.found.policies],
                "scheduled_actions": [row["ScheduledActionName"] for row in one.found.scheduled_actions],
                "blocked": one.blocked,
                "untranslated": [{"what": part.what, "reason": part.reason} for part in one.untranslated],
                "notes": list(one.notes),
            }
            for one in plan.targets
        ],
        "outcomes": [
            {"resource_id": one.resource_id, "result": str(one.result), "detail": one.detail} for one in outcomes
        ],
        "findings": findings,
    }


def _problems(target: PlannedTarget) -> list[str]:
    if target.blocked is not None:
        return [f"{target.resource_id}: cannot be registered: {target.blocked}"]
    return [f"{target.resource_id}: not translated: {one.what}: {one.reason}" for one in target.untranslated]


def _print(plan: MigrationPlan, outcomes: list[Outcome], path: Path) -> None:
    if not plan.targets:
        print("Application Auto Scaling scales nothing on SageMaker here.")
    for target in plan.targets:
        low, high = target.found.target.get("MinCapacity"), target.found.target.get("MaxCapacity")
        parts = f"{len(target.found.policies)} policies, {len(target.found.scheduled_actions)} scheduled actions"
        print(f"{target.resource_id:<44} {target.progress:<12} {low} to {high}, {parts}")
        for text in _problems(target):
            print(f"  ! {text.removeprefix(f'{target.resource_id}: ')}")
        for text in target.notes:
            print(f"  - {text}")
    for one in outcomes:
        print(f"{one.result:<8} {one.resource_id}: {one.detail}")
    if outcomes:
        counts = Counter(str(one.result) for one in outcomes)
        print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    print(f"plan: {path}")
