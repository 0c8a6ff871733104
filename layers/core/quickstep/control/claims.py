"""Whose a target is: where it lives, whether somebody else scales it, and giving it up again."""

from __future__ import annotations

from quickstep import telemetry
from quickstep.control.context import ControlContext
from quickstep.control.refusals import ValidationException
from quickstep.errors import AccessDenied, AwsRefused, ComponentNotFound, EndpointNotFound
from quickstep.gateways import autoscaling, ownership, sagemaker
from quickstep.model.targets import ScalableTarget, TargetId


def whereabouts(target_id: TargetId) -> tuple[str, str | None]:
    """The target's endpoint, and of a variant target the variant. Raises ValidationException if there is no such thing."""
    try:
        if target_id.component is not None:
            return sagemaker.describe_component(target_id.component).endpoint, None
        _, endpoint, _, variant = target_id.resource_id.split("/")
        if sagemaker.describe_endpoint(endpoint).variant(variant) is None:
            raise ValidationException(
                f"ResourceId is {target_id.resource_id!r}; endpoint {endpoint} has no variant {variant} with instances"
            )
        return endpoint, variant
    except (ComponentNotFound, EndpointNotFound) as error:
        raise ValidationException(f"ResourceId is {target_id.resource_id!r}, which does not exist: {error}") from error


def refuse_foreign(target: ScalableTarget, context: ControlContext) -> None:
    """Raise ValidationException while Application Auto Scaling or another stack scales the target: two would fight.

    A shadowed target changes nothing, so Application Auto Scaling may go on beside it; another stack's tag may not be
    replaced even so.
    """
    target_id = target.target_id
    foreign = None if target.shadow else _foreign_scaler(target_id)
    if foreign is not None:
        raise ValidationException(
            f"{target_id} is scaled already by {foreign}; suspend it (RegisterScalableTarget with all three SuspendedState "
            "members true) or deregister it there first, or register it here with QuickstepOptions.Shadow true"
        )
    stack = context.settings.stack_name
    for what, other in sorted(ownership.managing_stacks(target_id, target.endpoint).items()):
        if other != stack:
            raise ValidationException(
                f"{what} is managed by Quickstep stack {other} (tag quickstep:managed); deregister its targets there, or "
                "delete the tag if that stack is gone"
            )


def give_up(target_id: TargetId, endpoint: str, *, endpoint_too: bool, context: ControlContext) -> None:
    """Take our tag off the target, and off the endpoint if nothing else of it is ours."""
    try:
        ownership.unmark(target_id, endpoint, stack=context.settings.stack_name, endpoint_too=endpoint_too)
    except AwsRefused as error:
        # The registration goes all the same: a tag that stays harms nobody but another stack, which is told its name.
        _warn("cannot untag", target_id, error)


def _foreign_scaler(target_id: TargetId) -> str | None:
    try:
        return autoscaling.foreign_scaler(target_id)
    except AccessDenied as error:
        _warn("cannot ask Application Auto Scaling", target_id, error)
        return None


def _warn(message: str, target_id: TargetId, error: Exception) -> None:
    telemetry.logger().warning(message, extra={"target": str(target_id), "error": str(error)})
