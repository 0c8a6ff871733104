"""Other people's autoscalers, as faithful as their sources allow, for the benchmark to compare with.

`make_peer(name, target_per_copy=…, min_copies=…, max_copies=…)` gives one of `PEERS`; a runner fills a `MetricRing`
with the sensing that the peer names, and calls `decide(PeerView(…))` every `period_s`.
"""

from simulator.peers.registry import PEERS, PeerDescription, make_peer
from simulator.peers.ring import MetricRing
from simulator.peers.view import SAGEMAKER_SENSING, Peer, PeerView, Sensing

__all__ = [
    "PEERS",
    "SAGEMAKER_SENSING",
    "MetricRing",
    "Peer",
    "PeerDescription",
    "PeerView",
    "Sensing",
    "make_peer",
]
