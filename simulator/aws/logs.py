"""CloudWatch Logs for reading: what the functions wrote, in the groups `/aws/lambda/<function>`.

Every function has one stream. Other groups, and everything that is not reading, are moto's. Shapes: botocore model `logs`;
filter patterns: user guide, "Filter pattern syntax", of which unstructured terms are here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from simulator.account_logs import LogLine
from simulator.aws.lambda_runtime import Function
from simulator.aws.moto_services import MotoService
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

PREFIX = "/aws/lambda/"
STREAM = "[$LATEST]"
_TERM = re.compile(r'"(?P<quoted>[^"]*)"|(?P<plain>\S+)')
_MAX_EVENTS = 10_000


class LogsService:
    """`functions` gives the functions by name, `lines` what all of them wrote, in order."""

    def __init__(
        self, functions: Callable[[], Mapping[str, Function]], lines: Sequence[LogLine], others: MotoService
    ) -> None:
        self._functions, self._lines, self._others = functions, lines, others

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one API operation of `logs`; raises ServiceError for a refusal."""
        if operation == "DescribeLogGroups":
            return self._groups(params)
        reading = {
            "DescribeLogStreams": self._streams,
            "FilterLogEvents": self._filter,
            "GetLogEvents": self._get,
        }.get(operation)
        group = params.get("logGroupName") or str(params.get("logGroupIdentifier", "")).rpartition(":log-group:")[2]
        if reading is None or self._function(group) is None:
            return self._others.call(operation, params)
        return reading(group, params)

    def close(self) -> None:
        """Stop what moto has of it."""
        self._others.close()

    def _function(self, group: str) -> Function | None:
        return self._functions().get(group.removeprefix(PREFIX)) if group.startswith(PREFIX) else None

    def _groups(self, params: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(self._others.call("DescribeLogGroups", params))
        ours = []
        for name, function in sorted(self._functions().items()):
            group = PREFIX + name
            pattern = params.get("logGroupNamePattern")
            if group.startswith(params.get("logGroupNamePrefix", "")) and (pattern is None or pattern in group):
                arn = function.arn.replace(":lambda:", ":logs:").rpartition(":function:")[0] + f":log-group:{group}"
                ours.append({"logGroupName": group, "arn": f"{arn}:*", "logGroupArn": arn, "metricFilterCount": 0})
        return {**found, "logGroups": sorted(found["logGroups"] + ours, key=lambda one: one["logGroupName"])}

    def _streams(self, group: str, params: Mapping[str, Any]) -> dict[str, Any]:
        times = [event["timestamp"] for event in self._events(group)]
        if not times or not STREAM.startswith(params.get("logStreamNamePrefix", "")):
            return {"logStreams": []}
        return {
            "logStreams": [
                {"logStreamName": STREAM, "firstEventTimestamp": times[0], "lastEventTimestamp": times[-1]},
            ]
        }

    def _filter(self, group: str, params: Mapping[str, Any]) -> dict[str, Any]:
        terms = _terms(params.get("filterPattern", ""))
        from_ms, to_ms = params.get("startTime", 0), params.get("endTime", float("inf"))
        streams = params.get("logStreamNames")
        found = [
            event
            for event in self._events(group)
            if from_ms <= event["timestamp"] <= to_ms
            and all(term in event["message"] for term in terms)
            and (streams is None or STREAM in streams)
        ]
        first, size = _number(params.get("nextToken")), params.get("limit", _MAX_EVENTS)
        page = [{**event, "logStreamName": STREAM} for event in found[first : first + size]]
        answer: dict[str, Any] = {"events": page, "searchedLogStreams": []}
        return answer | ({"nextToken": str(first + size)} if first + size < len(found) else {})

    def _get(self, group: str, params: Mapping[str, Any]) -> dict[str, Any]:
        if params["logStreamName"] != STREAM:
            raise ServiceError("ResourceNotFoundException", "The specified log stream does not exist.")
        from_ms, to_ms = params.get("startTime", 0), params.get("endTime", float("inf"))
        found = [event for event in self._events(group) if from_ms <= event["timestamp"] < to_ms]
        size = params.get("limit", _MAX_EVENTS)
        at_the_end = 0 if params.get("startFromHead") else max(0, len(found) - size)
        first = _number(params["nextToken"].rpartition("/")[2]) if "nextToken" in params else at_the_end
        page = [{name: event[name] for name in ("timestamp", "message", "ingestionTime")} for event in found[first:]][
            :size
        ]
        return {
            "events": page,
            "nextForwardToken": f"f/{first + len(page)}",
            "nextBackwardToken": f"b/{max(0, first - size)}",
        }

    def _events(self, group: str) -> list[dict[str, Any]]:
        function = self._function(group)
        assert function is not None
        return [
            {
                "timestamp": int(line.at_s * 1000),
                "message": line.text,
                "ingestionTime": int(line.at_s * 1000),
                "eventId": f"{number:056d}",
            }
            for number, line in enumerate(self._lines)
            if line.function == function.logical_id
        ]


def _terms(pattern: str) -> list[str]:
    """The terms that a line must hold, all of them."""
    pattern = pattern.strip()
    if pattern.startswith(("{", "[", "%")) or re.search(r"(?:^|\s)[?-]", pattern):
        raise NotEmulated(f"logs FilterLogEvents with filterPattern {pattern!r}; terms that must all be there are")
    return [found["quoted"] if found["quoted"] is not None else found["plain"] for found in _TERM.finditer(pattern)]


def _number(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isdigit():
        raise ServiceError("InvalidParameterException", "The specified nextToken is invalid.")
    return int(text)
