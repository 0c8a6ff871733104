"""The emulated account on the loopback interface, for a function that runs in a process of its own.

It speaks AWS JSON 1.0 and 1.1, which is what the functions' SDK chooses for every service that they call. Operations are
carried out by `EmulatedAccount.call`, one at a time; the account's clock stands still.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from http.server import BaseHTTPRequestHandler
from typing import Any

import botocore.session
from botocore.model import ServiceModel

from benchmarks.runtime_api import LoopbackServer
from simulator.account import EmulatedAccount
from simulator.errors import ServiceError

SERVICES = ("application-autoscaling", "cloudwatch", "dynamodb", "events", "sagemaker", "stepfunctions")


class AwsApi:
    """A context manager; `url` is the value of AWS_ENDPOINT_URL. `calls` lists (service, operation) as they came.

    `busy_s` is how long this side took in all: what a caller waited beside its own work.
    """

    def __init__(self, account: EmulatedAccount) -> None:
        self.calls: list[tuple[str, str]] = []
        self.busy_s = 0.0
        self._account = account
        self._lock = threading.Lock()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802
                began_s = time.perf_counter()
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with api._lock:
                    status, content_type, answer = api._carry_out(self.headers, body)
                    api.busy_s += time.perf_counter() - began_s
                self.send_response(status)
                for name, value in {"Content-Type": content_type, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Nothing: calls are kept in `calls`."""

        self._server = LoopbackServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> AwsApi:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _carry_out(self, headers: Mapping[str, str], body: bytes) -> tuple[int, str, bytes]:
        target, operation = headers["X-Amz-Target"].split(".")
        model = _by_target()[target]
        self.calls.append((model.service_name, operation))
        status, answer = 200, {}
        try:
            answer = self._account.call(model.service_name, operation, json.loads(body or b"{}"))
        except ServiceError as refused:
            status, answer = refused.status, {"__type": refused.code, "message": refused.message}
        written = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
        content_type = f"application/x-amz-json-{model.metadata.get('jsonVersion', '1.1')}"
        return status, content_type, json.dumps(written, default=_plain).encode()


@cache
def _by_target() -> dict[str, ServiceModel]:
    session = botocore.session.get_session()
    models = [session.get_service_model(name) for name in SERVICES]
    return {model.metadata["targetPrefix"]: model for model in models}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} has no JSON form")
