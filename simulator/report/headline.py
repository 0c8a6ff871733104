"""The first thing a reader sees: one sentence in plain words, one more beneath it, and tiles of key numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.report import words
from simulator.report.result import counts_instances, known_number, ratio


@dataclass(frozen=True, slots=True)
class Tile:
    """One number with what it means."""

    label: str
    value: str
    context: str
    """A few words beside the number; may be empty."""
    explanation: str
    """One or two sentences for someone who sees the number for the first time."""
    bars: tuple[tuple[str, float], ...] = ()
    """Parts drawn under the number, as (series class, share of the width 0–1); empty for none."""


def headline(result: Mapping[str, object]) -> str:
    """ "Served 19,301 of 19,366 requests (99.7 %) within the SLO on 41.2 copy-hours: 1.21 × the clairvoyant optimum"."""
    requests = known_number(result, "requests")
    in_time, part = served_in_time(result), slo_attainment(result)
    if requests == 0:
        sentence = "No requests came"
    elif in_time is not None:
        sentence = (
            f"Served {words.count(in_time)} of {words.plural(requests, 'request')} ({words.share(part)}) within the SLO"
        )
    elif part is not None:
        of = "requests" if requests is None else words.plural(requests, "request")
        sentence = f"Served {words.share(part)} of {of} within the SLO"
    else:
        sentence = "How many requests were served within the SLO is not known"
    hours, unit = _hours(result)
    if hours is not None:
        sentence += f"{' ' if sentence.startswith('Served') else ', '}on {words.count(hours, digits=1)} {unit}"
    cost_vs_oracle = known_number(result, "cost_vs_oracle")
    if cost_vs_oracle is not None:
        sentence += f": {words.multiple(cost_vs_oracle)} the clairvoyant optimum"
    return sentence


def standfirst(result: Mapping[str, object]) -> str:
    """The sentences under the headline: what went wrong, how busy the scaling was. Parts that are not known are left out."""
    sentences = []
    lost, late = known_number(result, "lost"), known_number(result, "late")
    if lost is not None and late is not None and known_number(result, "requests"):
        if lost + late == 0:
            sentences.append("None came late and none was lost.")
        else:
            late_words = f"{words.count(late)} came late" if late else "None came late"
            lost_words = (
                f"{words.count(lost)} {'was' if lost == 1 else 'were'} never served" if lost else "none was lost"
            )
            sentences.append(f"{late_words}, {lost_words}.")
    outs, ins = known_number(result, "scale_outs"), known_number(result, "scale_ins")
    if outs is not None and ins is not None:
        unit = "instances" if counts_instances(result) else "copies"
        scaled = f"Scaled out {_times(outs)} and in {_times(ins)}."
        sentences.append(scaled if outs + ins else f"The number of {unit} never changed.")
    shortage = known_number(result, "longest_shortage_s")
    if shortage is not None:
        lasted = f"The longest stretch with too little capacity lasted {words.duration(shortage)}."
        sentences.append(lasted if shortage else "There was never too little capacity.")
    return " ".join(sentences)


def key_tiles(result: Mapping[str, object]) -> list[Tile]:
    """The four numbers that decide whether the run was good."""
    requests, lost, late = (known_number(result, key) for key in ("requests", "lost", "late"))
    in_time = served_in_time(result)
    vs_oracle, cost, oracle = (known_number(result, key) for key in ("cost_vs_oracle", "cost_usd", "oracle_cost_usd"))
    parts: tuple[tuple[str, float], ...] = ()
    if in_time is not None and requests:
        parts = (("in-time", in_time / requests), ("late", (late or 0) / requests), ("lost", (lost or 0) / requests))
    saved = () if not vs_oracle else (("optimum", min(1.0, 1 / vs_oracle)), ("above", max(0.0, 1 - 1 / vs_oracle)))
    return [
        Tile(
            "Within the SLO",
            words.share(slo_attainment(result)),
            f"{words.count(late)} late · {words.count(lost)} lost",
            "Share of all requests whose first token and whose whole answer came in time. Late requests were served, but over "
            "the limit; lost ones never were.",
            parts,
        ),
        Tile(
            "Cost against the optimum",
            words.multiple(vs_oracle),
            f"{words.usd(cost)} against {words.usd(oracle)}",
            "What this run paid, divided by what a planner would have paid who knew all traffic in advance. 1.00 × cannot be "
            "beaten: such a planner does not exist.",
            saved,
        ),
        Tile(
            "First token, 95th percentile",
            words.latency(known_number(result, "ttft_p95_s")),
            f"median {words.latency(known_number(result, 'ttft_p50_s'))} · p99 {words.latency(known_number(result, 'ttft_p99_s'))}",
            "Time to first token: how long a user looks at an empty answer. 95 of 100 requests waited no longer than this.",
        ),
        Tile(
            "Longest shortage",
            words.duration(known_number(result, "longest_shortage_s")),
            f"alarm after {words.duration(known_number(result, 'time_to_alarm_s'))} · capacity after {words.duration(known_number(result, 'scaling_time_s'))}",
            "The longest stretch without a break in which fewer copies served than demand needed. Instances and models take "
            "minutes to start, so a sudden burst always leaves some.",
        ),
    ]  # fmt: skip


def more_tiles(result: Mapping[str, object]) -> list[Tile]:
    """The remaining fields of the result, in the order of its definition."""
    number = {key: known_number(result, key) for key in _MORE}
    instances_only = counts_instances(result)
    unit = "instances" if instances_only else "copies"
    tiles = [
        Tile("Requests", words.count(number["requests"]), "", "All requests of the trace."),
        Tile("Copy-hours", words.count(number["copy_hours"], digits=1), "", "Copies that were running, added up over time. Two copies for half an hour are one copy-hour."),
        Tile("Instance-hours", words.count(number["instance_hours"], digits=1), "", "What the account is billed for: from the launch of an instance to its release, idle or not."),
        Tile("Cost", words.usd(number["cost_usd"]), "", "Instance-hours at the price of the instance type."),
        Tile("Cost of the optimum", words.usd(number["oracle_cost_usd"]), "", "The cheapest plan with perfect knowledge of the future: the lower bound."),
        Tile("Scale-outs", words.count(number["scale_outs"]), "", f"Decisions that asked for more {unit}."),
        Tile("Scale-ins", words.count(number["scale_ins"]), "", f"Decisions that asked for fewer {unit}."),
        Tile("Changes", words.count(number["changes"]), "", f"{unit.capitalize()} started and stopped. Each costs a start-up time, so fewer is calmer."),
        Tile("Time to alarm", words.duration(number["time_to_alarm_s"]), "", "From a rise in demand to the alarm that reports it."),
        Tile("Scaling time", words.duration(number["scaling_time_s"]), "", f"From the alarm to the new {unit} in service."),
        Tile("Too little, by how much", words.percent(number["theta_u"]), "θU", "Mean missing capacity relative to demand over the run (SPEC elasticity metric θU). 0 % is best."),
        Tile("Too much, by how much", words.percent(number["theta_o"]), "θO", "Mean surplus capacity relative to demand over the run (SPEC elasticity metric θO)."),
        Tile("Too little, how often", words.percent(number["tau_u"]), "τU", "Share of the time with less capacity than demand needed (SPEC elasticity metric τU)."),
        Tile("Too much, how often", words.percent(number["tau_o"]), "τO", "Share of the time with more capacity than demand needed (SPEC elasticity metric τO)."),
        Tile("Instability", words.percent(number["instability"]), "υ", "Share of the time in which supply moved while demand did not, or the other way (SPEC elasticity metric υ)."),
    ]  # fmt: skip
    return [
        tile for tile in tiles if not (instances_only and tile.label == "Copy-hours" and number["copy_hours"] is None)
    ]


def served_in_time(result: Mapping[str, object]) -> float | None:
    """Requests neither late nor lost; None unless all three counts are known."""
    counts = [known_number(result, key) for key in ("requests", "lost", "late")]
    return None if None in counts else counts[0] - counts[1] - counts[2]


def slo_attainment(result: Mapping[str, object]) -> float | None:
    """Share of requests served within the SLO, 0–1: as the result says, else from its counts."""
    said = ratio(result, "slo_attainment")
    in_time, requests = served_in_time(result), known_number(result, "requests")
    return in_time / requests if said is None and in_time is not None and requests else said


_MORE = (
    "requests", "copy_hours", "instance_hours", "cost_usd", "oracle_cost_usd", "scale_outs", "scale_ins", "changes",
    "time_to_alarm_s", "scaling_time_s", "theta_u", "theta_o", "tau_u", "tau_o", "instability",
)  # fmt: skip


def _hours(result: Mapping[str, object]) -> tuple[float | None, str]:
    copy_hours = known_number(result, "copy_hours")
    if copy_hours is not None and not counts_instances(result):
        return copy_hours, "copy-hours"
    return known_number(result, "instance_hours"), "instance-hours"


def _times(value: float) -> str:
    return {1: "once", 2: "twice"}.get(value, f"{words.count(value)} times")
