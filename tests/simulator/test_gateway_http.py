"""The gateway's own process before a served account, over real HTTP: openai, httpx and boto3, warm, broken and from zero."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest
from botocore.credentials import Credentials
from botocore.session import Session
from openai import APIError, APIStatusError, OpenAI

from quickstep.clients import streaming, waking_transport
from quickstep.errors import StreamBroken
from simulator.scenario import Scenario
from simulator.serve.function_url import FunctionUrl
from simulator.serve.gateway_mount import SWITCH, gateway_beside, gateway_environment, process_environment
from simulator.serve.server import listen, url_of
from tests.simulator.streaming_server import COMPONENT, ENDPOINT, RESOURCE, Served, served

# Whatever sleeps in this process has taken `sleep` from `time` by now: while an emulated function runs, on the account's
# thread, `time.sleep` is the function's.
assert waking_transport.Patience().sleep is sleep

ROOT = Path(__file__).parents[2]
PROMPT = "What is the §SECRET§ of the pyramids?"
MESSAGES = [{"role": "user", "content": PROMPT}]
QUICK = "pace=none"
"""Tokens as fast as they are read; what is paced is tested with the data plane."""


@dataclass
class Front:
    account: Served
    url: str
    log: Path

    def client(self) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key="any", max_retries=0)

    def say(self, tokens: int = 50, emulate: str = QUICK, **more) -> list[str]:
        """What the OpenAI client gets, a piece for each chunk that has text."""
        return said(self.client(), COMPONENT, tokens, emulate, **more)

    def post(self, url: str = "", emulate: str = QUICK) -> httpx.Response:
        """The whole answer to one request; `url` is another gateway before the same account."""
        body = {"model": COMPONENT, "messages": MESSAGES, "max_tokens": 50, "stream": True, "ignore_eos": True}
        return httpx.post(
            f"{url or self.url}/v1/chat/completions", json={**body, "quickstep_emulate": emulate}, timeout=120
        )


def said(client: OpenAI, model: str, tokens: int = 50, emulate: str = QUICK, **more) -> list[str]:
    chunks = client.chat.completions.create(
        model=model,
        messages=MESSAGES,
        max_tokens=tokens,
        stream=True,
        extra_body={"ignore_eos": True, "quickstep_emulate": emulate},
        **more,
    )
    return [piece for chunk in chunks for choice in chunk.choices if (piece := choice.delta.content)]


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """At the wall's speed, since what is asked from zero is decided in seconds; waiting is done by jumps."""
    log = tmp_path_factory.mktemp("gateway") / "log"
    scenario = Scenario(name="gateway", component={"min_copies": 0}, parameters=SWITCH)
    with served(scenario, speed=1.0) as account, listen("127.0.0.1", 0) as listening, log.open("wb") as out:
        environment = account.on_account(lambda live: gateway_environment(live, account.url))
        with gateway_beside(environment, listening, log=out):
            found = Front(account, url_of(listening), log)
            # A component is listed once the first reconcile has seen it, up to a minute after the stack began.
            advance(found, 70)
            yield found


def session() -> Session:
    made = Session()
    made._credentials = Credentials("test", "test")
    return made


# -- warm --------------------------------------------------------------------------------------------------------------------


def test_openai_gets_fifty_chunks_through_the_gateway_and_the_same_without_it(front):
    straight = OpenAI(
        **streaming.openai_options(
            endpoint=ENDPOINT, component=COMPONENT, region="eu-west-1", session=session(), runtime_url=front.account.url
        )
    )
    through = front.say()
    assert len(through) == 50
    assert through == said(straight, "")


@pytest.mark.parametrize("cut", ["part_bytes=1", "part_bytes=3", "parts=aligned", "parts=seeded; seed=7"])
def test_the_models_bytes_are_the_same_however_sagemaker_cuts_them(front, cut):
    def body(answer: bytes) -> bytes:
        return re.sub(rb'"(id|created)": ?("[^"]*"|\d+)', b"", answer)

    request = {
        "messages": MESSAGES,
        "max_tokens": 50,
        "stream": True,
        "ignore_eos": True,
        "quickstep_emulate": f"{QUICK}; {cut}",
        "model": "",
    }
    answer = front.account.runtime().invoke_endpoint_with_response_stream(
        EndpointName=ENDPOINT, InferenceComponentName=COMPONENT, Body=json.dumps(request)
    )
    straight = b"".join(streaming.parts(answer))
    assert straight.count(b"\n\n") > 50
    assert body(front.post(emulate=f"{QUICK}; {cut}").content) == body(straight)


@pytest.mark.parametrize("dialect", ["openai", "lmi", "tgi"])
def test_boto3s_stream_is_read_as_text_whatever_the_container_and_the_cuts(front, dialect):
    prompt = (
        {"messages": MESSAGES, "max_tokens": 50}
        if dialect == "openai"
        else {"inputs": PROMPT, "parameters": {"max_new_tokens": 50}}
    )
    texts = set()
    for cut in ("part_bytes=1", "part_bytes=5", "parts=aligned"):
        request = {
            **prompt,
            "stream": True,
            "ignore_eos": True,
            "quickstep_emulate": f"{QUICK}; dialect={dialect}; {cut}",
        }
        answer = front.account.runtime().invoke_endpoint_with_response_stream(
            EndpointName=ENDPOINT, InferenceComponentName=COMPONENT, Body=json.dumps(request)
        )
        texts.add("".join(streaming.text(answer)))
    (text,) = texts
    assert len(text) > 50


def test_an_answer_that_is_not_streamed_passes_whole(front):
    answer = front.client().chat.completions.create(
        model=COMPONENT, messages=MESSAGES, max_tokens=20, extra_body={"ignore_eos": True, "quickstep_emulate": QUICK}
    )
    assert answer.usage.completion_tokens == 20
    assert answer.choices[0].message.content


def test_text_completions_have_their_own_path(front):
    chunks = front.client().completions.create(
        model=COMPONENT,
        prompt=PROMPT,
        max_tokens=20,
        stream=True,
        extra_body={"ignore_eos": True, "quickstep_emulate": QUICK},
    )
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].text]) == 20


# -- trouble -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["StreamBroken", "ModelInvocationTimeExceeded", "InternalStreamFailure"])
def test_openai_raises_when_the_stream_breaks_and_has_what_came_before(front, code):
    got = []
    with pytest.raises(APIError) as raised:
        for piece in iter_said(front, f"{QUICK}; break_after_tokens=7; break_code={code}"):
            got.append(piece)
    assert len(got) == 7
    assert raised.value.code == code


def test_openai_raises_when_the_connection_to_sagemaker_is_cut(front):
    with pytest.raises(APIError) as raised:
        list(iter_said(front, f"{QUICK}; break_after_tokens=7; break_code=Reset"))
    assert raised.value.code == "ConnectionLost"


def test_openai_raises_on_an_error_inside_a_200(front):
    got = []
    with pytest.raises(APIError, match="EngineCore"):
        for piece in iter_said(front, f"{QUICK}; error_after_tokens=5"):
            got.append(piece)
    assert len(got) == 5


def iter_said(front: Front, emulate: str):
    chunks = front.client().chat.completions.create(
        model=COMPONENT,
        messages=MESSAGES,
        max_tokens=50,
        stream=True,
        extra_body={"ignore_eos": True, "quickstep_emulate": emulate},
    )
    for chunk in chunks:
        for choice in chunk.choices:
            if choice.delta.content:
                yield choice.delta.content


def test_boto3_is_told_what_broke_where_botocore_alone_would_not_say(front):
    request = {
        "messages": MESSAGES,
        "max_tokens": 50,
        "stream": True,
        "quickstep_emulate": f"{QUICK}; break_after_tokens=3; break_code=ModelInvocationTimeExceeded",
    }
    answer = front.account.runtime().invoke_endpoint_with_response_stream(
        EndpointName=ENDPOINT, InferenceComponentName=COMPONENT, Body=json.dumps(request)
    )
    with pytest.raises(StreamBroken) as raised:
        list(streaming.text(answer))
    assert raised.value.code == "ModelInvocationTimeExceeded"


@pytest.mark.parametrize("refusal", ["unavailable", "internal", "dependency"])
def test_what_passes_after_two_refusals_the_client_never_sees(front, refusal):
    assert len(front.say(20, f"{QUICK}; refuse={refusal}; refuse_times=2; key={refusal}")) == 20


def test_a_containers_refusal_has_its_own_status(front):
    with pytest.raises(APIStatusError) as raised:
        front.say(20, f"{QUICK}; container_status=422")
    assert raised.value.status_code == 422


def test_a_slow_reader_gets_everything_and_a_client_that_leaves_frees_the_copy(front):  # F74, F75
    got = []
    for piece in iter_said(front, "token_bytes=2000; pace=none"):
        got.append(piece)
        sleep(0.01)
    assert len(got) == 50
    body = {"model": COMPONENT, "messages": MESSAGES, "max_tokens": 4000, "stream": True, "ignore_eos": True}
    with httpx.stream("POST", f"{front.url}/v1/chat/completions", json=body, timeout=30) as answer:
        next(answer.iter_raw())
        assert front.account.in_flight == 1
    for _ in range(100):
        if front.account.in_flight == 0:
            break
        sleep(0.1)
    assert front.account.in_flight == 0


def test_json_lines_pass_as_they_are(front):  # F77
    body = {
        "model": COMPONENT,
        "inputs": PROMPT,
        "parameters": {"max_new_tokens": 10},
        "stream": True,
        "quickstep_emulate": f"{QUICK}; dialect=lmi",
    }
    answer = httpx.post(f"{front.url}/v1/completions", json=body, timeout=30)
    assert "json" in answer.headers["content-type"]
    assert all(isinstance(json.loads(line), dict) for line in answer.text.splitlines() if line)


# -- from zero ---------------------------------------------------------------------------------------------------------------


def sleep_now(front: Front) -> None:
    """Let the component fall asleep by itself, which it does once no knock is worth anything any more.

    Copies taken away by hand come back for as long as an earlier test's knock is worth, and are then awake as long again.
    """
    for _ in range(120):
        advance(front, 60)
        if copies(front) == 0:
            break
    # SageMaker is still at work on the copy that goes; only then is the component at rest.
    advance(front, 300)
    assert copies(front) == 0


def advance(front: Front, seconds: float) -> None:
    httpx.post(f"{front.account.url}/_quickstep/advance", json={"seconds": seconds}, timeout=60).raise_for_status()


def copies(front: Front) -> int:
    return httpx.get(f"{front.account.url}/_quickstep/state").json()["resources"][RESOURCE]["copies_current"]


def now_s(front: Front) -> float:
    return front.account.on_account(lambda live: live.now_s)


def decided_s(front: Front, since_s: float) -> float | None:
    """When Quickstep first asked SageMaker for a copy after `since_s`; None if it has not."""
    documents = front.account.on_account(lambda live: [*live.account.registry_documents("ACTIVITY#")])
    asked = [
        one["start_s"] for one in map(json.loads, documents) if one["description"] == "Setting desired copies to 1."
    ]
    return min((at_s for at_s in asked if at_s >= since_s), default=None)


class Asking(threading.Thread):
    """A client that asks once and waits."""

    def __init__(self, ask) -> None:
        super().__init__(daemon=True)
        self._ask = ask
        self.got = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.got = self._ask()
        except BaseException as error:
            self.error = error

    def answered(self, front: Front):
        """Let virtual time jump until the answer is there."""
        for _ in range(300):
            self.join(0.3)
            if not self.is_alive():
                break
            advance(front, 5)
        if self.error is not None:
            raise self.error
        return self.got


WAKE_S = 3.0
"""From the request to the decision to wake; AAS takes 67 s and more."""


def ask_from_zero(front: Front, ask) -> object:
    """The answer of one request to a sleeping component, whose wake was decided within `WAKE_S`.

    The account runs at the wall's speed, so what else the machine does counts too: a slow wake is tried again, twice.
    """
    for _attempt in range(3):
        sleep_now(front)
        began_s = now_s(front)
        asking = Asking(ask)
        asking.start()
        for _ in range(400):
            if decided_s(front, began_s) is not None or asking.error is not None:
                break
            sleep(0.05)
        decision_s = decided_s(front, began_s)
        got = asking.answered(front)
        assert decision_s is not None
        if decision_s - began_s <= WAKE_S:
            return got
    raise AssertionError(f"three wakes, the last one decided {decision_s - began_s:.1f} s after the request")


def test_one_request_of_an_unchanged_openai_client_wakes_the_component_and_gets_its_tokens(front):
    got = ask_from_zero(front, lambda: front.say(50))
    assert len(got) == 50
    assert front.client().models.retrieve(COMPONENT).state == "ready"


def test_a_client_without_the_gateway_wakes_the_component_itself(front):
    options = streaming.openai_options(
        endpoint=ENDPOINT,
        component=COMPONENT,
        region="eu-west-1",
        session=knocking(front),
        runtime_url=front.account.url,
    )
    got = ask_from_zero(front, lambda: said(OpenAI(**options), ""))
    assert len(got) == 50


def knocking(front: Front) -> Session:
    made = session()
    made.set_config_variable("endpoint_url", front.account.url)
    return made


# -- the deployed runtime loop -------------------------------------------------------------------------------------------------


def test_the_deployed_loop_streams_through_a_function_url_and_wakes_from_zero(front):
    environment = front.account.on_account(lambda live: gateway_environment(live, front.account.url))
    variables = process_environment({**environment, "LAMBDA_TASK_ROOT": str(ROOT / "functions" / "gateway")})
    function = FunctionUrl([str(ROOT / "layers" / "core" / "bin" / "quickstep-front"), sys.executable], variables)
    with function as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
        assert said(client, COMPONENT) == front.say()
        with pytest.raises(APIError):
            said(client, COMPONENT, 50, f"{QUICK}; break_after_tokens=3")
        answers = []
        answer = ask_from_zero(front, lambda: answers.append(front.post(url)) or answers[-1])
        heard = [line for line in answer.text.splitlines() if line.startswith(": ")]
        assert heard
        assert all(
            re.match(r": waking component=chat phase=(decision|instances|copies) eta=\S+ waited=\d+s", line)
            for line in heard
        ), heard
        assert answer.text.endswith("data: [DONE]\n\n")
        assert function.errors == []
    logs = b"".join(function.logs).decode()
    assert logs.count('"message":"request"') == 2 + len(answers)
    assert PROMPT not in logs


# -- afterwards ----------------------------------------------------------------------------------------------------------------


def test_the_log_of_all_this_has_a_line_for_each_request_and_no_word_of_any(front):
    front.say(5)
    deadline_s = monotonic() + 5
    while '"request"' not in (text := front.log.read_text()) and monotonic() < deadline_s:
        sleep(0.05)
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert [line for line in lines if line.get("message") == "request" and line["request"]["component"] == COMPONENT]
    assert "SECRET" not in text
    assert "Traceback" not in text


def test_nobody_is_left_waiting(front):
    with contextlib.suppress(httpx.HTTPError):
        front.post()
    items = front.account.on_account(lambda live: [*live.account.registry_documents("HELD#")])
    assert items == []
