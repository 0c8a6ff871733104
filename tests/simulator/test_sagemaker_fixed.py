"""Fixed mode (no managed instance scaling): the caller moves the instances, and single-model variants."""

import pytest

from simulator.aws.sagemaker_behaviour import Behaviour, HardwareShortage
from simulator.aws.sagemaker_scenario import ComponentSpec, EndpointSpec, VariantSpec
from simulator.clock import VirtualClock
from simulator.physics.fleet import CopyFleet
from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import ClosedLoop
from tests.simulator.sagemaker_account import Account

NO_ROOM = "There is not enough hardware resources on the instances for this endpoint to create a copy of the inference component."


def test_instances_first_then_copies_takes_one_launch_from_ask_to_serving():
    account = Account().chat(2, 2)
    draws = [account.service.world.draws.launch("endpoint/chat/variant/AllTraffic", number) for number in range(2)]
    account.set_instances(4)
    assert account.endpoint()["EndpointStatus"] == "Updating"
    assert account.variant()["VariantStatus"][0]["StatusMessage"] == "Scaling out desired instance count to 4."
    assert account.instances() == (4, 2)
    instances_s = account.wait(account.settled)
    assert instances_s == pytest.approx(max(draw.instance_s for draw in draws) + 10, abs=1)
    assert account.instances() == (4, 4)
    account.set_copies(4)
    assert account.component()["InferenceComponentStatus"] == "Updating"
    assert account.copies() == (4, 2)
    copies_s = account.wait(account.settled)
    assert copies_s == pytest.approx(max(draw.copy_s for draw in draws), abs=1)
    assert account.copies() == (4, 4)
    assert account.component()["RuntimeConfig"]["PlacementStatus"] == [
        {"InstanceType": "ml.g5.12xlarge", "CurrentCopyCount": 4}
    ]


def test_copies_on_warm_instances_load_in_parallel_in_60_to_150_seconds():
    account = Account().chat(2, 1, accelerators=1)
    account.set_copies(6)
    assert 60 <= account.wait(account.settled) <= 151
    assert account.copies() == (6, 6)


def test_instances_come_into_service_one_by_one_while_the_endpoint_is_updating():
    account = Account().chat(1, 1)
    account.set_instances(4)
    seen = set()
    while account.endpoint()["EndpointStatus"] == "Updating":
        seen.add(account.instances()[1])
        account.run(1)
    assert seen == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("how", "status", "desired"),
    [
        (HardwareShortage.SETTLE_SHORT, "InService", 5),
        (HardwareShortage.FAIL, "Failed", 5),
        (HardwareShortage.ROLL_BACK, "InService", 2),
    ],
)
def test_copies_that_fit_nowhere_end_the_update_short_in_each_of_the_three_readings(how, status, desired):
    account = Account(behaviour=Behaviour(hardware_shortage=how)).chat(3, 2)
    account.set_copies(5)
    account.run(170)
    assert account.component()["InferenceComponentStatus"] == "Updating"
    account.run(400)
    shown = account.component()
    assert (shown["InferenceComponentStatus"], shown["FailureReason"]) == (status, NO_ROOM)
    assert account.copies() == (desired, 3 if how is not HardwareShortage.ROLL_BACK else 2)


def test_copies_missing_after_a_short_end_are_placed_as_soon_as_instances_come():
    account = Account().chat(2, 2)
    account.set_copies(3)
    account.wait(account.settled)
    assert account.copies() == (3, 2)
    account.set_instances(3)
    account.run(700)
    assert account.copies() == (3, 3)


def test_a_failed_component_takes_a_new_copy_count():
    account = Account(behaviour=Behaviour(hardware_shortage=HardwareShortage.FAIL)).chat(2, 2)
    account.set_copies(3)
    account.run(300)
    assert account.component()["InferenceComponentStatus"] == "Failed"
    account.set_copies(1)
    account.wait(account.settled)
    assert account.copies() == (1, 1)


def test_the_newest_copies_go_first():
    account = Account().chat(3, 1)
    account.set_copies(3)
    account.wait(account.settled)
    before = set(account.service.serving_copies("inference-component/llm"))
    account.set_copies(1)
    account.wait(account.settled)
    assert before == {"llm/0", "llm/1", "llm/2"}
    assert account.service.serving_copies("inference-component/llm") == ("llm/0",)


def test_a_change_that_changes_nothing_still_locks_the_component_for_a_while():
    account = Account().chat(2, 2)
    account.set_copies(2)
    assert account.component()["InferenceComponentStatus"] == "Updating"
    assert account.wait(account.settled) <= 10


def test_removing_instances_is_blind_and_copies_on_the_victim_are_loaded_elsewhere():
    victims = set()
    for seed in range(12):
        account = Account(seed=seed).chat(3, 2, accelerators=4)  # one instance is empty
        hosting = {copy.instance.instance_id for copy in account.service.component("llm").copies}
        account.set_instances(2)
        gone = {one.instance_id for one in account.service.instances if one.state == "terminating"}
        assert len(gone) == 1
        hit = bool(gone & hosting)
        assert account.copies() == (2, 1 if hit else 2)
        account.run(400)
        assert account.copies() == (2, 2)  # it fits on the instance that was empty
        assert account.instances() == (2, 2)
        victims.add(hit)
    assert victims == {True, False}  # neither the empty instance nor a full one is spared


def test_copies_of_a_victim_that_fit_nowhere_stay_missing_without_any_status():
    account = Account().chat(2, 2)
    account.set_instances(1)
    account.run(900)
    assert account.copies() == (2, 1)
    assert account.component()["InferenceComponentStatus"] == "InService"
    account.set_instances(2)
    account.run(900)
    assert account.copies() == (2, 2)


def test_zero_instances_are_accepted_for_components_and_refused_for_a_single_model():
    account = Account().chat(1, 0)
    account.set_instances(0)
    account.wait(account.settled)
    assert account.instances() == (0, 0)
    careful = Account(behaviour=Behaviour(zero_instances_of_components=False)).chat(1, 0)
    wishes = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 0}]
    request = {"EndpointName": "chat", "DesiredWeightsAndCapacities": wishes}
    assert careful.refusal("UpdateEndpointWeightsAndCapacities", **request)[0] == "ValidationException"
    single = Account()
    single.service.scenario_endpoint(EndpointSpec("chat", (VariantSpec("ml.g5.xlarge", 1, model="m"),)))
    assert single.refusal("UpdateEndpointWeightsAndCapacities", **request)[0] == "ValidationException"


def test_weights_change_without_touching_instances():
    account = Account().chat(2, 2)
    wishes = [{"VariantName": "AllTraffic", "DesiredWeight": 0.25}]
    account.call("UpdateEndpointWeightsAndCapacities", EndpointName="chat", DesiredWeightsAndCapacities=wishes)
    assert account.endpoint()["EndpointStatus"] == "Updating"
    assert account.wait(account.settled) <= 31
    assert (account.variant()["CurrentWeight"], account.instances()) == (0.25, (2, 2))


def test_in_a_single_model_variant_the_instances_are_the_copies():
    account = Account()
    resource = "endpoint/chat/variant/AllTraffic"
    account.service.scenario_endpoint(EndpointSpec("chat", (VariantSpec("ml.g5.xlarge", 1, model="m"),)))
    draw = account.service.world.draws.launch(resource, 0)
    account.set_instances(2)
    took_s = account.wait(lambda: len(account.service.serving_copies(resource)) == 2)
    assert took_s == pytest.approx(draw.instance_s + draw.copy_s, abs=1)
    point = account.service.supply_at(resource, account.clock.now_s)
    assert (point.desired_copies, point.current_copies, point.instances_billed) == (2, 2, 2)


def loop(level, clock, output_tokens=2000):
    """`level` clients that always have one request in flight; each takes about `output_tokens` x 40 ms."""
    profile = ServiceProfile("test", 0.04, 0.0, 0.01, 0.0, 64, 0.08, "ml.g5.12xlarge", 7.09)
    arrivals = ClosedLoop(levels=(level,) * 500, input_tokens=1, output_tokens=output_tokens)
    return CopyFleet(profile, arrivals, start_s=clock.now_s)


@pytest.mark.parametrize("drains", [True, False])
def test_a_removed_copy_finishes_its_requests_or_cuts_them_as_the_account_does(drains):
    account = Account(behaviour=Behaviour(drain_removed_copies=drains)).chat(2, 2)
    fleet = loop(10, account.clock)
    account.service.attach_load("inference-component/llm", fleet)
    account.run(105)
    account.set_copies(1)
    assert account.copies() == (1, 1)
    took_s = account.wait(account.settled)
    broken = sum(status == 4 for status in fleet.log.status)
    if drains:
        assert broken == 0
        assert took_s > 50  # requests of 80 s were half done
    else:
        assert broken == 5
        assert took_s <= 16


def test_draining_ends_at_the_limit_and_cuts_what_is_left():
    account = Account().chat(2, 2)
    fleet = loop(4, account.clock, output_tokens=40_000)  # 1,600 s each
    account.service.attach_load("inference-component/llm", fleet)
    account.run(60)
    account.set_copies(1)
    assert account.wait(account.settled) == pytest.approx(480 + 15, abs=6)
    assert sum(status == 4 for status in fleet.log.status) == 2


def test_single_model_instances_drain_before_they_stop():
    account = Account()
    account.service.scenario_endpoint(EndpointSpec("chat", (VariantSpec("ml.g5.xlarge", 2, model="m"),)))
    fleet = loop(10, account.clock)
    account.service.attach_load("endpoint/chat/variant/AllTraffic", fleet)
    account.run(105)
    account.set_instances(1)
    assert account.wait(lambda: account.endpoint()["EndpointStatus"] == "InService") > 60
    assert sum(status == 4 for status in fleet.log.status) == 0
    assert fleet.serving_copies == 1


def test_a_scenario_whose_copies_do_not_fit_says_so():
    spec = EndpointSpec("e", (VariantSpec("ml.g5.xlarge", 1),), (ComponentSpec("big", 2),))
    service = Account().service
    with pytest.raises(ValueError, match="copy 2 of 2 of big does not fit on the 1 instances"):
        service.scenario_endpoint(spec)
    assert VirtualClock().now_s == service.world.now_s
