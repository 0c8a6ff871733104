"""Every way to loosen or break one permission of the template, one at a time: what the checks of IAM must notice.

A mutation changes a template in place and gives back how to undo it, since copying a template for each of some hundreds
would take longer than checking it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.security import permissions, resources
from tests.security.editions import Edition, text

Undo = Callable[[], None]
Statement = dict[str, Any]
ANYWHERE = {"aws:RequestedRegion": "eu-west-1"}
"""A condition that looks like one and binds nothing that matters."""


CHECKS = (
    permissions.policies_are_our_own,
    permissions.wildcards_are_on_the_list,
    permissions.resources_are_the_narrowest,
    permissions.a_role_is_handed_to_one_service,
    permissions.events_are_of_one_kind,
    permissions.keys_are_used_through_services,
    permissions.only_holders_of_the_lease_change_sagemaker,
    resources.invocation_is_ours,
    permissions.actions_are_what_the_code_reaches,
)
"""What looks at permissions, the quickest first."""


@dataclass(frozen=True)
class Mutation:
    """`name` says what was done to which statement; `apply` does it and returns its undoing."""

    name: str
    apply: Callable[[], Undo]


def permission_mutations(template: dict[str, Any]) -> Iterator[Mutation]:
    """All of them, in template order: each statement dropped, widened, unbound and turned; each role opened."""
    for owner, document in _documents(template):
        entries = document["Statement"]
        for statement in list(entries):
            name = f"{owner}/{statement['Sid']}"
            yield Mutation(f"{name} dropped", _removal(entries, statement))
            yield from _widened(name, statement)
            yield from _unbound(name, statement)
    for role, one in template["Resources"].items():
        if one["Type"] == "AWS::IAM::Role":
            yield from _opened(role, one["Properties"])


def survivors(edition: Edition, *, every: int = 1) -> tuple[list[str], int]:
    """(names of the mutations that no check of permissions notices, how many were tried); `every` n-th is tried.

    The edition is as before afterwards. Raises ValueError if a check finds something in it already.
    """
    if not _clean(edition):
        raise ValueError(f"the {edition.name} edition has findings of its own; mend them first")
    missed, tried = [], 0
    for number, mutation in enumerate(permission_mutations(dict(edition.template))):
        if number % every:
            continue
        tried += 1
        undo = mutation.apply()
        if _clean(edition):
            missed.append(mutation.name)
        undo()
    return missed, tried


def _clean(edition: Edition) -> bool:
    return not any(wrong for check in CHECKS for _, wrong in check(edition))


def _documents(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, one in template["Resources"].items():
        if one["Type"] == "AWS::IAM::ManagedPolicy":
            yield name, one["Properties"]["PolicyDocument"]
        elif one["Type"] == "AWS::IAM::Role":
            yield from ((name, policy["PolicyDocument"]) for policy in one["Properties"].get("Policies", []))


def _widened(name: str, statement: Statement) -> Iterator[Mutation]:
    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    service = text(actions[0]).split(":")[0]
    yield Mutation(f"{name} every action of {service}", _setting(statement, "Action", f"{service}:*"))
    yield Mutation(f"{name} one more action", _setting(statement, "Action", [*actions, f"{service}:DeleteEverything"]))
    if len(actions) > 1:
        yield Mutation(f"{name} without {actions[-1]}", _setting(statement, "Action", actions[:-1]))
    yield Mutation(f"{name} denied", _setting(statement, "Effect", "Deny"))
    resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
    if resources != ["*"]:
        yield Mutation(f"{name} on everything", _setting(statement, "Resource", "*"))
    for number, resource in enumerate(resources):
        for wider in _wider(text(resource)):
            changed = [*resources[:number], {"Fn::Sub": wider}, *resources[number + 1 :]]
            yield Mutation(f"{name} on {wider}", _setting(statement, "Resource", changed))
    if len(resources) > 1:
        yield Mutation(f"{name} not on {text(resources[-1])}", _setting(statement, "Resource", resources[:-1]))


def _wider(resource: str) -> Iterator[str]:
    """The same resource with its name, its account, or its kind left open."""
    if resource.startswith("${"):
        yield "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/*"
        yield f"{resource}*"
    elif resource != "*":
        if not resource.endswith((":*/*", "/*", "alarm:*")):
            cut = max(resource.rfind("/"), resource.rfind(":"))
            yield resource[: cut + 1] + "*"
        yield resource.replace("${AWS::AccountId}", "*")
        yield resource.replace("${AWS::Region}", "*")


def _unbound(name: str, statement: Statement) -> Iterator[Mutation]:
    condition = statement.get("Condition")
    if condition is None:
        return
    yield Mutation(f"{name} unconditionally", _removing(statement, "Condition"))
    for operator, pairs in condition.items():
        for key in pairs:
            without = {k: v for k, v in pairs.items() if k != key} or ANYWHERE
            yield Mutation(f"{name} whatever {key}", _setting(condition, operator, without))
            yield Mutation(f"{name} {key} of any value", _setting(condition, operator, {**pairs, key: "*"}))


def _opened(role: str, properties: dict[str, Any]) -> Iterator[Mutation]:
    managed = list(properties.get("ManagedPolicyArns", []))
    aws = {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/AmazonSageMakerFullAccess"}
    yield Mutation(f"{role} with a policy of AWS", _setting(properties, "ManagedPolicyArns", [*managed, aws]))
    for one in managed:
        yield Mutation(
            f"{role} without {text(one)}", _setting(properties, "ManagedPolicyArns", [m for m in managed if m != one])
        )
    (trust,) = properties["AssumeRolePolicyDocument"]["Statement"]
    yield Mutation(f"{role} for anybody", _setting(trust, "Principal", {"AWS": "*"}))
    yield Mutation(f"{role} for a second service", _setting(trust, "Principal", {"Service": ["ec2.amazonaws.com"]}))
    if "Condition" in trust:
        yield Mutation(f"{role} for every account", _removing(trust, "Condition"))


def _setting(container: dict[str, Any], key: str, value: Any) -> Callable[[], Undo]:
    def apply() -> Undo:
        before = container.get(key)
        there = key in container
        container[key] = value
        return (lambda: container.__setitem__(key, before)) if there else (lambda: container.__delitem__(key))

    return apply


def _removing(container: dict[str, Any], key: str) -> Callable[[], Undo]:
    def apply() -> Undo:
        before = dict(container)
        del container[key]

        def undo() -> None:
            container.clear()
            container.update(before)

        return undo

    return apply


def _removal(entries: list[Any], entry: Any) -> Callable[[], Undo]:
    def apply() -> Undo:
        place = next(number for number, one in enumerate(entries) if one is entry)
        del entries[place]
        return lambda: entries.insert(place, entry)

    return apply
