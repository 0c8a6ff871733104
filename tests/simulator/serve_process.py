"""`quickstep serve` as people run it: a process of its own on a free port, with real clients for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import httpx

ROOT = Path(__file__).parents[2]
PYTHON_PATH = os.pathsep.join((str(ROOT), str(ROOT / "layers" / "core")))
COPIES = "sagemaker:inference-component:DesiredCopyCount"


@dataclass(frozen=True, eq=False)
class Served:
    """A running server. `facts` is what `serve --json` wrote, `told` what it printed for people."""

    process: subprocess.Popen[str]
    facts: dict[str, Any]
    told: str

    @property
    def url(self) -> str:
        return self.facts["url"]

    @cache  # noqa: B019 (a handful of servers live as long as the tests)
    def client(self, service: str, *, path: str = "") -> Any:
        """A plain boto3 client: only the endpoint, the region and credentials are given."""
        return boto3.client(
            service,
            endpoint_url=self.url + path,
            region_name=self.facts["region"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def aws(self, *words: str) -> Any:
        """Run the AWS CLI; what it printed, as JSON. AssertionError with its words if it fails."""
        hidden = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        variables = {**hidden, **self.facts["environment"], "AWS_CONFIG_FILE": os.devnull, "AWS_PAGER": ""}
        command = [sys.executable, "-m", "awscli", *words, "--output", "json"]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"aws {' '.join(words)}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def state(self) -> dict[str, Any]:
        return httpx.get(f"{self.url}/_quickstep/state", timeout=30).raise_for_status().json()

    def advance(self, seconds: float) -> dict[str, Any]:
        """Let virtual seconds pass at once; the state after it."""
        return self._post("advance", {"seconds": seconds})

    def load(self, in_flight: int, resource_id: str) -> dict[str, Any]:
        return self._post("load", {"in_flight": in_flight, "resource_id": resource_id})

    def _post(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        return httpx.post(f"{self.url}/_quickstep/{what}", json=body, timeout=120).raise_for_status().json()


@contextmanager
def serving(facts_file: Path, *arguments: str) -> Iterator[Served]:
    """`quickstep serve --port 0` with further arguments; at the end of the block Ctrl-C, which must end it cleanly."""
    command = [
        sys.executable,
        "-m",
        "simulator.cli.main",
        "serve",
        "--port",
        "0",
        "--json",
        str(facts_file),
        *arguments,
    ]
    variables = {**os.environ, "PYTHONPATH": PYTHON_PATH}
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            told = []
            while not (told and told[-1].startswith("  --resource-id")):
                told.append(process.stdout.readline())
                assert told[-1], "quickstep serve ended before it had told everything"
            yield Served(process, json.loads(facts_file.read_text()), "".join(told))
        finally:
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
        assert (process.wait(timeout=30), rest) == (0, "stopped\n")
