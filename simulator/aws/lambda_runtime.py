"""One Lambda execution environment inside this process: a freshly imported handler, run as the runtime would run it.

While a handler runs, the process looks like its environment: the function's variables in `os.environ`, its folders on
`sys.path`, standard output going to the log, and `time.time`, `time.sleep` and `quickstep.clock` on the virtual clock. The
handler runs at one virtual instant; what it spends in calls and sleeps is added up, and past the function's time-out it
is cut off where it stands.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import botocore

from quickstep import clock as product_clock
from simulator.not_emulated import EmulationFailed, NotEmulated

_EMULATION = str(Path(__file__).resolve().parents[1])


class OutOfTime(BaseException):
    """The function's time-out is over; ends the handler wherever it is. Not an Exception: nothing may catch it."""


class EnvironmentKilled(BaseException):
    """The environment dies here and now (out of memory, host lost): raised by fault injection inside a call."""


@dataclass(frozen=True)
class Function:
    """A function as deployed. Times in seconds; `reserved_concurrency` None means no limit of its own."""

    logical_id: str
    name: str
    arn: str
    handler: str
    code_dir: Path
    layer_dirs: tuple[Path, ...]
    environment: Mapping[str, str]
    role_arn: str
    timeout_s: float = 3.0
    memory_mb: int = 128
    reserved_concurrency: int | None = None
    dead_letter_arn: str | None = None
    async_retries: int = 2
    async_max_age_s: float = 21_600.0
    on_failure_arn: str | None = None
    on_success_arn: str | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Invocation:
    """A running invocation. `elapsed_s` is what it has spent so far beyond the instant at which it started."""

    function: Function
    request_id: str
    started_s: float
    elapsed_s: float = 0.0

    @property
    def now_s(self) -> float:
        """The time as the handler sees it."""
        return self.started_s + self.elapsed_s

    @property
    def remaining_s(self) -> float:
        return self.function.timeout_s - self.elapsed_s

    def spend(self, duration_s: float) -> None:
        """Let time pass inside the handler; raises OutOfTime if that is more than is left."""
        self.elapsed_s += duration_s
        if self.elapsed_s > self.function.timeout_s:
            self.elapsed_s = self.function.timeout_s
            raise OutOfTime


@dataclass(frozen=True)
class Outcome:
    """What an invocation came to: `payload` if it answered, `error` (errorType, errorMessage, …) if it failed.

    `duration_s` is from start to answer, `cold` whether the environment was new, `died` whether it is gone now.
    """

    request_id: str
    payload: Any
    error: dict[str, Any] | None
    duration_s: float
    cold: bool = False
    died: bool = False


class Context:
    """The second argument of a handler, with what Lambda's Python runtime gives it."""

    function_version = "$LATEST"
    identity = None
    client_context = None

    def __init__(self, invocation: Invocation, log_stream_name: str) -> None:
        self._invocation = invocation
        function = invocation.function
        self.aws_request_id = invocation.request_id
        self.function_name = function.name
        self.invoked_function_arn = function.arn
        self.memory_limit_in_mb = str(function.memory_mb)
        self.log_group_name = f"/aws/lambda/{function.name}"
        self.log_stream_name = log_stream_name

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int(self._invocation.remaining_s * 1000))


class Environment:
    """One execution environment of one function: its module is loaded once, at the first invocation."""

    def __init__(self, function: Function, serial: int, started_s: float) -> None:
        self.function = function
        self.started_s = started_s
        self.busy_until_s = started_s
        self.log_stream_name = f"{datetime.fromtimestamp(started_s, UTC):%Y/%m/%d}/[$LATEST]{serial:032x}"
        self._module: ModuleType | None = None
        self._module_name = f"simulator_functions.{function.logical_id}_{serial}"

    @property
    def cold(self) -> bool:
        """Whether the next invocation loads the module."""
        return self._module is None

    def run(
        self, event: Any, invocation: Invocation, write_line: Callable[[str], None]
    ) -> tuple[Any, dict[str, Any] | None]:
        """Run the handler on a copy of `event`; returns (payload, None) or (None, error).

        Lines written to standard output and error go to `write_line`. Raises OutOfTime and EnvironmentKilled.
        """
        with _process_of(self.function, invocation, self.log_stream_name, write_line):
            try:
                handler = self._handler()
            except _BadHandler as problem:
                return None, _error(problem.error_type, str(problem), invocation)
            try:
                answer = handler(json.loads(json.dumps(event)), Context(invocation, self.log_stream_name))
            except SystemExit as problem:
                status = problem.code if isinstance(problem.code, int) else 1
                message = f"RequestId: {invocation.request_id} Error: Runtime exited with error: exit status {status}"
                raise EnvironmentKilled(message) from None
            except Exception as problem:  # what Lambda's runtime does with a handler's error
                return None, _error(type(problem).__name__, str(problem), invocation, self._stack_trace(problem))
        try:
            return json.loads(json.dumps(answer, allow_nan=False)), None
        except (TypeError, ValueError) as problem:
            return None, _error("Runtime.MarshalError", f"Unable to marshal response: {problem}", invocation)

    def close(self) -> None:
        """Forget the module."""
        sys.modules.pop(self._module_name, None)
        self._module = None

    def _handler(self) -> Callable[[Any, Context], Any]:
        module_path, _, name = self.function.handler.rpartition(".")
        if self._module is None:
            path = self.function.code_dir / (module_path.replace(".", "/") + ".py")
            if not path.exists():
                raise _BadHandler(
                    "Runtime.ImportModuleError",
                    f"Unable to import module '{module_path}': No module named '{module_path.split('.')[0]}'",
                )
            self._module = self._load(path)
        handler = getattr(self._module, name, None)
        if handler is None:
            raise _BadHandler("Runtime.HandlerNotFound", f"Handler '{name}' missing on module '{module_path}'")
        return handler

    def _load(self, path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(self._module_name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[self._module_name] = module
        try:
            spec.loader.exec_module(module)
        except (NotEmulated, EmulationFailed, OutOfTime, EnvironmentKilled):
            sys.modules.pop(self._module_name, None)
            raise
        except Exception as problem:
            sys.modules.pop(self._module_name, None)
            kind = "ImportModuleError" if isinstance(problem, ImportError) else type(problem).__name__
            prefix = f"Unable to import module '{path.stem}': " if isinstance(problem, ImportError) else ""
            raise _BadHandler(
                f"Runtime.{kind}" if isinstance(problem, ImportError) else kind, f"{prefix}{problem}"
            ) from problem
        return module

    def _stack_trace(self, problem: BaseException) -> list[str]:
        """The frames of the traceback with folders as they are in Lambda; the emulation's own frames are left out."""
        folders = [
            (str(self.function.code_dir), "/var/task"),
            *((str(one), "/opt/python") for one in self.function.layer_dirs),
            (str(Path(botocore.__file__).parents[1]), "/opt/python"),
            (str(Path(traceback.__file__).parent), "/var/lang/lib/python3.13"),
        ]
        lines = []
        for frame in traceback.extract_tb(problem.__traceback__):
            if frame.filename.startswith(_EMULATION):
                continue
            place = frame.filename
            for local, deployed in folders:
                place = place.replace(local, deployed)
            lines.append(f'  File "{place}", line {frame.lineno}, in {frame.name}\n    {frame.line}\n')
        return lines


class _BadHandler(Exception):
    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


def _error(error_type: str, message: str, invocation: Invocation, stack: list[str] | None = None) -> dict[str, Any]:
    """The payload that Lambda answers beside `FunctionError`."""
    return {
        "errorMessage": message,
        "errorType": error_type,
        "requestId": invocation.request_id,
        "stackTrace": stack or [],
    }


class _LogStream:
    """Standard output and error of a handler: whole lines go to the log."""

    def __init__(self, write_line: Callable[[str], None]) -> None:
        self._write_line = write_line
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line:
                self._write_line(line)
        return len(text)

    def close(self) -> None:
        if self._rest:
            self._write_line(self._rest)
            self._rest = ""


class _Output:
    """A standard stream while a handler runs: its own thread writes to the log, others to where they wrote before."""

    encoding = "utf-8"

    def __init__(self, log: _LogStream, outer: TextIO) -> None:
        self._log, self._outer, self._thread = log, outer, threading.get_ident()

    def write(self, text: str) -> int:
        return (self._log if threading.get_ident() == self._thread else self._outer).write(text)

    def flush(self) -> None:
        """Nothing is held back but an unfinished line."""

    def isatty(self) -> bool:
        return False


@contextlib.contextmanager
def _process_of(
    function: Function, invocation: Invocation, log_stream_name: str, write_line: Callable[[str], None]
) -> Iterator[None]:
    """Make this process look like the function's environment, and put everything back.

    Other threads (a server's) keep their time and their output; variables and paths belong to the whole process.
    """
    variables = _variables(function, log_stream_name)
    before = {name: os.environ.get(name) for name in variables}
    paths = [str(function.code_dir), *(str(one) for one in function.layer_dirs)]
    outer: tuple[TextIO, TextIO] = (sys.stdout, sys.stderr)
    log = _LogStream(write_line)
    streams: list[Any] = [_Output(log, one) for one in outer]
    times = (time.time, time.time_ns, time.sleep)
    thread = threading.get_ident()

    def instead(of: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *values: ours(*values) if threading.get_ident() == thread else of(*values)

    product_time = product_clock.use(lambda: invocation.now_s)
    os.environ.update(variables)
    sys.path[:0] = paths
    sys.stdout, sys.stderr = streams
    time.time = instead(times[0], lambda: invocation.now_s)
    time.time_ns = instead(times[1], lambda: int(invocation.now_s * 1e9))
    time.sleep = instead(times[2], invocation.spend)
    try:
        yield
    finally:
        time.time, time.time_ns, time.sleep = times
        # Whoever has put streams of their own there meanwhile keeps them.
        if sys.stdout is streams[0]:
            sys.stdout = outer[0]
        if sys.stderr is streams[1]:
            sys.stderr = outer[1]
        log.close()
        for path in paths:
            with contextlib.suppress(ValueError):
                sys.path.remove(path)
        product_clock.use(product_time)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _variables(function: Function, log_stream_name: str) -> dict[str, str]:
    """Lambda's reserved variables and the function's own (developer guide, "Defined runtime environment variables")."""
    region = function.arn.split(":")[3]
    return {
        **function.environment,
        "AWS_DEFAULT_REGION": region,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream_name,
        "AWS_REGION": region,
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LAMBDA_TASK_ROOT": "/var/task",
        "TZ": ":UTC",
        "_HANDLER": function.handler,
    }


def timed_out(invocation: Invocation) -> dict[str, Any]:
    """The error of an invocation that ran into its function's time-out."""
    seconds = f"{invocation.function.timeout_s:.2f}"
    message = f"RequestId: {invocation.request_id} Error: Task timed out after {seconds} seconds"
    return {"errorType": "Sandbox.Timedout", "errorMessage": message}


def killed(invocation: Invocation, reason: str) -> dict[str, Any]:
    """The error of an invocation whose environment died."""
    text = reason or f"RequestId: {invocation.request_id} Error: Runtime exited with error: signal: killed"
    return {"errorType": "Runtime.ExitError", "errorMessage": text}


NAME_IN_ARN = re.compile(r"^(?:arn:aws[\w-]*:lambda:[\w-]+:\d{12}:function:)?([A-Za-z0-9_-]+)(?::([\w$-]+))?$")
"""A function's name, ARN or partial ARN, with an optional version or alias."""
