"""Real clients of the endpoint: each keeps one InvokeEndpoint request in flight, over HTTP and signed."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass

import boto3
from botocore.config import Config

READ_TIMEOUT_S = 120


@dataclass(frozen=True)
class Request:
    """One request as its client saw it; `error` is None if it was answered."""

    began_s: float
    ended_s: float
    error: str | None


class Load:
    """`clients` callers, started at once and stopped by `stop`, which waits for the answers that are still to come."""

    def __init__(self, endpoint: str, component: str, clients: int, *, output_tokens: int = 200) -> None:
        self._endpoint, self._component = endpoint, component
        self._body = json.dumps({"input_tokens": 256, "output_tokens": output_tokens})
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        config = Config(
            retries={"total_max_attempts": 1}, read_timeout=READ_TIMEOUT_S, max_pool_connections=clients + 1
        )
        self._client = boto3.client("sagemaker-runtime", config=config)
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(clients)]
        for one in self._threads:
            one.start()

    @property
    def requests(self) -> list[Request]:
        """What has ended so far."""
        with self._lock:
            return list(self._requests)

    @property
    def errors(self) -> list[Request]:
        """The requests that were not answered."""
        return [one for one in self.requests if one.error is not None]

    def stop(self) -> None:
        """Begin no further request, and wait for those in flight."""
        self._stopping.set()
        for one in self._threads:
            one.join(READ_TIMEOUT_S)

    def _call(self) -> None:
        while not self._stopping.is_set():
            began_s, error = time.time(), None
            try:
                answer = self._client.invoke_endpoint(
                    EndpointName=self._endpoint, InferenceComponentName=self._component, Body=self._body
                )
                answer["Body"].read()
            except Exception as problem:
                # Whatever it is, it is a request that a user lost; the run counts and shows it.
                error = f"{type(problem).__name__}: {problem}"
                self._stopping.wait(1.0)
            with self._lock:
                self._requests.append(Request(began_s, time.time(), error))
