"""The graph of a state machine: where its states can go, and what is missing, unreachable or endless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def targets(state: Any) -> list[tuple[str, str]]:
    """Every (field, state name) that a state of a definition can go to, in the order it is written."""
    if not isinstance(state, Mapping):
        return []
    found = [("Next", state["Next"])] if "Next" in state else []
    for field in ("Choices", "Catch"):
        entries = state.get(field, [])
        if isinstance(entries, list):
            found += [("Next", entry["Next"]) for entry in entries if isinstance(entry, Mapping) and "Next" in entry]
    return [*found, ("Default", state["Default"])] if "Default" in state else found


def graph_problems(start_at: Any, states: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What AWS refuses about the graph of one block: (code, what, place below the block)."""
    if start_at not in states:
        return [("MISSING_TRANSITION_TARGET", f"Missing 'StartAt' target: {start_at}", "/StartAt")]
    problems: list[tuple[str, str, str]] = []
    reached: set[str] = set()
    waiting = [start_at]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        for field, target in targets(states[name]):
            if target in states:
                waiting.append(target)
            else:
                problems.append(("MISSING_TRANSITION_TARGET", f"Missing '{field}' target: {target}", f"/States/{name}"))
    for name in states:
        if name not in reached:
            problems.append(("MISSING_TRANSITION_TARGET", f'State "{name}" is not reachable.', f"/States/{name}"))
    if not any(_ends(state) for state in states.values()):
        problems.append(("SCHEMA_VALIDATION_FAILED", "No state ends it (End: true, Succeed or Fail)", ""))
    return problems


def _ends(state: Any) -> bool:
    return isinstance(state, Mapping) and (state.get("End") is True or state.get("Type") in ("Succeed", "Fail"))
