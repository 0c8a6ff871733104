"""Requests and answers of the gateway, whichever way they travel: function URL, Lambda Web Adapter, a local port."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"
SSE = "text/event-stream"
MAX_BODY_BYTES = 6 * 1024 * 1024
"""A function URL takes no larger request."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names in lower case, the path without its query."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    request_id: str = ""
    deadline_s: float | None = None
    """When the answer must be complete, in seconds since the epoch; None = nobody said."""

    @classmethod
    def of_url_event(cls, event: Mapping[str, Any], *, request_id: str, deadline_s: float | None) -> Request:
        """The request in a function URL's event (payload format 2.0). Raises `Refusal` for anything else."""
        http = (event.get("requestContext") or {}).get("http") if isinstance(event, Mapping) else None
        if not isinstance(http, Mapping) or not isinstance(http.get("method"), str):
            raise Refusal(400, "invalid_event", "The event has no requestContext.http; call the function by its URL")
        body = event.get("body") or ""
        raw = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
        headers = {str(k).lower(): str(v) for k, v in (event.get("headers") or {}).items()}
        return cls(http["method"], event.get("rawPath") or "/", headers, raw, request_id, deadline_s)


@dataclass(slots=True)
class Response:
    """An answer whose body is made while it is sent; `end` must be called when it is sent or given up."""

    status: int
    content_type: str
    body: Iterable[bytes]
    headers: tuple[tuple[str, str], ...] = ()
    on_end: Callable[[], None] | None = None

    @property
    def all_headers(self) -> tuple[tuple[str, str], ...]:
        """What goes on the wire beside the status."""
        return (("content-type", self.content_type), ("cache-control", "no-store"), *self.headers)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.body)

    def end(self) -> None:
        """Give up what is open behind the body. Harmless when repeated."""
        closing = getattr(self.body, "close", None)
        if closing is not None:
            closing()
        if self.on_end is not None:
            done, self.on_end = self.on_end, None
            done()


class Refusal(Exception):
    """A request that is answered with an error: HTTP status, a word for programs, a sentence for people."""

    def __init__(self, status: int, code: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s

    def as_answer(self) -> Response:
        """The error as OpenAI's clients understand it."""
        headers: tuple[tuple[str, str], ...] = ()
        if self.retry_after_s is not None:
            headers = (("retry-after", str(max(1, round(self.retry_after_s)))),)
        body = json.dumps(error_document(self.status, self.code, self.message)).encode()
        return Response(self.status, JSON, (body,), headers)


def error_document(status: int, code: str, message: str) -> dict[str, Any]:
    """OpenAI's error object."""
    kind = "invalid_request_error" if 400 <= status < 500 and status not in (408, 429) else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def json_response(document: Any) -> Response:
    """A whole answer of ours."""
    return Response(200, JSON, (json.dumps(document, sort_keys=True).encode(),))
