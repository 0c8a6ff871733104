"""`quickstep suggest`: the target per copy that a target's own latency speaks for, with the evidence; `--apply` sets it."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Any

import typer

from quickstep import clock
from quickstep.capacity.bend import BEND_RATIO, Calibration
from quickstep.capacity.target_advice import LARGEST_STEP, Move
from quickstep.operate.suggestion import PARAMETER, NoTargetPerCopy, Suggestion, apply
from quickstep.operate.suggestion import suggest as suggested_for
from quickstep.policy.pace import LIMIT_SHARE
from simulator.cli.failures import UsageProblem, write_json
from simulator.cli.in_account import (
    DEFAULT_AFTER_S,
    DEFAULT_STACK,
    AfterOption,
    EmulateOption,
    JsonOption,
    ProfileOption,
    RegionOption,
    StackOption,
    in_account,
)
from simulator.cli.operate_commands import OneTarget, registered_target

LOW_SHARE = 0.9
"""The low alarm's threshold as a share of the target, as in Application Auto Scaling."""


def suggest(
    target: OneTarget,
    latency_ms: Annotated[
        float | None,
        typer.Option("--latency-ms", help="The longest that users should wait, ms; default: where latency bends."),
    ] = None,
    hours: Annotated[float, typer.Option(min=1, max=72, help="How far back to look.")] = 72.0,
    latency_statistic: Annotated[
        str, typer.Option("--latency-statistic", help="Average, or a percentile such as p90, of ModelLatency.")
    ] = "Average",
    apply_it: Annotated[
        bool, typer.Option("--apply", help=f"Set it, by at most a factor of {LARGEST_STEP:g} at once.")
    ] = False,
    stack: StackOption = DEFAULT_STACK,
    region: RegionOption = None,
    profile: ProfileOption = None,
    emulate: EmulateOption = None,
    after: AfterOption = DEFAULT_AFTER_S,
    json_out: JsonOption = None,
) -> None:
    """Suggest the target per copy from observed latency against concurrency: where latency bends, or reaches a limit.

    Exit code 1 if the evidence is not enough to say anything, or --apply may not set it; either way nothing is changed.
    """
    if latency_ms is not None and not 0 < latency_ms < 1e9:
        raise UsageProblem(f"--latency-ms is {latency_ms:g}; give milliseconds above 0")
    if not re.fullmatch(r"Average|p([1-9][0-9]?(\.[0-9]{1,2})?|100)", latency_statistic):
        raise UsageProblem(f"--latency-statistic is {latency_statistic!r}; give Average, or a percentile such as p90")
    if emulate is not None and latency_statistic != "Average":
        raise UsageProblem(
            f"the emulated account has no {latency_statistic} of latencies; leave --latency-statistic out"
        )
    with in_account(stack, region=region, profile=profile, emulate=emulate, after_s=after) as where:
        try:
            found = suggested_for(
                registered_target(where, target),
                quickstep=where.quickstep,
                registry=where.registry,
                records=where.context.records,
                now_s=clock.now_s(),
                hours=hours,
                latency_limit_s=None if latency_ms is None else latency_ms / 1000.0,
                latency_statistic=latency_statistic,
            )
        except NoTargetPerCopy as error:
            raise UsageProblem(str(error)) from None
        refusal = apply(found, where.quickstep) if apply_it else ""
    applied = apply_it and not refusal and found.advice is not None and found.advice.move is not Move.KEEP
    write_json(_document(found, applied=applied, refusal=refusal), json_out)
    if json_out != "-":
        print("\n".join(_lines(found, applied=applied, refusal=refusal)))
    if found.advice is None or refusal:
        raise typer.Exit(1)


def _document(found: Suggestion, *, applied: bool, refusal: str) -> dict[str, Any]:
    document = asdict(found)
    document["policy"].pop("row")
    return {**document, "applied": applied, "apply_refused": refusal, "next": _next(found, applied=applied)}


# -- words ------------------------------------------------------------------------------------------------------------


def _lines(found: Suggestion, *, applied: bool, refusal: str) -> list[str]:
    policy, evidence, advice = found.policy, found.calibration, found.advice
    lines = [f"{found.resource_id}: target {policy.value:g} requests in flight per copy now (policy {policy.name})"]
    if advice is None:
        lines.append(f"no suggestion: {evidence.unfit}: {evidence.detail}")
    elif advice.move is Move.KEEP:
        lines.append(f"keep it: by the law {advice.by_law:g}, between {advice.low:g} and {advice.high:g}")
    else:
        law = f"by the law {advice.by_law:g}, between {advice.low:g} and {advice.high:g}"
        lines.append(f"{advice.move} it to {advice.target:g} ({law})")
    if advice is not None and advice.held_by:
        lines.append(f"  {advice.held_by}")
    if advice is not None:
        lines += _why(evidence)
    lines += ["", *_table(found), ""]
    lines += [f"- {note}" for note in found.notes]
    if refusal and advice is not None:
        lines.append(refusal)
    else:
        lines += _next(found, applied=applied)
    while not lines[-1]:
        lines.pop()
    return lines


def _why(evidence: Calibration) -> list[str]:
    law, limit = evidence.law, evidence.limit
    assert law is not None and limit is not None
    goal = "your limit" if limit.is_given else f"the bend: {BEND_RATIO:.2f} times as long"
    return [
        f"  alone on a copy a request takes {_seconds(law.unloaded_s)}, with {law.doubling:.3g} beside it twice as long "
        f"({law.low:.3g} to {law.high:.3g})",
        f"  {_seconds(limit.latency_s)} ({goal}) is reached at {limit.per_copy:.3g} in flight per copy "
        f"({limit.low:.3g} to {limit.high:.3g}); {LIMIT_SHARE:g} of that is the target, the rest is for bursts",
    ]


def _table(found: Suggestion) -> list[str]:
    evidence = found.calibration
    about = f"{evidence.minutes} minutes of the last {found.hours:g} h, {evidence.requests} requests"
    if not evidence.bins:
        return [f"{about}; {found.latency_statistic} latency, {found.statistic} concurrency"]
    rows = [("in flight per copy", "minutes", "requests", "median latency", "same mix", "by the law")]
    for one in evidence.bins:
        rows.append(
            (
                f"{one.low:.2f} to {one.high:.2f}",
                str(one.minutes),
                str(one.requests),
                _seconds(one.latency_s),
                _seconds(one.even_latency_s),
                _seconds(one.law_s),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [f"{about}, windows of {evidence.window_min} min; {found.latency_statistic} latency", *table]


def _next(found: Suggestion, *, applied: bool) -> list[str]:
    """What to do next, a line each; nothing where the target is to be kept."""
    advice, policy = found.advice, found.policy
    if advice is None or advice.move is Move.KEEP:
        return []
    later = "; then look again after a day" if advice.held_by else ""
    if applied:
        return [f"set: policy {policy.name} has target {advice.step:g} now{later}"]
    if policy.template:
        low = round(LOW_SHARE * advice.step, 1)
        return [
            f"next: deploy with {PARAMETER}={advice.step:g}{later}",
            f"      (the alarms' thresholds usually follow it: HighAlarmThresholdConcurrentRequests={advice.step:g} "
            f"LowAlarmThresholdConcurrentRequests={low:g})",
        ]
    return [f"next: the same with --apply sets {advice.step:g} in policy {policy.name} (PutScalingPolicy){later}"]


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"
