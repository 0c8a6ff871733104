"""The scaling loop: it settles, costs next to nothing at rest, hands over, and reaches the outcome whatever kills it."""

from __future__ import annotations

from typing import Any

import pytest

from quickstep.gateways.registry import Registry
from simulator.aws.lambda_runtime import EnvironmentKilled
from simulator.errors import ServiceError
from tests.scenarios.stage import decisions, errors, on_stage, statuses, supply, writes

RISE = "3x30 22x60"
"""5 minutes of 3 in flight, 10 of 22: five copies at 5 per copy. The first loop starts at 320 s and adds instances."""
LOOP_FUNCTIONS = (
    "DecideFunction",
    "AddInstancesFunction",
    "VerifyInstancesFunction",
    "PlaceCopiesFunction",
    "RemoveCopiesFunction",
    "RemoveInstancesFunction",
    "HandOverFunction",
    "RecordFailureFunction",
)


def table(stage) -> str:
    return stage.account.stack["RegistryTable"].name


def loop_item(stage):
    """The loop as the registry has it."""
    return Registry(table(stage)).read_loop("llm")


def write_loop(stage, update: str, value: dict[str, str]) -> None:
    """Change the LOOP item behind everybody's back, as another process would."""
    item = {"Key": {"pk": {"S": "ENDPOINT#llm"}, "sk": {"S": "LOOP"}}, "UpdateExpression": update}
    stage.account.dynamodb.call(
        "UpdateItem", {"TableName": table(stage), "ExpressionAttributeValues": {":value": value}, **item}
    )


def poke(stage) -> None:
    write_loop(stage, "ADD poke_seq :value", {"N": "1"})


def generation(execution) -> int:
    return int(execution.identity.name.rsplit("-", 1)[1])


def path(execution) -> list[str]:
    """Names of the states that an execution entered, in order."""
    return execution.history.path()


def starts(stage) -> list[float]:
    """When executions started, in seconds since the start of the traffic."""
    return [e.start_s - stage.traffic.start_s for e in stage.account.executions()]


def asked(stage, what: str) -> list[int]:
    """Counts that SageMaker was asked for and accepted, in order."""
    return [n for _, kind, n, outcome in writes(stage) if kind == what and outcome == "ok"]


def alarm_event(stage) -> dict[str, Any]:
    """A state change of one of the stack's alarms, as EventBridge brought it; the newest."""
    return [e for e in stage.account.eventbridge.events if e["detail-type"] == "CloudWatch Alarm State Change"][-1]


def once(matches, act):
    """An interceptor that lets `act(proceed)` answer the first call that `matches`, and no other."""
    done: list[bool] = []

    def intercept(call, proceed):
        if not done and matches(call):
            done.append(True)
            return act(proceed)
        return proceed()

    return intercept


# --- settling ------------------------------------------------------------------------------------------------------

SHORT_AT_MAX = pytest.param(
    "12x120",
    {"max_copies": 1},
    "high",
    30,
    id="twice the load of max",
)


@pytest.mark.parametrize(
    ("pattern", "component", "alarm", "alarm_at_s"),
    [
        pytest.param("8x120", {"max_copies": 1}, "high", 30, id="HIGH stays in ALARM at max"),
        pytest.param("1x120", {}, "low", 301, id="LOW stays in ALARM at min"),
        SHORT_AT_MAX,
    ],
)
def test_a_clamped_target_is_settled_whatever_its_alarm_says_and_is_left_to_the_audits(
    pattern, component, alarm, alarm_at_s
):
    with on_stage(pattern, component=component) as stage:
        stage.run_until(800)
        assert stage.account.cloudwatch.alarms.alarms[f"quickstep--{alarm}"].state == "ALARM"
        loop, now_s = loop_item(stage), stage.account.clock.now_s
        assert not loop.running
        assert now_s < loop.next_look_at_s <= now_s + 900
        stage.run_until(1190)
        assert set(statuses(stage)) == {"SUCCEEDED"}
        assert writes(stage) == [] and errors(stage) == []
        # Reconcile starts at most two loops for an alarm that changed (its windows overlap); then only audits.
        settled_s = max(t for t in starts(stage) if t < alarm_at_s + 125)
        assert all(t >= settled_s + 600 for t in starts(stage) if t > settled_s)


def test_after_a_scale_out_the_loop_ends_and_says_when_to_look_again():
    with on_stage(RISE) as stage:
        stage.run_until(880)
        assert statuses(stage) == ["SUCCEEDED"]
        assert path(stage.account.executions()[0])[-1] == "Settled"
        assert supply(stage, 880).current_copies == 5
        loop = loop_item(stage)
        assert not loop.running and loop.next_look_at_s > stage.account.clock.now_s


def test_at_rest_an_hour_costs_a_handful_of_metric_reads_and_state_transitions():
    with on_stage("1x500") as stage:
        stage.run_until(1350)  # just after an audit
        account = stage.account
        before = dict(account.cloudwatch.billable)
        begun = len(account.executions())
        stage.run_until(4950)
        spent = {name: count - before.get(name, 0) for name, count in account.cloudwatch.billable.items()}
        executions = account.executions()[begun:]
        assert 3 <= len(executions) <= 5, "an audit every 15 minutes, and nothing else"
        assert spent["GetMetricData"] == len(executions)
        assert spent["GetMetricData.metrics"] <= 5 * len(executions)
        assert spent["DescribeAlarms"] <= 60 + len(executions)
        assert sum(e.transitions for e in executions) <= 4 * len(executions)
        assert spent.get("PutMetricAlarm", 0) == 0


def test_reconcile_never_reads_a_metered_metric_neither_at_rest_nor_under_load():
    with on_stage("1x60 22x60") as stage:
        stage.run_until(1200)
        account = stage.account
        assert account.calls[("ReconcileFunction", "cloudwatch", "DescribeAlarms")] >= 19
        assert account.calls[("ReconcileFunction", "cloudwatch", "GetMetricData")] == 0
        assert account.calls[("ReconcileFunction", "cloudwatch", "GetMetricStatistics")] == 0


# --- handing over --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("update", "value"),
    [
        ("SET code_version = :value", {"S": "an older one"}),
        ("SET ticks = :value", {"N": "1000"}),
    ],
    ids=["new code", "a thousand ticks"],
)
def test_a_loop_hands_over_to_the_next_generation_which_finishes_the_work(update, value):
    with on_stage(RISE) as stage:
        stage.run_until(330)
        write_loop(stage, update, value)
        stage.run_until(880)
        old, new = stage.account.executions()
        assert path(old)[-2:] == ["HandOver", "HandedOver"]
        assert generation(new) == generation(old) + 1
        assert new.start_s == pytest.approx(old.stop_s, abs=2.0)
        assert statuses(stage) == ["SUCCEEDED", "SUCCEEDED"]
        assert asked(stage, "instances") == [5]
        assert supply(stage, 880).current_copies == 5
        assert loop_item(stage).ticks < 1000 and loop_item(stage).code_version != "an older one"


def test_one_tick_below_the_limit_does_not_hand_over():
    with on_stage("8x30", component={"max_copies": 1}) as stage:
        stage.run_until(59)
        write_loop(stage, "SET ticks = :value, next_look_at_s = :value", {"N": "999"})
        stage.run_until(62)
        assert path(stage.account.executions()[0])[-1] == "Settled"


def test_a_loop_whose_generation_is_over_stops_at_its_next_look_and_writes_nothing():
    with on_stage(RISE) as stage:
        stage.run_until(400)
        old = stage.account.executions()[0]
        Registry(table(stage)).begin_loop(
            "llm", now_s=stage.account.clock.now_s, code_version="0.1.0", takes_over_generation=generation(old)
        )
        stage.run_until(450)
        assert (old.status, path(old)[-1]) == ("SUCCEEDED", "Settled")
        assert asked(stage, "copies") == []
        stage.run_until(890)
        assert supply(stage, 890).current_copies == 5, "the generation that never ran was silent and was replaced"


# --- dying ---------------------------------------------------------------------------------------------------------


def test_a_loop_that_is_stopped_in_the_middle_of_a_scale_out_is_taken_over_within_minutes():
    with on_stage(RISE) as stage:
        stage.run_until(400)
        stopped = stage.account.executions()[0]
        due_s = loop_item(stage).next_look_at_s
        stage.account.call("stepfunctions", "StopExecution", {"executionArn": stopped.identity.execution_arn})
        stage.run_until(900)
        first, second = stage.account.executions()
        assert (first.status, second.status) == ("ABORTED", "SUCCEEDED")
        assert generation(second) == generation(first) + 1
        assert second.start_s <= due_s + 62, "Reconcile comes once a minute"
        assert second.start_s <= first.stop_s + 182
        assert asked(stage, "instances") == [5]
        assert supply(stage, 900).desired_copies == 5


@pytest.mark.parametrize(("denied_until_s", "failures"), [(350, 1), (380, 2)], ids=["once", "for a minute"])
def test_a_state_that_fails_for_good_says_why_and_the_next_loop_finishes(denied_until_s, failures):
    with on_stage("3x30 22x90") as stage:
        until_s = stage.traffic.start_s + denied_until_s

        def deny(call, proceed):
            if call.function == "DecideFunction" and call.operation == "DescribeEndpoint" and call.at_s < until_s:
                raise ServiceError("AccessDeniedException", "not authorized to perform: sagemaker:DescribeEndpoint")
            return proceed()

        stage.account.interceptors.append(deny)
        stage.run_until(1000)
        executions = stage.account.executions()
        failed, following = executions[:failures], executions[failures:]
        for number, execution in enumerate(failed):
            assert execution.status == "FAILED"
            assert path(execution)[-2:] == ["RecordFailure", "LoopFailed"]
            assert execution.error == "AccessDenied" and "DescribeEndpoint" in execution.cause
            waited_s = executions[number + 1].start_s - execution.stop_s
            assert waited_s <= 122, "due after a minute, found within the next"
        assert sum("scaling loop failed" in text for text in errors(stage)) == failures
        assert {e.status for e in following} <= {"SUCCEEDED", "RUNNING"}
        assert asked(stage, "instances")[0] == 5
        assert supply(stage, 1000).current_copies >= 5


WRITE_OF = {"instances": "UpdateEndpointWeightsAndCapacities", "copies": "UpdateInferenceComponentRuntimeConfig"}


def crashed(stage, what: str, *, written: bool) -> None:
    """Kill the function that makes the first write of that kind just after it, or just before; run on for minutes."""

    def kill(proceed):
        if written:
            proceed()
        raise EnvironmentKilled

    stage.account.interceptors.append(once(lambda call: call.operation == WRITE_OF[what], kill))
    stage.run_until(1190)
    assert {e.status for e in stage.account.executions()} == {"SUCCEEDED"}, "a look may be repeated: it is tried again"


@pytest.mark.parametrize("what", ["instances", "copies"])
def test_after_a_crash_between_the_write_and_its_record_nothing_is_asked_twice_and_the_outcome_is_reached(what):
    with on_stage("3x30 22x90") as stage:
        crashed(stage, what, written=True)
        assert asked(stage, "instances") == [5]
        assert asked(stage, "copies") == sorted(set(asked(stage, "copies")))
        assert [outcome for _, _, _, outcome in writes(stage) if outcome != "ok"] == []
        assert supply(stage, 1190).current_copies == 5
        assert not loop_item(stage).running


@pytest.mark.parametrize("what", ["instances", "copies"])
def test_after_a_crash_between_the_intent_and_the_write_it_is_asked_again_and_the_outcome_is_reached(what):
    with on_stage("3x30 22x90") as stage:
        crashed(stage, what, written=False)
        for kind in ("instances", "copies"):
            counts = asked(stage, kind)
            assert all(a != b for a, b in zip(counts, counts[1:], strict=False)), kind
        assert supply(stage, 1190).current_copies == 5


# --- waking up -----------------------------------------------------------------------------------------------------


def test_a_poke_between_the_look_and_the_end_makes_the_loop_look_again():
    def ends(call) -> bool:
        return (
            call.function == "DecideFunction"
            and call.operation == "UpdateItem"
            and "poke_seq = :seq" in call.params.get("ConditionExpression", "")
        )

    with on_stage("8x30", component={"max_copies": 1}) as stage:

        def poke_first(proceed):
            poke(stage)
            return proceed()

        stage.account.interceptors.append(once(ends, poke_first))
        stage.run_until(110)
        first = stage.account.executions()[0]
        assert path(first) == ["Decide", "WhatNext?", "WaitTick", "Decide", "WhatNext?", "Settled"]


def test_an_event_that_arrives_while_another_is_looked_at_causes_a_second_look():
    with on_stage("3x60") as stage:
        stage.run_until(100)

        def poke_first(proceed):
            poke(stage)
            return proceed()

        stage.account.interceptors.append(once(lambda call: call.operation == "DescribeEndpoint", poke_first))
        before = len(decisions(stage))
        outcome = stage.account.invoke("OnAlarmFunction", alarm_event(stage))
        assert outcome.payload["outcome"] == "looked"
        assert len(decisions(stage)) == before + 2
        stage.account.invoke("OnAlarmFunction", alarm_event(stage))
        assert len(decisions(stage)) == before + 3, "without a poke one look is enough"


def test_events_while_the_lease_is_held_are_coalesced_and_the_raise_comes_all_the_same():
    with on_stage(RISE) as stage:
        stage.run_until(319)
        registry = Registry(table(stage))
        # Somebody takes the lease just before the alarm, and dies with it.
        registry.acquire_lease("llm", holder="elsewhere", now_s=stage.account.clock.now_s, ttl_s=30.0)
        stage.run_until(322)
        before = registry.read_loop("llm").poke_seq
        event = alarm_event(stage)
        assert event["detail"]["state"]["value"] == "ALARM"
        outcomes = [stage.account.invoke("OnAlarmFunction", event).payload for _ in range(2)]
        assert [o["outcome"] for o in outcomes] == ["coalesced", "coalesced"]
        assert registry.read_loop("llm").poke_seq == before + 2
        assert writes(stage) == []
        stage.run_until(390)
        assert asked(stage, "instances") == [5]
        assert set(statuses(stage)) == {"RUNNING"}


# --- payloads ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quiet():
    with on_stage("3x6") as stage:
        stage.run_until(30)
        yield stage


@pytest.mark.parametrize("function", LOOP_FUNCTIONS)
@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({"v": 99, "endpoint": "llm", "generation": 1}, ("99", "0 and 1")),
        ({"endpoint": "llm", "generation": 1}, ("None", "0 and 1")),
        ({"v": 1, "endpoint": "", "generation": 1}, ("endpoint", "''")),
        ({"v": 1, "endpoint": "llm", "generation": "1"}, ("generation", "'1'")),
    ],
    ids=["a later version", "no version", "no endpoint", "generation as text"],
)
def test_a_payload_that_is_none_is_refused_by_every_state_and_says_what_is_expected(quiet, function, payload, says):
    error = quiet.account.invoke(function, payload).error
    assert error["errorType"] == "InvalidEvent"
    assert all(word in error["errorMessage"] for word in says)


@pytest.mark.parametrize("version", [0, 1])
def test_the_payload_of_this_version_and_of_the_one_before_is_read(quiet, version):
    outcome = quiet.account.invoke("DecideFunction", {"v": version, "endpoint": "llm", "generation": 1})
    assert outcome.error is None
    assert outcome.payload["next"] == "SETTLED" and "superseded" in outcome.payload["why"]
