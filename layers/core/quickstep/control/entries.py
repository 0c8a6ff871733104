"""The ways in: a direct invoke, a request to the function URL, a CloudFormation custom resource. One answer for all.

* Direct: `{"operation": "RegisterScalableTarget", "parameters": {…}}` (also `Operation`/`Parameters`, and the AWS CLI's
  spelling `register-scalable-target`). The answer is the operation's output, or `{"__type": <error>, "message": …}`.
* URL: AWS JSON 1.1, `X-Amz-Target: AnyScaleFrontendService.<operation>`, as every AWS SDK sends it. The body of the
  answer is the same.
* CloudFormation: see `custom_resources`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

from quickstep import telemetry
from quickstep.control.api import OPERATIONS, handle
from quickstep.control.context import ControlContext
from quickstep.control.refusals import (
    AccessDeniedException,
    ControlRefusal,
    InternalServiceException,
    SerializationException,
    UnknownOperationException,
    ValidationException,
)
from quickstep.errors import InvalidSettings

CONTENT_TYPE = "application/x-amz-json-1.1"
TARGET_PREFIX = "AnyScaleFrontendService"
BODY_CHARACTERS = 256 * 1024
"""Most of a request's body, as sent. Lambda would take 6 MB; the largest policy document with Quickstep's own members has
a few thousand, and 256 KB is what EventBridge and asynchronous invocations take at most."""
MakeContext = Callable[[], ControlContext]


def is_custom_resource(event: Mapping[str, Any]) -> bool:
    """True for a request of CloudFormation."""
    return "RequestType" in event and "ResponseURL" in event


def is_http(event: Mapping[str, Any]) -> bool:
    """True for a request to the function URL (payload format 2.0)."""
    return "requestContext" in event and "http" in event["requestContext"]


def answer_direct(event: Mapping[str, Any], make_context: MakeContext) -> dict[str, Any]:
    """Answer a direct invoke; a refusal is an answer too."""
    try:
        operation, params = _direct(event)
        return handle(operation, params, context=make_context())
    except ControlRefusal as refused:
        return document(refused)
    except InvalidSettings as error:
        return document(_broken(error))


def answer_http(event: Mapping[str, Any], make_context: MakeContext, *, request_id: str) -> dict[str, Any]:
    """Answer a request to the function URL with an HTTP response of payload format 2.0."""
    headers = {"content-type": CONTENT_TYPE, "x-amzn-requestid": request_id}
    try:
        _check_identity(event)
        operation, params = _http(event)
        body, status = handle(operation, params, context=make_context()), 200
    except (ControlRefusal, InvalidSettings) as problem:
        refused = problem if isinstance(problem, ControlRefusal) else _broken(problem)
        body, status = document(refused), refused.status
        headers["x-amzn-errortype"] = refused.code
    except Exception as error:  # Lambda would answer 502 with nothing that a client could read.
        telemetry.logger().exception("the API failed")
        broken = InternalServiceException(f"{type(error).__name__}: {error}")
        body, status = document(broken), broken.status
        headers["x-amzn-errortype"] = broken.code
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return {"statusCode": status, "headers": headers, "body": text, "isBase64Encoded": False}


def document(refused: ControlRefusal) -> dict[str, Any]:
    """A refusal as AWS JSON 1.1 writes it."""
    return {"__type": refused.code, "message": str(refused), **refused.members}


def _direct(event: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    operation = event.get("operation", event.get("Operation"))
    params = event.get("parameters", event.get("Parameters", {}))
    if not isinstance(operation, str):
        raise ValidationException(
            'the event has no "operation"; send {"operation": "DescribeScalableTargets", "parameters": '
            '{"ServiceNamespace": "sagemaker"}}'
        )
    return _spelled(operation), _object(params, "parameters")


def _http(event: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    method = event["requestContext"]["http"].get("method", "POST")
    if method != "POST":
        raise UnknownOperationException(f"the method is {method}; AWS JSON 1.1 uses POST")
    headers = {str(name).lower(): value for name, value in (event.get("headers") or {}).items()}
    target = headers.get("x-amz-target", "")
    prefix, _, operation = target.partition(".")
    if prefix != TARGET_PREFIX or not operation:
        raise UnknownOperationException(f"X-Amz-Target is {target!r}; it must be {TARGET_PREFIX}.<operation>")
    body = event.get("body") or "{}"
    if len(body) > BODY_CHARACTERS:
        raise SerializationException(
            f"the body has {len(body)} characters, {BODY_CHARACTERS} are the most; send one request per target or policy"
        )
    try:
        text = base64.b64decode(body, validate=True).decode() if event.get("isBase64Encoded") else body
        params = json.loads(text)
    except (ValueError, binascii.Error, RecursionError) as error:
        raise SerializationException(f"the body is not JSON: {error}") from error
    return operation, _object(params, "body")


def _check_identity(event: Mapping[str, Any]) -> None:
    """Lambda puts the caller's identity into the request only where the URL asks for one (AuthType AWS_IAM)."""
    if not (event["requestContext"].get("authorizer") or {}).get("iam"):
        raise AccessDeniedException("the request has no IAM identity; the function URL must have AuthType AWS_IAM")


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SerializationException(f"the {what} must be a JSON object, not {type(value).__name__}")
    return value


def _spelled(operation: str) -> str:
    """The operation of that name, also in the AWS CLI's or Python's spelling."""
    plain = operation.replace("-", "").replace("_", "").lower()
    return next((name for name in OPERATIONS if name.lower() == plain), operation)


def _broken(error: Exception) -> InternalServiceException:
    telemetry.logger().error("the stack's settings are broken", extra={"error": str(error)})
    return InternalServiceException(f"the stack is not deployed properly: {error}")
