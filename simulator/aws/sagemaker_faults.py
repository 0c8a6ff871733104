"""What can be made to go wrong in the emulated SageMaker: refused calls, missing capacity, updates that fail or hang.

Everything is plain data with a start and an end on the virtual clock, so tests and the chaos engine can plan a whole run
ahead or inject while it goes. Crashes and system updates are actions: methods of `SageMakerService`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import StrEnum

from simulator.errors import ServiceError

ANY = "*"
FOREVER_S = float("inf")


class Ending(StrEnum):
    """How an endpoint update ends that cannot reach its goal."""

    SILENT = "silent"
    """InService at the old count, and no trace of the failure anywhere (observed by a third party)."""
    REASON = "reason"
    """InService at the old count with a FailureReason."""
    ROLL_BACK = "roll_back"
    """RollingBack, then InService at the old count with a FailureReason."""
    PARTIAL = "partial"
    """InService with the instances that could be had; DesiredInstanceCount follows them."""
    ROLLBACK_FAILED = "rollback_failed"
    """UpdateRollbackFailed: only DeleteEndpoint works from here on."""


class ComponentEnding(StrEnum):
    """How a component update ends that was made to fail."""

    SILENT = "silent"
    """InService with the old DesiredCopyCount, no FailureReason."""
    REASON = "reason"
    """InService with the old DesiredCopyCount and a FailureReason."""
    FAILED = "failed"
    """Failed with a FailureReason; copies that serve go on serving."""


@dataclass(slots=True)
class CallFault:
    """An error answer to calls of `operation` (or "*") in [start_s, end_s).

    `applied`: the request takes effect all the same, only the answer is lost. `remaining`: how many calls still meet
    it; None = no limit.
    """

    operation: str = ANY
    start_s: float = 0.0
    end_s: float = FOREVER_S
    code: str = "ThrottlingException"
    message: str = "Rate exceeded"
    status: int = 400
    probability: float = 1.0
    applied: bool = False
    remaining: int | None = None


@dataclass(slots=True)
class Shortage:
    """AWS has only `available` instances of `instance_type` (None = any type) left in [start_s, end_s)."""

    instance_type: str | None = None
    start_s: float = 0.0
    end_s: float = FOREVER_S
    available: int = 0
    ending: Ending = Ending.SILENT
    give_up_after_s: float | None = None
    """How long an update waits for capacity; None = `Delays.shortage_give_up_s`."""


@dataclass(frozen=True, slots=True)
class EndpointFailure:
    """The next update of one endpoint ends `after_s` after it began, as `ending` says."""

    ending: Ending
    after_s: float = 300.0


@dataclass(frozen=True, slots=True)
class ComponentFailure:
    """The next update of one component ends `after_s` after it began, as `ending` says."""

    ending: ComponentEnding
    after_s: float = 120.0


@dataclass(frozen=True, slots=True)
class StaleReads:
    """In [start_s, end_s) Describe calls answer with what was true `lag_s` ago (eventual consistency)."""

    start_s: float
    end_s: float
    lag_s: float


@dataclass(slots=True)
class Faults:
    """All planned faults of one account; empty = nothing goes wrong."""

    calls: list[CallFault] = field(default_factory=list)
    shortages: list[Shortage] = field(default_factory=list)
    stale_reads: list[StaleReads] = field(default_factory=list)
    endpoint_failures: dict[str, EndpointFailure] = field(default_factory=dict)
    """By endpoint name; used up by the next update."""
    component_failures: dict[str, ComponentFailure] = field(default_factory=dict)
    """By component name; used up by the next update."""
    endpoint_holds_s: dict[str, float] = field(default_factory=dict)
    """By endpoint name: no update of it ends before this time (stuck Updating)."""
    component_holds_s: dict[str, float] = field(default_factory=dict)
    """By component name: no update of it ends before this time."""

    def throttle(
        self, operation: str = ANY, *, start_s: float = 0.0, end_s: float = FOREVER_S, probability: float = 1.0
    ) -> None:
        """Answer calls of `operation` with ThrottlingException in [start_s, end_s)."""
        self.calls.append(CallFault(operation, start_s, end_s, probability=probability))

    def met_by(self, operation: str, now_s: float, stream: random.Random) -> CallFault | None:
        """The fault that this call meets, used up by one; None if it goes through."""
        for fault in self.calls:
            if fault.operation not in (ANY, operation) or not fault.start_s <= now_s < fault.end_s:
                continue
            if fault.remaining == 0 or (fault.probability < 1.0 and stream.random() >= fault.probability):
                continue
            if fault.remaining is not None:
                fault.remaining -= 1
            return fault
        return None

    def shortage(self, instance_type: str, now_s: float) -> Shortage | None:
        """The shortage that a launch of `instance_type` meets now."""
        for shortage in self.shortages:
            if shortage.instance_type in (None, instance_type) and shortage.start_s <= now_s < shortage.end_s:
                return shortage
        return None

    def lag_s(self, now_s: float) -> float:
        """How old the answers of Describe calls are now."""
        return max((stale.lag_s for stale in self.stale_reads if stale.start_s <= now_s < stale.end_s), default=0.0)


def answer_of(fault: CallFault) -> ServiceError:
    return ServiceError(fault.code, fault.message, fault.status)
