"""Amazon EventBridge: asking for a look, and telling what was scaled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from quickstep.errors import Rejected
from quickstep.events import LOOK_REQUESTED, SOURCE
from quickstep.gateways.aws import client, write_client
from quickstep.gateways.refusals import translated

SCALING_ACTIVITY = "Application Auto Scaling Scaling Activity State Change"
"""`detail-type` of Application Auto Scaling's own event: a rule for it needs only another `source`."""
MOST_ENTRIES = 10
"""Entries of one PutEvents call (API reference)."""


def request_look(endpoint: str) -> None:
    """Have OnAlarm look at `endpoint` now. Raises the errors of `refusals`, `Rejected` if the bus does not take the event."""
    entry = {"Source": SOURCE, "DetailType": LOOK_REQUESTED, "Detail": json.dumps({"endpointName": endpoint})}
    with translated(f"ask for a look at endpoint {endpoint}"):
        answer = client("events").put_events(Entries=[entry])
    for one in answer.get("Entries") or ():
        if one.get("ErrorCode"):
            raise Rejected(f"ask for a look at endpoint {endpoint}: {one['ErrorCode']}: {one.get('ErrorMessage', '')}")


def tell_scaling_activities(details: Sequence[Mapping[str, Any]]) -> None:
    """Put one event for each of `details` on the default bus, once. Raises as `request_look` does."""
    for first in range(0, len(details), MOST_ENTRIES):
        entries = [
            {"Source": SOURCE, "DetailType": SCALING_ACTIVITY, "Detail": json.dumps(one, sort_keys=True)}
            for one in details[first : first + MOST_ENTRIES]
        ]
        with translated("tell the event bus what was scaled"):
            answer = write_client("events").put_events(Entries=entries)
        for one in answer.get("Entries") or ():
            if one.get("ErrorCode"):
                raise Rejected(f"tell the event bus what was scaled: {one['ErrorCode']}: {one.get('ErrorMessage', '')}")
