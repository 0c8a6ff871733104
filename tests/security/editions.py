"""The template as it would be deployed, in two editions: with every default, and with every security option switched on.

Both are plain CloudFormation from AWS's own translator, with conditions decided, so that a scanner sees what would be
made and nothing that would not. `Ref`, `Fn::GetAtt` and `Fn::Sub` stay: a reference to a resource of the stack is what
most controls are about, and is lost once it is a name.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"

GIVEN = {"EndpointName": "llm", "InferenceComponentName": "chat"}
"""What a person must give, or gives to have every alarm."""

HARDENED = {
    **GIVEN,
    "ScalableNames": "llm-*",
    "KmsKeyArn": "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000000",
    "VpcSubnetIds": "subnet-0a,subnet-0b",
    "VpcSecurityGroupIds": "sg-0a",
    "BudgetUsdPerHour": "100",
    "InstanceUsdPerHour": "7.09",
    "OperatorEmail": "operators@example.com",
    "GatewayAdapterLayerArn": "arn:aws:lambda:eu-west-1:111122223333:layer:adapter:1",
}
"""Every option that takes more than a Yes or a number above 0; those are switched on anyway. A template may lack some:
what is then in no edition is a finding of its own (`unseen`)."""

PSEUDO = {
    "AWS::Region": "eu-west-1",
    "AWS::Partition": "aws",
    "AWS::AccountId": "111122223333",
    "AWS::StackName": "quickstep",
}

_GONE = object()

# The translator warns of usage statistics that it could not send anywhere.
logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Edition:
    """One edition: `template` is plain CloudFormation without conditions; `source` the SAM template as written."""

    name: str
    parameters: Mapping[str, str]
    template: Mapping[str, Any]
    source: Mapping[str, Any]

    @property
    def hardened(self) -> bool:
        return self.name == "hardened"

    @property
    def resources(self) -> Mapping[str, Mapping[str, Any]]:
        return self.template["Resources"]

    def of_type(self, resource_type: str) -> list[tuple[str, Mapping[str, Any]]]:
        """(logical id, properties) of every resource of that type, in template order."""
        return [(n, one.get("Properties", {})) for n, one in self.resources.items() if one["Type"] == resource_type]

    def type_of(self, logical_id: str) -> str | None:
        """The resource's type; None for a parameter, a pseudo parameter or an unknown name."""
        return self.resources[logical_id]["Type"] if logical_id in self.resources else None

    def with_template(self, template: Mapping[str, Any]) -> Edition:
        """The same edition with another template, such as one that was changed to see whether a check notices."""
        return replace(self, template=template)


def editions(path: Path = TEMPLATE) -> tuple[Edition, Edition]:
    """(as deployed by default, with every security option on)."""
    written, plain = source(path), cloudformation(path)
    return (
        Edition("default", GIVEN, decided(plain, GIVEN), written),
        Edition("hardened", everything := _switched_on(written), decided(plain, everything), written),
    )


def unseen(path: Path = TEMPLATE) -> list[str]:
    """Resources that are in neither edition, so that nothing here looks at them; sorted."""
    seen = {name for edition in editions(path) for name in edition.resources}
    return sorted(set(cloudformation(path)["Resources"]) - seen)


def _switched_on(written: Mapping[str, Any]) -> dict[str, str]:
    """A value that switches on whatever is off by default: Yes for No, 5 for a 0 that a condition compares with 0."""
    yes = {"No": "Yes", "false": "true"}
    found = {}
    for name, one in written["Parameters"].items():
        default = str(one.get("Default"))
        if len(one.get("AllowedValues", ())) == 2 and default in yes:
            found[name] = yes[default]
        elif default == "0" and any(_compares(condition, name) for condition in written.get("Conditions", {}).values()):
            found[name] = "5"
    return found | {name: value for name, value in HARDENED.items() if name in written["Parameters"]}


def _compares(condition: Any, parameter: str) -> bool:
    if isinstance(condition, Mapping):
        sides = condition.get("Fn::Equals", [])
        return (
            {"Ref": parameter} in sides
            and bool({"0", "0.0"} & {str(one) for one in sides})
            or any(_compares(inner, parameter) for inner in condition.values())
        )
    return isinstance(condition, list) and any(_compares(inner, parameter) for inner in condition)


def source(path: Path = TEMPLATE) -> dict[str, Any]:
    """The template as written; short-form functions in their long form."""
    return yaml_parse(path.read_text(encoding="utf-8"))


def cloudformation(path: Path = TEMPLATE) -> dict[str, Any]:
    """What `sam deploy` would hand to CloudFormation, with the state machine written into it."""
    template = source(path)
    machines = {}
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        for key in ("CodeUri", "ContentUri"):
            if key in properties:
                properties[key] = f"s3://bucket/{name}"
        if "DefinitionUri" in properties:
            machines[name] = yaml.safe_load((path.parent / properties["DefinitionUri"]).read_text(encoding="utf-8"))
            properties["DefinitionUri"] = f"s3://bucket/{name}"
    parameters = {name: one.get("Default", "given") for name, one in template["Parameters"].items()}
    # The translator asks for a region, whatever it is told.
    with patch.dict(os.environ, {"AWS_DEFAULT_REGION": "us-east-1"}):
        plain = transform(deepcopy(template), parameters, _NoManagedPolicies())
    for name, definition in machines.items():
        # A linter reads a definition that is an object, not one that lies in a bucket.
        plain["Resources"][name]["Properties"].pop("DefinitionS3Location")
        plain["Resources"][name]["Properties"]["Definition"] = definition
    return plain


def decided(plain: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """`plain` with its conditions decided by `given` and the defaults, which become the parameters' new defaults.

    Raises KeyError for a value that belongs to no parameter, and ValueError for a condition that is not understood.
    """
    template = deepcopy(dict(plain))
    parameters = template.get("Parameters", {})
    for name, value in given.items():
        parameters[name]["Default"] = value
    values = PSEUDO | {name: str(one.get("Default", "given")) for name, one in parameters.items()}
    conditions = template.pop("Conditions", {})

    def holds(condition: Any) -> bool:
        if isinstance(condition, str):
            return holds(conditions[condition])
        ((function, arguments),) = condition.items()
        if function == "Condition":
            return holds(arguments)
        if function == "Fn::Not":
            return not holds(arguments[0])
        if function in ("Fn::And", "Fn::Or"):
            return (all if function == "Fn::And" else any)(holds(one) for one in arguments)
        if function == "Fn::Equals":
            return plain_text(arguments[0]) == plain_text(arguments[1])
        raise ValueError(f"the condition {function} is not understood here")

    def plain_text(value: Any) -> str:
        if isinstance(value, Mapping) and set(value) == {"Ref"}:
            return values[value["Ref"]]
        if isinstance(value, Mapping) and set(value) == {"Fn::Join"}:
            return plain_text(value["Fn::Join"][1])
        if isinstance(value, Mapping):
            raise ValueError(f"a condition compares {json.dumps(value)}, which is not understood here")
        return str(value)

    def walk(value: Any) -> Any:
        if isinstance(value, Mapping):
            if set(value) == {"Fn::If"}:
                condition, yes, no = value["Fn::If"]
                return walk(yes if holds(condition) else no)
            if value == {"Ref": "AWS::NoValue"}:
                return _GONE
            return {k: w for k, v in value.items() if (w := walk(v)) is not _GONE}
        if isinstance(value, list):
            return [w for v in value if (w := walk(v)) is not _GONE]
        return value

    for section in ("Resources", "Outputs"):
        template[section] = {
            name: walk({k: v for k, v in one.items() if k != "Condition"})
            for name, one in template.get(section, {}).items()
            if "Condition" not in one or holds(one["Condition"])
        }
    # CloudFormation's rules compare parameters before anything is made; nothing of them is deployed.
    template.pop("Rules", None)
    return template


def text(value: Any) -> str:
    """A value of a template on one line: `${RegistryTable.Arn}` for a reference, `…${AWS::Region}…` for a substitution.

    The same for every way to write the same thing; anything else is its JSON.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and len(value) == 1:
        ((function, argument),) = value.items()
        if function == "Ref":
            return f"${{{argument}}}"
        if function == "Fn::GetAtt":
            return f"${{{argument if isinstance(argument, str) else '.'.join(argument)}}}"
        if function == "Fn::Sub" and isinstance(argument, str):
            return argument
        if function == "Fn::Join":
            return argument[0].join(text(one) for one in argument[1])
    return json.dumps(value, sort_keys=True)


def texts(value: Any) -> list[str]:
    """One or many values of a template, each as `text`; nothing for None."""
    if value is None:
        return []
    return [text(one) for one in value] if isinstance(value, list) else [text(value)]


def strings(value: Any) -> Iterator[str]:
    """Every text at any depth, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}
