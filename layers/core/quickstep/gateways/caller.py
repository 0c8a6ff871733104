"""AWS on behalf of people's own programs: signing, knocking and publishing with their credentials, not with a function's.

A `session` is a boto3 or botocore session; None takes credentials and region from the usual places.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from quickstep.gateways.eventbridge import check_taken, wake_entry
from quickstep.gateways.refusals import translated

TOKEN_PREFIX = "sagemaker-api-key-"
TOKEN_HOST = "sagemaker.amazonaws.com"
LONGEST_TOKEN_S = 43_200
"""Twelve hours; SageMaker accepts no token that lasts longer."""


class Caller:
    """Somebody's identity and region. Raises `ValueError` if there is no region or no credentials."""

    def __init__(self, session: Any = None, region: str | None = None) -> None:
        from botocore.session import Session

        # A boto3 session keeps its own; a botocore session is one.
        self._session = Session() if session is None else getattr(session, "_session", session)
        self.region: str = region or self._session.get_config_variable("region") or ""
        if not self.region:
            raise ValueError("no region; give region=, or set AWS_DEFAULT_REGION")

    def bearer_token(self, lasts_s: int = 900) -> str:
        """The token of SageMaker's OpenAI path: a presigned request, written as an API key. Valid for `lasts_s`, at most 12 h.

        The caller needs `sagemaker:CallWithBearerToken` on `*`, and `sagemaker:InvokeEndpoint` on what is invoked.
        """
        from botocore.auth import SigV4QueryAuth
        from botocore.awsrequest import AWSRequest

        if not 0 < lasts_s <= LONGEST_TOKEN_S:
            raise ValueError(f"lasts_s is {lasts_s}; it must be from 1 to {LONGEST_TOKEN_S} (12 hours)")
        request = AWSRequest("POST", f"https://{TOKEN_HOST}/", {"host": TOKEN_HOST})
        request.params = {"Action": "CallWithBearerToken"}
        SigV4QueryAuth(self._credentials(), "sagemaker", self.region, expires=lasts_s).add_auth(request)
        signed = request.url.removeprefix("https://") + "&Version=1"
        return TOKEN_PREFIX + base64.b64encode(signed.encode()).decode()

    def signed_for_lambda(self, method: str, url: str, body: bytes, content_type: str | None) -> Mapping[str, str]:
        """The headers that a function URL with AWS_IAM asks for, as signature version 4."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest(method, url, {"content-type": content_type} if content_type else {}, body)
        SigV4Auth(self._credentials(), "lambda", self.region).add_auth(request)
        wanted = ("authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256")
        return {name: value for name, value in request.headers.items() if name.lower() in wanted}

    def knock(self, component: str) -> None:
        """Have Quickstep wake `component` now. Needs `events:PutEvents` on the default bus. Raises the errors of `refusals`."""
        what = f"wake inference component {component}"
        with translated(what):
            answer = self._made("events").put_events(Entries=[wake_entry(component, waiting=1)])
        check_taken(answer, what)

    def publish(self, namespace: str, metrics: Sequence[Mapping[str, Any]]) -> None:
        """Publish metric data, in as few calls as CloudWatch allows. Needs `cloudwatch:PutMetricData`."""
        for start in range(0, len(metrics), 1000):
            with translated(f"publish metrics to {namespace}"):
                self._made("cloudwatch").put_metric_data(Namespace=namespace, MetricData=metrics[start : start + 1000])

    def _credentials(self) -> Any:
        found = self._session.get_credentials()
        if found is None:
            raise ValueError("no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its fellows")
        # Frozen now: credentials that rotate are asked for again with the next request.
        return found.get_frozen_credentials()

    def _made(self, service: str) -> Any:
        made: dict[str, Any] = self.__dict__.setdefault("_by_service", {})
        if service not in made:
            made[service] = self._session.create_client(service, region_name=self.region)
        return made[service]
