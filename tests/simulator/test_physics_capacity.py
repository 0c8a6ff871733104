"""The service law against measurements on SageMaker, and the closed-form capacity against the engine."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simulator.clock import EPOCH_S
from simulator.physics.fleet import CopyFleet
from simulator.physics.profiles import PROFILES, L, M, S, ServiceProfile, cstar, profile_named
from simulator.physics.requests import ClosedLoop, OpenArrivals, Status

# Qwen3-32B, multi-turn chat, 522 to 537 tokens in and 556 to 600 out, vLLM on SageMaker real-time endpoints
# (aws-samples/sagemaker-genai-hosting-examples@80ee5eb, 07-benchmark, results "vanilla"): fitted step time a + b n,
# and what was measured at 1 and at 32 concurrent requests. Three rotating prompts: prefill is nearly all cached.
# instance, a ms, b ms, measured ITL at 1 and 32 (ms), measured tokens/s at 32
MULTITURN = [
    ("ml.g5.12xlarge", 44.57, 0.954, 43.9, 73.9, 431),
    ("ml.g6e.12xlarge", 27.35, 0.655, 26.8, 47.9, 666),
    ("ml.g7e.2xlarge", 46.81, 0.399, 47.6, 60.3, 530),
]


def closed_loop_run(profile, clients, tokens_in, tokens_out, rounds=3):
    """Inter-token latency and tokens per second of one copy with so many clients."""
    length_s = rounds * (tokens_out * profile.step_s(clients) + clients * profile.prefill_s(tokens_in))
    loop = ClosedLoop((clients,), step_s=length_s, input_tokens=tokens_in, output_tokens=tokens_out)
    fleet = CopyFleet(profile, loop, client_timeout_s=None)
    fleet.add_copy("copy", EPOCH_S)
    window = fleet.take_window(EPOCH_S + length_s)
    log = fleet.log
    served = log.status == Status.SERVED
    itl_s = (log.e2e_s - log.ttft_s)[served] / (tokens_out - 1)
    return itl_s.mean(), window.tokens_out / length_s


@pytest.mark.parametrize(("instance", "a_ms", "b_ms", "itl_1", "itl_32", "tokens_per_s_32"), MULTITURN)
def test_closed_loop_latency_is_within_six_percent_of_sagemaker(instance, a_ms, b_ms, itl_1, itl_32, tokens_per_s_32):
    cached = dataclasses.replace(M, a_s=a_ms / 1000, b_s=b_ms / 1000, prefill_base_s=0.0, prefill_s_per_token=0.0)
    alone_s, _ = closed_loop_run(cached, 1, 522, 600)
    full_s, tokens_per_s = closed_loop_run(cached, 32, 522, 600)
    assert alone_s * 1000 == pytest.approx(itl_1, rel=0.06)
    assert full_s * 1000 == pytest.approx(itl_32, rel=0.06)
    assert tokens_per_s == pytest.approx(tokens_per_s_32, rel=0.06)


@pytest.mark.parametrize(
    ("profile", "itl_1", "itl_32"),
    [(M, 43.9, 73.9), (S, 20.5, 24.4)],  # the report's Qwen3-32B @ ml.g5.12xlarge and Qwen3-14B @ ml.g7e.2xlarge
    ids=["M", "S"],
)
def test_built_in_profiles_reproduce_the_measurement_they_are_named_after(profile, itl_1, itl_32):
    cached = dataclasses.replace(profile, prefill_base_s=0.0, prefill_s_per_token=0.0)
    assert closed_loop_run(cached, 1, 522, 600)[0] * 1000 == pytest.approx(itl_1, rel=0.06)
    assert closed_loop_run(cached, 32, 522, 600)[0] * 1000 == pytest.approx(itl_32, rel=0.06)


def open_loop_tpot_s(profile, load, tokens_in=1155, tokens_out=211, copies=20, requests=5000):
    """Mean time per output token on 20 copies at `load` times the closed-form capacity."""
    rate = load * copies / profile.work_copy_s(tokens_in, tokens_out)
    times = EPOCH_S + np.cumsum(np.random.default_rng(3).exponential(1 / rate, requests))
    fleet = CopyFleet(
        profile,
        OpenArrivals(times, np.full(requests, tokens_in), np.full(requests, tokens_out)),
        client_timeout_s=None,
    )
    for k in range(copies):
        fleet.add_copy(f"copy-{k:02d}", EPOCH_S)
    fleet.advance(times[-1])
    log = fleet.log
    settled = (log.status == Status.SERVED) & (log.arrival_s > EPOCH_S + 60)
    return ((log.e2e_s - log.ttft_s)[settled] / (tokens_out - 1)).mean()


@pytest.mark.parametrize("profile", [S, M, L], ids=["S", "M", "L"])
def test_at_the_closed_form_capacity_the_engine_just_keeps_the_slo(profile):
    # not exactly: arrivals are bursty, and prefills that fall into a request's own wait do not stretch its tokens
    assert open_loop_tpot_s(profile, 0.85) < profile.itl_slo_s < open_loop_tpot_s(profile, 1.2)
    assert open_loop_tpot_s(profile, 1.0) == pytest.approx(profile.itl_slo_s, rel=0.10)


# profile, in, out, sequences: (SLO - a) / (b + prefill / out), clipped
@pytest.mark.parametrize(
    ("profile", "mean_in", "mean_out", "want"),
    [
        (M, 1155, 211, (0.080 - 0.0436) / (0.00095 + (0.020 + 0.00064 * 1155) / 211)),
        (S, 512, 128, (0.040 - 0.0204) / (0.000125 + (0.010 + 0.00015 * 512) / 128)),
        (S, 10, 4000, 128.0),  # long answers: max_sequences binds
        (M, 100_000, 2, 1.0),  # long prompts: one is the least that a copy can hold
    ],
)
def test_cstar(profile, mean_in, mean_out, want):
    assert cstar(profile, mean_in, mean_out) == pytest.approx(want)


@pytest.mark.parametrize("profile", [S, M, L], ids=["S", "M", "L"])
def test_cstar_is_the_load_at_which_work_fills_one_copy(profile):
    # n sequences decode at the SLO's pace: n / (out x SLO) requests per second, each work_copy_s of work
    n = cstar(profile, 1155, 211)
    assert n / (211 * profile.itl_slo_s) * profile.work_copy_s(1155, 211) == pytest.approx(1.0)


def test_work_never_falls_below_the_share_of_the_sequences_that_a_request_holds():
    image = PROFILES["image"]
    assert image.work_copy_s(0, 30) == pytest.approx(30 * image.itl_slo_s)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"itl_slo_s": 0.04}, "above a_s"),
        ({"a_s": 0.0}, "above 0"),
        ({"b_s": -0.1}, "negative"),
        ({"max_sequences": 0}, "at least 1"),
        ({"accelerators_per_copy": 5}, "ml.g5.12xlarge has 4"),
    ],
)
def test_a_profile_that_could_never_serve_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(M, **change)


def test_copies_share_an_instance_by_accelerators():
    half = dataclasses.replace(M, accelerators_per_copy=2)
    assert (half.copies_per_instance, half.copy_usd_per_hour) == (2, M.instance_usd_per_hour / 2)
    assert isinstance(profile_named("M"), ServiceProfile)
    with pytest.raises(ValueError, match="choose one of L, M, S, image"):
        profile_named("XL")
