"""A plan that creates the table with its key and TTL, and waits until it can be used."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from random import uniform
from typing import Final, TypeVar

from dynamostore.client import DescribedTable, DescribeTableReply, DescribeTimeToLiveReply
from dynamostore.errors import (
    AccessDeniedError,
    StoreError,
    TableNotFoundError,
    TableSchemaError,
    ThrottledError,
    UnavailableError,
)
from dynamostore.steps import Call, Plan, issue, pause
from dynamostore.table import Table

from .faults import TableBusy, Unsupported

__all__ = ["create_table", "has_key", "is_strongly_consistent", "key_in_words"]

R = TypeVar("R")

logger: logging.Logger = logging.getLogger("dynamostore")

_POLL: Final = 0.5
_LONGEST_POLL: Final = 5.0

# A table serves requests while it is being updated.
_USABLE: Final = ("ACTIVE", "UPDATING")
# Waiting does not change these states.
_UNUSABLE: Final[Mapping[str, str]] = {
    "INACCESSIBLE_ENCRYPTION_CREDENTIALS": "DynamoDB cannot use its KMS key: enable the key, and DynamoDB's grant on it, "
    "within seven days; after that, DynamoDB archives the table",
    "ARCHIVING": "DynamoDB is archiving it, because its KMS key could not be used for seven days: restore it from its backup",
    "ARCHIVED": "DynamoDB has archived it, because its KMS key could not be used for seven days: restore it from its backup",
}
# DynamoDB's messages if another process has turned TTL on first. DescribeTimeToLive may not show that yet.
_ENABLED_ALREADY: Final = "already enabled"
_ENABLED_ELSEWHERE: Final = "different AttributeName"


def create_table(table: Table, *, timeout: float, monotonic: Callable[[], float] = time.monotonic) -> Plan[None]:
    """Create *table* (on demand, with TTL) unless it exists, and wait until it can be used.

    Many processes can run this at the same time, and at every start. If an existing table has another key, or its TTL uses
    another attribute, leave it unchanged and raise `TableSchemaError`. After *timeout* seconds of waiting, raise
    `UnavailableError`. If the table can be used but TTL cannot be turned on for now, log a warning.
    """
    wait = _Wait(timeout, monotonic)
    description = yield from _until_usable(table, wait)
    if is_strongly_consistent(description):
        logger.warning(
            "table %s is a global table with multi-Region strong consistency, which does not support TTL: expired records stay until "
            "you purge them with dynamostore purge or Batch(store).purge_expired()",
            table.name,
        )
        return
    yield from _enable_ttl(table, wait)


class _Wait:
    """The time left to wait. A pause counts with its nominal length, so a test can skip it."""

    def __init__(self, timeout: float, monotonic: Callable[[], float]) -> None:
        self.timeout = timeout
        self._monotonic = monotonic
        self._began = monotonic()
        self._paused = 0.0
        self._times = 0

    @property
    def is_over(self) -> bool:
        return self._left <= 0

    @property
    def _left(self) -> float:
        return self.timeout - max(self._paused, self._monotonic() - self._began)

    def pause(self, *, growing: bool = False) -> Plan[None]:
        """Pause. *growing*: longer each time and randomly, because many processes may be waiting for the same table."""
        # A local server is ready at once, so make the first pause short.
        seconds = _POLL if self._times else _POLL / 10
        if growing:
            seconds = uniform(_POLL, min(_LONGEST_POLL, _POLL * 2 ** min(self._times, 8)))
        seconds = min(seconds, max(self._left, 0.001))
        self._times += 1
        self._paused += seconds
        yield from pause(seconds)


def _until_usable(table: Table, wait: _Wait) -> Plan[DescribedTable]:
    """Create the table if it does not exist, wait until it serves requests, and return its description."""
    created = False
    refused: TableBusy | None = None
    while True:
        description = yield from _describe(table, wait)
        status = "not there" if description is None else description.get("TableStatus", "of unknown status")
        if description is not None and status != "DELETING":
            _check_key(table, description)
            if status in _USABLE:
                return description
            if status in _UNUSABLE:
                message = f"table {table.name!r} cannot be used: {_UNUSABLE[status]} ({status})"
                raise AccessDeniedError(message, operation="DescribeTable", code=status)
        if description is not None:
            created = False
        if wait.is_over:
            why = f" ({refused})" if refused is not None else ""
            raise UnavailableError(
                f"table {table.name!r} is still {status} after {wait.timeout:g} s{why}; "
                "call create_table() again to wait longer"
            ) from refused
        if description is None and not created:
            # DescribeTable is eventually consistent, so the table may exist and not be shown yet.
            try:
                yield from _create(table, wait)
            except TableBusy as error:
                # Another process has just created the table, or it is being deleted and no longer shown.
                refused = error
                logger.info("table %s is being created or deleted by another process", table.name)
            else:
                created, refused = True, None
        yield from wait.pause()


def _create(table: Table, wait: _Wait) -> Plan[None]:
    logger.info("creating table %s", table.name)
    call = _call(
        table,
        "create_table",
        AttributeDefinitions=[{"AttributeName": table.token, "AttributeType": "S"}],
        KeySchema=[{"AttributeName": table.token, "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield from _patiently(call, wait)


def _describe(table: Table, wait: _Wait) -> Plan[DescribedTable | None]:
    call: Call[DescribeTableReply] = Call("describe_table", {"TableName": table.name})
    try:
        reply = yield from _patiently(call, wait)
    except TableNotFoundError:
        return None
    return reply["Table"]


def _patiently(call: Call[R], wait: _Wait) -> Plan[R]:
    """Make a call, and repeat it while it is throttled. All processes of an app may start at the same time."""
    while True:
        try:
            return (yield from issue(call))
        except ThrottledError:
            if wait.is_over:
                raise
        yield from wait.pause(growing=True)


def _check_key(table: Table, description: DescribedTable) -> None:
    if not has_key(table, description):
        raise TableSchemaError(
            f"table {table.name!r} has the key {key_in_words(description)}, not {table.token} (HASH, S); "
            "it was left as it is: use another table, or name its key in Table(token=...)"
        )


def has_key(table: Table, description: DescribedTable) -> bool:
    """Return True if the described table has the key that *table* requires."""
    types = {a["AttributeName"]: a["AttributeType"] for a in description.get("AttributeDefinitions", ())}
    key = [(k["AttributeName"], k["KeyType"]) for k in description.get("KeySchema", ())]
    return key == [(table.token, "HASH")] and types.get(table.token) == "S"


def is_strongly_consistent(description: DescribedTable) -> bool:
    """Return True for a global table with multi-Region strong consistency (MRSC).

    Such a table supports neither TTL nor transactions.
    """
    return description.get("MultiRegionConsistency") == "STRONG"


def key_in_words(description: DescribedTable) -> str:
    """Return a table's key as text.

    >>> key_in_words({"KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]})
    'id (HASH, ?)'
    """
    types = {a["AttributeName"]: a["AttributeType"] for a in description.get("AttributeDefinitions", ())}
    key = [(k["AttributeName"], k["KeyType"]) for k in description.get("KeySchema", ())]
    return ", ".join(f"{name} ({kind}, {types.get(name, '?')})" for name, kind in key)


def _enable_ttl(table: Table, wait: _Wait) -> Plan[None]:
    """Turn TTL on, unless it is on. If that fails, log a warning, because the table can be used without TTL."""
    while True:
        try:
            yield from _turn_ttl_on(table, wait)
        except Unsupported:
            logger.warning(
                "this server does not support TTL: expired records of table %s stay until they are read", table.name
            )
        except (TableBusy, TableNotFoundError) as error:
            # The table is being updated, or some of DynamoDB's servers do not know it yet.
            if not wait.is_over:
                yield from wait.pause()
                continue
            _warn_of_ttl(table, error)
        except TableSchemaError:
            raise
        except StoreError as error:
            if error.code != "ValidationException":
                raise
            _warn_of_ttl(table, error)
        return


def _turn_ttl_on(table: Table, wait: _Wait) -> Plan[None]:
    if (yield from _has_ttl(table, wait)):
        return
    specification = {"Enabled": True, "AttributeName": table.ttl}
    try:
        yield from _patiently(_call(table, "update_time_to_live", TimeToLiveSpecification=specification), wait)
    except StoreError as error:
        if error.code != "ValidationException":
            raise
        # If two processes start at once, both see TTL off, and DynamoDB refuses the second one.
        if (yield from _has_ttl(table, wait)) or _ENABLED_ALREADY in str(error):
            return
        if _ENABLED_ELSEWHERE in str(error):
            raise TableSchemaError(str(error), operation=error.operation, code=error.code) from error
        raise


def _has_ttl(table: Table, wait: _Wait) -> Plan[bool]:
    """Return True if TTL is on. Raise `TableSchemaError` if it is on for another attribute."""
    call: Call[DescribeTimeToLiveReply] = Call("describe_time_to_live", {"TableName": table.name})
    reply = yield from _patiently(call, wait)
    there = reply["TimeToLiveDescription"]
    if there.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
        return False
    if (name := there.get("AttributeName")) != table.ttl:
        raise TableSchemaError(
            f"table {table.name!r} has its TTL on attribute {name!r}, not {table.ttl!r}; it was left as it is: "
            "turn that TTL off first (it takes effect within an hour), or name its attribute in Table(ttl=...)"
        )
    return True


def _warn_of_ttl(table: Table, error: StoreError) -> None:
    logger.warning(
        "TTL of table %s was not turned on: expired records stay until they are read or purged. A change of TTL takes up to an "
        "hour; call create_table() again later (%s)",
        table.name,
        error,
    )


def _call(table: Table, operation: str, **arguments: object) -> Call[object]:
    return Call(operation, {"TableName": table.name, **arguments})
