"""A Lambda runtime that streams: the loop between Lambda's Runtime API and a handler that returns a `Response`.

Lambda's own runtime for Python cannot stream. This one is started in its place by `layers/core/bin/quickstep-front`
(AWS_LAMBDA_EXEC_WRAPPER), speaks the Runtime API as the developer guide describes it ("Building a custom runtime"), and
needs nothing but the standard library. One environment answers one request at a time, so there is nothing to schedule.
"""

from __future__ import annotations

import base64
import http.client
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from quickstep import clock
from quickstep.front.http import Response

API = "/2018-06-01/runtime"
PRELUDE_END = bytes(8)
"""Eight NUL bytes part status and headers from the body."""
INTEGRATION = "application/vnd.awslambda.http-integration-response"
ERROR_TYPE, ERROR_BODY = "Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-Error-Body"


class Context:
    """What a handler is told of its invocation; `streams` tells it that its answer may be made while it is sent."""

    streams = True

    def __init__(self, headers: http.client.HTTPMessage) -> None:
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers.get("Lambda-Runtime-Invoked-Function-Arn") or ""
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self) -> int:
        """As Lambda's own context has it."""
        return max(0, self._deadline_ms - round(clock.now_s() * 1000))


class RuntimeApi:
    """The Runtime API of this environment. `address` is AWS_LAMBDA_RUNTIME_API: host and port."""

    def __init__(self, address: str) -> None:
        self._address = address

    def next_invocation(self) -> tuple[Any, Context, str | None]:
        """Wait for the next event; with its context and its trace id."""
        # No time-out: Lambda freezes the environment in this call until there is something to do.
        connection = http.client.HTTPConnection(self._address)
        try:
            connection.request("GET", f"{API}/invocation/next")
            answer = connection.getresponse()
            event = json.loads(answer.read())
            return event, Context(answer.headers), answer.headers.get("Lambda-Runtime-Trace-Id")
        finally:
            connection.close()

    def stream(self, request_id: str, response: Response) -> None:
        """Send an answer while it is made. An error on the way is told in the trailers, without any text of the request.

        Raises OSError if Lambda takes no more of it.
        """
        connection = http.client.HTTPConnection(self._address)
        try:
            connection.putrequest("POST", f"{API}/invocation/{request_id}/response", skip_accept_encoding=True)
            connection.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
            connection.putheader("Content-Type", INTEGRATION)
            connection.putheader("Transfer-Encoding", "chunked")
            connection.putheader("Trailer", f"{ERROR_TYPE}, {ERROR_BODY}")
            connection.endheaders()
            connection.send(_chunk(_prelude(response) + PRELUDE_END))
            error: BaseException | None = None
            try:
                for part in response:
                    if part:
                        connection.send(_chunk(part))
            except OSError:
                raise
            except Exception as problem:
                _report(problem)
                error = problem
            connection.send(b"0\r\n" + _trailers(error) + b"\r\n")
            connection.getresponse().read()
        finally:
            connection.close()

    def fail(self, where: str, error: BaseException) -> None:
        """Tell Lambda that an invocation (`invocation/<id>/error`) or the start (`init/error`) failed."""
        kind = type(error).__name__
        connection = http.client.HTTPConnection(self._address)
        try:
            body = json.dumps({"errorType": kind, "errorMessage": kind, "stackTrace": []})
            connection.request("POST", f"{API}/{where}", body, {ERROR_TYPE: kind})
            connection.getresponse().read()
        finally:
            connection.close()


def run(
    handler: Callable[[Any, Context], Response], api: RuntimeApi, *, invocations: Iterator[int] | None = None
) -> None:
    """Answer invocations for ever, or as many as `invocations` yields."""
    for _ in iter(int, 1) if invocations is None else invocations:
        event, context, trace_id = api.next_invocation()
        if trace_id:
            os.environ["_X_AMZN_TRACE_ID"] = trace_id
        try:
            response = handler(event, context)
        except Exception as problem:
            _report(problem)
            api.fail(f"invocation/{context.aws_request_id}/error", problem)
            continue
        try:
            api.stream(context.aws_request_id, response)
        except OSError as problem:
            # Lambda cut the answer off: time is over, or it was too long. There is nobody left to tell.
            _report(problem)
        finally:
            response.end()


def main() -> None:
    """Load the handler that `_HANDLER` names, call its module's `prepare` if it has one, and run it."""
    api = RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        sys.path.insert(0, os.environ.get("LAMBDA_TASK_ROOT", "."))
        module, _, name = os.environ["_HANDLER"].rpartition(".")
        loaded = importlib.import_module(module.replace("/", "."))
        handler = getattr(loaded, name)
        getattr(loaded, "prepare", lambda: None)()
    except Exception as problem:
        _report(problem)
        api.fail("init/error", problem)
        raise SystemExit(1) from None
    run(handler, api)


def _prelude(response: Response) -> bytes:
    return json.dumps({"statusCode": response.status, "headers": dict(response.all_headers)}).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _trailers(error: BaseException | None) -> bytes:
    if error is None:
        return b""
    kind = type(error).__name__
    body = base64.b64encode(json.dumps({"errorType": kind, "errorMessage": kind}).encode())
    return f"{ERROR_TYPE}: {kind}\r\n{ERROR_BODY}: ".encode() + body + b"\r\n"


def _report(problem: BaseException) -> None:
    """Log where an error came from: the frames and the class, not the text, in which a prompt might stand."""
    frames = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(problem.__traceback__)][-8:]
    line = {"level": "ERROR", "message": "the gateway failed", "error_type": type(problem).__name__, "frames": frames}
    print(json.dumps(line), file=sys.stdout, flush=True)


if __name__ == "__main__":
    main()
