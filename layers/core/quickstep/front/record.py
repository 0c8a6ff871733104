"""What is written down of a request: one log line and three metrics. Names, counts, codes and times; never a text."""

from __future__ import annotations

from quickstep import clock, telemetry
from quickstep.front.waking import Waking


class Record:
    """Follows one request. `component` stays None until it is known to be a managed one."""

    def __init__(self, request_id: str, route: str) -> None:
        self.component: str | None = None
        self._request_id = request_id
        self._route = route
        self._since_s = clock.now_s()
        self._first_s: float | None = None
        self._held_since_s: float | None = None
        self._woke_s: float | None = None
        self._parts = 0
        self._bytes = 0
        self._finished = False

    def held(self, at: Waking) -> None:
        """The request waits; `at` says for what."""
        if self._held_since_s is None:
            self._held_since_s = clock.now_s()
            self._metric("HeldRequests", "Count", 1.0)
        extra = {"component": self.component, "state": str(at.state), "phase": str(at.phase), "eta_s": at.eta_s}
        telemetry.logger().debug("held", extra={"request_id": self._request_id, **extra})

    def woke(self) -> None:
        """The component serves; the model's first part is there."""
        self._woke_s = clock.now_s()
        self._metric("HeldTime", "Seconds", self._woke_s - self._since_s)

    def sent(self, count_bytes: int) -> None:
        """A part goes to the client."""
        if self._first_s is None:
            self._first_s = clock.now_s()
            if self._woke_s is None:
                self._metric("TimeToFirstByte", "Milliseconds", (self._first_s - self._since_s) * 1000)
        self._parts += 1
        self._bytes += count_bytes

    def finish(self, status: int, code: str | None = None) -> None:
        """The request has been answered, or given up; `code` says what went wrong, None = nothing."""
        if self._finished:
            return
        self._finished = True
        now_s = clock.now_s()
        line = {
            "request_id": self._request_id,
            "component": self.component,
            "route": self._route,
            "status": status,
            "code": code,
            "held_s": None if self._woke_s is None else round(self._woke_s - self._since_s, 3),
            "first_byte_s": None if self._first_s is None else round(self._first_s - self._since_s, 4),
            "took_s": round(now_s - self._since_s, 3),
            "parts": self._parts,
            "bytes": self._bytes,
        }
        telemetry.logger().info("request", extra={"request": line})

    def _metric(self, name: str, unit: str, value: float) -> None:
        if self.component is not None:
            telemetry.count(name, unit, value, {"InferenceComponentName": self.component})
