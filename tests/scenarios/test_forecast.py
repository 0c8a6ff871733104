"""Forecasts in the deployed stack: days of a pattern in CloudWatch, a morning that comes, and one that does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from simulator.report.dashboard import evaluate_dashboard
from simulator.run import Stage
from tests.functions.control_stage import component
from tests.scenarios.stage import decisions, errors, on_stage, supply, writes

BUSY = range(1, 13)
"""Hours of the day (UTC) with 30 requests in flight, six copies' worth; the others have 4, one copy's."""
HOUR_S = 3600
DAYS = 3
MORNING_S = BUSY[0] * HOUR_S
NIGHT = f"4x{MORNING_S // 10}"
CONCURRENCY = "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"


def remember_days(stage: Stage) -> None:
    """What SageMaker has published of the days before the run, minute by minute."""
    dimensions = {"InferenceComponentName": stage.resource_id.split("/")[1]}
    for minute in range(-DAYS * 24 * 60, 0):
        at_s = stage.traffic.start_s + minute * 60
        load, copies = (30.0, 6.0) if int(at_s // HOUR_S) % 24 in BUSY else (4.0, 1.0)
        sums = {"Invocations": (12 * load, 12 * load), "InvocationsPerCopy": (12 * load / copies, 12 * load)}
        sums["ConcurrentRequestsPerCopy"] = (6 * load / copies, 6.0)
        for metric, (total, samples) in sums.items():
            mean = total / samples
            summary = {"minimum": mean, "maximum": mean, "total": total, "samples": samples}
            stage.account.cloudwatch.publish("AWS/SageMaker", metric, dimensions, at_s, period_s=60, **summary)


def put_policy(stage: Stage, mode: str) -> dict[str, Any]:
    """A predictive policy beside the template's own, put by the deployed API."""
    pair = {"TargetValue": 5.0, "PredefinedMetricPairSpecification": {"PredefinedMetricType": CONCURRENCY}}
    params = {
        **component(stage.resource_id.split("/")[1]),
        "PolicyName": "ahead",
        "PolicyType": "PredictiveScaling",
        "PredictiveScalingPolicyConfiguration": {"Mode": mode, "MetricSpecifications": [pair]},
    }
    return call(stage, "PutScalingPolicy", params)


def call(stage: Stage, operation: str, params: dict[str, Any]) -> dict[str, Any]:
    outcome = stage.account.invoke("ControlFunction", {"operation": operation, "parameters": params})
    assert outcome.error is None and "__type" not in outcome.payload, outcome
    return outcome.payload


def forecast_steps(stage: Stage) -> list[dict[str, Any]]:
    """What the forecast stage said in every decision, with `t`."""
    return [{"t": one["t"], **step} for one in decisions(stage) for step in one["steps"] if step["stage"] == "forecast"]


def skills(stage: Stage) -> list[float]:
    """Values of ForecastSkillPercent in the functions' output."""
    lines = [json.loads(one.text) for one in stage.account.logs if "ForecastSkillPercent" in one.text]
    return [one["ForecastSkillPercent"] for one in lines]


def test_the_copies_of_the_morning_serve_before_it_comes():
    with on_stage(f"{NIGHT} 30x60") as stage:
        remember_days(stage)
        stage.run_until(120)
        assert "QuickstepWarnings" not in put_policy(stage, "ForecastAndScale")
        stage.run_until(MORNING_S + 600)
        asked_s = [t_s for t_s, what, count, _ in writes(stage) if what == "copies" and count == 6]
        assert MORNING_S - 600 < asked_s[0] < MORNING_S
        assert supply(stage, MORNING_S - 700).current_copies == 1
        assert supply(stage, MORNING_S).current_copies == 6
        because = next(one for one in decisions(stage) if one["desired"] == 6)
        assert because["reason"] == "Forecast"
        assert because["detail"].startswith(
            "ahead: the hour from 01:00 UTC is forecast at 30, which needs 6 at 5 per copy"
        )
        assert skills(stage) and min(skills(stage)) > 90
        shown = evaluate_dashboard(stage.account, range_s=7200).widgets
        (widget,) = [one for one in shown if one.title.startswith("Forecasts")]
        assert [value for line in widget.lines for _, value in line.points][-1] == skills(stage)[-1]
        assert errors(stage) == []


@pytest.mark.parametrize("mode", [None, "ForecastOnly"])
def test_without_a_floor_the_morning_comes_first(mode):
    with on_stage(f"{NIGHT} 30x60") as stage:
        remember_days(stage)
        stage.run_until(120)
        if mode is not None:
            put_policy(stage, mode)
        stage.run_until(MORNING_S + 600)
        assert supply(stage, MORNING_S + 60).desired_copies == 1
        assert {one["reason"] for one in forecast_steps(stage)} <= {"NotConfigured", "ForecastOnly"}
        # A forecast that decides nothing is measured just the same.
        assert bool(skills(stage)) is (mode is not None)


def test_a_morning_that_does_not_come_silences_the_floor_within_two_hours():
    with on_stage(f"4x{(MORNING_S + 9000) // 10}") as stage:
        remember_days(stage)
        stage.run_until(120)
        put_policy(stage, "ForecastAndScale")
        stage.run_until(MORNING_S + 9000)
        assert supply(stage, MORNING_S).current_copies == 6  # nobody could know
        silent = next(one for one in forecast_steps(stage) if one["reason"] == "ForecastSilent")
        assert MORNING_S + HOUR_S < silent["t"] < MORNING_S + 2 * HOUR_S + 600
        assert "no better than the hour before" in silent["detail"]
        assert supply(stage, MORNING_S + 9000).desired_copies == 1
        assert skills(stage)[-1] <= 0 < skills(stage)[0]
        now_s = stage.account.clock.now_s
        found = call(
            stage,
            "GetPredictiveScalingForecast",
            {**component("chat"), "PolicyName": "ahead", "StartTime": now_s - 7200 - 1800, "EndTime": now_s + 7200},
        )
        # The hour that was forecast at 30 and had 4 is there to be seen beside the metric.
        assert found["LoadForecast"][0]["Values"][0] == pytest.approx(30.0, abs=0.1)
        assert errors(stage) == []
