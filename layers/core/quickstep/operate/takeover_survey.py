"""Survey: read what Application Auto Scaling scales on SageMaker, and write the plan that takes it over.

Requests are made of what AAS describes, member by member, and held against the same rules that the control API will hold
them against, so a plan without anything untranslated is one that will be accepted. Nothing is changed by this.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from quickstep.control import claims, scheduled
from quickstep.control.context import ControlContext
from quickstep.control.names import target_id
from quickstep.control.policy_kinds import BUILDERS, CONFIGURATIONS
from quickstep.control.refusals import ControlRefusal
from quickstep.control.shapes import validated
from quickstep.errors import AwsRefused
from quickstep.gateways import autoscaling_model, ownership
from quickstep.gateways.alarms import watched_alarms
from quickstep.gateways.scaling_api import Call, pages
from quickstep.model.targets import TargetId
from quickstep.operate.takeover_plan import (
    AAS,
    QUICKSTEP,
    SUSPENSIONS,
    Found,
    MigrationPlan,
    PlannedCall,
    PlannedTarget,
    Progress,
    Untranslated,
)

Key = tuple[str, str]
_TOLD_ONLY = {
    "RegisterScalableTarget": ("CreationTime", "PredictedCapacity", "ScalableTargetARN"),
    "PutScalingPolicy": ("Alarms", "CreationTime", "PolicyARN"),
    "PutScheduledAction": ("CreationTime", "ScheduledActionARN"),
}
"""Members of a description that no request has."""
_IDENTITY = ("ServiceNamespace", "ResourceId", "ScalableDimension")
_SERVICE_ROLE = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
MOST_ALARMS = 10
"""Alarms that `BindAlarms` takes."""


def survey(
    *,
    aas: Call,
    quickstep: Call,
    context: ControlContext,
    only: Iterable[str] = (),
    before: MigrationPlan | None = None,
) -> MigrationPlan:
    """The plan for every SageMaker target of AAS, or for the resource ids `only`; in order of resource id.

    Targets that `before` has begun to migrate are kept as they are there: what AAS shows now is no longer what was found.
    Raises ApiRefused and the errors of `refusals`.
    """
    settings, wanted = context.settings, set(only)
    begun = {one.key: one for one in before.targets if not one.progress.is_untouched} if before is not None else {}
    there = read_all(aas)
    ours = read_all(quickstep, tags=False)
    survey_ = _Survey(context, ours)
    planned = dict(begun)
    for key, found in sorted(there.items()):
        if key not in begun and (not wanted or key[0] in wanted):
            planned[key] = survey_.planned(key, found)
    return MigrationPlan(
        settings.stack_name, settings.account_id, settings.region, tuple(planned[key] for key in sorted(planned))
    )


def read_all(call: Call, *, tags: bool = True) -> dict[Key, Found]:
    """Everything that the API has about SageMaker, by (resource id, dimension)."""
    sagemaker = {"ServiceNamespace": "sagemaker"}
    policies: dict[Key, list[Mapping[str, Any]]] = defaultdict(list)
    for row in pages(call, "DescribeScalingPolicies", "ScalingPolicies", sagemaker):
        policies[_key(row)].append(_plain(row))
    actions: dict[Key, list[Mapping[str, Any]]] = defaultdict(list)
    for row in pages(call, "DescribeScheduledActions", "ScheduledActions", sagemaker):
        actions[_key(row)].append(_plain(row))
    found = {}
    for row in pages(call, "DescribeScalableTargets", "ScalableTargets", sagemaker):
        key = _key(row)
        arn = row.get("ScalableTargetARN")
        have = call("ListTagsForResource", {"ResourceARN": arn}).get("Tags") or {} if tags and arn else {}
        found[key] = Found(
            _plain(row),
            tuple(sorted(policies[key], key=lambda one: one["PolicyName"])),
            tuple(sorted(actions[key], key=lambda one: one["ScheduledActionName"])),
            dict(sorted(have.items())),
        )
    return found


def differences(before: Found, now: Found | None, *, suspension_too: bool) -> list[str]:
    """What differs between two readings of one target, in words.

    The range of a target with scheduled actions is left out: they change it, and that is what they are for.
    """
    if now is None:
        return ["the target is not registered with Application Auto Scaling any more"]
    told = []
    moving = {"SuspendedState"} if not suspension_too else set()
    moving |= {"MinCapacity", "MaxCapacity"} if before.scheduled_actions else set()
    names = sorted({*before.target, *now.target} - moving)
    for name in names:
        if before.target.get(name) != now.target.get(name):
            told.append(f"{name} was {before.target.get(name)} and is {now.target.get(name)}")
    for what, name, old, new in (
        ("policy", "PolicyName", before.policies, now.policies),
        ("scheduled action", "ScheduledActionName", before.scheduled_actions, now.scheduled_actions),
    ):
        one, other = ({row[name]: row for row in rows} for rows in (old, new))
        told += [f"{what} {key} is gone" for key in sorted(set(one) - set(other))]
        told += [f"{what} {key} is new" for key in sorted(set(other) - set(one))]
        told += [f"{what} {key} has changed" for key in sorted(set(one) & set(other)) if one[key] != other[key]]
    return told


@dataclass
class _Survey:
    """One run of the survey: what targets take from each other is remembered between them."""

    context: ControlContext
    ours: Mapping[Key, Found]
    new_targets: Counter[str] = field(default_factory=Counter)
    alarm_of: dict[str, Key] = field(default_factory=dict)

    def planned(self, key: Key, found: Found) -> PlannedTarget:
        blocked = self._blocked(key, found)
        if blocked is not None:
            return PlannedTarget(*key, Progress.PLANNED, found, blocked=blocked)
        part = _Part(self.context, target_id(found.target), found, self.ours.get(key), self.alarm_of)
        return part.planned()

    def _blocked(self, key: Key, found: Found) -> str | None:
        """Why the target cannot be registered at all; None if it can."""
        try:
            tid = target_id(found.target)
            endpoint, _ = claims.whereabouts(tid)
            others = ownership.managing_stacks(tid, endpoint)
        except (ControlRefusal, AwsRefused) as error:
            return str(error)
        for what, other in sorted(others.items()):
            if other != self.context.settings.stack_name:
                return f"{what} is managed by Quickstep stack {other} (tag quickstep:managed)"
        if key not in self.ours:
            limit = self.context.limits.targets_per_dimension
            have = sum(dimension == key[1] for _, dimension in self.ours)
            if have + self.new_targets[key[1]] >= limit:
                return f"at most {limit} targets of {key[1]} are allowed: raise the template parameter ScalableTargetsLimit"
            self.new_targets[key[1]] += 1
        return None


@dataclass
class _Part:
    """The plan of one target that can be registered, in the making."""

    context: ControlContext
    tid: TargetId
    found: Found
    ours: Found | None
    alarm_of: dict[str, Key]
    untranslated: list[Untranslated] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def identity(self) -> dict[str, str]:
        return {name: self.found.target[name] for name in _IDENTITY}

    def planned(self) -> PlannedTarget:
        register = self._register()
        puts = [
            *filter(None, (self._policy(row) for row in self.found.policies)),
            *filter(None, (self._action(row) for row in self.found.scheduled_actions)),
        ]
        self._remark()
        suspended = {**self.identity, "SuspendedState": dict.fromkeys(SUSPENSIONS, True)}
        restored = {**self.identity, "SuspendedState": self.found.suspended_state}
        live = {**self.identity, "QuickstepOptions": {"Shadow": False}}
        return PlannedTarget(
            resource_id=self.tid.resource_id,
            dimension=str(self.tid.dimension),
            progress=Progress.PLANNED,
            found=self.found,
            shadow=(PlannedCall(QUICKSTEP, "RegisterScalableTarget", register), *puts),
            swap=(
                PlannedCall(AAS, "RegisterScalableTarget", suspended),
                PlannedCall(QUICKSTEP, "RegisterScalableTarget", live),
            ),
            rollback=(*self._withdrawal(puts), PlannedCall(AAS, "RegisterScalableTarget", restored)),
            untranslated=tuple(self.untranslated),
            notes=tuple(self.notes),
        )

    def _register(self) -> dict[str, Any]:
        request = _without(self.found.target, _TOLD_ONLY["RegisterScalableTarget"])
        if str(request.get("RoleARN", "")).endswith(_SERVICE_ROLE):
            del request["RoleARN"]
        tags = {key: value for key, value in self.found.tags.items() if not key.startswith("aws:")}
        for key in sorted(set(self.found.tags) - set(tags)):
            self.untranslated.append(Untranslated(f"tag {key}", "keys that begin with aws: are AWS's own"))
        request |= {"Tags": tags} if tags else {}
        known = _members("RegisterScalableTarget")
        for name in sorted(set(request) - known):
            self.untranslated.append(
                Untranslated(f"{name} = {json.dumps(request.pop(name))}", "this version does not know that member")
            )
        return request | {"QuickstepOptions": {"Shadow": True}}

    def _policy(self, row: Mapping[str, Any]) -> PlannedCall | None:
        name, kind = row["PolicyName"], row["PolicyType"]
        request = _without(row, _TOLD_ONLY["PutScalingPolicy"])
        options: dict[str, Any] = {}
        if kind == "StepScaling":
            bound = self._bindable(name, [one["AlarmName"] for one in row.get("Alarms") or ()])
            options = {"BindAlarms": bound} if bound else {}
            if not row.get("Alarms"):
                self.notes.append(f"policy {name} has no alarm, so nothing triggers it, here or there")
        request |= {"QuickstepOptions": options} if options else {}
        try:
            checked = validated(request, _shape("PutScalingPolicy"))
            self._check_name(name, request)
            document = checked.get(CONFIGURATIONS[kind]) or {}
            built = BUILDERS[kind](name, self.tid, document, options, self.context)
        except ControlRefusal as refused:
            self.untranslated.append(Untranslated(f"policy {name} ({kind})", str(refused)))
            return None
        self.notes += [f"policy {name}: {text}" for text in built.warnings]
        return PlannedCall(QUICKSTEP, "PutScalingPolicy", request)

    def _check_name(self, name: str, request: Mapping[str, Any]) -> None:
        have = next((one for one in self.ours.policies if one["PolicyName"] == name), None) if self.ours else None
        if have is None:
            return
        same = {key: have.get(key) for key in request} == dict(request)
        if not same:
            raise _Clash(
                "the target has a policy of that name in Quickstep, and it is another one: delete or rename one"
            )

    def _bindable(self, policy: str, names: list[str]) -> list[str]:
        """The alarms that can trigger a step policy here too; what keeps the others from it is noted."""
        there = {one.name: one for one in watched_alarms(names)} if names else {}
        bound: list[str] = []
        for name in sorted(names):
            holder = self.alarm_of.get(name, self._key)
            why = None
            if name not in there:
                why = "there is no such alarm any more"
            elif there[name].threshold is None:
                why = "it is no plain metric alarm, and steps are measured from a threshold"
            elif holder != self._key:
                why = f"it triggers a policy of {holder[0]} too, and an alarm speaks for one target here: give this one its own"
            elif len(bound) == MOST_ALARMS:
                why = f"a policy is bound to at most {MOST_ALARMS} alarms by name"
            if why is not None:
                self.untranslated.append(Untranslated(f"alarm {name} of policy {policy}", why))
                continue
            self.alarm_of[name] = self._key
            bound.append(name)
            if not name.startswith(self.context.settings.alarm_prefix):
                self.notes.append(
                    f"alarm {name} is answered within a minute, not at once: its name does not begin with "
                    f"{self.context.settings.alarm_prefix}"
                )
        return bound

    @property
    def _key(self) -> Key:
        return self.tid.resource_id, str(self.tid.dimension)

    def _action(self, row: Mapping[str, Any]) -> PlannedCall | None:
        name = row["ScheduledActionName"]
        request = _without(row, _TOLD_ONLY["PutScheduledAction"])
        try:
            scheduled.check(validated(request, _shape("PutScheduledAction")), self.tid, self.context)
        except ControlRefusal as refused:
            self.untranslated.append(Untranslated(f"scheduled action {name}", str(refused)))
            return None
        return PlannedCall(QUICKSTEP, "PutScheduledAction", request)

    def _withdrawal(self, puts: list[PlannedCall]) -> list[PlannedCall]:
        """What takes the target out of Quickstep again, or back to what it was there."""
        if self.ours is None:
            return [PlannedCall(QUICKSTEP, "DeregisterScalableTarget", self.identity)]
        calls = []
        for put in puts:
            operation, name = {
                "PutScalingPolicy": ("DeleteScalingPolicy", "PolicyName"),
                "PutScheduledAction": ("DeleteScheduledAction", "ScheduledActionName"),
            }[put.operation]
            calls.append(PlannedCall(QUICKSTEP, operation, {**self.identity, name: put.parameters[name]}))
        before = {name: self.ours.target[name] for name in ("MinCapacity", "MaxCapacity", "SuspendedState")}
        back = {**self.identity, **before, "QuickstepOptions": {"Shadow": True}}
        return [*calls, PlannedCall(QUICKSTEP, "RegisterScalableTarget", back)]

    def _remark(self) -> None:
        suspended = [name for name, value in self.found.suspended_state.items() if value]
        if len(suspended) == len(SUSPENSIONS):
            self.notes.append("Application Auto Scaling is fully suspended here already, and stays so after a rollback")
        if suspended:
            self.notes.append(
                f"{', '.join(suspended)}: suspended in Quickstep too, until RegisterScalableTarget says otherwise"
            )
        if self.ours is not None:
            names = ", ".join(one["PolicyName"] for one in self.ours.policies) or "none"
            self.notes.append(
                f"registered with Quickstep already, with the policies {names}: they stay, the largest count wins, and after a "
                "rollback it stays registered, shadowed"
            )
        if not self.found.policies:
            self.notes.append(
                "Application Auto Scaling has no policy here: nothing will scale it but its range and schedules"
            )


class _Clash(ControlRefusal):
    """Two different policies of one name."""


def _key(row: Mapping[str, Any]) -> Key:
    return row["ResourceId"], row["ScalableDimension"]


def _without(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in names}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A description as JSON, sorted, without what changes by itself or names the row only."""
    gone = ("CreationTime", "PredictedCapacity", "ScalableTargetARN", "PolicyARN", "ScheduledActionARN")
    return json.loads(json.dumps(_without(row, gone), sort_keys=True, default=_iso))


def _iso(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} is no JSON")


def _shape(operation: str) -> Any:
    return autoscaling_model.service().operation_model(operation).input_shape


def _members(operation: str) -> set[str]:
    return set(_shape(operation).members)
