"""Managed instance scaling: SageMaker moves the instances itself."""

import pytest

from simulator.aws.sagemaker_behaviour import Behaviour
from simulator.aws.sagemaker_scenario import ComponentSpec, EndpointSpec, ManagedSpec, VariantSpec
from tests.simulator.sagemaker_account import Account


def test_copies_that_do_not_fit_bring_the_instances_that_they_need():
    account = Account().chat(1, 1, managed=ManagedSpec(1, 5))
    account.set_copies(4)
    assert account.instances() == (1, 1)
    account.run(6)
    assert account.endpoint()["EndpointStatus"] == "Updating"
    assert account.instances() == (4, 1)
    took_s = account.wait(account.settled)
    assert account.copies() == (4, 4)
    draws = [account.service.world.draws.launch("endpoint/chat/variant/AllTraffic", number) for number in range(3)]
    assert took_s + 6 == pytest.approx(5 + max(draw.instance_s + draw.copy_s for draw in draws), abs=2)


def test_copies_of_several_components_share_the_new_instances():
    account = Account()
    account.service.scenario_endpoint(
        EndpointSpec(
            "chat",
            (VariantSpec("ml.g5.12xlarge", 1, managed=ManagedSpec(1, 9)),),
            (ComponentSpec("llm", 1, 2), ComponentSpec("small", 2, 1)),
        )
    )
    account.set_copies(2)  # 2 more accelerators
    account.set_copies(4, "small")  # and 2 more: one further instance for both
    account.run(900)
    assert account.copies() == (2, 2) and account.copies("small") == (4, 4)
    assert account.instances() == (2, 2)


def test_max_instance_count_is_the_end_and_the_component_settles_short():
    account = Account().chat(1, 1, managed=ManagedSpec(1, 3))
    account.set_copies(5)
    account.wait(account.settled)
    account.run(400)
    assert account.wait(lambda: account.component()["InferenceComponentStatus"] == "InService") < 600
    assert account.copies() == (5, 3)
    assert "not enough hardware" in account.component()["FailureReason"]
    assert account.instances() == (3, 3)


def test_a_request_beyond_the_quota_is_refused_whole_and_leaves_no_trace():
    account = Account(quotas={"ml.g5.12xlarge": 3}).chat(1, 1, managed=ManagedSpec(1, 9))
    code, message = account.refusal(
        "UpdateInferenceComponentRuntimeConfig", InferenceComponentName="llm", DesiredRuntimeConfig={"CopyCount": 5}
    )
    assert code == "ResourceLimitExceeded"
    assert message.startswith(
        "The account-level service limit 'ml.g5.12xlarge for endpoint usage' is 3 Instances, with current utilization of "
        "1 Instances and a request delta of 4 Instances."
    )
    assert account.settled() and account.copies() == (1, 1)
    account.set_copies(3)
    account.run(900)
    assert account.copies() == (3, 3)


def test_an_empty_instance_is_released_after_ten_minutes_one_at_a_time_down_to_the_minimum():
    account = Account().chat(4, 4, managed=ManagedSpec(1, 5))
    account.set_copies(0)
    emptied_s = account.wait(account.settled)
    assert account.instances() == (4, 4)
    first_s = account.wait(lambda: account.instances()[0] == 3)
    assert emptied_s + first_s == pytest.approx(600 + 15, abs=5)
    assert account.endpoint()["EndpointStatus"] == "Updating"
    assert account.wait(lambda: account.instances()[0] == 2) == pytest.approx(600, abs=2)
    assert account.wait(lambda: account.instances()[0] == 1) == pytest.approx(600, abs=2)
    account.run(3600)
    assert account.instances() == (1, 1)


@pytest.mark.parametrize(("step", "cooldown_minutes", "takes_s"), [(1, 20, 600 + 9 * 1270), (5, 5, 600 + 370)])
def test_ten_empty_instances_take_three_hours_with_the_default_policy_and_minutes_with_a_better_one(
    step, cooldown_minutes, takes_s
):
    managed = ManagedSpec(0, 10, strategy="IDLE_RELEASE", maximum_step_size=step, cooldown_minutes=cooldown_minutes)
    account = Account().chat(10, 0, managed=managed)
    account.run(1)
    # 10 idle minutes, then one step per cooldown, each of which takes 70 s itself
    assert account.wait(lambda: account.instances()[0] == 0, limit_s=20_000) == pytest.approx(takes_s, abs=20)


def test_to_zero_copies_and_instances_and_back():
    account = Account().chat(1, 1, managed=ManagedSpec(0, 2))
    account.set_copies(0)
    account.wait(account.settled)
    assert account.copies() == (0, 0)
    assert "PlacementStatus" not in account.component()["RuntimeConfig"]
    account.wait(lambda: account.settled() and account.instances() == (0, 0))
    assert account.service.serving_copies("inference-component/llm") == ()
    account.set_copies(1)
    took_s = account.wait(lambda: account.copies() == (1, 1))
    draw = account.service.world.draws.launch("endpoint/chat/variant/AllTraffic", 0)
    assert took_s == pytest.approx(5 + draw.instance_s + draw.copy_s, abs=2)
    assert account.instances() == (1, 1)


def test_an_instance_that_gets_a_copy_again_is_kept():
    account = Account().chat(2, 2, managed=ManagedSpec(0, 3))
    account.set_copies(1)
    account.run(500)
    account.set_copies(2)
    account.run(1500)
    assert (account.instances(), account.copies()) == ((2, 2), (2, 2))


def test_capacity_writes_on_a_managed_variant_are_accepted_or_refused_as_the_account_does():
    account = Account().chat(1, 1, managed=ManagedSpec(1, 4))
    account.set_instances(2)
    account.run(600)
    assert account.instances() == (2, 2)
    strict = Account(behaviour=Behaviour(capacity_writes_on_managed_variants=False)).chat(
        1, 1, managed=ManagedSpec(1, 4)
    )
    wishes = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    code, message = strict.refusal(
        "UpdateEndpointWeightsAndCapacities", EndpointName="chat", DesiredWeightsAndCapacities=wishes
    )
    assert code == "ValidationException" and "ManagedInstanceScaling" in message
    assert strict.instances() == (1, 1)


def test_a_second_component_can_grow_while_the_endpoint_is_updating_for_the_first():
    account = Account()
    account.service.scenario_endpoint(
        EndpointSpec(
            "chat",
            (VariantSpec("ml.g5.12xlarge", 2, managed=ManagedSpec(1, 6)),),
            (ComponentSpec("llm", 1, 4), ComponentSpec("other", 1, 4)),
        )
    )
    account.set_copies(2)
    account.run(30)
    assert account.endpoint()["EndpointStatus"] == "Updating"
    account.set_copies(3, "other")
    account.run(900)
    assert account.copies() == (2, 2) and account.copies("other") == (3, 3)
    assert account.instances() == (5, 5)
    strict = Account(behaviour=Behaviour(component_writes_while_endpoint_updates=False))
    strict.chat(1, 1, managed=ManagedSpec(1, 4))
    strict.set_instances(2)
    code, message = strict.refusal(
        "UpdateInferenceComponentRuntimeConfig", InferenceComponentName="llm", DesiredRuntimeConfig={"CopyCount": 2}
    )
    assert (code, message.split(" endpoint ")[0]) == ("ValidationException", "Cannot update in-progress")


def test_consolidation_moves_copies_together_without_a_dip_and_then_releases_the_empty_instance():
    managed = ManagedSpec(1, 4, strategy="CONSOLIDATION", cooldown_minutes=5)
    account = Account().chat(2, 2, managed=managed, accelerators=1)  # spread: one on each
    lowest = 2
    for _ in range(2000):
        account.run(1)
        lowest = min(lowest, account.copies()[1])
        if account.instances() == (1, 1):
            break
    assert account.instances() == (1, 1)
    assert account.copies() == (2, 2)
    assert lowest == 2
    idle = Account().chat(2, 2, managed=ManagedSpec(1, 4, strategy="IDLE_RELEASE", cooldown_minutes=5), accelerators=1)
    idle.run(2000)
    assert idle.instances() == (2, 2)


def test_when_an_instance_is_lost_managed_scaling_brings_the_copies_back():
    account = Account().chat(2, 2, managed=ManagedSpec(1, 4))
    account.service.crash_instance("chat", "AllTraffic")
    assert account.copies() == (2, 1)
    assert account.component()["InferenceComponentStatus"] == "InService"
    account.run(900)
    assert account.copies() == (2, 2)
