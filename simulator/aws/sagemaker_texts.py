"""What the emulated SageMaker says when it refuses or fails, in the words of the real one.

Texts marked (seen) are quoted from public reports or AWS's own code; the others are worded like them.
"""

from __future__ import annotations

from simulator.errors import ServiceError

NO_HARDWARE = "There is not enough hardware resources on the instances for this endpoint to create a copy of the inference component."
"""(seen) FailureReason of a component whose copies fit nowhere."""

NO_CAPACITY = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. Please retry using a "
    "different ML instance type or after some time. Consider configuring InstancePools in your EndpointConfig with "
    "multiple instance types for priority-based fallback to improve capacity availability."
)
"""(seen) FailureReason of an endpoint for which AWS had no instances."""

UPDATE_FAILED = "Request to service failed. If failure persists after retry, contact customer support."
"""FailureReason of an update that failed for reasons of the service's own."""


def refused(message: str) -> ServiceError:
    """SageMaker's one answer to a request that it understands and does not accept."""
    return ServiceError("ValidationException", message, 400)


def could_not_find(kind: str, arn: str) -> ServiceError:
    """(seen) `kind` is "endpoint", "endpoint configuration", "inference component" or "model"."""
    return refused(f'Could not find {kind} "{arn}".')


def already_exists(kind: str, arn: str) -> ServiceError:
    """(seen for endpoints and endpoint configurations)"""
    return refused(f'Cannot create already existing {kind} "{arn}".')


def endpoint_in_progress(arn: str) -> ServiceError:
    """(seen) Any write on an endpoint that is not settled."""
    return refused(f'Cannot update in-progress endpoint "{arn}".')


def component_in_progress(verb: str, arn: str, state: str) -> ServiceError:
    """(seen) `verb` is "update" or "delete", `state` an internal word such as UPDATE_RC_IN_PROGRESS."""
    return refused(f'Cannot {verb} inference component "{arn}" while it is in state {state}.')


def quota_exceeded(instance_type: str, *, limit: int, used: int, delta: int) -> ServiceError:
    """(seen) The account-level quota; the whole request is refused."""
    return ServiceError(
        "ResourceLimitExceeded",
        f"The account-level service limit '{instance_type} for endpoint usage' is {limit} Instances, with current "
        f"utilization of {used} Instances and a request delta of {delta} Instances. Please use AWS Service Quotas to "
        "request an increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an "
        "increase for this quota.",
        400,
    )


def copy_count_must_be_positive() -> ServiceError:
    """(seen, word for word) CreateInferenceComponent with CopyCount 0."""
    return refused("Inference components copy count an integer larger than 0")


def managed_scaling_needs_components() -> ServiceError:
    """(seen)"""
    return refused("ManagedInstanceScaling is only supported for inference component endpoints.")


def min_instances_must_be_positive() -> ServiceError:
    """(seen in eu-west-3)"""
    return refused("Min instance count needs to be greater than 0 for enabled managed instance scaling")


def execution_role_required() -> ServiceError:
    return refused("ExecutionRoleArn is required for endpoint configurations that host inference components.")


def managed_capacity_refused(variant: str) -> ServiceError:
    return refused(
        f"DesiredInstanceCount of variant {variant} cannot be updated because ManagedInstanceScaling is enabled for it."
    )


def throttled() -> ServiceError:
    """(seen)"""
    return ServiceError("ThrottlingException", "Rate exceeded", 400)
