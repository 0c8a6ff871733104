"""boto3 inside the emulated account: every client made there answers from the account, and none reaches the network.

    with account.wire:
        boto3.client("sagemaker").describe_endpoint(EndpointName="chat")

botocore validates and serialises the parameters as always; its `before-call` event then takes the answer from
`EmulatedAccount.call` instead of HTTP. Refusals become botocore's own exceptions, modelled ones included, and are repeated
as the client's retry configuration says (on the virtual clock).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, ReadTimeoutError
from botocore.handlers import BUILTIN_HANDLERS, REGISTER_FIRST
from botocore.loaders import create_loader
from botocore.model import OperationModel
from botocore.response import StreamingBody
from botocore.validate import ParamValidator

from quickstep import clock as product_clock
from quickstep.gateways.aws import forget_clients
from quickstep.gateways.control_client import FULL_NAME
from simulator.account_call import NoAnswer
from simulator.errors import ServiceError
from simulator.not_emulated import EmulationFailed, NotEmulated

if TYPE_CHECKING:
    from simulator.account import EmulatedAccount

_PARAMS = "emulated_account_params"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAEMULATED00000000",
    "AWS_SECRET_ACCESS_KEY": "emulated",
    "AWS_SESSION_TOKEN": "emulated",
}
_HIDDEN = (
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_PROFILE",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
"""Variables that would bring a real account's credentials in."""

THROTTLING_CODES = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
"""Error codes that botocore's standard mode repeats (botocore.retries.standard), beside 500, 502, 503 and 504."""
LEGACY_ATTEMPTS, STANDARD_ATTEMPTS = 5, 3
MAX_BACKOFF_S = 20.0

_active: list[Wire] = []
_outside = 0


class Wire:
    """Connects boto3 to one account for as long as it is entered. Wires nest: the innermost answers."""

    def __init__(self, account: EmulatedAccount) -> None:
        self.account = account
        self._before: list[tuple[Any, dict[str, str | None], Any] | None] = []
        self._product_is_fresh = False

    def __enter__(self) -> Wire:
        again = bool(_active) and _active[-1] is self
        self._before.append(None if again else self._connect())
        _active.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _active.pop()
        before = self._before.pop()
        if before is not None:
            self._disconnect(before)

    def close(self) -> None:
        """Let the product forget the clients that it made while it was connected."""
        forget_clients()
        self._product_is_fresh = False

    def answer(
        self, model: OperationModel, params: Mapping[str, Any], config: Any
    ) -> tuple[AWSResponse, dict[str, Any]]:
        """What botocore gets instead of an HTTP response, after the retries that the client would make."""
        service = model.service_model.service_name
        attempts = _attempts(config) if self.account.sdk_retries else 1
        for attempt in range(1, attempts + 1):
            try:
                result = self.account.call(service, model.name, params, read_timeout_s=config.read_timeout)
            except ServiceError as refused:
                if attempt == attempts or not _is_transient(refused):
                    return _refusal(refused, attempt)
            except NoAnswer as silence:
                if attempt == attempts:
                    raise _sdk_error(silence, service, self.account.stack.region) from None
            else:
                return self._success(model, result, attempt)
            self._back_off(attempt)
        raise AssertionError("a client makes at least one attempt")

    def _success(
        self, model: OperationModel, result: dict[str, Any], attempt: int
    ) -> tuple[AWSResponse, dict[str, Any]]:
        if self.account.validate_answers and model.output_shape is not None:
            report = _VALIDATOR.validate(result, model.output_shape)
            if report.has_errors():
                where = f"{model.service_model.service_name} {model.name}"
                raise EmulationFailed(f"The emulated {where} answered out of shape: {report.generate_report()}")
        parsed = dict(result)
        if model.has_streaming_output and model.output_shape is not None:
            name = model.output_shape.serialization["payload"]
            body = parsed.get(name, b"")
            if isinstance(body, (bytes, str)):
                body = body.encode() if isinstance(body, str) else body
                parsed[name] = StreamingBody(io.BytesIO(body), len(body))
        parsed["ResponseMetadata"] = _metadata(200, attempt)
        return AWSResponse("", 200, {}, None), parsed

    def _back_off(self, attempt: int) -> None:
        invocation = self.account.lambdas.current
        if invocation is not None:
            # Standard mode draws from 0 to 2^i seconds; here it is the mean.
            invocation.spend(min(MAX_BACKOFF_S, 2.0 ** (attempt - 1)) / 2)

    def _connect(self) -> tuple[Any, dict[str, str | None], Any]:
        region = self.account.stack.region
        if not self._product_is_fresh:
            # A client from before knows nothing of the account and would go out to the network.
            forget_clients()
            self._product_is_fresh = True
        wanted: dict[str, str | None] = {
            **CREDENTIALS,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            **dict.fromkeys(_HIDDEN),
            **dict.fromkeys(name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")),
        }
        variables = {name: os.environ.get(name) for name in wanted}
        _set_variables(wanted)
        session = boto3.DEFAULT_SESSION
        boto3.DEFAULT_SESSION = _shared_session(region)
        if not _active:
            BUILTIN_HANDLERS[:0] = _HANDLERS
        return session, variables, product_clock.use(lambda: self.account.clock.now_s)

    def _disconnect(self, before: tuple[Any, dict[str, str | None], Any]) -> None:
        session, variables, time_source = before
        product_clock.use(time_source)
        if not _active:
            for handler in _HANDLERS:
                BUILTIN_HANDLERS.remove(handler)
        boto3.DEFAULT_SESSION = session
        _set_variables(variables)


@contextmanager
def outside_the_account() -> Iterator[None]:
    """Clients used inside are not answered by the account (moto's clients, which have their own way of staying local)."""
    global _outside
    _outside += 1
    try:
        yield
    finally:
        _outside -= 1


def _remember(params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
    context[_PARAMS] = params


def _take_over(model: OperationModel, context: dict[str, Any], **_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
    if _outside or model.service_model.metadata.get("serviceFullName") == FULL_NAME:
        # Not an AWS service: its client sends, and what it sends (an Invoke) is answered here.
        return None
    if not _active:
        raise NotEmulated(
            f"{model.service_model.service_name} {model.name} through a client that was made inside an emulated account "
            "which is not connected any more; enter the account's wire, or make a new client"
        )
    return _active[-1].answer(model, context[_PARAMS], context["client_config"])


_HANDLERS: list[Any] = [("before-parameter-build", _remember), ("before-call", _take_over, REGISTER_FIRST)]
_VALIDATOR = ParamValidator()
_LOADER = create_loader()
_sessions: dict[str, boto3.session.Session] = {}


def _shared_session(region: str) -> boto3.session.Session:
    """The default session of every wire of a region: making one, and reading service models, is slow."""
    if region not in _sessions:
        inner = botocore.session.Session()
        inner.register_component("data_loader", _LOADER)
        for event, handler, *_ in _HANDLERS:
            inner.get_component("event_emitter").register_first(event, handler)
        _sessions[region] = boto3.session.Session(
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=region,
            botocore_session=inner,
        )
    return _sessions[region]


def _attempts(config: Any) -> int:
    retries = config.retries or {}
    if "total_max_attempts" in retries:
        return max(1, retries["total_max_attempts"])
    return STANDARD_ATTEMPTS if retries.get("mode") in ("standard", "adaptive") else LEGACY_ATTEMPTS


def _is_transient(refused: ServiceError) -> bool:
    return refused.code in THROTTLING_CODES or refused.status in (500, 502, 503, 504)


def _refusal(refused: ServiceError, attempt: int) -> tuple[AWSResponse, dict[str, Any]]:
    parsed = {
        **getattr(refused, "members", {}),
        "Error": {"Code": refused.code, "Message": refused.message},
        "ResponseMetadata": _metadata(refused.status, attempt),
    }
    return AWSResponse("", refused.status, {}, None), parsed


def _metadata(status: int, attempt: int) -> dict[str, Any]:
    return {"RequestId": "emulated", "HTTPStatusCode": status, "HTTPHeaders": {}, "RetryAttempts": attempt - 1}


def _sdk_error(silence: NoAnswer, service: str, region: str) -> Exception:
    url = f"https://{service}.{region}.amazonaws.com/"
    if silence.kind == "connect":
        return ConnectTimeoutError(endpoint_url=url)
    if silence.kind == "read":
        return ReadTimeoutError(endpoint_url=url)
    return ConnectionClosedError(endpoint_url=url)


def _set_variables(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
