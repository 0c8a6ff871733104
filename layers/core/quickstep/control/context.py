"""What every operation works with: the stack, its registry, who asks, and the limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from quickstep import clock
from quickstep.control.names import Names
from quickstep.control.refusals import ConcurrentUpdateException, ObjectNotFoundException
from quickstep.errors import LeaseHeld
from quickstep.gateways.registry import Registry
from quickstep.gateways.registry_control import ControlRegistry
from quickstep.gateways.schedules import ScheduleTarget
from quickstep.model.loop import Lease
from quickstep.model.registration import Registration
from quickstep.model.targets import ScalableTarget, TargetId
from quickstep.settings import Settings

HOLD_S = 60.0
"""Longer than a function of the API may run (25 s)."""
LEASE_S = 30.0
TRIES = 20
"""A look holds the write lease for about a second, a change of the API its target for a fraction of one; nothing waits
here, so so many attempts, a few milliseconds each, are all the patience there is."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Quotas of the API: Application Auto Scaling's defaults ("Quotas", user guide); the first is a template parameter."""

    targets_per_dimension: int = 500
    policies_per_target: int = 50
    scheduled_actions_per_target: int = 200
    steps_per_policy: int = 20
    tags_per_target: int = 50


@dataclass(frozen=True)
class ControlContext:
    """One request's surroundings."""

    settings: Settings
    holder: str
    """Who asks: the request id of the invocation."""
    owner: str | None = None
    """The CloudFormation resource that asks: `<stack id>/<logical id>`; None for everybody else."""
    limits: Limits = field(default_factory=Limits)
    registry: Registry = field(init=False)
    records: ControlRegistry = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "registry", Registry(self.settings.table_name))
        object.__setattr__(self, "records", ControlRegistry(self.settings.table_name))

    @classmethod
    def of(cls, settings: Settings, holder: str, *, owner: str | None = None) -> ControlContext:
        """The context of a request to the deployed stack."""
        limits = Limits(targets_per_dimension=settings.scalable_targets_limit)
        return cls(settings, holder, owner, limits)

    @property
    def now_s(self) -> float:
        """Now, to the millisecond, as AWS writes times."""
        return round(clock.now_s(), 3)

    @property
    def names(self) -> Names:
        found = self.settings
        return Names(found.stack_name, found.partition, found.region, found.account_id)

    @property
    def schedule_target(self) -> ScheduleTarget:
        """What the schedules of scheduled actions invoke."""
        found = self.settings
        return ScheduleTarget(
            group=found.schedule_group_name,
            function_arn=found.scheduled_action_function_arn,
            role_arn=found.scheduler_role_arn,
            dead_letter_arn=found.dead_letter_queue_arn,
        )

    @contextmanager
    def changing(self, target_id: TargetId) -> Iterator[None]:
        """Be the only request that changes `target_id`. Raises ConcurrentUpdateException if another one is at it."""
        rid = target_id.resource_id
        for _ in range(TRIES):
            if self.records.hold_target(rid, holder=self.holder, now_s=self.now_s, ttl_s=HOLD_S):
                break
        else:
            raise ConcurrentUpdateException(f"{rid} is being changed by another request; repeat this one in a moment")
        try:
            yield
        finally:
            self.records.let_go_target(rid, holder=self.holder)

    def lease(self, endpoint: str) -> Lease | None:
        """The endpoint's write lease, under which state may be changed; None if a look keeps it. Give it back."""
        for _ in range(TRIES):
            try:
                return self.registry.acquire_lease(endpoint, holder=self.holder, now_s=self.now_s, ttl_s=LEASE_S)
            except LeaseHeld:
                continue
        return None

    def find(self, target_id: TargetId) -> tuple[Registration, ScalableTarget] | None:
        """Registration and target of `target_id`; None if it is not registered."""
        rid = target_id.resource_id
        registration = self.records.registration_record(rid)
        if registration is None:
            return None
        found = self.records.registered_targets([(registration.endpoint, rid)]).get(rid)
        return None if found is None else (registration, found[0])

    def required(self, target_id: TargetId) -> tuple[Registration, ScalableTarget]:
        """Registration and target of `target_id`; raises ObjectNotFoundException if it is not registered."""
        found = self.find(target_id)
        if found is None:
            raise ObjectNotFoundException(
                "No scalable target registered for service namespace: sagemaker, resource ID: "
                f"{target_id.resource_id}, scalable dimension: {target_id.dimension}; register it first"
            )
        return found
