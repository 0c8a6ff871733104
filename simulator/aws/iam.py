"""IAM of the emulated account: the stack's roles, and whether they may make a call.

Checked are the policies of the role that calls (inline, AWS::IAM::Policy, AWS::IAM::ManagedPolicy), and the resource
policies of queues and functions. Not emulated: permission boundaries, service control policies, sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from simulator.aws.iam_policy import Request, Statement, allows, parse_policy
from simulator.aws.iam_requests import Permissions
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated
from simulator.template import AWS_MANAGED_POLICIES, Resource, Stack

_LOGS = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
_XRAY = ["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSampling*"]
_AWS_MANAGED = {
    AWS_MANAGED_POLICIES["AWSLambdaBasicExecutionRole"]: _LOGS,
    AWS_MANAGED_POLICIES["AWSLambdaSQSQueueExecutionRole"]: [
        *_LOGS,
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
    ],
    AWS_MANAGED_POLICIES["AWSXRayDaemonWriteAccess"]: _XRAY,
    AWS_MANAGED_POLICIES["AWSXrayWriteOnlyAccess"]: _XRAY,
}
_QUERY_SERVICES = ("cloudwatch", "sqs", "sns", "sts", "cloudformation")
"""Services that (also) speak the query protocol say AccessDenied instead of AccessDeniedException."""


class Roles:
    """The roles of a stack, by ARN, and what each may do.

    `tags_of(arn)` gives a resource's tags, for `aws:ResourceTag/…`; None if it has none or does not exist.
    """

    def __init__(self, stack: Stack, tags_of: Callable[[str], Mapping[str, str] | None]) -> None:
        self._permissions = Permissions(stack.account_id, stack.region)
        self._account_id, self._region = stack.account_id, stack.region
        self._tags_of = tags_of
        self._statements: dict[str, tuple[Statement, ...]] = {}
        self._queue_policies: dict[str, tuple[Statement, ...]] = {}
        self._function_permissions: list[Resource] = []
        self.add(stack)
        self._decided: dict[tuple[str, str, str], bool] = {}
        self._accepted: dict[tuple[str, str, str], bool] = {}

    def add(self, stack: Stack) -> None:
        """Add the roles and resource policies of one more stack of the account."""
        self._statements |= _statements_by_role(stack)
        self._queue_policies |= _queue_policies(stack)
        self._function_permissions += stack.of_type("AWS::Lambda::Permission")

    def check(self, role_arn: str, session: str, service: str, operation: str, params: Mapping[str, Any]) -> None:
        """Raise ServiceError unless the role may make the call; `session` is the role session's name."""
        for request in self._permissions.needed(service, operation, params):
            if not self.may(role_arn, request):
                role = role_arn.rsplit("/", 1)[-1]
                code = "AccessDenied" if service in _QUERY_SERVICES else "AccessDeniedException"
                raise ServiceError(
                    code,
                    f"User: arn:aws:sts::{self._account_id}:assumed-role/{role}/{session} is not authorized to perform: "
                    f"{request.action} on resource: {request.resource} because no identity-based policy allows the "
                    f"{request.action} action",
                    403 if service in _QUERY_SERVICES else 400,
                )

    def may(self, role_arn: str, request: Request) -> bool:
        """Whether the role's policies allow one request."""
        key = (role_arn, request.action, request.resource)
        if not request.keys and key in self._decided:
            return self._decided[key]
        statements = self._statements.get(role_arn, ())
        by_tag = any("aws:resourcetag/" in one for s in statements for _, one, _ in s.conditions)
        allowed = allows(statements, self._with_context(request, with_tags=by_tag))
        if not request.keys and not by_tag:
            self._decided[key] = allowed
        return allowed

    def queue_accepts(self, queue_arn: str, service: str, source_arn: str) -> bool:
        """Whether the queue's policy lets that AWS service send for that rule, schedule or topic."""
        request = Request("sqs:SendMessage", queue_arn, self._source_keys(source_arn))
        request = self._with_context(request, with_tags=False)
        return allows(self._queue_policies.get(queue_arn, ()), request, service)

    def function_accepts(self, function_name: str, service: str, source_arn: str) -> bool:
        """Whether the function's resource policy (AWS::Lambda::Permission) lets that AWS service invoke it."""
        key = (function_name, service, source_arn)
        if key not in self._accepted:
            self._accepted[key] = any(
                allows((statement,), Request("lambda:InvokeFunction", "", self._source_keys(source_arn)), service)
                for statement in self._permissions_of(function_name)
            )
        return self._accepted[key]

    def _permissions_of(self, function_name: str) -> list[Statement]:
        statements: list[dict[str, Any]] = []
        for permission in self._function_permissions:
            properties = permission.properties
            if str(properties["FunctionName"]).rsplit(":function:", 1)[-1].split(":")[0] != function_name:
                continue
            conditions: dict[str, Any] = {}
            if "SourceArn" in properties:
                conditions["ArnLike"] = {"aws:SourceArn": properties["SourceArn"]}
            if "SourceAccount" in properties:
                conditions["StringEquals"] = {"aws:SourceAccount": properties["SourceAccount"]}
            principal = {"Service": properties["Principal"]}
            statements.append(
                {"Effect": "Allow", "Principal": principal, "Action": properties["Action"], "Condition": conditions}
            )
        return list(parse_policy({"Statement": statements}))

    def _source_keys(self, source_arn: str) -> dict[str, tuple[str, ...]]:
        return {"aws:sourcearn": (source_arn,), "aws:sourceaccount": (self._account_id,)}

    def _with_context(self, request: Request, *, with_tags: bool) -> Request:
        keys = {
            "aws:requestedregion": (self._region,),
            "aws:resourceaccount": (self._account_id,),
            "aws:principalaccount": (self._account_id,),
            "aws:securetransport": ("true",),
            **request.keys,
        }
        if with_tags:
            tags = self._tags_of(request.resource) or {}
            keys |= {f"aws:resourcetag/{name.lower()}": (value,) for name, value in tags.items()}
        return Request(request.action, request.resource, keys)


def _statements_by_role(stack: Stack) -> dict[str, tuple[Statement, ...]]:
    by_name: dict[str, list[Statement]] = {}
    for role in stack.of_type("AWS::IAM::Role"):
        statements = by_name.setdefault(role.name, [])
        for policy in role.properties.get("Policies", []):
            statements += parse_policy(policy["PolicyDocument"])
        for arn in role.properties.get("ManagedPolicyArns", []):
            statements += _managed(arn, stack)
    for resource_type in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        for policy in stack.of_type(resource_type):
            for name in policy.properties.get("Roles", []):
                by_name.setdefault(name, []).extend(parse_policy(policy.properties["PolicyDocument"]))
    return {role.arn or "": tuple(by_name[role.name]) for role in stack.of_type("AWS::IAM::Role")}


def _managed(arn: str, stack: Stack) -> tuple[Statement, ...]:
    own: list[Resource] = [one for one in stack.of_type("AWS::IAM::ManagedPolicy") if one.arn == arn]
    if own:
        return parse_policy(own[0].properties["PolicyDocument"])
    if arn not in _AWS_MANAGED:
        raise NotEmulated(f"The AWS managed policy {arn} is not known; grant its actions in the template instead")
    return parse_policy({"Statement": [{"Effect": "Allow", "Action": _AWS_MANAGED[arn], "Resource": "*"}]})


def _queue_policies(stack: Stack) -> dict[str, tuple[Statement, ...]]:
    arns = {queue.ref: queue.arn or "" for queue in stack.of_type("AWS::SQS::Queue")}
    policies: dict[str, tuple[Statement, ...]] = {}
    for policy in stack.of_type("AWS::SQS::QueuePolicy"):
        for url in policy.properties["Queues"]:
            policies[arns.get(url, url)] = parse_policy(policy.properties["PolicyDocument"])
    return policies
