"""A scenario: which endpoint, which components, what the account allows, how slow things are, and what users do.

A scenario is a YAML file; every key has a default, so `{}` is a scenario too. Unknown keys are refused: a misspelt
`max_copys` must not silently mean the default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from simulator.physics.profiles import PROFILES, ServiceProfile, profile_named


class ScenarioError(ValueError):
    """The scenario cannot be used; the message says which key, which value, and what is expected."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EndpointPart(_Part):
    """The endpoint and its one variant."""

    name: str = "llm"
    variant: str = "AllTraffic"
    mode: Literal["fixed", "managed", "variant"] = "fixed"
    """fixed: we move the instances. managed: ManagedInstanceScaling is ENABLED. variant: one model, no components."""
    instance_type: str | None = None
    """None = the profile's own."""
    initial_instances: Annotated[int, Field(ge=0, le=200)] = 1
    managed_min_instances: Annotated[int, Field(ge=0)] = 1
    managed_max_instances: Annotated[int, Field(ge=1)] = 20
    instance_scale_in: Literal["empty_first", "blind"] = "empty_first"
    """Mode fixed: which instance SageMaker takes away is not documented. blind = any, also one with copies on it."""
    release_delay_s: Annotated[float, Field(ge=0)] = 600.0
    routing: Literal["LEAST_OUTSTANDING_REQUESTS", "RANDOM"] = "LEAST_OUTSTANDING_REQUESTS"


class ComponentPart(_Part):
    """The component that Quickstep scales (or, in mode variant, the model of the variant)."""

    name: str = "chat"
    profile: str = "M"
    initial_copies: Annotated[int, Field(ge=1, le=200)] = 1
    """SageMaker refuses to create a component with 0 copies."""
    min_copies: Annotated[int, Field(ge=0)] = 1
    max_copies: Annotated[int, Field(ge=1)] = 20
    target_per_copy: Annotated[float, Field(ge=1)] | None = None
    """None = 0.7 of the concurrency at which the profile just keeps its inter-token SLO, for the traffic's token sizes."""
    placement: Literal["SPREAD", "BINPACK"] = "SPREAD"


class BystanderPart(_Part):
    """Another component on the same variant that nobody scales; it takes room."""

    name: str
    copies: Annotated[int, Field(ge=1)] = 1
    accelerators: Annotated[int, Field(ge=1)] = 1
    memory_mb: Annotated[int, Field(ge=128)] = 1024


class RefusalPart(_Part):
    """A window in which launches of the instance type get nothing."""

    from_s: float = 0.0
    to_s: float
    kind: Literal["silent", "rollback"] = "silent"


class CallPart(_Part):
    """One API call, made by the account's owner before anything else happens."""

    operation: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class AccountPart(_Part):
    """What the account allows, and what is there already."""

    instance_quota: Annotated[int, Field(ge=0)] | None = None
    """Instances of the type, in all; None = no limit."""
    refusals: tuple[RefusalPart, ...] = ()
    application_autoscaling: tuple[CallPart, ...] = ()
    """Calls to Application Auto Scaling: what it scales, or would scale, beside Quickstep."""
    cloudwatch: tuple[CallPart, ...] = ()
    """Calls to CloudWatch: alarms of one's own."""


class DelayPart(_Part):
    """How slow the platform is. Defaults: container caching, as AWS published it."""

    launch_median_s: Annotated[float, Field(gt=0)] = 258.0
    """Ask → first copy serves, on a new instance."""
    launch_p95_s: Annotated[float, Field(gt=0)] = 400.0
    copy_median_s: Annotated[float, Field(gt=0)] = 90.0
    """Ask → serves, on an instance that is there."""
    metric_publish_s: Annotated[float, Field(ge=0)] = 10.0


class TrafficPart(_Part):
    """What users do."""

    trace: str | None = None
    """A trace file, a PATTERN, or generated:<name>; the command line's --trace wins."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    mean_copies: Annotated[float, Field(gt=0)] | None = None
    duration_s: Annotated[float, Field(gt=0)] | None = None
    offset_s: Annotated[float, Field(ge=0)] = 0.0
    client_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    retry_interval_s: Annotated[float, Field(gt=0)] = 5.0


class Scenario(_Part):
    """Everything that a simulation needs beside the stack itself."""

    name: str = "default"
    endpoint: EndpointPart = EndpointPart()
    component: ComponentPart = ComponentPart()
    bystanders: tuple[BystanderPart, ...] = ()
    account: AccountPart = AccountPart()
    delays: DelayPart = DelayPart()
    traffic: TrafficPart = TrafficPart()
    parameters: dict[str, str] = Field(default_factory=dict)
    """Template parameters beside those that follow from the rest, by name."""

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        component = self.component
        if component.min_copies > component.max_copies:
            raise ValueError(
                f"component.min_copies ({component.min_copies}) is above component.max_copies ({component.max_copies}); "
                "lower the one or raise the other"
            )
        if component.profile not in PROFILES:
            raise ValueError(f"component.profile {component.profile!r} is not one of {', '.join(sorted(PROFILES))}")
        if self.endpoint.mode == "variant" and self.bystanders:
            raise ValueError("bystanders are components; an endpoint in mode variant has none")
        return self

    @property
    def profile(self) -> ServiceProfile:
        return profile_named(self.component.profile)

    @property
    def instance_type(self) -> str:
        return self.endpoint.instance_type or self.profile.instance_type


def read_scenario(path: str | Path) -> Scenario:
    """Read a scenario file. Raises ScenarioError for a missing file, bad YAML, and unknown or impossible values."""
    path = Path(path)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScenarioError(f"there is no scenario file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"cannot read scenario {path}: {error}") from error
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ScenarioError(f"{path} holds a {type(document).__name__}; a scenario is a mapping of keys to values")
    try:
        return Scenario(**{"name": path.stem, **document})
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(str(part) for part in found["loc"]) or "scenario"
        got = "" if not found["loc"] else f" (got {found.get('input')!r})"
        raise ScenarioError(f"{path}: {where}: {found['msg'].removeprefix('Value error, ')}{got}") from None
