"""Planned faults and outside events: each does what it says, when it says."""

import pytest

from simulator.aws.sagemaker_faults import CallFault, Faults, Shortage, StaleReads
from simulator.clock import EPOCH_S
from simulator.errors import ServiceError
from tests.simulator.sagemaker_account import Account


def test_throttling_meets_only_its_operation_in_its_window():
    account = Account().chat(3, 1)
    account.service.faults.throttle("UpdateInferenceComponentRuntimeConfig", start_s=EPOCH_S + 10, end_s=EPOCH_S + 20)
    request = {"InferenceComponentName": "llm", "DesiredRuntimeConfig": {"CopyCount": 2}}
    account.run(10)
    refused = account.refusal("UpdateInferenceComponentRuntimeConfig", **request)
    assert refused == ("ThrottlingException", "Rate exceeded")
    assert account.copies() == (1, 1)  # Describe goes through, and nothing has changed
    account.service.call("UpdateInferenceComponentRuntimeConfig", request, actor="foreign")  # others are not throttled
    account.run(200)
    account.set_copies(3)
    assert account.copies()[0] == 3


def test_a_share_of_the_calls_is_throttled():
    account = Account().chat()
    account.service.faults.throttle("DescribeEndpoint", probability=0.3)
    outcomes = []
    for _ in range(400):
        try:
            account.endpoint()
            outcomes.append(True)
        except ServiceError:
            outcomes.append(False)
    assert 0.6 < sum(outcomes) / 400 < 0.8


def test_an_answer_can_be_lost_after_the_request_took_effect():
    account = Account().chat(3, 1)
    lost = CallFault("UpdateInferenceComponentRuntimeConfig", code="InternalFailure", message="lost", status=500)
    lost.applied, lost.remaining = True, 1
    account.service.faults.calls.append(lost)
    with pytest.raises(ServiceError) as caught:
        account.set_copies(3)
    assert (caught.value.code, caught.value.status) == ("InternalFailure", 500)
    assert account.copies()[0] == 3
    account.wait(account.settled)
    account.set_copies(1)  # only one call met it
    assert account.copies()[0] == 1


def test_describe_can_answer_with_what_was_true_a_while_ago():
    account = Account().chat(3, 1)
    account.run(60)
    account.service.faults.stale_reads.append(StaleReads(EPOCH_S, EPOCH_S + 300, lag_s=30))
    account.set_copies(3)
    account.set_instances(2)
    assert account.copies() == (1, 1) and account.instances() == (3, 3)
    account.run(29)
    assert account.copies() == (1, 1)
    account.run(2)
    assert account.copies()[0] == 3 and account.instances()[0] == 2
    assert account.component()["InferenceComponentStatus"] == "Updating"
    account.run(300)
    account.set_copies(2)
    assert account.copies()[0] == 2  # over


def test_a_system_update_bars_every_change_and_ends():
    account = Account().chat(2, 2)
    assert account.service.start_system_update("chat", 600)
    assert account.endpoint()["EndpointStatus"] == "SystemUpdating"
    wishes = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 3}]
    assert account.refusal(
        "UpdateEndpointWeightsAndCapacities", EndpointName="chat", DesiredWeightsAndCapacities=wishes
    )[1].startswith("Cannot update in-progress endpoint")
    assert account.refusal(
        "UpdateInferenceComponentRuntimeConfig", InferenceComponentName="llm", DesiredRuntimeConfig={"CopyCount": 1}
    )[1].startswith("Cannot update in-progress endpoint")
    assert account.refusal("DeleteEndpoint", EndpointName="chat")[0] == "ValidationException"
    account.run(599)
    assert account.endpoint()["EndpointStatus"] == "SystemUpdating"
    account.run(2)
    assert account.endpoint()["EndpointStatus"] == "InService"


def test_a_system_update_does_not_begin_while_another_change_is_going_on():
    account = Account().chat(2, 2)
    account.set_instances(3)
    assert not account.service.start_system_update("chat", 600)
    assert account.endpoint()["EndpointStatus"] == "Updating"


def test_updates_hang_until_the_hold_ends():
    account = Account().chat(3, 1)
    account.service.faults.endpoint_holds_s["chat"] = EPOCH_S + 5000
    account.service.faults.component_holds_s["llm"] = EPOCH_S + 4000
    account.set_copies(2)
    account.set_instances(4)
    account.run(3999)
    assert account.component()["InferenceComponentStatus"] == "Updating"
    assert account.copies() == (2, 2) and account.instances() == (4, 4)
    account.run(2)
    assert account.component()["InferenceComponentStatus"] == "InService"
    assert account.endpoint()["EndpointStatus"] == "Updating"
    account.run(1000)
    assert account.endpoint()["EndpointStatus"] == "InService"


def test_a_crashed_instance_is_replaced_and_no_status_ever_changes():
    account = Account().chat(2, 2)
    lost = account.service.crash_instance("chat", "AllTraffic")
    assert lost is not None
    assert account.instances() == (2, 1) and account.copies() == (2, 1)
    statuses = set()
    while account.copies() != (2, 2):
        statuses.add((account.endpoint()["EndpointStatus"], account.component()["InferenceComponentStatus"]))
        account.run(1)
        assert account.t < 900
    assert statuses == {("InService", "InService")}
    assert account.instances() == (2, 2)
    assert lost not in {
        instance.instance_id for instance in account.service.endpoint("chat").variants["AllTraffic"].instances
    }


def test_an_instance_that_crashes_during_a_scale_out_does_not_confuse_it():
    account = Account().chat(2, 2)
    account.set_instances(4)
    account.run(30)
    account.service.crash_instance("chat", "AllTraffic")
    account.run(1200)
    assert account.endpoint()["EndpointStatus"] == "InService"
    assert account.instances() == (4, 4) and account.copies() == (2, 2)


def test_an_instance_that_cannot_be_replaced_does_not_hold_up_a_later_change():
    account = Account().chat(3, 1)
    account.service.faults.shortages.append(Shortage())
    account.service.crash_instance("chat", "AllTraffic")
    account.run(300)
    assert account.instances() == (3, 2)
    wishes = [{"VariantName": "AllTraffic", "DesiredWeight": 0.5}]
    account.call("UpdateEndpointWeightsAndCapacities", EndpointName="chat", DesiredWeightsAndCapacities=wishes)
    account.run(60)
    assert account.endpoint()["EndpointStatus"] == "InService"
    account.set_instances(2)  # the wish is met as it is: the replacement is given up
    account.run(120)
    assert account.endpoint()["EndpointStatus"] == "InService" and account.instances() == (2, 2)


def test_an_instance_can_crash_while_its_copy_drains():
    account = Account().chat(2, 2)
    account.set_copies(1)
    account.service.crash_instance("chat", "AllTraffic")
    account.service.crash_instance("chat", "AllTraffic")
    assert account.service.crash_instance("chat", "AllTraffic") is None
    assert account.copies() == (1, 0)
    account.run(1200)
    assert account.copies() == (1, 1) and account.instances() == (2, 2)


def test_a_crashed_copy_is_loaded_again():
    account = Account().chat(2, 2)
    assert account.service.crash_copy("llm") is not None
    assert account.copies() == (2, 1)
    account.run(200)
    assert account.copies() == (2, 2)
    account.set_copies(0)
    account.run(60)
    assert account.service.crash_copy("llm") is None


def test_faults_are_off_by_default():
    assert Faults() == Faults(calls=[], shortages=[], stale_reads=[])
    assert Faults().lag_s(0.0) == 0.0
