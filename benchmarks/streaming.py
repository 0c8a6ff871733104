"""Measure streaming from the served account: many streams at once, and one very long one.

    .venv/bin/python benchmarks/streaming.py [--streams 100] [--tokens 200] [--megabytes 200] [--json OUT]

Starts `quickstep serve` on a free port and reads with httpx, in a process of its own. Figures: how late tokens are against
the physics, processor time per token, and the server's memory (its resident set from /proc, so Linux only).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from simulator.physics.profiles import M

ROOT = Path(__file__).resolve().parents[1]
MESSAGES = [{"role": "user", "content": "Tell me of the sea."}]
TOKEN_BYTES = 65_536


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--streams", type=int, default=100, help="streams at once")
    parser.add_argument("--tokens", type=int, default=200, help="tokens of each")
    parser.add_argument("--megabytes", type=int, default=200, help="size of the one long stream")
    parser.add_argument("--json", default="-", help='where the figures go; "-" is standard output')
    wanted = parser.parse_args()
    if min(wanted.streams, wanted.tokens, wanted.megabytes) < 1:
        print("streams, tokens and megabytes must be at least 1", file=sys.stderr)
        return 2
    with served() as (url, process):
        figures = {
            "one_stream": asyncio.run(many(url, process, 1, wanted.tokens)),
            "many_streams": asyncio.run(many(url, process, wanted.streams, wanted.tokens)),
            "long_stream": asyncio.run(long_one(url, process, wanted.megabytes, pause_s=0.0)),
            "slow_reader": asyncio.run(long_one(url, process, wanted.megabytes, pause_s=5.0)),
        }
    text = json.dumps(figures, indent=2, sort_keys=True)
    if wanted.json == "-":
        print(text)
    else:
        Path(wanted.json).write_text(text + "\n", encoding="utf-8")
    return 0


@contextmanager
def served() -> Iterator[tuple[str, int]]:
    """The URL and process id of `quickstep serve` in real time."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'layers/core'}"}
    command = [sys.executable, "-m", "simulator.cli.main", "serve", "--port", "0", "--json", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"], process.pid
        finally:
            process.terminate()


async def many(url: str, process: int, streams: int, tokens: int) -> dict[str, Any]:
    """`streams` at once: when their tokens come, and what they cost."""
    limits = httpx.Limits(max_connections=streams)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=120, headers=bearer()) as client:
        before_s, begun_s = cpu_s(process), time.monotonic()
        times_s = await asyncio.gather(*(read_tokens(client, k, tokens) for k in range(streams)))
        wall_s, spent_s = time.monotonic() - begun_s, cpu_s(process) - before_s
    gaps_ms = sorted(1000 * (b - a) for one in times_s for a, b in zip(one, one[1:], strict=False))
    running = min(streams, M.max_sequences)
    return {
        "streams": streams,
        "tokens": sum(map(len, times_s)),
        "wall_s": round(wall_s, 2),
        "server_cpu_s": round(spent_s, 2),
        "server_cpu_ms_per_token": round(1000 * spent_s / sum(map(len, times_s)), 3),
        "gap_median_ms": round(statistics.median(gaps_ms), 2),
        "gap_p99_ms": round(gaps_ms[int(0.99 * len(gaps_ms))], 2),
        "gap_of_the_physics_ms": round(1000 * M.step_s(running), 2),
        "server_memory_mb": round(memory_mb(process, "VmHWM"), 1),
    }


async def read_tokens(client: httpx.AsyncClient, number: int, tokens: int) -> list[float]:
    """When each token came, in seconds; more than one may come at a time."""
    body = {
        "messages": [{"role": "user", "content": f"Say {number}."}],
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": True,
    }
    times_s: list[float] = []
    kept = b""
    async with client.stream("POST", PATH, json=body) as answer:
        answer.raise_for_status()
        async for data in answer.aiter_raw():
            *events, kept = (kept + data).split(b"\n\n")
            times_s.extend(time.monotonic() for event in events if b'"delta":{"content"' in event)
    assert len(times_s) == tokens, f"{len(times_s)} tokens came, {tokens} were asked for"
    return times_s


async def long_one(url: str, process: int, megabytes: int, *, pause_s: float) -> dict[str, Any]:
    """One stream of many megabytes, as fast as it is read, after a pause in which nobody reads."""
    tokens = megabytes * 1_000_000 // TOKEN_BYTES
    wishes = f"pace=none; token_bytes={TOKEN_BYTES}"
    body = {"messages": MESSAGES, "max_tokens": tokens, "ignore_eos": True, "stream": True, "quickstep_emulate": wishes}
    before_mb, most_mb, size, begun_s = memory_mb(process, "VmRSS"), 0.0, 0, time.monotonic()
    async with (
        httpx.AsyncClient(base_url=url, timeout=120, headers=bearer()) as client,
        client.stream("POST", PATH, json=body) as answer,
    ):
        answer.raise_for_status()
        parts = answer.aiter_raw()
        size += len(await anext(parts))
        await asyncio.sleep(pause_s)
        async for data in parts:
            size += len(data)
            most_mb = max(most_mb, memory_mb(process, "VmRSS"))
    wall_s = time.monotonic() - begun_s - pause_s
    return {
        "megabytes": round(size / 1e6, 1),
        "pause_s": pause_s,
        "megabytes_per_s": round(size / 1e6 / wall_s, 1),
        "memory_before_mb": round(before_mb, 1),
        "memory_most_mb": round(most_mb, 1),
    }


PATH = "/endpoints/llm/inference-components/chat/openai/v1/chat/completions"


def bearer() -> dict[str, str]:
    """The Authorization header of SageMaker's OpenAI path."""
    url = "https://sagemaker.amazonaws.com/"
    request = AWSRequest("POST", url, headers={"host": url[8:-1]}, params={"Action": "CallWithBearerToken"})
    SigV4QueryAuth(Credentials("test", "test"), "sagemaker", "eu-west-1", expires=3600).add_auth(request)
    made = base64.b64encode(f"{request.url.removeprefix('https://')}&Version=1".encode()).decode()
    return {"Authorization": f"Bearer sagemaker-api-key-{made}"}


def cpu_s(process: int) -> float:
    """Processor time that a process has used, user and system."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(process: int, field: str) -> float:
    """VmRSS (resident now) or VmHWM (most ever) of a process."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{process}/status has no {field}")


if __name__ == "__main__":
    sys.exit(main())
