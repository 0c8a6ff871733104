"""The registry: one DynamoDB table with targets, their state, the endpoint's loop and lease, and scaling activities.

Layout (pk, sk):
  ENDPOINT#<endpoint>   LEASE                 who may write to SageMaker now (token, expires_at_s)
                        LOOP                  who runs, how often somebody said "look" (generation, running, poke_seq, …)
                        STATE                 what is remembered about the endpoint's variants
                        TARGET#<resource id>  a scalable target's registration
                        STATE#<resource id>   what is remembered about it
                        WISH#<resource id>    the newest wish of a person or a client, written without the lease
  NAME#<resource id>    TARGET                which endpoint it belongs to
  ALARM#<alarm name>    TARGET                which target an alarm speaks for
  ACTIVITY#<resource>   <activity id>         its history, expiring after six weeks as in AAS
  RECONCILE             WATERMARK             when the last reconciliation began
                        DEFAULT               which target the template's parameters registered last
Index `due` (due, next_look_at_s) holds the LOOP items: Reconcile finds what is due without reading the rest.

Expiry of a lease is compared in the condition, never left to DynamoDB's TTL. Documents written under a lease carry its
token and are only ever replaced by the same or a larger one (fencing).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from quickstep.errors import LeaseHeld, LeaseLost
from quickstep.gateways import aws
from quickstep.gateways.refusals import refusal
from quickstep.model.activity import Activity, ActivityStatus
from quickstep.model.loop import Lease, Loop
from quickstep.model.state import Change, EndpointState, Minutes, TargetState, change_from_dict
from quickstep.model.targets import Dimension, ScalableTarget, TargetId
from quickstep.target_documents import target_from_document, target_to_document

ACTIVITY_KEPT_S = 6 * 7 * 86_400
DUE = "LOOP"


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """All that the registry knows of one endpoint, read in one consistent query."""

    endpoint: str
    loop: Loop
    endpoint_state: EndpointState = field(default_factory=EndpointState)
    targets: Mapping[TargetId, ScalableTarget] = field(default_factory=dict)
    states: Mapping[TargetId, TargetState] = field(default_factory=dict)

    def state(self, target_id: TargetId) -> TargetState:
        """The target's state, with the time of the endpoint's last look put back in; a fresh one if there is none."""
        return self.states.get(target_id, TargetState(last_look_s=self.loop.last_look_s))


class Registry:
    """Reads and writes of the registry table. Raises `Throttled`, `AccessDenied`, `OutcomeUnknown` of `errors`."""

    def __init__(self, table: str) -> None:
        self._table = table

    # --- targets ---------------------------------------------------------------------------------------------------

    def read_endpoint(self, endpoint: str) -> EndpointRecord:
        """Everything about `endpoint`; an empty record if nothing is registered."""
        items = self._query(f"ENDPOINT#{endpoint}", consistent=True)
        loop, endpoint_state = Loop(endpoint), EndpointState()
        targets: dict[TargetId, ScalableTarget] = {}
        documents: dict[str, Mapping[str, Any]] = {}
        wishes: dict[str, Change] = {}
        for item in items:
            sk = item["sk"]["S"]
            if sk == "LOOP":
                loop = _loop(endpoint, item)
            elif sk == "STATE":
                endpoint_state = EndpointState.from_dict(json.loads(item["doc"]["S"]))
            elif sk.startswith("TARGET#"):
                target = target_from_document(json.loads(item["doc"]["S"]))
                targets[target.target_id] = target
            elif sk.startswith("WISH#"):
                wishes[sk.removeprefix("WISH#")] = change_from_dict(json.loads(item["doc"]["S"]))
            elif sk.startswith("STATE#"):
                documents[sk.removeprefix("STATE#")] = json.loads(item["doc"]["S"])
        states = {}
        for target_id in targets:
            rid = target_id.resource_id
            state = TargetState.from_dict({**documents.get(rid, {}), "last_look_s": loop.last_look_s})
            wish = wishes.get(rid)
            if wish is not None and (state.manual is None or wish.at_s > state.manual.at_s):
                state = replace(state, manual=wish)
            if rid in documents or wish is not None:
                states[target_id] = state
        return EndpointRecord(endpoint, loop, endpoint_state, targets, states)

    def put_target(self, target: ScalableTarget) -> None:
        """Register `target`, or replace its registration, with the look-ups by name and alarm.

        Alarms that it gives up no longer speak for it, and on an endpoint that it has left nothing stays behind.
        """
        rid = target.target_id.resource_id
        # What is stale goes first: if we are cut off in between, the next registration still knows what it was.
        self._delete_stale(target)
        self._put(f"ENDPOINT#{target.endpoint}", f"TARGET#{rid}", target_to_document(target))
        where = _whereabouts(target)
        self._put(f"NAME#{rid}", "TARGET", where)
        for alarm in target.alarm_names:
            self._put(f"ALARM#{alarm}", "TARGET", where)
        self._update(
            f"ENDPOINT#{target.endpoint}",
            "LOOP",
            "SET due = :due, next_look_at_s = if_not_exists(next_look_at_s, :zero)",
            {":due": {"S": DUE}, ":zero": {"N": "0"}},
        )

    def delete_target(self, target: ScalableTarget) -> None:
        """Forget `target`: registration, state and look-ups. Its activities expire by themselves."""
        rid = target.target_id.resource_id
        for sk in (f"TARGET#{rid}", f"STATE#{rid}", f"WISH#{rid}"):
            self._delete(f"ENDPOINT#{target.endpoint}", sk)
        self._delete(f"NAME#{rid}", "TARGET")
        self._unbind(target, target.alarm_names)

    def find(self, resource_id: str) -> tuple[str, TargetId] | None:
        """Endpoint and id of a registered target, by resource id; None if it is not registered."""
        return self._where(f"NAME#{resource_id}")

    def endpoint_of_component(self, component: str) -> str | None:
        """The endpoint that a registered inference component is on; None if it is not registered."""
        found = self.find(f"inference-component/{component}")
        return None if found is None else found[0]

    def find_by_alarm(self, alarm_name: str) -> tuple[str, TargetId] | None:
        """Endpoint and id of the target that an alarm is bound to; None if it is bound to none."""
        return self._where(f"ALARM#{alarm_name}")

    # --- pokes and loops -------------------------------------------------------------------------------------------

    def poke(self, endpoint: str) -> Loop:
        """Say "look": whoever is about to end a loop or release the lease will see it and look again."""
        item = self._update(
            f"ENDPOINT#{endpoint}",
            "LOOP",
            "ADD poke_seq :one SET due = :due, next_look_at_s = if_not_exists(next_look_at_s, :zero)",
            {":one": {"N": "1"}, ":due": {"S": DUE}, ":zero": {"N": "0"}},
        )
        return _loop(endpoint, item)

    def read_loop(self, endpoint: str) -> Loop:
        """The loop item alone, read consistently."""
        item = self._get(f"ENDPOINT#{endpoint}", "LOOP")
        return _loop(endpoint, item) if item else Loop(endpoint)

    def begin_loop(
        self, endpoint: str, *, now_s: float, code_version: str, takes_over_generation: int | None = None
    ) -> int | None:
        """Become the endpoint's loop; return the new generation, or None if another one runs.

        `takes_over_generation` replaces a loop of that generation although it is marked as running (it went silent).
        """
        values = {
            ":one": {"N": "1"},
            ":yes": {"BOOL": True},
            ":no": {"BOOL": False},
            ":zero": {"N": "0"},
            # Executions keep their name for 90 days. A new table must not begin with generations that an old one used.
            ":base": {"N": str(int(now_s // 60))},
            ":code": {"S": code_version},
            ":due": {"S": DUE},
            ":watchdog": {"N": _number(now_s + WATCHDOG_S)},
        }
        condition = "attribute_not_exists(running) OR running = :no"
        if takes_over_generation is not None:
            condition += " OR generation = :old"
            values[":old"] = {"N": str(takes_over_generation)}
        item = self._update(
            f"ENDPOINT#{endpoint}",
            "LOOP",
            "SET running = :yes, ticks = :zero, code_version = :code, due = :due, next_look_at_s = :watchdog, "
            "generation = if_not_exists(generation, :base) + :one",
            values,
            condition,
        )
        return None if item is None else _loop(endpoint, item).generation

    def record_look(self, endpoint: str, *, now_s: float, next_look_at_s: float, generation: int | None = None) -> bool:
        """Note that a look was taken. With `generation`: count a tick of that loop; False if it is not the owner any more."""
        values = {":now": {"N": _number(now_s)}, ":next": {"N": _number(next_look_at_s)}, ":due": {"S": DUE}}
        update = "SET last_look_s = :now, next_look_at_s = :next, due = :due"
        condition = None
        if generation is not None:
            values |= {":one": {"N": "1"}, ":g": {"N": str(generation)}}
            update += " ADD ticks :one"
            condition = "generation = :g"
        return self._update(f"ENDPOINT#{endpoint}", "LOOP", update, values, condition) is not None

    def end_loop(self, endpoint: str, *, generation: int, poke_seq: int, now_s: float, next_look_at_s: float) -> bool:
        """End the loop if nobody poked since `poke_seq` was read; False = look again."""
        values = {
            ":g": {"N": str(generation)},
            ":seq": {"N": str(poke_seq)},
            ":no": {"BOOL": False},
            ":now": {"N": _number(now_s)},
            ":next": {"N": _number(next_look_at_s)},
        }
        update = "SET running = :no, last_look_s = :now, next_look_at_s = :next"
        condition = "generation = :g AND poke_seq = :seq"
        return self._update(f"ENDPOINT#{endpoint}", "LOOP", update, values, condition) is not None

    def abandon_loop(self, endpoint: str, *, generation: int, next_look_at_s: float) -> bool:
        """Mark the loop as not running after a failure or a start that did not happen; Reconcile begins the next."""
        values = {":g": {"N": str(generation)}, ":no": {"BOOL": False}, ":next": {"N": _number(next_look_at_s)}}
        update = "SET running = :no, next_look_at_s = :next"
        return self._update(f"ENDPOINT#{endpoint}", "LOOP", update, values, "generation = :g") is not None

    def due(self, now_s: float, *, limit: int) -> tuple[Loop, ...]:
        """Loops whose next look is due, the longest overdue first, at most `limit`."""
        answer = self._call(
            "query",
            IndexName="due",
            KeyConditionExpression="due = :due AND next_look_at_s <= :now",
            ExpressionAttributeValues={":due": {"S": DUE}, ":now": {"N": _number(now_s)}},
            Limit=limit,
        )
        return tuple(_loop(item["pk"]["S"].removeprefix("ENDPOINT#"), item) for item in answer["Items"])

    def keep_wish(self, endpoint: str, target_id: TargetId, wish: Change) -> None:
        """Keep the newest wish for a target. Needs no lease: it is its own item, and the next look takes it in."""
        self._put(f"ENDPOINT#{endpoint}", f"WISH#{target_id.resource_id}", asdict(wish))

    def hurry(self, endpoint: str, at_s: float) -> None:
        """Have Reconcile look at the endpoint no later than `at_s`, unless a loop runs: it sees the poke itself."""
        values = {":at": {"N": _number(at_s)}, ":due": {"S": DUE}, ":yes": {"BOOL": True}}
        condition = (
            "(attribute_not_exists(running) OR running <> :yes) AND "
            "(attribute_not_exists(next_look_at_s) OR next_look_at_s > :at)"
        )
        self._update(f"ENDPOINT#{endpoint}", "LOOP", "SET next_look_at_s = :at, due = :due", values, condition)

    # --- lease -----------------------------------------------------------------------------------------------------

    def acquire_lease(self, endpoint: str, *, holder: str, now_s: float, ttl_s: float) -> Lease:
        """Take the write lease for `ttl_s`, or raise `LeaseHeld`. The token grows with every holder."""
        item = self._update(
            f"ENDPOINT#{endpoint}",
            "LEASE",
            "SET holder = :holder, expires_at_s = :until ADD fence :one",
            {
                ":holder": {"S": holder},
                ":until": {"N": _number(now_s + ttl_s)},
                ":one": {"N": "1"},
                ":now": {"N": _number(now_s)},
            },
            "attribute_not_exists(expires_at_s) OR expires_at_s <= :now",
        )
        if item is None:
            raise LeaseHeld(f"the write lease of endpoint {endpoint} is held; its holder sees the poke and looks again")
        return Lease(endpoint, holder, int(item["fence"]["N"]), now_s + ttl_s)

    def release_lease(self, lease: Lease) -> None:
        """Give the lease back; nothing happens if it was taken over meanwhile."""
        values = {":zero": {"N": "0"}, ":token": {"N": str(lease.token)}}
        self._update(f"ENDPOINT#{lease.endpoint}", "LEASE", "SET expires_at_s = :zero", values, "fence = :token")

    # --- state, under the lease ------------------------------------------------------------------------------------

    def save_target_state(self, lease: Lease, target_id: TargetId, state: TargetState) -> None:
        """Keep a target's state; raise `LeaseLost` if a later holder has written already."""
        document = state.to_dict()
        document.pop("last_look_s", None)
        self._save(lease, f"STATE#{target_id.resource_id}", document)

    def save_endpoint_state(self, lease: Lease, state: EndpointState) -> None:
        """Keep the endpoint's state; raise `LeaseLost` if a later holder has written already."""
        self._save(lease, "STATE", state.to_dict())

    # --- load ------------------------------------------------------------------------------------------------------

    def read_load(self, target_id: TargetId) -> Minutes | None:
        """A target's load by the minute, as far back as it is kept; None if there is none yet."""
        item = self._get(f"LOAD#{target_id.resource_id}", "MINUTES")
        if item is None:
            return None
        document = json.loads(item["doc"]["S"])
        return Minutes(float(document["from_s"]), tuple(None if v is None else v / 100 for v in document["centi"]))

    def write_load(self, target_id: TargetId, load: Minutes) -> None:
        """Keep a target's load by the minute, in hundredths of a copy."""
        centi = [None if level is None else round(level * 100) for level in load.levels]
        self._put(f"LOAD#{target_id.resource_id}", "MINUTES", {"from_s": load.from_s, "centi": centi}, {})

    # --- activities ------------------------------------------------------------------------------------------------

    def put_activity(self, activity: Activity) -> None:
        """Write or replace one entry of a target's history."""
        document = asdict(activity)
        document["target_id"] = {
            "resource_id": activity.target_id.resource_id,
            "dimension": str(activity.target_id.dimension),
        }
        document["status"] = str(activity.status)
        extra = {"expires_s": {"N": str(int(activity.start_s + ACTIVITY_KEPT_S))}}
        self._put(f"ACTIVITY#{activity.target_id.resource_id}", activity.activity_id, document, extra)

    def finish_activity(
        self, target_id: TargetId, activity_id: str, *, status: ActivityStatus, now_s: float, message: str
    ) -> None:
        """Close an activity that was in progress; an activity that has expired meanwhile stays gone."""
        key = (f"ACTIVITY#{target_id.resource_id}", activity_id)
        item = self._get(*key)
        if item is None:
            return
        document = json.loads(item["doc"]["S"]) | {"status": str(status), "end_s": now_s, "status_message": message}
        extra = {"expires_s": item["expires_s"]} if "expires_s" in item else {}
        self._put(*key, document, extra)

    def activities(self, target_id: TargetId, *, limit: int = 50) -> tuple[Activity, ...]:
        """The newest `limit` entries, newest first."""
        answer = self._call(
            "query",
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"ACTIVITY#{target_id.resource_id}"}},
            ScanIndexForward=False,
            Limit=limit,
        )
        return tuple(_activity(json.loads(item["doc"]["S"])) for item in answer["Items"])

    # --- reconcile -------------------------------------------------------------------------------------------------

    def swap_watermark(self, now_s: float) -> float | None:
        """Note that a reconciliation begins now; return when the one before began, None if there was none."""
        answer = self._call(
            "update_item",
            Key={"pk": {"S": "RECONCILE"}, "sk": {"S": "WATERMARK"}},
            UpdateExpression="SET began_s = :now",
            ExpressionAttributeValues={":now": {"N": _number(now_s)}},
            ReturnValues="ALL_OLD",
        )
        before = answer.get("Attributes", {}).get("began_s")
        return float(before["N"]) if before else None

    def last_reconciled_s(self) -> float | None:
        """When the last reconciliation began; None if there was none."""
        item = self._get("RECONCILE", "WATERMARK")
        return float(item["began_s"]["N"]) if item else None

    def default_target(self) -> tuple[str, TargetId] | None:
        """Endpoint and id of the target that the template's parameters registered last; None if there was none."""
        return self._where("RECONCILE", "DEFAULT")

    def default_registration(self) -> tuple[ScalableTarget, bool] | None:
        """The target as the template's parameters described it last, and whether it has our tag; None if not known."""
        item = self._get("RECONCILE", "DEFAULT")
        document = json.loads(item["doc"]["S"]) if item is not None else {}
        if "target" not in document:
            return None
        # A document of an older version was written when the tag was there.
        return target_from_document(document["target"]), document.get("marked", True)

    def remember_default_target(self, target: ScalableTarget, *, marked: bool) -> None:
        """Note that `target` is the one of the template's parameters, as they describe it, and whether it has our tag."""
        document = {"target": target_to_document(target), "marked": marked}
        self._put("RECONCILE", "DEFAULT", _whereabouts(target) | document)

    # --- DynamoDB --------------------------------------------------------------------------------------------------

    def _delete_stale(self, target: ScalableTarget) -> None:
        """Delete what an earlier registration of `target` has that this one has not."""
        rid = target.target_id.resource_id
        where = self.find(rid)
        item = self._get(f"ENDPOINT#{where[0]}", f"TARGET#{rid}") if where is not None else None
        if item is None:
            return
        before = target_from_document(json.loads(item["doc"]["S"]))
        self._unbind(before, sorted(set(before.alarm_names) - set(target.alarm_names)))
        if before.endpoint != target.endpoint:
            for sk in (f"TARGET#{rid}", f"STATE#{rid}", f"WISH#{rid}"):
                self._delete(f"ENDPOINT#{before.endpoint}", sk)

    def _unbind(self, target: ScalableTarget, alarms: Iterable[str]) -> None:
        """Delete the look-ups of those `alarms` that still speak for `target`, not for one that was bound since."""
        for alarm in alarms:
            if self.find_by_alarm(alarm) == (target.endpoint, target.target_id):
                self._delete(f"ALARM#{alarm}", "TARGET")

    def _save(self, lease: Lease, sk: str, document: Mapping[str, Any]) -> None:
        values = {":doc": {"S": _json(document)}, ":token": {"N": str(lease.token)}}
        condition = "attribute_not_exists(fence) OR fence <= :token"
        if self._update(f"ENDPOINT#{lease.endpoint}", sk, "SET doc = :doc, fence = :token", values, condition) is None:
            raise LeaseLost(
                f"a later holder of endpoint {lease.endpoint}'s lease has written {sk}; this look ends here"
            )

    def _where(self, pk: str, sk: str = "TARGET") -> tuple[str, TargetId] | None:
        item = self._get(pk, sk)
        if item is None:
            return None
        document = json.loads(item["doc"]["S"])
        return document["endpoint"], TargetId(document["resource_id"], Dimension(document["dimension"]))

    def _get(self, pk: str, sk: str) -> Mapping[str, Any] | None:
        answer = self._call("get_item", Key={"pk": {"S": pk}, "sk": {"S": sk}}, ConsistentRead=True)
        return answer.get("Item")

    def _put(self, pk: str, sk: str, document: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> None:
        item = {"pk": {"S": pk}, "sk": {"S": sk}, "doc": {"S": _json(document)}} | dict(extra or {})
        self._call("put_item", Item=item)

    def _delete(self, pk: str, sk: str) -> None:
        self._call("delete_item", Key={"pk": {"S": pk}, "sk": {"S": sk}})

    def _query(self, pk: str, *, consistent: bool) -> Iterator[Mapping[str, Any]]:
        start: Mapping[str, Any] | None = None
        while True:
            answer = self._call(
                "query",
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": pk}},
                ConsistentRead=consistent,
                **({"ExclusiveStartKey": start} if start else {}),
            )
            yield from answer["Items"]
            start = answer.get("LastEvaluatedKey")
            if not start:
                return

    def _update(
        self, pk: str, sk: str, update: str, values: Mapping[str, Any], condition: str | None = None
    ) -> Mapping[str, Any] | None:
        """Update one item; the item after it, or None if the condition did not hold."""
        try:
            answer = self._call(
                "update_item",
                Key={"pk": {"S": pk}, "sk": {"S": sk}},
                UpdateExpression=update,
                ExpressionAttributeValues=dict(values),
                ReturnValues="ALL_NEW",
                **({"ConditionExpression": condition} if condition else {}),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return None
            raise
        return answer["Attributes"]

    def _call(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        try:
            return getattr(aws.client("dynamodb"), operation)(TableName=self._table, **parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                raise
            raise refusal(error, what=f"registry table {self._table}: {operation}") from error
        except BotoCoreError as error:
            raise refusal(error, what=f"registry table {self._table}: {operation}") from error


WATCHDOG_S = 60.0
"""A loop that has not looked for so long is taken over by Reconcile."""


def _whereabouts(target: ScalableTarget) -> dict[str, Any]:
    return {
        "endpoint": target.endpoint,
        "resource_id": target.target_id.resource_id,
        "dimension": str(target.target_id.dimension),
    }


def _loop(endpoint: str, item: Mapping[str, Any]) -> Loop:
    def number(name: str) -> float | None:
        return float(item[name]["N"]) if name in item else None

    return Loop(
        endpoint=endpoint,
        generation=int(number("generation") or 0),
        running=item.get("running", {}).get("BOOL", False),
        poke_seq=int(number("poke_seq") or 0),
        ticks=int(number("ticks") or 0),
        code_version=item.get("code_version", {}).get("S", ""),
        last_look_s=number("last_look_s"),
        next_look_at_s=number("next_look_at_s"),
    )


def _activity(document: Mapping[str, Any]) -> Activity:
    where = document["target_id"]
    values = dict(document) | {
        "target_id": TargetId(where["resource_id"], Dimension(where["dimension"])),
        "status": ActivityStatus(document["status"]),
    }
    return Activity(**values)


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)


def _number(value: float) -> str:
    return f"{value:.3f}"
