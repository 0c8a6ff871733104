"""The API's part of the registry table: registrations, policies, scheduled actions, tags, chores and who is changing what.

Layout (pk, sk), beside that of `gateways/registry.py`:
  TARGETS     <resource id>                a registration
  POLICIES    <resource id>#<policy name>  a scaling policy
  SCHEDULES   <resource id>#<action name>  a scheduled action
  TARGETARN   <arn id>                     which resource a target's ARN means
  TARGETTAGS  <arn id>                     its tags, with a version for conditional writes
  CHORES      <kind>#<name>                alarm writes and endpoints to forget, until they are done
  BUDGET      ALARMS                       how much of one alarm write per second is spent
  TEMPLATE    TARGET                       which target is that of the template's parameters
  HOLD        <resource id>                who changes a target now
  BOUND       <resource id>#<policy name>  step policies that wait for, or have, somebody else's alarms

Everything of a kind lies in one partition in the order of resource ids, so listing pages through a partition, and what
belongs to one target is the part of it that begins with the resource id: nothing ever scans the table. These partitions
see control-plane traffic only; decisions never read them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from quickstep.gateways import aws
from quickstep.gateways.refusals import refusal
from quickstep.model.registration import Chore, PolicyRecord, Registration, ScheduledRecord
from quickstep.model.state import TargetState
from quickstep.model.targets import Dimension, ScalableTarget, TargetId
from quickstep.target_documents import target_from_document

BATCH = 100
"""The most keys of one BatchGetItem."""
_LONGEST_NAME_BYTES = 800
_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Page(Generic[_Record]):
    """Some records, and the key after which the next ones come; None if there are no more."""

    records: tuple[_Record, ...]
    last: str | None


class ControlRegistry:
    """Reads and writes of the API's items. Raises `Throttled`, `AccessDenied`, `OutcomeUnknown` of `errors`."""

    def __init__(self, table: str) -> None:
        self._table = table

    # --- who changes what ------------------------------------------------------------------------------------------

    def hold_target(self, resource_id: str, *, holder: str, now_s: float, ttl_s: float) -> bool:
        """Become the only one that changes a target through the API; False if somebody else is at it."""
        values = {":holder": {"S": holder}, ":until": {"N": _number(now_s + ttl_s)}, ":now": {"N": _number(now_s)}}
        condition = "attribute_not_exists(until_s) OR until_s <= :now OR holder = :holder"
        return (
            self._change("HOLD", resource_id, "SET holder = :holder, until_s = :until", values, condition) is not None
        )

    def let_go_target(self, resource_id: str, *, holder: str) -> None:
        """Let others change the target; nothing happens if it was taken over meanwhile."""
        self._drop("HOLD", resource_id, "holder = :holder", {":holder": {"S": holder}})

    # --- registrations ---------------------------------------------------------------------------------------------

    def keep_registration(self, registration: Registration) -> None:
        """Write or replace a registration, and what its ARN means."""
        self._keep("TARGETARN", registration.arn_id, _where(registration.target_id))
        self._keep("TARGETS", registration.target_id.resource_id, _document(registration))

    def registration_record(self, resource_id: str) -> Registration | None:
        """The registration of a resource id; None if there is none."""
        document = self._read("TARGETS", resource_id)
        return None if document is None else _record(Registration, document)

    def registration_page(self, *, limit: int, after: str | None = None) -> Page[Registration]:
        """At most `limit` registrations in order of resource id, those after `after`."""
        return self._page(Registration, "TARGETS", "", limit, after)

    def forget_registration(self, registration: Registration) -> None:
        """Delete a registration, its tags and what its ARN means."""
        self._drop("TARGETTAGS", registration.arn_id)
        self._drop("TARGETARN", registration.arn_id)
        # Last, since it says that there is something to delete.
        self._drop("TARGETS", registration.target_id.resource_id)

    def registration_count(self, dimension: Dimension) -> int:
        """How many targets of one dimension are registered."""
        prefix = "inference-component/" if dimension is Dimension.COPIES else "endpoint/"
        count, after = 0, None
        while True:
            answer = self._part("TARGETS", prefix, after, Select="COUNT")
            count += answer["Count"]
            if not answer.get("LastEvaluatedKey"):
                return count
            after = answer["LastEvaluatedKey"]["sk"]["S"]

    def template_target(self) -> TargetId | None:
        """The template's target as the API saw it last; None if it has seen none."""
        document = self._read("TEMPLATE", "TARGET")
        return None if document is None else TargetId(document["resource_id"], Dimension(document["dimension"]))

    def remember_template_target(self, target_id: TargetId | None) -> None:
        """Note which target is the template's."""
        if target_id is None:
            self._drop("TEMPLATE", "TARGET")
        else:
            self._keep("TEMPLATE", "TARGET", _where(target_id))

    def resource_of_arn(self, arn_id: str) -> TargetId | None:
        """The target whose ARN ends with `arn_id`; None if there is none."""
        document = self._read("TARGETARN", arn_id)
        return None if document is None else TargetId(document["resource_id"], Dimension(document["dimension"]))

    def registered_targets(
        self, where: Iterable[tuple[str, str]]
    ) -> dict[str, tuple[ScalableTarget, TargetState | None]]:
        """The core's target and state of each (endpoint, resource id), by resource id; missing ones are absent."""
        keys = [
            {"pk": {"S": f"ENDPOINT#{endpoint}"}, "sk": {"S": f"{kind}#{resource_id}"}}
            for endpoint, resource_id in where
            for kind in ("TARGET", "STATE")
        ]
        found: dict[str, dict[str, Any]] = {"TARGET": {}, "STATE": {}}
        for first in range(0, len(keys), BATCH):
            for item in self._batch(keys[first : first + BATCH]):
                kind, _, resource_id = item["sk"]["S"].partition("#")
                found[kind][resource_id] = json.loads(item["doc"]["S"])
        return {
            resource_id: (
                target_from_document(document),
                TargetState.from_dict(found["STATE"][resource_id]) if resource_id in found["STATE"] else None,
            )
            for resource_id, document in found["TARGET"].items()
        }

    # --- policies --------------------------------------------------------------------------------------------------

    def keep_policy(self, policy: PolicyRecord, *, waits_for_alarms: bool = False) -> None:
        """Write or replace a policy. `waits_for_alarms`: somebody else's alarms are, or will be, bound to it."""
        key = _key(policy.target_id.resource_id, policy.name)
        self._keep("POLICIES", key, _document(policy))
        if waits_for_alarms:
            self._keep("BOUND", key, _document(policy))
        else:
            self._drop("BOUND", key)

    def policy_record(self, resource_id: str, name: str) -> PolicyRecord | None:
        """One policy of a target; None if it has none of that name."""
        document = self._read("POLICIES", _key(resource_id, name))
        return None if document is None else _record(PolicyRecord, document)

    def policy_page(
        self, *, limit: int, after: str | None = None, resource_id: str | None = None
    ) -> Page[PolicyRecord]:
        """At most `limit` policies, of one target or of all, in order of resource id and name."""
        return self._page(PolicyRecord, "POLICIES", _prefix(resource_id), limit, after)

    def policies_of(self, resource_id: str) -> tuple[PolicyRecord, ...]:
        """Every policy of a target."""
        return tuple(_record(PolicyRecord, one) for one in self._all_of("POLICIES", _prefix(resource_id)))

    def forget_policy(self, resource_id: str, name: str) -> None:
        """Delete one policy."""
        self._drop("BOUND", _key(resource_id, name))
        self._drop("POLICIES", _key(resource_id, name))

    def policies_that_wait(self) -> tuple[PolicyRecord, ...]:
        """Every step policy that waits for somebody else's alarms, or has them."""
        return tuple(_record(PolicyRecord, one) for one in self._all_of("BOUND", ""))

    # --- scheduled actions -----------------------------------------------------------------------------------------

    def keep_schedule(self, action: ScheduledRecord) -> None:
        """Write or replace a scheduled action."""
        self._keep("SCHEDULES", _key(action.target_id.resource_id, action.name), _document(action))

    def schedule_record(self, resource_id: str, name: str) -> ScheduledRecord | None:
        """One scheduled action of a target; None if it has none of that name."""
        document = self._read("SCHEDULES", _key(resource_id, name))
        return None if document is None else _record(ScheduledRecord, document)

    def schedule_page(
        self, *, limit: int, after: str | None = None, resource_id: str | None = None
    ) -> Page[ScheduledRecord]:
        """At most `limit` scheduled actions, of one target or of all, in order of resource id and name."""
        return self._page(ScheduledRecord, "SCHEDULES", _prefix(resource_id), limit, after)

    def schedules_of(self, resource_id: str) -> tuple[ScheduledRecord, ...]:
        """Every scheduled action of a target."""
        return tuple(_record(ScheduledRecord, one) for one in self._all_of("SCHEDULES", _prefix(resource_id)))

    def forget_schedule(self, resource_id: str, name: str) -> None:
        """Delete one scheduled action."""
        self._drop("SCHEDULES", _key(resource_id, name))

    # --- tags ------------------------------------------------------------------------------------------------------

    def target_tags(self, arn_id: str) -> tuple[dict[str, str], int]:
        """A target's tags and their version, for `change_tags`; no tags are version 0."""
        item = self._item("TARGETTAGS", arn_id)
        if item is None:
            return {}, 0
        return json.loads(item["doc"]["S"]), int(item["version"]["N"])

    def change_tags(self, arn_id: str, tags: Mapping[str, str], *, version: int) -> bool:
        """Replace a target's tags, if they are still those of `version`; False if somebody was faster."""
        values = {":doc": {"S": _json(tags)}, ":next": {"N": str(version + 1)}, ":version": {"N": str(version)}}
        condition = "version = :version" if version else "attribute_not_exists(version)"
        if not version:
            del values[":version"]
        return self._change("TARGETTAGS", arn_id, "SET doc = :doc, version = :next", values, condition) is not None

    # --- chores ----------------------------------------------------------------------------------------------------

    def queue_chore(self, chore: Chore) -> Chore:
        """Remember a chore; what was asked for the same name before and is not done yet is replaced."""
        values = {":doc": {"S": _json(asdict(chore))}, ":one": {"N": "1"}}
        item = self._change("CHORES", _chore_key(chore), "SET doc = :doc ADD seq :one", values)
        assert item is not None
        return replace(chore, sequence=int(item["seq"]["N"]))

    def queued_chores(self, *, limit: int) -> tuple[Chore, ...]:
        """At most `limit` of the chores that wait, the oldest of a hundred first."""
        items = self._part("CHORES", "", None, Limit=100)["Items"]
        found = [Chore(**(json.loads(one["doc"]["S"]) | {"sequence": int(one["seq"]["N"])})) for one in items]
        return tuple(sorted(found, key=lambda chore: (chore.asked_s, chore.name))[:limit])

    def claim_chore(self, chore: Chore, *, now_s: float, ttl_s: float) -> bool:
        """Take a chore on; False if it was replaced or somebody else is at it."""
        values = {
            ":seq": {"N": str(chore.sequence)},
            ":now": {"N": _number(now_s)},
            ":until": {"N": _number(now_s + ttl_s)},
        }
        condition = "seq = :seq AND (attribute_not_exists(claimed_until_s) OR claimed_until_s <= :now)"
        return self._change("CHORES", _chore_key(chore), "SET claimed_until_s = :until", values, condition) is not None

    def finish_chore(self, chore: Chore) -> None:
        """Forget a chore that is done; one that was asked for anew meanwhile is set free instead."""
        if not self._drop("CHORES", _chore_key(chore), "seq = :seq", {":seq": {"N": str(chore.sequence)}}):
            self.release_chore(chore)

    def release_chore(self, chore: Chore) -> None:
        """Give a chore back that could not be done."""
        self._change("CHORES", _chore_key(chore), "REMOVE claimed_until_s", {}, "attribute_exists(seq)")

    def take_write(self, *, now_s: float, burst: int) -> bool:
        """Take one of the alarm writes that one per second allows, at most `burst` at once; False if none is left."""
        item = self._item("BUDGET", "ALARMS")
        spent_s = float(item["spent_s"]["N"]) if item is not None else 0.0
        next_s = max(spent_s, now_s - burst) + 1.0
        if next_s > now_s:
            return False
        values = {":next": {"N": _number(next_s)}}
        condition = "attribute_not_exists(spent_s)"
        if item is not None:
            values[":spent"] = item["spent_s"]
            condition = "spent_s = :spent"
        return self._change("BUDGET", "ALARMS", "SET spent_s = :next", values, condition) is not None

    def forget_endpoint(self, endpoint: str) -> None:
        """Delete what is remembered about an endpoint that has no target any more. Only under its write lease."""
        for sk in ("STATE", "LOOP", "LEASE"):
            self._drop(f"ENDPOINT#{endpoint}", sk)

    # --- activities ------------------------------------------------------------------------------------------------

    def activity_documents(self, resource_id: str, *, limit: int, before: str | None = None) -> Page[Mapping[str, Any]]:
        """At most `limit` entries of a target's history, newest first, those older than the entry `before`."""
        pk = f"ACTIVITY#{resource_id}"
        start = {"ExclusiveStartKey": {"pk": {"S": pk}, "sk": {"S": before}}} if before else {}
        answer = self._call(
            "query",
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ScanIndexForward=False,
            Limit=limit + 1,
            **start,
        )
        items = answer["Items"]
        found = tuple(json.loads(item["doc"]["S"]) for item in items[:limit])
        return Page(found, items[limit - 1]["sk"]["S"] if len(items) > limit else None)

    # --- DynamoDB --------------------------------------------------------------------------------------------------

    def _page(self, kind: type[_Record], pk: str, prefix: str, limit: int, after: str | None) -> Page[_Record]:
        # One more than wanted: DynamoDB says "there may be more" even when there is not.
        items = self._part(pk, prefix, after, Limit=limit + 1)["Items"]
        records = tuple(_record(kind, json.loads(item["doc"]["S"])) for item in items[:limit])
        return Page(records, items[limit - 1]["sk"]["S"] if len(items) > limit else None)

    def _all_of(self, pk: str, prefix: str) -> Iterator[Mapping[str, Any]]:
        return (json.loads(item["doc"]["S"]) for item in self._items(pk, prefix))

    def _items(self, pk: str, prefix: str) -> Iterator[Mapping[str, Any]]:
        after: str | None = None
        while True:
            answer = self._part(pk, prefix, after)
            yield from answer["Items"]
            if not answer.get("LastEvaluatedKey"):
                return
            after = answer["LastEvaluatedKey"]["sk"]["S"]

    def _part(self, pk: str, prefix: str, after: str | None, **more: Any) -> Mapping[str, Any]:
        condition, values = "pk = :pk", {":pk": {"S": pk}}
        if prefix:
            condition, values = f"{condition} AND begins_with(sk, :prefix)", values | {":prefix": {"S": prefix}}
        start = {"ExclusiveStartKey": {"pk": {"S": pk}, "sk": {"S": after}}} if after else {}
        return self._call(
            "query",
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ConsistentRead=True,
            **start,
            **more,
        )

    def _batch(self, keys: list[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
        wanted = {self._table: {"Keys": keys, "ConsistentRead": True}}
        while wanted:
            answer = self._call("batch_get_item", RequestItems=wanted)
            yield from answer["Responses"].get(self._table, ())
            wanted = answer.get("UnprocessedKeys") or {}

    def _read(self, pk: str, sk: str) -> Mapping[str, Any] | None:
        item = self._item(pk, sk)
        return None if item is None else json.loads(item["doc"]["S"])

    def _item(self, pk: str, sk: str) -> Mapping[str, Any] | None:
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        return self._call("get_item", Key=key, ConsistentRead=True).get("Item")

    def _keep(self, pk: str, sk: str, document: Mapping[str, Any]) -> None:
        item = {"pk": {"S": pk}, "sk": {"S": sk}, "doc": {"S": _json(document)}}
        self._call("put_item", Item=item)

    def _drop(self, pk: str, sk: str, condition: str | None = None, values: Mapping[str, Any] | None = None) -> bool:
        """Delete one item; False if the condition did not hold."""
        only = {"ConditionExpression": condition, "ExpressionAttributeValues": dict(values or {})} if condition else {}
        try:
            self._call("delete_item", Key={"pk": {"S": pk}, "sk": {"S": sk}}, **only)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _change(
        self, pk: str, sk: str, update: str, values: Mapping[str, Any], condition: str | None = None
    ) -> Mapping[str, Any] | None:
        """Update one item; the item after it, or None if the condition did not hold."""
        try:
            answer = self._call(
                "update_item",
                Key={"pk": {"S": pk}, "sk": {"S": sk}},
                UpdateExpression=update,
                ReturnValues="ALL_NEW",
                **({"ExpressionAttributeValues": dict(values)} if values else {}),
                **({"ConditionExpression": condition} if condition else {}),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return None
            raise
        return answer.get("Attributes", {})

    def _call(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        if operation != "batch_get_item":
            parameters = {"TableName": self._table, **parameters}
        try:
            return getattr(aws.client("dynamodb"), operation)(**parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                raise
            raise refusal(error, what=f"registry table {self._table}: {operation}") from error
        except BotoCoreError as error:
            raise refusal(error, what=f"registry table {self._table}: {operation}") from error


def _key(resource_id: str, name: str) -> str:
    """Names may be longer than a sort key; `#` occurs in no resource id of SageMaker."""
    if len(name.encode()) > _LONGEST_NAME_BYTES:
        name = f"~{hashlib.sha256(name.encode()).hexdigest()}"
    return f"{resource_id}#{name}"


def _prefix(resource_id: str | None) -> str:
    return "" if resource_id is None else f"{resource_id}#"


def _chore_key(chore: Chore) -> str:
    # One alarm has one chore, whether it is to be written or to be deleted.
    return f"{'endpoint' if chore.kind == 'forget_endpoint' else 'alarm'}#{chore.name}"


def _where(target_id: TargetId) -> dict[str, str]:
    return {"resource_id": target_id.resource_id, "dimension": str(target_id.dimension)}


def _document(record: Registration | PolicyRecord | ScheduledRecord) -> dict[str, Any]:
    return asdict(record) | {"target_id": _where(record.target_id)}


def _record(kind: type[_Record], document: Mapping[str, Any]) -> _Record:
    """Rebuild a record; unknown keys (a newer version wrote them) are ignored, missing ones get their default."""
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    values = {key: value for key, value in document.items() if key in names}
    where = document["target_id"]
    values["target_id"] = TargetId(where["resource_id"], Dimension(where["dimension"]))
    if "bound" in values:
        values["bound"] = tuple(values["bound"])
    return kind(**values)


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _number(value: float) -> str:
    return f"{value:.3f}"
