"""One load step through a peer's rule: 4 requests in flight, then 40, then 4 again, and a copy that takes minutes.

An idealised world with a one-second clock, to see the pattern of a rule and not its decimals: target 5 per copy, so 1,
8 and 1 copies are needed; a metric 15 s late; at most 20 copies; removal is immediate. Closed loop: clients keep the
load in flight. Open loop: the same load as arrivals (10 s of service), a queue that grows, clients that give up after
about 60 s.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.peers.ring import MetricRing
from simulator.peers.view import Peer, PeerView

TARGET_PER_COPY = 5.0
MAX_COPIES = 20
NEEDED_COPIES = 8
STEP_UP_S, STEP_DOWN_S, END_S = 1800, 5400, 9000
LOW, HIGH = 4.0, 40.0
METRIC_DELAY_S = 15.0
SERVICE_S = 10.0
PATIENCE_S = 50.0
"""A client that has waited so long when its service would begin gives up: 60 s with the service itself."""


def load_at(second: int) -> float:
    """Requests that the clients want in flight."""
    return HIGH if STEP_UP_S <= second < STEP_DOWN_S else LOW


def needed_plan(step_s: int) -> list[int]:
    """The clairvoyant plan of this load: copies needed in each `step_s`."""
    return [NEEDED_COPIES if load_at(t) == HIGH else 1 for t in range(0, END_S, step_s)]


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What a rule made of the step; seconds after the step up or down, None = never."""

    first_out_s: int | None
    full_ask_s: int | None
    """When all needed copies had been asked for."""
    peak_copies: int
    first_in_s: int | None
    back_to_one_s: int | None
    copy_hours: float
    lost_percent: float
    """Share of all requests that were lost; 0 in the closed loop, where nobody leaves."""


def run_step(peer: Peer, *, boot_s: int = 360, open_loop: bool = False) -> StepOutcome:
    """Run the step through `peer`. `boot_s`: seconds from the ask for a copy to its service."""
    world = _World(boot_s, open_loop)
    metrics = MetricRing(1.0, delay_s=METRIC_DELAY_S)
    first_out = full = first_in = back = None
    peak = asked_s = 0
    for second in range(END_S):
        world.advance(second)
        in_flight = world.in_flight(second)
        before = world.asked
        if second % peer.period_s == 0:
            metrics.show(second)
            starting = len(world.starting)
            view = PeerView(second, world.ready, world.asked, starting, metrics, 1, MAX_COPIES)
            wanted = peer.decide(view)
            if wanted is not None:
                world.ask(wanted, second)
        metrics.push(in_flight, world.ready, arrivals=load_at(second) / SERVICE_S)
        if second >= STEP_UP_S:
            first_out = second - STEP_UP_S if first_out is None and world.asked > before else first_out
            full = second - STEP_UP_S if full is None and world.asked >= NEEDED_COPIES else full
        if second >= STEP_DOWN_S:
            first_in = second - STEP_DOWN_S if first_in is None and world.asked < before else first_in
            back = second - STEP_DOWN_S if back is None and world.asked <= 1 else back
        peak, asked_s = max(peak, world.asked), asked_s + world.asked
    requests = sum(load_at(second) for second in range(END_S)) / SERVICE_S
    return StepOutcome(first_out, full, peak, first_in, back, asked_s / 3600, 100 * world.lost / requests)


class _World:
    """Copies that are asked for, start and serve, and the requests on them."""

    def __init__(self, boot_s: int, open_loop: bool) -> None:
        self.asked = self.ready = 1
        self.starting: list[int] = []
        self.lost = 0.0
        self._boot_s, self._open_loop = boot_s, open_loop
        self._backlog = LOW

    def advance(self, second: int) -> None:
        waiting = [at for at in self.starting if at > second]
        self.ready += len(self.starting) - len(waiting)
        self.starting = waiting

    def in_flight(self, second: int) -> float:
        if not self._open_loop:
            return load_at(second)
        per_s = load_at(second) / SERVICE_S
        served_at_once = self.ready * TARGET_PER_COPY
        self._backlog += per_s - min(self._backlog, served_at_once) / SERVICE_S
        leaving = max(0.0, self._backlog - served_at_once - PATIENCE_S * per_s)
        self._backlog -= leaving
        self.lost += leaving
        return self._backlog

    def ask(self, copies: int, second: int) -> None:
        copies = max(1, min(MAX_COPIES, copies))
        self.starting += [second + self._boot_s] * (copies - self.asked)
        for _ in range(self.asked - copies):
            if self.starting:
                self.starting.pop()  # The youngest start is cancelled first.
            else:
                self.ready -= 1
        self.asked = copies
