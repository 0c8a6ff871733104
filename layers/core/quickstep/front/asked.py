"""What a client asks for: which component, streamed or not; and the same body as the model is to get it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from json.decoder import JSONDecodeError, JSONDecoder
from typing import Any

from quickstep.front.http import MAX_BODY_BYTES, Refusal, Request

HOLD_HEADER = "x-quickstep-hold-seconds"
_FORWARDED = {
    "x-amzn-sagemaker-custom-attributes": "CustomAttributes",
    "x-amzn-sagemaker-inference-id": "InferenceId",
    "x-amzn-sagemaker-prefix-aware-id": "PrefixAwareId",
    "x-amzn-sagemaker-session-id": "SessionId",
}
"""Headers of SageMaker's own API that a client may send along, and the members that they become."""
_SPACE = " \t\n\r"


@dataclass(frozen=True, slots=True)
class Asked:
    """One completion that is asked for."""

    component: str
    streams: bool
    body: bytes
    """As it came, but with an empty `model`: vLLM refuses a name that it was not started with, and takes an empty one."""
    hold_s: float | None = None
    """How long the client is willing to be held; None = as long as the gateway does."""
    extra: Mapping[str, str] = field(default_factory=dict)


def asked(request: Request) -> Asked:
    """Read a completion request. Raises `Refusal` (400, 413) with one sentence; nothing of the body is quoted."""
    if len(request.body) > MAX_BODY_BYTES:
        raise Refusal(
            413, "request_too_large", f"The body has {len(request.body)} bytes; at most {MAX_BODY_BYTES} are taken"
        )
    try:
        text = request.body.decode()
        members = _members(text)
    except (UnicodeDecodeError, JSONDecodeError, RecursionError):
        raise Refusal(400, "invalid_json", "The body is no JSON object in UTF-8") from None
    model = next((value for key, value, _ in reversed(members) if key == "model"), None)
    if not isinstance(model, str) or not model:
        raise Refusal(400, "model_missing", "The body has no `model`; name an inference component, see GET /v1/models")
    streams = next((value for key, value, _ in reversed(members) if key == "stream"), False)
    return Asked(
        component=model,
        streams=streams is True,
        body=_without_model(text, members).encode(),
        hold_s=_hold_s(request.headers.get(HOLD_HEADER)),
        extra={member: request.headers[name] for name, member in _FORWARDED.items() if request.headers.get(name)},
    )


def _members(text: str) -> list[tuple[str, Any, tuple[int, int]]]:
    """Name, value and the value's place in `text`, for every member of the outermost object."""
    decoder = JSONDecoder()
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise JSONDecodeError("no object", "", 0)
    found: list[tuple[str, Any, tuple[int, int]]] = []
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        if found:
            at = _skip(text, _expect(text, at, ","))
        name, at = decoder.raw_decode(text, at)
        if not isinstance(name, str):
            raise JSONDecodeError("no name", "", 0)
        start = _skip(text, _expect(text, _skip(text, at), ":"))
        value, end = decoder.raw_decode(text, start)
        found.append((name, value, (start, end)))
        at = _skip(text, end)
    if _skip(text, at + 1) != len(text):
        raise JSONDecodeError("more than one value", "", 0)
    return found


def _without_model(text: str, members: list[tuple[str, Any, tuple[int, int]]]) -> str:
    """`text` with every outermost `model` empty; all else stays byte for byte, numbers and blanks included."""
    pieces, at = [], 0
    for name, _, (start, end) in members:
        if name == "model":
            pieces += [text[at:start], json.dumps("")]
            at = end
    return "".join([*pieces, text[at:]])


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _expect(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise JSONDecodeError(f"no {mark}", "", 0)
    return at + 1


def _hold_s(header: str | None) -> float | None:
    if header is None:
        return None
    if not header.strip().isdecimal():
        raise Refusal(400, "invalid_header", f"{HOLD_HEADER} must be whole seconds; 0 = do not hold")
    return float(header)
