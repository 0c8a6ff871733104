"""ListTagsForResource, TagResource, UntagResource: tags of scalable targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quickstep.control.context import ControlContext
from quickstep.control.refusals import (
    InternalServiceException,
    ResourceNotFoundException,
    TooManyTagsException,
    ValidationException,
)

TRIES = 5


def list_tags(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """The tags of the target with that ARN."""
    return {"Tags": context.records.target_tags(_known(params["ResourceARN"], context))[0]}


def tag(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """Add tags, or change their values."""
    check_keys(params["Tags"])
    return _changed(params["ResourceARN"], params["Tags"], (), context)


def untag(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """Delete tags; those that are not there are no error."""
    return _changed(params["ResourceARN"], {}, params["TagKeys"], context)


def check_keys(tags: Mapping[str, str]) -> None:
    """Raise ValidationException for keys that are AWS's own."""
    for key in tags:
        if key.lower().startswith("aws:"):
            raise ValidationException(f"Tags has the key {key!r}; keys that begin with aws: are reserved, use another")


def _changed(arn: str, new: Mapping[str, str], gone: Any, context: ControlContext) -> dict[str, Any]:
    arn_id = _known(arn, context)
    for _ in range(TRIES):
        have, version = context.records.target_tags(arn_id)
        wanted = {key: value for key, value in {**have, **new}.items() if key not in gone}
        if len(wanted) > context.limits.tags_per_target:
            raise TooManyTagsException(
                f"the scalable target would have {len(wanted)} tags; at most {context.limits.tags_per_target} are allowed",
                arn,
            )
        if wanted == have or context.records.change_tags(arn_id, wanted, version=version):
            return {}
    raise InternalServiceException(f"the tags of {arn} are being changed by others; repeat the request")


def _known(arn: str, context: ControlContext) -> str:
    arn_id = context.names.arn_id_of(arn)
    if arn_id is None or context.records.resource_of_arn(arn_id) is None:
        raise ResourceNotFoundException(
            f"ResourceARN is {arn!r}; no scalable target of this stack has that ARN (see DescribeScalableTargets)", arn
        )
    return arn_id
