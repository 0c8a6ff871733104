"""The progress display: a panel in a terminal, few lines elsewhere, nothing on the stream that may carry JSON."""

from __future__ import annotations

import io
import re

import pytest

from simulator.cli.progress import RunProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A wall clock that advances by a fixed time at every reading."""

    def __init__(self, step_s: float) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def run(stdout, stderr, *, step_s=0.01, updates=1_000, **options) -> None:
    with RunProgress("a run", stdout=stdout, stderr=stderr, wall_clock=Clock(step_s), **options) as progress:
        for tick in range(updates):
            progress.update(
                10.0 * tick,
                10.0 * updates,
                requests=tick,
                desired=3,
                current=2,
                in_flight=float(tick % 100),
                last_decision="[Demand] 2 → 3",
                cost_usd=None,
            )


@pytest.fixture(autouse=True)
def _a_plain_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_terminal_shows_the_run_and_redraws_at_most_five_times_a_second():
    out, err = Terminal(), io.StringIO()
    run(out, err)
    panels = out.getvalue().count("virtual time")
    # 10 s of wall clock (and the clock's own readings by the panels) pass.
    assert 10 < panels <= 60
    assert err.getvalue() == ""
    for part in ("a run", "copies asked for", "[Demand] 2 → 3", "× real time", "–"):
        assert part in out.getvalue()


def test_no_color_means_no_color(monkeypatch):
    coloured, plain = Terminal(), Terminal()
    run(coloured, io.StringIO(), updates=100)
    monkeypatch.setenv("NO_COLOR", "1")
    run(plain, io.StringIO(), updates=100)
    colour = re.compile(r"\x1b\[(?:[0-9;]*;)?3[0-7]m")
    assert colour.search(coloured.getvalue())
    assert not colour.search(plain.getvalue())


def test_without_a_terminal_standard_output_stays_clean_and_lines_are_rare():
    out, err = io.StringIO(), io.StringIO()
    run(out, err, step_s=0.02)
    assert out.getvalue() == ""
    lines = err.getvalue().splitlines()
    assert 2 <= len(lines) <= 4
    assert "2:46:30 of 2:46:40 (100 %)" in lines[-1]


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    out, err = Terminal(), io.StringIO()
    run(out, err)
    assert out.getvalue() == ""
    assert "a run: virtual time" in err.getvalue()


def test_quiet_writes_nothing_at_all():
    out, err = Terminal(), io.StringIO()
    run(out, err, quiet=True)
    assert (out.getvalue(), err.getvalue()) == ("", "")


def test_the_terminal_is_given_back_when_the_run_fails():
    out = Terminal()
    with pytest.raises(ZeroDivisionError), RunProgress(stdout=out, wall_clock=Clock(0.1)) as progress:
        progress.update(1, 10)
        1 / 0  # noqa: B018
    assert out.getvalue().rstrip("\n").endswith("\x1b[?25h")


def test_the_sparkline_spans_the_whole_run_and_keeps_the_peak_of_each_stretch():
    out = Terminal()
    with RunProgress(stdout=out, wall_clock=Clock(0.5)) as progress:
        for t in range(500):
            progress.update(t, 1_000, in_flight=80 if t == 123 else 10)
    last = out.getvalue().rsplit("Simulation", 1)[1]
    line = next(line for line in last.splitlines() if "▁" in line or "█" in line)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip()
    assert len(drawn) == 60
    assert drawn.count("█") == 1
    assert drawn.index("█") == 123 * 60 // 1_000
    assert drawn.endswith("·" * 30)
