"""Real time for the emulated account: its virtual clock follows the wall clock, and all its work is on one thread.

The account is single-threaded, so nobody touches it directly. From a coroutine:

    copies = await driver.call(lambda live: live.account.sagemaker.serving_copies("inference-component/chat"))
    await driver.sleep_virtual(0.25)   # a quarter of a virtual second: 4 ms of waiting at --speed 60

`call` runs the function on the account's thread, after everything that is due by then has happened; `live.now_s` is the
present virtual time inside it. `driver.now_s` reads the time from anywhere. `driver.speed` is virtual seconds per second.
`advance` lets virtual time jump. From ordinary code use `driver.submit(function).result()`.

A machine that cannot keep up slows time down rather than piling up work: `slipped_s` says by how much.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from simulator.not_emulated import EmulationFailed, NotEmulated
from simulator.serve.live import LiveAccount

T = TypeVar("T")
OpenAccount = Callable[[], AbstractContextManager[LiveAccount]]

PATIENCE_S = 2.0
"""Seconds of work in one go after which time waits for the account instead of running away from it."""
JUMP_S = 10.0
"""Virtual seconds of a jump after which others have a turn."""
IDLE_S = 0.5


class AccountDriver(AbstractContextManager["AccountDriver"]):
    """Opens an account on a thread of its own and keeps its clock in step with the wall clock, `speed` times as fast.

    `open_account()` gives the context manager that makes the account; it is entered and left on that thread. As a
    context manager the driver starts and stops. After `patience_s` seconds of work in one go time is held back. ValueError
    unless `speed` is above 0.
    """

    def __init__(self, open_account: OpenAccount, *, speed: float = 1.0, patience_s: float = PATIENCE_S) -> None:
        if not 0 < speed < float("inf"):
            raise ValueError(f"speed ({speed}) must be above 0")
        self.speed = speed
        self.slipped_s = 0.0
        """Virtual seconds by which time has been held back, in all."""
        self._open, self._patience_s = open_account, patience_s
        self._jobs: queue.SimpleQueue[tuple[Callable[[LiveAccount], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._anchor = (0.0, 0.0)
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="emulated account", daemon=True)

    def __enter__(self) -> AccountDriver:
        self.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()

    def start(self) -> None:
        """Make the account and start its time; raises what making it raises."""
        self._thread.start()
        self._ready.result()

    def stop(self) -> None:
        """Stop time and take the account away. Calls that come later never get an answer."""
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()

    @property
    def now_s(self) -> float:
        """The present virtual time, in seconds since the epoch."""
        real_s, virtual_s = self._anchor
        return virtual_s + (time.monotonic() - real_s) * self.speed

    def submit(self, function: Callable[[LiveAccount], T]) -> Future[T]:
        """Run `function` on the account's thread, at the present virtual time; its outcome comes as a future.

        NotEmulated and EmulationFailed come through too; they are no Exceptions.
        """
        future: Future[T] = Future()
        self._jobs.put((function, future))
        return future

    async def call(self, function: Callable[[LiveAccount], T]) -> T:
        """Run `function` on the account's thread, at the present virtual time, and wait for what it returns."""
        return await asyncio.wrap_future(self.submit(function))

    async def sleep_virtual(self, duration_s: float) -> None:
        """Come back when `duration_s` virtual seconds have passed, by waiting or by a jump."""
        woken: Future[None] = Future()

        def wake() -> None:
            if woken.set_running_or_notify_cancel():
                woken.set_result(None)

        await self.call(lambda live: live.account.clock.after(duration_s, wake, label="sleeper"))
        await asyncio.wrap_future(woken)

    async def advance(self, duration_s: float) -> float:
        """Let `duration_s` virtual seconds pass at once, in steps between which others have a turn; the time after it."""
        end_s = duration_s + await self.call(lambda live: live.now_s)
        while True:
            now_s = await self.call(lambda live: self._jump(live, end_s))
            if now_s >= end_s:
                return now_s

    # On the account's thread

    def _run(self) -> None:
        try:
            with self._open() as live:
                self._anchor = (time.monotonic(), live.now_s)
                self._ready.set_result(None)
                while self._turn(live):
                    pass
        except BaseException as problem:
            if self._ready.done():
                raise
            self._ready.set_exception(problem)

    def _turn(self, live: LiveAccount) -> bool:
        try:
            job = self._jobs.get(timeout=self._idle_s(live))
        except queue.Empty:
            self._catch_up(live)
            return True
        if job is None:
            return False
        self._catch_up(live)
        function, future = job
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(function(live))
            except BaseException as problem:
                future.set_exception(problem)
        return True

    def _idle_s(self, live: LiveAccount) -> float:
        next_s = live.account.clock.next_at_s()
        return IDLE_S if next_s is None else min(IDLE_S, max(0.0, (next_s - self.now_s) / self.speed))

    def _catch_up(self, live: LiveAccount) -> None:
        began = time.monotonic()
        while time.monotonic() - began < self._patience_s:
            now_s = self.now_s
            next_s = live.account.clock.next_at_s()
            if next_s is None or next_s > now_s:
                self._let_happen(live, now_s)
                return
            self._let_happen(live, next_s)
        self.slipped_s += max(0.0, self.now_s - live.now_s)
        self._anchor = (time.monotonic(), live.now_s)

    def _jump(self, live: LiveAccount, end_s: float) -> float:
        to_s = min(end_s, live.now_s + JUMP_S)
        while (next_s := live.account.clock.next_at_s()) is not None and next_s <= to_s:
            self._let_happen(live, next_s)
        self._let_happen(live, to_s)
        self._anchor = (time.monotonic(), live.now_s)
        return live.now_s

    def _let_happen(self, live: LiveAccount, until_s: float) -> None:
        """Run what is due. What breaks is told and does not stop the rest: there is nobody to raise it to."""
        if until_s < live.now_s:
            return
        try:
            live.account.run_until(until_s)
        except (Exception, NotEmulated, EmulationFailed) as problem:
            live.problem(f"{type(problem).__name__}: {problem}")
