"""The public traces as data: files, publishers, licences, digests."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

CATALOGUE_FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "traces.yaml"


class CatalogueError(ValueError):
    """The catalogue, or a name that is asked of it, cannot be used."""


class TraceFile(BaseModel):
    """One file of a trace, as its publisher has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, Field(min_length=1)]
    """Where it is kept, below the folder of traces; compressed if it ends in .gz."""
    url: Annotated[str, Field(pattern=r"^https?://")]
    bytes: Annotated[int, Field(ge=0)] | None = None
    """Size as published, before it is compressed here; None = not known."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the file as published; None = not known."""

    @field_validator("path")
    @classmethod
    def _below(cls, path: str) -> str:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise ValueError(f"{path!r} is not below the folder of traces")
        return path


class PublicTrace(BaseModel):
    """One public trace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1)]
    what: str
    origin: str
    licence: str
    licence_url: str
    cite: str
    slices: tuple[str, ...] = ()
    """Slices of the benchmark that run on it."""
    files: tuple[TraceFile, ...]

    @property
    def known_bytes(self) -> int | None:
        """Size of all files as published; None if one is not known, or there is none."""
        sizes = [one.bytes for one in self.files]
        return sum(size for size in sizes if size is not None) if sizes and None not in sizes else None


def read_catalogue(path: Path = CATALOGUE_FILE) -> tuple[PublicTrace, ...]:
    """The traces of a catalogue file. Raises CatalogueError naming the trace, the key and what is expected."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path} is not YAML: {error}") from error
    rows = document.get("traces") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        raise CatalogueError(f"{path} has no list under traces")
    found: dict[str, PublicTrace] = {}
    for number, row in enumerate(rows, 1):
        try:
            one = PublicTrace.model_validate(row)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            name = row.get("name", number) if isinstance(row, dict) else number
            raise CatalogueError(f"{path}, trace {name}: {where}: {first['msg']}") from None
        if one.name in found:
            raise CatalogueError(f"{path} has two traces called {one.name}; names must differ")
        found[one.name] = one
    return tuple(found.values())


def chosen(traces: tuple[PublicTrace, ...], names: list[str]) -> tuple[PublicTrace, ...]:
    """The traces called `names`, by their own names or by those of slices. CatalogueError names the choices."""
    found: dict[str, PublicTrace] = {}
    for name in names:
        matches = [one for one in traces if name == one.name or name in one.slices]
        if not matches:
            raise CatalogueError(
                f"no public trace is called {name!r}; choose among {', '.join(one.name for one in traces)}, or a slice"
            )
        if not matches[0].files:
            raise CatalogueError(f"{matches[0].name} cannot be fetched: {matches[0].what} ({matches[0].origin})")
        found[matches[0].name] = matches[0]
    return tuple(found.values())
