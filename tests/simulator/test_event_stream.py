"""AWS's event framing, held against botocore's own reader and moto's own writer."""

from __future__ import annotations

import json

import boto3
import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.parsers import EventStreamJSONParser
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.core.eventstream import EventStreamEncoder

from simulator.serve import event_stream

OUTPUT = (
    boto3.session.Session()
    .client("sagemaker-runtime", region_name="eu-west-1")
    .meta.service_model.operation_model("InvokeEndpointWithResponseStream")
    .output_shape
)


def read(data: bytes):
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return list(buffer)


def parsed(data: bytes):
    """What boto3 would give for one event."""
    (event,) = read(data)
    return EventStreamJSONParser().parse(event.to_response_dict(), OUTPUT.members["Body"])


@settings(deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8), st.integers(1, 50))
def test_botocore_reads_every_part_however_the_connection_cuts_the_frames(parts, size):
    data = b"".join(map(event_stream.payload_part, parts))
    buffer, seen = EventStreamBuffer(), []
    for at in range(0, len(data), size):
        buffer.add_data(data[at : at + size])
        seen.extend(event.payload for event in buffer)
    assert seen == parts


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=300), st.text(max_size=40), st.text(min_size=1, max_size=20))
def test_a_message_has_the_bytes_that_another_encoder_gives_it(payload, value, name):
    headers = {":event-type": value, name: "x"}
    assert event_stream.message(headers, payload) == EventStreamEncoder().encode_message(headers, payload)


def test_a_part_is_the_models_payload_part():
    data = "data: é\n\n".encode()
    assert parsed(event_stream.payload_part(data)) == {"PayloadPart": {"Bytes": data}}


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("ModelStreamError", {"Message": "gone", "ErrorCode": "StreamBroken"}),
        ("ModelStreamError", {"Message": "late", "ErrorCode": "ModelInvocationTimeExceeded"}),
        ("InternalStreamFailure", {"Message": "größer"}),
    ],
)
def test_an_exception_is_one_of_the_models_and_keeps_its_members(name, members):
    (event,) = read(event_stream.exception(name, members))
    assert event.headers[":message-type"] == "exception"
    assert event.headers[":exception-type"] == name
    assert event.headers[":exception-type"] in OUTPUT.members["Body"].members
    assert json.loads(event.payload) == members
    answer = event.to_response_dict()
    assert answer["status_code"] == 400
    assert EventStreamJSONParser().parse(answer, OUTPUT.members["Body"])["Error"] == {
        "Code": name,
        "Message": members["Message"],
    }


def test_what_does_not_fit_into_a_message_is_refused():
    with pytest.raises(ValueError, match="25165825 bytes is over the 25165824"):
        event_stream.payload_part(bytes(event_stream.MAX_PAYLOAD_BYTES + 1))
    with pytest.raises(ValueError, match="does not fit"):
        event_stream.message({"x" * 256: "y"}, b"")
    with pytest.raises(ValueError, match="65536 bytes does not fit"):
        event_stream.message({"x": "y" * 65_536}, b"")
