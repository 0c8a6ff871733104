"""The decision: a visible list of stages, each of which may change the recommendation and always says why.

`decide` is pure: the same observation, state, target and time give the same decision, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from quickstep.model.decision import Decision, Step
from quickstep.model.observation import AlarmState, Observation
from quickstep.model.state import Change, TargetState
from quickstep.model.targets import DemandPolicy, ScalableTarget
from quickstep.policy import (
    bounds,
    budget,
    burst,
    cooldown,
    drain,
    forecast_floor,
    manual,
    pace,
    pause,
    pending,
    policies,
    stabilization,
    wake,
)
from quickstep.policy import demand as demands
from quickstep.policy.facts import Facts
from quickstep.policy.sizing import Sizing
from quickstep.reasons import Reason

Stage = Callable[[Facts, int], Step]

STAGES: tuple[Stage, ...] = (
    # What every policy wants: the largest count wins, scale-in only if all agree.
    policies.apply,
    # What is forecast for the hour that comes is there before it begins.
    forecast_floor.apply,
    # A sudden doubling is answered from the newest datapoint, and nothing is removed for a while.
    burst.apply,
    # What is already on its way counts; right after a change of copies nothing is removed.
    pending.apply,
    # A count is given up only when nothing in the hold window needed it.
    stabilization.apply,
    # What stays must carry the load with room to spare, and at most half goes at once.
    drain.apply,
    # Scale-ins keep their distance from each other and from the last scale-out.
    cooldown.apply,
    # From zero: to the waiting demand; and no sooner back to zero than it was worth waking.
    wake.apply,
    # A person's wish is a floor for a while, also one that was made behind our back.
    manual.apply,
    # Never more than the hourly budget pays for.
    budget.apply,
    # Between minimum and maximum.
    bounds.apply,
    # The operator's hand: pause, pin, suspended directions, kill switch.
    pause.apply,
)


def decide(
    target: ScalableTarget,
    observation: Observation,
    state: TargetState,
    now_s: float,
    *,
    copies_per_instance: int | None = None,
    scaling_enabled: bool = True,
) -> Decision:
    """Decide how many copies (or instances) `target` should have at `now_s`.

    `state` is what the last look left behind; the state to keep is in the decision. Raises nothing for odd metrics:
    what is not a count is treated as not known.
    """
    state = replace(state, serving=demands.remember_serving(state, observation, now_s), last_look_s=now_s)
    policy = next((p for p in target.policies if isinstance(p, DemandPolicy)), None)
    window_s, sized_per_copy = demands.DEFAULT_WINDOW_S, None
    if policy is not None:
        window_s, sized_per_copy = policy.window_s, policy.target_per_copy
        state = pace.remember_service(state, observation, policy.target_per_copy)
    demand = demands.estimate(observation, state, now_s, window_s=window_s, target_per_copy=sized_per_copy)
    if policy is not None:
        state = pace.remember_load(state, demand)
    most = forecast_floor.raised_maximum(target, state, now_s)
    facts = Facts(
        target=target if most == target.max_capacity else replace(target, max_capacity=most),
        observation=observation,
        state=state,
        now_s=now_s,
        baseline=committed(observation, state),
        demand=demand,
        demand_policy=policy,
        sizing=None if policy is None else sizing_at(policy, state, now_s),
        target_per_copy=target.target_per_copy,
        copies_per_instance=copies_per_instance,
        scaling_enabled=scaling_enabled,
    )
    steps: list[Step] = []
    recommended = standing(facts)
    for stage in STAGES:
        step = stage(facts, recommended)
        recommended = step.recommended
        steps.append(step)
    return _decision(facts, steps)


def sizing_at(policy: DemandPolicy, state: TargetState, now_s: float) -> Sizing:
    """How `policy` sizes at `now_s`, with what was learned."""
    headroom = state.headroom
    seasonal = None if headroom is None else headroom.seasonal_peak(now_s)
    return Sizing(policy.target_per_copy, policy.slo_target, headroom, seasonal)


def committed(observation: Observation, state: TargetState) -> int:
    """Capacity asked of SageMaker, or the larger wish that waits for instances or for the component to become stable."""
    if state.queued and state.wish is not None:
        return max(observation.desired, state.wish)
    return observation.desired


def standing(facts: Facts) -> int:
    """What was wished last and has not been asked yet, else what is committed: what holds if no policy says otherwise."""
    state = facts.state
    fresh = state.wish_at_s is not None and facts.now_s - state.wish_at_s <= STANDING_S
    return state.wish if state.queued and fresh and state.wish is not None else facts.baseline


STANDING_S = 120.0


def _decision(facts: Facts, steps: list[Step]) -> Decision:
    desired, state = steps[-1].recommended, facts.state
    memory: dict[str, object] = {}
    for step in steps:
        if step.memory:
            memory.update(step.memory)
    if "step_memory" in memory:
        memory["step_memory"] = _kept_answers(facts, steps[0], desired)
    if state.wish != desired:
        memory["wish"], memory["wish_at_s"] = desired, facts.now_s
    if desired > facts.baseline:
        memory["last_scale_out"] = Change(facts.now_s, facts.baseline, desired, _who_raised(steps, facts.baseline))
    return Decision(
        target_id=facts.target.target_id,
        at_s=facts.now_s,
        desired=desired,
        baseline=facts.baseline,
        current=facts.observation.current,
        asked=facts.observation.desired,
        drain_s=drain.streams_need_s(facts),
        reason=binding_reason(steps, facts.baseline),
        steps=tuple(steps),
        state=replace(state, **memory) if memory else state,
        look_again_at_s=_look_again_at_s(facts, steps),
        hot=_is_hot(facts, steps),
        demand=facts.demand.total,
    )


def _kept_answers(facts: Facts, policies_step: Step, desired: int) -> dict[str, object]:
    """Step memory after this decision: what a policy answered counts only if the decision goes at least as far.

    A step that was held back later (pause, budget, stabilization) has answered nothing and must be free to ask again.
    """
    kept: dict[str, object] = dict(facts.state.step_memory)
    answered: Mapping[str, object] = policies_step.memory["step_memory"]  # type: ignore[assignment]
    for name, memory in answered.items():
        asked: int = policies_step.inputs[name]["recommended"]  # type: ignore[index]
        if facts.baseline < asked <= desired or facts.baseline > asked >= desired:
            kept[name] = memory
    return kept


def _look_again_at_s(facts: Facts, steps: list[Step]) -> float | None:
    """The earliest moment at which some stage's answer changes by itself, if that could change the decision."""
    if steps[-1].reason in _OPERATORS_HAND:
        steps = steps[-1:]
    at_min = facts.baseline <= facts.target.min_capacity
    first_s = None
    for step in steps:
        at_s = step.look_again_at_s
        # At the minimum it does not matter when a hold on scale-in ends.
        if at_s is None or at_s <= facts.now_s or (at_min and step.reason in _SCALE_IN_HOLDS):
            continue
        if first_s is None or at_s < first_s:
            first_s = at_s
    if _outgrows_unseen(facts, steps[-1]):
        seen_s = facts.now_s + UNSEEN_S
        first_s = seen_s if first_s is None else min(first_s, seen_s)
    return first_s


UNSEEN_S = 601.0
"""A look costs money where nothing happens, so it is not taken every minute: on generated days and on P5 every minute, three,
five and ten minutes reach the same service level at the same cost within chance."""


def _outgrows_unseen(facts: Facts, last: Step) -> bool:
    """True if load may outgrow its headroom while every copy is below the alarm's threshold: then no event would come.

    That is so if the most that no alarm tells of, the target on every copy, already needs more copies than there will be.
    Where growth is small (a quiet component) it never does, and no look is paid for.
    """
    sizing, copies = facts.sizing, last.recommended
    if sizing is None or sizing.trust == 0 or copies < 1 or facts.demand.kind is not demands.DemandKind.KNOWN:
        return False
    if last.reason in _OPERATORS_HAND or copies >= facts.target.max_capacity:
        return False
    silent = copies * sizing.target_per_copy
    worth = pace.copies_worth(silent, copies, sizing.target_per_copy)
    return sizing.copies(demands.Load(silent, worth)) > copies


def _who_raised(steps: list[Step], baseline: int) -> str:
    """The policy whose count this is, or the later stage that asked for more."""
    raised, who = baseline, ""
    for step in steps:
        if step.recommended > raised:
            who = str(step.inputs.get("winner", "")) or step.stage
        raised = step.recommended
    return who


def binding_reason(steps: list[Step], baseline: int) -> Reason:
    """Reason of the last stage that moved the recommendation; if it ended where it began, of the stage that held it."""
    previous = baseline
    last: Step | None = None
    for step in steps:
        if step.recommended != previous:
            last = step
        previous = step.recommended
    if last is not None:
        return last.reason
    blocking = next((s.reason for s in reversed(steps) if s.reason in _HOLDING), None)
    return blocking or Reason.AT_DESIRED


_OPERATORS_HAND = frozenset({Reason.PAUSED, Reason.PINNED, Reason.FOREIGN_ACTOR})

_SCALE_IN_HOLDS = frozenset(
    {
        Reason.NO_DATA,
        Reason.CHANGE_SETTLING,
        Reason.SCALE_IN_HOLD,
        Reason.FLAPPING,
        Reason.DRAIN_UNSAFE,
        Reason.COOLDOWN_SCALE_IN,
    }
)

_HOLDING = frozenset(
    {
        Reason.PAUSED,
        Reason.PINNED,
        Reason.SUSPENDED,
        Reason.FOREIGN_ACTOR,
        Reason.AT_MAX,
        Reason.AT_MIN,
        Reason.BUDGET,
        Reason.NO_DATA,
        Reason.POLICIES_DISAGREE,
        Reason.MANAGED_MAX_INSTANCES,
    }
)

_NO_ROOM_ABOVE = frozenset(
    {
        Reason.PAUSED,
        Reason.SHADOW,
        Reason.PINNED,
        Reason.SUSPENDED,
        Reason.FOREIGN_ACTOR,
        Reason.AT_MAX,
        Reason.LOWERED_TO_MAX,
        Reason.BUDGET,
        Reason.MANAGED_MAX_INSTANCES,
    }
)


def _is_hot(facts: Facts, steps: list[Step]) -> bool:
    """Load may still rise: an alarm that asks for more is in ALARM, and there is room above."""
    if steps[-1].recommended >= facts.target.max_capacity or facts.target.suspension.scale_out:
        return False
    if any(step.reason in _NO_ROOM_ABOVE for step in steps[-3:]):
        return False
    asleep = facts.observation.current == 0
    return any(
        a.state is AlarmState.ALARM and a.above and (asleep or a.name != facts.target.wake_alarm)
        for a in facts.observation.alarms
    )
