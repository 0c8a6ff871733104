"""Purity: `policy` and `capacity` decide from their arguments alone. No clock, no I/O, no randomness, no logging."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "layers" / "core" / "quickstep"
PURE = sorted([*(CORE / "policy").glob("**/*.py"), *(CORE / "capacity").glob("**/*.py")])
STDLIB = {"__future__", "bisect", "collections", "dataclasses", "enum", "math", "operator", "typing"}
OURS = ("quickstep.model", "quickstep.reasons", "quickstep.policy", "quickstep.capacity")
REFUSES = ("quickstep.errors",)
"""The typed refusal of a policy that is none; raised where policies are read, not while deciding."""
SIDE_EFFECTS = {
    "open",
    "print",
    "input",
    "exec",
    "eval",
    "compile",
    "__import__",
    "globals",
    "breakpoint",
    "hash",
    "id",
}
"""Built-ins that reach outside; `hash` and `id` differ from process to process."""


def imported(tree: ast.AST) -> set[str]:
    """Every module that is imported, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or "")
    return found


def is_allowed(module: str, path: Path) -> bool:
    if module.split(".")[0] in STDLIB:
        return True
    if module in REFUSES:
        return path.name == "step_table.py"
    return any(module == ours or module.startswith(f"{ours}.") for ours in OURS)


def test_there_is_something_to_check():
    assert {"pipeline.py", "demand.py", "plan.py", "placement.py"} <= {path.name for path in PURE}


@pytest.mark.parametrize("path", PURE, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_pure_module_imports_only_pure_modules_and_calls_nothing_outside(path):
    tree = ast.parse(path.read_text())
    assert not [module for module in imported(tree) if not is_allowed(module, path)]
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & SIDE_EFFECTS
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global | ast.Nonlocal)]


@pytest.mark.parametrize("path", PURE, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_pure_module_keeps_no_state_between_two_decisions(path):
    # A list, dict or set at module level could be changed; tuples, frozensets and tables that are only read cannot.
    for node in ast.parse(path.read_text()).body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        names = [t.id for t in getattr(node, "targets", [getattr(node, "target", None)]) if isinstance(t, ast.Name)]
        if isinstance(value, ast.List | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
            assert names == ["__all__"], f"{path.name}: {names} can be changed"


def test_capacity_may_ask_policy_but_policy_does_not_know_capacity():
    for path in PURE:
        if path.parent.name == "policy":
            assert not [m for m in imported(ast.parse(path.read_text())) if m.startswith("quickstep.capacity")]


# The linter refuses it before a test has to.

SNIPPETS = {
    "random module": "import random\n\nX = random.random()\n",
    "random function": "from random import random\n\nX = random()\n",
    "secrets": "import secrets\n\nX = secrets.token_hex()\n",
    "uuid": "import uuid\n\nX = uuid.uuid4()\n",
    "wall clock": "import time\n\nX = time.time()\n",
    "wall clock, imported": "from time import time\n\nX = time()\n",
    "nanoseconds": "import time\n\nX = time.time_ns()\n",
    "monotonic clock": "import time\n\nX = time.monotonic()\n",
    "sleep": "import time\n\ntime.sleep(1)\n",
    "now": "from datetime import UTC, datetime\n\nX = datetime.now(UTC)\n",
    "today": "from datetime import date\n\nX = date.today()\n",
    "boto3": "import boto3\n\nX = boto3.client('sagemaker')\n",
    "botocore": "from botocore.exceptions import ClientError\n\nX = ClientError\n",
}


def banned(folder: Path) -> str:
    """What ruff's banned-api rule says about `folder`, with the project's own configuration."""
    ruff = Path(sys.executable).with_name("ruff")
    command = [str(ruff), "check", "--select", "TID251", "--no-cache", "--output-format", "concise", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False).stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the configuration and the pure packages, with one forbidden snippet per file beside them."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", root)
    for package in ("policy", "capacity"):
        shutil.copytree(CORE / package, root / "layers" / "core" / "quickstep" / package)
    return root


def test_the_pure_packages_are_clean(copy):
    assert "All checks passed" in banned(copy)


@pytest.mark.parametrize("package", ["policy", "capacity"])
def test_clocks_randomness_and_aws_are_refused_by_the_linter(copy, package):
    where = copy / "layers" / "core" / "quickstep" / package
    files = {name: where / f"snippet_{i}.py" for i, name in enumerate(SNIPPETS)}
    for name, path in files.items():
        path.write_text(SNIPPETS[name])
    try:
        said = banned(where)
    finally:
        for path in files.values():
            path.unlink()
    assert not [name for name, path in files.items() if path.name not in said]


@pytest.mark.parametrize(
    "snippet",
    [
        "import logging\n",
        "import os\n",
        "import json\n",
        "import datetime\n",
        "import numpy\n",
        "from quickstep import clock\n",
        "from quickstep.gateways import cloudwatch\n",
        "from quickstep.usecases.look import look\n",
        "from quickstep import telemetry\n",
        "def f():\n    import time\n",
    ],
)
def test_what_the_linter_lets_through_the_import_test_refuses(snippet):
    assert [module for module in imported(ast.parse(snippet)) if not is_allowed(module, CORE / "policy" / "drain.py")]
