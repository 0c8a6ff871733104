"""Updates that replace what runs: rolling updates of a component, blue/green updates of an endpoint."""

import pytest

from simulator.aws.sagemaker_faults import ComponentEnding, ComponentFailure, Ending, EndpointFailure
from simulator.aws.sagemaker_rolling import batch_size
from simulator.aws.sagemaker_scenario import EndpointSpec, ManagedSpec, VariantSpec
from tests.simulator.sagemaker_account import ROLE, Account

NEEDS = {"NumberOfAcceleratorDevicesRequired": 4.0, "MinMemoryRequiredInMb": 1024}


def roll(account, image="llm:2", batch=None, wait_s=0, limit_s=None, copies=None):
    request = {
        "InferenceComponentName": "llm",
        "Specification": {"Container": {"Image": image}, "ComputeResourceRequirements": NEEDS},
    }
    if batch is not None:
        policy = {"MaximumBatchSize": {"Type": "COPY_COUNT", "Value": batch}, "WaitIntervalInSeconds": wait_s}
        if limit_s is not None:
            policy["MaximumExecutionTimeoutInSeconds"] = limit_s
        request["DeploymentConfig"] = {"RollingUpdatePolicy": policy}
    if copies is not None:
        request["RuntimeConfig"] = {"CopyCount": copies}
    return account.call("UpdateInferenceComponent", **request)


def image(account):
    return account.component()["Specification"]["Container"]["DeployedImage"]["SpecifiedImage"]


def watch_copies(account, limit_s=3000):
    """All numbers of current copies that were seen until the component settled."""
    seen = []
    while not account.settled():
        assert account.t < limit_s
        account.run(1)
        if not seen or account.copies()[1] != seen[-1]:
            seen.append(account.copies()[1])
    return seen


def test_a_rolling_update_adds_a_batch_before_it_takes_one_away():
    account = Account().chat(6, 4)
    roll(account, batch=2)
    assert account.component()["InferenceComponentStatus"] == "Updating"
    assert account.refusal(
        "UpdateInferenceComponentRuntimeConfig", InferenceComponentName="llm", DesiredRuntimeConfig={"CopyCount": 5}
    )[1].endswith("while it is in state UPDATE_IN_PROGRESS.")
    serving, held = set(), set()
    while not account.settled():
        account.run(1)
        serving.add(account.copies()[1])
        held.add(len(account.service.component("llm").copies))
    assert min(serving) == 4
    assert max(held) == 6  # the room of its copies and one batch
    assert account.copies() == (4, 4)
    assert image(account) == "llm:2"
    assert account.component()["LastDeploymentConfig"]["RollingUpdatePolicy"]["MaximumBatchSize"]["Value"] == 2


def test_the_old_image_is_shown_until_the_last_batch_is_in():
    account = Account().chat(3, 2)
    roll(account, batch=1)
    account.run(60)
    assert image(account) == "llm:latest"
    account.wait(account.settled)
    assert image(account) == "llm:2"


def test_a_bake_time_passes_between_batches():
    quick, slow = Account().chat(3, 2), Account().chat(3, 2)
    roll(quick, batch=1)
    roll(slow, batch=1, wait_s=300)
    assert slow.wait(slow.settled) == pytest.approx(quick.wait(quick.settled) + 300, abs=2)


def test_a_rolling_update_that_finds_no_room_rolls_back():
    account = Account().chat(4, 4)
    roll(account, batch=2)
    seen = watch_copies(account)
    assert min(seen) == 4
    assert account.copies() == (4, 4)
    assert image(account) == "llm:latest"
    assert "not enough hardware resources" in account.component()["FailureReason"]
    account.set_copies(3)
    account.wait(account.settled)
    assert account.copies() == (3, 3)


def test_a_rolling_update_that_takes_too_long_rolls_back_to_the_old_copies():
    account = Account().chat(6, 4)
    roll(account, batch=1, wait_s=400, limit_s=600)
    account.run(600)
    assert account.component()["InferenceComponentStatus"] == "Updating"
    seen = watch_copies(account)
    assert account.copies() == (4, 4) and image(account) == "llm:latest"
    assert max(seen) <= 5
    assert "FailureReason" in account.component()


def test_managed_scaling_brings_the_instances_for_a_batch_and_takes_them_back():
    account = Account().chat(2, 2, managed=ManagedSpec(1, 4))
    roll(account, batch=1)
    account.wait(account.settled)
    assert image(account) == "llm:2"
    assert account.instances()[1] == 3
    account.run(1500)
    assert account.instances() == (2, 2)


def test_a_rolling_update_can_change_the_number_of_copies_too():
    for copies in (1, 3):
        account = Account().chat(5, 2)
        roll(account, copies=copies)
        account.wait(account.settled)
        assert account.copies() == (copies, copies) and image(account) == "llm:2"


def test_a_rolling_update_at_zero_copies_only_changes_the_specification():
    account = Account().chat(1, 0)
    roll(account)
    assert account.wait(account.settled) < 10
    assert image(account) == "llm:2"
    account.set_copies(1)
    account.wait(account.settled)
    assert account.copies() == (1, 1)


@pytest.mark.parametrize(
    ("kind", "value", "copies", "size"),
    [
        ("COPY_COUNT", 3, 10, 3),
        ("CAPACITY_PERCENT", 25, 10, 3),
        ("CAPACITY_PERCENT", 50, 1, 1),
        ("CAPACITY_PERCENT", 5, 0, 1),
    ],
)
def test_a_batch_is_a_count_or_a_percentage_rounded_up(kind, value, copies, size):
    assert batch_size(kind, value, copies) == size


@pytest.mark.parametrize(
    ("ending", "status", "reason"),
    [
        (ComponentEnding.SILENT, "InService", False),
        (ComponentEnding.REASON, "InService", True),
        (ComponentEnding.FAILED, "Failed", True),
    ],
)
def test_a_copy_count_update_made_to_fail_leaves_the_old_copies(ending, status, reason):
    account = Account().chat(4, 2)
    account.service.faults.component_failures["llm"] = ComponentFailure(ending, after_s=90)
    account.set_copies(4)
    account.run(89)
    assert account.component()["InferenceComponentStatus"] == "Updating"
    account.run(2)
    shown = account.component()
    assert (shown["InferenceComponentStatus"], "FailureReason" in shown) == (status, reason)
    assert account.copies() == (4 if status == "Failed" else 2, 2)
    account.run(600)
    assert account.copies()[1] == 2


def test_update_inference_component_needs_something_to_change_and_takes_a_mere_copy_count():
    account = Account().chat(2, 1)
    code, _ = account.refusal("UpdateInferenceComponent", InferenceComponentName="llm")
    assert code == "ValidationException"
    account.call("UpdateInferenceComponent", InferenceComponentName="llm", RuntimeConfig={"CopyCount": 2})
    assert account.refusal("DeleteInferenceComponent", InferenceComponentName="llm")[1].endswith(
        "UPDATE_RC_IN_PROGRESS."
    )
    account.wait(account.settled)
    assert account.copies() == (2, 2)


# Blue/green


def new_config(account, name="chat-2", **more):
    variant = {"VariantName": "AllTraffic", "InstanceType": "ml.g6e.12xlarge", "InitialInstanceCount": 1, **more}
    account.call("CreateEndpointConfig", EndpointConfigName=name, ExecutionRoleArn=ROLE, ProductionVariants=[variant])
    return name


@pytest.mark.parametrize(
    ("request_more", "instances"),
    [
        ({}, 1),
        ({"RetainAllVariantProperties": True}, 3),
        (
            {
                "RetainAllVariantProperties": True,
                "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredInstanceCount"}],
            },
            1,
        ),
    ],
)
def test_update_endpoint_resets_the_instance_count_unless_it_is_retained(request_more, instances):
    account = Account().chat(3, 1)
    account.call("UpdateEndpoint", EndpointName="chat", EndpointConfigName=new_config(account), **request_more)
    assert account.endpoint()["EndpointStatus"] == "Updating"
    account.run(5)
    assert account.instances() == (3, 3)  # the old fleet serves on
    account.wait(account.settled)
    assert account.instances() == (instances, instances)
    assert account.endpoint()["EndpointConfigName"] == "chat-2"
    assert account.copies() == (1, 1)
    assert account.component()["RuntimeConfig"]["PlacementStatus"][0]["InstanceType"] == "ml.g6e.12xlarge"


def test_blue_green_never_drops_below_the_copies_that_serve_and_pays_for_both_fleets():
    account = Account().chat(2, 2)
    account.call("UpdateEndpoint", EndpointName="chat", EndpointConfigName=new_config(account, InitialInstanceCount=2))
    lowest = 2
    while not account.settled():
        account.run(1)
        lowest = min(lowest, account.copies()[1])
    assert lowest == 2
    billed = account.service.instance_seconds()
    assert billed["ml.g5.12xlarge"] == pytest.approx(2 * account.t, rel=0.1)
    assert billed["ml.g6e.12xlarge"] == pytest.approx(2 * account.t)


def test_copies_that_the_new_fleet_cannot_hold_are_missing_afterwards():
    account = Account().chat(3, 3)
    account.call("UpdateEndpoint", EndpointName="chat", EndpointConfigName=new_config(account))
    account.wait(account.settled)
    assert account.copies() == (3, 1)
    account.set_instances(3)
    account.run(900)
    assert account.copies() == (3, 3)


def test_update_endpoint_that_fails_keeps_the_old_fleet():
    for ending in (Ending.SILENT, Ending.REASON, Ending.ROLL_BACK, Ending.PARTIAL):
        account = Account().chat(2, 2)
        account.service.faults.endpoint_failures["chat"] = EndpointFailure(ending, after_s=200)
        account.call("UpdateEndpoint", EndpointName="chat", EndpointConfigName=new_config(account))
        account.run(500)
        assert account.endpoint()["EndpointStatus"] == "InService"
        assert account.endpoint()["EndpointConfigName"] == "chat-config"
        assert (account.instances(), account.copies()) == ((2, 2), (2, 2))


def test_a_single_model_endpoint_moves_to_its_new_fleet():
    account = Account()
    resource = "endpoint/chat/variant/AllTraffic"
    account.service.scenario_endpoint(EndpointSpec("chat", (VariantSpec("ml.g5.xlarge", 2, model="m"),)))
    old = set(account.service.serving_copies(resource))
    name = new_config(account, ModelName="m", InitialInstanceCount=2)
    account.call("UpdateEndpoint", EndpointName="chat", EndpointConfigName=name)
    lowest = 2
    while account.endpoint()["EndpointStatus"] != "InService":
        account.run(1)
        lowest = min(lowest, len(account.service.serving_copies(resource)))
    assert lowest == 2
    new = set(account.service.serving_copies(resource))
    assert len(new) == 2 and not new & old
    assert account.instances() == (2, 2)


def test_a_configuration_without_the_variant_of_a_component_is_refused():
    account = Account().chat(1, 1)
    name = new_config(account, VariantName="Other")
    code, message = account.refusal("UpdateEndpoint", EndpointName="chat", EndpointConfigName=name)
    assert code == "ValidationException" and "llm" in message
