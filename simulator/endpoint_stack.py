"""A template of endpoints (`examples/endpoints/`), deployed into an emulated account as CloudFormation would.

Resources become calls of boto3 against the account: CreateModel, CreateEndpointConfig, CreateEndpoint and
CreateInferenceComponent with the properties of the template, which CloudFormation names as SageMaker's API does. An update
changes what changed, replaces what cannot be changed in place, and gives away nothing that the template does not state.
Roles and custom resources are left to the caller.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.model import Shape

from simulator.account import EmulatedAccount
from simulator.template import Resource, Stack, TemplateError, load_stack

ORDER = ("Model", "EndpointConfig", "Endpoint", "InferenceComponent")
"""Types in the order in which they need one another; a deletion goes the other way."""
UPDATE_ONLY = {
    "Endpoint": ("RetainAllVariantProperties", "ExcludeRetainedVariantProperties", "RetainDeploymentConfig"),
    "InferenceComponent": ("DeploymentConfig",),
}
"""Properties that say how to update, which a creation has no use for."""
WAIT_S = 10.0
PATIENCE_S = 7200.0


@dataclass(frozen=True)
class EndpointStack:
    """A deployed template of endpoints. `names` are the physical names by logical id."""

    stack: Stack
    names: Mapping[str, str]
    properties: Mapping[str, Mapping[str, Any]]
    """By logical id, with physical names and the types of SageMaker's API."""

    def of_type(self, kind: str) -> list[str]:
        """Logical ids of `Model`, `EndpointConfig`, `Endpoint` or `InferenceComponent`, in template order."""
        return [one.logical_id for one in self.stack.of_type(f"AWS::SageMaker::{kind}")]


def create(
    account: EmulatedAccount, template: Path | str, parameters: Mapping[str, Any], *, stack_name: str = "llm-endpoint"
) -> EndpointStack:
    """Create every SageMaker resource of `template` and wait, on the account's clock, until each is in service.

    The account must be entered. Raises TemplateError as CloudFormation would, botocore's ClientError and
    ParamValidationError as SageMaker would, and TimeoutError for what is not in service after two hours.
    """
    new = _read(account, template, parameters, stack_name)
    client = _client(account)
    for kind in ORDER:
        for logical_id in new.of_type(kind):
            _create_one(account, client, kind, new, logical_id)
    return new


def update(account: EmulatedAccount, before: EndpointStack, template: Path | str, parameters: Mapping[str, Any]):
    """Update the resources of `before` to `template` with `parameters`, and return the EndpointStack of now.

    Models and configurations cannot be changed: a changed one is created beside the old one, which goes at the end, as
    CloudFormation does it. Raises as `create` does.
    """
    new = _read(account, template, parameters, before.stack.name)
    client = _client(account)
    for kind in ORDER:
        for logical_id in new.of_type(kind):
            if logical_id not in before.names:
                _create_one(account, client, kind, new, logical_id)
            elif new.properties[logical_id] != before.properties[logical_id]:
                _update_one(account, client, kind, before, new, logical_id)
    for kind in reversed(ORDER):
        for logical_id in before.of_type(kind):
            if new.names.get(logical_id) != before.names[logical_id]:
                _call(client, f"Delete{kind}", {f"{kind}Name": before.names[logical_id]})
    return new


def in_service(account: EmulatedAccount, kind: str, name: str) -> None:
    """Let time pass until the `Endpoint` or `InferenceComponent` is InService. TimeoutError if it fails or takes hours."""
    client, waited_s = _client(account), 0.0
    while True:
        answer = _call(client, f"Describe{kind}", {f"{kind}Name": name})
        status = answer[f"{kind}Status"]
        if status == "InService":
            return
        if status == "Failed" or waited_s >= PATIENCE_S:
            raise TimeoutError(f"{kind} {name} is {status} after {waited_s:.0f} s: {answer.get('FailureReason', '-')}")
        account.run_for(WAIT_S)
        waited_s += WAIT_S


def _read(
    account: EmulatedAccount, template: Path | str, parameters: Mapping[str, Any], stack_name: str
) -> EndpointStack:
    where = {"region": account.stack.region, "account_id": account.stack.account_id}
    stack = load_stack(template, parameters, stack_name=stack_name, imports=account.stack.exports, **where)
    service = _client(account).meta.service_model
    names: dict[str, str] = {}
    renamed: dict[str, str] = {}
    properties: dict[str, dict[str, Any]] = {}
    for kind in ORDER:
        for one in stack.of_type(f"AWS::SageMaker::{kind}"):
            shape = service.operation_model(f"Create{kind}").input_shape
            used = _renamed(dict(one.properties), renamed)
            known = {**shape.members, **_update_members(service, kind)}
            unknown = sorted(set(used) - set(known))
            if unknown:
                raise TemplateError(f"{one.logical_id}: {kind} has no property {', '.join(unknown)} in SageMaker's API")
            typed = {key: _typed(value, known[key]) for key, value in used.items()}
            names[one.logical_id] = renamed[one.name] = _physical_name(one, kind, typed)
            properties[one.logical_id] = {**typed, f"{kind}Name": names[one.logical_id]}
    return EndpointStack(stack, names, properties)


def _update_members(service: Any, kind: str) -> dict[str, Shape]:
    if kind not in UPDATE_ONLY:
        return {}
    members = service.operation_model(f"Update{kind}").input_shape.members
    return {key: members[key] for key in UPDATE_ONLY[kind]}


def _physical_name(one: Resource, kind: str, properties: Mapping[str, Any]) -> str:
    """The name that the template chose, else one that changes with the properties: CloudFormation draws it afresh."""
    if properties.get(f"{kind}Name"):
        return one.name
    digest = hashlib.sha256(json.dumps(properties, sort_keys=True).encode()).hexdigest()[:6]
    return f"{one.name[:56]}-{digest}"


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _renamed(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value


def _typed(value: Any, shape: Shape) -> Any:
    """`value` in the type of SageMaker's API: CloudFormation hands parameters on as text and converts them so."""
    if shape.type_name == "structure":
        return {key: _typed(one, shape.members[key]) if key in shape.members else one for key, one in value.items()}
    if shape.type_name == "list":
        return [_typed(one, shape.member) for one in value]
    if shape.type_name in ("integer", "long"):
        return int(value)
    if shape.type_name in ("float", "double"):
        return float(value)
    if shape.type_name == "boolean":
        return value if isinstance(value, bool) else {"true": True, "false": False}[str(value).lower()]
    return value if shape.type_name == "map" else str(value)


def _create_one(account: EmulatedAccount, client: Any, kind: str, new: EndpointStack, logical_id: str) -> None:
    params = {k: v for k, v in new.properties[logical_id].items() if k not in UPDATE_ONLY.get(kind, ())}
    _call(client, f"Create{kind}", params)
    if kind in UPDATE_ONLY:
        in_service(account, kind, new.names[logical_id])


def _update_one(
    account: EmulatedAccount, client: Any, kind: str, before: EndpointStack, new: EndpointStack, logical_id: str
) -> None:
    name, params = new.names[logical_id], new.properties[logical_id]
    if kind not in UPDATE_ONLY or name != before.names[logical_id]:
        _create_one(account, client, kind, new, logical_id)  # a replacement; the old one goes at the end
        return
    accepted = client.meta.service_model.operation_model(f"Update{kind}").input_shape.members
    _call(client, f"Update{kind}", {key: value for key, value in params.items() if key in accepted})
    in_service(account, kind, name)


def _call(client: Any, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
    method = next(name for name, api in client.meta.method_to_api_mapping.items() if api == operation)
    return getattr(client, method)(**params)


def _client(account: EmulatedAccount) -> Any:
    return boto3.client(
        "sagemaker",
        region_name=account.stack.region,
        aws_access_key_id="emulated",
        aws_secret_access_key="emulated",  # noqa: S106  (nothing is signed for anybody)
    )
