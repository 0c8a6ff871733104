"""Application Auto Scaling's policy documents: read, checked, turned into our policies, and written back.

Field names, which fields are required, lengths and enumerations are those of the botocore model
`application-autoscaling` (`StepScalingPolicyConfiguration`, `TargetTrackingScalingPolicyConfiguration`). Numbers may
come as text, since CloudFormation hands every property of a custom resource over as text. Whatever is wrong is an
`InvalidPolicy` that names the field, the value and what is allowed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_pascal

from quickstep.errors import InvalidPolicy
from quickstep.model.targets import (
    AdjustmentType,
    AlarmBinding,
    Dimension,
    Statistic,
    StepAdjustment,
    StepScalingPolicy,
    TargetTrackingPolicy,
)
from quickstep.policy.step_table import validate_steps

DEFAULT_COOLDOWN_S = 300
"""AAS's default for step scaling, and for target tracking of SageMaker's dimensions."""

CONCURRENCY_METRICS: Mapping[Dimension, str] = {
    Dimension.COPIES: "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution",
    Dimension.INSTANCES: "SageMakerVariantConcurrentRequestsPerModelHighResolution",
}
"""The predefined metrics that can be tracked: each dimension's 10-second concurrency."""

_CUSTOMIZED = {Dimension.COPIES: "ConcurrentRequestsPerCopy", Dimension.INSTANCES: "ConcurrentRequestsPerModel"}
_SERIES = "concurrency"


def _no_booleans(value: Any) -> Any:
    # A boolean is a number to Python, and never meant as one here.
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not a boolean")
    return value


_Integer = Annotated[int, BeforeValidator(_no_booleans)]
_Number = Annotated[float, BeforeValidator(_no_booleans), Field(allow_inf_nan=False)]
_Seconds = Annotated[_Integer, Field(ge=0)]
_Text255 = Annotated[str, Field(min_length=1, max_length=255)]


def _within_aas_range(value: float) -> float:
    if abs(value) > 2.0**360:
        raise ValueError("It must be in the range of -2^360 to 2^360")
    return value


_TargetValue = Annotated[_Number, AfterValidator(_within_aas_range)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_pascal)


class StepAdjustmentDocument(_Document):
    """AAS `StepAdjustment`; a missing bound is infinity."""

    metric_interval_lower_bound: _Number | None = None
    metric_interval_upper_bound: _Number | None = None
    scaling_adjustment: _Integer


class StepScalingDocument(_Document):
    """AAS `StepScalingPolicyConfiguration`, with what a new policy must have."""

    adjustment_type: AdjustmentType
    step_adjustments: tuple[StepAdjustmentDocument, ...]
    min_adjustment_magnitude: Annotated[_Integer, Field(ge=0)] | None = None
    cooldown: _Seconds | None = None
    metric_aggregation_type: Statistic | None = None


class PredefinedMetricDocument(_Document):
    """AAS `PredefinedMetricSpecification`."""

    predefined_metric_type: Annotated[str, Field(min_length=1)]
    resource_label: Annotated[str, Field(min_length=1, max_length=1023)] | None = None


class MetricDimensionDocument(_Document):
    """AAS `MetricDimension` (customized metric)."""

    name: str
    value: str


class TrackedDimensionDocument(_Document):
    """AAS `TargetTrackingMetricDimension` (metric math)."""

    name: _Text255
    value: Annotated[str, Field(min_length=1, max_length=1024)]


class TrackedMetricDocument(_Document):
    """AAS `TargetTrackingMetric`."""

    dimensions: tuple[TrackedDimensionDocument, ...] | None = None
    metric_name: _Text255 | None = None
    namespace: _Text255 | None = None


class TrackedMetricStatDocument(_Document):
    """AAS `TargetTrackingMetricStat`."""

    metric: TrackedMetricDocument
    stat: str
    unit: Annotated[str, Field(min_length=1, max_length=1023)] | None = None


class MetricDataQueryDocument(_Document):
    """AAS `TargetTrackingMetricDataQuery`."""

    expression: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    id: _Text255
    label: str | None = None
    metric_stat: TrackedMetricStatDocument | None = None
    return_data: bool | None = None


class CustomizedMetricDocument(_Document):
    """AAS `CustomizedMetricSpecification`: one metric, or metric math."""

    metric_name: str | None = None
    namespace: str | None = None
    dimensions: tuple[MetricDimensionDocument, ...] | None = None
    statistic: Literal["Average", "Minimum", "Maximum", "SampleCount", "Sum"] | None = None
    unit: str | None = None
    metrics: tuple[MetricDataQueryDocument, ...] | None = None


class TargetTrackingDocument(_Document):
    """AAS `TargetTrackingScalingPolicyConfiguration`."""

    target_value: _TargetValue
    predefined_metric_specification: PredefinedMetricDocument | None = None
    customized_metric_specification: CustomizedMetricDocument | None = None
    scale_out_cooldown: _Seconds | None = None
    scale_in_cooldown: _Seconds | None = None
    disable_scale_in: bool | None = None

    @model_validator(mode="after")
    def _one_metric(self) -> TargetTrackingDocument:
        if (self.predefined_metric_specification is None) == (self.customized_metric_specification is None):
            raise ValueError("Give exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification")
        return self


def step_policy_from_document(
    name: str, document: Mapping[str, Any], alarms: Iterable[AlarmBinding]
) -> StepScalingPolicy:
    """Read a `StepScalingPolicyConfiguration`; `alarms` are the ones that trigger the policy.

    AAS's defaults: cooldown 300 s, aggregation Average, magnitude 0. Raises `InvalidPolicy`.
    """
    _check_name(name)
    found = _read(StepScalingDocument, document, "StepScalingPolicyConfiguration")
    magnitude = found.min_adjustment_magnitude or 0
    steps = tuple(_step(row) for row in found.step_adjustments)
    validate_steps(steps, found.adjustment_type, min_adjustment_magnitude=magnitude)
    return StepScalingPolicy(
        name=name,
        adjustment_type=found.adjustment_type,
        steps=steps,
        alarms=tuple(alarms),
        cooldown_s=float(_or_default(found.cooldown)),
        min_adjustment_magnitude=magnitude,
        metric_aggregation=found.metric_aggregation_type or Statistic.AVERAGE,
    )


def target_tracking_from_document(
    name: str, document: Mapping[str, Any], high_alarm: str, low_alarm: str, *, dimension: Dimension | None = None
) -> TargetTrackingPolicy:
    """Read a `TargetTrackingScalingPolicyConfiguration`; the alarms are the policy's AlarmHigh and AlarmLow by name.

    AAS's defaults for SageMaker: both cooldowns 300 s, scale-in enabled. Only the concurrency metrics can be tracked:
    the two high-resolution predefined types, or the same metric spelled out as a customized one. Raises `InvalidPolicy`
    for every other metric, for the metric of another dimension than `dimension` (None = any), and for a target value
    that is not greater than 0.
    """
    _check_name(name)
    found = _read(TargetTrackingDocument, document, "TargetTrackingScalingPolicyConfiguration")
    if found.target_value <= 0:
        raise InvalidPolicy(f"TargetValue is {found.target_value:g}; concurrency per copy must be greater than 0")
    _check_tracked(found, dimension)
    return TargetTrackingPolicy(
        name=name,
        target_value=found.target_value,
        high_alarm=high_alarm,
        low_alarm=low_alarm,
        scale_out_cooldown_s=float(_or_default(found.scale_out_cooldown)),
        scale_in_cooldown_s=float(_or_default(found.scale_in_cooldown)),
        disable_scale_in=bool(found.disable_scale_in),
        metric=_SERIES,
    )


def to_document(policy: StepScalingPolicy | TargetTrackingPolicy, dimension: Dimension) -> dict[str, Any]:
    """The policy's AAS configuration document with every default written out; JSON-able, read back to the same policy.

    `dimension` is the target's: it tells the predefined metric of a target tracking policy. Names and alarms are not
    part of AAS's configuration documents. Raises `InvalidPolicy` for seconds that AAS, which has whole ones, cannot hold.
    """
    if isinstance(policy, TargetTrackingPolicy):
        return {
            "TargetValue": policy.target_value,
            "PredefinedMetricSpecification": {"PredefinedMetricType": CONCURRENCY_METRICS[dimension]},
            "ScaleOutCooldown": _whole("ScaleOutCooldown", policy.scale_out_cooldown_s),
            "ScaleInCooldown": _whole("ScaleInCooldown", policy.scale_in_cooldown_s),
            "DisableScaleIn": policy.disable_scale_in,
        }
    document: dict[str, Any] = {
        "AdjustmentType": policy.adjustment_type.value,
        "StepAdjustments": [_step_document(step) for step in policy.steps],
        "Cooldown": _whole("Cooldown", policy.cooldown_s),
        "MetricAggregationType": policy.metric_aggregation.value,
    }
    if policy.min_adjustment_magnitude:
        document["MinAdjustmentMagnitude"] = policy.min_adjustment_magnitude
    return document


def steps_from_json(
    text: str, adjustment_type: AdjustmentType = AdjustmentType.CHANGE_IN_CAPACITY
) -> tuple[StepAdjustment, ...]:
    """Read a step table from a JSON array of AAS `StepAdjustment`s, as the template's parameters hold it.

    Example: `[{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}]`. Raises `InvalidPolicy`.
    """
    try:
        rows = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constants)
    except json.JSONDecodeError as error:
        raise InvalidPolicy(
            f"step adjustments are not JSON: {error.msg} at character {error.pos + 1} of {text!r}; expected an array such "
            f"as {_EXAMPLE}"
        ) from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or thousands of brackets.
        raise InvalidPolicy(
            f"step adjustments cannot be read: {error}; expected an array such as {_EXAMPLE}"
        ) from error
    if not isinstance(rows, list):
        raise InvalidPolicy(f"step adjustments are {_kind(rows)}; expected a JSON array such as {_EXAMPLE}")
    steps = []
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidPolicy(f"step adjustment {index + 1} is {_kind(row)}; expected an object as in {_EXAMPLE}")
        steps.append(_step(_read(StepAdjustmentDocument, row, f"step adjustment {index + 1}")))
    validate_steps(steps, adjustment_type)
    return tuple(steps)


_EXAMPLE = '[{"MetricIntervalLowerBound":0,"ScalingAdjustment":1}]'
_Read = TypeVar("_Read", bound=_Document)


def _read(model: type[_Read], document: Mapping[str, Any], what: str) -> _Read:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = [_problem(row) for row in error.errors(include_url=False, include_context=False)]
        raise InvalidPolicy(f"{what}: {'; '.join(problems)}") from error


def _problem(row: Any) -> str:
    """One pydantic error for a person: field, value, what is allowed."""
    field = ""
    for part in row["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f"{'.' if field else ''}{part}"
    if row["type"] == "missing":
        return f"{field} is missing; it is required"
    if row["type"] == "extra_forbidden":
        return f"{field} is not a field of Application Auto Scaling's document; correct its name or remove it"
    message = row["msg"].removeprefix("Value error, ")
    if not field:
        return message[0].lower() + message[1:]
    return f"{field} is {row['input']!r}; {message[0].lower() + message[1:]}"


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= 256 or not name.isprintable():
        raise InvalidPolicy(f"PolicyName is {name!r}; it must have 1 to 256 printable characters")


def _check_tracked(found: TargetTrackingDocument, dimension: Dimension | None) -> None:
    tracked = [dimension] if dimension is not None else list(Dimension)
    allowed = " or ".join(CONCURRENCY_METRICS[one] for one in tracked)
    predefined, customized = found.predefined_metric_specification, found.customized_metric_specification
    if predefined is not None:
        if predefined.predefined_metric_type not in {CONCURRENCY_METRICS[one] for one in tracked}:
            raise InvalidPolicy(
                f"PredefinedMetricType is {predefined.predefined_metric_type!r}, which cannot be tracked here; use {allowed}"
            )
        return
    if customized is None or customized.metrics:
        raise InvalidPolicy(
            "CustomizedMetricSpecification.Metrics (metric math) cannot be tracked here; use "
            f"PredefinedMetricSpecification with {allowed}"
        )
    if (customized.namespace, customized.metric_name) not in {("AWS/SageMaker", _CUSTOMIZED[one]) for one in tracked}:
        raise InvalidPolicy(
            f"CustomizedMetricSpecification names metric {customized.metric_name!r} of {customized.namespace!r}, which "
            f"cannot be tracked here; use PredefinedMetricSpecification with {allowed}"
        )


def _step(row: StepAdjustmentDocument) -> StepAdjustment:
    return StepAdjustment(row.metric_interval_lower_bound, row.metric_interval_upper_bound, row.scaling_adjustment)


def _step_document(step: StepAdjustment) -> dict[str, Any]:
    bounds = {"MetricIntervalLowerBound": step.lower, "MetricIntervalUpperBound": step.upper}
    return {name: bound for name, bound in bounds.items() if bound is not None} | {"ScalingAdjustment": step.adjustment}


def _or_default(seconds: int | None) -> int:
    return DEFAULT_COOLDOWN_S if seconds is None else seconds


def _whole(name: str, seconds: float) -> int:
    if seconds != int(seconds):
        raise InvalidPolicy(f"{name} is {seconds:g} s; Application Auto Scaling has whole seconds only: round it")
    return int(seconds)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidPolicy(f"{twice} is given twice in one step adjustment; keep one of them")
    return found


def _no_constants(word: str) -> None:
    raise InvalidPolicy(f"step adjustments hold {word}, which is not a number; leave a bound out for infinity")


def _kind(value: Any) -> str:
    kinds = {dict: "an object", str: "a text", bool: "a boolean", type(None): "null", list: "an array"}
    return kinds.get(type(value), "a number")
