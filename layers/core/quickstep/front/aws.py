"""What the gateway asks of AWS: which components there are, whether they serve, an invocation, a knock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from quickstep import clock
from quickstep.errors import ComponentNotFound, QuickstepError
from quickstep.front.asked import Asked
from quickstep.front.waking import State, Waking, waking
from quickstep.gateways import eventbridge, sagemaker, sagemaker_runtime
from quickstep.gateways.held_requests import HeldRequests, Place
from quickstep.gateways.registry import Registry
from quickstep.gateways.sagemaker_runtime import ModelStream

ENDPOINT_KEPT_S = 60.0
"""How long it is remembered which endpoint a component belongs to."""
MOST_ENDPOINTS = 200


@dataclass(frozen=True, slots=True)
class Model:
    """A managed inference component and how it is."""

    component: str
    endpoint: str
    waking: Waking


class Account:
    """The account that the gateway runs in. Every method raises the typed errors of `quickstep.errors`."""

    def __init__(self, table: str) -> None:
        self._registry = Registry(table)
        self._places = HeldRequests(table)
        self._endpoints: dict[str, tuple[float, str]] = {}

    def endpoint_of(self, component: str) -> str | None:
        """The endpoint that a managed component is on; None if no component of that name is managed."""
        now_s = clock.now_s()
        kept = self._endpoints.get(component)
        if kept is not None and now_s - kept[0] < ENDPOINT_KEPT_S:
            return kept[1]
        endpoint = self._registry.endpoint_of_component(component)
        if endpoint is None:
            self._endpoints.pop(component, None)
        else:
            self._endpoints[component] = now_s, endpoint
        return endpoint

    def models(self) -> tuple[Model, ...]:
        """Every managed component as the last look found it, in order of name."""
        now_s = clock.now_s()
        found = []
        for loop in self._registry.due(math.floor(now_s) + 1e9, limit=MOST_ENDPOINTS):
            record = self._registry.read_endpoint(loop.endpoint)
            for target_id in record.targets:
                if target_id.component is not None:
                    found.append(Model(target_id.component, loop.endpoint, waking(record, target_id, now_s)))
        return tuple(sorted(found, key=lambda model: model.component))

    def model(self, component: str) -> Model | None:
        """One managed component as SageMaker describes it now; None if none of that name is managed."""
        endpoint = self.endpoint_of(component)
        if endpoint is None:
            return None
        now_s = clock.now_s()
        record = self._registry.read_endpoint(endpoint)
        target_id = next((one for one in record.targets if one.component == component), None)
        if target_id is None:
            return None
        try:
            described = sagemaker.describe_component(component)
        except ComponentNotFound:
            return Model(component, endpoint, Waking(State.FAILED, reason="the inference component does not exist"))
        except QuickstepError:
            described = None  # Throttled, or no answer: what the last look found is better than nothing.
        return Model(component, endpoint, waking(record, target_id, now_s, component=described))

    def invoke_model(self, asked: Asked, endpoint: str, *, remaining_s: float) -> ModelStream:
        """Send the request to the model."""
        return sagemaker_runtime.invoke(
            endpoint, asked.component, asked.body, remaining_s=remaining_s, extra=_extra(asked.extra)
        )

    def knock(self, component: str, waiting: int) -> None:
        """Have the component woken now."""
        eventbridge.request_wake(component, waiting)

    def take_place(self, component: str, request_id: str, *, until_s: float) -> Place:
        """Be counted among those that wait."""
        return self._places.take_place(component, request_id, now_s=clock.now_s(), until_s=until_s)

    def give_place_up(self, place: Place) -> None:
        """Be counted no longer."""
        self._places.give_place_up(place)


def _extra(extra: Mapping[str, str]) -> Mapping[str, str]:
    return {name: extra[name] for name in sorted(extra)}
