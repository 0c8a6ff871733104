"""The decision: a visible list of stages, each of which may change the recommendation and always says why.

`decide` is pure: the same observation, state, target and time give the same decision, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable
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
    manual,
    pause,
    pending,
    policies,
    stabilization,
    wake,
)
from quickstep.policy import demand as demands
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

Stage = Callable[[Facts, int], Step]

STAGES: tuple[Stage, ...] = (
    # What every policy wants: the largest count wins, scale-in only if all agree.
    policies.apply,
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
    window_s = next((p.window_s for p in target.policies if isinstance(p, DemandPolicy)), demands.DEFAULT_WINDOW_S)
    demand = demands.estimate(observation, state, now_s, window_s=window_s)
    facts = Facts(
        target=target,
        observation=observation,
        state=state,
        now_s=now_s,
        baseline=committed(observation, state),
        demand=demand,
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
    desired = steps[-1].recommended
    memory: dict[str, object] = {}
    for step in steps:
        memory.update(step.memory)
    look_again = [s.look_again_at_s for s in steps if s.look_again_at_s is not None and s.look_again_at_s > facts.now_s]
    state = facts.state
    if state.wish != desired:
        memory["wish"], memory["wish_at_s"] = desired, facts.now_s
    if desired > facts.baseline:
        winner = str(steps[0].inputs.get("winner", "")) if steps else ""
        memory["last_scale_out"] = Change(facts.now_s, facts.baseline, desired, winner)
    return Decision(
        target_id=facts.target.target_id,
        at_s=facts.now_s,
        desired=desired,
        baseline=facts.baseline,
        current=facts.observation.current,
        reason=binding_reason(steps, facts.baseline),
        steps=tuple(steps),
        state=replace(state, **memory) if memory else state,
        look_again_at_s=min(look_again, default=None),
        hot=_is_hot(facts, desired),
        demand=facts.demand.total,
    )


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


_HOLDING = frozenset(
    {
        Reason.PAUSED,
        Reason.PINNED,
        Reason.SUSPENDED,
        Reason.AT_MAX,
        Reason.AT_MIN,
        Reason.BUDGET,
        Reason.NO_DATA,
        Reason.MANAGED_MAX_INSTANCES,
    }
)


def _is_hot(facts: Facts, desired: int) -> bool:
    """Load may still rise: an alarm that asks for more is in ALARM and there is room above."""
    if desired >= facts.target.max_capacity or not facts.scaling_enabled or facts.target.suspension.scale_out:
        return False
    state = facts.state
    if state.pinned is not None or (state.paused_until_s is not None and state.paused_until_s > facts.now_s):
        return False
    asleep = facts.observation.current == 0
    return any(
        a.state is AlarmState.ALARM and a.above and (asleep or a.name != facts.target.wake_alarm)
        for a in facts.observation.alarms
    )
