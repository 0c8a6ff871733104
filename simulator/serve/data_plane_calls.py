"""Requests of real clients on the emulated copies: opened there, followed token by token, closed when the client is done.

A call is one more request of the resource's `CopyFleet`, among the simulated ones: routing, queueing, batching, the
concurrency metric, draining and the loss of a copy apply to it as to all others. One task follows all calls that are open,
with one visit to the account's thread per tick; what it keeps of a call is a few numbers, however long the answer and
however slow its reader.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum

from simulator.clock import Scheduled
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


@dataclass(slots=True)
class _OnCopy:
    """A call as the account's thread knows it."""

    fleet: CopyFleet
    request: int
    deadline_s: float
    expiry: Scheduled | None = None
    at_expiry: Progress | None = None
    """Where it was when its time was up, if it was not complete."""

    def expire(self) -> None:
        row = next(row for row in self.fleet.progress(self.deadline_s) if row.request == self.request)
        if row.status is Status.OPEN:
            self.at_expiry = row

    def close(self, live: LiveAccount) -> None:
        if self.expiry is not None:
            self.expiry.cancel()
        self.fleet.close_request(self.request, live.now_s)


@dataclass(eq=False, slots=True)
class Call:
    """One call that is open. Belongs to the event loop."""

    on_copy: _OnCopy
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

        def begin(live: LiveAccount) -> _OnCopy | None:
            ask = prepare(live)
            request = ask.fleet.open_request(live.now_s, ask.input_tokens, ask.output_tokens)
            begun = _OnCopy(ask.fleet, request, live.now_s + ask.limit_s)
            if ask.fleet.status_of(request) is Status.LOST_NO_CAPACITY:
                begun.close(live)
                return None
            begun.expiry = live.account.clock.at(begun.deadline_s, begun.expire, label="time limit of a request")
            return begun

        opening = self._driver.submit(begin)
        try:
            begun = await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._give_back)
            raise
        if begun is None:
            return None
        call = Call(begun, begun.deadline_s)
        self._open[call] = None
        if self._follower is None or self._follower.done():
            self._follower = asyncio.create_task(self._follow(), name="follow the open calls")
        return call

    async def close(self, call: Call) -> None:
        """The client has all it will read, or has gone: the copy counts it no more."""
        self._open.pop(call, None)
        await self._driver.call(call.on_copy.close)

    def _give_back(self, opening: Future[_OnCopy | None]) -> None:
        """Nobody waits for this call any more; it must not occupy its copy for ever."""
        if not opening.cancelled() and opening.exception() is None and (begun := opening.result()) is not None:
            self._driver.submit(begun.close)

    async def _follow(self) -> None:
        try:
            while self._open:
                await asyncio.sleep(await self._look_at_all())
        except BaseException:
            # Nobody follows the calls any more: they must not wait for ever.
            for call in self._open:
                _update(call, (call.tokens, Ending.BROKEN))
            raise

    async def _look_at_all(self) -> float:
        """Bring every open call to the present; in how many real seconds to look again."""
        calls = tuple(self._open)
        copies = [call.on_copy for call in calls]
        now_s, states, next_s = await self._driver.call(lambda live: _look(live, copies))
        for call, state in zip(calls, states, strict=True):
            _update(call, state)
        shortest_s, longest_s = TICK_S
        return min(longest_s, max(shortest_s, (next_s - now_s) / self._driver.speed))


def _look(live: LiveAccount, calls: Sequence[_OnCopy]) -> tuple[float, list[tuple[int, Ending | None] | None], float]:
    """On the account's thread: the time, (tokens, ending) of every call, and when the next token is due.

    None for a call that has been closed meanwhile.
    """
    now_s, next_s = live.now_s, math.inf
    fleets = {id(call.fleet): call.fleet for call in calls}
    found = {(key, row.request): row for key, fleet in fleets.items() for row in fleet.progress(now_s)}
    states: list[tuple[int, Ending | None] | None] = []
    for call in calls:
        row = found.get((id(call.fleet), call.request))
        if row is None:
            states.append(None)
        elif call.at_expiry is not None:
            states.append((call.at_expiry.tokens, Ending.EXPIRED))
        else:
            next_s = min(next_s, row.next_s)
            states.append((row.tokens, _ENDINGS.get(row.status, Ending.BROKEN)))
    return now_s, states, next_s


_ENDINGS: dict[Status, Ending | None] = {Status.OPEN: None, Status.SERVED: Ending.SERVED}


def _update(call: Call, state: tuple[int, Ending | None] | None) -> None:
    if state is None or call.ending is not None or state == (call.tokens, None):
        return
    call.tokens, call.ending = max(call.tokens, state[0]), state[1]
    call.changed.set()
