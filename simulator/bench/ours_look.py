"""One look of Quickstep's, as `usecases.look` takes it, with the platform in the place of SageMaker and the registry.

Following up, deciding and planning are the deployed functions themselves, in the deployed order. Reading AWS, the lease,
the activity log and the registry are left out: here nobody else writes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from quickstep.capacity import growth, startup
from quickstep.capacity.plan import EndpointView, copies_per_instance_of, plan_endpoint
from quickstep.capacity.progress import follow_copies, follow_instances, mark_empty, notice_foreign_change
from quickstep.model.decision import Decision
from quickstep.model.loop import NextWord
from quickstep.model.observation import (
    Alarm,
    Component,
    ComponentStatus,
    Endpoint,
    EndpointStatus,
    Metrics,
    Observation,
    Requirements,
    Variant,
)
from quickstep.model.plan import CopyAsk, EndpointPlan, InstanceAsk, Wish
from quickstep.model.state import Ask, EndpointState, Minutes, TargetState, VariantState
from quickstep.policy.pipeline import decide
from quickstep.usecases import act
from quickstep.usecases.learn import learned
from simulator.bench.deployed import COMPONENT, ENDPOINT, VARIANT, Deployed
from simulator.bench.platform import Platform, Refused
from simulator.physics.profiles import ServiceProfile

COPY_MEMORY_MB = 1024
AFTER_AN_ASK_S = 2
"""`usecases.look`: whatever was asked, look again in two seconds."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look came to."""

    word: NextWord
    wait_s: int
    next_look_at_s: float | None
    decision: Decision
    asked: bool


class Looker:
    """Looks at the platform's endpoint for one target. `epoch_s` is laid under the platform's times."""

    def __init__(self, deployed: Deployed, platform: Platform, profile: ServiceProfile, *, epoch_s: float) -> None:
        self._deployed, self._platform, self._profile, self._epoch_s = deployed, platform, profile, epoch_s
        self._requirements = Requirements(accelerators=profile.accelerators_per_copy, memory_mb=COPY_MEMORY_MB)
        self.state = TargetState()
        self._history: Minutes | None = None
        self.endpoint_state = EndpointState(config_name=ENDPOINT)

    def look(self, metrics: Metrics, alarms: tuple[Alarm, ...], permit: frozenset[NextWord]) -> Looked:
        """Look now; of the plan's writes make those that are permitted."""
        now_s = self._epoch_s + self._platform.now_s
        target = self._deployed.target
        endpoint, component = self._describe()
        variant = endpoint.variants[0]
        observation = Observation(now_s, target.target_id, endpoint, component, metrics, alarms)

        dipped = component.is_stable and component.current_copies < component.desired_copies
        memory, _ = follow_instances(self.endpoint_state.variant(VARIANT), variant, endpoint, now_s, dipped=dipped)
        endpoint_state = self.endpoint_state
        if memory != endpoint_state.variant(VARIANT):
            endpoint_state = endpoint_state.with_variant(VARIANT, memory)
        state, _ = follow_copies(self.state, observation, now_s)
        state, _ = notice_foreign_change(state, observation, now_s, deployed=False)
        if growth.is_due(state):
            moved = None if variant.managed else memory
            state, self._history = learned(target, state, self._history, moved, now_s)
        decision = decide(
            target,
            observation,
            state,
            now_s,
            copies_per_instance=copies_per_instance_of(component, variant),
            scaling_enabled=self._deployed.scaling_enabled,
        )
        wish = Wish(target, decision, component)
        by_name = {alarm.name: alarm for alarm in alarms}
        plan = plan_endpoint(EndpointView(endpoint, endpoint_state, (component,), (wish,), now_s, by_name))
        self.endpoint_state = mark_empty(endpoint_state, plan.empty_variants, now_s)
        self.state = act.queued(wish, decision.state)
        self._platform.note_wish(decision.desired)
        asked = self._carry_out(plan, wish, now_s) if plan.word in permit else False
        word, wait_s = (NextWord.WAIT, AFTER_AN_ASK_S) if asked else (plan.word, plan.wait_s)
        return Looked(word, wait_s, plan.next_look_at_s, decision, asked)

    def _describe(self) -> tuple[Endpoint, Component]:
        """What DescribeEndpoint and DescribeInferenceComponent show."""
        platform = self._platform
        variant = Variant(
            VARIANT,
            self._profile.instance_type,
            platform.instances_in_service,
            platform.desired_instances,
            managed=platform.managed,
            managed_min=platform.min_instances if platform.managed else None,
            managed_max=platform.max_instances if platform.managed else None,
        )
        status = EndpointStatus.UPDATING if platform.endpoint_updates else EndpointStatus.IN_SERVICE
        component = Component(
            COMPONENT,
            ENDPOINT,
            VARIANT,
            ComponentStatus.UPDATING if platform.component_updates else ComponentStatus.IN_SERVICE,
            platform.desired_copies,
            platform.serving_copies,
            self._requirements,
        )
        return Endpoint(ENDPOINT, status, (variant,), config_name=ENDPOINT), component

    def _carry_out(self, plan: EndpointPlan, wish: Wish, now_s: float) -> bool:
        asked = [self._ask_copies(ask, wish, now_s) for ask in plan.copies]
        if plan.instances is not None:
            asked.append(self._ask_instances(plan.instances, now_s))
        return any(asked)

    def _ask_copies(self, ask: CopyAsk, wish: Wish, now_s: float) -> bool:
        try:
            self._platform.ask_copies(ask.wanted)
        except Refused:
            self.state = after_refusal(wish)
            return False
        self.state = after_copies_ask(self.state, ask, wish, now_s)
        return True

    def _ask_instances(self, ask: InstanceAsk, now_s: float) -> bool:
        memory = self.endpoint_state.variant(ask.variant)
        try:
            self._platform.ask_instances(ask.wanted)
        except Refused:
            return False
        self.endpoint_state = self.endpoint_state.with_variant(ask.variant, after_instances_ask(memory, ask, now_s))
        return True


def after_refusal(wish: Wish) -> TargetState:
    """A target's state after SageMaker took no change of its copies: the wish waits."""
    return replace(wish.decision.state, ask=None, queued=True)


def after_copies_ask(state: TargetState, ask: CopyAsk, wish: Wish, now_s: float) -> TargetState:
    """A target's state after `ask` was taken: what it leaves (turns, last scale-in) is what the deployed code leaves."""
    intent = Ask("copies", now_s, ask.before, ask.wanted, now_s + startup.copy_deadline_s(state.startup_s))
    asked = replace(state, ask=intent, queued=ask.wanted != wish.decision.desired)
    return act.remembering(asked, ask.before, ask.wanted, wish)


def after_instances_ask(memory: VariantState, ask: InstanceAsk, now_s: float) -> VariantState:
    """A variant's state after `ask` was taken."""
    intent = Ask("instances", now_s, ask.before, ask.wanted, now_s + startup.instance_deadline_s(memory.startup_s))
    return replace(memory, ask=intent, empty_since_s=None)
