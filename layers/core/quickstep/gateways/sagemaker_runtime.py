"""Amazon SageMaker's data plane: invoking an inference component and reading what it streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from quickstep.errors import AwsRefused, ModelFailed
from quickstep.gateways.aws import stream_client
from quickstep.gateways.event_stream import payload_parts
from quickstep.gateways.refusals import refusal

MAX_STREAM_S = 480
"""The most that SageMaker lets a streaming answer take (8 minutes)."""
_READ_TIMEOUTS_S = (480, 240, 120, 60, 30, 15)
"""Silence that is borne, in steps, so that a handful of clients is enough."""


class ModelStream:
    """What a model answers, while it answers it: `content_type` of the container, and an iterator of bytes."""

    def __init__(self, answer: Mapping[str, Any], what: str) -> None:
        self.content_type: str = answer.get("ContentType") or "application/octet-stream"
        self._body = answer["Body"]
        self._parts = payload_parts(self._body, what=what)

    def __iter__(self) -> Iterator[bytes]:
        return self._parts

    def hang_up(self) -> None:
        """Give the connection up; what the model still sends is lost. Harmless when all has been read."""
        self._body.close()


def invoke(
    endpoint: str, component: str, body: bytes, *, remaining_s: float, extra: Mapping[str, str] | None = None
) -> ModelStream:
    """Send `body` (JSON) to `component` and return its answer as a stream. One attempt.

    `remaining_s` bounds the silence that is borne. `extra` are further members of the operation (SessionId, …).
    Raises `NoCapacity`, `ModelFailed`, `Throttled`, `ComponentNotFound`, `OutcomeUnknown` and the other errors of
    `refusals`; while it is read the stream raises `StreamBroken`.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    what = f"invoke inference component {component}"
    read_timeout_s = next((step_s for step_s in _READ_TIMEOUTS_S if step_s <= remaining_s), _READ_TIMEOUTS_S[-1])
    try:
        answer = stream_client("sagemaker-runtime", read_timeout_s).invoke_endpoint_with_response_stream(
            EndpointName=endpoint,
            InferenceComponentName=component,
            Body=body,
            ContentType="application/json",
            **(extra or {}),
        )
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        raise _refused(error, what) from None
    return ModelStream(answer, what)


def _refused(error: Exception, what: str) -> AwsRefused:
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    if (response.get("Error") or {}).get("Code") != "ModelError":
        return refusal(error, what=what)
    status = response.get("OriginalStatusCode")
    # The container's own words are for the caller alone: they may quote the prompt.
    return ModelFailed(
        f"{what}: the model answered {status or 'an error'}",
        status=int(status) if status is not None else None,
        answer=str(response.get("OriginalMessage") or ""),
    )
