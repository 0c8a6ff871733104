"""What `make e2e` relies on, checked without running it: its pins, its sample of permissions, its way of not running."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess

import pytest

from tests.contract.test_packaging import pins
from tests.contract.translated import ROOT, stack

E2E = ROOT / "tests" / "e2e"
NEEDED = ("bash", "dirname", "python3")


@pytest.fixture
def sample(monkeypatch):
    monkeypatch.syspath_prepend(str(E2E))
    return importlib.import_module("removed_permissions").SAMPLE


def test_the_plug_in_is_for_the_ministack_that_is_installed():
    written_for = re.search(r'^PINNED = "(.+)"$', (E2E / "plugin" / "serve.py").read_text(encoding="utf-8"), re.M)[1]
    assert pins(E2E / "requirements.txt")["ministack"] == pins(E2E / "requirements.lock")["ministack"] == [written_for]


def test_the_lock_of_e2e_has_what_is_asked_for():
    assert pins(E2E / "requirements.txt").items() <= pins(E2E / "requirements.lock").items(), "run `make lock`"


def test_every_permission_that_e2e_takes_away_is_one_that_the_role_has(sample):
    deployed = stack()
    policies = {one.ref: one.properties["PolicyDocument"] for one in deployed.of_type("AWS::IAM::ManagedPolicy")}
    wrong = []
    for case in sample:
        role, function = deployed[case.role], deployed[case.function]
        allowed = {
            action
            for arn in role.properties["ManagedPolicyArns"]
            for statement in policies[arn]["Statement"]
            for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        }
        if case.action not in allowed or function.properties["Role"] != role.arn:
            wrong.append(case)
        if isinstance(case.event, str) and not (ROOT / "events" / case.event).is_file():
            wrong.append(case)
    assert wrong == []


def test_without_python_3_13_it_says_that_it_was_not_run_and_why(tmp_path):
    for name in NEEDED:
        (tmp_path / name).symlink_to(shutil.which(name))
    script = [str(E2E / "run.sh")]
    done = subprocess.run(script, capture_output=True, text=True, check=False, env={"PATH": str(tmp_path), "HOME": "/"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("e2e: not run: there is no python3.13 on PATH")


def test_its_files_are_not_collected_by_make_test():
    assert [one for one in E2E.rglob("*.py") if one.name.startswith("test_")] == []
    assert os.access(E2E / "run.sh", os.X_OK)
