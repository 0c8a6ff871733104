"""The operator's commands against a deployed stack: status, explain, history, plan, pause, resume, pin, wake, doctor, watch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from quickstep.gateways import eventbridge
from quickstep.gateways.scaling_api import pages
from quickstep.operate.checkup import checkup
from quickstep.operate.overview import SAGEMAKER, EndpointStanding, overview, registered
from simulator.cli.failures import UsageProblem, write_json
from simulator.cli.in_account import (
    DEFAULT_AFTER_S,
    DEFAULT_STACK,
    AfterOption,
    EmulateOption,
    InAccount,
    JsonOption,
    ProfileOption,
    RegionOption,
    StackOption,
    in_account,
)
from simulator.cli.operate_words import activity_lines, check_lines, decision_lines, plan_lines, standing_lines

OneTarget = Annotated[
    str, typer.Argument(metavar="TARGET", help="Name of an inference component, or a resource id as the API has it.")
]
Targets = Annotated[list[str] | None, typer.Argument(metavar="[TARGET]...", help="Only these targets; default: all.")]
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def status(
    targets: Targets = None,
    stack: StackOption = DEFAULT_STACK,
    region: RegionOption = None,
    profile: ProfileOption = None,
    emulate: EmulateOption = None,
    after: AfterOption = DEFAULT_AFTER_S,
    json_out: JsonOption = None,
) -> None:
    """Show every target: how many copies serve, how many are wanted, and why. Exit code 1 if one needs a person."""
    with in_account(stack, region=region, profile=profile, emulate=emulate, after_s=after) as where:
        found = _standings(where, targets or [])
    _show([_plain(one) for one in found], standing_lines(found), json_out)
    if any(target.attention for one in found for target in one.targets):
        raise typer.Exit(1)


def plan(
    targets: Targets = None,
    stack: StackOption = DEFAULT_STACK,
    region: RegionOption = None,
    profile: ProfileOption = None,
    emulate: EmulateOption = None,
    after: AfterOption = DEFAULT_AFTER_S,
    json_out: JsonOption = None,
) -> None:
    """Show what Quickstep would do now, and do nothing."""
    with in_account(stack, region=region, profile=profile, emulate=emulate, after_s=after) as where:
        found = _standings(where, targets or [])
    _show([_plain(one) for one in found], plan_lines(found), json_out)


def explain(
    target: OneTarget,
    stack: StackOption = DEFAULT_STACK,
    region: RegionOption = None,
    profile: ProfileOption = None,
    emulate: EmulateOption = None,
    after: AfterOption = DEFAULT_AFTER_S,
    json_out: JsonOption = None,
) -> None:
    """Show the decision about one target as it would be taken now, stage by stage, and the last thing that was done."""
    with in_account(stack, region=region, profile=profile, emulate=emulate, after_s=after) as where:
        (one,) = _standings(where, [target])
        (standing,) = one.targets
        last = _activities(where, standing.resource_id, limit=1, everything=True)
    lines = [f"{standing.resource_id} on {one.endpoint} ({one.status})"]
    lines += decision_lines(standing.decision) if standing.decision else [f"cannot be looked at: {standing.detail}"]
    lines += [f"next move: {one.word}: {one.why}", *(f"  would {ask}" for ask in one.asks)]
    lines += ["last entry of its history:", *(f"  {line}" for line in activity_lines(last))]
    document = {"target": asdict(standing), "endpoint": {**_plain(one), "targets": []}, "last_activity": last}
    _show(document, lines, json_out)
    if standing.decision is None:
        raise typer.Exit(1)


def history(
    target: OneTarget,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The newest so many entries.")] = 20,
    changes: Annotated[
        bool, typer.Option("--changes", help="Only what was changed, not what was not and why.")
    ] = False,
    stack: StackOption = DEFAULT_STACK,
    region: RegionOption = None,
    profile: ProfileOption = None,
    emulate: EmulateOption = None,
    after: AfterOption = DEFAULT_AFTER_S,
    json_out: JsonOption = None,
) -> None:
    """Show what was done to a target and what was not, newest first, each with its cause."""
    with in_account(stack, region=region, profile=profile, emulate=emulate, after_s=after) as where:
        row = registered_target(where, target)
        found = _activities(where, row["ResourceId"], limit=limit, everything=not changes)
    _show(found, activity_lines(found), json_out)


def pause(
    target: OneTarget,
    for_: Annotated[
        str | None, typer.Option("--for", help="For so long: 90s, 30m, 2h, 1d; default: until resume.")
    ] = None,
    stack: StackOption = DEFAULT_STACK,
    region: RegionOption = None,
    profile: ProfileOption = None,
    emulate: EmulateOption = None,
    after: AfterOption = DEFAULT_AFTER_S,
    json_out: JsonOption = None,
) -> None:
    """Change nothing about a target until it is resumed; for deployments and for nights that went wrong."""
    options: dict[str, Any] = {"Paused": True}
    if for_ is not None:
        options["PausedForSeconds"] = duration_s(for_)
    _set(target, options, stack, region, profile, emulate, after, json_out)


def resume(
    target: OneTarget,
    stack: StackOption = DEFAULT_STACK,
    region: RegionOption = None,
    profile: ProfileOption = None,
    emulate: EmulateOption = None,
    after: AfterOption = DEFAULT_AFTER_S,
    json_out: JsonOption = None,
) -> None:
    """End a pause and a pin."""
    _set(target, {"Paused": False, "Pinned": False}, stack, region, profile, emulate, after, json_out)


def pin(
    target: OneTarget,
    count: Annotated[
        int, typer.Argument(min=0, help="Copies, or instances of a variant, between minimum and maximum.")
    ],
    stack: StackOption = DEFAULT_STACK,
    region: RegionOption = None,
    profile: ProfileOption = None,
    emulate: EmulateOption = None,
    after: AfterOption = DEFAULT_AFTER_S,
    json_out: JsonOption = None,
) -> None:
    """Keep a target at exactly this count until it is resumed, whatever the load."""
    _set(target, {"Pinned": True, "PinnedCapacity": count}, stack, region, profile, emulate, after, json_out)


def wake(
    target: OneTarget,
    waiting: Annotated[int | None, typer.Option(min=1, help="Requests that wait; default: not known.")] = None,
    stack: StackOption = DEFAULT_STACK,
    region: RegionOption = None,
    profile: ProfileOption = None,
    emulate: EmulateOption = None,
    after: AfterOption = DEFAULT_AFTER_S,
    json_out: JsonOption = None,
) -> None:
    """Wake a component that has no copies."""
    with in_account(stack, region=region, profile=profile, emulate=emulate, after_s=after) as where:
        row = registered_target(where, target)
        kind, _, name = row["ResourceId"].partition("/")
        if kind != "inference-component":
            raise UsageProblem(f"{row['ResourceId']} cannot sleep, so it cannot be woken: name an inference component")
        eventbridge.request_wake(name, waiting)
        if emulate is not None:
            where.pause(20.0)
        found = _standings(where, [row["ResourceId"]])
    _show([_plain(one) for one in found], [f"asked to wake {row['ResourceId']}", *standing_lines(found)], json_out)


def doctor(
    stack: StackOption = DEFAULT_STACK,
    region: RegionOption = None,
    profile: ProfileOption = None,
    emulate: EmulateOption = None,
    after: AfterOption = DEFAULT_AFTER_S,
    json_out: JsonOption = None,
) -> None:
    """Check the stack, its endpoints and every target, and say what to fix. Exit code 1 if there is something."""
    with in_account(stack, region=region, profile=profile, emulate=emulate, after_s=after) as where:
        found = checkup(where.stack, aas=where.aas, quickstep=where.quickstep, registry=where.registry)
    bad = sum(not one.is_ok for one in found)
    last = f"{len(found)} checks, {bad} to fix" if bad else f"{len(found)} checks, nothing to fix"
    _show([asdict(one) for one in found], [*check_lines(found), last], json_out)
    if bad:
        raise typer.Exit(1)


def watch(
    targets: Targets = None,
    every: Annotated[float, typer.Option(min=5, help="Seconds between two readings.")] = 10.0,
    count: Annotated[int, typer.Option(min=0, help="Stop after so many readings; 0 = until interrupted.")] = 0,
    stack: StackOption = DEFAULT_STACK,
    region: RegionOption = None,
    profile: ProfileOption = None,
    emulate: EmulateOption = None,
    after: AfterOption = DEFAULT_AFTER_S,
    json_out: JsonOption = None,
) -> None:
    """Show the status again and again: in place in a terminal, one block after the other anywhere else."""
    with in_account(stack, region=region, profile=profile, emulate=emulate, after_s=after) as where:
        console, readings = Console(), []
        live = Live(console=console, auto_refresh=False) if console.is_terminal and json_out != "-" else None
        try:
            if live is not None:
                live.start()
            number = 0
            while True:
                number += 1
                found = _standings(where, targets or [])
                readings = [*readings, [_plain(one) for one in found]] if json_out else readings
                text = "\n".join(standing_lines(found))
                if live is not None:
                    live.update(Text(text), refresh=True)
                elif json_out != "-":
                    print(text, flush=True)
                if count and number >= count:
                    break
                where.pause(every)
        except KeyboardInterrupt:
            pass
        finally:
            if live is not None:
                live.stop()
    write_json(readings, json_out)


# -- what the commands share -----------------------------------------------------------------------------------------------


def duration_s(text: str) -> int:
    """Whole seconds of `90s`, `30m`, `2h` or `1d`. Raises UsageProblem for anything else."""
    match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text)
    if match is None:
        raise UsageProblem(f"{text!r} is no duration; write 90s, 30m, 2h or 1d")
    return int(match[1]) * _SECONDS[match[2]]


def resource_id(word: str) -> str:
    """The resource id that a word of the command line means: a name alone is an inference component."""
    return word if "/" in word else f"inference-component/{word}"


def registered_target(where: InAccount, word: str) -> Mapping[str, Any]:
    """The registered target that a word of the command line means; UsageProblem if there is none."""
    rid = resource_id(word)
    rows = registered(where.quickstep, [rid])
    if not rows:
        known = [row["ResourceId"] for row in registered(where.quickstep)]
        some = ", ".join(known[:5]) or "none"
        more = f" and {len(known) - 5} more" if len(known) > 5 else ""
        raise UsageProblem(f"{rid} is not registered with stack {where.stack.name}; it has {some}{more}")
    return rows[0]


def _set(
    target: str,
    options: Mapping[str, Any],
    stack: str,
    region: str | None,
    profile: str | None,
    emulate: Any,
    after: float,
    json_out: str | None,
) -> None:
    with in_account(stack, region=region, profile=profile, emulate=emulate, after_s=after) as where:
        row = registered_target(where, target)
        request = {name: row[name] for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
        where.quickstep("RegisterScalableTarget", {**request, "QuickstepOptions": dict(options)})
        found = _standings(where, [row["ResourceId"]])
    _show([_plain(one) for one in found], standing_lines(found), json_out)


def _standings(where: InAccount, words: list[str]) -> list[EndpointStanding]:
    rows = [registered_target(where, word) for word in words] if words else registered(where.quickstep)
    return list(overview(rows, aas=where.aas, registry=where.registry, settings=where.stack.settings))


def _activities(where: InAccount, rid: str, *, limit: int, everything: bool) -> list[dict[str, Any]]:
    params = {**SAGEMAKER, "ResourceId": rid, "IncludeNotScaledActivities": everything, "MaxResults": min(limit, 50)}
    found = []
    for row in pages(where.quickstep, "DescribeScalingActivities", "ScalingActivities", params):
        found.append({key: _second(value) for key, value in row.items()})
        if len(found) == limit:
            break
    return found


def _second(value: Any) -> Any:
    return round(value.astimezone(UTC).timestamp(), 3) if isinstance(value, datetime) else value


def _plain(one: EndpointStanding) -> dict[str, Any]:
    return asdict(one)


def _show(document: Any, lines: list[str], json_out: str | None) -> None:
    write_json(document, json_out)
    if json_out != "-":
        print("\n".join(lines))
