"""The command line: exit codes, and one clear line for everything that cannot be used."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from simulator.cli.main import main

EVENTS = Path(__file__).parents[2] / "events"


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quickstep", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


# scenario text, words after `simulate`, what the one line says
UNUSABLE = [
    (None, ["--trace", "nowhere.csv"], "there is no trace nowhere.csv"),
    (None, [], "no traffic: give --trace"),
    (None, ["--trace", "2x30", "--policy", "nope"], "policy 'nope' is not one of"),
    (None, ["--trace", "2x30", "--scenario", "nowhere.yaml"], "there is no scenario file nowhere.yaml"),
    ("component: {max_copys: 3}", ["--trace", "2x30"], "component.max_copys"),
    (
        "component: {min_copies: 5, max_copies: 2}",
        ["--trace", "2x30"],
        "min_copies (5) is above component.max_copies (2)",
    ),
    ("component: {target_per_copy: 0.5}", ["--trace", "2x30"], "component.target_per_copy"),
    ("parameters: {TargetConcurrentRequestsPerCopy: '0.5'}", ["--trace", "2x30"], "below 1 the first request"),
    (
        "parameters: {MinCapacity: '9', MaxCapacity: '4'}",
        ["--trace", "2x30"],
        "MaxCapacity (4) is below MinCapacity (9)",
    ),
    ("- a list", ["--trace", "2x30"], "a scenario is a mapping"),
    ("a: [", ["--trace", "2x30"], "is not YAML"),
]


@pytest.mark.parametrize(("scenario", "words", "says"), UNUSABLE, ids=[says[:40] for *_, says in UNUSABLE])
def test_unusable_input_is_exit_code_2_and_one_line_that_says_why(monkeypatch, capsys, tmp_path, scenario, words, says):
    if scenario is not None:
        path = tmp_path / "scenario.yaml"
        path.write_text(scenario)
        words = [*words, "--scenario", str(path)]
    assert run(monkeypatch, "simulate", *words, "--quiet") == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.parametrize("words", [["--json", "-", "--quiet"], ["--json", "--quiet"], ["--quiet", "--json"]])
def test_json_to_standard_output_is_nothing_but_json(monkeypatch, capsys, words):
    assert run(monkeypatch, "simulate", "--trace", "2x12", *words) == 0
    result = json.loads(capsys.readouterr().out)
    names = [
        "policy",
        "trace",
        "scenario",
        "seed",
        "requests",
        "lost",
        "late",
        "slo_attainment",
        "ttft_p50_s",
        "ttft_p95_s",
        "ttft_p99_s",
        "copy_hours",
        "instance_hours",
        "cost_usd",
        "oracle_cost_usd",
        "cost_vs_oracle",
        "theta_u",
        "theta_o",
        "tau_u",
        "tau_o",
        "instability",
        "scale_outs",
        "scale_ins",
        "changes",
        "time_to_alarm_s",
        "scaling_time_s",
        "longest_shortage_s",
        "timeline",
    ]
    assert set(names) <= result.keys()


def test_files_are_written_where_they_are_asked_for(monkeypatch, capsys, tmp_path):
    out, page = tmp_path / "deep" / "result.json", tmp_path / "report.html"
    assert run(monkeypatch, "simulate", "--trace", "2x12", "--json", str(out), "--html", str(page)) == 0
    assert json.loads(out.read_text())["requests"] > 0
    assert "<script" in page.read_text()
    assert str(page) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("function", "event", "code", "says"),
    [
        ("on_alarm", "alarm_high", 0, "metric 47, threshold 5, breach 42, step [30, ∞): +2"),
        ("OnAlarm", "alarm_low", 0, '"CopyCount": 1'),
        ("OnAlarmFunction", "alarm_no_capacity", 0, "requests found no copy"),
        ("OnAlarm", "alarm_insufficient_data", 0, "NoData"),
        ("OnAlarm", "alarm_composite", 0, "looked"),
        ("OnAlarm", "alarm_deleted", 0, "looked"),
        ("OnAlarm", "endpoint_in_service", 0, "looked"),
        ("OnAlarm", "manual_wish", 0, "launch at nine asked for 3"),
        ("OnAlarm", "wake_requested", 0, "a client knocked"),
        ("Reconcile", "schedule_tick", 0, "reconciled"),
        ("Decide", "loop_payload", 0, "superseded"),
        ("Decide", "alarm_high", 1, "payload version v"),
    ],
)
def test_every_event_file_can_be_invoked(monkeypatch, capsys, tmp_path, function, event, code, says):
    out = tmp_path / "report.json"
    assert run(monkeypatch, "invoke", function, "-e", str(EVENTS / f"{event}.json"), "--json", str(out)) == code
    printed = capsys.readouterr()
    assert says in printed.out + printed.err + out.read_text().replace("\\u221e", "∞")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["nobody", "-e", str(EVENTS / "alarm_high.json")],
            "no function 'nobody' in the template; it has AddInstances",
        ),
        (["on_alarm", "-e", "nowhere.json"], "there is no event file nowhere.json"),
    ],
)
def test_an_unknown_function_or_event_file_is_exit_code_2(monkeypatch, capsys, words, says):
    assert run(monkeypatch, "invoke", *words) == 2
    assert says in capsys.readouterr().err
