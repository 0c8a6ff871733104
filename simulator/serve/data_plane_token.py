"""The bearer token of SageMaker's OpenAI-compatible path: a presigned request, written so that it looks like an API key.

`sagemaker-api-key-` and, in base64, the URL of `POST https://sagemaker.amazonaws.com/?Action=CallWithBearerToken`, presigned
for the service `sagemaker` for at most 12 hours, without its `https://` and followed by `&Version=1`. Checked here are the
form, the region, the time and, for the account's own access key, the signature.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import parse_qsl, quote

PREFIX = "sagemaker-api-key-"
HOST = "sagemaker.amazonaws.com"
ACTION = "CallWithBearerToken"
LONGEST_S = 43_200
CLOCK_SKEW_S = 300.0


class TokenRefused(Exception):
    """The token is not accepted; the message says why."""


def check_bearer(authorization: str | None, *, region: str, now_s: float, secrets: Mapping[str, str]) -> str:
    """The access key that the token of an Authorization header was made with; TokenRefused if it is not good.

    `now_s` is real time, since the client made the token with its own clock. `secrets`: secret key by access key; a token
    of another key is taken for one of another user of the account, whose signature cannot be checked.
    """
    if authorization is None or not authorization.startswith("Bearer "):
        raise TokenRefused("The Authorization header must be 'Bearer sagemaker-api-key-…'; this path takes no SigV4.")
    query = _query(authorization.removeprefix("Bearer ").strip())
    access_key, date, signed_region, service, end = _scope(query)
    if (service, end) != ("sagemaker", "aws4_request"):
        raise TokenRefused(f"The token is signed for the service {service}, not for sagemaker.")
    if signed_region != region:
        raise TokenRefused(f"The token is signed for the region {signed_region}; the endpoint is in {region}.")
    begun_s, lasts_s = _times(query, date)
    if lasts_s > LONGEST_S:
        raise TokenRefused(f"The token lasts {lasts_s} s; the most is {LONGEST_S}.")
    if now_s < begun_s - CLOCK_SKEW_S or now_s >= begun_s + lasts_s:
        raise TokenRefused("The token has expired, or is not valid yet.")
    if access_key in secrets and not hmac.compare_digest(
        _signature(query, date, signed_region, secrets[access_key]), query["X-Amz-Signature"]
    ):
        raise TokenRefused("The signature of the token does not match.")
    return access_key


def _query(token: str) -> dict[str, str]:
    if not token.startswith(PREFIX):
        raise TokenRefused(f"The token must begin with {PREFIX}.")
    try:
        url = base64.b64decode(token.removeprefix(PREFIX), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise TokenRefused("The token is not base64 of a presigned URL.") from None
    host, _, text = url.partition("/?")
    query = dict(parse_qsl(text, keep_blank_values=True))
    if host != HOST or query.get("Action") != ACTION or query.pop("Version", None) != "1":
        raise TokenRefused(f"The token is not a presigned {ACTION} of {HOST}.")
    missing = [name for name in ("Credential", "Date", "Expires", "Signature") if f"X-Amz-{name}" not in query]
    if missing:
        raise TokenRefused(f"The token has no X-Amz-{missing[0]}.")
    return query


def _scope(query: Mapping[str, str]) -> tuple[str, str, str, str, str]:
    parts = query["X-Amz-Credential"].split("/")
    if len(parts) != 5:
        raise TokenRefused("The credential scope of the token is not key/date/region/service/aws4_request.")
    return (parts[0], parts[1], parts[2], parts[3], parts[4])


def _times(query: Mapping[str, str], date: str) -> tuple[float, int]:
    try:
        begun = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        lasts_s = int(query["X-Amz-Expires"])
    except ValueError:
        raise TokenRefused("X-Amz-Date or X-Amz-Expires of the token cannot be read.") from None
    if not query["X-Amz-Date"].startswith(date):
        raise TokenRefused("The token's X-Amz-Date is not the day of its credential scope.")
    return begun.timestamp(), lasts_s


def _signature(query: Mapping[str, str], date: str, region: str, secret: str) -> str:
    """Signature version 4 of the presigned request, whose body is empty and whose only signed header is the host."""
    signed = sorted((quote(k, "-_.~"), quote(v, "-_.~")) for k, v in query.items() if k != "X-Amz-Signature")
    canonical = "\n".join(
        ("POST", "/", "&".join(f"{k}={v}" for k, v in signed), f"host:{HOST}\n", "host", sha256(b"").hexdigest())
    )
    scope = f"{date}/{region}/sagemaker/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", query["X-Amz-Date"], scope, sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{secret}".encode()
    for part in (date, region, "sagemaker", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()
