"""Drives Quickstep as it is deployed: the template's alarms, and looks when the deployed one would look.

A look is taken when an alarm has changed its state or the endpoint its status (CloudWatch, EventBridge and a warm
Lambda take less than a second); while the scaling loop runs, at the ticks that the last look asked for; and, once
settled, at the first whole minute after the time that was left behind (Reconcile). A write takes two looks, as the loop's
states do. Alarms are evaluated every ten seconds by the evaluator of the emulated account, on datapoints that are
published late. Delays are those that the emulated account shows for warm functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappop, heappush

from quickstep.model.loop import NextWord
from quickstep.model.observation import Alarm, Datapoint, Metrics, Series
from quickstep.model.observation import AlarmState as ObservedState
from quickstep.model.targets import DemandPolicy
from quickstep.usecases.gather import HISTORY_S
from quickstep.usecases.look import FAST_PATH, NOTHING
from quickstep.usecases.loop import AUDIT_S
from simulator.aws.alarm_evaluation import AlarmState, evaluate
from simulator.aws.alarms import default_extra_periods
from simulator.bench import kernel as k
from simulator.bench.deployed import Deployed, DeployedAlarm
from simulator.bench.ours_look import Looked, Looker
from simulator.bench.platform import Platform
from simulator.clock import EPOCH_S
from simulator.physics.profiles import ServiceProfile

PERIOD_S = 10.0
MINUTE_S = 60.0
ALARM_S = 0.7
"""From the full ten seconds at which an alarm is evaluated to the look that its event causes."""
EVENT_S = 0.3
"""From a change of the endpoint's status to the look that its event causes."""
STATE_S = 0.3
"""From one state of the loop to the next, and from a loop's start to its first look."""
FIRST_LOOK_S = 60.0
ACTS = frozenset({NextWord.ADD_INSTANCES, NextWord.PLACE_COPIES, NextWord.REMOVE_COPIES, NextWord.REMOVE_INSTANCES})
"""Words behind which a state of the loop looks once more, with that write permitted."""


def drive_ours(
    platform: Platform,
    deployed: Deployed,
    profile: ServiceProfile,
    length_s: float,
    *,
    publish_delay_s: float = 10.0,
) -> int:
    """Let Quickstep scale `platform` until `length_s`; the number of looks that it took.

    The platform's fleet must cut windows of ten seconds.
    """
    return _Driver(platform, deployed, profile, publish_delay_s).run(length_s)


class _Driver:
    def __init__(self, platform: Platform, deployed: Deployed, profile: ServiceProfile, publish_delay_s: float) -> None:
        self._platform = platform
        self._looker = Looker(deployed, platform, profile, epoch_s=EPOCH_S)
        self._metrics = Published(deployed, publish_delay_s)
        self._alarms = [WatchedAlarm(one) for one in (deployed.high, deployed.low)]
        self._wake = WatchedAlarm(deployed.wake)
        self._events: list[float] = []
        platform.on_endpoint_change = lambda at_s: heappush(self._events, at_s + EVENT_S)
        self._tick_s: float | None = None
        """When the running loop looks next; None if none runs."""
        self._permit = NOTHING
        """What that look may write: nothing in state Decide, one kind of write in the states behind it."""
        self._due_s = FIRST_LOOK_S
        """When Reconcile has to look although nothing happened; only while no loop runs."""
        self._looks = 0

    def run(self, length_s: float) -> int:
        platform, period, now_s = self._platform, 0, 0.0
        while now_s < length_s:
            grid_s = min((period + 1) * PERIOD_S, length_s)
            look_s = max(self._next_look_s(), now_s)
            # An event of the platform may ask for a look shortly after it.
            now_s = min(grid_s, look_s, platform.next_event_s)
            for row in platform.advance(now_s):
                self._metrics.add(period, row)
                period += 1
            if now_s == look_s < grid_s:
                self._look(now_s)
            elif now_s == period * PERIOD_S:
                self._evaluate(now_s)
        return self._looks

    def _next_look_s(self) -> float:
        event_s = self._events[0] if self._events else math.inf
        loop_s = self._reconciled_s(self._due_s) if self._tick_s is None else self._tick_s
        return min(event_s, loop_s)

    @staticmethod
    def _reconciled_s(due_s: float) -> float:
        return math.ceil(due_s / MINUTE_S) * MINUTE_S + STATE_S

    def _evaluate(self, now_s: float) -> None:
        seen = self._metrics.visible(now_s)
        changed = [alarm.evaluate(self._metrics.values[alarm.about.statistic], seen, now_s) for alarm in self._alarms]
        changed.append(self._wake.evaluate(self._metrics.values["Sum"], seen, now_s))
        if any(changed):
            heappush(self._events, now_s + ALARM_S)

    def _look(self, now_s: float) -> None:
        if self._events and self._events[0] <= now_s:
            while self._events and self._events[0] <= now_s:
                heappop(self._events)
            looked = self._take(FAST_PATH, now_s)
            if self._tick_s is None and looked.word is not NextWord.SETTLED:
                self._tick_s = now_s + STATE_S
            elif self._tick_s is None:
                self._settle(looked, now_s)
            return
        looked = self._take(self._permit, now_s)
        deciding, self._permit = self._permit == NOTHING, NOTHING
        if deciding and looked.word is NextWord.SETTLED:
            self._tick_s = None
            self._settle(looked, now_s)
        elif deciding and looked.word in ACTS:
            self._tick_s, self._permit = now_s + STATE_S, frozenset({looked.word})
        else:
            self._tick_s = now_s + max(1, looked.wait_s) + STATE_S

    def _settle(self, looked: Looked, now_s: float) -> None:
        self._due_s = now_s + AUDIT_S if looked.next_look_at_s is None else looked.next_look_at_s - EPOCH_S

    def _take(self, permit: frozenset[NextWord], now_s: float) -> Looked:
        self._looks += 1
        alarms = tuple(alarm.shown for alarm in (*self._alarms, self._wake))
        return self._looker.look(self._metrics.read(now_s), alarms, permit)


class Published:
    """SageMaker's datapoints as CloudWatch shows them: late, and none while no copy serves."""

    def __init__(self, deployed: Deployed, delay_s: float) -> None:
        holds_s = [p.scale_in_hold_s for p in deployed.target.policies if isinstance(p, DemandPolicy)]
        # `usecases.gather`: so much history is fetched.
        self._window_s = max(HISTORY_S, 4 * max(holds_s, default=0.0) + 120.0)
        self._delay_s = delay_s
        self._concurrency, self._no_capacity = _Points(PERIOD_S), _Points(PERIOD_S)
        self._invocations, self._latency_s = _Points(MINUTE_S), _Points(MINUTE_S)
        self.values: dict[str, list[float | None]] = {"Average": [], "Maximum": [], "Sum": []}
        """One entry per period since the beginning, by statistic; Sum is of NoCapacityInvocationFailures."""
        self._minute = [0.0, 0.0, 0.0, 0.0]

    def add(self, period: int, row: Sequence[float]) -> None:
        at_s = period * PERIOD_S
        served = row[k.W_SERVED_S] > 0
        average = float(row[k.W_PER_COPY_MEAN]) if served else None
        maximum = float(row[k.W_PER_COPY_MAX]) if served else None
        if served:
            self._concurrency.add(Datapoint(EPOCH_S + at_s, average, maximum))
        refused = float(row[k.W_REFUSED])
        if refused:
            self._no_capacity.add(Datapoint(EPOCH_S + at_s, refused))
        for statistic, value in (("Average", average), ("Maximum", maximum), ("Sum", refused or None)):
            self.values[statistic].append(value)
        minute = self._minute
        minute[0] += row[k.W_ACCEPTED]
        minute[1] += row[k.W_LATENCY_SUM_S]
        minute[2] += row[k.W_COMPLETIONS]
        minute[3] += row[k.W_SERVED_S]
        if (at_s + PERIOD_S) % MINUTE_S == 0:
            begun_s = EPOCH_S + at_s + PERIOD_S - MINUTE_S
            if minute[0] or minute[3]:
                self._invocations.add(Datapoint(begun_s, minute[0]))
            if minute[2]:
                self._latency_s.add(Datapoint(begun_s, minute[1] / minute[2]))
            self._minute = [0.0, 0.0, 0.0, 0.0]

    def visible(self, now_s: float) -> int:
        """How many periods since the beginning are published at `now_s`."""
        return max(0, math.floor((now_s - self._delay_s) / PERIOD_S + 1e-9))

    def read(self, now_s: float) -> Metrics:
        """What GetMetricData answers to `usecases.gather` at `now_s`."""
        start_s = EPOCH_S + math.floor((now_s - self._window_s) / MINUTE_S) * MINUTE_S
        seen_s = EPOCH_S + now_s - self._delay_s + 1e-6
        series = (self._concurrency, self._invocations, self._no_capacity, self._latency_s)
        concurrency, invocations, no_capacity, latency_s = (one.between(start_s, seen_s) for one in series)
        return Metrics(concurrency, invocations, no_capacity, latency_s)


class _Points:
    """Datapoints of one metric in order of time; old ones are dropped in bulk."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._points: list[Datapoint] = []
        self._first = 0

    def add(self, point: Datapoint) -> None:
        self._points.append(point)

    def between(self, start_s: float, seen_s: float) -> Series:
        """Those that begin at `start_s` or later and had ended by `seen_s`. `start_s` never moves back."""
        points, period_s = self._points, self._period_s
        while self._first < len(points) and points[self._first].at_s < start_s:
            self._first += 1
        if self._first > 1000:
            del points[: self._first]
            self._first = 0
        end = len(points)
        while end > self._first and points[end - 1].at_s + period_s > seen_s:
            end -= 1
        return Series(period_s, tuple(points[self._first : end]))


class WatchedAlarm:
    """One alarm's state, evaluated as the emulated CloudWatch does."""

    def __init__(self, about: DeployedAlarm) -> None:
        self.about = about
        self._range = about.rule.evaluation_periods + default_extra_periods(about.period_s)
        self._state = AlarmState.INSUFFICIENT_DATA
        self._since_s = EPOCH_S
        self.shown = self._show()

    def evaluate(self, values: Sequence[float | None], seen: int, now_s: float) -> bool:
        """Look at the periods up to now, of which the first `seen` are published; True if the state has changed."""
        end = round(now_s / PERIOD_S)
        first = max(0, end - self._range)
        known = values[first:seen]
        window = [None] * (self._range - (end - first)) + list(known) + [None] * (end - first - len(known))
        state = evaluate(window, self.about.rule, self._state).state
        if state is self._state:
            return False
        self._state, self._since_s = state, EPOCH_S + now_s
        self.shown = self._show()
        return True

    def _show(self) -> Alarm:
        about = self.about
        return Alarm(
            name=about.name,
            state=ObservedState(self._state),
            since_s=self._since_s,
            threshold=about.rule.threshold,
            above=about.above,
            period_s=float(about.period_s),
            evaluation_periods=about.rule.evaluation_periods,
            statistic=about.statistic,
        )
