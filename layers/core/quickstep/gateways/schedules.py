"""Amazon EventBridge Scheduler: the schedules of scheduled actions.

Every schedule lies in the stack's own group and invokes the function that applies scheduled actions. A schedule deletes
itself once it can never fire again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from quickstep.gateways.aws import client
from quickstep.gateways.refusals import translated

RETRIES = 20
OLDEST_S = 3600
"""A scheduled action that could not be delivered for so long is given up: the next one may be due already."""


@dataclass(frozen=True, slots=True)
class ScheduleTarget:
    """What every schedule of the stack invokes, as whom, and where it goes if that fails."""

    group: str
    function_arn: str
    role_arn: str
    dead_letter_arn: str


def put_schedule(
    name: str,
    expression: str,
    payload: Mapping[str, Any],
    *,
    target: ScheduleTarget,
    timezone: str | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
) -> None:
    """Create the schedule `name`, or replace it.

    `payload` is what the function gets; `scheduled_time` is added to it. `start_s` must not lie in the past. Raises the
    errors of `refusals`; `Rejected` for an expression or a time zone that EventBridge Scheduler does not know.
    """
    given = {**payload, "scheduled_time": "<aws.scheduler.scheduled-time>"}
    request: dict[str, Any] = {
        "Name": name,
        "GroupName": target.group,
        "ScheduleExpression": expression,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": target.function_arn,
            "RoleArn": target.role_arn,
            "Input": json.dumps(given, sort_keys=True),
            "RetryPolicy": {"MaximumEventAgeInSeconds": OLDEST_S, "MaximumRetryAttempts": RETRIES},
            "DeadLetterConfig": {"Arn": target.dead_letter_arn},
        },
    }
    if timezone is not None:
        request["ScheduleExpressionTimezone"] = timezone
    if start_s is not None:
        request["StartDate"] = datetime.fromtimestamp(start_s, UTC)
    if end_s is not None:
        request["EndDate"] = datetime.fromtimestamp(end_s, UTC)
    scheduler = client("scheduler")
    with translated(f"schedule {expression}"):
        try:
            scheduler.update_schedule(**request)
        except scheduler.exceptions.ResourceNotFoundException:
            scheduler.create_schedule(**request)


def delete_schedule(name: str, *, group: str) -> None:
    """Delete a schedule; one that is gone (it has fired for the last time) is no error."""
    scheduler = client("scheduler")
    with translated(f"delete schedule {name}"):
        try:
            scheduler.delete_schedule(Name=name, GroupName=group)
        except scheduler.exceptions.ResourceNotFoundException:
            return
