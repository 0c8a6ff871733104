"""What a function does before its first event, while Lambda prepares it: that is when it has a whole processor.

Clients and logger made at the first event instead would take several times as long at 512 MB, and an alarm would wait.
"""

from __future__ import annotations

import os

from quickstep import telemetry
from quickstep.gateways import aws


def prepare(*services: str) -> None:
    """Make the clients of `services` and the logger now; nothing where no Lambda is being prepared (a test, a laptop)."""
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE"):
        aws.make_clients(*services)
        telemetry.logger()
