"""Quickstep with several targets on one endpoint: one loop, one plan for all of them, as it is deployed.

What differs from `ours` is what differs in an account: each component has its own metrics, alarms and decision, the
endpoint has one loop, and the plan weighs all wishes against the same instances (`capacity.plan`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush

from quickstep.capacity import growth
from quickstep.capacity.plan import EndpointView, copies_per_instance_of, plan_endpoint
from quickstep.capacity.progress import follow_copies, follow_instances, mark_empty, notice_foreign_change
from quickstep.model.loop import NextWord
from quickstep.model.observation import (
    Alarm,
    ComponentStatus,
    EndpointStatus,
    Observation,
    Requirements,
    Variant,
)
from quickstep.model.observation import Component as Shown
from quickstep.model.observation import Endpoint as ShownEndpoint
from quickstep.model.plan import CopyAsk, EndpointPlan, InstanceAsk, Wish
from quickstep.model.state import EndpointState, Minutes, TargetState
from quickstep.model.targets import ScalableTarget, StepScalingPolicy, TargetId
from quickstep.policy.pipeline import decide
from quickstep.usecases import act
from quickstep.usecases.learn import learned
from quickstep.usecases.look import FAST_PATH, NOTHING
from quickstep.usecases.loop import AUDIT_S
from simulator.bench.component import Component
from simulator.bench.deployed import ENDPOINT, SLO_TARGETS, TARGET_SHARE, VARIANT, Deployed, DeployedAlarm, deployed
from simulator.bench.endpoint import Endpoint, Refused
from simulator.bench.ours import (
    ACTS,
    ALARM_S,
    EVENT_S,
    FIRST_LOOK_S,
    MINUTE_S,
    PERIOD_S,
    STATE_S,
    Published,
    WatchedAlarm,
)
from simulator.bench.ours_look import (
    AFTER_AN_ASK_S,
    COPY_MEMORY_MB,
    after_copies_ask,
    after_instances_ask,
    after_refusal,
)
from simulator.bench.prepare import Prepared
from simulator.bench.run import RunSpec
from simulator.clock import EPOCH_S


@dataclass(frozen=True, eq=False)
class Part:
    """One component and the traffic that it was prepared for."""

    component: Component
    prepared: Prepared


def drive_ours_together(endpoint: Endpoint, parts: Sequence[Part], spec: RunSpec, length_s: float) -> int:
    """Let Quickstep scale the components of `endpoint` until `length_s`; the number of looks that it took."""
    return _Driver(endpoint, [_Target(part, spec) for part in parts]).run(length_s)


class _Target:
    """One target: what is deployed for it, what is known of it, and what it remembers."""

    def __init__(self, part: Part, spec: RunSpec) -> None:
        self.component, profile, one = part.component, part.prepared.profile, part.prepared.slice
        statistic = () if spec.statistic is None else (("ConcurrencyStatistic", spec.statistic),)
        self.deployed = _named(
            deployed(
                max(1.0, round(TARGET_SHARE * spec.target_factor * part.prepared.concurrency, 1)),
                min_copies=one.min_copies,
                max_copies=one.max_copies,
                slo_target=SLO_TARGETS[1] if spec.knob is None else spec.knob,
                overrides=(("InferenceComponentName", one.name), *statistic, *spec.parameters),
            ),
            one.name,
        )
        self.profile = profile
        self.metrics = Published(self.deployed, spec.options.publish_delay_s)
        self.alarms = [WatchedAlarm(alarm) for alarm in (self.deployed.high, self.deployed.low)]
        self.wake = WatchedAlarm(self.deployed.wake)
        self.state = TargetState()
        self.history: Minutes | None = None
        self.period = 0

    @property
    def target_id(self) -> TargetId:
        return self.deployed.target.target_id

    @property
    def shown_alarms(self) -> tuple[Alarm, ...]:
        return tuple(alarm.shown for alarm in (*self.alarms, self.wake))

    def evaluate(self, now_s: float) -> bool:
        """Evaluate the alarms; True if one has changed its state."""
        seen, values = self.metrics.visible(now_s), self.metrics.values
        changed = [alarm.evaluate(values[alarm.about.statistic], seen, now_s) for alarm in self.alarms]
        changed.append(self.wake.evaluate(values["Sum"], seen, now_s))
        return any(changed)

    def described(self) -> Shown:
        """What DescribeInferenceComponent shows."""
        one = self.component
        status = ComponentStatus.UPDATING if one.component_updates else ComponentStatus.IN_SERVICE
        needs = Requirements(accelerators=self.profile.accelerators_per_copy, memory_mb=COPY_MEMORY_MB)
        return Shown(one.name, ENDPOINT, VARIANT, status, one.desired_copies, one.serving_copies, needs)


class _Driver:
    """When looks are taken: as `ours` has it, with one loop for all targets."""

    def __init__(self, endpoint: Endpoint, targets: Sequence[_Target]) -> None:
        self._endpoint, self._targets = endpoint, sorted(targets, key=lambda one: one.target_id)
        self._by_component = list(targets)
        self._endpoint_state = EndpointState(config_name=ENDPOINT)
        self._events: list[float] = []
        endpoint.on_change = lambda at_s: heappush(self._events, at_s + EVENT_S)
        self._tick_s: float | None = None
        self._permit = NOTHING
        self._due_s = FIRST_LOOK_S
        self._looks = 0

    def run(self, length_s: float) -> int:
        period, now_s = 0, 0.0
        while now_s < length_s:
            grid_s = min((period + 1) * PERIOD_S, length_s)
            look_s = max(self._next_look_s(), now_s)
            now_s = min(grid_s, look_s, self._endpoint.next_event_s)
            for target, rows in zip(self._by_component, self._endpoint.advance(now_s), strict=True):
                for row in rows:
                    target.metrics.add(target.period, row)
                    target.period += 1
            period = self._by_component[0].period
            if now_s == look_s < grid_s:
                self._look(now_s)
            elif now_s == period * PERIOD_S and self._evaluate(now_s):
                heappush(self._events, now_s + ALARM_S)
        return self._looks

    def _evaluate(self, now_s: float) -> bool:
        """Evaluate all alarms, every one of them; True if any has changed."""
        changed = [target.evaluate(now_s) for target in self._targets]
        return any(changed)

    def _next_look_s(self) -> float:
        event_s = self._events[0] if self._events else math.inf
        reconciled_s = math.ceil(self._due_s / MINUTE_S) * MINUTE_S + STATE_S
        return min(event_s, reconciled_s if self._tick_s is None else self._tick_s)

    def _look(self, now_s: float) -> None:
        if self._events and self._events[0] <= now_s:
            while self._events and self._events[0] <= now_s:
                heappop(self._events)
            plan, asked = self._take(FAST_PATH, now_s)
            if self._tick_s is None and (asked or plan.word is not NextWord.SETTLED):
                self._tick_s = now_s + STATE_S
            elif self._tick_s is None:
                self._settle(plan, now_s)
            return
        plan, asked = self._take(self._permit, now_s)
        deciding, self._permit = self._permit == NOTHING, NOTHING
        word, wait_s = (NextWord.WAIT, AFTER_AN_ASK_S) if asked else (plan.word, plan.wait_s)
        if deciding and word is NextWord.SETTLED:
            self._tick_s = None
            self._settle(plan, now_s)
        elif deciding and word in ACTS:
            self._tick_s, self._permit = now_s + STATE_S, frozenset({word})
        else:
            self._tick_s = now_s + max(1, wait_s) + STATE_S

    def _settle(self, plan: EndpointPlan, now_s: float) -> None:
        self._due_s = now_s + AUDIT_S if plan.next_look_at_s is None else plan.next_look_at_s - EPOCH_S

    # ------------------------------------------------------------------ one look

    def _take(self, permit: frozenset[NextWord], at_s: float) -> tuple[EndpointPlan, bool]:
        """Look at the endpoint; (the plan, whether any of its writes was made)."""
        self._looks += 1
        now_s = EPOCH_S + at_s
        variant = self._described()
        status = EndpointStatus.UPDATING if self._endpoint.updates else EndpointStatus.IN_SERVICE
        endpoint = ShownEndpoint(ENDPOINT, status, (variant,), config_name=ENDPOINT)
        components = tuple(target.described() for target in self._targets)
        dipped = any(one.is_stable and one.current_copies < one.desired_copies for one in components)
        memory, _ = follow_instances(self._endpoint_state.variant(VARIANT), variant, endpoint, now_s, dipped=dipped)
        endpoint_state = self._endpoint_state.with_variant(VARIANT, memory)
        wishes = tuple(
            self._wish(target, endpoint, shown, at_s) for target, shown in zip(self._targets, components, strict=True)
        )
        alarms = {alarm.name: alarm for target in self._targets for alarm in target.shown_alarms}
        plan = plan_endpoint(EndpointView(endpoint, endpoint_state, components, wishes, now_s, alarms))
        self._endpoint_state = mark_empty(endpoint_state, plan.empty_variants, now_s)
        by_id = {wish.target.target_id: wish for wish in wishes}
        for target in self._targets:
            wish = by_id[target.target_id]
            target.state = act.queued(wish, wish.decision.state)
            target.component.note_wish(wish.decision.desired)
        asked = self._carry_out(plan, by_id, now_s) if plan.word in permit else False
        return plan, asked

    def _described(self) -> Variant:
        """What DescribeEndpoint shows of the variant."""
        one = self._endpoint
        return Variant(
            VARIANT,
            self._targets[0].profile.instance_type,
            one.instances_in_service,
            one.desired_instances,
            managed=one.managed,
            managed_min=one.min_instances if one.managed else None,
            managed_max=one.max_instances if one.managed else None,
        )

    def _wish(self, target: _Target, endpoint: ShownEndpoint, shown: Shown, at_s: float) -> Wish:
        now_s = EPOCH_S + at_s
        seen = target.metrics.read(at_s)
        observation = Observation(now_s, target.target_id, endpoint, shown, seen, target.shown_alarms)
        state, _ = follow_copies(target.state, observation, now_s)
        state, _ = notice_foreign_change(state, observation, now_s, deployed=False)
        if growth.is_due(state):
            moved = None if self._endpoint.managed else self._endpoint_state.variant(VARIANT)
            state, target.history = learned(target.deployed.target, state, target.history, moved, now_s)
        decision = decide(
            target.deployed.target,
            observation,
            state,
            now_s,
            copies_per_instance=copies_per_instance_of(shown, endpoint.variants[0]),
            scaling_enabled=target.deployed.scaling_enabled,
        )
        return Wish(target.deployed.target, decision, shown)

    def _carry_out(self, plan: EndpointPlan, by_id: dict[TargetId, Wish], now_s: float) -> bool:
        targets = {target.target_id: target for target in self._targets}
        asked = [self._ask_copies(ask, targets[ask.target_id], by_id[ask.target_id], now_s) for ask in plan.copies]
        if plan.instances is not None:
            asked.append(self._ask_instances(plan.instances, now_s))
        return any(asked)

    @staticmethod
    def _ask_copies(ask: CopyAsk, target: _Target, wish: Wish, now_s: float) -> bool:
        try:
            target.component.ask_copies(ask.wanted)
        except Refused:
            target.state = after_refusal(wish)
            return False
        target.state = after_copies_ask(target.state, ask, wish, now_s)
        return True

    def _ask_instances(self, ask: InstanceAsk, now_s: float) -> bool:
        memory = self._endpoint_state.variant(ask.variant)
        try:
            self._endpoint.ask_instances(ask.wanted)
        except Refused:
            return False
        self._endpoint_state = self._endpoint_state.with_variant(ask.variant, after_instances_ask(memory, ask, now_s))
        return True


def _named(what: Deployed, component: str) -> Deployed:
    """The same with alarm names of the component's own, as the control API gives them: one endpoint, several targets."""

    def own(name: str) -> str:
        return f"{name}--{component}"

    def alarm(one: DeployedAlarm) -> DeployedAlarm:
        return replace(one, name=own(one.name))

    target: ScalableTarget = what.target
    policies = tuple(
        replace(policy, alarms=tuple(replace(a, alarm_name=own(a.alarm_name)) for a in policy.alarms))
        if isinstance(policy, StepScalingPolicy)
        else policy
        for policy in target.policies
    )
    renamed = replace(
        target,
        policies=policies,
        alarms=tuple(map(own, target.alarms)),
        wake_alarm=None if target.wake_alarm is None else own(target.wake_alarm),
    )
    return replace(what, target=renamed, high=alarm(what.high), low=alarm(what.low), wake=alarm(what.wake))
