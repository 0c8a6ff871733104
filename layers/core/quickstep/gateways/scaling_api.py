"""Calls of an API with Application Auto Scaling's shapes, by operation name: AAS's own, and Quickstep's control API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from quickstep.errors import QuickstepError
from quickstep.gateways import control_client
from quickstep.gateways.aws import client
from quickstep.gateways.refusals import refusal

Method = Callable[..., Mapping[str, Any]]
Call = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""(operation, parameters) → answer without its metadata. Raises ApiRefused and the errors of `refusals`."""


class ApiRefused(QuickstepError):
    """The API answered with an error; `code` is its name."""

    def __init__(self, operation: str, code: str, message: str) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.code = code


def application_auto_scaling() -> Call:
    """Calls of Application Auto Scaling in this account and region: those that read, and the one that suspends.

    No other can be made through this, so nothing of Application Auto Scaling's can be deleted.
    """
    aas = client("application-autoscaling")
    methods = {
        "DescribeScalableTargets": aas.describe_scalable_targets,
        "DescribeScalingPolicies": aas.describe_scaling_policies,
        "DescribeScheduledActions": aas.describe_scheduled_actions,
        "ListTagsForResource": aas.list_tags_for_resource,
        "RegisterScalableTarget": aas.register_scalable_target,
    }
    return _calls(methods.__getitem__)


def quickstep_control(function_name: str) -> Call:
    """Calls of the control API of the stack with that control function, by invoking it."""
    made = control_client.make(function_name=function_name)

    def method(operation: str) -> Method:
        from botocore import xform_name

        return getattr(made, xform_name(operation))

    return _calls(method)


def pages(call: Call, operation: str, key: str, params: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every row under `key` of all pages of a Describe operation."""
    token: dict[str, Any] = {}
    while True:
        answer = call(operation, {**params, **token})
        yield from answer.get(key) or ()
        if not answer.get("NextToken"):
            return
        token = {"NextToken": answer["NextToken"]}


def _calls(method: Callable[[str], Method]) -> Call:
    def call(operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = method(operation)(**params)
        except ClientError as error:
            told = error.response.get("Error") or {}
            raise ApiRefused(operation, str(told.get("Code")), str(told.get("Message"))) from error
        except BotoCoreError as error:
            raise refusal(error, what=operation) from error
        return {key: value for key, value in answer.items() if key != "ResponseMetadata"}

    return call
