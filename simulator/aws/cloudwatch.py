"""CloudWatch: metrics with their publish delay, and alarms, on the virtual clock.

Sources: CloudWatch API reference (shapes, defaults, paging) and the files beside this one for what each part follows.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from simulator.aws import alarm_requests
from simulator.aws.alarm_evaluation import AlarmState
from simulator.aws.alarms import Alarm, AlarmBook, EmitEvent, RunAction, default_extra_periods
from simulator.aws.metric_queries import align, dimensions_of, parse_queries, run_queries, valid_statistic
from simulator.aws.metric_store import MetricStore, Sample, SeriesKey, series_key, statistic
from simulator.clock import VirtualClock
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

_MAX_STATISTICS_POINTS = 1440
_MAX_DATA_POINTS = 100_800


@dataclass(frozen=True)
class Publication:
    """One sample on its way into the store; what `tamper` may drop, change or repeat."""

    key: SeriesKey
    sample: Sample
    visible_at_s: float
    high_resolution: bool


class CloudWatchService:
    """Metrics and alarms of one account and region.

    `publish_delay_s` is the range of seconds between a sample's time and its visibility, drawn from `seed`. `billable`
    counts what AWS charges for: one per call, and for GetMetricData and GetMetricStatistics also one per metric read
    (`GetMetricData.metrics`). `tamper(publication)` may be set to an iterable-returning function to lose, repeat, change
    or delay samples.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        emit_event: EmitEvent,
        run_action: RunAction,
        seed: int = 0,
        account_id: str = "111122223333",
        region: str = "eu-west-1",
        publish_delay_s: tuple[float, float] = (2.0, 8.0),
        alarm_offset_s: tuple[float, float] = (0.2, 1.2),
        extra_periods: Callable[[int], int] = default_extra_periods,
    ) -> None:
        self._clock = clock
        self._account_id, self._region = account_id, region
        self._publish_delay_s = publish_delay_s
        self._rng = random.Random(f"cloudwatch/{seed}")
        self.metrics = MetricStore()
        self.alarms = AlarmBook(
            clock,
            self.metrics,
            account_id=account_id,
            region=region,
            emit_event=emit_event,
            run_action=run_action,
            offset_s=alarm_offset_s,
            extra_periods=extra_periods,
        )
        self.billable: Counter[str] = Counter()
        self.tamper: Callable[[Publication], Iterable[Publication]] | None = None

    def publish(
        self,
        namespace: str,
        metric: str,
        dimensions: Mapping[str, str],
        at_s: float,
        *,
        period_s: int,
        minimum: float,
        maximum: float,
        total: float,
        samples: float,
        unit: str = "None",
    ) -> None:
        """Report a period that began at `at_s` as an AWS service does: no API call, no charge, visible after the delay.

        `period_s` below 60 means high resolution. `unit` is not kept: the emulated account has one unit per metric.
        """
        key = series_key(namespace, metric, dimensions)
        self._publish(key, Sample(at_s, minimum, maximum, total, samples), period_s < 60)

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one API operation; raises ServiceError for a refusal, NotEmulated for an operation without body."""
        method = self._operations.get(operation)
        if method is None:
            raise NotEmulated(f"cloudwatch {operation} is not emulated")
        self.billable[operation] += 1
        return method(self, params)

    def tags_of(self, arn: str) -> dict[str, str] | None:
        """The tags of the alarm with that ARN; None if there is no such alarm."""
        alarm = self.alarms.alarms.get(arn.rsplit(":", 1)[-1])
        return alarm.tags if alarm is not None else None

    def _publish(self, key: SeriesKey, sample: Sample, high_resolution: bool) -> None:
        visible_at_s = max(sample.at_s, self._clock.now_s) + self._rng.uniform(*self._publish_delay_s)
        publication = Publication(key, sample, visible_at_s, high_resolution)
        for one in (publication,) if self.tamper is None else self.tamper(publication):
            self.metrics.add(one.key, one.sample, visible_at_s=one.visible_at_s, high_resolution=one.high_resolution)

    # Metrics

    def _put_metric_data(self, params: Mapping[str, Any]) -> dict[str, Any]:
        namespace = params["Namespace"]
        if namespace.startswith("AWS/"):
            raise ServiceError("InvalidParameterValue", f"The value {namespace} for parameter Namespace is invalid.")
        for entity in params.get("EntityMetricData", []):
            raise NotEmulated(f"cloudwatch PutMetricData EntityMetricData ({entity.get('Entity')}) is not emulated")
        for datum in params.get("MetricData", []):
            key = series_key(namespace, datum["MetricName"], dimensions_of(datum.get("Dimensions")))
            at_s = _seconds(datum["Timestamp"]) if "Timestamp" in datum else self._clock.now_s
            high_resolution = datum.get("StorageResolution", 60) == 1
            for sample in _samples(datum, at_s):
                self._publish(key, sample, high_resolution)
        return {}

    def _get_metric_data(self, params: Mapping[str, Any]) -> dict[str, Any]:
        start_s, end_s = int(_seconds(params["StartTime"])), int(_seconds(params["EndTime"]))
        if start_s >= end_s:
            raise ServiceError("ValidationError", "The parameter StartTime must be less than the parameter EndTime.")
        if len(params["MetricDataQueries"]) > 500:
            raise ServiceError(
                "ValidationError", "The collection MetricDataQueries must not have a size greater than 500."
            )
        queries = parse_queries(params["MetricDataQueries"])
        self.billable["GetMetricData.metrics"] += sum(query.stat is not None for query in queries)
        results = run_queries(queries, self.metrics, start_s=start_s, end_s=end_s, now_s=self._clock.now_s)
        newest_first = params.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        skip, room = int(params.get("NextToken") or 0), int(params.get("MaxDatapoints") or _MAX_DATA_POINTS)
        answers, position = [], 0
        for query in queries:
            if not query.returns_data:
                continue
            points = sorted(results[query.id].items(), reverse=newest_first)
            page = points[max(0, skip - position) : max(0, skip + room - position)]
            complete = position + len(points) <= skip + room
            position += len(points)
            answers.append(
                {
                    "Id": query.id,
                    "Label": query.label,
                    "Timestamps": [alarm_requests.at(start) for start, _ in page],
                    "Values": [value for _, value in page],
                    "StatusCode": "Complete" if complete else "PartialData",
                }
            )
        answer: dict[str, Any] = {"MetricDataResults": answers, "Messages": []}
        if position > skip + room:
            answer["NextToken"] = str(skip + room)
        return answer

    def _get_metric_statistics(self, params: Mapping[str, Any]) -> dict[str, Any]:
        period_s = int(params["Period"])
        start_s, end_s = int(_seconds(params["StartTime"])), int(_seconds(params["EndTime"]))
        if start_s >= end_s:
            raise ServiceError(
                "InvalidParameterValue", "The parameter StartTime must be less than the parameter EndTime."
            )
        if period_s not in (1, 5, 10, 20, 30) and (period_s < 60 or period_s % 60):
            raise ServiceError(
                "InvalidParameterValue", "The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60."
            )
        points = -(-(end_s - start_s) // period_s)
        if points > _MAX_STATISTICS_POINTS:
            raise ServiceError(
                "InvalidParameterCombination",
                f"You have requested up to {points:,} datapoints, which exceeds the limit of 1,440. You may reduce the "
                "datapoints requested by increasing Period, or decreasing the time range.",
            )
        names = [valid_statistic(name) for name in params.get("Statistics", [])]
        if "ExtendedStatistics" in params:
            raise NotEmulated("cloudwatch GetMetricStatistics ExtendedStatistics is not emulated")
        self.billable["GetMetricStatistics.metrics"] += 1
        key = series_key(params["Namespace"], params["MetricName"], dimensions_of(params.get("Dimensions")))
        series = self.metrics.series(key)
        begin = align(start_s, period_s)
        summaries = [] if series is None else series.summaries(begin, end_s, period_s, self._clock.now_s)
        datapoints = [
            {"Timestamp": alarm_requests.at(begin + slot * period_s), "Unit": params.get("Unit", "None")}
            | {name: statistic(summary, name) for name in names}
            for slot, summary in enumerate(summaries)
            if summary is not None
        ]
        return {"Label": params["MetricName"], "Datapoints": datapoints}

    def _list_metrics(self, params: Mapping[str, Any]) -> dict[str, Any]:
        wanted = [(one["Name"], one.get("Value")) for one in params.get("Dimensions", [])]

        def fits(key: SeriesKey) -> bool:
            namespace, name, dimensions = key
            have = dict(dimensions)
            return (
                params.get("Namespace", namespace) == namespace
                and params.get("MetricName", name) == name
                and all(one in have and value in (None, have[one]) for one, value in wanted)
            )

        found = [key for key in self.metrics.known(self._clock.now_s) if fits(key)]
        page, token = _page(found, params.get("NextToken"), 500)
        metrics = [
            {
                "Namespace": namespace,
                "MetricName": name,
                "Dimensions": [{"Name": one, "Value": value} for one, value in dimensions],
            }
            for namespace, name, dimensions in page
        ]
        return {"Metrics": metrics, **token}

    # Alarms

    def _put_metric_alarm(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self.alarms.put(
            alarm_requests.metric_alarm(params, arn=self._arn(params["AlarmName"]), now_s=self._clock.now_s)
        )
        return {}

    def _put_composite_alarm(self, params: Mapping[str, Any]) -> dict[str, Any]:
        alarm = alarm_requests.composite_alarm(params, arn=self._arn(params["AlarmName"]), now_s=self._clock.now_s)
        known = self.alarms.alarms.keys() | {one.arn for one in self.alarms.alarms.values()}
        unknown = sorted(alarm.composite.children - known) if alarm.composite else []
        if unknown:
            raise ServiceError("ValidationError", f"AlarmRule contains an alarm that does not exist: {unknown[0]}")
        self.alarms.put(alarm)
        return {}

    def _describe_alarms(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if "AlarmNames" in params and "AlarmNamePrefix" in params:
            raise ServiceError("ValidationError", "AlarmNames and AlarmNamePrefix are mutually exclusive.")
        for name in ("ChildrenOfAlarmName", "ParentsOfAlarmName"):
            if name in params:
                raise NotEmulated(f"cloudwatch DescribeAlarms {name} is not emulated")
        types = params.get("AlarmTypes", ["MetricAlarm"])
        names = params.get("AlarmNames")
        alarms = [
            alarm
            for name, alarm in sorted(self.alarms.alarms.items())
            if (names is None or name in names)
            and name.startswith(params.get("AlarmNamePrefix", ""))
            and params.get("StateValue", str(alarm.state)) == str(alarm.state)
            and any(arn.startswith(params.get("ActionPrefix", "")) for arn in _actions(alarm, "ActionPrefix" in params))
            and ("MetricAlarm" if alarm.composite is None else "CompositeAlarm") in types
        ]
        page, token = _page(alarms, params.get("NextToken"), params.get("MaxRecords", 50))
        return {
            "CompositeAlarms": [alarm_requests.described(one) for one in page if one.composite is not None],
            "MetricAlarms": [alarm_requests.described(one) for one in page if one.composite is None],
            **token,
        }

    def _describe_alarm_history(self, params: Mapping[str, Any]) -> dict[str, Any]:
        start_s = _seconds(params["StartDate"]) if "StartDate" in params else float("-inf")
        end_s = _seconds(params["EndDate"]) if "EndDate" in params else float("inf")
        types = params.get("AlarmTypes", ["MetricAlarm"])
        items = [
            item
            for item in self.alarms.history
            if params.get("AlarmName", item.alarm_name) == item.alarm_name
            and params.get("HistoryItemType", item.kind) == item.kind
            and item.alarm_type in types
            and start_s <= item.at_s <= end_s
        ]
        if params.get("ScanBy", "TimestampDescending") == "TimestampDescending":
            items.reverse()
        page, token = _page(items, params.get("NextToken"), params.get("MaxRecords", 100))
        listed = [
            {
                "AlarmName": item.alarm_name,
                "AlarmType": item.alarm_type,
                "Timestamp": alarm_requests.at(item.at_s),
                "HistoryItemType": item.kind,
                "HistorySummary": item.summary,
                "HistoryData": item.data,
            }
            for item in page
        ]
        return {"AlarmHistoryItems": listed, **token}

    def _set_alarm_state(self, params: Mapping[str, Any]) -> dict[str, Any]:
        data = params.get("StateReasonData")
        if data is not None:
            try:
                json.loads(data)
            except json.JSONDecodeError:
                raise ServiceError("InvalidFormat", "StateReasonData is not valid JSON.") from None
        alarm = self._alarm(params["AlarmName"])
        self.alarms.set_state(alarm, AlarmState(params["StateValue"]), params["StateReason"], data)
        return {}

    def _delete_alarms(self, params: Mapping[str, Any]) -> dict[str, Any]:
        names = [name for name in params["AlarmNames"] if name in self.alarms.alarms]
        if not names and len(params["AlarmNames"]) == 1:
            raise ServiceError("ResourceNotFound", f"Unknown alarm {params['AlarmNames'][0]}", 404)
        for name in names:
            self.alarms.delete(name)
        return {}

    def _switch_actions(self, params: Mapping[str, Any], enabled: bool) -> dict[str, Any]:
        for name in params["AlarmNames"]:
            alarm = self.alarms.alarms.get(name)
            if alarm is not None:
                alarm.parameters["ActionsEnabled"] = enabled
        return {}

    def _tags(self, params: Mapping[str, Any]) -> dict[str, str]:
        tags = self.tags_of(params["ResourceARN"])
        if tags is None:
            raise ServiceError("ResourceNotFoundException", f"Unknown resource {params['ResourceARN']}", 404)
        return tags

    def _tag_resource(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self._tags(params).update({tag["Key"]: tag["Value"] for tag in params["Tags"]})
        return {}

    def _untag_resource(self, params: Mapping[str, Any]) -> dict[str, Any]:
        for key in params["TagKeys"]:
            self._tags(params).pop(key, None)
        return {}

    def _list_tags(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"Tags": [{"Key": key, "Value": value} for key, value in sorted(self._tags(params).items())]}

    def _alarm(self, name: str) -> Alarm:
        alarm = self.alarms.alarms.get(name)
        if alarm is None:
            raise ServiceError("ResourceNotFound", f"Unknown alarm {name}", 404)
        return alarm

    def _arn(self, alarm_name: str) -> str:
        return f"arn:aws:cloudwatch:{self._region}:{self._account_id}:alarm:{alarm_name}"

    _operations: Mapping[str, Callable[[CloudWatchService, Mapping[str, Any]], dict[str, Any]]] = {
        "PutMetricData": _put_metric_data,
        "GetMetricData": _get_metric_data,
        "GetMetricStatistics": _get_metric_statistics,
        "ListMetrics": _list_metrics,
        "PutMetricAlarm": _put_metric_alarm,
        "PutCompositeAlarm": _put_composite_alarm,
        "DescribeAlarms": _describe_alarms,
        "DescribeAlarmHistory": _describe_alarm_history,
        "SetAlarmState": _set_alarm_state,
        "DeleteAlarms": _delete_alarms,
        "EnableAlarmActions": lambda self, params: self._switch_actions(params, True),
        "DisableAlarmActions": lambda self, params: self._switch_actions(params, False),
        "TagResource": _tag_resource,
        "UntagResource": _untag_resource,
        "ListTagsForResource": _list_tags,
    }


def _actions(alarm: Alarm, asked: bool) -> list[str]:
    """ARNs of all actions of the alarm; any text will do if nobody asks."""
    kinds = ("AlarmActions", "OKActions", "InsufficientDataActions")
    return [arn for kind in kinds for arn in alarm.parameters.get(kind, [])] if asked else [""]


def delayed(publication: Publication, by_s: float) -> Publication:
    """The same sample, visible `by_s` seconds later: for `tamper`."""
    return replace(publication, visible_at_s=publication.visible_at_s + by_s)


def _samples(datum: Mapping[str, Any], at_s: float) -> Iterable[Sample]:
    if "StatisticValues" in datum:
        one = datum["StatisticValues"]
        yield Sample(at_s, one["Minimum"], one["Maximum"], one["Sum"], one["SampleCount"])
    elif "Values" in datum:
        counts = datum.get("Counts") or [1.0] * len(datum["Values"])
        if len(counts) != len(datum["Values"]):
            raise ServiceError("InvalidParameterValue", "The Values and Counts arrays must have the same size.")
        for value, count in zip(datum["Values"], counts, strict=True):
            yield Sample(at_s, value, value, value * count, count)
    elif "Value" in datum:
        yield Sample.of(datum["Value"], at_s)
    else:
        raise ServiceError(
            "InvalidParameterCombination", "At least one of Value, Values or StatisticValues is required."
        )


def _seconds(when: Any) -> float:
    """Seconds since the epoch of what botocore lets through as a timestamp."""
    if isinstance(when, datetime):
        return when.timestamp()
    if isinstance(when, str):
        return datetime.fromisoformat(when).timestamp()
    return float(when)


def _page(items: list[Any], token: str | None, size: int) -> tuple[list[Any], dict[str, str]]:
    """One page and, if there is more, `{"NextToken": …}`."""
    first = int(token or 0)
    page = items[first : first + size]
    return page, {"NextToken": str(first + size)} if first + size < len(items) else {}
