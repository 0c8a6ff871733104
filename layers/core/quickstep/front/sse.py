"""Server-sent events: comments while a request is held, and how a stream ends that cannot end well."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from quickstep.front.http import SSE

DONE = b"data: [DONE]\n\n"
MAX_HELD_BACK_BYTES = 1024 * 1024
"""What has no end for so long is no event; it is passed on as it comes."""


def comment(text: str) -> bytes:
    """A line that every client ignores, and that keeps connections and their time-outs alive."""
    return f": {' '.join(text.split())}\n\n".encode()


def ended_badly(document: dict[str, Any]) -> bytes:
    """The end of a stream that broke: OpenAI's clients raise on the first event and stop at the second."""
    return b"data: " + json.dumps(document).encode() + b"\n\n" + DONE


def as_line(document: dict[str, Any]) -> bytes:
    """An error as one more JSON line; containers that stream lines say their own errors so."""
    return json.dumps(document).encode() + b"\n"


def is_sse(content_type: str) -> bool:
    return content_type.split(";")[0].strip().lower() == SSE


def is_json_lines(content_type: str) -> bool:
    """JSON lines go by several names; LMI says `application/jsonlines`."""
    word = content_type.split(";")[0].strip().lower()
    return word in ("application/jsonlines", "application/x-jsonlines", "application/jsonl", "application/x-ndjson")


def whole(parts: Iterable[bytes], end: bytes) -> Iterator[bytes]:
    """The same bytes, cut after complete events (or lines) only, so that what broke off in the middle is never sent.

    `end` is what ends an event: a blank line in SSE, a line's end in JSON lines. What is left when all has come is sent too.
    """
    held = b""
    for part in parts:
        held = held + part if held else part
        cut = _last_end(held, end)
        if cut == 0 and len(held) > MAX_HELD_BACK_BYTES:
            cut = len(held)
        if cut:
            yield held[:cut]
            held = held[cut:]
    if held:
        yield held


def lines_as_events(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Each JSON line as one event, for a client that was already told to expect events."""
    held = b""
    for part in parts:
        held += part
        *lines, held = held.split(b"\n")
        yield from (b"data: " + line.strip() + b"\n\n" for line in lines if line.strip())
    if held.strip():
        yield b"data: " + held.strip() + b"\n\n"
    yield DONE


def as_one_event(parts: Iterable[bytes]) -> Iterator[bytes]:
    """A whole JSON document as one event: a container that does not stream, asked by a client that wants a stream."""
    yield b"data: " + b" ".join(b"".join(parts).split(b"\n")) + b"\n\n"
    yield DONE


def _last_end(held: bytes, end: bytes) -> int:
    if end == b"\n":
        return held.rfind(b"\n") + 1
    # CRLF is as good as LF in SSE, and a lone pair of either ends an event.
    ends = (held.rfind(b"\n\n") + 2, held.rfind(b"\r\n\r\n") + 4)
    return max((at for at, mark in zip(ends, (2, 4), strict=True) if at >= mark), default=0)
