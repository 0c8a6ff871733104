"""IAM for what MiniStack does not know: the resources and condition keys of SageMaker and Application Auto Scaling.

MiniStack decides, from the roles and policies that the deployment put there. It only has to be told which resource and
which keys a call has; for these services that is derived by the same table as in the emulated account
(simulator/aws/iam_requests.py). Of services that MiniStack does have, added here are the condition keys `events:source`
and `events:detail-type` of PutEvents, and the resources of those CloudWatch calls that name no single alarm, for which
MiniStack assumes "*" although AWS checks alarms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, TextIO

from ministack.core import iam_actions, iam_evaluator
from ministack.services import tagging
from world import World

from simulator.aws.iam_policy import Request
from simulator.aws.iam_requests import Permissions

OURS = ("sagemaker", "application-autoscaling")
ALARM_CALLS = ("DescribeAlarms", "DeleteAlarms", "ListTagsForResource")
_INVOCATION = re.compile(r"/endpoints/([^/]+)/invocations")


def register(world: World, denials: TextIO) -> None:
    """Teach MiniStack's enforcement the services of `world`; every call it refuses becomes one JSON line in `denials`."""
    permissions = Permissions(world.scene.account, world.scene.region)
    for service in OURS:
        iam_actions.SERVICE_TO_IAM_NAMESPACE[service] = service
    iam_actions._BOTOCORE_SERVICE_MAP["sagemaker"] = ["sagemaker-runtime"]
    tagging._RESOURCE_TAG_COLLECTORS["sagemaker"] = lambda: _tags(world)
    resource_before, context_before = iam_actions.extract_resource_arn, iam_actions.request_tag_context

    def extract_resource_arn(service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> str:
        operation = headers.get("x-amz-target", ".").split(".", 1)[1]
        if service == "monitoring" and operation in ALARM_CALLS:
            # Of several alarms MiniStack asks about one; all of a stack begin with the same prefix.
            return permissions.needed("cloudwatch", operation, json.loads(body))[0].resource
        if service not in OURS:
            return resource_before(service, method, path, headers, body, *rest)
        invocation = _INVOCATION.fullmatch(path)
        if invocation is not None:
            return permissions.arn("sagemaker", f"endpoint/{invocation[1].lower()}")
        return _needed(permissions, service, operation, body).resource

    def request_tag_context(service: str, action: str, body: bytes, params: Any) -> dict[str, Any]:
        if service == "events" and action == "events:PutEvents":
            entries = json.loads(body).get("Entries", [])
            return {
                "events:source": _one({entry.get("Source", "") for entry in entries}),
                "events:detail-type": _one({entry.get("DetailType", "") for entry in entries}),
            }
        if service not in OURS:
            return context_before(service, action, body, params)
        if action == "sagemaker:InvokeEndpoint":
            return {}
        keys = _needed(permissions, service, action.split(":", 1)[1], body).keys
        return {
            name: values[0] if name.startswith("aws:requesttag/") else list(values) for name, values in keys.items()
        }

    enforce_before = iam_evaluator.enforce

    def enforce(access_key: str, action: str, *rest: Any, **named: Any) -> Any:
        refused = enforce_before(access_key, action, *rest, **named)
        if refused is not None:
            principal = getattr(refused, "principal_arn", "") or "unknown"
            record = {"principal": principal, "action": action, "resource": named.get("resource_arn", "*")}
            denials.write(json.dumps(record) + "\n")
            denials.flush()
        return refused

    iam_evaluator.enforce = enforce
    iam_actions.extract_resource_arn = extract_resource_arn
    iam_actions.request_tag_context = request_tag_context


def _one(values: set[str]) -> Any:
    """A key with one value as that value: MiniStack compares a list with StringEquals as a text of a list."""
    return next(iter(values)) if len(values) == 1 else sorted(values)


def _needed(permissions: Permissions, service: str, operation: str, body: bytes) -> Request:
    """What the call needs. MiniStack asks about one resource per call, so a call that needs two is refused here."""
    needed = permissions.needed(service, operation, json.loads(body or b"{}"))
    if len(needed) != 1:
        raise NotImplementedError(
            f"{service} {operation} needs {len(needed)} permissions; MiniStack checks one per call"
        )
    return needed[0]


def _tags(world: World) -> Iterable[tuple[str, list[dict[str, str]]]]:
    for arn, tags in world.tags():
        yield arn, [{"Key": key, "Value": value} for key, value in tags.items()]
