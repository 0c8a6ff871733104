"""Peers as a whole: what they do at zero, while copies start and without data, and what the registry promises."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.peers import PEERS, SAGEMAKER_SENSING, MetricRing, PeerView, make_peer
from simulator.peers.aibrix import AibrixApa
from simulator.peers.anchors import PlannedCopies
from simulator.peers.cortex import Cortex
from simulator.peers.dynamo import DynamoLoadLoop, ItlLine, load_decision, sla_decision
from simulator.peers.hpa import (
    HpaBehaviour,
    RateLimit,
    desired_by_copies,
    desired_by_total,
    rate_limited,
)
from simulator.peers.keda import Keda
from simulator.peers.knative import KnativeKpa
from simulator.peers.ray_serve import RayServe
from simulator.peers.skyserve import SkyServe
from simulator.peers.view import Cadence
from simulator.peers.wva import WvaV1, WvaV2

TARGET = 5.0
KNOBS = sorted(name for name, about in PEERS.items() if about.has_knob)
NEEDED = {"static": {"copies": 3}, "static-peak": {"copies": 9}, "static-mean": {"copies": 4}}
PLAN = {"clairvoyant-plan": {"plan": [1, 2], "step_s": 10.0, "lead_s": 258.0}}


def made(name, **how):
    how = {"target_per_copy": TARGET, "min_copies": 1, "max_copies": 50} | how
    return make_peer(name, **how, **NEEDED.get(name, {}), **PLAN.get(name, {}))


class Scene:
    """A fleet whose copies come at once, under a load that a test sets second by second."""

    def __init__(self, peer, *, desired=1, ready=None, min_copies=0, max_copies=50, point_s=1.0):
        self.peer, self.desired = peer, desired
        self.ready = ready
        self.bounds = (min_copies, max_copies)
        self.ring = MetricRing(point_s)
        self.now_s = 0.0
        self.asked = []

    def run(self, seconds, *, total=0.0, arrivals=0.0, refused=0.0, known=True, **view):
        for _ in range(int(seconds / self.ring.point_s)):
            serving = self.desired if self.ready is None else self.ready
            if known:
                self.ring.push(total if serving else 0.0, serving, arrivals=arrivals, refused=refused)
            else:
                self.ring.push_gap()
            self.now_s += self.ring.point_s
            if self.now_s % self.peer.period_s:
                continue
            self.ring.show(self.now_s)
            starting = max(0, self.desired - serving)
            got = self.peer.decide(
                PeerView(self.now_s, serving, self.desired, starting, self.ring, *self.bounds, **view)
            )
            if got is not None and got != self.desired:
                self.asked.append((self.now_s, got))
                self.desired = got
        return self.desired


# ---------------------------------------------------------------- the registry


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_is_made_by_its_name_and_says_how_often_it_looks(name):
    peer = made(name)
    assert peer.name == name
    assert peer.period_s == PEERS[name].period_s
    assert peer.sensing.point_s > 0


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_is_described_with_its_defaults_and_source(name):
    about = PEERS[name]
    assert all(text.strip() for text in (about.rule, about.defaults, about.source))


@pytest.mark.parametrize("name", KNOBS)
def test_with_sagemakers_sensing_everybody_sees_ten_second_points_ten_seconds_late(name):
    peer = made(name, sensing="sagemaker")
    assert peer.sensing == SAGEMAKER_SENSING
    # AAS evaluates a one-minute alarm once a minute, whatever else there is.
    assert peer.period_s == (60.0 if name in ("aas-tt-60s", "aas-step-sample") else 10.0)


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [
        ("kpa", {}, "'kpa' is not known.*knative-kpa"),
        ("keda", {"sensing": "slow"}, "sensing 'slow'.*native, sagemaker"),
        ("keda", {"min_copies": 3, "max_copies": 2}, r"min_copies \(3\)"),
        ("keda", {"min_copies": -1}, r"min_copies \(-1\)"),
        ("keda", {"target_per_copy": 0}, r"target_per_copy \(0\)"),
        ("keda", {"target_per_copy": None}, "needs target_per_copy"),
        ("keda", {"pooling_s": 5}, "no option pooling_s.*polling_s"),
        ("aas-tt-10s", {"base": "current"}, "current"),
        ("skyserve", {"service_s": 0.0}, r"service_s \(0.0\)"),
    ],
)
def test_what_cannot_be_made_is_refused_with_what_and_what_to_do(name, how, words):
    with pytest.raises(ValueError, match=words):
        made(name, **how)


def test_an_anchor_without_its_count_is_refused():
    with pytest.raises(ValueError, match="static-mean needs copies"):
        make_peer("static-mean", min_copies=1, max_copies=5)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(PEERS)),
    loads=st.lists(st.one_of(st.none(), st.floats(0, 400)), min_size=1, max_size=30),
    bounds=st.tuples(st.integers(0, 3), st.integers(3, 40)),
    sensing=st.sampled_from(["native", "sagemaker"]),
)
def test_no_peer_ever_asks_outside_its_bounds(name, loads, bounds, sensing):
    peer = made(name, min_copies=bounds[0], max_copies=bounds[1], sensing=sensing)
    scene = Scene(peer, desired=bounds[0], min_copies=bounds[0], max_copies=bounds[1])
    for load in loads:
        scene.run(60, total=load or 0.0, arrivals=load or 0.0, known=load is not None)
    assert all(bounds[0] <= count <= bounds[1] for _, count in scene.asked)


@pytest.mark.parametrize("name", KNOBS)
def test_the_same_inputs_give_the_same_decisions(name):
    def asked():
        scene = Scene(made(name))
        for load in (4, 40, 40, 10, 200, 3, 0, 0):
            scene.run(300, total=float(load), arrivals=load / 10)
        return scene.asked

    assert asked() == asked() != []


@pytest.mark.parametrize("name", KNOBS)
def test_a_metric_that_is_missing_never_scales_in(name):
    """Only KEDA's CloudWatch scaler reads no data as idle, and only with SageMaker's sensing."""
    scene = Scene(made(name), desired=8, min_copies=0)
    scene.run(1300, known=False)
    assert scene.desired >= 8


def test_kedas_cloudwatch_scaler_reads_missing_data_as_idle():
    """keda pkg/scalers/aws_cloudwatch_scaler.go: ignoreNullValues true, minMetricValue."""
    scene = Scene(made("keda", min_copies=0, sensing="sagemaker"), desired=8)
    scene.run(1300, known=False)
    assert scene.desired == 0


# ---------------------------------------------------------------- Knative


def test_kpa_holds_after_a_restart_until_it_has_a_window_of_data():
    """knative scaling/autoscaler.go New: with more than one ready copy it starts in panic."""
    scene = Scene(KnativeKpa(TARGET), desired=9)
    scene.run(60, total=1.0)
    assert scene.asked == []
    scene.run(30, total=1.0)
    assert scene.asked[0][1] == 4


def test_kpa_panics_when_six_seconds_need_twice_the_ready_copies():
    """knative configmaps/autoscaler.yaml: panic-window-percentage 10, panic-threshold-percentage 200."""
    scene = Scene(KnativeKpa(TARGET), desired=2, ready=2)
    scene.run(60, total=8.0)
    scene.run(6, total=30.0)
    assert scene.desired == 6
    scene.run(50, total=1.0)
    assert scene.desired == 6


def test_kpa_goes_to_zero_after_its_window_and_grace_and_comes_back_at_once():
    """knative config: stable-window 60 s, scale-to-zero-grace-period 30 s."""
    scene = Scene(KnativeKpa(TARGET), desired=1)
    scene.run(90, total=3.0)
    scene.run(80, total=0.0)
    assert scene.desired == 1
    scene.run(20, total=0.0)
    assert scene.desired == 0
    scene.run(2, refused=2.0)
    assert scene.desired == 1


def test_kpa_never_judges_a_starting_copy_idle():
    """knative kpa/scaler.go: an activating revision waits for its progress deadline."""
    scene = Scene(KnativeKpa(TARGET), desired=1, ready=0)
    scene.run(600)
    assert scene.desired == 1


# ---------------------------------------------------------------- Kubernetes and KEDA


@pytest.mark.parametrize(
    ("current", "per_copy", "reporting", "missing", "starting", "want"),
    [
        pytest.param(4, 7.5, 4, 0, 0, 6, id="kubernetes replica_calculator_test: proportional out"),
        pytest.param(4, 2.5, 4, 0, 0, 2, id="kubernetes replica_calculator_test: proportional in"),
        pytest.param(4, 5.4, 4, 0, 0, 4, id="kubernetes replica_calculator_test: within tolerance"),
        pytest.param(8, 40.0, 1, 0, 7, 8, id="kubernetes: starting copies count as idle on the way out"),
        pytest.param(4, 9.0, 2, 2, 0, 4, id="kubernetes: missing metrics count as 0 on the way out, direction turned"),
        pytest.param(4, 20.0, 2, 2, 0, 8, id="kubernetes: missing metrics count as 0 on the way out"),
        pytest.param(4, 1.0, 2, 2, 0, 3, id="kubernetes: missing metrics count as the target on the way in"),
        pytest.param(6, 1.0, 2, 0, 4, 1, id="kubernetes: starting copies are left out on the way in"),
    ],
)
def test_hpa_counts_missing_and_starting_copies_conservatively(current, per_copy, reporting, missing, starting, want):
    got = desired_by_copies(current, per_copy, TARGET, reporting=reporting, missing=missing, starting=starting)
    assert got == want


def test_hpa_on_a_total_does_not_depend_on_the_current_count():
    """kubernetes replica_calculator.go, external metric with AverageValue."""
    assert {desired_by_total(n, 40.0, TARGET) for n in (1, 3, 20)} == {8}
    assert desired_by_total(8, 43.9, TARGET) == 8
    assert desired_by_total(8, 44.1, TARGET) == 9


@pytest.mark.parametrize(("select", "want"), [("Max", 20), ("Min", 14), ("Disabled", 10)])
def test_hpa_selects_among_its_rate_policies(select, want):
    limit = RateLimit(copies=4, percent=100.0, select=select)
    assert rate_limited(10, 99, min_copies=1, max_copies=100, limit=limit) == want


def test_hpa_removes_by_the_highest_recommendation_of_five_minutes():
    """kubernetes defaults.go: scale-down stabilization 300 s."""
    behaviour, current = HpaBehaviour(), 8
    for now_s in range(0, 300, 15):
        assert behaviour.apply(now_s, current=current, desired=2, min_copies=1, max_copies=20) == 8
    assert behaviour.apply(300, current=current, desired=2, min_copies=1, max_copies=20) == 2


def test_hpa_cannot_leave_zero_by_itself_so_its_least_is_one():
    assert Scene(made("k8s-hpa", min_copies=0), desired=3).run(1200, total=0.0) == 1


def test_keda_removes_the_last_copies_at_once_after_its_cooldown_and_wakes_within_a_poll():
    """keda scale_scaledobjects.go: pollingInterval 30 s, cooldownPeriod 300 s for the way to zero only."""
    scene = Scene(Keda(TARGET), desired=8)
    scene.run(60, total=40.0)
    scene.run(300, total=0.0)
    assert scene.desired > 0
    scene.run(90, total=0.0)
    assert scene.desired == 0
    scene.run(60, refused=1.0)
    assert scene.desired == 1


def test_keda_stays_while_requests_fail_although_nothing_is_in_flight_yet():
    scene = Scene(Keda(TARGET), desired=1, ready=0)
    scene.run(900, refused=1.0)
    assert scene.desired == 1


# ---------------------------------------------------------------- Ray Serve, SkyServe


def test_ray_serve_wakes_at_once_and_then_waits_thirty_seconds_for_more():
    scene = Scene(RayServe(TARGET), desired=0)
    scene.run(2, refused=1.0)
    assert scene.desired == 1
    scene.run(30, total=50.0)
    assert scene.desired == 1
    scene.run(34, total=50.0)
    assert scene.desired == 10


def test_ray_serve_goes_to_zero_in_two_delays():
    """ray autoscaling_policy.py: 1 -> 0 is its own step of downscale_delay_s."""
    scene = Scene(RayServe(TARGET), desired=4)
    scene.run(60, total=20.0)
    scene.run(2000, total=0.0)
    # At 68 s the look-back holds few enough of the requests for three copies; from then on 600 s.
    assert scene.asked == [(668.0, 1), (1270.0, 0)]


def test_skyserve_needs_agreement_for_five_minutes_up_and_twenty_down():
    scene = Scene(SkyServe(TARGET), desired=2)
    scene.run(200, total=10.0)
    scene.run(280, total=40.0)
    assert scene.desired == 2
    scene.run(60, total=40.0)
    assert scene.desired == 8
    scene.run(1180, total=5.0)
    assert scene.desired == 8
    scene.run(80, total=5.0)
    assert scene.desired == 1


def test_skyserve_leaves_zero_at_once():
    scene = Scene(SkyServe(TARGET, period_s=5.0), desired=0)
    scene.run(5, refused=1.0)
    assert scene.desired == 1


def test_skyserve_sizes_on_the_request_rate_when_the_service_time_is_known():
    """sky/serve/autoscalers.py: requests per second over target_qps_per_replica; a backlog does not count."""
    scene = Scene(SkyServe(TARGET, service_s=10.0), desired=1)
    scene.run(500, total=400.0, arrivals=4.0)
    assert scene.desired == 8


# ---------------------------------------------------------------- AIBrix, llm-d, Dynamo, Cortex


def test_aibrix_as_coded_doubles_every_ten_seconds_while_copies_start():
    """aibrix#593: asked count × mean of the ready copies."""
    scene = Scene(AibrixApa(TARGET), desired=1, ready=1)
    scene.run(180, total=4.9)
    scene.run(180, total=40.0)
    assert [count for _, count in scene.asked[:5]] == [2, 4, 8, 16, 32]
    assert {b - a for (a, _), (b, _) in zip(scene.asked[:4], scene.asked[1:5], strict=True)} == {10.0}


@pytest.mark.parametrize(("as_coded", "seconds"), [(True, 60), (False, 300)])
def test_aibrix_inverted_cooldown_holds_nothing(as_coded, seconds):
    """aibrix#2821: 300 s of scale-down cooldown, MIN instead of MAX over the window."""
    scene = Scene(AibrixApa(TARGET, as_coded=as_coded, window_s=10.0), desired=8)
    scene.run(300, total=40.0)
    scene.run(20, total=16.0)
    assert (scene.desired < 8) is as_coded
    scene.run(300, total=16.0)
    assert scene.desired == 4


def test_wva_v1_moves_by_one_and_only_when_nothing_is_starting():
    """llm-d internal/saturation/analyzer.go: blocked while any variant is in transition."""
    scene = Scene(WvaV1(TARGET), desired=1, ready=1)
    scene.run(600, total=40.0)
    assert scene.asked == [(60.0, 2)]
    scene.ready = 2
    scene.run(120, total=40.0)
    assert [count for _, count in scene.asked] == [2, 3]


def test_wva_v1_takes_queues_for_saturation():
    peer, ring = WvaV1(TARGET), MetricRing(10.0)
    for _ in range(6):
        ring.push(4.0, 2, waiting=6.0)
    ring.show(60.0)
    assert peer.decide(PeerView(60.0, 2, 2, 0, ring, 1, 9)) == 3


def test_wva_v2_counts_starting_copies_and_keeps_thirty_percent_when_it_removes():
    """llm-d saturation_v2: up over 0.85, down under 0.70 of what a copy holds."""
    scene = Scene(WvaV2(TARGET), desired=1, ready=1)
    scene.run(600, total=40.0)
    assert scene.asked == [(60.0, 8)]
    # 8 copies hold 8 × 5 / 0.85 = 47; 20 / 0.70 = 29 must stay covered: 3.2 copies are spare.
    other = Scene(WvaV2(TARGET), desired=8)
    other.run(60, total=20.0)
    assert other.asked == [(60.0, 5)]


@pytest.mark.parametrize("kind", [WvaV1, WvaV2])
def test_wva_goes_to_zero_after_ten_minutes_and_wakes_when_it_looks(kind):
    """llm-d internal/engines/scalefromzero; retention 10 min."""
    scene = Scene(kind(TARGET, period_s=2.0), desired=1)
    scene.run(60, total=1.0, arrivals=1.0)
    scene.run(600, total=0.0)
    assert scene.desired == 1
    scene.run(70, total=0.0)
    assert scene.desired == 0
    scene.run(2, refused=1.0)
    assert scene.desired == 1


@pytest.mark.parametrize(
    ("utilisation", "copies", "want"),
    [(1.01, 3, 4), (1.0, 3, 3), (0.6, 3, 3), (0.59, 3, 2), (0.1, 1, 1)],
    ids=["over", "at the upper", "at the lower", "under", "the last one stays"],
)
def test_dynamo_moves_by_one_at_its_easy_thresholds(utilisation, copies, want):
    """dynamo load_scaling.py: _DECODE_THROUGHPUT_SCALE_UP 1.0, _DECODE_THROUGHPUT_SCALE_DOWN 0.6."""
    assert load_decision(utilisation, copies) == want


def test_dynamo_in_sla_mode_predicts_what_one_copy_less_would_do():
    """dynamo load_scaling.py: ITL over the SLO adds; N/(N-1) must stay under 80 % of it to remove."""
    line = ItlLine.fitted([(n, 0.02 + 0.002 * n) for n in range(1, 11)])
    assert line.itl_s(20) == pytest.approx(0.06)
    assert sla_decision(20, 4, line, itl_slo_s=0.05) == 5
    # At 12 per copy ITL is 44 ms; on 3 copies 16 would give 52 ms, over 40 ms.
    assert sla_decision(12, 4, line, itl_slo_s=0.05) == 4
    # At 6 per copy 32 ms; on 3 copies 8 give 36 ms, under 40 ms.
    assert sla_decision(6, 4, line, itl_slo_s=0.05) == 3
    assert sla_decision(12, 4, None, itl_slo_s=0.05) == 4
    assert ItlLine.fitted([(3.0, 0.03)] * 20) is None
    assert ItlLine.fitted([(1.0, 0.03), (2.0, 0.04)]) is None


def test_dynamo_in_sla_mode_learns_from_what_it_sees():
    scene = Scene(DynamoLoadLoop(TARGET, itl_slo_s=0.05), desired=2)
    for load in (2, 4, 6, 8, 10, 12):
        scene.run(5, total=2.0 * load, itl_s=0.02 + 0.002 * load)
    assert scene.desired == 2
    scene.run(5, total=40.0, itl_s=0.06)
    assert scene.desired == 3


def test_dynamo_keeps_the_throughput_loops_floor():
    """dynamo throughput_scaling.py: ceil(requests per second / requests per second of an engine), every 180 s."""
    with_floor = Scene(DynamoLoadLoop(TARGET, service_s=10.0), desired=8)
    with_floor.run(600, total=2.0, arrivals=2.0)
    assert with_floor.desired == 4
    without = Scene(DynamoLoadLoop(TARGET), desired=8)
    without.run(600, total=2.0, arrivals=2.0)
    assert without.desired == 1


def test_cortex_does_not_move_before_its_windows_are_over():
    """cortex autoscaler.go: time since start < stabilization period keeps the current count."""
    scene = Scene(Cortex(TARGET), desired=4)
    scene.run(60, total=40.0)
    assert scene.asked == []
    scene.run(100, total=40.0)
    # By a factor of 1.5 at most, and by the least of the last minute.
    assert scene.asked == [(70.0, 6), (140.0, 8)]
    fewer = Scene(Cortex(TARGET), desired=8)
    fewer.run(300, total=5.0)
    assert fewer.asked == []
    fewer.run(20, total=5.0)
    assert fewer.asked[0][1] == 6


# ---------------------------------------------------------------- anchors, cadence


@pytest.mark.parametrize(
    ("lead_s", "want"),
    [(0.0, [1, 1, 5, 5, 2, 2]), (10.0, [1, 5, 5, 5, 2, 2]), (25.0, [5, 5, 5, 5, 2, 2])],
)
def test_a_plan_is_asked_for_its_lead_early_and_kept_past_its_end(lead_s, want):
    """Planned: 1, 1, 1, 5, 2. What takes `lead_s` to start is asked for so long before its step begins, or earlier."""
    peer, ring = PlannedCopies([1, 1, 1, 5, 2], 10.0, lead_s), MetricRing(10.0)
    assert [peer.decide(PeerView(10.0 * i, 1, 1, 0, ring, 1, 9)) for i in range(6)] == want


def test_an_empty_plan_is_refused():
    with pytest.raises(ValueError, match="plan is empty"):
        PlannedCopies([], 10.0, 258.0)


def test_a_cadence_keeps_its_grid_when_it_is_asked_late():
    cadence = Cadence(30.0)
    assert [t for t in (0, 10, 30, 45, 70, 80, 90, 200, 209, 210) if cadence.is_due(t)] == [0, 30, 70, 90, 200, 210]


def test_the_knob_moves_every_peers_count_the_right_way():
    """Twice the target never asks for more copies at a steady load."""
    # AIBrix as coded swings between its bounds for ever, whatever the target.
    for name in sorted(set(KNOBS) - {"aibrix-apa"}):
        counts = []
        for target in (2.5, 5.0, 10.0):
            peer = make_peer(name, target_per_copy=target, min_copies=1, max_copies=50)
            counts.append(Scene(peer, min_copies=1).run(3600, total=30.0, arrivals=3.0))
        assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1], (name, counts)
        assert counts[1] >= math.floor(30.0 / 5.0), (name, counts)
