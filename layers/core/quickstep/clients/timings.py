"""How an answer felt: time to the first token and between tokens, measured where it is read, and published for scaling.

watch = streaming.Stopwatch()
for chunk in watch.follow(client.chat.completions.create(..., stream=True)):
    ...
streaming.publish([watch], component="chat")
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

from quickstep import clock
from quickstep.gateways.caller import Caller

NAMESPACE = "Quickstep/Streaming"
TIME_TO_FIRST_TOKEN = "TimeToFirstToken"
INTER_TOKEN_LATENCY = "InterTokenLatency"
DIMENSION = "InferenceComponentName"
VALUES_OF_A_DATUM = 150
"""CloudWatch takes so many different values at once."""

_T = TypeVar("_T")


class Stopwatch:
    """Times one answer; it runs from when it is made. `seconds` is a clock that never goes back."""

    def __init__(self, seconds: Callable[[], float] = time.perf_counter) -> None:
        self._seconds = seconds
        self._since_s = seconds()
        self._last_s: float | None = None
        self.time_to_first_s: float | None = None
        """From the start to the first piece; None until it is there."""
        self.pieces = 0
        self.gaps_ms: Counter[float] = Counter()
        """How often which gap came between two pieces, in milliseconds to two digits: bounded, however long the answer."""

    def follow(self, stream: Iterable[_T]) -> Iterator[_T]:
        """The same pieces, timed."""
        for piece in stream:
            now_s = self._seconds()
            if self._last_s is None:
                self.time_to_first_s = now_s - self._since_s
            else:
                self.gaps_ms[_two_digits((now_s - self._last_s) * 1000)] += 1
            self._last_s = now_s
            self.pieces += 1
            yield piece

    def gap_quantile_s(self, q: float) -> float | None:
        """The q-quantile (0–1) of the time between two pieces; None if there were not two."""
        total, seen = sum(self.gaps_ms.values()), 0
        for gap_ms in sorted(self.gaps_ms):
            seen += self.gaps_ms[gap_ms]
            if seen >= max(1, math.ceil(q * total)):
                return gap_ms / 1000
        return None


class Publisher:
    """Publishes what was timed to CloudWatch, every second its own datapoint, for policies with a customized metric.

    Keep it: making one makes a client. `session` is a boto3 or botocore session; needs `cloudwatch:PutMetricData`.
    """

    def __init__(
        self, component: str, *, namespace: str = NAMESPACE, session: Any = None, region: str | None = None
    ) -> None:
        self._component, self._namespace = component, namespace
        self._caller = Caller(session, region)

    def publish_all(self, watches: Iterable[Stopwatch]) -> None:
        """Publish what these saw, together. Raises the errors of `quickstep.errors`.

        Nothing is published of an answer that had no first piece.
        """
        first: Counter[float] = Counter()
        between: Counter[float] = Counter()
        for watch in watches:
            if watch.time_to_first_s is not None:
                first[_two_digits(watch.time_to_first_s * 1000)] += 1
            between += watch.gaps_ms
        metrics = [
            *_data(TIME_TO_FIRST_TOKEN, first, self._component),
            *_data(INTER_TOKEN_LATENCY, between, self._component),
        ]
        if metrics:
            self._caller.publish(self._namespace, metrics)


def _data(name: str, counts: Counter[float], component: str) -> Iterator[dict[str, Any]]:
    values = sorted(counts)
    for start in range(0, len(values), VALUES_OF_A_DATUM):
        chosen = values[start : start + VALUES_OF_A_DATUM]
        yield {
            "MetricName": name,
            "Dimensions": [{"Name": DIMENSION, "Value": component}],
            "Timestamp": datetime.fromtimestamp(math.floor(clock.now_s()), UTC),
            "Values": chosen,
            "Counts": [float(counts[value]) for value in chosen],
            "Unit": "Milliseconds",
            "StorageResolution": 1,
        }


def _two_digits(value: float) -> float:
    """Rounded to two significant digits: within 5 %, and few different values."""
    return float(f"{value:.1e}")
