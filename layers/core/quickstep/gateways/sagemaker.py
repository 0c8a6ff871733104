"""Amazon SageMaker's control plane: endpoints, inference components, and the two calls that change capacity.

Answers are read leniently: a field that is missing or that this SDK does not know is `None`, a float stands for an
integer (1.0), an unknown status word means "do not write now". What the dataclasses must know and an answer does not
say is never made up: see `describe_component` and `describe_endpoint`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from quickstep.errors import OutcomeUnknown
from quickstep.gateways.aws import client, write_client
from quickstep.gateways.refusals import translated
from quickstep.model.observation import (
    Component,
    ComponentStatus,
    Endpoint,
    EndpointStatus,
    Requirements,
    Variant,
)

PAGE_SIZE = 100
"""The most that ListInferenceComponents returns at once."""


@dataclass(frozen=True, slots=True)
class ComponentSummary:
    """One line of ListInferenceComponents: enough to see that something changed, not what."""

    name: str
    endpoint: str
    variant: str | None
    status: ComponentStatus
    last_modified_s: float | None


def describe_endpoint(name: str) -> Endpoint:
    """The endpoint called `name`.

    A variant is left out while nothing is known of its instances: before the endpoint is first in service, and always
    for a serverless variant. `Variant.instance_type` is None where DescribeEndpoint does not say, which is whenever
    the variant has no instance pools; `describe_instance_types` knows.
    Raises the errors of `refusals`, `EndpointNotFound` among them.
    """
    with translated(f"describe endpoint {name}"):
        answer = client("sagemaker").describe_endpoint(EndpointName=name)
    parsed = (_variant(row) for row in answer.get("ProductionVariants") or ())
    return Endpoint(
        name=answer.get("EndpointName") or name,
        status=_endpoint_status(answer.get("EndpointStatus")),
        variants=tuple(variant for variant in parsed if variant is not None),
        config_name=answer.get("EndpointConfigName") or None,
        failure_reason=answer.get("FailureReason") or None,
        last_modified_s=seconds(answer.get("LastModifiedTime")),
        arn=answer.get("EndpointArn") or None,
    )


def describe_instance_types(config_name: str) -> Mapping[str, str | None]:
    """Instance type of every variant of an endpoint configuration; None for pools of several types and serverless.

    Configurations are immutable, so an answer stays true as long as the endpoint names the same one.
    """
    with translated(f"describe endpoint configuration {config_name}"):
        answer = client("sagemaker").describe_endpoint_config(EndpointConfigName=config_name)
    return {
        row["VariantName"]: row.get("InstanceType") or _only_pool_type(row)
        for row in answer.get("ProductionVariants") or ()
    }


def describe_component(name: str) -> Component:
    """The inference component called `name`.

    * A status word that this version does not know reads as UPDATING: nothing is written until it is known again.
    * With several specifications (one per instance type) a copy is taken to need the largest of each resource.
    * While CREATING a missing current count is 0, since no copy serves yet. An adapter without counts has 0 of its
      own: it lives in the copies of its base. For anything else a missing count raises `OutcomeUnknown`.
    * `rolling_update` is a suspicion, not proof: no field says that a roll-out is running. It is True while the
      component is UPDATING and has ever been given a rolling deployment policy (`LastDeploymentConfig` stays for good).
      So a mere change of copies may look like one; nothing is lost by it, as SageMaker refuses writes meanwhile.
      A roll-out with no policy cannot be seen at all.
    Raises the errors of `refusals`, `ComponentNotFound` among them.
    """
    with translated(f"describe inference component {name}"):
        answer = client("sagemaker").describe_inference_component(InferenceComponentName=name)
    status = _component_status(answer.get("InferenceComponentStatus"))
    specifications = _specifications(answer)
    base = next((s["BaseInferenceComponentName"] for s in specifications if s.get("BaseInferenceComponentName")), None)
    desired, current = _copies(name, answer.get("RuntimeConfig") or {}, status, is_adapter=base is not None)
    deployment = answer.get("LastDeploymentConfig") or {}
    return Component(
        name=answer.get("InferenceComponentName") or name,
        endpoint=answer.get("EndpointName") or "",
        variant=answer.get("VariantName") or "",
        status=status,
        desired_copies=desired,
        current_copies=current,
        requirements=_requirements(specifications),
        placement=_placement(specifications),
        failure_reason=answer.get("FailureReason") or None,
        rolling_update=status is ComponentStatus.UPDATING and bool(deployment.get("RollingUpdatePolicy")),
        base_component=base,
        arn=answer.get("InferenceComponentArn") or None,
    )


def list_components(endpoint: str) -> tuple[str, ...]:
    """Names of every inference component of `endpoint` in whatever status, sorted: what is being deleted still takes room."""
    return tuple(summary.name for summary in component_summaries(endpoint))


def component_summaries(
    endpoint: str | None = None, *, changed_after_s: float | None = None
) -> tuple[ComponentSummary, ...]:
    """One summary per inference component, sorted by name.

    `endpoint` None lists the whole account and region. `changed_after_s` leaves out what was last modified before it.
    One call per hundred components.
    """
    request: dict[str, Any] = {"MaxResults": PAGE_SIZE, "SortBy": "Name", "SortOrder": "Ascending"}
    if endpoint is not None:
        request["EndpointNameEquals"] = endpoint
    if changed_after_s is not None:
        request["LastModifiedTimeAfter"] = datetime.fromtimestamp(changed_after_s, UTC)
    found: list[ComponentSummary] = []
    with translated(f"list the inference components of {endpoint or 'the account'}"):
        while True:
            page = client("sagemaker").list_inference_components(**request)
            found.extend(_summary(row) for row in page.get("InferenceComponents") or ())
            if not page.get("NextToken"):
                break
            request["NextToken"] = page["NextToken"]
    return tuple(sorted(found, key=lambda summary: summary.name))


def set_copies(component: str, copies: int) -> None:
    """Ask for `copies` copies of `component`: one attempt. Returning means accepted, not carried out.

    Raises `ComponentUpdating`, `ComponentNotFound`, `QuotaExceeded`, `NotEnoughHardware`, `Throttled`, `AccessDenied`,
    `OutcomeUnknown` or `Rejected`.
    """
    with translated(f"set inference component {component} to {copies} copies"):
        write_client("sagemaker").update_inference_component_runtime_config(
            InferenceComponentName=component, DesiredRuntimeConfig={"CopyCount": copies}
        )


def set_instances(endpoint: str, variant: str, instances: int) -> None:
    """Ask for `instances` instances of one variant: one attempt. Returning means accepted, not carried out.

    Weights are left alone. Raises `EndpointUpdating`, `EndpointNotFound`, `QuotaExceeded`, `InsufficientCapacity`,
    `ManagedByEndpoint`, `Throttled`, `AccessDenied`, `OutcomeUnknown` or `Rejected`. How SageMaker words its refusal
    for a variant with managed instance scaling is not documented: there, read `Rejected` as `ManagedByEndpoint`.
    """
    with translated(f"set endpoint {endpoint} variant {variant} to {instances} instances"):
        write_client("sagemaker").update_endpoint_weights_and_capacities(
            EndpointName=endpoint,
            DesiredWeightsAndCapacities=[{"VariantName": variant, "DesiredInstanceCount": instances}],
        )


def seconds(value: Any) -> float | None:
    """Seconds since the epoch of a datetime or a number of seconds; None for anything else."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value) if _is_number(value) else None


# -- endpoints --------------------------------------------------------------------------------------------------------


def _variant(row: Mapping[str, Any]) -> Variant | None:
    pools = row.get("InstancePools") or ()
    current = _count(row.get("CurrentInstanceCount"))
    if current is None and pools:
        counts = [_count(pool.get("CurrentInstanceCount")) for pool in pools]
        current = None if None in counts else sum(c for c in counts if c is not None)
    desired = _count(row.get("DesiredInstanceCount"))
    if current is None or desired is None or row.get("CurrentServerlessConfig"):
        return None
    managed = row.get("ManagedInstanceScaling") or {}
    return Variant(
        name=row["VariantName"],
        instance_type=row.get("InstanceType") or _only_pool_type(row),
        current_instances=current,
        desired_instances=desired,
        managed=managed.get("Status") == "ENABLED",
        managed_min=_count(managed.get("MinInstanceCount")),
        managed_max=_count(managed.get("MaxInstanceCount")),
        statuses=tuple(s["Status"] for s in row.get("VariantStatus") or () if s.get("Status")),
    )


def _only_pool_type(row: Mapping[str, Any]) -> str | None:
    types = {pool["InstanceType"] for pool in row.get("InstancePools") or () if pool.get("InstanceType")}
    return types.pop() if len(types) == 1 else None


def _endpoint_status(word: Any) -> EndpointStatus:
    return EndpointStatus(word) if word in set(EndpointStatus) else EndpointStatus.UNKNOWN


# -- inference components ---------------------------------------------------------------------------------------------


def _summary(row: Mapping[str, Any]) -> ComponentSummary:
    return ComponentSummary(
        name=row["InferenceComponentName"],
        endpoint=row.get("EndpointName") or "",
        variant=row.get("VariantName") or None,
        status=_component_status(row.get("InferenceComponentStatus")),
        last_modified_s=seconds(row.get("LastModifiedTime")),
    )


def _component_status(word: Any) -> ComponentStatus:
    return ComponentStatus(word) if word in set(ComponentStatus) else ComponentStatus.UPDATING


def _specifications(answer: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """`Specification`, or `Specifications` (one per instance type, a newer field), whichever the answer has."""
    several = answer.get("Specifications") or ()
    return tuple(several) or ((answer["Specification"],) if answer.get("Specification") else ())


def _copies(name: str, counts: Mapping[str, Any], status: ComponentStatus, *, is_adapter: bool) -> tuple[int, int]:
    desired, current = _count(counts.get("DesiredCopyCount")), _count(counts.get("CurrentCopyCount"))
    if current is None and (status is ComponentStatus.CREATING or is_adapter):
        current = 0
    if desired is None and is_adapter:
        desired = current
    if desired is None or current is None:
        missing = "DesiredCopyCount" if desired is None else "CurrentCopyCount"
        raise OutcomeUnknown(
            f"describe inference component {name}: the answer has no RuntimeConfig.{missing} (status {status}); "
            "its copies are not known, look again later"
        )
    return desired, current


def _requirements(specifications: tuple[Mapping[str, Any], ...]) -> Requirements | None:
    needs = [s["ComputeResourceRequirements"] for s in specifications if s.get("ComputeResourceRequirements")]
    if not needs:
        return None
    return Requirements(
        accelerators=max(_amount(need.get("NumberOfAcceleratorDevicesRequired")) for need in needs),
        cpu_cores=max(_amount(need.get("NumberOfCpuCoresRequired")) for need in needs),
        memory_mb=math.ceil(max(_amount(need.get("MinMemoryRequiredInMb")) for need in needs)),
    )


def _placement(specifications: tuple[Mapping[str, Any], ...]) -> str:
    """BINPACK only if every specification says so. Where it is not said, SPREAD is the careful reading: more instances."""
    words = {(s.get("SchedulingConfig") or {}).get("PlacementStrategy") for s in specifications}
    return "BINPACK" if words == {"BINPACK"} else "SPREAD"


# -- values -----------------------------------------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any) -> int | None:
    """A count of whole things; 3.0 is 3. None if absent or no count."""
    return int(value) if _is_number(value) and value >= 0 and value == int(value) else None


def _amount(value: Any) -> float:
    """An optional resource: what a specification does not mention, a copy does not reserve."""
    return float(value) if _is_number(value) and value > 0 else 0.0
