"""The gateway behind a port: for the Lambda Web Adapter, which forwards to one, and for a laptop.

HTTP/1.1 with chunked answers, one thread for each request. Nothing reads ahead: the next part is taken from the model
when the client has taken the one before, so a slow reader slows the model's stream down and not this process up.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from quickstep import clock
from quickstep.front.front import Front
from quickstep.front.http import MAX_BODY_BYTES, Refusal, Request, Response

HOST = "127.0.0.1"
ADAPTER_PORT = 8080
"""Where the Lambda Web Adapter looks unless AWS_LWA_PORT says otherwise."""
IDLE_S = 75.0


def serve(front: Front, port: int, *, request_s: float = 900.0) -> ThreadingHTTPServer:
    """A server on this machine's loopback; call its `serve_forever`. `request_s` bounds one answer, as Lambda's time-out would."""
    return _Server((HOST, port), _handler(front, request_s))


def serve_on(front: Front, listening: socket.socket, *, request_s: float = 900.0) -> ThreadingHTTPServer:
    """The same on a socket that listens already."""
    server = _Server(listening.getsockname()[:2], _handler(front, request_s), bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.server_port = listening.getsockname()[1]
    return server


def _handler(front: Front, request_s: float) -> type[_Handler]:
    return type("Handler", (_Handler,), {"front": front, "request_s": request_s})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no error of ours; of anything else say the class, not the text."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(
                f'{{"level":"ERROR","message":"the gateway failed","error_type":"{type(error).__name__}"}}', flush=True
            )


class _Handler(BaseHTTPRequestHandler):
    front: Front
    request_s: float
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    server_version, sys_version = "quickstep", ""

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests are logged by the front, without what clients put into paths."""

    def do_GET(self) -> None:  # noqa: N802
        self._exchange()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = do_GET

    def _exchange(self) -> None:
        try:
            body = self._body()
        except Refusal as refused:
            self.close_connection = True
            self._send(refused.as_answer())
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request_id, deadline_s = _lambda_context(headers.get("x-amzn-lambda-context"))
        request = Request(
            method=self.command,
            path=urlsplit(self.path).path,
            headers=headers,
            body=body,
            request_id=request_id or f"{threading.get_ident():x}-{clock.now_s():.6f}",
            deadline_s=min(deadline_s, clock.now_s() + self.request_s),
        )
        self._send(self.front.respond_to(request))

    def _body(self) -> bytes:
        length = self.headers.get("content-length", "0")
        if self.headers.get("transfer-encoding") or not length.isdecimal():
            raise Refusal(411, "length_required", "Send the body with a Content-Length")
        if int(length) > MAX_BODY_BYTES:
            raise Refusal(413, "request_too_large", f"The body has {length} bytes; at most {MAX_BODY_BYTES} are taken")
        return self.rfile.read(int(length))

    def _send(self, response: Response) -> None:
        self.connection.settimeout(self.request_s)
        try:
            self.send_response(response.status)
            for name, value in response.all_headers:
                self.send_header(name, value)
            if isinstance(response.body, tuple):
                self._send_whole(b"".join(response.body))
                return
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for part in response:
                if part:
                    self.connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            self.connection.sendall(b"0\r\n\r\n")
        except Exception as problem:
            # Without its last chunk an answer is visibly broken off. If it was the client who left, nobody reads it.
            self.close_connection = True
            if not isinstance(problem, OSError):
                raise
        finally:
            response.end()
            self.connection.settimeout(self.timeout)

    def _send_whole(self, body: bytes) -> None:
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")


def _lambda_context(header: str | None) -> tuple[str, float]:
    """Request id and deadline (seconds since the epoch) as the adapter passes Lambda's context on; "" and inf if it does not."""
    try:
        context = json.loads(header or "{}")
        deadline_ms = context.get("deadline_ms") or context.get("deadline")
        return str(context.get("request_id") or ""), float(deadline_ms) / 1000 if deadline_ms else math.inf
    except (ValueError, TypeError, AttributeError):
        return "", math.inf


def main() -> None:
    """Serve the front that the environment describes, on AWS_LWA_PORT or PORT."""
    from quickstep.front.entry import front, prepare

    prepare()
    serve(front(), int(os.environ.get("AWS_LWA_PORT") or os.environ.get("PORT") or ADAPTER_PORT)).serve_forever()


if __name__ == "__main__":
    main()
