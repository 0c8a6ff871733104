"""`quickstep trace`: what users see of public traces, of a trace's figures, and of generated traces."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import yaml

from simulator.cli.main import main
from simulator.physics.requests import OpenArrivals
from simulator.traces.statistics import trace_statistics
from tests.simulator.test_traces_download import CONTENT, SHA256, publisher  # noqa: F401 — a fixture


def quickstep(monkeypatch, capsys, *words):
    """Run the command line; (exit code, standard output, standard error)."""
    monkeypatch.setattr(sys, "argv", ["quickstep", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
        raise SystemExit(0)
    out = capsys.readouterr()
    return ended.value.code or 0, out.out, out.err


def catalogue(tmp_path, url, **changes):
    file = {"path": "t.csv.gz", "url": url, "sha256": SHA256, "bytes": len(CONTENT), **changes}
    about = {
        "name": "ours",
        "what": "a test",
        "origin": "here",
        "licence": "MIT",
        "licence_url": "https://l",
        "cite": "c",
    }
    path = tmp_path / "traces.yaml"
    path.write_text(yaml.safe_dump({"traces": [{**about, "slices": ["P9"], "files": [file]}]}))
    return path


@pytest.fixture
def call(monkeypatch, capsys):
    return lambda *words: quickstep(monkeypatch, capsys, *words)


def test_get_needs_the_licence_accepted_then_verifies_and_lists(call, tmp_path, publisher):  # noqa: F811
    known, into = catalogue(tmp_path, publisher.url), tmp_path / "traces"
    options = ("--catalogue", known, "--into", into)
    code, _, error = call("trace", "get", "P9", *options)
    assert (code, publisher.seen) == (2, [])
    assert "MIT" in error and "--accept" in error
    code, out, _ = call("trace", "get", "ours", *options, "--accept", "--json")
    assert code == 0
    expected = {"trace": "ours", "path": "t.csv.gz", "sha256": SHA256, "bytes": len(CONTENT), "verified": True}
    assert json.loads(out) == [{**expected, "was_there": False}]
    code, out, _ = call("trace", "list", *options, "--json")
    assert [(row["name"], row["licence"], row["there"]) for row in json.loads(out)] == [("ours", "MIT", True)]
    code, out, _ = call("trace", "info", into / "t.csv.gz", "--json")
    assert json.loads(out)["requests"] == 20_000


def test_a_download_that_fails_is_one_line_and_exit_code_1(call, tmp_path, publisher):  # noqa: F811
    publisher.statuses = [404]
    known = catalogue(tmp_path, publisher.url)
    code, _, error = call("trace", "get", "ours", "--catalogue", known, "--into", tmp_path, "--accept", "--quiet")
    assert code == 1
    assert error.strip().startswith("quickstep: http://") and "404" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("get", "nobody", "--accept"), "no public trace is called 'nobody'; choose among servegen"),
        (("list", "--catalogue", "nowhere.yaml"), "nowhere.yaml cannot be read"),
        (("info", "nowhere.csv"), "there is no trace nowhere.csv"),
        (("info", "2x30"), "is a pattern"),
        (("info", "generated:1h", "--profile", "Q"), "no service profile is called 'Q'"),
        (("make", "x.csv", "--kind", "calm"), "no generated traffic is called 'calm'"),
        (("make", "x.csv", "--length", "soon"), "--length is 'soon'"),
        (("make", "x.csv", "--mean-copies", "-1"), "mean_copies"),
        (("make", "x.csv", "--kind", "crowds", "--mean-copies", "0"), "mean_copies"),
        (("make", "x.csv", "--seed", "-1"), "--seed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_unusable_input_is_one_line_and_exit_code_2(call, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, error = call("trace", *words)
    assert (code, out) == (2, "")
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_made_trace_is_the_same_for_the_same_seed_and_reads_back(call, tmp_path):
    for name, seed in (("a.csv", 1), ("b.csv.gz", 1), ("c.csv", 2)):
        words = ("trace", "make", tmp_path / name, "--kind", "bursty", "--length", "2h", "--mean-copies", "3")
        assert call(*words, "--seed", seed)[0] == 0
    (figures, same, other) = (
        json.loads(call("trace", "info", tmp_path / name, "--json")[1]) for name in ("a.csv", "b.csv.gz", "c.csv")
    )
    assert figures == {**same, "trace": "a"}
    assert figures["requests"] != other["requests"]
    assert figures["mean_copies"] == pytest.approx(3, rel=0.1)
    assert figures["rows_broken"] == 0


@pytest.mark.parametrize("kind", ["demo", "crowds"])
def test_every_other_kind_can_be_made_too(call, tmp_path, kind):
    assert call("trace", "make", tmp_path / "t.csv", "--kind", kind, "--length", "1h")[0] == 0
    assert call("trace", "info", tmp_path / "t.csv")[0] == 0


def test_info_counts_and_shows_broken_rows(call, tmp_path):
    rows = [f"{k},100,10" for k in range(200)]
    rows.insert(7, "1.0,-3,5")
    (tmp_path / "t.csv").write_text("\n".join(["timestamp_s,input_tokens,output_tokens", *rows]))
    code, out, _ = call("trace", "info", tmp_path / "t.csv")
    assert code == 0
    assert "200 read, 1 broken" in out and "line 9: input_tokens" in out
    (tmp_path / "t.csv").write_text("\n".join(["timestamp_s,input_tokens,output_tokens", *rows[:50]]))
    code, _, error = call("trace", "info", tmp_path / "t.csv")
    assert code == 2
    assert "1 of 50 rows are broken, more than 1%" in error


# ---------------------------------------------------------------- the figures


def test_a_poisson_process_has_a_dispersion_of_one_on_every_scale():
    rng = np.random.default_rng(1)
    times_s = np.sort(rng.random(400_000)) * 40_000
    found = trace_statistics(OpenArrivals(times_s, np.full(400_000, 7), np.full(400_000, 9), 0.0), 40_000)
    assert found.interarrival_cv == pytest.approx(1, abs=0.01)
    assert found.rate_per_s == 10
    assert [one.scale_s for one in found.burstiness] == [1, 10, 60, 600, 3600]
    for one in found.burstiness[:3]:
        assert one.dispersion == pytest.approx(1, abs=0.1)


def test_figures_by_hand():
    # Three, none and one in the first three minutes; the half minute at the end is no whole period.
    arrivals = OpenArrivals([0.0, 10.0, 20.0, 120.0, 185.0], [10, 20, 30, 40, 50], [1, 1, 1, 1, 101], 0.0)
    found = trace_statistics(arrivals, 190.0)
    minute = next(one for one in found.burstiness if one.scale_s == 60)
    assert minute.dispersion == pytest.approx(np.var([3, 0, 1]) / (4 / 3))
    assert (minute.peak_to_mean, minute.peak_per_s) == (pytest.approx(9 / 4), pytest.approx(3 / 60))
    assert found.interarrival_cv == pytest.approx(np.std([10, 10, 100, 65]) / np.mean([10, 10, 100, 65]))
    assert found.empty_minutes_percent == pytest.approx(100 / 3)
    assert (found.input_tokens.mean, found.input_tokens.percentiles["p50"], found.input_tokens.most) == (30, 30, 50)
    assert found.output_tokens.percentiles["p99"] == pytest.approx(97)


def test_what_cannot_be_known_is_none():
    found = trace_statistics(OpenArrivals([5.0], [1], [1], 0.0), 10.0)
    assert (found.interarrival_cv, [one.scale_s for one in found.burstiness]) == (None, [1.0])
    nothing = trace_statistics(OpenArrivals([], [], [], 0.0), 100.0)
    assert (nothing.input_tokens, nothing.burstiness, nothing.interarrival_cv) == (None, (), None)
