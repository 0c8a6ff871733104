"""The gateway beside a served account: the deployed function's variables, a process that runs its code, a port.

    with listen("127.0.0.1", 0) as listening, gateway_beside(environment, listening):
        OpenAI(base_url=f"{url_of(listening)}/v1", api_key="any")

A process of its own, since inside this one boto3 is answered by the account itself, on the account's thread.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from simulator.serve.live import LiveAccount

ROOT = Path(__file__).resolve().parents[2]
GATEWAY = "GatewayFunction"
SWITCH = {"GatewayEnabled": "Yes"}
"""The template parameter that deploys it."""


class GatewayNotStarted(Exception):
    """The gateway's process ended before it answered; the message says what it said."""


def gateway_environment(live: LiveAccount, url: str) -> dict[str, str]:
    """What the gateway needs to run against the account at `url`: the function's own variables, and where AWS is.

    Raises KeyError if the stack was deployed without the gateway.
    """
    stack = live.account.stack
    variables = stack[GATEWAY].properties["Environment"]["Variables"]
    return {
        **{name: str(value) for name, value in variables.items()},
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": stack.region,
        "AWS_DEFAULT_REGION": stack.region,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


@contextmanager
def gateway_beside(
    environment: Mapping[str, str], listening: socket.socket, *, log: IO[bytes] | None = None
) -> Iterator[None]:
    """Run the gateway on a socket that listens; it answers from now on. `log` gets what the function would log."""
    command = [sys.executable, "-m", "simulator.serve.gateway_process", "--account", environment["AWS_ENDPOINT_URL"]]
    process = subprocess.Popen(
        [*command, "--socket", str(listening.fileno())],
        env=process_environment(environment),
        stdout=subprocess.PIPE,
        stderr=log,
        pass_fds=(listening.fileno(),),
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise GatewayNotStarted(f"the gateway ended with exit code {process.wait()}; it said why on standard error")
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


def process_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment`, with this process's path to Python modules and nothing of its AWS configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    paths = [str(ROOT), str(ROOT / "layers" / "core"), kept.get("PYTHONPATH", "")]
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull}
    return {**kept, **nothing, **environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
