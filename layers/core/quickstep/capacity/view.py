"""What the plan of an endpoint looks at: the endpoint, everything that lives on it, and what is wished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quickstep.model.observation import Alarm, Component, Endpoint, EndpointStatus, Variant
from quickstep.model.plan import Wish
from quickstep.model.state import EndpointState
from quickstep.policy.pause import HANDS_OFF


@dataclass(frozen=True, slots=True)
class EndpointView:
    """All that the plan looks at. `components` are all of the endpoint's, registered with Quickstep or not."""

    endpoint: Endpoint
    state: EndpointState
    components: tuple[Component, ...]
    wishes: tuple[Wish, ...]
    now_s: float
    alarms: Mapping[str, Alarm] = field(default_factory=dict)
    components_known: bool = True
    """False if not every component of the endpoint could be read: then no instance is given back."""

    @property
    def in_service(self) -> bool:
        return self.endpoint.status is EndpointStatus.IN_SERVICE

    @property
    def takes_copies(self) -> bool:
        """True if copy counts may be changed: InService, or Updating because of instances that we asked for."""
        if self.endpoint.status is EndpointStatus.UPDATING:
            return any(memory.ask is not None for memory in self.state.variants.values())
        return self.in_service

    def is_managed(self, variant: Variant) -> bool:
        """True if SageMaker moves the variant's instances itself."""
        return variant.managed or bool(self.state.variant(variant.name).managed)

    def on(self, variant: Variant) -> list[Component]:
        """Every component on the variant, adapters too."""
        return [c for c in self.components if c.variant == variant.name]

    def wishes_on(self, variant: Variant) -> list[Wish]:
        """Wishes about components on the variant; the highest priority first."""
        on = [w for w in self.wishes if w.component is not None and w.component.variant == variant.name]
        return sorted(on, key=lambda w: (-w.target.priority, w.target.target_id))

    def wish_of(self, variant: Variant) -> Wish | None:
        """The wish about the variant's own instances; None if they are not a scalable target."""
        ends = f"/{variant.name}"
        return next(
            (w for w in self.wishes if w.component is None and w.target.target_id.resource_id.endswith(ends)), None
        )


def is_hands_off(wish: Wish) -> bool:
    """True if nothing at all may be changed for this target: paused, switched off, or scaled by somebody else."""
    return bool(wish.decision.steps) and wish.decision.steps[-1].reason in HANDS_OFF
