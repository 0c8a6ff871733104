"""How long things take in the emulated control plane, drawn from seeded streams.

Each draw has its own stream, named by what is drawn and by its running number: the k-th launch of a variant takes the
same time whatever the policy that asked for it, and a run that launches more does not shift the draws of the others
(common random numbers). Sources: launch to serving 258 s and 525 s without image cache (Qwen3-8B on ml.g6.2xlarge, AWS,
June 2026), 60-150 s for a copy on a warm instance, 34 minutes of insufficient capacity seen by a third party, release of
an empty instance 5-12 minutes. What has no source is marked "assumed".
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import NormalDist

_STANDARD_NORMAL = NormalDist()
_P95_Z = _STANDARD_NORMAL.inv_cdf(0.95)


@dataclass(frozen=True, slots=True)
class Delays:
    """Time constants, in seconds. The defaults are the benchmark's."""

    launch_median_s: float = 258.0
    """From the request for an instance until a first copy on it serves: median of a lognormal distribution."""
    launch_p95_s: float = 400.0
    instance_share: float = 168.0 / 258.0
    """Part of a launch that is the instance; the rest is the first copy on it (median 90 s)."""
    image_cached: bool = True
    """False: no container image cache, launch to serving has median `uncached_median_s` (the copy part grows)."""
    uncached_median_s: float = 525.0
    warm_copy_median_s: float = 90.0
    warm_copy_min_s: float = 60.0
    warm_copy_max_s: float = 150.0
    warm_copy_sigma: float = 0.28
    launch_shortage_probability: float = 0.0
    """Chance that one launch meets insufficient capacity and is retried by SageMaker (the stress option uses 0.01)."""
    launch_shortage_retry_s: float = 120.0
    shortage_give_up_s: float = 2040.0
    """How long SageMaker keeps an update going that finds no capacity (34 min observed)."""
    hardware_shortage_wait_s: float = 180.0
    """How long a component waits for room before its update ends short (assumed)."""
    instant_refusal_s: float = 5.0
    """A copy that fits on no instance of the variant fails "instantly"."""
    endpoint_settle_s: float = 10.0
    """From the last instance in service until the endpoint is InService (assumed)."""
    instance_stop_s: float = 60.0
    """From the end of the last request on an instance until it is gone and no longer billed (assumed)."""
    copy_stop_s: float = 15.0
    """From the end of the last request on a copy until its accelerators are free (assumed)."""
    copy_count_update_min_s: float = 5.0
    """Even a change that changes nothing locks a component this long (assumed)."""
    drain_limit_s: float = 480.0
    """Longest time that a removed copy may finish its requests (stream limit, 8 min)."""
    drain_check_s: float = 5.0
    managed_reaction_s: float = 5.0
    """From "copies do not fit" until SageMaker raises the instance count itself (assumed)."""
    release_delay_s: float = 600.0
    """How long an instance must be empty before managed instance scaling releases it."""
    weights_update_s: float = 20.0
    rollback_s: float = 180.0
    """Time in RollingBack (assumed)."""
    traffic_shift_s: float = 60.0
    """Blue/green: traffic moves to the new fleet (assumed)."""
    crash_replacement_s: float = 60.0
    """From the crash of an instance until SageMaker asks for its replacement (assumed)."""
    delete_endpoint_s: float = 60.0
    delete_component_s: float = 15.0


@dataclass(frozen=True, slots=True)
class LaunchDraw:
    """One launch: seconds until the instance is in service, further seconds until a first copy on it serves."""

    instance_s: float
    copy_s: float


class DelayStream:
    """Draws delays; the same seed, name and number always give the same seconds."""

    def __init__(self, delays: Delays, seed: int) -> None:
        self.delays = delays
        self._seed = seed

    def launch(self, variant: str, number: int) -> LaunchDraw:
        """The `number`-th launch (0, 1, ...) of `variant` (a resource id)."""
        d = self.delays
        stream = self.stream("launch", variant, number)
        sigma = math.log(d.launch_p95_s / d.launch_median_s) / _P95_Z
        total_s = d.launch_median_s * math.exp(sigma * _normal(stream))
        instance_s = total_s * d.instance_share
        if not d.image_cached:
            total_s *= d.uncached_median_s / d.launch_median_s
        retried = stream.random() < d.launch_shortage_probability
        return LaunchDraw(instance_s + (d.launch_shortage_retry_s if retried else 0.0), total_s - instance_s)

    def warm_copy_s(self, component: str, number: int) -> float:
        """The `number`-th copy of `component` that loads on an instance which has hosted copies before."""
        d = self.delays
        drawn_s = d.warm_copy_median_s * math.exp(d.warm_copy_sigma * _normal(self.stream("copy", component, number)))
        return min(max(drawn_s, d.warm_copy_min_s), d.warm_copy_max_s)

    def stream(self, purpose: str, name: str, number: int) -> random.Random:
        """A stream of its own for one thing that happens for the `number`-th time."""
        return random.Random(f"{self._seed}/{purpose}/{name}/{number}")


def _normal(stream: random.Random) -> float:
    # inv_cdf(random()) and not gauss(): one uniform per draw, stable across Python versions.
    return _STANDARD_NORMAL.inv_cdf(min(max(stream.random(), 1e-12), 1 - 1e-12))
