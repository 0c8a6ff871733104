"""`quickstep simulate`: the real template, handlers and state machine under a trace, on the emulated account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from simulator.cli.failures import UsageProblem, project_root, write_json, write_text
from simulator.cli.progress import RunProgress
from simulator.cli.scenario_traffic import scenario_traffic
from simulator.report import render_report
from simulator.report.headline import headline
from simulator.run import POLICIES, Progress
from simulator.run import simulate as run_simulation
from simulator.scenario import Scenario, ScenarioError, read_scenario


def simulate(
    trace: Annotated[
        str | None,
        typer.Option(
            help='Trace file, PATTERN ("2x30 40x12 2x60": in flight x datapoints of 10 s), or generated:demo.'
        ),
    ] = None,
    scenario: Annotated[Path | None, typer.Option(help="Scenario YAML: endpoint, account, delays, traffic.")] = None,
    policy: Annotated[str, typer.Option(help=f"One of {', '.join(POLICIES)}.")] = POLICIES[0],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    json_out: Annotated[
        str | None, typer.Option("--json", help='Where result.json goes; "-" is standard output.')
    ] = None,
    html: Annotated[str | None, typer.Option(help="Where the self-contained HTML report goes.")] = None,
    template: Annotated[Path | None, typer.Option(help="SAM template; default: the one of this checkout.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")] = False,
) -> None:
    """Run the deployed stack against a simulated endpoint under real or generated traffic, and report what it did.

    Exit code 0 also when the SLO is missed: that is a result. 2 for input that cannot be used.
    """
    result = _run(trace, scenario, policy, seed, template, quiet)
    write_json(result, json_out)
    if html is not None:
        write_text(html, render_report(result))
    if not quiet and json_out != "-":
        print(headline(result))
        for out, what in ((html, "report"), (json_out, "result")):
            if out is not None:
                print(f"{what}: {out}")


def _run(
    trace: str | None, scenario_file: Path | None, policy: str, seed: int, template: Path | None, quiet: bool
) -> dict[str, Any]:
    if policy not in POLICIES:
        raise UsageProblem(f"policy {policy!r} is not one of {', '.join(POLICIES)}")
    try:
        scenario = read_scenario(scenario_file) if scenario_file is not None else Scenario()
    except ScenarioError as error:
        raise UsageProblem(str(error)) from None
    traffic = scenario_traffic(scenario, trace=trace, seed=seed)
    if traffic.rows_skipped and not quiet:
        typer.echo(
            f"{traffic.name}: {traffic.rows_skipped} broken rows left out: {'; '.join(traffic.broken_rows)}", err=True
        )
    with RunProgress(f"{traffic.name}", quiet=quiet) as display:

        def watch(progress: Progress) -> None:
            display.update(
                progress.virtual_s,
                progress.total_s,
                desired=progress.desired,
                current=progress.current,
                instances=progress.instances,
                in_flight=progress.in_flight,
            )

        return run_simulation(
            traffic,
            scenario,
            template=template or project_root() / "template.yaml",
            policy=policy,
            seed=seed,
            watch=watch,
        )
