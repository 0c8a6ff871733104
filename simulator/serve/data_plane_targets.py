"""Who answers a request to an endpoint, and in which words SageMaker's runtime refuses one.

Texts marked (seen) are quoted from public reports; the others are worded like them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from simulator.aws.sagemaker_records import Endpoint, Variant
from simulator.errors import ServiceError
from simulator.physics.fleet import CopyFleet
from simulator.physics.routing import unit_draw
from simulator.serve.data_plane_faults import Refusal
from simulator.serve.live import LiveAccount

NO_CAPACITY = (
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress (if "
    "configured) or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
)
"""(seen) A component with no copy that takes requests; a ValidationError that clients tell from others by its text."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a request goes to."""

    resource_id: str
    fleet: CopyFleet
    image: str
    variant: str
    hosts_components: bool


@dataclass(frozen=True, slots=True)
class Address:
    """What a request names. `component` and `variant` None = not named."""

    endpoint: str
    component: str | None = None
    variant: str | None = None


def find_target(live: LiveAccount, address: Address, *, number: int, seed: int) -> Target:
    """What answers request `number`; on the account's thread. ServiceError as SageMaker refuses.

    Between variants the choice is drawn by their weights, seeded.
    """
    world = live.account.sagemaker.world
    endpoint = world.endpoints.get(address.endpoint)
    if endpoint is None or endpoint.status in ("Creating", "Failed", "Deleting"):
        raise refusal(f"Endpoint {address.endpoint} of account {world.account_id} not found.")
    if any(variant.model_name is None for variant in endpoint.variants.values()):
        return _component(live, endpoint, address)
    if address.component is not None:
        raise refusal(
            "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy inference "
            "components. Please remove the Inference Component Name header and try again."
        )
    variant = _variant(endpoint, address.variant, unit_draw(seed, number))
    model = world.models.get(variant.model_name or "", {})
    container = model.get("PrimaryContainer") or next(iter(model.get("Containers", ())), {})
    return Target(variant.resource_id, live.fleet(variant.resource_id), container.get("Image", ""), variant.name, False)


def no_capacity(target: Target) -> ServiceError:
    """No copy of the target takes requests."""
    if target.hosts_components:
        return refusal(NO_CAPACITY)
    return ServiceError("ServiceUnavailable", "The service is temporarily unable to handle the request.", 503)


def asked_for(wish: Refusal) -> ServiceError:
    """A refusal that the request itself asked the emulation for."""
    return {
        "no_capacity": refusal(NO_CAPACITY),
        "not_ready": ServiceError("ModelNotReadyException", "Model is not ready for inference yet.", 429),
        "unavailable": ServiceError(
            "ServiceUnavailable", "The service is temporarily unable to handle the request.", 503
        ),
        "internal": ServiceError("InternalFailure", "The request processing has failed.", 500),
        "dependency": ServiceError("InternalDependencyException", "A dependency of the service has failed.", 530),
    }[wish]


def refusal(message: str) -> ServiceError:
    """The runtime's answer to a request that it understands and does not accept."""
    return ServiceError("ValidationError", message, 400)


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """An error status from the container, as the runtime passes it on (seen)."""

    status: int
    """0 = the container did not answer in time."""
    body: str
    endpoint: str
    region: str
    account_id: str

    @property
    def message(self) -> str:
        who = "client" if 400 <= self.status < 500 else "server"
        group = f"/aws/sagemaker/Endpoints/{self.endpoint}"
        console = f"https://{self.region}.console.aws.amazon.com/cloudwatch/home?region={self.region}"
        return (
            f'Received {who} error ({self.status}) from primary with message "{self.body}". See '
            f"{console}#logEventViewer:group={group} in account {self.account_id} for more information."
        )

    def to_json(self) -> bytes:
        """The body of a ModelError of InvokeEndpoint and its streaming sister."""
        who = "CLIENT" if 400 <= self.status < 500 else "SERVER"
        log_group = f"arn:aws:logs:{self.region}:{self.account_id}:log-group:/aws/sagemaker/Endpoints/{self.endpoint}"
        return json.dumps(
            {
                "ErrorCode": f"{who}_ERROR_FROM_MODEL",
                "LogStreamArn": log_group,
                "Message": self.message,
                "OriginalMessage": self.body,
                "OriginalStatusCode": self.status,
            }
        ).encode()


def _component(live: LiveAccount, endpoint: Endpoint, address: Address) -> Target:
    world = live.account.sagemaker.world
    if address.component is None:
        raise refusal(
            "Inference Component Name header is required for endpoints to which you plan to deploy inference "
            "components. Please include Inference Component Name header or consider using SageMaker models."
        )
    component = world.components.get(address.component)
    if component is None or component.endpoint is not endpoint or component.orphaned:
        raise refusal(f"Inference Component {address.component} of endpoint {address.endpoint} not found.")
    first = component.specifications[component.version][0]
    if component.base is not None and component.base in world.components:
        base = world.components[component.base]
        first = base.specifications[base.version][0]
    image = first.get("Container", {}).get("Image", "")
    if not image and "ModelName" in first:
        image = world.models.get(first["ModelName"], {}).get("PrimaryContainer", {}).get("Image", "")
    return Target(
        component.resource_id, live.fleet(component.resource_id), image, component.variant_name, hosts_components=True
    )


def _variant(endpoint: Endpoint, name: str | None, draw: float) -> Variant:
    if name is not None:
        if name not in endpoint.variants:
            raise refusal(f"Variant {name} of endpoint {endpoint.name} not found.")
        return endpoint.variants[name]
    weighted = [variant for variant in endpoint.variants.values() if variant.weight > 0] or [
        *endpoint.variants.values()
    ]
    left = draw * sum(variant.weight for variant in weighted)
    for variant in weighted:
        left -= variant.weight
        if left < 0:
            return variant
    return weighted[-1]
