"""Gather: everything that one look at an endpoint needs to know, read from AWS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from quickstep.errors import AwsRefused, ComponentNotFound
from quickstep.gateways import cloudwatch, sagemaker
from quickstep.gateways.registry import EndpointRecord
from quickstep.model.observation import Alarm, Component, Endpoint, Metrics, Observation, Series
from quickstep.model.plan import Held
from quickstep.model.state import EndpointState
from quickstep.model.targets import (
    DemandPolicy,
    ScalableTarget,
    StepScalingPolicy,
    TargetId,
    TargetTrackingPolicy,
)
from quickstep.reasons import Reason

HISTORY_S = 900.0
"""Seconds of metric history that are fetched; more if a target's hold is longer."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """One look's facts."""

    endpoint: Endpoint
    endpoint_state: EndpointState
    deployed: bool
    """The endpoint's configuration has changed since the last look."""
    components: tuple[Component, ...]
    observations: Mapping[TargetId, Observation]
    missing: Mapping[TargetId, Held]
    """Targets that cannot be looked at now, and why."""
    alarms: Mapping[str, Alarm]
    unread: tuple[str, ...] = ()
    """What could not be read, in words; decisions then hold."""


def gather(record: EndpointRecord, now_s: float) -> Gathered:
    """Read the endpoint, its components, alarms and metrics.

    Raises `EndpointNotFound`, `Throttled`, `AccessDenied` or `OutcomeUnknown` if the endpoint itself cannot be read.
    What only concerns one target, or only metrics, does not raise: that target holds, the others are served.
    """
    endpoint, endpoint_state, deployed = _endpoint(record)
    unread: list[str] = []
    components: dict[str, Component] = {}
    missing: dict[TargetId, Held] = {}
    for target in record.targets.values():
        name = target.target_id.component
        if name is not None:
            try:
                components[name] = sagemaker.describe_component(name)
            except ComponentNotFound as error:
                missing[target.target_id] = Held(Reason.COMPONENT_NOT_FOUND, str(error))
            except AwsRefused as error:
                missing[target.target_id] = Held(Reason.NOT_SCALABLE_NOW, str(error))
        elif endpoint.variant(target.target_id.resource_id.rsplit("/", 1)[1]) is None:
            missing[target.target_id] = Held(Reason.ENDPOINT_NOT_FOUND, f"{endpoint.name} has no such variant")
    if components and _packing_matters(endpoint, endpoint_state):
        components |= _unregistered(endpoint.name, set(components), unread)
    alarms = _alarms(record.targets.values(), unread)
    observations = {}
    for target_id, target in sorted(record.targets.items()):
        if target_id not in missing:
            observations[target_id] = Observation(
                at_s=now_s,
                target_id=target_id,
                endpoint=endpoint,
                component=components.get(target_id.component or ""),
                metrics=_metrics(target, now_s, unread),
                alarms=tuple(alarms[n] for n in target.alarm_names if n in alarms),
                alarm_series=_alarm_series(target, alarms, now_s, unread),
            )
    ordered = tuple(components[name] for name in sorted(components))
    return Gathered(endpoint, endpoint_state, deployed, ordered, observations, missing, alarms, tuple(unread))


def _endpoint(record: EndpointRecord) -> tuple[Endpoint, EndpointState, bool]:
    endpoint = sagemaker.describe_endpoint(record.endpoint)
    state = record.endpoint_state
    deployed = state.config_name is not None and endpoint.config_name != state.config_name
    if endpoint.config_name is not None and endpoint.config_name != state.config_name:
        types = sagemaker.describe_instance_types(endpoint.config_name)
        state = replace(state, config_name=endpoint.config_name, instance_types=types)
    variants = tuple(
        replace(v, instance_type=v.instance_type or state.instance_types.get(v.name)) for v in endpoint.variants
    )
    return replace(endpoint, variants=variants), state, deployed


def _packing_matters(endpoint: Endpoint, state: EndpointState) -> bool:
    """Only where we move the instances ourselves must everything that lives on them be known."""
    return any(not (v.managed or state.variant(v.name).managed) for v in endpoint.variants)


def _unregistered(endpoint: str, known: set[str], unread: list[str]) -> dict[str, Component]:
    found = {}
    try:
        for name in sagemaker.list_components(endpoint):
            if name not in known:
                try:
                    found[name] = sagemaker.describe_component(name)
                except ComponentNotFound:
                    continue  # Deleted between the list and the description: it takes no room any more.
    except AwsRefused as error:
        unread.append(f"components of {endpoint}: {error}")
    return found


def _alarms(targets: object, unread: list[str]) -> dict[str, Alarm]:
    names = sorted({name for target in targets for name in target.alarm_names})  # type: ignore[attr-defined]
    try:
        return {alarm.name: alarm for alarm in cloudwatch.alarms(names)} if names else {}
    except AwsRefused as error:
        unread.append(f"alarms: {error}")
        return {}


def _alarm_series(
    target: ScalableTarget, alarms: Mapping[str, Alarm], now_s: float, unread: list[str]
) -> Mapping[str, Series]:
    """What the alarms read that policies are bound to; alarms that only say "look" are not asked for."""
    bound = {alarm.alarm_name for p in target.policies if isinstance(p, StepScalingPolicy) for alarm in p.alarms}
    for policy in target.policies:
        if isinstance(policy, TargetTrackingPolicy) and policy.metric != "concurrency":
            bound |= {policy.high_alarm, policy.low_alarm}
    try:
        return cloudwatch.alarm_series(target, [alarms[n] for n in sorted(bound) if n in alarms], now_s=now_s)
    except AwsRefused as error:
        unread.append(f"alarm metrics of {target.target_id}: {error}")
        return {}


def _metrics(target: ScalableTarget, now_s: float, unread: list[str]) -> Metrics:
    hold_s = max((p.scale_in_hold_s for p in target.policies if isinstance(p, DemandPolicy)), default=0.0)
    try:
        return cloudwatch.target_metrics(target, now_s=now_s, concurrency_window_s=max(HISTORY_S, 4 * hold_s + 120))
    except AwsRefused as error:
        unread.append(f"metrics of {target.target_id}: {error}")
        return Metrics()
