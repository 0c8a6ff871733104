"""Checkup: what keeps a deployed stack from doing its work, each finding with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quickstep import clock
from quickstep.errors import AwsRefused
from quickstep.gateways import cloudwatch, ownership, queues
from quickstep.gateways.registry import EndpointRecord, Registry
from quickstep.gateways.scaling_api import Call
from quickstep.gateways.stack import DeployedStack
from quickstep.model.targets import DemandPolicy, PredictivePolicy, ScalableTarget, TargetTrackingPolicy
from quickstep.operate.overview import EndpointStanding, TargetStanding, overview, registered

SILENT_S = 180.0
"""Reconcile runs every minute; this long without one is a fault (and an alarm of the stack)."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    subject: str
    """The stack, an endpoint or a resource id."""
    name: str
    is_ok: bool
    detail: str
    """What was found, and if it is not as it should be, what to do."""


def checkup(stack: DeployedStack, *, aas: Call, quickstep: Call, registry: Registry) -> list[Check]:
    """Every check of the stack, then of its endpoints and targets in order of their names.

    Raises ApiRefused and the errors of `refusals` where the stack itself cannot be read.
    """
    rows = registered(quickstep)
    found = list(_of_stack(stack, registry, len(rows)))
    for standing in overview(rows, aas=aas, registry=registry, settings=stack.settings):
        record = registry.read_endpoint(standing.endpoint)
        found += _of_endpoint(standing)
        for target in standing.targets:
            found += _of_target(target, record, stack.name)
    return found


def _of_stack(stack: DeployedStack, registry: Registry, count: int) -> Iterator[Check]:
    whole = stack.status.endswith("_COMPLETE") and "ROLLBACK" not in stack.status
    yield Check(stack.name, "stack", whole, f"CloudFormation says {stack.status}" + ("" if whole else ": deploy again"))
    enabled = stack.settings.scaling_enabled
    told = "Yes" if enabled else "No: everything is decided and nothing is changed; deploy with ScalingEnabled Yes"
    yield Check(stack.name, "kill switch", enabled, f"ScalingEnabled is {told}")
    told = f"{count} registered" if count else "none is registered: register one through the control API"
    yield Check(stack.name, "targets", count > 0, told)
    began_s = registry.last_reconciled_s()
    age_s = None if began_s is None else clock.now_s() - began_s
    if age_s is None:
        yield Check(stack.name, "reconcile", False, "it has never run: is its schedule enabled?")
    else:
        late = age_s > SILENT_S
        told = f"it ran {age_s:.0f} s ago" + (": look into the log of ReconcileFunction" if late else "")
        yield Check(stack.name, "reconcile", not late, told)
    url = stack.outputs.get("DeadLetterQueueUrl")
    if url is not None:
        try:
            waiting = queues.waiting_messages(url)
        except AwsRefused as error:
            yield Check(stack.name, "dead letters", False, f"cannot be counted: {error}")
            return
        told = "none" if not waiting else f"{waiting} events were refused or not delivered: read them in {url}"
        yield Check(stack.name, "dead letters", not waiting, told)


def _of_endpoint(standing: EndpointStanding) -> Iterator[Check]:
    is_ok = standing.status in ("InService", "Updating")
    told = standing.why if standing.word == "UNREADABLE" else f"it is {standing.status}"
    yield Check(standing.endpoint, "endpoint", is_ok, told)


def _of_target(standing: TargetStanding, record: EndpointRecord, stack: str) -> Iterator[Check]:
    subject = standing.resource_id
    target = next(t for tid, t in record.targets.items() if tid.resource_id == subject)
    if standing.attention:
        yield Check(subject, "scaling", False, standing.attention)
    else:
        yield Check(
            subject, "scaling", True, f"{standing.current} {standing.unit} serve, {standing.asked} are asked for"
        )
    if standing.current is None:
        return
    yield from _policies(target)
    yield from _alarms(target)
    yield _tag(target, stack)
    if standing.current:
        told = "requests in flight are known" if standing.demand is not None else (
            "no concurrency metric arrives: does the endpoint publish the ten-second metrics, and has it had traffic?"
        )  # fmt: skip
        yield Check(subject, "metrics", standing.demand is not None, told)


def _policies(target: ScalableTarget) -> Iterator[Check]:
    subject = target.target_id.resource_id
    if not target.policies:
        yield Check(subject, "policies", False, "it has none: nothing but its range scales it; put a scaling policy")
        return
    if all(isinstance(policy, PredictivePolicy) for policy in target.policies):
        told = "it has forecasts only, which take nothing away and answer no load; put a policy that does"
        yield Check(subject, "policies", False, told)
        return
    low = [p for p in target.policies if _goal(p) is not None and (_goal(p) or 0.0) < 1]
    if low:
        told = f"the target value of {low[0].name} is below 1, so a single request asks for the maximum; use 1 or more"
        yield Check(subject, "policies", False, told)
    elif target.min_capacity == target.max_capacity:
        yield Check(
            subject, "policies", False, f"minimum and maximum are both {target.min_capacity}: nothing can be scaled"
        )
    else:
        yield Check(subject, "policies", True, ", ".join(p.name for p in target.policies))


def _goal(policy: object) -> float | None:
    if isinstance(policy, DemandPolicy):
        return policy.target_per_copy
    return policy.target_value if isinstance(policy, TargetTrackingPolicy) and policy.metric == "concurrency" else None


def _alarms(target: ScalableTarget) -> Iterable[Check]:
    subject, names = target.target_id.resource_id, set(target.alarm_names)
    for policy in target.policies:
        if isinstance(policy, TargetTrackingPolicy) and policy.disable_scale_in:
            names.discard(policy.low_alarm)
    if not names:
        return [Check(subject, "alarms", False, "it has none: it is looked at every 15 minutes only")]
    try:
        there = {alarm.name for alarm in cloudwatch.alarms(names)}
    except AwsRefused as error:
        return [Check(subject, "alarms", False, f"cannot be read: {error}")]
    gone = sorted(names - there)
    told = (
        f"{len(there)} are there" if not gone else f"{gone[0]} is not there: put the policy, or deploy the stack, again"
    )
    return [Check(subject, "alarms", not gone, told)]


def _tag(target: ScalableTarget, stack: str) -> Check:
    subject = target.target_id.resource_id
    try:
        stacks = ownership.managing_stacks(target.target_id, target.endpoint)
    except AwsRefused as error:
        return Check(subject, "tag", False, f"cannot be read: {error}")
    wrong = [f"{what} is tagged as managed by {other}" for what, other in sorted(stacks.items()) if other != stack]
    if wrong:
        return Check(subject, "tag", False, f"{wrong[0]}: two stacks claim it; deregister it in one of them")
    if len(stacks) < (2 if target.target_id.component else 1):
        return Check(
            subject, "tag", False, f"quickstep:managed={stack} is missing, so nothing may be written: register it again"
        )
    return Check(subject, "tag", True, f"quickstep:managed={stack}")
