"""SageMaker and Application Auto Scaling over HTTP, as handlers of MiniStack.

The control planes speak JSON 1.1 with the operation in `x-amz-target`; the inference requests of real clients come in
by path and are answered when the emulated copy has produced the last token.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ministack import app
from ministack.core import router
from ministack.core.iam_evaluator import caller_arn
from ministack.services import stepfunctions
from world import World, plain

from simulator.errors import ServiceError
from simulator.physics.requests import Status

Answer = tuple[int, dict[str, str], bytes]

JSON_1_1 = {"Content-Type": "application/x-amz-json-1.1"}
INVOCATIONS = re.compile(r"/endpoints/([^/]+)/invocations")
COMPONENT_HEADER = "x-amzn-sagemaker-inference-component"


def register(world: World) -> None:
    """Make MiniStack route both services to `world`."""
    _add_service("sagemaker", "SageMaker", partial(_sagemaker, world))
    _add_service("application-autoscaling", "AnyScaleFrontendService", partial(_autoscaling, world))
    stepfunctions._AWS_SDK_SERVICE_MAP["sagemaker"] = {"target_prefix": "SageMaker", "protocol": "json"}


def _add_service(name: str, target: str, handler: Callable[..., Any]) -> None:
    app.SERVICE_HANDLERS[name] = handler
    router.SERVICE_PATTERNS[name] = {"target_prefixes": [target + "."], "credential_scope": name}


async def _sagemaker(
    world: World, method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
) -> Answer:
    invocation = INVOCATIONS.fullmatch(path)
    if invocation is not None:
        return await _invoke(world, invocation[1], headers, body)
    operation = headers.get("x-amz-target", ".").split(".", 1)[1]
    by_product = ":assumed-role/" in caller_arn()
    return _answer(lambda params: world.call_sagemaker(operation, params, by_product=by_product), body)


async def _autoscaling(
    world: World, method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
) -> Answer:
    operation = headers.get("x-amz-target", ".").split(".", 1)[1]
    world.catch_up()
    return _answer(lambda params: world.autoscaling.call(operation, params), body)


def _answer(call: Callable[[dict[str, Any]], dict[str, Any]], body: bytes) -> Answer:
    try:
        answer = call(json.loads(body or b"{}"))
    except ServiceError as refused:
        return refused.status, dict(JSON_1_1), _error(refused.code, refused.message)
    return 200, dict(JSON_1_1), json.dumps(answer, default=plain).encode()


async def _invoke(world: World, endpoint: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """One inference request: {"input_tokens", "output_tokens"}; answers when its last token is there."""
    scene = world.scene
    component = headers.get(COMPONENT_HEADER, "")
    if endpoint != scene.endpoint or component != scene.component:
        return 400, dict(JSON_1_1), _error("ValidationError", f"Endpoint {endpoint} has no component {component!r}.")
    asked = json.loads(body)
    ended: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
    world.submit(asked["input_tokens"], asked["output_tokens"], ended.set_result)
    status = await ended
    if status is Status.SERVED:
        return 200, {"Content-Type": "application/json"}, json.dumps({"tokens": asked["output_tokens"]}).encode()
    if status is Status.LOST_NO_CAPACITY:
        text = f"Inference Component has no capacity to process this request. {component}"
        return 400, dict(JSON_1_1), _error("ValidationError", text)
    return 424, dict(JSON_1_1), _error("ModelError", f"The stream of this request broke off: {status.name}.")


def _error(code: str, message: str) -> bytes:
    return json.dumps({"__type": code, "message": message}).encode()
