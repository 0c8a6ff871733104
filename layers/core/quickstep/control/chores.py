"""What the API leaves to be done: alarm writes at no more than one a second, and endpoints to forget.

CloudWatch takes three PutMetricAlarm a second from the whole account, and whoever imports a thousand components asks for
thousands. So an alarm write is first kept in the registry, then carried out at once if the rate allows it, and
otherwise by Reconcile, minute by minute, until none is left. A write that is cut off is still there for the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quickstep import clock, telemetry
from quickstep.errors import AwsRefused, LeaseHeld, Rejected
from quickstep.gateways import alarms
from quickstep.gateways.registry import Registry
from quickstep.gateways.registry_control import ControlRegistry
from quickstep.model.registration import Chore, PolicyRecord, Registration

BURST = 30
"""Alarm writes that may have been saved up, one a second."""
DELETED_AT_ONCE = 100
"""The most alarms of one DeleteAlarms."""
CLAIM_S = 60.0
"""Longer than one write can take: connect 2 s, read 5 s, three attempts with pauses."""
LEASE_S = 30.0


@dataclass(frozen=True, slots=True)
class Drained:
    """What one round has done."""

    done: int
    waiting: int
    """Chores that were seen and are still to be done; there may be more."""
    refused: tuple[str, ...] = ()
    """What CloudWatch said to alarms that it will never take; they were given up."""


def alarm_chores(
    before: PolicyRecord | Registration | None, after: Mapping[str, Mapping[str, Any]], *, now_s: float
) -> tuple[Chore, ...]:
    """The writes that turn the alarms of `before` into those of `after` (name → PutMetricAlarm request).

    Alarms of a record that is not settled are all written again: nobody knows which of them are there.
    """
    have = before.alarms if before is not None else {}
    known = have if before is not None and before.settled else {}
    gone = [Chore("delete_alarm", name, {}, now_s) for name in sorted(set(have) - set(after))]
    new = [
        Chore("put_alarm", name, request, now_s)
        for name, request in sorted(after.items())
        if known.get(name) != request
    ]
    return (*gone, *new)


def submit(records: ControlRegistry, registry: Registry, chores: Sequence[Chore]) -> Drained:
    """Keep `chores`, then do as many of them as the rate allows now."""
    kept = tuple(records.queue_chore(chore) for chore in chores)
    return _carry_out(records, registry, kept, budget=len(kept))


def drain_alarm_writes(records: ControlRegistry, registry: Registry, *, budget: int = BURST) -> Drained:
    """Do at most `budget` of the chores that wait. Called by Reconcile every minute; never raises for a refusal.

    Alarms are deleted up to a hundred in one call, which counts as one write.
    """
    return _carry_out(records, registry, records.queued_chores(limit=100), budget=budget)


def _carry_out(records: ControlRegistry, registry: Registry, chores: Sequence[Chore], *, budget: int) -> Drained:
    now_s, done, refused = clock.now_s(), 0, []
    deletions = [chore for chore in chores if chore.kind == "delete_alarm"]
    rounds = [deletions[first : first + DELETED_AT_ONCE] for first in range(0, len(deletions), DELETED_AT_ONCE)]
    rounds += [[chore] for chore in chores if chore.kind != "delete_alarm"]
    for group in rounds:
        writes_alarms = group[0].kind != "forget_endpoint"
        if budget <= 0 or (writes_alarms and not records.take_write(now_s=now_s, burst=BURST)):
            break
        budget -= writes_alarms
        claimed = [chore for chore in group if records.claim_chore(chore, now_s=now_s, ttl_s=CLAIM_S)]
        if not claimed:
            continue
        try:
            is_done = _do(records, registry, claimed)
        except Rejected as error:
            # It will not succeed unchanged: say so, and do not try for ever.
            refused.append(str(error))
            _warn("an alarm write was refused for good", claimed[0], error)
            telemetry.count("AlarmWriteRefused")
            is_done = True
        except AwsRefused as error:
            _warn("an alarm write has to wait", claimed[0], error)
            _give_back(records, claimed)
            break
        if is_done:
            done += len(claimed)
            for chore in claimed:
                records.finish_chore(chore)
        else:
            _give_back(records, claimed)
    return Drained(done, len(chores) - done, tuple(refused))


def _give_back(records: ControlRegistry, chores: Sequence[Chore]) -> None:
    for chore in chores:
        records.release_chore(chore)


def _warn(message: str, chore: Chore, error: Exception) -> None:
    telemetry.logger().warning(message, extra={"chore": f"{chore.kind} {chore.name}", "error": str(error)})


def _do(records: ControlRegistry, registry: Registry, chores: Sequence[Chore]) -> bool:
    """Do chores of one kind; False if they have to wait."""
    kind = chores[0].kind
    if kind == "delete_alarm":
        alarms.delete_alarms([chore.name for chore in chores])
        return True
    if kind == "put_alarm":
        alarms.put_alarm(chores[0].request)
        return True
    return _forget(records, registry, chores[0].name)


def _forget(records: ControlRegistry, registry: Registry, endpoint: str) -> bool:
    """Delete what is remembered about an endpoint without targets. Only while nobody looks at it: under its lease."""
    now_s = clock.now_s()
    try:
        lease = registry.acquire_lease(endpoint, holder="forget", now_s=now_s, ttl_s=LEASE_S)
    except LeaseHeld:
        return False
    if registry.read_endpoint(endpoint).targets:
        registry.release_lease(lease)
    else:
        records.forget_endpoint(endpoint)
    return True
