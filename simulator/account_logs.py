"""What functions write to standard output: log lines, and the metrics inside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.aws.lambda_runtime import Function


@dataclass(frozen=True)
class LogLine:
    """One line that a function (its logical id) wrote. `fields` is the line as a JSON object, None if it is none."""

    function: str
    at_s: float
    text: str
    fields: dict[str, Any] | None


class FunctionLogs:
    """The lines of all functions in the order in which they were written.

    `count(namespace, metric, dimensions, value)` gets every value of a line in CloudWatch's embedded metric format.
    """

    def __init__(self, count: Callable[[str, str, dict[str, str], float], None]) -> None:
        self.lines: list[LogLine] = []
        self._count = count

    def write(self, function: Function, at_s: float, text: str) -> None:
        """Take one line that `function` wrote at `at_s`."""
        fields = None
        if text.startswith("{"):
            try:
                fields = json.loads(text)
            except json.JSONDecodeError:
                fields = None  # a line like any other
        self.lines.append(LogLine(function.logical_id, at_s, text, fields))
        if fields is not None and "_aws" in fields:
            self._embedded_metrics(fields)

    def _embedded_metrics(self, fields: Mapping[str, Any]) -> None:
        for directive in fields["_aws"].get("CloudWatchMetrics", []):
            for dimension_set in directive["Dimensions"]:
                dimensions = {name: str(fields[name]) for name in dimension_set}
                for metric in directive["Metrics"]:
                    values = fields[metric["Name"]]
                    for value in values if isinstance(values, list) else [values]:
                        self._count(directive["Namespace"], metric["Name"], dimensions, float(value))
