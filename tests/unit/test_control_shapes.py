"""Requests against botocore's model: every operation, every member, each way to be wrong, and what is said about it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from quickstep.control.api import OPERATIONS, handle
from quickstep.control.refusals import UnknownOperationException, ValidationException
from quickstep.control.shapes import coerced, timestamp_s, validated
from quickstep.gateways import autoscaling_model

ORIGINAL = ServiceModel(
    Loader(include_default_search_paths=True).load_service_model("application-autoscaling", "service-2")
)
"""Botocore's own description, untouched."""

ARN = "arn:aws:application-autoscaling:eu-west-1:111122223333:scalable-target/0123abc"
PATTERNED = {"AmazonResourceName": ARN, "ScheduledActionName": "night"}
WRONG_TYPES: dict[str, list[Any]] = {
    "string": [7, True, ["x"], {"x": 1}],
    "integer": ["7", 7.5, True, [7]],
    "double": ["7", True, math.nan, math.inf],
    "boolean": ["true", 1, 0],
    "timestamp": ["tomorrow", [], math.nan],
    "list": ["x", {"x": 1}, 7],
    "map": ["x", ["x"], 7],
    "structure": ["x", ["x"], 7],
}


def example(shape: Any, depth: int = 0) -> Any:
    """A value of a shape with every member that is not endless."""
    kind = shape.type_name
    if kind == "structure":
        return {name: example(member, depth + 1) for name, member in shape.members.items()}
    if kind == "list":
        return [example(shape.member, depth + 1)]
    if kind == "map":
        return {example(shape.key, depth + 1): example(shape.value, depth + 1)}
    if kind == "string":
        return (getattr(shape, "enum", None) or [PATTERNED.get(shape.name, "a")])[0]
    if kind in ("integer", "double"):
        return shape.metadata.get("min", 1)
    return {"boolean": True, "timestamp": 1_767_225_600.0}[kind]


def places(shape: Any, value: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """(path, shape) of everything inside an example."""
    if path:
        yield path, shape
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from places(member, value[name], (*path, name))
    elif shape.type_name == "list":
        yield from places(shape.member, value[0], (*path, 0))
    elif shape.type_name == "map":
        (key,) = value
        yield from places(shape.value, value[key], (*path, key))


def put(value: Any, path: tuple, new: Any) -> Any:
    """A copy with something else at `path`."""
    found = deepcopy(value)
    inner = found
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = new
    return found


def dotted(path: tuple) -> str:
    """A path as messages write it: `metrics.1.member.id`."""
    parts = []
    for part in path:
        parts += [f"{part + 1}", "member"] if isinstance(part, int) else [part[:1].lower() + part[1:]]
    return ".".join(parts)


def refusal(operation: str, params: Any) -> str:
    """What `handle` says; it must not get as far as its surroundings, which are not there."""
    with pytest.raises(ValidationException) as refused:
        handle(operation, params, context=None)
    assert refused.value.code == "ValidationException"
    return str(refused.value)


def everything(operation: str) -> tuple[Any, Any]:
    shape = autoscaling_model.service().operation_model(operation).input_shape
    return shape, example(shape)


# -- the table: all operations ---------------------------------------------------------------------------------------------


def test_the_fourteen_operations_of_the_model_are_all_there():
    assert sorted(OPERATIONS) == sorted(ORIGINAL.operation_names)
    assert len(OPERATIONS) == 14


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_a_request_with_every_member_passes_and_so_does_one_with_only_the_required(operation):
    shape, params = everything(operation)
    assert validated(params, shape).keys() == params.keys()
    validated({name: params[name] for name in shape.required_members}, shape)
    # The same without ours is valid by botocore's own description and its own validator.
    own = {name: value for name, value in params.items() if not name.startswith("Quickstep")}
    assert not ParamValidator().validate(own, ORIGINAL.operation_model(operation).input_shape).has_errors()


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_required_member_that_is_missing_or_null_is_named(operation):
    shape, params = everything(operation)
    for name in shape.required_members:
        for wrong in ({key: value for key, value in params.items() if key != name}, {**params, name: None}):
            assert f"Value null at '{dotted((name,))}' failed" in refusal(operation, wrong)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_a_member_that_is_required_deep_inside_is_named_with_its_path(operation):
    shape, params = everything(operation)
    for path, inner in places(shape, params):
        for name in inner.required_members if inner.type_name == "structure" else ():
            wrong = put(params, (*path, name), None)
            assert f"Value null at '{dotted((*path, name))}' failed" in refusal(operation, wrong)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_member_of_another_type_is_named_with_its_value_and_the_type_that_is_allowed(operation):
    shape, params = everything(operation)
    for path, inner in places(shape, params):
        for value in WRONG_TYPES[inner.type_name]:
            said = refusal(operation, put(params, path, value))
            assert f"Value '{value}' at '{dotted(path)}' failed to satisfy constraint: Member must be " in said


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_bound_of_the_model_is_kept(operation):
    shape, params = everything(operation)
    for path, inner in places(shape, params):
        kind, bounds = inner.type_name, inner.metadata

        def make(size: Any, inner: Any = inner, kind: str = kind) -> Any:
            return "a" * size if kind == "string" else [example(inner.member)] * size if kind == "list" else size

        what = "length" if kind in ("string", "list") else "value"
        if "max" in bounds and not getattr(inner, "enum", None):
            said = refusal(operation, put(params, path, make(bounds["max"] + 1)))
            assert f"at '{dotted(path)}' failed" in said
            assert f"Member must have {what} less than or equal to {bounds['max']}" in said
        if bounds.get("min", 0) > 0 or (kind in ("integer", "double") and "min" in bounds):
            said = refusal(operation, put(params, path, make(bounds["min"] - 1)))
            assert f"Member must have {what} greater than or equal to {bounds['min']}" in said


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_word_outside_an_enumeration_is_answered_with_the_words_that_are_allowed(operation):
    shape, params = everything(operation)
    for path, inner in places(shape, params):
        words = getattr(inner, "enum", None)
        if words:
            said = refusal(operation, put(params, path, "Nonsense"))
            assert f"Value 'Nonsense' at '{dotted(path)}' failed" in said
            assert f"Member must satisfy enum value set: [{', '.join(words)}]" in said


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_pattern_of_the_model_is_kept(operation):
    shape, params = everything(operation)
    for path, inner in places(shape, params):
        pattern = inner.metadata.get("pattern")
        if pattern:
            said = refusal(operation, put(params, path, "a\x01b"))
            assert "Member must satisfy regular expression pattern: " + pattern in said


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_a_member_that_the_shape_does_not_have_is_refused_rather_than_ignored(operation):
    shape, params = everything(operation)
    said = refusal(operation, {**params, "Frequency": 7})
    assert "Value '7' at 'frequency' failed to satisfy constraint: " in said
    for name in shape.members:
        assert name in said


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_what_botocores_validator_refuses_is_refused_here(operation):
    """Botocore's validator is the second opinion: everything it finds wrong with a mutation, we find wrong too."""
    shape, params = everything(operation)
    original = ORIGINAL.operation_model(operation).input_shape
    disagreements, refused = [], 0
    for path, inner in places(shape, params):
        for value in [*WRONG_TYPES[inner.type_name], None, "", -1, 10**9, {}, []]:
            mutation = put(params, path, value)
            own = {name: one for name, one in mutation.items() if not name.startswith("Quickstep")}
            if path[0].startswith("Quickstep") or not ParamValidator().validate(own, original).has_errors():
                continue
            refused += 1
            try:
                validated(mutation, shape)
            except ValidationException:
                continue
            if value is None and not _is_required(shape, path):
                continue  # An optional member that is null is one that is not there, as JSON clients send it.
            disagreements.append((path, value))
    assert refused and disagreements == []


def _is_required(shape: Any, path: tuple) -> bool:
    for part in path[:-1]:
        shape = (
            shape.member if isinstance(part, int) else shape.value if shape.type_name == "map" else shape.members[part]
        )
    return shape.type_name != "structure" or path[-1] in shape.required_members


def test_several_mistakes_are_all_told_at_once():
    said = refusal("RegisterScalableTarget", {"ServiceNamespace": "x", "ResourceId": "", "MinCapacity": "1"})
    assert said.startswith("4 validation errors detected: ")
    for name in ("serviceNamespace", "resourceId", "minCapacity", "scalableDimension"):
        assert f"'{name}'" in said


def test_an_operation_that_is_none_is_answered_with_those_there_are():
    with pytest.raises(UnknownOperationException, match="RegisterScalableTarget"):
        handle("DeleteEverything", {}, context=None)


# -- the additions -----------------------------------------------------------------------------------------------------------


def test_quicksteps_members_are_optional_wherever_they_stand():
    for shape, members in autoscaling_model.ADDED_MEMBERS.items():
        required = autoscaling_model.service().shape_for(shape).required_members
        assert not set(members) & set(required)
        assert set(ORIGINAL.shape_for(shape).required_members) == set(required)


def test_nothing_of_botocores_description_is_changed_but_what_is_added():
    ours = deepcopy(dict(autoscaling_model.description()))
    for shape, members in autoscaling_model.ADDED_MEMBERS.items():
        for name in members:
            del ours["shapes"][shape]["members"][name]
    for name in autoscaling_model.ADDED_SHAPES:
        del ours["shapes"][name]
    ours["shapes"]["PolicyType"]["enum"].remove(autoscaling_model.DEMAND_SIZING)
    assert ours == Loader(include_default_search_paths=True).load_service_model("application-autoscaling", "service-2")


# -- values ---------------------------------------------------------------------------------------------------------------------

MOMENTS = [
    (1_767_225_600, 1_767_225_600.0),
    ("1767225600", 1_767_225_600.0),
    ("2026-01-01T00:00:00Z", 1_767_225_600.0),
    ("2026-01-01T01:00:00+01:00", 1_767_225_600.0),
    ("2026-01-01T00:00:00", 1_767_225_600.0),
    (datetime(2026, 1, 1, tzinfo=UTC), 1_767_225_600.0),
    ("next week", None),
    (True, None),
    (1e18, None),
    (None, None),
]


@pytest.mark.parametrize(("value", "want"), MOMENTS)
def test_a_moment_is_a_number_a_datetime_or_iso_8601(value, want):
    assert timestamp_s(value) == want


COERCED = [
    # member, as CloudFormation sends it, as the model wants it
    ("MinCapacity", "3", 3),
    ("MinCapacity", " 3 ", 3),
    ("MinCapacity", "3.0", 3),
    ("MinCapacity", "3.5", "3.5"),
    ("MinCapacity", "three", "three"),
    ("MinCapacity", 3, 3),
    ("RoleARN", 7, "7"),
]


@pytest.mark.parametrize(("member", "given", "want"), COERCED)
def test_texts_of_cloudformation_become_the_numbers_that_the_model_wants(member, given, want):
    shape = autoscaling_model.service().operation_model("RegisterScalableTarget").input_shape
    assert coerced({member: given}, shape) == {member: want}


def test_texts_are_coerced_at_any_depth():
    shape = autoscaling_model.service().operation_model("PutScalingPolicy").input_shape
    given = {
        "PolicyName": "p",
        "StepScalingPolicyConfiguration": {
            "Cooldown": "60",
            "StepAdjustments": [{"MetricIntervalLowerBound": "0.5", "ScalingAdjustment": "-1"}],
        },
        "TargetTrackingScalingPolicyConfiguration": {"TargetValue": "5", "DisableScaleIn": "true"},
        "QuickstepOptions": {"DemandSizing": {"TargetPerCopy": "4.5"}},
    }
    assert coerced(given, shape) == {
        "PolicyName": "p",
        "StepScalingPolicyConfiguration": {
            "Cooldown": 60,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.5, "ScalingAdjustment": -1}],
        },
        "TargetTrackingScalingPolicyConfiguration": {"TargetValue": 5.0, "DisableScaleIn": True},
        "QuickstepOptions": {"DemandSizing": {"TargetPerCopy": 4.5}},
    }
