"""The stack that `template.yaml` would become: what is simulated is what is deployed.

The template goes through AWS's own SAM translator, so functions' rules, roles, permissions and schedules are the ones
that `sam deploy` would create. What CloudFormation does afterwards (parameters, conditions, intrinsic functions,
physical names) is done here, see `template_values` and `template_names`.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.translator.arn_generator import ArnGenerator
from samtranslator.translator.transform import transform

from simulator.template_names import NAMINGS, Naming, StackIdentity, resource_name
from simulator.template_values import Resolver, TemplateError, check_rules, parameter_values

__all__ = ["AWS_MANAGED_POLICIES", "EMULATED_TYPES", "INERT_TYPES", "Resource", "Stack", "TemplateError", "load_stack"]

EMULATED_TYPES = frozenset(
    [
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::CompositeAlarm",
        "AWS::DynamoDB::Table",
        "AWS::Events::EventBus",
        "AWS::Events::Rule",
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::Lambda::Alias",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::Function",
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::Permission",
        "AWS::Lambda::Version",
        "AWS::SNS::Topic",
        "AWS::SQS::Queue",
        "AWS::SQS::QueuePolicy",
        "AWS::SSM::Parameter",
        "AWS::Scheduler::Schedule",
        "AWS::Scheduler::ScheduleGroup",
        "AWS::StepFunctions::StateMachine",
    ]
)
"""Resource types that the emulated account gives their behaviour."""

INERT_TYPES = frozenset(
    [
        "AWS::CloudWatch::Dashboard",
        "AWS::KMS::Alias",
        "AWS::KMS::Key",
        "AWS::Logs::LogGroup",
        "AWS::Logs::QueryDefinition",
        "AWS::SNS::Subscription",
        "AWS::SNS::TopicPolicy",
    ]
)
"""Resource types that change nothing about how the application behaves; they exist by name only."""

AWS_MANAGED_POLICIES = {
    name: f"arn:aws:iam::aws:policy/{path}{name}"
    for name, path in {
        "AWSLambdaBasicExecutionRole": "service-role/",
        "AWSLambdaSQSQueueExecutionRole": "service-role/",
        "AWSXRayDaemonWriteAccess": "",
        "AWSXrayWriteOnlyAccess": "",
    }.items()
}
"""Names that a SAM template may give instead of an ARN; the translator asks IAM for them, which is not there."""

_LOCAL_BUCKET = "local"

# The translator warns of usage statistics that it could not send anywhere.
logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Resource:
    """One resource of the stack, all intrinsic functions resolved.

    `name` is its physical name, `ref` what `Ref` gives, `arn` None where the type has none. `code_dir` is the local
    folder of a function's or layer's code, None for every other type. `properties` belong to all readers: copy before
    changing anything.
    """

    logical_id: str
    type: str
    properties: Mapping[str, Any]
    name: str
    ref: str
    arn: str | None
    code_dir: Path | None = None


@dataclass(frozen=True)
class Stack:
    """A deployed template.

    `parameters` hold the text of every parameter after defaults; `not_emulated` the logical ids whose type has no
    behaviour here (they exist by name and are never silently used).
    """

    name: str
    region: str
    account_id: str
    parameters: Mapping[str, Any]
    conditions: Mapping[str, bool]
    resources: Mapping[str, Resource]
    outputs: Mapping[str, Any]
    exports: Mapping[str, Any] = field(default_factory=dict)
    """What other stacks of the account may import, by export name."""
    not_emulated: tuple[str, ...] = field(default=())

    def of_type(self, resource_type: str) -> list[Resource]:
        """Every resource of that type, in template order."""
        return [one for one in self.resources.values() if one.type == resource_type]

    def __getitem__(self, logical_id: str) -> Resource:
        try:
            return self.resources[logical_id]
        except KeyError:
            known = ", ".join(sorted(self.resources)) or "none"
            raise TemplateError(f"The stack has no resource {logical_id}; it has: {known}") from None


def load_stack(
    template_path: Path | str,
    parameters: Mapping[str, Any] | None = None,
    *,
    stack_name: str = "quickstep",
    region: str = "eu-west-1",
    account_id: str = "111122223333",
    imports: Mapping[str, Any] | None = None,
) -> Stack:
    """Deploy the SAM template at `template_path` with `parameters` on top of its defaults.

    `imports` are the exports of other stacks, by export name. The same files with the same arguments are translated once per process. Raises TemplateError, worded as
    CloudFormation would, for a parameter outside its constraints, an unknown reference, a broken rule and for what is
    not supported here.
    """
    path = Path(template_path).resolve()
    overrides = {key: _text(value) for key, value in (parameters or {}).items()}
    key = (path, tuple(sorted(overrides.items())), stack_name, region, account_id, *sorted((imports or {}).items()))
    cached = _CACHE.get(key)
    if cached is not None and _stamps(cached[0]) == cached[0]:
        return cached[1]
    files = [path]
    source = _read(path)
    identity = StackIdentity(stack_name, region, account_id)
    stack = _deploy(source, path.parent, overrides, identity, files, imports)
    if len(_CACHE) >= 64:
        _CACHE.clear()
    _CACHE[key] = (_stamps(dict.fromkeys(files)), stack)
    return stack


def _deploy(
    source: dict[str, Any],
    folder: Path,
    overrides: dict[str, str],
    identity: StackIdentity,
    files: list[Path],
    imports: Mapping[str, Any] | None,
) -> Stack:
    values = parameter_values(source.get("Parameters", {}), overrides)
    check_rules(source.get("Rules", {}), values, identity)
    code_dirs = _point_at_a_bucket(source, folder, files)
    translated = _translate(source, values, identity.region)
    resolver = Resolver(translated, values, identity, imports)
    resources: dict[str, Resource] = {}
    for logical_id in resolver.live_resources():
        resources[logical_id] = _resource(logical_id, resolver, code_dirs)
    declared = {
        name: output
        for name, output in translated.get("Outputs", {}).items()
        if resolver.holds(output.get("Condition"))
    }
    outputs = {name: resolver.resolve(output["Value"]) for name, output in declared.items()}
    known = EMULATED_TYPES | INERT_TYPES
    return Stack(
        name=identity.stack_name,
        region=identity.region,
        account_id=identity.account_id,
        parameters=values,
        conditions={name: resolver.holds(name) for name in sorted(translated.get("Conditions", {}))},
        resources=resources,
        outputs=outputs,
        exports={
            resolver.resolve(output["Export"]["Name"]): outputs[name]
            for name, output in declared.items()
            if "Export" in output
        },
        not_emulated=tuple(sorted(one.logical_id for one in resources.values() if one.type not in known)),
    )


def _resource(logical_id: str, resolver: Resolver, code_dirs: dict[str, Path]) -> Resource:
    body = resolver.template["Resources"][logical_id]
    properties = resolver.resolve(body.get("Properties", {}))
    name = resource_name(logical_id, body["Type"], properties, resolver.identity)
    naming = NAMINGS.get(body["Type"], Naming(None))
    if body["Type"] == "AWS::StepFunctions::StateMachine":
        properties = _with_definition(logical_id, properties)
    code = properties.get("Code") or properties.get("Content") or {}
    return Resource(
        logical_id=logical_id,
        type=body["Type"],
        properties=properties,
        name=name,
        ref=naming.ref(name, properties, resolver.identity),
        arn=naming.arn(name, properties, resolver.identity),
        code_dir=code_dirs.get(code.get("S3Key", "")) if isinstance(code, dict) else None,
    )


def _with_definition(logical_id: str, properties: dict[str, Any]) -> dict[str, Any]:
    """The machine's definition as an object under `Definition`, with DefinitionSubstitutions put in."""
    text = properties.get("DefinitionString")
    if text is None:
        text = json.dumps(properties.get("Definition", {}))
    for name, value in properties.get("DefinitionSubstitutions", {}).items():
        text = text.replace("${" + name + "}", _text(value))
    try:
        definition = json.loads(text)
    except json.JSONDecodeError as problem:
        raise TemplateError(
            f"The definition of {logical_id} is not JSON once its DefinitionSubstitutions are put in: {problem}"
        ) from None
    return {**properties, "Definition": definition}


def _point_at_a_bucket(source: dict[str, Any], folder: Path, files: list[Path]) -> dict[str, Path]:
    """Do what `sam package` does: local code becomes an S3 address, a local definition is read in.

    Returns S3 key -> local folder.
    """
    code_dirs: dict[str, Path] = {}

    def upload(properties: dict[str, Any], key: str, owner: str) -> None:
        uri = properties.get(key)
        if isinstance(uri, str) and not uri.startswith(("s3://", "https://")):
            code_dirs[owner] = (folder / uri).resolve()
            properties[key] = f"s3://{_LOCAL_BUCKET}/{owner}"

    defaults = source.get("Globals", {}).get("Function", {})
    shared_uri = defaults.pop("CodeUri", None)
    for logical_id, resource in source.get("Resources", {}).items():
        properties = resource.setdefault("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            if shared_uri is not None and "InlineCode" not in properties:
                properties.setdefault("CodeUri", shared_uri)
            upload(properties, "CodeUri", logical_id)
        elif resource["Type"] == "AWS::Serverless::LayerVersion":
            upload(properties, "ContentUri", logical_id)
        elif resource["Type"] in ("AWS::Serverless::StateMachine", "AWS::StepFunctions::StateMachine"):
            uri = properties.get("DefinitionUri")
            if isinstance(uri, str):
                path = (folder / uri).resolve()
                files.append(path)
                properties.pop("DefinitionUri")
                properties["Definition"] = _read(path)
    return code_dirs


class _LocalManagedPolicies:
    def load(self) -> dict[str, str]:
        return AWS_MANAGED_POLICIES


def _translate(source: dict[str, Any], values: Mapping[str, Any], region: str) -> dict[str, Any]:
    texts = {key: ",".join(value) if isinstance(value, list) else value for key, value in values.items()}
    # The translator asks boto3 for a region and remembers it; there may be none, or another one, on this machine.
    before = ArnGenerator.BOTO_SESSION_REGION_NAME, os.environ.get("AWS_DEFAULT_REGION")
    ArnGenerator.BOTO_SESSION_REGION_NAME, os.environ["AWS_DEFAULT_REGION"] = region, region
    try:
        return transform(deepcopy(source), {**texts, "AWS::Region": region}, _LocalManagedPolicies())
    except InvalidDocumentException as problem:
        raise TemplateError("; ".join(cause.message for cause in problem.causes)) from problem
    finally:
        ArnGenerator.BOTO_SESSION_REGION_NAME = before[0]
        os.environ.pop("AWS_DEFAULT_REGION")
        if before[1] is not None:
            os.environ["AWS_DEFAULT_REGION"] = before[1]


class _TemplateLoader(yaml.SafeLoader):
    """YAML with CloudFormation's short tags; dates stay text, as CloudFormation reads them."""


def _short_tag(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {name: value}


_TemplateLoader.add_multi_constructor("!", _short_tag)
_TemplateLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read(path: Path) -> dict[str, Any]:
    try:
        # JSON is YAML, so one loader reads both.
        parsed = yaml.load(path.read_text(encoding="utf-8"), Loader=_TemplateLoader)  # noqa: S506  (a SafeLoader)
    except FileNotFoundError:
        raise TemplateError(f"There is no file {path.name} in {path.parent.name or path.parent}") from None
    except yaml.YAMLError as problem:
        raise TemplateError(f"{path.name} is not valid YAML: {problem}") from None
    if not isinstance(parsed, dict):
        raise TemplateError(f"{path.name} holds no mapping at its top")
    return parsed


def _text(value: Any) -> str:
    """A value as CloudFormation passes it on: text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(_text(one) for one in value)
    return str(value)


_CACHE: dict[tuple[Any, ...], tuple[dict[Path, int | None], Stack]] = {}


def _stamps(files: Mapping[Path, Any]) -> dict[Path, int | None]:
    return {path: path.stat().st_mtime_ns if path.exists() else None for path in files}
