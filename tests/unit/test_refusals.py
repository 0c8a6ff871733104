"""Every text in which AWS refuses is told apart. The texts are AWS's, as published by those who met them."""

from __future__ import annotations

import pytest
from botocore import exceptions as sdk
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from quickstep import errors
from quickstep.errors import (
    AccessDenied,
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
from quickstep.gateways.refusals import failure, refusal, translated

VALID = "ValidationException"
QUOTA_TEXT = (
    "The account-level service limit 'ml.g5.xlarge for endpoint usage' is 4 Instances, with current utilization of "
    "3 Instances and a request delta of 2 Instances. Please use AWS Service Quotas to request an increase for this quota."
)
ICE_TEXT = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. "
    "Please retry using a different ML instance type."
)

# code, status, text, class
TABLE = [
    # SageMaker's runtime
    (
        "ValidationError",
        400,
        "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress (if "
        "configured) or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API.",
        NoCapacity,
    ),
    ("ModelNotReadyException", 429, "Model is not ready for inference yet.", NoCapacity),
    ("ValidationError", 400, "Inference Component chat of endpoint llm not found.", ComponentNotFound),
    ("ServiceUnavailable", 503, "The service is temporarily unable to handle the request.", OutcomeUnknown),
    ("InternalDependencyException", 530, "A dependency of the service has failed.", OutcomeUnknown),
    # SageMaker, inference components
    (
        VALID,
        400,
        "Cannot update inference component chat while it is in state UPDATE_RC_IN_PROGRESS",
        ComponentUpdating,
    ),
    (VALID, 400, "Cannot delete inference component chat while it is in state CREATE_IN_PROGRESS", ComponentUpdating),
    (VALID, 400, "The component is in state DELETE_IN_PROGRESS.", ComponentUpdating),
    (VALID, 400, "Inference component chat is in status Updating", ComponentUpdating),
    (VALID, 400, 'Could not find inference component "chat".', ComponentNotFound),
    (
        VALID,
        400,
        "Could not find inference component arn:aws:sagemaker:us-east-1:1:inference-component/chat",
        ComponentNotFound,
    ),
    ("ResourceNotFound", 400, "Inference component chat does not exist", ComponentNotFound),
    (
        VALID,
        400,
        "There is not enough hardware resources on the instances for this endpoint to create a copy of the inference "
        "component. Please scale up the endpoint.",
        NotEnoughHardware,
    ),
    # SageMaker, endpoints and variants
    (VALID, 400, 'Cannot update in-progress endpoint "arn:aws:sagemaker:us-west-2:1:endpoint/e".', EndpointUpdating),
    (VALID, 400, 'Could not find endpoint "arn:aws:sagemaker:us-east-1:111122223333:endpoint/e".', EndpointNotFound),
    (VALID, 400, 'Could not find endpoint configuration "arn:aws:sagemaker:us-east-1:1:endpoint-config/c".', Rejected),
    (VALID, 400, "Variant blue does not exist on endpoint e", EndpointNotFound),
    (VALID, 400, "ManagedInstanceScaling is only supported for inference component endpoints.", Rejected),
    (VALID, 400, "Min instance count needs to be greater than 0 for enabled managed instance scaling", Rejected),
    (VALID, 400, "Cannot set the instance count of a variant with ManagedInstanceScaling enabled", ManagedByEndpoint),
    (VALID, 400, "DesiredInstanceCount conflicts with managed instance scaling", ManagedByEndpoint),
    (
        "ConflictException",
        400,
        "There was a conflict when you attempted to modify a SageMaker entity",
        EndpointUpdating,
    ),
    ("ResourceInUse", 400, "The inference component is in use", ComponentUpdating),
    # capacity and quotas
    ("ResourceLimitExceeded", 400, QUOTA_TEXT, QuotaExceeded),
    (VALID, 400, QUOTA_TEXT, QuotaExceeded),
    ("ResourceLimitExceeded", 400, "You have reached a limit.", QuotaExceeded),
    ("InsufficientInstanceCapacity", 500, "We currently do not have sufficient capacity", InsufficientCapacity),
    (VALID, 400, ICE_TEXT, InsufficientCapacity),
    ("CapacityError", 400, "Unable to provision requested ML compute capacity.", InsufficientCapacity),
    # permissions
    (
        "AccessDeniedException",
        400,
        "User: arn:aws:sts::1:assumed-role/r/f is not authorized to perform: x",
        AccessDenied,
    ),
    ("AccessDenied", 403, "User is not authorized to perform: cloudwatch:GetMetricData", AccessDenied),
    ("ExpiredTokenException", 400, "The security token included in the request is expired", AccessDenied),
    ("UnrecognizedClientException", 400, "The security token included in the request is invalid.", AccessDenied),
    ("SomethingNew", 403, "no", AccessDenied),
    # too fast
    ("ThrottlingException", 400, "Rate exceeded", Throttled),
    ("Throttling", 400, "Rate exceeded", Throttled),
    ("TooManyRequestsException", 429, "", Throttled),
    ("SomethingNew", 429, "slow down", Throttled),
    (VALID, 400, "Rate exceeded", Throttled),
    ("ServiceUnavailable", 503, "Rate exceeded", Throttled),
    ("ExecutionLimitExceeded", 400, "The maximum number of running executions has been reached", Throttled),
    # nobody knows
    ("InternalFailure", 500, "The request processing has failed because of an unknown error", OutcomeUnknown),
    ("InternalError", 500, "", OutcomeUnknown),
    ("ServiceUnavailable", 503, "", OutcomeUnknown),
    ("InternalServiceException", 400, "try again", OutcomeUnknown),
    ("RequestTimeout", 408, "", OutcomeUnknown),
    ("502", 502, "Bad Gateway", OutcomeUnknown),
    # everything else
    (VALID, 400, "1 validation error detected: Value '-1' failed to satisfy constraint", Rejected),
    ("StateMachineDoesNotExist", 400, "State Machine Does Not Exist: 'arn'", Rejected),
    ("", 400, "", Rejected),
]


def client_error(code: str, status: int | None, text: str) -> ClientError:
    response = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "AnyOperation")


@pytest.mark.parametrize(("code", "status", "text", "kind"), TABLE, ids=[f"{c}-{t[:50]}" for c, _, t, _ in TABLE])
def test_every_known_answer_has_its_class(code, status, text, kind):
    found = refusal(client_error(code, status, text), what="set component chat to 4 copies")
    assert type(found) is kind


@pytest.mark.parametrize(("code", "status", "text", "kind"), TABLE, ids=[f"{c}-{t[:50]}" for c, _, t, _ in TABLE])
def test_a_message_says_what_was_done_what_aws_said_and_what_to_do(code, status, text, kind):
    message = str(refusal(client_error(code, status, text), what="set component chat to 4 copies"))
    assert message.startswith("set component chat to 4 copies: ")
    assert code in message
    assert text in message
    advice = message.removeprefix("set component chat to 4 copies: ").split(" (")[0]
    assert len(advice.split()) > 5


def test_every_refusal_class_is_reached_by_the_table():
    refused = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.AwsRefused)}
    # What a container answers, and how a stream ends, is told where it is read (gateways/sagemaker_runtime.py); why IAM
    # refused is read from tags afterwards, not from what it said (`usecases/act.py`).
    elsewhere = {errors.AwsRefused, errors.ModelFailed, errors.StreamBroken, errors.ManagedElsewhere}
    assert {kind for *_, kind in TABLE} == refused - elsewhere


@pytest.mark.parametrize("code", sorted(ThrottledRetryableChecker._THROTTLED_ERROR_CODES))
def test_whatever_the_sdk_calls_throttling_is_throttling(code):
    assert type(refusal(client_error(code, 400, ""), what="x")) is Throttled


@pytest.mark.parametrize(
    "code",
    sorted({*TransientRetryableChecker._TRANSIENT_ERROR_CODES} - {*ThrottledRetryableChecker._THROTTLED_ERROR_CODES}),
)
def test_whatever_the_sdk_calls_transient_is_an_unknown_outcome(code):
    assert type(refusal(client_error(code, 400, ""), what="x")) is OutcomeUnknown


@pytest.mark.parametrize("status", sorted(TransientRetryableChecker._TRANSIENT_STATUS_CODES))
def test_whatever_status_the_sdk_calls_transient_is_an_unknown_outcome(status):
    assert type(refusal(client_error("Unheard", status, ""), what="x")) is OutcomeUnknown


# text, limit, used, asked, fits
QUOTAS = [
    (QUOTA_TEXT, 4, 3, 2, 1),
    (
        "The account-level service limit 'ml.xx.xxxxxx for endpoint usage' is 1000 Instances, with current utilization of "
        "997 Instances and a request delta of 20 Instances. Please contact AWS support to request an increase.",
        1000,
        997,
        20,
        3,
    ),
    (
        "The account-level service limit 'ml.p5.48xlarge for endpoint usage' is 1,000 Instances, with current utilization "
        "of 1,002 Instances and a request delta of 1 Instances.",
        1000,
        1002,
        1,
        0,
    ),
    ("The account-level service limit 'ml.m4.xlarge for endpoint usage' is 0 Instances,", 0, None, None, None),
    (
        "The account-level service limit 'Number of models' is 500 Models, with current utilization of 500 Models",
        None,
        None,
        None,
        None,
    ),
    ("Limit reached", None, None, None, None),
]


@pytest.mark.parametrize(("text", "limit", "used", "asked", "fits"), QUOTAS, ids=range(len(QUOTAS)))
def test_a_quota_refusal_tells_how_many_instances_still_fit(text, limit, used, asked, fits):
    found = refusal(client_error("ResourceLimitExceeded", 400, text), what="set variant v to 5 instances")
    assert (found.limit, found.used, found.asked, found.fits) == (limit, used, asked, fits)
    if fits is not None:
        assert f"at most {fits} more" in str(found)


# what the SDK itself raises
SDK_ERRORS = [
    (sdk.ConnectTimeoutError(endpoint_url="https://x"), OutcomeUnknown),
    (sdk.ReadTimeoutError(endpoint_url="https://x"), OutcomeUnknown),
    (sdk.EndpointConnectionError(endpoint_url="https://x"), OutcomeUnknown),
    (sdk.ConnectionClosedError(endpoint_url="https://x"), OutcomeUnknown),
    (sdk.ProxyConnectionError(proxy_url="https://x"), OutcomeUnknown),
    (sdk.SSLError(endpoint_url="https://x", error="e"), OutcomeUnknown),
    (sdk.HTTPClientError(error="e"), OutcomeUnknown),
    (sdk.IncompleteReadError(actual_bytes=1, expected_bytes=2), OutcomeUnknown),
    (ResponseParserError("no JSON"), OutcomeUnknown),
    (sdk.NoCredentialsError(), AccessDenied),
    (sdk.CredentialRetrievalError(provider="p", error_msg="e"), AccessDenied),
    (sdk.ParamValidationError(report="r"), Rejected),
    (sdk.NoRegionError(), Rejected),
]


@pytest.mark.parametrize(("error", "kind"), SDK_ERRORS, ids=[type(e).__name__ for e, _ in SDK_ERRORS])
def test_what_the_sdk_gives_up_on_has_its_class(error, kind):
    found = refusal(error, what="describe endpoint e")
    assert type(found) is kind
    assert str(found).startswith("describe endpoint e: ")
    assert type(error).__name__ in str(found)


@pytest.mark.parametrize(("error", "kind"), SDK_ERRORS, ids=[type(e).__name__ for e, _ in SDK_ERRORS])
def test_a_block_raises_the_typed_error_and_keeps_its_cause(error, kind):
    with pytest.raises(kind) as caught, translated("describe endpoint e"):
        raise error
    assert caught.value.__cause__ is error


def test_a_block_lets_other_errors_through():
    with pytest.raises(KeyError), translated("describe endpoint e"):
        raise KeyError("ours")


# failure reasons that Describe shows
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (ICE_TEXT, InsufficientCapacity),
        ("CapacityError: Unable to provision requested ML compute capacity.", InsufficientCapacity),
        (QUOTA_TEXT, QuotaExceeded),
        ("There is not enough hardware resources on the instances for this endpoint", NotEnoughHardware),
        ("The primary container for production variant AllTraffic did not pass the ping health check.", None),
        ("", None),
        (None, None),
    ],
)
def test_a_failure_reason_is_read_by_the_same_table(text, kind):
    found = failure(text, what="endpoint e")
    assert (type(found) if found else None) is kind


@pytest.mark.parametrize("response", [{}, {"Error": None}, {"Error": {}}, {"Error": {"message": "lower case"}}])
def test_an_answer_without_code_or_text_is_rejected_not_a_crash(response):
    error = ClientError({"Error": {}}, "AnyOperation")
    error.response = response
    assert type(refusal(error, what="x")) is Rejected


def test_a_very_long_answer_is_cut():
    assert len(str(refusal(client_error(VALID, 400, "x" * 5_000), what="y"))) < 800


def test_a_namespaced_code_is_read_by_its_last_part():
    assert type(refusal(client_error("com.amazonaws.sagemaker#ThrottlingException", 400, ""), what="x")) is Throttled
