"""Fitting the service law to measurements, and saying how far off it is."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.bench.calibrate import calibrate, report
from simulator.traffic.rows import TraceError

# AWS's own measurements (aws-samples/sagemaker-genai-hosting-examples@80ee5eb, 07-benchmark; MIT-0), vanilla vLLM,
# multi-turn chat: fitted line, inter-token latency at 1 and at 32, tokens per second at 32.
FITS = """\
model,inst,opt,use,runs,in,out,alpha_ms,beta_ms,r2,itl_c1,itl_cmax,cmax,agg_tok_s
qwen3-32b,ml.g5.12xlarge,vanilla,multiturn_chat,24,522,600,44.57,0.954,0.982,43.9,73.9,32,431
qwen3-32b,ml.g6e.12xlarge,vanilla,multiturn_chat,12,537,556,27.35,0.655,0.992,26.8,47.9,32,666
qwen3-32b,ml.g7e.2xlarge,vanilla,multiturn_chat,64,522,600,46.81,0.399,0.974,47.6,60.3,32,530
qwen3-14b,ml.g7e.2xlarge,vanilla,tool_calling,6,0,193,16.99,0.083,0.47,17.5,19.6,32,1192
"""


def write(tmp_path, text):
    path = tmp_path / "measured.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_law_fits_measured_sagemaker_endpoints_within_six_percent(tmp_path):
    *good, poor = calibrate(write(tmp_path, FITS))
    assert [fit.label for fit in good] == [
        f"qwen3-32b ml.{kind} vanilla multiturn_chat" for kind in ("g5.12xlarge", "g6e.12xlarge", "g7e.2xlarge")
    ]
    for fit in good:
        assert len(fit.rows) == 3
        assert abs(fit.worst_error) <= 0.06
        assert all(row.is_within for row in fit.rows)
    # Not every row is good, and that is said, too: 19.65 ms by the line, 26.8 ms by the tokens per second.
    assert poor.worst_error == pytest.approx((16.99 + 0.083 * 32) / (32_000 / 1192) - 1)
    assert any("beyond 10%" in line for line in report([poor]))
    # And summed up: 9 good rows, and of the poor fit's three the one by tokens per second is beyond.
    summed = report([*good, poor])[-4:]
    assert summed[0].startswith("all 12 rows: 11 of 12 within 10%, median error 1.3 %, worst -26.8 %"), summed[0]
    assert summed[3].startswith("tokens per second, several requests: 3 of 4 within 10%")


def measured(a_s, b_s, g_s, d_s, noise=0.0):
    rng = np.random.default_rng(1)
    lines = ["model,instance,concurrency,input_tokens,output_tokens,ttft_s,e2e_s"]
    for n in (1, 2, 4, 8, 16, 32):
        for tokens_in in (100, 1000, 4000):
            itl_s = a_s + b_s * n
            ttft_s = g_s + d_s * tokens_in + itl_s
            e2e_s = ttft_s + 299 * itl_s * (1 + noise * rng.standard_normal())
            lines.append(f"llm,ml.g6.12xlarge,{n},{tokens_in},300,{ttft_s:.9f},{e2e_s:.9f}")
    return "\n".join(lines) + "\n"


def test_a_law_that_made_the_measurements_is_found_again(tmp_path):
    (fit,) = calibrate(write(tmp_path, measured(0.0275, 0.00065, 0.02, 0.0004)))
    assert (fit.a_s, fit.b_s) == (pytest.approx(0.0275, rel=1e-5), pytest.approx(0.00065, rel=1e-4))
    assert fit.prefill_base_s == pytest.approx(0.02, rel=1e-4)
    assert fit.prefill_s_per_token == pytest.approx(0.0004, rel=1e-4)
    assert fit.r2 == pytest.approx(1.0)
    assert abs(fit.worst_error) < 1e-6
    assert len(fit.rows) == 18


def test_noise_shows_in_the_stated_error_and_little_in_the_law(tmp_path):
    (fit,) = calibrate(write(tmp_path, measured(0.0275, 0.00065, 0.02, 0.0004, noise=0.05)))
    assert fit.a_s == pytest.approx(0.0275, rel=0.05)
    assert 0.02 < abs(fit.worst_error) < 0.2
    assert fit.r2 < 0.999


def test_repeats_of_one_measurement_are_one_row(tmp_path):
    text = "concurrency,output_tokens,itl_ms\n1,100,20\n1,100,22\n8,100,30\n"
    (fit,) = calibrate(write(tmp_path, text))
    assert [(row.concurrency, row.repeats) for row in fit.rows] == [(1.0, 2), (8.0, 1)]
    assert fit.rows[0].measured_s == pytest.approx(99 * 0.021)
    assert fit.prefill_s_per_token is None
    assert fit.label == "measurements"


def test_columns_are_known_by_the_names_that_others_use(tmp_path):
    # Names of SageServe's profiles.
    text = (
        "model,hardware,prompt_size,batch_size,token_size,prompt_time,token_time,e2e_time\n"
        "llama,a100,512,1,129,0.04,1.28,1.32\nllama,a100,512,8,129,0.05,1.536,1.586\n"
    )
    (fit,) = calibrate(write(tmp_path, text))
    assert fit.label == "llama a100"
    assert (fit.a_s + fit.b_s, fit.a_s + 8 * fit.b_s) == (pytest.approx(0.010), pytest.approx(0.012))


def test_models_and_instances_are_fitted_apart(tmp_path):
    text = (
        "model,instance,concurrency,output_tokens,itl_ms\n"
        "a,x,1,100,10\na,x,2,100,11\na,y,1,100,20\na,y,2,100,24\nb,x,1,100,5\nb,x,4,100,8\n"
    )
    fits = calibrate(write(tmp_path, text))
    assert [(fit.label, round(1e3 * fit.b_s, 6)) for fit in fits] == [("a x", 1.0), ("a y", 4.0), ("b x", 1.0)]


def test_the_document_has_the_names_of_a_profile(tmp_path):
    document = calibrate(write(tmp_path, measured(0.0275, 0.00065, 0.02, 0.0004)))[0].to_dict()
    assert {"a_s", "b_s", "prefill_base_s", "prefill_s_per_token", "worst_error", "rows"} <= set(document)
    assert {"concurrency", "measured_s", "predicted_s", "error"} <= set(document["rows"][0])


WRONG = [
    ("", "empty"),
    ("concurrency,itl_ms\n1,20\n", "no column for output_tokens"),
    ("concurrency,output_tokens,itl_ms\n", "no measurements"),
    ("concurrency,output_tokens,itl_ms\n4,100,20\n4,100,21\n", "at concurrency 4 only"),
    ("concurrency,output_tokens,itl_ms\n1,100,fast\n8,100,30\n", "line 2: itl_ms is not a number"),
    ("concurrency,output_tokens,itl_ms\n0,100,20\n8,100,30\n", "line 2: concurrency must be a number above 0"),
    ("concurrency,output_tokens\n1,100\n8,100\n", "line 2: no inter-token latency"),
    ("concurrency,output_tokens,itl_ms\n1,1,20\n8,1,30\n", "needs at least 2"),
    ("alpha_ms,beta_ms,concurrency,output_tokens\n20,1,32,100\n", "nothing measured beside the fit"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_cannot_be_fitted_is_named(tmp_path, text, message):
    with pytest.raises(TraceError, match=message):
        calibrate(write(tmp_path, text))
