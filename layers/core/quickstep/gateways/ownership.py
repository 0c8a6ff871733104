"""Whose a SageMaker resource is: reading and removing the tag `quickstep:managed=<stack>` that `gateways/tags.py` sets."""

from __future__ import annotations

from collections.abc import Mapping

from quickstep.errors import ComponentNotFound, EndpointNotFound
from quickstep.gateways.aws import client
from quickstep.gateways.refusals import translated
from quickstep.gateways.tags import LAST_CHANGE, MANAGED
from quickstep.model.targets import TargetId


def managing_stacks(target_id: TargetId, endpoint: str) -> Mapping[str, str]:
    """The stack whose tag is on the target's endpoint and component, by resource (`endpoint books`); untagged are absent.

    Raises the errors of `refusals`.
    """
    found = {what: _stack_of(what, arn) for what, arn in _arns(target_id, endpoint)}
    return {what: stack for what, stack in found.items() if stack is not None}


def unmark(target_id: TargetId, endpoint: str, *, stack: str, endpoint_too: bool) -> None:
    """Take the tag of `stack` off the component, and off the endpoint if nothing of it is managed any more.

    Another stack's tag stays. What does not exist any more is no error.
    """
    try:
        arns = _arns(target_id, endpoint)
    except (ComponentNotFound, EndpointNotFound):
        return
    for what, arn in arns:
        if (endpoint_too or not what.startswith("endpoint ")) and _stack_of(what, arn) == stack:
            with translated(f"untag {what}"):
                client("sagemaker").delete_tags(ResourceArn=arn, TagKeys=[MANAGED, LAST_CHANGE])


def _stack_of(what: str, arn: str) -> str | None:
    request: dict[str, str] = {"ResourceArn": arn}
    with translated(f"read the tags of {what}"):
        while True:
            page = client("sagemaker").list_tags(**request)
            for tag in page.get("Tags") or ():
                if tag["Key"] == MANAGED:
                    return tag["Value"]
            if not page.get("NextToken"):
                return None
            request["NextToken"] = page["NextToken"]


def _arns(target_id: TargetId, endpoint: str) -> list[tuple[str, str]]:
    sagemaker = client("sagemaker")
    found = []
    with translated(f"describe endpoint {endpoint}"):
        found.append((f"endpoint {endpoint}", sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointArn"]))
    component = target_id.component
    if component is not None:
        with translated(f"describe inference component {component}"):
            answer = sagemaker.describe_inference_component(InferenceComponentName=component)
        found.append((f"inference component {component}", answer["InferenceComponentArn"]))
    return found
