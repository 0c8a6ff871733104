"""Traffic by its one entrance: files of every kind, patterns, generated days; what is broken is said."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from simulator.clock import EPOCH_S
from simulator.oracle import fluid_demand
from simulator.physics.profiles import M, S
from simulator.physics.requests import OpenArrivals
from simulator.traffic.load import load_traffic
from simulator.traffic.recorded import write_trace
from simulator.traffic.rows import TraceError

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:59:59.9999999,374,44
2023-11-16 19:00:00.5000000,396,109
2023-11-16 19:01:10.2500000,879,55
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 23:59:59.500000+00:00,374,44
2024-05-11 00:00:00.000000+00:00,396,109
2024-05-11 02:01:09.750000+02:00,879,55
"""
MOONCAKE = """{"timestamp": 0, "input_length": 374, "output_length": 44, "hash_ids": [1, 2]}
{"timestamp": 500.0, "input_length": 396, "output_length": 109, "hash_ids": []}

{"timestamp": 70250, "input_length": 879, "output_length": 55, "hash_ids": [7]}
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
0,ChatGPT,374,44,418,Conversation log
0.5,GPT-4,396,109,505,Conversation log
45,GPT-4,693,0,693,API log
70.25,ChatGPT,879,55,934,API log
"""
BURSTGPT_2 = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
0,abc,1.5,ChatGPT,374,44,418,Conversation log
0.5,,2.5,GPT-4,396,109,505,Conversation log
70.25,,9,ChatGPT,879,55,934,API log
"""
OURS = "timestamp_s,input_tokens,output_tokens\n0.0,374,44\n0.5,396,109\n70.25,879,55\n"
OURS_EPOCH = "timestamp_s,input_tokens,output_tokens\n1700000000,374,44\n1700000000.5,396,109\n1700000070.25,879,55\n"


def load(trace, **options):
    return load_traffic(str(trace), **{"profile": M, "seed": 1, **options})


def offsets(traffic):
    return (traffic.arrivals.times_s - traffic.start_s).tolist()


def mean_demand(traffic, profile=M):
    return fluid_demand(traffic.arrivals, profile, start_s=traffic.start_s, end_s=traffic.end_s).mean()


# ---------------------------------------------------------------- recorded traces


@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("azure.csv", AZURE.replace("18:59:59.9999999", "19:00:00.00"), "azure"),
        ("azure_2024.csv", AZURE_2024, "azure"),
        ("mooncake.jsonl", MOONCAKE, "mooncake"),
        ("burst.csv", BURSTGPT, "burstgpt"),
        ("burst2.csv", BURSTGPT_2, "burstgpt"),
        ("own.csv", OURS, "ours"),
        ("own_epoch.csv", OURS_EPOCH, "ours"),
        ("windows.csv", "\ufeff" + OURS.replace("\n", "\r\n"), "ours"),
        (
            "shuffled.csv",
            "OUTPUT_TOKENS, input_tokens ,note,timestamp_s\n55,879,x,70.25\n44,374,,0\n109,396,,0.5\n",
            "ours",
        ),
    ],
)
def test_every_recorded_format_gives_the_same_three_requests(tmp_path, name, text, kind, gzipped):
    path = tmp_path / (name + ".gz" * gzipped)
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if gzipped else text.encode())
    traffic = load(path)
    assert traffic.format == kind
    assert traffic.name == name.rsplit(".", 1)[0]
    assert offsets(traffic) == pytest.approx([0.0, 0.5, 70.25], abs=1e-6)
    assert traffic.arrivals.input_tokens.tolist() == [374, 396, 879]
    assert traffic.arrivals.output_tokens.tolist() == [44, 109, 55]
    assert (traffic.start_s, traffic.end_s, traffic.requests_read) == (EPOCH_S, EPOCH_S + 80, 3)
    assert (traffic.rows_skipped, traffic.rows_failed_at_source) == (0, 1 if "API log\n70" in text else 0)


def test_azure_stamps_keep_a_hundred_nanoseconds_over_a_change_of_hour(tmp_path):
    path = tmp_path / "azure.csv"
    path.write_text(AZURE)
    assert offsets(load(path, start_s=0.0)) == pytest.approx([0.0, 0.5000001, 70.2500001], abs=1e-9)


def test_a_part_of_a_trace_begins_at_its_offset(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(OURS)
    traffic = load(path, offset_s=0.25, duration_s=60.0)
    assert (offsets(traffic), traffic.end_s) == (pytest.approx([0.25]), EPOCH_S + 60)
    with pytest.raises(TraceError, match="no request from 5 s to 15 s"):
        load(path, offset_s=5.0, duration_s=10.0)
    with pytest.raises(TraceError, match="lasts 80 s"):
        load(path, offset_s=80.0)


def test_what_is_written_is_read_back_and_has_the_same_bytes_each_time(tmp_path):
    traffic = load("generated:30m:bursty", seed=5)
    for name in ("a.csv", "b.csv.gz", "c.csv.gz"):
        write_trace(tmp_path / name, traffic.arrivals)
    again = load(tmp_path / "b.csv.gz")
    assert again.arrivals.times_s == pytest.approx(traffic.arrivals.times_s, abs=2e-6, rel=0)
    assert again.arrivals.input_tokens.tolist() == traffic.arrivals.input_tokens.tolist()
    assert again.arrivals.output_tokens.tolist() == traffic.arrivals.output_tokens.tolist()
    assert (tmp_path / "b.csv.gz").read_bytes() == (tmp_path / "c.csv.gz").read_bytes()
    assert gzip.decompress((tmp_path / "b.csv.gz").read_bytes()) == (tmp_path / "a.csv").read_bytes()


# ---------------------------------------------------------------- broken rows

BROKEN_ROWS = [
    ("1.0,nan,5", "input_tokens must be a whole number"),
    ("1.0,inf,5", "input_tokens must be a whole number"),
    ("1.0,-3,5", "input_tokens must be a whole number"),
    ("1.0,7,99999999999", "output_tokens must be a whole number"),
    ("1.0,7,1.5", "output_tokens must be a whole number"),
    ("1.0,,5", "input_tokens is not a number"),
    ("yesterday,7,5", "timestamp_s is not a number"),
    ("-1.0,7,5", "timestamp_s must be a finite time"),
    ("inf,7,5", "timestamp_s must be a finite time"),
    ("1.0,7", "2 columns, expected at least 3"),
]


@pytest.mark.parametrize(("row", "what"), BROKEN_ROWS)
def test_a_few_broken_rows_are_left_out_and_named(tmp_path, row, what):
    path = tmp_path / "own.csv"
    rows = [f"{k},100,10" for k in range(200)]
    rows.insert(7, row)
    path.write_text("\n".join(["timestamp_s,input_tokens,output_tokens", *rows]))
    traffic = load(path)
    assert (traffic.requests_read, traffic.rows_skipped) == (200, 1)
    assert traffic.broken_rows[0].startswith(f"line 9: {what}")


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("azure.csv", "2023-11-16 19:00,374,44"),
        ("azure.csv", "2023-13-45 19:00:00.0,374,44"),
        ("mooncake.jsonl", '{"timestamp": 1, "input_length": 3}'),
        ("mooncake.jsonl", '{"timestamp": NaN, "input_length": 3, "output_length": 4}'),
        ("mooncake.jsonl", '{"timestamp": 1, "input_length":'),
        ("mooncake.jsonl", "[1, 2, 3]"),
        ("burst.csv", "1,ChatGPT,x,44,418,Conversation log"),
    ],
)
def test_a_trace_with_more_than_one_percent_broken_rows_is_refused(tmp_path, name, row):
    text = {"azure.csv": AZURE, "mooncake.jsonl": MOONCAKE, "burst.csv": BURSTGPT}[name]
    path = tmp_path / name
    path.write_text(text + row + "\n")
    with pytest.raises(TraceError, match=r"1 of 4 rows are broken, more than 1% \(line [56]: "):
        load(path)


def test_only_the_first_few_broken_rows_are_kept(tmp_path):
    path = tmp_path / "own.csv"
    rows = [f"{k},100,10" for k in range(2000)] + ["x,y,z"] * 12
    path.write_text("\n".join(["timestamp_s,input_tokens,output_tokens", *rows]))
    traffic = load(path)
    assert (traffic.rows_skipped, len(traffic.broken_rows)) == (12, 5)


# ---------------------------------------------------------------- what cannot be loaded


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("missing.csv", None, "there is no trace .*missing.csv; give a file, a pattern"),
        ("empty.csv", b"", "is empty. Accepted: Azure LLM CSV"),
        ("blank.csv", b"\n\n  \n", "is empty. Accepted"),
        ("header.csv", OURS.split("\n")[0].encode(), "has no requests: it ends after its header"),
        ("other.csv", b"time,tokens\n1,2\n", "line 1: the header 'time,tokens' is not one of a known trace. Accepted"),
        ("numbers.csv", b"1,2,3\n", "is not one of a known trace"),
        ("other.jsonl", b'{"time": 1}\n', "not a Mooncake request"),
        ("binary.csv", b"\xff\xfe\x00\x01" * 50, "not readable as text"),
        ("torn.csv.gz", gzip.compress(OURS.encode() * 50, mtime=0)[:60], "not readable as gzipped text"),
        ("notzip.csv.gz", OURS.encode(), "not readable as gzipped text"),
        ("x.tokens.json", b"{}", "give the .trace.csv beside it"),
        ("far.csv", b"timestamp_s,input_tokens,output_tokens\n0,1,1\n99999999,1,1\n", "1157 days apart"),
    ],
)
def test_a_trace_that_cannot_be_read_is_refused_with_its_name_and_the_way_out(tmp_path, name, data, message):
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(TraceError, match=message):
        load(path)


def test_a_directory_is_not_a_trace(tmp_path):
    with pytest.raises(TraceError, match="is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"mean_copies": -1.0}, "mean_copies"),
        ({"scale": 2.0, "mean_copies": 3.0}, "not both"),
        ({"offset_s": -5.0}, "offset_s"),
        ({"duration_s": 0.0}, "duration_s"),
        ({"scale": 1e9}, "more than 45,000,000"),
    ],
)
def test_impossible_wishes_are_refused(options, message):
    with pytest.raises(TraceError, match=message):
        load("generated:1h", **options)


def test_a_file_with_more_requests_than_fit_into_memory_is_refused_before_it_is_all_read(tmp_path, monkeypatch):
    monkeypatch.setattr("simulator.traffic.recorded.MAX_REQUESTS", 1000)
    path = tmp_path / "long.csv"
    rows = [f"{k},100,10" for k in range(1001)]
    path.write_text("\n".join(["timestamp_s,input_tokens,output_tokens", *rows[:1000]]))
    assert load(path).requests_read == 1000
    # What comes after the limit is not looked at.
    path.write_text("\n".join(["timestamp_s,input_tokens,output_tokens", *rows, *["broken"] * 500]))
    with pytest.raises(TraceError, match=r"more than 1,000 requests.*cut it into parts .*line 1002 is the first"):
        load(path)


# ---------------------------------------------------------------- scaling of recorded traces


@pytest.fixture
def busy(tmp_path):
    path = tmp_path / "busy.csv"
    rng = np.random.default_rng(8)
    rate = np.where(np.arange(0, 3600) % 1200 < 600, 1.0, 4.0)
    times = np.sort(np.repeat(np.arange(3600), rng.poisson(rate)) + rng.random(1))
    arrivals = OpenArrivals(times, rng.integers(100, 2000, len(times)), rng.integers(10, 300, len(times)), 0.0)
    write_trace(path, arrivals)
    return path, len(times)


@pytest.mark.parametrize("scale", [0.3, 0.99, 1.0, 1.5, 4.0])
def test_scaling_multiplies_requests_and_keeps_the_rate_curve(busy, scale):
    path, n = busy
    traffic = load(path, scale=scale)
    count = len(traffic.arrivals)
    assert count == pytest.approx(scale * n, rel=0.05)
    assert traffic.requests_read == n
    at = np.array(offsets(traffic))
    assert at.min() >= 0 and at.max() < traffic.end_s - traffic.start_s
    in_peaks = ((at % 1200) >= 600).mean()
    assert in_peaks == pytest.approx(0.8, abs=0.03)


def test_superposed_copies_do_not_coincide(busy):
    path, _ = busy
    times = load(path, scale=4.0).arrivals.times_s
    assert len(np.unique(times)) > 0.9 * len(np.unique(load(path).arrivals.times_s)) * 4


@pytest.mark.parametrize("mean_copies", [1.0, 8.0])
@pytest.mark.parametrize("profile", [M, S], ids=["M", "S"])
def test_mean_copies_is_the_mean_fluid_demand(busy, mean_copies, profile):
    path, _ = busy
    traffic = load(path, mean_copies=mean_copies, profile=profile)
    assert mean_demand(traffic, profile) == pytest.approx(mean_copies, rel=0.05)


def test_the_seed_decides_which_requests_are_kept(busy):
    path, _ = busy
    first, same, other = (load(path, scale=0.5, seed=seed).arrivals.times_s.tobytes() for seed in (1, 1, 2))
    assert first == same != other


# ---------------------------------------------------------------- ServeGen and tokens per minute


def servegen_files(folder, windows, tables, gzipped=False):
    rows = "".join(f"{start},{rate},1.0,{family},{shape},1.0\n" for start, rate, family, shape in windows)
    texts = {"pool_7.trace.csv": rows, "pool_7.tokens.json": json.dumps(tables)}
    for name, text in texts.items():
        data = gzip.compress(text.encode(), mtime=0) if gzipped else text.encode()
        (folder / (name + ".gz" * gzipped)).write_bytes(data)
    return folder / ("pool_7.trace.csv" + ".gz" * gzipped)


TABLES = {
    "0": {"input_tokens": "{100: 0.25, 300: 0.75}", "output_tokens": "{10: 1.0}", "reason_ratio": "{1: 1}"},
    "1200": {"input_tokens": "{}", "output_tokens": "{50: 0.5, 70: 0.5}"},
}
WINDOWS = [(0, 2.0, "Gamma", 0.5), (600, 0, "", 0), (1200, 1.0, "Weibull", 0.7), (1800, 0.0012, "", 0)]


@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gz"])
def test_servegen_counts_are_the_published_rates_and_sizes_the_published_tables(tmp_path, gzipped):
    traffic = load(servegen_files(tmp_path, WINDOWS, TABLES, gzipped))
    at = np.array(offsets(traffic))
    assert traffic.format == "servegen"
    assert np.histogram(at, [0, 600, 1200, 1800, 2400])[0].tolist() == [1200, 0, 600, 0]  # 0.72 requests are owed
    assert traffic.end_s - traffic.start_s == 2400
    early = at < 600
    tokens_in, tokens_out = traffic.arrivals.input_tokens, traffic.arrivals.output_tokens
    assert (tokens_in[early] == 300).mean() == pytest.approx(0.75, abs=0.05)
    assert set(tokens_in.tolist()) == {100, 300}  # an empty table means: as before
    assert set(tokens_out[early].tolist()) == {10}
    assert set(tokens_out[~early].tolist()) == {50, 70}


def test_servegen_gaps_follow_the_published_law(tmp_path):
    # Gamma with shape 0.25: coefficient of variation 2; exponential: 1
    for family, shape, cv in (("Gamma", 0.25, 2.0), ("", 0, 1.0), ("Weibull", 0.5, 5**0.5)):
        path = servegen_files(tmp_path, [(0, 20.0, family, shape)], TABLES)
        gaps = np.diff(load(path).arrivals.times_s)
        assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.08)


def test_a_part_of_a_drawn_trace_is_the_same_whichever_part_is_asked_for(tmp_path):
    for trace in (servegen_files(tmp_path, WINDOWS, TABLES), "generated:2h:bursty"):
        whole = load(trace, start_s=0.0).arrivals
        part = load(trace, start_s=0.0, offset_s=1200.0, duration_s=600.0).arrivals
        inside = (whole.times_s >= 1200) & (whole.times_s < 1800)
        assert part.times_s == pytest.approx(whole.times_s[inside] - 1200)
        assert part.input_tokens.tolist() == whole.input_tokens[inside].tolist()


def test_servegen_fractions_of_a_request_are_carried_over(tmp_path):
    path = servegen_files(tmp_path, [(600 * k, 0.001, "", 0) for k in range(100)], TABLES)
    assert len(load(path).arrivals) == 60


def test_servegen_scales_to_a_mean_demand(tmp_path):
    path = servegen_files(tmp_path, [(600 * k, 1.0 + k % 3, "Gamma", 0.8) for k in range(12)], TABLES)
    assert mean_demand(load(path, mean_copies=3.0)) == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (None, "put pool_7.tokens.json beside it"),
        ({}, "has no token tables"),
        ({"0": {"input_tokens": "[1, 2]", "output_tokens": "{}"}}, "expected periods"),
        ({"0": {"input_tokens": "{1: nan}", "output_tokens": "{}"}}, "expected periods"),
        ({"0": {"input_tokens": "{1: 0.5, 2}", "output_tokens": "{}"}}, "expected periods"),
        ({"soon": {"input_tokens": "{1: 1}", "output_tokens": "{1: 1}"}}, "expected periods"),
        ([1, 2], "expected periods"),
    ],
)
def test_servegen_needs_sound_token_tables(tmp_path, tables, message):
    path = servegen_files(tmp_path, WINDOWS, tables)
    if tables is None:
        (tmp_path / "pool_7.tokens.json").unlink()
    with pytest.raises(TraceError, match=message):
        load(path)


@pytest.mark.parametrize("row", ["600,-1,1,Gamma,0.5,1", "600,x,1,,0,0", "600", "600,1,1,Pareto,0.5,1", "0,1,1,,0,0"])
def test_servegen_broken_windows_are_counted(tmp_path, row):
    path = servegen_files(tmp_path, WINDOWS[:1], TABLES)
    path.write_text(path.read_text() + row + "\n")
    with pytest.raises(TraceError, match=r"1 of 2 rows are broken, more than 1% \(line 2: "):
        load(path)


def test_tokens_per_minute_become_requests_of_conversation_size(tmp_path):
    path = tmp_path / "week.tokens_per_minute.csv"
    path.write_text("minute,tokens_per_s\n" + "".join(f"{m},{20_000 if m < 30 else 5_000}\n" for m in range(60)))
    traffic = load(path)
    at = np.array(offsets(traffic))
    tokens = traffic.arrivals.input_tokens + traffic.arrivals.output_tokens
    assert (traffic.format, traffic.name, traffic.end_s - EPOCH_S) == ("tokens_per_minute", "week", 3600)
    assert tokens[at < 1800].sum() / 1800 == pytest.approx(20_000, rel=0.03)
    assert tokens[at >= 1800].sum() / 1800 == pytest.approx(5_000, rel=0.05)
    # Azure's 2023 conversation trace: 1,155 tokens in and 211 out on average, medians 1,020 and 129
    assert traffic.arrivals.input_tokens.mean() == pytest.approx(1155, rel=0.08)
    assert traffic.arrivals.output_tokens.mean() == pytest.approx(211, rel=0.08)
    assert mean_demand(load(path, mean_copies=2.5)) == pytest.approx(2.5, rel=0.06)


def test_tokens_per_minute_refuses_broken_minutes(tmp_path):
    path = tmp_path / "week.csv"
    for row in ("1,-5", "1.5,100", "0,100", "x,1", "1", "1,inf", "1e12,1"):
        path.write_text(f"minute,tokens_per_s\n0,100\n{row}\n")
        with pytest.raises(TraceError, match="1 of 2 rows are broken"):
            load(path)


# ---------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    ("pattern", "levels"),
    [
        ("2x3 40x2 2x1", (2, 2, 2, 40, 40, 2)),
        ("7", (7,)),
        ("2+1x4", (2, 3, 4, 5)),
        ("40-4x3 0x1", (40, 36, 32, 0)),
        ("1+0.5x4", (1, 2, 2, 3)),
        ("  3x1\n4x1 ", (3, 4)),
    ],
)
def test_a_pattern_is_demand_times_datapoints(pattern, levels):
    traffic = load(pattern)
    loop = traffic.arrivals
    assert (loop.levels, loop.step_s, loop.input_tokens, loop.output_tokens) == (levels, 10.0, 512, 128)
    assert (traffic.format, traffic.end_s - traffic.start_s) == ("pattern", 10 * len(levels))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("2x30 40y12", "there is no trace"),
        ("2x30 x12", "'x12' is not a term"),
        ("2x30 -4x2", "'-4x2' is not a term"),
        ("5-1x9", "leaves the range"),
        ("2x99999999", "more than 1000000 datapoints"),
        ("999999x1", "leaves the range"),
        ("2+1", r"'2\+1' is not a term"),
        ("2x", "'2x' is not a term"),
        ("1_x3", "'1_x3' is not a term"),
        ("2x0", "has no datapoint"),
    ],
)
def test_a_wrong_pattern_says_which_term(pattern, message):
    with pytest.raises(TraceError, match=message):
        load(pattern)


def test_a_pattern_can_be_scaled_and_cut():
    assert load("2x3 5x1", scale=1.5).arrivals.levels == (3, 3, 3, 8)
    assert load("1+1x6", offset_s=20.0, duration_s=30.0).arrivals.levels == (3, 4, 5)
    assert mean_demand(load("10x30 40x12", mean_copies=6.0)) == pytest.approx(6.0, rel=0.03)
    with pytest.raises(TraceError, match="multiples of 10 s"):
        load("1x6", duration_s=15.0)
    with pytest.raises(TraceError, match="no demand"):
        load("0x6", mean_copies=2.0)
    with pytest.raises(TraceError, match="leaves nothing"):
        load("1x6", offset_s=60.0)


# ---------------------------------------------------------------- generated traces


@pytest.mark.parametrize(
    "name", ["generated:day", "generated:12h:bursty", "generated:2d:onoff", "generated:day:shifting"]
)
def test_generated_traffic_has_its_mean_demand_and_a_heavy_tail(name):
    traffic = load(name, seed=3)
    assert mean_demand(traffic) == pytest.approx(4.0, rel=0.06)
    assert mean_demand(load(name, seed=3, mean_copies=1.5)) == pytest.approx(1.5, rel=0.08)
    tokens = traffic.arrivals.output_tokens
    assert np.percentile(tokens, 99) > 4 * np.median(tokens)
    assert (traffic.format, traffic.requests_read) == ("generated", 0)


def test_generated_traffic_is_the_same_for_a_seed_and_another_for_another():
    first, same, other = (load("generated:6h", seed=seed).arrivals.times_s.tobytes() for seed in (1, 1, 2))
    assert first == same != other


def per_minute(traffic):
    at = (traffic.arrivals.times_s - traffic.start_s) / 60
    return np.bincount(at.astype(int), minlength=round((traffic.end_s - traffic.start_s) / 60))


def test_the_day_has_a_wave_with_its_peak_in_the_afternoon():
    hours = per_minute(load("generated:week", mean_copies=2.0)).reshape(7, 24, 60).sum(axis=(0, 2))
    assert hours[15:18].mean() > 2.5 * hours[3:6].mean()


def test_bursts_are_several_times_the_level_and_last_minutes():
    counts = per_minute(load("generated:day:bursty", mean_copies=20.0))
    level = np.array([np.median(counts[max(0, k - 45) : k + 45]) for k in range(len(counts))])
    bursting = counts > 2.5 * level
    starts = (np.diff(bursting.astype(int)) == 1).sum()
    assert 8 <= starts <= 80
    assert 1.3 < bursting.sum() / starts < 8


def test_nights_are_empty_where_traffic_sleeps():
    counts = per_minute(load("generated:2d:onoff")).reshape(2, 24, 60).sum(axis=2)
    assert counts[:, [*range(7), *range(20, 24)]].sum() == 0
    assert counts[:, 7:20].min() > 0


def test_regimes_move_the_token_mix():
    arrivals = load("generated:day:shifting", seed=3).arrivals
    mixes = [part.mean() for part in np.array_split(arrivals.input_tokens / arrivals.input_tokens.mean(), 48)]
    assert max(mixes) > 1.6 * min(mixes)


def test_the_demo_has_quiet_a_ramp_a_burst_a_plateau_a_decline_and_idle_time():
    traffic = load("generated:demo")
    demand = fluid_demand(traffic.arrivals, M, start_s=EPOCH_S, end_s=traffic.end_s)
    stage = [demand[6 * a : 6 * b].mean() for a, b in ((2, 15), (32, 38), (57, 62), (65, 82), (95, 103), (106, 120))]
    quiet, ramp, burst, plateau, decline, idle = stage
    assert traffic.end_s - traffic.start_s == 7200
    assert quiet < ramp < plateau < burst
    assert burst == pytest.approx(4 * plateau, rel=0.2)
    assert decline < 0.6 * plateau
    assert idle == 0.0
    assert 4_000 < len(traffic.arrivals) < 20_000


@pytest.mark.parametrize(
    "name", ["generated:", "generated:5x", "generated:day:unknown", "generated:demo:chat", "generated:0m"]
)
def test_unknown_generated_traffic_is_refused_with_the_choices(name):
    with pytest.raises(TraceError, match="bursty|possible"):
        load(name)
