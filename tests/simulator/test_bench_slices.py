"""The slices as data: what ships is complete, what is wrong is named, and the held-out family is its own."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.bench.crowds import crowds_trace
from simulator.bench.slices import Slice, SliceError, available, read_slices
from simulator.oracle import fluid_demand
from simulator.physics.profiles import L, M
from simulator.physics.requests import OpenArrivals
from simulator.traffic.recorded import write_trace
from simulator.traffic.rows import TraceError


def test_the_benchmark_has_the_seven_public_slices_and_four_generated_ones():
    slices = {one.name: one for one in read_slices()}
    assert list(slices) == ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "G1", "G2", "G3", "G4"]
    assert {one.profile for one in slices.values()} == {"S", "M", "L"}
    assert [name for name, one in slices.items() if one.held_out] == ["G4"]
    assert [name for name, one in slices.items() if one.min_copies == 0] == ["P4", "G3"]
    assert all(one.max_copies == 64 for one in slices.values())
    assert all((one.mean_copies == 8) != (one.name == "P6") for one in slices.values())


def test_without_traces_the_generated_slices_are_left_and_the_others_are_named(tmp_path):
    there, skipped = available(read_slices(), None)
    assert [one.name for one in there] == ["G1", "G2", "G3", "G4"]
    assert len(skipped) == 7
    assert "--traces" in skipped[0]
    there, skipped = available(read_slices(), tmp_path)
    assert len(there) == 4
    assert str(tmp_path / "servegen/m-small_31.trace.csv.gz") in skipped[0]


def test_a_generated_slice_has_the_demand_that_it_says():
    one = Slice(name="g", generated="chat", profile="M", days=0.5, mean_copies=6)
    arrivals, length_s = one.load(None, 1)
    assert length_s == 43_200
    assert fluid_demand(arrivals, M, start_s=0.0, end_s=length_s).mean() == pytest.approx(6, rel=0.05)


def test_several_traces_are_laid_over_each_other(tmp_path):
    for name, rate in (("a.csv", 1.0), ("b.csv", 2.0)):
        n = int(600 * rate)
        requests = OpenArrivals(np.arange(n) / rate, np.full(n, 100), np.full(n, 50), 0.0)
        write_trace(tmp_path / name, requests)
    both, _ = Slice(name="both", trace=("a.csv", "b.csv"), profile="M", mean_copies=2).load(tmp_path, 1)
    alone, _ = Slice(name="one", trace="a.csv", profile="M", mean_copies=1).load(tmp_path, 1)
    assert (np.diff(both.times_s) >= 0).all()
    # One copy of each, whatever their rates were.
    assert len(both) == pytest.approx(2 * len(alone), rel=0.1)
    assert len(Slice(name="twice", trace="a.csv", profile="M", scale=2).load(tmp_path, 1)[0]) == 1200


def test_a_changed_prefill_changes_the_profile_and_nothing_else():
    slower = Slice(name="s", generated="chat", days=1, profile="L", prefill_factor=1.5).service_profile()
    assert (slower.prefill_base_s, slower.prefill_s_per_token) == (1.5 * 0.020, 1.5 * 0.000185)
    assert (slower.a_s, slower.b_s, slower.name) == (L.a_s, L.b_s, "L")


WRONG = [
    ("slices: []", "no list under slices"),
    ("nothing", "no list under slices"),
    ("slices: [{name: a}]", "slice a: give either trace"),
    ("slices: [{name: a, trace: x.csv, generated: chat}]", "slice a: give either trace"),
    ("slices: [{name: a, generated: chatty, days: 1}]", "choose one of bursty, chat"),
    ("slices: [{name: a, generated: chat}]", "needs days"),
    ("slices: [{name: a, trace: x.csv, scale: 2, mean_copies: 8}]", "not both"),
    ("slices: [{name: a, trace: x.csv, min_copies: 9, max_copies: 8}]", "above max_copies"),
    ("slices: [{name: a, trace: x.csv, profile: XL}]", "no service profile is called 'XL'"),
    ("slices: [{name: a, trace: x.csv, max_copys: 8}]", "max_copys: Extra inputs"),
    ("slices: [{name: a, trace: x.csv, mean_copies: 0}]", "mean_copies: Input should be greater than 0"),
    ("slices: [{name: a, trace: []}]", "empty list"),
    ("slices: [{name: a, trace: x.csv}, {name: a, trace: y.csv}]", "two slices called a"),
    ("slices: [", "is not YAML"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_wrong_with_a_slice_is_named(tmp_path, text, message):
    path = tmp_path / "slices.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SliceError, match=message) as caught:
        read_slices(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SliceError, match="cannot be read"):
        read_slices(tmp_path / "none.yaml")


def test_broken_traces_are_refused_with_the_line(tmp_path):
    (tmp_path / "bad.csv").write_text("timestamp_s,input_tokens,output_tokens\n1,2,x\n", encoding="utf-8")
    with pytest.raises(TraceError, match="line 2"):
        Slice(name="bad", trace="bad.csv").load(tmp_path, 1)


def test_the_held_out_family_is_reproducible_bursty_and_grows():
    length_s = 2 * 86_400.0
    arrivals = crowds_trace(3, length_s, M, 4.0)
    again = crowds_trace(3, length_s, M, 4.0)
    assert arrivals.times_s.tolist() == again.times_s.tolist()
    assert len(crowds_trace(4, length_s, M, 4.0)) != len(arrivals)
    demand = fluid_demand(arrivals, M, start_s=0.0, end_s=length_s)
    assert demand.mean() == pytest.approx(4, rel=0.05)
    half = len(demand) // 2
    assert demand[half:].mean() > 1.2 * demand[:half].mean()
    late = arrivals.times_s > length_s / 2
    assert arrivals.output_tokens[late].mean() > 1.1 * arrivals.output_tokens[~late].mean()
    # Bursty on the scale of hours: averaging over an hour does not smooth it as it would independent minutes.
    minutes = demand.reshape(-1, 6).mean(axis=1)
    hours = minutes.reshape(-1, 60).mean(axis=1)
    grown = np.linspace(minutes[:720].mean(), minutes[-720:].mean(), len(hours))
    assert (hours - grown).std() > 3 * (minutes - np.repeat(hours, 60)).std() / 60**0.5
