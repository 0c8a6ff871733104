"""SEC-31: nothing of a prompt, an answer, a header or a container's error reaches a log line, whatever goes wrong."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import threading
import urllib.error
import urllib.request

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quickstep import telemetry
from quickstep.errors import AccessDenied, ModelFailed, OutcomeUnknown, Rejected, StreamBroken, Throttled
from quickstep.front import lambda_runtime, web
from quickstep.front.http import Request
from tests.unit.front_stage import Stream, event, sent, stage

SECRETS = st.text(alphabet="ABCDEFGHJKLMNPQRSTUVWXYZéß漢", min_size=12, max_size=40).map(lambda text: f"§{text}§")
"""Texts that can stand in no line by chance."""


def outcomes(secret: str) -> list:
    """Every way in which an answer may go, each with the secret in it."""
    return [
        Stream(event(secret), event(secret)),
        Stream(event(secret)[:-9], StreamBroken(secret, code="StreamBroken")),
        Stream(secret.encode(), content_type="application/json"),
        Stream(b'{"token": ' + secret.encode(), StreamBroken(secret, code="X"), content_type="application/jsonlines"),
        Stream(secret.encode(), StreamBroken(secret, code="X"), content_type="text/plain"),
        ModelFailed(secret, status=400, answer=json.dumps({"error": {"message": secret}})),
        ModelFailed(secret, status=503, answer=secret),
        Rejected(secret),
        Throttled(secret),
        OutcomeUnknown(secret),
        AccessDenied(secret),
    ]


@contextlib.contextmanager
def logs(monkeypatch):
    """Everything that is printed, and every record of the standard library's loggers."""
    out, records = io.StringIO(), []

    class Keeper(logging.Handler):
        def emit(self, record):
            records.append(f"{record.getMessage()} {record.__dict__}")

    keeper = Keeper()
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "quickstep")
    telemetry.forget()
    logging.getLogger().addHandler(keeper)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            yield lambda: out.getvalue() + "\n".join(records)
    finally:
        logging.getLogger().removeHandler(keeper)
        telemetry.forget()


@pytest.mark.parametrize("number", range(len(outcomes(""))))
@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=SECRETS, streams=st.booleans())
def test_no_outcome_of_a_request_writes_a_word_of_it_down(monkeypatch, number, cold, secret, streams):
    outcome = outcomes(secret)[number]
    document = {"model": "chat", "stream": streams, "messages": [{"role": "user", "content": secret}], secret: secret}
    headers = {"authorization": secret, "x-amzn-sagemaker-session-id": secret, "user-agent": secret}
    request = Request("POST", "/v1/chat/completions", headers, json.dumps(document).encode(), "request-1")
    with stage(ready_after_s=40 if cold else 0, outcomes=[outcome]) as on, logs(monkeypatch) as written:
        with contextlib.suppress(StreamBroken):
            sent(on.front().respond_to(request))
        text = written()
    assert "request-1" in text
    assert secret not in text
    assert json.dumps(secret)[1:-1] not in text


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=SECRETS, part=st.sampled_from(["path", "model", "hold", "body", "method", "unknown model"]))
def test_no_unusable_request_writes_a_word_of_it_down(monkeypatch, secret, part):
    body = {"model": secret if part == "model" else "chat"}
    requests = {
        "path": Request("GET", f"/v1/models/{secret}"),
        "unknown model": Request("POST", "/v1/completions", {}, json.dumps(body | {"model": secret}).encode()),
        "model": Request("POST", "/v1/completions", {}, json.dumps(body).encode()),
        "hold": Request("POST", "/v1/completions", {"x-quickstep-hold-seconds": secret}, json.dumps(body).encode()),
        "body": Request("POST", "/v1/completions", {}, f'{{"model": "{secret}'.encode()),
        "method": Request(secret, f"/{secret}"),
    }
    with stage(outcomes=[Stream()]) as on, logs(monkeypatch) as written:
        response = on.front().respond_to(requests[part])
        sent(response)
        assert response.status >= 400
        assert secret not in written()


class _Exploding:
    """A front whose own code fails with the prompt in the error's text."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def respond_to(self, request):
        raise ValueError(self._secret)


def test_a_fault_of_ours_is_reported_with_its_place_and_not_with_its_text(monkeypatch):
    secret = "§THE-PROMPT§"
    with logs(monkeypatch) as written:
        server = web.serve(_Exploding(secret), 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/v1/models", timeout=10)
        server.shutdown()
        server.server_close()
        try:
            raise ValueError(secret)
        except ValueError as problem:
            lambda_runtime._report(problem)
        text = written()
    assert text.count("ValueError") == 2
    assert "test_front_redaction.py" in text
    assert secret not in text
