"""The one exception with which an emulated AWS service refuses a call."""

from __future__ import annotations


class ServiceError(Exception):
    """An AWS error answer: `code` and `message` as botocore's ClientError shows them, `status` the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
