"""The gateway's core before an account that does as it is told, on a clock that only its own waiting moves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from quickstep import clock
from quickstep.errors import NoCapacity, QuickstepError, StreamBroken
from quickstep.front.asked import Asked
from quickstep.front.aws import Model
from quickstep.front.front import Front, Patience
from quickstep.front.http import Request, Response
from quickstep.front.waking import Phase, State, Waking
from quickstep.gateways.held_requests import Place

START_S = 1_800_000_000.0
SSE = "text/event-stream"
PATIENCE = Patience(hold_s=600.0, heartbeat_s=10.0, most_held=3)
NO_CAPACITY = NoCapacity("no copy")


class Stream:
    """A model's answer: parts, or an error where it breaks; `took_s` is how long each part takes to come."""

    def __init__(
        self, *parts: bytes | QuickstepError, content_type: str = SSE, wait: Callable[[], None] = lambda: None
    ) -> None:
        self.content_type = content_type
        self._parts, self._wait = parts, wait
        self.taken = 0
        self.hung_up = False

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self._wait()
            if isinstance(part, QuickstepError):
                raise part
            self.taken += 1
            yield part

    def hang_up(self) -> None:
        self.hung_up = True


@dataclass
class Stage:
    """What the account answers, and what was asked of it and when (`at`, in seconds after the start)."""

    now_s: float = START_S
    outcomes: list[Stream | QuickstepError] = field(default_factory=list)
    """One for each invocation; the last one is repeated."""
    ready_after_s: float = 0.0
    """From then on a copy serves; before it, invocations find none."""
    held_ahead: int = 0
    knock_fails: QuickstepError | None = None
    look_fails: QuickstepError | None = None
    waking: Callable[[float], Waking] | None = None
    """What is seen of the component before it serves, by seconds since the start."""
    at: list[tuple[float, str, Any]] = field(default_factory=list)

    def front(self, patience: Patience = PATIENCE) -> Front:
        return Front(self, patience, sleep=self.sleep, draw=lambda: 1.0)

    def ask(self, patience: Patience = PATIENCE, **body: Any) -> Response:
        """POST /v1/chat/completions with these members."""
        return self.front(patience).respond_to(completion(**body))

    def told(self, what: str) -> list[tuple[float, Any]]:
        return [(at_s, value) for at_s, name, value in self.at if name == what]

    @property
    def since_s(self) -> float:
        return self.now_s - START_S

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s

    def _note(self, what: str, value: Any = None) -> None:
        self.at.append((round(self.since_s, 3), what, value))

    # What the front asks of an account

    def endpoint_of(self, component: str) -> str | None:
        return "llm" if component == "chat" else None

    def models(self) -> tuple[Model, ...]:
        found = self.model("chat")
        return (found,) if found is not None else ()

    def model(self, component: str) -> Model | None:
        if component != "chat":
            return None
        if self.look_fails is not None:
            raise self.look_fails
        if self.since_s >= self.ready_after_s:
            return Model(component, "llm", Waking(State.READY))
        seen = self.waking or (lambda at_s: Waking(State.WAKING, Phase.COPIES, self.ready_after_s - at_s))
        return Model(component, "llm", seen(self.since_s))

    def invoke_model(self, asked: Asked, endpoint: str, *, remaining_s: float) -> Stream:
        self._note("invoke", asked)
        if self.since_s < self.ready_after_s:
            raise NO_CAPACITY
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, QuickstepError):
            raise outcome
        return outcome

    def knock(self, component: str, waiting: int) -> None:
        self._note("knock", waiting)
        if self.knock_fails is not None:
            raise self.knock_fails

    def take_place(self, component: str, request_id: str, *, until_s: float) -> Place:
        self._note("take place", until_s - START_S)
        return Place(component, request_id, self.held_ahead)

    def give_place_up(self, place: Place) -> None:
        self._note("give place up", place.key)


@contextmanager
def stage(**given: Any) -> Iterator[Stage]:
    """A stage whose time is also the product's."""
    made = Stage(**given)
    before = clock.use(lambda: made.now_s)
    try:
        yield made
    finally:
        clock.use(before)


def completion(*, path: str = "/v1/chat/completions", headers: dict[str, str] | None = None, **body: Any) -> Request:
    """A request; `model` is chat and `stream` true unless the body says otherwise."""
    document = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "Hello"}], **body}
    return Request("POST", path, headers or {}, json.dumps(document).encode(), "request-1")


def event(text: str) -> bytes:
    """One chunk of OpenAI's, as an SSE event."""
    document = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


def broken(code: str = "StreamBroken") -> StreamBroken:
    return StreamBroken("stream", code=code)


def sent(response: Response) -> bytes:
    """The whole body, the response ended as a server does."""
    try:
        return b"".join(response)
    finally:
        response.end()


def comments(body: bytes) -> list[str]:
    return [line[2:].decode() for line in body.split(b"\n") if line.startswith(b": ")]


def data(body: bytes) -> list[str]:
    return [line[6:].decode() for line in body.split(b"\n") if line.startswith(b"data: ")]
