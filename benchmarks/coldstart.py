"""Cold start and size of every function, measured from the built artefact under AWS's own runtime client.

    make build && make coldstart

Each function runs in a process of its own: `awslambdaric` on Python 3.13, the code that `sam build` made, the environment
variables of the template. It fetches its events from a Runtime API of ours, and its AWS calls reach the emulated account,
both over loopback. Nothing else runs in that process. Times are of this machine, the best of several starts, since only
the slowest part of a noisy machine's times is noise; CPU time of each start is beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.aws_api import AwsApi
from benchmarks.runtime_api import RuntimeApi
from simulator.account import EmulatedAccount
from simulator.aws.lambda_runtime import Function
from simulator.run import Stage, staged
from simulator.scenario import Scenario
from simulator.traffic.load import load_traffic

ROOT = Path(__file__).parents[1]
BUILD = Path(os.environ.get("COLDSTART_BUILD") or ROOT / ".aws-sam" / "build")
"""What `sam build` made; COLDSTART_BUILD names another artefact, to compare two."""
LAYER = BUILD / "CoreLayer" / "python"
PYTHON = ROOT / ".venv-coldstart" / "bin" / "python"
DOCUMENT = ROOT / "docs" / "cold_start.md"
BEGIN, END = "<!-- measured:begin -->", "<!-- measured:end -->"
LOOP_FUNCTIONS = {
    "AddInstancesFunction",
    "DecideFunction",
    "HandOverFunction",
    "PlaceCopiesFunction",
    "RecordFailureFunction",
    "RemoveCopiesFunction",
    "RemoveInstancesFunction",
    "VerifyInstancesFunction",
}
WARM = 20
"""Warm invocations of one process; their mean counts."""


@dataclass(frozen=True)
class Start:
    """One cold start. Times in milliseconds, memory in MiB."""

    init_ms: float
    """From the start of the process until it asks for its first event."""
    init_cpu_ms: float
    init_waited_ms: float
    """Of init: ready to run while other processes had the processors. On an idle machine this is nothing."""
    first_ms: float
    """The first invocation, without the time that the emulated account took to answer."""
    first_cpu_ms: float
    warm_cpu_ms: float
    warm_ms: float
    rss_mib: float
    calls: tuple[tuple[str, str], ...]
    """AWS calls of the first invocation."""


@dataclass(frozen=True)
class Row:
    """One function: the best of its starts."""

    function: str
    best: Start
    code_bytes: int


def main() -> None:
    """Measure, print the table, and write it to docs/cold_start.md unless told otherwise."""
    parser = argparse.ArgumentParser(prog="benchmarks.coldstart", description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=5, help="cold starts of each function; the best counts")
    parser.add_argument("--only", default="", help="functions to measure, by logical id, separated by commas")
    parser.add_argument("--json", nargs="?", const="-", default=None, help="where the measurements go as JSON")
    parser.add_argument("--write", action="store_true", help="write the table to docs/cold_start.md")
    arguments = parser.parse_args()
    problem = _missing()
    if problem:
        print(f"coldstart: {problem}", file=sys.stderr)
        raise SystemExit(2)
    idle = _idle(arguments.starts)
    print(f"a handler that does nothing: init {idle[0]:.0f} ms, CPU {idle[1]:.0f} ms", file=sys.stderr)
    rows = measure(arguments.starts, {one for one in arguments.only.split(",") if one})
    if arguments.json is not None:
        text = json.dumps([_as_json(row) for row in rows], indent=1, sort_keys=True) + "\n"
        sys.stdout.write(text) if arguments.json == "-" else Path(arguments.json).write_text(text, encoding="utf-8")
    if arguments.json != "-":
        print(table(rows))
    if arguments.write:
        write(table(rows) + "\n\n" + setting(idle))


def measure(starts: int, only: set[str]) -> list[Row]:
    """Every function of the template (or those of `only`), each started `starts` times."""
    rows = []
    with _scene(looped=False) as stage:
        functions = [one for one in _functions(stage) if not only or one.logical_id in only]
    for function in functions:
        measured = [_start(function) for _ in range(starts)]
        quickest = min(measured, key=lambda one: one.init_ms - one.init_waited_ms)
        best = Start(
            init_ms=quickest.init_ms,
            init_cpu_ms=min(one.init_cpu_ms for one in measured),
            init_waited_ms=quickest.init_waited_ms,
            first_ms=min(one.first_ms for one in measured),
            first_cpu_ms=min(one.first_cpu_ms for one in measured),
            warm_cpu_ms=min(one.warm_cpu_ms for one in measured),
            warm_ms=min(one.warm_ms for one in measured),
            rss_mib=max(one.rss_mib for one in measured),
            calls=measured[0].calls,
        )
        rows.append(Row(function.logical_id, best, _zipped_bytes(BUILD / function.logical_id)))
        print(f"{function.logical_id}: init {best.init_ms:.0f} ms", file=sys.stderr)
    return rows


def _idle(starts: int) -> tuple[float, float]:
    """(milliseconds, CPU milliseconds) of the start of a handler that does nothing, the best of `starts`: the yardstick."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "app.py").write_text("def handler(event, context):\n    return {}\n", encoding="utf-8")
        measured = []
        for _ in range(starts):
            with RuntimeApi("arn:aws:lambda:eu-west-1:111122223333:function:idle", 20) as api:
                began_s = time.perf_counter()
                process = subprocess.Popen(
                    [str(PYTHON), "-m", "awslambdaric", "app.handler"],
                    cwd=folder,
                    env={"AWS_LAMBDA_RUNTIME_API": api.address, "PATH": os.environ["PATH"], "LAMBDA_TASK_ROOT": folder},
                    stderr=subprocess.DEVNULL,
                )
                try:
                    measured.append(((api.expect("ready").at_s - began_s) * 1000, _cpu_ms(process.pid)))
                finally:
                    process.kill()
                    process.wait()
    return min(one for one, _ in measured), min(one for _, one in measured)


def _start(function: Function) -> Start:
    """One process from its birth to its last warm invocation."""
    with (
        _scene(looped=function.logical_id in LOOP_FUNCTIONS) as stage,
        AwsApi(stage.account) as aws,
        RuntimeApi(function.arn, function.timeout_s) as api,
    ):
        event = _event(function.logical_id, stage)
        began_s = time.perf_counter()
        process = subprocess.Popen(
            [str(PYTHON), "-m", "awslambdaric", function.handler],
            cwd=BUILD / function.logical_id,
            env=_environment(function, stage, aws, api),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            init_ms = (api.expect("ready").at_s - began_s) * 1000
            init_cpu_ms, init_waited_ms = _cpu_ms(process.pid), _waited_ms(process.pid)
            first_ms = _invoke(event, api, aws)
            calls, cpu_ms = tuple(aws.calls), _cpu_ms(process.pid)
            warm = [_invoke(event, api, aws) for _ in range(WARM)]
            warm_cpu_ms = (_cpu_ms(process.pid) - cpu_ms) / WARM
            return Start(
                init_ms=init_ms,
                init_cpu_ms=init_cpu_ms,
                init_waited_ms=init_waited_ms,
                first_ms=first_ms,
                first_cpu_ms=cpu_ms - init_cpu_ms,
                warm_cpu_ms=warm_cpu_ms,
                warm_ms=sum(warm) / WARM,
                rss_mib=_peak_rss_mib(process.pid),
                calls=calls,
            )
        finally:
            process.kill()
            process.wait()


def _invoke(event: Any, api: RuntimeApi, aws: AwsApi) -> float:
    """Milliseconds of one invocation, without what the emulated account took."""
    busy_s, sent_s = aws.busy_s, api.send(event)
    answered = api.expect("response")
    api.expect("ready")
    return (answered.at_s - sent_s - (aws.busy_s - busy_s)) * 1000


# -- the scene: an account at this moment, in which there is something to do ------------------------------------------------


@contextmanager
def _scene(*, looped: bool) -> Iterator[Stage]:
    """The deployed stack with 12 clients on one copy: an alarm that nobody has answered, or a loop at work.

    The account's clock shows the present, since the functions ask the real one.
    """
    scenario = Scenario(
        name="coldstart",
        endpoint={"mode": "fixed", "initial_instances": 1 if looped else 3},
        component={"target_per_copy": 5, "max_copies": 10},
        traffic={"client_timeout_s": 600},
    )
    traffic = load_traffic("2x24 12x60", profile=scenario.profile, seed=0, start_s=int(time.time() // 10 * 10) - 300.0)
    with staged(traffic, scenario, template=ROOT / "template.yaml") as stage:
        stage.run_until(200)
        if not looped:
            for rule in stage.account.stack.of_type("AWS::Events::Rule"):
                stage.account.call("events", "DisableRule", {"Name": rule.name})
        # A little ahead: the process that is measured needs a moment until it asks.
        stage.account.run_until(time.time() + 3.0)
        yield stage


def _event(logical_id: str, stage: Stage) -> dict[str, Any]:
    """What the function would be invoked with at that moment."""
    account = stage.account
    if logical_id in LOOP_FUNCTIONS:
        item = {"pk": {"S": f"ENDPOINT#{stage.scenario.endpoint.name}"}, "sk": {"S": "LOOP"}}
        table = account.stack["RegistryTable"].name
        loop = account.call("dynamodb", "GetItem", {"TableName": table, "Key": item})["Item"]
        generation = int(loop["generation"]["N"])
        return {"v": 1, "endpoint": stage.scenario.endpoint.name, "generation": generation}
    if logical_id == "OnAlarmFunction":
        alarm = account.cloudwatch.alarms.alarms[f"{account.stack.name}--high"]
        return {
            "version": "0",
            "id": "00000000-0000-4000-8000-000000000000",
            "detail-type": "CloudWatch Alarm State Change",
            "source": "aws.cloudwatch",
            "account": account.stack.account_id,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(alarm.state_at_s)),
            "region": account.stack.region,
            "resources": [alarm.arn],
            "detail": {
                "alarmName": alarm.name,
                "state": {
                    "value": "ALARM",
                    "reason": "Threshold Crossed",
                    "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime(alarm.state_at_s)),
                },
                "previousState": {
                    "value": "OK",
                    "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime(alarm.state_at_s - 60)),
                },
                "configuration": {"metrics": []},
            },
        }
    if logical_id == "ControlFunction":
        return {"operation": "DescribeScalableTargets", "parameters": {"ServiceNamespace": "sagemaker"}}
    if logical_id == "ReconcileFunction":
        return {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
    if logical_id == "ScheduledActionFunction":
        return _scheduled(account)
    raise KeyError(logical_id)


def _scheduled(account: EmulatedAccount) -> dict[str, Any]:
    """A scheduled action made through the API, and the event with which its schedule invokes the function."""
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "inference-component/chat",
        "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
    }
    action = {
        **target,
        "ScheduledActionName": "morning",
        "Schedule": "cron(0 8 * * ? *)",
        "ScalableTargetAction": {"MinCapacity": 2, "MaxCapacity": 9},
    }
    for operation, parameters in (
        ("RegisterScalableTarget", {**target, "MinCapacity": 1, "MaxCapacity": 10}),
        ("PutScheduledAction", action),
    ):
        outcome = account.invoke("ControlFunction", {"operation": operation, "parameters": parameters})
        if outcome.error is not None or "error" in str(outcome.payload).lower():
            raise RuntimeError(f"{operation}: {outcome.error or outcome.payload}")
    (schedule,) = account.scheduler.call("ListSchedules", {})["Schedules"]
    held = account.scheduler.call("GetSchedule", {"Name": schedule["Name"], "GroupName": schedule["GroupName"]})
    text = held["Target"]["Input"].replace(
        "<aws.scheduler.scheduled-time>", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    )
    return json.loads(text)


def _functions(stage: Stage) -> list[Function]:
    from simulator.account_deploy import functions_of

    return sorted(
        functions_of(stage.account.stack), key=lambda one: (one.logical_id != "OnAlarmFunction", one.logical_id)
    )


def _environment(function: Function, stage: Stage, aws: AwsApi, api: RuntimeApi) -> dict[str, str]:
    return {
        **function.environment,
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": "AKIAEMULATED00000000",
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_SESSION_TOKEN": "emulated",
        "AWS_REGION": stage.account.stack.region,
        "AWS_DEFAULT_REGION": stage.account.stack.region,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "LAMBDA_TASK_ROOT": str(BUILD / function.logical_id),
        # As Lambda sets it: the function's code, then the layer. Byte-code is in the layer; none is written.
        "PYTHONPATH": f"{BUILD / function.logical_id}:{LAYER}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.environ["PATH"],
    }


# -- measuring ----------------------------------------------------------------------------------------------------------------


def _cpu_ms(pid: int) -> float:
    """User and system time of a process so far, over all its threads."""
    return _schedstat_ms(pid, 0)


def _waited_ms(pid: int) -> float:
    """How long the process has been ready to run and was not let, over all its threads."""
    return _schedstat_ms(pid, 1)


def _schedstat_ms(pid: int, column: int) -> float:
    """A column of /proc/<pid>/task/*/schedstat: time on a processor, time waiting for one (proc(5))."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[column]) for task in tasks) / 1e6


def _peak_rss_mib(pid: int) -> float:
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _zipped_bytes(folder: Path) -> int:
    """Size of the folder as `sam package` would upload it."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.relative_to(folder).parts[:1]:
                archive.write(path, path.relative_to(folder))
    return len(packed.getvalue())


def _missing() -> str | None:
    if not LAYER.is_dir():
        return f"{BUILD} is not there; run `make build` first"
    if not any(LAYER.glob("quickstep/__pycache__/*.cpython-313.pyc")):
        return "the layer was built without byte-code; put python3.13 on PATH and run `make build` again"
    if not PYTHON.is_file():
        return "the environment .venv-coldstart is not there; run `make coldstart`, which makes it"
    return None


# -- the table ------------------------------------------------------------------------------------------------------------------


def table(rows: list[Row]) -> str:
    """The measurements as a Markdown table."""
    lines = [
        "| function | init ms | first event, CPU ms | warm event, CPU ms | peak memory MiB | zip KiB | AWS calls of the first event |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        one, calls = row.best, Counter(service for service, _ in row.best.calls)
        named = ", ".join(f"{number} {service}" for service, number in sorted(calls.items()))
        lines.append(
            f"| {row.function.removesuffix('Function')} | {one.init_ms - one.init_waited_ms:.0f} | {one.first_cpu_ms:.0f} | "
            f"{one.warm_cpu_ms:.1f} | {one.rss_mib:.0f} | {row.code_bytes / 1024:.1f} | {len(one.calls)}: {named or 'none'} |"
        )
    return "\n".join(lines)


def setting(idle: tuple[float, float]) -> str:
    """What the figures were measured on: sizes of the layer, versions."""
    unzipped = sum(path.stat().st_size for path in (BUILD / "CoreLayer").rglob("*") if path.is_file())
    version = subprocess.run(
        [
            str(PYTHON),
            "-c",
            "import platform, importlib.metadata as m; print(platform.python_version(), m.version('awslambdaric'))",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return (
        f"Layer: {_zipped_bytes(BUILD / 'CoreLayer') / 2**20:.1f} MiB zipped, {unzipped / 2**20:.1f} MiB unzipped, for both "
        f"architectures. Python {version[0]}, awslambdaric {version[1]}, {os.cpu_count()} processors. Of each init, "
        f"{idle[1]:.0f} ms of CPU are what a handler that does nothing takes here: the interpreter and the runtime client."
    )


def write(text: str) -> None:
    """Put `text` between the markers of docs/cold_start.md."""
    document = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def _as_json(row: Row) -> Mapping[str, Any]:
    one = row.best
    return {
        "function": row.function,
        "init_ms": round(one.init_ms, 1),
        "init_cpu_ms": round(one.init_cpu_ms, 1),
        "init_waited_ms": round(one.init_waited_ms, 1),
        "first_ms": round(one.first_ms, 1),
        "first_cpu_ms": round(one.first_cpu_ms, 1),
        "warm_ms": round(one.warm_ms, 1),
        "warm_cpu_ms": round(one.warm_cpu_ms, 2),
        "rss_mib": round(one.rss_mib, 1),
        "zip_bytes": row.code_bytes,
        "calls": [f"{service} {operation}" for service, operation in one.calls],
    }


if __name__ == "__main__":
    main()
