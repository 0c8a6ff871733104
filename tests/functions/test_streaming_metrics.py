"""What clients measure of their streams is something that a policy can scale by."""

from __future__ import annotations

from quickstep.clients import streaming
from tests.functions.control_stage import component, control_stage

CHAT = component("chat")


def timed(first_s: float) -> streaming.Stopwatch:
    """A stopwatch that saw its first piece after `first_s` seconds and four more, 20 ms apart."""
    times = iter([0.0, *(first_s + 0.02 * number for number in range(5))])
    watch = streaming.Stopwatch(seconds=lambda: next(times))
    list(watch.follow(range(5)))
    return watch


def test_a_policy_scales_by_the_time_to_the_first_token_that_clients_publish():
    with control_stage() as stage:
        account = stage.account
        account.run_for(130)
        stage.call("RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5)
        metric = {
            "Namespace": streaming.NAMESPACE,
            "MetricName": "TimeToFirstToken",
            "Dimensions": [{"Name": "InferenceComponentName", "Value": "chat"}],
            "Statistic": "Average",
        }
        stage.call(
            "PutScalingPolicy",
            **CHAT,
            PolicyName="first-token",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={"TargetValue": 800.0, "CustomizedMetricSpecification": metric},
            QuickstepOptions={"Period": 10},
        )
        publisher = streaming.Publisher("chat", region=account.stack.region)
        for _ in range(30):
            copies = account.sagemaker.supply_at(CHAT["ResourceId"], account.clock.now_s).current_copies
            # Two clients at once; on one copy tokens are three times as late as they should be.
            publisher.publish_all([timed(2.2 / copies), timed(2.6 / copies)])
            account.run_for(10)
        assert account.sagemaker.supply_at(CHAT["ResourceId"], account.clock.now_s).desired_copies == 3
        found = account.call(
            "cloudwatch",
            "GetMetricStatistics",
            {
                "Namespace": streaming.NAMESPACE,
                "MetricName": "InterTokenLatency",
                "Dimensions": metric["Dimensions"],
                "StartTime": account.clock.now_s - 60,
                "EndTime": account.clock.now_s,
                "Period": 60,
                "Statistics": ["SampleCount", "Maximum"],
            },
        )["Datapoints"]
        assert found[0]["Maximum"] == 20.0
        assert found[0]["SampleCount"] % 8 == 0
