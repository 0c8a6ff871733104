"""The client without a proxy: tokens that SageMaker takes, waiting for a component that wakes, and timings."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime

import httpx
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import NoCredentialsError
from botocore.session import Session
from openai import AsyncOpenAI, BadRequestError, OpenAI

from quickstep.clients import streaming
from quickstep.clients.timings import DIMENSION, INTER_TOKEN_LATENCY, TIME_TO_FIRST_TOKEN
from quickstep.clients.waking_transport import (
    KNOCK_AGAIN_S,
    AsyncWakingTransport,
    Patience,
    WakingTransport,
    is_no_capacity,
)
from quickstep.errors import Throttled
from quickstep.gateways.caller import Caller
from simulator.serve.data_plane_targets import NO_CAPACITY
from simulator.serve.data_plane_token import TokenRefused, check_bearer


def session(*, token: str | None = None) -> Session:
    made = Session()
    made._credentials = Credentials("test", "test", token)
    return made


# -- tokens ------------------------------------------------------------------------------------------------------------------


def check(bearer: str, *, region: str = "eu-west-1", after_s: float = 0) -> str:
    now_s = datetime.now(UTC).timestamp() + after_s
    return check_bearer(f"Bearer {bearer}", region=region, now_s=now_s, secrets={"test": "test"})


def test_the_bearer_token_is_one_that_the_emulated_runtime_accepts_in_its_region_and_time():
    bearer = streaming.bearer_token(region="eu-west-1", session=session(), lasts_s=600)
    assert check(bearer) == "test"
    with pytest.raises(TokenRefused, match="region"):
        check(bearer, region="us-east-1")
    with pytest.raises(TokenRefused, match="expired"):
        check(bearer, after_s=601)


def test_a_token_of_temporary_credentials_carries_their_session():
    bearer = streaming.bearer_token(region="eu-west-1", session=session(token="of/a+session=="))
    assert check(bearer) == "test"


@pytest.mark.parametrize("lasts_s", [0, -1, 43_201])
def test_a_token_that_sagemaker_would_refuse_is_not_made(lasts_s):
    with pytest.raises(ValueError, match="43200"):
        streaming.bearer_token(region="eu-west-1", session=session(), lasts_s=lasts_s)


def test_without_a_region_or_credentials_it_is_said_what_to_do(monkeypatch):
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ValueError, match="region="):
        streaming.bearer_token()
    with pytest.raises((ValueError, NoCredentialsError), match="credentials"):
        streaming.bearer_token(region="eu-west-1")


def test_a_function_urls_request_is_signed_for_lambda_with_its_body():
    caller = Caller(session(token="t"), "eu-west-1")
    signed = [
        caller.signed_for_lambda("POST", "https://x.lambda-url.eu-west-1.on.aws/v1/models", body, None)
        for body in (b"a", b"b")
    ]
    assert "/eu-west-1/lambda/aws4_request" in signed[0]["Authorization"]
    assert signed[0]["X-Amz-Security-Token"] == "t"
    assert signed[0]["Authorization"] != signed[1]["Authorization"]


# -- trying again ------------------------------------------------------------------------------------------------------------


class Runtime(httpx.MockTransport):
    """Answers as it is told: a status, or an exception, or a whole response, one after the other; the last for ever."""

    def __init__(self, *answers) -> None:
        self.answers, self.requests = list(answers), []

        def answer(request: httpx.Request) -> httpx.Response:
            self.requests.append((request.headers["authorization"], request.content))
            one = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(one, Exception):
                raise one
            return one() if callable(one) else httpx.Response(one)

        super().__init__(answer)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def patience(self, deadline_s: float = 900.0) -> Patience:
        return Patience(deadline_s, seconds=lambda: self.now_s, sleep=self.sleep, draw=lambda: 1.0)

    def sleep(self, duration_s: float) -> None:
        self.slept.append(duration_s)
        self.now_s += duration_s


def cold() -> httpx.Response:
    return httpx.Response(400, json={"error": {"message": NO_CAPACITY, "code": "validation_error"}})


EVENTS = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n\n'


def warm() -> httpx.Response:
    return httpx.Response(200, content=EVENTS, headers={"content-type": "text/event-stream"})


def client(runtime: Runtime, time: Time, *, knock=None, deadline_s: float = 900.0) -> OpenAI:
    numbers = iter(range(1000))
    transport = WakingTransport(
        lambda _: {"authorization": f"Bearer {next(numbers)}"},
        knock=knock,
        patience=time.patience(deadline_s),
        inner=runtime,
    )
    return OpenAI(
        base_url="https://runtime/openai/v1", api_key="x", http_client=httpx.Client(transport=transport), max_retries=0
    )


def say(made: OpenAI) -> list[str | None]:
    chunks = made.chat.completions.create(model="", messages=[{"role": "user", "content": "Hello"}], stream=True)
    return [chunk.choices[0].delta.content for chunk in chunks]


def test_one_request_finds_no_copy_wakes_the_component_and_gets_its_tokens():
    time, knocks = Time(), []
    runtime = Runtime(cold, cold, cold, warm)
    assert say(client(runtime, time, knock=lambda: knocks.append(time.now_s))) == ["hi"]
    assert knocks == [0.0]
    assert time.slept == [8.0, 8.0, 8.0]
    # Every try is signed afresh, and is the same request.
    assert [header for header, _ in runtime.requests] == [f"Bearer {n}" for n in range(4)]
    assert len({body for _, body in runtime.requests}) == 1


def test_a_knock_is_repeated_when_nothing_came_of_it_and_may_fail():
    time, knocks = Time(), []

    def knock() -> None:
        knocks.append(time.now_s)
        raise Throttled("429")

    with pytest.raises(BadRequestError, match="no capacity"):
        say(client(Runtime(cold), time, knock=knock, deadline_s=200))
    assert len(knocks) == 200 // KNOCK_AGAIN_S + 1
    assert time.now_s == pytest.approx(200, abs=8)


@pytest.mark.parametrize(
    "answer", [429, 500, 502, 503, 504, httpx.ConnectError("refused"), httpx.ReadError("reset")], ids=str
)
def test_what_may_pass_is_tried_again_with_growing_waits(answer):
    time = Time()
    assert say(client(Runtime(answer, answer, answer, warm), time)) == ["hi"]
    assert time.slept == [0.5, 1.0, 2.0]


def test_trying_again_ends_with_the_last_answer_as_it_came():
    time = Time()
    runtime = Runtime(lambda: httpx.Response(503, json={"error": {"message": "busy"}}, headers={"retry-after": "7"}))
    with pytest.raises(Exception, match="busy"):
        say(client(runtime, time))
    assert time.slept == [7.0, 7.0, 7.0, 7.0, 8.0]
    with pytest.raises(Exception, match="Connection"):
        say(client(Runtime(httpx.ConnectError("refused")), time))


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_what_will_not_pass_is_given_to_the_client_at_once(status):
    time = Time()
    runtime = Runtime(lambda: httpx.Response(status, json={"error": {"message": "no"}}))
    with pytest.raises(Exception, match="no"):
        say(client(runtime, time))
    assert (time.slept, len(runtime.requests)) == ([], 1)


def test_after_the_first_byte_nothing_is_tried_again():
    def breaks():
        yield EVENTS[:40]
        raise httpx.ReadError("reset")

    runtime = Runtime(lambda: httpx.Response(200, content=breaks()), warm)
    with pytest.raises(Exception, match="Connection"):
        say(client(runtime, Time()))
    assert len(runtime.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, b'{"Message": "%s"}' % NO_CAPACITY.encode(), True),
        (400, b'{"message": "%s"}' % NO_CAPACITY.encode(), True),
        (400, b'{"error": {"message": "%s"}}' % NO_CAPACITY.encode(), True),
        (429, b'{"message": "ModelNotReadyException"}', True),
        (429, b'{"message": "slow down"}', False),
        (400, b'{"error": {"message": "max_tokens is too large"}}', False),
        # A container that quotes a user who quotes SageMaker.
        (400, b'{"error": {"message": "cannot parse the message that begins with: \'What does it mean when %s\'"}}' % NO_CAPACITY.encode(), False),
        (500, NO_CAPACITY.encode(), False),
        (None, b"", False),
        (400, b"[]", False),
    ],
)  # fmt: skip
def test_no_capacity_is_told_from_other_refusals(status, body, said):
    assert is_no_capacity(status, body) is said


def test_the_asynchronous_client_waits_and_knocks_as_well():
    knocks = []

    async def ask() -> list[str | None]:
        runtime = Runtime(cold, 503, warm)
        patience = Patience(900.0, draw=lambda: -1.0)  # waits of nothing
        transport = AsyncWakingTransport(
            lambda _: {"authorization": "Bearer x"}, knock=lambda: knocks.append(1), patience=patience, inner=runtime
        )
        made = AsyncOpenAI(
            base_url="https://runtime/openai/v1",
            api_key="x",
            http_client=httpx.AsyncClient(transport=transport),
            max_retries=0,
        )
        stream = await made.chat.completions.create(
            model="", messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        return [chunk.choices[0].delta.content async for chunk in stream]

    assert asyncio.run(ask()) == ["hi"]
    assert knocks == [1]


def test_options_name_sagemakers_path_of_the_component_or_the_endpoint():
    given = {"region": "cn-north-1", "session": session()}
    one = streaming.openai_options(endpoint="llm", component="chat", **given)
    assert (
        one["base_url"]
        == "https://runtime.sagemaker.cn-north-1.amazonaws.com.cn/endpoints/llm/inference-components/chat/openai/v1"
    )
    single = streaming.openai_options(endpoint="llm", runtime_url="http://127.0.0.1:1/", **given)
    assert single["base_url"] == "http://127.0.0.1:1/endpoints/llm/openai/v1"
    url = streaming.gateway_options(url="https://abc.lambda-url.eu-west-1.on.aws/", session=session())
    assert url["base_url"] == "https://abc.lambda-url.eu-west-1.on.aws/v1"


def test_boto3s_streams_need_no_httpx_and_an_openai_client_says_that_it_does():
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "from quickstep import clients\nfrom quickstep.clients import streaming\n"
        "assert callable(clients.control) and callable(streaming.text)\n"
        "try: streaming.openai_options(endpoint='llm', region='eu-west-1')\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'quickstep[client]'" in done.stdout


# -- timings ---------------------------------------------------------------------------------------------------------------


def test_a_stopwatch_times_the_first_piece_and_the_gaps():
    times = iter([100.0, 100.5, 100.51, 100.53, 100.56])
    watch = streaming.Stopwatch(seconds=lambda: next(times))
    assert list(watch.follow("abcd")) == list("abcd")
    assert watch.time_to_first_s == pytest.approx(0.5)
    assert watch.pieces == 4
    assert dict(watch.gaps_ms) == {10.0: 1, 20.0: 1, 30.0: 1}
    assert (watch.gap_quantile_s(0.5), watch.gap_quantile_s(1.0)) == (0.02, 0.03)


def test_an_answer_without_a_piece_has_no_times():
    watch = streaming.Stopwatch()
    assert list(watch.follow([])) == []
    assert (watch.time_to_first_s, watch.gap_quantile_s(0.5)) == (None, None)


def test_a_very_long_answer_keeps_few_numbers():
    steps = iter(range(10**9))
    watch = streaming.Stopwatch(seconds=lambda: next(steps) ** 1.5 / 1000)
    for _ in watch.follow(range(20_000)):
        pass
    assert sum(watch.gaps_ms.values()) == 19_999
    assert len(watch.gaps_ms) < 300


class Cloud:
    """A session whose client keeps what it is given."""

    def __init__(self) -> None:
        self.calls: list[dict] = []

    def get_config_variable(self, name: str) -> str:
        return "eu-west-1"

    def create_client(self, service: str, region_name: str):
        assert (service, region_name) == ("cloudwatch", "eu-west-1")
        return self

    def put_metric_data(self, **call) -> None:
        self.calls.append(call)


def test_timings_of_many_answers_are_published_together_within_cloudwatchs_limits():
    watches = []
    for number in range(3):
        steps = iter(range(10**6))
        watch = streaming.Stopwatch(seconds=lambda steps=steps: next(steps) ** 1.7 / 1000)
        list(watch.follow(range(200 * number)))
        watches.append(watch)
    cloud = Cloud()
    streaming.Publisher("chat", session=cloud).publish_all(watches)
    (call,) = cloud.calls
    assert call["Namespace"] == "Quickstep/Streaming"
    by_name: dict[str, float] = {}
    for datum in call["MetricData"]:
        assert len(datum["Values"]) == len(datum["Counts"]) <= 150
        assert datum["Dimensions"] == [{"Name": DIMENSION, "Value": "chat"}]
        assert datum["StorageResolution"] == 1
        by_name[datum["MetricName"]] = by_name.get(datum["MetricName"], 0) + sum(datum["Counts"])
    assert by_name == {TIME_TO_FIRST_TOKEN: 2, INTER_TOKEN_LATENCY: 199 + 399}


def test_nothing_is_published_of_nothing():
    cloud = Cloud()
    streaming.Publisher("chat", session=cloud).publish_all([streaming.Stopwatch()])
    assert cloud.calls == []
