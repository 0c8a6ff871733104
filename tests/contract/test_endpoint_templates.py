"""The templates of `examples/endpoints/`: what is written in them, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from simulator.template import TemplateError, load_stack
from tests.scenarios.example_endpoints import EXAMPLES, PARAMETERS, TEMPLATES


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
