"""`quickstep serve --gateway-port`: the gateway beside the served account, as people start it."""

from __future__ import annotations

import socket

import httpx
import pytest
from openai import OpenAI

from simulator.cli import main as command_line
from tests.simulator.serve_process import serving


def test_the_gateway_answers_beside_the_account_and_goes_with_it(tmp_path):
    with serving(tmp_path / "facts.json", "--gateway-port", "0") as served:
        url = served.facts["gateway_url"]
        assert f"{url}/v1/models" in served.told
        # The template's target is registered within its first minute.
        served.advance(70)
        client = OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
        assert [(one.id, one.state) for one in client.models.list()] == [("chat", "ready")]
        answer = client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "Hello"}], max_tokens=5, extra_body={"ignore_eos": True}
        )
        assert answer.usage.completion_tokens == 5
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/v1/models", timeout=5)


def test_a_gateway_port_that_is_taken_is_one_line_and_exit_code_2(monkeypatch, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr("sys.argv", ["quickstep", "serve", "--port", "0", "--gateway-port", str(port)])
        with pytest.raises(SystemExit) as end:
            command_line.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; give another --gateway-port, or 0" in line
