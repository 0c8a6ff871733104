"""What operators see: each alarm rings when it should and only then, and metrics, events, tags and queries tell the truth."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager

import pytest

from simulator.account_call import Call
from simulator.aws.log_queries import Event, run_query
from simulator.errors import ServiceError
from simulator.report.dashboard import evaluate_dashboard
from simulator.report.dashboard_page import render_dashboard
from tests.scenarios.stage import on_stage, supply

RISE = "2x30 12x60"
"""Two clients for 5 minutes, then twelve for 10: at a target of 5 from one copy to three."""


def rang(stage, alarm: str) -> list[tuple[float, str]]:
    """(seconds since the start, state) of every change of an alarm of the stack."""
    return [
        (round(one.at_s - stage.traffic.start_s), str(one.after))
        for one in stage.account.alarm_transitions()
        if one.alarm_name == f"quickstep{alarm}"
    ]


def states(stage, alarm: str) -> list[str]:
    return [state for _, state in rang(stage, alarm)]


NEW_STACK_S = 240
"""A new stack has no finished Reconcile yet, so that alarm begins in ALARM; nobody can have subscribed by then."""


def paged(stage) -> list[str]:
    """Subjects of what was published to the operators' topic, but for the first minutes of a new stack."""
    begins_s = stage.traffic.start_s + NEW_STACK_S
    return [str(one.subject) for one in stage.account.sns.notifications if one.at_s >= begins_s]


def metric_lines(stage, name: str) -> list[dict]:
    return [line.fields for line in stage.account.logs if line.fields and name in line.fields and "_aws" in line.fields]


# -- alarms --------------------------------------------------------------------------------------------------------------


def test_on_a_fair_day_with_a_scale_out_and_in_no_operator_is_paged():
    with on_stage("2x30 7x60 2x90") as stage:
        stage.run_until(1790)
        assert supply(stage, 800).current_copies == 2
        assert supply(stage, 1789).current_copies == 1
        assert "ALARM" in states(stage, "--high") and "ALARM" in states(stage, "--low")
        assert [s for s in paged(stage) if s.startswith("ALARM")] == []
        assert stage.account.dead_letters == []


def test_a_refused_event_rings_dead_letters_until_the_queue_is_empty():
    with on_stage("1x120") as stage:
        stage.run_until(300)
        stage.account.lambdas.invoke_async(stage.account.stack["OnAlarmFunction"].name, {"source": "nobody"})
        stage.run_until(540)
        assert states(stage, "-operator-dead-letters")[-1] == "ALARM"
        assert any("quickstep-operator-dead-letters" in subject for subject in paged(stage))
        (letter,) = stage.account.dead_letters
        assert "detail-type is" in letter.body, "the letter says what was refused"
        queue = stage.account.stack["DeadLetterQueue"]
        stage.account.call("sqs", "PurgeQueue", {"QueueUrl": queue.ref})
        stage.run_until(900)
        assert states(stage, "-operator-dead-letters")[-1] == "OK"


def test_a_reconciler_that_is_not_invoked_for_three_minutes_rings_and_ends_when_it_is():
    with on_stage("1x180") as stage:
        stage.run_until(600)
        account = stage.account
        rule = next(r for r in account.stack.of_type("AWS::Events::Rule") if r.logical_id.startswith("Reconcile"))
        account.call("events", "DisableRule", {"Name": rule.name})
        stage.run_until(1200)
        changes = [one for one in rang(stage, "-operator-reconciler-silent") if one[0] > NEW_STACK_S]
        ((at_s, _),) = [one for one in changes if one[1] == "ALARM"]
        assert 600 + 180 <= at_s <= 600 + 420
        account.call("events", "EnableRule", {"Name": rule.name})
        stage.run_until(1700)
        assert states(stage, "-operator-reconciler-silent")[-1] == "OK"
        assert [s.split(":")[0] for s in paged(stage) if "reconciler-silent" in s][-2:] == ["ALARM", "OK"]


def test_a_reconciler_that_fails_every_time_rings_although_it_is_invoked():
    def refuse(call: Call, proceed):
        if call.function == "ReconcileFunction" and call.service == "dynamodb":
            raise ServiceError("AccessDeniedException", "not authorized", 403)
        return proceed()

    with on_stage("1x120") as stage:
        stage.run_until(300)
        stage.account.interceptors.append(refuse)
        stage.run_until(900)
        assert states(stage, "-operator-reconciler-silent")[-1] == "ALARM"
        assert states(stage, "-operator-dead-letters")[-1] == "ALARM", "the failed runs are in the queue"


def test_an_update_that_does_not_end_rings_after_its_deadline():
    with on_stage("2x30 7x200", delays={"launch_median_s": 9000, "launch_p95_s": 9001}) as stage:
        stage.run_until(1200)
        assert "ALARM" not in states(stage, "-operator-stuck-update")
        stage.run_until(2000)
        ((at_s, _), *_) = [one for one in rang(stage, "-operator-stuck-update") if one[1] == "ALARM"]
        assert 1500 <= at_s <= 1900, "twenty minutes after instances were asked for at about 320 s"
        assert states(stage, "-operator-stuck-update")[-1] == "ALARM", "it rings as long as the endpoint is blocked"


BUDGET = {"BudgetUsdPerHour": "15", "InstanceUsdPerHour": "7.09"}


def test_a_budget_that_is_nearly_used_rings_and_is_over_when_instances_go():
    with on_stage("2x30 12x60 2x150", parameters=BUDGET) as stage:
        stage.run_until(300)
        assert states(stage, "-operator-budget-near") in ([], ["OK"])
        stage.run_until(900)
        assert states(stage, "-operator-budget-near")[-1] == "ALARM"
        assert supply(stage, 890).instances_in_service == 2, "three would cost $21 an hour"
        stage.run_until(2400)
        assert supply(stage, 2399).instances_in_service == 1
        assert states(stage, "-operator-budget-near")[-1] == "OK"


def test_without_a_budget_there_is_no_budget_alarm():
    with on_stage("1x6") as stage:
        names = {alarm["AlarmName"] for alarm in stage.account.call("cloudwatch", "DescribeAlarms")["MetricAlarms"]}
        assert "quickstep-operator-budget-near" not in names
        assert "quickstep-operator-stuck-update" in names


def test_a_request_that_finds_no_copy_rings_wake():
    with on_stage("5x12 0x240 8x30", mode="managed", component={"min_copies": 0}) as stage:
        stage.run_until(2500)
        assert supply(stage, 2490).current_copies == 0 and "ALARM" not in states(stage, "--wake")
        stage.run_until(2600)
        assert "ALARM" in states(stage, "--wake")


def test_operators_alarms_never_reach_the_functions():
    with on_stage("1x120") as stage:
        stage.run_until(430)  # the low alarm has spoken, and nothing else is due
        before = stage.account.calls.copy()
        stage.account.call(
            "cloudwatch",
            "SetAlarmState",
            {"AlarmName": "quickstep-operator-stuck-update", "StateValue": "ALARM", "StateReason": "a drill"},
        )
        stage.run_until(450)
        called = {name for (name, *_), n in (stage.account.calls - Counter(before)).items() if n}
        assert "OnAlarmFunction" not in called
        assert any("stuck-update" in subject for subject in paged(stage))


# -- metrics -------------------------------------------------------------------------------------------------------------


def test_at_rest_nothing_is_published_that_aws_bills_as_a_custom_metric():
    with on_stage("1x500") as stage:
        stage.run_until(1350)
        before = len(stage.account.logs)
        stage.run_until(4950)
        published = [line.text for line in stage.account.logs[before:] if line.fields and "_aws" in line.fields]
        assert published == []


def test_gauges_and_phase_times_are_what_happened():
    with on_stage(RISE) as stage:
        stage.run_until(880)
        copies = [(f["DesiredCopies"], f["CurrentCopies"]) for f in metric_lines(stage, "DesiredCopies")]
        assert copies[-1] == (3, 3) and (3, 1) in copies
        (last,) = metric_lines(stage, "CostPerHourUsd")[-1:]
        assert (last["CostPerHourUsd"], last["CurrentInstances"], last["Endpoint"]) == (3 * 7.09, 3, "llm")
        ((asked_s,),) = [[f["AlarmToAskSeconds"]] for f in metric_lines(stage, "AlarmToAskSeconds")]
        (instances_s,) = [f["AskToInstancesSeconds"] for f in metric_lines(stage, "AskToInstancesSeconds")]
        (copies_s,) = [f["AskToCopiesSeconds"] for f in metric_lines(stage, "AskToCopiesSeconds")]
        high_s = next(t for t, state in rang(stage, "--high") if state == "ALARM")
        served_s = next(t for t in range(high_s, 880) if supply(stage, t).current_copies == 3)
        assert asked_s <= 15
        assert abs(high_s + asked_s + instances_s + copies_s - served_s) <= 30, "the phases add up, but for two looks"


def test_what_aws_refuses_is_counted():
    with on_stage("3x30 35x60", account={"instance_quota": 4}) as stage:
        stage.run_until(900)
        assert sum(f["Refusals"] for f in metric_lines(stage, "Refusals")) >= 1


# -- events and tags ---------------------------------------------------------------------------------------------------------


@contextmanager
def listening(stage):
    """Details of the scaling events that a rule on Application Auto Scaling's detail-type delivers."""
    account = stage.account
    account.queues.create("listener", {})
    arn = f"arn:aws:sqs:{account.stack.region}:{account.stack.account_id}:listener"
    pattern = {
        "source": ["quickstep"],
        "detail-type": ["Application Auto Scaling Scaling Activity State Change"],
    }
    account.call("events", "PutRule", {"Name": "listener", "EventPattern": json.dumps(pattern)})
    account.call("events", "PutTargets", {"Rule": "listener", "Targets": [{"Id": "q", "Arn": arn}]})
    account.roles.queue_accepts = lambda *_: True
    yield lambda: [json.loads(m.body)["detail"] for m in account.queues.queues["listener"].messages]


DOCUMENTED = {
    "startTime",
    "endTime",
    "newDesiredCapacity",
    "oldDesiredCapacity",
    "minCapacity",
    "maxCapacity",
    "resourceId",
    "scalableDimension",
    "serviceNamespace",
    "statusCode",
    "scaledToMax",
    "direction",
}
"""Application Auto Scaling user guide, "Monitor Application Auto Scaling events using Amazon EventBridge"."""


def test_every_scaling_activity_is_told_on_the_bus_in_application_auto_scalings_shape():
    with on_stage(RISE, component={"max_copies": 3}) as stage, listening(stage) as details:
        stage.run_until(880)
        began, ended = details()
        assert set(ended) == DOCUMENTED | {"activityId", "cause"}
        assert set(began) == set(ended) - {"endTime"}
        assert (began["statusCode"], ended["statusCode"]) == ("InProgress", "Successful")
        assert ended["startTime"] == began["startTime"] < ended["endTime"]
        assert {**ended, "cause": "", "activityId": "", "startTime": "", "endTime": ""} == {
            "startTime": "",
            "endTime": "",
            "newDesiredCapacity": 3,
            "oldDesiredCapacity": 1,
            "minCapacity": 1,
            "maxCapacity": 3,
            "resourceId": "inference-component/chat",
            "scalableDimension": "sagemaker:inference-component:DesiredCopyCount",
            "serviceNamespace": "sagemaker",
            "statusCode": "Successful",
            "scaledToMax": True,
            "direction": "scale-out",
            "activityId": "",
            "cause": "",
        }


def test_a_bus_that_takes_no_event_and_tags_that_are_denied_keep_nothing_from_being_scaled():
    def refuse(call: Call, proceed):
        if call.operation == "PutEvents" or (call.operation == "AddTags" and "last-change" in str(call.params)):
            raise ServiceError("AccessDeniedException", "not authorized", 403)
        return proceed()

    with on_stage(RISE) as stage:
        stage.account.interceptors.append(refuse)
        stage.run_until(880)
        assert supply(stage, 870).current_copies == 3
        said = {
            line.fields["message"]
            for line in stage.account.logs
            if line.fields and line.fields.get("level") == "WARNING"
        }
        assert {"cannot send scaling events", "cannot tag the change"} <= said


def test_what_is_managed_says_in_its_tags_what_was_changed_last():
    with on_stage(RISE) as stage:
        stage.run_until(880)
        arn = next(arn for arn in stage.account.sagemaker.world.tags if ":inference-component/chat" in arn)
        tags = stage.account.tags_of(arn)
        assert tags["quickstep:managed"] == "quickstep"
        assert tags["quickstep:last-change"].startswith("2026-01-01T00:")
        assert " 1 to 3 copies: " in tags["quickstep:last-change"]


# -- the dashboard and the saved queries ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def busy():
    """A run with a scale-out, a refusal, a refused event and a bus that once takes none."""

    def refuse(call: Call, proceed):
        if call.operation == "PutEvents":
            raise ServiceError("ThrottlingException", "Rate exceeded", 400)
        return proceed()

    with on_stage(
        "3x30 35x90", account={"instance_quota": 4}, parameters=BUDGET | {"BudgetUsdPerHour": "100"}
    ) as stage:
        stage.account.interceptors.append(refuse)
        stage.run_until(600)
        stage.account.interceptors.remove(refuse)
        stage.account.lambdas.invoke_async(stage.account.stack["OnAlarmFunction"].name, {"source": "nobody"})
        stage.run_until(1180)
        yield stage


def test_every_widget_of_the_dashboard_has_something_to_show(busy):
    shown = evaluate_dashboard(busy.account, range_s=1200)
    for widget in shown.widgets:
        parts = [widget.text, widget.alarms, widget.rows, any(line.points for line in widget.lines)]
        parts.append(any(value for _, value in widget.bars))
        # Nothing of this account is forecast; tests/scenarios/test_forecast.py has one that is.
        assert any(parts) or widget.title.startswith("Forecasts"), widget.title
    page = render_dashboard(shown)
    assert page.count("<section") == len(shown.widgets)
    assert page.count("No data in this range") == 1


def test_the_dashboard_draws_what_happened(busy):
    widgets = {one.title: one for one in evaluate_dashboard(busy.account, range_s=1200).widgets}
    copies = {line.label.split()[0]: dict(line.points) for line in widgets["Copies: desired and current"].lines}
    end = max(copies["current"])
    assert copies["current"][end] == supply(busy, 1170).current_copies == 4
    assert copies["desired"][end] > 4
    demand = next(line for line in widgets[next(t for t in widgets if t.startswith("Demand"))].lines)
    assert demand.points[-1][1] == pytest.approx(35, abs=2), "thirty-five clients that never stop"
    cost = widgets["Cost of the instances, $ per hour"]
    assert cost.lines[0].points[-1][1] == pytest.approx(4 * 7.09)
    assert ("budget", 100.0, "#d62728") in cost.levels


def test_every_saved_query_finds_what_it_is_for(busy):
    events = [Event(line.at_s, line.fields) for line in busy.account.logs if line.fields]
    rows = {
        q.properties["Name"].split("/")[1]: run_query(q.properties["QueryString"], events)
        for q in busy.account.stack.of_type("AWS::Logs::QueryDefinition")
    }
    assert {name for name, found in rows.items() if not found} == set()
    assert {row["decision.outcome"] for row in rows["Why was it decided"]} >= {"applied", "refused"}
    assert any("instances" in row["decision.outcome_detail"] for row in rows["What was changed"])
    assert any("quota" in row["decision.outcome_detail"] for row in rows["What AWS refused"])
    assert all(row["looks"] >= 1 and row["decision.reason"] for row in rows["What held it back"])
    assert {row["note.what"] for row in rows["How long it took"]} >= {"reached", "instances"}
    for found in rows.values():
        for column in found[0]:
            assert any(row[column] is not None for row in found) or column in (
                "target",
                "endpoint",
                "cause",
                "error",
            ), column
