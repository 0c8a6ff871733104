"""Signals: events that are lost, doubled, late, forged or silent; load that moves while an alarm says nothing new."""

from __future__ import annotations

import json

import pytest

from simulator.aws.delivery import later
from tests.scenarios.stage import decisions, errors, on_stage, statuses, supply, writes

RISE = "3x30 22x60"
"""5 minutes of 3 in flight, 10 of 22: five copies at 5 per copy."""


def alarm_deliveries(delivery) -> bool:
    return delivery.event.get("detail-type") == "CloudWatch Alarm State Change"


def wished(stage, since_s: float) -> int:
    """The largest count decided since then."""
    return max((d["desired"] for d in decisions(stage) if d["t"] >= since_s and "desired" in d), default=0)


def test_load_doubles_while_the_alarm_stays_in_alarm_and_a_second_raise_follows_within_20_s():
    with on_stage("3x30 22x18 44x30", component={"max_copies": 12}) as stage:
        stage.run_until(1000)
        high = [
            t
            for t in stage.account.alarm_transitions()
            if t.alarm_name.endswith("--high") and t.at_s > stage.traffic.start_s + 300
        ]
        assert [t.after for t in high if t.at_s < stage.traffic.start_s + 600][:1] == ["ALARM"]
        # The first datapoint at 44 begins at 480 s, ends at 490 s and is visible 10 s later.
        visible_s = 500
        raised = [d for d in decisions(stage) if d["t"] >= 480 and d.get("desired", 0) > 5]
        assert raised[0]["t"] <= visible_s + 20
        assert raised[0]["by"] != "OnAlarmFunction", "no event comes while the alarm stays in ALARM"


def test_a_lost_alarm_event_is_healed_within_60_s():
    with on_stage(RISE) as stage:
        stage.account.deliverer.tamper = lambda d: () if alarm_deliveries(d) else (d,)
        stage.run_until(900)
        alarm = next(
            t for t in stage.account.alarm_transitions() if t.alarm_name.endswith("--high") and t.after == "ALARM"
        )
        first = writes(stage)[0]
        assert first[0] <= alarm.at_s - stage.traffic.start_s + 62
        assert wished(stage, 300) >= 5


def test_losing_every_event_costs_time_but_not_the_outcome():
    with on_stage(RISE) as stage:
        stage.account.deliverer.tamper = lambda d: (d,) if d.event.get("detail-type") == "Scheduled Event" else ()
        stage.run_until(900)
        assert supply(stage, 900).desired_copies >= 5
        assert errors(stage) == []


@pytest.mark.parametrize(
    "tamper",
    [lambda d: (d, d), lambda d: (d, later(d, 3.0), later(d, 40.0)), lambda d: (later(d, 25.0),)],
    ids=["doubled", "three times", "late"],
)
def test_doubled_and_late_events_change_nothing(tamper):
    def outcome(change) -> tuple[int, list[int]]:
        with on_stage(RISE) as stage:
            stage.account.deliverer.tamper = change
            stage.run_until(900)
            assert errors(stage) == []
            return supply(stage, 900).desired_copies, sorted(
                {n for _, what, n, _ in writes(stage) if what == "instances"}
            )

    assert outcome(tamper)[0] == outcome(None)[0]


def test_high_and_low_at_once_do_not_make_it_swing():
    with on_stage("12x90") as stage:
        stage.run_until(600)
        for name in ("high", "low"):
            alarm = stage.account.cloudwatch.alarms.alarms[f"quickstep--{name}"]
            stage.account.cloudwatch.call(
                "SetAlarmState", {"AlarmName": alarm.name, "StateValue": "ALARM", "StateReason": "test"}
            )
        stage.run_until(900)
        counts = [n for _, what, n, _ in writes(stage) if what == "copies"]
        assert counts == sorted(counts), "nothing is taken away"


def test_a_gap_of_ten_minutes_never_scales_in():
    with on_stage("22x180") as stage:
        stage.run_until(600)
        before = supply(stage, 600).desired_copies
        assert before >= 5
        stage.account.cloudwatch.tamper = lambda publication: ()
        stage.run_until(1200)
        assert supply(stage, 1200).desired_copies == before
        assert decisions(stage)[-1]["reason"] in ("NoData", "ScaleInHold", "AlreadyAtDesiredCapacity")


def refused(stage) -> list[str]:
    return [json.loads(m.body)["responsePayload"]["errorMessage"] for m in stage.account.dead_letters]


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"hello": "world"}, "detail-type"),
        ({"detail-type": "CloudWatch Alarm State Change", "source": "aws.cloudwatch"}, "account"),
        ([1, 2], "JSON object"),
        ("text", "JSON object"),
    ],
    ids=["no event", "half an event", "a list", "a text"],
)
def test_a_malformed_event_ends_in_the_dead_letter_queue_once_and_says_why(event, says):
    with on_stage("3x30") as stage:
        stage.run_until(60)
        name = stage.account.stack["OnAlarmFunction"].name
        stage.account.lambdas.invoke_async(name, event)
        stage.run_until(280)
        messages = refused(stage)
        assert len(messages) == 1
        assert says in messages[0]


def test_a_foreign_account_s_event_is_refused_and_nothing_is_looked_at():
    with on_stage("3x30") as stage:
        stage.run_until(60)
        template = next(
            e for e in stage.account.eventbridge.events if e["detail-type"] == "CloudWatch Alarm State Change"
        )
        before = len(decisions(stage))
        stage.account.lambdas.invoke_async(
            stage.account.stack["OnAlarmFunction"].name, {**template, "account": "999999999999"}
        )
        stage.run_until(100)
        assert "999999999999" in refused(stage)[0]
        assert len(decisions(stage)) == before


def test_a_wish_for_an_unknown_component_is_refused_by_name():
    with on_stage("3x30") as stage:
        stage.run_until(60)
        entry = {
            "Source": "quickstep",
            "DetailType": "Quickstep Manual Wish",
            "Detail": json.dumps({"resourceId": "inference-component/nobody", "capacity": 3}),
        }
        stage.account.eventbridge.call("PutEvents", {"Entries": [entry]})
        stage.run_until(100)
        assert "inference-component/nobody" in refused(stage)[0]


def test_a_manual_wish_is_obeyed_and_held():
    with on_stage("3x120", endpoint={"initial_instances": 4}) as stage:
        stage.run_until(100)
        detail = json.dumps(
            {"resourceId": "inference-component/chat", "capacity": 3, "reason": "launch", "holdSeconds": 300}
        )
        entry = {"Source": "quickstep", "DetailType": "Quickstep Manual Wish", "Detail": detail}
        stage.account.eventbridge.call("PutEvents", {"Entries": [entry]})
        stage.run_until(130)
        assert supply(stage, 130).desired_copies == 3
        stage.run_until(390)
        assert supply(stage, 390).desired_copies == 3
        stage.run_until(1200)
        assert supply(stage, 1200).desired_copies < 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -5.0, 1e12], ids=["nan", "inf", "negative", "huge"])
def test_metrics_that_cannot_be_counts_are_unknown(value):
    with on_stage("7x90") as stage:
        stage.run_until(300)
        before = supply(stage, 300).desired_copies

        def spoil(publication):
            if publication.high_resolution:
                sample = type(publication.sample)(publication.sample.at_s, value, value, value, 1.0)
                return (type(publication)(publication.key, sample, publication.visible_at_s, True),)
            return (publication,)

        stage.account.cloudwatch.tamper = spoil
        stage.run_until(900)
        assert supply(stage, 900).desired_copies == before
        assert set(statuses(stage)) <= {"SUCCEEDED", "RUNNING"}
