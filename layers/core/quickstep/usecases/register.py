"""Register: what a new deployment of the template's parameters does to a target that the API has changed meanwhile.

Three registrations meet: what the parameters said at the last deployment, what they say now, and what is registered.
What a deployment changes wins; what it leaves as it was keeps what the API, or a scheduled action, has made of it.
Policies of the template are the template's; all others stay.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from quickstep.model.targets import Policy, ScalableTarget
from quickstep.settings import DEMAND_POLICY, STEPS_IN_POLICY, STEPS_OUT_POLICY

_TEMPLATES = ("policies", "guards", "alarms", "wake_alarm", "endpoint", "variant", "target_id")


def merged(before: ScalableTarget | None, now: ScalableTarget, stored: ScalableTarget | None) -> ScalableTarget:
    """The registration to keep. `before` None: the parameters were never registered; `stored` None: nothing is there.

    Example: parameters 1 to 4 before and now, a scheduled action made it 3 to 4, so it stays 3 to 4. Parameters 1 to 8
    now: it becomes 3 to 8, unless that is no range; then the parameters win as a whole.
    """
    if stored is None or stored.target_id != now.target_id:
        return now
    kept: dict[str, Any] = {
        field.name: getattr(stored, field.name)
        for field in fields(ScalableTarget)
        if field.name not in _TEMPLATES
        and before is not None
        and getattr(before, field.name) == getattr(now, field.name)
    }
    found = replace(now, **kept, policies=_policies(before, now, stored), alarms=_alarms(before, now, stored))
    if found.min_capacity > found.max_capacity:
        found = replace(found, min_capacity=now.min_capacity, max_capacity=now.max_capacity)
    if found.wake_alarm is None:
        found = replace(found, wake_alarm=stored.wake_alarm if _is_added(stored.wake_alarm, before) else None)
    return found


def _policies(before: ScalableTarget | None, now: ScalableTarget, stored: ScalableTarget) -> tuple[Policy, ...]:
    names = {one.name for one in now.policies} | {one.name for one in (before.policies if before else ())}
    names |= {STEPS_OUT_POLICY, STEPS_IN_POLICY, DEMAND_POLICY}
    return (*now.policies, *(one for one in stored.policies if one.name not in names))


def _alarms(before: ScalableTarget | None, now: ScalableTarget, stored: ScalableTarget) -> tuple[str, ...]:
    known = {*now.alarms, *(before.alarms if before else ())}
    return (*now.alarms, *(one for one in stored.alarms if one not in known))


def _is_added(alarm: str | None, before: ScalableTarget | None) -> bool:
    return alarm is not None and (before is None or alarm != before.wake_alarm)
