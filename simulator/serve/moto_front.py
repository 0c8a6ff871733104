"""The rest of AWS: requests to services that the emulated account does not have, answered by moto as they come.

The request is handed to moto as if it had gone to AWS's own host, so moto speaks whatever protocol the client speaks.
State is shared with the parts of the account that are moto's own (SSM, Secrets Manager, X-Ray).
"""

from __future__ import annotations

from typing import Any

from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from botocore.model import OperationNotFoundError
from moto import backend_index
from moto.core.models import botocore_stubber

from simulator.aws.moto_services import start_moto, stop_moto
from simulator.not_emulated import NotEmulated
from simulator.serve.protocols import HttpAnswer, HttpRequest

_HOSTS = {
    "budgets": "budgets",
    "cloudfront": "cloudfront",
    "ecr": "api.ecr.{region}",
    "memorydb": "memory-db.{region}",
    "ses": "email.{region}",
}
"""Hosts that are not the name in the signature, followed by the region."""
_UNSENT = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding"})


class MotoFront:
    """moto for one account. It is started by the first request."""

    def __init__(self, account_id: str) -> None:
        self._account_id = account_id
        self._is_running = False

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """What moto says; raises NotEmulated where it has no such service or operation.

        The request must be signed: nothing else says which service it is for.
        """
        if not self._is_running:
            start_moto(self._account_id)
            self._is_running = True
        scope, region = request.scope or "", request.region or ""
        host = _HOSTS.get(scope, f"{scope}.{{region}}").format(region=region)
        url = f"https://{host}.amazonaws.com{request.path}" + (f"?{request.query}" if request.query else "")
        if not any(pattern.match(url) for _, pattern in backend_index.backend_url_patterns):
            raise NotEmulated(f"{scope}: neither the emulated account nor moto has this service")
        try:
            found = botocore_stubber.process_request(_prepared(request, url))
        except ModuleNotFoundError as error:
            raise NotEmulated(f"{scope}: moto needs the package {error.name} for it, which is not installed") from None
        except (NotImplementedError, OperationNotFoundError) as error:
            said = f" ({error})" if str(error) else ""
            raise NotEmulated(f"{scope}: moto does not have this operation{said}") from None
        status, headers, body = found or (404, {}, "")
        if status == 404 and body in ("", b"", "Not yet implemented"):
            raise NotEmulated(f"{scope}: moto does not have {request.method} {request.path}")
        # The length of a HEAD's answer is that of the body which is not sent.
        dropped = _UNSENT - {"content-length"} if request.method == "HEAD" else _UNSENT
        kept = {str(name): str(value) for name, value in dict(headers).items() if name.lower() not in dropped}
        return HttpAnswer(status, kept, body.encode() if isinstance(body, str) else bytes(body or b""))

    def close(self) -> None:
        """Stop moto, if this started it."""
        if self._is_running:
            self._is_running = False
            stop_moto()


def _prepared(request: HttpRequest, url: str) -> Any:
    headers = HTTPHeaders()
    for name, value in request.headers.items():
        if name not in _UNSENT:
            headers[name] = value
    return AWSPreparedRequest(request.method, url, headers, request.body, stream_output=False)
