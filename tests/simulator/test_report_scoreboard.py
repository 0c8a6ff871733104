"""The scoreboard: costs at equal service, honest about levels that a policy never reaches."""

from __future__ import annotations

import math
import random

import pytest

from simulator.report.scoreboard import cost_curves, geometric_mean, render_scoreboard, scoreboard_headline

TRACES = ("azure-2023-conv", "burstgpt <week>", "m-large c61", "m-mid c5", "m-small c31")
EXCESS = {"quickstep": 0.22, "K8s HPA": 0.42, "AIBrix APA": 0.44, "Knative KPA": 0.7, "Ray Serve": 0.66, "KEDA": 0.5,
          "AAS target tracking 10 s": 0.75, "AAS step scaling": 0.95, "clairvoyant plan": 0.03}  # fmt: skip


def made_up_benchmark() -> tuple[list[dict], dict]:
    """Runs and frontier of policies that pay more the further they reach; two of them never get to the top."""
    draw = random.Random(3)
    runs, frontier = [], {}
    for trace in TRACES:
        frontier[trace] = {}
        for policy, excess in EXCESS.items():
            hard = draw.uniform(0.8, 1.25)
            ceiling = 0.985 if policy in ("Knative KPA", "AAS step scaling") else 1.0
            cost = lambda slo, excess=excess, hard=hard: 1 + excess * hard * (-math.log10(1 - slo)) ** 1.4 / 2.2  # noqa: E731
            frontier[trace][policy] = {
                level: cost(float(level) / 100) if float(level) / 100 <= ceiling else None
                for level in ("95", "98", "99", "99.5")
            }
            for knob in range(2, 10):
                slo = min(ceiling, 1 - 10 ** -(3.6 - knob * 0.3))
                noisy = cost(min(slo, 0.9999)) + draw.gauss(0, 0.015) + (0.3 if slo == ceiling else 0)
                runs.append({"policy": policy, "trace": trace, "knob": knob / 10, "seed": 1, "requests": 2_300_000, "lost": 12, "late": int(2_300_000 * (1 - slo)),
                             "slo_attainment": slo, "cost_vs_oracle": noisy, "cost_usd": noisy * 9_400, "instance_hours": noisy * 1_569, "ttft_p95_s": 0.4 + knob / 10,
                             "ttft_p99_s": 1.1, "theta_u": 2.2, "theta_o": 30.0, "tau_u": 4.0, "tau_o": 80.0, "instability": None, "changes": 431})  # fmt: skip
    return runs, frontier


def test_the_same_benchmark_gives_the_same_bytes_whatever_the_order_of_policies():
    runs, frontier = made_up_benchmark()
    turned = {trace: dict(reversed(by_policy.items())) for trace, by_policy in reversed(frontier.items())}
    assert render_scoreboard(runs, frontier) == render_scoreboard(*made_up_benchmark())
    assert render_scoreboard(runs, turned) == render_scoreboard(runs, frontier)


@pytest.mark.parametrize(
    ("costs", "mean"),
    [([1.0, 4.0], 2.0), ([1.25], 1.25), ([1.2, None], None), ([], None)],
)
def test_a_level_not_reached_on_one_trace_has_no_mean(costs, mean):
    assert geometric_mean(costs) == (None if mean is None else pytest.approx(mean))


def test_a_level_that_is_never_reached_says_so_and_is_not_a_number():
    html = render_scoreboard([], {"t": {"quickstep": {"95": 1.1, "98": 1.2, "99": None, "99.5": None}}})
    tables = html.split('class="level"')[1:]
    assert [table.count(">not reached<") for table in tables] == [0, 0, 3, 3]
    assert ">1.20<" in tables[1]


def test_the_lowest_cost_is_marked_but_a_plan_that_knows_the_future_is_no_rival():
    html = render_scoreboard(
        [], {"t": {"quickstep": {"98": 1.2}, "peer": {"98": 1.4}, "clairvoyant plan": {"98": 1.02}}}
    )
    best = [row for row in html.split("<tr")[1:] if "best" in row and "1.20" in row]
    assert len(best) == 1
    assert 'class="summary best">1.02' not in html
    assert 'class="best">1.02' not in html


@pytest.mark.parametrize(
    ("frontier", "sentence"),
    [
        ({"a": {"quickstep": {"98": 1.2}, "peer": {"98": 1.4}}}, "At 98 % SLO attainment quickstep costs 1.20 × the clairvoyant optimum (mean of 1 trace); the best peer, peer, costs 1.40 ×"),
        ({"a": {"quickstep": {"98": 1.5}, "peer": {"98": 1.4}}}, "At 98 % SLO attainment quickstep costs 1.50 × the clairvoyant optimum (mean of 1 trace); the best peer, peer, costs 1.40 ×"),
        ({"a": {"quickstep": {"98": 1.2}, "peer": {"98": None}, "oracle": {"98": 1.0}}}, "At 98 % SLO attainment quickstep costs 1.20 × the clairvoyant optimum (mean of 1 trace); no peer gets there on every trace"),
        ({"a": {"quickstep": {"98": None, "95": 1.1}}}, "At 95 % SLO attainment quickstep costs 1.10 × the clairvoyant optimum (mean of 1 trace)"),
        ({"a": {"peer": {"98": 1.2}}}, "What each policy costs for the service level it reaches"),
    ],
)  # fmt: skip
def test_the_headline_compares_with_the_best_peer_also_when_it_is_better(frontier, sentence):
    assert scoreboard_headline(frontier) == sentence


def test_a_curve_is_the_mean_over_seeds_and_its_front_is_never_beaten_by_a_cheaper_point():
    def run(knob, seed, cost, slo):
        return {"trace": "t", "policy": "p", "knob": knob, "seed": seed, "cost_vs_oracle": cost, "slo_attainment": slo}

    runs = [
        run(0.3, 1, 2.0, 0.99),
        run(0.5, 1, 1.4, 0.98),
        run(0.5, 2, 1.6, 0.96),
        run(0.7, 1, 1.7, 0.95),
        run(0.9, 1, None, 0.9),
    ]
    points = cost_curves(runs)["t"]["p"]
    assert [(point["knob"], point["cost"], point["slo"], point["seeds"], point["front"]) for point in points] == [
        ("0.5", 1.5, 0.97, 2, True),
        ("0.7", 1.7, 0.95, 1, False),
        ("0.3", 2.0, 0.99, 1, True),
    ]


def test_names_of_traces_and_policies_cannot_become_markup():
    name = "</script><script>alert(1)</script>"
    run = {"trace": name, "policy": name, "knob": name, "seed": 1, "cost_vs_oracle": 1.2, "slo_attainment": 0.99}
    html = render_scoreboard([run], {name: {name: {"98": 1.2}}})
    assert html.count("<script") == html.count("</script") == 2
    assert "alert(1)<" not in html


def test_a_percentage_in_place_of_a_ratio_is_refused_by_name():
    with pytest.raises(ValueError, match=r"runs\[0\].slo_attainment"):
        render_scoreboard([{"trace": "t", "policy": "p", "slo_attainment": 98.0}], {})
