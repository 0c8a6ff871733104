"""The endpoints of `examples/endpoints/`: accepted by the emulated account, scaled by Quickstep, kept by a redeployment."""

from __future__ import annotations

import json
import urllib.request
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from simulator import endpoint_stack
from simulator.account import EmulatedAccount
from simulator.aws.sagemaker_delays import Delays
from simulator.physics.fleet import CopyFleet
from simulator.physics.profiles import profile_named
from simulator.physics.requests import ClosedLoop
from simulator.template import TemplateError, load_stack

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "endpoints"
TEMPLATES = sorted(path.name for path in EXAMPLES.glob("*.yaml"))
IMAGE = "763104351884.dkr.ecr.eu-west-1.amazonaws.com/djl-inference:0.33.0-lmi15.0.0-cu128"
GIVEN = {"ImageUri": IMAGE, "ModelBucket": "weights"}
PARAMETERS = {
    "single_model.yaml": GIVEN | {"ModelPrefix": "models/chat/"},
    "several_models.yaml": GIVEN | {"ChatPrefix": "models/chat/", "SummaryPrefix": "models/summary/"},
    "scale_to_zero.yaml": GIVEN | {"ModelPrefix": "models/chat/"},
}
COPIES_OF = "inference-component/{}".format


@contextmanager
def account_with(quickstep: dict[str, str]):
    """An account with Quickstep in it and, as the clock starts, no endpoint."""
    options = {"delays": Delays(release_delay_s=300.0)}
    with EmulatedAccount(
        ROOT / "template.yaml", {"EndpointName": "llm", **quickstep}, sagemaker_options=options
    ) as one:
        yield one


def deploy(account: EmulatedAccount, name: str, **parameters: str) -> endpoint_stack.EndpointStack:
    return endpoint_stack.create(account, EXAMPLES / name, PARAMETERS[name] | parameters)


def clients(
    account: EmulatedAccount, resource_id: str, *levels: int, routing: str = "LEAST_OUTSTANDING_REQUESTS"
) -> None:
    """From now on `levels` requests in flight, minute by minute, from clients that try again every 5 s."""
    loop = ClosedLoop(tuple(levels), 60.0, start_s=account.clock.now_s)
    fleet = CopyFleet(profile_named("M"), loop, routing, client_timeout_s=900, retry_interval_s=5)
    account.sagemaker.attach_load(resource_id, fleet)


def supply(account: EmulatedAccount, resource_id: str):
    found = account.sagemaker.supply_at(resource_id, account.clock.now_s)
    assert found is not None
    return found


def writes(account: EmulatedAccount, operation: str) -> list[dict[str, Any]]:
    return [one.params for one in account.sagemaker.calls if one.operation == operation and one.actor == "product"]


# -- what is written in them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEMPLATES)
def test_cfn_lint_finds_nothing_in_an_example_not_even_to_inform(name):
    config = ManualArgs(regions=["us-east-1"], include_checks=["I"])
    assert [str(found) for found in lint((EXAMPLES / name).read_text(encoding="utf-8"), config=config)] == []


@pytest.mark.parametrize("name", PARAMETERS)
def test_no_example_states_a_copy_count_and_every_endpoint_keeps_its_instance_count(name):
    stack = load_stack(EXAMPLES / name, PARAMETERS[name])
    for component in stack.of_type("AWS::SageMaker::InferenceComponent"):
        assert "RuntimeConfig" not in component.properties
    (endpoint,) = stack.of_type("AWS::SageMaker::Endpoint")
    assert endpoint.properties["RetainAllVariantProperties"] is True


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_execution_role_reads_its_image_and_weights_and_has_a_wildcard_only_where_there_is_no_resource(name):
    (role,) = load_stack(EXAMPLES / name, PARAMETERS[name]).of_type("AWS::IAM::Role")
    (policy,) = role.properties["Policies"]
    statements = {one["Sid"]: one for one in policy["PolicyDocument"]["Statement"]}
    everything = {sid: one["Action"] for sid, one in statements.items() if one["Resource"] == "*"}
    assert everything == {"SignInToEcr": "ecr:GetAuthorizationToken", "Metrics": "cloudwatch:PutMetricData"}
    assert statements["Image"]["Resource"] == "arn:aws:ecr:eu-west-1:763104351884:repository/djl-inference"
    prefixes = [value for key, value in PARAMETERS[name].items() if key.endswith("Prefix")]
    assert statements["Weights"]["Resource"] == [f"arn:aws:s3:::weights/{prefix}*" for prefix in prefixes]
    assert statements["FindWeights"]["Condition"] == {"StringLike": {"s3:prefix": [f"{one}*" for one in prefixes]}}
    assert not any("*" in action for one in statements.values() for action in one["Action"])
    (trust,) = role.properties["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "111122223333"}}


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        (
            "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/llm/vllm:v1",
            "us-east-1:111122223333:repository/team/llm/vllm",
        ),
        (
            f"111122223333.dkr.ecr.us-east-1.amazonaws.com/vllm@sha256:{'a' * 64}",
            "us-east-1:111122223333:repository/vllm",
        ),
    ],
    ids=["folders and a tag", "a digest"],
)
def test_the_role_may_pull_from_the_repository_of_whatever_image_is_given(image, repository):
    parameters = PARAMETERS["single_model.yaml"] | {"ImageUri": image}
    stack = load_stack(EXAMPLES / "single_model.yaml", parameters)
    statements = stack["ExecutionRole"].properties["Policies"][0]["PolicyDocument"]["Statement"]
    (allowed,) = [one["Resource"] for one in statements if one["Sid"] == "Image"]
    assert allowed == f"arn:aws:ecr:{repository}"


@pytest.mark.parametrize(
    "wrong",
    [{"ImageUri": "vllm/vllm-openai:latest"}, {"ModelPrefix": "models/chat"}, {"RoutingStrategy": "KV_AWARE"}],
    ids=["image outside ECR", "prefix without its slash", "routing that CloudFormation does not know"],
)
def test_a_parameter_that_would_fail_minutes_later_is_refused_at_once(wrong):
    (name,) = wrong
    with pytest.raises(TemplateError, match=f"Parameter {name} failed to satisfy constraint"):
        load_stack(EXAMPLES / "scale_to_zero.yaml", PARAMETERS["scale_to_zero.yaml"] | wrong)


def config_of(name: str, **parameters: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the endpoint configuration, its one variant) as CloudFormation would have it."""
    config = load_stack(EXAMPLES / name, PARAMETERS[name] | parameters)["EndpointConfig"].properties
    (variant,) = config["ProductionVariants"]
    return dict(config), dict(variant)


@pytest.mark.parametrize("name", PARAMETERS)
def test_routing_is_a_choice_and_only_prefix_aware_routing_has_settings(name):
    assert config_of(name)[1]["RoutingConfig"] == {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    assert config_of(name, RoutingStrategy="RANDOM")[1]["RoutingConfig"] == {"RoutingStrategy": "RANDOM"}
    assert config_of(name, RoutingStrategy="PREFIX_AWARE")[1]["RoutingConfig"] == {
        "RoutingStrategy": "PREFIX_AWARE",
        "PrefixAwareRoutingConfig": {"PrefixLength": "4096", "ConcurrencyThreshold": "64"},
    }


@pytest.mark.parametrize("name", PARAMETERS)
def test_detailed_metrics_come_every_ten_seconds_or_not_at_all(name):
    on, off = config_of(name)[0]["MetricsConfig"], config_of(name, DetailedMetrics="No")[0]["MetricsConfig"]
    assert (on["EnableEnhancedMetrics"], on["MetricPublishFrequencyInSeconds"]) == (True, 10)
    assert (off["EnableEnhancedMetrics"], off["MetricPublishFrequencyInSeconds"]) == (False, 60)


@pytest.mark.parametrize("name", ["several_models.yaml", "scale_to_zero.yaml"])
def test_managed_instance_scaling_is_absent_or_releases_ten_empty_instances_within_minutes(name):
    assert "ManagedInstanceScaling" not in config_of(name, ManagedInstanceScaling="DISABLED")[1]
    managed = config_of(name, ManagedInstanceScaling="ENABLED")[1]["ManagedInstanceScaling"]
    release = managed["ScaleInPolicy"]
    steps = -(-10 // int(release["MaximumStepSize"]))
    assert release["Strategy"] == "IDLE_RELEASE"
    assert steps * int(release["CooldownInMinutes"]) <= 15, "SageMaker's own default takes 200 minutes"


def test_copies_are_spread_or_packed_as_asked():
    for strategy in ("SPREAD", "BINPACK"):
        stack = load_stack(
            EXAMPLES / "several_models.yaml", PARAMETERS["several_models.yaml"] | {"PlacementStrategy": strategy}
        )
        for component in stack.of_type("AWS::SageMaker::InferenceComponent"):
            assert component.properties["Specification"]["SchedulingConfig"]["PlacementStrategy"] == strategy


# -- at work -----------------------------------------------------------------------------------------------------------


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
        clients(account, COPIES_OF("chat"), *[4] * 5, *[0] * 45, *[12] * 20)
        account.run_for(2990)
        asleep = supply(account, COPIES_OF("chat"))
        assert (asleep.current_copies, asleep.instances_in_service) == (0, kept)
        account.run_for(1200)
        assert supply(account, COPIES_OF("chat")).current_copies >= 2
        woken = [line.fields["decision"] for line in account.logs if line.fields and "decision" in line.fields]
        assert "Wake" in {one["reason"] for one in woken}
        assert account.dead_letters == []


@pytest.mark.parametrize(
    ("release", "at_least_min", "at_most_min"),
    [({}, 0, 15), ({"ManagedReleaseStep": "1", "ManagedReleaseCooldownMinutes": "20"}, 180, 240)],
    ids=["as it is", "with SageMaker's default policy"],
)
def test_ten_empty_instances_are_given_back_within_minutes(release, at_least_min, at_most_min):
    with account_with({"InferenceComponentName": "chat", "ScalingEnabled": "No"}) as account:
        deploy(account, "scale_to_zero.yaml", ManagedMaxInstances="11", **release)
        for copies in (11, 1):
            count = {"InferenceComponentName": "chat", "DesiredRuntimeConfig": {"CopyCount": copies}}
            account.call("sagemaker", "UpdateInferenceComponentRuntimeConfig", count)
            endpoint_stack.in_service(account, "InferenceComponent", "chat")
            assert supply(account, COPIES_OF("chat")).current_copies == copies
        assert supply(account, COPIES_OF("chat")).instances_in_service == 11
        begun_s = account.clock.now_s
        while supply(account, COPIES_OF("chat")).instances_in_service > 1:
            account.run_for(60)
        assert at_least_min <= (account.clock.now_s - begun_s) / 60 <= at_most_min


def test_a_redeployment_changes_the_model_and_keeps_the_counts_that_scaling_has_reached():
    with account_with({"InferenceComponentName": "chat", "MaxCapacity": "6"}) as account:
        name = "several_models.yaml"
        before = deploy(account, name, ChatAccelerators="1")
        clients(account, COPIES_OF("chat"), *[22] * 60)
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


def register(account: EmulatedAccount, **parameters: str) -> None:
    """Deploy components_registered.yaml: CloudFormation asks the deployed control function, which answers to an address."""
    stack = load_stack(EXAMPLES / "components_registered.yaml", parameters, imports=account.stack.exports)
    physical: dict[str, str] = {}
    for logical_id in ("Target", "Policy"):
        properties = dict(stack[logical_id].properties)
        assert properties["ServiceToken"] == account.stack["ControlFunction"].arn
        if logical_id == "Policy":
            properties["ScalingTargetId"] = physical["Target"]  # what Ref of a custom resource gives
        physical[logical_id] = custom_resource(account, stack[logical_id].type, logical_id, properties)


def custom_resource(account: EmulatedAccount, kind: str, logical_id: str, properties: dict[str, Any]) -> str:
    event = {
        "RequestType": "Create",
        "ResponseURL": "https://cloudformation-custom-resource-response-euwest1.s3-eu-west-1.amazonaws.com/answer?X=y",
        "StackId": "arn:aws:cloudformation:eu-west-1:111122223333:stack/summary/4f6c",
        "RequestId": f"create-{logical_id}",
        "ResourceType": kind,
        "LogicalResourceId": logical_id,
        "ResourceProperties": properties,
    }
    received: list[dict[str, Any]] = []

    def urlopen(request, timeout):
        received.append(json.loads(request.data))
        return nullcontext()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urllib.request, "urlopen", urlopen)  # S3 is not there
        outcome = account.invoke("ControlFunction", event)
    assert outcome.error is None, outcome.error
    (answer,) = received
    assert answer["Status"] == "SUCCESS", answer
    return answer["PhysicalResourceId"]


def pause(account: EmulatedAccount) -> None:
    """The users' deploy lock: whatever happens to the count of `chat` from now on is not Quickstep's doing."""
    parameters = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "inference-component/chat",
        "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
        "QuickstepOptions": {"Paused": True, "PausedForSeconds": 7200},
    }
    outcome = account.invoke("ControlFunction", {"operation": "RegisterScalableTarget", "parameters": parameters})
    assert outcome.error is None and "__type" not in outcome.payload, outcome
