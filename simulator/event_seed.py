"""Make the emulated account look as an alarm event says it does: its datapoints, and the alarm in that state.

An event is only a hint to the product, which re-reads metrics and alarms. So that invoking a handler with a test event
shows what would happen in such an account, the account is first put into the situation the event tells of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from quickstep.events import WAKE_REQUESTED
from simulator.account import EmulatedAccount
from simulator.aws.alarm_evaluation import AlarmState

QUIET_S = 900.0
"""Length of the quiet history before the event's own datapoints."""
SUM_METRICS = ("NoCapacityInvocationFailures",)


def seed_account(account: EmulatedAccount, event: Mapping[str, Any]) -> list[str]:
    """Publish the event's datapoints and set its alarm; return what was done, in words. Other events need nothing."""
    detail = event.get("detail")
    if not isinstance(detail, Mapping) or "configuration" not in detail or "state" not in detail:
        return []
    done = []
    metrics = detail["configuration"].get("metrics") or []
    stat = next((m["metricStat"] for m in metrics if "metricStat" in m), None)
    values = _datapoints(detail["state"])
    if stat is not None and values:
        _publish(account, stat, values)
        done.append(
            f"{stat['metric']['name']}: {len(values)} datapoints of {stat['period']} s, the last is {values[-1]:g}"
        )
    alarm = account.cloudwatch.alarms.alarms.get(detail.get("alarmName", ""))
    state = detail["state"].get("value")
    if alarm is not None and state in AlarmState.__members__:
        alarm.state, alarm.state_at_s = AlarmState[state], account.clock.now_s
        done.append(f"alarm {alarm.name} is in {state}")
    return done


def seed_sleep(account: EmulatedAccount, event: Mapping[str, Any], component: str) -> list[str]:
    """Put the component at zero copies if the event tells of requests that found none; return what was done."""
    if component not in account.sagemaker.world.components:
        return []
    detail = event.get("detail")
    metrics = detail.get("configuration", {}).get("metrics", []) if isinstance(detail, Mapping) else []
    names = {m["metricStat"]["metric"]["name"] for m in metrics if "metricStat" in m}
    if event.get("detail-type") != WAKE_REQUESTED and not names & set(SUM_METRICS):
        return []
    request = {"InferenceComponentName": component, "DesiredRuntimeConfig": {"CopyCount": 0}}
    account.sagemaker.call("UpdateInferenceComponentRuntimeConfig", request, actor="foreign")
    return [f"component {component} has no copies"]


def _datapoints(state: Mapping[str, Any]) -> list[float]:
    try:
        found = json.loads(state.get("reasonData") or "{}").get("recentDatapoints") or []
    except json.JSONDecodeError:
        return []
    return [float(v) for v in found if isinstance(v, int | float)]


def _publish(account: EmulatedAccount, stat: Mapping[str, Any], values: list[float]) -> None:
    metric, period_s = stat["metric"], int(stat["period"])
    name = metric["name"]
    end_s = account.clock.now_s // period_s * period_s
    quiet = [] if name in SUM_METRICS else [min(values) / 4] * int(QUIET_S // period_s)
    series = quiet + values
    for i, value in enumerate(series):
        at_s = end_s - (len(series) - i) * period_s
        account.cloudwatch.publish(
            metric["namespace"],
            name,
            metric["dimensions"],
            at_s,
            period_s=period_s,
            minimum=value,
            maximum=value,
            total=value,
            samples=1.0,
            unit="Count",
        )
