"""Which copies take a request: the two routing strategies of a SageMaker variant that are emulated.

The fleet applies them; the draws of RANDOM are here, written so that every implementation can draw the same numbers.
"""

from __future__ import annotations

ROUTINGS = ("LEAST_OUTSTANDING_REQUESTS", "RANDOM")


def unit_draw(seed: int, k: int) -> float:
    """Draw k of stream `seed`, in [0, 1): the upper 53 bits of splitmix64."""
    mask = (1 << 64) - 1
    z = (seed * 0xD1342543DE82EF95 + (k + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return ((z ^ (z >> 31)) >> 11) / (1 << 53)
