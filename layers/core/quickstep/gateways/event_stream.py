"""The payload of an event stream (`application/vnd.amazon.eventstream`), as `InvokeEndpointWithResponseStream` answers it.

The frames are read from the connection here and not through botocore's own iterator, because that one drops
`ModelStreamError.ErrorCode`: a model that took too long and a connection that broke would look the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from quickstep.errors import StreamBroken

INTERNAL = "InternalStreamFailure"
CONNECTION_LOST = "ConnectionLost"


def payload_parts(body: Any, *, what: str) -> Iterator[bytes]:
    """The bytes of each `PayloadPart` of `body`, the answer's `Body`, as they arrive. `what` names the stream in errors.

    Where a part ends means nothing: it may hold several events of the model, half of one, or half of a character.
    Raises `StreamBroken` if the stream ends with an error of SageMaker's, or with the connection.
    """
    from botocore.eventstream import ChecksumMismatch, EventStreamBuffer, InvalidHeadersLength, InvalidPayloadLength
    from urllib3.exceptions import HTTPError

    frames = EventStreamBuffer()
    try:
        for data in body._raw_stream.stream():
            frames.add_data(data)
            for message in frames:
                if message.headers.get(":message-type") == "event":
                    if message.headers.get(":event-type") == "PayloadPart":
                        yield message.payload
                else:
                    raise _failure(message, what)
    except (HTTPError, OSError) as error:
        raise StreamBroken(f"{what}: the connection was lost ({type(error).__name__})", code=CONNECTION_LOST) from None
    except (ChecksumMismatch, InvalidHeadersLength, InvalidPayloadLength) as error:
        raise StreamBroken(f"{what}: the stream is damaged ({type(error).__name__})", code=CONNECTION_LOST) from None
    if frames._data:
        raise StreamBroken(f"{what}: the stream ends inside a frame", code=CONNECTION_LOST)


def _failure(message: Any, what: str) -> StreamBroken:
    """SageMaker's own error in a stream. Its text is left out: a container may have quoted the prompt in it."""
    kind = _word(message.headers.get(":exception-type") or message.headers.get(":error-code")) or INTERNAL
    try:
        document = json.loads(message.payload)
    except ValueError:
        document = None
    code = _word(document.get("ErrorCode")) if isinstance(document, dict) and kind == "ModelStreamError" else None
    code = code or kind
    return StreamBroken(f"{what}: {_MEANS.get(code, 'the model stopped answering')} ({code})", code=code)


def _word(value: Any) -> str | None:
    """`value` if it is one word, as codes are: it is logged, and a text might be anybody's."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z]{1,64}", value) else None


_MEANS = {
    "ModelInvocationTimeExceeded": "the model took longer than SageMaker allows",
    "StreamBroken": "the connection between SageMaker and the model broke",
    INTERNAL: "SageMaker lost the stream; the request may be made again",
}
