"""What a scaling loop does next: the words that Decide returns and the state machine's Choice compares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

PAYLOAD_VERSION = 1
"""Version of the loop's payload {v, endpoint, generation}; handlers accept this one and the one before."""


class NextWord(StrEnum):
    ADD_INSTANCES = "ADD_INSTANCES"
    WAIT_FOR_INSTANCES = "WAIT_FOR_INSTANCES"
    VERIFY_INSTANCES = "VERIFY_INSTANCES"
    PLACE_COPIES = "PLACE_COPIES"
    REMOVE_COPIES = "REMOVE_COPIES"
    REMOVE_INSTANCES = "REMOVE_INSTANCES"
    WAIT = "WAIT"
    HAND_OVER = "HAND_OVER"
    SETTLED = "SETTLED"


@dataclass(frozen=True, slots=True)
class Loop:
    """The loop item of an endpoint: who runs, how long, and how often somebody said "look"."""

    endpoint: str
    generation: int = 0
    """Counts loops; an execution whose generation is older stops at its next look."""
    running: bool = False
    poke_seq: int = 0
    """Bumped by everybody who wants a look; ending a loop is conditional on it being unchanged."""
    ticks: int = 0
    """Looks taken by this generation, for the hand-over."""
    code_version: str = ""
    last_look_s: float | None = None
    next_look_at_s: float | None = None
    """When Reconcile has to look again although nothing happened; None = nothing is due."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Permission to write to one endpoint until `expires_at_s`; `token` grows with every holder (fencing)."""

    endpoint: str
    holder: str
    token: int
    expires_at_s: float
