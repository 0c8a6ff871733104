"""No Lambda carries a numeric library: learning and sizing are plain Python, so a cold start does not pay for one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from benchmarks.decision_cost import NUMERIC, imported_by, numeric_among
from tests.contract.reach import handlers, sources

ROOT = Path(__file__).parents[2]
LAYER_LOCK = ROOT / "layers" / "core" / "requirements.lock"


def imports(text: str) -> set[str]:
    """Top-level packages that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("function", ["decide", "on_alarm", "reconcile"])
def test_a_function_that_decides_has_no_numeric_library_in_memory(function):
    modules = imported_by(function)
    assert "quickstep.policy.sizing" in modules
    assert numeric_among(modules) == []


def test_nothing_that_a_function_could_import_later_is_one():
    code = {**sources(), **{f"functions.{name}": text for name, text in handlers().items()}}
    assert {
        name: sorted(imports(text) & set(NUMERIC)) for name, text in code.items() if imports(text) & set(NUMERIC)
    } == {}


def test_the_layer_installs_none():
    installed = set(re.findall(r"^([a-z0-9._-]+)==", LAYER_LOCK.read_text(encoding="utf-8"), re.MULTILINE))
    assert installed
    assert installed & set(NUMERIC) == set()


def test_one_would_be_noticed(tmp_path):
    assert numeric_among(["quickstep", "numpy.linalg", "scipy"]) == ["numpy", "scipy"]
    assert imports("def late():\n    import numpy as np\n") == {"numpy"}


def test_an_unknown_function_is_refused():
    with pytest.raises(ValueError, match="functions/no_such"):
        imported_by("no_such")
