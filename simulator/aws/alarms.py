"""The alarms of an account: each evaluated on its own grid of the virtual clock, each transition told to EventBridge.

Evaluation (CloudWatch User Guide, "Alarm evaluation"): sub-minute alarms every 10 s, others every minute; the windows
end at the last full 10 s or minute, so a five-minute alarm slides by the minute. The evaluation range is longer than N;
by how much is undocumented beyond the guide's "5 for N = 3", so it is a knob (`extra_periods`): by default 2 more, and
for sub-minute periods as many as cover a minute, since high-resolution metrics arrive up to a minute late.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator.aws import alarm_texts
from simulator.aws.alarm_evaluation import AlarmRule, AlarmState, evaluate
from simulator.aws.composite_rule import CompositeRule
from simulator.aws.metric_queries import MetricQuery, MetricStat, run_queries
from simulator.aws.metric_store import MetricStore, statistic
from simulator.clock import RANK_ALARMS, Scheduled, VirtualClock
from simulator.template_names import token

EmitEvent = Callable[[str, str, dict[str, Any], list[str]], None]
"""(source, detail-type, detail, resources): put an event of AWS itself on the account's bus."""

RunAction = Callable[[str, "Alarm", dict[str, Any]], None]
"""`run(action_arn, alarm, previous_state)`: do what one alarm action says; the state before as events show it."""

INITIAL_REASON = "Unchecked: Initial alarm creation"


def default_extra_periods(period_s: int) -> int:
    """How many periods beyond N the evaluation range reads."""
    return 2 if period_s >= 60 else max(2, math.ceil(60 / period_s))


@dataclass
class Alarm:
    """One metric or composite alarm: what was asked, and where it stands.

    `rule`, `queries` and `period_s` are None or empty for composite alarms; `stat` is set for an alarm on one metric.
    """

    parameters: dict[str, Any]
    arn: str
    configured_at_s: float
    rule: AlarmRule | None = None
    stat: MetricStat | None = None
    queries: tuple[MetricQuery, ...] = ()
    period_s: int = 60
    composite: CompositeRule | None = None
    state: AlarmState = AlarmState.INSUFFICIENT_DATA
    reason: str = INITIAL_REASON
    reason_data: str | None = None
    state_at_s: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
    timer: Scheduled | None = None

    @property
    def name(self) -> str:
        return self.parameters["AlarmName"]


@dataclass(frozen=True)
class HistoryItem:
    """One line of DescribeAlarmHistory."""

    alarm_name: str
    alarm_type: str
    at_s: float
    kind: str
    summary: str
    data: str


@dataclass(frozen=True)
class Transition:
    """One change of one alarm's state."""

    alarm_name: str
    at_s: float
    before: AlarmState
    after: AlarmState
    reason: str


class AlarmBook:
    """All alarms by name, kept evaluated.

    `offset_s` is the range of seconds after a grid instant at which an alarm looks (drawn once per alarm from its
    name).
    """

    def __init__(
        self,
        clock: VirtualClock,
        store: MetricStore,
        *,
        account_id: str,
        region: str,
        emit_event: EmitEvent,
        run_action: RunAction,
        offset_s: tuple[float, float] = (0.2, 1.2),
        extra_periods: Callable[[int], int] = default_extra_periods,
    ) -> None:
        self._clock, self._store = clock, store
        self._account_id, self._region = account_id, region
        self._emit_event, self._run_action = emit_event, run_action
        self._offset_s, self._extra_periods = offset_s, extra_periods
        self.alarms: dict[str, Alarm] = {}
        self.history: list[HistoryItem] = []
        self.transitions: list[Transition] = []
        self.evaluations = 0

    def put(self, alarm: Alarm) -> None:
        """Create the alarm, or change it: a changed alarm keeps its state (PutMetricAlarm, API reference)."""
        before = self.alarms.get(alarm.name)
        if before is not None:
            if before.timer is not None:
                before.timer.cancel()
            alarm.state, alarm.reason, alarm.reason_data = before.state, before.reason, before.reason_data
            alarm.state_at_s, alarm.tags = before.state_at_s, before.tags
        else:
            alarm.state_at_s = self._clock.now_s
        self.alarms[alarm.name] = alarm
        self._tell_configuration(alarm, "create" if before is None else "update", before)
        if alarm.composite is None:
            self._schedule(alarm)
        else:
            self._evaluate_composites()

    def delete(self, name: str) -> None:
        """Forget the alarm; no state change event follows."""
        alarm = self.alarms.pop(name)
        if alarm.timer is not None:
            alarm.timer.cancel()
        self._tell_configuration(alarm, "delete", None)

    def set_state(self, alarm: Alarm, state: AlarmState, reason: str, reason_data: str | None) -> None:
        """Put the alarm into `state`; an event and actions follow if that is a change."""
        previous = (alarm.state, alarm.reason, alarm.reason_data, alarm.state_at_s)
        alarm.state, alarm.reason, alarm.reason_data = state, reason, reason_data
        alarm.state_at_s = self._clock.now_s
        if state is previous[0]:
            return
        self.transitions.append(Transition(alarm.name, self._clock.now_s, previous[0], state, reason))
        self._remember(alarm, "StateUpdate", f"Alarm updated from {previous[0]} to {state}")
        detail = self._state_change(alarm, previous)
        self._emit_event("aws.cloudwatch", "CloudWatch Alarm State Change", detail, [alarm.arn])
        if alarm.parameters.get("ActionsEnabled", True):
            key = {
                AlarmState.ALARM: "AlarmActions",
                AlarmState.OK: "OKActions",
                AlarmState.INSUFFICIENT_DATA: "InsufficientDataActions",
            }[state]
            for action_arn in alarm.parameters.get(key, []):
                self._run_action(action_arn, alarm, _state_of(*previous))
        self._evaluate_composites()

    def action_payload(self, alarm: Alarm, previous: dict[str, Any]) -> dict[str, Any]:
        """What a Lambda action is invoked with: another envelope than the event's."""
        return {
            "source": "aws.cloudwatch",
            "alarmArn": alarm.arn,
            "accountId": self._account_id,
            "time": alarm_texts.timestamp(alarm.state_at_s),
            "region": self._region,
            "alarmData": {
                "alarmName": alarm.name,
                "state": _state_of(alarm.state, alarm.reason, alarm.reason_data, alarm.state_at_s),
                "previousState": previous,
                "configuration": _event_configuration(alarm, with_unit=True),
            },
        }

    def _schedule(self, alarm: Alarm) -> None:
        every_s = 10 if alarm.period_s < 60 else 60
        low, high = self._offset_s
        share = int.from_bytes(token(alarm.name, 4).encode(), "big") % 1000 / 1000
        offset_s = low + (high - low) * share
        now_s = self._clock.now_s
        first_s = math.floor(now_s / every_s) * every_s + offset_s
        if first_s <= now_s:
            first_s += every_s

        def look() -> None:
            alarm.timer = self._clock.at(self._clock.now_s + every_s, look, rank=RANK_ALARMS, label=alarm.name)
            self._evaluate(alarm, every_s)

        alarm.timer = self._clock.at(first_s, look, rank=RANK_ALARMS, label=alarm.name)

    def _evaluate(self, alarm: Alarm, every_s: int) -> None:
        self.evaluations += 1
        rule, period_s, now_s = alarm.rule, alarm.period_s, self._clock.now_s
        assert rule is not None
        end_s = int(now_s // every_s) * every_s
        periods = rule.evaluation_periods + self._extra_periods(period_s)
        start_s = end_s - periods * period_s
        counts: list[float | None] = [None] * periods
        if alarm.stat is not None:
            series = self._store.series(alarm.stat.key)
            summaries = [] if series is None else series.summaries(start_s, end_s, period_s, now_s)
            name = alarm.stat.statistic
            values = [None if one is None else statistic(one, name) for one in summaries] or [None] * periods
        else:
            summaries = []
            results = run_queries(alarm.queries, self._store, start_s=start_s, end_s=end_s, now_s=now_s)
            result = results[next(query.id for query in alarm.queries if query.returns_data)]
            values = [result.get(start_s + slot * period_s) for slot in range(periods)]
        verdict = evaluate(values, rule, alarm.state)
        if verdict.state is alarm.state:
            return
        counts = [None if one is None else one[3] for one in summaries] or counts
        starts = range(start_s, end_s, period_s)
        text = alarm_texts.reason(verdict, rule, alarm.state, values=values, starts=starts)
        data = alarm_texts.reason_data(
            verdict,
            rule,
            values=values,
            starts=starts,
            counts=counts,
            period_s=period_s,
            statistic=alarm.stat.statistic if alarm.stat else None,
            unit=alarm.parameters.get("Unit"),
            now_s=now_s,
        )
        self.set_state(alarm, verdict.state, text, data)

    def _evaluate_composites(self) -> None:
        states = {alarm.name: alarm.state for alarm in self.alarms.values()}
        states |= {alarm.arn: alarm.state for alarm in self.alarms.values()}
        for alarm in list(self.alarms.values()):
            if alarm.composite is None:
                continue
            state = alarm.composite.state(states)
            if state is not alarm.state:
                by = sorted(name for name in alarm.composite.children if states.get(name) is AlarmState.ALARM)
                text = f"{', '.join(by) or 'no alarm'} is in ALARM, so the rule {alarm.parameters['AlarmRule']} says {state}"
                # Sets off the next round itself, so that composites of composites follow.
                self.set_state(alarm, state, text, alarm_texts.triggering_alarms(by, self.alarms))
                return

    def _state_change(self, alarm: Alarm, previous: tuple[AlarmState, str, str | None, float]) -> dict[str, Any]:
        return {
            "alarmName": alarm.name,
            "state": _state_of(alarm.state, alarm.reason, alarm.reason_data, alarm.state_at_s),
            "previousState": _state_of(*previous),
            "configuration": _event_configuration(alarm),
        }

    def _tell_configuration(self, alarm: Alarm, operation: str, before: Alarm | None) -> None:
        now_s = self._clock.now_s
        past_tense = {"create": "created", "update": "updated", "delete": "deleted"}
        self._remember(alarm, "ConfigurationUpdate", f'Alarm "{alarm.name}" {past_tense[operation]}')
        detail: dict[str, Any] = {
            "alarmName": alarm.name,
            "operation": operation,
            "state": {"value": str(alarm.state), "timestamp": alarm_texts.timestamp(alarm.state_at_s)},
            "configuration": alarm_texts.full_configuration(alarm.parameters, now_s),
        }
        if before is not None:
            detail["previousConfiguration"] = alarm_texts.full_configuration(before.parameters, before.configured_at_s)
        self._emit_event("aws.cloudwatch", "CloudWatch Alarm Configuration Change", detail, [alarm.arn])

    def _remember(self, alarm: Alarm, kind: str, summary: str) -> None:
        kind_of_alarm = "MetricAlarm" if alarm.composite is None else "CompositeAlarm"
        data = alarm_texts.history_data(kind, str(alarm.state), alarm.reason, alarm.reason_data)
        self.history.append(HistoryItem(alarm.name, kind_of_alarm, self._clock.now_s, kind, summary, data))


def _state_of(state: AlarmState, reason: str, reason_data: str | None, at_s: float) -> dict[str, Any]:
    """`state` or `previousState` of an event; `reasonData` is absent where there is none."""
    entry: dict[str, Any] = {"value": str(state), "reason": reason}
    if reason_data is not None:
        entry["reasonData"] = reason_data
    return entry | {"timestamp": alarm_texts.timestamp(at_s)}


def _event_configuration(alarm: Alarm, *, with_unit: bool = False) -> Mapping[str, Any]:
    configuration: dict[str, Any] = {}
    if "AlarmDescription" in alarm.parameters:
        configuration["description"] = alarm.parameters["AlarmDescription"]
    if alarm.composite is not None:
        return configuration | {"alarmRule": alarm.parameters["AlarmRule"]}
    return configuration | {"metrics": alarm_texts.metric_configuration(alarm.parameters, with_unit=with_unit)}
