"""The parts of the emulated account that MiniStack does not have, on the wall clock.

SageMaker with its physics, the evaluation of CloudWatch alarms and Application Auto Scaling are the very modules that
the simulations use; only the clock differs: `catch_up` runs everything that has become due since the last time. There
is one thread, MiniStack's event loop; nothing here may be called from another one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

import numpy as np

from simulator.aws.application_autoscaling import ApplicationAutoScalingService
from simulator.aws.cloudwatch import CloudWatchService
from simulator.aws.sagemaker import FOREIGN, PRODUCT, SageMakerService
from simulator.aws.sagemaker_delays import Delays
from simulator.aws.sagemaker_scenario import ComponentSpec, EndpointSpec, VariantSpec
from simulator.clock import VirtualClock
from simulator.errors import ServiceError
from simulator.physics.fleet import CopyFleet
from simulator.physics.profiles import S
from simulator.physics.requests import OpenArrivals, Status

PUBLISH_DELAY_S = (2.0, 4.0)
"""From the end of a metric's period until CloudWatch shows it."""

DELAYS = Delays(
    launch_median_s=35.0,
    launch_p95_s=38.0,
    warm_copy_median_s=8.0,
    warm_copy_min_s=6.0,
    warm_copy_max_s=10.0,
    endpoint_settle_s=2.0,
    instance_stop_s=4.0,
    copy_stop_s=2.0,
    copy_count_update_min_s=2.0,
    drain_check_s=1.0,
    weights_update_s=4.0,
)
"""A launch of half a minute instead of four: long enough for a deployment to fall into it, short enough to wait for."""


@dataclass(frozen=True)
class Scene:
    """The endpoint that is there before the stack is deployed: one component, one copy, one instance."""

    account: str
    region: str
    endpoint: str
    component: str

    @property
    def spec(self) -> EndpointSpec:
        """Each copy fills an instance, so a second copy needs a second instance."""
        return EndpointSpec(
            self.endpoint,
            (VariantSpec(S.instance_type, instances=1),),
            (ComponentSpec(self.component, copies=1, accelerators=S.accelerators_per_copy),),
        )


@dataclass
class Waiting:
    """One request of a real client: its number in the fleet's log, and whom to tell how it ended."""

    number: int
    tell: Callable[[Status], None]


@dataclass
class World:
    """SageMaker, alarms and Application Auto Scaling of one account and region.

    `emit_event(source, detail_type, detail, resources)` puts an event on the default bus; `run_action` does what an
    alarm action says. Every SageMaker call is written to `calls` as one JSON line.
    """

    scene: Scene
    emit_event: Callable[[str, str, dict[str, Any], list[str]], None]
    run_action: Callable[..., None]
    calls: TextIO
    clock: VirtualClock = field(init=False)
    cloudwatch: CloudWatchService = field(init=False)
    sagemaker: SageMakerService = field(init=False)
    autoscaling: ApplicationAutoScalingService = field(init=False)
    fleet: CopyFleet = field(init=False)
    waiting: list[Waiting] = field(default_factory=list)

    def __post_init__(self) -> None:
        where = {"account_id": self.scene.account, "region": self.scene.region}
        self.clock = VirtualClock(time.time())
        self.cloudwatch = CloudWatchService(
            self.clock,
            emit_event=self.emit_event,
            run_action=self.run_action,
            publish_delay_s=PUBLISH_DELAY_S,
            **where,
        )
        self.sagemaker = SageMakerService(
            self.clock, publish=self.cloudwatch.publish, emit_event=self.emit_event, delays=DELAYS, **where
        )
        self.autoscaling = ApplicationAutoScalingService(self.clock, **where)
        self.sagemaker.scenario_endpoint(self.scene.spec)
        nobody = OpenArrivals((), (), (), start_s=self.clock.now_s)
        # A client that gets no answer is not tried again by anybody but itself.
        self.fleet = CopyFleet(S, nobody, client_timeout_s=None, retry_interval_s=None)
        self.sagemaker.attach_load(f"inference-component/{self.scene.component}", self.fleet)

    def catch_up(self) -> None:
        """Let everything happen that is due by now, and tell the clients whose requests have ended."""
        self.clock.run_until(time.time())
        self.fleet.advance(self.clock.now_s)
        if not self.waiting:
            return
        status = self.fleet.log.status
        open_, ended = [], []
        for one in self.waiting:
            (open_ if status[one.number] == Status.OPEN else ended).append(one)
        self.waiting = open_
        for one in ended:
            one.tell(Status(int(status[one.number])))

    def call_sagemaker(self, operation: str, params: Mapping[str, Any], *, by_product: bool) -> dict[str, Any]:
        """One control-plane call; raises ServiceError as SageMaker refuses."""
        self.catch_up()
        outcome = "ok"
        try:
            return self.sagemaker.call(operation, dict(params), actor=PRODUCT if by_product else FOREIGN)
        except ServiceError as refused:
            outcome = f"{refused.code}: {refused.message}"
            raise
        finally:
            record = {
                "at_s": round(self.clock.now_s, 3),
                "operation": operation,
                "params": params,
                "outcome": outcome,
                "by_product": by_product,
            }
            self.calls.write(json.dumps(record, default=str) + "\n")
            self.calls.flush()

    def submit(self, input_tokens: int, output_tokens: int, tell: Callable[[Status], None]) -> None:
        """One inference request of a real client; `tell` is called once, with how it ended."""
        self.catch_up()
        number = self.fleet.submit(self.clock.now_s, input_tokens, output_tokens)
        self.waiting.append(Waiting(number, tell))

    def tags(self) -> list[tuple[str, dict[str, str]]]:
        """ARN and tags of everything in SageMaker that can be tagged."""
        return list(self.sagemaker.world.tags.items())


def plain(value: Any) -> Any:
    """A value of the emulated services as JSON has it: times as seconds since the epoch."""
    if hasattr(value, "timestamp"):
        return value.timestamp()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")
