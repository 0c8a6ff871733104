"""The command behind `make security`, without its tools: what it accepts and until when, what it prints, how it ends."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.translated import changed
from tests.security.command import main
from tests.security.controls import CONTROLS
from tests.security.findings import (
    LONGEST,
    SUPPRESSIONS,
    Finding,
    Suppression,
    SuppressionsUnreadable,
    divided,
    read_suppressions,
    suppression_findings,
)

# -- what is accepted, and until when --------------------------------------------------------------------------------------------------

TODAY = date(2026, 11, 24)
FOUND = Finding("SEC-04", "checkov", "CKV_AWS_115", "DecideFunction", "has none", "default")
ACCEPTED = Suppression(
    control="SEC-04",
    tool="checkov",
    rule="CKV_AWS_115",
    resource="*Function",
    edition="default",
    reason="A new account has no concurrency that could be reserved for it.",
    expires=TODAY,
)


def changed_suppression(**values: Any) -> Suppression:
    return ACCEPTED.model_copy(update=values)


@pytest.mark.parametrize(
    ("suppression", "accepts"),
    [
        (ACCEPTED, True),  # until the end of its day
        (changed_suppression(expires=TODAY - timedelta(days=1)), False),
        (changed_suppression(resource="DecideFunction"), True),
        (changed_suppression(resource="Decide"), False),
        (changed_suppression(edition="both"), True),
        (changed_suppression(edition="none"), False),
        (changed_suppression(control="SEC-05"), False),
        (changed_suppression(tool="own"), False),
        (changed_suppression(rule="CKV_AWS_116"), False),
    ],
)
def test_a_suppression_accepts_exactly_what_it_names_until_it_expires(suppression, accepts):
    standing, accepted = divided([FOUND], [suppression], TODAY)
    assert (len(standing), len(accepted)) == ((0, 1) if accepts else (1, 0))


def test_a_default_that_is_accepted_is_not_accepted_where_the_option_is_on():
    hardened = Finding(**{**FOUND.__dict__, "edition": "hardened"})
    assert divided([hardened], [ACCEPTED], TODAY)[0] == [hardened]


@pytest.mark.parametrize(
    ("suppressions", "used", "run", "said"),
    [
        ([changed_suppression(expires=TODAY - timedelta(days=1))], [], {"checkov"}, "expired on 2026-11-23"),
        (
            [changed_suppression(expires=TODAY + LONGEST + timedelta(days=1))],
            [],
            set(),
            "400 days from today are the most",
        ),
        ([ACCEPTED, ACCEPTED], [ACCEPTED], {"checkov"}, "is written twice"),
        ([ACCEPTED], [], {"checkov"}, "accepts nothing any more"),
        ([ACCEPTED], [], {"own"}, None),  # its tool was not asked, so nobody knows
        ([ACCEPTED], [ACCEPTED], {"checkov"}, None),
    ],
)
def test_a_suppression_that_is_expired_too_long_or_of_no_use_is_a_finding(suppressions, used, run, said):
    found = {one.message for one in suppression_findings(suppressions, used, TODAY, run)}
    assert (found == set()) if said is None else all(said in one for one in found) and found


def test_the_suppressions_of_the_project_are_few_and_none_accepts_a_control_by_itself():
    # Optional by parameter: each is accepted in the default edition only, and the hardened one has it.
    own = {(one.control, one.edition) for one in read_suppressions() if one.tool == "own"}
    assert own <= {("SEC-04", "default"), ("SEC-13", "default")}


WHOLE = json.loads(ACCEPTED.model_dump_json())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (yaml.safe_dump([{**WHOLE, "reason": "because"}]), r"entry 1: reason is 'because': .*at least 40"),
        (yaml.safe_dump([WHOLE, {k: v for k, v in WHOLE.items() if k != "expires"}]), "entry 2: expires"),
        (yaml.safe_dump([{**WHOLE, "expires": "never"}]), "entry 1: expires is 'never'"),
        (yaml.safe_dump([{**WHOLE, "control": "SEC-4"}]), "entry 1: control is 'SEC-4'"),
        (yaml.safe_dump([{**WHOLE, "edition": "all"}]), "entry 1: edition is 'all'"),
        (yaml.safe_dump([{**WHOLE, "since": 1}]), "entry 1: since"),
        (yaml.safe_dump(WHOLE), "is not a list"),
        ("[", "s.yaml: "),
    ],
)
def test_suppressions_that_cannot_be_read_name_the_entry(tmp_path, text, said):
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SuppressionsUnreadable, match=said):
        read_suppressions(path)


# -- the command -----------------------------------------------------------------------------------------------------------------------


@cache
def _suppressions_that_last() -> str:
    """The project's own, as of a day on which all are good: the command asks what day it is."""
    later = (date.today() + timedelta(days=100)).isoformat()
    text = SUPPRESSIONS.read_text(encoding="utf-8")
    return re.sub(r"expires: \d{4}-\d\d-\d\d", f"expires: {later}", text)


@pytest.fixture
def suppressions(tmp_path) -> str:
    path = tmp_path / "suppressions.yaml"
    path.write_text(_suppressions_that_last(), encoding="utf-8")
    return str(path)


def test_the_command_prints_thirty_two_rows_and_succeeds(suppressions, capsys):
    assert main(["--own", "--suppressions", suppressions]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^│(SEC-\d\d)", out, re.MULTILINE) == [one.id for one in CONTROLS]
    assert "32 of 32 controls hold" in out and "0 findings" in out


def test_the_command_fails_and_says_why_as_text_and_as_json(tmp_path, suppressions, capsys):
    path = changed(tmp_path, ("FunctionUrlConfig: {AuthType: AWS_IAM}", "FunctionUrlConfig: {AuthType: NONE}"))
    out = tmp_path / "out" / "security.json"
    assert main(["--own", "--suppressions", suppressions, "--template", str(path), "--json", str(out)]) == 1
    answer = json.loads(out.read_text(encoding="utf-8"))
    (failed,) = [one for one in answer["rows"] if one["id"] == "SEC-02"]
    assert (answer["ok"], answer["controls"], failed["verdict"]) == (False, 32, "FAIL")
    assert "ControlFunctionUrl (default): has AuthType NONE" in failed["findings"][0]
    assert failed["findings"][0] in capsys.readouterr().out.replace("\n", "")


def test_json_without_a_file_is_all_that_the_command_prints(suppressions, capsys):
    assert main(["--own", "--suppressions", suppressions, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 33


def test_an_expired_suppression_fails_the_command(tmp_path, suppressions, capsys):
    text = Path(suppressions).read_text(encoding="utf-8")
    Path(suppressions).write_text(re.sub(r"expires: \S+", "expires: 2020-02-29", text, count=1), encoding="utf-8")
    assert main(["--own", "--suppressions", suppressions]) == 1
    assert "expired on 2020-02-29" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--template", "nowhere.yaml"], "there is no file nowhere.yaml"),
        (["--suppressions", "nowhere.yaml"], "nowhere.yaml"),
        (["--loud"], "unrecognized arguments: --loud"),
    ],
)
def test_unusable_input_is_one_line_and_exit_code_2(arguments, said, capsys):
    try:
        code = main(["--own", *arguments])
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
