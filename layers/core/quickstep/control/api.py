"""One operation of the API, carried out: the request held against its shape, dispatched, its failure in AAS's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quickstep import telemetry
from quickstep.control import activities, forecasts, policies, scheduled, tagging, targets, template_target
from quickstep.control.context import ControlContext
from quickstep.control.refusals import (
    ConcurrentUpdateException,
    ControlRefusal,
    FailedResourceAccessException,
    InternalServiceException,
    UnknownOperationException,
    ValidationException,
)
from quickstep.control.shapes import validated
from quickstep.errors import (
    AccessDenied,
    AwsRefused,
    ComponentNotFound,
    EndpointNotFound,
    InvalidPolicy,
    LeaseHeld,
    LeaseLost,
)
from quickstep.gateways import autoscaling_model

Operation = Callable[[Mapping[str, Any], ControlContext], dict[str, Any]]

OPERATIONS: Mapping[str, Operation] = {
    "DeleteScalingPolicy": policies.delete,
    "DeleteScheduledAction": scheduled.delete,
    "DeregisterScalableTarget": targets.deregister,
    "DescribeScalableTargets": targets.describe,
    "DescribeScalingActivities": activities.describe,
    "DescribeScalingPolicies": policies.describe,
    "DescribeScheduledActions": scheduled.describe,
    "GetPredictiveScalingForecast": forecasts.get_forecast,
    "ListTagsForResource": tagging.list_tags,
    "PutScalingPolicy": policies.put,
    "PutScheduledAction": scheduled.put,
    "RegisterScalableTarget": targets.register,
    "TagResource": tagging.tag,
    "UntagResource": tagging.untag,
}


def handle(operation: str, params: Mapping[str, Any], *, context: ControlContext) -> dict[str, Any]:
    """Carry out `operation` with the request members `params`, as botocore's model of the service names them.

    The answer has the shape of the model's output; times are seconds since the epoch, so it is ready for JSON. Raises
    ControlRefusal: one class per error of the model, its name the error's code.
    """
    carry_out = OPERATIONS.get(operation)
    if carry_out is None:
        raise UnknownOperationException(
            f"there is no operation {operation!r}; the operations are {', '.join(sorted(OPERATIONS))}"
        )
    model = autoscaling_model.service().operation_model(operation)
    request = validated(params, model.input_shape)
    modelled = {shape.name for shape in model.error_shapes}
    try:
        template_target.bring_up_to_date(context)
        return carry_out(request, context)
    except ControlRefusal as refused:
        raise _within(modelled, refused) from refused
    except (InvalidPolicy, ComponentNotFound, EndpointNotFound) as error:
        raise ValidationException(str(error)) from error
    except (LeaseHeld, LeaseLost) as error:
        raise _within(modelled, ConcurrentUpdateException(str(error))) from error
    except AccessDenied as error:
        telemetry.logger().error(
            "the API's role lacks a permission", extra={"operation": operation, "error": str(error)}
        )
        raise _within(modelled, FailedResourceAccessException(str(error))) from error
    except AwsRefused as error:
        telemetry.logger().warning("the API could not finish", extra={"operation": operation, "error": str(error)})
        raise InternalServiceException(str(error)) from error


def _within(modelled: set[str], refused: ControlRefusal) -> ControlRefusal:
    """The refusal itself if the operation has such an error, else the one that stands for everything else."""
    return refused if refused.code in modelled else InternalServiceException(str(refused))
