"""A CloudWatch on a clock of its own, every request and answer held against botocore's model."""

from __future__ import annotations

from typing import Any

import botocore.session
from botocore.validate import ParamValidator

from simulator.aws.cloudwatch import CloudWatchService
from simulator.clock import EPOCH_S, VirtualClock

MODEL = botocore.session.get_session().get_service_model("cloudwatch")
COMPONENT = [{"Name": "InferenceComponentName", "Value": "chat"}]
METRIC = {"Namespace": "AWS/SageMaker", "MetricName": "ConcurrentRequestsPerCopy", "Dimensions": COMPONENT}


class CloudWatchAccount:
    """Times are seconds since the start of the run; nothing is delayed unless a test says so."""

    def __init__(self, start_s: float = EPOCH_S, **settings: Any) -> None:
        self.clock = VirtualClock(start_s)
        self.start_s = start_s
        self.events: list[dict[str, Any]] = []
        self.actions: list[tuple[str, str, str]] = []
        options = {"publish_delay_s": (0.0, 0.0), "alarm_offset_s": (0.5, 0.5), "extra_periods": lambda period_s: 2}
        self.service = CloudWatchService(
            self.clock, emit_event=self._emit, run_action=self._act, **{**options, **settings}
        )

    def call(self, operation: str, /, **params: Any) -> dict[str, Any]:
        shapes = MODEL.operation_model(operation)
        assert not (report := ParamValidator().validate(params, shapes.input_shape)).has_errors(), (
            report.generate_report()
        )
        answer = self.service.call(operation, params)
        if shapes.output_shape is not None:
            report = ParamValidator().validate(answer, shapes.output_shape)
            assert not report.has_errors(), report.generate_report()
        return answer

    def report(self, t: float, value: float, *, metric: str = "ConcurrentRequestsPerCopy", period_s: int = 10) -> None:
        """One datapoint of `value` for the period that began at `t`."""
        self.service.publish(
            "AWS/SageMaker",
            metric,
            {"InferenceComponentName": "chat"},
            self.start_s + t,
            period_s=period_s,
            minimum=value,
            maximum=value,
            total=value,
            samples=1.0,
        )

    def report_each_period(self, values: list[float | None], *, from_t: float = 0.0) -> None:
        """Report `values` one by one at the end of their 10 s, None not at all, and let the time pass."""
        for number, value in enumerate(values):
            begin = from_t + 10 * number
            self.run_to(begin + 10)
            if value is not None:
                self.report(begin, value)

    def alarm(self, name: str = "high", /, **changes: Any) -> None:
        """PutMetricAlarm: 2 of 3 maxima of 10 s above 20, gaps do not breach."""
        request = {
            "AlarmName": name,
            **METRIC,
            "Statistic": "Maximum",
            "Period": 10,
            "EvaluationPeriods": 3,
            "DatapointsToAlarm": 2,
            "Threshold": 20.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        }
        self.call("PutMetricAlarm", **{**request, **changes})

    def state(self, name: str = "high") -> str:
        return self.call("DescribeAlarms", AlarmNames=[name])["MetricAlarms"][0]["StateValue"]

    def run_to(self, t: float) -> None:
        self.clock.run_until(self.start_s + t)

    @property
    def transitions(self) -> list[tuple[float, str, str]]:
        """(seconds since the start, alarm, new state) of every state change event."""
        changes = self.service.alarms.transitions
        return [(round(one.at_s - self.start_s, 3), one.alarm_name, str(one.after)) for one in changes]

    def _emit(self, source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
        self.events.append({"source": source, "detail-type": detail_type, "detail": detail, "resources": resources})

    def _act(self, arn: str, alarm: Any, previous: dict[str, Any]) -> None:
        self.actions.append((arn, alarm.name, previous["value"]))
