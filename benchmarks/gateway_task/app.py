"""The gateway as the benchmark deploys it: one component that is always there, so that no registry is asked."""

from __future__ import annotations

import base64
from typing import Any

from quickstep.front.aws import Account
from quickstep.front.front import Front, Patience
from quickstep.front.http import Request, Response


class OneComponent(Account):
    """`chat` on the endpoint `llm`."""

    def endpoint_of(self, component: str) -> str | None:
        return "llm" if component == "chat" else None


def front() -> Front:
    """A front for it, whose invocations go out over HTTP as ever."""
    return Front(OneComponent("registry"), Patience(hold_s=60.0, heartbeat_s=10.0, most_held=200))


_FRONT = front()


def handler(event: dict[str, Any], context: Any) -> Response:
    """What functions/gateway does, with that front."""
    body = base64.b64decode(event["body"])
    headers = {name.lower(): value for name, value in event["headers"].items()}
    request = Request(
        event["requestContext"]["http"]["method"], event["rawPath"], headers, body, context.aws_request_id
    )
    return _FRONT.respond_to(request)
