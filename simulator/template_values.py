"""Parameters, conditions, rules and intrinsic functions of a CloudFormation template.

Wording of refusals follows CloudFormation's own (`ValidationError` texts of CreateStack). What CloudFormation can do and
this cannot is refused by name, never passed through.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from simulator.template_names import NAMINGS, Naming, StackIdentity, attribute, resource_name

NO_VALUE = object()
"""What `Ref: AWS::NoValue` resolves to: the property that holds it disappears."""

_SUB = re.compile(r"\$\{(!?)([^}]*)\}")


class TemplateError(Exception):
    """The template, or a parameter given to it, would be refused by CloudFormation (or is not supported here)."""


def parameter_values(declared: Mapping[str, Any], overrides: Mapping[str, str]) -> dict[str, str | list[str]]:
    """Every parameter's value: the override, else the default; lists for list types, text otherwise.

    Raises TemplateError for unknown names, missing values and values outside the declared constraints.
    """
    unknown = sorted(set(overrides) - set(declared))
    if unknown:
        raise TemplateError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    missing = sorted(name for name, spec in declared.items() if name not in overrides and "Default" not in spec)
    if missing:
        raise TemplateError(f"Parameters: [{', '.join(missing)}] must have values")
    values: dict[str, str | list[str]] = {}
    for name, spec in declared.items():
        text = overrides.get(name, spec.get("Default"))
        text = _as_text(text)
        kind = str(spec.get("Type", "String"))
        if kind.startswith("AWS::SSM::Parameter") and name not in overrides:
            raise TemplateError(
                f"Parameter {name} is read from Parameter Store, which is not there; give its value instead"
            )
        is_list = kind.startswith("List<") or kind == "CommaDelimitedList"
        parts = [part.strip() for part in text.split(",")] if is_list else [text]
        for part in parts:
            _check_constraints(name, spec, kind, part)
        values[name] = parts if is_list else text
    return values


def _check_constraints(name: str, spec: Mapping[str, Any], kind: str, value: str) -> None:
    def refuse(rule: str) -> None:
        reason = spec.get("ConstraintDescription")
        raise TemplateError(
            f"Parameter {name} failed to satisfy constraint: {reason}" if reason else f"Parameter '{name}' must {rule}"
        )

    if "Number" in kind:
        try:
            number = float(value)
        except ValueError:
            raise TemplateError(f"Parameter '{name}' must be a number") from None
        if "MinValue" in spec and number < float(spec["MinValue"]):
            refuse(f"be a number not less than {spec['MinValue']}")
        if "MaxValue" in spec and number > float(spec["MaxValue"]):
            refuse(f"be a number not greater than {spec['MaxValue']}")
    if "AllowedValues" in spec and value not in [_as_text(one) for one in spec["AllowedValues"]]:
        refuse("be one of AllowedValues")
    if "AllowedPattern" in spec and not re.fullmatch(str(spec["AllowedPattern"]), value):
        refuse(f"match pattern {spec['AllowedPattern']}")
    if "MinLength" in spec and len(value) < int(spec["MinLength"]):
        refuse(f"contain at least {spec['MinLength']} characters")
    if "MaxLength" in spec and len(value) > int(spec["MaxLength"]):
        refuse(f"contain at most {spec['MaxLength']} characters")


def check_rules(rules: Mapping[str, Any], values: Mapping[str, Any], identity: StackIdentity) -> None:
    """Raise TemplateError unless every assertion of the template's `Rules` holds for the parameters."""
    resolver = Resolver({}, values, identity)
    for name, rule in rules.items():
        if "RuleCondition" in rule and not resolver.truth(rule["RuleCondition"]):
            continue
        for assertion in rule["Assertions"]:
            if not resolver.truth(assertion["Assert"]):
                text = assertion.get("AssertDescription", "the assertion does not hold")
                raise TemplateError(f"Template constraint violated: rule {name}: {text}")


class Resolver:
    """Resolves intrinsic functions of a translated template against parameters and the stack's own resources."""

    def __init__(
        self,
        template: Mapping[str, Any],
        values: Mapping[str, Any],
        identity: StackIdentity,
        imports: Mapping[str, Any] | None = None,
    ) -> None:
        self.template = template
        self._imports = imports or {}
        self.identity = identity
        self._values = {**values, **identity.pseudo_parameters()}
        self._resources: Mapping[str, Any] = template.get("Resources", {})
        self._conditions: Mapping[str, Any] = template.get("Conditions", {})
        self._truths: dict[str, bool] = {}
        self._names: dict[str, str] = {}
        self._naming: list[str] = []
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Condition": lambda name: self.holds(name),
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::If": self._if,
            "Fn::Select": self._select,
            "Fn::Split": lambda args: str(self.resolve(args[1])).split(args[0]),
            "Fn::Base64": lambda text: base64.b64encode(str(self.resolve(text)).encode()).decode(),
            "Fn::FindInMap": self._find_in_map,
            "Fn::ImportValue": self._import_value,
            "Fn::ToJsonString": lambda value: json.dumps(self.resolve(value), separators=(",", ":")),
            "Fn::Length": lambda value: len(self.resolve(value)),
            "Fn::Equals": lambda args: _as_text(self.resolve(args[0])) == _as_text(self.resolve(args[1])),
            "Fn::Not": lambda args: not self.truth(args[0]),
            "Fn::And": lambda args: all(self.truth(one) for one in args),
            "Fn::Or": lambda args: any(self.truth(one) for one in args),
            "Fn::Contains": lambda args: _as_text(self.resolve(args[1])) in map(_as_text, self.resolve(args[0])),
            "Fn::EachMemberEquals": lambda args: all(
                _as_text(one) == _as_text(self.resolve(args[1])) for one in self.resolve(args[0])
            ),
            "Fn::EachMemberIn": lambda args: (
                set(map(_as_text, self.resolve(args[0]))) <= set(map(_as_text, self.resolve(args[1])))
            ),
        }

    def live_resources(self) -> list[str]:
        """Logical ids whose condition holds, in template order."""
        return [name for name, body in self._resources.items() if self.holds(body.get("Condition"))]

    def holds(self, condition: str | None) -> bool:
        """Whether the named condition is true; a resource without a condition (None) always is."""
        if condition is None:
            return True
        if condition not in self._conditions:
            raise TemplateError(f"Template format error: Unresolved condition {condition}")
        if condition not in self._truths:
            self._truths[condition] = self.truth(self._conditions[condition])
        return self._truths[condition]

    def truth(self, expression: Any) -> bool:
        """The value of a condition expression."""
        value = self.resolve(expression)
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return value == "true"
        raise TemplateError(f"Template validation error: {expression!r} is not a condition")

    def resolve(self, value: Any) -> Any:
        """`value` with every intrinsic function replaced by what it stands for."""
        if isinstance(value, dict):
            if len(value) == 1:
                (name, argument), *_ = value.items()
                if name in self._functions and not (name == "Condition" and not isinstance(argument, str)):
                    return self._functions[name](argument)
                if name.startswith("Fn::"):
                    raise TemplateError(f"{name} is not supported by the emulated account")
            resolved = ((key, self.resolve(one)) for key, one in value.items())
            return {key: one for key, one in resolved if one is not NO_VALUE}
        if isinstance(value, list):
            return [one for one in map(self.resolve, value) if one is not NO_VALUE]
        if isinstance(value, str) and "{{resolve:" in value:
            raise TemplateError(f"Dynamic references are not supported by the emulated account: {value}")
        return value

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self._values:
            return self._values[name]
        body = self._body(name)
        naming = NAMINGS.get(body["Type"], Naming(None))
        return naming.ref(self._physical_name(name), self._naming_properties(name), self.identity)

    def _import_value(self, argument: Any) -> Any:
        name = self.resolve(argument)
        if name not in self._imports:
            raise TemplateError(f"No export named {name} found")
        return self._imports[name]

    def _get_att(self, argument: Any) -> Any:
        logical_id, attribute_name = argument.split(".", 1) if isinstance(argument, str) else argument
        attribute_name = self.resolve(attribute_name)
        body = self._body(logical_id)
        value = attribute(
            self._physical_name(logical_id),
            body["Type"],
            self._naming_properties(logical_id),
            attribute_name,
            self.identity,
        )
        if value is None:
            raise TemplateError(
                f"Template error: resource {logical_id} does not support attribute type {attribute_name} in Fn::GetAtt"
            )
        return value

    def _body(self, logical_id: str) -> Mapping[str, Any]:
        body = self._resources.get(logical_id)
        if body is None or not self.holds(body.get("Condition")):
            raise TemplateError(
                f"Template format error: Unresolved resource dependencies [{logical_id}] in the Resources block of the template"
            )
        return body

    def _physical_name(self, logical_id: str) -> str:
        if logical_id not in self._names:
            body = self._body(logical_id)
            properties = self._naming_properties(logical_id)
            self._names[logical_id] = resource_name(logical_id, body["Type"], properties, self.identity)
        return self._names[logical_id]

    def _naming_properties(self, logical_id: str) -> dict[str, Any]:
        """Only the properties that take part in names: the others may refer back to this resource."""
        if logical_id in self._naming:
            raise TemplateError(f"Circular dependency between resources: [{', '.join(sorted(self._naming))}]")
        body = self._body(logical_id)
        wanted = {NAMINGS.get(body["Type"], Naming(None)).name_property, "FifoQueue"}
        wanted |= {"EventBusName"} if body["Type"] == "AWS::Events::Rule" else set()
        wanted |= {"GroupName"} if body["Type"] == "AWS::Scheduler::Schedule" else set()
        wanted |= {"FunctionName"} if body["Type"] in ("AWS::Lambda::Alias", "AWS::Lambda::Version") else set()
        self._naming.append(logical_id)
        try:
            properties = body.get("Properties", {})
            return self.resolve({key: properties[key] for key in properties if key in wanted})
        finally:
            self._naming.pop()

    def _sub(self, argument: Any) -> str:
        text, extra = (argument, {}) if isinstance(argument, str) else (argument[0], argument[1])

        def put_in(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return "${" + name + "}"
            if name in extra:
                return _as_text(self.resolve(extra[name]))
            if "." in name:
                return _as_text(self._get_att(name))
            value = self._ref(name)
            if value is NO_VALUE or isinstance(value, list):
                raise TemplateError(f"Template error: every value in Fn::Sub must be a string, {name} is not")
            return _as_text(value)

        return _SUB.sub(put_in, text)

    def _join(self, argument: list[Any]) -> str:
        parts = self.resolve(argument[1])
        return str(argument[0]).join(_as_text(part) for part in parts)

    def _if(self, argument: list[Any]) -> Any:
        condition, when_true, when_false = argument
        return self.resolve(when_true if self.holds(condition) else when_false)

    def _select(self, argument: list[Any]) -> Any:
        index, options = int(self.resolve(argument[0])), self.resolve(argument[1])
        if not 0 <= index < len(options):
            raise TemplateError(f"Template error: Fn::Select cannot select nonexistent value at index {index}")
        return options[index]

    def _find_in_map(self, argument: list[Any]) -> Any:
        name, *keys = (self.resolve(one) for one in argument[:3])
        value: Any = self.template.get("Mappings", {}).get(name)
        for key in keys:
            if not isinstance(value, Mapping) or _as_text(key) not in value:
                raise TemplateError(
                    f"Template error: Unable to get mapping for {name}::{'::'.join(map(_as_text, keys))}"
                )
            value = value[_as_text(key)]
        return self.resolve(value)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Iterable) and not isinstance(value, (str, Mapping)):
        return ",".join(_as_text(one) for one in value)
    return str(value)
