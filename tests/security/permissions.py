"""Own assertions about who may do what: SEC-15 to SEC-20, exact for actions and for resources.

Exact for actions: what a function's code can reach (`tests.contract.reach`) and what its role allows are the same.
Exact for resources: a statement names the narrowest thing that its actions can be narrowed to (`authorization`), which is
a reference to what the stack made wherever the stack made it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache

from tests.contract.reach import Code, handlers, sources
from tests.security.authorization import ACTIONS
from tests.security.editions import Edition, text, texts
from tests.security.narrowest import HERE, NAMES, resource_findings
from tests.security.resources import Looked
from tests.security.statements import Statement, all_statements, assumed_by, role_of, statements

WITHOUT_RESOURCE = (
    "sagemaker:ListInferenceComponents",
    "sagemaker:ListEndpoints",
    "cloudwatch:GetMetricData",
    "cloudwatch:ListMetrics",
    "application-autoscaling:Describe*",
    "xray:Put*",
)
"""SEC-16: the functions' actions that may name every resource, since AWS knows none for them."""

WITHOUT_RESOURCE_FOR = {
    "states.amazonaws.com": (
        "logs:*LogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:DescribeResourcePolicies",
        "logs:DescribeLogGroups",
        "xray:GetSampling*",
    ),
    "lambda.amazonaws.com": ("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"),
}
"""The same for what a service itself does with its role: log delivery and sampling of Step Functions, Lambda in a VPC."""

ADDED_BY_LAMBDA = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
}
"""What Lambda does with the role of every function."""

ADDED_BY_OPTIONS = {
    "KmsKeyArn": {a for a in ACTIONS if a.startswith("kms:")},
    "VpcSubnetIds": {a for a in ACTIONS if a.startswith("ec2:")},
}
"""What Lambda and DynamoDB do with it where an option asks for it."""

LOG_DELIVERY = {
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
}
TRACES = {"xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"}
"""What Step Functions does with its role to log and to trace (developer guide, "Logging", "X-Ray")."""

WRITES = {"sagemaker:UpdateInferenceComponentRuntimeConfig", "sagemaker:UpdateEndpointWeightsAndCapacities"}
MANAGED = "aws:ResourceTag/quickstep:managed"
OUR_TAGS = {"quickstep:managed", "quickstep:last-change"}
"""Whose an endpoint is, and what was last done to it, for people to read."""

OWN_ITEMS = {"GatewayRole": "HELD#"}
"""Roles that write the registry and never hold a lease, and how the keys of the items begin that are theirs."""
ITEM_WRITES = ("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem")

STACK = {"Ref": "AWS::StackName"}


# -- the checks ----------------------------------------------------------------------------------------------------------------


def policies_are_our_own(edition: Edition) -> Looked:
    """SEC-15."""
    for name, role in edition.of_type("AWS::IAM::Role"):
        arns = texts(role.get("ManagedPolicyArns"))
        foreign = [one for one in arns if edition.type_of(one.strip("${}")) != "AWS::IAM::ManagedPolicy"]
        yield name, f"has a policy that AWS may change: {', '.join(foreign)}" if foreign else None


def every_function_has_its_role(edition: Edition) -> Looked:
    """SEC-15: a role for each function, called after it, so that CloudTrail tells who did it and one may change alone."""
    for function, _ in edition.of_type("AWS::Lambda::Function"):
        role, own = role_of(edition, function), f"{function.removesuffix('Function')}Role"
        sharing = [
            f for f, _ in edition.of_type("AWS::Lambda::Function") if role_of(edition, f) == role and f != function
        ]
        wrong = [f"shares {role} with {', '.join(sharing)}"] if sharing else []
        yield function, "; ".join(wrong + ([f"has {role}; expected {own}"] if role != own else [])) or None


def wildcards_are_on_the_list(edition: Edition) -> Looked:
    """SEC-16, first half: named actions, named resources, and `*` only where AWS leaves no choice."""
    services = {n: assumed_by(role) for n, role in edition.of_type("AWS::IAM::Role")}
    for one in all_statements(edition):
        known = WITHOUT_RESOURCE + WITHOUT_RESOURCE_FOR.get(services[one.role], ())
        wrong = [f"allows the wildcard {action}" for action in one.actions if "*" in action]
        if one.effect != "Allow" or not one.actions or not one.resources or one.where.endswith("/?"):
            wrong.append("must allow named actions (no NotAction) on named resources and have a Sid")
        if "*" in one.resources:
            wrong += [f"allows {a} on everything" for a in one.actions if not any(fnmatchcase(a, k) for k in known)]
        yield one.where, "; ".join(wrong) or None


def actions_are_what_the_code_reaches(edition: Edition) -> Looked:
    """SEC-16, second half: nothing missing, nothing more. The state machine's role invokes what the machine calls."""
    for function, _ in edition.of_type("AWS::Lambda::Function"):
        allowed = {a for one in statements(edition, role_of(edition, function)) for a in one.actions}
        needed = needed_actions(edition, function)
        wrong = [f"may not {a}, which its code can reach" for a in sorted(needed - allowed)]
        wrong += [f"may {a}, which its code never reaches" for a in sorted(allowed - needed)]
        indexes = {
            r for one in statements(edition, role_of(edition, function)) for r in one.resources if "/index/" in r
        }
        asks = _asks_an_index(_code_directory(edition, function))
        if bool(indexes) != asks:
            wrong.append(
                "may not ask the index that its code asks" if asks else "may ask an index that its code never asks"
            )
        yield function, "; ".join(wrong) or None
    for name, machine in edition.of_type("AWS::StepFunctions::StateMachine"):
        role = text(machine["RoleArn"]).removeprefix("${").removesuffix(".Arn}")
        needed = {("lambda:InvokeFunction", arn) for arn in texts(list(machine["DefinitionSubstitutions"].values()))}
        needed |= {(a, "*") for a in LOG_DELIVERY} if machine.get("LoggingConfiguration") else set()
        needed |= {(a, "*") for a in TRACES} if machine.get("TracingConfiguration") else set()
        yield name, "; ".join(_differences(edition, role, needed)) or None
    for role, properties in edition.of_type("AWS::IAM::Role"):
        if assumed_by(properties) == "scheduler.amazonaws.com":
            yield role, "; ".join(_differences(edition, role, _needed_by_schedules(edition))) or None


def resources_are_the_narrowest(edition: Edition) -> Looked:
    """SEC-17: every action exists, and every statement names the narrowest resource that each of its actions knows."""
    for one in all_statements(edition):
        findings = list(resource_findings(edition, one))
        prefix = OWN_ITEMS.get(one.role)
        if prefix is not None and _writes_items(one):
            keys = one.condition.get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys")
            if keys != [f"{prefix}*"]:
                findings.append(f"writes any item of the registry; its own begin with {prefix}")
        yield one.where, "; ".join(findings) or None


def _writes_items(one: Statement) -> bool:
    return any(fnmatchcase(write, action) for write in ITEM_WRITES for action in one.actions)


def a_role_is_handed_to_one_service(edition: Edition) -> Looked:
    """SEC-18."""
    for one in all_statements(edition):
        if not any(fnmatchcase("iam:PassRole", action) for action in one.actions):
            continue
        own = [
            r for r in one.resources if edition.type_of(r.removeprefix("${").removesuffix(".Arn}")) == "AWS::IAM::Role"
        ]
        service = one.equals("iam:PassedToService")
        if len(one.resources) != 1 or list(one.resources) != own:
            yield one.where, f"hands on {', '.join(one.resources)}; expected one role of the stack"
        elif not isinstance(service, str) or "*" in service:
            yield one.where, "hands a role to any service: there is no condition on iam:PassedToService"
        else:
            role = edition.resources[own[0].removeprefix("${").removesuffix(".Arn}")]["Properties"]
            expected = assumed_by(role)
            yield one.where, None if service == expected else f"hands {own[0]} to {service}; only {expected} can use it"


def only_holders_of_the_lease_change_sagemaker(edition: Edition) -> Looked:
    """SEC-19: counts are changed by the functions that hold the write lease; every write and every
    request to a model is bound to name and tag."""
    for function, _ in edition.of_type("AWS::Lambda::Function"):
        allowed = {a for one in statements(edition, role_of(edition, function)) for a in one.actions}
        writes = {a for a in allowed if any(fnmatchcase(w, a) for w in WRITES) or a.startswith("sagemaker:Update")}
        holder = bool(project_code().permitted(_code_directory(edition, function)))
        yield function, f"holds no write lease and may {', '.join(sorted(writes))}" if writes and not holder else None
    for one in all_statements(edition):
        wrong = list(_unbound(one))
        if wrong or _acts(one):
            yield one.where, "; ".join(wrong) or None


def events_are_of_one_kind(edition: Edition) -> Looked:
    """SEC-20."""
    for one in all_statements(edition):
        if "events:PutEvents" not in one.actions:
            continue
        own = {"arn:" + HERE % "events" + "event-bus/default"}
        own |= {f"${{{name}.Arn}}" for name, _ in edition.of_type("AWS::Events::EventBus")}
        wrong = [f"puts events on {r}" for r in one.resources if r not in own]
        for key in ("events:source", "events:detail-type"):
            value = one.equals(key)
            if not value or any("*" in v for v in texts(value)):
                wrong.append(f"puts events of any {key.removeprefix('events:')}")
        yield one.where, "; ".join(wrong) or None


def keys_are_used_through_services(edition: Edition) -> Looked:
    """SEC-14: a key that was given is used only through the services that keep something with it."""
    expected = {f"{service}.${{AWS::Region}}.${{AWS::URLSuffix}}" for service in ("dynamodb", "sns", "sqs")}
    for one in all_statements(edition):
        if any(action.startswith("kms:") for action in one.actions):
            through = set(texts(one.equals("kms:ViaService")))
            bound = bool(through) and through <= expected
            yield one.where, None if bound else f"uses keys through {', '.join(sorted(through)) or 'anything'}"


# -- parts -----------------------------------------------------------------------------------------------------------------


def needed_actions(edition: Edition, function: str) -> set[str]:
    """What the function's code can reach, and what AWS does with its role on its behalf."""
    needed = set(project_code().actions(_code_directory(edition, function))) | ADDED_BY_LAMBDA
    for _, one in edition.of_type("AWS::Lambda::EventInvokeConfig"):
        destination = one.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        if text(one["FunctionName"]) == f"${{{function}}}" and destination:
            queue = text(destination).removeprefix("${").removesuffix(".Arn}")
            needed.add("sns:Publish" if edition.type_of(queue) == "AWS::SNS::Topic" else "sqs:SendMessage")
    if "sagemaker:InvokeEndpointWithResponseStream" in needed:
        # The API's text asks for this one, the reference has the other for streams.
        needed.add("sagemaker:InvokeEndpoint")
    if "scheduler:CreateSchedule" in needed:
        # A schedule is handed the role that it invokes its target with.
        needed.add("iam:PassRole")
    for parameter, actions in ADDED_BY_OPTIONS.items():
        needed |= actions if edition.parameters.get(parameter) else set()
    return needed


def _needed_by_schedules(edition: Edition) -> set[tuple[str, str]]:
    """What EventBridge Scheduler does with its role: invoke what the control API schedules, keep what failed."""
    found = set()
    for _, function in edition.of_type("AWS::Lambda::Function"):
        variables = function.get("Environment", {}).get("Variables", {})
        if "SCHEDULED_ACTION_FUNCTION_ARN" in variables:
            found.add(("lambda:InvokeFunction", text(variables["SCHEDULED_ACTION_FUNCTION_ARN"])))
            found.add(("sqs:SendMessage", text(variables["DEAD_LETTER_QUEUE_ARN"])))
    if edition.parameters.get("KmsKeyArn"):
        found |= {("kms:Decrypt", "${KmsKeyArn}"), ("kms:GenerateDataKey", "${KmsKeyArn}")}
    return found


def _differences(edition: Edition, role: str, needed: set[tuple[str, str]]) -> Iterator[str]:
    allowed = {(a, r) for one in statements(edition, role) for a in one.actions for r in one.resources}
    yield from (f"may not {action} on {resource}, which it needs" for action, resource in sorted(needed - allowed))
    yield from (f"may {action} on {resource}, which it never needs" for action, resource in sorted(allowed - needed))


def _acts(one: Statement) -> list[str]:
    """The statement's actions that change or invoke something in SageMaker."""
    names = [a for a, known in ACTIONS.items() if a.startswith("sagemaker:") and (known.changes or ":Invoke" in a)]
    return [n for n in names if any(fnmatchcase(n, action) for action in one.actions)]


def _unbound(one: Statement) -> Iterator[str]:
    for action in _acts(one):
        unnamed = [r for r in one.resources if not r.endswith(f"/{NAMES}")]
        if unnamed:
            yield f"allows {action} on any name ({', '.join(unnamed)})"
        tags = action in ("sagemaker:AddTags", "sagemaker:DeleteTags")
        keys = texts(one.condition.get("ForAllValues:StringEquals", {}).get("aws:TagKeys"))
        if tags and not (keys and set(keys) <= OUR_TAGS):
            yield f"allows {action} of any tag"
        # The tag of this stack is given to what has none yet; for everything else it must be there.
        marks = action == "sagemaker:AddTags" and "quickstep:managed" in keys
        if one.equals("aws:RequestTag/quickstep:managed" if marks else MANAGED) != STACK:
            yield f"allows {action} without the tag of this stack"
    unknown = [a for a in one.actions if a.startswith("sagemaker:Update") and a not in ACTIONS]
    yield from (f"allows {a}, which nothing here binds" for a in unknown)


def _code_directory(edition: Edition, function: str) -> str:
    """`OnAlarmFunction` -> `on_alarm`, from the template as written."""
    return str(edition.source["Resources"][function]["Properties"]["CodeUri"]).rsplit("/", 1)[-1]


@cache
def project_code() -> Code:
    """The parsed package and handlers, as they are on disk."""
    return Code(sources(), handlers())


@cache
def _asks_an_index(directory: str) -> bool:
    code = project_code()
    for name in code.reached(directory):
        body = code.definitions[name]
        if not isinstance(body, ast.ClassDef) and "IndexName" in ast.unparse(body):
            return True
    return False
