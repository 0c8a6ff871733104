"""Amazon EventBridge: asking for a look."""

from __future__ import annotations

import json

from quickstep.errors import Rejected
from quickstep.events import LOOK_REQUESTED, SOURCE
from quickstep.gateways.aws import client
from quickstep.gateways.refusals import translated


def request_look(endpoint: str) -> None:
    """Have OnAlarm look at `endpoint` now. Raises the errors of `refusals`, `Rejected` if the bus does not take the event."""
    entry = {"Source": SOURCE, "DetailType": LOOK_REQUESTED, "Detail": json.dumps({"endpointName": endpoint})}
    with translated(f"ask for a look at endpoint {endpoint}"):
        answer = client("events").put_events(Entries=[entry])
    for one in answer.get("Entries") or ():
        if one.get("ErrorCode"):
            raise Rejected(f"ask for a look at endpoint {endpoint}: {one['ErrorCode']}: {one.get('ErrorMessage', '')}")
