"""Requests of real clients on the emulated copies: opened there, followed token by token, closed when the client is done.

A call is one more request of the resource's `CopyFleet`, among the simulated ones: routing, queueing, batching, the
concurrency metric, draining and the loss of a copy apply to it as to all others. One task follows all calls that are open,
with one visit to the account's thread per tick; what it keeps of a call is a few numbers, however long the answer and
however slow its reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum

from simulator.physics.fleet import CopyFleet
from simulator.physics.requests import Progress, Status
from simulator.serve.driver import AccountDriver
from simulator.serve.live import LiveAccount

TICK_S = (0.003, 0.02)
"""Shortest and longest real time between two looks at the calls that are open."""


class Ending(StrEnum):
    """Why no more tokens come."""

    SERVED = "served"
    BROKEN = "broken"
    """The copy is gone."""
    EXPIRED = "expired"
    """The time limit is over."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a call asks of a copy. The limit runs from the start of the call."""

    fleet: CopyFleet
    input_tokens: int
    output_tokens: int
    limit_s: float


@dataclass(eq=False, slots=True)
class Call:
    """One call that is open. Belongs to the event loop; only `fleet` is the account's."""

    fleet: CopyFleet
    request: int
    deadline_s: float
    """Virtual time at which it is cut off."""
    tokens: int = 0
    """Tokens that have come."""
    ending: Ending | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def more_than(self, tokens: int) -> None:
        """Wait until more tokens than these have come, or no more will."""
        while self.tokens <= tokens and self.ending is None:
            self.changed.clear()
            await self.changed.wait()

    async def over(self) -> Ending:
        """Wait until no more tokens will come."""
        while self.ending is None:
            self.changed.clear()
            await self.changed.wait()
        return self.ending


class Calls:
    """All calls of one server."""

    def __init__(self, driver: AccountDriver) -> None:
        self._driver = driver
        self._open: dict[Call, None] = {}
        self._follower: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    async def open(self, prepare: Callable[[LiveAccount], Ask]) -> Call | None:
        """Put a request on a copy; None if no copy takes requests. `prepare` runs on the account's thread and may raise."""

        def begin(live: LiveAccount) -> tuple[CopyFleet, int, float] | None:
            ask = prepare(live)
            request = ask.fleet.open_request(live.now_s, ask.input_tokens, ask.output_tokens)
            if ask.fleet.status_of(request) is Status.LOST_NO_CAPACITY:
                ask.fleet.close_request(request, live.now_s)
                return None
            return ask.fleet, request, live.now_s + ask.limit_s

        opening = self._driver.submit(begin)
        try:
            begun = await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._give_back)
            raise
        if begun is None:
            return None
        call = Call(*begun)
        self._open[call] = None
        if self._follower is None or self._follower.done():
            self._follower = asyncio.create_task(self._follow(), name="follow the open calls")
        return call

    async def close(self, call: Call) -> None:
        """The client has all it will read, or has gone: the copy counts it no more."""
        self._open.pop(call, None)
        await self._driver.call(lambda live: call.fleet.close_request(call.request, live.now_s))

    def _give_back(self, opening: Future[tuple[CopyFleet, int, float] | None]) -> None:
        """Nobody waits for this call any more; it must not occupy its copy for ever."""
        if not opening.cancelled() and opening.exception() is None and (begun := opening.result()) is not None:
            fleet, request, _ = begun
            self._driver.submit(lambda live: fleet.close_request(request, live.now_s))

    async def _follow(self) -> None:
        while self._open:
            calls = tuple(self._open)
            now_s, rows, next_s = await self._driver.call(lambda live, calls=calls: _look(live, calls))
            for call, row in zip(calls, rows, strict=True):
                _update(call, row, now_s)
            shortest_s, longest_s = TICK_S
            await asyncio.sleep(min(longest_s, max(shortest_s, (next_s - now_s) / self._driver.speed)))


def _look(live: LiveAccount, calls: Sequence[Call]) -> tuple[float, list[Progress | None], float]:
    """On the account's thread: the time, where every call is (None: closed meanwhile), when the next token is due."""
    now_s = live.now_s
    fleets = {id(call.fleet): call.fleet for call in calls}
    found = {(key, row.request): row for key, fleet in fleets.items() for row in fleet.progress(now_s)}
    rows = [found.get((id(call.fleet), call.request)) for call in calls]
    return now_s, rows, min((row.next_s for row in rows if row is not None), default=now_s)


def _update(call: Call, row: Progress | None, now_s: float) -> None:
    if row is None or call.ending is not None:
        return
    before = (call.tokens, call.ending)
    call.tokens = max(call.tokens, row.tokens)
    if row.status is Status.SERVED:
        call.ending = Ending.SERVED
    elif row.status is not Status.OPEN:
        call.ending = Ending.BROKEN
    elif now_s >= call.deadline_s:
        call.ending = Ending.EXPIRED
    if before != (call.tokens, call.ending):
        call.changed.set()
