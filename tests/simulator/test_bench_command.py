"""`quickstep bench` refuses what it cannot use in one line, before anything runs."""

from __future__ import annotations

import sys

import pytest

from simulator.bench.slices import Slice
from simulator.bench.sweep import bench
from simulator.cli.main import main
from simulator.traffic.rows import TraceError

REFUSED = [
    (("--policies", "nobody"), "policy 'nobody' is not known; choose among quickstep"),
    (("--policies", "quickstep", "--slices", "P99"), "there is no slice P99; choose among P1"),
    (("--slices", "P6"), "there is no slice to run: slice P6 needs azure_2023_conv.csv.gz"),
    (("--slices", "P6", "--traces", "nowhere"), "slice P6 is skipped: there is no nowhere/azure_2023_conv.csv.gz"),
    (("--seeds", "one"), "--seeds is 'one'"),
    (("--knobs", "0.5,x"), "--knobs is '0.5,x'"),
    (("--knobs", "0"), "above 0 and at most 2"),
    (("--provisioning", "0"), "--provisioning is 0; give 1 to 3600 seconds"),
    (("--publish-delay", "-1"), "--publish-delay is -1"),
    (("--prefill-factor", "0"), "the prefill factor (0.0) must be above 0"),
    (("--target-factor", "nan"), "the target factor (nan) must be above 0"),
    (("--statistic", "p90"), "--statistic is 'p90'; give Average or Maximum"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_what_cannot_be_used_is_one_line_and_exit_code_2(monkeypatch, capsys, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["quickstep", "bench", "--quiet", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    out, error = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_trace_that_is_broken_or_empty_ends_the_benchmark_with_its_reason(tmp_path):
    header = "timestamp_s,input_tokens,output_tokens\n"
    one = Slice(name="own", trace="t.csv", profile="M")
    for rows, message in (("0,10,10\n1,x,10\n", "1 of 2 rows are broken"), ("", "has no requests")):
        (tmp_path / "t.csv").write_text(header + rows)
        with pytest.raises(TraceError, match=message):
            bench(
                definitions=[one], traces=tmp_path, policies=["static-peak"], work=tmp_path / "w", workers=1, quiet=True
            )
