"""Registration: the template's parameters become the default scalable target, through the same registry as all others."""

from __future__ import annotations

from quickstep import telemetry
from quickstep.errors import AwsRefused
from quickstep.gateways import ownership, tags
from quickstep.gateways.registry import Registry
from quickstep.model.targets import ScalableTarget
from quickstep.settings import Settings
from quickstep.usecases.register import merged


def ensure_default_target(registry: Registry, settings: Settings) -> ScalableTarget | None:
    """Register the template's target if it is new or has changed; forget the one that the parameters named before.

    What the API or a scheduled action has changed since the last deployment stays, unless the deployment changes it.
    Returns the target; None if the parameters name none. Counts of the endpoint are never touched by this.
    """
    target = settings.default_target()
    before = registry.default_target()
    if before is not None and (target is None or before[1] != target.target_id):
        old = registry.read_endpoint(before[0]).targets.get(before[1])
        if old is not None:
            registry.delete_target(old)
    if target is None:
        return None
    stored = registry.read_endpoint(target.endpoint).targets.get(target.target_id)
    last, marked = registry.default_registration() or (None, False)
    if last is not None and last.target_id != target.target_id:
        last = None
    if stored is not None and last == target and marked:
        return stored
    wanted = merged(last, target, stored)
    if wanted != stored:
        registry.put_target(wanted)
    now_marked = mark(target, stack=settings.stack_name)
    if (last, marked) != (target, now_marked):
        registry.remember_default_target(target, marked=now_marked)
    return wanted


def mark(target: ScalableTarget, *, stack: str) -> bool:
    """Tag what `target` is about, so that our roles may write to it; False if that is not possible yet.

    An endpoint or component that does not exist yet is registered all the same; Reconcile tags it a minute later. What has
    another stack's tag keeps it: that stack goes on scaling it, ours may not, and says so until one of them gives it up.
    """
    try:
        for what, other in sorted(ownership.managing_stacks(target.target_id, target.endpoint).items()):
            if other != stack:
                told = {"target": str(target.target_id), "resource": what, "managed_by": other}
                telemetry.logger().error("another stack manages the target", extra=told)
                telemetry.count("ManagedElsewhere")
                return False
        tags.mark_managed(target, stack=stack)
    except AwsRefused as error:
        telemetry.logger().warning(
            "cannot tag the target", extra={"target": str(target.target_id), "error": str(error)}
        )
        telemetry.count("TagFailed")
        return False
    return True
