"""Reconcile: once a minute, find what needs a look although no event came, and see that a loop runs for it.

It makes no write to SageMaker and reads no metered metric: one page of alarm states per hundred alarms in ALARM, and one
query for what is due. Alarm writes that the API left are carried out, and alarms that were made for step policies are
bound. So a lost event costs at most a minute, and a quiet component costs next to nothing.
"""

from __future__ import annotations

from typing import Any

from quickstep import clock, telemetry
from quickstep.control.binding import notice_bound_alarms
from quickstep.control.chores import drain_alarm_writes
from quickstep.control.context import ControlContext
from quickstep.errors import AwsRefused
from quickstep.gateways import cloudwatch
from quickstep.gateways.registry import Registry
from quickstep.gateways.registry_control import ControlRegistry
from quickstep.settings import Settings
from quickstep.usecases import loop as loops
from quickstep.usecases.registration import ensure_default_target

OVERLAP_S = 30.0
"""Alarms that changed shortly before the last reconciliation are looked at again: clocks and Describe calls lag."""
FIRST_WINDOW_S = 300.0
BATCH = 100
"""Loops started by one reconciliation at most; what is left over is still due a minute later. A thousand quiet endpoints are
looked at every 15 minutes, 67 a minute."""
PATIENCE_S = 12.0
"""Of the function's 20 s: after so long no further loop is started, so that slow answers cost a minute and not the run."""


def reconcile(*, registry: Registry, settings: Settings) -> dict[str, Any]:
    """Poke every endpoint that is due, whose alarm changed lately, or whose loop went silent; return what was found."""
    now_s = clock.now_s()
    ensure_default_target(registry, settings)
    changed, unread = _changed_lately(registry, settings, now_s)
    overdue = registry.due(now_s, limit=BATCH)
    endpoints = list(dict.fromkeys([*(loop.endpoint for loop in overdue), *changed]))[:BATCH]
    drained = drain_alarm_writes(ControlRegistry(settings.table_name), registry)
    started, failed = [], []
    for number, endpoint in enumerate(endpoints):
        if clock.now_s() - now_s > PATIENCE_S:
            telemetry.logger().warning("out of time", extra={"left": len(endpoints) - number})
            break
        try:
            registry.poke(endpoint)
            if loops.ensure_running(endpoint, registry=registry, settings=settings) is not None:
                started.append(endpoint)
        except AwsRefused as error:
            # One endpoint that cannot be started must not keep the others waiting; it stays due.
            failed.append(endpoint)
            telemetry.logger().warning("cannot start a loop", extra={"endpoint": endpoint, "error": str(error)})
    return {
        "outcome": "reconciled",
        "due": [loop.endpoint for loop in overdue],
        "alarms_changed": changed,
        "started": started,
        "failed": failed,
        "unread": unread,
        "chores": {"done": drained.done, "waiting": drained.waiting},
    }


def _changed_lately(registry: Registry, settings: Settings, now_s: float) -> tuple[list[str], list[str]]:
    """Endpoints whose alarm went into ALARM since the last reconciliation: their event may have been lost."""
    before_s = registry.swap_watermark(now_s)
    since_s = (before_s if before_s is not None else now_s - FIRST_WINDOW_S) - OVERLAP_S
    try:
        alarms = cloudwatch.alarms_in_alarm(settings.alarm_prefix)
        context = ControlContext.of(settings, f"reconcile-{now_s:.0f}")
        found = list(notice_bound_alarms(context, since_s=since_s))
    except AwsRefused as error:
        telemetry.logger().warning("cannot read alarm states", extra={"error": str(error)})
        return [], [str(error)]
    for alarm in alarms:
        if alarm.since_s >= since_s:
            where = registry.find_by_alarm(alarm.name)
            if where is not None and where[0] not in found:
                found.append(where[0])
    return found, []
