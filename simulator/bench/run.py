"""One run of the benchmark: one slice, one policy, one position of its knob."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from simulator.aws.sagemaker_delays import Delays, DelayStream
from simulator.bench.anchors import break_even_copy_s, executable_plan, mean_copies
from simulator.bench.compiled_fleet import CompiledFleet
from simulator.bench.deployed import SLO_TARGETS, TARGET_SHARE, deployed
from simulator.bench.ours import drive_ours
from simulator.bench.peers_drive import drive_peer
from simulator.bench.platform import AAS_RELEASE_S, Platform
from simulator.bench.prepare import Prepared
from simulator.bench.scores import run_figures
from simulator.oracle import PERIOD_S
from simulator.peers.registry import PEERS, make_peer
from simulator.peers.view import SAGEMAKER_SENSING, Sensing

PEER_KNOBS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Target per copy as a share of C*."""
PLAN_FACTORS = (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3)
"""Demand that the clairvoyant plan is made for, as a multiple of what it will be."""
OURS = ("quickstep", "quickstep-managed")
BREAK_EVEN = "oracle-break-even"
ANCHORS = ("clairvoyant-plan", "static-peak", "static-mean", BREAK_EVEN)
AAS = "aas-"
"""How the names of Application Auto Scaling's policies begin."""
SAGEMAKER = "@sagemaker"
"""Ending of a peer's name: the same rule with SageMaker's sensing instead of its own."""


@dataclass(frozen=True, slots=True)
class PlatformOptions:
    """How slow and how unkind the platform is. The defaults are the benchmark's (container caching, as AWS published it)."""

    launch_median_s: float = 258.0
    launch_p95_s: float = 400.0
    warm_copy_median_s: float = 90.0
    publish_delay_s: float = 10.0
    shortage_probability: float = 0.0
    """Chance that one launch meets insufficient capacity and comes two minutes later (the stress option: 0.01)."""
    routing: str = "LEAST_OUTSTANDING_REQUESTS"
    client_timeout_s: float = 60.0
    retry_interval_s: float = 5.0
    one_update_at_a_time: bool = True
    """False = copy counts may be changed while copies load, which SageMaker does not allow."""
    peer_release_s: float = 0.0
    """How long a peer (other than AAS) keeps an empty instance."""

    def delays(self) -> Delays:
        """The emulated account's delays with these constants."""
        copy_s = min(self.warm_copy_median_s, 0.9 * self.launch_median_s)
        return Delays(
            launch_median_s=self.launch_median_s,
            launch_p95_s=self.launch_p95_s,
            instance_share=1 - copy_s / self.launch_median_s,
            warm_copy_median_s=copy_s,
            warm_copy_min_s=copy_s * 60 / 90,
            warm_copy_max_s=copy_s * 150 / 90,
            launch_shortage_probability=self.shortage_probability,
        )

    @classmethod
    def provisioning(cls, median_s: float, **options: Any) -> PlatformOptions:
        """Options for launches of another median, everything else in proportion."""
        usual = cls()
        share = median_s / usual.launch_median_s
        copy_s = min(usual.warm_copy_median_s, usual.warm_copy_median_s * share)
        return cls(median_s, usual.launch_p95_s * share, copy_s, **options)


DEFAULT_OPTIONS = PlatformOptions()


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What to run on a slice. `knob`: peers, share of C*; ours, the SLO dial in percent; the plan, its demand factor."""

    policy: str
    knob: float | None = None
    target_factor: float = 1.0
    """Ours and peers: the target per copy is set wrong by this factor."""
    statistic: str | None = None
    """Average or Maximum, where a policy has the choice (ours and AAS: what their alarms read); None = its default."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Ours: template parameters beside those that follow from the rest."""
    options: PlatformOptions = field(default=DEFAULT_OPTIONS)


def policies() -> tuple[str, ...]:
    """Every policy that can be benchmarked, by name: ours, peers with their own sensing and with SageMaker's, anchors."""
    peers = [name for name, about in PEERS.items() if about.has_knob]
    sensed = [f"{name}{SAGEMAKER}" for name in peers if not name.startswith(AAS)]
    return (*OURS, *peers, *sensed, *ANCHORS)


def knobs_of(policy: str) -> tuple[float | None, ...]:
    """The positions at which a policy is run unless told otherwise. ValueError for an unknown policy."""
    if policy not in policies():
        raise ValueError(f"policy {policy!r} is not known; choose among {', '.join(policies())}")
    if policy in OURS:
        return SLO_TARGETS
    if policy == "clairvoyant-plan":
        return PLAN_FACTORS
    return (None,) if policy in ANCHORS else PEER_KNOBS


def run_one(prepared: Prepared, spec: RunSpec) -> dict[str, Any]:
    """Run `spec` on the slice; result.json's object with `knob`. The same arguments give the same object."""
    about = {
        "policy": spec.policy,
        "trace": prepared.slice.name,
        "scenario": ", ".join([f"profile {prepared.slice.profile}", *deviations(prepared, spec)]),
        "seed": prepared.seed,
        "knob": spec.knob,
    }
    if spec.policy == BREAK_EVEN:
        return about | _break_even(prepared)
    fleet, platform, extra = _carried_out(prepared, spec)
    figures = run_figures(prepared, fleet, platform)
    return about | {name: rounded(value) for name, value in (figures | extra).items()} | {"timeline": []}


def _carried_out(prepared: Prepared, spec: RunSpec) -> tuple[CompiledFleet, Platform, dict[str, Any]]:
    one, options = prepared.slice, spec.options
    if spec.policy in OURS:
        managed = spec.policy.endswith("-managed")
        target = max(1.0, round(TARGET_SHARE * spec.target_factor * prepared.concurrency, 1))
        dial = SLO_TARGETS[1] if spec.knob is None else spec.knob
        what = deployed(
            target,
            min_copies=one.min_copies,
            max_copies=one.max_copies,
            slo_target=dial,
            overrides=_parameters(spec),
        )
        fleet, platform = _platform(prepared, spec, window_s=PERIOD_S, managed=managed, release_s=AAS_RELEASE_S)
        looks = drive_ours(platform, what, prepared.profile, prepared.length_s, publish_delay_s=options.publish_delay_s)
        return fleet, platform, {"target_per_copy": target, "looks": looks}
    name, sensing = spec.policy.removesuffix(SAGEMAKER), "sagemaker" if spec.policy.endswith(SAGEMAKER) else "native"
    if name == "clairvoyant-plan":
        # It knows the future, so it knows how long each launch takes: as long as the bound charges, and nothing locks it.
        options = replace(options, launch_p95_s=options.launch_median_s, one_update_at_a_time=False)
        spec = replace(spec, options=options)
    given, initial = _anchor(prepared, spec) if name in ANCHORS else ({}, None)
    target = None
    if spec.knob is not None and name not in ANCHORS:
        target = spec.knob * spec.target_factor * prepared.concurrency
        given["target_per_copy"] = target
    if spec.statistic is not None and name.startswith(AAS):
        given["statistic"] = spec.statistic
    peer = make_peer(name, min_copies=one.min_copies, max_copies=one.max_copies, sensing=sensing, **given)
    if peer.sensing == SAGEMAKER_SENSING:
        peer.sensing = Sensing(SAGEMAKER_SENSING.point_s, options.publish_delay_s)
    fleet, platform = _platform(
        prepared,
        spec,
        window_s=peer.sensing.point_s,
        managed=True,
        release_s=AAS_RELEASE_S if name.startswith(AAS) else options.peer_release_s,
        copies=initial,
    )
    drive_peer(platform, peer, prepared.length_s)
    return fleet, platform, {} if target is None else {"target_per_copy": target}


def _platform(
    prepared: Prepared,
    spec: RunSpec,
    *,
    window_s: float,
    managed: bool,
    release_s: float,
    copies: int | None = None,
) -> tuple[CompiledFleet, Platform]:
    one, options = prepared.slice, spec.options
    fleet = CompiledFleet(
        prepared.profile,
        prepared.trace,
        options.routing,
        client_timeout_s=options.client_timeout_s,
        retry_interval_s=options.retry_interval_s,
        seed=prepared.seed,
        window_s=window_s,
    )
    first = int(prepared.needed[0]) if copies is None else copies
    platform = Platform(
        fleet,
        DelayStream(options.delays(), prepared.seed),
        copies=max(one.min_copies, min(one.max_copies, first)),
        min_copies=one.min_copies,
        max_copies=one.max_copies,
        copies_per_instance=prepared.profile.copies_per_instance,
        managed=managed,
        release_s=release_s,
        one_update_at_a_time=options.one_update_at_a_time,
        # Where we move the instances ourselves, one stays for a component's first copy.
        min_instances=None if managed else 1,
    )
    return fleet, platform


def _anchor(prepared: Prepared, spec: RunSpec) -> tuple[dict[str, Any], int | None]:
    one = prepared.slice
    if spec.policy == "static-peak":
        copies = min(one.max_copies, int(prepared.needed.max()))
        return {"copies": copies}, copies
    if spec.policy == "static-mean":
        copies = min(one.max_copies, mean_copies(prepared.needed))
        return {"copies": copies}, copies
    # It is carried out on the grid, and SageMaker needs a moment to see that instances are missing.
    lead_s = spec.options.launch_median_s + PERIOD_S
    plan = executable_plan(
        prepared.sharp_demand * (1.0 if spec.knob is None else spec.knob),
        min_copies=one.min_copies,
        max_copies=one.max_copies,
        # Paid for as well: the time in which an instance goes away.
        start_cost_s=lead_s + spec.options.delays().instance_stop_s,
    )
    return {"plan": plan.copies, "step_s": PERIOD_S, "lead_s": lead_s}, int(plan.copies[0])


def _break_even(prepared: Prepared) -> dict[str, Any]:
    """The rule with no delay, on the fluid demand: a cost without requests, so most figures are not known."""
    copy_s = break_even_copy_s(prepared.needed, launch_s=prepared.launch_s)
    price = prepared.profile.copy_usd_per_hour
    return {
        "slo_attainment": 1.0,
        "cost_usd": rounded(copy_s / 3600 * price),
        "oracle_cost_usd": rounded(prepared.oracle_copy_s / 3600 * price),
        "cost_vs_oracle": rounded(copy_s / prepared.oracle_copy_s) if prepared.oracle_copy_s else None,
        "timeline": [],
    }


def _parameters(spec: RunSpec) -> tuple[tuple[str, str], ...]:
    statistic = () if spec.statistic is None else (("ConcurrencyStatistic", spec.statistic),)
    return (*statistic, *spec.parameters)


def deviations(prepared: Prepared, spec: RunSpec) -> list[str]:
    """What differs from the benchmark's defaults, in words."""
    options, usual = spec.options, DEFAULT_OPTIONS
    found = [
        f"{name} {getattr(options, name)}" for name in asdict(usual) if getattr(options, name) != getattr(usual, name)
    ]
    if prepared.slice.prefill_factor != 1.0:
        found.append(f"prefill_factor {prepared.slice.prefill_factor:g}")
    if spec.target_factor != 1.0:
        found.append(f"target_factor {spec.target_factor:g}")
    if spec.statistic is not None:
        found.append(f"statistic {spec.statistic}")
    return [*found, *(f"{name} {value}" for name, value in spec.parameters)]


def rounded(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


__all__ = ["DEFAULT_OPTIONS", "PlatformOptions", "RunSpec", "knobs_of", "policies", "run_one"]
