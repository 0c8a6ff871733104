"""How good a run was: what users got, what it cost, and how well supply followed demand.

A request is good if it is served, its first token comes within 2 s + 5 × its own prefill, and its last one within that
limit + inter-token SLO × output tokens. (A limit on each request's own time per token would fail 5 % of short answers
even with capacity to spare.) Elasticity metrics are those of SPEC's cloud group ("Ready for Rain?", SPEC-RG-2016-01).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from simulator.oracle import LAUNCH_S, PERIOD_S, clairvoyant_plan, fluid_demand, whole_copies
from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import Arrivals, RequestLog, Status

TTFT_SLO_S = 2.0
TTFT_PREFILLS = 5.0
_MINUTE_S = 60.0


@dataclass(frozen=True, eq=False)
class Supply:
    """What was there, per `period_s` from `start_s` on."""

    start_s: float
    copies: Sequence[int]
    """Copies that served."""
    instances: Sequence[int]
    """Instances that were paid for, from launch to termination."""
    wanted: Sequence[int] | None = None
    """Copies asked for; changes are counted here if given, else on `copies`."""
    period_s: float = PERIOD_S


@dataclass(frozen=True, slots=True)
class Score:
    """The figures of one run, by the names of result.json. None = cannot be known from this run."""

    requests: int
    lost: int
    """Never served: client left, no capacity, or broken on the way."""
    late: int
    """Served but over the SLO, or still open with a limit already passed."""
    slo_attainment: float | None
    """Good requests / requests whose fate is known, 0 to 1. Open requests inside their limits are not known."""
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    ttft_p99_s: float | None
    copy_hours: float
    instance_hours: float
    cost_usd: float
    oracle_cost_usd: float
    """The clairvoyant lower bound for serving everything, on full instances."""
    cost_vs_oracle: float | None
    theta_u: float
    """Mean relative shortage of copies, percent of demand."""
    theta_o: float
    """Mean relative excess of copies, percent of demand (of 1 copy where demand is 0)."""
    tau_u: float
    """Share of time short of copies, percent."""
    tau_o: float
    """Share of time with more copies than demanded, percent."""
    instability: float
    """Share of minutes in which supply and demand moved in different directions, percent."""
    scale_outs: int
    scale_ins: int
    changes: int
    """Scale-outs plus scale-ins."""
    longest_shortage_s: float

    def to_dict(self) -> dict[str, float | int | None]:
        """The fields, in order, as they stand in result.json."""
        return asdict(self)


def score_run(
    log: RequestLog,
    supply: Supply,
    profile: ServiceProfile,
    *,
    arrivals: Arrivals,
    min_copies: int = 1,
    max_copies: int | None = None,
    launch_s: float = LAUNCH_S,
) -> Score:
    """Score a run on `profile` that `supply` served, `arrivals` being what users asked for.

    The optimum is bounded by `min_copies` and `max_copies` (None = what the peak demands). Demand is compared over
    exactly the time that `supply` covers. ValueError if supply is empty or its columns differ in length.
    """
    copies, instances = np.asarray(supply.copies), np.asarray(supply.instances)
    if not len(copies) or len(copies) != len(instances):
        raise ValueError(
            f"supply has {len(copies)} copy and {len(instances)} instance counts; give one of each per period"
        )
    end_s = supply.start_s + len(copies) * supply.period_s
    demand = fluid_demand(arrivals, profile, start_s=supply.start_s, end_s=end_s, period_s=supply.period_s)
    needed = whole_copies(demand, min_copies)
    most = max(int(needed.max()) if max_copies is None else max_copies, min_copies)
    plan = clairvoyant_plan(demand, min_copies=min_copies, max_copies=most, period_s=supply.period_s, launch_s=launch_s)
    good, late = _good_and_late(log, profile)
    lost = sum(log.count(status) for status in (Status.LOST_TIMEOUT, Status.LOST_NO_CAPACITY, Status.LOST_BROKEN))
    return Score(
        **request_figures(len(log), good=good, late=late, lost=lost, ttft_s=log.ttft_s[np.isfinite(log.ttft_s)]),
        **supply_figures(
            copies,
            instances,
            copies if supply.wanted is None else np.asarray(supply.wanted),
            needed=needed,
            oracle_copy_s=plan.cost_copy_s,
            profile=profile,
            period_s=supply.period_s,
        ),
    )


def request_figures(requests: int, *, good: int, late: int, lost: int, ttft_s: np.ndarray) -> dict[str, Any]:
    """What users got, by the names of `Score`. `ttft_s`: times to first token of the requests that have one."""
    known = good + late + lost
    p50, p95, p99 = np.percentile(ttft_s, [50, 95, 99]).tolist() if len(ttft_s) else (None, None, None)
    return {
        "requests": requests,
        "lost": lost,
        "late": late,
        "slo_attainment": good / known if known else None,
        "ttft_p50_s": p50,
        "ttft_p95_s": p95,
        "ttft_p99_s": p99,
    }


def supply_figures(
    copies: np.ndarray,
    instances: np.ndarray,
    asked: np.ndarray,
    *,
    needed: np.ndarray,
    oracle_copy_s: float,
    profile: ServiceProfile,
    period_s: float,
) -> dict[str, Any]:
    """What it cost and how well supply followed demand, by the names of `Score`.

    Arrays hold one count per period: copies that served, instances that were paid for, copies asked for, and whole
    copies `needed`.
    """
    cost_usd = float(instances.sum()) * period_s / 3600 * profile.instance_usd_per_hour
    oracle_cost_usd = oracle_copy_s / 3600 * profile.copy_usd_per_hour
    moves = np.diff(asked)
    return {
        "copy_hours": float(copies.sum()) * period_s / 3600,
        "instance_hours": float(instances.sum()) * period_s / 3600,
        "cost_usd": cost_usd,
        "oracle_cost_usd": oracle_cost_usd,
        "cost_vs_oracle": cost_usd / oracle_cost_usd if oracle_cost_usd else None,
        **elasticity(copies, needed, period_s),
        "scale_outs": int((moves > 0).sum()),
        "scale_ins": int((moves < 0).sum()),
        "changes": int((moves != 0).sum()),
        "longest_shortage_s": max((end - first for first, end in stretches(needed > copies)), default=0) * period_s,
    }


def elasticity(copies: np.ndarray, needed: np.ndarray, period_s: float) -> dict[str, float]:
    """SPEC's elasticity metrics, percent: how much and how often too little or too much, and instability by the minute.

    On minutes, since at 10 s the noise of demand alone decides the last one.
    """
    short, over, base = np.maximum(needed - copies, 0), np.maximum(copies - needed, 0), np.maximum(needed, 1)
    stride = max(1, round(_MINUTE_S / period_s))
    supply_moves, demand_moves = np.sign(np.diff(copies[::stride])), np.sign(np.diff(needed[::stride]))
    apart = np.minimum(np.abs(supply_moves - demand_moves), 1)
    return {
        "theta_u": 100 * float((short / base).mean()),
        "theta_o": 100 * float((over / base).mean()),
        "tau_u": 100 * float((short > 0).mean()),
        "tau_o": 100 * float((over > 0).mean()),
        "instability": 100 * float(apart.mean()) if len(apart) else 0.0,
    }


def stretches(mask: np.ndarray) -> list[tuple[int, int]]:
    """(first, one past the last) of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def slo_limits(
    profile: ServiceProfile, input_tokens: np.ndarray | float, output_tokens: np.ndarray | float
) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Latest times, from the first attempt, for the first and for the last token of a good request."""
    ttft_s = TTFT_SLO_S + TTFT_PREFILLS * profile.prefill_s(input_tokens)
    return ttft_s, ttft_s + profile.itl_slo_s * output_tokens


def _good_and_late(log: RequestLog, profile: ServiceProfile) -> tuple[int, int]:
    ttft_limit_s, e2e_limit_s = slo_limits(profile, log.input_tokens, log.output_tokens)
    served, still_open = log.status == Status.SERVED, log.status == Status.OPEN
    good = served & (log.ttft_s <= ttft_limit_s) & (log.e2e_s <= e2e_limit_s)
    age_s = log.until_s - log.arrival_s
    no_token = np.isnan(log.ttft_s) & (age_s > ttft_limit_s)
    overdue = still_open & (no_token | (log.ttft_s > ttft_limit_s) | (age_s > e2e_limit_s))
    return int(good.sum()), int((served & ~good).sum() + overdue.sum())
