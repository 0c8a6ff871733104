"""A deployed Quickstep stack, seen from outside of it: its outputs, and what its functions were deployed with.

For commands that people run with their own credentials, which need `cloudformation:DescribeStacks` and
`lambda:GetFunctionConfiguration` for this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quickstep.errors import AwsRefused, QuickstepError
from quickstep.gateways.aws import client
from quickstep.gateways.refusals import translated
from quickstep.settings import Settings


class StackNotFound(QuickstepError):
    """There is no such stack, or it is none of Quickstep's."""


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """One stack."""

    name: str
    status: str
    """CloudFormation's word: CREATE_COMPLETE, UPDATE_COMPLETE, …"""
    outputs: Mapping[str, str]
    settings: Settings

    @property
    def control_function(self) -> str:
        return self.outputs["ControlFunctionName"]


def deployed_stack(name: str) -> DeployedStack:
    """The stack called `name` in this account and region.

    Raises StackNotFound, InvalidSettings if its functions have other variables than this version knows, and the errors
    of `refusals`.
    """
    try:
        with translated(f"describe stack {name}"):
            rows = client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except AwsRefused as error:
        if "does not exist" in str(error):
            raise StackNotFound(
                f"there is no stack {name} in this account and region; give its name with --stack, and --region or --profile "
                "if it is elsewhere"
            ) from error
        raise
    outputs = {row["OutputKey"]: row["OutputValue"] for row in rows[0].get("Outputs") or ()}
    if "ControlFunctionName" not in outputs:
        raise StackNotFound(
            f"stack {name} has no output ControlFunctionName, so it is no stack of Quickstep, or an older one; give another "
            "name with --stack, or deploy this version"
        )
    function = outputs["ControlFunctionName"]
    with translated(f"read the configuration of function {function}"):
        row = client("lambda").get_function_configuration(FunctionName=function)
    variables = dict((row.get("Environment") or {}).get("Variables") or {})
    region = row["FunctionArn"].split(":")[3]
    settings = Settings.from_environment({"AWS_REGION": region, **variables})
    return DeployedStack(name, rows[0].get("StackStatus", ""), outputs, settings)
