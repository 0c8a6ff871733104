"""Amazon EventBridge: asking for a look, knocking at a component that sleeps, and telling what was scaled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from quickstep.errors import Rejected
from quickstep.events import LOOK_REQUESTED, SOURCE, WAKE_REQUESTED
from quickstep.gateways.aws import client, write_client
from quickstep.gateways.refusals import translated

SCALING_ACTIVITY = "Application Auto Scaling Scaling Activity State Change"
"""`detail-type` of Application Auto Scaling's own event: a rule for it needs only another `source`."""
MOST_ENTRIES = 10
"""Entries of one PutEvents call (API reference)."""


def request_look(endpoint: str) -> None:
    """Have OnAlarm look at `endpoint` now. Raises the errors of `refusals`, `Rejected` if the bus does not take the event."""
    _put(_entry(LOOK_REQUESTED, {"endpointName": endpoint}), f"ask for a look at endpoint {endpoint}")


def request_wake(component: str, waiting: int | None) -> None:
    """Have OnAlarm wake `component` now, for `waiting` requests (at least 1; None = not known). Raises as `request_look`."""
    _put(wake_entry(component, waiting), f"wake inference component {component}")


def wake_entry(component: str, waiting: int | None) -> dict[str, str]:
    """What PutEvents is given to wake `component`; `waiting` as in `request_wake`."""
    known = {} if waiting is None else {"waitingRequests": waiting}
    return _entry(WAKE_REQUESTED, {"resourceId": f"inference-component/{component}", **known})


def tell_scaling_activities(details: Sequence[Mapping[str, Any]]) -> None:
    """Put one event for each of `details` on the default bus, once. Raises as `request_look` does."""
    what = "tell the event bus what was scaled"
    for first in range(0, len(details), MOST_ENTRIES):
        entries = [_entry(SCALING_ACTIVITY, one) for one in details[first : first + MOST_ENTRIES]]
        with translated(what):
            answer = write_client("events").put_events(Entries=entries)
        check_taken(answer, what)


def check_taken(answer: Mapping[str, Any], what: str) -> None:
    """Raise `Rejected` if the bus did not take an entry of PutEvents: the call itself succeeds all the same."""
    for one in answer.get("Entries") or ():
        if one.get("ErrorCode"):
            raise Rejected(f"{what}: {one['ErrorCode']}: {one.get('ErrorMessage', '')}")


def _entry(kind: str, detail: Mapping[str, Any]) -> dict[str, str]:
    return {"Source": SOURCE, "DetailType": kind, "Detail": json.dumps(detail, sort_keys=True)}


def _put(entry: dict[str, str], what: str) -> None:
    with translated(what):
        answer = client("events").put_events(Entries=[entry])
    check_taken(answer, what)
