"""The gateway as a Lambda function: one front for the life of the process, and a function URL's event made a request."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from typing import Any

from quickstep import clock
from quickstep.front.aws import Account
from quickstep.front.front import Front
from quickstep.front.http import Refusal, Request, Response
from quickstep.front.settings import GatewaySettings, gateway_settings
from quickstep.gateways import aws, sagemaker_runtime

_fronts: dict[tuple[str, GatewaySettings], Front] = {}


def front() -> Front:
    """The front that the environment describes. Raises `InvalidSettings`."""
    table = os.environ["TABLE_NAME"]
    settings = gateway_settings(os.environ)
    if (table, settings) not in _fronts:
        _fronts[table, settings] = Front(Account(table), settings.patience)
    return _fronts[table, settings]


def prepare() -> None:
    """Do before the first request what the first request would wait for."""
    aws.prepare_stream_clients(sagemaker_runtime.MAX_STREAM_S, "dynamodb", "events", "sagemaker")
    front()


def answer_url(event: Mapping[str, Any], context: Any) -> Response | dict[str, Any]:
    """Answer one request to the function URL.

    Under our streaming runtime the `Response` itself, to be sent while it is made; under any other caller (a plain
    invocation, a local run) a whole answer, as functions that do not stream give it.
    """
    deadline_s = clock.now_s() + context.get_remaining_time_in_millis() / 1000
    try:
        request = Request.of_url_event(event, request_id=context.aws_request_id, deadline_s=deadline_s)
    except Refusal as refused:
        response = refused.as_answer()
    else:
        response = front().respond_to(request)
    return response if getattr(context, "streams", False) else _whole(response)


def _whole(response: Response) -> dict[str, Any]:
    try:
        body = b"".join(response)
    finally:
        response.end()
    answer = {"statusCode": response.status, "headers": dict(response.all_headers)}
    try:
        return {**answer, "body": body.decode(), "isBase64Encoded": False}
    except UnicodeDecodeError:
        return {**answer, "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
