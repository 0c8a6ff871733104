"""One AWS call inside the emulated account, and what may happen to it on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.aws.lambda_runtime import Function


class NoAnswer(Exception):
    """The caller got no answer; whether the call was carried out is not known to it.

    `kind` is what the SDK would report: `connect` (nothing was sent), `read` (timed out) or `reset`.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(f"no answer ({kind})")
        self.kind = kind


@dataclass
class Call:
    """A call on its way. Interceptors may change `params` and add to `latency_s`.

    `service` is botocore's name, `caller` the function that asks (None: the account's owner), `number` counts the
    account's calls from 1. Latency added before the call is carried out delays it, latency added after delays the answer;
    past `read_timeout_s` the caller gives up with NoAnswer, past the function's time-out it is cut off.
    """

    service: str
    operation: str
    params: Mapping[str, Any]
    caller: Function | None
    at_s: float
    number: int
    latency_s: float
    read_timeout_s: float | None = None
    spent_s: float = 0.0

    @property
    def function(self) -> str | None:
        """Logical id of the function that asks; None for the account's owner."""
        return None if self.caller is None else self.caller.logical_id


Proceed = Callable[[], dict[str, Any]]
Interceptor = Callable[[Call, Proceed], dict[str, Any]]
"""`interceptor(call, proceed)`: return `proceed()`, perhaps later, twice, or not at all.

Raise ServiceError for a refusal, NoAnswer for a lost request (before `proceed`) or a lost answer (after it),
EnvironmentKilled to kill the caller on the spot.
"""
