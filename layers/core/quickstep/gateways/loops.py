"""AWS Step Functions: starting the scaling loop of an endpoint, and asking whether one still runs."""

from __future__ import annotations

import hashlib
import json
import re

from quickstep.gateways.aws import client
from quickstep.gateways.refusals import translated
from quickstep.model.loop import PAYLOAD_VERSION

NAME_LIMIT = 80
"""Longest name of an execution (StartExecution reference)."""


def start_loop(endpoint: str, generation: int, *, machine_arn: str) -> bool:
    """Start generation `generation` of `endpoint`'s loop; True if it runs now.

    Starting the same one again while it runs is True too: StartExecution is idempotent for name and input. False means
    that an execution of that name has already *ended* (names stay taken for 90 days), so nothing runs: take the next
    generation. Retried by the SDK, since a repetition cannot start a second loop.
    Raises the errors of `refusals`.
    """
    name = execution_name(endpoint, generation)
    payload = json.dumps({"v": PAYLOAD_VERSION, "endpoint": endpoint, "generation": generation}, sort_keys=True)
    states = client("stepfunctions")
    with translated(f"start loop {name}"):
        try:
            states.start_execution(stateMachineArn=machine_arn, name=name, input=payload)
        except states.exceptions.ExecutionAlreadyExists:
            return False
    return True


def loop_is_running(endpoint: str, generation: int, *, machine_arn: str) -> bool | None:
    """True while that generation runs (or waits to be redriven), False once it has ended, None if none was ever seen.

    DescribeExecution is eventually consistent: within seconds of a start, None may only mean "not yet".
    Raises the errors of `refusals`.
    """
    name = execution_name(endpoint, generation)
    states = client("stepfunctions")
    with translated(f"describe loop {name}"):
        try:
            answer = states.describe_execution(
                executionArn=execution_arn(machine_arn, name), includedData="METADATA_ONLY"
            )
        except states.exceptions.ExecutionDoesNotExist:
            return None
    return answer["status"] in ("RUNNING", "PENDING_REDRIVE")


def execution_name(endpoint: str, generation: int) -> str:
    """`<endpoint>-<generation>`, at most 80 characters of the allowed kind, different for different arguments.

    An endpoint name that is too long or has other characters is shortened, and a hash of it is added.
    """
    suffix = f"-{generation}"
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", endpoint)
    if safe == endpoint and len(endpoint) + len(suffix) <= NAME_LIMIT:
        return endpoint + suffix
    digest = hashlib.sha256(endpoint.encode()).hexdigest()[:12]
    # A dot occurs in no name of the first kind, so the two kinds cannot meet.
    return f"{safe[: NAME_LIMIT - len(suffix) - len(digest) - 1]}.{digest}{suffix}"


def execution_arn(machine_arn: str, name: str) -> str:
    """ARN of the execution `name`; a version or alias at the end of the state machine's ARN is no part of it."""
    parts = machine_arn.split(":")
    return ":".join([*parts[:5], "execution", parts[6], name])
