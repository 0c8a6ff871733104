"""Real clients on the served account, over real HTTP: boto3, the OpenAI package and httpx stream from emulated copies."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime

import httpx
import openai
import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import ClientError

from simulator.physics.requests import Status
from simulator.serve.data_plane_targets import NO_CAPACITY
from simulator.serve.data_plane_token import TokenRefused, check_bearer
from tests.simulator.streaming_server import (
    COMPONENT,
    ENDPOINT,
    EVENT_STREAM,
    FIFTY,
    MESSAGES,
    OPENAI,
    RESOURCE,
    invoke,
    openai_client,
    refused,
    said,
    served,
    stream,
    text_of,
    token,
)


@pytest.fixture(scope="module")
def server():
    with served() as running:
        yield running


# ---------------------------------------------------------------- three clients


def test_boto3_streams_fifty_chunks_whose_parts_split_characters(server):
    parts = list(stream(server, FIFTY))
    words = said(b"".join(parts))
    assert len(words) == 50
    assert "".join(words) == text_of(FIFTY)

    def is_text(part):
        try:
            part.decode()
        except UnicodeDecodeError:
            return False
        return True

    assert not all(map(is_text, parts))
    assert any(not part.endswith(b"\n\n") for part in parts)


def test_httpx_reads_the_event_stream_by_itself(server):
    headers = {"X-Amzn-SageMaker-Inference-Component": COMPONENT}
    buffer, parts = EventStreamBuffer(), []
    document = {**FIFTY, "stream": True}
    with httpx.stream("POST", server.url + EVENT_STREAM, json=document, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/vnd.amazon.eventstream"
        assert answer.headers["x-amzn-sagemaker-content-type"] == "text/event-stream"
        assert answer.headers["x-amzn-invoked-production-variant"] == "AllTraffic"
        for data in answer.iter_raw():
            buffer.add_data(data)
            parts.extend(event.payload for event in buffer)
    assert "".join(said(b"".join(parts))) == text_of(FIFTY)


def test_the_openai_package_streams_on_sagemakers_own_path_with_a_bearer_token(server):
    chunks = list(
        openai_client(server).chat.completions.create(
            model="",
            messages=MESSAGES,
            max_tokens=50,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": True},
        )
    )
    words = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert len(words) == 50
    assert "".join(words) == text_of(FIFTY)
    assert chunks[-1].usage.completion_tokens == 50


def test_an_answer_that_is_not_streamed_comes_whole(server):
    body = json.loads(invoke(server, {"messages": MESSAGES, "max_tokens": 5})["Body"].read())
    assert body["choices"][0]["message"]["content"] == text_of({"messages": MESSAGES, "max_tokens": 5})
    answer = openai_client(server).chat.completions.create(model="", messages=MESSAGES, max_tokens=5)
    assert answer.choices[0].message.content == body["choices"][0]["message"]["content"]
    in_parts = b"".join(stream(server, {"messages": MESSAGES, "max_tokens": 5, "stream": False}))
    assert json.loads(in_parts)["choices"] == body["choices"]


def test_invoke_endpoint_gives_a_stream_all_at_once(server):
    answer = invoke(server, {**FIFTY, "stream": True})
    assert answer["ContentType"] == "text/event-stream"
    assert "".join(said(answer["Body"].read())) == text_of(FIFTY)


def test_text_completions_stream_too(server):
    document = {"prompt": "The sea", "max_tokens": 9, "ignore_eos": True}
    data = b"".join(stream(server, document)).decode()
    events = [json.loads(event.removeprefix("data: ")) for event in data.split("\n\n") if event.startswith("data: {")]
    assert "".join(event["choices"][0]["text"] for event in events) == text_of(document)


def test_a_hundred_streams_at_once_each_get_their_own_words(server):
    """More than a copy runs at once (64), so some wait for others."""
    documents = [
        {"messages": [{"role": "user", "content": f"Say {k}."}], "max_tokens": 12, "ignore_eos": True, "stream": True}
        for k in range(100)
    ]

    async def one(client, document):
        headers = {"Authorization": f"Bearer {token()}"}
        answer = await client.post(f"{server.url}{OPENAI}/chat/completions", json=document, headers=headers)
        return "".join(said(answer.content))

    async def all_of_them():
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(limits=limits, timeout=60) as client:
            return await asyncio.gather(*(one(client, document) for document in documents))

    assert asyncio.run(all_of_them()) == [text_of(document) for document in documents]
    assert server.in_flight == 0


def test_tokens_come_in_the_time_that_the_physics_gives_them(server):
    """One sequence of profile M: prefill 0.025 s, then 44.55 ms per token, in virtual time."""
    first_s, step_s = 0.020 + 7 * 0.00064 + 0.04455, 0.04455
    begun_s = server.driver.now_s
    parts = stream(server, FIFTY, CustomAttributes="quickstep-emulate: parts=aligned")
    times_s = [server.driver.now_s - begun_s for _ in parts]
    assert len(times_s) == 51, "one part per token, the first with the role; one for the end"
    assert all(at_s >= first_s + k * step_s - 1e-3 for k, at_s in enumerate(times_s[:50])), "no token before its time"
    log = server.on_account(lambda live: live.fleet(RESOURCE).log)
    assert log.e2e_s[-1] == pytest.approx(first_s + 49 * step_s, abs=1e-4)
    assert log.ttft_s[-1] == pytest.approx(first_s, abs=1e-4)
    assert log.status[-1] == Status.SERVED


# ---------------------------------------------------------------- what is refused


def test_an_endpoint_is_asked_for_by_name_and_component(server):
    assert refused(invoke, server, {}, EndpointName="other") == (
        400,
        "ValidationError",
        "Endpoint other of account 111122223333 not found.",
    )
    status, code, message = refused(server.runtime().invoke_endpoint, EndpointName=ENDPOINT, Body=b"{}")
    assert (status, code) == (400, "ValidationError")
    assert message.startswith("Inference Component Name header is required")
    assert refused(invoke, server, {}, InferenceComponentName="other")[2].endswith("not found.")


def test_what_the_container_refuses_is_a_model_error_with_its_own_words(server):
    with pytest.raises(ClientError) as error:
        invoke(server, {**FIFTY, "model": COMPONENT})
    response = error.value.response
    assert (response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]) == (424, "ModelError")
    assert response["OriginalStatusCode"] == 404
    assert json.loads(response["OriginalMessage"])["error"]["message"] == "The model `chat` does not exist."
    assert response["Error"]["Message"].startswith('Received client error (404) from primary with message "{')
    with pytest.raises(openai.NotFoundError) as native:
        openai_client(server).chat.completions.create(model=COMPONENT, messages=MESSAGES)
    assert native.value.code == "model_error"
    assert native.value.message.count("The model `chat` does not exist.") == 1


@pytest.mark.parametrize("body", [b"", b"\xff", b"not json", b"[]", b'{"a":' * 5000, b"null"])
def test_a_body_that_is_no_request_is_the_containers_to_refuse(server, body):
    status, code, _ = refused(
        server.runtime().invoke_endpoint, EndpointName=ENDPOINT, InferenceComponentName=COMPONENT, Body=body
    )
    assert (status, code) == (424, "ModelError")
    assert server.in_flight == 0


def test_a_container_that_quotes_no_capacity_is_not_one_without_capacity(server):
    """The trap of telling the two by their text alone."""
    status, code, message = refused(invoke, server, {**FIFTY, "model": "Inference Component has no capacity"})
    assert "has no capacity" in message
    assert (status, code) == (424, "ModelError")
    assert not message.startswith("Inference Component has no capacity")


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [
        ("no_capacity", 400, "ValidationError"),
        ("not_ready", 429, "ModelNotReadyException"),
        ("internal", 500, "InternalFailure"),
        ("unavailable", 503, "ServiceUnavailable"),
        ("dependency", 530, "InternalDependencyException"),
    ],
)
def test_a_refusal_that_is_wished_is_one_of_the_models_errors(server, wish, status, code):
    attributes = f"quickstep-emulate: refuse={wish}; refuse_times=1; key={wish}"
    assert refused(invoke, server, FIFTY, CustomAttributes=attributes)[:2] == (status, code)
    assert invoke(server, FIFTY, CustomAttributes=attributes)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_body_of_seven_megabytes_is_read_and_refused(server):
    status, code, message = refused(invoke, server, {"prompt": "x" * 7_000_000})
    assert (status, code) == (400, "ValidationError")
    assert "longer than the 6291456 bytes" in message


def test_a_wish_nobody_understands_is_refused_by_name(server):
    status, code, message = refused(invoke, server, {**FIFTY, "quickstep_emulate": "brake=1"})
    assert (status, code) == (400, "ValidationError")
    assert message.startswith("quickstep-emulate: 'brake' is not one of its wishes")


# ---------------------------------------------------------------- the OpenAI path


def test_the_openai_path_says_no_capacity_in_openais_words(server):
    with pytest.raises(openai.BadRequestError) as error:
        openai_client(server).chat.completions.create(
            model="", messages=MESSAGES, extra_headers={"X-Quickstep-Emulate": "refuse=no_capacity"}
        )
    assert error.value.response.json() == {
        "error": {"message": NO_CAPACITY, "type": "invalid_request_error", "code": "validation_error"}
    }


def test_the_openai_path_names_the_component_in_the_path_only(server):
    url = f"{server.url}{OPENAI}/chat/completions"
    headers = {"Authorization": f"Bearer {token()}", "X-Amzn-SageMaker-Inference-Component": COMPONENT}
    assert httpx.post(url, json=FIFTY, headers=headers).status_code == 400
    assert httpx.post(url, json=FIFTY).status_code == 403


def test_the_openai_path_is_for_chat(server):
    headers = {"Authorization": f"Bearer {token()}"}
    answer = httpx.post(f"{server.url}{OPENAI}/chat/completions", json={"prompt": "The sea"}, headers=headers)
    assert answer.status_code == 400
    assert "messages: Field required" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"secret": "guessed"}, "signature of the token does not match"),
        ({"region": "us-east-1"}, "signed for the region us-east-1; the endpoint is in eu-west-1"),
        ({"service": "bedrock"}, "signed for the service bedrock"),
        ({"expires": 43_201}, "lasts 43201 s; the most is 43200"),
    ],
)
def test_a_token_that_is_not_good_is_refused(server, made, why):
    client = openai.OpenAI(base_url=server.url + OPENAI, api_key=token(**made), max_retries=0)
    with pytest.raises(openai.PermissionDeniedError, match=why):
        client.chat.completions.create(model="", messages=MESSAGES)


def check(text, now_s=0.0, secrets=None):
    return check_bearer(f"Bearer {text}", region="eu-west-1", now_s=now_s, secrets=secrets or {"test": "test"})


def test_a_token_is_good_for_as_long_as_it_says():
    made = token(expires=3600, session="a session/token+=")
    _, _, query = base64.b64decode(made.removeprefix("sagemaker-api-key-")).decode().partition("X-Amz-Date=")
    day = query[:16]
    begun_s = datetime.strptime(day, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    assert check(made, begun_s) == check(made, begun_s + 3599) == check(made, begun_s - 299) == "test"
    assert check(token(key="AKIAOTHER", secret="x"), begun_s) == "AKIAOTHER"
    for late_s in (begun_s + 3600, begun_s - 301):
        with pytest.raises(TokenRefused, match="expired"):
            check(made, late_s)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sk-1234", "must begin with sagemaker-api-key-"),
        ("sagemaker-api-key-!!!", "not base64"),
        ("sagemaker-api-key-" + base64.b64encode(b"\xff\xfe").decode(), "not base64"),
        ("sagemaker-api-key-" + base64.b64encode(b"sts.amazonaws.com/?Action=X").decode(), "not a presigned"),
        (
            "sagemaker-api-key-"
            + base64.b64encode(b"sagemaker.amazonaws.com/?Action=CallWithBearerToken&Version=1").decode(),
            "has no X-Amz-Credential",
        ),
    ],
)
def test_a_text_that_is_no_token_is_refused(text, why):
    with pytest.raises(TokenRefused, match=why):
        check(text)
