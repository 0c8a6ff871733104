"""Scenes for tests of the decision: a target, an endpoint and metrics, described in one line each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from quickstep.capacity.view import EndpointView
from quickstep.model.decision import Decision, Step
from quickstep.model.observation import (
    Alarm,
    AlarmState,
    Component,
    ComponentStatus,
    Datapoint,
    Endpoint,
    EndpointStatus,
    Metrics,
    Observation,
    Requirements,
    Series,
    ServingChange,
    Variant,
)
from quickstep.model.plan import Wish
from quickstep.model.state import Change, EndpointState, TargetState, VariantState
from quickstep.model.targets import (
    AdjustmentType,
    AlarmBinding,
    DemandPolicy,
    ScalableTarget,
    StepAdjustment,
    StepScalingPolicy,
    TargetId,
)
from quickstep.policy.pipeline import decide
from quickstep.reasons import Reason

NOW_S = 1_767_225_600.0
"""A multiple of 60 s."""
COMPONENT = TargetId.of_component("chat")
DEMAND = DemandPolicy("demand", target_per_copy=5.0)
STEPS = StepScalingPolicy(
    "steps-out",
    AdjustmentType.CHANGE_IN_CAPACITY,
    (StepAdjustment(0.0, 20.0, 1), StepAdjustment(20.0, None, 2)),
    (AlarmBinding("s--high", 5.0, True),),
)
ONE_GPU = Requirements(accelerators=1, memory_mb=8192)


def target(*, low: int = 1, high: int = 20, policies=(DEMAND,), **fields) -> ScalableTarget:
    fields = {"alarms": ("s--high", "s--low"), "wake_alarm": "s--wake"} | fields
    return ScalableTarget(COMPONENT, "llm", "v", low, high, tuple(policies), **fields)


def component(desired: int, current: int | None = None, *, status=ComponentStatus.IN_SERVICE, **fields) -> Component:
    fields = {"requirements": ONE_GPU} | fields
    return Component("chat", "llm", "v", status, desired, desired if current is None else current, **fields)


def endpoint(
    instances: int = 20, *, desired: int | None = None, status=EndpointStatus.IN_SERVICE, **fields
) -> Endpoint:
    variant = Variant("v", "ml.g5.2xlarge", instances, instances if desired is None else desired, **fields)
    return Endpoint("llm", status, (variant,), config_name="config")


def totals(values, copies: int, *, now_s: float = NOW_S, lag_s: float = 10.0, maximum_factor: float = 1.3) -> Series:
    """A 10-s series whose newest datapoint ended `lag_s` ago; `values` are totals over all copies, None = a gap."""
    first_s = now_s - lag_s - 10.0 * len(values)
    points = tuple(
        Datapoint(first_s + 10.0 * i, average=v / copies, maximum=maximum_factor * v / copies)
        for i, v in enumerate(values)
        if v is not None
    )
    return Series(10.0, points)


def seen(
    series: Series | None,
    desired: int,
    current: int | None = None,
    *,
    now_s: float = NOW_S,
    alarms: dict[str, AlarmState] | None = None,
    metrics: Metrics | None = None,
    where: Endpoint | None = None,
    **fields,
) -> Observation:
    """What is observed of the component."""
    found = tuple(
        Alarm(name, state, now_s - 60.0, 5.0, above=not name.endswith("low"), evaluation_periods=3)
        for name, state in sorted((alarms or {}).items())
    )
    return Observation(
        at_s=now_s,
        target_id=COMPONENT,
        endpoint=where or endpoint(),
        component=component(desired, current, **fields),
        metrics=metrics or Metrics(concurrency=series),
        alarms=found,
    )


def steady(copies: int, **fields) -> TargetState:
    """A state in which `copies` copies have served for a long time and nothing else is remembered."""
    state = TargetState(serving=(ServingChange(NOW_S - 36_000.0, copies),), wish=copies, last_look_s=NOW_S - 10.0)
    return replace(state, **fields)


def decided(
    values, copies: int, *, state: TargetState | None = None, goal: ScalableTarget | None = None, **fields
) -> Decision:
    """The decision for totals `values` while `copies` copies serve."""
    series = totals(values, copies) if values is not None else None
    observation = seen(series, copies, **fields)
    return decide(goal or target(), observation, state or steady(copies), NOW_S)


def stage(decision: Decision, name: str) -> Step:
    """What the stage called `name` said."""
    return next(step for step in decision.steps if step.stage == name)


def carried_out(decision: Decision) -> TargetState:
    """The state after SageMaker took the decision's count at once, as the actor leaves it behind."""
    state = decision.state
    if decision.desired == decision.baseline:
        return state
    out = decision.desired > decision.baseline
    before = [c for c in (state.last_scale_in, state.last_scale_out) if c is not None and c.at_s < decision.at_s]
    last = max(before, key=lambda change: change.at_s, default=None)
    turned = last is not None and last.is_scale_out != out
    state = replace(state, turns_s=(*state.turns_s, decision.at_s)[-20:] if turned else state.turns_s)
    if out:
        return state
    return replace(state, last_scale_in=Change(decision.at_s, decision.baseline, decision.desired, "test"))


@dataclass
class Fleet:
    """A component in a closed loop: `load(t)` requests are in flight whatever the copies do; asked copies come later.

    Time counts from 0 in seconds. The metric is the mean of each 10 s, one value per second, per copy that serves; it
    can be read `lag_s` after its period began to be published, and the newest period is read while it is still filling.
    """

    load: Callable[[int], float]
    copies: int = 1
    boot_s: int = 360
    lag_s: int = 15
    look_s: int = 10
    goal: ScalableTarget = field(default_factory=target)
    state: TargetState = field(default_factory=TargetState)

    def run(self, until_s: int) -> list[Decision]:
        """Look every `look_s` seconds until `until_s`; return every decision. Each is carried out at once."""
        desired = serving = self.copies
        boots: list[int] = []
        per_copy: list[float] = []
        published: list[Datapoint] = []
        decisions = []
        for t in range(until_s):
            serving += sum(1 for at in boots if at <= t)
            boots = [at for at in boots if at > t]
            per_copy.append(self.load(t) / serving)
            if t % self.look_s or t < self.look_s:
                continue
            visible_s = t - self.lag_s
            while 10 * len(published) + 10 <= visible_s:
                published.append(_datapoint(10 * len(published), per_copy, 10 * len(published) + 10))
            newest = [_datapoint(10 * len(published), per_copy, visible_s)] if visible_s > 10 * len(published) else []
            points = (*published[-90:], *newest)
            observed = seen(Series(10.0, points), desired, serving, now_s=NOW_S + t)
            decision = decide(self.goal, observed, self.state, NOW_S + t)
            self.state = carried_out(decision)
            decisions.append(decision)
            if decision.desired > desired:
                boots += [t + self.boot_s] * (decision.desired - desired)
            for _ in range(desired - decision.desired):
                if boots:
                    boots.pop()
                else:
                    serving -= 1
            desired = decision.desired
        return decisions


def _datapoint(start_s: int, per_copy: Sequence[float], until_s: int) -> Datapoint:
    part = per_copy[start_s:until_s]
    return Datapoint(NOW_S + start_s, average=sum(part) / len(part), maximum=max(part))


def changes(decisions: Sequence[Decision]) -> list[tuple[int, int]]:
    """(seconds since the fleet began, count) of every decision that changed the count."""
    return [(round(d.at_s - NOW_S), d.desired) for d in decisions if d.desired != d.baseline]


def settled_on(name: str, desired: int, current: int | None = None, *, accelerators: float = 1, **fields) -> Component:
    """A component called `name` on variant v, each copy taking `accelerators` of an instance."""
    fields = {"requirements": Requirements(accelerators=accelerators, memory_mb=1024)} | fields
    status = fields.pop("status", ComponentStatus.IN_SERVICE)
    variant = fields.pop("variant", "v")
    return Component(name, "llm", variant, status, desired, desired if current is None else current, **fields)


def wish(
    found: Component,
    desired: int,
    *,
    state: TargetState | None = None,
    low: int = 1,
    priority: int = 0,
    hot: bool = False,
    look_again_in_s: float | None = None,
    hands_off: bool = False,
    policies=(DEMAND,),
) -> Wish:
    """The wish that `found` has `desired` copies."""
    target_id = TargetId.of_component(found.name)
    goal = ScalableTarget(target_id, "llm", found.variant, low, 50, policies, priority=priority, alarms=("s--low",))
    decision = Decision(
        target_id=target_id,
        at_s=NOW_S,
        desired=desired,
        baseline=found.desired_copies,
        current=found.current_copies,
        reason=Reason.DEMAND,
        steps=(Step("pause", desired, Reason.PAUSED),) if hands_off else (),
        state=state or TargetState(wish=desired),
        look_again_at_s=None if look_again_in_s is None else NOW_S + look_again_in_s,
        hot=hot,
    )
    return Wish(goal, decision, found)


def instances_wish(variant: str, desired: int, now: int, *, state: TargetState | None = None) -> Wish:
    """The wish that `variant`, whose instances are the scalable target, has `desired` of them."""
    target_id = TargetId.of_variant("llm", variant)
    goal = ScalableTarget(target_id, "llm", variant, 1, 50, (DEMAND,))
    kept = state or TargetState(wish=desired)
    return Wish(goal, Decision(target_id, NOW_S, desired, now, now, Reason.DEMAND, (), kept))


def view_of(
    *wishes: Wish,
    instances: int = 1,
    desired_instances: int | None = None,
    instance_type: str = "ml.g5.12xlarge",
    status=EndpointStatus.IN_SERVICE,
    memory: VariantState | None = None,
    others: Sequence[Component] = (),
    alarms: dict[str, AlarmState] | None = None,
    variants: Sequence[Variant] = (),
    known: bool = True,
    **fields,
) -> EndpointView:
    """An endpoint with one variant v (4 accelerators an instance unless said otherwise) and everything on it."""
    desired = instances if desired_instances is None else desired_instances
    variant = Variant("v", instance_type, instances, desired, **fields)
    found = {
        name: Alarm(name, state, NOW_S - 600, 5.0, above=not name.endswith("low"))
        for name, state in (alarms or {}).items()
    }
    return EndpointView(
        Endpoint("llm", status, (variant, *variants)),
        EndpointState(variants={"v": memory} if memory is not None else {}),
        (*(w.component for w in wishes if w.component is not None), *others),
        wishes,
        NOW_S,
        found,
        known,
    )
