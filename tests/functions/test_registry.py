"""The registry table: leases, loops, pokes, fencing, look-ups and history, against DynamoDB of the deployed template."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from quickstep.errors import AccessDenied, LeaseHeld, LeaseLost, OutcomeUnknown, Throttled
from quickstep.gateways.registry import ACTIVITY_KEPT_S, WATCHDOG_S, Registry
from quickstep.model.activity import Activity, ActivityStatus
from quickstep.model.observation import ServingChange
from quickstep.model.state import Ask, Backoff, Change, EndpointState, StepMemory, TargetState, VariantState
from quickstep.model.targets import (
    AdjustmentType,
    AlarmBinding,
    DemandPolicy,
    Guards,
    ScalableTarget,
    StepAdjustment,
    StepScalingPolicy,
    Suspension,
    TargetId,
    TargetTrackingPolicy,
)
from simulator.errors import ServiceError
from tests.scenarios.stage import on_stage

NOW_S = 1_767_225_600.0
SUMMARY = TargetId.of_component("summary")
TARGET = ScalableTarget(
    SUMMARY,
    "books",
    None,
    2,
    9,
    (
        DemandPolicy("demand", target_per_copy=4.5, window_s=40.0),
        StepScalingPolicy(
            "steps",
            AdjustmentType.PERCENT_CHANGE_IN_CAPACITY,
            (StepAdjustment(0.0, 20.0, 10), StepAdjustment(20.0, None, 25)),
            (AlarmBinding("s--high", 5.0, True),),
            cooldown_s=120.0,
            min_adjustment_magnitude=2,
        ),
        TargetTrackingPolicy("tracking", 3.0, "s--track-high", "s--track-low", disable_scale_in=True),
    ),
    guards=Guards(burst_ratio=3.0, wake_cap=2),
    suspension=Suspension(scale_in=True),
    alarms=("s--low",),
    wake_alarm="s--wake",
    priority=7,
    hourly_cost_usd=1.25,
    budget_usd_per_hour=10.0,
)


@pytest.fixture(scope="module")
def stage():
    with on_stage("3x6") as stage:
        yield stage


@pytest.fixture
def table(stage):
    """The name of the deployed table, empty."""
    name = stage.account.stack["RegistryTable"].name
    yield name
    for item in items(stage):
        key = {"pk": item["pk"], "sk": item["sk"]}
        stage.account.call("dynamodb", "DeleteItem", {"TableName": name, "Key": key})


@pytest.fixture
def registry(table):
    return Registry(table)


def items(stage) -> list[dict]:
    return stage.account.call("dynamodb", "Scan", {"TableName": stage.account.stack["RegistryTable"].name})["Items"]


def item(stage, pk: str, sk: str) -> dict | None:
    return next((i for i in items(stage) if (i["pk"]["S"], i["sk"]["S"]) == (pk, sk)), None)


def lease(registry, holder: str = "one", now_s: float = NOW_S):
    return registry.acquire_lease("books", holder=holder, now_s=now_s, ttl_s=30.0)


def begin(registry, endpoint: str = "books", now_s: float = NOW_S, **how) -> int | None:
    return registry.begin_loop(endpoint, now_s=now_s, code_version="1", **how)


def activity(number: int, **fields) -> Activity:
    at_s = NOW_S + number
    values = {"status": ActivityStatus.IN_PROGRESS, "description": "d", "cause": "c", "reason": "Demand"} | fields
    return Activity(f"{int(at_s * 1000):014d}-000", SUMMARY, at_s, **values)


# --- lease ---------------------------------------------------------------------------------------------------------


def test_a_lease_is_refused_to_others_while_it_is_held_and_names_the_endpoint(registry):
    lease(registry)
    for late_s in (0.0, 15.0, 29.9):
        with pytest.raises(LeaseHeld, match="books"):
            lease(registry, "two", NOW_S + late_s)


def test_a_lease_of_one_endpoint_does_not_bar_another(registry):
    lease(registry)
    assert registry.acquire_lease("other", holder="two", now_s=NOW_S, ttl_s=30.0).endpoint == "other"


def test_an_expired_lease_is_taken_although_its_item_is_still_there_and_the_token_grows(registry, stage):
    first = lease(registry)
    stored = item(stage, "ENDPOINT#books", "LEASE")
    assert float(stored["expires_at_s"]["N"]) == NOW_S + 30.0
    assert "expires_s" not in stored, "the TTL attribute would let DynamoDB forget the token"
    second = lease(registry, "two", NOW_S + 30.0)
    assert second.token > first.token
    assert second.expires_at_s == NOW_S + 60.0


def test_a_released_lease_is_free_at_once_and_its_token_is_never_given_twice(registry):
    tokens = []
    for number in range(4):
        held = lease(registry, f"holder {number}")
        tokens.append(held.token)
        registry.release_lease(held)
    assert tokens == sorted(set(tokens))


def test_a_release_by_an_old_holder_does_not_free_the_lease_of_the_new_one(registry):
    old = lease(registry)
    lease(registry, "two", NOW_S + 31.0)
    registry.release_lease(old)
    with pytest.raises(LeaseHeld):
        lease(registry, "three", NOW_S + 32.0)


# --- fencing -------------------------------------------------------------------------------------------------------


def test_a_state_saved_under_an_older_token_after_a_newer_one_is_refused_and_changes_nothing(registry):
    registry.put_target(TARGET)
    old = lease(registry)
    new = lease(registry, "two", NOW_S + 31.0)
    registry.save_target_state(new, SUMMARY, TargetState(wish=5))
    registry.save_endpoint_state(new, EndpointState(config_name="new"))
    with pytest.raises(LeaseLost, match="STATE#inference-component/summary"):
        registry.save_target_state(old, SUMMARY, TargetState(wish=2))
    with pytest.raises(LeaseLost, match="STATE"):
        registry.save_endpoint_state(old, EndpointState(config_name="old"))
    record = registry.read_endpoint("books")
    assert record.state(SUMMARY).wish == 5
    assert record.endpoint_state.config_name == "new"


def test_an_overtaken_holder_may_write_until_the_new_one_has_and_the_new_one_wins(registry):
    registry.put_target(TARGET)
    old = lease(registry)
    new = lease(registry, "two", NOW_S + 31.0)
    registry.save_target_state(old, SUMMARY, TargetState(wish=2))
    registry.save_target_state(new, SUMMARY, TargetState(wish=5))
    registry.save_target_state(new, SUMMARY, TargetState(wish=6))
    assert registry.read_endpoint("books").state(SUMMARY).wish == 6


# --- pokes and loops -----------------------------------------------------------------------------------------------


def test_every_poke_is_counted_and_seen_by_whoever_reads(registry):
    assert [registry.poke("books").poke_seq for _ in range(3)] == [1, 2, 3]
    assert registry.read_loop("books").poke_seq == 3
    assert registry.read_endpoint("books").loop.poke_seq == 3


def test_a_loop_does_not_end_if_somebody_poked_since_the_look_began(registry):
    generation = begin(registry)
    seen = registry.poke("books").poke_seq
    registry.poke("books")
    end = {"generation": generation, "now_s": NOW_S, "next_look_at_s": NOW_S + 900}
    assert not registry.end_loop("books", poke_seq=seen, **end)
    assert registry.read_loop("books").running
    assert registry.end_loop("books", poke_seq=seen + 1, **end)
    ended = registry.read_loop("books")
    assert (ended.running, ended.last_look_s, ended.next_look_at_s) == (False, NOW_S, NOW_S + 900)


def test_a_loop_of_an_older_generation_cannot_end_tick_or_abandon_its_successor(registry):
    old = begin(registry)
    seq = registry.poke("books").poke_seq
    new = begin(registry, takes_over_generation=old)
    before = registry.read_loop("books")
    assert not registry.end_loop("books", generation=old, poke_seq=seq, now_s=NOW_S, next_look_at_s=NOW_S + 900)
    assert not registry.record_look("books", now_s=NOW_S, next_look_at_s=NOW_S + 900, generation=old)
    assert not registry.abandon_loop("books", generation=old, next_look_at_s=NOW_S + 900)
    assert registry.read_loop("books") == before
    assert before.generation == new and before.running


def test_a_second_loop_cannot_begin_while_one_runs_and_can_after_it_ended(registry):
    first = begin(registry)
    assert begin(registry) is None
    seq = registry.poke("books").poke_seq
    assert registry.end_loop("books", generation=first, poke_seq=seq, now_s=NOW_S, next_look_at_s=NOW_S + 900)
    assert begin(registry) == first + 1


def test_only_one_of_two_takes_over_a_silent_loop(registry):
    silent = begin(registry)
    assert begin(registry, takes_over_generation=silent) == silent + 1
    assert begin(registry, takes_over_generation=silent) is None


def test_an_abandoned_loop_may_be_followed_by_another_and_is_due_when_it_was_said(registry):
    first = begin(registry)
    assert registry.abandon_loop("books", generation=first, next_look_at_s=NOW_S + 60)
    assert registry.due(NOW_S + 59, limit=9) == ()
    assert [loop.endpoint for loop in registry.due(NOW_S + 60, limit=9)] == ["books"]
    assert begin(registry) == first + 1


def test_generations_of_a_new_table_lie_beyond_those_that_an_older_one_can_have_used(registry):
    first = begin(registry)
    assert first > NOW_S // 60
    # A loop a minute is the most that a steadily restarted one makes; a table made later begins above it.
    assert begin(registry, "later", NOW_S + 3600) > first + 59


def test_a_begun_loop_counts_ticks_from_zero_and_falls_silent_after_the_watchdog_s_time(registry):
    first = begin(registry)
    for _ in range(3):
        assert registry.record_look("books", now_s=NOW_S, next_look_at_s=NOW_S + 10, generation=first)
    assert registry.read_loop("books").ticks == 3
    begin(registry, takes_over_generation=first)
    loop = registry.read_loop("books")
    assert (loop.ticks, loop.code_version, loop.next_look_at_s) == (0, "1", NOW_S + WATCHDOG_S)


def test_a_look_outside_of_a_loop_is_noted_without_counting_a_tick(registry):
    assert registry.record_look("books", now_s=NOW_S, next_look_at_s=NOW_S + 900)
    loop = registry.read_loop("books")
    assert (loop.ticks, loop.last_look_s, loop.next_look_at_s, loop.running) == (0, NOW_S, NOW_S + 900, False)


def test_the_due_index_finds_what_is_due_the_longest_overdue_first_up_to_the_limit(registry):
    for endpoint, at_s in (("b", -5.0), ("future", 0.1), ("a", 0.0), ("c", -100.0)):
        registry.record_look(endpoint, now_s=NOW_S - 200, next_look_at_s=NOW_S + at_s)
    lease(registry)  # an item without `due` is none of the index
    assert [loop.endpoint for loop in registry.due(NOW_S, limit=9)] == ["c", "b", "a"]
    assert [loop.endpoint for loop in registry.due(NOW_S, limit=2)] == ["c", "b"]


def test_a_new_registration_is_due_at_once_and_a_repeated_one_does_not_hurry_the_next_look(registry):
    registry.put_target(TARGET)
    assert [loop.endpoint for loop in registry.due(NOW_S, limit=9)] == ["books"]
    registry.record_look("books", now_s=NOW_S, next_look_at_s=NOW_S + 900)
    registry.put_target(TARGET)
    registry.poke("books")
    assert registry.due(NOW_S, limit=9) == ()


# --- targets -------------------------------------------------------------------------------------------------------


def test_a_registration_comes_back_as_it_was_put(registry):
    registry.put_target(TARGET)
    assert registry.read_endpoint("books").targets == {SUMMARY: TARGET}


def test_a_target_is_found_by_name_and_by_every_alarm_that_may_speak_for_it(registry):
    registry.put_target(TARGET)
    assert registry.find("inference-component/summary") == ("books", SUMMARY)
    assert len(TARGET.alarm_names) == 5
    for alarm in TARGET.alarm_names:
        assert registry.find_by_alarm(alarm) == ("books", SUMMARY), alarm
    assert registry.find("inference-component/nobody") is None
    assert registry.find_by_alarm("s--hig") is None


def test_a_deleted_target_leaves_neither_registration_state_nor_look_up_behind(registry, stage):
    registry.put_target(TARGET)
    registry.save_target_state(lease(registry), SUMMARY, TargetState(wish=3))
    registry.delete_target(TARGET)
    left = {(i["pk"]["S"], i["sk"]["S"]) for i in items(stage)}
    assert left == {("ENDPOINT#books", "LOOP"), ("ENDPOINT#books", "LEASE")}


def test_deleting_one_target_of_an_endpoint_leaves_the_other_alone(registry):
    variant = TargetId.of_variant("books", "v")
    other = replace(TARGET, target_id=variant, variant="v", policies=(), alarms=("t--high",), wake_alarm=None)
    registry.put_target(TARGET)
    registry.put_target(other)
    registry.delete_target(TARGET)
    assert registry.read_endpoint("books").targets == {variant: other}
    assert registry.find_by_alarm("t--high") == ("books", variant)


def test_a_registration_that_gives_up_an_alarm_is_not_found_by_it_any_more(registry):
    registry.put_target(replace(TARGET, alarms=("s--low", "s--old")))
    assert registry.find_by_alarm("s--old") == ("books", SUMMARY)
    registry.put_target(TARGET)
    assert registry.find_by_alarm("s--old") is None
    assert registry.find_by_alarm("s--low") == ("books", SUMMARY)


def test_an_alarm_that_went_over_to_another_target_stays_with_it_when_the_first_gives_it_up(registry):
    variant = TargetId.of_variant("books", "v")
    registry.put_target(replace(TARGET, alarms=("s--low", "s--moved")))
    registry.put_target(
        replace(TARGET, target_id=variant, variant="v", policies=(), alarms=("s--moved",), wake_alarm=None)
    )
    registry.put_target(TARGET)
    assert registry.find_by_alarm("s--moved") == ("books", variant)


def test_a_component_that_moved_to_another_endpoint_is_registered_there_only(registry):
    registry.put_target(TARGET)
    registry.save_target_state(lease(registry), SUMMARY, TargetState(wish=3))
    registry.put_target(replace(TARGET, endpoint="library"))
    assert registry.find("inference-component/summary") == ("library", SUMMARY)
    old = registry.read_endpoint("books")
    assert (dict(old.targets), dict(old.states)) == ({}, {})
    assert registry.read_endpoint("library").targets[SUMMARY].endpoint == "library"


def test_the_default_target_is_remembered_beside_its_registration(registry):
    assert registry.default_target() is None
    registry.remember_default_target(TARGET, marked=True)
    assert registry.default_target() == ("books", SUMMARY)


# --- state ---------------------------------------------------------------------------------------------------------

FULL = TargetState(
    serving=(ServingChange(NOW_S - 60, 2), ServingChange(NOW_S, 3)),
    wish=4,
    wish_at_s=NOW_S,
    queued=True,
    last_scale_out=Change(NOW_S, 2, 4, "demand"),
    last_scale_in=Change(NOW_S - 900, 5, 2),
    step_memory={"steps": StepMemory(NOW_S - 10, 7.5, NOW_S)},
    burst_until_s=NOW_S + 60,
    burst_copies=6,
    ask=Ask("copies", NOW_S, 2, 4, NOW_S + 600, "key"),
    backoff=Backoff("QuotaExceeded", NOW_S + 300, 2, 3),
    awake_since_s=NOW_S - 5,
    peak_before_sleep=8,
    turns_s=(NOW_S - 20, NOW_S),
    startup_s=(90.0, 85.5),
    paused_until_s=math.inf,
    pinned=5,
    manual=Change(NOW_S, 2, 6, "launch", hold_s=1800.0),
    last_reason="Paused",
)


@pytest.mark.parametrize(
    "state",
    [
        TargetState(),
        FULL,
        TargetState(paused_until_s=NOW_S + 0.125),
        TargetState(manual=Change(NOW_S, 2, 6, "until I say so", hold_s=math.inf)),
        TargetState(wish=0, pinned=0, peak_before_sleep=0),
    ],
    ids=["fresh", "full", "paused for a while", "manual for ever", "zeros"],
)
def test_a_state_comes_back_as_it_was_saved(registry, state):
    registry.put_target(TARGET)
    registry.save_target_state(lease(registry), SUMMARY, state)
    assert registry.read_endpoint("books").state(SUMMARY) == state


def test_the_time_of_the_last_look_is_the_endpoint_s_and_not_the_document_s(registry):
    registry.put_target(TARGET)
    registry.save_target_state(lease(registry), SUMMARY, TargetState(wish=4, last_look_s=NOW_S - 500))
    registry.record_look("books", now_s=NOW_S, next_look_at_s=NOW_S + 900)
    record = registry.read_endpoint("books")
    assert record.state(SUMMARY) == TargetState(wish=4, last_look_s=NOW_S)
    assert record.state(TargetId.of_component("new")) == TargetState(last_look_s=NOW_S)


def test_the_state_of_an_endpoint_comes_back_as_it_was_saved(registry):
    variant = VariantState(
        ask=Ask("instances", NOW_S, 1, 3, NOW_S + 900),
        empty_since_s=NOW_S,
        startup_s=(258.0,),
        watch_until_s=NOW_S + 60,
        watch_restore=3,
        left_to_human=True,
        managed=True,
    )
    state = EndpointState(config_name="c", variants={"v": variant}, instance_types={"v": "ml.g6e.xlarge", "w": None})
    registry.save_endpoint_state(lease(registry), state)
    assert registry.read_endpoint("books").endpoint_state == state


def test_an_endpoint_of_which_nothing_is_known_reads_as_empty(registry):
    record = registry.read_endpoint("nobody")
    assert (record.loop.generation, record.loop.running, dict(record.targets)) == (0, False, {})
    assert record.endpoint_state == EndpointState()
    assert registry.read_loop("nobody") == record.loop


# --- activities ----------------------------------------------------------------------------------------------------


def test_activities_come_newest_first_up_to_the_limit_and_of_one_target_only(registry):
    for number in (2, 0, 1):
        registry.put_activity(activity(number, before=number, after=number + 1, decision={"a": [1]}))
    registry.put_activity(replace(activity(9), target_id=TargetId.of_component("other")))
    assert registry.activities(SUMMARY) == tuple(
        activity(n, before=n, after=n + 1, decision={"a": [1]}) for n in (2, 1, 0)
    )
    assert [a.before for a in registry.activities(SUMMARY, limit=1)] == [2]


def test_a_finished_activity_keeps_its_beginning_and_its_expiry(registry, stage):
    begun = activity(0, before=1, after=3)
    registry.put_activity(begun)
    key = ("ACTIVITY#inference-component/summary", begun.activity_id)
    expires = item(stage, *key)["expires_s"]
    assert int(expires["N"]) == NOW_S + ACTIVITY_KEPT_S
    done = {"status": ActivityStatus.SUCCESSFUL, "now_s": NOW_S + 90, "message": "3 copies serve"}
    registry.finish_activity(SUMMARY, begun.activity_id, **done)
    finished = replace(begun, status=ActivityStatus.SUCCESSFUL, end_s=NOW_S + 90, status_message="3 copies serve")
    assert registry.activities(SUMMARY) == (finished,)
    assert item(stage, *key)["expires_s"] == expires


def test_finishing_an_activity_that_has_expired_does_not_bring_it_back(registry):
    registry.finish_activity(SUMMARY, "gone", status=ActivityStatus.FAILED, now_s=NOW_S, message="late")
    assert registry.activities(SUMMARY) == ()


def test_the_history_expires_by_the_attribute_that_the_template_declares(stage):
    ttl = stage.account.stack["RegistryTable"].properties["TimeToLiveSpecification"]
    assert ttl == {"AttributeName": "expires_s", "Enabled": True}


# --- reconcile and refusals ----------------------------------------------------------------------------------------


def test_the_watermark_answers_when_the_reconciliation_before_began(registry):
    assert [registry.swap_watermark(NOW_S + n * 60) for n in range(3)] == [None, NOW_S, NOW_S + 60]


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("ProvisionedThroughputExceededException", 400, Throttled),
        ("AccessDeniedException", 400, AccessDenied),
        ("InternalServerError", 500, OutcomeUnknown),
    ],
)
def test_what_dynamodb_refuses_is_a_typed_error_that_names_the_table(registry, stage, table, code, status, error):
    def refuse(call, proceed):
        raise ServiceError(code, "no", status)

    stage.account.interceptors.append(refuse)
    try:
        for ask in (lambda: registry.poke("books"), lambda: lease(registry), lambda: registry.due(NOW_S, limit=1)):
            with pytest.raises(error, match=table):
                ask()
    finally:
        stage.account.interceptors.remove(refuse)
