"""A function URL that streams, with Lambda's Runtime API behind it: the deployed runtime loop, without Lambda.

    with FunctionUrl(["layers/core/bin/quickstep-front", sys.executable], environment) as url: …

A request becomes an invocation (payload format 2.0); an environment is a process that takes one at a time, and as many are
started as requests are open at once. Sources: Lambda developer guide, "Building a custom runtime", "Response streaming".
"""

from __future__ import annotations

import base64
import json
import queue
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO

RUNTIME = "/2018-06-01/runtime/"
PRELUDE_END = bytes(8)
INTEGRATION = "application/vnd.awslambda.http-integration-response"
ERROR_TYPE = "lambda-runtime-function-error-type"
ARN = "arn:aws:lambda:eu-west-1:111122223333:function:quickstep-gateway"


@dataclass
class Invocation:
    """One request on its way to an environment, and the pieces of its answer on their way back."""

    event: dict[str, Any]
    deadline_s: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    pieces: queue.Queue[tuple[str, Any]] = field(default_factory=lambda: queue.Queue(maxsize=2))
    """`head` (status and headers), `data`, `end` (name of an error, or None). Short: a slow reader holds everything up."""
    given_up: bool = False
    """The client has left. Lambda tells the function nothing of it, and lets it run on."""


class FunctionUrl(AbstractContextManager[str]):
    """Runs `command` for each environment, with `environment` and what Lambda adds; as a context manager the URL.

    `first_chunk` and later are passed on as they come. `timeout_s` is the function's. `errors` collects the errors that
    environments told, and `logs` what they printed.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, timeout_s: float = 900.0) -> None:
        self._command, self._environment, self._timeout_s = list(command), dict(environment), timeout_s
        self._waiting: queue.Queue[Invocation] = queue.Queue()
        self._running: dict[str, Invocation] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._idle = 0
        self._lock = threading.Lock()
        self._servers: list[ThreadingHTTPServer] = []
        self.errors: list[dict[str, Any]] = []
        self.logs: list[bytes] = []

    def __enter__(self) -> str:
        urls = []
        for handler in (_RuntimeApi, _Url):
            server = _Server(("127.0.0.1", 0), type(handler.__name__, (handler,), {"owner": self}))
            threading.Thread(target=server.serve_forever, name=handler.__name__, daemon=True).start()
            self._servers.append(server)
            urls.append(f"127.0.0.1:{server.server_port}")
        self._runtime_api = urls[0]
        return f"http://{urls[1]}"

    def __exit__(self, *_: Any) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                self.logs.append(process.stdout.read())
                process.stdout.close()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def invoke(self, event: dict[str, Any]) -> Invocation:
        """Hand a request to an idle environment, or to a new one."""
        invocation = Invocation(event, time.time() + self._timeout_s)
        with self._lock:
            self._running[invocation.id] = invocation
            if self._idle > 0:
                self._idle -= 1
            else:
                self._start()
        self._waiting.put(invocation)
        return invocation

    def next(self) -> Invocation:
        """The next invocation for an environment that asks; waits for it."""
        return self._waiting.get()

    def free(self) -> None:
        """An environment has answered and will ask again."""
        with self._lock:
            self._idle += 1

    def running(self, request_id: str) -> Invocation:
        return self._running[request_id]

    def _start(self) -> None:
        lambdas = {
            "AWS_LAMBDA_RUNTIME_API": self._runtime_api,
            "LAMBDA_TASK_ROOT": self._environment.get("LAMBDA_TASK_ROOT", "functions/gateway"),
            "_HANDLER": "app.handler",
        }
        process = subprocess.Popen(self._command, env={**self._environment, **lambdas}, stdout=subprocess.PIPE)
        self._processes.append(process)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that ends in the middle is what is being tried here."""


class _Handler(BaseHTTPRequestHandler):
    owner: FunctionUrl
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""

    def _answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _RuntimeApi(_Handler):
    """What an environment talks to."""

    def do_GET(self) -> None:  # noqa: N802
        invocation = self.owner.next()
        headers = {
            "content-type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.id,
            "Lambda-Runtime-Deadline-Ms": str(round(invocation.deadline_s * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": ARN,
            "Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
        }
        self._answer(200, json.dumps(invocation.event).encode(), headers)

    def do_POST(self) -> None:  # noqa: N802
        where = self.path.removeprefix(RUNTIME)
        if where == "init/error":
            self.owner.errors.append(json.loads(self._body()))
            self._answer(202)
            return
        _, request_id, what = where.split("/")
        invocation = self.owner.running(request_id)
        if what == "error":
            error = json.loads(self._body())
            self.owner.errors.append(error)
            self._put(invocation, "head", {"statusCode": 502, "headers": {"content-type": "application/json"}})
            self._put(invocation, "data", b'{"message":"Internal Server Error"}')
            self._put(invocation, "end", None)
        else:
            self._stream(invocation)
        self.owner.free()
        self._answer(202)

    def _stream(self, invocation: Invocation) -> None:
        assert self.headers["Lambda-Runtime-Function-Response-Mode"] == "streaming"
        assert self.headers["Content-Type"] == INTEGRATION
        head = b""
        has_head = False
        for chunk in _chunks(self.rfile):
            if has_head:
                self._put(invocation, "data", chunk)
                continue
            head += chunk
            prelude, mark, rest = head.partition(PRELUDE_END)
            if mark:
                has_head = True
                self._put(invocation, "head", json.loads(prelude))
                if rest:
                    self._put(invocation, "data", rest)
        trailers = _trailers(self.rfile)
        if ERROR_TYPE in trailers:
            body = json.loads(base64.b64decode(trailers["lambda-runtime-function-error-body"]))
            self.owner.errors.append(body)
        self._put(invocation, "end", trailers.get(ERROR_TYPE))

    def _put(self, invocation: Invocation, kind: str, value: Any) -> None:
        while not invocation.given_up:
            try:
                invocation.pieces.put((kind, value), timeout=0.2)
                return
            except queue.Full:
                continue

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["content-length"]))


class _Url(_Handler):
    """What a client talks to."""

    def _request(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path, _, query = self.path.partition("?")
        event = {
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": query,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "requestContext": {"http": {"method": self.command, "path": path}, "requestId": str(uuid.uuid4())},
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }
        invocation = self.owner.invoke(event)
        try:
            self._send(invocation)
        except OSError:
            self.close_connection = True
        finally:
            invocation.given_up = True

    do_GET = do_POST = do_PUT = do_DELETE = _request

    def _send(self, invocation: Invocation) -> None:
        for kind, value in _pieces(invocation):
            if kind == "head":
                self.send_response(value["statusCode"])
                for name, text in value["headers"].items():
                    self.send_header(name, text)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
            elif kind == "data":
                self.connection.sendall(b"%x\r\n%b\r\n" % (len(value), value))
            elif value is None:
                self.connection.sendall(b"0\r\n\r\n")
            else:
                # An error after the answer has begun: the client sees it break off.
                self.close_connection = True


def _pieces(invocation: Invocation) -> Iterator[tuple[str, Any]]:
    while True:
        kind, value = invocation.pieces.get()
        yield kind, value
        if kind == "end":
            return


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while size := int(stream.readline().split(b";")[0], 16):
        yield stream.read(size)
        stream.readline()


def _trailers(stream: BinaryIO) -> dict[str, str]:
    found = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        found[name.strip().lower()] = value.strip()
    return found
