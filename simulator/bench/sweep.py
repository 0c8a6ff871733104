"""The benchmark: every policy at every knob position on every slice, in parallel, resumable."""

from __future__ import annotations

import gc
import hashlib
import json
import math
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from simulator.bench.frontier import frontier, spread, summary
from simulator.bench.prepare import Prepared, discard, is_prepared, load_prepared, prepare
from simulator.bench.run import ANCHORS, DEFAULT_OPTIONS, OURS, PlatformOptions, RunSpec, knobs_of, policies, run_one
from simulator.bench.shared_run import run_shared
from simulator.bench.shared_slices import SharedSlice, prepare_shared, read_shared
from simulator.bench.slices import Slice, SliceError, available, read_slices
from simulator.bench.sweep_progress import SweepProgress
from simulator.bench.work import WorkFile, run_key

WORKERS = 2


def bench(
    *,
    traces: Path | None = None,
    slices: Sequence[str] | None = None,
    policies: Sequence[str] | None = None,
    knobs: Sequence[float] | None = None,
    seeds: Sequence[int] = (1,),
    work: Path,
    options: PlatformOptions = DEFAULT_OPTIONS,
    target_factor: float = 1.0,
    statistic: str | None = None,
    prefill_factor: float = 1.0,
    definitions: Sequence[Slice | SharedSlice] | None = None,
    workers: int = WORKERS,
    quiet: bool = False,
) -> dict[str, Any]:
    """Run the benchmark and return its result: `runs`, `frontier`, `spread`, `summary`, `skipped`.

    `traces`: the folder of the public traces; slices whose file is not there are skipped and named. `slices`, `policies`:
    names; None = all slices with one component, and every policy with its own sensing. An endpoint that several
    components share is run when it is named, without the yardsticks. `knobs`: instead of the peers' own eight.
    `work`: a folder for finished runs and prepared traces; the same folder again continues. `target_factor`, `statistic`:
    as of `RunSpec`; `prefill_factor` multiplies that of every slice. `definitions`: instead of `benchmarks/slices.yaml`.
    Raises SliceError, TraceError and ValueError for input that cannot be used, CompilerMissing
    without numba. The result depends on nothing but the arguments.
    """
    from simulator.bench import kernel  # noqa: F401 — refuses early, and compiles before two workers would at once

    everything = tuple(definitions) if definitions is not None else (*read_slices(), *read_shared())
    chosen = tuple(_with_prefill(one, prefill_factor) for one in _chosen(everything, slices))
    there, skipped = available(chosen, traces)
    if not there:
        raise SliceError(f"there is no slice to run: {'; '.join(skipped)}")
    specs = _specs(policies, knobs, RunSpec("", target_factor=target_factor, statistic=statistic, options=options))
    store = WorkFile(work / "runs.jsonl")
    groups = [
        _Group(one, seed, traces, _runnable(one, specs), options.launch_median_s, store)
        for one in there
        for seed in seeds
    ]
    todo = [(group.slice.name, spec.policy) for group in groups for _, spec in group.todo]
    finished_before = sum(len(group.specs) for group in groups) - len(todo)
    with SweepProgress(todo, workers=workers, finished_before=finished_before, quiet=quiet) as progress:
        for sentence in skipped:
            progress.say(sentence)
        if todo:
            _warm_up()
            _work_off(groups, store, work / "traces", progress, workers)
    runs = [store.get(key) for group in groups for key in group.keys]
    found = frontier(runs)
    return {
        "runs": runs,
        "frontier": found,
        "spread": spread(runs),
        "summary": summary(found),
        "held_out": sorted(one.name for one in there if one.held_out),
        "skipped": skipped,
    }


def write_result(result: Mapping[str, Any], path: Path) -> None:
    """The result as JSON; equal results give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def default_policies() -> tuple[str, ...]:
    """Ours, every peer with its own sensing, and the anchors."""
    return tuple(name for name in policies() if "@" not in name)


def _chosen(everything: Sequence[Slice | SharedSlice], names: Sequence[str] | None) -> tuple[Slice | SharedSlice, ...]:
    if names is None:
        alone = tuple(one for one in everything if isinstance(one, Slice))
        return alone or tuple(everything)
    by_name = {one.name: one for one in everything}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise SliceError(f"there is no slice {', '.join(unknown)}; choose among {', '.join(by_name)}")
    return tuple(by_name[name] for name in names)


def _runnable(one: Slice | SharedSlice, specs: Sequence[RunSpec]) -> Sequence[RunSpec]:
    return specs if isinstance(one, Slice) else [spec for spec in specs if spec.policy not in ANCHORS]


def _with_prefill(one: Slice | SharedSlice, factor: float) -> Slice | SharedSlice:
    if not 0 < factor < math.inf:
        raise ValueError(f"the prefill factor ({factor}) must be above 0")
    if isinstance(one, SharedSlice):
        return one.with_prefill(factor)
    return one.model_copy(update={"prefill_factor": one.prefill_factor * factor})


def _specs(names: Sequence[str] | None, knobs: Sequence[float] | None, like: RunSpec) -> list[RunSpec]:
    if not 0 < like.target_factor < math.inf:
        raise ValueError(f"the target factor ({like.target_factor}) must be above 0")
    specs = []
    for policy in default_policies() if names is None else names:
        positions = knobs_of(policy)
        if knobs is not None and policy not in OURS and policy not in ANCHORS:
            positions = tuple(knobs)
        specs += [replace(like, policy=policy, knob=knob) for knob in positions]
    return specs


@dataclass(eq=False)
class _Group:
    """All runs on one slice with one seed: they share a prepared trace."""

    slice: Slice | SharedSlice
    seed: int
    traces: Path | None
    specs: Sequence[RunSpec]
    launch_s: float
    store: WorkFile
    keys: list[str] = field(init=False)
    todo: list[tuple[str, RunSpec]] = field(init=False)

    def __post_init__(self) -> None:
        self.keys = [run_key(self.slice, self.traces, self.seed, s, launch_s=self.launch_s) for s in self.specs]
        self.todo = [(key, s) for key, s in zip(self.keys, self.specs, strict=True) if self.store.get(key) is None]
        # The longest first: then no worker stands idle at the end.
        self.todo.sort(key=lambda pair: pair[1].policy not in OURS)

    def folder(self, root: Path) -> Path:
        about = hashlib.sha256(self.slice.model_dump_json().encode()).hexdigest()[:8]
        return root / f"{self.slice.name}-{self.seed}-{self.launch_s:g}-{about}"


def _work_off(groups: Sequence[_Group], store: WorkFile, root: Path, progress: SweepProgress, workers: int) -> None:
    """Prepare one group ahead of the one that runs; a trace's files go when its last run is done."""
    waiting = [group for group in groups if group.todo]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            preparing: dict[Future[None], _Group] = {}
            running: dict[Future[tuple[dict[str, Any], float]], tuple[_Group, str, RunSpec]] = {}
            left = {id(group): len(group.todo) for group in waiting}

            def prepare_next() -> None:
                if waiting and not preparing:
                    group = waiting.pop(0)
                    folder = group.folder(root)
                    preparing[pool.submit(_prepare, group.slice, group.seed, group.traces, folder, group.launch_s)] = (
                        group
                    )

            prepare_next()
            while preparing or running:
                done, _ = wait([*preparing, *running], return_when=FIRST_COMPLETED)
                for future in done:
                    if future in preparing:
                        group = preparing.pop(future)
                        future.result()
                        for key, spec in group.todo:
                            future = pool.submit(
                                _run, group.slice, group.seed, group.folder(root), group.launch_s, spec
                            )
                            running[future] = (group, key, spec)
                        continue
                    group, key, spec = running.pop(future)
                    run, took_s = future.result()
                    store.keep(key, run)
                    progress.finished(group.slice.name, spec.policy, took_s)
                    left[id(group)] -= 1
                    if not left[id(group)]:
                        discard(group.folder(root))
                if len(running) <= 2 * workers:
                    prepare_next()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _warm_up() -> None:
    """Compile, or find what was compiled before, once, before the workers would do it at the same time."""
    import numpy as np

    from simulator.bench.compiled_fleet import CompiledFleet, TraceColumns
    from simulator.physics.profiles import S

    trace = TraceColumns(np.array([0.5]), np.array([10], np.int32), np.array([10], np.int32))
    fleet = CompiledFleet(S, trace)
    copy = fleet.add_copy()
    fleet.advance(20.0)
    fleet.remove_copy(copy)
    fleet.judged(2.0, 5.0)


# -- in the workers ---------------------------------------------------------------------------------------------------


def _prepare(one: Slice | SharedSlice, seed: int, traces: Path | None, folder: Path, launch_s: float) -> None:
    if isinstance(one, SharedSlice):
        prepare_shared(one, seed, traces=traces, folder=folder, launch_s=launch_s)
    elif not is_prepared(folder):
        prepare(one, seed, traces=traces, folder=folder, launch_s=launch_s)
    gc.collect()


def _run(
    one: Slice | SharedSlice, seed: int, folder: Path, launch_s: float, spec: RunSpec
) -> tuple[dict[str, Any], float]:
    begun_s = time.perf_counter()
    if isinstance(one, SharedSlice):
        run = run_shared(prepare_shared(one, seed, traces=None, folder=folder, launch_s=launch_s), spec)
    else:
        run = run_one(_loaded(folder), spec)
    # Platform and events refer to each other: what a run held must not wait for the collector.
    gc.collect()
    return run, time.perf_counter() - begun_s


@lru_cache(maxsize=1)
def _loaded(folder: Path) -> Prepared:
    return load_prepared(folder)
