"""Tags on what is scaled: `quickstep:managed=<stack>` and `quickstep:last-change`.

Registration sets the first, and the permission to write to SageMaker asks for it. The second is for a person who looks
at the resource in the console; nothing reads it.
"""

from __future__ import annotations

import re

from quickstep.gateways.aws import client, write_client
from quickstep.gateways.refusals import translated
from quickstep.model.targets import ScalableTarget

MANAGED = "quickstep:managed"
LAST_CHANGE = "quickstep:last-change"
_NOT_IN_A_VALUE = re.compile(r"[^\w\s_.:/=+\-@]")
"""A tag's value may hold nothing else (SageMaker API reference, `Tag`)."""


def mark_managed(target: ScalableTarget, *, stack: str) -> tuple[str, ...]:
    """Tag the target's endpoint and component as managed by `stack`; return the ARNs that were tagged.

    Setting the tag again is harmless. Another stack's tag would be replaced: ask
    `ownership.managing_stacks` first.
    Raises the errors of `refusals`, `EndpointNotFound` and `ComponentNotFound` among them.
    """
    sagemaker = client("sagemaker")
    arns = []
    with translated(f"tag endpoint {target.endpoint}"):
        arn = sagemaker.describe_endpoint(EndpointName=target.endpoint)["EndpointArn"]
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": MANAGED, "Value": stack}])
        arns.append(arn)
    component = target.target_id.component
    if component is not None:
        with translated(f"tag inference component {component}"):
            answer = sagemaker.describe_inference_component(InferenceComponentName=component)
            arn = answer["InferenceComponentArn"]
            sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": MANAGED, "Value": stack}])
            arns.append(arn)
    return tuple(arns)


def mark_change(arn: str, what: str) -> None:
    """Tag a resource of ours with what was changed last. Raises the errors of `refusals`."""
    value = _NOT_IN_A_VALUE.sub(" ", what)[:256]
    with translated(f"tag {arn} with its last change"):
        write_client("sagemaker").add_tags(ResourceArn=arn, Tags=[{"Key": LAST_CHANGE, "Value": value}])
