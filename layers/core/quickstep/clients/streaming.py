"""Streams without a proxy: an OpenAI client straight to SageMaker, boto3's streams read safely, both with their timings.

    from openai import OpenAI
    from quickstep.clients import streaming

    client = OpenAI(**streaming.openai_options(endpoint="llm", component="chat", region="eu-west-1"))

The client signs every request with a fresh bearer token, and waits for a component that wakes from zero, knocking at
Quickstep at once. It needs the extra `client` (`pip install 'quickstep[client]'`); all else here needs botocore alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from quickstep.clients.answers import ContainerError, characters, parts, records, text
from quickstep.clients.timings import NAMESPACE, Publisher, Stopwatch
from quickstep.errors import StreamBroken
from quickstep.gateways.caller import Caller

if TYPE_CHECKING:
    import httpx

__all__ = [
    "NAMESPACE",
    "ContainerError",
    "Publisher",
    "Stopwatch",
    "StreamBroken",
    "bearer_token",
    "characters",
    "gateway_options",
    "openai_options",
    "parts",
    "records",
    "text",
]

TOKEN_S = 900
"""A token is made for each request; it must outlive only the moment in which that is sent."""
NOT_A_KEY = "made-for-each-request"
"""OpenAI's client wants a key; what it sends is replaced."""


def openai_options(
    *,
    endpoint: str,
    component: str | None = None,
    region: str | None = None,
    session: Any = None,
    deadline_s: float = 900.0,
    wake: bool = True,
    runtime_url: str | None = None,
    asynchronous: bool = False,
) -> dict[str, Any]:
    """Arguments for `OpenAI(...)`, or with `asynchronous` for `AsyncOpenAI(...)`: SageMaker's own OpenAI path, no proxy.

    A request that finds no copy wakes `component` and is made again, as are those that fail before the first byte, until
    `deadline_s` seconds are over. With `wake` the caller needs `events:PutEvents`; without, the wake alarm does it, about a
    minute later. `runtime_url` is another runtime than the region's (a VPC endpoint, `quickstep serve`). The `model` of a
    request means nothing to SageMaker: pass "". Raises `ValueError` without region or credentials, `ImportError` without httpx.
    """
    caller = Caller(session, region)
    host = runtime_url or f"https://runtime.sagemaker.{caller.region}.{_domain(caller.region)}"
    path = f"/endpoints/{endpoint}" + (f"/inference-components/{component}" if component else "") + "/openai/v1"

    def sign(_: httpx.Request) -> Mapping[str, str]:
        return {"authorization": f"Bearer {caller.bearer_token(TOKEN_S)}"}

    def knock() -> None:
        caller.knock(str(component))

    return _options(
        host.rstrip("/") + path,
        sign,
        knock if wake and component else None,
        deadline_s=deadline_s,
        asynchronous=asynchronous,
    )


def gateway_options(
    *,
    url: str,
    region: str | None = None,
    session: Any = None,
    deadline_s: float = 900.0,
    asynchronous: bool = False,
) -> dict[str, Any]:
    """Arguments for `OpenAI(...)` or `AsyncOpenAI(...)` to talk to the wake-and-hold gateway, signed for its function URL.

    `url` is the stack's output `GatewayUrl`; the caller needs `lambda:InvokeFunctionUrl` and `lambda:InvokeFunction` on it.
    The `model` of a request names the inference component. What is asked again, and errors, as `openai_options`.
    """
    caller = Caller(session, region or _region_of(url))

    def sign(request: httpx.Request) -> Mapping[str, str]:
        kind = request.headers.get("content-type")
        return caller.signed_for_lambda(request.method, str(request.url), request.content, kind)

    return _options(url.rstrip("/") + "/v1", sign, None, deadline_s=deadline_s, asynchronous=asynchronous)


def bearer_token(*, region: str | None = None, session: Any = None, lasts_s: int = TOKEN_S) -> str:
    """A bearer token of SageMaker's OpenAI path, for clients that take an API key. At most 12 hours."""
    return Caller(session, region).bearer_token(lasts_s)


def _options(
    base_url: str,
    sign: Callable[[httpx.Request], Mapping[str, str]],
    knock: Callable[[], None] | None,
    *,
    deadline_s: float,
    asynchronous: bool,
) -> dict[str, Any]:
    try:
        import httpx

        from quickstep.clients.waking_transport import AsyncWakingTransport, Patience, WakingTransport
    except ImportError as error:
        raise ImportError("an OpenAI client needs httpx; install it with: pip install 'quickstep[client]'") from error
    patience = Patience(deadline_s=deadline_s)
    # SageMaker lets a streaming answer take 8 minutes to its first byte.
    timeout = httpx.Timeout(500.0, connect=5.0)
    if asynchronous:
        made: Any = httpx.AsyncClient(
            transport=AsyncWakingTransport(sign, knock=knock, patience=patience), timeout=timeout
        )
    else:
        made = httpx.Client(transport=WakingTransport(sign, knock=knock, patience=patience), timeout=timeout)
    # Tried again is below, where it is known what may be: no other layer shall.
    return {"base_url": base_url, "api_key": NOT_A_KEY, "http_client": made, "max_retries": 0}


def _domain(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def _region_of(url: str) -> str | None:
    """The region in a function URL's host: `https://<id>.lambda-url.<region>.on.aws/`."""
    _, found, rest = url.partition(".lambda-url.")
    return rest.split(".")[0] if found else None
