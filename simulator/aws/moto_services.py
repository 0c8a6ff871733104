"""Services that moto answers in this process, for the few parts of the account that nothing here depends on.

moto is started with the first call. Its clients are made outside the emulated account's own wire, so that they reach
moto and not the account again; nothing ever reaches the network.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from botocore.loaders import create_loader
from moto import mock_aws

from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated
from simulator.wire import outside_the_account


class MotoService:
    """One service, by botocore's name."""

    def __init__(self, name: str, *, account_id: str, region: str) -> None:
        self._name, self._account_id, self._region = name, account_id, region
        self._client: Any = None

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one API operation; raises ServiceError with moto's code and message for a refusal."""
        with outside_the_account():
            if self._client is None:
                self._start()
            method = self._client.meta.method_to_api_mapping
            name = next((one for one, api in method.items() if api == operation), None)
            if name is None:
                raise NotEmulated(f"{self._name} {operation} is not emulated")
            try:
                answer = getattr(self._client, name)(**params)
            except ClientError as refused:
                status = refused.response["ResponseMetadata"]["HTTPStatusCode"]
                error = refused.response["Error"]
                raise ServiceError(error["Code"], error.get("Message", ""), status) from None
            except NotImplementedError:
                raise NotEmulated(f"{self._name} {operation} is not emulated by moto") from None
        return {key: value for key, value in answer.items() if key != "ResponseMetadata"}

    def close(self) -> None:
        """Stop moto, if this service started it."""
        if self._client is not None:
            self._client = None
            stop_moto()

    def _start(self) -> None:
        start_moto(self._account_id)
        session = botocore.session.Session()
        session.register_component("data_loader", _LOADER)
        self._client = session.create_client(
            self._name, region_name=self._region, aws_access_key_id="testing", aws_secret_access_key="testing"
        )


def start_moto(account_id: str) -> None:
    """Let moto answer in this process, for that account, until `stop_moto` has been called as often."""
    if not _running:
        _accounts_before.append(os.environ.get("MOTO_ACCOUNT_ID"))
        os.environ["MOTO_ACCOUNT_ID"] = account_id
    mock = mock_aws(config={"core": {"mock_credentials": False, "reset_boto3_session": False}})
    mock.start()
    _running.append(mock)


def stop_moto() -> None:
    """Take back one `start_moto`; with the last one moto's data is gone."""
    _running.pop().stop()
    if _running:
        return
    before = _accounts_before.pop()
    if before is None:
        os.environ.pop("MOTO_ACCOUNT_ID", None)
    else:
        os.environ["MOTO_ACCOUNT_ID"] = before


_running: list[Any] = []
_accounts_before: list[str | None] = []
_LOADER = create_loader()
