"""What the emulated containers say: held against the OpenAI package's own types, and cut into parts anywhere."""

from __future__ import annotations

import codecs
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from simulator.errors import ServiceError
from simulator.serve.data_plane_faults import Emulate, Refusals, read_wishes
from simulator.serve.data_plane_parts import PartCutter
from simulator.serve.data_plane_text import TOKENS, natural_tokens, token_text
from simulator.serve.dialects import (
    MAX_MODEL_TOKENS,
    ContainerRefusal,
    dialect_of_image,
    read_prompt,
    writer,
)

CHAT = {"messages": [{"role": "user", "content": "Tell me of the sea."}]}
TEXT = {"prompt": "The sea"}
NATIVE = {"inputs": "The sea"}


def prompt_of(document, dialect="openai", **more):
    return read_prompt({**document, **more}, dialect, seed_text="inference-component/chat")


def made(document, dialect="openai", **more):
    return writer(prompt_of(document, dialect, **more), number=7, created_s=1_767_225_600.9)


def chunks(answer):
    tokens = [answer.token(k) for k in range(answer.prompt.output_tokens)]
    return [answer.opening(), *tokens, answer.closing()]


def events(data: bytes, prefix="data: "):
    """The documents of a stream of server-sent events, by the rule that an empty line ends an event."""
    found = [event.removeprefix(prefix) for event in data.decode().split("\n\n") if event]
    return [event if event == "[DONE]" else json.loads(event) for event in found]


# ---------------------------------------------------------------- the request


@pytest.mark.parametrize(
    ("more", "tokens", "how"),
    [
        ({"max_tokens": 50, "ignore_eos": True}, 50, "length"),
        ({"max_completion_tokens": 40, "max_tokens": 50, "ignore_eos": True}, 40, "length"),
        ({"max_tokens": 1}, 1, "length"),
        ({"max_tokens": 400}, 97, "stop"),
        ({"max_tokens": 400, "min_tokens": 300}, 300, "stop"),
        ({"max_tokens": 400, "ignore_eos": True}, 400, "length"),
        ({}, 97, "stop"),
    ],
)
def test_the_length_follows_from_the_request(more, tokens, how):
    prompt = prompt_of(CHAT, **more)
    assert (prompt.output_tokens, prompt.finish_reason) == (tokens, how)


def test_the_native_dialects_name_the_length_otherwise():
    prompt = prompt_of(NATIVE, "tgi", parameters={"max_new_tokens": 9, "ignore_eos_token": True})
    assert (prompt.output_tokens, prompt.kind) == (9, "native")


def test_a_prompt_has_a_token_for_every_four_characters():
    assert prompt_of(TEXT).input_tokens == 2
    assert prompt_of({"prompt": "x" * 4000}).input_tokens == 1000
    parts = [{"type": "text", "text": "x" * 794}]
    assert prompt_of({"messages": [{"role": "user", "content": parts}]}).input_tokens == 200


def test_the_same_request_gets_the_same_text_and_another_one_another():
    said = made(CHAT, max_tokens=30).all_text()
    assert said == made(CHAT, max_tokens=30).all_text()
    others = [made(CHAT, max_tokens=30, seed=1), made(TEXT, max_tokens=30)]
    others.append(writer(read_prompt(CHAT, "openai", seed_text="else"), number=1, created_s=0))
    assert len({said, *(other.all_text()[: len(said)] for other in others)}) == 4


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        (None, 400, "JSON object"),
        ([], 400, "JSON object"),
        ({}, 400, "none of messages or prompt"),
        ({"inputs": "x"}, 400, "none of messages or prompt"),
        ({"messages": []}, 400, "messages"),
        ({"messages": "hello"}, 400, "messages"),
        ({**CHAT, "max_tokens": 0}, 400, "max_tokens"),
        ({**CHAT, "max_tokens": "50"}, 400, "max_tokens"),
        ({**CHAT, "n": 2}, 400, "n: "),
        ({**CHAT, "stream": "yes"}, 400, "stream"),
        ({**CHAT, "max_tokens": MAX_MODEL_TOKENS}, 400, "max_model_len=131072"),
        ({"prompt": "x" * 4 * MAX_MODEL_TOKENS}, 400, "max_model_len=131072"),
        ({**CHAT, "model": "chat"}, 404, "The model `chat` does not exist."),
    ],
)
def test_a_container_refuses_what_it_cannot_use_in_openais_words(document, status, words):
    with pytest.raises(ContainerRefusal) as refused:
        read_prompt(document, "openai", seed_text="x")
    assert refused.value.status == status
    error = json.loads(refused.value.body)["error"]
    assert words in error["message"]
    assert error["code"] == status


_NAMES = (
    "messages",
    "prompt",
    "inputs",
    "parameters",
    "max_tokens",
    "max_new_tokens",
    "stream",
    "seed",
    "role",
    "content",
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([1, 5, "user"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(_VALUES, st.sampled_from(["openai", "lmi", "tgi"]))
def test_whatever_json_comes_a_container_answers_or_refuses(document, dialect):
    try:
        answer = writer(read_prompt(document, dialect, seed_text="x"), number=1, created_s=0)
    except ContainerRefusal as refused:
        assert refused.status in (400, 404)
        json.loads(refused.body)
    else:
        assert 1 <= answer.prompt.output_tokens < MAX_MODEL_TOKENS
        assert answer.token(0)


@pytest.mark.parametrize("name", [None, "", "/opt/ml/model"])
def test_an_empty_model_and_the_models_own_path_are_accepted(name):
    assert prompt_of(CHAT, model=name).kind == "chat"


def test_other_containers_do_not_check_the_model():
    assert prompt_of(CHAT, "lmi", model="chat").kind == "chat"


@pytest.mark.parametrize(
    ("image", "dialect"),
    [
        ("763104351884.dkr.ecr.eu-west-1.amazonaws.com/vllm:latest", "openai"),
        ("763104351884.dkr.ecr.eu-west-1.amazonaws.com/djl-inference:0.36.0-lmi18.0.0-cu128", "lmi"),
        ("763104351884.dkr.ecr.eu-west-1.amazonaws.com/huggingface-pytorch-tgi-inference:2.4.0", "tgi"),
        ("ghcr.io/huggingface/text-generation-inference:3", "tgi"),
        ("", "openai"),
    ],
)
def test_the_image_says_which_dialect(image, dialect):
    assert dialect_of_image(image) == dialect


# ---------------------------------------------------------------- the answer


def test_a_chat_stream_is_openais_chunks_and_ends_with_done():
    answer = made(CHAT, max_tokens=5, stream=True, stream_options={"include_usage": True})
    *documents, done = events(b"".join(chunks(answer)))
    assert done == "[DONE]"
    found = [ChatCompletionChunk.model_validate(document, strict=True) for document in documents]
    assert found[0].choices[0].delta.role == "assistant"
    said = "".join(chunk.choices[0].delta.content or "" for chunk in found[:-1])
    assert said == answer.all_text()
    assert found[-2].choices[0].finish_reason == "length"
    assert (found[-1].choices, found[-1].usage.completion_tokens) == ([], 5)
    assert {chunk.id for chunk in found} == {"chatcmpl-0000000000000007"}
    assert {chunk.created for chunk in found} == {1_767_225_600}


def test_a_text_stream_is_openais_completions():
    answer = made(TEXT, max_tokens=5, stream=True)
    *documents, done = events(b"".join(chunks(answer)))
    for document in documents[:-1]:
        # As vLLM does; the type of the package knows whole completions only.
        assert document["choices"][0].pop("finish_reason") is None
        document["choices"][0]["finish_reason"] = "stop"
    found = [Completion.model_validate(document, strict=True) for document in documents]
    assert "".join(item.choices[0].text for item in found) == answer.all_text()
    assert (found[-1].choices[0].finish_reason, done) == ("length", "[DONE]")


def test_a_whole_answer_is_openais_completion():
    chat = ChatCompletion.model_validate(json.loads(made(CHAT, max_tokens=5).whole()), strict=True)
    assert chat.choices[0].message.content == made(CHAT, max_tokens=5).all_text()
    assert (chat.usage.prompt_tokens, chat.usage.completion_tokens, chat.usage.total_tokens) == (7, 5, 12)
    text = Completion.model_validate(json.loads(made(TEXT, max_tokens=5).whole()))
    assert text.choices[0].text == made(TEXT, max_tokens=5).all_text()


def test_lmi_answers_chat_in_lines_of_json_with_no_done():
    lines = b"".join(chunks(made(CHAT, "lmi", max_tokens=5))).decode().removesuffix("\n").split("\n")
    found = [ChatCompletionChunk.model_validate_json(line) for line in lines]
    assert len(found) == 1 + 5 + 1
    assert found[-1].choices[0].finish_reason == "length"


def test_lmis_own_lines_carry_tokens_and_the_last_one_the_whole_text():
    answer = made(NATIVE, "lmi", parameters={"max_new_tokens": 5})
    lines = [json.loads(line) for line in b"".join(chunks(answer)).decode().removesuffix("\n").split("\n")]
    assert "".join(line["token"]["text"] for line in lines) == answer.all_text() == lines[-1]["generated_text"]
    assert lines[-1]["details"] == {"finish_reason": "length", "generated_tokens": 5}
    assert all("details" not in line for line in lines[:-1])
    assert json.loads(answer.whole())["generated_text"] == answer.all_text()


def test_tgis_own_events_have_no_blank_after_data_and_end_with_the_whole_text():
    answer = made(NATIVE, "tgi", parameters={"max_new_tokens": 5})
    data = b"".join(chunks(answer))
    assert data.startswith(b'data:{"index":1,')
    found = events(data, "data:")
    assert "".join(event["token"]["text"] for event in found) == answer.all_text() == found[-1]["generated_text"]
    assert [event["generated_text"] for event in found[:-1]] == [None] * 4
    assert json.loads(answer.whole())[0]["generated_text"] == answer.all_text()


@pytest.mark.parametrize(
    ("document", "dialect", "look"),
    [
        (CHAT, "openai", lambda data: events(data)[0]["error"]["message"]),
        (CHAT, "lmi", lambda data: json.loads(data)["error"]["message"]),
        (NATIVE, "lmi", lambda data: json.loads(data)["token"]["error_msg"]),
        (NATIVE, "tgi", lambda data: events(data, "data:")[0]["error"]),
    ],
)
def test_every_container_has_its_own_way_to_fail_inside_an_answer(document, dialect, look):
    assert look(made(document, dialect).failure("no memory")) == "no memory"


def test_a_chat_that_fails_ends_with_done_all_the_same():
    assert made(CHAT).failure("x").endswith(b"data: [DONE]\n\n")


def test_words_of_one_to_four_bytes_and_marks_that_json_escapes_are_all_said():
    said = {token_text(seed, k) for seed in range(20) for k in range(100)}
    assert said == set(TOKENS)
    assert {len(character.encode()) for token in said for character in token} == {1, 2, 3, 4}
    assert all(32 <= natural_tokens(seed) <= 256 for seed in range(500))


def test_tokens_are_filled_up_to_the_size_asked_for():
    answer = writer(prompt_of(CHAT, max_tokens=3), number=1, created_s=0, token_bytes=5000)
    assert {len(answer.text(k).encode()) for k in range(3)} == {5000}


# ---------------------------------------------------------------- parts


@settings(deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=60), max_size=30), st.integers(0, 2**63), st.sampled_from([None, 1, 7]))
def test_cutting_into_parts_loses_and_adds_nothing(data, seed, part_bytes):
    cutter = PartCutter(seed, part_bytes=part_bytes)
    parts = [part for chunk in data for part in cutter.feed(chunk)] + cutter.flush()
    assert b"".join(parts) == b"".join(data)
    assert all(parts)


def test_parts_hold_several_events_half_events_and_half_characters():
    answer = made(CHAT, max_tokens=300, ignore_eos=True, stream=True)
    cutter = PartCutter(1)
    parts = [part for chunk in chunks(answer) for part in cutter.feed(chunk)] + cutter.flush()
    assert any(part.count(b"data: {") >= 2 for part in parts), "several events in one part"
    assert any(not part.endswith(b"\n\n") for part in parts), "half an event"
    broken = 0
    for part in parts:
        try:
            part.decode()
        except UnicodeDecodeError:
            broken += 1
    assert broken >= 10, "half a character"
    decoder = codecs.getincrementaldecoder("utf-8")()
    text = "".join(decoder.decode(part) for part in parts) + decoder.decode(b"", final=True)
    assert text == b"".join(chunks(answer)).decode()


def test_the_cuts_do_not_depend_on_when_the_chunks_come_and_another_seed_cuts_elsewhere():
    data = chunks(made(CHAT, max_tokens=40, stream=True))

    def cut(seed, mode="seeded"):
        cutter = PartCutter(seed, mode)
        return [part for chunk in data for part in cutter.feed(chunk)] + cutter.flush()

    assert cut(5) == cut(5) != cut(6)
    assert cut(5, "aligned") == data


# ---------------------------------------------------------------- wishes


@pytest.mark.parametrize(
    ("header", "attributes", "body"),
    [
        ("break_after_tokens=3; parts=aligned", None, None),
        (None, "quickstep-emulate: break_after_tokens = 3 ;parts=aligned;", {}),
        (None, "trace=17", {"quickstep_emulate": "break_after_tokens=3;parts=aligned"}),
    ],
)
def test_wishes_can_be_said_in_three_places(header, attributes, body):
    assert read_wishes(header, attributes, body) == Emulate(break_after_tokens=3, parts="aligned")


def test_without_wishes_nothing_goes_wrong():
    assert read_wishes(None, "trace=17", [1]) == Emulate()
    assert Emulate().break_after_tokens is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("brake_after_tokens=3", "'brake_after_tokens' is not one of its wishes; they are dialect, parts"),
        ("break_after_tokens=-1", "break_after_tokens: Input should be greater than or equal to 0 (got '-1')"),
        ("break_code=Oops", "break_code: Input should be 'StreamBroken'"),
        ("dialect", "'dialect' has no value"),
        ("refuse_times=2", "say with what: refuse=unavailable"),
        (17, "not 17"),
    ],
)
def test_a_wish_that_cannot_be_understood_is_named(text, words):
    with pytest.raises(ServiceError) as refused:
        read_wishes(None, None, {"quickstep_emulate": text})
    assert words in refused.value.message
    assert refused.value.status == 400


def test_a_refusal_that_is_wished_a_number_of_times_ends_and_is_counted_by_key():
    refusals = Refusals(kept=2)
    twice = Emulate(refuse="unavailable", refuse_times=2, key="a")
    assert [refusals.is_due(twice, "chat") for _ in range(4)] == [True, True, False, False]
    other = twice.model_copy(update={"key": "b"})
    assert [refusals.is_due(other, "chat"), refusals.is_due(twice, "other")] == [True, True]
    assert refusals.is_due(Emulate(refuse="internal"), "chat")
    assert not refusals.is_due(Emulate(), "chat")
