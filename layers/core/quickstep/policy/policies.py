"""The policies stage: ask every policy of the target; the largest count wins, and scale-in needs all to agree.

Application Auto Scaling's rule for several policies on one target. A policy that has nothing to say does not hold the
others: a step policy speaks only when it changes the count (or is blind, or waits to scale in itself), a target
tracking policy unless its scale-in is disabled, and demand sizing as soon as a copy serves. A forecast takes nothing
away, so it has no vote here: it is a floor under what the others want (`forecast_floor`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from quickstep.model.decision import Step
from quickstep.model.headroom import MINUTE_S
from quickstep.model.observation import Alarm, Series
from quickstep.model.targets import (
    DemandPolicy,
    Policy,
    PredictivePolicy,
    StepScalingPolicy,
    TargetTrackingPolicy,
)
from quickstep.policy import step_scaling, target_tracking
from quickstep.policy.demand import DemandKind, serving_during
from quickstep.policy.facts import Facts
from quickstep.reasons import Reason

STAGE = "policies"


def apply(facts: Facts, recommended: int) -> Step:
    """Return the largest recommendation among the policies; each policy's own step is in `inputs`.

    `memory["step_memory"]` holds what a policy has answered, by policy name: to be kept only if the decision goes at
    least as far as that policy asked.
    """
    reactive = [policy for policy in facts.target.policies if not isinstance(policy, PredictivePolicy)]
    opinions = [(policy, _ask(facts, policy)) for policy in reactive]
    voiced = [step for policy, step in opinions if _speaks(policy, step, facts.baseline)]
    answered: dict[str, object] = {}
    inputs: dict[str, object] = {}
    look_again_s = None
    for policy, step in opinions:
        answered.update(step.memory.get("step_memory") or {})  # type: ignore[call-overload]
        inputs[step.stage] = {
            "recommended": step.recommended,
            "reason": str(step.reason),
            "detail": step.detail,
            # The others say all their numbers in words; of the sizing the numbers are drawn.
            **(step.inputs if isinstance(policy, DemandPolicy) else {}),
        }
        if step.look_again_at_s is not None and (look_again_s is None or step.look_again_at_s < look_again_s):
            look_again_s = step.look_again_at_s
    memory: dict[str, object] = {"step_memory": answered} if answered else {}
    if not voiced:
        # Nobody has an opinion: what was wished before still stands (`recommended`).
        quiet = next((s for _, s in opinions if s.reason is not Reason.NOT_CONFIGURED), None)
        reason, detail = (quiet.reason, quiet.detail) if quiet else (Reason.NOT_CONFIGURED, "no policy is registered")
        return Step(STAGE, recommended, reason, detail, inputs, look_again_s, memory)
    winner = max(voiced, key=lambda s: (s.recommended, s.reason is not Reason.NO_DATA))
    inputs["winner"] = winner.stage
    reason = winner.reason
    if winner.recommended == facts.baseline and any(s.recommended < facts.baseline for s in voiced):
        reason = Reason.NO_DATA if winner.reason is Reason.NO_DATA else Reason.POLICIES_DISAGREE
    return Step(STAGE, winner.recommended, reason, f"{winner.stage}: {winner.detail}", inputs, look_again_s, memory)


def size_for_demand(facts: Facts, policy: DemandPolicy) -> Step:
    """Demand sizing: as many copies as the whole demand needs, and the minutes that come next if they are known."""
    demand, name, sizing = facts.demand, policy.name, facts.sizing
    assert sizing is not None  # It is there whenever the target has such a policy.
    one = "copy" if facts.observation.component is not None else "instance"
    if demand.kind is DemandKind.NO_COPIES:
        ahead = sizing.season_copies()
        detail = "no copy serves, so load per copy cannot be measured"
        if ahead <= facts.baseline:
            return Step(name, facts.baseline, Reason.NO_COPIES, detail, look_again_at_s=_season_begins_s(facts))
        return Step(name, ahead, Reason.SEASON, f"{detail}; yesterday's next minutes needed {ahead}")
    load = demand.load
    if load is None:
        return Step(name, facts.baseline, Reason.NO_DATA, "no usable datapoint of the concurrency metric: hold")
    needed = sizing.copies(load)
    reason = Reason.NO_TRAFFIC if demand.kind is DemandKind.NO_TRAFFIC else Reason.DEMAND
    if needed and needed == sizing.season_copies():
        reason = Reason.SEASON
    inputs: dict[str, object] = {
        "total": round(load.total, 3),
        "target_per_copy": policy.target_per_copy,
        "statistic": demand.statistic,
        "copies_worth": round(load.level, 3),
        "expected": round(sizing.expected(load), 3),
    }
    if sizing.headroom is not None:
        inputs |= {
            "lead_s": sizing.headroom.lead_s,
            "growth": sizing.headroom.growth,
            "trust": round(sizing.trust, 2),
        }
        if sizing.seasonal is not None:
            inputs |= {"yesterday": sizing.seasonal, "season": sizing.headroom.season}
    return Step(name, needed, reason, sizing.in_words(load, one), inputs, look_again_at_s=_season_begins_s(facts))


def _season_begins_s(facts: Facts) -> float | None:
    """When yesterday's minutes first ask for more than is committed: nothing else would cause a look then."""
    sizing = facts.sizing
    headroom = None if sizing is None else sizing.headroom
    if sizing is None or headroom is None or headroom.season is None or headroom.yesterday_from_s is None:
        return None
    for minute in range(len(headroom.yesterday)):
        at_s = headroom.yesterday_from_s + minute * MINUTE_S - headroom.lead_s
        ahead = replace(sizing, seasonal=headroom.yesterday[minute]).season_copies()
        if at_s > facts.now_s and ahead > facts.baseline:
            return at_s
    return None


_STEPS_SPEAK = frozenset({Reason.NO_DATA, Reason.COOLDOWN_SCALE_IN})
_TRACKING_IS_SILENT = frozenset({Reason.ALARM_NOT_IN_ALARM, Reason.SCALE_IN_DISABLED, Reason.NO_COPIES})


def _speaks(policy: Policy, step: Step, baseline: int) -> bool:
    if isinstance(policy, StepScalingPolicy):
        return step.recommended != baseline or step.reason in _STEPS_SPEAK
    if isinstance(policy, TargetTrackingPolicy):
        return step.reason not in _TRACKING_IS_SILENT
    return step.reason is not Reason.NO_COPIES


def _ask(facts: Facts, policy: Policy) -> Step:
    if isinstance(policy, DemandPolicy):
        return size_for_demand(facts, policy)
    alarms = {a.name: a for a in facts.observation.alarms}
    limits = {"min_capacity": facts.target.min_capacity, "max_capacity": facts.target.max_capacity}
    if isinstance(policy, StepScalingPolicy):
        return step_scaling.recommend(
            policy,
            baseline=facts.baseline,
            series=facts.observation.metrics.concurrency,
            own_series=_own_series(facts),
            alarms=alarms,
            state=facts.state,
            now_s=facts.now_s,
            **limits,
        )
    if isinstance(policy, TargetTrackingPolicy):
        series = _tracked(facts, policy)
        return target_tracking.recommend(
            policy,
            baseline=facts.baseline,
            serving=_served_it(facts, policy, series, alarms),
            ready=facts.observation.current,
            series=series,
            alarms=alarms,
            state=facts.state,
            now_s=facts.now_s,
            **limits,
        )
    raise TypeError(f"{type(policy).__name__} is not a policy that this version knows")


def _own_series(facts: Facts) -> Mapping[str, Series | None]:
    """What alarms read that is not the concurrency, by name: AAS's policy for leaving zero is bound to the wake alarm."""
    wake_alarm = facts.target.wake_alarm
    woken = {wake_alarm: facts.observation.metrics.no_capacity} if wake_alarm is not None else {}
    return {**woken, **facts.observation.alarm_series}


def _tracked(facts: Facts, policy: TargetTrackingPolicy) -> Series | None:
    if policy.metric == "concurrency":
        return facts.observation.metrics.concurrency
    found = facts.observation.alarm_series
    return found.get(policy.high_alarm) or found.get(policy.low_alarm)


def _served_it(
    facts: Facts, policy: TargetTrackingPolicy, series: Series | None, alarms: dict[str, Alarm]
) -> int | None:
    """Copies that served while the datapoint that will be used was measured; None if that is not known."""
    at_s = target_tracking.newest_datapoint_s(policy, series, alarms, facts.now_s)
    if at_s is None or series is None:
        return facts.observation.current
    alarm = next(alarms[n] for n in (policy.high_alarm, policy.low_alarm) if n in alarms)
    end_s = at_s + max(alarm.period_s, series.period_s)
    return serving_during(facts.state.serving, at_s, end_s, facts.observation.current)
