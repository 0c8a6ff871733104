"""What happened in a run, as rows: supply and load every ten seconds, decisions, alarms, and notable events."""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.account import EmulatedAccount
from simulator.aws.sagemaker_ledger import SupplyPoint
from simulator.oracle import fluid_demand
from simulator.physics.fleet import CopyFleet
from simulator.physics.requests import RequestLog, Status
from simulator.scenario import Scenario
from simulator.traffic.load import Traffic

PERIOD_S = 10.0
WRITES = ("UpdateInferenceComponentRuntimeConfig", "UpdateEndpointWeightsAndCapacities")


@dataclass(frozen=True, eq=False)
class Timeline:
    """The run in columns and rows; times in rows are seconds since the start of the run."""

    rows: list[dict[str, Any]]
    copies: list[int]
    copies_desired: list[int]
    instances_billed: list[int]
    decisions: list[dict[str, Any]]
    alarms: list[dict[str, Any]]
    events: list[dict[str, Any]]
    activities: list[dict[str, Any]]
    notes: list[str]
    time_to_alarm_s: float | None
    scaling_time_s: float | None


def collect(
    account: EmulatedAccount, fleet: CopyFleet, resource_id: str, scenario: Scenario, traffic: Traffic
) -> Timeline:
    """Read the finished run out of the account."""
    start_s, end_s = traffic.start_s, traffic.end_s
    supply = _per_period(account.sagemaker.timeline(resource_id), start_s, end_s)
    decisions = _decisions(account, start_s)
    alarms = _alarms(account, start_s)
    per_copy = _concurrency(account, resource_id, start_s, end_s)
    rows = _rows(fleet, scenario, traffic, supply, decisions, per_copy)
    first_alarm_s = next((a["t"] for a in alarms if a["to"] == "ALARM" and a["name"].endswith("--high")), None)
    threshold = float(account.stack.parameters["HighAlarmThresholdConcurrentRequests"])
    return Timeline(
        rows=rows,
        copies=[p.current_copies for p in supply],
        copies_desired=[p.desired_copies for p in supply],
        instances_billed=[p.instances_billed for p in supply],
        decisions=decisions,
        alarms=alarms,
        events=_events(account, start_s),
        activities=_activities(account, start_s),
        notes=_notes(account),
        time_to_alarm_s=_time_to_alarm_s(per_copy, threshold, first_alarm_s),
        scaling_time_s=_scaling_time_s(account.sagemaker.timeline(resource_id), first_alarm_s, start_s),
    )


def _per_period(points: tuple[SupplyPoint, ...], start_s: float, end_s: float) -> list[SupplyPoint]:
    """What was so at the end of every period: changes show in the period in which they happened."""
    times = [p.at_s for p in points]
    ends = np.arange(start_s + PERIOD_S, end_s + PERIOD_S / 2, PERIOD_S)
    return [points[max(0, bisect_right(times, at_s) - 1)] for at_s in ends]


def _rows(
    fleet: CopyFleet,
    scenario: Scenario,
    traffic: Traffic,
    supply: list[SupplyPoint],
    decisions: list[dict[str, Any]],
    per_copy: dict[int, float],
) -> list[dict[str, Any]]:
    start_s = traffic.start_s
    needed = fluid_demand(traffic.arrivals, scenario.profile, start_s=start_s, end_s=start_s + len(supply) * PERIOD_S)
    ttft_s, lost = _by_arrival(fleet.log, start_s, len(supply))
    price = scenario.profile.instance_usd_per_hour
    sized = [(d["t"], d["demand"], d["desired"], *_sizing(d["steps"])) for d in decisions]
    rows, k, demand, decided, worth, expected = [], 0, None, None, None, None
    for i, point in enumerate(supply):
        t = i * PERIOD_S
        while k < len(sized) and sized[k][0] <= t + PERIOD_S:
            _, demand, decided, worth, expected = sized[k]
            k += 1
        load = per_copy.get(i)
        rows.append(
            {
                "t": t,
                "demand": demand,
                "decided": decided,
                "copies_worth": worth,
                "expected_copies": expected,
                "in_flight": None if load is None else round(load * point.current_copies, 3),
                "in_flight_per_copy": None if load is None else round(load, 4),
                "desired": point.desired_copies,
                "current": point.current_copies,
                "instances_desired": point.instances_desired,
                "instances": point.instances_in_service,
                "needed": round(float(needed[i]), 4),
                "ttft_p95_s": ttft_s[i],
                "lost": lost[i],
                "cost_per_hour_usd": round(price * point.instances_billed, 4),
            }
        )
    return rows


def _sizing(steps: list[dict[str, Any]]) -> tuple[float | None, float | None]:
    """(load of now, most load expected within the lead time) in copies' worth, as demand sizing saw it; None without it."""
    for step in steps:
        for said in step["inputs"].values():
            if isinstance(said, dict) and "expected" in said:
                return said["copies_worth"], said["expected"]
    return None, None


def _by_arrival(log: RequestLog, start_s: float, periods: int) -> tuple[list[float | None], list[int]]:
    """TTFT p95 and losses of the requests that arrived in each period."""
    index = np.minimum(((log.arrival_s - start_s) // PERIOD_S).astype(np.int64), periods - 1)
    lost = np.bincount(
        index[np.isin(log.status, [Status.LOST_TIMEOUT, Status.LOST_NO_CAPACITY, Status.LOST_BROKEN])],
        minlength=periods,
    )
    p95: list[float | None] = [None] * periods
    served = np.isfinite(log.ttft_s)
    order = np.argsort(index[served], kind="stable")
    at, ttft_s = index[served][order], log.ttft_s[served][order]
    edges = np.searchsorted(at, np.arange(periods + 1))
    for i in range(periods):
        if edges[i + 1] > edges[i]:
            p95[i] = round(float(np.percentile(ttft_s[edges[i] : edges[i + 1]], 95)), 4)
    return p95, lost.tolist()


def _concurrency(account: EmulatedAccount, resource_id: str, start_s: float, end_s: float) -> dict[int, float]:
    """Mean requests in flight per copy, by period; absent where SageMaker published nothing."""
    return {
        round((at_s - start_s) / PERIOD_S): mean
        for at_s, mean in account.concurrency_history(resource_id)
        if start_s <= at_s < end_s
    }


def _decisions(account: EmulatedAccount, start_s: float) -> list[dict[str, Any]]:
    found = []
    for line in account.logs:
        record = line.fields.get("decision") if line.fields else None
        if record is None or "steps" not in record:
            continue
        name = record["target"].rsplit("/", 1)[-1]
        found.append(
            {
                "t": round(record["at_s"] - start_s, 3),
                "component": name,
                "by": line.function,
                **{
                    key: record.get(key)
                    for key in (
                        "desired",
                        "baseline",
                        "current",
                        "demand",
                        "reason",
                        "detail",
                        "steps",
                        "outcome",
                        "outcome_detail",
                    )
                },
                "why": record.get("why"),
                "word": record.get("word"),
            }
        )
    return found


def _alarms(account: EmulatedAccount, start_s: float) -> list[dict[str, Any]]:
    return [
        {"name": h.alarm_name, "t": round(h.at_s - start_s, 3), "from": h.before, "to": h.after, "reason": h.reason}
        for h in account.alarm_transitions()
    ]


def _events(account: EmulatedAccount, start_s: float) -> list[dict[str, Any]]:
    found = []
    for call in account.sagemaker.calls:
        if call.operation in WRITES:
            found.append(
                {
                    "t": round(call.at_s - start_s, 3),
                    **_asked(call.operation, call.params, call.outcome),
                }
            )
    for line in account.logs:
        note = line.fields.get("note") if line.fields else None
        if note:
            found.append({"t": round(line.at_s - start_s, 3), "what": note["what"], "detail": note["detail"]})
    for execution in account.executions():
        found.append(
            {"t": round(execution.start_s - start_s, 3), "what": "loop began", "detail": execution.identity.name}
        )
        if execution.stop_s is not None:
            detail = f"{execution.identity.name}: {execution.status}"
            found.append({"t": round(execution.stop_s - start_s, 3), "what": "loop ended", "detail": detail})
    return sorted(found, key=lambda e: (e["t"], e["what"], e["detail"]))


def _asked(operation: str, params: dict[str, Any], outcome: str) -> dict[str, str]:
    if operation == "UpdateInferenceComponentRuntimeConfig":
        unit, count = "copies", params["DesiredRuntimeConfig"]["CopyCount"]
    else:
        unit, count = "instances", params["DesiredWeightsAndCapacities"][0].get("DesiredInstanceCount")
    if outcome != "ok":
        return {"what": f"{unit} refused", "detail": f"asked for {count} {unit}: {outcome}"}
    return {"what": f"{unit} asked", "detail": f"asked for {count} {unit}"}


def _activities(account: EmulatedAccount, start_s: float) -> list[dict[str, Any]]:
    found = []
    for document in account.registry_documents("ACTIVITY#"):
        row = json.loads(document)
        row.pop("decision", None)
        row["t"] = round(row.pop("start_s") - start_s, 3)
        found.append(row)
    return sorted(found, key=lambda row: (row["t"], row["activity_id"]))


def _notes(account: EmulatedAccount) -> list[str]:
    notes = [
        "Virtual time: handlers, state machine, alarms and the endpoint run on one clock; nothing here was measured on AWS.",
        "Start-up times are drawn from lognormal distributions with AWS's published medians.",
    ]
    waiting = len(account.dead_letters)
    if waiting:
        notes.append(f"{waiting} events are in the dead-letter queue.")
    return notes


def _time_to_alarm_s(per_copy: dict[int, float], threshold: float, first_alarm_s: float | None) -> float | None:
    """From the beginning of the rise that ended in the first high alarm until that alarm (AWS's `time_to_alarm`)."""
    if first_alarm_s is None:
        return None
    high = sorted(k for k, load in per_copy.items() if load > threshold and k * PERIOD_S < first_alarm_s)
    if not high:
        return None
    begin = high[-1]
    while begin - 1 in per_copy and per_copy[begin - 1] > threshold:
        begin -= 1
    return round(first_alarm_s - begin * PERIOD_S, 3)


def _scaling_time_s(points: tuple[SupplyPoint, ...], first_alarm_s: float | None, start_s: float) -> float | None:
    """From the first high alarm until the copies asked because of it serve (AWS's `scaling_time`); None if they never do."""
    if first_alarm_s is None:
        return None
    after = [p for p in points if p.at_s - start_s >= first_alarm_s]
    moved = False
    before = [p for p in points if p.at_s - start_s < first_alarm_s]
    wanted = before[-1].desired_copies if before else 0
    for point in after:
        moved = moved or point.desired_copies > wanted
        if moved and point.current_copies >= point.desired_copies:
            return round(point.at_s - start_s - first_alarm_s, 3)
    return None
