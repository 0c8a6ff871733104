"""Announce: what was changed, for the account's own automation and for the person who looks at the resource.

An event on the default bus in the shape of Application Auto Scaling's (`source` is ours, since `aws.*` is AWS's alone),
and a tag on what was changed that says what, when and why. Both are best effort, as Application Auto Scaling's events
are: a look never fails because of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from quickstep.errors import AwsRefused
from quickstep.gateways import eventbridge, tags
from quickstep.model.activity import ActivityStatus
from quickstep.model.state import Ask
from quickstep.model.targets import ScalableTarget, TargetId
from quickstep.usecases import history
from quickstep.usecases.measures import Look


def announce(look: Look) -> None:
    """Send the events of this look; what cannot be sent is logged and forgotten."""
    events = list(scaling_events(look))
    if events:
        try:
            eventbridge.tell_scaling_activities(events)
        except AwsRefused as error:
            history.warn("cannot send scaling events", endpoint=look.record.endpoint, error=str(error))


def tag_changes(look: Look) -> None:
    """Tag what this look has changed with what, when and why; only for a look that was permitted to change it."""
    for target_id, ask in _opened(look):
        arn = _arn(target_id, look)
        if arn is not None:
            try:
                what = f"{_time(look.now_s)} {ask.before} to {ask.wanted} {ask.what}"
                tags.mark_change(arn, f"{what}: {_why(look, target_id, ask)}")
            except AwsRefused as error:
                history.warn("cannot tag the change", target=str(target_id), error=str(error))


def scaling_events(look: Look) -> Iterator[dict[str, Any]]:
    """`detail` of one event for every scaling activity that this look ended or began.

    Fields as in Application Auto Scaling's event, whose `statusCode` is `Successful`; `InProgress` has no `endTime`.
    `activityId` and `cause` are ours: the key in DescribeScalingActivities, and why.
    """
    for target_id, notes in sorted(look.notes.items()):
        ask = look.record.state(target_id).ask
        ending = next((n for n in notes if n.what == "reached" or n.failed), None)
        if ask is not None and ending is not None and look.states[target_id].ask is None:
            status = ActivityStatus.FAILED if ending.failed else ActivityStatus.SUCCESSFUL
            yield _detail(look.record.targets[target_id], ask, status, ending.detail, end_s=look.now_s)
    for target_id, ask in _opened(look):
        cause = _why(look, target_id, ask)
        yield _detail(look.record.targets[target_id], ask, ActivityStatus.IN_PROGRESS, cause)


def _opened(look: Look) -> list[tuple[TargetId, Ask]]:
    """Asks that SageMaker has accepted in this look."""
    found = []
    for target_id in sorted(look.acted.states):
        ask, before = look.acted.states[target_id].ask, look.states[target_id].ask
        if ask is not None and ask.accepted and (before is None or ask.activity_id != before.activity_id):
            found.append((target_id, ask))
    return found


def _why(look: Look, target_id: TargetId, ask: Ask) -> str:
    """Why it was asked. A scale-out that had to wait is asked by a look that only holds it: then why it was wished."""
    decision = next(w.decision for w in look.wishes if w.target.target_id == target_id)
    wished = decision.state.last_scale_out
    if ask.wanted > ask.before and decision.desired <= decision.baseline and wished is not None:
        return f"wished by {wished.cause} at {_time(wished.at_s)}"
    return f"{decision.reason}: {history.binding_detail(decision)}"


def _detail(
    target: ScalableTarget, ask: Ask, status: ActivityStatus, cause: str, *, end_s: float | None = None
) -> dict[str, Any]:
    return {
        "startTime": _time(ask.at_s),
        **({"endTime": _time(end_s)} if end_s is not None else {}),
        "newDesiredCapacity": ask.wanted,
        "oldDesiredCapacity": ask.before,
        "minCapacity": target.min_capacity,
        "maxCapacity": target.max_capacity,
        "resourceId": target.target_id.resource_id,
        "scalableDimension": str(target.target_id.dimension),
        "serviceNamespace": "sagemaker",
        "statusCode": str(status),
        "scaledToMax": ask.wanted > ask.before and ask.wanted >= target.max_capacity,
        "direction": "scale-out" if ask.wanted > ask.before else "scale-in",
        "activityId": ask.activity_id,
        "cause": cause[:500],
    }


def _arn(target_id: TargetId, look: Look) -> str | None:
    if target_id.component is None:
        return look.seen.endpoint.arn
    return next((c.arn for c in look.seen.components if c.name == target_id.component), None)


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
