"""The served account in this process, on a thread of its own and a free port, and clients of its data plane."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import openai
import pytest
import uvicorn
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EventStreamError

from simulator.clock import EPOCH_S
from simulator.physics.requests import OpenArrivals
from simulator.scenario import Scenario
from simulator.serve import data_plane
from simulator.serve.app import make_app
from simulator.serve.dialects import read_prompt, writer
from simulator.serve.driver import AccountDriver
from simulator.serve.live import live_account
from simulator.serve.server import listen, url_of
from simulator.traffic.load import Traffic

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
ENDPOINT, COMPONENT = "llm", "chat"
RESOURCE = f"inference-component/{COMPONENT}"
MESSAGES = [{"role": "user", "content": "Tell me of the sea."}]
FIFTY = {"messages": MESSAGES, "max_tokens": 50, "ignore_eos": True}
EVENT_STREAM = f"/endpoints/{ENDPOINT}/invocations-response-stream"
OPENAI = f"/endpoints/{ENDPOINT}/inference-components/{COMPONENT}/openai/v1"
NAMED = {"X-Amzn-SageMaker-Inference-Component": COMPONENT}
LONG = {"messages": MESSAGES, "max_tokens": 1000, "ignore_eos": True, "stream": True}
_OUTSIDE = boto3.session.Session()
"""Made before any account is connected, whose wire would answer the calls itself: these go out over HTTP."""


@dataclass(frozen=True)
class Served:
    url: str
    driver: AccountDriver

    def on_account(self, function):
        """What `function(live)` returns, run on the account's thread."""
        return self.driver.submit(function).result(timeout=30)

    @property
    def in_flight(self) -> int:
        return self.on_account(lambda live: _fleet(live).in_flight)

    def runtime(self, **config):
        """boto3's client of the data plane, with no retries of its own."""
        return _OUTSIDE.client(
            "sagemaker-runtime",
            endpoint_url=self.url,
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, **config),
        )


def _fleet(live):
    fleet = live.fleet(RESOURCE)
    fleet.advance(live.now_s)
    return fleet


@contextmanager
def served(scenario: Scenario | None = None, *, speed: float = 20.0, limits=None, **options) -> Iterator[Served]:
    """Serve a scenario without traffic of its own; by default 20 times as fast as it is.

    One at a time: the functions of an account answer to boto3 in the whole process.
    """
    scenario = scenario or Scenario(name="streams")
    quiet = Traffic(OpenArrivals((), (), (), EPOCH_S), "", "none", EPOCH_S, EPOCH_S, 1.0, requests_read=0)
    driver = AccountDriver(
        lambda: live_account(quiet, scenario, template=TEMPLATE, policy="StepsAndDemand", **options), speed=speed
    )
    with driver, listen("127.0.0.1", 0) as listening:
        app = make_app(driver, data_plane=data_plane.routes(limits))
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        running: Future[None] = Future()

        def run() -> None:
            try:
                asyncio.run(server.serve(sockets=[listening]))
            finally:
                running.set_result(None)

        thread = threading.Thread(target=run, name="server", daemon=True)
        thread.start()
        try:
            yield Served(url_of(listening), driver)
        finally:
            server.should_exit = True
            running.result(timeout=10)


def text_of(document, *, dialect="openai"):
    """What the model says to this request: the emulation's own words, without any server."""
    prompt = read_prompt(document, dialect, seed_text=RESOURCE)
    return writer(prompt, number=1, created_s=0).all_text()


def token(*, key="test", secret="test", region="eu-west-1", service="sagemaker", expires=43_200, session=None):
    """A bearer token as AWS's own generator makes it, with botocore's signer."""
    request = AWSRequest(
        "POST",
        "https://sagemaker.amazonaws.com/",
        headers={"host": "sagemaker.amazonaws.com"},
        params={"Action": "CallWithBearerToken"},
    )
    SigV4QueryAuth(Credentials(key, secret, session), service, region, expires=expires).add_auth(request)
    url = request.url.removeprefix("https://") + "&Version=1"
    return "sagemaker-api-key-" + base64.b64encode(url.encode()).decode()


def stream(server, document, **more):
    """The parts of a streamed answer, through boto3."""
    answer = server.runtime().invoke_endpoint_with_response_stream(
        EndpointName=ENDPOINT, InferenceComponentName=COMPONENT, Body=json.dumps({"stream": True, **document}), **more
    )
    for event in answer["Body"]:
        yield event["PayloadPart"]["Bytes"]


def invoke(server, document, **more):
    named = {"EndpointName": ENDPOINT, "InferenceComponentName": COMPONENT, **more}
    return server.runtime().invoke_endpoint(Body=json.dumps(document), **named)


def said(data: bytes):
    """The words of a chat stream."""
    events = [event.removeprefix("data: ") for event in data.decode().split("\n\n") if event]
    assert events[-1] == "[DONE]"
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    return [choice["delta"]["content"] for choice in choices if choice["delta"].get("content")]


def openai_client(server, cls=openai.OpenAI, **options):
    return cls(base_url=server.url + OPENAI, api_key=token(), max_retries=0, timeout=30, **options)


def refused(call, *args, **options):
    with pytest.raises(ClientError) as error:
        call(*args, **options)
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def wish(text):
    return {"CustomAttributes": f"quickstep-emulate: {text}"}


def until(condition, what):
    """Wait until a condition holds; 10 s at most."""
    end_s = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < end_s, what
        # Not time.sleep: the account's functions have it on the virtual clock while they run in this process.
        asyncio.run(asyncio.sleep(0.02))


def received(parts):
    """All parts that come, and the exception that ends them."""
    data = b""
    try:
        for part in parts:
            data += part
    except EventStreamError as error:
        return data, error
    return data, None


def advance(server, seconds):
    asyncio.run(server.driver.advance(seconds))


def counted(server, metric, begun_s):
    """The sum of a metric of the component since `begun_s`, as CloudWatch shows it."""

    def look(live):
        answer = live.account.call(
            "cloudwatch",
            "GetMetricStatistics",
            {
                "Namespace": "AWS/SageMaker",
                "MetricName": metric,
                "Dimensions": [{"Name": "InferenceComponentName", "Value": COMPONENT}],
                "StartTime": begun_s - 60,
                "EndTime": live.now_s,
                "Period": 60,
                "Statistics": ["Sum"],
            },
        )
        return sum(point["Sum"] for point in answer["Datapoints"])

    return server.on_account(look)


def raw_connection(server, path, body):
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in NAMED.items())
    connection.sendall(head.encode() + b"\r\n" + body)
    return connection
