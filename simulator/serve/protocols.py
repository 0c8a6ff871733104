"""AWS's wire protocols from the server's side: a request becomes (service, operation, parameters), an answer becomes HTTP.

Which operation a request means is in the request itself, whatever its signature is worth (it is not checked):

* Smithy RPC v2 CBOR: the path `/service/<prefix>/operation/<operation>` (CloudWatch in today's SDKs);
* AWS JSON: the header `X-Amz-Target: <prefix>.<operation>`;
* query: the form field `Action`, and the service in the signature's credential scope;
* REST JSON: the scope, the method and the path.

Shapes come from botocore's models. Requests are parsed and answers written by moto's protocol classes, CBOR by botocore's
own; parameters are then validated as a client would.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import xmltodict
from botocore.parsers import RpcV2CBORParser
from botocore.serialize import RpcV2CBORSerializer
from botocore.utils import parse_timestamp
from botocore.validate import ParamValidator
from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request as MotoRequest
from moto.core.routing import RestRouter
from moto.core.serialize import SerializationContext, get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.datastructures import Headers, MultiDict
from werkzeug.exceptions import NotFound

CBOR, JSON, QUERY, REST_JSON = "smithy-rpc-v2-cbor", "json", "query", "rest-json"


@dataclass(frozen=True)
class Service:
    """How requests to a service look: its name in a signature's scope, its prefix in a target or path, its protocols."""

    name: str
    scope: str
    prefix: str | None
    protocols: tuple[str, ...]


SERVICES = (
    Service("application-autoscaling", "application-autoscaling", "AnyScaleFrontendService", (JSON,)),
    Service("cloudformation", "cloudformation", None, (QUERY,)),
    Service("cloudwatch", "monitoring", "GraniteServiceVersion20100801", (CBOR, JSON, QUERY)),
    Service("dynamodb", "dynamodb", "DynamoDB_20120810", (JSON,)),
    Service("events", "events", "AWSEvents", (JSON,)),
    Service("lambda", "lambda", None, (REST_JSON,)),
    Service("logs", "logs", "Logs_20140328", (JSON,)),
    Service("sagemaker", "sagemaker", "SageMaker", (JSON,)),
    Service("sagemaker-runtime", "sagemaker", None, (REST_JSON,)),
    Service("scheduler", "scheduler", None, (REST_JSON,)),
    Service("service-quotas", "servicequotas", "ServiceQuotasV20190624", (JSON,)),
    Service("sns", "sns", None, (QUERY,)),
    Service("sqs", "sqs", "AmazonSQS", (JSON, QUERY)),
    Service("stepfunctions", "states", "AWSStepFunctions", (JSON,)),
    Service("sts", "sts", None, (QUERY,)),
)
"""The services that the emulated account has itself; everything else is moto's."""

_CREDENTIAL = re.compile(r"Credential=[^/]+/\d{8}/(?P<region>[^/]+)/(?P<scope>[^/]+)/aws4_request")
_CBOR_PATH = re.compile(r"/service/(?P<prefix>[^/]+)/operation/(?P<operation>[^/]+)/?$")


@dataclass(frozen=True)
class HttpRequest:
    """A request as it came in. `path` is as sent (percent-encoded) below the endpoint's own; header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def scope(self) -> str | None:
        """The service that the request is signed for; None if it is not signed (with Signature Version 4)."""
        found = self._credential
        return found and found["scope"]

    @property
    def region(self) -> str | None:
        """The region that the request is signed for."""
        found = self._credential
        return found and found["region"]

    @property
    def _credential(self) -> re.Match[str] | None:
        in_query = dict(parse_qsl(self.query)).get("X-Amz-Credential")
        text = f"Credential={in_query}" if in_query else self.headers.get("authorization", "")
        return _CREDENTIAL.search(text)

    def form(self) -> MultiDict[str, str]:
        """The fields of the query string and of a form in the body."""
        pairs = parse_qsl(self.query, keep_blank_values=True)
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            pairs += parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True)
        return MultiDict(pairs)


@dataclass(frozen=True)
class HttpAnswer:
    """A response: status, headers, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class BadRequest(Exception):
    """The request cannot be carried out; `code`, `status` and the message are what AWS answers in such a case."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


@dataclass(frozen=True)
class Operation:
    """The operation that a request means."""

    service: str
    protocol: str
    model: OperationModel
    uri: Mapping[str, str]
    """Parameters that are in the path."""


def service_of(request: HttpRequest) -> tuple[Service, str] | None:
    """The service that a request is for, and the protocol that it speaks; None if the account has no such service."""
    path = _CBOR_PATH.search(request.path)
    if path is not None and request.headers.get("smithy-protocol") == "rpc-v2-cbor":
        return next(((one, CBOR) for one in SERVICES if one.prefix == path["prefix"]), None)
    target = request.headers.get("x-amz-target")
    if target is not None:
        prefix = target.partition(".")[0]
        return next(((one, JSON) for one in SERVICES if one.prefix == prefix), None)
    wanted = QUERY if "Action" in request.form() else REST_JSON
    for one in SERVICES:
        if one.scope == request.scope and wanted in one.protocols:
            return one, wanted
    return None


def operation_of(request: HttpRequest, service: Service, protocol: str) -> Operation:
    """The operation that a request to `service` means; raises BadRequest if the service has no such operation."""
    model = service_model(service.name)
    uri: Mapping[str, str] = {}
    if protocol == REST_JSON:
        try:
            moto_request = MotoRequest.from_primitives(
                request.method, f"http://localhost{request.path}?{request.query}", request.headers
            )
            found, uri = _rest_router(service.name).match(moto_request)
        except NotFound:
            raise BadRequest(
                "UnknownOperationException", f"{service.name} has no {request.method} {request.path}", 404
            ) from None
        return Operation(service.name, protocol, found, uri)
    if protocol == CBOR:
        name = _CBOR_PATH.search(request.path)["operation"]  # type: ignore[index]
    elif protocol == JSON:
        name = request.headers["x-amz-target"].partition(".")[2]
    else:
        name = request.form()["Action"]
    if name not in model.operation_names:
        code = "InvalidAction" if protocol == QUERY else "UnknownOperationException"
        raise BadRequest(code, f"Could not find operation {name} for {service.name}")
    return Operation(service.name, protocol, model.operation_model(name), uri)


def parameters_of(request: HttpRequest, operation: Operation) -> dict[str, Any]:
    """The parameters of a request as boto3 takes them; raises BadRequest for what is malformed or not valid."""
    shape = operation.model.input_shape
    if shape is None:
        return {}
    body = _plain(request)
    try:
        if operation.protocol == CBOR:
            answer = {"body": body, "headers": {}, "status_code": 200}
            params = RpcV2CBORParser().parse(answer, shape) if body else {}
            params.pop("ResponseMetadata", None)
        else:
            params = _parsed(request, operation, body)
    except Exception as error:
        # Whatever the parsers stumble over: they are written for what clients send, not for what anybody may send.
        raise BadRequest("SerializationException", f"the request cannot be read: {error!r}") from error
    report = ParamValidator().validate(params, shape)
    if report.has_errors():
        code = "ValidationError" if operation.protocol == QUERY else "ValidationException"
        raise BadRequest(code, f"Parameter validation failed: {report.generate_report()}")
    return params


def write_answer(operation: Operation, result: Mapping[str, Any], request_id: str) -> HttpAnswer:
    """The answer of a call that was carried out; `result` in the shape of boto3's answers."""
    model = operation.model
    headers = {"x-amzn-requestid": request_id}
    if operation.protocol == CBOR:
        body = bytearray()
        if model.output_shape is not None:
            RpcV2CBORSerializer()._serialize_data_item(body, _without_none(result), model.output_shape)
        return HttpAnswer(200, {**headers, **_CBOR_HEADERS}, bytes(body))
    serializer = get_serializer_class(operation.service, operation.protocol)
    written = serializer(model, context=SerializationContext(request_id)).serialize(_without_none(result))
    text = written["body"]
    return HttpAnswer(
        _status(model, result) or written["status_code"],
        {**headers, **written["headers"]},
        text.encode() if isinstance(text, str) else bytes(text),
    )


def write_refusal(
    operation: Operation | None,
    protocol: str,
    code: str,
    message: str,
    status: int,
    request_id: str,
    members: Mapping[str, Any] | None = None,
) -> HttpAnswer:
    """The answer of a call that was refused. `members` are further ones of the error's shape.

    `operation` None: the request did not come so far that there is one.
    """
    headers = {"x-amzn-requestid": request_id, "x-amzn-errortype": code}
    if protocol == QUERY:
        return HttpAnswer(status, {**headers, "Content-Type": "text/xml"}, _query_refusal(code, message, request_id))
    name, extra = code, {}
    if operation is not None:
        name, extra = _error_shape(operation, code, members or {})
        if "awsQueryCompatible" in operation.model.service_model.metadata:
            headers["x-amzn-query-error"] = f"{code};{'Receiver' if status >= 500 else 'Sender'}"
    document = {**extra, "__type": name, "message": message}
    if protocol == CBOR:
        return HttpAnswer(status, {**headers, **_CBOR_HEADERS}, _cbor_texts(document))
    kind = "application/json" if protocol == REST_JSON else "application/x-amz-json-1.1"
    return HttpAnswer(status, {**headers, "Content-Type": kind}, json.dumps(document).encode())


@cache
def service_model(name: str) -> ServiceModel:
    """botocore's description of a service, in moto's classes."""
    return get_service_model(name)


@cache
def _rest_router(name: str) -> RestRouter:
    return RestRouter(service_model(name))


_CBOR_HEADERS = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}


def _plain(request: HttpRequest) -> bytes:
    """The body as it was before the client compressed it (botocore does so with long PutMetricData requests)."""
    if request.headers.get("content-encoding") != "gzip":
        return request.body
    try:
        return gzip.decompress(request.body)
    except (OSError, EOFError) as error:
        raise BadRequest("SerializationException", f"the body is not gzip, as its header says: {error}") from None


def _parsed(request: HttpRequest, operation: Operation, body: bytes) -> dict[str, Any]:
    if operation.protocol == JSON:
        document = json.loads(body or b"{}")
        if not isinstance(document, dict):
            raise ValueError(f"the body is a JSON {type(document).__name__}, not an object")
    values = HttpRequest(request.method, request.path, request.query, request.headers, body).form()
    parser = PROTOCOL_PARSERS[operation.protocol](operation.model, timestamp_parser=parse_timestamp)
    params = parser.parse(
        {
            "body": body,
            "headers": Headers(list(request.headers.items())),
            "method": request.method,
            "url_params": dict(operation.uri),
            "url_path": request.path,
            "values": values,
        }
    )
    in_query = {
        name
        for name, shape in operation.model.input_shape.members.items()
        if shape.serialization.get("location") == "querystring"
    }
    # A list that is not in the query string comes out empty; a client that leaves it out means "not given".
    return {name: value for name, value in params.items() if not (name in in_query and value == [])}


def _status(model: OperationModel, result: Mapping[str, Any]) -> int | None:
    """The HTTP status, where it is a member of the answer (Lambda's Invoke)."""
    if model.output_shape is None:
        return None
    for name, shape in model.output_shape.members.items():
        if shape.serialization.get("location") == "statusCode" and name in result:
            return int(result[name])
    return None


def _error_shape(operation: Operation, code: str, members: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The error's name in the model, which may differ from its code, and its members as JSON."""
    for shape in (*operation.model.error_shapes, *operation.model.service_model.error_shapes):
        if code in (shape.error_code, shape.name):
            extra: dict[str, Any] = {}
            if members and operation.protocol == JSON:
                serializer = get_serializer_class(operation.service, operation.protocol)(operation.model)
                serializer._serialize(extra, dict(members), shape, "")
            return shape.name, extra
    return code, {}


def _query_refusal(code: str, message: str, request_id: str) -> bytes:
    error = {"Type": "Sender", "Code": code, "Message": _printable(message)}
    document = {"ErrorResponse": {"Error": error, "RequestId": request_id}}
    return xmltodict.unparse(document, full_document=False).encode()


def _printable(text: str) -> str:
    """The text without characters that XML cannot hold."""
    return "".join(one if one >= " " or one in "\t\n\r" else "?" for one in text)


def _cbor_texts(document: Mapping[str, Any]) -> bytes:
    serializer = RpcV2CBORSerializer()
    body = bytearray([0xA0 + len(document)])
    for name, text in document.items():
        serializer._serialize_type_string(body, name, None, None)
        serializer._serialize_type_string(body, text, None, None)
    return bytes(body)


def _without_none(value: Any) -> Any:
    """The answer without members that are None, which no protocol can say."""
    if isinstance(value, Mapping):
        return {key: _without_none(one) for key, one in value.items() if one is not None}
    return [_without_none(one) for one in value] if isinstance(value, list) else value
