"""Endpoints of accounts. If a call names its table by an ARN, it goes to the endpoint of the account that owns the table.

This follows the rules of DynamoDB's endpoints: https://docs.aws.amazon.com/sdkref/latest/guide/feature-account-endpoints.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ._core import Endpoint
from ._settings import check_proxy
from .errors import SettingsError

__all__ = ["Accounts", "NoEndpoint", "first_table"]

# A valid first label of a host name.
_LABEL: Final = re.compile(r"[A-Za-z0-9-]{1,63}")
_WRITES: Final = ("ConditionCheck", "Put", "Delete", "Update")


@dataclass(frozen=True, slots=True)
class NoEndpoint(Endpoint):
    """A placeholder if the caller has no endpoint, for a *reason*. A call that would go to it raises `SettingsError`.

    A call that names its table by an ARN still works, because it goes to another endpoint.
    """

    reason: str = ""

    @property
    def host_header(self) -> str:
        """Raise `SettingsError`. Each request reads this property first."""
        raise SettingsError(self.reason)


class Accounts:
    """The endpoints of accounts in *region*.

    *suffix* follows the account in their host names. None means that accounts have no endpoints of their own.
    """

    def __init__(self, region: str, suffix: str | None) -> None:
        self._region = region
        self._suffix = suffix
        # Reuse the object: prepared requests are cached by the identity of their endpoint.
        self._known: dict[str, Endpoint] = {}

    def endpoint(self, name: str | None) -> Endpoint | None:
        """Return the endpoint of the account that owns the table, if *name* is an ARN. None: use the caller's endpoint.

        Raises `SettingsError` if a proxy is configured for that endpoint.
        """
        if name is None or self._suffix is None or not name.startswith("arn:"):
            return None
        known = self._known.get(name)
        if known is None and (account := self._account(name)) is not None:
            known = Endpoint(f"{account}.{self._suffix}", 443, secure=True)
            # NO_PROXY may name the region's host but not the account's.
            check_proxy(known, os.environ)
            self._known[name] = known
        return known

    def _account(self, arn: str) -> str | None:
        """Return the account in *arn*, or None if it is not the ARN of a table in this region."""
        parts = arn.split(":", 5)
        if len(parts) < 6 or not parts[1] or not parts[5]:
            return None
        _, _, service, region, account, _ = parts
        if service != "dynamodb" or region != self._region or not _LABEL.fullmatch(account):
            return None
        return account


def first_table(arguments: Mapping[str, object]) -> str | None:
    """Return the name of the first table in the arguments of a call, or None. Never raises."""
    name = arguments.get("TableName")
    if name is None:
        name = _first_of_many(arguments)
    return name if isinstance(name, str) else None


def _first_of_many(arguments: Mapping[str, object]) -> object:
    """Return the name of the first table of a batch or a transaction, or None."""
    requests = arguments.get("RequestItems")
    if isinstance(requests, (dict, Mapping)):
        return next(iter(requests), None)
    items = arguments.get("TransactItems")
    for item in items if isinstance(items, (list, tuple, Sequence)) else ():
        for kind in _WRITES:
            write = item.get(kind) if isinstance(item, (dict, Mapping)) else None
            if isinstance(write, (dict, Mapping)) and "TableName" in write:
                return write["TableName"]
    return None
