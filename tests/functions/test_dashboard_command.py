"""`quickstep dashboard`: the page and its data, exit codes, and one clear line for what cannot be used."""

from __future__ import annotations

import json
import re
import sys

import pytest

from simulator.cli.main import main
from tests.contract.translated import ROOT, changed


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quickstep", "dashboard", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--trace", "2x30"], "nothing to write: give --html"),
        (["--html", "x.html"], "no traffic: give --trace"),
        (["--html", "x.html", "--trace", "2x30", "--last", "0"], "--last is 0 hours"),
        (["--html", "x.html", "--trace", "nowhere.csv"], "there is no trace nowhere.csv"),
        (["--html", "x.html", "--scenario", "nowhere.yaml"], "there is no scenario file"),
        (["--html", "/proc/none/x.html", "--trace", "1x30"], "cannot write /proc/none/x.html"),
    ],
)
def test_unusable_input_is_exit_code_2_and_one_line_that_says_why(monkeypatch, capsys, words, says):
    assert run(monkeypatch, *words) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1


def test_the_page_needs_no_network_and_the_same_run_gives_the_same_bytes(monkeypatch, capsys, tmp_path):
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    for page in pages:
        assert run(monkeypatch, "--trace", "2x30 12x60", "--last", "0.25", "--html", str(page)) == 0
    text = pages[0].read_text(encoding="utf-8")
    assert text == pages[1].read_text(encoding="utf-8")
    assert "default-src 'none'" in text and not re.search(r"<script|https?://", text)
    assert f"dashboard: {pages[0]}" in capsys.readouterr().out


def test_json_on_standard_output_is_all_that_is_printed(monkeypatch, capsys):
    assert run(monkeypatch, "--trace", "2x60", "--last", "0.25", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["name"] == "quickstep-quickstep"
    (flight,) = [one for one in shown["widgets"] if one["title"] == "Requests in flight per copy"]
    assert flight["lines"][0]["points"][-1][1] == 2.0


def test_a_field_that_is_not_drawn_is_refused_rather_than_left_out(monkeypatch, capsys, tmp_path):
    # The template's code stands beside it, as in a checkout.
    template = changed(tmp_path, ('"stacked": true', '"stacked": true, "liveData": true'))
    for folder in ("functions", "layers"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    assert run(monkeypatch, "--trace", "1x30", "--html", str(tmp_path / "x.html"), "--template", str(template)) == 2
    assert "field liveData of dashboard widget 'Refusals and failures'" in capsys.readouterr().err
