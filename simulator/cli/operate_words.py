"""What the operator's commands print: plain text, a line or two per thing, nothing that needs a colour to be understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from quickstep.operate.checkup import Check
from quickstep.operate.overview import EndpointStanding, TargetStanding


def standing_lines(endpoints: Iterable[EndpointStanding]) -> list[str]:
    """`status`: one line per endpoint, one per target, and one more where a person should look."""
    lines = []
    for one in endpoints:
        counts = ", ".join(f"{name} {now} of {asked} instances" for name, (now, asked) in sorted(one.instances.items()))
        cost = "" if one.usd_per_hour is None else f", ${one.usd_per_hour:g}/h"
        doing = "a loop is running" if one.loop_running else f"next look {moment(one.next_look_at_s)}"
        lines.append(f"{one.endpoint}: {one.status}, {counts or 'instances not known'}{cost}; {doing}")
        lines += [line for target in one.targets for line in _target_lines(target)]
    return lines


def _target_lines(target: TargetStanding) -> list[str]:
    move = f"{number(target.current)} serve"
    if target.asked != target.current:
        move += f", {number(target.asked)} asked for"
    if target.would is not None and target.would != target.asked:
        move += f", {target.would} {'would be set' if 'shadowed' in target.hand else 'wanted'}"
    parts = [f"{target.min_capacity} to {target.max_capacity} {target.unit}", move]
    if target.demand is not None:
        parts.append(f"{target.demand:g} in flight")
    parts += target.hand
    lines = [f"  {target.resource_id:<44} {'; '.join(parts)}"]
    if target.reason:
        lines.append(f"    {target.reason}{f': {target.detail}' if target.detail else ''}")
    if target.ringing:
        lines.append(f"    in ALARM: {', '.join(target.ringing)}")
    if target.attention and target.attention != target.detail:
        lines.append(f"    ! {target.attention}")
    return lines


def plan_lines(endpoints: Iterable[EndpointStanding]) -> list[str]:
    """`plan`: the next move of each endpoint, what it would ask for, and what is held back."""
    lines = []
    for one in endpoints:
        lines.append(f"{one.endpoint}: {one.word}: {one.why}")
        lines += [f"  would {ask}" for ask in one.asks]
        for target in one.targets:
            lines.append(f"  {target.resource_id}: {number(target.asked)} -> {number(target.would)}: {target.reason}")
            if target.held:
                lines.append(f"    held: {target.held}")
    return lines


def decision_lines(decision: Mapping[str, Any]) -> list[str]:
    """`explain`: every stage of a decision that had something to say."""
    lines = [
        f"desired {decision['desired']}, asked for {decision['baseline']}, serving {decision['current']}; "
        f"demand {number(decision.get('demand'))}: {decision['reason']}"
    ]
    before: int | None = decision["baseline"]
    for step in decision["steps"]:
        mark = "*" if step["recommended"] != before else " "
        before = step["recommended"]
        if step["detail"] or mark == "*":
            lines.append(f" {mark} {step['stage']:<14}{step['recommended']:>4}  {step['reason']}: {step['detail']}")
    lines.append(f"may change by itself {moment(decision.get('look_again_at_s'))}")
    return lines


def activity_lines(activities: Iterable[Mapping[str, Any]]) -> list[str]:
    """`history`: newest first."""
    lines = []
    for one in activities:
        told = one.get("StatusMessage") or ""
        lines.append(
            f"{moment(one['StartTime'])}  {one['StatusCode']:<11} {one['Description']} {one['Cause']}".rstrip()
        )
        if told and told not in one["Cause"]:
            lines.append(f"{'':<34}{told}")
    return lines or ["nothing yet"]


def check_lines(checks: Iterable[Check]) -> list[str]:
    """`doctor`: one line per check."""
    return [f"{'ok' if one.is_ok else 'FIX':<4} {one.subject:<44} {one.name:<13} {one.detail}" for one in checks]


def moment(at: Any) -> str:
    """A moment as a person reads it, in UTC; seconds or a datetime. None is what nothing is planned for."""
    if at is None:
        return "when something happens"
    when = at if isinstance(at, datetime) else datetime.fromtimestamp(float(at), UTC)
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def number(value: Any) -> str:
    """A number, or a question mark for one that is not known."""
    return "?" if value is None else f"{value:g}"
