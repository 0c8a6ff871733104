"""The served account in this process, on a thread of its own and a free port, for the tests of the data plane."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import uvicorn
from botocore.config import Config

from simulator.clock import EPOCH_S
from simulator.physics.requests import OpenArrivals
from simulator.scenario import Scenario
from simulator.serve import data_plane
from simulator.serve.app import make_app
from simulator.serve.driver import AccountDriver
from simulator.serve.live import live_account
from simulator.serve.server import listen, url_of
from simulator.traffic.load import Traffic

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
ENDPOINT, COMPONENT = "llm", "chat"
RESOURCE = f"inference-component/{COMPONENT}"
_OUTSIDE = boto3.session.Session()
"""Made before any account is connected, whose wire would answer the calls itself: these go out over HTTP."""


@dataclass(frozen=True)
class Served:
    url: str
    driver: AccountDriver

    def on_account(self, function):
        """What `function(live)` returns, run on the account's thread."""
        return self.driver.submit(function).result(timeout=30)

    @property
    def in_flight(self) -> int:
        return self.on_account(lambda live: _fleet(live).in_flight)

    def runtime(self, **config):
        """boto3's client of the data plane, with no retries of its own."""
        return _OUTSIDE.client(
            "sagemaker-runtime",
            endpoint_url=self.url,
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, **config),
        )


def _fleet(live):
    fleet = live.fleet(RESOURCE)
    fleet.advance(live.now_s)
    return fleet


@contextmanager
def served(scenario: Scenario | None = None, *, speed: float = 20.0, limits=None, **options) -> Iterator[Served]:
    """Serve a scenario without traffic of its own; by default 20 times as fast as it is."""
    scenario = scenario or Scenario(name="streams")
    quiet = Traffic(OpenArrivals((), (), (), EPOCH_S), "", "none", EPOCH_S, EPOCH_S, 1.0, requests_read=0)
    driver = AccountDriver(
        lambda: live_account(quiet, scenario, template=TEMPLATE, policy="StepsAndDemand", **options), speed=speed
    )
    with driver, listen("127.0.0.1", 0) as listening:
        app = make_app(driver, data_plane=data_plane.routes(limits))
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        running: Future[None] = Future()

        def run() -> None:
            try:
                asyncio.run(server.serve(sockets=[listening]))
            finally:
                running.set_result(None)

        thread = threading.Thread(target=run, name="server", daemon=True)
        thread.start()
        yield Served(url_of(listening), driver)
        server.should_exit = True
        running.result(timeout=10)
