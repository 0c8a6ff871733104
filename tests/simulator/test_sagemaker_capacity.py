"""Quotas and missing capacity: the refusals, and the four ways in which an update without instances ends."""

import pytest

from simulator.aws.sagemaker_delays import Delays
from simulator.aws.sagemaker_faults import Ending, EndpointFailure, Faults, Shortage
from simulator.aws.sagemaker_scenario import ManagedSpec
from simulator.clock import EPOCH_S
from tests.simulator.sagemaker_account import ROLE, Account

NO_CAPACITY = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error."


def test_a_quota_refuses_the_whole_request_and_leaves_no_trace_on_the_endpoint():
    account = Account(quotas={"ml.g5.12xlarge": 4}).chat(2, 2)
    account.service.set_foreign_usage("ml.g5.12xlarge", 1)
    wishes = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 6}]
    before = account.endpoint()
    code, message = account.refusal(
        "UpdateEndpointWeightsAndCapacities", EndpointName="chat", DesiredWeightsAndCapacities=wishes
    )
    assert (code, message) == (
        "ResourceLimitExceeded",
        "The account-level service limit 'ml.g5.12xlarge for endpoint usage' is 4 Instances, with current utilization of "
        "3 Instances and a request delta of 4 Instances. Please use AWS Service Quotas to request an increase for this "
        "quota. If AWS Service Quotas is not available, contact AWS support to request an increase for this quota.",
    )
    assert account.endpoint() == before
    account.set_instances(3)  # what fits is granted
    account.run(600)
    assert account.instances() == (3, 3)


def test_a_raised_quota_counts_at_once_and_a_lowered_one_takes_nothing_away():
    account = Account(quotas={"ml.g5.12xlarge": 2}).chat(2, 2)
    account.service.set_quota("ml.g5.12xlarge", 5)
    account.set_instances(5)
    account.wait(account.settled)
    account.service.set_quota("ml.g5.12xlarge", 1)
    account.run(600)
    assert account.instances() == (5, 5)
    account.set_instances(4)
    account.wait(account.settled)
    wishes = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 5}]
    assert (
        account.refusal("UpdateEndpointWeightsAndCapacities", EndpointName="chat", DesiredWeightsAndCapacities=wishes)[
            0
        ]
        == "ResourceLimitExceeded"
    )


def test_blue_green_needs_quota_for_the_whole_new_fleet():
    account = Account(quotas={"ml.g5.12xlarge": 3}).chat(2, 2)
    code, message = account.refusal("UpdateEndpoint", EndpointName="chat", EndpointConfigName="chat-config")
    assert code == "ResourceLimitExceeded"
    assert "current utilization of 2 Instances and a request delta of 2 Instances" in message


def test_creating_an_endpoint_beyond_the_quota_is_refused():
    account = Account(quotas={"ml.g5.12xlarge": 1})
    variant = {"VariantName": "v", "InstanceType": "ml.g5.12xlarge", "InitialInstanceCount": 2}
    account.call("CreateEndpointConfig", EndpointConfigName="c", ExecutionRoleArn=ROLE, ProductionVariants=[variant])
    assert account.refusal("CreateEndpoint", EndpointName="chat", EndpointConfigName="c")[0] == "ResourceLimitExceeded"
    assert account.call("ListEndpoints")["Endpoints"] == []


@pytest.mark.parametrize(
    ("ending", "available", "final", "reason", "statuses"),
    [
        (Ending.SILENT, 0, (2, 2), None, ["Updating", "InService"]),
        (Ending.SILENT, 1, (2, 2), None, ["Updating", "InService"]),
        (Ending.REASON, 0, (2, 2), NO_CAPACITY, ["Updating", "InService"]),
        (Ending.ROLL_BACK, 0, (2, 2), NO_CAPACITY, ["Updating", "RollingBack", "InService"]),
        (Ending.PARTIAL, 1, (3, 3), None, ["Updating", "InService"]),
        (Ending.ROLLBACK_FAILED, 0, (2, 2), NO_CAPACITY, ["Updating", "UpdateRollbackFailed"]),
    ],
)
def test_an_update_for_which_there_are_no_instances_sits_for_half_an_hour_and_ends(
    ending, available, final, reason, statuses
):
    account = Account(faults=Faults(shortages=[Shortage(available=available, ending=ending)])).chat(2, 2)
    account.set_instances(4)
    seen = [account.endpoint()["EndpointStatus"]]
    while account.t < 2600:
        account.run(10)
        status = account.endpoint()["EndpointStatus"]
        if status != seen[-1]:
            seen.append(status)
            if len(seen) == 2:
                assert account.t == pytest.approx(2040, abs=10)
    assert seen == statuses
    shown = account.endpoint()
    assert account.instances() == final
    assert shown.get("FailureReason", "")[: len(reason or "")] == (reason or "")
    assert ("FailureReason" in shown) == (reason is not None)
    assert account.copies() == (2, 2)


def test_an_endpoint_whose_rollback_failed_can_only_be_deleted():
    shortage = Shortage(ending=Ending.ROLLBACK_FAILED, give_up_after_s=60)
    account = Account(faults=Faults(shortages=[shortage])).chat(1, 1)
    account.set_instances(2)
    account.run(61)
    wishes = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 1}]
    code, message = account.refusal(
        "UpdateEndpointWeightsAndCapacities", EndpointName="chat", DesiredWeightsAndCapacities=wishes
    )
    assert code == "ValidationException" and "DeleteEndpoint is the only operation" in message
    account.call("DeleteEndpoint", EndpointName="chat")


def test_capacity_that_comes_back_in_time_is_used():
    faults = Faults(shortages=[Shortage(end_s=EPOCH_S + 900)])
    account = Account(faults=faults).chat(1, 1)
    account.set_instances(3)
    draw = account.service.world.draws.launch("endpoint/chat/variant/AllTraffic", 0)
    took_s = account.wait(lambda: account.instances()[1] > 1)
    assert took_s >= 900 + min(draw.instance_s, 100)
    account.run(600)
    assert account.instances() == (3, 3)
    assert account.endpoint()["EndpointStatus"] == "InService"


def test_instances_that_were_never_had_are_not_billed():
    account = Account(faults=Faults(shortages=[Shortage(give_up_after_s=300)])).chat(1, 1)
    account.set_instances(5)
    account.run(1000)
    assert account.service.instance_seconds() == {"ml.g5.12xlarge": pytest.approx(1000)}
    assert account.service.cost_usd() == pytest.approx(1000 / 3600 * 7.09)


def test_managed_scaling_gives_up_too_and_the_component_settles_for_what_there_is():
    account = Account(faults=Faults(shortages=[Shortage(give_up_after_s=600)])).chat(1, 1, managed=ManagedSpec(1, 4))
    account.set_copies(3)
    account.run(590)
    assert account.endpoint()["EndpointStatus"] == "Updating"
    assert account.component()["InferenceComponentStatus"] == "Updating"
    assert account.instances() == (3, 1)
    account.run(400)
    assert account.settled()
    assert account.instances() == (1, 1)
    assert account.copies() == (3, 1)
    account.run(3600)
    assert account.instances() == (1, 1)  # no new attempt without a new ask
    account.service.faults.shortages.clear()
    account.set_copies(2)
    account.run(900)
    assert (account.instances(), account.copies()) == ((2, 2), (2, 2))


def test_a_shortage_hits_only_its_instance_type_and_its_window():
    faults = Faults(shortages=[Shortage("ml.p4d.24xlarge"), Shortage(start_s=EPOCH_S + 5000)])
    account = Account(faults=faults).chat(1, 1)
    account.set_instances(2)
    assert account.wait(account.settled) < 600


def test_an_endpoint_that_finds_no_instances_at_creation_fails():
    account = Account(faults=Faults(shortages=[Shortage(give_up_after_s=600)]))
    variant = {"VariantName": "v", "InstanceType": "ml.g5.12xlarge", "InitialInstanceCount": 2}
    account.call("CreateEndpointConfig", EndpointConfigName="c", ExecutionRoleArn=ROLE, ProductionVariants=[variant])
    account.call("CreateEndpoint", EndpointName="chat", EndpointConfigName="c")
    account.run(601)
    assert account.endpoint()["EndpointStatus"] == "Failed"
    assert account.endpoint()["FailureReason"].startswith(NO_CAPACITY)
    account.call("DeleteEndpoint", EndpointName="chat")


def test_a_pool_falls_back_to_the_next_type_and_gives_the_lowest_priority_back_first():
    account = Account(faults=Faults(shortages=[Shortage("ml.g5.2xlarge", available=1, end_s=EPOCH_S + 4000)]))
    pools = [{"InstanceType": "ml.g6.2xlarge", "Priority": 2}, {"InstanceType": "ml.g5.2xlarge", "Priority": 1}]
    variant = {"VariantName": "AllTraffic", "InstancePools": pools, "InitialInstanceCount": 1}
    account.call("CreateEndpointConfig", EndpointConfigName="c", ExecutionRoleArn=ROLE, ProductionVariants=[variant])
    account.call("CreateEndpoint", EndpointName="chat", EndpointConfigName="c")
    account.run(600)
    account.set_instances(3)
    account.run(600)
    counts = {pool["InstanceType"]: pool["CurrentInstanceCount"] for pool in account.variant()["InstancePools"]}
    assert counts == {"ml.g5.2xlarge": 1, "ml.g6.2xlarge": 2}
    account.set_instances(1)
    account.run(600)
    counts = {pool["InstanceType"]: pool["CurrentInstanceCount"] for pool in account.variant()["InstancePools"]}
    assert counts == {"ml.g5.2xlarge": 1, "ml.g6.2xlarge": 0}


@pytest.mark.parametrize("ending", [Ending.SILENT, Ending.REASON, Ending.ROLL_BACK])
def test_an_update_made_to_fail_changes_nothing_in_either_direction(ending):
    for wish in (1, 4):
        account = Account().chat(2, 2)
        account.service.faults.endpoint_failures["chat"] = EndpointFailure(ending, after_s=100)
        account.set_instances(wish)
        account.run(99)
        assert account.endpoint()["EndpointStatus"] == "Updating"
        account.run(300)
        assert account.instances() == (2, 2) and account.copies() == (2, 2)
        assert ("FailureReason" in account.endpoint()) == (ending is not Ending.SILENT)
        account.set_instances(3)
        account.run(600)
        assert account.instances() == (3, 3)  # only the one update failed
        assert "FailureReason" not in account.endpoint()


def test_a_launch_that_meets_a_shortage_by_chance_is_late_by_the_retry():
    late = Account(delays=Delays(launch_shortage_probability=1.0)).chat(1, 1)
    plain = Account().chat(1, 1)
    for account in (late, plain):
        account.set_instances(2)
    assert late.wait(late.settled) == pytest.approx(plain.wait(plain.settled) + 120, abs=1)
