"""The account of one run: MiniStack as a process of its own, and the AWS clients that look at it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).resolve().parents[2]
REGION, ACCOUNT = "eu-west-1", "111122223333"
ENDPOINT, COMPONENT, VARIANT = "chat", "chat-llm", "AllTraffic"
ACCESS_KEY, SECRET_KEY = "AKIAQUICKSTEPE2EROOT", "quickstep-e2e"
START_LIMIT_S = 30
STOP_LIMIT_S = 10
_HIDDEN = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_PROFILE", "PYTHONPATH")


class AccountProblem(Exception):
    """MiniStack did not start, or is gone; the message says where its log is."""


class Account(AbstractContextManager["Account"]):
    """MiniStack with our plug-in on a free port of 127.0.0.1, for as long as the `with` lasts.

    `work` is the folder for its log, its records and its functions' files; `template` the built template.
    """

    def __init__(self, work: Path, template: Path) -> None:
        self.work, self.template = work, template
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = work / "ministack.log"
        self._process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """The environment of a command that is to talk to this account and to nothing else."""
        kept = {key: value for key, value in os.environ.items() if key not in _HIDDEN}
        return kept | {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.url,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "SAM_CLI_TELEMETRY": "0",
        }

    def __enter__(self) -> Account:
        temporary = self.work / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        own = {
            "AUTH": "true",
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "LAMBDA_EXECUTOR": "local",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            # The functions' unpacked code goes there, so that a run leaves nothing elsewhere.
            "TMPDIR": str(temporary.resolve()),
        }
        command = [sys.executable, str(ROOT / "tests/e2e/plugin/serve.py"), "--template", str(self.template)]
        command += ["--records", str(self.work), "--endpoint", ENDPOINT, "--component", COMPONENT]
        with self.log.open("wb") as log:
            # A session of its own: the functions are its children and end with it, whatever happens to this process.
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment() | own,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        os.environ.update(self.environment())
        for name in _HIDDEN:
            os.environ.pop(name, None)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """End MiniStack and the processes of its functions, by the id of their session."""
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                break
            try:
                self._process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()
        self._process = None
        # Gigabytes of unpacked layers, and nothing that explains a failure.
        shutil.rmtree(self.work / "tmp", ignore_errors=True)

    def check_alive(self) -> None:
        """Raise AccountProblem if MiniStack has ended."""
        if self._process is None or self._process.poll() is not None:
            raise AccountProblem(f"MiniStack has ended; its last words are in {self.log}")

    def client(self, service: str) -> Any:
        """A boto3 client of the account's owner."""
        if service not in self._clients:
            self._clients[service] = boto3.client(service)
        return self._clients[service]

    def records(self, name: str) -> list[dict[str, Any]]:
        """What the plug-in wrote down: `sagemaker-calls` or `denials`, oldest first."""
        lines = (self.work / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def writes(self) -> list[dict[str, Any]]:
        """The product's changing calls of SageMaker, tags aside, oldest first."""
        calls = self.records("sagemaker-calls")
        return [one for one in calls if one["by_product"] and one["operation"].startswith("Update")]

    def component(self) -> Mapping[str, Any]:
        """DescribeInferenceComponent of the one component."""
        return self.client("sagemaker").describe_inference_component(InferenceComponentName=COMPONENT)

    def copies(self) -> tuple[int, int]:
        """(desired, current) copies."""
        runtime = self.component()["RuntimeConfig"]
        return runtime["DesiredCopyCount"], runtime["CurrentCopyCount"]

    def endpoint(self) -> tuple[str, int, int]:
        """(status, desired instances, current instances)."""
        found = self.client("sagemaker").describe_endpoint(EndpointName=ENDPOINT)
        variant = found["ProductionVariants"][0]
        return found["EndpointStatus"], variant["DesiredInstanceCount"], variant["CurrentInstanceCount"]

    def alarm(self, name: str) -> str:
        """The state of an alarm."""
        return self.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def _wait_until_it_answers(self) -> None:
        limit_s = time.monotonic() + START_LIMIT_S
        while time.monotonic() < limit_s:
            self.check_alive()
            try:
                with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        raise AccountProblem(f"MiniStack did not answer within {START_LIMIT_S} s; see {self.log}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
