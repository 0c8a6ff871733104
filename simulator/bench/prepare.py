"""A slice made ready to be run many times: its requests in files that runs share, its demand, and its optimum.

A trace of 30 million requests takes half a gigabyte on disk; every process that runs on it maps the same pages.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.bench.anchors import demand_of
from simulator.bench.compiled_fleet import TraceColumns
from simulator.bench.slices import Slice
from simulator.oracle import PERIOD_S, SMOOTH_S, clairvoyant_plan, in_blocks, whole_copies
from simulator.physics.profiles import ServiceProfile, cstar

_COLUMNS = ("times_s", "input_tokens", "output_tokens")


@dataclass(frozen=True, eq=False)
class Prepared:
    """One slice with one seed, ready to run."""

    slice: Slice
    seed: int
    profile: ServiceProfile
    trace: TraceColumns
    length_s: float
    sharp_demand: np.ndarray
    """Copies needed (not whole) in each 10 s."""
    demand: np.ndarray
    """The same averaged over minutes: what the optimum and the elasticity metrics are about."""
    needed: np.ndarray
    """The demand by minutes in whole copies, at least the slice's least."""
    oracle_copy_s: float
    """Copy-seconds of the clairvoyant optimum, launches included."""
    launch_s: float
    """What a launch costs that optimum, in seconds that are paid for and do not serve."""
    concurrency: float
    """C*: requests in flight on a copy at which it just keeps the inter-token SLO, for the slice's mean sizes."""


def prepare(one: Slice, seed: int, *, traces: Path | None, folder: Path, launch_s: float) -> Prepared:
    """Draw or read the requests of a slice, work out its optimum, and leave both in `folder`.

    Raises SliceError and TraceError (ValueErrors fit for the user).
    """
    arrivals, length_s = one.load(traces, seed)
    profile = one.service_profile()
    folder.mkdir(parents=True, exist_ok=True)
    columns = TraceColumns.of(arrivals)
    for name in _COLUMNS:
        np.save(folder / f"{name}.npy", getattr(columns, name))
    sharp_demand = demand_of(arrivals, profile, length_s)
    mean_in, mean_out = float(arrivals.input_tokens.mean()), float(arrivals.output_tokens.mean())
    del arrivals, columns
    plan = clairvoyant_plan(
        _by_minutes(sharp_demand), min_copies=one.min_copies, max_copies=one.max_copies, launch_s=launch_s
    )
    np.save(folder / "demand.npy", sharp_demand)
    about = {
        "slice": one.model_dump(),
        "seed": seed,
        "length_s": length_s,
        "oracle_copy_s": plan.cost_copy_s,
        "launch_s": launch_s,
        "concurrency": cstar(profile, mean_in, max(1.0, mean_out)),
    }
    # Written last: a folder without it was not finished.
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    return load_prepared(folder)


def load_prepared(folder: Path) -> Prepared:
    """What `prepare` left in `folder`; the requests are mapped, not read."""
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    one = Slice.model_validate(about["slice"])
    # Copy-on-write, not read-only: the engine is compiled once for plain arrays.
    columns = (np.asarray(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in _COLUMNS)
    sharp_demand = np.load(folder / "demand.npy")
    demand = _by_minutes(sharp_demand)
    return Prepared(
        slice=one,
        seed=about["seed"],
        profile=one.service_profile(),
        trace=TraceColumns(*columns),
        length_s=about["length_s"],
        sharp_demand=sharp_demand,
        demand=demand,
        needed=whole_copies(demand, one.min_copies),
        oracle_copy_s=about["oracle_copy_s"],
        launch_s=about["launch_s"],
        concurrency=about["concurrency"],
    )


def is_prepared(folder: Path) -> bool:
    return (folder / "about.json").is_file()


def discard(folder: Path) -> None:
    """Give the disk space back."""
    shutil.rmtree(folder, ignore_errors=True)


def _by_minutes(sharp_demand: np.ndarray) -> np.ndarray:
    return in_blocks(sharp_demand, round(SMOOTH_S / PERIOD_S))
