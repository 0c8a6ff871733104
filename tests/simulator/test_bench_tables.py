"""The tables of docs/benchmark.md: every figure of theirs comes from a committed summary, and they are up to date."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from simulator.bench.frontier import frontier, spread, summary
from simulator.report.bench_tables import put_in, summary_of, tables

ROOT = Path(__file__).resolve().parents[2]
BEGIN = "<!-- begin: benchmark tables, made by `make bench-tables` -->"
END = "<!-- end: benchmark tables -->"


def run(policy, knob, seed, cost, slo, trace="P1", churn=10.0, scenario="profile M"):
    return {
        "policy": policy,
        "knob": knob,
        "seed": seed,
        "trace": trace,
        "scenario": scenario,
        "cost_vs_oracle": cost,
        "slo_attainment": slo,
        "churn_per_day": churn,
        "requests": 1000,
    }


def result(runs):
    found = frontier(runs)
    return {"runs": runs, "frontier": found, "spread": spread(runs), "summary": summary(found), "held_out": ["G4"]}


RUNS = [
    run("quickstep", 98.0, 1, 1.2, 0.98, churn=5.0),
    run("quickstep", 99.0, 1, 1.4, 1.0, churn=7.0),
    run("quickstep", 98.0, 1, 1.1, 0.97, "P2"),
    run("quickstep", 99.0, 1, 1.5, 0.99, "P2", churn=9.0),
    run("k8s-hpa", 0.4, 1, 1.9, 0.999, churn=100.0),
    run("k8s-hpa", 0.6, 1, 1.5, 0.985, churn=50.0),
    run("k8s-hpa", 0.4, 1, 1.8, 0.96, "P2"),
    run("clairvoyant-plan", 1.0, 1, 1.05, 1.0),
    run("clairvoyant-plan", 1.0, 1, 1.05, 1.0, "P2"),
]


def rows_of(text, title):
    """The cells of the table that follows a title, by policy."""
    lines = text[text.index(title) :].split("\n\n")[1].splitlines()
    return {cells[0]: cells[1:] for cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)}


def test_costs_means_and_worst_are_those_of_the_frontier():
    text = tables({"main": summary_of(result(RUNS))})
    at_99 = rows_of(text, "Cost at 99 %")
    assert at_99["policy"] == ["P1", "P2", "mean", "worst"]
    assert at_99["quickstep"] == ["1.30", "1.50", f"{(1.3 * 1.5) ** 0.5:.2f}", "1.50"]
    # What one trace does not reach has no mean.
    assert at_99["k8s-hpa"] == ["1.64", "–", "–", "–"]
    assert list(at_99)[2:] == ["quickstep", "k8s-hpa", "clairvoyant-plan"]
    assert "9 runs, seed 1; G4 held out." in text


def test_churn_is_that_of_the_cheapest_position_that_reaches_99_percent():
    churn = rows_of(tables({"main": summary_of(result(RUNS))}), "Copies started")
    assert churn["quickstep"] == ["7", "9"]
    assert churn["k8s-hpa"] == ["100", "–"]


def test_the_spread_is_shown_where_there_are_several_seeds():
    more = [*RUNS, run("quickstep", 98.0, 2, 1.3, 0.98), run("quickstep", 99.0, 2, 1.5, 1.0)]
    assert "over the seeds" not in tables({"main": summary_of(result(RUNS))})
    spans = rows_of(tables({"main": summary_of(result(more))}), "Least and most cost")
    assert spans["quickstep"] == ["1.30 to 1.40", "1.50 to 1.50"]


def test_a_sensitivity_has_a_column_per_value_in_order_and_the_usual_one_among_them():
    def one(cost):
        return summary_of(result([run("quickstep", 98.0, 1, cost, 0.995), run("k8s-hpa", 0.4, 1, 2 * cost, 0.985)]))

    summaries = {"provisioning-30": one(1.1), "provisioning-525": one(1.6), "sensitivity-default": one(1.3)}
    rows = rows_of(tables(summaries), "Provisioning")
    assert rows["policy"] == ["30", "258", "525"]
    assert rows["quickstep"] == ["1.10 / 1.10", "1.30 / 1.30", "1.60 / 1.60"]
    assert rows["k8s-hpa"] == ["2.20 / –", "2.60 / –", "3.20 / –"]
    assert "Prefill" not in tables(summaries)


def test_tables_go_between_their_markers_and_nothing_else_changes():
    document = f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n"
    found = put_in(document, "new")
    assert found == f"before\n\n{BEGIN}\n\nnew\n\n{END}\n\nafter\n"
    assert put_in(found, "new") == found
    for broken in ("nothing", f"{BEGIN}", f"{END}\n{BEGIN}", document * 2):
        with pytest.raises(ValueError, match="needs one line"):
            put_in(broken, "new")


def test_the_script_takes_in_a_result_and_renders(tmp_path, capsys):
    script = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))["main"]
    (tmp_path / "doc.md").write_text(f"{BEGIN}\n{END}\n")
    (tmp_path / "bench.json").write_text(json.dumps(result(RUNS)))
    folders = ["--results", str(tmp_path / "results"), "--document", str(tmp_path / "doc.md")]
    assert script([*folders]) == 0
    assert "No result is committed yet." in (tmp_path / "doc.md").read_text()
    assert script(["--result", str(tmp_path / "bench.json"), *folders]) == 0
    assert "| quickstep | 1.30 |" in (tmp_path / "doc.md").read_text()
    kept = json.loads((tmp_path / "results" / "main.json").read_text())
    assert kept["requests"] == {"P1": 1000, "P2": 1000} and "runs" in kept and kept["runs"] == 9
    (tmp_path / "bench.json").write_text("{}")
    assert script(["--result", str(tmp_path / "bench.json"), *folders]) == 2
    assert "is not a result of `quickstep bench --json`" in capsys.readouterr().err


def test_the_document_is_what_the_committed_summaries_say():
    folder = ROOT / "benchmarks" / "results"
    summaries = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    document = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")
    assert put_in(document, tables(summaries)) == document, "run: make bench-tables"
