"""`quickstep suggest`: the target that the account's own metrics speak for, shown with its evidence, and set if asked to."""

from __future__ import annotations

import json
import sys

import pytest

from quickstep.capacity.target_advice import LARGEST_STEP
from quickstep.gateways.cloudwatch import NAMESPACE
from simulator.bench.service_day import service_day
from simulator.cli.main import main
from simulator.physics.profiles import profile_named
from simulator.traffic.load import load_traffic
from tests.functions.control_stage import STEPS, TRACKING, VARIANT, component, control_stage

CHAT, SUMMARY, SEARCH = component("chat"), component("summary"), component("search")
PEAK = 1.4
"""Maximum over average of ten seconds."""


def sizing(target: float) -> dict:
    """A policy of our own kind, with an option beside the target that must survive."""
    return {
        "PolicyType": "DemandSizing",
        "QuickstepOptions": {
            "DemandSizing": {"TargetPerCopy": target, "SloTarget": 99},
            "LowAlarmEvaluationPeriods": 40,
        },
    }


@pytest.fixture(scope="module")
def day():
    law = profile_named("M")
    traffic = load_traffic("generated:day:chat", profile=law, seed=1, mean_copies=1.5)
    return service_day(law, traffic, share=0.7, seed=1)


@pytest.fixture(scope="module")
def shared(day):
    """The account, whose chat, main (the template's) and single-model variant have had that day behind them."""
    with control_stage() as stage:
        now_s = stage.account.clock.now_s
        began_s = now_s - 86_400 - day.minutes[0].at_s % 60
        for dimensions, concurrency, arrivals in (
            ({"InferenceComponentName": "chat"}, "ConcurrentRequestsPerCopy", "InvocationsPerCopy"),
            ({"InferenceComponentName": "main"}, "ConcurrentRequestsPerCopy", "InvocationsPerCopy"),
            ({"EndpointName": "single", "VariantName": "All"}, "ConcurrentRequestsPerModel", "InvocationsPerInstance"),
        ):
            for one in day.minutes:
                at_s = began_s + one.at_s - day.minutes[0].at_s
                publish(stage, arrivals, dimensions, at_s, one.arrivals_per_copy)
                publish(stage, "ModelLatency", dimensions, at_s, one.latency_s * 1e6, samples=one.requests)
                if at_s < now_s - 3 * 3600:
                    publish(stage, concurrency, dimensions, at_s, one.per_copy)
                else:
                    for part in range(6):
                        level, at = one.per_copy, at_s + 10 * part
                        publish(stage, concurrency, dimensions, at, level, peak=PEAK * level, period_s=10)
        for target in (CHAT, SUMMARY, SEARCH, VARIANT):
            stage.call("RegisterScalableTarget", **target, MinCapacity=1, MaxCapacity=2)
        stage.account.run_for(65)
        yield stage


def publish(stage, metric, dimensions, at_s, value, *, samples=1.0, peak=None, period_s=60):
    stage.account.cloudwatch.publish(
        NAMESPACE,
        metric,
        dimensions,
        at_s,
        period_s=period_s,
        minimum=value,
        maximum=value if peak is None else peak,
        total=value * samples,
        samples=samples,
    )


@pytest.fixture
def stage(shared):
    yield shared
    for row in shared.call("DescribeScalingPolicies", **CHAT)["ScalingPolicies"]:
        shared.call("DeleteScalingPolicy", **CHAT, PolicyName=row["PolicyName"])


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quickstep", "suggest", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def policy_of(stage, target=CHAT):
    (row,) = stage.call("DescribeScalingPolicies", **target)["ScalingPolicies"]
    return row


def test_the_suggestion_is_seven_tenths_of_what_the_copies_carry_and_asking_changes_nothing(
    stage, day, monkeypatch, capsys
):
    stage.call("PutScalingPolicy", **CHAT, PolicyName="size", **sizing(4.0))
    before, calls = stage.items(), dict(stage.account.calls)
    limit_ms = f"{day.latency_slo_s * 1000:.0f}"
    assert run(monkeypatch, "chat", "--latency-ms", limit_ms, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["calibration"]["limit"]["per_copy"] == pytest.approx(day.concurrency, rel=0.15)
    assert found["advice"]["move"] == "raise"
    assert found["advice"]["by_law"] == pytest.approx(0.7 * day.concurrency, rel=0.15)
    assert found["advice"]["step"] <= LARGEST_STEP * 4.0
    assert (found["policy"]["name"], found["policy"]["value"], found["policy"]["statistic"]) == ("size", 4.0, "Average")
    assert found["applied"] is False and "--apply sets" in found["next"][0]
    made = {operation for (_, _, operation), count in stage.account.calls.items() if calls.get(operation) != count}
    assert "PutScalingPolicy" not in made and stage.items() == before


def test_what_is_printed_shows_target_suggestion_evidence_and_the_next_step(stage, monkeypatch, capsys):
    stage.call("PutScalingPolicy", **CHAT, PolicyName="size", **sizing(2.0))
    assert run(monkeypatch, "chat") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "inference-component/chat: target 2 requests in flight per copy now (policy size)"
    assert lines[1].startswith("raise it to ") and "by the law" in lines[1]
    assert any("one step is at most a factor of 1.5" in line for line in lines)
    assert any("twice as long" in line for line in lines)
    assert sum(" to " in line and line.rstrip().endswith(" s") for line in lines) >= 8
    assert lines[-1].startswith("next: the same with --apply sets 3 in policy size")


def test_applied_in_steps_it_arrives_and_leaves_everything_else_of_the_policy(stage, monkeypatch, capsys):
    stage.call("PutScalingPolicy", **CHAT, PolicyName="size", **sizing(3.0))
    options = policy_of(stage)["QuickstepOptions"]
    values = [3.0]
    while True:
        assert run(monkeypatch, "chat", "--apply", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        value = policy_of(stage)["QuickstepOptions"]["DemandSizing"]["TargetPerCopy"]
        assert value == found["advice"]["step"]
        if not found["applied"]:
            break
        values.append(value)
    assert len(values) >= 3 and found["advice"]["move"] == "keep"
    assert all(1 < after / before <= LARGEST_STEP for before, after in zip(values, values[1:], strict=False))
    assert found["advice"]["low"] <= values[-1] <= found["advice"]["high"]
    want = {**options, "DemandSizing": {**options["DemandSizing"], "TargetPerCopy": values[-1]}}
    assert policy_of(stage)["QuickstepOptions"] == want
    stage.account.run_for(65)
    chat = {"Name": "InferenceComponentName", "Value": "chat"}
    alarms = [one for one in stage.alarms().values() if chat in one["Dimensions"]]
    (high,) = [one for one in alarms if one["ComparisonOperator"].startswith("Greater")]
    assert high["Threshold"] == values[-1]


def test_a_tracking_policy_compares_peaks_so_its_target_is_put_up_by_their_ratio(stage, monkeypatch, capsys):
    stage.call("PutScalingPolicy", **CHAT, PolicyName="size", **sizing(5.0))
    assert run(monkeypatch, "chat", "--json") == 0
    plain = json.loads(capsys.readouterr().out)
    stage.call("DeleteScalingPolicy", **CHAT, PolicyName="size")
    stage.call("PutScalingPolicy", **CHAT, PolicyName="track", **TRACKING)
    assert run(monkeypatch, "chat", "--apply", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["policy"]["statistic"], found["peak_ratio"]) == ("Maximum", PEAK)
    assert found["advice"]["by_law"] == pytest.approx(PEAK * plain["advice"]["by_law"], abs=0.11)
    configuration = policy_of(stage)["TargetTrackingScalingPolicyConfiguration"]
    old = TRACKING["TargetTrackingScalingPolicyConfiguration"]
    assert configuration == {**old, "TargetValue": found["advice"]["step"]} and found["applied"] is True


def test_a_variant_is_read_by_its_own_metrics(stage, day, monkeypatch, capsys):
    stage.call("PutScalingPolicy", **VARIANT, PolicyName="size", **sizing(4.0))
    words = ["--latency-ms", f"{day.latency_slo_s * 1000:.0f}", "--json"]
    assert run(monkeypatch, VARIANT["ResourceId"], *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unit"] == "instances"
    assert found["calibration"]["limit"]["per_copy"] == pytest.approx(day.concurrency, rel=0.15)


def test_a_target_of_the_template_is_changed_by_deploying(stage, day, monkeypatch, capsys):
    limit = ["--latency-ms", f"{day.latency_slo_s * 1000:.0f}"]
    assert run(monkeypatch, "main", *limit, "--json") == 0
    step = json.loads(capsys.readouterr().out)["advice"]["step"]
    assert run(monkeypatch, "main", *limit, "--apply") == 1
    printed = capsys.readouterr().out
    assert f"belongs to the template's parameters; deploy with TargetConcurrentRequestsPerCopy={step:g}" in printed


def test_without_evidence_it_ends_with_1_and_the_reason_and_applies_nothing(stage, monkeypatch, capsys):
    stage.call("PutScalingPolicy", **SUMMARY, PolicyName="size", **sizing(3.0))
    assert run(monkeypatch, "summary", "--apply") == 1
    printed = capsys.readouterr().out
    assert "no suggestion: TooFewMinutes: 0 minutes with requests are known" in printed
    assert policy_of(stage, SUMMARY)["QuickstepOptions"]["DemandSizing"]["TargetPerCopy"] == 3.0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nobody"], "inference-component/nobody is not registered"),
        (["search"], "has no policy with a target per copy (its policies: steps)"),
        (["chat", "--latency-ms", "0"], "--latency-ms is 0; give milliseconds above 0"),
        (["chat", "--latency-ms", "nan"], "--latency-ms is nan"),
        (["chat", "--latency-statistic", "median"], "--latency-statistic is 'median'; give Average, or a percentile"),
        (["chat", "--latency-statistic", "p90", "--emulate", "x.yaml"], "the emulated account has no p90 of latencies"),
    ],
    ids=["unknown", "no such policy", "no latency", "not a number", "no statistic", "no percentiles"],
)
def test_what_cannot_be_used_is_exit_code_2_and_one_line(stage, monkeypatch, capsys, words, says):
    stage.call("PutScalingPolicy", **SEARCH, PolicyName="steps", **STEPS)
    assert run(monkeypatch, *words) == 2
    printed = capsys.readouterr()
    assert says in printed.err and printed.err.count("\n") == 1 and printed.out == ""
