"""What a look publishes and announces: tables of looks that differ in one thing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quickstep.capacity.progress import Note
from quickstep.gateways.registry import EndpointRecord
from quickstep.model.decision import Step
from quickstep.model.loop import Loop, NextWord
from quickstep.model.observation import Alarm, AlarmState, EndpointStatus, Observation
from quickstep.model.plan import CopyAsk, EndpointPlan, Held
from quickstep.model.state import Ask, Backoff, EndpointState, TargetState
from quickstep.reasons import Reason
from quickstep.usecases.act import Acted
from quickstep.usecases.announce import scaling_events
from quickstep.usecases.gather import Gathered
from quickstep.usecases.measures import (
    Look,
    _answer_times,
    _cost_per_hour_usd,
    budget_used_percent,
    is_stuck,
    is_under_way,
)
from tests.unit.scenes import COMPONENT, NOW_S, endpoint, settled_on, wish

ASK = Ask("copies", NOW_S - 100.0, 1, 3, NOW_S + 800.0, "7-000")
LATE = Backoff(str(Reason.DEADLINE_PASSED), NOW_S + 60.0, 1)
QUIET = EndpointPlan(NextWord.SETTLED, 1, "wish equals current")


def look(
    *,
    copies=(3, 3),
    price: float | None = 7.0,
    budget: float | None = None,
    cut: bool = False,
    where=None,
    before: TargetState | None = None,
    after: TargetState | None = None,
    notes: tuple[Note, ...] = (),
    plan: EndpointPlan = QUIET,
    acted: Acted | None = None,
    endpoint_state: EndpointState | None = None,
    alarms: tuple[Alarm, ...] = (),
) -> Look:
    """A look at component chat on two instances; desired and current `copies`, everything else settled."""
    component = settled_on("chat", *copies)
    made = wish(component, copies[0])
    steps = (Step("budget", copies[0], Reason.BUDGET),) if cut else ()
    made = replace(
        made,
        target=replace(made.target, hourly_cost_usd=price, budget_usd_per_hour=budget),
        decision=replace(made.decision, steps=steps),
    )
    where = where or endpoint(2)
    state, memory = before or TargetState(), endpoint_state or EndpointState()
    record = EndpointRecord("llm", Loop("llm"), memory, {COMPONENT: made.target}, {COMPONENT: state})
    observation = Observation(NOW_S, COMPONENT, where, component, alarms=alarms)
    seen = Gathered(where, memory, False, (component,), {COMPONENT: observation}, {}, {})
    followed = after if after is not None else state
    acted = acted or Acted({COMPONENT: followed}, memory)
    return Look(record, seen, memory, (), {COMPONENT: followed}, {COMPONENT: notes}, (made,), plan, acted, NOW_S)


def updating(since_s: float, status=EndpointStatus.UPDATING):
    return replace(endpoint(2, status=status), last_modified_s=NOW_S - since_s)


# -- under way, stuck ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        ({}, False),
        ({"copies": (3, 2)}, True),
        ({"where": endpoint(2, desired=3)}, True),
        ({"notes": (Note("reached", "3 serve"),)}, True),
        ({"acted": Acted({}, EndpointState(), ("chat: 1 → 3 copies",))}, True),
        ({"acted": Acted({}, EndpointState(), (), {COMPONENT: Held(Reason.THROTTLED, "x")})}, True),
    ],
)
def test_gauges_are_published_only_while_something_is_under_way(scene, expected):
    assert is_under_way(look(**scene)) is expected


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        ({}, False),
        ({"where": updating(3599)}, False),
        ({"where": updating(3600)}, True),
        ({"where": updating(36_000, EndpointStatus.IN_SERVICE)}, False),
        ({"where": updating(36_000, EndpointStatus.ROLLING_BACK)}, True),
        ({"notes": (Note("given up", "late", failed=True, reason=Reason.DEADLINE_PASSED),)}, True),
        ({"notes": (Note("given up", "gone", failed=True, reason=Reason.INSUFFICIENT_CAPACITY),)}, False),
        ({"after": TargetState(backoff=LATE), "where": updating(1200)}, True),
        ({"after": TargetState(backoff=LATE)}, False),
        ({"after": TargetState(backoff=replace(LATE, reason="QuotaExceeded")), "where": updating(1200)}, False),
    ],
)
def test_an_update_is_stuck_when_it_missed_its_deadline_and_blocks_or_lasts_an_hour(scene, expected):
    assert is_stuck(look(**scene)) is expected


# -- money -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scene", "percent"),
    [
        ({}, None),
        ({"budget": 28.0}, 50.0),
        ({"budget": 14.0}, 100.0),
        ({"budget": 28.0, "cut": True}, 101.0),
        ({"budget": 7.0, "cut": True}, 200.0),
        ({"budget": 28.0, "price": None}, None),
    ],
)
def test_the_share_of_the_budget_is_what_instances_cost_and_above_100_where_a_wish_was_cut(scene, percent):
    assert budget_used_percent(look(**scene)) == percent


def test_a_price_that_is_not_known_is_no_cost_of_zero():
    assert _cost_per_hour_usd(look()) == 14.0
    assert _cost_per_hour_usd(look(price=None)) is None


# -- time from alarm to ask ----------------------------------------------------------------------------------------------------

OUT = EndpointPlan(NextWord.PLACE_COPIES, 1, "", copies=(CopyAsk(COMPONENT, "chat", 1, 3),))
IN = EndpointPlan(NextWord.REMOVE_COPIES, 1, "", copies=(CopyAsk(COMPONENT, "chat", 3, 1),))
ASKED = Acted({}, EndpointState(), ("chat: 1 → 3 copies",))


def alarm(since_s: float, *, above: bool = True, state=AlarmState.ALARM) -> Alarm:
    return Alarm("s--high" if above else "s--low", state, NOW_S - since_s, 5.0, above=above)


@pytest.mark.parametrize(
    ("scene", "seconds"),
    [
        ({"plan": OUT, "acted": ASKED, "alarms": (alarm(4.0),)}, [4.0]),
        ({"plan": OUT, "acted": ASKED, "alarms": (alarm(4.0), alarm(90.0))}, [4.0]),
        ({"plan": OUT, "alarms": (alarm(4.0),)}, []),
        ({"plan": IN, "acted": ASKED, "alarms": (alarm(4.0),)}, []),
        ({"plan": OUT, "acted": ASKED, "alarms": (alarm(4.0, above=False),)}, []),
        ({"plan": OUT, "acted": ASKED, "alarms": (alarm(4.0, state=AlarmState.OK),)}, []),
        ({"plan": OUT, "acted": ASKED, "alarms": (alarm(601.0),)}, []),
        ({"plan": OUT, "acted": ASKED, "alarms": (alarm(60.0),), "endpoint_state": EndpointState(scale_out_asked_s=NOW_S - 50.0)}, []),
        ({"plan": OUT, "acted": ASKED, "alarms": (alarm(60.0),), "endpoint_state": EndpointState(scale_out_asked_s=NOW_S - 70.0)}, [60.0]),
    ],
)  # fmt: skip
def test_only_the_first_ask_for_more_after_a_high_alarm_answers_it(scene, seconds):
    assert [value for _, value in _answer_times(look(**scene))] == seconds


# -- scaling events --------------------------------------------------------------------------------------------------------------


def event_of(**scene) -> list[tuple]:
    found = scaling_events(look(**scene))
    return [
        (e["statusCode"], e["oldDesiredCapacity"], e["newDesiredCapacity"], e["direction"], "endTime" in e)
        for e in found
    ]


@pytest.mark.parametrize(
    ("scene", "events"),
    [
        ({}, []),
        ({"before": TargetState(ask=ASK)}, []),
        (
            {"before": TargetState(ask=ASK), "after": TargetState(), "notes": (Note("reached", "3 serve"),)},
            [("Successful", 1, 3, "scale-out", True)],
        ),
        (
            {"before": TargetState(ask=replace(ASK, before=3, wanted=1)), "after": TargetState(), "notes": (Note("given up", "back", failed=True),)},
            [("Failed", 3, 1, "scale-in", True)],
        ),
        ({"acted": Acted({COMPONENT: TargetState(ask=ASK)}, EndpointState())}, [("InProgress", 1, 3, "scale-out", False)]),
        ({"acted": Acted({COMPONENT: TargetState(ask=replace(ASK, accepted=False))}, EndpointState())}, []),
        ({"before": TargetState(ask=ASK), "acted": Acted({COMPONENT: TargetState(ask=ASK)}, EndpointState())}, []),
    ],
    ids=["nothing", "still on its way", "reached", "given up", "asked", "answer unknown", "asked earlier"],
)  # fmt: skip
def test_an_activity_is_told_once_when_it_begins_and_once_when_it_ends(scene, events):
    assert event_of(**scene) == events


def test_every_state_of_the_endpoint_survives_the_registry():
    state = EndpointState(scale_out_asked_s=NOW_S)
    assert EndpointState.from_dict(state.to_dict()) == state
    assert EndpointState.from_dict({"version": 1}).scale_out_asked_s is None
