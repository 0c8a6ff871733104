"""What goes into a fleet and what comes out: arrivals, the log of every request, and the figures of one window.

Times here are seconds since the epoch, as everywhere outside the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from simulator.clock import EPOCH_S

STEP_S = 10.0
"""Length of one datapoint of a closed-loop pattern: SageMaker's own metric period."""


class Status(IntEnum):
    """What became of a request."""

    OPEN = 0
    """Still queued, running, or waiting for its next try."""
    SERVED = 1
    LOST_TIMEOUT = 2
    """The client left: no first token within its patience."""
    LOST_NO_CAPACITY = 3
    """No copy served while the client was trying."""
    LOST_BROKEN = 4
    """Its copy was taken away under it (a copy removed without draining)."""
    LEFT = 5
    """A client that is not simulated went away before its last token."""


@dataclass(frozen=True, eq=False)
class OpenArrivals:
    """Requests that come when they come, however slow the answers are.

    `times_s` ascending and >= `start_s`; tokens are whole numbers, input >= 0, output >= 1. ValueError otherwise.
    """

    times_s: Sequence[float]
    input_tokens: Sequence[int]
    output_tokens: Sequence[int]
    start_s: float = EPOCH_S

    def __post_init__(self) -> None:
        times_s = np.ascontiguousarray(self.times_s, dtype=np.float64)
        input_tokens = np.ascontiguousarray(self.input_tokens, dtype=np.int64)
        output_tokens = np.ascontiguousarray(self.output_tokens, dtype=np.int64)
        if not len(times_s) == len(input_tokens) == len(output_tokens):
            raise ValueError(
                f"{len(times_s)} arrival times, {len(input_tokens)} input and {len(output_tokens)} output token "
                "counts; give one of each per request"
            )
        if len(times_s):
            if not np.isfinite(times_s).all() or (np.diff(times_s) < 0).any():
                raise ValueError("arrival times must be finite and ascending")
            if times_s[0] < self.start_s:
                raise ValueError(f"the first arrival ({times_s[0]}) is before the start ({self.start_s})")
            if input_tokens.min() < 0 or output_tokens.min() < 1:
                raise ValueError("a request has at least 0 input tokens and 1 output token")
        object.__setattr__(self, "times_s", times_s)
        object.__setattr__(self, "input_tokens", input_tokens)
        object.__setattr__(self, "output_tokens", output_tokens)

    def __len__(self) -> int:
        return len(self.times_s)


@dataclass(frozen=True)
class ClosedLoop:
    """Clients that keep a given number of requests in flight, step by step.

    `levels[k]` clients are wanted during [start_s + k * step_s, start_s + (k + 1) * step_s); after the last step none.
    A client sends its next request at the moment its last one ends. When the level rises new clients begin at once;
    when it falls clients finish what they have and leave. An attempt that finds no copy is tried again by the same
    client. Every request has the same tokens.
    """

    levels: tuple[int, ...]
    step_s: float = STEP_S
    input_tokens: int = 512
    output_tokens: int = 128
    start_s: float = EPOCH_S

    def __post_init__(self) -> None:
        if any(level < 0 for level in self.levels):
            raise ValueError("a closed-loop level must not be negative")
        if self.step_s <= 0 or self.input_tokens < 0 or self.output_tokens < 1:
            raise ValueError("a closed loop needs a positive step, at least 0 input tokens and 1 output token")

    @property
    def end_s(self) -> float:
        """When the last step ends."""
        return self.start_s + len(self.levels) * self.step_s


Arrivals = OpenArrivals | ClosedLoop


@dataclass(frozen=True, eq=False)
class RequestLog:
    """Every request that has arrived by `until_s`, one entry per column, in order of arrival.

    `ttft_s` is the time from the first attempt to the first token, NaN where no token has come; `e2e_s` to the last
    token, NaN unless served; `status` holds `Status` values.
    """

    until_s: float
    arrival_s: np.ndarray
    input_tokens: np.ndarray
    output_tokens: np.ndarray
    ttft_s: np.ndarray
    e2e_s: np.ndarray
    status: np.ndarray

    def __len__(self) -> int:
        return len(self.arrival_s)

    def count(self, status: Status) -> int:
        """How many requests have this status."""
        return int((self.status == status).sum())


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one submitted request is."""

    request: int
    status: Status
    tokens: int
    """Output tokens that have come; once it is lost, those that had come by then."""
    next_s: float
    """When the next token is due if nothing else changes; inf while it queues and when it is over."""


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in [start_s, end_s]. Counts are events inside the window; in-flight values cover all copies,
    draining ones too, queued and executing requests alike."""

    start_s: float
    end_s: float
    in_flight_mean: float
    """Weighted by time, exact."""
    in_flight_max: int
    in_flight_min: int
    arrivals: int
    """New requests; a further try of the same request is not counted."""
    completions: int
    invocations: int
    """Attempts that a copy accepted."""
    no_capacity_failures: int
    """Attempts, first or further, that found no serving copy."""
    timeouts: int
    lost_no_capacity: int
    """Requests whose client gave up trying (attempts before that are in `no_capacity_failures`)."""
    broken_streams: int
    latency_sum_s: float
    """Of the completions, from their first attempt."""
    latency_count: int
    ttft_sum_s: float
    """Of the first tokens that came in this window, from the first attempt."""
    ttft_count: int
    tokens_out: float
    """Output tokens generated; a step under way counts in part."""
    per_copy: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Copy id -> (mean over the time that it existed in this window, maximum) of its requests in flight."""
