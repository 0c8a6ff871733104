"""The gateway itself: routes, warm and cold answers, and every rule of when to try again.

Before the first byte of an answer a request is tried again, with jitter; after it never. A component that sleeps is woken
at once, and the request is held: a streamed one behind a 200 and comments, another one in silence. Nothing of a prompt or an
answer is logged or put into an error of ours: only names, counts, codes and times.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

from quickstep import clock, telemetry
from quickstep.errors import (
    AwsRefused,
    ModelFailed,
    NoCapacity,
    OutcomeUnknown,
    QuickstepError,
    StreamBroken,
    Throttled,
)
from quickstep.front import sse
from quickstep.front.asked import Asked, asked
from quickstep.front.aws import Model
from quickstep.front.http import SSE, Refusal, Request, Response, error_document, json_response
from quickstep.front.record import Record
from quickstep.front.waking import Phase, State, Waking
from quickstep.front.words import as_refusal, entry_of, heartbeat, not_managed, turned_away
from quickstep.gateways.held_requests import Place
from quickstep.gateways.sagemaker_runtime import MAX_STREAM_S

COMPLETIONS = ("/v1/chat/completions", "/v1/completions")
MODELS = "/v1/models"
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
"""Answers of a container that the next copy, or the next second, may not give."""
TRIES = 5
FIRST_BACKOFF_S, MOST_BACKOFF_S = 0.25, 8.0
KNOCK_AGAIN_S = 15.0
"""A knock that shows no effect for so long was lost."""
POLL_MIN_S, POLL_MAX_S = 1.0, 8.0
ANSWER_AHEAD_S = 5.0
"""An answer ends so long before the function does, so that its end is said and not cut off."""


class Account(Protocol):
    """What is asked of AWS; see `quickstep.front.aws.Account`."""

    def endpoint_of(self, component: str) -> str | None: ...
    def models(self) -> tuple[Model, ...]: ...
    def model(self, component: str) -> Model | None: ...
    def invoke_model(self, asked: Asked, endpoint: str, *, remaining_s: float) -> Streamed: ...
    def knock(self, component: str, waiting: int) -> None: ...
    def take_place(self, component: str, request_id: str, *, until_s: float) -> Place: ...
    def give_place_up(self, place: Place) -> None: ...


class Streamed(Protocol):
    """A model's answer; see `quickstep.gateways.sagemaker_runtime.ModelStream`."""

    content_type: str

    def __iter__(self) -> Iterator[bytes]: ...
    def hang_up(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how many requests are held, in seconds and requests for each component."""

    hold_s: float
    heartbeat_s: float
    most_held: int


@dataclass(slots=True)
class _Opened:
    """An answer of which the first part is there."""

    stream: Streamed
    parts: Iterator[bytes]


class Front:
    """Answers requests. `sleep` and `draw` (uniform in [0, 1)) are given in by tests and by slower or faster clocks."""

    def __init__(
        self,
        account: Account,
        patience: Patience,
        *,
        sleep: Callable[[float], None] = clock.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._account = account
        self._patience = patience
        self._sleep = sleep
        self._draw = draw

    def respond_to(self, request: Request) -> Response:
        """The answer to one request. Its body may take minutes to iterate; call its `end` afterwards."""
        record = Record(request.request_id, _route(request))
        try:
            return self._routed(request, record)
        except Refusal as refused:
            record.finish(refused.status, refused.code)
            return refused.as_answer()
        except QuickstepError as error:
            refused = as_refusal(error)
            record.finish(refused.status, type(error).__name__)
            return refused.as_answer()

    def _routed(self, request: Request, record: Record) -> Response:
        path = request.path.rstrip("/")
        if path in COMPLETIONS:
            if request.method != "POST":
                raise Refusal(405, "method_not_allowed", f"{path} takes POST")
            return self._complete(request, asked(request), record)
        if path == MODELS or path.startswith(f"{MODELS}/"):
            if request.method != "GET":
                raise Refusal(405, "method_not_allowed", f"{MODELS} takes GET")
            return self._models(path.removeprefix(MODELS).strip("/"), record)
        raise Refusal(404, "unknown_path", f"There are POST {' and '.join(COMPLETIONS)}, and GET {MODELS}")

    def _models(self, name: str, record: Record) -> Response:
        if not name:
            response = json_response({"object": "list", "data": [entry_of(one) for one in self._account.models()]})
        else:
            found = self._account.model(name)
            if found is None:
                raise not_managed()
            response = json_response(entry_of(found))
        record.finish(200)
        return response

    # --- completions -----------------------------------------------------------------------------------------------

    def _complete(self, request: Request, ask: Asked, record: Record) -> Response:
        now_s = clock.now_s()
        deadline_s = now_s + MAX_STREAM_S + self._patience.hold_s
        if request.deadline_s is not None:
            deadline_s = min(deadline_s, request.deadline_s - ANSWER_AHEAD_S)
        endpoint = self._account.endpoint_of(ask.component)
        if endpoint is None:
            raise not_managed()
        # Only the name of a managed component is written down: any other might be anything that a client sent.
        record.component = ask.component
        try:
            opened = self._opened(ask, endpoint, deadline_s)
        except NoCapacity:
            return self._hold_request(request, ask, endpoint, deadline_s, record)
        return self._warm(opened, deadline_s, record)

    def _opened(self, ask: Asked, endpoint: str, deadline_s: float) -> _Opened:
        """Invoke the model and wait for its first part; try again what may pass."""
        for attempt in range(1, TRIES + 1):
            try:
                return self._opened_once(ask, endpoint, deadline_s)
            except QuickstepError as error:
                wait_s = min(MOST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** (attempt - 1)) * self._draw()
                if not _may_pass(error) or attempt == TRIES or clock.now_s() + wait_s >= deadline_s:
                    raise
            self._sleep(wait_s)
        raise AssertionError("the last attempt raises")

    def _opened_once(self, ask: Asked, endpoint: str, deadline_s: float) -> _Opened:
        stream = self._account.invoke_model(ask, endpoint, remaining_s=deadline_s - clock.now_s())
        parts = iter(stream)
        try:
            first = next(parts, None)
        except BaseException:
            stream.hang_up()
            raise
        return _Opened(stream, chain(() if first is None else (first,), parts))

    def _warm(self, opened: _Opened, deadline_s: float, record: Record) -> Response:
        """The model's bytes as they are; if they break off, an end that a client understands."""
        kind = opened.stream.content_type
        if sse.is_sse(kind):
            parts = sse.whole(opened.parts, b"\n\n")
        elif sse.is_json_lines(kind):
            parts = sse.whole(opened.parts, b"\n")
        else:
            parts = opened.parts
        body = self._sent(
            parts, opened, deadline_s, record, in_events=sse.is_sse(kind), in_lines=sse.is_json_lines(kind)
        )
        return Response(200, kind, body, on_end=opened.stream.hang_up)

    def _sent(
        self,
        parts: Iterator[bytes],
        opened: _Opened,
        deadline_s: float,
        record: Record,
        *,
        in_events: bool,
        in_lines: bool = False,
    ) -> Generator[bytes, None, None]:
        code = "client_left"
        try:
            for part in parts:
                record.sent(len(part))
                yield part
                if clock.now_s() >= deadline_s:
                    raise StreamBroken("the time for this request is over", code="DeadlineExceeded")
            code = None
        except StreamBroken as broken:
            code = broken.code
            document = error_document(500, broken.code, str(broken))
            if in_events:
                yield sse.ended_badly(document)
            elif in_lines:
                yield sse.as_line(document)
            else:
                # Nothing in this format could say it: the connection is cut, which every client takes for an error.
                raise
        finally:
            opened.stream.hang_up()
            record.finish(200, code)

    # --- held requests ---------------------------------------------------------------------------------------------

    def _hold_request(self, request: Request, ask: Asked, endpoint: str, deadline_s: float, record: Record) -> Response:
        now_s = clock.now_s()
        willing_s = self._patience.hold_s if ask.hold_s is None else min(ask.hold_s, self._patience.hold_s)
        until_s = min(now_s + willing_s, deadline_s)
        place = self._account.take_place(ask.component, request.request_id, until_s=until_s)
        leave = _Once(lambda: self._account.give_place_up(place))
        try:
            # The knock goes out before anything else: the decision to wake is a matter of seconds.
            self._knock(ask.component, place.ahead + 1)
            if place.ahead >= self._patience.most_held:
                raise turned_away(
                    self._account.model(ask.component), f"{place.ahead} requests already wait for this component"
                )
            if willing_s <= 0:
                raise turned_away(self._account.model(ask.component), "it is being woken")
            waiting = self._waiting(ask, endpoint, until_s, deadline_s, record)
            if ask.streams:
                body = self._held_stream(waiting, deadline_s, record, leave)
                return Response(200, SSE, body, (("x-accel-buffering", "no"),), on_end=leave)
            opened = _last(waiting)
        except BaseException:
            leave()
            raise
        leave()
        record.woke()
        return self._warm(opened, deadline_s, record)

    def _held_stream(
        self,
        waiting: Generator[bytes, None, _Opened],
        deadline_s: float,
        record: Record,
        leave: Callable[[], None],
    ) -> Generator[bytes, None, None]:
        """Comments until the model answers, then its answer as events, whatever its format is."""
        try:
            opened = yield from waiting
        except Refusal as refused:
            record.finish(200, refused.code)
            yield sse.ended_badly(error_document(refused.status, refused.code, refused.message))
            return
        except QuickstepError as error:
            refused = as_refusal(error)
            record.finish(200, type(error).__name__)
            yield sse.ended_badly(error_document(refused.status, refused.code, refused.message))
            return
        finally:
            leave()
        record.woke()
        kind = opened.stream.content_type
        if sse.is_sse(kind):
            parts = sse.whole(opened.parts, b"\n\n")
        elif sse.is_json_lines(kind):
            parts = sse.lines_as_events(opened.parts)
        else:
            parts = sse.as_one_event(opened.parts)
        yield from self._sent(parts, opened, deadline_s, record, in_events=True)

    def _waiting(
        self, ask: Asked, endpoint: str, until_s: float, deadline_s: float, record: Record
    ) -> Generator[bytes, None, _Opened]:
        """Heartbeats until the component serves; then the answer. Raises `Refusal` 503 when `until_s` comes first.

        SageMaker is asked whether a copy serves instead of being invoked again and again: every invocation that finds
        no copy counts as demand, and one waiting request is one request.
        """
        since_s = knocked_s = clock.now_s()
        beat_s = since_s
        while True:
            now_s = clock.now_s()
            model = self._looked_at(ask.component)
            at = Waking(State.WAKING) if model is None else model.waking
            if at.state is State.READY:
                try:
                    return self._opened_once(ask, endpoint, deadline_s)
                except QuickstepError as error:
                    if not isinstance(error, NoCapacity) and not _may_pass(error):
                        raise
            elif at.state is State.COLD and now_s - knocked_s >= KNOCK_AGAIN_S:
                self._knock(ask.component, 1)
                knocked_s = now_s
            elif at.state is State.FAILED and at.phase is None:
                raise Refusal(503, "model_failed", f"The inference component cannot serve: {at.reason}")
            if at.state is State.COLD:
                at = replace(at, state=State.WAKING, phase=Phase.DECISION)  # We have knocked: it only has to be seen.
            if now_s >= until_s:
                raise turned_away(model, f"no copy serves after {now_s - since_s:.0f} s")
            if now_s >= beat_s:
                beat_s = now_s + self._patience.heartbeat_s
                record.held(at)
                yield sse.comment(heartbeat(ask.component, at, now_s - since_s))
            wait_s = _poll_s(at.eta_s) * (0.5 + self._draw() / 2)
            self._sleep(max(0.05, min(wait_s, until_s - now_s, beat_s - now_s)))

    def _looked_at(self, component: str) -> Model | None:
        try:
            return self._account.model(component)
        except AwsRefused as error:
            telemetry.logger().warning("cannot see whether it wakes", extra={"error_type": type(error).__name__})
            return None

    def _knock(self, component: str, waiting: int) -> None:
        """Ask for the wake. If that fails, the wake alarm sees the failed invocation, and we knock again later."""
        try:
            self._account.knock(component, waiting)
        except AwsRefused as error:
            telemetry.logger().warning("cannot knock", extra={"error_type": type(error).__name__})


class _Once:
    """Does something the first time that it is called. What is left behind by a failure expires by itself."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do: Callable[[], None] | None = do

    def __call__(self) -> None:
        do, self._do = self._do, None
        if do is None:
            return
        try:
            do()
        except AwsRefused as error:
            telemetry.logger().warning("cannot give a place up", extra={"error_type": type(error).__name__})


def _poll_s(eta_s: float | None) -> float:
    """How soon to look again: often when it is nearly there, seldom when it takes long or nobody knows how long."""
    return POLL_MAX_S / 2 if eta_s is None else min(POLL_MAX_S, max(POLL_MIN_S, eta_s / 10))


def _last(waiting: Generator[bytes, None, _Opened]) -> _Opened:
    """Wait without saying anything."""
    while True:
        try:
            next(waiting)
        except StopIteration as end:
            return end.value


def _route(request: Request) -> str:
    """Which route a request is for, in words of ours: a path may hold anything."""
    path = request.path.rstrip("/")
    if path in COMPLETIONS or path == MODELS:
        return path
    return f"{MODELS}/{{model}}" if path.startswith(f"{MODELS}/") else "other"


def _may_pass(error: QuickstepError) -> bool:
    if isinstance(error, ModelFailed):
        return error.status in RETRIED_STATUSES
    # A stream that breaks before its first part has told the client nothing yet.
    return isinstance(error, Throttled | OutcomeUnknown | StreamBroken)
