"""What this stack was deployed with: environment variables, which the template sets from its parameters.

No value has a default here: defaults live in `template.yaml` alone, so the two cannot disagree. A variable that is
missing is an error that names it and the parameter behind it; which ones may be *empty* is written at each field.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from quickstep.errors import InvalidPolicy, InvalidSettings
from quickstep.model.targets import (
    AdjustmentType,
    AlarmBinding,
    DemandPolicy,
    Guards,
    Policy,
    ScalableTarget,
    Statistic,
    StepAdjustment,
    StepScalingPolicy,
    TargetId,
)
from quickstep.policy.step_table import validate_steps
from quickstep.shapes import Unreadable, number, one_of, or_empty, read, text, whole, word, yes_or_no

STEPS_OUT_POLICY = "default-steps-out"
STEPS_IN_POLICY = "default-steps-in"
DEMAND_POLICY = "default-demand"

_settings: Settings | None = None


def settings() -> Settings:
    """The settings of this process, read from the environment when first asked for. Raises `InvalidSettings`."""
    global _settings
    if _settings is None:
        _settings = Settings.from_environment(os.environ)
    return _settings


def forget() -> None:
    """Read the environment afresh next time."""
    global _settings
    _settings = None


class PolicyMode(StrEnum):
    """Which policies the default target has. In every mode its alarms say "look now"."""

    STEPS_AND_DEMAND = "StepsAndDemand"
    STEPS_ONLY = "StepsOnly"
    DEMAND_ONLY = "DemandOnly"


_TEXT = text(strip=True, min_length=1)
_NAME = text(strip=True, max_length=63, pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*$")
_Text = Annotated[str, _TEXT]
_Name = Annotated[str, _NAME]
_Seconds = Annotated[float, number(ge=0, le=86_400, from_text=True)]
_Finite = Annotated[float, number(from_text=True)]
_Count = Annotated[int, whole(ge=0, le=100_000, from_text=True)]
_PositiveOrEmpty = Annotated[float | None, or_empty(number(gt=0, from_text=True))]


@dataclass(frozen=True)
class DefaultTarget:
    """The one target that the template's parameters describe. Each field is the variable of the same name."""

    endpoint_name: _Name
    inference_component_name: Annotated[str | None, or_empty(_NAME)]
    """Empty = the variant's instances are scaled instead of a component's copies."""
    variant_name: Annotated[str | None, or_empty(_NAME)]
    """Only looked at when there is no component: a component's variant is what SageMaker says."""
    min_capacity: _Count
    max_capacity: Annotated[int, whole(ge=1, le=100_000, from_text=True)]
    target_concurrent_requests_per_copy: Annotated[float, number(gt=0, from_text=True)]
    concurrency_statistic: Annotated[str, one_of("Average", "Maximum")]
    policy_mode: Annotated[PolicyMode, word(PolicyMode)]
    scale_out_steps_json: _Text
    scale_in_steps_json: _Text
    step_cooldown_seconds: _Seconds
    scale_in_hold_seconds: _Seconds
    slo_target: Annotated[str, one_of("95", "98", "99", "99.5")]
    drain_budget_seconds: _Seconds
    high_alarm_name: _Text
    low_alarm_name: _Text
    wake_alarm_name: Annotated[str | None, or_empty(_TEXT)]
    """Empty = never at zero."""
    high_alarm_threshold: _Finite
    low_alarm_threshold: _Finite
    budget_usd_per_hour: _PositiveOrEmpty
    """Empty = no budget."""
    instance_usd_per_hour: _PositiveOrEmpty
    """Empty = price not known."""

    @property
    def alarm_names(self) -> tuple[str, ...]:
        """Every alarm of the template that speaks for this target, in whatever policy mode, sorted."""
        return tuple(sorted({self.high_alarm_name, self.low_alarm_name, *filter(None, (self.wake_alarm_name,))}))

    def scalable_target(self) -> ScalableTarget:
        """The target with its policies and guards. Raises `InvalidSettings` if a step table is none."""
        component = self.inference_component_name
        return ScalableTarget(
            target_id=TargetId.of_component(component)
            if component
            else TargetId.of_variant(self.endpoint_name, str(self.variant_name)),
            endpoint=self.endpoint_name,
            variant=None if component else self.variant_name,
            min_capacity=self.min_capacity,
            max_capacity=self.max_capacity,
            policies=self._policies(),
            guards=Guards(drain_budget_s=self.drain_budget_seconds),
            alarms=(self.high_alarm_name, self.low_alarm_name),
            wake_alarm=self.wake_alarm_name,
            hourly_cost_usd=self.instance_usd_per_hour,
            budget_usd_per_hour=self.budget_usd_per_hour,
        )

    def _policies(self) -> tuple[Policy, ...]:
        out = AlarmBinding(self.high_alarm_name, self.high_alarm_threshold, above=True)
        low = AlarmBinding(self.low_alarm_name, self.low_alarm_threshold, above=False)
        steps_out = self._step_policy(STEPS_OUT_POLICY, "SCALE_OUT_STEPS_JSON", self.scale_out_steps_json, out)
        steps_in = self._step_policy(STEPS_IN_POLICY, "SCALE_IN_STEPS_JSON", self.scale_in_steps_json, low)
        demand = DemandPolicy(
            DEMAND_POLICY,
            self.target_concurrent_requests_per_copy,
            scale_in_hold_s=self.scale_in_hold_seconds,
            slo_target=float(self.slo_target),
        )
        if self.policy_mode is PolicyMode.STEPS_ONLY:
            return (steps_out, steps_in)
        # With both, demand owns scale-in (AWS warns against mixing unless one policy does): steps only add.
        return (demand,) if self.policy_mode is PolicyMode.DEMAND_ONLY else (steps_out, demand)

    def _step_policy(self, name: str, variable: str, document: str, alarm: AlarmBinding) -> StepScalingPolicy:
        return StepScalingPolicy(
            name=name,
            adjustment_type=AdjustmentType.CHANGE_IN_CAPACITY,
            steps=_steps(variable, document, adds=alarm.above),
            alarms=(alarm,),
            cooldown_s=self.step_cooldown_seconds,
            metric_aggregation=Statistic(self.concurrency_statistic),
        )


@dataclass(frozen=True)
class Settings:
    """Everything that is the same for every target of the stack. Each field is the variable of the same name."""

    stack_name: Annotated[str, text(pattern=r"^[a-zA-Z][-a-zA-Z0-9]{0,127}$")]
    table_name: _Text
    state_machine_arn: Annotated[
        str, text(pattern=r"^arn:[a-z0-9-]+:states:[a-z0-9-]+:[0-9]{12}:stateMachine:[^:]+(:[^:]+)?$")
    ]
    alarm_prefix: _Text
    schedule_group_name: _Text
    scheduled_action_function_arn: Annotated[str, text(pattern=r"^arn:[a-z0-9-]+:lambda:.+:function:.+$")]
    scheduler_role_arn: Annotated[str, text(pattern=r"^arn:[a-z0-9-]+:iam::[0-9]{12}:role/.+$")]
    dead_letter_queue_arn: Annotated[str, text(pattern=r"^arn:[a-z0-9-]+:sqs:.+$")]
    scalable_targets_limit: Annotated[int, whole(ge=1, le=10_000, from_text=True)]
    code_version: _Text
    scaling_enabled: Annotated[bool, yes_or_no]
    """Yes or No; No is the kill switch: look, decide, record, and change nothing."""
    log_level: Annotated[str, one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")]
    powertools_service_name: _Text
    powertools_metrics_namespace: _Text
    default: DefaultTarget | None = None
    """None if ENDPOINT_NAME is empty: targets then come through the control API alone."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Settings from environment variables (or any mapping of their names to texts).

        Raises `InvalidSettings` naming the variable, the template parameter, the value and what to do.
        """
        missing = [name for name in variables() if name not in environ]
        if missing:
            raise InvalidSettings(
                "; ".join(f"{_called(name)} is missing" for name in missing)
                + ". Deploy the template that belongs to this code version"
            )
        default = None
        if environ["ENDPOINT_NAME"].strip():
            default = _validated(DefaultTarget, environ)
            _check_target(default)
        found = replace(_validated(cls, environ), default=default)
        if found.alarm_prefix != f"{found.stack_name}--":
            raise InvalidSettings(
                f"ALARM_PREFIX is {found.alarm_prefix!r}; expected '{found.stack_name}--', the stack's name and two hyphens: "
                "a shorter prefix would take the alarms of other stacks for ours"
            )
        return found

    def default_target(self) -> ScalableTarget | None:
        """The target that the template's parameters describe, with its policies; None if there is none."""
        return self.default.scalable_target() if self.default else None

    @property
    def account_id(self) -> str:
        return self.state_machine_arn.split(":")[4]

    @property
    def region(self) -> str:
        return self.state_machine_arn.split(":")[3]

    @property
    def partition(self) -> str:
        """`aws`, `aws-cn`, `aws-us-gov`, …"""
        return self.state_machine_arn.split(":")[1]


def variables() -> tuple[str, ...]:
    """Every environment variable that must be set (some may be empty), sorted."""
    names = {one.name for shape in (Settings, DefaultTarget) for one in fields(shape)} - {"default"}
    return tuple(sorted(name.upper() for name in names))


def parameter(variable: str) -> str:
    """The template parameter behind an environment variable: `MAX_CAPACITY` is `MaxCapacity`."""
    name = "".join(word.capitalize() for word in variable.split("_"))
    # The template says what the alarm's number counts.
    return f"{name}ConcurrentRequests" if variable.endswith("_ALARM_THRESHOLD") else name


# -- checks -----------------------------------------------------------------------------------------------------------

_NOT_PARAMETERS = {
    "STACK_NAME": "AWS::StackName",
    "TABLE_NAME": "the registry's table",
    "STATE_MACHINE_ARN": "the scaling loop's state machine",
    "ALARM_PREFIX": "AWS::StackName and two hyphens",
    "SCHEDULE_GROUP_NAME": "the stack's schedule group",
    "SCHEDULED_ACTION_FUNCTION_ARN": "the function that applies scheduled actions",
    "SCHEDULER_ROLE_ARN": "the role of EventBridge Scheduler",
    "DEAD_LETTER_QUEUE_ARN": "the stack's dead-letter queue",
    "CODE_VERSION": "set at build time",
    "POWERTOOLS_SERVICE_NAME": "AWS::StackName",
    "POWERTOOLS_METRICS_NAMESPACE": "a constant of the template",
    "HIGH_ALARM_NAME": "the template's high alarm",
    "LOW_ALARM_NAME": "the template's low alarm",
    "WAKE_ALARM_NAME": "the template's wake alarm",
}
_Shape = TypeVar("_Shape")


def _called(variable: str) -> str:
    if variable in _NOT_PARAMETERS:
        return f"{variable} ({_NOT_PARAMETERS[variable]})"
    return f"{variable} (template parameter {parameter(variable)})"


def _validated(shape: type[_Shape], environ: Mapping[str, str]) -> _Shape:
    try:
        return read(shape, environ, name=str.upper)
    except Unreadable as unreadable:
        wrong = [
            f"{_called(one.path[0])} is {one.value!r}: {one.expected[:1].lower()}{one.expected[1:]}"
            for one in unreadable.problems
        ]
    raise InvalidSettings("; ".join(wrong))


def _check_target(target: DefaultTarget) -> None:
    """Rules between values. Named as in the template, since that is where a person changes them."""
    low, high = target.min_capacity, target.max_capacity
    if low > high:
        raise InvalidSettings(
            f"MaxCapacity ({high}) is below MinCapacity ({low}); raise MaxCapacity or lower MinCapacity"
        )
    if target.inference_component_name is None and target.variant_name is None:
        raise InvalidSettings(
            "InferenceComponentName and VariantName are both empty; name the component whose copies are scaled, "
            "or the variant whose instances are scaled"
        )
    if low == 0 and target.inference_component_name is None:
        raise InvalidSettings(
            f"MinCapacity ({low}) lets variant {target.variant_name} go to zero, and nothing would wake it: only inference "
            "components report requests that found no copy; set MinCapacity to 1 or more"
        )
    if low == 0 and target.wake_alarm_name is None:
        raise InvalidSettings(
            f"MinCapacity ({low}) lets the component go to zero, but WAKE_ALARM_NAME is empty and nothing would wake it; "
            "set MinCapacity to 1 or more, or deploy the wake alarm"
        )
    per_copy = target.target_concurrent_requests_per_copy
    if per_copy < 1 and target.concurrency_statistic == "Maximum":
        raise InvalidSettings(
            f"TargetConcurrentRequestsPerCopy ({per_copy:g}) is below 1 while ConcurrencyStatistic is Maximum: the maximum "
            "of a period with a single request is already 1, so every request would ask for MaxCapacity; "
            "set the target to 1 or more, or ConcurrencyStatistic to Average"
        )
    if target.low_alarm_threshold >= target.high_alarm_threshold:
        raise InvalidSettings(
            f"{parameter('LOW_ALARM_THRESHOLD')} ({target.low_alarm_threshold:g}) is not below "
            f"{parameter('HIGH_ALARM_THRESHOLD')} ({target.high_alarm_threshold:g}), so both alarms would ring at once; lower the one or raise the other"
        )
    if target.high_alarm_name == target.low_alarm_name:
        raise InvalidSettings(
            f"HIGH_ALARM_NAME and LOW_ALARM_NAME are both {target.high_alarm_name!r}; they must differ"
        )
    if target.budget_usd_per_hour is not None and target.instance_usd_per_hour is None:
        raise InvalidSettings(
            f"BudgetUsdPerHour ({target.budget_usd_per_hour:g}) cannot be kept without the price of an instance; "
            "set InstanceUsdPerHour or leave BudgetUsdPerHour empty"
        )
    target.scalable_target()


def _steps(variable: str, document: str, *, adds: bool) -> tuple[StepAdjustment, ...]:
    """The step table of one direction: only additions above the high alarm, only removals below the low one."""
    steps = plain_steps(document)
    if steps is None:
        # Imported here: it brings pydantic, whose import an alarm would wait for, and most tables are plain.
        from quickstep.policy_documents import steps_from_json

        try:
            steps = steps_from_json(document)
        except InvalidPolicy as error:
            raise InvalidSettings(f"{_called(variable)}: {error}") from error
    for position, step in enumerate(steps, 1):
        if (step.adjustment < 0) if adds else (step.adjustment > 0):
            verb, way, other = ("removes", "out", "in") if adds else ("adds", "in", "out")
            raise InvalidSettings(
                f"{_called(variable)}: step {position} {verb} {abs(step.adjustment)} in the scale-{way} table; "
                f"correct its sign or move it to {parameter(f'SCALE_{other.upper()}_STEPS_JSON')}"
            )
    return steps


_BOUNDS = ("MetricIntervalLowerBound", "MetricIntervalUpperBound")


def plain_steps(document: str) -> tuple[StepAdjustment, ...] | None:
    """A step table with nothing remarkable about it; None for any other, which `policy_documents` reads or refuses."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    try:
        rows = json.loads(document, object_pairs_hook=once)
        steps = tuple(
            StepAdjustment(*(_bound(row.pop(name, None)) for name in _BOUNDS), _change(row.pop("ScalingAdjustment")))
            for row in rows
            if isinstance(rows, list)
        )
        if not steps or any(rows):
            return None
        validate_steps(steps, AdjustmentType.CHANGE_IN_CAPACITY)
    except (AttributeError, InvalidPolicy, KeyError, RecursionError, TypeError, ValueError):
        return None
    return steps


def _bound(value: Any) -> float | None:
    return None if value is None else number()(value)


def _change(value: Any) -> int:
    return whole()(value)
