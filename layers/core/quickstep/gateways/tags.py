"""The tag `quickstep:managed=<stack>`: registration sets it, and the permission to write to SageMaker asks for it."""

from __future__ import annotations

from quickstep.gateways.aws import client
from quickstep.gateways.refusals import translated
from quickstep.model.targets import ScalableTarget

MANAGED = "quickstep:managed"


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
