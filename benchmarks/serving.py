"""How long `quickstep serve` takes to answer, and what it costs at rest: `python benchmarks/serving.py`.

Starts a server of its own on a free port, asks one request after the other with boto3, and prints a table in milliseconds.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import boto3

ROOT = Path(__file__).parents[1]
REQUESTS = 100
REST_S = 10.0
SPEED = 60


def main() -> None:
    """Measure and print."""
    command = [sys.executable, "-m", "simulator.cli.main", "serve", "--port", "0", "--json", "--speed", str(SPEED)]
    variables = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'layers' / 'core'}"}
    began = time.perf_counter()
    with subprocess.Popen(command, env=variables, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        facts = json.loads(server.stdout.readline())
        print(f"answers after {time.perf_counter() - began:.1f} s")
        print("| request | median | 95 of 100 |\n|---|---|---|")
        for what, ask in _requests(facts["url"], facts["region"]).items():
            times_ms = sorted(_timed_ms(ask) for _ in range(REQUESTS + 1))[:-1]  # without the first, which loads things
            print(f"| {what} | {statistics.median(times_ms):.1f} | {times_ms[int(0.95 * REQUESTS) - 1]:.1f} |")
        before_s = _cpu_s(server.pid)
        time.sleep(REST_S)
        share = (_cpu_s(server.pid) - before_s) / REST_S
        print(f"at rest, speed {SPEED}: {100 * share:.0f} % of one core; {_resident_mb(server.pid):.0f} MB")
        server.send_signal(signal.SIGINT)
    print(f"CPU in all: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime:.1f} s")


def _requests(url: str, region: str) -> dict[str, Callable[[], object]]:
    def client(service: str):
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(service, endpoint_url=url, region_name=region, **keys)

    autoscaling, cloudwatch, sagemaker = client("application-autoscaling"), client("cloudwatch"), client("sagemaker")
    sts = client("sts")
    return {
        "sts get-caller-identity": sts.get_caller_identity,
        "sagemaker describe-inference-component": lambda: sagemaker.describe_inference_component(
            InferenceComponentName="chat"
        ),
        "cloudwatch describe-alarms": cloudwatch.describe_alarms,
        "application-autoscaling describe-scalable-targets": lambda: autoscaling.describe_scalable_targets(
            ServiceNamespace="sagemaker"
        ),
    }


def _timed_ms(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return 1000 * (time.perf_counter() - began)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
