"""State: small, versioned, and the same again after it was stored as JSON."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickstep.model.forecast import Forecast
from quickstep.model.headroom import Headroom
from quickstep.model.observation import ServingChange
from quickstep.model.state import (
    STATE_VERSION,
    Ask,
    Backoff,
    Change,
    EndpointState,
    Minutes,
    StepMemory,
    TargetState,
    VariantState,
)

FULL = TargetState(
    serving=(ServingChange(1.0, 2), ServingChange(2.5, None), ServingChange(3.0, 0)),
    wish=8,
    wish_at_s=4.0,
    queued=True,
    last_scale_out=Change(5.0, 1, 8, "demand"),
    last_scale_in=Change(6.0, 8, 7, "steps-in"),
    step_memory={"steps-out": StepMemory(7.0, 2.5, 8.0)},
    burst_until_s=9.0,
    burst_copies=8,
    ask=Ask("copies", 10.0, 1, 8, 900.0, "a-1"),
    backoff=Backoff("QuotaExceeded", 11.0, 2, 5),
    awake_since_s=12.0,
    peak_before_sleep=9,
    turns_s=(13.0, 14.0),
    startup_s=(90.0, 100.5),
    paused_until_s=float("inf"),
    pinned=0,
    shadow_wish=3,
    manual=Change(15.0, 1, 4, "ann", hold_s=60.0),
    service_s=9.5,
    service_at_s=15.5,
    load=Minutes(60.0, (1.5, None, 2.0)),
    headroom=Headroom(0.4, -0.2, 30.5, 17.0, 450.0, 86_460.0, (1.0, 2.25), 0.5),
    forecasts={"ahead": Forecast(18.0, 3780.0, 0.0, (1.5, None), 5.0, 450.0, 24, 0.5, 2.5, 0.5)},
    last_reason="Demand",
    last_look_s=16.0,
)
FULL_VARIANT = VariantState(
    ask=Ask("instances", 1.0, 1, 2, 3.0),
    backoff=Backoff("x", 2.0, 1),
    empty_since_s=3.0,
    startup_s=(300.0,),
    watch_until_s=4.0,
    watch_restore=5,
    left_to_human=True,
    managed=False,
)


def stored(value):
    """As the registry keeps it: JSON without NaN or infinity."""
    return json.loads(json.dumps(value.to_dict(), allow_nan=False))


def test_every_field_of_a_target_survives_the_store():
    assert all(
        getattr(FULL, f.name) != getattr(TargetState(), f.name) for f in fields(TargetState) if f.name != "version"
    )
    assert TargetState.from_dict(stored(FULL)) == FULL


def test_every_field_of_an_endpoint_survives_the_store():
    assert all(getattr(FULL_VARIANT, f.name) != getattr(VariantState(), f.name) for f in fields(VariantState))
    state = EndpointState(
        config_name="c-2",
        variants={"v": FULL_VARIANT, "w": VariantState()},
        instance_types={"v": "ml.g5.xlarge", "w": None},
    )
    assert EndpointState.from_dict(stored(state)) == state


def test_an_empty_state_is_small():
    assert TargetState().to_dict() == {"version": STATE_VERSION}
    assert TargetState.from_dict({}) == TargetState()
    assert EndpointState.from_dict({}) == EndpointState()


def test_zero_is_not_the_same_as_not_known():
    state = TargetState(pinned=0, wish=0)
    assert stored(state) == {"version": STATE_VERSION, "pinned": 0, "wish": 0}
    assert TargetState.from_dict(stored(state)) == state


def test_what_a_newer_version_wrote_is_ignored():
    row = stored(FULL) | {"version": 99, "feature_of_tomorrow": {"a": 1}}
    assert TargetState.from_dict(row) == FULL
    row = {"variants": {"v": {"empty_since_s": 3.0, "feature_of_tomorrow": 1}}, "feature_of_tomorrow": 1}
    assert EndpointState.from_dict(row).variant("v") == VariantState(empty_since_s=3.0)


def test_the_stored_form_does_not_depend_on_the_order_of_making():
    one = EndpointState(variants={"a": FULL_VARIANT, "b": VariantState()}, instance_types={"a": "x", "b": "y"})
    other = EndpointState(variants={"b": VariantState(), "a": FULL_VARIANT}, instance_types={"b": "y", "a": "x"})
    assert json.dumps(one.to_dict()) == json.dumps(other.to_dict())


@given(
    st.builds(
        TargetState,
        wish=st.one_of(st.none(), st.integers(0, 99)),
        queued=st.booleans(),
        turns_s=st.lists(st.floats(0, 2e9), max_size=3).map(tuple),
        paused_until_s=st.one_of(st.none(), st.floats(0, 2e9), st.just(float("inf"))),
        step_memory=st.dictionaries(
            st.text(max_size=5),
            st.builds(StepMemory, st.floats(0, 2e9), st.floats(-9, 9), st.floats(0, 2e9)),
            max_size=3,
        ),
    )
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_state_is_the_same_again_after_the_store(state):
    assert TargetState.from_dict(stored(state)) == state


def test_a_variant_that_is_not_remembered_is_a_new_one_and_states_are_replaced_not_changed():
    state = EndpointState()
    assert state.variant("v") == VariantState()
    other = state.with_variant("v", FULL_VARIANT)
    assert (state.variants, other.variant("v")) == ({}, FULL_VARIANT)


@pytest.mark.parametrize(("change", "out", "amount"), [(Change(0.0, 1, 8), True, 7), (Change(0.0, 8, 1), False, -7)])
def test_a_change_knows_its_direction(change, out, amount):
    assert (change.is_scale_out, change.amount) == (out, amount)
