"""EventBridge Scheduler: one-time and recurring schedules with their own target, role, retries and dead-letter queue.

Sources: EventBridge Scheduler API reference and user guide. It promises 60-second precision: `offset_s(name)` says how
many seconds after its due time a schedule fires.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from simulator.aws.delivery import Deliverer, Target
from simulator.aws.eventbridge import scheduled_event
from simulator.aws.schedule_expression import ScheduleExpression, parse_schedule
from simulator.clock import Scheduled, VirtualClock
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated


@dataclass
class Schedule:
    """One schedule: its request as it stands, and when it began."""

    params: dict[str, Any]
    arn: str
    expression: ScheduleExpression
    created_s: float
    modified_s: float
    firings: int = 0
    timer: Scheduled | None = None


class SchedulerService:
    """The schedules of one account and region, by (group, name)."""

    def __init__(
        self,
        clock: VirtualClock,
        deliverer: Deliverer,
        *,
        account_id: str = "111122223333",
        region: str = "eu-west-1",
        offset_s: Callable[[str], float] = lambda name: 0.0,
    ) -> None:
        self._clock, self._deliverer, self._offset_s = clock, deliverer, offset_s
        self._account_id, self._region = account_id, region
        self._groups: set[str] = {"default"}
        self.schedules: dict[tuple[str, str], Schedule] = {}

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one API operation of `scheduler`; raises ServiceError for a refusal."""
        method = self._operations.get(operation)
        if method is None:
            raise NotEmulated(f"scheduler {operation} is not emulated")
        return method(self, params)

    def _create(self, params: Mapping[str, Any]) -> dict[str, Any]:
        key = self._key(params)
        if key in self.schedules:
            raise ServiceError("ConflictException", f"Schedule {key[1]} already exists.", 409)
        if key[0] not in self._groups:
            raise ServiceError("ResourceNotFoundException", f"Schedule group {key[0]} does not exist.", 404)
        return {"ScheduleArn": self._put(key, params, self._clock.now_s).arn}

    def _update(self, params: Mapping[str, Any]) -> dict[str, Any]:
        before = self._found(params)
        if before.timer is not None:
            before.timer.cancel()
        return {"ScheduleArn": self._put(self._key(params), params, before.created_s).arn}

    def _put(self, key: tuple[str, str], params: Mapping[str, Any], created_s: float) -> Schedule:
        zone = params.get("ScheduleExpressionTimezone", "UTC")
        schedule = Schedule(
            params={"GroupName": key[0], "State": "ENABLED", "ActionAfterCompletion": "NONE", **params},
            arn=f"arn:aws:scheduler:{self._region}:{self._account_id}:schedule/{key[0]}/{key[1]}",
            expression=parse_schedule(params["ScheduleExpression"], zone),
            created_s=created_s,
            modified_s=self._clock.now_s,
        )
        _input(params["Target"], "", 0.0, 1)  # refused now rather than at the first firing
        self.schedules[key] = schedule
        start = params.get("StartDate")
        self._wait(key, schedule, max(self._clock.now_s, start.timestamp() - 1e-6 if start else 0.0))
        return schedule

    def _wait(self, key: tuple[str, str], schedule: Schedule, after_s: float) -> None:
        start, end = schedule.params.get("StartDate"), schedule.params.get("EndDate")
        started_s = start.timestamp() if start else schedule.modified_s
        due_s = schedule.expression.next_after(after_s, started_s=started_s)
        if due_s is not None and (end is None or due_s <= end.timestamp()):
            at_s = due_s + self._offset_s(key[1])
            schedule.timer = self._clock.at(at_s, lambda: self._fire(key, schedule, due_s), label=key[1])
        elif schedule.params["ActionAfterCompletion"] == "DELETE" and schedule.firings:
            self.schedules.pop(key, None)

    def _fire(self, key: tuple[str, str], schedule: Schedule, due_s: float) -> None:
        schedule.firings += 1
        if schedule.params["State"] == "ENABLED":
            self._deliver(schedule, due_s)
        self._wait(key, schedule, due_s)

    def _deliver(self, schedule: Schedule, due_s: float) -> None:
        spec = schedule.params["Target"]
        retry = spec.get("RetryPolicy", {})
        given = _input(spec, schedule.arn, due_s, schedule.firings)
        event = scheduled_event(
            "aws.scheduler",
            schedule.arn,
            due_s,
            account_id=self._account_id,
            region=self._region,
            number=schedule.firings,
            detail="{}",
        )
        target = Target(
            id=schedule.params["Name"],
            arn=spec["Arn"],
            service="scheduler.amazonaws.com",
            role_arn=spec["RoleArn"],
            max_attempts=int(retry.get("MaximumRetryAttempts", Target.max_attempts)),
            max_age_s=int(retry.get("MaximumEventAgeInSeconds", Target.max_age_s)),
            dead_letter_arn=spec.get("DeadLetterConfig", {}).get("Arn"),
        )
        self._deliverer.deliver(event if given is None else given, target, schedule.arn)

    def _get(self, params: Mapping[str, Any]) -> dict[str, Any]:
        schedule = self._found(params)
        return {**schedule.params, "Arn": schedule.arn, **_dates(schedule)}

    def _delete(self, params: Mapping[str, Any]) -> dict[str, Any]:
        schedule = self._found(params)
        if schedule.timer is not None:
            schedule.timer.cancel()
        del self.schedules[self._key(params)]
        return {}

    def _list(self, params: Mapping[str, Any]) -> dict[str, Any]:
        found = [
            schedule
            for (group, name), schedule in sorted(self.schedules.items())
            if group == params.get("GroupName", group)
            and name.startswith(params.get("NamePrefix", ""))
            and schedule.params["State"] == params.get("State", schedule.params["State"])
        ]
        first, size = int(params.get("NextToken") or 0), params.get("MaxResults", 100)
        page = found[first : first + size]
        listed = [
            {
                "Arn": one.arn,
                "Name": one.params["Name"],
                "GroupName": one.params["GroupName"],
                "State": one.params["State"],
                "Target": {"Arn": one.params["Target"]["Arn"]},
                **_dates(one),
            }
            for one in page
        ]
        return {"Schedules": listed} | ({"NextToken": str(first + size)} if first + size < len(found) else {})

    def _create_group(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if params["Name"] in self._groups:
            raise ServiceError("ConflictException", f"Schedule group {params['Name']} already exists.", 409)
        self._groups.add(params["Name"])
        return {
            "ScheduleGroupArn": f"arn:aws:scheduler:{self._region}:{self._account_id}:schedule-group/{params['Name']}"
        }

    def _found(self, params: Mapping[str, Any]) -> Schedule:
        schedule = self.schedules.get(self._key(params))
        if schedule is None:
            raise ServiceError("ResourceNotFoundException", f"Schedule {params['Name']} does not exist.", 404)
        return schedule

    @staticmethod
    def _key(params: Mapping[str, Any]) -> tuple[str, str]:
        return params.get("GroupName", "default"), params["Name"]

    _operations: Mapping[str, Callable[[SchedulerService, Mapping[str, Any]], dict[str, Any]]] = {
        "CreateSchedule": _create,
        "UpdateSchedule": _update,
        "GetSchedule": _get,
        "DeleteSchedule": _delete,
        "ListSchedules": _list,
        "CreateScheduleGroup": _create_group,
    }


def _dates(schedule: Schedule) -> dict[str, datetime]:
    return {
        "CreationDate": datetime.fromtimestamp(schedule.created_s, UTC),
        "LastModificationDate": datetime.fromtimestamp(schedule.modified_s, UTC),
    }


def _input(target: Mapping[str, Any], arn: str, due_s: float, number: int) -> Any:
    """The target's Input with Scheduler's context attributes put in; None if there is none."""
    if "Input" not in target:
        return None
    text = target["Input"]
    for name, value in {
        "schedule-arn": arn,
        "scheduled-time": f"{datetime.fromtimestamp(due_s, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "execution-id": f"{number:016x}",
        "attempt-number": "1",
    }.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise ServiceError(
            "ValidationException", "Invalid RequestJson provided. Reason The field Input is not JSON."
        ) from None
