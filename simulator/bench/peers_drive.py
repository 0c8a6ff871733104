"""Drives a peer: its own cadence and metrics, the platform's actuator."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator

import numpy as np

from simulator.bench import kernel as k
from simulator.bench.component import Component
from simulator.bench.platform import Platform
from simulator.peers.view import Peer, PeerView

_SHORT_OF_A_POINT_S = 1e-6


def drive_peer(platform: Platform, peer: Peer, length_s: float) -> None:
    """Let `peer` look every `period_s` until `length_s`, and carry out what it wants.

    The platform's fleet must cut windows of the peer's `sensing.point_s`.
    """
    looks, advance = peer_looks(platform, peer, length_s), platform.advance
    until_s, look = next(looks), looks.send
    with contextlib.suppress(StopIteration):
        while True:
            until_s = look(advance(until_s))


def peer_looks(component: Component, peer: Peer, length_s: float) -> Generator[float, np.ndarray, None]:
    """The looks of `peer` at `component`: yields when the next one is due, and wants the windows that ended until then.

    It wishes as soon as it has them, and is over after the look at `length_s`. The latencies that a peer may look at are
    those of the requests completed in the newest visible point that has any.
    """
    point_s, delay_s = peer.sensing.point_s, peer.sensing.delay_s
    ring = peer.sensing.ring()
    push, show, decide = ring.push, ring.show, peer.decide
    speeds: deque[tuple[float, float, float | None]] = deque()
    ttft_s: float | None = None
    itl_s: float | None = None
    looks, points, now_s = 0, 0, 0.0
    while now_s < length_s:
        looks += 1
        now_s = min(looks * peer.period_s, length_s)
        rows = yield now_s
        for row in rows.tolist():
            points += 1
            push(
                row[k.W_IN_FLIGHT_MEAN],
                row[k.W_COPIES_MEAN],
                total_max=row[k.W_IN_FLIGHT_MAX],
                arrivals=row[k.W_ARRIVALS],
                completions=row[k.W_COMPLETIONS],
                latency_sum_s=row[k.W_LATENCY_SUM_S],
                waiting=row[k.W_WAITING_MEAN],
                refused=row[k.W_REFUSED],
            )
            if row[k.W_COMPLETIONS]:
                spaced = row[k.W_ITL_COUNT]
                itl = row[k.W_ITL_SUM_S] / spaced if spaced else None
                speeds.append((points * point_s, row[k.W_TTFT_SUM_S] / row[k.W_COMPLETIONS], itl))
        show(now_s)
        while speeds and speeds[0][0] <= now_s - delay_s + _SHORT_OF_A_POINT_S:
            _, ttft_s, itl_s = speeds.popleft()
        ready, wished = component.serving_copies, component.wished
        view = PeerView(
            now_s=now_s,
            ready=ready,
            desired=wished,
            starting=max(0, wished - ready),
            metrics=ring,
            min_copies=component.min_copies,
            max_copies=component.max_copies,
            ttft_s=ttft_s,
            itl_s=itl_s,
        )
        wanted = decide(view)
        if wanted is not None:
            component.wish(wanted)
