"""`quickstep dashboard`: the stack's CloudWatch dashboard, drawn from an emulated run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.failures import UsageProblem, project_root, write_json, write_text
from simulator.cli.scenario_traffic import scenario_traffic
from simulator.not_emulated import NotEmulated
from simulator.report.dashboard import evaluate_dashboard
from simulator.report.dashboard_page import as_json, render_dashboard
from simulator.run import staged
from simulator.scenario import Scenario, ScenarioError, read_scenario


def dashboard(
    scenario: Annotated[Path | None, typer.Option(help="Scenario YAML: endpoint, account, delays, traffic.")] = None,
    trace: Annotated[str | None, typer.Option(help="Trace file or PATTERN; default: the scenario's.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    last: Annotated[float, typer.Option(help="Hours that the dashboard shows, up to the end of the run.")] = 3.0,
    html: Annotated[str | None, typer.Option(help="Where the page goes; it needs no network.")] = None,
    json_out: Annotated[
        str | None, typer.Option("--json", help='Where the evaluated widgets go; "-" is standard output.')
    ] = None,
    template: Annotated[Path | None, typer.Option(help="SAM template; default: the one of this checkout.")] = None,
) -> None:
    """Run a scenario and draw the template's dashboard as CloudWatch would show it at the end of the run.

    Every metric, expression and log query is evaluated on what the run has left in the emulated CloudWatch.
    """
    if html is None and json_out is None:
        raise UsageProblem("nothing to write: give --html out/dashboard.html, or --json")
    if not 0.25 <= last <= 168:
        raise UsageProblem(f"--last is {last:g} hours; give 0.25 to 168")
    try:
        stage_of = read_scenario(scenario) if scenario is not None else Scenario()
    except ScenarioError as error:
        raise UsageProblem(str(error)) from None
    traffic = scenario_traffic(stage_of, trace=trace, seed=seed)
    with staged(traffic, stage_of, template=template or project_root() / "template.yaml", seed=seed) as stage:
        stage.run_until(traffic.end_s - traffic.start_s)
        try:
            shown = evaluate_dashboard(stage.account, range_s=int(last * 3600))
        except NotEmulated as gap:
            raise UsageProblem(f"the dashboard cannot be drawn: {gap}") from None
    if html is not None:
        write_text(html, render_dashboard(shown))
    write_json(as_json(shown), json_out)
    if json_out != "-":
        for out, what in ((html, "dashboard"), (json_out, "widgets")):
            if out is not None:
                print(f"{what}: {out}")
