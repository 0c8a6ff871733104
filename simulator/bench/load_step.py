"""Quickstep as it is deployed, driven through a load that is given as a function: the load step, square waves, ramps.

The step is the one that `simulator.peers.step` puts every peer through (4, 40, 4 requests in flight, a target of 5 per
copy, at most 20 copies, copies that start in 360 s, a metric 15 s late), and the outcome has the same columns. Two things
are less ideal than there: the template's alarms decide when Quickstep looks, and SageMaker takes one change at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulator.aws.sagemaker_delays import Delays, DelayStream
from simulator.bench.deployed import deployed
from simulator.bench.fluid import FluidFleet
from simulator.bench.ours import drive_ours
from simulator.bench.platform import Platform
from simulator.peers import step
from simulator.peers.step import StepOutcome
from simulator.physics.profiles import M

IDEAL, MEASURED = "ideal", "measured"
WORLDS = (IDEAL, MEASURED)
"""Ideal: a request takes the same time however many are beside it, and more than the target per copy wait (the peers'
step). Measured: time grows with the batch up to the limit per copy, as on SageMaker endpoints that were measured."""
FIXED_SHARE, LIMIT_OVER_TARGET = 0.55, 1 / 0.7
"""Of the measured world: the three profiles lie at 0.51 to 0.55; the target is 0.7 of what a copy carries within its SLO."""
AT_TARGET = FIXED_SHARE + (1 - FIXED_SHARE) / LIMIT_OVER_TARGET
"""Service time at the target per copy as a share of that at the limit."""


@dataclass(frozen=True)
class Setting:
    """How the load meets Quickstep. Times in seconds."""

    open_loop: bool = False
    world: str = IDEAL
    managed: bool = False
    """True: SageMaker moves the instances itself."""
    target_per_copy: float = step.TARGET_PER_COPY
    min_copies: int = 1
    max_copies: int = step.MAX_COPIES
    copies: int = 1
    boot_s: float = 360.0
    publish_delay_s: float = step.METRIC_DELAY_S
    slo_target: float = 98.0
    overrides: tuple[tuple[str, str], ...] = ()
    """Template parameters beside those that follow from the rest."""


@dataclass(frozen=True)
class Driven:
    """What became of a drive."""

    fleet: FluidFleet
    platform: Platform
    looks: int

    @property
    def changes(self) -> list[tuple[float, int]]:
        """(seconds since the beginning, copies) of every change of the wished count."""
        return self.platform.wishes[1:]

    @property
    def lost_percent(self) -> float:
        """Share of the requests that gave up; 0 in a closed loop."""
        return 100 * self.fleet.lost / self.fleet.arrived if self.fleet.arrived else 0.0

    def copy_hours(self, length_s: float) -> float:
        """Hours that instances were paid for, one copy on each, until `length_s`."""
        billed = [*self.platform.endpoint.billed, (length_s, 0)]
        return sum(n * (b - a) for (a, n), (b, _) in zip(billed, billed[1:], strict=False)) / 3600


def drive_load(load: Callable[[float], float], length_s: float, setting: Setting) -> Driven:
    """Let Quickstep scale for `load(t)`: requests in flight at the target per copy, whatever the loop and the world.

    ValueError for a world that is not known.
    """
    if setting.world not in WORLDS:
        raise ValueError(f"world {setting.world!r} is not known; choose one of {', '.join(WORLDS)}")
    measured = setting.world == MEASURED
    service_s = step.SERVICE_S / AT_TARGET if measured else step.SERVICE_S
    fleet = FluidFleet(
        (lambda t: load(t) / step.SERVICE_S) if setting.open_loop else load,
        carried_per_copy=setting.target_per_copy * (LIMIT_OVER_TARGET if measured else 1.0),
        open_loop=setting.open_loop,
        service_s=service_s,
        fixed_share=FIXED_SHARE if measured else 1.0,
        patience_s=step.PATIENCE_S,
        in_flight=load(0.0),
    )
    platform = Platform(
        fleet,
        DelayStream(_delays(setting.boot_s), seed=1),
        copies=setting.copies,
        min_copies=setting.min_copies,
        max_copies=setting.max_copies,
        managed=setting.managed,
        min_instances=None if setting.managed else 1,
    )
    target = deployed(
        setting.target_per_copy,
        min_copies=setting.min_copies,
        max_copies=setting.max_copies,
        slo_target=setting.slo_target,
        overrides=setting.overrides,
    )
    looks = drive_ours(platform, target, M, length_s, publish_delay_s=setting.publish_delay_s)
    return Driven(fleet, platform, looks)


def run_our_step(setting: Setting, *, before_s: float = 0.0) -> StepOutcome:
    """The peers' step through Quickstep. `before_s`: so much longer lasts the low load before it, to be learned from."""
    driven = drive_load(lambda t: step.load_at(int(max(0.0, t - before_s))), before_s + step.END_S, setting)
    up_s, down_s = before_s + step.STEP_UP_S, before_s + step.STEP_DOWN_S
    changes = driven.platform.wishes
    # What was wished before the step is where it starts.
    start = [copies for at_s, copies in changes if at_s < up_s][-1]
    after = [(at_s, copies) for at_s, copies in changes if at_s >= up_s]
    first_in = next((at_s for at_s, _ in after if at_s >= down_s), None)
    return StepOutcome(
        first_out_s=_since(up_s, next((at_s for at_s, copies in after if copies > start), None)),
        full_ask_s=_since(up_s, next((at_s for at_s, copies in after if copies >= step.NEEDED_COPIES), None)),
        peak_copies=max(copies for _, copies in [(0.0, start), *after]),
        first_in_s=_since(down_s, first_in),
        back_to_one_s=_since(down_s, next((at_s for at_s, copies in after if at_s >= down_s and copies <= 1), None)),
        copy_hours=round(driven.copy_hours(before_s + step.END_S) - start * before_s / 3600, 2),
        lost_percent=round(driven.lost_percent, 2),
    )


def _since(from_s: float, at_s: float | None) -> int | None:
    return None if at_s is None else round(at_s - from_s)


def _delays(boot_s: float) -> Delays:
    """Every launch takes `boot_s`, three fifths of it the instance; every copy on a warm instance the rest of it."""
    copy_s = 0.4 * boot_s
    return Delays(
        launch_median_s=boot_s,
        launch_p95_s=boot_s,
        instance_share=0.6,
        warm_copy_median_s=copy_s,
        warm_copy_min_s=copy_s,
        warm_copy_max_s=copy_s,
    )
