"""Capacity: quotas, shortages that nobody announces, stuck updates, deployments, other people's changes."""

from __future__ import annotations

import pytest

from simulator.aws.sagemaker_faults import FOREVER_S, Ending, Shortage
from tests.scenarios.stage import decisions, errors, on_stage, statuses, supply, writes

RISE = "3x30 35x330"
"""5 minutes of 3 in flight, 55 of 35: seven copies."""
TYPE = "ml.g5.12xlarge"


def test_a_quota_refusal_is_followed_by_the_largest_ask_that_fits():
    with on_stage(RISE, account={"instance_quota": 4}) as stage:
        stage.run_until(1500)
        instances = [(n, outcome) for _, what, n, outcome in writes(stage) if what == "instances"]
        assert instances[0] == (7, "ResourceLimitExceeded")
        assert (4, "ok") in instances
        assert supply(stage, 1500).current_copies == 4
        assert "QuotaExceeded" in " ".join(line.text for line in stage.account.logs)
        assert len(instances) < 12, "a refusal is waited out, not hammered"


def test_a_silent_shortage_is_found_out_and_asked_smaller_and_later_again():
    shortage = Shortage(TYPE, 0.0, FOREVER_S, 0, Ending.SILENT, give_up_after_s=300.0)
    with on_stage("3x30 35x420") as stage:
        stage.account.sagemaker.faults.shortages.append(shortage)
        stage.run_until(2400)
        asks = [(t, n) for t, what, n, _ in writes(stage) if what == "instances"]
        assert len(asks) >= 2
        assert asks[1][1] < asks[0][1]
        assert asks[1][0] - asks[0][0] >= 300
        assert any("without a reason" in line.text for line in stage.account.logs)
        shortage.end_s = stage.account.clock.now_s
        stage.run_until(4200)
        assert supply(stage, 4200).current_copies >= 7, "on recovery the newest wish is asked"


def test_a_deployment_freezes_scaling_and_is_not_fought():
    with on_stage(RISE) as stage:
        stage.run_until(290)
        assert stage.account.sagemaker.start_system_update("llm", 400.0)
        stage.run_until(650)
        assert writes(stage) == []
        assert "DeploymentInProgress" in {
            line.fields["decision"].get("outcome_detail", "") and line.fields["decision"]["reason"]
            for line in stage.account.logs
            if line.fields and "decision" in line.fields
        } or any("frozen" in line.text for line in stage.account.logs)
        stage.run_until(1500)
        assert supply(stage, 1500).current_copies >= 7


def test_somebody_else_s_change_is_kept_for_a_while_and_not_fought():
    with on_stage("3x240", endpoint={"initial_instances": 4}) as stage:
        stage.run_until(400)
        request = {"InferenceComponentName": "chat", "DesiredRuntimeConfig": {"CopyCount": 3}}
        stage.account.sagemaker.call("UpdateInferenceComponentRuntimeConfig", request, actor="foreign")
        stage.run_until(1100)
        assert supply(stage, 1100).desired_copies == 3
        stage.run_until(2400)
        assert supply(stage, 2400).desired_copies == 1


def test_an_application_auto_scaling_target_on_the_component_is_left_alone_and_reported():
    with on_stage(RISE, endpoint={"initial_instances": 8}) as stage:
        stage.account.autoscaling.call(
            "RegisterScalableTarget",
            {
                "ServiceNamespace": "sagemaker",
                "ResourceId": "inference-component/chat",
                "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
                "MinCapacity": 1,
                "MaxCapacity": 4,
            },
        )
        stage.run_until(900)
        assert writes(stage) == []
        assert any("Application Auto Scaling target" in line.text for line in stage.account.logs)
        assert set(statuses(stage)) <= {"SUCCEEDED", "RUNNING"}


def test_a_deleted_component_is_reported_and_the_loop_ends():
    with on_stage(RISE) as stage:
        stage.run_until(200)
        stage.account.sagemaker.call("DeleteInferenceComponent", {"InferenceComponentName": "chat"}, actor="foreign")
        stage.run_until(900)
        assert "ComponentNotFound" in {d["reason"] for d in decisions(stage)}
        assert "RUNNING" not in statuses(stage)[:-1]


@pytest.mark.parametrize("operation", ["DescribeEndpoint", "UpdateInferenceComponentRuntimeConfig", "*"])
def test_throttling_for_ten_minutes_delays_but_does_not_break(operation):
    with on_stage(RISE, endpoint={"initial_instances": 8}) as stage:
        start_s = stage.traffic.start_s
        stage.account.sagemaker.faults.throttle(operation, start_s=start_s + 250, end_s=start_s + 850)
        stage.run_until(1500)
        assert supply(stage, 1500).current_copies >= 7
        assert set(statuses(stage)) <= {"SUCCEEDED", "RUNNING"}


def test_a_lost_answer_of_a_write_is_found_out_by_the_next_look():
    from simulator.aws.sagemaker_faults import CallFault

    with on_stage(RISE, endpoint={"initial_instances": 8}) as stage:
        fault = CallFault(
            "UpdateInferenceComponentRuntimeConfig",
            code="InternalFailure",
            message="lost",
            status=500,
            applied=True,
            remaining=1,
        )
        stage.account.sagemaker.faults.calls.append(fault)
        stage.run_until(900)
        assert supply(stage, 900).current_copies >= 7
        assert [outcome for _, what, _, outcome in writes(stage) if what == "copies"][0] == "InternalFailure"


def test_bystanders_take_room_that_is_planned_for():
    bystanders = [{"name": "other", "copies": 1, "accelerators": 4}]
    with on_stage(RISE, bystanders=bystanders, endpoint={"initial_instances": 2}) as stage:
        stage.run_until(1200)
        assert supply(stage, 1200).instances_in_service >= supply(stage, 1200).current_copies + 1
        assert errors(stage) == []


@pytest.mark.parametrize("seed", range(3))
def test_with_a_blind_instance_scale_in_a_hit_is_told_and_not_repeated(seed):
    with on_stage("3x30 35x90 3x420", endpoint={"instance_scale_in": "blind"}, seed=seed) as stage:
        stage.run_until(5390)
        removals = [t for (t, what, n, _), before in _instance_steps(stage) if n < before]
        hits = [
            line.at_s - stage.traffic.start_s
            for line in stage.account.logs
            if line.fields and (line.fields.get("note") or {}).get("what") == "restore"
        ]
        assert removals
        assert len(hits) <= 1, "one hit is enough to leave it to a person"
        assert all(t < hits[0] for t in removals) if hits else supply(stage, 5390).instances_in_service == 1
        assert supply(stage, 5390).current_copies == 1


def _instance_steps(stage):
    steps, before = [], 1
    for row in writes(stage):
        if row[1] == "instances" and row[3] == "ok":
            steps.append((row, before))
            before = row[2]
    return steps
