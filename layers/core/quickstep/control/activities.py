"""DescribeScalingActivities: what was changed, and with IncludeNotScaledActivities also what was not, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from quickstep.control import paging
from quickstep.control.context import ControlContext
from quickstep.control.names import check_namespace, dimension_of
from quickstep.control.refusals import InvalidNextTokenException, ValidationException

_SEPARATOR = "#"
BATCH = 50


def describe(params: Mapping[str, Any], context: ControlContext) -> dict[str, Any]:
    """Activities of the last six weeks, newest first; of all targets, one target after the other in order of resource id.

    Without a ResourceId only registered targets are listed; a deregistered one's history is there by its ResourceId.
    """
    check_namespace(params)
    rid = params.get("ResourceId")
    dimension = dimension_of(params["ScalableDimension"]) if "ScalableDimension" in params else None
    if dimension is not None and rid is None:
        raise ValidationException("ScalableDimension is given without ResourceId; give the resource ID too")
    size, after = paging.begin("DescribeScalingActivities", params)
    include = params.get("IncludeNotScaledActivities", False)
    found: list[Mapping[str, Any]] = []
    last = None
    for document in _documents(rid, after, context):
        if document["not_scaled"] and not include:
            continue
        if dimension is not None and document["target_id"]["dimension"] != dimension:
            continue
        if len(found) == size:
            last = f"{found[-1]['target_id']['resource_id']}{_SEPARATOR}{found[-1]['activity_id']}"
            break
        found.append(document)
    rows = [_described(one) for one in found]
    return {"ScalingActivities": rows} | paging.next_token("DescribeScalingActivities", params, last)


def _documents(rid: str | None, after: str | None, context: ControlContext) -> Iterator[Mapping[str, Any]]:
    first_rid, before = None, None
    if after is not None:
        first_rid, separator, before = after.partition(_SEPARATOR)
        if not separator:
            raise InvalidNextTokenException(f"NextToken names no activity: {after!r}; begin again without it")
    for one in [rid] if rid is not None else _resource_ids(first_rid, context):
        yield from _history(one, before if one == first_rid else None, context)


def _resource_ids(first: str | None, context: ControlContext) -> Iterator[str]:
    if first is not None:
        yield first
    after = first
    while True:
        page = context.records.registration_page(limit=BATCH, after=after)
        yield from (one.target_id.resource_id for one in page.records)
        if page.last is None:
            return
        after = page.last


def _history(rid: str, before: str | None, context: ControlContext) -> Iterator[Mapping[str, Any]]:
    while True:
        page = context.records.activity_documents(rid, limit=BATCH, before=before)
        yield from page.records
        if page.last is None:
            return
        before = page.last


def _described(document: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ActivityId": document["activity_id"],
        "ServiceNamespace": "sagemaker",
        "ResourceId": document["target_id"]["resource_id"],
        "ScalableDimension": document["target_id"]["dimension"],
        "Description": document["description"],
        "Cause": document["cause"],
        "StartTime": document["start_s"],
        "StatusCode": document["status"],
    }
    if document.get("end_s") is not None:
        row["EndTime"] = document["end_s"]
    if document.get("status_message"):
        row["StatusMessage"] = document["status_message"]
    if document.get("decision"):
        row["Details"] = json.dumps(document["decision"], sort_keys=True, separators=(",", ":"))
    if document["not_scaled"]:
        row["NotScaledReasons"] = [_reason(document)]
    return row


def _reason(document: Mapping[str, Any]) -> dict[str, Any]:
    """Application Auto Scaling's code where it has one, else Quickstep's; the numbers that bound the decision."""
    decision = document.get("decision") or {}
    found: dict[str, Any] = {"Code": document["reason"]}
    bounds = next((one["inputs"] for one in decision.get("steps", ()) if one["stage"] == "bounds"), {})
    for name, value in (
        ("MinCapacity", bounds.get("min")),
        ("MaxCapacity", bounds.get("max")),
        ("CurrentCapacity", decision.get("current")),
    ):
        if isinstance(value, int):
            found[name] = value
    return found
