"""The traffic of a scenario, as every command reads it: what the scenario says of its trace, or a trace given in its place."""

from __future__ import annotations

from simulator.cli.failures import UsageProblem
from simulator.clock import EPOCH_S
from simulator.scenario import Scenario
from simulator.traffic.load import Traffic, load_traffic
from simulator.traffic.rows import TraceError


def scenario_traffic(
    scenario: Scenario, *, trace: str | None = None, seed: int = 0, start_s: float = EPOCH_S
) -> Traffic:
    """Load the trace `trace`, or the scenario's own. Raises UsageProblem if there is none, or it cannot be used."""
    part = scenario.traffic
    wanted = trace or part.trace
    if wanted is None:
        raise UsageProblem("no traffic: give --trace, or a scenario with traffic.trace")
    try:
        return load_traffic(
            wanted,
            profile=scenario.profile,
            seed=seed,
            start_s=start_s,
            scale=part.scale,
            mean_copies=part.mean_copies,
            duration_s=part.duration_s,
            offset_s=part.offset_s,
        )
    except TraceError as error:
        raise UsageProblem(str(error)) from None
