"""What a benchmark has finished, kept on disk, so that a run that was interrupted goes on where it stopped.

One JSON line per finished run, keyed by everything that its figures depend on: the slice and its trace file, the seed,
the policy with its options, and the code that computes them. Change any of these and the run is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from simulator.bench.run import OURS, RunSpec
from simulator.bench.shared_slices import SharedSlice
from simulator.bench.slices import Slice

_ROOT = Path(__file__).resolve().parents[2]
_ENGINE = (
    *(f"simulator/bench/{name}.py" for name in ("anchors", "compiled_fleet", "component", "crowds", "endpoint")),
    *(f"simulator/bench/{name}.py" for name in ("kernel", "peers_drive", "platform", "platform_records", "prepare")),
    *(f"simulator/bench/{name}.py" for name in ("run", "scores", "slices")),
    "simulator/aws/sagemaker_delays.py",
    "simulator/oracle.py",
    "simulator/peers",
    "simulator/physics",
    "simulator/score.py",
    "simulator/traffic",
)
_OURS = (
    "layers/core/quickstep",
    "simulator/aws/alarm_evaluation.py",
    "simulator/bench/deployed.py",
    "simulator/bench/ours.py",
    "simulator/bench/ours_look.py",
    "template.yaml",
)
_SHARED = tuple(f"simulator/bench/{name}.py" for name in ("shared_ours", "shared_run", "shared_slices"))


class WorkFile:
    """Finished runs by key, in `path`; a line that was cut off by an interruption is forgotten."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs: dict[str, dict[str, Any]] = {}
        if path.is_file():
            lines = path.read_text(encoding="utf-8").split("\n")
            for line in lines[:-1]:
                row = json.loads(line)
                self._runs[row["key"]] = row["run"]
            if lines[-1]:
                path.write_text("".join(f"{line}\n" for line in lines[:-1]), encoding="utf-8")

    def get(self, key: str) -> dict[str, Any] | None:
        """The finished run, None if it is still to be made."""
        return self._runs.get(key)

    def keep(self, key: str, run: dict[str, Any]) -> None:
        """Write a finished run down at once."""
        self._runs[key] = run
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"key": key, "run": run}, sort_keys=True) + "\n")


def run_key(one: Slice | SharedSlice, traces: Path | None, seed: int, spec: RunSpec, *, launch_s: float) -> str:
    """What the figures of a run depend on, as a short text."""
    about = {
        "slice": one.model_dump(),
        "trace": [_trace_digest(path) for path in one.files(traces)],
        "seed": seed,
        "spec": asdict(spec),
        "launch_s": launch_s,
        "code": code_digest(ours=spec.policy in OURS, shared=isinstance(one, SharedSlice)),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]


@cache
def code_digest(*, ours: bool, shared: bool = False) -> str:
    """A digest of the code behind a run's figures; the product's own code counts only for its own runs."""
    digest = hashlib.sha256()
    for path in _files((*_ENGINE, *(_OURS if ours else ()), *(_SHARED if shared else ()))):
        digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _files(names: Iterable[str]) -> list[Path]:
    found: set[Path] = set()
    for name in names:
        path = _ROOT / name
        found.update(path.rglob("*.py") if path.is_dir() else [path])
    return sorted(found)


@cache
def _trace_digest(path: Path) -> str:
    """Of the trace file, and of the token tables beside it if there are any."""
    digest = hashlib.sha256(path.read_bytes())
    stem = path.name.removesuffix(".gz").removesuffix(".trace.csv")
    for beside in sorted(path.parent.glob(f"{stem}.tokens.json*")):
        digest.update(beside.read_bytes())
    return digest.hexdigest()[:16]
