"""The benchmark's tables for docs/benchmark.md: from a result to a small summary, from summaries to Markdown.

A summary is what is committed: costs, spread and churn, no trace data. `tables` renders every summary of a folder;
`put_in` writes them between the markers of a document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.report.scoreboard import LEVELS, geometric_mean, is_bound, is_ours

Summary = Mapping[str, Any]
MAIN = "main"
USUAL = "sensitivity-default"
"""The summary that sensitivities are compared with: the same slices and policies with nothing changed."""
CHURN_LEVEL = 0.99
SENSITIVITY_LEVELS = ("98", "99")
SENSITIVITIES = {
    "provisioning": "Provisioning: median seconds from asking for an instance until its copy serves",
    "prefill": "Prefill: all prefill times multiplied",
    "publish": "Seconds until a datapoint of SageMaker's can be read",
    "target": "The target per copy set wrong by a factor",
    "statistic": "What the alarms of ours and of Application Auto Scaling read",
}
"""Kinds of sensitivity, by the first part of a summary's name; the rest of the name is the value."""
_DEFAULTS = {"provisioning": "258", "prefill": "1", "publish": "10", "target": "1", "statistic": "default"}
_BEGIN, _END = "<!-- begin: benchmark tables, made by `make bench-tables` -->", "<!-- end: benchmark tables -->"


def summary_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a `bench` result that are kept: costs, their spread over seeds, churn, and what was run."""
    runs = result["runs"]
    return {
        "frontier": result["frontier"],
        "spread": result["spread"],
        "churn_per_day": _churn(runs),
        "held_out": result["held_out"],
        "conditions": sorted({", ".join(run["scenario"].split(", ")[1:]) for run in runs}),
        "seeds": sorted({run["seed"] for run in runs}),
        "runs": len(runs),
        "requests": {run["trace"]: run["requests"] for run in runs if run.get("requests") is not None},
    }


def tables(summaries: Mapping[str, Summary]) -> str:
    """All tables as Markdown; nothing but a sentence where there is no result yet."""
    parts = []
    if MAIN in summaries:
        parts += _main_tables(summaries[MAIN])
    parts += [table for kind in SENSITIVITIES if (table := _sensitivity_table(kind, summaries))]
    return "\n\n".join(parts) if parts else "No result is committed yet."


def put_in(document: str, text: str) -> str:
    """`document` with `text` between its markers. ValueError if it has not exactly one pair."""
    if document.count(_BEGIN) != 1 or document.count(_END) != 1 or document.index(_BEGIN) > document.index(_END):
        raise ValueError(f"the document needs one line {_BEGIN} and, after it, one line {_END}")
    before, rest = document.split(_BEGIN)
    return f"{before}{_BEGIN}\n\n{text}\n\n{_END}{rest.split(_END)[1]}"


def write_tables(document: Path, summaries: Mapping[str, Summary]) -> None:
    """Put the tables into a file. Raises OSError and ValueError."""
    document.write_text(put_in(document.read_text(encoding="utf-8"), tables(summaries)), encoding="utf-8")


def _churn(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Copies started and stopped per day at the cheapest knob position that reaches 99 % with every seed."""
    points: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = {}
    for run in runs:
        if run.get("churn_per_day") is not None and run.get("slo_attainment") is not None:
            points.setdefault((run["trace"], run["policy"]), {}).setdefault(str(run["knob"]), []).append(run)
    found: dict[str, dict[str, float | None]] = {}
    for (trace, policy), by_knob in sorted(points.items()):
        good = [rows for rows in by_knob.values() if min(run["slo_attainment"] for run in rows) >= CHURN_LEVEL]
        best = min(good, key=lambda rows: _mean(rows, "cost_vs_oracle"), default=None)
        found.setdefault(trace, {})[policy] = None if best is None else round(_mean(best, "churn_per_day"), 1)
    return found


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return sum(run[name] for run in rows) / len(rows)


def _main_tables(summary: Summary) -> list[str]:
    frontier = summary["frontier"]
    traces, policies = sorted(frontier), _ordered(frontier)
    seeds = ", ".join(map(str, summary["seeds"]))
    held_out = f"; {', '.join(summary['held_out'])} held out" if summary["held_out"] else ""
    parts = [f"{summary['runs']:,} runs, seed{'s' * (len(summary['seeds']) > 1)} {seeds}{held_out}."]
    for level in LEVELS:
        rows = []
        for policy in policies:
            costs = [frontier[trace].get(policy, {}).get(level) for trace in traces]
            reached = [cost for cost in costs if cost is not None]
            worst = max(reached) if reached and len(reached) == len(costs) else None
            rows.append([policy, *map(_cost, costs), _cost(geometric_mean(costs)), _cost(worst)])
        parts.append(f"Cost at {level} % attainment, in multiples of the clairvoyant optimum (– = not reached):")
        parts.append(_markdown(["policy", *traces, "mean", "worst"], rows))
    churn = summary["churn_per_day"]
    rows = [[policy, *(_count(churn.get(trace, {}).get(policy)) for trace in traces)] for policy in policies]
    parts.append("Copies started and stopped per day, at the cheapest position that reaches 99 %:")
    parts.append(_markdown(["policy", *traces], [row for row in rows if set(row[1:]) != {"–"}]))
    if len(summary["seeds"]) > 1:
        spread = summary["spread"]
        rows = [[policy, *(_span(spread[trace].get(policy, {}).get("99")) for trace in traces)] for policy in policies]
        parts.append("Least and most cost at 99 % over the seeds:")
        parts.append(_markdown(["policy", *traces], [row for row in rows if set(row[1:]) != {"–"}]))
    return parts


def _sensitivity_table(kind: str, summaries: Mapping[str, Summary]) -> str | None:
    """One row per policy, one column per value: mean cost over the slices at each of `SENSITIVITY_LEVELS`."""
    values = {name.removeprefix(f"{kind}-"): one for name, one in summaries.items() if name.startswith(f"{kind}-")}
    if not values:
        return None
    if USUAL in summaries:
        values[_DEFAULTS[kind]] = summaries[USUAL]
    ordered = sorted(values, key=_by_value)
    traces = sorted(set.intersection(*(set(one["frontier"]) for one in values.values())))
    policies = _ordered(values[ordered[0]]["frontier"])
    rows = []
    for policy in policies:
        cells = []
        for value in ordered:
            frontier = values[value]["frontier"]
            means = [
                geometric_mean([frontier[trace].get(policy, {}).get(level) for trace in traces])
                for level in SENSITIVITY_LEVELS
            ]
            cells.append(" / ".join(map(_cost, means)))
        if any(cell != " / ".join("–" for _ in SENSITIVITY_LEVELS) for cell in cells):
            rows.append([policy, *cells])
    levels = " and ".join(f"{level} %" for level in SENSITIVITY_LEVELS)
    title = f"{SENSITIVITIES[kind]}. Mean cost over {', '.join(traces)} at {levels}:"
    return f"{title}\n\n{_markdown(['policy', *ordered], rows)}"


def _by_value(text: str) -> tuple[float, str]:
    return (float(text), "") if re.fullmatch(r"[0-9.]+", text) else (-1.0, text)


def _ordered(frontier: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> list[str]:
    """Ours first, then peers from cheap to dear at 98 % (more traces reached before fewer), then the yardsticks."""
    policies = sorted({policy for by_policy in frontier.values() for policy in by_policy})

    def place(policy: str) -> tuple[int, int, float, str]:
        costs = [frontier[trace].get(policy, {}).get("98") for trace in frontier]
        known = [cost for cost in costs if cost is not None]
        group = 0 if is_ours(policy) else 2 if is_bound(policy) or policy.startswith("static") else 1
        return group, -len(known), geometric_mean(known) or 0.0, policy

    return sorted(policies, key=place)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("--:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cost(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _span(value: Sequence[float] | None) -> str:
    return "–" if value is None else f"{value[0]:.2f} to {value[1]:.2f}"
