"""Rolling updates of a component: a batch of new copies serves before the same number of old ones goes.

So for a while a component takes the room of its copies plus one batch. If the batch finds no room, or the whole takes
longer than MaximumExecutionTimeoutInSeconds, the new copies go and the old ones come back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.aws import sagemaker_texts as texts
from simulator.aws.sagemaker_fleet import Fleet
from simulator.aws.sagemaker_records import Component, ComponentOperation, CopyState
from simulator.aws.sagemaker_world import World

DEFAULT_BATCH_PERCENT = 50
"""Batch of an update without a DeploymentConfig: the largest that SageMaker allows (assumed)."""


class RollingUpdates:
    """Steps of a rolling update. `ended` is called with the component when it is over."""

    def __init__(self, world: World, fleet: Fleet, ended: Callable[..., None]) -> None:
        self._world = world
        self._fleet = fleet
        self._ended = ended

    def prepare(
        self,
        component: Component,
        operation: ComponentOperation,
        specifications: list[dict[str, Any]],
        *,
        copies: int | None,
        deployment: dict[str, Any] | None,
    ) -> None:
        """Set the goal: all copies of the new specification, `copies` of them (None = as many as now)."""
        component.specifications.append(specifications)
        if copies is not None:
            component.desired_copies = copies
        policy = (deployment or {}).get("RollingUpdatePolicy", {})
        size = policy.get("MaximumBatchSize", {"Type": "CAPACITY_PERCENT", "Value": DEFAULT_BATCH_PERCENT})
        operation.batch = batch_size(
            size["Type"], size["Value"], max(component.desired_copies, operation.desired_before)
        )
        operation.wait_s = float(policy.get("WaitIntervalInSeconds", 0))
        limit_s = policy.get("MaximumExecutionTimeoutInSeconds")
        if limit_s is not None:
            operation.events.append(
                self._world.after(
                    float(limit_s),
                    lambda: self.roll_back(component, operation, texts.UPDATE_FAILED),
                    "rolling update timed out",
                )
            )

    def step(self, component: Component, operation: ComponentOperation) -> bool:
        """Go on with a rolling update; True when every copy is new and the old ones are gone."""
        if operation.failing:
            return False
        new_version = len(component.specifications) - 1
        waiting = self._world.now_s < operation.resume_at_s
        goal = min(component.desired_copies, operation.replaced + (0 if waiting else operation.batch))
        live = component.in_state(CopyState.LOADING, CopyState.SERVING, version=new_version)
        for copy in live[goal:]:
            self._fleet.remove(copy)
        missing = max(goal - len(live), 0)
        while missing and self._fleet.place(component, new_version):
            missing -= 1
        component.unplaced = missing
        serving = len(component.in_state(CopyState.SERVING, version=new_version))
        if waiting or serving < goal:
            return False
        old = component.in_state(CopyState.LOADING, CopyState.SERVING, version=operation.old_version)
        # What the new ones cannot replace yet stays; a lower count takes effect with the last batch.
        last = goal == component.desired_copies
        keep = 0 if last else max(0, operation.desired_before - goal)
        for copy in old[::-1][: max(len(old) - keep, 0)]:
            self._fleet.remove(copy)
        if component.in_state(CopyState.DRAINING):
            return False
        if last:
            component.version = new_version
            return True
        operation.replaced = goal
        operation.resume_at_s = self._world.now_s + operation.wait_s
        operation.events.append(
            self._world.after(operation.wait_s, lambda: self._world.settle(component.endpoint), "next batch")
        )
        return False

    def roll_back(self, component: Component, operation: ComponentOperation, reason: str) -> None:
        """Give up: the new copies go, the old ones are brought back to their number, FailureReason says why."""
        if component.operation is not operation or operation.kind != "rolling":
            return
        new_version = len(component.specifications) - 1
        for event in (*operation.events, operation.shortage):
            if event is not None:
                event.cancel()
        operation.shortage = None
        operation.kind = "rolling_back"
        operation.failing = False
        operation.failure_reason = reason
        component.state = "UPDATE_ROLLBACK_IN_PROGRESS"
        component.desired_copies = operation.desired_before
        for copy in component.in_state(CopyState.LOADING, CopyState.SERVING, version=new_version):
            self._fleet.remove(copy)
        del component.specifications[operation.old_version + 1 :]
        component.version = operation.old_version
        self._world.settle(component.endpoint)


def batch_size(kind: str, value: int, copies: int) -> int:
    """Copies per batch: a count, or a percentage of the copies rounded up; at least 1."""
    if kind == "CAPACITY_PERCENT":
        return max(1, -(-copies * value // 100))
    return max(1, value)
