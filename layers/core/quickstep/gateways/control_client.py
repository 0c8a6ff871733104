"""A client of the control API: Application Auto Scaling's own client, talking to Quickstep instead.

The client is botocore's, made from the same description of the service with Quickstep's members in it. Over the
function URL it signs for the service `lambda`, which a plain client of `application-autoscaling` would not; by the
function's name every request is a Lambda invocation, for callers that may invoke but have no way to the URL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from quickstep.gateways.autoscaling_model import SERVICE, description

_REGION = re.compile(r"\.lambda-url\.([a-z0-9-]+)\.on\.aws")
FULL_NAME = "Quickstep control API"
_ATTEMPTS = 4
"""Every operation may be repeated; a target that is being changed (ConcurrentUpdateException) the caller repeats."""


def make(
    *,
    url: str | None = None,
    function_name: str | None = None,
    region: str | None = None,
    session: Any = None,
) -> Any:
    """See `quickstep.clients.control`."""
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.session import Session

    if (url is None) == (function_name is None):
        raise ValueError(f"url is {url!r} and function_name is {function_name!r}; give exactly one of them")
    inner = Session()
    if session is not None:
        # A boto3 session keeps its own; a botocore session is one.
        outer = getattr(session, "_session", session)
        inner._credentials = outer.get_credentials()
        region = region or outer.get_config_variable("region")
    inner.register_component("data_loader", _Loader(inner.get_component("data_loader"), _described(url)))
    retries = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
    if url is not None:
        found = _REGION.search(url)
        return inner.create_client(
            SERVICE,
            region_name=found[1] if found else region,
            endpoint_url=url,
            config=Config(signature_version="v4", retries=retries),
        )
    region = region or inner.get_config_variable("region")
    made = inner.create_client(SERVICE, region_name=region, config=Config(signature_version=UNSIGNED, retries=retries))
    invoker = inner.create_client("lambda", region_name=region, config=Config(retries=retries))
    send = _ByInvocation(invoker, str(function_name))
    made.meta.events.register_first(f"before-send.{made.meta.service_model.service_id.hyphenize()}.*", send)
    return made


def _described(url: str | None) -> Mapping[str, Any]:
    found = deepcopy(dict(description()))
    # Who looks at a client sees whose it is: it is not Application Auto Scaling that answers.
    own = {"serviceFullName": FULL_NAME} | ({"signingName": "lambda"} if url is not None else {})
    found["metadata"] = {**found["metadata"], **own}
    return found


class _Loader:
    """botocore's loader, but for the one service that has our members."""

    def __init__(self, inner: Any, service: Mapping[str, Any]) -> None:
        self._inner, self._service = inner, service

    def load_service_model(self, service_name: str, type_name: str, api_version: str | None = None) -> Any:
        if (service_name, type_name) == (SERVICE, "service-2"):
            return self._service
        return self._inner.load_service_model(service_name, type_name, api_version)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _ByInvocation:
    """Carries a request to the function by invoking it, and its answer back as an HTTP response."""

    def __init__(self, invoker: Any, function_name: str) -> None:
        self._invoker, self._function_name = invoker, function_name

    def __call__(self, request: Any, **_: Any) -> Any:
        from botocore.awsrequest import AWSResponse

        target = request.headers["X-Amz-Target"]
        target = target.decode() if isinstance(target, bytes) else target
        event = {"operation": target.partition(".")[2], "parameters": json.loads(request.body or "{}")}
        answer = self._invoker.invoke(FunctionName=self._function_name, Payload=json.dumps(event).encode())
        text = answer["Payload"].read()
        if answer.get("FunctionError"):
            problem = json.loads(text)
            said = f"{problem.get('errorType')}: {problem.get('errorMessage')}"
            text = json.dumps({"__type": "InternalServiceException", "message": said}).encode()
        document = json.loads(text)
        code = document.get("__type") if isinstance(document, dict) else None
        status = 200 if code is None else 500 if code == "InternalServiceException" else 400
        headers = {"content-type": "application/x-amz-json-1.1"}
        return AWSResponse(request.url, status, headers | ({"x-amzn-errortype": code} if code else {}), _Body(text))


class _Body:
    """A body as urllib3 would stream it."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self._text
