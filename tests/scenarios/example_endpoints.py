"""The endpoints of `examples/endpoints/` in an emulated account, with Quickstep beside them and clients in front."""

from __future__ import annotations

import json
import urllib.request
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from simulator import endpoint_stack
from simulator.account import EmulatedAccount
from simulator.aws.sagemaker_delays import Delays
from simulator.physics.fleet import CopyFleet
from simulator.physics.profiles import profile_named
from simulator.physics.requests import ClosedLoop
from simulator.template import load_stack

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "endpoints"
TEMPLATES = sorted(path.name for path in EXAMPLES.glob("*.yaml"))
IMAGE = "763104351884.dkr.ecr.eu-west-1.amazonaws.com/djl-inference:0.33.0-lmi15.0.0-cu128"
GIVEN = {"ImageUri": IMAGE, "ModelBucket": "weights"}
PARAMETERS = {
    "single_model.yaml": GIVEN | {"ModelPrefix": "models/chat/"},
    "several_models.yaml": GIVEN | {"ChatPrefix": "models/chat/", "SummaryPrefix": "models/summary/"},
    "scale_to_zero.yaml": GIVEN | {"ModelPrefix": "models/chat/"},
}
COPIES_OF = "inference-component/{}".format


@contextmanager
def account_with(quickstep: dict[str, str]):
    """An account with Quickstep in it and, as the clock starts, no endpoint."""
    options = {"delays": Delays(release_delay_s=300.0)}
    with EmulatedAccount(
        ROOT / "template.yaml", {"EndpointName": "llm", **quickstep}, sagemaker_options=options
    ) as one:
        yield one


def deploy(account: EmulatedAccount, name: str, **parameters: str) -> endpoint_stack.EndpointStack:
    return endpoint_stack.create(account, EXAMPLES / name, PARAMETERS[name] | parameters)


def clients(
    account: EmulatedAccount, resource_id: str, *levels: int, routing: str = "LEAST_OUTSTANDING_REQUESTS"
) -> None:
    """From now on `levels` requests in flight, minute by minute, from clients that try again every 5 s."""
    loop = ClosedLoop(tuple(levels), 60.0, start_s=account.clock.now_s)
    fleet = CopyFleet(profile_named("M"), loop, routing, client_timeout_s=900, retry_interval_s=5)
    account.sagemaker.attach_load(resource_id, fleet)


def supply(account: EmulatedAccount, resource_id: str):
    found = account.sagemaker.supply_at(resource_id, account.clock.now_s)
    assert found is not None
    return found


def writes(account: EmulatedAccount, operation: str) -> list[dict[str, Any]]:
    return [one.params for one in account.sagemaker.calls if one.operation == operation and one.actor == "product"]


def register(account: EmulatedAccount, **parameters: str) -> None:
    """Deploy components_registered.yaml: CloudFormation asks the deployed control function, which answers to an address."""
    stack = load_stack(EXAMPLES / "components_registered.yaml", parameters, imports=account.stack.exports)
    physical: dict[str, str] = {}
    for logical_id in ("Target", "Policy"):
        properties = dict(stack[logical_id].properties)
        assert properties["ServiceToken"] == account.stack["ControlFunction"].arn
        if logical_id == "Policy":
            properties["ScalingTargetId"] = physical["Target"]  # what Ref of a custom resource gives
        physical[logical_id] = custom_resource(account, stack[logical_id].type, logical_id, properties)


def custom_resource(account: EmulatedAccount, kind: str, logical_id: str, properties: dict[str, Any]) -> str:
    event = {
        "RequestType": "Create",
        "ResponseURL": "https://cloudformation-custom-resource-response-euwest1.s3-eu-west-1.amazonaws.com/answer?X=y",
        "StackId": "arn:aws:cloudformation:eu-west-1:111122223333:stack/summary/4f6c",
        "RequestId": f"create-{logical_id}",
        "ResourceType": kind,
        "LogicalResourceId": logical_id,
        "ResourceProperties": properties,
    }
    received: list[dict[str, Any]] = []

    def urlopen(request, timeout):
        received.append(json.loads(request.data))
        return nullcontext()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urllib.request, "urlopen", urlopen)  # S3 is not there
        outcome = account.invoke("ControlFunction", event)
    assert outcome.error is None, outcome.error
    (answer,) = received
    assert answer["Status"] == "SUCCESS", answer
    return answer["PhysicalResourceId"]


def pause(account: EmulatedAccount) -> None:
    """The users' deploy lock: whatever happens to the count of `chat` from now on is not Quickstep's doing."""
    parameters = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "inference-component/chat",
        "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
        "QuickstepOptions": {"Paused": True, "PausedForSeconds": 7200},
    }
    outcome = account.invoke("ControlFunction", {"operation": "RegisterScalableTarget", "parameters": parameters})
    assert outcome.error is None and "__type" not in outcome.payload, outcome
