"""What AWS answered instead of doing it, as one of the typed errors of `quickstep.errors`.

SageMaker models almost none of its refusals: "still updating", "not found" and "invalid" all arrive as
`ValidationException` and differ only in their text. Code first, text second, HTTP status last. The texts are those
seen in real accounts; where only the beginning of a text is certain, only the beginning is matched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from quickstep.errors import (
    AccessDenied,
    AwsRefused,
    ComponentNotFound,
    ComponentUpdating,
    EndpointNotFound,
    EndpointUpdating,
    InsufficientCapacity,
    ManagedByEndpoint,
    NoCapacity,
    NotEnoughHardware,
    OutcomeUnknown,
    QuotaExceeded,
    Rejected,
    Throttled,
)

NO_CAPACITY = "has no capacity to process this request"
"""How an invocation says that no copy serves: a `ValidationError` (400) which only this text tells from a bad request."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Run a block of SDK calls; raise whatever AWS refuses in it as a typed error.

    `what` says in a few words what was being done and to which resource: `set component chat to 4 copies`.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        raise refusal(error, what=what) from error


def refusal(error: Exception, *, what: str) -> AwsRefused:
    """The typed error for `error`, a botocore `ClientError` (AWS answered) or `BotoCoreError` (the SDK gave up).

    Never raises; what has no class of its own is `Rejected`. A lost answer (time-out, connection, 5xx) is
    `OutcomeUnknown`, for reads too: describe again before asking again.
    """
    response: dict[str, Any] | None = getattr(error, "response", None)
    if not isinstance(response, dict):
        return _of_sdk(error, what)
    answer = response.get("Error") or {}
    code = str(answer.get("Code") or "").rsplit("#", 1)[-1]
    text = str(answer.get("Message") or answer.get("message") or "")
    status = (response.get("ResponseMetadata") or {}).get("HTTPStatusCode")
    kind = _CODES.get(code) or _by_text(text) or _by_conflict(code, text) or _by_status(status, code) or Rejected
    return _build(kind, what, f"{code}: {text}" if code else text)


def failure(text: str | None, *, what: str) -> AwsRefused | None:
    """The typed error for a `FailureReason` that a Describe call shows; None if there is none or it says nothing known.

    Missing capacity and quotas are often told only there: the request itself had been accepted.
    """
    kind = _by_text(text or "")
    return _build(kind, what, str(text)) if kind else None


# -- which class ------------------------------------------------------------------------------------------------------

_CODES: dict[str, type[AwsRefused]] = {
    # no copy serves, in the words of routers and multi-model endpoints
    "ModelNotReadyException": NoCapacity,
    # account quota: refused whole, never in part
    "ResourceLimitExceeded": QuotaExceeded,
    "ResourceLimitExceededException": QuotaExceeded,
    "ServiceQuotaExceededException": QuotaExceeded,
    # no instance to give
    "InsufficientInstanceCapacity": InsufficientCapacity,
    "InsufficientCapacityException": InsufficientCapacity,
    "CapacityError": InsufficientCapacity,
    # permissions and identity
    "AccessDenied": AccessDenied,
    "AccessDeniedException": AccessDenied,
    "ExpiredToken": AccessDenied,
    "ExpiredTokenException": AccessDenied,
    "IncompleteSignature": AccessDenied,
    "InvalidClientTokenId": AccessDenied,
    "InvalidSignatureException": AccessDenied,
    "KmsAccessDeniedException": AccessDenied,
    "MissingAuthenticationToken": AccessDenied,
    "NotAuthorized": AccessDenied,
    "OptInRequired": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
    "UnauthorizedOperation": AccessDenied,
    "UnrecognizedClientException": AccessDenied,
    # too fast: the words that the SDK itself retries on (botocore.retries.standard), and Step Functions' own
    "BandwidthLimitExceeded": Throttled,
    "EC2ThrottledException": Throttled,
    "ExecutionLimitExceeded": Throttled,
    "KmsThrottlingException": Throttled,
    "LimitExceededException": Throttled,
    "PriorRequestNotComplete": Throttled,
    "ProvisionedThroughputExceededException": Throttled,
    "RequestLimitExceeded": Throttled,
    "RequestThrottled": Throttled,
    "RequestThrottledException": Throttled,
    "SlowDown": Throttled,
    "ThrottledException": Throttled,
    "Throttling": Throttled,
    "ThrottlingException": Throttled,
    "TooManyRequestsException": Throttled,
    "TransactionInProgressException": Throttled,
}

_LOST_CODES = frozenset(
    {
        "InternalDependencyException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServiceError",
        "InternalServiceException",
        "InternalServiceFault",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)

_LOST_SDK_ERRORS = frozenset(
    {"ConnectionError", "HTTPClientError", "IncompleteReadError", "ResponseParserError", "ResponseStreamingError"}
)
_IDENTITY_SDK_ERRORS = frozenset(
    {
        "CredentialRetrievalError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)

_TEXTS: tuple[tuple[re.Pattern[str], type[AwsRefused]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), kind)
    for pattern, kind in (
        (re.escape(NO_CAPACITY), NoCapacity),
        (r"account-level service limit", QuotaExceeded),
        (r"\bResourceLimitExceeded\b", QuotaExceeded),
        (
            r"InsufficientInstanceCapacity|\bCapacityError\b|Unable to provision requested ML compute capacity",
            InsufficientCapacity,
        ),
        (r"not enough hardware resources", NotEnoughHardware),
        (r"is not authorized to perform", AccessDenied),
        (r"^Rate exceeded", Throttled),
        (r"Cannot update in-progress endpoint", EndpointUpdating),
        # SageMaker's inner words: UPDATE_RC_IN_PROGRESS, CREATE_IN_PROGRESS, DELETE_IN_PROGRESS and what may follow.
        (r"\b[A-Z]+(_[A-Z]+)*_IN_PROGRESS\b", ComponentUpdating),
        (r"inference component.* in (state|status) \W?(Creating|Updating|Deleting)", ComponentUpdating),
        (r"Could not find (the )?inference component", ComponentNotFound),
        (r"inference component\b.*\b(does not exist|not found)", ComponentNotFound),
        # The configuration of an endpoint may be deleted while the endpoint lives: that is not a missing endpoint.
        (r"Could not find (the )?endpoint(?!\s+config)", EndpointNotFound),
        (r"Could not find .*\bvariant\b|\bvariant\b.*\b(does not exist|not found)", EndpointNotFound),
        # The request wants managed scaling where, or as, it cannot be: nothing is managed there.
        (r"ManagedInstanceScaling is only supported for|for enabled managed instance scaling", Rejected),
        (r"managed ?instance ?scaling", ManagedByEndpoint),
    )
)


def _by_text(text: str) -> type[AwsRefused] | None:
    return next((kind for pattern, kind in _TEXTS if pattern.search(text)), None)


def _by_conflict(code: str, text: str) -> type[AwsRefused] | None:
    if code not in ("ConflictException", "ResourceInUse"):
        return None
    return ComponentUpdating if "inference component" in text.lower() else EndpointUpdating


def _by_status(status: int | None, code: str) -> type[AwsRefused] | None:
    if status == 429:
        return Throttled
    if code in _LOST_CODES or status == 408 or (status is not None and status >= 500):
        return OutcomeUnknown
    if status in (401, 403):
        return AccessDenied
    return None


def _of_sdk(error: Exception, what: str) -> AwsRefused:
    # By name of class: nothing here needs the SDK imported.
    names = {kind.__name__ for kind in type(error).__mro__}
    text = f"{type(error).__name__}: {error}"
    if names & _LOST_SDK_ERRORS:
        return _build(OutcomeUnknown, what, text)
    return _build(AccessDenied if names & _IDENTITY_SDK_ERRORS else Rejected, what, text)


# -- what it says -----------------------------------------------------------------------------------------------------

_ADVICE: dict[type[AwsRefused], str] = {
    Throttled: "AWS asks to slow down; nothing was changed, ask again at the next look",
    ComponentNotFound: "the inference component does not exist; check its name or remove the scalable target",
    EndpointNotFound: "the endpoint or variant does not exist; check its name or remove the scalable target",
    ComponentUpdating: "the inference component is between two states; the wish is kept, ask again at the next look",
    EndpointUpdating: "the endpoint is between two states; the wish is kept, ask again at the next look",
    InsufficientCapacity: "AWS has no such instance to give now; ask for fewer or another type, or again later",
    NotEnoughHardware: "the copies do not fit on the endpoint's instances; add instances first",
    ManagedByEndpoint: "SageMaker moves this variant's instances itself; ask for copies only",
    NoCapacity: "no copy serves now; wake the component and ask again when one does",
    AccessDenied: "the role may not do this; check its policy and the tag `quickstep:managed` of the resource",
    Rejected: "AWS finds the request invalid; it will not succeed unchanged",
    OutcomeUnknown: "the answer was lost and the request may have been carried out; describe before asking again",
}


def _build(kind: type[AwsRefused], what: str, text: str) -> AwsRefused:
    said = " ".join(text.split())
    said = said if len(said) <= 600 else f"{said[:600]}…"
    if kind is QuotaExceeded:
        return _quota(what, said)
    return kind(f"{what}: {_ADVICE[kind]} ({said})")


# "The account-level service limit 'ml.g5.xlarge for endpoint usage' is 1,000 Instances, with current utilization of
# 997 Instances and a request delta of 20 Instances." Other limits (components, configurations) count other things.
_LIMIT = re.compile(r"limit\s+'(?P<name>[^']+)'\s+is\s+(?P<count>[\d,]+)\s+instances?\b", re.IGNORECASE)
_USED = re.compile(r"utilization\s+of\s+(?P<count>[\d,]+)\s+instances?\b", re.IGNORECASE)
_ASKED = re.compile(r"request\s+delta\s+of\s+(?P<count>[\d,]+)\s+instances?\b", re.IGNORECASE)


def _quota(what: str, said: str) -> QuotaExceeded:
    limit, used, asked = (_count(pattern, said) for pattern in (_LIMIT, _USED, _ASKED))
    error = QuotaExceeded("", limit=limit, used=used, asked=asked)
    if error.fits is None:
        advice = "a quota of the account refuses the whole request; raise it in Service Quotas or ask for less"
    else:
        name = _LIMIT.search(said)["name"]  # type: ignore[index]  # it matched: the limit is known
        more = "" if asked is None else f", {asked} more were asked"
        advice = f"quota '{name}' is {limit} instances, {used} are in use{more}; ask for at most {error.fits} more or raise the quota"
    error.args = (f"{what}: {advice} ({said})",)
    return error


def _count(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return int(found["count"].replace(",", "")) if found else None
