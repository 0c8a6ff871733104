"""Scenes for tests of the decision: a target, an endpoint and metrics, described in one line each."""

from __future__ import annotations

from dataclasses import replace

from quickstep.model.decision import Decision
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
from quickstep.model.state import TargetState
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


def endpoint(instances: int = 20, *, desired: int | None = None, status=EndpointStatus.IN_SERVICE, **fields) -> Endpoint:
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


def decided(values, copies: int, *, state: TargetState | None = None, goal: ScalableTarget | None = None, **fields) -> Decision:
    """The decision for totals `values` while `copies` copies serve."""
    series = totals(values, copies) if values is not None else None
    observation = seen(series, copies, **fields)
    return decide(goal or target(), observation, state or steady(copies), NOW_S)
