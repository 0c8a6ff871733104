"""Endpoints that several components share, as data, and made ready to be run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from simulator.bench.prepare import Prepared, is_prepared, load_prepared, prepare
from simulator.bench.slices import Slice, SliceError
from simulator.oracle import clairvoyant_plan
from simulator.physics.profiles import ServiceProfile

SHARED_FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "shared.yaml"
_SEED_STEP = 1009
"""Between the seeds of an endpoint's components, so that they are not each other's copies."""


class SharedSlice(BaseModel):
    """One endpoint with several components on one kind of instance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1)]
    what: str = ""
    instance_type: str
    """Its accelerators are shared evenly among `copies_per_instance` copies."""
    instance_usd_per_hour: Annotated[float, Field(gt=0)]
    copies_per_instance: Annotated[int, Field(ge=1)]
    components: Annotated[tuple[Slice, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _alike(self) -> SharedSlice:
        names = [one.name for one in self.components]
        if len(set(names)) < len(names):
            raise ValueError(f"components are called {', '.join(names)}; names must differ")
        return self

    @property
    def held_out(self) -> bool:
        return any(one.held_out for one in self.components)

    def files(self, traces: Path | None) -> tuple[Path, ...]:
        """Where the components' traces lie. SliceError if no folder was given for a file."""
        return tuple(path for one in self.components for path in one.files(traces))

    def with_prefill(self, factor: float) -> SharedSlice:
        """The same with all prefill times multiplied."""
        changed = [c.model_copy(update={"prefill_factor": c.prefill_factor * factor}) for c in self.components]
        return self.model_copy(update={"components": tuple(changed)})

    def profile_of(self, component: Slice) -> ServiceProfile:
        """The component's profile on this endpoint's instances."""
        return replace(
            component.service_profile(),
            instance_type=self.instance_type,
            instance_usd_per_hour=self.instance_usd_per_hour,
            accelerators_per_copy=1,
            accelerators_per_instance=self.copies_per_instance,
        )


@dataclass(frozen=True, eq=False)
class PreparedShared:
    """A shared endpoint with one seed, ready to run."""

    slice: SharedSlice
    seed: int
    components: tuple[Prepared, ...]
    length_s: float
    needed: np.ndarray
    """Whole copies per 10 s, of all components together."""
    oracle_copy_s: float
    """Copy-seconds of the clairvoyant optimum for all together, launches included, on full instances: a lower bound."""
    launch_s: float

    @property
    def profile(self) -> ServiceProfile:
        """What an instance costs; the components' own laws may differ."""
        return self.components[0].profile


def prepare_shared(
    one: SharedSlice, seed: int, *, traces: Path | None, folder: Path, launch_s: float
) -> PreparedShared:
    """Prepare every component below `folder`; what is there already is used. Raises SliceError and TraceError.

    The optimum serves the components' summed demand with any copy, and pays for copies, not for instances: no real
    plan is cheaper.
    """
    found = []
    for number, component in enumerate(one.components):
        place = folder / component.name
        if not is_prepared(place):
            prepare(component, seed + _SEED_STEP * number, traces=traces, folder=place, launch_s=launch_s)
        found.append(replace(load_prepared(place), profile=one.profile_of(component)))
    periods = min(len(component.demand) for component in found)
    total = np.sum([component.demand[:periods] for component in found], axis=0)
    plan = clairvoyant_plan(
        total,
        min_copies=sum(component.min_copies for component in one.components),
        max_copies=sum(component.max_copies for component in one.components),
        launch_s=launch_s,
    )
    return PreparedShared(
        slice=one,
        seed=seed,
        components=tuple(found),
        length_s=min(component.length_s for component in found),
        needed=np.sum([component.needed[:periods] for component in found], axis=0),
        oracle_copy_s=plan.cost_copy_s,
        launch_s=launch_s,
    )


def read_shared(path: Path = SHARED_FILE) -> tuple[SharedSlice, ...]:
    """The endpoints of a YAML file. Raises SliceError naming the endpoint, the key and what is expected."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SliceError(f"{path} cannot be read: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise SliceError(f"{path} is not YAML: {error}") from error
    rows = document.get("endpoints") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        raise SliceError(f"{path} has no list under endpoints")
    found = []
    for number, row in enumerate(rows, 1):
        try:
            found.append(SharedSlice.model_validate(row))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            name = row.get("name", number) if isinstance(row, dict) else number
            what = first["msg"].removeprefix("Value error, ")
            raise SliceError(f"{path}, endpoint {name}: {f'{where}: ' if where else ''}{what}") from None
    return tuple(found)
