"""The main job, end to end, in the three ways an endpoint can be set up: out with the load, and back in."""

from __future__ import annotations

import json

import pytest

from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.traffic.load import load_traffic
from tests.scenarios.stage import TEMPLATE, decisions, errors, on_stage, statuses, supply, writes

STEP = "3x30 35x150 3x540"
"""5 minutes of 3 requests in flight, 25 of 35, 90 of 3: one copy, seven, one, at 5 per copy."""
RISE_S, FALL_S, END_S = 300.0, 1800.0, 7200.0


@pytest.fixture(scope="module", params=["fixed", "managed", "variant"])
def run(request):
    with on_stage(STEP, mode=request.param) as stage:
        stage.run_until(END_S)
        yield request.param, stage


def test_it_scales_out_with_the_load_and_back_in(run):
    _, stage = run
    assert supply(stage, RISE_S).current_copies == 1
    assert supply(stage, FALL_S).current_copies >= 7
    assert supply(stage, END_S).current_copies == 1
    assert supply(stage, END_S).instances_in_service == 1


def test_nothing_goes_wrong_on_a_fair_day(run):
    _, stage = run
    assert errors(stage) == []
    assert stage.account.dead_letters == []
    assert {outcome for *_, outcome in writes(stage)} == {"ok"}
    assert set(statuses(stage)) == {"SUCCEEDED"}


def test_instances_are_moved_by_whoever_they_belong_to(run):
    mode, stage = run
    asked = {what for _, what, _, _ in writes(stage)}
    assert asked == {"fixed": {"copies", "instances"}, "managed": {"copies"}, "variant": {"instances"}}[mode]


def test_the_first_raise_is_asked_within_a_minute_of_the_rise(run):
    _, stage = run
    assert RISE_S < writes(stage)[0][0] <= RISE_S + 60


def test_no_copy_is_asked_for_before_its_instance_serves():
    with on_stage(STEP, mode="fixed") as stage:
        stage.run_until(END_S)
        for t_s, what, count, _ in writes(stage):
            if what == "copies":
                assert count <= supply(stage, t_s).instances_in_service, (t_s, count)


def test_instances_are_given_back_one_at_a_time_and_only_when_empty():
    with on_stage(STEP, mode="fixed") as stage:
        stage.run_until(END_S)
        instances = [(t_s, n) for t_s, what, n, _ in writes(stage) if what == "instances"]
        lowered = [(a, b) for a, b in zip(instances, instances[1:], strict=False) if b[1] < a[1]]
        assert lowered
        for (_, before), (t_s, after) in lowered:
            assert after == before - 1
            assert supply(stage, t_s).desired_copies <= after


@pytest.mark.parametrize("mode", ["fixed", "managed"])
def test_it_sleeps_at_zero_and_wakes_to_the_waiting_demand(mode):
    asleep = "8x60 0x180 12x120"
    component = {"min_copies": 0, "max_copies": 6}
    with on_stage(asleep, mode=mode, component=component, traffic={"retry_interval_s": 5}) as stage:
        stage.run_until(2390)
        assert supply(stage, 2390).current_copies == 0
        stage.run_until(3600)
        assert next(t_s for t_s, *_ in writes(stage) if t_s > 2400) <= 2400 + 45
        woken = next(d for d in decisions(stage) if d["reason"] == "Wake")
        assert woken["desired"] >= 2, "12 clients at 5 per copy do not wake to 1"
        assert supply(stage, 3600).current_copies >= 3


def test_two_runs_with_one_seed_give_the_same_bytes():
    def run_once() -> str:
        scenario = Scenario(component={"target_per_copy": 5, "max_copies": 6})
        traffic = load_traffic("3x12 30x60 3x60", profile=scenario.profile, seed=7)
        return json.dumps(simulate(traffic, scenario, template=TEMPLATE, seed=7), sort_keys=True)

    assert run_once() == run_once()
