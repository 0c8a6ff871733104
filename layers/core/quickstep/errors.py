"""Typed errors: one class per thing that a caller does differently.

Gateways raise them from AWS's codes and texts; the state machine's Retry names them by the same word. Every message
says what, which, value and what to do next.
"""

from __future__ import annotations


class QuickstepError(Exception):
    """Base of every error that Quickstep raises on purpose."""


class InvalidSettings(QuickstepError):
    """The environment (template parameters) does not make sense together."""


class InvalidPolicy(QuickstepError):
    """A scaling policy breaks a rule of Application Auto Scaling or of ours."""


class InvalidEvent(QuickstepError):
    """An event is malformed, foreign or stale; `reason` is one of the `Event…` reason codes."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TargetNotFound(QuickstepError):
    """No scalable target is registered under that name or alarm."""


class AwsRefused(QuickstepError):
    """Base of what AWS answered instead of doing it."""


class Throttled(AwsRefused):
    """Too many calls; try again later with jitter."""


class ComponentNotFound(AwsRefused):
    """The inference component does not exist (any more)."""


class EndpointNotFound(AwsRefused):
    """The endpoint or the variant does not exist (any more)."""


class ComponentUpdating(AwsRefused):
    """The component is between two states (`UPDATE_RC_IN_PROGRESS`); keep the wish and look again."""


class EndpointUpdating(AwsRefused):
    """The endpoint is between two states (`Cannot update in-progress endpoint`); keep the wish and look again."""


class QuotaExceeded(AwsRefused):
    """The account's quota for the instance type refuses the whole request.

    `limit`, `used` and `asked` are instances; None where the text does not say.
    """

    def __init__(self, message: str, *, limit: int | None, used: int | None, asked: int | None) -> None:
        super().__init__(message)
        self.limit = limit
        self.used = used
        self.asked = asked

    @property
    def fits(self) -> int | None:
        """How many more instances the quota still allows; None if the text does not say."""
        if self.limit is None or self.used is None:
            return None
        return max(0, self.limit - self.used)


class InsufficientCapacity(AwsRefused):
    """AWS has no instance of that type to give now (ICE)."""


class NotEnoughHardware(AwsRefused):
    """The copies do not fit on the endpoint's instances."""


class ManagedByEndpoint(AwsRefused):
    """The variant's instances are moved by SageMaker itself (ManagedInstanceScaling); our write is not accepted."""


class AccessDenied(AwsRefused):
    """The role lacks a permission, or the resource lacks the tag that the permission asks for."""


class ManagedElsewhere(AwsRefused):
    """The endpoint or component has another Quickstep stack's tag, so our role may not change it: two stacks claim it."""


class Rejected(AwsRefused):
    """AWS found the request invalid for a reason that has no class of its own."""


class NoCapacity(AwsRefused):
    """An invocation found no copy of the inference component: it sleeps, wakes up, or has lost its copies."""


class ModelFailed(AwsRefused):
    """The model's container answered with an error.

    `status` is the container's own HTTP status and `answer` its own body, which may quote the prompt: for the caller only.
    """

    def __init__(self, message: str, *, status: int | None, answer: str) -> None:
        super().__init__(message)
        self.status = status
        self.answer = answer


class StreamBroken(AwsRefused):
    """A response stream ended before its end.

    `code` is SageMaker's `ModelInvocationTimeExceeded` or `StreamBroken`, `InternalStreamFailure`, or `ConnectionLost` if
    the connection itself went away.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class OutcomeUnknown(AwsRefused):
    """The call may or may not have been carried out (time-out, connection reset, 5xx); describe before asking again."""


class LeaseHeld(QuickstepError):
    """Somebody else may write to this endpoint now; they will see the poke and look again."""


class LeaseLost(QuickstepError):
    """The write lease ran out or was taken over; nothing may be written any more in this invocation."""
