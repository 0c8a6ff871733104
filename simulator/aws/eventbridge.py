"""EventBridge: buses, rules with patterns or schedules, targets.

Sources: EventBridge API reference and user guide. Pattern matching is moto's, which was checked against EventBridge's
documented operators; delivery, retries and dead-letter queues are in `delivery`, schedules in `schedule_expression`.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.events.exceptions import InvalidEventPatternException
from moto.events.models import EventPattern

from simulator.aws.delivery import Deliverer, Target, shaper
from simulator.aws.schedule_expression import ScheduleExpression, parse_schedule
from simulator.clock import Scheduled, VirtualClock
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

MAX_ENTRY_BYTES = 256 * 1024


@dataclass
class Rule:
    """One rule; it has a pattern or a schedule, or both."""

    name: str
    bus: str
    arn: str
    enabled: bool
    pattern_text: str | None
    pattern: EventPattern | None
    schedule_text: str | None
    schedule: ScheduleExpression | None
    description: str | None
    role_arn: str | None
    created_s: float
    targets: dict[str, tuple[Target, Mapping[str, Any]]] = field(default_factory=dict)
    timer: Scheduled | None = None


class EventBridgeService:
    """The event buses of one account and region.

    `events` keeps every event that was put on a bus, in order. `schedule_offset_s(rule name)` says how many seconds
    after its due time a scheduled rule fires. `billable` counts custom events (events of AWS itself are free).
    """

    def __init__(
        self,
        clock: VirtualClock,
        deliverer: Deliverer,
        *,
        account_id: str = "111122223333",
        region: str = "eu-west-1",
        schedule_offset_s: Callable[[str], float] = lambda name: 0.0,
    ) -> None:
        self._clock, self.deliverer = clock, deliverer
        self._account_id, self._region = account_id, region
        self._schedule_offset_s = schedule_offset_s
        self._buses: dict[str, dict[str, Rule]] = {"default": {}}
        self._count = 0
        self.events: list[dict[str, Any]] = []
        self.billable: Counter[str] = Counter()

    def emit(self, source: str, detail_type: str, detail: Mapping[str, Any], resources: list[str]) -> dict[str, Any]:
        """Put an event of AWS itself on the default bus; returns it as rules see it."""
        return self._put("default", source, detail_type, detail, resources, self._clock.now_s)

    def receive(self, bus: str, event: dict[str, Any]) -> None:
        """Match a complete event against the rules of `bus` and start its deliveries."""
        self.events.append(event)
        for rule in list(self._buses.get(bus, {}).values()):
            if rule.enabled and rule.pattern is not None and rule.pattern.matches_event(event):
                for target, _ in rule.targets.values():
                    self.deliverer.deliver(event, target, rule.arn)

    def create_bus(self, name: str) -> None:
        """Make a custom bus, unless it is there."""
        self._buses.setdefault(name, {})

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one API operation of `events`; raises ServiceError for a refusal."""
        method = self._operations.get(operation)
        if method is None:
            raise NotEmulated(f"events {operation} is not emulated")
        return method(self, params)

    def _put(
        self, bus: str, source: str, detail_type: str, detail: Mapping[str, Any], resources: list[str], at_s: float
    ) -> dict[str, Any]:
        self._count += 1
        event = {
            "version": "0",
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._account_id}/{self._region}/event/{self._count}")),
            "detail-type": detail_type,
            "source": source,
            "account": self._account_id,
            "time": f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "region": self._region,
            "resources": resources,
            "detail": detail,
        }
        # What is delivered later must not change with what the sender does to its objects.
        event = json.loads(json.dumps(event))
        self.receive(bus, event)
        return event

    def _put_events(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if len(params["Entries"]) > 10:
            raise ServiceError(
                "ValidationException",
                "1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length "
                "less than or equal to 10",
            )
        answers: list[dict[str, Any]] = []
        for entry in params["Entries"]:
            self.billable["PutEvents"] += 1
            problem = _entry_problem(entry)
            if problem is not None:
                answers.append({"ErrorCode": problem[0], "ErrorMessage": problem[1]})
                continue
            at_s = entry["Time"].timestamp() if "Time" in entry else self._clock.now_s
            bus = entry.get("EventBusName", "default").rsplit("/", 1)[-1]
            detail, resources = json.loads(entry["Detail"]), list(entry.get("Resources", []))
            event = self._put(bus, entry["Source"], entry["DetailType"], detail, resources, at_s)
            answers.append({"EventId": event["id"]})
        return {"FailedEntryCount": sum("ErrorCode" in one for one in answers), "Entries": answers}

    def _put_rule(self, params: Mapping[str, Any]) -> dict[str, Any]:
        name, bus = params["Name"], self._bus_name(params)
        pattern_text, schedule_text = params.get("EventPattern"), params.get("ScheduleExpression")
        if pattern_text is None and schedule_text is None:
            raise ServiceError(
                "ValidationException", "Parameter(s) EventPattern or ScheduleExpression must be specified."
            )
        if schedule_text is not None and bus != "default":
            raise ServiceError("ValidationException", "ScheduleExpression is supported only on the default event bus.")
        before = self._buses[bus].get(name)
        arn = f"arn:aws:events:{self._region}:{self._account_id}:rule/{'' if bus == 'default' else bus + '/'}{name}"
        rule = Rule(
            name=name,
            bus=bus,
            arn=arn,
            enabled=params.get("State", "ENABLED") != "DISABLED",
            pattern_text=pattern_text,
            pattern=_pattern(pattern_text) if pattern_text is not None else None,
            schedule_text=schedule_text,
            schedule=parse_schedule(schedule_text) if schedule_text is not None else None,
            description=params.get("Description"),
            role_arn=params.get("RoleArn"),
            created_s=self._clock.now_s if before is None else before.created_s,
            targets={} if before is None else before.targets,
        )
        if before is not None and before.timer is not None:
            before.timer.cancel()
        self._buses[bus][name] = rule
        self._schedule(rule)
        return {"RuleArn": arn}

    def _schedule(self, rule: Rule) -> None:
        if rule.schedule is None:
            return
        schedule, offset_s = rule.schedule, self._schedule_offset_s(rule.name)

        def wait(after_s: float) -> None:
            due_s = schedule.next_after(after_s, started_s=rule.created_s)
            if due_s is not None:
                rule.timer = self._clock.at(due_s + offset_s, lambda: fire(due_s), label=rule.name)

        def fire(due_s: float) -> None:
            wait(due_s)
            if rule.enabled:
                self._fire(rule, due_s)

        wait(self._clock.now_s)

    def _fire(self, rule: Rule, due_s: float) -> None:
        self._count += 1
        event = scheduled_event(
            "aws.events", rule.arn, due_s, account_id=self._account_id, region=self._region, number=self._count
        )
        for target, _ in rule.targets.values():
            self.deliverer.deliver(event, target, rule.arn)

    def _put_targets(self, params: Mapping[str, Any]) -> dict[str, Any]:
        rule = self._rule(params["Rule"], params)
        wanted = {spec["Id"] for spec in params["Targets"]}
        if len(rule.targets.keys() | wanted) > 5:
            raise ServiceError("LimitExceededException", "The requested resource exceeds the maximum number allowed.")
        for spec in params["Targets"]:
            retry = spec.get("RetryPolicy", {})
            target = Target(
                id=spec["Id"],
                arn=spec["Arn"],
                service="events.amazonaws.com",
                role_arn=spec.get("RoleArn", rule.role_arn),
                max_attempts=int(retry.get("MaximumRetryAttempts", Target.max_attempts)),
                max_age_s=int(retry.get("MaximumEventAgeInSeconds", Target.max_age_s)),
                dead_letter_arn=spec.get("DeadLetterConfig", {}).get("Arn"),
                shape=shaper(spec),
            )
            rule.targets[spec["Id"]] = (target, spec)
        return {"FailedEntryCount": 0, "FailedEntries": []}

    def _remove_targets(self, params: Mapping[str, Any]) -> dict[str, Any]:
        rule = self._rule(params["Rule"], params)
        failed = [
            {"TargetId": one, "ErrorCode": "ResourceNotFoundException", "ErrorMessage": f"Target {one} does not exist."}
            for one in params["Ids"]
            if rule.targets.pop(one, None) is None
        ]
        return {"FailedEntryCount": len(failed), "FailedEntries": failed}

    def _list_targets(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"Targets": [dict(spec) for _, spec in self._rule(params["Rule"], params).targets.values()]}

    def _list_rules(self, params: Mapping[str, Any]) -> dict[str, Any]:
        rules = self._buses[self._bus_name(params)].values()
        prefix = params.get("NamePrefix", "")
        return {
            "Rules": [
                _described(rule) for rule in sorted(rules, key=lambda one: one.name) if rule.name.startswith(prefix)
            ]
        }

    def _delete_rule(self, params: Mapping[str, Any]) -> dict[str, Any]:
        rules = self._buses[self._bus_name(params)]
        rule = rules.get(params["Name"])
        if rule is not None:
            if rule.targets:
                raise ServiceError("ValidationException", "Rule can't be deleted since it has targets.")
            if rule.timer is not None:
                rule.timer.cancel()
            del rules[params["Name"]]
        return {}

    def _switch(self, params: Mapping[str, Any], enabled: bool) -> dict[str, Any]:
        self._rule(params["Name"], params).enabled = enabled
        return {}

    def _describe_bus(self, params: Mapping[str, Any]) -> dict[str, Any]:
        name = params.get("Name", "default").rsplit("/", 1)[-1]
        self._bus_name({"EventBusName": name})
        return {"Name": name, "Arn": f"arn:aws:events:{self._region}:{self._account_id}:event-bus/{name}"}

    def _test_pattern(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"Result": _pattern(params["EventPattern"]).matches_event(json.loads(params["Event"]))}

    def _bus_name(self, params: Mapping[str, Any]) -> str:
        name = params.get("EventBusName", "default").rsplit("/", 1)[-1]
        if name not in self._buses:
            raise ServiceError("ResourceNotFoundException", f"Event bus {name} does not exist.")
        return name

    def _rule(self, name: str, params: Mapping[str, Any]) -> Rule:
        bus = self._bus_name(params)
        rule = self._buses[bus].get(name)
        if rule is None:
            raise ServiceError("ResourceNotFoundException", f"Rule {name} does not exist on EventBus {bus}.")
        return rule

    _operations: Mapping[str, Callable[[EventBridgeService, Mapping[str, Any]], dict[str, Any]]] = {
        "PutEvents": _put_events,
        "PutRule": _put_rule,
        "DescribeRule": lambda self, params: _described(self._rule(params["Name"], params)),
        "ListRules": _list_rules,
        "DeleteRule": _delete_rule,
        "EnableRule": lambda self, params: self._switch(params, True),
        "DisableRule": lambda self, params: self._switch(params, False),
        "PutTargets": _put_targets,
        "RemoveTargets": _remove_targets,
        "ListTargetsByRule": _list_targets,
        "DescribeEventBus": _describe_bus,
        "TestEventPattern": _test_pattern,
    }


def scheduled_event(
    source: str, arn: str, due_s: float, *, account_id: str, region: str, number: int, detail: Any = None
) -> dict[str, Any]:
    """The event of a rule's or schedule's firing; `number` makes its id its own."""
    return {
        "version": "0",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{arn}/{number}")),
        "detail-type": "Scheduled Event",
        "source": source,
        "account": account_id,
        "time": f"{datetime.fromtimestamp(due_s, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "region": region,
        "resources": [arn],
        "detail": {} if detail is None else detail,
    }


def _entry_problem(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why PutEvents does not take one entry: (ErrorCode, ErrorMessage); None if it does."""
    for name in ("Source", "DetailType", "Detail"):
        if not entry.get(name):
            return "InvalidArgument", f"Parameter {name} is not valid. Reason: {name} is a required argument."
    if entry["Source"].lower().startswith("aws."):
        return "NotAuthorizedForSourceException", "Not authorized for the source."
    try:
        is_object = isinstance(json.loads(entry["Detail"]), dict)
    except json.JSONDecodeError:
        is_object = False
    if not is_object:
        return "MalformedDetail", "Detail is malformed."
    size = sum(len(str(entry.get(name, "")).encode()) for name in ("Source", "DetailType", "Detail"))
    if size > MAX_ENTRY_BYTES:
        return "InvalidArgument", f"Total size of the entry is greater than the maximum of {MAX_ENTRY_BYTES} bytes."
    return None


def _pattern(text: str) -> EventPattern:
    try:
        return EventPattern.load(text)
    except InvalidEventPatternException as problem:
        raise ServiceError("InvalidEventPatternException", str(problem.message)) from None


def _described(rule: Rule) -> dict[str, Any]:
    optional = {
        "EventPattern": rule.pattern_text,
        "ScheduleExpression": rule.schedule_text,
        "Description": rule.description,
        "RoleArn": rule.role_arn,
    }
    return {
        "Name": rule.name,
        "Arn": rule.arn,
        "State": "ENABLED" if rule.enabled else "DISABLED",
        "EventBusName": rule.bus,
    } | {key: value for key, value in optional.items() if value is not None}
