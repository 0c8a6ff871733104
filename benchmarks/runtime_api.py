"""AWS Lambda's Runtime API on the loopback interface: what a function's runtime client talks to.

Paths and headers: AWS Lambda developer guide, "Using the Lambda runtime API". One function at a time; each event is handed
out once, and the time of every message is taken, so that a cold start can be measured from outside.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

VERSION = "/2018-06-01/runtime/"


@dataclass(frozen=True)
class Message:
    """What the runtime client did: `ready` (asked for its next event), `response`, `error` or `init error`."""

    what: str
    at_s: float
    body: Any = None


class LoopbackServer(ThreadingHTTPServer):
    """A server whose clients may vanish: the measured process is ended while it waits."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class RuntimeApi:
    """A context manager; `address` is the value of AWS_LAMBDA_RUNTIME_API."""

    def __init__(self, function_arn: str, timeout_s: float) -> None:
        self.messages: Queue[Message] = Queue()
        self._events: Queue[Any] = Queue()
        self._numbers = 0
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # noqa: N802
                if self.path != f"{VERSION}invocation/next":
                    return _answer(self, 404, b"{}")
                api.messages.put(Message("ready", time.perf_counter()))
                event = api._events.get()
                if event is _CLOSED:
                    return None
                api._numbers += 1
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": f"00000000-0000-4000-8000-{api._numbers:012d}",
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + timeout_s) * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": function_arn,
                    "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000;Sampled=0",
                }
                return _answer(self, 200, json.dumps(event).encode(), headers)

            def do_POST(self) -> None:  # noqa: N802
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                kind = {"response": "response", "error": "error"}.get(self.path.rsplit("/", 1)[-1], "unknown")
                if self.path == f"{VERSION}init/error":
                    kind = "init error"
                api.messages.put(Message(kind, time.perf_counter(), json.loads(body or b"null")))
                _answer(self, 202, b'{"status": "OK"}')

            def log_message(self, *_: Any) -> None:
                """Nothing: the function's own output is what counts."""

        self._server = LoopbackServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> RuntimeApi:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._events.put(_CLOSED)
        self._server.shutdown()
        self._server.server_close()

    def expect(self, *kinds: str, within_s: float = 30.0) -> Message:
        """The client's next message; raises RuntimeError if it is of another kind, queue.Empty if none comes."""
        message = self.messages.get(timeout=within_s)
        if message.what not in kinds:
            raise RuntimeError(f"the function reported {message.what}: {message.body}")
        return message

    def send(self, event: Any) -> float:
        """Hand out an event; return when."""
        at_s = time.perf_counter()
        self._events.put(event)
        return at_s


_CLOSED = object()


def _answer(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    handler.send_response(status)
    for name, value in {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **(headers or {}),
    }.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
