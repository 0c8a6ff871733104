"""boto3's streams put together again, wherever SageMaker cut them. Frames are written by moto's encoder, not by us."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.core.eventstream import EventStreamEncoder
from urllib3.exceptions import ProtocolError

from quickstep.clients import streaming
from quickstep.clients.answers import ContainerError
from quickstep.errors import StreamBroken


class Body:
    """What botocore puts around the connection, as far as it is read."""

    def __init__(self, chunks: Iterable[bytes | Exception]) -> None:
        self._raw_stream = self
        self._chunks = chunks

    def stream(self):
        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk


def frame(payload: bytes) -> bytes:
    headers = {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}
    return EventStreamEncoder().encode_message(headers, payload)


def failure(kind: str, **members: str) -> bytes:
    headers = {":message-type": "exception", ":exception-type": kind, ":content-type": "application/json"}
    return EventStreamEncoder().encode_message(headers, json.dumps(members).encode())


def answer(*chunks: bytes | Exception) -> dict:
    return {"Body": Body(chunks)}


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False) if a < b]


WORDS = ["Größe ", "漢字", " 🙂", '"quoted"\n', "\u2028", "end"]
CHAT = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in WORDS]
TEXTS = [{"choices": [{"index": 0, "text": word}]} for word in WORDS]
TOKENS = [{"token": {"id": 1, "text": word}} for word in WORDS]
LAST = {"token": {"id": 2, "text": "."}, "generated_text": "".join(WORDS) + ".", "details": {"finish_reason": "length"}}


def sse(records: list, end: str = "\n") -> bytes:
    events = [f": a comment{end}{end}"] + [
        f"event: x{end}data: {json.dumps(r, ensure_ascii=False)}{end}{end}" for r in records
    ]
    return ("".join(events) + f"data: [DONE]{end}{end}").encode()


def lines(records: list) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


FORMATS = {
    "OpenAI chat": (sse(CHAT), "".join(WORDS)),
    "OpenAI text": (sse(TEXTS), "".join(WORDS)),
    "CRLF": (sse(CHAT, "\r\n"), "".join(WORDS)),
    "CR": (sse(CHAT, "\r"), "".join(WORDS)),
    "LMI lines": (lines([*TOKENS, LAST]), "".join(WORDS) + "."),
    "TGI events": (sse([*TOKENS, LAST]), "".join(WORDS) + "."),
    "no last blank line": (sse(CHAT).removesuffix(b"data: [DONE]\n\n").removesuffix(b"\n\n"), "".join(WORDS)),
    "a whole document": (json.dumps({"choices": [{"message": {"content": "".join(WORDS)}}]}, indent=1).encode(), "".join(WORDS)),
    "one line": (json.dumps({"generated_text": "".join(WORDS)}).encode(), "".join(WORDS)),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40)
@given(parts=st.lists(st.integers(0, 5_000), max_size=40), wire=st.lists(st.integers(0, 20_000), max_size=10))
def test_the_text_is_the_same_wherever_events_characters_and_frames_are_cut(name, parts, wire):
    data, said = FORMATS[name]
    framed = b"".join(frame(part) for part in cut(data, parts))
    assert "".join(streaming.text(answer(*cut(framed, wire)))) == said
    assert "".join(streaming.characters(answer(*cut(framed, wire)))) == data.decode()
    assert b"".join(streaming.parts(answer(*cut(framed, wire)))) == data


def test_every_single_byte_may_be_a_part_of_its_own():
    for data, said in FORMATS.values():
        assert "".join(streaming.text(answer(*[frame(data[i : i + 1]) for i in range(len(data))]))) == said


def test_pieces_come_when_they_are_there_and_not_at_the_end():
    data = sse(CHAT)
    taken = []

    def chunks():
        for part in cut(data, list(range(0, len(data), 10))):
            taken.append(len(part))
            yield frame(part)

    first = next(streaming.text({"Body": Body(chunks())}))
    assert first == WORDS[0]
    assert sum(taken) < 120


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (
            failure("ModelStreamError", Message="m", ErrorCode="ModelInvocationTimeExceeded"),
            "ModelInvocationTimeExceeded",
        ),
        (failure("ModelStreamError", Message="m", ErrorCode="StreamBroken"), "StreamBroken"),
        (failure("ModelStreamError", Message="m"), "ModelStreamError"),
        (failure("InternalStreamFailure", Message="m"), "InternalStreamFailure"),
        (failure("SomethingNew", Message="m"), "SomethingNew"),
        (ProtocolError("Connection broken"), "ConnectionLost"),
        (ConnectionResetError("reset"), "ConnectionLost"),
        (TimeoutError("timed out"), "ConnectionLost"),
        (frame(b"never whole")[:-3], "ConnectionLost"),
        (b"x" + frame(b"shifted by a byte"), "ConnectionLost"),
    ],
    ids=[
        "too long",
        "broken",
        "no code",
        "internal",
        "unknown",
        "protocol",
        "reset",
        "time-out",
        "half a frame",
        "damaged",
    ],
)
def test_a_stream_that_ends_before_its_end_raises_one_error_that_says_how(wire, code):
    said = []
    with pytest.raises(StreamBroken) as raised:
        for piece in streaming.text(answer(frame(sse(CHAT[:2]).removesuffix(b"data: [DONE]\n\n")), wire)):
            said.append(piece)
    assert said == WORDS[:2]
    assert raised.value.code == code


def test_a_code_that_is_no_word_is_not_taken_over():
    wire = failure("ModelStreamError", Message="m", ErrorCode="what the user wrote: 1")
    with pytest.raises(StreamBroken) as raised:
        list(streaming.parts(answer(wire)))
    assert raised.value.code == "ModelStreamError"
    assert "user" not in str(raised.value)


@pytest.mark.parametrize(
    "record",
    [
        {"error": {"message": "out of memory", "code": 500}},
        {"error": "out of memory", "error_type": "generation"},
        {"token": {"error_msg": "out of memory"}},
        {"generated_text": "out of memory", "details": {"finish_reason": "error"}},
    ],
    ids=["OpenAI", "TGI", "LMI token", "LMI details"],
)
@pytest.mark.parametrize("form", [sse, lines], ids=["events", "lines"])
def test_an_error_inside_a_200_is_raised_with_what_the_container_said(record, form):
    said = []
    with pytest.raises(ContainerError, match="out of memory") as raised:
        for piece in streaming.text(answer(frame(form([TOKENS[0], record])))):
            said.append(piece)
    assert said == WORDS[:1]
    assert raised.value.record == record


@pytest.mark.parametrize("data", [b"data: {no json}\n\n", b"data: [1]\n\n", b"[1]\n", b"plain text\n"])
def test_what_is_no_record_is_an_error_and_not_silence(data):
    with pytest.raises(ContainerError):
        list(streaming.text(answer(frame(data))))


def test_an_empty_answer_has_no_text():
    assert list(streaming.text(answer())) == []
    assert list(streaming.characters(answer(frame(b"")))) == []
