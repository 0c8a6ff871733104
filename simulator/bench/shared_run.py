"""One run on a shared endpoint: every component with its own policy, all on the same instances."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from simulator.aws.sagemaker_delays import DelayStream
from simulator.bench.compiled_fleet import CompiledFleet
from simulator.bench.component import Component
from simulator.bench.endpoint import AAS_RELEASE_S, Endpoint
from simulator.bench.peers_drive import peer_looks
from simulator.bench.platform import counts_at
from simulator.bench.prepare import Prepared
from simulator.bench.run import AAS, ANCHORS, OURS, SAGEMAKER, RunSpec
from simulator.bench.run import _deviations as deviations
from simulator.bench.run import _rounded as rounded
from simulator.bench.scores import DAY_S
from simulator.bench.shared_ours import Part, drive_ours_together
from simulator.bench.shared_slices import PreparedShared, SharedSlice
from simulator.oracle import PERIOD_S
from simulator.peers.registry import make_peer
from simulator.peers.view import SAGEMAKER_SENSING, Peer, Sensing
from simulator.score import TTFT_PREFILLS, TTFT_SLO_S, request_figures, supply_figures


def run_shared(prepared: PreparedShared, spec: RunSpec) -> dict[str, Any]:
    """Run `spec` on every component of the endpoint; result.json's object with `knob`, and `components`.

    ValueError for a policy that is neither ours nor a peer.
    """
    name = spec.policy.removesuffix(SAGEMAKER)
    if name in ANCHORS:
        raise ValueError(f"policy {spec.policy!r} is a yardstick of one component; choose ours or a peer")
    if spec.policy in OURS:
        endpoint, components = _built(prepared, spec, managed=spec.policy.endswith("-managed"), release_s=AAS_RELEASE_S)
        parts = [Part(component, one) for component, one in zip(components, prepared.components, strict=True)]
        drive_ours_together(endpoint, parts, spec, prepared.length_s)
    else:
        peers = [_peer(one, spec) for one in prepared.components]
        release_s = AAS_RELEASE_S if name.startswith(AAS) else spec.options.peer_release_s
        window_s = peers[0].sensing.point_s
        endpoint, components = _built(prepared, spec, managed=True, release_s=release_s, window_s=window_s)
        looks = [peer_looks(c, peer, prepared.length_s) for c, peer in zip(components, peers, strict=True)]
        drive_together(endpoint, looks)
    about = {
        "policy": spec.policy,
        "trace": prepared.slice.name,
        "scenario": ", ".join([_layout(prepared.slice), *deviations(prepared.components[0], spec)]),
        "seed": prepared.seed,
        "knob": spec.knob,
    }
    figures = _figures(prepared, endpoint, components)
    figures = {name: rounded(value) for name, value in figures.items()}
    return about | figures | {"components": [_one(c) for c in components], "timeline": []}


def drive_together(endpoint: Endpoint, looks: Sequence[Generator[float, np.ndarray, None]]) -> None:
    """Let several policies look in turn, each when it is due, until all are over (`peer_looks`).

    Of those that are due at the same moment the first component's comes first.
    """
    due: list[float | None] = [next(one) for one in looks]
    kept: list[list[np.ndarray]] = [[] for _ in looks]
    while (coming := [at_s for at_s in due if at_s is not None]) != []:
        until_s = min(coming)
        for rows, ended in zip(kept, endpoint.advance(until_s), strict=True):
            if len(ended):
                rows.append(ended.copy())  # the engine writes over them
        for number, look in enumerate(looks):
            if due[number] == until_s:
                rows, kept[number] = kept[number], []
                try:
                    due[number] = look.send(np.concatenate(rows) if rows else np.zeros((0, 1)))
                except StopIteration:
                    due[number] = None


def _built(
    prepared: PreparedShared, spec: RunSpec, *, managed: bool, release_s: float, window_s: float = PERIOD_S
) -> tuple[Endpoint, list[Component]]:
    options, per_instance = spec.options, prepared.slice.copies_per_instance
    first = [_bounded(one, int(one.needed[0])) for one in prepared.components]
    least = sum(one.slice.min_copies for one in prepared.components)
    min_instances = 1 if not managed else min(1, least)
    endpoint = Endpoint(
        DelayStream(options.delays(), prepared.seed),
        instances=max(-(-sum(first) // per_instance), min_instances),
        min_instances=min_instances,
        max_instances=-(-sum(one.slice.max_copies for one in prepared.components) // per_instance),
        copies_per_instance=per_instance,
        managed=managed,
        release_s=release_s,
    )
    components = []
    for one, copies in zip(prepared.components, first, strict=True):
        fleet = CompiledFleet(
            one.profile,
            one.trace,
            options.routing,
            client_timeout_s=options.client_timeout_s,
            retry_interval_s=options.retry_interval_s,
            seed=one.seed,
            window_s=window_s,
        )
        components.append(
            Component(
                fleet,
                endpoint,
                copies=copies,
                min_copies=one.slice.min_copies,
                max_copies=one.slice.max_copies,
                name=one.slice.name,
                one_update_at_a_time=options.one_update_at_a_time,
            )
        )
    endpoint.settle()
    return endpoint, components


def _layout(one: SharedSlice) -> str:
    profiles = "+".join(component.profile for component in one.components)
    return f"profile {profiles} on instances of {one.copies_per_instance}"


def _bounded(one: Prepared, copies: int) -> int:
    return max(one.slice.min_copies, min(one.slice.max_copies, copies))


def _peer(one: Prepared, spec: RunSpec) -> Peer:
    name, sensing = spec.policy.removesuffix(SAGEMAKER), "sagemaker" if spec.policy.endswith(SAGEMAKER) else "native"
    if spec.knob is None:
        raise ValueError(f"policy {spec.policy} needs a knob: its target as a share of C*")
    peer = make_peer(
        name,
        target_per_copy=spec.knob * spec.target_factor * one.concurrency,
        min_copies=one.slice.min_copies,
        max_copies=one.slice.max_copies,
        sensing=sensing,
        **({"statistic": spec.statistic} if spec.statistic is not None and name.startswith(AAS) else {}),
    )
    if peer.sensing == SAGEMAKER_SENSING:
        peer.sensing = Sensing(SAGEMAKER_SENSING.point_s, spec.options.publish_delay_s)
    return peer


def _figures(prepared: PreparedShared, endpoint: Endpoint, components: Sequence[Component]) -> dict[str, Any]:
    """Figures of all components together, by the names of a run on one."""
    ends_s = np.arange(1, len(prepared.needed) + 1) * PERIOD_S
    copies = np.sum([counts_at(one.supply, ends_s) for one in components], axis=0)
    asked = np.array([counts_at(one.asked, ends_s) for one in components])
    good, late, lost = np.sum([one.fleet.judged(TTFT_SLO_S, TTFT_PREFILLS) for one in components], axis=0).tolist()
    requests = sum(one.fleet.arrived for one in components)
    ttft_s = np.concatenate([one.fleet.ttft_s() for one in components])
    supply = supply_figures(
        copies,
        counts_at(endpoint.billed, ends_s),
        asked.sum(axis=0),
        needed=prepared.needed,
        oracle_copy_s=prepared.oracle_copy_s,
        profile=prepared.profile,
        period_s=PERIOD_S,
    )
    moves, days = np.abs(np.diff(asked, axis=1)), prepared.length_s / DAY_S
    return {
        **request_figures(requests, good=good, late=late, lost=lost, ttft_s=ttft_s),
        **supply,
        "changes": int((moves > 0).sum()),
        "churn_per_day": float(moves.sum()) / days,
    }


def _one(component: Component) -> dict[str, Any]:
    good, late, lost = component.fleet.judged(TTFT_SLO_S, TTFT_PREFILLS)
    known = good + late + lost
    return {
        "name": component.name,
        "requests": component.fleet.arrived,
        "slo_attainment": rounded(good / known) if known else None,
        "lost": lost,
    }
