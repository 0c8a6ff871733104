"""How many requests wait for a component that wakes: one small item each, in the registry's table.

Layout: pk HELD#<component>, sk <moment it came, then request id>; `until_s` says until when it waits. Whoever dies leaves an
item that is no longer counted after that moment, and that DynamoDB deletes later (`expires_s`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quickstep.gateways import aws
from quickstep.gateways.refusals import translated


@dataclass(frozen=True, slots=True)
class Place:
    """One request's place among those that wait; `ahead` of it came earlier and still wait."""

    component: str
    key: str
    ahead: int


class HeldRequests:
    """Reads and writes of those items. Raises `Throttled`, `AccessDenied`, `OutcomeUnknown` of `errors`."""

    def __init__(self, table: str) -> None:
        self._table = table

    def take_place(self, component: str, request_id: str, *, now_s: float, until_s: float) -> Place:
        """Wait from now until `until_s`. Of those that come in the same instant some may not be counted."""
        key = f"{now_s:017.3f}#{request_id}"
        item = {
            "pk": {"S": f"HELD#{component}"},
            "sk": {"S": key},
            "until_s": {"N": f"{until_s:.3f}"},
            "expires_s": {"N": str(int(until_s) + 60)},
        }
        with translated(f"registry table {self._table}: hold a request"):
            aws.client("dynamodb").put_item(TableName=self._table, Item=item)
        return Place(component, key, self._ahead(component, key, now_s))

    def give_place_up(self, place: Place) -> None:
        """Wait no longer."""
        key = {"pk": {"S": f"HELD#{place.component}"}, "sk": {"S": place.key}}
        with translated(f"registry table {self._table}: let a request go"):
            aws.client("dynamodb").delete_item(TableName=self._table, Key=key)

    def _ahead(self, component: str, key: str, now_s: float) -> int:
        count: int = 0
        start: Mapping[str, Any] | None = None
        values = {":pk": {"S": f"HELD#{component}"}, ":sk": {"S": key}, ":now": {"N": f"{now_s:.3f}"}}
        while True:
            with translated(f"registry table {self._table}: count the requests that are held"):
                answer = aws.client("dynamodb").query(
                    TableName=self._table,
                    KeyConditionExpression="pk = :pk AND sk < :sk",
                    FilterExpression="until_s > :now",
                    ExpressionAttributeValues=values,
                    ConsistentRead=True,
                    Select="COUNT",
                    **({"ExclusiveStartKey": start} if start else {}),
                )
            count += answer["Count"]
            start = answer.get("LastEvaluatedKey")
            if not start:
                return count
