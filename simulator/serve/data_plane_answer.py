"""One answer on its way to the client: paced by its call, cut into parts, broken as was wished.

Three ways out: as SageMaker's event stream, as the container's own bytes while they come, or whole. Backpressure is the
transport's: `send` waits until the client has taken what was written, and only then is the next piece made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

from starlette.types import Receive, Send

from simulator.serve import event_stream
from simulator.serve.data_plane_calls import Call, Ending
from simulator.serve.data_plane_faults import BreakCode, Emulate
from simulator.serve.data_plane_parts import PartCutter
from simulator.serve.dialects import Writer
from simulator.serve.driver import AccountDriver

BATCH_BYTES = 65_536
"""So much is written at once when more tokens have come than were sent."""
PAUSE_LOOK_S = 0.02

_MESSAGES: dict[BreakCode, str] = {
    "StreamBroken": "The TCP connection between the client and the model was reset or closed.",
    "ModelInvocationTimeExceeded": "The model did not finish sending the response within the time that is allowed.",
    "InternalStreamFailure": "The stream processing failed because of an unknown error.",
    "Reset": "The connection was closed.",
}
CONTAINER_FAILED = "EngineCore encountered an issue. See stack trace (above) for the root cause."
"""What a container writes into an answer that it cannot finish."""


class Broken(Exception):
    """The answer ends before its end."""

    def __init__(self, code: BreakCode) -> None:
        super().__init__(_MESSAGES[code])
        self.code: BreakCode = code
        self.message = _MESSAGES[code]


class Answer:
    """The answer to one call."""

    def __init__(self, driver: AccountDriver, call: Call, writer: Writer, wishes: Emulate) -> None:
        self.writer = writer
        self._driver, self._call, self._wishes = driver, call, wishes

    async def send_event_stream(self, send: Send, headers: Mapping[str, str]) -> None:
        """As InvokeEndpointWithResponseStream answers; what breaks it is an exception inside the stream."""
        prompt, wishes = self.writer.prompt, self._wishes
        container_type = self.writer.stream_type if prompt.is_streamed else "application/json"
        await _start(
            send,
            {**headers, "content-type": event_stream.CONTENT_TYPE, "x-amzn-sagemaker-content-type": container_type},
        )
        cutter = PartCutter(prompt.seed ^ wishes.seed, wishes.parts, wishes.part_bytes)
        try:
            async for chunks in self._chunks():
                parts = [part for chunk in chunks for part in cutter.feed(chunk)]
                await self._send(send, b"".join(map(event_stream.payload_part, parts)))
            await self._send(send, b"".join(map(event_stream.payload_part, cutter.flush())))
        except Broken as broken:
            if broken.code == "Reset":
                return
            await self._send(send, _exception(broken))
        except TimeoutError:
            return
        await _end(send)

    async def send_as_it_comes(self, send: Send, headers: Mapping[str, str]) -> None:
        """The container's own bytes; what breaks it closes the connection in the middle of the answer."""
        await _start(send, {**headers, "content-type": self.writer.stream_type})
        try:
            async for chunks in self._chunks():
                await self._send(send, b"".join(chunks))
        except (Broken, TimeoutError):
            return
        await _end(send)

    async def send_when_complete(self, send: Send, headers: Mapping[str, str]) -> None:
        """The whole answer once its last token has come; Broken if it never does (nothing has been sent then)."""
        if self._wishes.break_after_tokens is not None:
            await self._call.more_than(min(self._wishes.break_after_tokens, self.writer.prompt.output_tokens) - 1)
            raise Broken(self._wishes.break_code)
        _raise_unless_served(await self._call.over())
        if self.writer.prompt.is_streamed:
            await self.send_as_it_comes(send, headers)
            return
        body = self.writer.whole()
        await _start(send, {**headers, "content-type": "application/json", "content-length": str(len(body))})
        await self._send(send, body)
        await _end(send)

    async def _chunks(self) -> AsyncIterator[list[bytes]]:
        """What the container writes, a list of chunks at a time. Raises Broken where it breaks."""
        if not self.writer.prompt.is_streamed:
            _raise_unless_served(await self._call.over())
            yield [self.writer.whole()]
            return
        call, wishes, last = self._call, self._wishes, self.writer.prompt.output_tokens
        batch: list[bytes] = []
        size = k = 0
        while True:
            if k == wishes.stall_after_tokens:
                yield batch
                batch, size = [], 0
                await self._pause(wishes.stall_s)
            if k == wishes.break_after_tokens or (k == last and last < (wishes.break_after_tokens or 0)):
                yield batch
                raise Broken(wishes.break_code)
            if k == wishes.error_after_tokens:
                yield [*batch, self.writer.failure(CONTAINER_FAILED)]
                return
            if k == last:
                yield [*batch, self.writer.closing()]
                return
            if k >= call.tokens or size >= BATCH_BYTES:
                if batch:
                    yield batch
                    batch, size = [], 0
                await self._until_there_is(k)
            chunk = (self.writer.opening() if k == 0 else b"") + self.writer.token(k)
            batch.append(chunk)
            size += len(chunk)
            k += 1

    async def _until_there_is(self, k: int) -> None:
        """Come back when token k can be written; others have a turn in between in any case."""
        call = self._call
        if self._wishes.pace == "none":
            await asyncio.sleep(0)
        else:
            await call.more_than(k)
        if call.ending is not Ending.SERVED and (self._wishes.pace == "none" or call.tokens <= k):
            _raise_unless_served(call.ending, may_run=True)

    async def _pause(self, duration_s: float) -> None:
        end_s = min(self._driver.now_s + duration_s, self._call.deadline_s)
        while (left_s := (end_s - self._driver.now_s) / self._driver.speed) > 0:
            if self._call.ending is Ending.BROKEN:
                return
            await asyncio.sleep(min(left_s, PAUSE_LOOK_S))

    async def _send(self, send: Send, data: bytes) -> None:
        """Write, and wait until there is room for more; TimeoutError when the client does not read until the limit."""
        if data:
            left_s = (self._call.deadline_s - self._driver.now_s) / self._driver.speed
            async with asyncio.timeout(max(left_s, PAUSE_LOOK_S)):
                await send({"type": "http.response.body", "body": data, "more_body": True})


async def unless_gone(receive: Receive, answering: Coroutine[Any, Any, None]) -> None:
    """Carry out `answering`, and stop it when the client goes away."""
    answer, gone = asyncio.ensure_future(answering), asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not answer.done():
            answer.cancel()
        await asyncio.wait((answer, gone))
    if not answer.cancelled():
        answer.result()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _raise_unless_served(ending: Ending | None, *, may_run: bool = False) -> None:
    if ending is Ending.BROKEN:
        raise Broken("StreamBroken")
    if ending is Ending.EXPIRED:
        raise Broken("ModelInvocationTimeExceeded")
    assert ending is Ending.SERVED or may_run


def _exception(broken: Broken) -> bytes:
    if broken.code == "InternalStreamFailure":
        return event_stream.exception("InternalStreamFailure", {"Message": broken.message})
    return event_stream.exception("ModelStreamError", {"Message": broken.message, "ErrorCode": broken.code})


async def _start(send: Send, headers: Mapping[str, str]) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": raw})


async def _end(send: Send) -> None:
    await send({"type": "http.response.body", "body": b"", "more_body": False})
