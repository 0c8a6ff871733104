"""The endpoints of `examples/endpoints/`: accepted by the emulated account, scaled by Quickstep, kept by a redeployment."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from simulator import endpoint_stack
from simulator.account import EmulatedAccount
from simulator.template import TemplateError
from tests.scenarios.example_endpoints import (
    COPIES_OF,
    EXAMPLES,
    PARAMETERS,
    account_with,
    clients,
    deploy,
    pause,
    register,
    supply,
    writes,
)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_account_accepts_prefix_aware_routing_and_shows_it(name):
    with account_with({"InferenceComponentName": "chat", "ScalingEnabled": "No"}) as account:
        deployed = deploy(account, name, RoutingStrategy="PREFIX_AWARE", PrefixConcurrencyThreshold="32")
        config = {"EndpointConfigName": deployed.names["EndpointConfig"]}
        (variant,) = account.call("sagemaker", "DescribeEndpointConfig", config)["ProductionVariants"]
        assert variant["RoutingConfig"] == {
            "RoutingStrategy": "PREFIX_AWARE",
            "PrefixAwareRoutingConfig": {"PrefixLength": 4096, "ConcurrencyThreshold": 32},
        }


def test_one_model_on_one_variant_scales_out_by_instances():
    with account_with({"InferenceComponentName": ""}) as account:
        deploy(account, "single_model.yaml", RoutingStrategy="RANDOM")
        resource_id = "endpoint/llm/variant/AllTraffic"
        clients(account, resource_id, *[14] * 15, routing="RANDOM")
        account.run_for(900)
        assert supply(account, resource_id).current_copies >= 3
        assert writes(account, "UpdateEndpointWeightsAndCapacities")
        assert account.dead_letters == []


@pytest.mark.parametrize("managed", ["DISABLED", "ENABLED"])
def test_several_models_on_one_endpoint_scale_each_by_its_own_traffic(managed):
    with account_with({"InferenceComponentName": "chat"}) as account:
        deploy(account, "several_models.yaml", ManagedInstanceScaling=managed)
        register(account, ComponentName="summary", TargetConcurrentRequestsPerCopy="3")
        clients(account, COPIES_OF("chat"), *[2] * 5, *[14] * 15)
        clients(account, COPIES_OF("summary"), *[1] * 5, *[8] * 15)
        account.run_for(300)
        assert [supply(account, COPIES_OF(one)).current_copies for one in ("chat", "summary")] == [1, 1]
        account.run_for(900)
        # 14 at 5 per copy need 3, 8 at 3 per copy need 3: 3 × 2 + 3 × 1 accelerators, 4 on an instance.
        assert supply(account, COPIES_OF("chat")).current_copies >= 3
        assert supply(account, COPIES_OF("summary")).current_copies >= 3
        assert supply(account, COPIES_OF("chat")).instances_in_service >= 3
        assert bool(writes(account, "UpdateEndpointWeightsAndCapacities")) == (managed == "DISABLED")
        assert account.dead_letters == []


@pytest.mark.parametrize(("managed", "kept"), [("ENABLED", 0), ("DISABLED", 1)])
def test_a_model_sleeps_with_its_last_instance_if_that_is_sagemaker_s_and_wakes_when_somebody_calls(managed, kept):
    with account_with({"InferenceComponentName": "chat", "MinCapacity": "0"}) as account:
        deploy(account, "scale_to_zero.yaml", ManagedInstanceScaling=managed)
        clients(account, COPIES_OF("chat"), *[4] * 5, *[0] * 45, *[12] * 12)
        account.run_for(2990)
        asleep = supply(account, COPIES_OF("chat"))
        assert (asleep.current_copies, asleep.instances_in_service) == (0, kept)
        account.run_for(720)
        assert supply(account, COPIES_OF("chat")).current_copies >= 2
        woken = [line.fields["decision"] for line in account.logs if line.fields and "decision" in line.fields]
        assert "Wake" in {one["reason"] for one in woken}
        assert account.dead_letters == []


@pytest.mark.parametrize(
    ("release", "empty", "at_least_min", "at_most_min"),
    [({}, 10, 0, 15), ({"ManagedReleaseStep": "1", "ManagedReleaseCooldownMinutes": "20"}, 3, 55, 70)],
    ids=["as it is", "with SageMaker's default policy"],
)
def test_ten_empty_instances_go_within_minutes_and_three_by_default_take_an_hour(
    release, empty, at_least_min, at_most_min
):
    with account_with({"InferenceComponentName": "chat", "ScalingEnabled": "No"}) as account:
        deploy(account, "scale_to_zero.yaml", ManagedMaxInstances="11", **release)
        for copies in (empty + 1, 1):
            count = {"InferenceComponentName": "chat", "DesiredRuntimeConfig": {"CopyCount": copies}}
            account.call("sagemaker", "UpdateInferenceComponentRuntimeConfig", count)
            endpoint_stack.in_service(account, "InferenceComponent", "chat")
            assert supply(account, COPIES_OF("chat")).current_copies == copies
        assert supply(account, COPIES_OF("chat")).instances_in_service == empty + 1
        begun_s = account.clock.now_s
        while supply(account, COPIES_OF("chat")).instances_in_service > 1:
            account.run_for(60)
        assert at_least_min <= (account.clock.now_s - begun_s) / 60 <= at_most_min


def test_a_redeployment_changes_the_model_and_keeps_the_counts_that_scaling_has_reached():
    with account_with({"InferenceComponentName": "chat", "MaxCapacity": "6"}) as account:
        name = "several_models.yaml"
        before = deploy(account, name, ChatAccelerators="1")
        clients(account, COPIES_OF("chat"), *[22] * 15)
        account.run_for(900)
        reached = supply(account, COPIES_OF("chat"))
        assert reached.desired_copies in (5, 6), "with the other model 6 or 7 of 8 accelerators: room to roll one copy"
        pause(account)
        changed = PARAMETERS[name] | {"ChatAccelerators": "1", "ChatPrefix": "models/chat-v2/", "DetailedMetrics": "No"}
        after = endpoint_stack.update(account, before, EXAMPLES / name, changed)
        now = supply(account, COPIES_OF("chat"))
        assert (now.desired_copies, now.instances_desired) == (reached.desired_copies, reached.instances_desired)
        assert after.names["ChatModel"] != before.names["ChatModel"]
        assert after.names["SummaryModel"] == before.names["SummaryModel"]
        described = account.call("sagemaker", "DescribeInferenceComponent", {"InferenceComponentName": "chat"})
        assert described["Specification"]["ModelName"] == after.names["ChatModel"]


def test_a_copy_count_in_the_template_would_be_set_again_by_a_redeployment(tmp_path):
    text = (EXAMPLES / "several_models.yaml").read_text(encoding="utf-8")
    stated = text.replace(
        "      EndpointName: !GetAtt Endpoint.EndpointName\n      VariantName: AllTraffic\n",
        "      EndpointName: !GetAtt Endpoint.EndpointName\n      VariantName: AllTraffic\n"
        "      RuntimeConfig: {CopyCount: 1}\n",
    )
    assert stated != text
    path = tmp_path / "stated.yaml"
    path.write_text(stated, encoding="utf-8")
    with account_with({"InferenceComponentName": "chat", "ScalingEnabled": "No"}) as account:
        parameters = PARAMETERS["several_models.yaml"] | {"ChatAccelerators": "1"}
        before = endpoint_stack.create(account, path, parameters)
        count = {"InferenceComponentName": "chat", "DesiredRuntimeConfig": {"CopyCount": 2}}
        account.call("sagemaker", "UpdateInferenceComponentRuntimeConfig", count)
        endpoint_stack.in_service(account, "InferenceComponent", "chat")
        changed = parameters | {"ChatPrefix": "models/chat-v2/"}
        endpoint_stack.update(account, before, path, changed)
        assert supply(account, COPIES_OF("chat")).desired_copies == 1


@pytest.mark.parametrize(
    ("retained", "instances"), [("true", 3), ("false", 1)], ids=["as it is", "without the property"]
)
def test_a_new_configuration_keeps_the_instances_because_the_endpoint_says_so(tmp_path, retained, instances):
    text = (EXAMPLES / "single_model.yaml").read_text(encoding="utf-8")
    path = tmp_path / "endpoint.yaml"
    path.write_text(
        text.replace("RetainAllVariantProperties: true", f"RetainAllVariantProperties: {retained}"), encoding="utf-8"
    )
    with account_with({"InferenceComponentName": "", "ScalingEnabled": "No"}) as account:
        before = endpoint_stack.create(account, path, PARAMETERS["single_model.yaml"])
        capacity = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 3}]
        count = {"EndpointName": "llm", "DesiredWeightsAndCapacities": capacity}
        account.call("sagemaker", "UpdateEndpointWeightsAndCapacities", count)
        endpoint_stack.in_service(account, "Endpoint", "llm")
        changed = PARAMETERS["single_model.yaml"] | {"ModelPrefix": "models/chat-v2/"}
        after = endpoint_stack.update(account, before, path, changed)
        assert after.names["Model"] != before.names["Model"]
        assert after.names["EndpointConfig"] != before.names["EndpointConfig"]
        assert supply(account, "endpoint/llm/variant/AllTraffic").instances_desired == instances


def test_a_component_that_leaves_the_template_leaves_the_endpoint_and_the_other_stays(tmp_path):
    text = (EXAMPLES / "several_models.yaml").read_text(encoding="utf-8")
    alone = tmp_path / "alone.yaml"
    alone.write_text(text[: text.index("  Summary:\n")] + text[text.index("Outputs:\n") :], encoding="utf-8")
    parameters = PARAMETERS["several_models.yaml"]

    def components(account: EmulatedAccount) -> list[str]:
        found = account.call("sagemaker", "ListInferenceComponents", {"EndpointNameEquals": "llm"})
        return sorted(one["InferenceComponentName"] for one in found["InferenceComponents"])

    with account_with({"InferenceComponentName": "chat", "ScalingEnabled": "No"}) as account:
        one = endpoint_stack.create(account, alone, parameters)
        assert components(account) == ["chat"]
        both = endpoint_stack.update(account, one, EXAMPLES / "several_models.yaml", parameters)
        assert components(account) == ["chat", "summary"]
        endpoint_stack.update(account, both, alone, parameters)
        account.run_for(600)
        assert components(account) == ["chat"]


def test_a_property_that_sagemaker_does_not_know_is_named(tmp_path):
    text = (EXAMPLES / "single_model.yaml").read_text(encoding="utf-8")
    path = tmp_path / "endpoint.yaml"
    path.write_text(
        text.replace("      MetricsConfig:", "      MetricConfig: {}\n      MetricsConfig:"), encoding="utf-8"
    )
    with (
        account_with({"InferenceComponentName": ""}) as account,
        pytest.raises(
            TemplateError, match="EndpointConfig: EndpointConfig has no property MetricConfig in SageMaker's API"
        ),
    ):
        endpoint_stack.create(account, path, PARAMETERS["single_model.yaml"])


def test_what_sagemaker_refuses_is_refused_while_the_example_is_deployed():
    with account_with({"InferenceComponentName": "chat"}) as account:
        with pytest.raises(TemplateError, match="Parameter ManagedMinInstances failed"):
            deploy(account, "scale_to_zero.yaml", ManagedMinInstances="-1")
        with pytest.raises(ClientError, match="MaxInstanceCount .1. must not be below MinInstanceCount .2."):
            deploy(account, "scale_to_zero.yaml", ManagedMinInstances="2", ManagedMaxInstances="1")
