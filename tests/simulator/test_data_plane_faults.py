"""What goes wrong on the way to a model and back (faults F73 to F77 of the catalogue, the data plane's share)."""

from __future__ import annotations

import asyncio
import json

import httpx
import openai
import pytest
from botocore.eventstream import EventStreamBuffer

from simulator.physics.requests import Status
from simulator.serve import data_plane
from simulator.serve.app import make_app
from simulator.serve.data_plane_answer import BATCH_BYTES
from tests.simulator.streaming_server import (
    ENDPOINT,
    EVENT_STREAM,
    FIFTY,
    LONG,
    MESSAGES,
    NAMED,
    OPENAI,
    RESOURCE,
    advance,
    invoke,
    openai_client,
    raw_connection,
    received,
    refused,
    said,
    served,
    stream,
    text_of,
    token,
    until,
    wish,
)


@pytest.fixture(scope="module")
def server():
    with served() as running:
        yield running


# ---------------------------------------------------------------- F73 a broken stream


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("StreamBroken", "ModelStreamError"),
        ("ModelInvocationTimeExceeded", "ModelStreamError"),
        ("InternalStreamFailure", "InternalStreamFailure"),
    ],
)
def test_f73_a_stream_breaks_in_the_middle_with_an_exception_that_boto3_knows(server, code, name):
    wishes = wish(f"break_after_tokens=3; break_code={code}; parts=aligned")
    data, error = received(stream(server, FIFTY, **wishes))
    assert data.count(b"data: {") == 4, "the role and three words"
    assert error.response["Error"]["Code"] == name
    until(lambda: server.in_flight == 0, "a broken stream is still in flight")


def test_f73_the_error_code_is_in_the_frame_that_boto3_hides(server):
    buffer, events = EventStreamBuffer(), []
    document = {**LONG, "quickstep_emulate": "break_after_tokens=3; break_code=ModelInvocationTimeExceeded"}
    with httpx.stream("POST", server.url + EVENT_STREAM, json=document, headers=NAMED) as answer:
        for data in answer.iter_raw():
            buffer.add_data(data)
            events.extend(buffer)
    assert events[-1].headers[":exception-type"] == "ModelStreamError"
    assert json.loads(events[-1].payload)["ErrorCode"] == "ModelInvocationTimeExceeded"
    assert all(event.headers[":event-type"] == "PayloadPart" for event in events[:-1])


def test_f73_a_connection_that_goes_leaves_an_answer_without_its_end(server):
    document = {**LONG, "quickstep_emulate": "break_after_tokens=3; break_code=Reset"}
    with (
        pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
        httpx.stream("POST", server.url + EVENT_STREAM, json=document, headers=NAMED) as answer,
    ):
        answer.read()
    seen = []
    with pytest.raises(openai.APIConnectionError):
        for chunk in openai_client(server).chat.completions.create(
            model="", messages=MESSAGES, stream=True, extra_headers={"X-Quickstep-Emulate": "break_after_tokens=3"}
        ):
            seen.append(chunk)
    assert len(seen) == 4, "what came before it broke is kept"


def test_f73_an_answer_that_is_not_streamed_fails_as_a_whole(server):
    status, code, message = refused(invoke, server, FIFTY, **wish("break_after_tokens=3"))
    assert (status, code) == (424, "ModelError")
    assert message.startswith("Received server error (0) from primary")


# ---------------------------------------------------------------- F74 a client that leaves


def test_f74_a_client_that_leaves_gives_its_place_on_the_copy_back(server):
    before = len(server.on_account(lambda live: live.fleet(RESOURCE).log))
    with httpx.stream("POST", server.url + EVENT_STREAM, json={**LONG, "max_tokens": 100_000}, headers=NAMED) as answer:
        parts = answer.iter_raw()
        next(parts)
        assert server.in_flight == 1
    until(lambda: server.in_flight == 0, "the request of a client that has gone is still in flight")
    assert server.on_account(lambda live: live.fleet(RESOURCE).log).status[before] == Status.LEFT


def test_f74_so_does_one_that_waits_for_a_whole_answer(server):
    document = {**LONG, "stream": False, "max_tokens": 100_000}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/endpoints/{ENDPOINT}/invocations", json=document, headers=NAMED, timeout=0.3)
    until(lambda: server.in_flight == 0, "the request of a client that has gone is still in flight")


# ---------------------------------------------------------------- F75 a slow reader


def test_f75_a_slow_reader_counts_until_its_last_byte_and_nobody_else_waits_for_it(server):
    """30 MB, far more than the sockets hold. The model is done long before its reader."""
    wishes = "pace=none; token_bytes=100000; parts=aligned"
    request = json.dumps({**LONG, "max_tokens": 300, "quickstep_emulate": wishes}).encode()
    with raw_connection(server, EVENT_STREAM, request) as slow:
        assert slow.recv(100).startswith(b"HTTP/1.1 200 OK")
        done_s = server.driver.now_s + 60
        advance(server, 60)
        assert server.driver.now_s >= done_s
        log = server.on_account(lambda live: live.fleet(RESOURCE).log)
        assert log.status[-1] == Status.SERVED, "the model has said its last token"
        assert server.in_flight == 1, "its reader has not"
        assert "".join(said(b"".join(stream(server, FIFTY)))) == text_of(FIFTY)
        size = 100
        while data := slow.recv(1 << 20):
            size += len(data)
            if data.endswith(b"\r\n0\r\n\r\n"):
                break
        assert size > 300 * 100_000
    until(lambda: server.in_flight == 0, "the request is still in flight after its last byte")


class Transport:
    """An ASGI server's side of one request, which takes one piece of the answer at a time."""

    def __init__(self, path, body, headers):
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self.scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "root_path": ""}
        self.scope |= {"query_string": b"", "headers": raw, "http_version": "1.1", "scheme": "http"}
        self.scope["asgi"] = {"version": "3.0"}
        self.sent = []
        """Sizes of the pieces."""
        self.gone = asyncio.Event()
        self._body, self._room = body, asyncio.Semaphore(0)

    async def receive(self):
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if message.get("body"):
            self.sent.append(len(message["body"]))
            await self._room.acquire()

    async def take(self, pieces):
        """Let the answer go on until this many pieces have been sent in all."""
        async with asyncio.timeout(20):
            while len(self.sent) < pieces:
                if self.sent:
                    self._room.release()
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("path", [EVENT_STREAM, f"{OPENAI}/chat/completions"])
def test_f75_nothing_is_made_for_a_client_that_does_not_read(server, path):
    """200 MB are asked for; a transport that takes nothing more has been given one piece, and the rest does not exist."""
    token_bytes = 100_000
    wishes = f"token_bytes={token_bytes}; parts=aligned"
    body = json.dumps({**LONG, "max_tokens": 2_000, "quickstep_emulate": wishes}).encode()
    headers = {"Authorization": f"Bearer {token()}", **(NAMED if path == EVENT_STREAM else {})}

    async def scene():
        transport = Transport(path, body, headers)
        app = make_app(server.driver, data_plane=data_plane.routes())
        serving = asyncio.create_task(app(transport.scope, transport.receive, transport.send))
        await transport.take(1)
        await server.driver.advance(120)
        log = await server.driver.call(lambda live: live.fleet(RESOURCE).log)
        assert log.status[-1] == Status.SERVED, "the model has said all its tokens"
        await asyncio.sleep(0.1)
        assert len(transport.sent) == 1
        await transport.take(4)
        assert max(transport.sent) <= BATCH_BYTES + 2 * token_bytes
        assert await server.driver.call(lambda live: live.fleet(RESOURCE).in_flight) == 1
        transport.gone.set()
        await serving

    asyncio.run(scene())
    until(lambda: server.in_flight == 0, "the request of a client that has gone is still in flight")


# ---------------------------------------------------------------- F76, F77


def test_f76_a_container_that_fails_inside_a_200_ends_its_answer_in_good_order(server):
    data, error = received(stream(server, FIFTY, **wish("error_after_tokens=3")))
    assert error is None
    *_, failure, done = [event for event in data.decode().split("\n\n") if event]
    assert json.loads(failure.removeprefix("data: "))["error"]["type"] == "InternalServerError"
    assert done == "data: [DONE]"
    seen = []
    with pytest.raises(openai.APIError, match="EngineCore"):
        for chunk in openai_client(server).chat.completions.create(
            model="", messages=MESSAGES, stream=True, extra_headers={"X-Quickstep-Emulate": "error_after_tokens=3"}
        ):
            seen.append(chunk)
    assert len(seen) == 4


def test_f77_a_container_may_answer_in_lines_of_json(server):
    data = b"".join(stream(server, {**FIFTY, "quickstep_emulate": "dialect=lmi"}))
    # Not splitlines of the text: U+2028 is one of the words, and no end of a line.
    lines = data.removesuffix(b"\n").split(b"\n")
    words = [json.loads(line)["choices"][0]["delta"].get("content", "") for line in lines]
    assert "".join(words) == text_of(FIFTY, dialect="lmi")
    native = {"inputs": "The sea", "parameters": {"max_new_tokens": 9}, "quickstep_emulate": "dialect=lmi"}
    answer = [json.loads(line) for line in b"".join(stream(server, native)).split(b"\n") if line]
    assert "".join(line["token"]["text"] for line in answer) == answer[-1]["generated_text"]
    tgi = b"".join(stream(server, {**native, "quickstep_emulate": "dialect=tgi"})).decode()
    events = [json.loads(event.removeprefix("data:")) for event in tgi.split("\n\n") if event]
    assert events[-1]["generated_text"] == "".join(event["token"]["text"] for event in events)


def test_a_pause_in_the_middle_is_not_an_end(server):
    """A model that says nothing for 10 s, while a client waits on."""
    begun_s = server.driver.now_s
    data = b"".join(stream(server, {**FIFTY, "quickstep_emulate": "stall_after_tokens=25; stall_s=10"}))
    assert "".join(said(data)) == text_of(FIFTY)
    assert server.driver.now_s - begun_s >= 10.0
