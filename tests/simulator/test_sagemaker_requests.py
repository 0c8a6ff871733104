"""What the emulated SageMaker answers, and with which words it refuses."""

from datetime import UTC

import pytest

from simulator.aws.sagemaker_behaviour import Behaviour
from simulator.errors import ServiceError
from tests.simulator.sagemaker_account import COMPONENT_ARN, ENDPOINT_ARN, MODEL, ROLE, Account

NEEDS = {"NumberOfAcceleratorDevicesRequired": 1.0, "MinMemoryRequiredInMb": 1024}
SPECIFICATION = {"Container": {"Image": "llm:1"}, "ComputeResourceRequirements": NEEDS}
ARN = "arn:aws:sagemaker:us-east-1:123456789012"


def variant_config(**more):
    return {"VariantName": "AllTraffic", "InstanceType": "ml.g5.12xlarge", "InitialInstanceCount": 1, **more}


def create_endpoint(account, name="chat", **more):
    config = {
        "EndpointConfigName": f"{name}-1",
        "ExecutionRoleArn": ROLE,
        "ProductionVariants": [variant_config(**more)],
    }
    account.call("CreateEndpointConfig", **config)
    account.call("CreateEndpoint", EndpointName=name, EndpointConfigName=f"{name}-1")


def create_component(account, name="llm", copies=1, **more):
    return account.call(
        "CreateInferenceComponent",
        InferenceComponentName=name,
        EndpointName="chat",
        VariantName="AllTraffic",
        Specification=SPECIFICATION,
        RuntimeConfig={"CopyCount": copies},
        **more,
    )


def test_every_operation_answers_in_the_shape_of_the_service_model():
    account = Account()
    account.call("CreateModel", ModelName="llama", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "vllm:1"})
    account.call("DescribeModel", ModelName="llama")
    scaling = {"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": 4}
    routing = {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    create_endpoint(account, ManagedInstanceScaling=scaling, RoutingConfig=routing)
    account.call("DescribeEndpointConfig", EndpointConfigName="chat-1")
    account.call("DescribeEndpoint", EndpointName="chat")
    account.run(600)
    create_component(account, Tags=[{"Key": "team", "Value": "a"}])
    account.component()
    account.run(600)
    account.component()
    account.set_copies(2)
    account.run(600)
    account.call(
        "UpdateInferenceComponent",
        InferenceComponentName="llm",
        Specification=SPECIFICATION,
        RuntimeConfig={"CopyCount": 1},
    )
    account.run(1200)
    account.component()
    account.call("AddTags", ResourceArn=COMPONENT_ARN, Tags=[{"Key": "env", "Value": "prod"}])
    assert account.call("ListTags", ResourceArn=COMPONENT_ARN)["Tags"] == [
        {"Key": "env", "Value": "prod"},
        {"Key": "team", "Value": "a"},
    ]
    account.call("DeleteTags", ResourceArn=COMPONENT_ARN, TagKeys=["env"])
    account.set_instances(3)
    account.endpoint()
    account.run(600)
    account.call(
        "CreateEndpointConfig",
        EndpointConfigName="chat-2",
        ExecutionRoleArn=ROLE,
        ProductionVariants=[variant_config(ManagedInstanceScaling=scaling)],
    )
    account.call("UpdateEndpoint", EndpointName="chat", EndpointConfigName="chat-2", RetainAllVariantProperties=True)
    assert account.endpoint()["PendingDeploymentSummary"]["EndpointConfigName"] == "chat-2"
    account.run(1200)
    assert len(account.call("ListEndpoints", StatusEquals="InService")["Endpoints"]) == 1
    assert len(account.call("ListInferenceComponents", EndpointNameEquals="chat")["InferenceComponents"]) == 1
    account.call("DeleteInferenceComponent", InferenceComponentName="llm")
    account.run(600)
    account.call("DeleteEndpoint", EndpointName="chat")
    account.run(600)
    account.call("DeleteEndpointConfig", EndpointConfigName="chat-1")
    account.call("DeleteModel", ModelName="llama")
    assert account.seen_operations == set(account.service.operations)


def test_every_emulated_operation_exists_in_the_service_model():
    assert set(Account().service.operations) <= set(MODEL.operation_names)


def test_an_operation_that_is_not_emulated_is_refused_by_name():
    with pytest.raises(ServiceError, match="CreateTrainingJob is not emulated"):
        Account().service.call("CreateTrainingJob", {})


@pytest.mark.parametrize(
    ("operation", "params", "message"),
    [
        ("DescribeEndpoint", {"EndpointName": "Nope"}, f'Could not find endpoint "{ARN}:endpoint/nope".'),
        ("DeleteEndpoint", {"EndpointName": "nope"}, f'Could not find endpoint "{ARN}:endpoint/nope".'),
        (
            "UpdateEndpointWeightsAndCapacities",
            {"EndpointName": "nope", "DesiredWeightsAndCapacities": [{"VariantName": "v", "DesiredInstanceCount": 1}]},
            f'Could not find endpoint "{ARN}:endpoint/nope".',
        ),
        (
            "DescribeEndpointConfig",
            {"EndpointConfigName": "nope"},
            f'Could not find endpoint configuration "{ARN}:endpoint-config/nope".',
        ),
        (
            "CreateEndpoint",
            {"EndpointName": "new", "EndpointConfigName": "nope"},
            f'Could not find endpoint configuration "{ARN}:endpoint-config/nope".',
        ),
        (
            "DescribeInferenceComponent",
            {"InferenceComponentName": "nope"},
            f'Could not find inference component "{ARN}:inference-component/nope".',
        ),
        (
            "UpdateInferenceComponentRuntimeConfig",
            {"InferenceComponentName": "nope", "DesiredRuntimeConfig": {"CopyCount": 1}},
            f'Could not find inference component "{ARN}:inference-component/nope".',
        ),
        ("DescribeModel", {"ModelName": "nope"}, f'Could not find model "{ARN}:model/nope".'),
        (
            "CreateInferenceComponent",
            {
                "InferenceComponentName": "cold",
                "EndpointName": "chat",
                "Specification": SPECIFICATION,
                "RuntimeConfig": {"CopyCount": 0},
            },
            "Inference components copy count an integer larger than 0",
        ),
        (
            "CreateInferenceComponent",
            {
                "InferenceComponentName": "llm",
                "EndpointName": "chat",
                "Specification": SPECIFICATION,
                "RuntimeConfig": {"CopyCount": 1},
            },
            f'Cannot create already existing inference component "{COMPONENT_ARN}".',
        ),
        (
            "CreateEndpoint",
            {"EndpointName": "chat", "EndpointConfigName": "chat-config"},
            f'Cannot create already existing endpoint "{ENDPOINT_ARN}".',
        ),
        (
            "CreateEndpointConfig",
            {"EndpointConfigName": "chat-config", "ProductionVariants": [variant_config()]},
            f'Cannot create already existing endpoint configuration "{ARN}:endpoint-config/chat-config".',
        ),
        (
            "CreateEndpointConfig",
            {
                "EndpointConfigName": "c",
                "ProductionVariants": [
                    variant_config(ModelName="own", ManagedInstanceScaling={"Status": "ENABLED", "MaxInstanceCount": 2})
                ],
            },
            "ManagedInstanceScaling is only supported for inference component endpoints.",
        ),
        (
            "CreateEndpointConfig",
            {"EndpointConfigName": "c", "ProductionVariants": [variant_config()]},
            "ExecutionRoleArn is required for endpoint configurations that host inference components.",
        ),
        (
            "CreateEndpointConfig",
            {"EndpointConfigName": "c", "ProductionVariants": [variant_config(ModelName="nope")]},
            f'Could not find model "{ARN}:model/nope".',
        ),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_sagemakers_words(operation, params, message):
    account = Account().chat()
    account.call("CreateModel", ModelName="own", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "x"})
    assert account.refusal(operation, **params) == ("ValidationException", message)


def test_a_second_change_of_an_endpoint_is_refused_while_the_first_is_going_on():
    account = Account().chat(2)
    account.set_instances(3)
    busy = ("ValidationException", f'Cannot update in-progress endpoint "{ENDPOINT_ARN}".')
    wishes = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 4}]
    assert (
        account.refusal("UpdateEndpointWeightsAndCapacities", EndpointName="chat", DesiredWeightsAndCapacities=wishes)
        == busy
    )
    assert account.refusal("UpdateEndpoint", EndpointName="chat", EndpointConfigName="chat-config") == busy
    assert account.refusal("DeleteEndpoint", EndpointName="chat") == busy
    assert account.instances()[0] == 3


@pytest.mark.parametrize(
    ("during", "state"),
    [("copies", "UPDATE_RC_IN_PROGRESS"), ("create", "CREATE_IN_PROGRESS"), ("delete", "DELETE_IN_PROGRESS")],
)
def test_a_change_of_a_busy_component_is_refused_with_its_inner_state(during, state):
    account = Account().chat(2, 1, accelerators=1)
    name = "llm"
    if during == "copies":
        account.set_copies(2)
    elif during == "create":
        create_component(account, "second")
        name = "second"
    else:
        account.call("DeleteInferenceComponent", InferenceComponentName="llm")
    code, message = account.refusal(
        "UpdateInferenceComponentRuntimeConfig", InferenceComponentName=name, DesiredRuntimeConfig={"CopyCount": 3}
    )
    arn = f"{ARN}:inference-component/{name}"
    assert (code, message) == (
        "ValidationException",
        f'Cannot update inference component "{arn}" while it is in state {state}.',
    )
    assert account.refusal("DeleteInferenceComponent", InferenceComponentName=name)[1] == (
        f'Cannot delete inference component "{arn}" while it is in state {state}.'
    )


def test_min_instance_count_zero_is_accepted_or_refused_as_the_region_does():
    config = {
        "EndpointConfigName": "c",
        "ExecutionRoleArn": ROLE,
        "ProductionVariants": [
            variant_config(ManagedInstanceScaling={"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": 2})
        ],
    }
    Account().call("CreateEndpointConfig", **config)
    paris = Account(behaviour=Behaviour(zero_min_instances=False))
    assert paris.refusal("CreateEndpointConfig", **config) == (
        "ValidationException",
        "Min instance count needs to be greater than 0 for enabled managed instance scaling",
    )


def test_the_capacity_of_one_variant_changes_per_call_unless_the_account_takes_several():
    wishes = [{"VariantName": name, "DesiredInstanceCount": 2} for name in ("a", "b")]
    for several in (False, True):
        account = Account(behaviour=Behaviour(several_capacities_per_call=several))
        variants = [{**variant_config(), "VariantName": name} for name in ("a", "b")]
        account.call("CreateEndpointConfig", EndpointConfigName="c", ExecutionRoleArn=ROLE, ProductionVariants=variants)
        account.call("CreateEndpoint", EndpointName="chat", EndpointConfigName="c")
        account.run(900)
        request = {"EndpointName": "chat", "DesiredWeightsAndCapacities": wishes}
        if several:
            account.call("UpdateEndpointWeightsAndCapacities", **request)
        else:
            refused = account.refusal("UpdateEndpointWeightsAndCapacities", **request)
            assert refused == ("ValidationException", "The capacity of only one variant can be updated at a time.")
            assert [v["DesiredInstanceCount"] for v in account.endpoint()["ProductionVariants"]] == [1, 1]


def test_describe_shows_what_the_configuration_said():
    scaling = {
        "Status": "ENABLED",
        "MinInstanceCount": 1,
        "MaxInstanceCount": 3,
        "ScaleInPolicy": {"Strategy": "IDLE_RELEASE", "MaximumStepSize": 2, "CooldownInMinutes": 5},
    }
    routing = {"RoutingStrategy": "PREFIX_AWARE", "PrefixAwareRoutingConfig": {"PrefixLength": 1024}}
    account = Account()
    create_endpoint(account, ManagedInstanceScaling=scaling, RoutingConfig=routing, InitialVariantWeight=0.5)
    shown = account.variant()
    assert shown["ManagedInstanceScaling"] == scaling
    assert shown["RoutingConfig"] == routing
    assert (shown["DesiredWeight"], shown["DesiredInstanceCount"], shown["CurrentInstanceCount"]) == (0.5, 1, 0)
    assert shown["VariantStatus"][0]["Status"] == "Creating"
    assert account.endpoint()["CreationTime"].tzinfo == UTC
    account.run(600)
    assert "VariantStatus" not in account.variant()
    assert account.endpoint()["EndpointStatus"] == "InService"


def test_an_answer_cannot_be_used_to_change_the_account():
    account = Account()
    create_endpoint(account, RoutingConfig={"RoutingStrategy": "RANDOM"})
    account.variant()["RoutingConfig"]["RoutingStrategy"] = "KV_AWARE"
    account.call("DescribeEndpointConfig", EndpointConfigName="chat-1")["ProductionVariants"].clear()
    assert account.variant()["RoutingConfig"] == {"RoutingStrategy": "RANDOM"}
    assert len(account.call("DescribeEndpointConfig", EndpointConfigName="chat-1")["ProductionVariants"]) == 1


def test_lists_are_filtered_sorted_and_paged():
    account = Account().chat(3, 1, accelerators=1)
    for number in range(11):
        create_component(account, f"extra-{number:02d}", Tags=[])
        account.run(1)
    first = account.call("ListInferenceComponents")
    assert len(first["InferenceComponents"]) == 10  # the default page
    assert first["InferenceComponents"][0]["InferenceComponentName"] == "extra-10"  # the newest first
    second = account.call("ListInferenceComponents", NextToken=first["NextToken"])
    assert [row["InferenceComponentName"] for row in second["InferenceComponents"]] == ["extra-00", "llm"]
    assert "NextToken" not in second
    named = account.call(
        "ListInferenceComponents", NameContains="extra-0", SortBy="Name", SortOrder="Ascending", MaxResults=3
    )
    assert [row["InferenceComponentName"] for row in named["InferenceComponents"]] == [
        "extra-00",
        "extra-01",
        "extra-02",
    ]
    creating = account.call("ListInferenceComponents", StatusEquals="Creating", MaxResults=100)
    assert len(creating["InferenceComponents"]) == 11
    assert account.call("ListInferenceComponents", EndpointNameEquals="other")["InferenceComponents"] == []
    start = account.component()["CreationTime"]
    later = account.call("ListInferenceComponents", CreationTimeAfter=start, MaxResults=100)["InferenceComponents"]
    earlier = account.call("ListInferenceComponents", CreationTimeBefore=start)["InferenceComponents"]
    assert (len(later), len(earlier)) == (12, 0)
    assert account.refusal("ListEndpoints", NextToken="???")[0] == "ValidationException"


def test_deleting_an_endpoint_leaves_its_components_as_orphans_that_block_their_names():
    account = Account().chat(2, 2)
    account.call("DeleteEndpoint", EndpointName="chat")
    assert account.endpoint()["EndpointStatus"] == "Deleting"
    account.run(120)
    assert account.refusal("DescribeEndpoint", EndpointName="chat")[1].startswith("Could not find endpoint")
    orphan = account.component()
    assert (orphan["InferenceComponentStatus"], orphan["RuntimeConfig"]["CurrentCopyCount"]) == ("InService", 2)
    create_endpoint(account)
    account.run(600)
    with pytest.raises(ServiceError, match="Cannot create already existing inference component"):
        create_component(account)
    code, _ = account.refusal(
        "UpdateInferenceComponentRuntimeConfig", InferenceComponentName="llm", DesiredRuntimeConfig={"CopyCount": 1}
    )
    assert code == "ValidationException"
    account.call("DeleteInferenceComponent", InferenceComponentName="llm")
    account.run(60)
    create_component(account)
    assert account.service.supply_at("inference-component/llm", account.clock.now_s).desired_copies == 1


def test_an_adapter_lives_in_its_base_and_keeps_it_from_being_deleted():
    account = Account().chat(2, 2)
    account.call(
        "CreateInferenceComponent",
        InferenceComponentName="lora",
        EndpointName="chat",
        Specification={"BaseInferenceComponentName": "llm", "Container": {"ArtifactUrl": "s3://bucket/lora"}},
    )
    account.run(60)
    adapter = account.component("lora")
    assert adapter["InferenceComponentStatus"] == "InService"
    assert adapter["Specification"]["BaseInferenceComponentName"] == "llm"
    assert adapter["RuntimeConfig"]["CurrentCopyCount"] == 2
    assert "base inference component" in account.refusal("DeleteInferenceComponent", InferenceComponentName="llm")[1]
    account.call("DeleteInferenceComponent", InferenceComponentName="lora")
    account.run(60)
    account.call("DeleteInferenceComponent", InferenceComponentName="llm")


def test_every_call_is_written_down_with_who_made_it_and_how_it_ended():
    account = Account().chat()
    account.set_copies(1)
    with pytest.raises(ServiceError):
        account.set_copies(2)
    account.service.call("DescribeEndpoint", {"EndpointName": "chat"}, actor="foreign")
    made = [(call.operation, call.actor, call.outcome) for call in account.service.calls]
    assert made == [
        ("UpdateInferenceComponentRuntimeConfig", "product", "ok"),
        ("UpdateInferenceComponentRuntimeConfig", "product", "ValidationException"),
        ("DescribeEndpoint", "foreign", "ok"),
    ]
