"""How far a simulation has come, while it runs: a live panel in a terminal, a plain line now and then anywhere else.

Only this display asks for the wall clock; nothing it shows enters a result. The panel goes to standard output, the plain
lines to standard error, so that `--json` piped to another program stays JSON.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

REDRAW_EVERY_S = 0.2
PLAIN_LINE_EVERY_S = 10.0
SPARKS = "▁▂▃▄▅▆▇█"
SPARKLINE_WIDTH = 60

FACTS = (
    ("requests", "requests"),
    ("desired", "copies asked for"),
    ("current", "copies in service"),
    ("instances", "instances"),
    ("in_flight", "in flight"),
    ("cost_usd", "cost"),
    ("last_decision", "last decision"),
)
"""Facts with a label of their own, in the order shown; any other fact is shown under its own name."""


class RunProgress:
    """Shows a running simulation; use it as a context manager and call `update` as often as you like.

    `label` names the run. `quiet` shows nothing. The panel needs a terminal that can move its cursor (`TERM` is not
    "dumb"); without one, a line is written at most every ten seconds. `NO_COLOR` is respected (by rich). Streams and the clock are
    those of the process unless given.
    """

    def __init__(
        self,
        label: str = "",
        *,
        quiet: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        wall_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._quiet = quiet
        self._stdout = sys.stdout if stdout is None else stdout
        self._stderr = sys.stderr if stderr is None else stderr
        self._wall_clock = wall_clock
        self._live: Live | None = None
        self._started_s = self._shown_s = wall_clock()
        self._virtual_s = self._total_s = 0.0
        self._first_virtual_s: float | None = None
        self._facts: dict[str, object] = {}
        self._load = [0.0] * SPARKLINE_WIDTH
        self._loaded_up_to = -1

    def __enter__(self) -> RunProgress:
        self._started_s = self._shown_s = self._wall_clock()
        if not self._quiet and self._stdout.isatty() and os.environ.get("TERM") != "dumb":
            console = Console(file=self._stdout)
            self._live = Live(
                self._panel(), console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show the last state once more and give the terminal back, also after an error."""
        if self._live is not None:
            self._live.update(self._panel(), refresh=True)
            self._live.stop()
            self._live = None
        elif not self._quiet and self._first_virtual_s is not None:
            self._write_line()

    def update(self, virtual_s: float, total_s: float, **facts: object) -> None:
        """The run has reached `virtual_s` of `total_s` seconds of its own time. Facts replace those of the same name.

        Cheap: redraws at most five times a second, otherwise only remembers. `in_flight` also feeds the sparkline, which
        spans the whole run and keeps the highest value of each stretch. A fact that is None is shown as a dash.
        """
        self._virtual_s, self._total_s = virtual_s, total_s
        if self._first_virtual_s is None:
            self._first_virtual_s = virtual_s
        self._facts.update(facts)
        in_flight = facts.get("in_flight")
        if isinstance(in_flight, int | float) and total_s > 0:
            stretch = min(int(virtual_s / total_s * SPARKLINE_WIDTH), SPARKLINE_WIDTH - 1)
            self._load[stretch] = max(self._load[stretch], in_flight)
            self._loaded_up_to = max(self._loaded_up_to, stretch)
        if self._quiet:
            return
        now_s = self._wall_clock()
        if now_s - self._shown_s < (REDRAW_EVERY_S if self._live is not None else PLAIN_LINE_EVERY_S):
            return
        self._shown_s = now_s
        if self._live is not None:
            self._live.update(self._panel(), refresh=True)
        else:
            self._write_line()

    def _panel(self) -> Group:
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        for name, value in self._timing() + self._shown_facts():
            # As Text: a reason code in brackets is not markup.
            facts.add_row(name, Text(value))
        done = round(SPARKLINE_WIDTH * min(1.0, self._virtual_s / self._total_s)) if self._total_s > 0 else 0
        bar = Text.assemble(("━" * done, "blue"), ("─" * (SPARKLINE_WIDTH - done), "dim"))
        return Group(Text(self._label or "Simulation", style="bold"), Text(self._sparkline(), style="cyan"), bar, facts)

    def _write_line(self) -> None:
        parts = [f"{name} {value}" for name, value in self._timing() + self._shown_facts()]
        self._stderr.write(f"{self._label or 'simulation'}: {', '.join(parts)}\n")
        self._stderr.flush()

    def _timing(self) -> list[tuple[str, str]]:
        wall_s = self._wall_clock() - self._started_s
        passed_s = self._virtual_s - (self._first_virtual_s or 0.0)
        speed = passed_s / wall_s if wall_s > 0 and passed_s > 0 else None
        left_s = max(0.0, self._total_s - self._virtual_s)
        done = f" ({100 * self._virtual_s / self._total_s:.0f} %)" if self._total_s > 0 else ""
        return [
            ("virtual time", f"{_clock(self._virtual_s)} of {_clock(self._total_s)}{done}"),
            ("wall time", f"{_clock(wall_s)}, {'–' if speed is None else f'{speed:,.0f}'} × real time, {'–' if speed is None else _clock(left_s / speed)} left"),
        ]  # fmt: skip

    def _shown_facts(self) -> list[tuple[str, str]]:
        labels = dict(FACTS)
        names = [name for name in labels if name in self._facts] + sorted(set(self._facts) - set(labels))
        return [(labels.get(name, name.replace("_", " ")), _write(name, self._facts[name])) for name in names]

    def _sparkline(self) -> str:
        """One character per stretch of the run: the highest load so far in it, a dot where the run has not been yet."""
        high = max(self._load)
        drawn = [
            SPARKS[min(len(SPARKS) - 1, int(load / high * len(SPARKS)))] if high > 0 else SPARKS[0]
            for load in self._load[: self._loaded_up_to + 1]
        ]
        return "".join(drawn) + "·" * (SPARKLINE_WIDTH - len(drawn))


def _clock(seconds: float) -> str:
    """3725 → "1:02:05"; 93_600 → "1 d 2:00:00"."""
    days, left = divmod(round(seconds), 86_400)
    hours, left = divmod(left, 3_600)
    return f"{f'{days} d ' if days else ''}{hours}:{left // 60:02d}:{left % 60:02d}"


def _write(name: str, value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if name.endswith("_usd"):
        return f"${value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
