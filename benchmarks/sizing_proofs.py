"""The load step of every peer, square waves around an edge, and changes a day: Quickstep as it is deployed, by default.

python benchmarks/sizing_proofs.py                    all three tables (the slices take minutes)
python benchmarks/sizing_proofs.py --part step        one of step, waves, slices
python benchmarks/sizing_proofs.py --json             the same as JSON; --json FILE writes it
python benchmarks/sizing_proofs.py --part step --document docs/sizing.md     puts the step between the document's markers

Step: 4, 40, 4 requests in flight at a target of 5, copies that start in 360 s (`simulator.peers.step`), with and without a
day of the low load before it. Waves: 12 hours each. Slices: the generated ones of benchmarks/slices.yaml, seed 1.

Exit codes: 0 all within what is promised (at most 300 changes a day, a hold between a scale-out and the scale-in after it),
1 not, 2 unusable input.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from simulator.bench.load_step import WORLDS, Driven, Setting, drive_load, run_our_step
from simulator.bench.prepare import prepare
from simulator.bench.run import RunSpec, run_one
from simulator.bench.slices import Slice, read_slices
from simulator.peers import PEERS, make_peer
from simulator.peers.step import MAX_COPIES, TARGET_PER_COPY, run_step

BEGIN, END = "<!-- step:begin -->", "<!-- step:end -->"
PARTS = ("step", "waves", "slices")
DAY_S = 86_400.0
MOST_CHANGES_A_DAY = 300
HOLD_S = 600.0
PERIODS_S = (20, 60, 180, 600, 1200, 1800, 3600, 10_800)
LEVELS = ((4.0, 6.0), (4.4, 5.2), (9.0, 11.0), (38.0, 42.0))
"""In flight at the target of 5 per copy: around the edge from one copy to two, from two to three, from eight to nine."""
WAVE_S = 12 * 3600.0
COMPARED = ("aas-tt-10s", "knative-kpa", "k8s-hpa", "keda", "ray-serve", "skyserve")
LAUNCH_S = 258.0


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this table; may be given again")
    parser.add_argument("--json", nargs="?", const="-", metavar="OUT", help="to a file or standard output")
    parser.add_argument("--document", type=Path, metavar="FILE", help="write the step between this file's markers")
    given = parser.parse_args(words)
    makers = {"step": step_rows, "waves": wave_rows, "slices": slice_rows}
    try:
        found = {part: makers[part]() for part in given.part or PARTS}
        if given.document is not None:
            if "step" not in found:
                raise ValueError("--document writes the step; add --part step")
            text = given.document.read_text(encoding="utf-8")
            given.document.write_text(with_step(text, found["step"]), encoding="utf-8")
        if given.json is None:
            print("\n\n".join(table(rows) for rows in found.values()))
        elif given.json == "-":
            print(json.dumps(found, indent=1, sort_keys=True))
        else:
            Path(given.json).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"sizing_proofs: {error}", file=sys.stderr)
        return 2
    return 0 if all(kept(row) for rows in found.values() for row in rows) else 1


def step_rows() -> list[dict[str, Any]]:
    """The step: ours in both modes, then the peers."""
    rows: list[dict[str, Any]] = []
    for open_loop in (False, True):
        loop = "open" if open_loop else "closed"
        for world in WORLDS:
            for managed in (False, True):
                for before_s in (0.0, DAY_S):
                    setting = Setting(open_loop=open_loop, world=world, managed=managed)
                    about = {
                        "rule": "quickstep-managed" if managed else "quickstep",
                        "loop": loop,
                        "world": world,
                        "learned": "a day" if before_s else "nothing",
                    }
                    rows.append(about | asdict(run_our_step(setting, before_s=before_s)))
        for name in COMPARED:
            assert name in PEERS
            peer = make_peer(name, target_per_copy=TARGET_PER_COPY, min_copies=1, max_copies=MAX_COPIES)
            outcome = asdict(run_step(peer, open_loop=open_loop))
            outcome |= {key: round(outcome[key], 2) for key in ("copy_hours", "lost_percent")}
            rows.append({"rule": name, "loop": loop, "world": WORLDS[0], "learned": "-"} | outcome)
    return rows


def wave_rows() -> list[dict[str, Any]]:
    """Square waves around an edge: changes in all, and in the last four hours."""
    rows = []
    for open_loop in (False, True):
        for world in WORLDS:
            for levels in LEVELS:
                for period_s in PERIODS_S:
                    driven = drive_load(
                        square(levels, period_s),
                        WAVE_S,
                        Setting(open_loop=open_loop, world=world, copies=math.ceil(levels[0] / TARGET_PER_COPY)),
                    )
                    rows.append(
                        {
                            "loop": "open" if open_loop else "closed",
                            "world": world,
                            "levels": f"{levels[0]:g} / {levels[1]:g}",
                            "period_s": period_s,
                            "changes": len(driven.changes),
                            "changes_last_4_h": sum(1 for at_s, _ in driven.changes if at_s > WAVE_S - 4 * 3600),
                            "changes_a_day": round(len(driven.changes) * DAY_S / WAVE_S, 1),
                            "peak_copies": max(copies for _, copies in driven.platform.wishes),
                            "shortest_out_to_in_s": shortest_out_to_in_s(driven),
                        }
                    )
    return rows


def slice_rows(slices: Sequence[Slice] | None = None) -> list[dict[str, Any]]:
    """Every generated slice, with instances that Quickstep moves and with those that SageMaker moves."""
    rows = []
    for one in slices or [one for one in read_slices() if one.generated is not None]:
        with TemporaryDirectory() as folder:
            prepared = prepare(one, 1, traces=None, folder=Path(folder), launch_s=LAUNCH_S)
            for policy in ("quickstep", "quickstep-managed"):
                figures = run_one(prepared, RunSpec(policy))
                days = prepared.length_s / DAY_S
                rows.append(
                    {
                        "slice": one.name,
                        "policy": policy,
                        "days": round(days, 3),
                        "changes": figures["changes"],
                        "changes_a_day": round(figures["changes"] / days, 1),
                        "slo_attainment": figures["slo_attainment"],
                        "cost_vs_oracle": figures["cost_vs_oracle"],
                    }
                )
    return rows


def square(levels: tuple[float, float], period_s: float):
    """The first level for half of `period_s`, then the second."""
    return lambda t: levels[int(2 * t // period_s) % 2]


def shortest_out_to_in_s(driven: Driven) -> float | None:
    """Least time from a scale-out to the scale-in behind it; None if there is no such pair.

    A scale-in that was wished and withdrawn before it was asked is none, and taking it back is no scale-out.
    """
    found, last_out_s = [], None
    for (_, before), (at_s, copies) in zip(driven.platform.wishes, driven.changes, strict=False):
        if copies > before:
            asked = [count for since_s, count in driven.platform.asked if since_s <= at_s][-1]
            last_out_s = at_s if copies > asked else last_out_s
        elif last_out_s is not None:
            found.append(at_s - last_out_s)
            last_out_s = None
    return round(min(found), 1) if found else None


def with_step(document: str, rows: Sequence[dict[str, Any]]) -> str:
    """`document` with the step's table between its markers. ValueError if they are not there."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the lines {BEGIN} and {END}, in this order")
    return f"{before}{BEGIN}\n{table(rows)}\n{END}{after}"


def kept(row: dict[str, Any]) -> bool:
    """True if the row keeps what is promised of it."""
    waited_s = row.get("shortest_out_to_in_s")
    return row.get("changes_a_day", 0) <= MOST_CHANGES_A_DAY and (waited_s is None or waited_s >= HOLD_S)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of one part in Markdown."""
    names = list(rows[0])
    lines = [f"| {' | '.join(name.replace('_', ' ') for name in names)} |", "|" + "---|" * len(names)]
    lines += [f"| {' | '.join(_shown(row[name]) for name in names)} |" for row in rows]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
