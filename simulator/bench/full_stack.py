"""Is the benchmark's Quickstep the deployed one? The same slice through handlers, state machine and emulated account.

Both see the same requests and draw the same launches. They cannot stay in step for ever: a look that comes a second later
may see one datapoint more, and from then on each follows its own copies. So beside the first changes, which agree, the
figures of a whole day are compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from simulator.aws.sagemaker_delays import Delays, DelayStream
from simulator.bench.compiled_fleet import CompiledFleet, TraceColumns
from simulator.bench.deployed import COMPONENT, ENDPOINT, TEMPLATE, VARIANT, deployed
from simulator.bench.ours import PERIOD_S, drive_ours
from simulator.bench.platform import AAS_RELEASE_S, Platform
from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import OpenArrivals
from simulator.run import staged
from simulator.scenario import Scenario
from simulator.score import Supply, score_run
from simulator.traffic.load import Traffic

COMPARED = ("slo_attainment", "copy_hours", "instance_hours", "cost_vs_oracle", "lost", "changes", "theta_u", "theta_o")


def compare(
    traffic: Traffic,
    profile: ServiceProfile,
    *,
    target_per_copy: float,
    copies: int,
    max_copies: int,
    managed: bool = False,
    seed: int = 1,
    template: Path = TEMPLATE,
) -> dict[str, Any]:
    """Run `traffic` (open loop) both ways: figures of both, how many first changes agree, and how long counts differ.

    `copies`: at the beginning. A simulated day takes the full stack about two minutes.
    """
    if not isinstance(traffic.arrivals, OpenArrivals):
        raise ValueError("the comparison takes open-loop traffic")
    length_s = traffic.end_s - traffic.start_s
    mode = "managed" if managed else "fixed"
    scenario = _scenario(profile, mode, target_per_copy=target_per_copy, copies=copies, max_copies=max_copies)
    with staged(traffic, scenario, template=template, seed=seed) as stage:
        stage.run_until(length_s)
        timeline, log = stage.collect(), stage.fleet.log
    fleet = CompiledFleet(profile, TraceColumns.of(traffic.arrivals), window_s=PERIOD_S, seed=seed)
    platform = Platform(
        fleet,
        DelayStream(Delays(), seed),
        copies=copies,
        min_copies=1,
        max_copies=max_copies,
        copies_per_instance=profile.copies_per_instance,
        managed=managed,
        release_apart_s=AAS_RELEASE_S,
    )
    drive_ours(platform, deployed(target_per_copy, min_copies=1, max_copies=max_copies), profile, length_s)
    supplies = {
        "full_stack": (
            np.array(timeline.copies),
            np.array(timeline.instances_billed),
            np.array(timeline.copies_desired),
        ),
        "bench": platform.per_period(length_s, PERIOD_S),
    }
    logs = {"full_stack": log, "bench": fleet.log(traffic.start_s)}
    figures = {
        name: score_run(
            logs[name],
            Supply(traffic.start_s, *supply),
            profile,
            arrivals=traffic.arrivals,
            max_copies=max_copies,
        ).to_dict()
        for name, supply in supplies.items()
    }
    return {name: {key: figures[name][key] for key in COMPARED} for name in supplies} | {
        "first_changes_that_agree": _agreeing(supplies["full_stack"][2], supplies["bench"][2]),
        "share_of_time_with_other_copies": float(np.mean(supplies["full_stack"][0] != supplies["bench"][0])),
    }


def _scenario(profile: ServiceProfile, mode: str, *, target_per_copy: float, copies: int, max_copies: int) -> Scenario:
    """The emulated account's endpoint with the names, and so the draws, of the benchmark's."""
    on_instances = -(-copies // profile.copies_per_instance)
    return Scenario.model_validate(
        {
            "name": "bench",
            "endpoint": {
                "name": ENDPOINT,
                "variant": VARIANT,
                "mode": mode,
                "initial_instances": on_instances,
                "managed_max_instances": -(-max_copies // profile.copies_per_instance),
            },
            "component": {
                "name": COMPONENT,
                "profile": profile.name,
                "initial_copies": copies,
                "max_copies": max_copies,
                "target_per_copy": target_per_copy,
            },
        }
    )


def _agreeing(theirs: np.ndarray, ours: np.ndarray) -> int:
    """How many changes from the beginning on are to the same counts, in periods at most one apart."""
    found = 0
    for (period_a, count_a), (period_b, count_b) in zip(_changes(theirs), _changes(ours), strict=False):
        if count_a != count_b or abs(period_a - period_b) > 1:
            break
        found += 1
    return found


def _changes(counts: np.ndarray) -> list[tuple[int, int]]:
    return [(int(k) + 1, int(counts[k + 1])) for k in np.flatnonzero(np.diff(counts))]
