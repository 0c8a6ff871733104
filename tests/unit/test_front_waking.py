"""What is said of a component on its way from zero, from what the registry remembers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quickstep.capacity.startup import COPY_DEFAULT_S, INSTANCE_DEFAULT_S, remaining_s
from quickstep.front.waking import Phase, State, Waking, waking
from quickstep.gateways.registry import EndpointRecord
from quickstep.model.loop import Loop
from quickstep.model.observation import Component, ComponentStatus, ServingChange
from quickstep.model.state import Ask, Backoff, Change, EndpointState, TargetState, VariantState
from quickstep.model.targets import ScalableTarget, TargetId

NOW_S = 10_000.0
CHAT = TargetId.of_component("chat")
TARGET = ScalableTarget(CHAT, "llm", None, 0, 4, ())
ASLEEP = Component("chat", "llm", "AllTraffic", ComponentStatus.IN_SERVICE, desired_copies=0, current_copies=0)
KNOCKED = Change(NOW_S - 1, 0, 1, "a client knocked", hold_s=600.0)
COPIES = Ask("copies", NOW_S - 30, 0, 1, NOW_S + 900)
INSTANCES = Ask("instances", NOW_S - 100, 0, 1, NOW_S + 900)
FIVE = (60.0, 70.0, 80.0, 90.0, 200.0)


def seen(state: TargetState, component: Component | None = ASLEEP, **variant) -> Waking:
    endpoint = EndpointState(variants={"AllTraffic": VariantState(**variant)}) if variant else EndpointState()
    record = EndpointRecord("llm", Loop("llm"), endpoint, {CHAT: TARGET}, {CHAT: state})
    return waking(record, CHAT, NOW_S, component=component)


SERVES = replace(ASLEEP, desired_copies=1, current_copies=1)
ASKED = replace(ASLEEP, status=ComponentStatus.UPDATING, desired_copies=1)
TABLE = [
    # state, component, variant, what is said
    (TargetState(), SERVES, {}, Waking(State.READY)),
    (TargetState(serving=(ServingChange(1.0, 2),)), None, {}, Waking(State.READY)),
    (TargetState(serving=(ServingChange(1.0, 2), ServingChange(2.0, 0))), None, {}, Waking(State.COLD, eta_s=COPY_DEFAULT_S)),
    (TargetState(serving=(ServingChange(1.0, None),)), None, {}, Waking(State.COLD, eta_s=COPY_DEFAULT_S)),
    (TargetState(), ASLEEP, {}, Waking(State.COLD, eta_s=COPY_DEFAULT_S)),
    (TargetState(startup_s=FIVE), ASLEEP, {}, Waking(State.COLD, eta_s=80.0)),
    # SageMaker moves the instances itself: a copy may bring its instance along.
    (TargetState(), ASLEEP, {"managed": True}, Waking(State.COLD, eta_s=INSTANCE_DEFAULT_S)),
    (TargetState(manual=KNOCKED), ASLEEP, {}, Waking(State.WAKING, Phase.DECISION, COPY_DEFAULT_S)),
    (TargetState(manual=replace(KNOCKED, at_s=NOW_S - 700)), ASLEEP, {}, Waking(State.COLD, eta_s=COPY_DEFAULT_S)),
    (TargetState(manual=replace(KNOCKED, after=0)), ASLEEP, {}, Waking(State.COLD, eta_s=COPY_DEFAULT_S)),
    (TargetState(), ASKED, {}, Waking(State.WAKING, Phase.DECISION, COPY_DEFAULT_S)),
    (TargetState(wish=1, queued=True), ASLEEP, {}, Waking(State.WAKING, Phase.DECISION, COPY_DEFAULT_S)),
    (TargetState(ask=COPIES), ASKED, {}, Waking(State.WAKING, Phase.COPIES, COPY_DEFAULT_S - 30)),
    (TargetState(ask=COPIES, startup_s=FIVE), ASKED, {}, Waking(State.WAKING, Phase.COPIES, 50.0)),
    # 190 s gone by: of what was ever seen only the one of 200 s is still possible. After it nobody knows.
    (TargetState(ask=replace(COPIES, at_s=NOW_S - 190), startup_s=FIVE), ASKED, {}, Waking(State.WAKING, Phase.COPIES, 10.0)),
    (TargetState(ask=replace(COPIES, at_s=NOW_S - 210), startup_s=FIVE), ASKED, {}, Waking(State.WAKING, Phase.COPIES, None)),
    (TargetState(wish=1, queued=True, startup_s=FIVE), ASLEEP, {"ask": INSTANCES}, Waking(State.WAKING, Phase.INSTANCES, 200.0 + 80.0)),
    # Going to sleep is no wake.
    (TargetState(ask=Ask("copies", NOW_S - 5, 1, 0, NOW_S + 900)), ASLEEP, {}, Waking(State.COLD, eta_s=COPY_DEFAULT_S)),
    (TargetState(wish=0), ASLEEP, {"ask": Ask("instances", NOW_S - 5, 1, 0, NOW_S + 900)}, Waking(State.COLD, eta_s=COPY_DEFAULT_S)),
    (TargetState(wish=1, backoff=Backoff("NotEnoughHardware", NOW_S + 60, 1)), ASLEEP, {}, Waking(State.FAILED, Phase.RETRY, reason="NotEnoughHardware")),
    (TargetState(wish=1, queued=True), ASLEEP, {"backoff": Backoff("QuotaExceeded", NOW_S + 60, 1)}, Waking(State.FAILED, Phase.RETRY, reason="QuotaExceeded")),
    (TargetState(wish=1, queued=True), ASLEEP, {"backoff": Backoff("QuotaExceeded", NOW_S - 1, 1)}, Waking(State.WAKING, Phase.DECISION, COPY_DEFAULT_S)),
    (TargetState(), replace(ASLEEP, status=ComponentStatus.FAILED, failure_reason="OOM"), {}, Waking(State.FAILED, reason="OOM")),
]  # fmt: skip


@pytest.mark.parametrize(("state", "component", "variant", "said"), TABLE, ids=[str(i) for i in range(len(TABLE))])
def test_a_component_is_said_to_be_where_it_is(state, component, variant, said):
    assert seen(state, component, **variant) == said


@pytest.mark.parametrize(
    ("samples_s", "elapsed_s", "rest_s"),
    [
        ((60.0, 80.0, 200.0, 70.0, 90.0), 0, 80.0),
        ((60.0, 80.0, 200.0, 70.0, 90.0), 75, 15.0),
        ((60.0, 80.0, 200.0, 70.0, 90.0), 100, 100.0),
        ((60.0, 80.0, 200.0, 70.0, 90.0), 200, None),
        # Few samples: the default counts as one more.
        ((), 0, 120.0),
        ((60.0,), 0, 60.0),
        ((60.0,), 90, 30.0),
        ((60.0,), 130, None),
    ],
)
def test_what_is_left_is_the_median_of_what_took_longer(samples_s, elapsed_s, rest_s):
    assert remaining_s(samples_s, elapsed_s, 120.0) == rest_s
