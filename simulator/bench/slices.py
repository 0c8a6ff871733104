"""The slices of the benchmark as data: which part of which trace, on which profile, how large, within which bounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from simulator.bench.crowds import CROWDS, crowds_trace
from simulator.physics.profiles import ServiceProfile, profile_named
from simulator.physics.requests import OpenArrivals
from simulator.traffic.generated import PREFIX, SHAPES
from simulator.traffic.load import load_traffic
from simulator.traffic.rows import TraceError

SLICES_FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "slices.yaml"
DAY_S = 86_400.0


class SliceError(ValueError):
    """A slice cannot be used; the message says which, what is wrong, and what to do."""


class Slice(BaseModel):
    """One part of one trace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1)]
    what: str = ""
    trace: str | tuple[str, ...] | None = None
    """A trace file below the traces folder; several are laid over each other, each scaled to its share of the copies."""
    generated: str | None = None
    """A kind of generated traffic instead; from_day moves its daily wave."""
    profile: str = "M"
    from_day: Annotated[float, Field(ge=0)] = 0.0
    days: Annotated[float, Field(gt=0)] | None = None
    """None = to the end of the trace."""
    mean_copies: Annotated[float, Field(gt=0)] | None = None
    scale: Annotated[float, Field(gt=0)] = 1.0
    min_copies: Annotated[int, Field(ge=0)] = 1
    max_copies: Annotated[int, Field(ge=1)] = 64
    prefill_factor: Annotated[float, Field(gt=0)] = 1.0
    """The profile's prefill times are multiplied by this: they are the least certain constants."""
    held_out: bool = False
    """Scored, never tuned on."""

    @model_validator(mode="after")
    def _complete(self) -> Slice:
        if (self.trace is None) == (self.generated is None):
            raise ValueError("give either trace (a file) or generated (a kind)")
        if self.generated is not None and self.generated not in (*SHAPES, CROWDS):
            raise ValueError(f"generated is {self.generated!r}; choose one of {', '.join((*sorted(SHAPES), CROWDS))}")
        if isinstance(self.trace, tuple) and not self.trace:
            raise ValueError("trace is an empty list; name at least one file")
        if self.generated is not None and self.days is None:
            raise ValueError("a generated slice needs days")
        if self.mean_copies is not None and self.scale != 1.0:
            raise ValueError("give scale or mean_copies, not both")
        if self.min_copies > self.max_copies:
            raise ValueError(f"min_copies ({self.min_copies}) is above max_copies ({self.max_copies})")
        profile_named(self.profile)
        return self

    def service_profile(self) -> ServiceProfile:
        """The profile, with its prefill times changed as asked."""
        profile = profile_named(self.profile)
        factor = self.prefill_factor
        return replace(
            profile,
            prefill_base_s=profile.prefill_base_s * factor,
            prefill_s_per_token=profile.prefill_s_per_token * factor,
        )

    def files(self, traces: Path | None) -> tuple[Path, ...]:
        """Where the trace lies; nothing if it is generated. SliceError if no folder was given for a file."""
        if self.trace is None:
            return ()
        names = (self.trace,) if isinstance(self.trace, str) else self.trace
        if traces is None:
            raise SliceError(f"slice {self.name} needs {', '.join(names)}; give the folder with --traces")
        return tuple(traces / name for name in names)

    def load(self, traces: Path | None, seed: int) -> tuple[OpenArrivals, float]:
        """The requests, as seconds from 0, and the length of the slice in seconds. Raises SliceError or TraceError."""
        if self.generated == CROWDS:
            assert self.days is not None
            length_s = self.days * DAY_S
            return crowds_trace(seed, length_s, self.service_profile(), self.mean_copies or 8.0), length_s
        if self.generated is not None:
            length_days = self.from_day + (self.days or 0.0)
            return self._part(f"{PREFIX}{round(length_days * 1440)}m:{self.generated}", seed, 1)
        parts = [self._part(str(path), seed, len(self.files(traces))) for path in self.files(traces)]
        return _merged([arrivals for arrivals, _ in parts]), max(length_s for _, length_s in parts)

    def _part(self, name: str, seed: int, of: int) -> tuple[OpenArrivals, float]:
        """One of `of` traces that make up the slice."""
        traffic = load_traffic(
            name,
            profile=self.service_profile(),
            seed=seed,
            start_s=0.0,
            scale=self.scale,
            mean_copies=None if self.mean_copies is None else self.mean_copies / of,
            duration_s=None if self.days is None else self.days * DAY_S,
            offset_s=self.from_day * DAY_S,
        )
        if not isinstance(traffic.arrivals, OpenArrivals):
            raise SliceError(f"slice {self.name}: the benchmark takes open-loop traces only")
        return traffic.arrivals, traffic.end_s - traffic.start_s


def read_slices(path: Path = SLICES_FILE) -> tuple[Slice, ...]:
    """The slices of a YAML file. Raises SliceError naming the slice, the key and what is expected."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SliceError(f"{path} cannot be read: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise SliceError(f"{path} is not YAML: {error}") from error
    rows = document.get("slices") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        raise SliceError(f"{path} has no list under slices; write slices: [{{name: …, trace: …}}]")
    found: dict[str, Slice] = {}
    for number, row in enumerate(rows, 1):
        try:
            one = Slice.model_validate(row)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            what = f"{where}: {first['msg']}" if where else first["msg"]
            name = row.get("name", number) if isinstance(row, dict) else number
            raise SliceError(f"{path}, slice {name}: {what.removeprefix('Value error, ')}") from None
        if one.name in found:
            raise SliceError(f"{path} has two slices called {one.name}; names must differ")
        found[one.name] = one
    return tuple(found.values())


def available(slices: tuple[Slice, ...], traces: Path | None) -> tuple[list[Slice], list[str]]:
    """The slices whose traces are there, and a sentence for each that is skipped."""
    there, skipped = [], []
    for one in slices:
        try:
            missing = [str(path) for path in one.files(traces) if not path.is_file()]
        except SliceError as error:
            skipped.append(str(error))
            continue
        if missing:
            skipped.append(f"slice {one.name} is skipped: there is no {', '.join(missing)}")
        else:
            there.append(one)
    return there, skipped


def _merged(parts: list[OpenArrivals]) -> OpenArrivals:
    if len(parts) == 1:
        return parts[0]
    times_s = np.concatenate([part.times_s for part in parts])
    order = np.argsort(times_s, kind="stable")
    tokens = (np.concatenate([getattr(part, name) for part in parts]) for name in ("input_tokens", "output_tokens"))
    return OpenArrivals(times_s[order], *(column[order] for column in tokens), 0.0)


__all__ = ["SLICES_FILE", "Slice", "SliceError", "TraceError", "available", "read_slices"]
