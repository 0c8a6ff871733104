"""The account that is served: the deployed stack, the scenario's endpoint, and traffic that may change while it runs.

Every component (and every single-model variant) has one `CopyFleet`, made when somebody first asks for it. Three kinds of
requests meet there: the scenario's own traffic, simulated clients that keep a number of requests in flight
(`hold_in_flight`), and real requests that the data plane submits (`fleet(resource_id).submit(…)`).

Everything here belongs to the account's thread: reach it through `AccountDriver.call`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.account import EmulatedAccount
from simulator.aws.logs import LogsService
from simulator.aws.sagemaker_load import LoadMeter
from simulator.physics.fleet import CopyFleet
from simulator.physics.requests import ClosedLoop, OpenArrivals, Status
from simulator.run import (
    FIXED_TOKENS,
    check_settings,
    put_endpoint,
    sagemaker_options,
    target_per_copy,
    template_parameters,
)
from simulator.scenario import Scenario
from simulator.serve.moto_front import MotoFront
from simulator.traffic.load import Traffic

CLIENT_STEP_S = 0.25
"""How long a simulated client waits between an answer and its next request, at most."""


@dataclass
class HeldLoad:
    """Simulated clients of one resource: each has one request in flight and sends the next one when it is answered."""

    in_flight: int
    input_tokens: int
    output_tokens: int
    requests: list[int] = field(default_factory=list)
    """Numbers, in the fleet's log, of the requests that are under way."""


@dataclass
class _Served:
    meter: LoadMeter
    fleet: CopyFleet
    held: dict[str, HeldLoad] = field(default_factory=dict)
    """By who asked for it."""
    is_turning: bool = False


class LiveAccount:
    """An emulated account under changing traffic. `resource_id` is the one that the scenario's traffic goes to."""

    def __init__(self, account: EmulatedAccount, scenario: Scenario, resource_id: str, *, seed: int = 0) -> None:
        self.account, self.scenario, self.resource_id = account, scenario, resource_id
        self.moto = MotoFront(account.stack.account_id)
        self.requests = 0
        """Requests of AWS clients so far."""
        self.problems: list[str] = []
        """What broke in the account, as opposed to what it refused; oldest first."""
        self._seed = seed
        self._served: dict[str, _Served] = {}

    @property
    def now_s(self) -> float:
        """The account's time."""
        return self.account.clock.now_s

    def problem(self, text: str) -> None:
        """Note that something broke, and say so on standard error."""
        self.problems.append(f"{self.now_s:.3f}: {text}")
        print(f"quickstep serve: {text}", file=sys.stderr)

    def resource_ids(self) -> list[str]:
        """Everything that can have traffic: `inference-component/<name>`, `endpoint/<e>/variant/<v>` of a single model."""
        return sorted(self.account.sagemaker.world.metrics)

    def fleet(self, resource_id: str) -> CopyFleet:
        """The copies of a resource and all that is in flight on them; KeyError if there is no such resource.

        The same fleet at every call, until the resource is deleted and made again.
        """
        return self._of(resource_id).fleet

    def hold_in_flight(
        self, resource_id: str, in_flight: int, *, input_tokens: int, output_tokens: int, who: str = "load"
    ) -> None:
        """Let simulated clients keep `in_flight` requests in flight from now on; 0 sends them home.

        Clients over the number finish the request they have. Those of another `who` come on top. KeyError for an unknown
        resource.
        """
        served = self._of(resource_id)
        before = served.held[who].requests if who in served.held else []
        served.held[who] = HeldLoad(in_flight, input_tokens, output_tokens, before)
        if not served.is_turning:
            served.is_turning = True
            self._turn(resource_id, served)

    def held_in_flight(self, resource_id: str) -> int:
        """How many requests simulated clients keep in flight, all together; KeyError for an unknown resource."""
        return sum(held.in_flight for held in self._of(resource_id).held.values())

    def _of(self, resource_id: str) -> _Served:
        meter = self.account.sagemaker.world.meter(resource_id)
        served = self._served.get(resource_id)
        if served is None or served.meter is not meter:
            empty = OpenArrivals((), (), (), self.now_s)
            served = self._served[resource_id] = _Served(meter, self._attach(resource_id, empty))
        return served

    def start_traffic(self, traffic: Traffic) -> None:
        """Send the scenario's traffic, from its start on, to the scenario's resource; once, before anything else."""
        arrivals = traffic.arrivals
        meter = self.account.sagemaker.world.meter(self.resource_id)
        if isinstance(arrivals, OpenArrivals):
            self._served[self.resource_id] = _Served(meter, self._attach(self.resource_id, arrivals))
            return
        self._follow(arrivals)

    def _follow(self, loop: ClosedLoop) -> None:
        """A pattern is clients that come and go; here they share the fleet with real requests."""

        def begin(level: int) -> None:
            tokens = {"input_tokens": loop.input_tokens, "output_tokens": loop.output_tokens}
            self.hold_in_flight(self.resource_id, level, **tokens, who="scenario")

        before = 0
        for number, level in enumerate((*loop.levels, 0)):
            if level != before:
                at_s = loop.start_s + number * loop.step_s
                self.account.clock.at(at_s, lambda level=level: begin(level), label="pattern")
            before = level

    def _attach(self, resource_id: str, arrivals: OpenArrivals) -> CopyFleet:
        traffic = self.scenario.traffic
        fleet = CopyFleet(
            self.scenario.profile,
            arrivals,
            self.scenario.endpoint.routing,
            client_timeout_s=traffic.client_timeout_s,
            retry_interval_s=traffic.retry_interval_s,
            seed=self._seed,
            start_s=self.now_s,
        )
        self.account.sagemaker.attach_load(resource_id, fleet)
        return fleet

    def _turn(self, resource_id: str, served: _Served) -> None:
        """Every client whose request has ended sends the next one, or leaves."""
        served.held = {who: held for who, held in served.held.items() if held.in_flight or held.requests}
        if not served.held or self._served.get(resource_id) is not served:
            served.is_turning = False
            return
        served.fleet.advance(self.now_s)
        for held in served.held.values():
            held.requests = [number for number in held.requests if served.fleet.status_of(number) is Status.OPEN]
            for _ in range(held.in_flight - len(held.requests)):
                held.requests.append(served.fleet.submit(self.now_s, held.input_tokens, held.output_tokens))
        self.account.clock.after(CLIENT_STEP_S, lambda: self._turn(resource_id, served), label="clients")


@contextmanager
def live_account(
    traffic: Traffic,
    scenario: Scenario,
    *,
    template: Path,
    policy: str,
    seed: int = 0,
    always_in_flight: int = 0,
    **options: Any,
) -> Iterator[LiveAccount]:
    """Deploy the stack of `template` beside the scenario's endpoint, with `traffic` on it, at the traffic's start.

    `always_in_flight` simulated clients come on top and stay. `options` go to the account.
    """
    parameters = template_parameters(scenario, policy=policy, target=target_per_copy(scenario, traffic))
    with EmulatedAccount(
        template,
        parameters,
        start_s=traffic.start_s,
        seed=seed,
        publish_delay_s=scenario.delays.metric_publish_s,
        sagemaker_options=sagemaker_options(scenario),
        **options,
    ) as account:
        check_settings(account)
        account.services["logs"] = LogsService(
            lambda: account.lambdas.functions, account.logs, account.services["logs"]
        )
        live = LiveAccount(account, scenario, put_endpoint(account, scenario), seed=seed)
        live.start_traffic(traffic)
        if always_in_flight:
            tokens_in, tokens_out = FIXED_TOKENS
            live.hold_in_flight(
                live.resource_id, always_in_flight, input_tokens=tokens_in, output_tokens=tokens_out, who="scenario"
            )
        try:
            yield live
        finally:
            live.moto.close()
