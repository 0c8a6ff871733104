"""numba, if it is there: a development-only extra for the benchmark, never needed by the product.

Compiled code is kept in the user's cache folder, in a folder per state of the engine's sources: numba itself would not
notice a change in a module that another one calls.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


class CompilerMissing(ImportError):
    """The compiled engine was asked for and numba is not installed."""


try:
    import numba
except ImportError as error:
    raise CompilerMissing(
        "the benchmark's compiled engine needs numba, which is not installed here: pip install -e .[bench]"
    ) from error

if "NUMBA_CACHE_DIR" not in os.environ:
    _sources = sorted(Path(__file__).parent.glob("kernel*.py"))
    _state = hashlib.sha256(b"".join(path.read_bytes() for path in _sources)).hexdigest()[:12]
    _home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    numba.config.CACHE_DIR = str(Path(_home) / "quickstep" / "numba" / _state)

compiled = numba.njit(cache=True, error_model="numpy")
"""Decorator: compile at the first call, keep the result; division by zero gives infinity as in numpy."""

__all__ = ["CompilerMissing", "compiled", "numba"]
