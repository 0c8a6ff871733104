"""Everything that the parts of the emulated SageMaker share: records, clock, settings, quotas, and the two outlets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from simulator.aws import sagemaker_texts as texts
from simulator.aws.sagemaker_behaviour import Behaviour
from simulator.aws.sagemaker_delays import Delays, DelayStream
from simulator.aws.sagemaker_events import EmitEvent
from simulator.aws.sagemaker_faults import Faults
from simulator.aws.sagemaker_instances import InstanceType
from simulator.aws.sagemaker_ledger import Ledger, SupplyPoint
from simulator.aws.sagemaker_load import LoadMeter
from simulator.aws.sagemaker_metrics import Publish, ResourceMetrics
from simulator.aws.sagemaker_records import Component, Endpoint, Instance, InstanceState, Variant
from simulator.clock import RANK_PHYSICS, Scheduled, VirtualClock
from simulator.errors import ServiceError

SNAPSHOTS_KEPT = 64


@dataclass(slots=True)
class World:
    """The state of one emulated account's SageMaker."""

    clock: VirtualClock
    account_id: str
    region: str
    draws: DelayStream
    behaviour: Behaviour
    faults: Faults
    catalogue: Mapping[str, InstanceType]
    publish: Publish
    emit_event: EmitEvent
    take_steps: Callable[[Endpoint], None] = lambda endpoint: None
    """One round in which every part looks at an endpoint and takes its next step; set by the service."""
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    components: dict[str, Component] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    instances: list[Instance] = field(default_factory=list)
    """Every instance that ever was asked for."""
    quotas: dict[str, int] = field(default_factory=dict)
    """Instances "for endpoint usage" by type; a type that is not in it has no limit."""
    foreign_usage: dict[str, int] = field(default_factory=dict)
    """Instances that others in the account use, by type."""
    metrics: dict[str, ResourceMetrics] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    history: dict[str, deque[tuple[float, dict[str, Any]]]] = field(default_factory=dict)
    """By ARN: (since, what Describe answers), the newest last."""
    _unsettled: list[Endpoint] = field(default_factory=list)
    _held: int = 0

    @property
    def now_s(self) -> float:
        return self.clock.now_s

    @property
    def delays(self) -> Delays:
        return self.draws.delays

    def settle(self, endpoint: Endpoint) -> None:
        """Something changed at an endpoint: let every part take its next steps until nothing changes any more.

        Inside a step, or inside `together`, this only makes a note; the endpoint is settled when that is over.
        """
        if endpoint not in self._unsettled:
            self._unsettled.append(endpoint)
        if self._held:
            return
        self._held += 1
        try:
            while self._unsettled:
                self.take_steps(self._unsettled.pop(0))
        finally:
            self._held -= 1

    @contextmanager
    def together(self, endpoint: Endpoint) -> Iterator[None]:
        """Several changes that nobody may look at in between; the endpoint is settled after the last one."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        self.settle(endpoint)

    def after(self, delay_s: float, action: Callable[[], None], label: str) -> Scheduled:
        return self.clock.after(delay_s, action, rank=RANK_PHYSICS, label=label)

    def arn(self, kind: str, name: str) -> str:
        """ARNs carry the name in lower case."""
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{kind}/{name.lower()}"

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint called `name`; ServiceError if there is none."""
        if name not in self.endpoints:
            raise texts.could_not_find("endpoint", self.arn("endpoint", name))
        return self.endpoints[name]

    def component(self, name: str) -> Component:
        """The component called `name`; ServiceError if there is none."""
        if name not in self.components:
            raise texts.could_not_find("inference component", self.arn("inference-component", name))
        return self.components[name]

    def components_of(self, variant: Variant) -> list[Component]:
        """The components on a variant, oldest first; orphans of a deleted endpoint are on none."""
        return [
            component
            for component in self.components.values()
            if component.endpoint is variant.endpoint
            and component.variant_name == variant.name
            and not component.orphaned
        ]

    def type_of(self, name: str) -> InstanceType:
        """The catalogue row of an instance type; ServiceError if the emulator does not know it."""
        if name not in self.catalogue:
            raise texts.refused(
                f"Instance type {name} is not in the emulated account's catalogue; pass it to SageMakerService as an "
                "extra instance type or use one of: " + ", ".join(self.catalogue)
            )
        return self.catalogue[name]

    def meter(self, resource_id: str) -> LoadMeter:
        return self.metrics[resource_id].meter

    def open_meter(self, resource_id: str, dimensions: dict[str, str], *, of_component: bool) -> None:
        """Start counting a resource, unless it is counted already."""
        if resource_id not in self.metrics:
            self.metrics[resource_id] = ResourceMetrics(LoadMeter(self.now_s), dimensions, of_component=of_component)

    def quota_refusal(self, instance_type: str, delta: int) -> ServiceError | None:
        """The refusal of `delta` more instances of a type; None if they are within the quota."""
        limit = self.quotas.get(instance_type)
        used = self.usage(instance_type)
        if delta <= 0 or limit is None or used + delta <= limit:
            return None
        return texts.quota_exceeded(instance_type, limit=limit, used=used, delta=delta)

    def usage(self, instance_type: str) -> int:
        """Instances of a type that count against the quota: all that are asked for and not given back."""
        own = sum(
            1
            for endpoint in self.endpoints.values()
            for variants in (endpoint.variants, endpoint.operation.new_variants if endpoint.operation else {})
            for variant in variants.values()
            for instance in variant.instances
            if instance.instance_type == instance_type
            and instance.state not in (InstanceState.TERMINATING, InstanceState.GONE)
        )
        return own + self.foreign_usage.get(instance_type, 0)

    def note_supply(self, endpoint: Endpoint) -> None:
        """Write down what the endpoint's resources have now."""
        for variant in endpoint.variants.values():
            in_service = len(variant.in_service)
            new = endpoint.operation.new_variants.get(variant.name) if endpoint.operation else None
            held = [*variant.instances, *(new.instances if new else ())]
            billed = sum(1 for instance in held if instance.billed_from_s is not None)
            counts = (variant.desired_instances, in_service, billed)
            single = variant.model_name is not None
            self.ledger.note(
                variant.resource_id,
                SupplyPoint(
                    self.now_s, variant.desired_instances if single else 0, in_service if single else 0, *counts
                ),
            )
            for component in self.components_of(variant):
                self.ledger.note(
                    component.resource_id,
                    SupplyPoint(self.now_s, component.desired_copies, len(component.serving), *counts),
                )

    def remember(self, arn: str, answer: dict[str, Any]) -> None:
        """Keep what Describe answers from now on, for stale reads."""
        kept = self.history.setdefault(arn, deque(maxlen=SNAPSHOTS_KEPT))
        if kept and kept[-1][0] == self.now_s:
            kept.pop()
        if not kept or kept[-1][1] != answer:
            kept.append((self.now_s, answer))

    def recall(self, arn: str, lag_s: float) -> dict[str, Any] | None:
        """What Describe answered `lag_s` ago, or the oldest answer that is kept; None if there is none."""
        kept = self.history.get(arn, ())
        oldest = kept[0][1] if kept else None
        return next((answer for since_s, answer in reversed(kept) if since_s <= self.now_s - lag_s), oldest)
