"""The statements of every role of an edition, as far as checks and documents need them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.security.editions import Edition, strings, text, texts


@dataclass(frozen=True)
class Statement:
    """One statement of a role. `where` is `Role/policy/Sid`."""

    role: str
    where: str
    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: Mapping[str, Any]

    def equals(self, key: str) -> Any:
        """The value that the condition asks `key` to equal; None if it does not ask."""
        return self.condition.get("StringEquals", {}).get(key)


def statements(edition: Edition, role: str) -> list[Statement]:
    """Every statement of the role's own and the stack's managed policies."""
    managed = dict(edition.of_type("AWS::IAM::ManagedPolicy") + edition.of_type("AWS::IAM::Policy"))
    properties = edition.resources[role]["Properties"]
    names = [text(one).strip("${}") for one in properties.get("ManagedPolicyArns", [])]
    names += [name for name, one in managed.items() if f"${{{role}}}" in texts(one.get("Roles"))]
    documents = [(name, managed[name]["PolicyDocument"]) for name in names if name in managed]
    documents += [(one["PolicyName"], one["PolicyDocument"]) for one in properties.get("Policies", [])]
    return [
        Statement(
            role,
            f"{role}/{policy}/{one.get('Sid', '?')}",
            one["Effect"],
            tuple(texts(one.get("Action"))),
            tuple(texts(one.get("Resource"))),
            one.get("Condition", {}),
        )
        for policy, document in documents
        for one in document["Statement"]
    ]


def all_statements(edition: Edition) -> list[Statement]:
    """Every statement of every role."""
    return [one for role, _ in edition.of_type("AWS::IAM::Role") for one in statements(edition, role)]


def role_of(edition: Edition, function: str) -> str:
    """The logical id of a function's role."""
    return text(edition.resources[function]["Properties"]["Role"]).removeprefix("${").removesuffix(".Arn}")


def assumed_by(role: Mapping[str, Any]) -> str:
    """The service that assumes a role; empty if it is none of AWS's."""
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    return next((s for s in strings(statement["Principal"]) if s.endswith(".amazonaws.com")), "")
