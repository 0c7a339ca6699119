"""Where a call goes whose table is named by an ARN: to the endpoint of the account that owns the table.

As the rules of DynamoDB's endpoints have it: https://docs.aws.amazon.com/sdkref/latest/guide/feature-account-endpoints.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from ._core import Endpoint
from ._settings import check_proxy

__all__ = ["Accounts"]

# What can stand before the first dot of a host name.
_LABEL: Final = re.compile(r"[A-Za-z0-9-]{1,63}")
_WRITES: Final = ("ConditionCheck", "Put", "Delete", "Update")


class Accounts:
    """The endpoints of accounts in *region*. *suffix* is what follows the account in their host names; None: there are none."""

    def __init__(self, region: str, suffix: str | None) -> None:
        self._region = region
        self._suffix = suffix
        # The same object for the same endpoint: requests are prepared for it.
        self._known: dict[str, Endpoint] = {}

    def endpoint(self, arguments: Mapping[str, object]) -> Endpoint | None:
        """Return the endpoint of the account that owns the call's (first) table; None for the caller's own.

        Raises `SettingsError` if a proxy is configured for it.
        """
        if self._suffix is None:
            return None
        name = arguments.get("TableName") or _first_of_many(arguments)
        if not isinstance(name, str) or not name.startswith("arn:"):
            return None
        known = self._known.get(name)
        if known is None and (account := self._account(name)) is not None:
            known = Endpoint(f"{account}.{self._suffix}", 443, secure=True)
            # NO_PROXY may name the region's host, and not the account's.
            check_proxy(known, os.environ)
            self._known[name] = known
        return known

    def _account(self, arn: str) -> str | None:
        """Return the account that an ARN of this region names."""
        parts = arn.split(":", 5)
        if len(parts) < 6 or not parts[1] or not parts[5]:
            return None
        _, _, service, region, account, _ = parts
        if service != "dynamodb" or region != self._region or not _LABEL.fullmatch(account):
            return None
        return account


def _first_of_many(arguments: Mapping[str, object]) -> object:
    """Return the first table of a batch or a transaction."""
    match arguments:
        case {"RequestItems": Mapping() as requests}:
            return next(iter(requests), None)
        case {"TransactItems": [*items]}:
            writes = (item[kind] for item in items if isinstance(item, Mapping) for kind in _WRITES if kind in item)
            return next(
                (write["TableName"] for write in writes if isinstance(write, Mapping) and "TableName" in write), None
            )
    return None
