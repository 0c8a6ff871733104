"""What a model streams, read safely: parts of boto3's event stream put together to characters, records and text.

SageMaker cuts an answer where it likes: one part may hold three events, half of one, or half of a character. All
iterators here take the answer of `invoke_endpoint_with_response_stream`, read it as it comes, and raise `StreamBroken` if
it ends before its end; `records` and `text` also `ContainerError` if the container says so itself, inside a 200.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from quickstep.errors import QuickstepError
from quickstep.gateways.event_stream import payload_parts

DONE = "[DONE]"
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
"""A CR at the very end may be half of a CRLF."""


class ContainerError(QuickstepError):
    """The container reported an error inside an answer that had begun well. `record` is what it sent."""

    def __init__(self, message: str, record: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.record = record


def parts(answer: Mapping[str, Any]) -> Iterator[bytes]:
    """The bytes of each part, as they come. Raises `StreamBroken`, whose `code` says what broke."""
    return payload_parts(answer["Body"], what="stream")


def characters(answer: Mapping[str, Any]) -> Iterator[str]:
    """The answer as text, in whole characters, whatever its format; bytes that are no UTF-8 become U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for part in parts(answer):
        if whole := decoder.decode(part):
            yield whole
    if rest := decoder.decode(b"", final=True):
        yield rest


def records(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each JSON object of the answer: the data of an SSE event, a JSON line, or a whole document.

    Which of these it is, is seen from the answer itself: containers do not always name their format rightly.
    """
    for data in _data(_lines(parts(answer))):
        if data == DONE:
            return
        try:
            record = json.loads(data)
        except ValueError:
            raise ContainerError("the container sent a record that is no JSON", {}) from None
        if not isinstance(record, dict):
            raise ContainerError("the container sent a record that is no JSON object", {})
        problem = _problem(record)
        if problem is not None:
            raise ContainerError(f"the container failed while it answered: {problem}", record)
        yield record


def text(answer: Mapping[str, Any]) -> Iterator[str]:
    """What the model says, piece by piece: OpenAI's chunks, LMI's and TGI's tokens, or a whole answer of either."""
    for record in records(answer):
        if piece := _said(record):
            yield piece


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Lines, decoded when they are complete, so that no character is cut; their ends are LF, CRLF or CR."""
    held = b""
    for piece in pieces:
        held += piece
        if b"\n" in piece or b"\r" in held:
            *complete, held = _LINE_END.split(held)
            yield from (line.decode(errors="replace") for line in complete)
    if held:
        yield held.removesuffix(b"\r").decode(errors="replace")


def _data(lines: Iterable[str]) -> Iterator[str]:
    """The data of SSE events; of anything else each line that is not empty, or the document that they make together."""
    lines = iter(lines)
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        return
    if re.match(r"(data|event|id|retry)?:", first) or first in ("data", "event", "id", "retry"):
        yield from _events(first, lines)
        return
    document: list[str] = []
    for line in (first, *lines) if not _is_json(first) else _with_first(first, lines):
        if document or not _is_json(line):
            # Not one record a line, but one document on several of them.
            document.append(line)
        elif line.strip():
            yield line
    if "".join(document).strip():
        yield "\n".join(document)


def _events(first: str, lines: Iterable[str]) -> Iterator[str]:
    data: list[str] = []
    for line in _with_first(first, lines):
        if not line:
            if data:
                yield "\n".join(data)
            data = []
            continue
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
    if data:
        # The last event of some containers has no blank line after it.
        yield "\n".join(data)


def _with_first(first: str, lines: Iterable[str]) -> Iterator[str]:
    yield first
    yield from lines


def _is_json(line: str) -> bool:
    if not line.strip():
        return True
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _problem(record: Mapping[str, Any]) -> str | None:
    """A container's own words for an error: OpenAI's and LMI's `error`, TGI's `error_type`, LMI's `token.error_msg`."""
    error = record.get("error")
    if error:
        return str(error.get("message") or error) if isinstance(error, Mapping) else str(error)
    token, details = record.get("token"), record.get("details")
    if isinstance(token, Mapping) and token.get("error_msg"):
        return str(token["error_msg"])
    if isinstance(details, Mapping) and details.get("finish_reason") == "error":
        return str(record.get("generated_text") or "finish_reason is error")
    return None


def _said(record: Mapping[str, Any]) -> str:
    pieces = []
    for choice in record.get("choices") or ():
        delta = choice.get("delta") or choice.get("message") or {}
        pieces.append(delta.get("content") or choice.get("text") or "")
    token = record.get("token")
    if isinstance(token, Mapping):
        # LMI and TGI repeat everything in `generated_text` of the last token's record.
        pieces.append(token.get("text") or "")
    elif not pieces:
        pieces.append(record.get("generated_text") or "")
    return "".join(pieces)
