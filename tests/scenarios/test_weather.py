"""Weather: seeded faults at every AWS call of every handler and at every event, for forty minutes; then it clears up.

Refusals, lost requests, lost answers, functions killed before and after a call, events lost and doubled. Whatever
happens, bounds and the order of instances and copies hold, and afterwards the endpoint is where it should be.
"""

from __future__ import annotations

import random

import pytest

from simulator.account_call import NoAnswer
from simulator.aws.lambda_runtime import EnvironmentKilled
from simulator.errors import ServiceError
from tests.scenarios.stage import on_stage, supply, writes

FOUL_S, END_S = 2400.0, 4195.0
KINDS = ("throttled", "request lost", "answer lost", "killed before", "killed after")


class Weather:
    """Draws faults from a seed; how likely each kind is differs from seed to seed."""

    def __init__(self, stage, seed: int) -> None:
        self._rng = random.Random(f"weather/{seed}")
        self._share = {kind: 0.06 * self._rng.random() * self._rng.random() for kind in KINDS}
        self._lost, self._doubled = 0.1 * self._rng.random(), 0.1 * self._rng.random()
        self._account, self._end_s = stage.account, stage.traffic.start_s + FOUL_S
        self.faults = 0
        stage.account.interceptors.append(self.intercept)
        stage.account.deliverer.tamper = self.tamper

    def _is_foul(self) -> bool:
        return self._account.clock.now_s < self._end_s

    def intercept(self, call, proceed):
        if call.function is None or not self._is_foul():
            return proceed()
        drawn, kind = self._rng.random(), None
        for name, share in self._share.items():
            if drawn < share:
                kind = name
                break
            drawn -= share
        if kind is None:
            return proceed()
        self.faults += 1
        if kind == "throttled":
            raise ServiceError("ThrottlingException", "Rate exceeded")
        if kind == "request lost":
            raise NoAnswer("read")
        if kind == "killed before":
            raise EnvironmentKilled("killed before the call")
        proceed()
        if kind == "answer lost":
            raise NoAnswer("read")
        raise EnvironmentKilled("killed after the call")

    def tamper(self, delivery):
        if not self._is_foul():
            return (delivery,)
        drawn = self._rng.random()
        return () if drawn < self._lost else (delivery, delivery) if drawn < self._lost + self._doubled else (delivery,)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", ["fixed", "managed", "variant"])
def test_bounds_and_order_hold_in_any_weather_and_it_converges_when_it_clears_up(mode, seed):
    with on_stage("3x30 35x150 3x240", mode=mode, seed=seed) as stage:
        weather = Weather(stage, seed)
        stage.run_until(1790)
        assert supply(stage, 1790).desired_copies >= 7, "it scaled out in the middle of it"
        stage.run_until(END_S)
        assert weather.faults > 0
        end = supply(stage, END_S)
        assert (end.desired_copies, end.current_copies) == (1, 1)
        for t_s, what, count, outcome in writes(stage):
            assert 1 <= count <= 10
            if mode == "fixed" and what == "copies" and outcome == "ok":
                assert count <= supply(stage, t_s).instances_in_service
        running = [e for e in stage.account.executions() if e.status == "RUNNING"]
        assert len(running) <= 1
