"""A stage for scenario tests: the deployed stack, a fixture endpoint and a pattern of clients, in one line."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simulator.run import Stage, staged
from simulator.scenario import Scenario
from simulator.traffic.load import load_traffic

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
WRITES = ("UpdateInferenceComponentRuntimeConfig", "UpdateEndpointWeightsAndCapacities")


@contextmanager
def on_stage(pattern: str, *, mode: str = "fixed", policy: str = "StepsAndDemand", seed: int = 0, **parts: Any):
    """Run `pattern` at 5 requests per copy. `parts` are sections of the scenario; `account` options go in `options`."""
    options = parts.pop("options", {})
    scenario = Scenario(
        name="test",
        endpoint={"mode": mode, **parts.pop("endpoint", {})},
        component={"target_per_copy": 5, "max_copies": 10, **parts.pop("component", {})},
        traffic={"client_timeout_s": 600, **parts.pop("traffic", {})},
        **parts,
    )
    traffic = load_traffic(pattern, profile=scenario.profile, seed=seed)
    with staged(traffic, scenario, template=TEMPLATE, policy=policy, seed=seed, **options) as stage:
        yield stage


def writes(stage: Stage) -> list[tuple[float, str, int, str]]:
    """(seconds since the start, copies|instances, count, outcome) of every capacity write, in order."""
    found = []
    for call in stage.account.sagemaker.calls:
        if call.operation in WRITES:
            copies = call.operation == WRITES[0]
            count = (
                call.params["DesiredRuntimeConfig"]["CopyCount"]
                if copies
                else call.params["DesiredWeightsAndCapacities"][0]["DesiredInstanceCount"]
            )
            t_s = round(call.at_s - stage.traffic.start_s, 3)
            found.append((t_s, "copies" if copies else "instances", count, call.outcome))
    return found


def supply(stage: Stage, t_s: float):
    """Copies and instances at `t_s`."""
    return stage.account.sagemaker.supply_at(stage.resource_id, stage.traffic.start_s + t_s)


def decisions(stage: Stage) -> list[dict[str, Any]]:
    """Every logged decision, with `t` seconds since the start and the function that took it."""
    return [
        {**line.fields["decision"], "by": line.function, "t": line.fields["decision"]["at_s"] - stage.traffic.start_s}
        for line in stage.account.logs
        if line.fields and "decision" in line.fields
    ]


def errors(stage: Stage) -> list[str]:
    """Log lines of failures: there should be none on a fair day."""
    return [
        line.text for line in stage.account.logs if line.fields and line.fields.get("level") in ("ERROR", "WARNING")
    ]


def statuses(stage: Stage) -> list[str]:
    """How every execution of the loop ended, or RUNNING."""
    return [execution.status for execution in stage.account.executions()]
