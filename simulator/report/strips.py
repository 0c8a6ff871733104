"""What lies under the charts: the state of every alarm over time, and the events of the emulated account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from simulator.report.result import required_number, rows, text

STATES = ("OK", "ALARM", "INSUFFICIENT_DATA")
MAX_EVENTS = 3_000
MAX_ALARM_CHANGES = 16_000
REASONS_BUDGET_CHARS = 200_000


def alarm_bands(result: Mapping[str, object], components: Sequence[str]) -> list[dict[str, object]]:
    """Per alarm, in alphabetical order: `{"name", "component", "first", "changes": [[t, state, reason], …]}`.

    States are indices into `STATES`. `first` is the state before the first change. `component` is the longest component
    name found in the alarm's name, "" if there is none: such an alarm is shown with every component. Reasons are left
    out once they have filled their budget. Of alarms that change too often, the shortest breaks between two stretches of
    ALARM are closed.
    """
    alarms: dict[str, dict[str, object]] = {}
    left = REASONS_BUDGET_CHARS
    transitions = [
        (required_number(fields, "t", where=f"alarms[{i}]"), i, fields)
        for i, fields in enumerate(rows(result, "alarms"))
    ]
    for t, _, fields in sorted(transitions, key=lambda item: item[:2]):
        name = text(fields, "name")
        alarm = alarms.setdefault(
            name, {"name": name, "component": _owner(name, components), "first": _state(fields, "from"), "changes": []}
        )
        reason = text(fields, "reason")
        left -= len(reason)
        alarm["changes"].append([t, _state(fields, "to"), reason if left >= 0 else ""])
    for alarm in alarms.values():
        alarm["changes"] = _without_shortest_breaks(alarm["changes"], MAX_ALARM_CHANGES // len(alarms))
    return [alarms[name] for name in sorted(alarms)]


def event_marks(result: Mapping[str, object]) -> dict[str, object]:
    """`{"kinds": [name, …], "marks": [[t, kind, detail], …], "total": n}`, marks in order of time, kinds by first event.

    Of more than `MAX_EVENTS` the rarest kinds are kept first, so that a fault is not crowded out by routine.
    """
    events = [
        (required_number(fields, "t", where=f"events[{i}]"), i, text(fields, "what"), text(fields, "detail"))
        for i, fields in enumerate(rows(result, "events"))
    ]
    how_often = Counter(what for _, _, what, _ in events)
    kept = sorted(
        sorted(events, key=lambda event: (how_often[event[2]], *event[:2]))[:MAX_EVENTS], key=lambda event: event[:2]
    )
    kinds: dict[str, int] = {}
    marks = [[t, kinds.setdefault(what, len(kinds)), detail] for t, _, what, detail in kept]
    return {"kinds": list(kinds), "marks": marks, "total": len(events)}


def _without_shortest_breaks(changes: list[list[object]], limit: int) -> list[list[object]]:
    alarm = STATES.index("ALARM")
    breaks = [
        (after[0] - left[0], i)
        for i, (before, left, after) in enumerate(zip(changes, changes[1:], changes[2:], strict=False))
        if before[1] == after[1] == alarm and left[1] != alarm
    ]
    too_many = max(0, len(changes) - limit)
    closed = {i for _, i in sorted(breaks)[: (too_many + 1) // 2]}
    return [change for i, change in enumerate(changes) if i - 1 not in closed and i - 2 not in closed]


def _state(fields: Mapping[str, object], key: str) -> int:
    """Index of the state; whatever CloudWatch would not say counts as insufficient data."""
    state = text(fields, key)
    return STATES.index(state) if state in STATES else STATES.index("INSUFFICIENT_DATA")


def _owner(alarm_name: str, components: Sequence[str]) -> str:
    found = [component for component in components if component and component in alarm_name]
    return max(found, key=len, default="")
