"""What one copy of a model can do: the linear law of continuous batching, with measured constants.

One decode step of a copy with n running sequences takes `a_s + b_s * n` and gives each of them one token; the prompt of
a request occupies the copy for `prefill_base_s + prefill_s_per_token * input_tokens`, during which nobody decodes.
The law fits SageMaker real-time endpoints with R² 0.94-0.99 (aws-samples/sagemaker-genai-hosting-examples@80ee5eb,
07-benchmark: vLLM container, concurrency 1 to 32). The same law elsewhere: llm-d's workload-variant autoscaler
(`ITL = alpha + beta * batch`) and BLIS, the inference-sim project.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceProfile:
    """Service law, SLO and cost of one model on one instance type. Seconds, tokens, USD.

    Raises ValueError for constants with which no copy could ever keep its own SLO.
    """

    name: str
    a_s: float
    """Decode step time that does not depend on the batch, > 0."""
    b_s: float
    """Decode step time that each running sequence adds, >= 0."""
    prefill_base_s: float
    """Prefill time of an empty prompt, >= 0."""
    prefill_s_per_token: float
    """Prefill time per input token, >= 0. The least certain constant: vary it by ±50 %."""
    max_sequences: int
    """Most sequences that one copy runs at once (vLLM's max_num_seqs, or what the KV cache holds)."""
    itl_slo_s: float
    """Inter-token latency that users are promised, > a_s."""
    instance_type: str
    instance_usd_per_hour: float
    accelerators_per_copy: int = 1
    accelerators_per_instance: int = 1

    def __post_init__(self) -> None:
        if not self.itl_slo_s > self.a_s > 0:
            raise ValueError(
                f"profile {self.name}: itl_slo_s ({self.itl_slo_s}) must be above a_s ({self.a_s}), and a_s above 0"
            )
        if min(self.b_s, self.prefill_base_s, self.prefill_s_per_token) < 0:
            raise ValueError(f"profile {self.name}: b_s and the prefill constants must not be negative")
        if self.max_sequences < 1:
            raise ValueError(f"profile {self.name}: max_sequences ({self.max_sequences}) must be at least 1")
        if not 1 <= self.accelerators_per_copy <= self.accelerators_per_instance:
            raise ValueError(
                f"profile {self.name}: a copy needs {self.accelerators_per_copy} accelerators, "
                f"{self.instance_type} has {self.accelerators_per_instance}; give the copy 1 to that many"
            )

    @property
    def copies_per_instance(self) -> int:
        """How many copies one instance holds, by its accelerators."""
        return self.accelerators_per_instance // self.accelerators_per_copy

    @property
    def copy_usd_per_hour(self) -> float:
        """Price of one copy-hour on full instances."""
        return self.instance_usd_per_hour / self.copies_per_instance

    def step_s(self, running: int) -> float:
        """Duration of one decode step with `running` sequences."""
        return self.a_s + self.b_s * running

    def prefill_s(self, input_tokens: float) -> float:
        """How long a prompt of `input_tokens` occupies the copy."""
        return self.prefill_base_s + self.prefill_s_per_token * input_tokens

    def work_copy_s(self, input_tokens: float, output_tokens: float) -> float:
        """Copy-seconds that one request needs if every copy just keeps the inter-token SLO.

        From TPOT = (a + b n) / (1 - prefill share) <= SLO; at least the share of `max_sequences` that it holds.
        """
        slo_s = self.itl_slo_s
        by_step_time = slo_s * (self.b_s * output_tokens + self.prefill_s(input_tokens)) / (slo_s - self.a_s)
        return max(by_step_time, output_tokens * slo_s / self.max_sequences)


def cstar(profile: ServiceProfile, mean_in: float, mean_out: float) -> float:
    """Sequences per copy at which the mean time per output token equals the inter-token SLO ("C*").

    `mean_in`, `mean_out`: mean input and output tokens of a request, `mean_out` >= 1. Between 1 and `max_sequences`.
    Solves `a + b n + n f / mean_out = SLO`, where each of the n sequences brings one prefill of f seconds per
    `mean_out` tokens. Example: profile M with 1155 tokens in and 211 out: 8.0.
    """
    if mean_out < 1:
        raise ValueError(f"mean_out ({mean_out}) must be at least 1 token")
    per_sequence_s = profile.b_s + profile.prefill_s(mean_in) / mean_out
    slack_s = profile.itl_slo_s - profile.a_s
    if per_sequence_s * profile.max_sequences <= slack_s:
        return float(profile.max_sequences)
    return max(1.0, slack_s / per_sequence_s)


S = ServiceProfile(
    name="S",
    a_s=0.0204,
    b_s=0.000125,
    prefill_base_s=0.010,
    prefill_s_per_token=0.00015,
    max_sequences=128,
    itl_slo_s=0.040,
    instance_type="ml.g7e.2xlarge",
    instance_usd_per_hour=4.20,
)
"""Qwen3-14B on ml.g7e.2xlarge. Decode law and price: the aws-samples report (ITL 20.5 ms alone, 24.4 ms at 32).
Prefill: estimated from parameters and FLOPS at 0.4-0.6 utilisation."""

M = ServiceProfile(
    name="M",
    a_s=0.0436,
    b_s=0.00095,
    prefill_base_s=0.020,
    prefill_s_per_token=0.00064,
    max_sequences=64,
    itl_slo_s=0.080,
    instance_type="ml.g5.12xlarge",
    instance_usd_per_hour=7.09,
    accelerators_per_copy=4,
    accelerators_per_instance=4,
)
"""Qwen3-32B on ml.g5.12xlarge, tensor-parallel over its 4 A10G. Decode law and price: the aws-samples report
(ITL 43.9 ms alone, 73.9 ms at 32). Prefill: estimated as for S."""

L = ServiceProfile(
    name="L",
    a_s=0.0435,
    b_s=0.00041,
    prefill_base_s=0.020,
    prefill_s_per_token=0.000185,
    max_sequences=128,
    itl_slo_s=0.080,
    instance_type="ml.p4de.24xlarge",
    instance_usd_per_hour=31.56,
    accelerators_per_copy=8,
    accelerators_per_instance=8,
)
"""A 70B-class model on 8 A100: Llama-2-70B, 43.5 + 0.41 n ms and 0.1845 ms per prompt token (SageServe's measured
profiles, shashwatj07/SageServe@0b95ca2). The price is from memory; no ratio to an optimum depends on it."""

IMAGE = ServiceProfile(
    name="image",
    a_s=0.40,
    b_s=0.0,
    prefill_base_s=1.0,
    prefill_s_per_token=0.0,
    max_sequences=1,
    itl_slo_s=0.50,
    instance_type="ml.g5.2xlarge",
    instance_usd_per_hour=1.52,
)
"""An image model: one request at a time, an output "token" is one denoising step. Estimate, not a measurement on
SageMaker: SDXL took 15.6 s for 35 steps on RTX 3090/4090-class cards (Salad's public SDXL benchmark, 2023)."""

PROFILES: dict[str, ServiceProfile] = {profile.name: profile for profile in (S, M, L, IMAGE)}
"""Every built-in profile by name."""


def profile_named(name: str) -> ServiceProfile:
    """The built-in profile called `name`; ValueError names the choices."""
    try:
        return PROFILES[name]
    except KeyError:
        raise ValueError(
            f"no service profile is called {name!r}; choose one of {', '.join(sorted(PROFILES))}"
        ) from None
