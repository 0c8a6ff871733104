"""What the gateway costs: time added to the first byte and to each chunk, many streams at once, memory of a long one.

    make gateway-bench          # or: python benchmarks/gateway_latency.py [--json [OUT]]

A process that stands in for SageMaker's runtime sends parts in AWS's event framing, each with the moment of its sending
in it. Clients note when they have it: straight from there with boto3, through the gateway's web server (as behind the Lambda
Web Adapter), and through the deployed runtime loop behind an emulated function URL, whose own two hops are in the figure. All
processes share this machine and its clock, so the figures are of software alone: no network, no TLS, no Lambda.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "core")]

import boto3  # noqa: E402
import httpx  # noqa: E402
import uvicorn  # noqa: E402
from botocore.config import Config  # noqa: E402

from quickstep.clients import streaming  # noqa: E402
from simulator.serve import event_stream  # noqa: E402
from simulator.serve.function_url import FunctionUrl  # noqa: E402
from simulator.serve.gateway_mount import process_environment  # noqa: E402
from simulator.serve.server import listen, url_of  # noqa: E402

CHUNKS, GAP_S = 50, 0.02
"""One answer: so many chunks, so far apart (50 tokens a second, which is fast for one user)."""
ROUNDS = 20
STREAMS = 100
BIG_BYTES, BIG_PART_BYTES = 200_000_000, 64_000


def main() -> int:
    """Measure and print; exit code 2 for wrong arguments."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "--json", nargs="?", const="-", metavar="OUT", help="figures as JSON, to standard output or a file"
    )
    arguments.add_argument("--role", choices=["runtime", "gateway"], help=argparse.SUPPRESS)
    arguments.add_argument("--socket", type=int, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.role is not None:
        {"runtime": run_runtime, "gateway": run_gateway}[given.role](given.socket)
        return 0
    figures = measure()
    if given.json is None:
        print(table(figures))
    elif given.json == "-":
        print(json.dumps(figures, indent=1, sort_keys=True))
    else:
        Path(given.json).write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


def measure() -> dict[str, Any]:
    """All figures; times in milliseconds, memory in MB."""
    with ExitStack() as stack:
        runtime = stack.enter_context(child("runtime", {}))
        environment = {
            "AWS_ENDPOINT_URL": runtime.url,
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "POWERTOOLS_SERVICE_NAME": "quickstep",
            "LOG_LEVEL": "INFO",
        }
        gateway = stack.enter_context(child("gateway", environment))
        loop = [str(ROOT / "layers" / "core" / "bin" / "quickstep-front"), sys.executable]
        task = {"LAMBDA_TASK_ROOT": str(ROOT / "benchmarks" / "gateway_task")}
        function = FunctionUrl(loop, process_environment({**environment, **task}))
        function_url = stack.enter_context(function)
        straight, web, lambda_loop = in_turns(
            (
                lambda: straight_stream(runtime.url),
                lambda: http_stream(gateway.url),
                lambda: http_stream(function_url),
            )
        )
        return {
            "machine": {"processors": os.cpu_count(), "python": sys.version.split()[0]},
            "straight": straight,
            "web": {**web, **added(web, straight)},
            "runtime_loop": {**lambda_loop, **added(lambda_loop, straight)},
            "many": many(gateway, STREAMS),
            "many_straight": many(runtime, STREAMS, path="/plain"),
            "memory": memory(gateway),
        }


# -- one stream after the other --------------------------------------------------------------------------------------------


def in_turns(ways: Sequence[Callable[[], Iterator[tuple[int, int]]]]) -> list[dict[str, float]]:
    """First byte and chunk latency of `ROUNDS` answers each way, in turns, so that whatever else the machine does meets all.

    One answer before them warms everything up.
    """
    first_ms: list[list[float]] = [[] for _ in ways]
    chunk_ms: list[list[float]] = [[] for _ in ways]
    for turn in range(ROUNDS + 1):
        for way, stream in enumerate(ways):
            began_ns = time.monotonic_ns()
            for number, (sent_ns, arrived_ns) in enumerate(stream()):
                if turn == 0:
                    continue
                if number == 0:
                    first_ms[way].append((arrived_ns - began_ns) / 1e6)
                else:
                    chunk_ms[way].append((arrived_ns - sent_ns) / 1e6)
    return [
        {
            "first_byte_median_ms": statistics.median(first),
            "chunk_median_ms": statistics.median(chunks),
            "chunk_p99_ms": quantile(chunks, 0.99),
        }
        for first, chunks in zip(first_ms, chunk_ms, strict=True)
    ]


def added(through: dict[str, float], straight: dict[str, float]) -> dict[str, float]:
    return {f"added_{name}": through[name] - straight[name] for name in straight}


_boto3: dict[str, Any] = {}


def straight_stream(url: str) -> Iterator[tuple[int, int]]:
    """(sent, arrived) of each chunk, with boto3 and without a gateway."""
    if url not in _boto3:
        _boto3[url] = boto3.client(
            "sagemaker-runtime", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="test",
            aws_secret_access_key="test", config=Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip
    answer = _boto3[url].invoke_endpoint_with_response_stream(
        EndpointName="llm", InferenceComponentName="chat", Body=b"{}", ContentType="application/json"
    )
    yield from stamps(streaming.parts(answer))


_http = httpx.Client(timeout=60)


def http_stream(url: str) -> Iterator[tuple[int, int]]:
    """The same through a gateway."""
    body = {"model": "chat", "stream": True, "messages": []}
    with _http.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
        yield from stamps(answer.iter_raw())


def stamps(parts: Iterator[bytes]) -> Iterator[tuple[int, int]]:
    held = b""
    for part in parts:
        arrived_ns = time.monotonic_ns()
        *events, held = (held + part).split(b"\n\n")
        yield from ((int(event.removeprefix(b"data: ")), arrived_ns) for event in events if event[6:].isdigit())


# -- many at once ------------------------------------------------------------------------------------------------------------


def many(server: Child, streams: int, path: str = "/v1/chat/completions") -> dict[str, float]:
    """`streams` answers at the same time, read by one process of asyncio clients; with the server's processor time."""
    before_s = server.processor_s()
    began_s = time.monotonic()
    rows = asyncio.run(_many(server.url + path, streams))
    took_s = time.monotonic() - began_s
    chunk_ms = [ms for row in rows for ms in row]
    return {
        "streams": streams,
        "chunks": len(chunk_ms),
        "complete": sum(len(row) == CHUNKS for row in rows),
        "took_s": took_s,
        "chunk_median_ms": statistics.median(chunk_ms),
        "chunk_p99_ms": quantile(chunk_ms, 0.99),
        "server_processor_s": server.processor_s() - before_s,
    }


async def _many(url: str, streams: int) -> list[list[float]]:
    limits = httpx.Limits(max_connections=streams)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:

        async def one() -> list[float]:
            found: list[float] = []
            held = b""
            async with client.stream("POST", url, json={"model": "chat", "stream": True}) as answer:
                async for part in answer.aiter_raw():
                    arrived_ns = time.monotonic_ns()
                    *events, held = (held + part).split(b"\n\n")
                    found += [(arrived_ns - int(e[6:])) / 1e6 for e in events if e[6:].isdigit()]
            return found

        return await asyncio.gather(*(one() for _ in range(streams)))


# -- memory ------------------------------------------------------------------------------------------------------------------


def memory(gateway: Child) -> dict[str, float]:
    """The gateway's memory before and at its peak while 200 MB pass, fast and to a reader that dawdles."""
    figures: dict[str, float] = {"before_mb": gateway.memory_mb("VmRSS")}
    for name, pause_s in (("fast", 0.0), ("slow_reader", 0.002)):
        gateway.forget_peak()
        began_s, size = time.monotonic(), 0
        with _http.stream(
            "POST", f"{gateway.url}/v1/chat/completions", json={"model": "chat", "stream": True, "big": True}
        ) as answer:
            for part in answer.iter_raw(65_536):
                size += len(part)
                time.sleep(pause_s)
        assert size >= BIG_BYTES, size
        figures |= {f"{name}_peak_mb": gateway.memory_mb("VmHWM"), f"{name}_took_s": time.monotonic() - began_s}
    return figures


# -- processes ---------------------------------------------------------------------------------------------------------------


class Child:
    """A process of this benchmark that serves a socket."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url, self._process = url, process

    def processor_s(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self, name: str) -> float:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024

    def forget_peak(self) -> None:
        """Let the peak begin anew (proc(5), clear_refs)."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")


@contextmanager
def child(role: str, environment: dict[str, str]) -> Iterator[Child]:
    """One of the roles below as a process."""
    with listen("127.0.0.1", 0) as listening:
        command = [sys.executable, __file__, "--role", role, "--socket", str(listening.fileno())]
        process = subprocess.Popen(
            command, env=process_environment(environment), pass_fds=(listening.fileno(),), stdout=subprocess.DEVNULL
        )
        try:
            # The socket listens already: the first request waits until the process is there.
            yield Child(url_of(listening), process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=10)


def run_runtime(descriptor: int) -> None:
    """SageMaker's stand-in: parts with the moment of their sending, framed, or without frames under /plain."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        framed = scope["path"] != "/plain"
        kind = event_stream.CONTENT_TYPE if framed else "text/event-stream"
        headers = [(b"content-type", kind.encode()), (b"x-amzn-sagemaker-content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if b'"big"' in body:
            part = b"data: " + b"x" * (BIG_PART_BYTES - 8) + b"\n\n"
            for _ in range(BIG_BYTES // BIG_PART_BYTES + 1):
                await send({"type": "http.response.body", "body": event_stream.payload_part(part), "more_body": True})
        else:
            for number in range(CHUNKS):
                await asyncio.sleep(GAP_S if number else 0)
                part = b"data: %d\n\n" % time.monotonic_ns()
                data = event_stream.payload_part(part) if framed else part
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(app, log_level="error", lifespan="off")
    asyncio.run(uvicorn.Server(config).serve(sockets=[socket.socket(fileno=descriptor)]))


def run_gateway(descriptor: int) -> None:
    """The gateway's web server, which knows one component without asking a registry."""
    from benchmarks.gateway_task.app import front
    from quickstep.front import web

    server = web.serve_on(front(), socket.socket(fileno=descriptor))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


# -- telling -----------------------------------------------------------------------------------------------------------------


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def table(figures: dict[str, Any]) -> str:
    """The figures as lines."""
    many_, memory_ = figures["many"], figures["memory"]
    lines = [f"{figures['machine']['processors']} processors, Python {figures['machine']['python']}", ""]
    lines.append(f"{'one stream at a time':34}{'first byte':>12}{'chunk median':>14}{'chunk p99':>11}   (ms)")
    for name, title in (
        ("straight", "boto3, straight"),
        ("web", "through the web server"),
        ("runtime_loop", "through the runtime loop"),
    ):
        row = figures[name]
        lines.append(
            f"  {title:32}{row['first_byte_median_ms']:12.2f}{row['chunk_median_ms']:14.2f}{row['chunk_p99_ms']:11.2f}"
        )
        if name != "straight":
            lines.append(
                f"    {'added':30}{row['added_first_byte_median_ms']:12.2f}{row['added_chunk_median_ms']:14.2f}{row['added_chunk_p99_ms']:11.2f}"
            )
    lines += [
        "",
        f"{many_['streams']} streams at once: {many_['complete']} complete, {many_['chunks'] / many_['took_s']:.0f} chunks/s, "
        f"chunk median {many_['chunk_median_ms']:.1f} ms, p99 {many_['chunk_p99_ms']:.1f} ms, "
        f"{many_['server_processor_s']:.1f} s of processor time in {many_['took_s']:.1f} s",
        f"  without a gateway: chunk median {figures['many_straight']['chunk_median_ms']:.1f} ms, p99 {figures['many_straight']['chunk_p99_ms']:.1f} ms",
        f"200 MB through one stream: {memory_['before_mb']:.0f} MB before, peak {memory_['fast_peak_mb']:.0f} MB "
        f"({BIG_BYTES / 1e6 / memory_['fast_took_s']:.0f} MB/s), with a slow reader {memory_['slow_reader_peak_mb']:.0f} MB",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
