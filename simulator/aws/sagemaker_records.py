"""What exists in the emulated account: endpoints, variants, instances, components, copies. State only, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from simulator.aws.sagemaker_delays import LaunchDraw
from simulator.aws.sagemaker_placement import Requirements
from simulator.clock import Scheduled


class InstanceState(StrEnum):
    WAITING = "waiting"
    """Asked for, but AWS has none: not billed."""
    LAUNCHING = "launching"
    IN_SERVICE = "in_service"
    TERMINATING = "terminating"
    GONE = "gone"


class CopyState(StrEnum):
    LOADING = "loading"
    SERVING = "serving"
    DRAINING = "draining"
    """Gets no new requests, still holds its accelerators."""
    GONE = "gone"


@dataclass(slots=True, eq=False)
class Instance:
    """One instance of a variant, from the request for it until it is gone. Billed in [billed_from_s, ended_s)."""

    instance_id: str
    variant: Variant
    instance_type: str
    draw: LaunchDraw
    requested_s: float
    state: InstanceState = InstanceState.WAITING
    billed_from_s: float | None = None
    in_service_s: float | None = None
    ended_s: float | None = None
    warm: bool = False
    """A copy has served here: further ones load in the time of a warm instance."""
    empty_since_s: float | None = None
    copies: list[Copy] = field(default_factory=list)
    """Everything that holds room here, draining copies too."""
    event: Scheduled | None = None


@dataclass(slots=True, eq=False)
class Copy:
    """One copy of a component on an instance."""

    copy_id: str
    component: Component
    instance: Instance
    need: Requirements
    version: int
    state: CopyState = CopyState.LOADING
    replaces: Copy | None = None
    """Set while managed instance scaling moves a copy: the old one goes when this one serves."""
    event: Scheduled | None = None


@dataclass(slots=True, eq=False)
class Variant:
    """One production variant of a live endpoint. `config` is its entry in the endpoint configuration."""

    endpoint: Endpoint
    name: str
    config: dict[str, Any]
    desired_instances: int
    weight: float
    instances: list[Instance] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    launches: int = 0
    scale_ins: int = 0
    last_release_s: float | None = None
    grow_event: Scheduled | None = None
    release_event: Scheduled | None = None

    @property
    def resource_id(self) -> str:
        """`endpoint/<endpoint>/variant/<variant>`, the name that Application Auto Scaling gives it."""
        return f"endpoint/{self.endpoint.name}/variant/{self.name}"

    @property
    def model_name(self) -> str | None:
        """The one model of a variant that hosts no components."""
        return self.config.get("ModelName")

    @property
    def managed(self) -> dict[str, Any] | None:
        """ManagedInstanceScaling if it is ENABLED."""
        scaling = self.config.get("ManagedInstanceScaling")
        return scaling if scaling and scaling.get("Status") == "ENABLED" else None

    @property
    def instance_types(self) -> list[str]:
        """Types in the order in which they are tried: one, or the instance pools by priority (1 first)."""
        pools = self.config.get("InstancePools")
        if not pools:
            return [self.config["InstanceType"]]
        return [pool["InstanceType"] for pool in sorted(pools, key=lambda pool: pool["Priority"])]

    def in_state(self, *states: InstanceState) -> list[Instance]:
        return [instance for instance in self.instances if instance.state in states]

    @property
    def in_service(self) -> list[Instance]:
        return self.in_state(InstanceState.IN_SERVICE)

    @property
    def coming(self) -> list[Instance]:
        return self.in_state(InstanceState.WAITING, InstanceState.LAUNCHING)


@dataclass(slots=True, eq=False)
class EndpointOperation:
    """The one change that is going on at an endpoint. `kind`: create, capacity, weights, update, managed, release, system,
    rollback or delete."""

    kind: str
    started_s: float
    desired_before: dict[str, int] = field(default_factory=dict)
    launched: list[Instance] = field(default_factory=list)
    not_before_s: float = 0.0
    new_config_name: str | None = None
    new_variants: dict[str, Variant] = field(default_factory=dict)
    """UpdateEndpoint: the new fleet, until traffic moves to it."""
    swapped: bool = False
    events: list[Scheduled] = field(default_factory=list)
    """Everything scheduled for this change; cancelled when it ends."""
    finish: Scheduled | None = None
    failing: bool = False
    """Made to fail: nothing that it asks for arrives."""
    short_of_capacity: bool = False


@dataclass(slots=True, eq=False)
class Endpoint:
    name: str
    arn: str
    config_name: str
    created_s: float
    modified_s: float
    status: str = "Creating"
    failure_reason: str | None = None
    variants: dict[str, Variant] = field(default_factory=dict)
    operation: EndpointOperation | None = None
    last_operation_end_s: float = 0.0
    last_deployment: dict[str, Any] | None = None


@dataclass(slots=True, eq=False)
class ComponentOperation:
    """The one change that is going on at a component. `kind`: create, copies, rolling, rolling_back or delete."""

    kind: str
    started_s: float
    not_before_s: float
    desired_before: int
    finish: Scheduled | None = None
    shortage: Scheduled | None = None
    events: list[Scheduled] = field(default_factory=list)
    failing: bool = False
    """Made to fail: no copy comes or goes until it does."""
    # Only for a rolling update:
    old_version: int = 0
    batch: int = 0
    replaced: int = 0
    wait_s: float = 0.0
    resume_at_s: float = 0.0
    failure_reason: str | None = None


@dataclass(slots=True, eq=False)
class Component:
    """One inference component. `specifications[version]` is what copies of that version were started from."""

    name: str
    arn: str
    endpoint: Endpoint
    variant_name: str
    specifications: list[list[dict[str, Any]]]
    several: bool
    """Created with `Specifications`, one per instance type."""
    desired_copies: int
    created_s: float
    modified_s: float
    version: int = 0
    status: str = "Creating"
    state: str = "CREATE_IN_PROGRESS"
    failure_reason: str | None = None
    copies: list[Copy] = field(default_factory=list)
    operation: ComponentOperation | None = None
    unplaced: int = 0
    """Copies that are wanted now and fit on no instance in service."""
    wants_instances: bool = True
    """Managed instance scaling may add instances for the unplaced copies; off once that was given up."""
    started: int = 0
    warm_loads: int = 0
    orphaned: bool = False
    """Its endpoint was deleted: it stays InService, hosts nothing and blocks its name."""
    frozen_copies: int = 0
    last_deployment: dict[str, Any] | None = None

    @property
    def resource_id(self) -> str:
        return f"inference-component/{self.name}"

    @property
    def variant(self) -> Variant:
        return self.endpoint.variants[self.variant_name]

    @property
    def base(self) -> str | None:
        """The base component of an adapter."""
        return self.specifications[self.version][0].get("BaseInferenceComponentName")

    def specification(self, instance_type: str, version: int | None = None) -> dict[str, Any] | None:
        """What a copy on `instance_type` is started from; None if the component does not run on that type."""
        options = self.specifications[self.version if version is None else version]
        for option in options:
            if option.get("InstanceType", instance_type) == instance_type:
                return option
        return None

    def in_state(self, *states: CopyState, version: int | None = None) -> list[Copy]:
        return [copy for copy in self.copies if copy.state in states and version in (None, copy.version)]

    @property
    def serving(self) -> list[Copy]:
        return self.in_state(CopyState.SERVING)
