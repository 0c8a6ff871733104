"""Metrics, events and the ledger: what the emulated SageMaker tells others."""

import json
from dataclasses import dataclass, field

import pytest

from simulator.aws.sagemaker_behaviour import Behaviour, Emission
from simulator.aws.sagemaker_events import upper_snake
from simulator.aws.sagemaker_scenario import EndpointSpec, ManagedSpec, VariantSpec
from simulator.clock import EPOCH_S
from simulator.physics.fleet import CopyFleet
from simulator.physics.profiles import ServiceProfile
from simulator.physics.requests import ClosedLoop
from tests.simulator.sagemaker_account import ENDPOINT_ARN, Account


@dataclass
class Window:
    start_s: float
    end_s: float
    in_flight_mean: float
    in_flight_max: float
    in_flight_min: float
    invocations: int
    no_capacity_failures: int
    latency_sum_s: float
    latency_count: int
    per_copy: dict


@dataclass
class SteadyLoad:
    """Always `in_flight` requests, split evenly; `rate` requests per second, each taking 2 s. At most one jump."""

    in_flight: float
    rate: float = 1.0
    copies: list = field(default_factory=list)
    taken_s: float = EPOCH_S

    def add_copy(self, copy_id, now_s):
        self.copies.append(copy_id)

    def remove_copy(self, copy_id, now_s, drain):
        self.copies.remove(copy_id)

    def advance(self, until_s):
        assert until_s >= self.taken_s

    def copy_in_flight(self, copy_id):
        return 0

    def take_window(self, now_s):
        duration_s = now_s - self.taken_s
        requests = round(self.rate * duration_s)
        served = requests if self.copies else 0
        each = self.in_flight / len(self.copies) if self.copies else 0.0
        window = Window(
            self.taken_s,
            now_s,
            in_flight_mean=self.in_flight if self.copies else 0.0,
            in_flight_max=self.in_flight + 4 if self.copies else 0.0,
            in_flight_min=self.in_flight - 4 if self.copies else 0.0,
            invocations=served,
            no_capacity_failures=requests - served,
            latency_sum_s=2.0 * served,
            latency_count=served,
            per_copy=dict.fromkeys(self.copies, (each, each + 1)),
        )
        self.taken_s = now_s
        return window


def with_load(load, copies=2, instances=4, **settings):
    account = Account(**settings).chat(instances, copies)
    account.service.attach_load("inference-component/llm", load)
    return account


def test_concurrency_per_copy_is_the_total_divided_by_the_copies_that_serve():
    account = with_load(SteadyLoad(12))
    account.run(60)
    points = account.series("ConcurrentRequestsPerCopy")
    assert [point["t"] for point in points] == [0, 10, 20, 30, 40, 50]
    for point in points:
        assert point["namespace"] == "AWS/SageMaker" and point["dimensions"] == {"InferenceComponentName": "llm"}
        assert (point["minimum"], point["maximum"], point["total"] / point["samples"]) == (4, 8, 6)
        assert (point["samples"], point["period_s"], point["unit"]) == (10, 10, "Count")


def test_in_the_period_of_a_change_the_divisor_changes_in_the_middle():
    account = with_load(SteadyLoad(12), copies=1)
    account.set_copies(2)
    served_s = account.wait(lambda: account.copies()[1] == 2)
    exact_s = next(
        point.at_s for point in account.service.timeline("inference-component/llm") if point.current_copies == 2
    )
    exact_s -= EPOCH_S
    assert served_s == pytest.approx(exact_s, abs=1)
    account.run(30)
    start = exact_s // 10 * 10
    of_change = next(point for point in account.series("ConcurrentRequestsPerCopy") if point["t"] == start)
    alone = (exact_s - start) / 10
    assert of_change["maximum"] == 16  # one copy had it all
    assert of_change["minimum"] == 4  # then two shared it
    assert of_change["total"] / of_change["samples"] == pytest.approx(12 * alone + 6 * (1 - alone))
    after = next(point for point in account.series("ConcurrentRequestsPerCopy") if point["t"] == start + 10)
    assert (after["minimum"], after["maximum"]) == (4, 8)


def test_each_copy_emits_its_own_sample_in_the_other_reading():
    account = with_load(SteadyLoad(12), behaviour=Behaviour(emission=Emission.PER_COPY))
    account.run(10)
    (point,) = account.series("ConcurrentRequestsPerCopy")
    assert (point["samples"], point["total"], point["minimum"], point["maximum"]) == (2, 12, 6, 7)


def test_zeros_are_published_without_traffic_and_nothing_without_copies():
    account = Account().chat(2, 1)
    account.run(20)
    assert [point["maximum"] for point in account.series("ConcurrentRequestsPerCopy")] == [0, 0]
    account.set_copies(0)
    account.run(120)
    assert len(account.series("ConcurrentRequestsPerCopy")) == 2
    account.set_copies(1)
    account.wait(account.settled)
    account.run(20)
    assert len(account.series("ConcurrentRequestsPerCopy")) > 2


def test_requests_without_a_copy_are_counted_every_ten_seconds_and_only_then():
    account = with_load(SteadyLoad(5, rate=2.0), copies=0)
    account.run(60)
    points = account.series("NoCapacityInvocationFailures")
    assert [point["total"] for point in points] == [20] * 6
    assert {point["period_s"] for point in points} == {10}
    assert all((point["minimum"], point["maximum"], point["samples"]) == (1, 1, 20) for point in points)
    assert account.series("ConcurrentRequestsPerCopy") == [] and account.series("Invocations") == []
    busy = with_load(SteadyLoad(5))
    busy.run(60)
    assert busy.series("NoCapacityInvocationFailures") == []


def test_failures_without_a_copy_come_per_minute_where_that_is_their_resolution():
    account = with_load(SteadyLoad(5, rate=2.0), copies=0, behaviour=Behaviour(no_capacity_period_s=60))
    account.run(120)
    points = account.series("NoCapacityInvocationFailures")
    assert [(point["t"], point["period_s"], point["total"]) for point in points] == [(0, 60, 120), (60, 60, 120)]


def test_invocations_and_latency_come_every_minute():
    account = with_load(SteadyLoad(12, rate=3.0))
    account.run(125)
    (first, second) = account.series("Invocations")
    assert (first["t"], first["total"], first["samples"], first["maximum"]) == (0, 180, 180, 1)
    assert second["t"] == 60
    per_copy = account.series("InvocationsPerCopy")[0]
    assert (per_copy["total"], per_copy["maximum"]) == (90, 0.5)
    latency = account.series("ModelLatency")[0]
    assert latency["total"] / latency["samples"] == pytest.approx(2_000_000)  # microseconds
    assert latency["unit"] == "Microseconds"


def test_a_quiet_minute_has_zero_invocations_and_no_latency():
    account = Account().chat(2, 1)
    account.run(60)
    assert [(point["total"], point["samples"]) for point in account.series("Invocations")] == [(0, 1)]
    assert account.series("ModelLatency") == []


def test_gpu_reservation_is_the_share_of_accelerators_that_copies_hold():
    account = Account().chat(2, 1, accelerators=2)  # 2 of 8
    account.run(60)
    (point,) = account.series("GPUReservation")
    assert point["namespace"] == "/aws/sagemaker/Endpoints"
    assert point["dimensions"] == {"EndpointName": "chat", "VariantName": "AllTraffic"}
    assert point["maximum"] == 25.0


def test_a_single_model_variant_has_the_metrics_of_its_instances():
    account = Account()
    account.service.scenario_endpoint(EndpointSpec("chat", (VariantSpec("ml.g5.xlarge", 2, model="m"),)))
    account.service.attach_load("endpoint/chat/variant/AllTraffic", SteadyLoad(12, rate=3.0))
    account.run(60)
    point = account.series("ConcurrentRequestsPerModel")[0]
    assert point["dimensions"] == {"EndpointName": "chat", "VariantName": "AllTraffic"}
    assert point["total"] / point["samples"] == 6
    assert account.series("InvocationsPerInstance")[0]["total"] == 90
    assert account.series("ConcurrentRequestsPerCopy") == account.series("GPUReservation") == []


def test_the_real_fleet_and_the_published_metric_agree():
    account = Account().chat(2, 2)
    profile = ServiceProfile("test", 0.04, 0.0, 0.01, 0.0, 64, 0.08, "ml.g5.12xlarge", 7.09)
    fleet = CopyFleet(profile, ClosedLoop(levels=(10,) * 60, input_tokens=1, output_tokens=100), start_s=EPOCH_S)
    account.service.attach_load("inference-component/llm", fleet)
    account.run(120)
    last = account.series("ConcurrentRequestsPerCopy")[-1]
    assert last["total"] / last["samples"] == pytest.approx(5, rel=0.01)
    completed = sum(status == 1 for status in fleet.log.status)
    invocations = sum(point["total"] for point in account.series("Invocations"))
    assert invocations == pytest.approx(completed + 10)
    account.set_copies(0)
    account.run(120)
    assert account.series("NoCapacityInvocationFailures")


def test_a_resource_that_does_not_exist_takes_no_load():
    with pytest.raises(KeyError):
        Account().service.attach_load("inference-component/nope", SteadyLoad(1))


# Events


def test_endpoint_events_have_the_two_documented_shapes():
    account = Account().chat(3, 1)
    account.set_instances(6)
    state, deployment = account.events
    assert state["source"] == "aws.sagemaker" and state["resources"] == [ENDPOINT_ARN]
    assert state["detail-type"] == "SageMaker Endpoint State Change"
    detail = state["detail"]
    assert detail["EndpointStatus"] == "UPDATING"
    assert isinstance(detail["CreationTime"], float) and detail["CreationTime"] == EPOCH_S * 1000
    assert [(type(value), value) for value in detail["ProductionVariants"][0].values()] == [(float, 1.0), (float, 6.0)]
    assert deployment["detail-type"] == "SageMaker Endpoint Deployment State Change"
    assert deployment["detail"]["ProductionVariants"] == [
        {
            "VariantName": "AllTraffic",
            "CurrentWeight": 1,
            "DesiredWeight": 1,
            "CurrentInstanceCount": 3,
            "DesiredInstanceCount": 6,
            "VariantStatus": [
                {
                    "Status": "Updating",
                    "StatusMessage": "Scaling out desired instance count to 6.",
                    "StartTime": int(EPOCH_S * 1000),
                }
            ],
        }
    ]
    json.dumps(account.events)  # nothing in it that JSON cannot carry


def test_every_status_of_an_endpoint_is_announced_and_components_have_no_events():
    account = Account().chat(2, 2, managed=ManagedSpec(1, 4))
    account.set_copies(3)
    account.run(900)
    account.service.start_system_update("chat", 60)
    account.run(120)
    account.call("DeleteEndpoint", EndpointName="chat")
    states = [event["detail"]["EndpointStatus"] for event in account.events if "Deployment" not in event["detail-type"]]
    assert states == ["UPDATING", "IN_SERVICE", "SYSTEM_UPDATING", "IN_SERVICE", "DELETING"]
    assert all("InferenceComponent" not in json.dumps(event) for event in account.events)


@pytest.mark.parametrize(
    ("status", "word"),
    [("InService", "IN_SERVICE"), ("Failed", "FAILED"), ("UpdateRollbackFailed", "UPDATE_ROLLBACK_FAILED")],
)
def test_statuses_in_events_are_upper_snake(status, word):
    assert upper_snake(status) == word


# Ledger


def test_the_ledger_tells_what_was_wished_what_served_and_what_was_paid_at_any_time():
    account = Account().chat(1, 1)
    resource = "inference-component/llm"
    account.at(100, lambda: account.set_instances(2))
    account.run(1000)
    account.set_copies(2)
    account.run(1000)
    service = account.service
    assert service.supply_at(resource, EPOCH_S - 1) is None
    before, during, after = (service.supply_at(resource, EPOCH_S + t) for t in (50, 101, 1999))
    assert (before.desired_copies, before.instances_billed) == (1, 1)
    assert (during.instances_desired, during.instances_in_service, during.instances_billed) == (2, 1, 2)
    assert (after.desired_copies, after.current_copies, after.instances_in_service) == (2, 2, 2)
    # two instances from the request at 100 s on
    assert service.instance_seconds() == {"ml.g5.12xlarge": pytest.approx(2000 + 1900)}
    second_s = next(point.at_s for point in service.timeline(resource) if point.current_copies == 2) - EPOCH_S
    assert service.copy_seconds(resource) == pytest.approx(2000 + (2000 - second_s))


def test_an_instance_is_billed_until_it_is_gone():
    account = Account().chat(2, 1, accelerators=1)
    account.run(100)
    account.set_instances(1)
    account.run(1000)
    # 60 s to stop, a little longer if its copy had to stop first
    assert account.service.instance_seconds()["ml.g5.12xlarge"] == pytest.approx(1100 + 160, abs=16)
