"""DynamoDB: moto's, called without the HTTP in between.

What moto does is moto's affair (it was checked elsewhere against DynamoDB); this file only skips turning a request into
JSON, a signed HTTP request and back, which is half of its cost. Items do not expire: DynamoDB may keep them for days
after their time, so nothing may rely on it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import cache
from inspect import signature
from typing import Any

import botocore.session
from moto.core.exceptions import JsonRESTError, ServiceException
from moto.core.utils import camelcase_to_underscores
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

_TABLE_EXTRAS = ("TimeToLiveSpecification", "PointInTimeRecoverySpecification", "ContributorInsightsSpecification")
"""Properties of AWS::DynamoDB::Table that CreateTable does not have."""


class Refusal(ServiceError):
    """A refusal with modelled members: the item of a failed condition, the reasons of a cancelled transaction."""

    def __init__(self, code: str, message: str, members: Mapping[str, Any]) -> None:
        super().__init__(code, message, 400)
        self.members = members


class DynamoDbService:
    """The tables of one account and region."""

    def __init__(self, *, account_id: str = "111122223333", region: str = "eu-west-1") -> None:
        self._account_id, self._region = account_id, region
        self._backend = DynamoDBBackend(region, account_id)

    def create_from_template(self, name: str, properties: Mapping[str, Any]) -> None:
        """Create the table that an AWS::DynamoDB::Table resource describes."""
        request = {key: value for key, value in properties.items() if key not in _TABLE_EXTRAS}
        sse = request.pop("SSESpecification", None)
        if sse is not None:
            request["SSESpecification"] = {"Enabled": sse.get("SSEEnabled", False)}
        if str(request.get("DeletionProtectionEnabled", "")).lower() in ("true", "false"):
            request["DeletionProtectionEnabled"] = str(request["DeletionProtectionEnabled"]).lower() == "true"
        self.call("CreateTable", {**request, "TableName": name})
        ttl = properties.get("TimeToLiveSpecification")
        if ttl is not None:
            enabled = str(ttl.get("Enabled", True)).lower() == "true"
            specification = {"AttributeName": ttl["AttributeName"], "Enabled": enabled}
            self.call("UpdateTimeToLive", {"TableName": name, "TimeToLiveSpecification": specification})

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one API operation of `dynamodb`; raises ServiceError, with moto's code and message, for a refusal."""
        handler = _Handler(self._backend, self._account_id, self._region, _copied(dict(params)))
        method = getattr(handler, camelcase_to_underscores(operation), None)
        if method is None:
            raise NotEmulated(f"dynamodb {operation} is not emulated")
        try:
            result = method().result
        except (ServiceException, JsonRESTError) as problem:
            raise _refusal(problem) from None
        if operation == "CreateTable":
            self._backend.tables[params["TableName"]].__class__ = _Table
        shown = _members(operation)
        return {key: _copied(value) for key, value in (result or {}).items() if key in shown and value is not None}


class _Table(Table):
    """moto's table, whose Query sorts every item there is; here only those that can be in the answer."""

    _candidates: list[Item] | None = None

    def query(self, hash_key: DynamoType | None, *args: Any, **more: Any) -> Any:
        named = args[_INDEX_NAME] if len(args) > _INDEX_NAME else more.get("index_name")
        attributes = {
            key["AttributeName"]
            for index in self.all_indexes()
            if index.name == named
            for key in index.schema
            if key["KeyType"] == "HASH"
        }
        if named is None:
            found = self.items.get(hash_key, {}) if hash_key is not None and self.range_key_attr else None
            self._candidates = None if found is None else list(found.values())
        elif attributes and self.range_key_attr:
            every = (item for partition in self.items.values() for item in partition.values())
            self._candidates = [item for item in every if attributes <= item.attrs.keys()]
        try:
            return super().query(hash_key, *args, **more)
        finally:
            self._candidates = None

    def all_items(self) -> list[Item]:
        if self._candidates is None:
            return super().all_items()
        return sorted(self._candidates, key=lambda item: (item.hash_key, item.range_key))


_INDEX_NAME = list(signature(Table.query).parameters).index("index_name") - 2
"""Where `index_name` stands among the positional arguments after `hash_key`."""


class _Handler(DynamoHandler):
    """moto's request handler on a backend of our own instead of moto's process-wide one."""

    def __init__(self, backend: DynamoDBBackend, account_id: str, region: str, params: dict[str, Any]) -> None:
        super().__init__()
        self._backend = backend
        self.current_account, self.region = account_id, region
        self.params = self.body = params
        self.uri_match: dict[str, str] = {}
        self.response_headers: dict[str, str] = {}

    @property
    def dynamodb_backend(self) -> DynamoDBBackend:
        return self._backend


@cache
def _members(operation: str) -> frozenset[str]:
    """What an answer may hold: moto writes a little more, which a client never sees."""
    shape = botocore.session.get_session().get_service_model("dynamodb").operation_model(operation).output_shape
    return frozenset(shape.members if shape is not None else ())


def _refusal(problem: ServiceException | JsonRESTError) -> Refusal:
    if not isinstance(problem, JsonRESTError):
        return Refusal(problem.code, str(problem.message), {})
    body = json.loads(problem.description)
    members = {key: value for key, value in body.items() if key not in ("__type", "message", "Message")}
    if "Item" in members:
        members["Item"] = _with_bytes(members["Item"])
    for reason in members.get("CancellationReasons", []):
        if "Item" in reason:
            reason["Item"] = _with_bytes(reason["Item"])
    return Refusal(str(problem.relative_error_type), str(problem.message), members)


def _with_bytes(item: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """An item from JSON, where binary values are Base64, as botocore gives it."""
    return {name: _attribute(value) for name, value in item.items()}


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    ((kind, content),) = value.items()
    if kind == "B":
        return {"B": base64.b64decode(content)}
    if kind == "BS":
        return {"BS": [base64.b64decode(one) for one in content]}
    if kind == "M":
        return {"M": _with_bytes(content)}
    return {"L": [_attribute(one) for one in content]} if kind == "L" else value


def _copied(value: Any) -> Any:
    """A copy that shares nothing with `value`, with moto's own attribute objects as plain JSON."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return _copied(value.to_json()) if isinstance(value, (DynamoType, Item)) else value
