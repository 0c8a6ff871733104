"""A client's body reaches the model byte for byte, but for the name of the model."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickstep.front.asked import asked
from quickstep.front.http import Request

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SPACES = st.sampled_from(["", " ", "\n\t", "  \r\n"])


def read(text: str, **headers: str):
    return asked(Request("POST", "/v1/chat/completions", headers, text.encode()))


@given(
    members=st.dictionaries(st.text(max_size=8).filter(lambda name: name != "model"), VALUES, max_size=5),
    place=st.integers(0, 5),
    space=SPACES,
    escaped=st.booleans(),
)
def test_everything_but_the_model_stays_byte_for_byte(members, place, space, escaped):
    items = [
        f"{json.dumps(k, ensure_ascii=escaped)}{space}:{space}{json.dumps(v, ensure_ascii=escaped)}"
        for k, v in members.items()
    ]
    place = min(place, len(items))

    def text(model: str) -> str:
        chosen = [*items[:place], f'"model"{space}:{space}{json.dumps(model)}', *items[place:]]
        return space + "{" + space + f"{space},{space}".join(chosen) + space + "}" + space

    found = read(text("chat"))
    assert found.body.decode() == text("")
    assert found.component == "chat"


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ('{"model": "chat", "n": 1.0e2, "x": 0.10}', '{"model": "", "n": 1.0e2, "x": 0.10}'),
        ('{"n": 12345678901234567890123, "model": "chat"}', '{"n": 12345678901234567890123, "model": ""}'),
        ('{"tools": [{"model": "inner"}], "model": "chat"}', '{"tools": [{"model": "inner"}], "model": ""}'),
        ('{"model": "first", "model": "chat"}', '{"model": "", "model": ""}'),
        ('{"m\\u006fdel": "chat"}', '{"m\\u006fdel": ""}'),
        ('{"model": "ch\\u0061t", "s": "a\\u0000\\ud83d\\ude00"}', '{"model": "", "s": "a\\u0000\\ud83d\\ude00"}'),
    ],
)  # fmt: skip
def test_numbers_escapes_and_inner_models_stay_as_they_were_written(text, body):
    found = read(text)
    assert (found.component, found.body.decode()) == ("chat", body)


@pytest.mark.parametrize(
    ("stream", "streams"),
    [("true", True), ("false", False), ("null", False), ('"true"', False), ("1", False)],
)
def test_only_true_means_a_stream(stream, streams):
    assert read(f'{{"model": "chat", "stream": {stream}}}').streams is streams


def test_sagemakers_own_headers_travel_along_and_no_other():
    found = read(
        '{"model": "chat"}',
        **{
            "x-amzn-sagemaker-session-id": "s1",
            "x-amzn-sagemaker-inference-id": "i1",
            "x-amzn-sagemaker-custom-attributes": "a=b",
            "x-amzn-sagemaker-target-variant": "other",
            "authorization": "AWS4-HMAC-SHA256 …",
        },
    )
    assert found.extra == {"SessionId": "s1", "InferenceId": "i1", "CustomAttributes": "a=b"}
