"""Logs and metrics: the one place that owns Powertools.

A log line is one JSON object on standard output; a metric is one line in CloudWatch's embedded metric format (EMF), so
it needs no permission and no call. Nothing that a client sent reaches either: values under the names of `REDACTED_KEYS` are
replaced at any depth, bearer tokens and signatures inside texts too, and no function here takes an event.
The time of a line is `clock.now_s()`, so a run on a virtual clock writes the same bytes each time.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from quickstep import clock

NAMESPACE = "Quickstep"
"""EMF namespace where POWERTOOLS_METRICS_NAMESPACE is not set (a laptop, a test)."""

STACK = "local"
"""Dimension `Stack` where STACK_NAME is not set."""

UNITS = frozenset({"Count", "Milliseconds", "None", "Percent", "Seconds"})
"""CloudWatch's units that metrics of ours have (API reference, `StandardUnit`)."""

REDACTED = "[redacted]"
REDACTED_KEYS = frozenset(
    {
        "authorization",
        "body",
        "completion",
        "content",
        "event",
        "input",
        "inputs",
        "messages",
        "output",
        "outputs",
        "payload",
        "prompt",
        "prompts",
        "x-amz-security-token",
    }
)

_logger: Any = None


def logger() -> Any:
    """The Powertools logger of this process; name and level come from POWERTOOLS_SERVICE_NAME and LOG_LEVEL."""
    global _logger
    if _logger is None:
        _logger = _new_logger()
    return _logger


def record_decision(record: Mapping[str, Any]) -> None:
    """Log one decision as one JSON line, at INFO, under the key `decision`. Its steps' `inputs` are numbers and are kept.

    `record` may hold dataclasses, enums and tuples; a number that JSON cannot write becomes null (not a number) or the
    text `inf`/`-inf`.
    """
    logger().info("decision", extra={"decision": _Decision(record)})


def record_note(note: Mapping[str, Any]) -> None:
    """Log what a look has noticed (an ask reached, a deadline passed) as one JSON line, at INFO, under the key `note`."""
    logger().info("note", extra={"note": dict(note)})


def count(metric: str, unit: str = "Count", value: float = 1.0, dimensions: Mapping[str, str] | None = None) -> None:
    """Publish one value of one metric of this stack; see `gauges`."""
    gauges({metric: (value, unit)}, dimensions)


def gauges(values: Mapping[str, tuple[float | None, str]], dimensions: Mapping[str, str] | None = None) -> None:
    """Publish metrics as one line in CloudWatch's embedded metric format: {name: (value, unit)}.

    Every distinct set of dimensions is a metric that AWS bills, by the hour in which it gets a value; `Stack` is always
    one of them, so two stacks never share a metric. `unit` is one of UNITS. A value that is not known or not finite is
    left out. Raises `ValueError` for an unknown unit.
    """
    for name, (_, unit) in values.items():
        if unit not in UNITS:
            raise ValueError(f"metric {name} has the unit {unit!r}, which CloudWatch does not know")
    known = {name: (v, unit) for name, (v, unit) in sorted(values.items()) if v is not None and math.isfinite(v)}
    if not known:
        return
    named = {"Stack": os.environ.get("STACK_NAME") or STACK, **(dimensions or {})}
    directive = {
        "Namespace": os.environ.get("POWERTOOLS_METRICS_NAMESPACE") or NAMESPACE,
        "Dimensions": [sorted(named)],
        "Metrics": [{"Name": name, "Unit": unit} for name, (_, unit) in known.items()],
    }
    line = {
        "_aws": {"Timestamp": round(clock.now_s() * 1000), "CloudWatchMetrics": [directive]},
        **named,
        **{name: value for name, (value, _) in known.items()},
    }
    print(json.dumps(line, sort_keys=True, separators=(",", ":"), allow_nan=False), file=sys.stdout, flush=True)


def forget() -> None:
    """Make a new logger next time, with the environment of that moment."""
    global _logger
    if _logger is not None:
        # Powertools marks the standard library's logger of that name and would only hand it out again.
        inner = logging.getLogger(_logger.service)
        inner.handlers.clear()
        inner.init = False  # type: ignore[attr-defined]
    _logger = None


def _new_logger() -> Any:
    from aws_lambda_powertools.logging import Logger
    from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

    class Formatter(LambdaPowertoolsFormatter):
        def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
            return datetime.fromtimestamp(clock.now_s(), UTC).isoformat(timespec="milliseconds")

    return Logger(logger_handler=_StandardOutput(), logger_formatter=Formatter(json_serializer=_serialize))


class _StandardOutput(logging.StreamHandler):
    """Writes to what `sys.stdout` is at that moment: a runtime or a test may have replaced it since."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stdout


# -- what a line may contain ------------------------------------------------------------------------------------------

_SECRETS = re.compile(r"(?i)\b(bearer\s+|signature=|credential=|x-amz-security-token[=:]\s*)[^\s\"',&]+")


class _Decision(dict[str, Any]):
    """A decision's record, in which `inputs` means what a stage has weighed, not what a client has sent."""


def _serialize(line: Mapping[str, Any]) -> str:
    return json.dumps(_plain(line), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any, hidden: frozenset[str] = REDACTED_KEYS) -> Any:
    """`value` in JSON's own types, without what stands under the names `hidden`."""
    if isinstance(value, _Decision):
        return _plain(dict(value), hidden - {"inputs"})
    if isinstance(value, Mapping):
        return {str(k): REDACTED if str(k).lower() in hidden else _plain(v, hidden) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return _plain({field.name: getattr(value, field.name) for field in fields(value)}, hidden)
    if isinstance(value, list | tuple):
        return [_plain(item, hidden) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(item, hidden) for item in value), key=str)
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return _SECRETS.sub(rf"\g<1>{REDACTED}", str(value))
