"""The deployed wrapper and runtime loop, as processes, behind an emulated function URL and Runtime API."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from simulator.serve.function_url import FunctionUrl

ROOT = Path(__file__).parents[2]
WRAPPER = ROOT / "layers" / "core" / "bin" / "quickstep-front"
APP = '''
import os, time
PREPARED = []
def prepare():
    PREPARED.append("prepared")

from quickstep.front.http import Response

def handler(event, context):
    path = event["rawPath"]
    if path == "/fails":
        raise ValueError("the prompt")
    return Response(207, "text/event-stream", body(path), (("x-left", str(context.get_remaining_time_in_millis() > 5000)),),
                    on_end=lambda: print("ended", path, flush=True))

def body(path):
    if path == "/prepared":
        yield "".join(PREPARED).encode()
    elif path == "/trace":
        yield os.environ["_X_AMZN_TRACE_ID"].encode()
    elif path == "/slow":
        for number in range(3):
            yield b"%d" % number
            time.sleep(0.3)
    elif path == "/breaks":
        yield b"begun"
        raise ValueError("the prompt")
    elif path == "/nul":
        yield bytes(20)
        yield b""
        yield "ß\\u2028".encode()
    elif path == "/long":
        for number in range(1000):
            with open(os.path.join(os.environ["LAMBDA_TASK_ROOT"], "made"), "ab") as made:
                made.write(b".")
            yield bytes(100_000)
    elif path == "/pid":
        yield str(os.getpid()).encode()
'''  # fmt: skip


def environment(folder: Path, app: str = APP) -> dict[str, str]:
    (folder / "app.py").write_text(app)
    paths = os.pathsep.join((str(ROOT / "layers" / "core"), os.environ.get("PYTHONPATH", "")))
    return {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "LAMBDA_TASK_ROOT": str(folder)}


@contextmanager
def function(folder: Path, app: str = APP):
    """The URL of a function with this code; what Lambda appends to the wrapper's command is left out by it."""
    url = FunctionUrl([str(WRAPPER), sys.executable, "/var/runtime/bootstrap.py"], environment(folder, app))
    with url as at:
        yield at, url


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with function(tmp_path_factory.mktemp("task")) as (at, url):
        yield at, url


def test_status_headers_and_every_byte_arrive_nul_bytes_included(running):
    answer = httpx.get(running[0] + "/nul", timeout=20)
    assert (answer.status_code, answer.headers["content-type"]) == (207, "text/event-stream")
    assert (answer.headers["cache-control"], answer.headers["x-left"]) == ("no-store", "True")
    assert answer.content == bytes(20) + "ß\u2028".encode()


def test_parts_arrive_while_the_next_ones_are_still_to_be_made(running):
    arrived = []
    with httpx.stream("GET", running[0] + "/slow", timeout=20) as answer:
        for chunk in answer.iter_raw():
            arrived.append((chunk, time.monotonic()))
    assert [chunk for chunk, _ in arrived] == [b"0", b"1", b"2"]
    assert arrived[2][1] - arrived[0][1] > 0.4


def test_an_error_after_the_answer_began_breaks_it_off_and_is_told_without_its_text(running):
    at, url = running
    url.errors.clear()
    with pytest.raises(httpx.RemoteProtocolError), httpx.stream("GET", at + "/breaks", timeout=20) as answer:
        assert b"".join(answer.iter_raw()) != b"begun"
    assert url.errors == [{"errorType": "ValueError", "errorMessage": "ValueError"}]


def test_a_handler_that_fails_is_told_to_lambda_and_the_next_request_is_served(running):
    at, url = running
    url.errors.clear()
    assert httpx.get(at + "/fails", timeout=20).status_code == 502
    assert [error["errorType"] for error in url.errors] == ["ValueError"]
    assert "prompt" not in json.dumps(url.errors)
    assert httpx.get(at + "/nul", timeout=20).status_code == 207


def test_the_trace_of_the_invocation_is_where_tracers_look_for_it(running):
    assert httpx.get(running[0] + "/trace", timeout=20).text.startswith("Root=1-")


def test_what_a_handler_prepares_is_prepared_once_before_the_first_request(running):
    assert [httpx.get(running[0] + "/prepared", timeout=20).text for _ in range(2)] == ["prepared", "prepared"]


def test_one_environment_serves_one_request_after_the_other(running):
    pids = {httpx.get(running[0] + "/pid", timeout=20).text for _ in range(3)}
    assert len(pids) == 1


def test_what_is_made_waits_for_a_slow_reader_and_what_it_leaves_behind_is_ended(tmp_path):  # F74, F75
    with function(tmp_path) as (at, url):
        with httpx.stream("GET", at + "/long", timeout=20) as answer:
            parts = answer.iter_raw(1000)
            next(parts)
            made = settled(tmp_path / "made")
        # All that is made ahead of the reader is what the sockets on the way hold.
        assert 1 <= made < 900
        # Lambda lets the function run on when the client has left: it ends by itself.
        for _ in range(100):
            if url._idle:
                break
            time.sleep(0.1)
        assert httpx.get(at + "/nul", timeout=20).status_code == 207
    text = b"".join(url.logs).decode()
    assert "ended /long" in text
    assert "the prompt" not in text


def settled(path: Path) -> int:
    """The size of a file once it has not grown for half a second; what is made for a reader that waits stops growing."""
    sizes = [-1]
    for _ in range(200):
        time.sleep(0.1)
        sizes.append(path.stat().st_size if path.exists() else 0)
        if sizes[-1] > 0 and len(set(sizes[-6:])) == 1:
            break
    return sizes[-1]


def test_a_handler_that_cannot_be_loaded_is_told_to_lambda(tmp_path):
    with function(tmp_path, app="import nothing_of_that_name") as (_, url):
        url.invoke({})
        for _ in range(200):
            if url.errors:
                break
            time.sleep(0.05)
        assert [error["errorType"] for error in url.errors] == ["ModuleNotFoundError"]
        assert url._processes[0].wait(timeout=10) == 1


def test_with_the_adapters_layer_the_same_wrapper_serves_a_port(tmp_path):
    adapter = tmp_path / "lambda-adapter"
    adapter.write_text("#!/bin/sh\n")
    adapter.chmod(0o755)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    variables = {
        **environment(tmp_path),
        "QUICKSTEP_ADAPTER": str(adapter),
        "AWS_LWA_PORT": str(port),
        "TABLE_NAME": "registry",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "GATEWAY_HOLD_SECONDS": "1",
        "GATEWAY_MAX_HELD_REQUESTS": "1",
    }
    process = subprocess.Popen([str(WRAPPER), sys.executable, "bootstrap.py"], env=variables, stdout=subprocess.PIPE)
    try:
        for _ in range(200):
            try:
                # What the adapter asks until it gets an answer below 500.
                answer = httpx.get(f"http://127.0.0.1:{port}/", timeout=5)
                break
            except httpx.ConnectError:
                time.sleep(0.05)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "unknown_path"
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
