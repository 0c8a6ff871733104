"""The report of a run as a page: safe, self-contained, the same bytes for the same result, small enough for a mail."""

from __future__ import annotations

import json
import math
import random
import re
from html.parser import HTMLParser

import pytest

from simulator.report import render_report, write_report

HOUR_S = 3_600


def made_up_result(*, hours: float = 2, components: tuple[str, ...] = ("",), seed: int = 7) -> dict:
    """A result with the shape and the texture of a real run: a day's swell, bursts, copies that take minutes, refusals."""
    draw = random.Random(seed)
    timeline, decisions, alarms, events = [], [], [], []
    for component in components:
        current, wish, per_copy = 2, 2, 8.0
        coming: list[tuple[float, int]] = []
        instances, alarm, calm_since = 2, "INSUFFICIENT_DATA", 0.0
        bursts = [
            (draw.uniform(0, hours * HOUR_S), draw.uniform(300, 1_500), draw.uniform(12, 45))
            for _ in range(math.ceil(hours * 0.8) + 1)
        ]
        high = f"prod--{component or 'chat'}-high"
        for tick in range(int(hours * 360)):
            t = tick * 10
            swell = (
                18
                + 14 * math.sin(2 * math.pi * (t / 86_400 - 0.3))
                + sum(size for at, long, size in bursts if at <= t < at + long)
            )
            demand = max(0.0, swell + draw.gauss(0, 1.6)) if not 2_000 <= t < 2_060 else None
            for at, copies in [item for item in coming if item[0] <= t]:
                current = copies
                events.append(
                    {"t": t, "what": "copies in service", "detail": f"{copies} copies of {component or 'chat'} serve"}
                )
                coming.remove((at, copies))
            in_flight = (demand if demand is not None else swell) * (1.0 if swell < current * per_copy * 1.1 else 1.35)
            needed = swell / per_copy
            over = needed > current
            timeline.append(
                {"t": t, "demand": demand, "in_flight": in_flight, "desired": wish, "current": current, "instances_desired": max(2, wish),
                 "instances": instances, "needed": needed, "per_copy": per_copy, "ttft_p95_s": 0.3 + (draw.uniform(4, 30) if over else draw.uniform(0, 0.15)),
                 "lost": draw.randrange(4) if needed > current * 1.4 else 0, "cost_per_hour_usd": instances * 7.09,
                 **({"component": component} if component else {})}
            )  # fmt: skip
            state = "ALARM" if in_flight > wish * per_copy * 0.9 else "OK"
            if state != alarm:
                alarms.append(
                    {
                        "name": high,
                        "t": t,
                        "from": alarm,
                        "to": state,
                        "reason": f"Threshold Crossed: 1 datapoint [{in_flight:.1f}] against {per_copy}",
                    }
                )
                alarm = state
            calm_since = t if needed * 1.2 > wish - 1 else calm_since
            asked = max(1, min(12, math.ceil(needed * 1.15)))
            to, reason, outcome = wish, "AlreadyAtDesiredCapacity", "held"
            if asked > wish:
                to, reason, outcome = asked, "Demand", "refused" if draw.random() < 0.12 else "applied"
            elif asked < wish and t - calm_since > 300:
                to, reason, outcome = wish - 1, "Demand", "applied"
            elif asked < wish:
                reason = "ScaleInHold"
            if tick % 6 == 0 or to != wish:
                decisions.append(_decision(t, component, to, wish, current, reason, outcome, asked, in_flight))
            if to != wish and outcome == "applied":
                events.append({"t": t, "what": "instances asked", "detail": f"{wish} → {to} instances"})
                coming = [(t + draw.lognormvariate(math.log(258), 0.25) if to > wish else t + 40, to)]
                wish, calm_since = to, t
                instances = max(instances, to) if to > instances else to
            elif to != wish:
                events.append(
                    {
                        "t": t,
                        "what": "refused: insufficient capacity",
                        "detail": "ml.g5.12xlarge is not available in us-east-1a now",
                    }
                )
    timeline.sort(key=lambda row: (row["t"], row.get("component", "")))
    requests, lost = int(len(timeline) * 26.9), sum(row["lost"] for row in timeline)
    late = sum(row["ttft_p95_s"] > 2 for row in timeline)
    return {
        "policy": "quickstep", "trace": "azure_2023_conv.csv.gz", "scenario": "single component, fixed instances", "seed": seed,
        "requests": requests, "lost": lost, "late": late, "slo_attainment": (requests - lost - late) / requests,
        "ttft_p50_s": 0.312, "ttft_p95_s": 0.944, "ttft_p99_s": 8.71, "copy_hours": sum(row["current"] for row in timeline) / 360,
        "instance_hours": sum(row["instances"] for row in timeline) / 360, "cost_usd": sum(row["cost_per_hour_usd"] for row in timeline) / 360,
        "oracle_cost_usd": sum(row["cost_per_hour_usd"] for row in timeline) / 360 / 1.2093, "cost_vs_oracle": 1.2093,
        "theta_u": 3.21, "theta_o": 24.7, "tau_u": 6.4, "tau_o": 71.2, "instability": None,
        "scale_outs": sum(d["desired"] > d["baseline"] for d in decisions), "scale_ins": sum(d["desired"] < d["baseline"] for d in decisions),
        "changes": 24, "time_to_alarm_s": 20, "scaling_time_s": 281.4, "longest_shortage_s": 290,
        "timeline": timeline, "decisions": decisions, "alarms": alarms, "events": events,
        "target": {"per_copy": 8.0, "min": 1, "max": 12, "mode": "fixed", "instance_type": "ml.g5.12xlarge", "unit": "copies"},
        "notes": ["Instances take 258 s (median) from launch to service; the region never runs out of them here.", "Prices are on-demand, us-east-1."],
    }  # fmt: skip


def _decision(t, component, to, wish, current, reason, outcome, asked, in_flight) -> dict:
    steps = [
        {"stage": "demand", "recommended": asked, "reason": "Demand", "detail": f"{in_flight:.1f} in flight, 8 per copy, sized for {asked} copies",
         "inputs": {"in_flight": in_flight, "per_copy": 8, "statistic": "Average", "datapoint_age_s": 10}},
        {"stage": "step_scaling", "recommended": max(asked, to), "reason": "StepAdjustment", "detail": "metric 47, threshold 20, breach 27, step [20, ∞): +2", "inputs": {"breach": 27, "steps": [[0, 10, 1], [20, None, 2]]}},
        {"stage": "pending", "recommended": max(asked, to), "reason": "PendingCapacity", "detail": f"{max(0, wish - current)} already on their way", "inputs": {}},
        {"stage": "stabilization", "recommended": to, "reason": "ScaleInHold" if reason == "ScaleInHold" else "Unchanged", "detail": "highest recommendation of the last 300 s", "inputs": {"window_s": 300}},
        {"stage": "bounds", "recommended": to, "reason": "Unchanged", "detail": "between 1 and 12", "inputs": {"min": 1, "max": 12}},
    ]  # fmt: skip
    return {"t": t, "component": component, "desired": to, "baseline": wish, "current": current, "reason": reason,
            "detail": f"{in_flight:.1f} requests in flight want {asked} copies at 8 each; {wish} asked for, {current} in service.",
            "steps": steps, "outcome": outcome, "outcome_detail": "InsufficientInstanceCapacity" if outcome == "refused" else ""}  # fmt: skip


class _Page(HTMLParser):
    """What a browser would see: tags with their attributes, and the text of each script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._open.append(tag)
            if tag == "script":
                self.scripts.append("")

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._open.pop()

    def handle_data(self, data):
        if self._open == ["script"]:
            self.scripts[-1] += data
        elif not self._open:
            self.words.append(data)

    @property
    def data(self) -> dict:
        return json.loads(self.scripts[0])

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split()).replace("\u00a0", " ").replace("\u2011", "-")


def test_the_same_result_gives_the_same_bytes():
    assert render_report(made_up_result()) == render_report(made_up_result())


def test_the_order_of_keys_in_the_result_does_not_change_the_page():
    result = made_up_result(hours=1)
    assert render_report(dict(reversed(result.items()))) == render_report(result)


def test_a_written_report_holds_exactly_the_rendered_bytes(tmp_path):
    result = made_up_result(hours=0.5)
    write_report(result, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == render_report(result).encode()


def test_a_week_of_ten_second_rows_fits_in_three_megabytes():
    result = made_up_result(hours=168)
    assert len(result["timeline"]) == 60_480
    assert len(render_report(result).encode()) < 3_000_000


def test_a_week_of_wordy_decisions_fits_in_three_megabytes_and_says_what_was_left_out():
    result = made_up_result(hours=24)
    wordy = [
        {
            "stage": f"stage {i}",
            "recommended": i,
            "reason": "Demand",
            "detail": "word " * 60,
            "inputs": {"a": i, "b": "x" * 50},
        }
        for i in range(14)
    ]
    # Alternating reasons, so that nothing can be grouped.
    result["decisions"] = [
        {"t": 10 * i, "desired": 3, "baseline": 3, "current": 3, "reason": ("Demand", "ScaleInHold")[i % 2], "detail": "because " * 20, "steps": wordy, "outcome": "held"}
        for i in range(9_000)
    ]  # fmt: skip
    html = render_report(result)
    decisions = _Page(html).data["decisions"]
    assert len(html.encode()) < 3_000_000
    assert decisions["total"] == 9_000
    assert decisions["left_out"] + len(decisions["rows"]) == 9_000
    assert decisions["unexplained"] == sum("steps" not in row for row in decisions["rows"]) > 0


HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&amp;<!-- \u2028 {{data}} {{headline}}'


def test_text_from_the_result_can_become_neither_markup_nor_code():
    benign, hostile = (
        made_up_result(hours=0.5, components=("one", "two")),
        made_up_result(hours=0.5, components=(HOSTILE, "two")),
    )
    for field in ("policy", "trace", "scenario"):
        hostile[field] = HOSTILE
    hostile["notes"] = [HOSTILE, HOSTILE]
    hostile["target"]["instance_type"] = hostile["target"]["mode"] = HOSTILE
    hostile["events"][0].update(what=HOSTILE, detail=HOSTILE)
    hostile["decisions"][0].update(reason=HOSTILE, detail=HOSTILE, outcome=HOSTILE, outcome_detail=HOSTILE)
    hostile["decisions"][0]["steps"][0].update(stage=HOSTILE, reason=HOSTILE, detail=HOSTILE, inputs={HOSTILE: HOSTILE})
    page = _Page(render_report(hostile, title=HOSTILE))
    plain = _Page(render_report(benign))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert page.scripts[1:] == plain.scripts[1:]
    assert {component["name"] for component in page.data["components"]} == {HOSTILE, "two"}
    assert page.data["decisions"]["rows"][0]["detail"] == HOSTILE


def test_the_data_block_contains_no_character_that_could_end_it():
    data = _Page(render_report(made_up_result(hours=0.5, components=("<b>&</b>", "two")))).scripts[0]
    assert not set("<>&\u2028\u2029") & set(data)


def test_the_page_asks_for_nothing_and_allows_only_its_own_script_and_style():
    html = render_report(made_up_result(hours=0.5))
    page = _Page(html)
    links = [
        value
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data")
    ]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(
        r"url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)",
        html.replace('url("#', "url(#").replace("url(#${", "url(#"),
    )
    policy = next(
        attributes["content"]
        for tag, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_hashes_of_the_policy_are_those_of_the_script_and_style_in_the_page():
    from base64 import b64encode
    from hashlib import sha256

    html = render_report(made_up_result(hours=0.5))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    for kind in ("script", "style"):
        content = re.findall(rf"<{kind}>(.*?)</{kind}>", html, flags=re.DOTALL)
        assert len(content) == 1
        assert f"{kind}-src 'sha256-{b64encode(sha256(content[0].encode()).digest()).decode()}'" in policy


def test_no_element_carries_a_style_or_a_handler_that_the_policy_would_block():
    page = _Page(render_report(made_up_result(hours=0.5)))
    assert not [name for _, attributes in page.tags for name in attributes if name == "style" or name.startswith("on")]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "Served 19,301 of 19,366 requests (99.7 %) within the SLO on 41.2 copy-hours: 1.21 × the clairvoyant optimum"),
        ({"cost_vs_oracle": None}, "Served 19,301 of 19,366 requests (99.7 %) within the SLO on 41.2 copy-hours"),
        ({"late": None}, "Served 99.7 % of 19,366 requests within the SLO on 41.2 copy-hours: 1.21 × the clairvoyant optimum"),
        ({"slo_attainment": None}, "Served 19,301 of 19,366 requests (99.7 %) within the SLO on 41.2 copy-hours: 1.21 × the clairvoyant optimum"),
        ({"requests": None, "copy_hours": None}, "Served 99.7 % of requests within the SLO on 20.5 instance-hours: 1.21 × the clairvoyant optimum"),
        ({"target": {"mode": "variant"}}, "Served 19,301 of 19,366 requests (99.7 %) within the SLO on 20.5 instance-hours: 1.21 × the clairvoyant optimum"),
        ({"requests": 0, "lost": 0, "late": 0, "slo_attainment": None, "cost_vs_oracle": None}, "No requests came, on 41.2 copy-hours"),
        ({"requests": 1, "lost": 0, "late": 0, "slo_attainment": 1, "copy_hours": 1}, "Served 1 of 1 request (100 %) within the SLO on 1.0 copy-hours: 1.21 × the clairvoyant optimum"),
    ],
)  # fmt: skip
def test_the_headline_says_the_numbers_that_are_known_and_no_others(changes, sentence):
    numbers = {
        "requests": 19_366,
        "lost": 12,
        "late": 53,
        "slo_attainment": 19_301 / 19_366,
        "copy_hours": 41.23,
        "instance_hours": 20.5,
        "cost_vs_oracle": 1.2093,
    }
    page = _Page(render_report({**numbers, **changes}))
    assert sentence in page.text


def test_a_result_of_which_nothing_is_known_prints_dashes_and_never_a_zero():
    page = _Page(render_report(dict.fromkeys(made_up_result(hours=0.5))))
    values = re.findall(r'class="value">([^<]*)<', render_report(dict.fromkeys(made_up_result(hours=0.5))))
    assert len(values) == 19
    assert set(values) == {"–"}
    assert "How many requests were served within the SLO is not known" in page.text
    assert page.data["components"] == []


def test_a_known_zero_is_a_zero():
    html = render_report(
        {"requests": 100, "lost": 0, "late": 0, "slo_attainment": 1.0, "longest_shortage_s": 0, "time_to_alarm_s": None}
    )
    assert "None came late and none was lost. There was never too little capacity." in html.replace("\u00a0", " ")
    assert '<span class="value">0\u00a0s</span>' in html


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"slo_attainment": 99.7}, "slo_attainment"),
        ({"cost_usd": float("nan")}, "cost_usd"),
        ({"requests": "many"}, "requests"),
        ({"timeline": [{"t": 0}, {"t": 10, "demand": float("inf")}]}, r"timeline\[1\].demand"),
        ({"timeline": [{"t": 10}, {"t": 10}]}, r"timeline\[1\].t"),
        ({"timeline": [{"demand": 3}]}, r"timeline\[0\].t"),
        ({"decisions": [{"t": 3}]}, r"decisions\[0\].desired"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_by_name(fields, named):
    with pytest.raises(ValueError, match=named):
        render_report(fields)


def test_every_explanation_of_a_tile_is_tied_to_it_for_screen_readers():
    page = _Page(render_report(made_up_result(hours=0.5)))
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    tiles = [attributes for tag, attributes in page.tags if attributes.get("class") == "tile"]
    assert len(tiles) == 19
    assert all(tile["tabindex"] == "0" and tile["aria-describedby"] in ids for tile in tiles)


def test_the_page_names_what_is_needed_to_run_it_again():
    from quickstep import __version__

    text = _Page(render_report(made_up_result(hours=0.5, seed=11))).text
    for part in ("Trace azure_2023_conv.csv.gz", "Seed 11", "Policy quickstep", f"Quickstep {__version__}"):
        assert part in text
