"""The account in real time: one thread, time that follows the wall, jumps, sleepers, and traffic that can be changed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from simulator.clock import EPOCH_S
from simulator.not_emulated import NotEmulated
from simulator.physics.requests import OpenArrivals
from simulator.scenario import Scenario
from simulator.serve.driver import AccountDriver
from simulator.serve.live import LiveAccount, live_account
from simulator.traffic.load import Traffic, load_traffic
from tests.simulator.serve_process import ROOT

CHAT = "inference-component/chat"
NOBODY = Traffic(OpenArrivals((), (), (), EPOCH_S), "", "none", EPOCH_S, EPOCH_S, 1.0, requests_read=0)


@contextmanager
def opened(traffic: Traffic = NOBODY, **options) -> Iterator[LiveAccount]:
    scenario = Scenario(delays={"copy_median_s": 30}, endpoint={"initial_instances": 2})
    with live_account(traffic, scenario, template=ROOT / "template.yaml", policy="StepsAndDemand", **options) as live:
        yield live


@contextmanager
def driven(speed: float = 1.0, **options) -> Iterator[AccountDriver]:
    with AccountDriver(lambda: opened(**options), speed=speed) as driver:
        yield driver


@pytest.fixture(scope="module")
def driver() -> Iterator[AccountDriver]:
    with driven() as made:
        yield made


def test_everything_runs_on_one_thread_that_is_not_the_callers(driver):
    threads = {driver.submit(lambda live: threading.get_ident()).result() for _ in range(3)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_a_call_sees_the_present_and_everything_that_was_due_before_it(driver):
    seen: list[str] = []
    now_s = driver.submit(lambda live: live.now_s).result()
    driver.submit(lambda live: live.account.clock.at(now_s + 0.05, lambda: seen.append("due"))).result()
    time.sleep(0.1)
    before_s = driver.now_s
    at_s = driver.submit(lambda live: (seen.append("call"), live.now_s)[1]).result()
    assert before_s <= at_s <= driver.now_s
    assert seen == ["due", "call"]


@pytest.mark.parametrize("raised", [KeyError("mine"), NotEmulated("a gap")])
def test_what_a_call_raises_reaches_its_caller_and_the_account_goes_on(driver, raised):
    def fail(live: LiveAccount) -> None:
        raise raised

    with pytest.raises(type(raised)):
        driver.submit(fail).result()
    assert driver.submit(lambda live: "still there").result() == "still there"


def test_what_breaks_on_its_own_is_noted_and_time_goes_on(driver, capsys):
    def start(live: LiveAccount) -> None:
        live.account.clock.after(1.0, lambda: 1 / 0)
        live.account.clock.after(2.0, lambda: live.account.lost.append("after it"))

    driver.submit(start).result()
    asyncio.run(driver.advance(3.0))
    problems, lost = driver.submit(lambda live: (list(live.problems), list(live.account.lost))).result()
    assert problems[-1].endswith("ZeroDivisionError: division by zero")
    assert "after it" in lost
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_advance_moves_time_at_once_and_wakes_who_sleeps_in_it(driver):
    async def both() -> tuple[float, float]:
        started, start_s = time.monotonic(), driver.now_s
        sleeper = asyncio.create_task(driver.sleep_virtual(500.0))
        await asyncio.sleep(0.05)
        assert not sleeper.done()
        await driver.advance(600.0)
        await sleeper
        return driver.now_s - start_s, time.monotonic() - started

    virtual_s, real_s = asyncio.run(both())
    assert 600.0 <= virtual_s <= 600.0 + real_s


def test_calls_are_answered_in_the_middle_of_a_long_jump(driver):
    async def both() -> float:
        start_s = await driver.call(lambda live: live.now_s)
        jump = asyncio.create_task(driver.advance(300.0))
        await asyncio.sleep(0)
        between_s = await driver.call(lambda live: live.now_s) - start_s
        await jump
        return between_s

    assert asyncio.run(both()) < 300.0


def test_a_sleeper_who_is_called_off_does_not_disturb_the_account(driver):
    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(driver.sleep_virtual(3.0), timeout=0.05)
        await driver.advance(5.0)

    before = driver.submit(lambda live: list(live.problems)).result()
    asyncio.run(give_up())
    assert driver.submit(lambda live: live.problems).result() == before


def test_a_handler_that_runs_takes_neither_time_nor_output_from_other_threads(driver, capsys):
    """In its own thread a handler sees virtual time and writes to its log; a server lives beside it."""
    running, told = threading.Event(), threading.Event()

    def meet(call, proceed):
        running.set()
        told.wait(timeout=10)
        return proceed()

    def invoke(live: LiveAccount) -> list[str]:
        live.account.interceptors.append(meet)
        try:
            live.account.invoke("ReconcileFunction", {})
        finally:
            live.account.interceptors.remove(meet)
        return [line.text for line in live.account.logs]

    before_s = time.time()
    logs = driver.submit(invoke)
    assert running.wait(timeout=30)
    began = time.monotonic()
    time.sleep(0.01)
    slept_s, now_s = time.monotonic() - began, time.time()
    print("from outside")
    told.set()
    assert slept_s >= 0.01
    assert 0 <= now_s - before_s < 100 * 86_400
    assert "from outside" in capsys.readouterr().out
    assert "from outside" not in logs.result()


def test_time_passes_as_many_times_as_fast_as_was_asked():
    with driven(speed=100.0) as driver:
        started, first_s = time.monotonic(), driver.submit(lambda live: live.now_s).result()
        time.sleep(0.3)
        passed_s, real_s = driver.submit(lambda live: live.now_s).result() - first_s, time.monotonic() - started
        # A machine that was too slow has held time back, and says by how much.
        assert passed_s + driver.slipped_s >= 30.0
        assert passed_s <= 100.0 * real_s + 1e-6


def test_time_waits_for_an_account_that_cannot_keep_up_and_skips_nothing():
    done: list[float] = []
    with AccountDriver(opened, speed=100.0, patience_s=0.05) as driver:

        def slow(live: LiveAccount) -> None:
            time.sleep(0.3)
            done.append(live.now_s)

        def schedule(live: LiveAccount) -> float:
            for second in (1, 2, 3):
                live.account.clock.after(second, lambda: slow(live))
            return live.now_s

        start_s = driver.submit(schedule).result()
        while len(done) < 3:
            time.sleep(0.02)
        assert done == [start_s + 1, start_s + 2, start_s + 3]
        # 0.9 s of work would be 90 virtual seconds; they did not pass.
        assert driver.slipped_s >= 60
        assert driver.submit(lambda live: live.now_s).result() < start_s + 60


def test_an_account_that_cannot_be_made_says_so_to_who_starts_it():
    @contextmanager
    def broken() -> Iterator[LiveAccount]:
        raise ValueError("no such thing")
        yield

    with pytest.raises(ValueError, match="no such thing"):
        AccountDriver(broken).start()


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
def test_a_speed_that_is_none_is_refused(speed):
    with pytest.raises(ValueError, match="must be above 0"):
        AccountDriver(opened, speed=speed)


# -- traffic (the account in this thread: nothing of it is real time) ---------------------------------------------------


def hold(live: LiveAccount, in_flight: int, **options) -> None:
    live.hold_in_flight(CHAT, in_flight, input_tokens=100, output_tokens=50, **options)


def in_flight(live: LiveAccount, seconds: float) -> int:
    live.account.run_for(seconds)
    live.fleet(CHAT).advance(live.now_s)
    return live.fleet(CHAT).in_flight


def test_held_clients_keep_their_number_in_flight_and_sagemaker_publishes_it():
    with opened() as live:
        hold(live, 12)
        hold(live, 3, who="others")
        assert live.held_in_flight(CHAT) == 15
        assert in_flight(live, 60.0) == 15
        published = dict(live.account.concurrency_history(CHAT))
        assert live.account.sagemaker.supply_at(CHAT, EPOCH_S + 20).current_copies == 1
        assert published[EPOCH_S + 10] == pytest.approx(15, rel=0.1)
        hold(live, 4)
        assert in_flight(live, 30.0) == 7
        hold(live, 0)
        hold(live, 0, who="others")
        assert in_flight(live, 60.0) == 0
        assert live.account.clock.next_at_s() > live.now_s, "clients who have left do not keep the clock busy"


def test_a_pattern_and_held_clients_add_up():
    traffic = load_traffic("5x6 0x6", profile=Scenario().profile, start_s=EPOCH_S)
    with opened(traffic) as live:
        hold(live, 2)
        assert in_flight(live, 40.0) == 7
        assert in_flight(live, 60.0) == 2


def test_recorded_traffic_and_real_requests_meet_on_the_same_copies():
    traffic = load_traffic("generated:demo", profile=Scenario().profile, start_s=EPOCH_S, duration_s=600.0)
    with opened(traffic) as live:
        live.account.run_for(60.0)
        fleet = live.fleet(CHAT)
        before = fleet.in_flight
        number = fleet.submit(live.now_s, 100, 400)
        assert fleet.in_flight == before + 1
        assert fleet.status_of(number).name == "OPEN"
        in_flight(live, 200.0)
        assert fleet.status_of(number).name == "SERVED"


def test_a_component_that_is_made_later_gets_its_own_traffic_and_a_new_one_when_it_is_made_again():
    with opened() as live:
        create = {
            "InferenceComponentName": "late",
            "EndpointName": "llm",
            "VariantName": "AllTraffic",
            "Specification": {
                "Container": {"Image": "late"},
                "ComputeResourceRequirements": {"NumberOfAcceleratorDevicesRequired": 1, "MinMemoryRequiredInMb": 128},
            },
            "RuntimeConfig": {"CopyCount": 1},
        }
        assert live.resource_ids() == [CHAT]
        with pytest.raises(KeyError):
            live.fleet("inference-component/late")
        live.account.call("sagemaker", "CreateInferenceComponent", create)
        live.hold_in_flight("inference-component/late", 3, input_tokens=10, output_tokens=20)
        live.account.run_for(120.0)
        first = live.fleet("inference-component/late")
        assert (first.serving_copies, first.in_flight, live.fleet(CHAT).in_flight) == (1, 3, 0)
        live.account.call("sagemaker", "DeleteInferenceComponent", {"InferenceComponentName": "late"})
        live.account.run_for(60.0)  # Not so long that the instance is released: nobody would add one for it.
        assert live.resource_ids() == [CHAT]
        live.account.call("sagemaker", "CreateInferenceComponent", create)
        live.account.run_for(120.0)
        again = live.fleet("inference-component/late")
        assert again is not first
        assert (again.serving_copies, again.in_flight) == (1, 0)
