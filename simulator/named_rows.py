"""YAML files that are one list of things with names: read, checked row by row, refused with path, row and key."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Row = TypeVar("Row", bound=BaseModel)


def read_rows(
    path: Path, row: type[Row], *, under: str, what: str, refusal: type[ValueError], example: str = ""
) -> tuple[Row, ...]:
    """The rows of the list `under` in `path`, in its order. `row` has a `name`, which may not occur twice.

    Raises `refusal` with a sentence that names the file, the row (`what` it is, by name or number), the key and what is
    expected; `example` is added where the list is missing.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refusal(f"{path} cannot be read: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise refusal(f"{path} is not YAML: {error}") from error
    rows = document.get(under) if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        raise refusal(f"{path} has no list under {under}{f'; write {example}' if example else ''}")
    found: dict[str, Row] = {}
    for number, given in enumerate(rows, 1):
        try:
            one = row.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            said = first["msg"].removeprefix("Value error, ")
            name = given.get("name", number) if isinstance(given, dict) else number
            raise refusal(f"{path}, {what} {name}: {f'{where}: ' if where else ''}{said}") from None
        name = one.name  # type: ignore[attr-defined]
        if name in found:
            raise refusal(f"{path} has two {what}s called {name}; names must differ")
        found[name] = one
    return tuple(found.values())
