"""Readings of SageMaker that no document settles: each is a switch, each runs both ways.

The defaults are the readings with the better evidence; where there is none, the one that a careful client must be able
to live with anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class HardwareShortage(StrEnum):
    """What becomes of a copy-count update when copies fit on no instance and no instance is coming."""

    SETTLE_SHORT = "settle_short"
    """Updating for `hardware_shortage_wait_s`, then InService with fewer copies and a FailureReason. DesiredCopyCount
    stays what was asked, and missing copies are placed as soon as room appears."""
    FAIL = "fail"
    """The same wait, then Failed with a FailureReason; the copies that fit go on serving."""
    ROLL_BACK = "roll_back"
    """The same wait, then InService with the old DesiredCopyCount and a FailureReason."""


class Emission(StrEnum):
    """Who emits the samples of the two concurrency metrics."""

    NORMALISED = "normalised"
    """Total in flight divided by the copies that served at that moment, several samples per period: the reading of
    "normalized by each copy"."""
    PER_COPY = "per_copy"
    """Each copy emits its own number, one sample per copy and period."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The switches of one emulated account."""

    capacity_writes_on_managed_variants: bool = True
    """Is UpdateEndpointWeightsAndCapacities accepted on a variant with ManagedInstanceScaling ENABLED? Unknown."""
    zero_min_instances: bool = True
    """Is MinInstanceCount 0 accepted? In us-east-1 yes, in eu-west-3 no (measured)."""
    zero_instances_of_components: bool = True
    """May UpdateEndpointWeightsAndCapacities set 0 instances on an endpoint that hosts components? The model allows 0."""
    empty_instances_leave_first: bool = False
    """Which instances a smaller instance count takes is not documented: False = any of them, True = empty ones first."""
    several_capacities_per_call: bool = False
    """May one UpdateEndpointWeightsAndCapacities change the instance count of two variants? The text says "one"."""
    component_writes_while_endpoint_updates: bool = True
    """Are copy counts accepted while the endpoint is Updating? No refusal is on record."""
    drain_removed_copies: bool = True
    """Do requests in flight on a removed copy finish? Unknown; False cuts them (streams break)."""
    hardware_shortage: HardwareShortage = HardwareShortage.SETTLE_SHORT
    emission: Emission = Emission.NORMALISED
    samples_per_period: int = 10
    """Samples per 10-s period with NORMALISED emission (the real number is unknown)."""
    no_capacity_period_s: int = 10
    """Resolution of NoCapacityInvocationFailures, 10 or 60 s: undocumented."""

    def __post_init__(self) -> None:
        if self.no_capacity_period_s not in (10, 60):
            raise ValueError(f"no_capacity_period_s is {self.no_capacity_period_s}; use 10 or 60")
        if self.samples_per_period < 1:
            raise ValueError(f"samples_per_period is {self.samples_per_period}; use 1 or more")
