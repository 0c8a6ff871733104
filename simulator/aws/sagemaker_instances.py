"""Instance types of the emulated account: what one instance offers to copies, and what an hour of it costs.

Accelerators, vCPUs and memory are EC2's published figures of the same type without the `ml.` prefix (a test compares
them with the EC2 catalogue that moto carries). Prices are real-time hosting, US East, on demand; only those measured in
a published SageMaker benchmark report are exact, the others are approximate and say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

SCHEDULABLE_SHARE = 0.9
"""Share of an instance's memory that copies may reserve where nobody has measured it (an assumption)."""


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One type. Memory in MiB, price in US dollars per hour of one instance."""

    name: str
    accelerators: int
    vcpus: int
    memory_mb: int
    usd_per_hour: float
    price_is_approximate: bool = True
    measured_schedulable_mb: int | None = None
    """Memory that copies may reserve, where somebody measured it; None = SCHEDULABLE_SHARE of the whole."""

    @property
    def schedulable_memory_mb(self) -> int:
        """How much memory the copies on one instance may reserve together."""
        if self.measured_schedulable_mb is not None:
            return self.measured_schedulable_mb
        return int(self.memory_mb * SCHEDULABLE_SHARE)


def _catalogue() -> Mapping[str, InstanceType]:
    # name, accelerators, vCPUs, memory GiB, $/h
    approximate = (
        ("ml.g5.xlarge", 1, 4, 16, 1.408),
        ("ml.g5.2xlarge", 1, 8, 32, 1.515),
        ("ml.g5.4xlarge", 1, 16, 64, 2.03),
        ("ml.g5.8xlarge", 1, 32, 128, 3.06),
        ("ml.g5.16xlarge", 1, 64, 256, 5.12),
        ("ml.g5.24xlarge", 4, 96, 384, 10.18),
        ("ml.g5.48xlarge", 8, 192, 768, 20.36),
        ("ml.g6.xlarge", 1, 4, 16, 1.127),
        ("ml.g6.2xlarge", 1, 8, 32, 1.222),
        ("ml.g6.4xlarge", 1, 16, 64, 1.654),
        ("ml.g6.8xlarge", 1, 32, 128, 2.518),
        ("ml.g6.12xlarge", 4, 48, 192, 5.752),
        ("ml.g6.16xlarge", 1, 64, 256, 4.246),
        ("ml.g6.24xlarge", 4, 96, 384, 8.344),
        ("ml.g6.48xlarge", 8, 192, 768, 16.688),
        ("ml.g6e.xlarge", 1, 4, 32, 2.326),
        ("ml.g6e.2xlarge", 1, 8, 64, 2.803),
        ("ml.g6e.4xlarge", 1, 16, 128, 3.755),
        ("ml.g6e.8xlarge", 1, 32, 256, 5.661),
        ("ml.g6e.16xlarge", 1, 64, 512, 9.472),
        ("ml.g6e.24xlarge", 4, 96, 768, 18.832),
        ("ml.g6e.48xlarge", 8, 192, 1536, 37.664),
        ("ml.p4d.24xlarge", 8, 96, 1152, 37.69),
        ("ml.p4de.24xlarge", 8, 96, 1152, 47.11),
        ("ml.p5.4xlarge", 1, 16, 256, 7.91),
        ("ml.p5.48xlarge", 8, 192, 2048, 63.30),
        ("ml.p5e.48xlarge", 8, 192, 2048, 80.0),
        ("ml.p5en.48xlarge", 8, 192, 2048, 83.0),
    )
    # The three whose price a published benchmark report states.
    exact = (
        ("ml.g5.12xlarge", 4, 48, 192, 7.09),
        ("ml.g6e.12xlarge", 4, 48, 384, 13.12),
        ("ml.g7e.2xlarge", 1, 8, 64, 4.20),
    )
    # ml.g5.xlarge: a component that reserves 1,024 MB is accepted and one that reserves 4,096 MB is refused.
    measured = {"ml.g5.xlarge": 3_584}
    rows = [
        InstanceType(name, accelerators, vcpus, gib * 1024, usd, approximately, measured.get(name))
        for group, approximately in ((approximate, True), (exact, False))
        for name, accelerators, vcpus, gib, usd in group
    ]
    return MappingProxyType({row.name: row for row in sorted(rows, key=lambda row: row.name)})


CATALOGUE: Mapping[str, InstanceType] = _catalogue()
