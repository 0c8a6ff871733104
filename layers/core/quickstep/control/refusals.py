"""What the API refuses, in Application Auto Scaling's words: one class per error of botocore's model.

The class's name is the error's code. Messages name the field, its value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping

from quickstep.errors import QuickstepError


class ControlRefusal(QuickstepError):
    """Base of everything that the API answers instead of doing it."""

    status = 400
    """HTTP status of the answer."""

    @property
    def code(self) -> str:
        return type(self).__name__

    @property
    def members(self) -> Mapping[str, str]:
        """Members of the error's shape beside its message."""
        return {}


class ValidationException(ControlRefusal):
    """The request is not one that can be carried out; it will not succeed unchanged."""


class LimitExceededException(ControlRefusal):
    """A quota of the API is reached."""


class ObjectNotFoundException(ControlRefusal):
    """The scalable target, policy or scheduled action is not registered."""


class ConcurrentUpdateException(ControlRefusal):
    """Somebody else changes the same target now; ask again in a moment."""


class FailedResourceAccessException(ControlRefusal):
    """Quickstep's role may not read or change what the request is about."""


class InvalidNextTokenException(ControlRefusal):
    """The token belongs to no page of this request."""


class InternalServiceException(ControlRefusal):
    """AWS did not answer, or something here is broken; asking again may help."""

    status = 500


class _AboutResource(ControlRefusal):
    def __init__(self, message: str, resource_arn: str) -> None:
        super().__init__(message)
        self.resource_arn = resource_arn

    @property
    def members(self) -> Mapping[str, str]:
        return {"ResourceName": self.resource_arn}


class ResourceNotFoundException(_AboutResource):
    """No scalable target has that ARN."""


class TooManyTagsException(_AboutResource):
    """The scalable target would have more tags than allowed."""


class UnknownOperationException(ControlRefusal):
    """There is no such operation (a protocol error, as in every AWS JSON service)."""


class SerializationException(ControlRefusal):
    """The body is not a JSON object (a protocol error, as in every AWS JSON service)."""


class AccessDeniedException(ControlRefusal):
    """The request came in without the identity that this way in asks for."""

    status = 403
