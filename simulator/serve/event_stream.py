"""AWS's binary framing of a response that comes in events (application/vnd.amazon.eventstream).

One message: total length, length of the headers, CRC-32 of these eight bytes; headers; payload; CRC-32 of all before it.
All numbers are big-endian. botocore has the reading half (`botocore.eventstream`), which the tests hold this against.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from zlib import crc32

CONTENT_TYPE = "application/vnd.amazon.eventstream"
MAX_PAYLOAD_BYTES = 24 * 1024 * 1024
"""What botocore accepts in one message."""

_STRING = 7
"""The type of a header value that is a string."""
_FIXED_BYTES = 16


def payload_part(data: bytes) -> bytes:
    """A `PayloadPart` event that carries `data` as it is. ValueError beyond `MAX_PAYLOAD_BYTES`."""
    return message(
        {":event-type": "PayloadPart", ":content-type": "application/octet-stream", ":message-type": "event"}, data
    )


def exception(name: str, members: Mapping[str, str]) -> bytes:
    """An exception that ends the stream, e.g. "ModelStreamError" with `Message` and `ErrorCode`."""
    payload = json.dumps(dict(members), ensure_ascii=False).encode()
    return message(
        {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}, payload
    )


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One framed message. Header names up to 255 bytes, values up to 65,535, payload up to `MAX_PAYLOAD_BYTES`."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {len(payload)} bytes is over the {MAX_PAYLOAD_BYTES} that a message may carry")
    block = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack("!II", _FIXED_BYTES + len(block) + len(payload), len(block))
    body = prelude + struct.pack("!I", crc32(prelude)) + block + payload
    return body + struct.pack("!I", crc32(body))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    if not 1 <= len(key) <= 255 or len(text) > 65_535:
        raise ValueError(f"header {name!r} with a value of {len(text)} bytes does not fit into an event")
    return struct.pack("!B", len(key)) + key + struct.pack("!BH", _STRING, len(text)) + text
