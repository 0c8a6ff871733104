"""The decisions of a run, for the table and the markers: repeated holds grouped, explanations kept within a size budget.

A decision that changes nothing is still worth a row ("why did it not scale?"), but not the same row a thousand times:
consecutive decisions of one component with the same numbers, reason and outcome become one row with a count.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from simulator.report.result import known_number, required_number, rows, text

MAX_ROWS = 5_000
ROWS_BUDGET_BYTES = 700_000
EXPLANATIONS_BUDGET_BYTES = 800_000
NOT_CARRIED_OUT = frozenset({"refused", "failed"})
"""Outcomes that the page shows as a refusal."""

Row = dict[str, object]


def decision_rows(result: Mapping[str, object]) -> dict[str, object]:
    """`{"rows": […], "words": […], "total": n, "left_out": n, "unexplained": n}`, rows in order of time.

    A row is `{"t", "until", "n", "component", "from", "to", "current", "demand", "worth", "expected", "lead_s", "kind", "refused", "reason", "detail", "outcome",
    "outcome_detail", "steps"}`, empty fields left out. `kind` is out, in or held. `steps` is a list of
    `[stage, recommended, reason, detail, inputs]`, where stage and reason index `words`; it is missing where the budget
    was spent on more telling rows, and `unexplained` counts those rows. `left_out` counts rows beyond `MAX_ROWS` or the
    budget; changes and refusals are kept before any hold.
    """
    decisions = [_read(fields, index) for index, fields in enumerate(rows(result, "decisions"))]
    grouped = group_holds(decisions)
    steps_of = {id(row): row.pop("steps") for row in grouped}
    kept = _within(sorted(grouped, key=_telling)[:MAX_ROWS], ROWS_BUDGET_BYTES, size_of=_bytes)
    explained = _within(
        [row for row in kept if steps_of[id(row)]],
        EXPLANATIONS_BUDGET_BYTES,
        size_of=lambda row: _bytes(steps_of[id(row)]),
    )
    words: dict[str, int] = {}
    for row in sorted(explained, key=_in_time):
        row["steps"] = [_step(fields, words) for fields in steps_of[id(row)]]
    return {
        "rows": [_without_blanks(row) for row in sorted(kept, key=_in_time)],
        "words": list(words),
        "total": len(decisions),
        "left_out": len(grouped) - len(kept),
        "unexplained": sum(1 for row in kept if steps_of[id(row)]) - len(explained),
    }


def group_holds(decisions: list[Row]) -> list[Row]:
    """Fold each run of identical holds of one component into its first row, with `n` and the time of the last, `until`."""
    grouped: list[Row] = []
    last: dict[str, Row] = {}
    for decision in sorted(decisions, key=_in_time):
        before = last.get(decision["component"])
        if before is not None and decision["kind"] == "held" and _sameness(before) == _sameness(decision):
            before["n"] += 1
            before["until"] = decision["t"]
            continue
        last[decision["component"]] = decision
        grouped.append(decision)
    return grouped


def _read(fields: Mapping[str, object], index: int) -> Row:
    where = f"decisions[{index}]"
    desired = required_number(fields, "desired", where=where)
    baseline = known_number(fields, "baseline", where=where)
    current = known_number(fields, "current", where=where)
    before = current if baseline is None else baseline
    kind = "held" if before is None or desired == before else "out" if desired > before else "in"
    outcome = text(fields, "outcome")
    return {
        "t": required_number(fields, "t", where=where),
        "component": text(fields, "component"),
        "kind": kind,
        "from": before,
        "to": desired,
        "current": current,
        **_sizing(fields, where),
        "reason": text(fields, "reason"),
        "detail": text(fields, "detail"),
        "outcome": outcome,
        "outcome_detail": text(fields, "outcome_detail"),
        "refused": outcome in NOT_CARRIED_OUT,
        "steps": list(rows(fields, "steps")),
        "n": 1,
        "until": None,
    }


def _sizing(fields: Mapping[str, object], where: str) -> dict[str, float | None]:
    """The demand estimate (requests in flight), and what demand sizing made of it, in copies' worth."""
    found: dict[str, float | None] = {"demand": known_number(fields, "demand", where=where)}
    said: Mapping[str, object] = {}
    for step in rows(fields, "steps"):
        inputs = step.get("inputs") or {}
        said = next((one for one in inputs.values() if isinstance(one, Mapping) and "expected" in one), said)
    names = {"worth": "copies_worth", "expected": "expected", "lead_s": "lead_s"}
    return found | {key: known_number(said, name, where=where) for key, name in names.items()}


def _within(candidates: list[Row], budget_bytes: int, *, size_of: Callable[[Row], int]) -> list[Row]:
    """The candidates from the first on, as long as they fit into the budget together."""
    kept = []
    for row in candidates:
        budget_bytes -= size_of(row)
        if budget_bytes < 0:
            break
        kept.append(row)
    return kept


def _bytes(value: object) -> int:
    return len(json.dumps(value))


def _step(fields: Mapping[str, object], words: dict[str, int]) -> list[object]:
    stage, reason = (words.setdefault(text(fields, key), len(words)) for key in ("stage", "reason"))
    return [stage, fields.get("recommended"), reason, text(fields, "detail"), _inputs(fields)]


def _sameness(row: Row) -> tuple[object, ...]:
    return tuple(row[key] for key in ("kind", "from", "to", "current", "reason", "outcome", "refused"))


def _telling(row: Row) -> tuple[object, ...]:
    """Refusals and changes first, then the longest holds; earlier before later."""
    return (not row["refused"] and row["kind"] == "held", -row["n"], row["t"], row["component"])


def _in_time(row: Row) -> tuple[float, str]:
    return (row["t"], row["component"])


def _without_blanks(row: Row) -> Row:
    return {key: value for key, value in row.items() if value is not None and value is not False and value != ""}


def _inputs(step: Mapping[str, object]) -> dict[str, object]:
    """Inputs as scalars; anything nested becomes the compact JSON a person would paste."""
    inputs = step.get("inputs") or {}
    return {
        str(key): value
        if isinstance(value, str | int | float | bool) or value is None
        else json.dumps(value, sort_keys=True)
        for key, value in sorted(inputs.items())
    }
