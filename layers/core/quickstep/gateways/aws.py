"""Clients of AWS services: one per service and purpose, made when first asked for, kept for the life of the process.

Reads are tried three times; writes exactly once, since after a time-out nobody knows whether they were carried out
(`OutcomeUnknown`). Both give up early, because a Lambda that hangs outlives its lease: connect 2 s, read 5 s.

The SDK is imported here on first use, and only its lower half (botocore): boto3's own half would add some 25 ms to a
cold start and nothing that is used. Region and credentials come from the environment, as always.
"""

from __future__ import annotations

from typing import Any

from quickstep import __version__

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 5
READ_ATTEMPTS = 3
WRITE_ATTEMPTS = 1
STREAMS = 128
"""Connections that a client for streams keeps; more are made when needed and not kept."""

_clients: dict[tuple[str, int, int], Any] = {}
_session: Any = None
_loader: Any = None


def client(service: str) -> Any:
    """The client for reading from `service` (a botocore service name such as `sagemaker`)."""
    return _client(service, READ_ATTEMPTS)


def write_client(service: str) -> Any:
    """The client for changing something in `service`: one attempt, never repeated by the SDK."""
    return _client(service, WRITE_ATTEMPTS)


def stream_client(service: str, read_timeout_s: int) -> Any:
    """The client for answers that stream: one attempt, `read_timeout_s` of silence allowed, many streams at a time."""
    return _client(service, WRITE_ATTEMPTS, read_timeout_s, STREAMS)


def prepare_stream_clients(read_timeout_s: int, *others: str) -> None:
    """Make the clients of a function that streams before its first request: Lambda gives processor time for that."""
    _client("sagemaker-runtime", WRITE_ATTEMPTS, read_timeout_s, STREAMS)
    make_clients(*others)


def make_clients(*services: str) -> None:
    """Make the reading clients of `services` before somebody asks for them."""
    for service in services:
        _client(service, READ_ATTEMPTS)


def forget_clients() -> None:
    """Make new clients next time, with the region, credentials and event handlers of that moment.

    Parsed service descriptions are kept: reading SageMaker's takes a tenth of a second and it never changes.
    """
    global _session
    _clients.clear()
    _session = None


def _client(service: str, attempts: int, read_timeout_s: int = READ_TIMEOUT_S, connections: int = 10) -> Any:
    key = (service, attempts, read_timeout_s)
    if key not in _clients:
        from botocore.config import Config

        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=read_timeout_s,
            max_pool_connections=connections,
            retries={"mode": "standard", "total_max_attempts": attempts},
            # CloudTrail then shows which of an account's callers changed a count.
            user_agent_extra=f"quickstep/{__version__}",
        )
        _clients[key] = _new_session().create_client(service, config=config)
    return _clients[key]


def _new_session() -> Any:
    global _session, _loader
    if _session is None:
        from botocore.loaders import create_loader
        from botocore.session import Session

        _session = Session()
        if _loader is None:
            _loader = create_loader(_session.get_config_variable("data_path"))
        _session.register_component("data_loader", _loader)
    return _session
