"""What a run prints while it goes on, and how it says that something is wrong."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

POLL_S = 0.5


class Wrong(Exception):
    """Something is not as it must be; the message says what was expected and what was found."""


def expect(holds: bool, otherwise: str) -> None:
    """Raise Wrong with that text unless it holds."""
    if not holds:
        raise Wrong(otherwise)


class Progress:
    """Prints one line a step, with the seconds since the beginning, and lines between for what is waited for."""

    def __init__(self, out: TextIO, *, before_s: float = 0.0) -> None:
        self._out = out
        self._began_s = time.monotonic() - before_s
        self.finished: list[dict[str, Any]] = []
        """Title, outcome, detail and seconds of every step that ended."""

    def elapsed_s(self) -> float:
        """Seconds since the run began, to a tenth."""
        return round(time.monotonic() - self._began_s, 1)

    def say(self, text: str) -> None:
        """One line of news."""
        print(f"{self.elapsed_s():6.1f} s          {text}", file=self._out, flush=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """A step of the run; what it yields takes the step's one-line summary."""
        began_s = time.monotonic()
        summary: list[str] = []
        outcome = "FAILED"
        try:
            yield summary.append
            outcome = "ok"
        finally:
            seconds = round(time.monotonic() - began_s, 1)
            detail = summary[0] if summary else str(sys.exc_info()[1] or "")
            self.finished.append({"step": title, "outcome": outcome, "detail": detail, "seconds": seconds})
            shown = f": {summary[0]}" if summary else ""
            print(f"{self.elapsed_s():6.1f} s  {outcome:6}  {title}{shown}", file=self._out, flush=True)

    def wait(self, what: str, limit_s: float, look: Callable[[], tuple[bool, Any]]) -> Any:
        """Look until the first of the pair is true and return the second; each change of it is printed.

        Wrong if that takes longer than `limit_s` seconds.
        """
        end_s = time.monotonic() + limit_s
        last: Any = None
        while True:
            done, seen = look()
            if seen != last:
                self.say(f"{what}: {seen}")
                last = seen
            if done:
                return seen
            if time.monotonic() > end_s:
                raise Wrong(f"{what}: not within {limit_s:.0f} s; last seen: {seen}")
            time.sleep(POLL_S)
