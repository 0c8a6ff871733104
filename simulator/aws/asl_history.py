"""The event history of one execution: what happened, in AWS's event types, and never more than 25,000 of it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from simulator.aws.asl_path import compact

MAX_EVENTS: Final = 25_000
"""Hard quota. Event 25,000 is either ExecutionSucceeded or the ExecutionFailed of the quota itself (developer guide,
"Avoid reaching the history quota")."""

FULL_CAUSE: Final = f"The execution reached the maximum number of history events ({MAX_EVENTS})."
"""The cause AWS writes, under the error States.Runtime."""


class HistoryFull(Exception):
    """The next event would be number 25,000 and does not end the execution."""


_Event = tuple[str, float, int, Mapping[str, Any] | None]
"""Type, seconds since the epoch, id of the event before it in the same thread of states, details."""


class History:
    """Append-only list of events. Payloads are kept as objects and become JSON text when somebody reads them.

    A closed history is packed (a thousand looks of one loop are 20,000 events), so that weeks of them fit in memory.
    """

    __slots__ = ("_count", "_open", "_packed")

    def __init__(self) -> None:
        self._open: list[_Event] = []
        self._packed = b""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, kind: str, at_s: float, previous_id: int, details: Mapping[str, Any] | None = None) -> int:
        """Append an event that does not end the execution and return its id (1, 2, …); raises HistoryFull."""
        if self._packed:
            raise RuntimeError(f"{kind} would be written into the history of an execution that has ended")
        if self._count >= MAX_EVENTS - 1:
            raise HistoryFull
        self._open.append((kind, at_s, previous_id, details))
        self._count += 1
        return self._count

    def close(self, kind: str, at_s: float, previous_id: int, details: Mapping[str, Any] | None = None) -> None:
        """Append the event that ends the execution; there is always room for it. Nothing may be added after it."""
        self._open.append((kind, at_s, previous_id, details))
        self._count += 1
        self._packed = zlib.compress(compact(self._open).encode(), 1)
        self._open = []

    def kinds(self) -> list[str]:
        """The types of all events, oldest first."""
        return [event[0] for event in self._events()]

    def path(self) -> list[str]:
        """Names of the states entered, oldest first."""
        return [details["name"] for kind, _, _, details in self._events() if kind.endswith("StateEntered") and details]

    def read(self, first: int, count: int, *, newest_first: bool, with_data: bool) -> list[dict[str, Any]]:
        """Up to `count` events from offset `first` in the asked order, in the shape of GetExecutionHistory."""
        events = self._events()
        ids = range(len(events), 0, -1) if newest_first else range(1, len(events) + 1)
        return [_shown(event_id, events[event_id - 1], with_data) for event_id in ids[first : first + count]]

    def _events(self) -> list[_Event]:
        return json.loads(zlib.decompress(self._packed)) if self._packed else self._open


def _shown(event_id: int, event: _Event, with_data: bool) -> dict[str, Any]:
    kind, at_s, previous_id, details = event
    shown: dict[str, Any] = {"timestamp": as_date(at_s), "type": kind, "id": event_id, "previousEventId": previous_id}
    if details is not None:
        shown[_details_field(kind)] = _rendered(details, with_data)
    return shown


def as_date(at_s: float) -> datetime:
    """Seconds since the epoch as an aware UTC time, to the millisecond, as the service answers it."""
    return datetime.fromtimestamp(round(at_s * 1000) / 1000, UTC)


def as_text_time(at_s: float) -> str:
    """The same as text, as the context object shows it: 2026-01-01T00:00:00.000Z."""
    return as_date(at_s).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_PAYLOADS: Final = ("input", "output")


def _details_field(kind: str) -> str:
    if kind.endswith("StateEntered"):
        return "stateEnteredEventDetails"
    if kind.endswith("StateExited"):
        return "stateExitedEventDetails"
    return f"{kind[0].lower()}{kind[1:]}EventDetails"


def _rendered(details: Mapping[str, Any], with_data: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for key, value in details.items():
        if key in _PAYLOADS:
            if with_data:
                shown[key] = compact(value)
                shown[f"{key}Details"] = {"truncated": False}
        elif key == "parameters":
            shown[key] = compact(value) if with_data else ""
        elif value is not None and (with_data or key not in ("error", "cause")):
            shown[key] = value
    return shown
