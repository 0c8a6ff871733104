"""What is built, installed and released: one version, pinned packages, and a layer that holds what the code asks for."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import subprocess
import tomllib
from pathlib import Path

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from packaging.requirements import Requirement

import quickstep
from simulator.template import TemplateError
from simulator.template_values import parameter_values
from tests.contract.reach import iam_action, operations, sources
from tests.contract.translated import ROOT, source

CORE = ROOT / "layers" / "core"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = (ROOT / "requirements-dev.lock", CORE / "requirements.lock", ROOT / "tests" / "e2e" / "requirements.lock")


def pins(path: Path) -> dict[str, list[str]]:
    """Versions by package; several where they differ by Python version."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==([^ ;\\\n]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
        found.setdefault(name, []).append(version)
    return found


# -- one version -----------------------------------------------------------------------------------------------------------


def test_template_package_project_and_changelog_name_the_same_version():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    variables = source()["Globals"]["Function"]["Environment"]["Variables"]
    assert {quickstep.__version__, PROJECT["version"], variables["CODE_VERSION"], newest[1]} == {quickstep.__version__}


# -- pinned packages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
def test_a_lock_pins_everything_with_hashes_and_names_no_place(path):
    text = path.read_text(encoding="utf-8")
    packages = re.split(r"\n(?=\S)", text.split("\n", 1)[1].strip())
    unpinned = [
        one.split("\n")[0] for one in packages if not re.match(r"[a-z0-9._-]+==\S+ .*\\\n    --hash=sha256:", one)
    ]
    assert unpinned == []
    assert re.findall(r"https?://|--index|--find-links|file:", text) == []


def unmet(locked: dict[str, list[str]], requirements: list[str]) -> list[str]:
    """Requirements for which a lock has no version, or one that they do not allow."""
    found = []
    for requirement in map(Requirement, requirements):
        versions = locked.get(requirement.name, [])
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            found.append(f"{requirement}: locked is {versions or 'nothing'}")
    return found


def test_the_development_lock_has_what_the_project_asks_for():
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["simulator"], *extras["dev"]]
    assert unmet(pins(LOCKS[0]), wanted) == [], "run `make lock`"
    assert unmet(pins(LOCKS[0]), ["boto3>=99", "not-there"]) != []


def test_the_layer_carries_what_the_project_depends_on_and_is_tested_with_the_same_versions():
    development, layer, asked = pins(LOCKS[0]), pins(LOCKS[1]), pins(CORE / "requirements.txt")
    assert set(asked) == {Requirement(one).name for one in PROJECT["dependencies"]}
    assert unmet(layer, PROJECT["dependencies"]) == []
    differ = {
        name: (versions, development.get(name)) for name, versions in layer.items() if versions != development.get(name)
    }
    assert differ == {}, "run `make lock`"
    assert {name: layer[name] for name in asked} == asked


# -- the layer and the functions --------------------------------------------------------------------------------------------


COMMANDS_ONLY = ("quickstep.gateways.stack", "quickstep.gateways.queues")
"""Gateways of what people run with their own credentials: no function imports them, so the layer needs no description."""


def test_the_layer_keeps_the_description_of_every_service_that_a_gateway_talks_to_and_no_other():
    line = re.search(r"^SERVICES := (.+)$", (CORE / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert line is not None
    in_lambda = {name: text for name, text in sources().items() if name not in COMMANDS_ONLY}
    talked_to = {service for text in in_lambda.values() for service, _ in operations(ast.parse(text))}
    assert set(line[1].split()) == talked_to
    for name in COMMANDS_ONLY:
        users = [
            one
            for one, text in in_lambda.items()
            if f"{name} import" in text or f"import {name.rsplit('.')[-1]}" in text
        ]
        assert [one for one in users if not one.startswith("quickstep.operate.")] == [], name


def test_the_layer_describes_exactly_the_operations_that_the_package_calls():
    called: dict[str, set[str]] = {}
    for text in sources().values():
        for service, method in operations(ast.parse(text)):
            called.setdefault(service, set()).add(iam_action(service, method).split(":")[1])
    # A service that is not listed stays whole: Application Auto Scaling's description is the control API's own.
    kept = json.loads((CORE / "operations.json").read_text(encoding="utf-8"))
    assert {name: sorted(called.get(name, ())) for name in kept} == kept
    assert "sagemaker" in kept and "application-autoscaling" not in kept
    assert "trim_models.py" in (CORE / "Makefile").read_text(encoding="utf-8")


def test_a_trimmed_description_says_the_same_of_what_it_keeps():
    trim = runpy.run_path(str(CORE / "trim_models.py"))["trimmed"]
    for service, names in json.loads((CORE / "operations.json").read_text(encoding="utf-8")).items():
        whole = Loader(include_default_search_paths=True).load_service_model(service, "service-2")
        before, after = ServiceModel(whole, service), ServiceModel(trim(whole, names), service)
        assert after.operation_names == names
        for name in names:
            old, new = before.operation_model(name), after.operation_model(name)
            assert shape_of(new.input_shape) == shape_of(old.input_shape), name
            assert shape_of(new.output_shape) == shape_of(old.output_shape), name
            assert {e.name for e in new.error_shapes} == {e.name for e in old.error_shapes}, name
        assert {e.name for e in after.error_shapes} == {e.name for e in before.error_shapes}
        assert after.metadata == before.metadata


def shape_of(shape: Shape | None, above: tuple[str, ...] = ()) -> object:
    """Everything that a serializer, a validator or a parser would ask of a shape."""
    if shape is None or shape.name in above:
        return shape and shape.name
    inside = (*above, shape.name)
    if shape.type_name == "structure":
        members = {name: shape_of(one, inside) for name, one in shape.members.items()}
        return shape.name, members, sorted(shape.required_members), sorted(shape.serialization.items())
    parts = [shape_of(getattr(shape, name), inside) for name in ("member", "key", "value") if hasattr(shape, name)]
    return (
        shape.name,
        shape.type_name,
        parts,
        sorted(shape.serialization.items()),
        json.dumps(shape.metadata, sort_keys=True),
    )


def test_the_layer_serves_both_architectures_whatever_is_chosen_when_it_is_deployed():
    template = source()
    layer = template["Resources"]["CoreLayer"]
    assert layer["Metadata"] == {"BuildMethod": "makefile"}
    assert set(layer["Properties"]["CompatibleArchitectures"]) == set(
        template["Parameters"]["Architecture"]["AllowedValues"]
    )
    makefile = (CORE / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^ARCH \?= (.+)$", makefile, re.MULTILINE)[1].split() == ["arm64", "x86_64"]
    assert "build-CoreLayer:" in makefile


def test_the_layers_python_is_the_runtime_of_the_functions():
    runtime = source()["Globals"]["Function"]["Runtime"]
    assert source()["Resources"]["CoreLayer"]["Properties"]["CompatibleRuntimes"] == [runtime]
    assert f"--python-version {runtime.removeprefix('python')}" in (CORE / "Makefile").read_text(encoding="utf-8")


def test_a_function_is_its_handler_and_nothing_else():
    for directory in sorted((ROOT / "functions").iterdir()):
        assert [path.name for path in directory.iterdir() if path.name != "__pycache__"] == ["app.py"], directory.name


# -- SAM's configuration ------------------------------------------------------------------------------------------------------


def overrides(environment: dict) -> dict[str, str]:
    """Parameters that an environment of samconfig.toml sets."""
    text = environment["deploy"]["parameters"].get("parameter_overrides", "")
    return dict(one.split("=", 1) for one in text.split())


def test_every_environment_lints_has_a_stack_of_its_own_and_sets_only_parameters_that_exist():
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    environments = {name: one for name, one in config.items() if name != "version"}
    for name, one in environments.items():
        deploy = one["deploy"]["parameters"]
        assert one["validate"]["parameters"]["lint"] is True
        # Staging is a pipeline's; where people rely on a stack, or try it by hand, they are asked.
        assert (deploy["capabilities"], deploy["confirm_changeset"]) == ("CAPABILITY_IAM", name != "staging")
        assert "application=quickstep" in deploy["tags"]
        parameter_values(source()["Parameters"], {"EndpointName": "llm", **overrides(one)})
    names = {name: one["global"]["parameters"]["stack_name"] for name, one in environments.items()}
    assert names == {"default": "quickstep", "staging": "quickstep-staging", "prod": "quickstep-prod"}
    assert overrides(environments["prod"])["KeepData"] == "Yes"
    with pytest.raises(TemplateError):
        parameter_values(source()["Parameters"], {"EndpointName": "llm", "KeepDate": "Yes"})


# -- make and continuous integration ------------------------------------------------------------------------------------------


def test_every_target_explains_itself_and_needs_nothing_that_is_not_there():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)[1].split()
    explained = dict(re.findall(r"^([a-z0-9-]+):.*## (.+)$", text, re.MULTILINE))
    assert set(declared) == set(explained)
    assert {"demo", "test", "lint", "build", "oracle", "events", "lock", "clean"} <= set(explained)
    scripts = set(re.findall(r"\b((?:tools|tests)/[\w/]+\.sh)", text))
    assert [one for one in scripts if not os.access(ROOT / one, os.X_OK)] == []
    assert [one for one in re.findall(r"\bbenchmarks/\w+\.py", text) if not (ROOT / one).is_file()] == []
    modules = re.findall(r"-m (simulator[\w.]*)", text)
    assert [one for one in modules if not (ROOT / f"{one.replace('.', '/')}.py").is_file()] == []


def test_help_lists_every_target(tmp_path):
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    listed = re.findall(r"^  make ([a-z0-9-]+) ", shown.stdout, re.MULTILINE)
    assert (
        listed
        == re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1].split()
    )


def test_an_old_python_is_refused_before_anything_is_made(tmp_path):
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.18"\nexit 1\n')
    old.chmod(0o755)
    command = ["make", "--no-print-directory", "-C", str(ROOT), "demo", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "needs Python 3.11 or newer" in refused.stderr
    assert "Python 3.9.18" in refused.stderr
    assert not (tmp_path / "venv").exists()


def test_continuous_integration_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = [one for one in script.read_text(encoding="utf-8").splitlines() if one and not one.startswith("#")]
    assert lines == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "make test"]
