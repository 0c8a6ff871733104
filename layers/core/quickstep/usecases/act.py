"""Act: ask SageMaker for what the plan says, intent first, and make of a refusal the right next step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from quickstep import clock, telemetry
from quickstep.capacity import startup
from quickstep.capacity.plan import copies_per_instance_of
from quickstep.capacity.progress import backed_off
from quickstep.errors import (
    AccessDenied,
    AwsRefused,
    ComponentUpdating,
    EndpointUpdating,
    InsufficientCapacity,
    LeaseLost,
    ManagedByEndpoint,
    ManagedElsewhere,
    NotEnoughHardware,
    OutcomeUnknown,
    QuotaExceeded,
    Rejected,
    Throttled,
)
from quickstep.gateways import autoscaling, ownership, sagemaker
from quickstep.gateways.registry import Registry
from quickstep.model.activity import ActivityStatus
from quickstep.model.loop import Lease
from quickstep.model.observation import Endpoint
from quickstep.model.plan import CopyAsk, EndpointPlan, Held, InstanceAsk, Wish
from quickstep.model.state import Ask, Backoff, Change, EndpointState, TargetState
from quickstep.model.targets import TargetId
from quickstep.reasons import Reason
from quickstep.usecases import history

WRITE_NEEDS_S = 8.0
"""Lease time that must be left for one write: connect 2 s, read 5 s, and a margin."""


@dataclass(frozen=True, slots=True)
class Acted:
    """States after acting, what was asked, and what was refused."""

    states: Mapping[TargetId, TargetState]
    endpoint_state: EndpointState
    asked: tuple[str, ...] = ()
    refused: Mapping[TargetId, Held] | None = None

    @classmethod
    def nothing(cls, wishes: tuple[Wish, ...], endpoint_state: EndpointState) -> Acted:
        """Nothing was permitted: wishes that differ from what SageMaker was asked for are queued."""
        return cls({w.target.target_id: queued(w, w.decision.state) for w in wishes}, endpoint_state)


def queued(wish: Wish, state: TargetState) -> TargetState:
    """The state with `queued` saying whether the wish still has to be asked of SageMaker."""
    waits = wish.decision.desired != wish.decision.asked
    return state if state.queued == waits else replace(state, queued=waits)


class Actor:
    """Carries out one plan under one lease."""

    def __init__(self, registry: Registry, lease: Lease, endpoint: Endpoint, now_s: float, *, stack: str) -> None:
        self._stack = stack
        self._registry = registry
        self._lease = lease
        self._endpoint = endpoint
        self._now_s = now_s
        self._asked: list[str] = []
        self._refused: dict[TargetId, Held] = {}

    def carry_out(self, plan: EndpointPlan, wishes: tuple[Wish, ...], endpoint_state: EndpointState) -> Acted:
        """Make the plan's writes. Raises `LeaseLost` if too little of the lease is left to write safely."""
        states = {w.target.target_id: queued(w, w.decision.state) for w in wishes}
        by_id = {w.target.target_id: w for w in wishes}
        for number, ask in enumerate(plan.copies):
            states[ask.target_id] = self._ask_copies(ask, by_id[ask.target_id], states[ask.target_id], number)
        if plan.instances is not None:
            endpoint_state, states = self._ask_instances(plan.instances, by_id, states, endpoint_state)
        return Acted(states, endpoint_state, tuple(self._asked), self._refused)

    def _ask_copies(self, ask: CopyAsk, wish: Wish, state: TargetState, number: int) -> TargetState:
        if foreign := self._foreign(ask.target_id):
            self._refused[ask.target_id] = Held(Reason.FOREIGN_ACTOR, foreign)
            return replace(state, backoff=Backoff(str(Reason.FOREIGN_ACTOR), self._now_s + FOREIGN_RETRY_S, 1))
        activity_id = history.activity_id(self._now_s, number)
        deadline_s = self._now_s + startup.copy_deadline_s(state.startup_s)
        intent = Ask("copies", self._now_s, ask.before, ask.wanted, deadline_s, activity_id, accepted=False)
        asked = remembering(
            replace(state, ask=intent, queued=ask.wanted != wish.decision.desired), ask.before, ask.wanted, wish
        )
        # The intent is kept before the write: whoever finds it after a crash knows what may have been asked.
        self._registry.save_target_state(self._lease, ask.target_id, asked)
        history.open_activity(self._registry, wish, intent, "copies", self._now_s)
        try:
            self._check_lease()
            sagemaker.set_copies(ask.component, ask.wanted)
        except OutcomeUnknown as error:
            self._refused[ask.target_id] = Held(Reason.NOT_SCALABLE_NOW, str(error))
            return asked
        except AwsRefused as error:
            told = self._explained(error, ask.target_id)
            return self._refuse(told, ask.target_id, state, activity_id, self._room(told, ask, wish))
        self._asked.append(f"{ask.component}: {ask.before} → {ask.wanted} copies")
        return replace(asked, ask=replace(intent, accepted=True))

    def _ask_instances(
        self,
        ask: InstanceAsk,
        by_id: Mapping[TargetId, Wish],
        states: dict[TargetId, TargetState],
        memory: EndpointState,
    ) -> tuple[EndpointState, dict[TargetId, TargetState]]:
        variant = memory.variant(ask.variant)
        # Instances belong to everything that lives on them: one foreign scaler on the endpoint is enough to keep off.
        concerned = [ask.target_id] if ask.target_id else sorted(by_id)
        for target_id in concerned:
            if foreign := self._foreign(target_id):
                self._refused[target_id] = Held(Reason.FOREIGN_ACTOR, foreign)
                backoff = Backoff(str(Reason.FOREIGN_ACTOR), self._now_s + FOREIGN_RETRY_S, 1)
                return memory.with_variant(ask.variant, replace(variant, backoff=backoff)), states
        activity_id = history.activity_id(self._now_s, 0)
        deadline_s = self._now_s + startup.instance_deadline_s(variant.startup_s)
        intent = Ask("instances", self._now_s, ask.before, ask.wanted, deadline_s, activity_id, accepted=False)
        intended = memory.with_variant(ask.variant, replace(variant, ask=intent, empty_since_s=None))
        self._registry.save_endpoint_state(self._lease, intended)
        if ask.target_id is not None:
            wish = by_id[ask.target_id]
            state = replace(states[ask.target_id], ask=intent, queued=ask.wanted != wish.decision.desired)
            states[ask.target_id] = remembering(state, ask.before, ask.wanted, wish)
            self._registry.save_target_state(self._lease, ask.target_id, states[ask.target_id])
            history.open_activity(self._registry, wish, intent, "instances", self._now_s)
        try:
            self._check_lease()
            sagemaker.set_instances(self._endpoint.name, ask.variant, ask.wanted)
        except OutcomeUnknown as error:
            for target_id in concerned:
                self._refused[target_id] = Held(Reason.NOT_SCALABLE_NOW, str(error))
            return intended, states
        except (ManagedByEndpoint, Rejected) as error:
            # SageMaker moves the instances itself, whatever DescribeEndpoint shows: remember, and ask for copies instead.
            if ask.target_id is None:
                for target_id in concerned:
                    self._refused[target_id] = Held(Reason.NOT_SCALABLE_NOW, str(error))
                managed = True if isinstance(error, ManagedByEndpoint) else variant.managed
                backoff = None if managed else backed_off(variant.backoff, Reason.NOT_SCALABLE_NOW, self._now_s)
                return memory.with_variant(ask.variant, replace(variant, managed=managed, backoff=backoff)), states
            return self._refuse_instances(error, ask, by_id, states, memory, activity_id)
        except AwsRefused as error:
            told = self._explained(error, concerned[0])
            return self._refuse_instances(told, ask, by_id, states, memory, activity_id)
        self._asked.append(f"{ask.variant}: {ask.before} → {ask.wanted} instances")
        intent = replace(intent, accepted=True)
        if ask.target_id is not None:
            states[ask.target_id] = replace(states[ask.target_id], ask=intent)
        return intended.with_variant(ask.variant, replace(intended.variant(ask.variant), ask=intent)), states

    def _refuse_instances(
        self,
        error: AwsRefused,
        ask: InstanceAsk,
        by_id: Mapping[TargetId, Wish],
        states: dict[TargetId, TargetState],
        memory: EndpointState,
        activity_id: str,
    ) -> tuple[EndpointState, dict[TargetId, TargetState]]:
        variant = memory.variant(ask.variant)
        possible = ask.before + error.fits if isinstance(error, QuotaExceeded) and error.fits is not None else None
        reason = reason_of(error)
        if not isinstance(error, EndpointUpdating | Throttled):
            variant = replace(variant, backoff=backed_off(variant.backoff, reason, self._now_s, possible=possible))
        for target_id in [ask.target_id] if ask.target_id else by_id:
            assert target_id is not None
            if target_id == ask.target_id:
                before = by_id[target_id].decision.state
                states[target_id] = self._refuse(error, target_id, before, activity_id, possible)
            else:
                self._refused[target_id] = Held(reason, str(error))
        return memory.with_variant(ask.variant, variant), states

    def _refuse(
        self, error: AwsRefused, target_id: TargetId, before: TargetState, activity_id: str, possible: int | None
    ) -> TargetState:
        """The state after a refusal: nothing was asked; wait a while if waiting is what helps."""
        reason = reason_of(error)
        self._refused[target_id] = Held(reason, str(error))
        history.finish(self._registry, target_id, activity_id, ActivityStatus.FAILED, self._now_s, str(error))
        state = replace(before, ask=None, queued=True)
        if isinstance(error, ComponentUpdating | EndpointUpdating | Throttled):
            return state
        return replace(state, backoff=backed_off(before.backoff, reason, self._now_s, possible=possible))

    def _room(self, error: AwsRefused, ask: CopyAsk, wish: Wish) -> int | None:
        """Copies that a quota refusal still leaves room for; None if the text does not say."""
        if not isinstance(error, QuotaExceeded) or error.fits is None or wish.component is None:
            return None
        per_instance = copies_per_instance_of(wish.component, self._endpoint.variant(wish.component.variant))
        return None if per_instance is None else ask.before + error.fits * per_instance

    def _check_lease(self) -> None:
        left_s = self._lease.expires_at_s - clock.now_s()
        if left_s < WRITE_NEEDS_S:
            raise LeaseLost(
                f"only {left_s:.0f} s of endpoint {self._endpoint.name}'s lease are left: not writing any more"
            )

    def _explained(self, error: AwsRefused, target_id: TargetId) -> AwsRefused:
        """The refusal, or that another stack's tag is why our role may not write: IAM itself does not say so."""
        if not isinstance(error, AccessDenied):
            return error
        try:
            others = ownership.managing_stacks(target_id, self._endpoint.name)
        except AwsRefused as problem:
            history.warn("cannot read who manages a target", target=str(target_id), error=str(problem))
            return error
        for what, other in sorted(others.items()):
            if other != self._stack:
                telemetry.count("ManagedElsewhere")
                return ManagedElsewhere(
                    f"{what} is managed by Quickstep stack {other} (tag quickstep:managed): two stacks claim it; deregister "
                    "it in one of them"
                )
        return error

    def _foreign(self, target_id: TargetId) -> str | None:
        """Who else scales this target. If we may not ask, nobody is known to."""
        try:
            return autoscaling.foreign_scaler(target_id)
        except (AccessDenied, Throttled, OutcomeUnknown) as error:
            history.warn("cannot ask Application Auto Scaling", target=str(target_id), error=str(error))
            return None


FOREIGN_RETRY_S = 300.0

_REASONS: tuple[tuple[type[AwsRefused], Reason], ...] = (
    (QuotaExceeded, Reason.QUOTA_EXCEEDED),
    (InsufficientCapacity, Reason.INSUFFICIENT_CAPACITY),
    (NotEnoughHardware, Reason.INSUFFICIENT_CAPACITY),
    (Throttled, Reason.THROTTLED),
    (ManagedElsewhere, Reason.FOREIGN_ACTOR),
)


def reason_of(error: AwsRefused) -> Reason:
    """The reason code of a refusal."""
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), Reason.NOT_SCALABLE_NOW)


def remembering(state: TargetState, before: int, after: int, wish: Wish) -> TargetState:
    """The state with this change remembered, for cooldowns and flap memory."""
    winner = str(wish.decision.steps[0].inputs.get("winner", "")) if wish.decision.steps else ""
    now_s = wish.decision.at_s
    last_in, last_out = state.last_scale_in, state.last_scale_out
    if after > before:
        # `last_scale_out` is this very one, since it was wished: often some looks ago, for it waited for instances.
        turned = last_in is not None and last_in.at_s < now_s and all(at_s <= last_in.at_s for at_s in state.turns_s)
    else:
        turned = last_out is not None and (last_in is None or last_in.at_s < last_out.at_s < now_s)
    turns = (*state.turns_s, now_s)[-20:] if turned else state.turns_s
    if after > before:
        return replace(state, turns_s=turns)
    return replace(state, turns_s=turns, last_scale_in=Change(now_s, before, after, winner))
