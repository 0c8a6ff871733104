"""`quickstep bench` and `quickstep calibrate`: ours and the peers on the same physics, and the physics against measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.bench import calibrate as calibration
from simulator.cli.failures import UsageProblem, write_json
from simulator.report import write_scoreboard
from simulator.report.scoreboard import scoreboard_headline
from simulator.traffic.rows import TraceError

if TYPE_CHECKING:
    from simulator.bench.run import PlatformOptions


def bench(
    traces: Annotated[
        Path | None, typer.Option(help="Folder of the public traces; without it only generated ones.")
    ] = None,
    policies: Annotated[str | None, typer.Option(help="Names with commas between them; default: all.")] = None,
    slices: Annotated[
        str | None, typer.Option(help="Slices of benchmarks/slices.yaml, with commas; default: all.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between them.")] = "1",
    knobs: Annotated[
        str | None, typer.Option(help="Peers' targets as shares of C*, with commas; default: 0.2 to 0.9.")
    ] = None,
    provisioning: Annotated[
        float | None,
        typer.Option(help="Median seconds from asking for an instance until its copy serves; default: 258."),
    ] = None,
    publish_delay: Annotated[float, typer.Option(help="Seconds until SageMaker's datapoints can be read.")] = 10.0,
    prefill_factor: Annotated[float, typer.Option(help="The profiles' prefill times are multiplied by this.")] = 1.0,
    target_factor: Annotated[float, typer.Option(help="Ours and peers: the target per copy is wrong by this.")] = 1.0,
    statistic: Annotated[
        str | None, typer.Option(help="Average or Maximum: what the alarms of ours and of AAS read.")
    ] = None,
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
        # Not before it is asked for: it compiles, and needs a compiler that no other command does.
        from simulator.bench import sweep
    except ImportError as missing:  # CompilerMissing, raised where numba is looked for
        raise UsageProblem(str(missing)) from None
    try:
        result = sweep.bench(
            traces=traces,
            slices=_names(slices),
            policies=_names(policies),
            seeds=_seeds(seeds),
            knobs=None if knobs is None else _knobs(knobs),
            options=_platform(provisioning, publish_delay),
            target_factor=target_factor,
            prefill_factor=prefill_factor,
            statistic=_statistic(statistic),
            work=work,
            quiet=quiet,
        )
    except ValueError as error:  # also SliceError and TraceError
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


def _platform(provisioning_s: float | None, publish_delay_s: float) -> PlatformOptions:
    from simulator.bench.run import PlatformOptions

    if provisioning_s is not None and not 1 <= provisioning_s <= 3600:
        raise UsageProblem(f"--provisioning is {provisioning_s:g}; give 1 to 3600 seconds")
    if not 0 <= publish_delay_s <= 600:
        raise UsageProblem(f"--publish-delay is {publish_delay_s:g}; give 0 to 600 seconds")
    if provisioning_s is None:
        return PlatformOptions(publish_delay_s=publish_delay_s)
    return PlatformOptions.provisioning(provisioning_s, publish_delay_s=publish_delay_s)


def _statistic(name: str | None) -> str | None:
    if name not in (None, "Average", "Maximum"):
        raise UsageProblem(f"--statistic is {name!r}; give Average or Maximum")
    return name


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise UsageProblem(f"--seeds is {text!r}; give whole numbers with commas between them, such as 1,2,3") from None


def _knobs(text: str) -> list[float]:
    try:
        found = [float(knob) for knob in text.split(",")]
    except ValueError:
        raise UsageProblem(f"--knobs is {text!r}; give numbers with commas between them, such as 0.3,0.6") from None
    if not all(0 < knob <= 2 for knob in found):
        raise UsageProblem(f"--knobs is {text!r}; a target is a share of C*, above 0 and at most 2")
    return found


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
