"""The wire: every botocore client made or used inside it is answered by the emulated account, in this process.

botocore's own validation of parameters stays on, and its modelled exceptions are raised, so the code above cannot tell
the difference. What has no emulation raises NotEmulated with service and operation; nothing ever reaches a network.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError, ParamValidationError
from botocore.response import StreamingBody
from botocore.validate import ParamValidator

from quickstep.gateways.aws import forget_clients
from simulator.errors import ServiceError

Answer = Callable[[str, str, dict[str, Any]], dict[str, Any]]
"""`answer(service, operation, params)`: service as botocore names it; raises ServiceError."""

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAEMULATED00000000", "AWS_SECRET_ACCESS_KEY": "emulated"}


class Wire:
    """Context manager. Wires nest: the innermost answers. `validate_answers` checks every answer against its model."""

    def __init__(self, answer: Answer, *, region: str, validate_answers: bool = False) -> None:
        self._answer, self._region, self._validate = answer, region, validate_answers
        self._before: list[tuple[Any, dict[str, str | None]]] = []

    def __enter__(self) -> Wire:
        environment = {**CREDENTIALS, "AWS_DEFAULT_REGION": self._region, "AWS_REGION": self._region}
        self._before.append((BaseClient._make_api_call, {name: os.environ.get(name) for name in environment}))
        os.environ.update(environment)
        wire = self

        def make_api_call(client: Any, operation_name: str, api_params: dict[str, Any]) -> dict[str, Any]:
            return wire._call(client, operation_name, api_params)

        BaseClient._make_api_call = make_api_call
        forget_clients()
        return self

    def __exit__(self, *_: Any) -> None:
        original, environment = self._before.pop()
        BaseClient._make_api_call = original
        forget_clients()
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def _call(self, client: Any, operation_name: str, params: dict[str, Any]) -> dict[str, Any]:
        model = client.meta.service_model.operation_model(operation_name)
        if model.input_shape is not None:
            report = ParamValidator().validate(params, model.input_shape)
            if report.has_errors():
                raise ParamValidationError(report=report.generate_report())
        service = client.meta.service_model.service_name
        try:
            answer = self._answer(service, operation_name, params)
        except ServiceError as refused:
            raise _client_error(client, operation_name, refused) from None
        if self._validate and model.output_shape is not None:
            _check_answer(service, operation_name, model.output_shape, answer)
        streaming = model.get_streaming_output() if model.output_shape is not None else None
        if streaming is not None:
            name = next(n for n, shape in model.output_shape.members.items() if shape is streaming)
            body = answer.get(name, b"")
            body = body.encode() if isinstance(body, str) else body
            answer = {**answer, name: StreamingBody(io.BytesIO(body), len(body))}
        return {**answer, "ResponseMetadata": {"RequestId": "emulated", "HTTPStatusCode": 200, "RetryAttempts": 0}}


def _check_answer(service: str, operation: str, shape: Any, answer: dict[str, Any]) -> None:
    known = {name: value for name, value in answer.items() if name in shape.members}
    if known.keys() != answer.keys():
        raise AssertionError(f"{service} {operation} answers {sorted(answer.keys() - known.keys())}, which it has not")
    report = ParamValidator().validate(known, shape)
    if report.has_errors():
        raise AssertionError(f"{service} {operation} answers out of shape: {report.generate_report()}")


def _client_error(client: Any, operation: str, refused: ServiceError) -> ClientError:
    body = {
        "Error": {"Code": refused.code, "Message": refused.message},
        "ResponseMetadata": {"RequestId": "emulated", "HTTPStatusCode": refused.status, "RetryAttempts": 0},
        **getattr(refused, "members", {}),
    }
    return client.exceptions.from_code(refused.code)(body, operation)
