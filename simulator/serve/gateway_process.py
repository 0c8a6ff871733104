"""The gateway as a process of its own beside `quickstep serve`: real boto3 against the served account, on its time.

    python -m simulator.serve.gateway_process --account http://127.0.0.1:4599 --socket 7

It needs the variables that the deployed function gets, and AWS_ENDPOINT_URL. `--socket` is the file descriptor of a socket
that listens. Standard output gets one line when it answers; what the function would log goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable

from quickstep import clock
from quickstep.front import web
from quickstep.front.aws import Account
from quickstep.front.front import Front
from quickstep.front.settings import gateway_settings

ASK_AGAIN_S = 0.25
STEP_S = 0.05
"""The longest real time slept at once: the account's time may jump meanwhile."""


class ServedClock:
    """The served account's time, asked for now and then and carried on in between at its speed."""

    def __init__(self, read: Callable[[], tuple[float, float]], real_s: Callable[[], float] = time.monotonic) -> None:
        self._read, self._real_s = read, real_s
        self._lock = threading.Lock()
        self._asked_s = real_s()
        self._asked_now_s, self.speed = read()
        self._told_s = self._asked_now_s

    def now_s(self) -> float:
        """Virtual seconds since the epoch."""
        with self._lock:
            real_s = self._real_s()
            if real_s - self._asked_s > ASK_AGAIN_S:
                self._asked_now_s, self.speed = self._read()
                self._asked_s = real_s = self._real_s()
            # Never backwards, although an answer may have taken longer than the one before, and the account slipped.
            self._told_s = max(self._told_s, self._asked_now_s + (real_s - self._asked_s) * self.speed)
            return self._told_s

    def sleep(self, duration_s: float) -> None:
        """Wait until `duration_s` virtual seconds have passed, by waiting or by a jump."""
        until_s = self.now_s() + duration_s
        while (rest_s := until_s - self.now_s()) > 0:
            time.sleep(min(STEP_S, rest_s / self.speed))


def main() -> None:
    """Serve until the process is ended."""
    arguments = argparse.ArgumentParser(description="The gateway beside a served account.")
    arguments.add_argument("--account", required=True)
    arguments.add_argument("--socket", type=int, required=True)
    given = arguments.parse_args()

    def read() -> tuple[float, float]:
        with urllib.request.urlopen(f"{given.account}/_quickstep/state", timeout=10) as answer:
            state = json.load(answer)
        return float(state["now_s"]), float(state["speed"])

    out, sys.stdout = sys.stdout, sys.stderr
    served = ServedClock(read)
    clock.use(served.now_s)
    front = Front(Account(os.environ["TABLE_NAME"]), gateway_settings(os.environ).patience, sleep=served.sleep)
    server = web.serve_on(front, socket.socket(fileno=given.socket))
    print("ready", file=out, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
