"""Delays, instance types and placement: the numbers against their sources."""

from statistics import median, quantiles

import pytest
from moto.ec2.models.instance_types import INSTANCE_TYPES

from simulator.aws.sagemaker_delays import Delays, DelayStream
from simulator.aws.sagemaker_instances import CATALOGUE
from simulator.aws.sagemaker_placement import BINPACK, SPREAD, Requirements, Room, Unplaced, choose, extra_instances
from tests.simulator.sagemaker_account import MODEL, Account


def totals(delays, count=4000):
    stream = DelayStream(delays, seed=7)
    return [sum_of(stream.launch("endpoint/e/variant/v", number)) for number in range(count)]


def sum_of(draw):
    return draw.instance_s + draw.copy_s


def test_launch_to_serving_has_the_measured_median_and_95th_percentile():
    drawn = totals(Delays())
    assert median(drawn) == pytest.approx(258, rel=0.03)
    assert quantiles(drawn, n=20)[-1] == pytest.approx(400, rel=0.04)


def test_a_region_without_image_cache_takes_525_seconds_and_the_copy_takes_the_difference():
    cached, uncached = DelayStream(Delays(), 7), DelayStream(Delays(image_cached=False), 7)
    assert median(totals(Delays(image_cached=False))) == pytest.approx(525, rel=0.03)
    one, other = cached.launch("v", 3), uncached.launch("v", 3)
    assert one.instance_s == other.instance_s
    assert one.copy_s < other.copy_s


def test_a_copy_on_a_warm_instance_takes_60_to_150_seconds_and_90_in_the_middle():
    stream = DelayStream(Delays(), seed=1)
    drawn = [stream.warm_copy_s("llm", number) for number in range(2000)]
    assert min(drawn) >= 60 and max(drawn) <= 150
    assert median(drawn) == pytest.approx(90, rel=0.03)


def test_the_kth_launch_draws_the_same_whatever_was_drawn_before():
    one, other = DelayStream(Delays(), 5), DelayStream(Delays(), 5)
    for number in range(3):
        one.launch("v", number)
        one.warm_copy_s("llm", number)
    assert one.launch("v", 9) == other.launch("v", 9)
    assert one.launch("v", 9) != other.launch("w", 9)
    assert one.launch("v", 9) != DelayStream(Delays(), 6).launch("v", 9)


def test_the_stress_option_delays_about_its_share_of_launches_by_the_retry():
    plain, stressed = DelayStream(Delays(), 3), DelayStream(Delays(launch_shortage_probability=0.1), 3)
    late = 0
    for number in range(2000):
        extra_s = stressed.launch("v", number).instance_s - plain.launch("v", number).instance_s
        assert extra_s == 0 or extra_s == pytest.approx(120)
        late += extra_s > 0
    assert 150 < late < 250


def test_instance_types_have_ec2s_published_accelerators_cpus_and_memory():
    words = MODEL.shape_for("ProductionVariantInstanceType").enum
    for row in CATALOGUE.values():
        assert row.name in words, row.name
        published = INSTANCE_TYPES[row.name.removeprefix("ml.")]
        gpus = sum(gpu["Count"] for gpu in published["GpuInfo"]["Gpus"])
        found = (gpus, published["VCpuInfo"]["DefaultVCpus"], published["MemoryInfo"]["SizeInMiB"])
        assert (row.accelerators, row.vcpus, row.memory_mb) == found, row.name
        assert row.usd_per_hour > 0
    families = {name.split(".")[1] for name in CATALOGUE}
    assert families == {"g5", "g6", "g6e", "g7e", "p4d", "p4de", "p5", "p5e", "p5en"}


def test_prices_that_a_benchmark_report_states_are_the_only_exact_ones():
    exact = {row.name: row.usd_per_hour for row in CATALOGUE.values() if not row.price_is_approximate}
    assert exact == {"ml.g5.12xlarge": 7.09, "ml.g6e.12xlarge": 13.12, "ml.g7e.2xlarge": 4.2}


@pytest.mark.parametrize(("memory_mb", "status"), [(1024, "InService"), (4096, "Failed")])
def test_a_g5_xlarge_takes_a_component_of_1024_mb_and_refuses_one_of_4096_mb_at_once(memory_mb, status):
    account = Account().chat(1, 0, instance_type="ml.g5.xlarge", accelerators=1)
    needs = {"NumberOfAcceleratorDevicesRequired": 1.0, "MinMemoryRequiredInMb": memory_mb}
    account.call(
        "CreateInferenceComponent",
        InferenceComponentName="new",
        EndpointName="chat",
        Specification={"Container": {"Image": "x"}, "ComputeResourceRequirements": needs},
        RuntimeConfig={"CopyCount": 1},
    )
    took_s = account.wait(lambda: account.component("new")["InferenceComponentStatus"] != "Creating")
    assert account.component("new")["InferenceComponentStatus"] == status
    if status == "Failed":
        assert took_s < 10
        assert account.component("new")["FailureReason"] == (
            "There is not enough hardware resources on the instances for this endpoint to create a copy of the inference "
            "component."
        )


GPU = Requirements(accelerators=1, memory_mb=1000)


@pytest.mark.parametrize(
    ("placement", "rooms", "chosen"),
    [
        (SPREAD, [Room(4, 8, 9000, copies=1), Room(2, 8, 9000, copies=0)], 1),  # fewest copies of its own first
        (SPREAD, [Room(2, 8, 9000), Room(4, 8, 9000)], 1),  # then the emptiest
        (SPREAD, [Room(4, 8, 9000), Room(4, 8, 9000)], 0),  # then the oldest
        (BINPACK, [Room(4, 8, 9000), Room(1, 8, 9000)], 1),  # the fullest that fits
        (BINPACK, [Room(0, 8, 9000), Room(3, 8, 9000)], 1),
        (SPREAD, [Room(0, 8, 9000), Room(1, 8, 500)], None),  # no accelerator here, no memory there
    ],
)
def test_placement_follows_the_strategy(placement, rooms, chosen):
    assert choose(rooms, GPU, placement) == chosen


@pytest.mark.parametrize(
    ("rooms", "copies", "limit", "extra"),
    [
        ([], 1, 9, 1),
        ([], 8, 9, 2),
        ([], 9, 9, 3),
        ([Room(4, 8, 9000)], 4, 9, 0),
        ([Room(3, 8, 9000)], 4, 9, 1),
        ([], 9, 2, 2),
        ([], 9, 0, 0),
    ],
)
def test_missing_copies_ask_for_as_many_instances_as_they_fill(rooms, copies, limit, extra):
    assert extra_instances(rooms, [Unplaced(GPU, SPREAD, copies)], Room(4, 48, 9000), limit) == extra


def test_copies_too_large_for_any_instance_ask_for_none():
    too_large = Unplaced(Requirements(accelerators=8), SPREAD, 2)
    assert extra_instances([], [too_large, Unplaced(GPU, SPREAD, 1)], Room(4, 48, 9000), 9) == 1
