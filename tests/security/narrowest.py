"""The narrowest resource that a statement may name: what `authorization` knows, and what the stack itself has made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from tests.security.authorization import ACTIONS, ARNS
from tests.security.editions import Edition, text
from tests.security.statements import Statement

NAMES = "${ScalableNames}"
HERE = "${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:"

ANY_OF_ITS_TYPES = {
    "dynamodb:Query",
    "sagemaker:AddTags",
    "sagemaker:InvokeEndpoint",
    "sagemaker:InvokeEndpointWithResponseStream",
}
"""Actions that one role may need on one of their types only; all others are needed on each."""

MADE_BY = {
    "AWS::DynamoDB::Table": "dynamodb:table",
    "AWS::Events::EventBus": "events:event-bus",
    "AWS::IAM::Role": "iam:role",
    "AWS::KMS::Key": "kms:key",
    "AWS::Lambda::Function": "lambda:function",
    "AWS::Logs::LogGroup": "logs:log-stream",
    "AWS::SNS::Topic": "sns:topic",
    "AWS::SQS::Queue": "sqs:queue",
    "AWS::StepFunctions::StateMachine": "states:statemachine",
}
"""CloudFormation's type of what the stack makes, and the IAM type that its ARN is one of."""


def resource_findings(edition: Edition, one: Statement) -> Iterator[str]:
    """What is wrong with the resources that a statement names, or with its actions on them."""
    covered = {resource: _types_of(edition, resource) for resource in one.resources if resource != "*"}
    for resource, types in covered.items():
        if not types:
            yield f"names {resource}, which is none of the stack's resources and no ARN that this table knows"
        elif not any(set(types) & set(ACTIONS[a].types) for a in one.actions if a in ACTIONS):
            yield f"names {resource}, on which none of its actions works"
    for action in one.actions:
        if action not in ACTIONS:
            yield f"allows {action}, which is not in tests/security/authorization.py"
            continue
        known = ACTIONS[action]
        if not known.types and list(one.resources) != ["*"]:
            yield f"allows {action}, which works on * only, on {', '.join(one.resources)}"
        if known.types and "*" in one.resources:
            yield f"allows {action} on *; it can be narrowed to {' or '.join(known.types)}"
        if covered and known.types and not any(set(types) & set(known.types) for types in covered.values()):
            yield f"allows {action} on nothing that it works on ({', '.join(known.types)})"
            continue
        missing = set(known.types) - {kind for types in covered.values() for kind in types}
        if missing and action not in ANY_OF_ITS_TYPES and "*" not in one.resources:
            yield f"allows {action} on no {' and no '.join(sorted(missing))}"
        for resource, types in covered.items():
            for kind in sorted(set(types) & set(known.types)):
                narrowest = _narrowest(edition, kind, action)
                if narrowest and resource not in narrowest:
                    yield f"allows {action} on {resource}; the narrowest is {' or '.join(sorted(narrowest))}"


def _types_of(edition: Edition, resource: str) -> tuple[str, ...]:
    """IAM types that an ARN as written in the template is one of."""
    reference = re.fullmatch(r"\$\{(\w+)(?:\.Arn)?\}(/index/[\w.-]+)?", resource)
    if reference:
        made = edition.type_of(reference[1])
        if reference[2]:
            return ("dynamodb:index",) if made == "AWS::DynamoDB::Table" else ()
        if reference[1] == "KmsKeyArn":
            return ("kms:key",)
        return (MADE_BY[made],) if made in MADE_BY else ()
    if resource == "arn:" + HERE % "ec2" + "*/*":
        return tuple(kind for kind in ARNS if kind.startswith("ec2:"))
    return tuple(kind for kind, arn in ARNS.items() if _pattern(arn).fullmatch(resource))


@cache
def _pattern(arn: str) -> re.Pattern[str]:
    """An ARN format as a pattern of what a template may write for it: partition, region and account by reference."""
    own = {"Partition": "${AWS::Partition}", "Region": "${AWS::Region}", "Account": "${AWS::AccountId}"}
    parts = re.split(r"\$\{(\w+)\}", arn)
    # A name may hold references and wildcards, but not reach into the next part of the ARN.
    name = r"(?:\$\{[\w:.]+\}|[\w.*?+=@#-])+"
    return re.compile(
        "".join(re.escape(own.get(p, p)) if i % 2 == 0 or p in own else name for i, p in enumerate(parts))
    )


def _narrowest(edition: Edition, kind: str, action: str) -> set[str]:
    """The resources that a statement may name for that type; empty = any of the type's form."""
    made = {name for name, one in edition.resources.items() if MADE_BY.get(one["Type"]) == kind}
    own = {f"${{{name}.Arn}}" for name in made} | {f"${{{name}}}" for name in made if kind == "sns:topic"}
    if kind == "dynamodb:index":
        return {
            f"${{{name}.Arn}}/index/{index['IndexName']}"
            for name, table in edition.of_type("AWS::DynamoDB::Table")
            for index in table.get("GlobalSecondaryIndexes", [])
        }
    if kind == "lambda:function":
        named = [text(p["FunctionName"]) for n, p in edition.of_type("AWS::Lambda::Function") if "FunctionName" in p]
        return own | {f"arn:{HERE % 'lambda'}function:{name}" for name in named}
    if kind == "states:statemachine":
        names = [text(p["StateMachineName"]) for _, p in edition.of_type("AWS::StepFunctions::StateMachine")]
        return own | {f"${{{name}}}" for name in made} | {f"arn:{HERE % 'states'}stateMachine:{name}" for name in names}
    if kind == "scheduler:schedule":
        groups = [name for name, _ in edition.of_type("AWS::Scheduler::ScheduleGroup")]
        return {f"arn:{HERE % 'scheduler'}schedule/${{{group}}}/*" for group in groups}
    if kind == "events:event-bus":
        return own | {f"arn:{HERE % 'events'}event-bus/default"}
    if kind == "kms:key":
        return own | {"${KmsKeyArn}"}
    if kind == "cloudwatch:alarm":
        # Alarms that users bind have any name, and a page of alarms is read as a whole.
        everyone = action == "cloudwatch:DescribeAlarms"
        return {f"arn:{HERE % 'cloudwatch'}alarm:{'*' if everyone else '${AWS::StackName}--*'}"}
    if kind.startswith("sagemaker:"):
        path = f"arn:{HERE % 'sagemaker'}{kind.split(':')[1]}/"
        # What is looked at may have any name: the other components of an endpoint count when copies are packed.
        acts = ACTIONS[action].changes or action.startswith("sagemaker:InvokeEndpoint")
        return {path + (NAMES if acts else "*")}
    return own if made else set()
