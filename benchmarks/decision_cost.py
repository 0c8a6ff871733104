"""What one decision costs: CPU of the pipeline with learned state, CPU of the hourly learning, bytes kept in the registry.

python benchmarks/decision_cost.py              the table
python benchmarks/decision_cost.py --json       the same as JSON; --json FILE writes it
python benchmarks/decision_cost.py --document docs/sizing.md     puts the table between the document's markers

The load is a seeded draw: two waves a day, minutes that scatter, a level that wanders, so that headroom and season are
both learned. State is built by the deployed code, hour by hour, and written and read back through the deployed registry
on the emulated account's table. CPU is of this machine, the median of many calls.

Exit codes: 0 within the budgets, 1 above one of them, 2 unusable input.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from quickstep.capacity.growth import joined
from quickstep.gateways.registry import Registry
from quickstep.model.observation import (
    Alarm,
    AlarmState,
    Component,
    ComponentStatus,
    Datapoint,
    Endpoint,
    EndpointStatus,
    Metrics,
    Observation,
    Requirements,
    Series,
    ServingChange,
    Variant,
)
from quickstep.model.state import Change, Minutes, TargetState, VariantState
from quickstep.model.targets import DemandPolicy, ScalableTarget
from quickstep.policy.pipeline import decide
from quickstep.usecases.gather import HISTORY_S
from quickstep.usecases.learn import learned
from simulator.bench.deployed import COMPONENT, ENDPOINT, VARIANT, deployed
from simulator.clock import EPOCH_S
from simulator.run import staged
from simulator.scenario import Scenario
from simulator.traffic.load import load_traffic

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- decision-cost:begin -->", "<!-- decision-cost:end -->"
MOST_CPU_MS, MOST_STATE_BYTES = 5.0, 100_000
DAYS = (0, 1, 14)
CALLS, LEARNINGS, SEED = 300, 5, 5
NUMERIC = ("numpy", "scipy", "pandas", "statsmodels", "sklearn", "numba", "torch", "polars", "pyarrow")
"""Top-level packages that are numeric libraries; none may be imported by a Lambda."""
_IMPORTED = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("app", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(json.dumps(sorted(sys.modules)))
"""


@dataclass(frozen=True)
class Cost:
    """With `days` of learned state."""

    days: int
    decide_ms: float
    """CPU of one decision: every stage, with the whole metric history that is fetched."""
    decide_p99_ms: float
    learn_ms: float | None
    """CPU of one learning, at most once an hour; None where nothing is learned yet."""
    state_bytes: int
    """The target's state in the registry (item size as DynamoDB counts it)."""
    load_bytes: int
    """The target's load history in the registry."""

    @property
    def kept_bytes(self) -> int:
        return self.state_bytes + self.load_bytes

    @property
    def within_budget(self) -> bool:
        return self.decide_ms <= MOST_CPU_MS and self.kept_bytes <= MOST_STATE_BYTES


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", nargs="?", const="-", metavar="OUT", help="to a file or standard output")
    parser.add_argument("--days", type=int, action="append", help="days of learned state (0, 1 and 14)")
    parser.add_argument("--document", type=Path, metavar="FILE", help="write the table between this file's markers")
    given = parser.parse_args(words)
    try:
        costs = [measured(days) for days in given.days or DAYS]
        modules = imported_by("on_alarm")
        numeric = numeric_among(modules)
        if given.document is not None:
            text = given.document.read_text(encoding="utf-8")
            given.document.write_text(with_table(text, costs, len(modules), numeric), encoding="utf-8")
        if given.json is not None:
            rows = [asdict(cost) | {"kept_bytes": cost.kept_bytes} for cost in costs]
            found = {"costs": rows, "modules": len(modules), "numeric_modules": numeric}
            text = json.dumps(found, indent=1, sort_keys=True)
            if given.json == "-":
                print(text)
            else:
                Path(given.json).write_text(text + "\n", encoding="utf-8")
        else:
            print(table(costs, len(modules), numeric))
    except FileNotFoundError as error:
        print(f"decision_cost: there is no {error.filename}; name a document that exists", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"decision_cost: {error}", file=sys.stderr)
        return 2
    return 0 if all(cost.within_budget for cost in costs) and not numeric else 1


def measured(days: int) -> Cost:
    """Cost with `days` (0 or more, else ValueError) of learned state."""
    if days < 0:
        raise ValueError(f"--days {days} is below 0; give 0 for a target that has learned nothing")
    target = deployed(5.0, min_copies=1, max_copies=64).target
    now_s = EPOCH_S + days * 86_400.0 + 12 * 3600.0
    state, history = state_after(target, days, now_s)
    # An hour of minutes waits to be learned from: the largest that a state is.
    waiting = replace(state, load=Minutes(now_s - 3600.0, tuple(_levels(60, from_s=now_s - 3600.0))))
    observation = _observation(target, now_s)
    decisions_ms = sorted(_cpu_ms(lambda: decide(target, observation, waiting, now_s), CALLS))
    learn_ms = None
    if history is not None:
        variant = VariantState(startup_s=(330.0, 410.0, 365.0))
        learn_ms = median(_cpu_ms(lambda: learned(target, waiting, history, variant, now_s), LEARNINGS))
    state_bytes, load_bytes = _stored_bytes(target, decide(target, observation, waiting, now_s).state, history)
    return Cost(
        days=days,
        decide_ms=round(median(decisions_ms), 2),
        decide_p99_ms=round(decisions_ms[int(0.99 * len(decisions_ms))], 2),
        learn_ms=None if learn_ms is None else round(learn_ms, 1),
        state_bytes=state_bytes,
        load_bytes=load_bytes,
    )


def state_after(target: ScalableTarget, days: int, now_s: float) -> tuple[TargetState, Minutes | None]:
    """(state, load history) of `target` after `days` of learning; the hour before `now_s` is not among them yet."""
    state = TargetState(
        serving=tuple(ServingChange(now_s - 3600.0 + 120.0 * i, 3 + i % 9) for i in range(30)),
        wish=8,
        wish_at_s=now_s - 300.0,
        last_scale_out=Change(now_s - 900.0, 7, 8, "default-demand"),
        last_scale_in=Change(now_s - 2000.0, 8, 7, "default-demand"),
        turns_s=tuple(now_s - 80_000.0 + 4000.0 * i for i in range(20)),
        startup_s=tuple(340.0 + 7.0 * i for i in range(20)),
        service_s=9.5,
        service_at_s=now_s - 120.0,
        last_look_s=now_s - 10.0,
    )
    history: Minutes | None = None
    variant = VariantState(startup_s=(330.0, 410.0, 365.0))
    # What was learned before the kept history makes no difference: only the last five days are gone through.
    for hour in range(max(0, days - 5) * 24, days * 24):
        ends_s = now_s - 3600.0 * (days * 24 - hour)
        minutes = Minutes(ends_s - 3600.0, tuple(_levels(60, from_s=ends_s - 3600.0)))
        if hour < days * 24 - 1:
            # All but the last hour only joins the history: learning from each would take minutes and leave the same.
            history = joined(history, minutes)
        else:
            state, history = learned(target, replace(state, load=minutes), history, variant, ends_s)
    return state, history


def imported_by(function: str) -> tuple[str, ...]:
    """Every module that is in memory once the handler of functions/`function` has been imported, in a fresh process."""
    app = ROOT / "functions" / function / "app.py"
    if not app.is_file():
        raise ValueError(f"there is no {app.relative_to(ROOT)}; name a directory of functions/")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "layers" / "core"), "AWS_DEFAULT_REGION": "eu-west-1"}
    found = subprocess.run(
        [sys.executable, "-c", _IMPORTED, str(app)], capture_output=True, text=True, check=False, env=environment
    )
    if found.returncode:
        raise ValueError(f"functions/{function} cannot be imported: {found.stderr.strip().splitlines()[-1]}")
    return tuple(json.loads(found.stdout))


def numeric_among(modules: Sequence[str]) -> list[str]:
    """The numeric libraries among `modules`."""
    return sorted({name.split(".")[0] for name in modules} & set(NUMERIC))


def table(costs: Sequence[Cost], modules: int, numeric: Sequence[str]) -> str:
    """For people, in Markdown."""
    lines = [
        "| learned from | decision, CPU ms (median / p99) | learning, CPU ms (once an hour) "
        "| state, bytes | load history, bytes | together |",
        "|---|---|---|---|---|---|",
    ]
    for c in costs:
        learning = "-" if c.learn_ms is None else f"{c.learn_ms:.0f}"
        of = "nothing yet" if c.days == 0 else f"{c.days} day{'s' if c.days > 1 else ''}"
        lines.append(
            f"| {of} | {c.decide_ms:.2f} / {c.decide_p99_ms:.2f} | {learning} "
            f"| {c.state_bytes:,} | {c.load_bytes:,} | {c.kept_bytes:,} |"
        )
    lines += [
        "",
        f"Budgets: {MOST_CPU_MS:g} ms of CPU for a decision, {MOST_STATE_BYTES:,} bytes for a component. OnAlarm has "
        f"{modules} modules in memory, numeric libraries among them: {', '.join(numeric) or 'none'}.",
    ]
    return "\n".join(lines)


def with_table(document: str, costs: Sequence[Cost], modules: int, numeric: Sequence[str]) -> str:
    """`document` with the table between its markers. ValueError if they are not there."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the lines {BEGIN} and {END}, in this order")
    return f"{before}{BEGIN}\n{table(costs, modules, numeric)}\n{END}{after}"


def _levels(minutes: int, *, from_s: float) -> list[float]:
    """Copies' worth by the minute: the same for a minute whenever it is asked for."""
    found = []
    for minute in range(minutes):
        at_s = from_s + 60.0 * minute
        draw = random.Random(f"{SEED}/{round(at_s)}")
        hours = at_s / 3600.0
        wave = 8.0 + 4.0 * math.sin(2 * math.pi * hours / 24) + 1.5 * math.sin(2 * math.pi * hours / 5.3)
        found.append(round(max(0.0, wave * draw.lognormvariate(0.0, 0.15)), 2))
    return found


def _observation(target: ScalableTarget, now_s: float) -> Observation:
    """Eight copies that serve, and as much history as is fetched of every metric."""
    hold_s = max(p.scale_in_hold_s for p in target.policies if isinstance(p, DemandPolicy))
    points = int(max(HISTORY_S, 4 * hold_s + 120.0) // 10)
    draw = random.Random(SEED)
    concurrency = Series(
        10.0,
        tuple(
            Datapoint(now_s - 10.0 * (points + 1 - i), average=draw.uniform(3, 6), maximum=draw.uniform(6, 9))
            for i in range(points)
        ),
    )
    minutes = points // 6
    invocations = Series(
        60.0, tuple(Datapoint(now_s - 60.0 * (minutes - i), draw.uniform(90, 200)) for i in range(minutes))
    )
    latency = Series(60.0, tuple(Datapoint(now_s - 60.0 * (minutes - i), draw.uniform(7, 12)) for i in range(minutes)))
    alarms = tuple(Alarm(n, AlarmState.OK, now_s - 600.0, 5.0, not n.endswith("low")) for n in target.alarm_names)
    variant = Variant(VARIANT, "ml.g5.12xlarge", 8, 8)
    return Observation(
        now_s,
        target.target_id,
        Endpoint(ENDPOINT, EndpointStatus.IN_SERVICE, (variant,), config_name=ENDPOINT),
        Component(COMPONENT, ENDPOINT, VARIANT, ComponentStatus.IN_SERVICE, 8, 8, Requirements(1, memory_mb=1024)),
        Metrics(concurrency, invocations, None, latency),
        alarms,
    )


def _cpu_ms(call: Callable[[], Any], times: int) -> list[float]:
    call()
    found = []
    for _ in range(times):
        begun = time.process_time_ns()
        call()
        found.append((time.process_time_ns() - begun) / 1e6)
    return found


def _stored_bytes(target: ScalableTarget, state: TargetState, history: Minutes | None) -> tuple[int, int]:
    """(state, load history): item sizes after the deployed registry has written them to the emulated table."""
    scenario = Scenario(name="cost")
    with staged(load_traffic("1x1", profile=scenario.profile), scenario, template=ROOT / "template.yaml") as stage:
        table_name = stage.account.stack["RegistryTable"].name
        registry = Registry(table_name)
        lease = registry.acquire_lease(target.endpoint, holder="cost", now_s=EPOCH_S, ttl_s=60.0)
        registry.save_target_state(lease, target.target_id, state)
        if history is not None:
            registry.write_load(target.target_id, history)
        items = stage.account.call("dynamodb", "Scan", {"TableName": table_name})["Items"]
    rid = target.target_id.resource_id
    by_key = {(item["pk"]["S"], item["sk"]["S"]): item for item in items}
    load = by_key.get((f"LOAD#{rid}", "MINUTES"))
    return _item_bytes(by_key[(f"ENDPOINT#{target.endpoint}", f"STATE#{rid}")]), 0 if load is None else _item_bytes(
        load
    )


def _item_bytes(item: dict[str, dict[str, str]]) -> int:
    """As DynamoDB counts: attribute names and values in UTF-8, a number by its digits."""
    size = 0
    for name, value in item.items():
        ((kind, text),) = value.items()
        digits = len(text.lstrip("-0.").replace(".", ""))
        size += len(name.encode()) + (math.ceil(digits / 2) + 1 if kind == "N" else len(text.encode()))
    return size


if __name__ == "__main__":
    sys.exit(main())
