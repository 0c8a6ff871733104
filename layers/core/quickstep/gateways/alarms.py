"""Amazon CloudWatch: making and deleting the alarms of scaling policies, and what other people's alarms look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quickstep.gateways.aws import client
from quickstep.gateways.cloudwatch import ALARMS_PER_CALL
from quickstep.gateways.refusals import translated
from quickstep.gateways.sagemaker import seconds

POLICY_TAG = "quickstep:policy"
"""A user's alarm with this tag triggers the step policy that it names: `<resource id>/<policy name>`."""


@dataclass(frozen=True, slots=True)
class WatchedAlarm:
    """An alarm of somebody's, as far as binding a policy to it needs."""

    name: str
    arn: str
    threshold: float | None
    """None for an alarm that has no one plain threshold: composite, anomaly, PromQL."""
    above: bool
    metric_name: str | None
    """None for metric math."""
    is_ringing: bool
    """It is in ALARM."""
    since_s: float
    actions: tuple[str, ...]


def put_alarm(request: Mapping[str, Any]) -> None:
    """Create or replace one metric alarm; `request` is PutMetricAlarm's. The SDK repeats it: it is the same each time.

    Raises the errors of `refusals`, `Throttled` among them (three calls per second and account).
    """
    with translated(f"put alarm {request['AlarmName']}"):
        client("cloudwatch").put_metric_alarm(**request)


def delete_alarms(names: Sequence[str]) -> None:
    """Delete alarms, at most a hundred at once; those that do not exist are no error.

    One name that does not exist makes CloudWatch delete none (DeleteAlarms, API reference): then only those that do are
    deleted.
    """
    cloudwatch = client("cloudwatch")
    with translated(f"delete {len(names)} alarms, the first {names[0]}"):
        try:
            cloudwatch.delete_alarms(AlarmNames=sorted(names))
            return
        except cloudwatch.exceptions.ResourceNotFound:
            pass
    there = [alarm.name for alarm in watched_alarms(names)]
    if there:
        with translated(f"delete {len(there)} alarms, the first {there[0]}"):
            cloudwatch.delete_alarms(AlarmNames=there)


def watched_alarms(names: Iterable[str]) -> tuple[WatchedAlarm, ...]:
    """The alarms called `names`, sorted by name; those that do not exist are absent."""
    wanted = sorted(set(names))
    found: list[WatchedAlarm] = []
    for first in range(0, len(wanted), ALARMS_PER_CALL):
        found.extend(_described({"AlarmNames": wanted[first : first + ALARMS_PER_CALL]}, f"alarms {wanted[0]}, …"))
    return tuple(sorted(found, key=lambda alarm: alarm.name))


def alarms_with_action(prefix: str) -> tuple[WatchedAlarm, ...]:
    """Every alarm with an action whose ARN begins with `prefix`, sorted by name."""
    found = _described({"ActionPrefix": prefix}, f"alarms with the action {prefix}*")
    return tuple(sorted(found, key=lambda alarm: alarm.name))


def alarm_tags(arn: str) -> Mapping[str, str]:
    """The tags of an alarm."""
    with translated(f"read the tags of {arn}"):
        answer = client("cloudwatch").list_tags_for_resource(ResourceARN=arn)
    return {tag["Key"]: tag["Value"] for tag in answer.get("Tags") or ()}


def _described(request: dict[str, Any], what: str) -> Iterator[WatchedAlarm]:
    request = {**request, "AlarmTypes": ["MetricAlarm", "CompositeAlarm"], "MaxRecords": ALARMS_PER_CALL}
    with translated(f"describe {what}"):
        while True:
            page = client("cloudwatch").describe_alarms(**request)
            for row in (*(page.get("MetricAlarms") or ()), *(page.get("CompositeAlarms") or ())):
                yield _watched(row)
            if not page.get("NextToken"):
                return
            request = {**request, "NextToken": page["NextToken"]}


def _watched(row: Mapping[str, Any]) -> WatchedAlarm:
    threshold = row.get("Threshold")
    return WatchedAlarm(
        name=row["AlarmName"],
        arn=row.get("AlarmArn") or "",
        threshold=None if threshold is None else float(threshold),
        above=not str(row.get("ComparisonOperator", "")).startswith("Less"),
        metric_name=row.get("MetricName"),
        is_ringing=row.get("StateValue") == "ALARM",
        since_s=seconds(row.get("StateTransitionedTimestamp")) or seconds(row.get("StateUpdatedTimestamp")) or 0.0,
        actions=tuple(row.get("AlarmActions") or ()),
    )
