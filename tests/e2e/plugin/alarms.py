"""Alarms: MiniStack stores them and answers for them, our evaluator decides their state.

MiniStack's own evaluation takes neither dimensions nor M of N nor missing data into account, looks only when a metric is
put, and tells SNS but not EventBridge (services/cloudwatch.py, `_evaluate_alarm`). So it is switched off; every alarm
that MiniStack holds is mirrored into the alarm book of the emulated account, whose transitions are written back before
the event goes out. Metrics go both ways: SageMaker's become visible to GetMetricData when CloudWatch would show them,
and what MiniStack itself measures (queues, functions, PutMetricData) reaches our evaluator.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from ministack.services import cloudwatch as theirs
from ministack.services import eventbridge
from ministack.services.cloudformation import provisioners
from world import World

from simulator.aws.cloudwatch import Publication
from simulator.aws.metric_store import Sample, series_key
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

STATE_CHANGE = "CloudWatch Alarm State Change"
_MATH = "(metric math)"
_OPTIONAL = ("AlarmDescription", "DatapointsToAlarm", "Dimensions", "TreatMissingData", "ExtendedStatistic")
_ACTIONS = ("AlarmActions", "OKActions", "InsufficientDataActions")

logger = logging.getLogger("quickstep.alarms")


class AlarmBridge:
    """Keeps MiniStack's alarms and metrics, and ours, the same."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._mirrored: dict[str, dict[str, Any]] = {}
        """Alarm name -> the PutMetricAlarm request that our book has."""
        self._state: dict[str, str] = {}
        """Alarm name -> the state that was last written into MiniStack."""
        self._taken: dict[tuple[Any, ...], int] = {}
        """Series of MiniStack -> how many of its points our store has."""
        self._math: dict[str, list[dict[str, Any]]] = {}
        self.not_evaluated: dict[str, str] = {}
        """Alarms that keep INSUFFICIENT_DATA, and why."""

    def connect(self, world: World) -> None:
        """Take over from MiniStack's evaluation."""
        self._world = world
        world.cloudwatch.tamper = self._publish
        theirs._evaluate_alarm = lambda alarm: None
        record = provisioners._cw_metric_alarm_record
        provisioners._cw_metric_alarm_record = lambda name, props: self._record(record, name, props)

    def catch_up(self) -> None:
        """Mirror what was put or deleted since the last time, states set by hand, and metrics of MiniStack's own."""
        world = self._connected()
        self._take_metrics()
        present = dict(theirs._alarms.items())
        for name in sorted(self._mirrored.keys() - present.keys()):
            del self._mirrored[name]
            self._state.pop(name, None)
            world.cloudwatch.call("DeleteAlarms", {"AlarmNames": [name]})
        for name, record in sorted(present.items()):
            request = self._request(record)
            if self._mirrored.get(name) != request and name not in self.not_evaluated:
                try:
                    world.cloudwatch.call("PutMetricAlarm", request)
                except (ServiceError, NotEmulated) as problem:
                    self.not_evaluated[name] = str(problem)
                    logger.warning("alarm %s is not evaluated: %s", name, problem)
                    continue
                self._mirrored[name] = request
                self._state.setdefault(name, record["StateValue"])
            elif name in self._state and record["StateValue"] != self._state[name]:
                self._state[name] = record["StateValue"]
                by_hand = {"AlarmName": name, "StateValue": record["StateValue"], "StateReason": record["StateReason"]}
                world.cloudwatch.call("SetAlarmState", by_hand)

    def emit(self, source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
        """An event of AWS itself, on the default bus; for an alarm MiniStack's record is changed first."""
        if detail_type == STATE_CHANGE:
            self._write_back(detail)
        entry = {"Source": source, "DetailType": detail_type, "Detail": json.dumps(detail), "Resources": resources}
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)

    def act(self, action_arn: str, alarm: Any, previous: dict[str, Any]) -> None:
        """Do one alarm action. MiniStack does those of SNS; all of one alarm go out together, at the first."""
        record = theirs._alarms.get(alarm.name)
        key = {"ALARM": "AlarmActions", "OK": "OKActions"}.get(str(alarm.state), "InsufficientDataActions")
        if record is not None and alarm.parameters[key][0] == action_arn:
            theirs._dispatch_alarm_actions(record, previous["value"], str(alarm.state), alarm.reason)

    # --- below: how

    def _connected(self) -> World:
        assert self._world is not None, "connect() first"
        return self._world

    def _record(self, original: Any, name: str, props: dict[str, Any]) -> dict[str, Any]:
        """MiniStack refuses metric math in a template; its record then has a stand-in, ours the expression."""
        self._math.pop(name, None)
        if not props.get("Metrics"):
            return original(name, props)
        self._math[name] = props["Metrics"]
        plain = {key: value for key, value in props.items() if key != "Metrics"}
        return original(name, {**plain, "MetricName": _MATH, "Namespace": _MATH, "Period": 60})

    def _request(self, record: dict[str, Any]) -> dict[str, Any]:
        request = {
            "AlarmName": record["AlarmName"],
            "ComparisonOperator": record["ComparisonOperator"],
            "EvaluationPeriods": int(record["EvaluationPeriods"]),
            "Threshold": float(record["Threshold"]),
            "ActionsEnabled": bool(record.get("ActionsEnabled", True)),
            **{key: record[key] for key in (*_OPTIONAL, *_ACTIONS) if record.get(key)},
        }
        if record["AlarmName"] in self._math:
            return request | {"Metrics": [_typed_query(one) for one in self._math[record["AlarmName"]]]}
        request |= {key: record[key] for key in ("MetricName", "Namespace")} | {"Period": int(record["Period"])}
        return request if record.get("ExtendedStatistic") else request | {"Statistic": record["Statistic"]}

    def _write_back(self, detail: dict[str, Any]) -> None:
        name, state, before = detail["alarmName"], detail["state"], detail["previousState"]
        record = theirs._alarms.get(name)
        if record is None:
            return
        record["StateValue"] = self._state[name] = state["value"]
        record["StateReason"] = state["reason"]
        record["StateUpdatedTimestamp"] = int(self._connected().clock.now_s)
        if "reasonData" in state:
            record["StateReasonData"] = state["reasonData"]
        theirs._record_history(
            name, before["value"], state["value"], state["reason"], reason_data=state.get("reasonData")
        )
        logger.info("alarm %s: %s -> %s: %s", name, before["value"], state["value"], state["reason"])

    def _publish(self, publication: Publication) -> list[Publication]:
        """Our metric reaches MiniStack's store when it becomes visible."""
        world = self._connected()
        world.clock.at(publication.visible_at_s, lambda: self._show(publication), label="metric visible")
        return [publication]

    def _show(self, publication: Publication) -> None:
        namespace, name, dimensions = publication.key
        sample = publication.sample
        named = dict(dimensions)
        points = theirs._metric_bucket((namespace, name, theirs._dims_key(named)))
        statistics = {
            "SampleCount": sample.count,
            "Sum": sample.total,
            "Minimum": sample.minimum,
            "Maximum": sample.maximum,
        }
        value = sample.total / sample.count
        points.append(
            {
                "Timestamp": sample.at_s,
                "Unit": "None",
                "Dimensions": named,
                "Value": value,
                "_stat": statistics,
                "_ours": True,
            }
        )

    def _take_metrics(self) -> None:
        world = self._connected()
        for key, points in list(theirs._metrics.items()):
            taken = self._taken.get(key, 0)
            if not points or points[-1].get("_ours"):
                continue
            self._taken[key] = len(points)
            for point in points[taken:]:
                count, total, low, high = theirs._point_stats(point)
                if count > 0:
                    sample = Sample(point["Timestamp"], low, high, total, count)
                    series = series_key(key[0], key[1], point.get("Dimensions") or {})
                    world.cloudwatch.metrics.add(series, sample, visible_at_s=world.clock.now_s, high_resolution=False)


def _typed_query(query: dict[str, Any]) -> dict[str, Any]:
    """A metric query of a template with numbers and truth values where the API has them."""
    typed = dict(query)
    if "ReturnData" in typed:
        typed["ReturnData"] = str(typed["ReturnData"]).lower() == "true"
    if "MetricStat" in typed:
        typed["MetricStat"] = {**typed["MetricStat"], "Period": int(typed["MetricStat"]["Period"])}
    return typed
