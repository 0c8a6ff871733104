"""What real requests do to the platform, and it to them: capacity, draining, metrics, limits.

Each test has an account of its own.
"""

from __future__ import annotations

import dataclasses
import json

import openai
import pytest
from botocore.exceptions import ClientError

from simulator.physics.requests import Status
from simulator.scenario import Scenario
from simulator.serve.data_plane import Limits
from tests.simulator.streaming_server import (
    COMPONENT,
    ENDPOINT,
    EVENT_STREAM,
    FIFTY,
    LONG,
    MESSAGES,
    RESOURCE,
    advance,
    counted,
    invoke,
    raw_connection,
    received,
    refused,
    said,
    served,
    stream,
    text_of,
    token,
    until,
)


def test_f78_requests_beyond_the_cap_are_refused_at_once_and_so_are_bodies_beyond_the_limit():
    limits = Limits(body_bytes=1000, open_calls=1)
    with served(limits=limits) as server:
        status, code, message = refused(invoke, server, {"prompt": "x" * 1000})
        assert (status, code) == (400, "ValidationError")
        assert "longer than the 1000 bytes" in message
        open_stream = stream(server, {**FIFTY, "max_tokens": 9000})
        next(open_stream)
        assert refused(invoke, server, FIFTY)[:2] == (503, "ServiceUnavailable")


def test_an_endpoint_with_one_model_takes_no_component_and_chooses_its_variant():
    scenario = Scenario(name="single", endpoint={"mode": "variant"})
    with served(scenario) as server:
        assert refused(invoke, server, FIFTY)[2].startswith("Inference Component Name header is not allowed")
        runtime = server.runtime()
        answer = runtime.invoke_endpoint(EndpointName=ENDPOINT, Body=json.dumps(FIFTY), TargetVariant="AllTraffic")
        assert answer["InvokedProductionVariant"] == "AllTraffic"
        missing = refused(runtime.invoke_endpoint, EndpointName=ENDPOINT, Body=b"{}", TargetVariant="Blue")
        assert missing == (400, "ValidationError", "Variant Blue of endpoint llm not found.")
        base = f"{server.url}/endpoints/{ENDPOINT}/openai/v1"
        client = openai.OpenAI(base_url=base, api_key=token(), max_retries=0)
        made = client.chat.completions.create(model="", messages=MESSAGES, max_tokens=3)
        assert made.usage.completion_tokens == 3
        log = server.on_account(lambda live: live.fleet("endpoint/llm/variant/AllTraffic").log)
        assert log.output_tokens.tolist() == [50, 3]


def test_f72_without_capacity_every_try_fails_at_once_until_the_stack_has_woken_the_component():
    """Twelve minutes of a client that tries again, against the deployed stack itself; nothing is told to wake."""
    scenario = Scenario(name="asleep", component={"min_copies": 0, "max_copies": 2})
    with served(scenario) as server:
        set_copies(server, 0)
        advance(server, 60)
        begun_s = server.driver.now_s
        tries = 0
        while True:
            try:
                answer = invoke(server, FIFTY)
                break
            except ClientError as error:
                tries += 1
                assert error.response["Error"]["Code"] == "ValidationError"
                assert error.response["Error"]["Message"].startswith("Inference Component has no capacity to process")
            advance(server, 15)
            assert server.driver.now_s - begun_s < 720, "still asleep after 12 minutes"
        assert json.loads(answer["Body"].read())["usage"]["completion_tokens"] == 50
        assert tries >= 4
        advance(server, 70)
        assert counted(server, "NoCapacityInvocationFailures", begun_s) == tries


def test_f73_a_copy_that_is_taken_away_breaks_the_streams_on_it():
    scenario = Scenario(name="one", component={"initial_copies": 1, "max_copies": 1})
    with served(scenario) as server:
        parts = stream(server, LONG)
        next(parts)
        server.on_account(lambda live: live.account.sagemaker.crash_copy(COMPONENT))
        _, error = received(parts)
        assert error.response["Error"]["Code"] == "ModelStreamError"
        assert server.on_account(lambda live: live.fleet(RESOURCE).log).status.tolist() == [Status.LOST_BROKEN]


def test_f73_time_is_up_for_an_answer_that_takes_too_long():
    with served(limits=Limits(invoke_s=1.0, stream_s=2.0)) as server:
        data, error = received(stream(server, LONG, CustomAttributes="quickstep-emulate: parts=aligned"))
        assert error.response["Error"]["Code"] == "ModelStreamError"
        # prompt and first step 0.069 s, 43 further steps of 0.04455 s: 44 tokens in two seconds, and the role
        assert data.count(b"data: {") == 45
        wishes = {"CustomAttributes": "quickstep-emulate: parts=aligned; limit_s=1"}
        assert received(stream(server, LONG, **wishes))[0].count(b"data: {") == 22
        _, code, message = refused(invoke, server, {**LONG, "stream": False})
        assert code == "ModelError"
        assert "Your invocation timed out while waiting for a response from container primary" in message
        until(lambda: server.in_flight == 0, "a request whose time is up is still in flight")
        b"".join(stream(server, {**LONG, "max_tokens": 2}))
        advance(server, 10)
        assert server.on_account(lambda live: live.problems) == [], "a request that is over has no time limit any more"


def test_f75_a_reader_that_never_reads_is_cut_off_when_its_time_is_up():
    with served(limits=Limits(stream_s=20.0)) as server:
        wishes = "pace=none; token_bytes=100000; parts=aligned"
        body = json.dumps({**LONG, "max_tokens": 300, "quickstep_emulate": wishes}).encode()
        with raw_connection(server, EVENT_STREAM, body) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
            until(lambda: server.in_flight == 0, "a client that does not read keeps its place for ever")


def two_copies(**options):
    """Two copies for which the deployed stack wants one: it takes the other one away by itself."""
    return served(
        Scenario(
            name="two",
            endpoint={"initial_instances": 2},
            component={"initial_copies": 2, "min_copies": 1, "max_copies": 2},
        ),
        **options,
    )


def set_copies(server, copies):
    server.on_account(
        lambda live: live.account.call(
            "sagemaker",
            "UpdateInferenceComponentRuntimeConfig",
            {"InferenceComponentName": COMPONENT, "DesiredRuntimeConfig": {"CopyCount": copies}},
        )
    )


def held_by_copies(live):
    """Copies that still hold room on an instance, draining ones too."""
    return len(live.account.sagemaker.component(COMPONENT).copies)


def test_a_stream_counts_in_the_concurrency_metric_until_its_last_token():
    """10 + 20 s of streams on one copy, in CloudWatch's own 10-s datapoints: their integral is the streams' time."""
    with served() as alone:
        open_s = 0.0
        for tokens in (225, 450):
            begun_s = alone.driver.now_s
            b"".join(stream(alone, {**LONG, "max_tokens": tokens}))
            until(lambda: alone.in_flight == 0, "a stream that has been read is still in flight")
            open_s += alone.driver.now_s - begun_s
        advance(alone, 30)
        took_s = alone.on_account(lambda live: live.fleet(RESOURCE).log).e2e_s.sum()
        history = alone.on_account(lambda live: list(live.account.concurrency_history(RESOURCE)))
        assert took_s == pytest.approx(675 * 0.04455, rel=0.01)
        counted_s = sum(10.0 * mean for _, mean in history)
        assert took_s - 1e-6 <= counted_s <= open_s


def test_scale_in_waits_for_the_streams_on_the_copy_that_goes():
    with two_copies() as server:
        document = {**LONG, "max_tokens": 6000}
        streams = [stream(server, document) for _ in range(2)]
        begun = [next(parts) for parts in streams]
        set_copies(server, 1)
        advance(server, 20)
        assert server.on_account(lambda live: live.account.sagemaker.serving_copies(RESOURCE)) == ("chat/0",)
        assert server.on_account(held_by_copies) == 2, "the copy that goes still holds its place for its stream"
        advance(server, 300)
        for first, parts in zip(begun, streams, strict=True):
            assert "".join(said(first + b"".join(parts))) == text_of(document)
        advance(server, 30)
        assert server.on_account(held_by_copies) == 1
        statuses = server.on_account(lambda live: live.fleet(RESOURCE).log).status.tolist()
        assert statuses == [Status.SERVED, Status.SERVED]


def test_without_draining_the_streams_on_the_copy_that_goes_break():
    with two_copies() as server:

        def cut(live):
            world = live.account.sagemaker.world
            world.behaviour = dataclasses.replace(world.behaviour, drain_removed_copies=False)

        server.on_account(cut)
        streams = [stream(server, {**LONG, "max_tokens": 4000}) for _ in range(2)]
        for parts in streams:
            next(parts)
        set_copies(server, 1)
        advance(server, 200)
        endings = [received(parts)[1] for parts in streams]
        assert [error is None for error in endings] == [True, False]
        assert endings[1].response["Error"]["Code"] == "ModelStreamError"


def test_real_and_simulated_requests_queue_for_the_same_places():
    """64 simulated clients fill the copy; a real one waits until one of them is done."""
    with served() as server:
        server.on_account(lambda live: live.hold_in_flight(RESOURCE, 64, input_tokens=10, output_tokens=2000))
        answer = server.runtime().invoke_endpoint_with_response_stream(
            EndpointName=ENDPOINT, InferenceComponentName=COMPONENT, Body=json.dumps({**LONG, "max_tokens": 2})
        )
        advance(server, 300)
        assert len(list(answer["Body"])) >= 1
        log = server.on_account(lambda live: live.fleet(RESOURCE).log)
        mine = int((log.output_tokens == 2).nonzero()[0][0])
        # 2000 tokens of 64 sequences take 2000 x (43.6 + 64 x 0.95) ms
        assert 150 < log.ttft_s[mine] < 220
