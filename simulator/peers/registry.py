"""Every peer by name: what it is, with which defaults, where they come from, and how to make one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator.peers.aas_step import SAMPLE_SHAPE, AasStepScaling
from simulator.peers.aas_target_tracking import AasTargetTracking
from simulator.peers.aibrix import AibrixApa
from simulator.peers.anchors import PlannedCopies, StaticCopies
from simulator.peers.cortex import Cortex
from simulator.peers.dynamo import DynamoLoadLoop
from simulator.peers.hpa import KubernetesHpa
from simulator.peers.keda import Keda
from simulator.peers.knative import KnativeKpa
from simulator.peers.ray_serve import RayServe
from simulator.peers.skyserve import LOOK_AT_ZERO_S, SkyServe
from simulator.peers.view import SAGEMAKER_PERIOD_S, SAGEMAKER_SENSING, Peer
from simulator.peers.wva import WvaV1, WvaV2

SENSINGS = ("native", "sagemaker")
WAKE_PERIOD_S = 2.0
"""Stands in for llm-d's 100-millisecond poll while a component may be at zero."""


@dataclass(frozen=True, slots=True)
class PeerDescription:
    """One peer for lists and reports."""

    rule: str
    period_s: float
    """How often it looks by default, with its own sensing and at least one copy."""
    defaults: str
    source: str
    make: Callable[..., Peer] = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    """Constructor options that make this peer of its class."""
    has_knob: bool = True
    """False for anchors: they are not swept over targets per copy."""
    scales_to_zero: bool = True


def make_peer(
    name: str,
    *,
    target_per_copy: float | None = None,
    min_copies: int,
    max_copies: int,
    sensing: str = "native",
    **options: Any,
) -> Peer:
    """A fresh peer called `name` (a key of `PEERS`).

    `target_per_copy`: requests in flight that one copy is meant for, the knob times C*; anchors ignore it.
    `sensing` "native": its own cadence and metrics; "sagemaker": it decides every 10 s on 10-second points that come
    10 s late (a rule that is slower by itself stays slower). `options` go to the peer's class, e.g. `base="ready"` of
    `aas-tt-10s`, `copies` of the static anchors, `plan`, `step_s` and `lead_s` of the clairvoyant plan.
    Raises ValueError for an unknown name, sensing or option, and for bounds or targets that make no sense.
    """
    if name not in PEERS:
        raise ValueError(f"peer {name!r} is not known; choose one of {', '.join(PEERS)}")
    if sensing not in SENSINGS:
        raise ValueError(f"sensing {sensing!r} is not known; choose one of {', '.join(SENSINGS)}")
    if not 0 <= min_copies <= max_copies or max_copies < 1:
        raise ValueError(f"min_copies ({min_copies}) and max_copies ({max_copies}) must be 0 <= min <= max, max >= 1")
    about = PEERS[name]
    given = {"name": name, **about.options, **options}
    if about.has_knob:
        if target_per_copy is None:
            raise ValueError(f"peer {name} needs target_per_copy: the knob (0.2 to 0.9) times C*")
        given["target_per_copy"] = target_per_copy
        given = _sensed(name, sensing, min_copies) | given
    known = inspect.signature(about.make).parameters
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"peer {name} has no option {', '.join(unknown)}; it has {', '.join(known)}")
    missing = sorted(k for k, p in known.items() if p.default is p.empty and k not in given)
    if missing:
        raise ValueError(f"peer {name} needs {', '.join(missing)}")
    return about.make(**given)


def _sensed(name: str, sensing: str, min_copies: int) -> dict[str, Any]:
    """Constructor options that follow from the sensing, and from whether the component may be at zero."""
    if name.startswith("aas-"):
        return {}  # AAS has SageMaker's metrics only.
    if sensing == "sagemaker":
        options: dict[str, Any] = {"period_s": SAGEMAKER_PERIOD_S, "sensing": SAGEMAKER_SENSING}
        if name == "keda":
            options["missing_is_idle"] = True  # Its CloudWatch scaler reads no data as 0.
        return options
    if min_copies == 0 and name == "skyserve":
        return {"period_s": LOOK_AT_ZERO_S}
    if min_copies == 0 and name.startswith("wva-"):
        return {"period_s": WAKE_PERIOD_S}
    return {}


PEERS: dict[str, PeerDescription] = {
    "aas-tt-10s": PeerDescription(
        "Application Auto Scaling target tracking on the 10-second metric",
        10.0,
        "out: 3 × 10 s above the target, in: 90 × 10 s below 0.9 × target; cooldowns 300 s; acts again every minute in "
        "ALARM; base count = copies that served at the metric's time (also: ready, desired)",
        "AWS notebook sm-app_autoscaling_realtime_endpoints; AAS user guide; CDK documentation (cooldowns)",
        AasTargetTracking,
    ),
    "aas-tt-60s": PeerDescription(
        "Application Auto Scaling target tracking on the one-minute metric",
        60.0,
        "out: 3 × 60 s, in: 15 × 60 s below 0.9 × target; else as aas-tt-10s",
        "as aas-tt-10s; 3 and 15 periods: AWS documentation of ECS and Aurora, which agree",
        AasTargetTracking,
        {"period_s": 60.0, "in_points": 15},
    ),
    "aas-step-10s": PeerDescription(
        "Application Auto Scaling step scaling with a table for the 10-second metric",
        10.0,
        "out: 3 × 10 s, +1 / +2 / +4 from 1.0 / 1.3 / 1.7 × target; in: 90 × 10 s at 0.6 × target, -1; cooldown 300 s",
        "AAS user guide, step scaling; the table is ours",
        AasStepScaling,
    ),
    "aas-step-sample": PeerDescription(
        "Application Auto Scaling step scaling as in AWS's own sample",
        60.0,
        "3 × 60 s both ways; +1 from 1 × target, +2 from 2 ×; -1 at 0.5 × target; cooldown 300 s",
        "AWS notebook sm-app_autoscaling_realtime_endpoints_step_scaling",
        AasStepScaling,
        {"shape": SAMPLE_SHAPE},
    ),
    "knative-kpa": PeerDescription(
        "Knative's autoscaler: stable and panic window",
        2.0,
        "stable 60 s, panic 6 s at 200 %, up 1000×, down 2×, zero after 60 + 30 s",
        "knative/serving@98e5ef90 pkg/autoscaler/scaling/autoscaler.go, config/core/configmaps/autoscaler.yaml",
        KnativeKpa,
    ),
    "k8s-hpa": PeerDescription(
        "Kubernetes' HPA v2 on a metric per copy",
        15.0,
        "tolerance 0.1; out: max(4, 100 %) / 15 s; in: 300 s window, 100 % / 15 s",
        "kubernetes/kubernetes pkg/controller/podautoscaler, apis/autoscaling/v2/defaults.go",
        KubernetesHpa,
        scales_to_zero=False,
    ),
    "keda": PeerDescription(
        "KEDA: 0 ↔ 1 by activation, HPA on the fleet's total",
        15.0,
        "polling 30 s, cooldown 300 s (to zero only), activation 0; HPA's defaults",
        "kedacore/keda@8b4f083c pkg/scaling/executor/scale_scaledobjects.go",
        Keda,
    ),
    "ray-serve": PeerDescription(
        "Ray Serve's default policy",
        2.0,
        "look-back 30 s, up after 30 s, down after 600 s, metrics pushed every 10 s",
        "ray-project/ray@00590c45 python/ray/serve/autoscaling_policy.py, config.py",
        RayServe,
    ),
    "skyserve": PeerDescription(
        "SkyPilot's SkyServe",
        20.0,
        "window 60 s, up after 300 s, down after 1200 s, from zero at once",
        "skypilot-org/skypilot sky/serve/autoscalers.py, constants.py",
        SkyServe,
    ),
    "aibrix-apa": PeerDescription(
        "AIBrix's APA as it is coded (asked count × mean of the ready, inverted windows)",
        10.0,
        "window 180 s, tolerances 0.1, rates 2× both ways, cooldowns 0 and 300 s",
        "vllm-project/aibrix@e3e10f9e pkg/controller/podautoscaler/{algorithm/apa,context/context}.go; aibrix#2821",
        AibrixApa,
        {"as_coded": True},
        scales_to_zero=False,
    ),
    "aibrix-apa-documented": PeerDescription(
        "AIBrix's APA as it is documented (count and mean over the same copies, windows that hold)",
        10.0,
        "window 180 s, tolerances 0.1 out and 0.2 in, rates 2× both ways, cooldowns 0 and 300 s",
        "AIBrix documentation, autoscaling",
        AibrixApa,
        {"as_coded": False},
        scales_to_zero=False,
    ),
    "wva-v1": PeerDescription(
        "llm-d's workload-variant autoscaler, saturation",
        60.0,
        "KV 0.80, queue 5; spare 0.1 and 3; ±1 per 60 s, nothing while a copy starts",
        "llm-d/llm-d-workload-variant-autoscaler@b08b1c77 internal/saturation/analyzer.go",
        WvaV1,
    ),
    "wva-v2": PeerDescription(
        "llm-d's workload-variant autoscaler, tokens",
        60.0,
        "up at 0.85, down at 0.70 of capacity, as many copies as are missing",
        "llm-d/llm-d-workload-variant-autoscaler@b08b1c77 internal/engines/analyzers/saturation_v2",
        WvaV2,
    ),
    "dynamo-load": PeerDescription(
        "A load loop like NVIDIA Dynamo's planner",
        5.0,
        "±1 per 5 s: up over 1.0, down under 0.6 of capacity; observes only while a copy starts; min 1",
        "ai-dynamo/dynamo components/src/dynamo/planner/core/load_scaling.py, config/defaults.py",
        DynamoLoadLoop,
        scales_to_zero=False,
    ),
    "cortex": PeerDescription(
        "Cortex",
        10.0,
        "window 60 s, tolerance 0.05, factors 1.5 and 0.75, stabilization 60 s and 300 s",
        "cortexlabs/cortex@246ddbec pkg/autoscaler/autoscaler.go, pkg/types/spec/validations.go",
        Cortex,
    ),
    "static": PeerDescription(
        "Always the same count", 60.0, "copies: to be given", "anchor", StaticCopies, has_knob=False
    ),
    "static-peak": PeerDescription(
        "Always the peak of the demand", 60.0, "copies: to be given", "anchor", StaticCopies, has_knob=False
    ),
    "static-mean": PeerDescription(
        "Always the mean of the demand", 60.0, "copies: to be given", "anchor", StaticCopies, has_knob=False
    ),
    "clairvoyant-plan": PeerDescription(
        "A plan made with perfect foresight, executed",
        10.0,
        "plan, step_s, lead_s: to be given; looks every step_s",
        "anchor",
        PlannedCopies,
        has_knob=False,
    ),
}
