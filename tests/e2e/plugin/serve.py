"""MiniStack with SageMaker, alarm events and Application Auto Scaling: `python serve.py --template … --records …`.

MiniStack takes its own settings from the environment (GATEWAY_PORT, AUTH, MINISTACK_REGION, MINISTACK_ACCOUNT_ID). Private names of the pinned version are used in this folder; `check_pin` says so when it moves.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import logging
import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[3]
# Not by PYTHONPATH: the functions' processes inherit the environment, and must find quickstep in the deployed layer.
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import answers  # noqa: E402
import permissions  # noqa: E402
import resource_types  # noqa: E402
from alarms import AlarmBridge  # noqa: E402
from hypercorn.asyncio import serve  # noqa: E402
from hypercorn.config import Config  # noqa: E402
from ministack import app  # noqa: E402
from ministack.core.responses import set_request_account_id, set_request_region  # noqa: E402
from world import Scene, World  # noqa: E402

import functions  # noqa: E402

PINNED = "1.5.33"
TICK_S = 0.1
STARTED_BY = os.getppid()
CALLS = "sagemaker-calls.jsonl"
DENIALS = "denials.jsonl"

logger = logging.getLogger("quickstep")


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--template", type=Path, required=True, help="the built template, for its resource types")
    parser.add_argument("--records", type=Path, required=True, help="folder for what is written down: CALLS, DENIALS")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--component", required=True)
    given = parser.parse_args()
    check_pin()
    # `kill -USR1` writes into the log where every thread stands.
    faulthandler.register(signal.SIGUSR1)
    unknown = resource_types.accept_unknown(given.template)
    resource_types.read_yaml_machines()
    functions.let_invocations_end()
    logger.info("resource types without effect here: %s", ", ".join(unknown) or "none")
    scene = Scene(os.environ["MINISTACK_ACCOUNT_ID"], os.environ["MINISTACK_REGION"], given.endpoint, given.component)
    with (
        (given.records / CALLS).open("w", encoding="utf-8") as calls,
        (given.records / DENIALS).open("w", encoding="utf-8") as denials,
    ):
        config = Config()
        config.bind = [f"127.0.0.1:{os.environ['GATEWAY_PORT']}"]
        config.keep_alive_timeout = 75
        asyncio.run(serve(_with_world(app.app, scene, calls, denials), config))


def check_pin() -> None:
    """Refuse another version of MiniStack than the one whose private names are used here."""
    found = version("ministack")
    if found != PINNED:
        sys.exit(f"this plug-in is written for ministack {PINNED} and {found} is installed; see docs/e2e.md")


def _with_world(inner: Any, scene: Scene, calls: TextIO, denials: TextIO) -> Any:
    """MiniStack's application, with a world that begins when the server does and lives on its event loop."""
    running: list[asyncio.Task[None]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" and not running:
            running.append(asyncio.get_running_loop().create_task(_live(scene, calls, denials)))
        await inner(scope, receive, send)

    return application


async def _live(scene: Scene, calls: TextIO, denials: TextIO) -> None:
    set_request_account_id(scene.account)
    set_request_region(scene.region)
    bridge = AlarmBridge()
    world = World(scene, emit_event=bridge.emit, run_action=bridge.act, calls=calls)
    bridge.connect(world)
    permissions.register(world, denials)
    answers.register(world)
    logger.info("endpoint %s with component %s is in service", scene.endpoint, scene.component)
    while True:
        if os.getppid() != STARTED_BY and os.getpgrp() == os.getpid():
            # Whoever started this was killed without a chance to end it: end it with the functions' processes.
            os.killpg(os.getpid(), signal.SIGKILL)
        try:
            bridge.catch_up()
            world.catch_up()
        except Exception:
            logger.exception("the emulated services have stopped")
            # A half-dead account would show up as a puzzling time-out somewhere else.
            os._exit(70)
        await asyncio.sleep(TICK_S)


if __name__ == "__main__":
    main()
