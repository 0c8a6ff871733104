"""`quickstep bench` and `quickstep calibrate`: ours and the peers on the same physics, and the physics against measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulator.bench import calibrate as calibration
from simulator.bench import sweep
from simulator.bench.compiler import CompilerMissing
from simulator.bench.slices import SliceError
from simulator.cli.failures import UsageProblem, write_json
from simulator.report import write_scoreboard
from simulator.report.scoreboard import scoreboard_headline
from simulator.traffic.rows import TraceError


def bench(
    traces: Annotated[
        Path | None, typer.Option(help="Folder of the public traces; without it only generated ones.")
    ] = None,
    policies: Annotated[str | None, typer.Option(help="Names with commas between them; default: all.")] = None,
    slices: Annotated[
        str | None, typer.Option(help="Slices of benchmarks/slices.yaml, with commas; default: all.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between them.")] = "1",
    work: Annotated[Path, typer.Option(help="Finished runs are kept here; the same folder again goes on.")] = Path(
        "out/bench"
    ),
    json_out: Annotated[
        str | None, typer.Option("--json", help='Where the result goes; "-" is standard output.')
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Where the HTML scoreboard goes.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")] = False,
) -> None:
    """Run ours and the peers on the same endpoint, traffic and delays; costs are multiples of the clairvoyant optimum."""
    try:
        result = sweep.bench(
            traces=traces,
            slices=_names(slices),
            policies=_names(policies),
            seeds=[int(seed) for seed in seeds.split(",")],
            work=work,
            quiet=quiet,
        )
    except (SliceError, TraceError, CompilerMissing, ValueError) as error:
        raise UsageProblem(str(error)) from None
    write_json(result, json_out)
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        write_scoreboard(result["runs"], result["frontier"], html)
    if not quiet and json_out != "-":
        print(scoreboard_headline(result["frontier"]))
        for out, what in ((html, "scoreboard"), (json_out, "result")):
            if out is not None:
                print(f"{what}: {out}")


def calibrate(
    measurements: Annotated[Path, typer.Argument(help="CSV of concurrency, output tokens and latency, or of fits.")],
    json_out: Annotated[str | None, typer.Option("--json", help='Where the fits go; "-" is standard output.')] = None,
) -> None:
    """Fit the law of continuous batching to measurements of an endpoint, and print the closed-loop error of each row."""
    try:
        fits = calibration.calibrate(measurements)
    except (TraceError, OSError) as error:
        raise UsageProblem(str(error)) from None
    write_json([fit.to_dict() for fit in fits], json_out)
    if json_out != "-":
        print("\n".join(calibration.report(fits)))


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
