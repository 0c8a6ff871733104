"""Requests to models, over HTTP: `InvokeEndpoint`, `InvokeEndpointWithResponseStream` and SageMaker's OpenAI path.

    app = make_app(driver, data_plane=data_plane.routes())

Every request is one more request on the emulated copies (`data_plane_calls`); what it says back is made up (`dialects`), in
the time that the physics gives it. Nothing is buffered: the next piece is written when the client has room for it.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from simulator.errors import ServiceError
from simulator.serve import data_plane_faults as faults
from simulator.serve import dialects
from simulator.serve.data_plane_answer import Answer, Broken, unless_gone
from simulator.serve.data_plane_calls import Ask, Call, Calls
from simulator.serve.data_plane_targets import (
    Address,
    ModelAnswer,
    Target,
    asked_for,
    find_target,
    no_capacity,
    refusal,
)
from simulator.serve.data_plane_token import TokenRefused, check_bearer
from simulator.serve.driver import AccountDriver
from simulator.serve.live import LiveAccount
from simulator.wire import CREDENTIALS

Path = Literal["invoke", "stream", "openai"]

COMPONENT_HEADER = "x-amzn-sagemaker-inference-component"
ATTRIBUTES_HEADER = "x-amzn-sagemaker-custom-attributes"
VARIANT_HEADER = "x-amzn-sagemaker-target-variant"
READ_OVER_BYTES = 67_108_864
"""So much of a body that is too long is read to its end, for a client that reads its answer only then."""
OWN_KEYS = {CREDENTIALS["AWS_ACCESS_KEY_ID"]: CREDENTIALS["AWS_SECRET_ACCESS_KEY"], "test": "test"}
"""Secret keys of the access keys that `quickstep serve` and the emulated functions use."""
TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for each "
    "container in Amazon CloudWatch, resolve the issue, and try again."
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the runtime allows. Seconds are virtual."""

    invoke_s: float = 60.0
    """For an answer that is not streamed."""
    stream_s: float = 480.0
    """For a streamed one, to its last byte."""
    body_bytes: int = 6_291_456
    open_calls: int = 2_000
    """Requests at once, over all endpoints; beyond it ServiceUnavailable."""


def routes(limits: Limits | None = None, *, clock: Callable[[], float] = time.time) -> Sequence[BaseRoute]:
    """The routes of the data plane. `clock` is real time, against which the bearer token is checked."""
    plane = DataPlane(limits or Limits(), clock)
    logging.getLogger("uvicorn.error").addFilter(_is_news)

    def route(path: str, kind: Path) -> Route:
        async def endpoint(request: Request) -> ASGIApp:
            return Exchange(plane, request, kind)

        return Route(path, endpoint, methods=["POST"], name=f"data plane: {path}")

    openai = "openai/v1/chat/completions"
    return [
        route("/endpoints/{endpoint}/invocations", "invoke"),
        route("/endpoints/{endpoint}/invocations-response-stream", "stream"),
        route(f"/endpoints/{{endpoint}}/{openai}", "openai"),
        route(f"/endpoints/{{endpoint}}/inference-components/{{component}}/{openai}", "openai"),
    ]


class DataPlane:
    """What all requests of one server share."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.limits, self.clock = limits, clock
        self.refusals = faults.Refusals()
        self._numbers = itertools.count(1)
        self._calls: Calls | None = None

    def calls(self, driver: AccountDriver) -> Calls:
        if self._calls is None:
            self._calls = Calls(driver)
        return self._calls

    def next_number(self) -> int:
        return next(self._numbers)


class Exchange:
    """One request and all that is answered to it: an ASGI application of its own."""

    def __init__(self, plane: DataPlane, request: Request, path: Path) -> None:
        self._plane, self._request, self._path = plane, request, path
        self._driver: AccountDriver = request.app.state.driver
        self._number = plane.next_number()
        self._target: Target | None = None
        self._endpoint = request.path_params["endpoint"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        calls = self._plane.calls(self._driver)
        try:
            answer, call = await self._open(calls)
        except ClientDisconnect:
            return
        except ServiceError as error:
            await self._refusal(error)(scope, receive, send)
            return
        except dialects.ContainerRefusal as error:
            await (await self._model_error(error.status, error.body))(scope, receive, send)
            return
        try:
            await unless_gone(receive, self._answer(answer, call, scope, receive, send))
        finally:
            await calls.close(call)

    # Before the answer

    async def _open(self, calls: Calls) -> tuple[Answer, Call]:
        headers = self._request.headers
        document = await self._document()
        wishes = faults.read_wishes(headers.get(faults.HEADER), headers.get(ATTRIBUTES_HEADER), document)
        address = await self._address()
        if len(calls) >= self._plane.limits.open_calls:
            raise asked_for("unavailable")
        prepared: list[tuple[Target, dialects.Prompt | dialects.ContainerRefusal]] = []

        def prepare(live: LiveAccount) -> Ask:
            target = find_target(live, address, number=self._number, seed=live.account.seed)
            if self._plane.refusals.is_due(wishes, target.resource_id) and wishes.refuse is not None:
                raise asked_for(wishes.refuse)
            understood = _understand(document, wishes, target, only_chat=self._path == "openai")
            prepared.append((target, understood))
            if isinstance(understood, dialects.ContainerRefusal):
                # It met a copy all the same, for a moment.
                return Ask(target.fleet, 0, 1, self._plane.limits.invoke_s)
            limit_s = wishes.limit_s or self._limit_s(understood)
            return Ask(target.fleet, understood.input_tokens, understood.output_tokens, limit_s)

        call = await calls.open(prepare)
        self._target, understood = prepared[0]
        if call is None:
            raise no_capacity(self._target)
        if isinstance(understood, dialects.ContainerRefusal):
            await calls.close(call)
            raise understood
        made = dialects.writer(
            understood, number=self._number, created_s=self._driver.now_s, token_bytes=wishes.token_bytes
        )
        return Answer(self._driver, call, made, wishes), call

    async def _document(self) -> Any:
        """The body as JSON; None if it is none."""
        data, size, most = bytearray(), 0, self._plane.limits.body_bytes
        async for piece in self._request.stream():
            size += len(piece)
            if size <= most:
                data += piece
            elif size > most + READ_OVER_BYTES:
                break
        if size > most:
            raise refusal(f"The body is longer than the {most} bytes that are allowed.")
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            return None

    async def _address(self) -> Address:
        headers = self._request.headers
        if self._path != "openai":
            return Address(self._endpoint, headers.get(COMPONENT_HEADER), headers.get(VARIANT_HEADER))
        region = await self._driver.call(lambda live: live.account.stack.region)
        try:
            check_bearer(headers.get("authorization"), region=region, now_s=self._plane.clock(), secrets=OWN_KEYS)
        except TokenRefused as error:
            raise ServiceError("AccessDeniedException", str(error), 403) from None
        if COMPONENT_HEADER in headers:
            raise refusal(
                "Inference Component Name header is not allowed on this path; name the component in the path."
            )
        return Address(self._endpoint, self._request.path_params.get("component"))

    def _limit_s(self, prompt: dialects.Prompt) -> float:
        limits = self._plane.limits
        is_long = self._path == "stream" or (self._path == "openai" and prompt.is_streamed)
        return limits.stream_s if is_long else limits.invoke_s

    # The answer

    async def _answer(self, answer: Answer, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        if self._path == "stream":
            await answer.send_event_stream(send, self._headers())
        elif self._path == "openai" and answer.writer.prompt.is_streamed:
            await answer.send_as_it_comes(send, self._headers())
        else:
            try:
                await answer.send_when_complete(send, self._headers())
            except Broken as broken:
                body = TIMED_OUT if broken.code == "ModelInvocationTimeExceeded" else broken.message
                await (await self._model_error(0, body))(scope, receive, send)
            except TimeoutError:
                return

    def _headers(self) -> dict[str, str]:
        assert self._target is not None
        return {"x-amzn-requestid": self._request_id, "x-amzn-invoked-production-variant": self._target.variant}

    @property
    def _request_id(self) -> str:
        return f"00000000-0000-4000-8000-{self._number:012x}"

    def _refusal(self, error: ServiceError) -> Response:
        headers = {"x-amzn-requestid": self._request_id, "x-amzn-errortype": error.code}
        body: dict[str, Any] = {"Message": error.message}
        if self._path == "openai":
            body = _openai_error(error.message, error.code, error.status)
        return Response(json.dumps(body), error.status, headers, "application/json")

    async def _model_error(self, status: int, body: str) -> Response:
        where = await self._driver.call(lambda live: (live.account.stack.region, live.account.stack.account_id))
        passed_on = ModelAnswer(status, body, self._endpoint, *where)
        headers = {"x-amzn-requestid": self._request_id, "x-amzn-errortype": "ModelError"}
        if self._path != "openai":
            return Response(passed_on.to_json(), 424, headers, "application/json")
        document = {"error": {"message": passed_on.message, "type": "server_error", "code": "model_error"}}
        return Response(json.dumps(document), status or 424, headers, "application/json")


def _is_news(record: logging.LogRecord) -> bool:
    """False for what uvicorn says of an answer that was broken off on purpose: there is no other way to break one off."""
    return record.msg != "ASGI callable returned without completing response."


def _understand(
    document: Any, wishes: faults.Emulate, target: Target, *, only_chat: bool
) -> dialects.Prompt | dialects.ContainerRefusal:
    dialect = wishes.dialect or dialects.dialect_of_image(target.image)
    try:
        prompt = dialects.read_prompt(document, dialect, seed_text=target.resource_id, seed=wishes.seed)
        if only_chat and prompt.kind != "chat":
            raise dialects.container_error(dialect, 400, "BadRequestError", "messages: Field required")
        if wishes.container_status is not None:
            raise dialects.container_error(dialect, wishes.container_status, "InternalServerError", "as it was wished")
        if wishes.token_bytes is not None and (prompt.kind == "native" or not prompt.is_streamed):
            raise refusal("quickstep-emulate: token_bytes is for streamed chat and text completions")
    except dialects.ContainerRefusal as error:
        return error
    return prompt


def _openai_error(message: str, code: str, status: int) -> dict[str, Any]:
    """The runtime's own errors on the OpenAI path (seen for ValidationError)."""
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in code).lstrip("_")
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "code": name.removesuffix("_exception")}}
