"""What one ML instance offers: accelerators, vCPUs and memory of the types that serve generative models.

Figures are AWS's published instance sizes (EC2 instance type pages; the `ml.` prefix does not change them). SageMaker
keeps some memory and cores for itself; how much is not documented, so packing on memory is checked again by looking at
what was really placed. A type that is not listed is not known: then copies per instance are taken from what runs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InstanceCapacity:
    """Resources of one instance."""

    accelerators: float
    cpu_cores: float
    memory_mb: int


def capacity_of(instance_type: str | None) -> InstanceCapacity | None:
    """Capacity of an instance type such as `ml.g5.12xlarge`; None if it is not known."""
    row = _TYPES.get(instance_type or "")
    return InstanceCapacity(row[0], row[1], row[2] * 1024) if row else None


# type: (accelerators, vCPUs, memory GiB)
_TYPES: dict[str, tuple[int, int, int]] = {
    "ml.g4dn.xlarge": (1, 4, 16),
    "ml.g4dn.2xlarge": (1, 8, 32),
    "ml.g4dn.4xlarge": (1, 16, 64),
    "ml.g4dn.8xlarge": (1, 32, 128),
    "ml.g4dn.12xlarge": (4, 48, 192),
    "ml.g4dn.16xlarge": (1, 64, 256),
    "ml.g5.xlarge": (1, 4, 16),
    "ml.g5.2xlarge": (1, 8, 32),
    "ml.g5.4xlarge": (1, 16, 64),
    "ml.g5.8xlarge": (1, 32, 128),
    "ml.g5.12xlarge": (4, 48, 192),
    "ml.g5.16xlarge": (1, 64, 256),
    "ml.g5.24xlarge": (4, 96, 384),
    "ml.g5.48xlarge": (8, 192, 768),
    "ml.g6.xlarge": (1, 4, 16),
    "ml.g6.2xlarge": (1, 8, 32),
    "ml.g6.4xlarge": (1, 16, 64),
    "ml.g6.8xlarge": (1, 32, 128),
    "ml.g6.12xlarge": (4, 48, 192),
    "ml.g6.16xlarge": (1, 64, 256),
    "ml.g6.24xlarge": (4, 96, 384),
    "ml.g6.48xlarge": (8, 192, 768),
    "ml.g6e.xlarge": (1, 4, 32),
    "ml.g6e.2xlarge": (1, 8, 64),
    "ml.g6e.4xlarge": (1, 16, 128),
    "ml.g6e.8xlarge": (1, 32, 256),
    "ml.g6e.12xlarge": (4, 48, 384),
    "ml.g6e.16xlarge": (1, 64, 512),
    "ml.g6e.24xlarge": (4, 96, 768),
    "ml.g6e.48xlarge": (8, 192, 1536),
    "ml.g7e.2xlarge": (1, 8, 64),
    "ml.p4d.24xlarge": (8, 96, 1152),
    "ml.p4de.24xlarge": (8, 96, 1152),
    "ml.p5.4xlarge": (1, 16, 256),
    "ml.p5.48xlarge": (8, 192, 2048),
    "ml.p5e.48xlarge": (8, 192, 2048),
    "ml.p5en.48xlarge": (8, 192, 2048),
    "ml.inf2.xlarge": (1, 4, 16),
    "ml.inf2.8xlarge": (1, 32, 128),
    "ml.inf2.24xlarge": (6, 96, 384),
    "ml.inf2.48xlarge": (12, 192, 768),
}
