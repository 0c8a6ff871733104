"""AWS's APIs as the served account answers them: one function from a request to an answer, on the account's thread.

Application Auto Scaling is Quickstep: the request goes to the control function as its URL would send it, byte for byte.
Below `/incumbent` it is the emulated Application Auto Scaling of AWS, so that scripts can register what Quickstep then
finds, refuses to fight, or migrates.
"""

from __future__ import annotations

import base64
import hashlib
import json

from simulator.errors import ServiceError
from simulator.not_emulated import EmulationFailed, NotEmulated
from simulator.serve.live import LiveAccount
from simulator.serve.protocols import (
    JSON,
    QUERY,
    REST_JSON,
    SERVICES,
    BadRequest,
    HttpAnswer,
    HttpRequest,
    Operation,
    operation_of,
    parameters_of,
    service_of,
    write_answer,
    write_refusal,
)

AUTOSCALING = "application-autoscaling"
CONTROL = "ControlFunction"
NOT_EMULATED = "NotImplemented"
"""The error's code, with status 501, for what neither the account nor moto has. SDKs do not repeat it."""


def answer(live: LiveAccount, request: HttpRequest, *, incumbent: bool = False) -> HttpAnswer:
    """Answer one request of an AWS client. `incumbent`: Application Auto Scaling is AWS's, not Quickstep's."""
    request_id = _request_id(live)
    found = service_of(request)
    if found is None:
        return _elsewhere(live, request, request_id)
    service, protocol = found
    if service.name == AUTOSCALING and not incumbent:
        return _by_control(live, request, request_id)
    operation: Operation | None = None
    try:
        operation = operation_of(request, service, protocol)
        params = parameters_of(request, operation)
        result = live.account.call(service.name, operation.model.name, params)
        return write_answer(operation, result, request_id)
    except ServiceError as refused:
        code, message, status = refused.code, refused.message, refused.status
        members = getattr(refused, "members", None)
        return write_refusal(operation, protocol, code, message, status, request_id, members)
    except BadRequest as bad:
        return write_refusal(operation, protocol, bad.code, str(bad), bad.status, request_id)
    except NotEmulated as gap:
        return write_refusal(operation, protocol, NOT_EMULATED, _gap(str(gap)), 501, request_id)
    except (EmulationFailed, Exception) as broken:
        live.problem(f"{service.name}: {type(broken).__name__}: {broken}")
        return write_refusal(operation, protocol, "InternalFailure", str(broken), 500, request_id)


def _by_control(live: LiveAccount, request: HttpRequest, request_id: str) -> HttpAnswer:
    """Let the deployed control function answer, with the event that its function URL would make of the request."""
    account = live.account
    event = {
        "version": "2.0",
        "rawPath": "/",
        "rawQueryString": request.query,
        "headers": dict(request.headers),
        "requestContext": {
            "accountId": account.stack.account_id,
            "requestId": request_id,
            "authorizer": {"iam": {"accountId": account.stack.account_id, "userArn": _owner(live)}},
            "http": {"method": request.method, "path": "/", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
        },
        "body": base64.b64encode(request.body).decode(),
        "isBase64Encoded": True,
    }
    try:
        name = account.stack[CONTROL].name
        result = account.call("lambda", "Invoke", {"FunctionName": name, "Payload": json.dumps(event).encode()})
    except ServiceError as refused:
        code = "ThrottlingException" if refused.status == 429 else refused.code
        return write_refusal(None, JSON, code, refused.message, refused.status, request_id)
    document = json.loads(result["Payload"])
    if "FunctionError" in result:
        # Lambda answers so for the URL of a function that failed.
        message = f"{document.get('errorType')}: {document.get('errorMessage')}"
        live.problem(f"{CONTROL}: {message}")
        return write_refusal(None, JSON, "InternalServiceException", message, 502, request_id)
    return HttpAnswer(document["statusCode"], document["headers"], document["body"].encode())


def _elsewhere(live: LiveAccount, request: HttpRequest, request_id: str) -> HttpAnswer:
    """A request to a service that the account does not have itself."""
    target = "x-amz-target" in request.headers
    protocol = JSON if target else QUERY if "Action" in request.form() else REST_JSON
    if request.scope is None:
        message = (
            f"{request.method} {request.path} is not signed, so it does not say which AWS service it is for; "
            "set dummy credentials (any will do), or see GET /_quickstep/state"
        )
        return write_refusal(None, protocol, "MissingAuthenticationToken", message, 403, request_id)
    if request.scope in {one.scope for one in SERVICES}:
        said = request.headers.get("x-amz-target") or request.form().get("Action") or f"{request.method} {request.path}"
        code = "InvalidAction" if protocol == QUERY else "UnknownOperationException"
        return write_refusal(None, protocol, code, f"{said} is no operation of {request.scope}", 404, request_id)
    try:
        return live.moto.answer(request)
    except NotEmulated as gap:
        return write_refusal(None, protocol, NOT_EMULATED, _gap(str(gap)), 501, request_id)
    except Exception as broken:
        live.problem(f"moto, {request.scope}: {type(broken).__name__}: {broken}")
        return write_refusal(None, protocol, "InternalFailure", f"moto: {broken!r}", 500, request_id)


def _gap(what: str) -> str:
    return f"quickstep serve: {what}"


def _owner(live: LiveAccount) -> str:
    return f"arn:aws:iam::{live.account.stack.account_id}:root"


def _request_id(live: LiveAccount) -> str:
    live.requests += 1
    digest = hashlib.sha256(f"request {live.requests}".encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"
