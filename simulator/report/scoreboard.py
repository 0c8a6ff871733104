"""The scoreboard of a benchmark: what every policy costs for the service level it reaches, trace by trace."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from quickstep import __version__
from simulator.report import words
from simulator.report.embed import fill_page, json_for_script, keep_units_together
from simulator.report.result import known_number, ratio, text

LEVELS = ("95", "98", "99", "99.5")
"""SLO attainments, in per cent, at which costs are compared; keys of `frontier[trace][policy]`."""

RUN_COLUMNS = (
    "trace", "policy", "knob", "seed", "slo_attainment", "cost_vs_oracle", "cost_usd", "instance_hours", "copy_hours", "requests", "late", "lost",
    "ttft_p50_s", "ttft_p95_s", "ttft_p99_s", "theta_u", "theta_o", "tau_u", "tau_o", "instability", "changes", "time_to_alarm_s", "scaling_time_s", "longest_shortage_s",
)  # fmt: skip
SCRIPTS = ("dom.js", "frontier.js", "runs.js", "scoreboard.js")
STYLES = ("look.css", "scoreboard.css")

Frontier = Mapping[str, Mapping[str, Mapping[str, float | None]]]


def render_scoreboard(runs: Sequence[Mapping[str, object]], frontier: Frontier) -> str:
    """The page for all runs of a benchmark, as text; the same runs give the same bytes.

    `runs` are result objects with `knob` (their timelines are not read). `frontier[trace][policy][level]` is the cost in
    multiples of the clairvoyant optimum at which the policy reaches `level` per cent of the SLO, None if it never does.
    Raises ValueError, naming the field, if a number is not finite or of the wrong kind.
    """
    policies = _policies(runs, frontier)
    data = {
        "columns": RUN_COLUMNS,
        "runs": [_run_row(run, index) for index, run in enumerate(runs)],
        "curves": cost_curves(runs),
        "policies": [{"name": name, "ours": is_ours(name), "bound": is_bound(name)} for name in policies],
    }
    return fill_page(
        "scoreboard.html",
        styles=STYLES,
        scripts=SCRIPTS,
        data=json_for_script(data),
        values={
            "headline": keep_units_together(escape(scoreboard_headline(frontier))),
            "standfirst": escape(_standfirst(runs, frontier)),
            "tables": "".join(_level_table(frontier, policies, level) for level in LEVELS),
            "provenance": f"<div><dt>Runs</dt><dd>{len(runs):,}</dd></div><div><dt>Quickstep</dt><dd>{__version__}</dd></div>",
        },
    )


def write_scoreboard(runs: Sequence[Mapping[str, object]], frontier: Frontier, path: str | Path) -> None:
    """Write the page to `path` in UTF-8; its directory must exist. Raises OSError and ValueError."""
    Path(path).write_text(render_scoreboard(runs, frontier), encoding="utf-8", newline="\n")


def scoreboard_headline(frontier: Frontier) -> str:
    """One sentence: ours against the best peer on the geometric mean over all traces, at 98 % if ours is known there."""
    policies = _policies((), frontier)
    for level in ("98", "99", "95", "99.5"):
        means = {
            name: geometric_mean([frontier[trace].get(name, {}).get(level) for trace in frontier]) for name in policies
        }
        ours = _cheapest({name: mean for name, mean in means.items() if is_ours(name)})
        peer = _cheapest({name: mean for name, mean in means.items() if not is_ours(name) and not is_bound(name)})
        if ours is None:
            continue
        over = words.plural(len(frontier), "trace")
        sentence = f"At {level} % SLO attainment {ours[0]} costs {words.multiple(ours[1])} the clairvoyant optimum (mean of {over})"
        if peer is not None:
            return f"{sentence}; the best peer, {peer[0]}, costs {words.multiple(peer[1])}"
        has_peers = any(not is_ours(name) and not is_bound(name) for name in policies)
        return f"{sentence}; no peer gets there on every trace" if has_peers else sentence
    return "What each policy costs for the service level it reaches"


def cost_curves(runs: Sequence[Mapping[str, object]]) -> dict[str, dict[str, list[dict[str, object]]]]:
    """`curves[trace][policy]` = points `{"knob", "cost", "slo", "seeds", "front"}` in order of cost.

    A point is the mean over the seeds of one knob value. `front` marks the points that no cheaper one of the same policy
    equals in attainment: the frontier that is drawn as a line. Runs whose cost or attainment is not known are left out.
    """
    found: dict[str, dict[str, dict[str, list[tuple[float, float]]]]] = {}
    for index, run in enumerate(runs):
        cost = known_number(run, "cost_vs_oracle", where=f"runs[{index}]")
        slo = ratio(run, "slo_attainment", where=f"runs[{index}]")
        if cost is None or slo is None:
            continue
        knobs = found.setdefault(text(run, "trace"), {}).setdefault(text(run, "policy"), {})
        knobs.setdefault(text(run, "knob"), []).append((cost, slo))
    return {
        trace: {policy: _curve(knobs) for policy, knobs in sorted(by_policy.items())}
        for trace, by_policy in sorted(found.items())
    }


def geometric_mean(costs: Sequence[float | None]) -> float | None:
    """None if any of them is not known (a level not reached on one trace is not averaged away) or there are none."""
    if not costs or any(cost is None for cost in costs):
        return None
    return math.exp(sum(math.log(cost) for cost in costs) / len(costs))


def is_ours(policy: str) -> bool:
    return policy.lower().startswith("quickstep")


def is_bound(policy: str) -> bool:
    """True for plans that know the future: a yardstick, not a rival."""
    return any(word in policy.lower() for word in ("clairvoyant", "oracle"))


def _curve(knobs: Mapping[str, list[tuple[float, float]]]) -> list[dict[str, object]]:
    points = []
    for knob, results in knobs.items():
        cost, slo = (math.fsum(values) / len(results) for values in zip(*results, strict=True))
        points.append({"knob": knob, "cost": round(cost, 5), "slo": round(slo, 7), "seeds": len(results)})
    best = -1.0
    for point in sorted(points, key=lambda point: (point["cost"], -point["slo"], point["knob"])):
        point["front"] = point["slo"] > best
        best = max(best, point["slo"])
    return sorted(points, key=lambda point: (point["cost"], point["slo"], point["knob"]))


def _policies(runs: Sequence[Mapping[str, object]], frontier: Frontier) -> list[str]:
    """All names: ours first, then peers, then plans that know the future."""
    names = {text(run, "policy") for run in runs} | {policy for by_policy in frontier.values() for policy in by_policy}
    return sorted(names, key=lambda name: (not is_ours(name), is_bound(name), name))


def _cheapest(means: Mapping[str, float | None]) -> tuple[str, float] | None:
    known = [(name, mean) for name, mean in sorted(means.items()) if mean is not None]
    return min(known, key=lambda item: item[1], default=None)


def _standfirst(runs: Sequence[Mapping[str, object]], frontier: Frontier) -> str:
    traces = {text(run, "trace") for run in runs} | set(frontier)
    policies = _policies(runs, frontier)
    return (
        f"{words.plural(len(runs), 'run')} of {words.plural(len(policies), 'policy', 'policies')} on {words.plural(len(traces), 'trace')}, all on the same "
        "physics and the same delays. Further left is cheaper, further up is better service."
    )


def _run_row(run: Mapping[str, object], index: int) -> list[object]:
    where = f"runs[{index}]"
    ratio(run, "slo_attainment", where=where)
    as_text = ("trace", "policy")
    row: list[object] = []
    for key in RUN_COLUMNS:
        if key in as_text or isinstance(run.get(key), str):
            row.append(text(run, key))
            continue
        value = known_number(run, key, where=where)
        row.append(None if value is None else float(f"{value:.6g}"))
    return row


def _level_table(frontier: Frontier, policies: Sequence[str], level: str) -> str:
    """Costs at one level, a row per policy, cheapest mean first; the best of each column (bounds aside) is marked."""
    traces = sorted(frontier)
    rows = []
    for policy in policies:
        costs = [
            known_number(frontier[trace].get(policy) or {}, level, where=f"frontier[{trace}][{policy}]")
            for trace in traces
        ]
        known = [cost for cost in costs if cost is not None]
        worst = max(known) if known and len(known) == len(costs) else None
        rows.append((policy, [*costs, geometric_mean(costs), worst]))
    rows.sort(key=lambda row: (row[1][-2] is None, row[1][-2] or 0, -sum(cost is not None for cost in row[1]), row[0]))
    rivals = [costs for policy, costs in rows if not is_bound(policy)]
    best = [min((costs[i] for costs in rivals if costs[i] is not None), default=None) for i in range(len(traces) + 2)]
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in [*traces, "Mean", "Worst"])
    body = "".join(
        f'<tr class="{_row_class(policy)}"><th scope="row">{escape(policy)}</th>'
        + "".join(_cost_cell(cost, best[i], is_bound(policy), i >= len(traces)) for i, cost in enumerate(costs))
        + "</tr>"
        for policy, costs in rows
    )
    caption = f"Cost at {level} % SLO attainment, in multiples of the clairvoyant optimum"
    return (
        f'<div class="level" data-level="{level}"><h3>{caption}</h3><div class="scroll" tabindex="0" role="region" aria-label="{caption}">'
        f'<table class="costs"><thead><tr><th scope="col">Policy</th>{heads}</tr></thead><tbody>{body}</tbody></table></div></div>'
    )


def _row_class(policy: str) -> str:
    return "ours" if is_ours(policy) else "bound" if is_bound(policy) else "peer"


def _cost_cell(cost: float | None, best: float | None, bound: bool, summary: bool) -> str:
    classes = " ".join(
        name
        for name, on in (
            ("summary", summary),
            ("best", cost is not None and cost == best and not bound),
            ("unreached", cost is None),
        )
        if on
    )
    attribute = f' class="{classes}"' if classes else ""
    return f"<td{attribute}>{'not reached' if cost is None else f'{cost:.2f}'}</td>"
