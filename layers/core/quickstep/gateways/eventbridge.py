"""Amazon EventBridge: asking for a look, and knocking at a component that sleeps."""

from __future__ import annotations

import json
from typing import Any

from quickstep.errors import Rejected
from quickstep.events import LOOK_REQUESTED, SOURCE, WAKE_REQUESTED
from quickstep.gateways.aws import client
from quickstep.gateways.refusals import translated


def request_look(endpoint: str) -> None:
    """Have OnAlarm look at `endpoint` now. Raises the errors of `refusals`, `Rejected` if the bus does not take the event."""
    _put(LOOK_REQUESTED, {"endpointName": endpoint}, f"ask for a look at endpoint {endpoint}")


def request_wake(resource_id: str, waiting: int | None) -> None:
    """Have a component that sleeps woken, for `waiting` requests (None = not known). Raises as `request_look`."""
    known = {} if waiting is None else {"waitingRequests": waiting}
    _put(WAKE_REQUESTED, {"resourceId": resource_id, **known}, f"wake {resource_id}")


def _put(detail_type: str, detail: dict[str, Any], what: str) -> None:
    entry = {"Source": SOURCE, "DetailType": detail_type, "Detail": json.dumps(detail)}
    with translated(what):
        answer = client("events").put_events(Entries=[entry])
    for one in answer.get("Entries") or ():
        if one.get("ErrorCode"):
            raise Rejected(f"{what}: {one['ErrorCode']}: {one.get('ErrorMessage', '')}")
