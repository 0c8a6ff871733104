"""How commands fail: a clear line for a person, and a meaningful exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


class UsageProblem(Exception):
    """The input cannot be used; the message says what, which, and what to do instead. Exit code 2."""


def project_root() -> Path:
    """The directory that holds template.yaml: the current one, one above it, or the checkout this package lies in."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "template.yaml").is_file() and (folder / "functions").is_dir():
            return folder
    raise UsageProblem("no template.yaml here or above; run this in a checkout of Quickstep, or give --template")


def write_json(document: Any, out: str | None) -> None:
    """Write JSON to a file, or to standard output for "-"; nothing for None. Sorted keys, so equal runs are equal bytes."""
    if out is None:
        return
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"
    if out == "-":
        sys.stdout.write(text)
        return
    write_text(out, text)


def write_text(out: str | Path, text: str) -> None:
    """Write a file, making its directory; UsageProblem if that is not possible."""
    path = Path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"cannot write {path}: {error.strerror or error}") from None
