"""The policies stage: ask every policy of the target; the largest count wins, and scale-in needs all to agree.

Application Auto Scaling's rule for several policies on one target. A step policy whose alarm is not in ALARM has no
opinion; a target tracking policy always has one (it holds), and so has demand sizing unless demand is not known.
"""

from __future__ import annotations

from quickstep.model.decision import Step
from quickstep.model.targets import DemandPolicy, StepScalingPolicy, TargetTrackingPolicy
from quickstep.policy import step_scaling, target_tracking
from quickstep.policy.demand import DemandKind
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "policies"

_NO_OPINION = frozenset(
    {
        Reason.ALARM_NOT_IN_ALARM,
        Reason.NO_STEP_MATCHES,
        Reason.BREACH_ALREADY_COUNTED,
        Reason.NOT_CONFIGURED,
        Reason.COOLDOWN_SCALE_OUT,
        Reason.NO_COPIES,
    }
)


def apply(facts: Facts, recommended: int) -> Step:
    """Return the largest recommendation among the policies; each policy's own step is in `inputs`."""
    opinions = [_ask(facts, policy, recommended) for policy in facts.target.policies]
    voiced = [step for step in opinions if step.reason not in _NO_OPINION]
    memory: dict[str, object] = {}
    step_memory = dict(facts.state.step_memory)
    for step in opinions:
        step_memory.update(step.memory.get("step_memory", {}))
    if step_memory != dict(facts.state.step_memory):
        memory["step_memory"] = step_memory
    look_again = min((s.look_again_at_s for s in opinions if s.look_again_at_s is not None), default=None)
    inputs: dict[str, object] = {s.stage: {"recommended": s.recommended, "reason": str(s.reason), "detail": s.detail} for s in opinions}
    if not voiced:
        quiet = next((s for s in opinions if s.reason is not Reason.NOT_CONFIGURED), None)
        reason, detail = (quiet.reason, quiet.detail) if quiet else (Reason.NOT_CONFIGURED, "no policy is registered")
        return Step(STAGE, recommended, reason, detail, inputs, look_again, memory)
    # Nobody has an opinion: what was wished before still stands (`recommended`).
    winner = max(voiced, key=lambda s: (s.recommended, s.reason is not Reason.NO_DATA))
    inputs["winner"] = winner.stage
    reason = winner.reason
    if winner.recommended == recommended and any(s.recommended < recommended for s in voiced) and len(voiced) > 1:
        reason = Reason.NO_DATA if winner.reason is Reason.NO_DATA else Reason.POLICIES_DISAGREE
    return Step(STAGE, winner.recommended, reason, f"{winner.stage}: {winner.detail}", inputs, look_again, memory)


def _ask(facts: Facts, policy: object, recommended: int) -> Step:
    if isinstance(policy, DemandPolicy):
        return size_for_demand(facts, policy)
    alarms = {a.name: a for a in facts.observation.alarms}
    common = {
        "baseline": facts.baseline,
        "series": facts.observation.metrics.concurrency,
        "alarms": alarms,
        "state": facts.state,
        "now_s": facts.now_s,
        "min_capacity": facts.target.min_capacity,
        "max_capacity": facts.target.max_capacity,
    }
    if isinstance(policy, StepScalingPolicy):
        return step_scaling.recommend(policy, **common)
    if isinstance(policy, TargetTrackingPolicy):
        return target_tracking.recommend(policy, serving=facts.observation.current, **common)
    raise TypeError(f"{type(policy).__name__} is not a policy that this version knows")


def size_for_demand(facts: Facts, policy: DemandPolicy) -> Step:
    """Demand sizing: as many copies as the whole demand needs at `policy.target_per_copy` each."""
    demand = facts.demand
    name = policy.name
    if demand.kind is DemandKind.NO_COPIES:
        return Step(name, facts.baseline, Reason.NO_COPIES, "no copy serves, so load per copy cannot be measured")
    if demand.kind is DemandKind.NO_DATA or demand.total is None:
        return Step(name, facts.baseline, Reason.NO_DATA, "no usable datapoint of the concurrency metric: hold")
    needed = demand.needed(policy.target_per_copy)
    assert needed is not None
    reason = Reason.NO_TRAFFIC if demand.kind is DemandKind.NO_TRAFFIC else Reason.DEMAND
    one = "copy" if facts.observation.component is not None else "instance"
    detail = f"{demand.total:.1f} in flight at {policy.target_per_copy:g} per {one}"
    return Step(
        name,
        needed,
        reason,
        f"{detail} needs {needed}",
        {"total": round(demand.total, 3), "target_per_copy": policy.target_per_copy, "statistic": demand.statistic},
    )
