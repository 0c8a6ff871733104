"""Several components on one endpoint: one fleet of instances, own locks, own policies, one bill."""

from __future__ import annotations

import json

import numpy as np
import pytest

from simulator.aws.sagemaker_delays import Delays, DelayStream
from simulator.bench.compiled_fleet import CompiledFleet, TraceColumns
from simulator.bench.component import Component
from simulator.bench.endpoint import Endpoint
from simulator.bench.peers_drive import drive_peer, peer_looks
from simulator.bench.platform import Platform
from simulator.bench.run import RunSpec
from simulator.bench.shared_run import drive_together, run_shared
from simulator.bench.shared_slices import SharedSlice, prepare_shared, read_shared
from simulator.bench.slices import Slice, SliceError
from simulator.bench.sweep import bench
from simulator.oracle import clairvoyant_plan
from simulator.peers.registry import make_peer
from simulator.physics.profiles import M

FIXED = Delays(launch_p95_s=258.0, warm_copy_sigma=0.0)
NOBODY = TraceColumns(np.zeros(0), np.zeros(0, np.int32), np.zeros(0, np.int32))
PAIR = SharedSlice(
    name="pair",
    instance_type="ml.g6e.12xlarge",
    instance_usd_per_hour=12.0,
    copies_per_instance=4,
    components=(
        Slice(name="a", generated="chat", profile="S", days=0.05, mean_copies=3, max_copies=12),
        Slice(name="b", generated="bursty", profile="S", days=0.05, mean_copies=3, max_copies=12),
    ),
)


def stage(copies=(1, 1), *, instances=1, per_instance=4, **options):
    """An endpoint with one component for each of `copies`."""
    options = {"min_instances": 1, "max_instances": 16, "release_s": 0.0, **options}
    endpoint = Endpoint(DelayStream(FIXED, 1), instances=instances, copies_per_instance=per_instance, **options)
    parts = [
        Component(CompiledFleet(M, NOBODY), endpoint, copies=n, min_copies=0, max_copies=16, name=f"c{k}")
        for k, n in enumerate(copies)
    ]
    endpoint.settle()
    return endpoint, parts


def test_a_copy_takes_a_free_place_beside_another_components_copies():
    endpoint, (one, other) = stage()
    one.wish(3)
    endpoint.advance(89.0)
    assert (one.serving_copies, len(endpoint.instances)) == (1, 1)
    endpoint.advance(91.0)
    assert (one.serving_copies, other.serving_copies, len(endpoint.instances)) == (3, 1, 1)


def test_instances_are_added_for_what_all_components_miss_together():
    endpoint, (one, other) = stage()
    one.wish(4)
    other.wish(4)
    endpoint.advance(10.0)
    # Eight copies on instances of four: one more, not one for each.
    assert len(endpoint.instances) == 2
    endpoint.advance(300.0)
    assert (one.serving_copies, other.serving_copies) == (4, 4)


def test_an_instance_goes_only_when_no_component_has_a_copy_on_it():
    endpoint, (one, other) = stage((1, 1), instances=2, per_instance=2)
    # SPREAD: at first one copy of each on an instance of its own; the newest of three stands beside the other's.
    one.wish(3)
    endpoint.advance(100.0)
    other.wish(0)
    endpoint.advance(300.0)
    assert len(endpoint.instances) == 2
    one.wish(2)
    endpoint.advance(600.0)
    assert len(endpoint.instances) == 1


def test_a_change_of_one_component_does_not_lock_the_other():
    endpoint, (one, other) = stage()
    one.wish(9)
    assert one.component_updates and not other.component_updates
    other.wish(2)
    assert other.desired_copies == 2


def test_an_instance_that_is_taken_away_takes_copies_of_every_component_with_it():
    endpoint, (one, other) = stage((2, 2), instances=2, per_instance=2, managed=False)
    endpoint.ask_instances(1)
    endpoint.advance(1.0)
    assert one.serving_copies + other.serving_copies == 2


def test_components_that_do_not_fit_at_the_beginning_are_refused():
    with pytest.raises(ValueError, match="do not fit on 1 instances"):
        stage((3, 2))


@pytest.mark.parametrize("name", ["k8s-hpa", "aas-tt-10s"])
def test_beside_one_that_stands_still_a_component_does_what_it_does_alone(prepared, name):
    one = prepared.components[1]
    options = {"copies": 2, "min_copies": 1, "max_copies": 12}

    def fleet(trace):
        return CompiledFleet(one.profile, trace, window_s=10.0)

    def peer():
        return make_peer(name, target_per_copy=0.5 * one.concurrency, min_copies=1, max_copies=12)

    endpoint = Endpoint(DelayStream(FIXED, 1), instances=4, min_instances=1, max_instances=24, release_s=0.0)
    still = Component(fleet(NOBODY), endpoint, **options, name="still")
    moving = Component(fleet(one.trace), endpoint, **options, name="moving")
    endpoint.settle()
    idle = make_peer("static", copies=2, min_copies=1, max_copies=12)  # looks every minute, the other one more often
    drive_together(
        endpoint, [peer_looks(still, idle, prepared.length_s), peer_looks(moving, peer(), prepared.length_s)]
    )
    alone = Platform(fleet(one.trace), DelayStream(FIXED, 1), **options, release_s=0.0)
    drive_peer(alone, peer(), prepared.length_s)
    assert len(alone.wishes) > 3
    assert (moving.wishes, moving.supply) == (alone.wishes, alone.supply)
    assert moving.fleet.judged(2.0, 5.0) == alone.fleet.judged(2.0, 5.0)
    assert [(at_s, count - 2) for at_s, count in endpoint.billed[1:]] == alone.endpoint.billed[1:]
    assert still.supply[-1][1] == 2


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare_shared(PAIR, 1, traces=None, folder=tmp_path_factory.mktemp("pair"), launch_s=258.0)


@pytest.mark.parametrize(
    ("policy", "knob"),
    [
        ("quickstep", 98.0),
        ("quickstep-managed", 98.0),
        ("k8s-hpa", 0.5),
        ("keda@sagemaker", 0.5),
        ("aas-step-10s", 0.5),
    ],
)
def test_ours_and_peers_scale_every_component_and_are_scored_together(prepared, policy, knob):
    run = run_shared(prepared, RunSpec(policy, knob))
    assert run["requests"] == sum(len(one.trace) for one in prepared.components)
    assert [one["name"] for one in run["components"]] == ["a", "b"]
    assert sum(one["requests"] for one in run["components"]) == run["requests"]
    assert run["slo_attainment"] > 0.8
    assert run["changes"] > 4
    # Four copies at most on what is paid for.
    assert 4 * run["instance_hours"] >= run["copy_hours"] > 0
    assert run["cost_usd"] == pytest.approx(12 * run["instance_hours"], rel=1e-5)
    json.dumps(run, allow_nan=False)
    if policy == "quickstep":
        assert run == run_shared(prepared, RunSpec(policy, knob))


def test_the_bound_is_that_of_all_demand_together_and_below_the_sum_of_each(prepared):
    alone = sum(clairvoyant_plan(one.demand, min_copies=1, max_copies=12).cost_copy_s for one in prepared.components)
    assert 0.5 * alone < prepared.oracle_copy_s <= alone
    assert prepared.needed.tolist() == sum(one.needed for one in prepared.components).tolist()


def test_yardsticks_of_one_component_are_refused_on_a_shared_endpoint(prepared):
    with pytest.raises(ValueError, match="static-peak.*choose ours or a peer"):
        run_shared(prepared, RunSpec("static-peak"))
    with pytest.raises(ValueError, match="needs a knob"):
        run_shared(prepared, RunSpec("k8s-hpa"))


def test_a_sweep_runs_a_shared_endpoint_where_it_is_named_and_resumes(tmp_path):
    given = {"definitions": [PAIR], "policies": ["k8s-hpa", "static-peak"], "knobs": [0.5], "work": tmp_path}
    result = bench(**given, slices=["pair"], workers=1, quiet=True)
    assert [(run["trace"], run["policy"]) for run in result["runs"]] == [("pair", "k8s-hpa")]
    assert set(result["frontier"]) == {"pair"}
    kept = (tmp_path / "runs.jsonl").read_bytes()
    assert bench(**given, slices=["pair"], workers=1, quiet=True) == result
    assert (tmp_path / "runs.jsonl").read_bytes() == kept


def test_the_shared_endpoints_that_ship_are_in_anti_phase(tmp_path):
    (g5,) = read_shared()
    assert g5.name == "G5"
    short = g5.model_copy(
        update={"components": tuple(c.model_copy(update={"days": 1.0, "mean_copies": 0.5}) for c in g5.components)}
    )
    day, night = prepare_shared(short, 1, traces=None, folder=tmp_path, launch_s=258.0).components
    hours = [one.demand.reshape(24, -1).mean(axis=1) for one in (day, night)]
    assert np.corrcoef(*hours)[0, 1] < -0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"components": []}, "endpoint pair: components"),
        ({"copies_per_instance": 0}, "endpoint pair: copies_per_instance"),
        ({"instance_type": None}, "endpoint pair: instance_type"),
        ({"colour": "red"}, "endpoint pair: colour"),
    ],
)
def test_a_shared_endpoint_that_cannot_be_used_is_named(tmp_path, change, message):
    row = {**json.loads(PAIR.model_dump_json()), **change}
    (tmp_path / "s.yaml").write_text(json.dumps({"endpoints": [row]}))
    with pytest.raises(SliceError, match=message):
        read_shared(tmp_path / "s.yaml")


def test_components_of_one_name_are_refused(tmp_path):
    row = json.loads(PAIR.model_dump_json())
    row["components"][1]["name"] = "a"
    (tmp_path / "s.yaml").write_text(json.dumps({"endpoints": [row]}))
    with pytest.raises(SliceError, match="a, a; names must differ"):
        read_shared(tmp_path / "s.yaml")
