"""How far a benchmark has come and how long it will still take: a bar in a terminal, a plain line now and then elsewhere.

The time left is what the runs still to be made took before: those of the same slice and policy if there were any, else of
the policy anywhere, else all. Nothing of this enters a result.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_LINE_EVERY_S = 10.0


class SweepProgress:
    """Use as a context manager; tell it every finished run.

    `runs`: (slice, policy) of every run still to be made; `finished_before` were found in the work file. The bar goes to
    standard error, so that a result piped from standard output stays JSON. `quiet` shows nothing.
    """

    def __init__(
        self,
        runs: Iterable[tuple[str, str]],
        *,
        workers: int,
        finished_before: int = 0,
        quiet: bool = False,
        stderr: TextIO | None = None,
        wall_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left: dict[tuple[str, str], int] = defaultdict(int)
        for run in runs:
            self._left[run] += 1
        self._total = sum(self._left.values())
        self._workers, self._before, self._quiet = workers, finished_before, quiet
        self._stderr = sys.stderr if stderr is None else stderr
        self._wall_clock = wall_clock
        self._took: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._done = 0
        self._started_s = self._shown_s = wall_clock()
        self._bar: Progress | None = None

    def __enter__(self) -> SweepProgress:
        self._started_s = self._shown_s = self._wall_clock()
        if not self._quiet and self._stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                console=Console(file=self._stderr),
            )
            self._task = self._bar.add_task("Benchmark", total=self._total, left="")
            self._bar.start()
        if self._before and not self._quiet:
            self.say(f"{self._before} runs were finished before and are taken over")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        elif not self._quiet and self._done:
            self._write(f"{self._done} of {self._total} runs in {_clock(self._wall_clock() - self._started_s)}")

    def finished(self, slice_name: str, policy: str, took_s: float) -> None:
        """One run is over; it took `took_s` seconds of one worker."""
        self._done += 1
        self._left[slice_name, policy] -= 1
        self._took[slice_name, policy].append(took_s)
        if self._quiet:
            return
        left = f"about {_clock(self.left_s())} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=f"{slice_name} {policy}", left=left)
            return
        now_s = self._wall_clock()
        if now_s - self._shown_s >= PLAIN_LINE_EVERY_S:
            self._shown_s = now_s
            share = 100 * self._done / self._total
            self._write(f"{self._done} of {self._total} runs ({share:.0f} %), {left}; last: {slice_name} {policy}")

    def say(self, text: str) -> None:
        """A sentence for people."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            self._write(text)

    def left_s(self) -> float:
        """Seconds that the remaining runs will take, by what others took; 0 before the first has finished."""
        by_policy: dict[str, list[float]] = defaultdict(list)
        for (_, policy), took in self._took.items():
            by_policy[policy].extend(took)
        everything = [seconds for took in self._took.values() for seconds in took]
        if not everything:
            return 0.0
        total_s = 0.0
        for (slice_name, policy), count in self._left.items():
            known = self._took.get((slice_name, policy)) or by_policy.get(policy) or everything
            total_s += count * sum(known) / len(known)
        return total_s / self._workers

    def _write(self, text: str) -> None:
        self._stderr.write(f"bench: {text}\n")
        self._stderr.flush()


def _clock(seconds: float) -> str:
    """75 → "1:15"; 3725 → "1:02:05"."""
    hours, left = divmod(round(seconds), 3600)
    return f"{hours}:{left // 60:02d}:{left % 60:02d}" if hours else f"{left // 60}:{left % 60:02d}"
