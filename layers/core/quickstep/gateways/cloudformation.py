"""AWS CloudFormation: the answer to a custom resource, put where CloudFormation looks for it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from quickstep.errors import Rejected

TIMEOUT_S = 5
TRIES = 3
HOSTS = (".amazonaws.com", ".amazonaws.com.cn")


def respond(url: str, document: Mapping[str, Any]) -> None:
    """Put `document` to the presigned S3 address that CloudFormation gave; three attempts.

    Raises `Rejected` for an address that is not AWS's, since nothing of ours is sent elsewhere, and `OSError` if S3 cannot
    be reached.
    """
    where = urlsplit(url)
    if where.scheme != "https" or not (where.hostname or "").endswith(HOSTS):
        raise Rejected(
            f"ResponseURL is not an address of AWS ({where.scheme}://{where.hostname}); nothing was sent there"
        )
    body = json.dumps(document, sort_keys=True).encode()
    # CloudFormation signs the address for a request without a content type.
    request = urllib.request.Request(url, data=body, method="PUT", headers={"content-type": ""})
    for attempt in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S):
                return
        except OSError:
            if attempt == TRIES:
                raise
