"""The CloudWatch metrics that SageMaker emits, every 10 s and every 60 s.

`ConcurrentRequestsPerCopy` and `ConcurrentRequestsPerModel` come every 10 s, zeros included, as long as a copy serves;
with 0 copies there is no datapoint. `NoCapacityInvocationFailures` exists only when requests met no copy. Datapoints are
handed over at the end of their period; how late they become visible is CloudWatch's affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from simulator.aws.sagemaker_behaviour import Behaviour, Emission
from simulator.aws.sagemaker_load import LoadMeter, Tally

NAMESPACE = "AWS/SageMaker"
ENDPOINTS_NAMESPACE = "/aws/sagemaker/Endpoints"
PERIOD_S = 10
MINUTE_S = 60


class Publish(Protocol):
    """Takes one datapoint, as a statistic set, of the period that began at `at_s`."""

    def __call__(
        self,
        namespace: str,
        metric: str,
        dimensions: dict[str, str],
        at_s: float,
        *,
        period_s: int,
        minimum: float,
        maximum: float,
        total: float,
        samples: float,
        unit: str,
    ) -> None: ...


@dataclass(slots=True)
class _Minute:
    served_s: float = 0.0
    invocations: int = 0
    invocations_per_copy: float = 0.0
    no_capacity_failures: int = 0
    latency_sum_s: float = 0.0
    latency_count: int = 0

    def add(self, tally: Tally) -> None:
        self.served_s += tally.served_s
        self.invocations += tally.invocations
        self.invocations_per_copy += tally.invocations_per_copy
        self.no_capacity_failures += tally.no_capacity_failures
        self.latency_sum_s += tally.latency_sum_s
        self.latency_count += tally.latency_count


class ResourceMetrics:
    """The series of one component, or of one variant that hosts a single model."""

    def __init__(self, meter: LoadMeter, dimensions: dict[str, str], *, of_component: bool) -> None:
        self.meter = meter
        self._dimensions = dimensions
        self._of_component = of_component
        self._concurrency = "ConcurrentRequestsPerCopy" if of_component else "ConcurrentRequestsPerModel"
        self._per_unit = "InvocationsPerCopy" if of_component else "InvocationsPerInstance"
        self._minute = _Minute()

    def emit(self, now_s: float, publish: Publish, behaviour: Behaviour) -> None:
        """Publish the 10-s period that ends now and, on a full minute, the minute that ends now."""
        tally = self.meter.tally(now_s)
        self._minute.add(tally)
        self._emit_concurrency(tally, now_s - PERIOD_S, publish, behaviour)
        if behaviour.no_capacity_period_s == PERIOD_S:
            self._emit_no_capacity(tally.no_capacity_failures, now_s, PERIOD_S, publish)
        if now_s % MINUTE_S == 0:
            minute, self._minute = self._minute, _Minute()
            if behaviour.no_capacity_period_s == MINUTE_S:
                self._emit_no_capacity(minute.no_capacity_failures, now_s, MINUTE_S, publish)
            self._emit_minute(minute, now_s - MINUTE_S, publish)

    def _emit_concurrency(self, tally: Tally, at_s: float, publish: Publish, behaviour: Behaviour) -> None:
        if not tally.served_s:
            return
        if behaviour.emission is Emission.PER_COPY:
            means = [mean for mean, _ in tally.copies.values()]
            low, high = min(means), max(highest for _, highest in tally.copies.values())
            total, samples = sum(means), len(means)
        else:
            low, high = tally.per_copy_min, tally.per_copy_max
            samples = behaviour.samples_per_period
            total = tally.per_copy_mean * samples
        self._publish(
            publish, self._concurrency, at_s, PERIOD_S, minimum=low, maximum=high, total=total, samples=samples
        )

    def _emit_no_capacity(self, failures: int, now_s: float, period_s: int, publish: Publish) -> None:
        if failures and self._of_component:
            metric = "NoCapacityInvocationFailures"
            self._publish(publish, metric, now_s - period_s, period_s, 1.0, 1.0, float(failures), failures)

    def _emit_minute(self, minute: _Minute, at_s: float, publish: Publish) -> None:
        count = minute.invocations
        if not count and not minute.served_s:
            return
        # One sample of 1 (or 1/copies) per request; a single 0 when there was none.
        one, share = (1.0, minute.invocations_per_copy / count) if count else (0.0, 0.0)
        samples = max(count, 1)
        self._publish(publish, "Invocations", at_s, MINUTE_S, one, one, float(count), samples)
        self._publish(publish, self._per_unit, at_s, MINUTE_S, share, share, minute.invocations_per_copy, samples)
        if minute.latency_count:
            # A window carries sum and count only, so minimum and maximum are the mean.
            total_us = minute.latency_sum_s * 1e6
            mean_us = total_us / minute.latency_count
            self._publish(
                publish,
                "ModelLatency",
                at_s,
                MINUTE_S,
                mean_us,
                mean_us,
                total_us,
                minute.latency_count,
                unit="Microseconds",
            )

    def _publish(
        self,
        publish: Publish,
        metric: str,
        at_s: float,
        period_s: int,
        minimum: float,
        maximum: float,
        total: float,
        samples: float,
        unit: str = "Count",
    ) -> None:
        publish(
            NAMESPACE,
            metric,
            dict(self._dimensions),
            at_s,
            period_s=period_s,
            minimum=minimum,
            maximum=maximum,
            total=total,
            samples=float(samples),
            unit=unit,
        )


def emit_gpu_reservation(
    endpoint: str, variant: str, *, reserved: float, accelerators: int, now_s: float, publish: Publish
) -> None:
    """Publish the percentage of a variant's accelerators that components reserve; nothing without accelerators."""
    if not accelerators:
        return
    percent = 100.0 * reserved / accelerators
    publish(
        ENDPOINTS_NAMESPACE,
        "GPUReservation",
        {"EndpointName": endpoint, "VariantName": variant},
        now_s - MINUTE_S,
        period_s=MINUTE_S,
        minimum=percent,
        maximum=percent,
        total=percent,
        samples=1.0,
        unit="Percent",
    )
