"""Clients for people's own code: `from quickstep import clients`; streaming is `quickstep.clients.streaming`."""

from __future__ import annotations

from typing import Any

from quickstep.gateways import control_client


def control(
    *,
    url: str | None = None,
    function_name: str | None = None,
    region: str | None = None,
    session: Any = None,
) -> Any:
    """A boto3-style client of the control API: every method, argument and error of boto3 for `application-autoscaling`.

    Give the `url` of the control function (stack output `ControlUrl`; the caller needs `lambda:InvokeFunctionUrl`) or its
    `function_name` (output `ControlFunctionName`; `lambda:InvokeFunction`). `region` is read from the URL, else from the
    usual places. `session` is a boto3 or botocore session whose credentials are used; without one they come from the
    environment. Beyond AAS's members the client takes `QuickstepOptions` (docs/control_api.md). Raises ValueError unless
    exactly one of `url` and `function_name` is given.

    Example:
        client = clients.control(url="https://….lambda-url.eu-west-1.on.aws/")
        client.register_scalable_target(
            ServiceNamespace="sagemaker", ResourceId="inference-component/chat",
            ScalableDimension="sagemaker:inference-component:DesiredCopyCount", MinCapacity=1, MaxCapacity=8)
    """
    return control_client.make(url=url, function_name=function_name, region=region, session=session)
