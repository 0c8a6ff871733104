"""`quickstep invoke`: one handler, in this process, on the emulated account."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from quickstep.model.targets import TargetId
from simulator.account import EmulatedAccount
from simulator.cli.failures import UsageProblem, project_root, write_json
from simulator.clock import EPOCH_S
from simulator.event_files import EventFileError, event_values, render_event
from simulator.event_seed import seed_account, seed_sleep
from simulator.run import check_settings, put_endpoint, sagemaker_options, template_parameters
from simulator.scenario import Scenario, ScenarioError, read_scenario

DEFAULT_TARGET = 5.0
HISTORY_S = 1200.0
"""Virtual seconds before the event: Quickstep has known the endpoint for longer than any hold."""
SEEN_S = 20.0
"""Virtual seconds until the event's own datapoints are visible."""


def invoke(
    function: Annotated[
        str, typer.Argument(help="Directory name (on_alarm) or logical id (OnAlarm, OnAlarmFunction).")
    ],
    event: Annotated[Path, typer.Option("-e", "--event", help="Event file; placeholders are filled in.")],
    scenario: Annotated[Path | None, typer.Option(help="Scenario YAML; default: two copies of one component.")] = None,
    json_out: Annotated[
        str | None, typer.Option("--json", help='Write {outcome, decisions, writes} to a file; "-" is standard output.')
    ] = None,
    template: Annotated[Path | None, typer.Option(help="SAM template; default: the one of this checkout.")] = None,
) -> None:
    """Run one handler once with a test event, and show what it decided and did.

    The account is first put into the situation that an alarm event tells of. Exit code 1 if the handler refused the event.
    """
    try:
        wanted = read_scenario(scenario) if scenario is not None else _default_scenario()
    except ScenarioError as error:
        raise UsageProblem(str(error)) from None
    path = template or project_root() / "template.yaml"
    parameters = template_parameters(
        wanted, policy="StepsAndDemand", target=wanted.component.target_per_copy or DEFAULT_TARGET
    )
    with EmulatedAccount(path, parameters, start_s=EPOCH_S, sagemaker_options=sagemaker_options(wanted)) as account:
        check_settings(account)
        put_endpoint(account, wanted)
        # Only this invocation acts: what the account itself would trigger is not delivered.
        account.deliverer.tamper = lambda delivery: ()
        account.cloudwatch.tamper = lambda publication: ()
        logical_id = _logical_id(account, function)
        account.invoke("ReconcileFunction", {})
        account.run_for(HISTORY_S / 2)
        asleep = seed_sleep(account, _payload(event, account, wanted), wanted.component.name)
        account.run_for(HISTORY_S / 2)
        account.cloudwatch.tamper = None
        payload = _payload(event, account, wanted)
        seeded = asleep + seed_account(account, payload)
        account.cloudwatch.tamper = lambda publication: ()
        account.run_for(SEEN_S)
        logs_before, calls_before, at_s = len(account.logs), len(account.sagemaker.calls), account.clock.now_s
        outcome = account.invoke(logical_id, payload)
        report = {
            "function": logical_id,
            "seeded": seeded,
            "outcome": outcome.payload,
            "error": outcome.error,
            "decisions": [
                line.fields["decision"]
                for line in account.logs[logs_before:]
                if line.fields and "decision" in line.fields and line.function == logical_id
            ],
            "writes": [
                {"operation": c.operation, "params": c.params, "outcome": c.outcome}
                for c in account.sagemaker.calls[calls_before:]
                if c.operation.startswith("Update") and c.at_s == at_s
            ],
        }
    write_json(report, json_out)
    if json_out != "-":
        _print(report)
    if outcome.error is not None:
        raise typer.Exit(1)


def _default_scenario() -> Scenario:
    return Scenario(
        name="invoke",
        endpoint={"initial_instances": 4},  # type: ignore[arg-type]
        component={"initial_copies": 2, "min_copies": 0, "max_copies": 8},  # type: ignore[arg-type]
    )


def _logical_id(account: EmulatedAccount, function: str) -> str:
    functions = account.stack.of_type("AWS::Lambda::Function")
    for resource in functions:
        directory = resource.code_dir.name if resource.code_dir else ""
        if function in (resource.logical_id, resource.logical_id.removesuffix("Function"), directory):
            return resource.logical_id
    known = ", ".join(sorted(r.logical_id.removesuffix("Function") for r in functions))
    raise UsageProblem(f"no function {function!r} in the template; it has {known}")


def _payload(path: Path, account: EmulatedAccount, scenario: Scenario) -> dict[str, Any]:
    component = None if scenario.endpoint.mode == "variant" else scenario.component.name
    target = (
        TargetId.of_component(component)
        if component
        else TargetId.of_variant(scenario.endpoint.name, scenario.endpoint.variant)
    )
    values = event_values(
        account=account.stack.account_id,
        region=account.stack.region,
        stack=account.stack.name,
        endpoint=scenario.endpoint.name,
        component=component or "",
        resource_id=target.resource_id,
        now_s=account.clock.now_s,
    )
    try:
        return render_event(path, values)
    except EventFileError as error:
        raise UsageProblem(str(error)) from None


def _print(report: dict[str, Any]) -> None:
    for line in report["seeded"]:
        print(f"given     {line}")
    if report["error"] is not None:
        print(f"refused   {report['error']['errorType']}: {report['error']['errorMessage']}", file=sys.stderr)
        return
    for decision in report["decisions"]:
        if "steps" not in decision:
            print(f"decision  {decision['target']}: {decision['reason']}: {decision.get('outcome_detail', '')}")
            continue
        print(
            f"decision  {decision['target']}: desired {decision['desired']}, asked {decision['baseline']}, "
            f"serving {decision['current']}: {decision['reason']} ({decision['outcome']})"
        )
        for step in decision["steps"]:
            if step["detail"]:
                print(f"  {step['stage']:<14}{step['recommended']:>4}  {step['reason']}: {step['detail']}")
    for write in report["writes"]:
        print(f"write     {write['operation']} {json.dumps(write['params'], sort_keys=True)}: {write['outcome']}")
    print(f"outcome   {json.dumps(report['outcome'], sort_keys=True)}")
