"""After a change of a registration: have the endpoint looked at. Who changes it asks SageMaker for nothing; the look does."""

from __future__ import annotations

from quickstep import clock, telemetry
from quickstep.errors import AwsRefused
from quickstep.gateways import eventbridge
from quickstep.gateways.registry import Registry

LATEST_S = 60.0
"""A request that is lost is made up for by Reconcile after so long."""


def look_soon(endpoint: str, registry: Registry) -> None:
    """Have the endpoint looked at now; if the request is refused or lost, by a running loop or Reconcile within a minute."""
    loop = registry.poke(endpoint)
    if not loop.running:
        registry.hurry(endpoint, clock.now_s() + LATEST_S)
    try:
        eventbridge.request_look(endpoint)
    except AwsRefused as error:
        telemetry.logger().warning("cannot ask for a look", extra={"endpoint": endpoint, "error": str(error)})
