"""A role that lacks one permission must be seen to fail: a sample, on the deployed roles.

One action at a time is taken out of every policy of a role, the function is invoked, and three things must be: MiniStack
refused the action to that role, somebody who reads the answer or the log sees it named, and with the policy restored the
same invocation is refused nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from account import Account

LOG_LIMIT_S = 5


@dataclass(frozen=True)
class Case:
    """Without `action` in `role`, `function` fails on the event (a rendered file of events/, or a request)."""

    role: str
    action: str
    function: str
    event: str | dict[str, Any]


LOOK = "look_requested.json"
TARGETS = {"operation": "DescribeScalableTargets", "parameters": {"ServiceNamespace": "sagemaker"}}
REGISTER = {
    "operation": "RegisterScalableTarget",
    "parameters": {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "inference-component/chat-llm",
        "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
        "MinCapacity": 1,
    },
}
SAMPLE = (
    Case("OnAlarmRole", "dynamodb:GetItem", "OnAlarmFunction", LOOK),
    Case("OnAlarmRole", "dynamodb:Query", "OnAlarmFunction", LOOK),
    Case("OnAlarmRole", "dynamodb:UpdateItem", "OnAlarmFunction", LOOK),
    Case("OnAlarmRole", "sagemaker:DescribeEndpoint", "OnAlarmFunction", LOOK),
    Case("OnAlarmRole", "sagemaker:DescribeInferenceComponent", "OnAlarmFunction", LOOK),
    Case("OnAlarmRole", "sagemaker:ListInferenceComponents", "OnAlarmFunction", LOOK),
    Case("OnAlarmRole", "cloudwatch:GetMetricData", "OnAlarmFunction", LOOK),
    Case("OnAlarmRole", "cloudwatch:DescribeAlarms", "OnAlarmFunction", LOOK),
    Case("ReconcileRole", "dynamodb:Query", "ReconcileFunction", "schedule_tick.json"),
    Case("ReconcileRole", "cloudwatch:DescribeAlarms", "ReconcileFunction", "schedule_tick.json"),
    Case("ControlRole", "dynamodb:Query", "ControlFunction", TARGETS),
    Case("ControlRole", "application-autoscaling:DescribeScalableTargets", "ControlFunction", REGISTER),
    Case("RecordFailureRole", "dynamodb:UpdateItem", "RecordFailureFunction", "loop_payload.json"),
)


def failures(account: Account, physical: dict[str, tuple[str, str]], events: Path, case: Case) -> list[str]:
    """What is not as it must be when `case` is tried; empty if all is well."""
    role, function = physical[case.role][1], physical[case.function][1]
    payload = (events / case.event).read_bytes() if isinstance(case.event, str) else json.dumps(case.event).encode()
    if isinstance(case.event, str) and case.event == "loop_payload.json":
        payload = json.dumps(json.loads(payload) | {"error": {"Error": "E2e", "Cause": "a trial"}}).encode()
    found = []
    with without(account, role, case.action):
        began_s, before = time.time(), len(account.records("denials"))
        answer = _invoke(account, function, payload)
        refused = account.records("denials")[before:]
        if not any(one["action"] == case.action and f"/{role}/" in one["principal"] for one in refused):
            found.append(
                f"{case.role} without {case.action}: nothing was refused, so the permission is not needed here"
            )
        elif case.action not in answer and not is_logged(account, physical, case.action, began_s):
            found.append(f"{case.role} without {case.action}: refused, and neither the answer nor the log says so")
    before = len(account.records("denials"))
    _invoke(account, function, payload)
    still = [one["action"] for one in account.records("denials")[before:] if f"/{role}/" in one["principal"]]
    return found + [f"{case.role} restored: {action} is still refused" for action in still]


@contextmanager
def without(account: Account, role: str, action: str) -> Iterator[None]:
    """Take one action out of every policy of the role; put it back at the end. LookupError if none has it."""
    iam = account.client("iam")
    changed: list[tuple[str, dict[str, Any]]] = []
    for one in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = one["PolicyArn"]
        old = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=old)["PolicyVersion"]["Document"]
        less = _less(document, action)
        if less != document:
            _replace(iam, arn, old, less)
            changed.append((arn, document))
    if not changed:
        raise LookupError(f"no policy of {role} allows {action}; bring the sample in removed_permissions.py up to date")
    try:
        yield
    finally:
        for arn, document in changed:
            _replace(iam, arn, iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"], document)


def _replace(iam: Any, arn: str, old: str, document: dict[str, Any]) -> None:
    """Make `document` the only version of a policy. MiniStack has no SetDefaultPolicyVersion."""
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(document), SetAsDefault=True)
    iam.delete_policy_version(PolicyArn=arn, VersionId=old)


def _less(document: dict[str, Any], action: str) -> dict[str, Any]:
    statements = []
    for statement in document["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        left = [one for one in actions if one != action]
        if left:
            statements.append(statement if left == actions else {**statement, "Action": left})
    if not statements:
        # A policy must have a statement; this one says the same as none at all.
        statements = [{"Effect": "Deny", "Action": action, "Resource": "*"}]
    return {**document, "Statement": statements}


def _invoke(account: Account, function: str, payload: bytes) -> str:
    answer = account.client("lambda").invoke(FunctionName=function, Payload=payload)
    return answer["Payload"].read().decode()


def is_logged(account: Account, physical: dict[str, tuple[str, str]], action: str, since_s: float) -> bool:
    """Whether a function has logged since then that its role may not do `action`."""
    logs, group = account.client("logs"), physical["FunctionsLogGroup"][1]
    limit_s = time.monotonic() + LOG_LIMIT_S
    while time.monotonic() < limit_s:
        events = logs.filter_log_events(logGroupName=group, startTime=int(since_s * 1000) - 1000)["events"]
        if any("not authorized to perform" in one["message"] and action in one["message"] for one in events):
            return True
        time.sleep(0.3)
    return False
