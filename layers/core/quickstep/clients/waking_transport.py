"""httpx transports that sign every request and wait for a component that wakes. Needs the extra `client` (httpx)."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from quickstep.errors import AwsRefused
from quickstep.gateways.refusals import NO_CAPACITY

RETRIED = frozenset({429, 500, 502, 503, 504, 530})
"""Answers before the first token that the next try may not get."""
TRIES = 6
"""Attempts on answers that are not about capacity; waiting for capacity is bounded by time alone."""
FIRST_BACKOFF_S, MOST_BACKOFF_S = 0.5, 20.0
CAPACITY_WAIT_S = (4.0, 8.0)
"""Between two tries while no copy serves: every try counts as demand, so they are few."""
KNOCK_AGAIN_S = 60.0
NOT_READY = "ModelNotReadyException"
MOST_ERROR_BYTES = 65_536
WITHIN = len("Inference Component ") + 63 + 1
"""The text stands this far into its message at most: after the words before it, and perhaps a component's name."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request is tried: `deadline_s` seconds from its beginning. The rest is given in by tests."""

    deadline_s: float = 900.0
    seconds: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random


class _Persistence:
    """Decides after every try of one request whether, and after how many seconds, there is another one."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._until_s = patience.seconds() + patience.deadline_s
        self._tries = 0
        self._knocked_s: float | None = None

    def wait_s(self, status: int | None, body: bytes, retry_after: str | None) -> float | None:
        """Seconds to the next try; None = give the client what there is. `status` None = the connection failed."""
        if is_no_capacity(status, body):
            low_s, high_s = CAPACITY_WAIT_S
            wait_s = low_s + (high_s - low_s) * self._patience.draw()
        elif status is None or status in RETRIED:
            self._tries += 1
            if self._tries >= TRIES:
                return None
            most_s = min(MOST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** (self._tries - 1))
            wait_s = max(most_s * self._patience.draw(), float(retry_after) if _is_number(retry_after) else 0.0)
        else:
            return None
        return wait_s if self._patience.seconds() + wait_s < self._until_s else None

    def shall_knock(self, status: int | None, body: bytes) -> bool:
        """Whether to knock now: at the first try that finds no copy, and again when long nothing came of it."""
        if not is_no_capacity(status, body):
            return False
        now_s = self._patience.seconds()
        if self._knocked_s is not None and now_s - self._knocked_s < KNOCK_AGAIN_S:
            return False
        self._knocked_s = now_s
        return True


def is_no_capacity(status: int | None, body: bytes) -> bool:
    """Whether an answer says that no copy serves: a 400 that only its text tells from a bad request, or a 429 by name.

    A container may quote anything in its own errors, that text included, so it must stand at the message's beginning.
    """
    if status == 429:
        return NOT_READY.encode() in body[:MOST_ERROR_BYTES]
    before, said, _ = _message(body).partition(NO_CAPACITY)
    return status == 400 and bool(said) and len(before) <= WITHIN


def _message(body: bytes) -> str:
    """The message of an error, whether in AWS's or in OpenAI's form; the body itself if it is in neither."""
    try:
        document = json.loads(body[:MOST_ERROR_BYTES])
    except ValueError:
        return body[:MOST_ERROR_BYTES].decode(errors="replace")
    if not isinstance(document, dict):
        return ""
    error = document.get("error")
    inner = error if isinstance(error, dict) else document
    return str(inner.get("message") or inner.get("Message") or "")


class WakingTransport(httpx.BaseTransport):
    """Signs, sends, and tries again until the first byte of a good answer, or the deadline.

    `sign` gives the headers of a request each time that it is sent; `knock` wakes the component (None = somebody else does).
    A knock that is refused is borne: the wake alarm sees the failed request, and wakes it a minute later.
    """

    def __init__(
        self,
        sign: Callable[[httpx.Request], Mapping[str, str]],
        *,
        knock: Callable[[], None] | None = None,
        patience: Patience | None = None,
        inner: httpx.BaseTransport | None = None,
    ) -> None:
        self._sign, self._call_up = sign, knock
        self._patience = patience or Patience()
        self._inner = inner or httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        persistence = _Persistence(self._patience)
        while True:
            request.headers.update(self._sign(request))
            try:
                response: httpx.Response | httpx.TransportError = self._inner.handle_request(request)
            except httpx.TransportError as error:
                response = error
            if isinstance(response, httpx.Response) and response.status_code < 400:
                return response
            status, body, retry_after = None, b"", None
            if isinstance(response, httpx.Response):
                assert isinstance(response.stream, httpx.SyncByteStream)
                body = b"".join(response.stream)
                response.close()
                status, retry_after = response.status_code, response.headers.get("retry-after")
            if persistence.shall_knock(status, body) and self._call_up is not None:
                _borne(self._call_up)
            wait_s = persistence.wait_s(status, body, retry_after)
            if wait_s is None:
                return _as_it_came(response, body)
            self._patience.sleep(wait_s)

    def close(self) -> None:
        self._inner.close()


class AsyncWakingTransport(httpx.AsyncBaseTransport):
    """The same for asyncio; signing and knocking happen in a thread."""

    def __init__(
        self,
        sign: Callable[[httpx.Request], Mapping[str, str]],
        *,
        knock: Callable[[], None] | None = None,
        patience: Patience | None = None,
        inner: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._sign, self._call_up = sign, knock
        self._patience = patience or Patience()
        self._inner = inner or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        persistence = _Persistence(self._patience)
        while True:
            request.headers.update(await asyncio.to_thread(self._sign, request))
            try:
                response: httpx.Response | httpx.TransportError = await self._inner.handle_async_request(request)
            except httpx.TransportError as error:
                response = error
            if isinstance(response, httpx.Response) and response.status_code < 400:
                return response
            status, body, retry_after = None, b"", None
            if isinstance(response, httpx.Response):
                assert isinstance(response.stream, httpx.AsyncByteStream)
                body = b"".join([chunk async for chunk in response.stream])
                await response.aclose()
                status, retry_after = response.status_code, response.headers.get("retry-after")
            if persistence.shall_knock(status, body) and self._call_up is not None:
                await asyncio.to_thread(_borne, self._call_up)
            wait_s = persistence.wait_s(status, body, retry_after)
            if wait_s is None:
                return _as_it_came(response, body)
            await asyncio.sleep(wait_s)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _as_it_came(response: httpx.Response | httpx.TransportError, body: bytes) -> httpx.Response:
    if not isinstance(response, httpx.Response):
        raise response
    return httpx.Response(
        response.status_code,
        headers=response.headers,
        stream=httpx.ByteStream(body),
        extensions=response.extensions,
    )


def _borne(knock: Callable[[], None]) -> None:
    try:
        knock()
    except AwsRefused:
        return


def _is_number(text: str | None) -> bool:
    return text is not None and text.strip().isdecimal()
