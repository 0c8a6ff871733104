"""How an event gets to a target of EventBridge or EventBridge Scheduler: late, again if it must, or to a dead-letter queue.

EventBridge user guide, "Retry policy and dead-letter queues": retriable errors are tried again with exponential
back-off and jitter until MaximumRetryAttempts (default 185) or MaximumEventAgeInSeconds (default 24 h); a target that
is missing or not permitted goes to the queue at once. Delivery is at least once and unordered.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from simulator.clock import RANK_DELIVERY, VirtualClock
from simulator.errors import ServiceError

MAX_ATTEMPTS = 185
MAX_AGE_S = 86_400
_FINAL = {
    "AccessDeniedException": "NO_PERMISSIONS",
    "AccessDenied": "NO_PERMISSIONS",
    "ResourceNotFoundException": "NO_RESOURCE",
    "StateMachineDoesNotExist": "NO_RESOURCE",
    "QueueDoesNotExist": "NO_RESOURCE",
    "ExecutionAlreadyExists": "ExecutionAlreadyExists",
}
"""Errors that another try cannot cure, with the ERROR_CODE they get in the dead-letter queue."""


@dataclass(frozen=True)
class Target:
    """Where a rule or schedule sends to, and how hard it tries.

    `shape` turns the event into the target's payload. `service` is the principal that calls the target.
    """

    id: str
    arn: str
    service: str
    role_arn: str | None = None
    max_attempts: int = MAX_ATTEMPTS
    max_age_s: int = MAX_AGE_S
    dead_letter_arn: str | None = None
    shape: Callable[[Mapping[str, Any]], Any] = field(default=lambda event: event)


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one target; what `tamper` may drop, repeat, change or delay.

    `source_arn` is the rule or schedule, `delay_s` the seconds until the first attempt.
    """

    event: Mapping[str, Any]
    target: Target
    source_arn: str
    delay_s: float


Send = Callable[[Target, str, Any], None]
"""`send(target, source_arn, payload)`; raises ServiceError if the target does not take it."""


class Deliverer:
    """Carries deliveries to their targets on the virtual clock.

    `tamper` and `fail` are knobs for tests: `tamper(delivery)` returns the deliveries to make instead; `fail(delivery,
    attempt)` the ServiceError of an attempt that is to fail (attempts count from 1), None to let it through.
    `undelivered` lists every delivery that was given up, with its error code, and every dead letter that was refused.
    `send` and `send_dead_letter` raise ServiceError if the target or queue does not take it.
    """

    def __init__(
        self,
        clock: VirtualClock,
        send: Send,
        send_dead_letter: Callable[[Target, str, str, Mapping[str, str]], None],
        *,
        seed: int = 0,
        delay_s: tuple[float, float] = (0.1, 0.6),
    ) -> None:
        self._clock, self._send, self._send_dead_letter = clock, send, send_dead_letter
        self._rng = random.Random(f"delivery/{seed}")
        self._delay_s = delay_s
        self.tamper: Callable[[Delivery], Iterable[Delivery]] | None = None
        self.fail: Callable[[Delivery, int], ServiceError | None] | None = None
        self.undelivered: list[tuple[Delivery, str]] = []

    def deliver(self, event: Mapping[str, Any], target: Target, source_arn: str) -> None:
        """Start bringing `event` to `target`."""
        delivery = Delivery(event, target, source_arn, self._rng.uniform(*self._delay_s))
        for one in (delivery,) if self.tamper is None else self.tamper(delivery):
            self._try_in(one.delay_s, one, 1, self._clock.now_s)

    def _try_in(self, delay_s: float, delivery: Delivery, attempt: int, since_s: float) -> None:
        self._clock.after(
            delay_s,
            lambda: self._attempt(delivery, attempt, since_s),
            rank=RANK_DELIVERY,
            label=f"{delivery.source_arn} -> {delivery.target.arn}",
        )

    def _attempt(self, delivery: Delivery, attempt: int, since_s: float) -> None:
        target = delivery.target
        problem = None if self.fail is None else self.fail(delivery, attempt)
        if problem is None:
            try:
                self._send(target, delivery.source_arn, target.shape(delivery.event))
                return
            except ServiceError as refused:
                problem = refused
        if problem.code in _FINAL:
            self._give_up(delivery, attempt, problem, None)
            return
        backoff_s = min(300.0, 2.0 ** min(attempt - 1, 9)) * self._rng.uniform(0.5, 1.0)
        if attempt > target.max_attempts:
            self._give_up(delivery, attempt, problem, "MaximumRetryAttempts")
        elif self._clock.now_s + backoff_s - since_s > target.max_age_s:
            self._give_up(delivery, attempt, problem, "MaximumEventAgeInSeconds")
        else:
            self._try_in(backoff_s, delivery, attempt + 1, since_s)

    def _give_up(self, delivery: Delivery, attempt: int, problem: ServiceError, exhausted: str | None) -> None:
        code = _FINAL.get(problem.code, problem.code)
        self.undelivered.append((delivery, code))
        target = delivery.target
        if target.dead_letter_arn is None:
            return
        attributes = {
            "ERROR_CODE": code,
            "ERROR_MESSAGE": problem.message,
            "RULE_ARN" if ":rule/" in delivery.source_arn else "SCHEDULE_ARN": delivery.source_arn,
            "RETRY_ATTEMPTS": str(attempt - 1),
            "TARGET_ARN": target.arn,
        }
        if exhausted is not None:
            attributes["EXHAUSTED_RETRY_CONDITION"] = exhausted
        body = json.dumps(delivery.event, separators=(",", ":"))
        try:
            self._send_dead_letter(target, delivery.source_arn, body, attributes)
        except ServiceError as refused:
            # AWS drops the event then (metric InvocationsFailedToBeSentToDlq).
            self.undelivered.append((delivery, f"dead-letter queue: {refused}"))


def later(delivery: Delivery, by_s: float) -> Delivery:
    """The same delivery, `by_s` seconds later: for `tamper`."""
    return replace(delivery, delay_s=delivery.delay_s + by_s)


def shaper(spec: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Any]:
    """What a target does to the event: Input, InputPath or InputTransformer of PutTargets; unchanged without them."""
    if "Input" in spec:
        constant = json.loads(spec["Input"])
        return lambda event: constant
    if "InputPath" in spec:
        return lambda event: _at_path(event, spec["InputPath"])
    if "InputTransformer" in spec:
        paths = spec["InputTransformer"].get("InputPathsMap", {})
        template = spec["InputTransformer"]["InputTemplate"]
        return lambda event: _fill(template, {name: _at_path(event, path) for name, path in paths.items()}, event)
    return lambda event: event


def _fill(template: str, values: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
    values = {**values, "aws.events.event": event, "aws.events.event.json": event}

    def put_in(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in values:
            return match.group()
        value = values[name]
        if isinstance(value, str):
            text = json.dumps(value)
            # Inside quotes a variable is text; alone it is a JSON value.
            return text[1:-1] if _inside_string(template, match.start()) else text
        return json.dumps(value, separators=(",", ":"))

    text = re.sub(r"<([A-Za-z0-9_.\-]+)>", put_in, template)
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _inside_string(template: str, position: int) -> bool:
    before = template[:position].replace('\\"', "")
    return before.count('"') % 2 == 1


def _at_path(event: Mapping[str, Any], path: str) -> Any:
    """`$.detail.name` and `$.resources[0]`; None where there is nothing."""
    value: Any = event
    for name, index in re.findall(r"\.([A-Za-z0-9_\-]+)|\[(\d+)\]", path[1:]):
        if index:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, Mapping) else None
    return value
