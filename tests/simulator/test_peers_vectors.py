"""Every peer's rule against that peer's own published numbers. Each id says which rule of which peer it checks."""

from __future__ import annotations

import pytest

from simulator.peers.aas_step import Adjustment, StepRow, StepTable
from simulator.peers.aibrix import apa_copies
from simulator.peers.cortex import recommended
from simulator.peers.cortex import stabilized as cortex_stabilized
from simulator.peers.hpa import RateLimit, rate_limited, stabilized
from simulator.peers.keda import accurate_job_count, eager_job_count
from simulator.peers.knative import KpaRule, excess_burst_capacity
from simulator.peers.ray_serve import Patience, desired_copies
from simulator.peers.skyserve import copies_for_requests, spot_and_on_demand
from simulator.peers.wva import compute_bound_tokens, queued_tokens, required_and_spare, saturation

MINUTE = 60.0


def table(source, rows):
    """Parameters out of rows whose first entry is the rule; the id is `source: rule`."""
    return [pytest.param(*row, id=f"{source}: {name}") for name, *row in rows]


# ---------------------------------------------------------------- Knative: pkg/autoscaler/scaling/autoscaler_test.go

KNATIVE = "knative autoscaler_test.go"


def kpa(target, **fields):
    return KpaRule(target, **({"max_up_rate": 10.0, "max_down_rate": 10.0} | fields))


@pytest.mark.parametrize(
    ("target", "ready", "stable", "panic", "fields", "want"),
    table(
        KNATIVE,
        [
            ("no requests want no copy", 10, 1, 0, 0, {}, 0),
            ("target above the load (unlimited burst capacity)", 181, 1, 21, 26, {}, 1),
            ("stable window sizes (no burst capacity)", 10, 1, 50, 49, {}, 5),
            ("stable and panic agree", 10, 1, 50, 50, {}, 5),
            ("already at the right count", 10, 5, 50, 50, {}, 5),
            ("scale-out is held by max-scale-up-rate", 1, 2, 3, 3.1, {"max_up_rate": 1.1}, 3),
            ("scale-in is held by max-scale-down-rate", 10, 100, 1, 1, {"max_down_rate": 1.1}, 90),
            ("unreachable is not held on the way in", 10, 100, 1, 1, {"max_down_rate": 1.1, "reachable": False}, 1),
            ("panic window doubles", 10, 1, 50, 100, {}, 10),
            ("in panic a larger stable demand counts", 1, 5, 50, 30, {"panic_since_s": -5, "panic_copies": 5}, 50),
            ("in panic a smaller stable demand does not", 1, 5, 20, 30, {"panic_since_s": -5, "panic_copies": 5}, 30),
        ],
    ),
)
def test_kpa_sizes_as_knative_does(target, ready, stable, panic, fields, want):
    assert kpa(target, **fields).scale(0, ready, stable_total=stable, panic_total=panic) == want


@pytest.mark.parametrize(
    ("target", "fields", "looks"),
    table(
        KNATIVE,
        [
            (
                "panic, and leaving it after the stable window",
                1,
                {},
                [(0, 10, 11, 25, 25), (30, 40, 30, 41, 41), (62, 55, 50, 56, 50)],
            ),
            ("panic is extended while over the threshold", 1, {}, [(0, 10, 11, 25, 25), (30, 40, 30, 80, 80)]),
            (
                "rate-limited doubling reaches 1296",
                1,
                {},
                [
                    (0, 1, 6, 6, 6),
                    (0, 6, 36, 36, 36),
                    (1, 36, 216, 216, 216),
                    (1, 216, 1296, 1296, 1296),
                    (2, 1296, 1296, 1296, 1296),
                ],
            ),
            (
                "panic never scales in until it ends",
                10,
                {},
                [(0, 1, 100, 100, 10), (0, 10, 100, 1000, 100), (30, 10, 1, 1, 100), (61, 10, 1, 1, 1)],
            ),
            ("scale-out rate limit, twice", 10, {}, [(0, 1, 1000, 1001, 10), (0, 10, 1000, 1001, 100)]),
            ("scale-in rate limit, twice", 10, {}, [(0, 100, 1, 1, 10), (0, 10, 1, 1, 1)]),
            ("activation scale needs demand", 10, {"activation_copies": 2}, [(0, 1, 0, 0, 0)]),
            ("activation scale lifts the first copies", 10, {"activation_copies": 2}, [(0, 1, 1, 0, 2)]),
            (
                "scale-down delay holds, then lets go",
                10,
                {"panic_threshold": 100, "scale_down_delay_s": 300},
                [(2, 0, 40, 40, 4), (300, 0, 0, 0, 4), (302, 0, 0, 0, 0)],
            ),
            (
                "scale-down delay follows a gradual fall",
                10,
                {"panic_threshold": 100, "scale_down_delay_s": 300},
                [(540, 0, 40, 40, 4), (600, 0, 30, 30, 4), (660, 0, 0, 0, 4), (840, 0, 0, 0, 3), (900, 0, 0, 0, 0)],
            ),
        ],
    ),
)
def test_kpa_remembers_as_knative_does(target, fields, looks):
    rule = kpa(target, **fields)
    got = [rule.scale(now, ready, stable_total=stable, panic_total=panic) for now, ready, stable, panic, _ in looks]
    assert got == [want for *_, want in looks]


def test_kpa_leaves_panic_with_nothing_remembered():
    rule = kpa(1)
    for now, ready, stable, panic in [(0, 10, 11, 25), (30, 40, 30, 41), (62, 55, 50, 56)]:
        rule.scale(now, ready, stable_total=stable, panic_total=panic)
    assert (rule.panic_since_s, rule.panic_copies) == (None, 0)


def test_kpa_extends_panic_to_the_last_moment_over_the_threshold():
    rule = kpa(1)
    rule.scale(0, 10, stable_total=11, panic_total=25)
    rule.scale(30, 40, stable_total=30, panic_total=80)
    assert rule.panic_since_s == 30


@pytest.mark.parametrize(
    ("ready", "total", "burst", "panic", "want"),
    table(
        KNATIVE,
        [
            ("excess burst capacity is what is left of ready × total", 1, 10 / 0.75, 100, 50, -137),
            ("unlimited burst capacity is always missing", 1, 10 / 0.75, -1, 50, -1),
            ("no burst capacity is never missing", 1, 10 / 0.75, 0, 50, 0),
        ],
    ),
)
def test_excess_burst_capacity(ready, total, burst, panic, want):
    assert excess_burst_capacity(ready, total_per_copy=total, target_burst_capacity=burst, panic_total=panic) == want


# ---------------------------------------------------------------- Kubernetes: horizontal_test.go

STABILIZE = "kubernetes horizontal_test.go TestConvertDesiredReplicasWithBehaviors/stabilize"
RATE = "kubernetes horizontal_test.go TestScalingWithRules"
EVENTS = [(1, 1), (1, 5), (1, 9)]


@pytest.mark.parametrize(
    ("current", "desired", "recommendations", "out_s", "in_s", "want"),
    table(
        STABILIZE,
        [
            ("nothing remembered", 100, 5, [], 0, 0, 5),
            ("in by the most of the window", 100, 3, [(2 * MINUTE, 4), (MINUTE, 5)], 0, 180, 5),
            ("out by the least of the window", 1, 7, [(2 * MINUTE, 4), (MINUTE, 5)], 300, 0, 4),
            ("an out window does not hold the way in", 100, 3, [(2 * MINUTE, 1), (MINUTE, 2)], 300, 0, 3),
            ("an in window does not hold the way out", 1, 3, [(2 * MINUTE, 4), (MINUTE, 5)], 0, 300, 3),
            ("what is older than the window is forgotten", 100, 3, [(10 * MINUTE, 10), (9 * MINUTE, 9)], 0, 0, 3),
            (
                "only the window counts on the way in",
                100,
                3,
                [(10 * MINUTE, 10), (MINUTE, 4), (2 * MINUTE, 5), (9 * MINUTE, 9)],
                0,
                180,
                5,
            ),
            (
                "only the window counts on the way out",
                1,
                100,
                [(100 * MINUTE, 10), (MINUTE, 6), (2 * MINUTE, 5), (3 * MINUTE, 9)],
                300,
                0,
                5,
            ),
        ],
    ),
)
def test_hpa_stabilizes_as_kubernetes_does(current, desired, recommendations, out_s, in_s, want):
    assert stabilized(current, desired, recommendations, out_window_s=out_s, in_window_s=in_s) == want


def copies(n, period_s):
    return {"copies": n, "copies_period_s": period_s}


def percent(n, period_s):
    return {"percent": n, "percent_period_s": period_s}


@pytest.mark.parametrize(
    ("current", "desired", "low", "high", "limit", "added", "removed", "want"),
    table(
        RATE,
        [
            ("out by 200 %", 10, 50, 1, 1000, percent(200, 60), (), (), 30),
            ("in by the larger of 20 copies and 1 %", 100, 2, 1, 1000, copies(20, 60) | percent(1, 60), (), (), 80),
            ("in by the larger of 2 copies and 1 %", 100, 2, 1, 1000, copies(2, 60) | percent(1, 60), (), (), 98),
            ("in not below the minimum (copies)", 10, 0, 1, 1000, copies(100, 60), (), (), 1),
            ("in not below the minimum (percent)", 10, 2, 5, 1000, percent(100, 60), (), (), 5),
            ("in by 5 copies", 10, 2, 1, 1000, copies(5, 60), (), (), 5),
            ("in by 50 %", 10, 5, 1, 1000, percent(50, 60), (), (), 5),
            ("out not above the maximum", 100, 500, 1, 200, copies(300, 60), EVENTS, (), 200),
            ("out is used up by earlier events", 100, 500, 1, 1000, copies(5, 120), EVENTS, (), 100),
            ("out by copies, from the period's start", 100, 500, 1, 1000, copies(150, 120), EVENTS, (), 235),
            ("out by percent, from the period's start", 100, 500, 1, 1000, percent(200, 120), EVENTS, (), 255),
            ("in by copies, from the period's start", 100, 2, 1, 1000, copies(5, 120), (), EVENTS, 100),
            (
                "in by percent, from the period's start",
                100,
                0,
                1,
                1000,
                percent(50, 120),
                (),
                [(1, 2), (1, 4), (1, 6)],
                56,
            ),
            ("in is used up by earlier events", 100, 0, 1, 1000, copies(10, 120), (), [(1, 10)] * 3, 100),
        ],
    ),
)
def test_hpa_limits_its_rate_as_kubernetes_does(current, desired, low, high, limit, added, removed, want):
    got = rate_limited(
        current, desired, min_copies=low, max_copies=high, limit=RateLimit(**limit), added=added, removed=removed
    )
    assert got == want


# ---------------------------------------------------------------- AIBrix: algorithm/apa_test.go


@pytest.mark.parametrize(
    ("current", "per_copy", "up_rate", "down_rate", "want"),
    table(
        "aibrix apa_test.go",
        [
            ("proportional out", 2, 45, 2, 2, 3),
            ("just over the tolerance", 2, 35, 2, 2, 3),
            ("out at most doubles", 2, 90, 2, 2, 4),
            ("out at most 2.5 times", 2, 90, 2.5, 2, 5),
            ("proportional in", 6, 20, 2, 2, 4),
            ("in rounds up", 6, 18, 2, 2, 4),
            ("in at most halves", 6, 10, 2, 2, 3),
            ("in at most by 2.5", 6, 5, 2, 2.5, 2),
            ("within the tolerance nothing changes", 2, 33, 2, 2, 2),
        ],
    ),
)
def test_apa_sizes_as_aibrix_does(current, per_copy, up_rate, down_rate, want):
    assert apa_copies(current, per_copy, 30, max_up_rate=up_rate, max_down_rate=down_rate) == want


# ---------------------------------------------------------------- Ray Serve: tests/unit/test_autoscaling_policy.py


@pytest.mark.parametrize(
    ("total", "running", "target", "want"),
    table(
        "ray test_autoscaling_policy.py",
        [
            ("one hot copy at the target", 20, 4, 5, 4),
            ("one hot copy over the target", 100, 4, 5, 20),
            ("one hot copy under the target", 10, 4, 5, 2),
            ("scale up", 100, 1, 50, 2),
            ("scale down", 40, 2, 50, 1),
            ("start with much queued", 100, 1, 1, 100),
            ("start with more queued", 123, 3, 1, 123),
        ],
    ),
)
def test_ray_serve_sizes_as_ray_does(total, running, target, want):
    assert desired_copies(total, running, target) == want


def test_ray_serve_walks_to_zero_with_a_downscaling_factor_of_a_fifth():
    """ray test_autoscaling_policy.py: a small factor must not stand still."""
    running, seen = 5, []
    for _ in range(5):
        running = max(1, desired_copies(0, running, 1, down_factor=0.2)) if running > 1 else 0
        seen.append(running)
    assert seen == [4, 3, 2, 1, 0]


def test_ray_serve_waits_its_delay_and_starts_anew_after_a_change():
    """ray test_autoscaling_policy.py, delayed start: 100 asked at once when the delay is 0, 123 only after it."""
    patience = Patience(look_s=1.0, up_delay_s=3.0, down_delay_s=5.0)
    assert [patience.decide(123, 100) for _ in range(4)] == [100, 100, 100, 123]
    assert [patience.decide(10, 123) for _ in range(6)] == [123] * 5 + [10]


def test_ray_serve_reaches_zero_only_from_one():
    patience = Patience(look_s=1.0, up_delay_s=0.0, down_delay_s=0.0)
    assert patience.decide(0, 5) == 1
    assert patience.decide(0, 1) == 0


# ---------------------------------------------------------------- llm-d WVA

WVA1 = "llm-d wva internal/saturation/analyzer_test.go"
WVA2 = "llm-d wva internal/engines/analyzers/saturation_v2"


@pytest.mark.parametrize(
    ("measured", "answer", "want"),
    table(
        WVA1,
        [
            ("little KV cache left asks for one more", [(0.75, 2), (0.76, 2)], 0, True),
            ("long queues ask for one more", [(0.5, 3), (0.5, 3)], 0, True),
            ("room in both asks for nothing", [(0.5, 1), (0.5, 1)], 0, False),
            ("N/(N-1) with room left is safe", [(0.2, 1), (0.3, 1), (0.25, 1)], 1, True),
            ("N/(N-1) without room is not", [(0.7, 2), (0.75, 2)], 1, False),
            ("the last copy is never removed", [(0.5, 2)], 1, False),
        ],
    ),
)
def test_wva_v1_saturation(measured, answer, want):
    assert saturation(measured)[answer] is want


@pytest.mark.parametrize(
    ("batched", "sequences", "inputs", "outputs", "want"),
    table(
        WVA2,
        [
            ("k2 with max-num-seqs binding", 4096, 256, 500, 100, 140800),
            ("k2 with long outputs", 8192, 64, 100, 200, 12800),
        ],
    ),
)
def test_wva_v2_compute_bound_tokens(batched, sequences, inputs, outputs, want):
    assert compute_bound_tokens(batched, sequences, inputs, outputs) == want


def test_wva_v2_is_steady_between_its_two_shares():
    """llm-d wva saturation_v2: 10,000 tokens on one copy of 12,800 are neither too many nor too few."""
    assert required_and_spare(10000, 12800, ready=1, starting=0) == (0, 0)


@pytest.mark.parametrize(
    ("queued_bytes", "hit_rate", "want"),
    table(
        WVA2,
        [
            ("queue by input tokens, half of them cached", 4000, 0.5, 6000),
            ("queue by bytes, if that is more", 20000, 0.0, 10500),
        ],
    ),
)
def test_wva_v2_adds_the_schedulers_queue(queued_bytes, hit_rate, want):
    assert 5000 + queued_tokens(10, queued_bytes, 100, 50, hit_rate=hit_rate) == want


# ---------------------------------------------------------------- KEDA: scale_jobs_test.go


@pytest.mark.parametrize(
    ("most", "running", "pending", "max_jobs", "want"),
    table(
        "keda scale_jobs_test.go accurate",
        [
            ("below the limit", 3, 2, 0, 5, 3),
            ("cut at the limit", 5, 2, 0, 5, 3),
            ("pending jobs are taken off", 3, 4, 2, 10, 1),
            ("cut at the limit with pending jobs", 5, 4, 2, 5, 1),
            ("many running and pending", 20, 15, 10, 20, 5),
        ],
    ),
)
def test_keda_accurate_jobs(most, running, pending, max_jobs, want):
    assert accurate_job_count(most, running, pending, max_jobs=max_jobs) == want


@pytest.mark.parametrize(
    ("most", "running", "pending", "max_jobs", "want"),
    table(
        "keda scale_jobs_test.go eager",
        [
            ("running jobs leave room", 4, 3, 0, 10, 4),
            ("pending jobs leave room", 4, 0, 3, 10, 4),
            ("running jobs take the room", 4, 7, 0, 10, 3),
            ("running and pending take the room", 4, 1, 6, 10, 3),
            ("never more than the limit", 15, 0, 0, 10, 10),
        ],
    ),
)
def test_keda_eager_jobs(most, running, pending, max_jobs, want):
    assert eager_job_count(most, running, pending, max_jobs=max_jobs) == want


# ---------------------------------------------------------------- AWS: AAS user guide, step scaling

OUT = StepTable((StepRow(0, 20, 1), StepRow(20, None, 2)))
IN = StepTable((StepRow(-20, 0, -1), StepRow(None, -20, -2)))
PERCENT = Adjustment.PERCENT


@pytest.mark.parametrize(
    ("steps", "current", "metric", "threshold", "more", "want"),
    table(
        "aws application-auto-scaling user guide, step scaling",
        [
            ("a small breach takes the first row", OUT, 1, 25, 20, {}, 2),
            ("a breach at the second row's lower bound takes the second", OUT, 1, 40, 20, {}, 3),
            ("the lower bound is inclusive above the threshold", OUT, 1, 20, 20, {}, 2),
            ("below the threshold the first row removes one", IN, 5, 9, 10, {"above": False}, 4),
            (
                "after +2 a +3 row adds only one more",
                StepTable((StepRow(0, None, 3),)),
                12,
                99,
                20,
                {"already_added": 2},
                13,
            ),
            (
                "25 % of 4 with MinAdjustmentMagnitude 2 adds 2",
                StepTable((StepRow(0, None, 25),), PERCENT, 2),
                4,
                99,
                20,
                {},
                6,
            ),
            ("200 % of 10 adds 20", StepTable((StepRow(0, None, 200),), PERCENT), 10, 99, 20, {}, 30),
        ],
    ),
)
def test_aws_step_scaling(steps, current, metric, threshold, more, want):
    assert steps.stepped(current, metric, threshold, **more) == want


@pytest.mark.parametrize(
    ("current", "percent", "want"),
    table(
        "aws step scaling, rounding of a percentage",
        [
            ("12.7 becomes 12", 127, 10, 139),
            ("0.67 becomes 1", 67, 1, 68),
            ("-0.58 becomes -1", 58, -1, 57),
            ("-6.67 becomes -6", 667, -1, 661),
        ],
    ),
)
def test_aws_step_scaling_rounds_a_percentage_toward_zero_but_to_at_least_one(current, percent, want):
    steps = StepTable((StepRow(0, None, percent),), PERCENT)
    assert steps.stepped(current, 99, 20) == want


# ---------------------------------------------------------------- SkyServe, Cortex


def test_skyserve_divides_the_window_s_request_rate_by_the_rate_per_copy():
    """skypilot sky/serve/autoscalers.py: 600 requests in 60 s at 2 per second and copy are 5 copies."""
    assert copies_for_requests(600, 2, min_copies=1, max_copies=10) == 5


def test_skyserve_covers_spot_that_is_not_ready_with_on_demand():
    """skypilot sky/serve/autoscalers.py, dynamic fallback: 2 spot launched, none ready, so 2 on demand."""
    assert spot_and_on_demand(2, 0, dynamic=True, spot=2, ready_spot=0, on_demand=0) == (0, 2)


CORTEX = "cortex autoscaler_test.go"
BOUNDS = {"min_copies": 1, "max_copies": 5}


@pytest.mark.parametrize(
    ("average", "current", "want"),
    table(CORTEX, [("in by at most half", 2, 5, 3), ("out by at least one", 3, 1, 2)]),
)
def test_cortex_limits_the_step(average, current, want):
    # Cortex's own test uses a factor of 0.5 on the way in; its default is 0.75.
    assert recommended(average, current, 1, max_down_factor=0.5, **BOUNDS) == want


def test_cortex_holds_a_scale_out_to_the_least_of_its_window():
    """cortex autoscaler_test.go, upscale stabilization: 2 was recommended within the window, so 3 waits."""
    count = recommended(5, 2, 1, **BOUNDS)
    assert count == 3
    assert cortex_stabilized(count, 2, ceiling=2) == 2
