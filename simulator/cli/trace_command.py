"""`quickstep trace`: public traces by name, what a trace is like, and generated ones."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from simulator.bench.crowds import CROWDS, crowds_trace
from simulator.cli.failures import UsageProblem, write_json
from simulator.physics.profiles import profile_named
from simulator.physics.requests import OpenArrivals
from simulator.traces.catalogue import CATALOGUE_FILE, CatalogueError, PublicTrace, chosen, read_catalogue
from simulator.traces.download import DownloadError, Fetched, fetch
from simulator.traces.statistics import TraceStatistics, trace_statistics
from simulator.traffic.generated import PREFIX, SHAPES
from simulator.traffic.load import Traffic, load_traffic
from simulator.traffic.recorded import write_trace
from simulator.traffic.rows import TraceError

app = typer.Typer(help="Public traces by name, statistics of a trace, generated traces.", no_args_is_help=True)
_LENGTHS = {"m": 1 / 1440, "h": 1 / 24, "d": 1.0}

_Json = Annotated[str | None, typer.Option("--json", help='Where the result goes; "-" is standard output.')]
_Catalogue = Annotated[Path, typer.Option(help="Another list of traces, written like benchmarks/traces.yaml.")]
_Folder = Annotated[Path, typer.Option("--into", help="The folder of traces, as `quickstep bench --traces` takes it.")]


@app.command("list")
def list_traces(into: _Folder = Path("traces"), catalogue: _Catalogue = CATALOGUE_FILE, json_out: _Json = None) -> None:
    """Public traces: what they are, who publishes them under which licence, and which are there already."""
    rows = [_listed(one, into) for one in _catalogue(catalogue)]
    write_json(rows, json_out)
    if json_out == "-":
        return
    for row in rows:
        state = "there" if row["there"] else "not there" if row["files"] else "not to be fetched"
        size = "size not known" if row["bytes"] is None else _size(row["bytes"])
        used = f", slices {', '.join(row['slices'])}" if row["slices"] else ""
        print(f"{row['name']:12} {row['licence']:11} {size:>14}  {state}{used}")
        print(f"             {row['what']}")
        print(f"             {row['origin']}; cite {row['cite']}")


@app.command("get")
def get_traces(
    names: Annotated[list[str], typer.Argument(help="Names of traces, or of slices such as P6; or `all`.")],
    into: _Folder = Path("traces"),
    accept: Annotated[bool, typer.Option("--accept", help="The licences are accepted; do not ask.")] = False,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Take a file also if its digest is another than the known one.")
    ] = False,
    catalogue: _Catalogue = CATALOGUE_FILE,
    json_out: _Json = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")] = False,
) -> None:
    """Fetch public traces from their publishers; what was interrupted goes on, what is there is checked."""
    everything = _catalogue(catalogue)
    try:
        wanted = chosen(everything, [one.name for one in everything if one.files] if names == ["all"] else names)
    except CatalogueError as error:
        raise UsageProblem(str(error)) from None
    for one in wanted:
        if not quiet:
            print(f"{one.name}: {one.licence}, {one.licence_url}\n  {one.origin}; cite {one.cite}", file=sys.stderr)
    _agree(wanted, accept)
    progress = _Progress(quiet)
    rows = []
    for one in wanted:
        for file in one.files:
            try:
                fetched = fetch(file, into, unverified=unverified, report=progress)
            except DownloadError as error:
                progress.end()
                print(f"quickstep: {error}", file=sys.stderr)
                raise typer.Exit(1) from None
            progress.end()
            rows.append({"trace": one.name, "path": file.path, **_fetched(fetched)})
            if not quiet and json_out != "-":
                print(_fetched_line(fetched))
    write_json(rows, json_out)


@app.command("info")
def info(
    trace: Annotated[str, typer.Argument(help="A trace file, or generated:LENGTH:KIND.")],
    profile: Annotated[str, typer.Option(help="Profile whose copies the demand is told in: S, M, L or image.")] = "M",
    seed: Annotated[int, typer.Option(help="For traces whose requests are drawn.")] = 0,
    json_out: _Json = None,
) -> None:
    """Rate, burstiness and token statistics of a trace, and how many of its rows are broken."""
    try:
        chosen_profile = profile_named(profile)
        traffic = load_traffic(trace, profile=chosen_profile, seed=seed, start_s=0.0)
    except (TraceError, ValueError) as error:
        raise UsageProblem(str(error)) from None
    if not isinstance(traffic.arrivals, OpenArrivals):
        raise UsageProblem(f"{trace!r} is a pattern of requests in flight; info is about requests that arrive")
    found = trace_statistics(traffic.arrivals, traffic.end_s - traffic.start_s)
    arrivals = traffic.arrivals
    mean_in, mean_out = float(arrivals.input_tokens.mean()), float(arrivals.output_tokens.mean())
    copies = found.rate_per_s * chosen_profile.work_copy_s(mean_in, mean_out)
    document = {
        "trace": traffic.name,
        "format": traffic.format,
        "rows_read": traffic.requests_read,
        "rows_broken": traffic.rows_skipped,
        "rows_failed_at_source": traffic.rows_failed_at_source,
        "broken_rows": list(traffic.broken_rows),
        "mean_copies": copies,
        "profile": profile,
        **found.to_dict(),
    }
    write_json(document, json_out)
    if json_out != "-":
        print("\n".join(_info_lines(traffic, found, copies, profile)))


@app.command("make")
def make(
    out: Annotated[Path, typer.Argument(help="Where the trace goes; compressed if it ends in .gz.")],
    kind: Annotated[str, typer.Option(help=f"{', '.join(sorted(SHAPES))}, {CROWDS} or demo.")] = "chat",
    length: Annotated[str, typer.Option(help="How long: such as 90m, 6h or 2d. demo has its own length.")] = "1d",
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 1,
    profile: Annotated[str, typer.Option(help="Profile whose copies --mean-copies counts: S, M, L or image.")] = "M",
    mean_copies: Annotated[float, typer.Option(help="Mean demand, in copies of the profile.")] = 4.0,
    json_out: _Json = None,
) -> None:
    """Write a generated trace: a daily wave, bursts, shifts of level and mix, heavy-tailed tokens; seeded."""
    try:
        arrivals, length_s = _generated(kind, length, seed, profile, mean_copies)
    except (TraceError, ValueError) as error:
        raise UsageProblem(str(error)) from None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_trace(out, arrivals)
    except OSError as error:
        raise UsageProblem(f"cannot write {out}: {error.strerror or error}") from None
    write_json(
        {"path": str(out), "requests": len(arrivals), "length_s": length_s, "kind": kind, "seed": seed}, json_out
    )
    if json_out != "-":
        print(f"{out}: {len(arrivals):,} requests in {_duration(length_s)}; see it with: quickstep trace info {out}")


def _generated(kind: str, length: str, seed: int, profile: str, mean_copies: float) -> tuple[OpenArrivals, float]:
    if seed < 0:
        raise TraceError(f"--seed is {seed}; give 0 or more")
    if kind == CROWDS:
        if not 0 < mean_copies < 1e4:
            raise TraceError(f"mean_copies ({mean_copies}) must be above 0 and below 10,000")
        length_s = _days(length) * 86_400.0
        return crowds_trace(seed, length_s, profile_named(profile), mean_copies), length_s
    name = f"{PREFIX}demo" if kind == "demo" else f"{PREFIX}{round(_days(length) * 1440)}m:{kind}"
    traffic = load_traffic(name, profile=profile_named(profile), seed=seed, start_s=0.0, mean_copies=mean_copies)
    assert isinstance(traffic.arrivals, OpenArrivals)
    return traffic.arrivals, traffic.end_s


def _days(length: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", length)
    days = float(match[1]) * _LENGTHS[match[2]] if match else 0.0
    if not 1 / 1440 <= days <= 60:
        raise TraceError(f"--length is {length!r}; give 1m to 60d, such as 90m, 6h or 2d")
    return days


def _catalogue(path: Path) -> tuple[PublicTrace, ...]:
    try:
        return read_catalogue(path)
    except CatalogueError as error:
        raise UsageProblem(str(error)) from None


def _agree(wanted: tuple[PublicTrace, ...], accept: bool) -> None:
    if accept:
        return
    licences = ", ".join(sorted({one.licence for one in wanted}))
    if not sys.stdin.isatty():
        raise UsageProblem(f"these traces come under {licences}; read them at the addresses above and add --accept")
    if not typer.confirm(f"Do you accept {licences}?", err=True):
        raise UsageProblem("nothing was fetched: the licences were not accepted")


def _listed(one: PublicTrace, into: Path) -> dict[str, Any]:
    there = bool(one.files) and all((into / file.path).is_file() for file in one.files)
    return {**json.loads(one.model_dump_json()), "bytes": one.known_bytes, "there": there}


def _fetched(one: Fetched) -> dict[str, Any]:
    return {"sha256": one.sha256, "bytes": one.bytes, "verified": one.verified, "was_there": one.was_there}


def _fetched_line(one: Fetched) -> str:
    state = "verified" if one.verified else "no digest known beforehand"
    return f"{one.path}: {_size(one.bytes)}, sha256 {one.sha256} ({state}{', was there' if one.was_there else ''})"


class _Progress:
    """One line on standard error that is written over, in a terminal only."""

    def __init__(self, quiet: bool) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._open = False

    def __call__(self, path: str, done: int, total: int | None) -> None:
        if self._shown:
            of = "" if not total else f" of {_size(total)} ({100 * done / total:.0f} %)"
            sys.stderr.write(f"\r{path}: {_size(done)}{of}   ")
            sys.stderr.flush()
            self._open = True

    def end(self) -> None:
        if self._open:
            sys.stderr.write("\n")
            self._open = False


def _info_lines(traffic: Traffic, found: TraceStatistics, copies: float, profile: str) -> list[str]:
    cv = "not known" if found.interarrival_cv is None else f"{found.interarrival_cv:.2f}"
    lines = [
        f"{traffic.name} ({traffic.format}): {found.requests:,} requests in {_duration(found.length_s)}, "
        f"{found.rate_per_s:,.3g} per second; {found.empty_minutes_percent:.1f} % of the minutes are empty",
        f"rows: {traffic.requests_read:,} read, {traffic.rows_skipped:,} broken, "
        f"{traffic.rows_failed_at_source:,} failed at the source",
        *(f"  {row}" for row in traffic.broken_rows),
        f"demand: {copies:,.2f} copies of profile {profile} on average",
        f"times between requests: coefficient of variation {cv} (1 for a Poisson process)",
        "burstiness     period  dispersion  peak/mean  peak per second",
    ]
    lines += [
        f"           {_duration(one.scale_s):>10}  {one.dispersion:>10,.1f}  {one.peak_to_mean:>9.2f}  {one.peak_per_s:>15,.2f}"
        for one in found.burstiness
    ]
    lines.append("tokens           mean      p50      p90      p95      p99     most")
    for name, tokens in (("input", found.input_tokens), ("output", found.output_tokens)):
        if tokens is not None:
            shares = "".join(f"{value:>9,.0f}" for value in tokens.percentiles.values())
            lines.append(f"  {name:8} {tokens.mean:>10,.0f}{shares}{tokens.most:>9,}")
    return lines


def _duration(seconds: float) -> str:
    for unit_s, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:,.4g} {unit}"
    return f"{seconds:,.4g} s"


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} bytes"
